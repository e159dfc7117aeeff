/* Template "scan_back" (GPUs): the derivative of a recurrence over 4, 8 or 16 states. A thread has four states of a channel;
 * what varies over steps comes by groups of eight of them into block memory, the next group while one is worked on.
 *
 * A task goes over its steps twice: from the first on, where only the states at every eighth step are kept, and back,
 * where the eight states of a group are computed again from the one before, into registers. Sums over states are added
 * across the threads of a channel, sums over channels across a warp, then over the block's warps, blocks of channels last;
 * sums over rows and steps in registers, over tasks last. Everything has one order; no atomic addition.
 *
 * Few rows of many steps are cut into segments: a first phase gives of each where its states end if they begin as zero,
 * by how much they decay, and what comes back out of it if nothing comes in; a second carries these from segment to
 * segment; the third does the segments side by side; the last adds up. With one segment the first two are empty.
 *
 * Schedule: v[0] as "scan", v[1] threads of a block, v[2] steps of a segment (a multiple of 8; 0: all), v[3] blocks at
 * once on a multiprocessor, v[4] 1: exponentials and states as fast as they come, not to the last bit. */
#include "backends/loop/tpl_scan_back.h"

enum { QUAD = DHC_BACK_QUAD, STEPS = DHC_BACK_STEPS, WARP = 32, STORED = 4 /* steps whose results are stored together */ };

static DhcLv four(DhcBack *v, DhcLv x) { return dhc_lp_splat(v->b, x, QUAD); }
static DhcLv zero4(DhcBack *v) { return dhc_lp_zero(v->b, DHC_F32, QUAD); }

static void bind_step(DhcBack *v, DhcLv i) {
  if (v->reverse) i = dhc_lp_sub(v->b, dhc_lp_addc(v->b, v->length, -1), i);
  dhc_tpl_bind(&v->cx, v->seq, i);
}

/* Where an array holds this thread's four states: of segment `number` of its row; group: of `groups` of a segment. */
static DhcLv place(DhcBack *v, const DhcBackArray *a, DhcLv number) {
  DhcLp *b = v->b;
  DhcLv at = dhc_lp_mul(b, number, v->v_channels);
  at = dhc_lp_mulc(b, dhc_lp_add(b, at, v->channel), v->n);
  return dhc_lp_add(b, dhc_lp_add(b, a->at, at), dhc_lp_mulc(b, v->quad, QUAD));
}

static DhcLv segment_number(DhcBack *v) { return dhc_lp_add(v->b, dhc_lp_mul(v->b, v->row, v->v_segments), v->number); }

static DhcLv saved_at(DhcBack *v, DhcLv group) {
  DhcLp *b = v->b;
  DhcLv each = v->segment ? dhc_lp_i64(b, v->segment / STEPS) : dhc_lp_ceildivc(b, v->length, STEPS);
  return place(v, &v->saved, dhc_lp_add(b, dhc_lp_mul(b, segment_number(v), each), group));
}

/* ---- groups of steps in block memory ----------------------------------------------------------- */

/* Begins to copy steps [step, step + 8) of what `wanted` needs; those behind the last, and channels that there are not,
 * become 0. */
static void ask(DhcBack *v, const bool *wanted, DhcLv step) {
  DhcLp *b = v->b;
  DhcLv slot = dhc_lp_mulc(b, dhc_lp_and(b, dhc_lp_udiv(b, step, dhc_lp_i64(b, STEPS)), dhc_lp_i64(b, 1)), v->slot);
  for (int k = 0; k < v->n_staged; k++) {
    const DhcBackStaged *s = &v->staged[k];
    if (!wanted[s->node]) continue;
    int at_once = v->threads / s->width < STEPS ? v->threads / s->width : STEPS; /* steps */
    DhcLv width = dhc_lp_i64(b, s->width), one = dhc_lp_urem(b, v->tid, width), row = dhc_lp_udiv(b, v->tid, width);
    DhcLv some = NULL, there = NULL; /* threads, elements that there are */
    if (at_once * s->width < v->threads) some = dhc_lp_lt(b, v->tid, dhc_lp_i64(b, (int64_t)at_once * s->width));
    if (!s->by_state) {
      DhcLv c = dhc_lp_add(b, dhc_lp_mulc(b, v->block, v->channels), one);
      there = dhc_lp_lt(b, c, v->cx.extent[v->axis]);
      one = c;
    }
    DhcLv along = dhc_lp_mul(b, one, dhc_tpl_step(&v->cx, s->operand, s->by_state ? v->state : v->axis));
    if (some) dhc_lp_if(b, some);
    for (int i = 0; i < STEPS; i += at_once) {
      DhcLv at = dhc_lp_add(b, dhc_lp_addc(b, step, i), row), ok = dhc_lp_lt(b, at, v->last);
      if (there) ok = dhc_lp_and(b, ok, there);
      DhcLv t = v->reverse ? dhc_lp_sub(b, dhc_lp_addc(b, v->length, -1), at) : at;
      DhcLv from = dhc_lp_add(b, along, dhc_lp_mul(b, t, dhc_tpl_step(&v->cx, s->operand, v->seq)));
      from = dhc_lp_add(b, v->row_base[s->operand], from);
      DhcLv to = dhc_lp_add(b, slot, dhc_lp_addc(b, v->tid, s->at + (int64_t)i * s->width));
      dhc_lp_copy(b, v->slots, to, dhc_lp_at(b, v->cx.pointer[s->operand], from), 1,
                  dhc_lp_select(b, ok, dhc_lp_i64(b, 1), dhc_lp_i64(b, 0)));
    }
    if (some) dhc_lp_end(b);
  }
  dhc_lp_commit(b);
}

/* Loads of step `i` of the group at `step`. */
static void take(DhcBack *v, const bool *wanted, DhcLv step, int i) {
  DhcLp *b = v->b;
  DhcLv slot = dhc_lp_mulc(b, dhc_lp_and(b, dhc_lp_udiv(b, step, dhc_lp_i64(b, STEPS)), dhc_lp_i64(b, 1)), v->slot);
  for (int k = 0; k < v->n_staged; k++) {
    const DhcBackStaged *s = &v->staged[k];
    if (!wanted[s->node]) continue;
    DhcLv at = dhc_lp_addc(b, slot, s->at + (int64_t)i * s->width);
    at = dhc_lp_add(b, at, s->by_state ? dhc_lp_mulc(b, v->quad, QUAD) : v->local);
    dhc_tpl_set(&v->cx, s->node, dhc_lp_load(b, v->slots, at, s->by_state ? QUAD : 1, s->by_state ? 16 : 0));
  }
}

/* ---- arithmetic ---------------------------------------------------------------------------------- */

/* The recurrence one step on. */
static DhcLv next_state(DhcBack *v, DhcLv a, DhcLv h, DhcLv x) {
  return dhc_tpl_next_state(&v->cx, v->scan, a, h, x);
}

/* Node n, plus y; a product of its own in one step with the sum. */
static DhcLv plus(DhcBack *v, int n, DhcLv y) {
  const DhcSpecNode *d = &v->s->node[n];
  if (v->cx.value[n] || d->kind != DHC_SN_EW || d->op != DHC_OP_MUL) return dhc_lp_add(v->b, four(v, dhc_tpl_eval(&v->cx, n)), y);
  return dhc_lp_fma(v->b, four(v, dhc_tpl_eval(&v->cx, d->a[0])), four(v, dhc_tpl_eval(&v->cx, d->a[1])), y);
}

/* The sum of node n over the states: a thread's own four, then those of the channel's other threads. */
static DhcLv over_states(DhcBack *v, int n) {
  DhcLp *b = v->b;
  const DhcSpecNode *d = &v->s->node[n];
  DhcLv sum = NULL;
  if (!v->cx.value[n] && d->kind == DHC_SN_EW && d->op == DHC_OP_MUL) {
    DhcLv x = four(v, dhc_tpl_eval(&v->cx, d->a[0])), y = four(v, dhc_tpl_eval(&v->cx, d->a[1]));
    for (int l = 0; l < QUAD; l++) {
      DhcLv p = dhc_lp_extract(b, x, l), q = dhc_lp_extract(b, y, l);
      sum = sum ? dhc_lp_fma(b, p, q, sum) : dhc_lp_mul(b, p, q);
    }
  } else {
    sum = dhc_lp_fold(b, DHC_OP_ADD, four(v, dhc_tpl_eval(&v->cx, n)));
  }
  for (int w = 1; w < v->lanes; w *= 2) sum = dhc_lp_add(b, sum, dhc_lp_across(b, sum, w));
  return sum;
}

/* ---- forwards -------------------------------------------------------------------------------------- */

/* Step `i` of the group at `step`; part: there may be none, and what it loads by itself is the last one's. */
static void bind_of(DhcBack *v, DhcLv step, int i, bool part) {
  DhcLv at = dhc_lp_addc(v->b, step, i);
  bind_step(v, part ? dhc_lp_min(v->b, at, dhc_lp_addc(v->b, v->last, -1)) : at);
}

/* The states after step `i` of the group at `step`; *decay: by how much those before it count. */
static DhcLv forward_step(DhcBack *v, DhcLv step, int i, bool part, DhcLv h, DhcLv *decay) {
  DhcTplMark mark = dhc_tpl_push(&v->cx);
  const DhcSpecNode *d = &v->s->node[v->scan];
  bind_of(v, step, i, part);
  take(v, v->in_sweep, step, i);
  *decay = four(v, dhc_tpl_eval(&v->cx, d->a[0]));
  h = next_state(v, *decay, h, four(v, dhc_tpl_eval(&v->cx, d->a[1])));
  dhc_tpl_pop(&v->cx, &mark);
  return h;
}

/* Waits for a group, and begins to copy the one at `next`, if there is one. */
static void turn(DhcBack *v, const bool *wanted, DhcLv next, DhcLv there) {
  DhcLp *b = v->b;
  dhc_lp_wait(b, 0);
  dhc_lp_barrier(b);
  dhc_lp_if(b, there);
  ask(v, wanted, next);
  dhc_lp_end(b);
}

/* From the first step to the last group, keeping the states at the beginning of every group. */
static void sweep(DhcBack *v, DhcLv h0, DhcLv last_group) {
  DhcLp *b = v->b;
  DhcLpVar h = dhc_lp_var(b, h0);
  ask(v, v->in_sweep, v->first);
  DhcLv step = dhc_lp_for(b, v->first, last_group, STEPS), next = dhc_lp_addc(b, step, STEPS);
  turn(v, v->in_sweep, next, dhc_lp_lt(b, next, last_group));
  DhcLv at = dhc_lp_get(b, h), decay;
  DhcLv group = dhc_lp_udiv(b, dhc_lp_sub(b, step, v->first), dhc_lp_i64(b, STEPS));
  dhc_lp_store(b, v->shared, saved_at(v, group), at, 16);
  for (int i = 0; i < STEPS; i++) at = forward_step(v, step, i, false, at, &decay);
  dhc_lp_set(b, h, at);
  dhc_lp_end(b);
  dhc_lp_wait(b, 0);
  group = dhc_lp_udiv(b, dhc_lp_sub(b, last_group, v->first), dhc_lp_i64(b, STEPS));
  dhc_lp_store(b, v->shared, saved_at(v, group), dhc_lp_get(b, h), 16);
  dhc_lp_barrier(b);
}

/* Of a segment by itself: its last states, how they decay, and what comes back out of it. */
static void summary(DhcBack *v) {
  DhcLp *b = v->b;
  const DhcSpecNode *g = &v->s->node[v->back];
  DhcLpVar h = dhc_lp_var(b, zero4(v)), decay = dhc_lp_var(b, four(v, dhc_lp_float(b, DHC_F32, 1))), k = dhc_lp_var(b, zero4(v));
  ask(v, v->in_summary, v->first);
  DhcLv step = dhc_lp_for(b, v->first, v->last, STEPS), next = dhc_lp_addc(b, step, STEPS);
  turn(v, v->in_summary, next, dhc_lp_lt(b, next, v->last));
  for (int i = 0; i < STEPS; i++) {
    DhcLv at = dhc_lp_addc(b, step, i), a;
    dhc_lp_if(b, dhc_lp_lt(b, at, v->last));
    DhcTplMark mark = dhc_tpl_push(&v->cx);
    bind_step(v, at);
    take(v, v->in_summary, step, i);
    a = four(v, dhc_tpl_eval(&v->cx, g->a[0]));
    DhcLv all = dhc_lp_mul(b, a, dhc_lp_get(b, decay));
    if (v->scan >= 0) dhc_lp_set(b, h, next_state(v, a, dhc_lp_get(b, h), four(v, dhc_tpl_eval(&v->cx, v->s->node[v->scan].a[1]))));
    dhc_lp_set(b, k, dhc_lp_fma(b, all, four(v, dhc_tpl_eval(&v->cx, g->a[1])), dhc_lp_get(b, k)));
    dhc_lp_set(b, decay, all);
    dhc_tpl_pop(&v->cx, &mark);
    dhc_lp_end(b);
  }
  dhc_lp_end(b);
  DhcLv at = segment_number(v);
  dhc_lp_store(b, v->shared, place(v, &v->ends, at), dhc_lp_get(b, h), 16);
  dhc_lp_store(b, v->shared, place(v, &v->decays, at), dhc_lp_get(b, decay), 16);
  dhc_lp_store(b, v->shared, place(v, &v->backs, at), dhc_lp_get(b, k), 16);
}

/* ---- from segment to segment -------------------------------------------------------------------------- */

static void carry(DhcBack *v, const DhcBackArray *a, DhcLv at, DhcLv each, int from, bool backwards) {
  dhc_tpl_carry(v->b, v->shared, a->at, v->decays.at, at, each, v->v_segments, dhc_tpl_eval(&v->cx, from), backwards, false);
}

/* A thread a row, channel and state. */
static void carry_all(DhcBack *v, DhcLv task) {
  DhcLp *b = v->b;
  DhcLv each = dhc_lp_mulc(b, v->v_channels, v->n), e = dhc_lp_add(b, dhc_lp_mulc(b, task, v->threads), v->tid);
  DhcLv row = dhc_lp_udiv(b, e, each), in = dhc_lp_urem(b, e, each), states = dhc_lp_i64(b, v->n);
  DhcLv channel = dhc_lp_udiv(b, in, states);
  DhcLv ok = dhc_lp_and(b, dhc_lp_lt(b, row, v->v_rows), dhc_lp_lt(b, channel, v->cx.extent[v->axis]));
  dhc_lp_if(b, ok);
  DhcTplMark mark = dhc_tpl_push(&v->cx);
  dhc_tpl_bind_flat(&v->cx, v->rows, row);
  dhc_tpl_bind(&v->cx, v->axis, channel);
  dhc_tpl_bind(&v->cx, v->state, dhc_lp_urem(b, in, states));
  DhcLv at = dhc_lp_add(b, dhc_lp_mul(b, dhc_lp_mul(b, row, v->v_segments), each), in);
  if (v->scan >= 0) carry(v, &v->ends, at, each, v->s->node[v->scan].a[2], false);
  carry(v, &v->backs, at, each, v->s->node[v->back].a[2], true);
  dhc_tpl_pop(&v->cx, &mark);
  dhc_lp_end(b);
}

/* ---- backwards ------------------------------------------------------------------------------------------ */

/* Sums of a step over the channels of a warp: bit by bit of a thread's number the threads share out what is left of
 * `x`, or, one value left, all keep its sum. Into the block's memory. */
static void over_channels(DhcBack *v, DhcLv *x, int n, DhcLv step, int i) {
  DhcLp *b = v->b;
  DhcLv zero = dhc_lp_i64(b, 0), which = zero, alone = NULL;
  for (int w = WARP / 2; w >= v->lanes; w /= 2) {
    DhcLv up = dhc_lp_eq(b, dhc_lp_and(b, v->tid, dhc_lp_i64(b, w)), dhc_lp_i64(b, w));
    if (n % 2) {
      for (int k = 0; k < n; k++) x[k] = dhc_lp_add(b, x[k], dhc_lp_across(b, x[k], w));
      DhcLv low = dhc_lp_eq(b, dhc_lp_and(b, v->tid, dhc_lp_i64(b, w)), zero);
      alone = alone ? dhc_lp_and(b, alone, low) : low;
      continue;
    }
    n /= 2;
    for (int k = 0; k < n; k++) {
      DhcLv keep = dhc_lp_select(b, up, x[n + k], x[k]), give = dhc_lp_select(b, up, x[k], x[n + k]);
      x[k] = dhc_lp_add(b, keep, dhc_lp_across(b, give, w));
    }
    which = dhc_lp_add(b, which, dhc_lp_select(b, up, dhc_lp_i64(b, n), zero));
  }
  /* value `which` + k is state 4 quad + (which + k) % 4 of sum (which + k) / 4 */
  DhcLv half = dhc_lp_and(b, dhc_lp_udiv(b, step, dhc_lp_i64(b, STEPS)), dhc_lp_i64(b, 1));
  DhcLv warp = dhc_lp_udiv(b, v->tid, dhc_lp_i64(b, WARP));
  int64_t each = (int64_t)v->n_across * v->n;
  DhcLv base = dhc_lp_add(b, dhc_lp_mulc(b, half, v->sums), dhc_lp_mulc(b, warp, STEPS * each));
  if (alone) dhc_lp_if(b, alone);
  for (int k = 0; k < n; k++) {
    DhcLv value = dhc_lp_addc(b, which, k), quad = dhc_lp_i64(b, QUAD);
    DhcLv at = dhc_lp_add(b, dhc_lp_mulc(b, dhc_lp_udiv(b, value, quad), v->n), dhc_lp_urem(b, value, quad));
    at = dhc_lp_add(b, dhc_lp_addc(b, at, i * each), dhc_lp_mulc(b, v->quad, QUAD));
    dhc_lp_store(b, v->warp_sums, dhc_lp_add(b, base, at), x[k], 0);
  }
  if (alone) dhc_lp_end(b);
}

/* Adds the warps' sums of the group at `step`, which everyone has stored, into the parts of this block of channels. */
static void add_warps(DhcBack *v, DhcLv step) {
  DhcLp *b = v->b;
  int each = v->n_across * v->n;
  if (!each) return;
  DhcLv half = dhc_lp_and(b, dhc_lp_udiv(b, step, dhc_lp_i64(b, STEPS)), dhc_lp_i64(b, 1)), base = dhc_lp_mulc(b, half, v->sums);
  DhcLv e = dhc_lp_for(b, v->tid, dhc_lp_i64(b, (int64_t)STEPS * each), v->threads), sum = NULL;
  for (int w = 0; w < v->threads / WARP; w++) {
    DhcLv x = dhc_lp_load(b, v->warp_sums, dhc_lp_add(b, base, dhc_lp_addc(b, e, (int64_t)w * STEPS * each)), 1, 0);
    sum = sum ? dhc_lp_add(b, sum, x) : x;
  }
  DhcLv i = dhc_lp_udiv(b, e, dhc_lp_i64(b, each)), in = dhc_lp_urem(b, e, dhc_lp_i64(b, each)), at = dhc_lp_add(b, step, i);
  DhcLv row = dhc_lp_add(b, dhc_lp_mul(b, v->block, v->v_rows), v->row);
  DhcLv to = dhc_lp_add(b, dhc_lp_mulc(b, dhc_lp_add(b, dhc_lp_mul(b, row, v->length), at), v->n), dhc_lp_urem(b, in, dhc_lp_i64(b, v->n)));
  DhcLv fold = dhc_lp_udiv(b, in, dhc_lp_i64(b, v->n)), begin = v->across_parts[0].at;
  for (int k = 1; k < v->n_across; k++) begin = dhc_lp_select(b, dhc_lp_eq(b, fold, dhc_lp_i64(b, k)), v->across_parts[k].at, begin);
  dhc_lp_if(b, dhc_lp_lt(b, at, v->last));
  dhc_lp_store(b, v->shared, dhc_lp_add(b, begin, to), sum, 0);
  dhc_lp_end(b);
  dhc_lp_end(b);
}

/* What a task carries from group to group. */
typedef struct Carried {
  DhcLpVar k, along[DHC_BACK_FOLDS];
} Carried;

/* Values of outputs of steps and channels, by operand. */
static void step_values(DhcBack *v, DhcLv *out) {
  uint32_t both = 1u << v->axis | 1u << v->seq;
  for (int o = dhc_spec_n_inputs(v->s); o < v->s->n_operands; o++)
    if ((dhc_tpl_operand_axes(&v->cx, o) & both) == both) out[o] = dhc_tpl_eval(&v->cx, v->s->operand[o].stored);
}

static void store_one(DhcBack *v, DhcLv at, int o, DhcLv value) {
  DhcLp *b = v->b;
  dhc_lp_if(b, dhc_lp_and(b, dhc_lp_lt(b, at, v->last), v->inside));
  DhcTplMark mark = dhc_tpl_push(&v->cx);
  bind_step(v, at);
  dhc_tpl_store_value(&v->cx, o, value);
  dhc_tpl_pop(&v->cx, &mark);
  dhc_lp_end(b);
}

/* Stores those of steps [i, i + STORED) of the group at `step`, as far as there are such. Of what has no states each of a
 * channel's threads stores another step. */
static void store_steps(DhcBack *v, DhcLv step, int i, DhcLv out[STEPS][DHC_SPEC_MAX_OPERANDS]) {
  DhcLp *b = v->b;
  for (int o = dhc_spec_n_inputs(v->s); o < v->s->n_operands; o++) {
    bool states = dhc_tpl_operand_axes(&v->cx, o) >> v->state & 1;
    int together = states ? 1 : v->lanes;
    for (int k = 0; out[i][o] && k < STORED; k += together) {
      DhcLv x = out[i + k][o], at = dhc_lp_addc(b, step, i + k);
      for (int l = 1; l < together; l++) x = dhc_lp_select(b, dhc_lp_eq(b, v->quad, dhc_lp_i64(b, l)), out[i + k + l][o], x);
      store_one(v, together > 1 ? dhc_lp_add(b, at, v->quad) : at, o, x);
    }
  }
}

/* Step `i` of the group at `step`, whose states before and behind are known. */
static void backward_step(DhcBack *v, DhcLv step, int i, DhcLv a, DhcLv before, DhcLv h, const Carried *c, DhcLv *out) {
  DhcLp *b = v->b;
  const DhcSpecNode *d = &v->s->node[v->back];
  DhcTplMark mark = dhc_tpl_push(&v->cx);
  DhcLv x[DHC_BACK_FOLDS * QUAD], on = dhc_lp_lt(b, dhc_lp_addc(b, step, i), v->last);
  bool care = !v->vanishes;
  int n = 0;
  bind_of(v, step, i, true);
  take(v, v->needed, step, i);
  if (a) dhc_tpl_set(&v->cx, d->a[0], a);
  else a = four(v, dhc_tpl_eval(&v->cx, d->a[0]));
  if (h) dhc_tpl_set(&v->cx, v->scan, h);
  for (int m = 0; m < v->s->n_nodes; m++)
    if (v->needed[m] && v->s->node[m].kind == DHC_SN_BEFORE) dhc_tpl_set(&v->cx, m, before);
  DhcLv k = dhc_lp_get(b, c->k), g = plus(v, d->a[1], k);
  if (d->i & DHC_SCAN_FLUSH && !v->cx.nearly) g = dhc_tpl_flush(b, g);
  dhc_tpl_set(&v->cx, v->back, g);
  DhcLv next = dhc_lp_mul(b, a, g);
  dhc_lp_set(b, c->k, care ? dhc_lp_select(b, on, next, k) : next);
  for (int m = 0; m < v->s->n_nodes; m++) {
    const DhcSpecNode *f = &v->s->node[m];
    if (v->needed[m] && f->kind == DHC_SN_FOLD && f->axes == 1u << v->state) dhc_tpl_set(&v->cx, m, over_states(v, f->a[0]));
  }
  for (int f = 0; f < v->n_along; f++) {
    DhcLv sum = dhc_lp_get(b, c->along[f]), more = plus(v, v->s->node[v->along[f]].a[0], sum);
    dhc_lp_set(b, c->along[f], care ? dhc_lp_select(b, on, more, sum) : more);
  }
  DhcLv counts = dhc_lp_and(b, on, v->inside);
  for (int f = 0; f < v->n_across; f++) {
    DhcLv y = four(v, dhc_tpl_eval(&v->cx, v->s->node[v->across[f]].a[0]));
    if (care) y = dhc_lp_select(b, counts, y, zero4(v));
    for (int l = 0; l < QUAD; l++) x[n++] = dhc_lp_extract(b, y, l);
  }
  if (n) over_channels(v, x, n, step, i);
  step_values(v, out);
  dhc_tpl_pop(&v->cx, &mark);
}

/* The group at `step`; the last one may be a part of one. */
static void backward_group(DhcBack *v, DhcLv step, const Carried *c) {
  DhcLp *b = v->b;
  DhcLv h[STEPS + 1] = {NULL}, a[STEPS] = {NULL}, out[STEPS][DHC_SPEC_MAX_OPERANDS] = {{NULL}};
  if (v->scan >= 0) {
    DhcLv group = dhc_lp_udiv(b, dhc_lp_sub(b, step, v->first), dhc_lp_i64(b, STEPS));
    h[0] = dhc_lp_load(b, v->shared, saved_at(v, group), QUAD, 16);
    for (int i = 0; i < STEPS; i++) h[i + 1] = forward_step(v, step, i, true, h[i], &a[i]);
  }
  for (int i = STEPS - 1; i >= 0; i--) {
    backward_step(v, step, i, a[i], h[i], h[i + 1], c, out[i]);
    if (i % STORED == 0) store_steps(v, step, i, out);
  }
}

/* What came out of the task: sums over its steps, and what goes back to where the states began. */
static void end_task(DhcBack *v, const Carried *c) {
  DhcLp *b = v->b;
  for (int f = 0; f < v->n_along; f++)
    dhc_lp_store(b, v->shared, place(v, &v->along_parts[f], segment_number(v)), dhc_lp_get(b, c->along[f]), 16);
  dhc_lp_if(b, dhc_lp_and(b, v->inside, dhc_lp_eq(b, v->number, dhc_lp_i64(b, 0))));
  for (int o = dhc_spec_n_inputs(v->s); o < v->s->n_operands; o++)
    if (v->s->operand[o].stored == v->back && !(dhc_tpl_operand_axes(&v->cx, o) >> v->seq & 1))
      dhc_tpl_store_value(&v->cx, o, dhc_lp_get(b, c->k));
  dhc_lp_end(b);
}

static void segment(DhcBack *v) {
  DhcLp *b = v->b;
  DhcLv at = v->segment ? segment_number(v) : NULL, h0 = NULL, k0 = NULL;
  if (v->segment) {
    DhcLpVar h = dhc_lp_var(b, zero4(v)), k = dhc_lp_var(b, zero4(v)); /* one segment has no phase before it */
    dhc_lp_if(b, dhc_lp_lt(b, dhc_lp_i64(b, 1), v->v_segments));
    if (v->scan >= 0) dhc_lp_set(b, h, dhc_lp_load(b, v->shared, place(v, &v->ends, at), QUAD, 16));
    dhc_lp_set(b, k, dhc_lp_load(b, v->shared, place(v, &v->backs, at), QUAD, 16));
    dhc_lp_else(b);
    DhcTplMark mark = dhc_tpl_push(&v->cx);
    if (v->scan >= 0) dhc_lp_set(b, h, four(v, dhc_tpl_eval(&v->cx, v->s->node[v->scan].a[2])));
    dhc_lp_set(b, k, four(v, dhc_tpl_eval(&v->cx, v->s->node[v->back].a[2])));
    dhc_tpl_pop(&v->cx, &mark);
    dhc_lp_end(b);
    h0 = dhc_lp_get(b, h);
    k0 = dhc_lp_get(b, k);
  } else {
    if (v->scan >= 0) h0 = four(v, dhc_tpl_eval(&v->cx, v->s->node[v->scan].a[2]));
    k0 = four(v, dhc_tpl_eval(&v->cx, v->s->node[v->back].a[2]));
  }
  Carried c = {.k = dhc_lp_var(b, k0)};
  for (int f = 0; f < v->n_along; f++) c.along[f] = dhc_lp_var(b, zero4(v));
  dhc_lp_if(b, dhc_lp_lt(b, v->first, v->last));
  DhcLv steps = dhc_lp_sub(b, v->last, v->first), groups = dhc_lp_ceildivc(b, steps, STEPS);
  DhcLv last_group = dhc_lp_add(b, v->first, dhc_lp_mulc(b, dhc_lp_addc(b, groups, -1), STEPS));
  if (v->scan >= 0) sweep(v, h0, last_group);
  ask(v, v->needed, last_group);
  DhcLv i = dhc_lp_for(b, dhc_lp_i64(b, 0), groups, 1), step = dhc_lp_sub(b, last_group, dhc_lp_mulc(b, i, STEPS));
  DhcLv before = dhc_lp_addc(b, step, -STEPS);
  turn(v, v->needed, before, dhc_lp_le(b, v->first, before));
  add_warps(v, dhc_lp_addc(b, step, STEPS)); /* of the group before; nothing at first, as these steps are none */
  backward_group(v, step, &c);
  dhc_lp_end(b);
  dhc_lp_barrier(b);
  add_warps(v, v->first);
  dhc_lp_end(b);
  end_task(v, &c);
}

/* ---- sums of parts ------------------------------------------------------------------------------------------ */

static DhcLv load_part(DhcBack *v, const DhcBackArray *a, DhcLv part, DhcLv size, DhcLv e) {
  DhcLp *b = v->b;
  return dhc_lp_load(b, v->shared, dhc_lp_add(b, a->at, dhc_lp_add(b, dhc_lp_mul(b, part, size), e)), 1, 0);
}

static void store_result(DhcBack *v, int node, DhcLv sum) {
  for (int o = dhc_spec_n_inputs(v->s); o < v->s->n_operands; o++)
    if (v->s->operand[o].stored == node) dhc_tpl_store_value(&v->cx, o, sum);
}

/* Sum number f over channels: a thread a row, step and state. */
static void add_across(DhcBack *v, int f, DhcLv task) {
  DhcLp *b = v->b;
  DhcLv states = dhc_lp_i64(b, v->n), each = dhc_lp_mulc(b, v->length, v->n), size = dhc_lp_mul(b, v->v_rows, each);
  DhcLv e = dhc_lp_add(b, dhc_lp_mulc(b, task, v->threads), v->tid), zero = dhc_lp_i64(b, 0);
  dhc_lp_if(b, dhc_lp_lt(b, e, size));
  DhcLpVar sum = dhc_lp_var(b, dhc_lp_zero(b, DHC_F32, 1));
  DhcLv p = dhc_lp_for(b, zero, v->v_blocks, 1);
  dhc_lp_set(b, sum, dhc_lp_add(b, dhc_lp_get(b, sum), load_part(v, &v->across_parts[f], p, size, e)));
  dhc_lp_end(b);
  DhcTplMark mark = dhc_tpl_push(&v->cx);
  DhcLv in = dhc_lp_urem(b, e, each);
  dhc_tpl_bind_flat(&v->cx, v->rows, dhc_lp_udiv(b, e, each));
  bind_step(v, dhc_lp_udiv(b, in, states));
  dhc_tpl_bind(&v->cx, v->state, dhc_lp_urem(b, in, states));
  store_result(v, v->across[f], dhc_lp_get(b, sum));
  dhc_tpl_pop(&v->cx, &mark);
  dhc_lp_end(b);
}

/* Sum number f over rows and steps: several threads a channel and state, a warp side by side. */
static void add_along(DhcBack *v, int f, DhcLv task) {
  DhcLp *b = v->b;
  int wide = v->threads / DHC_BACK_PARTS;
  DhcLv size = dhc_lp_mulc(b, v->v_channels, v->n), parts = dhc_lp_mul(b, v->v_rows, v->v_segments), width = dhc_lp_i64(b, wide);
  DhcLv here = dhc_lp_urem(b, v->tid, width), first = dhc_lp_udiv(b, v->tid, width), states = dhc_lp_i64(b, v->n);
  DhcLv e = dhc_lp_add(b, dhc_lp_mulc(b, task, wide), here);
  DhcLpVar sum = dhc_lp_var(b, dhc_lp_zero(b, DHC_F32, 1));
  dhc_lp_if(b, dhc_lp_lt(b, e, size));
  DhcLv p = dhc_lp_for(b, first, parts, DHC_BACK_PARTS);
  dhc_lp_set(b, sum, dhc_lp_add(b, dhc_lp_get(b, sum), load_part(v, &v->along_parts[f], p, size, e)));
  dhc_lp_end(b);
  dhc_lp_end(b);
  dhc_lp_store(b, v->slots, v->tid, dhc_lp_get(b, sum), 0);
  dhc_lp_barrier(b);
  DhcLv channel = dhc_lp_udiv(b, e, states), mine = dhc_lp_lt(b, v->tid, width);
  dhc_lp_if(b, dhc_lp_and(b, mine, dhc_lp_lt(b, channel, v->cx.extent[v->axis])));
  DhcLv all = NULL;
  for (int k = 0; k < DHC_BACK_PARTS; k++) {
    DhcLv x = dhc_lp_load(b, v->slots, dhc_lp_addc(b, here, (int64_t)k * wide), 1, 0);
    all = all ? dhc_lp_add(b, all, x) : x;
  }
  DhcTplMark mark = dhc_tpl_push(&v->cx);
  dhc_tpl_bind(&v->cx, v->axis, channel);
  dhc_tpl_bind(&v->cx, v->state, dhc_lp_urem(b, e, states));
  store_result(v, v->along[f], all);
  dhc_tpl_pop(&v->cx, &mark);
  dhc_lp_end(b);
}

/* ---- the kernel ------------------------------------------------------------------------------------------------ */

/* A task of rows, blocks of channels and segments. */
static void open_task(DhcBack *v, DhcLv task) {
  DhcLp *b = v->b;
  DhcLv lanes = dhc_lp_i64(b, v->lanes), n = v->cx.extent[v->axis];
  DhcLv rest = dhc_lp_udiv(b, task, v->v_segments);
  v->number = dhc_lp_urem(b, task, v->v_segments);
  v->row = dhc_lp_udiv(b, rest, v->v_blocks);
  v->block = dhc_lp_urem(b, rest, v->v_blocks);
  v->quad = dhc_lp_urem(b, v->tid, lanes);
  v->local = dhc_lp_udiv(b, v->tid, lanes);
  v->channel = dhc_lp_add(b, dhc_lp_mulc(b, v->block, v->channels), v->local);
  v->inside = dhc_lp_lt(b, v->channel, n);
  v->first = v->segment ? dhc_lp_mulc(b, v->number, v->segment) : dhc_lp_i64(b, 0);
  v->last = v->segment ? dhc_lp_min(b, dhc_lp_addc(b, v->first, v->segment), v->length) : v->length;
}

static void with_task(DhcBack *v, DhcLv task, void (*body)(DhcBack *v)) {
  DhcLp *b = v->b;
  open_task(v, task);
  DhcTplMark mark = dhc_tpl_push(&v->cx);
  dhc_tpl_bind_flat(&v->cx, v->rows, v->row);
  memcpy(v->row_base, v->cx.base, sizeof v->row_base);
  dhc_tpl_bind(&v->cx, v->axis, dhc_lp_min(b, v->channel, dhc_lp_addc(b, v->cx.extent[v->axis], -1)));
  dhc_tpl_bind_vector(&v->cx, v->state, dhc_lp_mulc(b, v->quad, QUAD), QUAD, NULL);
  dhc_tpl_hoist(&v->cx, v->needed);
  body(v);
  dhc_tpl_pop(&v->cx, &mark);
}

static DhcLv from(DhcBack *v, DhcLv task, dhc_dimprog begin) { return dhc_lp_sub(v->b, task, dhc_lp_prog(v->b, begin)); }

/* Tasks of the last phase, sum by sum; *n sums: where the tasks of each end. */
static dhc_dimprog count_sums(DhcBack *v, dhc_dimprog *end) {
  DhcArena *a = v->b->arena;
  dhc_dimprog all = dhc_prog_const(a, 0), states = dhc_prog_const(a, v->n);
  for (int f = 0; f < v->n_across + v->n_along; f++) {
    bool across = f < v->n_across;
    dhc_dimprog n = across ? dhc_prog_op(a, DHC_DIM_MUL, dhc_prog_op(a, DHC_DIM_MUL, v->n_rows, v->n_steps), states)
                           : dhc_prog_op(a, DHC_DIM_MUL, v->n_channels, states);
    n = dhc_prog_op(a, DHC_DIM_CEILDIV, n, dhc_prog_const(a, across ? v->threads : v->threads / DHC_BACK_PARTS));
    all = end[f] = dhc_prog_op(a, DHC_DIM_ADD, all, n);
  }
  return all;
}

static void add_up(DhcBack *v, DhcLv task, const dhc_dimprog *end) {
  DhcLp *b = v->b;
  int n = v->n_across + v->n_along;
  for (int f = 0; f < n; f++) {
    DhcLv here = f ? from(v, task, end[f - 1]) : task;
    if (f < n - 1) dhc_lp_if(b, dhc_lp_lt(b, task, dhc_lp_prog(b, end[f])));
    if (f < v->n_across) add_across(v, f, here);
    else add_along(v, f - v->n_across, here);
    if (f < n - 1) dhc_lp_else(b);
  }
  for (int f = 0; f < n - 1; f++) dhc_lp_end(b);
}

static void phases(DhcBack *v) {
  DhcLp *b = v->b;
  DhcArena *a = b->arena;
  dhc_dimprog sum_end[2 * DHC_BACK_FOLDS], end[DHC_MAX_PHASES], count[DHC_MAX_PHASES];
  dhc_dimprog tasks = dhc_prog_op(a, DHC_DIM_MUL, dhc_prog_op(a, DHC_DIM_MUL, v->n_rows, v->n_blocks), v->n_segments);
  int n = 0;
  if (v->segment) {
    dhc_dimprog several = dhc_prog_op(a, DHC_DIM_LE, dhc_prog_const(a, 2), v->n_segments);
    dhc_dimprog states = dhc_prog_op(a, DHC_DIM_MUL, v->n_rows, dhc_prog_op(a, DHC_DIM_MUL, v->n_channels, dhc_prog_const(a, v->n)));
    count[n++] = dhc_prog_op(a, DHC_DIM_MUL, tasks, several);
    count[n++] = dhc_prog_op(a, DHC_DIM_MUL, dhc_prog_op(a, DHC_DIM_CEILDIV, states, dhc_prog_const(a, v->threads)), several);
  }
  int main_phase = n;
  count[n++] = tasks;
  dhc_dimprog sums = count_sums(v, sum_end);
  if (v->n_across + v->n_along) count[n++] = sums;
  DhcLv task = dhc_lp_many_phases(b, count, n, end);
  v->tid = dhc_lp_thread(b);
  v->shared = dhc_lp_shared(b, DHC_F32);
  v->slots = dhc_lp_block_memory(b, DHC_F32, 0);
  v->warp_sums = dhc_lp_block_memory(b, DHC_F32, 2 * v->slot * 4);
  for (int p = 0; p < n; p++) {
    DhcLv here = p ? from(v, task, end[p - 1]) : task;
    if (p < n - 1) dhc_lp_if(b, dhc_lp_lt(b, task, dhc_lp_prog(b, end[p])));
    if (p == main_phase) with_task(v, here, segment);
    else if (p > main_phase) add_up(v, here, sum_end);
    else if (p == 0) with_task(v, here, summary);
    else carry_all(v, here);
    if (p < n - 1) dhc_lp_else(b);
  }
  for (int p = 0; p < n - 1; p++) dhc_lp_end(b);
  dhc_lp_end(b);
}

void dhc_tpl_scan_back(const DhcTplInput *in, DhcLp *b) {
  DhcBack *v = DHC_NEW(b->arena, DhcBack);
  v->b = b;
  v->s = in->spec;
  v->threads = in->schedule->v[1];
  v->segment = in->schedule->v[2];
  v->reverse = v->s->n_attrs > 0 && v->s->attr[0];
  if (v->threads < WARP * DHC_BACK_PARTS || v->segment % STEPS) DHC_BUG("schedule of a scan's derivative: %d, %d", v->threads, v->segment);
  dhc_tpl_init(&v->cx, in, b);
  v->cx.nearly = in->schedule->v[4] != 0;
  const char *why = dhc_back_roles(v);
  if (why) dhc_lp_refuse(b, "%s", why);
  if (b->refused) return;
  dhc_lp_share(b, dhc_back_sizes(v));
  int64_t floats = 2 * (v->slot + v->sums);
  dhc_lp_block(b, v->threads, (floats > v->threads ? floats : v->threads) * 4);
  dhc_lp_together(b, in->schedule->v[3]);
  dhc_back_values(v);
  phases(v);
}
