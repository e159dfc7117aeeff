/* What can be left out of an entry, and what words mean by it. */
#include <stdlib.h>
#include <strings.h>

#include "api/ablate/ablate.h"

/* ---- units ------------------------------------------------------------------------------------------ */

static int parameter_of(const DhcFunc *f, const DhcValue *v) {
  if (v->def->op != DHC_OP_PARAM) return -1;
  for (int i = 0; i < f->params.n; i++)
    if (f->params.at[i] == v) return i;
  return -1;
}

static bool is_weight(const DhcFunc *f, int i) {
  return i >= 0 && f->param_info.at[i].role == DHC_ROLE_WEIGHT;
}

/* Length of the path that a and b begin with, whole components. */
static size_t common(const char *a, const char *b, size_t n) {
  size_t same = 0;
  for (size_t i = 0; i <= n; i++) {
    bool end_a = i == n, end_b = !b[i] || b[i] == '.';
    if ((end_a || a[i] == '.') && end_b) same = i;
    if (end_a || a[i] != b[i]) break;
  }
  return same;
}

static const char *layer_kind(const dhc_model *m, const char *path) {
  DhcLayerInfos l = dhc_model_layers(m->m);
  for (int i = 0; i < l.n; i++)
    if (!strcmp(l.at[i].path, path)) return l.at[i].layer;
  return "";
}

/* Of the children of `block` that weights of the call lie under, the one with most elements; the block itself
 * where they are its own. */
static const char *heaviest(const DhcFunc *f, const DhcNode *call, const char *block, DhcArena *a) {
  size_t n = strlen(block);
  const char *best = block;
  int64_t most = -1;
  for (int i = 0; i < call->n_args; i++) {
    int p = parameter_of(f, call->args[i]);
    if (!is_weight(f, p)) continue;
    const char *name = f->param_info.at[p].name + (n ? n + 1 : 0);
    size_t child = strcspn(name, ".");
    int64_t sum = 0, k;
    if (!name[child]) continue; /* a tensor of the block itself */
    for (int j = 0; j < call->n_args; j++) {
      int q = parameter_of(f, call->args[j]);
      if (is_weight(f, q) && !strncmp(f->param_info.at[q].name + (n ? n + 1 : 0), name, child + 1) &&
          dhc_dim_is_const(dhc_type_elements(f->module->dims, &f->params.at[q]->type), &k))
        sum += k;
    }
    if (sum <= most) continue;
    most = sum;
    best = dhc_arena_printf(a, "%s%s%.*s", block, n ? "." : "", (int)child, name);
  }
  return best;
}

static bool unit_of(const dhc_model *m, const DhcFunc *f, DhcNode *call, DhcArena *a, Unit *u) {
  const char *first = NULL;
  size_t n = 0;
  *u = (Unit){.call = call};
  if (call->n_results == 0) return false;
  for (int i = 0; i < call->n_args; i++) {
    int p = parameter_of(f, call->args[i]);
    if (is_weight(f, p)) {
      const char *name = f->param_info.at[p].name, *dot = strrchr(name, '.');
      if (!first) first = name, n = dot ? (size_t)(dot - name) : 0;
      n = common(first, name, n);
    } else if (!u->input && dhc_type_equal(&call->args[i]->type, &call->results[0]->type) &&
               (p < 0 || f->param_info.at[p].role == DHC_ROLE_INPUT)) {
      u->input = call->args[i];
    }
  }
  if (!first || !u->input) return false;
  u->block = dhc_arena_printf(a, "%.*s", (int)n, first);
  u->path = heaviest(f, call, u->block, a);
  u->kind = layer_kind(m, u->path);
  return true;
}

Units units_of(const dhc_model *m, const DhcFunc *entry, DhcArena *a) {
  Units all = {0};
  for (DhcNode *n = entry->first; n; n = n->next) {
    Unit u;
    if ((n->op == DHC_OP_CALL || n->op == DHC_OP_CHECKPOINT) && unit_of(m, entry, n, a, &u)) DHC_PUSH(a, &all, u);
  }
  return all;
}

/* ---- words -------------------------------------------------------------------------------------------- */

dhc_status target_parse(const char *text, DhcArena *a, Target *out) {
  const char *eq = strchr(text, '=');
  *out = (Target){.text = dhc_arena_printf(a, "%s", text), .what = dhc_arena_printf(a, "%.*s", (int)(eq ? eq - text : (long)strlen(text)), text),
                  .expert = -1};
  if (!*out->what) return dhc_status_make(DHC_E_USAGE, "--ablate: needs a path or a kind of layer, got \"%s\"", text);
  if (!eq) return dhc_status_ok();
  char *end = NULL;
  bool digits = !strncmp(eq, "=expert:", 8) && eq[8] >= '0' && eq[8] <= '9';
  if (digits) out->expert = strtoll(eq + 8, &end, 10);
  if (!digits || *end || out->expert > INT32_MAX)
    return dhc_status_make(DHC_E_USAGE, "--ablate: needs PATH, KIND or LAYER=expert:NUMBER, got \"%s\"", text);
  return dhc_status_ok();
}

/* `what` is a run of whole components of the path. */
static bool in_path(const char *path, const char *what) {
  size_t n = strlen(what);
  for (const char *at = path; (at = strstr(at, what)); at++)
    if ((at == path || at[-1] == '.') && (!at[n] || at[n] == '.')) return true;
  return false;
}

/* `word` is part of the kind's name, in any case: "attention" of MultiHeadAttention. */
static bool in_kind(const char *kind, const char *word) {
  size_t n = strlen(word);
  if (n < 3) return !strcasecmp(kind, word);
  for (; *kind; kind++)
    if (!strncasecmp(kind, word, n)) return true;
  return false;
}

bool target_hits(const dhc_model *m, const Target *t, const char *path, const char *kind) {
  if (t->kind) return !strcmp(kind, t->what);
  if (in_path(path, t->what) || in_kind(kind, t->what)) return true;
  DhcKindInfos k = dhc_model_kinds(m->m); /* letters of a pattern */
  for (int i = 0; i < k.n; i++)
    if (!strcmp(k.at[i].letter, t->what) && !strcmp(k.at[i].layer, kind)) return true;
  return false;
}

dhc_status ablate_nothing(const Target *t, const char *entry, const Units *u, DhcArena *a) {
  const char **names = DHC_NEW_N(a, const char *, 3 * u->n + 1);
  int n = 0;
  for (int i = 0; i < u->n; i++) {
    names[n++] = u->at[i].block;
    names[n++] = u->at[i].path;
    names[n++] = u->at[i].kind;
    if (!strncmp(u->at[i].path, t->what, strlen(u->at[i].path)))
      return dhc_status_make(DHC_E_INPUT, "--ablate %s: it is a part of '%s', which is left out as a whole", t->text, u->at[i].path);
  }
  const char *near = dhc_suggest(t->what, names, n);
  if (!u->n) return dhc_status_make(DHC_E_INPUT, "--ablate %s: entry '%s' has no unit that gives what it takes", t->text, entry);
  return dhc_status_make(DHC_E_INPUT, "--ablate %s: entry '%s' has no such unit%s%s%s; units are %s to %s", t->text, entry,
                         near ? " (did you mean '" : "", near ? near : "", near ? "'?)" : "", u->at[0].path, u->at[u->n - 1].path);
}
