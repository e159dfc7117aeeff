#!/usr/bin/env python3
"""Every function of models/std/ that takes float tensors, on what reference.json holds for it:
infinities, NaN, the largest float32 and ordinary numbers, values and gradients, each backend
against float64. The functions are found in the files: one without a case fails.

check.py DHCC FOLDER_OF_STD BACKEND..."""
import json
import math
import os
import pathlib
import re
import struct
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
TOP = 3.4028234663852886e38
DTYPE = {"i64": ("I64", "q"), "i32": ("I32", "i"), "bool": ("BOOL", "?"), "f32": ("F32", "f")}
# relative, and absolute beside the largest finite number of the tensor
TOLERANCE = {"interp": (1e-9, 1e-11), "cpu": (2e-5, 2e-6)}


def functions(folder):
    """Functions with a float tensor among their inputs: a shape without an element type."""
    found = set()
    for path in sorted(pathlib.Path(folder).glob("*.dhc")):
        text = path.read_text()
        for m in re.finditer(r"^fn (\w+)\s*(?:<[^>]*>)?\(", text, re.M):
            depth, end = 1, m.end()
            while depth:
                depth += {"(": 1, ")": -1}.get(text[end], 0)
                end += 1
            if re.search(r":\s*\[", text[m.end():end]):
                found.add(m.group(1))
    return found


def write(path, tensors):
    header, data = {}, b""
    for name, (dtype, shape, values) in tensors.items():
        code, fmt = DTYPE[dtype]
        raw = struct.pack(f"<{len(values)}{fmt}", *values)
        header[name] = {"dtype": code, "shape": shape, "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def read(path):
    raw = path.read_bytes()
    n = struct.unpack("<Q", raw[:8])[0]
    out = {}
    for name, v in json.loads(raw[8:8 + n]).items():
        if name == "__metadata__":
            continue
        part = raw[8 + n + v["data_offsets"][0]:8 + n + v["data_offsets"][1]]
        fmt, size = {"F32": ("f", 4), "F64": ("d", 8)}[v["dtype"]]
        out[name] = (v["shape"], list(struct.unpack(f"<{len(part) // size}{fmt}", part)))
    return out


def shape_text(shape):
    return "[" + ", ".join(map(str, shape)) + "]"


def model(case):
    lines = ["model M() {"]
    for name, (shape, _) in case["floats"].items():
        lines.append(f"  param {name}: {shape_text(shape)} = zeros()")
    others = ", ".join(f"{n}: {t}{shape_text(shape)}" for n, (t, shape, _) in case["others"].items())
    names = [f"r{i}" for i in range(len(case["results"]))]
    for name, (shape, _) in zip(names, case["cotangents"]):
        lines.append(f"  buffer cot_{name}: {shape_text(shape)} = zeros()")
    outs = ", ".join(f"{n}: {shape_text(s)}" for n, (s, _) in zip(names, case["results"]))
    lines += [f"  {case['entry']}({others}) -> (loss: [], {outs}) {{", f"    {', '.join(names)} = {case['call']}",
              "    return " + " + ".join(f"sum({n} * cot_{n})" for n in names) + ", " + ", ".join(names), "  }", "}"]
    return "\n".join(lines) + "\n"


def run(dhcc, case, backend, folder):
    weights = {n: ("f32", shape, v) for n, (shape, v) in case["floats"].items()}
    weights.update({f"cot_r{i}": ("f32", *c) for i, c in enumerate(case["cotangents"])})
    write(folder / "w", weights)
    (folder / "m.dhc").write_text(model(case))
    command = [dhcc, "run", str(folder / "m.dhc"), "--weights", str(folder / "w"), "--entry", case["entry"], "--backend", backend,
               "--threads", "1", "-q", "-o", str(folder / "o")]
    if case["others"]:
        write(folder / "i", case["others"])
        command += ["--inputs", str(folder / "i")]
    if case["gradients"]:
        command.append("--grad")
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    if done.returncode:
        return None, f"exit status {done.returncode}: {done.stderr.strip()[:600]}"
    return read(folder / "o"), None


def differs(got, want, scale, backend):
    relative, absolute = TOLERANCE[backend]
    if math.isnan(want) or math.isnan(got):
        return math.isnan(want) != math.isnan(got)
    if backend == "cpu" and abs(want) >= TOP * (1 - relative):  # rounds to an infinity, or just not
        return not (got * math.copysign(1, want) >= TOP * (1 - relative))
    if math.isinf(want) or math.isinf(got):
        return got != want
    return not abs(got - want) <= relative * abs(want) + absolute * scale


def compare(case, backend, what, got, want, exempt=()):
    bad = []
    finite = [abs(v) for v in want if math.isfinite(v) and abs(v) < 1e30]
    scale = min(max(finite, default=0.0), 1e6)
    if got is None or len(got[1]) != len(want):
        return [f"{what}: got {got}, want {len(want)} numbers"]
    for i, (g, w) in enumerate(zip(got[1], want)):
        if i not in exempt and differs(g, w, scale, backend):
            bad.append(f"{what}[{i}]: got {g!r}, want {w!r}")
    return bad


def check(dhcc, case, backend, folder):
    out, error = run(dhcc, case, backend, folder)
    if error:
        return [error]
    bad = []
    for i, (shape, want) in enumerate(case["results"]):
        got = out.get(f"r{i}")
        if got and got[0] != shape:
            bad.append(f"r{i}: shape {got[0]}, want {shape}")
        bad += compare(case, backend, f"r{i}", got, want)
    for name, want in case["gradients"].items():
        inputs = case["floats"][name][1]
        exempt = {i for i, v in enumerate(inputs) if math.isnan(v)} if name in case["loose"] else ()
        bad += compare(case, backend, f"grad.{name}", out.get(f"grad.{name}"), want, exempt)
    return bad


def main():
    dhcc, std, backends = sys.argv[1], sys.argv[2], sys.argv[3:]
    cases = json.loads((HERE / "reference.json").read_text())
    failed = 0
    for name in sorted(functions(std) - {c["function"] for c in cases}):
        failed += 1
        print(f"{name}: no case; reference.py makes them")
    for name in sorted({c["function"] for c in cases} - functions(std)):
        failed += 1
        print(f"{name}: cases of a function that is not there")
    for case in cases:
        for backend in backends:
            with tempfile.TemporaryDirectory() as folder:
                bad = check(dhcc, case, backend, pathlib.Path(folder))
            failed += bool(bad)
            if bad:
                print(f"{case['call']} on {backend}, {case['floats']}:")
                for line in bad[:8]:
                    print(f"  {line}")
    print(f"{len(cases)} cases on {' and '.join(backends)}, {failed} wrong")
    return failed > 0


if __name__ == "__main__":
    os.environ.setdefault("NO_COLOR", "1")
    sys.exit(main())
