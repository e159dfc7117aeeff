"""Convolutions of real networks beside PyTorch's in one process: where is a cliff?

  python bench/sweep.py LIBDHC.so [--list] [--every N] [--from N] [--name TEXT] [--class TEXT] [--threads N] [--rounds N] [--seconds S] [--out FILE.csv]

LIBDHC.so is the library (build/release/api/libdhc.so); the Python needs numpy and torch (bench/peers/README.md). Shapes are generated from
descriptions of networks below. Of each shape forward, and forward with both gradients, through a prepared call: the two take turns in several rounds, and the
least time of a call of each counts, of one thread processor time. Results are compared before times are. A line a shape, then a table of classes and the worst ratios; exit status 1 if results
differ."""
import argparse
import ctypes
import pathlib
import sys
import tempfile

import beside
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


def class_of(s):
    """What decides which kernels a shape meets."""
    f = (s["h"] + 2 * s["ph"] - s["d"] * (s["kh"] - 1) - 1) // s["s"] + 1, (s["w"] + 2 * s["pw"] - s["d"] * (s["kw"] - 1) - 1) // s["s"] + 1
    taps = s["kh"] * s["kw"]
    if s["g"] == s["c"] and s["g"] > 1:
        return "depthwise, strided" if s["s"] > 1 else "depthwise, long kernels" if taps > 25 else "depthwise"
    if s["g"] > 1:
        return "grouped"
    if s["s"] > 1 and s["s"] == s["kh"] == s["kw"]:
        return "windows side by side"
    if f[0] * f[1] <= 64 and taps > 1:
        return "up to 64 places"
    if taps == 1:
        return "1x1"
    if s["c"] <= 4:
        return "up to 4 channels"
    if s["kh"] == 1 and s["h"] == 1:
        return "one dimension"
    return "3x3" if taps == 9 and s["s"] == 1 and s["d"] == 1 else "strided" if s["s"] > 1 else "others"


# ---- dhcc through its C API (include/dhc/dhc.h) ----

class Status(ctypes.Structure):
    _fields_ = [("code", ctypes.c_int), ("message", ctypes.c_char * 500)]


class Tensor(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char_p), ("dtype", ctypes.c_int), ("rank", ctypes.c_int), ("dim", ctypes.c_int64 * 8), ("data", ctypes.c_void_p)]


class SessionOptions(ctypes.Structure):
    _fields_ = [("threads", ctypes.c_int), ("backend", ctypes.c_char_p), ("cpu_features", ctypes.c_char_p), ("print_only", ctypes.c_bool),
                ("gpu_arch", ctypes.c_char_p), ("compute", ctypes.c_char_p), ("cache_dir", ctypes.c_char_p), ("model_path", ctypes.c_char_p),
                ("max_memory", ctypes.c_int64), ("disable_passes", ctypes.c_char_p), ("check_bounds", ctypes.c_bool), ("pass_limit", ctypes.c_int),
                ("explain_compiles", ctypes.c_bool), ("strict", ctypes.c_bool), ("warn", ctypes.c_void_p), ("warn_ctx", ctypes.c_void_p),
                ("more", ctypes.c_char * 512)]  # zeros: what is not said


class ModelOptions(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char_p), ("root", ctypes.c_char_p), ("preset", ctypes.c_char_p), ("variant", ctypes.c_char_p),
                ("recipe", ctypes.c_char_p), ("sets", ctypes.POINTER(ctypes.c_char_p)), ("n_sets", ctypes.c_int), ("more", ctypes.c_char * 512)]


F32, RUN, GRAD = 1, 0, 1  # the second row of dtypes.def; dhc_mode


def tensor(name, a):
    return Tensor(name.encode(), F32, a.ndim, (ctypes.c_int64 * 8)(*a.shape), a.ctypes.data)


class Dhcc:
    def __init__(self, path, threads):
        self.lib = ctypes.CDLL(path)
        for f in ("session_open", "model_open", "program_open", "program_set", "call_open", "call_run"):
            getattr(self.lib, "dhc_" + f).restype = Status
        self.lib.dhc_call_results.restype = ctypes.POINTER(Tensor)
        for f in ("call_close", "program_close", "model_close"):
            getattr(self.lib, "dhc_" + f).argtypes = [ctypes.c_void_p]
        self.session = ctypes.c_void_p()
        self.done(self.lib.dhc_session_open(ctypes.byref(SessionOptions(threads=threads, backend=b"cpu")), ctypes.byref(self.session)))

    def done(self, status):
        if status.code:
            sys.exit("dhcc: " + status.message.decode())

    def model(self, path, settings):
        sets = [b"%s=%d" % (k.encode(), v) for k, v in settings.items()]
        m = ctypes.c_void_p()
        self.done(self.lib.dhc_model_open(self.session, ctypes.byref(ModelOptions(name=str(path).encode(), sets=(ctypes.c_char_p * len(sets))(*sets),
                                                                               n_sets=len(sets))), ctypes.byref(m)))
        return m

    def call(self, model, mode, weights, inputs):
        """(run, results, close)"""
        p, c, n = ctypes.c_void_p(), ctypes.c_void_p(), ctypes.c_int()
        self.done(self.lib.dhc_program_open(model, b"forward", mode, ctypes.byref(p)))
        for k, a in weights.items():
            self.done(self.lib.dhc_program_set(p, ctypes.byref(tensor(k, a))))
        given = (Tensor * len(inputs))(*(tensor(k, a) for k, a in inputs.items()))
        self.done(self.lib.dhc_call_open(p, 0, given, len(inputs), ctypes.byref(c)))
        at = (ctypes.c_void_p * len(inputs))(*(a.ctypes.data for a in inputs.values()))

        def run():
            status = self.lib.dhc_call_run(c, at, None)
            if status.code:
                self.done(status)

        def results():
            t = self.lib.dhc_call_results(c, ctypes.byref(n))
            return {t[i].name.decode(): np.ctypeslib.as_array(ctypes.cast(t[i].data, ctypes.POINTER(ctypes.c_float)),
                                                              tuple(t[i].dim[:t[i].rank])).copy() for i in range(n.value)}

        def close():
            self.lib.dhc_call_close(c)
            self.lib.dhc_program_close(p)

        return run, results, close


# ---- side by side ----

def measure(s, dhcc, path, o):
    import torch
    r = np.random.RandomState(0)
    f = [(s["h"] + 2 * s["ph"] - s["d"] * (s["kh"] - 1) - 1) // s["s"] + 1, (s["w"] + 2 * s["pw"] - s["d"] * (s["kw"] - 1) - 1) // s["s"] + 1]
    x, w = r.randn(s["n"], s["c"], s["h"], s["w"]), r.randn(s["o"], s["c"] // s["g"], s["kh"], s["kw"]) * 0.1
    x, w, dy = (a.astype(np.float32) for a in (x, w, r.randn(s["n"], s["o"], *f)))
    tx, tw, tdy = (torch.from_numpy(a) for a in (x, w, dy))
    tx.requires_grad_()
    tw.requires_grad_()
    flops = 2 * s["n"] * s["o"] * f[0] * f[1] * s["c"] // s["g"] * s["kh"] * s["kw"]

    def forward():
        return torch.nn.functional.conv2d(tx, tw, None, s["s"], (s["ph"], s["pw"]), s["d"], s["g"])

    def infer():
        with torch.no_grad():
            forward()

    def train():
        return torch.autograd.grad(forward(), [tx, tw], tdy)

    row, worst = dict(s, kind=class_of(s), gflop=flops * 1e-9), 0.0
    model = dhcc.model(path, {key: s[key] for key in ("c", "o", "kh", "kw", "s", "ph", "pw", "d", "g")})
    for name, theirs, mode, more in (("forward", infer, RUN, {}), ("gradients", train, GRAD, {"cotangent.y": dy})):
        run, results, close = dhcc.call(model, mode, {"w": w}, dict({"x": x}, **more))
        run()
        got = results()
        want = dict(zip(("grad.x", "grad.w"), train())) if more else {"y": forward().detach()}
        worst = max([worst] + [beside.apart(got[k], want[k].numpy()) for k in want])
        row.update(beside.times(name, *beside.turns(run, theirs, o)))
        close()
    dhcc.lib.dhc_model_close(model)
    return row, worst


def print_classes(rows):
    print("| class | shapes | forward: mean | below 1 | least | with gradients: mean | below 1 | least |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for kind in sorted({r["kind"] for r in rows}) + [""]:
        some = [r for r in rows if kind in ("", r["kind"])]
        cells = [kind or "all", "%d" % len(some)]
        for name in ("forward", "gradients"):
            ratios = [r[name + "_ratio"] for r in some]
            cells += ["%.2f" % beside.mean(ratios), "%d" % sum(q < 1 for q in ratios), "%.2f" % min(ratios)]
        print("| " + " | ".join(cells) + " |")


def main():
    p = beside.options(argparse.ArgumentParser())
    p.add_argument("library")
    p.add_argument("--class", default="", dest="kind")
    o = p.parse_args()
    shapes = [s for s in unique() if o.name in text(s) and o.kind in class_of(s)][o.first::o.every]
    if o.list:
        print("\n".join(text(s) + "  " + class_of(s) for s in shapes))
        print(len(shapes), "shapes")
        return 0
    if not shapes:
        sys.exit("no shape has this name or class")
    import torch
    torch.set_num_threads(o.threads)
    dhcc = Dhcc(o.library, o.threads)
    rows, wrong = [], 0
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "m.dhc"
        path.write_text(MODEL)
        for s in shapes:
            row, worst = measure(s, dhcc, path, o)
            rows.append(row)
            wrong += not worst <= 1e-4
            print("%s  forward %8.3f ms %5.2fx %6.1f GF/s  gradients %8.3f ms %5.2fx%s" % (
                text(s), row["forward_ms"], row["forward_ratio"], row["gflop"] / row["forward_ms"] * 1e3, row["gradients_ms"], row["gradients_ratio"],
                "" if worst <= 1e-4 else "  DIFFERS by %.1e" % worst), flush=True)
    if o.out:
        beside.write(o.out, rows)
    print_classes(rows)
    for name in ("forward", "gradients"):
        print(beside.in_all(name, [r[name + "_ratio"] for r in rows]))
        for r in sorted(rows, key=lambda r: r[name + "_ratio"])[:12]:
            print("  %5.2fx %s" % (r[name + "_ratio"], text(r)))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
