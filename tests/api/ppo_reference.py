#!/usr/bin/env python3
"""Writes ppo_reference.json: updates of proximal policy optimisation in PyTorch float64, which test_rl.c compares `dhcc rl`
with. Needs PyTorch (2.15 made the file that is here); the test does not:   ppo_reference.py > ppo_reference.json

A rollout of two environments is made up: numbers that float32 holds, episodes that begin within sequences, end by
themselves and are cut. Everything that an update makes of it is computed here from the papers: values, generalised advantages
(Schulman et al., 2016), the clipped loss of a recurrent policy over sequences from the states that they began with (Schulman et
al., 2017), clipping of the gradient's norm as torch.nn.utils.clip_grad_norm_ does, Adam, statistics of observations."""
import json
import math

import torch

torch.set_default_dtype(torch.float64)
torch.manual_seed(5)
N, HORIZON, LENGTH, OBS, ACT, HIDDEN, STATE, VALUE = 2, 8, 4, 4, 2, 6, 3, 5
GAMMA, LAMBDA = 0.9, 0.95


def exact(x):
    return torch.round(x * 1024) / 1024


def weights():
    shape = {"log_std": [ACT]}
    for name, o, i in (("actor.input_proj.0", HIDDEN, OBS), ("actor.output_proj.0", HIDDEN // 2, HIDDEN), ("actor.output_proj.2", ACT, HIDDEN // 2),
                       ("critic.net.0", VALUE, OBS), ("critic.net.2", VALUE, VALUE), ("critic.net.4", 1, VALUE)):
        shape[name + ".weight"], shape[name + ".bias"] = [o, i], [o]
    shape["actor.input_proj.1.weight"] = shape["actor.input_proj.1.bias"] = [HIDDEN]
    shape |= {"actor.ssm.A": [STATE, STATE], "actor.ssm.B": [STATE, HIDDEN], "actor.ssm.C": [HIDDEN, STATE], "actor.ssm.D": [HIDDEN, HIDDEN]}
    w = {k: exact(0.5 * torch.randn(s)) for k, s in shape.items()}
    w["actor.input_proj.1.weight"] += 1
    return w


def linear(w, name, x):
    return x @ w[name + ".weight"].T + w[name + ".bias"]


def policy(w, x, reset, state):
    """One observation after another: [B, L, OBS], bool [B, L], [B, STATE]."""
    out = []
    for t in range(x.shape[1]):
        h = torch.nn.functional.layer_norm(linear(w, "actor.input_proj.0", x[:, t]), [HIDDEN], w["actor.input_proj.1.weight"], w["actor.input_proj.1.bias"], 1e-5)
        h = torch.tanh(h)
        state = torch.where(reset[:, t, None], 0.0, state)
        state = torch.tanh(state @ w["actor.ssm.A"].T + h @ w["actor.ssm.B"].T)
        y = state @ w["actor.ssm.C"].T + h @ w["actor.ssm.D"].T
        out.append(torch.tanh(linear(w, "actor.output_proj.2", torch.tanh(linear(w, "actor.output_proj.0", y)))))
    return torch.stack(out, 1)


def value(w, x):
    return linear(w, "critic.net.4", torch.tanh(linear(w, "critic.net.2", torch.tanh(linear(w, "critic.net.0", x)))))[..., 0]


def log_probability(w, mean, action):
    return torch.distributions.Normal(mean, w["log_std"].exp()).log_prob(action).sum(-1)


def rollout(w, mean, scale):
    r = {"obs": exact(2 * torch.randn(N, HORIZON, OBS)), "reward": exact(torch.randn(N, HORIZON)), "next": exact(torch.randn(N, OBS)),
         "cut_obs": exact(torch.randn(1, OBS)), "state": exact(torch.tanh(torch.randn(N, HORIZON // LENGTH, STATE)))}
    r["ends"] = torch.zeros(N, HORIZON, dtype=torch.bool)
    r["ends"][0, 2] = r["ends"][0, 5] = r["ends"][1, 4] = True  # the last is cut
    r["cut_at"] = torch.tensor([HORIZON + 4])
    r["reset"] = torch.zeros(N, HORIZON, dtype=torch.bool)
    r["reset"][:, 1:] = r["ends"][:, :-1]
    r["reset"][0, 0] = True
    seen = ((r["obs"] - mean) * scale).clamp(-10, 10)
    at = policy(w, seen.reshape(-1, LENGTH, OBS), r["reset"].reshape(-1, LENGTH), r["state"].reshape(-1, STATE)).reshape(N, HORIZON, ACT)
    r["action"] = exact(at + w["log_std"].exp() * torch.randn(N, HORIZON, ACT))
    r["logp"] = exact(log_probability(w, at, r["action"]) + 0.3 * torch.randn(N, HORIZON))  # of a policy that has moved on since
    return r


def case(first, r, mean, scale, sets, adam, rate, clip, epochs, value_clip=math.inf, entropy_weight=0.0, target_kl=0.0, normalize=True):
    w = {k: v.clone().requires_grad_() for k, v in first.items()}
    see = lambda x: ((x - mean) * scale).clamp(-10, 10)
    with torch.no_grad():
        values, next_value, cut = value(w, see(r["obs"])), value(w, see(r["next"])), value(w, see(r["cut_obs"]))
        reward, advantage = r["reward"].clone(), torch.zeros(N, HORIZON)
        reward.view(-1)[r["cut_at"]] += GAMMA * cut
        for e in range(N):
            following, total = next_value[e], 0.0
            for t in reversed(range(HORIZON)):
                goes_on = 0.0 if r["ends"][e, t] else 1.0
                total = reward[e, t] + GAMMA * goes_on * following - values[e, t] + GAMMA * LAMBDA * goes_on * total
                advantage[e, t], following = total, values[e, t]
        returns = advantage + values
    optimizer = (torch.optim.Adam(w.values(), lr=rate, eps=1e-5) if adam else torch.optim.SGD(w.values(), lr=rate))
    rows = []
    for _ in range(epochs):
        at = policy(w, see(r["obs"]).reshape(-1, LENGTH, OBS), r["reset"].reshape(-1, LENGTH), r["state"].reshape(-1, STATE)).reshape(N, HORIZON, ACT)
        change = log_probability(w, at, r["action"]) - r["logp"]
        ratio = change.exp()
        a = (advantage - advantage.mean()) / (advantage.std(correction=0) + 1e-8) if normalize else advantage
        policy_loss = -torch.min(ratio * a, ratio.clamp(0.8, 1.2) * a).mean()
        v = value(w, see(r["obs"]))
        near = values + (v - values).clamp(-value_clip, value_clip)
        value_loss = 0.5 * torch.max((v - returns) ** 2, (near - returns) ** 2).mean()
        entropy = torch.distributions.Normal(at, w["log_std"].exp()).entropy().sum(-1).mean()
        kl = (ratio - 1 - change).mean()
        optimizer.zero_grad()
        (policy_loss + 0.5 * value_loss - entropy_weight * entropy).backward()
        norm = torch.nn.utils.clip_grad_norm_(w.values(), clip if clip else math.inf)
        rows.append([x.item() for x in (policy_loss, value_loss, entropy, kl, ((ratio - 1).abs() > 0.2).double().mean(), norm)])
        optimizer.step()
        if target_kl and kl.item() > 1.5 * target_kl:
            break
    means = [sum(c) / len(rows) for c in zip(*rows)]
    o = r["obs"].reshape(-1, OBS)
    return {"sets": sets, "updates": len(rows), "advantage": flat(advantage), "returns": flat(returns),
            "progress": dict(zip(("policy_loss", "value_loss", "entropy", "kl", "clipped", "grad_norm"), means)),
            "explained_variance": (1 - (returns - values).var() / returns.var()).item(), "weights": {k: flat(v) for k, v in w.items()},
            "obs_mean": flat(o.mean(0)), "obs_scale": flat(1 / (o.var(0, correction=0) + 1e-8).sqrt())}


def flat(x):
    return [round(v, 12) if isinstance(v, float) else v for v in x.detach().flatten().tolist()]


def main():
    w = weights()
    mean, scale = exact(0.3 * torch.randn(OBS)), exact(0.5 + torch.rand(OBS))
    r = rollout(w, mean, scale)
    same = ["gamma=%g" % GAMMA, "hidden_dim=%d" % HIDDEN, "state_dim=%d" % STATE, "value_hidden=%d" % VALUE, "envs=%d" % N, "horizon=%d" % HORIZON,
            "sequence=%d" % LENGTH, "batch=%d" % (N * HORIZON)]
    cases = [
        # a step of plain descent changes weights by the gradient itself
        case(w, r, mean, scale, ["optimizer=sgd", "lr=0.5", "clip=0", "epochs=1"], False, 0.5, 0, 1),
        case(w, r, mean, scale, ["optimizer=sgd", "lr=0.5", "clip=0", "epochs=1", "normalize_advantage=false", "value_clip=0.1", "entropy_weight=0.25"], False,
             0.5, 0, 1, value_clip=0.1, entropy_weight=0.25, normalize=False),
        # on the way the ratio is clipped, values are, and the norm of the gradient is
        case(w, r, mean, scale, ["lr=0.03", "clip=0.5", "epochs=4", "value_clip=0.1", "entropy_weight=0.01"], True, 0.03, 0.5, 4, value_clip=0.1,
             entropy_weight=0.01),
        # ends where the divergence is above 1.5 times the target
        case(w, r, mean, scale, ["lr=0.03", "clip=0.5", "epochs=10", "target_kl=0.2"], True, 0.03, 0.5, 10, target_kl=0.2),
    ]
    print(json.dumps({"sets": same, "weights": {k: [list(v.shape), flat(v)] for k, v in w.items()}, "obs_mean": flat(mean), "obs_scale": flat(scale),
                      "rollout": {k: flat(v) for k, v in r.items()}, "cases": cases}))


main()
