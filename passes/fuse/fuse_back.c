/* The derivative of a recurrence over states as one kernel.
 *
 * Composites "recurrence_back" (passes/grad/recur.c) are derivatives of composites "recurrence", whose body is one
 * recurrence with what it is made of and the sums of its states. The kernel's DAG is written from that body: the
 * recurrence as it stands, then, from its results to its parameters, the derivative of each node by the rules of
 * passes/grad, for the few ops that such a body has. Where the states are one step back or forward is said by nodes of
 * their own kind (ir/spec.h), so nothing of [batch, steps, channels, states] is a value. A body of another form is left
 * as it is: ops like any others. */
#include <string.h>

#include "passes/clean/edit.h"
#include "passes/fuse/fuse_internal.h"

typedef struct Back {
  Fu *fu;        /* of the derivative */
  DhcFunc *f, *g; /* the recurrence; its derivative */
  FuKernel *k;
  int rank, seq;           /* of the states */
  FuIx full[DHC_MAX_RANK]; /* of the states over the kernel's axes */
  uint32_t bit[DHC_MAX_RANK];
  int scan;                /* node, or -1 */
  int adj[DHC_SPEC_MAX_NODES];  /* cotangent of a node, or -1; of one without states, what is yet to be summed over them, */
  int rest[DHC_SPEC_MAX_NODES]; /* and what is not */
  uint32_t axes[DHC_SPEC_MAX_NODES]; /* of the first n_axes nodes */
  int n_axes;
  DHC_VEC(FuMemo) memo; /* values of f; ix is of the arena */
} Back;

static DhcDims *dims(const Back *x) { return x->fu->m->dims; }

static const DhcNode *scan_of(const DhcFunc *f) {
  const DhcNode *scan = NULL;
  for (const DhcNode *n = f->first; n; n = n->next) {
    if (n->op != DHC_OP_LINEAR_SCAN) continue;
    if (scan) return NULL;
    scan = n;
  }
  return scan;
}

/* The states' dims as axes: the last is folded and of known extent. */
static bool open_axes(Back *x, const DhcNode *scan) {
  const DhcType *h = &scan->results[0]->type;
  FuKernel *k = x->k;
  x->rank = h->rank;
  x->seq = (int)dhc_attr(scan, "axis")->i;
  if (x->seq < 0) x->seq += h->rank;
  if (!dhc_dim_is_const(h->dim[h->rank - 1], NULL) || x->seq == h->rank - 1) return false;
  for (int d = 0; d < h->rank; d++) {
    x->full[d] = dhc_fu_plain(dhc_fu_const(dims(x), NULL));
    if (dhc_dim_is(h->dim[d], 1)) continue;
    int a = k->n_axes++;
    bool states = d == h->rank - 1;
    DhcAxisRole role = d == x->seq ? DHC_AXIS_SEQ : states ? DHC_AXIS_RED : DHC_AXIS_PAR;
    k->axis[a] = (FuAxis){.role = role, .extent = h->dim[d], .unrolled = states};
    k->key[a] = (int64_t)a << 20;
    x->full[d] = dhc_fu_plain(dhc_fu_axis(dims(x), a));
    x->bit[d] = 1u << a;
  }
  k->kind = DHC_KIND_SCAN_BACK;
  k->n_attrs = 1;
  k->attr[0] = dhc_attr(scan, "reverse")->b;
  return true;
}

/* ---- the recurrence --------------------------------------------------------------------------- */

static int emit(Back *x, DhcValue *v, const FuIx *ix);

static int emit_scan(Back *x, const DhcNode *n, const FuIx *ix) {
  if (!dhc_fu_ix_equal(ix, x->full, x->rank)) return -1;
  FuIx first[DHC_MAX_RANK];
  int rank = 0;
  for (int d = 0; d < x->rank; d++)
    if (d != x->seq) first[rank++] = ix[d];
  int a[3] = {emit(x, n->args[0], ix), emit(x, n->args[1], ix), emit(x, n->args[2], first)};
  int bits = dhc_attr(n, "flush")->b ? DHC_SCAN_FLUSH : 0;
  return x->scan = dhc_fu_scan_node(x->k, n->results[0]->type.dtype, a, bits);
}

static int emit_sum(Back *x, const DhcNode *n, const FuIx *ix) {
  const DhcType *t = &n->args[0]->type;
  FuIx in[DHC_MAX_RANK];
  if (t->rank != x->rank || dhc_fu_reduced_dims(n) != 1u << (t->rank - 1)) return -1;
  for (int d = 0; d < t->rank - 1; d++) in[d] = ix[d];
  in[t->rank - 1] = x->full[t->rank - 1];
  int e = emit(x, n->args[0], in);
  return dhc_fu_fold_node(x->k, DHC_OP_REDUCE_SUM, n->results[0]->type.dtype, &e, 1, x->bit[t->rank - 1]);
}

static int make(Back *x, DhcValue *v, const FuIx *ix) {
  const DhcNode *n = v->def;
  FuIx in[DHC_MAX_RANK];
  if (n->op == DHC_OP_PARAM) return dhc_fu_load_node(x->k, x->g->params.at[dhc_edit_param(x->f, v)], ix);
  if (n->op == DHC_OP_FILL) return dhc_fu_const_node(x->k, v->type.dtype, dhc_attr(n, "value")->f, (int64_t)dhc_attr(n, "value")->f);
  if (n->op == DHC_OP_LINEAR_SCAN) return emit_scan(x, n, ix);
  if (n->op == DHC_OP_REDUCE_SUM) return emit_sum(x, n, ix);
  if (dhc_fu_is_view(n)) {
    FuIndexCx cx = {.dims = dims(x), .facts = &x->f->facts, .axis = x->k->axis, .n_axes = x->k->n_axes};
    return dhc_fu_through(&cx, n, ix, in) && !cx.lossy ? emit(x, n->args[0], in) : -1;
  }
  if (!dhc_fu_is_elementwise(n)) return -1;
  int a[4];
  for (int i = 0; i < n->n_args; i++) a[i] = emit(x, n->args[i], ix);
  return dhc_fu_node(x->k, DHC_SN_EW, n->op, v->type.dtype, a, n->n_args);
}

/* Node of value v of f at an index; -1: it has another form. */
static int emit(Back *x, DhcValue *v, const FuIx *ix) {
  for (int i = 0; i < x->memo.n; i++)
    if (x->memo.at[i].v == v && dhc_fu_ix_equal(x->memo.at[i].ix, ix, v->type.rank)) return x->memo.at[i].node;
  int n = make(x, v, ix);
  if (x->k->failed) return -1;
  FuMemo m = {v, dhc_arena_dup(x->fu->scratch, ix, sizeof *ix * (size_t)(v->type.rank + 1)), n};
  DHC_PUSH(x->fu->scratch, &x->memo, m);
  return n;
}

/* ---- back over it ------------------------------------------------------------------------------ */

/* Axes of the kernel that a node varies over. */
static uint32_t axes_of(Back *x, int node) {
  for (int n = x->n_axes; n <= node; n++, x->n_axes++) {
    const DhcSpecNode *d = &x->k->node[n];
    uint32_t m = 0;
    for (int i = 0; i < 4; i++)
      if (d->a[i] >= 0) m |= x->axes[d->a[i]];
    if (d->kind == DHC_SN_LOAD)
      for (int i = 0; i < x->k->operand[d->operand].plain.n; i++) m |= 1u << x->k->operand[d->operand].plain.axis[i];
    if (d->kind == DHC_SN_SCAN || d->kind == DHC_SN_BEFORE) m |= x->bit[x->seq];
    x->axes[n] = m & ~d->axes;
  }
  return x->axes[node];
}

static int ew(Back *x, DhcOp op, int a, int b) { return dhc_fu_ew2(x->k, op, x->k->node[a < 0 ? 0 : a].dtype, a, b); }

/* What has states is summed over them once, before what has none is added. */
static bool add(Back *x, int to, int cot) {
  if (cot < 0) return false;
  if (!dhc_dtype_is_float(x->k->node[to].dtype)) return true;
  int *sum = (axes_of(x, to) | axes_of(x, cot)) & x->bit[x->rank - 1] ? &x->adj[to] : &x->rest[to];
  *sum = *sum < 0 ? cot : ew(x, DHC_OP_ADD, *sum, cot);
  return *sum >= 0;
}

/* All of node n's cotangent in adj. */
static void settle(Back *x, int n) {
  uint32_t states = x->bit[x->rank - 1];
  if (axes_of(x, n) & states) return;
  if (x->adj[n] >= 0 && (axes_of(x, x->adj[n]) & states))
    x->adj[n] = dhc_fu_fold_node(x->k, DHC_OP_REDUCE_SUM, x->k->node[n].dtype, &x->adj[n], 1, states);
  if (x->rest[n] >= 0) x->adj[n] = x->adj[n] < 0 ? x->rest[n] : ew(x, DHC_OP_ADD, x->adj[n], x->rest[n]);
}

/* y = op(a…): each operand's share of y's cotangent g, as passes/grad/vjp_ew.c has it. */
typedef bool (*Rule)(Back *x, const DhcSpecNode *d, int y, int g);

static int negated(Back *x, const DhcSpecNode *d, int g) { return dhc_fu_node(x->k, DHC_SN_EW, DHC_OP_NEG, d->dtype, &g, 1); }

static bool back_add(Back *x, const DhcSpecNode *d, int y, int g) { return (void)y, add(x, d->a[0], g) && add(x, d->a[1], g); }
static bool back_sub(Back *x, const DhcSpecNode *d, int y, int g) { return (void)y, add(x, d->a[0], g) && add(x, d->a[1], negated(x, d, g)); }
static bool back_neg(Back *x, const DhcSpecNode *d, int y, int g) { return (void)y, add(x, d->a[0], negated(x, d, g)); }
static bool back_exp(Back *x, const DhcSpecNode *d, int y, int g) { return add(x, d->a[0], ew(x, DHC_OP_MUL, g, y)); }

static bool back_mul(Back *x, const DhcSpecNode *d, int y, int g) {
  (void)y;
  return add(x, d->a[0], ew(x, DHC_OP_MUL, g, d->a[1])) && add(x, d->a[1], ew(x, DHC_OP_MUL, g, d->a[0]));
}

static bool back_select(Back *x, const DhcSpecNode *d, int y, int g) {
  int zero = dhc_fu_const_node(x->k, d->dtype, 0, 0);
  (void)y;
  return add(x, d->a[1], dhc_fu_select_node(x->k, d->dtype, d->a[0], g, zero)) &&
         add(x, d->a[2], dhc_fu_select_node(x->k, d->dtype, d->a[0], zero, g));
}

static const struct {
  int op;
  Rule back; /* NULL: none */
} rules[DHC_N_OPS + 1] = {
#define BACK(rule) .back = back_##rule,
#include "ir/ops_column.h"
};

static bool back_ew(Back *x, int n) {
  const DhcSpecNode d = x->k->node[n];
  Rule rule = rules[d.op].back;
  return rule ? rule(x, &d, n, x->adj[n]) : !dhc_dtype_is_float(d.dtype); /* a condition */
}

/* g goes from the last step to the first; b gets g, a gets g times the states before. */
static bool back_scan(Back *x, int n, int last) {
  FuKernel *k = x->k;
  const DhcSpecNode d = k->node[n];
  int zero = dhc_fu_const_node(k, d.dtype, 0, 0);
  int a[3] = {d.a[0], x->adj[n] < 0 ? zero : x->adj[n], last < 0 ? zero : last};
  int g = dhc_fu_scan_node(k, d.dtype, a, (int)d.i | DHC_SCAN_BACK), before = dhc_fu_node(k, DHC_SN_BEFORE, (DhcOp)0, d.dtype, &n, 1);
  return g >= 0 && before >= 0 && add(x, d.a[1], g) && add(x, d.a[0], ew(x, DHC_OP_MUL, g, before)) && add(x, d.a[2], g);
}

/* The index of result v, a sum of states or (last) states of one step, whose dims of extent 1 count nothing. */
static bool index_of(const Back *x, const DhcType *t, bool last, FuIx *ix) {
  int d = 0, end = last ? x->rank : x->rank - 1;
  for (int i = 0; i < t->rank; i++) {
    if (dhc_dim_is(t->dim[i], 1)) {
      ix[i] = dhc_fu_plain(dhc_fu_const(dims(x), NULL));
      continue;
    }
    while (d < end && (!x->bit[d] || (last && d == x->seq))) d++;
    if (d == end) return false;
    ix[i] = x->full[d++];
  }
  while (d < end && (!x->bit[d] || (last && d == x->seq))) d++;
  return d == end;
}

/* Cotangents of the results go to what they are of; *last: of the last states, or -1. */
static bool seed(Back *x, int *last) {
  const DhcFunc *f = x->f;
  FuIx ix[DHC_MAX_RANK];
  *last = -1;
  for (int i = 0; i < f->results.n; i++) {
    DhcValue *v = f->results.at[i], *cot = x->g->params.at[f->params.n + f->results.n + i], *base = v;
    bool is_last = false;
    for (; base->def->op == DHC_OP_RESHAPE || base->def->op == DHC_OP_SLICE; base = base->def->args[0])
      is_last = is_last || base->def->op == DHC_OP_SLICE;
    if (base->def->op != (is_last ? DHC_OP_LINEAR_SCAN : DHC_OP_REDUCE_SUM) || !index_of(x, &v->type, is_last, ix)) return false;
    int c = dhc_fu_load_node(x->k, cot, ix);
    if (c < 0) return false;
    if (is_last) {
      *last = *last < 0 ? c : ew(x, DHC_OP_ADD, *last, c);
      continue;
    }
    DhcValue *of = base->def->args[0];
    if (of->type.rank != x->rank || dhc_fu_reduced_dims(base->def) != 1u << (x->rank - 1) || !add(x, emit(x, of, x->full), c)) return false;
  }
  return x->scan >= 0;
}

/* ---- results --------------------------------------------------------------------------------------- */

/* The node that loads f's parameter i; -1: none; -2: several, or one under a guard. */
static int load_of(const Back *x, int i, int n_forward) {
  int found = -1;
  for (int n = 0; n < n_forward; n++) {
    const DhcSpecNode *d = &x->k->node[n];
    if (d->kind != DHC_SN_LOAD || x->k->operand[d->operand].value != x->g->params.at[i]) continue;
    if (found >= 0 || x->k->operand[d->operand].n_terms) return -2;
    found = n;
  }
  return found;
}

/* The gradient of parameter i, or of the part of it that f takes (fuse_calls.c), lies as that does. */
static bool store(Back *x, int i, DhcValue *to, int node) {
  const DhcValue *v = x->f->params.at[i];
  for (const DhcNode *n = x->f->first; n && !dhc_type_equal(&v->type, &to->type); n = n->next)
    if (dhc_fu_is_view(n) && n->args[0] == v) v = n->results[0];
  for (int k = 0; k < x->memo.n && dhc_type_equal(&v->type, &to->type); k++)
    if (x->memo.at[k].v == v) return dhc_fu_store(x->k, to, &to->type, x->memo.at[k].ix, node);
  return false;
}

/* Outputs for the results of the derivative, in order; the others stay zero. of[o]: which result. */
static bool outputs(Back *x, int n_forward, int *of) {
  uint32_t all = 0, states = x->bit[x->rank - 1], channel = 0;
  for (int d = 0; d < x->rank; d++) all |= x->bit[d];
  for (int d = 0; d < x->rank - 1; d++)
    if (x->bit[d] && d != x->seq) channel = x->bit[d]; /* the last of them */
  int r = 0, n = 0, h0 = x->k->node[x->scan].a[2];
  for (int i = 0; i < x->f->params.n; i++) {
    if (!dhc_dtype_is_float(x->f->params.at[i]->type.dtype)) continue;
    DhcValue *to = x->g->results.at[r];
    int load = load_of(x, i, n_forward), cot = load < 0 ? -1 : x->adj[load];
    if (load == -2) return false;
    if (cot < 0) {
      r++;
      continue;
    }
    uint32_t gone = axes_of(x, cot) & ~axes_of(x, load);
    if (load == h0) { /* what the recurrence back leaves behind the first step */
      if (x->k->node[cot].kind != DHC_SN_SCAN || axes_of(x, load) != (all & ~x->bit[x->seq])) return false;
    } else if (gone) {
      if (gone != states && gone != channel && gone != (all & ~states & ~channel)) return false;
      cot = dhc_fu_fold_node(x->k, DHC_OP_REDUCE_SUM, to->type.dtype, &cot, 1, gone);
    }
    of[n++] = r++;
    if (!store(x, i, to, cot)) return false;
  }
  return n > 0;
}

/* ---- the kernel -------------------------------------------------------------------------------------- */

static bool put_kernel(Back *x, const FuSpec *w, const int *of) {
  DhcFunc *g = x->g;
  DhcNode *old = g->last;
  DhcBuilder b = {.f = g, .span = g->span};
  int n_in = dhc_spec_n_inputs(w->spec), n_out = w->spec->n_operands - n_in;
  int64_t into[DHC_SPEC_MAX_OPERANDS];
  const DhcType *out[DHC_SPEC_MAX_OPERANDS] = {NULL};
  for (int o = 0; o < n_out; o++) into[o] = -1, out[o] = &w->value[n_in + o]->type;
  DhcNode *n = dhc_fu_kernel(x->fu->m, &b, w, w->value, n_in, out, into);
  for (int r = 0, o = 0; n && r < g->results.n; r++) {
    bool given = o < n_out && of[o] == r;
    g->results.at[r] = given ? n->results[o++] : dhc_b_fill(&b, &g->results.at[r]->type, 0);
    if (!g->results.at[r]) return false;
  }
  for (DhcNode *prev; n && old; old = prev) {
    prev = old->prev;
    if (old->op != DHC_OP_PARAM) dhc_node_remove(old);
  }
  return n != NULL;
}

/* Makes one kernel of g, the derivative of f; *done: it is. False after diagnostics. */
static bool write_back(DhcModule *m, DhcPassCtx *px, DhcFunc *f, DhcFunc *g, FuRoom *room, bool *done) {
  const DhcNode *scan = scan_of(f);
  Back x = {.f = f, .g = g, .scan = -1};
  FuSpec w;
  int last, of[DHC_SPEC_MAX_OPERANDS];
  if (!scan || f->params.n + f->results.n > DHC_SPEC_MAX_OPERANDS / 2) return true;
  x.fu = dhc_fu_open(m, px, g);
  x.fu->room = room;
  x.k = DHC_NEW(px->scratch, FuKernel);
  x.k->fu = x.fu;
  x.k->miss.axis = -1;
  for (int n = 0; n < DHC_SPEC_MAX_NODES; n++) x.adj[n] = x.rest[n] = -1;
  if (!open_axes(&x, scan) || emit(&x, scan->results[0], x.full) < 0 || !seed(&x, &last)) return true;
  int n_forward = x.k->n_nodes;
  for (int n = n_forward - 1; n >= 0; n--) {
    bool ok = true;
    settle(&x, n);
    if (n == x.scan) ok = back_scan(&x, n, last);
    else if (x.adj[n] >= 0 && x.k->node[n].kind == DHC_SN_EW) ok = back_ew(&x, n);
    else if (x.adj[n] >= 0) ok = x.k->node[n].kind == DHC_SN_LOAD || x.k->node[n].kind == DHC_SN_CONST;
    if (!ok || x.k->failed) return true;
  }
  if (!outputs(&x, n_forward, of) || x.k->failed || !dhc_fu_finish(x.k, &w) || !dhc_pass_may_change(px)) return true;
  *done = true;
  return put_kernel(&x, &w, of);
}

bool dhc_fu_write_backs(DhcModule *m, DhcPassCtx *px, FuRoom *room, bool *done) {
  for (int i = 0; i < m->funcs.n; i++) {
    DhcFunc *f = m->funcs.at[i], *g = f->vjp;
    if (!g || !g->kernel || strcmp(g->kernel, "recurrence_back") != 0) continue;
    if (!write_back(m, px, f, g, room, &done[g->id])) return false;
    f->vjp = NULL; /* nothing is differentiated any more, and what f takes may be more than what g gives gradients of */
  }
  return true;
}
