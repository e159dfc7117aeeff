#!/usr/bin/env bash
# Next-token training on a text and generation: resumed runs continue bit for bit, greedy tokens
# are those of the whole-sequence forward, draws are fixed by their seed, misuse is refused.
. "$(dirname "$0")/common.sh"
here=$(cd "$(dirname "$0")" && pwd)
cd "$work" || exit 1
# a schedule without `steps` in it, so that a run cut short is the same run
sed -e 's/lr(step, steps) = .*/lr(step, steps) = 1e-2/' "$here/../../models/seq.dhc" > seq.dhc
for i in $(seq 400); do echo "line $i: the quick brown fox jumps over the lazy dog"; done > corpus.txt
model=(seq.dhc --set d_model=16 --set num_layers=2 --set mamba_ratio=1 --set num_heads=2 --set num_experts=2 --set num_experts_per_token=1)
train=("$dhcc" train "${model[@]}" --data text:corpus.txt@32 --batch 8 --quiet --seed 3)

"${train[@]}" --out whole --steps 12 || fail "training"
"${train[@]}" --out parts --steps 5 || fail "the first part"
"${train[@]}" --out parts --steps 12 --resume || fail "resume"
cmp whole/last.safetensors parts/last.safetensors || fail "a resumed run gives other weights"
"$dhcc" eval "${model[@]}" --data text:corpus.txt@32 --weights whole/last.safetensors --batch 8 --json > eval.json || fail "eval"
[ "$(number n_examples < eval.json)" -gt 600 ] || fail "eval saw $(number n_examples < eval.json) windows"

generate=("$dhcc" generate "${model[@]}" --weights whole/last.safetensors --prompt 'the qu' --tokens 24)
for backend in ${BACKENDS:-interp cpu}; do
  "${generate[@]}" --backend "$backend" --temperature 0 --json > greedy.json || fail "$backend: generation"
  python3 "$here/greedy.py" "$dhcc" greedy.json 'the qu' --backend "$backend" --weights whole/last.safetensors "${model[@]}" || fail "$backend: the steps disagree with the whole"
done
a=$("${generate[@]}" --seed 1 --quiet | od -An -tx1) b=$("${generate[@]}" --seed 1 --quiet | od -An -tx1) c=$("${generate[@]}" --seed 2 --quiet | od -An -tx1)
[ "$a" = "$b" ] || fail "one seed, two texts"
[ "$a" != "$c" ] || fail "two seeds, one text"
[ "$("${generate[@]}" --temperature 0 --quiet | od -An -tx1)" = "$("${generate[@]}" --top-k 1 --quiet | od -An -tx1)" ] || fail "top-k 1 is not the likeliest"
[ "$("$dhcc" generate "${model[@]}" --quiet --tokens 5 --prompt ab | wc -c)" = 8 ] || fail "number of bytes"
expect 2 "--prompt: is empty" "$dhcc" generate "${model[@]}" --prompt ''
expect 2 "--temperature" "$dhcc" generate "${model[@]}" --temperature -1
expect 1 "'forward' of LSTMClassifier takes 'image', no batch of sequences" "$dhcc" generate lstm --prompt x
echo short > short.txt
expect 1 "short.txt: error: 6 bytes are too few for a window of 32" "$dhcc" train "${model[@]}" --data text:short.txt@32
expect 1 "window of 40000" "$dhcc" train "${model[@]}" --data text:corpus.txt@40000
finish
