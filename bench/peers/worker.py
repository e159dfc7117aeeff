"""A peer in a process of its own: worker.py PEER MODEL run|train THREADS[,DEVICE] FOLDER [KEY=VALUE...]

PEER is a module beside this file with `open(job)`, which returns an object with
  run()       one forward pass or one training step
  output()    what run() gave last: logits as a NumPy array, or the loss as a number
  versions    of the libraries, by name; `note`: what was chosen, or "".
and perhaps `prepare(job)`, which makes files in the folder beforehand, in a process of its own (--prepare).
Files, checks and answers are those of dhcc.c: inputs.safetensors and weights.safetensors are read, PEER.safetensors is
written; then one JSON line, and for every line "SECONDS" on stdin a line of milliseconds and "cpu".
"""
import importlib
import json
import os
import subprocess
import sys
import time
from types import SimpleNamespace

CHECKED_STEPS = 3


def deployed(p, job):
    """How many files a program needs beside itself, and their bytes: those of the libraries named in versions, without what
    these need in turn, and the model's own (`files` of the peer)."""
    import importlib.metadata

    sizes = [os.path.getsize(f) for f in getattr(p, "files", [])]
    for name in p.versions:
        try:
            found = importlib.metadata.files(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue
        sizes += [os.path.getsize(f.locate()) for f in found if not f.name.endswith(".pyc") and os.path.exists(f.locate())]
    return {"files": len(sizes), "bytes": sum(sizes), "weights_bytes": sum(w.nbytes for w in job.weights.values())}


def since_start():
    """Milliseconds since this process began, to a hundredth of a second: interpreter and libraries are in it."""
    with open("/proc/self/stat") as f, open("/proc/uptime") as up:
        return (float(up.read().split()[0]) - int(f.read().rsplit(")", 1)[1].split()[19]) / os.sysconf("SC_CLK_TCK")) * 1e3


def main():
    preparing = sys.argv[-1] == "--prepare"
    peer, model, mode, on, folder, *sets = sys.argv[1:-1] if preparing else sys.argv[1:]
    threads, _, device = on.partition(",")
    os.environ["OMP_NUM_THREADS"] = threads  # before any library is loaded
    import numpy as np
    from safetensors.numpy import load_file, save_file

    job = SimpleNamespace(model=model, train=mode == "train", threads=int(threads), device=device or "cpu", folder=folder,
                          sets=dict(s.split("=", 1) for s in sets), inputs=load_file(folder + "/inputs.safetensors"),
                          weights=load_file(folder + "/weights.safetensors"))
    module = importlib.import_module(peer)
    if preparing:
        module.prepare(job)
        return
    if hasattr(module, "prepare"):
        failed = subprocess.run([sys.executable, *sys.argv, "--prepare"]).returncode  # which has said why
        if failed:
            sys.exit(failed)
    began = time.perf_counter()
    p = module.open(job)
    opened = time.perf_counter()
    p.run()
    first = time.perf_counter() - opened
    start = since_start()
    if job.train:
        losses = [float(p.output())]
        for _ in range(CHECKED_STEPS - 1):
            p.run()
            losses.append(float(p.output()))
        save_file({"losses": np.array(losses, np.float32)}, "%s/%s.safetensors" % (folder, peer))
    else:
        save_file({"logits": np.ascontiguousarray(p.output(), np.float32)}, "%s/%s.safetensors" % (folder, peer))
    print(json.dumps({"ready": True, "versions": p.versions, "note": p.note, "open_ms": (opened - began) * 1e3, "first_ms": first * 1e3, "start_ms": start, "deploy": deployed(p, job)}), flush=True)
    for line in sys.stdin:
        cpu, end, ms = time.process_time(), time.perf_counter() + float(line), []
        while len(ms) < 3 or (time.perf_counter() < end and len(ms) < 4096):
            t = time.perf_counter()
            p.run()
            ms.append((time.perf_counter() - t) * 1e3)
        print(" ".join("%.4f" % x for x in ms), "cpu %.4f" % ((time.process_time() - cpu) / len(ms) * 1e3), flush=True)


main()
