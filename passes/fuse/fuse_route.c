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

enum { FEW_PLACES = 32, MOST_CHOICES = 64, BEHIND = 1 << 30 };

/* Ranks cost the square of the places, choices a walk over them each. */
static bool by_choices(const DhcNode *n) {
  const DhcType *t = &n->args[0]->type;
  int64_t places, k = dhc_attr(n, "k")->i;
  if (k > MOST_CHOICES || t->rank + 1 > DHC_MAX_RANK) return false;
  return !dhc_dim_is_const(t->dim[t->rank - 1], &places) || (places > FEW_PLACES && 4 * k < places);
}

static DhcValue *take(Lower *l, DhcOp op, DhcValue *x, DhcValue *index, int axis) {
  DhcValue *args[] = {x, index};
  DhcAttr a = dhc_attr_int(axis);
  return x && index ? dhc_build1(&l->b, op, args, 2, &a, 1) : NULL;
}

/* A row whose places are put in order: none is NaN, and among equals the lowest number comes first. */
typedef struct Order {
  DhcValue *value, *number;
} Order;

static DhcValue *fold_last(Lower *l, DhcOp op, DhcValue *x) {
  int64_t axis = x ? x->type.rank - 1 : 0;
  return x ? dhc_b_reduce(&l->b, op, x, &axis, 1, true) : NULL;
}

/* NaN comes before infinity: it becomes one, and the others' numbers lie behind all places. */
static Order in_order(Lower *l, DhcValue *x) {
  Order o = {x, iota(l, DHC_I32, x->type.rank - 1, x->type.dim, x->type.rank)};
  if (!o.number || !dhc_dtype_is_float(x->type.dtype)) return o;
  DhcValue *nan = is_nan(l, x), *behind = bin(l, DHC_OP_ADD, o.number, dhc_b_scalar(&l->b, DHC_I32, BEHIND));
  return (Order){dhc_b_select(&l->b, nan, dhc_b_scalar(&l->b, x->type.dtype, (double)INFINITY), x), dhc_b_select(&l->b, nan, o.number, behind)};
}

/* The first of what is left of o, its axis kept: the largest, of these the lowest number. */
static Order first_of(Lower *l, const Order *o, DhcValue *left) {
  DhcValue *low = dhc_b_scalar(&l->b, o->value->type.dtype, -(double)INFINITY);
  Order first = {fold_last(l, DHC_OP_REDUCE_MAX, left ? dhc_b_select(&l->b, left, o->value, low) : o->value), NULL};
  DhcValue *same = bin(l, DHC_OP_EQ, o->value, dhc_b_broadcast(&l->b, first.value, o->value->type.dim, o->value->type.rank));
  if (left) same = bin(l, DHC_OP_AND, same, left);
  first.number = fold_last(l, DHC_OP_REDUCE_MIN, dhc_b_select(&l->b, same, o->number, dhc_b_scalar(&l->b, DHC_I32, INT32_MAX)));
  return first;
}

/* Where the k largest of x's rows are, choice after choice: what is left comes behind the last one. */
static DhcValue *choose(Lower *l, DhcValue *x, int k) {
  DhcValue *chosen[MOST_CHOICES], *left = NULL;
  const DhcType *t = &x->type;
  Order o = in_order(l, x);
  for (int c = 0; c < k; c++) {
    if (!o.number) return NULL;
    Order first = first_of(l, &o, left);
    if (!first.number) return NULL;
    chosen[c] = first.number;
    DhcValue *value = dhc_b_broadcast(&l->b, first.value, t->dim, t->rank), *number = dhc_b_broadcast(&l->b, first.number, t->dim, t->rank);
    left = bin(l, DHC_OP_OR, bin(l, DHC_OP_LT, o.value, value), bin(l, DHC_OP_AND, bin(l, DHC_OP_EQ, o.value, value), bin(l, DHC_OP_GT, o.number, number)));
  }
  DhcValue *all = k > 1 ? dhc_b_concat(&l->b, chosen, k, t->rank - 1) : chosen[0];
  if (!all || !dhc_dtype_is_float(t->dtype)) return all;
  DhcValue *behind = dhc_b_scalar(&l->b, DHC_I32, BEHIND);
  return dhc_b_select(&l->b, bin(l, DHC_OP_GE, all, behind), bin(l, DHC_OP_SUB, all, behind), all);
}

/* ---- many choices of long rows ---- */

/* Neighbouring places in blocks of how many, so that blocks and what k of them hold are few; 0: walking over these, and once over all
 * places, gains less than a quarter. */
static int64_t block_of(int64_t places, int64_t k) {
  int64_t best = 0, least = (3 * k - 4) * places / (4 * k);
  for (int64_t s = 2; s <= places / (2 * k) && s <= 4096; s++) {
    int64_t walked = places / s + k * s + places % s;
    if (walked < least) best = s, least = walked;
  }
  return best;
}

/* Rows' numbers, which are all different, in rising order. */
static DhcValue *rising(Lower *l, DhcValue *x) {
  int r = x->type.rank;
  const DhcDim *pair[DHC_MAX_RANK];
  for (int d = 0; d <= r; d++) pair[d] = x->type.dim[d < r ? d : r - 1];
  DhcValue *mine = dhc_b_broadcast(&l->b, unsqueeze(l, x, r), pair, r + 1), *other = dhc_b_broadcast(&l->b, unsqueeze(l, x, r - 1), pair, r + 1);
  DhcValue *place = sum_last(l, dhc_b_cast(&l->b, bin(l, DHC_OP_LT, other, mine), DHC_I32));
  DhcValue *here = bin(l, DHC_OP_EQ, dhc_b_broadcast(&l->b, unsqueeze(l, place, r - 1), pair, r + 1), iota(l, DHC_I32, r - 1, pair, r + 1));
  return sum_last(l, dhc_b_select(&l->b, here, other, dhc_b_scalar(&l->b, DHC_I32, 0)));
}

static DhcValue *top_places(Lower *l, DhcValue *x, int k);

/* What is among a row's k largest is in one of the k blocks with the largest maxima, of equal ones the first, or behind the last whole
 * block. These in the order in which they lie, and of them the k largest: as many places as blocks and as k of them have, in place of all. */
static DhcValue *choose_by_blocks(Lower *l, DhcValue *x, int k, int64_t places, int64_t size) {
  int r = x->type.rank;
  int64_t n = places / size, axis = r, rest = places % size;
  const DhcDim *cut[DHC_MAX_RANK], *some[DHC_MAX_RANK], *flat[DHC_MAX_RANK];
  for (int d = 0; d < r - 1; d++) cut[d] = some[d] = flat[d] = x->type.dim[d];
  cut[r - 1] = constant(l, n);
  some[r - 1] = constant(l, k);
  cut[r] = some[r] = constant(l, size);
  flat[r - 1] = constant(l, k * size);
  DhcValue *whole = rest ? dhc_b_slice(&l->b, x, r - 1, constant(l, 0), constant(l, n * size)) : x;
  DhcValue *blocks = whole ? dhc_b_reshape(&l->b, whole, cut, r + 1) : NULL;
  DhcValue *most = blocks ? dhc_b_reduce(&l->b, DHC_OP_REDUCE_MAX, blocks, &axis, 1, false) : NULL;
  DhcValue *block = most ? top_places(l, most, k) : NULL;
  if (block) block = rising(l, block);
  if (block) block = dhc_b_broadcast(&l->b, unsqueeze(l, block, r), some, r + 1);
  DhcValue *value = take(l, DHC_OP_TAKE_ALONG, blocks, block, r - 1);
  if (!value) return NULL;
  DhcValue *at = bin(l, DHC_OP_ADD, bin(l, DHC_OP_MUL, block, dhc_b_scalar(&l->b, DHC_I32, (double)size)), iota(l, DHC_I32, r, some, r + 1));
  DhcValue *values[2] = {dhc_b_reshape(&l->b, value, flat, r)}, *places_of[2] = {dhc_b_reshape(&l->b, at, flat, r)};
  if (rest) {
    flat[r - 1] = constant(l, rest);
    values[1] = dhc_b_slice(&l->b, x, r - 1, constant(l, n * size), constant(l, rest));
    places_of[1] = bin(l, DHC_OP_ADD, iota(l, DHC_I32, r - 1, flat, r), dhc_b_scalar(&l->b, DHC_I32, (double)(n * size)));
    if (!values[1] || !places_of[1]) return NULL;
    values[0] = dhc_b_concat(&l->b, values, 2, r - 1);
    places_of[0] = dhc_b_concat(&l->b, places_of, 2, r - 1);
  }
  return values[0] ? take(l, DHC_OP_TAKE_ALONG, places_of[0], top_places(l, values[0], k), r - 1) : NULL;
}

static DhcValue *top_places(Lower *l, DhcValue *x, int k) {
  int64_t places, size = 0;
  if (k > 1 && x->type.rank + 1 < DHC_MAX_RANK && dhc_dim_is_const(x->type.dim[x->type.rank - 1], &places)) size = block_of(places, k);
  return size ? choose_by_blocks(l, x, k, places, size) : choose(l, x, k);
}

static bool lower_choices(Lower *l, DhcNode *n) {
  DhcValue *x = n->args[0], *all = top_places(l, x, (int)dhc_attr(n, "k")->i);
  DhcValue *value = take(l, DHC_OP_TAKE_ALONG, x, all, x->type.rank - 1);
  if (!value) return false;
  dhc_replace_uses(n->results[0], value);
  dhc_replace_uses(n->results[1], all);
  return true;
}

/* ---- many choices by ranks ---- */

enum { MANY_CHOICES = 16, MOST_RANKED = 1024 };
/* What a place costs that a choice walks over, in pairs that are counted; and one of a long row, which is sorted (tpl_ranks.c). */
enum { PAIRS_WALKED = 12, PAIRS_SORTED = 192, SORTED_FROM = 512 };

static bool by_ranks(const DhcNode *n) {
  const DhcType *t = &n->args[0]->type;
  int64_t places, k = dhc_attr(n, "k")->i;
  if (t->dtype != DHC_F32 || t->rank + 1 > DHC_MAX_RANK || k < MANY_CHOICES || !dhc_dim_is_const(t->dim[t->rank - 1], &places) || places > MOST_RANKED) return false;
  int64_t s = block_of(places, k), walked = s ? places / s + k * s + places % s : places;
  return places * (places < SORTED_FROM ? places : PAIRS_SORTED) < PAIRS_WALKED * k * walked;
}

/* As many comparisons as pairs, but no more of them for another choice; in the form that a kernel counts by keys (dhc_spec_ranks). */
static bool lower_ranks(Lower *l, DhcNode *n) {
  DhcValue *x = n->args[0];
  int r = x->type.rank;
  const DhcDim *pair[DHC_MAX_RANK], *places = x->type.dim[r - 1];
  for (int d = 0; d <= r; d++) pair[d] = x->type.dim[d < r ? d : r - 1];
  Order o = in_order(l, x);
  if (!o.number) return false;
  DhcValue *mine = dhc_b_broadcast(&l->b, unsqueeze(l, o.value, r), pair, r + 1), *other = dhc_b_broadcast(&l->b, unsqueeze(l, o.value, r - 1), pair, r + 1);
  DhcValue *my_number = dhc_b_broadcast(&l->b, unsqueeze(l, o.number, r), pair, r + 1), *number = dhc_b_broadcast(&l->b, unsqueeze(l, o.number, r - 1), pair, r + 1);
  if (!mine || !other || !my_number || !number) return false;
  DhcValue *tie = bin(l, DHC_OP_AND, bin(l, DHC_OP_EQ, other, mine), bin(l, DHC_OP_LT, number, my_number));
  DhcValue *rank = sum_last(l, dhc_b_cast(&l->b, bin(l, DHC_OP_OR, bin(l, DHC_OP_GT, other, mine), tie), DHC_I32));
  DhcValue *put[] = {iota(l, DHC_I32, r - 1, x->type.dim, r), rank};
  DhcAttr a[] = {dhc_attr_int(r - 1), dhc_attr_dim(places), dhc_attr_flag(true)}; /* ranks are all different */
  DhcValue *sorted = put[0] && rank ? dhc_build1(&l->b, DHC_OP_PUT_ALONG, put, 2, a, 3) : NULL;
  DhcValue *all = sorted ? dhc_b_slice(&l->b, sorted, r - 1, constant(l, 0), n->results[0]->type.dim[r - 1]) : NULL;
  DhcValue *value = take(l, DHC_OP_TAKE_ALONG, x, all, r - 1);
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

bool dhc_fu_lower_route(DhcNode *n, const DhcPassCtx *px) {
  Lower l = {.b = {.f = n->func, .before = n, .span = n->span, .origin = n->origin}, .dims = n->func->module->dims};
  bool done = n->op == DHC_OP_ROUTE ? lower_route(&l, n) : px->ranks && by_ranks(n) ? lower_ranks(&l, n) : by_choices(n) ? lower_choices(&l, n) : lower_top_k(&l, n);
  if (!done) return false;
  dhc_node_remove(n);
  return true;
}
