/* list, doc: what the shipped files have. */
#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"

enum { MAX_ITEMS = 1024 };

typedef struct Library {
  const Cli *c;
  const char *kind;   /* only these; NULL: all */
  const char *wanted; /* by name; NULL: all */
  bool markdown;
  const char *last_kind, *last_module; /* of it: under which headings the next item stands */
  cJSON *list;
  const char *names[MAX_ITEMS]; /* that live as long as the session */
  int n_names, n;
} Library;

/* The first sentence, in one line of at most `most` characters. */
static void print_sentence(const char *text, int most) {
  for (int n = 0; text[n] && !(text[n] == '.' && (text[n + 1] == ' ' || text[n + 1] == '\n' || !text[n + 1])); n++) {
    if (n == most) {
      fputs(" ...", stdout);
      break;
    }
    putchar(text[n] == '\n' ? ' ' : text[n]);
  }
  putchar('\n');
}

/* A signature that is too long for a line goes on behind a comma. */
static void print_signature(const char *text) {
  enum { LINE = 100 };
  int column = 0;
  for (; *text; text++, column++) {
    bool breaks = *text == ' ' && text[-1] == ',' && column + 1 + (int)strcspn(text + 1, ",") >= LINE;
    fputs(breaks ? "\n    " : (const char[]){*text, 0}, stdout);
    if (breaks) column = 4;
  }
  putchar('\n');
}

static void add_json(cJSON *list, const dhc_library_item *i) {
  cJSON *row = cJSON_CreateObject();
  cJSON_AddStringToObject(row, "kind", i->kind);
  cJSON_AddStringToObject(row, "name", i->name);
  cJSON_AddStringToObject(row, "import", i->module);
  cJSON_AddStringToObject(row, "signature", i->signature);
  cJSON_AddStringToObject(row, "comment", i->comment);
  cJSON_AddStringToObject(row, "entries", i->entries);
  cJSON_AddStringToObject(row, "presets", i->presets);
  cJSON_AddStringToObject(row, "text", i->text);
  cli_add(list, NULL, row);
}

static void print_lines(const char *before, const char *text) {
  for (const char *at = text; *at; at += *at == '\n') {
    int n = (int)strcspn(at, "\n");
    printf("%s%.*s\n", before, n, at);
    at += n;
  }
}

static void print_item(const Library *l, const dhc_library_item *i) {
  printf("%s%s ", l->n ? "\n" : "", i->kind);
  print_signature(i->signature);
  if (*i->module) printf("  %s %s\n", strcmp(i->kind, "model") ? "import" : "shipped as", i->module);
  else printf("  known everywhere\n");
  if (*i->comment) putchar('\n');
  print_lines("  ", i->comment);
  if (*i->entries) puts("\n  entries");
  print_lines("    ", i->entries);
  if (*i->presets) puts("\n  settings");
  print_lines("    ", i->presets);
  if (*i->text && strcmp(i->kind, "model")) puts("\n  text"); /* what it computes, to the letter */
  if (strcmp(i->kind, "model")) print_lines("    ", i->text);
}

/* docs/reference.md: all of it, by kind and file. */
static void print_markdown(Library *l, const dhc_library_item *i) {
  static const char *const titles[][2] = {{"model", "Models"}, {"layer", "Layers"}, {"function", "Functions"}, {"builtin", "Builtins"}};
  for (int k = 0; k < 4; k++)
    if (!strcmp(titles[k][0], i->kind) && (!l->last_kind || strcmp(l->last_kind, i->kind))) printf("\n## %s\n", titles[k][1]);
  if (*i->module && (!l->last_module || strcmp(l->last_module, i->module) || strcmp(l->last_kind, i->kind))) printf("\n### `%s`\n", i->module);
  l->last_kind = i->kind;
  l->last_module = i->module;
  printf("\n#### %s\n\n```\n", i->name);
  print_signature(i->signature);
  print_lines("  ", i->entries);
  print_lines("  ", i->presets);
  puts("```");
  if (*i->comment) putchar('\n');
  print_lines("    ", i->comment); /* formulas stay as they are */
  if (!*i->text || !strcmp(i->kind, "model")) return;
  puts("\n```");
  print_lines("", i->text);
  puts("```");
}

static void take(void *ctx, const dhc_library_item *i) {
  Library *l = ctx;
  if (l->n_names < MAX_ITEMS) l->names[l->n_names++] = i->name;
  if (l->kind && strncmp(l->kind, i->kind, strlen(i->kind))) return;
  if (l->wanted && strcmp(l->wanted, i->name) && strcmp(l->wanted, i->module)) return;
  if (l->list) add_json(l->list, i);
  else if (l->markdown) print_markdown(l, i);
  else if (l->wanted) print_item(l, i);
  else {
    printf("%-9s %-22s %-22s ", i->kind, i->name, *i->module ? i->module : "-");
    print_sentence(i->comment, 90);
  }
  l->n++;
}

static int show(const Cli *c, Library *l) {
  dhc_session *s = NULL;
  l->c = c;
  l->list = cli_doc(c) ? cJSON_AddArrayToObject(cli_doc(c), "items") : NULL;
  int rc = cli_open_session(c, &s);
  if (!rc) rc = cli_done(c, s, dhc_library(s, take, l));
  if (!rc && l->wanted && !l->n) {
    const char *near = dhc_closest(l->wanted, l->names, l->n_names);
    cli_error(c, "nothing is called '%s'%s%s%s; dhcc list has all", l->wanted, near ? " (did you mean '" : "", near ? near : "", near ? "'?)" : "");
    rc = 1;
  }
  cli_close(c, s, NULL);
  return rc;
}

int cmd_list(const Cli *c) {
  static const char *const kinds[] = {"models", "layers", "functions", "builtins"};
  Library l = {.kind = c->n_args ? c->args[0] : NULL};
  bool known = !l.kind;
  for (int i = 0; i < 4; i++) known = known || !strcmp(l.kind, kinds[i]);
  if (known) return show(c, &l);
  const char *near = dhc_closest(l.kind, kinds, 4);
  cli_error(c, "list: needs models, layers, functions or builtins, got \"%s\"%s%s%s", l.kind, near ? " (did you mean " : "", near ? near : "", near ? "?)" : "");
  return 2;
}

int cmd_doc(const Cli *c) {
  Library l = {.wanted = c->n_args ? c->args[0] : NULL, .markdown = !c->n_args};
  if (l.markdown && !cli_doc(c))
    puts("# Reference\n\nAll that the shipped files and the language itself have, as `dhcc doc NAME` shows it: what it is made with, its entries with their\n"
         "shapes, what its author says of formula and source, and its text, which is what is computed. Written by `scripts/gen-docs`.");
  return show(c, &l);
}
