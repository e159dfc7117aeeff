#!/usr/bin/env bash
# A training with validation, averaged weights, dropout and augmentation, stopped at every place
# that looks for a signal, or killed before every call that changes a file (and in the middle of
# writes): it goes on to the same bytes of every file as if it had not been. STRIDE leaves calls out.
own_store=1 # calls that change files are counted
. "$(dirname "$0")/common.sh"
here=$(cd "$(dirname "$0")" && pwd)
what=$2
killer=${3:-}
python3 "$here/data.py" "$work/data" 48
cat > "$work/m.dhc" <<'M'
import std/nn
import std/optim
import layers/linear
model Small(height: int = 8, width: int = 8, hidden: int = 8, dropout: float in 0.0..1.0 = 0.2) {
  a = Linear(height * width, hidden)
  b = Linear(hidden, 10)
  buffer mean: [hidden] = zeros()
  loss<B>(image: [B, 1, height, width], target: i64[B]) -> (loss: [], logits: [B, 10]) {
    x = relu(a(reshape(image, [B, height * width])))
    if training { mean <- 0.9 * mean + 0.1 * stop_gradient(sum(x, axis = 0) / 16.0) }
    tap alive = sum(float(x > 0.0), axis = 0)
    tap norm = mean(x)
    logits = b(dropout(x, self.dropout))
    return cross_entropy(logits, target), logits
  }
  metric accuracy<B>(logits: [B, 10], target: i64[B]) -> (accuracy: []) {
    return mean(float(argmax(logits, axis = -1) == target))
  }
  normalize<B>(pixels: u8[B, 1, height, width]) -> (image: [B, 1, height, width]) { return float(pixels) / 255.0 }
}
recipe default for Small {
  optimizer = adamw(weight_decay = 0.01)
  lr(step, steps) = 1e-2 * (0.5 + 0.5 * cos(3.141592653589793 * step / steps))
  batch = 16
  epochs = 3
  ema = 0.9
  report = ["*alive", "*norm"]
}
M
stops=5 kills=19
[ "${DHC_SANITIZED:-0}" = 1 ] && stops=11 kills=53
case $what in
  stops) python3 "$here/runs.py" "$dhcc" "$work" stops "${STRIDE:-$stops}" || fail "$what" ;;
  kills) python3 "$here/runs.py" "$dhcc" "$work" kills "$killer" "${STRIDE:-$kills}" || fail "$what" ;;
  matrix) python3 "$here/runs.py" "$dhcc" "$work" matrix || fail "$what" ;;
  *) python3 "$here/runs.py" "$dhcc" "$work" "$what" "$3" "$4" || fail "$what" ;;
esac
finish
