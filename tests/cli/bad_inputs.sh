#!/usr/bin/env bash
# Inputs that are wrong, one case each: the first line says where and why, the exit status
# whose fault it is; nothing is written, nothing takes long. Each input is made by bad_files.py.
. "$(dirname "$0")/common.sh"
python3 "$(dirname "$0")/bad_files.py" "$work" || fail "the files could not be made"
cd "$work" || exit 1

# bad STATUS 'first line of stderr' command...: within 20 s, processor time up to
# $limit seconds, and no file left at any of the places an output was asked for.
limit=1
[ "${DHC_SANITIZED:-0}" = 1 ] && limit=8
bad() {
  local want=$1 line=$2 rc first spent
  shift 2
  rm -rf "$work/y.safetensors" "$work/out"
  local TIMEFORMAT='%U'
  spent=$({ time timeout 20 "$@" >"$work/stdout" 2>"$work/stderr"; echo $? >"$work/rc"; } 2>&1)
  rc=$(cat "$work/rc")
  first=$(head -1 "$work/stderr")
  [ "$rc" = "$want" ] || fail "exit $rc, want $want: $*"
  [ "$first" = "$line" ] || fail "$*"$'\n'"   said: $first"$'\n'"   want: $line"
  [ ! -e "$work/y.safetensors" ] || fail "left an output file: $*"
  [ -z "$(find "$work/out" -type f 2>/dev/null)" ] || fail "left files in --out: $*"
  awk -v s="$spent" -v l="$limit" 'BEGIN { exit !(s <= l) }' || fail "took $spent s: $*"
}
check() { bad 1 "$2" "$dhcc" check "$1.dhc"; }
weights() {
  bad 1 "$2" "$dhcc" run weights.dhc --backend interp --weights "$1.safetensors" --inputs x=x.npy --outputs y.safetensors
}
data() {
  local spec=$1 line=$2
  shift 2
  bad 1 "$line" "$dhcc" train mlp --backend interp --data "$spec" --out out --steps 1 --quiet "$@"
}

# the language
check m 'm.dhc:1:1: error[E0115]: no model here (file is empty)'
check parens 'parens.dhc:2:268: error[E0112]: nesting deeper than 256 levels'
check terms 'terms.dhc:2:20014: error[E0113]: expression has more than 10000 operators'
check integer 'integer.dhc:2:13: error[E0105]: integer out of range (max 9223372036854775807)'
check real 'real.dhc:2:13: error[E0106]: number out of range (from 4.94e-324 to 1.797e308)'
check elements "elements.dhc:2:3: error[E0313]: tensor 'w': number of elements does not fit in 63 bits"
bad 1 'memory.dhc:2:3: error[E0312]: model needs 37.3 GiB, limit is 8.0 GiB (--max-memory)' \
  "$dhcc" run memory.dhc --inputs x=x.npy --outputs y.safetensors --max-memory 8589934592
bad 1 'memory.dhc:2:3: error[E0312]: model needs 39062500.0 KiB, limit is 9.8 KiB (--max-memory)' \
  "$dhcc" run memory.dhc --inputs x=x.npy --outputs y.safetensors --max-memory 10000
check negative "negative.dhc:2:16: error[E0314]: tensor 'w': dimension 1 must be at least 1, got -1"
check matmul "matmul.dhc:4:12: error[E0308]: matmul: inner sizes differ: 784 ('x', line 3), 785 ('w', line 2)"
check outside 'outside.dhc:1:8: error[E0222]: import leaves the model folder: "a/../../secret"'
check absolute 'absolute.dhc:1:8: error[E0222]: import leaves the model folder: "/etc/passwd"'
check import_soft 'import_soft.dhc:1:8: error[E0223]: import "lib/soft.dhc" is a link, refused'
check import_hard 'import_hard.dhc:1:8: error[E0223]: import "lib/hard.dhc" is a link, refused'
check import_through 'import_through.dhc:1:8: error[E0223]: import "through/plain.dhc" is a link, refused'
check import_fifo 'import_fifo.dhc:1:8: error[E0226]: import "lib/fifo.dhc" is not a regular file'
check import_folder 'import_folder.dhc:1:8: error[E0226]: import "lib/folder.dhc" is not a regular file'
check import_absent 'import_absent.dhc:1:8: error[E0221]: import "lib/absent.dhc": cannot be read: No such file or directory'
check a 'b.dhc:1:8: error[E0224]: import cycle: a.dhc -> b.dhc -> a.dhc'
check nul 'nul.dhc:2:4: error[E0101]: invalid byte 0x00'
check utf8 'utf8.dhc:2:4: error[E0101]: invalid byte 0xff'
# lines of bytes that are no UTF-8, all continuation bytes: the excerpt stays in its line
for bytes in 1 119 120 121 122 300 5000; do
  for lead in '' 'a' $'\n' "$(printf '%200s' x)"; do
    { printf '%s' "$lead"; head -c $bytes /dev/zero | tr '\0' '\200'; printf '\n'; } > long.dhc
    cp long.dhc long.gir
    cp long.dhc long.spec
    runs=("check long.dhc" "opt long.gir")
    [[ ${BACKENDS:-} == *cpu* ]] && runs+=("kernel long.spec --dims 1")
    for run in "${runs[@]}"; do
      timeout 20 "$dhcc" $run > out.txt 2>&1 # shellcheck disable=SC2086
      rc=$?
      [ $rc = 1 ] && [ "$(stat -c %s out.txt)" -lt 700 ] && ! tr -d '\n -~' < out.txt | grep -q . ||
        fail "$bytes bytes 0x80 behind \"$lead\": $run: exit $rc, $(stat -c %s out.txt) bytes"
    done
  done
done
check string 'string.dhc:1:21: error[E0103]: string opened here is not closed on this line'
bad 1 "gradient.dhc:4:23: error[E0710]: 'argmax' has no gradient but lies between parameter 'w' and the loss" \
  "$dhcc" print gradient.dhc --stage=grad --entry loss

# weights
weights short 'short.safetensors: error: 7 bytes, too short for a header (needs 8)'
weights empty 'empty.safetensors: error: 0 bytes, too short for a header (needs 8)'
weights huge_header 'huge_header.safetensors: error: header length 18446744073709551615 is over the limit 100000000'
weights long_header 'long_header.safetensors: error: header of 4096 bytes runs past the end of the file (1032 bytes)'
weights overlap "overlap.safetensors: error: tensor 'b' starts at byte 8, expected 16 (overlap)"
weights appended 'appended.safetensors: error: 512 bytes after the last tensor belong to no tensor'
weights hole "hole.safetensors: error: tensor 'b' starts at byte 20, expected 16 (hole)"
weights twice "twice.safetensors: error: tensor 'w' is listed twice"
weights range "range.safetensors: error: tensor 'w': F32 [2,2] needs 16 bytes, its range has 4"
weights dtype "dtype.safetensors: error: tensor 'w': unknown dtype \"F31\""
weights shape "shape.safetensors: error: tensor 'w': shape is too large"
weights overflow "overflow.safetensors: error: tensor 'w': shape is too large"
weights nested 'nested.safetensors: error: header byte 131: JSON nested deeper than 127 levels'
weights metadata 'metadata.safetensors: error: header byte 21: metadata values must be strings'
weights turned "turned.safetensors: error: tensor 'w' is [1,4], the model needs [2,2]"
weights missing "missing.safetensors: error: tensor 'b' is missing"
weights absent 'dhcc: error: absent.safetensors: no such file or directory'

# a disk that takes no more
said=$( (ulimit -f 0; exec "$dhcc" run weights.dhc --backend interp --weights good.safetensors --inputs x=x.npy --outputs full.safetensors --quiet) 2>&1)
[ $? = 3 ] || fail "a full disk: exit"
[ "$said" = 'dhcc: error: full.safetensors: file too large' ] || fail "a full disk: $said"
[ -z "$(find . -name '*full.safetensors*')" ] || fail "a full disk: left a file"

# data
data mnist:gzip_cut 'gzip_cut/train-images-idx3-ubyte.gz: error: gzip data ends too early'
"$dhcc" train mlp --backend interp --data mnist:gzip_named --out gz --steps 1 --quiet || fail "gzip data are read as they are"
"$dhcc" train mlp --backend interp --data mnist:gzip_padded --out gz0 --steps 1 --quiet || fail "zeros behind gzip data are no part of them"
data mnist:gzip_behind 'gzip_behind/train-images-idx3-ubyte.gz: error: gzip data is damaged'
data mnist:magic 'magic/train-images-idx3-ubyte: error: is no IDX file'
data mnist:promise 'promise/train-images-idx3-ubyte: error: header promises 3.06 TiB of pixels, the file has 0 bytes'
data mnist:labels 'labels/train-labels-idx1-ubyte: error: 10 labels for 60 images'
colour=(--set channels=3 --set height=32 --set width=32)
data cifar10:cifar_cut 'cifar_cut/data_batch_1.bin: error: size 153649 is not a multiple of 3073' "${colour[@]}"
data cifar10:cifar_label 'cifar_label/data_batch_1.bin: error: record 42: label 255 is outside 0..9' "${colour[@]}"

# options
train() { bad "$1" "$2" "$dhcc" train mlp --data mnist:labels --out out "${@:3}"; }
for n in 12abc 0 -1 1e3; do
  train 2 "dhcc: error: --batch: needs a whole number from 1 to 1048576, got \"$n\"" "--batch=$n"
done
for x in nan inf 0 -1 1e999 1,5; do
  train 2 "dhcc: error: --lr: needs a finite number above 0, got \"$x\"" "--lr=$x"
done
train 2 'dhcc: error: unknown option --epoch (did you mean --epochs?)' --epoch 3
export DHC_LIBCUDA=/nonexistent/libcuda.so
if "$dhcc" doctor | grep -q "^NVRTC"; then
  train 3 'dhcc: error: --backend cuda: no NVIDIA driver: /nonexistent/libcuda.so: cannot open shared object file: No such file or directory' --backend cuda
else
  train 3 'dhcc: error: --backend cuda: not in this build; use --backend cpu' --backend cuda
fi
finish
