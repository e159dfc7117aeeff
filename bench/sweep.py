"""Convolutions of real networks beside PyTorch's on one thread, in one run: where is a cliff?

  python bench/sweep.py DHCC [--list] [--every N] [--name TEXT] [--out FILE.csv]

DHCC is the command; the Python needs numpy and torch (bench/peers/README.md). Shapes are generated from descriptions of networks below.
Of each shape forward, and forward with both gradients: least processor time of PyTorch's calls, and dhcc's as the difference
between runs of many repeats and of one; the two take turns. Results are compared before times are. A line a shape, the worst
ratios at the end, exit status 1 if results differ."""
import argparse
import csv
import json
import math
import pathlib
import resource
import struct
import subprocess
import sys
import tempfile
import time

import numpy as np

MODEL = """import std/nn
model M(c: int, o: int, kh: int, kw: int, s: int, ph: int, pw: int, d: int, g: int) {
  param w: [o, c // g, kh, kw] = normal(0.0, 0.1)
  forward<B, H, W>(x: [B, c, H, W]) -> (y) {
    require H + 2 * ph >= d * (kh - 1) + 1 and W + 2 * pw >= d * (kw - 1) + 1
    return conv(x, w, stride = s, padding = [ph, pw], dilation = d, groups = g)
  }
}
"""


def shape(net, n, c, o, k, h, s=1, p=None, d=1, g=1, w=None):
    """k: one number or (down, across); p: likewise, as much as keeps the size if left out."""
    kh, kw = k if isinstance(k, tuple) else (k, k)
    ph, pw = p if isinstance(p, tuple) else (d * (kh - 1) // 2, d * (kw - 1) // 2) if p is None else (p, p)
    return dict(net=net, n=n, c=c, o=o, kh=kh, kw=kw, h=h, w=w or h, s=s, ph=ph, pw=pw, d=d, g=g)


def residual(net, n, size, basic):
    yield shape(net, n, 3, 64, 7, size, 2)
    c, h = 64, size // 4
    for stage in range(4):
        o = 64 << stage
        wide, first = (o if basic else 4 * o), (2 if stage else 1)
        if basic:
            yield shape(net, n, c, o, 3, h, first)
            yield shape(net, n, o, o, 3, h // first)
        else:
            yield shape(net, n, c, o, 1, h)
            yield shape(net, n, o, o, 3, h, first)
            yield shape(net, n, o, wide, 1, h // first)
            yield shape(net, n, wide, o, 1, h // first)
        if c != wide:
            yield shape(net, n, c, wide, 1, h, first, 0)
        c, h = wide, h // first


def inverted(net, n, size, rows):
    """Expansion, depthwise, projection."""
    yield shape(net, n, 3, 32, 3, size, 2)
    c, h = 32, size // 2
    for expand, o, k, s in rows:
        e = c * expand
        if expand > 1:
            yield shape(net, n, c, e, 1, h)
        yield shape(net, n, e, e, k, h, s, g=e)
        h //= s
        yield shape(net, n, e, o, 1, h)
        c = o


def convnext(net, n, size, dims):
    yield shape(net, n, 3, dims[0], 4, size, 4, 0)
    h = size // 4
    for i, c in enumerate(dims):
        yield shape(net, n, c, c, 7, h, g=c)
        if i + 1 < len(dims):
            yield shape(net, n, c, dims[i + 1], 2, h, 2, 0)
            h //= 2


def plain(net, n, c, h, outs):
    """VGG, DHC-SSM: 3 x 3, halved where a 0 stands."""
    for o in outs:
        if o:
            yield shape(net, n, c, o, 3, h)
            c = o
        else:
            h //= 2


def unet(net, n, c, h, width, depth):
    for i in range(depth):
        o = width << i
        yield shape(net, n, c, o, 3, h)
        yield shape(net, n, o, o, 3, h)
        if i + 1 < depth:
            yield shape(net, n, o, 2 * o, 2, h, 2, 0)
            yield shape(net, n, 3 * o, o, 3, h)
            h //= 2
            c = 2 * o


def all_shapes():
    for n, size in ((1, 224), (4, 64), (16, 32)):
        yield from residual("resnet18", n, size, True)
        yield from residual("resnet50", n, size, False)
    for n, size in ((1, 224), (8, 64)):
        yield from inverted("mobilenetv2", n, size, [(1, 16, 3, 1), (6, 24, 3, 2), (6, 24, 3, 1), (6, 32, 3, 2), (6, 64, 3, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 3, 1)])
        yield from inverted("efficientnet", n, size, [(1, 16, 3, 1), (6, 24, 3, 2), (6, 40, 5, 2), (6, 80, 3, 2), (6, 112, 5, 1), (6, 192, 5, 2)])
        yield from convnext("convnext-t", n, size, (96, 192, 384, 768))
    for n, size in ((1, 224), (2, 64)):
        yield from plain("vgg", n, 3, size, (64, 64, 0, 128, 128, 0, 256, 256, 0, 512, 512, 0, 512))
    for n in (1, 16, 64):
        yield from plain("dhc-ssm", n, 3, 32, (64, 0, 128, 0, 256))
        yield from plain("dhc-ssm-small", n, 1, 28, (16, 0, 32, 0, 64))
    for k, s, d in ((16, 224, 192), (16, 224, 768), (14, 224, 384), (32, 224, 768), (8, 64, 192), (4, 32, 192), (2, 32, 96)):
        yield shape("vit", 1, 3, d, k, s, k, 0)
        yield shape("vit", 8, 3, d, k, min(s, 64) // k * k, k, 0)
    for n in (1, 8):
        yield from unet("unet", n, 1, 64, 32, 4)
    for n in (1, 32):  # what reads screens
        yield from (shape("dqn", n, 4, 32, 8, 84, 4, 0), shape("dqn", n, 32, 64, 4, 20, 2, 0), shape("dqn", n, 64, 64, 3, 9, 1, 0))
        yield from (shape("impala", n, 3, 16, 3, 72, w=96), shape("impala", n, 16, 32, 3, 36, w=48), shape("impala", n, 32, 32, 3, 18, w=24))
    for n in (1, 8):
        yield from (shape("dcgan", n, 3, 64, 4, 64, 2, 1), shape("dcgan", n, 64, 128, 4, 32, 2, 1), shape("dcgan", n, 128, 256, 4, 16, 2, 1), shape("dcgan", n, 256, 512, 4, 8, 2, 1))
        yield from (shape("inception", n, 128, 128, (1, 7), 17), shape("inception", n, 128, 192, (7, 1), 17), shape("inception", n, 64, 96, 5, 35), shape("inception", n, 192, 64, 1, 28))
        yield from (shape("alexnet", n, 3, 64, 11, 224, 4, 2), shape("alexnet", n, 64, 192, 5, 27), shape("srcnn", n, 1, 64, 9, 32), shape("srcnn", n, 64, 32, 5, 32), shape("srcnn", n, 32, 1, 9, 32))
        yield from (shape("resnext", n, 128, 128, 3, 56 if n == 1 else 16, g=32), shape("resnext", n, 256, 256, 3, 28 if n == 1 else 8, 2, g=32), shape("shufflenet", n, 58, 58, 3, 28, g=58))
        yield from (shape("deeplab", n, 64, 64, 3, 33, d=r) for r in (2, 6, 12))
    for n, width, length in ((1, 64, 4096), (4, 128, 512), (8, 256, 128)):  # one dimension
        yield from (shape("wavenet", n, width, width, (1, 2), 1, p=(0, 0), d=1, w=length), shape("wavenet", n, width, width, (1, 3), 1, d=1, w=length))
        yield from (shape("wav2vec", n, width, width, (1, 3), 1, 2, (0, 0), w=length), shape("wav2vec", n, 1, width, (1, 10), 1, 5, (0, 0), w=length))
        yield from (shape("whisper", n, 80, width, (1, 3), 1, p=(0, 1), w=length), shape("mamba", n, width, width, (1, 4), 1, p=(0, 3), g=width, w=length))
        yield shape("quartznet", n, width, width, (1, 33), 1, p=(0, 16), g=width, w=length)
    yield from (shape("replknet", 1, 64, 64, k, 32, g=64) for k in (9, 13, 31))


def unique():
    seen, out = set(), []
    for s in all_shapes():
        key = tuple(s.values())[1:]
        if key not in seen and (s["h"] + 2 * s["ph"] - s["d"] * (s["kh"] - 1)) >= 1 and (s["w"] + 2 * s["pw"] - s["d"] * (s["kw"] - 1)) >= 1:
            seen.add(key)
            out.append(s)
    return out


def text(s):
    return "%-13s %2d x %4d > %4d  %2dx%-2d /%d p%d,%d d%d g%-4d %dx%d" % (
        s["net"], s["n"], s["c"], s["o"], s["kh"], s["kw"], s["s"], s["ph"], s["pw"], s["d"], s["g"], s["h"], s["w"])


def save(path, tensors):
    head, at, blobs = {}, 0, []
    for name, a in tensors.items():
        data = a.tobytes()
        head[name] = {"dtype": "F32", "shape": list(a.shape), "data_offsets": [at, at + len(data)]}
        at += len(data)
        blobs.append(data)
    h = json.dumps(head).encode()
    h += b" " * (-len(h) % 8)
    pathlib.Path(path).write_bytes(struct.pack("<Q", len(h)) + h + b"".join(blobs))


def load(path):
    raw = pathlib.Path(path).read_bytes()
    n = struct.unpack("<Q", raw[:8])[0]
    head = json.loads(raw[8:8 + n])
    return {k: np.frombuffer(raw[8 + n + v["data_offsets"][0]:8 + n + v["data_offsets"][1]], np.float32).reshape(v["shape"])
            for k, v in head.items() if k != "__metadata__"}


def child(command):
    a = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, capture_output=True, text=True)
    b = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        sys.exit("%s\n%s" % (" ".join(command), done.stderr))
    return (b.ru_utime - a.ru_utime + b.ru_stime - a.ru_stime) * 1e3


def least(call, repeat):
    best = math.inf
    for _ in range(repeat):
        t = time.thread_time()
        call()
        best = min(best, time.thread_time() - t)
    return best * 1e3


def ratio_of(a, b):
    return float(np.abs(a - b).max() / max(float(np.abs(b).max()), 1e-30))


def measure(s, dhcc, folder):
    import torch
    torch.set_num_threads(1)
    r = np.random.RandomState(0)
    f = [(s["h"] + 2 * s["ph"] - s["d"] * (s["kh"] - 1) - 1) // s["s"] + 1, (s["w"] + 2 * s["pw"] - s["d"] * (s["kw"] - 1) - 1) // s["s"] + 1]
    x, w = r.randn(s["n"], s["c"], s["h"], s["w"]), r.randn(s["o"], s["c"] // s["g"], s["kh"], s["kw"]) * 0.1
    x, w, dy = (a.astype(np.float32) for a in (x, w, r.randn(s["n"], s["o"], *f)))
    save(folder / "in.st", {"x": x, "cotangent.y": dy})
    save(folder / "w.st", {"w": w})
    tx, tw, tdy = (torch.from_numpy(a) for a in (x, w, dy))
    tx.requires_grad_()
    tw.requires_grad_()
    flops = 2 * s["n"] * s["o"] * f[0] * f[1] * s["c"] // s["g"] * s["kh"] * s["kw"]
    repeat = max(3, min(2000, int(15e8 / flops)))

    def forward():
        return torch.nn.functional.conv2d(tx, tw, None, s["s"], (s["ph"], s["pw"]), s["d"], s["g"])

    def infer():
        with torch.no_grad():
            forward()

    def train():
        return torch.autograd.grad(forward(), [tx, tw], tdy)

    command = [dhcc, "run", str(folder / "m.dhc"), "--entry", "forward", "--inputs", str(folder / "in.st"), "--weights", str(folder / "w.st"),
               "-o", str(folder / "out.st"), "--threads", "1", "--quiet"]
    for key in ("c", "o", "kh", "kw", "s", "ph", "pw", "d", "g"):
        command += ["--set", "%s=%d" % (key, s[key])]
    row, worst = dict(s, gflop=flops * 1e-9), 0.0
    for name, call, more in (("forward", infer, []), ("gradients", train, ["--grad"])):
        once, many = command + more + ["--repeat", "1"], command + more + ["--repeat", str(1 + repeat)]
        child(once)  # compiles
        got = load(folder / "out.st")
        if more:
            want = dict(zip(("grad.x", "grad.w"), train()))
            worst = max([worst] + [ratio_of(got[k], want[k].numpy()) for k in want])
        else:
            worst = ratio_of(got["y"], forward().detach().numpy())
        call()
        ours = theirs = math.inf
        for _ in range(2):
            theirs = min(theirs, least(call, repeat))
            first = child(once)
            ours = min(ours, max((child(many) - first) / repeat, 1e-3))
        row.update({name + "_ms": ours, name + "_torch_ms": theirs, name + "_ratio": theirs / ours})
    return row, worst


def main():
    p = argparse.ArgumentParser()
    p.add_argument("dhcc")
    p.add_argument("--list", action="store_true")
    p.add_argument("--every", type=int, default=1)
    p.add_argument("--name", default="")
    p.add_argument("--out")
    o = p.parse_args()
    shapes = [s for s in unique() if o.name in text(s)][::o.every]
    if o.list:
        print("\n".join(text(s) for s in shapes))
        print(len(shapes), "shapes")
        return 0
    rows, wrong = [], 0
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        (folder / "m.dhc").write_text(MODEL)
        for s in shapes:
            row, worst = measure(s, o.dhcc, folder)
            rows.append(row)
            wrong += not worst <= 1e-4
            print("%s  forward %8.3f ms %5.2fx %6.1f GF/s  gradients %8.3f ms %5.2fx%s" % (
                text(s), row["forward_ms"], row["forward_ratio"], row["gflop"] / row["forward_ms"] * 1e3, row["gradients_ms"], row["gradients_ratio"],
                "" if worst <= 1e-4 else "  DIFFERS by %.1e" % worst), flush=True)
    if o.out:
        with open(o.out, "w", newline="") as f:
            out = csv.DictWriter(f, list(rows[0]))
            out.writeheader()
            out.writerows(rows)
    for name in ("forward", "gradients"):
        ratios = sorted(r[name + "_ratio"] for r in rows)
        mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
        print("%s: geometric mean %.2f of %d, median %.2f, least %.2f, below 1: %d, below 0.5: %d" % (
            name, mean, len(ratios), ratios[len(ratios) // 2], ratios[0], sum(r < 1 for r in ratios), sum(r < 0.5 for r in ratios)))
        for r in sorted(rows, key=lambda r: r[name + "_ratio"])[:12]:
            print("  %5.2fx %s" % (r[name + "_ratio"], text(r)))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
