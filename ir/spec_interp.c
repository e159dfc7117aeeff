/* Reference meaning of kernel specs: every node as a dense array over the axes it varies
 * over, in double or int64; then the stores. Slow in memory, plain in meaning. */
#include <math.h>
#include <string.h>

#include "ir/interp.h"
#include "ir/spec.h"
#include "ir/sum.h"

typedef struct Run {
  const DhcSpec *s;
  void *const *ptr;
  const int64_t *dim;
  DhcArena *arena;
  int64_t extent[DHC_SPEC_MAX_AXES];
  uint32_t varies[DHC_SPEC_MAX_NODES];
  DhcScalar *value[DHC_SPEC_MAX_NODES];
} Run;

/* ---- walking ---------------------------------------------------------------- */

/* Index vector over a set of axes, row-major in axis order, with the positions it means
 * in up to 5 nodes' arrays. */
typedef struct Walk {
  int n;
  int axis[DHC_SPEC_MAX_AXES];
  int64_t extent[DHC_SPEC_MAX_AXES];
  int64_t idx[DHC_SPEC_MAX_AXES]; /* by axis number */
  int n_nodes;
  int64_t stride[5][DHC_SPEC_MAX_AXES]; /* by position in axis[] */
  int64_t at[5];
} Walk;

/* Stride of each axis of the spec in node n's array; 0 where it does not vary. */
static void node_strides(const Run *r, int n, int64_t *by_axis) {
  int64_t st = 1;
  memset(by_axis, 0, sizeof(int64_t) * DHC_SPEC_MAX_AXES);
  for (int a = r->s->n_axes - 1; a >= 0; a--) {
    if (!(r->varies[n] >> a & 1)) continue;
    by_axis[a] = st;
    st *= r->extent[a];
  }
}

/* False if there is nothing to walk over. */
static bool walk_start(Walk *w, const Run *r, uint32_t axes, const int *nodes, int n_nodes) {
  memset(w, 0, sizeof *w);
  bool any = true;
  for (int a = 0; a < r->s->n_axes; a++) {
    if (!(axes >> a & 1)) continue;
    w->axis[w->n] = a;
    w->extent[w->n++] = r->extent[a];
    any = any && r->extent[a] > 0;
  }
  w->n_nodes = n_nodes;
  for (int k = 0; k < n_nodes; k++) {
    int64_t by_axis[DHC_SPEC_MAX_AXES];
    node_strides(r, nodes[k], by_axis);
    for (int i = 0; i < w->n; i++) w->stride[k][i] = by_axis[w->axis[i]];
  }
  return any;
}

static bool walk_next(Walk *w) {
  for (int i = w->n - 1; i >= 0; i--) {
    int64_t *x = &w->idx[w->axis[i]];
    if (++*x < w->extent[i]) {
      for (int k = 0; k < w->n_nodes; k++) w->at[k] += w->stride[k][i];
      return true;
    }
    for (int k = 0; k < w->n_nodes; k++) w->at[k] -= w->stride[k][i] * (*x - 1);
    *x = 0;
  }
  return false;
}

/* ---- operands ---------------------------------------------------------------- */

/* Value of node n at the indices of a walk. */
static DhcScalar value_at(const Run *r, int n, const int64_t *idx) {
  int64_t by_axis[DHC_SPEC_MAX_AXES], at = 0;
  node_strides(r, n, by_axis);
  for (int a = 0; a < r->s->n_axes; a++) at += by_axis[a] * idx[a];
  return r->value[n][at];
}

/* Element of operand o's memory at idx; false: guarded off. */
static bool address(const Run *r, int o, const int64_t *idx, int64_t *out) {
  const DhcOperand *p = &r->s->operand[o];
  int64_t at = 0;
  if (dhc_tag_is_panel(p->tag)) {
    DhcTagShape x = dhc_tag_shape(r->s, o, r->dim);
    int axis[3];
    dhc_tag_axes(r->s, o, axis);
    *out = dhc_tag_index(p->tag, p->width, x.rows, x.cols, idx[axis[1]], idx[axis[2]]);
    if (axis[0] >= 0) *out += idx[axis[0]] * dhc_tag_elements(p->tag, p->width, x.rows, x.cols);
    return true;
  }
  for (int t = 0; t < p->n_terms; t++) {
    const DhcTerm *e = &p->term[t];
    int64_t x = 0;
    for (int i = 0; i < e->n_axes; i++) x += e->coef[i] * idx[e->axis[i]];
    if (e->index >= 0) x += value_at(r, e->index, idx).i;
    if (e->guarded) {
      const int64_t *arg = &r->dim[dhc_spec_offset_arg(r->s, o, t)];
      x += arg[0];
      if (x < 0 || x % e->div != 0) return false;
      x /= e->div;
      if (x >= arg[1]) return false;
    }
    int st = dhc_spec_stride_arg(r->s, o, t);
    at += x * (st < 0 ? 1 : r->dim[st]);
  }
  *out = at;
  return true;
}

static uint32_t out_axes(const Run *r, const DhcOperand *p) {
  uint32_t m = 0;
  for (int t = 0; t < p->n_terms; t++) {
    for (int i = 0; i < p->term[t].n_axes; i++) m |= 1u << p->term[t].axis[i];
    if (p->term[t].index >= 0) m |= r->varies[p->term[t].index];
  }
  return m;
}

/* ---- folds ------------------------------------------------------------------- */

/* One fold over the walk's axes from its start; at[] of node k lies at base[k]. */
static DhcScalar fold(const Run *r, const DhcSpecNode *d, Walk *w, const int64_t *base, bool any) {
  const DhcScalar *x = r->value[d->a[0]], *y = d->a[1] >= 0 ? r->value[d->a[1]] : NULL;
  dhc_dtype t = r->s->node[d->a[0]].dtype;
  bool is_float = dhc_dtype_is_float(t), largest = d->op != DHC_OP_REDUCE_MIN;
  DhcSum sum = {0};
  DhcDotSum dot = {0};
  DhcScalar acc = {.i = 0}, best;
  if (is_float) best.f = largest ? -INFINITY : INFINITY;
  else best.i = largest ? INT64_MIN : INT64_MAX;
  int64_t n = 0, arg = 0;
  bool have = false;
  if (is_float) acc.f = 0;
  if (any) {
    do {
      DhcScalar v = x[base[0] + w->at[0]];
      switch (d->op) {
        case DHC_OP_DOT_GENERAL: dhc_dot_add(&dot, v.f, y[base[1] + w->at[1]].f); break;
        case DHC_OP_ADD:
          if (is_float) acc.f += v.f;
          else acc.i = dhc_eval_wrap(t, (int64_t)((uint64_t)acc.i + (uint64_t)v.i));
          break;
        case DHC_OP_REDUCE_SUM:
          if (is_float) dhc_sum_add(&sum, v.f);
          else acc.i = dhc_eval_wrap(t, (int64_t)((uint64_t)acc.i + (uint64_t)v.i));
          break;
        default: { /* max, min, argmax: NaN wins, then the first extreme */
          bool better = !have;
          if (have && is_float)
            better = !isnan(best.f) && (isnan(v.f) || (largest ? v.f > best.f : v.f < best.f));
          else if (have)
            better = largest ? v.i > best.i : v.i < best.i;
          if (better) best = v, arg = n;
          have = true;
        }
      }
      n++;
    } while (walk_next(w));
  }
  if (d->op == DHC_OP_REDUCE_SUM && is_float) acc.f = dhc_sum_end(&sum);
  if (d->op == DHC_OP_DOT_GENERAL) acc.f = dhc_dot_end(&dot);
  if (dhc_op_folds(d->op) && d->op != DHC_OP_REDUCE_SUM) return best;
  if (d->op == DHC_OP_ARGMAX) acc.i = arg;
  return acc;
}

static void run_fold(Run *r, int n) {
  const DhcSpecNode *d = &r->s->node[n];
  int outer[3] = {n, d->a[0], d->a[1] >= 0 ? d->a[1] : d->a[0]};
  Walk w, in;
  if (!walk_start(&w, r, r->varies[n], outer, 3)) return;
  do {
    bool any = walk_start(&in, r, d->axes, outer + 1, 2);
    r->value[n][w.at[0]] = fold(r, d, &in, w.at + 1, any);
  } while (walk_next(&w));
}

/* ---- nodes ------------------------------------------------------------------- */

static DhcScalar store_round(dhc_dtype t, DhcScalar v) {
  if (!dhc_dtype_is_float(t)) v.i = dhc_eval_wrap(t, v.i);
  return v;
}

static void run_scan(Run *r, int n) {
  const DhcSpecNode *d = &r->s->node[n];
  int nodes[4] = {n, d->a[0], d->a[1], d->a[2]};
  int seq = 0;
  while (r->s->axis[seq].role != DHC_AXIS_SEQ) seq++;
  int64_t length = r->extent[seq], st[4][DHC_SPEC_MAX_AXES];
  for (int k = 0; k < 4; k++) node_strides(r, nodes[k], st[k]);
  bool back = d->i & DHC_SCAN_BACK, reverse = (r->s->n_attrs > 0 && r->s->attr[0]) != back;
  Walk w;
  if (!walk_start(&w, r, r->varies[n] & ~(1u << seq), nodes, 4)) return;
  do {
    double h = r->value[d->a[2]][w.at[3]].f;
    for (int64_t i = 0; i < length; i++) {
      int64_t t = reverse ? length - 1 - i : i;
      double a = r->value[d->a[0]][w.at[1] + t * st[1][seq]].f, b = r->value[d->a[1]][w.at[2] + t * st[2][seq]].f;
      if (back) h += b;
      else h = d->i & DHC_SCAN_FORGET && a == 0 ? b : fma(a, h, b);
      if (d->i & DHC_SCAN_FLUSH && fabs(h) < dhc_dtype_least_normal(d->dtype)) h = 0;
      r->value[n][w.at[0] + t * st[0][seq]].f = h;
      if (back) h *= a;
    }
  } while (walk_next(&w));
}

static void run_before(Run *r, int n) {
  int scan = r->s->node[n].a[0], nodes[3] = {n, scan, r->s->node[scan].a[2]}, seq = 0;
  while (r->s->axis[seq].role != DHC_AXIS_SEQ) seq++;
  bool back = r->s->node[scan].i & DHC_SCAN_BACK, reverse = (r->s->n_attrs > 0 && r->s->attr[0]) != back;
  int64_t st[DHC_SPEC_MAX_AXES];
  node_strides(r, scan, st);
  Walk w;
  if (!walk_start(&w, r, r->varies[n], nodes, 3)) return;
  do {
    bool first = w.idx[seq] == (reverse ? r->extent[seq] - 1 : 0);
    r->value[n][w.at[0]] = first ? r->value[nodes[2]][w.at[2]] : r->value[scan][w.at[1] + (reverse ? st[seq] : -st[seq])];
  } while (walk_next(&w));
}

static DhcScalar node_value(const Run *r, const DhcSpecNode *d, const Walk *w) {
  DhcScalar v = {.i = 0}, a[4];
  for (int k = 0; k < 4 && d->a[k] >= 0; k++) a[k] = r->value[d->a[k]][w->at[1 + k]];
  int64_t at;
  switch (d->kind) {
    case DHC_SN_LOAD:
      if (dhc_dtype_is_float(d->dtype)) v.f = 0;
      if (!address(r, d->operand, w->idx, &at)) return v;
      if (dhc_dtype_is_float(d->dtype)) v.f = ((const double *)r->ptr[d->operand])[at];
      else v.i = ((const int64_t *)r->ptr[d->operand])[at];
      return v;
    case DHC_SN_AXIS: v.i = w->idx[d->operand]; return v;
    case DHC_SN_ARG: v.i = r->dim[dhc_spec_extra_arg(r->s, d->operand)]; return v;
    case DHC_SN_CONST:
      if (dhc_dtype_is_float(d->dtype)) v.f = d->f;
      else v.i = d->i;
      return v;
    case DHC_SN_EW:
      if (d->op == DHC_OP_CAST) return dhc_eval_cast(r->s->node[d->a[0]].dtype, d->dtype, a[0]);
      {
        int last = dhc_op_info(d->op)->n_args - 1;
        return dhc_eval_ew(d->op, r->s->node[d->a[last]].dtype, a);
      }
    case DHC_SN_RANDOM: v.i = dhc_eval_random(a[0].i, a[1].i, a[2].i, a[3].i); return v;
    case DHC_SN_FOLD:
    case DHC_SN_SCAN:
    case DHC_SN_BEFORE: break;
  }
  DHC_BUG("spec node kind %d", (int)d->kind);
}

static void run_node(Run *r, int n) {
  const DhcSpecNode *d = &r->s->node[n];
  int64_t size = 1;
  for (int a = 0; a < r->s->n_axes; a++)
    if (r->varies[n] >> a & 1) size *= r->extent[a];
  r->value[n] = DHC_NEW_N(r->arena, DhcScalar, size ? size : 1);
  if (d->kind == DHC_SN_FOLD) {
    run_fold(r, n);
    return;
  }
  if (d->kind == DHC_SN_SCAN) {
    run_scan(r, n);
    return;
  }
  if (d->kind == DHC_SN_BEFORE) {
    run_before(r, n);
    return;
  }
  int nodes[5] = {n, n, n, n, n}, k = 0;
  while (k < 4 && d->a[k] >= 0) nodes[1 + k] = d->a[k], k++;
  Walk w;
  if (!walk_start(&w, r, r->varies[n], nodes, 1 + k)) return;
  do r->value[n][w.at[0]] = node_value(r, d, &w);
  while (walk_next(&w));
}

static void run_store(Run *r, int o) {
  const DhcOperand *p = &r->s->operand[o];
  bool add = r->s->kind == DHC_KIND_SCATTER, is_float = dhc_dtype_is_float(p->dtype);
  uint32_t axes = out_axes(r, p);
  if (add) axes |= r->varies[p->stored];
  Walk w;
  const DhcSpecNode *d = &r->s->node[p->stored];
  bool back = d->kind == DHC_SN_SCAN && d->i & DHC_SCAN_BACK, carry = false;
  int nodes[2] = {p->stored, back ? d->a[0] : p->stored};
  int64_t last[2] = {0, 0}, st[DHC_SPEC_MAX_AXES]; /* of a recurrence without its steps: the last one */
  for (int k = 0; k < 2; k++) {
    node_strides(r, nodes[k], st);
    for (int a = 0; a < r->s->n_axes; a++)
      if (r->s->axis[a].role == DHC_AXIS_SEQ && !(axes >> a & 1)) {
        if ((r->s->attr[0] != 0) == back) last[k] = (r->extent[a] - 1) * st[a];
        carry = back;
      }
  }
  if (!walk_start(&w, r, axes, nodes, 2)) return;
  do {
    int64_t at;
    if (!address(r, o, w.idx, &at)) continue;
    DhcScalar v = store_round(p->dtype, r->value[p->stored][w.at[0] + last[0]]);
    if (carry) v.f *= r->value[nodes[1]][w.at[1] + last[1]].f;
    if (is_float) {
      double *to = (double *)r->ptr[o] + at;
      *to = add ? *to + v.f : v.f;
    } else {
      int64_t *to = (int64_t *)r->ptr[o] + at;
      *to = add ? dhc_eval_wrap(p->dtype, (int64_t)((uint64_t)*to + (uint64_t)v.i)) : v.i;
    }
  } while (walk_next(&w));
}

static void dhc_spec_interp_dag(const DhcSpec *s, void *const *ptr, const int64_t *dim, DhcArena *scratch) {
  Run *r = DHC_NEW(scratch, Run);
  r->s = s;
  r->ptr = ptr;
  r->dim = dim;
  r->arena = scratch;
  for (int a = 0; a < s->n_axes; a++)
    r->extent[a] = s->axis[a].extent ? s->axis[a].extent : dim[dhc_spec_extent_arg(s, a)];
  for (int n = 0; n < s->n_nodes; n++) r->varies[n] = dhc_spec_varies(s, n);
  for (int n = 0; n < s->n_nodes; n++) run_node(r, n);
  for (int o = dhc_spec_n_inputs(s); o < s->n_operands; o++) run_store(r, o);
}

void dhc_spec_interp(const DhcSpec *s, void *const *ptr, const int64_t *dim, DhcArena *scratch) {
  static void (*const of_kind[DHC_N_KINDS])(const DhcSpec *, void *const *, const int64_t *, DhcArena *) = {
#define KIND(id, name, interp, ...) [DHC_KIND_##id] = interp,
#include "ir/kinds.def"
  };
  of_kind[s->kind](s, ptr, dim, scratch);
}
