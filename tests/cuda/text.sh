#!/usr/bin/env bash
# Every kernel of every shipped model, forward and training step, has a CUDA form: no toolkit is needed to see that.
# $1: dhcc; behind it ways to compute, all without one
set -u
fails=0
check() {
  local out
  for compute in $computes; do
    for stage in cuda train.cuda; do
      out=$("$dhcc" print "$@" --stage=$stage --gpu-arch sm_90a --compute $compute --no-cache 2>&1 >/dev/null) && continue
      echo "FAILED: print $* --stage=$stage --compute $compute: $out"
      fails=1
    done
  done
}
dhcc=$1
shift
computes=${*:-f32 tf32 bf16}
for model in dhc_ssm dhc_jamba "dhc_jamba --preset medium --set tokens=grid" seq mlp lstm rl_ssm_policy; do
  # shellcheck disable=SC2086
  check $model
done
exit $fails
