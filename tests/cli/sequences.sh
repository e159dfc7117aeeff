#!/usr/bin/env bash
# Sequence tasks on models/seq.dhc: learned, resumed bit for bit, evaluated on every split.
. "$(dirname "$0")/common.sh"
here=$(cd "$(dirname "$0")" && pwd)
cd "$work" || exit 1
# a schedule without `steps` in it, so that a run cut short is the same run
sed -e 's/lr(step, steps) = .*/lr(step, steps) = 1e-2/' "$here/../../models/seq.dhc" > seq.dhc
model=(seq.dhc --set vocabulary=32 --set d_model=16 --set num_layers=2 --set pattern=MA --set num_heads=2 --set moe_frequency=0 --set dropout=0)
data=synth:mqar:length=12,pairs=2,vocab=32,n=1024,n_test=64
train=("$dhcc" train "${model[@]}" --data $data --batch 32 --quiet --seed 3)
"${train[@]}" --out whole --steps 96 || fail "training"
"${train[@]}" --out parts --steps 40 || fail "the first part"
"${train[@]}" --out parts --steps 96 --resume || fail "resume"
cmp whole/last.safetensors parts/last.safetensors || fail "a resumed run gives other weights"
grep -q "a split of its own" whole/config.json || fail "validation is cut off the training examples"
accuracy() { "$dhcc" eval "${model[@]}" --data "$1" --weights whole/last.safetensors --split "$2" --json | number accuracy; }
for split in val test; do
  a=$(accuracy $data $split)
  python3 -c "import sys; sys.exit(not float('$a') > 0.15)" || fail "$split: accuracy $a after 96 steps, one in 16 is chance"
done
for task in copy:vocab=32 selective_copy:items=8,vocab=32 induction:vocab=32 adding:n=8; do
  "$dhcc" eval "${model[@]}" --data "synth:$task,length=33,n_test=8" --weights whole/last.safetensors --json > e.json || fail "$task"
  [ "$(number n_examples < e.json)" = 8 ] || fail "$task: examples"
done
expect 1 "the data has no 'image'" "$dhcc" train mlp --data $data --steps 1
expect 2 "data 'synth:recall': no task 'recall'" "$dhcc" train "${model[@]}" --data synth:recall
expect 1 'it must be in 0..31' "$dhcc" train "${model[@]}" --data synth:copy:vocab=64 --steps 1
finish
