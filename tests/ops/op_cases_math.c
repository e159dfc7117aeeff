/* Cases of reductions, contractions, convolutions and windows. */
#include "tests/ops/op_gen.h"

static void name_shape(Gen *g, Shape s) {
  g->c.name = dhc_arena_printf(&g->arena, "%s %s", g->c.name, shape_text(g, s));
}

static int64_t value_of(int64_t d) {
  return d >= SYM_UNIT ? d % SYM_UNIT : d;
}

/* ---- reductions -------------------------------------------------------------- */

static void reduce_case(Gen *g, dhc_dtype t, Shape of, Shape axes, bool keep, bool ties) {
  case_begin(g, "%s%s%s axes", dhc_dtype_name(t), keep ? " keep" : "", ties ? " ties" : "");
  name_shape(g, axes);
  name_shape(g, of);
  bool sum = g->op == DHC_OP_REDUCE_SUM;
  if (sum && dhc_dtype_is_float(t)) {
    g->c.error = DHC_CASE_SUM;
    for (int k = 0; k < axes.rank; k++) g->c.terms *= value_of(of.dim[axes.dim[k]]);
  }
  if (ties)
    arg_ties(g, t, of);
  else if (!sum && dhc_dtype_is_float(t))
    arg_distinct(g, t, of);
  else
    arg(g, t, of);
  attr_ints_n(g, axes.rank, axes.dim);
  attr_b(g, keep);
  case_end(g);
}

static void reduces(Gen *g) {
  static const struct {
    Shape of, axes;
  } t[] = {{{0, {0}}, {0, {0}}},          {{1, {1}}, {1, {0}}},
           {{2, {17, 33}}, {1, {0}}},     {{2, {17, 33}}, {1, {1}}},
           {{2, {17, 33}}, {2, {0, 1}}},  {{1, {15}}, {1, {0}}},
           {{1, {16}}, {1, {0}}},         {{1, {17}}, {1, {0}}},
           {{3, {2, 3, 5}}, {1, {1}}},    {{3, {2, 3, 5}}, {2, {0, 2}}},
           {{2, {4, 5}}, {0, {0}}},       {{2, {B(3), 5}}, {1, {0}}},
           {{2, {B(3), 5}}, {1, {1}}},    {{3, {B(2), L(3), 4}}, {2, {0, 1}}}};
  for (int k = 0; k < (int)(sizeof t / sizeof *t); k++) {
    reduce_case(g, g->flt, t[k].of, t[k].axes, false, false);
    reduce_case(g, g->flt, t[k].of, t[k].axes, true, false);
    reduce_case(g, DHC_I32, t[k].of, t[k].axes, k % 2, false);
    if (g->op != DHC_OP_REDUCE_SUM) reduce_case(g, g->flt, t[k].of, t[k].axes, false, true);
  }
  /* more than one block of 4,096, and not a multiple of 16 */
  reduce_case(g, g->flt, SHAPE(2, 4097), SHAPE(1), false, g->op != DHC_OP_REDUCE_SUM);
  reduce_case(g, g->flt, SHAPE(91, 101), SHAPE(0, 1), false, g->op != DHC_OP_REDUCE_SUM);
}

static void argmaxes(Gen *g) {
  static const Shape of[] = {{1, {1}},       {2, {17, 33}}, {1, {16}},      {1, {17}},
                             {3, {2, 3, 5}}, {2, {B(3), 5}}, {2, {1, 15}}};
  for (int k = 0; k < (int)(sizeof of / sizeof *of); k++) {
    for (int axis = 0; axis < of[k].rank; axis++) {
      for (int ties = 0; ties < 2; ties++) {
        case_begin(g, "axis %d%s", axis, ties ? " ties" : "");
        name_shape(g, of[k]);
        if (ties)
          arg_ties(g, g->flt, of[k]);
        else
          arg(g, k % 2 ? g->flt : DHC_I32, of[k]);
        attr_i(g, axis);
        case_end(g);
      }
    }
  }
}

void cases_reduce(Gen *g) {
  if (g->op == DHC_OP_REDUCE_SUM || g->op == DHC_OP_REDUCE_MAX || g->op == DHC_OP_REDUCE_MIN)
    reduces(g);
  if (g->op == DHC_OP_ARGMAX) argmaxes(g);
}

/* ---- contractions ---------------------------------------------------------------- */

static void dots(Gen *g) {
  static const struct {
    Shape a, b, batch_a, batch_b, contract_a, contract_b;
  } t[] = {
      {{0, {0}}, {0, {0}}, {0, {0}}, {0, {0}}, {0, {0}}, {0, {0}}},
      {{1, {17}}, {1, {17}}, {0, {0}}, {0, {0}}, {1, {0}}, {1, {0}}},
      {{1, {3}}, {1, {5}}, {0, {0}}, {0, {0}}, {0, {0}}, {0, {0}}},
      {{2, {17, 33}}, {2, {33, 5}}, {0, {0}}, {0, {0}}, {1, {1}}, {1, {0}}},
      {{2, {4, 16}}, {2, {7, 16}}, {0, {0}}, {0, {0}}, {1, {1}}, {1, {1}}},
      {{2, {15, 4}}, {2, {15, 17}}, {0, {0}}, {0, {0}}, {1, {0}}, {1, {0}}},
      {{2, {1, 1}}, {2, {1, 1}}, {0, {0}}, {0, {0}}, {1, {1}}, {1, {0}}},
      {{3, {2, 3, 5}}, {3, {2, 5, 4}}, {1, {0}}, {1, {0}}, {1, {2}}, {1, {1}}},
      {{3, {3, 2, 5}}, {3, {4, 5, 2}}, {1, {1}}, {1, {2}}, {1, {2}}, {1, {1}}},
      {{3, {2, 3, 4}}, {3, {3, 4, 5}}, {0, {0}}, {0, {0}}, {2, {1, 2}}, {2, {0, 1}}},
      {{3, {2, 3, 4}}, {3, {4, 3, 5}}, {0, {0}}, {0, {0}}, {2, {1, 2}}, {2, {1, 0}}},
      {{4, {2, 3, 4, 5}}, {4, {2, 3, 6, 5}}, {2, {0, 1}}, {2, {0, 1}}, {1, {3}}, {1, {3}}},
      {{2, {B(3), 8}}, {2, {8, 9}}, {0, {0}}, {0, {0}}, {1, {1}}, {1, {0}}},
      {{3, {B(2), L(3), 4}}, {2, {5, 4}}, {0, {0}}, {0, {0}}, {1, {2}}, {1, {1}}},
      {{2, {B(3), 4}}, {2, {B(3), 5}}, {0, {0}}, {0, {0}}, {1, {0}}, {1, {0}}}};
  for (int k = 0; k < (int)(sizeof t / sizeof *t); k++) {
    case_begin(g, "%d", k);
    name_shape(g, t[k].a);
    name_shape(g, t[k].b);
    g->c.error = DHC_CASE_SUM;
    for (int j = 0; j < t[k].contract_a.rank; j++)
      g->c.terms *= value_of(t[k].a.dim[t[k].contract_a.dim[j]]);
    arg(g, g->flt, t[k].a);
    arg(g, g->flt, t[k].b);
    attr_ints_n(g, t[k].batch_a.rank, t[k].batch_a.dim);
    attr_ints_n(g, t[k].batch_b.rank, t[k].batch_b.dim);
    attr_ints_n(g, t[k].contract_a.rank, t[k].contract_a.dim);
    attr_ints_n(g, t[k].contract_b.rank, t[k].contract_b.dim);
    case_end(g);
  }
}

/* Non-falling, from `lead` to n - `tail`. */
static void offsets(Gen *g, int64_t bins, int64_t n, int64_t lead, int64_t tail) {
  DhcArray *o = arg_index(g, DHC_I32, SHAPE(bins + 1), lead, n - tail + 1);
  o->i[0] = lead;
  o->i[bins] = n - tail;
  for (int64_t i = 1; i <= bins; i++)
    for (int64_t j = i; j > 0 && o->i[j - 1] > o->i[j]; j--) {
      int64_t keep = o->i[j];
      o->i[j] = o->i[j - 1];
      o->i[j - 1] = keep;
    }
}

static void raggeds(Gen *g) {
  static const struct {
    int64_t t, k, e, n, lead, tail;
  } r[] = {{1, 1, 1, 1, 0, 0},  {17, 33, 4, 5, 0, 0}, {16, 8, 2, 15, 0, 0}, {15, 3, 7, 17, 0, 0},
           {9, 5, 3, 4, 2, 0},  {9, 5, 3, 4, 0, 3},   {5, 2, 8, 3, 0, 0},   {B(6), 4, 2, 3, 0, 0},
           {B(12), 8, 1, 8, 0, 0}};
  bool dw = g->op == DHC_OP_RAGGED_DOT_DW;
  for (int k = 0; k < (int)(sizeof r / sizeof *r); k++) {
    case_begin(g, "T %lld K %lld E %lld N %lld", (long long)value_of(r[k].t), (long long)r[k].k,
               (long long)r[k].e, (long long)r[k].n);
    g->c.error = DHC_CASE_SUM;
    g->c.terms = dw ? value_of(r[k].t) : r[k].k;
    arg(g, g->flt, SHAPE(r[k].t, r[k].k));
    arg(g, g->flt, dw ? SHAPE(r[k].t, r[k].n) : SHAPE(r[k].e, r[k].k, r[k].n));
    offsets(g, r[k].e, value_of(r[k].t), r[k].lead, r[k].tail);
    case_end(g);
  }
}

void cases_contract(Gen *g) {
  if (g->op == DHC_OP_DOT_GENERAL) dots(g);
  if (g->op == DHC_OP_RAGGED_DOT || g->op == DHC_OP_RAGGED_DOT_DW) raggeds(g);
}

/* ---- convolutions ------------------------------------------------------------------- */

void cases_conv(Gen *g) {
  static const struct {
    int n_s;
    int64_t n, c, o, groups, size[2], kernel[2], stride[2], low[2], high[2], dilation[2];
  } t[] = {
      {1, 1, 1, 1, 1, {1}, {1}, {1}, {0}, {0}, {1}},
      {1, 2, 3, 4, 1, {17}, {3}, {1}, {1}, {1}, {1}},
      {1, 2, 4, 4, 4, {9}, {4}, {1}, {3}, {0}, {1}},       /* causal, depthwise */
      {1, 2, 3, 3, 3, {10}, {3}, {1}, {1}, {6}, {2}},      /* pads on either side of the reach */
      {1, 1, 2, 2, 2, {6}, {10}, {1}, {9}, {1}, {1}},      /* too many taps to write out */
      {1, B(2), 2, 4, 2, {16}, {3}, {2}, {1}, {0}, {1}},
      {1, 2, 2, 2, 1, {15}, {3}, {1}, {2}, {2}, {2}},
      {2, 1, 1, 1, 1, {1, 1}, {1, 1}, {1, 1}, {0, 0}, {0, 0}, {1, 1}},
      {2, 2, 3, 2, 1, {8, 9}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, {1, 1}},
      {2, B(2), 3, 4, 1, {7, 7}, {3, 3}, {2, 2}, {1, 1}, {1, 1}, {1, 1}},
      {2, 1, 4, 6, 2, {6, 5}, {2, 3}, {1, 2}, {0, 1}, {1, 0}, {1, 1}},
      {2, 2, 2, 2, 1, {7, 8}, {3, 2}, {1, 1}, {2, 0}, {0, 2}, {2, 3}},
      {2, 1, 3, 3, 3, {5, 6}, {3, 3}, {2, 3}, {2, 1}, {1, 2}, {1, 1}},
      {2, 1, 2, 3, 1, {5, 5}, {5, 5}, {1, 1}, {0, 0}, {0, 0}, {1, 1}},
      {2, 1, 2, 16, 1, {4, 4}, {1, 1}, {1, 1}, {0, 0}, {0, 0}, {1, 1}},
      {2, 1, 1, 2, 1, {8, 8}, {2, 2}, {4, 3}, {0, 0}, {0, 0}, {1, 1}}, /* gaps between taps */
      /* a symbol as extent: the formula below leaves it as it is, as stride is 1 and y is as
       * large as x */
      {1, B(2), 2, 3, 1, {L(7)}, {3}, {1}, {1}, {1}, {1}},
      {2, 1, 2, 3, 1, {4, L(5)}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, {1, 1}}};
  if (g->op != DHC_OP_CONV && g->op != DHC_OP_CONV_DX && g->op != DHC_OP_CONV_DW) return;
  for (int k = 0; k < (int)(sizeof t / sizeof *t); k++) {
    int n_s = t[k].n_s;
    Shape x = {n_s + 2, {t[k].n, t[k].c}}, w = {n_s + 2, {t[k].o, t[k].c / t[k].groups}};
    Shape y = {n_s + 2, {t[k].n, t[k].o}}, size = {n_s, {0}};
    int64_t taps = 1, places = 1;
    for (int s = 0; s < n_s; s++) {
      size.dim[s] = x.dim[s + 2] = t[k].size[s];
      w.dim[s + 2] = t[k].kernel[s];
      y.dim[s + 2] = (t[k].size[s] + t[k].low[s] + t[k].high[s] -
                      t[k].dilation[s] * (t[k].kernel[s] - 1) - 1) / t[k].stride[s] + 1;
      taps *= t[k].kernel[s];
      places *= value_of(y.dim[s + 2]);
    }
    case_begin(g, "%d", k);
    name_shape(g, x);
    name_shape(g, w);
    g->c.error = DHC_CASE_SUM;
    bool dx = g->op == DHC_OP_CONV_DX, dw = g->op == DHC_OP_CONV_DW;
    g->c.terms = dw ? value_of(t[k].n) * places : taps * (dx ? t[k].o : t[k].c) / t[k].groups;
    arg(g, g->flt, dx ? y : x);
    arg(g, g->flt, dw ? y : w);
    attr_ints_n(g, n_s, t[k].stride);
    attr_ints_n(g, n_s, t[k].low);
    attr_ints_n(g, n_s, t[k].high);
    attr_ints_n(g, n_s, t[k].dilation);
    attr_i(g, t[k].groups);
    if (dx) attr_dims(g, size);
    Shape kernel = {n_s, {0}};
    for (int s = 0; s < n_s; s++) kernel.dim[s] = t[k].kernel[s];
    if (dw) attr_dims(g, kernel);
    case_end(g);
  }
}

/* ---- windows ---------------------------------------------------------------------- */

void cases_window(Gen *g) {
  static const struct {
    Shape of;
    int n_w;
    int64_t window[2], stride[2];
  } t[] = {{{1, {1}}, 1, {1}, {1}},           {{1, {17}}, 1, {2}, {2}},
           {{2, {17, 33}}, 2, {2, 2}, {2, 2}}, {{2, {17, 33}}, 1, {3}, {1}},
           {{4, {1, 2, 8, 8}}, 2, {2, 2}, {2, 2}}, {{4, {2, 1, 7, 6}}, 2, {3, 2}, {1, 2}},
           {{3, {2, 3, 5}}, 1, {5}, {1}},     {{3, {B(2), 5, 6}}, 2, {2, 3}, {3, 2}},
           {{2, {B(3), 16}}, 1, {4}, {4}},    {{2, {3, 15}}, 1, {2}, {5}}};
  bool max = g->op == DHC_OP_WINDOW_MAX, gather = g->op == DHC_OP_WINDOW_GATHER;
  if (!max && !gather && g->op != DHC_OP_WINDOW_SCATTER) return;
  for (int k = 0; k < (int)(sizeof t / sizeof *t); k++) {
    for (int ties = 0; ties < (max ? 2 : 1); ties++) {
      Shape y = t[k].of, size = {t[k].n_w, {0}};
      int64_t taps = 1;
      for (int s = 0; s < t[k].n_w; s++) {
        int d = y.rank - t[k].n_w + s;
        size.dim[s] = y.dim[d];
        y.dim[d] = (y.dim[d] - t[k].window[s]) / t[k].stride[s] + 1;
        taps *= t[k].window[s];
      }
      case_begin(g, "%d%s", k, ties ? " ties" : "");
      name_shape(g, t[k].of);
      if (max && ties) arg_ties(g, g->flt, t[k].of);
      if (max && !ties) arg_distinct(g, g->flt, t[k].of);
      if (!max) {
        arg(g, g->flt, gather ? t[k].of : y);
        arg_index(g, DHC_I32, y, 0, taps);
      }
      attr_ints_n(g, t[k].n_w, t[k].window);
      attr_ints_n(g, t[k].n_w, t[k].stride);
      if (!max && !gather) {
        g->c.error = DHC_CASE_SUM;
        g->c.terms = taps;
        attr_dims(g, size);
      }
      case_end(g);
    }
  }
}
