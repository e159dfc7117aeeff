"""Writes the inputs of messages.sh into a folder: small data sets and tensors, each wrong in one way."""
import gzip
import json
import os
import struct
import sys

os.chdir(sys.argv[1])


def put(path, data):
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    with open(path, "wb") as f:
        f.write(data)


def npy(path, descr, shape, data=b""):
    head = str({"descr": descr, "fortran_order": False, "shape": shape}).encode()
    head += b" " * (63 - (10 + len(head)) % 64) + b"\n"
    put(path, b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head + data)


def safetensors(path, value=0.0, **tensors):
    """f32 tensors, all elements alike: NAME=shape; "__" stands for ".". """
    head, at = {}, 0
    for name, shape in tensors.items():
        n = 4
        for d in shape:
            n *= d
        head[name.replace("__", ".")] = {"dtype": "F32", "shape": shape, "data_offsets": [at, at + n]}
        at += n
    text = json.dumps(head).encode()
    put(path, struct.pack("<Q", len(text)) + text + struct.pack("<f", value) * (at // 4))


def mnist(folder, images, labels):
    put(folder + "/train-images-idx3-ubyte", images)
    put(folder + "/train-labels-idx1-ubyte", labels)


def images(n):
    return struct.pack(">IIII", 0x803, n, 28, 28) + bytes(784 * n)


def labels(n, value=0):
    return struct.pack(">II", 0x801, n) + bytes([value]) * n


npy("x.npy", "<f4", (2, 4), bytes(32))
npy("n4.npy", "<f4", (65536,), bytes(4 * 65536))
npy("n3.npy", "<f4", (1600000,), bytes(4 * 1600000))
npy("void.npy", "|V2", (2, 4), bytes(16))
npy("few/train/x.npy", "<f4", (2, 4), bytes(32))
npy("none/train/x.npy", "<f4", (0, 4))
npy("f16/train/x.npy", "<f2", (2, 4), bytes(16))
npy("i16/train/x.npy", "<i2", (2, 4), bytes(16))
for i in range(65):
    npy("arrays/train/a%02d.npy" % i, "<f4", (2,), bytes(8))
for i in range(17):
    npy("many/train/a%d.npy" % i, "<f4", (2,), bytes(8))
npy("scalar/train/x.npy", "<f4", (), bytes(4))
mnist("dims", labels(3), labels(3))
mnist("ends", images(1)[:9], labels(1))
mnist("more", images(1) + b"x", labels(1))
mnist("label", images(4), labels(4, 200))
mnist("ok", images(4), labels(4))
safetensors("many.safetensors", **{"x%d" % i: [i + 1, 2] for i in range(1, 34)})
safetensors("more.safetensors", **{"x%d" % i: [1] for i in range(257)})
safetensors("nine.safetensors", w=[1] * 8 + [4])
safetensors("w.safetensors", w=[4])
safetensors("s.safetensors", s=[2, 4])
safetensors("z.safetensors", z=[2, 4])
safetensors("off.safetensors", 0.5, param__w=[4], input__x=[2, 4], output__y=[2, 4])
safetensors("steps.safetensors", param__w=[4], input__x=[1, 2, 4], output__loss=[1], output__param__z=[4])
numbers = range(1, 34)
signature = "<%s>(%s)" % (", ".join("A%d" % i for i in numbers), ", ".join("x%d: [A%d, 2]" % (i, i) for i in numbers))
put("symbols.dhc", ("import std/nn\nmodel Symbols() {\n  forward%s -> (y) { return x1 }\n  loss%s -> (loss: []) { return mean(x1) }\n}\n" %
                    (signature, signature)).encode())
put("floats.dhc", ("model Floats(%s) {\n  forward<B>(x: [B, 4]) -> (y) { return x * a0 }\n}\n" %
                   ", ".join("a%d: float = 1.0" % i for i in range(129))).encode())
put("entries.dhc", ("model Entries() {\n  state s: [4] = zeros()\n  f(x: [4]) -> (y) {\n    s <- x + s\n    return s\n  }\n%s}\n" %
                    "".join("  e%d<B>(x: [B, 4]) -> (y) { return x * 2.0 }\n" % i for i in range(1, 16))).encode())
put("long.txt.gz", gzip.compress(b"all work and no play " * 4000000, 1))
put("zip.npy", b"PK\3\4" + bytes(60))
put("odd.bin", b"xyz")
put("t.txt", b"hello world")
for folder in ("bare", "fresh", "started", "noarrays/train"):
    os.makedirs(folder)
os.symlink("nowhere", "dangling.safetensors")
os.mkfifo("pipe.safetensors")
