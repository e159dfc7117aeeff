"""rl.py DHCC [SEEDS] [STEPS] [CLEANRL]: PPO on Pendulum beside Stable-Baselines3's and CleanRL's, in turn on the same cores: the
same networks (two hidden layers of 64, policy and value), environments, normalisation and settings, as far as each has them. Prints
environment steps per second of training, of rollouts alone, and the return of 50 episodes with the likeliest actions with Student's
95 % interval over seeds. Needs stable-baselines3, gymnasium and torch; CLEANRL is cleanrl/ppo_continuous_action.py of its repository
(github.com/vwxyzjn/cleanrl), which needs tyro and tensorboard; without it there is no row."""
import contextlib
import io
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).parent
STD = 0.4966  # exp(-0.7): what rl_mlp.dhc begins with; peers' actions are the environment's own, twice as wide
STUDENT = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776}


def ours(dhcc, seed, steps, threads):
    command = [dhcc, "rl", str(HERE / "rl_mlp.dhc"), "--env", "pendulum", "--steps", str(steps), "--seed", str(seed), "--threads", str(threads), "--episodes",
               "50", "--json", "--quiet"]
    d = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return d["steps_per_s"], d["rollout_steps_per_s"], d["mean_return"]


def theirs(peer, *arguments):
    """In a process of its own: what a peer leaves in memory shall not slow ours."""
    command = [sys.executable, os.path.abspath(__file__), "--peer", peer, *map(str, arguments)]
    with tempfile.TemporaryDirectory() as folder:  # CleanRL writes where it is
        out = subprocess.run(command, check=True, capture_output=True, text=True, cwd=folder).stdout
    return tuple(json.loads(out.splitlines()[-1]))


def sb3(seed, steps, threads):
    import gymnasium
    import numpy as np
    import torch
    from stable_baselines3 import PPO
    from stable_baselines3.common.evaluation import evaluate_policy
    from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

    torch.set_num_threads(threads)
    learning = [0.0]

    class Timed(PPO):
        def train(self):
            began = time.perf_counter()
            super().train()
            learning[0] += time.perf_counter() - began

    env = VecNormalize(DummyVecEnv([lambda: gymnasium.make("Pendulum-v1") for _ in range(8)]), gamma=0.9)
    model = Timed("MlpPolicy", env, learning_rate=1e-3, n_steps=256, batch_size=256, n_epochs=10, gamma=0.9, gae_lambda=0.95, clip_range=0.2,
                  max_grad_norm=0.5, seed=seed, device="cpu", policy_kwargs={"log_std_init": float(np.log(2 * STD))})
    began = time.perf_counter()
    model.learn(steps)
    took = time.perf_counter() - began
    env.training, env.norm_reward = False, False
    mean, _ = evaluate_policy(model, env, n_eval_episodes=50, deterministic=True)
    return model.num_timesteps / took, model.num_timesteps / (took - learning[0]), float(mean)


def cleanrl(path, seed, steps, threads):
    """The file as it is, but for the width that policies begin with, a clock around what is learned, and an argument that
    wrappers of Gymnasium 1 want."""
    import gymnasium
    import numpy as np
    import torch

    torch.set_num_threads(threads)
    source = pathlib.Path(path).read_text()
    for a, b in (("nn.Parameter(torch.zeros(", f"nn.Parameter({float(np.log(2 * STD))} + torch.zeros("),
                 ("lambda obs: np.clip(obs, -10, 10))", "lambda obs: np.clip(obs, -10, 10), env.observation_space)"),
                 ("        b_inds = np.arange(", "        learning_began = time.perf_counter()\n        b_inds = np.arange("),
                 ("        y_pred, y_true = ", "        LEARNING[0] += time.perf_counter() - learning_began\n        y_pred, y_true = ")):
        if source.count(a) != 1:
            sys.exit(f"{path}: is not the file that is known here: {a.strip()}")
        source = source.replace(a, b)
    learning = [0.0]
    sys.argv = ["ppo", "--env-id", "Pendulum-v1", "--seed", str(seed), "--total-timesteps", str(steps), "--learning-rate", "1e-3", "--num-envs", "8", "--num-steps",
                "256", "--no-anneal-lr", "--gamma", "0.9", "--num-minibatches", "8", "--no-clip-vloss", "--no-cuda"]
    scope = sys.modules["__main__"].__dict__ | {"LEARNING": learning, "__file__": str(path)}
    began = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()):
        exec(compile(source, path, "exec"), scope)
    took, done = time.perf_counter() - began, scope["global_step"]
    seen = scope["envs"].envs[0].get_wrapper_attr("obs_rms")
    scores, env = [], gymnasium.make("Pendulum-v1")
    for episode in range(50):
        obs, _ = env.reset(seed=1000 + episode)
        score, over = 0.0, False
        while not over:
            x = np.clip((obs - seen.mean) / np.sqrt(seen.var + 1e-8), -10, 10).astype(np.float32)
            with torch.no_grad():
                action = scope["agent"].actor_mean(torch.from_numpy(x)[None])[0].numpy()
            obs, reward, ended, cut, _ = env.step(np.clip(action, -2, 2))
            score, over = score + reward, ended or cut
        scores.append(float(score))
    return done / took, done / (took - learning[0]), statistics.mean(scores)


def interval(scores):
    mean = statistics.mean(scores)
    if len(scores) not in STUDENT:
        return f"{mean:.1f}"
    return f"{mean:.1f} ± {STUDENT[len(scores)] * statistics.stdev(scores) / len(scores) ** 0.5:.1f}"


def main():
    if sys.argv[1] == "--peer":
        where = {"sb3": sb3, "cleanrl": cleanrl}[sys.argv[2]]
        return print(json.dumps(where(*[int(x) if x.isdigit() else x for x in sys.argv[3:]])))
    seeds, steps = int(sys.argv[2]) if len(sys.argv) > 2 else 3, int(sys.argv[3]) if len(sys.argv) > 3 else 100000
    threads = len(os.sched_getaffinity(0))
    rows = {"dhcc rl": [], "Stable-Baselines3": []}
    if len(sys.argv) > 4:
        rows["CleanRL"] = []
    for seed in range(seeds):
        rows["dhcc rl"].append(ours(sys.argv[1], seed, steps, threads))
        rows["Stable-Baselines3"].append(theirs("sb3", seed, steps, threads))
        if "CleanRL" in rows:
            rows["CleanRL"].append(theirs("cleanrl", os.path.abspath(sys.argv[4]), seed, steps, threads))
    first = [statistics.median(g[i] for g in rows["dhcc rl"]) for i in range(2)]
    for name, got in rows.items():
        rate, rolls, score = zip(*got)
        print(f"{name:18} {statistics.median(rate):8.0f} steps/s ({min(rate):.0f}..{max(rate):.0f}; {first[0] / statistics.median(rate):.1f}), rollout alone "
              f"{statistics.median(rolls):8.0f} ({first[1] / statistics.median(rolls):.1f})  return {interval(score)} ({', '.join(f'{s:.1f}' for s in score)})")


main()
