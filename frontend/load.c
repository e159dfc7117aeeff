#include "frontend/parse.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>

#include "frontend/build.h"
#include "frontend/literal.h"
#include "frontend/source.h"

/* One file on its way from being asked for to being parsed. */
typedef struct Loaded {
  DhcPlace place;
  DhcAstModule *module;
  int index;      /* in program->modules; -1 while its imports are being followed */
  int parent;     /* index in loader->files of the file that is importing it, -1: root */
  int level;
} Loaded;

typedef struct Loader {
  DhcParse *p;
  DhcAstProgram *program;
  DHC_VEC(Loaded) files;
} Loader;

/* ---- One text ------------------------------------------------------------------------ */

static bool check_text(DhcParse *p, uint32_t file, const char *text, size_t n_bytes) {
  if (n_bytes > DHC_AST_MAX_SOURCE_BYTES) {
    dhc_diag(p->diags, DHC_ERROR, "E0114", (DhcSpan){file, 0, 0}, "source is larger than %u MiB",
             DHC_AST_MAX_SOURCE_BYTES >> 20);
    return false;
  }
  size_t bad = dhc_utf8_invalid(text, n_bytes);
  if (bad == n_bytes) return true;
  dhc_diag(p->diags, DHC_ERROR, "E0101", (DhcSpan){file, (uint32_t)bad, (uint32_t)bad + 1},
           "invalid byte 0x%02x", (unsigned char)text[bad]);
  return false;
}

static void parse_tokens(DhcParse *p, uint32_t file, int start, DhcParser *ps,
                         DhcTokens *tokens) {
  dhc_tokens_read(p, file, tokens);
  ps->cfg = p;
  ps->tokens = tokens;
  ps->start_kind = start;
  ps->last_recovery = -1;
  if (!tokens->unusable) (void)dhc_yyparse(ps);
}

/* Messages of one file in order of place: brackets are looked at before the rest. */
static void sort_messages(DhcDiags *d, int from) {
  for (int i = from + 1; i < d->all.n; i++) {
    DhcDiag *m = d->all.at[i];
    int k = i;
    for (; k > from && d->all.at[k - 1]->at.begin > m->at.begin; k--)
      d->all.at[k] = d->all.at[k - 1];
    d->all.at[k] = m;
  }
}

/* Adds the source and parses it; the module may be incomplete after errors. */
static DhcAstModule *parse_module(DhcParse *p, const char *name, const char *path,
                                  const char *text, size_t n_bytes, bool is_root) {
  int errors_before = p->diags->n_errors, messages_before = p->diags->all.n;
  uint32_t file = dhc_sources_add(p->diags->sources, name, path, text, n_bytes);
  DhcAstModule *m = DHC_NEW(p->arena, DhcAstModule);
  m->file = file;
  m->name = dhc_sources_get(p->diags->sources, file)->name;
  if (!check_text(p, file, text, n_bytes)) return m;
  DhcTokens tokens;
  DhcParser ps = {.module = m};
  parse_tokens(p, file, T_START_FILE, &ps, &tokens);
  sort_messages(p->diags, messages_before);
  m->comments.at = tokens.comments.at;
  m->comments.n = tokens.comments.n;
  m->comments.cap = tokens.comments.cap;
  if (is_root && p->diags->n_errors == errors_before && m->decls.n == 0 && m->imports.n == 0)
    dhc_diag(p->diags, DHC_ERROR, "E0115", (DhcSpan){file, 0, 0}, "no model here (file %s)",
             m->comments.n ? "has only comments" : "is empty");
  return m;
}

/* ---- The same text again --------------------------------------------------------------- */

static const DhcAstModule *parsed_before(const DhcParse *p, const DhcPlace *place, const char *text, size_t n_bytes) {
  for (int i = 0; p->parsed && i < p->parsed->n; i++) {
    const DhcAstModule *m = p->parsed->at[i];
    const DhcSource *s = dhc_sources_get(p->diags->sources, m->file);
    if (s->n_bytes == n_bytes && !strcmp(s->path, place->path) && !strcmp(s->name, place->name) && !memcmp(s->text, text, n_bytes)) return m;
  }
  return NULL;
}

/* A module of its own, as where its imports stand is another program's business. */
static DhcAstModule *own_module(DhcParse *p, const DhcAstModule *from) {
  DhcAstModule *m = dhc_arena_dup(p->arena, from, sizeof *m);
  m->imports.at = dhc_arena_dup(p->arena, from->imports.at, sizeof *m->imports.at * (size_t)from->imports.n);
  m->imports.cap = m->imports.n;
  return m;
}

static DhcAstModule *module_of(DhcParse *p, const DhcPlace *place, const char *text, size_t n_bytes, bool is_root) {
  const DhcAstModule *known = parsed_before(p, place, text, n_bytes);
  if (known) return own_module(p, known);
  int said = p->diags->all.n, errors = p->diags->n_errors;
  DhcAstModule *m = parse_module(p, place->name, place->path, text, n_bytes, is_root);
  bool silent = p->diags->all.n == said && p->diags->n_errors == errors && (m->decls.n || m->imports.n);
  if (p->parsed && silent) DHC_PUSH(p->arena, p->parsed, own_module(p, m));
  return m;
}

/* ---- Imports -------------------------------------------------------------------------- */

static bool load(Loader *ld, const DhcPlace *place, int parent, DhcSpan at, const char *as_written,
                 int *index);

/* "a.dhc -> b.dhc -> a.dhc": from the file that is met again to the one importing it. */
static void report_cycle(Loader *ld, int again, int importer, DhcSpan at) {
  DhcArena *arena = ld->p->arena;
  const char *chain = ld->files.at[again].place.name;
  const char *tail = chain;
  for (int i = importer; i != again && i >= 0; i = ld->files.at[i].parent)
    tail = dhc_arena_printf(arena, "%s -> %s", ld->files.at[i].place.name, tail);
  dhc_diag(ld->p->diags, DHC_ERROR, "E0224", at, "import cycle: %s -> %s", chain, tail);
}

static int by_text(const void *a, const void *b) {
  return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void close_folder(void *d) {
  if (d) closedir(d);
}

DhcShippedNames dhc_parse_shipped_names(const DhcParse *p, const char *folder) {
  DhcShippedNames names = {0};
  for (int i = 0; i < p->n_shipped_roots; i++) {
    DIR *d = opendir(dhc_arena_printf(p->arena, "%s/%s", p->shipped_roots[i], folder));
    if (!d && errno == ENOMEM) dhc_out_of_memory(0);
    DhcHeld held;
    dhc_hold(&held, close_folder, d);
    for (const struct dirent *e; d && (e = readdir(d));) {
      size_t n = strlen(e->d_name);
      if (n > 4 && !strcmp(e->d_name + n - 4, ".dhc"))
        DHC_PUSH(p->arena, &names, dhc_arena_printf(p->arena, "%s%.*s", folder, (int)n - 4, e->d_name));
    }
    dhc_release(&held);
    close_folder(d);
  }
  if (names.n) qsort(names.at, (size_t)names.n, sizeof *names.at, by_text);
  return names;
}

const char *dhc_parse_find_layer(const DhcParse *p, const char *name) {
  DhcShippedNames names = dhc_parse_shipped_names(p, "layers/");
  const char *head = dhc_arena_printf(p->arena, "\nlayer %s(", name);
  for (int i = 0; i < names.n; i++)
    for (int r = 0; r < p->n_shipped_roots; r++) {
      DhcPlace place = dhc_place_of_shipped(p->arena, p->shipped_roots[r], names.at[i]);
      const char *text;
      size_t n_bytes;
      if (dhc_place_read(p->arena, &place, p->texts, false, &text, &n_bytes) == DHC_READ_OK && strstr(text, head))
        return names.at[i];
    }
  return NULL;
}

/* A model that is not there: what was meant may be a shipped one. name: NULL for imports. */
static void hint_shipped(Loader *ld, DhcDiag *d, const char *name) {
  if (!name || strchr(name, '/') || strchr(name, '.')) return;
  DhcShippedNames names = dhc_parse_shipped_names(ld->p, "");
  const char *close = dhc_suggest(name, names.at, names.n);
  if (close) {
    dhc_diag_hint(ld->p->diags, d, "did you mean '%s'?", close);
    return;
  }
  const char *all = "";
  for (int i = 0; i < names.n; i++)
    all = dhc_arena_printf(ld->p->arena, "%s%s%s", all, i ? ", " : "", names.at[i]);
  if (names.n) dhc_diag_hint(ld->p->diags, d, "a model is a .dhc file or one of %s", all);
}

static void report_read(Loader *ld, const DhcPlace *place, DhcReadError error, DhcSpan at,
                        const char *as_written) {
  DhcDiags *diags = ld->p->diags;
  bool is_root = at.file == 0;
  const char *what = is_root ? dhc_arena_printf(ld->p->arena, "%s", place->name)
                             : dhc_arena_printf(ld->p->arena, "import \"%s\"", as_written);
  switch (error) {
    case DHC_READ_OK: break;
    case DHC_READ_LINK:
      dhc_diag(diags, DHC_ERROR, "E0223", at, "%s is a link, refused", what);
      break;
    case DHC_READ_KIND:
      dhc_diag(diags, DHC_ERROR, "E0226", at, "%s is not a regular file", what);
      break;
    case DHC_READ_SIZE:
      dhc_diag(diags, DHC_ERROR, "E0114", at, "%s is larger than %u MiB", what,
               DHC_AST_MAX_SOURCE_BYTES >> 20);
      break;
    case DHC_READ_SYSTEM:
      hint_shipped(ld,
                   dhc_diag(diags, DHC_ERROR, "E0221", at, "%s: cannot be read: %s", what,
                            strerrordesc_np(errno)),
                   is_root ? place->name : NULL);
      break;
  }
}

static void load_shipped(Loader *ld, int importer, DhcAstImport *import) {
  DhcParse *p = ld->p;
  for (int i = 0; i < p->n_shipped_roots; i++) {
    DhcPlace place = dhc_place_of_shipped(p->arena, p->shipped_roots[i], import->text);
    if (!dhc_place_exists(&place, p->texts)) continue;
    load(ld, &place, importer, import->span, import->text, &import->module);
    return;
  }
  DhcDiag *d = dhc_diag(p->diags, DHC_ERROR, "E0227", import->span, "no shipped module '%s'",
                        import->text);
  dhc_diag_hint(p->diags, d, "a file beside this one is imported as \"%s.dhc\"", import->text);
}

static void load_quoted(Loader *ld, int importer, DhcAstImport *import) {
  DhcParse *p = ld->p;
  const DhcPlace *from = &ld->files.at[importer].place;
  DhcPlace place;
  if (!from->folder)
    dhc_diag(p->diags, DHC_ERROR, "E0228", import->span,
             "a text that is not a file cannot import \"%s\"", import->text);
  else if (!dhc_place_of_import(p->arena, from, import->text, &place))
    dhc_diag(p->diags, DHC_ERROR, "E0222", import->span, "import leaves the model folder: \"%s\"",
             import->text);
  else
    load(ld, &place, importer, import->span, import->text, &import->module);
}

static void follow_imports(Loader *ld, int file) {
  DhcAstModule *m = ld->files.at[file].module;
  for (int i = 0; i < m->imports.n; i++) {
    if (m->imports.at[i].is_shipped)
      load_shipped(ld, file, &m->imports.at[i]);
    else
      load_quoted(ld, file, &m->imports.at[i]);
  }
  ld->files.at[file].index = ld->program->modules.n;
  DHC_PUSH(ld->p->arena, &ld->program->modules, m);
}

static bool load(Loader *ld, const DhcPlace *place, int parent, DhcSpan at, const char *as_written,
                 int *index) {
  for (int i = 0; i < ld->files.n; i++) {
    if (strcmp(ld->files.at[i].place.path, place->path) != 0) continue;
    *index = ld->files.at[i].index;
    if (*index < 0) report_cycle(ld, i, parent, at);
    return *index >= 0;
  }
  int level = parent < 0 ? 0 : ld->files.at[parent].level + 1;
  if (level > DHC_AST_MAX_IMPORT_DEPTH) {
    dhc_diag(ld->p->diags, DHC_ERROR, "E0225", at, "imports nest deeper than %d levels",
             DHC_AST_MAX_IMPORT_DEPTH);
    return false;
  }
  const char *text = NULL;
  size_t n_bytes = 0;
  bool refuse_links = parent >= 0 && !place->is_shipped;
  DhcReadError error = dhc_place_read(ld->p->arena, place, ld->p->texts, refuse_links, &text, &n_bytes);
  if (error != DHC_READ_OK) {
    report_read(ld, place, error, at, as_written);
    return false;
  }
  Loaded file = {.place = *place, .index = -1, .parent = parent, .level = level};
  file.module = module_of(ld->p, place, text, n_bytes, parent < 0);
  int k = ld->files.n;
  DHC_PUSH(ld->p->arena, &ld->files, file);
  follow_imports(ld, k);
  *index = ld->files.at[k].index;
  return true;
}

/* ---- Entry points ------------------------------------------------------------------------ */

bool dhc_parse_file(DhcParse *p, const char *path, DhcAstProgram *out) {
  *out = (DhcAstProgram){0};
  int errors_before = p->diags->n_errors, index = -1;
  Loader ld = {.p = p, .program = out};
  DhcPlace place = dhc_place_of_model(p->arena, path);
  for (int i = 0; i < p->n_shipped_roots; i++) {
    size_t n = strlen(p->shipped_roots[i]);
    if (strncmp(path, p->shipped_roots[i], n) == 0 && path[n] == '/') place.is_shipped = true;
  }
  if (load(&ld, &place, -1, (DhcSpan){0}, path, &index)) out->root = out->modules.at[index];
  return p->diags->n_errors == errors_before;
}

bool dhc_parse_text(DhcParse *p, const char *name, const char *text, size_t n_bytes,
                    DhcAstProgram *out) {
  *out = (DhcAstProgram){0};
  int errors_before = p->diags->n_errors;
  Loader ld = {.p = p, .program = out};
  Loaded file = {.place = {.name = name, .path = name, .rel = name}, .index = -1, .parent = -1};
  file.module = parse_module(p, name, name, text, n_bytes, true);
  DHC_PUSH(p->arena, &ld.files, file);
  follow_imports(&ld, 0);
  out->root = file.module;
  return p->diags->n_errors == errors_before;
}

DhcAstExpr *dhc_parse_expr(DhcParse *p, const char *name, const char *text, size_t n_bytes) {
  int errors_before = p->diags->n_errors;
  uint32_t file = dhc_sources_add(p->diags->sources, name, name, text, n_bytes);
  if (!check_text(p, file, text, n_bytes)) return NULL;
  DhcTokens tokens;
  DhcParser ps = {0};
  parse_tokens(p, file, T_START_EXPR, &ps, &tokens);
  return p->diags->n_errors == errors_before ? ps.expr : NULL;
}

bool dhc_parse_find_shipped(const DhcParse *p, const char *name, const char **path) {
  for (int i = 0; i < p->n_shipped_roots; i++) {
    DhcPlace place = dhc_place_of_shipped(p->arena, p->shipped_roots[i], name);
    if (!dhc_place_exists(&place, p->texts)) continue;
    *path = place.name;
    return true;
  }
  return false;
}
