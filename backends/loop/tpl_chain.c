/* Template "chain": rows of inner contractions' results, folded and mapped, then contracted
 * again; the rows lie in scratch, never in memory. Tiled as the dot template's contractions
 * are; every sum runs in the order of its definition, so no cut of the work can show.
 *
 * Roles. R: the axes that row folds and outer contractions reduce, the innermost is `step`.
 * The lane axis is a parallel axis: its elements are the rows, side by side in vectors. Of an
 * inner contraction A varies over R and is read where it lies, element by element; B varies
 * over the lane axis and is packed once a task as [k][lane]. Of an outer contraction V varies
 * over R and an axis of columns, side by side.
 *
 *   task: outer index, block of lanes
 *     pack every B
 *     for steps of R (all of them if there are row folds, else some at a time), but for those
 *       that no row sees (tpl_chain_range.c):
 *       inner tiles: panel[step][lane] = dot(A[step, k], B[k, lane])
 *       passes over the panel, one a level of row folds; the last one puts in place what is
 *         contracted next
 *       outer tiles: acc[lane][column] += panel[step][lane] * V[step, column], steps ascending; a block of the
 *         product rule (ir/sum.h) that is complete goes to the next level
 *     outputs, from acc and the row folds
 *
 * Schedule: v[0] steps of an inner tile, v[1] vectors of a block of lanes, v[2] lanes of a
 * vector, v[3] steps at a time where nothing is folded. */
#include <math.h>

#include "backends/loop/tpl_chain.h"

/* ---- packing ------------------------------------------------------------------------------ */

/* packed[k * width + i] = B at (lane0 + i, k), lanes beyond the last repeat it or are 0. */
static void pack_by_lanes(DhcChain *c, const DhcChainInner *in) {
  DhcLp *b = c->b;
  DhcLv zero = dhc_lp_i64(b, 0), n = c->cx.extent[c->lane];
  DhcLv k = dhc_lp_for(b, zero, c->cx.extent[in->k], 1);
  DhcTplMark in_k = dhc_tpl_push(&c->cx);
  dhc_tpl_bind(&c->cx, in->k, k);
  DhcLv v = dhc_lp_for(b, zero, dhc_lp_i64(b, c->width), c->lanes);
  DhcTplMark mark = dhc_tpl_push(&c->cx);
  DhcLv low = dhc_lp_min(b, dhc_lp_add(b, c->lane0, v), n);
  dhc_tpl_bind_vector(&c->cx, c->lane, low, c->lanes, dhc_lp_tail(b, low, n, c->lanes));
  DhcLv x = dhc_lp_splat(b, dhc_tpl_eval(&c->cx, in->nb), c->lanes);
  dhc_lp_store(b, in->packed, dhc_lp_add(b, dhc_lp_mulc(b, k, c->width), v), x, 0);
  dhc_tpl_pop(&c->cx, &mark);
  dhc_lp_end(b);
  dhc_tpl_pop(&c->cx, &in_k);
  dhc_lp_end(b);
}

/* The same where k lies side by side: blocks of lanes by lanes, transposed. */
static void pack_transposed(DhcChain *c, const DhcChainInner *in) {
  DhcLp *b = c->b;
  DhcLv zero = dhc_lp_i64(b, 0), n_k = c->cx.extent[in->k], last = dhc_lp_addc(b, c->cx.extent[c->lane], -1), row[64];
  DhcLv v = dhc_lp_for(b, zero, dhc_lp_i64(b, c->width), c->lanes);
  DhcLv k = dhc_lp_for(b, zero, n_k, c->lanes), mask = dhc_lp_tail(b, k, n_k, c->lanes);
  for (int r = 0; r < c->lanes; r++) {
    DhcTplMark mark = dhc_tpl_push(&c->cx);
    DhcLv lane = dhc_lp_add(b, c->lane0, dhc_lp_addc(b, v, r));
    dhc_tpl_bind(&c->cx, c->lane, dhc_lp_min(b, lane, last));
    dhc_tpl_bind_vector(&c->cx, in->k, k, c->lanes, mask);
    row[r] = dhc_lp_splat(b, dhc_tpl_eval(&c->cx, in->nb), c->lanes);
    dhc_tpl_pop(&c->cx, &mark);
  }
  dhc_lp_transpose(b, row, c->lanes);
  DhcLv at = dhc_lp_add(b, dhc_lp_mulc(b, k, c->width), v);
  for (int r = 0; r < c->lanes; r++) /* there is room for whole blocks of k */
    dhc_lp_store(b, in->packed, dhc_lp_addc(b, at, (int64_t)r * c->width), row[r], 0);
  dhc_lp_end(b);
  dhc_lp_end(b);
}

static void pack(DhcChain *c, const DhcChainInner *in) {
  int o = dhc_tpl_plain_load(c->s, in->nb);
  if (o >= 0 && dhc_chain_side_by_side(&c->s->operand[o], in->k)) pack_transposed(c, in);
  else pack_by_lanes(c, in);
}

/* ---- inner tiles ---------------------------------------------------------------------------- */

/* panel rows row0 … of steps [from, to). */
static void inner_tiles(DhcChain *c, int i, DhcLv from, DhcLv to, DhcLv row0) {
  DhcLp *b = c->b;
  const DhcChainInner *in = &c->in[i];
  DhcLv base = dhc_lp_at(b, c->cx.pointer[in->oa], dhc_tpl_base(&c->cx, in->oa));
  DhcLv by_step = dhc_tpl_step(&c->cx, in->oa, c->step), by_k = dhc_tpl_step(&c->cx, in->oa, in->k);
  DhcLv last = dhc_lp_addc(b, to, -1), a[DHC_CHAIN_MAX_STEPS], vec[DHC_CHAIN_MAX_VECTORS];
  DhcLpVar acc[DHC_CHAIN_MAX_STEPS * DHC_CHAIN_MAX_VECTORS];
  DhcLv s = dhc_lp_for(b, from, to, c->steps);
  for (int r = 0; r < c->steps; r++)
    a[r] = dhc_lp_at(b, base, dhc_lp_mul(b, dhc_lp_min(b, dhc_lp_addc(b, s, r), last), by_step));
  DhcTplProducts p = {.from = dhc_lp_i64(b, 0), .to = c->cx.extent[in->k]};
  DhcLv to_row = dhc_lp_mulc(b, dhc_lp_add(b, row0, dhc_lp_sub(b, s, from)), c->width);
  dhc_tpl_products_begin(b, &p, c->steps, c->width, c->lanes, p.to, 1);
  for (int n = 0; n < c->steps * c->vectors; n++) acc[n] = dhc_lp_var(b, dhc_lp_zero(b, DHC_F32, c->lanes));
  DhcLv k = dhc_tpl_products_chain(b, &p);
  DhcLv at = dhc_lp_mulc(b, k, c->width), at_a = dhc_lp_mul(b, k, by_k);
  for (int v = 0; v < c->vectors; v++)
    vec[v] = dhc_lp_load(b, in->packed, dhc_lp_addc(b, at, (int64_t)v * c->lanes), c->lanes, 0);
  for (int r = 0; r < c->steps; r++) {
    DhcLv x = dhc_lp_splat(b, dhc_lp_load(b, a[r], at_a, 1, 0), c->lanes);
    for (int v = 0; v < c->vectors; v++) {
      DhcLpVar sum = acc[r * c->vectors + v];
      dhc_lp_set(b, sum, dhc_lp_fma(b, x, vec[v], dhc_lp_get(b, sum)));
    }
  }
  dhc_lp_end(b);
  for (int r = 0; r < c->steps; r++) /* rows behind the last are there and nobody's */
    for (int v = 0; v < c->vectors; v++)
      dhc_lp_store(b, c->panel[i], dhc_lp_addc(b, to_row, (int64_t)r * c->width + v * c->lanes), dhc_lp_get(b, acc[r * c->vectors + v]), 0);
  DhcTplSums sums = {.at = dhc_lp_at(b, c->panel[i], to_row), .width = dhc_lp_i64(b, (int64_t)c->steps * c->width)};
  dhc_tpl_products_end(b, &p, sums);
  dhc_lp_end(b);
}

/* ---- passes ---------------------------------------------------------------------------------- */

/* No fold without a value below n. */
static bool has_folds(const DhcChain *c, int n) {
  bool needed[DHC_SPEC_MAX_NODES] = {false};
  const DhcSpecNode *d = &c->s->node[n];
  if (c->cx.value[n]) return true;
  if (d->kind == DHC_SN_FOLD) return false;
  dhc_tpl_needed(c->s, n, needed);
  for (int m = 0; m < n; m++)
    if (needed[m] && c->s->node[m].kind == DHC_SN_FOLD && !c->cx.value[m]) return false;
  return true;
}

/* Evaluates what is needed and known before a loop opens. */
static void hoist(DhcChain *c, const bool *needed) {
  for (int n = 0; n < c->s->n_nodes; n++) {
    const DhcSpecNode *d = &c->s->node[n];
    if (!needed[n] || (c->cx.varies[n] & ~c->cx.bound) || d->kind == DHC_SN_CONST || d->kind == DHC_SN_AXIS ||
        d->kind == DHC_SN_ARG || !has_folds(c, n))
      continue;
    dhc_tpl_eval(&c->cx, n);
  }
}

static void fold_begin(DhcChain *c, DhcChainFold *f) {
  DhcLp *b = c->b;
  DhcLv zero = dhc_lp_zero(b, DHC_F32, c->lanes);
  if (!f->sum) {
    double least = c->s->node[f->node].op == DHC_OP_REDUCE_MAX ? -(double)INFINITY : (double)INFINITY;
    DhcLv x = dhc_lp_float(b, DHC_F32, least);
    if (c->range.condition >= 0) x = dhc_lp_select(b, dhc_chain_range_skips(c), dhc_lp_float(b, DHC_F32, f->hidden), x);
    f->acc = dhc_lp_var(b, dhc_lp_splat(b, x, c->lanes));
    return;
  }
  f->blocks = dhc_tpl_blocks_begin(b, DHC_F32, c->lanes);
  for (int i = 0; i < DHC_TPL_LANES; i++) dhc_lp_store(b, f->parts, dhc_lp_i64(b, (int64_t)i * c->lanes), zero, 0);
}

/* The block's sum: its partials, 8, 4, 2, 1 apart. */
static DhcLv sum_parts(DhcChain *c, DhcChainFold *f) {
  DhcLp *b = c->b;
  DhcLv p[DHC_TPL_LANES];
  for (int i = 0; i < DHC_TPL_LANES; i++) p[i] = dhc_lp_load(b, f->parts, dhc_lp_i64(b, (int64_t)i * c->lanes), c->lanes, 0);
  for (int w = DHC_TPL_LANES / 2; w > 0; w /= 2)
    for (int i = 0; i < w; i++) p[i] = dhc_lp_add(b, p[i], p[i + w]);
  return p[0];
}

static void fold_step(DhcChain *c, DhcChainFold *f, DhcLv flat) {
  DhcLp *b = c->b;
  const DhcSpecNode *d = &c->s->node[f->node];
  DhcLv x = dhc_lp_splat(b, dhc_tpl_eval(&c->cx, d->a[0]), c->lanes);
  if (!f->sum) {
    DhcLv y = dhc_lp_get(b, f->acc);
    dhc_lp_set(b, f->acc, dhc_lp_ew2(b, dhc_op_info(d->op)->fold_by, y, x));
    return;
  }
  DhcLv at = dhc_lp_mulc(b, dhc_lp_and(b, flat, dhc_lp_i64(b, DHC_TPL_LANES - 1)), c->lanes);
  dhc_lp_store(b, f->parts, at, dhc_lp_add(b, dhc_lp_load(b, f->parts, at, c->lanes, 0), x), 0);
  DhcLv low = dhc_lp_and(b, flat, dhc_lp_i64(b, DHC_SUM_BLOCK - 1));
  dhc_lp_if(b, dhc_lp_eq(b, low, dhc_lp_i64(b, DHC_SUM_BLOCK - 1)));
  dhc_tpl_blocks_add(b, &f->blocks, sum_parts(c, f));
  for (int i = 0; i < DHC_TPL_LANES; i++)
    dhc_lp_store(b, f->parts, dhc_lp_i64(b, (int64_t)i * c->lanes), dhc_lp_zero(b, DHC_F32, c->lanes), 0);
  dhc_lp_end(b);
}

static void fold_end(DhcChain *c, DhcChainFold *f, DhcLv v) {
  DhcLp *b = c->b;
  DhcLv x = f->sum ? dhc_tpl_blocks_end(b, &f->blocks, sum_parts(c, f)) : dhc_lp_add(b, dhc_lp_get(b, f->acc), dhc_lp_zero(b, DHC_F32, c->lanes));
  dhc_lp_store(b, f->kept, v, x, 0);
  dhc_tpl_set(&c->cx, f->node, x);
}

/* One step of pass `level` over the lanes bound as vector. */
static void pass_step(DhcChain *c, int level, DhcLv row, DhcLv flat, DhcLv v) {
  DhcLp *b = c->b;
  DhcLv at = dhc_lp_add(b, dhc_lp_mulc(b, row, c->width), v);
  for (int i = 0; i < c->n_in; i++) dhc_tpl_set(&c->cx, c->in[i].node, dhc_lp_load(b, c->panel[i], at, c->lanes, 0));
  for (int f = 0; f < c->n_fold; f++)
    if (c->fold[f].level == level) fold_step(c, &c->fold[f], flat);
  if (level < c->last) return;
  for (int j = 0; j < c->n_out; j++) dhc_tpl_eval(&c->cx, c->out[j].ne);
  for (int j = 0; j < c->n_out; j++)
    dhc_lp_store(b, c->panel[c->out[j].panel], at, dhc_lp_splat(b, dhc_tpl_eval(&c->cx, c->out[j].ne), c->lanes), 0);
}

static void needed_in_pass(const DhcChain *c, int level, bool *needed) {
  for (int f = 0; f < c->n_fold; f++)
    if (c->fold[f].level == level) dhc_tpl_needed(c->s, c->s->node[c->fold[f].node].a[0], needed);
  for (int j = 0; j < c->n_out && level == c->last; j++) dhc_tpl_needed(c->s, c->out[j].ne, needed);
}

/* Steps [from, to) in panel rows from row0; flat0: number of step `from` in R. */
static void pass_steps(DhcChain *c, int level, const bool *needed, DhcLv from, DhcLv to, DhcLv row0, DhcLv flat0, DhcLv v) {
  DhcLp *b = c->b;
  hoist(c, needed);
  DhcLv s = dhc_lp_for(b, from, to, 1), i = dhc_lp_sub(b, s, from);
  DhcTplMark mark = dhc_tpl_push(&c->cx);
  dhc_tpl_bind(&c->cx, c->step, s);
  pass_step(c, level, dhc_lp_add(b, row0, i), dhc_lp_add(b, flat0, i), v);
  dhc_tpl_pop(&c->cx, &mark);
  dhc_lp_end(b);
}

static DhcTplMark lanes_begin(DhcChain *c, DhcLv *v) {
  DhcLp *b = c->b;
  *v = dhc_lp_for(b, dhc_lp_i64(b, 0), c->n_lanes, c->lanes);
  DhcTplMark mark = dhc_tpl_push(&c->cx);
  DhcLv lane = dhc_lp_add(b, c->lane0, *v);
  dhc_tpl_bind_vector(&c->cx, c->lane, lane, c->lanes, dhc_lp_tail(b, lane, c->cx.extent[c->lane], c->lanes));
  return mark;
}

static void lanes_end(DhcChain *c, const DhcTplMark *mark) {
  dhc_tpl_pop(&c->cx, mark);
  dhc_lp_end(c->b);
}

/* All passes over all of R. */
static void passes_folded(DhcChain *c) {
  DhcLp *b = c->b;
  DhcLv v, zero = dhc_lp_i64(b, 0);
  DhcTplMark lanes = lanes_begin(c, &v);
  for (int level = 1; level <= c->last; level++) {
    bool needed[DHC_SPEC_MAX_NODES] = {false};
    needed_in_pass(c, level, needed);
    hoist(c, needed);
    for (int f = 0; f < c->n_fold; f++)
      if (c->fold[f].level == level) fold_begin(c, &c->fold[f]);
    DhcTplRows rows = dhc_tpl_rows(&c->cx, c->others, zero);
    DhcLv o = dhc_lp_for(b, zero, dhc_tpl_count(&c->cx, c->others), 1), row0 = dhc_lp_mul(b, o, c->n_steps);
    DhcTplMark mark = dhc_tpl_push(&c->cx);
    dhc_tpl_rows_bind(&c->cx, &rows);
    row0 = dhc_lp_add(b, row0, c->from);
    pass_steps(c, level, needed, c->from, c->to, row0, row0, v);
    dhc_tpl_pop(&c->cx, &mark);
    dhc_tpl_rows_next(&c->cx, &rows);
    dhc_lp_end(b);
    for (int f = 0; f < c->n_fold; f++)
      if (c->fold[f].level == level) fold_end(c, &c->fold[f], v);
  }
  lanes_end(c, &lanes);
}

/* ---- outer tiles -------------------------------------------------------------------------------- */

/* The loop over steps of one tile; masked: the last columns are not all there. */
static void outer_steps(DhcChain *c, const DhcChainOuter *o, DhcLv from, DhcLv to, DhcLv row0, DhcLv i, DhcLv col, bool masked,
                        DhcLpVar acc[DHC_CHAIN_MAX_LANE_ROWS][2]) {
  DhcLp *b = c->b;
  DhcLv there = dhc_lp_at(b, c->cx.pointer[o->ov], dhc_lp_add(b, dhc_tpl_base(&c->cx, o->ov), col));
  DhcLv by_step = dhc_tpl_step(&c->cx, o->ov, c->step), n = c->cx.extent[o->col], mask[2] = {NULL, NULL};
  for (int v = 0; v < o->vectors && masked; v++) {
    DhcLv first = dhc_lp_min(b, dhc_lp_addc(b, col, (int64_t)v * c->lanes), n);
    mask[v] = dhc_lp_tail(b, first, n, c->lanes);
  }
  DhcLv e = dhc_lp_at(b, c->panel[o->panel], i);
  DhcLv s = dhc_lp_for(b, from, to, 1), vec[2];
  DhcLv at = dhc_lp_mul(b, s, by_step), row = dhc_lp_mulc(b, dhc_lp_add(b, row0, dhc_lp_sub(b, s, from)), c->width);
  for (int v = 0; v < o->vectors; v++) {
    DhcLv x = dhc_lp_addc(b, at, (int64_t)v * c->lanes);
    vec[v] = masked ? dhc_lp_mload(b, there, x, c->lanes, mask[v]) : dhc_lp_load(b, there, x, c->lanes, 0);
  }
  for (int r = 0; r < o->lane_rows; r++) {
    DhcLv x = dhc_lp_splat(b, dhc_lp_load(b, e, dhc_lp_addc(b, row, r), 1, 0), c->lanes);
    for (int v = 0; v < o->vectors; v++)
      dhc_lp_set(b, acc[r][v], dhc_lp_fma(b, x, vec[v], dhc_lp_get(b, acc[r][v])));
  }
  dhc_lp_end(b);
}

static void outer_tiles(DhcChain *c, const DhcChainOuter *o, DhcLv from, DhcLv to, DhcLv row0) {
  DhcLp *b = c->b;
  int width = o->vectors * c->lanes;
  DhcLv zero = dhc_lp_i64(b, 0), n = c->cx.extent[o->col];
  DhcLpVar acc[DHC_CHAIN_MAX_LANE_ROWS][2];
  DhcLv col = dhc_lp_for(b, zero, n, width), i = dhc_lp_for(b, zero, c->n_lanes, o->lane_rows);
  for (int r = 0; r < o->lane_rows; r++)
    for (int v = 0; v < o->vectors; v++) {
      DhcLv at = dhc_lp_add(b, dhc_lp_mul(b, dhc_lp_addc(b, i, r), o->pitch), dhc_lp_addc(b, col, (int64_t)v * c->lanes));
      acc[r][v] = dhc_lp_var(b, dhc_lp_load(b, o->acc, at, c->lanes, 0));
    }
  int64_t known;
  if (dhc_lp_is_const(n, &known) && known % width == 0) {
    outer_steps(c, o, from, to, row0, i, col, false, acc);
  } else {
    dhc_lp_if(b, dhc_lp_le(b, dhc_lp_addc(b, col, width), n));
    outer_steps(c, o, from, to, row0, i, col, false, acc);
    dhc_lp_else(b);
    outer_steps(c, o, from, to, row0, i, col, true, acc);
    dhc_lp_end(b);
  }
  for (int r = 0; r < o->lane_rows; r++)
    for (int v = 0; v < o->vectors; v++) {
      DhcLv at = dhc_lp_add(b, dhc_lp_mul(b, dhc_lp_addc(b, i, r), o->pitch), dhc_lp_addc(b, col, (int64_t)v * c->lanes));
      dhc_lp_store(b, o->acc, at, dhc_lp_get(b, acc[r][v]), 0);
    }
  dhc_lp_end(b);
  dhc_lp_end(b);
}

/* ---- blocks of products ------------------------------------------------------------------------- */

/* The sums of outer contractions lie behind one another: the chain of the block at hand, then the levels of the
 * product rule. They begin as +0, so that blocks left out need no attention. */
static DhcLv sums_of(DhcChain *c, const DhcChainOuter *o, int level) {
  return dhc_lp_at(c->b, o->acc, dhc_lp_mulc(c->b, dhc_lp_mulc(c->b, o->pitch, c->width), level));
}

/* Adds the sums of a level to those of the next. */
static void level_up(DhcChain *c, int level) {
  DhcLp *b = c->b;
  for (int j = 0; j < c->n_out; j++) {
    DhcLv from = sums_of(c, &c->out[j], level), to = sums_of(c, &c->out[j], level + 1);
    DhcLv i = dhc_lp_for(b, dhc_lp_i64(b, 0), dhc_lp_mul(b, c->out[j].pitch, c->n_lanes), c->lanes);
    DhcLv x = dhc_lp_load(b, from, i, c->lanes, 0);
    dhc_lp_store(b, to, i, dhc_lp_add(b, dhc_lp_load(b, to, i, c->lanes, 0), x), 0);
    dhc_lp_store(b, from, i, dhc_lp_zero(b, DHC_F32, c->lanes), 0);
    dhc_lp_end(b);
  }
}

/* What comes next belongs to block number `block`. */
static void enter_block(DhcChain *c, DhcLv block) {
  DhcLp *b = c->b;
  DhcLv now = dhc_lp_get(b, c->block);
  for (int l = 0; l < DHC_DOT_LEVELS; l++) {
    DhcLv size = dhc_lp_i64(b, (int64_t)1 << l * DHC_DOT_FAN_LOG2);
    dhc_lp_if(b, dhc_lp_lt(b, dhc_lp_udiv(b, now, size), dhc_lp_udiv(b, block, size)));
    level_up(c, l);
  }
  for (int l = 0; l < DHC_DOT_LEVELS; l++) dhc_lp_end(b);
  dhc_lp_set(b, c->block, block);
}

/* Of more than one block the result is the sum of all levels. */
static void end_blocks(DhcChain *c) {
  DhcLp *b = c->b;
  if (c->one_block) return;
  dhc_lp_if(b, dhc_lp_lt(b, dhc_lp_i64(b, DHC_DOT_BLOCK), dhc_tpl_count(&c->cx, c->red)));
  for (int j = 0; j < c->n_out; j++) {
    DhcLv i = dhc_lp_for(b, dhc_lp_i64(b, 0), dhc_lp_mul(b, c->out[j].pitch, c->n_lanes), c->lanes);
    DhcLv x = dhc_lp_load(b, c->out[j].acc, i, c->lanes, 0);
    for (int l = 1; l <= DHC_DOT_LEVELS; l++)
      x = dhc_lp_add(b, dhc_lp_load(b, sums_of(c, &c->out[j], l), i, c->lanes, 0), x);
    dhc_lp_store(b, c->out[j].acc, i, x, 0);
    dhc_lp_end(b);
  }
  dhc_lp_end(b);
}

/* Steps [from, to) of all outer contractions, cut where blocks end; row0: panel row of step `from`, flat: its number
 * in R. */
static void outer_blocks(DhcChain *c, DhcLv from, DhcLv to, DhcLv row0, DhcLv flat) {
  DhcLp *b = c->b;
  if (c->one_block) {
    for (int j = 0; j < c->n_out; j++) outer_tiles(c, &c->out[j], from, to, row0);
    return;
  }
  DhcLv size = dhc_lp_i64(b, DHC_DOT_BLOCK), end = dhc_lp_add(b, flat, dhc_lp_sub(b, to, from));
  DhcLv block = dhc_lp_for(b, dhc_lp_udiv(b, flat, size), dhc_lp_ceildivc(b, end, DHC_DOT_BLOCK), 1);
  DhcTplMark mark = dhc_tpl_push(&c->cx);
  enter_block(c, block);
  DhcLv first = dhc_lp_sub(b, dhc_lp_mulc(b, block, DHC_DOT_BLOCK), flat), skip = dhc_lp_max(b, first, dhc_lp_i64(b, 0));
  DhcLv until = dhc_lp_min(b, to, dhc_lp_add(b, from, dhc_lp_addc(b, first, DHC_DOT_BLOCK)));
  for (int j = 0; j < c->n_out; j++)
    outer_tiles(c, &c->out[j], dhc_lp_add(b, from, skip), until, dhc_lp_add(b, row0, skip));
  dhc_tpl_pop(&c->cx, &mark);
  dhc_lp_end(b);
}

/* ---- outputs ------------------------------------------------------------------------------------ */

static bool any_output(const DhcChain *c, int col, bool *needed) {
  bool any = false;
  for (int o = dhc_spec_n_inputs(c->s); o < c->s->n_operands; o++) {
    uint32_t more = dhc_tpl_operand_axes(&c->cx, o) & ~(c->outer | 1u << c->lane);
    if (dhc_chain_only_axis(more) != col) continue;
    any = true;
    dhc_tpl_needed(c->s, c->s->operand[o].stored, needed);
  }
  return any;
}

static void store_outputs(DhcChain *c, int col) {
  for (int o = dhc_spec_n_inputs(c->s); o < c->s->n_operands; o++) {
    uint32_t more = (dhc_tpl_operand_axes(&c->cx, o)) & ~(c->outer | 1u << c->lane);
    if (dhc_chain_only_axis(more) == col) dhc_tpl_store(&c->cx, o);
  }
}

/* Outputs without columns, a vector of lanes at a time. */
static void row_outputs(DhcChain *c) {
  bool needed[DHC_SPEC_MAX_NODES] = {false};
  if (!any_output(c, -1, needed)) return;
  DhcLv v;
  DhcTplMark lanes = lanes_begin(c, &v);
  for (int f = 0; f < c->n_fold; f++) dhc_tpl_set(&c->cx, c->fold[f].node, dhc_lp_load(c->b, c->fold[f].kept, v, c->lanes, 0));
  store_outputs(c, -1);
  lanes_end(c, &lanes);
}

/* Outputs with the columns of contraction j: a row at a time. */
static void column_outputs(DhcChain *c, int j) {
  DhcLp *b = c->b;
  bool needed[DHC_SPEC_MAX_NODES] = {false};
  int col = c->out[j].col;
  if (!any_output(c, col, needed)) return;
  DhcLv zero = dhc_lp_i64(b, 0), n = c->cx.extent[col], i = dhc_lp_for(b, zero, c->n_lanes, 1);
  DhcTplMark row = dhc_tpl_push(&c->cx);
  dhc_tpl_bind(&c->cx, c->lane, dhc_lp_add(b, c->lane0, i));
  for (int f = 0; f < c->n_fold; f++) dhc_tpl_set(&c->cx, c->fold[f].node, dhc_lp_load(b, c->fold[f].kept, i, 1, 0));
  hoist(c, needed);
  DhcLv x = dhc_lp_for(b, zero, n, c->lanes);
  DhcTplMark mark = dhc_tpl_push(&c->cx);
  dhc_tpl_bind_vector(&c->cx, col, x, c->lanes, dhc_lp_tail(b, x, n, c->lanes));
  for (int k = j; k < c->n_out; k++)
    if (c->out[k].col == col) {
      DhcLv at = dhc_lp_add(b, dhc_lp_mul(b, i, c->out[k].pitch), x);
      dhc_tpl_set(&c->cx, c->out[k].node, dhc_lp_load(b, c->out[k].acc, at, c->lanes, 0));
    }
  store_outputs(c, col);
  dhc_tpl_pop(&c->cx, &mark);
  dhc_lp_end(b);
  dhc_tpl_pop(&c->cx, &row);
  dhc_lp_end(b);
}

/* ---- the kernel ------------------------------------------------------------------------------------ */

typedef struct Room {
  DhcLv scratch, at;
  dhc_dimprog floats;
  DhcLp *b;
} Room;

static DhcLv take(Room *r, dhc_dimprog floats) {
  DhcLv p = dhc_lp_at(r->b, r->scratch, r->at);
  r->at = dhc_lp_add(r->b, r->at, dhc_lp_prog(r->b, floats));
  r->floats = dhc_prog_op(r->b->arena, DHC_DIM_ADD, r->floats, floats);
  return p;
}

/* Places in scratch: sizes are whole rows of the block of lanes. */
static void lay_out(DhcChain *c) {
  DhcLp *b = c->b;
  DhcArena *a = b->arena;
  dhc_dimprog width = dhc_prog_const(a, c->width);
#define OP(o, x, y) dhc_prog_op(a, DHC_DIM_##o, x, y)
  Room r = {.scratch = dhc_lp_scratch(b, DHC_F32, 0), .at = dhc_lp_i64(b, 0), .floats = dhc_prog_const(a, 0), .b = b};
  dhc_dimprog rows = c->n_fold ? dhc_tpl_count_prog(&c->cx, c->red) : dhc_prog_const(a, c->chunk);
  rows = OP(ADD, rows, dhc_prog_const(a, c->steps));
  for (int p = 0; p < c->n_panels; p++) c->panel[p] = take(&r, OP(MUL, rows, width));
  for (int i = 0; i < c->n_in; i++)
    c->in[i].packed = take(&r, OP(MUL, OP(ADD, dhc_tpl_extent_prog(&c->cx, c->in[i].k), dhc_prog_const(a, c->lanes)), width));
  for (int j = 0; j < c->n_out; j++) {
    dhc_dimprog tile = dhc_prog_const(a, c->out[j].vectors * c->lanes);
    dhc_dimprog pitch = OP(MUL, OP(CEILDIV, dhc_tpl_extent_prog(&c->cx, c->out[j].col), tile), tile);
    c->out[j].pitch = dhc_lp_prog(b, pitch);
    int64_t sums = c->one_block ? 1 : 1 + DHC_DOT_LEVELS;
    c->out[j].acc = take(&r, OP(MUL, OP(MUL, pitch, width), dhc_prog_const(a, sums)));
  }
  b->scratch_bytes = OP(MUL, r.floats, dhc_prog_const(a, 4));
#undef OP
  for (int f = 0; f < c->n_fold; f++) {
    c->fold[f].kept = dhc_lp_local(b, DHC_F32, c->width);
    if (c->fold[f].sum) c->fold[f].parts = dhc_lp_local(b, DHC_F32, (int64_t)DHC_TPL_LANES * c->lanes);
  }
}

static void clear_sums(DhcChain *c) {
  DhcLp *b = c->b;
  DhcLv sums = dhc_lp_i64(b, 1);
  if (!c->one_block) {
    DhcLv many = dhc_lp_lt(b, dhc_lp_i64(b, DHC_DOT_BLOCK), dhc_tpl_count(&c->cx, c->red));
    sums = dhc_lp_select(b, many, dhc_lp_i64(b, 1 + DHC_DOT_LEVELS), sums);
    c->block = dhc_lp_var(b, dhc_lp_i64(b, 0));
  }
  for (int j = 0; j < c->n_out; j++) {
    DhcLv n = dhc_lp_mul(b, dhc_lp_mulc(b, c->out[j].pitch, c->width), sums);
    DhcLv i = dhc_lp_for(b, dhc_lp_i64(b, 0), n, c->lanes);
    dhc_lp_store(b, c->out[j].acc, i, dhc_lp_zero(b, DHC_F32, c->lanes), 0);
    dhc_lp_end(b);
  }
}

/* Zeros in panel rows of `n` steps. */
static void clear_rows(DhcChain *c, DhcLv row0, DhcLv n) {
  DhcLp *b = c->b;
  for (int p = 0; p < c->n_panels; p++) {
    DhcLv i = dhc_lp_for(b, dhc_lp_i64(b, 0), dhc_lp_mulc(b, n, c->width), c->lanes);
    dhc_lp_store(b, c->panel[p], dhc_lp_add(b, dhc_lp_mulc(b, row0, c->width), i), dhc_lp_zero(b, DHC_F32, c->lanes), 0);
    dhc_lp_end(b);
  }
}

typedef enum Part { INNER, OUTER, BOTH } Part;

/* flat: number of step `from` in R. */
static void chunk(DhcChain *c, Part part, DhcLv from, DhcLv to, DhcLv row0, DhcLv flat) {
  DhcLv v;
  for (int i = 0; i < c->n_in && part != OUTER; i++) inner_tiles(c, i, from, to, row0);
  if (part == BOTH) {
    bool needed[DHC_SPEC_MAX_NODES] = {false};
    needed_in_pass(c, c->last, needed);
    DhcTplMark lanes = lanes_begin(c, &v);
    pass_steps(c, c->last, needed, from, to, row0, row0, v);
    lanes_end(c, &lanes);
  }
  if (part != INNER) outer_blocks(c, from, to, row0, flat);
}

/* A chunk that counts; or one that nobody sees, if it shows nevertheless. */
static void chunk_seen(DhcChain *c, Part part, DhcLv from, DhcLv to, DhcLv row0, DhcLv flat) {
  DhcLp *b = c->b;
  if (c->range.condition < 0) {
    chunk(c, part, from, to, row0, flat);
    return;
  }
  DhcLv seen = dhc_chain_range_seen(c, from, to), zero = dhc_lp_i64(b, 0), one = dhc_lp_i64(b, 1);
  DhcLpVar wanted = dhc_lp_var(b, dhc_lp_select(b, seen, one, zero));
  if (part != INNER) {
    dhc_lp_if(b, dhc_lp_eq(b, dhc_lp_get(b, wanted), zero));
    DhcTplMark mark = dhc_tpl_push(&c->cx);
    DhcLv exact = dhc_chain_range_exact(c, from, to);
    dhc_lp_set(b, wanted, dhc_lp_select(b, exact, zero, one));
    if (part == OUTER) clear_rows(c, row0, dhc_lp_sub(b, to, from));
    dhc_tpl_pop(&c->cx, &mark);
    dhc_lp_end(b);
  }
  dhc_lp_if(b, dhc_lp_eq(b, dhc_lp_get(b, wanted), one));
  DhcTplMark mark = dhc_tpl_push(&c->cx);
  chunk(c, part, from, to, row0, flat);
  dhc_tpl_pop(&c->cx, &mark);
  dhc_lp_end(b);
}

/* Steps by chunks, under every index of the other axes of R. */
static void by_chunks(DhcChain *c, Part part) {
  DhcLp *b = c->b;
  DhcLv zero = dhc_lp_i64(b, 0);
  DhcTplRows rows = dhc_tpl_rows(&c->cx, c->others, zero);
  DhcLv o = dhc_lp_for(b, zero, dhc_tpl_count(&c->cx, c->others), 1), flat = dhc_lp_mul(b, o, c->n_steps);
  DhcTplMark mark = dhc_tpl_push(&c->cx);
  dhc_tpl_rows_bind(&c->cx, &rows);
  DhcLv from = dhc_lp_for(b, zero, c->n_steps, c->chunk), to = dhc_lp_min(b, c->n_steps, dhc_lp_addc(b, from, c->chunk));
  DhcLv row0 = c->n_fold ? dhc_lp_add(b, flat, from) : zero;
  DhcTplMark in_chunk = dhc_tpl_push(&c->cx);
  chunk_seen(c, part, from, to, row0, dhc_lp_add(b, flat, from));
  dhc_tpl_pop(&c->cx, &in_chunk);
  dhc_lp_end(b);
  dhc_tpl_pop(&c->cx, &mark);
  dhc_tpl_rows_next(&c->cx, &rows);
  dhc_lp_end(b);
}

static void kernel(DhcChain *c) {
  DhcLp *b = c->b;
  DhcArena *a = b->arena;
  dhc_dimprog blocks = dhc_prog_op(a, DHC_DIM_CEILDIV, dhc_tpl_extent_prog(&c->cx, c->lane), dhc_prog_const(a, c->width));
  DhcLv n_blocks = dhc_lp_prog(b, blocks);
  c->n_steps = c->cx.extent[c->step];
  c->one_block = dhc_tpl_one_block(dhc_tpl_count(&c->cx, c->red), 1);
  DhcLv task = dhc_lp_tasks(b, dhc_prog_op(a, DHC_DIM_MUL, dhc_tpl_count_prog(&c->cx, c->outer), blocks));
  DhcTplMark mark = dhc_tpl_push(&c->cx);
  lay_out(c);
  DhcTplRows outer = dhc_tpl_rows(&c->cx, c->outer, dhc_lp_udiv(b, task, n_blocks));
  dhc_tpl_rows_bind(&c->cx, &outer);
  c->lane0 = dhc_lp_mulc(b, dhc_lp_urem(b, task, n_blocks), c->width);
  c->n_lanes = dhc_lp_min(b, dhc_lp_i64(b, c->width), dhc_lp_sub(b, c->cx.extent[c->lane], c->lane0));
  for (int i = 0; i < c->n_in; i++) pack(c, &c->in[i]);
  clear_sums(c);
  dhc_chain_range_begin(c);
  if (c->n_fold) {
    by_chunks(c, INNER);
    passes_folded(c);
    by_chunks(c, OUTER);
  } else {
    by_chunks(c, BOTH);
  }
  end_blocks(c);
  row_outputs(c);
  for (int j = 0; j < c->n_out; j++) {
    bool before = false;
    for (int i = 0; i < j; i++) before = before || c->out[i].col == c->out[j].col;
    if (!before) column_outputs(c, j);
  }
  dhc_tpl_pop(&c->cx, &mark);
  dhc_lp_end(b);
}

void dhc_tpl_chain(const DhcTplInput *in, DhcLp *b) {
  DhcChain *c = DHC_NEW(b->arena, DhcChain);
  c->b = b;
  c->s = in->spec;
  dhc_tpl_init(&c->cx, in, b);
  if (b->refused) return;
  if (!dhc_chain_roles(c)) {
    dhc_lp_refuse(b, "no rows of contractions to tile");
    return;
  }
  dhc_chain_tile(c);
  dhc_chain_range(c);
  kernel(c);
}
