#!/usr/bin/env bash
# What a GPU's machine lacks is one line with status 3, said before weights, inputs or data are looked for.
# $1: dhcc, $2: the stand-in driver
set -u
fails=0
missing() { # TEXT COMMAND...
  local text=$1 out rc
  shift
  out=$("$@" 2>&1)
  rc=$?
  [ $rc = 3 ] && [ "$out" = "dhcc: error: --backend cuda: $text" ] && return
  echo "FAILED: $*: wanted status 3 and \"$text\", got $rc and \"$out\""
  fails=1
}
dhcc=$1
export DHC_LIBCUDA=$2 DHC_LIBNVRTC=/nonexistent/libnvrtc.so.13
for command in "run mlp --weights /nonexistent.safetensors" "run mlp --inputs image=/nonexistent.npy" "train mlp --data npy:/nonexistent" \
               "eval mlp --data npy:/nonexistent --weights /nonexistent.safetensors" "sweep mlp --set hidden=8,16"; do
  # shellcheck disable=SC2086
  missing "no NVRTC ($DHC_LIBNVRTC): install the CUDA toolkit's libnvrtc, or name it in DHC_LIBNVRTC" "$dhcc" $command --backend cuda
done
"$dhcc" print mlp --stage=cuda --gpu-arch sm_90a > /dev/null || { echo "FAILED: texts need no NVRTC"; fails=1; }
exit $fails
