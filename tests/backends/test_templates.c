/* Every template over odd shapes against the spec interpreter. */
#include "passes/plan/schedule.h"
#include "tests/backends/spec_case.h"

#include <math.h>
#include <setjmp.h>
#include <stdlib.h>
#include <cmocka.h>

static const int64_t odd[] = {1, 2, 15, 16, 17, 33, 255, 4096, 4111, 40000};
enum { N_ODD = sizeof odd / sizeof *odd };

/* y = x * w + 1, one axis */
static void map_flat(void **st) {
  (void)st;
  for (int i = 0; i < N_ODD; i++) {
    SpecCase c;
    case_init(&c, DHC_KIND_MAP);
    int a = case_axis(&c, DHC_AXIS_PAR, odd[i], false);
    int x = case_operand(&c, DHC_F32, -1, 1, &a), w = case_operand(&c, DHC_F32, -1, 1, &a);
    int n = case_ew(&c, DHC_OP_MUL, case_load(&c, x), case_load(&c, w), -1);
    n = case_ew(&c, DHC_OP_ADD, n, case_const(&c, 1), -1);
    case_operand(&c, DHC_F32, n, 1, &a);
    case_check(&c, NULL, NULL, 1e-6);
    case_free(&c);
  }
}

/* y[i,j] = x[i,j] + b[j] * s[i], z[j,i] = that transposed */
static void map_broadcast(void **st) {
  (void)st;
  for (int i = 0; i < 6; i++)
    for (int k = 0; k < 6; k++) {
      SpecCase c;
      case_init(&c, DHC_KIND_MAP);
      int ij[2] = {case_axis(&c, DHC_AXIS_PAR, odd[i], false),
                   case_axis(&c, DHC_AXIS_PAR, odd[k], false)};
      int ji[2] = {ij[1], ij[0]};
      int x = case_operand(&c, DHC_F32, -1, 2, ij), b = case_operand(&c, DHC_F32, -1, 1, &ij[1]);
      int s = case_operand(&c, DHC_F32, -1, 1, &ij[0]);
      int n = case_ew(&c, DHC_OP_MUL, case_load(&c, b), case_load(&c, s), -1);
      n = case_ew(&c, DHC_OP_ADD, n, case_load(&c, x), -1);
      case_operand(&c, DHC_F32, n, 2, ij);
      case_operand(&c, DHC_F32, n, 2, ji);
      case_check(&c, NULL, (int[8]){0, 64}, 1e-6);
      case_free(&c);
    }
}

/* y[i,l,d] = x[i,l-1,d] * w[d] + v[d], w and v every other element of theirs: what stays the same along l */
static void map_shared(void **st) {
  (void)st;
  for (int k = 0; k < 12; k++) {
    SpecCase c;
    case_init(&c, DHC_KIND_MAP);
    int i = case_axis(&c, DHC_AXIS_PAR, 1 + k / 6, false), l = case_axis(&c, DHC_AXIS_PAR, 1 + k % 6, false), d = case_axis(&c, DHC_AXIS_PAR, 5, false);
    int w[2], x = case_operand(&c, DHC_F32, -1, 2, (int[]){i, d});
    c.stride[x][0] = 5 * c.extent[l];
    case_term(&c, x, (DhcTerm){1, {l}, {1}, 1, -1, true, false}, 5, -1, c.extent[l]);
    c.size[x] = 5 * c.extent[i] * c.extent[l];
    for (int o = 0; o < 2; o++) {
      w[o] = case_operand(&c, DHC_F32, -1, 0, NULL);
      case_term(&c, w[o], (DhcTerm){1, {d}, {1}, 1, -1, false, false}, 2, 0, 0);
    }
    int n = case_ew(&c, DHC_OP_MUL, case_load(&c, x), case_load(&c, w[0]), -1);
    n = case_ew(&c, DHC_OP_ADD, n, case_load(&c, w[1]), -1);
    case_operand(&c, DHC_F32, n, 3, (int[]){i, l, d});
    c.all_classes = true;
    case_check(&c, NULL, NULL, 1e-6);
    case_free(&c);
  }
}

/* softmax with all its phases; by itself, when exponentials wait where they end, and with argmax beside it, when they do not */
static void row_softmax(void **st) {
  (void)st;
  for (int k = 0; k < 2 * N_ODD; k++) {
    int i = k / 2;
    if (odd[i] < 2) continue;
    SpecCase c;
    case_init(&c, DHC_KIND_ROW);
    int ir[2] = {case_axis(&c, DHC_AXIS_PAR, 5, false), case_axis(&c, DHC_AXIS_RED, odd[i], false)};
    int x = case_load(&c, case_operand(&c, DHC_F32, -1, 2, ir));
    int m = case_fold(&c, DHC_OP_REDUCE_MAX, DHC_F32, 2, x, -1);
    int e = case_ew(&c, DHC_OP_EXP, case_ew(&c, DHC_OP_SUB, x, m, -1), -1, -1);
    int s = case_fold(&c, DHC_OP_REDUCE_SUM, DHC_F32, 2, e, -1);
    int arg = k % 2 ? case_fold(&c, DHC_OP_ARGMAX, DHC_I32, 2, x, -1) : -1;
    case_operand(&c, DHC_F32, case_ew(&c, DHC_OP_DIV, e, s, -1), 2, ir);
    case_operand(&c, DHC_F32, s, 1, ir);
    if (arg >= 0) case_operand(&c, DHC_I32, arg, 1, ir);
    c.plain = "row", c.plain_v0 = 1;
    case_check(&c, NULL, (int[8]){2, 16}, 1e-5);
    case_free(&c);
  }
}

static void some_nan(const SpecCase *c, int operand, double *to) {
  (void)operand;
  int64_t n = c->extent[0] * c->extent[1] * (c->s->n_axes > 2 ? c->extent[2] : 1);
  for (int64_t i = 0; i < n; i++) to[i] = i % 193 == 192 ? NAN : i % 7 ? (double)(i * 37 % 101) - 50 : i % 2 ? -0.0 : 0.0;
}

/* One softmax stored to several rows: its exponentials belong to none of them, and wait nowhere. */
static void row_softmax_shared(void **st) {
  (void)st;
  SpecCase c;
  case_init(&c, DHC_KIND_ROW);
  int ir[2] = {case_axis(&c, DHC_AXIS_PAR, 5, false), case_axis(&c, DHC_AXIS_RED, 77, false)};
  int x = case_load(&c, case_operand(&c, DHC_F32, -1, 1, &ir[1]));
  int e = case_ew(&c, DHC_OP_EXP, x, -1, -1), s = case_fold(&c, DHC_OP_REDUCE_SUM, DHC_F32, 2, e, -1);
  case_operand(&c, DHC_F32, case_ew(&c, DHC_OP_DIV, e, s, -1), 2, ir);
  case_check(&c, NULL, (int[8]){2, 16}, 1e-5);
  case_free(&c);
}

/* Maxima and minima alone go in several strands along long rows, and in lanes of rows where these are short: the same bits, with
 * what is no number among them; rows of one axis, and of two, which begin anywhere. */
static void row_maxima(void **st) {
  (void)st;
  static const int64_t shape[][3] = {{20, 1, 1}, {20, 1, 8}, {17, 1, 9}, {15, 1, 3}, {3, 1, 63}, {3, 1, 64}, {3, 1, 200}, {2, 5, 77}, {2, 3, 128}, {1, 1, 40001}, {1, 9, 5003}};
  for (size_t i = 0; i < sizeof shape / sizeof *shape; i++)
    for (int least = 0; least < 2; least++) {
      SpecCase c;
      case_init(&c, DHC_KIND_ROW);
      int n = 2 + (shape[i][1] > 1), axes[3] = {case_axis(&c, DHC_AXIS_PAR, shape[i][0], false)};
      if (n > 2) axes[1] = case_axis(&c, DHC_AXIS_RED, shape[i][1], false);
      axes[n - 1] = case_axis(&c, DHC_AXIS_RED, shape[i][2], false);
      int x = case_load(&c, case_operand(&c, DHC_F32, -1, n, axes)), y = case_ew(&c, DHC_OP_NEG, x, -1, -1);
      case_operand(&c, DHC_F32, case_fold(&c, least ? DHC_OP_REDUCE_MIN : DHC_OP_REDUCE_MAX, DHC_F32, n > 2 ? 6 : 2, y, -1), 1, axes);
      DhcSchedule cls[DHC_MAX_CLASSES];
      assert_int_equal(dhc_schedule_choose(c.s, &(DhcTargetFacts){.vector_bytes = 64}, &c.arena, cls), 3);
      assert_int_equal(cls[1].v[0], 1 + axes[0]);
      assert_int_equal(conform_prog(cls[1].guard, case_dims(&c)) != 0, shape[i][0] >= 16 && shape[i][1] * shape[i][2] <= 8);
      c.floats = some_nan;
      c.plain = "row", c.plain_v0 = 1 + axes[0];
      case_check(&c, NULL, (int[8]){0, 64}, 0);
      case_free(&c);
    }
}

/* column sums, maxima and argmax: [r, j] -> [j] */
static void row_columns(void **st) {
  (void)st;
  for (int i = 0; i < N_ODD; i++)
    for (int k = 0; k < 6; k += 2) {
      SpecCase c;
      case_init(&c, DHC_KIND_ROW);
      int j = case_axis(&c, DHC_AXIS_PAR, odd[k], false);
      int r = case_axis(&c, DHC_AXIS_RED, odd[i], false);
      int x = case_load(&c, case_operand(&c, DHC_F32, -1, 2, (int[]){r, j}));
      case_operand(&c, DHC_F32, case_fold(&c, DHC_OP_REDUCE_SUM, DHC_F32, 2, x, -1), 1, &j);
      case_operand(&c, DHC_F32, case_fold(&c, DHC_OP_REDUCE_MIN, DHC_F32, 2, x, -1), 1, &j);
      case_operand(&c, DHC_I64, case_fold(&c, DHC_OP_ARGMAX, DHC_I64, 2, x, -1), 1, &j);
      case_operand(&c, DHC_F32, case_fold(&c, DHC_OP_ADD, DHC_F32, 2, x, -1), 1, &j);
      case_check(&c, NULL, (int[8]){0, 16}, 2e-4);
      case_free(&c);
    }
}

/* one sum over everything, several axes, more than one block of 4,096 */
static void row_all(void **st) {
  (void)st;
  static const int64_t shape[][2] = {{3, 5}, {17, 16}, {1, 40000}, {129, 65}, {4097, 3}, {7, 4111}};
  for (size_t i = 0; i < sizeof shape / sizeof *shape; i++) {
    SpecCase c;
    case_init(&c, DHC_KIND_ROW);
    int r[2] = {case_axis(&c, DHC_AXIS_RED, shape[i][0], false),
                case_axis(&c, DHC_AXIS_RED, shape[i][1], false)};
    int x = case_load(&c, case_operand(&c, DHC_F32, -1, 2, r));
    int sq = case_ew(&c, DHC_OP_MUL, x, x, -1);
    case_operand(&c, DHC_F32, case_fold(&c, DHC_OP_REDUCE_SUM, DHC_F32, 3, sq, -1), 0, NULL);
    case_operand(&c, DHC_F32, case_fold(&c, DHC_OP_REDUCE_MAX, DHC_F32, 3, x, -1), 0, NULL);
    case_operand(&c, DHC_I32, case_fold(&c, DHC_OP_ARGMAX, DHC_I32, 3, x, -1), 0, NULL);
    c.plain = "row", c.plain_v0 = 1; /* not the innermost axis: element by element */
    case_check(&c, NULL, (int[8]){2}, 1e-5);
    case_free(&c);
  }
}

/* Sums of f64 over many blocks have the interpreter's bits: rows by lanes and in order, rows that
 * begin inside a block, columns. Split into phases they are compared class with class. */
static void sums_of_blocks(void **st) {
  (void)st;
  static const int64_t shape[][2] = {{1, 45061}, {45061, 1}, {3, 8191}, {11, 4096}, {6001, 7}, {7, 4096}, {16, 4096}};
  for (size_t i = 0; i < sizeof shape / sizeof *shape; i++)
    for (int form = 0; form < 4; form++) {
      SpecCase c;
      case_init(&c, DHC_KIND_ROW);
      bool beside = form >= 2;
      int axes[3] = {0};
      if (beside) axes[0] = case_axis(&c, DHC_AXIS_PAR, 5, false);
      axes[1] = case_axis(&c, DHC_AXIS_RED, shape[i][0], false);
      axes[2] = case_axis(&c, DHC_AXIS_RED, shape[i][1], false);
      int column[3] = {axes[1], axes[2], axes[0]}; /* form 3: elements of a sum lie apart */
      const int *order = !beside ? axes + 1 : form == 3 ? column : axes;
      int x = case_load(&c, case_operand(&c, DHC_F64, -1, beside ? 3 : 2, order));
      int sum = case_fold(&c, DHC_OP_REDUCE_SUM, DHC_F64, beside ? 6 : 3, x, -1);
      case_operand(&c, DHC_F64, sum, beside, axes);
      c.plain = "row", c.plain_v0 = 1 + (form & 1);
      case_check(&c, NULL, (int[8]){0}, 0);
      case_free(&c);
    }
}

/* folds that may be split, beside parallel axes: down columns [r, j], and as a bias gradient
 * [n, j, p]; several blocks of 4,096, rows that begin inside one, an axis that a fold lacks */
static void row_split(void **st) {
  (void)st;
  static const int64_t shape[][3] = {{9001, 3, 1}, {4096, 17, 1}, {8193, 40, 1}, {3, 2, 5000}, {130, 3, 256}, {2, 33, 4096}};
  for (size_t i = 0; i < sizeof shape / sizeof *shape; i++) {
    SpecCase c;
    case_init(&c, DHC_KIND_ROW);
    bool columns = shape[i][2] == 1;
    int j = case_axis(&c, DHC_AXIS_PAR, shape[i][1], false), axes[3] = {0, j, 0}, n = columns ? 2 : 3;
    axes[0] = case_axis(&c, DHC_AXIS_RED, shape[i][0], false);
    if (!columns) axes[2] = case_axis(&c, DHC_AXIS_RED, shape[i][2], false);
    uint32_t red = columns ? 2 : 6;
    int x = case_load(&c, case_operand(&c, DHC_F32, -1, n, axes));
    int k = case_load(&c, case_operand(&c, DHC_I32, -1, n, axes));
    int w = case_load(&c, case_operand(&c, DHC_F32, -1, 1, axes)); /* the same in every column */
    int sum = case_fold(&c, DHC_OP_REDUCE_SUM, DHC_F32, red, case_ew(&c, DHC_OP_MUL, x, x, -1), -1);
    case_operand(&c, DHC_F32, case_ew(&c, DHC_OP_SQRT, sum, -1, -1), 1, &j);
    case_operand(&c, DHC_F32, case_fold(&c, DHC_OP_REDUCE_SUM, DHC_F32, red, w, -1), 1, &j);
    case_operand(&c, DHC_F32, case_fold(&c, DHC_OP_REDUCE_MIN, DHC_F32, red, x, -1), 1, &j);
    case_operand(&c, DHC_I64, case_fold(&c, DHC_OP_ARGMAX, DHC_I64, red, x, -1), 1, &j);
    case_operand(&c, DHC_I32, case_fold(&c, DHC_OP_REDUCE_SUM, DHC_I32, red, k, -1), 1, &j);
    case_operand(&c, DHC_I32, case_fold(&c, DHC_OP_ARGMAX, DHC_I32, red, k, -1), 1, &j); /* ties */
    assert_true(dhc_spec_may_split(c.s));
    DhcTargetFacts facts = {.vector_bytes = 64, .has_fma = true};
    DhcSchedule cls[DHC_MAX_CLASSES];
    assert_int_equal(dhc_schedule_choose(c.s, &facts, &c.arena, cls), columns ? 2 : 3);
    assert_int_equal(conform_prog(cls[0].guard, case_dims(&c)) != 0, shape[i][0] * shape[i][2] >= 32768);
    for (int v = 0; v < 2 + !columns; v++) case_check(&c, NULL, (int[8]){v}, 1e-5);
    case_free(&c);
  }
}

/* argmax of short rows, with ties: lanes are rows, or elements, with the same places */
static void row_short(void **st) {
  (void)st;
  static const int64_t shape[][2] = {{40, 1}, {16, 7}, {33, 16}, {40, 32}, {40, 33}, {15, 7}};
  for (size_t i = 0; i < sizeof shape / sizeof *shape; i++) {
    SpecCase c;
    case_init(&c, DHC_KIND_ROW);
    int ir[2] = {case_axis(&c, DHC_AXIS_PAR, shape[i][0], false), case_axis(&c, DHC_AXIS_RED, shape[i][1], false)};
    int x = case_load(&c, case_operand(&c, DHC_F32, -1, 2, ir)), k = case_load(&c, case_operand(&c, DHC_I32, -1, 2, ir));
    case_operand(&c, DHC_I32, case_fold(&c, DHC_OP_ARGMAX, DHC_I32, 2, x, -1), 1, ir);
    case_operand(&c, DHC_I64, case_fold(&c, DHC_OP_ARGMAX, DHC_I64, 2, k, -1), 1, ir);
    DhcSchedule cls[DHC_MAX_CLASSES];
    assert_int_equal(dhc_schedule_choose(c.s, &(DhcTargetFacts){.vector_bytes = 64}, &c.arena, cls), 3);
    assert_int_equal(cls[1].v[0], 1 + ir[0]);
    assert_int_equal(conform_prog(cls[1].guard, case_dims(&c)) != 0, shape[i][0] >= 16 && shape[i][1] <= 32);
    c.plain = "row", c.plain_v0 = 1 + ir[0];
    case_check(&c, NULL, NULL, 0);
    case_free(&c);
  }
}

/* sums down many rows of many columns: several vectors of columns side by side, with the same bits */
static void row_wide(void **st) {
  (void)st;
  static const int64_t shape[][2] = {{64, 64}, {65, 131}, {4100, 70}, {63, 64}, {64, 63}, {3, 200}, {4, 70}, {1, 33}, {5, 40}};
  for (size_t i = 0; i < sizeof shape / sizeof *shape; i++) {
    SpecCase c;
    case_init(&c, DHC_KIND_ROW);
    int j = case_axis(&c, DHC_AXIS_PAR, shape[i][1], false), r = case_axis(&c, DHC_AXIS_RED, shape[i][0], false);
    int x = case_load(&c, case_operand(&c, DHC_F32, -1, 2, (int[]){r, j}));
    case_operand(&c, DHC_F32, case_fold(&c, DHC_OP_REDUCE_SUM, DHC_F32, 2, x, -1), 1, &j);
    DhcSchedule cls[DHC_MAX_CLASSES];
    assert_int_equal(dhc_schedule_choose(c.s, &(DhcTargetFacts){.vector_bytes = 64}, &c.arena, cls), 3);
    assert_int_equal(cls[1].v[3], 64);
    assert_int_equal(conform_prog(cls[1].guard, case_dims(&c)) != 0, shape[i][0] >= 64 && shape[i][1] >= 64);
    case_check(&c, NULL, (int[8]){0, 128}, 2e-4);
    case_free(&c);
  }
}

/* what may not be split: a fold made from another, an output over folded axes, a chain */
static void row_whole(void **st) {
  (void)st;
  for (int form = 0; form < 4; form++) {
    SpecCase c;
    case_init(&c, DHC_KIND_ROW);
    int i = case_axis(&c, DHC_AXIS_PAR, 2, false), r = case_axis(&c, DHC_AXIS_RED, 50, false), ir[2] = {i, r};
    int x = case_load(&c, case_operand(&c, DHC_F32, -1, 2, ir));
    int m = case_fold(&c, form == 1 ? DHC_OP_ADD : DHC_OP_REDUCE_SUM, DHC_F32, 2, x, -1);
    if (form == 2) m = case_fold(&c, DHC_OP_REDUCE_MAX, DHC_F32, 2, case_ew(&c, DHC_OP_SUB, x, m, -1), -1);
    if (form == 3) case_operand(&c, DHC_F32, case_ew(&c, DHC_OP_SUB, x, m, -1), 2, ir);
    else case_operand(&c, DHC_F32, m, 1, &i);
    assert_int_equal(dhc_spec_may_split(c.s), form == 0);
    DhcSchedule k[DHC_MAX_CLASSES];
    assert_int_equal(dhc_schedule_choose(c.s, &(DhcTargetFacts){.vector_bytes = 64}, &c.arena, k), 1 + (form == 0));
    case_free(&c);
  }
}

/* layer norm; sums by lanes and in order have the same bits */
static void row_mean_var(void **st) {
  (void)st;
  for (int i = 0; i < N_ODD; i++) {
    SpecCase c;
    case_init(&c, DHC_KIND_ROW);
    int ir[2] = {case_axis(&c, DHC_AXIS_PAR, 19, false), case_axis(&c, DHC_AXIS_RED, odd[i], false)};
    int x = case_load(&c, case_operand(&c, DHC_F32, -1, 2, ir));
    int g = case_load(&c, case_operand(&c, DHC_F32, -1, 1, &ir[1]));
    int n = case_const(&c, 1 / (double)odd[i]);
    int m = case_ew(&c, DHC_OP_MUL, case_fold(&c, DHC_OP_REDUCE_SUM, DHC_F32, 2, x, -1), n, -1);
    int d = case_ew(&c, DHC_OP_SUB, x, m, -1);
    int v = case_fold(&c, DHC_OP_REDUCE_SUM, DHC_F32, 2, case_ew(&c, DHC_OP_MUL, d, d, -1), -1);
    v = case_ew(&c, DHC_OP_ADD, case_ew(&c, DHC_OP_MUL, v, n, -1), case_const(&c, 1e-5), -1);
    int y = case_ew(&c, DHC_OP_MUL, d, case_ew(&c, DHC_OP_RSQRT, v, -1, -1), -1);
    case_operand(&c, DHC_F32, case_ew(&c, DHC_OP_MUL, y, g, -1), 2, ir);
    c.plain = "row", c.plain_v0 = 1;
    case_check(&c, NULL, (int[8]){2, 300}, odd[i] > 1 ? 1e-5 : 1e-3);
    case_free(&c);
  }
}

/* 2x2 window maximum with its index, a guarded shift, a gather, integers */
static void map_access(void **st) {
  (void)st;
  for (int64_t w = 2; w < 40; w += 5) {
    SpecCase c;
    case_init(&c, DHC_KIND_MAP);
    int i = case_axis(&c, DHC_AXIS_PAR, 5, false), j = case_axis(&c, DHC_AXIS_PAR, w, false);
    int ij[2] = {i, j};
    int idx = case_operand(&c, DHC_I32, -1, 2, ij);
    int x = case_operand(&c, DHC_F32, -1, 0, NULL);
    case_term(&c, x, (DhcTerm){.n_axes = 1, .axis = {i}, .coef = {1}, .div = 1, .index = -1}, w, 0, 0);
    case_term(&c, x, (DhcTerm){.n_axes = 1, .axis = {j}, .coef = {1}, .div = 1, .index = -1,
                               .guarded = true, .unit = true}, 1, -3, w);
    int table = case_operand(&c, DHC_F32, -1, 1, &i);
    int li = case_load(&c, idx);
    case_term(&c, table, (DhcTerm){.div = 1, .index = li, .guarded = true}, 5, 0, 7);
    int half = case_operand(&c, DHC_F32, -1, 0, NULL);
    case_term(&c, half, (DhcTerm){.n_axes = 1, .axis = {j}, .coef = {1}, .div = 2, .index = -1,
                                  .guarded = true, .unit = true}, 1, -1, w / 2);
    int third = case_operand(&c, DHC_F32, -1, 0, NULL);
    case_term(&c, third, (DhcTerm){.n_axes = 2, .axis = {i, j}, .coef = {2, -1}, .div = 3, .index = -1,
                                   .guarded = true, .unit = true}, 1, 6, 4);
    c.s->operand[table].term[0].unit = false; /* dense over i: stride 1, then rows of 5 */
    int n = case_ew(&c, DHC_OP_ADD, case_load(&c, x), case_load(&c, table), -1);
    n = case_ew(&c, DHC_OP_ADD, n, case_load(&c, half), -1);
    n = case_ew(&c, DHC_OP_SUB, n, case_load(&c, third), -1);
    case_operand(&c, DHC_F32, n, 2, ij);
    int seven = case_node(&c, (DhcSpecNode){.kind = DHC_SN_CONST, .dtype = DHC_I32, .a = {-1, -1, -1, -1}, .i = -3});
    case_operand(&c, DHC_I32, case_ew(&c, DHC_OP_FLOORDIV, li, seven, -1), 2, ij);
    case_operand(&c, DHC_I32, case_ew(&c, DHC_OP_REM, li, seven, -1), 2, ij);
    case_operand(&c, DHC_BOOL, case_ew(&c, DHC_OP_LT, li, case_ew(&c, DHC_OP_ABS, seven, -1, -1), -1), 2, ij);
    for (int v = 0; v < 3; v++) case_check(&c, NULL, (int[8]){v, 16}, 1e-6);
    case_free(&c);
  }
}

/* Few places looked up in each of many rows: lanes are rows, with the same bits; a place out of bounds is 0. */
static void map_places(void **st) {
  (void)st;
  static const int64_t shape[][2] = {{40, 1}, {16, 4}, {33, 3}, {15, 2}, {40, 5}};
  for (size_t i = 0; i < sizeof shape / sizeof *shape; i++) {
    SpecCase c;
    case_init(&c, DHC_KIND_MAP);
    int ij[2] = {case_axis(&c, DHC_AXIS_PAR, shape[i][0], false), case_axis(&c, DHC_AXIS_PAR, shape[i][1], false)};
    int at = case_load(&c, case_operand(&c, DHC_I64, -1, 2, ij)), x = case_operand(&c, DHC_F32, -1, 0, NULL);
    case_term(&c, x, (DhcTerm){.n_axes = 1, .axis = {ij[0]}, .coef = {1}, .div = 1, .index = -1}, 7, 0, 0);
    case_term(&c, x, (DhcTerm){.div = 1, .index = at, .guarded = true, .unit = true}, 1, 0, 7);
    c.int_hi = 8;
    case_operand(&c, DHC_F32, case_load(&c, x), 2, ij);
    DhcSchedule cls[DHC_MAX_CLASSES];
    assert_int_equal(dhc_schedule_choose(c.s, &(DhcTargetFacts){.vector_bytes = 64}, &c.arena, cls), 2);
    assert_int_equal(cls[0].v[0], 1 + ij[0]);
    assert_int_equal(conform_prog(cls[0].guard, case_dims(&c)) != 0, shape[i][0] >= 16 && shape[i][1] <= 4);
    case_check(&c, NULL, NULL, 0);
    case_free(&c);
  }
}

/* A map of matrices that lie across its results: tiles of them are turned, with the same bits; other axes, tiles that are not whole, and
 * a matrix that both of two loads walk. */
static void map_turned(void **st) {
  (void)st;
  static const int64_t shape[][3] = {{1, 16, 16}, {3, 17, 40}, {2, 8, 6}, {1, 7, 50}, {2, 50, 5}};
  for (size_t k = 0; k < sizeof shape / sizeof *shape; k++) {
    SpecCase c;
    case_init(&c, DHC_KIND_MAP);
    int i = case_axis(&c, DHC_AXIS_PAR, shape[k][0], false), u = case_axis(&c, DHC_AXIS_PAR, shape[k][1], false), v = case_axis(&c, DHC_AXIS_PAR, shape[k][2], false);
    int x = case_load(&c, case_operand(&c, DHC_F32, -1, 3, (int[]){i, v, u})), y = case_load(&c, case_operand(&c, DHC_F32, -1, 3, (int[]){i, u, v}));
    int w = case_load(&c, case_operand(&c, DHC_F32, -1, 2, (int[]){v, u})), row = case_load(&c, case_operand(&c, DHC_F32, -1, 1, &u));
    int z = case_ew(&c, DHC_OP_ADD, case_ew(&c, DHC_OP_MUL, x, y, -1), case_ew(&c, DHC_OP_SUB, w, row, -1), -1);
    case_operand(&c, DHC_F32, z, 3, (int[]){i, u, v});
    case_operand(&c, DHC_F32, x, 3, (int[]){i, u, v});
    DhcSpecTurned turned;
    assert_true(dhc_spec_turned(c.s, &turned));
    assert_true(turned.n == 2 && turned.down == u && turned.along == v);
    DhcSchedule cls[DHC_MAX_CLASSES];
    assert_int_equal(dhc_schedule_choose(c.s, &(DhcTargetFacts){.vector_bytes = 64}, &c.arena, cls), 2);
    assert_string_equal(cls[0].template_name, "map_turned");
    assert_int_equal(conform_prog(cls[0].guard, case_dims(&c)) != 0, shape[k][1] >= 8 && shape[k][2] >= 6);
    case_check(&c, NULL, (int[8]){0, 256}, 1e-6);
    case_free(&c);
  }
}

/* Steps that lie side by side, of little more than the recurrence, are walked row by row; others by vectors of rows. */
static void scan_rows(void **st) {
  (void)st;
  for (int dear = 0; dear < 2; dear++) {
    SpecCase c;
    case_init(&c, DHC_KIND_SCAN);
    int ij[2] = {case_axis(&c, DHC_AXIS_PAR, 5, false), case_axis(&c, DHC_AXIS_SEQ, 33, false)};
    int x = case_load(&c, case_operand(&c, DHC_F32, -1, 2, ij)), h = case_load(&c, case_operand(&c, DHC_F32, -1, 1, ij));
    int a = dear ? case_ew(&c, DHC_OP_TANH, x, -1, -1) : case_const(&c, 0.5);
    c.s->n_attrs = 1;
    int y = case_node(&c, (DhcSpecNode){.kind = DHC_SN_SCAN, .op = DHC_OP_LINEAR_SCAN, .dtype = DHC_F32, .a = {a, x, h, -1}});
    case_operand(&c, DHC_F32, y, 2, ij);
    DhcSchedule cls[DHC_MAX_CLASSES];
    assert_int_equal(dhc_schedule_choose(c.s, &(DhcTargetFacts){.vector_bytes = 64}, &c.arena, cls), 1);
    assert_int_equal(cls[0].v[2], !dear);
    case_check(&c, NULL, NULL, 1e-5);
    case_free(&c);
  }
}

static void row_window(void **st) {
  (void)st;
  for (int64_t w = 1; w < 40; w += 6) {
    SpecCase c;
    case_init(&c, DHC_KIND_ROW);
    int y = case_axis(&c, DHC_AXIS_PAR, 3, false), x = case_axis(&c, DHC_AXIS_PAR, w, false);
    int wy = case_axis(&c, DHC_AXIS_RED, 2, true), wx = case_axis(&c, DHC_AXIS_RED, 2, true);
    int in = case_operand(&c, DHC_F32, -1, 0, NULL);
    int64_t row = 2 * w + 1;
    case_term(&c, in, (DhcTerm){.n_axes = 2, .axis = {y, wy}, .coef = {2, 1}, .div = 1, .index = -1,
                                .guarded = true}, row, 0, 7);
    case_term(&c, in, (DhcTerm){.n_axes = 2, .axis = {x, wx}, .coef = {2, 1}, .div = 1, .index = -1,
                                .guarded = true, .unit = true}, 1, 0, row);
    int v = case_load(&c, in), yx[2] = {y, x};
    uint32_t axes = 1u << wy | 1u << wx;
    case_operand(&c, DHC_F32, case_fold(&c, DHC_OP_REDUCE_MAX, DHC_F32, axes, v, -1), 2, yx);
    case_operand(&c, DHC_I32, case_fold(&c, DHC_OP_ARGMAX, DHC_I32, axes, v, -1), 2, yx);
    case_operand(&c, DHC_F32, case_fold(&c, DHC_OP_REDUCE_SUM, DHC_F32, axes, v, -1), 2, yx);
    case_check(&c, NULL, NULL, 1e-6);
    case_free(&c);
  }
}

/* relu(x w^T + b), any order of axes */
static void dot_plain(void **st) {
  (void)st;
  for (int k = 1; k < 60; k += 19)
    for (int v = 0; v < 4; v++) {
      SpecCase c;
      case_init(&c, DHC_KIND_DOT);
      int i = case_axis(&c, DHC_AXIS_PAR, 7, false), j = case_axis(&c, DHC_AXIS_PAR, 18, false);
      int r = case_axis(&c, DHC_AXIS_RED, k, false);
      int x = case_load(&c, case_operand(&c, DHC_F32, -1, 2, (int[]){i, r}));
      int w = case_load(&c, case_operand(&c, DHC_F32, -1, 2, (int[]){j, r}));
      int b = case_load(&c, case_operand(&c, DHC_F32, -1, 1, &j));
      int n = case_ew(&c, DHC_OP_ADD, case_fold(&c, DHC_OP_DOT_GENERAL, DHC_F32, 4, x, w), b, -1);
      case_operand(&c, DHC_F32, case_ew(&c, DHC_OP_MAX, n, case_const(&c, 0), -1), 2, (int[]){i, j});
      case_check(&c, NULL, (int[8]){v, 32}, 1e-5);
      case_free(&c);
    }
}

/* h over (b, t, d) both ways; y[b,t,d] = sum over n of h[b,t,d,n] c[b,t,n] */
static void scans(void **st) {
  (void)st;
  for (int64_t d = 1; d < 40; d += 13)
    for (int reverse = 0; reverse < 2; reverse++)
      for (int states = 0; states < 3; states++) {
        SpecCase c;
        case_init(&c, DHC_KIND_SCAN);
        c.lo = -0.9, c.hi = 0.9;
        c.s->n_attrs = 1, c.s->attr[0] = reverse;
        int b = case_axis(&c, DHC_AXIS_PAR, 3, false), j = case_axis(&c, DHC_AXIS_PAR, d, false);
        int t = case_axis(&c, DHC_AXIS_SEQ, 9, false);
        int btj[3] = {b, t, j};
        int x = case_load(&c, case_operand(&c, DHC_F32, -1, 3, btj));
        int y;
        if (!states) {
          int a = case_load(&c, case_operand(&c, DHC_F32, -1, 3, btj));
          int h0 = case_load(&c, case_operand(&c, DHC_F32, -1, 2, (int[]){b, j}));
          y = case_node(&c, (DhcSpecNode){.kind = DHC_SN_SCAN, .op = DHC_OP_LINEAR_SCAN, .dtype = DHC_F32, .a = {a, x, h0, -1}});
        } else {
          int n = case_axis(&c, DHC_AXIS_RED, 5, states == 1);
          int a = case_load(&c, case_operand(&c, DHC_F32, -1, 2, (int[]){j, n}));
          int w = case_load(&c, case_operand(&c, DHC_F32, -1, 3, (int[]){b, t, n}));
          int h0 = case_const(&c, 0);
          int h = case_node(&c, (DhcSpecNode){.kind = DHC_SN_SCAN, .op = DHC_OP_LINEAR_SCAN, .dtype = DHC_F32,
                                              .a = {case_ew(&c, DHC_OP_EXP, case_ew(&c, DHC_OP_MUL, a, x, -1), -1, -1), case_ew(&c, DHC_OP_MUL, x, w, -1), h0, -1}});
          y = case_fold(&c, DHC_OP_REDUCE_SUM, DHC_F32, 1u << n, case_ew(&c, DHC_OP_MUL, h, w, -1), -1);
        }
        case_operand(&c, DHC_F32, y, 3, btj);
        for (int v = 0; v < 3; v++) case_check(&c, NULL, (int[8]){v, 16}, 1e-5);
        case_free(&c);
      }
}

/* table[index[i], j] += u[i, j], both orders of importance; indices outside are dropped */
static void scatters(void **st) {
  (void)st;
  for (int64_t n = 1; n < 60; n += 19)
    for (int v = 0; v < 3; v += 2) {
      SpecCase c;
      case_init(&c, DHC_KIND_SCATTER);
      int i = case_axis(&c, DHC_AXIS_PAR, 23, false), j = case_axis(&c, DHC_AXIS_PAR, n, false);
      int ix = case_load(&c, case_operand(&c, DHC_I32, -1, 1, &i));
      int u = case_load(&c, case_operand(&c, DHC_F32, -1, 2, (int[]){i, j}));
      int out = case_operand(&c, DHC_F32, u, 1, &j);
      case_term(&c, out, (DhcTerm){.div = 1, .index = ix, .guarded = true}, n, -1, 6);
      case_check(&c, NULL, (int[8]){v, 16}, 1e-6);
      case_free(&c);
    }
}

/* random bits are exact, casts of every pair of dtypes */
static void random_and_casts(void **st) {
  (void)st;
  SpecCase c;
  case_init(&c, DHC_KIND_MAP);
  int a = case_axis(&c, DHC_AXIS_PAR, 37, false);
  c.s->n_args = 3;
  c.arg[0] = 0x123456789a, c.arg[1] = 7, c.arg[2] = 0x100000005;
  int k[4];
  for (int i = 0; i < 3; i++)
    k[i] = case_node(&c, (DhcSpecNode){.kind = DHC_SN_ARG, .dtype = DHC_I64, .a = {-1, -1, -1, -1}, .operand = i});
  k[3] = case_node(&c, (DhcSpecNode){.kind = DHC_SN_AXIS, .dtype = DHC_I64, .a = {-1, -1, -1, -1}, .operand = a});
  int r = case_node(&c, (DhcSpecNode){.kind = DHC_SN_RANDOM, .dtype = DHC_U32, .a = {k[0], k[1], k[2], k[3]}});
  case_operand(&c, DHC_U32, r, 1, &a);
  case_check(&c, NULL, NULL, 0);
  case_free(&c);
  static const dhc_dtype all[] = {DHC_F64, DHC_F32, DHC_I64, DHC_I32, DHC_I16, DHC_I8, DHC_U32, DHC_U16, DHC_U8, DHC_BOOL};
  for (int from = 0; from < 10; from++) {
    case_init(&c, DHC_KIND_MAP);
    a = case_axis(&c, DHC_AXIS_PAR, 67, false);
    c.lo = -70000, c.hi = 70000, c.int_hi = from == 2 ? 1000000 : 127;
    int x = case_load(&c, case_operand(&c, all[from], -1, 1, &a));
    for (int to = 0; to < 10; to++)
      case_operand(&c, all[to], to == from ? x : case_node(&c, (DhcSpecNode){.kind = DHC_SN_EW, .op = DHC_OP_CAST, .dtype = all[to], .a = {x, -1, -1, -1}}), 1, &a);
    case_check(&c, NULL, NULL, 1e-6);
    case_free(&c);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(map_flat), cmocka_unit_test(map_broadcast), cmocka_unit_test(map_shared), cmocka_unit_test(row_softmax), cmocka_unit_test(row_maxima),
      cmocka_unit_test(row_columns), cmocka_unit_test(row_all), cmocka_unit_test(row_mean_var),
      cmocka_unit_test(row_split), cmocka_unit_test(row_short), cmocka_unit_test(row_wide), cmocka_unit_test(row_whole), cmocka_unit_test(sums_of_blocks),
      cmocka_unit_test(map_access), cmocka_unit_test(map_places), cmocka_unit_test(map_turned), cmocka_unit_test(scan_rows), cmocka_unit_test(row_window), cmocka_unit_test(dot_plain),
      cmocka_unit_test(scans), cmocka_unit_test(scatters), cmocka_unit_test(random_and_casts), cmocka_unit_test(row_softmax_shared)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
