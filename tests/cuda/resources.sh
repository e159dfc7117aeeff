#!/usr/bin/env bash
# resources.sh DHCC FILE [write]: what NVRTC makes of the contractions and convolutions of some models, or, where FILE is
# resources_all.txt, of all kernels of the training steps of all shipped models in tf32 (half an hour of one core: scripts/soak gpu): threads
# of a block, registers and stack (spills among it) of a thread, block memory, against FILE, whose first line names the NVRTC
# that it is of; `write` writes it anew. Equal lines of a model stand there once. With another NVRTC the kernels are compiled and counted. Exit 77, a skipped test, where there
# is no NVRTC.
dhcc=$1 file=$2
version=$("$dhcc" doctor | sed -n 's/^NVRTC *//p')
case $version in
*"no NVRTC"* | "") echo "skipped: no NVRTC on this machine" && exit 77 ;;
esac
rows='mlp,,f32
mlp,,tf32
mlp,,bf16
dhc_ssm,,tf32' kinds='dot|conv|conv_dw|ragged'
if [ "${file##*/}" = resources_all.txt ]; then
  rows='mlp,train.,tf32
dhc_ssm,train.,tf32
dhc_jamba --preset medium --set tokens=grid,train.,tf32
seq,train.,tf32
lstm,train.,tf32
rl_ssm_policy,,tf32' kinds='[a-z_]+'
fi
table=$(
  echo "NVRTC $version"
  while IFS=, read -r model stage compute; do
    echo "== $model ${stage}resources $compute"
    # shellcheck disable=SC2086
    "$dhcc" print $model "--stage=${stage}resources" --gpu-arch sm_90a --compute "$compute" --quiet |
      grep -E "^($kinds) [0-9]+: threads" | awk '!seen[$0]++' | grep . || echo "failed"
  done <<< "$rows"
)
if [ "${3:-}" = write ]; then
  echo "$table" > "$file"
elif [ "$(head -1 "$file")" = "NVRTC $version" ]; then
  diff "$file" - <<< "$table" || exit 1
else
  echo "this is NVRTC $version, and the table of another: counted only"
  diff <(sed 's/:.*//' "$file" | tail -n +2) <(sed 's/:.*//' <<< "$table" | tail -n +2) || exit 1
fi
