/* Maths functions against double-precision libm: every exponent, both signs, 200 points a
 * binade; special values; the bounds stated in cpu.h. */
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

/* result = op(x) or op(x, second) */
static DhcLp *program(DhcArena *a, DhcOp op) {
  DhcLp *b = dhc_lp_new(a, 3, 1);
  DhcLv n = dhc_lp_dim(b, 0), x = dhc_lp_operand(b, 0, DHC_F32), y = dhc_lp_operand(b, 2, DHC_F32);
  dhc_lp_tasks(b, dhc_prog_const(a, 1));
  DhcLv i = dhc_lp_for(b, dhc_lp_i64(b, 0), n, 16);
  DhcLv m = dhc_lp_tail(b, i, n, 16);
  DhcLv v[2] = {dhc_lp_mload(b, x, i, 16, m), NULL};
  int n_args = dhc_op_info(op)->n_args;
  if (n_args == 2) v[1] = dhc_lp_mload(b, dhc_lp_operand(b, 1, DHC_F32), i, 16, m);
  dhc_lp_mstore(b, y, i, dhc_lp_ew(b, op, v, n_args), m);
  dhc_lp_end(b);
  dhc_lp_end(b);
  const char *why;
  if (!dhc_lp_verify(b, a, &why)) fail_msg("%s", why);
  return b;
}

static void run2(DhcOp op, const char *features, float *x, float *second, float *y, int n) {
  DhcArena a;
  dhc_arena_init(&a);
  DhcCpuTarget t;
  DhcCpuGen *g = NULL;
  DhcCpuJit *j = NULL;
  DhcCpuBytes object;
  dhc_kernel_fn fn = NULL;
  const DhcLp *p = program(&a, op);
  const char *name = "f";
  if (dhc_cpu_target(&a, NULL, features, &t).code || dhc_cpu_gen_open(&t, &g).code) fail();
  dhc_status s = dhc_cpu_gen_run(g, &p, &name, 1, DHC_CPU_OBJECT, &object);
  if (s.code) fail_msg("%s", s.message);
  if (dhc_cpu_jit_open(&j).code || dhc_cpu_jit_add(j, object.bytes, object.n_bytes, &name, 1, &fn).code)
    fail();
  void *ptr[3] = {x, second, y};
  intptr_t dim = n;
  fn(ptr, &dim, 0, 1, NULL);
  free(object.bytes);
  dhc_cpu_jit_close(j);
  dhc_cpu_gen_close(g);
  dhc_arena_fini(&a);
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
    run2(DHC_OP_POW, features[f], x, y, z, M * M);
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
  run2(op, features, x, NULL, y, n);
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

/* Without FMA units polynomials round twice as often. */
static void without_fma(void **st) {
  (void)st;
#undef ONE
#define ONE(id, bound) check(DHC_OP_##id, "-avx,-fma", (bound) + 1);
  DHC_CPU_ULP(ONE)
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(with_fma), cmocka_unit_test(without_fma),
                                     cmocka_unit_test(power)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
