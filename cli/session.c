/* Opening a session and a model as the options say. */
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"

static void warn_line(void *ctx, const char *line) {
  const Cli *c = ctx;
  if (!c->quiet) fprintf(stderr, "dhcc: %s\n", line);
}

int cli_open_session(const Cli *c, dhc_session **out) {
  dhc_session_options o = {
      .threads = (int)c->threads,
      .backend = c->backend,
      .cpu_features = c->cpu_features,
      .cache_dir = c->no_cache ? "" : NULL,
      .max_memory = c->max_memory,
      .disable_passes = c->disable_pass,
      .pass_limit = (int)c->pass_limit,
      .warn = warn_line,
      .warn_ctx = (void *)(uintptr_t)c,
  };
  return cli_fail(dhc_session_open(&o, out));
}

void cli_print_diagnostics(const Cli *c, dhc_session *s) {
  if (c->json && dhc_session_errors(s))
    dhc_session_print_diagnostics_json(s, stdout);
  else if (dhc_session_errors(s) || dhc_session_warnings(s))
    dhc_session_print_diagnostics(s, stderr, cli_color(c, stderr));
}

int cli_open_model(const Cli *c, dhc_session *s, dhc_model **out) {
  if (c->n_args < 1) {
    cli_error("%s: needs a MODEL (a .dhc file or a shipped model's name)", c->command);
    return 2;
  }
  dhc_model_options o = {.name = c->args[0], .root = c->root, .preset = c->preset, .recipe = c->recipe,
                         .sets = c->sets, .n_sets = c->n_sets};
  dhc_status st = dhc_model_open(s, &o, out);
  cli_print_diagnostics(c, s);
  if (st.code == DHC_E_INPUT && dhc_session_errors(s)) return 1; /* said already */
  return cli_fail(st);
}
