"""What it takes to deploy each peer's artefact, and what it gives: compare deploy. For every case and number of threads: outputs agree
first; then processes of their own, in turn, until their first result; then calls in turn, A B C, C B A; beside them the
floor of the machine."""
import os
import sys

import measure
from cases import DEPLOY, NAMES
from floors import floor, output_of, sets_of

PEERS = ("peer_object", "peer_onnxruntime", "peer_openvino", "peer_executorch", "peer_aoti", "peer_iree", "peer_tvm")
TRAINS = {"peer_object": "yes: `--entry train_step` beside the others", "peer_executorch": "no: a .pte of its own"}
SLOW_MS = 3000.0
WANTED = {"faster": 2.0, "floor": 1.3, "bytes": 20.0, "sooner": 20.0}


def worker_command(peer, case, threads, folder, *flags):
    here = os.path.dirname(os.path.abspath(__file__))
    return [sys.executable, os.path.join(here, "worker.py"), peer, case.model, case.mode, str(threads), folder, *sets_of(case), *flags]


def tensors(path):
    from safetensors.numpy import load_file

    return load_file(path)


def logits(folder, peer):
    return tensors("%s/%s.safetensors" % (folder, peer))["logits"].ravel().tolist()


def open_peers(case, o, threads, cpus, folder, row):
    workers, want = [], logits(folder, "dhcc")
    for peer in o.deployed:
        say("  %s" % NAMES[peer])
        try:
            w, off = measure.opened(peer, worker_command(peer, case, threads, folder), cpus, folder, o.patience,
                                    lambda: measure.off_by(logits(folder, peer), want, case.tolerance))
            row["peers"][peer] = {"versions": w.ready["versions"], "note": w.ready["note"], "off": off, "firsts": []}
            workers.append(w)
        except measure.Refused as e:
            leave_out(row, peer, str(e))
    return workers


def leave_out(row, peer, why):
    row["peers"].pop(peer, None)
    row["left_out"][peer] = why
    say("    %s left out: %s" % (NAMES[peer], why))


def first_results(case, o, threads, cpus, folder, row):
    """Processes until their first result, in turn; of those that take seconds, two."""
    for r in range(o.firsts):
        for peer in list(row["peers"]) if r % 2 == 0 else list(row["peers"])[::-1]:
            if r > 1 and row["peers"][peer]["firsts"][0]["start_ms"] > SLOW_MS:
                continue
            try:
                got = output_of(worker_command(peer, case, threads, folder, "--once"), o, cpus)
            except measure.Refused as e:
                leave_out(row, peer, "alone in a process: %s" % e)
                continue
            row["peers"][peer]["firsts"].append({k: got[k] for k in ("start_ms", "load_ms", "open_ms", "first_ms")})
            row["peers"][peer]["deploy"] = got["deploy"]


def measure_case(case, o, threads, prepare, reference):
    cpus = set(sorted(o.cpus)[:threads])
    row = {"case": case.name, "threads": threads, "peers": {}, "left_out": {}, "load": measure.load()}
    folder = prepare(case, "deployed", o.keep or threads > 1)
    reference(case, folder)
    row["weights_bytes"] = sum(w.nbytes for w in tensors(folder + "/weights.safetensors").values())
    closing = workers = open_peers(case, o, threads, cpus, folder, row)
    try:
        first_results(case, o, threads, cpus, folder, row)
        row["floor"] = floor(case, o, threads, cpus)
        closing, workers = workers, [w for w in workers if w.name in row["peers"]]
        times = measure.turns(workers, o, row["peers"], "peer_object")
        for w in workers:
            row["peers"][w.name].update(tail=measure.share([ms for r in times[w.name] for ms in r], 0.999), runs=sum(map(len, times[w.name])))
        again = floor(case, o, threads, cpus)
        row["floor"] = min(row["floor"], again, key=lambda f: f["ms"])
    finally:
        for w in closing:
            w.close()
    row["load_after"] = measure.load()
    return row


def figures(p, weights_bytes):
    """Of one peer: what the columns show. Weights that lie in the model's own files are taken off its bytes."""
    d, first = p["deploy"], {k: [f[k] for f in p["firsts"]] for k in p["firsts"][0]}
    opened = [a + b for a, b in zip(first["open_ms"], first["first_ms"])]
    whole = [a + b for a, b in zip(first["load_ms"], opened)]
    weights = d.get("weights_bytes") or weights_bytes
    model = max(0, d["model_bytes"] - weights)  # exporters leave out weights that the entry does not read
    return {"files": len(d["libraries"]) + len(d["model"]), "bytes": d["library_bytes"] + model, "all_bytes": d["library_bytes"] + d["model_bytes"],
            "start": measure.median([a + b for a, b in zip(first["load_ms"], first["open_ms"])]), "first": measure.median(whole), "first_least": min(whole),
            "opened": measure.median(opened), "process": measure.median(first["start_ms"]),
            "p50": p["times"]["median"], "tail": p["tail"]}


def verdicts(row):
    """What is asked of the object in this row, each with what was measured and whether it holds; against the best of its peers in each."""
    got = {n: figures(p, row["weights_bytes"]) for n, p in row["peers"].items()}
    ours, others = got.pop("peer_object", None), got
    if ours is None or not others:
        return []
    best = lambda k: min(others, key=lambda n: others[n][k])
    fastest, least, soonest = best("p50"), best("bytes"), best("first")
    ratio = row["peers"][fastest]["ratio"]["median"]
    above = ours["p50"] / row["floor"]["ms"]
    smaller, sooner, quietly = others[least]["bytes"] / ours["bytes"], others[soonest]["first"] / ours["first"], others[soonest]["first_least"] / ours["first_least"]
    opened = min(f["opened"] for f in others.values()) / ours["opened"]
    return [("a call against the fastest (%s), or its floor" % NAMES[fastest], "%s×; %s× the floor" % (measure.number(ratio), measure.number(above)),
             ratio >= WANTED["faster"] or above <= WANTED["floor"]),
            ("bytes without weights against the least (%s)" % NAMES[least], "%s×" % measure.number(smaller), smaller >= WANTED["bytes"]),
            ("to the first result against the soonest (%s)" % NAMES[soonest], "%s× (least of each: %s×; imports in Python left out: %s×)" % tuple(map(measure.number, (sooner, quietly, opened))),
             sooner >= WANTED["sooner"])]


def row_table(row):
    body = []
    for n, p in row["peers"].items():
        f = figures(p, row["weights_bytes"])
        body.append([NAMES[n], f["files"], kb(f["bytes"]), kb(f["all_bytes"]), measure.number(f["start"]), "%s (%s; %s)" % tuple(measure.number(f[k]) for k in ("first", "first_least", "opened")), "%.0f" % f["process"],
                     "%s (%s … %s; least %s, cpu %s)" % (*(measure.number(p["times"][k]) for k in ("median", "low", "high", "least")), measure.number(p["cpu"])),
                     measure.number(f["tail"]), "%.0f" % (1e3 / f["p50"]), measure.number(p["ratio"]["median"]) + "×" if "ratio" in p else "", TRAINS.get(n, "no")])
    return measure.table(["peer", "files", "kB without weights", "kB with", "start-up, ms", "to the first result, ms (least; without imports)", "process to it, ms", "a call, ms: p50", "p99.9", "calls a second",
                          "against the object", "the same file trains"], body)


def kb(n):
    return "%.0f" % (n / 1e3)


def row_text(row):
    f = row["floor"]
    text = "\n\n### %s, %d thread%s\n\n" % (row["case"], row["threads"], "s" if row["threads"] > 1 else "")
    text += "Floor %s ms: %.1f MFLOP at %.0f GFLOP/s are %s ms, %.1f MB of weights at %.1f GB/s (reading %.1f MB again and again) %s ms. Load %.1f–%.1f.\n\n" % (
        measure.number(f["ms"]), f["flops"] / 1e6, f["gflops"], measure.number(f["compute_ms"]), f["read"] / 1e6, f["gb_per_s"], f["read_bytes"] / 1e6, measure.number(f["memory_ms"]),
        row["load"], row["load_after"])
    text += row_table(row) + "\n"
    for what, much, holds in verdicts(row):
        text += "\n- %s: %s%s" % (what, much, "" if holds else ": **losing**")
    for n, p in row["peers"].items():
        d = p["deploy"]
        text += "\n- %s: %s%s" % (NAMES[n], ", ".join(d["libraries"] + d["model"]), "; " + p["note"] if p["note"] else "")
    for n, why in row["left_out"].items():
        text += "\n- %s **left out**: %s" % (NAMES[n], why)
    return text


def text(doc):
    return "\n\n## What it takes to deploy\n" + "".join(row_text(r) for r in doc["rows"])


def measure_all(o, say_, prepare, reference, done):
    global say
    say = say_
    doc = {"rows": [], "versions": {}}
    for case in DEPLOY:
        if o.only and not any(case.name.startswith(x) for x in o.only):
            continue
        for threads in sorted({1, o.threads}):
            say("deploy: %s, %d thread%s" % (case.name, threads, "s" if threads > 1 else ""))
            doc["rows"].append(measure_case(case, o, threads, prepare, reference))
            for p in doc["rows"][-1]["peers"].values():
                doc["versions"].update(p["versions"])
            done(doc)
    return doc


def say(text):
    print(text, file=sys.stderr)
