/* Template "tile" in the interpreter of loop programs: every kind, layout and form of schedule, with tiles that are not
 * full, threads in every order and copies that arrive early and late. */
#include "passes/plan/schedule.h"
#include "tests/backends/spec_case.h"

#include <setjmp.h>
#include <stdlib.h>
#include <cmocka.h>

/* Exact; the same by blocks of the product rule; tf32 in two parts; warps that share a step's ks; split over
 * k; four stages; one column tile a warp. */
static const DhcSchedule schedules[] = {{.template_name = "tile", .v = {16, 16, 16, 2, 4, 0, 3}},
                                        {.template_name = "tile", .v = {32, 16, 16, 1, 1, 0, 2}},
                                        {.template_name = "tile", .v = {32, 32, 16, 4, 4, 0, 3, 1}},
                                        {.template_name = "tile", .v = {32, 16, 16, 1, 1, 17, 3}},
                                        {.template_name = "tile", .v = {16, 16, 32, 1, 1, 2, 2}},
                                        {.template_name = "tile", .v = {16, 8, 16, 1, 1, 1, 3, 12}},
                                        {.template_name = "tile", .v = {16, 16, 16, 1, 2, 1, 4, 4}},
                                        {.template_name = "tile", .v = {16, 16, 32, 1, 1, 2 + 32, 2}},
                                        {.template_name = "tile", .v = {32, 16, 16, 1, 2, 1 + 32, 3}},
                                        {.template_name = "tile", .v = {16, 8, 32, 1, 1, 1 + 16 + 32, 3, 12}},
                                        {.template_name = "tile", .v = {64, 16, 32, 4, 1, 1 + 64, 3}},
                                        {.template_name = "tile", .v = {64, 32, 32, 4, 2, 1 + 64, 4}},
                                        {.template_name = "tile", .v = {64, 8, 32, 4, 1, 1 + 64, 5, 4}}};
enum { N_SCHEDULES = sizeof schedules / sizeof *schedules };

/* Elementwise, over sums that may cancel. */
static double tolerance(const DhcSchedule *s) {
  bool two_parts = s->v[5] & 16, bf16 = s->v[5] & 32;
  if (s->v[5] == 0) return 1e-5;
  return bf16 ? (two_parts ? 1e-3 : 2e-1) : two_parts ? 3e-5 : 2e-2; /* sums are cut at each eight ks */
}

/* y = relu(a . b + bias), forms by bit: 1 A is [k, m], 2 B is [k, n], 4 y is [n, m], 8 A is made, 16 a batch, 32 a
 * second B, 64 its exponentials instead. */
static void one_dot(int form, int64_t m, int64_t n, int64_t k, const DhcSchedule *s) {
  SpecCase c;
  case_init(&c, DHC_KIND_DOT);
  int g = form & 16 ? case_axis(&c, DHC_AXIS_PAR, 2, false) : -1;
  int i = case_axis(&c, DHC_AXIS_PAR, m, false), j = case_axis(&c, DHC_AXIS_PAR, n, false), r = case_axis(&c, DHC_AXIS_RED, k, false);
  int am[3] = {g, form & 1 ? r : i, form & 1 ? i : r}, bm[3] = {g, form & 2 ? r : j, form & 2 ? j : r};
  int ym[3] = {g, form & 4 ? j : i, form & 4 ? i : j}, from = g < 0, rank = 3 - from;
  int oa = case_operand(&c, DHC_F32, -1, rank, am + from), ob = case_operand(&c, DHC_F32, -1, rank, bm + from);
  int bias = case_operand(&c, DHC_F32, -1, 1, &j), second = form & 32 ? case_operand(&c, DHC_F32, -1, rank, bm + from) : -1;
  int a = case_load(&c, oa), b = case_load(&c, ob);
  if (form & 8) a = case_ew(&c, DHC_OP_MUL, a, case_const(&c, 0.5), -1);
  int d = case_fold(&c, DHC_OP_DOT_GENERAL, DHC_F32, 1u << r, a, b);
  d = case_ew(&c, DHC_OP_ADD, d, case_load(&c, bias), -1);
  if (form & 64) d = case_ew(&c, DHC_OP_ADD, case_ew(&c, DHC_OP_SIGMOID, d, -1, -1), case_ew(&c, DHC_OP_SOFTPLUS, d, -1, -1), -1);
  else d = case_ew(&c, DHC_OP_MAX, d, case_const(&c, 0), -1);
  if (second >= 0) d = case_ew(&c, DHC_OP_ADD, d, case_fold(&c, DHC_OP_DOT_GENERAL, DHC_F32, 1u << r, a, case_load(&c, second)), -1);
  case_operand(&c, DHC_F32, d, rank, ym + from);
  case_interpret(&c, s, k > 256 ? 2e-4 : tolerance(s)); /* of long sums what cancels is left */
  case_free(&c);
}

static void contractions(void **st) {
  (void)st;
  static const int64_t k[] = {41, 64, 1, 100}; /* rows of 64 and 100 may be read four elements at a time */
  for (int form = 0; form < 64; form++) {
    const DhcSchedule *s = &schedules[form % N_SCHEDULES];
    one_dot(form, form % 3 ? 20 : 37, form % 5 ? 24 : 9, k[(form + form / N_SCHEDULES) % 4], s);
  }
}

/* What sums go into, exactly and nearly: four columns at once, and one. */
static void exponentials(void **st) {
  (void)st;
  one_dot(64, 20, 24, 3, &schedules[0]);
  one_dot(64, 20, 24, 3, &schedules[3]);
  one_dot(64 | 4, 20, 24, 41, &schedules[3]);
}

static int whole_number(SpecCase *c, int64_t v) {
  return case_node(c, (DhcSpecNode){.kind = DHC_SN_CONST, .dtype = DHC_I64, .i = v, .a = {-1, -1, -1, -1}});
}
static int place_along(SpecCase *c, int axis) {
  return case_node(c, (DhcSpecNode){.kind = DHC_SN_AXIS, .dtype = DHC_I64, .a = {-1, -1, -1, -1}, .operand = axis});
}

/* y = a . b * other and y + residual, `drop`: where random bits say so, of an element's number; of rows and columns of their own. */
static void one_epilogue(bool drop, int64_t m, int64_t n, const DhcSchedule *s) {
  SpecCase c;
  case_init(&c, DHC_KIND_DOT);
  int i = case_axis(&c, DHC_AXIS_PAR, m, false), j = case_axis(&c, DHC_AXIS_PAR, n, false), r = case_axis(&c, DHC_AXIS_RED, 24, false);
  int oa = case_operand(&c, DHC_F32, -1, 2, (int[]){i, r}), ob = case_operand(&c, DHC_F32, -1, 2, (int[]){j, r});
  int other = case_operand(&c, DHC_F32, -1, 2, (int[]){i, j}), residual = case_operand(&c, DHC_F32, -1, 2, (int[]){i, j});
  int row = case_operand(&c, DHC_F32, -1, 1, &i);
  int d = case_fold(&c, DHC_OP_DOT_GENERAL, DHC_F32, 1u << r, case_load(&c, oa), case_load(&c, ob));
  int y = case_ew(&c, DHC_OP_MUL, d, case_ew(&c, DHC_OP_MUL, case_load(&c, other), case_load(&c, row), -1), -1), z = y;
  if (drop) {
    int flat = case_ew(&c, DHC_OP_ADD, case_ew(&c, DHC_OP_MUL, place_along(&c, i), whole_number(&c, n), -1), place_along(&c, j), -1);
    int bits = case_node(&c, (DhcSpecNode){.kind = DHC_SN_RANDOM, .dtype = DHC_U32, .a = {whole_number(&c, 7), whole_number(&c, 3), whole_number(&c, 1), flat}});
    int odd = case_node(&c, (DhcSpecNode){.kind = DHC_SN_EW, .op = DHC_OP_CAST, .dtype = DHC_F32, .a = {bits, -1, -1, -1}});
    z = case_ew(&c, DHC_OP_SELECT, case_ew(&c, DHC_OP_LT, odd, case_const(&c, 0x1p31), -1), z, case_const(&c, 0));
  }
  z = case_ew(&c, DHC_OP_ADD, z, case_load(&c, residual), -1);
  case_operand(&c, DHC_F32, y, 2, (int[]){i, j});
  case_operand(&c, DHC_F32, z, 2, (int[]){i, j});
  case_interpret(&c, s, tolerance(s));
  case_free(&c);
}

/* What results load is loaded for several rows at once where all are there, four columns at a time where they lie so. */
static void epilogues(void **st) {
  static const DhcSchedule at_once = {.template_name = "tile", .v = {32, 16, 16, 1, 1, 1 + 16, 3}},
                           exact = {.template_name = "tile", .v = {32, 16, 16, 2, 4, 0, 3}},
                           group = {.template_name = "tile", .v = {64, 16, 32, 4, 1, 1 + 64, 3}};
  static const DhcSchedule *const by[] = {&at_once, &exact, &group};
  (void)st;
  for (int i = 0; i < 3; i++)
    for (int drop = 0; drop < 2; drop++) {
      one_epilogue(drop, 70, 24, by[i]);
      one_epilogue(drop, 37, 9, by[i]);
    }
}

/* Several blocks of the product rule, and of its second level: one part by one part as in a whole. */
static void long_sums(void **st) {
  (void)st;
  one_dot(0, 3, 5, 700, &schedules[0]);
  one_dot(3, 3, 5, 700, &schedules[2]);
  one_dot(2, 2, 3, 4500, &schedules[2]);
  one_dot(1 | 16, 2, 3, 600, &schedules[1]);
}

/* Template "low": rows and columns that do not fill a tile, and more of them than one has; ks that end within a round, within
 * four, and go on into a loop; two contractions; the results across. */
static void few_rows(void **st) {
  (void)st;
  static const DhcSchedule s[] = {{.template_name = "low", .v = {16, 8, 64, 1, 1, 4 + 16, 2}},
                                  {.template_name = "low", .v = {16, 16, 128, 1, 1, 8 + 16, 1}},
                                  {.template_name = "low", .v = {16, 8, 64, 1, 1, 4, 1}},
                                  {.template_name = "low", .v = {16, 8, 64, 1, 1, 4 + 32, 1}},
                                  {.template_name = "low", .v = {16, 16, 128, 2, 1, 4 + 16 + 32, 2}}};
  static const int64_t k[] = {41, 64, 1, 100, 132};
  static const int form[] = {0, 4, 32, 4 | 32};
  for (int i = 0; i < 5; i++)
    for (int f = 0; f < 4; f++) one_dot(form[f], form[f] & 4 ? 9 : 20, form[f] & 4 ? 24 : 9, k[(i + f) % 5], &s[i]);
  one_dot(64, 1, 3, 260, &s[1]);
  one_dot(0, 5, 9, 100, &(DhcSchedule){.template_name = "low", .v = {16, 8, 64, 1, 1, 4 + 16, 2, 1}});
}

/* y = norm(a) . b + a's first column, norm by bit: 1 less the mean before, 2 without gain; 4 y is [n, m]; 8 a second b;
 * 16 one row without an axis. */
static void one_norm(int form, int64_t m, int64_t n, int64_t k, const DhcSchedule *s) {
  SpecCase c;
  case_init(&c, DHC_KIND_DOT);
  int i = form & 16 ? -1 : case_axis(&c, DHC_AXIS_PAR, form & 4 ? n : m, false), j = case_axis(&c, DHC_AXIS_PAR, form & 4 ? m : n, false), r = case_axis(&c, DHC_AXIS_RED, k, false);
  int rows = form & 4 ? j : i, cols = form & 4 ? i : j, one = form & 16 ? 1 : 0;
  int oa = case_operand(&c, DHC_F32, -1, 2 - one, (int[]){rows, r} + one), ob = case_operand(&c, DHC_F32, -1, 2, (int[]){cols, r});
  int gain = form & 2 ? -1 : case_operand(&c, DHC_F32, -1, 1, &r), eps = case_operand(&c, DHC_F32, -1, 0, NULL);
  int second = form & 8 ? case_operand(&c, DHC_F32, -1, 2, (int[]){cols, r}) : -1;
  int a = case_load(&c, oa), size = case_const(&c, (double)k);
  if (form & 1) a = case_ew(&c, DHC_OP_SUB, a, case_ew(&c, DHC_OP_DIV, case_fold(&c, DHC_OP_REDUCE_SUM, DHC_F32, 1u << r, a, -1), size, -1), -1);
  int squares = case_fold(&c, DHC_OP_REDUCE_SUM, DHC_F32, 1u << r, case_ew(&c, DHC_OP_MUL, a, a, -1), -1);
  int by = case_ew(&c, DHC_OP_ADD, case_ew(&c, DHC_OP_DIV, squares, size, -1), case_ew(&c, DHC_OP_ABS, case_load(&c, eps), -1, -1), -1);
  a = case_ew(&c, DHC_OP_MUL, a, case_ew(&c, DHC_OP_RSQRT, by, -1, -1), -1);
  if (gain >= 0) a = case_ew(&c, DHC_OP_MUL, a, case_load(&c, gain), -1);
  int d = case_fold(&c, DHC_OP_DOT_GENERAL, DHC_F32, 1u << r, a, case_load(&c, ob));
  if (second >= 0) d = case_ew(&c, DHC_OP_ADD, d, case_fold(&c, DHC_OP_DOT_GENERAL, DHC_F32, 1u << r, a, case_load(&c, second)), -1);
  case_operand(&c, DHC_F32, d, 2 - one, (int[]){i, j} + one);
  case_interpret(&c, s, tolerance(s));
  case_free(&c);
}

/* Rows that are made of their own sums: of few rows by the threads that multiply them, else as what results take, or first, in a phase of
 * their own, in all forms of tiles, cut along k or not. */
static void norms(void **st) {
  (void)st;
  static const DhcSchedule low[] = {{.template_name = "low", .v = {16, 8, 64, 1, 1, 4 + 16, 2}},
                                    {.template_name = "low", .v = {16, 8, 64, 2, 1, 2 + 16, 4}},
                                    {.template_name = "low", .v = {16, 16, 128, 2, 1, 4 + 16 + 32, 1}}};
  static const DhcSchedule shared[] = {{.template_name = "tile", .v = {32, 16, 32, 2, 2, 2, 3}}, /* warps that share ks, rows and columns */
                                       {.template_name = "tile", .v = {32, 16, 32, 1, 1, 2 + 32, 2}},
                                       {.template_name = "tile", .v = {16, 16, 32, 1, 2, 4 + 16, 3}}};
  static const int64_t k[] = {41, 64, 100};
  static const int form[] = {0, 1, 2, 3, 9, 10};
  for (int i = 0; i < 6; i++) one_norm(form[i], i ? 7 : 20, 9, k[i % 3], &low[i % 3]);
  for (int i = 0; i < N_SCHEDULES; i += 3) one_norm(i % 12, 20, i % 2 ? 9 : 24, k[i % 3], &schedules[i]);
  one_norm(0, 3, 5, 516, &schedules[0]);
  for (int i = 0; i < 3; i++) one_norm(2 * i, 35, 18, k[i], &shared[i]);
  one_norm(8, 20, 24, 100, &shared[0]);
  one_norm(16, 1, 9, 64, &schedules[3]);
}

static DhcTerm guarded(const int *axis, const int64_t *coef, bool unit) {
  return (DhcTerm){.n_axes = coef[2] ? 3 : 2,
                   .axis = {axis[0], axis[1], axis[2]},
                   .coef = {coef[0], coef[1], coef[2]},
                   .div = 1,
                   .index = -1,
                   .guarded = true,
                   .unit = unit};
}
static DhcTerm plain(int axis, bool unit) {
  return (DhcTerm){.n_axes = 1, .axis = {axis}, .coef = {1}, .div = 1, .index = -1, .unit = unit};
}

/* conv of [2, C, H, W] with O of [C, 3, 3], relu; pooled: maxima of pool x pool windows, and where they are; back: taps
 * counted backwards, the weights [C, O, 3, 3], as the gradient of an image has them. */
typedef struct Conv {
  int64_t channels, outs, h, w;
  int pool;
  bool back;
} Conv;

static void any_conv(const Conv *f, const DhcSchedule *s) {
  const int64_t channels = f->channels, outs = f->outs, h = f->h, W = f->w, tap = f->back ? -1 : 1, at = f->back ? 1 : -1;
  const int pool = f->pool;
  SpecCase c;
  case_init(&c, DHC_KIND_CONV);
  int n = case_axis(&c, DHC_AXIS_PAR, 2, false), o = case_axis(&c, DHC_AXIS_PAR, outs, false);
  int y = case_axis(&c, DHC_AXIS_PAR, h / pool, false), x = case_axis(&c, DHC_AXIS_PAR, W / pool, false);
  int wy = pool > 1 ? case_axis(&c, DHC_AXIS_RED, pool, true) : -1, wx = pool > 1 ? case_axis(&c, DHC_AXIS_RED, pool, true) : -1;
  int ci = case_axis(&c, DHC_AXIS_RED, channels, false), ky = case_axis(&c, DHC_AXIS_RED, 3, true),
      kx = case_axis(&c, DHC_AXIS_RED, 3, true);
  int ox = case_operand(&c, DHC_F32, -1, 0, NULL), ow = case_operand(&c, DHC_F32, -1, 0, NULL);
  case_term(&c, ox, plain(n, false), channels * h * W, 0, 0);
  case_term(&c, ox, plain(ci, false), h * W, 0, 0);
  if (pool > 1) {
    case_term(&c, ox, guarded((int[]){y, wy, ky}, (int64_t[]){pool, 1, tap}, false), W, at, h);
    case_term(&c, ox, guarded((int[]){x, wx, kx}, (int64_t[]){pool, 1, tap}, true), 1, at, W);
  } else {
    case_term(&c, ox, guarded((int[]){y, ky, 0}, (int64_t[]){1, tap, 0}, false), W, at, h);
    case_term(&c, ox, guarded((int[]){x, kx, 0}, (int64_t[]){1, tap, 0}, true), 1, at, W);
  }
  c.size[ox] = 2 * channels * h * W;
  case_term(&c, ow, plain(o, false), f->back ? 9 : channels * 9, 0, 0);
  case_term(&c, ow, plain(ci, false), f->back ? outs * 9 : 9, 0, 0);
  case_term(&c, ow, plain(ky, false), 3, 0, 0);
  case_term(&c, ow, plain(kx, true), 1, 0, 0);
  c.size[ow] = outs * channels * 9;
  int d = case_fold(&c, DHC_OP_DOT_GENERAL, DHC_F32, 1u << ci | 1u << ky | 1u << kx, case_load(&c, ox), case_load(&c, ow));
  d = case_ew(&c, DHC_OP_MAX, d, case_const(&c, 0), -1);
  uint32_t window = pool > 1 ? 1u << wy | 1u << wx : 0;
  if (window) {
    int most = case_fold(&c, DHC_OP_REDUCE_MAX, DHC_F32, window, d, -1);
    case_operand(&c, DHC_F32, most, 4, (int[]){n, o, y, x});
    if (s->v[5] == 0 || (s->v[5] & 16))
      case_operand(&c, DHC_I32, case_fold(&c, DHC_OP_ARGMAX, DHC_I32, window, d, -1), 4, (int[]){n, o, y, x});
  } else {
    case_operand(&c, DHC_F32, d, 4, (int[]){n, o, y, x});
  }
  case_interpret(&c, s, tolerance(s));
  case_free(&c);
}

static void one_conv(int64_t channels, int64_t outs, int64_t h, int pool, const DhcSchedule *s) {
  any_conv(&(Conv){channels, outs, h, 6, pool, false}, s);
}

/* Template "image": bands of an image, whole images, lines of which copies are of four pixels or of one, taps in either
 * direction, channels and outs that fill no step and no tile. */
static void images(void **st) {
  static const DhcSchedule form[] = {{.template_name = "image", .v = {16, 32, 8, 1, 2, 1, 2, 136}},
                                     {.template_name = "image", .v = {32, 16, 16, 2, 1, 2 + 16, 3, 104}},
                                     {.template_name = "image", .v = {16, 64, 8, 1, 2, 1, 2, 200}},
                                     {.template_name = "image", .v = {16, 32, 16, 1, 2, 1 + 32, 2, 136}},
                                     {.template_name = "image", .v = {32, 64, 32, 2, 2, 2 + 16 + 32, 2, 200}}};
  enum { N_FORMS = sizeof form / sizeof *form };
  static const Conv shape[] = {{11, 20, 6, 6, 1, false}, {3, 16, 8, 8, 2, false}, {8, 9, 6, 6, 2, false},
                               {17, 18, 4, 4, 1, true},  {9, 33, 5, 8, 1, true},  {4, 5, 3, 5, 1, false}};
  (void)st;
  for (int i = 0; i < 6; i++)
    for (int k = 0; k < N_FORMS; k++)
      if (k < 2 || (i + k) % 2) any_conv(&shape[i], &form[k]);
}

/* Template "patches": images of one patch and of several that are not full, tiles of patches in a line, of several lines and of several
 * images, taps in either direction, steps that channels do not fill, taps in pairs. */
static void patches(void **st) {
  static const DhcSchedule form[] = {{.template_name = "patches", .v = {16, 64, 8, 4, 1, 1, 4}},
                                     {.template_name = "patches", .v = {16, 128, 16, 4, 1, 1, 4}},
                                     {.template_name = "patches", .v = {32, 256, 8, 8, 1, 1, 5}},
                                     {.template_name = "patches", .v = {16, 128, 8, 8, 1, 1, 3, 1}}};
  static const Conv shape[] = {{11, 20, 6, 8, 1, false}, {3, 16, 10, 16, 2, false}, {8, 9, 7, 12, 2, false},
                               {20, 18, 9, 9, 1, true},  {4, 33, 5, 20, 1, true},  {4, 5, 3, 5, 1, false}};
  (void)st;
  for (int i = 0; i < 6; i++)
    for (int k = i % 3; k < 4; k += 3 - i % 3)
      if (k < 3 || shape[i].channels <= 4) any_conv(&shape[i], &form[k]);
  any_conv(&(Conv){1, 40, 8, 16, 4, true}, &form[3]); /* pooled lines shorter than four, fewer outs than threads have room for */
}

/* its weight gradient */
static void any_dw(int64_t channels, int64_t outs, int64_t h, int64_t W, const DhcSchedule *s) {
  SpecCase c;
  case_init(&c, DHC_KIND_CONV_DW);
  int o = case_axis(&c, DHC_AXIS_PAR, outs, false), ci = case_axis(&c, DHC_AXIS_PAR, channels, false);
  int ky = case_axis(&c, DHC_AXIS_PAR, 3, true), kx = case_axis(&c, DHC_AXIS_PAR, 3, true), n = case_axis(&c, DHC_AXIS_RED, 2, false);
  int y = case_axis(&c, DHC_AXIS_RED, h, false), x = case_axis(&c, DHC_AXIS_RED, W, false);
  int ox = case_operand(&c, DHC_F32, -1, 0, NULL);
  case_term(&c, ox, plain(ci, false), h * W, 0, 0);
  case_term(&c, ox, plain(n, false), channels * h * W, 0, 0);
  case_term(&c, ox, guarded((int[]){ky, y, 0}, (int64_t[]){1, 1, 0}, false), W, -1, h);
  case_term(&c, ox, guarded((int[]){kx, x, 0}, (int64_t[]){1, 1, 0}, true), 1, -1, W);
  c.size[ox] = 2 * channels * h * W;
  int oy = case_operand(&c, DHC_F32, -1, 4, (int[]){n, o, y, x});
  int d = case_fold(&c, DHC_OP_DOT_GENERAL, DHC_F32, 1u << n | 1u << y | 1u << x, case_load(&c, ox), case_load(&c, oy));
  case_operand(&c, DHC_F32, d, 4, (int[]){o, ci, ky, kx});
  case_interpret(&c, s, 3 * tolerance(s));
  case_free(&c);
}

/* Template "filter_groups": bands of an image and whole ones, lines that end in the middle of a four, steps that lines do not fill, channels
 * and outs that fill no tile, taps as lines of one product. */
static void filter_groups(void **st) {
  static const DhcSchedule form[] = {{.template_name = "filter_groups", .v = {64, 8, 32, 4, 1, 1, 0, 12}},
                                     {.template_name = "filter_groups", .v = {64, 16, 64, 4, 1, 1, 0, 1}},
                                     {.template_name = "filter_groups", .v = {64, 8, 64, 4, 1, 1, 1, 9}}};
  static const int64_t shape[][4] = {{11, 70, 6, 8}, {8, 20, 5, 6}, {17, 64, 9, 16}, {3, 20, 7, 24}, {4, 66, 4, 13}};
  (void)st;
  for (int i = 0; i < 5; i++)
    any_dw(shape[i][0], shape[i][1], shape[i][2], shape[i][3], &form[i < 3 ? i % 2 : 2]);
}

static void one_dw(int64_t channels, int64_t outs, int64_t h, const DhcSchedule *s) { any_dw(channels, outs, h, 6, s); }

/* Template "depthwise": channels that fill no block, several blocks of the product rule, or pieces of another size, taps
 * before and behind. */
static void depthwise(void **st) {
  static const DhcSchedule schedule = {.template_name = "depthwise", .v = {32, 2}}, pieces = {.template_name = "depthwise", .v = {32, 2, 64}};
  static const int64_t shape[][3] = {{37, 9, 4}, {5, 3, 3}, {33, 150, 3}, {40, 700, 2}}; /* channels, steps, taps */
  (void)st;
  for (int i = 0; i < 4; i++) {
    const int64_t C = shape[i][0], L = shape[i][1];
    SpecCase c;
    case_init(&c, DHC_KIND_CONV_DW);
    int ch = case_axis(&c, DHC_AXIS_PAR, C, false), tap = case_axis(&c, DHC_AXIS_PAR, shape[i][2], true);
    int n = case_axis(&c, DHC_AXIS_RED, 3, false), t = case_axis(&c, DHC_AXIS_RED, L, false);
    int ox = case_operand(&c, DHC_F32, -1, 0, NULL);
    case_term(&c, ox, plain(ch, true), 1, 0, 0);
    case_term(&c, ox, plain(n, false), L * C, 0, 0);
    case_term(&c, ox, guarded((int[]){tap, t, 0}, (int64_t[]){1, 1, 0}, false), C, -2, L);
    c.size[ox] = 3 * L * C;
    int oy = case_operand(&c, DHC_F32, -1, 3, (int[]){n, t, ch});
    case_operand(&c, DHC_F32, case_fold(&c, DHC_OP_DOT_GENERAL, DHC_F32, 1u << n | 1u << t, case_load(&c, ox), case_load(&c, oy)), 2,
                 (int[]){ch, tap});
    DhcSpecDepthwise w;
    assert_true(dhc_spec_depthwise(c.s, &w));
    case_interpret(&c, &schedule, L > 100 ? 2e-4 : 1e-5);
    case_interpret(&c, &pieces, L > 100 ? 2e-4 : 1e-5);
    case_free(&c);
  }
}

/* Template "filters": bands of an image and whole ones, lines of which copies are of four pixels or of one and that end in
 * zeros, channels and outs that fill no tile, pieces of several steps and of one. */
static void filters(void **st) {
  static const DhcSchedule form[] = {{.template_name = "filters", .v = {32, 16, 32, 1, 2, 1, 2, 6}},
                                     {.template_name = "filters", .v = {32, 8, 64, 2, 1, 1 + 16, 3, 1}},
                                     {.template_name = "filters", .v = {16, 8, 32, 1, 1, 1, 4, 64}}};
  static const struct {
    int64_t channels, outs, h, w;
  } shape[] = {{11, 20, 6, 6}, {16, 33, 8, 8}, {9, 16, 3, 12}, {17, 9, 7, 13}, {8, 17, 5, 24}, {3, 4, 2, 1}};
  (void)st;
  for (int i = 0; i < 6; i++)
    for (int k = 0; k < 3; k++) any_dw(shape[i].channels, shape[i].outs, shape[i].h, shape[i].w, &form[k]);
}

static void convolutions(void **st) {
  (void)st;
  for (int i = 0; i < N_SCHEDULES; i++) {
    one_conv(2, 9, 6, 1 + (schedules[i].v[1] < 9 ? 1 : i % 3), &schedules[i]);
    one_conv(5, 3, 4, 1 + (i + 1) % 2, &schedules[i]);
    one_dw(3, 5, i % 2 ? 4 : 9, &schedules[i]);
  }
}

/* operand 1 where each of the ranges begins, 2 where it ends */
static void fill_in_order(const SpecCase *c, int operand, int64_t *to) {
  static const int64_t cut[] = {0, 17, 17, 40};
  (void)c;
  memcpy(to, cut + operand - 1, 3 * sizeof *to);
}

/* lo[e] <= row < hi[e], of random ranges, empty and overlapping ones among them; `in_order`: of all 40 rows, one after the
 * other, one of them empty */
static int in_range(SpecCase *c, int row, int e, bool in_order) {
  int first = case_operand(c, DHC_I32, -1, 1, &e), end = case_operand(c, DHC_I32, -1, 1, &e);
  if (in_order) c->fill = fill_in_order;
  int lo = case_load(c, first), hi = case_load(c, end);
  int at = case_node(c, (DhcSpecNode){.kind = DHC_SN_AXIS, .dtype = DHC_I64, .a = {-1, -1, -1, -1}, .operand = row});
  int wide[2] = {lo, hi};
  for (int i = 0; i < 2; i++)
    wide[i] = case_node(c, (DhcSpecNode){.kind = DHC_SN_EW, .op = DHC_OP_CAST, .dtype = DHC_I64, .a = {wide[i], -1, -1, -1}});
  return case_ew(c, DHC_OP_AND, case_ew(c, DHC_OP_LE, wide[0], at, -1), case_ew(c, DHC_OP_LT, at, wide[1], -1), -1);
}

/* rows [T, K] by matrices [E, K, N] of their ranges; `sums`: x [T, M], y [T, N], for each range the sum over its rows;
 * `across`: the matrices are [N, E, K], 2: [E, N, K] */
static void one_ragged_of(int64_t K, bool sums, int across, bool in_order, const DhcSchedule *s) {
  enum { T = 40, E = 3, N = 12 };
  SpecCase c;
  case_init(&c, DHC_KIND_RAGGED);
  c.int_hi = T;
  if (sums) {
    int e = case_axis(&c, DHC_AXIS_PAR, E, false), i = case_axis(&c, DHC_AXIS_PAR, K, false), j = case_axis(&c, DHC_AXIS_PAR, N, false);
    int t = case_axis(&c, DHC_AXIS_RED, T, false), ox = case_operand(&c, DHC_F32, -1, 2, (int[]){t, i});
    int in = in_range(&c, t, e, in_order), oy = case_operand(&c, DHC_F32, -1, 2, (int[]){t, j});
    int x = case_ew(&c, DHC_OP_SELECT, in, case_load(&c, ox), case_const(&c, 0));
    case_operand(&c, DHC_F32, case_fold(&c, DHC_OP_DOT_GENERAL, DHC_F32, 1u << t, x, case_load(&c, oy)), 3, (int[]){e, i, j});
  } else {
    int t = case_axis(&c, DHC_AXIS_PAR, T, false), j = case_axis(&c, DHC_AXIS_PAR, N, false), e = case_axis(&c, DHC_AXIS_RED, E, false);
    int k = case_axis(&c, DHC_AXIS_RED, K, false), ox = case_operand(&c, DHC_F32, -1, 2, (int[]){t, k});
    int in = in_range(&c, t, e, in_order), ow = case_operand(&c, DHC_F32, -1, 3, across == 2 ? (int[]){e, j, k} : across ? (int[]){j, e, k} : (int[]){e, k, j});
    int x = case_ew(&c, DHC_OP_SELECT, in, case_load(&c, ox), case_const(&c, 0));
    case_operand(&c, DHC_F32, case_fold(&c, DHC_OP_DOT_GENERAL, DHC_F32, 1u << e | 1u << k, x, case_load(&c, ow)), 2, (int[]){t, j});
  }
  case_interpret(&c, s, tolerance(s));
  case_free(&c);
}

static void one_ragged(bool sums, bool across, bool in_order, const DhcSchedule *s) { one_ragged_of(20, sums, across, in_order, s); }

/* Template "low", which goes over the rows of each range, or over all by all ranges: sums that fit and that do not. */
static void few_rows_of_ranges(void **st) {
  (void)st;
  static const DhcSchedule s[] = {{.template_name = "low", .v = {16, 8, 64, 1, 1, 4 + 16, 1}},
                                  {.template_name = "low", .v = {16, 8, 64, 1, 1, 4, 2}},
                                  {.template_name = "low", .v = {16, 16, 128, 1, 1, 8 + 16 + 32, 1}}};
  for (int i = 0; i < 3; i++)
    for (int k = 20; k <= 100; k += 80)
      for (int in_order = 0; in_order < 2; in_order++) one_ragged_of(k, false, 2, in_order, &s[i]);
}

/* Sums over ranges in pieces: of one step and more, ranges that overlap, have a gap between them and begin within a step, an empty one;
 * four results at once and one. */
static void pieces_of_ranges(void **st) {
  (void)st;
  static const DhcSchedule s[] = {{.template_name = "tile", .v = {16, 16, 8, 1, 1, 1, 2, 64}},
                                  {.template_name = "tile", .v = {32, 8, 8, 2, 1, 1 + 16, 3, 2}},
                                  {.template_name = "tile", .v = {64, 16, 8, 1, 1, 1, 3, 64}},
                                  {.template_name = "tile", .v = {16, 16, 16, 1, 2, 1 + 32, 2, 64}}};
  for (int i = 0; i < 4; i++)
    for (int in_order = 0; in_order < 2; in_order++) one_ragged(true, false, in_order, &s[i]);
}

static void ranges(void **st) {
  (void)st;
  for (int i = 0; i < N_SCHEDULES; i++) {
    if (schedules[i].v[7]) continue; /* those of rows are never split */
    one_ragged(false, i % 2, false, &schedules[i]);
    for (int across = 0; across < 2; across++) one_ragged(false, across, true, &schedules[i]);
    one_ragged(true, false, i % 2, &schedules[i]);
  }
}

/* What the schedule takes in exact f32 has no matrix instructions, in tf32 some, and in bf16 all of that kind. */
static void classes(void **st) {
  (void)st;
  SpecCase c;
  case_init(&c, DHC_KIND_DOT);
  int i = case_axis(&c, DHC_AXIS_PAR, 70, false), j = case_axis(&c, DHC_AXIS_PAR, 45, false), k = case_axis(&c, DHC_AXIS_RED, 41, false);
  int x = case_operand(&c, DHC_F32, -1, 2, (int[]){i, k}), w = case_operand(&c, DHC_F32, -1, 2, (int[]){k, j});
  int dot = case_fold(&c, DHC_OP_DOT_GENERAL, DHC_F32, 1u << k, case_load(&c, x), case_load(&c, w));
  case_operand(&c, DHC_F32, dot, 2, (int[]){i, j});
  for (int compute = 0; compute < DHC_N_COMPUTES; compute++) {
    DhcTargetFacts gpu = {.kind = DHC_TARGET_GPU, .vector_bytes = 64, .task_elements = 1, .compute = (DhcCompute)compute};
    DhcSchedule s[DHC_MAX_CLASSES];
    int n = dhc_schedule_choose(c.s, &gpu, &c.arena, s);
    assert_true(n > 1 && n <= DHC_MAX_CLASSES);
    for (int q = 0; q < n; q++) {
      assert_int_equal(s[q].v[5] > 0, compute != DHC_COMPUTE_F32);
      assert_int_equal(s[q].v[5] >= 32, compute == DHC_COMPUTE_BF16);
    }
    assert_int_equal(s[n - 1].guard.n_code, 0);
  }
  case_free(&c);
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(classes), cmocka_unit_test(contractions), cmocka_unit_test(exponentials), cmocka_unit_test(epilogues), cmocka_unit_test(long_sums), cmocka_unit_test(few_rows), cmocka_unit_test(norms),
                                      cmocka_unit_test(convolutions), cmocka_unit_test(images), cmocka_unit_test(patches), cmocka_unit_test(filters), cmocka_unit_test(filter_groups), cmocka_unit_test(depthwise), cmocka_unit_test(ranges), cmocka_unit_test(pieces_of_ranges), cmocka_unit_test(few_rows_of_ranges)};
  if (argc > 1) cmocka_set_test_filter(argv[1]);
  return cmocka_run_group_tests(tests, NULL, NULL);
}
