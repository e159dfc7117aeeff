#!/usr/bin/env bash
# torch 2.15.0, AOTInductor: a package reads its inputs as if their strides were those of the example that it was exported with, and says
# nothing where they are not: a transposed [3, 3] comes out as the plain one, a slice as its neighbours. Eager, torch.compile and
# the exported program itself take any strides. So state that goes out as a slice, as a window of keys does, and in again, is wrong from the
# second call on. The guess was: copied, or refused.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
python3 -m venv "$tmp/env"
"$tmp/env/bin/pip" install -q torch==2.15.0 numpy==2.4.6
TORCHINDUCTOR_CACHE_DIR=$tmp/cache "$tmp/env/bin/python" - "$tmp" <<'PY'
import sys

import torch

print("torch", torch.__version__)


class Next(torch.nn.Module):
    """A window of three rows: the new one goes in, the oldest out."""

    def forward(self, window, row):
        rows = torch.cat((window, row), 1)
        return rows.sum((0, 1)), rows[:, 1:]


class Twice(torch.nn.Module):
    def forward(self, x):
        return x * 2.0


def packaged(module, inputs, name):
    path = torch._inductor.aoti_compile_and_package(torch.export.export(module, inputs), package_path="%s/%s.pt2" % (sys.argv[1], name))
    return torch._inductor.aoti_load_package(path)


x = torch.arange(9.0).view(3, 3)
twice = packaged(Twice(), (x,), "twice")
print("x * 2 of a transposed x:", twice(x.t()).tolist(), "and not", (x.t() * 2.0).tolist())
assert torch.equal(twice(x), 2.0 * x) and torch.equal(torch.export.export(Twice(), (x,)).module()(x.t()), 2.0 * x.t())
assert not torch.equal(twice(x.t()), 2.0 * x.t()), "strides are looked at now"

row = torch.ones(2, 1, 2)
step, eager = packaged(Next(), (torch.zeros(2, 3, 2), row), "next"), Next()
a = b = torch.zeros(2, 3, 2)
sums = []
for i in range(4):
    got, a = step(a, row)
    want, b = eager(b, row)
    sums.append((got.tolist(), want.tolist()))
print("a window that goes round, sums of the package and of eager:", sums)
assert sums[0][0] == sums[0][1] and any(got != want for got, want in sums[1:]), "strides are looked at now"
print("as stated")
PY
