#!/usr/bin/env python3
"""Each row of ir/limits.def below, at and above its value, and texts that recurse or multiply.

    limits.py DHCC SOURCE_DIR SECONDS

Below and at a limit a text must check; above it must end with the row's code, at a place, within
SECONDS of processor time. A row without a generator here fails."""
import os
import pathlib
import re
import resource
import subprocess
import sys
import tempfile

dhcc, source, seconds = sys.argv[1], pathlib.Path(sys.argv[2]), float(sys.argv[3])
work = pathlib.Path(tempfile.mkdtemp())
fails = 0


def fail(text):
    global fails
    fails += 1
    print("FAILED:", text)


def model(items="", body="return x", outside=""):
    return f"{outside}\nmodel M() {{\n{items}\n  forward<B>(x: [B, 4]) -> (y: [B, 4]) {{\n{body}\n  }}\n}}\n"


def value(expression, outside=""):
    """A model in which an int is computed."""
    return model(f"  const k = {expression}\n  param w: [k // k * 4] = ones()", "return x + w", outside)


def imports(n):
    for i in range(n):
        (work / f"i{i}.dhc").write_text(f'import "i{i + 1}.dhc"\n')
    (work / f"i{n}.dhc").write_text("const c = 4\n")
    return 'import "i1.dhc"\n' + model() if n else model()


def nodes(n):
    # x, one constant, then binary ops; the constant is made anew for each: 2 nodes an op
    return model(body="    y = x\n    for i in 0..%d { for j in 0..%d { y = neg(y) } }\n%s    return y" % (
        (n - 1) // 1000, 1000, "    y = neg(y)\n" * ((n - 1) % 1000)))


def terms(n):
    """A size of n terms: sums of products of 6 symbols."""
    names = "BCDEFG"
    out = []
    for a in range(len(names) + 1):
        for b in range(a, len(names) + 1):
            for c in range(b, len(names) + 1):
                for d in range(c, len(names) + 1):
                    for e in range(d, len(names) + 1):
                        out.append("*".join(names[i] for i in (a, b, c, d, e) if i < len(names)) or "1")
    assert n <= len(out), len(out)
    inputs = ", ".join(f"{s.lower()}: [{s}]" for s in names)
    return ("model M() {\n  forward<B, C, D, E, F, G>(%s) -> (y: [B]) {\n    s = %s\n    return b * float(s)\n  }\n}\n" % (
        inputs, " + ".join(out[:n])))


def nested_division(n):
    e = "B"
    for _ in range(n):
        e = f"(({e}) * B + 1) // 3"
    return model(body=f"    s = {e}\n    return x * float(s)")


generators = {
    "SOURCE_MIB": lambda n: None,  # in bytes, below
    "NESTING": lambda n: value("(" * (n - 1) + "4" + ")" * (n - 1)),
    "OPERATORS": lambda n: value("4" + "+0" * n),
    "IMPORTS": lambda n: imports(n),
    "STEPS": lambda n: None,  # counted by evaluation, below
    "CALLS": lambda n: value(f"f({n - 1})", "fn f(n: int) -> (y: int) { return f(n - 1) if n > 0 else 4 }"),
    "EVALUATIONS": lambda n: None,
    "LOOP": lambda n: model("  for i in 0..%d { const c = i }" % n),
    "LIST": lambda n: value(f"len([1] * {n})"),
    "STRING": lambda n: value(f'len("x" * {n})'),
    "SCALARS": lambda n: "model M(a: float = 1.0) {\n  forward<B>(x: [B]) -> (y: [B]) {\n    f = a\n    for i in 0..%d { f = f * a }\n    return x * f\n  }\n}\n" % n,
    "INDICES": lambda n: "layer L() { forward<B>(x: [B]) -> (y: [B]) { return x } }\nmodel M() {\n  l%s = L()\n  forward<B>(x: [B]) -> (y: [B]) { return x }\n}\n" % ("[0]" * n),
    "CONDITIONS": lambda n: model(body="".join(f"    if B > {i} {{ x = x }}\n" for i in range(1, n + 1)) + "    return x"),
    "VERSIONS": lambda n: None,
    "RANK": lambda n: model("  param w: [%s] = ones()" % ", ".join(["1"] * n), "return x + reshape(w, [1])"),
    "NODES": lambda n: nodes(n),
    "RESULTS": lambda n: None,
    "DIM_TERMS": terms,
    "DIM_DEGREE": lambda n: model(body="    s = %s\n    return x * float(s)" % "*".join(["B"] * n)),
    "DIM_NESTING": nested_division,
}


# What is said above a limit: of rows whose wording is checked nowhere else, and of texts below.
words = {
    "SCALARS": ["a float made of more than 1000 operations on floats known at run time"],
    "CONDITIONS": ["more than 2000 conditions on sizes that nothing decides",
                   "each `if` on dims that nothing decides doubles the versions of the entry; state facts with require"],
    "DIM_TERMS": ["a size has at most 256 terms of 16 factors, divisions within divisions 16 deep"],
    "EVALUATIONS": ["more than 2000 expressions within one another, through all calls"],
    "a list deep in itself": ["lists and maps nested deeper than 256 levels"],
    "many functions in a circle": ["in this call of f0", "… 58 places …"],
}


def check(name, text, code, arguments=(), place=True):
    path = work / "m.dhc"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    try:
        done = subprocess.run([dhcc, "check", "m.dhc", *arguments], cwd=work, capture_output=True, timeout=20 * seconds)
    except subprocess.TimeoutExpired:
        fail(f"{name}: no end in {20 * seconds} s")
        return ""
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime - before.ru_utime
    said = (done.stderr + done.stdout).decode("utf-8", "replace")
    first = said.split("\n")[0][:160]
    if code is None:
        if done.returncode != 0:
            fail(f"{name}: exit {done.returncode}: {first}")
    elif done.returncode != 1 or f"[{code}]" not in first or (place and not re.match(r"[\w./]+:\d+:\d+: ", first)):
        fail(f"{name}: exit {done.returncode}, want {code}: {first}")
    for line in words.get(name, words.get(name.split()[0], [])) if code else []:
        if line not in said:
            fail(f"{name}: does not say '{line}': {said[:600]}")
    if spent > seconds:
        fail(f"{name}: {spent:.1f} s of processor time")
    return said


def rows():
    text = (source / "ir/limits.def").read_text()
    found = re.findall(r'^LIMIT\((\w+), (\d+), "[^"]*", "(E\d+)"\)', text, re.M)
    assert len(found) > 15, found
    return [(name, int(n), code) for name, n, code in found]


def table():
    for name, n, code in rows():
        if name not in generators:
            fail(f"{name}: no generator in tests/limits/limits.py")
            continue
        for k in (n - 1, n, n + 1):
            text = generators[name](k)
            if text is not None:
                check(f"{name} {k}", text, code if k > n else None)


def rest():
    """Those that a text of n things does not show."""
    limit = {name: (n, code) for name, n, code in rows()}
    n, code = limit["SOURCE_MIB"]
    base = model().encode()
    for k in (-1, 0, 1):
        check(f"SOURCE_MIB {k}", base + b"#" * ((n << 20) + k - len(base)), code if k > 0 else None, place=False)
    n, code = limit["STEPS"]
    loops = "model M() {\n  for i in 0..%d { for j in 0..1000 { const k = %s } }\n  forward<B>(x: [B]) -> (y: [B]) { return x }\n}\n"
    check("STEPS below", loops % (100, "1 + 1"), None)
    check("STEPS above", loops % (1000, "1 + 1"), code)
    n, code = limit["EVALUATIONS"]
    # 8 levels a call and the call itself
    deep = "fn f(n: int) -> (y: int) { return (%s f(n - 1)%s) if n > 0 else 4 }" % ("+(" * 60, ")" * 60)
    check("EVALUATIONS below", value("f(15)", deep), None)
    check("EVALUATIONS above", value("f(40)", deep), code)
    n, code = limit["RESULTS"]
    for k in (n - 1, n, n + 1):
        # split names its own rule where the limit is met
        check(f"RESULTS {k}", "model M() {\n  forward(x: [%d]) -> (y: [1]) {\n    l = split(x, %d)\n    return l[0][0:1]\n  }\n}\n" % (
            k * 2, k), None if k <= n else "E0308")


multiply = {
    "a function calls itself twice": (value("f(40)", "fn f(n: int) -> (y: int) { return f(n - 1) + f(n - 2) if n > 1 else n }"), "E0323"),
    "a function calls itself for ever": (value("f(1)", "fn f(n: int) -> (y: int) { return f(n + 1) }"), "E0315"),
    "and twice": (value("f(1)", "fn f(n: int) -> (y: int) { return f(n + 1) + f(n + 2) }"), "E0315"),
    "functions in a circle": (value("f(1)", "fn f(n: int) -> (y: int) { return g(n) }\nfn g(n: int) -> (y: int) { return f(n) }"), "E0315"),
    "many functions in a circle": (value("f0(1)", "".join(
        f"fn f{i}(n: int) -> (y: int) {{ return f{(i + 1) % 8}(n) }}\n" for i in range(8))), "E0315"),
    "2^40 calls": (value("f39(1)", "fn f0(n: int) -> (y: int) { return n }\n" + "".join(
        f"fn f{i}(n: int) -> (y: int) {{ return f{i - 1}(n) + f{i - 1}(n) }}\n" for i in range(1, 40))), "E0323"),
    "2^40 calls on tensors": (model(body="return f39(x)", outside="fn f0<...S>(x: [...S]) -> (y: [...S]) { return x }\n" + "".join(
        f"fn f{i}<...S>(x: [...S]) -> (y: [...S]) {{ return f{i - 1}(x) + f{i - 1}(x) }}\n" for i in range(1, 40))), "E0323"),
    "a layer that holds itself": ("layer A() { a = A() }\nmodel M() { a = A() }\n", "E0315"),
    "and twice, in layers": ("layer A() { a = A()\n b = A() }\nmodel M() { a = A() }\n", "E0315"),
    "layers in a circle": ("layer A() { b = B() }\nlayer B() { a = A() }\nmodel M() { a = A() }\n", "E0315"),
    "2^40 layers": ("layer L0() { const c = 1 }\n" + "".join(
        f"layer L{i}() {{ a = L{i - 1}()\n b = L{i - 1}() }}\n" for i in range(1, 40)) + "model M() { a = L39() }\n", "E0323"),
    "an entry that calls itself": (model(body="return forward(x)"), "E0315"),
    "a loop over a huge range": (model("  for i in 0..1000000000000 { const c = i }"), "E0304"),
    "loops in loops": (model("  for i in 0..10000 { for j in 0..10000 { const c = i } }"), "E0323"),
    "loops in an entry": (model(body="    for i in 0..10000 { for j in 0..10000 { k = i } }\n    return x"), "E0323"),
    "a string doubles": (model(body='    s = "ab"\n    for i in 0..60 { s = s + s }\n    return x'), "E0304"),
    "a list doubles": (model(body="    l = [1, 2]\n    for i in 0..60 { l = l + l }\n    return x"), "E0304"),
    "a list of itself doubles": (model(body="    l = [1, 2]\n    for i in 0..60 { l = [l, l] }\n    m = [1, 2]\n    for i in 0..60 { m = [m, m] }\n"
                                            '    require l == m\n    return x'), "E0323"),
    "a list of itself is said": (model(body="    l = [1, 2]\n    for i in 0..60 { l = [l, l] }\n    require len(str(l)) > 5000, \"short\"\n    return x"), "E0305"),
    "a list deep in itself": (model(body="    l = [1]\n    for i in 0..10000 { l = [l] }\n    return x"), "E0315"),
    "a map deep in itself": (model(body="    l = { a = 1 }\n    for i in 0..10000 { l = { a = l } }\n    return x"), "E0315"),
    "long lists again and again": (model(body="    l = [1] * 90000\n    for i in 0..10000 { m = l + [i] }\n    return x"), "E0323"),
    "long strings again and again": (model(body='    l = "x" * 60000\n    for i in 0..10000 { m = l + str(i) }\n    return x'), "E0323"),
    "constants in a circle": ("const a = b\nconst b = a\n" + model("  const c = a"), None),
    "a size squared for ever": (model(body="    s = B\n    for i in 0..60 { s = s * s }\n    return x"), "E0304"),
    "a size halved for ever": (model(body="    s = B\n    for i in 0..1000 { s = (s * B + 1) // 3 }\n    return x"), "E0304"),
    "powers of sums": ("model M() {\n  forward<A, B, C, D>(a: [A], b: [B], c: [C], d: [D]) -> (y: [A]) {\n    s = (A + B + C + D) ^ 4000\n    return a\n  }\n}\n", "E0304"),
    "run-time floats for ever": ("model M(a: float = 1.0) {\n  forward<B>(x: [B]) -> (y: [B]) {\n    f = a\n    for i in 0..100 { for j in 0..1000 { f = f * a } }\n    return x * f\n  }\n}\n", "E0315"),
    "run-time floats double": ("model M(a: float = 1.0) {\n  forward<B>(x: [B]) -> (y: [B]) {\n    f = a\n    for i in 0..60 { f = f + f }\n    return x * f\n  }\n}\n", None),
    "a tensor doubles": (model(body="    for i in 0..60 { x = x + x }\n    return x"), None),
    "conditions of every kind": (model(body="".join(f"    if {i % 7 + 1} * B * B > {i} * B + {i * i % 89} {{ x = x }}\n" for i in range(1, 400)) + "    return x"), None),
    "every name a function": (value("f2999(1)", "".join(f"fn f{i}(n: int) -> (y: int) {{ return n }}\n" for i in range(3000))), None),
    "every name twice": ("".join(f"fn f{i}(n: int) -> (y: int) {{ return n }}\n" for i in range(20000)) * 2 + model(), "E0302"),
    "many members": ("model M() {\n" + "".join(f"  param w{i}: [4] = ones()\n" for i in range(3000)) + "  forward<B>(x: [B, 4]) -> (y: [B, 4]) { return x }\n}\n", None),
    "many elements": ("layer L() { param w: [1] = ones() }\nmodel M() {\n  for i in 0..10 { for j in 0..300 { l[i][j] = L() } }\n  forward<B>(x: [B, 4]) -> (y: [B, 4]) { return x }\n}\n", None),
}


def attacks():
    for name, (text, code) in multiply.items():
        said = check(name, text, code)
        if code in ("E0315", "E0323") and "functions" in name and "in this call of" not in said:
            fail(f"{name}: the calls are not named: {said[:400]}")
    # imports that fan out: 15 levels of 12 files, each importing all of the next
    for level in range(15):
        for i in range(12):
            (work / f"d{level}_{i}.dhc").write_text("".join(f'import "d{level + 1}_{k}.dhc"\n' for k in range(12)) if level < 14 else f"const c{i} = 4\n")
    check("imports that fan out", "".join(f'import "d0_{k}.dhc"\n' for k in range(12)) + model("  const k = c3 + c4 + c5\n", "return x + float(k)"), None)


def near_linear():
    """Twice the conditions take about twice the time, whatever their kind."""
    def spent(n):
        text = model(body="".join(f"    if {i % 5 + 1} * B > {i} {{ x = x }}\n" for i in range(1, n + 1)) + "    return x")
        (work / "m.dhc").write_text(text)
        best = 1e9
        for _ in range(3):
            before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
            subprocess.run([dhcc, "check", "m.dhc"], cwd=work, capture_output=True, timeout=120)
            best = min(best, resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before)
        return best
    base, few, many = spent(1), spent(900), spent(1800)
    if many - base > 4 * max(few - base, 0.1):  # hundredths are noise; what grows with the square takes seconds
        fail(f"undecided conditions: 900 take {few - base:.3f} s, 1800 take {many - base:.3f} s")
    print(f"undecided conditions: 900 in {few - base:.3f} s, 1800 in {many - base:.3f} s")


os.environ["NO_COLOR"] = "1"
table()
rest()
attacks()
near_linear()
subprocess.run(["rm", "-rf", str(work)])
print(f"{fails} failures")
sys.exit(fails != 0)
