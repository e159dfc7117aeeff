/* Template "scan_states" (GPUs): a scan over states that folds contract in each step, a thread a channel. The channel is
 * a place of the vector axis; its states, 4 to 16 of a constant extent, are in registers, four to a vector. What varies
 * over steps and states but not over channels comes into block memory, some steps at a time; what varies over steps and
 * channels is asked for while the steps before are done. One step after the other, sums by the sum rule: the CPU's bits.
 *
 * Where bits need not be exact, exponentials come from the special-function units, denormal states are dropped on the way,
 * and sums are chains of multiply-adds; then one recurrence may be cut into segments of steps: a first phase finds where
 * each ends if it begins as zero and by how much it decays, a second carries that from one to the next, the third
 * does them side by side. With one segment the first two are empty.
 *
 * Schedule: v[0] as "scan", v[1] threads of a block, v[2] steps in block memory, v[3] steps asked for at once, which
 * divide v[2]; v[4] 1: not to the last bit, v[5] then steps of a segment, a multiple of v[2], or 0. */
#include "backends/loop/tpl.h"

enum { MAX_QUADS = 4, MAX_AHEAD = 8, MAX_KEPT = 8 };

typedef struct States {
  DhcTplCx cx;
  DhcLp *b;
  const DhcSpec *s;
  int axis, seq, state, quads, threads, held, ahead;
  bool reverse;
  bool needed[DHC_SPEC_MAX_NODES];
  /* loads by what they vary over: channels and states alone; steps and states alone; steps but not states */
  int n_kept, kept[MAX_KEPT], n_staged, staged[MAX_KEPT], n_early, early[DHC_SPEC_MAX_OPERANDS];
  DhcLv value[MAX_KEPT][MAX_QUADS], mem[MAX_KEPT];
  DhcLpVar h[DHC_SPEC_MAX_NODES][MAX_QUADS]; /* of SCAN nodes */
  DhcLv tid, inside;
  DhcLv first, last; /* of the task's steps */
  /* segments */
  int segment, scan; /* steps of one, or 0; the recurrence */
  bool summary;      /* states and decays alone are wanted */
  bool feeds[DHC_SPEC_MAX_NODES]; /* the recurrence */
  DhcLpVar decay[MAX_QUADS];
  DhcLv n_segments, n_channels, shared, number, row, channel, decays; /* channels: filled up to whole blocks; decays: where they begin */
} States;

/* ---- what it takes ---------------------------------------------------------------------------- */

static bool needs_fold(const States *v, int n) {
  bool needed[DHC_SPEC_MAX_NODES] = {false};
  dhc_tpl_needed(v->s, n, needed);
  for (int m = 0; m <= n; m++)
    if (needed[m] && v->s->node[m].kind == DHC_SN_FOLD) return true;
  return false;
}

static bool has_axis(const States *v, int n, int axis) { return v->cx.varies[n] >> axis & 1; }

static const char *find_axes(States *v) {
  const DhcSpec *s = v->s;
  uint32_t par = dhc_spec_axes(s, DHC_AXIS_PAR);
  v->seq = v->state = -1;
  for (int a = 0; a < s->n_axes; a++) {
    if (s->axis[a].role == DHC_AXIS_SEQ) v->seq = a;
    if (s->axis[a].role != DHC_AXIS_RED) continue;
    if (v->state >= 0) return "two axes of states";
    v->state = a;
  }
  if (v->seq < 0 || v->state < 0) return "no states";
  int64_t n = s->axis[v->state].extent;
  if (n < 4 || n % 4 || n > 4 * MAX_QUADS) return "another number of states";
  v->quads = (int)(n / 4);
  v->axis = dhc_tpl_choose_vector(&v->cx, par);
  return v->axis < 0 ? "no channels" : NULL;
}

/* Folds are sums over the states, none below a scan, another fold or an output with states. */
static const char *find_folds(const States *v) {
  const DhcSpec *s = v->s;
  for (int n = 0; n < s->n_nodes; n++) {
    const DhcSpecNode *d = &s->node[n];
    if (!v->needed[n]) continue;
    if (d->kind == DHC_SN_SCAN && (d->dtype != DHC_F32 || !has_axis(v, n, v->state) || needs_fold(v, n)))
      return "a scan of another form";
    if (d->kind != DHC_SN_FOLD) continue;
    if (d->op != DHC_OP_REDUCE_SUM || d->dtype != DHC_F32 || d->axes != 1u << v->state || needs_fold(v, d->a[0])) return "a fold of another form";
  }
  for (int o = dhc_spec_n_inputs(s); o < s->n_operands; o++) {
    uint32_t axes = dhc_tpl_operand_axes(&v->cx, o);
    if ((axes >> v->state & 1) && needs_fold(v, s->operand[o].stored)) return "an output of states that needs a fold";
    if (!(axes >> v->seq & 1) && s->node[s->operand[o].stored].kind != DHC_SN_SCAN) return "a last value of another form";
  }
  return NULL;
}

static void find_loads(States *v) {
  const DhcSpec *s = v->s;
  for (int n = 0; n < s->n_nodes; n++) {
    if (!v->needed[n] || s->node[n].kind != DHC_SN_LOAD) continue;
    bool channel = has_axis(v, n, v->axis), seq = has_axis(v, n, v->seq), state = has_axis(v, n, v->state);
    bool f32 = s->node[n].dtype == DHC_F32;
    if (state && !seq && v->n_kept < MAX_KEPT) v->kept[v->n_kept++] = n;
    else if (state && seq && !channel && f32 && v->n_staged < MAX_KEPT) v->staged[v->n_staged++] = n;
    else if (seq && !state) v->early[v->n_early++] = n;
  }
}

/* ---- places ---------------------------------------------------------------------------------------- */

static void bind_step(States *v, DhcLv i) {
  if (v->reverse) i = dhc_lp_sub(v->b, dhc_lp_addc(v->b, v->cx.extent[v->seq], -1), i);
  dhc_tpl_bind(&v->cx, v->seq, i);
}

static void bind_quad(States *v, int q) { dhc_tpl_bind_vector(&v->cx, v->state, dhc_lp_i64(v->b, 4 * (int64_t)q), 4, NULL); }

static DhcLv four(States *v, DhcLv x) { return dhc_lp_splat(v->b, x, 4); }

/* What this pass over the steps needs. */
static bool wants(const States *v, int n) { return v->summary ? v->feeds[n] : v->needed[n]; }

/* Steps [step0, step0 + count) of load `n` into block memory, [step][state]. */
static void stage(States *v, int k, DhcLv step0, DhcLv count) {
  DhcLp *b = v->b;
  DhcLv quads = dhc_lp_i64(b, v->quads);
  DhcLv e = dhc_lp_for(b, v->tid, dhc_lp_mulc(b, count, v->quads), v->threads);
  DhcTplMark mark = dhc_tpl_push(&v->cx);
  bind_step(v, dhc_lp_add(b, step0, dhc_lp_udiv(b, e, quads)));
  dhc_tpl_bind_vector(&v->cx, v->state, dhc_lp_mulc(b, dhc_lp_urem(b, e, quads), 4), 4, NULL);
  dhc_lp_store(b, v->mem[k], dhc_lp_mulc(b, e, 4), four(v, dhc_tpl_eval(&v->cx, v->staged[k])), 16);
  dhc_tpl_pop(&v->cx, &mark);
  dhc_lp_end(b);
}

/* ---- a step ------------------------------------------------------------------------------------------ */

/* Four terms of a fold, which are partials of the sum rule; or, not to the last bit, these added to those before. */
static DhcLv fold_quad(States *v, int n, DhcLv before) {
  DhcLp *b = v->b;
  const DhcSpecNode *d = &v->s->node[n];
  if (!v->cx.nearly) return dhc_lp_add(b, dhc_lp_zero(b, DHC_F32, 4), four(v, dhc_tpl_eval(&v->cx, n)));
  bool product = !v->cx.value[n] && d->kind == DHC_SN_EW && d->op == DHC_OP_MUL;
  if (!before) return four(v, dhc_tpl_eval(&v->cx, n));
  if (!product) return dhc_lp_add(b, before, four(v, dhc_tpl_eval(&v->cx, n)));
  return dhc_lp_fma(b, four(v, dhc_tpl_eval(&v->cx, d->a[0])), four(v, dhc_tpl_eval(&v->cx, d->a[1])), before);
}

/* One vector of states: scans go on, what folds take is evaluated, outputs with states are stored. */
static void step_quad(States *v, int q, DhcLv here, DhcLv term[DHC_SPEC_MAX_NODES][MAX_QUADS]) {
  DhcLp *b = v->b;
  const DhcSpec *s = v->s;
  DhcTplMark mark = dhc_tpl_push(&v->cx);
  bind_quad(v, q);
  for (int k = 0; k < v->n_kept; k++) dhc_tpl_set(&v->cx, v->kept[k], v->value[k][q]);
  DhcLv place = dhc_lp_addc(b, dhc_lp_mulc(b, here, 4 * v->quads), 4 * q);
  for (int k = 0; k < v->n_staged; k++)
    if (wants(v, v->staged[k])) dhc_tpl_set(&v->cx, v->staged[k], dhc_lp_load(b, v->mem[k], place, 4, 16));
  for (int n = 0; n < s->n_nodes; n++) {
    const DhcSpecNode *d = &s->node[n];
    if (!v->needed[n]) continue;
    if (d->kind == DHC_SN_SCAN) {
      DhcLv a = four(v, dhc_tpl_eval(&v->cx, d->a[0])), x = four(v, dhc_tpl_eval(&v->cx, d->a[1])), before = dhc_lp_get(b, v->h[n][q]);
      DhcLv h = dhc_tpl_next_state(&v->cx, n, a, before, x);
      dhc_lp_set(b, v->h[n][q], h);
      if (v->summary) dhc_lp_set(b, v->decay[q], dhc_lp_mul(b, a, dhc_lp_get(b, v->decay[q])));
      dhc_tpl_set(&v->cx, n, h);
    } else if (d->kind == DHC_SN_FOLD && !v->summary) {
      term[n][q] = fold_quad(v, d->a[0], q ? term[n][q - 1] : NULL);
    }
  }
  if (v->summary) {
    dhc_tpl_pop(&v->cx, &mark);
    return;
  }
  uint32_t both = 1u << v->state | 1u << v->seq;
  bool any = false;
  for (int o = dhc_spec_n_inputs(s); o < s->n_operands; o++) {
    if ((dhc_tpl_operand_axes(&v->cx, o) & both) != both) continue;
    dhc_tpl_eval(&v->cx, s->operand[o].stored);
    any = true;
  }
  if (any) dhc_lp_if(b, v->inside);
  for (int o = dhc_spec_n_inputs(s); o < s->n_operands; o++)
    if ((dhc_tpl_operand_axes(&v->cx, o) & both) == both) dhc_tpl_store(&v->cx, o);
  if (any) dhc_lp_end(b);
  dhc_tpl_pop(&v->cx, &mark);
}

/* Up to 16 elements are a partial each: 8, 4, 2 and 1 apart. */
static DhcLv sum_states(States *v, const DhcLv *term) {
  DhcLp *b = v->b;
  DhcLv p[MAX_QUADS] = {NULL};
  if (v->cx.nearly) return dhc_lp_fold(b, DHC_OP_ADD, term[v->quads - 1]);
  for (int q = 0; q < v->quads; q++) p[q] = term[q];
  for (int w = MAX_QUADS / 2; w > 0; w /= 2)
    for (int q = 0; q < w; q++)
      if (p[q + w]) p[q] = dhc_lp_add(b, p[q], p[q + w]);
  return dhc_lp_fold(b, DHC_OP_ADD, p[0]);
}

/* Leaves the values of outputs of steps alone, by operand, in `out`. */
static void step(States *v, DhcLv here, DhcLv *out) {
  const DhcSpec *s = v->s;
  DhcLv term[DHC_SPEC_MAX_NODES][MAX_QUADS];
  for (int q = 0; q < v->quads; q++) step_quad(v, q, here, term);
  if (v->summary) return;
  for (int n = 0; n < s->n_nodes; n++)
    if (v->needed[n] && s->node[n].kind == DHC_SN_FOLD) dhc_tpl_set(&v->cx, n, sum_states(v, term[n]));
  for (int o = dhc_spec_n_inputs(s); o < s->n_operands; o++) {
    uint32_t axes = dhc_tpl_operand_axes(&v->cx, o);
    if ((axes >> v->seq & 1) && !(axes >> v->state & 1)) out[o] = dhc_tpl_eval(&v->cx, s->operand[o].stored);
  }
}

/* What steps load that is the same for all states: n steps from number `first` on, behind the last step that one. */
static void ask(States *v, DhcLv first, int n, DhcLv x[MAX_AHEAD][DHC_SPEC_MAX_OPERANDS]) {
  DhcLp *b = v->b;
  DhcLv last = dhc_lp_addc(b, v->cx.extent[v->seq], -1);
  for (int u = 0; u < n; u++) {
    DhcTplMark mark = dhc_tpl_push(&v->cx);
    bind_step(v, dhc_lp_min(b, dhc_lp_addc(b, first, u), last));
    for (int k = 0; k < v->n_early; k++) x[u][k] = wants(v, v->early[k]) ? dhc_tpl_eval(&v->cx, v->early[k]) : NULL;
    dhc_tpl_pop(&v->cx, &mark);
  }
}

/* n steps, the first at `at` in block memory, with what was asked for. What they give is stored behind them all: nothing
 * keeps one from beginning before the one before is done. */
static void steps(States *v, DhcLv step0, DhcLv at, int n, DhcLv x[MAX_AHEAD][DHC_SPEC_MAX_OPERANDS]) {
  DhcLp *b = v->b;
  DhcLv out[MAX_AHEAD][DHC_SPEC_MAX_OPERANDS] = {{NULL}};
  for (int u = 0; u < n; u++) {
    DhcLv here = dhc_lp_addc(b, at, u);
    DhcTplMark mark = dhc_tpl_push(&v->cx);
    bind_step(v, dhc_lp_add(b, step0, here));
    for (int k = 0; k < v->n_early; k++)
      if (x[u][k]) dhc_tpl_set(&v->cx, v->early[k], x[u][k]);
    step(v, here, out[u]);
    dhc_tpl_pop(&v->cx, &mark);
  }
  if (v->summary) return;
  dhc_lp_if(b, v->inside);
  for (int u = 0; u < n; u++) {
    DhcTplMark mark = dhc_tpl_push(&v->cx);
    bind_step(v, dhc_lp_add(b, step0, dhc_lp_addc(b, at, u)));
    for (int o = dhc_spec_n_inputs(v->s); o < v->s->n_operands; o++)
      if (out[u][o]) dhc_tpl_store_value(&v->cx, o, out[u][o]);
    dhc_tpl_pop(&v->cx, &mark);
  }
  dhc_lp_end(b);
}

/* ---- the kernel ------------------------------------------------------------------------------------------ */

static void begin(States *v) {
  DhcLp *b = v->b;
  for (int q = 0; q < v->quads; q++) {
    DhcTplMark mark = dhc_tpl_push(&v->cx);
    bind_quad(v, q);
    for (int k = 0; k < v->n_kept; k++) v->value[k][q] = four(v, dhc_tpl_eval(&v->cx, v->kept[k]));
    for (int n = 0; n < v->s->n_nodes; n++)
      if (v->needed[n] && v->s->node[n].kind == DHC_SN_SCAN)
        v->h[n][q] = dhc_lp_var(b, v->summary ? dhc_lp_zero(b, DHC_F32, 4) : four(v, dhc_tpl_eval(&v->cx, v->s->node[n].a[2])));
    if (v->summary) v->decay[q] = dhc_lp_var(b, four(v, dhc_lp_float(b, DHC_F32, 1)));
    dhc_tpl_pop(&v->cx, &mark);
  }
}

/* Outputs that hold the states after the last step. */
static void last_states(States *v) {
  DhcLp *b = v->b;
  const DhcSpec *s = v->s;
  dhc_lp_if(b, v->segment ? dhc_lp_and(b, v->inside, dhc_lp_ge(b, v->last, v->cx.extent[v->seq])) : v->inside);
  for (int q = 0; q < v->quads; q++) {
    DhcTplMark mark = dhc_tpl_push(&v->cx);
    bind_quad(v, q);
    for (int o = dhc_spec_n_inputs(s); o < s->n_operands; o++)
      if (!(dhc_tpl_operand_axes(&v->cx, o) >> v->seq & 1))
        dhc_tpl_store_value(&v->cx, o, dhc_lp_get(b, v->h[s->operand[o].stored][q]));
    dhc_tpl_pop(&v->cx, &mark);
  }
  dhc_lp_end(b);
}

static void all_steps(States *v) {
  DhcLp *b = v->b;
  DhcLv n = v->last, zero = dhc_lp_i64(b, 0), x[MAX_AHEAD][DHC_SPEC_MAX_OPERANDS], next[MAX_AHEAD][DHC_SPEC_MAX_OPERANDS];
  DhcLpVar asked[MAX_AHEAD][DHC_SPEC_MAX_OPERANDS];
  dhc_lp_if(b, dhc_lp_lt(b, v->first, n)); /* where there is no step there is nothing to ask for */
  ask(v, v->first, v->ahead, x);
  for (int u = 0; u < v->ahead; u++)
    for (int k = 0; k < v->n_early; k++)
      if (x[u][k]) asked[u][k] = dhc_lp_var(b, x[u][k]);
  DhcLv step0 = dhc_lp_for(b, v->first, n, v->held), count = dhc_lp_min(b, dhc_lp_sub(b, n, step0), dhc_lp_i64(b, v->held));
  DhcTplMark tile = dhc_tpl_push(&v->cx);
  if (v->n_staged) {
    dhc_lp_barrier(b);
    for (int k = 0; k < v->n_staged; k++)
      if (wants(v, v->staged[k])) stage(v, k, step0, count);
    dhc_lp_barrier(b);
  }
  DhcLv whole = dhc_lp_mulc(b, dhc_lp_udiv(b, count, dhc_lp_i64(b, v->ahead)), v->ahead);
  DhcLv at = dhc_lp_for(b, zero, whole, v->ahead);
  for (int u = 0; u < v->ahead; u++)
    for (int k = 0; k < v->n_early; k++)
      if (x[u][k]) x[u][k] = dhc_lp_get(b, asked[u][k]);
  ask(v, dhc_lp_addc(b, dhc_lp_add(b, step0, at), v->ahead), v->ahead, next);
  for (int u = 0; u < v->ahead; u++)
    for (int k = 0; k < v->n_early; k++)
      if (x[u][k]) dhc_lp_set(b, asked[u][k], next[u][k]);
  steps(v, step0, at, v->ahead, x);
  dhc_lp_end(b);
  at = dhc_lp_for(b, whole, count, 1); /* of the last tile alone: the others are whole */
  ask(v, dhc_lp_add(b, step0, at), 1, x);
  steps(v, step0, at, 1, x);
  dhc_lp_end(b);
  dhc_tpl_pop(&v->cx, &tile);
  dhc_lp_end(b);
  dhc_lp_end(b);
}

/* ---- segments ---------------------------------------------------------------------------------------------- */

/* One recurrence may be cut, if what it is made of is not made of it. */
static void find_segments(States *v) {
  v->scan = -1;
  for (int n = 0; n < v->s->n_nodes; n++) {
    if (!v->needed[n] || v->s->node[n].kind != DHC_SN_SCAN) continue;
    if (v->scan >= 0) v->segment = 0;
    v->scan = n;
  }
  if (v->scan < 0 || !v->cx.nearly) v->segment = 0;
  if (!v->segment) return;
  dhc_tpl_needed(v->s, v->s->node[v->scan].a[0], v->feeds);
  dhc_tpl_needed(v->s, v->s->node[v->scan].a[1], v->feeds);
}

/* Where this thread's states of its segment stand: ends first, then, `decays` further, by how much they decay. */
static DhcLv segment_place(States *v, int q) {
  DhcLp *b = v->b;
  DhcLv at = dhc_lp_add(b, dhc_lp_mul(b, v->row, v->n_segments), v->number);
  at = dhc_lp_add(b, dhc_lp_mul(b, at, v->n_channels), v->channel);
  return dhc_lp_addc(b, dhc_lp_mulc(b, at, 4 * (int64_t)v->quads), 4 * (int64_t)q);
}

static void summary(States *v) {
  DhcLp *b = v->b;
  v->summary = true;
  begin(v);
  all_steps(v);
  for (int q = 0; q < v->quads; q++) {
    DhcLv at = segment_place(v, q);
    dhc_lp_store(b, v->shared, at, dhc_lp_get(b, v->h[v->scan][q]), 16);
    dhc_lp_store(b, v->shared, dhc_lp_add(b, v->decays, at), dhc_lp_get(b, v->decay[q]), 16);
  }
  v->summary = false;
}

/* A thread a row, channel and state. */
static void carry(States *v, uint32_t rows, DhcLv task) {
  DhcLp *b = v->b;
  DhcLv each = dhc_lp_mulc(b, v->n_channels, 4 * (int64_t)v->quads), e = dhc_lp_add(b, dhc_lp_mulc(b, task, v->threads), v->tid);
  DhcLv row = dhc_lp_udiv(b, e, each), in = dhc_lp_urem(b, e, each), states = dhc_lp_i64(b, 4 * (int64_t)v->quads);
  DhcLv channel = dhc_lp_udiv(b, in, states), n = v->cx.extent[v->axis];
  dhc_lp_if(b, dhc_lp_and(b, dhc_lp_lt(b, row, dhc_tpl_count(&v->cx, rows)), dhc_lp_lt(b, channel, n)));
  DhcTplMark mark = dhc_tpl_push(&v->cx);
  dhc_tpl_bind_flat(&v->cx, rows, row);
  dhc_tpl_bind(&v->cx, v->axis, channel);
  dhc_tpl_bind(&v->cx, v->state, dhc_lp_urem(b, in, states));
  DhcLv at = dhc_lp_add(b, dhc_lp_mul(b, dhc_lp_mul(b, row, v->n_segments), each), in);
  dhc_tpl_carry(b, v->shared, dhc_lp_i64(b, 0), v->decays, at, each, v->n_segments, dhc_tpl_eval(&v->cx, v->s->node[v->scan].a[2]), false,
                v->s->node[v->scan].i & DHC_SCAN_FORGET);
  dhc_tpl_pop(&v->cx, &mark);
  dhc_lp_end(b);
}

/* What enters a segment, where there are several. */
static void enter(States *v) {
  DhcLp *b = v->b;
  if (!v->segment) return;
  dhc_lp_if(b, dhc_lp_lt(b, dhc_lp_i64(b, 1), v->n_segments));
  for (int q = 0; q < v->quads; q++) dhc_lp_set(b, v->h[v->scan][q], dhc_lp_load(b, v->shared, segment_place(v, q), 4, 16));
  dhc_lp_end(b);
}

static void whole(States *v) {
  begin(v);
  enter(v);
  all_steps(v);
  last_states(v);
}

/* A task of rows, blocks of channels and segments. */
static void with_task(States *v, uint32_t rows, DhcLv n_blocks, DhcLv task, void (*body)(States *v)) {
  DhcLp *b = v->b;
  DhcLv n = v->cx.extent[v->axis], rest = v->segment ? dhc_lp_udiv(b, task, v->n_segments) : task;
  DhcTplMark mark = dhc_tpl_push(&v->cx);
  v->row = dhc_lp_udiv(b, rest, n_blocks);
  dhc_tpl_bind_flat(&v->cx, rows, v->row);
  v->channel = dhc_lp_add(b, dhc_lp_mulc(b, dhc_lp_urem(b, rest, n_blocks), v->threads), v->tid);
  v->inside = dhc_lp_lt(b, v->channel, n);
  v->first = dhc_lp_i64(b, 0);
  v->last = v->cx.extent[v->seq];
  if (v->segment) {
    v->number = dhc_lp_urem(b, task, v->n_segments);
    v->first = dhc_lp_mulc(b, v->number, v->segment);
    v->last = dhc_lp_min(b, dhc_lp_addc(b, v->first, v->segment), v->last);
  }
  dhc_tpl_bind(&v->cx, v->axis, dhc_lp_min(b, v->channel, dhc_lp_addc(b, n, -1))); /* a thread behind the last stores nothing */
  for (int x = 0; x < v->s->n_nodes; x++)
    if (v->needed[x] && v->s->node[x].kind == DHC_SN_LOAD && !(v->cx.varies[x] & ~v->cx.bound)) dhc_tpl_eval(&v->cx, x);
  body(v);
  dhc_tpl_pop(&v->cx, &mark);
}

static void in_segments(States *v, uint32_t rows, dhc_dimprog blocks, DhcLv n_blocks) {
  DhcLp *b = v->b;
  DhcArena *a = b->arena;
  dhc_dimprog one = dhc_prog_const(a, 1), n_rows = dhc_tpl_count_prog(&v->cx, rows), end[3];
  dhc_dimprog segments = dhc_prog_op(a, DHC_DIM_CEILDIV, dhc_tpl_extent_prog(&v->cx, v->seq), dhc_prog_const(a, v->segment));
  segments = dhc_prog_op(a, DHC_DIM_MAX, segments, one);
  dhc_dimprog several = dhc_prog_op(a, DHC_DIM_LE, dhc_prog_const(a, 2), segments);
  dhc_dimprog tasks = dhc_prog_op(a, DHC_DIM_MUL, dhc_prog_op(a, DHC_DIM_MUL, n_rows, blocks), segments);
  dhc_dimprog states = dhc_prog_op(a, DHC_DIM_MUL, dhc_prog_op(a, DHC_DIM_MUL, n_rows, blocks), dhc_prog_const(a, 4 * (int64_t)v->quads));
  dhc_dimprog count[3] = {dhc_prog_op(a, DHC_DIM_MUL, tasks, several), dhc_prog_op(a, DHC_DIM_MUL, states, several), tasks};
  dhc_dimprog floats = dhc_prog_op(a, DHC_DIM_MUL, tasks, dhc_prog_const(a, 4 * (int64_t)v->quads * v->threads));
  dhc_lp_share(b, dhc_prog_op(a, DHC_DIM_MUL, dhc_prog_op(a, DHC_DIM_MUL, floats, several), dhc_prog_const(a, 8)));
  v->n_segments = dhc_lp_prog(b, segments);
  v->n_channels = dhc_lp_mulc(b, n_blocks, v->threads);
  v->decays = dhc_lp_prog(b, floats);
  DhcLv task = dhc_lp_many_phases(b, count, 3, end);
  v->tid = dhc_lp_thread(b);
  v->shared = dhc_lp_shared(b, DHC_F32);
  dhc_lp_if(b, dhc_lp_lt(b, task, dhc_lp_prog(b, end[0])));
  with_task(v, rows, n_blocks, task, summary);
  dhc_lp_else(b);
  dhc_lp_if(b, dhc_lp_lt(b, task, dhc_lp_prog(b, end[1])));
  carry(v, rows, dhc_lp_sub(b, task, dhc_lp_prog(b, end[0])));
  dhc_lp_else(b);
  with_task(v, rows, n_blocks, dhc_lp_sub(b, task, dhc_lp_prog(b, end[1])), whole);
  dhc_lp_end(b);
  dhc_lp_end(b);
}

void dhc_tpl_scan_states(const DhcTplInput *in, DhcLp *b) {
  States *v = DHC_NEW(b->arena, States);
  DhcArena *a = b->arena;
  v->b = b;
  v->s = in->spec;
  v->threads = in->schedule->v[1];
  v->held = in->schedule->v[2];
  v->ahead = in->schedule->v[3];
  v->segment = in->schedule->v[5];
  v->reverse = v->s->n_attrs > 0 && v->s->attr[0];
  if (v->ahead < 1 || v->ahead > MAX_AHEAD || v->held % v->ahead || v->segment % v->held)
    DHC_BUG("schedule of a scan: %d, %d", v->held, v->ahead);
  dhc_tpl_init(&v->cx, in, b);
  v->cx.nearly = in->schedule->v[4] != 0;
  dhc_tpl_needed_by_outputs(v->s, v->needed);
  const char *why = find_axes(v);
  if (!why) why = find_folds(v);
  if (why) dhc_lp_refuse(b, "%s", why);
  if (b->refused) return;
  find_loads(v);
  find_segments(v);
  uint32_t rows = dhc_spec_axes(v->s, DHC_AXIS_PAR) & ~(1u << v->axis);
  int64_t each = (int64_t)v->held * v->quads * 16;
  dhc_lp_block(b, v->threads, each * v->n_staged);
  b->together = 512 / v->threads;
  dhc_dimprog blocks = dhc_prog_op(a, DHC_DIM_CEILDIV, dhc_tpl_extent_prog(&v->cx, v->axis), dhc_prog_const(a, v->threads));
  DhcLv n_blocks = dhc_lp_prog(b, blocks);
  for (int k = 0; k < v->n_staged; k++) v->mem[k] = dhc_lp_block_memory(b, DHC_F32, k * each);
  if (v->segment) {
    in_segments(v, rows, blocks, n_blocks);
  } else {
    DhcLv task = dhc_lp_tasks(b, dhc_prog_op(a, DHC_DIM_MUL, dhc_tpl_count_prog(&v->cx, rows), blocks));
    v->tid = dhc_lp_thread(b);
    with_task(v, rows, n_blocks, task, whole);
  }
  dhc_lp_end(b);
}
