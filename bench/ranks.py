#!/usr/bin/env python3
"""Training on several GPUs of one machine against one: examples a second of `dhcc train --gpus N`, and of PyTorch's
DistributedDataParallel with the same model (bench/peers), in turns.

  bench/ranks.py DHCC [--gpus 2] [--turns 2] [--steps 60] [--case medium-64 ...] [--no-peer]

A batch is 128 a GPU. A step's time is the median of those behind the first third, read off metrics.csv; the peer's the same by
its own clock. One JSON line a measurement, then a table in Markdown. NCCL is looked for where the linker does, or DHC_LIBNCCL."""
import argparse
import csv
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
PER_GPU = 128
CASES = {
    "medium-64": {"preset": "medium", "tokens": "grid", "dropout": "0.0"},
    "large-64": {"preset": "large", "tokens": "grid", "dropout": "0.0"},
    "large": {"preset": "large", "dropout": "0.0"},
}


def make_data(folder, n):
    import numpy

    os.makedirs(os.path.join(folder, "train"))
    draw = numpy.random.default_rng(0)
    numpy.save(os.path.join(folder, "train", "image.npy"), draw.integers(0, 256, (n, 3, 32, 32), dtype=numpy.uint8))
    numpy.save(os.path.join(folder, "train", "target.npy"), draw.integers(0, 10, n))


def of_dhcc(dhcc, case, gpus, steps, data, more=()):
    sets = CASES[case]
    out = tempfile.mkdtemp()
    line = [dhcc, "train", "dhc_jamba", "--preset", sets["preset"], "--data", "npy:" + data, "--out", out, "--overwrite", "--quiet", "--backend", "cuda",
            "--batch", str(PER_GPU * gpus), "--steps", str(steps), "--val-fraction", "0", "--compute", "tf32", "--no-augment", *more]
    for k, v in sets.items():
        if k != "preset":
            line += ["--set", "%s=%s" % (k, v)]
    if gpus > 1:
        line += ["--gpus", str(gpus)]
    done = subprocess.run(line, capture_output=True, text=True)
    if done.returncode:
        sys.exit("%s: %d: %s" % (" ".join(line), done.returncode, done.stderr))
    at = [float(r["time_s"]) for r in csv.DictReader(open(os.path.join(out, "metrics.csv")))][:steps]
    shutil.rmtree(out)
    return median_step(at)


def median_step(at):
    """at: seconds at which steps were done. Validation and checkpoints of an epoch's end are no steps: the median leaves them out."""
    tail = at[len(at) // 3:]
    return statistics.median(b - a for a, b in zip(tail, tail[1:]))


def peer_rank(rank, gpus, case, steps, port, result):
    import torch
    import torch.distributed as dist

    sys.path.insert(0, os.path.join(HERE, "peers"))
    import models

    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    torch.cuda.set_device(rank)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    at = torch.device("cuda", rank)
    torch.manual_seed(0)
    model = models.build("dhc_jamba", CASES[case]).to(at).train()
    models.set_form(model, "dense")  # no waiting for the host, every weight takes part: what scales best
    call = model.loss
    if gpus > 1:
        dist.init_process_group("nccl", rank=rank, world_size=gpus)

        class Loss(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.model = model

            def forward(self, x, target):
                return self.model.loss(x, target)

        call = torch.nn.parallel.DistributedDataParallel(Loss(), device_ids=[rank], gradient_as_bucket_view=True, static_graph=True)
    adam = models.optimizer(model)
    x = torch.randn(PER_GPU, 3, 32, 32, device=at)
    target = torch.randint(0, 10, (PER_GPU,), device=at)
    done = []
    for _ in range(steps):
        adam.zero_grad(set_to_none=True)
        loss = call(x, target)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0, foreach=True)
        adam.step()
        torch.cuda.synchronize()
        done.append(time.perf_counter())
    if rank == 0:
        result.put(median_step(done))
    if gpus > 1:
        dist.destroy_process_group()


def of_peer(case, gpus, steps):
    import torch.multiprocessing as mp

    spawn = mp.get_context("spawn")
    result = spawn.SimpleQueue()
    ranks = [spawn.Process(target=peer_rank, args=(r, gpus, case, steps, 29500 + os.getpid() % 1000, result)) for r in range(gpus)]
    for r in ranks:
        r.start()
    for r in ranks:
        r.join()
    return result.get() if not ranks[0].exitcode else float("nan")


def main():
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("dhcc")
    ask.add_argument("--gpus", type=int, default=2)
    ask.add_argument("--turns", type=int, default=2)
    ask.add_argument("--steps", type=int, default=60)
    ask.add_argument("--case", action="append", choices=list(CASES))
    ask.add_argument("--no-peer", action="store_true")
    ask.add_argument("--more", action="append", default=[], help="a further option of dhcc train")
    o = ask.parse_args()
    data = os.path.join(tempfile.mkdtemp(), "data")
    make_data(data, PER_GPU * o.gpus * 20)
    best = {}
    for turn in range(o.turns):
        for case in o.case or CASES:
            for who in ["dhcc"] + ["DDP"] * (not o.no_peer):
                for gpus in (1, o.gpus):
                    s = of_dhcc(o.dhcc, case, gpus, o.steps, data, o.more) if who == "dhcc" else of_peer(case, gpus, o.steps)
                    best[case, who, gpus] = min(s, best.get((case, who, gpus), 1e9))
                    print(json.dumps({"case": case, "who": who, "gpus": gpus, "turn": turn, "ms": 1e3 * s, "examples_s": PER_GPU * gpus / s}), flush=True)
    shutil.rmtree(os.path.dirname(data))
    print("\n| case | who | 1 GPU, ms | %d GPUs, ms | examples/s | times one GPU's |\n| --- | --- | --- | --- | --- | --- |" % o.gpus)
    for case, who in dict.fromkeys((c, w) for c, w, _ in best):
        one, all_ = best[case, who, 1], best[case, who, o.gpus]
        print("| %s | %s | %.3f | %.3f | %.0f | %.3f |" % (case, who, 1e3 * one, 1e3 * all_, PER_GPU * o.gpus / all_, o.gpus * one / all_))


if __name__ == "__main__":
    main()
