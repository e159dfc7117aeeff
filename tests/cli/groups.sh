#!/usr/bin/env bash
# Groups of parameters with optimisers, losses and turns of their own: said before a run, kept by it, the same in parts of a batch, as
# one file and as an object; tests/language_gaps has the numbers.
. "$(dirname "$0")/common.sh"
cc=${2:-cc}
cp "$(dirname "$0")/../language_gaps/05_turns.dhc" "$work/gan.dhc"
cd "$work" || exit 1
train() { timeout 60 "$dhcc" train "$@" --threads 1; }
python3 - <<'P'
import os, random, struct
def npy(path, shape, data):
    h = ("{'descr': '<f4', 'fortran_order': False, 'shape': %s, }" % (shape,)).ljust(117) + "\n"
    open(path, "wb").write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(h)) + h.encode() + struct.pack(f"<{len(data)}f", *data))
r = random.Random(1)
for folder, n in (("data", 16), ("one", 4)):
    os.makedirs(folder + "/train")
    for name in ("noise", "real"):
        npy(f"{folder}/train/{name}.npy", (n, 3), [r.gauss(0, 1) for _ in range(3 * n)])
os.makedirs("seq/train")
npy("seq/train/x.npy", (8, 5, 4), [r.gauss(0, 1) for _ in range(160)])
P
gan=(gan.dhc --data npy:data --val-fraction 0 --lr 1e-2)
said='note: group critic.*: 4 parameters, sgd(momentum = 0.9, nesterov = 0, weight_decay = 0), 4 times the rate, by critic_loss, every 3 steps after 1'
expect 0 "$said" train "${gan[@]}" --steps 9 --out whole
expect 0 "$said" "$dhcc" info gan.dhc --entry loss --sizes B=4
expect 0 'critic.* { loss=critic_loss optimizer=sgd' "$dhcc" train gan.dhc --print-recipe
# gone on with between two turns it is the same run; with other groups it is said
train "${gan[@]}" --quiet --steps 4 --out halves && train "${gan[@]}" --quiet --steps 9 --out halves --resume --allow-changed steps || fail "gone on with"
cmp -s whole/last.safetensors halves/last.safetensors || fail "a run that went on differs"
sed 's/every = 3/every = 4/' gan.dhc > other.dhc
expect 1 'groups: … every=3 after=1 } gen.* { every=2 after=0 } in the run, … every=4 after=1' train other.dhc "${gan[@]:1}" --steps 12 --out halves --resume
# allowed to, a group's other optimiser begins anew, other numbers go on
begun() { grep -ao 'first_step":"[0-9]*' "$1" | grep -o '[0-9]*$'; }
train other.dhc "${gan[@]:1}" --quiet --steps 12 --out halves --resume --allow-changed groups,steps || fail "other turns"
[ "$(begun halves/checkpoint-000000012.safetensors)" = 0 ] || fail "other turns begin anew"
sed 's/sgd(momentum = 0.9)/adamw()/' gan.dhc > other.dhc
train other.dhc "${gan[@]:1}" --quiet --steps 13 --out halves --resume --allow-changed groups,steps || fail "another optimiser"
[ "$(begun halves/checkpoint-000000013.safetensors)" = 12 ] || fail "another optimiser goes on with the state of the first"
# in parts of a batch: all losses and gradients are those of the whole, but for rounding
train "${gan[@]}" --quiet --steps 9 --accumulate 3 --out parts || fail "parts of a batch"
paste -d, <(cut -d, -f3 whole/metrics.csv) <(cut -d, -f3 parts/metrics.csv) |
  awk -F, 'NR > 1 && ($1 - $2 > 1e-5 * $1 || $2 - $1 > 1e-5 * $1) { bad = 1 } END { exit bad || NR < 9 }' || fail "parts of a batch train otherwise"
"$dhcc" pack whole -o whole.dhcm > /dev/null || fail "pack"
expect 0 "$said" "$dhcc" info whole.dhcm --entry loss --sizes B=4
# as an object: the same losses, step by step
"$dhcc" build gan.dhc --entry train_step --seed 3 -o gan.o --header gan.h 2> /dev/null || fail "build"
cat > main.c <<'C'
#include <stdio.h>
#include <stdlib.h>
#include "gan.h"
int main(void) {
  float x[2][12], loss, other, norm;
  unsigned char finite;
  char head[128];
  FILE *f[2] = {fopen("one/train/noise.npy", "rb"), fopen("one/train/real.npy", "rb")};
  for (int i = 0; i < 2; i++)
    if (!f[i] || fread(head, 1, 128, f[i]) != 128 || fread(x[i], 4, 12, f[i]) != 12 || fclose(f[i])) return 2;
  void *state = aligned_alloc(64, GAN_TRAIN_STEP_STATE_BYTES); /* whole lines of 64 bytes */
  long bytes = (long)gan_train_step_workspace_bytes(4, 1);
  void *work = aligned_alloc(64, (size_t)(bytes + 63) / 64 * 64);
  gan_train_step_scalars now = GAN_TRAIN_STEP_SCALARS;
  if (gan_train_step_init(state, GAN_TRAIN_STEP_STATE_BYTES)) return 2;
  for (now.lr = 1e-2f; now.opt_step < 8; now.opt_step += 1) {
    if (gan_train_step(state, x[0], x[1], &loss, &other, &norm, &finite, &now, 4, work, bytes, NULL)) return 3;
    printf("%.9g,%.9g\n", (double)loss, (double)norm);
  }
  return 0;
}
C
"$cc" -std=c11 -O1 main.c gan.o -lm -o main || fail "a program with the object"
train gan.dhc --data npy:one --val-fraction 0 --no-shuffle --batch 4 --lr 1e-2 --seed 3 --steps 7 --quiet --out seven
diff <(./main) <(tail -n +2 seven/metrics.csv | cut -d, -f3,6) || fail "the object trains otherwise"
# all by the second of two losses is a model with that loss alone, bit for bit; and what losses share is there once
cat > two.dhc <<'M'
import std/nn
import layers/linear
import layers/mamba
model Two() {
  a = Mamba(d_model = 4)
  head = Linear(4, 2)
  value = Linear(4, 1)
  loss<B, L>(x: [B, L, 4]) -> (loss: [], value_loss: []) {
    h = a(x)
    return mean(square(head(h))), mean(square(value(h) - 1.0))
  }
}
recipe one for Two { batch = 4 }
recipe two for Two { batch = 4, groups = { "value.*" = { loss = value_loss } } }
recipe other for Two { batch = 4, groups = { "a.*" = { loss = value_loss }, "value.*" = { loss = value_loss }, "head.*" = { every = 16777216, after = 9 } } }
M
sed 's/return mean(square(head(h))), \(.*\)$/v = \1\n    return v, v/' two.dhc > alone.dhc
train two.dhc --recipe other --data npy:seq --val-fraction 0 --clip 0 --steps 6 --quiet --out by_group
train alone.dhc --recipe one --data npy:seq --val-fraction 0 --clip 0 --steps 6 --quiet --out by_first
python3 - <<'P' || fail "a loss that groups name trains otherwise than the first"
import json, struct
def read(path):
    b = open(path, "rb").read()
    n = struct.unpack("<Q", b[:8])[0]
    return {k: b[8 + n:][slice(*v["data_offsets"])] for k, v in json.loads(b[8:8 + n]).items() if k != "__metadata__"}
a, b = read("by_group/last.safetensors"), read("by_first/last.safetensors")
assert a and a == b, [k for k in a if a[k] != b.get(k)]
P
flops() { "$dhcc" info two.dhc --recipe "$1" --entry loss --sizes B=4,L=32 --json | python3 -c 'import json,sys; print(json.load(sys.stdin)["costs"]["flops_train"])'; }
python3 -c 'import sys; a, b = map(float, sys.argv[1:]); sys.exit(not a < b < 1.02 * a)' "$(flops one)" "$(flops two)" || fail "two losses: $(flops one) and $(flops two) operations"
finish
