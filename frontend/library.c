#include "frontend/library.h"

#include <ctype.h>

typedef struct Reader {
  DhcParse *p;
  const DhcAstModule *module;
  const char *name; /* of the module */
  DhcLibraryItems *out;
} Reader;

static const char *text_of(const Reader *r) { return dhc_sources_get(r->p->diags->sources, r->module->file)->text; }

/* ---- texts ------------------------------------------------------------------------------- */

/* Where a string or comment that begins at `i` ends: a comment before its line's end. i: none begins. */
static size_t skip(const char *text, size_t i, size_t end) {
  if (text[i] == '#')
    while (i < end && text[i] != '\n') i++;
  if (i < end && text[i] == '"')
    for (i++; i < end && text[i] != '"'; i++) i += text[i] == '\\';
  return i < end ? i : end;
}

/* Text in one line without comments, runs of blanks as one. */
static const char *one_line(DhcArena *a, const char *text, size_t n) {
  DhcText t = {.arena = a};
  bool gap = false;
  for (size_t i = 0; i < n; i++) {
    size_t begin = i;
    i = skip(text, i, n);
    if (text[begin] == '#' || isspace((unsigned char)text[i])) {
      gap = true;
      continue;
    }
    if (gap && t.n) dhc_text_puts(&t, " ");
    gap = false;
    dhc_text_printf(&t, "%.*s", (int)(i < n ? i + 1 - begin : n - begin), text + begin);
  }
  return dhc_text_str(&t);
}

/* A declaration without its keyword and its body, which begins at the first '{' outside brackets. */
static const char *head(const Reader *r, DhcSpan at, const char *keyword) {
  const char *text = text_of(r);
  size_t begin = at.begin + strlen(keyword), end = begin;
  for (int depth = 0; end < at.end && !(text[end] == '{' && depth == 0); end++) {
    if ((end = skip(text, end, at.end)) == at.end) break;
    depth += text[end] == '(' || text[end] == '[' || text[end] == '{';
    depth -= text[end] == ')' || text[end] == ']' || text[end] == '}';
  }
  while (end > begin && isspace((unsigned char)text[end - 1])) end--;
  return one_line(r->p->arena, text + begin, end - begin);
}

static bool only_blanks(const char *text, uint32_t begin, uint32_t end, int max_lines) {
  for (uint32_t i = begin; i < end; i++) {
    if (!isspace((unsigned char)text[i])) return false;
    max_lines -= text[i] == '\n';
  }
  return max_lines >= 0;
}

/* Comment lines number first..last as one text. */
static const char *comment_text(const Reader *r, int first, int last) {
  DhcText t = {.arena = r->p->arena};
  for (int i = first; i <= last; i++) {
    const char *text = text_of(r) + r->module->comments.at[i].begin;
    size_t n = r->module->comments.at[i].end - r->module->comments.at[i].begin;
    while (n && (*text == '#' || *text == ' ')) text++, n--;
    dhc_text_printf(&t, "%s%.*s", i > first ? "\n" : "", (int)n, text);
  }
  const char *all = dhc_text_str(&t);
  return strncmp(all, "----", 4) ? all : ""; /* the heading of a group */
}

/* The lines that end on the line before `at`; else, of a layer or model, those at the file's beginning. */
static const char *comment_of(const Reader *r, uint32_t at, bool or_file) {
  int last = -1, first;
  for (int i = 0; i < r->module->comments.n; i++)
    if (r->module->comments.at[i].end <= at) last = i;
  if (last >= 0 && only_blanks(text_of(r), r->module->comments.at[last].end, at, 1)) {
    for (first = last; first > 0 && only_blanks(text_of(r), r->module->comments.at[first - 1].end, r->module->comments.at[first].begin, 1);) first--;
    return comment_text(r, first, last);
  }
  if (!or_file || !r->module->comments.n || !only_blanks(text_of(r), 0, r->module->comments.at[0].begin, 1)) return "";
  for (last = 0; last + 1 < r->module->comments.n &&
                 only_blanks(text_of(r), r->module->comments.at[last].end, r->module->comments.at[last + 1].begin, 1);)
    last++;
  return comment_text(r, 0, last);
}

/* ---- declarations ------------------------------------------------------------------------ */

static void add_entries(const Reader *r, const DhcAstItems *items, DhcText *to) {
  for (int i = 0; i < items->n; i++) {
    const DhcAstItem *it = items->at[i];
    if (it->kind == DHC_IT_IF) {
      add_entries(r, &it->u.if_.then_, to);
      add_entries(r, &it->u.if_.else_, to);
    }
    if (it->kind != DHC_IT_ENTRY) continue;
    DhcSpan s = it->u.entry.sig.span;
    dhc_text_printf(to, "%s%s\n", it->u.entry.is_metric ? "metric " : "", one_line(r->p->arena, text_of(r) + s.begin, s.end - s.begin));
  }
}

static void add_settings(const Reader *r, const char *model, DhcText *to) {
  for (int i = 0; i < r->module->decls.n; i++) {
    const DhcAstDecl *d = r->module->decls.at[i];
    if ((d->kind == DHC_DE_PRESET || d->kind == DHC_DE_RECIPE) && d->u.settings.target.text == model)
      dhc_text_printf(to, "%s %s\n", d->kind == DHC_DE_PRESET ? "preset" : "recipe", d->name.text);
  }
}

static void add(const Reader *r, const DhcAstDecl *d) {
  static const char *const keywords[] = {"model", "layer", "fn"};
  DhcArena *a = r->p->arena;
  DhcText entries = {.arena = a}, presets = {.arena = a};
  DhcLibraryKind kind = d->kind == DHC_DE_MODEL ? DHC_LIBRARY_MODEL : d->kind == DHC_DE_LAYER ? DHC_LIBRARY_LAYER : DHC_LIBRARY_FUNCTION;
  if (kind != DHC_LIBRARY_FUNCTION) {
    add_entries(r, &d->u.layer.items, &entries);
    add_settings(r, d->name.text, &presets);
  }
  const DhcLibraryItem item = {.kind = kind,
                               .name = d->name.text,
                               .module = r->name,
                               .signature = head(r, d->span, keywords[kind]),
                               .comment = comment_of(r, d->span.begin, kind != DHC_LIBRARY_FUNCTION),
                               .entries = dhc_text_str(&entries),
                               .text = dhc_arena_strndup(a, text_of(r) + d->span.begin, d->span.end - d->span.begin),
                               .presets = dhc_text_str(&presets)};
  DHC_PUSH(a, r->out, item);
}

static bool read_module(Reader *r, DhcAstDeclKind kind) {
  const char *path;
  DhcAstProgram program = {0};
  if (!dhc_parse_find_shipped(r->p, r->name, &path) || !dhc_parse_file(r->p, path, &program)) return false;
  r->module = program.root;
  for (int i = 0; i < r->module->decls.n; i++)
    if (r->module->decls.at[i]->kind == kind && r->module->decls.at[i]->name.text) add(r, r->module->decls.at[i]);
  return true;
}

static const char *text_about(DhcArena *a, const char *name) {
  static const struct {
    const char *name, *shapes, *text;
  } all[] = {
#define TEXT(name, shapes, text) {#name, shapes, text},
#include "frontend/builtin_texts.def"
  };
  for (size_t i = 0; i < sizeof all / sizeof *all; i++)
    if (!strcmp(all[i].name, name)) return dhc_arena_printf(a, "%s\n%s", all[i].shapes, all[i].text);
  return "";
}

/* Elementwise ops, which are called by their names. */
static void add_elementwise(DhcParse *p, DhcLibraryItems *out) {
  static const struct {
    const char *name, *types, *real, *whole;
    int n_args;
  } all[] = {
#define OP(...)
#define EW(id, name, n_args, types, real, whole, flops) {name, #types, #real, #whole, n_args},
#include "ir/ops.def"
  };
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
    bool known = false;
    for (int k = 0; k < out->n; k++) known = known || (out->at[k].kind == DHC_LIBRARY_BUILTIN && !strcmp(out->at[k].name, all[i].name));
    if (known) continue; /* max(x, axis) and max(x, y) are one builtin */
    const char *formula = strcmp(all[i].real, "NO") ? all[i].real : all[i].whole;
    DhcText t = {.arena = p->arena};
    for (const char *at = formula; *at; at++) { /* the interpreter's own functions, by their plain names */
      if (!strncmp(at, "dhc_ref_", 8)) at += 8;
      dhc_text_printf(&t, "%c", *at);
    }
    const bool integer = !strcmp(all[i].types, "integer");
    const char *arguments = !strcmp(all[i].types, "select") ? "x, b, c" : all[i].n_args == 1 ? integer ? "x" : "a" : all[i].n_args == 2 ? integer ? "x, y" : "a, b" : "a, b, c";
    const DhcLibraryItem item = {.kind = DHC_LIBRARY_BUILTIN, .name = all[i].name, .module = "", .entries = "", .presets = "", .text = "",
                                 .comment = dhc_arena_printf(p->arena, "elementwise, types: %s\n%s", all[i].types, dhc_text_str(&t)),
                                 .signature = dhc_arena_printf(p->arena, "%s(%s)", all[i].name, arguments)};
    DHC_PUSH(p->arena, out, item);
  }
}

static void add_builtins(DhcParse *p, DhcLibraryItems *out) {
  static const struct {
    const char *name, *arguments;
  } all[] = {
#define BUILTIN(name, arguments) {#name, arguments},
#include "frontend/builtins.def"
  };
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
    DhcText t = {.arena = p->arena};
    for (const char *at = all[i].arguments; *at; at++) dhc_text_printf(&t, *at == ' ' ? ", " : "%c", *at);
    const DhcLibraryItem item = {.kind = DHC_LIBRARY_BUILTIN, .name = all[i].name, .module = "", .entries = "", .presets = "", .text = "",
                                 .comment = text_about(p->arena, all[i].name),
                                 .signature = dhc_arena_printf(p->arena, "%s(%s)", all[i].name, dhc_text_str(&t))};
    DHC_PUSH(p->arena, out, item);
  }
}

bool dhc_library_read(DhcParse *p, DhcLibraryItems *out) {
  static const DhcAstDeclKind kinds[] = {DHC_DE_MODEL, DHC_DE_LAYER, DHC_DE_FN};
  static const char *const folders[] = {"", "layers/", "rl/", "std/"};
  *out = (DhcLibraryItems){0};
  for (int k = 0; k < 3; k++)
    for (int f = 0; f < (int)(sizeof folders / sizeof folders[0]); f++) {
      DhcShippedNames names = dhc_parse_shipped_names(p, folders[f]);
      for (int i = 0; i < names.n; i++) {
        Reader r = {.p = p, .name = names.at[i], .out = out};
        if (!read_module(&r, kinds[k])) return false;
      }
    }
  add_builtins(p, out);
  add_elementwise(p, out);
  return true;
}
