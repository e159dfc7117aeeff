"""Writes the weight files of weights.sh into a folder; the model has w [2] and l.weight [2, 2]."""
import json
import os
import struct
import sys

root = sys.argv[1]
W = [1.5, -2.0]
L = [1.0, 2.0, 3.0, 4.0]


def halves(values, kind):
    return struct.pack("<%d%s" % (len(values), kind), *values)


def bf16(values):
    return b"".join(struct.pack("<f", v)[2:] for v in values)


def e5m2(values):
    return b"".join(struct.pack("<e", v)[1:] for v in values)


# 1.5, -2, 1, 2, 3, 4 in the formats that Python cannot pack, from the formats' definitions
E4M3 = {1.5: 0x3C, -2.0: 0xC0, 1.0: 0x38, 2.0: 0x40, 3.0: 0x44, 4.0: 0x48}
FNUZ4 = {k: v + 8 for k, v in E4M3.items()}
FNUZ5 = {1.5: 0x42, -2.0: 0xC4, 1.0: 0x40, 2.0: 0x44, 3.0: 0x46, 4.0: 0x48}
F4 = {1.5: 3, -2.0: 12, 1.0: 2, 2.0: 4, 3.0: 5, 4.0: 6}
PACK = {
    "F64": lambda v: halves(v, "d"), "F32": lambda v: halves(v, "f"), "F16": lambda v: halves(v, "e"), "BF16": bf16, "F8_E5M2": e5m2,
    "F8_E4M3": lambda v: bytes(E4M3[x] for x in v), "F8_E4M3FNUZ": lambda v: bytes(FNUZ4[x] for x in v),
    "F8_E5M2FNUZ": lambda v: bytes(FNUZ5[x] for x in v),
    "F4": lambda v: bytes(F4[v[i]] | F4[v[i + 1]] << 4 for i in range(0, len(v), 2)),
}


def put(path, data):
    path = os.path.join(root, path)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as f:
        f.write(data)


def save(path, tensors):
    head, data = {}, b""
    for name, (dtype, shape, raw) in tensors.items():
        head[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    head = json.dumps(head).encode()
    put(path, struct.pack("<Q", len(head)) + head + data)


w, l = ("F32", [2], halves(W, "f")), ("F32", [2, 2], halves(L, "f"))
save("good.safetensors", {"w": w, "l.weight": l})
for dtype, pack in PACK.items():
    save(dtype + ".safetensors", {"w": (dtype, [2], pack(W)), "l.weight": (dtype, [2, 2], pack(L))})
save("u64.safetensors", {"w": w, "l.weight": ("U64", [2, 2], struct.pack("<4Q", 1, 2, 3, 4))})
save("c64.safetensors", {"w": ("C64", [2], b"\0" * 16), "l.weight": l})
# beside what the model has: a bias, a head tied or not, kinds that nothing here can hold
extra = {"w": w, "l.weight": l, "l.bias": w, "head": ("F32", [2, 2], halves([9] * 4, "f")), "z": ("C64", [1], b"\0" * 8),
         "deep": ("U8", [1] * 9, b"\0"), "six": ("F6_E3M2", [4], b"\0" * 3)}
save("extra.safetensors", extra)
save("many.safetensors", dict({"w": w, "l.weight": l}, **{"m%02d" % i: w for i in range(30)}))


save("prefix.safetensors", {"model.w": w, "model.l.weight": l})
save("bare.safetensors", {"w": w, "weight": l})


def index(path, where):
    put(path, json.dumps({"metadata": {"total_size": 24}, "weight_map": where}, indent=1).encode())


A, B = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
save("hub/" + A, {"w": w})
save("hub/" + B, {"l.weight": l, "l.bias": w})
index("hub/model.safetensors.index.json", {"w": A, "l.weight": B, "l.bias": B})
save("one/model.safetensors", {"w": w, "l.weight": l})
save("one/other.safetensors", {"w": w})
save("one/model.fp16.safetensors", {"w": w})
save("several/a.safetensors", {"w": w})
save("several/b.safetensors", {"w": w})
put("torch/pytorch_model.bin", b"PK\3\4" + b"\0" * 26 + b"m/data.pkl")
put("empty/README.md", b"none")
save("absent/" + A, {"w": w})
index("absent/model.safetensors.index.json", {"w": A, "l.weight": B})
save("astray/" + A, {"w": w, "l.weight": l})
save("astray/" + B, {"v": w})
index("astray/model.safetensors.index.json", {"w": A, "l.weight": B})
save("twice/" + A, {"w": w, "l.weight": l})
save("twice/" + B, {"w": w})
index("twice/model.safetensors.index.json", {"l.weight": A, "w": B})
save("shape/" + A, {"w": w})
save("shape/" + B, {"l.weight": ("F32", [4], halves(L, "f"))})
index("shape/model.safetensors.index.json", {"w": A, "l.weight": B})
index("outside/model.safetensors.index.json", {"w": "../good.safetensors"})
put("config.json", b'{"architectures": ["M"]}')
put("broken.json", b'{"weight_map": {"w": 1}}')
