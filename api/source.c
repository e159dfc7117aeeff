/* What editors ask about a model file, saved or not: what is wrong with it, what it and its imports declare, where names
 * get their values, and the shapes of what is computed. */
#include <stdlib.h>

#include "api/api.h"
#include "api/json.h"
#include "frontend/parse.h"

typedef struct Source {
  dhc_session *s;
  JsonDoc *doc;
  cJSON *names, *types;
  uint32_t file; /* the one that is asked about */
  const char *parent; /* the declaration that names lie in, or NULL */
  DhcSpan scope;      /* they are known in */
} Source;

static const char *text_at(const Source *x, DhcSpan at) {
  const DhcSource *f = dhc_sources_get(&x->s->sources, at.file);
  return dhc_arena_strndup(&x->s->arena, f->text + at.begin, at.end - at.begin);
}

static void put_place(const Source *x, cJSON *row, DhcSpan at) {
  json_number(x->doc, row, "begin", at.begin);
  json_number(x->doc, row, "end", at.end);
}

static void put_name(const Source *x, const char *kind, const DhcAstName *name, const char *text) {
  if (!name->text || !name->span.file) return;
  cJSON *row = json_object(x->doc, x->names, NULL);
  int line = 0, column = 0;
  json_text(x->doc, row, "kind", kind);
  json_text(x->doc, row, "name", name->text);
  json_text(x->doc, row, "file", dhc_sources_get(&x->s->sources, name->span.file)->path);
  dhc_span_locate(&x->s->sources, name->span, &line, &column);
  json_number(x->doc, row, "line", line);
  json_number(x->doc, row, "column", column);
  put_place(x, row, name->span);
  json_text(x->doc, row, "text", text);
  if (x->parent) json_text(x->doc, row, "in", x->parent);
  if (x->scope.file) {
    json_number(x->doc, row, "scope_begin", x->scope.begin);
    json_number(x->doc, row, "scope_end", x->scope.end);
  }
}

static void put_params(const Source *x, const DhcAstParams *p, const char *kind) {
  for (int i = 0; i < p->n; i++) put_name(x, kind, &p->at[i].name, text_at(x, p->at[i].span));
}

static void put_body(const Source *x, const DhcAstStmts *body) {
  for (int i = 0; i < body->n; i++) {
    const DhcAstStmt *s = body->at[i];
    if (s->kind == DHC_ST_IF) {
      put_body(x, &s->u.if_.then_);
      put_body(x, &s->u.if_.else_);
    }
    if (s->kind == DHC_ST_FOR) put_body(x, &s->u.for_.body);
    if (s->kind != DHC_ST_ASSIGN) continue;
    for (int k = 0; k < s->u.assign.targets.n; k++) put_name(x, "local", &s->u.assign.targets.at[k], text_at(x, s->span));
  }
}

static void put_callable(const Source *x, const char *kind, const DhcAstSignature *sig, const DhcAstStmts *body, DhcSpan whole) {
  Source in = *x;
  put_name(x, kind, &sig->name, text_at(x, sig->span));
  in.scope = whole;
  put_params(&in, &sig->inputs, "input");
  put_body(&in, body);
}

static void put_items(const Source *x, const DhcAstItems *items) {
  for (int i = 0; i < items->n; i++) {
    const DhcAstItem *it = items->at[i];
    switch (it->kind) {
      case DHC_IT_CONST: put_name(x, "const", &it->u.const_.name, text_at(x, it->span)); break;
      case DHC_IT_TENSOR: put_name(x, "tensor", &it->u.tensor.name, text_at(x, it->span)); break;
      case DHC_IT_SUBMODULE: put_name(x, "submodule", &it->u.submodule.name, text_at(x, it->span)); break;
      case DHC_IT_ENTRY: put_callable(x, "entry", &it->u.entry.sig, &it->u.entry.body, it->span); break;
      case DHC_IT_FOR: put_items(x, &it->u.for_.body); break;
      case DHC_IT_IF:
        put_items(x, &it->u.if_.then_);
        put_items(x, &it->u.if_.else_);
        break;
      case DHC_IT_INIT:
      case DHC_IT_REQUIRE: break;
    }
  }
}

/* Its head: all before the body. */
static const char *head_of(const Source *x, DhcSpan at) {
  const char *text = text_at(x, at);
  size_t n = 0;
  for (int depth = 0; text[n] && !(text[n] == '{' && depth == 0); n++) {
    depth += text[n] == '(' || text[n] == '[' || text[n] == '{';
    depth -= text[n] == ')' || text[n] == ']' || text[n] == '}';
  }
  while (n && (text[n - 1] == ' ' || text[n - 1] == '\n')) n--;
  return dhc_arena_strndup(&x->s->arena, text, n);
}

static void put_declaration(Source *x, const DhcAstDecl *d, bool whole) {
  static const char *const kinds[] = {"layer", "model", "function", "const", "preset", "variants", "recipe"};
  Source in = *x;
  put_name(x, kinds[d->kind], &d->name, head_of(x, d->span));
  in.parent = d->name.text;
  if (!whole || !d->name.text) return;
  if (d->kind == DHC_DE_FN) {
    in.scope = d->span;
    put_params(&in, &d->u.fn.sig.inputs, "input");
    put_body(&in, &d->u.fn.body);
  }
  if (d->kind != DHC_DE_LAYER && d->kind != DHC_DE_MODEL) return;
  in.scope = d->span;
  put_params(&in, &d->u.layer.params, "hyperparameter");
  put_items(&in, &d->u.layer.items);
}

static void put_type(const Source *x, DhcSpan at, const char *type) {
  cJSON *row = json_object(x->doc, x->types, NULL);
  put_place(x, row, at);
  json_text(x->doc, row, "type", type);
}

/* A name gets a tensor: what its shape is for the entry that is built. */
static void take_assigned(void *source, DhcSpan name, const DhcType *type) {
  const Source *x = source;
  DhcText t = {.arena = &x->s->arena};
  if (name.file != x->file) return;
  dhc_type_print(type, &t);
  put_type(x, name, dhc_text_str(&t));
}

/* Types of expressions of the file, in symbols of the entry that computes them; of an expression that several compute, each. */
static void put_types(const Source *x, const DhcModule *m) {
  for (int i = 0; i < m->funcs.n; i++)
    for (const DhcNode *n = m->funcs.at[i]->first; n; n = n->next) {
      if (n->span.file != x->file || !n->n_results || n->op == DHC_OP_PARAM) continue;
      DhcText t = {.arena = &x->s->arena};
      for (int k = 0; k < n->n_results; k++) {
        if (k) dhc_text_puts(&t, ", ");
        dhc_type_print(&n->results[k]->type, &t);
      }
      put_type(x, n->span, dhc_text_str(&t));
    }
}

/* The file's last model, whole, with every entry: only then are there shapes. */
static void elaborate(Source *x, const char *path, const DhcTexts *texts) {
  dhc_session *s = x->s;
  const DhcElabConfig config = {.shipped_roots = s->roots, .n_shipped_roots = s->n_roots, .texts = texts, .parsed = &s->parsed,
                                .assigned = take_assigned, .assigned_ctx = x, .grad = dhc_grad_unit, .max_memory_bytes = s->budget.limit};
  DhcElab *e = dhc_elab_open(&s->arena, &s->strings, &s->diags, &config, path);
  x->types = json_array(x->doc, x->doc->root, "types");
  if (!e || !dhc_elab_check(e)) return;
  DhcModel *m = dhc_elab_model(e, &(DhcModelRequest){0});
  DhcEntryInfos entries = {0};
  if (m) entries = dhc_model_entries(m);
  for (int i = 0; i < entries.n; i++) (void)dhc_model_entry(m, &(DhcEntryRequest){.name = entries.at[i].name, .may_lack = true});
  if (m) put_types(x, dhc_model_module(m));
}

static void put_diagnostics(const Source *x) {
  char *text = NULL;
  size_t n = 0;
  FILE *to = open_memstream(&text, &n);
  if (!to) {
    x->doc->missing = true;
    return;
  }
  dhc_diags_print_json(&x->s->diags, to);
  bool whole = !ferror(to);
  whole = !fclose(to) && whole;
  cJSON *rows = whole ? cJSON_Parse(text) : NULL;
  if (!rows || !cJSON_AddItemToObject(x->doc->root, "diagnostics", rows)) x->doc->missing = true;
  free(text);
}

dhc_status api_source_json(dhc_session *s, const char *path, const char *text, char **out) {
  NEED_OUT(out);
  NEED(s);
  NEED(path);
  const char *slash = strrchr(path, '/');
  const struct DhcPackedText one = {.name = slash ? slash + 1 : path, .text = text, .n_bytes = text ? strlen(text) : 0};
  const DhcTexts texts = {.prefix = slash ? dhc_arena_strndup(&s->arena, path, (size_t)(slash - path)) : "", .n = 1,
                          .at = dhc_arena_dup(&s->arena, &one, sizeof one)};
  const DhcTexts *edited = text ? dhc_arena_dup(&s->arena, &texts, sizeof texts) : NULL;
  DhcParse p = {.arena = &s->arena, .strings = &s->strings, .diags = &s->diags, .shipped_roots = s->roots, .n_shipped_roots = s->n_roots,
                .parsed = &s->parsed, .texts = edited};
  DhcAstProgram program = {0};
  if (text && !slash) return dhc_status_make(DHC_E_USAGE, "a text of a file needs the file's folder in its path, got \"%s\"", path);
  JsonDoc doc;
  json_begin(&doc);
  Source x = {.s = s, .doc = &doc, .names = json_array(&doc, doc.root, "names")};
  bool parsed = dhc_parse_file(&p, path, &program), model = false;
  for (int i = 0; i < program.modules.n; i++)
    for (int k = 0; k < program.modules.at[i]->decls.n; k++) {
      bool own = program.modules.at[i] == program.root;
      put_declaration(&x, program.modules.at[i]->decls.at[k], own);
      model = model || (own && program.modules.at[i]->decls.at[k]->kind == DHC_DE_MODEL);
    }
  if (program.root) x.file = program.root->file;
  if (parsed && model) elaborate(&x, path, edited);
  put_diagnostics(&x);
  return json_end(&doc, dhc_status_ok(), false, out);
}
