#!/usr/bin/env bash
# A device's own memory: what does not fit is said in one line with status 3 before weights or data are made, what another
# process took meanwhile in one line too, and no folder is left. $1: dhcc on the stand-in device.
. "$(dirname "$0")/../cli/common.sh"
python3 "$(dirname "$0")/../cli/data.py" "$work/data" 64
cd "$work" || exit 1
train() { "$dhcc" train mlp --set height=8 --set width=8 --data npy:data --batch 16 --steps 2 --threads 1 --quiet --out o "$@" > out 2> err; }
refused() { # TEXT: one line, status 3, nothing left
  local text=$1 rc
  shift
  "$@"
  rc=$?
  [ $rc = 3 ] || fail "status $rc, wanted 3: $(cat err)"
  [ "$(wc -l < err)" = 1 ] && grep -qE "^dhcc: error: $text\$" err || fail "wanted \"$text\", got \"$(cat err)\""
  [ ! -e o ] || fail "a folder is left: $(ls o)"
}
size='[0-9.]+ [KM]iB'
STANDIN_FREE=100000 refused "GPU memory: MLP needs $size \(optimiser $size, (weights $size, gradients|gradients $size, weights) $size\), 97.7 KiB are free; try a smaller --batch" train
STANDIN_FREE=1450000 refused "GPU memory: entry 'loss' needs $size \(.*\), 1.38 MiB are free; try a smaller --batch" train
STANDIN_FREE=3000000 STANDIN_ROOM=200000 refused "GPU memory: $size for [a-z ]+, 2.86 MiB are free; try a smaller --batch" train
mkdir o
STANDIN_FREE=100000 train
[ -d o ] || fail "a folder that was there before is gone"
STANDIN_FREE=3000000 train || fail "what fits: $(cat err)"
[ -e o/last.safetensors ] || fail "no weights"
finish
