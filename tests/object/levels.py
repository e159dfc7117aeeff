#!/usr/bin/env python3
"""One object for several levels of x86-64 (--multiversion): each level told to it gives the bits of the object built for that
level alone; which it takes by itself, on this CPU and on those that qemu-user plays; and no instruction of a level stands in
code that a lower one runs.

    levels.py DHCC"""
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from targets import ABOVE_V2, ABOVE_V3, program

LEVELS = ["v2", "v3", "v4"]
CASES = [
    ("mamba", ["layers/mamba", "--root", "Mamba", "--set", "d_model=6", "--set", "d_state=5", "--entry", "stream", "--entry", "step"], {"B": 2, "L": 5}),
]
# what qemu-user plays, and the level it has (its translator knows no AVX-512)
CPUS = [("qemu64", -1), ("core2duo", -1), ("Nehalem", 0), ("Westmere", 0), ("SandyBridge", 0), ("Haswell", 1), ("max", 1)]
FLAGS = [{"ssse3", "cx16", "sse4_1", "sse4_2", "popcnt", "lahf_lm"}, {"fma", "movbe", "avx", "f16c", "abm", "bmi1", "avx2", "bmi2"},
         {"avx512f", "avx512dq", "avx512cd", "avx512bw", "avx512vl"}]
fails = 0


def wrong(text):
    global fails
    fails += 1
    print(f"FAILED: {text}")


def run(command, **more):
    return subprocess.run(command, check=True, capture_output=True, text=True, **more).stdout.strip()


def here():
    """The level that the system says this CPU has."""
    flags = set(re.search(r"^flags\s*:(.*)$", pathlib.Path("/proc/cpuinfo").read_text(), re.M).group(1).split())
    level = -1
    while level < 2 and FLAGS[level + 1] <= flags:
        level += 1
    return level


def functions(path):
    """Instructions of every function, as objdump writes them."""
    name, out = None, {}
    for line in run(["objdump", "-d", "--no-show-raw-insn", path]).splitlines():
        head = re.match(r"^[0-9a-f]+ <(.+)>:$", line)
        if head:
            name = head.group(1)
            out[name] = []
        elif name and "\t" in line:
            out[name].append(line.split("\t", 1)[1].strip())
    return out


def look_at_code(path):
    seen = [0, 0, 0]
    for name, code in functions(path).items():
        of = re.match(r"m_v(\d)_k\d+_", name)
        level = int(of.group(1)) - 2 if of else 0
        for i in code:
            word = i.split()[0]
            if level == 0 and (ABOVE_V2.match(word) or "%ymm" in i or ABOVE_V3.search(i)):
                wrong(f"{path}: {name} is for x86-64-v2 and has {i}")
            if level == 1 and ABOVE_V3.search(i):
                wrong(f"{path}: {name} is for x86-64-v3 and has {i}")
            seen[1] += level == 1 and "%ymm" in i
            seen[2] += level == 2 and "%zmm" in i
            seen[0] += level == 0 and "%xmm" in i
    if not all(seen):
        wrong(f"{path}: levels without their instructions: {seen}")


def look_at_symbols(path):
    for line in run(["nm", path]).splitlines():
        kind, name = line.split()[-2:]
        if kind == "U" and name not in ("memcpy", "memmove", "memset") or kind not in "UtTrR":
            wrong(f"{path}: symbol {line}")


def case(dhcc, name, asked, sizes, folder):
    folder.mkdir()
    build = [dhcc, "build", *asked, "--name", "m", "--quiet"]
    run([*build, "--multiversion", "-o", folder / "all.o", "--header", folder / "m.h"])
    run([*build, "--multiversion", "-o", folder / "again.o"])
    if (folder / "all.o").read_bytes() != (folder / "again.o").read_bytes():
        wrong(f"{name}: the same command twice makes two objects")
    look_at_symbols(folder / "all.o")
    look_at_code(folder / "all.o")
    want, text, shim = [], None, ""
    for i, level in enumerate(LEVELS):
        alone = folder / level
        alone.mkdir()
        run([*build, "--target", f"x86-64-{level}", "-o", alone / "m.o", "--header", alone / "m.h"])
        text = program((alone / "m.h").read_text(), sizes)
        (alone / "test.c").write_text(text)
        run(["cc", "-std=c11", "-O1", "-o", alone / "test", alone / "test.c", alone / "m.o"])
        want.append(run([alone / "test"]) if here() >= i else None)
        if want[i] and len(want[i]) < 8:
            wrong(f"{name}: {level} alone ends with {want[i]}")
    header = (folder / "m.h").read_text()
    for function in re.findall(r"^\w[\w ]*?[ *](\w+)_at\(int level", header, re.M):
        shim += f"#define {function}(...) {function}_at(LEVEL, ##__VA_ARGS__)\n"
    (folder / "m.h").write_text(header + "#ifdef LEVEL\n" + shim + "#endif\n")
    text = text.replace("int main(void) {", "int main(int n, char **a) {\n  (void)a;\n  if (n > 1) { printf(\"%d\\n\", m_level()); return 0; }", 1)
    (folder / "test.c").write_text(text)
    for i in range(len(LEVELS)):
        run(["cc", "-std=gnu11", "-O1", f"-DLEVEL={i}", "-o", folder / f"at{i}", folder / "test.c", folder / "all.o"])
        if want[i] and run([folder / f"at{i}"]) != want[i]:
            wrong(f"{name}: told level {LEVELS[i]}, the object gives other bits than that built for it")
    run(["cc", "-std=gnu11", "-O1", "-static", "-o", folder / "best", folder / "test.c", folder / "all.o"])
    if int(run([folder / "best", "level"])) != here():
        wrong(f"{name}: this CPU has level {here()}, the object says {run([folder / 'best', 'level'])}")
    if run([folder / "best"]) != want[here()]:
        wrong(f"{name}: by itself the object gives other bits")
    for cpu, level in CPUS if shutil.which("qemu-x86_64") else []:
        qemu = ["qemu-x86_64", "-cpu", cpu, folder / "best"]
        if int(run([*qemu, "level"])) != level:
            wrong(f"{name}: on {cpu} the object takes level {run([*qemu, 'level'])} instead of {level}")
        # without any level the entry's own status: 16 + DHC_OBJECT_VARIANT, or no workspace
        got = run(qemu)
        if level >= 0 and got != want[level] or level < 0 and got not in ("3", "19"):
            wrong(f"{name}: on {cpu} the object gives {got}")
    # bits are the same at all levels: that another one runs shows where its instructions are missing
    for i, cpu in [(1, "Nehalem"), (2, "Haswell")] if shutil.which("qemu-x86_64") else []:
        run(["cc", "-std=gnu11", "-O1", "-static", f"-DLEVEL={i}", "-o", folder / f"at{i}", folder / "test.c", folder / "all.o"])
        got = subprocess.run(["qemu-x86_64", "-cpu", cpu, folder / f"at{i}"], capture_output=True).returncode
        if got != -4:
            wrong(f"{name}: level {LEVELS[i]} on {cpu} ends with {got}, not with an illegal instruction")
    if not shutil.which("qemu-x86_64"):
        print("skipped: other CPUs (no qemu-x86_64)")


with tempfile.TemporaryDirectory() as at:
    for name, asked, sizes in CASES:
        case(sys.argv[1], name, asked, sizes, pathlib.Path(at) / name)
print("ok" if not fails else f"{fails} failures")
sys.exit(fails != 0)
