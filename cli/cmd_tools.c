/* opt, kernel, cache, doctor, explain: single parts of the compiler. */
#include <cjson/cJSON.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"

enum { MAX_SOURCE_BYTES = 16 << 20 };

/* Whole file, or standard input for "-"; NULL after a message. Caller frees. */
static char *read_text(const char *path) {
  FILE *f = strcmp(path, "-") ? fopen(path, "rb") : stdin;
  if (!f) {
    cli_error("%s: %s", path, strerror(errno));
    return NULL;
  }
  size_t cap = 1 << 16, n = 0;
  char *text = malloc(cap);
  while (text) {
    n += fread(text + n, 1, cap - 1 - n, f);
    if (n < cap - 1) break;
    if (cap >= MAX_SOURCE_BYTES) {
      cli_error("%s: larger than 16 MB", path);
      free(text);
      text = NULL;
      break;
    }
    char *more = realloc(text, cap *= 2);
    if (!more) free(text);
    text = more;
  }
  if (text && ferror(f)) { /* a folder opens, but does not read */
    cli_error("%s: %s", path, strerror(errno));
    free(text);
    text = NULL;
  }
  if (f != stdin) fclose(f);
  if (text) text[n] = 0;
  return text;
}

int cmd_opt(const Cli *c) {
  char *text = read_text(c->args[0]), *out = NULL;
  if (!text) return 1;
  dhc_session *s = NULL;
  int rc = cli_open_session(c, &s);
  if (!rc) {
    dhc_status st = dhc_opt_text(s, c->args[0], text, c->pass ? c->pass : "", &out);
    if (dhc_session_errors(s)) {
      dhc_session_print_diagnostics(s, stderr, cli_color(c, stderr));
      rc = 1;
    } else {
      rc = cli_fail(st);
    }
  }
  if (out) fputs(out, stdout);
  free(out);
  free(text);
  dhc_session_close(s);
  return rc;
}

static int parse_dims(const char *text, int64_t *dims, int max) {
  int n = 0;
  while (text && *text) {
    char *end;
    long long v = strtoll(text, &end, 10);
    if (end == text || (*end && *end != ',') || n == max) return -1;
    dims[n++] = v;
    text = *end ? end + 1 : end;
  }
  return n;
}

int cmd_kernel(const Cli *c) {
  int64_t dims[128];
  int n_dims = parse_dims(c->dims, dims, 128);
  if (n_dims < 0) {
    cli_error("--dims: needs whole numbers separated by commas, got \"%s\"", c->dims);
    return 2;
  }
  char *text = read_text(c->args[0]), *report = NULL;
  if (!text) return 1;
  dhc_session *s = NULL;
  double max_rel = 0;
  int rc = cli_open_session(c, &s);
  if (!rc) {
    dhc_status st = dhc_kernel_check(s, c->args[0], text, dims, n_dims, (uint64_t)c->seed, &max_rel, &report);
    if (dhc_session_errors(s)) dhc_session_print_diagnostics(s, stderr, cli_color(c, stderr));
    rc = cli_fail(st);
  }
  if (report) fputs(report, stdout);
  free(report);
  free(text);
  dhc_session_close(s);
  return rc;
}

int cmd_cache(const Cli *c) {
  const char *what = c->n_args ? c->args[0] : "show";
  if (strcmp(what, "show") && strcmp(what, "verify") && strcmp(what, "prune")) {
    cli_error("cache: needs show, verify or prune, got \"%s\"", what);
    return 2;
  }
  dhc_session *s = NULL;
  int rc = cli_open_session(c, &s);
  int64_t removed = 0;
  dhc_cache_info info = {0};
  if (!rc && !strcmp(what, "prune")) rc = cli_fail(dhc_cache_prune(s, c->max_bytes, &removed));
  if (!rc) rc = cli_fail(dhc_cache_inspect(s, !strcmp(what, "verify"), &info));
  if (!rc && c->json) {
    cJSON *doc = cJSON_CreateObject();
    cJSON_AddStringToObject(doc, "path", info.path ? info.path : "");
    cJSON_AddNumberToObject(doc, "entries", (double)info.entries);
    cJSON_AddNumberToObject(doc, "bytes", (double)info.bytes);
    cJSON_AddNumberToObject(doc, "damaged", (double)info.damaged);
    cJSON_AddNumberToObject(doc, "removed", (double)removed);
    cli_print_json(doc);
  } else if (!rc) {
    printf("%s: %lld kernels, %lld bytes", info.path ? info.path : "memory only", (long long)info.entries, (long long)info.bytes);
    if (!strcmp(what, "verify")) printf(", %lld damaged", (long long)info.damaged);
    if (!strcmp(what, "prune")) printf(", %lld removed", (long long)removed);
    printf("\n");
  }
  if (!rc && info.damaged) rc = 1;
  dhc_session_close(s);
  return rc;
}

int cmd_doctor(const Cli *c) {
  dhc_session *s = NULL;
  char *text = NULL;
  int rc = cli_open_session(c, &s);
  if (!rc) rc = cli_fail(dhc_doctor_json(s, &text));
  if (!rc && c->json) {
    puts(text);
  } else if (!rc) {
    cJSON *doc = cJSON_Parse(text);
    const cJSON *row;
    cJSON_ArrayForEach(row, doc) {
      if (cJSON_IsString(row)) printf("%-16s %s\n", row->string, row->valuestring);
      if (cJSON_IsNumber(row)) printf("%-16s %.0f\n", row->string, row->valuedouble);
      if (cJSON_IsBool(row)) printf("%-16s %s\n", row->string, cJSON_IsTrue(row) ? "yes" : "no");
    }
    cJSON_Delete(doc);
  }
  free(text);
  dhc_session_close(s);
  return rc;
}

int cmd_explain(const Cli *c) {
  const char *text = dhc_explain(c->args[0]);
  if (!text) {
    cli_error("explain: no error code %s", c->args[0]);
    return 1;
  }
  printf("%s: %s\n", c->args[0], text);
  return 0;
}
