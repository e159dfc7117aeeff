"""DHC-SSM and DHC-Jamba in PyTorch, as an expert would write them without kernels of his own. Parameters have the names
that dhcc gives them, so one safetensors file serves all peers; experts are stacked.

The Jamba stack follows models/layers/: pre-norm blocks, Mamba with one step a token (length 1 skips the loop), attention
through scaled_dot_product_attention. A mixture of experts has several forms that compute the same; which is fastest
depends on the number of tokens and on who compiles it:

  routed    a loop over experts, each with the tokens that chose it (sizes depend on data)
  grouped   tokens sorted by expert, one grouped_mm over all
  gathered  the chosen experts' matrices, copied for every token: for few tokens
  turned    the same with matrices that were transposed before: what is exported, not what is trained
  dense     every expert for every token, what was not chosen masked
"""
import math
import os
import sys

import torch
import torch.nn as nn
import torch.nn.functional as F

from presets import PRESETS

FORMS = ("routed", "grouped", "gathered", "dense")


class SpatialEncoder(nn.Module):
    def __init__(self, c, h):
        super().__init__()
        self.conv1 = nn.Conv2d(c, h, 3, padding=1)
        self.conv2 = nn.Conv2d(h, 2 * h, 3, padding=1)
        self.conv3 = nn.Conv2d(2 * h, 4 * h, 3, padding=1)

    def cells(self, x):
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        return F.relu(self.conv3(x)).flatten(2).transpose(1, 2)

    def forward(self, x):
        return self.cells(x).mean(1)


class TemporalSSM(nn.Module):
    def __init__(self, d, s):
        super().__init__()
        self.A, self.B = nn.Parameter(torch.empty(s, s)), nn.Parameter(torch.empty(s, d))
        self.C, self.D = nn.Parameter(torch.empty(d, s)), nn.Parameter(torch.empty(d, d))

    def forward(self, x):
        return torch.tanh(x @ self.B.T) @ self.C.T + x @ self.D.T


def classifier(hidden, classes, dropout):
    return nn.Sequential(nn.Linear(4 * hidden, 2 * hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(2 * hidden, classes))


class DHCSSM(nn.Module):
    weight_decay = 0.01

    def __init__(self, hidden_dim=64, state_dim=64, dropout=0.3):
        super().__init__()
        self.spatial_encoder, self.temporal_ssm = SpatialEncoder(3, hidden_dim), TemporalSSM(4 * hidden_dim, state_dim)
        self.classifier = classifier(hidden_dim, 10, dropout)

    def forward(self, x):
        return self.classifier(self.temporal_ssm(self.spatial_encoder(x)))

    def loss(self, x, target):
        return F.cross_entropy(self(x), target)


class RMSNorm(nn.Module):
    def __init__(self, d):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(d))

    def forward(self, x):
        if torch.onnx.is_in_onnx_export():  # which does not know rms_norm
            return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6) * self.weight
        return F.rms_norm(x, x.shape[-1:], self.weight, 1e-6)


class Mamba(nn.Module):
    def __init__(self, d, n=16, taps=4):
        super().__init__()
        self.inner, self.n, self.rank = 2 * d, n, math.ceil(d / 16)
        self.in_proj = nn.Linear(d, 2 * self.inner, bias=False)
        self.conv1d = nn.Conv1d(self.inner, self.inner, taps, groups=self.inner, padding=taps - 1)
        self.x_proj = nn.Linear(self.inner, self.rank + 2 * n, bias=False)
        self.dt_proj = nn.Linear(self.rank, self.inner)
        self.A_log = nn.Parameter(torch.empty(self.inner, n))
        self.D = nn.Parameter(torch.empty(self.inner))
        self.out_proj = nn.Linear(self.inner, d, bias=False)

    def forward(self, x):
        length = x.shape[1]
        u, z = self.in_proj(x).chunk(2, -1)
        if length == 1:
            u = u * self.conv1d.weight[:, 0, -1] + self.conv1d.bias
        else:
            u = self.conv1d(u.transpose(1, 2))[..., :length].transpose(1, 2)
        u = F.silu(u)
        dt, b, c = self.x_proj(u).split([self.rank, self.n, self.n], -1)
        dt = F.softplus(self.dt_proj(dt))
        drive = (dt * u).unsqueeze(-1) * b.unsqueeze(2)
        if length == 1:
            y = (drive * c.unsqueeze(2)).sum(-1)
        else:
            decay = torch.exp(dt.unsqueeze(-1) * -torch.exp(self.A_log))
            h, out = torch.zeros_like(drive[:, 0]), []
            for t in range(length):
                h = torch.addcmul(drive[:, t], decay[:, t], h)
                out.append(h)
            y = (torch.stack(out, 1) * c.unsqueeze(2)).sum(-1)
        return self.out_proj((y + u * self.D) * F.silu(z))


class Attention(nn.Module):
    def __init__(self, d, heads, max_len=4096):
        super().__init__()
        self.heads, size = heads, d // heads
        self.q_proj, self.k_proj, self.v_proj, self.out_proj = (nn.Linear(d, d, bias=False) for _ in range(4))
        angle = torch.arange(max_len)[:, None] * 10000.0 ** (-torch.arange(size // 2) / (size // 2))
        self.register_buffer("cos", angle.cos(), persistent=False)
        self.register_buffer("sin", angle.sin(), persistent=False)

    def rotate(self, x):
        a, b = x[..., 0::2], x[..., 1::2]
        c, s = self.cos[: x.shape[2]], self.sin[: x.shape[2]]
        return torch.stack((a * c - b * s, a * s + b * c), -1).flatten(-2)

    def forward(self, x):
        q, k, v = (p(x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for p in (self.q_proj, self.k_proj, self.v_proj))
        o = F.scaled_dot_product_attention(self.rotate(q), self.rotate(k), v)
        return self.out_proj(o.transpose(1, 2).flatten(2))


class SwiGLU(nn.Module):
    def __init__(self, d, inner):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(d, 2 * inner, bias=False), nn.Linear(inner, d, bias=False)

    def forward(self, x):
        a, b = self.fc1(x).chunk(2, -1)
        return self.fc2(F.silu(a) * b)


def gated(x):
    a, b = x.chunk(2, -1)
    return F.silu(a) * b


class MoE(nn.Module):
    def __init__(self, d, inner, experts, k=2):
        super().__init__()
        self.k, self.n, self.form, self.aux = k, experts, "routed", None
        self.gate = nn.Linear(d, experts, bias=False)
        self.w1, self.w2 = nn.Parameter(torch.empty(experts, 2 * inner, d)), nn.Parameter(torch.empty(experts, d, inner))

    def forward(self, x):
        t = x.flatten(0, -2)
        logits = self.gate(t)
        prob = torch.softmax(logits, -1)
        p, e = prob.topk(self.k, -1)
        p = p / p.sum(-1, keepdim=True)
        if self.training:
            balance = (prob.mean(0) - 1.0 / self.n).square().sum()
            self.aux = 1e-3 * balance + 1e-3 * torch.logsumexp(logits, -1).mean()
        return getattr(self, self.form)(t, p, e).view_as(x)

    def routed(self, t, p, e):
        y = torch.zeros_like(t)
        for i in range(self.n):
            row, slot = torch.where(e == i)
            if row.numel():
                y = y.index_add(0, row, F.linear(gated(F.linear(t[row], self.w1[i])), self.w2[i]) * p[row, slot, None])
        return y

    def grouped(self, t, p, e):
        order = e.flatten().argsort(stable=True)
        ends = torch.searchsorted(e.flatten()[order], torch.arange(1, self.n + 1, device=t.device)).to(torch.int32)
        row = order // self.k
        h = gated(F.grouped_mm(t[row], self.w1.transpose(1, 2), offs=ends))
        y = F.grouped_mm(h, self.w2.transpose(1, 2), offs=ends) * p.flatten()[order, None]
        return torch.zeros_like(t).index_add(0, row, y)

    def gathered(self, t, p, e):
        h = gated(torch.einsum("tkhd,td->tkh", self.w1[e], t))
        return torch.einsum("tkdh,tkh->td", self.w2[e], h * p.unsqueeze(-1))  # of two: findings/iree_onnx_einsum.sh

    def turned(self, t, p, e):
        h = gated(t[:, None, None] @ self.w1_turned[e])
        return (h * p[..., None, None] @ self.w2_turned[e]).sum((1, 2))

    def turn(self):
        """What the form turned reads."""
        self.register_buffer("w1_turned", self.w1.detach().transpose(1, 2).contiguous(), persistent=False)
        self.register_buffer("w2_turned", self.w2.detach().transpose(1, 2).contiguous(), persistent=False)

    def dense(self, t, p, e):
        share = torch.zeros(t.shape[0], self.n, device=t.device, dtype=t.dtype).scatter(1, e, p)
        h = gated(torch.einsum("td,ehd->eth", t, self.w1))
        return torch.einsum("etd,te->td", torch.bmm(h, self.w2.transpose(1, 2)), share)


class Block(nn.Module):
    def __init__(self, d, mixer, ffn, dropout):
        super().__init__()
        self.norm1, self.main_layer, self.norm2, self.ffn, self.drop = RMSNorm(d), mixer, RMSNorm(d), ffn, nn.Dropout(dropout)

    def forward(self, x):
        x = x + self.drop(self.main_layer(self.norm1(x)))
        return x + self.drop(self.ffn(self.norm2(x)))


class Stack(nn.Module):
    def __init__(self, d, layers, heads, experts, ratio, dropout, mamba=Mamba, attention=Attention):
        super().__init__()
        self.layers = nn.ModuleList(
            Block(d, attention(d, heads) if i % (ratio + 1) == ratio else mamba(d), MoE(d, 4 * d, experts) if i % 2 else SwiGLU(d, 4 * d), dropout)
            for i in range(layers)
        )
        self.norm_f = RMSNorm(d)

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return self.norm_f(x)


class DHCJamba(nn.Module):
    weight_decay = 0.05

    def __init__(self, preset="medium", tokens="pooled", mamba_ratio=7, dropout=0.1, **over):
        super().__init__()
        h = {**PRESETS[preset], **over}
        hidden, self.tokens = h["hidden_dim"], tokens
        self.spatial_encoder = SpatialEncoder(3, hidden)
        self.jamba_model = Stack(4 * hidden, h["num_layers"], h["num_heads"], h["num_experts"], mamba_ratio, dropout)
        self.classifier = classifier(hidden, 10, dropout)

    def forward(self, x):
        x = self.spatial_encoder.cells(x) if self.tokens == "grid" else self.spatial_encoder(x).unsqueeze(1)
        return self.classifier(self.jamba_model(x).mean(1))

    def loss(self, x, target):
        return F.cross_entropy(self(x), target) + sum(m.aux for m in self.modules() if isinstance(m, MoE))


def build(name, sets):
    sets = {k: int(v) if v.isdigit() else float(v) if v.replace(".", "", 1).isdigit() else v for k, v in sets.items()}
    if name.endswith(".dhc"):  # of another family, beside its text
        sys.path.insert(0, os.path.dirname(name))
        import peer

        return peer.FAMILIES[os.path.basename(name)[:-4]](**sets)
    return {"dhc_ssm": DHCSSM, "dhc_jamba": DHCJamba}[name](**sets)


def load(model, weights):
    """weights: tensors by dhcc's names, which has experts one by one."""
    state = {}
    for k in model.state_dict():
        kind = {"w1": "fc1", "w2": "fc2"}.get(k.rsplit(".", 1)[-1])
        if kind and k not in weights:
            place = k.rsplit(".", 1)[0] + ".experts."
            n = sum(w.startswith(place) for w in weights) // 2
            state[k] = torch.stack([weights["%s%d.%s.weight" % (place, i, kind)] for i in range(n)])
        elif k.endswith("num_batches_tracked"):
            state[k] = torch.tensor(0)
        else:
            state[k] = weights[k]
    model.load_state_dict(state)
    return model


def initial(model):
    """Weights drawn for a model, as arrays by name: sizes that make a first step finite."""
    out = {}
    for n, p in model.named_parameters():
        out[n] = (torch.randn(p.shape) * p.shape[-1] ** -0.5 if p.dim() > 1 else torch.ones(p.shape) if "norm" in n else torch.zeros(p.shape)).numpy()
    return out


def set_form(model, form):
    for m in model.modules():
        if isinstance(m, MoE):
            m.form = form
            if form == "turned":
                m.turn()
    return model


def has_experts(model):
    return any(isinstance(m, MoE) for m in model.modules())


def optimizer(model, **options):
    """What dhcc decays: matrices and convolutions, not norms, biases, or Mamba's A and D."""
    named = list(model.named_parameters())
    plain = [p for n, p in named if p.dim() < 2 or n.endswith("A_log")]
    decayed = [p for n, p in named if not (p.dim() < 2 or n.endswith("A_log"))]
    return torch.optim.AdamW([{"params": decayed, "weight_decay": model.weight_decay}, {"params": plain, "weight_decay": 0.0}], lr=1e-3, fused=True, **options)
