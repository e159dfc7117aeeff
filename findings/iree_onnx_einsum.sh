#!/usr/bin/env bash
# iree-base-compiler 3.13.0, ONNX import, CPU: Einsum of three operands is wrong, without a word, where an index that is summed is in
# all three: it is summed as soon as the first two have met, and the third is summed by itself. 'k,k,k->' of (1, 2), (10, 20),
# (100, 200) is (1*10 + 2*20) * (100 + 200) = 15000, not 1*10*100 + 2*20*200 = 9000. Two operands are right, and so are three where
# the index stays. onnxruntime 1.32.0 and NumPy agree with each other. The guess was: right, or refused.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
python3 -m venv "$tmp/env"
"$tmp/env/bin/pip" install -q onnx==1.23.2 onnxruntime==1.32.0 iree-base-compiler==3.13.0 iree-base-runtime==3.13.0 numpy==2.4.6
"$tmp/env/bin/python" - "$tmp" <<'PY'
import subprocess
import sys
from importlib.metadata import version

import iree.compiler as compiler
import iree.runtime as rt
import numpy as np
import onnx
import onnxruntime as ort
from onnx import helper as h

folder = sys.argv[1]
print("iree-base-compiler", version("iree-base-compiler"), "onnxruntime", ort.__version__)


def einsum(equation, *operands):
    names = ["x%d" % i for i in range(len(operands))]
    want = np.einsum(equation, *operands)
    info = [h.make_tensor_value_info(n, onnx.TensorProto.FLOAT, x.shape) for n, x in zip([*names, "y"], [*operands, want])]
    model = h.make_model(h.make_graph([h.make_node("Einsum", names, ["y"], equation=equation)], "g", info[:-1], info[-1:]),
                         opset_imports=[h.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    onnx.save(model, folder + "/m.onnx")
    there = ort.InferenceSession(folder + "/m.onnx", providers=["CPUExecutionProvider"]).run(None, dict(zip(names, operands)))[0]
    subprocess.run([sys.executable, "-m", "iree.compiler.tools.import_onnx", folder + "/m.onnx", "-o", folder + "/m.mlir"], check=True)
    compiler.compile_file(folder + "/m.mlir", output_file=folder + "/m.vmfb", target_backends=["llvm-cpu"],
                          extra_args=["--iree-llvmcpu-target-cpu=generic"])
    config = rt.Config("local-sync")
    module = rt.load_vm_module(rt.VmModule.copy_buffer(config.vm_instance, open(folder + "/m.vmfb", "rb").read()), config)
    name = next(n for n in module.vm_module.function_names if not n.startswith("__") and not n.endswith("$async"))
    here = np.asarray(module[name](*operands))
    print(equation, "iree:", here, "onnxruntime:", there, "NumPy:", want)
    assert np.array_equal(there, want)
    return here, want


a, b, c = (np.float32([1, 2]) * s for s in (1, 10, 100))
here, want = einsum("k,k,k->", a, b, c)
assert here == 15000 and want == 9000, "Einsum of three is better now"
for equation, operands in (("k,k->", (a, b)), ("k,k,k->k", (a, b, c))):
    here, want = einsum(equation, *operands)
    assert np.array_equal(here, want)
print("as stated")
PY
