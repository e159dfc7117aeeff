/* Cases of views, data movement and routing. */
#include "tests/ops/op_gen.h"

static void name_shape(Gen *g, Shape s) {
  g->c.name = dhc_arena_printf(&g->arena, "%s %s", g->c.name, shape_text(g, s));
}

/* ---- views ------------------------------------------------------------------- */

static void reshapes(Gen *g) {
  static const Shape from[] = {{0, {0}},     {1, {1}},       {2, {17, 33}}, {1, {16}},
                               {1, {17}},    {3, {2, 3, 5}}, {2, {1, 15}},  {2, {B(3), 8}},
                               {3, {B(2), L(3), 4}}, {2, {B(3), 6}}};
  static const Shape to[] = {{1, {1}},     {0, {0}},      {2, {33, 17}}, {4, {2, 2, 2, 2}},
                             {3, {1, 17, 1}}, {2, {6, 5}}, {1, {15}},     {3, {B(3), 2, 4}},
                             {3, {B(2), L(3), 4}}, {4, {B(3), 1, 3, 2}}};
  for (int k = 0; k < 10; k++) {
    case_begin(g, "%d", k);
    name_shape(g, from[k]);
    arg(g, k == 5 ? DHC_I32 : g->flt, from[k]);
    attr_dims(g, to[k]);
    case_end(g);
  }
}

static void transposes(Gen *g) {
  static const Shape of[] = {{0, {0}},       {1, {7}},       {2, {17, 33}},  {2, {1, 16}},
                             {3, {2, 3, 5}}, {3, {2, 3, 5}}, {4, {2, 3, 4, 5}}, {3, {B(2), L(3), 4}},
                             {2, {15, 17}}};
  static const Shape perm[] = {{0, {0}},       {1, {0}},       {2, {1, 0}},    {2, {1, 0}},
                               {3, {2, 0, 1}}, {3, {0, 2, 1}}, {4, {3, 1, 0, 2}}, {3, {1, 0, 2}},
                               {2, {0, 1}}};
  for (int k = 0; k < 9; k++) {
    case_begin(g, "%d", k);
    name_shape(g, of[k]);
    arg(g, k == 3 ? DHC_BOOL : g->flt, of[k]);
    attr_ints_n(g, perm[k].rank, perm[k].dim);
    case_end(g);
  }
}

static void broadcasts(Gen *g) {
  static const Shape from[] = {{0, {0}},  {0, {0}},    {1, {33}},      {2, {17, 1}},   {1, {1}},
                               {2, {1, 1}}, {3, {2, 1, 5}}, {1, {16}}, {2, {B(3), 1}}, {1, {L(4)}}};
  static const Shape to[] = {{0, {0}},    {2, {3, 5}},    {2, {17, 33}},  {2, {17, 33}}, {1, {17}},
                             {2, {8, 9}}, {4, {3, 2, 4, 5}}, {1, {16}}, {2, {B(3), 7}}, {2, {B(2), L(4)}}};
  for (int k = 0; k < 10; k++) {
    case_begin(g, "%d", k);
    name_shape(g, from[k]);
    arg(g, k == 5 ? DHC_I64 : g->flt, from[k]);
    if (k == 9) { /* an operand that binds B */
      arg(g, g->flt, SHAPE(B(2)));
      g->n_args--;
    }
    attr_dims(g, to[k]);
    case_end(g);
  }
}

static void slices(Gen *g) {
  static const struct {
    Shape of, start, size, step;
  } t[] = {{{0, {0}}, {0, {0}}, {0, {0}}, {0, {0}}},
           {{1, {1}}, {1, {0}}, {1, {1}}, {1, {1}}},
           {{2, {17, 33}}, {2, {1, 2}}, {2, {15, 16}}, {2, {1, 1}}},
           {{2, {17, 33}}, {2, {0, 1}}, {2, {6, 11}}, {2, {3, 3}}},
           {{1, {17}}, {1, {16}}, {1, {1}}, {1, {1}}},
           {{1, {16}}, {1, {1}}, {1, {8}}, {1, {2}}},
           {{3, {2, 3, 5}}, {3, {1, 0, 2}}, {3, {1, 3, 2}}, {3, {1, 1, 2}}},
           {{2, {B(3), 9}}, {2, {0, 4}}, {2, {B(3), 5}}, {2, {1, 1}}},
           {{2, {B(3), 9}}, {2, {0, 8}}, {2, {1, 1}}, {2, {1, 1}}},
           {{2, {4, 5}}, {2, {0, 0}}, {2, {4, 5}}, {2, {1, 1}}}};
  for (int k = 0; k < (int)(sizeof t / sizeof *t); k++) {
    case_begin(g, "%d", k);
    name_shape(g, t[k].of);
    arg(g, k == 6 ? DHC_U8 : g->flt, t[k].of);
    attr_dims(g, t[k].start);
    attr_dims(g, t[k].size);
    attr_ints_n(g, t[k].step.rank, t[k].step.dim);
    case_end(g);
  }
}

static void reverses(Gen *g) {
  static const Shape of[] = {{1, {1}},       {1, {17}},      {2, {17, 33}},   {2, {17, 33}},
                             {2, {5, 7}},    {3, {2, 3, 5}}, {2, {B(3), 4}},  {2, {3, L(16)}},
                             {1, {4}}};
  static const Shape axes[] = {{1, {0}},    {1, {0}},    {1, {0}}, {1, {1}}, {2, {0, 1}},
                               {2, {0, 2}}, {1, {0}},    {1, {1}}, {0, {0}}};
  for (int k = 0; k < 9; k++) {
    case_begin(g, "%d", k);
    name_shape(g, of[k]);
    arg(g, k == 8 ? DHC_I32 : g->flt, of[k]);
    attr_ints_n(g, axes[k].rank, axes[k].dim);
    case_end(g);
  }
}

void cases_view(Gen *g) {
  switch (g->op) {
    case DHC_OP_RESHAPE: reshapes(g); return;
    case DHC_OP_TRANSPOSE: transposes(g); return;
    case DHC_OP_BROADCAST: broadcasts(g); return;
    case DHC_OP_SLICE: slices(g); return;
    case DHC_OP_REVERSE: reverses(g); return;
    default: return;
  }
}

/* ---- pad, concat ----------------------------------------------------------------- */

static void pads(Gen *g) {
  static const struct {
    Shape of, low, high, step;
  } t[] = {{{0, {0}}, {0, {0}}, {0, {0}}, {0, {0}}},
           {{1, {1}}, {1, {0}}, {1, {0}}, {1, {1}}},
           {{1, {1}}, {1, {2}}, {1, {3}}, {1, {4}}},
           {{2, {17, 33}}, {2, {1, 2}}, {2, {3, 4}}, {2, {1, 1}}},
           {{2, {5, 7}}, {2, {0, 1}}, {2, {2, 0}}, {2, {2, 3}}},
           {{1, {16}}, {1, {1}}, {1, {0}}, {1, {1}}},
           {{3, {2, 3, 5}}, {3, {0, 1, 0}}, {3, {1, 0, 0}}, {3, {1, 2, 1}}},
           {{2, {B(3), 4}}, {2, {0, 1}}, {2, {0, 1}}, {2, {1, 1}}},
           {{2, {B(3), 4}}, {2, {2, 0}}, {2, {1, 0}}, {2, {1, 1}}}};
  for (int k = 0; k < (int)(sizeof t / sizeof *t); k++) {
    case_begin(g, "%d", k);
    name_shape(g, t[k].of);
    arg(g, k == 6 ? DHC_I32 : g->flt, t[k].of);
    attr_dims(g, t[k].low);
    attr_dims(g, t[k].high);
    attr_ints_n(g, t[k].step.rank, t[k].step.dim);
    case_end(g);
  }
}

static void concats(Gen *g) {
  static const struct {
    int n, axis;
    Shape of[3];
  } t[] = {{1, 0, {{1, {3}}}},
           {2, 0, {{1, {1}}, {1, {16}}}},
           {2, 0, {{2, {17, 33}}, {2, {2, 33}}}},
           {2, 1, {{2, {17, 33}}, {2, {17, 1}}}},
           {3, 1, {{3, {2, 1, 5}}, {3, {2, 3, 5}}, {3, {2, 2, 5}}}},
           {3, 2, {{3, {2, 3, 1}}, {3, {2, 3, 4}}, {3, {2, 3, 2}}}},
           {2, 1, {{2, {B(3), 4}}, {2, {B(3), 5}}}},
           {2, 0, {{2, {B(3), 4}}, {2, {L(2), 4}}}},
           {2, 1, {{2, {3, 15}}, {2, {3, 17}}}}};
  for (int k = 0; k < (int)(sizeof t / sizeof *t); k++) {
    case_begin(g, "%d of axis %d", t[k].n, t[k].axis);
    name_shape(g, t[k].of[0]);
    for (int j = 0; j < t[k].n; j++) arg(g, k == 5 ? DHC_U32 : g->flt, t[k].of[j]);
    attr_i(g, t[k].axis);
    case_end(g);
  }
}

/* ---- at run-time places --------------------------------------------------------------- */

static void dynamics(Gen *g) {
  static const struct {
    Shape of;
    int axis;
    int64_t size, start;
  } t[] = {{{1, {1}}, 0, 1, 0},        {{1, {17}}, 0, 16, 1},       {{2, {17, 33}}, 0, 5, 12},
           {{2, {17, 33}}, 1, 8, 3},   {{2, {5, 7}}, 1, 3, 100},    {{2, {5, 7}}, 0, 2, -4},
           {{3, {2, 3, 5}}, 1, 1, 2},  {{3, {2, 3, 5}}, 2, 5, 1},   {{2, {B(3), 6}}, 1, 2, 3},
           {{2, {B(3), 6}}, 0, 1, 2}};
  bool update = g->op == DHC_OP_DYNAMIC_UPDATE;
  for (int k = 0; k < (int)(sizeof t / sizeof *t); k++) {
    case_begin(g, "axis %d size %lld at %lld", t[k].axis, (long long)t[k].size, (long long)t[k].start);
    name_shape(g, t[k].of);
    dhc_dtype type = k == 6 ? DHC_I32 : g->flt;
    Shape u = t[k].of;
    u.dim[t[k].axis] = t[k].size;
    arg(g, type, t[k].of);
    if (update) arg(g, type, u);
    arg(g, DHC_I64, SCALAR)->i[0] = t[k].start;
    attr_i(g, t[k].axis);
    if (!update) attr_dim(g, t[k].size);
    case_end(g);
  }
}

/* Axis of x replaced by the index's shape. */
static Shape spliced(Shape x, int axis, Shape index) {
  Shape s = {0};
  for (int d = 0; d < axis; d++) s.dim[s.rank++] = x.dim[d];
  for (int d = 0; d < index.rank; d++) s.dim[s.rank++] = index.dim[d];
  for (int d = axis + 1; d < x.rank; d++) s.dim[s.rank++] = x.dim[d];
  return s;
}

static void gathers(Gen *g) {
  static const struct {
    Shape of, index;
    int axis;
    int64_t extent;
    bool outside;
  } t[] = {{{1, {1}}, {0, {0}}, 0, 1, false},
           {{1, {9}}, {1, {17}}, 0, 9, false},
           {{2, {17, 33}}, {1, {5}}, 0, 17, false},
           {{2, {17, 33}}, {1, {5}}, 1, 33, false},
           {{2, {5, 7}}, {2, {2, 3}}, 0, 5, true},
           {{3, {2, 3, 5}}, {1, {4}}, 1, 3, false},
           {{3, {2, 3, 5}}, {0, {0}}, 2, 5, false},
           {{2, {10, 4}}, {1, {B(6)}}, 0, 10, false},
           {{2, {B(3), 4}}, {1, {3}}, 1, 4, true},
           {{2, {6, 16}}, {2, {B(2), L(3)}}, 0, 6, false}};
  bool scatter = g->op == DHC_OP_SCATTER_ADD;
  for (int k = 0; k < (int)(sizeof t / sizeof *t); k++) {
    case_begin(g, "axis %d%s", t[k].axis, t[k].outside ? " outside" : "");
    name_shape(g, t[k].of);
    if (scatter) g->c.error = DHC_CASE_SUM, g->c.terms = shape_elements(t[k].index) + 1;
    arg(g, k == 5 && !scatter ? DHC_U32 : g->flt, t[k].of);
    int64_t beyond = t[k].outside ? 2 : 0;
    arg_index(g, k % 2 ? DHC_I64 : DHC_I32, t[k].index, -beyond, t[k].extent + beyond);
    if (scatter) arg(g, g->flt, spliced(t[k].of, t[k].axis, t[k].index));
    attr_i(g, t[k].axis);
    case_end(g);
  }
}

static void alongs(Gen *g) {
  static const struct {
    Shape of;
    int axis;
    int64_t extent, many; /* of x on axis; of the index */
    bool outside;
  } t[] = {{{1, {1}}, 0, 1, 1, false},       {{1, {9}}, 0, 9, 17, false},
           {{2, {17, 33}}, 0, 17, 5, false}, {{2, {17, 33}}, 1, 33, 2, false},
           {{2, {5, 7}}, 1, 7, 3, true},     {{3, {2, 3, 5}}, 1, 3, 4, false},
           {{3, {2, 3, 5}}, 2, 5, 1, false}, {{2, {B(3), 8}}, 1, 8, 2, false},
           {{2, {B(3), L(4)}}, 1, 4, 1, false}, {{2, {4, 16}}, 0, 4, 16, false}};
  bool put = g->op == DHC_OP_PUT_ALONG;
  for (int k = 0; k < (int)(sizeof t / sizeof *t); k++) {
    case_begin(g, "axis %d%s", t[k].axis, t[k].outside ? " outside" : "");
    name_shape(g, t[k].of);
    Shape index = t[k].of;
    int64_t full = index.dim[t[k].axis];
    index.dim[t[k].axis] = t[k].many;
    if (put) g->c.error = DHC_CASE_SUM, g->c.terms = t[k].many;
    arg(g, g->flt, put ? index : t[k].of);
    int64_t beyond = t[k].outside ? 2 : 0;
    arg_index(g, k % 2 ? DHC_I64 : DHC_I32, index, -beyond, t[k].extent + beyond);
    attr_i(g, t[k].axis);
    if (put && full == L(4)) { /* an operand that binds L */
      arg(g, g->flt, SHAPE(L(4)));
      g->n_args--;
    }
    if (put) attr_dim(g, full);
    case_end(g);
  }
}

void cases_move(Gen *g) {
  switch (g->op) {
    case DHC_OP_PAD: pads(g); return;
    case DHC_OP_CONCAT: concats(g); return;
    case DHC_OP_DYNAMIC_SLICE:
    case DHC_OP_DYNAMIC_UPDATE: dynamics(g); return;
    case DHC_OP_GATHER:
    case DHC_OP_SCATTER_ADD: gathers(g); return;
    case DHC_OP_TAKE_ALONG:
    case DHC_OP_PUT_ALONG: alongs(g); return;
    default: return;
  }
}

/* ---- routing ---------------------------------------------------------------------- */

void cases_route(Gen *g) {
  static const struct {
    Shape of;
    int64_t k;
  } t[] = {{{1, {1}}, 1},        {{1, {17}}, 3},  {{2, {17, 33}}, 2}, {{2, {4, 8}}, 8},
           {{2, {5, 16}}, 1},    {{3, {2, 3, 5}}, 2}, {{2, {B(3), 9}}, 4}, {{3, {B(2), L(3), 4}}, 1},
           {{2, {B(2), 131}}, 7} /* by blocks, some places behind the last */, {{2, {2, 65}}, 3}};
  for (int k = 0; k < 10 && g->op == DHC_OP_TOP_K; k++) {
    for (int ties = 0; ties < 2; ties++) {
      case_begin(g, "k %lld%s", (long long)t[k].k, ties ? " ties" : "");
      name_shape(g, t[k].of);
      if (ties)
        arg_ties(g, g->flt, t[k].of);
      else
        arg_distinct(g, g->flt, t[k].of);
      attr_i(g, t[k].k);
      case_end(g);
    }
  }
  static const struct {
    Shape of;
    int64_t num;
  } r[] = {{{2, {1, 1}}, 1},  {{2, {17, 2}}, 8},  {{2, {16, 1}}, 3},    {{2, {5, 3}}, 7},
           {{2, {33, 2}}, 1}, {{2, {B(6), 2}}, 4}, {{2, {B(1), 4}}, 16}, {{2, {L(15), 1}}, 2}};
  for (int k = 0; k < 8 && g->op == DHC_OP_ROUTE; k++) {
    case_begin(g, "num %lld", (long long)r[k].num);
    name_shape(g, r[k].of);
    arg_index(g, DHC_I32, r[k].of, 0, r[k].num);
    attr_i(g, r[k].num);
    case_end(g);
  }
}
