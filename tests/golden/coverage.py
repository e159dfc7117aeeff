#!/usr/bin/env python3
"""Counts the golden files and checks them against the tables they have to cover: a new op,
pass, rewrite rule, kernel kind, builtin or error code without its file fails here, with the
path of the file to add. No argument; exit status 1 if something is missing."""
import pathlib
import re
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
MIN_FILES = 400
KINDS = (".gir", ".dhc", ".spec")
# Codes of errors that no text leads to: only a broken module gets there.
NO_WAY_TO = {"E0711", "E0720", "E0723", "E0801"}
missing = []


def read(path):
    return (ROOT / path).read_text()


def some(rows, path):
    """A table that looks empty has changed its form: then this script has to as well."""
    if not rows:
        missing.append(f"{path}: no row is recognised by tests/golden/coverage.py")
    return rows


def table(path, macro):
    """First string of every row MACRO(id, "name", ...)."""
    return some(re.findall(rf'^\s*{macro}\(\w+, "(\w+)"', read(path), re.M), path)


def want(path, why):
    if not (HERE / path).is_file():
        missing.append(f"tests/golden/{path}: {why}")


def ops():
    # Elementwise rows say all there is to say: tests/ops draws text, wrong types, gradients and
    # code for them from the table.
    names = table("ir/ops.def", "OP")
    for op in names:
        want(f"ops/{op}.gir", f"text and shape rule of op '{op}'")
        if op != "kernel":  # exists only behind autodiff
            want(f"grad/{op}.gir", f"derivative of op '{op}', or that nothing flows")
        if op not in ("kernel", "param"):
            want(f"fused/{op}.gir", f"what fusion makes of op '{op}'")
    return f"{len(names)} ops"


def passes():
    names = some(re.findall(r"^PASS\((\w+),", read("passes/passes.def"), re.M), "passes/passes.def")
    for name in names:
        at = HERE / "opt" / name
        if name == "simplify":  # a file a rule, see rules()
            continue
        fires, stays = len(list(at.glob("fires_*"))), len(list(at.glob("not_*")))
        if fires < 3:
            missing.append(f"tests/golden/opt/{name}/fires_*.gir: pass '{name}' has {fires} of 3 files that fire")
        if stays < 1:
            missing.append(f"tests/golden/opt/{name}/not_*.gir: pass '{name}' has no file that must not fire")
    return f"{len(names)} passes"


def rules():
    names = set()
    for path in sorted((ROOT / "passes/clean").glob("simplify*.c")):
        text = path.read_text()
        names |= set(re.findall(r'\{"(\w+)", DHC_OP_[\w#]+, \w+,', text))
    for rule in sorted(some(names, "passes/clean/simplify*.c")):
        path = f"opt/simplify/{rule}.gir"
        want(path, f"simplify rule '{rule}': @fires and @stays")
        if (HERE / path).is_file():
            text = (HERE / path).read_text()
            for part in ("fires", "stays"):
                if f"func @{part}" not in text:
                    missing.append(f"tests/golden/{path}: no function @{part}")
    return f"{len(names)} rewrite rules"


def kinds():
    names = table("ir/kinds.def", "KIND")
    rows = some(re.findall(r"^(?:TPL|PLAIN)\((\w+), (\w+), ", read("backends/loop/templates.def"), re.M), "backends/loop/templates.def")
    for kind in names:
        want(f"spec/{kind}.spec", f"text of a spec of kind '{kind}'")
        if not any(of == kind.upper() and target != "GPU" for target, of in rows):
            continue  # CPUs have no program for it
        want(f"loop/{kind}.spec", f"loop program of kind '{kind}'")
        for target in ("avx512", "avx2", "portable"):
            want(f"llvm/{kind}_{target}.spec", f"LLVM IR of kind '{kind}' for {target}")
    return f"{len(names)} kernel kinds"


def builtins():
    names = some(re.findall(r"^BUILTIN\((\w+),", read("frontend/builtins.def"), re.M), "frontend/builtins.def")
    for name in names:
        want(f"graph/builtin/{name}.dhc", f"graph of builtin '{name}'")
    return f"{len(names)} builtins"


def expectations():
    """Everything tests expect as messages, in one text."""
    texts = []
    for path in sorted((ROOT / "tests").rglob("*")):
        if path.suffix in (".err", ".out", ".c"):
            texts.append(path.read_text(errors="replace"))
    for path in sorted(HERE.rglob("*")):
        if path.suffix in KINDS:
            lines = path.read_text(errors="replace").splitlines()
            texts += [line for line in lines if re.match(r"\s*(#|//) (CHECK|PLAN)", line)]
    return "\n".join(texts)


def error_codes(expected):
    codes = some(re.findall(r'^DHC_ERROR\("(E\d+)"', read("ir/errors.def"), re.M), "ir/errors.def")
    for code in codes:
        if code not in NO_WAY_TO and not re.search(rf"\b{code}\b", expected):
            missing.append(f"tests/golden/errors/*.dhc: no file expects a message [{code}]")
    return f"{len(codes)} error codes"


def files():
    """Every file says in its first line what it shows and how it is run."""
    names = [p for p in sorted(HERE.rglob("*")) if p.suffix in KINDS]
    n = 0
    for path in names:
        text = path.read_text(errors="replace")
        if not re.search(r"^\s*(//|#) RUN: ", text, re.M):
            if "lib" not in path.relative_to(HERE).parts:
                missing.append(f"{path.relative_to(ROOT)}: no RUN line")
            continue
        n += 1
        first = text.split("\n", 1)[0]
        if not re.match(r"(//|#) (?!RUN:|CHECK)\S", first):
            missing.append(f"{path.relative_to(ROOT)}: the first line is no comment that says what it shows")
    if n < MIN_FILES:
        missing.append(f"tests/golden: {n} files, at least {MIN_FILES} are wanted")
    return f"{n} golden files"


def main():
    expected = expectations()
    said = [files(), ops(), passes(), rules(), kinds(), builtins(), error_codes(expected)]
    for line in missing:
        print("missing:", line)
    print("golden: " + ", ".join(said) + f"; {len(missing)} missing")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
