#!/usr/bin/env bash
# 20 steps, or 10 steps, a new process and 10 more: the same bits. Also after SIGINT.
. "$(dirname "$0")/common.sh"
python3 "$(dirname "$0")/data.py" "$work/data"
# A schedule without `steps` in it, so that a run cut short is the same run.
sed -e 's/lr(step, steps) = .*/lr(step, steps) = 1e-3/' "$(dirname "$0")/../../models/dhc_ssm.dhc" > "$work/m.dhc"
for optimizer in 'adamw(weight_decay = 0.01)' 'adam()' 'sgd(momentum = 0.9)'; do
  sed "s/optimizer = .*/optimizer = $optimizer\n  ema = 0.9/" "$work/m.dhc" > "$work/o.dhc"
  run() { "$dhcc" train "$work/o.dhc" --set input_channels=1 --set hidden_dim=8 --data "npy:$work/data" --batch 16 --quiet "$@"; }
  rm -rf "$work/whole" "$work/parts"
  run --steps 20 --epochs 9 --out "$work/whole" || fail "$optimizer: 20 steps"
  run --steps 10 --epochs 9 --out "$work/parts" || fail "$optimizer: 10 steps"
  run --steps 20 --epochs 9 --out "$work/parts" --resume || fail "$optimizer: 10 more"
  python3 "$(dirname "$0")/same_state.py" "$work/whole/checkpoint-000000020.safetensors" "$work/parts/checkpoint-000000020.safetensors" ||
    fail "$optimizer: resumed run differs"
done

"$dhcc" train "$work/o.dhc" --set input_channels=1 --set hidden_dim=8 --data "npy:$work/data" --batch 1 --epochs 500 --quiet --out "$work/int" &
pid=$!
sleep 3
kill -INT $pid
wait $pid
rc=$?
[ $rc = 130 ] || fail "SIGINT gave exit $rc"
ls "$work/int"/checkpoint-*.safetensors >/dev/null || fail "SIGINT left no checkpoint"
expect 1 'was made for model' "$dhcc" train "$work/o.dhc" --set input_channels=1 --set hidden_dim=9 --data "npy:$work/data" --resume --out "$work/int" --quiet
finish
