/* The dhc_plan: rows for buffers that are left, items with programs for dims, guards. */
#include "passes/plan/plan_internal.h"

typedef struct Emit {
  Pl *p;
  DhcPlanned *out;
  DHC_VEC(dhc_buffer) rows;
  DHC_VEC(dhc_dtype) dtypes; /* of the rows' elements */
  DHC_VEC(const char *) names; /* of the rows, for texts */
  DHC_VEC(dhc_item) items;
  DHC_VEC(const DhcSpec *) specs;
  DHC_VEC(const PlItem *) begun; /* items of ranks that nothing has waited for yet */
} Emit;

static dhc_dimprog program(const Emit *e, const DhcDim *d) {
  if (!d || dhc_dim_is(d, 0)) return (dhc_dimprog){0};
  return dhc_dim_program(d, e->p->entry->symbols.n, e->p->entry->symbols.at, e->p->arena);
}

/* ---- buffers ------------------------------------------------------------------------ */

/* Parameters, inputs and results lie one after the other. */
static void follow_previous(Emit *e, dhc_buffer *b) {
  for (int i = e->rows.n; i-- > 0;) {
    if (e->rows.at[i].segment != b->segment || e->rows.at[i].alias >= 0) continue;
    int32_t *below = DHC_NEW(e->p->arena, int32_t);
    *below = i;
    b->below = below;
    b->n_below = 1;
    return;
  }
}

static void push_row(Emit *e, const dhc_buffer *b, dhc_dtype t, const char *name) {
  DHC_PUSH(e->p->arena, &e->rows, *b);
  DHC_PUSH(e->p->arena, &e->dtypes, t);
  DHC_PUSH(e->p->arena, &e->names, name);
}

static void add_row(Emit *e, int buf) {
  PlBuf *s = &e->p->bufs.at[buf];
  dhc_buffer b = {.segment = (int32_t)s->segment, .alias = -1};
  b.bytes = program(e, s->bytes);
  if (s->segment != DHC_SEGMENT_WORK) follow_previous(e, &b);
  s->row = e->rows.n;
  push_row(e, &b, s->dtype, s->name);
}

static int alias_row(Emit *e, int row, const char *name) {
  dhc_buffer b = e->rows.at[row];
  b.alias = row;
  b.at = (dhc_dimprog){0};
  b.below = NULL;
  b.n_below = 0;
  push_row(e, &b, e->dtypes.at[row], name);
  return e->rows.n - 1;
}

static void emit_rows(Emit *e) {
  Pl *p = e->p;
  const DhcFunc *f = p->entry;
  bool *named = DHC_NEW_N(p->arena, bool, p->bufs.n + 1);
  for (int i = 0; i < f->results.n; i++) named[p->result_buf[i]] = true;
  for (int b = 0; b < p->bufs.n; b++) {
    const PlBuf *s = &p->bufs.at[b];
    if (s->parent < 0 && (s->uses.n || named[b])) add_row(e, b);
  }
}

static void emit_tensors(Emit *e) {
  Pl *p = e->p;
  const DhcFunc *f = p->entry;
  DhcPlanned *o = e->out;
  o->n_params = f->params.n;
  o->n_results = f->results.n;
  o->params = DHC_NEW_N(p->arena, DhcPlanTensor, o->n_params + 1);
  o->results = DHC_NEW_N(p->arena, DhcPlanTensor, o->n_results + 1);
  for (int i = 0; i < o->n_params; i++) {
    const DhcParamInfo *info = &f->param_info.at[i];
    DhcRole role = info->role == DHC_ROLE_PLAIN ? DHC_ROLE_INPUT : info->role;
    o->params[i] = (DhcPlanTensor){info->name, role, f->params.at[i]->type, p->bufs.at[i].row};
  }
  bool *taken = DHC_NEW_N(p->arena, bool, p->bufs.n + 1);
  for (int i = 0; i < o->n_results; i++) {
    int b = p->result_buf[i], row = p->bufs.at[b].row;
    const char *name = f->result_names.at[i];
    bool own = b >= o->n_params && !taken[b];
    taken[b] = true;
    o->results[i] = (DhcPlanTensor){name, DHC_ROLE_PLAIN, f->results.at[i]->type, own ? row : alias_row(e, row, name)};
  }
}

/* ---- items ---------------------------------------------------------------------------- */

static int kernel_of(Emit *e, const DhcSpec *s) {
  for (int i = 0; i < e->specs.n; i++)
    if (e->specs.at[i] == s) return i;
  DHC_PUSH(e->p->arena, &e->specs, s);
  return e->specs.n - 1;
}

/* A loop of no trips evaluates its places all the same: the start of a falling reference must
 * not fall below the buffer then. */
static dhc_dimprog at_least_zero(const Emit *e, dhc_dimprog x) {
  int64_t *code = DHC_NEW_N(e->p->arena, int64_t, x.n_code + 3);
  if (x.n_code) memcpy(code, x.code, sizeof *code * (size_t)x.n_code);
  code[x.n_code] = DHC_DIM_CONST;
  code[x.n_code + 1] = 0;
  code[x.n_code + 2] = DHC_DIM_MAX;
  return (dhc_dimprog){code, x.n_code + 3};
}

static dhc_ref make_ref(const Emit *e, const PlRef *r) {
  Pl *p = e->p;
  const DhcDim *offset, *step[DHC_MAX_LOOP_DEPTH];
  dhc_ref out = {.buffer = p->bufs.at[dhc_pl_resolve(p, r, &offset, step)].row};
  out.offset = program(e, offset);
  bool falls = false;
  const DhcDim *zero = dhc_dim_const(p->cx, 0);
  for (int d = 0; d < DHC_MAX_LOOP_DEPTH; d++) {
    out.step[d] = program(e, step[d]);
    falls = falls || (step[d] && dhc_dim_le(p->cx, p->facts, zero, step[d]) != DHC_TRUE);
  }
  if (falls && out.offset.n_code) out.offset = at_least_zero(e, out.offset);
  const DhcDim *low, *high, *bytes = p->bufs.at[dhc_pl_extent(p, r, &low, &high)].bytes;
  out.low = program(e, low);
  if (high != bytes) out.high = dhc_dim_program(high, p->entry->symbols.n, p->entry->symbols.at, p->arena);
  return out;
}

static void add_item(Emit *e, const PlItem *it) {
  const Pl *p = e->p;
  dhc_item o = {.kind = (int32_t)it->kind, .kernel = -1, .n_refs = it->n_refs, .label = it->label};
  dhc_ref *refs = DHC_NEW_N(p->arena, dhc_ref, it->n_refs + 1);
  for (int r = 0; r < it->n_refs; r++) refs[r] = make_ref(e, &it->refs[r]);
  o.refs = refs;
  dhc_dimprog *dims = DHC_NEW_N(p->arena, dhc_dimprog, it->n_dims + 1);
  for (int d = 0; d < it->n_dims; d++) dims[d] = program(e, it->dims[d]);
  o.n_dims = it->n_dims;
  o.dims = dims;
  if (it->kind == DHC_ITEM_CALL) {
    o.kernel = kernel_of(e, it->spec);
    e->out->n_calls++;
  } else if (it->kind == DHC_ITEM_LOOP) {
    o.count = program(e, it->count);
  } else {
    o.bytes = program(e, it->bytes);
    o.pattern = it->pattern;
  }
  DHC_PUSH(p->arena, &e->items, o);
}

/* Whether item i, or one of a loop's, touches what an item of ranks has begun on. */
static bool meets_begun(const Emit *e, int i) {
  Pl *p = e->p;
  int end = p->items.at[i].kind == DHC_ITEM_LOOP ? p->items.at[i].end : i + 1;
  const DhcDim *lo[2], *hi[2];
  for (int b = 0; b < e->begun.n; b++) {
    int root = dhc_pl_extent(p, &e->begun.at[b]->refs[1], &lo[0], &hi[0]);
    for (int k = i; k < end; k++)
      for (int r = 0; r < p->items.at[k].n_refs; r++)
        if (!p->items.at[k].gone && dhc_pl_extent(p, &p->items.at[k].refs[r], &lo[1], &hi[1]) == root && !dhc_pl_apart(p, lo[0], hi[0], lo[1], hi[1]))
          return true;
  }
  return false;
}

static void emit_join(Emit *e) {
  dhc_item join = {.kind = DHC_ITEM_JOIN, .kernel = -1};
  DHC_PUSH(e->p->arena, &e->items, join);
  e->begun.n = 0;
}

/* Items [begin, end); loops with nothing in them are left out. */
static void emit_items(Emit *e, int begin, int end) {
  Pl *p = e->p;
  for (int i = begin; i < end; i++) {
    const PlItem *it = &p->items.at[i];
    if (it->gone) continue;
    if (e->begun.n && meets_begun(e, i)) emit_join(e);
    if (it->kind == DHC_ITEM_RANKS) DHC_PUSH(p->arena, &e->begun, it);
    int at = e->items.n;
    add_item(e, it);
    if (it->kind != DHC_ITEM_LOOP) continue;
    emit_items(e, i + 1, it->end);
    e->items.at[at].n_body = e->items.n - at - 1;
    if (e->items.n == at + 1) e->items.n = at;
    i = it->end - 1;
  }
}

/* ---- guards ------------------------------------------------------------------------------ */

const dhc_guard *dhc_entry_guards(const DhcFunc *f, const char *name, DhcArena *arena, int32_t *n) {
  DhcDims *cx = f->module->dims;
  dhc_guard *guards = DHC_NEW_N(arena, dhc_guard, f->facts.nonneg.n + 1);
  *n = 0;
  for (int i = 0; i < f->facts.nonneg.n; i++) {
    const DhcDim *fact = f->facts.nonneg.at[i];
    if (dhc_dim_le(cx, &(DhcFacts){0}, dhc_dim_const(cx, 0), fact) == DHC_TRUE) continue;
    dhc_dimprog x = dhc_dim_program(fact, f->symbols.n, f->symbols.at, arena);
    int64_t *code = DHC_NEW_N(arena, int64_t, x.n_code + 3);
    code[0] = DHC_DIM_CONST;
    code[1] = 0;
    memcpy(code + 2, x.code, sizeof *code * (size_t)x.n_code);
    code[2 + x.n_code] = DHC_DIM_LE;
    DhcFactMessage why = i < f->fact_messages.n ? f->fact_messages.at[i] : (DhcFactMessage){0};
    if (!why.text) {
      DhcText text = {.arena = arena};
      dhc_dim_print_fact(cx, fact, &text);
      why.text = dhc_arena_printf(arena, "needs %s", dhc_text_str(&text));
    }
    if (!why.at.file) why.at = f->span;
    guards[(*n)++] = (dhc_guard){{code, x.n_code + 3}, dhc_arena_printf(arena, "entry '%s': %s", name, why.text),
                                 why.at.file, why.at.begin, why.at.end};
  }
  return guards;
}

bool dhc_pl_emit(Pl *p, DhcPlanned *out) {
  Emit e = {.p = p, .out = out};
  emit_rows(&e);
  emit_tensors(&e);
  emit_items(&e, 0, p->items.n);
  if (e.begun.n) emit_join(&e);
  dhc_plan *plan = &out->plan;
  const char *name = p->entry->name; /* a version's number is not the user's business */
  plan->guards = dhc_entry_guards(p->entry, dhc_arena_strndup(p->arena, name, strcspn(name, ".")), p->arena, &plan->n_guards);
  plan->name = p->entry->name;
  plan->symbols = p->entry->symbols.at;
  plan->n_symbols = p->entry->symbols.n;
  plan->buffers = e.rows.at;
  plan->n_buffers = e.rows.n;
  plan->items = e.items.at;
  plan->n_items = e.items.n;
  plan->n_kernels = e.specs.n;
  out->specs = e.specs.at;
  out->dtypes = e.dtypes.at;
  out->names = e.names.at;
  return true;
}
