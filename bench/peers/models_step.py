"""One token of the DHC-Jamba stack in PyTorch, as an expert would write it for deployment: state in, state out, no
control flow. Sizes are medium's unless told; attention is causal and keeps a window of keys, as a stream that never ends must.

Tensors of the state, block by block: of Mamba the last inputs of its convolution and h; of attention keys and values, not
rotated yet (positions count from the first row: only differences matter), and how many of them there are."""
import torch
import torch.nn.functional as F

import models
from presets import STACK

WINDOW = STACK["window"]


class Mamba(models.Mamba):
    def state(self):
        return [torch.zeros(1, self.conv1d.weight.shape[-1] - 1, self.inner), torch.zeros(1, self.inner, self.n)]

    def step(self, x, window, h):
        u, z = self.in_proj(x).chunk(2, -1)
        rows = torch.cat((window, u.unsqueeze(1)), 1)
        u = F.silu((rows * self.conv1d.weight[:, 0].T).sum(1) + self.conv1d.bias)
        dt, b, c = self.x_proj(u).split([self.rank, self.n, self.n], -1)
        dt = F.softplus(self.dt_proj(dt))
        h = torch.exp(dt.unsqueeze(-1) * self.decay) * h + (dt * u).unsqueeze(-1) * b.unsqueeze(1)
        y = (h * c.unsqueeze(1)).sum(-1) + u * self.D
        return self.out_proj(y * F.silu(z)), [rows[:, 1:], h]

    def freeze(self):
        """What does not change from step to step is computed once."""
        self.register_buffer("decay", -torch.exp(self.A_log.detach()))


class Attention(models.Attention):
    def state(self):
        kept = (1, self.heads, WINDOW - 1, self.q_proj.weight.shape[0] // self.heads)
        return [torch.zeros(kept), torch.zeros(kept), torch.zeros(1)]

    def step(self, x, keys, values, seen):
        q, k, v = (p(x).view(1, self.heads, 1, -1) for p in (self.q_proj, self.k_proj, self.v_proj))
        k, v = torch.cat((keys, k), 2), torch.cat((values, v), 2)
        mask = torch.where(self.row >= WINDOW - 1 - seen, 0.0, float("-inf")).view(1, 1, 1, WINDOW)
        last = slice(WINDOW - 1, WINDOW)
        s = (self.turned(q, last) @ self.turned(k, slice(0, WINDOW)).transpose(2, 3)) * q.shape[-1] ** -0.5 + mask
        y = self.out_proj((torch.softmax(s, -1) @ v).flatten(1))
        return y, [k[:, :, 1:], v[:, :, 1:], torch.clamp(seen + 1.0, max=WINDOW - 1.0)]

    def turned(self, x, rows):
        a, b = x[..., 0::2], x[..., 1::2]
        c, s = self.cos[rows], self.sin[rows]
        return torch.stack((a * c - b * s, a * s + b * c), -1).flatten(-2)

    def freeze(self):
        self.register_buffer("row", torch.arange(WINDOW, dtype=torch.float32))


class Step(models.Stack):
    """step(x, *state) -> (y, *state); x and y are [1, d]."""

    def __init__(self):
        s = STACK
        super().__init__(s["d_model"], s["num_layers"], s["num_heads"], s["num_experts"], s["mamba_ratio"], 0.0, mamba=Mamba, attention=lambda d, h: Attention(d, h, s["window"]))

    def state(self):
        return [t for block in self.layers for t in block.main_layer.state()]

    def forward(self, x, *state):
        new, at = [], 0
        for block in self.layers:
            n = 3 if isinstance(block.main_layer, Attention) else 2
            y, s = block.main_layer.step(block.norm1(x), *state[at:at + n])
            x = x + y
            x = x + block.ffn(block.norm2(x))
            new, at = new + s, at + n
        return (self.norm_f(x), *new)


def load(weights):
    model = models.load(Step(), {k: torch.from_numpy(v) for k, v in weights.items()}).eval()
    for block in model.layers:
        block.main_layer.freeze()
    return model.requires_grad_(False)
