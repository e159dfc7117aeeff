#!/usr/bin/env bash
# --cpu-features: names that do not exist, that this CPU lacks, that code cannot do without: each is said,
# none ends the process. What may be off is off, and the same numbers come out (ALL=1: every one).
. "$(dirname "$0")/common.sh"
cd "$work" || exit 1
cat > m.dhc <<'M'
import std/nn
model M() {
  param w: [4, 4] = ones()
  forward<B>(x: [B, 4]) -> (y: [B, 4]) { return tanh(x @ w) + x }
}
M
python3 - <<'P'
import struct
h = "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }".ljust(117) + "\n"
open("x.npy", "wb").write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(h)) + h.encode() + struct.pack("<12f", *[i / 7 for i in range(12)]))
P
asked() { "$dhcc" run m.dhc --no-cache --inputs x=x.npy -o "$2" --cpu-features="$1"; }
"$dhcc" run m.dhc --no-cache --inputs x=x.npy -o plain.safetensors > /dev/null || fail "without features"
expect 2 "--cpu-features: there is no 'avx512g' (did you mean 'avx512" asked -avx512g y
expect 2 "--cpu-features: there is no 'nothing_like_it'" asked +nothing_like_it y
expect 2 "--cpu-features: there is no 'AVX2'" asked -AVX2 y
[ ! -e y ] || fail "an output without code"
if [ "$(uname -m)" = x86_64 ]; then
  for f in 64bit sse sse2 cmov cx8 fxsr mmx; do
    expect 2 "--cpu-features: '$f' cannot be switched off" asked "-$f" y
    expect 2 "--cpu-features: '$f' cannot be switched off" asked "-avx,-$f" y
  done
  has=$("$dhcc" doctor --json | python3 -c 'import json, sys; print(json.load(sys.stdin)["features"])')
  some="avx2 avx fma sse4.1 sse3"
  [ "${ALL:-0}" = 1 ] && some=$(tr ',' '\n' <<< "$has" | grep -vx -e 64bit -e sse -e sse2 -e cmov -e cx8 -e fxsr -e mmx)
  for f in $some; do
    asked "-$f" y.safetensors > out.txt 2>&1 || fail "-$f: exit $?: $(head -1 out.txt)"
    cmp -s plain.safetensors y.safetensors || fail "-$f: other numbers"
  done
  [[ ",$has," == *,amx-tile,* ]] || expect 2 "--cpu-features: this CPU has no 'amx-tile'" asked +amx-tile y
fi
finish
