#!/usr/bin/env bash
# A number that is not finite, planted in the data, the initial weights, the forward pass, the
# gradient and the update, in the first, a middle and the last step: the run stops in that step
# with exit 4, says which tensor and which element, and what was saved before stays as it was.
. "$(dirname "$0")/common.sh"
python3 - "$work" <<'P' || fail "no data"
import math, os, struct, sys

def npy(path, descr, shape, data):
    head = "{'descr': '%s', 'fortran_order': False, 'shape': %s, }" % (descr, repr(tuple(shape)))
    head += " " * (63 - (10 + len(head)) % 64) + "\n"
    with open(path, "wb") as f:
        f.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head.encode() + data)

N = 6
for name, place, bad in [("good", None, 0.0)] + [("nan%d" % i, 4 * i + i % 4, math.nan) for i in range(N)] + [
        ("inf", 9, math.inf), ("minus", 9, -math.inf), ("zero", 9, 0.0), ("negative", 9, -3.0)]:
    folder = os.path.join(sys.argv[1], name, "train")
    os.makedirs(folder)
    x = [1.0 + k % 5 for k in range(4 * N)]
    if place is not None:
        x[place] = bad
    npy(folder + "/x.npy", "<f4", (N, 4), struct.pack("<%df" % (4 * N), *x))
    npy(folder + "/target.npy", "<i8", (N,), struct.pack("<%dq" % N, *range(N)))
P
cat > "$work/m.dhc" <<'M'
import std/nn
import std/optim
model M() {
  param w: [4] = INIT
  param b: [3] = zeros()
  forward<B>(x: [B, 4]) -> (y: [B]) { return sum(FORWARD, axis = -1) }
  loss<B>(x: [B, 4], target: i64[B]) -> (loss: [], y: [B]) {
    y = forward(x)
    return mean(y) + sum(b), y
  }
}
recipe default for M {
  optimizer = OPTIMIZER
  lr(step, steps) = LR
  batch = 1
  clip = 0
  epochs = 1
}
M
# model NAME INIT FORWARD LR [OPTIMIZER]
model() {
  sed -e "s|INIT|$2|; s|FORWARD|$3|; s|LR|$4|; s|OPTIMIZER|${5:-sgd(momentum = 0.9)}|" "$work/m.dhc" > "$work/$1.dhc"
}
model plain 'ones()' 'x * w' '1e-3'
model init 'ones() / zeros()' 'x * w' '1e-3'
model sqrt 'ones()' 'sqrt(x) * w' '1e-3'
model root 'zeros()' 'sqrt(x * w)' '1e-3'
model log 'ones()' 'log(x) * w' '1e-3'
for k in 1 3 5; do # in step k + 1; an infinite rate of step 0 is refused before anything runs
  model lr$k 'ones()' 'x * w' "1e300 * 1e300 if step == $k else 1e-3"
  model adam$k 'ones()' 'x * w' "1e300 * 1e300 if step == $k else 1e-3" 'adamw(weight_decay = 0.01)'
  model far$k 'ones()' 'x * w' "HUGE if step == $k else 1e-3" # each factor is finite, the product is not
done
model decay 'ones()' 'x * w' 'HUGE' 'adamw(weight_decay = 1e30)'
cat > "$work/mean.dhc" <<'M'
import std/nn
import std/optim
# The running mean overflows, the loss and its gradient do not.
model M() {
  param w: [4] = ones()
  buffer mean: [4] = ones()
  forward<B>(x: [B, 4]) -> (y: [B]) { return sum(x * w, axis = -1) }
  loss<B>(x: [B, 4], target: i64[B]) -> (loss: []) {
    mean <- mean * BIG
    return mean(forward(x))
  }
}
recipe default for M { optimizer = adam()
  lr(step, steps) = 1e-3
  batch = 1
  epochs = 1
}
M

# stops MODEL DATA: the run ends with exit 4; leaves the message in $line and the step in $at;
# a checkpoint is there of the step before and of no later one, and going on stops again.
stops() {
  local out=$work/out
  rm -rf "$out"
  line=$("$dhcc" train "$work/$1.dhc" --backend "$backend" --data "npy:$work/$2" --val-fraction 0 --save-every 1 --quiet --out "$out" 2>&1)
  local rc=$? saved
  [ "$rc" = 4 ] || fail "$backend $1 $2: exit $rc: $line"
  at=$(printf '%s\n' "$line" | sed -n 's/^dhcc: error: step \([0-9]*\): .*; nothing was changed$/\1/p')
  [ -n "$at" ] || { fail "$backend $1 $2: said: $line"; at=0; return; }
  saved=$(find "$out" -name 'checkpoint-*' | sort | tail -1)
  [ "$at" = 1 ] || [ "$saved" = "$out/checkpoint-$(printf %09d $((at - 1))).safetensors" ] ||
    fail "$backend $1 $2: stopped in step $at, last checkpoint $saved"
  [ "$at" != 1 ] || [ -z "$saved" ] || fail "$backend $1 $2: saved $saved"
  [ ! -e "$out/last.safetensors" ] || fail "$backend $1 $2: wrote last.safetensors"
  [ "$at" = 1 ] && return
  local before after again
  before=$(cat "$out"/checkpoint-* | sha256sum)
  again=$("$dhcc" train "$work/$1.dhc" --backend "$backend" --data "npy:$work/$2" --val-fraction 0 --save-every 1 --quiet --out "$out" --resume 2>&1)
  after=$(cat "$out"/checkpoint-* | sha256sum)
  [ "$again" = "$line" ] || fail "$backend $1 $2: resumed: $again"
  [ "$before" = "$after" ] || fail "$backend $1 $2: the checkpoint changed"
}
names() { case $line in *"$1"*) ;; *) fail "$backend: no \"$1\" in: $line" ;; esac; }

for backend in ${BACKENDS:-interp cpu}; do
  huge=3e38 big=1e15
  [ "$backend" = cpu ] || huge=1.7e308 big=1e150
  steps=
  for i in 0 1 2 3 4 5; do # one example a step: each place is some step, and every step some place
    stops plain nan$i
    names "input 'x' is not finite at index $((i % 4));"
    steps="$steps$at "
  done
  [ "$(printf '%s\n' $steps | sort -n | tr '\n' ' ')" = '1 2 3 4 5 6 ' ] || fail "$backend: stopped in steps $steps"
  for d in inf minus; do stops plain $d; names "input 'x' is not finite at index 1;"; done
  stops init good; names "step 1: tensor 'w' is not finite at index 0;"
  stops sqrt negative; names "is not finite"
  stops log zero; names "'loss' is not finite"
  stops root good; names "'grad."; names "' is not finite at index 0"
  for k in 1 3 5; do # a finite gradient, an update that is not
    for o in lr adam far; do
      sed "s/HUGE/$huge/" "$work/$o$k.dhc" > "$work/now.dhc"
      stops now good
      names "step $((k + 1)): the update makes tensor 'w' not finite at index 0;"
    done
  done
  sed "s/HUGE/$huge/" "$work/decay.dhc" > "$work/now.dhc"
  stops now good; names "step 1: the update makes tensor 'w' not finite"
  sed "s/BIG/$big/" "$work/mean.dhc" > "$work/buffer.dhc"
  stops buffer good; names "step 3: the new value of a buffer is not finite"
  [ "$fails" = 0 ] || break
done
finish
