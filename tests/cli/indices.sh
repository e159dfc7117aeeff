#!/usr/bin/env bash
# Integers of the data that are indices: outside the range is an error that names tensor, place,
# value and range, on every backend; what is computed from inputs is not looked at.
. "$(dirname "$0")/common.sh"

# ints NAME DIMS numbers...: $work/NAME.npy
ints() {
  python3 - "$work/$1.npy" "${@:2}" <<'EOF'
import struct, sys
path, dims, data = sys.argv[1], [int(x) for x in sys.argv[2].split("x")], [int(x) for x in sys.argv[3:]]
head = "{'descr': '<i8', 'fortran_order': False, 'shape': %s, }" % repr(tuple(dims))
head += " " * (63 - (10 + len(head)) % 64) + "\n"
open(path, "wb").write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head.encode() + struct.pack("<%dq" % len(data), *data))
EOF
}
cat > "$work/m.dhc" <<'EOF'
import layers/embedding
model M(n: int = 5) {
  param table: [n, 3] = ones()
  param small: [2, 3] = ones()
  word = Embedding(7, 3)
  whole<B>(i: i64[B]) -> (y: [B, 3]) { return unit look { yield gather(self.table, i, axis = 0) } }
  swapped<B, L>(i: i64[B, L]) -> (y: [L, B, 3]) { return gather(self.table, transpose(i, [1, 0]), axis = 0) }
  marked<B>(i: i64[B]) -> (y: [B, 5]) { return one_hot(i, 5) }
  layered<B>(i: i64[B]) -> (y: [B, 3]) { return word(i) }
  columns<B>(i: i64[B, 2]) -> (y: [B, 3]) {
    return gather(self.table, reshape(i[:, 0], [B]), axis = 0) + gather(self.small, reshape(i[:, 1:], [B]), axis = 0)
  }
  padded<B>(i: i64[B]) -> (y: [B, 3]) {
    known = i != -1
    return select(reshape(known, [B, 1]), gather(self.table, select(known, i, 0), axis = 0), 0.0)
  }
  wrapped<B>(i: i64[B]) -> (y: [B, 3]) { return gather(self.table, i % n, axis = 0) }
  own<B, L>(x: [B, L], j: i64[B, 1]) -> (y: [B, 1]) { return take_along(x, j, axis = 1) }
  counted<B>(i: i64[B]) -> (y: [n]) { return scatter_add(zeros([n]), i, fill([B], 1.0), axis = 0) }
  stepped<B>(i: i64[B]) -> (y: [3]) {
    s, ys = scan (s = zeros([3])) over (k = i) along 0 {
      s = s + gather(self.table, k, axis = 0)
      yield s
    }
    return s
  }
}
EOF
# entry STATUS TEXT ENTRY arguments: the entry on each backend
entry() {
  local status=$1 text=$2 name=$3
  shift 3
  for backend in ${BACKENDS:-interp cpu}; do
    expect "$status" "$text" "$dhcc" run "$work/m.dhc" --entry "$name" --backend "$backend" "$@" --outputs "$work/o.safetensors"
  done
}
i="--inputs i=$work/i.npy"
# shellcheck disable=SC2086
{
  ints i 4 0 1 4 2
  for e in whole layered padded wrapped counted stepped marked; do entry 0 '' $e $i; done
  ints i 4 0 1 5 2
  entry 1 "input 'i' has 5 at [2]: as an index of 'table' it must be in 0..4" whole $i
  entry 1 "input 'i' has 5 at [2]: as an index of 'table' it must be in 0..4" padded $i
  entry 1 "input 'i' has 5 at [2]: as an index it must be in 0..4" counted $i
  entry 1 "input 'i' has 5 at [2]: as an index it must be in 0..4" marked $i
  entry 1 "input 'i' has 5 at [2]: as an index of 'table' it must be in 0..4" stepped $i
  entry 0 '' layered $i
  entry 0 '' wrapped $i
  ints i 4 0 -1 3 2
  entry 1 "input 'i' has -1 at [1]: as an index of 'table' it must be in 0..4" whole $i
  entry 1 "input 'i' has -1 at [1]: as an index of 'word.weight' it must be in 0..6" layered $i
  entry 0 '' padded $i
  ints i 2x2 4 1 3 0
  entry 0 '' swapped $i
  entry 0 '' columns $i
  ints i 2x2 4 1 3 2
  entry 1 "input 'i' has 2 at [1, 1]: as an index of 'small' it must be in 0..1" columns $i
  ints i 2x2 4 1 5 1
  entry 1 "input 'i' has 5 at [1, 0]: as an index of 'table' it must be in 0..4" columns $i
  entry 1 "input 'i' has 5 at [1, 0]: as an index of 'table' it must be in 0..4" swapped $i
  # an extent that the shapes decide
  ints x 2x3 1 2 3 4 5 6
  python3 - "$work/x.npy" <<'EOF'
import sys
raw = open(sys.argv[1], "rb").read()
import struct
n = 10 + struct.unpack("<H", raw[8:10])[0]
open(sys.argv[1], "wb").write(raw[:n].replace(b"<i8", b"<f8") + struct.pack("<6d", 1, 2, 3, 4, 5, 6))
EOF
  ints j 2x1 2 0
  entry 0 '' own --inputs "x=$work/x.npy" --inputs "j=$work/j.npy"
  ints j 2x1 2 3
  entry 1 "input 'j' has 3 at [1, 0]: as an index of 'x' it must be in 0..2" own --inputs "x=$work/x.npy" --inputs "j=$work/j.npy"
}

# Tokens and targets of next-token prediction; the ignored target is none.
seq() {
  for backend in ${BACKENDS:-interp cpu}; do
    expect "$1" "$2" "$dhcc" run seq --set vocabulary=11 --set d_model=8 --set num_layers=1 --set num_heads=2 --entry loss --backend "$backend" \
      --inputs "tokens=$work/tokens.npy" --inputs "target=$work/target.npy" --outputs "$work/o.safetensors"
  done
}
ints tokens 1x4 0 3 10 5
ints target 1x4 3 -100 5 -100
seq 0 ''
ints target 1x4 3 -100 11 -100
seq 1 "input 'target' has 11 at [0, 2]: as an index it must be in 0..10"
ints target 1x4 3 -1 5 -100
seq 1 "input 'target' has -1 at [0, 1]: as an index it must be in 0..10"
ints target 1x4 3 -100 5 -100
ints tokens 1x4 0 3 11 5
seq 1 "input 'tokens' has 11 at [0, 2]: as an index of 'embedding.weight' it must be in 0..10"
# The best of many places: choice by choice where compiled, as the op says where interpreted. Ties, infinities, numbers that are none.
cat > "$work/best.dhc" <<'EOF'
import std/nn
model M() {
  forward<B>(start: i64[B, 1]) -> (values: [B, 9], places: i32[B, 9]) {
    n = iota(40, i64) + start
    x = float(n * n % 7) - 3.0
    none = log(x - 9.0)
    x = select(n > 45, -inf, x)          # row 1 has four places above, row 2 none
    x = select(n == 100 or n == 130, none, x)
    v, i = top_k(x, 9)
    return select(v == v, v, 77.0), i
  }
}
EOF
ints start 3x1 0 42 97
for backend in ${BACKENDS:-interp cpu}; do
  "$dhcc" run "$work/best.dhc" --backend "$backend" --inputs "start=$work/start.npy" --quiet --json > "$work/best.$backend" || fail "top_k: $backend"
  python3 - "$work/best.$backend" <<'EOF' || fail "top_k: $backend chose otherwise"
import json, math, sys
got = {r["name"]: r["values"] for r in json.load(open(sys.argv[1]))["results"]}
for row, start in enumerate((0, 42, 97)):
    x = [77.0 if n in (100, 130) else -math.inf if n > 45 else n * n % 7 - 3.0 for n in range(start, start + 40)]
    want = sorted(range(40), key=lambda i: (-x[i], i))[:9]
    assert got["places"][9 * row:9 * row + 9] == want, (got["places"], want)
    v = [-math.inf if a is None else a for a in got["values"][9 * row:9 * row + 9]]
    assert v == [x[i] for i in want], (v, want)
EOF
done
finish
