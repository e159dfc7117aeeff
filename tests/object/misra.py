#!/usr/bin/env python3
"""The C99 source of objects under cppcheck's MISRA addon: it violates the rules that docs/misra.md lists, each with its reason, and no
others; and of a reduced model every one of them, so that the list does not outlive its reasons.

    misra.py DHCC [SECONDS MODEL [OPTION...]]     default: the reduced model, 120 seconds"""
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

REDUCED = """model Reduced() {
  state s: [B, 8] = zeros()
  param w: [8] = zeros()
  forward<B, L>(x: [B, L, 8], i: i64[B]) -> (y: [B, 8], z: [B, 8]) {
    s = s * 0.5 + max(x[:, -1] * w, 0.0)
    return s, gather(s, i, axis = 0)
  }
}
"""


def main():
    dhcc, docs = pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(__file__).resolve().parents[2] / "docs" / "misra.md"
    if not shutil.which("cppcheck"):
        print("skipped: no cppcheck")
        return 77
    allowed = {r for row in re.findall(r"^\| ([0-9., ]+) \|", docs.read_text(), re.M) for r in row.split(", ")}
    seconds = int(sys.argv[2]) if len(sys.argv) > 2 else 120
    with tempfile.TemporaryDirectory() as folder:
        at = pathlib.Path(folder)
        (at / "reduced.dhc").write_text(REDUCED)
        model = sys.argv[3:] or ["reduced.dhc", "--entry", "stream", "--bind", "B=2"]
        subprocess.run([dhcc, "build", *model, "--emit", "c", "-o", "m.c", "--header", "m.h", "--name", "m", "--quiet"], cwd=at, check=True)
        try:
            done = subprocess.run(["cppcheck", "--addon=misra", "--std=c99", "--quiet", "-D__GNUC__=12", "--max-configs=1",
                                   "--template={file}:{line}: {id} {message}", "m.c"], cwd=at, stderr=subprocess.PIPE, timeout=seconds)
        except subprocess.TimeoutExpired:
            print(f"the addon did not end in {seconds} s")
            return 1
        lines = [l for l in done.stderr.decode().splitlines() if "misra-" in l]  # the rest are guesses that ranges refute
    found = {}
    for line in lines:
        found.setdefault(re.search(r"misra-c2012-([0-9.]+)", line).group(1), line)
    other = sorted(set(found) - allowed)
    stale = sorted(allowed - set(found)) if len(sys.argv) < 4 else []
    for rule in other:
        print(f"not in docs/misra.md: {rule}: {found[rule]}")
    for rule in stale:
        print(f"docs/misra.md has rule {rule}, which nothing violates")
    print(f"{len(lines)} reports of {len(found)} rules")
    return 1 if other or stale or done.returncode or len(found) < 5 else 0


if __name__ == "__main__":
    sys.exit(main())
