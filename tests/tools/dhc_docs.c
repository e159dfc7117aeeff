/* Tables of the documents, generated from the .def files.
 *
 *   dhc-docs SOURCE_DIR FILE...            writes every generated section of the files anew
 *   dhc-docs --check SOURCE_DIR FILE...    exits 1 if one of them is out of date
 *
 * A section lies between the lines `<!-- generated from TABLE.def -->` and
 * `<!-- end of generated text -->`; `sections` below says which tables are known. What an op
 * means is the comment above its row, so the table's text is read as well as compiled.
 */
#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define END_MARK "<!-- end of generated text -->"

typedef struct OpRow {
  const char *id, *name, *attrs;
  const char *types, *f_expr, *i_expr; /* elementwise ops only, else NULL */
  int n_args, n_results;
  const char *vjp;
} OpRow;

/* The derivative follows its row in the table, so each row is closed by the next one. */
#define OP(id, name, n_args, n_results, cls, attrs, shape, interp, flops) \
  }, {#id, name, #attrs, NULL, NULL, NULL, n_args, n_results
#define EW(id, name, n_args, types, f_expr, i_expr, flops) \
  }, {#id, name, "", #types, #f_expr, #i_expr, n_args, 1
#define VJP(rule) , #rule
static const OpRow ops[] = {{NULL, NULL, NULL, NULL, NULL, NULL, 0, 0, NULL
#include "ir/ops.def"
}};

/* The whole file with a final 0, or NULL with a message. Heap. */
static char *read_file(const char *path) {
  FILE *f = fopen(path, "rb");
  char *text = NULL;
  long size;
  if (f && fseek(f, 0, SEEK_END) == 0 && (size = ftell(f)) >= 0 && (text = malloc((size_t)size + 1))) {
    rewind(f);
    text[fread(text, 1, (size_t)size, f)] = 0;
  }
  if (f) fclose(f);
  if (!text) fprintf(stderr, "dhc-docs: error: cannot read %s\n", path);
  return text;
}

/* Prints [s, e) on one line as a table cell: comment stars and runs of blanks shrink to one
 * blank, bars are escaped. */
static void put_cell(FILE *out, const char *s, const char *e) {
  bool gap = false, any = false;
  for (; s < e; s++) {
    if (isspace((unsigned char)*s) || (*s == '*' && s[-1] == ' ' && s[-2] == '\n')) {
      gap = any;
      continue;
    }
    if (!strncmp(s, "dhc_ref_", 8)) s += 8; /* the interpreter's own functions, by their plain names */
    if (gap) fputc(' ', out);
    gap = false, any = true;
    if (*s == '|') fputc('\\', out);
    fputc(*s, out);
  }
}

/* The comment that ends right above the row of op `id`, if it belongs to the row: headings,
 * which begin with dashes, belong to a group. */
static void put_comment(FILE *out, const char *def, const char *id) {
  char row[64];
  const char *at, *open, *close = NULL;
  snprintf(row, sizeof row, "\nOP(%s,", id);
  if (!(at = strstr(def, row)) || at - def < 2 || strncmp(at - 2, "*/", 2)) return;
  close = at - 2;
  for (open = close; open > def && strncmp(open, "/*", 2); open--) continue;
  if (!strncmp(open, "/* ----", 7)) return;
  put_cell(out, open + 2, close);
}

/* A3(FLOAT, "value", DTYPE, "dtype", …) as `value: float`, … */
static void put_attrs(FILE *out, const char *attrs) {
  const char *p = strchr(attrs, '(');
  for (bool first = true; p && *p != ')'; first = false) {
    char kind[32], name[32];
    int used = 0;
    if (sscanf(p + 1, " %31[A-Z] , \"%31[^\"]\"%n", kind, name, &used) != 2) break;
    for (char *c = kind; *c; c++) *c = (char)tolower((unsigned char)*c);
    fprintf(out, "%s`%s`: %s", first ? "" : ", ", name, kind);
    p += 1 + used;
  }
}

static void put_count(FILE *out, int n) {
  if (n < 0)
    fputs("any", out);
  else
    fprintf(out, "%d", n);
}

static void put_ops(FILE *out, const char *def) {
  fputs("| op | operands | results | attributes | types | derivative | meaning |\n", out);
  fputs("| --- | --- | --- | --- | --- | --- | --- |\n", out);
  for (size_t i = 1; i < sizeof ops / sizeof ops[0]; i++) {
    const OpRow *o = &ops[i];
    bool ew = o->types != NULL;
    fprintf(out, "| `%s` | ", o->name);
    put_count(out, o->n_args);
    fputs(" | ", out);
    put_count(out, o->n_results);
    fputs(" | ", out);
    put_attrs(out, o->attrs);
    fprintf(out, " | %s | ", ew ? o->types : "");
    if (!strcmp(o->vjp, "vjp_none"))
      fputs("none", out);
    else
      fputs(strcmp(o->vjp, "vjp_zero") != 0 ? "yes" : "zero", out);
    fputs(" | ", out);
    if (ew) {
      const char *e = strcmp(o->f_expr, "NO") ? o->f_expr : o->i_expr;
      fputc('`', out);
      put_cell(out, e, e + strlen(e));
      fputc('`', out);
    } else {
      put_comment(out, def, o->id);
    }
    fputs(" |\n", out);
  }
}

static void put_set(FILE *out, const char *set) {
  bool first = true;
  char word[32];
  for (const char *p = set; (p = strstr(p, "DHC_PROP_")); first = false) {
    p += strlen("DHC_PROP_");
    sscanf(p, "%31[A-Z_]", word);
    fprintf(out, "%s%s", first ? "" : ", ", word);
  }
}

static void put_pass(FILE *out, const char *name, const char *const set[3], bool optional, const char *doc) {
  fprintf(out, "| `%s` | %s |", name, doc);
  for (int i = 0; i < 3; i++) {
    fputc(' ', out);
    put_set(out, set[i]);
    fputs(" |", out);
  }
  fprintf(out, " %s |\n", optional ? "yes" : "no");
}

static void put_passes(FILE *out, const char *def) {
  (void)def;
  fputs("| pass | what it does | requires | establishes | breaks | may be switched off |\n", out);
  fputs("| --- | --- | --- | --- | --- | --- |\n", out);
#define PASS(name, needs, gives, breaks, optional, doc) \
  put_pass(out, #name, (const char *const[]){#needs, #gives, #breaks}, optional, doc);
#include "passes/passes.def"
  fputs("\n| property | what holds then |\n| --- | --- |\n", out);
#undef PASS
#define PROP(name, doc) fprintf(out, "| %s | %s |\n", #name, doc);
#include "passes/passes.def"
}

static void put_kinds(FILE *out, const char *def) {
  (void)def;
  fputs("| kind | what a spec of it computes |\n| --- | --- |\n", out);
#define KIND(id, name, interp, said, words, doc) fprintf(out, "| `%s` | %s |\n", name, doc);
#include "ir/kinds.def"
}

static void put_errors(FILE *out, const char *def) {
  (void)def;
  fputs("| code | |\n| --- | --- |\n", out);
#define DHC_ERROR(code, title, text, how, example) fprintf(out, "| %s | %s |\n", code, title);
#include "ir/errors.def"
}

static void put_limits(FILE *out, const char *def) {
  (void)def;
  fputs("| at most | | beyond |\n| --- | --- | --- |\n", out);
#define LIMIT(id, value, what, code) fprintf(out, "| %d | %s | %s |\n", value, what, code);
#include "ir/limits.def"
#undef LIMIT
}

static const struct {
  const char *table;
  void (*put)(FILE *out, const char *def);
} sections[] = {{"ir/limits.def", put_limits}, {"ir/errors.def", put_errors}, {"ir/ops.def", put_ops}, {"passes/passes.def", put_passes}, {"ir/kinds.def", put_kinds}};
enum { N_SECTIONS = sizeof sections / sizeof sections[0] };

/* The document with its sections as they should be, or NULL with a message. Heap. */
static char *renew(const char *source_dir, const char *path, const char *old) {
  char *text = NULL;
  size_t size = 0;
  FILE *out = open_memstream(&text, &size);
  const char *at = old;
  bool bad = !out;
  for (int i = 0; i < N_SECTIONS && !bad; i++) {
    char mark[96], def_path[1024];
    snprintf(mark, sizeof mark, "<!-- generated from %s -->\n", sections[i].table);
    const char *begin = strstr(old, mark);
    if (!begin) continue;
    const char *end = strstr(begin, END_MARK);
    snprintf(def_path, sizeof def_path, "%s/%s", source_dir, sections[i].table);
    char *def = read_file(def_path);
    if (!def || !end || begin < at) {
      fprintf(stderr, "dhc-docs: error: %s: section %s: %s\n", path, sections[i].table,
              end ? "sections come in the order of this tool" : "no end mark");
      bad = true;
    } else {
      fwrite(at, 1, (size_t)(begin - at) + strlen(mark), out);
      fputc('\n', out);
      sections[i].put(out, def);
      fputc('\n', out);
      at = end;
    }
    free(def);
  }
  if (out) {
    fputs(at, out);
    bad |= fclose(out) != 0;
  }
  if (!bad) return text;
  free(text);
  return NULL;
}

int main(int argc, char **argv) {
  bool check = argc > 1 && !strcmp(argv[1], "--check");
  int first = check ? 2 : 1, bad = 0;
  if (argc < first + 2) {
    fprintf(stderr, "usage: dhc-docs [--check] SOURCE_DIR FILE...\n");
    return 2;
  }
  for (int i = first + 1; i < argc; i++) {
    char *old = read_file(argv[i]);
    char *text = old ? renew(argv[first], argv[i], old) : NULL;
    if (!text) {
      bad = 1;
    } else if (strcmp(old, text) != 0) {
      FILE *f = check ? NULL : fopen(argv[i], "wb");
      if (check) fprintf(stderr, "%s: a generated section is out of date; run scripts/gen-docs\n", argv[i]);
      if (!f || fputs(text, f) < 0) bad = 1;
      if (f && fclose(f)) bad = 1;
    }
    free(old);
    free(text);
  }
  return bad;
}
