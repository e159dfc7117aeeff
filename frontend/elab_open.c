/* A main file with its imports and std: opening, listing, checking. */
#include <sys/stat.h>

#include "frontend/elab_internal.h"

/* std functions known without an import. */
static const char *const prelude_names[] = {"std/nn", "std/init", "std/optim"};

static bool load_prelude(DhcElab *e) {
  for (size_t i = 0; i < sizeof prelude_names / sizeof prelude_names[0]; i++) {
    const char *path = NULL;
    DhcAstProgram p;
    memset(&p, 0, sizeof p);
    if (!dhc_parse_find_shipped(&e->parse, prelude_names[i], &path)) continue;
    if (!dhc_parse_file(&e->parse, path, &p)) return false;
    DHC_PUSH(e->arena, &e->prelude, p);
  }
  return true;
}

/* Presets and recipes of different models may share a name; everything else may not. */
static bool same_space(const DhcAstDecl *a, const DhcAstDecl *b) {
  if (a->name.text != b->name.text) return false;
  switch (a->kind) {
    case DHC_DE_PRESET:
    case DHC_DE_RECIPE: return a->kind == b->kind && a->u.settings.target.text == b->u.settings.target.text;
    case DHC_DE_VARIANTS: return a->kind == b->kind && a->u.variants.target.text == b->u.variants.target.text;
    case DHC_DE_FN: return b->kind == DHC_DE_FN;
    default: return b->kind == DHC_DE_LAYER || b->kind == DHC_DE_MODEL || b->kind == DHC_DE_CONST;
  }
}

static bool check_twice(DhcElab *e, const DhcAstModule *m) {
  bool ok = true;
  size_t cap = 16;
  while (cap < 2 * (size_t)m->decls.n) cap *= 2;
  int *last = DHC_NEW_N(e->arena, int, cap), *before = DHC_NEW_N(e->arena, int, m->decls.n + 1); /* by name: 1 + the last one so far */
  for (int i = 0; i < m->decls.n; i++) {
    const DhcAstDecl *a = m->decls.at[i];
    if (!a->name.text) continue;
    size_t at = ((uintptr_t)a->name.text >> 4) * 0x9E3779B97F4A7C15u & (cap - 1);
    while (last[at] && m->decls.at[last[at] - 1]->name.text != a->name.text) at = (at + 1) & (cap - 1);
    before[i] = last[at];
    last[at] = i + 1;
    for (int j = before[i] - 1; j >= 0; j = before[j] - 1) {
      const DhcAstDecl *b = m->decls.at[j];
      if (!same_space(a, b)) continue;
      DhcDiag *d =
          dhc_diag(e->diags, DHC_ERROR, "E0302", a->name.span, "'%s' is declared twice", a->name.text);
      dhc_diag_note(e->diags, d, b->name.span, "first here");
      ok = false;
      break;
    }
  }
  return ok;
}

static DhcElab *elab_new(DhcArena *arena, DhcStrings *strings, DhcDiags *diags, const DhcElabConfig *config) {
  DhcElab *e = DHC_NEW(arena, DhcElab);
  e->arena = arena;
  e->strings = strings;
  e->diags = diags;
  e->config = *config;
  e->parse = (DhcParse){.arena = arena,
                        .strings = strings,
                        .diags = diags,
                        .parsed = config->parsed,
                        .shipped_roots = config->shipped_roots,
                        .n_shipped_roots = config->n_shipped_roots,
                        .texts = config->texts};
  return e;
}

static DhcElab *elab_finish(DhcElab *e) {
  bool ok = e->program.root != NULL;
  for (int i = 0; i < e->program.modules.n; i++) ok = check_twice(e, e->program.modules.at[i]) && ok;
  return ok && load_prelude(e) ? e : NULL;
}

DhcElab *dhc_elab_open(DhcArena *arena, DhcStrings *strings, DhcDiags *diags, const DhcElabConfig *config,
                       const char *file) {
  DhcElab *e = elab_new(arena, strings, diags, config);
  struct stat st;
  size_t n = strlen(file);
  bool plain = n < 5 || strcmp(file + n - 4, ".dhc");
  const char *path = file;
  if (plain && stat(file, &st) != 0) dhc_parse_find_shipped(&e->parse, file, &path);
  if (!dhc_parse_file(&e->parse, path, &e->program)) return NULL;
  return elab_finish(e);
}

DhcElab *dhc_elab_open_text(DhcArena *arena, DhcStrings *strings, DhcDiags *diags,
                            const DhcElabConfig *config, const char *name, const char *text, size_t n_bytes) {
  DhcElab *e = elab_new(arena, strings, diags, config);
  if (!dhc_parse_text(&e->parse, name, text, n_bytes, &e->program)) return NULL;
  return elab_finish(e);
}

const DhcAstProgram *dhc_elab_program(const DhcElab *e) {
  return &e->program;
}

static void add_files(const DhcElab *e, const DhcAstProgram *p, DhcFileNumbers *to) {
  for (int i = 0; i < p->modules.n; i++) {
    bool known = false;
    for (int k = 0; k < to->n; k++) known = known || to->at[k] == p->modules.at[i]->file;
    if (!known) DHC_PUSH(e->arena, to, p->modules.at[i]->file);
  }
}

DhcFileNumbers dhc_elab_files(const DhcElab *e) {
  DhcFileNumbers all = {0};
  for (int i = 0; i < e->prelude.n; i++) add_files(e, &e->prelude.at[i], &all);
  add_files(e, &e->program, &all);
  return all;
}

/* ---- lists -------------------------------------------------------------------------------- */

static void list_decl(DhcElab *e, const DhcAstDecl *d, DhcListKind kind, const char *target,
                      DhcDeclNames *out) {
  DhcDeclName n = {.name = d->name.text, .span = d->name.span};
  switch (kind) {
    case DHC_LIST_MODELS:
      if (d->kind != DHC_DE_MODEL) return;
      break;
    case DHC_LIST_LAYERS:
      if (d->kind != DHC_DE_LAYER) return;
      break;
    case DHC_LIST_PRESETS:
    case DHC_LIST_RECIPES:
      if (d->kind != (kind == DHC_LIST_PRESETS ? DHC_DE_PRESET : DHC_DE_RECIPE)) return;
      n.target = d->u.settings.target.text;
      break;
    case DHC_LIST_VARIANTS:
      if (d->kind != DHC_DE_VARIANTS || (target && strcmp(target, d->u.variants.target.text))) return;
      for (int i = 0; i < d->u.variants.list.n; i++) {
        const DhcAstVariant *v = &d->u.variants.list.at[i];
        DhcDeclName one = {.name = v->name.text,
                           .target = d->u.variants.target.text,
                           .group = d->name.text,
                           .span = v->span};
        DHC_PUSH(e->arena, out, one);
      }
      return;
  }
  if (!n.name || (target && n.target && strcmp(target, n.target))) return;
  DHC_PUSH(e->arena, out, n);
}

DhcDeclNames dhc_elab_list(DhcElab *e, DhcListKind kind, const char *target) {
  DhcDeclNames out = {0};
  for (int i = 0; i < e->program.modules.n; i++) {
    const DhcAstModule *m = e->program.modules.at[i];
    if (kind == DHC_LIST_MODELS && m != e->program.root) continue;
    for (int k = 0; k < m->decls.n; k++) list_decl(e, m->decls.at[k], kind, target, &out);
  }
  return out;
}

/* ---- check ----------------------------------------------------------------------------------- */

static bool all_default(const DhcAstDecl *d) {
  for (int i = 0; i < d->u.layer.params.n; i++)
    if (!d->u.layer.params.at[i].default_value) return false;
  return true;
}

static size_t owner_length(const char *path) {
  const char *point = strrchr(path, '.');
  return point ? (size_t)(point - path) : 0;
}

/* Every entry of the model stands: parameters that none of them reads are most likely
 * mistakes. A layer of which other tensors are read has its reasons (a recurrence over a
 * single position leaves its transition out), so only what is left out whole is told. */
static void warn_unused(DhcElab *e, const DhcModule *m) {
  bool *used = DHC_NEW_N(e->arena, bool, m->tensors.n + 1);
  for (int i = 0; i < m->funcs.n; i++)
    for (int k = 0; k < m->funcs.at[i]->param_info.n; k++) {
      const DhcParamInfo *info = &m->funcs.at[i]->param_info.at[k];
      if (info->role == DHC_ROLE_WEIGHT && info->decl >= 0) used[info->decl] = true;
    }
  for (int i = 0; i < m->tensors.n; i++) {
    const DhcTensorDecl *d = &m->tensors.at[i];
    size_t n = owner_length(d->path);
    bool in_use = d->role != DHC_ROLE_WEIGHT || used[i];
    for (int k = 0; n && k < m->tensors.n && !in_use; k++)
      in_use = used[k] && owner_length(m->tensors.at[k].path) == n && !strncmp(d->path, m->tensors.at[k].path, n);
    if (!in_use) dhc_diag(e->diags, DHC_WARNING, "E0320", d->span, "parameter '%s' is used by no entry", d->path);
  }
}

enum { MAX_FLIPS = 8 };

/* One form of an entry; `flips`: again with each of the first `if`s that sizes decide taken the other way, and all
 * of them. *has: the entry has the form. False after an error. */
static bool check_form(DhcElab *e, DhcModel *m, DhcEntryRequest q, bool flips, bool *has) {
  int before = e->diags->n_errors;
  *has = dhc_model_entry(m, &q) != NULL;
  int n = *has && flips ? dhc_model_open_ifs(m) : 0;
  for (int flip = 1; flip <= n && flip <= MAX_FLIPS && e->diags->n_errors == before; flip++) {
    q.flip = flip;
    (void)dhc_model_entry(m, &q);
  }
  if (n > 1 && e->diags->n_errors == before) {
    q.flip = DHC_FLIP_ALL;
    (void)dhc_model_entry(m, &q);
  }
  return e->diags->n_errors == before;
}

/* Every form of an entry: whole with and without `training`, and those with state if it has some; each without
 * optional inputs and with all. */
static bool check_entry(DhcElab *e, DhcModel *m, const char *name) {
  bool has = true;
  for (int training = 0; training < 2; training++)
    for (int all = 0; all < 2; all++) {
      DhcEntryRequest q = {.name = name, .training = training, .all_inputs = all};
      if (!check_form(e, m, q, training && all, &has)) return false;
    }
  for (int all = 0; all < 2; all++)
    for (int form = DHC_FORM_STREAM; form <= DHC_FORM_RESET && (has || form == DHC_FORM_STREAM); form++) {
      DhcEntryRequest q = {.name = name, .form = (DhcForm)form, .all_inputs = all, .may_lack = true};
      if (!check_form(e, m, q, all && form != DHC_FORM_RESET, &has)) return false;
    }
  return true;
}

/* Ops this dear are the maths functions, which have an f32 form only. */
enum { MATHS_WORK = 10 };

void dhc_elab_say_uncompiled(DhcDiags *d, const DhcModule *m, DhcSeverity severity) {
  DhcSpan said = {0, 0, 0};
  for (int i = 0; i < m->funcs.n; i++)
    for (const DhcNode *n = m->funcs.at[i]->first; n && m->funcs.at[i]->kind != DHC_FUNC_INIT; n = n->next) {
      if (dhc_op_info(n->op)->cls != DHC_CLASS_ELEMENTWISE || dhc_op_work(n->op) < MATHS_WORK) continue;
      if (n->results[0]->type.dtype != DHC_F64 || !memcmp(&said, &n->span, sizeof said)) continue;
      said = n->span;
      dhc_diag(d, severity, "E0919", n->span, "%s of f64 has no machine code; cast to f32, or use --backend interp", dhc_op_info(n->op)->name);
    }
}

bool dhc_elab_check_model(DhcElab *e, DhcModel *m) {
  int before = e->diags->n_errors;
  m->batch = true;
  for (int k = 0; k < m->root->entries.n; k++) (void)check_entry(e, m, m->root->entries.at[k]->u.entry.sig.name.text);
  dhc_model_seal(m);
  if (e->diags->n_errors == before && m->root->entries.n) {
    warn_unused(e, dhc_model_module(m));
    dhc_warn_unread(e);
    dhc_elab_say_uncompiled(e->diags, dhc_model_module(m), DHC_WARNING);
    dhc_warn_ties(e, dhc_model_module(m));
  }
  return e->diags->n_errors == before;
}

bool dhc_elab_check(DhcElab *e) {
  int before = e->diags->n_errors, roots = 0;
  const DhcAstModule *m = e->program.root;
  for (int pass = 0; pass < 2 && !roots; pass++) /* layers only where there is no model */
    for (int i = 0; i < m->decls.n; i++) {
      const DhcAstDecl *d = m->decls.at[i];
      if (d->kind != (pass ? DHC_DE_LAYER : DHC_DE_MODEL) || !d->name.text || (pass && !all_default(d)))
        continue;
      roots++;
      DhcModelRequest r = {.root = d->name.text};
      DhcModel *model = dhc_elab_model(e, &r);
      if (model) (void)dhc_elab_check_model(e, model);
    }
  return e->diags->n_errors == before;
}
