/* Maths functions against double-precision libm: every exponent, both signs, 200 points a
 * binade; special values; the bounds stated in cpu.h.
 *
 *   test_backends_math                       the tests
 *   test_backends_math exhaustive sin cos    every f32 through these functions (minutes) */
#include <math.h>
#include <setjmp.h>
#include <stdlib.h>

#include "backends/cpu/cpu.h"
#include "backends/loop/tpl.h"

#include <cmocka.h>

static double ref_sigmoid(double x) { return x >= 0 ? 1 / (1 + exp(-x)) : exp(x) / (1 + exp(x)); }
static double ref_softplus(double x) { return (x > 0 ? x : 0) + log1p(exp(-fabs(x))); }
static double ref_rsqrt(double x) { return 1 / sqrt(x); }

static double reference(DhcOp op, double x) {
  switch ((int)op) {
  case DHC_OP_EXP: return exp(x);
  case DHC_OP_EXPM1: return expm1(x);
  case DHC_OP_LOG: return log(x);
  case DHC_OP_LOG1P: return log1p(x);
  case DHC_OP_TANH: return tanh(x);
  case DHC_OP_SIGMOID: return ref_sigmoid(x);
  case DHC_OP_SOFTPLUS: return ref_softplus(x);
  case DHC_OP_ERF: return erf(x);
  case DHC_OP_SQRT: return sqrt(x);
  case DHC_OP_RSQRT: return ref_rsqrt(x);
  case DHC_OP_SIN: return sin(x);
  case DHC_OP_COS: return cos(x);
  default: return NAN;
  }
}

/* distance in units of the last place of the f32 nearest to want */
static double ulps(double want, float got) {
  float near = (float)want;
  if (isnan(want)) return isnan(got) ? 0 : INFINITY;
  if (isinf(near)) return near == got || fabs((double)got) >= 0x1.fffffcp127 ? 0 : INFINITY;
  if (isnan(got) || isinf(got)) return INFINITY;
  int e;
  frexp(want, &e);
  double unit = ldexp(1, e - 24 < -149 ? -149 : e - 24);
  return fabs(want - (double)got) / unit;
}

enum { N = 2 * 254 * 200 + 64 };
static int fill(float *x) {
  static const float special[] = {0.0f, -0.0f, 1.0f, -1.0f, INFINITY, -INFINITY, NAN, 0x1p-126f,
                                  0x1p-149f, -0x1p-149f, 0x1.fffffep127f, -0x1.fffffep127f,
                                  88.72283f, 88.7229f, -87.5f, -103.97f, -104.1f, -150.0f};
  int n = 0;
  for (size_t i = 0; i < sizeof special / sizeof *special; i++) x[n++] = special[i];
  for (uint32_t e = 0; e < 255; e++)
    for (uint32_t k = 0; k < 199; k++) {
      uint32_t u = e << 23 | (k * 42153u + e * 977u) % (1u << 23);
      memcpy(&x[n++], &u, 4);
      u |= 1u << 31;
      memcpy(&x[n++], &u, 4);
    }
  return n;
}

/* result = op(x, …), all of dtype t; the result lies behind the operands */
static DhcLp *program(DhcArena *a, DhcOp op, dhc_dtype t) {
  int n_args = dhc_op_info(op)->n_args;
  DhcLp *b = dhc_lp_new(a, n_args + 1, 1);
  DhcLv n = dhc_lp_dim(b, 0), y = dhc_lp_operand(b, n_args, t), v[3];
  dhc_lp_tasks(b, dhc_prog_const(a, 1));
  DhcLv i = dhc_lp_for(b, dhc_lp_i64(b, 0), n, 16);
  DhcLv m = dhc_lp_tail(b, i, n, 16);
  for (int k = 0; k < n_args; k++) v[k] = dhc_lp_mload(b, dhc_lp_operand(b, k, t), i, 16, m);
  dhc_lp_mstore(b, y, i, dhc_lp_ew(b, op, v, n_args), m);
  dhc_lp_end(b);
  dhc_lp_end(b);
  const char *why;
  if (!dhc_lp_verify(b, a, &why)) fail_msg("%s", why);
  return b;
}

typedef struct Compiled {
  DhcArena arena;
  DhcCpuGen *gen;
  DhcCpuJit *jit;
  dhc_kernel_fn fn;
} Compiled;

static Compiled compile(DhcOp op, dhc_dtype type, const char *features) {
  Compiled c = {0};
  DhcCpuTarget *t;
  DhcCpuBytes object;
  const char *name = "f";
  dhc_arena_init(&c.arena);
  t = DHC_NEW(&c.arena, DhcCpuTarget);
  const DhcLp *p = program(&c.arena, op, type);
  if (dhc_cpu_target(&c.arena, NULL, features, t).code || dhc_cpu_gen_open(t, &c.gen).code) fail();
  dhc_status s = dhc_cpu_gen_run(c.gen, &p, &name, 1, DHC_CPU_OBJECT, &object);
  if (s.code) fail_msg("%s", s.message);
  if (dhc_cpu_jit_open(&c.jit).code || dhc_cpu_jit_add(c.jit, object.bytes, object.n_bytes, &name, 1, &c.fn).code) fail();
  free(object.bytes);
  return c;
}

static void drop(Compiled *c) {
  dhc_cpu_jit_close(c->jit);
  dhc_cpu_gen_close(c->gen);
  dhc_arena_fini(&c->arena);
}

/* ptr: operands, then the result */
static void run(DhcOp op, dhc_dtype type, const char *features, void *const *ptr, int n) {
  Compiled c = compile(op, type, features);
  c.fn(ptr, (intptr_t[]){n}, 0, 1, NULL);
  drop(&c);
}

/* Pairs: a grid of ordinary and special values, both ways round. */
static void power(void **st) {
  (void)st;
  static const float v[] = {0.0f, -0.0f, 1.0f, -1.0f, 2.0f, -2.0f, 3.0f, -3.0f, 0.5f, -0.5f, 1.5f,
                            -2.5f, 0.3f, 7.25f, 100.0f, -41.0f, 1e-20f, 1e20f, -1e20f, 0x1p-149f,
                            0x1p-126f, 0x1.fffffep127f, 0.9999999f, 1.0000001f, 16777217.0f,
                            INFINITY, -INFINITY, NAN, 127.3f, -127.9f, 0.1f, -0.1f};
  enum { M = sizeof v / sizeof *v };
  static float x[M * M], y[M * M], z[M * M];
  for (int i = 0; i < M * M; i++) x[i] = v[i / M], y[i] = v[i % M];
  static const char *const features[] = {NULL, "-avx,-fma"};
  for (int f = 0; f < 2; f++) {
    run(DHC_OP_POW, DHC_F32, features[f], (void *[]){x, y, z}, M * M);
    for (int i = 0; i < M * M; i++) {
      double want = pow((double)x[i], (double)y[i]);
      bool sign = (float)want == 0 && z[i] == 0 && signbit((float)want) != signbit(z[i]);
      if (!(ulps(want, z[i]) <= 0.51) || sign)
        fail_msg("pow(%a, %a): want %a, got %a", (double)x[i], (double)y[i], want, (double)z[i]);
    }
  }
}

static void check(DhcOp op, const char *features, double bound) {
  static float x[N], y[N];
  int n = fill(x);
  run(op, DHC_F32, features, (void *[]){x, y}, n);
  double worst = 0;
  int at = 0;
  for (int i = 0; i < n; i++) {
    double u = ulps(reference(op, (double)x[i]), y[i]);
    if (!(u <= worst)) worst = u, at = i;
  }
  print_message("%-9s %.2f ULP at %a\n", dhc_op_info(op)->name, worst, (double)x[at]);
  if (!(worst <= bound))
    fail_msg("%s(%a): want %a, got %a", dhc_op_info(op)->name, (double)x[at],
             reference(op, (double)x[at]), (double)y[at]);
}

static void with_fma(void **st) {
  (void)st;
#define ONE(id, bound) check(DHC_OP_##id, NULL, bound);
  DHC_CPU_ULP(ONE)
}

/* What targets without FMA units, of narrower vectors and without rounding instructions make of
 * an op: the same bytes (a NaN counts as any other). */
static const char *const without[] = {"-fma,-avx512f", "-avx", "-sse4.1"};
enum { N_WITHOUT = sizeof without / sizeof *without };

static bool same_f32(const float *x, const float *y, int n, int *at) {
  for (*at = 0; *at < n; ++*at)
    if (memcmp(x + *at, y + *at, sizeof *x) && !(isnan(x[*at]) && isnan(y[*at]))) return false;
  return true;
}

static void without_fma(void **st) {
  (void)st;
  static float x[N], y[N], z[N];
  static const DhcOp op[] = {
#undef ONE
#define ONE(id, bound) DHC_OP_##id,
      DHC_CPU_ULP(ONE)};
  int n = fill(x), at;
  for (size_t o = 0; o < sizeof op / sizeof *op; o++) {
    run(op[o], DHC_F32, NULL, (void *[]){x, y}, n);
    for (int k = 0; k < N_WITHOUT; k++) {
      run(op[o], DHC_F32, without[k], (void *[]){x, z}, n);
      if (!same_f32(y, z, n, &at))
        fail_msg("%s(%a) is %a, with %s %a", dhc_op_info(op[o])->name, (double)x[at], (double)y[at], without[k], (double)z[at]);
    }
  }
}

/* ---- fma against libm's, which is exact, on every target ----------------------------------- */

enum { N_FMA = 60000, N_SPECIAL = 24 };
static uint64_t next(uint64_t *state) {
  *state ^= *state << 13, *state ^= *state >> 7, *state ^= *state << 17;
  return *state;
}
/* Few bits, so that sums meet ties; exponents such that the terms overlap in every way, with
 * denormal and overflowing products, sums and results. */
static double draw(uint64_t *state, int digits, int low, int high) {
  int keep = (int)(next(state) % (uint64_t)digits);
  double f = 1 + ldexp((double)(next(state) >> 11 >> (53 - keep)), -keep);
  return ldexp(next(state) & 1 ? f : -f, low + (int)(next(state) % (uint64_t)(high - low + 1)));
}

static void fma32_exact(void **st) {
  (void)st;
  static float v[4][N_FMA];
  static const float special[N_SPECIAL] = {0.0f, -0.0f, 1.0f, -1.0f, INFINITY, -INFINITY, NAN, 0x1p-126f, 0x1p-149f, -0x1p-149f,
                                           0x1.fffffep127f, -0x1.fffffep127f, 0x1p-75f, 0x1.000002p0f, 0x1p-24f, 0x1p-25f, -0x1p-25f,
                                           0x1.fffffep-1f, 0x1p64f, 0x1p-127f, 0x1.8p-149f, 0x1p-63f, 0x1.000002p-126f, 3.0f};
  uint64_t state = 20;
  for (int i = 0; i < N_FMA; i++) {
    if (i < N_SPECIAL * N_SPECIAL * N_SPECIAL) {
      v[0][i] = special[i % N_SPECIAL], v[1][i] = special[i / N_SPECIAL % N_SPECIAL], v[2][i] = special[i / N_SPECIAL / N_SPECIAL];
      continue;
    }
    for (int k = 0; k < 3; k++) v[k][i] = (float)draw(&state, 24, -75, 64);
    if (i % 2) v[2][i] = -(v[0][i] * v[1][i]) * (i % 4 == 1 ? 1 : (float)ldexp(1, (int)(next(&state) % 60) - 30));
  }
  for (int f = 0; f <= N_WITHOUT; f++) {
    run(DHC_OP_FMA, DHC_F32, f ? without[f - 1] : NULL, (void *[]){v[0], v[1], v[2], v[3]}, N_FMA);
    for (int i = 0; i < N_FMA; i++) {
      float want = fmaf(v[0][i], v[1][i], v[2][i]);
      if (memcmp(&want, &v[3][i], sizeof want) && !(isnan(want) && isnan(v[3][i])))
        fail_msg("%s: fma(%a, %a, %a): want %a, got %a", f ? without[f - 1] : "own", (double)v[0][i], (double)v[1][i],
                 (double)v[2][i], (double)want, (double)v[3][i]);
    }
  }
}

static void fma64_exact(void **st) {
  (void)st;
  static double v[4][N_FMA];
  static const double special[N_SPECIAL] = {0.0, -0.0, 1, -1, INFINITY, -INFINITY, NAN, 0x1p-1022, 0x1p-1074, -0x1p-1074,
                                            0x1.fffffffffffffp1023, -0x1.fffffffffffffp1023, 0x1p-537, 0x1.0000000000001p0, 0x1p-53,
                                            0x1p-54, -0x1p-54, 0x1.fffffffffffffp-1, 0x1p512, 0x1p-1023, -0x1.8p-1073, 0x1p-511,
                                            0x1.0000000000001p-1022, 3};
  uint64_t state = 21;
  for (int i = 0; i < N_FMA; i++) {
    if (i < N_SPECIAL * N_SPECIAL * N_SPECIAL) {
      v[0][i] = special[i % N_SPECIAL], v[1][i] = special[i / N_SPECIAL % N_SPECIAL], v[2][i] = special[i / N_SPECIAL / N_SPECIAL];
      continue;
    }
    for (int k = 0; k < 3; k++) v[k][i] = draw(&state, 53, -537, 512);
    if (i % 2) v[2][i] = -(v[0][i] * v[1][i]) * (i % 4 == 1 ? 1 : ldexp(1, (int)(next(&state) % 240) - 120));
    if (i % 8 == 0) v[0][i] = draw(&state, 53, -1074, 1023), v[1][i] = draw(&state, 53, -1074, 1023), v[2][i] = draw(&state, 53, -1074, 1023);
  }
  for (int f = 0; f <= N_WITHOUT; f++) {
    run(DHC_OP_FMA, DHC_F64, f ? without[f - 1] : NULL, (void *[]){v[0], v[1], v[2], v[3]}, N_FMA);
    for (int i = 0; i < N_FMA; i++) {
      double want = fma(v[0][i], v[1][i], v[2][i]);
      if (memcmp(&want, &v[3][i], sizeof want) && !(isnan(want) && isnan(v[3][i])))
        fail_msg("%s: fma(%a, %a, %a): want %a, got %a", f ? without[f - 1] : "own", v[0][i], v[1][i], v[2][i], want, v[3][i]);
    }
  }
}

/* ---- every elementwise op on every dtype it takes: compiled, or refused in words ------------- */

enum Types { T_arith, T_float, T_integer, T_compare, T_select, T_test };
static const struct {
  DhcOp op;
  enum Types types;
} rows[] = {
#define EW(id, name, n_args, types, ...) {DHC_OP_##id, T_##types},
#include "ir/ops.def"
};

static bool takes(DhcOp op, enum Types types, dhc_dtype t) {
  bool is_float = dhc_dtype_is_float(t), bits = op == DHC_OP_AND || op == DHC_OP_OR || op == DHC_OP_XOR || op == DHC_OP_NOT;
  switch (types) {
  case T_arith: return t != DHC_BOOL;
  case T_float:
  case T_test: return is_float;
  case T_integer: return !is_float && (t != DHC_BOOL || bits);
  default: return true;
  }
}

static void matrix(void **st) {
  (void)st;
  static const dhc_dtype dtypes[] = {DHC_F64, DHC_F32, DHC_I64, DHC_I32, DHC_I8, DHC_U32, DHC_U8, DHC_BOOL};
  int compiled = 0, refused = 0;
  for (size_t r = 0; r < sizeof rows / sizeof *rows; r++)
    for (size_t k = 0; k < sizeof dtypes / sizeof *dtypes; k++) {
      DhcOp op = rows[r].op;
      dhc_dtype t = dtypes[k], out = rows[r].types == T_compare || rows[r].types == T_test ? DHC_BOOL : t;
      if (!takes(op, rows[r].types, t)) continue;
      DhcArena a;
      DhcCpuTarget target;
      DhcCpuGen *g = NULL;
      DhcCpuBytes object = {0};
      const char *name = "f", *why;
      dhc_arena_init(&a);
      int n_args = dhc_op_info(op)->n_args;
      DhcLp *b = dhc_lp_new(&a, n_args + 1, 1);
      DhcLv n = dhc_lp_dim(b, 0), v[3];
      dhc_lp_tasks(b, dhc_prog_const(&a, 1));
      DhcLv i = dhc_lp_for(b, dhc_lp_i64(b, 0), n, 16), m = dhc_lp_tail(b, i, n, 16);
      for (int x = 0; x < n_args; x++)
        v[x] = dhc_lp_mload(b, dhc_lp_operand(b, x, op == DHC_OP_SELECT && !x ? DHC_BOOL : t), i, 16, m);
      dhc_lp_mstore(b, dhc_lp_operand(b, n_args, out), i, dhc_lp_ew(b, op, v, n_args), m);
      dhc_lp_end(b);
      dhc_lp_end(b);
      if (!dhc_lp_verify(b, &a, &why)) fail_msg("%s: %s", dhc_op_info(op)->name, why);
      if (dhc_cpu_target(&a, NULL, NULL, &target).code || dhc_cpu_gen_open(&target, &g).code) fail();
      const DhcLp *p = b;
      dhc_status s = dhc_cpu_gen_run(g, &p, &name, 1, DHC_CPU_OBJECT, &object);
      /* what E0919 names where it is written */
      bool maths = t == DHC_F64 && dhc_op_work(op) >= 10;
      if (maths ? s.code != DHC_E_INPUT || !strstr(s.message, "f32 only") : s.code != DHC_OK)
        fail_msg("%s of %s: %s", dhc_op_info(op)->name, dhc_dtype_name(t), s.code ? s.message : "compiled, but E0919 says it is not");
      *(s.code ? &refused : &compiled) += 1;
      free(object.bytes);
      dhc_cpu_gen_close(g);
      dhc_arena_fini(&a);
    }
  print_message("%d compiled, %d refused\n", compiled, refused);
}

/* Code for a named CPU holds no instruction above it, whatever this machine has. */
static void nothing_above_the_target(void **st) {
  (void)st;
  static const struct {
    const char *cpu, *not[8]; /* in assembly text */
  } level[] = {{"x86-64", {"\tv", "\troundp", "\trounds", "blendv", "\tptest", "\tpmulld", "\tinsertps", "\tpcmpgtq"}},
               {"x86-64-v2", {"\tv", "%ymm", "%zmm"}},
               {"x86-64-v3", {"%zmm", "{%k"}}};
  for (size_t l = 0; l < sizeof level / sizeof *level; l++)
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
      DhcArena a;
      DhcCpuTarget target;
      DhcCpuGen *g = NULL;
      DhcCpuBytes text = {0};
      const char *name = "f";
      if (rows[r].types != T_arith && rows[r].types != T_float) continue;
      dhc_arena_init(&a);
      const DhcLp *p = program(&a, rows[r].op, DHC_F32);
      if (dhc_cpu_target(&a, level[l].cpu, NULL, &target).code || dhc_cpu_gen_open(&target, &g).code) fail();
      if (dhc_cpu_gen_run(g, &p, &name, 1, DHC_CPU_ASM, &text).code) fail();
      char *s = dhc_arena_alloc(&a, text.n_bytes + 1);
      memcpy(s, text.bytes, text.n_bytes);
      s[text.n_bytes] = 0;
      if (!strstr(s, "xmm")) fail_msg("no assembly text");
      for (int k = 0; k < 8 && level[l].not[k]; k++)
        if (strstr(s, level[l].not[k])) fail_msg("%s for %s: %.40s", dhc_op_info(rows[r].op)->name, level[l].cpu, strstr(s, level[l].not[k]));
      free(text.bytes);
      dhc_cpu_gen_close(g);
      dhc_arena_fini(&a);
    }
}

/* All 2^32 arguments of an op. */
static void check_all(DhcOp op, double bound) {
  enum { PART = 1 << 20 };
  static float x[PART], y[PART];
  double worst = 0;
  float at = 0;
  Compiled c = compile(op, DHC_F32, NULL);
  for (uint32_t part = 0; part < 1u << 12; part++) {
    for (uint32_t i = 0; i < PART; i++) {
      uint32_t u = part * PART + i;
      memcpy(&x[i], &u, 4);
    }
    c.fn((void *[]){x, y}, (intptr_t[]){PART}, 0, 1, NULL);
    for (int i = 0; i < PART; i++) {
      double u = ulps(reference(op, (double)x[i]), y[i]);
      if (!(u <= worst)) worst = u, at = x[i];
    }
  }
  drop(&c);
  print_message("%-9s %.4f ULP at %a\n", dhc_op_info(op)->name, worst, (double)at);
  if (!(worst <= bound)) fail_msg("%s: above %.2f", dhc_op_info(op)->name, bound);
}

static char **exhaustive_names;
static void exhaustive(void **st) {
  (void)st;
  for (char **name = exhaustive_names; *name; name++) {
#undef ONE
#define ONE(id, bound) \
  if (!strcmp(*name, dhc_op_info(DHC_OP_##id)->name)) check_all(DHC_OP_##id, bound);
    DHC_CPU_ULP(ONE)
  }
}

/* Code is the same whatever was made before it in the process: each kind of target takes passes of its own (backends/cpu/lean.c). The
 * first test of all: nothing was switched yet. */
static void the_same_after_others(void **st) {
  (void)st;
  static const char *const name = "f", *const cpus[] = {"aarch64", "x86-64-v3", "x86-64-v4"}; /* all passes; fewer; fewest */
  DhcArena a;
  DhcCpuTarget target[3];
  DhcCpuGen *g[3];
  DhcCpuBytes first[3];
  dhc_arena_init(&a);
  const DhcLp *p = program(&a, DHC_OP_TANH, DHC_F32);
  for (int i = 0; i < 3; i++) {
    dhc_status s = i ? dhc_cpu_target(&a, cpus[i], NULL, &target[i]) : dhc_cpu_target_named(&a, cpus[i], NULL, NULL, &target[i]);
    if (s.code) { /* this LLVM makes no code for ARM */
      dhc_arena_fini(&a);
      skip();
    }
    assert_int_equal(dhc_cpu_gen_open(&target[i], &g[i]).code, 0);
  }
  for (int k = 0; k < 6; k++) {
    DhcCpuBytes text;
    assert_int_equal(dhc_cpu_gen_run(g[k % 3], &p, &name, 1, DHC_CPU_ASM, &text).code, 0);
    if (k < 3) first[k] = text;
    else if (text.n_bytes != first[k % 3].n_bytes || memcmp(text.bytes, first[k % 3].bytes, text.n_bytes)) fail_msg("%s: other code than before", cpus[k % 3]);
    if (k >= 3) free(text.bytes);
  }
  for (int i = 0; i < 3; i++) {
    free(first[i].bytes);
    dhc_cpu_gen_close(g[i]);
  }
  dhc_arena_fini(&a);
}

int main(int argc, char **argv) {
  if (argc > 2 && !strcmp(argv[1], "exhaustive")) {
    const struct CMUnitTest all[] = {cmocka_unit_test(exhaustive)};
    exhaustive_names = argv + 2;
    return cmocka_run_group_tests(all, NULL, NULL);
  }
  const struct CMUnitTest tests[] = {cmocka_unit_test(the_same_after_others), cmocka_unit_test(with_fma), cmocka_unit_test(without_fma),
                                     cmocka_unit_test(fma32_exact), cmocka_unit_test(fma64_exact), cmocka_unit_test(matrix), cmocka_unit_test(nothing_above_the_target),
                                     cmocka_unit_test(power)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
