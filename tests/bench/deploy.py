"""bench/peers/deploy.py and deployed.py on rows made up here, no peer installed: figures, what holds and what loses, peers that are left
out, floors, and which files of a process count."""
import sys

root = sys.argv[1]
sys.path.insert(0, root + "/bench/peers")
import deploy
import deployed
import floors
import measure
from cases import CASES

fails = 0


def expect(what, got, want):
    global fails
    if got != want:
        print("FAILED: %s: %r, want %r" % (what, got, want))
        fails += 1


# Floors: the slower of computing and reading.
rate = {"gflops": 100.0, "gb_per_s": 20.0, "read_bytes": 10**9}
expect("a floor of operations", round(floors.floor_of(80e6, 2e6, rate)["ms"], 9), 0.8)
expect("a floor of reading", round(floors.floor_of(25e6, 50e6, rate)["ms"], 9), 2.5)

expect("sizes of images, of an image in eights, of tokens, of none", [floors.sizes_of(CASES[n]) for n in ("ssm-forward-16", "unet-train-4", "gru-forward-1", "actor-forward-256")],
       ["B=16,H=32,W=32", "B=4,H=8,W=8", "B=1,L=64", "B=256"])

# Files of a process: libraries of packages but the harness's and those for GPUs, each once.
site = "/env/lib/python3.11/site-packages"
maps = ["7f00-7f01 r-xp 00000000 08:01 12 %s/%s\n" % (site, p) for p in
        ("runtime/lib runtime.so.1", "runtime/lib runtime.so.1", "numpy/_core/m.so", "numpy.libs/libblas.so", "torch/lib/libtorch_cuda.so", "nvidia/cublas/lib/libcublas.so.12",
         "torch/lib/libtorch_cpu.so", "model.bin")] + ["7f02-7f03 r-xp 0 08:01 9 /usr/lib/libc.so.6\n", "7f04-7f05 rw-p 0 00:00 0\n", "7ffc-7ffd r-xp 0 00:00 0 [vdso]\n"]
expect("of packages that are named", deployed.mapped(maps, [site], ("torch",)), [site + "/torch/lib/libtorch_cpu.so"])
expect("mapped libraries", deployed.mapped(maps, [site]), [site + "/runtime/lib runtime.so.1", site + "/torch/lib/libtorch_cpu.so"])


def peer(median, tail, library_bytes, model_bytes, load, open_, first, weights=None):
    return {"versions": {}, "note": "", "off": 0.0, "firsts": [{"start_ms": 500.0, "load_ms": load, "open_ms": open_, "first_ms": f} for f in (first, 9 * first, 0.4 * first, first)],
            "deploy": {"libraries": ["lib.so"] if library_bytes else [], "library_bytes": library_bytes, "model": ["m"], "model_bytes": model_bytes, "weights_bytes": weights},
            "times": measure.summary([[median] * 3]), "tail": tail, "cpu": median}


def row(ours, theirs, floor_ms):
    r = {"case": "c", "threads": 1, "weights_bytes": 2000000, "peers": {"peer_object": ours, **theirs}, "left_out": {"peer_tvm": "Error: no such op"}, "load": 0.0, "load_after": 0.0,
         "floor": {**floors.floor_of(floor_ms * 100e6, 1.0, rate)}}
    for n, p in theirs.items():
        p["ratio"] = measure.ratio([[ours["times"]["median"]]], [[p["times"]["median"]]])
    return r


ours = peer(1.0, 2.0, 0, 2130000, 0.0, 1.0, 1.0, weights=2100000)
expect("figures of the object", deploy.figures(ours, 2000000),
       {"files": 1, "bytes": 30000, "all_bytes": 2130000, "start": 1.0, "first": 2.0, "first_least": 1.4, "opened": 2.0, "process": 500.0, "p50": 1.0, "tail": 2.0})
theirs = peer(2.5, 3.0, 5000000, 2010000, 30.0, 20.0, 5.0)
expect("figures of a peer", deploy.figures(theirs, 2000000),
       {"files": 2, "bytes": 5010000, "all_bytes": 7010000, "start": 50.0, "first": 55.0, "first_least": 52.0, "opened": 25.0, "process": 500.0, "p50": 2.5, "tail": 3.0})
expect("an exporter that leaves weights out", deploy.figures(peer(1.0, 1.0, 7, 1990000, 1.0, 1.0, 1.0), 2000000)["bytes"], 7)


def holds(r):
    return [v[2] for v in deploy.verdicts(r)]


expect("all holds: faster, smaller, sooner", holds(row(ours, {"peer_iree": theirs}, 0.1)), [True, True, True])
expect("not twice as fast, but near its floor", holds(row(ours, {"peer_iree": peer(1.1, 3.0, 5000000, 2010000, 30.0, 20.0, 5.0)}, 0.8)), [True, True, True])
expect("nor that", holds(row(ours, {"peer_iree": peer(1.1, 3.0, 5000000, 2010000, 30.0, 20.0, 5.0)}, 0.7)), [False, True, True])
expect("each against the best in it", holds(row(ours, {"peer_iree": theirs, "peer_onnxruntime": peer(9.0, 9.0, 400000, 2010000, 3.0, 2.0, 1.0)}, 0.1)), [True, False, False])
expect("no peer, no claim", deploy.verdicts(row(ours, {}, 0.1)), [])

text = deploy.text({"rows": [row(ours, {"peer_iree": peer(1.1, 3.0, 5000000, 2010000, 30.0, 20.0, 5.0)}, 0.7)]})
for want in ("### c, 1 thread\n", "| dhcc's object | 1 | 30 | 2130 | 1.00 | 2.00 (1.40; 2.00) | 500 | 1.00 (1.00 … 1.00; least 1.00, cpu 1.00) | 2.00 | 1000 |  | yes:",
             "| IREE | 2 | 5010 | 7010 | 50.0 | 55.0 (52.0; 25.0) | 500 |", "| 1.10× | no |", "a call against the fastest (IREE), or its floor: 1.10×; 1.43× the floor: **losing**",
             "- TVM **left out**: Error: no such op", "Floor 0.700 ms: 70.0 MFLOP at 100 GFLOP/s"):
    expect("in the text: " + want, want in text, True)
expect("nothing else loses", text.count("**losing**"), 1)

# First results, in turn; what takes seconds is asked twice, what ends in an error is left out by its name.
asked = []


def answer(command, o, cpus):
    asked.append(next(w for w in command if w.startswith("peer_")))
    if asked[-1] == "peer_tvm":
        raise measure.Refused("Error: no top-k")
    return {"start_ms": 9000.0 if asked[-1] == "peer_aoti" else 90.0, "load_ms": 1.0, "open_ms": 1.0, "first_ms": float(len(asked)), "deploy": {}}


deploy.output_of, deploy.say = answer, lambda text: None
r = {"peers": {p: {"firsts": []} for p in ("peer_object", "peer_aoti", "peer_tvm")}, "left_out": {}}
deploy.first_results(deploy.DEPLOY[0], type("Options", (), {"firsts": 4}), 1, {0}, "folder", r)
expect("turns", asked, ["peer_object", "peer_aoti", "peer_tvm", "peer_aoti", "peer_object", "peer_object", "peer_object"])
expect("left out by name", (list(r["peers"]), r["left_out"]), (["peer_object", "peer_aoti"], {"peer_tvm": "alone in a process: Error: no top-k"}))
print("ok" if not fails else "%d failed" % fails)
sys.exit(fails > 0)
