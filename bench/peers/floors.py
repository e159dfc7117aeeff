"""What a call takes at least on this machine, from what `dhcc info` says of the model and what bench_floor measures here."""
import json
import os
import subprocess

import measure

STEP_BYTES = 24  # of a training step, each parameter: weight and both moments of Adam, read and written


def sets_of(case):
    return ["%s=%s" % s for s in sorted(case.sets.items(), key=lambda s: s[0] not in ("preset", "root"))]


def output_of(command, o, cpus):
    r = subprocess.run(command, capture_output=True, text=True, timeout=o.patience, preexec_fn=lambda: os.sched_setaffinity(0, cpus))
    if r.returncode:
        raise measure.Refused(measure.why(r.stderr.splitlines()) or "ended with status %d" % r.returncode)
    return json.loads(r.stdout[r.stdout.index("{"):])


def sizes_of(case):
    if case.mode == "step":
        return "B=1"
    shape = {"L": case.tokens[0]} if case.tokens else dict(zip("HW", case.image[1:]))
    return ",".join("%s=%d" % s for s in {"B": case.batch, **shape, **case.sizes}.items() if s[1])


def floor(case, o, threads, cpus):
    """Milliseconds that a call takes at least: its operations at the rate of multiply-adds in registers, or its weights (a training step's moments
    too) at the rate of reading so many bytes again and again, whichever is more."""
    words = (["--entry", "step"] if case.mode == "step" else []) + ["--sizes", sizes_of(case)]
    for s in sets_of(case):
        key, value = s.split("=", 1)
        words += ["--" + key, value] if key in ("preset", "root") else ["--set", s]
    costs = output_of([os.environ["DHC_PEERS_DHCC"], "info", case.model, *words, "--json"], o, cpus)["costs"]
    train = case.mode == "train"
    read, held = (STEP_BYTES * costs["parameters"], 12 * costs["parameters"]) if train else (4 * costs["active_parameters"], 4 * costs["parameters"])
    rate = output_of([os.path.join(o.build, "bench", "bench_floor"), str(threads), str(held)], o, cpus)
    return floor_of(costs["flops_train" if train else "flops"], read, rate)


def floor_of(flops, read, rate):
    compute, memory = flops / rate["gflops"] * 1e-6, read / rate["gb_per_s"] * 1e-6
    return {"flops": flops, "read": read, **rate, "compute_ms": compute, "memory_ms": memory, "ms": max(compute, memory)}
