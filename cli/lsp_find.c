/* What stands at a place of a model file: which name, what it means there, which shape it has. */
#include <cjson/cJSON.h>
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "cli/lsp.h"

const char *lsp_text(const cJSON *row, const char *key) {
  const char *text = cJSON_GetStringValue(cJSON_GetObjectItem(row, key));
  return text ? text : "";
}

static double number(const cJSON *row, const char *key) {
  const cJSON *v = cJSON_GetObjectItem(row, key);
  return v ? v->valuedouble : -1;
}

static bool in_word(char c) { return isalnum((unsigned char)c) || c == '_'; }

/* The word around the place; false: there is none. */
static bool word_at(const LspPlace *at, size_t *begin, size_t *end) {
  *begin = *end = at->offset;
  while (*begin && in_word(at->text[*begin - 1])) --*begin;
  while (in_word(at->text[*end])) ++*end;
  return *end > *begin;
}

static bool is_here(const LspPlace *at, const cJSON *row) { return !strcmp(lsp_text(row, "file"), at->path); }

static bool in_scope(const LspPlace *at, const cJSON *row) {
  double begin = number(row, "scope_begin");
  return begin < 0 || (is_here(at, row) && begin <= (double)at->offset && (double)at->offset <= number(row, "scope_end"));
}

/* What a name means there: of those in scope the innermost, of one scope the last before the place; else any that stands behind it. */
static const cJSON *meaning(const LspPlace *at, const char *word, size_t n) {
  const cJSON *row, *best = NULL;
  double best_scope = 0, best_begin = 0;
  cJSON_ArrayForEach(row, cJSON_GetObjectItem(at->known, "names")) {
    const char *name = lsp_text(row, "name");
    if (strlen(name) != n || strncmp(name, word, n) || !in_scope(at, row)) continue;
    double scope = number(row, "scope_begin"), begin = is_here(at, row) ? number(row, "begin") : -1;
    bool before = begin <= (double)at->offset, best_before = best_begin <= (double)at->offset;
    bool better = !best || scope > best_scope || (scope == best_scope && ((before && !best_before) || (before == best_before && begin > best_begin && before)));
    if (!better) continue;
    best = row;
    best_scope = scope;
    best_begin = begin;
  }
  return best;
}

static const cJSON *shipped(const LspPlace *at, const char *word, size_t n) {
  const cJSON *row;
  cJSON_ArrayForEach(row, at->library)
    if (strlen(lsp_text(row, "name")) == n && !strncmp(lsp_text(row, "name"), word, n)) return row;
  return NULL;
}

/* Types of the smallest expression around [begin, end); several where several entries compute it. */
static void types_at(const LspPlace *at, double begin, double end, char *to, size_t n) {
  const cJSON *row;
  double best = -1;
  size_t k = 0;
  *to = 0;
  for (int turn = 0; turn < 2; turn++)
    cJSON_ArrayForEach(row, cJSON_GetObjectItem(at->known, "types")) {
      double a = number(row, "begin"), b = number(row, "end");
      const char *type = lsp_text(row, "type"), *known = strstr(to, type);
      if (a > begin || b < end) continue;
      if (!turn && (best < 0 || b - a < best)) best = b - a;
      if (turn && b - a == best && !known) k += (size_t)snprintf(to + k, n - k, "%s%s", k ? " or " : "", type);
      if (k >= n) return;
    }
}

cJSON *lsp_hover(const LspPlace *at) {
  size_t begin, end;
  char types[512] = "", text[4096];
  if (!word_at(at, &begin, &end)) return NULL;
  const cJSON *row = meaning(at, at->text + begin, end - begin), *lib = row && *lsp_text(row, "in") ? NULL : shipped(at, at->text + begin, end - begin);
  if (row && !strcmp(lsp_text(row, "kind"), "local")) types_at(at, number(row, "begin"), number(row, "end"), types, sizeof types);
  else if (!row || strcmp(lsp_text(row, "kind"), "input")) types_at(at, (double)begin, (double)end, types, sizeof types);
  if (!row && !lib && !*types) return NULL;
  const char *what = row ? lsp_text(row, "text") : lsp_text(lib, "text"), *comment = lsp_text(lib, "comment");
  snprintf(text, sizeof text, "%s%.1500s%s%s%s%s%s%.1500s", *what ? "```dhc\n" : "", what, *what ? "\n```\n" : "", *types ? "shape: `" : "", types, *types ? "`\n" : "",
           *comment ? "\n" : "", comment);
  cJSON *out = cJSON_CreateObject(), *contents = cJSON_AddObjectToObject(out, "contents");
  cJSON_AddStringToObject(contents, "kind", "markdown");
  cJSON_AddStringToObject(contents, "value", text);
  cli_add(out, "range", lsp_range(at->text, begin, end));
  return out;
}

cJSON *lsp_definition(const LspPlace *at) {
  size_t begin, end;
  char uri[4200];
  if (!word_at(at, &begin, &end)) return NULL;
  const cJSON *row = meaning(at, at->text + begin, end - begin);
  if (!row) return NULL;
  cJSON *out = cJSON_CreateObject();
  lsp_uri(lsp_text(row, "file"), uri, sizeof uri);
  cJSON_AddStringToObject(out, "uri", uri);
  if (is_here(at, row)) {
    cli_add(out, "range", lsp_range(at->text, (size_t)number(row, "begin"), (size_t)number(row, "end")));
    return out;
  }
  cJSON *range = cJSON_AddObjectToObject(out, "range");
  const char *const ends[] = {"start", "end"};
  for (int i = 0; i < 2; i++) { /* of a file that is not open: names are ASCII, and so is what stands before them */
    cJSON *p = cJSON_AddObjectToObject(range, ends[i]);
    cJSON_AddNumberToObject(p, "line", number(row, "line") - 1);
    cJSON_AddNumberToObject(p, "character", number(row, "column") - 1 + i * (double)(end - begin));
  }
  return out;
}

/* ---- completion ------------------------------------------------------------------------------------ */

static int kind_of(const char *kind) { /* CompletionItemKind */
  static const struct {
    const char *name;
    int kind;
  } kinds[] = {{"function", 3}, {"builtin", 3}, {"entry", 2}, {"layer", 7}, {"model", 7}, {"local", 6}, {"input", 6}, {"const", 21}, {"module", 9}};
  for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
    if (!strcmp(kinds[i].name, kind)) return kinds[i].kind;
  return 5; /* a field */
}

static void offer(cJSON *list, const char *label, const char *kind, const char *detail) {
  const cJSON *row;
  cJSON_ArrayForEach(row, list)
    if (!strcmp(lsp_text(row, "label"), label)) return;
  cJSON *item = cJSON_CreateObject();
  cJSON_AddStringToObject(item, "label", label);
  cJSON_AddNumberToObject(item, "kind", kind_of(kind));
  cJSON_AddStringToObject(item, "detail", detail);
  cli_add(list, NULL, item);
}

/* Behind `import`: modules. Elsewhere names that begin as the word does and are known there. */
cJSON *lsp_completion(const LspPlace *at) {
  size_t begin = at->offset, line = at->offset;
  const cJSON *row;
  cJSON *list = cJSON_CreateArray();
  while (line && at->text[line - 1] != '\n') line--;
  while (begin && in_word(at->text[begin - 1])) begin--;
  size_t n = at->offset - begin;
  if (!strncmp(at->text + line, "import ", 7)) {
    cJSON_ArrayForEach(row, at->library)
      if (*lsp_text(row, "module")) offer(list, lsp_text(row, "module"), "module", "shipped");
    return list;
  }
  cJSON_ArrayForEach(row, cJSON_GetObjectItem(at->known, "names"))
    if (!strncmp(lsp_text(row, "name"), at->text + begin, n) && in_scope(at, row)) offer(list, lsp_text(row, "name"), lsp_text(row, "kind"), lsp_text(row, "text"));
  cJSON_ArrayForEach(row, at->library) {
    const char *module = lsp_text(row, "module");
    bool everywhere = !*module || !strcmp(module, "std/nn") || !strcmp(module, "std/init");
    if (everywhere && !strncmp(lsp_text(row, "name"), at->text + begin, n)) offer(list, lsp_text(row, "name"), lsp_text(row, "kind"), lsp_text(row, "text"));
  }
  return list;
}
