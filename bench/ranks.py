#!/usr/bin/env python3
"""Training on several GPUs of one machine against one.

  bench/ranks.py DHCC [--gpus 2] [--turns 2] [--steps 60] [--case medium-64 ...] [--no-peer]
      examples a second of `dhcc train --gpus N`, and of PyTorch's DistributedDataParallel with the same model (bench/peers), in turns.
      A batch is 128 a GPU. A step's time is the median of those behind the first third, read off metrics.csv; the peer's the same by
      its own clock
  bench/ranks.py DHCC --curves [--steps 500]
      losses of N GPUs beside one GPU's, beside the same in N parts of each batch one after the other, and each beside its repetition;
      with --alone of one GPU and of the parts
  bench/ranks.py DHCC --kills 10 [--steps 4000]
      kills a rank at so many random moments, goes on each time, and compares the end with that of a run nobody disturbed

One JSON line a measurement, then a table in Markdown. NCCL is looked for where the linker does, in Python's package of it, or in
DHC_LIBNCCL; DHC_RANKS_BACKEND (cuda) and DHC_RANKS_WIDTH (32, at least 11) are for a try without GPUs."""
import argparse
import csv
import glob
import hashlib
import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

BACKEND = os.environ.get("DHC_RANKS_BACKEND", "cuda")
WIDTH = int(os.environ.get("DHC_RANKS_WIDTH", "32"))
HERE = os.path.dirname(os.path.abspath(__file__))
PER_GPU = 128
STILL = ["--lr", "1e-12"]  # weights stay: a step's time hangs on how tokens spread over experts, and that on what was learned
CASES = {
    "medium-64": {"preset": "medium", "tokens": "grid", "dropout": "0.0"},
    "large-64": {"preset": "large", "tokens": "grid", "dropout": "0.0"},
    "large": {"preset": "large", "dropout": "0.0"},
}


def make_data(folder, n):
    """Pictures with a bar whose place is the label, and noise."""
    import numpy

    if WIDTH < 11:
        sys.exit("DHC_RANKS_WIDTH: ten places for a bar need at least 11, got %d" % WIDTH)
    os.makedirs(os.path.join(folder, "train"))
    draw = numpy.random.default_rng(0)
    image, target = draw.integers(0, 96, (n, 3, WIDTH, WIDTH), dtype=numpy.uint8), draw.integers(0, 10, n)
    image[numpy.arange(n), :, :, target * (WIDTH // 10) + 1] += 60
    numpy.save(os.path.join(folder, "train", "image.npy"), image)
    numpy.save(os.path.join(folder, "train", "target.npy"), target)


def find_nccl():
    if "DHC_LIBNCCL" in os.environ:
        return
    for folder in sys.path:
        for at in glob.glob(os.path.join(folder, "nvidia", "nccl", "lib", "libnccl.so.2")):
            os.environ.setdefault("DHC_LIBNCCL", at)


def of_dhcc(dhcc, case, gpus, steps, data, more=()):
    sets = CASES[case]
    out = tempfile.mkdtemp()
    line = [dhcc, "train", "dhc_jamba", "--preset", sets["preset"], "--data", "npy:" + data, "--out", out, "--overwrite", "--quiet", "--backend", BACKEND,
            "--batch", str(PER_GPU * gpus), "--steps", str(steps), "--val-fraction", "0", "--compute", "tf32", "--no-augment", *STILL, *more]
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


# ---- the same training ------------------------------------------------------------------------------------------------

MODELS = {
    "dhc_ssm": ["dhc_ssm"],
    "dhc_ssm, lr 1e-3": ["dhc_ssm", "--lr", "1e-3"],
    "dhc_jamba small": ["dhc_jamba", "--preset", "small"],
}


def train(dhcc, out, model, data, batch, steps, *more, wait=True):
    line = [dhcc, "train", *MODELS[model], "--data", "npy:" + data, "--out", out, "--quiet", "--backend", BACKEND, "--batch", str(batch), "--steps", str(steps),
            "--val-fraction", "0", *more]
    if WIDTH != 32:
        line += ["--set", "hidden_dim=8"]
    if not wait:
        return subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    began = time.time()
    done = subprocess.run(line, capture_output=True, text=True, timeout=300 + steps)
    if done.returncode:
        sys.exit("%s: %d: %s" % (" ".join(line), done.returncode, done.stderr))
    return time.time() - began


def losses(out):
    return [float(r["loss"]) for r in csv.DictReader(open(os.path.join(out, "metrics.csv")))]


def digest(out):
    return hashlib.sha256(open(os.path.join(out, "last.safetensors"), "rb").read()).hexdigest()[:16]


def apart(a, b):
    """Largest relative difference, the first steps beyond 1e-6 and 1e-5, and by what it grows a step between these."""
    by = [abs(x - y) / abs(x) for x, y in zip(a, b)]
    first = {limit: next((i + 1 for i, d in enumerate(by) if d > limit), None) for limit in (1e-6, 1e-5, 1e-4)}
    rate = 100 ** (1 / (first[1e-4] - first[1e-6])) if first[1e-4] and first[1e-4] > first[1e-6] else None
    return {"largest": max(by), "at 100 steps": max(by[:100]), "beyond 1e-6": first[1e-6], "beyond 1e-5": first[1e-5], "times a step, 1e-6 to 1e-4": rate}


def curves(o, data, folder):
    n = str(o.gpus)
    ways = {"one GPU": [], "one GPU again": [], "parts in turn": ["--accumulate", n], "GPUs": ["--gpus", n, "--check-ranks", "50"], "GPUs again": ["--gpus", n]}
    print("| model | runs | bytes of all losses and weights | largest relative difference of losses | of the first 100 | first step beyond 1e-6 | 1e-5 | growth a step |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    if o.alone:
        ways = {way: more for way, more in ways.items() if not way.startswith("GPUs")}
    for model in o.model or MODELS:
        for way, more in ways.items():
            s = train(o.dhcc, os.path.join(folder, way), model, data, PER_GPU * o.gpus, o.steps, "--overwrite", *more)
            print(json.dumps({"model": model, "way": way, "s": s, "weights": digest(os.path.join(folder, way)), "last": losses(os.path.join(folder, way))[-1]}), flush=True)
        for x, y in (("one GPU", "one GPU again"), ("GPUs", "GPUs again"), ("GPUs", "parts in turn"), ("one GPU", "parts in turn"), ("one GPU", "GPUs")):
            if x not in ways or y not in ways:
                continue
            x_, y_ = os.path.join(folder, x), os.path.join(folder, y)
            d = apart(losses(x_), losses(y_))
            same = losses(x_) == losses(y_) and digest(x_) == digest(y_)
            print("| %s | %s, %s | %s | %.2g | %.2g | %s | %s | %s |" % (model, x, y, "equal" if same else "differ", d["largest"], d["at 100 steps"],
                                                                         d["beyond 1e-6"], d["beyond 1e-5"], d["times a step, 1e-6 to 1e-4"]), flush=True)


# ---- kills ----------------------------------------------------------------------------------------------------------------


def children(pid):
    return [int(p) for p in subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True).stdout.split()]


def rows(out):
    try:
        return sum(1 for _ in open(os.path.join(out, "metrics.csv")))
    except OSError:
        return 0


def kills(o, data, folder):
    calm, killed = os.path.join(folder, "calm"), os.path.join(folder, "killed")
    model, batch, draw = "dhc_ssm, lr 1e-3", PER_GPU * o.gpus, random.Random(1)
    more = ["--gpus", str(o.gpus), "--save-every", "150"]
    train(o.dhcc, calm, model, data, batch, o.steps, *more)
    lost = 0
    for i in range(o.kills):
        p = train(o.dhcc, killed, model, data, batch, o.steps, *more, *["--resume"] * (i > 0), wait=False)
        began, before = time.time(), rows(killed)
        aims = before + draw.randrange(2, 2 * o.steps // (o.kills + 2)) if draw.randrange(4) else 0  # now and then while it begins
        wait = draw.uniform(0.05, 1.5)
        while p.poll() is None and (rows(killed) < aims if aims else time.time() < began + wait):
            time.sleep(0.002)
        if p.poll() is not None:
            sys.exit("ended by itself: %d %s" % (p.returncode, p.stderr.read()))
        ranks = children(p.pid)
        while len(ranks) < o.gpus:
            ranks = children(p.pid)
        rank = draw.randrange(o.gpus)
        at = time.time()
        os.kill(sorted(ranks)[rank], signal.SIGKILL)
        text = p.communicate(timeout=60)[1].strip()
        took = time.time() - at
        left = [r for r in ranks if os.path.exists("/proc/%d" % r)]
        print(json.dumps({"kill": i + 1, "rank": rank, "rows": rows(killed) - 1, "status": p.returncode, "says": text, "ended after s": round(took, 2), "left": left}), flush=True)
        if p.returncode != 3 or left or "error: rank %d was ended by signal 9" % rank not in text or text.count("error:") != 1:
            sys.exit("not what was promised")
        lost += 1
    more += ["--resume"]
    train(o.dhcc, killed, model, data, batch, o.steps, *more)
    print("| kills | steps | weights of the run nobody disturbed, and of the one | rows |\n| --- | --- | --- | --- |\n| %d | %d | %s, %s | %d, %d |" %
          (lost, o.steps, digest(calm), digest(killed), rows(calm), rows(killed)))
    if digest(calm) != digest(killed) or losses(calm) != losses(killed):
        sys.exit("a run that was killed ends elsewhere")


def main():
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("dhcc")
    ask.add_argument("--gpus", type=int, default=2)
    ask.add_argument("--turns", type=int, default=2)
    ask.add_argument("--steps", type=int)
    ask.add_argument("--case", action="append", choices=list(CASES))
    ask.add_argument("--no-peer", action="store_true")
    ask.add_argument("--more", action="append", default=[], help="a further option of dhcc train")
    ask.add_argument("--curves", action="store_true")
    ask.add_argument("--alone", action="store_true")
    ask.add_argument("--model", action="append", choices=list(MODELS))
    ask.add_argument("--kills", type=int)
    o = ask.parse_args()
    o.steps = o.steps or (500 if o.curves else 4000 if o.kills else 60)
    find_nccl()
    folder = tempfile.mkdtemp()
    try:
        measure(o, folder)
    finally:
        shutil.rmtree(folder)


def measure(o, folder):
    data = os.path.join(folder, "data")
    make_data(data, PER_GPU * o.gpus * 20)
    if o.curves or o.kills:
        (curves if o.curves else kills)(o, data, folder)
        return
    best = {}
    for turn in range(o.turns):
        for case in o.case or CASES:
            for who in ["dhcc"] + ["DDP"] * (not o.no_peer):
                for gpus in (1, o.gpus):
                    s = of_dhcc(o.dhcc, case, gpus, o.steps, data, o.more) if who == "dhcc" else of_peer(case, gpus, o.steps)
                    best[case, who, gpus] = min(s, best.get((case, who, gpus), 1e9))
                    print(json.dumps({"case": case, "who": who, "gpus": gpus, "turn": turn, "ms": 1e3 * s, "examples_s": PER_GPU * gpus / s}), flush=True)
    print("\n| case | who | 1 GPU, ms | %d GPUs, ms | examples/s | times one GPU's |\n| --- | --- | --- | --- | --- | --- |" % o.gpus)
    for case, who in dict.fromkeys((c, w) for c, w, _ in best):
        one, all_ = best[case, who, 1], best[case, who, o.gpus]
        print("| %s | %s | %.3f | %.3f | %.0f | %.3f |" % (case, who, 1e3 * one, 1e3 * all_, PER_GPU * o.gpus / all_, o.gpus * one / all_))


if __name__ == "__main__":
    main()
