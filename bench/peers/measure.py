"""What all peers are measured with: processes that answer, turns A B A B, agreement, ratios, the machine. Knows no peer
and needs no library; tests/bench/measure.py holds its numbers."""
import json
import math
import os
import subprocess
import threading
import time


class Refused(Exception):
    """A peer that cannot do a case, and why."""


class Worker:
    """A peer's process: after its line "ready" every line "SECONDS" is answered by milliseconds, a run each, then "cpu" and
    the processor time of a run, all threads together; `cpu` keeps the latter of every answer."""

    def __init__(self, name, command, cpus=None, log=None, patience=900):
        self.name, self.cpu = name, []
        pin = (lambda: os.sched_setaffinity(0, cpus)) if cpus else None
        self.log = open(log, "w+") if log else subprocess.DEVNULL
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, text=True, preexec_fn=pin)
        alarm = threading.Timer(patience, self.process.kill)
        alarm.start()
        try:
            self.ready = self._line(patience)
        finally:
            alarm.cancel()

    def _line(self, patience):
        for line in self.process.stdout:
            if line.startswith("{"):
                return json.loads(line)
        status = self.process.wait()
        if status == -9:
            raise Refused("not ready after %d s, or out of memory" % patience)
        raise Refused(self._why() or "ended with status %d" % status)

    def _why(self):
        if self.log is subprocess.DEVNULL:
            return ""
        self.log.seek(0)
        return why(self.log)

    def ask(self, seconds):
        self.process.stdin.write("%g\n" % seconds)
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise Refused(self._why() or "ended in the middle of a measurement")
        ms, _, cpu = line.partition("cpu")
        self.cpu.append(float(cpu))
        return [float(x) for x in ms.split()]

    def peak_bytes(self):
        """The most memory that the process has had, its libraries among it."""
        try:
            with open("/proc/%d/status" % self.process.pid) as f:
                return next(int(line.split()[1]) * 1024 for line in f if line.startswith("VmHWM"))
        except (OSError, StopIteration):
            return None

    def close(self):
        self.process.stdin.close()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def why(lines):
    """The line of a log that says why it ended: the last that speaks of an error, else the last."""
    lines = [line.strip() for line in lines if line.strip()]
    errors = [line for line in lines if "Error" in line or "error:" in line]
    return (errors or lines or [""])[-1][:300]


def alternate(workers, rounds, ask):
    """A B C, C B A, A B C, …: what changes slowly meets all of them alike. Returns for each name its rounds, a list of
    milliseconds each; `ask` is called with a worker."""
    times = {w.name: [] for w in workers}
    for r in range(rounds):
        for w in workers if r % 2 == 0 else workers[::-1]:
            times[w.name].append(ask(w))
    return times


def median(values):
    v = sorted(values)
    n = len(v)
    return v[n // 2] if n % 2 else (v[n // 2 - 1] + v[n // 2]) / 2


def share(values, part):
    """The value below which so large a part of them lies."""
    v = sorted(values)
    return v[min(len(v) - 1, int(part * (len(v) - 1) + 0.5))]


def summary(rounds):
    """Of a peer's rounds: the median of the rounds' medians, the lowest and highest of them, and the least single run."""
    medians = [median(r) for r in rounds]
    return {"median": median(medians), "low": min(medians), "high": max(medians), "least": min(min(r) for r in rounds), "rounds": len(rounds)}


def ratio(ours, theirs):
    """How many times as long they take: round by round, as a round's two stand next to each other in time; median, lowest
    and highest, and the ratio of the least runs, which a busy machine disturbs least."""
    each = [median(t) / median(o) for o, t in zip(ours, theirs)]
    least = min(min(t) for t in theirs) / min(min(o) for o in ours)
    return {"median": median(each), "low": min(each), "high": max(each), "least": least}


def geometric_mean(values):
    return math.exp(sum(math.log(v) for v in values) / len(values))


def distance(a, b):
    """||a - b|| / ||b|| over two lists of numbers; infinite where they differ in length or one is not finite."""
    if len(a) != len(b) or not all(math.isfinite(x) for x in (*a, *b)):
        return math.inf
    size = math.sqrt(math.fsum(y * y for y in b))
    off = math.sqrt(math.fsum((x - y) ** 2 for x, y in zip(a, b)))
    return off / size if size > 0 else (0.0 if off == 0 else math.inf)


def agrees(a, b, tolerance):
    d = distance(a, b)
    return d <= tolerance, d


def exponent(sizes, values):
    """The slope of log value over log size, least squares: 1 is linear, 2 quadratic."""
    x, y = [math.log(s) for s in sizes], [math.log(v) for v in values]
    mx, my = sum(x) / len(x), sum(y) / len(y)
    return sum((a - mx) * (b - my) for a, b in zip(x, y)) / sum((a - mx) ** 2 for a in x)


def processor():
    try:
        with open("/proc/cpuinfo") as f:
            return next(line.split(":", 1)[1].strip() for line in f if line.startswith("model name"))
    except (OSError, StopIteration):
        return os.uname().machine


def load():
    return os.getloadavg()[0]


def machine(cpus=None):
    n = len(cpus or os.sched_getaffinity(0))
    return "%d core%s of %s, %s %s" % (n, "s" if n != 1 else "", processor(), os.uname().sysname, os.uname().release.split("-")[0])


def table(head, rows):
    """A table in Markdown."""
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(str(c) for c in r) + " |" for r in rows])


def number(x):
    """Three digits: 0.0123, 1.23, 12.3, 123."""
    if x is None:
        return ""
    digits = max(0, 2 - math.floor(math.log10(abs(x)))) if x else 0
    return "%.*f" % (min(digits, 6), x)


def bytes_text(n):
    return "" if n is None else "%s MB" % number(n / 1e6)


# ---- peers in turn ----


def off_by(got, want, tolerance):
    """How far results are apart; Refused if that is too far."""
    ok, off = agrees(got, want, tolerance)
    if not ok:
        raise Refused("does not agree: %.3g off, %.3g allowed" % (off, tolerance))
    return off


def opened(peer, command, cpus, folder, patience, off):
    """A peer's process, and what `off` says of the results that it has left; Refused, with no process, where it says no."""
    w = Worker(peer, command, cpus, log="%s/%s.log" % (folder, peer), patience=patience)
    try:
        return w, off()
    except Refused:
        w.close()
        raise


def turns(workers, o, peers, base):
    """Calls of each in turn, o.rounds of o.seconds; peers[name] gets what came out, and its ratio to `base`. All times."""
    def ask(w):
        time.sleep(0.3)  # until threads of the one before have stopped spinning
        return w.ask(o.seconds)

    for w in workers:
        w.ask(0)  # warm
    times = alternate(workers, o.rounds, ask)
    for w in workers:
        peers[w.name].update(times=summary(times[w.name]), cpu=median(w.cpu[1:]), peak_bytes=w.peak_bytes())
        if w.name != base and base in times:
            peers[w.name]["ratio"] = ratio(times[base], times[w.name])
    return times


def verdict(rows, names):
    """Geometric means of the ratios against the fastest peer, of all cases and of training steps, and the cases that lose."""
    best = []
    for r in rows:
        others = {p: d["ratio"]["median"] for p, d in r["peers"].items() if "ratio" in d and p != "peer_object"}
        if others:
            fastest = min(others, key=others.get)
            best.append((r["case"], names[fastest], others[fastest]))
    if not best:
        return ""
    train = [x for case, _, x in best if "-train-" in case]
    text = "\n\nGeometric mean against the fastest: %s× of %d cases" % (number(geometric_mean([x for *_, x in best])), len(best))
    if train:
        text += ", of training steps %s×" % number(geometric_mean(train))
    losing = ["%s %s× (%s)" % (case, number(x), peer) for case, peer, x in best if x < 1]
    return text + ". " + ("Losing: %s." % ", ".join(losing) if losing else "None loses.")
