#!/usr/bin/env bash
# The same command gives the same bits: run after run, at any number of threads, and in what
# it compiles. (Fusion, tiles and batch sizes are compared in tests/backends.)
own_store=1
. "$(dirname "$0")/common.sh"
python3 "$(dirname "$0")/data.py" "$work/data"
here=$(dirname "$0")
steps=50 again=(2 3 4 5) threads=(1 2 3 4 8)
[ "${DHC_SANITIZED:-0}" = 1 ] && steps=12 again=(2) threads=(3)
weights() { # OUT ARGS... -> digest of the trained weights and moments
  local out=$work/$1
  shift
  "$dhcc" train dhc_ssm --set input_channels=1 --set hidden_dim=8 --data "npy:$work/data" --batch 16 --steps $steps --epochs 99 \
    --quiet --out "$out" "$@" || fail "train $*"
  { cat "$out/last.safetensors"; python3 "$here/tensor_bytes.py" "$out"/checkpoint-*"$steps".safetensors; } | sha256sum
}
want=$(weights run1)
for i in "${again[@]}"; do
  [ "$(weights run$i)" = "$want" ] || fail "run $i has other bits"
done
for t in "${threads[@]}"; do
  [ "$(weights threads$t --threads $t)" = "$want" ] || fail "other bits with $t threads"
done
[ "$(weights other --seed 7)" != "$want" ] || fail "another seed gives the same bits"

# The same kernels compiled twice, in empty stores: the entries are equal to the byte.
for k in 1 2; do
  XDG_CACHE_HOME=$work/store$k "$dhcc" info dhc_ssm --compile --entry forward --sizes B=4,H=16,W=16 >/dev/null || fail "info"
done
n=$(find "$work/store1" -type f | wc -l)
[ "$n" -gt 0 ] || fail "nothing was stored"
diff -r "$work/store1" "$work/store2" >&2 || fail "the same kernels have other bytes"
for stage in graph fused plan llvm; do
  "$dhcc" print dhc_ssm --stage=$stage --entry forward > "$work/$stage.1" 2>/dev/null
  "$dhcc" print dhc_ssm --stage=$stage --entry forward --threads 3 > "$work/$stage.2" 2>/dev/null
  [ -s "$work/$stage.1" ] || fail "print --stage=$stage says nothing"
  cmp "$work/$stage.1" "$work/$stage.2" || fail "print --stage=$stage differs from run to run"
done
finish
