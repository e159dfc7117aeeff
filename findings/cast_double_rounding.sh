#!/usr/bin/env bash
# torch 2.15.0, ml_dtypes 0.6.0 and jax 0.10.2, CPU: float64 goes to the narrow types by way of float32 and is rounded
# twice, so that a value above the middle of two neighbours can come out as the lower one: torch in bfloat16,
# float16 and float8, ml_dtypes in bfloat16 and float8, jax in bfloat16 only. numpy 2.4.6 rounds float16 once. int64 to
# bfloat16 has it in all three. The guess was: one rounding, as IEEE 754 asks of a conversion.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
python3 -m venv "$tmp/env"
"$tmp/env/bin/pip" install -q torch==2.15.0 numpy==2.4.6 ml_dtypes==0.6.0 jax==0.10.2
JAX_PLATFORMS=cpu "$tmp/env/bin/python" - <<'PY'
import jax, jax.numpy as jnp, ml_dtypes, numpy as np, torch

jax.config.update("jax_enable_x64", True)
print("torch", torch.__version__, "ml_dtypes", ml_dtypes.__version__, "jax", jax.__version__, "numpy", np.__version__)


def libraries(value, name):
    """What each library makes of `value`, a Python float (float64) or int (int64)."""
    wide = np.array([value])
    narrow = np.float16 if name == "float16" else getattr(ml_dtypes, name)
    return {
        "torch": float(torch.from_numpy(wide).to(getattr(torch, name)).to(torch.float64)[0]),
        "numpy" if name == "float16" else "ml_dtypes": float(wide.astype(narrow)[0]),
        "jax": float(jnp.array(wide).astype(narrow)[0]),
    }


bits = {"bfloat16": 7, "float16": 10, "float8_e4m3fn": 3, "float8_e5m2": 2}
twice = {"bfloat16": {"torch", "ml_dtypes", "jax"}, "float16": {"torch"},
         "float8_e4m3fn": {"torch", "ml_dtypes"}, "float8_e5m2": {"torch", "ml_dtypes"}}
for name, n in bits.items():
    got = libraries(1 + 2.0 ** -(n + 1) + 2.0**-40, name)
    print(name, "nearest", 1 + 2.0**-n, "got", got)
    assert {k for k, v in got.items() if v == 1} == twice[name], "another library rounds twice, or fewer"
    assert all(v in (1, 1 + 2.0**-n) for v in got.values())
got = libraries((1 << 30) + (1 << 22) + 1, "bfloat16")
print("int64 to bfloat16: nearest", (1 << 30) + (1 << 23), "got", got)
assert all(v == 1 << 30 for v in got.values())
print("as stated")
PY
