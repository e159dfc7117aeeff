#!/usr/bin/env bash
# run --profile and train --profile: every kernel with its time, bytes and operations, as a table and as JSON.
. "$(dirname "$0")/common.sh"
python3 "$(dirname "$0")/data.py" "$work/data"
cat > "$work/one.dhc" <<'M'
model One() {
  param w: [8, 64] = ones()
  forward<B>(x: [B, 64]) -> (y: [B, 8]) { return relu(x @ w.T) }
}
M
python3 - "$work/x.npy" <<'P' || fail "x.npy"
import struct, sys
head = "{'descr': '<f4', 'fortran_order': False, 'shape': (16, 64), }".ljust(117) + "\n"
open(sys.argv[1], "wb").write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head.encode() + struct.pack("<1024f", *[1.0] * 1024))
P
expect 0 'GFLOP/s  kernel, first in' "$dhcc" run "$work/one.dhc" --inputs "x=$work/x.npy" --profile
"$dhcc" run "$work/one.dhc" --inputs "x=$work/x.npy" --profile --repeat 3 --json > "$work/run.json" 2>/dev/null || fail "run --profile --json"
python3 - "$work/run.json" <<'P' || fail "the profile of run"
import json, sys
rows = json.load(open(sys.argv[1]))["profile"]
assert len(rows) == 1 and rows[0]["kernel"].startswith("dot_"), rows
r = rows[0]
assert r["calls"] == 1 and r["ms"] > 0 and abs(r["share"] - 1) < 1e-9, r
assert r["bytes"] == 4 * (16 * 64 + 8 * 64 + 16 * 8), r
assert 2 * 16 * 64 * 8 <= r["flops"] <= 2 * 16 * 64 * 8 + 16 * 8, r
assert abs(r["gb_per_s"] * r["ms"] * 1e6 - r["bytes"]) < 1, r
P
"$dhcc" train dhc_ssm --set input_channels=1 --set hidden_dim=8 --data "npy:$work/data" --batch 16 --steps 4 --quiet --profile --json \
  > "$work/train.json" 2>/dev/null || fail "train --profile"
python3 - "$work/train.json" <<'P' || fail "the profile of train"
import json, sys
rows = json.load(open(sys.argv[1]))["profile"]
assert len(rows) > 10 and all(r["calls"] >= 1 and r["calls"] == int(r["calls"]) for r in rows), rows
assert rows == sorted(rows, key=lambda r: -r["ms"]) and abs(sum(r["share"] for r in rows) - 1) < 1e-9, rows
assert any(r["kernel"].startswith("conv_dw_") and r["flops"] > 0 for r in rows), rows
P
expect 2 'every run would carry the state on' "$dhcc" run rl_policy --entry step --state "$work/s.safetensors" --inputs "obs=$work/x.npy" --profile
finish
