#!/usr/bin/env python3
"""The C99 source of objects (--emit c) under the address and undefined-behaviour sanitizers, all memory ending where nothing may be
touched: no report, and what the object for this machine computes, bit for bit.

    sanitized.py DHCC         of reduced models, in seconds
    sanitized.py DHCC all     every shipped model, as it is (small presets)"""
import pathlib
import re
import sys
import tempfile

import targets

FLAGS = ["-O0", "-ffp-contract=off", "-g1", "-fsanitize=address,undefined,float-cast-overflow", "-fno-sanitize-recover=all"]
FEW = [c for c in targets.CASES if c[0] in ("mlp", "norm")]
RL = ["--entry", "forward", "--entry", "sequence.stream", "--entry", "sequence.step"]
# name, what is built, sizes
ALL = [
    ("mlp", ["mlp", "--entry", "forward", "--entry", "loss", "--entry", "normalize"], {"B": 3}),
    ("dhc_ssm", ["dhc_ssm", "--entry", "forward", "--entry", "classify"], {"B": 2, "H": 17, "W": 16}),
    ("dhc_jamba", ["dhc_jamba", "--preset", "small"], {"B": 1, "H": 16, "W": 16}),
    ("seq", ["seq", "--entry", "stream", "--entry", "step"], {"B": 2, "L": 5}),
    ("lstm", ["lstm", "--entry", "forward", "--entry", "step"], {"B": 2, "L": 4}),
    ("rl_policy", ["rl_policy", *RL], {"B": 2, "L": 3}),
    ("rl_ssm_policy", ["rl_ssm_policy", *RL], {"B": 2, "L": 3}),
    ("rl_actor_critic", ["rl_actor_critic", *RL], {"B": 2, "L": 3}),
    ("rl_value", ["rl_value", *RL], {"B": 2, "L": 3}),
    ("rl/ppo", ["rl/ppo", "--entry", "forward", "--entry", "act", "--entry", "value"], {"B": 2, "L": 3}),
]


def outcome(dhcc, model, sizes, source, at):
    """Exit status and what the program printed; of what could not be built why."""
    code, text = targets.run(dhcc, "build", *model, *(["--emit", "c"] if source else []), "--name", "m", "-o", "o.c" if source else "m.o", "--header", "m.h", cwd=at)
    if code:
        return code, text
    (at / "m.c").write_text(targets.program((at / "m.h").read_text(), sizes, exact=True))
    code, text = targets.run("cc", "-std=c11", *(FLAGS if source else ["-O1"]), "-o", "m", "m.c", "o.c" if source else "m.o", cwd=at, patience=3000)
    return (code, text) if code else targets.run("./m", cwd=at, patience=3000)


def main():
    dhcc, every = pathlib.Path(sys.argv[1]).resolve(), sys.argv[2:] == ["all"]
    cases, wrong = ALL if every else FEW, []
    shipped = set(re.findall(r"^model +\S+ +(\S+)", targets.run(dhcc, "list", "models", cwd=".")[1], re.M))
    if not shipped or shipped - {c[0] for c in ALL}:
        wrong.append(f"not in the table: {sorted(shipped - {c[0] for c in ALL}) or 'what dhcc list models says'}")
    with tempfile.TemporaryDirectory() as folder:
        at = pathlib.Path(folder)
        for name, model, sizes in cases:
            want, got = (outcome(dhcc, model, sizes, source, at) for source in (False, True))
            if want[0] or len(want[1]) < 8 or got != want:
                wrong.append(f"{name}: exit {got[0]}, {got[1][-2000:]} where the object has exit {want[0]}, {want[1][-500:]}")
            elif every:
                print("ok:", name, flush=True)
    for line in wrong:
        print("FAILED:", line)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
