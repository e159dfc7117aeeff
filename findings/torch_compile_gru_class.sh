#!/usr/bin/env bash
# torch 2.15.0, CPU: torch.compile of a class derived from nn.GRU raises an internal error where it is first called
# (NotImplementedError: DelayGraphBreakVariable() has no type); the class runs eager, and a module that holds an
# nn.GRU compiles. The guess was: the class compiles as the module that holds one does. So does one derived from
# nn.Linear.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
python3 -m venv "$tmp/env"
"$tmp/env/bin/pip" install -q torch==2.15.0 numpy==2.4.6
"$tmp/env/bin/python" - <<'PY'
import torch
import torch.nn as nn


class Derived(nn.GRU):
    def forward(self, x):
        return super().forward(x)[0]


class Holding(nn.Module):
    def __init__(self):
        super().__init__()
        self.gru = nn.GRU(4, 8, batch_first=True)

    def forward(self, x):
        return self.gru(x)[0]


class DerivedLinear(nn.Linear):
    def forward(self, x):
        return super().forward(x) * 2


print("torch", torch.__version__)
x = torch.randn(2, 5, 4)
model = Derived(4, 8, batch_first=True)
assert model(x).shape == (2, 5, 8)
assert torch.compile(Holding(), backend="aot_eager")(x).shape == (2, 5, 8)
assert torch.compile(DerivedLinear(4, 8), backend="aot_eager")(x).shape == (2, 5, 8)
try:
    torch.compile(model, backend="aot_eager")(x)
except Exception as e:
    print(type(e).__name__, str(e).splitlines()[0])
    assert type(e).__name__ == "InternalTorchDynamoError"
else:
    raise SystemExit("it compiles now")
print("as stated")
PY
