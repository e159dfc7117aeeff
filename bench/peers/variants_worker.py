"""From the request for a variant to its first training step, in a process that has trained the one before:
variants_worker.py PEER THREADS BATCH VARIANT..., VARIANT as KEY=VALUE,KEY=VALUE of dhc_jamba. A JSON line for each, as
bench_start prints them. Initial weights are drawn anew for each; the peer's cache of compiled code is what its
environment says."""
import importlib
import json
import os
import sys
import time
from types import SimpleNamespace


def main():
    peer, threads, batch, *names = sys.argv[1:]
    os.environ["OMP_NUM_THREADS"] = threads
    import numpy as np

    import models

    inputs = {"image": np.random.default_rng(1).standard_normal((int(batch), 3, 32, 32), np.float32), "target": np.arange(int(batch)) % 10}
    module = importlib.import_module(peer)
    for name in names:
        sets = dict(s.split("=") for s in name.split(","))
        t = time.perf_counter()
        job = SimpleNamespace(model="dhc_jamba", train=True, threads=int(threads), device="cpu", folder="", sets=sets, inputs=inputs,
                              weights=models.initial(models.build("dhc_jamba", sets)))
        p = module.open(job)
        p.run()
        total, steps = time.perf_counter() - t, []
        for _ in range(3):
            t = time.perf_counter()
            p.run()
            steps.append(time.perf_counter() - t)
        print(json.dumps({"variant": name, "request_ms": total * 1e3, "step_ms": min(steps) * 1e3, "beyond_ms": (total - min(steps)) * 1e3}), flush=True)


main()
