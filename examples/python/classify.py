#!/usr/bin/env python3
"""A model's shared library through ctypes: no dhcc, no framework.

    dhcc build dhc_ssm --preset gray --set hidden_dim=16 --entry classify --weights best.safetensors --name clothes -o clothes.so
    classify.py clothes.so t10k-images-idx3-ubyte[.gz] 7

What the library takes it says itself; NumPy is used where it is there."""
import ctypes
import gzip
import json
import sys


def aligned(n_bytes):
    """A block that begins at a multiple of 64, and what keeps it alive."""
    block = ctypes.create_string_buffer(n_bytes + 64)
    return ctypes.c_void_p((ctypes.addressof(block) + 63) & ~63), block


def main():
    if len(sys.argv) != 4 or not sys.argv[3].isdigit():
        sys.exit("usage: classify.py LIBRARY.so IDX-FILE NUMBER")
    library = ctypes.CDLL(sys.argv[1] if "/" in sys.argv[1] else "./" + sys.argv[1])
    library.clothes_describe.restype = ctypes.c_char_p
    about = json.loads(library.clothes_describe())
    entry = next(e for e in about["entries"] if e["name"] == "classify")
    opened = gzip.open if sys.argv[2].endswith(".gz") else open
    with opened(sys.argv[2], "rb") as f:
        f.seek(16 + 784 * int(sys.argv[3]))
        image = f.read(784)
    if len(image) < 784:
        sys.exit(f"{sys.argv[2]}: no image {sys.argv[3]} of 28 by 28 pixels")
    sizes = [ctypes.c_int64({"B": 1, "H": 28, "W": 28}[s["name"]]) for s in entry["sizes"] if "value" not in s]
    size_of_work = library.clothes_classify_workspace_bytes
    size_of_work.restype = ctypes.c_int64
    n_bytes = size_of_work(*sizes, 1)
    work, _keep = aligned(n_bytes)
    probability = (ctypes.c_float * 10)()
    status = library.clothes_classify(ctypes.c_char_p(image), probability, *sizes, work, ctypes.c_int64(n_bytes), None)
    if status:
        sys.exit(f"status {status}")
    try:
        import numpy
        values = numpy.ctypeslib.as_array(probability)
        best = int(values.argmax())
    except ImportError:
        values = list(probability)
        best = values.index(max(values))
    print(best, f"{values[best]:.4f}")


if __name__ == "__main__":
    try:
        main()
    except OSError as e:  # files that are not there, or are something else
        sys.exit(str(e))
