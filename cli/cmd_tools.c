/* opt, kernel, cache, doctor, explain: single parts of the compiler. */
#include <cjson/cJSON.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"

enum { MAX_SOURCE_BYTES = 16 << 20 };

/* Whole file, or standard input for "-", in *text, which the caller frees; an exit status. */
static int read_text(const Cli *c, const char *path, char **out) {
  size_t cap = 1 << 16, n = 0;
  char *text = NULL;
  int rc = 0;
  *out = NULL;
  FILE *f = strcmp(path, "-") ? fopen(path, "rb") : stdin;
  if (!f) {
    int err = errno;
    cli_error(c, "%s: %s", path, strerror(err));
    return err == ENOMEM ? 3 : 1;
  }
  for (; !rc; cap *= 2) {
    char *more = realloc(text, cap);
    if (!more) {
      rc = cli_no_memory(c);
      break;
    }
    text = more;
    n += fread(text + n, 1, cap - 1 - n, f);
    if (n < cap - 1) break;
    if (cap < MAX_SOURCE_BYTES) continue;
    cli_error(c, "%s: larger than 16 MB", path);
    rc = 1;
  }
  if (!rc && ferror(f)) { /* a folder opens, but does not read */
    int err = errno;
    cli_error(c, "%s: %s", path, strerror(err));
    rc = err == ENOMEM ? 3 : 1;
  }
  if (f != stdin) fclose(f);
  if (text) text[n] = 0;
  *out = text;
  return rc;
}

/* Text that is the result: on stdout, or in the document. NULL: nothing. */
static void give_text(const Cli *c, const char *name, const char *text) {
  if (text && cli_doc(c))
    cJSON_AddStringToObject(cli_doc(c), name, text);
  else if (text)
    fputs(text, stdout);
}

int cmd_opt(const Cli *c) {
  char *text, *out = NULL;
  dhc_session *s = NULL;
  int rc = read_text(c, c->args[0], &text);
  if (!rc) rc = cli_open_session(c, &s);
  if (!rc) rc = cli_done(c, s, dhc_opt_text(s, c->args[0], text, c->pass ? c->pass : "", &out));
  give_text(c, "text", out);
  free(out);
  free(text);
  cli_close(c, s, NULL);
  return rc;
}

int cmd_kernel(const Cli *c) {
  int64_t dims[128];
  int n_dims = cli_dims(c->dims, dims, 128);
  if (n_dims < 0) {
    cli_error(c, "--dims: needs whole numbers of 63 bits separated by commas, got \"%s\"", c->dims);
    return 2;
  }
  char *text, *report = NULL;
  dhc_session *s = NULL;
  double max_rel = 0;
  int rc = read_text(c, c->args[0], &text);
  if (!rc) rc = cli_open_session(c, &s);
  if (!rc) rc = cli_done(c, s, dhc_kernel_check(s, c->args[0], text, dims, n_dims, (uint64_t)c->seed, &max_rel, &report));
  if (report && cli_doc(c)) cJSON_AddNumberToObject(cli_doc(c), "largest_error", max_rel);
  give_text(c, "report", report);
  free(report);
  free(text);
  cli_close(c, s, NULL);
  return rc;
}

int cmd_cache(const Cli *c) {
  const char *what = c->n_args ? c->args[0] : "show";
  if (strcmp(what, "show") && strcmp(what, "verify") && strcmp(what, "prune")) {
    cli_error(c, "cache: needs show, verify or prune, got \"%s\"", what);
    return 2;
  }
  dhc_session *s = NULL;
  int rc = cli_open_session(c, &s);
  int64_t removed = 0;
  dhc_cache_info info = {0};
  if (!rc && !strcmp(what, "prune")) rc = cli_fail(c, dhc_cache_prune(s, c->max_bytes, &removed));
  if (!rc) rc = cli_fail(c, dhc_cache_inspect(s, !strcmp(what, "verify"), &info));
  cJSON *doc = cli_doc(c);
  if (!rc && doc) {
    cJSON_AddStringToObject(doc, "path", info.path ? info.path : "");
    cJSON_AddNumberToObject(doc, "entries", (double)info.entries);
    cJSON_AddNumberToObject(doc, "bytes", (double)info.bytes);
    cJSON_AddNumberToObject(doc, "damaged", (double)info.damaged);
    cJSON_AddNumberToObject(doc, "removed", (double)removed);
  } else if (!rc) {
    printf("%s: %lld kernels and images, %lld bytes", info.path ? info.path : "memory only", (long long)info.entries, (long long)info.bytes);
    if (!strcmp(what, "verify")) printf(", %lld damaged", (long long)info.damaged);
    if (!strcmp(what, "prune")) printf(", %lld removed", (long long)removed);
    printf("\n");
  }
  if (!rc && info.damaged) rc = 1;
  cli_close(c, s, NULL);
  return rc;
}

int cmd_doctor(const Cli *c) {
  dhc_session *s = NULL;
  char *text = NULL;
  int rc = cli_open_session(c, &s);
  if (!rc) rc = cli_fail(c, dhc_doctor_json(s, &text));
  cJSON *found = text ? cJSON_Parse(text) : NULL, *row;
  cJSON_ArrayForEach(row, found) {
    if (cli_doc(c)) cli_add(cli_doc(c), row->string, cJSON_Duplicate(row, true));
    else if (cJSON_IsString(row)) printf("%-16s %s\n", row->string, row->valuestring);
    else if (cJSON_IsNumber(row)) printf("%-16s %.0f\n", row->string, row->valuedouble);
    else if (cJSON_IsBool(row)) printf("%-16s %s\n", row->string, cJSON_IsTrue(row) ? "yes" : "no");
  }
  cJSON_Delete(found);
  free(text);
  cli_close(c, s, NULL);
  return rc;
}

/* ---- explain ------------------------------------------------------------------------ */

static void add_code(cJSON *to, const dhc_error_info *e) {
  cJSON_AddStringToObject(to, "code", e->code);
  cJSON_AddStringToObject(to, "title", e->title);
  cJSON_AddStringToObject(to, "text", e->text);
  cJSON_AddStringToObject(to, "example_command", e->command);
  cJSON_AddStringToObject(to, "example", e->example);
}

/* Words broken before column 80. */
static void print_paragraph(const char *text) {
  for (int at = 0; *text;) {
    int n = (int)strcspn(text, " ");
    bool fits = at + 1 + n <= 80;
    printf("%s%.*s", !at ? "" : fits ? " " : "\n", n, text);
    at = at && fits ? at + 1 + n : n;
    text += n + (text[n] == ' ');
  }
  putchar('\n');
}

static void print_code(const dhc_error_info *e) {
  printf("%s: %s\n\n", e->code, e->title);
  print_paragraph(e->text);
  if (*e->command) printf("\nAn example, as FILE of `%s`:\n\n", e->command);
  else printf("\nAn example: ");
  for (const char *at = e->example; *at;) {
    int n = (int)strcspn(at, "\n");
    printf("%s%.*s\n", *e->command ? "  " : "", n, at);
    at += n + (at[n] == '\n');
  }
}

static const char *text_of(const cJSON *o, const char *key) {
  const char *text = cJSON_GetStringValue(cJSON_GetObjectItem(o, key));
  return text ? text : "";
}

static void print_kernels(const cJSON *doc) {
  const cJSON *row, *a = cJSON_GetObjectItem(doc, "a"), *b = cJSON_GetObjectItem(doc, "b");
  printf("A  %s: %.0f kernels\nB  %s: %.0f kernels\nin both: %.0f\n", text_of(a, "variant"), cJSON_GetNumberValue(cJSON_GetObjectItem(a, "kernels")),
         text_of(b, "variant"), cJSON_GetNumberValue(cJSON_GetObjectItem(b, "kernels")), cJSON_GetNumberValue(cJSON_GetObjectItem(doc, "shared")));
  cJSON_ArrayForEach(row, cJSON_GetObjectItem(doc, "differ"))
    printf("%s%s: %s of %s (%s): %s\n", strcmp(text_of(row, "only"), "each") ? "only " : "", text_of(row, "only"), text_of(row, "kind"), *text_of(row, "layer") ? text_of(row, "layer") : "the entry",
           text_of(row, "plan"), text_of(row, "why"));
}

static int explain_kernels(const Cli *c) {
  dhc_session *s = NULL;
  char *text = NULL;
  if (c->n_args != 3) {
    cli_error(c, "explain --kernels: needs MODEL A B: variants as key=value,... or a name, . for the model itself");
    return 2;
  }
  const dhc_model_options o = {.name = c->args[0], .root = c->root, .preset = c->preset, .recipe = c->recipe, .sets = c->sets, .n_sets = c->n_sets};
  int rc = cli_open_session(c, &s);
  if (!rc) rc = cli_done(c, s, dhc_kernels_diff(s, &o, c->args[1], c->args[2], c->entry, &text));
  cJSON *doc = text ? cJSON_Parse(text) : NULL, *field;
  if (doc && !cli_doc(c)) print_kernels(doc);
  while (doc && cli_doc(c) && (field = doc->child)) {
    cJSON_DetachItemViaPointer(doc, field);
    cli_add(cli_doc(c), field->string, field);
  }
  cJSON_Delete(doc);
  free(text);
  cli_close(c, s, NULL);
  return rc;
}

int cmd_explain(const Cli *c) {
  if (c->kernels) return explain_kernels(c);
  if (c->n_args > 1) {
    cli_error(c, "explain: one code, or --kernels MODEL A B");
    return 2;
  }
  const char *codes[256], *code = c->n_args ? c->args[0] : NULL;
  dhc_error_info e;
  cJSON *list = !code && cli_doc(c) ? cJSON_AddArrayToObject(cli_doc(c), "codes") : NULL;
  int n = 0;
  for (; n < 256 && dhc_explain(n, &e); n++) {
    codes[n] = e.code;
    cJSON *row = list ? cJSON_CreateObject() : NULL;
    if (row) add_code(row, &e);
    if (row) cli_add(list, NULL, row);
    else if (!code) printf("%s  %s\n", e.code, e.title);
    if (!code || strcmp(e.code, code)) continue;
    if (cli_doc(c)) add_code(cli_doc(c), &e);
    else print_code(&e);
    return 0;
  }
  if (!code) return 0;
  const char *near = dhc_closest(code, codes, n);
  if (near)
    cli_error(c, "explain: no error code %s (did you mean %s?)", code, near);
  else
    cli_error(c, "explain: no error code %s; dhcc explain lists them", code);
  return 1;
}
