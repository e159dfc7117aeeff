"""Writes the inputs of messages.sh into a folder: small data sets and tensors, each wrong in one way."""
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


def mnist(folder, images, labels):
    put(folder + "/train-images-idx3-ubyte", images)
    put(folder + "/train-labels-idx1-ubyte", labels)


def images(n):
    return struct.pack(">IIII", 0x803, n, 28, 28) + bytes(784 * n)


def labels(n, value=0):
    return struct.pack(">II", 0x801, n) + bytes([value]) * n


npy("x.npy", "<f4", (2, 4), bytes(32))
npy("void.npy", "|V2", (2, 4), bytes(16))
npy("few/train/x.npy", "<f4", (2, 4), bytes(32))
npy("none/train/x.npy", "<f4", (0, 4))
npy("f16/train/x.npy", "<f2", (2, 4), bytes(16))
npy("i16/train/x.npy", "<i2", (2, 4), bytes(16))
for i in range(17):
    npy("many/train/a%d.npy" % i, "<f4", (2,), bytes(8))
npy("scalar/train/x.npy", "<f4", (), bytes(4))
mnist("dims", labels(3), labels(3))
mnist("ends", images(1)[:9], labels(1))
mnist("more", images(1) + b"x", labels(1))
mnist("label", images(4), labels(4, 200))
mnist("ok", images(4), labels(4))
put("zip.npy", b"PK\3\4" + bytes(60))
put("odd.bin", b"xyz")
put("t.txt", b"hello world")
for folder in ("bare", "fresh", "started", "noarrays/train"):
    os.makedirs(folder)
os.symlink("nowhere", "dangling.safetensors")
os.mkfifo("pipe.safetensors")
