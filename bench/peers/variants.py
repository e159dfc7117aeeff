"""A ratio of Mamba and attention that is new: from the request to the first training step done, beyond the step's own
time. dhcc, torch.compile of the whole step, torch.compile block by block, JAX; A B C D, D C B A. Each process has trained
one ratio before, so libraries are loaded; peers' caches of compiled code are empty when a process begins, and a second
process over the first one's caches says what they save. dhcc's store holds the kernels of the first ratio."""
import json
import os
import shutil
import subprocess
import sys
import time

import measure

BASE = "preset=medium,dropout=0.0,mamba_ratio=7"
NEW = ["preset=medium,dropout=0.0,mamba_ratio=%d" % r for r in (3, 1)]
BATCH = 16
PEERS = {"dhcc": "dhcc", "compile": "torch.compile", "regions": "torch.compile, block by block", "jax": "JAX"}
ENV = {"compile": {}, "regions": {"DHC_PEERS_REGIONS": "1"}, "jax": {}}


def start(peer, o, cache):
    """Rows of one process: the first ratio, then the new ones."""
    here = os.path.dirname(os.path.abspath(__file__))
    if peer == "dhcc":
        command, env = [os.path.join(o.build, "bench", "bench_start"), "dhc_jamba", str(BATCH), "1", str(o.threads), BASE, *NEW], {}
    else:
        module = "peer_jax" if peer == "jax" else "peer_compile"
        command = [sys.executable, os.path.join(here, "variants_worker.py"), module, str(o.threads), str(BATCH), BASE, *NEW]
        # grouped: what compile can take and what was fastest at this size; choosing anew each time would be counted
        env = {**ENV[peer], "DHC_PEERS_EXPERTS": "grouped", "TORCHINDUCTOR_CACHE_DIR": cache, "JAX_COMPILATION_CACHE_DIR": cache,
               "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    try:
        r = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **env}, timeout=o.patience,
                           preexec_fn=lambda: os.sched_setaffinity(0, o.cpus))
    except subprocess.TimeoutExpired:
        raise measure.Refused("not done after %d s" % o.patience)
    if r.returncode:
        lines = [line for line in r.stderr.splitlines() if "rror" in line] or r.stderr.splitlines() or ["status %d" % r.returncode]
        raise measure.Refused(lines[-1][:300])
    return [json.loads(line) for line in r.stdout.splitlines() if line.startswith("{")]


def measure_all(o, say):
    caches = os.path.join(o.out, "caches")
    shutil.rmtree(caches, ignore_errors=True)
    doc = {"fresh": {p: [] for p in PEERS}, "again": {}, "left_out": {}, "load": measure.load()}
    rounds = max(1, o.rounds // 2)
    for r in range(rounds):
        for peer in list(PEERS) if r % 2 == 0 else list(PEERS)[::-1]:
            if peer in doc["left_out"]:
                continue
            say("variants: %s, round %d" % (PEERS[peer], r + 1))
            cache = os.path.join(caches, "%s-%d" % (peer, r))
            try:
                time.sleep(0.3)
                doc["fresh"][peer] += start(peer, o, cache)[1:]
                if r == rounds - 1 and peer != "dhcc":
                    doc["again"][peer] = start(peer, o, cache)[1:]
            except measure.Refused as e:
                doc["left_out"][peer] = str(e)
                say("    left out: %s" % e)
    shutil.rmtree(caches, ignore_errors=True)
    doc["load_after"] = measure.load()
    return doc


def text(doc):
    rows, ours = [], None
    for peer, got in doc["fresh"].items():
        if not got:
            continue
        beyond = [g["beyond_ms"] for g in got]
        ours = ours or measure.median(beyond)
        plan = measure.number(measure.median([g["plan_ms"] for g in got])) if "plan_ms" in got[0] else "–"
        again = [g["beyond_ms"] for g in doc["again"].get(peer, [])]
        rows.append([PEERS[peer], plan, "%s (%s … %s)" % tuple(measure.number(x) for x in (measure.median(beyond), min(beyond), max(beyond))),
                     measure.number(measure.median(again)) if again else "–", measure.number(measure.median([g["step_ms"] for g in got])),
                     "%s×" % measure.number(measure.median(beyond) / ours),
                     sum(g.get("kernels_compiled", 0) for g in got) if peer == "dhcc" else "–"])
    head = ["", "request to bound plan, ms", "request to first step done, beyond a step, ms", "the same, compiled code on disk", "a step, ms", "against dhcc", "kernels compiled"]
    out = "\n\nNew ratios 3:1 and 1:1 of DHC-Jamba medium after 7:1, training step at batch %d, initial weights included; load %.1f–%.1f.\n\n" % (
        BATCH, doc["load"], doc["load_after"]) + measure.table(head, rows)
    return out + "".join("\n\n%s left out: %s" % (PEERS[p], why) for p, why in doc["left_out"].items())
