#!/usr/bin/env bash
# kernel: one spec at given arguments against its meaning. What would leave its operands, has no size
# or cannot be counted is refused by name before anything is allocated; sound arguments run.
. "$(dirname "$0")/common.sh"
cd "$work" || exit 1
dims() {
  local want=$1 text=$2 spec=$3
  expect "$want" "$text" timeout 60 "$dhcc" kernel "$spec" "--dims=$4"
}
cat > map.spec <<'S'
spec map args 0 {
  axis par
  in f32 row [s(a0)]
  %0 = load 0 : f32
  out f32 row [s(a0)] = %0
}
S
dims 0 'output 1: 1000 elements' map.spec 1000,1,1
dims 0 'output 1: 2998 elements' map.spec 1000,7,3
dims 0 'output 1: 1 elements' map.spec 0,1,1
dims 0 'output 1: 5 elements' map.spec 5,0,1
dims 2 '--dims: the extent of a0 is -5: it must be 0 to 67108864' map.spec -5,1,1
dims 2 'the extent of a0 is 2305843009213693953' map.spec 2305843009213693953,8,8
dims 2 'the stride 0 of operand 0 is -1' map.spec 1000,-1,1
dims 2 'the stride 0 of operand 1 is -8' map.spec 1000,1,-8
dims 2 '--dims: operand 0 would reach from element 0 to 134217726: it must stay in 0..67108863' map.spec 67108864,2,1
dims 2 '--dims: operand 1 is written with stride 0, where 1 elements lie below: they overlap' map.spec 4,1,0
dims 2 'needs whole numbers of 63 bits' map.spec 9223372036854775808,1,1
dims 2 'needs whole numbers' map.spec 1,1,
dims 2 'needs whole numbers' map.spec 1,,1
dims 2 '--dims: this spec has 3 arguments, got 2; in order: extent of a0, stride 0 of operand 0, stride 0 of operand 1' map.spec 1,1
# an index that is computed: guarded it is bounded, unguarded nothing bounds it
cat > gather.spec <<'S'
spec map args 0 {
  axis par
  in i32 row [1(a0)]
  %0 = load 0 : i32
  %1 = mul(%0, %0) : i32
  in f32 row [s(%1)?]
  %2 = load 1 : f32
  out f32 row [1(a0)] = %2
}
S
dims 1 'operand 1 is indexed by a computed value: a run on random numbers cannot bound it' gather.spec 8,1,0,4
sed 's/s(%1)?/s(%0)?/' gather.spec > plain.spec
dims 0 'output 2: 8 elements' plain.spec 8,1,0,4
dims 0 'output 2: 8 elements' plain.spec 8,1,-3,4
dims 2 'the bound 0 of operand 1 is -4' plain.spec 8,1,0,-4
dims 2 'the offset 0 of operand 1 is 99999999999' plain.spec 8,1,99999999999,4
cat > narrow.spec <<'S'
spec map args 0 {
  axis par
  axis par
  in i64 row [1(a0)]
  in f32 rows_i8 [s(%0)?, 1(a1)]
  %0 = load 0 : i64
  %1 = load 1 : f32
  out f32 row [s(a0), 1(a1)] = %1
}
S
dims 1 'operand 1 lies in fewer bits: objects alone have such weights (--quantize)' narrow.spec 4,5,5,0,9,5
finish
