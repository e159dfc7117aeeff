#!/usr/bin/env bash
# onnxruntime 1.32.0, CPU: MaxPool of f32 in one dimension or of one window gives the lowest finite number,
# -3.4028235e38, where all of a window is -inf (masked inputs are); with the Indices output asked for it
# gives -inf. A NaN in a window comes out or not by the same choice. The guess was: -inf, and NaN or not
# NaN alike whether or not a second output is wanted.
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
    model = h.make_model(h.make_graph([node], "g", ins, outs), opset_imports=[h.make_opsetid("", 21)], ir_version=10)
    model = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    onnx.checker.check_model(model)
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, dict(zip(names, arrays)))


def f32(*values):
    return np.array(values, dtype=np.float32)


print("onnxruntime", ort.__version__, "onnx", onnx.__version__)

lowest = np.finfo(np.float32).min
x = np.full((1, 1, 2, 2), -np.inf, dtype=np.float32)
plain = run("MaxPool", [x], kernel_shape=[2, 2])[0].item()
with_indices = run("MaxPool", [x], 2, kernel_shape=[2, 2])[0].item()
print("window of -inf:", plain, "with indices:", with_indices)
assert plain == lowest and with_indices == -np.inf, "both agree now"
line = np.full((1, 1, 6), -np.inf, dtype=np.float32)
assert (run("MaxPool", [line], kernel_shape=[2])[0] == lowest).all()
x = np.zeros((1, 1, 4, 4), dtype=np.float32)
x[0, 0, 0, 0] = np.nan
plain = run("MaxPool", [x], kernel_shape=[2, 2], strides=[2, 2])[0]
with_indices = run("MaxPool", [x], 2, kernel_shape=[2, 2], strides=[2, 2])[0]
print("NaN first in its window:", plain.ravel(), "with indices:", with_indices.ravel())
assert not np.isnan(plain).any() and np.isnan(with_indices).sum() == 1, "both agree now"
print("as stated")
PY
