/* Opening and closing a session and a model as the options say. */
#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"

/* Commands that run nothing work where there is no GPU. */
static bool prints_only(const Cli *c) {
  static const char *const names[] = {"print", "check", "graph", "doctor", "opt", "explain", "list", "doc"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    if (!strcmp(c->command, names[i])) return true;
  return false;
}

/* Workers of a sweep take a GPU each, one after the other. */
static const char *backend_of(const Cli *c) {
  static char text[32];
  int worker = c->worker ? atoi(c->worker) : 0;
  if (worker < 1 || !c->backend || strcmp(c->backend, "cuda")) return c->backend;
  snprintf(text, sizeof text, "cuda:+%d", worker - 1);
  return text;
}

int cli_open_session(const Cli *c, dhc_session **out) {
  dhc_session_options o = {
      .threads = (int)c->threads,
      .backend = backend_of(c),
      .cpu_features = c->cpu_features,
      .gpu_arch = c->gpu_arch,
      .compute = c->compute,
      .print_only = prints_only(c),
      .cache_dir = c->no_cache ? "" : NULL,
      .max_memory = c->max_memory,
      .disable_passes = c->disable_pass,
      .pass_limit = c->pass_limit < 0 ? 0 : c->pass_limit ? (int)c->pass_limit : -1, /* of the session 0 is: all */
      .check_bounds = c->check_bounds,
      .strict = c->strict,
      .explain_compiles = c->explain_compiles,
      .tuning = c->tuning,
      .warn = cli_warn_line,
      .warn_ctx = (void *)(uintptr_t)c,
  };
  return cli_fail(c, dhc_session_open(&o, out));
}

static void show_diagnostics(const Cli *c, const dhc_session *s) {
  dhc_session_print_diagnostics_from(s, c->report->n_shown, stderr, cli_color(c, stderr));
  c->report->n_shown = dhc_session_diagnostics(s);
}

int cli_done(const Cli *c, dhc_session *s, dhc_status st) {
  show_diagnostics(c, s);
  if (st.code == DHC_E_INPUT && dhc_session_errors(s)) return 1; /* said already */
  return cli_fail(c, st);
}

int cli_open(const Cli *c, dhc_session **s, dhc_model **m) {
  int rc = cli_open_session(c, s);
  if (rc) return rc;
  dhc_model_options o = {.name = c->args[0], .root = c->root, .preset = c->preset, .recipe = c->recipe,
                         .sets = c->sets, .n_sets = c->n_sets};
  return cli_done(c, *s, dhc_model_open(*s, &o, m));
}

/* The session's diagnostics as they are in the API, in the document; false: no memory. */
static bool add_diagnostics(cJSON *doc, const dhc_session *s) {
  char *text = NULL;
  size_t n = 0;
  FILE *to = open_memstream(&text, &n);
  if (!to) return false;
  dhc_session_print_diagnostics_json(s, to);
  bool whole = !ferror(to);
  whole = !fclose(to) && whole;
  cJSON *rows = whole ? cJSON_Parse(text) : NULL;
  if (rows && !cJSON_ReplaceItemInObject(doc, "diagnostics", rows)) cJSON_Delete(rows);
  free(text);
  return rows != NULL;
}

void cli_close(const Cli *c, dhc_session *s, dhc_model *m) {
  if (s) show_diagnostics(c, s);
  if (s && cli_doc(c)) {
    dhc_compile_stats st = dhc_session_stats(s);
    if (!add_diagnostics(cli_doc(c), s)) cli_doc_missing();
    cJSON_AddNumberToObject(cli_doc(c), "kernels_compiled", st.kernels_compiled);
    cJSON_AddNumberToObject(cli_doc(c), "kernels_reused", st.kernels_reused);
    cJSON_AddNumberToObject(cli_doc(c), "compile_ms", st.compile_ms);
  }
  dhc_model_close(m);
  dhc_session_close(s);
}

void cli_print_stats(const Cli *c, const dhc_session *s) {
  dhc_compile_stats st = dhc_session_stats(s);
  int n = st.kernels_compiled + st.kernels_reused;
  if (n) cli_note(c, "kernels: %d compiled, %d reused (%d from disk), %.0f ms", st.kernels_compiled,
                  st.kernels_reused, st.kernels_reused_disk, st.compile_ms);
}
