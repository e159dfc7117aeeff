/* Names of the main file that get a value and are never read: most likely a slip. */
#include <ctype.h>

#include "frontend/elab_internal.h"

typedef struct Body {
  DhcElab *e;
  const DhcAstItems *items; /* of the layer, or NULL: assigning a state is no value */
  DhcSpan span;             /* of the entry or function */
  DHC_VEC(const DhcAstName *) targets;
} Body;

static bool is_member(const DhcAstItems *items, const char *name) {
  for (int i = 0; items && i < items->n; i++) {
    const DhcAstItem *it = items->at[i];
    if (it->kind == DHC_IT_TENSOR && it->u.tensor.name.text && !strcmp(it->u.tensor.name.text, name)) return true;
    if (it->kind == DHC_IT_IF && (is_member(&it->u.if_.then_, name) || is_member(&it->u.if_.else_, name))) return true;
    if (it->kind == DHC_IT_FOR && is_member(&it->u.for_.body, name)) return true;
  }
  return false;
}

static void add_targets(Body *b, const DhcAstStmts *body) {
  for (int i = 0; i < body->n; i++) {
    const DhcAstStmt *s = body->at[i];
    if (s->kind == DHC_ST_IF) {
      add_targets(b, &s->u.if_.then_);
      add_targets(b, &s->u.if_.else_);
    }
    if (s->kind == DHC_ST_FOR) add_targets(b, &s->u.for_.body);
    for (int k = 0; s->kind == DHC_ST_ASSIGN && k < s->u.assign.targets.n; k++) DHC_PUSH(b->e->arena, &b->targets, &s->u.assign.targets.at[k]);
  }
}

static bool in_word(char c) { return isalnum((unsigned char)c) || c == '_'; }

/* Whether the name stands anywhere in the text but where it is assigned, in comments or in quotes. */
static bool is_read(const Body *b, const char *name) {
  const char *text = dhc_sources_get(b->e->diags->sources, b->span.file)->text;
  size_t n = strlen(name);
  for (uint32_t at = b->span.begin; at < b->span.end; at++) {
    if (text[at] == '#') at += (uint32_t)strcspn(text + at, "\n");
    if (text[at] == '/' && text[at + 1] == '*') {
      const char *end = strstr(text + at + 2, "*/");
      if (!end) return true;
      at = (uint32_t)(end + 1 - text);
      continue;
    }
    if (text[at] == '"') {
      for (at++; at < b->span.end && text[at] != '"' && text[at] != '\n'; at++) at += text[at] == '\\';
      continue;
    }
    if (strncmp(text + at, name, n) || in_word(text[at + n]) || (at && in_word(text[at - 1]))) continue;
    bool assigned = false;
    for (int i = 0; i < b->targets.n && !assigned; i++) assigned = b->targets.at[i]->span.begin == at;
    if (!assigned) return true;
  }
  return false;
}

static void look_at(DhcElab *e, const DhcAstItems *items, DhcSpan span, const DhcAstStmts *body) {
  Body b = {.e = e, .items = items, .span = span};
  add_targets(&b, body);
  for (int i = 0; i < b.targets.n; i++) {
    const DhcAstName *name = b.targets.at[i];
    bool again = false;
    for (int k = 0; k < i; k++) again = again || !strcmp(b.targets.at[k]->text, name->text);
    if (again || name->text[0] == '_' || is_member(items, name->text) || is_read(&b, name->text)) continue;
    DhcDiag *d = dhc_diag(e->diags, DHC_WARNING, "E0324", name->span, "'%s' gets a value that nothing reads", name->text);
    dhc_diag_hint(e->diags, d, "a value that is not wanted is called _");
  }
}

static void look_into(DhcElab *e, const DhcAstItems *all, const DhcAstItems *items) {
  for (int i = 0; i < items->n; i++) {
    const DhcAstItem *it = items->at[i];
    if (it->kind == DHC_IT_ENTRY) look_at(e, all, it->span, &it->u.entry.body);
    if (it->kind == DHC_IT_FOR) look_into(e, all, &it->u.for_.body);
    if (it->kind != DHC_IT_IF) continue;
    look_into(e, all, &it->u.if_.then_);
    look_into(e, all, &it->u.if_.else_);
  }
}

void dhc_warn_unread(DhcElab *e) {
  const DhcAstModule *m = e->program.root;
  if (e->warned_unread) return;
  e->warned_unread = true;
  for (int i = 0; i < m->decls.n; i++) {
    const DhcAstDecl *d = m->decls.at[i];
    if (d->kind == DHC_DE_FN) look_at(e, NULL, d->span, &d->u.fn.body);
    if (d->kind == DHC_DE_LAYER || d->kind == DHC_DE_MODEL) look_into(e, &d->u.layer.items, &d->u.layer.items);
  }
}
