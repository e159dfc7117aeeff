#!/usr/bin/env python3
"""The Python package on what NumPy has, and, where they are there, on tensors of PyTorch and JAX.

    test_package.py FOLDER     (of files that it makes)"""
import contextlib
import io
import json
import os
import pathlib
import re
import sys
import threading

import numpy as np

import dhcc

fails = 0


def check(ok, what):
    global fails
    if not ok:
        fails += 1
        print("FAILED:", what)


def refused(kind, text, f, *args, **kwargs):
    try:
        f(*args, **kwargs)
    except kind as e:
        check(text in str(e), f"{text!r} is not in {e!s}")
    except Exception as e:  # another kind
        check(False, f"{text!r}: {type(e).__name__}: {e}")
    else:
        check(False, f"{text!r} was not raised")


def address(a):
    return a.__array_interface__["data"][0]


out = pathlib.Path(sys.argv[1])
out.mkdir(parents=True, exist_ok=True)
rng = np.random.default_rng(1)
x = rng.standard_normal((3, 1, 28, 28)).astype(np.float32)
y = np.array([3, 1, 4])
small = {"hidden": 17, "depth": 2, "dropout": 0.0}
m = dhcc.load("mlp", set=small, seed=5)

# what it says about itself
check(m.name == "MLP" and m.entries[:2] == ("forward", "loss") and m.n_params == sum(t.size for t in m.state_dict().values()), "a model's numbers")
check(repr(m.forward) == "<MLP.forward(image: f32[B, 1, 28, 28]) -> (logits: f32[B, 10])>", repr(m.forward))
check(m.forward.inputs[0].shape == ("B", 1, 28, 28) and m.loss.inputs[1].dtype == "i64", "a signature")
check("forward" in dir(m) and m.info(sizes={"B": 2})["entry"]["flops"] > 0, "info")

# results are arrays of their own
a, b = m.forward(x), m(image=x)
check(a.dtype == np.float32 and a.shape == (3, 10) and a.flags.writeable and address(a) != address(b), "results")
check((a == b).all() and address(a) % 64 == 0, "the same call gives the same")
keep = a.copy()
m.forward(x * 2)
check((a == keep).all(), "a result stays what it was")
r = m.loss(x, y)
check(list(r) == ["loss", "logits"] and r.loss.shape == () and (r.logits == a).all(), "several results")
w = {k: np.asarray(v, np.float64) for k, v in m.state_dict().items()}
h = x.reshape(3, -1).astype(np.float64)
for i in (0, 1):
    h = np.maximum(h @ w[f"layers.{i}.weight"].T + w[f"layers.{i}.bias"], 0)
check(np.abs(h @ w["head.weight"].T + w["head.bias"] - a).max() < 1e-4, "NumPy gives the same")

# inputs: read-only, strided, of other types, lists
frozen = x.copy()
frozen.flags.writeable = False
check((m.forward(frozen) == a).all(), "a read-only array")
wide = np.zeros((3, 2, 28, 56), np.float32)
wide[:, 1:, :, ::2] = x
check((m.forward(wide[:, 1:, :, ::2]) == a).all() and (m.forward(x[::-1])[::-1] == a).all(), "strides, negative ones too")
check((m.forward(x.astype(np.float64)) == a).all(), "float64 is converted")
check((m.loss(x, [3, 1, 4]).loss == r.loss).all() and (m.loss(x, y.astype(np.int32)).loss == r.loss).all(), "lists and other integers")
check(m.forward(x[:1]).shape == (1, 10), "another batch size")
refused(dhcc.UsageError, "float16: x.astype('float32')", m.forward, x.astype(np.float16))
refused(dhcc.UsageError, "has the other byte order", m.forward, x.astype(">f4"))
refused(dhcc.UsageError, "forward needs input 'image'", m.forward)
refused(dhcc.UsageError, "has no input 'picture': forward(image: f32[B, 1, 28, 28])", m.forward, picture=x)
refused(dhcc.UsageError, "got input 'image' twice", m.forward, x, image=x)
refused(dhcc.InputError, "input 'image' is given with 3 dims, needs 4", m.forward, x[:, 0])
refused(dhcc.InputError, "input 'image' is [3,2,28,28], entry 'forward' needs f32[B, 1, 28, 28]", m.forward, x.repeat(2, 1))
refused(dhcc.InputError, "target", m.loss, x, np.array([3, 1, 10]))
refused(AttributeError, "has no entry 'foward'", lambda: m.foward)
refused(dhcc.Error, "no_such_model", dhcc.load, "no_such_model")


class Elsewhere:
    def __dlpack_device__(self):
        return 2, 0

    def __dlpack__(self, **kwargs):
        raise AssertionError("nobody reads it")


refused(dhcc.UsageError, "input 'image' is on another device: models take arrays in the host's memory", m.forward, Elsewhere())

# errors carry the place
bad = out / "bad.dhc"
bad.write_text("model M() {\n  forward<B>(x: [B, 4]) -> (y: [B, 3]) { return x }\n}\n")
refused(dhcc.InputError, "bad.dhc:2:", lambda: dhcc.load(bad).forward(np.zeros((1, 4), np.float32)))
refused(ValueError, "^", lambda: dhcc.load(bad).forward(np.zeros((1, 4), np.float32)))

# weights
check(not m.get("head.bias").flags.writeable, "a view of a weight is read-only")
m.set("head.bias", np.arange(10, dtype=np.float32))
check((m.get("head.bias") == np.arange(10)).all() and np.allclose(m.forward(x) - a, np.arange(10) - w["head.bias"], atol=1e-5), "set")
m.save(out / "w.safetensors")
n = dhcc.load("mlp", set=small, weights=out / "w.safetensors")
check((n.forward(x) == m.forward(x)).all(), "a weights file")
n.pack(out / "m.dhcm")
check((dhcc.load(out / "m.dhcm").forward(x) == m.forward(x)).all(), "a package")
refused(dhcc.InputError, "tensor 'head.bias' is [3], the model needs [10]", m.set, "head.bias", np.zeros(3, np.float32))
k = dhcc.load("mlp", set=small)
k.load_state_dict(m.state_dict())
check((k.forward(x) == m.forward(x)).all(), "state_dict")
refused(dhcc.InputError, "no tensor 'layers.0.weight' among those given", k.load_state_dict, {})

# gradients and steps
g = m.loss.grad(x, y)
eps, at = 1e-2, (2, 3)
base = m.get("head.weight").copy()
sides = []
for d in (eps, -eps):
    v = base.copy()
    v[at] += d
    m.set("head.weight", v)
    sides.append(float(m.loss(x, y).loss))
m.set("head.weight", base)
check(abs((sides[0] - sides[1]) / (2 * eps) - g["grad.head.weight"][at]) < 1e-3 and g["grad.image"].shape == x.shape, "a gradient")
losses = [float(m.train_step(x, y, lr=1e-2).loss) for _ in range(20)]
check(losses[-1] < losses[0] / 2, f"training falls: {losses[0]} to {losses[-1]}")
check(m.train_step(image=x, target=y).finite is True, "finite")

# threads: models that share weights
want = m.forward(x)
wrong = []


def work(model):
    for _ in range(30):
        if not (model.forward(x) == want).all():
            wrong.append(1)


shared = [m.share() for _ in range(3)]
threads = [threading.Thread(target=work, args=(s,)) for s in [*shared, m]]
[t.start() for t in threads]
[t.join() for t in threads]
check(not wrong and address(shared[0].get("head.bias")) == address(m.get("head.bias")), "threads")
refused(dhcc.UsageError, "the weights are another program's", shared[0].init)

# streams
seq = dhcc.load("seq", set=dict(vocabulary=11, d_model=8, num_heads=2, num_layers=2, mamba_ratio=1, d_state=4, ffn_inner=12))
tokens = rng.integers(0, 11, (1, 6))
whole = seq.forward(tokens)
steps = [seq.forward.step(tokens[:, i:i + 1]) for i in range(6)]
check((np.concatenate(steps, 1) == whole).all(), "steps")
seq.reset()
check((seq.forward.stream(tokens[:, :4]) == whole[:, :4]).all() and (seq.forward.stream(tokens[:, 4:]) == whole[:, 4:]).all(), "a stream")
check(len(seq.generate([1, 2], 4)) == 4, "generate")

# tables
(out / "metrics.csv").write_text("step,loss,note\n1,0.5,a\n2,0.25,b\n")
t = dhcc.metrics(out)
check(t == [{"step": 1, "loss": 0.5, "note": "a"}, {"step": 2, "loss": 0.25, "note": "b"}], "metrics")
refused(dhcc.Error, "holds no sweep", dhcc.sweep_results, out)

# what the notebook and the document say
root = pathlib.Path(__file__).resolve().parents[2]
notebook = json.loads((root / "examples/python/bars.ipynb").read_text())
os.chdir(out)
said = {}
with contextlib.redirect_stdout(io.StringIO()):
    exec("\n".join("".join(c["source"]) for c in notebook["cells"] if c["cell_type"] == "code"), said)
    exec("\n".join(re.findall(r"```python\n(.*?)```", (root / "docs/python.md").read_text(), re.S)), {})
check(said["accuracy"] > 0.9 and said["losses"][-1] < said["losses"][0] / 4, f"the notebook: {said['accuracy']}")

seen = []
for lib in ("pandas", "torch", "jax"):
    try:
        __import__(lib)
        seen.append(lib)
    except ImportError:
        print(f"no {lib} here: its part is left out")
if "pandas" in seen:
    check(list(t.frame().columns) == ["step", "loss", "note"], "a frame")
if "torch" in seen:
    import torch

    tx = torch.from_numpy(x)
    check((m.forward(tx) == want).all() and (m.forward(tx.requires_grad_()) == want).all(), "torch tensors")
    check((m.forward(tx.detach().permute(0, 1, 3, 2).contiguous().permute(0, 1, 3, 2)) == want).all(), "torch strides")
    check(torch.equal(m.loss(tx.detach(), torch.tensor([3, 1, 4])) .logits is not None and torch.from_dlpack(m.forward(x)), torch.from_numpy(want)), "to torch")
    z = m.forward(x)
    check(torch.from_dlpack(z).data_ptr() == address(z), "to torch without a copy")
    b16 = tx.detach().bfloat16()
    check((m.forward(b16) == m.forward(b16.float())).all(), "torch bfloat16")
    refused(dhcc.UsageError, "input 'image' cannot be read", m.forward, torch.empty((1, 1, 28, 28), device="meta"))
    lin = torch.nn.ModuleDict({"layers": torch.nn.ModuleList([torch.nn.Linear(784, 17), torch.nn.Linear(17, 17)]), "head": torch.nn.Linear(17, 10)})
    k.load_state_dict(lin.state_dict())
    hidden = tx.detach().flatten(1)
    for layer in lin["layers"]:
        hidden = torch.relu(layer(hidden))
    check(np.abs(lin["head"](hidden).detach().numpy() - k.forward(tx.detach())).max() < 1e-5, "weights of a torch module")
if "jax" in seen:
    import jax
    import jax.numpy as jnp

    jx = jnp.asarray(x)
    check((m.forward(jx) == want).all(), "jax arrays")
    check((np.asarray(jax.dlpack.from_dlpack(m.forward(jx))) == want).all(), "to jax")
    check((m.forward(jnp.swapaxes(jnp.swapaxes(jx, 2, 3), 2, 3)) == want).all(), "jax, swapped")
    check((m.forward(jx.astype(jnp.bfloat16)) == m.forward(np.asarray(jx.astype(jnp.bfloat16)).astype(np.float32))).all(), "jax bfloat16")
print(f"{fails} failures; with {', '.join(['numpy', *seen])}")
sys.exit(fails > 0)
