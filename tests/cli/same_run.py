"""same_run.py DHCC CASE MODEL_ARGS...: a program run on the interpreter and on the CPU.

CASE is NAME:DTYPE:DIMS[,NAME:DTYPE:DIMS...]; dtypes f32, i64 (values below 7), bool. Weights
come from the seed, cotangents are made up like inputs. Compares outputs (||a-b|| / ||b|| at most
1e-5) and gradients (1e-4; what is small beside the largest counts against that); prints the
largest difference, fails (exit 1) beyond or where something is not finite."""
import json
import os
import struct
import subprocess
import sys
import tempfile


def npy(path, dtype, dims):
    n = 1
    for d in dims:
        n *= d
    state, out = 12345, bytearray()
    for _ in range(n):
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        u = state >> 40
        if dtype == "f32":
            out += struct.pack("<f", u / 2**23 - 1)
        elif dtype == "i64":
            out += struct.pack("<q", u % 7)
        else:
            out += struct.pack("<B", u % 3 == 0)
    descr = {"f32": "<f4", "i64": "<i8", "bool": "|b1"}[dtype]
    shape = "(" + "".join("%d, " % d for d in dims) + ")"
    head = "{'descr': '%s', 'fortran_order': False, 'shape': %s, }" % (descr, shape)
    head += " " * (63 - (len(head) + 10) % 64) + "\n"
    with open(path, "wb") as f:
        f.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head.encode() + out)


def tensors(path):
    """name -> (shape, values)"""
    with open(path, "rb") as f:
        data = f.read()
    n = struct.unpack("<Q", data[:8])[0]
    kinds = {"F32": "f", "F64": "d", "I64": "q", "I32": "i"}
    found = {}
    for name, v in json.loads(data[8 : 8 + n]).items():
        if name == "__metadata__":
            continue
        a, b = v["data_offsets"]
        kind = kinds[v["dtype"]]
        found[name] = (v["shape"], struct.unpack("<%d%s" % ((b - a) // struct.calcsize("<" + kind), kind), data[8 + n + a : 8 + n + b]))
    return found


def norm(x):
    return sum(a * a for a in x) ** 0.5


def main():
    dhcc, case, args = sys.argv[1], sys.argv[2], sys.argv[3:]
    with tempfile.TemporaryDirectory() as work:
        inputs = []

        def add(name, dtype, dims):
            path = os.path.join(work, name + ".npy")
            npy(path, dtype, dims)
            inputs.extend(["--inputs", "%s=%s" % (name, path)])

        def run(backend, *more):
            out = os.path.join(work, backend + ".safetensors")
            subprocess.run([dhcc, "run", *args, *more, "--quiet", "--backend", backend, "--seed", "3", *inputs, "--outputs", out], check=True)
            return tensors(out)

        for one in case.split(","):
            name, dtype, dims = one.split(":")
            add(name, dtype, [int(d) for d in dims.split("x")])
        if "--entry" not in args:
            args += ["--entry", "forward"]
        outputs = run("interp")
        for name, (shape, _) in outputs.items():
            if shape:
                add("cotangent." + name, "f32", shape)
        want, have = run("interp", "--grad"), run("cpu", "--grad")
        largest = max([norm(v) for k, (_, v) in want.items() if k not in outputs and norm(v) < float("inf")], default=0.0)
        worst = 0.0
        if not want or want.keys() != have.keys():
            print("%s: results are %s and %s" % (" ".join(args), sorted(want), sorted(have)))
            return 1
        for name, (shape, w) in want.items():
            h = have[name][1]
            if have[name][0] != shape or len(h) != len(w):
                print("%s: %s is %s, not %s" % (" ".join(args), name, have[name][0], shape))
                return 1
            least, tol = (0.0, 1e-5) if name in outputs else (1e-3 * largest, 1e-4)
            d = max(norm(w), least)
            r = norm([a - b for a, b in zip(h, w)]) / d if d else norm(h)
            if not r <= tol:
                print("%s: %s differs by %g" % (" ".join(args), name, r))
                return 1
            worst = max(worst, r)
    print("%d tensors, %.2e" % (len(want), worst))
    return 0


sys.exit(main())
