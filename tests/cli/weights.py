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


def text(s):
    return struct.pack("<Q", len(s)) + s.encode()


def gguf(path, tensors, keys=(), version=3, align=32, counts=None, end=None):
    """GGUF as its specification says: tensors {name: (type, dims with the fastest first, data[, offset])}."""
    n_tensors, n_keys = counts or (len(tensors), len(keys))
    head, data = b"GGUF" + struct.pack("<IQQ", version, n_tensors, n_keys) + b"".join(keys), b""
    for name, (kind, dims, raw, *place) in tensors.items():
        head += text(name) + struct.pack("<I%dQIQ" % len(dims), len(dims), *dims, kind, place[0] if place else len(data))
        data += raw + b"\0" * (-len(raw) % align)
    put(path, (head + b"\0" * (-len(head) % align) + data)[:end])


gw, gl = (0, [2], halves(W, "f")), (0, [2, 2], halves(L, "f"))
both = {"w": gw, "l.weight": gl}
U32, STR, ARR = 4, 8, 9
key = lambda name, kind, value: text(name) + struct.pack("<I", kind) + value
some = [key("general.architecture", STR, text("m")), key("m.eps", 6, struct.pack("<f", 1e-5)), key("m.on", 7, b"\1"), key("m.n", 10, b"\0" * 8),
        key("m.words", ARR, struct.pack("<IQ", STR, 2) + text("a") + text("bc")), key("m.ids", ARR, struct.pack("<IQ3H", 2, 3, 1, 2, 3)),
        key("m.deep", ARR, struct.pack("<IQ", ARR, 1) + struct.pack("<IQ2H", 2, 2, 7, 7))]
gguf("F32.gguf", both, some)
gguf("F16.gguf", {"w": (1, [2], halves(W, "e")), "l.weight": (1, [2, 2], halves(L, "e"))}, version=2)
gguf("BF16.gguf", {"w": (30, [2], bf16(W)), "l.weight": (30, [2, 2], bf16(L))})
gguf("F64.gguf", {"l.weight": (28, [2, 2], halves(L, "d")), "w": (28, [2], halves(W, "d"))})
gguf("aligned.gguf", both, [key("general.alignment", U32, struct.pack("<I", 64))], align=64)
gguf("turned.gguf", {"w": gw, "l.weight": (0, [4, 1], halves(L, "f"))})
gguf("beside.gguf", dict(both, q=(12, [256], b"\1" * 144)))
gguf("packed.gguf", {"w": (8, [32], b"\0" * 34), "l.weight": gl})
gguf("bad_version.gguf", both, version=1)
gguf("bad_endian.gguf", both, version=3 << 24)
gguf("bad_counts.gguf", both, counts=(1 << 60, 0))
gguf("bad_keys.gguf", both, counts=(2, 1 << 60))
gguf("bad_array.gguf", both, [key("a", ARR, struct.pack("<IQ", 12, 1 << 61))])
gguf("bad_value.gguf", both, [key("a", 77, b"")])
gguf("bad_nesting.gguf", both, [key("a", ARR, struct.pack("<IQ", ARR, 1) * 9)])
gguf("bad_alignment.gguf", both, [key("general.alignment", U32, struct.pack("<I", 48))])
gguf("bad_name.gguf", {"w\n": gw})
gguf("bad_rank.gguf", {"w": (0, [1] * 9, b"\0" * 4)})
gguf("bad_type.gguf", {"w": (99, [2], b"\0" * 4)})
gguf("bad_block.gguf", {"w": (12, [128], b"\0" * 72)})
gguf("bad_shape.gguf", {"w": (0, [1 << 40, 1 << 40], b"\0" * 4)})
gguf("bad_place.gguf", {"w": (0, [2], halves(W, "f"), 8)})
gguf("bad_end.gguf", {"w": (0, [1 << 60], b"\0" * 8)})
gguf("bad_far.gguf", {"w": (0, [2], b"\0" * 8, (1 << 64) - 32)})
gguf("bad_overlap.gguf", {"w": (0, [64], b"\0" * 256), "v": (0, [2], b"\0" * 8, 32)})
gguf("bad_short.gguf", both, end=20)
