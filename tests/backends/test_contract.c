/* Contraction and convolution templates over odd shapes: against the spec interpreter, at
 * every cut into tasks, and bit for bit against the loops of the definition. */
#include "passes/plan/schedule.h"
#include "tests/backends/spec_case.h"

#include <math.h>
#include <setjmp.h>
#include <stdlib.h>
#include <cmocka.h>

/* y = relu(a . b + bias): layouts by bit: 1 A is [k, m], 2 B is [k, n], 4 y is [n, m],
 * 8 A has a prologue, 16 a batch axis outside, 32 no row axis; BARE: the sums alone; PAIR: a
 * second B, y = relu(a . b + bias) * (a . b2) */
enum { BARE = 64, PAIR = 128 };

static void one_dot(int form, int64_t m, int64_t n, int64_t k, const char *features, const int *v) {
  SpecCase c;
  case_init(&c, DHC_KIND_DOT);
  c.plain = "dot_plain";
  int ax[4], am[3], bm[3], ym[3], na = 0, nb = 0, ny = 0;
  bool batch = form & 16, row = !(form & 32);
  if (batch) am[na++] = bm[nb++] = ym[ny++] = case_axis(&c, DHC_AXIS_PAR, 3, false);
  int mi = row ? case_axis(&c, DHC_AXIS_PAR, m, false) : -1;
  ax[1] = case_axis(&c, DHC_AXIS_PAR, n, false);
  ax[2] = case_axis(&c, DHC_AXIS_RED, k, false);
  if (row && !(form & 1)) am[na++] = mi;
  am[na++] = ax[2];
  if (row && (form & 1)) am[na++] = mi;
  bm[nb++] = form & 2 ? ax[2] : ax[1];
  bm[nb++] = form & 2 ? ax[1] : ax[2];
  if (row && !(form & 4)) ym[ny++] = mi;
  ym[ny++] = ax[1];
  if (row && (form & 4)) ym[ny++] = mi;
  int oa = case_operand(&c, DHC_F32, -1, na, am), ob = case_operand(&c, DHC_F32, -1, nb, bm);
  int bias = form & BARE ? -1 : case_operand(&c, DHC_F32, -1, 1, &ax[1]);
  int second = form & PAIR ? case_operand(&c, DHC_F32, -1, nb, bm) : -1;
  int a = case_load(&c, oa), b = case_load(&c, ob);
  if (form & 8) a = case_ew(&c, DHC_OP_MUL, a, case_const(&c, 0.5), -1);
  int d = case_fold(&c, DHC_OP_DOT_GENERAL, DHC_F32, 1u << ax[2], a, b);
  if (bias >= 0) d = case_ew(&c, DHC_OP_ADD, d, case_load(&c, bias), -1);
  if (bias >= 0) d = case_ew(&c, DHC_OP_MAX, d, case_const(&c, 0), -1);
  if (second >= 0) {
    int e = case_fold(&c, DHC_OP_DOT_GENERAL, DHC_F32, 1u << ax[2], a, case_load(&c, second));
    d = case_ew(&c, DHC_OP_MUL, d, e, -1);
  }
  case_operand(&c, DHC_F32, d, ny, ym);
  case_check(&c, features, v, form & PAIR ? 1e-3 : 1e-4);
  case_free(&c);
}

/* Under sanitizers every third form: what they see is how kernels are made, not what these compute. So, too, where DHC_TEST_FEW is in the
 * environment, as compiling takes longest on a GPU. */
static int every(void) {
#ifdef __SANITIZE_ADDRESS__
  return 3;
#else
  return getenv("DHC_TEST_FEW") ? 3 : 1;
#endif
}

static void dot_shapes(void **st) {
  (void)st;
  static const int64_t mm[] = {1, 14, 3, 16, 33}, nn[] = {33, 1, 32, 5, 70}, kk[] = {1, 17, 64, 4};
  for (int form = 0; form < 64; form += every())
    for (int i = form % 3; i < 3; i += 3)
      one_dot(form, mm[(form + i) % 5], nn[(form * 3 + 2 * i) % 5], kk[(form + i) % 4], NULL, NULL);
}

static void dot_large(void **st) {
  (void)st;
  one_dot(0, 130, 100, 300, NULL, NULL);
  one_dot(2, 130, 100, 300, NULL, NULL);
  one_dot(1, 65, 67, 129, NULL, NULL);
}

/* A walked across in long jumps, as a wide weight's gradient does; a last tile that is not full. */
static void dot_across(void **st) {
  (void)st;
  one_dot(1, 1030, 140, 40, NULL, NULL); /* two blocks of columns a task */
  one_dot(1 | 2 | BARE, 1027, 70, 37, NULL, NULL);
  one_dot(1 | 2 | BARE | 16, 1025, 21, 33, "-avx512f", NULL);
  one_dot(1, 1025, 9, 33, "-avx512f,-avx2,-fma,-avx", NULL);
}

static void dot_bare(void **st) {
  (void)st;
  for (int form = 0; form < 64; form += 3 * every()) one_dot(form | BARE, form % 2 ? 7 : 12, form % 4 ? 64 : 67, 1 + form % 5, NULL, NULL);
  one_dot(2 | BARE, 9, 24, 5, "-avx512f", NULL);
}

static void dot_pairs(void **st) {
  (void)st;
  for (int form = 0; form < 64; form += 3 * every()) {
    one_dot(form | PAIR, 13, form % 2 ? 33 : 64, 1 + form % 18, NULL, NULL);
    one_dot(form | PAIR | BARE, 3, 32, 17, NULL, NULL);
  }
  one_dot(PAIR, 13, 21, 9, "-avx512f", NULL);
  one_dot(2 | PAIR, 7, 18, 5, "-avx512f,-avx2,-fma,-avx", NULL);
}

static void dot_narrow(void **st) {
  (void)st;
  for (int form = 0; form < 64; form += 5 * every()) {
    one_dot(form, 13, 21, 9, "-avx512f", NULL);
    one_dot(form, 7, 18, 5, "-avx512f,-avx2,-fma,-avx", NULL);
  }
}

/* ---- the product rule ---------------------------------------------------------------------- */

/* Products [lo, hi) of a row of A and of B, as ir/sum.h says it: chains of 256, or sums of 16 of what is below. */
static float rule(const float *a, const float *b, int64_t lo, int64_t hi, int64_t size) {
  float sum = 0;
  if (size == 256) {
    for (int64_t k = lo; k < hi; k++) sum = fmaf(a[k], b[k], sum);
    return sum;
  }
  int64_t part = size < INT64_MAX ? size / 16 : 65536;
  for (int64_t at = lo / part * part; at < hi; at += part) sum += rule(a, b, at > lo ? at : lo, at + part < hi ? at + part : hi, part);
  return sum;
}

static float product(const float *a, const float *b, int64_t lo, int64_t hi, int64_t all) {
  return rule(a, b, lo, hi, all <= 256 ? 256 : INT64_MAX);
}

static void same_float(int64_t i, float want, float got) {
  if (memcmp(&want, &got, 4)) fail_msg("element %lld: want %a, got %a", (long long)i, (double)want, (double)got);
}

/* y[m, n] of a[m, k] and b[n, k] */
static void exact_dot(const SpecCase *c, void *const *at) {
  const float *a = at[0], *b = at[1], *y = at[2];
  int64_t M = c->extent[0], N = c->extent[1], K = c->extent[2];
  for (int64_t i = 0; i < M * N; i++) same_float(i, product(a + i / N * K, b + i % N * K, 0, K, K), y[i]);
}

/* Every template, on blocks that are full, missing, and one product too long; terms differ in size, so that another
 * order would show. */
static void product_rule(void **st) {
  (void)st;
  static const int64_t kk[] = {0, 1, 255, 256, 257, 512, 768, 1000, 4096, 4097, 8192, 65537, 140000};
  for (size_t i = 0; i < sizeof kk / sizeof *kk; i++)
    for (int64_t m = 1; m < 8; m += 6) {
      SpecCase c;
      case_init(&c, DHC_KIND_DOT);
      c.plain = "dot_plain";
      c.all_classes = m == 1 && kk[i] < 600;
      c.exact = exact_dot;
      int rows = case_axis(&c, DHC_AXIS_PAR, m, false), n = case_axis(&c, DHC_AXIS_PAR, m == 1 && i % 2 ? 1 : kk[i] > 5000 ? 3 : 21, false);
      int k = case_axis(&c, DHC_AXIS_RED, kk[i], false);
      int a = case_load(&c, case_operand(&c, DHC_F32, -1, 2, (int[]){rows, k}));
      int b = case_load(&c, case_operand(&c, DHC_F32, -1, 2, (int[]){n, k}));
      case_operand(&c, DHC_F32, case_fold(&c, DHC_OP_DOT_GENERAL, DHC_F32, 1u << k, a, b), 2, (int[]){rows, n});
      case_check(&c, NULL, NULL, 1e-3);
      case_free(&c);
    }
}

/* Ranges of rows [bound[e], bound[e + 1]): lo and hi are two operands, made from it. */
enum { RANGES = 3, RAGGED_K = 517 };
static const int64_t bound[RANGES + 1] = {2, 5, 5, 600};

static void exact_ragged(const SpecCase *c, void *const *at) {
  const float *a = at[0], *w = at[3], *y = at[4];
  int64_t T = c->extent[0], N = c->extent[1], K = RAGGED_K;
  for (int64_t t = 0; t < T; t++)
    for (int64_t n = 0; n < N; n++) {
      int e = 0;
      while (e < RANGES && !(bound[e] <= t && t < bound[e + 1])) e++;
      float want = e == RANGES ? 0 : product(a + t * K, w + (n * RANGES + e) * K, 0, K, K);
      same_float(t * N + n, want, y[t * N + n]);
    }
}

static void exact_ragged_dw(const SpecCase *c, void *const *at) {
  const float *a = at[0], *d = at[3], *y = at[4];
  int64_t T = c->extent[3], K = c->extent[1], N = c->extent[2];
  for (int64_t i = 0; i < RANGES * K * N; i++) {
    int64_t e = i / N / K, lo = bound[e], hi = bound[e + 1] < T ? bound[e + 1] : T;
    same_float(i, lo < hi ? product(a + i / N % K * T, d + i % N * T, lo, hi, T) : 0, y[i]);
  }
}

/* select(lo[e] <= row and row < hi[e], x, 0); the bounds are operands made here, of bound[]. */
static int in_range(SpecCase *c, int x, int row, int lo, int hi) {
  int at = case_node(c, (DhcSpecNode){.kind = DHC_SN_AXIS, .dtype = DHC_I64, .a = {-1, -1, -1, -1}, .operand = row});
  int both = case_node(c, (DhcSpecNode){.kind = DHC_SN_EW, .op = DHC_OP_AND, .dtype = DHC_BOOL,
                                        .a = {case_ew(c, DHC_OP_LE, lo, at, -1), case_ew(c, DHC_OP_LT, at, hi, -1), -1, -1}});
  return case_ew(c, DHC_OP_SELECT, both, x, case_const(c, 0));
}

static void fill_bounds(const SpecCase *c, int o, int64_t *to) {
  (void)c;
  for (int e = 0; e < RANGES; e++) to[e] = bound[e + (o == 2)];
}

static void product_rule_ragged(void **st) {
  (void)st;
  for (int dw = 0; dw < 2; dw++) {
    SpecCase c;
    case_init(&c, DHC_KIND_RAGGED);
    c.plain = "ragged_plain";
    c.exact = dw ? exact_ragged_dw : exact_ragged;
    c.fill = fill_bounds;
    int e, rows, k, n, a, lo, hi, w;
    if (dw) {
      e = case_axis(&c, DHC_AXIS_PAR, RANGES, false), k = case_axis(&c, DHC_AXIS_PAR, 5, false);
      n = case_axis(&c, DHC_AXIS_PAR, 18, false), rows = case_axis(&c, DHC_AXIS_RED, 590, false);
    } else {
      rows = case_axis(&c, DHC_AXIS_PAR, 9, false), n = case_axis(&c, DHC_AXIS_PAR, 18, false);
      e = case_axis(&c, DHC_AXIS_RED, RANGES, false), k = case_axis(&c, DHC_AXIS_RED, RAGGED_K, false);
    }
    a = case_load(&c, case_operand(&c, DHC_F32, -1, 2, dw ? (int[]){k, rows} : (int[]){rows, k}));
    lo = case_load(&c, case_operand(&c, DHC_I64, -1, 1, &e));
    hi = case_load(&c, case_operand(&c, DHC_I64, -1, 1, &e));
    w = case_load(&c, dw ? case_operand(&c, DHC_F32, -1, 2, (int[]){n, rows}) : case_operand(&c, DHC_F32, -1, 3, (int[]){n, e, k}));
    int x = in_range(&c, a, rows, lo, hi);
    uint32_t axes = dw ? 1u << rows : 1u << e | 1u << k;
    int y = case_fold(&c, DHC_OP_DOT_GENERAL, DHC_F32, axes, x, w);
    if (dw) case_operand(&c, DHC_F32, y, 3, (int[]){e, k, n});
    else case_operand(&c, DHC_F32, y, 2, (int[]){rows, n});
    case_check(&c, NULL, NULL, 1e-3);
    case_free(&c);
  }
}

/* x^T d, of ranges or not, ends in two results made of what lies as they do: by lines of these. */
static void update_of(bool ranged, int64_t m, int64_t n, int64_t k) {
  SpecCase c;
  case_init(&c, ranged ? DHC_KIND_RAGGED : DHC_KIND_DOT);
  c.plain = ranged ? "ragged_plain" : "dot_plain";
  c.all_classes = true;
  if (ranged) c.fill = fill_bounds;
  int at[3], n_at = 0;
  if (ranged) at[n_at++] = case_axis(&c, DHC_AXIS_PAR, RANGES, false);
  const int i = at[n_at++] = case_axis(&c, DHC_AXIS_PAR, m, false), j = at[n_at++] = case_axis(&c, DHC_AXIS_PAR, n, false);
  const int row = case_axis(&c, DHC_AXIS_RED, k, false);
  int x = case_load(&c, case_operand(&c, DHC_F32, -1, 2, (int[]){row, i}));
  if (ranged) {
    int lo = case_load(&c, case_operand(&c, DHC_I64, -1, 1, at)), hi = case_load(&c, case_operand(&c, DHC_I64, -1, 1, at));
    x = in_range(&c, x, row, lo, hi);
  }
  int d = case_load(&c, case_operand(&c, DHC_F32, -1, 2, (int[]){row, j}));
  int w = case_load(&c, case_operand(&c, DHC_F32, -1, n_at, at)), v = case_load(&c, case_operand(&c, DHC_F32, -1, n_at, at));
  int g = case_fold(&c, DHC_OP_DOT_GENERAL, DHC_F32, 1u << row, x, d);
  int moment = case_ew(&c, DHC_OP_ADD, case_ew(&c, DHC_OP_MUL, v, case_const(&c, 0.9), -1), g, -1);
  case_operand(&c, DHC_F32, case_ew(&c, DHC_OP_SUB, w, moment, -1), n_at, at);
  case_operand(&c, DHC_F32, moment, n_at, at);
  if (dhc_spec_updates(c.s) != g) fail_msg("no update of %lld x %lld", (long long)m, (long long)n);
  case_check(&c, NULL, NULL, 1e-4);
  case_free(&c);
}

static void updates(void **st) {
  (void)st;
  static const int64_t size[][3] = {{5, 21, 9}, {4, 64, 16}, {9, 130, 40}, {1, 3, 1}};
  for (int i = 0; i < 4; i++)
    for (int ranged = 0; ranged < 2; ranged++) update_of(ranged, size[i][0], size[i][1], size[i][2]);
}

/* ---- convolutions ------------------------------------------------------------------------ */

typedef struct ConvShape {
  int64_t n, c, o, h, w; /* images, channels, input plane */
  int kh, kw, pad, stride, dilation, pool;
  int groups;
  bool back;       /* the input gradient */
  bool flat;       /* one spatial dimension: w only */
  bool no_n, no_o; /* axes of extent 1 left out, as fusion does */
  bool any;        /* taps along w are an argument, as many as it says */
  bool tiled, interpreted; /* by the rule of tiles (ir/sum.h); a GPU's programs, too */
} ConvShape;

static DhcTerm guarded(int n, const int *axis, const int64_t *coef, int64_t div, bool unit) {
  DhcTerm t = {.div = div, .index = -1, .guarded = true, .unit = unit};
  for (int i = 0; i < n; i++) { /* axes ascend */
    if (axis[i] < 0) continue;
    int at = t.n_axes++;
    for (; at > 0 && t.axis[at - 1] > axis[i]; at--) t.axis[at] = t.axis[at - 1], t.coef[at] = t.coef[at - 1];
    t.axis[at] = axis[i];
    t.coef[at] = coef[i];
  }
  return t;
}
static DhcTerm plain(int axis, bool unit) {
  return (DhcTerm){.n_axes = 1, .axis = {axis}, .coef = {1}, .div = 1, .index = -1, .unit = unit};
}

static int64_t conv_out(int64_t n, int k, const ConvShape *f) {
  int64_t out = (n + 2 * f->pad - (int64_t)f->dilation * (k - 1) - 1) / f->stride + 1;
  return out / (f->pool > 1 ? f->pool : 1);
}

/* A class for up to `most` output channels where vectors are wide; its guard at this case. */
static void few_channels(SpecCase *c, int64_t outs, int64_t most) {
  DhcTargetFacts wide = {.vector_bytes = 64, .has_fma = true};
  DhcTargetFacts narrow = {.vector_bytes = 32, .has_fma = true};
  DhcSchedule k[DHC_MAX_CLASSES];
  assert_int_equal(dhc_schedule_choose(c->s, &narrow, &c->arena, k), 1);
  assert_int_equal(dhc_schedule_choose(c->s, &wide, &c->arena, k), 2);
  assert_int_equal(conform_prog(k[0].guard, case_dims(c)) != 0, outs <= most);
  assert_int_equal(k[1].guard.n_code, 0);
}

/* ---- the rule of tiles */

static void at_input(const float *x, int64_t step, float *to) {
  to[0] = x[0] - x[2 * step], to[1] = x[step] + x[2 * step], to[2] = x[2 * step] - x[step], to[3] = x[step] - x[3 * step];
}

static void at_weights(const float *x, int64_t step, float *to) {
  float ends = x[0] + x[2 * step];
  to[0] = x[0], to[1] = (ends + x[step]) * 0.5f, to[2] = (ends - x[step]) * 0.5f, to[3] = x[2 * step];
}

static ConvShape tiled_shape;

/* The 4 x 4 products' sums of a tile. x: a tile's image, w: its channel's weights, `back` as the gradient has them. */
static void tile_sums(const ConvShape *f, const float *x, int64_t in_h, int64_t in_w, int64_t y0, int64_t x0, const float *w, float sum[16]) {
  float chain[16] = {0};
  memset(sum, 0, 16 * sizeof *sum);
  for (int64_t c = 0; c < f->c; c++) {
    float d[16], g[9], v[16], u[16], across[16], down[12];
    const float *taps = w + (f->back ? c * f->o * 9 : c * 9);
    for (int i = 0; i < 16; i++) {
      int64_t y = y0 + i / 4, at = x0 + i % 4;
      d[i] = y >= 0 && y < in_h && at >= 0 && at < in_w ? x[(c * in_h + y) * in_w + at] : 0;
    }
    for (int i = 0; i < 9; i++) g[i] = taps[f->back ? 8 - i : i];
    for (int i = 0; i < 4; i++) {
      float of[4];
      at_input(d + i, 4, of);
      for (int k = 0; k < 4; k++) across[4 * k + i] = of[k];
    }
    for (int i = 0; i < 4; i++) at_input(across + 4 * i, 1, v + 4 * i);
    for (int i = 0; i < 3; i++) {
      float of[4];
      at_weights(g + i, 3, of);
      for (int k = 0; k < 4; k++) down[3 * k + i] = of[k];
    }
    for (int i = 0; i < 4; i++) at_weights(down + 3 * i, 1, u + 4 * i);
    for (int i = 0; i < 16; i++) chain[i] = fmaf(u[i], v[i], chain[i]);
    if (c % 16 != 15 && c + 1 < f->c) continue;
    for (int i = 0; i < 16; i++) sum[i] += chain[i], chain[i] = 0;
  }
}

/* y = relu(conv(x, w) + bias) of the shape, to the bit. */
static void exact_tiles(const SpecCase *c, void *const *at) {
  const ConvShape *f = &tiled_shape;
  const float *x = at[0], *w = at[1], *bias = at[2], *got = at[4];
  int64_t out_h = conv_out(f->h, 3, f), out_w = conv_out(f->w, 3, f), in_h = f->h, in_w = f->w, first = f->back ? f->pad - 2 : -f->pad;
  if (f->back) in_h = out_h, in_w = out_w, out_h = f->h, out_w = f->w;
  (void)c;
  for (int64_t i = 0; i < f->n * f->o; i++)
    for (int64_t y = 0; y < out_h; y += 2)
      for (int64_t p = 0; p < out_w; p += 2) {
        float m[16], part[8], value[4];
        tile_sums(f, x + i / f->o * f->c * in_h * in_w, in_h, in_w, y + first, p + first, w + (f->back ? i % f->o * 9 : i % f->o * f->c * 9), m);
        for (int k = 0; k < 4; k++) part[k] = (m[k] + m[4 + k]) + m[8 + k], part[4 + k] = (m[4 + k] - m[8 + k]) - m[12 + k];
        for (int k = 0; k < 2; k++) {
          const float *q = part + 4 * k;
          value[2 * k] = (q[0] + q[1]) + q[2], value[2 * k + 1] = (q[1] - q[2]) - q[3];
        }
        for (int k = 0; k < 4; k++) {
          if (y + k / 2 >= out_h || p + k % 2 >= out_w) continue;
          int64_t place = (i * out_h + y + k / 2) * out_w + p + k % 2;
          same_float(place, fmaxf(value[k] + bias[i % f->o], 0), got[place]);
        }
      }
}

/* y = relu(conv(x, w) + bias), y2 = y + residual; or the window maxima of y with argmax;
 * or, back, dx of the convolution from [n, c, h, w] planes of x. */
static void one_conv(ConvShape f, const char *features, const int *v) {
  SpecCase c;
  case_init(&c, f.tiled ? DHC_KIND_WINOGRAD : DHC_KIND_CONV);
  c.plain = f.tiled ? NULL : "conv_plain";
  tiled_shape = f;
  if (f.tiled && f.pool <= 1) c.exact = exact_tiles;
  c.all_classes = f.interpreted;
  if (f.groups < 1) f.groups = 1;
  int64_t in_h = f.h, in_w = f.w; /* of the loaded planes */
  int64_t out_h = conv_out(f.h, f.kh, &f), out_w = conv_out(f.w, f.kw, &f);
  if (f.back) in_h = out_h, in_w = out_w, out_h = f.h, out_w = f.w;
  int g = f.groups > 1 ? case_axis(&c, DHC_AXIS_PAR, f.groups, false) : -1;
  int n = f.no_n ? -1 : case_axis(&c, DHC_AXIS_PAR, f.n, false);
  int o = f.no_o ? -1 : case_axis(&c, DHC_AXIS_PAR, f.o, false);
  int y = f.flat ? -1 : case_axis(&c, DHC_AXIS_PAR, out_h, false),
      x = case_axis(&c, DHC_AXIS_PAR, out_w, false);
  int wy = f.pool > 1 && !f.flat ? case_axis(&c, DHC_AXIS_RED, f.pool, true) : -1;
  int wx = f.pool > 1 ? case_axis(&c, DHC_AXIS_RED, f.pool, true) : -1;
  int ci = f.c > 1 ? case_axis(&c, DHC_AXIS_RED, f.c, false) : -1;
  int ky = f.kh > 1 && !f.flat ? case_axis(&c, DHC_AXIS_RED, f.kh, true) : -1;
  int kx = f.kw > 1 ? case_axis(&c, DHC_AXIS_RED, f.kw, !f.any) : -1;
  int64_t N = f.no_n ? 1 : f.n, O = f.no_o ? 1 : f.o;

  int ox = case_operand(&c, DHC_F32, -1, 0, NULL);
  int64_t plane = in_h * in_w;
  if (f.flat) plane = in_w;
  if (g >= 0) case_term(&c, ox, plain(g, false), f.c * plane, 0, 0);
  if (n >= 0) case_term(&c, ox, plain(n, false), f.groups * f.c * plane, 0, 0);
  if (ci >= 0) case_term(&c, ox, plain(ci, false), plane, 0, 0);
  int64_t p = f.back ? 1 : (int64_t)f.stride * (f.pool > 1 ? f.pool : 1);
  int64_t coef[3] = {p, f.back ? 1 : f.stride, f.back ? -f.dilation : f.dilation};
  int64_t div = f.back ? f.stride : 1, offset = f.back ? f.pad : -f.pad;
  if (!f.flat) case_term(&c, ox, guarded(3, (int[]){y, wy, ky}, coef, div, false), in_w, offset, in_h);
  case_term(&c, ox, guarded(3, (int[]){x, wx, kx}, coef, div, true), 1, offset, in_w);
  c.size[ox] = N * f.groups * f.c * plane;

  int ow = case_operand(&c, DHC_F32, -1, 0, NULL);
  int64_t taps = f.kh * f.kw;
  if (f.flat) taps = f.kw;
  if (g >= 0) case_term(&c, ow, plain(g, false), O * f.c * taps, 0, 0);
  if (o >= 0) case_term(&c, ow, plain(o, false), f.back ? taps : f.c * taps, 0, 0);
  if (ci >= 0) case_term(&c, ow, plain(ci, false), f.back ? O * taps : taps, 0, 0);
  if (ky >= 0) case_term(&c, ow, plain(ky, false), f.kw, 0, 0);
  if (kx >= 0) case_term(&c, ow, plain(kx, true), 1, 0, 0);
  c.size[ow] = f.groups * O * f.c * taps;

  uint32_t red = 0, window = 0;
  if (ci >= 0) red |= 1u << ci;
  if (ky >= 0) red |= 1u << ky;
  if (kx >= 0) red |= 1u << kx;
  if (wy >= 0) window |= 1u << wy;
  if (wx >= 0) window |= 1u << wx;
  int d = case_fold(&c, DHC_OP_DOT_GENERAL, DHC_F32, red, case_load(&c, ox), case_load(&c, ow));
  int out_axis[5], n_out = 0;
  if (n >= 0) out_axis[n_out++] = n;
  if (g >= 0) out_axis[n_out++] = g;
  if (o >= 0) out_axis[n_out++] = o;
  if (y >= 0) out_axis[n_out++] = y;
  out_axis[n_out++] = x;
  int bias = -1, rest = -1;
  if (o >= 0) bias = case_operand(&c, DHC_F32, -1, 1, &o);
  if (!window) rest = case_operand(&c, DHC_F32, -1, n_out, out_axis);
  if (bias >= 0) d = case_ew(&c, DHC_OP_ADD, d, case_load(&c, bias), -1);
  d = case_ew(&c, DHC_OP_MAX, d, case_const(&c, 0), -1);
  if (window) {
    int m = case_fold(&c, DHC_OP_REDUCE_MAX, DHC_F32, window, d, -1);
    int arg = case_fold(&c, DHC_OP_ARGMAX, DHC_I32, window, d, -1);
    case_operand(&c, DHC_F32, m, n_out, out_axis);
    case_operand(&c, DHC_I32, arg, n_out, out_axis);
  } else {
    case_operand(&c, DHC_F32, d, n_out, out_axis);
    case_operand(&c, DHC_F32, case_ew(&c, DHC_OP_ADD, d, case_load(&c, rest), -1), n_out, out_axis);
  }
  if (o >= 0 && !f.tiled) few_channels(&c, O, 4);
  case_check(&c, features, v, 1e-4);
  case_free(&c);
}

/* dw of the same convolution */
static void one_dw(ConvShape f, const char *features, const int *v) {
  SpecCase c;
  case_init(&c, DHC_KIND_CONV_DW);
  c.plain = "conv_dw_plain";
  if (f.groups < 1) f.groups = 1;
  int64_t out_h = f.flat ? 1 : conv_out(f.h, f.kh, &f), out_w = conv_out(f.w, f.kw, &f),
          in_h = f.flat ? 1 : f.h;
  int kh = f.flat ? 1 : f.kh;
  int g = f.groups > 1 ? case_axis(&c, DHC_AXIS_PAR, f.groups, false) : -1;
  int o = f.no_o ? -1 : case_axis(&c, DHC_AXIS_PAR, f.o, false);
  int ci = f.c > 1 ? case_axis(&c, DHC_AXIS_PAR, f.c, false) : -1;
  int ky = kh > 1 ? case_axis(&c, DHC_AXIS_PAR, kh, true) : -1;
  int kx = f.kw > 1 ? case_axis(&c, DHC_AXIS_PAR, f.kw, true) : -1;
  int n = f.no_n ? -1 : case_axis(&c, DHC_AXIS_RED, f.n, false);
  int y = f.flat ? -1 : case_axis(&c, DHC_AXIS_RED, out_h, false),
      x = case_axis(&c, DHC_AXIS_RED, out_w, false);
  int64_t N = f.no_n ? 1 : f.n, O = f.no_o ? 1 : f.o, plane = in_h * f.w, out_plane = out_h * out_w;

  int ox = case_operand(&c, DHC_F32, -1, 0, NULL);
  if (g >= 0) case_term(&c, ox, plain(g, false), f.c * plane, 0, 0);
  if (ci >= 0) case_term(&c, ox, plain(ci, false), plane, 0, 0);
  if (n >= 0) case_term(&c, ox, plain(n, false), f.groups * f.c * plane, 0, 0);
  if (!f.flat)
    case_term(&c, ox, guarded(2, (int[]){ky, y}, (int64_t[]){f.dilation, f.stride}, 1, false), f.w, -f.pad,
              in_h);
  case_term(&c, ox, guarded(2, (int[]){kx, x}, (int64_t[]){f.dilation, f.stride}, 1, true), 1, -f.pad, f.w);
  c.size[ox] = N * f.groups * f.c * plane;

  int oy = case_operand(&c, DHC_F32, -1, 0, NULL);
  if (g >= 0) case_term(&c, oy, plain(g, false), O * out_plane, 0, 0);
  if (o >= 0) case_term(&c, oy, plain(o, false), out_plane, 0, 0);
  if (n >= 0) case_term(&c, oy, plain(n, false), f.groups * O * out_plane, 0, 0);
  if (y >= 0) case_term(&c, oy, plain(y, false), out_w, 0, 0);
  case_term(&c, oy, plain(x, true), 1, 0, 0);
  c.size[oy] = N * f.groups * O * out_plane;

  uint32_t red = 1u << x;
  if (n >= 0) red |= 1u << n;
  if (y >= 0) red |= 1u << y;
  int d = case_fold(&c, DHC_OP_DOT_GENERAL, DHC_F32, red, case_load(&c, ox), case_load(&c, oy));
  int out_axis[5], n_out = 0, all[] = {g, o, ci, ky, kx};
  for (int i = 0; i < 5; i++)
    if (all[i] >= 0) out_axis[n_out++] = all[i];
  case_operand(&c, DHC_F32, d, n_out, out_axis);
  if (o >= 0) few_channels(&c, O, 16);
  case_check(&c, features, v, 1e-3); /* sums of thousands; the bits are checked, too */
  case_free(&c);
}

static void conv_shapes(void **st) {
  (void)st;
  static const ConvShape shapes[] = {
      {.n = 2, .c = 3, .o = 16, .h = 28, .w = 28, .kh = 3, .kw = 3, .pad = 1},
      {.n = 1, .c = 1, .o = 9, .h = 28, .w = 28, .kh = 3, .kw = 3, .pad = 1},
      {.n = 1, .c = 5, .o = 33, .h = 1, .w = 1, .kh = 3, .kw = 3, .pad = 1},
      {.n = 70, .c = 2, .o = 3, .h = 1, .w = 1, .kh = 3, .kw = 3, .pad = 1},
      {.n = 3, .c = 33, .o = 2, .h = 3, .w = 5, .kh = 3, .kw = 3, .pad = 1},
      {.n = 5, .c = 6, .o = 17, .h = 7, .w = 7, .kh = 3, .kw = 3, .pad = 1},
      {.n = 5, .c = 6, .o = 8, .h = 7, .w = 7, .kh = 3, .kw = 3, .pad = 0},
      {.n = 5, .c = 6, .o = 8, .h = 4, .w = 4, .kh = 3, .kw = 3, .pad = 3},
      {.n = 2, .c = 4, .o = 8, .h = 9, .w = 17, .kh = 5, .kw = 5, .pad = 2},
      {.n = 2, .c = 4, .o = 8, .h = 9, .w = 17, .kh = 3, .kw = 3, .pad = 2, .dilation = 2},
      {.n = 2, .c = 4, .o = 8, .h = 9, .w = 17, .kh = 3, .kw = 3, .pad = 1, .stride = 2},
      {.n = 2, .c = 4, .o = 8, .h = 9, .w = 17, .kh = 1, .kw = 1, .pad = 0},
      {.n = 2, .c = 1, .o = 8, .h = 9, .w = 17, .kh = 1, .kw = 3, .pad = 1},
      {.n = 2, .c = 4, .o = 8, .h = 9, .w = 17, .kh = 3, .kw = 1, .pad = 1},
      {.n = 3, .c = 4, .o = 1, .h = 6, .w = 6, .kh = 3, .kw = 3, .pad = 1, .no_n = true, .no_o = true},
      {.n = 3, .c = 1, .h = 8, .w = 20, .kh = 3, .kw = 3, .pad = 1, .no_o = true, .groups = 5, .o = 1},
      {.n = 3, .c = 2, .h = 8, .w = 20, .kh = 3, .kw = 3, .pad = 1, .groups = 3, .o = 4},
      {.n = 3, .c = 4, .o = 9, .h = 1, .w = 50, .kh = 1, .kw = 4, .pad = 3, .flat = true},
      {.n = 40, .c = 2, .o = 18, .h = 5, .w = 5, .kh = 3, .kw = 3, .pad = 1}, /* dw: blocks end within rows */
      {.n = 1, .c = 520, .o = 3, .h = 4, .w = 4, .kh = 3, .kw = 3, .pad = 1}, /* 4,680 products */
      {.n = 3, .c = 40, .o = 9, .h = 64, .w = 64, .kh = 3, .kw = 3, .pad = 1},
      /* strides, and taps that have no planes of their own */
      {.n = 2, .c = 3, .o = 9, .h = 23, .w = 37, .kh = 7, .kw = 7, .pad = 3, .stride = 2},
      {.n = 1, .c = 2, .o = 5, .h = 19, .w = 21, .kh = 9, .kw = 9, .pad = 4},
      {.n = 2, .c = 30, .o = 9, .h = 9, .w = 19, .kh = 3, .kw = 3, .pad = 1, .stride = 3}, /* blocks of products end within channels */
      {.n = 2, .c = 260, .o = 9, .h = 7, .w = 36, .kh = 1, .kw = 1, .pad = 0, .stride = 2},
      {.n = 2, .c = 3, .o = 4, .h = 17, .w = 40, .kh = 4, .kw = 5, .pad = 1, .stride = 3, .dilation = 2},
      {.n = 2, .c = 3, .o = 4, .h = 24, .w = 40, .kh = 8, .kw = 8, .pad = 2, .stride = 8},
      {.n = 3, .c = 1, .o = 1, .no_o = true, .groups = 4, .h = 8, .w = 23, .kh = 7, .kw = 7, .pad = 3},
      {.n = 2, .c = 1, .o = 1, .no_o = true, .groups = 2, .h = 9, .w = 23, .kh = 5, .kw = 5, .pad = 2, .stride = 2},
      {.n = 2, .c = 3, .o = 2, .h = 1, .w = 70, .kh = 1, .kw = 20, .pad = 19, .flat = true},
      {.n = 2, .c = 3, .o = 9, .h = 1, .w = 90, .kh = 1, .kw = 12, .pad = 3, .stride = 5, .flat = true},
      {.n = 2, .c = 1, .o = 1, .no_o = true, .groups = 3, .h = 1, .w = 299, .kh = 1, .kw = 290, .pad = 120, .flat = true, .any = true},
      {.n = 1, .c = 3, .o = 9, .h = 5, .w = 19, .kh = 2, .kw = 6, .pad = 1, .stride = 2, .any = true},
      /* rows so short that they are copied by elements, of strides and phases */
      {.n = 6, .c = 5, .o = 9, .h = 5, .w = 4, .kh = 3, .kw = 3, .pad = 1, .stride = 2},
      {.n = 21, .c = 3, .o = 5, .h = 3, .w = 2, .kh = 1, .kw = 1, .pad = 0, .stride = 2},
      /* a channel a lane: whole vectors and a rest, more images than go together, taps beyond the image, pixels that no tap meets */
      {.n = 37, .c = 1, .o = 1, .no_o = true, .groups = 19, .h = 2, .w = 3, .kh = 5, .kw = 5, .pad = 2},
      {.n = 3, .c = 1, .o = 1, .no_o = true, .groups = 33, .h = 6, .w = 7, .kh = 3, .kw = 2, .pad = 0, .stride = 3},
      {.n = 5, .c = 1, .o = 1, .no_o = true, .groups = 16, .h = 4, .w = 5, .kh = 3, .kw = 3, .pad = 2, .dilation = 2}};
  for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
    for (int form = 0; form < 4; form++) {
      ConvShape f = shapes[i];
      if (!f.stride) f.stride = 1;
      if (!f.dilation) f.dilation = 1;
      f.back = form == 1;
      f.pool = form == 2 ? 2 : form == 3 ? 3 : 1;
      if ((f.h * f.w * f.c > 100000 && form > 1) || (form == 3 && i % 5) || (i + (size_t)form) % (size_t)every()) continue;
      if (conv_out(f.w, f.kw, &f) < 1 || (!f.flat && conv_out(f.h, f.kh, &f) < 1)) continue;
      if (getenv("CASE_NAMES")) print_message("shape %zu form %d\n", i, form);
      if (form == 0) one_dw(f, NULL, NULL);
      if (form == 0 && i % 4 == 1) one_dw(f, "-avx512f", NULL);
      one_conv(f, NULL, NULL);
      if (i % 4 == 1) one_conv(f, "-avx512f", NULL);
    }
}

/* Whole images and rows of them, V of a block by its own task or by the first phase's, channels that fill no tile and no chain. */
static void conv_tiles(void **st) {
  (void)st;
  static const ConvShape shapes[] = {{.n = 3, .c = 5, .o = 9, .h = 7, .w = 9, .pad = 1}, {.n = 2, .c = 67, .o = 20, .h = 4, .w = 37, .pad = 0},
                                     {.n = 5, .c = 33, .o = 8, .h = 1, .w = 2, .pad = 1}, {.n = 1, .c = 1, .o = 3, .h = 12, .w = 6, .pad = 2},
                                     {.n = 4, .c = 32, .o = 32, .h = 14, .w = 14, .pad = 1}, {.n = 9, .c = 6, .o = 11, .h = 6, .w = 6, .pad = 3},
                                     {.n = 2, .c = 20, .o = 18, .h = 3, .w = 4, .pad = 1}};
  static const int v[][8] = {{0}, {0, 0, 0, 1, 16, 20}, {0, 0, 0, 99, 16, 20, 0, 3}};
  for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
    for (int form = 0; form < 4; form++) {
      const int *tile = v[(i + (size_t)form) % 3];
      ConvShape f = shapes[i];
      f.kh = f.kw = 3, f.stride = f.dilation = 1, f.tiled = true;
      f.back = form == 1;
      f.pool = form == 2 ? 2 : form == 3 ? 3 : 1;
      if (conv_out(f.w, 3, &f) < 1 || conv_out(f.h, 3, &f) < 1) continue;
      f.interpreted = form / 2 ? i == 0 : i == 6; /* which takes long */
      one_conv(f, NULL, tile);
      f.interpreted = false;
      if (i % 2) one_conv(f, form % 2 ? "-avx512f" : "-avx512f,-avx2,-fma,-avx", tile);
    }
}

/* A few of each for a memory checker: test_backends_contract edges */
static void edges(void **st) {
  (void)st;
  one_dot(0, 3, 5, 7, NULL, NULL);
  one_dot(2, 3, 33, 7, NULL, NULL);
  one_dot(11, 9, 18, 3, NULL, NULL);
  ConvShape f = {
      .n = 3, .c = 2, .o = 5, .h = 3, .w = 5, .kh = 3, .kw = 3, .pad = 1, .stride = 1, .dilation = 1};
  one_conv(f, NULL, NULL);
  one_dw(f, NULL, NULL);
  f.back = true;
  one_conv(f, NULL, NULL);
  f = (ConvShape){.n = 2,
                  .c = 3,
                  .o = 9,
                  .h = 6,
                  .w = 6,
                  .kh = 3,
                  .kw = 3,
                  .pad = 1,
                  .stride = 1,
                  .dilation = 1,
                  .pool = 2};
  one_conv(f, NULL, NULL);
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(edges), cmocka_unit_test(dot_shapes),
                                     cmocka_unit_test(dot_large), cmocka_unit_test(dot_across), cmocka_unit_test(dot_bare), cmocka_unit_test(dot_pairs),
      cmocka_unit_test(dot_narrow), cmocka_unit_test(product_rule), cmocka_unit_test(product_rule_ragged), cmocka_unit_test(updates),
                                     cmocka_unit_test(conv_shapes), cmocka_unit_test(conv_tiles)};
  if (argc > 1) cmocka_set_test_filter(argv[1]);
  return cmocka_run_group_tests(tests, NULL, NULL);
}
