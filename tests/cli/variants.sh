#!/usr/bin/env bash
# After one compile, other batch sizes, image sizes and widths compile nothing.
own_store=1
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

# Passes work once on each distinct function: a stack twice as deep has no more of them, differentiated or fused.
functions() { "$dhcc" print dhc_jamba --set hidden_dim=16 --set num_layers="$1" --stage=train.fused | grep -c '^func'; }
a=$(functions 8) b=$(functions 16)
[ "${a:-0}" -gt 0 ] && [ "$a" = "$b" ] || fail "$a functions in 8 blocks, $b in 16"

# Of DHC-Jamba, training steps too: kernels that one variant has and another lacks, as specs. What is an argument
# (attention's scale, how many blocks tap something into the loss) makes none; what is unrolled does.
specs() { "$dhcc" print "$1" --stage=train.spec "${@:2}" > "$work/out" || fail "print $*"; }
new() { # WANT MODEL SETS-OF-A -- SETS-OF-B
  local want=$1 model=$2 a=() got
  shift 2
  while [ "$1" != -- ]; do a+=(--set "$1"); shift; done
  shift
  specs "$model" "${a[@]}"
  mv "$work/out" "$work/a"
  specs "$model" "${a[@]}" "${@/#/--set=}"
  got=$(python3 -c 'import sys
a, b = (set(open(f).read().split("\n\n")) for f in sys.argv[1:])
print(len(b - a))' "$work/a" "$work/out")
  [ "$got" = "$want" ] || fail "$model with $*: $got new kernels, want $want"
}
small=(hidden_dim=32 num_layers=4 num_heads=4 num_experts=4 mamba_ratio=1)
for tokens in pooled grid; do
  for b in "hidden_dim=16 num_heads=2" "moe_frequency=1" "moe_frequency=4" "moe_frequency=0" "num_layers=3" "pattern=MMA" "ffn_inner=100"; do
    # shellcheck disable=SC2086
    new 0 dhc_jamba "${small[@]}" tokens=$tokens -- $b
  done
done
new 0 dhc_jamba "${small[@]}" -- hidden_dim=48
new 3 dhc_jamba "${small[@]}" tokens=grid -- hidden_dim=48 # head size, in attention and its two derivatives
new 0 seq num_layers=2 mamba_ratio=1 window=64 -- window=32 vocabulary=100 d_model=64 num_heads=2
finish
