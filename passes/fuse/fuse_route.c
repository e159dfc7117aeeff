/* Routing in terms of other ops (pass "lower"): top_k by rank, or of many places choice by choice; route by a stable counting
 * sort. All give the same integers as their definitions. Where the target has a kernel for it, a top_k of few places and the route of what it chose are left as
 * they are, and become that kernel when others do (pass "fuse"). */
#include <math.h>

#include "passes/fuse/fuse_internal.h"

typedef struct Lower {
  DhcBuilder b;
  DhcDims *dims;
} Lower;

static DhcValue *bin(Lower *l, DhcOp op, DhcValue *x, DhcValue *y) {
  return dhc_b_binary(&l->b, op, x, y);
}

static const DhcDim *constant(Lower *l, int64_t v) {
  return dhc_dim_const(l->dims, v);
}

static DhcValue *iota(Lower *l, dhc_dtype t, int axis, const DhcDim *const *dim, int rank) {
  DhcAttr a[] = {dhc_attr_int(axis), dhc_attr_dtype(t), dhc_attr_dims(l->b.f->module, dim, rank)};
  return dhc_build1(&l->b, DHC_OP_IOTA, NULL, 0, a, 3);
}

/* x with an axis of extent 1 before axis `at`. */
static DhcValue *unsqueeze(Lower *l, DhcValue *x, int at) {
  const DhcDim *dim[DHC_MAX_RANK];
  if (!x) return NULL;
  for (int d = 0; d < x->type.rank + 1; d++)
    dim[d] = d == at ? constant(l, 1) : x->type.dim[d < at ? d : d - 1];
  return dhc_b_reshape(&l->b, x, dim, x->type.rank + 1);
}

static DhcValue *sum_last(Lower *l, DhcValue *x) {
  int64_t axis = x ? x->type.rank - 1 : 0;
  return dhc_b_reduce(&l->b, DHC_OP_REDUCE_SUM, x, &axis, 1, false);
}

static DhcValue *is_nan(Lower *l, DhcValue *x) {
  return bin(l, DHC_OP_NE, x, x);
}

/* x over y: larger, or NaN where y is none. */
static DhcValue *over(Lower *l, DhcValue *x, DhcValue *y) {
  DhcValue *larger = bin(l, DHC_OP_GT, x, y);
  if (!dhc_dtype_is_float(x->type.dtype)) return larger;
  return bin(l, DHC_OP_OR, larger, bin(l, DHC_OP_AND, is_nan(l, x), bin(l, DHC_OP_EQ, y, y)));
}

static DhcValue *alike(Lower *l, DhcValue *x, DhcValue *y) {
  DhcValue *same = bin(l, DHC_OP_EQ, x, y);
  if (!dhc_dtype_is_float(x->type.dtype)) return same;
  return bin(l, DHC_OP_OR, same, bin(l, DHC_OP_AND, is_nan(l, x), is_nan(l, y)));
}

/* rank[i] = how many j come before i: x[j] larger, or equal and j < i. Choice c is the i of
 * rank c. E^2 comparisons a row, which for the few experts of a mixture are little. */
static bool lower_top_k(Lower *l, DhcNode *n) {
  DhcValue *x = n->args[0];
  int r = x->type.rank;
  const DhcDim *pair[DHC_MAX_RANK], *pick[DHC_MAX_RANK];
  if (r + 1 > DHC_MAX_RANK) return false;
  for (int d = 0; d < r - 1; d++) pair[d] = pick[d] = x->type.dim[d];
  pair[r - 1] = pair[r] = pick[r] = x->type.dim[r - 1];
  pick[r - 1] = n->results[0]->type.dim[r - 1];
  DhcValue *i = dhc_b_broadcast(&l->b, unsqueeze(l, x, r), pair, r + 1);
  DhcValue *j = dhc_b_broadcast(&l->b, unsqueeze(l, x, r - 1), pair, r + 1);
  if (!i || !j) return false;
  DhcValue *earlier = bin(l, DHC_OP_LT, iota(l, DHC_I32, r, pair, r + 1), iota(l, DHC_I32, r - 1, pair, r + 1));
  DhcValue *before = bin(l, DHC_OP_OR, over(l, j, i), bin(l, DHC_OP_AND, alike(l, j, i), earlier));
  DhcValue *rank = sum_last(l, dhc_b_cast(&l->b, before, DHC_I32));
  DhcValue *chosen = bin(l, DHC_OP_EQ, dhc_b_broadcast(&l->b, unsqueeze(l, rank, r - 1), pick, r + 1),
                         iota(l, DHC_I32, r - 1, pick, r + 1));
  DhcValue *index = sum_last(l, dhc_b_select(&l->b, chosen, iota(l, DHC_I32, r, pick, r + 1),
                                             dhc_b_scalar(&l->b, DHC_I32, 0)));
  if (!index) return false;
  DhcAttr axis = dhc_attr_int(r - 1);
  DhcValue *args[] = {x, index};
  DhcValue *value = dhc_build1(&l->b, DHC_OP_TAKE_ALONG, args, 2, &axis, 1);
  if (!value) return false;
  dhc_replace_uses(n->results[0], value);
  dhc_replace_uses(n->results[1], index);
  return true;
}

enum { FEW_PLACES = 32, MOST_CHOICES = 64 };

/* Ranks cost the square of the places, choices a walk over them each. */
static bool by_choices(const DhcNode *n) {
  const DhcType *t = &n->args[0]->type;
  int64_t places, k = dhc_attr(n, "k")->i;
  if (k > MOST_CHOICES || t->rank + 1 > DHC_MAX_RANK) return false;
  return !dhc_dim_is_const(t->dim[t->rank - 1], &places) || (places > FEW_PLACES && 4 * k < places);
}

static DhcValue *argmax_last(Lower *l, DhcValue *x) {
  DhcAttr axis = dhc_attr_int(x ? x->type.rank - 1 : 0);
  return x ? dhc_b_cast(&l->b, dhc_build1(&l->b, DHC_OP_ARGMAX, &x, 1, &axis, 1), DHC_I32) : NULL;
}

/* The index that comes next behind (value, index), which are as wide as x: the largest of those that are not before; where
 * these are all the lowest there is, the first of them. */
static DhcValue *next_choice(Lower *l, DhcValue *x, DhcValue *at, DhcValue *value, DhcValue *index) {
  DhcValue *low = dhc_b_scalar(&l->b, x->type.dtype, -(double)INFINITY);
  int64_t axis = x->type.rank - 1;
  DhcValue *left = bin(l, DHC_OP_OR, over(l, value, x), bin(l, DHC_OP_AND, alike(l, value, x), bin(l, DHC_OP_LT, index, at)));
  DhcValue *rest = dhc_b_select(&l->b, left, x, low);
  DhcValue *none = bin(l, DHC_OP_EQ, dhc_b_reduce(&l->b, DHC_OP_REDUCE_MAX, rest, &axis, 1, false), low);
  DhcValue *first = dhc_b_select(&l->b, left, at, dhc_b_scalar(&l->b, DHC_I32, INT32_MAX));
  first = dhc_b_reduce(&l->b, DHC_OP_REDUCE_MIN, first, &axis, 1, false);
  return dhc_b_select(&l->b, none, first, argmax_last(l, rest));
}

/* Choice after choice. */
static bool lower_choices(Lower *l, DhcNode *n) {
  DhcValue *x = n->args[0], *chosen[MOST_CHOICES];
  int r = x->type.rank, k = (int)dhc_attr(n, "k")->i;
  DhcValue *at = iota(l, DHC_I32, r - 1, x->type.dim, r), *index = argmax_last(l, x);
  DhcAttr axis = dhc_attr_int(r - 1);
  for (int c = 0; c < k; c++) {
    if (!at || !index) return false;
    chosen[c] = unsqueeze(l, index, r - 1);
    if (c + 1 == k) break;
    DhcValue *args[] = {x, chosen[c]}, *value = chosen[c] ? dhc_build1(&l->b, DHC_OP_TAKE_ALONG, args, 2, &axis, 1) : NULL;
    if (!value) return false;
    index = next_choice(l, x, at, dhc_b_broadcast(&l->b, value, x->type.dim, r), dhc_b_broadcast(&l->b, chosen[c], x->type.dim, r));
  }
  DhcValue *all = k > 1 ? dhc_b_concat(&l->b, chosen, k, r - 1) : chosen[0], *args[] = {x, all};
  DhcValue *value = all ? dhc_build1(&l->b, DHC_OP_TAKE_ALONG, args, 2, &axis, 1) : NULL;
  if (!value) return false;
  dhc_replace_uses(n->results[0], value);
  dhc_replace_uses(n->results[1], all);
  return true;
}

static DhcValue *linear_scan(Lower *l, DhcValue *x) {
  DhcType h0 = {.dtype = x->type.dtype, .rank = 1};
  h0.dim[0] = x->type.dim[1];
  DhcValue *args[] = {dhc_b_fill(&l->b, &x->type, 1), x, dhc_b_fill(&l->b, &h0, 0)};
  DhcAttr a[] = {dhc_attr_int(0), dhc_attr_bool(false), dhc_attr_bool(false)};
  return args[0] && args[2] ? dhc_build1(&l->b, DHC_OP_LINEAR_SCAN, args, 3, a, 3) : NULL;
}

static DhcValue *take(Lower *l, DhcOp op, DhcValue *x, DhcValue *index, int axis) {
  DhcValue *args[] = {x, index};
  DhcAttr a = dhc_attr_int(axis);
  return x && index ? dhc_build1(&l->b, op, args, 2, &a, 1) : NULL;
}

/* Slot of a choice: the first slot of its bin, and how many choices of that bin come before.
 * Counts are kept in f32, exact to 2^24 choices. */
static bool lower_route(Lower *l, DhcNode *n) {
  DhcValue *e = n->args[0];
  int64_t num = dhc_attr(n, "num")->i;
  const DhcDim *count = dhc_dim_mul(l->dims, e->type.dim[0], e->type.dim[1]);
  const DhcDim *bins = constant(l, num + 1), *table[] = {count, bins}, *square[] = {bins, bins}, *one[] = {count, constant(l, 1)};
  DhcValue *flat = dhc_b_reshape(&l->b, dhc_b_cast(&l->b, e, DHC_I32), &count, 1), *zero = dhc_b_scalar(&l->b, DHC_I32, 0);
  DhcValue *last = dhc_b_scalar(&l->b, DHC_I32, (double)num);
  if (!flat || !zero || !last) return false;
  /* bin `num` collects what is in no bin */
  DhcValue *inside = bin(l, DHC_OP_AND, bin(l, DHC_OP_GE, flat, zero), bin(l, DHC_OP_LT, flat, last));
  DhcValue *b = dhc_b_select(&l->b, inside, flat, last);
  DhcValue *hit = bin(l, DHC_OP_EQ, dhc_b_broadcast(&l->b, dhc_b_reshape(&l->b, b, one, 2), table, 2),
                      iota(l, DHC_I32, 1, table, 2));
  DhcValue *so_far = linear_scan(l, dhc_b_cast(&l->b, hit, DHC_F32));
  if (!so_far) return false;
  DhcValue *total = dhc_b_slice(&l->b, so_far, 0, dhc_dim_addc(l->dims, count, -1), constant(l, 1));
  DhcValue *below = bin(l, DHC_OP_LT, iota(l, DHC_I32, 1, square, 2), iota(l, DHC_I32, 0, square, 2));
  DhcValue *first = sum_last(l, dhc_b_select(&l->b, below, dhc_b_broadcast(&l->b, total, square, 2),
                                             dhc_b_scalar(&l->b, DHC_F32, 0)));
  DhcValue *mine = dhc_b_reshape(&l->b, take(l, DHC_OP_TAKE_ALONG, so_far, dhc_b_reshape(&l->b, b, one, 2), 1), &count, 1);
  DhcValue *base = take(l, DHC_OP_GATHER, first, b, 0);
  if (!mine || !base) return false;
  DhcValue *slot = dhc_b_cast(&l->b, bin(l, DHC_OP_SUB, bin(l, DHC_OP_ADD, base, mine), dhc_b_scalar(&l->b, DHC_F32, 1)), DHC_I32);
  DhcValue *token = dhc_b_reshape(&l->b, iota(l, DHC_I32, 0, e->type.dim, 2), &count, 1);
  DhcValue *args[] = {token, slot};
  DhcAttr put[] = {dhc_attr_int(0), dhc_attr_dim(count), dhc_attr_flag(true)}; /* slots are all different */
  DhcValue *row = token && slot ? dhc_build1(&l->b, DHC_OP_PUT_ALONG, args, 2, put, 3) : NULL;
  DhcValue *offsets = dhc_b_cast(&l->b, first, DHC_I32);
  slot = dhc_b_reshape(&l->b, slot, e->type.dim, 2);
  if (!row || !slot || !offsets) return false;
  dhc_replace_uses(n->results[0], row);
  dhc_replace_uses(n->results[1], slot);
  dhc_replace_uses(n->results[2], offsets);
  return true;
}

/* ---- as one kernel -------------------------------------------------------------------------------- */

enum { MOST_PLACES = 16 };

/* The route of what n, a top_k, chose among all of its places, if the two are one kernel; else NULL. */
static DhcNode *routed(const DhcPassCtx *px, const DhcNode *n) {
  const DhcType *t = n->op == DHC_OP_TOP_K ? &n->args[0]->type : NULL;
  int64_t places, chosen = t ? dhc_attr(n, "k")->i : 0;
  if (!px->routes || !t || t->rank != 2 || t->dtype != DHC_F32 || !dhc_dim_is_const(t->dim[1], &places)) return NULL;
  if (places < 2 || places > MOST_PLACES || chosen < 2) return NULL;
  for (DhcNode *m = n->next; m; m = m->next)
    if (m->op == DHC_OP_ROUTE && m->args[0] == n->results[1] && dhc_attr(m, "num")->i == places) return m;
  return NULL;
}

bool dhc_fu_route_stays(const DhcPassCtx *px, const DhcNode *n) {
  return routed(px, n) || (n->op == DHC_OP_ROUTE && routed(px, n->args[0]->def) == n);
}

static const DhcValue *seen_through(const DhcValue *v) {
  while (v->def->op == DHC_OP_BROADCAST || v->def->op == DHC_OP_RESHAPE || v->def->op == DHC_OP_STOP_GRADIENT) v = v->def->args[0];
  return v;
}

/* Does `v` fold x, all of its rows' places, by op? */
static bool folds(const DhcValue *v, DhcOp op, const DhcValue *x) {
  const DhcNode *n = seen_through(v)->def;
  return n->op == op && n->args[0] == x && dhc_fu_reduced_dims(n) == 2u;
}

/* What v is the softmax of, if nobody else uses it, or short folds are computed again anyway; else NULL. */
static DhcValue *softmax_of(const DhcPassCtx *px, const DhcFunc *f, const DhcValue *v) {
  int uses = 0;
  for (int i = 0; i < f->results.n; i++) uses += f->results.at[i] == v;
  for (const DhcNode *n = f->first; n; n = n->next)
    for (int k = 0; k < n->n_args; k++) uses += n->args[k] == v;
  const DhcNode *d = v->def, *e = d->op == DHC_OP_DIV ? d->args[0]->def : NULL;
  if ((uses != 1 && !px->folds_again) || !e || e->op != DHC_OP_EXP || !folds(d->args[1], DHC_OP_REDUCE_SUM, d->args[0])) return NULL;
  const DhcNode *s = e->args[0]->def;
  return s->op == DHC_OP_SUB && folds(s->args[1], DHC_OP_REDUCE_MAX, s->args[0]) ? s->args[0] : NULL;
}

static bool write_route(DhcPassCtx *px, DhcNode *top, DhcNode *route) {
  DhcModule *m = top->func->module;
  DhcBuilder b = {.f = top->func, .before = top, .span = top->span, .origin = top->origin};
  DhcValue *soft = softmax_of(px, top->func, top->args[0]), *x = soft ? soft : top->args[0], *arg[] = {x, x, x, x}, *of[] = {top->results[0], top->results[1], route->results[0], route->results[1], route->results[2]};
  const DhcDim *rows = x->type.dim[0], *places = x->type.dim[1], *chosen = of[0]->type.dim[1], *none = dhc_dim_const(m->dims, 0);
  const DhcDim *dims[] = {rows, rows, places, places, places, places, chosen, chosen, none, of[2]->type.dim[0], chosen};
  const DhcDim *offsets[9];
  for (int o = 0; o < 9; o++) offsets[o] = none;
  int64_t n_places = 0, n_chosen = 0, into[] = {-1, -1, -1, -1, -1};
  const DhcType *type[5];
  for (int o = 0; o < 5; o++) type[o] = &of[o]->type;
  dhc_dim_is_const(places, &n_places);
  dhc_dim_is_const(chosen, &n_chosen);
  const FuSpec w = {.spec = dhc_spec_route(m->arena, n_places, n_chosen, soft != NULL), .dims = dims, .n_dims = 11, .offsets = offsets};
  DhcNode *n = dhc_fu_kernel(m, &b, &w, arg, 4, type, into);
  for (int o = 0; n && o < 5; o++) dhc_replace_uses(of[o], n->results[o]);
  if (!n) return false;
  dhc_node_remove(route);
  dhc_node_remove(top);
  dhc_pass_count_change(px);
  return true;
}

bool dhc_fu_write_routes(DhcFunc *f, DhcPassCtx *px) {
  for (DhcNode *n = f->first, *next; n; n = next) {
    DhcNode *route = routed(px, n);
    next = route && n->next == route ? route->next : n->next;
    if (route && !write_route(px, n, route)) return false;
  }
  return true;
}

bool dhc_fu_is_route(const DhcNode *n) { return n->op == DHC_OP_TOP_K || n->op == DHC_OP_ROUTE; }

bool dhc_fu_lower_route(DhcNode *n) {
  Lower l = {.b = {.f = n->func, .before = n, .span = n->span, .origin = n->origin}, .dims = n->func->module->dims};
  bool done = n->op == DHC_OP_ROUTE ? lower_route(&l, n) : by_choices(n) ? lower_choices(&l, n) : lower_top_k(&l, n);
  if (!done) return false;
  dhc_node_remove(n);
  return true;
}
