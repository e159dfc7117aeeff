#!/usr/bin/env python3
"""Objects for GPUs on a GPU, against objects for the CPU of the same models: entries, variants, streams, steps of training, self tests; from
cubins and from PTX. Exit 77: there is no GPU.

    gpu_device.py DHCC                # all of it where a GPU is
    gpu_device.py build DHCC FOLDER   # or in two parts: the libraries, wherever NVRTC and a C compiler are,
    gpu_device.py run FOLDER          # and what they compute"""
import array
import ctypes
import json
import math
import pathlib
import random
import re
import struct
import subprocess
import sys
import tempfile
import traceback

CASES = {  # name: (model, sizes, [options of both])
    "mlp": (["mlp", "--set", "hidden=9", "--set", "width=4", "--set", "height=4"], [6], ["--entry", "train_step", "--entry", "forward", "--seed", "3"]),
    "ptx": (["mlp", "--set", "hidden=9", "--set", "width=4", "--set", "height=4"], [5], ["--entry", "train_step", "--entry", "forward", "--seed", "3"]),
    "ssm": (["dhc_ssm", "--set", "hidden_dim=8"], [3, 16, 16], ["--entry", "train_step", "--entry", "forward", "--seed", "3"]),
    "jamba": (["dhc_jamba", "--set", "hidden_dim=8", "--set", "num_layers=2", "--set", "mamba_ratio=1", "--set", "num_heads=2", "--set",
               "num_experts=3", "--set", "tokens=grid"], [2, 32, 32], ["--entry", "train_step", "--entry", "forward", "--seed", "3"]),
    "seq": (["seq", "--set", "vocabulary=7", "--set", "d_model=8", "--set", "num_layers=2", "--set", "mamba_ratio=1", "--set", "num_heads=2", "--set",
             "num_experts=3", "--set", "d_state=4"], [2, 9], ["--entry", "train_step", "--entry", "stream", "--entry", "step", "--seed", "3"]),
    "variants": (["dhc_jamba", "--set", "hidden_dim=8", "--set", "num_layers=2", "--set", "num_heads=2", "--set", "num_experts=3"], [2, 32, 32],
                 ["--variant", "a:mamba_ratio=1", "--variant", "b:mamba_ratio=0"]),
    "selftest": (["dhc_ssm", "--set", "hidden_dim=8"], [], ["--bind", "B=2,H=16,W=16", "--selftest", "2"]),
}
GPU_ONLY = {"ptx": ["--gpu-arch", "sm_80"]}
WEIGHTED = ["selftest"]
WITHIN = 2e-6  # of the largest: recurrences' derivatives add in another order, all else has the CPU's bits
fails = 0


def check(good, what):
    global fails
    if not good:
        fails += 1
        print(f"FAILED: {what}")


# ---- building ----------------------------------------------------------------------------------------


def must(*command):
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"FAILED: {' '.join(map(str, command))}: {done.stdout}{done.stderr}")
    return done.stdout


def build(dhcc, at):
    sys.path.insert(0, str(pathlib.Path(__file__).parent))
    import made_weights
    at.mkdir(exist_ok=True)
    for name, (model, _, options) in CASES.items():
        out = at / name
        options = ["build", *model, *options, "--name", "m", "--quiet"]
        if name in WEIGHTED:
            made_weights.write(at / "w.safetensors", must(dhcc, "print", *model, "--stage=graph"))
            options += ["--weights", at / "w.safetensors"]
        for kind, more in (("cpu", ["--target", "x86-64-v3"]), ("gpu", ["--backend", "cuda", *GPU_ONLY.get(name, ["--gpu-arch", "sm_90a"])])):
            file = ["--weights-file", f"{out}.{kind}.bin"] if name in WEIGHTED else []
            must(dhcc, *options, *more, *file, "-o", f"{out}.{kind}.{'so' if kind == 'cpu' else 'c'}", "--header", f"{out}.{kind}.h")
        must("cc", "-std=c11", "-O1", "-shared", "-fPIC", "-o", f"{out}.gpu.so", f"{out}.gpu.c")


# ---- memory and libraries -----------------------------------------------------------------------------


class Cpu:
    """Host memory at multiples of 64, as the objects for CPUs want it."""

    def __init__(self):
        self.held = []
        self.end = None

    def memory(self, data):
        raw = ctypes.create_string_buffer(len(data) + 64)
        at = -ctypes.addressof(raw) % 64
        self.held.append(raw)
        where = ctypes.addressof(raw) + at
        ctypes.memmove(where, bytes(data), len(data))
        return where

    def read(self, where, n):
        return ctypes.string_at(where, n)

    def write(self, where, data):
        ctypes.memmove(where, bytes(data), len(data))


class Gpu(Cpu):
    def __init__(self):
        super().__init__()
        self.cu = ctypes.CDLL("libcuda.so.1", ctypes.RTLD_GLOBAL)
        device, context = ctypes.c_int(), ctypes.c_void_p()
        self.ok("cuInit", 0)
        self.ok("cuDeviceGet", ctypes.byref(device), 0)
        self.ok("cuDevicePrimaryCtxRetain", ctypes.byref(context), device)
        self.ok("cuCtxSetCurrent", context)

    def ok(self, name, *arguments):
        code = getattr(self.cu, name)(*arguments)
        if code:
            raise OSError(f"{name}: {code}")

    def memory(self, data):
        at = ctypes.c_uint64()
        self.ok("cuMemAlloc_v2", ctypes.byref(at), ctypes.c_size_t(max(len(data), 1)))
        self.write(at.value, data)
        return at.value

    def read(self, where, n):
        out = ctypes.create_string_buffer(max(n, 1))
        self.ok("cuCtxSynchronize")
        self.ok("cuMemcpyDtoH_v2", out, ctypes.c_uint64(where), ctypes.c_size_t(n))
        return out.raw[:n]

    def write(self, where, data):
        self.ok("cuMemcpyHtoD_v2", ctypes.c_uint64(where), bytes(data), ctypes.c_size_t(len(data)))


class Object:
    """One library; arguments of entries in order, addresses and sizes alike as 64 bits."""

    def __init__(self, path, about, machine):
        self.lib = ctypes.CDLL(str(path))
        self.about = about
        self.machine = machine
        if isinstance(machine, Gpu):
            self.gpu = ctypes.create_string_buffer(1 << 16)
            machine.end = ctypes.addressof(self.gpu)
            check(self.call("m_cuda_open", machine.end, 0) == 0, f"{path}: opens")

    def call(self, name, *arguments):
        f = getattr(self.lib, name)
        f.restype = ctypes.c_int64 if name.endswith("_bytes") else ctypes.c_int
        return f(*[ctypes.c_int64(a or 0) for a in arguments])


SIZE = {"f32": 4, "i64": 8, "bool": 1, "i32": 4}


def shape_of(text, names, sizes):
    """f32[B, 1, H // 2] at these sizes: dtype, elements."""
    dtype, dims = re.fullmatch(r"(\w+)\[(.*)\]", text).groups()
    n = 1
    for d in filter(None, dims.split(", ")):
        n *= int(eval(d.replace("/", "//"), {}, dict(zip(names, sizes))))
    return dtype, n


def made(dtype, n, seed, scale=1.0):
    draw = random.Random(seed)
    if dtype == "i64":
        return array.array("q", [draw.randrange(3) for _ in range(n)]).tobytes()
    return array.array("f", [scale * draw.gauss(0, 1) for _ in range(n)]).tobytes()


def close(got, want, dtype, what):
    if dtype != "f32" or not want:
        check(got == want, what)
        return "exact"
    a, b = (array.array("f", x) for x in (got, want))
    off = max(abs(x - y) for x, y in zip(a, b)) / max(1e-30, *map(abs, b))
    check(off <= WITHIN and all(map(math.isfinite, [*a, *b])), f"{what}: {off:.2e}")
    return "exact" if got == want else f"{off:.1e}"


# ---- calls ------------------------------------------------------------------------------------------------


def entry_call(o, e, sizes, first, last, seed, variant=None):
    """One call; bytes of the outputs."""
    names = [s["name"] for s in e["sizes"]]
    sizes = sizes[:len(names)]
    function, v = e["function"], [] if variant is None else [variant]
    ins = [shape_of(t["type"], names, sizes) for t in e["inputs"]]
    outs = [shape_of(t["type"], names, sizes) for t in e["outputs"]]
    m = o.machine
    at_in = [m.memory(made(d, n, seed + i)) for i, (d, n) in enumerate(ins)]
    at_out = [m.memory(b"\xff" * (n * SIZE[d])) for d, n in outs]
    bytes_ = o.call(f"{function}_workspace_bytes", *v, *sizes, 1)
    work = m.memory(b"\xff" * bytes_)
    status = o.call(function, *v, *first, *at_in, *at_out, *last, *sizes, work, bytes_, m.end)
    check(status == 0, f"{function}: status {status}")
    return [(t["name"], d, m.read(a, n * SIZE[d])) for t, (d, n), a in zip(e["outputs"], outs, at_out)]


def compare(name, what, got, want):
    print(f"{name:9} {what:22}", ", ".join(f"{n} {close(g, w, d, f'{name} {what} {n}')}" for (n, d, g), (_, _, w) in zip(got, want)))


def weights_of(o):
    """Made values in every tensor, by the object's own functions, in its memory."""
    n = o.about["weights_bytes"]
    host_memory = Cpu()
    host = host_memory.memory(b"\0" * n)
    keep = o.call("m_weights_begin", host, n)
    check(keep == 0, "weights begin")
    for i, w in enumerate(o.about["weights"]):
        count = 1
        for d in w["shape"]:
            count *= d
        data = made(w["dtype"], count, 500 + i, 0.2)
        check(o.call("m_weights_set", host, i, Cpu.memory(o.machine, data), len(data)) == 0, f"set {w['name']}")
    return o.machine.memory(ctypes.string_at(host, n))


def train(name, objects, e, sizes):
    states, results = [], []
    for o in objects:
        n = o.call(f"{e['function']}_state_bytes", *sizes) if hasattr(o.lib, f"{e['function']}_state_bytes") else o.state_bytes
        state = o.machine.memory(b"\xff" * n)
        check(o.call(f"{e['training']}_init", state, n) == 0, f"{name}: init")
        scalars = bytearray(512)
        now = {s["name"]: s for s in e["scalars"]}

        def put(key, value):
            if key in now:
                struct.pack_into("<q" if now[key]["dtype"] == "i64" else "<f", scalars, now[key]["at"], value)

        for key, s in now.items():
            put(key, int(s["value"]) if s["dtype"] == "i64" else s["value"])
        rows = []
        for step in range(4):
            for key, value in (("lr", 0.01 / (step + 1)), ("step", step), ("opt_step", step + 1), ("seed", 5)):
                put(key, value)
            at = Cpu.memory(o.machine, bytes(scalars))
            rows.append(entry_call(o, e, sizes, [state], [at], 100 * step))
        tensors = []
        for i, t in enumerate(e["state_tensors"]):
            count = 1
            for d in t["shape"]:
                count *= d
            room = Cpu.memory(o.machine, b"\0" * (count * SIZE[t["dtype"]]))
            check(o.call(f"{e['training']}_get", state, i, room, count * SIZE[t["dtype"]]) == 0, f"{name}: get {t['name']}")
            tensors.append((t["name"], t["dtype"], ctypes.string_at(room, count * SIZE[t["dtype"]])))
        states.append(tensors)
        results.append(rows)
    for step in range(4):
        compare(name, f"step {step}", results[1][step], results[0][step])
    exact = sum(g == w for (_, _, g), (_, _, w) in zip(states[1], states[0]))
    for (t, d, g), (_, _, w) in zip(states[1], states[0]):
        close(g, w, d, f"{name} state {t}")
    print(f"{name:9} state after 4 steps: {exact} of {len(states[0])} tensors exact")


def self_test(name, o, at, kind):
    data = (at / f"{name}.{kind}.bin").read_bytes()
    n = int(re.search(r"SELFTEST_WORKSPACE_BYTES (\d+)", (at / f"{name}.{kind}.h").read_text())[1])
    m = o.machine
    status = o.call("m_selftest", m.memory(data), m.memory(b"\xff" * n), n, m.end)
    of_zeros = o.call("m_selftest", m.memory(bytes(len(data))), m.memory(bytes(n)), n, m.end)
    print(f"{name:9} {kind} status {status}, of other weights {of_zeros}")
    check(status == 0 and of_zeros == 8, f"{name}: {kind}: {status}, {of_zeros}")


def run_case(name, at, gpu):
    sizes, options = CASES[name][1:]
    kinds = [("cpu", Cpu()), ("gpu", gpu)]
    objects = []
    for kind, machine in kinds:
        lib = ctypes.CDLL(str(at / f"{name}.{kind}.so"))
        lib.m_describe.restype = ctypes.c_char_p
        objects.append(Object(at / f"{name}.{kind}.so", json.loads(lib.m_describe()), machine))
        objects[-1].state_bytes = int((re.search(r"STATE_BYTES (\d+)", (at / f"{name}.{kind}.h").read_text()) or [0, 0])[1])
    if "--selftest" in options:
        for (kind, _), o in zip(kinds, objects):
            self_test(name, o, at, kind)
        return
    weights, states = None, [None, None]
    entries = objects[0].about["entries"]
    for e in sorted(entries, key=lambda e: e["name"] != "reset"):  # which begins what others go on from
        if e.get("training"):
            train(name, objects, e, sizes)
            continue
        weights = weights or [weights_of(o) for o in objects]
        for round_ in range(2 if e["state"] and e["name"] != "reset" else 1):
            rows = []
            for k, o in enumerate(objects):
                if e["state"] and not states[k]:
                    states[k] = o.machine.memory(b"\xff" * o.call(f"{e['function']}_state_bytes", *sizes[:len(e["sizes"])]))
                first = ([weights[k]] if e["weights"] else []) + ([states[k]] if e["state"] else [])
                rows.append(entry_call(o, e, sizes, first, [], 70 + round_))
                if "variant" in e:
                    number = o.call("m_variant", Cpu.memory(o.machine, e["variant"].encode() + b"\0"))
                    again = entry_call(o, {**e, "function": f"m_{e['name']}"}, sizes, first, [], 70 + round_, number)
                    check(again == rows[-1], f"{name}: {e['variant']} by its number")
            compare(name, f"{e['name']} {e.get('variant', '')} {round_}", rows[1], rows[0])


def run_all(at, gpu):
    for name in CASES:
        try:
            run_case(name, at, gpu)
        except Exception as e:  # the other cases still say what they have to
            traceback.print_exc()
            check(False, f"{name}: {e!r}")
    print("ok" if not fails else f"{fails} failures")
    return fails != 0


def main():
    if sys.argv[1] == "build":
        build(pathlib.Path(sys.argv[2]).resolve(), pathlib.Path(sys.argv[3]))
        return 0
    try:
        gpu = Gpu()
    except OSError as e:
        print(f"skipped: no GPU ({e})")
        return 77
    if sys.argv[1] == "run":
        return run_all(pathlib.Path(sys.argv[2]), gpu)
    with tempfile.TemporaryDirectory() as folder:
        build(pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(folder))
        return run_all(pathlib.Path(folder), gpu)


sys.exit(main())
