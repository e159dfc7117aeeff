/* Template "scan": h[t] = fma(a[t], h[t-1], b[t]) along the sequential axis, one step after
 * the other; vectors and tasks run over the parallel axes. What comes before and after is
 * evaluated in the same step, so nothing of the recurrence is in memory but what outputs
 * store; an output without the sequential axis is the state after the last step, stored behind
 * the loop. Where a scan also varies over reduced axes (states that a fold contracts in each
 * step), h is a buffer over them on the stack, or in scratch if an extent is an argument.
 *
 * Schedule: as "map", v[0] a parallel axis; v[2] 1: a row at a time, not a vector of them. */
#include "backends/loop/tpl.h"

typedef struct Scan {
  const bool *needed;
  int seq;
  bool reverse;
  DhcLpVar h[DHC_SPEC_MAX_NODES]; /* scans without state axes */
} Scan;

static uint32_t state_axes(const DhcTplCx *cx, int n) {
  return dhc_spec_axes(cx->s, DHC_AXIS_RED) & cx->varies[n];
}

/* Loops over `left`, then the step of scan n: its first value, or one more. */
static void over_states(DhcTplCx *cx, const Scan *sc, int n, uint32_t left, bool first);

static int value_lanes(const DhcTplCx *cx, int n) {
  return cx->vector_axis >= 0 && (cx->varies[n] >> cx->vector_axis & 1) ? cx->lanes : 1;
}

static DhcLv next_state(DhcTplCx *cx, int n, DhcLv h) {
  const DhcSpecNode *d = &cx->s->node[n];
  DhcLv a = dhc_tpl_eval(cx, d->a[0]);
  return dhc_tpl_next_state(cx, n, a, h, dhc_tpl_eval(cx, d->a[1]));
}

static void state_step(DhcTplCx *cx, int n, bool first) {
  DhcLp *b = cx->b;
  const DhcSpecNode *d = &cx->s->node[n];
  DhcLv at = dhc_tpl_state_index(cx, n);
  int lanes = value_lanes(cx, n);
  DhcLv h = first ? dhc_lp_splat(b, dhc_tpl_eval(cx, d->a[2]), lanes)
                  : next_state(cx, n, dhc_lp_load(b, cx->carried[n], at, lanes, 0));
  dhc_lp_store(b, cx->carried[n], at, h, 0);
}

static void over_states(DhcTplCx *cx, const Scan *sc, int n, uint32_t left, bool first) {
  if (!left) {
    state_step(cx, n, first);
    return;
  }
  int a = 0;
  while (!(left >> a & 1)) a++;
  DhcLv i = dhc_lp_for(cx->b, dhc_lp_i64(cx->b, 0), cx->extent[a], 1);
  DhcTplMark mark = dhc_tpl_push(cx);
  dhc_tpl_bind(cx, a, i);
  over_states(cx, sc, n, left & ~(1u << a), first);
  dhc_tpl_pop(cx, &mark);
  dhc_lp_end(cx->b);
}

static void begin(DhcTplCx *cx, Scan *sc) {
  DhcLp *b = cx->b;
  for (int n = 0; n < cx->s->n_nodes; n++) {
    if (cx->s->node[n].kind != DHC_SN_SCAN || !sc->needed[n]) continue;
    uint32_t states = state_axes(cx, n);
    if (states) {
      over_states(cx, sc, n, states, true);
      continue;
    }
    DhcLv h0 = dhc_tpl_eval(cx, cx->s->node[n].a[2]);
    sc->h[n] = dhc_lp_var(b, dhc_lp_splat(b, h0, value_lanes(cx, n)));
  }
}

/* Buffers for states, once: before the loops, so that a stack buffer is one buffer. */
static void place_states(DhcTplCx *cx, const bool *needed) {
  DhcLp *b = cx->b;
  DhcArena *arena = b->arena;
  int64_t fixed = 0;
  dhc_dimprog bytes = {0};
  for (int n = 0; n < cx->s->n_nodes; n++) {
    uint32_t states = state_axes(cx, n);
    if (cx->s->node[n].kind != DHC_SN_SCAN || !needed[n] || !states) continue;
    dhc_dtype t = cx->s->node[n].dtype;
    dhc_dimprog count = dhc_tpl_count_prog(cx, states);
    if (count.n_code == 2 && count.code[0] == DHC_DIM_CONST && count.code[1] <= 1024) {
      cx->carried[n] = dhc_lp_local(b, t, count.code[1] * DHC_TPL_LANES);
      continue;
    }
    if (bytes.n_code) dhc_lp_refuse(b, "two scans over states of variable number");
    cx->carried[n] = dhc_lp_scratch(b, t, fixed);
    bytes = dhc_prog_op(arena, DHC_DIM_MUL, count,
                        dhc_prog_const(arena, DHC_TPL_LANES * dhc_dtype_bytes(t)));
  }
  b->scratch_bytes = bytes;
}

/* Output o is the last state, one for every place of `left`. */
static void store_late(DhcTplCx *cx, const Scan *sc, int o, uint32_t left) {
  DhcLp *b = cx->b;
  int n = cx->s->operand[o].stored, a = 0;
  if (!left) {
    bool states = state_axes(cx, n) != 0;
    DhcLv h = states ? dhc_lp_load(b, cx->carried[n], dhc_tpl_state_index(cx, n), value_lanes(cx, n), 0)
                     : dhc_lp_get(b, sc->h[n]);
    dhc_tpl_store_value(cx, o, h);
    return;
  }
  while (!(left >> a & 1)) a++;
  DhcLv i = dhc_lp_for(b, dhc_lp_i64(b, 0), cx->extent[a], 1);
  DhcTplMark mark = dhc_tpl_push(cx);
  dhc_tpl_bind(cx, a, i);
  store_late(cx, sc, o, left & ~(1u << a));
  dhc_tpl_pop(cx, &mark);
  dhc_lp_end(b);
}

static void body(DhcTplCx *cx, void *arg) {
  Scan *sc = arg;
  DhcLp *b = cx->b;
  begin(cx, sc);
  DhcLv n = cx->extent[sc->seq];
  DhcLv t = dhc_lp_for(b, dhc_lp_i64(b, 0), n, 1);
  DhcTplMark mark = dhc_tpl_push(cx);
  if (sc->reverse) t = dhc_lp_sub(b, dhc_lp_addc(b, n, -1), t);
  dhc_tpl_bind(cx, sc->seq, t);
  for (int k = 0; k < cx->s->n_nodes; k++) {
    if (cx->s->node[k].kind != DHC_SN_SCAN || !sc->needed[k]) continue;
    uint32_t states = state_axes(cx, k);
    if (states) {
      over_states(cx, sc, k, states, false);
      continue;
    }
    DhcLv h = next_state(cx, k, dhc_lp_get(b, sc->h[k]));
    dhc_lp_set(b, sc->h[k], h);
    dhc_tpl_set(cx, k, h);
  }
  dhc_tpl_store_all(cx);
  dhc_tpl_pop(cx, &mark);
  dhc_lp_end(b);
  for (int o = dhc_spec_n_inputs(cx->s); o < cx->s->n_operands; o++)
    if (cx->late >> o & 1) store_late(cx, sc, o, state_axes(cx, cx->s->operand[o].stored));
}

void dhc_tpl_scan(const DhcTplInput *in, DhcLp *b) {
  DhcTplCx cx;
  dhc_tpl_init(&cx, in, b);
  Scan sc = {.seq = -1, .reverse = in->spec->n_attrs > 0 && in->spec->attr[0]};
  uint32_t par = dhc_spec_axes(in->spec, DHC_AXIS_PAR), seq = dhc_spec_axes(in->spec, DHC_AXIS_SEQ);
  uint32_t work = dhc_spec_axes(in->spec, DHC_AXIS_RED) | seq;
  for (int a = 0; a < in->spec->n_axes; a++)
    if (seq >> a & 1) sc.seq = a;
  if (sc.seq < 0) dhc_lp_refuse(b, "no sequential axis");
  if (b->refused) return;
  bool needed[DHC_SPEC_MAX_NODES] = {false};
  dhc_tpl_needed_by_outputs(in->spec, needed);
  sc.needed = needed;
  for (int o = dhc_spec_n_inputs(in->spec); o < in->spec->n_operands; o++)
    if (!(dhc_tpl_operand_axes(&cx, o) >> sc.seq & 1)) cx.late |= 1u << o;
  cx.plan_vector = in->schedule->v[2] && !in->schedule->v[0] ? -1 : dhc_tpl_choose_vector(&cx, par);
  place_states(&cx, needed);
  dhc_tpl_nest(&cx, par, work, needed, body, &sc);
}
