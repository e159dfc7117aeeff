#!/usr/bin/env bash
# Parts of a batch one after the other: the same training but for rounding, in the memory of a part, whatever the data come from;
# what is wrong in any of them is found.
. "$(dirname "$0")/common.sh"
python3 "$(dirname "$0")/data.py" "$work/data"
cat "$0" > "$work/text"
cd "$work" || exit 1
train() { timeout 60 "$dhcc" train "$@" --quiet --threads 1; }
near() { # A B [COLUMN]
  paste -d, <(cut -d, -f"${3:-3}" "$1/metrics.csv") <(cut -d, -f"${3:-3}" "$2/metrics.csv") |
    awk -F, 'NR > 1 && ($1 - $2 > 1e-5 * $1 || $2 - $1 > 1e-5 * $1) { bad = 1 } END { exit bad || NR < 6 }'
}
small=(dhc_ssm --set input_channels=1 --set hidden_dim=8 --data npy:data --batch 16 --steps 30)
train "${small[@]}" --out one
train "${small[@]}" --accumulate 3 --out three || fail "three parts" # of 6, 5 and 5; an epoch's last batch has 8 examples
near one three || fail "three parts have other losses"
near one three 4 || fail "three parts have other accuracies"
near one three 10 || fail "three parts have other validations"
train "${small[@]}" --accumulate 16 --out sixteen || fail "parts of one example, some of none"
# gone on with, it is the same run; with another number of parts it is said
train "${small[@]}" --steps 30 --lr 1e-3 --accumulate 2 --out whole
train "${small[@]}" --steps 10 --lr 1e-3 --accumulate 2 --out halves && train "${small[@]}" --steps 30 --lr 1e-3 --accumulate 2 --out halves --resume --allow-changed steps
cmp -s whole/last.safetensors halves/last.safetensors || fail "two parts gone on with"
expect 1 'accumulate: 2 in the run, 4 now' train "${small[@]}" --lr 1e-3 --accumulate 4 --out halves --resume
python3 - <<'P' || fail "a checkpoint keeps sums of parts"
import glob, json, struct
for f in glob.glob("whole/*.safetensors") + glob.glob("whole/*/*.safetensors"):
    b = open(f, "rb").read()
    assert not any("parts_" in k for k in json.loads(b[8:8 + struct.unpack("<Q", b[:8])[0]])), f
P
# of a recipe; averages, averaged weights and tensors in pieces; data that are read from files
cat > m.dhc <<'M'
import std/nn
import layers/moe
import layers/embedding
model M(v: int = 256) {
  embed = Embedding(v, 8)
  mix = MoE(d_model = 8, num_experts = 3)
  out = Linear(8, v)
  loss<B, L>(tokens: i64[B, L], target: i64[B, L]) -> (loss: []) {
    h, aux = mix(embed(tokens))
    y = out(h)
    return mean(cross_entropy(reshape(y, [B * L, v]), reshape(target, [B * L])))
  }
}
recipe default for M { optimizer = adamw(weight_decay = 0.1), lr(step, steps) = 1e-3, batch = 8, steps = 8, ema = 0.9, accumulate = 4 }
M
train m.dhc --data text:text@16 --out of_recipe || fail "accumulate in a recipe"
train m.dhc --data text:text@16 --accumulate 1 --out of_option || fail "one part"
near of_recipe of_option || fail "four parts of text have other losses"
expect 0 'accumulate         4' "$dhcc" train m.dhc --print-recipe
# what is not there, what is not finite
expect 2 '--accumulate: a batch of 16 has no 17 parts' train "${small[@]}" --accumulate 17
expect 2 '--accumulate: needs a whole number' train "${small[@]}" --accumulate no
cat > nan.dhc <<'M'
import std/nn
model N() {
  param w: [2] = ones()
  loss<B>(x: [B, 2], target: i64[B]) -> (loss: []) { return mean(x * w) }
}
M
mkdir nan
python3 - <<'P'
import struct
def npy(path, descr, shape, data):
    h = ("{'descr': '%s', 'fortran_order': False, 'shape': %s, }" % (descr, shape)).ljust(117) + "\n"
    open(path, "wb").write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(h)) + h.encode() + data)
npy("nan/x.npy", "<f4", "(8, 2)", struct.pack("<16f", *[float("nan") if i == 5 else 1.0 for i in range(16)]))
npy("nan/target.npy", "<i8", "(8,)", bytes(64))
P
mkdir nan/train && mv nan/*.npy nan/train
expect 4 "step 1: input 'x' is not finite at index 1; nothing was changed" train nan.dhc --data npy:nan --no-shuffle --val-fraction 0 --batch 8 --accumulate 4
finish
