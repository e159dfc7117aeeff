"""The models beside this file in PyTorch, parameters under dhcc's names; bench/peers/compare runs them. By itself processor time of training
steps on one thread, eager:

  python bench/models/peer.py resnet|vit|convnext BATCH STEPS

The same step as `bench_step bench/models/NAME.dhc train BATCH STEPS 1`: 3x32x32 images, cross-entropy, clipping, AdamW (fused)."""
import os
import sys
import time

import torch
import torch.nn as nn
import torch.nn.functional as F

sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "peers"))
from models import Attention, Mamba, MoE, RMSNorm, SwiGLU  # noqa: E402


class BasicBlock(nn.Module):
    def __init__(self, c, o, stride=1):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(c, o, 3, stride, 1, bias=False), nn.BatchNorm2d(o)
        self.conv2, self.bn2 = nn.Conv2d(o, o, 3, 1, 1, bias=False), nn.BatchNorm2d(o)
        other = stride != 1 or c != o
        self.shortcut = nn.Sequential(nn.Conv2d(c, o, 1, stride, bias=False), nn.BatchNorm2d(o)) if other else nn.Identity()

    def forward(self, x):
        return F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))) + self.shortcut(x))


class Classifier(nn.Module):
    weight_decay = 0.01

    def loss(self, x, target):
        logits = self(x)
        return F.cross_entropy(logits.flatten(0, -2) if logits.dim() == 3 else logits, target.flatten() if target.dim() == 2 else target)


class ResNet(Classifier):
    def __init__(self, width=64):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width)
        c = width
        for stage in range(4):
            o = width << stage
            self.add_module("layer%d" % (stage + 1), nn.Sequential(BasicBlock(c, o, 2 if stage else 1), BasicBlock(o, o)))
            c = o
        self.fc = nn.Linear(c, 10)

    def forward(self, x):
        x = self.layer2(self.layer1(F.relu(self.bn1(self.conv1(x)))))
        return self.fc(self.layer4(self.layer3(x)).mean((2, 3)))


class ViTBlock(nn.Module):
    def __init__(self, d, heads):
        super().__init__()
        self.heads = heads
        self.norm1, self.qkv, self.proj = nn.LayerNorm(d), nn.Linear(d, 3 * d), nn.Linear(d, d)
        self.norm2, self.fc1, self.fc2 = nn.LayerNorm(d), nn.Linear(d, 4 * d), nn.Linear(4 * d, d)

    def forward(self, x):
        b, l, d = x.shape
        q, k, v = self.qkv(self.norm1(x)).reshape(b, l, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        x = x + self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, l, d))
        return x + self.fc2(F.gelu(self.fc1(self.norm2(x))))


class ViT(Classifier):
    def __init__(self, d=192, depth=6, heads=3, patch=4, tokens=64):
        super().__init__()
        self.patches, self.position = nn.Conv2d(3, d, patch, patch), nn.Parameter(torch.randn(tokens, d) * 0.02)
        self.blocks = nn.Sequential(*[ViTBlock(d, heads) for _ in range(depth)])
        self.norm, self.head = nn.LayerNorm(d), nn.Linear(d, 10)

    def forward(self, x):
        return self.head(self.norm(self.blocks(self.patches(x).flatten(2).transpose(1, 2) + self.position)).mean(1))


def rotate(x, base=10000.0):
    half = x.shape[-1] // 2
    angle = torch.arange(x.shape[-2])[:, None] * base ** (-torch.arange(half) / half)
    c, s, a, b = angle.cos(), angle.sin(), x[..., 0::2], x[..., 1::2]
    return torch.stack((a * c - b * s, a * s + b * c), -1).flatten(-2)


class GPTBlock(nn.Module):
    def __init__(self, d, heads):
        super().__init__()
        self.heads = heads
        self.ln_1, self.qkv, self.proj = nn.LayerNorm(d), nn.Linear(d, 3 * d), nn.Linear(d, d)
        self.ln_2, self.fc1, self.fc2 = nn.LayerNorm(d), nn.Linear(d, 4 * d), nn.Linear(4 * d, d)

    def forward(self, x):
        b, l, d = x.shape
        q, k, v = self.qkv(self.ln_1(x)).reshape(b, l, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        x = x + self.proj(F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(b, l, d))
        return x + self.fc2(F.gelu(self.fc1(self.ln_2(x)), approximate="tanh"))


class GPT2(Classifier):
    def __init__(self, vocabulary=8192, d=384, depth=6, heads=6, max_len=1024):
        super().__init__()
        self.wte, self.position = nn.Embedding(vocabulary, d), nn.Parameter(torch.randn(max_len, d) * 0.02)
        self.blocks, self.norm = nn.Sequential(*[GPTBlock(d, heads) for _ in range(depth)]), nn.LayerNorm(d)

    def forward(self, tokens):
        return self.norm(self.blocks(self.wte(tokens) + self.position[: tokens.shape[1]])) @ self.wte.weight.T


class LlamaAttention(nn.Module):
    def __init__(self, d, heads, kv):
        super().__init__()
        self.size = d // heads
        self.q_proj, self.out_proj = nn.Linear(d, d, bias=False), nn.Linear(d, d, bias=False)
        self.k_proj, self.v_proj = nn.Linear(d, kv * self.size, bias=False), nn.Linear(d, kv * self.size, bias=False)

    def forward(self, x):
        q, k, v = (p(x).unflatten(-1, (-1, self.size)).transpose(1, 2) for p in (self.q_proj, self.k_proj, self.v_proj))
        return self.out_proj(F.scaled_dot_product_attention(rotate(q), rotate(k), v, is_causal=True, enable_gqa=True).transpose(1, 2).flatten(2))


class LlamaBlock(nn.Module):
    def __init__(self, d, heads, kv, inner):
        super().__init__()
        self.norm1, self.attention = nn.RMSNorm(d, 1e-6), LlamaAttention(d, heads, kv)
        self.norm2, self.ffn = nn.RMSNorm(d, 1e-6), SwiGLU(d, inner)

    def forward(self, x):
        x = x + self.attention(self.norm1(x))
        return x + self.ffn(self.norm2(x))


class Llama(Classifier):
    def __init__(self, vocabulary=8192, d=384, depth=6, heads=6, kv=2, inner=1024):
        super().__init__()
        self.embedding, self.blocks = nn.Embedding(vocabulary, d), nn.Sequential(*[LlamaBlock(d, heads, kv, inner) for _ in range(depth)])
        self.norm, self.head = nn.RMSNorm(d, 1e-6), nn.Linear(d, vocabulary, bias=False)

    def forward(self, tokens):
        return self.head(self.norm(self.blocks(self.embedding(tokens))))


class ChannelNorm(nn.Module):
    def __init__(self, d):
        super().__init__()
        self.norm = nn.LayerNorm(d, 1e-6)

    def forward(self, x):
        return self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class ConvNeXtBlock(nn.Module):
    def __init__(self, d):
        super().__init__()
        self.dwconv, self.norm = nn.Conv2d(d, d, 7, padding=3, groups=d), nn.LayerNorm(d, 1e-6)
        self.fc1, self.fc2, self.scale = nn.Linear(d, 4 * d), nn.Linear(4 * d, d), nn.Parameter(torch.full((d,), 0.1))

    def forward(self, x):
        z = self.norm(self.dwconv(x).permute(0, 2, 3, 1))
        return x + (self.fc2(F.gelu(self.fc1(z))) * self.scale).permute(0, 3, 1, 2)


class Stage(nn.Module):
    def __init__(self, c, d, depth):
        super().__init__()
        if c != d:
            self.norm, self.conv = ChannelNorm(c), nn.Conv2d(c, d, 2, 2)
        self.wider, self.blocks = c != d, nn.Sequential(*[ConvNeXtBlock(d) for _ in range(depth)])

    def forward(self, x):
        return self.blocks(self.conv(self.norm(x)) if self.wider else x)


class ConvNeXt(Classifier):
    def __init__(self, d=40, depth=2, long=6):
        super().__init__()
        self.stem, self.stem_norm = nn.Conv2d(3, d, 4, 4), ChannelNorm(d)
        self.stages = nn.Sequential(Stage(d, d, depth), Stage(d, 2 * d, depth), Stage(2 * d, 4 * d, long), Stage(4 * d, 8 * d, depth))
        self.norm, self.head = nn.LayerNorm(8 * d, 1e-6), nn.Linear(8 * d, 10)

    def forward(self, x):
        return self.head(self.norm(self.stages(self.stem_norm(self.stem(x))).mean((2, 3))))


class Twice(nn.Module):
    def __init__(self, c, o):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(c, o, 3, padding=1, bias=False), nn.BatchNorm2d(o)
        self.conv2, self.bn2 = nn.Conv2d(o, o, 3, padding=1, bias=False), nn.BatchNorm2d(o)

    def forward(self, x):
        return F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))))


class UNet(Classifier):
    def __init__(self, width=32, classes=10):
        super().__init__()
        w = width
        self.down0, self.down1, self.down2, self.bottom = Twice(3, w), Twice(w, 2 * w), Twice(2 * w, 4 * w), Twice(4 * w, 8 * w)
        self.wider2, self.up2 = nn.ConvTranspose2d(8 * w, 4 * w, 2, 2), Twice(8 * w, 4 * w)
        self.wider1, self.up1 = nn.ConvTranspose2d(4 * w, 2 * w, 2, 2), Twice(4 * w, 2 * w)
        self.wider0, self.up0 = nn.ConvTranspose2d(2 * w, w, 2, 2), Twice(2 * w, w)
        self.head = nn.Conv2d(w, classes, 1)

    def forward(self, x):
        a = self.down0(x)
        b = self.down1(F.max_pool2d(a, 2))
        c = self.down2(F.max_pool2d(b, 2))
        x = self.bottom(F.max_pool2d(c, 2))
        x = self.up2(torch.cat([c, self.wider2(x)], 1))
        x = self.up1(torch.cat([b, self.wider1(x)], 1))
        return self.head(self.up0(torch.cat([a, self.wider0(x)], 1)))


class GRULayer(nn.Module):
    """nn.GRU of one layer by the op behind it: torch.compile does not take a class made of the module."""

    def __init__(self, d_in, d):
        super().__init__()
        self.weight_ih_l0, self.weight_hh_l0 = nn.Parameter(torch.empty(3 * d, d_in).uniform_(-(d**-0.5), d**-0.5)), nn.Parameter(torch.empty(3 * d, d).uniform_(-(d**-0.5), d**-0.5))
        self.bias_ih_l0, self.bias_hh_l0 = nn.Parameter(torch.zeros(3 * d)), nn.Parameter(torch.zeros(3 * d))

    def forward(self, x):
        weights = [self.weight_ih_l0, self.weight_hh_l0, self.bias_ih_l0, self.bias_hh_l0]
        return torch.gru(x, x.new_zeros(1, x.shape[0], self.weight_hh_l0.shape[1]), weights, True, 1, 0.0, self.training, False, True)[0]


class GRU(Classifier):
    def __init__(self, vocabulary=256, d=256, depth=2):
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, d)
        self.layers, self.head = nn.Sequential(*[GRULayer(d, d) for _ in range(depth)]), nn.Linear(d, vocabulary)

    def forward(self, tokens):
        return self.head(self.layers(self.embedding(tokens)))


class Block(nn.Module):
    tokens = "grid"

    def __init__(self, attention="false", experts="false", d=256, vocabulary=32):
        super().__init__()
        self.embedding, self.norm1, self.head = nn.Embedding(vocabulary, d), RMSNorm(d), nn.Linear(d, vocabulary)
        self.main_layer = MoE(d, 4 * d, 8) if experts == "true" else Attention(d, 8) if attention == "true" else Mamba(d)

    def forward(self, tokens):
        x = self.embedding(tokens)
        return self.head(x + self.main_layer(self.norm1(x)))


class Actor(nn.Module):
    def __init__(self, observation=17, actions=6, d=64):
        super().__init__()
        self.policy1, self.policy2, self.mean = nn.Linear(observation, d), nn.Linear(d, d), nn.Linear(d, actions)
        self.value1, self.value2, self.value = nn.Linear(observation, d), nn.Linear(d, d), nn.Linear(d, 1)

    def forward(self, image):
        x = image.flatten(1)
        return torch.cat([self.mean(torch.tanh(self.policy2(torch.tanh(self.policy1(x))))), self.value(torch.tanh(self.value2(torch.tanh(self.value1(x)))))], -1)


FAMILIES = {"actor": Actor, "block": Block, "resnet": ResNet, "vit": ViT, "gpt2": GPT2, "llama": Llama, "convnext": ConvNeXt, "unet": UNet, "gru": GRU}


def main():
    torch.set_num_threads(1)
    model = FAMILIES[sys.argv[1]]()
    batch, steps = int(sys.argv[2]), int(sys.argv[3])
    x, target = torch.randn(batch, 3, 32, 32), torch.randint(0, 10, (batch,))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0.01, fused=True)
    times = []
    for _ in range(2 + steps):
        t = time.thread_time()
        optimizer.zero_grad()
        F.cross_entropy(model(x), target).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        times.append((time.thread_time() - t) * 1e3)
    times = sorted(times[2:])
    print("%s, batch %d: least %.1f ms, median %.1f ms of processor time" % (sys.argv[1], batch, times[0], times[len(times) // 2]))


if __name__ == "__main__":
    main()
