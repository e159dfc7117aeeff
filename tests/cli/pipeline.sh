#!/usr/bin/env bash
# One pipeline for all: what `print` shows of an entry is what `opt` makes of its graph, by the list of its passes and
# by the word for all of it; and a limit on changes reaches every pass of it.
. "$(dirname "$0")/common.sh"
for case in "mlp forward" "lstm forward" "dhc_ssm classify --set hidden_dim=8" "seq loss"; do
  set -- $case
  model=$1 entry=$2
  shift 2
  "$dhcc" print "$model" --entry "$entry" "$@" --stage=graph --disable-pass layout >"$work/graph" || fail "$model: no graph"
  "$dhcc" print "$model" --entry "$entry" "$@" --stage=fused --disable-pass layout >"$work/fused" || fail "$model: not fused"
  for passes in kernels clean,kernels pipeline; do
    "$dhcc" opt --pass="$passes" --disable-pass layout "$work/graph" >"$work/opt" || fail "$model: opt --pass=$passes"
    cmp -s "$work/fused" "$work/opt" || fail "$model $entry: opt --pass=$passes is not what print shows"
  done
done
"$dhcc" print mlp --stage=graph >"$work/graph"
"$dhcc" print mlp --stage=fused --pass-limit 1 >"$work/one" && "$dhcc" print mlp --stage=fused >"$work/all" || fail "no text"
cmp -s "$work/one" "$work/all" && fail "a limit of 1 changes nothing"
"$dhcc" opt --pass=clean --pass-limit 0 "$work/graph" >"$work/opt" || fail "no text"
cmp -s "$work/opt" "$work/graph" || fail "a limit of 0 changes something"
"$dhcc" print mlp --stage=fused --pass-limit 0 >"$work/none" || fail "no text"
[ "$(grep -c '= kernel(' "$work/none")" -gt "$(grep -c '= kernel(' "$work/all")" ] || fail "a limit of 0 lets ops share kernels"
if "$dhcc" opt --pass=kernel "$work/graph" 2>"$work/err"; then fail "a list that is none is taken"; fi
grep -q "there is no pass 'kernel'" "$work/err" || fail "$(cat "$work/err")"
finish
