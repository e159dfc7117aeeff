/* Template "depthwise" (GPUs): filter gradients of depthwise convolutions (dhc_spec_depthwise), whose operands lie side by
 * side along the channels: a thread a channel, so that neighbours read neighbours, and all taps of it.
 *
 * In a first phase each row of threads of a block sums one piece of products, which go to the shared memory; the second
 * adds them up and stores. Exact: a piece is a block of the product rule (ir/sum.h), and they are added by that rule, the
 * CPU's bits. Else pieces are shorter, so that more threads wait for memory side by side, and are added in order.
 *
 * Schedule: v[0] channels of a block of threads, v[1] pieces that it sums side by side, v[2] products of a piece; 0: exact. */
#include "backends/loop/tpl_tile.h"

enum { AT_ONCE = 8 /* steps, and sums of pieces, whose loads are on their way together */ };

typedef struct Depthwise {
  DhcTplCx cx;
  DhcLp *b;
  DhcSpecDepthwise w;
  int threads, taps;
  int64_t piece;
  DhcLv n_blocks, n_channels, tid, value; /* value: what is stored now */
} Depthwise;

static dhc_dimprog op(const Depthwise *d, int o, dhc_dimprog x, dhc_dimprog y) { return dhc_prog_op(d->b->arena, o, x, y); }
static dhc_dimprog number(const Depthwise *d, int64_t n) { return dhc_prog_const(d->b->arena, n); }

/* Binds the taps' axes to the digits of `tap`. */
static void bind_tap(Depthwise *d, DhcLv tap) { dhc_tpl_bind_flat(&d->cx, d->w.taps, tap); }

static DhcLv place(Depthwise *d, DhcLv block, DhcLv tap, DhcLv channel) {
  DhcLp *b = d->b;
  return dhc_lp_add(b, dhc_lp_mul(b, dhc_lp_add(b, dhc_lp_mulc(b, block, d->taps), tap), d->n_channels), channel);
}

static void sum_block(Depthwise *d, DhcLv task, DhcLv per_group) {
  DhcLp *b = d->b;
  DhcTplCx *cx = &d->cx;
  const DhcSpecNode *f = &cx->s->node[d->w.fold];
  const int *v = cx->in->schedule->v;
  DhcLv side = dhc_lp_i64(b, v[0]), group = dhc_lp_udiv(b, task, per_group);
  DhcLv channel = dhc_lp_add(b, dhc_lp_mulc(b, group, v[0]), dhc_lp_urem(b, d->tid, side));
  DhcLv block = dhc_lp_add(b, dhc_lp_mulc(b, dhc_lp_urem(b, task, per_group), v[1]), dhc_lp_udiv(b, d->tid, side));
  DhcLpVar acc[DHC_DEPTHWISE_TAPS];
  dhc_lp_if(b, dhc_lp_and(b, dhc_lp_lt(b, channel, d->n_channels), dhc_lp_lt(b, block, d->n_blocks)));
  DhcTplMark mark = dhc_tpl_push(cx);
  dhc_tpl_bind(cx, d->w.channel, channel);
  for (int t = 0; t < d->taps; t++) acc[t] = dhc_lp_var(b, dhc_lp_float(b, DHC_F32, 0));
  DhcLv first = dhc_lp_mulc(b, block, d->piece), end = dhc_lp_min(b, dhc_lp_addc(b, first, d->piece), dhc_tpl_count(cx, f->axes));
  DhcTplRows rows = dhc_tpl_rows(cx, f->axes, first);
  dhc_lp_for_rounds(b, first, end, 1, AT_ONCE);
  DhcTplMark in = dhc_tpl_push(cx);
  dhc_tpl_rows_bind(cx, &rows);
  DhcLv y = dhc_tpl_eval(cx, f->a[1 - d->w.image_side]);
  for (int t = 0; t < d->taps; t++) {
    DhcTplMark one = dhc_tpl_push(cx);
    bind_tap(d, dhc_lp_i64(b, t));
    dhc_lp_set(b, acc[t], dhc_lp_fma(b, dhc_tpl_eval(cx, f->a[d->w.image_side]), y, dhc_lp_get(b, acc[t])));
    dhc_tpl_pop(cx, &one);
  }
  dhc_tpl_rows_next(cx, &rows);
  dhc_tpl_pop(cx, &in);
  dhc_lp_end(b);
  for (int t = 0; t < d->taps; t++)
    dhc_lp_store(b, dhc_lp_shared(b, DHC_F32), place(d, block, dhc_lp_i64(b, t), channel), dhc_lp_get(b, acc[t]), 0);
  dhc_tpl_pop(cx, &mark);
  dhc_lp_end(b);
}

static DhcLv provide(DhcTplCx *cx, int n, void *arg) {
  const Depthwise *d = arg;
  (void)cx;
  return n == d->w.fold ? d->value : NULL;
}

/* What the pieces of one tap and channel add up to. */
static DhcLv joined(Depthwise *d, DhcLv tap, DhcLv channel) {
  DhcLp *b = d->b;
  DhcLv zero = dhc_lp_i64(b, 0), none = dhc_lp_float(b, DHC_F32, 0), shared = dhc_lp_shared(b, DHC_F32);
  DhcLpVar sum = dhc_lp_var(b, none), level[DHC_DOT_LEVELS];
  if (d->piece == DHC_DOT_BLOCK) {
    for (int l = 0; l < DHC_DOT_LEVELS; l++) level[l] = dhc_lp_var(b, none);
    DhcLv block = dhc_lp_for(b, zero, d->n_blocks, 1);
    return dhc_tile_blocks_sum(b, level, block, d->n_blocks, dhc_lp_load(b, shared, place(d, block, tap, channel), 1, 0));
  }
  DhcLv block = dhc_lp_for_rounds(b, zero, d->n_blocks, 1, AT_ONCE);
  dhc_lp_set(b, sum, dhc_lp_add(b, dhc_lp_get(b, sum), dhc_lp_load(b, shared, place(d, block, tap, channel), 1, 0)));
  dhc_lp_end(b);
  return dhc_lp_get(b, sum);
}

/* Result number r: channel after channel of one tap. */
static void store(Depthwise *d, DhcLv r) {
  DhcLp *b = d->b;
  DhcLv channel = dhc_lp_urem(b, r, d->n_channels), tap = dhc_lp_udiv(b, r, d->n_channels);
  dhc_lp_if(b, dhc_lp_lt(b, tap, dhc_lp_i64(b, d->taps)));
  d->value = joined(d, tap, channel);
  DhcTplMark mark = dhc_tpl_push(&d->cx);
  dhc_tpl_bind(&d->cx, d->w.channel, channel);
  bind_tap(d, tap);
  dhc_tpl_store_all(&d->cx);
  dhc_tpl_pop(&d->cx, &mark);
  dhc_lp_end(b);
}

void dhc_tpl_depthwise(const DhcTplInput *in, DhcLp *b) {
  Depthwise *d = DHC_NEW(b->arena, Depthwise);
  d->b = b;
  if (!dhc_spec_depthwise(in->spec, &d->w)) {
    dhc_lp_refuse(b, "filter gradients of another form");
    return;
  }
  const int *v = in->schedule->v;
  d->threads = v[0] * v[1];
  d->piece = v[2] ? v[2] : DHC_DOT_BLOCK;
  dhc_lp_block(b, d->threads, 0);
  dhc_tpl_init(&d->cx, in, b);
  if (b->refused) return;
  d->cx.provide = provide;
  d->cx.provide_arg = d;
  d->taps = (int)d->w.n_taps;
  uint32_t k = in->spec->node[d->w.fold].axes;
  dhc_dimprog channels = dhc_tpl_extent_prog(&d->cx, d->w.channel), one = number(d, 1);
  dhc_dimprog blocks = op(d, DHC_DIM_MAX, op(d, DHC_DIM_CEILDIV, dhc_tpl_count_prog(&d->cx, k), number(d, d->piece)), one);
  dhc_dimprog per_group = op(d, DHC_DIM_CEILDIV, blocks, number(d, v[1])), groups = op(d, DHC_DIM_CEILDIV, channels, number(d, v[0]));
  dhc_dimprog results = op(d, DHC_DIM_MUL, channels, number(d, d->taps)), first = op(d, DHC_DIM_MUL, groups, per_group);
  dhc_lp_share(b, op(d, DHC_DIM_MUL, op(d, DHC_DIM_MUL, blocks, results), number(d, 4)));
  d->n_blocks = dhc_lp_prog(b, blocks);
  d->n_channels = d->cx.extent[d->w.channel];
  DhcLv n_first = dhc_lp_prog(b, first), each = dhc_lp_prog(b, per_group);
  DhcLv task = dhc_lp_phases(b, first, op(d, DHC_DIM_CEILDIV, results, number(d, d->threads)));
  d->tid = dhc_lp_thread(b);
  dhc_lp_if(b, dhc_lp_lt(b, task, n_first));
  sum_block(d, task, each);
  dhc_lp_else(b);
  store(d, dhc_lp_add(b, dhc_lp_mulc(b, dhc_lp_sub(b, task, n_first), d->threads), d->tid));
  dhc_lp_end(b);
  dhc_lp_end(b);
}
