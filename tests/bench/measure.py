"""bench/peers/measure.py: turns, agreement, ratios, exponents, and workers that answer, refuse, hang or die."""
import math
import sys
import tempfile

root = sys.argv[1]
sys.path.insert(0, root + "/bench/peers")
import measure as m

fails = 0


def expect(what, got, want):
    global fails
    if got != want:
        print("FAILED: %s: %r, want %r" % (what, got, want))
        fails += 1


# Agreement: by norm, never with what is not a number.
expect("equal", m.agrees([1.0, 2.0], [1.0, 2.0], 0.0), (True, 0.0))
expect("off by 1 in 5", m.agrees([3.0, 5.0], [3.0, 4.0], 0.19)[0], False)
expect("off by 1 in 5, allowed", m.agrees([3.0, 5.0], [3.0, 4.0], 0.2)[0], True)
for a in ([math.nan, 4.0], [math.inf, 4.0], [3.0], []):
    expect("%s agrees" % a, m.agrees(a, [3.0, 4.0], 1e9)[0], False)
expect("NaN on both sides", m.agrees([math.nan], [math.nan], 1.0)[0], False)
expect("both infinite", m.agrees([math.inf], [math.inf], 1.0)[0], False)
expect("zeros", m.agrees([0.0, 0.0], [0.0, 0.0], 0.0)[0], True)
expect("off zero", m.agrees([1e-30], [0.0], 1.0)[0], False)
expect("a tolerance that is NaN", m.agrees([1.0], [1.0], math.nan)[0], False)

# Medians, ratios by round.
expect("odd", m.median([3, 1, 2]), 2)
expect("even", m.median([4, 1, 2, 3]), 2.5)
expect("summary", m.summary([[1, 2, 9], [3, 4, 5]]), {"median": 3, "low": 2, "high": 4, "least": 1, "rounds": 2})
expect("ratio", m.ratio([[1, 2, 3], [4, 4, 4], [1, 1, 1]], [[4, 4, 4], [2, 2, 9], [3, 3, 3]]), {"median": 2, "low": 0.5, "high": 3, "least": 2})
expect("geometric mean", round(m.geometric_mean([2.0, 8.0]), 12), 4.0)
expect("exponent", round(m.exponent([16, 64, 256], [3 * s**1.5 for s in (16, 64, 256)]), 12), 1.5)
expect("numbers", [m.number(x) for x in (0.01234, 1.234, 12.34, 123.4, 1234.5, 0, None)], ["0.0123", "1.23", "12.3", "123", "1234", "0", ""])
expect("a table", m.table(["a", "b"], [[1, "x"]]), "| a | b |\n| --- | --- |\n| 1 | x |")


class Named:
    def __init__(self, name):
        self.name = name


order = []
got = m.alternate([Named("a"), Named("b"), Named("c")], 3, lambda w: order.append(w.name) or [len(order)])
expect("turns", "".join(order), "abccbaabc")
expect("rounds", got, {"a": [[1], [6], [7]], "b": [[2], [5], [8]], "c": [[3], [4], [9]]})

# Workers.
answer = "import sys, json\nprint('noise'); print(json.dumps({'ready': True}), flush=True)\nfor line in sys.stdin: print(float(line), 2 * float(line), 'cpu', 3 * float(line), flush=True)"
with tempfile.TemporaryDirectory() as folder:
    log = folder + "/log"
    w = m.Worker("w", [sys.executable, "-c", answer], log=log)
    expect("ready", w.ready, {"ready": True})
    expect("an answer", [w.ask(0.5), w.ask(2)], [[0.5, 1.0], [2.0, 4.0]])
    expect("processor time", w.cpu, [1.5, 6.0])
    expect("memory", (w.peak_bytes() or 0) > 1e6, True)
    w.close()
    expect("ends", w.process.returncode, 0)

    def refused(code, patience=60):
        try:
            w = m.Worker("w", [sys.executable, "-c", code], log=log, patience=patience)
            w.ask(1)
        except m.Refused as e:
            return str(e)
        return "it went well"

    expect("an error", refused("raise NotImplementedError('does not train')"), "NotImplementedError: does not train")
    expect("a status", refused("raise SystemExit(3)"), "ended with status 3")
    expect("a silent one", refused("import time; time.sleep(60)", 1), "not ready after 1 s, or out of memory")
    expect("one that dies later", refused("print('{}', flush=True); input(); raise SystemExit(1)"), "ended in the middle of a measurement")
def case(name, **ratios):
    return {"case": name, "peers": {"dhcc": {}, **{p: {"ratio": {"median": x}} for p, x in ratios.items()}}}


names = {"peer_torch": "PyTorch", "peer_x": "X"}
expect("a verdict", m.verdict([case("a", peer_torch=4.0, peer_x=2.0), case("b-train-1", peer_torch=0.5), case("alone", peer_object=0.1), case("c")], names),
       "\n\nGeometric mean against the fastest: 1.00× of 2 cases, of training steps 0.500×. Losing: b-train-1 0.500× (PyTorch).")
expect("no loser", m.verdict([case("a", peer_torch=4.0)], names), "\n\nGeometric mean against the fastest: 4.00× of 1 cases. None loses.")
expect("nobody beside it", m.verdict([case("c")], names), "")
print("ok" if not fails else "%d failed" % fails)
sys.exit(fails > 0)
