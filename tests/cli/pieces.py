"""make: a sequence [2, 6, 4] as all.safetensors and its pieces a, b, c; one.safetensors has
another batch size. same WHOLE PIECES...: exits 0 if the pieces' y, one after the other, are
WHOLE's, to 1e-6."""
import json
import struct
import sys


def save(path, shape, data):
    raw = struct.pack("<%df" % len(data), *data)
    head = json.dumps({"x": {"dtype": "F32", "shape": shape, "data_offsets": [0, len(raw)]}}).encode()
    head += b" " * (-len(head) % 8)
    open(path, "wb").write(struct.pack("<Q", len(head)) + head + raw)


def load(path):
    raw = open(path, "rb").read()
    n = struct.unpack("<Q", raw[:8])[0]
    y = json.loads(raw[8 : 8 + n])["y"]
    b, e = y["data_offsets"]
    kind = {"F32": "f", "F64": "d"}[y["dtype"]]
    data = struct.unpack("<%d%s" % ((e - b) // struct.calcsize(kind), kind), raw[8 + n + b : 8 + n + e])
    rows, length, width = y["shape"]
    return [[data[(r * length + t) * width : (r * length + t + 1) * width] for t in range(length)] for r in range(rows)]


if sys.argv[1] == "make":
    x = [[[((r * 31 + t * 7 + i * 3) % 17) / 8 - 1 for i in range(4)] for t in range(6)] for r in range(2)]
    for name, rows, a, b in [("all", 2, 0, 6), ("a", 2, 0, 3), ("b", 2, 3, 5), ("c", 2, 5, 6), ("one", 1, 5, 6)]:
        save(name + ".safetensors", [rows, b - a, 4], [v for r in x[:rows] for t in r[a:b] for v in t])
else:
    whole = load(sys.argv[2])
    parts = [load(p) for p in sys.argv[3:]]
    joined = [[t for p in parts for t in p[r]] for r in range(len(whole))]
    if [len(r) for r in joined] != [len(r) for r in whole]:
        sys.exit("lengths differ")
    if [len(t) for r in joined for t in r] != [len(t) for r in whole for t in r]:
        sys.exit("widths differ")
    # one by one: max() may lose a NaN
    apart = [abs(a - b) for r, s in zip(whole, joined) for t, u in zip(r, s) for a, b in zip(t, u)]
    wrong = [d for d in apart if not d <= 1e-6]
    if wrong or not apart:
        sys.exit("%d of %d differ, the first by %g" % (len(wrong), len(apart), wrong[0] if wrong else 0))
