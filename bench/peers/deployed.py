"""Which files a program needs beside itself: what a process has mapped once it has given its first result. Needs no library."""
import os

# What the harness itself loads, and what every C program finds on its system. Libraries for GPUs are left out: builds for
# processors come without.
HARNESS = ("numpy", "numpy.libs", "safetensors", "ml_dtypes")
GPU = ("nvidia", "cuda", "cudnn", "cusparse", "nccl", "triton", "c10_cuda", "nvshmem", "cufile")


def library_of(path, packages, needs):
    """The path if it is a shared library that a package brings, and is counted; needs: names of packages, or None for all."""
    at = next((p for p in packages if path.startswith(p + "/")), None)
    name = os.path.basename(path)
    if at is None or ".so" not in name:
        return None
    top = path[len(at) + 1:].split("/")[0]
    return None if top in HARNESS or (needs and top not in needs) or any(g in part for g in GPU for part in (top, name)) else path


def mapped(maps, packages, needs=None):
    """Libraries of packages in the lines of /proc/self/maps, each once, in the order of their paths."""
    paths = {line.split(None, 5)[5].strip() for line in maps if len(line.split(None, 5)) == 6}
    return sorted(p for p in paths if library_of(p, packages, needs))


def files(own, needs=None):
    """Files and bytes of libraries and of the model's own; `own` are paths of the latter."""
    import sysconfig

    with open("/proc/self/maps") as f:
        libraries = mapped(f, sorted({sysconfig.get_path(k) for k in ("purelib", "platlib")}), needs)
    size = lambda paths: sum(os.path.getsize(p) for p in paths)
    return {"libraries": [os.path.basename(p) for p in libraries], "library_bytes": size(libraries), "model": [os.path.basename(p) for p in own], "model_bytes": size(own)}
