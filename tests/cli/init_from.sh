#!/usr/bin/env bash
# --init-from: what fits of another variant's weights is taken, the rest is as it was drawn, and both are said.
. "$(dirname "$0")/common.sh"
cd "$work" || exit 1
head -c 4000 /dev/zero | tr '\0' 'abcdefgh' > text.txt
train() { "$dhcc" train seq --data text:text.txt@8 --set d_model=8 --set num_heads=2 --set num_layers=4 --set num_experts=2 --set d_state=4 --set ffn_inner=8 --set vocabulary=128 --batch 4 --steps 1 --lr 1e-30 --threads 1 "$@"; }
train --set pattern=MMMA --seed 1 --quiet --out source || fail "a source"
train --set pattern=MMAA --seed 2 --quiet --out plain || fail "without"
train --set pattern=MMAA --seed 2 --init-from source/last.safetensors --out taken 2> said || fail "with: $(cat said)"
train --set pattern=MMAA --seed 2 --init-from source/checkpoint-000000001.safetensors --quiet --out again || fail "from a checkpoint"
train --set pattern=MMMA --set d_model=12 --set ffn_inner=12 --set num_experts=3 --seed 2 --quiet --out wide || fail "wider"
mkdir empty
train --set pattern=MMMA --set d_model=12 --set ffn_inner=12 --set num_experts=3 --seed 2 --quiet --init-from empty --out widened 2> /dev/null && fail "a folder without weights"
rm -rf widened
train --set pattern=MMMA --set d_model=12 --set ffn_inner=12 --set num_experts=3 --seed 2 --init-from source/last.safetensors --out widened 2> said2 || fail "widened: $(cat said2)"
cat > check.py <<'P'
import json, struct
def load(path):
    raw = open(path, "rb").read()
    n = struct.unpack("<Q", raw[:8])[0]
    head = json.loads(raw[8:8 + n])
    out = {}
    for name, t in head.items():
        if name == "__metadata__": continue
        a, b = t["data_offsets"]
        out[name] = (t["shape"], struct.unpack("<%df" % ((b - a) // 4), raw[8 + n + a:8 + n + b]))
    return out
def close(a, b):  # a step of 1e-30 has been made, which shows in zeros
    return a[0] == b[0] and all(abs(x - y) < 1e-20 for x, y in zip(a[1], b[1]))
source, plain, taken, again = (load(f + "/last.safetensors") for f in ("source", "plain", "taken", "again"))
assert taken == again
said = {t["name"]: t["origin"] for t in json.load(open("taken/init.json"))["tensors"]}
assert set(said) == set(taken) and json.load(open("taken/init.json"))["from"] == "source/last.safetensors"
for name in taken:
    other = name.startswith("jamba.layers.2.main_layer")  # Mamba there, attention here
    assert said[name] == ("fresh" if other else "kept"), (name, said[name])
    assert close(taken[name], (plain if other else source)[name]), name
wide, widened = load("wide/last.safetensors"), load("widened/last.safetensors")
said = {t["name"]: t["origin"] for t in json.load(open("widened/init.json"))["tensors"]}
assert set(said.values()) == {"reshaped", "fresh"}, said
assert said["jamba.layers.1.ffn.experts.2.fc1.weight"] == "fresh" and said["jamba.layers.1.ffn.experts.1.fc1.weight"] == "reshaped"
for name, (shape, values) in widened.items():
    def at(t, index):
        k = 0
        for i, n in zip(index, t[0]): k = k * n + i
        return t[1][k]
    was = source.get(name)
    for k in range(len(values)):
        index, rest = [], k
        for n in reversed(shape): index.insert(0, rest % n); rest //= n
        inside = said[name] != "fresh" and all(i < n for i, n in zip(index, was[0]))
        assert abs(values[k] - (at(was, index) if inside else at(wide[name], index))) < 1e-20, (name, index)
P
python3 check.py || fail "what was taken"
grep -q "note: --init-from: .* tensors kept, 0 reshaped, .* fresh" said && grep -q "note: fresh: jamba.layers.2.main_layer" said || fail "what is said: $(cat said)"
# a run that goes on has its own weights, whatever lies in the file now
DHC_STOP_AT_POLL=3 train --set pattern=MMAA --seed 2 --steps 3 --lr 0.1 --init-from source/last.safetensors --quiet --out stopped > /dev/null 2>&1
train --set pattern=MMAA --seed 2 --steps 3 --lr 0.1 --init-from source/last.safetensors --quiet --out stopped --resume || fail "going on"
train --set pattern=MMAA --seed 2 --steps 3 --lr 0.1 --init-from source/last.safetensors --quiet --out whole || fail "in one piece"
cmp stopped/last.safetensors whole/last.safetensors && cmp stopped/init.json whole/init.json || fail "a stopped run differs"
train --set pattern=MMAA --seed 2 --steps 3 --lr 0.1 --quiet --out whole --overwrite || fail "overwrite"
[ ! -e whole/init.json ] || fail "init.json of the run before"
expect 1 'no such file or directory' train --init-from none.safetensors
"$dhcc" train mlp --set hidden=4 --set height=1 --set width=1 --print-recipe > /dev/null || fail "mlp"
python3 - <<'P'
import json, struct
head = json.dumps({"x": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
head += b" " * (-len(head) % 8)
open("other.safetensors", "wb").write(struct.pack("<Q", len(head)) + head + b"\0" * 4)
P
expect 1 '--init-from other.safetensors: nothing in it fits SequenceModel' train --init-from other.safetensors
finish
