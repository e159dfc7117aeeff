/* Steps that no row of a chain sees. Where every value that is folded or contracted again is
 *
 *   select(lo <= i and i < hi, x, constant)      i: the step, or the row; 0 where it is summed
 *
 * a chunk of steps outside every range adds constants: zeros to sums, which change nothing, the
 * constant to a maximum, and zeros times V to contractions. The last leave an accumulator as it
 * is unless V is not finite or the accumulator is -0; both are looked up (dhc_chain_range_exact),
 * which costs a small part of the work, so that leaving a chunk out never shows. */
#include "backends/loop/tpl_chain.h"

static const DhcSpecNode *ew(const DhcSpec *s, int n, DhcOp op) {
  const DhcSpecNode *d = n >= 0 ? &s->node[n] : NULL;
  return d && d->kind == DHC_SN_EW && d->op == op ? d : NULL;
}

/* Axis whose index node n is, or -1. */
static int axis_index(const DhcSpec *s, int n) {
  const DhcSpecNode *cast = ew(s, n, DHC_OP_CAST), *d = &s->node[cast ? cast->a[0] : n];
  return d->kind == DHC_SN_AXIS && dhc_dtype_is_int(s->node[n].dtype) ? d->operand : -1;
}

/* n is select(the range's condition, x, constant). */
static bool selects(DhcChain *c, int n, double *otherwise) {
  const DhcSpecNode *d = ew(c->s, n, DHC_OP_SELECT);
  if (!d || c->s->node[d->a[2]].kind != DHC_SN_CONST) return false;
  if (c->range.condition < 0) c->range.condition = d->a[0];
  *otherwise = c->s->node[d->a[2]].f;
  return c->range.condition == d->a[0];
}

static bool is_zero(double x) {
  return x == 0 && 1 / x > 0;
}

static bool reads(DhcChain *c) {
  const DhcSpec *s = c->s;
  double other;
  for (int j = 0; j < c->n_out; j++)
    if (!selects(c, c->out[j].ne, &other) || !is_zero(other)) return false;
  for (int f = 0; f < c->n_fold; f++) {
    if (!selects(c, s->node[c->fold[f].node].a[0], &other) || (c->fold[f].sum && !is_zero(other))) return false;
    c->fold[f].hidden = other;
  }
  const DhcSpecNode *both = ew(s, c->range.condition, DHC_OP_AND);
  const DhcSpecNode *le = both ? ew(s, both->a[0], DHC_OP_LE) : NULL, *lt = both ? ew(s, both->a[1], DHC_OP_LT) : NULL;
  if (!le || !lt || le->a[1] != lt->a[0]) return false;
  c->range.lo = le->a[0];
  c->range.hi = lt->a[1];
  c->range.axis = axis_index(s, le->a[1]);
  uint32_t varies = c->cx.varies[c->range.lo] | c->cx.varies[c->range.hi];
  if (c->range.axis == c->step) return !(varies & c->red) && !c->others;
  return c->range.axis == c->lane && c->n_fold == 0 && !(varies & 1u << c->lane);
}

void dhc_chain_range(DhcChain *c) {
  c->range.condition = -1;
  if (c->cx.in->facts->bounded || !reads(c)) c->range.condition = -1;
}

static DhcLv bound(DhcChain *c, int node) {
  return dhc_lp_cast(c->b, dhc_tpl_eval(&c->cx, node), DHC_I64);
}

void dhc_chain_range_begin(DhcChain *c) {
  DhcLp *b = c->b;
  DhcLv zero = dhc_lp_i64(b, 0), last = c->n_steps;
  c->from = zero;
  c->to = last;
  if (c->range.condition < 0 || c->range.axis != c->step) return;
  DhcLpVar lo = dhc_lp_var(b, last), hi = dhc_lp_var(b, zero);
  DhcLv i = dhc_lp_for(b, zero, c->n_lanes, 1);
  DhcTplMark mark = dhc_tpl_push(&c->cx);
  dhc_tpl_bind(&c->cx, c->lane, dhc_lp_add(b, c->lane0, i));
  dhc_lp_set(b, lo, dhc_lp_min(b, dhc_lp_get(b, lo), bound(c, c->range.lo)));
  dhc_lp_set(b, hi, dhc_lp_max(b, dhc_lp_get(b, hi), bound(c, c->range.hi)));
  dhc_tpl_pop(&c->cx, &mark);
  dhc_lp_end(b);
  DhcLv first = dhc_lp_max(b, dhc_lp_get(b, lo), zero), end = dhc_lp_min(b, dhc_lp_get(b, hi), last);
  DhcLv chunk = dhc_lp_i64(b, c->chunk); /* whole chunks */
  c->from = dhc_lp_mul(b, dhc_lp_udiv(b, first, chunk), chunk);
  c->to = dhc_lp_min(b, dhc_lp_mulc(b, dhc_lp_ceildivc(b, end, c->chunk), c->chunk), last);
  c->to = dhc_lp_max(b, c->to, c->from);
}

DhcLv dhc_chain_range_skips(DhcChain *c) {
  DhcLp *b = c->b;
  return dhc_lp_or(b, dhc_lp_lt(b, dhc_lp_i64(b, 0), c->from), dhc_lp_lt(b, c->to, c->n_steps));
}

DhcLv dhc_chain_range_seen(DhcChain *c, DhcLv from, DhcLv to) {
  DhcLp *b = c->b;
  if (c->range.axis == c->step) return dhc_lp_and(b, dhc_lp_ge(b, from, c->from), dhc_lp_lt(b, from, c->to));
  DhcLv end = dhc_lp_add(b, c->lane0, c->n_lanes), zero = dhc_lp_i64(b, 0);
  DhcLpVar seen = dhc_lp_var(b, zero);
  DhcLv s = dhc_lp_for(b, from, to, 1);
  DhcTplMark mark = dhc_tpl_push(&c->cx);
  dhc_tpl_bind(&c->cx, c->step, s);
  DhcLv any = dhc_lp_and(b, dhc_lp_lt(b, bound(c, c->range.lo), end), dhc_lp_lt(b, c->lane0, bound(c, c->range.hi)));
  dhc_lp_set(b, seen, dhc_lp_or(b, dhc_lp_get(b, seen), dhc_lp_select(b, any, dhc_lp_i64(b, 1), zero)));
  dhc_tpl_pop(&c->cx, &mark);
  dhc_lp_end(b);
  return dhc_lp_lt(b, zero, dhc_lp_get(b, seen));
}

/* V's values of the steps times 0: 0 if all are finite, else NaN somewhere. */
static DhcLv all_finite(DhcChain *c, const DhcChainOuter *o, DhcLv from, DhcLv to) {
  DhcLp *b = c->b;
  DhcLv zero = dhc_lp_zero(b, DHC_F32, c->lanes), n = c->cx.extent[o->col];
  DhcLv there = dhc_lp_at(b, c->cx.pointer[o->ov], dhc_tpl_base(&c->cx, o->ov)), by_step = dhc_tpl_step(&c->cx, o->ov, c->step);
  DhcLpVar sum = dhc_lp_var(b, zero);
  DhcLv col = dhc_lp_for(b, dhc_lp_i64(b, 0), n, c->lanes), mask = dhc_lp_tail(b, col, n, c->lanes);
  DhcLv s = dhc_lp_for(b, from, to, 1);
  DhcLv x = dhc_lp_mload(b, there, dhc_lp_add(b, dhc_lp_mul(b, s, by_step), col), c->lanes, mask);
  dhc_lp_set(b, sum, dhc_lp_fma(b, x, zero, dhc_lp_get(b, sum)));
  dhc_lp_end(b);
  dhc_lp_end(b);
  DhcLv total = dhc_lp_fold(b, DHC_OP_ADD, dhc_lp_get(b, sum));
  return dhc_lp_eq(b, total, total);
}

/* No accumulator is -0. */
static DhcLv no_negative_zero(DhcChain *c, const DhcChainOuter *o) {
  DhcLp *b = c->b;
  DhcLv sign = dhc_lp_int(b, DHC_I32, INT32_MIN), one = dhc_lp_int(b, DHC_I32, 1), zero = dhc_lp_zero(b, DHC_I32, c->lanes);
  DhcLpVar found = dhc_lp_var(b, zero);
  DhcLv i = dhc_lp_for(b, dhc_lp_i64(b, 0), dhc_lp_mul(b, c->n_lanes, o->pitch), c->lanes);
  DhcLv x = dhc_lp_bitcast(b, dhc_lp_load(b, o->acc, i, c->lanes, 0), DHC_I32);
  dhc_lp_set(b, found, dhc_lp_or(b, dhc_lp_get(b, found), dhc_lp_select(b, dhc_lp_eq(b, x, sign), dhc_lp_splat(b, one, c->lanes), zero)));
  dhc_lp_end(b);
  return dhc_lp_eq(b, dhc_lp_fold(b, DHC_OP_OR, dhc_lp_get(b, found)), dhc_lp_int(b, DHC_I32, 0));
}

DhcLv dhc_chain_range_exact(DhcChain *c, DhcLv from, DhcLv to) {
  DhcLv ok = NULL;
  for (int j = 0; j < c->n_out; j++) {
    DhcLv x = dhc_lp_and(c->b, all_finite(c, &c->out[j], from, to), no_negative_zero(c, &c->out[j]));
    ok = ok ? dhc_lp_and(c->b, ok, x) : x;
  }
  return ok;
}
