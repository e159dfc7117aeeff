#!/usr/bin/env bash
# train and eval: metrics, checkpoints, NaN stop, same bits at every thread count.
. "$(dirname "$0")/common.sh"
python3 "$(dirname "$0")/data.py" "$work/data"
model=(dhc_ssm --set input_channels=1 --set hidden_dim=8)
train() { "$dhcc" train "${model[@]}" --data "npy:$work/data" --batch 16 --quiet "$@"; }

train --epochs 2 --out "$work/a" || fail "train"
for f in best.safetensors last.safetensors metrics.csv metrics.jsonl config.json; do
  [ -s "$work/a/$f" ] || fail "no $f"
done
head -1 "$work/a/metrics.csv" | grep -q '^step,epoch,loss' || fail "columns of metrics.csv"
expect 0 'accuracy' "$dhcc" eval "${model[@]}" --data "npy:$work/data" --weights "$work/a/best.safetensors" --predictions 3

for t in 1 2 3; do
  train --epochs 2 --threads $t --out "$work/t$t" || fail "train with $t threads"
  cmp -s "$work/a/last.safetensors" "$work/t$t/last.safetensors" || fail "other bits with $t threads"
done

expect 1 'is [' "$dhcc" eval dhc_ssm --set input_channels=1 --set hidden_dim=16 --data "npy:$work/data" --weights "$work/a/best.safetensors"
# the disk takes no more: the last checkpoint stays, nothing half written, the run goes on from it
train --steps 8 --save-every 4 --out "$work/full" || fail "train 8 steps"
before=$(cat "$work/full"/checkpoint-* | sha256sum)
room=$(($(stat -c %s "$work/full/model.dhcm") / 1024 + 2)) # the text of the model is written again
[ "$(cat "$work/full"/checkpoint-* | wc -c)" -gt $((room * 1024)) ] || fail "a checkpoint fits into $room KiB"
full() { (ulimit -f $room; train --steps 16 --save-every 4 --out "$work/full" --resume --allow-changed steps); }
expect 3 'file too large; checkpoint of step 8 kept' full
[ "$before" = "$(cat "$work/full"/checkpoint-* | sha256sum)" ] || fail "checkpoints changed on a full disk"
[ -z "$(find "$work/full" -name '.*')" ] || fail "a temporary file stayed"
expect 0 '' train --steps 16 --save-every 4 --out "$work/full" --resume --allow-changed steps

# what it is about to do stands first; it is never silent for long, on a terminal or in a log
expect 0 'dhcc: note: no MultiHeadAttention among the 4 mixers: pattern, ratio and depth leave kind A out' "$dhcc" train dhc_jamba --preset small --set mamba_ratio=9 --set input_channels=1 \
  --data "npy:$work/data" --batch 2 --steps 1
python3 - "$dhcc" "$work" <<'P' || fail "what is said while it compiles"
import os, pty, re, subprocess, sys, time
command = [sys.argv[1], "train", "dhc_jamba", "--preset", "medium", "--set", "input_channels=1", "--data", "npy:%s/data" % sys.argv[2], "--batch", "2", "--steps", "1", "--no-cache", "--threads", "1"]
def said(ends, more=()):
    here, there = ends()
    p = subprocess.Popen([*command, *more], stderr=there, stdout=there)
    os.close(there)
    text, last, gap = b"", time.time(), 0
    while True:
        try: piece = os.read(here, 4096)
        except OSError: break
        if not piece: break
        gap, last, text = max(gap, time.time() - last), time.time(), text + piece
    os.close(here)
    assert p.wait() == 0, text
    assert re.search(rb"parameters; 200 examples.*\r?\na step is \d+ kernels, (\d+) to compile\r?\n", text, re.S), text
    return text, gap
for ends in pty.openpty, os.pipe:
    text, gap = said(ends)
    assert re.search(rb"compiling kernels \d+ of \d+, \d+ s", text), text
    print("longest silence %.2f s" % gap)
    assert gap < 2.5, gap  # a second and what a loaded machine adds
text, gap = said(os.pipe, ["--log-every", "1000"])
assert b"compiling kernels" not in text and b"epoch 1/1  step 1/1" in text, text
P

# steps decide how many epochs are shown, and run beyond the recipe's where more are asked for
expect 0 'epoch 1/1  step 3/3' "$dhcc" train "${model[@]}" --data "npy:$work/data" --batch 16 --steps 3
expect 0 'epoch 7/7  step 80/80' "$dhcc" train "${model[@]}" --data "npy:$work/data" --batch 16 --steps 80
cat > "$work/plain.dhc" <<'M'
import std/nn
model Plain() {
  param w: [64, 10] = zeros()
  normalize<B>(image: u8[B, 1, 8, 8]) -> (image: [B, 1, 8, 8]) { return float(image) / 255.0 }
  loss<B>(image: [B, 1, 8, 8], target: i64[B]) -> (loss: []) {
    return mean(cross_entropy(reshape(image, [B, 64]) @ w, target))
  }
}
M
expect 0 'note: Plain has no recipe: adam, lr 0.001, batch 64, clip 1' "$dhcc" train "$work/plain.dhc" --data "npy:$work/data" --steps 2

# in which order an optimiser gives weights and moments is its own affair
for order in 'w m v' 'm v w' 'v w m'; do
  set -- $order
  { sed 's/Plain/Own/' "$work/plain.dhc"
    cat <<M
fn own<N>(w: [N], g: [N], m: [N], v: [N], lr: []) -> ($1: [N], $2: [N], $3: [N]) {
  m = 0.5 * m + g
  v = 0.9 * v + g * g
  w = w - lr * m / (sqrt(v) + 1e-3)
  return $1, $2, $3
}
recipe default for Own { optimizer = own() }
M
  } > "$work/own.dhc"
  for backend in ${BACKENDS:-interp cpu}; do
    "$dhcc" train "$work/own.dhc" --data "npy:$work/data" --steps 4 --batch 16 --backend $backend --quiet --out "$work/own.$1.$backend" || fail "train with results $order"
    "$dhcc" eval "$work/own.dhc" --data "npy:$work/data" --backend $backend --weights "$work/own.$1.$backend/last.safetensors" --json > "$work/own.$1.$backend.json"
    cmp -s "$work/own.w.$backend/last.safetensors" "$work/own.$1.$backend/last.safetensors" || fail "$backend: other weights with results $order"
    [ "$(grep '"loss"' "$work/own.w.$backend.json")" = "$(grep '"loss"' "$work/own.$1.$backend.json")" ] || fail "$backend: another loss with results $order"
  done
done

expect 1 'label 3 of the data is outside 0..2' "$dhcc" train dhc_ssm --set input_channels=1 --set hidden_dim=8 --set output_dim=3 --data "npy:$work/data" --batch 200 --quiet
before=$(cat "$work/a"/checkpoint-* | sha256sum)
expect 4 'nothing was changed' train --epochs 3 --lr 1e6 --out "$work/nan"
after=$(cat "$work/a"/checkpoint-* | sha256sum)
[ "$before" = "$after" ] || fail "checkpoints changed"
finish
