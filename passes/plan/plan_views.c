/* Values as strided regions of buffers. */
#include "passes/plan/plan_internal.h"

static void row_major(Pl *p, const DhcType *t, const DhcDim **stride) {
  const DhcDim *s = dhc_dim_const(p->cx, 1);
  for (int d = t->rank; d-- > 0;) {
    stride[d] = s;
    s = dhc_dim_mul(p->cx, s, t->dim[d]);
  }
}

PlVal dhc_pl_whole(Pl *p, int buf, const DhcType *t) {
  PlVal v = {.buf = buf, .type = *t, .offset = dhc_dim_const(p->cx, 0)};
  row_major(p, t, v.stride);
  return v;
}

PlVal dhc_pl_new(Pl *p, const DhcType *t) {
  return dhc_pl_whole(p, dhc_pl_buffer(p, DHC_SEGMENT_WORK, t->dtype, dhc_pl_bytes(p, t)), t);
}

bool dhc_pl_is_dense(const Pl *p, const PlVal *v) {
  const DhcDim *s = dhc_dim_const(p->cx, 1);
  for (int d = v->type.rank; d-- > 0;) {
    if (!dhc_dim_is(v->type.dim[d], 1) && v->stride[d] != s) return false;
    s = dhc_dim_mul(p->cx, s, v->type.dim[d]);
  }
  return true;
}

PlVal dhc_pl_dense(Pl *p, const PlVal *v) {
  if (dhc_pl_is_dense(p, v)) return *v;
  PlVal copy = dhc_pl_new(p, &v->type);
  dhc_pl_move(p, &copy, v);
  return copy;
}

bool dhc_pl_same(const PlVal *a, const PlVal *b) {
  if (a->buf != b->buf || a->offset != b->offset || a->type.rank != b->type.rank) return false;
  for (int d = 0; d < a->type.rank; d++)
    if (a->type.dim[d] != b->type.dim[d] || (a->stride[d] != b->stride[d] && !dhc_dim_is(a->type.dim[d], 1)))
      return false;
  for (int d = 0; d < DHC_MAX_LOOP_DEPTH; d++)
    if (a->step[d] != b->step[d]) return false;
  return true;
}

static void add_offset(Pl *p, PlVal *v, const DhcDim *index, const DhcDim *stride) {
  v->offset = dhc_dim_add(p->cx, v->offset, dhc_dim_mul(p->cx, index, stride));
}

PlVal dhc_pl_range(Pl *p, const PlVal *x, int axis, const DhcDim *start, const DhcDim *size) {
  PlVal v = *x;
  add_offset(p, &v, start, v.stride[axis]);
  v.type.dim[axis] = size;
  return v;
}

PlVal dhc_pl_row(Pl *p, const PlVal *x, int axis, const DhcDim *index) {
  PlVal v = *x;
  add_offset(p, &v, index, v.stride[axis]);
  v.type.rank--;
  for (int d = axis; d < v.type.rank; d++) {
    v.type.dim[d] = v.type.dim[d + 1];
    v.stride[d] = v.stride[d + 1];
  }
  return v;
}

bool dhc_pl_reshape(Pl *p, const DhcType *t, PlVal *x) {
  const DhcDim *one = dhc_dim_const(p->cx, 1), *stride[DHC_MAX_RANK];
  int to = t->rank;
  for (int d = x->type.rank; d-- > 0;) {
    /* neighbouring dims of x that are one run of memory, split as t splits them */
    const DhcDim *run = x->type.dim[d], *step = x->stride[d], *have = one;
    if (run == one) continue;
    for (; d > 0; d--) {
      if (x->type.dim[d - 1] != one && x->stride[d - 1] != dhc_dim_mul(p->cx, step, run)) break;
      run = dhc_dim_mul(p->cx, run, x->type.dim[d - 1]);
    }
    while (have != run && to > 0) {
      to--;
      stride[to] = dhc_dim_mul(p->cx, step, have);
      have = dhc_dim_mul(p->cx, have, t->dim[to]);
    }
    if (have != run) return false;
  }
  while (to > 0 && t->dim[to - 1] == one) stride[--to] = one;
  if (to > 0) return false;
  x->type = *t;
  memcpy(x->stride, stride, sizeof *stride * (size_t)t->rank);
  return true;
}

/* x seen as type t, in memory of its own if dims do not split or join where it lies. */
static PlVal reshape(Pl *p, const DhcType *t, const PlVal *x) {
  PlVal v = *x;
  if (dhc_pl_reshape(p, t, &v)) return v;
  v = dhc_pl_dense(p, x);
  v.type = *t;
  row_major(p, t, v.stride);
  return v;
}

PlVal dhc_pl_view(Pl *p, const DhcNode *n, const DhcType *t, const PlVal *x,
                  const DhcDim *(*over)(const void *ctx, const DhcDim *d), const void *ctx) {
  if (n->op == DHC_OP_RESHAPE) return reshape(p, t, x);
  DhcAxisMap map[DHC_MAX_RANK];
  if (!dhc_axes(p->cx, n, 0, map)) DHC_BUG("plan: %s is no view", dhc_op_info(n->op)->name);
  PlVal v = *x;
  v.type = *t;
  for (int d = 0; d < t->rank; d++) v.stride[d] = dhc_dim_const(p->cx, 0);
  for (int d = 0; d < x->type.rank; d++) {
    add_offset(p, &v, over(ctx, map[d].start), x->stride[d]);
    if (map[d].result >= 0) v.stride[map[d].result] = dhc_dim_mulc(p->cx, x->stride[d], map[d].step);
  }
  return v;
}
