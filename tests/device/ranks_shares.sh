#!/usr/bin/env bash
# What the optimiser keeps, shared out over ranks (--shard-optimizer): the bits are those of ranks that have all of it, in files,
# too, a run goes on with any number of them, with shares or without, and what goes wrong is one line of all.
# $1: dhcc with the stand-in device, $2: the stand-in NCCL
. "$(dirname "$0")/../cli/common.sh"
export DHC_LIBNCCL=$2 STAND_IN_NCCL_FOLDER=$work
cli=$(dirname "$0")/../cli
models=$(dirname "$0")/../../models
python3 "$cli/data.py" "$work/data"
run() { timeout 120 "$dhcc" train "$1" --data "npy:$work/data" --batch 16 --threads 1 "${@:2}"; }
ssm() { run dhc_ssm --set input_channels=1 --set hidden_dim=8 --quiet "$@"; }
same() { # A B WHAT: weights, metrics, last checkpoints
  local a b
  a=$(find "$work/$1" -name 'checkpoint-*' | sort | tail -1) b=$(find "$work/$2" -name 'checkpoint-*' | sort | tail -1)
  cmp -s "$work/$1/last.safetensors" "$work/$2/last.safetensors" || fail "$3: other weights"
  cmp -s <(cut -d, -f1-6,9,10 "$work/$1/metrics.csv") <(cut -d, -f1-6,9,10 "$work/$2/metrics.csv") || fail "$3: other metrics"
  [ "${a##*/}" = "${b##*/}" ] && python3 "$cli/same_state.py" "$a" "$b" || fail "$3: other checkpoints"
}
# groups with optimisers, arguments and turns of their own, a submodule that follows another, averages, clipping, parts in turn
cat > "$work/own.dhc" <<'M'
import std/nn
import std/optim
layer Net() {
  param a: [64, 16] = xavier_uniform()
  param b: [16] = zeros()
  param c: [16, 10] = xavier_uniform()
  forward<B>(x: [B, 64]) -> (y: [B, 10]) { return relu(x @ a + b) @ c }
}
model Own() {
  net = Net()
  slow = average(net, decay = 0.9)
  param z: [10] = zeros()
  normalize<B>(image: u8[B, 1, 8, 8]) -> (image: [B, 1, 8, 8]) { return float(image) / 255.0 }
  loss<B>(image: [B, 1, 8, 8], target: i64[B]) -> (loss: []) {
    x = reshape(image, [B, 64])
    return mean(cross_entropy(net(x) + z, target)) + mean(square(net(x) - slow(x)))
  }
}
recipe default for Own { optimizer = adamw(weight_decay = 0.01)
  groups = { "*.c" = { optimizer = sgd(momentum = 0.9), lr = 0.5, every = 2, after = 1 }, "*.a" = { beta1 = 0.5 } }
  lr(step, steps) = 1e-2
  batch = 16
  epochs = 5
  ema = 0.9
  clip = 0.5
}
M
own() { run "$work/own.dhc" --quiet --steps 6 --accumulate 2 --check-ranks 1 --overwrite "$@"; }
for n in 2 3; do
  own --gpus $n --out "$work/whole" && own --gpus $n --shard-optimizer --out "$work/shares" || fail "$n ranks"
  same whole shares "$n ranks"
done

# experts, whose steps count from their first gradient; dropout
sed -e 's/lr(step, steps) = .*/lr(step, steps) = 1e-3\n  ema = 0.9/' "$models/dhc_jamba.dhc" > "$work/experts.dhc"
experts() { run "$work/experts.dhc" --preset nano --set input_channels=1 --set hidden_dim=4 --set tokens=grid --set mamba_ratio=1 --quiet --gpus 2 --steps 3 "$@"; }
experts --out "$work/e1" && experts --shard-optimizer --out "$work/e2" || fail "experts"
same e1 e2 "experts and averages"

# 4 with shares, 2 without, 1, 2 with; and the other way round
on() { # OUT STEPS OPTIONS...
  ssm --lr 1e-3 --steps "$2" --out "$work/$1" "${@:3}" || fail "$1 up to step $2"
}
go=(--resume --allow-changed steps)
on there 2 --gpus 4 --shard-optimizer && on there 4 --gpus 2 "${go[@]}" && on there 6 "${go[@]}" && on there 8 --gpus 2 --shard-optimizer "${go[@]}"
on back 2 --gpus 4 && on back 4 --gpus 2 --shard-optimizer "${go[@]}" && on back 6 "${go[@]}" && on back 8 --gpus 2 "${go[@]}"
same there back "runs that go on"

# a moment that overflows on the rank that has it, in a step that was looked at: all stop, nothing is changed
cat > "$work/far.dhc" <<'M'
import std/nn
fn far<N>(w: [N], g: [N], m: [N], lr: [], step: []) -> (w: [N], m: [N]) {
  m = m * 1e15 + g
  return w - lr * tanh(m), m
}
model Far() {
  param a: [64, 10] = xavier_uniform()
  param b: [64, 10] = xavier_uniform()
  normalize<B>(image: u8[B, 1, 8, 8]) -> (image: [B, 1, 8, 8]) { return float(image) / 255.0 }
  loss<B>(image: [B, 1, 8, 8], target: i64[B]) -> (loss: []) {
    x = reshape(image, [B, 64])
    return mean(cross_entropy(x @ a * 1e-8 + x @ b, target))
  }
}
recipe default for Far { optimizer = far()
  lr(step, steps) = 1e-3
  batch = 16
  epochs = 5
  clip = 0.0
}
M
far() { run "$work/far.dhc" --steps 8 "$@"; }
for shares in "" --shard-optimizer; do
  # shellcheck disable=SC2086
  expect 4 "dhcc: error: rank 0: step 4: the update makes 'm' of tensor 'b' not finite at index 0; nothing was changed" far --quiet --save-every 1 --gpus 2 $shares --out "$work/far$shares"
done
python3 "$cli/same_state.py" "$work/far/checkpoint-000000003.safetensors" "$work/far--shard-optimizer/checkpoint-000000003.safetensors" || fail "another state before a step that is refused"

# what it saves is said
expect 0 'of 5.0 KiB that the optimizer keeps this GPU has 2.5, the fullest 2.5' run "$work/far.dhc" --gpus 2 --shard-optimizer --steps 1
sed -e 's/g: \[N\], m: \[N\]/g: [N]/; s/, m: \[N\])/)/; /m = m/d; s/tanh(m), m/g/' "$work/far.dhc" > "$work/near.dhc"
expect 0 'note: the optimizer keeps nothing: --shard-optimizer saves no memory' run "$work/near.dhc" --gpus 2 --shard-optimizer --steps 1
expect 0 'note: batches of 1: 1 of 2 GPUs have no example (--batch 2 or more)' run "$work/near.dhc" --gpus 2 --steps 1 --batch 1
doc=$(run "$work/far.dhc" --gpus 2 --shard-optimizer --steps 1 --quiet --json)
[ "$(printf '%s' "$doc" | number optimizer_bytes) $(printf '%s' "$doc" | number optimizer_bytes_in_all) $(printf '%s' "$doc" | number optimizer_bytes_fullest)" = "2560 5120 2560" ] ||
  fail "bytes of the optimiser: $doc"

# and counts: what is too much for a rank that has everything fits one that has a share
expect 1 'limit is 1.96 MiB (--max-memory)' run mlp --set height=8 --set width=8 --quiet --gpus 2 --steps 1 --max-memory 2050000
expect 0 '' run mlp --set height=8 --set width=8 --quiet --gpus 2 --steps 1 --max-memory 2050000 --shard-optimizer

# a step of one range writes moments where they lie, as one of several does: the memory of a run is less by what is kept elsewhere
few() { ssm --set hidden_dim=64 --batch 4 --gpus 2 --steps 1 --json "$@"; }
whole=$(few) shares=$(few --shard-optimizer)
saved=$(($(printf '%s' "$whole" | number peak_bytes) - $(printf '%s' "$shares" | number peak_bytes)))
[ $saved -ge $(($(printf '%s' "$shares" | number optimizer_bytes_in_all) - $(printf '%s' "$shares" | number optimizer_bytes))) ] || fail "shares save $saved bytes: $shares"

# a checkpoint takes no more of the device than was there from the start
STANDIN_FREE=4000000 STANDIN_ROOM=3000000 expect 0 '' run mlp --set height=8 --set width=8 --quiet --gpus 2 --steps 1 --save-every 1 --shard-optimizer --out "$work/room"

# killed while it saves, it goes on; what is not covered is refused
"$dhcc" train dhc_ssm --set input_channels=1 --set hidden_dim=8 --data "npy:$work/data" --batch 16 --threads 1 --quiet --lr 1e-3 --steps 1000000 --save-every 1 \
  --gpus 2 --shard-optimizer --out "$work/killed" 2> "$work/err" &
pid=$!
for _ in $(seq 400); do
  [ -e "$work/killed/checkpoint-000000004.safetensors" ] && break
  sleep 0.05
done
kill -KILL "$(pgrep -P "$pid" | sort -n | tail -1)"
wait "$pid"
grep -q '^dhcc: error: rank 1 was ended by signal 9 (Killed); all ranks have ended' "$work/err" || fail "killed while saving: $(cat "$work/err")"
ssm --lr 1e-3 --steps "$(($(tail -1 "$work/killed/metrics.csv" | cut -d, -f1) + 2))" --gpus 3 --shard-optimizer --out "$work/killed" "${go[@]}" || fail "going on behind a kill"
expect 2 '--shard-optimizer: there is one rank, which has everything; --gpus N or --distributed make several' far --shard-optimizer
expect 2 '--shard-optimizer: tensors are shared out whole, and Far has fewer that are trained than there are ranks (3)' far --gpus 3 --shard-optimizer
expect 2 "shard-optimizer" "$dhcc" rl rl_policy --env pendulum --shard-optimizer
for name in ncclGroupStart ncclGroupEnd; do
  STAND_IN_NCCL_FAIL=$name:3:1 STAND_IN_NCCL_RANK=1 expect 3 'rank 1: NCCL: gathering what the ranks have: internal error (3): what it means; all ranks have ended' far --gpus 2 --shard-optimizer
done
finish
