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

# Frozen weights have no moments, neither in files nor where a bad step is looked for; parts of a batch and averages change nothing in it.
sed -e 's/= TemporalSSM(d, state_dim)/= frozen(TemporalSSM(d, state_dim))/' -e 's/epochs = 5/ema = 0.9/' "$work/m.dhc" > "$work/f.dhc"
run() { "$dhcc" train "$work/f.dhc" --set input_channels=1 --set hidden_dim=8 --data "npy:$work/data" --batch 16 --epochs 9 --accumulate 2 --quiet "$@"; }
run --steps 4 --out "$work/frozen" || fail "frozen: 4 steps"
run --steps 2 --out "$work/thawed" || fail "frozen: 2 steps"
run --steps 4 --out "$work/thawed" --resume || fail "frozen: 2 more"
python3 "$(dirname "$0")/same_state.py" "$work/frozen/checkpoint-000000004.safetensors" "$work/thawed/checkpoint-000000004.safetensors" ||
  fail "frozen: resumed run differs"
python3 - "$work/frozen/checkpoint-000000004.safetensors" "$work/thawed/checkpoint-000000002.safetensors" <<'P' || fail "moments of frozen weights"
import json, struct, sys
def tensors(path):
    raw = open(path, "rb").read()
    n = struct.unpack("<Q", raw[:8])[0]
    return {k: raw[8 + n + v["data_offsets"][0]:8 + n + v["data_offsets"][1]] for k, v in json.loads(raw[8:8 + n]).items() if k != "__metadata__"}
a, b = map(tensors, sys.argv[1:])
name = "temporal_ssm.A"
of = sorted(k for k in a if k.endswith("." + name))
assert of == ["opt.ema." + name], of
assert a[name] == b[name] == a["opt.ema." + name], "frozen weights move"
assert any("opt.m.classifier" in k for k in a) and a["classifier.0.weight"] != b["classifier.0.weight"]
P

# A folder says by itself with what its run goes on; its metrics have a row a step and one clock.
"$dhcc" train "$work/o.dhc" --set input_channels=1 --set hidden_dim=8 --data "npy:$work/data" --batch 8 --lr 2e-3 --clip 0.5 --seed 3 --epochs 3 \
  --no-augment --no-shuffle --limit 64 --save-every 6 --quiet --out "$work/all" || fail "24 steps"
cp -r "$work/all" "$work/short"
rm "$work/short/checkpoint-000000024.safetensors"
expect 0 '64 examples of 10 classes to train with, 40 to validate with; sgd, lr 2.00e-03, batches of 8, 24 steps in 3 epochs from step 19' \
  "$dhcc" train "$work/short" --resume
cmp "$work/all/last.safetensors" "$work/short/last.safetensors" || fail "a run that its folder describes differs"
python3 - "$work/all" "$work/short" <<'P' || fail "rows of a step or the clock"
import csv, sys
rows = [list(csv.DictReader(open(f + "/metrics.csv"))) for f in sys.argv[1:]]
for r in rows:
    assert [int(x["step"]) for x in r] == list(range(1, 25))
    assert [int(x["step"]) for x in r if x["val_loss"]] == [8, 16, 24]
    times = [float(x["time_s"]) for x in r]
    assert times == sorted(times) and times[0] > 0, times
assert all(a[k] == b[k] for a, b in zip(*rows) for k in a if k not in ("samples_s", "time_s"))
P
expect 1 'seed: 3 in the run, 4 now' "$dhcc" train "$work/short" --resume --seed 4

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
