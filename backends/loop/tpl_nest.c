/* Templates "map" and "row", which are one: loops over the parallel axes, cut into tasks;
 * inside, the folds (tpl_fold.c) and the stores, in loops of their own where outputs vary
 * over reduced axes.
 *
 * The vector axis is the one along which most operands lie side by side: a parallel axis
 * (maps, reductions down columns) or the innermost axis of every fold that contains it
 * (reductions along rows).
 *
 * Schedule: v[0] = 1 + vector axis, or 0: chosen here. v[1] = elements per task. v[3] = lanes of a parallel vector axis, or 0: 16.
 * v[4] = so many elements are summed at once, where a sum has no more, or 0. */
#include "backends/loop/tpl.h"

/* ---- rows ------------------------------------------------------------------------------ */

DhcTplRows dhc_tpl_rows(DhcTplCx *cx, uint32_t axes, DhcLv first) {
  DhcTplRows r = {0};
  DhcLp *b = cx->b;
  for (int a = 0; a < cx->s->n_axes; a++)
    if (axes >> a & 1) r.axis[r.n++] = a;
  for (int i = r.n - 1; i >= 0; i--) {
    DhcLv n = cx->extent[r.axis[i]];
    r.digit[i] = dhc_lp_var(b, i ? dhc_lp_urem(b, first, n) : first);
    if (i) first = dhc_lp_udiv(b, first, n);
  }
  return r;
}

void dhc_tpl_rows_bind(DhcTplCx *cx, const DhcTplRows *r) {
  for (int i = 0; i < r->n; i++) dhc_tpl_bind(cx, r->axis[i], dhc_lp_get(cx->b, r->digit[i]));
}

void dhc_tpl_rows_next(DhcTplCx *cx, const DhcTplRows *r) {
  DhcLp *b = cx->b;
  DhcLv zero = dhc_lp_i64(b, 0), one = dhc_lp_i64(b, 1), carry = one;
  for (int i = r->n - 1; i >= 0; i--) {
    DhcLv d = dhc_lp_add(b, dhc_lp_get(b, r->digit[i]), carry);
    if (i == 0) {
      dhc_lp_set(b, r->digit[i], d);
      break;
    }
    DhcLv over = dhc_lp_eq(b, d, cx->extent[r->axis[i]]);
    dhc_lp_set(b, r->digit[i], dhc_lp_select(b, over, zero, d));
    carry = dhc_lp_select(b, over, one, zero);
  }
}

void dhc_tpl_bind_flat(DhcTplCx *cx, uint32_t axes, DhcLv flat) {
  for (int a = cx->s->n_axes - 1; a >= 0; a--) {
    if (!(axes >> a & 1)) continue;
    bool more = (axes & ((1u << a) - 1)) != 0;
    dhc_tpl_bind(cx, a, more ? dhc_lp_urem(cx->b, flat, cx->extent[a]) : flat);
    if (more) flat = dhc_lp_udiv(cx->b, flat, cx->extent[a]);
  }
}

DhcLv dhc_tpl_count(DhcTplCx *cx, uint32_t axes) {
  DhcLv n = dhc_lp_i64(cx->b, 1);
  for (int a = 0; a < cx->s->n_axes; a++)
    if (axes >> a & 1) n = dhc_lp_mul(cx->b, n, cx->extent[a]);
  return n;
}

dhc_dimprog dhc_tpl_count_prog(const DhcTplCx *cx, uint32_t axes) {
  DhcArena *arena = cx->b->arena;
  dhc_dimprog n = dhc_prog_const(arena, 1);
  for (int a = 0; a < cx->s->n_axes; a++)
    if (axes >> a & 1) n = dhc_prog_op(arena, DHC_DIM_MUL, n, dhc_tpl_extent_prog(cx, a));
  return n;
}

/* ---- stores ------------------------------------------------------------------------------ */

static void needed_by_stores(const DhcTplCx *cx, uint32_t extra, bool *needed, bool *any) {
  for (int o = dhc_spec_n_inputs(cx->s); o < cx->s->n_operands; o++) {
    if ((dhc_tpl_operand_axes(cx, o) & ~cx->bound) != extra || (cx->late >> o & 1)) continue;
    *any = true;
    if (o == cx->kept_in) needed[cx->kept] = true; /* which is there, without what it is made of */
    dhc_tpl_needed(cx->s, cx->s->operand[o].stored, needed);
    for (int t = 0; t < cx->s->operand[o].n_terms; t++)
      if (cx->s->operand[o].term[t].index >= 0)
        dhc_tpl_needed(cx->s, cx->s->operand[o].term[t].index, needed);
  }
}

static void store_at(DhcTplCx *cx, uint32_t extra, uint32_t left, const bool *needed,
                     const uint32_t *axes) {
  DhcLp *b = cx->b;
  if (!left) { /* all values before all stores: an output may lie where an input does */
    int first = dhc_spec_n_inputs(cx->s);
    for (int o = first; o < cx->s->n_operands; o++)
      if (axes[o] == extra && !(cx->late >> o & 1)) dhc_tpl_eval(cx, cx->s->operand[o].stored);
    for (int o = first; o < cx->s->n_operands; o++)
      if (axes[o] == extra && !(cx->late >> o & 1)) dhc_tpl_store(cx, o);
    return;
  }
  int a = 0;
  while (!(left >> a & 1) || (a == cx->plan_vector && (left & (left - 1)))) a++;
  left &= ~(1u << a);
  bool vector = a == cx->plan_vector && cx->vector_axis < 0;
  DhcLv n = cx->extent[a];
  DhcLv i = dhc_lp_for(b, dhc_lp_i64(b, 0), n, vector ? DHC_TPL_LANES : 1);
  DhcTplMark mark = dhc_tpl_push(cx);
  if (vector) {
    int64_t known;
    bool whole = dhc_lp_is_const(n, &known) && known % DHC_TPL_LANES == 0;
    dhc_tpl_bind_vector(cx, a, i, DHC_TPL_LANES, whole ? NULL : dhc_lp_tail(b, i, n, DHC_TPL_LANES));
  } else {
    dhc_tpl_bind(cx, a, i);
  }
  if (cx->kept_in >= 0 && axes[cx->kept_in] == extra && !left) dhc_tpl_set(cx, cx->kept, dhc_tpl_load(cx, cx->kept_in));
  dhc_tpl_hoist(cx, needed);
  store_at(cx, extra, left, needed, axes);
  dhc_tpl_pop(cx, &mark);
  dhc_lp_end(b);
}

void dhc_tpl_store_loops(DhcTplCx *cx, uint32_t extra) {
  bool needed[DHC_SPEC_MAX_NODES] = {false}, any = false;
  uint32_t axes[DHC_SPEC_MAX_OPERANDS];
  needed_by_stores(cx, extra, needed, &any);
  if (!any) return;
  for (int o = 0; o < cx->s->n_operands; o++) axes[o] = dhc_tpl_operand_axes(cx, o) & ~cx->bound;
  dhc_tpl_hoist(cx, needed);
  store_at(cx, extra, extra, needed, axes);
}

/* Outputs over parallel axes only first, then each set of reduced axes once. */
void dhc_tpl_store_all(DhcTplCx *cx) {
  DHC_VEC(uint32_t) done = {0};
  for (int o = dhc_spec_n_inputs(cx->s); o < cx->s->n_operands; o++) {
    uint32_t extra = dhc_tpl_operand_axes(cx, o) & ~cx->bound;
    bool seen = cx->late >> o & 1;
    for (int i = 0; i < done.n; i++) seen = seen || done.at[i] == extra;
    if (seen) continue;
    DHC_PUSH(cx->b->arena, &done, extra);
    dhc_tpl_store_loops(cx, extra);
  }
}

void dhc_tpl_needed_by_outputs(const DhcSpec *s, bool *needed) {
  for (int o = dhc_spec_n_inputs(s); o < s->n_operands; o++) {
    dhc_tpl_needed(s, s->operand[o].stored, needed);
    for (int t = 0; t < s->operand[o].n_terms; t++)
      if (s->operand[o].term[t].index >= 0) dhc_tpl_needed(s, s->operand[o].term[t].index, needed);
  }
}

/* ---- choosing the vector axis ----------------------------------------------------------------- */

/* Every fold with this axis has it innermost, and is no chain of dependent steps. */
static bool may_be_lanes(const DhcSpec *s, int axis) {
  for (int n = 0; n < s->n_nodes; n++) {
    const DhcSpecNode *d = &s->node[n];
    if (d->kind != DHC_SN_FOLD || !(d->axes >> axis & 1)) continue;
    if (d->axes >> axis != 1u) return false;
  }
  return true;
}

static int operand_score(const DhcTplCx *cx, int o, int axis) {
  const DhcOperand *p = &cx->s->operand[o];
  int weight = p->out ? 2 : 1;
  if (!(dhc_tpl_operand_axes(cx, o) >> axis & 1)) return 0;
  for (int t = 0; t < p->n_terms; t++) {
    const DhcTerm *e = &p->term[t];
    if (e->index >= 0 && (cx->varies[e->index] >> axis & 1)) return -2 * weight;
    for (int i = 0; i < e->n_axes; i++)
      if (e->axis[i] == axis)
        return e->unit && e->coef[i] == 1 && e->div == 1 ? 2 * weight : -2 * weight;
  }
  return 0;
}

enum { MUCH = DHC_SPEC_MAX_OPERANDS };

/* What operand o counts for: by vectors of one core one of fewer axes than others little, be there however many of them: it is small beside them. */
static int operand_weight(const DhcTplCx *cx, int o) {
  int most = 0, own = __builtin_popcount(dhc_tpl_operand_axes(cx, o));
  if (cx->in->facts->by_threads) return 1;
  for (int i = 0; i < cx->s->n_operands; i++) {
    int n = __builtin_popcount(dhc_tpl_operand_axes(cx, i));
    if (n > most) most = n;
  }
  return own == most ? MUCH : 1;
}

int dhc_tpl_choose_vector(const DhcTplCx *cx, uint32_t axes) {
  const DhcSpec *s = cx->s;
  if (cx->in->schedule->v[0] > 0) return cx->in->schedule->v[0] - 1;
  int best = -1, best_score = -1000000, much = cx->in->facts->by_threads ? 1 : MUCH;
  for (int a = 0; a < s->n_axes; a++) {
    if (!(axes >> a & 1) || !may_be_lanes(s, a)) continue;
    int score = 0;
    for (int o = 0; o < s->n_operands; o++) score += operand_score(cx, o, a) * operand_weight(cx, o);
    for (int n = 0; n < s->n_nodes; n++)
      if (s->node[n].kind == DHC_SN_FOLD && (s->node[n].axes >> a & 1) &&
          (s->node[n].op == DHC_OP_DOT_GENERAL || s->node[n].op == DHC_OP_ADD))
        score -= 8 * much;
    int64_t extent = s->axis[a].extent;
    if (extent && extent < DHC_TPL_LANES / 2) score -= 6 * much;
    if (score >= best_score) best = a, best_score = score;
  }
  return best;
}

/* ---- the kernel ------------------------------------------------------------------------------- */

/* Cut of the work: rows (parallel axes but the vector axis) times blocks of the vector axis
 * (if it is parallel). All from extents, so that no thread count can matter. */
typedef struct Cut {
  dhc_dimprog n_tasks, rows_per_task, block, n_blocks, rows;
} Cut;

static dhc_dimprog at_least_1(DhcArena *a, dhc_dimprog x) {
  return dhc_prog_op(a, DHC_DIM_MAX, x, dhc_prog_const(a, 1));
}

static Cut cut(DhcTplCx *cx, uint32_t rows, uint32_t red, int vector) {
  DhcArena *a = cx->b->arena;
  dhc_dimprog size = dhc_prog_const(a, cx->in->schedule->v[1]);
  dhc_dimprog lanes = dhc_prog_const(a, cx->in->schedule->v[3] > 0 ? cx->in->schedule->v[3] : DHC_TPL_LANES);
  dhc_dimprog work = at_least_1(a, dhc_tpl_count_prog(cx, red));
  Cut c = {.rows = dhc_tpl_count_prog(cx, rows), .n_blocks = dhc_prog_const(a, 1),
           .block = dhc_prog_const(a, 1)};
  if (vector >= 0) {
    dhc_dimprog n = dhc_tpl_extent_prog(cx, vector);
    dhc_dimprog vectors = dhc_prog_op(a, DHC_DIM_CEILDIV, dhc_prog_op(a, DHC_DIM_FLOORDIV, size, work), lanes);
    c.block = dhc_prog_op(a, DHC_DIM_MUL, at_least_1(a, vectors), lanes);
    c.n_blocks = dhc_prog_op(a, DHC_DIM_CEILDIV, n, c.block);
    dhc_dimprog columns = at_least_1(a, dhc_prog_op(a, DHC_DIM_MIN, n, c.block));
    work = dhc_prog_op(a, DHC_DIM_MUL, work, columns);
  }
  c.rows_per_task = at_least_1(a, dhc_prog_op(a, DHC_DIM_FLOORDIV, size, work));
  c.n_tasks = dhc_prog_op(a, DHC_DIM_MUL, c.n_blocks,
                          dhc_prog_op(a, DHC_DIM_CEILDIV, c.rows, c.rows_per_task));
  return c;
}

typedef struct Nest {
  const bool *needed;
  void (*body)(DhcTplCx *cx, void *arg);
  void *arg;
} Nest;

static void vector_block(DhcTplCx *cx, DhcLv lo, DhcLv hi, const Nest *nest) {
  DhcLp *b = cx->b;
  int lanes = cx->in->schedule->v[3] > 0 ? cx->in->schedule->v[3] : DHC_TPL_LANES;
  DhcLv i = dhc_lp_for(b, lo, hi, lanes);
  DhcTplMark mark = dhc_tpl_push(cx);
  DhcLv on = dhc_lp_tail(b, i, hi, lanes);
  dhc_tpl_bind_vector(cx, cx->plan_vector, i, lanes, on);
  dhc_tpl_hoist(cx, nest->needed);
  nest->body(cx, nest->arg);
  dhc_tpl_pop(cx, &mark);
  dhc_lp_end(b);
}

void dhc_tpl_nest(DhcTplCx *cx, uint32_t par, uint32_t work, const bool *needed,
                  void (*body)(DhcTplCx *cx, void *arg), void *arg) {
  DhcLp *b = cx->b;
  Nest nest = {needed, body, arg};
  int vector = cx->plan_vector >= 0 && (par >> cx->plan_vector & 1) ? cx->plan_vector : -1;
  uint32_t rows = vector >= 0 ? par & ~(1u << vector) : par;
  Cut c = cut(cx, rows, work, vector);
  DhcLv n_blocks = dhc_lp_prog(b, c.n_blocks), block = dhc_lp_prog(b, c.block);
  DhcLv n_rows = dhc_lp_prog(b, c.rows), per_task = dhc_lp_prog(b, c.rows_per_task);
  DhcLv task = dhc_lp_tasks(b, c.n_tasks);
  DhcTplMark in_task = dhc_tpl_push(cx);
  dhc_tpl_hoist(cx, needed); /* scalars; a fold of everything is here */
  DhcLv first = dhc_lp_mul(b, dhc_lp_udiv(b, task, n_blocks), per_task);
  DhcLv last = dhc_lp_min(b, n_rows, dhc_lp_add(b, first, per_task));
  DhcLv lo = dhc_lp_mul(b, dhc_lp_urem(b, task, n_blocks), block), hi = NULL;
  if (vector >= 0) hi = dhc_lp_min(b, cx->extent[vector], dhc_lp_add(b, lo, block));
  DhcTplRows r = {0};
  DhcTplMark in_row = {0};
  if (rows) {
    r = dhc_tpl_rows(cx, rows, first);
    dhc_lp_for(b, first, last, 1);
    in_row = dhc_tpl_push(cx);
    dhc_tpl_rows_bind(cx, &r);
    dhc_tpl_hoist(cx, needed);
  }
  if (vector >= 0) vector_block(cx, lo, hi, &nest);
  else body(cx, arg);
  if (rows) {
    dhc_tpl_pop(cx, &in_row);
    dhc_tpl_rows_next(cx, &r);
    dhc_lp_end(b);
  }
  dhc_tpl_pop(cx, &in_task);
  dhc_lp_end(b);
}

/* ---- map and row ------------------------------------------------------------------------------ */

/* Parallel axes of a small constant extent (the places of a window) are unrolled inside the
 * vector loop, so that what does not depend on them is loaded once. */
enum { MAX_UNROLL = 8 };

uint32_t dhc_tpl_unrolled_axes(const DhcTplCx *cx, uint32_t par) {
  uint32_t m = 0;
  int64_t n = 1;
  for (int a = cx->s->n_axes - 1; a >= 0; a--) {
    int64_t extent = cx->s->axis[a].extent;
    if (!(par >> a & 1) || a == cx->plan_vector || !extent || n * extent > MAX_UNROLL) continue;
    m |= 1u << a;
    n *= extent;
  }
  return m;
}

void dhc_tpl_store_unrolled(DhcTplCx *cx, uint32_t left) {
  if (!left) {
    dhc_tpl_store_all(cx);
    return;
  }
  int a = 0;
  while (!(left >> a & 1)) a++;
  for (int64_t i = 0; i < cx->s->axis[a].extent; i++) {
    DhcTplMark mark = dhc_tpl_push(cx);
    dhc_tpl_bind(cx, a, dhc_lp_i64(cx->b, i));
    dhc_tpl_store_unrolled(cx, left & ~(1u << a));
    dhc_tpl_pop(cx, &mark);
  }
}

static void store_body(DhcTplCx *cx, void *arg) { dhc_tpl_store_unrolled(cx, *(const uint32_t *)arg); }

enum { DEAR = 8 /* additions: more than it takes to write a value and to read it again */ };

/* Is node n, of elements along axis `red`, made by one fold alone, after all others, and all that output o is made of from there on? Then its values
 * may lie where the output will: nobody reads elements that an output overlaps any more. */
static bool may_keep(const DhcTplCx *cx, int n, int o, int red) {
  const DhcSpec *s = cx->s;
  bool made_of[DHC_SPEC_MAX_NODES] = {false}, all[DHC_SPEC_MAX_NODES] = {false}, rest[DHC_SPEC_MAX_NODES] = {false};
  int folds = 0;
  if (s->node[n].kind != DHC_SN_EW || s->node[n].dtype != DHC_F32 || dhc_op_work(s->node[n].op) < DEAR) return false;
  if (cx->varies[n] != dhc_tpl_operand_axes(cx, o)) return false; /* made once for several rows, it has not one place */
  dhc_tpl_needed(s, n, made_of);
  dhc_tpl_needed(s, s->operand[o].stored, all);
  if (!all[n]) return false;
  rest[n] = true;
  dhc_tpl_needed(s, s->operand[o].stored, rest);
  for (int m = 0; m < s->n_nodes; m++) {
    bool own[DHC_SPEC_MAX_NODES] = {false};
    if (m != n && rest[m] && (cx->varies[m] >> red & 1) && s->node[m].kind != DHC_SN_EW && s->node[m].kind != DHC_SN_CONST) return false;
    if (s->node[m].kind != DHC_SN_FOLD || made_of[m]) continue;
    dhc_tpl_needed(s, m, own);
    if (!own[n]) return false;
    folds++;
  }
  return folds == 1;
}

/* Rows whose elements go through something dear into a sum and then, with the sum, out, as a softmax's do. */
static void choose_kept(DhcTplCx *cx, uint32_t red) {
  const DhcSpec *s = cx->s;
  int out = -1, axis = cx->plan_vector;
  if (cx->in->facts->by_threads || s->kind != DHC_KIND_ROW || axis < 0 || red != 1u << axis) return;
  for (int o = dhc_spec_n_inputs(s); o < s->n_operands; o++) {
    if (!(dhc_tpl_operand_axes(cx, o) & red)) continue;
    if (out >= 0) return;
    out = o;
  }
  if (out < 0 || s->operand[out].dtype != DHC_F32 || dhc_spec_unit_axis(&s->operand[out]) != axis) return;
  for (int n = s->n_nodes - 1; n >= 0 && cx->kept_in < 0; n--)
    if (may_keep(cx, n, out, axis)) cx->kept = n, cx->kept_in = out;
}

void dhc_tpl_row(const DhcTplInput *in, DhcLp *b) {
  DhcTplCx cx;
  dhc_tpl_init(&cx, in, b);
  uint32_t par = dhc_spec_axes(in->spec, DHC_AXIS_PAR), red = dhc_spec_axes(in->spec, DHC_AXIS_RED);
  if (dhc_spec_axes(in->spec, DHC_AXIS_SEQ)) dhc_lp_refuse(b, "sequential axis in a template for maps and rows");
  if (b->refused) return;
  cx.plan_vector = dhc_tpl_choose_vector(&cx, par | red);
  choose_kept(&cx, red);
  bool needed[DHC_SPEC_MAX_NODES] = {false};
  dhc_tpl_needed_by_outputs(in->spec, needed);
  uint32_t unrolled = in->spec->kind == DHC_KIND_MAP ? dhc_tpl_unrolled_axes(&cx, par) : 0;
  dhc_tpl_nest(&cx, par & ~unrolled, red | unrolled, needed, store_body, &unrolled);
}

void dhc_tpl_map(const DhcTplInput *in, DhcLp *b) { dhc_tpl_row(in, b); }
