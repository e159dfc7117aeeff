#!/usr/bin/env bash
# How much of the training data is kept for validation: what was asked for, and 0 is none.
. "$(dirname "$0")/common.sh"
python3 - "$work" <<'P' || fail "no data"
import os, struct, sys

def npy(path, descr, shape, data):
    head = "{'descr': '%s', 'fortran_order': False, 'shape': %s, }" % (descr, repr(tuple(shape)))
    head += " " * (63 - (10 + len(head)) % 64) + "\n"
    with open(path, "wb") as f:
        f.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head.encode() + data)

os.makedirs(sys.argv[1] + "/d/train")
npy(sys.argv[1] + "/d/train/x.npy", "<f4", (24, 2), struct.pack("<48f", *range(48)))
npy(sys.argv[1] + "/d/train/target.npy", "<i8", (24,), struct.pack("<24q", *range(24)))
P
cat > "$work/m.dhc" <<'M'
import std/nn
import std/optim
model M() {
  param w: [2] = ones()
  loss<B>(x: [B, 2], target: i64[B]) -> (loss: []) { return mean(sum(x * w, axis = -1)) }
}
recipe default for M {
  optimizer = sgd(momentum = 0.0)
  lr(step, steps) = 1e-3
  batch = 1
  epochs = 1
}
M
# steps WANTED [option...]: steps of one epoch
steps() {
  local got
  got=$("$dhcc" train "$work/m.dhc" --backend interp --data "npy:$work/d" --json --quiet "${@:2}" 2>"$work/said" | number steps)
  [ "$got" = "$1" ] || fail "$got steps, want $1: ${*:2} $(cat "$work/said")"
}
steps 22
steps 24 --val-fraction 0
steps 12 --val-fraction 0.5
steps 23 --val-fraction 0.05
# a split of its own, of 6 examples, unless a share is asked for
mkdir "$work/d/val"
python3 - "$work" <<'P' || fail "no data"
import os, struct, sys
for name in "x", "target":
    data = open(sys.argv[1] + "/d/train/%s.npy" % name, "rb").read()
    with open(sys.argv[1] + "/d/val/%s.npy" % name, "wb") as f:
        f.write(data[:128].replace(b"(24,", b"(6,")[:-1] + b" \n" + data[128:128 + 48])
P
steps 24
steps 24 --val-fraction 0
steps 12 --val-fraction 0.5
finish
