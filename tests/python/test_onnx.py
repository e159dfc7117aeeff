#!/usr/bin/env python3
"""Shipped models as ONNX files, run by ONNX Runtime: the same results, for streaming forms step by step.

    test_onnx.py FOLDER     (of files that it makes)"""
import pathlib
import subprocess
import sys

import numpy as np

try:
    import onnx
    import onnxruntime
except ImportError:
    print("no onnx or no onnxruntime here (scripts/install-deps tests installs them)")
    sys.exit(77)

import dhcc
import dhcc.onnx


def open_file(path):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    s = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return [i.name for i in s.get_inputs()], [o.name for o in s.get_outputs()], lambda feeds: s.run(None, feeds)


fails = 0


def check(ok, what):
    global fails
    if not ok:
        fails += 1
        print("FAILED:", what)


def refused(text, f):
    try:
        f()
    except dhcc.Error as e:
        check(text in str(e), f"{text!r} is not in {e!s}")
    else:
        check(False, f"{text!r} was not raised")


out = pathlib.Path(sys.argv[1])
out.mkdir(parents=True, exist_ok=True)
rng = np.random.default_rng(3)
STACK = dict(d_model=8, num_heads=2, num_layers=2, mamba_ratio=1, d_state=4, ffn_inner=12, vocabulary=11)
POLICY = dict(obs=5, hidden_dim=8, num_heads=2, d_state=4, ffn_inner=12, mamba_ratio=1)
SSM = dict(obs=5, hidden_dim=8, state_dim=6)
CASES = [("mlp", "forward", dict(hidden=33, depth=2)), ("mlp", "loss", dict(hidden=33, depth=2)), ("mlp", "normalize", dict(hidden=33, depth=2)),
         ("lstm", "forward", dict(hidden=12)), ("dhc_ssm", "forward", dict(hidden_dim=16)),
         ("dhc_jamba", "forward", dict(hidden_dim=8, num_layers=2, mamba_ratio=1, num_heads=2, d_state=4, ffn_inner=12)),
         ("seq", "forward", STACK), ("seq", "forward.step", STACK), ("seq", "forward.stream", STACK), ("rl_policy", "sequence", POLICY),
         ("rl_policy", "step", POLICY), ("rl_value", "sequence", POLICY), ("rl_value", "forward", POLICY), ("rl_actor_critic", "sequence", POLICY),
         ("rl_ssm_policy", "sequence", SSM), ("rl_ssm_policy", "step", SSM)]
SIZES = {"B": 2, "L": 5, "H": 32, "W": 32, "R": 3, "T": 4}


def draw(t, sizes):
    shape = [eval(str(d), {}, sizes) for d in t.shape]
    if t.dtype == "f32":
        return rng.standard_normal(shape).astype(np.float32)
    if t.dtype == "bool":
        return rng.random(shape) > 0.7
    return rng.integers(0, 10, shape).astype({"i64": np.int64, "i32": np.int32, "u8": np.uint8}[t.dtype])


def near(got, want, what):
    want = np.asarray(want)
    size = np.abs(want.astype(np.float64)).max() if want.size else 0
    check(got.shape == want.shape and got.dtype == want.dtype, f"{what}: {got.dtype}{got.shape} for {want.dtype}{want.shape}")
    check(not want.size or np.abs(got.astype(np.float64) - want).max() <= 2e-6 * max(size, 1), f"{what}: {np.abs(got.astype(np.float64) - want).max()} of {size}")


for name, entry, settings in CASES:
    what, path = f"{name} {entry}", out / f"{name}.{entry}.onnx"
    model = dhcc.load(name, set=settings, seed=3)
    made = dhcc.onnx.export(model, path, entry)
    takes, gives, run = open_file(path)
    streams = [n for n in takes if n.startswith("state.")]
    check(bool(streams) == (entry.split(".")[-1] in ("step", "stream")), f"{what}: states")
    sizes = dict(SIZES, **({"L": 1} if entry.endswith("step") else {}))
    dims = {i.name: [d.dim_param or d.dim_value for d in i.type.tensor_type.shape.dim] for i in made.graph.input}
    state = {n: np.zeros([eval(str(d), {}, sizes) for d in dims[n]], np.int64 if n.endswith(".at") else np.float32) for n in streams}
    for turn in range(3 if streams else 2):
        if not streams and turn:  # another batch size
            sizes["B"] = 3
        e = model[entry]
        given = {t.name: draw(t, sizes) for t in e.inputs if not t.optional}
        want = e(**given)
        want = want if isinstance(want, dict) else {e.results[0].name: want}
        got = dict(zip(gives, run({n: v for n, v in {**given, **state}.items() if n in takes})))
        for n in want:
            near(got[n], want[n], f"{what}, {n}")
        state = {n: got.get(n + ".next", state[n]) for n in streams}

# a run by the command, with weights and optional inputs left out; what has no operator
small = dict(hidden=33, depth=2)
m = dhcc.load("mlp", set=small, seed=9)
m.save(out / "w.safetensors")
command = [sys.executable, "-m", "dhcc.onnx", "export", "mlp", "--set", "hidden=33", "--set", "depth=2", "--weights", str(out / "w.safetensors"), "-o",
           str(out / "m.onnx")]
check(subprocess.run(command).returncode == 0, "the command")
x = rng.standard_normal((2, 1, 28, 28)).astype(np.float32)
near(open_file(out / "m.onnx")[2]({"image": x})[0], m.forward(x), "the command's file")
r = subprocess.run([sys.executable, "-m", "dhcc.onnx", "export", "mlp", "--set", "hidden", "-o", "x"], capture_output=True, text=True)
check(r.returncode == 2 and "dhcc.onnx: --set: needs KEY=VALUE" in r.stderr, r.stderr)
bad = out / "bad.dhc"
bad.write_text("model M() {\n  forward<B>(x: [2*B, 4]) -> (y: [2*B, 4]) { return x + float(B) }\n}\n")
refused("symbol 'B' is no extent of an input by itself", lambda: dhcc.onnx.export(dhcc.load(bad), out / "x.onnx"))
noise = out / "noise.dhc"
noise.write_text("import std/nn\nmodel M() {\n  augment<B>(x: [B, 4]) -> (y: [B, 4]) { return dropout(x, 0.5) }\n}\n")
refused("entry 'augment' reads '$seed', which training sets", lambda: dhcc.onnx.export(dhcc.load(noise), out / "x.onnx", "augment"))


class Text:
    """A model by the text of its graph."""

    def __init__(self, nodes):
        self.text = f'module "M"\n\nfunc @forward(%0: f32[4] input "x", %1: i32[4] input "i") -> (%2 "y") entry {{\n  {nodes}\n}}\n'

    def print(self, entry, stage):
        return self.text


refused("'scatter_add' has no operator in ONNX (forward)", lambda: dhcc.onnx.export(Text("%2 = scatter_add(%0, %1, %0) {axis = 0} : f32[4]"), out / "x.onnx"))
refused("('pad' with a step) have no operator", lambda: dhcc.onnx.export(Text("%2 = pad(%0) {low = [0], high = [0], step = [2]} : f32[7]"), out / "x.onnx"))
refused("IR text, line 2: ", lambda: dhcc.onnx.gir.parse('module "M"\nwhat\n'))
print(f"{fails} failures, onnx {onnx.__version__}, onnxruntime {onnxruntime.__version__}")
sys.exit(fails > 0)
