"""rl.py DHCC [SEEDS] [STEPS]: PPO on Pendulum beside Stable-Baselines3's, in turn on the same cores: the same networks (two
hidden layers of 64, policy and value), settings, environments and normalisation. Prints environment steps per second of
training, and the return of 50 episodes with the likeliest actions. Needs stable-baselines3, gymnasium and torch."""
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).parent
STD = 0.4966  # exp(-0.7): what rl/ppo begins with; SB3's actions are the environment's own, twice as wide


def ours(dhcc, seed, steps, threads):
    command = [dhcc, "rl", str(HERE / "rl_mlp.dhc"), "--env", "pendulum", "--steps", str(steps), "--seed", str(seed), "--threads", str(threads), "--episodes",
               "50", "--json", "--quiet"]
    d = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return d["steps_per_s"], d["mean_return"]


def theirs(seed, steps, threads):
    """In a process of its own: what a peer leaves in memory shall not slow ours."""
    out = subprocess.run([sys.executable, __file__, "--peer", str(seed), str(steps), str(threads)], check=True, capture_output=True, text=True).stdout
    return tuple(json.loads(out.splitlines()[-1]))


def peer(seed, steps, threads):
    import gymnasium
    import numpy as np
    import torch
    from stable_baselines3 import PPO
    from stable_baselines3.common.evaluation import evaluate_policy
    from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

    torch.set_num_threads(threads)
    env = VecNormalize(DummyVecEnv([lambda: gymnasium.make("Pendulum-v1") for _ in range(8)]), gamma=0.9)
    model = PPO("MlpPolicy", env, learning_rate=1e-3, n_steps=256, batch_size=256, n_epochs=10, gamma=0.9, gae_lambda=0.95, clip_range=0.2,
                max_grad_norm=0.5, seed=seed, device="cpu", policy_kwargs={"log_std_init": float(np.log(2 * STD))})
    began = time.perf_counter()
    model.learn(steps)
    rate = model.num_timesteps / (time.perf_counter() - began)
    env.training, env.norm_reward = False, False
    mean, _ = evaluate_policy(model, env, n_eval_episodes=50, deterministic=True)
    print(json.dumps([rate, float(mean)]))


def main():
    if sys.argv[1] == "--peer":
        return peer(*map(int, sys.argv[2:5]))
    seeds, steps = int(sys.argv[2]) if len(sys.argv) > 2 else 3, int(sys.argv[3]) if len(sys.argv) > 3 else 100000
    threads = len(os.sched_getaffinity(0))
    rows = {"dhcc rl": [], "Stable-Baselines3": []}
    for seed in range(seeds):
        rows["dhcc rl"].append(ours(sys.argv[1], seed, steps, threads))
        rows["Stable-Baselines3"].append(theirs(seed, steps, threads))
    for name, got in rows.items():
        rate, score = [r for r, _ in got], [s for _, s in got]
        print(f"{name:18} {statistics.median(rate):8.0f} steps/s ({min(rate):.0f}..{max(rate):.0f})  return {statistics.mean(score):7.1f} ({', '.join(f'{s:.1f}' for s in score)})")
    a, b = (statistics.median(r for r, _ in rows[n]) for n in rows)
    print(f"ratio {a / b:.1f}")


main()
