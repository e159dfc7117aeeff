/* Contractions: x @ w, einsum, and the transposed view they are mostly used with. */
#include "frontend/elab_internal.h"

DhcVal dhc_transpose_last(DhcCx *cx, const DhcVal *x, DhcSpan at) {
  DhcValue *v = dhc_fn_import(cx->fn, x->t);
  int rank = v->type.rank;
  if (rank < 2) {
    DhcDiag *d =
        dhc_err(cx, "E0308", at, ".T swaps the last two dims, %s has %d", dhc_say_type(cx, &v->type), rank);
    dhc_note_operand(cx, d, x);
    return dhc_v_error();
  }
  int64_t perm[DHC_MAX_RANK];
  for (int i = 0; i < rank; i++) perm[i] = i;
  perm[rank - 1] = rank - 2;
  perm[rank - 2] = rank - 1;
  DhcVal r = dhc_v_tensor(dhc_b_transpose(dhc_at(cx, at), v, perm));
  r.name = x->name;
  r.def = x->def;
  return r;
}

static DhcVal inner_error(DhcCx *cx, const DhcVal *a, const DhcVal *b, const DhcDim *ka, const DhcDim *kb,
                          DhcSpan at) {
  const char *oa = dhc_say_origin(cx, a), *ob = dhc_say_origin(cx, b);
  DhcDiag *d =
      dhc_err(cx, "E0308", at, "matmul: inner sizes differ: %s%s%s%s, %s%s%s%s", dhc_say_dim(cx, ka),
              *oa ? " (" : "", oa, *oa ? ")" : "", dhc_say_dim(cx, kb), *ob ? " (" : "", ob, *ob ? ")" : "");
  dhc_note_operand(cx, d, a);
  dhc_note_operand(cx, d, b);
  return dhc_v_error();
}

/* Common leading dims of both operands: equal, or a known 1 stretches. */
static bool batch_dims(DhcCx *cx, const DhcVal *a, const DhcVal *b, DhcSpan at, int *n, const DhcDim **dim) {
  DhcValue la = *a->t, lb = *b->t;
  la.type.rank -= 2;
  lb.type.rank -= 2;
  DhcVal two[2] = {*a, *b};
  two[0].t = &la;
  two[1].t = &lb;
  return dhc_broadcast_shape(cx, "matmul", two, 2, at, n, dim);
}

static DhcValue *to_batch(DhcCx *cx, DhcBuilder *bd, DhcValue *v, const DhcDim *const *batch, int n) {
  const DhcDim *dim[DHC_MAX_RANK];
  for (int i = 0; i < n; i++) dim[i] = batch[i];
  dim[n] = v->type.dim[v->type.rank - 2];
  dim[n + 1] = v->type.dim[v->type.rank - 1];
  v = dhc_align(cx, v, dim, n + 2);
  return v ? dhc_b_broadcast(bd, v, dim, n + 2) : NULL;
}

/* A matrix that was just transposed is contracted along its other axis instead. */
static DhcValue *untransposed(DhcValue *v) {
  if (v->def->op != DHC_OP_TRANSPOSE || v->type.rank != 2) return NULL;
  return v->def->args[0];
}

DhcVal dhc_matmul(DhcCx *cx, const DhcVal *a, const DhcVal *b, DhcSpan at) {
  DhcVal x = *a, y = *b;
  x.t = dhc_as_tensor(cx, a, -1, at);
  y.t = dhc_as_tensor(cx, b, -1, at);
  if (!x.t || !y.t) return dhc_v_error();
  int ra = x.t->type.rank, rb = y.t->type.rank;
  if (!ra || !rb || x.t->type.dtype != y.t->type.dtype) {
    DhcDiag *d = dhc_err(cx, ra && rb ? "E0310" : "E0308", at, "matmul: %s: %s and %s",
                         ra && rb ? "dtypes differ" : "a scalar has no inner dim",
                         dhc_say_type(cx, &x.t->type), dhc_say_type(cx, &y.t->type));
    dhc_note_operand(cx, d, a);
    dhc_note_operand(cx, d, b);
    return dhc_v_error();
  }
  const DhcDim *ka = x.t->type.dim[ra - 1], *kb = y.t->type.dim[rb == 1 ? 0 : rb - 2];
  if (!dhc_same_dim(cx, ka, kb)) return inner_error(cx, a, b, ka, kb, at);
  if (ka != kb) {
    const DhcDim *dim[DHC_MAX_RANK];
    for (int i = 0; i < rb; i++) dim[i] = y.t->type.dim[i];
    dim[rb == 1 ? 0 : rb - 2] = ka;
    dhc_at(cx, at);
    y.t = dhc_align(cx, y.t, dim, rb);
    if (!y.t) return dhc_v_error();
  }
  DhcBuilder *bd = dhc_at(cx, at);
  int64_t cx1 = ra - 1, cy = rb == 1 ? 0 : rb - 2;
  if (rb <= 2) {
    DhcValue *w = untransposed(y.t);
    int64_t one = 1;
    return dhc_v_tensor(dhc_b_dot(bd, x.t, w ? w : y.t, NULL, NULL, 0, &cx1, w ? &one : &cy, 1));
  }
  if (ra == 1) {
    const DhcDim *dim[2] = {dhc_dim_const(dhc_cx_dims(cx), 1), ka};
    x.t = dhc_b_reshape(bd, x.t, dim, 2);
    if (!x.t) return dhc_v_error();
  }
  int n = 0;
  const DhcDim *batch[DHC_MAX_RANK];
  if (!batch_dims(cx, &x, &y, at, &n, batch)) return dhc_v_error();
  DhcValue *p = to_batch(cx, bd, x.t, batch, n), *q = to_batch(cx, bd, y.t, batch, n);
  if (!p || !q) return dhc_v_error();
  int64_t axes[DHC_MAX_RANK];
  for (int i = 0; i < n; i++) axes[i] = i;
  int64_t cp = n + 1, cq = n;
  DhcValue *r = dhc_b_dot(bd, p, q, axes, axes, n, &cp, &cq, 1);
  if (ra == 1 && r) {
    const DhcDim *dim[DHC_MAX_RANK];
    for (int i = 0; i < n; i++) dim[i] = batch[i];
    dim[n] = r->type.dim[n + 1];
    r = dhc_b_reshape(bd, r, dim, n + 1);
  }
  return dhc_v_tensor(r);
}

/* ---- einsum -------------------------------------------------------------------------------- */

typedef struct Term {
  DhcValue *v;
  char label[DHC_MAX_RANK + 1];
} Term;

static int label_at(const Term *t, char c) {
  for (int i = 0; i < t->v->type.rank; i++)
    if (t->label[i] == c) return i;
  return -1;
}

/* Sums out labels of t that `keep` does not hold. */
static bool sum_unused(DhcCx *cx, Term *t, const char *keep, DhcSpan at) {
  int64_t axes[DHC_MAX_RANK];
  int n = 0;
  char left[DHC_MAX_RANK + 1] = {0};
  int k = 0;
  for (int i = 0; i < t->v->type.rank; i++) {
    if (strchr(keep, t->label[i]))
      left[k++] = t->label[i];
    else
      axes[n++] = i;
  }
  if (!n) return true;
  t->v = dhc_b_reduce(dhc_at(cx, at), DHC_OP_REDUCE_SUM, t->v, axes, n, false);
  memcpy(t->label, left, sizeof left);
  return t->v != NULL;
}

/* One contraction: labels in both and in `keep` are batch, in both only are contracted. */
static bool contract(DhcCx *cx, Term *a, const Term *b, const char *keep, DhcSpan at) {
  int64_t ba[DHC_MAX_RANK], bb[DHC_MAX_RANK], ca[DHC_MAX_RANK], cb[DHC_MAX_RANK];
  int nb = 0, nc = 0, k = 0;
  char out[2 * DHC_MAX_RANK + 1] = {0};
  for (int i = 0; i < a->v->type.rank; i++) {
    int j = label_at(b, a->label[i]);
    if (j < 0) continue;
    if (strchr(keep, a->label[i])) {
      ba[nb] = i;
      bb[nb++] = j;
      out[k++] = a->label[i];
    } else {
      ca[nc] = i;
      cb[nc++] = j;
    }
  }
  for (int i = 0; i < a->v->type.rank; i++)
    if (label_at(b, a->label[i]) < 0) out[k++] = a->label[i];
  for (int j = 0; j < b->v->type.rank; j++)
    if (label_at(a, b->label[j]) < 0) out[k++] = b->label[j];
  if (k > DHC_MAX_RANK) {
    dhc_err(cx, "E0308", at, "einsum: an intermediate has rank %d, at most %d is possible", k, DHC_MAX_RANK);
    return false;
  }
  a->v = dhc_b_dot(dhc_at(cx, at), a->v, b->v, ba, bb, nb, ca, cb, nc);
  memcpy(a->label, out, DHC_MAX_RANK + 1);
  return a->v != NULL;
}

/* Axes i and j of t have one label: what is off the diagonal is left out, and j goes. */
static bool diagonal(DhcCx *cx, Term *t, int i, int j, DhcSpan at) {
  DhcType type = t->v->type;
  if (type.dim[i] != type.dim[j]) {
    dhc_err(cx, "E0308", at, "einsum: '%c' is %s and %s in one operand", t->label[i], dhc_say_dim(cx, type.dim[i]), dhc_say_dim(cx, type.dim[j]));
    return false;
  }
  DhcBuilder *b = dhc_at(cx, at);
  DhcModule *m = cx->m->module;
  DhcValue *place[2];
  for (int k = 0; k < 2; k++) {
    DhcAttr attrs[3] = {dhc_attr_int(k ? j : i), dhc_attr_dtype(DHC_I32), dhc_attr_dims(m, type.dim, type.rank)};
    place[k] = dhc_build1(b, DHC_OP_IOTA, NULL, 0, attrs, 3);
    if (!place[k]) return false;
  }
  const int64_t axis = j;
  DhcValue *zeros = dhc_b_fill(b, &type, 0);
  t->v = dhc_b_reduce(b, DHC_OP_REDUCE_SUM, dhc_b_select(b, dhc_b_binary(b, DHC_OP_EQ, place[0], place[1]), t->v, zeros), &axis, 1, false);
  memmove(t->label + j, t->label + j + 1, strlen(t->label + j));
  return t->v != NULL;
}

static bool parse_term(DhcCx *cx, Term *t, const DhcVal *v, const char *text, int n, int index, DhcSpan at) {
  t->v = dhc_as_tensor(cx, v, -1, at);
  if (!t->v) return false;
  if (n != t->v->type.rank) {
    DhcDiag *d = dhc_err(cx, "E0308", at, "einsum: \"%.*s\" names %d dims, operand %d is %s", n, text, n,
                         index + 1, dhc_say_type(cx, &t->v->type));
    dhc_note_operand(cx, d, v);
    return false;
  }
  for (int i = 0; i < n; i++) t->label[i] = text[i];
  t->label[n] = 0;
  for (int i = 0; i < t->v->type.rank; i++)
    while (strchr(t->label + i + 1, t->label[i]))
      if (!diagonal(cx, t, i, (int)(strchr(t->label + i + 1, t->label[i]) - t->label), at)) return false;
  return true;
}

static bool same_extents(DhcCx *cx, const Term *t, int n, DhcSpan at) {
  for (int i = 0; i < n; i++)
    for (int a = 0; a < t[i].v->type.rank; a++)
      for (int j = 0; j < i; j++) {
        int k = label_at(&t[j], t[i].label[a]);
        if (k < 0 || t[j].v->type.dim[k] == t[i].v->type.dim[a]) continue;
        dhc_err(cx, "E0308", at, "einsum: '%c' is %s in operand %d and %s in operand %d", t[i].label[a],
                dhc_say_dim(cx, t[j].v->type.dim[k]), j + 1, dhc_say_dim(cx, t[i].v->type.dim[a]), i + 1);
        return false;
      }
  return true;
}

enum { MAX_EINSUM = 8 };

DhcVal dhc_einsum(DhcCx *cx, const char *spec, const DhcVal *args, int n, DhcSpan at) {
  const char *arrow = strstr(spec, "->"), *p = spec;
  Term t[MAX_EINSUM];
  memset(t, 0, sizeof t);
  if (!arrow || n < 1 || n > MAX_EINSUM) {
    dhc_err(cx, "E0306", at, "einsum: needs \"ab,bc->ac\" and 1 to %d operands", MAX_EINSUM);
    return dhc_v_error();
  }
  for (int i = 0; i < n; i++) {
    int len = (int)strcspn(p, ",-");
    if ((i < n - 1) != (p[len] == ',') || !parse_term(cx, &t[i], &args[i], p, len, i, at)) {
      if ((i < n - 1) != (p[len] == ','))
        dhc_err(cx, "E0306", at, "einsum: \"%s\" does not describe %d operands", spec, n);
      return dhc_v_error();
    }
    p += len + 1;
  }
  const char *out = arrow + 2;
  if (!same_extents(cx, t, n, at)) return dhc_v_error();
  for (const char *c = out; *c; c++) {
    bool found = false;
    for (int i = 0; i < n; i++) found = found || label_at(&t[i], *c) >= 0;
    if (!found || strchr(c + 1, *c)) {
      dhc_err(
          cx, "E0306", at,
          found ? "einsum: '%c' stands twice in the result" : "einsum: '%c' of the result is in no operand",
          *c);
      return dhc_v_error();
    }
  }
  /* Left to right; what later operands or the result need is kept. */
  for (int i = 0; i < n; i++) {
    char keep[MAX_EINSUM * (DHC_MAX_RANK + 1) + 64] = {0};
    snprintf(keep, sizeof keep, "%.60s", out);
    for (int j = i + 1; j < n; j++) strcat(keep, t[j].label);
    char both[sizeof keep + DHC_MAX_RANK + 1];
    snprintf(both, sizeof both, "%s%s", keep, i ? t[0].label : "");
    if (!sum_unused(cx, &t[i], both, at)) return dhc_v_error();
    if (i && !contract(cx, &t[0], &t[i], keep, at)) return dhc_v_error();
  }
  if (!sum_unused(cx, &t[0], out, at)) return dhc_v_error();
  int64_t perm[DHC_MAX_RANK];
  bool identity = true;
  for (int i = 0; i < t[0].v->type.rank; i++) {
    perm[i] = label_at(&t[0], out[i]);
    identity = identity && perm[i] == i;
  }
  return dhc_v_tensor(identity ? t[0].v : dhc_b_transpose(dhc_at(cx, at), t[0].v, perm));
}
