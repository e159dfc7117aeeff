"""Our environments and Gymnasium's, driven from the same states by the same actions: observations, rewards and ends are the
same numbers. usage: env_parity.py TEST_ENV; needs gymnasium 1.4.0 and mujoco 4.0.0, else it says so and ends with 77."""
import os
import subprocess
import sys
import warnings

warnings.simplefilter("ignore")
try:
    import gymnasium
    import mujoco
    import numpy as np
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(77)
if (gymnasium.__version__, mujoco.__version__) != ("1.4.0", "4.0.0"):
    print(f"skipped: gymnasium {gymnasium.__version__}, mujoco {mujoco.__version__}; 1.4.0 and 4.0.0 are compared")
    sys.exit(77)

assets = os.path.join(os.path.dirname(gymnasium.__file__), "envs/mujoco/assets")
ids = {"pendulum": "Pendulum-v1", "halfcheetah": "HalfCheetah-v5", "hopper": "Hopper-v5", "walker2d": "Walker2d-v5"}
bad = compared = 0


def begin(env, state):
    if not hasattr(env, "model"):
        env.state = state.copy()
        return
    everything = mujoco.mjtState.mjSTATE_INTEGRATION
    assert mujoco.mj_stateSize(env.model, everything) == len(state)
    mujoco.mj_resetData(env.model, env.data)
    mujoco.mj_setState(env.model, env.data, state, everything)
    mujoco.mj_forward(env.model, env.data)
    mujoco.mj_setState(env.model, env.data, state, everything)


def make(gym_id, gravity):
    if gravity and gym_id.startswith("Pendulum"):
        return gymnasium.make(gym_id, g=gravity).unwrapped
    env = gymnasium.make(gym_id).unwrapped
    if gravity:
        env.model.opt.gravity[2] = -gravity
    return env


for name, gym_id, gravity in [(*i, g) for i in ids.items() for g in (None, 3.7)]:
    env = make(gym_id, gravity)
    env.reset(seed=0)
    run = subprocess.run([sys.argv[1], "dump", name, assets] + ([f"gravity={gravity}"] if gravity else []), capture_output=True, text=True, check=False)
    if run.returncode:
        sys.exit(f"FAILED: {name}: {run.stdout}")
    lines = iter(run.stdout.splitlines())
    for head in lines:
        _, n_obs, n_act = map(int, head.split())
        begin(env, np.array([float.fromhex(x) for x in next(lines).split()]))
        for line in lines:
            if line == "end":
                break
            *numbers, over = line.split()
            v = np.array([float.fromhex(x) for x in numbers])
            observation, reward, terminated, _, _ = env.step(v[:n_act].astype(np.float32))
            same = np.array_equal(np.asarray(observation, np.float64), v[n_act:-1]) and float(reward) == v[-1] and terminated == bool(int(over))
            compared += 1
            bad += not same
            if not same and bad < 5:
                print(f"FAILED: {name}: {observation} {reward} {terminated}, here {v[n_act:-1]} {v[-1]} {over}")
print(f"{compared} steps, {bad} differ")
sys.exit(bad != 0)
