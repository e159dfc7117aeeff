#!/usr/bin/env bash
# The Jamba family: parameter counts, what info says of ratios, and, away from the shapes of the
# reference files, the CPU against the float64 interpreter.
. "$(dirname "$0")/common.sh"

# count WANT model arguments
count() {
  local want=$1 got
  shift
  got=$("$dhcc" info "$@" --json | number parameters)
  [ "$got" = "$want" ] || fail "$* has $got parameters, want $want"
}
count 2536330 dhc_jamba --preset small
count 32055562 dhc_jamba --preset medium
count 342229514 dhc_jamba --preset large
count 816010 dhc_jamba --preset nano
count 1975114 dhc_jamba --preset micro
count 8499466 dhc_jamba --preset mini
count 1220738 rl_policy --set obs=8 --set act=2
count 1221761 rl_value --set obs=17
count 1239047 rl_actor_critic --set obs=17 --set act=6
count 148866 rl_ssm_policy

for m in dhc_jamba rl_policy rl_value rl_actor_critic rl_ssm_policy seq; do expect 0 'no errors' "$dhcc" check "$m"; done
expect 0 'M4 A0' "$dhcc" info dhc_jamba --preset small
expect 0 'nothing to mix' "$dhcc" info dhc_jamba --preset small
expect 0 'no MultiHeadAttention' "$dhcc" info dhc_jamba --preset small
expect 0 'M6 A2' "$dhcc" info dhc_jamba --set ratio=3M:1A
expect 0 'M6 A2' "$dhcc" info dhc_jamba --set ratio=1A:3M
expect 0 'M7 A1' "$dhcc" info dhc_jamba --set pattern=M7A
expect 1 'ratio "7:1" does not say which is which: 7M:1A or 7A:1M' "$dhcc" info dhc_jamba --set ratio=7:1
expect 1 'ratio "3:1A" does not say which is which: 3M:1A or 3A:1M' "$dhcc" info dhc_jamba --set ratio=3:1A
expect 0 'M4 A4' "$dhcc" info dhc_jamba --set pattern=MA
expect 1 'pattern and ratio name no block' "$dhcc" info dhc_jamba --set ratio=0M:0A

# The forward pass of Mamba keeps nothing of [length, channels, states]: 16 states would be
# 32 MiB here.
bytes=$("$dhcc" info layers/mamba --root Mamba --set d_model=64 --sizes B=1,L=4096 --json |
  python3 -c 'import json,sys; print(json.load(sys.stdin)["entry"]["workspace_bytes"])')
[ "$bytes" -le 16000000 ] || fail "mamba at length 4096 works in $bytes bytes"

# Attention keeps nothing of [heads, length, length], 512 MiB here; over one key it is its value,
# so that two of the four projections are left.
entry() {
  "$dhcc" info layers/attention --root MultiHeadAttention --set d_model=512 --sizes "$1" --json |
    python3 -c 'import json,sys; print(json.load(sys.stdin)["entry"][sys.argv[1]])' "$2"
}
[ "$(entry B=1,L=4096 workspace_bytes)" -le 60000000 ] || fail "attention works in too much memory"
[ "$(entry B=1,L=1 flops)" -eq $((2 * 2 * 512 * 512)) ] || fail "attention of one key computes more than its value"

# what an entry takes is what it takes as the model is set
expect 0 'forward(x: f32[B, L, 16]) -> (y: f32[B, L, 16])' "$dhcc" info layers/attention --root MultiHeadAttention --set d_model=16
expect 0 'forward(x: f32[B, L, 16], reset: bool[B, L] = ...) ->' "$dhcc" info layers/attention --root MultiHeadAttention --set d_model=16 --set causal=true

# agree INPUTS model arguments
agree() {
  python3 "$(dirname "$0")/same_run.py" "$dhcc" "$@" > "$work/log" 2>&1 || fail "$* :: $(cat "$work/log")"
}
mamba="layers/mamba --root Mamba --set d_model=24"
attention="layers/attention --root MultiHeadAttention --set d_model=24"
moe="layers/moe --root MoE --set d_model=16"
stack="layers/jamba --root JambaStack --set d_model=16 --set num_heads=2 --set num_experts=4"
# shellcheck disable=SC2086
{
  agree x:f32:2x9x24 $mamba --set d_state=4 --set d_conv=3
  agree x:f32:1x65x24 $mamba --set d_state=8
  agree x:f32:3x1x24 $mamba --set d_state=5 --set d_conv=1
  agree x:f32:2x65x24 $attention --set num_heads=3 --set causal=true
  agree x:f32:2x7x24 $attention --set num_heads=6 --set num_kv_heads=3 --set use_rope=false
  agree x:f32:1x1x24 $attention --set num_heads=3 --set num_kv_heads=1
  agree x:f32:5x13x16 $moe --set num_experts=16 --set top_k=3
  agree x:f32:1x1x16 $moe --set num_experts=16 --set top_k=3 --set d_ff=33
  agree x:f32:4x16 $moe --set num_experts=1 --set top_k=1
  agree x:f32:130x16 $moe --set num_experts=3 --set top_k=3 --set d_ff=5
  for r in 0 1 7; do agree x:f32:2x5x16 $stack --set mamba_ratio=$r --set moe_frequency=0; done
  agree x:f32:2x5x16 $stack --set moe_frequency=1
  agree x:f32:1x65x16 $stack --set mamba_ratio=3 --set causal=true
  agree image:f32:2x3x12x20 dhc_jamba --set hidden_dim=4 --set num_layers=2 --set num_heads=2 --set mamba_ratio=1 --set tokens=grid
  agree image:f32:3x3x3x5 dhc_jamba --set hidden_dim=4 --set num_layers=2 --set num_heads=2 --set mamba_ratio=1
  agree tokens:i64:2x21 seq --set vocabulary=11 --set d_model=16 --set num_layers=2 --set mamba_ratio=1 --set num_heads=2
  agree tokens:i64:2x21,target:i64:2x21 seq --entry loss --set vocabulary=11 --set d_model=16 --set num_layers=2 --set num_heads=2
  agree obs:f32:2x9x8,reset:bool:2x9 rl_ssm_policy --entry sequence
  agree obs_seq:f32:2x9x8 rl_policy --entry sequence --set hidden_dim=16
}
finish
