#!/usr/bin/env bash
# --tensorboard: the numbers of metrics.csv as an event file, read by a reader of our own and, where it is at hand
# (`python3 -m pip install tensorboard`; TENSORBOARD_PYTHON names an interpreter that has it), by TensorBoard itself.
. "$(dirname "$0")/common.sh"
here=$(cd "$(dirname "$0")" && pwd)
cd "$work" || exit 1
python3 "$here/data.py" data 48
train() { "$dhcc" train mlp --set hidden=4 --set height=8 --set width=8 --data npy:data --batch 16 --epochs 3 --threads 1 --quiet "$@"; }
train --tensorboard --out whole || fail "train"
train --out without || fail "without"
[ ! -e without/events.out.tfevents.dhcc ] || fail "an event file that nobody asked for"
DHC_STOP_AT_POLL=9 train --tensorboard --out stopped > /dev/null 2>&1
train --tensorboard --out stopped --resume || fail "going on"
"$dhcc" sweep mlp --set hidden=3,4 --set height=8 --set width=8 --train --data npy:data --batch 16 --epochs 1 --seeds 0,1 --quiet --tensorboard --out sweep > /dev/null || fail "sweep"
[ "$(ls sweep/runs/*/events.out.tfevents.dhcc | wc -l)" = 4 ] || fail "event files of a sweep"
cat > read.py <<'P'
import csv, glob, math, os, struct, sys
TABLE = []
for i in range(256):
    c = i
    for _ in range(8): c = c >> 1 ^ (0x82F63B78 if c & 1 else 0)
    TABLE.append(c)
def crc(data):
    c = 0xFFFFFFFF
    for b in data: c = TABLE[(c ^ b) & 255] ^ c >> 8
    c ^= 0xFFFFFFFF
    return ((c >> 15 | c << 17) + 0xA282EAD8) & 0xFFFFFFFF
assert crc(b"123456789") == ((0xE3069283 >> 15 | 0xE3069283 << 17) + 0xA282EAD8) & 0xFFFFFFFF
def fields(data):
    at, out = 0, []
    def varint():
        nonlocal at
        v = shift = 0
        while True:
            b = data[at]; at += 1
            v |= (b & 127) << shift; shift += 7
            if b < 128: return v
    while at < len(data):
        key = varint()
        if key & 7 == 0: v = varint()
        elif key & 7 == 1: v = struct.unpack("<d", data[at:at + 8])[0]; at += 8
        elif key & 7 == 5: v = struct.unpack("<f", data[at:at + 4])[0]; at += 4
        else: n = varint(); v = data[at:at + n]; at += n
        out.append((key >> 3, v))
    return out
def events(path):
    data, at, out = open(path, "rb").read(), 0, []
    while at < len(data):
        n = struct.unpack("<Q", data[at:at + 8])[0]
        assert struct.unpack("<I", data[at + 8:at + 12])[0] == crc(data[at:at + 8])
        event = data[at + 12:at + 12 + n]
        assert struct.unpack("<I", data[at + 12 + n:at + 16 + n])[0] == crc(event)
        f = dict(fields(event))
        if not out: assert f[3] == b"brain.Event:2"
        out.append([(f[2], dict(fields(v))[1].decode(), dict(fields(v))[2]) for k, v in fields(f[5])] if 5 in f else [])
        at += 16 + n
    return [x for e in out for x in e]
def wanted(path):
    out = set()
    for r in csv.DictReader(open(path)):
        for tag, column in (("train/epoch", "epoch"), ("train/loss", "loss"), ("train/accuracy", "accuracy"), ("train/lr", "lr"),
                            ("train/grad_norm", "grad_norm"), ("train/samples_s", "samples_s"), ("val/loss", "val_loss"), ("val/accuracy", "val_accuracy")):
            if r[column]:
                out.add((int(r["step"]), tag, struct.unpack("f", struct.pack("f", float(r[column])))[0]))
    return out
def same(a, b):  # the file's nine digits rounded to a float, and the number itself rounded
    return len(a) == len(b) and all(x[:2] == y[:2] and math.isclose(x[2], y[2], rel_tol=1e-6) for x, y in zip(sorted(a), sorted(b)))
NAME = "/events.out.tfevents.dhcc"
for folder in ["whole", "stopped"] + glob.glob("sweep/runs/*"):
    got = events(folder + NAME)
    want = wanted(folder + "/metrics.csv")
    assert same(got, want) and len(got) > 10, (folder, len(got), sorted(set(got) ^ want))
steady = lambda f: [x for x in events(f + NAME) if x[1] != "train/samples_s"]
assert steady("whole") == steady("stopped")
if len(sys.argv) > 1:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    for folder in ["whole", "stopped"]:
        a = EventAccumulator(folder); a.Reload()
        got = {(s.step, tag, s.value) for tag in a.Tags()["scalars"] for s in a.Scalars(tag)}
        assert same(got, wanted(folder + "/metrics.csv")), folder
P
python3 read.py || fail "our reader"
python=${TENSORBOARD_PYTHON:-python3}
if "$python" -c 'import tensorboard' 2> /dev/null; then
  "$python" read.py tensorboard 2> err || fail "TensorBoard's reader: $(tail -3 err)"
elif [ "$fails" = 0 ]; then
  echo "skipped in part: no tensorboard in $python"
  exit 77
fi
finish
