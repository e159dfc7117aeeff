#!/usr/bin/env bash
# An object is the same to the byte wherever its weights lie. $1: dhcc on the stand-in device; $2: dhcc on the host's.
. "$(dirname "$0")/../cli/common.sh"
host=$2
mlp=(mlp --set height=6 --set width=6 --set hidden=20)
python3 "$(dirname "$0")/../cli/data.py" "$work/data" 64
cd "$work" || exit 1
mkdir far near
"$host" train mlp --set height=8 --set width=8 --data npy:data --batch 16 --steps 2 --threads 1 --quiet --out run > /dev/null 2>&1 || fail "train"
built() { # WHAT OPTIONS...
  local what=$1 folder
  shift
  for folder in far near; do
    local d=$dhcc
    [ $folder = near ] && d=$host
    (cd $folder && "$d" build "$@" -o m.o --header m.h --name m > out 2>&1) || fail "$what, $folder: $(cat $folder/out)"
  done
  diff -r far near > difference || fail "$what: $(cat difference)"
}
w=(--weights "$work/run/best.safetensors" --set height=8 --set width=8)
built "weights inside" mlp "${w[@]}"
built "weights in a file" mlp "${w[@]}" --weights-file m.bin
built "a step of training" "${mlp[@]}" --entry train_step --seed 3
built "a step of training from weights" mlp "${w[@]}" --entry train_step
built "calls to test itself" mlp "${w[@]}" --bind B=2 --selftest 2
built "two variants" mlp "${w[@]}" --variant a: --variant b:
built "weights in 8 bits" mlp "${w[@]}" --quantize int8 --bind B=2 --selftest 1
built "weights in 16 bits, measured" mlp "${w[@]}" --quantize bf16 --data "npy:$work/data" --split val --limit 16
built "tables" layers/attention --root MultiHeadAttention --set d_model=8 --set num_heads=2 --set max_len=16
finish
