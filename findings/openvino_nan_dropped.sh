#!/usr/bin/env bash
# openvino 2026.4.1, CPU, f32, models read from ONNX: Relu and Celu of NaN are 0, HardSigmoid of NaN is 1, and
# Max and Min of NaN and 0 are 0 or NaN as the operands are ordered; LeakyRelu, Elu, Clip, Sigmoid, Tanh and Gelu
# keep it. onnxruntime 1.32.0 keeps it in all of these, and loses it in ThresholdedRelu. The guess was: NaN
# everywhere, as in torch and jax.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
python3 -m venv "$tmp/env"
"$tmp/env/bin/pip" install -q onnx==1.23.2 onnxruntime==1.32.0 openvino==2026.4.1 numpy==2.4.6
"$tmp/env/bin/python" - <<'PY'
import numpy as np, onnx, onnxruntime as ort, openvino as ov
from onnx import helper as h

core = ov.Core()
print("openvino", ov.__version__, "onnxruntime", ort.__version__)


def both(op, *arrays):
    names = [f"i{k}" for k in range(len(arrays))]
    ins = [h.make_tensor_value_info(n, onnx.TensorProto.FLOAT, x.shape) for n, x in zip(names, arrays)]
    out = h.make_tensor_value_info("y", onnx.TensorProto.FLOAT, arrays[0].shape)
    model = h.make_model(h.make_graph([h.make_node(op, names, ["y"])], "g", ins, [out]),
                         opset_imports=[h.make_opsetid("", 21)], ir_version=10)
    onnx.checker.check_model(model)
    compiled = core.compile_model(core.read_model(model.SerializeToString()), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.array(compiled(list(arrays))[0]), session.run(None, dict(zip(names, arrays)))[0]


x = np.array([np.nan, 1, -1] * 7, np.float32)
zero = np.zeros_like(x)
for op in ("Relu", "Celu", "HardSigmoid", "LeakyRelu", "Elu", "Sigmoid", "Tanh", "Gelu", "ThresholdedRelu"):
    here, there = (y[::3] for y in both(op, x))
    print(op, "of NaN: openvino", here[0], "onnxruntime", there[0])
    dropped = {"Relu": 0, "Celu": 0, "HardSigmoid": 1}
    assert (here == dropped[op]).all() if op in dropped else np.isnan(here).all(), op
    assert (there == 0).all() if op == "ThresholdedRelu" else np.isnan(there).all(), op
for op in ("Max", "Min"):
    first, second = both(op, x, zero), both(op, zero, x)
    print(op, "(NaN, 0):", first[0][0], " (0, NaN):", second[0][0])
    assert (first[0][::3] == 0).all() and np.isnan(second[0][::3]).all()
    assert np.isnan(first[1][::3]).all() and np.isnan(second[1][::3]).all()
print("as stated")
PY
