#!/usr/bin/env python3
"""--bounds against what loops really do: the C99 source of an object counts the rounds of every loop of its kernels and of its
plan, and none runs more often than the document says; those that hang on no values run as often somewhere, or nearly.

    bounds.py DHCC"""
import json
import pathlib
import re
import sys
import tempfile

from targets import STACK, program, run

CASES = [
    ("mlp", ["mlp", "--set", "hidden=20"], {"B": 3}),
    ("norm", ["layers/norm", "--root", "LayerNorm", "--set", "d=9000"], {"S0": 2, "S1": 3}),
    ("moe", ["layers/moe", "--root", "MoE", "--set", "d_model=8", "--set", "num_experts=3"], {"S0": 1, "S1": 7}),
    ("seq", ["seq", "--set", "vocabulary=7", "--set", "d_model=8", "--set", "d_state=4", *[w for s in STACK for w in ("--set", s)],
             "--entry", "stream", "--entry", "step"], {"B": 2, "L": 5}),
]
# A convolution that keeps tables of places, by which its loops run.
TABLES = """model T() {
  param w: [3, 2, 3, 3] = normal()
  forward<B, H, W>(x: [B, 3, H, W]) -> (y: [B, 2, 2 * H, 2 * W]) { return conv_transpose(x, w, stride = 2, padding = 1, output_padding = 1) }
}
"""
LOOP = re.compile(r"^( *)for \(i64 (v\d+|i\d+) = .*\{$")


def counted(source):
    """The source with a counter for each loop, printed at the end as "function number rounds"; and how many functions have."""
    out, loops, function = [], [], None
    for line in source.splitlines():
        begins = re.match(r"(?:static void|dhc_object_status) (\w+)\(", line)
        if begins:
            function, number = begins.group(1), 0
        loop = LOOP.match(line)
        if loop and function:
            k = len(loops)
            loops.append((function, number))
            number += 1
            out += [f"{loop.group(1)}rounds[{k}] = 0;", line, f"{loop.group(1)}  if (++rounds[{k}] > most[{k}]) most[{k}] = rounds[{k}];"]
        else:
            out.append(line)
    head = ["#include <stdio.h>", f"static long long rounds[{len(loops) + 1}], most[{len(loops) + 1}];"]
    tail = ["__attribute__((destructor)) static void say(void) {"]
    tail += [f'  printf("{f} {n} %lld\\n", most[{k}]);' for k, (f, n) in enumerate(loops)]
    at = next(i for i, line in enumerate(out) if line.startswith("#include"))
    return "\n".join(out[:at] + head + out[at:] + tail + ["}"]) + "\n"


def check(dhcc, at, name, model, sizes):
    bind = ["--bind", ",".join(f"{k}={v}" for k, v in sizes.items())] if sizes else []
    say = []
    for form, more in (("o", []), ("c", ["--emit", "c"])):
        code, text = run(dhcc, "build", *model, *bind, *more, "--name", "m", "-o", f"o.{form}", "--header", "m.h", "--bounds", f"{form}.json", cwd=at)
        if code:
            return [f"{name}: {text}"]
    code, compiled = json.loads((at / "o.json").read_text()), json.loads((at / "c.json").read_text())
    frames = {f["name"]: f for f in code["functions"]}
    for f in frames.values():
        if not 0 <= f["frame_bytes"] <= f["stack_bytes"]:
            say.append(f"{name}: the stack of {f['name']}: {f}")
    for e in code["entries"]:
        if e["stack_bytes"] != frames[e["function"]]["stack_bytes"]:
            say.append(f"{name}: the stack of {e['name']}")
    for f in compiled["functions"]:
        if f["stack_bytes"] is not None:
            say.append(f"{name}: source has no stack of its own")
    source = (at / "o.c").read_text()
    (at / "o.c").write_text(counted(source))
    (at / "m.c").write_text(program((at / "m.h").read_text(), {**sizes, "B": sizes.get("B", 2)}))
    status, text = run("cc", "-std=gnu11", "-O1", "-ffp-contract=off", "-w", "-o", "m", "m.c", "o.c", cwd=at)
    if not status:
        status, text = run("./m", cwd=at)
    if status:
        return say + [f"{name}: {text}"]
    bounds = {f["name"]: f["loops"] for f in compiled["functions"]}
    exact = plain = 0
    for function, number, rounds in (line.split() for line in text.splitlines() if line.count(" ") == 2):
        loops = bounds[function]
        skip = len(re.findall(r"^ *for \(i64 k\d", source[source.index(f" {function}("):].split("\n}\n")[0], re.M))
        l, rounds = loops[skip + int(number)], int(rounds)
        if l["iterations"] is None or rounds > l["iterations"]:
            say.append(f"{name}: loop {number} of {function} runs {rounds} times, said at most {l['iterations']}")
        plain += 1
        exact += rounds == l["iterations"]
    if not plain or exact < plain * 0.5:
        say.append(f"{name}: {exact} of {plain} loops run as often as said")
    print(f"{name}: {plain} loops, {exact} run as often as said")
    return say


STRIDE = """import std/nn
import std/optim
import layers/conv
model Stride() {
  a = Conv2d(2, 3, padding = 1)
  b = Conv2d(3, 3, stride = 2, padding = 1)
  loss<B, H, W>(x: [B, 2, H, W]) -> (loss: []) {
    y = b(relu(a(x)))
    return mean(y * y)
  }
}
recipe default for Stride { optimizer = adamw() }
"""


def main():
    dhcc, wrong = pathlib.Path(sys.argv[1]).resolve(), []
    with tempfile.TemporaryDirectory() as folder:
        for name, model, sizes in CASES:
            wrong += check(dhcc, pathlib.Path(folder), name, model, sizes)
        at = pathlib.Path(folder)
        # at sizes that are open, only what hangs on none is bounded; and values that decide are named as such
        code, text = run(dhcc, "build", "layers/moe", "--root", "MoE", "--set", "d_model=8", "-o", "m.o", "--bounds", "m.json", cwd=at)
        loops = [] if code else [l for f in json.loads((at / "m.json").read_text())["functions"] for l in f["loops"]]
        if not any(l["iterations"] is None for l in loops) or not any(l["by_values"] for l in loops):
            wrong.append(f"open sizes: {text} {loops}")
        # the input gradient of a stride is bounded, too, though its products by phases are not
        (at / "stride.dhc").write_text(STRIDE)
        code, text = run(dhcc, "build", "stride.dhc", "--entry", "train_step", "--bind", "B=1,H=12,W=12", "--timing", "bounded", "-o", "s.o", cwd=at)
        if code:
            wrong.append(f"stride: {text}")
        (at / "tables.dhc").write_text(TABLES)
        code, text = run(dhcc, "build", "tables.dhc", "--timing", "bounded", "-o", "m.o", cwd=at)
        if code:
            wrong.append(f"tables of places are no values: {text}")
    print("\n".join(wrong))
    return 1 if wrong else 0


sys.exit(main())
