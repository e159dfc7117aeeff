#!/usr/bin/env bash
# verify: agreement is agreement, and everything else is not. Each reference file is made by verify.py.
. "$(dirname "$0")/common.sh"
python3 "$(dirname "$0")/verify.py" "$work" || fail "the files could not be made"
cd "$work" || exit 1
cat > m.dhc <<'M'
import std/nn
model M() {
  param w: [3] = ones()
  buffer shift: [3] = zeros()
  forward<B>(x: [B, 3]) -> (y: [B, 3]) { return x * w + shift }
}
M
cat > grad.dhc <<'M'
import std/nn
model M() {
  param w: [3] = ones()
  param u: [3] = ones()
  param v: [3] = ones()
  loss(x: [3]) -> (loss: []) { return 1000.0 * sum(x * w) + 0.000001 * sum(x * u) + sum(v - v) }
}
M
cat > stack.dhc <<'M'
import std/nn
model M() {
  param e: [2, 2] as "e.*.w" = ones()
  loss(x: [2]) -> (loss: []) { return sum(e @ x) }
}
M
cat > steps.dhc <<'M'
import std/nn
import std/optim
model M() {
  param w: [2] = ones()
  loss(x: [2]) -> (loss: []) { return sum(x * w) }
}
recipe default for M {
  optimizer = sgd(momentum = 0.0)
  lr(step, steps) = 0.5
  batch = 1
  epochs = 1
}
M
# agrees MODEL FILE [option...], differs MODEL FILE 'what the output says' [option...]
agrees() { expect 0 "rows within tolerance" "$dhcc" verify "$1.dhc" --oracle "$2.safetensors" --backend "$backend" "${@:3}"; }
differs() { expect 1 "$3" "$dhcc" verify "$1.dhc" --oracle "$2.safetensors" --backend "$backend" "${@:4}"; }

for backend in ${BACKENDS:-interp cpu}; do
  agrees m good
  agrees m good --tol 0
  agrees m half
  differs m off "1 of 1 rows are beyond the tolerance"
  agrees m off --tol 1e-3
  differs m near "1 of 1 rows are beyond the tolerance" --tol 0
  differs m nan "FAILED: the reference is NaN at index 2"
  differs m nan "FAILED: the reference is NaN at index 2" --tol 1e9
  differs m nan_both "FAILED: the reference is NaN at index 2"
  differs m nan_here "nan  tol"
  agrees m inf_both
  differs m inf_sign "1 of 1 rows"
  differs m inf_there "1 of 1 rows"
  differs m turned "FAILED: the reference is [3,2], the model gives [2,3]"
  differs m flat "FAILED: the reference is [6], the model gives [2,3]"
  differs m wide "FAILED: the reference is [2,3,1], the model gives [2,3]"
  differs m short "FAILED: the reference is [1,3], the model gives [2,3]"
  agrees m buffer
  agrees m buffer_named
  differs m buffer_shape "tensor 'param.shift' is [2], the model needs [3]"
  differs m nothing "nothing.safetensors: error: nothing to compare"
  for name in grad.w param.v buffer.v cotangent.y w outputs.y Output.y; do
    differs m "extra_$name" "extra_$name.safetensors: error: '$name' has no part in the comparison (known: param.*, buffer.*, input.*, cotangent.*, output.*, grad.param.*, grad.input.* of what the model has)"
  done
  differs m extra_output.z "extra_output.z.safetensors: error: 'output.z' is nothing that the entry computes"
  differs m extra_grad.param.v "is nothing that the entry computes"
  differs m extra_input.z "extra_input.z.safetensors: error: no entry of M takes exactly the file's inputs"

  agrees grad grad_good
  agrees grad grad_rounding
  agrees grad grad_rounding_f32
  differs grad grad_small_wrong "grad.param.u                                      1.604e+00"
  differs grad grad_not_zero "1 of 4 rows"
  differs grad grad_infinite "1 of 4 rows"
  differs grad grad_all_zero "1 of 2 rows"
  differs grad grad_missing "'grad.param.nothing' is nothing that the entry computes"
  agrees stack stack
  differs stack stack_past "'grad.param.e.2.w' is nothing that the entry computes"

  agrees steps steps
  differs steps steps_wrong "1 of 3 rows"
  differs steps steps_shape "FAILED: the reference is [1,2], the model gives [2]"
  differs steps steps_inputs "steps_inputs.safetensors: error: 'input.x' has not one row for each of 2 steps"
  differs steps steps_unknown "'output.other' has no part in the comparison"
  differs steps steps_scalar "'output.grad_norm' has not one row for each of 2 steps"
  differs steps steps_grad "'grad.param.w' has no part in the comparison"
  differs steps steps_rate "steps_rate.safetensors: error: metadata 'lr' is no number: \"fast\""
  differs steps steps_none "steps_none.safetensors: error: training steps need output.loss, one for each"
done
finish
