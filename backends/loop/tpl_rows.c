/* Templates "rows" and "rows_split" (GPUs): folds by blocks of threads, with the bits of the sum rule (ir/sum.h).
 *
 * By rows: a block takes one place of the parallel axes. Its threads bring a piece of the row into block memory, 16 of
 * them add up the 16 partials, element after element; what is made of the folds is stored by all threads. Maxima,
 * minima and sums of integers have no order: each thread folds what it brings.
 * Few short rows are held: four elements a thread of all that a row is made of, in registers, so that nothing is read twice; and what
 * all rows read, as weights are, is read before the kernel waits (dhc_lp_early).
 * By columns, where a parallel axis is the one that lies side by side: a block takes `columns` neighbouring places,
 * 16 threads each, one a partial.
 *
 * "rows_split", for specs that dhc_spec_may_split admits, is for few and long folds: a block takes one block of the sum
 * rule and leaves its sum in shared memory; in the second phase one joins those of a row. Blocks' sums are added as a tree
 * over a power of two of places, of which those behind the last hold +0: that is the rule's tree, bit for bit, as no sum
 * of a block is -0.
 *
 * Schedule: v[0] as "row", v[1] threads of a block by rows, v[2] columns of a block, v[3] elements of a piece (a
 * multiple of 16), v[4] elements that a thread asks for at once, up to 64, v[5] not 0: "rows_split" by rows, too, gives a
 * block of the sum rule to a whole block of threads, else to 16; v[6] not 0: rows that fit are held (dhc_spec_holds). */
#include "backends/loop/tpl_rows.h"

enum { MAX_AT_ONCE = 64, JOINED = 8, WHOLE_AT_ONCE = 16, MAX_FOURS = 4, TAKEN = 16 };

/* ---- pieces of all forms ------------------------------------------------------------------ */

static bool is_sum16(const DhcRows *v, int n) {
  const DhcSpecNode *d = &v->s->node[n];
  return d->op == DHC_OP_REDUCE_SUM && dhc_dtype_is_float(v->s->node[d->a[0]].dtype);
}

static dhc_dtype folded_type(const DhcRows *v, int n) {
  dhc_dtype t = v->s->node[v->s->node[n].a[0]].dtype;
  return t == DHC_BF16 ? DHC_F32 : t; /* as it is in a register */
}

int dhc_rows_quad_axis(const DhcRows *v, uint32_t axes, int n) {
  bool needed[DHC_SPEC_MAX_NODES] = {false};
  int axis = DHC_SPEC_MAX_AXES - 1;
  if (!axes) return -1;
  while (!(axes >> axis & 1)) axis--;
  dhc_tpl_needed(v->s, n, needed);
  for (int m = 0; m < v->s->n_nodes; m++) {
    const DhcSpecNode *d = &v->s->node[m];
    if (!needed[m] || !(v->cx.varies[m] & axes)) continue;
    if (d->kind == DHC_SN_FOLD || d->kind == DHC_SN_RANDOM) return -1;
    if (d->kind == DHC_SN_LOAD && !dhc_tpl_contiguous(&v->cx, d->operand, axis)) return -1;
  }
  return axis;
}

/* The element of fold n at a flat index. Between push and pop of the caller's. */
static DhcLv element(DhcRows *v, int n, DhcLv flat) {
  dhc_tpl_bind_flat(&v->cx, v->s->node[n].axes, flat);
  return dhc_tpl_eval(&v->cx, v->s->node[n].a[0]);
}

static DhcLv at_column(DhcRows *v, DhcLv i) { return dhc_lp_add(v->b, dhc_lp_mulc(v->b, i, v->columns), v->lane); }

/* The 16 values at mem[0 … 15] of each column, pairwise 8, 4, 2 and 1 apart. */
static DhcLv fold16(DhcRows *v, const DhcSpecNode *d, DhcLv mem) {
  DhcLp *b = v->b;
  DhcLv p[PARTS];
  for (int i = 0; i < PARTS; i++) p[i] = dhc_lp_load(b, mem, at_column(v, dhc_lp_i64(b, i)), 1, 0);
  for (int w = PARTS / 2; w > 0; w /= 2)
    for (int i = 0; i < w; i++) p[i] = dhc_tpl_fold_two(b, d, p[i], p[i + w]);
  return p[0];
}

/* ---- elements [lo, hi) of a fold: the partials' sum, in every thread ------------------------- */

/* Elements from `first` on, `step` apart, `at_once` of them a round: all are asked for before the first is needed. */
static void walk_round(DhcRows *v, int n, DhcLv first, DhcLv end, int step, int at_once, DhcLpVar acc) {
  DhcLp *b = v->b;
  DhcLv i = dhc_lp_for(b, first, end, (int64_t)step * at_once), x[MAX_AT_ONCE];
  for (int k = 0; k < at_once; k++) {
    DhcTplMark mark = dhc_tpl_push(&v->cx);
    x[k] = element(v, n, dhc_lp_addc(b, i, (int64_t)k * step));
    dhc_tpl_pop(&v->cx, &mark);
  }
  DhcLv sum = dhc_lp_get(b, acc);
  for (int k = 0; k < at_once; k++) sum = dhc_tpl_fold_two(b, &v->s->node[n], sum, x[k]);
  dhc_lp_set(b, acc, sum);
  dhc_lp_end(b);
}

/* What a thread has of [first, hi), added to acc in order: whole rounds, then the rest one by one. */
static void walk(DhcRows *v, int n, DhcLv first, DhcLv hi, int step, DhcLpVar acc) {
  DhcLp *b = v->b;
  int64_t reach = (int64_t)step * v->at_once;
  DhcLv left = dhc_lp_max(b, dhc_lp_sub(b, hi, first), dhc_lp_i64(b, 0));
  /* elements of this thread, by `step`; those of whole rounds */
  DhcLv rounds = dhc_lp_udiv(b, dhc_lp_addc(b, left, step - 1), dhc_lp_i64(b, reach));
  DhcLv middle = dhc_lp_add(b, first, dhc_lp_mulc(b, rounds, reach));
  walk_round(v, n, first, middle, step, v->at_once, acc);
  walk_round(v, n, middle, hi, step, 1, acc);
}

/* A piece's elements, four side by side, to block memory; of several folded axes all, if the last is so many fours. Of what is made of few
 * nodes all of a piece is on its way at once. The first that is not among them. */
static DhcLv take_fours(DhcRows *v, int n, int axis, DhcLv mem, DhcLv from, DhcLv to) {
  DhcLp *b = v->b;
  const uint32_t outer = v->s->node[n].axes & ~(1u << axis);
  const int64_t reach = 4 * (int64_t)v->threads, pieces = v->piece / reach;
  const int rounds = v->at_once < WHOLE_AT_ONCE || pieces < 1 ? 1 : pieces < MAX_FOURS ? (int)pieces : MAX_FOURS;
  DhcLv extent = v->cx.extent[axis], none = dhc_lp_i64(b, 0), whole = dhc_lp_sub(b, to, from), x[MAX_FOURS], at[MAX_FOURS];
  if (outer) whole = dhc_lp_select(b, dhc_lp_eq(b, dhc_lp_and(b, extent, dhc_lp_i64(b, 3)), none), whole, none);
  DhcLv rest = dhc_lp_add(b, from, dhc_lp_and(b, whole, dhc_lp_i64(b, -4)));
  DhcLv i = dhc_lp_for(b, dhc_lp_add(b, from, dhc_lp_mulc(b, v->tid, 4)), rest, reach * rounds);
  for (int r = 0; r < rounds; r++) {
    at[r] = dhc_lp_addc(b, i, r * reach);
    DhcLv there = r ? dhc_lp_min(b, at[r], dhc_lp_addc(b, rest, -4)) : i;
    DhcTplMark mark = dhc_tpl_push(&v->cx);
    if (outer) dhc_tpl_bind_flat(&v->cx, outer, dhc_lp_udiv(b, there, extent));
    dhc_tpl_bind_vector(&v->cx, axis, outer ? dhc_lp_urem(b, there, extent) : there, 4, NULL);
    x[r] = dhc_lp_splat(b, dhc_tpl_eval(&v->cx, v->s->node[n].a[0]), 4);
    dhc_tpl_pop(&v->cx, &mark);
  }
  for (int r = 0; r < rounds; r++) {
    if (r) dhc_lp_if(b, dhc_lp_lt(b, at[r], rest));
    dhc_lp_store(b, mem, dhc_lp_sub(b, at[r], from), x[r], 16);
    if (r) dhc_lp_end(b);
  }
  dhc_lp_end(b);
  return rest;
}

/* Adds what the first 16 threads find in block memory, every sixteenth element below count: sixteen of them loaded before they are added. */
static void take_up(DhcRows *v, DhcLv mem, DhcLv count, DhcLpVar acc) {
  DhcLp *b = v->b;
  DhcLv whole = dhc_lp_sub(b, count, dhc_lp_and(b, count, dhc_lp_i64(b, TAKEN * PARTS - 1))), x[TAKEN];
  DhcLv k = dhc_lp_for(b, v->tid, whole, TAKEN * PARTS);
  for (int i = 0; i < TAKEN; i++) x[i] = dhc_lp_load(b, mem, dhc_lp_addc(b, k, (int64_t)i * PARTS), 1, 0);
  DhcLv sum = dhc_lp_get(b, acc);
  for (int i = 0; i < TAKEN; i++) sum = dhc_lp_add(b, sum, x[i]);
  dhc_lp_set(b, acc, sum);
  dhc_lp_end(b);
  k = dhc_lp_for(b, dhc_lp_add(b, whole, v->tid), count, PARTS);
  dhc_lp_set(b, acc, dhc_lp_add(b, dhc_lp_get(b, acc), dhc_lp_load(b, mem, k, 1, 0)));
  dhc_lp_end(b);
}

/* By rows: pieces of the row through block memory, where the first 16 threads take them up. */
static void take_pieces(DhcRows *v, int n, DhcLv lo, DhcLv hi, DhcLpVar acc) {
  DhcLp *b = v->b;
  DhcLv mem = dhc_lp_block_memory(b, folded_type(v, n), 0);
  DhcLv from = dhc_lp_for(b, lo, hi, v->piece), to = dhc_lp_min(b, hi, dhc_lp_addc(b, from, v->piece));
  int axis = folded_type(v, n) == DHC_F32 ? dhc_rows_quad_axis(v, v->s->node[n].axes, v->s->node[n].a[0]) : -1;
  DhcLv rest = axis < 0 ? from : take_fours(v, n, axis, mem, from, to);
  DhcLv i = dhc_lp_for(b, dhc_lp_add(b, rest, v->tid), to, v->threads);
  DhcTplMark mark = dhc_tpl_push(&v->cx);
  dhc_lp_store(b, mem, dhc_lp_sub(b, i, from), element(v, n, i), 0);
  dhc_tpl_pop(&v->cx, &mark);
  dhc_lp_end(b);
  dhc_lp_barrier(b);
  dhc_lp_if(b, dhc_lp_lt(b, v->tid, dhc_lp_i64(b, PARTS)));
  take_up(v, mem, dhc_lp_sub(b, to, from), acc);
  dhc_lp_end(b);
  dhc_lp_barrier(b);
  dhc_lp_end(b);
}

/* Of `count` threads a column: what each has, folded; where there are more than 16, 16 of them take up the others'. */
static DhcLv gather(DhcRows *v, int n, DhcLpVar acc, int count) {
  DhcLp *b = v->b;
  const DhcSpecNode *d = &v->s->node[n];
  DhcLv mem = dhc_lp_block_memory(b, folded_type(v, n), 0), sixteen = dhc_lp_i64(b, PARTS);
  if (count > PARTS) {
    dhc_lp_store(b, mem, v->tid, dhc_lp_get(b, acc), 0);
    dhc_lp_barrier(b);
    dhc_lp_if(b, dhc_lp_lt(b, v->tid, sixteen));
    DhcLv k = dhc_lp_for(b, dhc_lp_addc(b, v->tid, PARTS), dhc_lp_i64(b, count), PARTS);
    dhc_lp_set(b, acc, dhc_tpl_fold_two(b, d, dhc_lp_get(b, acc), dhc_lp_load(b, mem, k, 1, 0)));
    dhc_lp_end(b);
    dhc_lp_end(b);
    dhc_lp_barrier(b);
  }
  dhc_lp_if(b, dhc_lp_lt(b, v->part, sixteen));
  dhc_lp_store(b, mem, at_column(v, v->part), dhc_lp_get(b, acc), 0);
  dhc_lp_end(b);
  dhc_lp_barrier(b);
  DhcLv sum = fold16(v, d, mem);
  dhc_lp_barrier(b);
  return sum;
}

static DhcLpVar unit_var(DhcRows *v, int n) {
  return dhc_lp_var(v->b, dhc_tpl_fold_unit(v->b, &v->s->node[n], folded_type(v, n)));
}

static DhcLv fold_part(DhcRows *v, int n, DhcLv lo, DhcLv hi) {
  DhcLpVar acc = unit_var(v, n);
  bool by_rows = v->axis < 0;
  if (!by_rows) walk(v, n, dhc_lp_add(v->b, lo, v->part), hi, PARTS, acc);
  else if (is_sum16(v, n)) take_pieces(v, n, lo, hi, acc);
  else walk(v, n, dhc_lp_add(v->b, lo, v->tid), hi, v->threads, acc);
  return gather(v, n, acc, by_rows && !is_sum16(v, n) ? v->threads : PARTS);
}

/* A whole fold: its blocks one after the other. */
static DhcLv fold_all(DhcRows *v, int n) {
  DhcLp *b = v->b;
  DhcLv count = dhc_tpl_count(&v->cx, v->s->node[n].axes), zero = dhc_lp_i64(b, 0);
  int64_t known;
  if (!is_sum16(v, n) || v->brief || (dhc_lp_is_const(count, &known) && known <= DHC_SUM_BLOCK)) return fold_part(v, n, zero, count);
  DhcTplBlocks blocks = dhc_tpl_blocks_begin(b, folded_type(v, n), 1);
  DhcLpVar last = unit_var(v, n);
  DhcLv lo = dhc_lp_for(b, zero, count, DHC_SUM_BLOCK), next = dhc_lp_addc(b, lo, DHC_SUM_BLOCK);
  DhcTplMark mark = dhc_tpl_push(&v->cx);
  DhcLv sum = fold_part(v, n, lo, dhc_lp_min(b, count, next));
  dhc_lp_if(b, dhc_lp_lt(b, next, count));
  dhc_tpl_blocks_add(b, &blocks, sum);
  dhc_lp_else(b);
  dhc_lp_set(b, last, sum);
  dhc_lp_end(b);
  dhc_tpl_pop(&v->cx, &mark);
  dhc_lp_end(b);
  return dhc_tpl_blocks_end(b, &blocks, dhc_lp_get(b, last));
}

/* The sum over the row that is held. Between push and pop of the caller's, the thread's four elements bound. */
static DhcLv fold_held(DhcRows *v, int n) {
  DhcLp *b = v->b;
  DhcLv mem = dhc_lp_block_memory(b, DHC_F32, 0), x = dhc_lp_splat(b, dhc_tpl_eval(&v->cx, v->s->node[n].a[0]), 4);
  DhcLpVar acc = unit_var(v, n);
  dhc_lp_if(b, v->held);
  dhc_lp_store(b, mem, dhc_lp_mulc(b, v->tid, 4), x, 16);
  dhc_lp_end(b);
  dhc_lp_barrier(b);
  dhc_lp_if(b, dhc_lp_lt(b, v->tid, dhc_lp_i64(b, PARTS)));
  DhcLv k = dhc_lp_for_rounds(b, v->tid, dhc_tpl_count(&v->cx, v->red), PARTS, PARTS);
  dhc_lp_set(b, acc, dhc_lp_add(b, dhc_lp_get(b, acc), dhc_lp_load(b, mem, k, 1, 0)));
  dhc_lp_end(b);
  dhc_lp_end(b);
  dhc_lp_barrier(b);
  return gather(v, n, acc, PARTS);
}

DhcLv dhc_rows_provide(DhcTplCx *cx, int n, void *arg) {
  DhcRows *v = arg;
  if (v->held) return dhc_tpl_fold_settle(v->b, &cx->s->node[n], fold_held(v, n));
  if (cx->bound & v->red) return NULL;
  return dhc_tpl_fold_settle(v->b, &cx->s->node[n], fold_all(v, n));
}

/* ---- stores ---------------------------------------------------------------------------------- */

static uint32_t extra_axes(const DhcRows *v, int o) { return dhc_tpl_operand_axes(&v->cx, o) & v->red; }

/* All values before all stores: an output may lie where an input does. */
static void store_these(DhcRows *v, uint32_t extra) {
  for (int o = dhc_spec_n_inputs(v->s); o < v->s->n_operands; o++)
    if (extra_axes(v, o) == extra) dhc_tpl_eval(&v->cx, v->s->operand[o].stored);
  for (int o = dhc_spec_n_inputs(v->s); o < v->s->n_operands; o++)
    if (extra_axes(v, o) == extra) dhc_tpl_store(&v->cx, o);
}

/* The axis along which these outputs, and all they are made of, lie side by side; -1: they do not. */
static int stored_quads(const DhcRows *v, uint32_t extra) {
  int axis = -1;
  if (extra & (extra - 1)) return -1;
  for (int o = dhc_spec_n_inputs(v->s); o < v->s->n_operands; o++) {
    if (extra_axes(v, o) != extra) continue;
    axis = dhc_rows_quad_axis(v, extra, v->s->operand[o].stored);
    if (axis < 0 || !dhc_tpl_contiguous(&v->cx, o, axis)) return -1;
  }
  return axis;
}

static void store_set(DhcRows *v, uint32_t extra) {
  DhcLp *b = v->b;
  dhc_lp_if(b, extra ? v->inside : v->is_first);
  DhcTplMark mark = dhc_tpl_push(&v->cx);
  if (extra) {
    bool by_rows = v->axis < 0;
    DhcLv n = dhc_tpl_count(&v->cx, extra), rest = dhc_lp_i64(b, 0);
    int axis = by_rows ? stored_quads(v, extra) : -1;
    if (axis >= 0) {
      rest = dhc_lp_and(b, n, dhc_lp_i64(b, -4));
      DhcLv i = dhc_lp_for(b, dhc_lp_mulc(b, v->tid, 4), rest, 4 * (int64_t)v->threads);
      DhcTplMark quad = dhc_tpl_push(&v->cx);
      dhc_tpl_bind_vector(&v->cx, axis, i, 4, NULL);
      store_these(v, extra);
      dhc_tpl_pop(&v->cx, &quad);
      dhc_lp_end(b);
    }
    DhcLv first = dhc_lp_add(b, rest, by_rows ? v->tid : v->part);
    dhc_tpl_bind_flat(&v->cx, extra, dhc_lp_for(b, first, n, by_rows ? v->threads : PARTS));
    store_these(v, extra);
    dhc_lp_end(b);
  } else {
    store_these(v, 0);
  }
  dhc_tpl_pop(&v->cx, &mark);
  dhc_lp_end(b);
}

/* Outputs of parallel axes alone, then those of each set of reduced ones. */
static void store_all(DhcRows *v) {
  uint32_t done[DHC_SPEC_MAX_OPERANDS];
  int n = 0;
  dhc_lp_barrier(v->b); /* what stores overwrite has been read by all */
  for (int pass = 0; pass < 2; pass++)
    for (int o = dhc_spec_n_inputs(v->s); o < v->s->n_operands; o++) {
      uint32_t extra = extra_axes(v, o);
      bool seen = (extra != 0) != pass;
      for (int i = 0; i < n; i++) seen = seen || done[i] == extra;
      if (seen) continue;
      done[n++] = extra;
      store_set(v, extra);
    }
}

/* ---- places ------------------------------------------------------------------------------------ */

static dhc_dimprog n_places(const DhcRows *v) {
  DhcArena *a = v->b->arena;
  if (v->axis < 0) return dhc_tpl_count_prog(&v->cx, v->par);
  dhc_dimprog groups = dhc_prog_op(a, DHC_DIM_CEILDIV, dhc_tpl_extent_prog(&v->cx, v->axis), dhc_prog_const(a, v->columns));
  return dhc_prog_op(a, DHC_DIM_MUL, dhc_tpl_count_prog(&v->cx, v->par & ~(1u << v->axis)), groups);
}

/* Binds the parallel axes; a thread behind the last column takes that one, and stores nothing. */
static void bind_place(DhcRows *v, DhcLv place) {
  DhcLp *b = v->b;
  v->inside = dhc_lp_int(b, DHC_BOOL, 1);
  if (v->axis >= 0) {
    DhcLv n = v->cx.extent[v->axis], groups = dhc_lp_ceildivc(b, n, v->columns);
    DhcLv column = dhc_lp_add(b, dhc_lp_mulc(b, dhc_lp_urem(b, place, groups), v->columns), v->lane);
    v->inside = dhc_lp_lt(b, column, n);
    dhc_tpl_bind(&v->cx, v->axis, dhc_lp_min(b, column, dhc_lp_addc(b, n, -1)));
    place = dhc_lp_udiv(b, place, groups);
  }
  dhc_tpl_bind_flat(&v->cx, v->axis >= 0 ? v->par & ~(1u << v->axis) : v->par, place);
  v->is_first = dhc_lp_and(b, dhc_lp_eq(b, v->part, dhc_lp_i64(b, 0)), v->inside);
}

/* What is folded is most of what is read: how it lies decides, not how the results do. Along a parallel axis, more than along
 * those that are folded? */
static bool lies_by_columns(const DhcRows *v, int axis) {
  int along = 0, across = 0;
  for (int n = 0; n < v->s->n_nodes; n++) {
    const DhcSpecNode *d = &v->s->node[n];
    if (d->kind != DHC_SN_LOAD || !(v->cx.varies[n] & v->red)) continue;
    along += (v->cx.varies[n] >> axis & 1) && dhc_tpl_contiguous(&v->cx, d->operand, axis);
    for (int a = 0; a < v->s->n_axes; a++)
      across += (v->red & v->cx.varies[n]) >> a & 1 && dhc_tpl_contiguous(&v->cx, d->operand, a);
  }
  return along >= across;
}

static bool begin(DhcRows *v, const DhcTplInput *in, DhcLp *b, bool split) {
  const DhcSpec *s = in->spec;
  v->b = b;
  v->s = s;
  dhc_tpl_init(&v->cx, in, b);
  for (int a = 0; a < s->n_axes; a++) *(s->axis[a].role == DHC_AXIS_PAR ? &v->par : &v->red) |= 1u << a;
  for (int n = 0; n < s->n_nodes; n++) {
    if (s->node[n].kind == DHC_SN_FOLD && !dhc_op_folds(s->node[n].op)) dhc_lp_refuse(b, "a fold of another kind");
  }
  if (b->refused) return false;
  const int *o = in->schedule->v;
  int vector = dhc_tpl_choose_vector(&v->cx, v->par | v->red);
  v->axis = vector >= 0 && (v->par >> vector & 1) && lies_by_columns(v, vector) ? vector : -1;
  v->columns = v->axis < 0 ? 1 : o[2];
  v->threads = v->axis < 0 ? o[1] : PARTS * v->columns;
  v->workers = v->threads / v->columns;
  v->piece = o[3];
  v->at_once = o[4];
  if (v->at_once < 1 || v->at_once > MAX_AT_ONCE || v->piece % PARTS) DHC_BUG("schedule of rows: %d, %d", v->piece, v->at_once);
  v->by_parts = split && v->axis < 0 && !o[5];
  v->cx.provide = dhc_rows_provide;
  v->cx.provide_arg = v;
  int most = v->axis < 0 && !v->by_parts && v->piece > v->threads ? v->piece : v->threads, bytes = 4;
  for (int n = 0; n < s->n_nodes; n++)
    if (s->node[n].kind == DHC_SN_FOLD && dhc_dtype_bytes(folded_type(v, n)) > bytes) bytes = dhc_dtype_bytes(folded_type(v, n));
  dhc_lp_block(b, v->threads, (int64_t)most * bytes);
  b->together = v->axis >= 0 ? 1 : 1024 / v->threads; /* by columns few threads have much on its way */
  return true;
}

static void number_threads(DhcRows *v) {
  DhcLp *b = v->b;
  DhcLv columns = dhc_lp_i64(b, v->columns);
  v->tid = dhc_lp_thread(b);
  v->lane = v->columns > 1 ? dhc_lp_urem(b, v->tid, columns) : dhc_lp_i64(b, 0);
  v->part = v->columns > 1 ? dhc_lp_udiv(b, v->tid, columns) : v->tid;
}

static bool is_common(const DhcRows *v, int o) { return !(dhc_tpl_operand_axes(&v->cx, o) & v->par); }

/* A row of up to four elements a thread, fours of them. */
static void hold_row(DhcRows *v, const bool *needed) {
  DhcLp *b = v->b;
  DhcTplCx *cx = &v->cx;
  DhcLv count = dhc_tpl_count(cx, v->red), at = dhc_lp_mulc(b, v->tid, 4);
  const int axis = __builtin_ctz(v->red); /* the one there is */
  DhcTplMark mark = dhc_tpl_push(cx);
  v->held = dhc_lp_lt(b, at, count);
  dhc_tpl_bind_vector(cx, axis, dhc_lp_max(b, dhc_lp_min(b, at, dhc_lp_addc(b, count, -4)), dhc_lp_i64(b, 0)), 4, NULL);
  for (int own = 0; own < 2; own++) /* first what all rows read */
    for (int n = 0; n < v->s->n_nodes; n++)
      if (needed[n] && v->s->node[n].kind == DHC_SN_LOAD && is_common(v, v->s->node[n].operand) != own) dhc_tpl_eval(cx, n);
  for (int n = 0; n < v->s->n_nodes; n++)
    if (needed[n] && v->s->node[n].kind == DHC_SN_FOLD) dhc_tpl_eval(cx, n);
  dhc_lp_if(b, v->held);
  store_these(v, v->red);
  dhc_lp_end(b);
  v->held = NULL;
  dhc_tpl_pop(cx, &mark);
}

void dhc_tpl_rows_block(const DhcTplInput *in, DhcLp *b) {
  DhcRows *v = DHC_NEW(b->arena, DhcRows);
  if (!begin(v, in, b, false)) return;
  bool needed[DHC_SPEC_MAX_NODES] = {false};
  dhc_tpl_needed_by_outputs(v->s, needed);
  bool holds = in->schedule->v[6] && v->axis < 0;
  for (int o = 0; o < dhc_spec_n_inputs(v->s) && holds; o++)
    if (is_common(v, o)) dhc_lp_early(b, o);
  DhcLv task = dhc_lp_tasks(b, n_places(v));
  number_threads(v);
  DhcTplMark mark = dhc_tpl_push(&v->cx);
  bind_place(v, task);
  if (holds) {
    DhcLv count = dhc_tpl_count(&v->cx, v->red);
    dhc_lp_if(b, dhc_lp_and(b, dhc_lp_le(b, count, dhc_lp_i64(b, 4 * v->threads)), dhc_lp_eq(b, dhc_lp_and(b, count, dhc_lp_i64(b, 3)), dhc_lp_i64(b, 0))));
    hold_row(v, needed);
    dhc_lp_else(b);
  }
  DhcTplMark other = dhc_tpl_push(&v->cx);
  dhc_tpl_hoist(&v->cx, needed);
  store_all(v);
  dhc_tpl_pop(&v->cx, &other);
  if (holds) dhc_lp_end(b);
  dhc_tpl_pop(&v->cx, &mark);
  dhc_lp_end(b);
}

/* ---- in two phases ------------------------------------------------------------------------------ */

typedef struct Split {
  DhcRows *v;
  int n_folds, fold[DHC_SPEC_MAX_NODES];
  DhcLv n_blocks, slots; /* of a place; of all */
} Split;

/* Region k of the shared memory: 8 bytes for every (place, block, column). */
static DhcLv region(const Split *w, int k, dhc_dtype t) {
  DhcLp *b = w->v->b;
  DhcLv elements = dhc_lp_mulc(b, w->slots, (int64_t)k * (8 / dhc_dtype_bytes(t)));
  return dhc_lp_at(b, dhc_lp_shared(b, t), elements);
}

static DhcLv slot(const Split *w, DhcLv place, DhcLv block) {
  DhcLp *b = w->v->b;
  return at_column(w->v, dhc_lp_add(b, dhc_lp_mul(b, place, w->n_blocks), block));
}

/* By rows: 16 threads a block of the sum rule, several blocks a block of threads. */
static void first_by_parts(const Split *w, DhcLv place, DhcLv group) {
  DhcRows *v = w->v;
  DhcLp *b = v->b;
  DhcLv parts = dhc_lp_i64(b, PARTS), part = dhc_lp_urem(b, v->tid, parts), zero = dhc_lp_i64(b, 0);
  DhcLv block = dhc_lp_add(b, dhc_lp_mulc(b, group, v->threads / PARTS), dhc_lp_udiv(b, v->tid, parts));
  DhcLv count = dhc_tpl_count(&v->cx, v->red), lo = dhc_lp_mulc(b, block, DHC_SUM_BLOCK);
  DhcLv hi = dhc_lp_min(b, count, dhc_lp_addc(b, lo, DHC_SUM_BLOCK));
  DhcLv stores = dhc_lp_and(b, dhc_lp_eq(b, part, zero), dhc_lp_lt(b, block, w->n_blocks));
  for (int k = 0; k < w->n_folds; k++) {
    int n = w->fold[k];
    const DhcSpecNode *d = &v->s->node[n];
    DhcLv mem = dhc_lp_block_memory(b, folded_type(v, n), 0), own = dhc_lp_sub(b, v->tid, part), p[PARTS];
    DhcLpVar acc = unit_var(v, n);
    walk(v, n, dhc_lp_add(b, lo, part), hi, PARTS, acc);
    dhc_lp_store(b, mem, v->tid, dhc_lp_get(b, acc), 0);
    dhc_lp_barrier(b);
    for (int i = 0; i < PARTS; i++) p[i] = dhc_lp_load(b, mem, dhc_lp_addc(b, own, i), 1, 0);
    for (int half = PARTS / 2; half > 0; half /= 2)
      for (int i = 0; i < half; i++) p[i] = dhc_tpl_fold_two(b, d, p[i], p[i + half]);
    dhc_lp_barrier(b);
    dhc_lp_if(b, stores);
    dhc_lp_store(b, region(w, k, folded_type(v, n)), slot(w, place, block), p[0], 0);
    dhc_lp_end(b);
  }
}

static void first_phase(const Split *w, DhcLv place, DhcLv block) {
  DhcRows *v = w->v;
  DhcLp *b = v->b;
  DhcLv count = dhc_tpl_count(&v->cx, v->red), lo = dhc_lp_mulc(b, block, DHC_SUM_BLOCK);
  DhcLv hi = dhc_lp_min(b, count, dhc_lp_addc(b, lo, DHC_SUM_BLOCK));
  for (int k = 0; k < w->n_folds; k++) {
    DhcLv sum = fold_part(v, w->fold[k], lo, hi);
    dhc_lp_if(b, v->is_first);
    dhc_lp_store(b, region(w, k, folded_type(v, w->fold[k])), slot(w, place, block), sum, 0);
    dhc_lp_end(b);
  }
}

/* Blocks that a worker takes: the least power of two, from 8, that lets the workers of a row take all. */
static DhcLv blocks_each(const Split *w) {
  DhcLp *b = w->v->b;
  DhcLpVar each = dhc_lp_var(b, dhc_lp_i64(b, JOINED));
  dhc_lp_for(b, dhc_lp_i64(b, 0), dhc_lp_i64(b, DHC_SUM_LEVELS), 1);
  DhcLv e = dhc_lp_get(b, each), few = dhc_lp_lt(b, dhc_lp_mulc(b, e, w->v->workers), w->n_blocks);
  dhc_lp_set(b, each, dhc_lp_select(b, few, dhc_lp_mulc(b, e, 2), e));
  dhc_lp_end(b);
  return dhc_lp_get(b, each);
}

/* Neighbours add, then neighbouring pairs, and so on: places 2^k apart. */
static DhcLv tree_of_workers(DhcRows *v, int n, DhcLv own) {
  DhcLp *b = v->b;
  DhcLv mem = dhc_lp_block_memory(b, folded_type(v, n), 0), top = dhc_lp_i64(b, v->workers - 1);
  for (int apart = 1; apart < v->workers; apart *= 2) {
    dhc_lp_store(b, mem, v->tid, own, 0);
    dhc_lp_barrier(b);
    DhcLv other = dhc_lp_load(b, mem, at_column(v, dhc_lp_min(b, dhc_lp_addc(b, v->part, apart), top)), 1, 0);
    own = dhc_tpl_fold_two(b, &v->s->node[n], own, other);
    dhc_lp_barrier(b);
  }
  dhc_lp_store(b, mem, v->tid, own, 0);
  dhc_lp_barrier(b);
  own = dhc_lp_load(b, mem, v->lane, 1, 0);
  dhc_lp_barrier(b);
  return own;
}

static DhcLv join(const Split *w, int k, DhcLv place, DhcLv each) {
  DhcRows *v = w->v;
  DhcLp *b = v->b;
  int n = w->fold[k];
  DhcLv first = dhc_lp_mul(b, v->part, each), last = dhc_lp_min(b, w->n_blocks, dhc_lp_add(b, first, each));
  DhcLv from = region(w, k, folded_type(v, n));
  DhcTplBlocks blocks = {0};
  DhcLpVar acc = unit_var(v, n);
  if (is_sum16(v, n)) blocks = dhc_tpl_blocks_begin(b, folded_type(v, n), 1);
  DhcLv block = dhc_lp_for(b, first, last, JOINED), x[JOINED], none = dhc_tpl_fold_unit(b, &v->s->node[n], folded_type(v, n));
  for (int i = 0; i < JOINED; i++) { /* eight neighbours are a subtree of their own; behind the last there is nothing */
    DhcLv at = dhc_lp_addc(b, block, i), there = dhc_lp_lt(b, at, last), top = dhc_lp_addc(b, last, -1);
    x[i] = dhc_lp_select(b, there, dhc_lp_load(b, from, slot(w, place, dhc_lp_min(b, at, top)), 1, 0), none);
  }
  for (int apart = 1; apart < JOINED; apart *= 2)
    for (int i = 0; i < JOINED; i += 2 * apart) x[i] = dhc_tpl_fold_two(b, &v->s->node[n], x[i], x[i + apart]);
  if (is_sum16(v, n)) dhc_tpl_blocks_add(b, &blocks, x[0]);
  else dhc_lp_set(b, acc, dhc_tpl_fold_two(b, &v->s->node[n], dhc_lp_get(b, acc), x[0]));
  dhc_lp_end(b);
  DhcLv own = is_sum16(v, n) ? dhc_tpl_blocks_end(b, &blocks, dhc_lp_get(b, acc)) : dhc_lp_get(b, acc);
  return dhc_tpl_fold_settle(b, &v->s->node[n], tree_of_workers(v, n, own));
}

static void second_phase(const Split *w, DhcLv place) {
  DhcRows *v = w->v;
  DhcLv each = blocks_each(w);
  for (int k = 0; k < w->n_folds; k++) dhc_tpl_set(&v->cx, w->fold[k], join(w, k, place, each));
  store_all(v);
}

void dhc_tpl_rows_split(const DhcTplInput *in, DhcLp *b) {
  DhcRows *v = DHC_NEW(b->arena, DhcRows);
  Split w = {.v = v};
  if (!dhc_spec_may_split(in->spec)) dhc_lp_refuse(b, "folds that cannot be split");
  if (b->refused || !begin(v, in, b, true)) return;
  DhcArena *a = b->arena;
  for (int n = 0; n < v->s->n_nodes; n++)
    if (v->s->node[n].kind == DHC_SN_FOLD) w.fold[w.n_folds++] = n;
  dhc_dimprog places = n_places(v);
  dhc_dimprog blocks = dhc_prog_op(a, DHC_DIM_CEILDIV, dhc_tpl_count_prog(&v->cx, v->red), dhc_prog_const(a, DHC_SUM_BLOCK));
  dhc_dimprog groups = blocks;
  if (v->by_parts) groups = dhc_prog_op(a, DHC_DIM_CEILDIV, blocks, dhc_prog_const(a, v->threads / PARTS));
  dhc_dimprog first = dhc_prog_op(a, DHC_DIM_MUL, places, groups);
  dhc_dimprog slots = dhc_prog_op(a, DHC_DIM_MUL, dhc_prog_op(a, DHC_DIM_MUL, places, blocks), dhc_prog_const(a, v->columns));
  dhc_lp_share(b, dhc_prog_op(a, DHC_DIM_MUL, slots, dhc_prog_const(a, (int64_t)w.n_folds * 8)));
  w.n_blocks = dhc_lp_prog(b, blocks);
  w.slots = dhc_lp_prog(b, slots);
  DhcLv n_first = dhc_lp_prog(b, first), task = dhc_lp_phases(b, first, places);
  number_threads(v);
  DhcLv in_first = dhc_lp_lt(b, task, n_first);
  DhcLv n_groups = dhc_lp_prog(b, groups), place = dhc_lp_udiv(b, task, dhc_lp_max(b, n_groups, dhc_lp_i64(b, 1)));
  place = dhc_lp_select(b, in_first, place, dhc_lp_sub(b, task, n_first));
  DhcTplMark mark = dhc_tpl_push(&v->cx);
  bind_place(v, place);
  dhc_lp_if(b, in_first);
  DhcTplMark arm = dhc_tpl_push(&v->cx);
  DhcLv group = dhc_lp_urem(b, task, n_groups);
  if (v->by_parts) first_by_parts(&w, place, group);
  else first_phase(&w, place, group);
  dhc_tpl_pop(&v->cx, &arm);
  dhc_lp_else(b);
  arm = dhc_tpl_push(&v->cx);
  second_phase(&w, place);
  dhc_tpl_pop(&v->cx, &arm);
  dhc_lp_end(b);
  dhc_tpl_pop(&v->cx, &mark);
  dhc_lp_end(b);
}
