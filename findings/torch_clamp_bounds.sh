#!/usr/bin/env bash
# torch 2.15.0, CPU: the derivative of clamp at its bounds is 0 where the bounds are numbers and one half where the
# same bounds are tensors; hardtanh and relu6 are as with numbers, maximum as with tensors. The guess was: 1 at
# the bounds (the formula lets values equal to a bound through), and the same however the bounds are written.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
python3 -m venv "$tmp/env"
"$tmp/env/bin/pip" install -q torch==2.15.0 numpy==2.4.6
"$tmp/env/bin/python" - <<'PY'
import torch
import torch.nn.functional as F

print("torch", torch.__version__)


def slope(f, at):
    x = torch.tensor(at, dtype=torch.float64, requires_grad=True)
    f(x).sum().backward()
    return x.grad.tolist()


def bound(v):
    return torch.tensor(v, dtype=torch.float64)


numbers = slope(lambda x: torch.clamp(x, -1.0, 1.0), [-1.0, 0.0, 1.0])
tensors = slope(lambda x: torch.clamp(x, bound(-1.0), bound(1.0)), [-1.0, 0.0, 1.0])
print("clamp with numbers at -1, 0, 1:", numbers)
print("clamp with tensors at -1, 0, 1:", tensors)
assert numbers == [0.0, 1.0, 0.0], "numbers as bounds changed"
assert tensors == [0.5, 1.0, 0.5], "tensors as bounds changed"
assert slope(F.hardtanh, [-1.0, 1.0]) == [0.0, 0.0] and slope(F.relu6, [0.0, 6.0]) == [0.0, 0.0]
assert slope(lambda x: torch.maximum(x, bound(0.0)), [0.0]) == [0.5]
print("as stated")
PY
