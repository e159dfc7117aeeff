/* A contraction whose rows meet a matrix of their own (ragged_dot) becomes one in which all rows meet all matrices, and a row
 * picks what is its own: as many matrices times the work, but always the same. For objects whose time must not hang on values
 * (--timing bounded). Every product and sum is as before, to the bit. */
#include "passes/passes.h"

typedef struct Dense {
  DhcBuilder *b;
  const DhcNode *n;
  const DhcDim *rows, *matrices, *columns;
} Dense;

static DhcDims *dims(const Dense *d) { return d->b->f->module->dims; }

/* i64[rows, matrices]: x over rows, or over matrices. */
static DhcValue *spread(const Dense *d, DhcValue *x, bool by_row) {
  const DhcDim *one = dhc_dim_const(dims(d), 1), *col[] = {d->rows, one}, *all[] = {d->rows, d->matrices};
  x = dhc_b_cast(d->b, x, DHC_I64);
  return dhc_b_broadcast(d->b, by_row ? dhc_b_reshape(d->b, x, col, 2) : x, all, 2);
}

static DhcValue *count(const Dense *d, const DhcDim *n) {
  DhcModule *m = d->b->f->module;
  DhcAttr attrs[] = {dhc_attr_int(0), dhc_attr_dtype(DHC_I64), dhc_attr_dims(m, &n, 1)};
  return dhc_build1(d->b, DHC_OP_IOTA, NULL, 0, attrs, 3);
}

/* i64[rows]: where a row's result lies among rows * matrices of them; -1: no matrix is its own. */
static DhcValue *places(const Dense *d) {
  DhcBuilder *b = d->b;
  const DhcDim *one = dhc_dim_const(dims(d), 1);
  DhcValue *offsets = d->n->args[2], *row = spread(d, count(d, d->rows), true), *matrix = spread(d, count(d, d->matrices), false);
  DhcValue *from = spread(d, dhc_b_slice(b, offsets, 0, dhc_dim_const(dims(d), 0), d->matrices), false);
  DhcValue *to = spread(d, dhc_b_slice(b, offsets, 0, one, d->matrices), false);
  DhcValue *inside = dhc_b_binary(b, DHC_OP_AND, dhc_b_binary(b, DHC_OP_LE, from, row), dhc_b_binary(b, DHC_OP_LT, row, to));
  DhcValue *n = dhc_b_broadcast(b, dhc_b_dim(b, d->matrices), (const DhcDim *[]){d->rows, d->matrices}, 2);
  DhcValue *place = dhc_b_binary(b, DHC_OP_ADD, dhc_b_binary(b, DHC_OP_MUL, row, n), matrix);
  const int64_t axis = 1;
  DhcValue *best = dhc_b_select(b, inside, place, dhc_b_scalar(b, DHC_I64, -1));
  return dhc_b_reduce(b, DHC_OP_REDUCE_MAX, best, &axis, 1, false); /* ranges do not overlap: at most one is not -1 */
}

static DhcValue *dense(DhcBuilder *b, const DhcNode *n) {
  const DhcType *w = &n->args[1]->type;
  Dense d = {b, n, n->results[0]->type.dim[0], w->dim[0], w->dim[2]};
  const int64_t axis = 1;
  DhcValue *all = dhc_b_dot(b, n->args[0], n->args[1], NULL, NULL, 0, &axis, &axis, 1); /* [rows, matrices, columns] */
  const DhcDim *flat[] = {dhc_dim_mul(dims(&d), d.rows, d.matrices), d.columns};
  DhcValue *args[] = {dhc_b_reshape(b, all, flat, 2), places(&d)};
  DhcAttr attr = dhc_attr_int(0);
  return dhc_build1(b, DHC_OP_GATHER, args, 2, &attr, 1);
}

/* requires: UNFUSED. establishes: -. breaks: -. */
bool dhc_pass_dense(DhcModule *m, DhcPassCtx *px) {
  for (int i = 0; i < m->funcs.n; i++)
    for (DhcNode *n = m->funcs.at[i]->first, *next; n; n = next) {
      next = n->next;
      if (n->op != DHC_OP_RAGGED_DOT || !dhc_pass_may_change(px)) continue;
      DhcBuilder b = {.f = m->funcs.at[i], .before = n, .span = n->span, .origin = n->origin};
      DhcValue *y = dense(&b, n);
      if (!y) return false;
      dhc_replace_uses(n->results[0], y);
    }
  return true;
}
