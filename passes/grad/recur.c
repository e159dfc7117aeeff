/* Recurrences over states, before they are differentiated, for targets whose kernels compute states again.
 *
 *   h = linear_scan(a, b), y = sum over n of c h     with states [B, L, D, N]
 *
 * becomes a call of a composite "recurrence" that holds the region (chunk_region.c), and whose derivative is a composite
 * "recurrence_back": as any other function it is ops, those that differentiating the region gives, for whoever
 * interprets it; fusion makes one kernel of it (fuse_back.c). Where the region has another form it is left to `chunk`.
 *
 * What the kernel takes: one recurrence of f32 over 4, 8 or 16 states, the last axis, which plain sums contract; between
 * its operands and what comes in, views and a few elementwise ops; and of what a gradient is asked for, values of all
 * rows and steps by channels or by states, matrices of channels by states, and where the states begin. */
#include "passes/grad/ad_internal.h"
#include "passes/grad/chunk.h"

/* ---- forms ------------------------------------------------------------------------------------ */

static bool is_simple(const DhcNode *n) {
  bool view = n->op == DHC_OP_BROADCAST || n->op == DHC_OP_RESHAPE || n->op == DHC_OP_TRANSPOSE;
  return view || dhc_op_info(n->op)->back || n->op == DHC_OP_FILL || n->op == DHC_OP_LINEAR_SCAN || n->op == DHC_OP_REDUCE_SUM;
}

/* Dims of the states, as bits, that v has, aligned with them from the right; *ok: it is so aligned. */
static unsigned dims_of(const DhcValue *v, const DhcType *h, bool *ok) {
  unsigned has = 0;
  int shift = h->rank - v->type.rank;
  if (shift < 0) *ok = false;
  for (int d = 0; *ok && d < v->type.rank; d++) {
    if (dhc_dim_is(v->type.dim[d], 1)) continue;
    if (v->type.dim[d] != h->dim[d + shift]) *ok = false;
    has |= 1u << (d + shift);
  }
  return has;
}

static bool takes(const DhcChunk *c, int axis) {
  const DhcNode *scan = c->scans.at[0];
  const DhcType *h = &scan->results[0]->type;
  int64_t states;
  int last = h->rank - 1, channel = last - 1;
  if (c->scans.n != 1 || h->rank < 3 || h->dtype != DHC_F32 || axis >= channel || dhc_attr(scan, "forget")->b) return false;
  if (!dhc_dim_is_const(h->dim[last], &states) || (states != 4 && states != 8 && states != 16)) return false;
  for (int d = 0; d < h->rank; d++)
    if (dhc_dim_is(h->dim[d], 1) && d >= channel) return false;
  for (int i = 0; i < c->outputs.n; i++) {
    const DhcNode *n = c->outputs.at[i]->def;
    if (n->op != DHC_OP_REDUCE_SUM || dhc_attr(n, "axes")->ints.n != 1 || !dhc_edit_lists(dhc_attr(n, "axes"), last)) return false;
  }
  unsigned all = 0, one = 1;
  for (int d = 0; d < h->rank; d++)
    if (!dhc_dim_is(h->dim[d], 1)) all |= one << d;
  bool ok = true;
  for (int i = 0; i < c->leaves.n; i++) {
    const DhcValue *v = c->leaves.at[i];
    unsigned has = dims_of(v, h, &ok);
    bool fits = has == (all & ~(one << last)) || has == (all & ~(one << channel));
    if (dhc_ad_is_float(v) && (v->type.dtype != DHC_F32 || !fits)) return false;
  }
  for (int i = 0; i < c->consts.n; i++) {
    const DhcValue *v = c->consts.at[i];
    unsigned has = dims_of(v, h, &ok);
    if (dhc_ad_is_float(v) && (v->type.dtype != DHC_F32 || has != (one << last | one << channel))) return false;
  }
  for (const DhcNode *n = c->f->first; ok && n; n = n->next)
    if (dhc_chunk_is_inside(c, n)) ok = is_simple(n) && (n->op != DHC_OP_REDUCE_SUM || c->at[n->results[0]->id].output);
  return ok;
}

static bool used_outside(const DhcChunk *c, const DhcValue *v) {
  for (int i = 0; i < c->f->results.n; i++)
    if (c->f->results.at[i] == v) return true;
  for (const DhcNode *n = v->def->next; n; n = n->next)
    for (int k = 0; k < n->n_args; k++)
      if (n->args[k] == v && !dhc_chunk_is_inside(c, n)) return true;
  return false;
}

static bool may_come_in(const DhcChunk *c, const DhcValue *v) {
  return v->id < c->n_values && v->def->op != DHC_OP_BROADCAST && v->def->op != DHC_OP_FILL &&
         (c->at[v->id].place == DHC_CHUNK_OUTSIDE || c->at[v->id].place == DHC_CHUNK_LEAF);
}

/* A product by channels (dt x of a selective scan) that only the region reads becomes part of it: its factors come in
 * instead, and their gradients come out. */
static void take_products(DhcChunk *c) {
  const DhcType *h = &c->scans.at[0]->results[0]->type;
  for (int i = 0; i < c->leaves.n; i++) {
    DhcValue *v = c->leaves.at[i];
    const DhcNode *n = v->def;
    bool ok = n->op == DHC_OP_MUL && !(dims_of(v, h, &(bool){true}) >> (h->rank - 1) & 1) && !used_outside(c, v);
    for (int k = 0; ok && k < 2; k++) ok = may_come_in(c, n->args[k]);
    if (!ok) continue;
    int axis = c->at[v->id].axis, left = 0;
    c->at[v->id].place = DHC_CHUNK_INSIDE;
    for (int k = 0; k < c->leaves.n; k++)
      if (c->leaves.at[k] != v) c->leaves.at[left++] = c->leaves.at[k];
    c->leaves.n = left;
    for (int k = 0; k < 2; k++) {
      if (c->at[n->args[k]->id].place == DHC_CHUNK_LEAF) continue;
      c->at[n->args[k]->id] = (DhcChunkValue){DHC_CHUNK_LEAF, axis, false};
      DHC_PUSH(c->px->scratch, &c->leaves, n->args[k]);
    }
    i = -1; /* a factor may be a product */
  }
}

/* ---- functions ----------------------------------------------------------------------------------- */

typedef struct Recur {
  DhcChunk *c;
  DhcFunc *f; /* the region */
  DhcValue **map, **args;
  int n_args;
} Recur;

static DhcValue *param(Recur *k, const char *what, DhcValue *arg) {
  DhcParamInfo info = {dhc_arena_printf(k->c->m->arena, "%s.%d", what, k->n_args), DHC_ROLE_PLAIN, -1};
  k->args[k->n_args++] = arg;
  return k->map[arg->id] = dhc_func_param(k->f, &arg->type, info, k->f->span);
}

static bool copy(Recur *k, DhcBuilder *b, const DhcNode *n) {
  DhcValue **args = DHC_NEW_N(k->c->px->scratch, DhcValue *, n->n_args + 1);
  for (int i = 0; i < n->n_args; i++)
    if (!(args[i] = k->map[n->args[i]->id])) return false;
  DhcNode *r = dhc_node_copy(b, n, args);
  if (r) k->map[n->results[0]->id] = r->results[0];
  return r != NULL;
}

static bool build_region(Recur *k) {
  DhcChunk *c = k->c;
  DhcArena *a = c->m->arena;
  DhcBuilder b = {.f = k->f, .span = k->f->span};
  DhcValue *begin = c->scans.at[0]->args[2];
  bool ok = true;
  for (int i = 0; i < c->leaves.n; i++) param(k, "x", c->leaves.at[i]);
  for (int i = 0; i < c->consts.n; i++) param(k, "const", c->consts.at[i]);
  if (!k->map[begin->id]) {
    if (begin->def->op == DHC_OP_FILL) ok = copy(k, &b, begin->def);
    else param(k, "state", begin);
  }
  for (const DhcNode *n = c->f->first; ok && n; n = n->next)
    if (dhc_chunk_is_inside(c, n)) ok = copy(k, &b, n);
  for (int i = 0; ok && i < c->outputs.n; i++)
    dhc_func_result(k->f, k->map[c->outputs.at[i]->id], dhc_arena_printf(a, "y.%d", i));
  for (int i = 0; ok && i < c->lasts.n; i++) {
    ok = copy(k, &b, c->lasts.at[i]);
    if (ok) dhc_func_result(k->f, k->map[c->lasts.at[i]->results[0]->id], dhc_arena_printf(a, "state.%d", i));
  }
  return ok;
}

static DhcNode *call(DhcBuilder *b, DhcFunc *f, DhcValue *const *args, int n) {
  DhcAttr attrs[2] = {dhc_attr_func(f), dhc_ad_own_dims(b->f->module, f)};
  return dhc_build(b, DHC_OP_CALL, args, n, attrs, 2);
}

/* The derivative of f, with the signature of a composite's: f.fwd, then f.bwd, in place. */
static DhcFunc *build_back(DhcPassCtx *px, DhcFunc *f) {
  DhcModule *m = px->module;
  const DhcGradPair *pair = dhc_autodiff(px, f);
  if (!pair) return NULL;
  DhcFunc *g = dhc_func_new(m, dhc_arena_printf(m->arena, "%s.back", f->name), DHC_FUNC_COMPOSITE, f->span);
  DhcBuilder b = {.f = g, .span = f->span};
  int n = 0, n_params = f->params.n + 2 * f->results.n;
  DhcValue **p = DHC_NEW_N(m->arena, DhcValue *, n_params + 1), **args = DHC_NEW_N(m->arena, DhcValue *, n_params + pair->n_saved + 1);
  g->kernel = DHC_KERNEL_RECURRENCE_BACK;
  dhc_edit_copy_binders(g, f);
  for (int i = 0; i < f->params.n; i++) p[n++] = dhc_func_param(g, &f->params.at[i]->type, f->param_info.at[i], f->span);
  for (int round = 0; round < 2; round++)
    for (int i = 0; i < f->results.n; i++) {
      const char *name = dhc_arena_printf(m->arena, "%s%s", round ? DHC_PREFIX_COTANGENT : "", f->result_names.at[i]);
      p[n++] = dhc_func_param(g, &f->results.at[i]->type, (DhcParamInfo){name, DHC_ROLE_PLAIN, -1}, f->span);
    }
  DhcNode *fwd = call(&b, pair->fwd, p, f->params.n);
  if (!fwd) return NULL;
  int k = 0;
  for (int i = 0; i < pair->n_input; i++) args[k++] = p[pair->input[i]];
  for (int i = 0; i < pair->n_saved; i++) args[k++] = fwd->results[pair->saved[i]];
  for (int i = 0; i < f->results.n; i++) args[k++] = p[f->params.n + f->results.n + i];
  DhcNode *bwd = call(&b, pair->bwd, args, k);
  if (!bwd) return NULL;
  for (int i = 0; i < bwd->n_results; i++) dhc_func_result(g, bwd->results[i], pair->bwd->result_names.at[i]);
  dhc_inline_call(fwd);
  dhc_inline_call(bwd);
  dhc_edit_drop(m, pair->fwd);
  dhc_edit_drop(m, pair->bwd);
  return g;
}

/* ---- the rewrite ------------------------------------------------------------------------------------- */

static bool rewrite(DhcChunk *c) {
  DhcNode *first = c->scans.at[0];
  DhcModule *m = c->m;
  take_products(c);
  Recur k = {.c = c};
  dhc_chunk_move_inputs(c, first);
  k.f = dhc_func_new(m, dhc_arena_printf(m->arena, "%s.recur", c->f->name), DHC_FUNC_UNIT, first->span);
  dhc_edit_copy_binders(k.f, c->f);
  k.map = DHC_NEW_N(c->px->scratch, DhcValue *, c->f->next_value_id + 1);
  k.args = DHC_NEW_N(m->arena, DhcValue *, c->leaves.n + c->consts.n + 2);
  if (!build_region(&k)) return false;
  DhcFunc *back = build_back(c->px, k.f);
  if (!back) return false;
  k.f->kind = DHC_FUNC_COMPOSITE;
  k.f->kernel = DHC_KERNEL_RECURRENCE;
  k.f->vjp = back;
  dhc_edit_place_before(m, k.f, c->f);
  dhc_edit_place_before(m, back, c->f);
  DhcBuilder b = {.f = c->f, .before = first, .span = first->span, .origin = first->origin};
  DhcNode *r = call(&b, k.f, k.args, k.n_args);
  if (!r) return false;
  for (int i = 0; i < c->outputs.n; i++) dhc_replace_uses(c->outputs.at[i], r->results[i]);
  for (int i = 0; i < c->lasts.n; i++) dhc_replace_uses(c->lasts.at[i]->results[0], r->results[c->outputs.n + i]);
  dhc_chunk_sweep(c);
  return true;
}

/* requires: UNFUSED. establishes: -. breaks: -. */
bool dhc_pass_recur(DhcModule *m, DhcPassCtx *px) {
  for (int i = 0; i < m->funcs.n; i++) {
    DhcFunc *f = m->funcs.at[i];
    for (DhcNode *n = f->first, *next; n && f->kind != DHC_FUNC_INIT && !f->kernel; n = next) {
      next = n->next;
      if (n->op != DHC_OP_LINEAR_SCAN) continue;
      const DhcType *t = &n->results[0]->type;
      int axis = (int)dhc_attr(n, "axis")->i;
      DhcChunk c = {.px = px, .m = m, .f = f};
      axis += axis < 0 ? t->rank : 0;
      if (dhc_dim_is(t->dim[axis], 1) || !dhc_chunk_region(&c, n) || !takes(&c, axis) || !dhc_pass_may_change(px)) continue;
      if (!rewrite(&c)) return false;
      next = f->first; /* the region is gone, and with it perhaps the next node */
    }
    while (m->funcs.at[i] != f) i++; /* new functions stand before it now */
  }
  return true;
}
