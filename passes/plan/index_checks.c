/* Inputs that are indices. Where an integer input, as it was given, is the index of a gather or
 * its like, it must lie inside: by the op's definition another index reads zero or is dropped,
 * which for data is a mistake nobody would see. What is computed from inputs is left alone, so
 * a model that wants other indices says what they mean: select(i == -1, 0, i). */
#include <string.h>

#include "passes/plan/image.h"

/* An input whose elements (all, or those of a part) are indices below `extent`. */
typedef struct IndexPart {
  const DhcDim *start[DHC_MAX_RANK], *size[DHC_MAX_RANK];
  int64_t step[DHC_MAX_RANK];
} IndexPart;
typedef struct IndexCheck {
  int param;            /* of the entry */
  const DhcDim *extent; /* in the entry's symbols */
  const IndexPart *part; /* NULL: all */
  bool exempt;          /* `exempted` is allowed: it never arrives */
  int64_t exempted;
  const char *into; /* name of the tensor it looks into, or NULL */
} IndexCheck;

/* Where a value's elements come from, unchanged and all of them: a parameter of the entry, or
 * a part of it. */
typedef struct Origin {
  int param; /* 1 + number, 0: from elsewhere */
  const IndexPart *part;
  bool exempt; /* one number never arrives as index */
  int64_t exempted;
} Origin;

typedef struct Walk {
  DhcArena *arena, *scratch; /* for checks and their parts; for the rest */
  const DhcFunc *entry;
  DHC_VEC(IndexCheck) checks;
} Walk;

typedef struct Frame {
  const DhcFunc *f;
  Origin *of;                  /* by value id */
  const DhcDim *const *dims;   /* what f's symbols are, in the entry's; NULL: the same */
} Frame;

static const DhcDim *outer_dim(const Frame *f, const DhcDim *d) {
  return f->dims ? dhc_dim_subst(f->f->module->dims, d, f->f->symbols.n, f->f->symbols.at, f->dims) : d;
}

/* x != c or c != x, c a constant: which of them x is, and c. */
static const DhcValue *unequal_to(const DhcValue *cond, int64_t *c) {
  const DhcNode *n = cond->def;
  if (n->op != DHC_OP_NE) return NULL;
  for (int k = 0; k < 2; k++) {
    const DhcValue *v = n->args[k];
    while (v->def->op == DHC_OP_BROADCAST || v->def->op == DHC_OP_CAST) v = v->def->args[0];
    if (v->def->op != DHC_OP_FILL) continue;
    *c = dhc_dtype_from_double(v->type.dtype, dhc_attr(v->def, "value")->f);
    return n->args[1 - k];
  }
  return NULL;
}

/* ---- the ELEMENTS column of the op table ---- */

static Origin elements_same(const Walk *w, const Frame *f, const DhcNode *n) {
  (void)w;
  return f->of[n->args[0]->id];
}

/* Whole numbers stay what they are, in the index's type. */
static Origin elements_of_its_kind(const Walk *w, const Frame *f, const DhcNode *n) {
  bool same = dhc_dtype_is_float(n->args[0]->type.dtype) == dhc_dtype_is_float(n->results[0]->type.dtype);
  return same ? elements_same(w, f, n) : (Origin){0};
}

/* select(x != c, x, other): the elements of x but those that are c. */
static Origin elements_guarded(const Walk *w, const Frame *f, const DhcNode *n) {
  (void)w;
  Origin none = {0}, o = f->of[n->args[1]->id];
  const DhcValue *x = unequal_to(n->args[0], &o.exempted);
  if (!x || !o.param || o.exempt || f->of[x->id].param != o.param || f->of[x->id].part != o.part) return none;
  o.exempt = true;
  return o;
}

static Origin elements_part(const Walk *w, const Frame *f, const DhcNode *n) {
  Origin o = f->of[n->args[0]->id];
  if (!o.param || o.part || !dhc_type_equal(&n->args[0]->type, &w->entry->params.at[o.param - 1]->type)) return (Origin){0};
  IndexPart *p = DHC_NEW(w->arena, IndexPart);
  for (int d = 0; d < n->args[0]->type.rank; d++) {
    p->start[d] = outer_dim(f, dhc_attr(n, "start")->dims.at[d]);
    p->size[d] = outer_dim(f, dhc_attr(n, "size")->dims.at[d]);
    p->step[d] = dhc_attr(n, "step")->ints.at[d];
  }
  o.part = p;
  return o;
}

typedef Origin (*Elements)(const Walk *w, const Frame *f, const DhcNode *n);
static const struct {
  int op;
  Elements of; /* NULL: from elsewhere */
} elements[DHC_N_OPS + 1] = {
#define ELEMENTS(rule) .of = elements_##rule,
#include "ir/ops_column.h"
};

static void record(Walk *w, const Frame *f, const DhcNode *n, int index, int of, const DhcDim *extent) {
  const Origin *o = &f->of[n->args[index]->id], *x = &f->of[n->args[of]->id];
  if (!o->param || w->entry->param_info.at[o->param - 1].role != DHC_ROLE_INPUT) return;
  IndexCheck c = {.param = o->param - 1, .extent = outer_dim(f, extent), .part = o->part, .exempt = o->exempt, .exempted = o->exempted};
  if (of != index && x->param) c.into = w->entry->param_info.at[x->param - 1].name;
  for (int i = 0; i < w->checks.n; i++) {
    const IndexCheck *k = &w->checks.at[i];
    if (k->param == c.param && k->extent == c.extent && k->part == c.part && k->exempt == c.exempt && k->exempted == c.exempted) return;
  }
  DHC_PUSH(w->arena, &w->checks, c);
}

static void walk(Walk *w, Frame *f, const Origin *params);

/* Callee's parameters are n's operands; of a scan the carries change on the way. */
static void walk_callee(Walk *w, Frame *f, const DhcNode *n, const DhcFunc *callee) {
  Frame in = {.f = callee};
  const DhcAttr *dims = dhc_attr(n, "dims");
  const DhcDim **outer = DHC_NEW_N(w->scratch, const DhcDim *, dims->dims.n + 1);
  for (int i = 0; i < dims->dims.n; i++) outer[i] = outer_dim(f, dims->dims.at[i]);
  in.dims = outer;
  Origin *params = DHC_NEW_N(w->scratch, Origin, callee->params.n + 1);
  int first = n->op == DHC_OP_SCAN ? (int)dhc_attr(n, "n_carry")->i : 0;
  bool any = false;
  for (int i = first; i < n->n_args; i++) {
    params[i] = f->of[n->args[i]->id];
    any |= params[i].param && !dhc_dtype_is_float(n->args[i]->type.dtype);
  }
  if (!any) return;
  walk(w, &in, params);
  if (n->op == DHC_OP_SCAN) return;
  for (int i = 0; i < n->n_results; i++) f->of[n->results[i]->id] = in.of[callee->results.at[i]->id];
}

static void walk_node(Walk *w, Frame *f, const DhcNode *n) {
  const DhcOpInfo *info = dhc_op_info(n->op);
  if (info->index_into != DHC_INDEX_NOTHING) {
    bool size = info->index_into == DHC_INDEX_SIZE;
    const DhcType *t = &n->args[0]->type;
    int64_t axis = dhc_attr(n, "axis")->i;
    record(w, f, n, info->index_arg, size, size ? dhc_attr(n, "size")->dim : t->dim[axis < 0 ? axis + t->rank : axis]);
    return;
  }
  if (elements[n->op].of) f->of[n->results[0]->id] = elements[n->op].of(w, f, n);
  if (info->cls == DHC_CLASS_CALL) walk_callee(w, f, n, dhc_node_callee(n));
}

static void walk(Walk *w, Frame *f, const Origin *params) {
  f->of = DHC_NEW_N(w->scratch, Origin, f->f->next_value_id + 1);
  for (int i = 0; i < f->f->params.n; i++) f->of[f->f->params.at[i]->id] = params[i];
  for (const DhcNode *n = f->f->first; n; n = n->next) walk_node(w, f, n);
}

static int param_named(const DhcFunc *f, const char *name) {
  for (int i = 0; i < f->params.n; i++)
    if (f->param_info.at[i].role == DHC_ROLE_INPUT && !strcmp(f->param_info.at[i].name, name)) return i;
  return -1;
}

static dhc_index_check as_programs(const IndexCheck *c, int tensor, const DhcFunc *f, DhcArena *arena) {
  dhc_index_check o = {.tensor = tensor, .has_part = c->part != NULL, .exempt = c->exempt, .exempted = c->exempted, .into = c->into};
  o.extent = dhc_dim_program(c->extent, f->symbols.n, f->symbols.at, arena);
  for (int d = 0; c->part && d < f->params.at[tensor]->type.rank; d++) {
    o.start[d] = dhc_dim_program(c->part->start[d], f->symbols.n, f->symbols.at, arena);
    o.size[d] = dhc_dim_program(c->part->size[d], f->symbols.n, f->symbols.at, arena);
    o.step[d] = c->part->step[d];
  }
  return o;
}

const dhc_index_check *dhc_index_checks(const DhcFunc *source, const DhcFunc *func, DhcArena *arena, int32_t *n) {
  DhcArena scratch;
  dhc_arena_init(&scratch);
  Walk w = {.arena = &scratch, .scratch = &scratch, .entry = source};
  Frame f = {.f = source};
  Origin *params = DHC_NEW_N(&scratch, Origin, source->params.n + 1);
  for (int i = 0; i < source->params.n; i++) params[i].param = i + 1;
  walk(&w, &f, params);
  dhc_index_check *out = DHC_NEW_N(arena, dhc_index_check, w.checks.n + 1);
  *n = 0;
  for (int i = 0; i < w.checks.n; i++) {
    int tensor = param_named(func, source->param_info.at[w.checks.at[i].param].name);
    if (tensor >= 0) out[(*n)++] = as_programs(&w.checks.at[i], tensor, func, arena);
  }
  dhc_arena_fini(&scratch);
  return out;
}
