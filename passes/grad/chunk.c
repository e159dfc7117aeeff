/* Recurrences over states, before they are differentiated.
 *
 *   h = linear_scan(a, b), y = sum over n of c h     with states [B, L, D, N]
 *
 * Reverse mode needs every h, and L of them are too many to keep. So a recurrence whose
 * operands are made of smaller values, and whose states are contracted, becomes a scan over
 * chunks of steps whose body does the same for one chunk from the state that the chunk
 * before left. The derivative of a scan keeps what it carries, here one state a chunk, and
 * computes the rest again, chunk by chunk from the last to the first. Every step is computed
 * as before, so no bit of the result changes.
 *
 * Steps behind the last whole chunk are a part of their own, a scan of one chunk of fewer steps that begins where the whole ones
 * end (or they where it does, backwards). Nothing is filled up, and what goes in and out is read and written where it lies.
 */
#include "passes/grad/ad_internal.h"
#include "passes/grad/chunk.h"

/* Steps of a chunk: few enough that a chunk's states stay near the core, as many as there
 * are states to a channel at least, that those kept are no more than the inputs. */
enum { STEPS = 32 };

/* Neighbouring chunks of one length, one scan. */
typedef struct Part {
  const DhcDim *from, *steps, *chunks; /* first step; steps of a chunk; how many of these */
} Part;

typedef struct Build {
  DhcChunk *c;
  DhcBuilder b;        /* in front of the region */
  Part part;           /* being built */
  int axis;            /* of the chunks in what goes in and out: in front of the steps, where all have them at the same place,
                          so that a trip reads and writes its part where it lies; else 0 */
  DhcFunc *body;
  DhcBuilder in;       /* in the body */
  DhcValue **map;      /* by value id: its value in the body */
  DhcValue **state;    /* by recurrence: what it starts from, in the body */
  DhcValue **entering; /* by recurrence: what it starts from, outside, as the scan carries it; then what it leaves */
  DhcValue **args;
  int n_args;
} Build;

/* ---- sizes --------------------------------------------------------------------------------- */

static int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

/* Steps of a chunk for a sequence of v: a divisor of v if one is near. */
static int64_t steps_of(int64_t v) {
  for (int64_t k = STEPS; k >= STEPS / 2; k--)
    if (v % k == 0) return k;
  return ceil_div(v, ceil_div(v, STEPS));
}

/* The parts of all steps, in their order; of the last there is at least one step. */
static int set_parts(const DhcChunk *c, Part *part) {
  DhcDims *cx = c->m->dims;
  int64_t v, steps = dhc_dim_is_const(c->length, &v) ? steps_of(v) : STEPS;
  const DhcDim *chunks = dhc_dim_floordiv(cx, c->length, steps), *zero = dhc_dim_const(cx, 0);
  part[0] = (Part){zero, dhc_dim_const(cx, steps), chunks};
  if (dhc_dim_mulc(cx, chunks, steps) == c->length) return 1;
  part[0].chunks = dhc_dim_floordiv(cx, dhc_dim_addc(cx, c->length, -1), steps);
  const DhcDim *end = dhc_dim_mulc(cx, part[0].chunks, steps);
  part[1] = (Part){end, dhc_dim_sub(cx, c->length, end), dhc_dim_const(cx, 1)};
  return 2;
}

/* ---- outside: all steps to chunks and back --------------------------------------------------- */

static DhcValue *with_dim(DhcBuilder *b, DhcValue *v, int axis, const DhcDim *const *to, int n) {
  const DhcDim *dim[DHC_MAX_RANK + 1];
  int rank = 0;
  for (int i = 0; i < v->type.rank; i++) {
    if (i != axis) dim[rank++] = v->type.dim[i];
    else
      for (int j = 0; j < n; j++) dim[rank++] = to[j];
  }
  return dhc_b_reshape(b, v, dim, rank);
}

static DhcValue *move_axis(DhcBuilder *b, DhcValue *v, int from, int to) {
  int64_t perm[DHC_MAX_RANK];
  int at = 0;
  for (int i = 0; i < v->type.rank; i++, at++) {
    if (at == from) at++;
    if (i == to) perm[i] = from, at--;
    else perm[i] = at;
  }
  return dhc_b_transpose(b, v, perm);
}

static const DhcDim *part_length(const Build *k) {
  return dhc_dim_mul(k->c->m->dims, k->part.chunks, k->part.steps);
}

static DhcValue *to_chunks(Build *k, DhcValue *v, int axis) {
  const DhcDim *split[2] = {k->part.chunks, k->part.steps}, *length = part_length(k);
  if (length != k->c->length) v = dhc_b_slice(&k->b, v, axis, k->part.from, length);
  if (v) v = with_dim(&k->b, v, axis, split, 2);
  return v && axis != k->axis ? move_axis(&k->b, v, axis, k->axis) : v;
}

static DhcValue *from_chunks(Build *k, DhcValue *v, int axis) {
  if (axis != k->axis) v = move_axis(&k->b, v, k->axis, axis);
  const DhcDim *dim[DHC_MAX_RANK];
  int rank = 0;
  for (int i = 0; v && i < v->type.rank; i++)
    if (i != axis) dim[rank++] = i == axis + 1 ? part_length(k) : v->type.dim[i];
  return v ? dhc_b_reshape(&k->b, v, dim, rank) : NULL;
}

/* Where all that goes in and out by chunks has its steps; 0 where they do not agree. */
static int common_axis(const DhcChunk *c) {
  int axis = c->at[c->scans.at[0]->results[0]->id].axis;
  for (int i = 0; i < c->leaves.n; i++)
    if (c->at[c->leaves.at[i]->id].axis != axis) return 0;
  for (int i = 0; i < c->outputs.n; i++)
    if (c->at[c->outputs.at[i]->id].axis != axis) return 0;
  return axis;
}

/* ---- inside ---------------------------------------------------------------------------------- */

static DhcValue *param(Build *k, const char *what, const DhcType *t, DhcValue *arg) {
  DhcParamInfo info = {dhc_arena_printf(k->c->m->arena, "%s.%d", what, k->n_args), DHC_ROLE_PLAIN, -1};
  k->args[k->n_args++] = arg;
  return arg ? dhc_func_param(k->body, t, info, k->b.span) : NULL;
}

/* Whether v, outside, has the states' last two axes as its own: kernels work on many channels at
 * once, and fold the last axis. */
static bool is_wide(const DhcChunk *c, const DhcType *t) {
  const DhcType *h = &c->scans.at[0]->results[0]->type;
  int64_t channels;
  if (t->rank < 2 || h->rank < 3 || !c->folds_last || c->at[c->scans.at[0]->results[0]->id].axis >= h->rank - 2) return false;
  if (dhc_dim_is_const(h->dim[h->rank - 2], &channels) && channels < 16) return false;
  return t->dim[t->rank - 1] == h->dim[h->rank - 1] && t->dim[t->rank - 2] == h->dim[h->rank - 2];
}

static DhcValue *swap_last(DhcBuilder *b, DhcValue *v) {
  int64_t perm[DHC_MAX_RANK];
  int rank = v->type.rank;
  for (int i = 0; i < rank; i++) perm[i] = i;
  perm[rank - 1] = rank - 2;
  perm[rank - 2] = rank - 1;
  return dhc_b_transpose(b, v, perm);
}

/* v as it is handed over: with the channels side by side. */
static DhcValue *widened(Build *k, DhcValue *v) {
  return is_wide(k->c, &v->type) ? swap_last(&k->b, v) : v;
}

/* A parameter for `arg`, v so handed over, as v is outside. */
static DhcValue *wide_param(Build *k, const char *what, const DhcValue *v, DhcValue *arg) {
  DhcValue *p = arg ? param(k, what, &arg->type, arg) : NULL;
  return p && is_wide(k->c, &v->type) ? swap_last(&k->in, p) : p;
}

/* Carries, then the leaves, then the constants. */
static bool build_params(Build *k, int *n_xs) {
  DhcChunk *c = k->c;
  bool ok = true;
  for (int i = 0; i < c->scans.n; i++) {
    ok &= (k->state[i] = wide_param(k, "state", c->scans.at[i]->args[2], k->entering[i])) != NULL;
  }
  for (int i = 0; i < c->leaves.n; i++) {
    DhcValue *v = c->leaves.at[i];
    int axis = c->at[v->id].axis;
    DhcType t = v->type;
    t.dim[axis] = k->part.steps;
    ok &= (k->map[v->id] = param(k, "x", &t, to_chunks(k, v, axis))) != NULL;
  }
  *n_xs = k->n_args - c->scans.n;
  for (int i = 0; i < c->consts.n; i++) {
    DhcValue *v = c->consts.at[i];
    ok &= (k->map[v->id] = wide_param(k, "const", v, widened(k, v))) != NULL;
  }
  return ok;
}

/* n's attributes with a chunk's steps in place of all, at `axis` of its result. */
static void chunk_attrs(Build *k, const DhcNode *n, int axis, DhcAttr *out) {
  const DhcOpInfo *info = dhc_op_info(n->op);
  for (int i = 0; i < info->n_attrs; i++) {
    out[i] = n->attrs[i];
    bool shape = strcmp(info->attrs[i].name, "shape") == 0 || strcmp(info->attrs[i].name, "size") == 0;
    if (!shape || n->attrs[i].kind != DHC_ATTR_DIMS) continue;
    const DhcDim *dim[DHC_MAX_RANK];
    for (int d = 0; d < n->attrs[i].dims.n; d++) dim[d] = d == axis ? k->part.steps : n->attrs[i].dims.at[d];
    out[i] = dhc_attr_dims(k->c->m, dim, n->attrs[i].dims.n);
  }
}

static bool copy_inside(Build *k, const DhcNode *n) {
  DhcChunk *c = k->c;
  int axis = c->at[n->results[0]->id].axis;
  DhcValue **args = DHC_NEW_N(c->px->scratch, DhcValue *, n->n_args + 1);
  DhcAttr attrs[DHC_MAX_ATTRS];
  for (int i = 0; i < n->n_args; i++) args[i] = k->map[n->args[i]->id];
  k->in.span = n->span;
  k->in.origin = n->origin;
  if (n->op == DHC_OP_LINEAR_SCAN) {
    int s = 0;
    while (c->scans.at[s] != n) s++;
    args[2] = k->state[s];
  }
  for (int i = 0; i < n->n_args; i++)
    if (!args[i]) return false;
  chunk_attrs(k, n, axis, attrs);
  DhcValue *v = dhc_build1(&k->in, n->op, args, n->n_args, attrs, dhc_op_info(n->op)->n_attrs);
  k->map[n->results[0]->id] = v;
  return v != NULL;
}

static bool build_results(Build *k) {
  DhcChunk *c = k->c;
  DhcArena *a = c->m->arena;
  DhcDims *cx = c->m->dims;
  for (int i = 0; i < c->scans.n; i++) {
    const DhcNode *n = c->scans.at[i];
    DhcValue *h = k->map[n->results[0]->id];
    const DhcDim *one = dhc_dim_const(cx, 1), *at = dhc_dim_addc(cx, k->part.steps, -1);
    DhcValue *last = dhc_b_slice(&k->in, h, c->at[n->results[0]->id].axis, c->reverse ? dhc_dim_const(cx, 0) : at, one);
    if (last) last = dhc_b_reshape(&k->in, last, n->args[2]->type.dim, n->args[2]->type.rank);
    if (last && is_wide(c, &last->type)) last = swap_last(&k->in, last);
    if (!last) return false;
    dhc_func_result(k->body, last, dhc_arena_printf(a, "state.%d", i));
  }
  for (int i = 0; i < c->outputs.n; i++)
    dhc_func_result(k->body, k->map[c->outputs.at[i]->id], dhc_arena_printf(a, "y.%d", i));
  return true;
}

bool dhc_chunk_is_inside(const DhcChunk *c, const DhcNode *n) {
  return n->n_results == 1 && n->results[0]->id < c->n_values && c->at[n->results[0]->id].place == DHC_CHUNK_INSIDE;
}

static bool build_body(Build *k, int *n_xs) {
  DhcChunk *c = k->c;
  k->body = dhc_func_new(c->m, dhc_arena_printf(c->m->arena, "%s.chunk", c->f->name), DHC_FUNC_BODY, k->b.span);
  dhc_edit_copy_binders(k->body, c->f);
  k->in = (DhcBuilder){.f = k->body};
  k->map = DHC_NEW_N(c->px->scratch, DhcValue *, c->f->next_value_id + 1);
  k->args = DHC_NEW_N(c->px->scratch, DhcValue *, c->scans.n + c->leaves.n + c->consts.n + 1);
  k->state = DHC_NEW_N(c->px->scratch, DhcValue *, c->scans.n + 1);
  if (!build_params(k, n_xs)) return false;
  for (const DhcNode *n = c->f->first; n; n = n->next)
    if (dhc_chunk_is_inside(c, n) && !copy_inside(k, n)) return false;
  return build_results(k);
}

/* ---- the rewrite ---------------------------------------------------------------------------------- */

/* Nodes that the region reads but that stand behind its first recurrence move in front of it. */
void dhc_chunk_move_inputs(DhcChunk *c, DhcNode *first) {
  bool *need = DHC_NEW_N(c->px->scratch, bool, c->f->next_value_id + 1);
  for (int i = 0; i < c->leaves.n; i++) need[c->leaves.at[i]->id] = true;
  for (int i = 0; i < c->consts.n; i++) need[c->consts.at[i]->id] = true;
  for (int i = 0; i < c->scans.n; i++) need[c->scans.at[i]->args[2]->id] = true;
  for (const DhcNode *n = c->f->last; n; n = n->prev) {
    bool any = false;
    for (int i = 0; i < n->n_results; i++) any |= need[n->results[i]->id];
    for (int i = 0; any && i < n->n_args; i++) need[n->args[i]->id] = true;
  }
  for (DhcNode *n = first, *next; n; n = next) {
    next = n->next;
    bool any = false;
    for (int i = 0; i < n->n_results; i++) any |= need[n->results[i]->id];
    if (any) dhc_edit_move_before(n, first);
  }
}

/* What only fed the recurrences goes. */
void dhc_chunk_sweep(DhcChunk *c) {
  int *uses = dhc_use_counts(c->f, c->px->scratch);
  for (DhcNode *n = c->f->last, *prev; n; n = prev) {
    prev = n->prev;
    if (n->n_results != 1 || uses[n->results[0]->id]) continue;
    bool region = dhc_chunk_is_inside(c, n);
    for (int i = 0; i < c->lasts.n; i++) region |= c->lasts.at[i] == n;
    if (!region) continue;
    for (int i = 0; i < n->n_args; i++) uses[n->args[i]->id]--;
    dhc_node_remove(n);
  }
}

static DhcNode *first_scan(const DhcChunk *c) {
  DhcNode *n = c->f->first;
  for (;; n = n->next)
    for (int i = 0; i < c->scans.n; i++)
      if (c->scans.at[i] == n) return n;
}

/* The scan over the part's chunks; the states go on from what it leaves. */
static DhcNode *build_part(Build *k) {
  DhcChunk *c = k->c;
  int n_xs;
  if (!build_body(k, &n_xs)) return NULL;
  dhc_edit_place_before(c->m, k->body, c->f);
  DhcAttr attrs[7] = {dhc_attr_func(k->body), dhc_ad_own_dims(c->m, c->f), dhc_attr_int(c->scans.n),
                      dhc_attr_int(n_xs),     dhc_attr_int(k->axis),       dhc_attr_dim(k->part.chunks),
                      dhc_attr_bool(c->reverse)};
  DhcNode *r = dhc_build(&k->b, DHC_OP_SCAN, k->args, k->n_args, attrs, 7);
  for (int i = 0; r && i < c->scans.n; i++) k->entering[i] = r->results[i];
  return r;
}

static bool build_outputs(Build *k, DhcNode *const *r, const Part *part, int n) {
  for (int i = 0; i < k->c->outputs.n; i++) {
    DhcValue *v = k->c->outputs.at[i], *piece[2];
    int axis = k->c->at[v->id].axis;
    for (int p = 0; p < n; p++) {
      k->part = part[p];
      if (!(piece[p] = from_chunks(k, r[p]->results[k->c->scans.n + i], axis))) return false;
    }
    DhcValue *y = n == 1 ? piece[0] : dhc_b_concat(&k->b, piece, n, axis);
    if (!y) return false;
    dhc_replace_uses(v, y);
  }
  return true;
}

static bool rewrite(DhcChunk *c) {
  DhcNode *first = first_scan(c), *r[2];
  Build k = {.c = c, .b = {.f = c->f, .before = first, .span = first->span, .origin = first->origin}, .axis = common_axis(c)};
  Part part[2];
  int n = set_parts(c, part);
  dhc_chunk_move_inputs(c, first);
  k.entering = DHC_NEW_N(c->px->scratch, DhcValue *, c->scans.n + 1);
  for (int i = 0; i < c->scans.n; i++)
    if (!(k.entering[i] = widened(&k, c->scans.at[i]->args[2]))) return false;
  for (int i = 0; i < n; i++) {
    int p = c->reverse ? n - 1 - i : i;
    k.part = part[p];
    k.n_args = 0;
    if (!(r[p] = build_part(&k))) return false;
  }
  if (!build_outputs(&k, r, part, n)) return false;
  for (int i = 0; i < c->lasts.n; i++) {
    DhcValue *to = c->lasts.at[i]->results[0];
    int s = 0;
    while (c->scans.at[s] != c->lasts.at[i]->args[0]->def) s++;
    DhcValue *last = k.entering[s];
    if (is_wide(c, &c->scans.at[s]->args[2]->type)) last = swap_last(&k.b, last);
    if (last) last = dhc_b_reshape(&k.b, last, to->type.dim, to->type.rank);
    if (!last) return false;
    dhc_replace_uses(to, last);
  }
  dhc_chunk_sweep(c);
  return true;
}

static bool is_long(const DhcNode *n) {
  const DhcType *t = &n->results[0]->type;
  int axis = (int)dhc_attr(n, "axis")->i;
  int64_t v;
  return !dhc_dim_is_const(t->dim[axis < 0 ? axis + t->rank : axis], &v) || v > STEPS;
}

/* requires: UNFUSED. establishes: -. breaks: -. */
bool dhc_pass_chunk(DhcModule *m, DhcPassCtx *px) {
  for (int i = 0; i < m->funcs.n; i++) {
    DhcFunc *f = m->funcs.at[i];
    for (DhcNode *n = f->first, *next; n && f->kind != DHC_FUNC_INIT && !f->kernel; n = next) {
      next = n->next;
      if (n->op != DHC_OP_LINEAR_SCAN || !is_long(n)) continue;
      DhcChunk c = {.px = px, .m = m, .f = f, .joins = true};
      if (!dhc_chunk_region(&c, n) || !dhc_pass_may_change(px)) continue;
      if (!rewrite(&c)) return false;
      next = f->first; /* the region is gone, and with it perhaps the next node */
    }
    while (m->funcs.at[i] != f) i++; /* bodies stand before it now */
  }
  return true;
}
