"""Runs that are stopped or killed and go on, compared with one that was not: every file of the
folder, but for the columns samples_s and time_s and the run's id.

  runs.py DHCC WORK stops [STRIDE]             at every place that looks for a stop signal; STRIDE
                                               is that of second stops, beyond 5 of all
  runs.py DHCC WORK kills KILLER [STRIDE]      before every call that changes a file, and torn writes
  runs.py DHCC WORK matrix                     each optimiser, with and without shuffling and dropout
  runs.py DHCC WORK random N SEED              SIGKILL at random times, again and again
  runs.py DHCC WORK signals N SEED             SIGINT, SIGTERM, SIGHUP at random times

WORK holds data/ (data.py) and m.dhc. Prints how many; exit 1 after the first that differs."""
import json
import os
import random
import re
import shutil
import signal
import struct
import subprocess
import sys
import time

dhcc, work, what = sys.argv[1:4]
TIMES = ("samples_s", "time_s")


def without_times(path):
    rows = [line.split(",") for line in open(path).read().split("\n")]
    keep = [i for i, name in enumerate(rows[0]) if name not in TIMES]
    return [[row[i] for i in keep] if len(row) == len(rows[0]) else row for row in rows]


def json_rows(path):
    return [{k: v for k, v in json.loads(line).items() if k not in TIMES} for line in open(path)]


def checkpoint(path):
    raw = open(path, "rb").read()
    n = struct.unpack("<Q", raw[:8])[0]
    head = json.loads(raw[8 : 8 + n])
    meta = head.pop("__metadata__")
    ids.add(meta.pop("dhc.run"))
    meta.pop("dhc.sha256")
    return meta, head, raw[8 + n :]


def config(path):
    doc = json.load(open(path))
    ids.add(doc.pop("run_id"))
    return doc


def contents(folder):
    """name -> what must be equal; all ids that stand there must be one"""
    global ids
    ids = set()
    found = {}
    for name in sorted(os.listdir(folder)):
        path = os.path.join(folder, name)
        if name == "metrics.csv":
            found[name] = without_times(path)
        elif name == "metrics.jsonl":
            found[name] = json_rows(path)
        elif name == "config.json":
            found[name] = config(path)
        elif name.startswith("checkpoint-"):
            found[name] = checkpoint(path)
        else:
            found[name] = open(path, "rb").read()
    if len(ids) != 1:
        sys.exit("%s: run ids %s" % (folder, sorted(ids)))
    return found


def same(want, folder, why):
    have = contents(folder)
    if sorted(want) != sorted(have):
        sys.exit("%s: files %s, want %s" % (why, sorted(have), sorted(want)))
    for name in want:
        if want[name] != have[name]:
            print("%s: %s differs" % (why, name))
            print("want", repr(want[name])[:3000])
            print("have", repr(have[name])[:3000])
            sys.exit(1)


def start(folder, more=(), env=None, **kw):
    """The same command line wherever it runs: it is recorded."""
    place = os.path.dirname(folder)
    os.makedirs(place, exist_ok=True)
    cmd = [dhcc, "train", "../m.dhc", "--set", "hidden=8", "--set", "height=8", "--set", "width=8", "--data", "npy:../data",
           "--threads", "1", "--quiet", "--out", "o"] + list(extra) + list(more)
    return subprocess.Popen(cmd, cwd=place, env=dict(os.environ, **(env or {})), stderr=subprocess.PIPE, **kw)


def run(folder, more=(), env=None, ok=(0,), why="run"):
    p = start(folder, more, env)
    err = p.communicate()[1].decode()
    if p.returncode not in ok:
        sys.exit("%s: exit %d, want %s: %s" % (why, p.returncode, ok, err))
    return p.returncode


def go_on(folder, why, env=None, ok=(0,)):
    """--resume where the folder is, else the command as it was."""
    return run(folder, ("--resume",) if os.path.isdir(folder) else (), env, ok, why)


def fresh(name):
    place = os.path.join(work, name)
    shutil.rmtree(place, ignore_errors=True)
    return os.path.join(place, "o")


def whole():
    folder = fresh("whole")
    run(folder)
    return contents(folder)


def stops(stride):
    n, want = 0, whole()
    for second in (0, 3):
        k = 1
        while True:
            folder = fresh("parts")
            why = "%s stopped at poll %d, then %d" % (" ".join(extra), k, second)
            if run(folder, env={"DHC_STOP_AT_POLL": str(k)}, ok=(0, 130), why=why) == 0:
                break
            if second:
                go_on(folder, why, {"DHC_STOP_AT_POLL": str(second)}, (0, 130))
            go_on(folder, why)
            same(want, folder, why)
            n += 1
            k += stride if second or stride > 5 else 1
        if k < 12:
            sys.exit("only %d polls: is the hook at work?" % k)
    return n


def matrix():
    global extra
    text, n = open(os.path.join(work, "m.dhc")).read(), 0
    for optimizer in ("adamw(weight_decay = 0.01)", "adam(beta1 = 0.8)", "sgd(momentum = 0.9, nesterov = 1.0)", "sgd()"):
        with open(os.path.join(work, "m.dhc"), "w") as f:
            f.write(re.sub("optimizer = .*", "optimizer = " + optimizer, text))
        for shuffle in ((), ("--no-shuffle",)):
            weights = set()
            for dropout in ("0.0", "0.3"):
                extra = shuffle + ("--set", "dropout=" + dropout)
                want, folder = whole(), fresh("parts")
                run(folder, env={"DHC_STOP_AT_POLL": "9"}, ok=(130,))  # in the middle of an epoch
                go_on(folder, optimizer)
                same(want, folder, optimizer + " " + " ".join(extra))
                weights.add(want["last.safetensors"])
                n += 1
            if len(weights) != 2:
                sys.exit("dropout makes no difference")
    return n


def cold_stops():
    """While it compiles: with nothing in the store, every kernel polls."""
    want, n = whole(), 0
    for k in (2, 6, 12):
        folder = fresh("parts")
        rc = run(folder, ("--no-cache",), {"DHC_STOP_AT_POLL": str(k)}, (130,), "cold, poll %d" % k)
        n += rc == 130
        # the command line differs: --no-cache; what it recorded is compared without it
        go_on(folder, "cold, poll %d" % k)
        for path in (os.path.join(folder, f) for f in os.listdir(folder)):
            if path.endswith("config.json"):
                doc = json.load(open(path))
                doc["command"] = doc["command"].replace(" --no-cache", "")
                json.dump(doc, open(path, "w"))
        want_now = {k: v if not k.startswith("checkpoint-") else v[1:] for k, v in want.items()}
        have = {k: v if not k.startswith("checkpoint-") else v[1:] for k, v in contents(folder).items()}
        if want_now != have:
            sys.exit("cold, poll %d: differs" % k)
    return n


def kills(killer, stride, first):
    env = {"LD_PRELOAD": killer, "ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":verify_asan_link_order=0"}
    count, n = os.path.join(work, "count"), 0
    want = whole()
    for torn in (False, True):
        at = first
        while True:
            folder = fresh("parts")
            if more_first == "--overwrite":
                shutil.copytree(os.path.join(work, "old", "o"), folder)
            here = dict(env, DHC_KILL_AT=str(at), DHC_KILL_COUNT=count, **({"DHC_KILL_TORN": "1"} if torn else {}))
            why = "%s%s killed at call %d%s" % (more_first, " ".join(extra), at, ", torn" if torn else "")
            rc = run(folder, (more_first,) if more_first else (), here, (0, -9), why)
            if rc == 0:
                break
            if more_first and json.load(open(folder + "/config.json"))["seed"] == 7:
                for name in os.listdir(folder):  # which the next start sweeps
                    if ".dhc-tmp-" in name:
                        os.unlink(os.path.join(folder, name))
                same(old, folder, why + ": the old run")  # not begun: nothing is lost
            else:
                go_on(folder, why)
                if not more_first:
                    same(want, folder, why)
                else:
                    left_over(want, folder, why)
            n += 1
            at += stride
        calls = int(open(count).read())  # of the run that came to its end
        if calls < 50 or n == 0:
            sys.exit("only %d calls seen, %d kills: is the preloaded library at work?" % (calls, n))
    return n


def left_over(want, folder, why):
    """After --overwrite: the new run's files but for what it replaced, which config.json names."""
    have = contents(folder)
    have["config.json"].pop("replaces", None)
    want = dict(want)
    strip = lambda c: {k: v for k, v in c.items() if k != "command"}
    want["config.json"], have["config.json"] = strip(want["config.json"]), strip(have["config.json"])
    for name in want:
        if name.startswith("checkpoint-") and name in have:
            want[name], have[name] = ((strip_command(c[0]),) + c[1:] for c in (want[name], have[name]))
    if want != have:
        sys.exit("%s: %s" % (why, [k for k in set(want) | set(have) if want.get(k) != have.get(k)]))


def strip_command(meta):
    return {k: v for k, v in meta.items() if k != "run.command"}


def at_random(n, seed, signals):
    rng = random.Random(seed)
    whole()  # compiles
    t = time.time()
    want = whole()
    took, done, parts = time.time() - t, 0, 0
    while done < n:
        folder = fresh("parts")
        parts += 1
        while True:
            p = start(folder, ("--resume",) if os.path.isdir(folder) else ())
            time.sleep(rng.random() * took * 1.1)
            sig = rng.choice(signals)
            p.send_signal(sig)
            err = p.communicate()[1].decode()
            if p.returncode == 0:
                break
            if p.returncode not in (-sig, 128 + sig):
                sys.exit("after %s: exit %d: %s" % (sig, p.returncode, err))
            done += 1
        same(want, folder, "after %d of %s" % (done, [s.name for s in signals]))
    print("%d in %d runs" % (done, parts))
    return done


more_first, old = "", None
total = 0
if what == "stops":
    stride = int(sys.argv[4]) if len(sys.argv) > 4 else 1
    for extra in ((), ("--save-every", "2"), ("--save-every", "1")):
        total += stops(stride)
    extra = ()
    total += cold_stops()
elif what == "matrix":
    total = matrix()
elif what == "kills":
    killer, stride = sys.argv[4], int(sys.argv[5]) if len(sys.argv) > 5 else 1
    for i, extra in enumerate(((), ("--save-every", "1"))):
        total += kills(killer, stride, 1 + i % stride)
    extra = ("--seed", "7", "--save-every", "3")
    run(fresh("old"))
    old = contents(os.path.join(work, "old", "o"))
    extra, more_first = (), "--overwrite"
    total += kills(killer, stride, 1)
else:
    extra = ("--save-every", "2")
    signals = [signal.SIGKILL] if what == "random" else [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
    total = at_random(int(sys.argv[4]), int(sys.argv[5]), signals)
print("%s: %d, all the same" % (what, total))
