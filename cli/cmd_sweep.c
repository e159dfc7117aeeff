/* sweep: many variants of one model. */
#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"

typedef struct Sweep {
  const Cli *c;
  cJSON *variants, *merged; /* of the document; NULL: lines */
  int n, all;
} Sweep;

static void add_row(Sweep *w, const dhc_sweep_row *r) {
  cJSON *row = cJSON_CreateObject();
  cJSON_AddStringToObject(row, "name", r->name);
  cJSON_AddStringToObject(row, "hash", r->hash);
  if (r->same_as) {
    cJSON_AddStringToObject(row, "same_as", r->same_as);
    cli_add(w->merged, NULL, row);
    return;
  }
  cJSON_AddStringToObject(row, "mixers", r->mixers);
  cJSON_AddStringToObject(row, "pattern", r->pattern);
  cJSON_AddStringToObject(row, "order", r->order);
  if (r->sequence_length >= 0) cJSON_AddNumberToObject(row, "sequence_length", (double)r->sequence_length);
  else cJSON_AddNullToObject(row, "sequence_length");
  cJSON_AddNumberToObject(row, "parameters", (double)r->parameters);
  cJSON_AddNumberToObject(row, "kernels_compiled", r->kernels_compiled);
  cJSON_AddNumberToObject(row, "kernels_reused", r->kernels_reused);
  cJSON_AddNumberToObject(row, "plan_ms", r->plan_ms);
  cJSON_AddNumberToObject(row, "first_step_ms", r->first_step_ms);
  cJSON_AddNumberToObject(row, "step_ms", r->step_ms);
  cli_add(w->variants, NULL, row);
}

static void print_row(Sweep *w, const dhc_sweep_row *r) {
  char length[32] = "-";
  if (!w->n) printf("%-16s  %-10s %-14s %6s %11s %9s %7s %9s %14s %9s  %s\n", "hash", "mixers", "pattern", "length", "parameters", "compiled",
                    "reused", "plan ms", "first step ms", "step ms", "variant");
  if (r->sequence_length >= 0) snprintf(length, sizeof length, "%lld", (long long)r->sequence_length);
  if (r->same_as)
    printf("%-16s  equal to %s, not run again: %s\n", r->hash, r->same_as, r->name);
  else
    printf("%-16s  %-10s %-14s %6s %11lld %9d %7d %9.1f %14.1f %9.1f  %s\n", r->hash, *r->mixers ? r->mixers : "-", *r->order ? r->order : "-",
           length, (long long)r->parameters, r->kernels_compiled, r->kernels_reused, r->plan_ms, r->first_step_ms, r->step_ms, r->name);
  fflush(stdout);
}

static bool show_row(void *ctx, const dhc_sweep_row *r) {
  Sweep *w = ctx;
  if (w->variants) add_row(w, r);
  else print_row(w, r);
  w->n++;
  return true;
}

static int run_sweep(const Cli *c, dhc_session *s) {
  dhc_sweep_options o = {.model = {.name = c->args[0], .root = c->root, .preset = c->preset, .recipe = c->recipe},
                         .axes = c->sets, .n_axes = c->n_sets, .opts = c->opts, .n_opts = c->n_opts, .variants = c->variants,
                         .placements = c->placements, .random = c->random, .seed = (uint64_t)c->seed, .sizes = c->sizes};
  dhc_sweep *sweep = NULL;
  int rc = cli_done(c, s, dhc_sweep_open(s, &o, &sweep));
  if (rc) return rc;
  Sweep w = {.c = c, .all = dhc_sweep_count(sweep)};
  if (cli_doc(c)) {
    w.variants = cJSON_AddArrayToObject(cli_doc(c), "variants");
    w.merged = cJSON_AddArrayToObject(cli_doc(c), "merged");
  }
  dhc_catch_signals();
  rc = cli_done(c, s, dhc_sweep_steps(sweep, show_row, &w));
  dhc_sweep_close(sweep);
  if (!rc && !cli_doc(c)) cli_print_stats(c, s);
  return rc;
}

int cmd_sweep(const Cli *c) {
  dhc_session *s = NULL;
  int rc = cli_open_session(c, &s);
  if (!rc) rc = run_sweep(c, s);
  cli_close(c, s, NULL);
  return rc;
}
