"""The models beside this file in PyTorch eager: processor time of training steps on one thread.

  python bench/models/peer.py resnet|vit BATCH STEPS

The same step as `bench_step bench/models/NAME.dhc train BATCH STEPS 1`: 3x32x32 images, cross-entropy, clipping, AdamW (fused)."""
import sys
import time

import torch
import torch.nn as nn
import torch.nn.functional as F


class BasicBlock(nn.Module):
    def __init__(self, c, o, stride=1):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(c, o, 3, stride, 1, bias=False), nn.BatchNorm2d(o)
        self.conv2, self.bn2 = nn.Conv2d(o, o, 3, 1, 1, bias=False), nn.BatchNorm2d(o)
        other = stride != 1 or c != o
        self.shortcut = nn.Sequential(nn.Conv2d(c, o, 1, stride, bias=False), nn.BatchNorm2d(o)) if other else nn.Identity()

    def forward(self, x):
        return F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))) + self.shortcut(x))


class ResNet(nn.Module):
    def __init__(self, width=64):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width)
        blocks, c = [], width
        for stage in range(4):
            o = width << stage
            blocks += [BasicBlock(c, o, 2 if stage else 1), BasicBlock(o, o)]
            c = o
        self.blocks, self.fc = nn.Sequential(*blocks), nn.Linear(c, 10)

    def forward(self, x):
        return self.fc(self.blocks(F.relu(self.bn1(self.conv1(x)))).mean((2, 3)))


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


class ViT(nn.Module):
    def __init__(self, d=192, depth=6, heads=3, patch=4, tokens=64):
        super().__init__()
        self.patches, self.position = nn.Conv2d(3, d, patch, patch), nn.Parameter(torch.randn(tokens, d) * 0.02)
        self.blocks = nn.Sequential(*[ViTBlock(d, heads) for _ in range(depth)])
        self.norm, self.head = nn.LayerNorm(d), nn.Linear(d, 10)

    def forward(self, x):
        return self.head(self.norm(self.blocks(self.patches(x).flatten(2).transpose(1, 2) + self.position)).mean(1))


def main():
    torch.set_num_threads(1)
    model = {"resnet": ResNet, "vit": ViT}[sys.argv[1]]()
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
