"""DHC-SSM and DHC-Jamba in PyTorch, as an expert would write them without kernels of his own.

The Jamba stack follows models/layers/: pre-norm blocks, Mamba with one step a token (length 1
skips the loop), attention through scaled_dot_product_attention where there is one, experts that
compute only the tokens routed to them.
"""
import math

import torch
import torch.nn as nn
import torch.nn.functional as F


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
        self.A, self.B = nn.Parameter(torch.randn(s, s) * 0.02), nn.Parameter(torch.randn(s, d) * 0.05)
        self.C, self.D = nn.Parameter(torch.randn(d, s) * 0.05), nn.Parameter(torch.randn(d, d) * 0.05)

    def forward(self, x):
        return torch.tanh(x @ self.B.T) @ self.C.T + x @ self.D.T


class DHCSSM(nn.Module):
    def __init__(self, channels=3, hidden=64, state=64, classes=10):
        super().__init__()
        self.spatial_encoder, self.temporal_ssm = SpatialEncoder(channels, hidden), TemporalSSM(4 * hidden, state)
        self.classifier = nn.Sequential(nn.Linear(4 * hidden, 2 * hidden), nn.ReLU(), nn.Dropout(0.3), nn.Linear(2 * hidden, classes))

    def forward(self, x):
        return self.classifier(self.temporal_ssm(self.spatial_encoder(x)))


class RMSNorm(nn.Module):
    def __init__(self, d):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(d))

    def forward(self, x):
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6) * self.weight


class Mamba(nn.Module):
    def __init__(self, d, n=16, taps=4):
        super().__init__()
        self.inner, self.n, self.rank, self.taps = 2 * d, n, math.ceil(d / 16), taps
        self.in_proj = nn.Linear(d, 2 * self.inner, bias=False)
        self.conv1d = nn.Conv1d(self.inner, self.inner, taps, groups=self.inner, padding=taps - 1)
        self.x_proj = nn.Linear(self.inner, self.rank + 2 * n, bias=False)
        self.dt_proj = nn.Linear(self.rank, self.inner)
        self.A_log = nn.Parameter(torch.log(torch.arange(1, n + 1.0)).repeat(self.inner, 1))
        self.D = nn.Parameter(torch.ones(self.inner))
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
        self.heads, self.size = heads, d // heads
        self.q_proj, self.k_proj, self.v_proj, self.out_proj = (nn.Linear(d, d, bias=False) for _ in range(4))
        angle = torch.arange(max_len)[:, None] * 10000.0 ** (-torch.arange(self.size // 2) / (self.size // 2))
        self.register_buffer("cos", angle.cos(), persistent=False)
        self.register_buffer("sin", angle.sin(), persistent=False)

    def rotate(self, x):
        a, b = x[..., 0::2], x[..., 1::2]
        c, s = self.cos[: x.shape[2]], self.sin[: x.shape[2]]
        return torch.stack((a * c - b * s, a * s + b * c), -1).flatten(-2)

    def forward(self, x):
        q, k, v = (p(x).unflatten(-1, (self.heads, self.size)).transpose(1, 2) for p in (self.q_proj, self.k_proj, self.v_proj))
        q, k = self.rotate(q), self.rotate(k)
        if hasattr(F, "scaled_dot_product_attention"):
            o = F.scaled_dot_product_attention(q, k, v)
        else:
            o = torch.softmax(q @ k.transpose(-1, -2) * self.size**-0.5, -1) @ v
        return self.out_proj(o.transpose(1, 2).flatten(2))


class SwiGLU(nn.Module):
    def __init__(self, d, inner):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(d, 2 * inner, bias=False), nn.Linear(inner, d, bias=False)

    def forward(self, x):
        a, b = self.fc1(x).chunk(2, -1)
        return self.fc2(F.silu(a) * b)


class MoE(nn.Module):
    def __init__(self, d, inner, experts, k=2):
        super().__init__()
        self.k, self.gate = k, nn.Linear(d, experts, bias=False)
        self.experts = nn.ModuleList(SwiGLU(d, inner) for _ in range(experts))

    def forward(self, x):
        t = x.flatten(0, -2)
        p, e = torch.softmax(self.gate(t), -1).topk(self.k, -1)
        p = p / p.sum(-1, keepdim=True)
        y = torch.zeros_like(t)
        for i, expert in enumerate(self.experts):
            row, slot = torch.where(e == i)
            if row.numel():
                y = y.index_add(0, row, expert(t[row]) * p[row, slot, None])
        return y.view_as(x)


class Block(nn.Module):
    def __init__(self, d, mixer, ffn):
        super().__init__()
        self.norm1, self.main_layer, self.norm2, self.ffn, self.drop = RMSNorm(d), mixer, RMSNorm(d), ffn, nn.Dropout(0.1)

    def forward(self, x):
        x = x + self.drop(self.main_layer(self.norm1(x)))
        return x + self.drop(self.ffn(self.norm2(x)))


class DHCJamba(nn.Module):
    PRESETS = {"small": (32, 4, 4, 4), "medium": (64, 8, 8, 8), "large": (128, 12, 8, 16)}

    def __init__(self, preset="medium", tokens="pooled", ratio=7, channels=3, classes=10):
        super().__init__()
        hidden, layers, heads, experts = self.PRESETS[preset]
        d, self.tokens = 4 * hidden, tokens
        self.spatial_encoder = SpatialEncoder(channels, hidden)
        self.layers = nn.ModuleList(
            Block(d, Attention(d, heads) if i % (ratio + 1) == ratio else Mamba(d), MoE(d, 4 * d, experts) if i % 2 else SwiGLU(d, 4 * d))
            for i in range(layers)
        )
        self.norm_f = RMSNorm(d)
        self.classifier = nn.Sequential(nn.Linear(d, 2 * hidden), nn.ReLU(), nn.Dropout(0.1), nn.Linear(2 * hidden, classes))

    def forward(self, x):
        x = self.spatial_encoder.cells(x) if self.tokens == "grid" else self.spatial_encoder(x).unsqueeze(1)
        for layer in self.layers:
            x = layer(x)
        return self.classifier(self.norm_f(x).mean(1))


def build(name, preset, tokens):
    return DHCSSM() if name == "dhc_ssm" else DHCJamba(preset, tokens)
