#include "frontend/fmt_internal.h"
#include "frontend/parse.h"

/* ---- Lines, comments, blank lines ------------------------------------------------ */

static void put(DhcFmt *f, const char *s) { dhc_text_puts(&f->out, s); }

static void start_line(DhcFmt *f) {
  for (int i = 0; i < f->indent; i++) put(f, "  ");
}

/* Whether the source has an empty line between what was printed last and `begin`. */
static bool blank_before(const DhcFmt *f, uint32_t begin) {
  int newlines = 0;
  if (!f->source || f->at_block_start) return false;
  for (uint32_t i = f->last_end; i < begin; i++) {
    char c = f->source[i];
    if (c == '\n' && ++newlines == 2) return true;
    if (c != '\n' && c != ' ' && c != '\t' && c != '\r') newlines = 0;
  }
  return false;
}

static const DhcSpan *next_comment(const DhcFmt *f) {
  if (!f->source || !f->m || f->next_comment >= f->m->comments.n) return NULL;
  return &f->m->comments.at[f->next_comment];
}

static void put_comment(DhcFmt *f, const DhcSpan *c) {
  uint32_t end = c->end;
  while (end > c->begin && (f->source[end - 1] == '\r' || f->source[end - 1] == ' ')) end--;
  put(f, dhc_arena_strndup(f->arena, f->source + c->begin, end - c->begin));
  f->last_end = c->end;
  f->next_comment++;
  f->at_block_start = false;
}

/* Comments that stand before `begin`, each on its own line. */
static void flush_comments(DhcFmt *f, uint32_t begin) {
  for (const DhcSpan *c; (c = next_comment(f)) && c->begin < begin;) {
    if (blank_before(f, c->begin)) put(f, "\n");
    start_line(f);
    put_comment(f, c);
    put(f, "\n");
  }
}

/* Before an item, statement or declaration that starts at span.begin. */
static void begin_line(DhcFmt *f, DhcSpan span) {
  flush_comments(f, span.begin);
  if (blank_before(f, span.begin)) put(f, "\n");
  start_line(f);
  f->at_block_start = false;
}

/* After it: a comment on the same line stays there. */
static void end_line(DhcFmt *f, DhcSpan span) {
  f->last_end = span.end;
  const DhcSpan *c = next_comment(f);
  if (c && c->begin >= span.end &&
      !memchr(f->source + span.end, '\n', c->begin - span.end) &&
      strspn(f->source + span.end, " \t,") == c->begin - span.end) {
    put(f, "  ");
    put_comment(f, c);
  }
  put(f, "\n");
}

static bool has_comment_before(const DhcFmt *f, uint32_t end) {
  const DhcSpan *c = next_comment(f);
  return c && c->begin < end;
}

static void open_block(DhcFmt *f) {
  put(f, "{\n");
  f->indent++;
  f->at_block_start = true;
}

/* `end` is the source offset behind the closing brace. */
static void close_block(DhcFmt *f, uint32_t end) {
  if (end > 0) flush_comments(f, end - 1);
  f->indent--;
  start_line(f);
  put(f, "}");
  f->at_block_start = false;
  f->last_end = end;
}

/* ---- Statements ---------------------------------------------------------------------- */

static void put_stmt(DhcFmt *f, const DhcAstStmt *s);

static void put_names(DhcFmt *f, const DhcAstNames *names) {
  for (int i = 0; i < names->n; i++)
    dhc_text_printf(&f->out, i ? ", %s" : "%s", names->at[i].text);
}

static void put_require(DhcFmt *f, const DhcAstRequire *r) {
  put(f, "require ");
  dhc_fmt_expr(f, r->cond);
  if (!r->message && !r->text) return;
  put(f, ", ");
  if (r->text)
    dhc_fmt_expr(f, r->text);
  else
    dhc_fmt_string(f, r->message);
}

static void put_if(DhcFmt *f, const DhcAstStmt *s) {
  put(f, "if ");
  dhc_fmt_expr(f, s->u.if_.cond);
  put(f, " ");
  const DhcAstStmts *then_ = &s->u.if_.then_, *else_ = &s->u.if_.else_;
  dhc_fmt_block(f, then_, s->u.if_.then_span.end, false);
  if (!s->u.if_.has_else) return;
  put(f, " else ");
  bool chain = else_->n == 1 && else_->at[0]->kind == DHC_ST_IF;
  if (chain && !has_comment_before(f, else_->at[0]->span.begin))
    put_if(f, else_->at[0]);
  else
    dhc_fmt_block(f, else_, s->span.end, false);
}

static void put_stmt(DhcFmt *f, const DhcAstStmt *s) {
  switch (s->kind) {
    case DHC_ST_ASSIGN:
      put_names(f, &s->u.assign.targets);
      put(f, " = ");
      dhc_fmt_exprs(f, &s->u.assign.values);
      break;
    case DHC_ST_STORE:
      dhc_text_printf(&f->out, "%s%s <- ", s->u.store.is_self ? "self." : "",
                      s->u.store.target.text);
      dhc_fmt_expr(f, s->u.store.value);
      break;
    case DHC_ST_RETURN:
    case DHC_ST_YIELD:
      put(f, s->kind == DHC_ST_RETURN ? "return" : "yield");
      if (s->u.values.n) put(f, " ");
      dhc_fmt_exprs(f, &s->u.values);
      break;
    case DHC_ST_TAP:
      dhc_text_printf(&f->out, "tap %s = ", s->u.tap.name.text);
      dhc_fmt_expr(f, s->u.tap.value);
      break;
    case DHC_ST_REQUIRE: put_require(f, &s->u.require); break;
    case DHC_ST_IF: put_if(f, s); break;
    case DHC_ST_FOR:
      dhc_text_printf(&f->out, "for %s in ", s->u.for_.var.text);
      dhc_fmt_expr(f, s->u.for_.iter);
      put(f, " ");
      dhc_fmt_block(f, &s->u.for_.body, s->span.end, false);
      break;
  }
}

/* Prints the block's one statement behind "{ " if that stays short and on one line. */
static bool fold_block(DhcFmt *f, const DhcAstStmts *body, uint32_t end) {
  if (body->n != 1 || body->at[0]->kind == DHC_ST_IF || body->at[0]->kind == DHC_ST_FOR ||
      has_comment_before(f, end))
    return false;
  int before = f->out.n;
  put(f, "{ ");
  put_stmt(f, body->at[0]);
  put(f, " }");
  int column = before;
  while (column > 0 && f->out.at[column - 1] != '\n') column--;
  if (!strchr(f->out.at + before, '\n') && f->out.n - column <= DHC_FMT_WIDTH) return true;
  f->out.n = before;
  f->out.at[before] = 0;
  return false;
}

void dhc_fmt_block(DhcFmt *f, const DhcAstStmts *body, uint32_t end, bool may_fold) {
  if (body->n == 0 && !has_comment_before(f, end)) {
    put(f, "{}");
    return;
  }
  if (may_fold && fold_block(f, body, end)) return;
  open_block(f);
  for (int i = 0; i < body->n; i++) {
    begin_line(f, body->at[i]->span);
    put_stmt(f, body->at[i]);
    end_line(f, body->at[i]->span);
  }
  close_block(f, end);
}

/* ---- Signatures ------------------------------------------------------------------------ */

static void put_param(DhcFmt *f, const DhcAstParam *p) {
  put(f, p->name.text);
  if (p->type.kind != DHC_TY_NONE) {
    put(f, ": ");
    dhc_fmt_type(f, &p->type);
  }
  if (p->range) {
    put(f, " in ");
    dhc_fmt_expr(f, p->range);
  }
  if (p->default_value) {
    put(f, " = ");
    dhc_fmt_expr(f, p->default_value);
  }
}

/* (a, b), or one a line where that does not fit behind what stands on the line. */
static void put_params(DhcFmt *f, const DhcAstParams *params, int reserve) {
  int before = f->out.n, column = before;
  while (column > 0 && f->out.at[column - 1] != '\n') column--;
  put(f, "(");
  for (int i = 0; i < params->n; i++) {
    if (i) put(f, ", ");
    put_param(f, &params->at[i]);
  }
  put(f, ")");
  if (f->out.n - column + reserve <= DHC_FMT_WIDTH || params->n < 2) return;
  f->out.n = before;
  put(f, "(\n");
  f->indent++;
  for (int i = 0; i < params->n; i++) {
    start_line(f);
    put_param(f, &params->at[i]);
    put(f, i + 1 < params->n ? ",\n" : "\n");
  }
  f->indent--;
  start_line(f);
  put(f, ")");
}

static void put_signature(DhcFmt *f, const DhcAstSignature *sig) {
  put(f, sig->name.text);
  if (sig->binders.n) {
    put(f, "<");
    for (int i = 0; i < sig->binders.n; i++)
      dhc_text_printf(&f->out, "%s%s%s", i ? ", " : "", sig->binders.at[i].is_run ? "..." : "",
                      sig->binders.at[i].name.text);
    put(f, ">");
  }
  put_params(f, &sig->inputs, 0);
  if (!sig->outputs.n) return;
  put(f, " -> ");
  put_params(f, &sig->outputs, 2);
}

/* ---- Items ------------------------------------------------------------------------------- */

static void put_items(DhcFmt *f, const DhcAstItems *items, uint32_t end);

static void put_const(DhcFmt *f, const DhcAstConst *c) {
  dhc_text_printf(&f->out, "const %s", c->name.text);
  if (c->type.kind != DHC_TY_NONE) {
    put(f, ": ");
    dhc_fmt_type(f, &c->type);
  }
  put(f, " = ");
  dhc_fmt_expr(f, c->value);
}

static void put_tensor(DhcFmt *f, const DhcAstItem *it) {
  static const char *const roles[] = {"param", "buffer", "table", "state"};
  dhc_text_printf(&f->out, "%s %s: ", roles[it->u.tensor.role], it->u.tensor.name.text);
  dhc_fmt_type(f, &it->u.tensor.type);
  if (it->u.tensor.no_decay) put(f, " no_decay");
  if (it->u.tensor.path) {
    put(f, " as ");
    dhc_fmt_expr(f, it->u.tensor.path);
  }
  if (!it->u.tensor.init) return;
  put(f, " = ");
  dhc_fmt_expr(f, it->u.tensor.init);
}

/* A path is written bare where each component is a name, else as a string. */
static void put_init(DhcFmt *f, const DhcAstItem *it) {
  DhcText path = {.arena = f->arena};
  bool bare = true;
  for (int i = 0; i < it->u.init.path.n; i++) {
    const char *s = it->u.init.path.at[i].text;
    bare = bare && (strcmp(s, "*") == 0 || dhc_fmt_is_plain_name(s));
    dhc_text_printf(&path, i ? ".%s" : "%s", s);
  }
  put(f, "init ");
  if (bare)
    put(f, dhc_text_str(&path));
  else
    dhc_fmt_string(f, dhc_text_str(&path));
  put(f, " = ");
  dhc_fmt_expr(f, it->u.init.value);
}

static void put_item_if(DhcFmt *f, const DhcAstItem *it) {
  const DhcAstItems *then_ = &it->u.if_.then_, *else_ = &it->u.if_.else_;
  put(f, "if ");
  dhc_fmt_expr(f, it->u.if_.cond);
  put(f, " ");
  put_items(f, then_, it->u.if_.then_span.end);
  if (!it->u.if_.has_else) return;
  put(f, " else ");
  bool chain = else_->n == 1 && else_->at[0]->kind == DHC_IT_IF;
  if (chain && !has_comment_before(f, else_->at[0]->span.begin))
    put_item_if(f, else_->at[0]);
  else
    put_items(f, else_, it->span.end);
}

static void put_item(DhcFmt *f, const DhcAstItem *it) {
  switch (it->kind) {
    case DHC_IT_CONST: put_const(f, &it->u.const_); break;
    case DHC_IT_TENSOR: put_tensor(f, it); break;
    case DHC_IT_SUBMODULE:
      put(f, it->u.submodule.name.text);
      for (int i = 0; i < it->u.submodule.indices.n; i++) {
        put(f, "[");
        dhc_fmt_expr(f, it->u.submodule.indices.at[i]);
        put(f, "]");
      }
      if (it->u.submodule.path) {
        put(f, " as ");
        dhc_fmt_expr(f, it->u.submodule.path);
      }
      put(f, " = ");
      dhc_fmt_expr(f, it->u.submodule.value);
      break;
    case DHC_IT_INIT: put_init(f, it); break;
    case DHC_IT_REQUIRE: put_require(f, &it->u.require); break;
    case DHC_IT_IF: put_item_if(f, it); break;
    case DHC_IT_FOR:
      dhc_text_printf(&f->out, "for %s in ", it->u.for_.var.text);
      dhc_fmt_expr(f, it->u.for_.iter);
      put(f, " ");
      put_items(f, &it->u.for_.body, it->span.end);
      break;
    case DHC_IT_ENTRY:
      if (it->u.entry.is_metric) put(f, "metric ");
      put_signature(f, &it->u.entry.sig);
      put(f, " ");
      dhc_fmt_block(f, &it->u.entry.body, it->span.end, false);
      break;
  }
}

static void put_items(DhcFmt *f, const DhcAstItems *items, uint32_t end) {
  if (items->n == 0 && !has_comment_before(f, end)) {
    put(f, "{}");
    return;
  }
  open_block(f);
  for (int i = 0; i < items->n; i++) {
    begin_line(f, items->at[i]->span);
    put_item(f, items->at[i]);
    end_line(f, items->at[i]->span);
  }
  close_block(f, end);
}

/* ---- Declarations -------------------------------------------------------------------------- */

static void put_setting(DhcFmt *f, const DhcAstSetting *s) {
  put(f, s->key.text);
  if (s->has_params) {
    put(f, "(");
    put_names(f, &s->params);
    put(f, ")");
  }
  put(f, " = ");
  dhc_fmt_expr(f, s->value);
}

static void put_settings(DhcFmt *f, const DhcAstSettings *list, uint32_t end) {
  if (list->n == 0 && !has_comment_before(f, end)) {
    put(f, "{}");
    return;
  }
  open_block(f);
  for (int i = 0; i < list->n; i++) {
    begin_line(f, list->at[i].span);
    put_setting(f, &list->at[i]);
    end_line(f, list->at[i].span);
  }
  close_block(f, end);
}

static void put_variants(DhcFmt *f, const DhcAstDecl *d) {
  dhc_text_printf(&f->out, "variants %s for %s ", d->name.text, d->u.variants.target.text);
  open_block(f);
  for (int i = 0; i < d->u.variants.list.n; i++) {
    const DhcAstVariant *v = &d->u.variants.list.at[i];
    begin_line(f, v->span);
    dhc_text_printf(&f->out, "%s ", v->name.text);
    put_settings(f, &v->settings, v->span.end);
    end_line(f, v->span);
  }
  close_block(f, d->span.end);
}

static void put_decl(DhcFmt *f, const DhcAstDecl *d) {
  switch (d->kind) {
    case DHC_DE_LAYER:
    case DHC_DE_MODEL:
      dhc_text_printf(&f->out, "%s %s", d->kind == DHC_DE_LAYER ? "layer" : "model", d->name.text);
      put_params(f, &d->u.layer.params, 2);
      put(f, " ");
      put_items(f, &d->u.layer.items, d->span.end);
      break;
    case DHC_DE_FN:
      put(f, "fn ");
      put_signature(f, &d->u.fn.sig);
      if (d->u.fn.kernel) {
        put(f, " kernel ");
        dhc_fmt_string(f, d->u.fn.kernel);
      }
      if (d->u.fn.vjp.text) dhc_text_printf(&f->out, " vjp %s", d->u.fn.vjp.text);
      put(f, " ");
      dhc_fmt_block(f, &d->u.fn.body, d->span.end, false);
      break;
    case DHC_DE_CONST: put_const(f, &d->u.const_); break;
    case DHC_DE_PRESET:
    case DHC_DE_RECIPE:
      dhc_text_printf(&f->out, "%s %s for %s ", d->kind == DHC_DE_PRESET ? "preset" : "recipe",
                      d->name.text, d->u.settings.target.text);
      put_settings(f, &d->u.settings.settings, d->span.end);
      break;
    case DHC_DE_VARIANTS: put_variants(f, d); break;
  }
}

static void put_import(DhcFmt *f, const DhcAstImport *import) {
  DhcSpan word = import->span; /* the word `import` stands before it on the same line */
  begin_line(f, word);
  put(f, "import ");
  if (import->is_shipped)
    put(f, import->text);
  else
    dhc_fmt_string(f, import->text);
  end_line(f, import->span);
}

const char *dhc_ast_print(DhcArena *arena, const DhcAstModule *m, const DhcSources *sources) {
  DhcFmt f = {.out = {.arena = arena}, .arena = arena, .m = m, .at_block_start = true};
  const DhcSource *source = sources ? dhc_sources_get(sources, m->file) : NULL;
  if (source) f.source = source->text;
  int i = 0, k = 0;
  while (i < m->imports.n || k < m->decls.n) {
    bool import = i < m->imports.n &&
                  (k >= m->decls.n || m->imports.at[i].span.begin < m->decls.at[k]->span.begin);
    if (import) {
      put_import(&f, &m->imports.at[i++]);
    } else {
      begin_line(&f, m->decls.at[k]->span);
      put_decl(&f, m->decls.at[k]);
      end_line(&f, m->decls.at[k]->span);
      k++;
    }
  }
  if (source) flush_comments(&f, (uint32_t)source->n_bytes);
  return dhc_text_str(&f.out);
}

void dhc_ast_print_program(const DhcAstProgram *program, DhcText *to) {
  for (int i = 0; i < program->modules.n; i++) {
    const DhcAstModule *m = program->modules.at[i];
    dhc_text_printf(to, "%s# %s\n", i ? "\n" : "", m->name);
    dhc_text_puts(to, dhc_ast_print(to->arena, m, NULL));
  }
}
