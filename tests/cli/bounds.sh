#!/usr/bin/env bash
# --check-bounds: kernels that check every access give the same bytes, results and gradients, and are other kernels.
own_store=1
. "$(dirname "$0")/common.sh"
cd "$work" || exit 1
python3 - <<'P'
import struct
def npy(name, kind, shape, data):
    h = ("{'descr': '%s', 'fortran_order': False, 'shape': %s, }" % ("<f4" if kind == "f" else "<i8", shape)).ljust(117) + "\n"
    open(name, "wb").write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(h)) + h.encode() + struct.pack("<%d%s" % (len(data), kind), *data))
npy("image.npy", "f", (2, 3, 16, 16), [i * 7919 % 2001 / 1000 - 1 for i in range(1536)])
npy("target.npy", "q", (2,), [1, 3])
P
run() { "$dhcc" run dhc_ssm --set hidden_dim=8 --entry loss --grad --inputs image=image.npy --inputs target=target.npy "$@"; }
run -o plain.safetensors > /dev/null || fail "a plain run"
entries() { find "$work/cache" -type f | wc -l; }
before=$(entries)
run --check-bounds -o checked.safetensors > /dev/null || fail "a checked run"
cmp plain.safetensors checked.safetensors || fail "other bytes"
[ "$(entries)" -gt "$before" ] || fail "no kernels of its own"
expect 2 "--check-bounds: needs --backend cpu" run --check-bounds --backend interp -o y
finish
