#!/usr/bin/env bash
# build: an object and its header; a program without any library links and runs it; what cannot be
# built is one line, and leaves the files that are there as they are.
. "$(dirname "$0")/common.sh"
here=$(cd "$(dirname "$0")" && pwd)
cd "$work" || exit 1
cc=${CC:-cc}

# ---- a program that has no library, not even the functions of memory
cat > user.c <<'C'
#include "mlp.h"
#include "other.h"
void *memcpy(void *restrict to, const void *restrict from, unsigned long n);
void *memset(void *to, int v, unsigned long n);
void *memcpy(void *restrict to, const void *restrict from, unsigned long n) {
  for (unsigned long i = 0; i < n; i++) ((char *)to)[i] = ((const char *)from)[i];
  return to;
}
void *memset(void *to, int v, unsigned long n) {
  for (unsigned long i = 0; i < n; i++) ((char *)to)[i] = (char)v;
  return to;
}
static float image[2 * 784], logits[2 * 10], again[2 * 10];
static _Alignas(64) char workspace[1 << 16], weights[MLP_WEIGHTS_BYTES];
static int test(void) {
  int64_t bytes = mlp_forward_workspace_bytes(2, 1);
  if (bytes < 0 || bytes > (int64_t)sizeof workspace) return 1;
  for (int i = 0; i < 2 * 784; i++) image[i] = (float)(i % 7) / 7;
  if (mlp_forward(weights, image, logits, 2, workspace, bytes, 0) != DHC_OBJECT_WEIGHTS) return 2;
  if (mlp_forward(weights, image, logits, 0, workspace, bytes, 0) == DHC_OBJECT_OK) return 3;
  if (other_forward(image, logits, 2, workspace, bytes, 0) != DHC_OBJECT_OK) return 4;
  if (other_forward(image, again, 1, workspace, bytes, 0) != DHC_OBJECT_OK) return 5;
  for (int i = 0; i < 10; i++)
    if (logits[i] != again[i] || logits[i] == 0) return 6;
  return mlp_describe()[0] == '{' && other_forward_why(1) == 0 && other_forward_why(0) ? 0 : 7;
}
void _start(void) {
  int rc = test();
#if defined __x86_64__
  __asm__ volatile("syscall" : : "a"(60L), "D"((long)rc) : "rcx", "r11", "memory");
#else
  register long x8 __asm__("x8") = 93, x0 __asm__("x0") = rc;
  __asm__ volatile("svc 0" : : "r"(x8), "r"(x0));
#endif
  for (;;) {}
}
C
python3 - w.safetensors <<'P'
import json, struct, sys, random
random.seed(3)
shapes = {"layers.0.weight": [256, 784], "layers.0.bias": [256], "layers.1.weight": [256, 256], "layers.1.bias": [256],
          "head.weight": [10, 256], "head.bias": [10]}
head, data = {}, b""
for name, shape in shapes.items():
    n = 1
    for d in shape: n *= d
    head[name] = {"dtype": "F32", "shape": shape, "data_offsets": [len(data), len(data) + 4 * n]}
    data += struct.pack("<%df" % n, *(random.uniform(-0.1, 0.1) for _ in range(n)))
text = json.dumps(head).encode()
open(sys.argv[1], "wb").write(struct.pack("<Q", len(text)) + text + data)
P
expect 0 "passed by the caller" "$dhcc" build mlp -o mlp.o --header mlp.h
expect 0 "embedded" "$dhcc" build mlp --weights w.safetensors --name other -o other.o --header other.h
"$cc" -std=c11 -Wall -Wextra -Werror -ffreestanding -fno-stack-protector -fno-builtin -O1 -nostdlib -static -o user user.c mlp.o other.o ||
  fail "the program does not link"
./user || fail "the program ends with $?"
for h in mlp.h other.h; do
  "$cc" -std=c99 -pedantic -Wall -Wextra -Werror -fsyntax-only -x c "$h" || fail "$h is no C99"
done
if command -v c++ > /dev/null; then
  c++ -Wall -Wextra -Werror -fsyntax-only -x c++ mlp.h || fail "mlp.h is no C++"
fi

# ---- what is wrong is said in one line, and nothing is replaced
cp mlp.o before.o
cp mlp.h before.h
# refused STATUS 'text' arguments...
refused() {
  local want=$1 text=$2
  shift 2
  expect "$want" "$text" "$dhcc" build "$@"
  [ "$("$dhcc" build "$@" 2>&1 | grep -c .)" = 1 ] || fail "more than one line: build $*"
  cmp -s mlp.o before.o && cmp -s mlp.h before.h || fail "build $* has changed a file"
}
out=(-o mlp.o --header mlp.h)
refused 2 "needs -o FILE.o, FILE.a or FILE.so" mlp --header mlp.h
refused 2 "needs a name that ends in .o, .a or .so" mlp -o mlp.exe --header mlp.h
refused 1 "has no entry 'forwart' (did you mean 'forward'?)" mlp --entry forwart "${out[@]}"
refused 2 "no entry of the object has a size 'C'" mlp --bind C=3 "${out[@]}"
refused 2 "'B' is given twice" mlp --bind B=1,B=2 "${out[@]}"
for bad in B B= B=0 B=-1 B=x B=1x =1 B=2147483648 B=99999999999999999999 B=1, ,B=1; do
  refused 2 "needs NAME=N with N from 1 to 2147483647" mlp --bind "$bad" "${out[@]}"
done
refused 2 '--header: no #include can name q"x.h' mlp -o m.o --header 'q"x.h'
refused 1 "needs H >= 4" dhc_ssm --bind H=2 "${out[@]}"
refused 2 "there is none (did you mean x86-64-v2?)" mlp --target x86-64-v5 "${out[@]}"
refused 2 "there are x86-64," mlp --target vax "${out[@]}"
refused 2 "not one of aarch64 (generic" mlp --target aarch64-linux-gnu --cpu z80 "${out[@]}"
refused 2 "--target arm64-apple-darwin: objects are ELF files, or WebAssembly's; needs a triple of Linux, a BSD or no system" mlp --target arm64-apple-darwin "${out[@]}"
refused 2 "--target x86_64-w64-mingw32: objects are ELF files" mlp --target x86_64-w64-mingw32 "${out[@]}"
refused 2 "--target aarch64_be-linux-gnu: needs a triple of little-endian memory and addresses of 64 bits" mlp --target aarch64_be-linux-gnu "${out[@]}"
refused 2 "little-endian memory and addresses of 32 bits" mlp --target armv7eb-linux-gnueabi "${out[@]}"
refused 2 "addresses of 64 bits" mlp --target x86_64-linux-gnux32 "${out[@]}"
refused 2 "addresses of 64 bits" mlp --target aarch64-linux-gnu_ilp32 "${out[@]}"
refused 2 "of x86-64 only" mlp --target riscv64 --features +v "${out[@]}"
refused 2 "error: --features: there is no 'avx99'" mlp --target x86-64-v3 --features +avx99 "${out[@]}"
refused 2 "error: --features: 'sse2' cannot be switched off: all code for this machine needs it" mlp --target x86-64-v3 --features=-sse2 "${out[@]}"
refused 2 "--cpu: needs --target" mlp --cpu x86-64-v3 "${out[@]}"
refused 2 "needs --weights" mlp --weights-file w.bin "${out[@]}"
refused 2 "--gpu-arch sm_80: the object is for a CPU; needs --backend cuda" mlp --gpu-arch sm_80 "${out[@]}"
[ -e w.bin ] && fail "a refused build has written weights"
refused 3 "nowhere" mlp --weights w.safetensors --weights-file nowhere/w.bin "${out[@]}"
refused 2 "--weights-file none.bin: no entry of the object reads weights from there; a training step holds its first ones" mlp --entry train_step --weights w.safetensors --weights-file none.bin "${out[@]}"
[ ! -e none.bin ] || fail "a weights file of nothing"
refused 2 "given twice" mlp --entry forward --entry forward "${out[@]}"
refused 2 "objects are made by --backend cpu, not interp" mlp --backend interp "${out[@]}"
refused 1 "no such file" mlp --weights nowhere.safetensors "${out[@]}"
refused 1 "layers.0.weight" mlp --set hidden=100 --weights w.safetensors "${out[@]}"
refused 3 "nowhere" mlp -o nowhere/mlp.o --header mlp.h
refused 3 "nowhere" mlp -o mlp.o --header nowhere/mlp.h
head -c 5000 w.safetensors > short.safetensors
refused 1 "short.safetensors" mlp --weights short.safetensors "${out[@]}"
[ -z "$(find . -name '*dhc-tmp*')" ] || fail "temporary files are left"

# ---- source
expect 0 "2 kernels" "$dhcc" build mlp --emit c -o mlp_c.c --header mlp_c.h --name mlp
expect 0 "2 kernels" "$dhcc" build mlp --emit c -o again.c --header mlp_c.h --name mlp
cmp -s mlp_c.c again.c || fail "the source is another the second time"
cat > long.c <<'C'
#include "long_c.h"
#include <stdio.h>
int main(void) { return puts(long_c_describe()) < 0; }
C
# describe() is longer than a string of C99 may be
"$dhcc" build mlp --set hidden=4 --set depth=60 --emit c --name long_c -o long_c.c --header long_c.h --quiet || fail "source of 60 layers"
"$cc" -std=c99 -pedantic -Wall -Wextra -Werror -ffp-contract=off -o long long.c long_c.c || fail "source of 60 layers is no C99"
./long | python3 -c 'import json, sys; t = sys.stdin.read(); assert len(t) > 4095 and len(json.loads(t)["weights"]) == 122, t' || fail "a long describe()"
# names that the source has for things of its own
cat > names.dhc <<'E'
model Names(n: int = 4) {
  param m: [n, n] = normal(std = 0.1)
  forward<B>(d: [B, n], each: [B, n], shared: [B, n], scratch: [B, n], launch: [B, n], job: [B, n], i64: [B, n], misaligned: [B, n]) -> (p: [B, n], work: [B, n], constants: [B, n], j: [B, n], embedded: [B, n]) {
    return matmul(d, m), each + shared, scratch * launch, job - i64, exp(misaligned)
  }
}
E
"$dhcc" build names.dhc --emit c -o names.c --header names.h --quiet || fail "source of a model with such names"
"$cc" -std=c99 -pedantic -Wall -Wextra -Werror -ffp-contract=off -c -o names.o names.c || fail "names of the model and of the source are mixed up"
refused 2 "needs a name that ends in .c" mlp --emit c "${out[@]}"
refused 2 "needs a name that ends in .o, .a or .so" mlp -o mlp.c --header mlp.h
refused 2 "mlp.o is to be two files" mlp -o mlp.o --header mlp.o
refused 2 "mlp.h is to be two files" mlp --weights w.safetensors "${out[@]}" --weights-file mlp.h
refused 2 "mlp.o is to be two files" mlp -o ./mlp.o --header "$PWD/mlp.o"
cp w.safetensors kept.safetensors
refused 2 "build: w.safetensors is read, and would be overwritten" mlp --weights w.safetensors "${out[@]}" --weights-file w.safetensors
refused 2 "build: ./w.safetensors is read, and would be overwritten" mlp --weights w.safetensors -o mlp.o --header ./w.safetensors
cmp -s w.safetensors kept.safetensors || fail "weights that were read are others"
expect 0 "int8: " "$dhcc" build mlp --weights w.safetensors --multiversion --quantize int8 -o levels.o --header levels.h
python3 - <<'P' || fail "large.safetensors"
import json, struct
raw = bytearray(open("w.safetensors", "rb").read())
n = struct.unpack("<Q", raw[:8])[0]
head = json.loads(raw[8:8 + n])
name = next(k for k in head if k.endswith("weight"))
at = 8 + n + head[name]["data_offsets"][0]
raw[at:at + 4] = struct.pack("<f", 3.4028e38)
open("large.safetensors", "wb").write(raw)
P
refused 2 "--max-flash: how many bytes source takes is for its compiler to say" mlp --emit c --max-flash 100000 -o none.c --header none.h
refused 1 "--quantize: a weight of 'layers.0.weight' is too large for it" mlp --weights large.safetensors --quantize bf16 "${out[@]}"
refused 2 "needs --header" mlp --emit c -o none.c
refused 2 "wasm32 has no shared libraries" mlp --target wasm32 -o none.so
refused 2 "needs object or c" mlp --emit rust "${out[@]}"

# ---- archives and shared libraries, and memory that is static
cat > static.c <<'C'
#include "tiny.h"
static float image[784], logits[10];
static _Alignas(TINY_ALIGN) char workspace[TINY_WORKSPACE_BYTES];
int main(void) {
  image[3] = 1;
  if (tiny_forward_workspace_bytes(1) != TINY_FORWARD_WORKSPACE_BYTES) return 1;
  if (tiny_forward(image, logits, workspace, sizeof workspace, 0)) return 2;
  return logits[0] == 0 || tiny_forward_why();
}
C
for form in a so; do
  expect 0 "embedded" "$dhcc" build mlp --bind B=1 --weights w.safetensors --name tiny -o "./tiny.$form" --header tiny.h
  "$cc" -std=c11 -Wall -Wextra -Werror -o static static.c "./tiny.$form" -Wl,-rpath,"$work" || fail "a program with tiny.$form does not link"
  ./static || fail "a program with tiny.$form ends with $?"
done
expect 3 "needs ld.lld or ld" env PATH=/nowhere "$dhcc" build mlp -o none.so
[ -e none.so ] && fail "a library that was not linked"

# ---- an object that tests itself, as code and as source; with a weight that has changed it says so
cat > self.c <<'C'
#include "self.h"
#include <stdio.h>
#include <stdlib.h>
static _Alignas(64) char workspace[SELF_SELFTEST_WORKSPACE_BYTES], weights[SELF_WEIGHTS_BYTES];
int main(int argc, char **argv) {
  FILE *f = fopen(argv[1], "rb");
  if (!f || fread(weights, 1, sizeof weights, f) != sizeof weights) return 100;
  if (argc > 2) weights[5003] ^= 64;
  if (self_selftest(weights, workspace, sizeof workspace - 1) != DHC_OBJECT_WORKSPACE) return 101;
  return self_selftest(weights, workspace, sizeof workspace);
}
C
self=(mlp --bind B=3 --entry forward --entry normalize --weights w.safetensors --weights-file self.bin --name self --selftest 2 --header self.h --quiet)
for form in "" "--emit c"; do
  # shellcheck disable=SC2086
  "$dhcc" build "${self[@]}" $form -o "self_model.$([ -z "$form" ] && echo o || echo c)" || fail "selftest $form"
  "$cc" -std=c11 -O1 -ffp-contract=off -o self self.c self_model.?  || fail "a program with selftest $form does not link"
  ./self self.bin || fail "selftest $form ends with $?"
  ./self self.bin changed
  [ $? = 8 ] || fail "selftest $form does not see a weight that has changed"
  rm -f self_model.?
done
refused 2 "--selftest: size B of entry 'forward' is not fixed (--bind)" mlp --weights w.safetensors --selftest 1 "${out[@]}"
refused 1 "entry 'forward' needs" mlp --bind B=4 --max-ram 1000 "${out[@]}"
refused 1 "for values between kernels" mlp --bind B=4 --max-ram 1000 "${out[@]}"
refused 2 "size B of entry 'forward' is not fixed" mlp --max-ram 1000 "${out[@]}"
refused 1 "for 'layers.0.weight'" mlp --weights w.safetensors --max-flash 100000 "${out[@]}"
refused 1 "for code" mlp --max-flash 100 "${out[@]}"
refused 1 "--max-stack 64: entry 'forward' may need" mlp --max-stack 64 "${out[@]}"
refused 1 "the largest frame is that of mlp_k" mlp --max-stack 64 "${out[@]}"
refused 2 "--max-stack: how much stack source takes is for its compiler to say" mlp --emit c -o none.c --header none.h --max-stack 64
refused 2 "--selftest: needs --weights" mlp --bind B=1 --selftest 1 "${out[@]}"

# ---- bounds, a time that hangs on sizes alone, weights in fewer bits
expect 0 "2 kernels" "$dhcc" build mlp --bind B=3 -o bounded.o --header bounded.h --timing bounded --bounds bounds.json
python3 - <<'P' || fail "the document of --bounds"
import json
d = json.load(open("bounds.json"))
loops = {f["name"]: [l["iterations"] for l in f["loops"]] for f in d["functions"]}
assert d["entries"][0]["sizes"] == {"B": 3} and d["entries"][0]["stack_bytes"] > 0, d["entries"]
assert all(n is not None for f, l in loops.items() for n in l if f != "mlp_prefault") and 784 in loops["mlp_pack"], loops
P
grep -q "How much is done hangs on sizes alone" bounded.h || fail "the header does not say that time is bounded"
refused 2 "mlp.h is to be two files" mlp "${out[@]}" --bounds mlp.h
refused 2 '--timing: needs bounded, got "free"' mlp --timing free "${out[@]}"
refused 1 "--timing bounded: entry 'forward': how much it does hangs on values, by kernel mlp_k" layers/moe --root MoE --set d_model=8 --name mlp \
  --timing bounded --disable-pass dense "${out[@]}"
refused 2 '--quantize: needs int8 or bf16, got "int4"' mlp --weights w.safetensors --quantize int4 "${out[@]}"
refused 2 "--quantize: needs --weights" mlp --quantize int8 "${out[@]}"
refused 2 "--data: of build, needs --quantize or --report, for whose accuracy it is" mlp --data synth:mqar "${out[@]}"
refused 2 "--quantize: an entry of the object is a training step, whose weights are f32" mlp --entry train_step --entry forward --weights w.safetensors --quantize int8 "${out[@]}"
refused 1 "--quantize: no entry of the object reads weights that could lie so" mlp --weights w.safetensors --entry normalize --quantize int8 "${out[@]}"
python3 - <<'P'
data = bytearray(open("w.safetensors", "rb").read())
data[8 + int.from_bytes(data[:8], "little") + 3] = 0x7f  # an infinity or NaN in the first tensor
data[8 + int.from_bytes(data[:8], "little") + 2] = 0x80
open("inf.safetensors", "wb").write(data)
P
refused 1 "--quantize: weights 'layers.0.weight' are not all finite" mlp --weights inf.safetensors --quantize bf16 "${out[@]}"
"$dhcc" build mlp --bind B=1 --weights w.safetensors --quantize int8 -o small.o --header small.h > small.txt 2>&1 || fail "build --quantize"
grep -q "int8: 3 tensors, constants of 287104 bytes where they were 1132672" small.txt || fail "what quantising saves: $(cat small.txt)"
grep -q "int8: accuracy is not measured (--data); on generated inputs results differ by at most 0.00[0-9]*, the largest being 1.[0-9]*" small.txt || fail "what quantising costs: $(cat small.txt)"
grep -q "Weights that have the values of int8 with a scale for each row" small.h && grep -q "^ \*   layers.0.weight$" small.h || fail "the header does not say which weights are quantised"
# an entry that the model as it is set refuses (attention's append, which is causal) decides nothing
attention=(layers/attention --root MultiHeadAttention --set d_model=16 --set num_heads=2)
python3 "$here/../object/made_weights.py" "$dhcc" attention.safetensors "${attention[@]}" || fail "made-up weights"
expect 0 "int8: 4 tensors" "$dhcc" build "${attention[@]}" --weights attention.safetensors --quantize int8 -o attention.o --header attention.h
"$dhcc" build mlp --weights w.safetensors --quantize bf16 --weights-file small.bin -o small.o --header small.h --quiet || fail "build --quantize --weights-file"
grep -q "_weights_set" small.h && fail "quantised weights cannot be set one by one"
mqar=synth:mqar:length=12,pairs=2,vocab=22,n=64,n_test=32
task=(--set vocabulary=22 --set d_model=8 --set num_layers=2 --set mamba_ratio=1 --set num_heads=2)
"$dhcc" train seq "${task[@]}" --data "$mqar" --limit 32 --epochs 1 --out tiny --quiet > /dev/null 2>&1 || fail "train seq"
"$dhcc" build seq "${task[@]}" --weights tiny/best.safetensors --quantize int8 --data "$mqar" --limit 32 -o small.o --header small.h > small.txt 2>&1 ||
  fail "build --quantize --data: $(cat small.txt)"
grep -Eq "int8: accuracy 0\.[0-9]+ on 32 examples, 0\.[0-9]+ before; loss [0-9.]+, [0-9.]+ before" small.txt || fail "accuracy: $(cat small.txt)"
"$dhcc" build seq "${task[@]}" --weights tiny/best.safetensors --quantize bf16 --data "$mqar" --limit 32 -o small.o --header small.h --json > small.json
python3 -c 'import json; q = json.load(open("small.json"))["quantize"]; assert q["form"] == "bf16" and q["examples"] == 32 and 0 < abs(q["loss"] - q["loss_before"]) < 0.1, q' ||
  fail "--quantize --json"
sed '/metric accuracy/,/^  }/d' "$here/../../models/seq.dhc" > unmeasured.dhc
"$dhcc" build unmeasured.dhc "${task[@]}" --weights tiny/best.safetensors --quantize bf16 --data "$mqar" --limit 32 -o small.o --header small.h > small.txt 2>&1
grep -Eq "bf16: loss [0-9.]+ on 32 examples, [0-9.]+ before" small.txt || fail "a loss without a metric: $(cat small.txt)"
"$dhcc" build seq "${task[@]}" --weights tiny/best.safetensors --entry step --quantize bf16 -o small.o --header small.h > small.txt 2>&1
grep -q "bf16: accuracy is not measured (--data)$" small.txt || fail "an entry with states alone: $(cat small.txt)"

# ---- several variants in one object
cat > variants.c <<'C'
#include "many.h"
#include <string.h>
static float image[784], one[10], other[10];
static _Alignas(64) char workspace[MANY_WORKSPACE_BYTES], weights[MANY_WEIGHTS_BYTES];
int main(void) {
  image[3] = 1;
  if (many_weights_begin(weights, sizeof weights)) return 5;
  if (many_variant("deep") != MANY_VARIANT_deep || many_variant("flat") != -1 || MANY_N_VARIANTS != 2) return 1;
  for (int v = 0; v < MANY_N_VARIANTS; v++) {
    if (many_forward(v, weights, image, one, workspace, sizeof workspace, 0)) return 2;
    if ((v ? many_deep_forward : many_usual_forward)(weights, image, other, workspace, sizeof workspace, 0)) return 3;
    if (memcmp(one, other, sizeof one)) return 4;
  }
  return many_forward(2, weights, image, one, workspace, sizeof workspace, 0) != DHC_OBJECT_VARIANT;
}
C
for form in o a so; do
  expect 0 "2 entries, 2 kernels" "$dhcc" build mlp --bind B=1 --variant usual: --variant deep:depth=3 --name many -o "./many.$form" --header many.h
  "$cc" -std=c11 -Wall -Wextra -Werror -o variants variants.c "./many.$form" -Wl,-rpath,"$work" || fail "a program with many.$form does not link"
  ./variants || fail "a program with variants in many.$form ends with $?"
done
cat > odd.dhc <<'M'
model Odd(wide: bool = false, carries: bool = true) {
  if carries { state h: [B] = zeros() }
  forward<B>(x: [B]) -> (y: [B]) {
    if carries {
      h = h + x
      return h
    }
    return x
  }
  why<B>(x: [B]) -> (y: [B]) { return x if wide else -x }
}
M
refused 2 'needs a name of letters, digits and _ that is no word of C, got "a-b"' mlp --variant a-b: "${out[@]}"
refused 2 '--variant: needs NAME:KEY=VALUE,..., got "a"' mlp --variant a "${out[@]}"
refused 2 '--variant: needs NAME:KEY=VALUE,..., got "a:depth"' mlp --variant a:depth "${out[@]}"
refused 2 "--variant a: given twice" mlp --variant a: --variant a: "${out[@]}"
refused 2 '--variant-weights: needs NAME:FILE, got "a"' mlp --variant a: --variant-weights a "${out[@]}"
refused 2 "no --variant is called 'b'" mlp --variant a: --variant-weights b:w.safetensors "${out[@]}"
refused 2 "variant 'a' has weights and another has none" mlp --variant a: --variant b: --variant-weights a:w.safetensors "${out[@]}"
refused 1 "entry 'forward' of variants 'a' and 'b' differs in 'logits': f32[B, 10] and f32[B, 11]: callers could not choose at run time" \
  mlp --variant a: --variant b:output_dim=11 "${out[@]}"
refused 1 "two functions of the object are called mlp_forward_why: give the variant another name" \
  odd.dhc --name mlp --entry forward --entry why --variant forward: --variant b: "${out[@]}"

# ---- bench calls what build makes
"$dhcc" build layers/mamba --root Mamba --set d_model=6 --entry stream --entry step --name mamba -o mamba.so --quiet
for asks in "--entry step" "--entry step --prefault" "--entry stream --sizes B=2,L=5" "--entry step --rate 2000"; do
  # shellcheck disable=SC2086
  "$dhcc" bench --object mamba.so $asks --seconds 0.05 --json > bench.json || fail "bench $asks"
  python3 -c 'import json,sys; d = json.load(open("bench.json")); assert d["calls"] >= 10 and 0 < d["p50_ms"] <= d["p99_ms"] <= d["max_ms"], d' || fail "bench $asks"
done
expect 0 "p99.99" "$dhcc" bench --object tiny.so --seconds 0.05
expect 2 "needs --object FILE.so" "$dhcc" bench
expect 1 "nix.so" "$dhcc" bench --object nix.so
expect 1 "has no function other_describe" "$dhcc" bench --object tiny.so --name other
expect 1 "bench: mamba.so: it has no such entry; entries: stream, step, reset" "$dhcc" bench --object mamba.so --entry forward
expect 2 '--sizes: needs NAME=N with N from 1 to 2147483647, got "B=0"' "$dhcc" bench --object mamba.so --entry step --sizes B=0
expect 2 "--sizes: entry 'step' of mamba.so has no size 'Z'" "$dhcc" bench --object mamba.so --entry step --sizes B=1,Z=2
expect 2 "--sizes: tiny.so fixes B at 1" "$dhcc" bench --object tiny.so --sizes B=2
expect 1 "does not take these sizes" "$dhcc" bench --object mamba.so --entry stream --sizes B=2147483647,L=2147483647
expect 2 '--seconds: needs a number of at least 0.001, got "1e-9"' "$dhcc" bench --object tiny.so --seconds 1e-9
# code that reaches its weights 6 GiB away; without --large the linker says that it does not
if [ "$(uname -m)" = x86_64 ]; then
  for form in "" --large; do
    "$dhcc" build mlp --bind B=1 $form --selftest 1 --weights w.safetensors --name far -o far.o --header far.h --quiet || fail "build $form"
    cat > far.c <<'P'
#include "far.h"
static _Alignas(64) char workspace[FAR_SELFTEST_WORKSPACE_BYTES];
int main(void) { return far_selftest(workspace, sizeof workspace); }
P
    section=.rodata; [ -n "$form" ] && section=.lrodata
    if "$cc" -std=c11 -no-pie -fno-pie -o far far.c far.o "-Wl,--section-start=$section=0x180000000" > far.log 2>&1; then
      [ -n "$form" ] && { ./far || fail "weights 6 GiB away: status $?"; }
    else
      [ -z "$form" ] && grep -q "relocation" far.log || fail "linking $form: $(cat far.log)"
    fi
  done
  readelf -SW far.o | grep -q " .lrodata " || fail "--large leaves weights near the code"
  # one object of three levels tests the one that the CPU has; one byte of what it has to give, and it says so
  "$dhcc" build mlp --bind B=1 --multiversion --selftest 2 --weights w.safetensors --name far -o far.o --header far.h --quiet || fail "build --multiversion --selftest"
  "$cc" -std=c11 -o far far.c far.o && ./far || fail "selftest of several levels: status $?"
  if command -v qemu-x86_64 > /dev/null; then
    "$cc" -std=c11 -static -o far far.c far.o
    for cpu in Nehalem Haswell; do qemu-x86_64 -cpu $cpu ./far || fail "selftest of several levels on $cpu: status $?"; done
    qemu-x86_64 -cpu core2duo ./far
    [ $? = 9 ] || fail "selftest of several levels where the CPU has none"
  fi
fi
# optional inputs
"$dhcc" build lstm --root LSTM --set d_in=5 --set d=6 --entry stream --entry step --optional reset --name l -o l.o --header l.h --quiet || fail "--optional"
grep -q "l_step(const void \*weights, void \*state, const float \*x, const uint8_t \*reset," l.h || fail "--optional: the step has no reset"
refused 2 "--optional: no entry of the object has an optional input 'rest'" lstm --root LSTM --set d_in=5 --set d=6 --optional rest "${out[@]}"
refused 2 "--optional: no entry of the object has an optional input 'image'" mlp --optional image "${out[@]}"
# several levels in one object
refused 2 "--multiversion: is code for three levels of x86-64; --target x86-64-v3 is one machine" mlp --multiversion --target x86-64-v3 "${out[@]}"
refused 2 "--multiversion: functions take a level or a --variant, not both; build an object of each variant, or of each level (--target x86-64-v3)" mlp \
  --multiversion --variant a: "${out[@]}"
refused 2 "--multiversion: source has no level of its own, its compiler's -march says it; without --emit c" mlp --multiversion --emit c -o none.c --header none.h
# a step of training
"$dhcc" build mlp --set width=4 --set height=4 --bind B=3 --entry train_step --name train -o train.so --quiet || fail "a step of training"
expect 0 "p99.99" "$dhcc" bench --object train.so --seconds 0.05
expect 1 "--entry train_step: model Mamba has no entry 'loss' to train" "$dhcc" build layers/mamba --root Mamba --set d_model=6 --entry train_step -o none.o
expect 2 "--entry train_step: an object of several variants does not train; build one of each" "$dhcc" build mlp --entry train_step --variant a: -o none.o
[ -e none.o ] && fail "a refused build has written an object"
# ---- what it takes to deploy: measured on the object
"$dhcc" build mlp --bind B=1 --weights w.safetensors --report -o small.o > report.txt 2> /dev/null || fail "build --report"
for line in '^code +[0-9]+ bytes$' '^weights +1132672 bytes$' '^stack +[0-9]+ bytes$' '^forward +p50 [0-9.]+ ms, p99 [0-9.]+ ms$'; do
  grep -Eq "$line" report.txt || fail "no $line in $(cat report.txt)"
done
refused 1 "--cpu cortex-m4: it computes no f64, which code of this object does (__aeabi_d2f); fix sizes that are open (--bind), or take cortex-m7" dhc_ssm --target thumbv7em --cpu cortex-m4 "${out[@]}"
# of another machine: instructions of a call, as often as it is asked; what keeps it from being counted is said
count() { "$dhcc" build mlp --set hidden=8 --report -o small.o "$@" 2> why.txt | sed -n 's/^forward *\([0-9]*\) instructions$/\1/p'; }
if command -v qemu-aarch64 qemu-riscv64 qemu-arm ld.lld > /dev/null; then
  for target in aarch64 riscv64 armv7 thumbv7em x86-64-v2; do
    one=$(count --target $target)
    [ "${one:-0}" -gt 3000 ] && [ "$one" = "$(count --target $target --bind B=1)" ] || fail "instructions on $target: $one, $(cat why.txt)"
  done
  many=$(count --target aarch64 --bind B=33)
  one=$(count --target aarch64)
  [ "$many" -gt $((10 * one)) ] && [ "$many" -lt $((33 * one)) ] || fail "33 examples take $many instructions, one $one"
  "$dhcc" build mlp --set hidden=8 --entry train_step --entry forward --target aarch64 --report --json -o small.o |
    python3 -c 'import json, sys; a, b = json.load(sys.stdin)["report"]["latency"]; assert a["instructions"] > b["instructions"] == '"$one"', (a, b)' || fail "instructions of a step of training"
  "$dhcc" build seq "${task[@]}" --entry step --target riscv64 --report -o small.o 2> /dev/null | grep -Eq '^step +[0-9]+ instructions$' || fail "instructions of a step"
fi
uncounted() {
  local want=$1 target=$2
  PATH=${3:-$PATH} "$dhcc" build mlp --set hidden=8 --report --target "$target" -o small.o > report.txt 2> why.txt
  grep -q '^forward *-$' report.txt && grep -qF "$target: instructions are not counted: $want" why.txt || fail "uncounted: $want: $(cat why.txt)"
}
uncounted "no emulator knows all its instructions" x86-64-v4
mkdir -p tools
uncounted "linking its program needs ld.lld (Debian: lld)" aarch64 "$work/tools"
printf '#!/bin/sh\nexit 1\n' > tools/ld.lld && chmod +x tools/ld.lld
uncounted "its program does not link" aarch64 "$work/tools:$PATH"
printf '#!/bin/sh\nexit 0\n' > tools/ld.lld
uncounted "there is no qemu-aarch64 (Debian: qemu-user)" aarch64 "$work/tools"
printf '#!/bin/sh\nexit 67\n' > tools/qemu-aarch64 && chmod +x tools/qemu-aarch64
uncounted "the entry returns status 3" aarch64 "$work/tools"
printf '#!/bin/sh\nexit 9\n' > tools/qemu-aarch64
uncounted "qemu-aarch64 ends with status 9" aarch64 "$work/tools"
"$dhcc" build seq "${task[@]}" --weights tiny/best.safetensors --report --data "$mqar" --limit 32 -o small.o > report.txt 2> /dev/null
grep -Eq 'accuracy +0.[0-9]+, [0-9.e-]+ per kilobyte of code and weights; loss [0-9.]+' report.txt || fail "no accuracy in $(cat report.txt)"
refused 2 "--data: of build, needs --weights" mlp --report --data synth:mqar "${out[@]}"
"$dhcc" build mlp --emit c --bind B=1 --weights w.safetensors --report -o small.c --header small.h > report.txt 2> /dev/null || fail "build --emit c --report"
grep -q '^code  *-$' report.txt && grep -Eq '^weights +[0-9]+ bytes$' report.txt || fail "source has no bytes of code: $(cat report.txt)"
# the program of docs/abi.md, as it is printed there
sed -n '/^```c$/,/^```$/p' "$here/../../docs/abi.md" | sed '1d;$d' > printed.c
expect 0 "embedded" "$dhcc" build mlp --weights w.safetensors -o mlp.o --header mlp.h
"$cc" -std=c11 -Wall -Wextra -Werror -o printed printed.c mlp.o && ./printed || fail "the program of docs/abi.md"

# ---- --json
"$dhcc" build mlp "${out[@]}" --json > out.json && [ "$(number kernels < out.json)" = 2 ] || fail "--json"
# a name that was given is not made into another; a file's may be
expect 2 'dhcc: error: --name: needs what functions of C can begin with, such as "my_model", got "my-model"' "$dhcc" build mlp -o named.o --name my-model
expect 2 'such as "int_", got "int"' "$dhcc" build mlp -o named.o --name int
[ ! -e named.o ] || fail "a refused name leaves an object"
cp "$here/../../models/mlp.dhc" 2my-model.dhc
"$dhcc" build 2my-model.dhc -o named.o --header named.h --quiet && grep -q 'x2my_model_forward' named.h || fail "a file's name"
finish
