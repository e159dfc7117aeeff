"""Times PyTorch on a model that bench_step times in dhcc: a training step (forward, backward,
clipping, AdamW) or a forward pass. One JSON line; eager unless --compile.

    python3 bench/peers/torch_step.py dhc_jamba --preset medium --batch 16 --threads 2 --repeat 30
"""
import argparse
import json
import time

import torch
import torch.nn.functional as F

from models import build


def main():
    p = argparse.ArgumentParser()
    p.add_argument("model", choices=["dhc_ssm", "dhc_jamba"])
    p.add_argument("--preset", default="medium")
    p.add_argument("--tokens", default="pooled", choices=["pooled", "grid"])
    p.add_argument("--batch", type=int, default=16)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--repeat", type=int, default=30)
    p.add_argument("--forward", action="store_true", help="inference forward only")
    p.add_argument("--compile", action="store_true", help="through torch.compile")
    p.add_argument("--cpu-time", action="store_true", help="processor time of all threads instead of wall time")
    a = p.parse_args()
    torch.set_num_threads(a.threads)
    torch.manual_seed(0)
    model = build(a.model, a.preset, a.tokens).train(not a.forward)
    run = torch.compile(model) if a.compile else model
    params = list(model.parameters())
    opt = torch.optim.AdamW(params, lr=1e-3)
    x, y = torch.randn(a.batch, 3, 32, 32), torch.randint(0, 10, (a.batch,))

    def step():
        if a.forward:
            with torch.inference_mode():
                run(x)
            return
        opt.zero_grad(set_to_none=True)
        F.cross_entropy(run(x), y).backward()
        torch.nn.utils.clip_grad_norm_([q for q in params if q.grad is not None], 1.0)
        opt.step()

    times = []
    clock = time.process_time if a.cpu_time else time.perf_counter
    for i in range(a.repeat + 5):
        t = clock()
        step()
        if i >= 5:
            times.append((clock() - t) * 1e3)
    times.sort()
    print(json.dumps({"torch": torch.__version__, "parameters": sum(q.numel() for q in params),
                      "median_ms": times[len(times) // 2], "min_ms": times[0], "max_ms": times[-1]}))


main()
