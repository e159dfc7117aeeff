#!/usr/bin/env python3
"""Every model of this folder against what reference.json holds for it: `dhcc verify` on an oracle file
made of it. A model without a reference fails, and a reference without a model.

check.py DHCC BACKEND [NAME...]"""
import json
import os
import pathlib
import struct
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
CODE = {"f64": ("F64", "d"), "f32": ("F32", "f"), "i64": ("I64", "q"), "i32": ("I32", "i"), "bool": ("BOOL", "?")}


def write(path, tensors, meta):
    header, data = {"__metadata__": meta}, b""
    for name, (dtype, shape, values) in tensors.items():
        code, fmt = CODE[dtype]
        raw = struct.pack(f"<{len(values)}{fmt}", *values)
        header[name] = {"dtype": code, "shape": shape, "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def check(dhcc, name, case, backend, folder):
    write(folder / "o.safetensors", case["tensors"], case["meta"])
    command = [dhcc, "verify", str(HERE / f"{name}.dhc"), "--oracle", str(folder / "o.safetensors"), "--backend", backend,
               "--threads", "1", *case["options"]]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    return "" if done.returncode == 0 else (done.stdout + done.stderr)[-3000:]


def main():
    dhcc, backend, only = sys.argv[1], sys.argv[2], sys.argv[3:]
    cases = json.loads((HERE / "reference.json").read_text())
    models = {p.stem for p in HERE.glob("*.dhc")}
    failed = 0
    for name in sorted(models ^ {c["model"] for c in cases}):
        failed += 1
        print(f"{name}: a model without a reference, or a reference without a model")
    for case in cases:
        if only and case["model"] not in only:
            continue
        with tempfile.TemporaryDirectory() as folder:
            bad = check(dhcc, case["model"], case, backend, pathlib.Path(folder))
        failed += bool(bad)
        if bad:
            print(f"{case['model']} on {backend}:\n{bad}")
    print(f"{len(cases)} references on {backend}, {failed} wrong")
    return failed > 0


if __name__ == "__main__":
    os.environ.setdefault("NO_COLOR", "1")
    sys.exit(main())
