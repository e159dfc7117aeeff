/* Words that the text mutator knows, by language. Ops and builtins come from their tables. */
#ifndef DHC_TESTS_FUZZ_WORDS_H
#define DHC_TESTS_FUZZ_WORDS_H

#include <stddef.h>

__attribute__((unused)) static const char *const model_words[] = {
    "import", "layer", "model", "fn", "preset", "variants", "recipe", "const", "param", "as", "for", "in", "if",
    "else", "return", "yield", "tap", "require", "unit", "scan", "checkpoint", "and", "or", "not", "true", "false",
    "self", "buffer", "table", "state", "init", "metric", "no_decay", "kernel", "vjp", "over", "along", "reverse",
    "int", "float", "bool", "string", "list", "map", "enum", "f32", "f64", "i64", "u8", "bf16", "int64", "training",
    "streaming", "present", "0", "1", "2", "-1", "3", "8", "64", "9223372036854775807", "1e308", "0.5", "B", "L", "H",
    "W", "...S", "<B>", "<B,L>", "[B]", "[B,L]", "[B,1]", "i64[B]", "zeros()", "ones()", "normal(0.0,0.02)", "..",
    "0..4", "=", "==", "!=", "<", "<=", ">", ">=", "+", "-", "*", "/", "//", "%", "@", "^", "->", "<-", "(", ")", "[",
    "]", "{", "}", ",", ":", ".", "\"x\"", "\"*.w\"", "T", ".T", "x", "y", "w", "\nparam w: [4, 4] = zeros()\n",
    "\nconst k = 3\n", "\nfor i in 0..3 { l[i] = A() }\n", "\nrequire B >= 2\n", "\nif B > 2 { x = x + 1.0 }\n",
    "\nforward<B>(x: [B, 4]) -> (y: [B, 4]) { return x }\n",
    "\nfn f(n: int) -> (y: int) { return f(n - 1) if n > 0 else 1 }\n",
    "\nh, y = scan (h = h) over (x = x) along 1 { h = h + x\nyield h }\n", "\nstate h: [B] = zeros()\n",
    "\ntap t = mean(x)\n", "\nx = unit { yield x }\n", "\nx = checkpoint { yield x * 2.0 }\n", "x = x + x", "[x, x]",
    "x * 100",
#define BUILTIN(name, ...) #name,
#include "frontend/builtins.def"
    NULL};

__attribute__((unused)) static const char *const gir_words[] = {
    "func", "entry", "unit", "body", "input", "param", "buffer", "table", "state", "scalar", "plain", "f32", "f64",
    "bf16", "i64", "i32", "u8", "bool", "dtype", "shape", "value", "axes", "axis", "keep", "perm", "start", "size",
    "step", "low", "high", "batch_a", "batch_b", "contract_a", "contract_b", "callee", "dims", "true", "false", "inf",
    "nan", "0x1p+0", "-0x0p+0", "0", "1", "2", "-1", "9223372036854775807", "B", "L", "[B]", "[B,L]", "[]", "()",
    "{}", "%0", "%1", "%2", "%3", "@f", "@g", "->", ":", "=", ",", "B+1", "B*L", "L//2", "B//3+1",
#define OP(id, name, ...) name,
#define EW(id, name, ...) name,
#include "ir/ops.def"
    NULL};

__attribute__((unused)) static const char *const spec_words[] = {
    "spec", "map", "row", "dot", "chain", "ragged", "conv", "conv_dw", "winograd", "scan", "scatter", "args", "attrs", "axis",
    "par", "red", "seq", "in", "out", "f32", "f64", "bf16", "i32", "i64", "u8", "bool", "panel", "panel(8)", "load",
    "arg", "const", "fold", "random", "reduce_sum", "reduce_max", "reduce_min", "argmax", "dot_general",
    "linear_scan", "a0", "a1", "a2", "s(a0)", "1(a0)", "s(a1)?", "1(a1)", "s(a0+a1)?", "s(2*a0+a1)/2?", "s(%0)?",
    "%0", "%1", "%2", "%3", "%4", "0", "1", "2", "3", "16", "0x1p+0", "inf", "nan", "{", "}", "(", ")", "[", "]", ":",
    "=", ",", "add", "sub", "mul", "div", "exp", "neg", "max", "select", "cast", "fma", "lt", "and",
    NULL};

__attribute__((unused)) static const char *const dim_words[] = {
    "B", "L", "H", "W", "N", "1", "2", "3", "-1", "0", "16", "//", "*", "+", "-", "(", ")", ";", "B*L", "L//2",
    "(H-1)//2", "(B+1)//3", "9223372036854775807", "H-W-2",
    NULL};

__attribute__((unused)) static const char *const option_words[] = {
    "--set=", "--root=", "--preset=", "--recipe=", "--data=", "--out=", "--resume=", "--epochs=", "--steps=",
    "--batch=", "--lr=", "--clip=", "--val-fraction=", "--limit=", "--save-every=", "--no-augment=",
    "--print-recipe=", "--weights=", "--strict=", "--split=", "--predictions=", "--inputs=", "--outputs=",
    "--prompt=", "--tokens=", "--temperature=", "--top-k=", "--state=", "--entry=", "--stage=", "--sizes=", "--grad=",
    "--repeat=", "--oracle=", "--tol=", "--pass=", "--disable-pass=", "--pass-limit=", "--dims=", "--seed=",
    "--max-bytes=", "--backend=", "--cpu-features=", "--threads=", "--max-memory=", "--no-cache=", "--json=",
    "--quiet=", "--color=", "--help=", "--version=", "info", "mlp", "--", "-h", "-q", "--set=hidden=", "--set=depth=",
    "--set=dropout=", "--sizes=B=", "B=2", "H=3", "1,2,3", "[1, 2]", "{ M = 1 }", "true", "\"x\"", "0", "-1", "1e308",
    "9223372036854775807", "nan", "=", ",", "hidden", "depth", "recipe", "loss", "grad.fused",
    NULL};

#endif
