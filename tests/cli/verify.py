"""Writes the reference files of verify.sh into a folder."""
import json
import os
import struct
import sys

root = sys.argv[1]
nan, inf = float("nan"), float("inf")


def save(name, tensors, meta=None):
    """tensors: name -> (dtype, shape, values)"""
    kinds = {"F64": "d", "F32": "f", "F16": "e", "I64": "q"}
    head, data = {"__metadata__": meta} if meta else {}, b""
    for key, (dtype, shape, values) in tensors.items():
        raw = struct.pack("<%d%s" % (len(values), kinds[dtype]), *values)
        head[key] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    head = json.dumps(head).encode()
    with open(os.path.join(root, name + ".safetensors"), "wb") as f:
        f.write(struct.pack("<Q", len(head)) + head + data)


def f64(shape, values):
    return ("F64", shape, values)


# y = x * w + shift, with a loss whose gradient of u is zero: u cancels
X, W = f64([2, 3], [1, 2, 3, 4, 5, 6]), f64([3], [1, 2, 3])
Y = f64([2, 3], [1, 4, 9, 4, 10, 18])
good = {"param.w": W, "input.x": X, "output.y": Y}
save("good", good)
save("half", dict(good, **{"param.w": ("F16", [3], [1, 2, 3]), "input.x": ("F16", [2, 3], [1, 2, 3, 4, 5, 6])}))
save("off", dict(good, **{"output.y": f64([2, 3], [1, 4, 9, 4, 10, 18.001])}))
save("near", dict(good, **{"output.y": f64([2, 3], [1, 4, 9, 4, 10, 18 + 1e-9])}))
save("nan", dict(good, **{"output.y": f64([2, 3], [1, 4, nan, 4, 10, 18])}))
save("nan_both", dict(good, **{"input.x": f64([2, 3], [1, 2, nan, 4, 5, 6]), "output.y": f64([2, 3], [1, 4, nan, 4, 10, 18])}))
save("nan_here", dict(good, **{"input.x": f64([2, 3], [1, 2, nan, 4, 5, 6])}))
save("inf_both", dict(good, **{"input.x": f64([2, 3], [1, 2, inf, 4, 5, 6]), "output.y": f64([2, 3], [1, 4, inf, 4, 10, 18])}))
save("inf_sign", dict(good, **{"input.x": f64([2, 3], [1, 2, inf, 4, 5, 6]), "output.y": f64([2, 3], [1, 4, -inf, 4, 10, 18])}))
save("inf_there", dict(good, **{"output.y": f64([2, 3], [1, 4, inf, 4, 10, 18])}))
save("turned", dict(good, **{"output.y": f64([3, 2], [1, 4, 9, 4, 10, 18])}))
save("flat", dict(good, **{"output.y": f64([6], [1, 4, 9, 4, 10, 18])}))
save("wide", dict(good, **{"output.y": f64([2, 3, 1], [1, 4, 9, 4, 10, 18])}))
save("short", dict(good, **{"output.y": f64([1, 3], [1, 4, 9])}))
save("buffer", dict(good, **{"param.shift": f64([3], [1, 1, 1]), "output.y": f64([2, 3], [2, 5, 10, 5, 11, 19])}))
save("buffer_named", dict(good, **{"buffer.shift": f64([3], [1, 1, 1]), "output.y": f64([2, 3], [2, 5, 10, 5, 11, 19])}))
save("buffer_shape", dict(good, **{"param.shift": f64([2], [1, 1])}))
save("nothing", {"param.w": W, "input.x": X})
for extra in ("grad.w", "output.z", "param.v", "buffer.v", "cotangent.y", "w", "outputs.y", "Output.y", "grad.param.v", "input.z"):
    save("extra_" + extra, dict(good, **{extra: f64([3], [0, 0, 0])}))

# gradients: loss = 1e3 * sum(x * w) + 1e-6 * sum(x * u) + sum(v - v); v's is zero, or would be without rounding
G = {"param.w": W, "param.u": W, "param.v": W, "input.x": f64([3], [1, 2, 3]), "output.loss": f64([], [14000 + 14e-6])}
gw, gu, gv = f64([3], [1e3, 2e3, 3e3]), f64([3], [1e-6, 2e-6, 3e-6]), f64([3], [0, 0, 0])
grads = dict(G, **{"grad.param.w": gw, "grad.param.u": gu, "grad.param.v": gv})
save("grad_good", grads)
save("grad_rounding", dict(grads, **{"grad.param.v": f64([3], [1e-12, -2e-13, 1e-14])}))
save("grad_rounding_f32", dict(grads, **{"grad.param.v": ("F32", [3], [1e-5, -2e-6, 1e-7])}))
save("grad_small_wrong", dict(grads, **{"grad.param.u": f64([3], [1e-6, 2e-6, -3e-6])}))
save("grad_not_zero", dict(grads, **{"grad.param.v": f64([3], [1, 0, 0])}))
save("grad_infinite", dict(grads, **{"grad.param.w": f64([3], [inf, 2e3, 3e3])}))
save("grad_all_zero", dict(G, **{"grad.param.w": gv}))
save("grad_missing", dict(grads, **{"grad.param.nothing": gv}))

# a piece of a stack: there are two experts
E = {"param.e.0.w": f64([2], [1, 2]), "param.e.1.w": f64([2], [3, 4]), "input.x": f64([2], [1, 1]), "output.loss": f64([], [10])}
E["grad.param.e.0.w"] = E["grad.param.e.1.w"] = f64([2], [1, 1])
save("stack", E)
save("stack_past", dict(E, **{"grad.param.e.2.w": f64([2], [1, 1])}))

# two steps of plain gradient descent on loss = sum(x * w), lr 0.5, no clipping
S = {"param.w": f64([2], [1, 2]), "input.x": f64([2, 2], [1, 1, 2, 2]), "output.loss": f64([2], [3, 4]),
     "output.param.w": f64([2], [1 - 0.5 - 1, 2 - 0.5 - 1])}
M = {"lr": "0.5", "clip": "0"}
save("steps", S, M)
save("steps_wrong", dict(S, **{"output.param.w": f64([2], [1, 2])}), M)
save("steps_shape", dict(S, **{"output.param.w": f64([1, 2], [-0.5, 0.5])}), M)
save("steps_inputs", dict(S, **{"input.x": f64([1, 2], [1, 1])}), M)
save("steps_unknown", dict(S, **{"output.other": f64([2], [0, 0])}), M)
save("steps_scalar", dict(S, **{"output.grad_norm": f64([], [0])}), M)
save("steps_grad", dict(S, **{"grad.param.w": f64([2], [0, 0])}), M)
save("steps_rate", S, dict(M, lr="fast"))
save("steps_none", dict(S, **{"output.loss": f64([0], []), "input.x": f64([0, 2], [])}), M)
