#!/usr/bin/env python3
"""Writes reference.json: for each model of this folder what PyTorch computes in float64 from numbers that float32 holds.

Needs PyTorch (2.15 made the file that is here); the test, check.py, does not. A case: the model, parameters and buffers
by their names in files, inputs, the outputs of a function of both and the gradients of `loss` (or of the first output).

reference.py > reference.json"""
import json

import torch
import torch.nn.functional as F

torch.set_default_dtype(torch.float64)
cases = []


def numbers(*shape, seed=0, scale=1.0):
    g = torch.Generator().manual_seed(seed * 7919 + sum((i + 1) * n for i, n in enumerate(shape)))
    return (torch.randn(*shape, generator=g) * scale).float().double()


def entry(t):
    kinds = {torch.float64: "f32", torch.int64: "i64", torch.int32: "i32", torch.bool: "bool"}
    return [kinds[t.dtype], list(t.shape), t.flatten().tolist()]


def wide(t):
    t = t.detach().double()
    return ["f64", list(t.shape), t.flatten().tolist()]


def case(model, fn, params=None, inputs=None, buffers=None, options=(), meta=None, grads=True):
    """fn(params, inputs, buffers) -> {output: tensor}; gradients of its `loss`, or of its first."""
    params = {k: v.clone().requires_grad_(grads and v.is_floating_point()) for k, v in (params or {}).items()}
    inputs, buffers = inputs or {}, buffers or {}
    out = fn(params, inputs, buffers)
    tensors = {f"param.{k}": entry(v.detach()) for k, v in params.items()}
    tensors.update({f"buffer.{k}": entry(v) for k, v in buffers.items()})
    tensors.update({f"input.{k}": entry(v) for k, v in inputs.items()})
    tensors.update({f"output.{k}": wide(v) for k, v in out.items()})
    if grads:
        loss = out.get("loss", next(iter(out.values())))
        got = torch.autograd.grad(loss, list(params.values()), allow_unused=True)
        for (k, v), g in zip(params.items(), got):
            tensors[f"grad.param.{k}"] = wide(torch.zeros_like(v) if g is None else g)
    cases.append({"model": model, "options": list(options), "meta": meta or {}, "tensors": tensors})


def gap_01_keywords():
    p = {"model.weight": numbers(4, 4, seed=1), "layer.self.weight": numbers(4, 4, seed=2), "layer.in.0.bias": numbers(4, seed=3),
         "lm_head.weight": numbers(3, 4, seed=4)}

    def f(p, i, b):
        y = torch.tanh(i["x"] @ p["model.weight"].T) @ p["layer.self.weight"].T + p["layer.in.0.bias"]
        y = y @ p["lm_head.weight"].T
        return {"loss": y.square().mean(), "y": y}

    case("01_keywords", f, p, {"x": numbers(2, 4, seed=5)})


def gap_02_names():
    p = {f"rnn.weight_{a}_l{k}": numbers(*s, seed=10 + k, scale=0.5) for k in range(2) for a, s in (("ih", (3, 3)), ("hh", (3, 3)))}
    for e in range(2):
        p[f"experts.{e}.gate.weight"] = numbers(4, 3, seed=20 + e)
        p[f"experts.{e}.up.weight"] = numbers(4, 3, seed=30 + e)
    p.update({n: numbers(3, 3, seed=40 + i) for i, n in enumerate(("attn.q.weight", "attn.k.weight", "attn.v.weight"))})
    p.update({"group.q.weight": numbers(3, 3, seed=43), "group.k.weight": numbers(1, 3, seed=44)})
    for e in range(2):
        p[f"experts.{e}.one.weight"] = numbers(1, 3, seed=24 + e)
        p[f"experts.{e}.rest.weight"] = numbers(3, 3, seed=26 + e)

    def f(p, i, b):
        x = i["x"]
        for k in range(2):
            h, out = torch.zeros(x.shape[0], 3), []
            for t in range(x.shape[1]):
                h = torch.tanh(x[:, t] @ p[f"rnn.weight_ih_l{k}"].T + h @ p[f"rnn.weight_hh_l{k}"].T)
                out.append(h)
            x = torch.stack(out, 1)
        y = sum((F.silu(x @ p[f"experts.{e}.gate.weight"].T) * (x @ p[f"experts.{e}.up.weight"].T)).sum(-1) for e in range(2))
        q, k, v = (x @ p[f"attn.{n}.weight"].T for n in "qkv")
        y = y + (q * k * v).sum(-1) + (torch.tanh(x @ p["group.q.weight"].T) * (x @ p["group.k.weight"].T)).sum(-1)
        y = y + sum((torch.tanh(x @ p[f"experts.{e}.one.weight"].T) * (x @ p[f"experts.{e}.rest.weight"].T)).sum(-1) for e in range(2))
        return {"loss": y.square().mean(), "y": y}

    case("02_names", f, p, {"x": numbers(2, 5, 3, seed=6)})


def linear(p, name, x):
    return x @ p[name + ".weight"].T + p[name + ".bias"]


def steps(model, fn, params, inputs, groups, meta, n=3, after=None, options=(), losses=None, due=None):
    """Training steps with torch.optim: groups(params) -> optimisers; fn(params, inputs of a step) -> {loss, …}.
    losses: the result that the gradients of parameters are of, by the beginning of their names. due(name, step): whether one is
    stepped; clip of meta: of the norm of all that are."""
    p = {k: torch.nn.Parameter(v.clone()) for k, v in params.items()}
    optimizers, rows = groups(p), {}
    for t in range(n):
        out = fn(p, {k: v[t] for k, v in inputs.items()})
        for o in optimizers:
            o.zero_grad()
        for k, v in p.items():
            of = out[next((r for name, r in (losses or {}).items() if k.startswith(name)), "loss")]
            v.grad, = torch.autograd.grad(of, v, retain_graph=True, allow_unused=True) if v.requires_grad else (None,)
            v.grad = None if due and not due(k, t) else v.grad
        if float(meta["clip"]):
            torch.nn.utils.clip_grad_norm_(p.values(), float(meta["clip"]))
        for k, v in out.items():
            rows.setdefault(k, []).append(v.detach())
        for o in optimizers:
            o.step()
        if after:
            after(p)
    tensors = {f"param.{k}": entry(v) for k, v in params.items()}
    tensors.update({f"input.{k}": entry(v) for k, v in inputs.items()})
    tensors.update({f"output.{k}": wide(torch.stack(v)) for k, v in rows.items()})
    tensors.update({f"output.param.{k}": wide(v) for k, v in p.items()})
    cases.append({"model": model, "options": list(options), "meta": meta, "tensors": tensors})


def gap_05_frozen():
    p = {}
    for i in range(2):
        p.update({f"layers.{i}.base.weight": numbers(3, 3, seed=50 + i), f"layers.{i}.base.bias": numbers(3, seed=52 + i),
                  f"layers.{i}.a": numbers(2, 3, seed=54 + i), f"layers.{i}.b": numbers(3, 2, seed=56 + i)})
    p.update({"head.weight": numbers(2, 3, seed=58), "head.bias": numbers(2, seed=59)})

    def f(p, i):
        x = i["x"]
        for k in range(2):
            n = f"layers.{k}"
            x = torch.tanh(linear(p, n + ".base", x) + x @ p[n + ".a"].T @ p[n + ".b"].T)
        return {"loss": linear(p, "head", x).square().mean()}

    def groups(p):
        for k, v in p.items():
            v.requires_grad_("base" not in k)
        return [torch.optim.AdamW([
            {"params": [p["head.weight"], p["head.bias"]], "lr": 0.1, "weight_decay": 0.0},
            {"params": [p[f"layers.{k}.a"] for k in range(2)], "lr": 0.005, "betas": (0.5, 0.999)},
            {"params": [p[f"layers.{k}.b"] for k in range(2)]}], lr=0.01, weight_decay=0.1)]

    steps("05_frozen", f, p, {"x": numbers(3, 4, 3, seed=60)}, groups, {"lr": "0.01", "clip": "0", "weight_decay": "0.1"})


def gap_05_average():
    online = {f"{n}.{k}": numbers(*s, seed=70 + i) for i, n in enumerate(("up", "down.0", "down.1")) for k, s in (("weight", (3, 3)), ("bias", (3,)))}
    p = {f"online.{k}": v for k, v in online.items()}
    p.update({f"target.{k}": numbers(*v.shape, seed=80) for k, v in online.items()})

    def net(p, n, x):
        return linear(p, n + ".down.1", linear(p, n + ".down.0", torch.tanh(linear(p, n + ".up", x))))

    def f(p, i):
        return {"loss": F.mse_loss(net(p, "online", i["x"]), 0.9 * net(p, "target", i["next"]).detach())}

    def after(p):
        with torch.no_grad():
            for k in online:
                p["target." + k].mul_(0.9).add_(p["online." + k], alpha=0.1)

    def groups(p):
        return [torch.optim.AdamW([{"params": [p["online." + k] for k in online if "weight" in k]},
                                   {"params": [p["online." + k] for k in online if "bias" in k], "weight_decay": 0.0}], lr=0.01, weight_decay=0.1)]

    steps("05_average", f, p, {"x": numbers(3, 4, 3, seed=81), "next": numbers(3, 4, 3, seed=82)}, groups,
          {"lr": "0.01", "clip": "0", "weight_decay": "0.1"}, after=after)


def gap_05_losses():
    p = {"gen.weight": numbers(3, 3, seed=90), "gen.bias": numbers(3, seed=91), "critic.weight": numbers(1, 3, seed=92), "critic.bias": numbers(1, seed=93)}

    def f(p, i):
        fake = torch.tanh(linear(p, "gen", i["noise"]))
        fixed = {k: v.detach() for k, v in p.items()}
        g = F.softplus(-linear(fixed, "critic", fake)).mean()
        c = F.softplus(linear(p, "critic", fake.detach())).mean() + F.softplus(-linear(p, "critic", i["real"])).mean()
        return {"loss": g + c, "gen_loss": g, "critic_loss": c}

    def groups(p):  # the critic's gradient is of its loss alone, the generator's of its own
        return [torch.optim.Adam([p["gen.weight"], p["gen.bias"]], lr=0.01, betas=(0.5, 0.999)),
                torch.optim.Adam([p["critic.weight"], p["critic.bias"]], lr=0.04, betas=(0.9, 0.999))]

    steps("05_losses", f, p, {"noise": numbers(3, 4, 3, seed=94), "real": numbers(3, 4, 3, seed=95)}, groups, {"lr": "0.01", "clip": "0"})


def gap_05_gan():
    p = {"gen.weight": numbers(3, 3, seed=190), "gen.bias": numbers(3, seed=191), "critic.weight": numbers(1, 3, seed=192), "critic.bias": numbers(1, seed=193),
         "scale.weight": numbers(3, 3, seed=194)}

    def f(p, i):
        fake = torch.tanh(linear(p, "gen", i["noise"]) @ p["scale.weight"].T)
        return {"loss": F.mse_loss(fake, i["real"]), "gen_loss": F.softplus(-linear(p, "critic", fake)).mean(),
                "critic_loss": F.softplus(linear(p, "critic", fake)).mean() + F.softplus(-linear(p, "critic", i["real"])).mean()}

    def groups(p):
        return [torch.optim.Adam([p["gen.weight"], p["gen.bias"], p["scale.weight"]], lr=0.01, betas=(0.5, 0.999)),
                torch.optim.SGD([p["critic.weight"], p["critic.bias"]], lr=0.04, momentum=0.9)]

    steps("05_gan", f, p, {"noise": numbers(3, 4, 3, seed=195), "real": numbers(3, 4, 3, seed=196)}, groups, {"lr": "0.01", "clip": "0"},
          losses={"critic": "critic_loss", "gen": "gen_loss"})


def gap_05_optimizers():
    p = {"body.weight": numbers(3, 3, seed=180), "body.bias": numbers(3, seed=181), "head.weight": numbers(2, 3, seed=182), "head.bias": numbers(2, seed=183),
         "scale": numbers(3, seed=184)}

    class BySign(torch.optim.Optimizer):
        def __init__(self, params, lr, size):
            super().__init__(params, {"lr": lr, "size": size})

        @torch.no_grad()
        def step(self):
            for g in self.param_groups:
                for w in g["params"]:
                    w -= g["lr"] * g["size"] * w.grad.sign()

    def groups(p):  # biases are not decayed
        return [torch.optim.Adam([{"params": [p["body.weight"]]}, {"params": [p["body.bias"]], "betas": (0.8, 0.9)}], lr=0.01, betas=(0.8, 0.999)),
                torch.optim.SGD([{"params": [p["head.weight"]], "weight_decay": 0.1}, {"params": [p["head.bias"]]}], lr=0.02, momentum=0.9, nesterov=True),
                BySign([p["scale"]], 0.01, 0.25)]

    steps("05_optimizers", lambda p, i: {"loss": (linear(p, "head", torch.tanh(linear(p, "body", i["x"] * p["scale"]))) - 1).square().mean()}, p,
          {"x": numbers(3, 4, 3, seed=185)}, groups, {"lr": "0.01", "clip": "0"})


def gap_05_turns():
    p = {"gen.weight": numbers(3, 3, seed=200), "gen.bias": numbers(3, seed=201), "critic.weight": numbers(1, 3, seed=202), "critic.bias": numbers(1, seed=203),
         "scale.weight": numbers(3, 3, seed=204)}

    def f(p, i):
        fake = torch.tanh(linear(p, "gen", i["noise"]) @ p["scale.weight"].T)
        return {"loss": F.softplus(-linear(p, "critic", fake)).mean(),
                "critic_loss": F.softplus(linear(p, "critic", fake)).mean() + F.softplus(-linear(p, "critic", i["real"])).mean()}

    def groups(p):  # a parameter without a gradient is passed by, and its steps are not counted
        return [torch.optim.Adam([p["gen.weight"], p["gen.bias"], p["scale.weight"]], lr=0.01, betas=(0.5, 0.999)),
                torch.optim.SGD([p["critic.weight"], p["critic.bias"]], lr=0.04, momentum=0.9)]

    steps("05_turns", f, p, {"noise": numbers(6, 4, 3, seed=205), "real": numbers(6, 4, 3, seed=206)}, groups, {"lr": "0.01", "clip": "0.3"}, n=6,
          losses={"critic": "critic_loss"}, due=lambda name, t: t % 3 == 1 if name.startswith("critic") else t % 2 == 0 if name.startswith("gen") else True)


def gap_06_scores():
    p = {"q": numbers(2, 2, 1, 4, 3, seed=150), "k": numbers(2, 2, 5, 3, seed=151), "v": numbers(2, 2, 5, 3, seed=152), "bias": numbers(2, 1, 4, 5, seed=153)}
    mask = torch.rand(2, 4, 5, generator=torch.Generator().manual_seed(9)) > 0.4
    mask[1, 2] = False  # a row that sees nothing gives 0

    def attend(p, bias, mask, cap=0.0):
        s = 0.7 * torch.einsum("bgrlk,bgmk->bgrlm", p["q"], p["k"])
        s = (cap * torch.tanh(s / cap) if cap else s) + bias
        w = torch.softmax(s.masked_fill(~mask, -1e300), -1) * mask.any(-1, keepdim=True)
        return torch.einsum("bgrlm,bgmv->bgrlv", w, p["v"])

    def f(p, i, b):
        m = i["mask"][:, None, None]
        y = attend(p, p["bias"], m, 2.0)
        z = attend(p, p["bias"], torch.ones(4, 5).tril().bool())
        w = attend(p, 0.0, m)
        return {"loss": (torch.sin(y) * i["weight"]).sum() + (torch.cos(z) * i["weight"]).sum() + (w * w * i["weight"]).sum(), "y": y, "z": z, "w": w}

    case("06_scores", f, p, {"mask": mask, "weight": numbers(3, seed=154)})


def gap_08_planes():
    p = {"wide.weight": numbers(4, 1, 7, 7, seed=100, scale=0.2), "wide.bias": numbers(4, seed=101), "norm.weight": numbers(4, seed=102),
         "norm.bias": numbers(4, seed=103), "up.weight": numbers(4, 2, 3, 3, seed=104), "up.bias": numbers(2, seed=105)}

    def f(p, i, b):
        x = F.conv2d(i["x"], p["wide.weight"], p["wide.bias"], padding=3, groups=4)
        x = F.group_norm(x, 2, p["norm.weight"], p["norm.bias"], 1e-5)
        y = F.conv_transpose2d(x, p["up.weight"], p["up.bias"], stride=2, padding=1, output_padding=1)
        q = F.pad(x, (0, 0, 1, 1), value=-2.0)
        m, a = F.max_pool2d(x, 3, 2, 1), F.avg_pool2d(x, 3, 2, 1)
        l = F.interpolate(x, (7, 9), mode="bilinear")
        n = F.interpolate(x, (7, 3), mode="nearest")
        loss = y.square().mean() + q.square().mean() + m.exp().mean() + a.exp().mean() + l.sin().mean() + n.cos().mean()
        return {"loss": loss, "y": y, "p": q, "m": m, "a": a, "l": l, "n": n}

    case("08_planes", f, p, {"x": numbers(2, 4, 5, 6, seed=106)})


def gap_08_order():
    def f(p, i, b):
        z = i["x"] @ p["w"]
        y, index = z.sort(-1)
        r, d = torch.remainder(z, 0.75), p["w"].diagonal()
        loss = (y * torch.arange(1.0, 6.0)).mean() + r.square().mean() + (d * d).sum() + d.sum()
        return {"loss": loss, "y": y, "index": index, "r": r, "some": i["mask"].any(-1), "every": i["mask"].all(-1), "d": d, "trace": d.sum()}

    case("08_order", f, {"w": numbers(5, 5, seed=110)}, {"x": numbers(3, 5, seed=111), "mask": torch.tensor([[False] * 5, [True] * 5, [True, False] * 2 + [True]])})


def gap_09_grad():
    p = {}
    for name, d in (("net", 1), ("energy", 4)):
        for k, s in (("up", (5, d)), ("mid.0", (5, 5)), ("mid.1", (5, 5)), ("down", (1, 5))):
            p[f"{name}.{k}.weight"] = numbers(*s, seed=120 + d + len(k), scale=0.7)
            p[f"{name}.{k}.bias"] = numbers(s[0], seed=130 + d + len(k))

    def net(p, n, x):
        x = torch.tanh(linear(p, n + ".up", x))
        for i in range(2):
            x = torch.sin(linear(p, f"{n}.mid.{i}", x))
        return linear(p, n + ".down", x)

    def by(y, *x):
        return torch.autograd.grad(y.sum(), x, create_graph=True)

    def f(p, i, b):
        t, s = i["t"].clone().requires_grad_(), i["state"]
        u = net(p, "net", t)
        du, = by(u, t)
        ddu, = by(du, t)
        q, r = s[:, :2].clone().requires_grad_(), s[:, 2:].clone().requires_grad_()
        hq, hp = by(net(p, "energy", torch.cat([q, r], -1)), q, r)
        penalty = (hq.square().sum(-1).sqrt() - 1).square()
        return {"loss": (ddu + u * u).square().mean() + penalty.mean() + hp.mean(), "u": u, "du": du, "ddu": ddu, "dq": hp, "dp": -hq}

    case("09_grad", f, p, {"t": numbers(6, 1, seed=140), "state": numbers(6, 4, seed=141)})


def gap_11_segments():
    to, source = torch.tensor([0, 1, 0, 2, 1, 0]), torch.tensor([1, 2, 2, 0, 0, 1])

    def f(p, i, b):
        x, u = i["x"], i["u"]
        s = F.leaky_relu(torch.cat([x[source], x[to]], -1) @ p["a"], 0.2)
        w = torch.zeros_like(s)
        for k in range(3):
            w = w.masked_scatter(to == k, torch.softmax(s[to == k], 0))
        h = torch.zeros(3, 2).index_add(0, to, w[:, None] * x[source])
        m = torch.stack([x[source][to == k].max(0)[0] for k in range(3)])
        y = torch.stack([sum(p["k"][j] * u[:, t - j] for j in range(min(6, t + 1))) for t in range(u.shape[1])], 1)
        return {"loss": h.square().mean() + y.square().mean(), "w": w, "h": h, "m": m, "y": y}

    case("11_segments", f, {"a": numbers(4, seed=160), "k": numbers(6, 2, seed=161)},
         {"x": numbers(3, 2, seed=162), "from": source, "to": to, "u": numbers(1, 8, 2, seed=163)})


def gap_11_fourier():
    def f(p, i, b):
        x = i["x"]
        z = torch.fft.rfft(x, dim=1)[:, :3]
        c = torch.einsum("bkd,kde->bke", z, torch.complex(p["wr"], p["wi"]))
        y = F.gelu(torch.fft.irfft(c, n=x.shape[1], dim=1) + x @ p["w"])
        return {"loss": y.square().mean(), "y": y, "re": z.real, "im": z.imag}

    case("11_fourier", f, {"wr": numbers(3, 2, 2, seed=170), "wi": numbers(3, 2, 2, seed=171), "w": numbers(2, 2, seed=172)},
         {"x": numbers(2, 8, 2, seed=173)})


def main():
    for name, f in sorted(globals().items()):
        if name.startswith("gap_"):
            f()
    print("[\n" + ",\n".join(json.dumps(c) for c in cases) + "\n]")


main()
