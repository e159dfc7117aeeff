"""Writes inputs, or compares two result files tensor by tensor: agree.py inputs DIR B C H W,
agree.py compare A B TOL (errors are ||a-b|| / ||b||, or over the largest norm where b is 0)."""
import json
import math
import struct
import sys


def npy(path, descr, shape, data):
    head = "{'descr': '%s', 'fortran_order': False, 'shape': %s, }" % (descr, repr(tuple(shape)))
    head += " " * (63 - (10 + len(head)) % 64) + "\n"
    with open(path, "wb") as f:
        f.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head.encode() + data)


shapes = {}  # of every name in all files loaded


def load(path):
    raw = open(path, "rb").read()
    n = struct.unpack("<Q", raw[:8])[0]
    head = json.loads(raw[8 : 8 + n])
    head.pop("__metadata__", None)
    code = {"F32": "f", "F64": "d", "I64": "q", "I32": "i", "BOOL": "?"}
    out = {}
    for name, v in head.items():
        a, b = v["data_offsets"]
        data = raw[8 + n + a : 8 + n + b]
        kind = code[v["dtype"]]
        out[name] = struct.unpack("<%d%s" % (len(data) // struct.calcsize(kind), kind), data)
        shapes.setdefault(name, set()).add(tuple(v["shape"]))
    return out


def main():
    if sys.argv[1] == "inputs":
        d, b, c, h, w = sys.argv[2], *map(int, sys.argv[3:7])
        n, state, px = b * c * h * w, 7, []
        for i in range(n):
            state = (state * 1103515245 + 12345) & 0x7FFFFFFF
            px.append((state >> 8) / (1 << 22) - 1)
        npy(d + "/image.npy", "<f4", (b, c, h, w), struct.pack("<%df" % n, *px))
        npy(d + "/target.npy", "<i8", (b,), struct.pack("<%dq" % b, *[i % 10 for i in range(b)]))
    else:
        x, y, tol = load(sys.argv[2]), load(sys.argv[3]), float(sys.argv[4])
        norm = {k: math.sqrt(math.fsum(float(e) ** 2 for e in v)) for k, v in y.items()}
        top, bad = max((n for n in norm.values() if math.isfinite(n)), default=0.0), 0
        if not x:
            sys.exit("nothing to compare")
        for k in sorted(set(x) | set(y)):
            if k not in x or k not in y or len(x[k]) != len(y[k]) or len(shapes[k]) > 1:
                print("only in one, or of another shape:", k)
                bad = 1
                continue
            diff = math.sqrt(math.fsum((float(p) - float(q)) ** 2 for p, q in zip(x[k], y[k])))
            # gradients far below the largest are noise of the sums they come from
            err = diff / max(norm[k], 1e-6 * top, 1e-30)
            if not err <= tol:
                print("%s: error %.3e" % (k, err))
                bad = 1
        sys.exit(bad)


if __name__ == "__main__":
    main()
