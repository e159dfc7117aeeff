/* The entry as a flat list: calls and scan bodies in place of the nodes that name them. */
#include "passes/plan/plan_internal.h"

/* A function being put in place: its symbols as dims of the entry, its values. */
typedef struct Frame {
  Pl *p;
  DhcFunc *f;
  const char *label;         /* of the call, or NULL */
  int n_symbols;             /* 0 for the entry */
  const char *const *symbol;
  const DhcDim *const *bound;
  PlVal *value;              /* by value id */
} Frame;

static bool run(Frame *fr);

static const DhcDim *subst(const void *frame, const DhcDim *d) {
  const Frame *fr = frame;
  return fr->n_symbols ? dhc_dim_subst(fr->p->cx, d, fr->n_symbols, fr->symbol, fr->bound) : d;
}

static DhcType type_of(const Frame *fr, const DhcType *t) {
  DhcType r = *t;
  for (int d = 0; d < t->rank; d++) r.dim[d] = subst(fr, t->dim[d]);
  return r;
}

static const DhcDim *const *dims_attr(void *ctx, const DhcNode *n, const char *name) {
  const Frame *fr = ctx;
  const DhcAttr *a = dhc_attr(n, name);
  const DhcDim **r = DHC_NEW_N(fr->p->arena, const DhcDim *, a->dims.n + 1);
  for (int i = 0; i < a->dims.n; i++) r[i] = subst(fr, a->dims.at[i]);
  return r;
}

static PlVal *val(Frame *fr, const DhcValue *v) {
  return &fr->value[v->id];
}

static bool fail(Frame *fr, const DhcNode *n, const char *what) {
  dhc_diag(fr->p->m->diags, DHC_ERROR, "E0920", n->span, "%s: %s", dhc_op_info(n->op)->name, what);
  return false;
}

/* The value in memory row by row; a copy made for it serves later uses, too. */
static PlVal dense(Frame *fr, const DhcValue *v) {
  PlVal *x = val(fr, v);
  return *x = dhc_pl_dense(fr->p, x);
}

/* ---- kernels, fills, views, concats ------------------------------------------------------- */

static void fill_all(Pl *p, const PlVal *v, double value) {
  dhc_pl_fill(p, v, value);
  p->bufs.at[v->buf].constant = true;
  p->bufs.at[v->buf].value = value;
}

static void do_kernel(Frame *fr, const DhcNode *n) {
  Pl *p = fr->p;
  const DhcSpec *s = dhc_attr(n, "spec")->spec;
  const DhcAttr *into = dhc_attr(n, "into");
  int n_in = dhc_spec_n_inputs(s);
  PlVal operand[DHC_SPEC_MAX_OPERANDS];
  const DhcDim *const *dims = dims_attr(fr, n, "dims");
  double value;
  for (int i = 0; i < n_in; i++) operand[i] = dense(fr, n->args[i]);
  for (int o = 0; o < n->n_results; o++) {
    DhcType t = type_of(fr, &n->results[o]->type);
    int within = dhc_kernel_within(n, o);
    operand[n_in + o] = *val(fr, n->results[o]) = within >= 0 ? *val(fr, n->results[within]) : dhc_pl_new(p, &t);
    if (into->ints.at[o] >= 0) dhc_pl_move(p, &operand[n_in + o], val(fr, n->args[into->ints.at[o]]));
  }
  if (into->ints.at[0] < 0 && dhc_pl_constant(p, s, dims, operand, &value))
    fill_all(p, operand, value);
  else
    dhc_pl_call(p, s, dims, operand, dims_attr(fr, n, "offsets"));
}

static void do_fill(Frame *fr, const DhcNode *n) {
  DhcType t = type_of(fr, &n->results[0]->type);
  PlVal v = dhc_pl_new(fr->p, &t);
  fill_all(fr->p, &v, dhc_attr(n, "value")->f);
  *val(fr, n->results[0]) = v;
}

static void do_view(Frame *fr, const DhcNode *n) {
  DhcType t = type_of(fr, &n->results[0]->type);
  PlVal as_it_lies = *val(fr, n->args[0]);
  if (n->op == DHC_OP_RESHAPE && !dhc_pl_reshape(fr->p, &t, &as_it_lies)) dense(fr, n->args[0]);
  *val(fr, n->results[0]) = dhc_pl_view(fr->p, n, &t, val(fr, n->args[0]), subst, fr);
}

/* Whether v has memory yet. */
static bool is_there(const PlVal *v) { return v->offset != NULL; }

static void do_concat(Frame *fr, const DhcNode *n) {
  Pl *p = fr->p;
  DhcType t = type_of(fr, &n->results[0]->type);
  int axis = (int)dhc_attr(n, "axis")->i;
  if (axis < 0) axis += t.rank;
  PlVal *all = val(fr, n->results[0]);
  if (!is_there(all)) *all = dhc_pl_new(p, &t);
  const DhcDim *at = dhc_dim_const(p->cx, 0);
  for (int i = 0; i < n->n_args; i++) {
    const PlVal *x = val(fr, n->args[i]);
    PlVal part = dhc_pl_range(p, all, axis, at, x->type.dim[axis]);
    if (!dhc_pl_same(&part, x)) dhc_pl_move(p, &part, x);
    at = dhc_dim_add(p->cx, at, x->type.dim[axis]);
  }
}

/* ---- calls ----------------------------------------------------------------------------------- */

static Frame frame_of(Frame *up, const DhcNode *n, DhcFunc *f) {
  Frame fr = {.p = up->p, .f = f, .label = up->label ? up->label : n->origin};
  fr.n_symbols = f->symbols.n;
  fr.symbol = f->symbols.at;
  fr.bound = dims_attr(up, n, "dims");
  fr.value = DHC_NEW_N(up->p->arena, PlVal, f->next_value_id + 1);
  return fr;
}

static bool do_call(Frame *up, const DhcNode *n) {
  Frame fr = frame_of(up, n, dhc_attr(n, "callee")->func);
  for (int i = 0; i < n->n_args; i++) *val(&fr, fr.f->params.at[i]) = *val(up, n->args[i]);
  if (!run(&fr)) return false;
  for (int i = 0; i < n->n_results; i++) *val(up, n->results[i]) = *val(&fr, fr.f->results.at[i]);
  return true;
}

/* ---- scans -------------------------------------------------------------------------------------- */

typedef struct Scan {
  int n_carry, n_xs, axis;
  const DhcDim *length;
  bool reverse;
  PlVal *carry; /* whole buffers: what goes from trip to trip */
  PlVal *out;   /* stacked results, by result number */
} Scan;

/* Slice of x that a trip of the loop at depth `depth` sees. */
static PlVal slice_of_trip(Pl *p, const Scan *s, const PlVal *x, int depth) {
  const DhcDim *first = s->reverse ? dhc_dim_addc(p->cx, s->length, -1) : dhc_dim_const(p->cx, 0);
  PlVal v = dhc_pl_row(p, x, s->axis, first);
  const DhcDim *step = dhc_dim_mulc(p->cx, x->stride[s->axis], s->reverse ? -1 : 1);
  v.step[depth] = dhc_dim_is(step, 0) ? NULL : step;
  return v;
}

/* The one node that takes v, behind its own; NULL if several do, or a result is v. */
static const DhcNode *only_user(const DhcFunc *f, const DhcValue *v) {
  const DhcNode *user = NULL;
  for (int i = 0; i < f->results.n; i++)
    if (f->results.at[i] == v) return NULL;
  for (const DhcNode *n = v->def->next; n; n = n->next)
    for (int i = 0; i < n->n_args; i++) {
      if (n->args[i] != v) continue;
      if (user) return NULL;
      user = n;
    }
  return user;
}

/* What a scan stacks is made where a concat wants it, if that alone does: a part of a sequence is not whole memory, so no copy of
 * it could go later. */
static PlVal stacked(Frame *up, const DhcValue *v) {
  Pl *p = up->p;
  DhcType t = type_of(up, &v->type);
  const DhcNode *join = only_user(up->f, v);
  if (join && join->op == DHC_OP_RESHAPE) v = join->results[0], join = only_user(up->f, v);
  if (!join || join->op != DHC_OP_CONCAT) return dhc_pl_new(p, &t);
  DhcType whole = type_of(up, &join->results[0]->type);
  int axis = (int)dhc_attr(join, "axis")->i;
  if (axis < 0) axis += whole.rank;
  const DhcDim *at = dhc_dim_const(p->cx, 0);
  for (int i = 0; join->args[i] != v; i++) at = dhc_dim_add(p->cx, at, subst(up, join->args[i]->type.dim[axis]));
  PlVal *all = val(up, join->results[0]), all_new = is_there(all) ? *all : dhc_pl_new(p, &whole);
  PlVal part = dhc_pl_range(p, &all_new, axis, at, subst(up, v->type.dim[axis]));
  if (!dhc_pl_reshape(p, &t, &part)) return dhc_pl_new(p, &t);
  *all = all_new;
  return part;
}

static void begin_scan(Frame *up, const DhcNode *n, Scan *s, Frame *fr) {
  Pl *p = up->p;
  s->carry = DHC_NEW_N(p->arena, PlVal, s->n_carry + 1);
  s->out = DHC_NEW_N(p->arena, PlVal, n->n_results + 1);
  for (int k = 0; k < s->n_carry; k++) {
    const PlVal *c0 = val(up, n->args[k]);
    s->carry[k] = dhc_pl_new(p, &c0->type);
    dhc_pl_move(p, &s->carry[k], c0);
    *val(fr, fr->f->params.at[k]) = s->carry[k];
  }
  for (int k = s->n_carry + s->n_xs; k < n->n_args; k++)
    *val(fr, fr->f->params.at[k]) = dense(up, n->args[k]);
  for (int k = s->n_carry; k < n->n_results; k++) s->out[k] = stacked(up, n->results[k]);
}

/* What the next trip starts with. All sources that are carries themselves are saved
 * first, because the moves happen one after the other. */
static void next_carries(Frame *fr, const Scan *s) {
  Pl *p = fr->p;
  PlVal *next = DHC_NEW_N(p->arena, PlVal, s->n_carry + 1);
  for (int k = 0; k < s->n_carry; k++) {
    next[k] = *val(fr, fr->f->results.at[k]);
    for (int j = 0; j < s->n_carry; j++) {
      if (next[k].buf != s->carry[j].buf || dhc_pl_same(&next[k], &s->carry[k])) continue;
      PlVal saved = dhc_pl_new(p, &next[k].type);
      dhc_pl_move(p, &saved, &next[k]);
      next[k] = saved;
      break;
    }
  }
  for (int k = 0; k < s->n_carry; k++)
    if (!dhc_pl_same(&next[k], &s->carry[k]))
      dhc_pl_move(p, &s->carry[k], &next[k]);
}

/* Slots of the stacked results. What comes in from outside is stacked at once, before the
 * carries change in place. */
static void stack_results(Frame *fr, const Scan *s, int depth, bool from_outside) {
  for (int k = s->n_carry; k < fr->f->results.n; k++) {
    const DhcValue *v = fr->f->results.at[k];
    if ((v->def->op == DHC_OP_PARAM) != from_outside) continue;
    PlVal slot = slice_of_trip(fr->p, s, &s->out[k], depth);
    dhc_pl_move(fr->p, &slot, val(fr, v));
  }
}

static bool do_scan(Frame *up, const DhcNode *n) {
  Pl *p = up->p;
  Frame fr = frame_of(up, n, dhc_attr(n, "body")->func);
  Scan s = {.n_carry = (int)dhc_attr(n, "n_carry")->i, .n_xs = (int)dhc_attr(n, "n_xs")->i,
            .axis = (int)dhc_attr(n, "axis")->i, .length = subst(up, dhc_attr(n, "length")->dim),
            .reverse = dhc_attr(n, "reverse")->b};
  if (p->depth == DHC_MAX_LOOP_DEPTH) return fail(up, n, "scans are nested more than 4 deep");
  begin_scan(up, n, &s, &fr);
  int loop = p->items.n;
  dhc_pl_item(p, DHC_ITEM_LOOP, 0)->count = s.length;
  int outer = p->loop, depth = p->depth++;
  p->loop = loop;
  for (int k = s.n_carry; k < s.n_carry + s.n_xs; k++)
    *val(&fr, fr.f->params.at[k]) = slice_of_trip(p, &s, val(up, n->args[k]), depth);
  stack_results(&fr, &s, depth, true);
  bool ok = run(&fr);
  if (ok) stack_results(&fr, &s, depth, false);
  if (ok) next_carries(&fr, &s);
  p->items.at[loop].end = p->items.n;
  p->loop = outer;
  p->depth = depth;
  for (int k = 0; k < n->n_results; k++) *val(up, n->results[k]) = k < s.n_carry ? s.carry[k] : s.out[k];
  return ok;
}

/* ---- functions ------------------------------------------------------------------------------------ */

static bool do_update(Frame *fr, const DhcNode *n) {
  Pl *p = fr->p;
  if (p->depth || fr->f != p->entry) return fail(fr, n, "only an entry may assign to what outlives it");
  PlVal *v = val(fr, n->results[0]);
  *v = dense(fr, n->args[1]);
  PlUpdate u = {.target = val(fr, n->args[0])->buf, .value = *v, .node = n};
  DHC_PUSH(p->arena, &p->updates, u);
  return true;
}

/* In place of a copy, which merging mostly makes nothing. */
static bool do_ranks(Frame *fr, const DhcNode *n) {
  Pl *p = fr->p;
  if (p->depth) return fail(fr, n, "ranks meet in no scan");
  PlVal x = dense(fr, n->args[0]), *v = val(fr, n->results[0]);
  *v = dhc_pl_new(p, &x.type);
  dhc_pl_move(p, v, &x);
  PlItem *it = dhc_pl_item(p, DHC_ITEM_RANKS, 2);
  for (int r = 0; r < 2; r++) it->refs[r] = dhc_pl_ref(p, v, r == 1);
  it->bytes = dhc_pl_bytes(p, &v->type);
  it->pattern = n->op == DHC_OP_SUM_RANKS ? DHC_RANKS_SUM : DHC_RANKS_SPREAD;
  if (n->op == DHC_OP_SUM_RANKS) return true;
  const DhcAttr *parts = dhc_attr(n, "parts");
  const DhcDim **dims = DHC_NEW_N(p->arena, const DhcDim *, parts->ints.n + 1);
  for (int i = 0; i < parts->ints.n; i++) dims[i] = dhc_dim_const(p->cx, parts->ints.at[i]);
  it->dims = dims;
  it->n_dims = parts->ints.n;
  return true;
}

static bool do_node(Frame *fr, const DhcNode *n) {
  switch (n->op) {
    case DHC_OP_PARAM: return true;
    case DHC_OP_KERNEL: do_kernel(fr, n); return true;
    case DHC_OP_FILL: do_fill(fr, n); return true;
    case DHC_OP_CONCAT: do_concat(fr, n); return true;
    case DHC_OP_CALL:
    case DHC_OP_CHECKPOINT: return do_call(fr, n);
    case DHC_OP_SCAN: return do_scan(fr, n);
    case DHC_OP_UPDATE: return do_update(fr, n);
    case DHC_OP_SUM_RANKS:
    case DHC_OP_SPREAD_RANKS: return do_ranks(fr, n);
    default: break;
  }
  if (dhc_op_info(n->op)->cls == DHC_CLASS_VIEW) {
    do_view(fr, n);
    return true;
  }
  return fail(fr, n, "fusion should have left no such op");
}

static bool run(Frame *fr) {
  for (const DhcNode *n = fr->f->first; n; n = n->next) {
    fr->p->span = n->span;
    fr->p->label = fr->label ? fr->label : n->origin;
    if (!do_node(fr, n)) return false;
  }
  return true;
}

/* ---- parameters, results, updates ------------------------------------------------------------------- */

dhc_segment dhc_pl_segment(const DhcParamInfo *info) {
  switch (info->role) {
    case DHC_ROLE_WEIGHT: return DHC_SEGMENT_WEIGHTS;
    case DHC_ROLE_FLAT: return strcmp(info->name, DHC_NAME_WEIGHTS) == 0 ? DHC_SEGMENT_WEIGHTS : DHC_SEGMENT_MOMENTS;
    case DHC_ROLE_BUFFER:
    case DHC_ROLE_TABLE: return DHC_SEGMENT_BUFFERS;
    case DHC_ROLE_STATE: return DHC_SEGMENT_STATES;
    case DHC_ROLE_SCALAR: return DHC_SEGMENT_SCALARS;
    case DHC_ROLE_INPUT:
    case DHC_ROLE_PLAIN: return DHC_SEGMENT_IO;
  }
  return DHC_SEGMENT_IO;
}

/* Buffer i is parameter i. */
static void add_params(Pl *p, Frame *fr) {
  for (int i = 0; i < fr->f->params.n; i++) {
    DhcValue *v = fr->f->params.at[i];
    const DhcParamInfo *info = &fr->f->param_info.at[i];
    int b = dhc_pl_buffer(p, dhc_pl_segment(info), v->type.dtype, dhc_pl_bytes(p, &v->type));
    p->bufs.at[b].name = info->name;
    p->bufs.at[b].fixed = true;
    *val(fr, v) = dhc_pl_whole(p, b, &v->type);
  }
}

static const PlUpdate *update_of(const Pl *p, int target) {
  for (int i = p->updates.n; i-- > 0;)
    if (p->updates.at[i].target == target) return &p->updates.at[i];
  return NULL;
}

static bool is_whole(const Pl *p, const PlVal *v) {
  return dhc_dim_is(v->offset, 0) &&
         dhc_dim_mulc(p->cx, dhc_type_elements(p->cx, &v->type), dhc_dtype_bytes(v->type.dtype)) == p->bufs.at[v->buf].bytes;
}

/* Dense values with the same first byte and size. */
static bool same_place(const Pl *p, const PlVal *a, const PlVal *b) {
  return a->buf == b->buf && a->offset == b->offset && a->type.dtype == b->type.dtype &&
         dhc_type_elements(p->cx, &a->type) == dhc_type_elements(p->cx, &b->type);
}

/* Buffer of result i, whose value is v: the parameter that gets v by an update or is v;
 * that of an equal earlier result; else one of its own, copied into. */
static int place_result(Pl *p, const PlVal *value, int i) {
  const PlVal *v = &value[i];
  for (int u = 0; u < p->updates.n; u++)
    if (update_of(p, p->updates.at[u].target) == &p->updates.at[u] && same_place(p, v, &p->updates.at[u].value))
      return p->updates.at[u].target;
  if (v->buf < p->entry->params.n && is_whole(p, v) && !update_of(p, v->buf)) return v->buf;
  for (int j = 0; j < i; j++)
    if (same_place(p, v, &value[j])) return p->result_buf[j];
  int b = dhc_pl_buffer(p, DHC_SEGMENT_IO, v->type.dtype, dhc_pl_bytes(p, &v->type));
  p->bufs.at[b].name = p->entry->result_names.at[i];
  p->bufs.at[b].fixed = true;
  PlVal r = dhc_pl_whole(p, b, &v->type);
  dhc_pl_move(p, &r, v);
  return b;
}

static void write_results(Pl *p, Frame *fr) {
  int n = p->entry->results.n;
  PlVal *value = DHC_NEW_N(p->arena, PlVal, n + 1);
  p->result_buf = DHC_NEW_N(p->arena, int, n + 1);
  for (int i = 0; i < n; i++) value[i] = dhc_pl_dense(p, val(fr, p->entry->results.at[i]));
  for (int i = 0; i < n; i++) p->result_buf[i] = place_result(p, value, i);
}

/* Last of all, so that everything else has read the old values. */
static void write_updates(Pl *p) {
  for (int i = 0; i < p->updates.n; i++) {
    PlUpdate *u = &p->updates.at[i];
    if (u->value.buf == u->target || !update_of(p, u->value.buf)) continue;
    PlVal saved = dhc_pl_new(p, &u->value.type);
    p->span = u->node->span;
    dhc_pl_move(p, &saved, &u->value);
    u->value = saved;
  }
  for (int i = 0; i < p->updates.n; i++) {
    PlUpdate *u = &p->updates.at[i];
    PlVal to = dhc_pl_whole(p, u->target, &u->value.type);
    p->span = u->node->span;
    p->label = u->node->origin;
    if (!dhc_pl_same(&to, &u->value)) dhc_pl_move(p, &to, &u->value);
  }
}

bool dhc_pl_flatten(Pl *p) {
  Frame fr = {.p = p, .f = p->entry, .value = DHC_NEW_N(p->arena, PlVal, p->entry->next_value_id + 1)};
  add_params(p, &fr);
  if (!run(&fr)) return false;
  p->label = NULL;
  write_results(p, &fr);
  write_updates(p);
  return true;
}
