#include "passes/clean/depthwise.h"

enum { MAX_TAPS = 9 }; /* written out */

bool dhc_depthwise_is(const DhcNode *n) {
  if (n->op != DHC_OP_CONV && n->op != DHC_OP_CONV_DX) return false;
  const DhcType *t = &n->results[0]->type;
  return n->args[0]->type.dim[1] == t->dim[1] && dhc_dim_is(t->dim[1], dhc_attr(n, "groups")->i) &&
         (t->dtype == DHC_F32 || t->dtype == DHC_F64);
}

/* Taps in all, and per spatial axis; 0: too many. */
static int64_t count_taps(const DhcNode *n, int64_t *size) {
  int64_t taps = 1;
  for (int i = 0; i < n->results[0]->type.rank - 2; i++) {
    if (!dhc_dim_is_const(n->args[1]->type.dim[2 + i], &size[i]) || size[i] > MAX_TAPS) return 0;
    taps *= size[i];
  }
  return taps <= MAX_TAPS ? taps : 0;
}

bool dhc_depthwise_few(const DhcNode *n) {
  int64_t size[DHC_MAX_RANK];
  if (!dhc_depthwise_is(n) || !count_taps(n, size)) return false;
  const DhcAttr *stride = dhc_attr(n, "stride");
  for (int i = 0; i < stride->ints.n; i++)
    if (n->op == DHC_OP_CONV_DX && stride->ints.at[i] != 1) return false;
  return true;
}

/* ---- one tap -------------------------------------------------------------------- */

/* Axis of the chain that holds axis i of n's result: chains are in the layout of what is
 * behind a transposition. */
typedef struct Chain {
  DhcBuilder *b;
  DhcDims *dims;
  const DhcNode *n;
  DhcValue *x;                    /* the operand, in its own layout */
  int64_t place[DHC_MAX_RANK];
  const DhcDim *dim[DHC_MAX_RANK]; /* of the chain */
} Chain;

static Chain start(DhcBuilder *b, const DhcNode *n, bool through) {
  Chain c = {.b = b, .dims = b->f->module->dims, .n = n, .x = n->args[0]};
  const DhcType *t = &n->results[0]->type;
  const DhcAttr *perm = through && c.x->def->op == DHC_OP_TRANSPOSE ? dhc_attr(c.x->def, "perm") : NULL;
  if (perm) c.x = c.x->def->args[0];
  for (int i = 0; i < t->rank; i++) {
    c.place[i] = perm ? perm->ints.at[i] : i;
    c.dim[c.place[i]] = t->dim[i];
  }
  return c;
}

static DhcValue *weight(const Chain *c, const int64_t *tap) {
  int rank = c->n->results[0]->type.rank;
  const DhcDim *one = dhc_dim_const(c->dims, 1), *dim[DHC_MAX_RANK];
  DhcValue *w = c->n->args[1];
  for (int i = 0; i < rank - 2; i++) w = dhc_b_slice(c->b, w, 2 + i, dhc_dim_const(c->dims, tap[i]), one);
  for (int i = 0; i < rank; i++) dim[i] = one;
  dim[c->place[1]] = c->n->results[0]->type.dim[1];
  return dhc_b_broadcast(c->b, dhc_b_reshape(c->b, w, dim, rank), c->dim, rank);
}

static DhcValue *step(const Chain *c, const int64_t *tap, DhcValue *x, DhcValue *sum) {
  DhcValue *args[3] = {x, weight(c, tap), sum};
  return dhc_build1(c->b, DHC_OP_FMA, args, 3, NULL, 0);
}

DhcValue *dhc_depthwise_step(DhcBuilder *b, const DhcNode *n, const int64_t *tap, DhcValue *x, DhcValue *sum) {
  Chain c = start(b, n, false);
  return step(&c, tap, x, sum);
}

/* ---- all taps ----------------------------------------------------------------------- */

static int64_t attr_at(const DhcNode *n, const char *name, int i) {
  return dhc_attr(n, name)->ints.at[i];
}

/* Zeros that stand before and behind the operand on spatial axis i, so that every tap meets
 * something. conv_dx: tap k of place q meets q + pad_low - k * dilation. */
static void zeros_around(const DhcNode *n, int i, int64_t taps, int64_t *low, int64_t *high) {
  *low = attr_at(n, "pad_low", i);
  *high = attr_at(n, "pad_high", i);
  if (n->op == DHC_OP_CONV) return;
  int64_t reach = (taps - 1) * attr_at(n, "dilation", i);
  *low = reach > *low ? reach - *low : 0;
  *high = reach > *high ? reach - *high : 0;
}

static DhcValue *padded(const Chain *c, const int64_t *size) {
  int rank = c->n->results[0]->type.rank;
  const DhcDim *low[DHC_MAX_RANK], *high[DHC_MAX_RANK];
  int64_t one[DHC_MAX_RANK];
  for (int i = 0; i < rank; i++) {
    int64_t lo = 0, hi = 0;
    if (i >= 2) zeros_around(c->n, i - 2, size[i - 2], &lo, &hi);
    low[c->place[i]] = dhc_dim_const(c->dims, lo);
    high[c->place[i]] = dhc_dim_const(c->dims, hi);
    one[i] = 1;
  }
  DhcModule *m = c->b->f->module;
  DhcAttr attrs[3] = {dhc_attr_dims(m, low, rank), dhc_attr_dims(m, high, rank), dhc_attr_ints(m, one, rank)};
  DhcValue *x = c->x;
  return dhc_build1(c->b, DHC_OP_PAD, &x, 1, attrs, 3);
}

/* First element that a tap meets on spatial axis i. */
static int64_t begin(const DhcNode *n, int i, int64_t taps, int64_t tap) {
  int64_t low, high, by = tap * attr_at(n, "dilation", i);
  zeros_around(n, i, taps, &low, &high);
  return n->op == DHC_OP_CONV ? by : attr_at(n, "pad_low", i) + low - by;
}

/* What a tap meets at every place of the result. */
static DhcValue *seen_by(const Chain *c, DhcValue *x, const int64_t *size, const int64_t *tap) {
  int rank = c->n->results[0]->type.rank;
  const DhcDim *from[DHC_MAX_RANK];
  int64_t by[DHC_MAX_RANK];
  for (int i = 0; i < rank; i++) {
    from[c->place[i]] = dhc_dim_const(c->dims, i < 2 ? 0 : begin(c->n, i - 2, size[i - 2], tap[i - 2]));
    by[c->place[i]] = i < 2 ? 1 : attr_at(c->n, "stride", i - 2);
  }
  DhcModule *m = c->b->f->module;
  DhcAttr attrs[3] = {dhc_attr_dims(m, from, rank), dhc_attr_dims(m, c->dim, rank), dhc_attr_ints(m, by, rank)};
  return dhc_build1(c->b, DHC_OP_SLICE, &x, 1, attrs, 3);
}

DhcValue *dhc_depthwise_chain(DhcBuilder *b, const DhcNode *n) {
  Chain c = start(b, n, true);
  int rank = n->results[0]->type.rank;
  int64_t size[DHC_MAX_RANK], tap[DHC_MAX_RANK] = {0}, taps = count_taps(n, size);
  DhcType t = n->results[0]->type;
  for (int i = 0; i < rank; i++) t.dim[i] = c.dim[i];
  DhcValue *x = padded(&c, size), *sum = dhc_b_fill(b, &t, 0);
  for (int64_t k = 0; k < taps && x && sum; k++) {
    int64_t rest = k;
    for (int i = rank - 2; i-- > 0; rest /= size[i]) tap[i] = rest % size[i];
    DhcValue *at = seen_by(&c, x, size, tap);
    sum = at ? step(&c, tap, at, sum) : NULL;
  }
  if (!x || !sum || c.x == n->args[0]) return x ? sum : NULL;
  return dhc_b_transpose(b, sum, c.place);
}
