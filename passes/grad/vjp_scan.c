/* Derivatives of recurrences.
 *
 * scan: the forward scan also stacks the carries that enter each step. The backward scan
 * runs the other way; its body computes anew from that carry what the ys do not hold (f.fwd)
 * and takes the step back (f.bwd), both inlined. It carries the cotangents of the carries and the sums of the
 * cotangents of the constants as far as these cannot follow the loop (vjp_scan_sums.c). The
 * flush of tiny states counts as the identity. */
#include "passes/grad/ad_internal.h"

/* ---- linear_scan ------------------------------------------------------------- */

static const DhcDim *dim_const(DhcAd *ad, int64_t v) {
  return dhc_dim_const(ad->m->dims, v);
}

/* x between `low` and `high` zeros along axis. */
static DhcValue *between_zeros(DhcAd *ad, DhcValue *x, int axis, const DhcDim *low, const DhcDim *high) {
  const DhcDim *l[DHC_MAX_RANK], *h[DHC_MAX_RANK];
  int64_t step[DHC_MAX_RANK];
  int rank = x->type.rank;
  for (int i = 0; i < rank; i++) {
    l[i] = i == axis ? low : dim_const(ad, 0);
    h[i] = i == axis ? high : dim_const(ad, 0);
    step[i] = 1;
  }
  DhcAttr attrs[3] = {dhc_attr_dims(ad->m, l, rank), dhc_attr_dims(ad->m, h, rank), dhc_attr_ints(ad->m, step, rank)};
  return dhc_build1(&ad->b, DHC_OP_PAD, &x, 1, attrs, 3);
}

/* x moved by one place along axis: from the right (left = true: r[t] = x[t+1], 0 at the
 * end) or from the left (r[t] = x[t-1]); where nothing comes in stands `first`, which lacks the
 * axis (NULL: zeros). Written with pads and a slice, which kernels see through, and so that an
 * extent of 1 needs no empty tensor. */
static DhcValue *shift(DhcAd *ad, DhcValue *x, int axis, bool left, DhcValue *first) {
  const DhcType *t = &x->type;
  const DhcDim *size = t->dim[axis], *zero = dim_const(ad, 0), *one = dim_const(ad, 1), *dim[DHC_MAX_RANK];
  DhcValue *r = between_zeros(ad, x, axis, left ? zero : one, left ? one : zero);
  if (r) r = dhc_b_slice(&ad->b, r, axis, left ? one : zero, size);
  if (!r || !first || dhc_ad_is_zeros(first)) return r;
  const DhcDim *rest = dhc_dim_sub(ad->m->dims, size, one);
  for (int i = 0; i < t->rank; i++) dim[i] = i == axis ? one : t->dim[i];
  first = dhc_b_reshape(&ad->b, first, dim, t->rank);
  if (first) first = between_zeros(ad, first, axis, left ? rest : zero, left ? zero : rest);
  return first ? dhc_b_binary(&ad->b, DHC_OP_ADD, r, first) : NULL;
}

/* cot without what was added to it at the last step alone (of a use of the last state), which
 * becomes *last, shaped as `t`; where there is no such part, *last is NULL. */
static DhcValue *without_last(DhcAd *ad, DhcValue *cot, int axis, bool reverse, const DhcType *t, DhcValue **last) {
  const DhcDim *zero = dim_const(ad, 0), *one = dim_const(ad, 1);
  const DhcDim *rest = dhc_dim_sub(ad->m->dims, cot->type.dim[axis], one);
  *last = NULL;
  for (int k = 0; k < 2 && cot->def->op == DHC_OP_ADD; k++) {
    DhcNode *p = cot->def->args[k]->def;
    if (p->op != DHC_OP_PAD || p->args[0]->type.dim[axis] != one) continue;
    bool only = true;
    for (int i = 0; i < cot->type.rank; i++) {
      const DhcDim *low = dhc_attr(p, "low")->dims.at[i], *high = dhc_attr(p, "high")->dims.at[i];
      only = only && dhc_attr(p, "step")->ints.at[i] == 1;
      only = only && (i == axis ? low == (reverse ? zero : rest) && high == (reverse ? rest : zero) : low == zero && high == zero);
    }
    if (!only || !(*last = dhc_b_reshape(&ad->b, p->args[0], t->dim, t->rank))) continue;
    return cot->def->args[1 - k];
  }
  return cot;
}

/* h[t] = a[t] h[t-1] + b[t], h[-1] = h0. With g[t] the whole cotangent of h[t],
 * g[t] = h̄[t] + a[t+1] g[t+1]: a linear_scan the other way over a moved by one. Then
 * b̄ = g, ā[t] = g[t] h[t-1], h̄0 = a[0] g[0]. `reverse` mirrors all of it. A cotangent of the last
 * state alone is where g begins, with a = 1. Where a forgets, so does g, which meets the same zeros; ā there
 * belongs to nobody but who made the zero, and is 0 from a select. */
bool vjp_linear_scan(DhcAd *ad, DhcNode *n) {
  DhcValue *a = n->args[0], *h0 = n->args[2], *h = n->results[0];
  int axis = (int)dhc_attr(n, "axis")->i;
  bool reverse = dhc_attr(n, "reverse")->b;
  const DhcDim *size = a->type.dim[axis], *zero = dim_const(ad, 0), *one = dim_const(ad, 1);
  DhcValue *last, *ones = NULL, *cot = without_last(ad, dhc_ad_cot(ad, n, 0), axis, reverse, &h0->type, &last);
  if (last) ones = dhc_b_fill(&ad->b, &h0->type, 1);
  DhcValue *args[3] = {shift(ad, a, axis, !reverse, ones), cot, last ? last : dhc_ad_zeros(ad, h0)};
  DhcAttr attrs[4] = {dhc_attr_int(axis), dhc_attr_bool(!reverse), *dhc_attr(n, "flush"), *dhc_attr(n, "forget")};
  if (!args[0]) return false;
  DhcValue *g = dhc_build1(&ad->b, DHC_OP_LINEAR_SCAN, args, 3, attrs, 4);
  if (!g || !dhc_ad_add(ad, n, 1, g)) return false;
  if (dhc_ad_wants(ad, n, 0)) {
    DhcValue *before = shift(ad, h, axis, reverse, h0);
    if (!before || !dhc_ad_add(ad, n, 0, dhc_b_binary(&ad->b, DHC_OP_MUL, g, before)))
      return false;
  }
  if (!dhc_ad_wants(ad, n, 2)) return true;
  const DhcDim *at = reverse ? dhc_dim_sub(ad->m->dims, size, one) : zero;
  DhcValue *a0 = dhc_b_slice(&ad->b, a, axis, at, one), *g0 = dhc_b_slice(&ad->b, g, axis, at, one);
  DhcValue *ga = a0 && g0 ? dhc_b_binary(&ad->b, DHC_OP_MUL, a0, g0) : NULL;
  if (ga && dhc_attr(n, "forget")->b) {
    DhcValue *none = dhc_b_fill(&ad->b, &ga->type, 0);
    ga = dhc_b_select(&ad->b, dhc_b_binary(&ad->b, DHC_OP_EQ, a0, none), none, ga);
  }
  return ga && dhc_ad_add(ad, n, 2, dhc_b_reshape(&ad->b, ga, h0->type.dim, h0->type.rank));
}

/* ---- scan ---------------------------------------------------------------------- */

typedef struct Scan {
  DhcFunc *body;
  int n_carry, n_xs, n_const, n_ys, axis;
  bool reverse;
} Scan;

static Scan scan_of(const DhcNode *n) {
  Scan s = {.body = dhc_attr(n, "body")->func,
            .n_carry = (int)dhc_attr(n, "n_carry")->i,
            .n_xs = (int)dhc_attr(n, "n_xs")->i,
            .axis = (int)dhc_attr(n, "axis")->i,
            .reverse = dhc_attr(n, "reverse")->b};
  s.n_const = s.body->params.n - s.n_carry - s.n_xs;
  s.n_ys = s.body->results.n - s.n_carry;
  return s;
}

/* Builds a scan over `body` with n's length, dims and axis. */
static DhcNode *build_scan(DhcAd *ad, const DhcNode *n, DhcFunc *body, DhcValue *const *args,
                           int n_args, int n_carry, int n_xs, bool reverse) {
  DhcAttr attrs[7] = {dhc_attr_func(body),    *dhc_attr(n, "dims"),
                      dhc_attr_int(n_carry),  dhc_attr_int(n_xs),
                      *dhc_attr(n, "axis"),   *dhc_attr(n, "length"),
                      dhc_attr_bool(reverse)};
  return dhc_build(&ad->b, DHC_OP_SCAN, args, n_args, attrs, 7);
}

/* A carry of lower rank than the stacking axis gets leading ones. */
static int stacked_rank(const DhcType *t, int axis, DhcDims *cx, const DhcDim **dim) {
  int lead = t->rank < axis ? axis - t->rank : 0;
  for (int i = 0; i < lead; i++) dim[i] = dhc_dim_const(cx, 1);
  for (int i = 0; i < t->rank; i++) dim[lead + i] = t->dim[i];
  return lead + t->rank;
}

/* The body with its carries as further ys. */
static DhcFunc *saving_body(DhcAd *ad, const Scan *s) {
  DhcFunc *f = dhc_func_clone(s->body, dhc_arena_printf(ad->arena, "%s.save", s->body->name));
  DhcBuilder b = {.f = f, .span = f->span};
  for (int i = 0; i < s->n_carry; i++) {
    const DhcDim *dim[DHC_MAX_RANK];
    DhcValue *c = f->params.at[i];
    int rank = stacked_rank(&c->type, s->axis, ad->m->dims, dim);
    if (rank != c->type.rank) c = dhc_b_reshape(&b, c, dim, rank);
    if (!c) return NULL;
    dhc_ad_result(f, c, dhc_arena_printf(ad->arena, "carry.%d", i));
  }
  return f;
}

DhcNode *dhc_ad_forward_scan(DhcAd *ad, const DhcNode *n, DhcValue *const *args) {
  Scan s = scan_of(n);
  DhcFunc *body = saving_body(ad, &s);
  if (!body) return NULL;
  DhcNode *c = build_scan(ad, n, body, args, n->n_args, s.n_carry, s.n_xs, s.reverse);
  if (c) ad->aux[c->id] = s.body;
  return c;
}

/* The backward scan in construction: parameters of its body and operands of the scan, both
 * in the order carries, xs, constants. */
typedef struct Back {
  DhcAd *ad;
  const DhcNode *n;   /* the saving scan in the joint function */
  Scan s;             /* of the body that was differentiated */
  DhcFunc *f;         /* the new body */
  DhcBuilder b;       /* in f */
  DhcValue **args;
  int n_args, n_carry, n_xs;
  DhcValue **primal;  /* by parameter of the body: its value in f */
  DhcValue **cot;     /* by result of the body: its cotangent in f, NULL for integers */
  DhcValue **y;       /* by result of the body: the value itself, where bwd needs a y */
  int *target;        /* by parameter of the body: result index of the scan, or -1 */
  DhcNode *step[2];   /* calls of the body's fwd and bwd, inlined at the end */
  DhcScanSum **outside; /* by parameter of the body: its sum over steps, or NULL */
} Back;

static DhcValue *back_param(Back *k, const DhcType *t, const char *name, DhcValue *arg) {
  DhcParamInfo info = {name, DHC_ROLE_PLAIN, -1};
  k->args[k->n_args++] = arg;
  return dhc_func_param(k->f, t, info, k->f->span);
}

static const char *label(Back *k, const char *what, int i) {
  return dhc_arena_printf(k->ad->arena, "%s.%d", what, i);
}

/* Carries: cotangents of the float carries, then sums for the float constants asked for. */
static void back_carries(Back *k, const DhcGradPair *pair, DhcValue **sums) {
  const Scan *s = &k->s;
  for (int i = 0; i < s->n_carry; i++) {
    DhcValue *r = s->body->results.at[i];
    if (!dhc_ad_is_float(r)) continue;
    k->target[i] = k->n_carry++;
    k->cot[i] = back_param(k, &r->type, label(k, "cotangent", i),
                           dhc_ad_cot_or_zeros(k->ad, k->n, i));
  }
  for (int i = s->n_carry + s->n_xs; i < s->body->params.n; i++) {
    if (!dhc_ad_wants(k->ad, k->n, i) || dhc_ad_gives_none(pair, i)) continue;
    DhcValue *p = s->body->params.at[i];
    k->target[i] = k->n_carry++;
    sums[i] = back_param(k, &p->type, label(k, "sum", i), dhc_ad_zeros(k->ad, p));
  }
}

/* xs: the carries that entered, the xs, the ys that bwd needs, the cotangents of the ys that
 * have one. */
static void back_xs(Back *k, const DhcGradPair *pair, DhcValue **entered) {
  const Scan *s = &k->s;
  for (int i = 0; i < s->n_carry; i++) {
    const DhcDim *dim[DHC_MAX_RANK];
    DhcType t = s->body->params.at[i]->type;
    t.rank = stacked_rank(&t, s->axis, k->ad->m->dims, dim);
    memcpy(t.dim, dim, sizeof *dim * (size_t)t.rank);
    entered[i] = back_param(k, &t, label(k, "carry", i),
                            k->n->results[s->n_carry + s->n_ys + i]);
    k->n_xs++;
  }
  for (int i = s->n_carry; i < s->n_carry + s->n_xs; i++) {
    k->primal[i] = back_param(k, &s->body->params.at[i]->type, label(k, "x", i), k->n->args[i]);
    k->n_xs++;
  }
  for (int j = 0; j < pair->n_saved; j++) {
    int i = pair->saved[j];
    if (i < s->n_carry || i >= s->body->results.n) continue;
    k->y[i] = back_param(k, &s->body->results.at[i]->type, label(k, "y", i), k->n->results[i]);
    k->n_xs++;
  }
  for (int i = s->n_carry; i < s->body->results.n; i++) {
    DhcValue *g = dhc_ad_cot(k->ad, k->n, i);
    if (!g) continue;
    k->cot[i] = back_param(k, &s->body->results.at[i]->type, label(k, "cotangent", i), g);
    k->n_xs++;
  }
}

static void back_consts(Back *k) {
  const Scan *s = &k->s;
  for (int i = s->n_carry + s->n_xs; i < s->body->params.n; i++)
    k->primal[i] = back_param(k, &s->body->params.at[i]->type, label(k, "const", i),
                              k->n->args[i]);
}

/* f.fwd and f.bwd of the step, called and inlined; grad gets the cotangents of the float
 * parameters of the body. */
static bool back_step(Back *k, const DhcGradPair *pair, DhcValue **grad) {
  const DhcFunc *body = k->s.body;
  DhcAttr dims = dhc_ad_own_dims(k->ad->m, body);
  DhcAttr attrs[2] = {dhc_attr_func(pair->fwd), dims};
  DhcNode *fwd = dhc_build(&k->b, DHC_OP_CALL, k->primal, body->params.n, attrs, 2);
  if (!fwd) return false;
  DhcValue **args = DHC_NEW_N(k->ad->arena, DhcValue *,
                              pair->n_input + pair->n_saved + body->results.n + 1);
  int n = 0;
  for (int i = 0; i < pair->n_input; i++) args[n++] = k->primal[pair->input[i]];
  for (int i = 0; i < pair->n_saved; i++) {
    int r = pair->saved[i];
    bool have = r < body->results.n && k->y[r];
    args[n++] = have ? k->y[r] : fwd->results[r];
  }
  for (int i = 0; i < body->results.n; i++) {
    if (!dhc_ad_is_float(body->results.at[i])) continue;
    if (!k->cot[i]) k->cot[i] = dhc_b_fill(&k->b, &body->results.at[i]->type, 0);
    args[n++] = k->cot[i];
  }
  attrs[0] = dhc_attr_func(pair->bwd);
  DhcNode *bwd = dhc_build(&k->b, DHC_OP_CALL, args, n, attrs, 2);
  if (!bwd) return false;
  k->step[0] = fwd;
  k->step[1] = bwd;
  for (int i = 0, r = 0; i < body->params.n; i++)
    grad[i] = dhc_ad_is_float(body->params.at[i]) ? bwd->results[r++] : NULL;
  return true;
}

/* Results of the new body: carries' cotangents, sums, then cotangents of xs. A cotangent that goes
 * back through many steps mostly decays: where it would be denormal it ends. */
static bool back_results(Back *k, const DhcGradPair *pair, DhcValue **grad, DhcValue **sums) {
  const Scan *s = &k->s;
  int x0 = s->n_carry, c0 = s->n_carry + s->n_xs;
  for (int i = 0; i < s->n_carry; i++) {
    if (k->target[i] < 0) continue;
    DhcValue *g = dhc_b_flush(&k->b, grad[i]);
    if (!g) return false;
    dhc_ad_result(k->f, g, label(k, "cotangent", i));
  }
  for (int i = c0; i < s->body->params.n; i++) {
    if (!sums[i]) continue;
    DhcValue *sum = dhc_b_binary(&k->b, DHC_OP_ADD, sums[i], grad[i]);
    if (!sum) return false;
    dhc_ad_result(k->f, sum, label(k, "sum", i));
  }
  int next = k->n_carry;
  for (int i = x0; i < c0; i++) {
    if (!grad[i] || !dhc_ad_wants(k->ad, k->n, i) || dhc_ad_gives_none(pair, i)) continue;
    k->target[i] = next++;
    dhc_ad_result(k->f, grad[i], label(k, "grad", i));
  }
  return true;
}

static DhcFunc *back_body(Back *k, const DhcGradPair *pair) {
  DhcFunc *body = k->s.body;
  DhcArena *a = k->ad->arena;
  int n = body->params.n + body->results.n + 1;
  DhcValue **sums = DHC_NEW_N(a, DhcValue *, n), **entered = DHC_NEW_N(a, DhcValue *, n);
  DhcValue **grad = DHC_NEW_N(a, DhcValue *, n);
  k->f = dhc_func_new(k->ad->m, dhc_arena_printf(a, "%s.back", body->name), DHC_FUNC_BODY,
                      body->span);
  dhc_edit_copy_binders(k->f, body);
  k->b = (DhcBuilder){.f = k->f, .span = body->span};
  back_carries(k, pair, sums);
  back_xs(k, pair, entered);
  back_consts(k);
  for (int i = 0; i < k->s.n_carry; i++) {
    const DhcType *t = &body->params.at[i]->type;
    k->primal[i] = entered[i]->type.rank == t->rank
                       ? entered[i]
                       : dhc_b_reshape(&k->b, entered[i], t->dim, t->rank);
  }
  if (!back_step(k, pair, grad) || !back_results(k, pair, grad, sums)) return NULL;
  dhc_inline_call(k->step[0]);
  dhc_inline_call(k->step[1]);
  return k->f;
}

/* Takes sums over steps out of the loop where that pays. */
static void plan_sums(Back *k) {
  DhcScanShape shape = {k->n_carry, k->n_xs, k->s.axis};
  for (int i = k->s.n_carry + k->s.n_xs; i < k->s.body->params.n; i++) {
    if (k->target[i] < 0) continue;
    const DhcNode *add = k->f->results.at[k->target[i]]->def;
    k->outside[i] = dhc_ad_sum_plan(k->f, add->args[1], &shape);
  }
}

/* (c', y) = scan f (c, x, w): c̄, x̄, w̄ by a scan of f's derivative the other way */
bool vjp_scan(DhcAd *ad, DhcNode *n) {
  DhcArena *a = ad->arena;
  Back k = {.ad = ad, .n = n, .s = scan_of(n)};
  /* n's body also saves its carries; what is differentiated is the body without. */
  DhcFunc *saving = k.s.body;
  k.s.body = ad->aux[n->id];
  k.s.n_ys = k.s.body->results.n - k.s.n_carry;
  const DhcGradPair *pair = dhc_autodiff(ad->px, k.s.body);
  if (!pair) return false;
  int np = k.s.body->params.n, nr = saving->results.n;
  k.args = DHC_NEW_N(a, DhcValue *, 2 * np + 3 * nr + 1);
  k.primal = DHC_NEW_N(a, DhcValue *, np + 1);
  k.cot = DHC_NEW_N(a, DhcValue *, nr + 1);
  k.y = DHC_NEW_N(a, DhcValue *, nr + 1);
  k.target = DHC_NEW_N(a, int, np + 1);
  for (int i = 0; i < np; i++) k.target[i] = -1;
  k.outside = DHC_NEW_N(a, DhcScanSum *, np + 1);
  if (!back_body(&k, pair)) return false;
  plan_sums(&k);
  for (int i = 0; i < k.n_args; i++)
    if (!k.args[i]) return false;
  DhcNode *r = build_scan(ad, n, k.f, k.args, k.n_args, k.n_carry, k.n_xs, !k.s.reverse);
  if (!r) return false;
  for (int i = 0; i < np; i++) {
    if (k.target[i] < 0 || dhc_ad_gives_none(pair, i)) continue;
    DhcValue *g = k.outside[i] ? dhc_ad_sum_build(&ad->b, k.outside[i], r, &n->args[i]->type,
                                                  k.s.axis)
                               : r->results[k.target[i]];
    if (!dhc_ad_add(ad, n, i, g)) return false;
  }
  return true;
}
