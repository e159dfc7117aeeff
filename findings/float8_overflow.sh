#!/usr/bin/env bash
# torch 2.15.0 against ml_dtypes 0.6.0 and jax 0.10.2, CPU, float32 to float8: torch gives float8_e4m3fn's largest, 448, for
# everything above it, infinity included, and infinity in float8_e5m2; ml_dtypes and jax give NaN and infinity. The guess
# was: one rule for one type, and the same in both types of one library.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
python3 -m venv "$tmp/env"
"$tmp/env/bin/pip" install -q torch==2.15.0 numpy==2.4.6 ml_dtypes==0.6.0 jax==0.10.2
JAX_PLATFORMS=cpu "$tmp/env/bin/python" - <<'PY'
import jax, jax.numpy as jnp, ml_dtypes, numpy as np, torch

print("torch", torch.__version__, "ml_dtypes", ml_dtypes.__version__, "jax", jax.__version__)
x = np.array([448, 464, 465, 1000, 1e6, np.inf, -np.inf, np.nan], np.float32)
want = {
    "float8_e4m3fn": ([448, 448, 448, 448, 448, 448, -448, np.nan], [448, 448, np.nan, np.nan, np.nan, np.nan, np.nan, np.nan]),
    "float8_e5m2": ([448, 448, 448, 1024, np.inf, np.inf, -np.inf, np.nan],) * 2,
}
for name, (saturated, others) in want.items():
    got = {
        "torch": torch.from_numpy(x).to(getattr(torch, name)).float().numpy(),
        "ml_dtypes": x.astype(getattr(ml_dtypes, name)).astype(np.float32),
        "jax": np.array(jnp.array(x).astype(getattr(jnp, name)).astype(jnp.float32)),
    }
    print(name, "of", x.tolist())
    for library, y in got.items():
        print("  ", library, y.tolist())
        assert np.array_equal(y, np.array(saturated if library == "torch" else others, np.float32), equal_nan=True), library
print("as stated")
PY
