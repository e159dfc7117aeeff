"""What the sweeps share: two calls that take turns, how far their results are apart, options, lines and files."""
import csv
import math
import time

import numpy as np


def options(parser):
    parser.add_argument("--list", action="store_true", help="the shapes alone")
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--from", type=int, default=0, dest="first")
    parser.add_argument("--name", default="", help="those with this in their line")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=4, help="turns of each")
    parser.add_argument("--seconds", type=float, default=0.03, help="how long one lasts at least")
    parser.add_argument("--out", help="a CSV file")
    return parser


def least(call, o):
    """Seconds of a call: of one thread its processor time, which another process on the core takes nothing of."""
    clock = time.thread_time if o.threads == 1 else time.perf_counter
    best, end, n = math.inf, time.perf_counter() + o.seconds, 0
    while n < 3 or time.perf_counter() < end:
        t = clock()
        call()
        best = min(best, clock() - t)
        n += 1
    return best


def turns(ours, theirs, o):
    a = b = math.inf
    for call in (ours, theirs):
        call()
    for _ in range(o.rounds):
        b, a = min(b, least(theirs, o)), min(a, least(ours, o))
    return a, b


def times(name, a, b):
    """Columns of a row."""
    return {name + "_ms": a * 1e3, name + "_torch_ms": b * 1e3, name + "_ratio": b / a}


def apart(a, b):
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    return math.inf if a.shape != b.shape else float(np.abs(a - b).max() / max(float(np.abs(b).max()), 1e-30))


def mean(ratios):
    return math.exp(sum(map(math.log, ratios)) / len(ratios))


def in_all(name, ratios):
    ratios = sorted(ratios)
    return "%s: geometric mean %.2f of %d, median %.2f, least %.2f, below 1: %d, below 0.5: %d" % (
        name, mean(ratios), len(ratios), ratios[len(ratios) // 2], ratios[0], sum(r < 1 for r in ratios), sum(r < 0.5 for r in ratios))


def write(path, rows):
    with open(path, "w", newline="") as f:
        out = csv.DictWriter(f, list(dict.fromkeys(k for r in rows for k in r)))
        out.writeheader()
        out.writerows(rows)
