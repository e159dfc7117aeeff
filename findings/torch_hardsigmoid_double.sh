#!/usr/bin/env bash
# torch 2.15.0, CPU: the derivative of hardsigmoid in float64 is a float32 number, 0.1666666716337204, off by 3e-8
# relative; its values and the derivative of hardswish, which is x times it, are right to the last place. The guess
# was: one sixth in double. A float64 reference made with it has the accuracy of float32.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
python3 -m venv "$tmp/env"
"$tmp/env/bin/pip" install -q torch==2.15.0 numpy==2.4.6
"$tmp/env/bin/python" - <<'PY'
import torch
import torch.nn.functional as F

print("torch", torch.__version__)
x = torch.tensor([-1.0, 0.0, 1.0], dtype=torch.float64, requires_grad=True)
y = F.hardsigmoid(x)
y.sum().backward()
print("values", y.tolist(), "derivative", x.grad.tolist())
assert abs(y[0].item() - 1 / 3) < 1e-16
assert all(abs(g * 6 - 1) > 1e-8 for g in x.grad.tolist()), "the derivative is a double now"
assert x.grad[0].item() == torch.tensor(1 / 6, dtype=torch.float32).item()
z = torch.tensor([-1.0], dtype=torch.float64, requires_grad=True)
F.hardswish(z).backward()
assert abs(z.grad.item() - 1 / 6) < 1e-15
print("as stated")
PY
