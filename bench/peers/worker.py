"""A peer in a process of its own: worker.py PEER MODEL run|train|step THREADS[,DEVICE] FOLDER [KEY=VALUE...]

PEER is a module beside this file with `open(job)`, which returns an object with
  run()       one forward pass, one training step, or one token on from the state that it keeps
  output()    what run() gave last: logits as a NumPy array, or the loss as a number
  versions    of the libraries, by name; `note`: what was chosen, or "".
and perhaps `prepare(job)`, which makes files in the folder beforehand, in a process of its own (--prepare), `load()`, which imports what `prepare` must not have, and `files`, those
of them that the peer reads, with `weights_bytes` of weights as they lie there, where that is not as many as they have, and `needs`, the packages whose libraries count, where not all that are mapped do. With --once nothing is prepared, and the process ends after its first result.
Files, checks and answers are those of dhcc.c: inputs.safetensors and weights.safetensors are read, PEER.safetensors is
written; then one JSON line, and for every line "SECONDS" on stdin a line of milliseconds and "cpu".
"""
import importlib.util
import json
import os
import subprocess
import sys
import time
from types import SimpleNamespace

CHECKED_STEPS = 3   # of training
CHECKED_TOKENS = 12

import deployed  # noqa: E402: beside this file


def since_start():
    """Milliseconds since this process began, to a hundredth of a second: interpreter and libraries are in it."""
    with open("/proc/self/stat") as f, open("/proc/uptime") as up:
        return (float(up.read().split()[0]) - int(f.read().rsplit(")", 1)[1].split()[19]) / os.sysconf("SC_CLK_TCK")) * 1e3


def outputs(p, job):
    """What the peers have to agree on, by name; one run has been made."""
    import numpy as np

    if job.mode == "run":
        return {"logits": np.ascontiguousarray(p.output(), np.float32)}
    out = [np.array(p.output(), np.float32)]
    for _ in range((CHECKED_STEPS if job.train else CHECKED_TOKENS) - 1):
        p.run()
        out.append(np.array(p.output(), np.float32))
    return {"losses" if job.train else "logits": np.stack(out).reshape(len(out), -1).squeeze()}


def main():
    asked = sys.argv[-1] if sys.argv[-1].startswith("--") else ""
    peer, model, mode, on, folder, *sets = sys.argv[1:-1] if asked else sys.argv[1:]
    threads, _, device = on.partition(",")
    os.environ["OMP_NUM_THREADS"] = threads  # before any library is loaded
    from safetensors.numpy import load_file, save_file

    job = SimpleNamespace(model=model, mode=mode, train=mode == "train", threads=int(threads), device=device or "cpu", folder=folder,
                          sets=dict(s.split("=", 1) for s in sets), inputs=load_file(folder + "/inputs.safetensors"),
                          weights={} if asked == "--once" else load_file(folder + "/weights.safetensors"))
    if not asked:
        module = importlib.import_module(peer)
        if hasattr(module, "prepare"):
            failed = subprocess.run([sys.executable, *sys.argv, "--prepare"]).returncode  # which has said why
            if failed:
                sys.exit(failed)
    import exported  # noqa: F401: ours, not the peer's

    # The file beside this one is found and compiled before time runs: what it imports is the peer's, the rest is ours.
    spec = importlib.util.find_spec(peer)
    module, code = importlib.util.module_from_spec(spec), spec.loader.get_code(peer)
    sys.modules[peer] = module
    before = time.perf_counter()
    exec(code, vars(module))
    if asked == "--prepare":
        module.prepare(job)
        return
    if hasattr(module, "load"):
        module.load()
    began = time.perf_counter()
    p = module.open(job)
    opened = time.perf_counter()
    p.run()
    first = time.perf_counter() - opened
    ready = {"ready": True, "start_ms": since_start(), "load_ms": (began - before) * 1e3, "open_ms": (opened - began) * 1e3, "first_ms": first * 1e3,
             "versions": p.versions, "note": p.note}
    if asked == "--once":
        ready["deploy"] = {**deployed.files(getattr(p, "files", []), getattr(p, "needs", None)), "weights_bytes": getattr(p, "weights_bytes", None)}
    else:
        save_file(outputs(p, job), "%s/%s.safetensors" % (folder, peer))
    print(json.dumps(ready), flush=True)
    if asked == "--once":
        return
    for line in sys.stdin:
        cpu, end, ms = time.process_time(), time.perf_counter() + float(line), []
        while len(ms) < 3 or (time.perf_counter() < end and len(ms) < 4096):
            t = time.perf_counter()
            p.run()
            ms.append((time.perf_counter() - t) * 1e3)
        print(" ".join("%.4f" % x for x in ms), "cpu %.4f" % ((time.process_time() - cpu) / len(ms) * 1e3), flush=True)


main()
