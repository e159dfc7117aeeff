"""workspace.py DHCC MODEL_FILE [SCAN_FILE]: what plans of training steps keep of a recurrence, at length 4096.

No buffer may have an element for every step, channel and state, and the sum of all work buffers
may grow at most in proportion to the length. The same for the forward pass, where no buffer may
have states at all. SCAN_FILE is run."""
import json
import re
import subprocess
import sys

LENGTH = 4096
# root settings, states of one step, elements of one step that the layer's own activations have
CASES = [
    ("Regression", ["d=64"], 128 * 16, 4 * 64),
    ("Regression", ["d=64", "Mixer=GLA(heads = 4, key = 16, value = 32)"], 4 * 16 * 32, 4 * (2 * 16 + 32)),
    ("Regression", ["d=64", "Mixer=RetNet(heads = 4, key = 16)"], 4 * 16 * 16, 4 * 3 * 16),
    ("Regression", ["d=64", "Mixer=S4D(n = 32)"], 64 * 32, 64),
]


def buffers(dhcc, path, root, sets, stage, length):
    args = [dhcc, "print", path, "--root", root, "--stage", stage]
    for s in sets:
        args += ["--set", s]
    text = subprocess.run(args, check=True, capture_output=True, text=True).stdout
    return [
        eval(m.group(1), {"B": 1, "L": length})
        for m in re.finditer(r"= work \w+ \[(.*?) bytes\]", text)
    ]


def main():
    dhcc, path = sys.argv[1], sys.argv[2]
    bad = 0
    for root, sets, states, step in CASES:
        train = buffers(dhcc, path, root, sets, "train.plan", LENGTH)
        half = buffers(dhcc, path, root, sets, "train.plan", LENGTH // 2)
        forward = buffers(dhcc, path, root, sets, "plan", LENGTH)
        largest = max(train) / (4 * LENGTH * states)
        growth = sum(train) / sum(half)
        # states of a chunk are few: what one step of the layer has, for all steps, is the measure
        kept = max(train) / (4 * LENGTH * step)
        print("%s %s: largest buffer %.3f of all states, %.2f of the activations, growth %.3f" % (root, sets, largest, kept, growth))
        if not (largest <= 0.25 and kept <= 2.0 and growth <= 2.01):
            print("FAILED: %s %s trains in buffers of %s bytes" % (root, sets, sorted(train)[-3:]))
            bad = 1
        if not max(forward) <= 4 * LENGTH * step:
            print("FAILED: %s %s runs in buffers of %s bytes" % (root, sets, sorted(forward)[-3:]))
            bad = 1
    return bad | (scan(dhcc, sys.argv[3]) if len(sys.argv) > 3 else 0)


def scan(dhcc, model):
    """All of the work memory of a selective scan with gradients, whatever its length is known to be."""
    most, states = 0.125, 4 * 16385 * 64 * 16
    args = [dhcc, "bench", model, "--grad", "--entry", "forward", "--sizes", "B=1,L=16385", "--repeat", "1", "--json"]
    out = json.loads(subprocess.run(args, check=True, capture_output=True, text=True).stdout)
    part = out["work_bytes"] / states
    print("a selective scan with gradients: work memory %.3f of all states" % part)
    if part < most:
        return 0
    print("FAILED: %.3f is not below %.3f" % (part, most))
    return 1


sys.exit(main())
