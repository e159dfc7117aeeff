/* Walks over a graph: what its ops cost, which parameters a token meets, what attention keeps. */
#include <math.h>
#include <stdlib.h>

#include "api/atlas/atlas.h"

/* ---- operations ------------------------------------------------------------------------------- */

typedef struct Walk {
  const dhc_model *m;
  Counts *out;
  DhcArena *a;
  bool fits;
} Walk;

static const char *made_by(const dhc_model *m, const char *path) {
  DhcLayerInfos l = dhc_model_layers(m->m);
  for (int i = 0; path && i < l.n; i++)
    if (!strcmp(l.at[i].path, path)) return l.at[i].layer;
  return NULL;
}

/* The call of a composite that attends: operands 1 and 2 are keys and values, [B, G, M, size]. */
static void attends(Walk *w, const DhcNode *n, const DhcFunc *f, const int64_t *values, double times) {
  for (int k = 1; k <= 2 && k < n->n_args; k++) {
    DhcType t = n->args[k]->type;
    if (t.rank < 2) return;
    t.dim[t.rank - 2] = dhc_dim_const(f->module->dims, 1);
    int64_t elements;
    if (!dhc_dim_eval(dhc_type_elements(f->module->dims, &t), f->symbols.n, f->symbols.at, values, &elements)) w->fits = false;
    else w->out->cache_bytes_token += times * (double)elements * dhc_dtype_bytes(t.dtype);
  }
  const char *layer = made_by(w->m, n->origin);
  bool known = !layer || w->out->n_attends == (int)(sizeof w->out->attends / sizeof *w->out->attends);
  for (int i = 0; !known && i < w->out->n_attends; i++) known = !strcmp(w->out->attends[i], layer);
  if (!known) w->out->attends[w->out->n_attends++] = layer;
}

static void walk(Walk *w, const DhcFunc *f, const int64_t *values, double times);

static void walk_callee(Walk *w, const DhcNode *n, const DhcFunc *f, const int64_t *values, double times) {
  bool scan = n->op == DHC_OP_SCAN;
  const DhcFunc *callee = dhc_node_callee(n);
  const DhcAttr *dims = dhc_attr(n, "dims");
  int64_t *inner = DHC_NEW_N(w->a, int64_t, callee->symbols.n + 1), trips = 1;
  for (int i = 0; i < callee->symbols.n; i++)
    if (!dhc_dim_eval(dims->dims.at[i], f->symbols.n, f->symbols.at, values, &inner[i])) w->fits = false;
  if (scan && !dhc_dim_eval(dhc_attr(n, "length")->dim, f->symbols.n, f->symbols.at, values, &trips)) w->fits = false;
  if (!w->fits) return;
  if (callee->kernel && !strcmp(callee->kernel, "attend")) attends(w, n, f, values, times);
  walk(w, callee, inner, times * (double)trips);
}

void counts_unrolled(Counts *c, DhcKind kind, int64_t extent, const char *name) {
  for (int k = 0; k < c->n_unrolled; k++)
    if (c->unrolled[k].kind == kind && c->unrolled[k].extent == extent && (!name || c->unrolled[k].name == name)) return;
  if (c->n_unrolled == (int)(sizeof c->unrolled / sizeof *c->unrolled)) return;
  c->unrolled[c->n_unrolled].kind = kind;
  c->unrolled[c->n_unrolled].name = name;
  c->unrolled[c->n_unrolled++].extent = extent;
}

/* Routing compares with every expert and picks the best k, one after the other. */
static void routes(Walk *w, const DhcNode *n) {
  static const char *const experts = "experts", *const chosen = "experts a token goes to";
  int64_t k;
  counts_unrolled(w->out, DHC_KIND_ROW, dhc_attr(n, "num")->i, experts);
  if (dhc_dim_is_const(n->args[0]->type.dim[1], &k)) counts_unrolled(w->out, DHC_KIND_ROW, k, chosen);
}

/* A depthwise convolution of few taps is a chain over shifted inputs (passes/fuse/ready.c). */
static void taps(Walk *w, const DhcNode *n) {
  static const char *const name = "taps of a depthwise convolution (d_conv)";
  const DhcType *t = &n->args[1]->type;
  int64_t k, groups = dhc_attr(n, "groups")->i;
  if (groups > 1 && t->rank == 3 && dhc_dim_is(t->dim[1], 1) && dhc_dim_is_const(t->dim[2], &k)) counts_unrolled(w->out, DHC_KIND_MAP, k, name);
}

static void walk(Walk *w, const DhcFunc *f, const int64_t *values, double times) {
  for (const DhcNode *n = f->first; n && w->fits; n = n->next) {
    const DhcOpInfo *info = dhc_op_info(n->op);
    int64_t flops;
    w->out->op[n->op].nodes += times;
    if (n->op == DHC_OP_ROUTE) routes(w, n);
    if (n->op == DHC_OP_CONV) taps(w, n);
    if (info->cls == DHC_CLASS_CALL) { /* its cost is that of what it calls, counted there */
      walk_callee(w, n, f, values, times);
      continue;
    }
    if (!dhc_dim_eval(info->flops(f->module, n), f->symbols.n, f->symbols.at, values, &flops)) {
      w->fits = false;
      return;
    }
    w->out->op[n->op].flops += times * (double)flops;
    w->out->flops += times * (double)flops;
  }
}

bool counts_of(const dhc_model *m, const DhcFunc *f, const int64_t *values, Counts *out) {
  DhcArena a;
  dhc_arena_init(&a);
  *out = (Counts){0};
  Walk w = {m, out, &a, true};
  walk(&w, f, values, 1);
  dhc_arena_fini(&a);
  return w.fits;
}

/* ---- active parameters -------------------------------------------------------------------------- */

/* What operand `value` is a view of: number of a parameter of f, or -1. */
static int parameter_of(const DhcFunc *f, const DhcValue *value) {
  while (dhc_op_info(value->def->op)->cls == DHC_CLASS_VIEW) value = value->def->args[0];
  for (int i = 0; i < f->params.n; i++)
    if (f->params.at[i] == value) return i;
  return -1;
}

/* Of the matrices of a ragged contraction, those that one token meets: where `route` made the ranges, its
 * choices among its bins; else all. */
static double ragged_share(const DhcNode *n) {
  const DhcNode *r = n->args[2]->def;
  int64_t k;
  if (r->op != DHC_OP_ROUTE || !dhc_dim_is_const(r->args[0]->type.dim[1], &k)) return 1;
  double share = (double)k / (double)dhc_attr(r, "num")->i;
  return share < 1 ? share : 1;
}

/* share[i]: the largest part of parameter i that some use of it meets; -1: nothing uses it. */
static void shares(const DhcFunc *f, double *share, DhcArena *a) {
  for (int i = 0; i < f->params.n; i++) share[i] = -1;
  for (const DhcNode *n = f->first; n; n = n->next) {
    const DhcOpInfo *info = dhc_op_info(n->op);
    if (info->cls == DHC_CLASS_VIEW) continue;
    double *inner = NULL;
    if (info->cls == DHC_CLASS_CALL) {
      const DhcFunc *callee = dhc_node_callee(n);
      inner = DHC_NEW_N(a, double, callee->params.n + 1);
      shares(callee, inner, a);
    }
    for (int k = 0; k < n->n_args; k++) {
      int i = parameter_of(f, n->args[k]);
      double part = inner ? inner[k] : n->op == DHC_OP_RAGGED_DOT && k == 1 ? ragged_share(n) : 1;
      if (i >= 0 && part > share[i]) share[i] = part;
    }
  }
}

double counts_active(const DhcFunc *f, const DhcModule *decls) {
  DhcArena a;
  dhc_arena_init(&a);
  double *share = DHC_NEW_N(&a, double, f->params.n + 1), active = 0;
  shares(f, share, &a);
  for (int t = 0; t < decls->tensors.n; t++) {
    const DhcTensorDecl *d = &decls->tensors.at[t];
    int64_t n;
    if (d->role != DHC_ROLE_WEIGHT || !dhc_dim_is_const(dhc_type_elements(decls->dims, &d->type), &n)) continue;
    double part = 1;
    for (int i = 0; i < f->params.n; i++)
      if (f->param_info.at[i].role == DHC_ROLE_WEIGHT && f->param_info.at[i].decl == t && share[i] >= 0) part = share[i];
    active += part * (double)n;
  }
  dhc_arena_fini(&a);
  return active;
}

/* ---- states ----------------------------------------------------------------------------------------- */

static bool of_a_layer_that_attends(const dhc_model *m, const Counts *c, const char *state) {
  DhcLayerInfos l = dhc_model_layers(m->m);
  for (int i = 0; i < l.n; i++) {
    size_t n = strlen(l.at[i].path);
    if (!n || strncmp(l.at[i].path, state, n) || state[n] != '.') continue;
    for (int k = 0; k < c->n_attends; k++)
      if (!strcmp(c->attends[k], l.at[i].layer)) return true;
  }
  return false;
}

/* Bytes of a state at these sizes; a size that only its layer names is the batch, the entry's first. */
static double state_bytes(const dhc_model *m, const DhcTensorDecl *d, const Sizes *s) {
  const char *names[DHC_IMAGE_MAX_SYMBOLS + DHC_MAX_RANK];
  int64_t values[DHC_IMAGE_MAX_SYMBOLS + DHC_MAX_RANK], n;
  int k = 0;
  for (int i = 0; i < s->n && k < DHC_IMAGE_MAX_SYMBOLS; i++, k++) names[k] = s->names[i], values[k] = s->values[i];
  for (int i = 0; i < d->type.rank; i++) {
    const char *own = dhc_dim_symbol_name(d->type.dim[i]);
    bool known = !own || !s->n;
    for (int j = 0; j < s->n; j++) known = known || !strcmp(own, s->names[j]);
    if (!known) names[k] = own, values[k++] = s->values[0];
  }
  if (!dhc_dim_eval(dhc_type_elements(m->module->dims, &d->type), k, names, values, &n)) return (double)NAN;
  return (double)n * dhc_dtype_bytes(d->type.dtype);
}

void counts_states(const dhc_model *m, const Counts *c, const Sizes *s, double *caches, double *others) {
  *caches = *others = 0;
  for (int i = 0; i < m->module->tensors.n; i++) {
    const DhcTensorDecl *d = &m->module->tensors.at[i];
    if (d->role != DHC_ROLE_STATE) continue;
    double *to = of_a_layer_that_attends(m, c, d->path) ? caches : others;
    /* counters and the like are no cache rows */
    if (to == caches && d->type.rank < 3) continue;
    *to += state_bytes(m, d, s);
  }
}
