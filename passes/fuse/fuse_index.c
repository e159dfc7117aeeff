/* Index arithmetic of fusion: linear forms over kernel axes, carried through views. */
#include <string.h>

#include "passes/fuse/fuse_internal.h"

/* ---- forms ------------------------------------------------------------------- */

FuForm dhc_fu_const(DhcDims *cx, const DhcDim *c) {
  FuForm f = {.c = c ? c : dhc_dim_const(cx, 0), .node = -1};
  return f;
}

FuForm dhc_fu_axis(DhcDims *cx, int axis) {
  FuForm f = dhc_fu_const(cx, NULL);
  f.n = 1;
  f.axis[0] = axis;
  f.coef[0] = dhc_dim_const(cx, 1);
  return f;
}

FuForm dhc_fu_add(DhcDims *cx, const FuForm *a, const FuForm *b) {
  FuForm r = dhc_fu_const(cx, dhc_dim_add(cx, a->c, b->c));
  int i = 0, j = 0;
  while (i < a->n || j < b->n) {
    bool left = i < a->n && (j >= b->n || a->axis[i] <= b->axis[j]);
    bool right = j < b->n && (i >= a->n || b->axis[j] <= a->axis[i]);
    int axis = left ? a->axis[i] : b->axis[j];
    const DhcDim *c = left && right ? dhc_dim_add(cx, a->coef[i], b->coef[j])
                      : left        ? a->coef[i]
                                    : b->coef[j];
    i += left;
    j += right;
    if (dhc_dim_is(c, 0)) continue;
    r.axis[r.n] = axis;
    r.coef[r.n++] = c;
  }
  r.node = a->node >= 0 ? a->node : b->node;
  return r;
}

FuForm dhc_fu_scale(DhcDims *cx, const FuForm *a, const DhcDim *by) {
  FuForm r = dhc_fu_const(cx, dhc_dim_mul(cx, a->c, by));
  r.node = a->node; /* callers scale forms with a node only by a term's stride */
  if (dhc_dim_is(by, 0)) return r;
  for (int i = 0; i < a->n; i++) {
    r.axis[r.n] = a->axis[i];
    r.coef[r.n++] = dhc_dim_mul(cx, a->coef[i], by);
  }
  return r;
}

FuForm dhc_fu_addc(DhcDims *cx, const FuForm *a, const DhcDim *c) {
  FuForm r = *a;
  r.c = dhc_dim_add(cx, a->c, c);
  return r;
}

bool dhc_fu_equal(const FuForm *a, const FuForm *b) {
  if (a->n != b->n || a->c != b->c || a->node != b->node) return false;
  for (int i = 0; i < a->n; i++)
    if (a->axis[i] != b->axis[i] || a->coef[i] != b->coef[i]) return false;
  return true;
}

bool dhc_fu_ix_equal(const FuIx *a, const FuIx *b, int rank) {
  for (int d = 0; d < rank; d++) {
    if (!dhc_fu_equal(&a[d].f, &b[d].f) || a[d].guarded != b[d].guarded) return false;
    if (a[d].guarded && (a[d].div != b[d].div || a[d].extent != b[d].extent)) return false;
  }
  return true;
}

FuIx dhc_fu_plain(FuForm f) {
  FuIx ix = {.f = f, .div = 1};
  return ix;
}

FuForm dhc_fu_subst(DhcDims *cx, const FuForm *a, int axis, const FuForm *by) {
  FuForm rest = *a, part;
  for (int i = 0; i < a->n; i++) {
    if (a->axis[i] != axis) continue;
    const DhcDim *c = a->coef[i];
    for (int j = i; j + 1 < a->n; j++) rest.axis[j] = a->axis[j + 1], rest.coef[j] = a->coef[j + 1];
    rest.n--;
    part = dhc_fu_scale(cx, by, c);
    return dhc_fu_add(cx, &rest, &part);
  }
  return rest;
}

bool dhc_fu_flat(DhcDims *cx, const DhcType *t, const FuIx *ix, FuForm *out) {
  FuForm sum = dhc_fu_const(cx, NULL);
  const DhcDim *stride = dhc_dim_const(cx, 1);
  for (int d = t->rank - 1; d >= 0; d--) {
    if (ix[d].guarded || (ix[d].f.node >= 0 && !dhc_dim_is(stride, 1))) return false;
    if (ix[d].f.node >= 0 && sum.node >= 0) return false;
    FuForm part = dhc_fu_scale(cx, &ix[d].f, stride);
    sum = dhc_fu_add(cx, &sum, &part);
    stride = dhc_dim_mul(cx, stride, t->dim[d]);
  }
  *out = sum;
  return true;
}

/* ---- order ------------------------------------------------------------------- */

static bool nonneg(FuIndexCx *cx, const DhcDim *d) {
  return dhc_dim_le(cx->dims, cx->facts, dhc_dim_const(cx->dims, 0), d) == DHC_TRUE;
}

/* 0 <= f < extent wherever the axes run. */
static bool in_range(FuIndexCx *cx, const FuForm *f, const DhcDim *extent) {
  if (f->node >= 0 || !nonneg(cx, f->c)) return false;
  const DhcDim *most = f->c;
  for (int i = 0; i < f->n; i++) {
    if (!nonneg(cx, f->coef[i])) return false;
    const DhcDim *last = dhc_dim_addc(cx->dims, cx->axis[f->axis[i]].extent, -1);
    most = dhc_dim_add(cx->dims, most, dhc_dim_mul(cx->dims, last, f->coef[i]));
  }
  if (most == dhc_dim_addc(cx->dims, extent, -1)) return true;
  return dhc_dim_lt(cx->dims, cx->facts, most, extent) == DHC_TRUE;
}

/* ---- reshape ------------------------------------------------------------------ */

/* f = quotient * by + rest with 0 <= rest < by. Asks for a split where one axis covers more
 * than `by`. */
static bool divide(FuIndexCx *cx, const FuForm *f, const DhcDim *by, FuForm *quotient, FuForm *rest) {
  if (f->node >= 0) return false;
  *quotient = dhc_fu_const(cx->dims, NULL);
  *rest = dhc_fu_const(cx->dims, NULL);
  const DhcDim *q = dhc_dim_divide(cx->dims, f->c, by);
  int64_t c, b;
  if (q) quotient->c = q;
  else if (dhc_dim_is_const(f->c, &c) && dhc_dim_is_const(by, &b) && c >= 0) {
    quotient->c = dhc_dim_const(cx->dims, c / b);
    rest->c = dhc_dim_const(cx->dims, c % b);
  } else rest->c = f->c;
  for (int i = 0; i < f->n; i++) {
    q = dhc_dim_divide(cx->dims, f->coef[i], by);
    FuForm *to = q ? quotient : rest;
    to->axis[to->n] = f->axis[i];
    to->coef[to->n++] = q ? q : f->coef[i];
  }
  if (in_range(cx, rest, by)) return true;
  for (int i = 0; i < rest->n; i++) {
    const DhcDim *inner = dhc_dim_divide(cx->dims, by, rest->coef[i]);
    const DhcDim *extent = cx->axis[rest->axis[i]].extent;
    if (!inner || inner == extent || dhc_dim_is(inner, 1)) continue;
    if (!dhc_dim_divide(cx->dims, extent, inner)) continue;
    cx->miss.axis = rest->axis[i];
    cx->miss.inner = inner;
    break;
  }
  return false;
}

bool dhc_fu_reshape(FuIndexCx *cx, const DhcType *from, const DhcType *to, const FuIx *ix, FuIx *out) {
  int i = 0, j = 0;
  while (i < from->rank || j < to->rank) {
    if (i < from->rank && dhc_dim_is(from->dim[i], 1)) {
      cx->lossy = cx->lossy || ix[i].guarded;
      i++;
      continue;
    }
    if (j < to->rank && dhc_dim_is(to->dim[j], 1)) {
      out[j++] = dhc_fu_plain(dhc_fu_const(cx->dims, NULL));
      continue;
    }
    if (i >= from->rank || j >= to->rank) return false;
    if (from->dim[i] == to->dim[j]) {
      out[j++] = ix[i++];
      continue;
    }
    /* the shortest runs of dims with equal products */
    int i0 = i, j0 = j;
    const DhcDim *p = from->dim[i++], *q = to->dim[j++];
    while (p != q) {
      if (i < from->rank && (j >= to->rank || dhc_dim_divide(cx->dims, q, p))) p = dhc_dim_mul(cx->dims, p, from->dim[i++]);
      else if (j < to->rank) q = dhc_dim_mul(cx->dims, q, to->dim[j++]);
      else return false;
    }
    DhcType run = {.rank = i - i0};
    for (int d = i0; d < i; d++) run.dim[d - i0] = from->dim[d];
    FuForm flat, rest;
    if (!dhc_fu_flat(cx->dims, &run, ix + i0, &flat)) return false;
    for (int d = j - 1; d > j0; d--) {
      FuForm quotient;
      if (!divide(cx, &flat, to->dim[d], &quotient, &rest)) return false;
      out[d] = dhc_fu_plain(rest);
      flat = quotient;
    }
    out[j0] = dhc_fu_plain(flat);
  }
  return true;
}

/* ---- views -------------------------------------------------------------------- */

/* Index into one axis of the operand, which m describes. */
static bool through_axis(FuIndexCx *cx, const DhcNode *n, int d, const DhcAxisMap *m, const FuIx *ix, FuIx *out) {
  const DhcDim *extent = n->args[0]->type.dim[d];
  if (m->result < 0) {
    *out = dhc_fu_plain(dhc_fu_const(cx->dims, NULL));
    return m->result == DHC_AXIS_NONE;
  }
  *out = ix[m->result];
  if (m->step != 1 || !dhc_dim_is(m->start, 0)) {
    if (out->guarded && out->div != 1) return false;
    if (out->f.node >= 0 && m->step != 1) return false;
    out->f = dhc_fu_scale(cx->dims, &out->f, dhc_dim_const(cx->dims, m->step));
    out->f = dhc_fu_addc(cx->dims, &out->f, m->start);
  }
  if (out->guarded && out->extent != extent) { /* the operand has more than the guard lets through */
    cx->lossy = true;
    out->extent = extent;
  }
  return true;
}

bool dhc_fu_through(FuIndexCx *cx, const DhcNode *n, const FuIx *ix, FuIx *out) {
  cx->miss.axis = -1;
  if (n->op == DHC_OP_RESHAPE) return dhc_fu_reshape(cx, &n->results[0]->type, &n->args[0]->type, ix, out);
  DhcAxisMap map[DHC_MAX_RANK];
  bool reached[DHC_MAX_RANK] = {false};
  if (!dhc_fu_is_view(n) || !dhc_axes(cx->dims, n, 0, map)) return false;
  for (int d = 0; d < n->args[0]->type.rank; d++) {
    if (!through_axis(cx, n, d, &map[d], ix, &out[d])) return false;
    if (map[d].result >= 0) reached[map[d].result] = true;
  }
  for (int d = 0; d < n->results[0]->type.rank; d++) cx->lossy = cx->lossy || (!reached[d] && ix[d].guarded);
  return true;
}

bool dhc_fu_back(FuIndexCx *cx, const DhcNode *n, const FuIx *ix, FuIx *out) {
  cx->miss.axis = -1;
  if (n->op == DHC_OP_RESHAPE) return dhc_fu_reshape(cx, &n->args[0]->type, &n->results[0]->type, ix, out);
  DhcAxisMap map[DHC_MAX_RANK];
  if (!dhc_axes(cx->dims, n, 0, map) || n->args[0]->type.rank != n->results[0]->type.rank) return false;
  for (int d = 0; d < n->args[0]->type.rank; d++) { /* the axes in another order, no more */
    if (!dhc_axis_whole(n, 0, d, &map[d])) return false;
    out[map[d].result] = ix[d];
  }
  return true;
}

/* ---- ranges -------------------------------------------------------------------- */

DhcValue *dhc_view_base(DhcValue *v) {
  while (dhc_fu_is_view(v->def)) v = v->def->args[0];
  return v;
}

bool dhc_view_range(DhcDims *dims, const DhcFacts *facts, DhcValue *v, const DhcDim **offset) {
  FuAxis axis[DHC_MAX_RANK];
  FuIx ix[DHC_MAX_RANK + 1], next[DHC_MAX_RANK + 1];
  for (int d = 0; d < v->type.rank; d++) {
    axis[d] = (FuAxis){.extent = v->type.dim[d]};
    bool one = dhc_dim_is(v->type.dim[d], 1);
    ix[d] = dhc_fu_plain(one ? dhc_fu_const(dims, NULL) : dhc_fu_axis(dims, d));
  }
  FuForm want, have;
  if (!dhc_fu_flat(dims, &v->type, ix, &want)) return false;
  bool flat = false; /* `have` is the index into v, whatever its shape */
  for (; dhc_fu_is_view(v->def); v = v->def->args[0]) {
    FuIndexCx cx = {.dims = dims, .facts = facts, .axis = axis, .n_axes = DHC_MAX_RANK};
    if (flat && v->def->op == DHC_OP_RESHAPE) continue;
    if (flat) return false;
    if (dhc_fu_through(&cx, v->def, ix, next)) {
      memcpy(ix, next, sizeof ix);
      continue;
    }
    if (v->def->op != DHC_OP_RESHAPE || !dhc_fu_flat(dims, &v->type, ix, &have)) return false;
    flat = true;
  }
  if (!flat && !dhc_fu_flat(dims, &v->type, ix, &have)) return false;
  *offset = have.c;
  have.c = want.c;
  return dhc_fu_equal(&have, &want);
}
