#!/usr/bin/env bash
# Packed weights: the same bits as without them, also after the weights have changed.
. "$(dirname "$0")/common.sh"
py=$(dirname "$0")/agree.py

# same B C H W MODEL [settings...]
same() {
  local b=$1 c=$2 h=$3 w=$4
  shift 4
  python3 "$py" inputs "$work" "$b" "$c" "$h" "$w"
  local in=(--entry forward --quiet --inputs "image=$work/image.npy")
  "$dhcc" run "$@" "${in[@]}" -o "$work/packed.safetensors" || fail "packed: $*"
  "$dhcc" run "$@" "${in[@]}" --disable-pass layout -o "$work/rows.safetensors" || fail "rows: $*"
  cmp -s "$work/packed.safetensors" "$work/rows.safetensors" || fail "other bits: $b x $c x $h x $w $*"
}
same 1 1 28 28 mlp
same 37 1 28 28 mlp --set hidden=33 --set depth=3
same 5 1 28 28 mlp --set hidden=65 --cpu-features -avx512f
same 2 1 13 28 lstm --set hidden=19
same 2 3 16 16 dhc_ssm --set hidden_dim=9
same 2 3 16 16 dhc_jamba
# experts, each packed by itself: columns in whole and in part of a panel, few and many rows
moe() { # TOKENS WIDTH settings...
  local rows=$1 width=$2
  shift 2
  python3 "$py" inputs "$work" 1 1 "$rows" "$width"
  python3 - "$work/image.npy" "$rows" "$width" <<'EOF' || fail "input"
import sys
raw = open(sys.argv[1], "rb").read()
old, new = b"'shape': (1, 1, %s, %s)" % (sys.argv[2].encode(), sys.argv[3].encode()), b"'shape': (1, %s, %s)" % (sys.argv[2].encode(), sys.argv[3].encode())
assert old in raw
open(sys.argv[1], "wb").write(raw.replace(old, new + b"   ", 1))
EOF
  local in=(layers/moe --root MoE --set "d_model=$width" --entry forward --quiet --inputs "x=$work/image.npy")
  "$dhcc" run "${in[@]}" "$@" -o "$work/packed.safetensors" || fail "packed: $*"
  "$dhcc" run "${in[@]}" "$@" --disable-pass layout -o "$work/rows.safetensors" || fail "rows: $*"
  cmp -s "$work/packed.safetensors" "$work/rows.safetensors" || fail "other bits: $rows x $width $*"
}
moe 1 16
moe 5 24 --set num_experts=16 --set top_k=3 --set d_ff=33
moe 70 40 --set num_experts=3 --set top_k=3 --threads 3
moe 40 17 --set num_experts=5 --set d_ff=50 --cpu-features -avx512f
moe 3 8 --set num_experts=1 --set top_k=1
"$dhcc" print layers/moe --root MoE --set d_model=16 --entry forward --stage plan > "$work/plan.txt" || fail "print"
grep -q 'panel:w1' "$work/plan.txt" || fail "experts are not packed"

"$dhcc" print mlp --entry forward --stage plan > "$work/plan.txt" || fail "print"
grep -q 'panel:layers.0.weight' "$work/plan.txt" || fail "nothing is packed"

# validation after every epoch sees the weights of that epoch
python3 "$(dirname "$0")/data.py" "$work/data"
train() { "$dhcc" train mlp --set hidden=16 --set height=8 --set width=8 --data "npy:$work/data" --batch 16 --epochs 3 --quiet "$@"; }
train --out "$work/a" || fail "train"
train --disable-pass layout --out "$work/b" || fail "train without layout"
val() { python3 -c 'import json,sys; print([[r.get(k) for k in ("val_loss","val_accuracy")] for r in map(json.loads, open(sys.argv[1]))])' "$1/metrics.jsonl"; }
[ "$(val "$work/a")" = "$(val "$work/b")" ] || fail "validation differs"
finish
