/* A kernel while it is written, and its way to a canonical spec: unused nodes go, axes that
 * everything walks as one are merged, linear forms become nodes and terms. */
#include <string.h>

#include "passes/fuse/fuse_internal.h"

static DhcDims *dims(const FuKernel *k) {
  return k->fu->m->dims;
}

int dhc_fu_fail(FuKernel *k, DhcValue *force) {
  k->failed = true;
  if (!k->force) k->force = force;
  return -1;
}

int dhc_fu_full(FuKernel *k) {
  k->full = true;
  return dhc_fu_fail(k, NULL);
}

/* ---- nodes ------------------------------------------------------------------- */

static int push_node(FuKernel *k, const DhcSpecNode *d) {
  if (k->n_nodes == DHC_SPEC_MAX_NODES) return dhc_fu_full(k);
  k->node[k->n_nodes] = *d;
  k->lin[k->n_nodes] = NULL;
  return k->n_nodes++;
}

/* The node equal to d made before, or a new one. */
static int intern_node(FuKernel *k, const DhcSpecNode *d) {
  for (int n = 0; n < k->n_nodes; n++) {
    const DhcSpecNode *e = &k->node[n];
    if (e->kind == d->kind && e->op == d->op && e->dtype == d->dtype && e->operand == d->operand &&
        e->axes == d->axes && e->i == d->i && memcmp(&e->f, &d->f, sizeof e->f) == 0 &&
        memcmp(e->a, d->a, sizeof e->a) == 0 && !k->lin[n])
      return n;
  }
  return push_node(k, d);
}

int dhc_fu_node(FuKernel *k, DhcSpecNodeKind kind, DhcOp op, dhc_dtype t, const int *a, int n) {
  DhcSpecNode d = {.kind = kind, .op = op, .dtype = t, .a = {-1, -1, -1, -1}};
  for (int i = 0; i < n; i++) {
    if (a[i] < 0) return -1;
    d.a[i] = a[i];
  }
  return intern_node(k, &d);
}

int dhc_fu_fold_node(FuKernel *k, DhcOp op, dhc_dtype t, const int *a, int n, uint32_t axes) {
  DhcSpecNode d = {.kind = DHC_SN_FOLD, .op = op, .dtype = t, .a = {-1, -1, -1, -1}, .axes = axes};
  for (int i = 0; i < n; i++) {
    if (a[i] < 0) return -1;
    d.a[i] = a[i];
  }
  return intern_node(k, &d);
}

int dhc_fu_scan_node(FuKernel *k, dhc_dtype t, const int a[3], int bits) {
  DhcSpecNode d = {.kind = DHC_SN_SCAN, .op = DHC_OP_LINEAR_SCAN, .dtype = t, .a = {a[0], a[1], a[2], -1}, .i = bits};
  return a[0] < 0 || a[1] < 0 || a[2] < 0 ? -1 : intern_node(k, &d);
}

int dhc_fu_const_node(FuKernel *k, dhc_dtype t, double f, int64_t i) {
  bool is_float = dhc_dtype_is_float(t);
  DhcSpecNode d = {.kind = DHC_SN_CONST, .dtype = t, .a = {-1, -1, -1, -1}, .f = is_float ? f : 0, .i = is_float ? 0 : i};
  return intern_node(k, &d);
}

int dhc_fu_arg_node(FuKernel *k, const DhcDim *d) {
  int i = 0;
  while (i < k->n_args && k->arg[i] != d) i++;
  if (i == (int)(sizeof k->arg / sizeof *k->arg)) return dhc_fu_full(k);
  if (i == k->n_args) k->arg[k->n_args++] = d;
  DhcSpecNode n = {.kind = DHC_SN_ARG, .dtype = DHC_I64, .a = {-1, -1, -1, -1}, .operand = i};
  return intern_node(k, &n);
}

int dhc_fu_lin_node(FuKernel *k, const FuForm *f) {
  if (f->n == 0 && f->node >= 0 && dhc_dim_is(f->c, 0)) return f->node;
  if (f->n == 0 && f->node < 0 && dhc_dim_is(f->c, 0)) return dhc_fu_const_node(k, DHC_I64, 0, 0);
  for (int n = 0; n < k->n_nodes; n++)
    if (k->lin[n] && dhc_fu_equal(k->lin[n], f)) return n;
  DhcSpecNode d = {.kind = DHC_SN_AXIS, .dtype = DHC_I64, .a = {-1, -1, -1, -1}};
  int n = push_node(k, &d);
  if (n >= 0) k->lin[n] = dhc_arena_dup(k->fu->scratch, f, sizeof *f);
  return n;
}

/* ---- operands ------------------------------------------------------------------ */

static bool constant_coefs(const FuForm *f) {
  for (int i = 0; i < f->n; i++)
    if (!dhc_dim_is_const(f->coef[i], NULL)) return false;
  return f->n <= 4;
}

/* Splits indices into the plain part and terms of their own. */
static bool address(FuKernel *k, FuOperand *o, const DhcType *t, const FuIx *ix) {
  const DhcDim *stride = dhc_dim_const(dims(k), 1);
  o->plain = dhc_fu_const(dims(k), NULL);
  for (int d = t->rank - 1; d >= 0; d--) {
    FuForm f = ix[d].f;
    if (ix[d].guarded || f.node >= 0) {
      if (o->n_terms == DHC_SPEC_MAX_TERMS) return false;
      /* terms in the order of dims */
      memmove(o->term + 1, o->term, sizeof *o->term * (size_t)o->n_terms);
      FuTerm *e = &o->term[0];
      o->n_terms++;
      *e = (FuTerm){.f = f, .div = ix[d].guarded ? ix[d].div : 1, .guarded = ix[d].guarded,
                    .extent = ix[d].extent, .stride = stride};
      if (!ix[d].guarded) {
        e->f = dhc_fu_const(dims(k), NULL);
        e->f.node = f.node;
        f.node = -1;
      } else {
        if (!constant_coefs(&f)) return false;
        f = dhc_fu_const(dims(k), NULL);
      }
    }
    f = dhc_fu_scale(dims(k), &f, stride);
    o->plain = dhc_fu_add(dims(k), &o->plain, &f);
    stride = dhc_dim_mul(dims(k), stride, t->dim[d]);
  }
  return true;
}

/* The same for v where it lies in memory, shaped as `t`. */
static bool place_of(FuKernel *k, FuOperand *o, const DhcValue *v, const DhcType *t, const FuIx *ix) {
  if (!dhc_fu_of(k->fu, v)->swapped) return address(k, o, t, ix);
  DhcType in_memory = *t;
  FuIx at[DHC_MAX_RANK];
  int last = t->rank - 1;
  memcpy(at, ix, sizeof *ix * (size_t)t->rank);
  in_memory.dim[last] = t->dim[last - 1];
  in_memory.dim[last - 1] = t->dim[last];
  at[last] = ix[last - 1];
  at[last - 1] = ix[last];
  return address(k, o, &in_memory, at);
}

static bool operand_equal(const FuOperand *a, const FuOperand *b) {
  if (a->value != b->value || a->out != b->out || a->n_terms != b->n_terms || !dhc_fu_equal(&a->plain, &b->plain))
    return false;
  for (int t = 0; t < a->n_terms; t++) {
    const FuTerm *x = &a->term[t], *y = &b->term[t];
    if (!dhc_fu_equal(&x->f, &y->f) || x->div != y->div || x->guarded != y->guarded ||
        x->extent != y->extent || x->stride != y->stride)
      return false;
  }
  return true;
}

static int load_operand(FuKernel *k, const FuOperand *o) {
  int i = 0;
  while (i < k->n_operands && !operand_equal(&k->operand[i], o)) i++;
  if (i == DHC_SPEC_MAX_OPERANDS) return dhc_fu_full(k);
  if (i == k->n_operands) k->operand[k->n_operands++] = *o;
  DhcSpecNode d = {.kind = DHC_SN_LOAD, .dtype = o->dtype, .a = {-1, -1, -1, -1}, .operand = i};
  return intern_node(k, &d);
}

int dhc_fu_load_node(FuKernel *k, DhcValue *v, const FuIx *ix) {
  FuOperand o = {.value = v, .dtype = v->type.dtype, .stored = -1};
  if (!place_of(k, &o, v, &v->type, ix)) return dhc_fu_fail(k, NULL);
  return load_operand(k, &o);
}

int dhc_fu_load_flat(FuKernel *k, DhcValue *v, const FuForm *flat) {
  DhcType line = {.dtype = v->type.dtype, .rank = 1};
  FuIx ix = dhc_fu_plain(*flat);
  FuOperand o = {.value = v, .dtype = v->type.dtype, .stored = -1};
  line.dim[0] = dhc_dim_const(dims(k), 0);
  if (!address(k, &o, &line, &ix)) return dhc_fu_fail(k, NULL);
  return load_operand(k, &o);
}

bool dhc_fu_store(FuKernel *k, DhcValue *v, const DhcType *type, const FuIx *ix, int node) {
  FuOperand o = {.value = v, .dtype = v->type.dtype, .out = true, .stored = node};
  if (node < 0 || !place_of(k, &o, v, type, ix)) return false;
  if (k->n_operands == DHC_SPEC_MAX_OPERANDS) {
    dhc_fu_full(k);
    return false;
  }
  k->operand[k->n_operands++] = o;
  return true;
}

/* ---- clean-up -------------------------------------------------------------------- */

static void mark(const FuKernel *k, int n, bool *live, bool *used) {
  if (n < 0 || live[n]) return;
  live[n] = true;
  const DhcSpecNode *d = &k->node[n];
  for (int i = 0; i < 4; i++) mark(k, d->a[i], live, used);
  if (k->lin[n]) mark(k, k->lin[n]->node, live, used);
  if (d->kind != DHC_SN_LOAD) return;
  used[d->operand] = true;
  for (int t = 0; t < k->operand[d->operand].n_terms; t++)
    mark(k, k->operand[d->operand].term[t].f.node, live, used);
}

/* Every form an axis can occur in. */
static int all_forms(FuKernel *k, const bool *live, const bool *used, FuForm **out) {
  int n = 0;
  for (int i = 0; i < k->n_nodes; i++)
    if (live[i] && k->lin[i]) out[n++] = k->lin[i];
  for (int o = 0; o < k->n_operands; o++) {
    if (!used[o]) continue;
    out[n++] = &k->operand[o].plain;
    for (int t = 0; t < k->operand[o].n_terms; t++) out[n++] = &k->operand[o].term[t].f;
  }
  return n;
}

static const DhcDim *coef_of(const FuForm *f, int axis) {
  for (int i = 0; i < f->n; i++)
    if (f->axis[i] == axis) return f->coef[i];
  return NULL;
}

/* a (outer) and b (inner) are walked as one by all forms and folds. */
static bool can_merge(FuKernel *k, int a, int b, FuForm *const *form, int n_forms, const bool *live) {
  if (k->axis[a].role != k->axis[b].role || k->axis[a].unrolled || k->axis[b].unrolled) return false;
  if (k->axis[a].role == DHC_AXIS_SEQ) return false;
  for (int n = 0; n < k->n_nodes; n++) {
    if (!live[n] || k->node[n].kind != DHC_SN_FOLD) continue;
    if ((k->node[n].axes >> a & 1) != (k->node[n].axes >> b & 1)) return false;
  }
  for (int i = 0; i < n_forms; i++) {
    const DhcDim *ca = coef_of(form[i], a), *cb = coef_of(form[i], b);
    if (!ca && !cb) continue;
    if (!ca || !cb || ca != dhc_dim_mul(dims(k), cb, k->axis[b].extent)) return false;
  }
  return true;
}

static void merge(FuKernel *k, int a, int b, FuForm **form, int n_forms) {
  k->axis[a].extent = dhc_dim_mul(dims(k), k->axis[a].extent, k->axis[b].extent);
  k->axis_gone[b] = true;
  for (int i = 0; i < n_forms; i++) {
    const DhcDim *cb = coef_of(form[i], b);
    if (!cb) continue;
    FuForm axis = dhc_fu_axis(dims(k), a), zero = dhc_fu_const(dims(k), NULL);
    *form[i] = dhc_fu_subst(dims(k), form[i], a, &zero);
    *form[i] = dhc_fu_subst(dims(k), form[i], b, &axis);
  }
}

/* Live axes in spec order: by role, then by place. */
static int axis_order(const FuKernel *k, int *out) {
  static const DhcAxisRole roles[] = {DHC_AXIS_PAR, DHC_AXIS_SEQ, DHC_AXIS_RED};
  int n = 0;
  for (int r = 0; r < 3; r++) {
    int from = n;
    for (int a = 0; a < k->n_axes; a++) {
      if (k->axis_gone[a] || k->axis[a].role != roles[r]) continue;
      int at = n++;
      while (at > from && k->key[out[at - 1]] > k->key[a]) out[at] = out[at - 1], at--;
      out[at] = a;
    }
  }
  return n;
}

static void drop_unused_axes(FuKernel *k, FuForm *const *form, int n_forms, const bool *live) {
  for (int a = 0; a < k->n_axes; a++) {
    bool used = false;
    for (int i = 0; i < n_forms; i++) used = used || coef_of(form[i], a);
    for (int n = 0; n < k->n_nodes; n++)
      used = used || (live[n] && k->node[n].kind == DHC_SN_FOLD && (k->node[n].axes >> a & 1)) ||
             (live[n] && k->node[n].kind == DHC_SN_SCAN && k->axis[a].role == DHC_AXIS_SEQ); /* steps alike, the last kept */
    if (!used) k->axis_gone[a] = true;
  }
}

static void merge_axes(FuKernel *k, FuForm **form, int n_forms, const bool *live) {
  bool again = true;
  while (again) {
    int order[FU_MAX_AXES], n = axis_order(k, order);
    again = false;
    for (int i = 0; i + 1 < n && !again; i++) {
      if (!can_merge(k, order[i], order[i + 1], form, n_forms, live)) continue;
      merge(k, order[i], order[i + 1], form, n_forms);
      again = true;
    }
  }
}

/* ---- spec ---------------------------------------------------------------------------- */

typedef struct Build {
  FuKernel *k;
  DhcSpec *s;
  int axis_to[FU_MAX_AXES];
  int node_to[DHC_SPEC_MAX_NODES];
  int operand_to[DHC_SPEC_MAX_OPERANDS];
  const DhcDim *arg[64];
  int n_arg;
  DHC_VEC(const DhcDim *) dim;
  bool full;
} Build;

static int add_node(Build *b, DhcSpecNodeKind kind, DhcOp op, dhc_dtype t, int x, int y, int operand) {
  for (int n = 0; n < b->s->n_nodes; n++) {
    const DhcSpecNode *d = &b->s->node[n];
    if (d->kind == kind && d->op == op && d->dtype == t && d->a[0] == x && d->a[1] == y && d->a[2] < 0 &&
        d->operand == operand)
      return n;
  }
  if (b->s->n_nodes == DHC_SPEC_MAX_NODES) {
    b->full = true;
    return 0;
  }
  b->s->node[b->s->n_nodes] =
      (DhcSpecNode){.kind = kind, .op = op, .dtype = t, .a = {x, y, -1, -1}, .operand = operand};
  return b->s->n_nodes++;
}

static int add_leaf(Build *b, DhcSpecNodeKind kind, int operand) {
  return add_node(b, kind, (DhcOp)0, DHC_I64, -1, -1, operand);
}

static int add_i64(Build *b, DhcOp op, int x, int y) {
  return add_node(b, DHC_SN_EW, op, DHC_I64, x, y, 0);
}

static int add_arg(Build *b, const DhcDim *d) {
  int i = 0;
  while (i < b->n_arg && b->arg[i] != d) i++;
  if (i == 64) {
    b->full = true;
    return 0;
  }
  if (i == b->n_arg) b->arg[b->n_arg++] = d;
  return add_leaf(b, DHC_SN_ARG, i);
}

/* A linear form as index arithmetic; numbers other than 0 and 1 are arguments. */
static int add_form(Build *b, const FuForm *f) {
  int sum = -1;
  for (int i = 0; i < f->n; i++) {
    int x = add_leaf(b, DHC_SN_AXIS, b->axis_to[f->axis[i]]);
    if (!dhc_dim_is(f->coef[i], 1))
      x = add_i64(b, DHC_OP_MUL, x, add_arg(b, f->coef[i]));
    sum = sum < 0 ? x : add_i64(b, DHC_OP_ADD, sum, x);
  }
  if (f->node >= 0) {
    int x = b->node_to[f->node];
    if (b->s->node[x].dtype != DHC_I64) x = add_i64(b, DHC_OP_CAST, x, -1);
    sum = sum < 0 ? x : add_i64(b, DHC_OP_ADD, sum, x);
  }
  if (!dhc_dim_is(f->c, 0)) {
    int x = add_arg(b, f->c);
    sum = sum < 0 ? x : add_i64(b, DHC_OP_ADD, sum, x);
  }
  return sum;
}

static void add_nodes(Build *b, const bool *live) {
  FuKernel *k = b->k;
  for (int n = 0; n < k->n_nodes && !b->full; n++) {
    if (!live[n]) continue;
    const DhcSpecNode *d = &k->node[n];
    if (k->lin[n]) {
      b->node_to[n] = add_form(b, k->lin[n]);
      continue;
    }
    if (d->kind == DHC_SN_ARG) {
      b->node_to[n] = add_arg(b, k->arg[d->operand]);
      continue;
    }
    if (b->s->n_nodes == DHC_SPEC_MAX_NODES) {
      b->full = true;
      return;
    }
    DhcSpecNode *e = &b->s->node[b->s->n_nodes];
    *e = *d;
    for (int i = 0; i < 4; i++)
      if (d->a[i] >= 0) e->a[i] = b->node_to[d->a[i]];
    if (d->kind == DHC_SN_LOAD) e->operand = b->operand_to[d->operand];
    e->axes = 0;
    for (int a = 0; a < k->n_axes; a++)
      if (!k->axis_gone[a] && (d->axes >> a & 1)) e->axes |= 1u << b->axis_to[a];
    b->node_to[n] = b->s->n_nodes++;
  }
}

static bool is_unit(const DhcDim *d) {
  return dhc_dim_is(d, 1);
}

static void add_dim(Build *b, const DhcDim *d) {
  DHC_PUSH(b->k->fu->scratch, &b->dim, d);
}

/* Sorts a term's axes into ascending order. */
static void put_axis(DhcTerm *t, int axis, int64_t coef) {
  int at = t->n_axes++;
  while (at > 0 && t->axis[at - 1] > axis) {
    t->axis[at] = t->axis[at - 1];
    t->coef[at] = t->coef[at - 1];
    at--;
  }
  t->axis[at] = axis;
  t->coef[at] = coef;
}

static void add_operand(Build *b, const FuOperand *o) {
  DhcOperand *p = &b->s->operand[b->s->n_operands++];
  p->dtype = o->dtype;
  p->out = o->out;
  p->tag = DHC_TAG_ROW;
  p->width = p->n_terms = 0;
  p->stored = o->out ? b->node_to[o->stored] : -1;
  for (int a = 0; a < b->s->n_axes; a++) { /* plain terms by axis */
    for (int i = 0; i < o->plain.n; i++) {
      if (b->axis_to[o->plain.axis[i]] != a) continue;
      if (p->n_terms == DHC_SPEC_MAX_TERMS) {
        b->full = true;
        return;
      }
      DhcTerm *t = &p->term[p->n_terms++];
      *t = (DhcTerm){.n_axes = 1, .axis = {a}, .coef = {1}, .div = 1, .index = -1, .unit = is_unit(o->plain.coef[i])};
      if (!t->unit) add_dim(b, o->plain.coef[i]);
    }
  }
  for (int i = 0; i < o->n_terms; i++) {
    const FuTerm *e = &o->term[i];
    if (p->n_terms == DHC_SPEC_MAX_TERMS) {
      b->full = true;
      return;
    }
    DhcTerm *t = &p->term[p->n_terms++];
    *t = (DhcTerm){.div = e->div, .guarded = e->guarded, .unit = is_unit(e->stride), .index = -1};
    if (e->f.node >= 0) t->index = b->node_to[e->f.node];
    for (int j = 0; j < e->f.n; j++) {
      int64_t coef = 0;
      dhc_dim_is_const(e->f.coef[j], &coef);
      put_axis(t, b->axis_to[e->f.axis[j]], coef);
    }
    if (!t->unit) add_dim(b, e->stride);
    if (!e->guarded) continue;
    add_dim(b, e->f.c);
    add_dim(b, e->extent);
  }
}

static void add_axes(Build *b) {
  int order[FU_MAX_AXES], n = axis_order(b->k, order);
  if (n > DHC_SPEC_MAX_AXES) {
    b->full = true;
    n = DHC_SPEC_MAX_AXES;
  }
  for (int i = 0; i < n; i++) {
    const FuAxis *a = &b->k->axis[order[i]];
    int64_t extent = 0;
    if (a->unrolled && !dhc_dim_is_const(a->extent, &extent)) DHC_BUG("unrolled axis of unknown extent");
    b->s->axis[i] = (DhcSpecAxis){a->role, extent};
    if (!extent) add_dim(b, a->extent);
    b->axis_to[order[i]] = i;
  }
  b->s->n_axes = n;
}

static void number_operands(Build *b, const bool *used) {
  int n = 0;
  for (int out = 0; out < 2; out++)
    for (int o = 0; o < b->k->n_operands; o++)
      if (used[o] && b->k->operand[o].out == out) b->operand_to[o] = n++;
}

/* A spec of the pass that is equal to s, new if there is none: it may become one of the module's. */
static DhcSpec *made_spec(Fu *fu, const DhcSpec *s) {
  FuRoom *room = fu->room;
  for (int i = 0; i < room->made.n; i++)
    if (dhc_spec_equal(room->made.at[i], s)) return room->made.at[i];
  DhcSpec *own = dhc_arena_dup(fu->m->arena, s, sizeof *s);
  own->node = dhc_arena_dup(fu->m->arena, s->node, sizeof *s->node * (size_t)s->n_nodes);
  DHC_PUSH(fu->scratch, &room->made, own);
  return own;
}

/* Index nodes must come before the loads that use them; loads are numbered by first use,
 * which the writing order already ensures. */
bool dhc_fu_finish(FuKernel *k, FuSpec *out) {
  bool live[DHC_SPEC_MAX_NODES] = {false}, used[DHC_SPEC_MAX_OPERANDS] = {false};
  for (int o = 0; o < k->n_operands; o++) {
    if (!k->operand[o].out) continue;
    used[o] = true;
    mark(k, k->operand[o].stored, live, used);
    for (int t = 0; t < k->operand[o].n_terms; t++) mark(k, k->operand[o].term[t].f.node, live, used);
  }
  FuForm *form[DHC_SPEC_MAX_NODES + DHC_SPEC_MAX_OPERANDS * (1 + DHC_SPEC_MAX_TERMS)];
  int n_forms = all_forms(k, live, used, form);
  drop_unused_axes(k, form, n_forms, live);
  merge_axes(k, form, n_forms, live);

  FuRoom *room = k->fu->room;
  if (!room->spec) room->spec = DHC_NEW(k->fu->scratch, DhcSpec);
  Build b = {.k = k, .s = room->spec};
  DhcSpecNode node[DHC_SPEC_MAX_NODES];
  b.s->n_axes = b.s->n_operands = b.s->n_nodes = 0;
  b.s->kind = k->kind;
  b.s->node = node;
  add_axes(&b);
  number_operands(&b, used);
  if (!b.full) add_nodes(&b, live);
  out->offsets = DHC_NEW_N(k->fu->scratch, const DhcDim *, k->n_operands);
  out->value = DHC_NEW_N(k->fu->scratch, DhcValue *, k->n_operands);
  for (int pass = 0; pass < 2 && !b.full; pass++)
    for (int o = 0; o < k->n_operands && !b.full; o++) {
      if (!used[o] || k->operand[o].out != pass) continue;
      out->offsets[b.s->n_operands] = k->operand[o].plain.c;
      out->value[b.s->n_operands] = k->operand[o].value;
      add_operand(&b, &k->operand[o]);
    }
  if (b.full) return false;
  for (int i = 0; i < b.n_arg; i++) add_dim(&b, b.arg[i]);
  b.s->n_args = b.n_arg;
  b.s->n_attrs = k->n_attrs;
  memcpy(b.s->attr, k->attr, sizeof b.s->attr);
  out->spec = made_spec(k->fu, b.s);
  out->dims = b.dim.at;
  out->n_dims = b.dim.n;
  return true;
}
