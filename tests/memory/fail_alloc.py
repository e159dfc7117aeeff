#!/usr/bin/env python3
"""Every command with one of its requests for memory refused, and with all from one on.

usage: fail_alloc.py DHCC FAIL_ALLOC.so SOURCE [--runs N] [--only NAME] [--cpu] [--san]

Right is: exit 3 with one error line, whatever was written whole or not there; or exit 0 with
the output of an undisturbed run, where what was refused is done without. Never a signal, never
less output with success, no temporary file left. Of each command's requests the first few are
refused one by one, the others at equal distances, N runs in all (0: every request)."""
import argparse, os, re, shutil, struct, subprocess, sys, tempfile
from concurrent.futures import ThreadPoolExecutor

ap = argparse.ArgumentParser()
ap.add_argument("dhcc"), ap.add_argument("library"), ap.add_argument("source")
ap.add_argument("--runs", type=int, default=0)
ap.add_argument("--first", type=int, default=8)
ap.add_argument("--only")
ap.add_argument("--cpu", action="store_true", help="the commands that need kernels too")
ap.add_argument("--jobs", type=int, default=2)
ap.add_argument("--show", type=int, default=6, help="of each command's wrong runs")
a = ap.parse_args()
dhcc, library, source = map(os.path.abspath, (a.dhcc, a.library, a.source))
work = tempfile.mkdtemp(prefix="dhc-fail-")

# ---- what the commands work on ---------------------------------------------------------

def npy(path, kind, shape, data):
    text = "{'descr': '%s', 'fortran_order': False, 'shape': %s, }" % (kind, shape)
    with open(path, "wb") as f:
        f.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", 118) + text.ljust(117).encode() + b"\n" + data)

def inputs():
    os.makedirs(work + "/data/train"), os.makedirs(work + "/data/test")
    for split, n in ("train", 12), ("test", 5):
        npy(f"{work}/data/{split}/image.npy", "<f4", f"({n}, 1, 2, 2)", struct.pack(f"<{4 * n}f", *(0.1 * (i % 7) for i in range(4 * n))))
        npy(f"{work}/data/{split}/target.npy", "<i8", f"({n},)", struct.pack(f"<{n}q", *(i % 10 for i in range(n))))
    npy(work + "/x.npy", "<f4", "(3, 1, 2, 2)", struct.pack("<12f", *range(12)))
    with open(work + "/text.txt", "w") as f:
        f.write("In the beginning there was little to be said about it. " * 40)
    with open(work + "/bad.dhc", "w") as f:
        f.write("model M() {\n  param w [3] = ones()\n  forward(x: [3]) -> (y: [3]) { return x + hiden }\n}\n")
    with open(work + "/stream.dhc", "w") as f:
        f.write("""model Memory(vocabulary: int = 256, d: int = 4) {
  param E: [vocabulary, d] = normal(0.0, 1.0)
  param A: [d, d] = normal(0.0, 0.5)
  param head: [vocabulary, d] = normal(0.0, 1.0)
  state s: [B, d] = zeros()
  forward<B, L>(tokens: i64[B, L]) -> (logits: [B, L, vocabulary]) {
    last, y = scan (h = s) over (u = gather(E, tokens)) along 1 {
      h = tanh(h @ A.T + u)
      yield h
    }
    s <- last
    return y @ head.T
  }
}
""")

    with open(work + "/blocks.dhc", "w") as f:
        f.write("""import std/nn
layer Block(d: int) {
  param w: [d, d] = normal(0.0, 0.5)
  forward<B, L>(x: [B, L, d]) -> (y: [B, L, d]) { return x + tanh(x @ w.T) }
}
model Blocks(ignore_index: int = -100) {
  param E: [64, 4] = normal(0.0, 1.0)
  for i in 0..2 { layers[i] = Block(4) }
  loss<B, L>(tokens: i64[B, L], target: i64[B, L]) -> (loss: []) {
    x = gather(E, tokens, axis = 0)
    for i in 0..2 { x = layers[i](x) }
    return cross_entropy(x @ E.T, target, ignore_index = ignore_index)
  }
}
""")

small = ["--set", "height=2", "--set", "width=2", "--set", "hidden=3"]
sizes = ["--sizes", "B=2"]

def commands():
    """name: (arguments, needs kernels). {out} is a fresh folder, {work} the inputs'."""
    w = "{work}/w.safetensors"
    yield "check", ["check", "mlp"], False
    yield "check-errors", ["check", "{work}/bad.dhc"], False
    yield "check-json", ["check", "{work}/bad.dhc", "--json"], False
    yield "fmt", ["print", "lstm", "--stage=ast"], False
    yield "info", ["info", "mlp", *small], False
    yield "info-json", ["info", "dhc_jamba", "--json"], False
    yield "info-entry", ["info", "mlp", *small, *sizes, "--backend", "interp"], False
    yield "print", ["print", "mlp", *small, "--stage=graph"], False
    yield "print-train", ["print", "mlp", *small, "--stage=train"], False
    yield "run", ["run", "mlp", *small, "--inputs", "image={work}/x.npy", "--backend", "interp", "-o", "{out}/y.safetensors"], False
    yield "run-grad", ["run", "mlp", *small, "--grad", "--inputs", "{work}/loss.safetensors", "--weights", w, "--backend", "interp", "-o", "{out}/y.safetensors"], False
    yield "run-state", ["run", "{work}/stream.dhc", "--entry", "stream", "--inputs", "tokens={work}/t.npy", "--state", "{out}/s.safetensors", "--backend", "interp", "-o", "{out}/y.safetensors"], False
    yield "train", ["train", "mlp", *small, "--data", "npy:{work}/data", "--batch", "4", "--steps", "4", "--save-every", "2", "--backend", "interp", "--quiet", "--out", "{out}/run"], False
    yield "plot", ["plot", "{work}/first", "-o", "{out}/curve.svg"], False
    yield "plot-page", ["plot", "{work}/first", "-o", "{out}/page.html"], False
    yield "train-recipe", ["train", "mlp", *small, "--print-recipe", "--json"], False
    yield "eval", ["eval", "mlp", *small, "--data", "npy:{work}/data", "--weights", w, "--predictions", "2", "--backend", "interp"], False
    yield "ablate", ["ablate", "{work}/blocks.dhc", "--data", "synth:copy:length=5,n_test=3", "--weights", "{work}/b.safetensors", "--backend", "interp", "--json"], False
    yield "generate", ["generate", "{work}/stream.dhc", "--prompt", "ab", "--tokens", "3", "--backend", "interp", "--json"], False
    yield "verify", ["verify", "mlp", *small, "--oracle", "{work}/oracle.safetensors", "--backend", "interp"], False
    yield "opt", ["opt", "--pass=simplify,cse,grad,dce", "{work}/graph.gir"], False
    yield "cache", ["cache", "verify"], False
    yield "explain", ["explain", "--json"], False
    yield "usage", ["trian", "--json"], False
    yield "doctor", ["doctor", "--json"], True
    yield "kernel", ["kernel", "{work}/k.spec", "--dims", "{dims}"], True
    yield "print-asm", ["print", "mlp", *small, "--stage=asm"], True
    yield "info-cpu", ["info", "mlp", *small, *sizes, "--compile"], True
    yield "info-csv", ["info", "mlp", *small, *sizes, "--csv"], True
    yield "sweep-costs", ["sweep", "mlp", "--set", "height=2", "--set", "width=2", "--set", "hidden=3,4", "--cost-only", *sizes, "--json"], True
    yield "explain-kernels", ["explain", "--kernels", "mlp", *small, ".", "depth=1", "--json"], True
    yield "run-cpu", ["run", "mlp", *small, "--inputs", "image={work}/x.npy", "-o", "{out}/y.safetensors"], True
    yield "run-cpu-warm", ["run", "mlp", *small, "--inputs", "image={work}/x.npy", "--repeat", "2", "-o", "{out}/y.safetensors"], True
    yield "train-cpu", ["train", "mlp", *small, "--data", "npy:{work}/data", "--batch", "4", "--steps", "4", "--quiet", "--out", "{out}/run", "--threads", "2"], True

# ---- running ------------------------------------------------------------------------------

# What two runs differ in: times and what follows from them, and a run's own id.
TIMES = re.compile(r'("?(?:seconds|samples_per_s|samples_s|time_s|tokens_s|prompt_seconds|compile_ms|[a-z]+_ms|run_id|command|time)"?:?\s*)[^,}\n]+')
def same_text(text):
    text = re.sub(r"[\d.]+ (ms|s\b|samples/s)", "T \\1", text)
    return TIMES.sub(r"\1T", text).replace("\t", " ")

def contents(folder):
    found = {}
    for at, _, files in os.walk(folder):
        for f in files:
            with open(os.path.join(at, f), "rb") as h:
                found[os.path.relpath(os.path.join(at, f), folder)] = h.read()
    return found

def settle(name, data):
    """A file as far as it is the same every time."""
    if name.endswith(".csv"):
        rows = [r.split(",") for r in data.decode().splitlines()]
        keep = [i for i, c in enumerate(rows[0]) if c not in ("seconds", "samples_s", "time_s", "latency_ms")] if rows else []
        return "\n".join(",".join(r[i] for i in keep if i < len(r)) for r in rows)
    if name.endswith((".json", ".jsonl")):
        return same_text(data.decode())
    if name.endswith(".safetensors") and len(data) > 8:
        n = struct.unpack("<Q", data[:8])[0]
        head = re.sub(rb'"(dhc\.run|dhc\.sha256|run\.command)":"[^"]*"', rb'"\1":""', data[8:8 + n])
        return head.strip() + data[8 + n:]
    return data

# Exit status of a run that nothing disturbs, where it is not 0.
meant = {"check-errors": 1, "check-json": 1, "usage": 2}

def reasons_cut(out):
    """Why a library is not there is said by the loader, in other words where it had no memory."""
    return re.sub(r"(no (NVIDIA driver|NVRTC|NCCL)\b).*", r"\1", out)

class Command:
    def __init__(self, name, args):
        self.name, self.args = name, args

    def run(self, tag, at=None, ever=False):
        out = f"{work}/out/{self.name}-{tag}"
        shutil.rmtree(out, ignore_errors=True)
        os.makedirs(out)
        cache = f"{work}/warm" if self.name.endswith("warm") else out + "/cache"
        env = dict(os.environ, XDG_CACHE_HOME=cache, NO_COLOR="1", LC_ALL="C", DHC_MODEL_PATH=source + "/models")
        env["ASAN_OPTIONS"] = "detect_leaks=1:exitcode=99:verify_asan_link_order=0:allocator_may_return_null=1"
        if at is not None:
            env["DHC_FAIL_AT"] = str(at)
            if ever: env["DHC_FAIL_EVER"] = "1"
        env["DHC_FAIL_COUNT"] = out + ".count"
        # What the GPU's libraries ask for is their own, as LLVM's is: they are not there.
        env["DHC_LIBCUDA"] = env["DHC_LIBNVRTC"] = env["DHC_LIBNCCL"] = "/nonexistent"
        env["LD_PRELOAD"] = library
        args = [x.format(work=work, out=out, dims=self.dims) for x in self.args]
        p = subprocess.run([dhcc, *args], env=env, capture_output=True, timeout=300)
        shutil.rmtree(out + "/cache", ignore_errors=True)
        files = {k: settle(k, v) for k, v in contents(out).items()}
        said = p.stdout.decode("utf-8", "replace").replace(out, "OUT"), p.stderr.decode("utf-8", "replace").replace(out, "OUT")
        count = int(open(out + ".count").read()) if os.path.exists(out + ".count") else 0
        shutil.rmtree(out, ignore_errors=True)
        return p.returncode, same_text(said[0]), said[1], files, count

    def judge(self, got):
        rc, out, err, files, _ = got
        if rc == 0 or (rc == self.want[0] and rc != 3 and "out of memory" not in err):
            if reasons_cut(out) != reasons_cut(self.want[1]): return f"exit {rc} with another output"
            if files != self.want[3]:
                return f"exit {rc} with other files: " + ", ".join(sorted(k for k in set(files) | set(self.want[3]) if files.get(k) != self.want[3].get(k)))
            return None
        if rc != 3: return f"exit {rc}"
        if "Sanitizer" in err: return "a sanitizer's report"
        lines = [l for l in err.splitlines() if "error: " in l or "error[" in l]
        if len(lines) != 1 and self.want[0] == 0: return f"{len(lines)} error lines"
        left = [k for k in files if os.path.basename(k).startswith(".")]
        if left: return "left " + ", ".join(left)
        for k, v in files.items():
            if k.endswith((".safetensors", ".json")) and k in self.want[3] and v != self.want[3][k] and "checkpoint" not in k and not k.endswith(("best.safetensors", "last.safetensors")):
                return "a file that is not whole: " + k
        return None

    def prepare(self):
        self.want = self.run("whole")
        self.n = self.want[4]
        if self.want[0] != meant.get(self.name, 0): sys.exit(f"{self.name}: exit {self.want[0]} undisturbed: {self.want[2]}")
        if not self.n: sys.exit(f"{self.name}: no request was seen, the library is not in use")
        again = self.run("again")
        if again[0] not in (0, 1, 2) or again[:2] != self.want[:2] or again[3] != self.want[3]:
            sys.exit(f"{self.name}: not the same twice (exit {again[0]}): {again[2]} "
                     + ", ".join(k for k in self.want[3] if again[3].get(k) != self.want[3][k]))

    def cases(self):
        n = self.n
        if not a.runs or n * 2 <= a.runs: return [(k, e) for k in range(n) for e in (False, True)]
        few = [(k, e) for k in range(min(n, a.first)) for e in (False, True)]
        left = max(1, a.runs - len(few))
        step = (n - a.first) / left
        return few + [(a.first + int(i * step), i % 2 == 1) for i in range(left) if a.first + int(i * step) < n]

def plain(*args):
    env = dict(os.environ, XDG_CACHE_HOME=work + "/warm", DHC_MODEL_PATH=source + "/models", ASAN_OPTIONS="detect_leaks=0")
    p = subprocess.run([dhcc, *args], env=env, capture_output=True, text=True)
    if p.returncode: sys.exit(f"{args}: {p.stderr}")
    return p.stdout

def main():
    inputs()
    npy(work + "/t.npy", "<i8", "(1, 3)", struct.pack("<3q", 1, 2, 3))
    npy(work + "/target.npy", "<i8", "(3,)", struct.pack("<3q", 1, 2, 3))
    Command.dims = ""
    plain("train", "mlp", *small, "--data", f"npy:{work}/data", "--batch", "4", "--steps", "1", "--backend", "interp", "--quiet", "--out", work + "/first")
    shutil.copy(work + "/first/last.safetensors", work + "/w.safetensors")
    plain("train", work + "/blocks.dhc", "--data", "synth:copy:length=5,n=4,n_test=2", "--batch", "2", "--steps", "1", "--backend", "interp", "--quiet", "--out", work + "/blocks")
    shutil.copy(work + "/blocks/last.safetensors", work + "/b.safetensors")
    from_tensors(work)
    with open(work + "/graph.gir", "w") as f:
        f.write(plain("print", "mlp", *small, "--stage=graph"))
    if a.cpu:
        spec, dims = open(source + "/tests/memory/add.spec").read().split("\n# dims ")
        with open(work + "/k.spec", "w") as f: f.write(spec + "\n")
        Command.dims = dims.split()[0]
    bad = runs = 0
    for name, args, kernels in commands():
        if (a.only and a.only != name) or (kernels and not a.cpu): continue
        c = Command(name, args)
        if name == "run-cpu-warm": plain(*[x.format(work=work, out=work, dims="") for x in args])
        c.prepare()
        cases, wrong = c.cases(), []
        with ThreadPoolExecutor(a.jobs) as pool:
            for (k, ever), got in zip(cases, pool.map(lambda x: c.run(f"{x[0]}-{x[1]}", *x), cases)):
                why = c.judge(got)
                if why: wrong.append((k, ever, why, got[2]))
        runs += len(cases)
        bad += len(wrong)
        print(f"{name}: {c.n} requests, {len(cases)} runs, {len(wrong)} wrong", flush=True)
        for k, ever, why, err in wrong[:a.show]:
            print(f"  request {k}{' and all after it' if ever else ''}: {why}: {err.strip()[-300:]}")
    print(f"{runs} runs, {bad} wrong")
    return bad

def from_tensors(folder):
    """loss.safetensors: inputs of the loss; oracle.safetensors: inputs and outputs of a run."""
    import json
    def write(path, tensors):
        head, at, body = {}, 0, b""
        for name, dtype, shape, data in tensors:
            head[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + len(data)]}
            at += len(data)
            body += data
        text = json.dumps(head).encode()
        with open(path, "wb") as f: f.write(struct.pack("<Q", len(text)) + text + body)
    def read(path):
        b = open(path, "rb").read()
        n = struct.unpack("<Q", b[:8])[0]
        h = json.loads(b[8:8 + n])
        return {k: (v["dtype"], v["shape"], b[8 + n + v["data_offsets"][0]:8 + n + v["data_offsets"][1]]) for k, v in h.items() if k != "__metadata__"}
    image = struct.pack("<12f", *(0.1 * i for i in range(12)))
    target = struct.pack("<3q", 1, 2, 3)
    write(folder + "/loss.safetensors", [("image", "F32", [3, 1, 2, 2], image), ("target", "I64", [3], target)])
    plain("run", "mlp", *small, "--grad", "--inputs", folder + "/loss.safetensors", "--weights", folder + "/w.safetensors", "--backend", "interp", "-o", folder + "/g.safetensors")
    got, weights = read(folder + "/g.safetensors"), read(folder + "/w.safetensors")
    rows = [("input.image", "F32", [3, 1, 2, 2], image), ("input.target", "I64", [3], target)]
    rows += [("param." + k, *v) for k, v in weights.items()]
    rows += [(re.sub("^grad\\.", "grad.param.", k) if k.startswith("grad.") else "output." + k, *v) for k, v in got.items() if not k.startswith("grad.image")]
    write(folder + "/oracle.safetensors", rows)

try:
    status = main()
finally:
    shutil.rmtree(work, ignore_errors=True)
sys.exit(status > 0)
