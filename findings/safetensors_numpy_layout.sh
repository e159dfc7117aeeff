#!/usr/bin/env bash
# safetensors 0.8.0 with numpy 2.4.6: save and save_file of a transposed array write the bytes as they lie
# in memory under the shape of the transposed view: the file is valid and holds other values. No error, no
# warning (safetensors.torch refuses a tensor that is not contiguous). A big-endian array is converted. The
# guess was: rows in order, since numpy hands out bytes in that order.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
python3 -m venv "$tmp/env"
"$tmp/env/bin/pip" install -q safetensors==0.8.0 numpy==2.4.6
"$tmp/env/bin/python" - <<'PY'
import numpy as np, safetensors
from safetensors.numpy import load, save

print("safetensors", safetensors.__version__, "numpy", np.__version__)
x = np.arange(6, dtype=np.float32).reshape(2, 3)
back = load(save({"x": x.T}))["x"]
print("saved"), print(x.T), print("read back"), print(back)
assert back.shape == (3, 2)
assert (back.ravel() == np.arange(6)).all(), "other bytes now"
assert not (back == x.T).all(), "the values are right now"
assert (load(save({"x": np.ascontiguousarray(x.T)}))["x"] == x.T).all()
assert (load(save({"x": x.astype(">f4")}))["x"] == x).all()
print("as stated")
PY
