#!/usr/bin/env python3
"""Objects for other machines: built, linked by Debian's cross compilers, run under qemu-user (wasm32: Node.js), and
compared with what the object for this machine computes, bit for bit. So is the C99 source (--emit c), once with the
fused multiply-add of its own and once with the machine's.

    targets.py DHCC [TARGET]

A program that needs nothing but the header fills weights, inputs and, where there is one, state with numbers of a fixed
generator, calls every entry and prints a hash of what it wrote. Targets without their tools are named as skipped;
their objects are built, and their symbol tables read, all the same."""
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
STACK = ["num_layers=2", "mamba_ratio=1", "num_heads=2", "num_experts=3"]
# name, what is built, sizes; every kind of kernel is in one of them
CASES = [
    ("mlp", ["mlp", "--set", "hidden=20"], {"B": 3}),
    ("ssm", ["dhc_ssm", "--set", "hidden_dim=4", "--set", "tokens=grid", "--entry", "classify"], {"B": 2, "H": 17, "W": 16}),
    ("jamba", ["dhc_jamba", "--set", "hidden_dim=4", *[w for s in STACK for w in ("--set", s)]], {"B": 2, "H": 16, "W": 16}),
    ("seq", ["seq", "--set", "vocabulary=7", "--set", "d_model=8", "--set", "d_state=4", *[w for s in STACK for w in ("--set", s)],
             "--entry", "stream", "--entry", "step"], {"B": 2, "L": 5}),
    ("lstm", ["lstm", "--set", "d_in=5", "--set", "hidden=6"], {"B": 2, "L": 4}),
    ("norm", ["layers/norm", "--root", "BatchNorm2d", "--set", "channels=3"], {"B": 2, "H": 5, "W": 7}),
    ("tiles", ["layers/conv", "--root", "Conv2d", "--set", "in_channels=17", "--set", "out_channels=16", "--set", "padding=1"], {"B": 2, "H": 5, "W": 6}),
    ("long", ["layers/norm", "--root", "LayerNorm", "--set", "d=40000"], {}),
]
# what a step of training has beside them (kinds.dhc)
TRAINED = ("train", ["--entry", "train_step"])
# target and CPU, cross compiler (None: no program is run), emulator: of a CPU with no more than the target, where QEMU has one
TARGETS = [
    ("c99", ["cc", "-ffp-contract=off"], []),
    ("c99 fma", ["cc", "-ffp-contract=off", "-mfma"], []),
    ("x86-64-v2", ["cc"], []),
    ("x86-64-v3", ["cc"], []),
    ("aarch64", ["aarch64-linux-gnu-gcc"], ["qemu-aarch64", "-cpu", "cortex-a53"]),
    ("riscv64", ["riscv64-linux-gnu-gcc"], ["qemu-riscv64", "-cpu", "sifive-u54"]),
    ("armv7", ["arm-linux-gnueabihf-gcc", "-marm"], ["qemu-arm"]),
    ("wasm32", ["clang", "--target=wasm32", "-nostdlib", "-Wl,--no-entry", "-Wl,--export=test"], ["node"]),
    ("x86-64", None, []),
    ("x86-64-v4", None, []),
    ("thumbv7em", None, []),
    ("thumbv7em cortex-m4", None, []),
    ("aarch64 neoverse-v2", None, []),
    ("riscv64 sifive-u74", None, []),
    ("armv7 cortex-a9", None, []),
]
# x86: BMI, LZCNT, MOVBE; whatever begins with v is AVX or later, but for these
ABOVE_V2 = re.compile(r"^(v(?!err|erw|mcall|mload)\w+|andn|bextr|blsi|blsmsk|blsr|tzcnt|bzhi|mulx|pdep|pext|rorx|sarx|shlx|shrx|lzcnt|movbe|k\w+[bwdq])$")
ABOVE_V3 = re.compile(r"%zmm|%[xy]mm(1[6-9]|2\d|3[01])\b|%k[0-7]\b")
# what a target's code has not: disassembler (qemu runs what of others is above), instruction with operands
ABOVE = {
    "x86-64": ("objdump", lambda i: ABOVE_V2.match(i.split()[0]) or re.search("%ymm", i) or ABOVE_V3.search(i) or re.match(r"pshufb|pmulld|round[sp][sd]|blendv|pinsr[dq]|pextr[dq]|p(min|max)[su]d|insertps|popcnt", i)),
    "x86-64-v2": ("objdump", lambda i: ABOVE_V2.match(i.split()[0]) or re.search("%ymm", i) or ABOVE_V3.search(i)),
    "x86-64-v3": ("objdump", lambda i: ABOVE_V3.search(i)),
    "armv7": ("arm-linux-gnueabihf-objdump", lambda i: re.search(r"\bq\d+\b", i) or re.match(r"v\w+\.[fisu](8|16|32)\s+d\d", i)),  # NEON
}
LINKERS = {"memcpy", "memmove", "memset", "__stack_pointer", "__linear_memory", "__indirect_function_table"}
NODE = """const fs = require('fs');
WebAssembly.instantiate(fs.readFileSync(process.argv[2]), {}).then(m =>
  console.log(BigInt.asUintN(64, m.instance.exports.test()).toString(16)));
"""
NO_F64 = "--cpu cortex-m4: it computes no f64, which code of this object does"
BYTES = {"f32": 4, "f64": 8, "i64": 8, "i32": 4, "bool": 1, "u8": 1, "bf16": 2}


def program(header, sizes, exact=False):
    """The C program of a header: its prototypes say all there is to know. exact: all memory ends where nothing may be touched, for
    sanitizers to see."""
    name = re.search(r"const char \*(\w+)_describe\(void\)", header).group(1)
    out = ['#include "m.h"', "void *memcpy(void *restrict to, const void *restrict from, __SIZE_TYPE__ n);",
           "void *memset(void *to, int v, __SIZE_TYPE__ n);",
           "#ifdef __wasm__",
           "void *memcpy(void *restrict to, const void *restrict from, __SIZE_TYPE__ n) {",
           "  for (__SIZE_TYPE__ i = 0; i < n; i++) ((volatile char *)to)[i] = ((const char *)from)[i];", "  return to;", "}",
           "void *memset(void *to, int v, __SIZE_TYPE__ n) {",
           "  for (__SIZE_TYPE__ i = 0; i < n; i++) ((volatile char *)to)[i] = (char)v;", "  return to;", "}",
           "#else", "#include <stdio.h>", "#endif",
           "static uint32_t seed;",
           "static uint32_t next(void) { seed = seed * 1664525u + 1013904223u; return seed >> 8; }",
           "static uint64_t hash = 0xcbf29ce484222325u;",
           "static void look(const void *p, int n) {",
           "  for (int i = 0; i < n; i++) hash = (hash ^ ((const unsigned char *)p)[i]) * 0x100000001b3u;", "}",
           "" if exact else "static _Alignas(64) char memory[8][1 << 20], work[1 << 22], state[1 << 20];",
           "#include <stdlib.h>\nstatic char *work, *state, *weights, *tensor;" if exact else
           f"static _Alignas(64) char weights[{name.upper()}_WEIGHTS_BYTES + 64], tensor[{name.upper()}_WEIGHTS_BYTES + 64];",
           "static void floats(void *p, int n, float by) {",
           "  for (int i = 0; i < n; i++) ((float *)p)[i] = by * ((float)(next() % 2001) / 1000 - 1);", "}",
           "static void fill(void *p, int n, int bytes) {",
           "  if (bytes == 4) floats(p, n, 1);",
           "  else if (bytes == 8) for (int i = 0; i < n; i++) ((int64_t *)p)[i] = next() % 5;",
           "  else for (int i = 0; i < n; i++) ((uint8_t *)p)[i] = (uint8_t)(next() % 2);", "}",
           "uint64_t test(void);", "uint64_t test(void) {", "  int64_t got;"]
    if exact:  # multiples of 64 bytes lie end to end with what is forbidden
        out.append(f"  weights = aligned_alloc(64, {name.upper()}_WEIGHTS_BYTES);")
        out.append(f"  tensor = malloc({name.upper()}_WEIGHTS_BYTES);")
    tensors = re.findall(r"^ \*\s+(\d+)  (\S+) (\w+)\[([\d, ]*)\]$", header, re.M)
    if tensors:
        out.append(f"  if ({name}_weights_begin(weights, {name.upper()}_WEIGHTS_BYTES)) return 1;")
    for number, path, dtype, shape in tensors:
        n = 1
        for d in shape.split(","):
            n *= int(d or 1)
        out.append(f"  floats(tensor, {n}, 0.5f);")
        if path.endswith("var"):  # not below 0: the bits of a NaN are the machine's
            out.append(f"  for (int i = 0; i < {n}; i++) ((float *)tensor)[i] += 1;")
        out.append(f"  if ({name}_weights_set(weights, {number}, tensor, {BYTES[dtype]} * INT64_C({n}))) return 2;")
    entries = re.findall(r"^dhc_object_status (\w+)\((.*)\);$", header, re.M)
    entries = [e for e in entries if "_weights_" not in e[0]]
    entries.sort(key=lambda e: (not e[0].endswith("reset"), e[0]))
    for function, parameters in entries:
        arguments, outs, ins, k = [], [], [], 0
        dims = [p.split()[-1] for p in parameters.split(", ") if re.fullmatch(r"int64_t \w+", p) and not p.endswith("workspace_bytes")]
        values = ", ".join(str(sizes.get(d, 2)) for d in dims)
        comment = header[:header.index(f"dhc_object_status {function}(")].rsplit("/* ---- ", 1)[1]
        for p in parameters.split(", "):
            kind, argument = p.rsplit(" ", 1)
            argument = argument.lstrip("*")
            if argument in ("weights", "state"):
                arguments.append(argument)
            elif argument == "workspace":
                arguments += [values] if values else []
                arguments += ["work", "got", "0"]
                break
            elif "*" in p:
                shape = re.search(rf"^ \*   {argument} +(?:in |out) (\w+)(?:\[(.*)\])?$", comment, re.M)
                n = 1
                for d in (shape.group(2) or "1").split(", "):
                    for factor in d.split("*"):
                        n *= int(factor) if factor.isdigit() else sizes.get(factor, 2)
                (ins if "const" in kind else outs).append((k, n, BYTES[shape.group(1)]))
                arguments.append(f"memory{k}" if exact else f"(void *)memory[{k}]")
                k += 1
        out.append("  {" if exact else "")
        out.append(f"  got = {function}_workspace_bytes({values + ', ' if values else ''}1);")
        out.append("  if (got < 0 || (got && !(work = aligned_alloc(64, (size_t)got)))) return 3;" if exact else
                   "  if (got < 0 || got > (int64_t)sizeof work) return 3;")
        if exact and "state" in arguments:
            out.append(f"  if (!state) state = aligned_alloc(64, (size_t){function}_state_bytes({values}));")
        at = (lambda k: f"memory{k}") if exact else (lambda k: f"memory[{k}]")
        out += [f"  void *memory{k} = malloc({n * b});" for k, n, b in ins + outs] if exact else []
        out += [f"  fill({at(k)}, {n}, {b});" for k, n, b in ins]
        out.append(f"  if ((got = {function}({', '.join(arguments)}))) return 16 + (uint64_t)got;")
        out += [f"  look({at(k)}, {n * b});" for k, n, b in outs]
        out += [f"  free(memory{k});" for k, _, _ in ins + outs] + ["  free(work);", "  work = 0;", "  }"] if exact else []
    out += ["  return hash;", "}", "#ifndef __wasm__",
            'int main(void) { printf("%llx\\n", (unsigned long long)test()); return 0; }', "#endif"]
    return "\n".join(out) + "\n"


def run(*command, cwd, patience=240):
    done = subprocess.run([str(c) for c in command], cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=patience)
    return done.returncode, done.stdout.decode("utf-8", "replace").strip()


def above(target, path, cwd):
    """The first instruction of an object that its target has not; None."""
    tool, is_above = ABOVE.get(target.split(" ")[0], ("", None))
    if not shutil.which(tool):
        return None
    name, seen = "", 0
    for line in run(tool, "-d", "--no-show-raw-insn", path, cwd=cwd)[1].splitlines():
        name = line if line.endswith(">:") else name
        if "\t" not in line:
            continue
        seen += 1
        if is_above(line.split("\t", 1)[1].strip()):
            return f"{name} {line.strip()}"
    return None if seen > 20 else "nothing that is an instruction"


def kinds(path, cwd):
    """Kinds of the kernels of an object, from their names."""
    text = run("nm", path, cwd=cwd)[1]
    return set(re.findall(r"\bm_k\d+_([a-z_]+)$", text, re.M))


def undefined(path, cwd):
    for nm in ("llvm-nm-19", "llvm-nm", "nm"):
        if shutil.which(nm):
            code, text = run(nm, "-u", path, cwd=cwd)
            return {line.split()[-1] for line in text.splitlines() if line.strip()} if code == 0 else set()
    return set()


def main():
    dhcc, only = pathlib.Path(sys.argv[1]).resolve(), sys.argv[2:]
    wrong, skipped, want, seen = [], [], {}, set()
    fuses = " fma " in (pathlib.Path("/proc/cpuinfo").read_text() if pathlib.Path("/proc/cpuinfo").exists() else "")
    with tempfile.TemporaryDirectory() as folder:
        at = pathlib.Path(folder)
        (at / "run.js").write_text(NODE)
        for target, compiler, emulator in [("", ["cc"], [])] + TARGETS:
            if only and target and target not in only:
                continue
            tools = (compiler or [])[:1] + emulator[:1]
            missing = [t for t in tools if not shutil.which(t)]
            if missing:
                skipped.append(f"{target} (no {' and no '.join(missing)})")
            for name, model, sizes in CASES + [(TRAINED[0], [HERE / "kinds.dhc", *TRAINED[1]], None)]:
                c99 = target.startswith("c99")
                if c99 and name not in (("mlp", "ssm") if "fma" in target else ("mlp", "ssm", "seq", "norm", "long")):
                    continue  # compilers take seconds for each
                if target == "c99 fma" and not fuses:
                    continue
                if (" " in target or target == "x86-64") and not c99 and name not in ("mlp", "seq", "train"):
                    continue  # all that others of the kind do not have
                flag = ["--emit", "c"] if c99 else ["--target", target.split()[0]] if target else []
                flag += ["--cpu", target.split()[1]] if " " in target and not c99 else []
                code, text = run(dhcc, "build", *model, *flag, "--name", "m", "-o", "o.c" if c99 else "m.o", "--header", "m.h", cwd=at)
                if c99 and not code:  # functions alone: this file has no types of the program's
                    code, text = run(*compiler, "-std=c99", "-O1", "-ffreestanding", "-Wall", "-Wextra", "-pedantic", "-Werror", "-c", "-o", "m.o", "o.c", cwd=at)
                if code and "cortex-m4" in target and name != "mlp" and NO_F64 in text:
                    continue
                if code:
                    wrong.append(f"{target}: {name}: {text}")
                    continue
                rest = {s for s in undefined("m.o", at) if s not in LINKERS and not s.startswith("__aeabi_mem")}
                if rest:
                    wrong.append(f"{target}: {name} leaves {' '.join(sorted(rest))} undefined")
                found = None if c99 else above(target, "m.o", at)
                if found:
                    wrong.append(f"{target}: {name} has {found}")
                seen |= kinds("m.o", at) if not target else set()
                if missing or not compiler or sizes is None:
                    continue
                (at / "m.c").write_text(program((at / "m.h").read_text(), sizes))
                link = ["-static"] if emulator and emulator != ["node"] else []
                code, text = run(*compiler, "-std=c11", "-O1", "-fno-builtin", *link, "-o", "m", "m.c", "m.o", cwd=at)
                if code:
                    wrong.append(f"{target}: {name} does not link: {text}")
                    continue
                code, text = run(*emulator, *(["run.js"] if emulator == ["node"] else []), "./m", cwd=at)
                if not target:
                    want[name] = text
                    if code or len(text) < 8:
                        wrong.append(f"this machine: {name}: exit {code}: {text}")
                elif code or text != want.get(name):
                    wrong.append(f"{target}: {name}: exit {code}, {text} where this machine has {want.get(name)}")
    all_kinds = set(re.findall(r'^KIND\(\w+, "(\w+)"', (HERE / "../../ir/kinds.def").read_text(), re.M))
    missing = all_kinds - seen - {"scan_back", "route"}  # for those two GPUs alone have kernels
    if missing:
        wrong.append(f"no kernel of kind {' '.join(sorted(missing))}")
    for line in wrong:
        print("FAILED:", line)
    for line in skipped:
        print("skipped:", line)
    print(f"{len(CASES)} models, {len(TARGETS) - len(skipped)} targets" if not wrong else "", flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
