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
winograds() { "$dhcc" print dhc_ssm --stage=spec --backend cuda --gpu-arch sm_90a --compute "$1" --quiet | grep -c '^spec winograd'; }
if [[ $computes = *f32* ]] && { [ "$(winograds f32)" != 2 ] || [ "$(winograds tf32)" != 0 ]; }; then
  echo "FAILED: convolutions in tiles are $(winograds f32) kernels in f32 and $(winograds tf32) in tf32, not 2 and 0"
  fails=1
fi
early() { # kernels that bring weights to block memory before they wait for those ahead of them
  "$dhcc" print mlp --stage=cuda --gpu-arch sm_90a --compute "$1" --quiet |
    awk '/__global__/ { brings = waits = 0 } /a\.early/ { next } /copy_async[14]\(&/ { brings = 1 } /griddepcontrol.wait/ { if (brings && !waits) n++; waits = 1 } END { print n + 0 }'
}
if [[ $computes = *tf32* ]] && { [ "$(early f32)" != 0 ] || [ "$(early tf32)" = 0 ]; }; then
  echo "FAILED: $(early f32) kernels of f32 and $(early tf32) of tf32 bring weights early"
  fails=1
fi
exit $fails
