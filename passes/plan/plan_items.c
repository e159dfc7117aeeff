/* Buffers and items as they are written, and the small map kernels that planning itself
 * needs: strided copies, constants. */
#include <math.h>

#include "passes/plan/plan_internal.h"

int dhc_pl_buffer(Pl *p, dhc_segment segment, dhc_dtype t, const DhcDim *bytes) {
  PlBuf b = {.segment = segment, .dtype = t, .bytes = bytes, .parent = -1, .row = -1};
  DHC_PUSH(p->arena, &p->bufs, b);
  return p->bufs.n - 1;
}

const DhcDim *dhc_pl_bytes(Pl *p, const DhcType *t) {
  return dhc_dim_mulc(p->cx, dhc_type_elements(p->cx, t), dhc_dtype_bytes(t->dtype));
}

PlItem *dhc_pl_item(Pl *p, dhc_item_kind kind, int n_refs) {
  PlItem it = {.kind = kind, .n_refs = n_refs, .loop = p->loop, .depth = p->depth, .span = p->span, .label = p->label};
  it.refs = DHC_NEW_N(p->arena, PlRef, n_refs + 1);
  DHC_PUSH(p->arena, &p->items, it);
  return &p->items.at[p->items.n - 1];
}

PlRef dhc_pl_ref(Pl *p, const PlVal *v, bool write) {
  int64_t size = dhc_dtype_bytes(v->type.dtype);
  PlRef r = {.buf = v->buf, .offset = dhc_dim_mulc(p->cx, v->offset, size), .write = write};
  for (int d = 0; d < DHC_MAX_LOOP_DEPTH; d++)
    if (v->step[d]) r.step[d] = dhc_dim_mulc(p->cx, v->step[d], size);
  r.lo = r.offset;
  r.hi = dhc_dim_add(p->cx, r.offset, dhc_pl_bytes(p, &v->type));
  return r;
}

/* ---- calls ------------------------------------------------------------------------- */

static const DhcDim *axis_extent(Pl *p, const PlItem *it, int axis) {
  int at = dhc_spec_extent_arg(it->spec, axis);
  return at < 0 ? dhc_dim_const(p->cx, it->spec->axis[axis].extent) : it->dims[at];
}

/* Largest index of a term, NULL if it is not known. */
static const DhcDim *last_index(Pl *p, const PlItem *it, int operand, int term) {
  const DhcTerm *t = &it->spec->operand[operand].term[term];
  if (t->guarded) {
    int at = dhc_spec_offset_arg(it->spec, operand, term);
    return dhc_dim_addc(p->cx, it->dims[at + 1], -1);
  }
  if (t->index >= 0) return NULL;
  const DhcDim *sum = dhc_dim_const(p->cx, 0);
  for (int a = 0; a < t->n_axes; a++) {
    if (t->coef[a] < 0) return NULL;
    const DhcDim *last = dhc_dim_addc(p->cx, axis_extent(p, it, t->axis[a]), -1);
    sum = dhc_dim_add(p->cx, sum, dhc_dim_mulc(p->cx, last, t->coef[a]));
  }
  return sum;
}

/* Narrows [lo, hi) of a reference to what the operand's terms reach; all of the buffer where
 * that is not known. */
static void find_range(Pl *p, const PlItem *it, int operand, PlRef *r) {
  const DhcOperand *o = &it->spec->operand[operand];
  const DhcDim *zero = dhc_dim_const(p->cx, 0), *low = zero, *high = zero;
  int64_t size = dhc_dtype_bytes(o->dtype);
  r->lo = zero;
  r->hi = p->bufs.at[r->buf].bytes;
  for (int t = 0; t < o->n_terms; t++) {
    int at = dhc_spec_stride_arg(it->spec, operand, t);
    const DhcDim *stride = at < 0 ? dhc_dim_const(p->cx, 1) : it->dims[at], *last = last_index(p, it, operand, t);
    if (!last) return;
    const DhcDim *reach = dhc_dim_mul(p->cx, last, stride);
    if (dhc_dim_le(p->cx, p->facts, zero, stride) == DHC_TRUE)
      high = dhc_dim_add(p->cx, high, reach);
    else if (dhc_dim_le(p->cx, p->facts, stride, zero) == DHC_TRUE)
      low = dhc_dim_add(p->cx, low, reach);
    else
      return;
  }
  r->lo = dhc_dim_add(p->cx, r->offset, dhc_dim_mulc(p->cx, low, size));
  r->hi = dhc_dim_add(p->cx, r->offset, dhc_dim_mulc(p->cx, dhc_dim_addc(p->cx, high, 1), size));
}

/* One axis that every operand walks as it lies in memory, or none: *count elements. */
static bool is_linear(Pl *p, const DhcSpec *s, const DhcDim *const *dims, const DhcDim **count) {
  if (s->kind != DHC_KIND_MAP || s->n_axes > 1 || s->n_nodes != 1 || s->n_args) return false;
  *count = dhc_dim_const(p->cx, 1);
  if (s->n_axes) *count = s->axis[0].extent ? dhc_dim_const(p->cx, s->axis[0].extent) : dims[0];
  for (int o = 0; o < s->n_operands; o++) {
    const DhcTerm *t = &s->operand[o].term[0];
    if (s->operand[o].n_terms != s->n_axes) return false;
    if (s->n_axes && (t->guarded || t->index >= 0 || !t->unit || t->n_axes != 1 || t->coef[0] != 1)) return false;
  }
  return true;
}

static PlRef shifted(Pl *p, const PlVal *v, bool write, const DhcDim *offset, const DhcDim *count) {
  PlVal part = *v;
  part.type.rank = 1;
  part.type.dim[0] = count;
  if (offset) part.offset = dhc_dim_add(p->cx, part.offset, offset);
  return dhc_pl_ref(p, &part, write);
}

/* A kernel that only copies is a copy: merging may then make it nothing. */
static bool call_as_copy(Pl *p, const DhcSpec *s, const DhcDim *const *dims, const PlVal *operand,
                         const DhcDim *const *offset) {
  const DhcDim *count;
  if (s->n_operands != 2 || !is_linear(p, s, dims, &count) || s->node[0].kind != DHC_SN_LOAD) return false;
  PlItem *it = dhc_pl_item(p, DHC_ITEM_COPY, 2);
  for (int o = 0; o < 2; o++) it->refs[o] = shifted(p, &operand[o], o == 1, offset ? offset[o] : NULL, count);
  it->bytes = dhc_dim_mulc(p->cx, count, dhc_dtype_bytes(s->operand[0].dtype));
  it->moves = true;
  return true;
}

bool dhc_pl_constant(Pl *p, const DhcSpec *s, const DhcDim *const *dims, const PlVal *v, double *value) {
  const DhcDim *count;
  if (s->n_operands != 1 || !is_linear(p, s, dims, &count) || s->node[0].kind != DHC_SN_CONST) return false;
  *value = dhc_dtype_is_float(s->node[0].dtype) ? s->node[0].f : (double)s->node[0].i;
  return count == dhc_type_elements(p->cx, &v->type);
}

void dhc_pl_call(Pl *p, const DhcSpec *s, const DhcDim *const *dims, const PlVal *operand,
                 const DhcDim *const *offset) {
  if (call_as_copy(p, s, dims, operand, offset)) return;
  PlItem *it = dhc_pl_item(p, DHC_ITEM_CALL, s->n_operands);
  it->spec = s;
  it->dims = dims;
  it->n_dims = dhc_spec_n_dims(s);
  for (int o = 0; o < s->n_operands; o++) {
    it->refs[o] = dhc_pl_ref(p, &operand[o], s->operand[o].out);
    if (offset)
      it->refs[o].offset = dhc_dim_add(p->cx, it->refs[o].offset, dhc_dim_mulc(p->cx, offset[o], dhc_dtype_bytes(s->operand[o].dtype)));
    find_range(p, it, o, &it->refs[o]);
  }
}

/* What an updating contraction multiplies is read many times; what only its results take, where these are stored. */
static bool goes_by_elements(const DhcSpec *s, int in) {
  return s->kind == DHC_KIND_MAP || (dhc_spec_updates(s) >= 0 && !dhc_spec_is_folded(s, in));
}

bool dhc_pl_same_walk(const PlItem *it, int in, int out) {
  if (it->kind == DHC_ITEM_COPY) return true;
  if (it->kind != DHC_ITEM_CALL || !goes_by_elements(it->spec, in)) return false;
  const DhcOperand *a = &it->spec->operand[in], *b = &it->spec->operand[out];
  if (a->n_terms != b->n_terms || dhc_dtype_bytes(a->dtype) != dhc_dtype_bytes(b->dtype)) return false;
  for (int k = 0; k < a->n_terms; k++) {
    const DhcTerm *s = &a->term[k], *t = &b->term[k];
    if (s->guarded || t->guarded || s->index >= 0 || t->index >= 0 || s->n_axes != 1 || t->n_axes != 1 ||
        s->axis[0] != t->axis[0] || s->coef[0] != t->coef[0] || s->unit != t->unit)
      return false;
    if (!s->unit && it->dims[dhc_spec_stride_arg(it->spec, in, k)] != it->dims[dhc_spec_stride_arg(it->spec, out, k)])
      return false;
  }
  return true;
}

/* ---- kernels of our own ---------------------------------------------------------------- */

const DhcSpec *dhc_pl_intern(Pl *p, const DhcSpec *s) {
  for (int i = 0; i < p->m->specs.n; i++)
    if (dhc_spec_equal(p->m->specs.at[i], s)) return p->m->specs.at[i];
  const char *why = "";
  if (!dhc_spec_verify(s, p->arena, &why)) DHC_BUG("plan made a wrong spec: %s", why);
  DHC_PUSH(p->m->arena, &p->m->specs, s);
  return s;
}

static int add_node(DhcSpec *s, DhcSpecNodeKind kind, DhcOp op, dhc_dtype t, int a, int b, int c) {
  s->node[s->n_nodes] = (DhcSpecNode){.kind = kind, .op = op, .dtype = t, .a = {a, b, c, -1}};
  return s->n_nodes++;
}

/* Region walked by a map kernel: dims of extent 1 gone, neighbours that all operands walk as
 * one joined. stride[0] is the destination's, stride[1] the source's. */
typedef struct Walk {
  int rank;
  const DhcDim *dim[DHC_MAX_RANK], *stride[2][DHC_MAX_RANK];
} Walk;

static Walk walk_of(Pl *p, const PlVal *dst, const PlVal *src) {
  Walk w = {0};
  for (int d = 0; d < dst->type.rank; d++) {
    const DhcDim *n = dst->type.dim[d], *stride[2] = {dst->stride[d], src->stride[d]};
    if (dhc_dim_is(n, 1)) continue;
    int k = w.rank - 1;
    if (k >= 0 && w.stride[0][k] == dhc_dim_mul(p->cx, stride[0], n) &&
        w.stride[1][k] == dhc_dim_mul(p->cx, stride[1], n)) {
      w.dim[k] = dhc_dim_mul(p->cx, w.dim[k], n);
    } else {
      k = w.rank++;
      w.dim[k] = n;
    }
    for (int o = 0; o < 2; o++) w.stride[o][k] = stride[o];
  }
  return w;
}

/* Axes and one operand of a map over w; its arguments go behind *n_dims. */
static void walk_axes(DhcSpec *s, const Walk *w, const DhcDim **dims, int *n_dims) {
  s->n_axes = w->rank;
  for (int d = 0; d < w->rank; d++) {
    s->axis[d].role = DHC_AXIS_PAR;
    dims[(*n_dims)++] = w->dim[d];
  }
}

static void walk_operand(DhcSpec *s, const Walk *w, int side, dhc_dtype t, int stored, const DhcDim **dims, int *n_dims) {
  DhcOperand *o = &s->operand[s->n_operands++];
  *o = (DhcOperand){.dtype = t, .out = stored >= 0, .stored = stored};
  for (int d = 0; d < w->rank; d++) {
    const DhcDim *stride = w->stride[side][d];
    if (dhc_dim_is(stride, 0)) continue;
    bool unit = dhc_dim_is(stride, 1);
    o->term[o->n_terms++] = (DhcTerm){.n_axes = 1, .axis = {d}, .coef = {1}, .div = 1, .index = -1, .unit = unit};
    if (!unit) dims[(*n_dims)++] = stride;
  }
}

static DhcSpec *new_map(Pl *p, int max_nodes) {
  DhcSpec *s = DHC_NEW(p->m->arena, DhcSpec);
  s->kind = DHC_KIND_MAP;
  s->node = DHC_NEW_N(p->m->arena, DhcSpecNode, max_nodes);
  return s;
}

void dhc_pl_move(Pl *p, const PlVal *dst, const PlVal *src) {
  dhc_dtype t = dst->type.dtype;
  Walk w = walk_of(p, dst, src);
  if (p->bufs.at[src->buf].constant && dhc_pl_is_dense(p, dst)) {
    dhc_pl_fill(p, dst, p->bufs.at[src->buf].value);
    return;
  }
  bool linear = w.rank == 0 || (w.rank == 1 && dhc_dim_is(w.stride[0][0], 1) && dhc_dim_is(w.stride[1][0], 1));
  if (linear) {
    PlItem *it = dhc_pl_item(p, DHC_ITEM_COPY, 2);
    it->refs[0] = dhc_pl_ref(p, src, false);
    it->refs[1] = dhc_pl_ref(p, dst, true);
    it->bytes = dhc_pl_bytes(p, &dst->type);
    it->moves = true;
    return;
  }
  DhcSpec *s = new_map(p, 1);
  const DhcDim **dims = DHC_NEW_N(p->arena, const DhcDim *, 3 * DHC_MAX_RANK);
  int n_dims = 0;
  walk_axes(s, &w, dims, &n_dims);
  int x = add_node(s, DHC_SN_LOAD, 0, t, -1, -1, -1);
  walk_operand(s, &w, 1, t, -1, dims, &n_dims);
  walk_operand(s, &w, 0, t, x, dims, &n_dims);
  PlVal operand[2] = {*src, *dst};
  dhc_pl_call(p, dhc_pl_intern(p, s), dims, operand, NULL);
}

/* The value as four bytes repeated; false where it cannot be one pattern. */
static bool pattern_of(dhc_dtype t, double value, uint32_t *out) {
  float f = (float)value;
  *out = 0;
  switch (t) {
    case DHC_F32: memcpy(out, &f, 4); return true;
    case DHC_I32:
    case DHC_U32: *out = (uint32_t)dhc_dtype_from_double(t, value); return true;
    case DHC_I64: return value == 0;
    case DHC_F64: return value == 0 && !signbit(value);
    default: return false; /* fills come in units of four bytes */
  }
}

void dhc_pl_fill(Pl *p, const PlVal *v, double value) {
  dhc_dtype t = v->type.dtype;
  uint32_t pattern;
  if (pattern_of(t, value, &pattern)) {
    PlItem *it = dhc_pl_item(p, DHC_ITEM_FILL, 1);
    it->refs[0] = dhc_pl_ref(p, v, true);
    it->bytes = dhc_pl_bytes(p, &v->type);
    it->pattern = pattern;
    return;
  }
  DhcSpec *s = new_map(p, 1);
  const DhcDim **dims = DHC_NEW_N(p->arena, const DhcDim *, 3 * DHC_MAX_RANK);
  int n_dims = 0;
  Walk w = walk_of(p, v, v);
  walk_axes(s, &w, dims, &n_dims);
  int x = add_node(s, DHC_SN_CONST, 0, t, -1, -1, -1);
  if (dhc_dtype_is_float(t))
    s->node[x].f = value;
  else
    s->node[x].i = dhc_dtype_from_double(t, value);
  walk_operand(s, &w, 0, t, x, dims, &n_dims);
  dhc_pl_call(p, dhc_pl_intern(p, s), dims, v, NULL);
}
