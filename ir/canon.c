/* Canonical text of functions, and merging of functions with equal text. */
#include "ir/ir_internal.h"

/* 128 bits of a text, as 32 hexadecimal digits: two independent multiplicative hashes. */
static const char *digest(const char *s, DhcArena *arena) {
  uint64_t a = 0x243F6A8885A308D3u, b = 0x13198A2E03707344u;
  for (; *s; s++) {
    a = (a ^ (unsigned char)*s) * 0x100000001B3u;
    a ^= a >> 31;
    b = (b + (unsigned char)*s) * 0x9E3779B97F4A7C15u;
    b ^= b >> 29;
  }
  return dhc_arena_printf(arena, "%016llx%016llx", (unsigned long long)a, (unsigned long long)b);
}

/* Texts that stand for callees. In a merge they are known by their number, since equal
 * callees are already one; otherwise by the digest of their own canonical text. */
typedef struct Names {
  DhcArena *arena;
  bool merging;
  DHC_VEC(DhcFunc *) func;
  DHC_VEC(const char *) text;
} Names;

static const char *canonical(DhcFunc *f, Names *names);

static const char *callee_name(Names *names, DhcFunc *f) {
  if (names->merging) return dhc_arena_printf(names->arena, "@%d", f->id);
  for (int i = 0; i < names->func.n; i++)
    if (names->func.at[i] == f) return names->text.at[i];
  int at = names->func.n;
  DHC_PUSH(names->arena, &names->func, f);
  DHC_PUSH(names->arena, &names->text, "@itself"); /* only a derivative can come back here */
  const char *text = dhc_arena_printf(names->arena, "@%s", digest(canonical(f, names), names->arena));
  return names->text.at[at] = text;
}

static const char *print_callee(DhcPrinter *p, DhcFunc *f) { return callee_name(p->ctx, f); }

/* Symbols become s0, s1, … in binder order. */
static DhcSubst plain_symbols(DhcFunc *f, DhcArena *arena) {
  const DhcDim **to = DHC_NEW_N(arena, const DhcDim *, f->symbols.n);
  for (int i = 0; i < f->symbols.n; i++)
    to[i] = dhc_dim_symbol(f->module->dims, dhc_arena_printf(arena, "s%d", i));
  return (DhcSubst){f->symbols.n, f->symbols.at, to};
}

static void print_signature(DhcPrinter *p, DhcFunc *f, Names *names) {
  dhc_text_printf(p->to, "%s %d (", dhc_func_kind_name(f->kind), f->symbols.n);
  for (int i = 0; i < f->params.n; i++) {
    dhc_text_printf(p->to, "%%%d: ", p->number[f->params.at[i]->id]);
    dhc_print_type(p, &f->params.at[i]->type);
    dhc_text_printf(p->to, " %s ", dhc_role_name(f->param_info.at[i].role));
    if (f->param_info.at[i].decl >= 0) dhc_text_printf(p->to, "#%d ", f->param_info.at[i].decl);
  }
  dhc_text_puts(p->to, ") -> (");
  for (int i = 0; i < f->results.n; i++)
    dhc_text_printf(p->to, "%%%d ", p->number[f->results.at[i]->id]);
  dhc_text_puts(p->to, ")");
  if (f->kernel) dhc_print_string(f->kernel, p->to);
  if (f->vjp) dhc_text_puts(p->to, callee_name(names, f->vjp));
  for (int i = 0; i < f->facts.nonneg.n; i++) {
    dhc_text_puts(p->to, " require ");
    const DhcSubst *s = p->rename;
    dhc_dim_print(dhc_dim_subst(p->m->dims, f->facts.nonneg.at[i], s->n, s->from, s->to), p->to);
  }
  dhc_text_puts(p->to, "\n");
}

static const char *canonical(DhcFunc *f, Names *names) {
  DhcText text = {.arena = names->arena};
  DhcSubst rename = plain_symbols(f, names->arena);
  DhcPrinter p = dhc_printer_make(f, &text, names->arena);
  p.rename = &rename;
  p.callee = print_callee;
  p.ctx = names;
  print_signature(&p, f, names);
  for (const DhcNode *n = f->first; n; n = n->next)
    if (n->op != DHC_OP_PARAM) dhc_print_node(&p, n);
  return dhc_text_str(&text);
}

const char *dhc_func_canonical(DhcFunc *f, DhcArena *arena) {
  Names names = {.arena = arena};
  DHC_PUSH(arena, &names.func, f);
  DHC_PUSH(arena, &names.text, "@itself");
  return canonical(f, &names);
}

bool dhc_attr_equal(const DhcAttr *a, const DhcAttr *b) {
  if (a->kind != b->kind) return false;
  switch (a->kind) {
    case DHC_ATTR_INT: return a->i == b->i;
    case DHC_ATTR_FLOAT: return !memcmp(&a->f, &b->f, sizeof a->f);
    case DHC_ATTR_BOOL:
    case DHC_ATTR_FLAG: return a->b == b->b;
    case DHC_ATTR_STRING: return strcmp(a->s, b->s) == 0;
    case DHC_ATTR_INTS:
      return a->ints.n == b->ints.n &&
             (!a->ints.n ||
              !memcmp(a->ints.at, b->ints.at, sizeof *a->ints.at * (size_t)a->ints.n));
    case DHC_ATTR_DIM: return a->dim == b->dim;
    case DHC_ATTR_DIMS:
      if (a->dims.n != b->dims.n) return false;
      for (int i = 0; i < a->dims.n; i++)
        if (a->dims.at[i] != b->dims.at[i]) return false;
      return true;
    case DHC_ATTR_DTYPE: return a->dtype == b->dtype;
    case DHC_ATTR_FUNC: return a->func == b->func;
    case DHC_ATTR_SPEC: return a->spec == b->spec;
  }
  return false;
}

/* Written alike to the last symbol, as equal layers of a model are, whose texts need not be made then. What `number`
 * holds by value id is a's place of b's value. */
static bool same_nodes(const DhcFunc *a, const DhcFunc *b, int *number) {
  const DhcNode *x = a->first, *y = b->first;
  for (; x && y; x = x->next, y = y->next) {
    if (x->op != y->op || x->n_args != y->n_args || x->n_results != y->n_results) return false;
    for (int i = 0; i < x->n_args; i++)
      if (number[y->args[i]->id] != x->args[i]->id) return false;
    for (int i = 0; i < dhc_op_info(x->op)->n_attrs; i++)
      if (!dhc_attr_equal(&x->attrs[i], &y->attrs[i])) return false;
    for (int i = 0; i < x->n_results; i++) {
      if (!dhc_type_equal(&x->results[i]->type, &y->results[i]->type)) return false;
      number[y->results[i]->id] = x->results[i]->id;
    }
  }
  return !x && !y;
}

static bool alike(const DhcFunc *a, const DhcFunc *b, DhcArena *scratch) {
  if (a->kind != b->kind || a->n_nodes != b->n_nodes || a->symbols.n != b->symbols.n || a->params.n != b->params.n ||
      a->results.n != b->results.n || a->facts.nonneg.n != b->facts.nonneg.n || a->vjp != b->vjp || !a->kernel != !b->kernel ||
      (a->kernel && strcmp(a->kernel, b->kernel)))
    return false;
  for (int i = 0; i < a->symbols.n; i++)
    if (a->symbols.at[i] != b->symbols.at[i]) return false;
  for (int i = 0; i < a->facts.nonneg.n; i++)
    if (a->facts.nonneg.at[i] != b->facts.nonneg.at[i]) return false;
  for (int i = 0; i < a->params.n; i++)
    if (a->param_info.at[i].role != b->param_info.at[i].role || a->param_info.at[i].decl != b->param_info.at[i].decl) return false;
  int *number = DHC_NEW_N(scratch, int, b->next_value_id + 1);
  if (!same_nodes(a, b, number)) return false;
  for (int i = 0; i < a->results.n; i++)
    if (number[b->results.at[i]->id] != a->results.at[i]->id) return false;
  return true;
}

/* ---- merging ----------------------------------------------------------------------------- */

static bool mergeable(const DhcFunc *f) {
  return f->kind == DHC_FUNC_UNIT || f->kind == DHC_FUNC_BODY || f->kind == DHC_FUNC_COMPOSITE;
}

/* Whether anything stands for something else now. */
static bool redirect(DhcFunc *f, DhcFunc *const *stands_for) {
  bool changed = false;
  for (DhcNode *n = f->first; n; n = n->next)
    for (int i = 0; i < dhc_op_info(n->op)->n_attrs; i++)
      if (n->attrs[i].kind == DHC_ATTR_FUNC) {
        DhcFunc *callee = n->attrs[i].func;
        n->attrs[i].func = stands_for[callee->id];
        changed = changed || stands_for[callee->id] != callee;
      }
  DhcFunc *vjp = f->vjp;
  if (vjp) f->vjp = stands_for[vjp->id];
  return changed || f->vjp != vjp;
}

/* One round in the module's order, callees mostly before their callers, after which functions differ at most by what
 * stands later: *again if some of that was merged. */
static int merge_round(DhcModule *m, DhcArena *scratch, bool *again) {
  Names names = {.arena = scratch, .merging = true};
  DhcFunc **stands_for = DHC_NEW_N(scratch, DhcFunc *, m->next_func_id + 1);
  DHC_VEC(const char *) seen = {0};
  DhcStrings texts = {.arena = scratch};
  int n_before = m->funcs.n, kept = 0;
  for (int i = 0; i < n_before; i++) stands_for[m->funcs.at[i]->id] = m->funcs.at[i];
  for (int i = 0; i < n_before; i++) {
    DhcFunc *f = m->funcs.at[i];
    (void)redirect(f, stands_for);
    const char *text = NULL;
    int same = mergeable(f) ? 0 : kept;
    while (same < kept && !(seen.at[same] && alike(m->funcs.at[same], f, scratch))) same++;
    if (same == kept && mergeable(f)) {
      text = dhc_intern(&texts, canonical(f, &names));
      for (same = 0; same < kept && seen.at[same] != text;) same++;
    }
    if (same < kept) {
      stands_for[f->id] = m->funcs.at[same];
      continue;
    }
    m->funcs.at[kept++] = f;
    DHC_PUSH(scratch, &seen, text);
  }
  m->funcs.n = kept;
  *again = false;
  for (int i = 0; i < kept; i++) *again = redirect(m->funcs.at[i], stands_for) || *again;
  for (int i = 0; i < m->tensors.n; i++) {
    DhcFunc **init = &m->tensors.at[i].init;
    if (*init && (*init)->module == m) *init = stands_for[(*init)->id];
  }
  return n_before - kept;
}

int dhc_module_merge_units(DhcModule *m) {
  DhcArena scratch;
  dhc_arena_init(&scratch);
  int total = 0;
  for (bool again = true; again;) total += merge_round(m, &scratch, &again);
  dhc_arena_fini(&scratch);
  return total;
}
