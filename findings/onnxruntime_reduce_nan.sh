#!/usr/bin/env bash
# onnxruntime 1.32.0, CPU: ReduceMax, ReduceMin and ArgMax over values with a NaN give NaN (index 0) if
# it is the first of them and forget it otherwise, in f32 and f64, along either axis. Max of two tensors,
# TopK and ReduceLogSumExp keep it. The guess was: NaN, as numpy, torch and jax give.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
python3 -m venv "$tmp/env"
"$tmp/env/bin/pip" install -q onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
"$tmp/env/bin/python" - <<'PY'
import numpy as np, onnx, onnxruntime as ort
from onnx import helper as h

options = ort.SessionOptions()
options.log_severity_level = 4


def run(op, arrays, n_outputs=1, **attributes):
    names = [f"i{k}" for k in range(len(arrays))]
    ins = [h.make_tensor_value_info(n, h.np_dtype_to_tensor_dtype(x.dtype), x.shape) for n, x in zip(names, arrays)]
    outs = [h.make_empty_tensor_value_info(f"o{k}") for k in range(n_outputs)]
    node = h.make_node(op, names, [f"o{k}" for k in range(n_outputs)], **attributes)
    model = h.make_model(h.make_graph([node], "g", ins, outs), opset_imports=[h.make_opsetid("", 13)], ir_version=10)
    model = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    onnx.checker.check_model(model)
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, dict(zip(names, arrays)))


def f32(*values):
    return np.array(values, dtype=np.float32)


print("onnxruntime", ort.__version__, "onnx", onnx.__version__)

nan = np.nan
for values in ([nan, 1.0, 2.0], [1.0, nan, 2.0], [1.0, 2.0, nan]):
    for dtype in (np.float32, np.float64):
        x = np.array(values, dtype=dtype)
        top, low = (run(op, [x], axes=[0], keepdims=0)[0] for op in ("ReduceMax", "ReduceMin"))
        at = run("ArgMax", [x], axis=0, keepdims=0)[0]
        print(x.dtype, values, "max", top, "min", low, "argmax", at, "numpy", np.max(x), np.argmax(x))
        if np.isnan(x[0]):
            assert np.isnan(top) and np.isnan(low)
        else:
            assert top == 2 and low == 1, "NaN comes through now"
            assert at == int(np.nanargmax(x)), "ArgMax sees NaN now"
x = f32(1, nan, 2)
assert np.isnan(run("Max", [x, f32(0, 0, 0)])[0][1])
assert np.isnan(run("TopK", [x, np.array([1], dtype=np.int64)], 2)[0][0])
assert np.isnan(run("ReduceLogSumExp", [x], axes=[0], keepdims=0)[0])
print("as stated")
PY
