"""The command behind bench/peers/compare: cases in turn, one table."""
import argparse
import json
import os
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from safetensors.numpy import load_file, save_file

import deploy
import floors
import measure
import variants
from cases import CASES, GPU_CASES, NAMES, PEERS

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
TOKENS = 64  # of a stream, met round and round
WORK = os.path.join(ROOT, "build", "peers", "work")


def options():
    p = argparse.ArgumentParser(prog="bench/peers/compare", description="dhcc beside its peers, in turn in one run; outputs agree before anything is timed.")
    p.add_argument("cases", nargs="*", help="names or beginnings of names; variants: new ratios; deploy, deploy:CASE: what it takes to deploy; none: all")
    p.add_argument("--list", action="store_true", help="names of the cases")
    p.add_argument("--peers", default=",".join(PEERS), help="some of %(default)s")
    p.add_argument("--deployed", default=",".join(deploy.PEERS), help="of deploy: some of %(default)s")
    p.add_argument("--keep", action="store_true", help="of deploy: weights and what peers have compiled from an earlier run")
    p.add_argument("--firsts", type=int, default=7, help="of deploy: processes until their first result, each peer; two where they take seconds")
    p.add_argument("--rounds", type=int, default=4, help="turns of each peer")
    p.add_argument("--ahead", action="store_true", help="all cases get ready beside each other, then they are timed: where the machine is paid by the minute")
    p.add_argument("--seconds", type=float, default=2.0, help="of a turn")
    p.add_argument("--threads", type=int, default=0, help="of each peer; 0: one a core")
    p.add_argument("--cpus", default="", help="cores to use, 0,1; all of this process otherwise")
    p.add_argument("--patience", type=int, default=900, help="seconds that a peer may take to get ready")
    p.add_argument("--build", default=os.path.join(ROOT, "build", "release"), help="folder of the build")
    p.add_argument("-o", "--out", default=os.path.join(ROOT, "out", "peers"), help="folder for results.json and table.md")
    return p.parse_args()


def command(peer, case, o, folder):
    sets = floors.sets_of(case)
    on = ",".join([str(o.threads)] + [x for x in (case.device, case.compute if peer == "dhcc" else "") if x])
    if peer == "dhcc":
        entry = {"train": "loss", "run": "forward", "step": "step"}[case.mode]
        return [os.path.join(o.build, "bench", "bench_peer"), case.model, entry, case.mode, on, folder, *sets]
    return [sys.executable, os.path.join(HERE, "worker.py"), peer, case.model, case.mode, on, folder, *sets]


def prepare(case, place="compared", keep=False):
    """The case's folder with inputs. Weights are dhcc's initial ones: it comes first. keep: what an earlier run has left there stays."""
    folder = os.path.join(WORK, place, case.name)
    if keep and os.path.exists(folder + "/weights.safetensors"):
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    random = np.random.default_rng(1)
    if case.mode == "step":
        save_file({"x": random.standard_normal((TOKENS, case.batch, 1, int(case.sets["d_model"])), np.float32)}, folder + "/inputs.safetensors")
        return folder
    if case.tokens:
        length, vocabulary = case.tokens
        drawn = random.integers(0, vocabulary, (case.batch, length + 1))
        inputs = {"tokens": np.ascontiguousarray(drawn[:, :-1]), "target": np.ascontiguousarray(drawn[:, 1:])}
    else:
        target = random.integers(0, case.pixels, (case.batch, *case.image[1:])) if case.pixels else np.arange(case.batch) % 10
        inputs = {"image": random.standard_normal((case.batch, *case.image), np.float32), "target": target}
    save_file(inputs, folder + "/inputs.safetensors")
    return folder


def results(folder, peer, case):
    name = "losses" if case.mode == "train" else "logits"
    return load_file("%s/%s.safetensors" % (folder, peer))[name].ravel().tolist()


def off_by(folder, peer, case):
    """The later steps of a training have a tolerance of their own."""
    got, want = (results(folder, p, case) for p in (peer, "dhcc"))
    parts = ((slice(None), case.tolerance),) if case.mode == "run" else ((slice(2), case.tolerance), (slice(2, None), case.later))
    return max(measure.off_by(got[part], want[part], tolerance) for part, tolerance in parts)


def open_peers(case, o, folder, row):
    workers = []
    for peer in o.peers:
        if peer not in case.peers:
            continue
        say("  %s" % NAMES[peer])
        try:
            w, off = measure.opened(peer, command(peer, case, o, folder), o.cpus, folder, o.patience, lambda: off_by(folder, peer, case))
            row["peers"][peer] = {**w.ready, "off": off}
            workers.append(w)
        except measure.Refused as e:
            if peer == "dhcc":
                raise
            row["left_out"][peer] = str(e)
            say("    left out: %s" % e)
    return workers


def reference(o):
    """What makes a case's weights and what is to come out: dhcc, once."""
    def make(case, folder):
        measure.Worker("dhcc", command("dhcc", case, o, folder), o.cpus, log=folder + "/dhcc.log", patience=o.patience).close()
    return make


def opened(case, o):
    """A case's row and its processes, ready to be timed."""
    row = {"case": case.name, "peers": {}, "left_out": {}, "load": measure.load()}
    folder = prepare(case)
    return row, folder, open_peers(case, o, folder, row)


def timed(case, row, folder, workers, o):
    """The floor is measured before and after, and the best counts: of a processor, where all of the case's threads run."""
    here = not case.device
    try:
        found = [floors.floor(case, o, o.threads, o.cpus)] if here else []
        measure.turns(workers, o, row["peers"], "dhcc")
        found += [floors.floor(case, o, o.threads, o.cpus)] if here else []
        row["floor"] = min(found, key=lambda f: f["ms"], default=None)
    finally:
        for w in workers:
            w.close()
    shutil.rmtree(folder)
    row["load_after"] = measure.load()
    return row


def compared(cases, o):
    """Row by row; with --ahead all cases get ready beside each other before the first is timed."""
    if not o.ahead:
        for case in cases:
            say(case.name)
            yield timed(case, *opened(case, o), o)
        return
    with ThreadPoolExecutor(len(cases)) as pool:
        ready = list(pool.map(lambda case: opened(case, o), cases))
    for case, (row, folder, workers) in zip(cases, ready):
        yield timed(case, row, folder, workers, o)


def cell(p):
    t = p["times"]
    return "%s (%s … %s; least %s, cpu %s)" % (*(measure.number(t[k]) for k in ("median", "low", "high", "least")), measure.number(p["cpu"]))


def tables(rows, o):
    peers = [p for p in o.peers if any(p in r["peers"] for r in rows)]
    head = ["case"] + [NAMES[p] for p in peers] + ["dhcc against the fastest", "floor; dhcc's least run over it"]
    body = []
    for r in rows:
        others = {p: d["ratio"] for p, d in r["peers"].items() if "ratio" in d and p != "peer_object"}
        best = min(others, key=lambda p: others[p]["median"], default=None)
        end = "" if best is None else "%s× (%s … %s; least runs %s×, cpu %s×)%s" % (
            *(measure.number(others[best][k]) for k in ("median", "low", "high", "least")), measure.number(min(r["peers"][p]["cpu"] for p in others) / r["peers"]["dhcc"]["cpu"]),
            " **losing**" if others[best]["median"] < 1 else "")
        floor = r["floor"]["ms"] if r["floor"] else None
        low = "%s; %s×" % (measure.number(floor), measure.number(r["peers"]["dhcc"]["times"]["least"] / floor)) if floor else ""
        body.append([r["case"]] + [cell(r["peers"][p]) if p in r["peers"] else "–" for p in peers] + [end, low])
    text = measure.table(head, body)
    text += measure.verdict(rows, NAMES)
    ready = [[r["case"], NAMES[p], "%.1f" % ((d["open_ms"] + d["first_ms"]) / 1e3), measure.bytes_text(d.get("peak_bytes")), "%.1e" % d["off"], d.get("note", "")]
             for r in rows for p, d in r["peers"].items()]
    text += "\n\n" + measure.table(["case", "peer", "s from libraries loaded to the first result", "most memory of the process", "off dhcc's results", ""], ready)
    left = [[r["case"], NAMES[p], why] for r in rows for p, why in r["left_out"].items()]
    return text + ("\n\n" + measure.table(["case", "left out", "why"], left) if left else "")


def say(text):
    print(text, file=sys.stderr, flush=True)


def known(name):
    at = name[7:] if name.startswith("deploy:") else ""
    return name in ("variants", "deploy") or (at and any(c.name.startswith(at) for c in deploy.DEPLOY)) or any(c.startswith(name) for c in (*CASES, *GPU_CASES))


def main():
    o = options()
    if o.list:
        print("\n".join([*CASES, *GPU_CASES, "variants", "deploy", *("deploy:" + c.name for c in deploy.DEPLOY)]))
        return
    o.peers = o.peers.split(",")
    o.cpus = {int(c) for c in o.cpus.split(",")} if o.cpus else os.sched_getaffinity(0)
    o.threads = o.threads or len(o.cpus)
    o.deployed = o.deployed.split(",")
    os.environ["DHC_PEERS_DHCC"] = os.path.join(o.build, "cli", "dhcc")
    os.environ["DHC_PEERS_POOL"] = os.path.join(o.build, "bench", "libbench_pool.so")
    o.only = [n[7:] for n in o.cases if n.startswith("deploy:")]
    unknown = [p for p in o.peers if p not in PEERS] + [p for p in o.deployed if p not in deploy.PEERS] + [n for n in o.cases if not known(n)]
    if unknown or o.peers[0] != "dhcc":
        sys.exit("bench/peers/compare: %s" % ("no case or peer %s; --list lists cases" % unknown[0] if unknown else "--peers begins with dhcc: it makes the weights"))
    asked = [n for n in o.cases if n != "variants" and not n.startswith("deploy")]
    chosen = [c for n, c in (CASES if not o.cases else {**CASES, **GPU_CASES}).items() if not o.cases or n in asked or any(n.startswith(x) and x not in CASES for x in asked)]
    os.makedirs(o.out, exist_ok=True)
    doc = {"command": "bench/peers/compare " + " ".join(sys.argv[1:]), "machine": measure.machine(o.cpus), "threads": o.threads, "rows": [], "versions": {}}

    def write():
        for r in doc["rows"]:
            for p in r["peers"].values():
                doc["versions"].update(p["versions"])
        text = "%s; %d thread%s a peer; %s.\n`%s`: milliseconds, median of %d rounds of %g s (lowest … highest round; least run; processor time of a run, all threads).\n" % (
            doc["machine"], o.threads, "s" if o.threads > 1 else "", ", ".join("%s %s" % v for v in sorted(doc["versions"].items())), doc["command"], o.rounds, o.seconds)
        if doc["rows"]:
            text += "Load of the machine before and after each row: %s.\n\n" % ", ".join("%.1f–%.1f" % (r["load"], r["load_after"]) for r in doc["rows"])
            text += tables(doc["rows"], o)
        text += variants.text(doc["variants"]) if "variants" in doc else ""
        text += deploy.text(doc["deploy"]) if "deploy" in doc else ""
        for name, data in (("results.json", json.dumps(doc, indent=1)), ("table.md", text + "\n")):
            with open(os.path.join(o.out, name + ".part"), "w") as f:
                f.write(data)
            os.replace(os.path.join(o.out, name + ".part"), os.path.join(o.out, name))
        return text

    text = ""
    for row in compared(chosen, o) if chosen else ():
        doc["rows"].append(row)
        text = write()  # what is measured is not lost with what comes after
    if not o.cases or "variants" in o.cases:
        doc["variants"] = variants.measure_all(o, say)
        text = write()
    if not o.cases or any(n.startswith("deploy") for n in o.cases):
        def done(rows):
            doc["deploy"] = rows
            doc["versions"].update(rows["versions"])
            write()
        deploy.measure_all(o, say, prepare, reference(o), done)
        text = write()
    print(text)


if __name__ == "__main__":
    main()
