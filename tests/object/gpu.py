#!/usr/bin/env python3
"""Objects for GPUs (--backend cuda): the C file compiles with nothing but its header, needs the driver's functions and no other, takes
the code that fits the GPU, and hands the driver what a GPU takes. There is no GPU here: the driver is gpu_driver.c.

    gpu.py DHCC"""
import os
import pathlib
import re
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import made_weights

HERE = pathlib.Path(__file__).parent
STRICT = ["cc", "-std=c11", "-Wall", "-Wextra", "-pedantic", "-Werror"]
fails = 0


def wrong(text):
    global fails
    fails += 1
    print(f"FAILED: {text}")


def run(*command, **more):
    return subprocess.run([str(c) for c in command], capture_output=True, text=True, **more)


def must(*command):
    done = run(*command)
    if "libnvrtc" in done.stderr:
        print("skipped: no NVRTC")
        sys.exit(77)
    if done.returncode:
        sys.exit(f"FAILED: {' '.join(map(str, command))}: {done.stdout}{done.stderr}")
    return done.stdout


def refusals(dhcc, at):
    out = ["-o", at / "no.c", "--header", at / "no.h"]
    for more, code, text in [
            (["-o", at / "no.o"], 2, "needs a name that ends in .c"),
            (["-o", at / "no.c"], 2, "--backend cuda: needs --header, which the source includes"),
            ([*out, "--target", "aarch64"], 2, "--backend cuda: an object for GPUs has no --target"),
            ([*out, "--multiversion"], 2, "--backend cuda: an object for GPUs has no --multiversion"),
            ([*out, "--timing", "bounded"], 2, "--backend cuda: an object for GPUs has no --timing"),
            ([*out, "--quantize", "int8", "--weights", at / "w.safetensors"], 2, "--backend cuda: an object for GPUs has no --quantize"),
            ([*out, "--weights", at / "w.safetensors"], 2, "--backend cuda: weights lie on the GPU; with --weights needs --weights-file"),
            ([*out, "--gpu-arch", "sm_8"], 2, '--gpu-arch: needs architectures such as sm_80,sm_90a, got "sm_8"'),
            ([*out, "--gpu-arch", ",".join(["sm_80"] * 16)], 2, "--gpu-arch: more than 15 architectures")]:
        done = run(dhcc, "build", "mlp", "--set", "hidden=8", "--backend", "cuda", *more)
        if done.returncode != code or text not in done.stderr or (at / "no.c").exists():
            wrong(f"{more}: {done.returncode}: {done.stderr}")


def use(at, asked, call, room, sizes, n_in, n_out, dhcc):
    """Builds a model, and a program that calls it on the driver of the tests."""
    must(dhcc, "build", *asked, "--backend", "cuda", "--gpu-arch", "sm_80,sm_90a", "--weights", at / "w.safetensors", "--weights-file", at / "w.bin",
         "--name", "m", "--quiet", "-o", at / "m.c", "--header", at / "m.h")
    must(*STRICT, "-O1", "-c", "-o", at / "m.o", at / "m.c")
    for symbol in must("nm", "-u", at / "m.o").split():
        if symbol != "U" and symbol not in ("memcpy", "memset", "memmove") and not symbol.startswith("cu"):
            wrong(f"{asked[0]}: the object leaves {symbol} undefined")
    must(*STRICT, f'-DOBJECT="{at / "m.h"}"', f"-DCALL={call}", f"-DBYTES={room}", "-DSTREAM=7", "-o", at / "program", HERE / "gpu_program.c", at / "m.o",
         HERE / "gpu_driver.c")
    (at / "in.bin").write_bytes(bytes(n_in))
    return lambda cc: run(at / "program", at / "w.bin", at / "in.bin", n_out, at / "out.bin", *sizes, env={**os.environ, "GPU_CC": str(cc)})


TINY = """import std/optim
model Tiny(d: int = 64, k: int = 1) {
  param w: [d] = normal(0.0, 0.1)
  param v: [k] = zeros()
  forward<B>(x: [B, d]) -> (y: [B, d]) { return x * w + sum(v) }
  loss<B>(x: [B, d]) -> (loss: []) { return sum(x * w) }
}
recipe default for Tiny {
  optimizer = adamw(weight_decay = 0.01)
  lr(step, steps) = 1e-3
}
"""


def around(dhcc, at, form, *asked):
    """Builds an object, and the program of gpu_around.c with it; what it ends with, and how many kernels were launched."""
    must(dhcc, "build", at / "tiny.dhc", *asked, "--backend", "cuda", "--gpu-arch", "sm_80", "--name", "m", "--quiet", "-o", at / "m.c", "--header", at / "m.h")
    must(*STRICT, f'-DOBJECT="{at / "m.h"}"', f"-D{form}", "-o", at / "program", HERE / "gpu_around.c", at / "m.c", HERE / "gpu_driver.c")
    done = run(at / "program")
    found = re.search(r"launches (\d+)", done.stderr)
    return done.returncode, int(found[1]) if found else -1, done.stderr


def all_around(dhcc, at):
    (at / "tiny.dhc").write_text(TINY)
    rc, launches, said = around(dhcc, at, "TRAIN", "--entry", "train_step", "--seed", "3")
    if rc or launches < 3:
        wrong(f"a step of training: {rc}, {launches} launches: {said}")
    rc, launches, said = around(dhcc, at, "VARIANTS", "--variant", "a:k=1", "--variant", "b:k=2")
    if rc or launches < 2:
        wrong(f"variants: {rc}, {launches} launches: {said}")
    # launches do nothing: what comes out is zeros, as of weights that are zeros, and of no others; both are the same program
    tested = ["--bind", "B=2", "--selftest", "2", "--weights", at / "w.safetensors", "--weights-file", at / "w.bin"]
    for zeros, want in [(True, 0), (False, 8)]:
        weights(dhcc, at, [at / "tiny.dhc"])
        if zeros:
            data = (at / "w.safetensors").read_bytes()
            head = 8 + int.from_bytes(data[:8], "little")
            (at / "w.safetensors").write_bytes(data[:head] + bytes(len(data) - head))
        rc, launches, said = around(dhcc, at, "SELFTEST", *tested)
        if rc != want or launches < (2 if zeros else 1):
            wrong(f"self test: {rc} instead of {want}, {launches} launches: {said}")


def main():
    dhcc = pathlib.Path(sys.argv[1]).resolve()
    with tempfile.TemporaryDirectory() as folder:
        at = pathlib.Path(folder)
        refusals(dhcc, at)
        all_around(dhcc, at)
        mlp = ["mlp", "--set", "hidden=20"]
        weights(dhcc, at, mlp)
        call = use(at, mlp, "m_forward(w, in, out, s[0], work, bytes, &gpu)", "m_forward_workspace_bytes(s[0], 1)", [3], 3 * 784 * 4, 120, dhcc)
        # the code that fits: its own; that of a lower minor number; of none, PTX; too old
        for cc, want, status in [(90, "loads cubin", 0), (86, "loads cubin", 0), (100, "loads sm_80 7.0", 0), (75, "", 10)]:
            done = call(cc)
            if done.returncode != status or want not in done.stderr or (not status and int(re.search(r"launches (\d+)", done.stderr)[1]) < 3):
                wrong(f"mlp on {cc}: {done.returncode}: {done.stderr}")
        # indices are looked at before anything is launched
        seq = ["layers/embedding", "--root", "Embedding", "--set", "n=7", "--set", "d=6"]
        weights(dhcc, at, seq)
        call = use(at, seq, "m_forward(w, in, out, s[0], s[1], work, bytes, &gpu)", "m_forward_workspace_bytes(s[0], s[1], 1)", [2, 3], 48, 144, dhcc)
        if call(90).returncode:
            wrong("embedding: indices that are good are refused")
        (at / "in.bin").write_bytes(bytes(40) + (7).to_bytes(8, "little"))
        done = call(90)
        if done.returncode != 6 or "launches 0" not in done.stderr:
            wrong(f"embedding: an index out of range gives {done.returncode}: {done.stderr}")
        first = (at / "m.c").read_bytes()
        must(dhcc, "build", *seq, "--backend", "cuda", "--gpu-arch", "sm_80,sm_90a", "--name", "m", "--quiet", "-o", at / "m.c", "--header", at / "m.h")
        if (at / "m.c").read_bytes() != first:
            wrong("the same command twice makes two files")
    print("ok" if not fails else f"{fails} failures")
    return fails != 0


def weights(dhcc, at, asked):
    made_weights.write(at / "w.safetensors", must(dhcc, "print", *asked, "--stage=graph"))


sys.exit(main())
