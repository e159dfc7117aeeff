/* Template "row_split": a few long folds, in two phases. A task of the first folds some blocks of
 * the sum rule and leaves a result for each in the shared memory; a task of the second joins
 * the blocks of its row and stores what is made of them. So a sum over everything runs
 * on every thread, with the bits that one loop over it has ("row").
 *
 *   first: row of the parallel axes, chunk of blocks
 *     for each vector of the vector axis, if it is parallel; for each block: fold, to shared
 *   second: row
 *     for each vector: join, then the nodes behind the folds, stores
 *
 * For specs that dhc_spec_may_split admits. Schedule: v[0] as "row", v[2] blocks of a task. */
#include "backends/loop/tpl.h"

enum { SLOT_BYTES = 8 /* room for an element of any dtype */ };

typedef struct Split {
  DhcTplCx cx;
  DhcLp *b;
  const DhcSpec *s;
  uint32_t rows, axes; /* parallel axes but the vector axis; folded axes */
  int vector;          /* parallel axis of vectors, or -1 */
  int n_folds, fold[DHC_SPEC_MAX_NODES];
  DhcLv n_blocks, n_vectors; /* of a row */
  DhcLv slots;               /* of all rows */
} Split;

/* ---- shared memory: region k holds value k of every (row, vector, block) ------------------- */

static int regions(const Split *v) {
  int n = 0;
  for (int k = 0; k < v->n_folds; k++) n += v->s->node[v->fold[k]].op == DHC_OP_ARGMAX ? 2 : 1;
  return n;
}

/* Values of fold n are vectors. */
static int lanes_of(const Split *v, int n) {
  return v->vector >= 0 && (v->cx.varies[n] >> v->vector & 1) ? DHC_TPL_LANES : 1;
}

static DhcLv region(Split *v, int k, dhc_dtype t) {
  if (t == DHC_BF16) t = DHC_F32; /* as it is in a register */
  DhcLv elements = dhc_lp_mulc(v->b, v->slots, (int64_t)k * DHC_TPL_LANES * (SLOT_BYTES / dhc_dtype_bytes(t)));
  return dhc_lp_at(v->b, dhc_lp_shared(v->b, t), elements);
}

static DhcLv slot_of(Split *v, DhcLv row, DhcLv vector, DhcLv block) {
  DhcLp *b = v->b;
  DhcLv at = dhc_lp_add(b, dhc_lp_mul(b, row, v->n_vectors), vector);
  at = dhc_lp_add(b, dhc_lp_mul(b, at, v->n_blocks), block);
  return dhc_lp_mulc(b, at, DHC_TPL_LANES);
}

static void put_parts(Split *v, DhcLv slot, const DhcTplPart *part) {
  for (int k = 0, r = 0; k < v->n_folds; k++) {
    int n = v->fold[k];
    const DhcSpecNode *d = &v->s->node[n];
    dhc_lp_store(v->b, region(v, r++, v->s->node[d->a[0]].dtype), slot, part[n].value, 0);
    if (part[n].index) dhc_lp_store(v->b, region(v, r++, d->dtype), slot, part[n].index, 0);
  }
}

static void add_parts(Split *v, DhcLv slot, const DhcTplJoin *join) {
  for (int k = 0, r = 0; k < v->n_folds; k++) {
    int n = v->fold[k], lanes = lanes_of(v, n);
    const DhcSpecNode *d = &v->s->node[n];
    DhcTplPart p = {0};
    p.value = dhc_lp_load(v->b, region(v, r++, v->s->node[d->a[0]].dtype), slot, lanes, 0);
    if (d->op == DHC_OP_ARGMAX) p.index = dhc_lp_load(v->b, region(v, r++, d->dtype), slot, lanes, 0);
    dhc_tpl_join_add(&v->cx, n, &join[k], &p);
  }
}

/* ---- the two phases ------------------------------------------------------------------------ */

/* A loop over the row's vectors, bound inside, or one round if no parallel axis is one; *number
 * counts them. */
static DhcTplMark open_vectors(Split *v, DhcLv *number) {
  DhcLp *b = v->b;
  DhcLv i = dhc_lp_for(b, dhc_lp_i64(b, 0), v->n_vectors, 1);
  DhcTplMark mark = dhc_tpl_push(&v->cx);
  if (v->vector >= 0) {
    DhcLv at = dhc_lp_mulc(b, i, DHC_TPL_LANES);
    DhcLv on = dhc_lp_tail(b, at, v->cx.extent[v->vector], DHC_TPL_LANES);
    dhc_tpl_bind_vector(&v->cx, v->vector, at, DHC_TPL_LANES, on);
  }
  *number = i;
  return mark;
}

static void close_loop(Split *v, const DhcTplMark *mark) {
  dhc_tpl_pop(&v->cx, mark);
  dhc_lp_end(v->b);
}

static void first_phase(Split *v, DhcLv row, DhcLv chunk) {
  DhcLp *b = v->b;
  DhcLv vector, count = dhc_tpl_count(&v->cx, v->axes);
  int each = v->cx.in->schedule->v[2];
  DhcLv first = dhc_lp_mulc(b, chunk, each), last = dhc_lp_min(b, dhc_lp_addc(b, first, each), v->n_blocks);
  DhcTplMark in_vector = open_vectors(v, &vector);
  DhcLv block = dhc_lp_for(b, first, last, 1), lo = dhc_lp_mulc(b, block, DHC_SUM_BLOCK);
  DhcTplMark in_block = dhc_tpl_push(&v->cx);
  DhcLv hi = dhc_lp_min(b, count, dhc_lp_addc(b, lo, DHC_SUM_BLOCK));
  DhcTplPart part[DHC_SPEC_MAX_NODES] = {{0}};
  for (int k = 0; k < v->n_folds; k++)
    if (!part[v->fold[k]].value) dhc_tpl_fold_part(&v->cx, v->fold[k], lo, hi, part);
  put_parts(v, slot_of(v, row, vector, block), part);
  close_loop(v, &in_block);
  close_loop(v, &in_vector);
}

static void second_phase(Split *v, DhcLv row) {
  DhcLp *b = v->b;
  DhcLv vector;
  DhcTplMark in_vector = open_vectors(v, &vector);
  DhcTplJoin join[DHC_SPEC_MAX_NODES];
  for (int k = 0; k < v->n_folds; k++) join[k] = dhc_tpl_join_begin(&v->cx, v->fold[k], lanes_of(v, v->fold[k]));
  DhcLv block = dhc_lp_for(b, dhc_lp_i64(b, 0), v->n_blocks, 1);
  add_parts(v, slot_of(v, row, vector, block), join);
  dhc_lp_end(b);
  for (int k = 0; k < v->n_folds; k++)
    dhc_tpl_set(&v->cx, v->fold[k], dhc_tpl_join_end(&v->cx, v->fold[k], &join[k]));
  dhc_tpl_store_all(&v->cx);
  close_loop(v, &in_vector);
}

/* ---- the kernel ------------------------------------------------------------------------------ */

static void kernel(Split *v) {
  DhcLp *b = v->b;
  DhcArena *a = b->arena;
  dhc_dimprog rows = dhc_tpl_count_prog(&v->cx, v->rows), vectors = dhc_prog_const(a, 1);
  dhc_dimprog blocks = dhc_prog_op(a, DHC_DIM_CEILDIV, dhc_tpl_count_prog(&v->cx, v->axes),
                                   dhc_prog_const(a, DHC_SUM_BLOCK));
  dhc_dimprog chunks = dhc_prog_op(a, DHC_DIM_CEILDIV, blocks, dhc_prog_const(a, v->cx.in->schedule->v[2]));
  if (v->vector >= 0)
    vectors = dhc_prog_op(a, DHC_DIM_CEILDIV, dhc_tpl_extent_prog(&v->cx, v->vector), dhc_prog_const(a, DHC_TPL_LANES));
  dhc_dimprog slots = dhc_prog_op(a, DHC_DIM_MUL, rows, dhc_prog_op(a, DHC_DIM_MUL, vectors, blocks));
  dhc_lp_share(b, dhc_prog_op(a, DHC_DIM_MUL, slots, dhc_prog_const(a, (int64_t)regions(v) * DHC_TPL_LANES * SLOT_BYTES)));
  v->n_blocks = dhc_lp_prog(b, blocks);
  v->n_vectors = dhc_lp_prog(b, vectors);
  v->slots = dhc_lp_prog(b, slots);
  dhc_dimprog first = dhc_prog_op(a, DHC_DIM_MUL, rows, chunks);
  DhcLv n_first = dhc_lp_prog(b, first), n_chunks = dhc_lp_prog(b, chunks), one = dhc_lp_i64(b, 1);

  DhcLv task = dhc_lp_phases(b, first, rows);
  DhcTplMark mark = dhc_tpl_push(&v->cx);
  DhcLv in_first = dhc_lp_lt(b, task, n_first);
  DhcLv row = dhc_lp_udiv(b, task, dhc_lp_max(b, n_chunks, one));
  row = dhc_lp_select(b, in_first, row, dhc_lp_sub(b, task, n_first));
  DhcTplRows r = dhc_tpl_rows(&v->cx, v->rows, row);
  dhc_tpl_rows_bind(&v->cx, &r);
  dhc_lp_if(b, in_first);
  DhcTplMark arm = dhc_tpl_push(&v->cx);
  first_phase(v, row, dhc_lp_urem(b, task, n_chunks));
  dhc_tpl_pop(&v->cx, &arm);
  dhc_lp_else(b);
  arm = dhc_tpl_push(&v->cx);
  second_phase(v, row);
  close_loop(v, &arm);
  close_loop(v, &mark);
}

void dhc_tpl_row_split(const DhcTplInput *in, DhcLp *b) {
  const DhcSpec *s = in->spec;
  Split *v = DHC_NEW(b->arena, Split);
  v->b = b;
  v->s = s;
  dhc_tpl_init(&v->cx, in, b);
  if (!dhc_spec_may_split(s)) dhc_lp_refuse(b, "folds that cannot be split");
  if (b->refused) return;
  for (int a = 0; a < s->n_axes; a++) *(s->axis[a].role == DHC_AXIS_PAR ? &v->rows : &v->axes) |= 1u << a;
  for (int n = 0; n < s->n_nodes; n++)
    if (s->node[n].kind == DHC_SN_FOLD) v->fold[v->n_folds++] = n;
  v->cx.plan_vector = dhc_tpl_choose_vector(&v->cx, v->rows | v->axes);
  v->vector = v->cx.plan_vector >= 0 && (v->rows >> v->cx.plan_vector & 1) ? v->cx.plan_vector : -1;
  if (v->vector >= 0) v->rows &= ~(1u << v->vector);
  kernel(v);
}
