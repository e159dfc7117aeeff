"""What the studies share: options, rows that are kept and not measured again, dhcc's commands, sections of RESULTS.md.

A study has sizes: `quick` for a look (and tests), `reduced` for two cores, `full` for a machine of its own or a GPU. What
is measured is kept under OUT/SIZE; a study that was stopped goes on where it was, and says which rows are not there.
"""
import argparse
import json
import math
import os
import random
import shlex
import struct
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "bench", "peers"))
import measure  # noqa: E402

FORMATS = {"F32": "f", "I64": "q"}


def save_tensors(path, tensors):
    """safetensors of {name: (dtype, shape, values)}."""
    head, data = {}, b""
    for name, (dtype, shape, values) in tensors.items():
        raw = struct.pack("<%d%s" % (len(values), FORMATS[dtype]), *values)
        head[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(head).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + data)


def normal(*shape):
    r = random.Random(1)
    return "F32", shape, [r.gauss(0, 1) for _ in range(math.prod(shape))]


def whole(below, *shape):
    r = random.Random(2)
    return "I64", shape, [r.randrange(below) for _ in range(math.prod(shape))]


def images(batch, h=32, w=32, channels=3):
    return {"image": normal(batch, channels, h, w), "target": whole(10, batch)}


class Study:
    def __init__(self, name, about, sizes):
        self.name, self.commands = name, []
        self.timed = True  # rows are times of runs
        p = argparse.ArgumentParser(prog="bench/studies/" + name, description=about)
        p.add_argument("--size", choices=list(sizes), default="reduced", help="how large [%(default)s]")
        p.add_argument("--data", default="", metavar="DIR", help="CIFAR-10's binary files, where the study needs them")
        p.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="[%(default)s]")
        p.add_argument("--backend", default="cpu", help="cpu or cuda [%(default)s]")
        p.add_argument("--compute", default="", help="contractions on a GPU: f32, tf32 or bf16 [f32]")
        p.add_argument("--budget", default="", metavar="8h", help="of a sweep: begin only runs that end within it")
        p.add_argument("--jobs", type=int, default=1, help="training runs at a time [%(default)s]")
        p.add_argument("--seconds", type=float, default=1.0, help="of a measurement of time [%(default)s]")
        p.add_argument("--build", default=os.path.join(ROOT, "build", "release"), help="folder of the build")
        p.add_argument("-o", "--out", default=os.path.join(ROOT, "out", "studies", name), help="folder for what is measured")
        p.add_argument("--only", default="", help="parts of the study, by their names, commas between")
        p.add_argument("--report", action="store_true", help="only say what is there, measure nothing")
        p.add_argument("--write", action="store_true", help="put the section into bench/RESULTS.md")
        self.o = p.parse_args()
        self.size = sizes[self.o.size]
        self.on = "" if self.o.backend == "cpu" else "." + self.o.backend  # a section of its own in RESULTS.md
        self.folder = os.path.join(self.o.out, self.o.size + self.on)
        os.makedirs(self.folder, exist_ok=True)
        self.dhcc = os.path.join(self.o.build, "cli", "dhcc")
        self.path = os.path.join(self.folder, "rows.json")
        self.rows = json.load(open(self.path)) if os.path.exists(self.path) else {}
        self.missing = []
        self.machine = self._where()

    def _where(self):
        """The machine that measured: kept beside the rows, so that a report made elsewhere says it too."""
        path = os.path.join(self.folder, "machine")
        if self.o.report:
            return open(path).read() if os.path.exists(path) else measure.machine()
        text = "%s, %d thread%s" % (measure.machine(), self.o.threads, "s" if self.o.threads > 1 else "")
        if self.o.backend == "cuda":
            r = subprocess.run(["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"], capture_output=True, text=True)
            text += "".join(", %s (driver %s)" % tuple(line.split(", ")) for line in r.stdout.splitlines()[:1])
        with open(path, "w") as f:
            f.write(text)
        return text

    def part(self, name):
        return not self.o.only or name in self.o.only.split(",")

    # ---- rows: measured once, kept ----

    def once(self, key, function):
        """The row `key`: what is kept of it, or what `function` gives now; None where only a report is asked for."""
        if key not in self.rows:
            if self.o.report:
                self.missing.append(key)
                return None
            self.say(key)
            try:
                row = function()
            except (measure.Refused, subprocess.CalledProcessError) as e:
                self.say("  not measured: %s" % (getattr(e, "stderr", None) or e))
                self.missing.append("%s (%s)" % (key, str(getattr(e, "stderr", None) or e).strip().splitlines()[-1]))
                return None
            self.rows[key] = {**row, "load": round(measure.load(), 1)}
            with open(self.path + ".part", "w") as f:
                json.dump(self.rows, f, indent=1)
            os.replace(self.path + ".part", self.path)
        return self.rows[key]

    def say(self, text):
        print(text, file=sys.stderr, flush=True)

    # ---- dhcc ----

    def json(self, *args):
        r = subprocess.run([self.dhcc, *args, "--json"], capture_output=True, text=True, check=True)
        return json.loads(r.stdout)

    def costs(self, model, sets, sizes, entry="forward"):
        """What `dhcc info` says of an entry, from its plan."""
        doc = self.json("info", model, *setting(sets), "--entry", entry, "--sizes", sizes)
        return {**doc["costs"], "mixers": doc.get("mixers", "")}

    def time(self, model, sets, inputs, entry="forward", train=False):
        """Milliseconds of a run, and memory, of a fresh process."""
        backend = "".join("," + m for m in self._machine()[1::2])
        with tempfile.TemporaryDirectory() as folder:
            save_tensors(folder + "/inputs.safetensors", inputs)
            command = [os.path.join(self.o.build, "bench", "bench_peer"), model, entry, "train" if train else "run", "%d%s" % (self.o.threads, backend), folder]
            w = measure.Worker(model, command + ["%s=%s" % s for s in sets.items()], log=folder + "/log")
            try:
                w.ask(0)
                times = measure.summary([w.ask(self.o.seconds / 3) for _ in range(3)])
                return {**times, "cpu": min(w.cpu[1:]), "memory": w.ready["memory"], "process_bytes": w.peak_bytes()}
            finally:
                w.close()

    def _machine(self):
        if self.o.backend == "cpu":
            return []
        return ["--backend", self.o.backend] + (["--compute", self.o.compute] if self.o.compute else [])

    def sweep(self, label, args):
        """A training sweep in OUT/SIZE/label, gone on with if it is there; what its sweep.json says, finished or not."""
        out = os.path.join(self.folder, label)
        there = os.path.exists(os.path.join(out, "sweep.json"))
        command = ["sweep", *args, "--train", "--threads", str(self.o.threads), "--jobs", str(self.o.jobs)]
        command += self._machine() + (["--budget", self.o.budget] if self.o.budget else [])
        text = shlex.join(command + ["--out", "OUT/" + label]).replace(ROOT + "/", "")
        self.commands.append("dhcc " + (text.replace(self.o.data, "DIR") if self.o.data else text))
        if not self.o.report:
            self.say(label)
            r = subprocess.run([self.dhcc, *command, "--out", out, *(["--resume"] if there else [])], stdout=subprocess.DEVNULL)
            if r.returncode in (129, 130, 143):
                sys.exit(r.returncode)
            there = os.path.exists(os.path.join(out, "sweep.json"))
        if not there:
            self.missing.append("%s: not begun" % label)
            return None
        doc = json.load(open(os.path.join(out, "sweep.json")))
        left = ["%s seed %s" % (r["name"], r["seed"]) for r in doc["runs"] if r["status"] == "left"]
        if left:
            self.missing.append("%s: %d of %d runs (%s%s)" % (label, len(left), doc["runs_all"], ", ".join(left[:4]), ", …" if len(left) > 4 else ""))
        return doc

    # ---- the section ----

    def finish(self, title, text):
        loads = [r["load"] for r in self.rows.values()]
        own = "bench/studies/%s --size %s%s%s" % (self.name, self.o.size, " --data DIR" if self.o.data else "", "".join(" " + m for m in self._machine()))
        head = "## %s\n\n`%s`; %s; dhcc %s." % (title + (", on a GPU" if self.on else ""), own, self.machine, version(self.dhcc))
        if loads and not self.timed:
            head += " Load of the machine: %s to %s." % (min(loads), max(loads))
        elif loads:
            head += " Load of the machine while times were taken: %s to %s; on a busy machine a run takes several times its processor time, and even that up to twice what it is on a quiet one. Times are **processor time** of a run, then how long it took (median of three rounds, lowest … highest); exponents and ratios are of processor times." % (min(loads), max(loads))
        text = head + "\n\n" + text.strip() + "\n"
        if self.commands:
            text += "\n" + "\n".join("    " + c for c in self.commands) + "\n"
        if self.missing:
            text += "\nNot measured yet: " + "; ".join(self.missing) + ".\n"
        print(text)
        if self.o.write:
            write_section(os.path.join(ROOT, "bench", "RESULTS.md"), self.name + self.on, text)


def version(dhcc):
    return subprocess.run([dhcc, "--version"], capture_output=True, text=True, check=True).stdout.split()[-1]


def setting(sets):
    """{"preset": "small", "a": 1} as options of a command."""
    out = []
    for k, v in sets.items():
        out += ["--" + k, str(v)] if k in ("preset", "root") else ["--set", "%s=%s" % (k, v)]
    return out


def write_section(path, name, text):
    """Between two marks that name the study; at the end of the file if they are not there."""
    begin, end = "<!-- studies/%s -->" % name, "<!-- end of studies/%s -->" % name
    old = open(path, encoding="utf-8").read()
    if begin in old:
        before, rest = old.split(begin, 1)
        after = rest.split(end, 1)[1]
    else:
        before, after = old.rstrip("\n") + "\n\n", "\n"
    with open(path + ".part", "w", encoding="utf-8") as f:
        f.write(before + begin + "\n" + text + end + after)
    os.replace(path + ".part", path)


def times_text(row):
    """Processor time of a run, and how long it took: median of rounds, lowest and highest."""
    return "–" if row is None else "**%s**; %s (%s … %s)" % tuple(measure.number(row[k]) for k in ("cpu", "median", "low", "high"))


def interval(s):
    """Mean and half of the 95 % interval of a sweep's summary row, in percent."""
    if s["mean"] is None:
        return "–"
    if s["ci95_low"] is None:
        return "%.2f" % (100 * s["mean"])
    return "%.2f ± %.2f" % (100 * s["mean"], 100 * (s["ci95_high"] - s["ci95_low"]) / 2)


def sweep_table(doc, first="variant"):
    """Mean, interval, paired difference, Holm-adjusted p, detectable difference, by variant: accuracy in percent."""
    rows = []
    variants = {v["name"]: v for v in doc["variants"]}
    for s in doc["summary"]:
        v = variants[s["name"]]
        d = s.get("difference")
        rows.append([s["name"], v["order"] or v["mixers"], v["parameters"], s["n"], interval(s),
                     "" if d is None else "%+.2f" % (100 * d), "" if s.get("p_holm") is None else "%.3f" % s["p_holm"],
                     "" if s.get("detectable") is None else "%.1f" % (100 * s["detectable"])])
    return measure.table([first, "blocks", "parameters", "seeds", "accuracy, %", "difference", "p (Holm)", "found in 80 of 100"], rows)
