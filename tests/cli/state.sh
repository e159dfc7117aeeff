#!/usr/bin/env bash
# run with --state: a sequence in pieces gives what it gives in one; the file carries on, a
# wrong one is refused; info lists what is kept.
. "$(dirname "$0")/common.sh"
here=$(cd "$(dirname "$0")" && pwd)
cd "$work" || exit 1
python3 "$here/pieces.py" make || fail "no inputs"
model=(lstm --root LSTM --set d_in=4 --set d=6)
for backend in ${BACKENDS:-interp cpu}; do
  rm -f state.safetensors
  run=(run "${model[@]}" --backend "$backend" --quiet)
  "$dhcc" "${run[@]}" --inputs all.safetensors -o whole.safetensors || fail "$backend: whole"
  "$dhcc" "${run[@]}" --entry forward.stream --state state.safetensors --inputs a.safetensors -o ya.safetensors || fail "$backend: first piece"
  "$dhcc" "${run[@]}" --entry stream --state state.safetensors --inputs b.safetensors -o yb.safetensors || fail "$backend: second piece"
  "$dhcc" "${run[@]}" --entry step --state state.safetensors --inputs c.safetensors -o yc.safetensors || fail "$backend: step"
  python3 "$here/pieces.py" same whole.safetensors ya.safetensors yb.safetensors yc.safetensors || fail "$backend: the pieces differ from the whole"
  expect 1 "reset before sizes change" "$dhcc" "${run[@]}" --entry step --state state.safetensors --inputs one.safetensors
  expect 1 "another model" "$dhcc" run lstm --root LSTM --set d_in=4 --set d=7 --backend "$backend" --quiet --entry step --state state.safetensors --inputs c.safetensors
  expect 1 "needs f32[B, 1, 4]" "$dhcc" "${run[@]}" --entry step --inputs a.safetensors
done
expect 2 "--repeat" "$dhcc" run "${model[@]}" --backend interp --entry step --state state.safetensors --inputs c.safetensors --repeat 2
expect 1 "no state to save" "$dhcc" run "${model[@]}" --backend interp --state none.safetensors --inputs c.safetensors
echo nonsense > bad.safetensors
expect 1 "bad.safetensors" "$dhcc" run "${model[@]}" --backend interp --entry step --state bad.safetensors --inputs c.safetensors
expect 1 "uses no state here" "$dhcc" run mlp --backend interp --entry step --inputs c.safetensors
expect 1 "did you mean 'step'" "$dhcc" run "${model[@]}" --backend interp --entry stepp --inputs c.safetensors
expect 0 'f32[B, 6]' "$dhcc" info "${model[@]}"
expect 0 'states f32 [24*B bytes] "h"' "$dhcc" print "${model[@]}" --entry step --stage plan
expect 0 'func @forward.reset<B>' "$dhcc" print "${model[@]}" --entry reset --stage graph
# an optional input of the loss: the data need not have it
cat > weighed.dhc <<'M'
import std/optim
import layers/linear
model Weighed() {
  head = Linear(64, 10)
  forward<B>(image: [B, 1, 8, 8]) -> (logits: [B, 10]) { return head(reshape(image, [B, 64])) }
  loss<B>(image: [B, 1, 8, 8], target: i64[B], weight: [B] = ones()) -> (loss: [], logits: [B, 10]) {
    logits = forward(image)
    loss = cross_entropy(logits, target)
    if present(weight) { loss = loss * mean(weight) }
    return loss, logits
  }
  normalize<B>(pixels: u8[B, 1, 8, 8]) -> (image: [B, 1, 8, 8]) { return float(pixels) * (1.0 / 255.0) }
}
M
case "${BACKENDS:-cpu}" in
  *cpu*)
    python3 "$here/data.py" data
    "$dhcc" train weighed.dhc --data npy:data --batch 16 --steps 4 --quiet || fail "train without the optional input"
    ;;
esac
finish
