"""Exits 0 if two checkpoints hold the same tensors, bit for bit, at the same step, data
position and seed. Which run it is and what it has seen for reports (best score so far) may differ."""
import hashlib
import json
import struct
import sys


def state(path):
    raw = open(path, "rb").read()
    n = struct.unpack("<Q", raw[:8])[0]
    head = json.loads(raw[8 : 8 + n])
    meta = head.pop("__metadata__")
    tensors = {k: hashlib.sha256(raw[8 + n + v["data_offsets"][0] : 8 + n + v["data_offsets"][1]]).hexdigest() for k, v in head.items()}
    other = ("dhc.run", "dhc.sha256", "run.command", "run.epochs", "run.steps", "run.total-steps", "run.report")
    return tensors, {k: v for k, v in meta.items() if k not in other and not k.startswith("state.")}


a, b = state(sys.argv[1]), state(sys.argv[2])
for x, y in zip(a, b):
    for k in sorted(set(x) | set(y)):
        if x.get(k) != y.get(k):
            print("differs:", k, x.get(k), y.get(k))
sys.exit(a != b)
