/* Templates for GPUs where the order of a sum does not show, because it is one of integers.
 *
 * "scatter_any": outputs of integers += values at indexed places. Every element is a thread's, and adds in one step.
 *
 * "count": a scan h[t] = 1 * h[t-1] + b[t] from 0, where b is a bool as a float: the running number of hits along the
 * sequential axis, exact in any order as long as it is below 2^24 (f32), which the schedule's guard says. A block takes
 * one place of the parallel axes: each thread counts its own stretch, block memory gives it the number before it, and
 * it walks over its stretch again.
 *
 * Schedule: v[1] threads of a block. */
#include "backends/loop/tpl.h"

/* ---- scatter -------------------------------------------------------------------------------- */

void dhc_tpl_scatter_any(const DhcTplInput *in, DhcLp *b) {
  const DhcSpec *s = in->spec;
  DhcTplCx cx;
  uint32_t all = 0;
  int threads = in->schedule->v[1];
  dhc_tpl_init(&cx, in, b);
  for (int o = dhc_spec_n_inputs(s); o < s->n_operands; o++) {
    dhc_dtype t = s->operand[o].dtype;
    if (t != DHC_I32 && t != DHC_U32 && t != DHC_I64) dhc_lp_refuse(b, "sums of other than integers");
    all |= dhc_tpl_operand_axes(&cx, o) | cx.varies[s->operand[o].stored];
  }
  if (b->refused) return;
  dhc_lp_block(b, threads, 0);
  dhc_dimprog count = dhc_tpl_count_prog(&cx, all);
  DhcLv n = dhc_lp_prog(b, count);
  DhcLv task = dhc_lp_tasks(b, dhc_prog_op(b->arena, DHC_DIM_CEILDIV, count, dhc_prog_const(b->arena, threads)));
  DhcLv at = dhc_lp_add(b, dhc_lp_mulc(b, task, threads), dhc_lp_thread(b));
  dhc_lp_if(b, dhc_lp_lt(b, at, n));
  DhcTplMark mark = dhc_tpl_push(&cx);
  dhc_tpl_bind_flat(&cx, all, at);
  for (int o = dhc_spec_n_inputs(s); o < s->n_operands; o++) dhc_tpl_add_value(&cx, o, dhc_tpl_eval(&cx, s->operand[o].stored));
  dhc_tpl_pop(&cx, &mark);
  dhc_lp_end(b);
  dhc_lp_end(b);
}

/* ---- counts ----------------------------------------------------------------------------------- */

typedef struct Count {
  DhcTplCx cx;
  DhcLp *b;
  int scan, seq, threads;
  bool reverse;
} Count;

/* One scan of that form, and every output is it or made from it in place. */
static const char *find(Count *c) {
  const DhcSpec *s = c->cx.s;
  c->scan = c->seq = -1;
  for (int a = 0; a < s->n_axes; a++) {
    if (s->axis[a].role == DHC_AXIS_RED) return "states";
    if (s->axis[a].role == DHC_AXIS_SEQ) c->seq = a;
  }
  for (int n = 0; n < s->n_nodes; n++) {
    const DhcSpecNode *d = &s->node[n];
    if (d->kind == DHC_SN_FOLD) return "folds";
    if (d->kind != DHC_SN_SCAN) continue;
    if (c->scan >= 0) return "two scans";
    c->scan = n;
  }
  if (c->seq < 0 || c->scan < 0 || !dhc_spec_counts(s)) return "no count of hits";
  for (int o = dhc_spec_n_inputs(s); o < s->n_operands; o++)
    if (!(dhc_tpl_operand_axes(&c->cx, o) >> c->seq & 1)) return "a last state";
  return NULL;
}

static DhcTplMark at_step(Count *c, DhcLv i) {
  DhcTplMark mark = dhc_tpl_push(&c->cx);
  if (c->reverse) i = dhc_lp_sub(c->b, dhc_lp_addc(c->b, c->cx.extent[c->seq], -1), i);
  dhc_tpl_bind(&c->cx, c->seq, i);
  return mark;
}

/* What the scan adds in the bound step. */
static DhcLv hit(Count *c) { return dhc_tpl_eval(&c->cx, c->cx.s->node[c->scan].a[1]); }

/* Sum of what the threads below this one have. */
static DhcLv before(Count *c, DhcLv own) {
  DhcLp *b = c->b;
  DhcLv mem = dhc_lp_block_memory(b, own->type.dtype, 0), tid = dhc_lp_thread(b), zero = dhc_lp_zero(b, own->type.dtype, 1);
  DhcLv sum = own;
  for (int apart = 1; apart < c->threads; apart *= 2) {
    dhc_lp_store(b, mem, tid, sum, 0);
    dhc_lp_barrier(b);
    DhcLv other = dhc_lp_load(b, mem, dhc_lp_max(b, dhc_lp_addc(b, tid, -apart), dhc_lp_i64(b, 0)), 1, 0);
    sum = dhc_lp_add(b, sum, dhc_lp_select(b, dhc_lp_ge(b, tid, dhc_lp_i64(b, apart)), other, zero));
    dhc_lp_barrier(b);
  }
  return dhc_lp_sub(b, sum, own);
}

void dhc_tpl_count_hits(const DhcTplInput *in, DhcLp *b) {
  Count *c = DHC_NEW(b->arena, Count);
  const DhcSpec *s = in->spec;
  c->b = b;
  c->threads = in->schedule->v[1];
  c->reverse = s->n_attrs > 0 && s->attr[0];
  dhc_tpl_init(&c->cx, in, b);
  const char *why = find(c);
  if (why) dhc_lp_refuse(b, "%s", why);
  if (b->refused) return;
  uint32_t par = dhc_spec_axes(s, DHC_AXIS_PAR);
  dhc_dtype t = s->node[c->scan].dtype;
  dhc_lp_block(b, c->threads, (int64_t)c->threads * dhc_dtype_bytes(t));
  DhcLv task = dhc_lp_tasks(b, dhc_tpl_count_prog(&c->cx, par));
  DhcTplMark place = dhc_tpl_push(&c->cx);
  dhc_tpl_bind_flat(&c->cx, par, task);
  DhcLv n = c->cx.extent[c->seq], each = dhc_lp_ceildivc(b, n, c->threads);
  DhcLv first = dhc_lp_mul(b, dhc_lp_thread(b), each), last = dhc_lp_min(b, n, dhc_lp_add(b, first, each));
  DhcLpVar own = dhc_lp_var(b, dhc_lp_zero(b, t, 1));
  DhcTplMark step = at_step(c, dhc_lp_for(b, first, last, 1));
  dhc_lp_set(b, own, dhc_lp_add(b, dhc_lp_get(b, own), hit(c)));
  dhc_tpl_pop(&c->cx, &step);
  dhc_lp_end(b);
  DhcLpVar h = dhc_lp_var(b, before(c, dhc_lp_get(b, own)));
  step = at_step(c, dhc_lp_for(b, first, last, 1));
  DhcLv next = dhc_lp_add(b, dhc_lp_get(b, h), hit(c));
  dhc_lp_set(b, h, next);
  dhc_tpl_set(&c->cx, c->scan, next);
  dhc_tpl_store_loops(&c->cx, 0);
  dhc_tpl_pop(&c->cx, &step);
  dhc_lp_end(b);
  dhc_tpl_pop(&c->cx, &place);
  dhc_lp_end(b);
}
