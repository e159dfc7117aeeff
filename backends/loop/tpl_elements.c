/* Template "elements" (GPUs): maps, and rows of few elements, a thread a few neighbouring places of the parallel axes;
 * what is folded there is the thread's own business. Threads are numbered over the parallel axes,
 * the vector axis innermost, so that neighbouring threads touch neighbouring memory; where everything that varies along
 * that axis lies side by side, a thread takes v[2] elements by one access each, and what is left over at the end of a
 * row one by one. Where that is not so because of what varies along that axis but not along the one around it, as a
 * weight of each channel does, a thread has v[4] places of the latter and reads such values once.
 *
 * Folds of known, few elements that lie side by side are read four at a time.
 *
 * Contractions of few products beside whose results more is read and written (dhc_spec_updates) are such folds, too. There a thread
 * has v[4] places of the axis around as well, one after the other, for all of which it reads the same of one operand.
 *
 * Schedule: v[0] as "map", v[1] threads of a block, v[2] elements of a thread at most: 1, 2 or 4, v[3] not 0: folds
 * may be of unknown length, most likely at most 16; v[4] places of a thread along another axis, or 0. */
#include "backends/loop/tpl_tile.h"

enum { FOUR = 4 };

/* Does every operand lie side by side along the axis, or not vary over it? */
static bool all_contiguous(const DhcTplCx *cx, int axis) {
  for (int o = 0; o < cx->s->n_operands; o++)
    if (!dhc_tpl_contiguous(cx, o, axis)) return false;
  return true;
}

/* The innermost of `rows`, if at least two inputs that vary along `axis` stay the same along it; else -1. */
static int shared_axis(const DhcTplCx *cx, uint32_t rows, int axis) {
  int around = -1, n = 0;
  for (int a = 0; a < cx->s->n_axes; a++)
    if (rows >> a & 1) around = a;
  for (int o = 0; o < dhc_spec_n_inputs(cx->s) && around >= 0; o++) {
    uint32_t axes = dhc_tpl_operand_axes(cx, o);
    n += (axes >> axis & 1) && !(axes >> around & 1);
  }
  return n >= 2 ? around : -1;
}

/* A sum, most likely of at most 16 elements: each is a partial, those that are not there are +0 (ir/sum.h). Of more, and
 * for other folds (NULL): a loop. */
static DhcLv sum_of_few(DhcTplCx *cx, int n, void *arg) {
  DhcLp *b = cx->b;
  const DhcSpecNode *d = &cx->s->node[n];
  DhcLv p[DHC_SUM_PARTIALS];
  (void)arg;
  if (d->op != DHC_OP_REDUCE_SUM || !dhc_dtype_is_float(d->dtype) || d->dtype == DHC_BF16) return NULL;
  bool vector = cx->vector_axis >= 0 && (cx->varies[d->a[0]] >> cx->vector_axis & 1);
  DhcLv count = dhc_tpl_count(cx, d->axes), zero = dhc_lp_zero(b, d->dtype, vector ? cx->lanes : 1);
  DhcLpVar sum = dhc_lp_var(b, zero);
  dhc_lp_if(b, dhc_lp_le(b, count, dhc_lp_i64(b, DHC_SUM_PARTIALS)));
  for (int i = 0; i < DHC_SUM_PARTIALS; i++) {
    DhcLpVar v = dhc_lp_var(b, zero);
    dhc_lp_if(b, dhc_lp_lt(b, dhc_lp_i64(b, i), count));
    DhcTplMark mark = dhc_tpl_push(cx);
    dhc_tpl_bind_flat(cx, d->axes, dhc_lp_i64(b, i));
    dhc_lp_set(b, v, dhc_lp_add(b, zero, dhc_lp_splat(b, dhc_tpl_eval(cx, d->a[0]), zero->type.lanes)));
    dhc_tpl_pop(cx, &mark);
    dhc_lp_end(b);
    p[i] = dhc_lp_get(b, v);
  }
  for (int half = DHC_SUM_PARTIALS / 2; half > 0; half /= 2)
    for (int i = 0; i < half; i++) p[i] = dhc_lp_add(b, p[i], p[i + half]);
  dhc_lp_set(b, sum, p[0]);
  dhc_lp_else(b);
  DhcTplMark mark = dhc_tpl_push(cx);
  cx->provide = NULL;
  dhc_tpl_fold(cx, n);
  cx->provide = sum_of_few;
  dhc_lp_set(b, sum, dhc_lp_splat(b, cx->value[n], zero->type.lanes));
  dhc_tpl_pop(cx, &mark);
  dhc_lp_end(b);
  return dhc_lp_get(b, sum);
}

/* Elements of fold n, if they are some fours that lie side by side, whatever is loaded of them, and there is a rule for their sum; else 0. */
static int in_fours(const DhcTplCx *cx, int n) {
  const DhcSpec *s = cx->s;
  const DhcSpecNode *d = &s->node[n];
  bool needed[DHC_SPEC_MAX_NODES] = {false}, dot = d->op == DHC_OP_DOT_GENERAL;
  if (cx->vector_axis >= 0 || d->axes & (d->axes - 1) || (!dot && d->op != DHC_OP_REDUCE_SUM) || d->dtype != DHC_F32) return 0;
  const int axis = __builtin_ctz(d->axes);
  const int64_t extent = s->axis[axis].extent;
  if (!extent || extent > DHC_SUM_PARTIALS || extent % FOUR) return 0;
  for (int k = 0; k < 1 + dot; k++) {
    if (s->node[d->a[k]].dtype != DHC_F32) return 0;
    dhc_tpl_needed(s, d->a[k], needed);
  }
  for (int m = 0; m < n; m++) {
    const DhcSpecNode *e = &s->node[m];
    if (!needed[m] || !(cx->varies[m] & d->axes) || e->kind == DHC_SN_EW) continue;
    if (e->kind != DHC_SN_LOAD || s->operand[e->operand].dtype != DHC_F32 || !dhc_tpl_contiguous(cx, e->operand, axis)) return 0;
  }
  return (int)extent;
}

/* Such a fold: four elements are read at once. */
static DhcLv fours(DhcTplCx *cx, int n, void *arg) {
  DhcLp *b = cx->b;
  const DhcSpecNode *d = &cx->s->node[n];
  const int size = in_fours(cx, n), sides = d->op == DHC_OP_DOT_GENERAL ? 2 : 1;
  bool needed[DHC_SPEC_MAX_NODES] = {false};
  DhcLv x[2][DHC_SUM_PARTIALS];
  (void)arg;
  if (!size) return NULL;
  for (int k = 0; k < sides; k++) dhc_tpl_needed(cx->s, d->a[k], needed);
  dhc_tpl_hoist(cx, needed);
  for (int i = 0; i < size; i += FOUR) {
    DhcTplMark mark = dhc_tpl_push(cx);
    dhc_tpl_bind_vector(cx, __builtin_ctz(d->axes), dhc_lp_i64(b, i), FOUR, NULL);
    for (int k = 0; k < sides; k++) {
      DhcLv some = dhc_lp_splat(b, dhc_tpl_eval(cx, d->a[k]), FOUR);
      for (int l = 0; l < FOUR; l++) x[k][i + l] = dhc_lp_extract(b, some, l);
    }
    dhc_tpl_pop(cx, &mark);
  }
  if (sides == 2) {
    DhcLv sum = dhc_lp_float(b, DHC_F32, 0);
    for (int i = 0; i < size; i++) sum = dhc_lp_fma(b, x[0][i], x[1][i], sum);
    return sum;
  }
  return dhc_tpl_fold_few(b, x[0], size);
}

/* A contraction of one chain of products (ir/sum.h), of the rows of a range alone where there are ranges: what others add is +0. */
static DhcLv chain_of_few(DhcTplCx *cx, int n, void *arg) {
  DhcLp *b = cx->b;
  const DhcSpecNode *all = cx->s->node, *d = &all[n], *x = &all[d->a[0]];
  (void)arg;
  if (d->op != DHC_OP_DOT_GENERAL) return NULL;
  DhcLv from = dhc_lp_i64(b, 0), to = dhc_tpl_count(cx, d->axes), zero = dhc_lp_zero(b, d->dtype, cx->vector_axis >= 0 ? cx->lanes : 1);
  int left = d->a[0];
  if (cx->s->kind == DHC_KIND_RAGGED) {
    const DhcSpecNode *both = &all[x->a[0]];
    from = dhc_lp_max(b, from, dhc_tpl_eval(cx, all[both->a[0]].a[0]));
    to = dhc_lp_min(b, to, dhc_tpl_eval(cx, all[both->a[1]].a[1]));
    left = x->a[1];
  }
  DhcLpVar sum = dhc_lp_var(b, zero);
  DhcLv i = dhc_lp_for(b, from, to, 1);
  DhcTplMark mark = dhc_tpl_push(cx);
  dhc_tpl_bind_flat(cx, d->axes, i);
  DhcLv p = dhc_lp_splat(b, dhc_tpl_eval(cx, left), zero->type.lanes), q = dhc_lp_splat(b, dhc_tpl_eval(cx, d->a[1]), zero->type.lanes);
  dhc_lp_set(b, sum, dhc_lp_fma(b, p, q, dhc_lp_get(b, sum)));
  dhc_tpl_pop(cx, &mark);
  dhc_lp_end(b);
  return dhc_lp_get(b, sum);
}

/* Rows are given by ranges: first of one <= row < the next one's first, as fusion writes it. */
static bool reads_ranges(const DhcSpec *s, int fold) {
  const DhcSpecNode *all = s->node, *x = &all[all[fold].a[0]];
  if (x->kind != DHC_SN_EW || x->op != DHC_OP_SELECT || all[x->a[2]].kind != DHC_SN_CONST || all[x->a[2]].f != 0) return false;
  const DhcSpecNode *both = &all[x->a[0]];
  if (both->kind != DHC_SN_EW || both->op != DHC_OP_AND) return false;
  const DhcSpecNode *le = &all[both->a[0]], *lt = &all[both->a[1]];
  return le->kind == DHC_SN_EW && le->op == DHC_OP_LE && lt->kind == DHC_SN_EW && lt->op == DHC_OP_LT && all[le->a[1]].kind == DHC_SN_AXIS &&
         le->a[1] == lt->a[0] && s->node[fold].axes == 1u << all[le->a[1]].operand;
}

/* What is read beside the sums is on its way before these are made. */
static void fetch(DhcTplCx *cx) {
  for (int n = 0; n < cx->s->n_nodes; n++)
    if (cx->s->node[n].kind == DHC_SN_LOAD && !dhc_spec_is_folded(cx->s, cx->s->node[n].operand)) dhc_tpl_eval(cx, n);
}

/* Are all operands that vary along the axis f32? */
static bool all_floats(const DhcTplCx *cx, int axis) {
  for (int o = 0; o < cx->s->n_operands; o++)
    if ((dhc_tpl_operand_axes(cx, o) >> axis & 1) && (cx->s->operand[o].dtype != DHC_F32 || cx->scale[o])) return false;
  return true;
}

/* Does operand o have an address of 16 bytes wherever four of its elements along the axis begin? */
static DhcLv is_in_fours(const DhcTplCx *cx, int o) {
  DhcLp *b = cx->b;
  const DhcOperand *p = &cx->s->operand[o];
  DhcLv yes = dhc_lp_aligned(b, cx->pointer[o], 16);
  for (int t = 0; t < p->n_terms; t++)
    if (!p->term[t].unit) yes = dhc_lp_and(b, yes, dhc_tile_is_four(b, cx->stride[o][t]));
  return yes;
}

/* An update (dhc_spec_updates) of whose operands all that vary along the axis lie side by side. Four elements are one access if all
 * of them are; else they go one by one. */
static void update(DhcTplCx *cx, uint32_t par, int axis) {
  DhcLp *b = cx->b;
  DhcArena *arena = b->arena;
  const int threads = cx->in->schedule->v[1], each = cx->in->schedule->v[2], places = cx->in->schedule->v[4];
  bool needed[DHC_SPEC_MAX_NODES] = {false};
  const uint32_t all_rows = par & ~(1u << axis);
  int around = 0;
  for (int a = 0; a < cx->s->n_axes; a++)
    if (all_rows >> a & 1) around = a;
  const uint32_t rows = all_rows & ~(1u << around);
  dhc_lp_block(b, threads, 0);
  b->together = 1024 / threads;
  dhc_dimprog per_row = dhc_prog_op(arena, DHC_DIM_CEILDIV, dhc_tpl_extent_prog(cx, axis), dhc_prog_const(arena, each));
  dhc_dimprog pieces = dhc_prog_op(arena, DHC_DIM_CEILDIV, dhc_tpl_extent_prog(cx, around), dhc_prog_const(arena, places));
  dhc_dimprog all = dhc_prog_op(arena, DHC_DIM_MUL, dhc_prog_op(arena, DHC_DIM_MUL, dhc_tpl_count_prog(cx, rows), pieces), per_row);
  DhcLv n_all = dhc_lp_prog(b, all), n_per_row = dhc_lp_prog(b, per_row), n_pieces = dhc_lp_prog(b, pieces), fours = NULL;
  DhcLv task = dhc_lp_tasks(b, dhc_prog_op(arena, DHC_DIM_CEILDIV, all, dhc_prog_const(arena, threads)));
  DhcLv at = dhc_lp_add(b, dhc_lp_mulc(b, task, threads), dhc_lp_thread(b));
  for (int o = 0; o < cx->s->n_operands; o++) {
    if (!(dhc_tpl_operand_axes(cx, o) >> axis & 1)) continue;
    fours = fours ? dhc_lp_and(b, fours, is_in_fours(cx, o)) : is_in_fours(cx, o);
    if ((dhc_tpl_operand_axes(cx, o) & par) == par) cx->once |= 1ull << o;
  }
  dhc_lp_if(b, dhc_lp_lt(b, at, n_all));
  DhcTplMark mark = dhc_tpl_push(cx);
  DhcLv row = dhc_lp_udiv(b, at, n_per_row), piece = dhc_lp_urem(b, row, n_pieces);
  DhcLv from = dhc_lp_mulc(b, dhc_lp_urem(b, at, n_per_row), each), to = dhc_lp_min(b, cx->extent[axis], dhc_lp_addc(b, from, each));
  DhcLv first = dhc_lp_mulc(b, piece, places), last = dhc_lp_min(b, cx->extent[around], dhc_lp_addc(b, first, places));
  dhc_tpl_bind_flat(cx, rows, dhc_lp_udiv(b, row, n_pieces));
  dhc_tpl_needed_by_outputs(cx->s, needed);
  dhc_lp_if(b, dhc_lp_and(b, fours, dhc_lp_eq(b, to, dhc_lp_addc(b, from, each))));
  DhcTplMark whole = dhc_tpl_push(cx);
  dhc_tpl_bind_vector(cx, axis, from, each, NULL);
  dhc_tpl_hoist(cx, needed);
  cx->align = 4 * each;
  DhcLv i = dhc_lp_for(b, first, last, 1);
  DhcTplMark inner = dhc_tpl_push(cx);
  dhc_tpl_bind(cx, around, i);
  fetch(cx);
  dhc_tpl_store_all(cx);
  dhc_tpl_pop(cx, &inner);
  dhc_lp_end(b);
  cx->align = 0;
  dhc_tpl_pop(cx, &whole);
  dhc_lp_else(b);
  i = dhc_lp_for(b, first, last, 1);
  inner = dhc_tpl_push(cx);
  dhc_tpl_bind(cx, around, i);
  dhc_tpl_bind(cx, axis, dhc_lp_for(b, from, to, 1));
  dhc_tpl_store_all(cx);
  dhc_tpl_pop(cx, &inner);
  dhc_lp_end(b);
  dhc_lp_end(b);
  dhc_lp_end(b);
  dhc_tpl_pop(cx, &mark);
  dhc_lp_end(b);
  dhc_lp_end(b);
}

/* Piece number `piece` along the axis: what does not vary along it is there before. */
static void store_places(DhcTplCx *cx, int axis, int places, DhcLv piece, uint32_t unrolled) {
  DhcLp *b = cx->b;
  bool needed[DHC_SPEC_MAX_NODES] = {false};
  DhcLv from = dhc_lp_mulc(b, piece, places), to = dhc_lp_min(b, cx->extent[axis], dhc_lp_addc(b, from, places));
  dhc_tpl_needed_by_outputs(cx->s, needed);
  dhc_tpl_hoist(cx, needed);
  DhcLv i = dhc_lp_for(b, from, to, 1);
  DhcTplMark mark = dhc_tpl_push(cx);
  dhc_tpl_bind(cx, axis, i);
  dhc_tpl_store_unrolled(cx, unrolled);
  dhc_tpl_pop(cx, &mark);
  dhc_lp_end(b);
}

void dhc_tpl_elements(const DhcTplInput *in, DhcLp *b) {
  DhcTplCx cx;
  DhcArena *arena = b->arena;
  uint32_t par = 0, red = 0, stored = 0;
  bool unknown = false;
  dhc_tpl_init(&cx, in, b);
  for (int a = 0; a < in->spec->n_axes; a++) {
    *(in->spec->axis[a].role == DHC_AXIS_PAR ? &par : &red) |= 1u << a;
    unknown = unknown || (in->spec->axis[a].role != DHC_AXIS_PAR && !in->spec->axis[a].extent);
  }
  for (int o = dhc_spec_n_inputs(in->spec); o < in->spec->n_operands; o++) stored |= dhc_tpl_operand_axes(&cx, o);
  const bool contracts = in->spec->kind == DHC_KIND_DOT || in->spec->kind == DHC_KIND_RAGGED;
  if (contracts && dhc_spec_updates(in->spec) < 0) dhc_lp_refuse(b, "a contraction that is most of the work");
  if (unknown && !in->schedule->v[3] && !contracts) dhc_lp_refuse(b, "folds of unknown length");
  const int fold = contracts ? dhc_spec_updates(in->spec) : -1;
  if (in->spec->kind == DHC_KIND_RAGGED && fold >= 0 && !reads_ranges(in->spec, fold)) dhc_lp_refuse(b, "ranges that are not read");
  if (b->refused) return;
  cx.provide = fold >= 0 ? chain_of_few : unknown ? sum_of_few : fours;
  int axis = dhc_tpl_choose_vector(&cx, par), threads = in->schedule->v[1];
  int each = axis >= 0 && all_contiguous(&cx, axis) && !(stored & red) ? in->schedule->v[2] : 1;
  cx.plan_vector = axis;
  if (fold >= 0 && each == 4 && in->schedule->v[4] && (par & ~(1u << axis)) && all_floats(&cx, axis)) {
    update(&cx, par, axis);
    return;
  }
  uint32_t unrolled = red ? 0 : dhc_tpl_unrolled_axes(&cx, par), rows = par & ~unrolled;
  if (axis >= 0) rows &= ~(1u << axis);
  int places = in->schedule->v[4], around = axis >= 0 && each == 1 && !red && places ? shared_axis(&cx, rows, axis) : -1;
  if (around >= 0) rows &= ~(1u << around);
  dhc_lp_block(b, threads, 0);
  b->together = 1024 / threads;
  dhc_dimprog n_rows = dhc_tpl_count_prog(&cx, rows), per_row = dhc_prog_const(arena, 1);
  if (axis >= 0) per_row = dhc_prog_op(arena, DHC_DIM_CEILDIV, dhc_tpl_extent_prog(&cx, axis), dhc_prog_const(arena, each));
  dhc_dimprog all = dhc_prog_op(arena, DHC_DIM_MUL, n_rows, per_row), pieces = dhc_prog_const(arena, 1);
  if (around >= 0) pieces = dhc_prog_op(arena, DHC_DIM_CEILDIV, dhc_tpl_extent_prog(&cx, around), dhc_prog_const(arena, places));
  all = dhc_prog_op(arena, DHC_DIM_MUL, all, pieces);
  DhcLv n_all = dhc_lp_prog(b, all), n_per_row = dhc_lp_prog(b, per_row);
  DhcLv task = dhc_lp_tasks(b, dhc_prog_op(arena, DHC_DIM_CEILDIV, all, dhc_prog_const(arena, threads)));
  DhcLv at = dhc_lp_add(b, dhc_lp_mulc(b, task, threads), dhc_lp_thread(b));
  dhc_lp_if(b, dhc_lp_lt(b, at, n_all));
  DhcTplMark mark = dhc_tpl_push(&cx);
  bool several = rows != 0 || around >= 0;
  DhcLv column = several && axis >= 0 ? dhc_lp_urem(b, at, n_per_row) : at, row = axis >= 0 ? dhc_lp_udiv(b, at, n_per_row) : at;
  if (around >= 0) {
    DhcLv n_pieces = dhc_lp_prog(b, pieces);
    dhc_tpl_bind_flat(&cx, rows, dhc_lp_udiv(b, row, n_pieces));
    dhc_tpl_bind(&cx, axis, column);
    store_places(&cx, around, places, dhc_lp_urem(b, row, n_pieces), unrolled);
  } else {
    dhc_tpl_bind_flat(&cx, rows, row);
  }
  if (around >= 0) {
    ;
  } else if (axis < 0) {
    dhc_tpl_store_unrolled(&cx, unrolled);
  } else if (each == 1) {
    dhc_tpl_bind(&cx, axis, column);
    dhc_tpl_store_unrolled(&cx, unrolled);
  } else {
    DhcLv from = dhc_lp_mulc(b, column, each), to = dhc_lp_addc(b, from, each), n = cx.extent[axis];
    dhc_lp_if(b, dhc_lp_le(b, to, n));
    DhcTplMark whole = dhc_tpl_push(&cx);
    dhc_tpl_bind_vector(&cx, axis, from, each, NULL);
    if (contracts) fetch(&cx);
    dhc_tpl_store_unrolled(&cx, unrolled);
    dhc_tpl_pop(&cx, &whole);
    dhc_lp_else(b);
    DhcLv i = dhc_lp_for(b, from, n, 1);
    DhcTplMark rest = dhc_tpl_push(&cx);
    dhc_tpl_bind(&cx, axis, i);
    dhc_tpl_store_unrolled(&cx, unrolled);
    dhc_tpl_pop(&cx, &rest);
    dhc_lp_end(b);
    dhc_lp_end(b);
  }
  dhc_tpl_pop(&cx, &mark);
  dhc_lp_end(b);
  dhc_lp_end(b);
}
