#!/usr/bin/env bash
# jax 0.10.2 against torch 2.15.0, CPU, derivatives where a function has a corner: jax gives abs 1 at 0 (torch 0),
# leaky_relu 1 at 0 (torch the slope below), hard_tanh 1 at its bound and clip one half (torch 0 and 0), the
# deviation of equal values and the norm of a zero vector NaN (torch 0 and 0). relu, elu, relu6, hard_sigmoid and maximum
# agree. The guess was: the same everywhere but for the two roots.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
python3 -m venv "$tmp/env"
"$tmp/env/bin/pip" install -q torch==2.15.0 numpy==2.4.6 jax==0.10.2
JAX_PLATFORMS=cpu "$tmp/env/bin/python" - <<'PY'
import math
import jax, jax.numpy as jnp, torch
import torch.nn.functional as F

print("jax", jax.__version__, "torch", torch.__version__)


def slopes(f, g, at):
    x = torch.tensor(at, requires_grad=True)
    g(x).backward()
    return float(jax.grad(f)(at)), float(x.grad)


table = [  # name, in jax, in torch, where, jax's slope, torch's
    ("abs", jnp.abs, torch.abs, 0.0, 1, 0),
    ("leaky_relu 0.25", lambda x: jax.nn.leaky_relu(x, 0.25), lambda x: F.leaky_relu(x, 0.25), 0.0, 1, 0.25),
    ("hard_tanh", jax.nn.hard_tanh, F.hardtanh, 1.0, 1, 0),
    ("clip", lambda x: jnp.clip(x, -1.0, 1.0), lambda x: torch.clip(x, -1.0, 1.0), 1.0, 0.5, 0),
    ("std", lambda x: jnp.std(jnp.stack([x, x])), lambda x: torch.std(torch.stack([x, x]), correction=0), 1.0, math.nan, 0),
    ("norm", lambda x: jnp.linalg.norm(jnp.stack([x, x])), lambda x: torch.linalg.norm(torch.stack([x, x])), 0.0, math.nan, 0),
    ("relu", jax.nn.relu, F.relu, 0.0, 0, 0),
    ("elu", jax.nn.elu, F.elu, 0.0, 1, 1),
    ("relu6", jax.nn.relu6, F.relu6, 6.0, 0, 0),
    ("hard_sigmoid", jax.nn.hard_sigmoid, F.hardsigmoid, 3.0, 0, 0),
    ("maximum", lambda x: jnp.maximum(x, 0.0), lambda x: torch.maximum(x, torch.tensor(0.0)), 0.0, 0.5, 0.5),
]
for name, f, g, at, want_jax, want_torch in table:
    got = slopes(f, g, at)
    print(f"{name} at {at}: jax {got[0]}, torch {got[1]}")
    for have, want in zip(got, (want_jax, want_torch)):
        assert have == want or (math.isnan(have) and math.isnan(want)), name
print("as stated")
PY
