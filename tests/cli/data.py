"""Writes a small image data set as npy files, npy:DIR with train, val and test: data.py DIR [TRAIN]."""
import os
import struct
import sys


def npy(path, descr, shape, data):
    head = "{'descr': '%s', 'fortran_order': False, 'shape': %s, }" % (descr, repr(tuple(shape)))
    head += " " * (63 - (10 + len(head)) % 64) + "\n"
    with open(path, "wb") as f:
        f.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head.encode() + data)


def split(folder, n, seed):
    os.makedirs(folder)
    state = seed
    pixels, labels = bytearray(), b""
    for i in range(n):
        label = i % 10
        labels += struct.pack("<q", label)
        for p in range(64):  # a bright bar whose place is the label, and noise
            state = (state * 1103515245 + 12345) & 0x7FFFFFFF
            pixels.append(min(255, (state >> 16) % 64 + (180 if p % 10 == label else 0)))
    npy(folder + "/image.npy", "|u1", (n, 1, 8, 8), bytes(pixels))
    npy(folder + "/target.npy", "<i8", (n,), labels)


root = sys.argv[1]
split(root + "/train", int(sys.argv[2]) if len(sys.argv) > 2 else 200, 1)
split(root + "/val", 40, 2)
split(root + "/test", 40, 3)
