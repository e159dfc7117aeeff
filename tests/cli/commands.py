"""commands.py DHCC ROOT: runs every command that README.md, docs/ (the tutorial has its own test) and --help print, as it stands.

Those of a document run one after the other in a folder that holds what they name: data of a few examples, weights, inputs; the examples
of --help in the README's, where runs begin anew. SHORTENED are those that
would take minutes, with what is added or replaced; OTHERWISE those that need what is not there, with what has to come of them. Every row of
both must be needed. Commands with "…" in them are patterns, not commands."""
import os
import pathlib
import random
import re
import shutil
import struct
import subprocess
import sys
import time
import zlib

DHCC, ROOT = pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(sys.argv[2]).resolve()
SHORTENED = [  # a pattern of the command, what it becomes, why
    (r"(dhcc train seq .*(?:synth|scifar).*)", r"\1 --steps 1 --limit 2 --batch 1", "thousands of long examples"),
    (r"(dhcc eval seq .*synth.*)", r"\1 --limit 2", "1,024 examples"),
    (r"(dhcc train seq --data text.*)", r"\1 --steps 2", "an epoch"),
    (r"(dhcc ablate .*)", r"\1 --limit 2", "every block of a model"),
    (r"(dhcc sweep .*)--placements M6A2( .*)", r"\1--placements M1A1 --preset small\2", "28 variants"),
    (r"(dhcc sweep .*)--seeds 0,1,2( .*)", r"\1--seeds 0\2", "each seed a run"),
    (r"(dhcc sweep .*)mamba_ratio=0,1,3( .*--build.*)", r"\1mamba_ratio=0,1\2", "each variant an object"),
    (r"(dhcc sweep dhc_jamba .* --train .*)", r"\1 --steps 1 --batch 2", "hours on the whole of CIFAR-10"),
    (r"(dhcc rl .*--env pendulum .*)--steps \d+(.*)", r"\1--steps 64 --set envs=2 --set horizon=32 --set sequence=16 --set batch=32 --episodes 1\2", "a minute"),
    (r"(dhcc rl \S+ --eval.*)", r"\1 --episodes 1", "100 episodes"),
    (r"(dhcc bench .* )--seconds \d+", r"\1--seconds 0.1", "as long as it says"),
    (r"(dhcc build dhc_jamba --preset )medium( .*)", r"\1small\2", "100 million weights in the object"),
    (r"(dhcc build mlp --backend cuda .*)", r"\1 --gpu-arch sm_90a", "every architecture by itself"),
]
OTHERWISE = [  # a pattern, the statuses it may have and what is then said, or None: it is not run; and why
    (r"scripts/(demo|test)", None, "installs, builds, trains; CI runs both"),
    (r"dhcc lsp$", None, "waits for an editor; cli.lsp speaks with it"),
    (r"cc -c mlp.c", None, "needs the CUDA driver's header and library"),
    (r"dhcc train .*--backend cuda", {3: "cuda"}, "needs a GPU"),
    (r"dhcc build .*--backend cuda", {0: "mlp.c", 3: "NVRTC"}, "needs NVRTC"),
    (r"dhcc rl .*--env hopper", {3: "libmujoco"}, "needs MuJoCo"),
    (r"dhcc plot .*\.pdf", {0: "", 1: "gnuplot"}, "needs gnuplot"),
]
ORACLE = pathlib.Path(os.environ.get("ORACLES", "")) / "dhc_ssm.safetensors"


def sh(text, **more):
    return subprocess.run(["bash", "-c", text], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", **more)


def need(text):
    done = sh(text)
    if done.returncode:
        sys.exit(f"FAILED to prepare: {text}\n{done.stdout}")


def npy(path, shape):
    n = 1
    for d in shape:
        n *= d
    head = "{'descr': '<f4', 'fortran_order': False, 'shape': %s, }" % (tuple(shape),)
    head += " " * (63 - (10 + len(head)) % 64) + "\n"
    values = [random.uniform(-1, 1) for _ in range(n)]
    pathlib.Path(path).write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head.encode() + struct.pack(f"<{n}f", *values))


def png(path, side, channels):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + random.randbytes(side * channels) for _ in range(side))
    head = struct.pack(">IIBBBBB", side, side, 8, 2 if channels == 3 else 0, 0, 0, 0)
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def prepare():
    """What commands name: DIR is CIFAR-10 and MNIST at once, of 20 examples."""
    data = pathlib.Path("DIR")
    data.mkdir()
    for name in [f"data_batch_{i}.bin" for i in range(1, 6)] + ["test_batch.bin"]:
        (data / name).write_bytes(b"".join(bytes([i]) + random.randbytes(3072) for i in range(4)))
    for name in "train", "t10k":
        (data / f"{name}-images-idx3-ubyte").write_bytes(struct.pack(">IIII", 0x803, 20, 28, 28) + random.randbytes(20 * 784))
        (data / f"{name}-labels-idx1-ubyte").write_bytes(struct.pack(">II", 0x801, 20) + bytes(i % 10 for i in range(20)))
    for i in range(6):
        png(f"clothes/{'shirt' if i % 2 else 'shoe'}/{i}.png", 32, 3)
    png("shirt.png", 32, 3)
    png("digits/7.png", 32, 3)
    pathlib.Path("more").mkdir()
    shutil.copy("shirt.png", "more/coat.jpg")
    pathlib.Path("corpus.txt").write_text("In the beginning was a line of text, and then another.\n" * 90)
    pathlib.Path("my_model.dhc").write_text("model Mine() {\n  param w: [2] = ones()\n  forward<B>(x: [B, 2]) -> (y: [B, 2]) { return x * w }\n}\n")
    pathlib.Path("softmax.dhc").write_text("import std/nn\nmodel S() {\n  param w: [1] = ones()\n  forward<B, N>(x: [B, N]) -> (y: [B, N]) { return softmax(x, axis = -1) }\n}\n")
    need("dhcc print softmax.dhc --stage=spec > softmax.spec")
    shutil.copy(ROOT / "tests/memory/add.spec", "add.spec")
    npy("x.npy", (2, 1, 28, 28))
    npy("rgb.npy", (2, 3, 32, 32))
    npy("o.npy", (2, 8))
    for split in "train", "val":
        pathlib.Path("rl", split).mkdir(parents=True)
        npy(f"rl/{split}/obs.npy", (4, 8))
        npy(f"rl/{split}/action.npy", (4, 2))
    if ORACLE.exists():
        shutil.copy(ORACLE, "reference.safetensors")
        shutil.copy(ORACLE, "dhc_ssm.safetensors")
    need("dhcc train mlp --data mnist:DIR --steps 1 --quiet --out runs/b && cp runs/b/last.safetensors w.safetensors")
    need("dhcc train dhc_jamba --data cifar10:DIR --steps 1 --batch 1 --limit 1 --quiet --out j && cp j/last.safetensors best.safetensors")
    need("dhcc train seq --data text:corpus.txt@8 --steps 1 --batch 1 --limit 1 --quiet --out s && cp s/last.safetensors seq.safetensors")
    for i in 1, 2:
        need(f"dhcc sweep mlp --set depth=1,2 --train --data mnist:DIR --steps 1 --shard {i}/2 --out part{i} --quiet")
    need("dhcc build seq --entry step --weights seq.safetensors -o seq.so --quiet")
    need("dhcc train rl_policy --data npy:rl --steps 1 --quiet --out r && cp r/last.safetensors p.safetensors")
    need("dhcc print mlp --stage=graph > graph.gir")
    need("dhcc build mlp --weights w.safetensors -o mlp.so --quiet")


def commands():
    """(where, command), those that go on in the next line as one."""
    found = []
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        if path.name == "tutorial.md":
            continue
        for block in re.findall(r"^```\w*\n(.*?)^```$", path.read_text(encoding="utf-8"), re.M | re.S):
            for line in block.replace("\\\n", "").split("\n"):
                line = re.sub(r"\s+# .*", "", line)
                if re.match(r"(dhcc|scripts/\w+|cc) ?", line) and "…" not in line:
                    found.append((path.name, re.sub(r"\s+", " ", line.strip())))
    names = re.findall(r"^  ([a-z]+) ", sh("dhcc --help").stdout, re.M)
    for name in names:
        for line in re.findall(r"^  example: (.*)$", sh(f"dhcc {name} --help").stdout, re.M):
            if ("README.md", line) not in found:
                found.append((f"dhcc {name} --help", line))
    return found


def becomes(command, used):
    """What is run, None: nothing; the statuses that it may have, with text that it then says."""
    may, run = {0: ""}, command
    for i, (pattern, want, _) in enumerate(OTHERWISE):
        if re.match(pattern, command):
            used.add(OTHERWISE[i][0])
            may = want
            run = command if want else None
    for pattern, to, _ in SHORTENED:
        if re.match(pattern, command):
            used.add(pattern)
            run = re.sub(pattern, to, run)
    if "--oracle" in command and not ORACLE.exists():
        print(f"left out: {command}: no {ORACLE}")
        run = None
    return run, may


def main():
    os.environ["PATH"] = f"{DHCC.parent}{os.pathsep}{os.environ['PATH']}"
    random.seed(1)
    top = pathlib.Path.cwd()
    (top / "prepared").mkdir()
    os.chdir("prepared")
    prepare()
    bad, ran, used = 0, 0, set()
    for where, command in commands():
        folder = top / ("README.md" if where.endswith("--help") else where)
        if not folder.exists():
            shutil.copytree(top / "prepared", folder)
        os.chdir(folder)
        run, may = becomes(command, used)
        if run is None:
            continue
        out = re.match(r"dhcc (?:train|rl) .*--out (\S+)", run)
        if where.endswith("--help") and out:
            shutil.rmtree(out[1], ignore_errors=True)
        began = time.perf_counter()
        done = sh(run)
        ran += 1
        if os.environ.get("TIMES"):
            print(f"{time.perf_counter() - began:6.2f} s  {run}")
        if may.get(done.returncode, "\0") not in done.stdout:
            bad += 1
            print(f"FAILED: {where}: {run}\nstatus {done.returncode}, may be {may}\n{done.stdout[-1500:]}")
    for pattern in [row[0] for row in SHORTENED + OTHERWISE if row[0] not in used]:
        bad += 1
        print(f"FAILED: no command is {pattern}: the row can go")
    print(f"{ran} commands")
    sys.exit(bad > 0 or ran == 0)


main()
