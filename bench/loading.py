"""loading.py DHCC BENCH_LOADING FOLDER [N]: does reading pictures hold training up?

Writes N (20,000) training pictures of Fashion-MNIST as PNG files by class below FOLDER, unless they are there; then, several
times in turn: DHC-SSM trained from the folder, with memory for the decoded pictures and for few of them, and from memory (the IDX
files), and the batches alone, of bench_loading and of PyTorch's DataLoader with torchvision's ImageFolder, at 0, 1 and 2 workers.
The best of each is printed. Without torch and torchvision that part is left out.
"""
import gzip
import json
import pathlib
import re
import struct
import subprocess
import sys
import time
import zlib

SOURCE = pathlib.Path("/usr/share/datasets/fashion-mnist")
BATCH, ROUNDS = 64, 3


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def write_folder(folder, n):
    pixels = gzip.open(SOURCE / "train-images-idx3-ubyte.gz").read()[16:]
    labels = gzip.open(SOURCE / "train-labels-idx1-ubyte.gz").read()[8:]
    for i in range(n):
        at = folder / "train" / str(labels[i])
        at.mkdir(parents=True, exist_ok=True)
        raw = b"".join(b"\0" + pixels[784 * i + 28 * y:784 * i + 28 * y + 28] for y in range(28))
        head = struct.pack(">IIBBBBB", 28, 28, 8, 0, 0, 0, 0)
        (at / f"{i:05}.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b""))


def train(dhcc, data, n, *more):
    """Examples a second as the run reports them, and seconds of CPU a thousand examples."""
    command = ["bash", "-c", 'time -p "$@"', "-", dhcc, "train", "dhc_ssm", "--set", "input_channels=1", "--set", "hidden_dim=16", "--data", data,
               "--limit", str(n), "--val-fraction", "0.05", "--epochs", "2", "--batch", str(BATCH), "--no-augment", "--lr", "0.003", "--quiet",
               "--json", *more]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    cpu = sum(float(x) for x in re.findall(r"^(?:user|sys) ([0-9.]+)$", done.stderr, re.M))
    return json.loads(done.stdout)["samples_per_s"], cpu * 1000 / (2 * n)


def loading(bench, spec, workers, *more):
    out = subprocess.run([bench, spec, f"batch={BATCH}", f"workers={workers}", "epochs=2", *more], check=True, capture_output=True, text=True).stdout
    return max(float(x) for x in re.findall(r"([0-9.]+) examples/s", out))


def torch_loading(folder, workers):
    import torch
    from torchvision import datasets, transforms

    change = transforms.Compose([transforms.Grayscale(), transforms.PILToTensor()])
    data = datasets.ImageFolder(str(folder / "train"), transform=change)
    torch.set_num_threads(2)
    loader = torch.utils.data.DataLoader(data, batch_size=BATCH, shuffle=True, num_workers=workers, persistent_workers=workers > 0)
    best = 0.0
    for _ in range(2):
        began, n = time.perf_counter(), 0
        for image, _ in loader:
            n += len(image)
        best = max(best, n / (time.perf_counter() - began))
    return best


def main():
    dhcc, bench, folder = sys.argv[1], sys.argv[2], pathlib.Path(sys.argv[3])
    n = int(sys.argv[4]) if len(sys.argv) > 4 else 20000
    if not folder.exists():
        write_folder(folder, n)
    n_train = int(n * 0.9)
    rows = {
        "train, IDX in memory": lambda: train(dhcc, f"idx:{SOURCE}", n_train),
        "train, PNG folder": lambda: train(dhcc, f"images:{folder}", n_train),
        "train, PNG folder, little memory": lambda: train(dhcc, f"images:{folder}", n_train, "--max-memory", "18000000"),
    }
    for workers in 0, 1, 2:
        rows[f"batches, {workers} workers"] = lambda w=workers: (loading(bench, f"images:{folder}", w), None)
        rows[f"batches, {workers} workers, 1 % kept"] = lambda w=workers: (loading(bench, f"images:{folder}", w, "keep=160000"), None)
    try:
        import torch
        import torchvision

        print(f"torch {torch.__version__}, torchvision {torchvision.__version__}")
        for workers in 0, 1, 2:
            rows[f"DataLoader, {workers} workers"] = lambda w=workers: (torch_loading(folder, w), None)
    except ImportError:
        print("no torch and torchvision here")
    got = {}
    for _ in range(ROUNDS):
        for name, run in rows.items():
            got.setdefault(name, []).append(run())
    for name, values in got.items():
        cpu = [v[1] for v in values if v[1] is not None]
        print(f"{name:40} {max(v[0] for v in values):10.0f} examples/s" + (f"  {min(cpu) * 1000:.0f} us of CPU each" if cpu else ""))


if __name__ == "__main__":
    main()
