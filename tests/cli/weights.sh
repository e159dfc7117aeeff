#!/usr/bin/env bash
# What weights may be: every float type, one file, several with an index, a folder; what a file holds
# beside the model's tensors is said; what is none is named. Each file is made by weights.py.
. "$(dirname "$0")/common.sh"
python3 "$(dirname "$0")/weights.py" "$work" || fail "the files could not be made"
cd "$work" || exit 1
cat > m.dhc <<'M'
import std/nn
layer Linear() {
  param weight: [2, 2] = zeros()
}
model M() {
  param w: [2] = zeros()
  l = Linear()
  forward() -> (y: [2], z: [2, 2]) { return w, l.weight }
}
M
run() { "$dhcc" run m.dhc --backend interp --weights "$@"; }
want=$'y f64[2] 1.5 -2\nz f64[2, 2] 1 2 3 4'
# loads FILE ['part of what stderr says']: the values, and nothing or that on stderr
loads() {
  local out
  out=$(run "$1" 2>"$work/said") || fail "$1: exit $?: $(cat "$work/said")"
  [ "$out" = "$want" ] || fail "$1: $out"
  if [ $# = 1 ]; then
    [ ! -s "$work/said" ] || fail "$1 said $(cat "$work/said")"
  else
    grep -qF -- "$2" "$work/said" || fail "$1: no \"$2\" in $(cat "$work/said")"
  fi
}
for type in F64 F32 F16 BF16 F8_E5M2 F8_E4M3 F8_E5M2FNUZ F8_E4M3FNUZ F4; do
  loads $type.safetensors
done
loads good.safetensors
loads u64.safetensors
expect 1 "c64.safetensors: error: tensor 'w': dtype C64 is not supported" run c64.safetensors

# a checkpoint in several files, by its index or its folder
loads hub/model.safetensors.index.json "1 tensor is left out, the model does not have it: 'l.bias' (a copy of 'w')"
loads hub "'l.bias'"
loads hub/ "'l.bias'"
loads one
cp hub/model.safetensors.index.json hub/renamed
loads hub/renamed "'l.bias'"
expect 1 "dhcc: error: several: holds 2 files like 'a.safetensors'; name the one you mean" run several
expect 1 "dhcc: error: torch: holds no .safetensors file and no index of some (its PyTorch files" run torch
expect 1 "dhcc: error: empty: holds no .safetensors file and no index of some" run empty
expect 1 "absent/model-00002-of-00002.safetensors: no such file" run absent
expect 1 "tensor 'l.weight' is not in model-00002-of-00002.safetensors, which the index names for it" run astray
expect 1 "tensor 'w' is in twice/model-00001-of-00002.safetensors and in twice/model-00002-of-00002.safetensors" run twice
expect 1 "shape/model-00002-of-00002.safetensors: error: tensor 'l.weight' is [4], the model needs [2,2]" run shape
expect 1 'error: "../good.safetensors" is no file beside the index' run outside
expect 1 'config.json: error: is no .safetensors file, and no index of some: it has no "weight_map"' run config.json
expect 1 'broken.json: error: byte 21: names of files must be strings' run broken.json

# GGUF: dimensions turned round, names as they stand, what is packed in blocks refused where it is needed
for type in F32 F16 BF16 F64 aligned; do
  loads $type.gguf
done
loads beside.gguf "1 tensor is left out, the model does not have it: 'q'"
expect 1 "packed.gguf: error: tensor 'w': dtype Q8_0 is not supported" run packed.gguf
expect 1 "turned.gguf: error: tensor 'l.weight' is [1,4], the model needs [2,2]" run turned.gguf
bad_gguf() { expect 1 "bad_$1.gguf: error: $2" run "bad_$1.gguf"; }
bad_gguf version "GGUF version 1; 2 and 3 are read"
bad_gguf endian "a big-endian GGUF file; little-endian ones are read"
bad_gguf counts "its header runs past the end of the file (192 bytes)"
bad_gguf keys "its header runs past the end of the file (192 bytes)"
bad_gguf array "its header runs past the end of the file (224 bytes)"
bad_gguf value "byte 37: a value of unknown type 77"
bad_gguf nesting "byte 133: arrays nested deeper than 8"
bad_gguf alignment "general.alignment must be a u32 that is a power of two"
bad_gguf name "byte 24: a tensor's name is no printable ASCII"
bad_gguf rank "tensor 'w' has 9 dimensions, more than 8"
bad_gguf type "tensor 'w': unknown type 99"
bad_gguf block "tensor 'w': rows of 128 are no whole blocks of 256 Q4_K"
bad_gguf shape "tensor 'w': shape is too large"
bad_gguf place "tensor 'w' starts at byte 8, no multiple of 32"
bad_gguf end "tensor 'w': 4611686018427387904 bytes from byte 0 on, the data has only 32"
bad_gguf far "tensor 'w': 8 bytes from byte 18446744073709551584 on, the data has only 32"
bad_gguf overlap "tensors 'w' and 'v' overlap"
bad_gguf short "its header runs past the end of the file (20 bytes)"
expect 1 "F32.gguf: error: is no .safetensors file but a GGUF file, which is read for weights alone (--weights)" "$dhcc" run m.dhc --backend interp --inputs F32.gguf

# names with one prefix more, or less
expect 1 "prefix.safetensors: error: tensor 'w' is missing; it has 'model.w': \`as\` tells where a submodule lies in files" run prefix.safetensors
expect 1 "bare.safetensors: error: tensor 'l.weight' is missing; it has 'weight': \`as\` tells" run bare.safetensors

# what the model does not have
loads extra.safetensors "dhcc: note: extra.safetensors: 5 tensors are left out, the model does not have them: 'l.bias' (a copy of 'w'), 'head', 'z', 'deep', 'six'"
loads many.safetensors "30 tensors are left out"
loads many.safetensors "'m07' (a copy of 'w'), …"
[ -z "$(run extra.safetensors --quiet 2>&1 >/dev/null)" ] || fail "--quiet says the note"
expect 1 "extra.safetensors: error: holds 5 tensors that the model does not have: 'l.bias'" run extra.safetensors --strict
expect 0 "1.5 -2" run good.safetensors --strict
run extra.safetensors --json 2>/dev/null | python3 -c '
import json, sys
rows = json.load(sys.stdin)["diagnostics"]
assert len(rows) == 1 and rows[0]["severity"] == "note" and "head" in rows[0]["message"], rows' || fail "--json has no note"

# as inputs: floats of any type
cat > in.dhc <<'M'
model M() {
  forward(w: [2]) -> (y: [2]) { return w }
}
M
for type in F64 F16 BF16 F8_E4M3 F4; do
  expect 0 "y f64[2] 1.5 -2" "$dhcc" run in.dhc --backend interp --inputs $type.safetensors --quiet
done
expect 1 "note: c64.safetensors: 'w' is of a type, or has a rank, that dhcc lacks; it is left out" "$dhcc" run in.dhc --backend interp --inputs c64.safetensors
expect 1 "entry 'forward' needs input 'w'" "$dhcc" run in.dhc --backend interp --inputs c64.safetensors
expect 0 "y f64[2] 1.5 -2" "$dhcc" run in.dhc --backend interp --inputs extra.safetensors

# ---- results: all in a file, one as .npy, or in the document ----
cat > "$work/two.dhc" <<'M'
model Two() {
  param w: [2] = ones()
  forward<B>(x: [B, 2]) -> (y: [B, 2], top: i64[B], nan: [B]) { return x * w, argmax(x, axis = 1), log(x[:, 0]) }
}
M
python3 - "$work/x.npy" <<'P'
import struct, sys
head = b"{'descr': '<f4', 'fortran_order': False, 'shape': (2, 2), }"
head += b" " * (-(len(head) + 11) % 64) + b"\n"
open(sys.argv[1], "wb").write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head + struct.pack("<4f", 1, 2, -4, 0.1))
P
two=("$dhcc" run "$work/two.dhc" --quiet --inputs "x=$work/x.npy")
"${two[@]}" --json 2> /dev/null | python3 -c 'import json, struct, sys
r = {x["name"]: x["values"] for x in json.load(sys.stdin)["results"]}
f32 = struct.unpack("<f", struct.pack("<f", 0.1))[0]
assert r == {"y": [1, 2, -4, f32], "top": [1, 1], "nan": [0, None]}, r' || fail "values in the document"
"${two[@]}" -o "top=$work/top.npy" 2> /dev/null || fail "one result"
python3 - "$work/top.npy" <<'P' || fail "one result as .npy"
import struct, sys
b = open(sys.argv[1], "rb").read()
n = struct.unpack("<H", b[8:10])[0]
assert b"'<i8'" in b[:10 + n] and b"(2,)" in b[:10 + n] and struct.unpack("<2q", b[10 + n:]) == (1, 1), b
P
expect 2 "all.npy: a .npy file holds one tensor, not 3; .safetensors holds all" "${two[@]}" -o "$work/all.npy"
expect 1 "-o tip=t.npy: there is no result 'tip' (did you mean 'top'?)" "${two[@]}" -o tip=t.npy
finish
