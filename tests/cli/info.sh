#!/usr/bin/env bash
# info: exact parameter counts, one JSON document on stdout.
. "$(dirname "$0")/common.sh"
n=$("$dhcc" info dhc_ssm --json | number parameters)
[ "$n" = 507402 ] || fail "dhc_ssm has $n parameters, want 507402"
"$dhcc" info dhc_ssm --json --sizes B=16,H=32,W=32 > "$work/info.json" || fail "info with sizes"
python3 - "$work/info.json" <<'P' || fail "entry figures"
import json, sys
e = json.load(open(sys.argv[1]))["entry"]
assert e["flops"] > 1e9 and e["kernels"] > 0, e
assert e["planned_bytes"] == e["allocated_bytes"], e
P
cat > "$work/least.dhc" <<'M'
model Least() {
  forward<B>(x: [B]) -> (y: [B]) {
    require B >= 4, "at least four"
    return x + 1.0
  }
}
M
expect 1 "least.dhc:3:5: error[E0305]: entry 'forward': at least four" "$dhcc" info "$work/least.dhc" --sizes B=3
expect 1 "note: the inputs have B = 3" "$dhcc" info "$work/least.dhc" --sizes B=3
expect 0 '(all)' "$dhcc" info mlp
expect 0 'B = 2, H = 32 (assumed), W = 32 (assumed)' "$dhcc" info dhc_ssm --sizes B=2
expect 0 'note: sizes not given are assumed: --sizes H=32,W=32' "$dhcc" info dhc_ssm --sizes B=2
expect 0 'H//2 >= 4' "$dhcc" info dhc_ssm --sizes B=2,H=16,W=16
expect 0 'M7 A1' "$dhcc" info dhc_jamba
expect 0 'note: tokens = pooled gives the mixers a single token' "$dhcc" info dhc_jamba
expect 0 'note: no ' "$dhcc" info dhc_jamba --set num_layers=4
expect 1 "has no preset 'nothing_like_it'" "$dhcc" check dhc_ssm --preset nothing_like_it
finish
