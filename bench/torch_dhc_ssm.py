"""DHC-SSM in PyTorch eager: the training step that bench/step measures dhcc against.

Prints the median milliseconds of a step (forward, backward, clipping, AdamW) as JSON.
    python3 bench/torch_dhc_ssm.py --batch 16 --threads 2 --repeat 30
"""
import argparse
import json
import time

import torch
import torch.nn as nn
import torch.nn.functional as F


class Encoder(nn.Module):
    def __init__(self, c, h):
        super().__init__()
        self.conv1 = nn.Conv2d(c, h, 3, padding=1)
        self.conv2 = nn.Conv2d(h, 2 * h, 3, padding=1)
        self.conv3 = nn.Conv2d(2 * h, 4 * h, 3, padding=1)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        return F.relu(self.conv3(x)).mean((2, 3))


class SSM(nn.Module):
    def __init__(self, d, s):
        super().__init__()
        self.A, self.B = nn.Parameter(torch.randn(s, s) * 0.02), nn.Parameter(torch.randn(s, d) * 0.05)
        self.C, self.D = nn.Parameter(torch.randn(d, s) * 0.05), nn.Parameter(torch.randn(d, d) * 0.05)

    def forward(self, x):
        return torch.tanh(x @ self.B.T) @ self.C.T + x @ self.D.T


class Model(nn.Module):
    def __init__(self, c=3, h=64, s=64, out=10):
        super().__init__()
        self.spatial_encoder, self.temporal_ssm = Encoder(c, h), SSM(4 * h, s)
        self.classifier = nn.Sequential(nn.Linear(4 * h, 2 * h), nn.ReLU(), nn.Dropout(0.3), nn.Linear(2 * h, out))

    def forward(self, x):
        return self.classifier(self.temporal_ssm(self.spatial_encoder(x)))


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--batch", type=int, default=16)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--repeat", type=int, default=30)
    p.add_argument("--hidden", type=int, default=64)
    p.add_argument("--cpu-time", action="store_true", help="processor time of all threads instead of wall time")
    p.add_argument("--forward", action="store_true", help="inference forward only")
    a = p.parse_args()
    torch.set_num_threads(a.threads)
    torch.manual_seed(0)
    model = Model(h=a.hidden)
    opt = torch.optim.AdamW(model.parameters(), lr=1e-3)
    x, y = torch.randn(a.batch, 3, 32, 32), torch.randint(0, 10, (a.batch,))

    def step():
        if a.forward:
            with torch.no_grad():
                model(x)
            return
        opt.zero_grad()
        F.cross_entropy(model(x), y).backward()
        torch.nn.utils.clip_grad_norm_([q for q in model.parameters() if q.grad is not None], 1.0)
        opt.step()

    model.train(not a.forward)
    times = []
    clock = time.process_time if a.cpu_time else time.perf_counter
    for i in range(a.repeat + 5):
        t = clock()
        step()
        if i >= 5:
            times.append((clock() - t) * 1e3)
    times.sort()
    print(json.dumps({"torch": torch.__version__, "median_ms": times[len(times) // 2], "min_ms": times[0], "max_ms": times[-1]}))


main()
