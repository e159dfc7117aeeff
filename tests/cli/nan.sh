#!/usr/bin/env bash
# NaN in weights or results: eval and generate stop with exit 4 and name the tensor and the place; run, which
# was asked for the values, gives them and warns. Infinities pass where they are results (masks are made of them).
. "$(dirname "$0")/common.sh"
cd "$work" || exit 1
cat > m.dhc <<'M'
import std/nn
model M() {
  param w: [4] = ones()
  param unused: [2] = zeros()
  forward<B>(x: [B, 4]) -> (y: [B, 4]) { return log(x) * w + 0.0 * sum(unused) }
  loss<B>(x: [B, 4], target: i64[B]) -> (loss: []) { return mean(forward(x)) }
}
M
cat > kept.dhc <<'M'
model K() {
  param w: [4] = ones()
  buffer plain: [3] = ones()
  buffer half: bf16[3] = ones()
  buffer wide: f64[3] = ones()
  buffer count: i64[3] = zeros()
  forward<B>(x: [B, 4]) -> (y: [B, 4]) { return x * w }
}
M
cat > tokens.dhc <<'M'
import layers/embedding
model T() {
  embed = Embedding(8, 8)
  forward<B, L>(tokens: i64[B, L]) -> (logits: [B, L, 8]) { return embed(tokens) }
}
M
python3 - <<'P'
import json, math, os, struct
def npy(path, descr, shape, data):
    h = ("{'descr': '%s', 'fortran_order': False, 'shape': %s, }" % (descr, shape)).ljust(117) + "\n"
    open(path, "wb").write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(h)) + h.encode() + data)
def st(path, **tensors):
    head, data = {}, b""
    for name, values in tensors.items():
        head[name] = {"dtype": "F32", "shape": [len(values)], "data_offsets": [len(data), len(data) + 4 * len(values)]}
        data += struct.pack("<%df" % len(values), *values)
    j = json.dumps(head).encode()
    open(path, "wb").write(struct.pack("<Q", len(j)) + j + data)
npy("good.npy", "<f4", "(2, 4)", struct.pack("<8f", *[1.0 + i for i in range(8)]))
npy("zero.npy", "<f4", "(2, 4)", struct.pack("<8f", *[float(i) for i in range(8)]))
npy("negative.npy", "<f4", "(2, 4)", struct.pack("<8f", *[2.0 - i for i in range(8)]))
st("good.safetensors", w=[1, 2, 3, 4], unused=[0, 0])
st("bad.safetensors", w=[1, 2, math.nan, 4], unused=[0, 0])
st("quiet.safetensors", w=[1, 2, 3, 4], unused=[0, math.nan])
buffers = dict(w=[1, 2, 3, 4], plain=[0, 1, 2], half=[0, 1, 2], wide=[0, 1, 2], count=[0, 1, 2])
for name in ("plain", "half", "wide"):
    st(name + ".safetensors", **dict(buffers, **{name: [-math.inf, math.nan, math.nan]}))
st("masks.safetensors", **dict(buffers, w=[1, math.inf, 2, 3], wide=[-math.inf, 0, 0]))
for name, x in (("train", "negative"), ("test", "good")):
    os.makedirs("data/" + name)
os.makedirs("bad/test")
npy("data/test/x.npy", "<f4", "(2, 4)", struct.pack("<8f", *[1.0 + i for i in range(8)]))
npy("bad/test/x.npy", "<f4", "(2, 4)", struct.pack("<8f", *[2.0 - i for i in range(8)]))
npy("zero_test", "<f4", "(2, 4)", struct.pack("<8f", *[float(i) for i in range(8)]))
for d in ("data/test", "bad/test"):
    npy(d + "/target.npy", "<i8", "(2,)", struct.pack("<2q", 0, 1))
P
for b in ${BACKENDS:-interp}; do
  run() { "$dhcc" run m.dhc --backend $b -o y.safetensors "$@"; }
  expect 0 "tensor 'w' is NaN at index 2" run --weights bad.safetensors --inputs x=good.npy
  expect 0 "tensor 'unused' is NaN at index 1" run --weights quiet.safetensors --inputs x=good.npy
  rm -f y.safetensors
  expect 0 "result 'y' is NaN at index 3" run --weights good.safetensors --inputs x=negative.npy
  [ -e y.safetensors ] || fail "$b: no output"
  expect 0 '' run --weights good.safetensors --inputs x=zero.npy # log(0) is -inf
  rm -f y.safetensors
  for name in plain half wide; do
    expect 0 "tensor '$name' is NaN at index 1" "$dhcc" run kept.dhc --backend $b --weights $name.safetensors --inputs x=good.npy -o $name.y
  done
  expect 0 '' "$dhcc" run kept.dhc --backend $b --weights masks.safetensors --inputs x=good.npy -o masks.y
  cmp half.y wide.y || fail "$b: looking at the weights changes results"
  expect 4 "tensor 'w' is NaN at index 2" "$dhcc" eval m.dhc --backend $b --data npy:data --weights bad.safetensors
  expect 4 "result 'loss' is NaN at index 0" "$dhcc" eval m.dhc --backend $b --data npy:bad --weights good.safetensors
  expect 0 'loss' "$dhcc" eval m.dhc --backend $b --data npy:data --weights good.safetensors
done
finish
