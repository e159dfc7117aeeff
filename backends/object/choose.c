/* Entries of an object with several variants: what all of them have goes by one name too. */
#include <assert.h>

#include "backends/object/object.h"

/* The symbol of `e` that is called like free symbol i of `as`; -1: none. */
static int same_symbol(const DhcObjEntry *as, int i, const DhcObjEntry *e) {
  for (int k = 0; k < e->n_symbols; k++)
    if (!e->bound[k] && !strcmp(e->symbol[k], as->symbol[i])) return k;
  return -1;
}

static bool same_sizes(const DhcObjEntry *a, const DhcObjEntry *b) {
  int free_a = 0, free_b = 0;
  for (int i = 0; i < a->n_symbols; i++) {
    if (a->bound[i]) continue;
    if (same_symbol(a, i, b) < 0) return false;
    free_a++;
  }
  for (int i = 0; i < b->n_symbols; i++) free_b += !b->bound[i];
  return free_a == free_b;
}

/* What differs between what callers of a and b pass; NULL: nothing does. */
static const char *difference(const DhcObjEntry *a, const DhcObjEntry *b, DhcArena *arena) {
  if (!same_sizes(a, b)) return "sizes";
  if (a->n_params != b->n_params) return "inputs and outputs";
  for (int i = 0; i < a->n_params; i++) {
    const DhcObjParam *p = &a->param[i], *q = &b->param[i];
    if (strcmp(p->name, q->name) || p->out != q->out || p->tensor->dtype != q->tensor->dtype || strcmp(p->tensor->type, q->tensor->type))
      return dhc_arena_printf(arena, "'%s': %s and %s", p->name, p->tensor->type, q->tensor->type);
  }
  return NULL;
}

static int entry_of(const DhcObject *o, int variant, const char *name) {
  for (int i = 0; i < o->n_entries; i++)
    if (o->entry[i]->variant == variant && !strcmp(o->entry[i]->name, name)) return i;
  return -1;
}

/* "r7_forward" may be an entry, or entry "forward" of variant "r7". */
static const char *twice(const DhcObject *o, DhcArena *arena) {
  int n;
  const char **name = dhc_object_exports(o, arena, &n);
  for (int i = 0; i < n; i++)
    for (int k = 0; k < i; k++)
      if (!strcmp(name[i], name[k])) return dhc_arena_printf(arena, "two functions of the object are called %s: give the variant another name", name[i]);
  return NULL;
}

const char *dhc_object_choose(DhcObject *o, DhcArena *arena) {
  for (int i = 0; i < o->n_entries; i++) {
    const DhcObjEntry *first = o->entry[i];
    if (!o->n_variants || first->variant) continue;
    DhcObjChoice c = {.name = first->name, .entry = DHC_NEW_N(arena, int, o->n_variants)};
    c.c_name = dhc_arena_printf(arena, "%s_%s", o->name, dhc_object_identifier(first->name, arena));
    for (int v = 0; v < o->n_variants; v++) {
      c.entry[v] = entry_of(o, v, first->name);
      assert(c.entry[v] >= 0); /* the request's promise */
      const DhcObjEntry *e = o->entry[c.entry[v]];
      const char *other = difference(first, e, arena);
      if (other)
        return dhc_arena_printf(arena, "entry '%s' of variants '%s' and '%s' differs in %s: callers could not choose at run time", first->name,
                                o->variant[0].name, o->variant[v].name, other);
      c.weights = c.weights || e->reads_weights;
      c.state = c.state || e->state_bytes;
    }
    DHC_PUSH(arena, &o->choices, c);
  }
  return twice(o, arena);
}

/* ---- calls ---------------------------------------------------------------------------------------------- */

const char *const dhc_object_call_suffix[DHC_OBJ_N_CALLS] = {
    [DHC_OBJ_RUN] = "", [DHC_OBJ_WORKSPACE_BYTES] = "_workspace_bytes", [DHC_OBJ_WHY] = "_why", [DHC_OBJ_STATE_BYTES] = "_state_bytes"};

bool dhc_object_has_call(const DhcObjChoice *c, DhcObjCall call) { return call != DHC_OBJ_STATE_BYTES || c->state; }

static void put(DhcObjArgs *to, DhcArena *arena, DhcObjArgKind kind, int i) {
  DHC_PUSH(arena, &to->all, ((DhcObjArg){kind, i}));
}

DhcObjArgs dhc_object_call_args(const DhcObject *o, const DhcObjChoice *c, DhcObjCall call, int v, DhcArena *arena) {
  const DhcObjEntry *first = o->entry[c->entry[0]], *e = v < 0 ? first : o->entry[c->entry[v]];
  DhcObjArgs to = {0};
  if (v == DHC_OBJ_BY_NUMBER) put(&to, arena, DHC_OBJ_ARG_VARIANT, 0);
  if (call == DHC_OBJ_RUN) {
    if (!o->blob && (v < 0 ? c->weights : e->reads_weights)) put(&to, arena, DHC_OBJ_ARG_WEIGHTS, 0);
    if (v < 0 ? c->state : e->state_bytes != NULL) put(&to, arena, DHC_OBJ_ARG_STATE, 0);
    for (int i = 0; i < e->n_params; i++) put(&to, arena, DHC_OBJ_ARG_TENSOR, i);
    if (e->train) put(&to, arena, DHC_OBJ_ARG_SCALARS, 0);
  }
  for (int i = 0; i < e->n_symbols; i++)
    if (!e->bound[i]) put(&to, arena, DHC_OBJ_ARG_SIZE, same_symbol(e, i, first));
  if (call == DHC_OBJ_WORKSPACE_BYTES) put(&to, arena, DHC_OBJ_ARG_WORKERS, 0);
  if (call == DHC_OBJ_RUN) {
    put(&to, arena, DHC_OBJ_ARG_WORKSPACE, 0);
    put(&to, arena, DHC_OBJ_ARG_BYTES, 0);
    put(&to, arena, DHC_OBJ_ARG_EXEC, 0);
  }
  return to;
}

static const char *parameter(const DhcObject *o, const DhcObjEntry *e, const DhcObjArg *a, DhcArena *arena) {
  switch (a->kind) {
  case DHC_OBJ_ARG_VARIANT: return o->levels ? "int level" : "int variant";
  case DHC_OBJ_ARG_WEIGHTS: return "const void *weights";
  case DHC_OBJ_ARG_STATE: return "void *state";
  case DHC_OBJ_ARG_SCALARS: return dhc_arena_printf(arena, "const %s_scalars *scalars", e->train->c_name);
  case DHC_OBJ_ARG_SIZE: return dhc_arena_printf(arena, "int64_t %s", e->symbol[a->i]);
  case DHC_OBJ_ARG_WORKSPACE: return "void *workspace";
  case DHC_OBJ_ARG_BYTES: return "int64_t workspace_bytes";
  case DHC_OBJ_ARG_EXEC: return o->cuda ? dhc_arena_printf(arena, "const %s_cuda *gpu", o->name) : "const dhc_object_exec *exec";
  case DHC_OBJ_ARG_WORKERS: return "int workers";
  case DHC_OBJ_ARG_TENSOR: break;
  }
  const DhcObjParam *p = &e->param[a->i];
  return dhc_arena_printf(arena, "%s%s *%s", p->out ? "" : "const ", dhc_object_c_type(p->tensor->dtype), p->name);
}

const char *dhc_object_call_name(const DhcObject *o, const DhcObjChoice *c, DhcObjCall call, int by, DhcArena *arena) {
  return dhc_arena_printf(arena, "%s%s%s", c->c_name, dhc_object_call_suffix[call], o->levels && by == DHC_OBJ_BY_NUMBER ? "_at" : "");
}

const char *dhc_object_call_prototype(const DhcObject *o, const DhcObjChoice *c, DhcObjCall call, int by, DhcArena *arena) {
  static const char *const result[] = {[DHC_OBJ_RUN] = "dhc_object_status ", [DHC_OBJ_WORKSPACE_BYTES] = "int64_t ", [DHC_OBJ_WHY] = "const char *",
                                       [DHC_OBJ_STATE_BYTES] = "int64_t "};
  DhcText t = {.arena = arena};
  DhcObjArgs args = dhc_object_call_args(o, c, call, by, arena);
  dhc_text_printf(&t, "%s%s(", result[call], dhc_object_call_name(o, c, call, by, arena));
  for (int i = 0; i < args.all.n; i++) dhc_text_printf(&t, "%s%s", i ? ", " : "", parameter(o, o->entry[c->entry[0]], &args.all.at[i], arena));
  if (!args.all.n) dhc_text_puts(&t, "void");
  dhc_text_puts(&t, ")");
  return dhc_text_str(&t);
}
