"""JAX: the models as functions of a dictionary of weights, whole steps through jit."""
import os

os.environ.setdefault("JAX_PLATFORMS", "cpu")
import jax
import jax.numpy as jnp
import numpy as np

import presets


def conv(w, name, x):
    y = jax.lax.conv_general_dilated(x, w[name + ".weight"], (1, 1), "SAME", dimension_numbers=("NCHW", "OIHW", "NCHW"))
    return jax.nn.relu(y + w[name + ".bias"][:, None, None])


def pool(x):
    return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, 1, 2, 2), (1, 1, 2, 2), "VALID")


def cells(w, x):
    x = pool(conv(w, "spatial_encoder.conv1", x))
    x = pool(conv(w, "spatial_encoder.conv2", x))
    x = conv(w, "spatial_encoder.conv3", x)
    return x.reshape(*x.shape[:2], -1).transpose(0, 2, 1)


def classify(w, x):
    x = jax.nn.relu(x @ w["classifier.0.weight"].T + w["classifier.0.bias"])
    return x @ w["classifier.3.weight"].T + w["classifier.3.bias"]


def dhc_ssm(w, image):
    x = cells(w, image).mean(1)
    t = lambda name: w["temporal_ssm." + name].T
    return classify(w, jnp.tanh(x @ t("B")) @ t("C") + x @ t("D")), 0.0


def norm(x, weight):
    return x * jax.lax.rsqrt(jnp.mean(x * x, -1, keepdims=True) + 1e-6) * weight


def mamba(w, x):
    batch, length, _ = x.shape
    u, z = jnp.split(x @ w["in_proj.weight"].T, 2, -1)
    taps = w["conv1d.weight"][:, 0]
    padded = jnp.pad(u, ((0, 0), (taps.shape[1] - 1, 0), (0, 0)))
    u = jax.nn.silu(sum(padded[:, k:k + length] * taps[:, k] for k in range(taps.shape[1])) + w["conv1d.bias"])
    n = w["A_log"].shape[1]
    dt, b, c = jnp.split(u @ w["x_proj.weight"].T, [w["dt_proj.weight"].shape[1], w["dt_proj.weight"].shape[1] + n], -1)
    dt = jax.nn.softplus(dt @ w["dt_proj.weight"].T + w["dt_proj.bias"])
    if length == 1:
        y = ((dt * u)[..., None] * b[:, :, None] * c[:, :, None]).sum(-1)
    else:
        a = -jnp.exp(w["A_log"])

        def step(h, s):
            dt, u, b, c = s
            h = jnp.exp(dt[..., None] * a) * h + (dt * u)[..., None] * b[:, None]
            return h, (h * c[:, None]).sum(-1)

        h = jnp.zeros((batch, u.shape[-1], n), x.dtype)
        y = jax.lax.scan(step, h, tuple(t.transpose(1, 0, 2) for t in (dt, u, b, c)), unroll=4)[1].transpose(1, 0, 2)
    return ((y + u * w["D"]) * jax.nn.silu(z)) @ w["out_proj.weight"].T


def attention(w, x, heads):
    batch, length, d = x.shape
    size = d // heads
    angle = np.arange(length)[:, None] * 10000.0 ** (-np.arange(size // 2) / (size // 2))
    cos, sin = np.cos(angle).astype(np.float32), np.sin(angle).astype(np.float32)
    q, k, v = ((x @ w[n + "_proj.weight"].T).reshape(batch, length, heads, size).transpose(0, 2, 1, 3) for n in "qkv")

    def rotate(t):
        a, b = t[..., 0::2], t[..., 1::2]
        return jnp.stack((a * cos - b * sin, a * sin + b * cos), -1).reshape(t.shape)

    p = jax.nn.softmax(rotate(q) @ rotate(k).transpose(0, 1, 3, 2) * size**-0.5, -1)
    return (p @ v).transpose(0, 2, 1, 3).reshape(batch, length, d) @ w["out_proj.weight"].T


def gated(x):
    a, b = jnp.split(x, 2, -1)
    return jax.nn.silu(a) * b


def moe(w, x, experts, k=2):
    t = x.reshape(-1, x.shape[-1])
    logits = t @ w["gate.weight"].T
    prob = jax.nn.softmax(logits, -1)
    p, e = jax.lax.top_k(prob, k)
    p = p / p.sum(-1, keepdims=True)
    if len(t) <= 4:  # as in models.py: the chosen matrices for few tokens, all of them otherwise
        h = gated(jnp.einsum("tkhd,td->tkh", w["w1"][e], t))
        y = jnp.einsum("tkdh,tkh,tk->td", w["w2"][e], h, p)
    else:
        share = jnp.zeros((len(t), experts), x.dtype).at[jnp.arange(len(t))[:, None], e].set(p)
        h = gated(jnp.einsum("td,ehd->eth", t, w["w1"]))
        y = jnp.einsum("eth,edh,te->td", h, w["w2"], share)
    balance = jnp.square(prob.mean(0) - 1.0 / experts).sum()
    return y.reshape(x.shape), 1e-3 * balance + 1e-3 * jax.nn.logsumexp(logits, -1).mean()


def dhc_jamba(w, image, preset="medium", tokens="pooled", mamba_ratio=7, **_):
    h = presets.PRESETS[preset]
    x = cells(w, image)
    x = x if tokens == "grid" else x.mean(1, keepdims=True)
    aux = 0.0
    for i in range(h["num_layers"]):
        at = "jamba_model.layers.%d." % i
        part = lambda name: {n[len(at + name):]: v for n, v in w.items() if n.startswith(at + name)}
        y = norm(x, w[at + "norm1.weight"])
        x = x + (attention(part("main_layer."), y, h["num_heads"]) if i % (mamba_ratio + 1) == mamba_ratio else mamba(part("main_layer."), y))
        y, f = norm(x, w[at + "norm2.weight"]), part("ffn.")
        if i % 2:
            y, a = moe(f, y, h["num_experts"])
            aux = aux + a
        else:
            y = gated(y @ f["fc1.weight"].T) @ f["fc2.weight"].T
        x = x + y
    return classify(w, norm(x, w["jamba_model.norm_f.weight"]).mean(1)), aux


def stacked(weights):
    out, experts = {}, {}
    for name, v in weights.items():
        place, dot, rest = name.partition(".experts.")
        if not dot:
            out[name] = jnp.asarray(v)
        else:
            i, kind, _ = rest.split(".")
            experts.setdefault("%s.%s" % (place, {"fc1": "w1", "fc2": "w2"}[kind]), {})[int(i)] = v
    out.update({n: jnp.asarray(np.stack([e[i] for i in range(len(e))])) for n, e in experts.items()})
    return out


def adamw(w, g, m, v, t, decay, lr=1e-3):
    """One step with clipping to norm 1; what is decayed as in models.py."""
    scale = jnp.minimum(1.0, 1.0 / (jnp.sqrt(sum(jnp.vdot(x, x) for x in g.values())) + 1e-6))
    new = {}
    for n in w:
        d = g[n] * scale
        m[n] = 0.9 * m[n] + 0.1 * d
        v[n] = 0.999 * v[n] + 0.001 * d * d
        shrink = 1.0 if w[n].ndim < 2 or n.endswith("A_log") else 1.0 - lr * decay
        new[n] = w[n] * shrink - lr / (1 - 0.9**t) * m[n] / (jnp.sqrt(v[n]) / jnp.sqrt(1 - 0.999**t) + 1e-8)
    return new, m, v


class Peer:
    def __init__(self, job):
        self.versions = {"jax": jax.__version__}
        sets = {k: int(v) if v.isdigit() else v for k, v in job.sets.items()}
        few = len(job.inputs["image"]) <= 4 and sets.get("tokens") != "grid"
        self.note = "experts " + ("gathered" if few else "dense") if job.model == "dhc_jamba" else ""
        forward = {"dhc_ssm": lambda w, x: dhc_ssm(w, x), "dhc_jamba": lambda w, x: dhc_jamba(w, x, **sets)}[job.model]
        self.x, self.target = jnp.asarray(job.inputs["image"]), jnp.asarray(job.inputs["target"])
        self.w, self.train, self.t = stacked(job.weights), job.train, 0
        if not job.train:
            self.call = jax.jit(lambda w, x: forward(w, x)[0])
            return
        decay = {"dhc_ssm": 0.01, "dhc_jamba": 0.05}[job.model]
        self.m, self.v = ({n: jnp.zeros_like(x) for n, x in self.w.items()} for _ in range(2))

        def loss(w, x, target):
            logits, aux = forward(w, x)
            return -jnp.take_along_axis(jax.nn.log_softmax(logits), target[:, None], 1).mean() + aux

        def step(w, m, v, t, x, target):
            value, g = jax.value_and_grad(loss)(w, x, target)
            return value, *adamw(w, g, dict(m), dict(v), t, decay)

        self.call = jax.jit(step, donate_argnums=(0, 1, 2))

    def run(self):
        if self.train:
            self.t += 1
            self.last, self.w, self.m, self.v = self.call(self.w, self.m, self.v, float(self.t), self.x, self.target)
            jax.block_until_ready(self.w)
        else:
            self.last = jax.block_until_ready(self.call(self.w, self.x))

    def output(self):
        return np.asarray(self.last)


open = Peer
