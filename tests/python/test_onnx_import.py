#!/usr/bin/env python3
"""ONNX files as models of the language: node by node and whole files, beside ONNX Runtime.

    test_onnx_import.py FOLDER     (of files that it makes)"""
import pathlib
import subprocess
import sys

import numpy as np

try:
    import onnx
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper
except ImportError:
    print("no onnx or no onnxruntime here (scripts/install-deps tests installs them)")
    sys.exit(77)

import dhcc
import dhcc.onnx


def run(path, feeds):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"]).run(None, feeds)


fails = 0
rng = np.random.default_rng(5)
out = pathlib.Path(sys.argv[1])
out.mkdir(parents=True, exist_ok=True)
f32 = lambda *s: rng.standard_normal(s).astype(np.float32)


def check(ok, what):
    global fails
    if not ok:
        fails += 1
        print("FAILED:", what)


def write(nodes, inputs, outputs, consts, path, opset=21, symbols=True):
    """inputs: name -> array; every extent of them that `symbols` names becomes one."""
    infos = [helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), [f"{n}{i}" if symbols and i == 0 else d for i, d in enumerate(a.shape)])
             for n, a in inputs.items()]
    graph = helper.make_graph(nodes, "tested", infos, [helper.make_tensor_value_info(o, TensorProto.FLOAT, ["n"]) if o == "free" else helper.make_empty_tensor_value_info(o) for o in outputs],
                              [numpy_helper.from_array(np.asarray(a), n) for n, a in consts.items()])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    onnx.save(onnx.shape_inference.infer_shapes(made), path)


def both(what, nodes, inputs, outputs, consts=None, opset=21, symbols=True, near=2e-6):
    path = out / "one.onnx"
    try:
        write(nodes, inputs, outputs, consts or {}, path, opset, symbols)
        want = run(path, inputs)
        text, weights = dhcc.onnx.import_file(path)
        (out / "one.dhc").write_text(text)
        dhcc.onnx.save_weights(out / "one.safetensors", weights)
        model = dhcc.load(out / "one.dhc", weights=out / "one.safetensors")
        got = model.forward(*inputs.values())
    except Exception as e:
        return check(False, f"{what}: {type(e).__name__}: {e}")
    got = list(got.values()) if isinstance(got, dict) else [got]
    for g, w in zip(got, want):
        check(g.shape == w.shape and g.dtype == w.dtype, f"{what}: {g.dtype}{g.shape}, not {w.dtype}{w.shape}")
        if g.shape == w.shape:
            off = np.abs(g.astype(np.float64) - w.astype(np.float64)).max() if w.size else 0
            check(off <= near * max(1, np.abs(w.astype(np.float64)).max() if w.size else 0), f"{what}: differs by {off}")
    check(len(got) == len(want), f"{what}: {len(got)} results")


def one(op, inputs, consts=None, opset=21, n=1, symbols=True, **attrs):
    names = [*inputs, *(consts or {})]
    both(f"{op} {attrs or ''}", [helper.make_node(op, names, [f"y{i}" for i in range(n)], name="it", **attrs)], inputs, [f"y{i}" for i in range(n)], consts,
         opset, symbols)


x, y = f32(2, 3, 4), f32(2, 3, 4)
ops = "Neg Abs Sign Exp Tanh Sigmoid Softplus Erf Reciprocal Sin Cos Asinh Floor Round Relu HardSwish Identity".split()
nodes = [helper.make_node(op, ["x"], [f"y{i}"]) for i, op in enumerate(ops)]
both("elementwise", nodes, {"x": x}, [f"y{i}" for i in range(len(ops))], near=5e-6)
both("positive", [helper.make_node("Log", ["x"], ["a"]), helper.make_node("Sqrt", ["x"], ["b"]), helper.make_node("Pow", ["x", "e"], ["c"])],
     {"x": np.abs(x) + 0.1}, ["a", "b", "c"], {"e": np.float32(1.5)}, near=5e-6)
ops = "Add Sub Mul Div Max Min Equal Less LessOrEqual Greater GreaterOrEqual".split()
both("two operands", [helper.make_node(op, ["x", "y"], [f"r{i}"]) for i, op in enumerate(ops)], {"x": x}, [f"r{i}" for i in range(len(ops))], {"y": f32(4)})
b = rng.random((2, 3)) > 0.5
both("logic", [helper.make_node(op, ["b", "c"], [op]) for op in ("And", "Or", "Xor")] + [helper.make_node("Not", ["b"], ["n"])], {"b": b},
     ["And", "Or", "Xor", "n"], {"c": rng.random((2, 3)) > 0.5}, symbols=False)
one("Where", {"b": b}, {"t": f32(2, 3), "f": np.float32(0.5)}, symbols=False)
one("Cast", {"x": x}, to=TensorProto.INT32)
one("LeakyRelu", {"x": x}, alpha=0.2)
one("Elu", {"x": x}, alpha=0.7)
one("Gelu", {"x": x})
one("Gelu", {"x": x}, approximate="tanh")
one("Clip", {"x": x}, {"low": np.float32(-0.3), "high": np.float32(0.4)})
one("Softmax", {"x": x}, axis=1)
one("LogSoftmax", {"x": x})
image = f32(2, 4, 9, 9)
one("BatchNormalization", {"x": image}, {"s": f32(4), "b": f32(4), "m": f32(4), "v": np.abs(f32(4))})
one("LayerNormalization", {"x": x}, {"s": f32(4), "b": f32(4)}, axis=-1)
one("RMSNormalization", {"x": x}, {"s": f32(4)}, opset=23)
one("MatMul", {"x": x}, {"w": f32(4, 5)})
one("Gemm", {"x": f32(2, 4)}, {"w": f32(5, 4), "c": f32(5)}, transB=1, alpha=0.5, beta=2.0)
one("Einsum", {"x": x}, {"w": f32(2, 4, 5)}, equation="bij,bjk->bik", symbols=False)
one("Conv", {"x": image}, {"w": f32(6, 2, 3, 3), "b": f32(6)}, group=2, strides=[2, 1], pads=[1, 0, 0, 2], dilations=[1, 2])
one("MaxPool", {"x": image}, kernel_shape=[3, 2], strides=[2, 2])
one("AveragePool", {"x": f32(2, 4, 6, 6)}, kernel_shape=[3, 2], strides=[3, 2])
one("GlobalAveragePool", {"x": image})
for op in ("ReduceSum", "ReduceMax", "ReduceMin", "ReduceMean"):
    one(op, {"x": x}, {"axes": np.array([0, -1])}, keepdims=0)
one("ReduceSumSquare", {"x": x}, {"axes": np.array([1])})
one("ArgMax", {"x": x}, axis=1)
one("TopK", {"x": x}, {"k": np.array([2])}, n=2)
one("TopK", {"x": x}, {"k": np.array([2])}, n=2, largest=0)
one("Reshape", {"x": x}, {"form": np.array([0, -1])})
one("Flatten", {"x": x}, axis=2)
one("Transpose", {"x": x}, perm=[2, 0, 1])
one("Squeeze", {"x": f32(2, 1, 3)}, {"axes": np.array([1])})
one("Unsqueeze", {"x": x}, {"axes": np.array([0, -1])})
one("Expand", {"x": f32(3, 1)}, {"form": np.array([2, 3, 4])}, symbols=False)
both("Concat", [helper.make_node("Concat", ["x", "y"], ["z"], axis=-1)], {"x": x}, ["z"], {"y": y}, symbols=False)
both("Split", [helper.make_node("Split", ["x", "s"], ["a", "b"], axis=2)], {"x": x}, ["a", "b"], {"s": np.array([1, 3])})
one("Slice", {"x": x}, {"b": np.array([1, -3]), "e": np.array([3, 1 << 40]), "a": np.array([1, 2]), "s": np.array([1, 2])})
one("Slice", {"x": x}, {"b": np.array([-1]), "e": np.array([-(1 << 40)]), "a": np.array([1]), "s": np.array([-1])})
one("Gather", {"x": x}, {"i": np.array([[2, 0], [1, 1]])}, axis=1)
one("Gather", {"x": x}, {"i": np.array(1)}, axis=2)
one("GatherElements", {"x": x}, {"i": np.array([[[1, 0, 2, 2]], [[0, 0, 1, 2]]])}, axis=1, symbols=False)
one("Pad", {"x": x}, {"p": np.array([0, 1, 0, 0, 0, 2])})
one("LSTM", {"x": f32(5, 2, 3)}, {"w": f32(1, 16, 3), "r": f32(1, 16, 4), "b": f32(1, 32)}, n=3, hidden_size=4)
one("LSTM", {"x": f32(5, 2, 3)}, {"w": f32(1, 16, 3), "r": f32(1, 16, 4)}, n=3, hidden_size=4, direction="reverse")
one("GRU", {"x": f32(5, 2, 3)}, {"w": f32(1, 12, 3), "r": f32(1, 12, 4), "b": f32(1, 24)}, n=2, hidden_size=4, linear_before_reset=1)
one("GRU", {"x": f32(5, 2, 3)}, {"w": f32(1, 12, 3), "r": f32(1, 12, 4), "b": f32(1, 24)}, n=2, hidden_size=4)
both("a shape from sizes", [helper.make_node("Shape", ["x"], ["s"]), helper.make_node("Gather", ["s", "zero"], ["b"]), helper.make_node("Concat", ["b", "rest"], ["f"], axis=0),
                            helper.make_node("Reshape", ["x", "f"], ["y"])], {"x": x}, ["y"], {"zero": np.array([0]), "rest": np.array([12])})


def refused(text, nodes, inputs, outputs, consts=None, opset=21):
    path = out / "refused.onnx"
    write(nodes, inputs, outputs, consts or {}, path, opset)
    try:
        dhcc.onnx.import_file(path)
    except dhcc.InputError as e:
        check(text in str(e) and f"{path}: error: " in str(e), f"{text!r} is not in {e!s}")
    else:
        check(False, f"{text!r} was not raised")


node = helper.make_node
refused("node 1 (odd), Det: no counterpart in the language", [node("Relu", ["x"], ["a"]), node("Det", ["a"], ["y"], name="odd")], {"x": f32(2, 3, 3)}, ["y"])
refused("MaxPool: padding, ceil_mode and dilations: windows lie inside", [node("MaxPool", ["x"], ["y"], kernel_shape=[2, 2], pads=[1, 1, 1, 1])], {"x": image}, ["y"])
refused("the shape 'i' is computed from values: models know it before they run", [node("Cast", ["x"], ["i"], to=TensorProto.INT64), node("Reshape", ["z", "i"], ["free"])],
        {"x": f32(1), "z": x}, ["free"])
refused("bidirectional, layout, activations, clip, input_forget", [node("LSTM", ["x", "w", "r"], ["y"], hidden_size=4, direction="bidirectional")], {"x": f32(5, 2, 3)}, ["y"],
        {"w": f32(2, 16, 3), "r": f32(2, 16, 4)})
(out / "no.onnx").write_bytes(b"no file of this kind")
try:
    dhcc.onnx.import_file(out / "no.onnx")
except dhcc.InputError as e:
    check("no.onnx: error: " in str(e), str(e))
else:
    check(False, "a file of another kind was taken")

# there and back
for name, entry, settings, sizes in (("lstm", "forward", dict(hidden=12), None), ("dhc_ssm", "forward", dict(hidden_dim=16), None), ("rl_ssm_policy", "sequence", dict(obs=5, hidden_dim=8, state_dim=6), None)):
    model = dhcc.load(name, set=settings, seed=2)
    dhcc.onnx.export(model, out / "there.onnx", entry)
    r = subprocess.run([sys.executable, "-m", "dhcc.onnx", "import", str(out / "there.onnx"), "-o", str(out / "back.dhc"), "--weights", str(out / "back.safetensors")])
    check(r.returncode == 0, "the command")
    back = dhcc.load(out / "back.dhc", weights=out / "back.safetensors")
    given = [f32(*[eval(str(d), {}, {"B": 2, "L": 28, "H": 16, "W": 16, "R": 3, "T": 4}) for d in t.shape]) if t.dtype == "f32" else np.zeros((2, 28), bool)
             for t in model[entry].inputs if not t.optional]
    a, b = model[entry](*given), back.forward(*given)
    check(np.abs(a - b).max() <= 2e-6 * np.abs(a).max(), f"{name} there and back")
print(f"{fails} failures, onnx {onnx.__version__}, onnxruntime {onnxruntime.__version__}")
sys.exit(fails > 0)
