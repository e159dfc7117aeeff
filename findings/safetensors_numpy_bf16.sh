#!/usr/bin/env bash
# safetensors 0.8.0 with numpy 2.4.6 and ml_dtypes 0.6.0: safetensors.numpy takes arrays of bfloat16 and
# of the 8-bit floats and writes correct files; load of the same bytes ends in a bare KeyError that names the
# dtype only, for all of the file, ml_dtypes installed or not. The guess was: what it writes it reads.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
python3 -m venv "$tmp/env"
"$tmp/env/bin/pip" install -q safetensors==0.8.0 numpy==2.4.6 ml_dtypes==0.6.0
"$tmp/env/bin/python" - <<'PY'
import ml_dtypes, numpy as np, safetensors
from safetensors.numpy import load, save

print("safetensors", safetensors.__version__, "ml_dtypes", ml_dtypes.__version__)
x = np.array([0.5, 1, 2, 3], dtype=np.float32)
for name, tag in (("bfloat16", "BF16"), ("float8_e4m3fn", "F8_E4M3"), ("float8_e5m2", "F8_E5M2")):
    low = x.astype(getattr(ml_dtypes, name))
    data = save({"plain": x, "low": low})
    assert tag.encode() in data and low.tobytes() in data
    try:
        load(data)
        raise SystemExit(f"{name} is read back now")
    except KeyError as e:
        print(name, "written as", tag, "and not read back: KeyError", e)
        assert e.args == (tag,)
print("as stated")
PY
