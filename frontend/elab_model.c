/* A model with every hyperparameter bound: settings in their order, the tree, reports. */
#include "frontend/elab_internal.h"

/* ---- which root ------------------------------------------------------------------------------ */

static const DhcAstDecl *named_root(DhcElab *e, const char *name, const DhcAstModule **in) {
  unsigned kinds = DHC_DECL_BIT(DHC_DE_LAYER) | DHC_DECL_BIT(DHC_DE_MODEL);
  const DhcAstDecl *d = dhc_find_decl(e, e->program.root, name, kinds, in);
  if (d) return d;
  DHC_VEC(const char *) names = {0};
  for (int k = 0; k < 2; k++) {
    DhcDeclNames list = dhc_elab_list(e, k ? DHC_LIST_LAYERS : DHC_LIST_MODELS, NULL);
    for (int i = 0; i < list.n; i++) DHC_PUSH(e->arena, &names, list.at[i].name);
  }
  DhcSpan at = {.file = e->program.root->file};
  DhcDiag *g = dhc_diag(e->diags, DHC_ERROR, "E0316", at, "no layer or model '%s' here", name);
  const char *close = dhc_suggest(name, names.at, names.n);
  if (close) dhc_diag_hint(e->diags, g, "did you mean '%s'?", close);
  return NULL;
}

static const DhcAstDecl *only_root(DhcElab *e, const DhcAstModule **in) {
  const DhcAstDecl *found = NULL;
  const DhcAstModule *m = e->program.root;
  for (int i = 0; i < m->decls.n; i++)
    if (m->decls.at[i]->kind == DHC_DE_MODEL && m->decls.at[i]->name.text)
      found = m->decls.at[i]; /* the last */
  *in = m;
  if (found) return found;
  const DhcSource *src = dhc_sources_get(e->diags->sources, m->file);
  DhcSpan at = {.file = m->file};
  DhcDiag *d = dhc_diag(e->diags, DHC_ERROR, "E0316", at, "no model here%s",
                        src && !src->n_bytes ? " (file is empty)" : "");
  DhcDeclNames layers = dhc_elab_list(e, DHC_LIST_LAYERS, NULL);
  if (layers.n) dhc_diag_hint(e->diags, d, "a layer is a root too: --root %s", layers.at[layers.n - 1].name);
  return NULL;
}

/* ---- settings ----------------------------------------------------------------------------------- */

typedef struct Settings {
  DhcCx *cx;
  const DhcAstDecl *root;
  DhcGivens *to;
  bool ok;
} Settings;

static bool is_hyper(const DhcAstDecl *d, const char *key) {
  size_t n = strcspn(key, ".");
  for (int i = 0; i < d->u.layer.params.n; i++) {
    const char *p = d->u.layer.params.at[i].name.text;
    if (strlen(p) == n && !strncmp(p, key, n)) return true;
  }
  return false;
}

static void add_setting(Settings *s, const DhcAstName *key, const DhcAstExpr *value, const char *source) {
  DhcGiven b = {.name = key->text, .span = value->span, .source = source};
  if (!dhc_setting_value(s->cx, &s->root->u.layer.params, key->text, value, &b.value)) {
    s->ok = false;
    return;
  }
  b.span = is_hyper(s->root, key->text) ? value->span : key->span;
  DHC_PUSH(s->cx->e->arena, s->to, b);
}

static const DhcAstDecl *find_settings(DhcElab *e, DhcAstDeclKind kind, const char *name,
                                       const char *target) {
  for (int i = e->program.modules.n - 1; i >= 0; i--) {
    const DhcAstModule *m = e->program.modules.at[i];
    for (int k = 0; k < m->decls.n; k++) {
      const DhcAstDecl *d = m->decls.at[k];
      if (d->kind == kind && d->name.text && d->u.settings.target.text && !strcmp(d->name.text, name) &&
          !strcmp(d->u.settings.target.text, target))
        return d;
    }
  }
  return NULL;
}

static void not_found(Settings *s, const char *what, const char *name, DhcListKind kind) {
  DhcElab *e = s->cx->e;
  DhcDeclNames list = dhc_elab_list(e, kind, s->root->name.text);
  DHC_VEC(const char *) names = {0};
  for (int i = 0; i < list.n; i++) DHC_PUSH(e->arena, &names, list.at[i].name);
  DhcDiag *d =
      dhc_err(s->cx, "E0301", s->root->name.span, "%s has no %s '%s'", s->root->name.text, what, name);
  const char *close = dhc_suggest(name, names.at, names.n);
  DhcText all = {.arena = e->arena};
  for (int i = 0; i < list.n; i++) dhc_text_printf(&all, "%s%s", i ? ", " : "", list.at[i].name);
  if (close) dhc_err_hint(s->cx, d, "did you mean '%s'?", close);
  else if (list.n) dhc_err_hint(s->cx, d, "there are %s", dhc_text_str(&all));
  s->ok = false;
}

static void add_preset(Settings *s, const char *name) {
  const DhcAstDecl *d = find_settings(s->cx->e, DHC_DE_PRESET, name, s->root->name.text);
  if (!d) {
    not_found(s, "preset", name, DHC_LIST_PRESETS);
    return;
  }
  const char *source = dhc_arena_printf(s->cx->e->arena, "preset %s", name);
  for (int i = 0; i < d->u.settings.settings.n; i++)
    add_setting(s, &d->u.settings.settings.at[i].key, d->u.settings.settings.at[i].value, source);
}

/* "r3" or "ratio.r3". */
static void add_variant(Settings *s, const char *name) {
  DhcElab *e = s->cx->e;
  const char *dot = strchr(name, '.');
  for (int i = e->program.modules.n - 1; i >= 0; i--)
    for (int k = 0; k < e->program.modules.at[i]->decls.n; k++) {
      const DhcAstDecl *d = e->program.modules.at[i]->decls.at[k];
      if (d->kind != DHC_DE_VARIANTS || strcmp(d->u.variants.target.text, s->root->name.text)) continue;
      if (dot &&
          (strlen(d->name.text) != (size_t)(dot - name) || strncmp(d->name.text, name, (size_t)(dot - name))))
        continue;
      for (int v = 0; v < d->u.variants.list.n; v++) {
        const DhcAstVariant *one = &d->u.variants.list.at[v];
        if (strcmp(one->name.text, dot ? dot + 1 : name)) continue;
        const char *source = dhc_arena_printf(e->arena, "variant %s.%s", d->name.text, one->name.text);
        for (int j = 0; j < one->settings.n; j++)
          add_setting(s, &one->settings.at[j].key, one->settings.at[j].value, source);
        return;
      }
    }
  not_found(s, "variant", name, DHC_LIST_VARIANTS);
}

/* The recipe asked for, or the one called default. */
static const DhcAstDecl *find_recipe(Settings *s, const char *name) {
  const DhcAstDecl *d = find_settings(s->cx->e, DHC_DE_RECIPE, name ? name : "default", s->root->name.text);
  if (!d && name && strcmp(name, "default")) not_found(s, "recipe", name, DHC_LIST_RECIPES);
  return d;
}

static void add_recipe(Settings *s, const DhcAstDecl *d) {
  const char *source = dhc_arena_printf(s->cx->e->arena, "recipe %s", d->name.text);
  for (int i = 0; i < d->u.settings.settings.n; i++) {
    const DhcAstSetting *x = &d->u.settings.settings.at[i];
    if (!x->has_params && (is_hyper(s->root, x->key.text) || !dhc_recipe_has_key(x->key.text)))
      add_setting(s, &x->key, x->value, source);
  }
}

/* A string hyperparameter takes its text without quotes, whatever it looks like. */
static const char *set_text(Settings *s, const DhcSetting *set) {
  for (int i = 0; i < s->root->u.layer.params.n; i++) {
    const DhcAstParam *p = &s->root->u.layer.params.at[i];
    if (!strcmp(p->name.text, set->key) && p->type.kind == DHC_TY_STRING && !strpbrk(set->value, "\"\\\n"))
      return dhc_arena_printf(s->cx->e->arena, "\"%s\"", set->value);
  }
  return set->value;
}

const char *dhc_setting_source(DhcArena *a, const DhcModelRequest *r, int i) {
  bool solved = r->solved && i == r->n_sets - 1 && !strcmp(r->sets[i].key, r->solved);
  return dhc_arena_printf(a, "--%s %s", solved ? "solve" : "set", r->sets[i].key);
}

static void add_set(Settings *s, const DhcModelRequest *r, int at) {
  const DhcSetting *set = &r->sets[at];
  DhcElab *e = s->cx->e;
  const char *name = dhc_setting_source(e->arena, r, at);
  if (!is_hyper(s->root, set->key) && dhc_recipe_has_key(set->key)) return;
  int before = e->diags->n_errors;
  const char *text = set_text(s, set);
  DhcAstExpr *value = dhc_parse_expr(&e->parse, name, text, strlen(text));
  if (!value || e->diags->n_errors > before) {
    s->ok = false;
    return;
  }
  DhcAstName key = {.text = dhc_intern(e->strings, set->key), .span = value->span};
  if (!is_hyper(s->root, key.text)) {
    dhc_report_no_hyper(s->cx, s->root, set->key, value->span);
    s->ok = false;
    return;
  }
  add_setting(s, &key, value, "--set");
}

/* ---- the model ---------------------------------------------------------------------------------------- */

static DhcModel *model_new(DhcElab *e, const char *name) {
  DhcModel *m = DHC_NEW(e->arena, DhcModel);
  m->e = e;
  m->module = dhc_module_new(e->arena, e->strings, e->diags);
  m->module->model_name = name;
  return m;
}

DhcModel *dhc_elab_model(DhcElab *e, const DhcModelRequest *r) {
  const DhcAstModule *file = NULL;
  const DhcAstDecl *root = r->root ? named_root(e, r->root, &file) : only_root(e, &file);
  if (!root) return NULL;
  int before = e->diags->n_errors;
  dhc_limit_begin(e);
  DhcModel *m = model_new(e, root->name.text);
  DhcScope scope = {0};
  DhcCx cx = {.e = e, .m = m, .file = file, .scope = &scope};
  DhcClosure c = {.decl = root, .file = file};
  Settings s = {.cx = &cx, .root = root, .to = &c.args, .ok = true};
  if (r->preset) add_preset(&s, r->preset);
  if (r->variant) add_variant(&s, r->variant);
  m->recipe_decl = find_recipe(&s, r->recipe);
  if (m->recipe_decl && s.ok) add_recipe(&s, m->recipe_decl);
  for (int i = 0; i < r->n_sets; i++) add_set(&s, r, i);
  if (!s.ok) return NULL;
  m->root = dhc_instantiate(&cx, &c, "", "", "", NULL, NULL, root->name.span);
  if (m->root) dhc_state_declare(m, m->root);
  if (!m->root || e->diags->n_errors > before) return NULL;
  if (!dhc_run_initialisers(m) || !dhc_recipe_bind(m, r)) return NULL;
  return e->diags->n_errors > before ? NULL : m;
}

DhcModule *dhc_model_module(const DhcModel *m) {
  return m->module;
}

/* ---- reports ----------------------------------------------------------------------------------------------
 */

static const char *type_name(DhcModel *m, const DhcAstType *t) {
  static const char *const names[] = {
      [DHC_TY_NONE] = "any",      [DHC_TY_INT] = "int",     [DHC_TY_FLOAT] = "float", [DHC_TY_BOOL] = "bool",
      [DHC_TY_STRING] = "string", [DHC_TY_LAYER] = "layer", [DHC_TY_LIST] = "list",   [DHC_TY_MAP] = "map",
      [DHC_TY_TENSOR] = "tensor", [DHC_TY_ERROR] = "error"};
  if (t->kind != DHC_TY_ENUM) return names[t->kind];
  DhcText s = {.arena = m->e->arena};
  for (int i = 0; i < t->values.n; i++) dhc_text_printf(&s, "%s%s", i ? ", " : "enum(", t->values.at[i].text);
  dhc_text_puts(&s, ")");
  return dhc_text_str(&s);
}

DhcHyperInfos dhc_model_hypers(const DhcModel *model) {
  DhcModel *m = (DhcModel *)(uintptr_t)model; /* the arena grows, the model does not change */
  DhcHyperInfos out = {0};
  DhcCx cx = {.e = m->e, .m = m};
  for (int i = 0; i < m->root->hypers.n; i++) {
    const DhcHyper *h = &m->root->hypers.at[i];
    DhcHyperInfo x = {.name = h->name,
                      .type = type_name(m, &h->decl->type),
                      .value = dhc_say_val(&cx, &h->value),
                      .source = h->source,
                      .beside = dhc_comment_beside(m->e, h->decl->span),
                      .scalar = -1};
    if (h->value.kind == DHC_V_FLOAT && h->value.fx->kind == DHC_FX_SCALAR) x.scalar = h->value.fx->scalar;
    DHC_PUSH(m->e->arena, &out, x);
  }
  return out;
}

static int64_t list_layers(DhcModel *m, const DhcInst *inst, DhcLayerInfos *out) {
  DhcLayerInfo x = {.path = inst->path, .layer = inst->decl->name.text, .depth = inst->depth};
  int at = out->n;
  DHC_PUSH(m->e->arena, out, x);
  int64_t n = inst->n_own_params;
  for (int i = 0; i < inst->children.n; i++) n += list_layers(m, inst->children.at[i], out);
  out->at[at].n_params = n;
  return n;
}

DhcLayerInfos dhc_model_layers(const DhcModel *model) {
  DhcModel *m = (DhcModel *)(uintptr_t)model;
  DhcLayerInfos out = {0};
  list_layers(m, m->root, &out);
  return out;
}

static const DhcVal *map_of_layers(const DhcInst *inst) {
  for (int i = 0; i < inst->hypers.n; i++) {
    const DhcVal *v = &inst->hypers.at[i].value;
    bool layers = v->kind == DHC_V_MAP && v->map.n > 0;
    for (int k = 0; layers && k < v->map.n; k++) layers = v->map.at[k].value->kind == DHC_V_LAYER;
    if (layers) return v;
  }
  const DhcVal *below = NULL;
  for (int i = 0; i < inst->children.n && !below; i++) below = map_of_layers(inst->children.at[i]);
  return below;
}

/* Whether inst was made by this entry of the map: the same layer with the arguments given there. */
static bool made_by(DhcCx *cx, const DhcInst *inst, const DhcClosure *c) {
  if (inst->decl != c->decl) return false;
  for (int i = 0; i < c->args.n; i++) {
    const DhcGiven *b = &c->args.at[i];
    for (int k = 0; b->name && k < inst->hypers.n; k++) {
      const DhcHyper *h = &inst->hypers.at[k];
      if (!strcmp(h->name, b->name) && b->value.kind == h->value.kind && !dhc_val_equal(cx, &b->value, &h->value, b->span)) return false;
    }
  }
  return true;
}

/* Entry of the map that made inst, the first of equal ones; -1: none. */
static int kind_of(DhcCx *cx, const DhcVal *map, const DhcInst *inst) {
  for (int i = 0; i < map->map.n; i++)
    if (made_by(cx, inst, map->map.at[i].value->layer)) return i;
  return -1;
}

static void list_kinds(DhcCx *cx, const DhcVal *map, const DhcInst *inst, DhcText *pattern, int *count) {
  int kind = kind_of(cx, map, inst);
  if (kind >= 0) {
    dhc_text_puts(pattern, map->map.at[kind].key);
    count[kind]++;
  }
  for (int i = 0; i < inst->children.n; i++) list_kinds(cx, map, inst->children.at[i], pattern, count);
}

DhcKindInfos dhc_model_kinds(const DhcModel *model) {
  DhcModel *m = (DhcModel *)(uintptr_t)model;
  DhcKindInfos out = {0};
  const DhcVal *map = map_of_layers(m->root);
  if (!map) return out;
  DhcCx cx = {.e = m->e, .m = m};
  DhcText pattern = {.arena = m->e->arena};
  int *count = DHC_NEW_N(m->e->arena, int, map->map.n);
  list_kinds(&cx, map, m->root, &pattern, count);
  for (int i = 0; i < map->map.n; i++) {
    DhcKindInfo x = {.letter = map->map.at[i].key, .layer = map->map.at[i].value->layer->decl->name.text, .count = count[i]};
    DHC_PUSH(m->e->arena, &out, x);
  }
  return out;
}

const char *dhc_model_pattern(const DhcModel *model) {
  DhcModel *m = (DhcModel *)(uintptr_t)model;
  const DhcVal *map = map_of_layers(m->root);
  DhcText pattern = {.arena = m->e->arena};
  if (!map) return "";
  DhcCx cx = {.e = m->e, .m = m};
  list_kinds(&cx, map, m->root, &pattern, DHC_NEW_N(m->e->arena, int, map->map.n));
  return dhc_text_str(&pattern);
}
