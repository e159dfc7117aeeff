#!/usr/bin/env bash
# After one compile, other batch sizes, image sizes and widths compile nothing.
. "$(dirname "$0")/common.sh"
compiled() { # SIZES SETS... -> kernels compiled
  local sizes=$1
  shift
  "$dhcc" info dhc_ssm --json --entry forward --compile --sizes "$sizes" "$@" | number kernels_compiled
}
first=$(compiled B=16,H=32,W=32)
[ "${first:-0}" -gt 0 ] || fail "the first run compiled $first kernels"
for s in B=1,H=32,W=32 B=7,H=28,W=28 B=64,H=32,W=32; do
  k=$(compiled $s)
  [ "$k" = 0 ] || fail "$s compiled $k kernels"
done
for h in 16 24 64; do
  k=$(compiled B=16,H=32,W=32 --set hidden_dim=$h)
  [ "$k" = 0 ] || fail "hidden_dim=$h compiled $k kernels"
done
finish
