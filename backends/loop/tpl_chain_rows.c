/* Template "chain_rows" (GPUs): a chain of contractions (tpl_chain.c says what plays which part), a thread a row. What
 * varies over the steps comes into block memory, some steps at a time, where all rows of the block read it; a thread
 * holds its row of every inner contraction and its sums of every outer one in registers. Nothing wide is stored: a
 * pass, one a level of row folds, computes the inner contractions again. Every sum runs in the order of its
 * definition, so the bits are the CPU's; steps that no row sees are not left out.
 *
 * For contractions over constant extents, multiples of 4, and one axis of at most 4096 steps: one block of the sum rule,
 * 16 of the product rule.
 *
 * Schedule: v[1] threads of a block, v[2] steps in block memory, which divide 256, v[3] steps a thread takes at once, which divide v[2]. */
#include <math.h>

#include "backends/loop/tpl_chain.h"

enum { MOST_HELD = 192 /* elements in registers */, MAX_QUADS = 16, MAX_TOGETHER = 8, PARTS = DHC_SUM_PARTIALS };

typedef struct Side {
  DhcLv mem;    /* of steps, [step][quads * 4] */
  int quads;
  DhcLv row[MAX_QUADS];    /* inner: this thread's row */
  DhcLpVar sum[MAX_QUADS]; /* outer: its sums */
  DhcLv done; /* outer: stack array of the sums of finished blocks of products; NULL: there is one block */
} Side;

typedef struct ChainRows {
  DhcChain c;
  DhcLp *b;
  int threads, held, together;
  Side in[DHC_CHAIN_MAX_INNER], out[DHC_CHAIN_MAX_OUTER];
  DhcLv parts[DHC_CHAIN_MAX_FOLDS]; /* of sums: [16][thread] */
  DhcLv tid, inside;
} ChainRows;

/* ---- what fits ------------------------------------------------------------------------------ */

static int quads_of(const DhcChain *c, int axis) {
  int64_t n = c->s->axis[axis].extent;
  return n > 0 && n % 4 == 0 && n <= 4 * MAX_QUADS ? (int)(n / 4) : 0;
}

static const char *lay_out(ChainRows *v) {
  DhcChain *c = &v->c;
  int64_t bytes = 0, held = 0;
  if (c->others) return "several axes of steps";
  for (int i = 0; i < c->n_in; i++) v->in[i].quads = quads_of(c, c->in[i].k);
  for (int j = 0; j < c->n_out; j++) v->out[j].quads = quads_of(c, c->out[j].col);
  for (int i = 0; i < c->n_in + c->n_out; i++) {
    const Side *s = i < c->n_in ? &v->in[i] : &v->out[i - c->n_in];
    if (!s->quads) return "contractions over other extents";
    held += 4 * s->quads;
    bytes += (int64_t)v->held * s->quads * 16;
  }
  if (held > MOST_HELD) return "more than registers hold";
  for (int f = 0; f < c->n_fold; f++) bytes += c->fold[f].sum ? (int64_t)PARTS * v->threads * 4 : 0;
  dhc_lp_block(v->b, v->threads, bytes);
  v->b->together = 1;
  return NULL;
}

static void place_memory(ChainRows *v) {
  DhcChain *c = &v->c;
  int64_t at = 0;
  for (int i = 0; i < c->n_in + c->n_out; i++) {
    Side *s = i < c->n_in ? &v->in[i] : &v->out[i - c->n_in];
    s->mem = dhc_lp_block_memory(v->b, DHC_F32, at);
    at += (int64_t)v->held * s->quads * 16;
  }
  for (int f = 0; f < c->n_fold; f++) {
    if (!c->fold[f].sum) continue;
    v->parts[f] = dhc_lp_block_memory(v->b, DHC_F32, at);
    at += (int64_t)PARTS * v->threads * 4;
  }
}

/* ---- steps in block memory ---------------------------------------------------------------------- */

static void needed_in_pass(const DhcChain *c, int level, bool *needed) {
  for (int f = 0; f < c->n_fold; f++)
    if (c->fold[f].level == level) dhc_tpl_needed(c->s, c->s->node[c->fold[f].node].a[0], needed);
  for (int j = 0; j < c->n_out && level == c->last; j++) dhc_tpl_needed(c->s, c->out[j].ne, needed);
}

/* Steps from `step0` on, `count` of them, along `axis`. */
static void bring(ChainRows *v, const Side *s, int node, int axis, DhcLv step0, DhcLv count) {
  DhcLp *b = v->b;
  DhcTplCx *cx = &v->c.cx;
  DhcLv quads = dhc_lp_i64(b, s->quads);
  DhcLv e = dhc_lp_for(b, v->tid, dhc_lp_mulc(b, count, s->quads), v->threads);
  DhcTplMark mark = dhc_tpl_push(cx);
  dhc_tpl_bind(cx, v->c.step, dhc_lp_add(b, step0, dhc_lp_udiv(b, e, quads)));
  dhc_tpl_bind_vector(cx, axis, dhc_lp_mulc(b, dhc_lp_urem(b, e, quads), 4), 4, NULL);
  DhcLv x = dhc_lp_splat(b, dhc_tpl_eval(cx, node), 4);
  dhc_lp_store(b, s->mem, dhc_lp_mulc(b, e, 4), x, 16);
  dhc_tpl_pop(cx, &mark);
  dhc_lp_end(b);
}

static DhcLv quad(ChainRows *v, const Side *s, DhcLv step, int q) {
  DhcLp *b = v->b;
  return dhc_lp_load(b, s->mem, dhc_lp_addc(b, dhc_lp_mulc(b, step, 4 * s->quads), 4 * q), 4, 16);
}

/* ---- steps ------------------------------------------------------------------------------------------ */

/* x[u] <- inner contraction i at steps `at`, at + 1, … in block memory: one chain each, k ascending. */
static void inner(ChainRows *v, int i, DhcLv at, int n, DhcLv *x) {
  DhcLp *b = v->b;
  for (int u = 0; u < n; u++) x[u] = dhc_lp_float(b, DHC_F32, 0);
  for (int q = 0; q < v->in[i].quads; q++)
    for (int u = 0; u < n; u++) {
      DhcLv k = quad(v, &v->in[i], dhc_lp_addc(b, at, u), q);
      for (int l = 0; l < 4; l++) x[u] = dhc_lp_fma(b, dhc_lp_extract(b, k, l), dhc_lp_extract(b, v->in[i].row[q], l), x[u]);
    }
}

static void fold_step(ChainRows *v, int f, DhcLv step) {
  DhcLp *b = v->b;
  DhcChainFold *fold = &v->c.fold[f];
  const DhcSpecNode *d = &v->c.s->node[fold->node];
  DhcLv x = dhc_tpl_eval(&v->c.cx, d->a[0]);
  if (!fold->sum) {
    dhc_lp_set(b, fold->acc, dhc_tpl_fold_two(b, d, dhc_lp_get(b, fold->acc), x));
    return;
  }
  DhcLv part = dhc_lp_and(b, step, dhc_lp_i64(b, PARTS - 1));
  DhcLv at = dhc_lp_add(b, dhc_lp_mulc(b, part, v->threads), v->tid);
  dhc_lp_store(b, v->parts[f], at, dhc_lp_add(b, dhc_lp_load(b, v->parts[f], at, 1, 0), x), 0);
}

/* n steps of a pass, of which step0 is the first in block memory. */
static void steps(ChainRows *v, int level, const bool *needed, DhcLv step0, DhcLv at, int n) {
  DhcLp *b = v->b;
  DhcChain *c = &v->c;
  DhcLv x[DHC_CHAIN_MAX_INNER][MAX_TOGETHER];
  for (int i = 0; i < c->n_in; i++)
    if (needed[c->in[i].node]) inner(v, i, at, n, x[i]);
  for (int u = 0; u < n; u++) {
    DhcLv here = dhc_lp_addc(b, at, u), step = dhc_lp_add(b, step0, here);
    DhcTplMark mark = dhc_tpl_push(&c->cx);
    dhc_tpl_bind(&c->cx, c->step, step);
    for (int i = 0; i < c->n_in; i++)
      if (needed[c->in[i].node]) dhc_tpl_set(&c->cx, c->in[i].node, x[i][u]);
    for (int f = 0; f < c->n_fold; f++)
      if (c->fold[f].level == level) fold_step(v, f, step);
    for (int j = 0; j < c->n_out && level == c->last; j++) {
      DhcLv e = dhc_lp_splat(b, dhc_tpl_eval(&c->cx, c->out[j].ne), 4);
      for (int q = 0; q < v->out[j].quads; q++)
        dhc_lp_set(b, v->out[j].sum[q], dhc_lp_fma(b, e, quad(v, &v->out[j], here, q), dhc_lp_get(b, v->out[j].sum[q])));
    }
    dhc_tpl_pop(&c->cx, &mark);
  }
}

/* Outer sums' blocks of 256 products (ir/sum.h), at most 16 of them: those that are finished are added to +0 in order. */
static void finish_block(ChainRows *v) {
  DhcLp *b = v->b;
  for (int j = 0; j < v->c.n_out; j++)
    for (int q = 0; q < v->out[j].quads; q++) {
      DhcLv at = dhc_lp_i64(b, 4 * (int64_t)q), so_far = dhc_lp_load(b, v->out[j].done, at, 4, 0);
      dhc_lp_store(b, v->out[j].done, at, dhc_lp_add(b, so_far, dhc_lp_get(b, v->out[j].sum[q])), 0);
      dhc_lp_set(b, v->out[j].sum[q], dhc_lp_zero(b, DHC_F32, 4));
    }
}

static void products_begin(ChainRows *v) {
  DhcLp *b = v->b;
  if (dhc_tpl_one_block(v->c.cx.extent[v->c.step], 1)) return;
  for (int j = 0; j < v->c.n_out; j++) {
    v->out[j].done = dhc_lp_local(b, DHC_F32, 4 * v->out[j].quads);
    for (int q = 0; q < v->out[j].quads; q++)
      dhc_lp_store(b, v->out[j].done, dhc_lp_i64(b, 4 * (int64_t)q), dhc_lp_zero(b, DHC_F32, 4), 0);
  }
}

/* Before the steps from step0 on. */
static void products_step(ChainRows *v, DhcLv step0) {
  DhcLp *b = v->b;
  DhcLv zero = dhc_lp_i64(b, 0), within = dhc_lp_and(b, step0, dhc_lp_i64(b, DHC_DOT_BLOCK - 1));
  if (!v->out[0].done) return;
  dhc_lp_if(b, dhc_lp_and(b, dhc_lp_eq(b, within, zero), dhc_lp_lt(b, zero, step0)));
  finish_block(v);
  dhc_lp_end(b);
}

static void products_end(ChainRows *v) {
  DhcLp *b = v->b;
  if (!v->out[0].done) return;
  dhc_lp_if(b, dhc_lp_lt(b, dhc_lp_i64(b, DHC_DOT_BLOCK), v->c.cx.extent[v->c.step]));
  finish_block(v);
  for (int j = 0; j < v->c.n_out; j++)
    for (int q = 0; q < v->out[j].quads; q++)
      dhc_lp_set(b, v->out[j].sum[q], dhc_lp_load(b, v->out[j].done, dhc_lp_i64(b, 4 * (int64_t)q), 4, 0));
  dhc_lp_end(b);
}

static void pass(ChainRows *v, int level) {
  DhcLp *b = v->b;
  DhcChain *c = &v->c;
  bool needed[DHC_SPEC_MAX_NODES] = {false};
  needed_in_pass(c, level, needed);
  for (int n = 0; n < c->s->n_nodes; n++)
    if (needed[n] && c->s->node[n].kind == DHC_SN_LOAD && !(c->cx.varies[n] & ~c->cx.bound)) dhc_tpl_eval(&c->cx, n);
  DhcLv n = c->cx.extent[c->step], zero = dhc_lp_i64(b, 0);
  DhcLv step0 = dhc_lp_for(b, zero, n, v->held), count = dhc_lp_min(b, dhc_lp_sub(b, n, step0), dhc_lp_i64(b, v->held));
  DhcTplMark tile = dhc_tpl_push(&c->cx);
  if (level == c->last) products_step(v, step0);
  dhc_lp_barrier(b);
  for (int i = 0; i < c->n_in; i++)
    if (needed[c->in[i].node]) bring(v, &v->in[i], c->in[i].na, c->in[i].k, step0, count);
  for (int j = 0; j < c->n_out && level == c->last; j++) bring(v, &v->out[j], c->out[j].nv, c->out[j].col, step0, count);
  dhc_lp_barrier(b);
  DhcLv whole = dhc_lp_mulc(b, dhc_lp_udiv(b, count, dhc_lp_i64(b, v->together)), v->together);
  DhcLv at = dhc_lp_for(b, zero, whole, v->together);
  steps(v, level, needed, step0, at, v->together);
  dhc_lp_end(b);
  at = dhc_lp_for(b, whole, count, 1);
  steps(v, level, needed, step0, at, 1);
  dhc_lp_end(b);
  dhc_tpl_pop(&c->cx, &tile);
  dhc_lp_end(b);
}

static void folds_begin(ChainRows *v, int level) {
  DhcLp *b = v->b;
  DhcChain *c = &v->c;
  for (int f = 0; f < c->n_fold; f++) {
    DhcChainFold *fold = &c->fold[f];
    if (fold->level != level) continue;
    if (!fold->sum) fold->acc = dhc_lp_var(b, dhc_tpl_fold_unit(b, &c->s->node[fold->node], DHC_F32));
    for (int p = 0; p < PARTS && fold->sum; p++)
      dhc_lp_store(b, v->parts[f], dhc_lp_addc(b, v->tid, (int64_t)p * v->threads), dhc_lp_float(b, DHC_F32, 0), 0);
  }
}

static void folds_end(ChainRows *v, int level) {
  DhcLp *b = v->b;
  DhcChain *c = &v->c;
  for (int f = 0; f < c->n_fold; f++) {
    DhcChainFold *fold = &c->fold[f];
    const DhcSpecNode *d = &c->s->node[fold->node];
    if (fold->level != level) continue;
    DhcLv p[PARTS] = {fold->sum ? NULL : dhc_lp_get(b, fold->acc)};
    for (int i = 0; i < PARTS && fold->sum; i++)
      p[i] = dhc_lp_load(b, v->parts[f], dhc_lp_addc(b, v->tid, (int64_t)i * v->threads), 1, 0);
    for (int w = PARTS / 2; w > 0 && fold->sum; w /= 2)
      for (int i = 0; i < w; i++) p[i] = dhc_lp_add(b, p[i], p[i + w]);
    dhc_tpl_set(&c->cx, fold->node, dhc_tpl_fold_settle(b, d, p[0]));
  }
}

/* ---- outputs -------------------------------------------------------------------------------------------- */

static int column_of(const DhcChain *c, int o) {
  return dhc_chain_only_axis(dhc_tpl_operand_axes(&c->cx, o) & ~(c->outer | 1u << c->lane));
}

/* Outputs with columns along this axis (-1: without). */
static void store_columns(ChainRows *v, int axis, int q) {
  DhcLp *b = v->b;
  DhcChain *c = &v->c;
  DhcTplMark mark = dhc_tpl_push(&c->cx);
  if (axis >= 0) {
    dhc_tpl_bind_vector(&c->cx, axis, dhc_lp_i64(b, 4 * (int64_t)q), 4, NULL);
    for (int j = 0; j < c->n_out; j++)
      if (c->out[j].col == axis) dhc_tpl_set(&c->cx, c->out[j].node, dhc_lp_get(b, v->out[j].sum[q]));
  }
  for (int o = dhc_spec_n_inputs(c->s); o < c->s->n_operands; o++)
    if (column_of(c, o) == axis) dhc_tpl_store(&c->cx, o);
  dhc_tpl_pop(&c->cx, &mark);
}

static void outputs(ChainRows *v) {
  DhcChain *c = &v->c;
  dhc_lp_if(v->b, v->inside);
  DhcTplMark mark = dhc_tpl_push(&c->cx);
  store_columns(v, -1, 0);
  for (int j = 0; j < c->n_out; j++) {
    bool before = false;
    for (int i = 0; i < j; i++) before = before || c->out[i].col == c->out[j].col;
    for (int q = 0; q < v->out[j].quads && !before; q++) store_columns(v, c->out[j].col, q);
  }
  dhc_tpl_pop(&c->cx, &mark);
  dhc_lp_end(v->b);
}

/* ---- the kernel -------------------------------------------------------------------------------------------- */

static void hold_rows(ChainRows *v) {
  DhcLp *b = v->b;
  DhcChain *c = &v->c;
  for (int i = 0; i < c->n_in; i++)
    for (int q = 0; q < v->in[i].quads; q++) {
      DhcTplMark mark = dhc_tpl_push(&c->cx);
      dhc_tpl_bind_vector(&c->cx, c->in[i].k, dhc_lp_i64(b, 4 * (int64_t)q), 4, NULL);
      v->in[i].row[q] = dhc_lp_splat(b, dhc_tpl_eval(&c->cx, c->in[i].nb), 4);
      dhc_tpl_pop(&c->cx, &mark);
    }
  for (int j = 0; j < c->n_out; j++)
    for (int q = 0; q < v->out[j].quads; q++) v->out[j].sum[q] = dhc_lp_var(b, dhc_lp_zero(b, DHC_F32, 4));
}

void dhc_tpl_chain_rows(const DhcTplInput *in, DhcLp *b) {
  ChainRows *v = DHC_NEW(b->arena, ChainRows);
  DhcChain *c = &v->c;
  DhcArena *a = b->arena;
  c->b = v->b = b;
  c->s = in->spec;
  v->threads = in->schedule->v[1];
  v->held = in->schedule->v[2];
  v->together = in->schedule->v[3];
  if (v->together < 1 || v->together > MAX_TOGETHER || DHC_DOT_BLOCK % v->held) DHC_BUG("schedule of a chain: %d, %d", v->held, v->together);
  dhc_tpl_init(&c->cx, in, b);
  if (b->refused) return;
  const char *why = dhc_chain_roles(c) ? lay_out(v) : "no rows of contractions";
  if (why) dhc_lp_refuse(b, "%s", why);
  if (b->refused) return;
  dhc_dimprog blocks = dhc_prog_op(a, DHC_DIM_CEILDIV, dhc_tpl_extent_prog(&c->cx, c->lane), dhc_prog_const(a, v->threads));
  DhcLv n_blocks = dhc_lp_prog(b, blocks), n = c->cx.extent[c->lane];
  DhcLv task = dhc_lp_tasks(b, dhc_prog_op(a, DHC_DIM_MUL, dhc_tpl_count_prog(&c->cx, c->outer), blocks));
  v->tid = dhc_lp_thread(b);
  place_memory(v);
  DhcTplMark mark = dhc_tpl_push(&c->cx);
  dhc_tpl_bind_flat(&c->cx, c->outer, dhc_lp_udiv(b, task, n_blocks));
  DhcLv row = dhc_lp_add(b, dhc_lp_mulc(b, dhc_lp_urem(b, task, n_blocks), v->threads), v->tid);
  v->inside = dhc_lp_lt(b, row, n);
  dhc_tpl_bind(&c->cx, c->lane, dhc_lp_min(b, row, dhc_lp_addc(b, n, -1))); /* a thread behind the last row stores nothing */
  hold_rows(v);
  for (int level = 1; level <= c->last; level++) {
    folds_begin(v, level);
    if (level == c->last) products_begin(v);
    pass(v, level);
    folds_end(v, level);
  }
  products_end(v);
  outputs(v);
  dhc_tpl_pop(&c->cx, &mark);
  dhc_lp_end(b);
}
