"""Writes the broken models, weights and data sets of bad_inputs.sh into a folder."""
import gzip
import json
import os
import struct
import sys

root = sys.argv[1]


def put(path, data):
    path = os.path.join(root, path)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as f:
        f.write(data if isinstance(data, bytes) else data.encode())


# ---- models: NAME.dhc; BODY stands for an entry that makes a model complete
BODY = "  forward<B>(x: [B]) -> (y: [B]) { return x }\n}\n"


def model(name, first_lines, body=BODY):
    put(name + ".dhc", first_lines + body)


put("m.dhc", "")
model("parens", "model M() {\n  const a = " + "(" * 100000 + "1" + ")" * 100000 + "\n")
model("terms", "model M() {\n  const a = " + "+".join(["1"] * 300000) + "\n")
model("integer", "model M() {\n  const a = 99999999999999999999\n")
model("real", "model M() {\n  const a = 1e999\n")
model("elements", "model M() {\n  param w: [4194305, 4194305, 211106198978564]\n")
model("memory", "model M() {\n  param w: [100000, 100000] = normal(0.0, 1.0)\n")
model("negative", "model M(n: int = 3) {\n  param w: [2, n - 4] = zeros()\n")
model("matmul", "model M() {\n  param w: [785, 10] = zeros()\n",
      "  forward(x: [32, 784]) -> (y: [32, 10]) {\n    return x @ w\n  }\n}\n")
model("outside", 'import "a/../../secret"\nmodel M() {\n')
model("absolute", 'import "/etc/passwd"\nmodel M() {\n')
model("real_one", "model R() {\n")
os.makedirs(os.path.join(root, "lib"))
os.makedirs(os.path.join(root, "lib/folder.dhc"))
os.symlink("../real_one.dhc", os.path.join(root, "lib/soft.dhc"))
os.link(os.path.join(root, "real_one.dhc"), os.path.join(root, "lib/hard.dhc"))
os.symlink("lib", os.path.join(root, "through"))
os.mkfifo(os.path.join(root, "lib/fifo.dhc"))
for kind in ("soft", "hard", "fifo", "folder"):
    model("import_" + kind, 'import "lib/%s.dhc"\nmodel M() {\n' % kind)
model("import_through", 'import "through/plain.dhc"\nmodel M() {\n')
model("import_absent", 'import "lib/absent.dhc"\nmodel M() {\n')
model("import_long", 'import "%s.dhc"\nmodel M() {\n' % ("n" * 4096))
model("a", 'import "b.dhc"\nmodel M() {\n')
put("b.dhc", 'import "a.dhc"\n')
put("nul.dhc", b"model M() {\n  f\x00rward<B>(x: [B]) -> (y: [B]) { return x }\n}\n")
put("utf8.dhc", b"model M() {\n  f\xffrward<B>(x: [B]) -> (y: [B]) { return x }\n}\n")
put("string.dhc", 'model M(a: string = "abc) {\n}\n')
model("gradient", "model M() {\n  param w: [4, 4] = normal(0.0, 1.0)\n",
      "  loss<B>(x: [B, 4]) -> (loss: []) {\n    return mean(float(argmax(x @ w, axis = -1)))\n  }\n}\n")

# ---- weights of the model `weights`: w [2, 2], b [2]
model("weights", "model M() {\n  param w: [2, 2] = zeros()\n  param b: [2] = zeros()\n",
      "  forward<B>(x: [B, 2]) -> (y: [B, 2]) { return x @ w + b }\n}\n")
W = {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}
B = {"dtype": "F32", "shape": [2], "data_offsets": [16, 24]}


def weights(name, header, data=b"\0" * 24, length=None):
    if not isinstance(header, str):
        header = json.dumps(header, separators=(",", ":"))
    n = len(header) if length is None else length
    put(name + ".safetensors", struct.pack("<Q", n) + header.encode() + data)


weights("good", {"w": W, "b": B})
put("short.safetensors", b"\0" * 7)
weights("huge_header", {"w": W}, length=2**64 - 1)
weights("long_header", "{" + " " * 1015 + "}", data=b"", length=4096)
put("long_header.safetensors", struct.pack("<Q", 4096) + b"{" + b" " * 1023)
weights("overlap", {"w": W, "b": dict(B, data_offsets=[8, 16])})
weights("appended", {"w": W, "b": B}, b"\0" * 24 + b"PK\3\4" * 128)
weights("hole", {"w": W, "b": dict(B, data_offsets=[20, 28])}, b"\0" * 28)
weights("twice", '{"w":%s,"w":%s}' % (json.dumps(W), json.dumps(dict(W, data_offsets=[16, 32]))), b"\0" * 32)
weights("range", {"w": dict(W, data_offsets=[0, 4]), "b": dict(B, data_offsets=[4, 12])}, b"\0" * 12)
weights("dtype", {"w": dict(W, dtype="F31"), "b": B})
weights("shape", {"w": dict(W, shape=[2, 18446744073709551614]), "b": B})
weights("overflow", {"w": dict(W, shape=[4294967296, 4294967296]), "b": B})
weights("nested", '{"a":' + "[" * 100000 + "}")
weights("metadata", '{"__metadata__":{"a":1},"w":%s,"b":%s}' % (json.dumps(W), json.dumps(B)))
weights("turned", {"w": dict(W, shape=[1, 4]), "b": B})
weights("missing", {"w": W}, b"\0" * 16)
put("empty.safetensors", b"")


def npy(path, descr, shape, data):
    head = "{'descr': '%s', 'fortran_order': False, 'shape': %s, }" % (descr, repr(tuple(shape)))
    head += " " * (63 - (10 + len(head)) % 64) + "\n"
    put(path, b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head.encode() + data)


npy("x.npy", "<f4", (1, 2), b"\0" * 8)


# ---- data sets
def idx(path, dims, data, magic=8):
    return put(path, struct.pack(">HBB", 0, magic, len(dims)) + b"".join(struct.pack(">I", d) for d in dims) + data)


def mnist(folder, n, labels, images=None):
    for part, k in (("train", n), ("t10k", 10)):
        idx(folder + "/%s-images-idx3-ubyte" % part, [k, 28, 28], b"\0" * (784 * k))
        idx(folder + "/%s-labels-idx1-ubyte" % part, [labels if part == "train" else k],
            b"\0" * (labels if part == "train" else k))


mnist("promise", 20, 20)
idx("promise/train-images-idx3-ubyte", [4294967295, 28, 28], b"")
mnist("labels", 60, 10)
mnist("gzip_cut", 20, 20)
path = os.path.join(root, "gzip_cut/train-images-idx3-ubyte")
packed = gzip.compress(open(path, "rb").read(), mtime=0)
os.remove(path)
put("gzip_cut/train-images-idx3-ubyte.gz", packed[: len(packed) // 2])
mnist("gzip_named", 20, 20)
path = os.path.join(root, "gzip_named/train-images-idx3-ubyte")
put("gzip_named/train-images-idx3-ubyte", gzip.compress(open(path, "rb").read(), mtime=0))
for name, behind in (("gzip_padded", bytes(70000)), ("gzip_behind", bytes(512) + b"behind")):
    mnist(name, 20, 20)
    path = os.path.join(root, name + "/train-images-idx3-ubyte")
    packed = gzip.compress(open(path, "rb").read(), mtime=0)
    os.remove(path)
    put(name + "/train-images-idx3-ubyte.gz", packed + behind)
mnist("magic", 20, 20)
put("magic/train-images-idx3-ubyte", b"\x89PNG" + b"\0" * 100)


def cifar(folder, first):
    for i in range(1, 6):
        put(folder + "/data_batch_%d.bin" % i, first if i == 1 else b"\0" * 3073 * 50)
    put(folder + "/test_batch.bin", b"\0" * 3073 * 10)


cifar("cifar_cut", b"\0" * (3073 * 50 - 1))
record = bytearray(3073 * 50)
record[42 * 3073] = 255
cifar("cifar_label", bytes(record))
os.makedirs(os.path.join(root, "nothing_here"))
