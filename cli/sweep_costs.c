/* sweep --cost-only: a line a variant, as a table, CSV or JSON. */
#include <cjson/cJSON.h>
#include <math.h>
#include <string.h>

#include "cli/costs.h"

typedef struct CostTable {
  const Cli *c;
  cJSON *rows, *merged; /* of the document; NULL: lines */
  int n;
  Costs *drawn; /* NULL: no figure is asked for */
} CostTable;

static void cost_json(const CostTable *t, const dhc_sweep_cost_row *r) {
  cJSON *row = cli_sweep_row(t->rows, t->merged, r->name, r->hash, r->same_as);
  dhc_cost_info info;
  double v;
  if (!row) return;
  cJSON_AddStringToObject(row, "mixers", r->mixers);
  cJSON_AddStringToObject(row, "pattern", r->pattern);
  cJSON_AddStringToObject(row, "order", r->order);
  if (r->sequence_length >= 0) cJSON_AddNumberToObject(row, "sequence_length", (double)r->sequence_length);
  else cJSON_AddNullToObject(row, "sequence_length");
  cJSON_AddStringToObject(row, "sizes", r->costs->sizes);
  for (int i = 0; dhc_costs_field(r->costs, i, &info, &v); i++)
    if (!isnan(v)) cJSON_AddNumberToObject(row, info.name, v);
}

static void cost_csv(const CostTable *t, const dhc_sweep_cost_row *r) {
  dhc_cost_info info;
  double v;
  if (!t->n) {
    printf("name,hash,mixers,pattern,sequence_length,same_as,sizes");
    for (int i = 0; dhc_costs_field(NULL, i, &info, NULL); i++) printf(",%s", info.name);
    printf("\n");
  }
  const char *const texts[] = {r->name, r->hash, r->mixers, r->pattern, NULL, r->same_as ? r->same_as : "", r->costs->sizes};
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
    if (i) printf(",");
    if (texts[i]) cli_csv_text(texts[i], stdout);
    else cli_csv_number(r->sequence_length >= 0 ? (double)r->sequence_length : (double)NAN, stdout);
  }
  for (int i = 0; dhc_costs_field(r->costs, i, &info, &v); i++) {
    printf(",");
    cli_csv_number(v, stdout);
  }
  printf("\n");
}

static const char *or_dash(double v, const char *unit, char text[48]) {
  return isnan(v) ? "-" : cli_short_number(v, unit, text);
}

static double both(double run, double train) {
  return (isnan(run) ? 0 : run) + (isnan(train) ? 0 : train);
}

static void cost_line(const CostTable *t, const dhc_sweep_cost_row *r) {
  const dhc_costs *c = r->costs;
  static const char *const heads[] = {"parameters", "active", "FLOPs", "training", "activations", "in training", "cache/token", "states", "cross"};
  const double values[] = {c->parameters, c->active_parameters, c->flops, c->flops_train, c->activation_bytes, c->activation_train_bytes,
                           c->cache_bytes_token, c->state_bytes, c->cross_length};
  static const char *const units[] = {"", "", "", "", "bytes", "bytes", "bytes", "bytes", ""};
  char text[48], length[32] = "-";
  if (!t->n) {
    printf("%-16s  %-10s %-14s %-14s %6s", "hash", "mixers", "pattern", "order", "length");
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++) printf(" %11s", heads[i]);
    printf("  %-9s  variant\n", "kernels");
  }
  if (r->same_as) {
    printf("%-16s  equal to %s: %s\n", r->hash, r->same_as, r->name);
    return;
  }
  if (r->sequence_length >= 0) snprintf(length, sizeof length, "%lld", (long long)r->sequence_length);
  printf("%-16s  %-10s %-14s %-14s %6s", r->hash, *r->mixers ? r->mixers : "-", *r->pattern ? r->pattern : "-", *r->order ? r->order : "-", length);
  for (size_t i = 0; i < sizeof values / sizeof *values; i++) printf(" %11s", or_dash(values[i], units[i], text));
  double kernels = both(c->kernels, c->kernels_train);
  printf("  %3.0f new %-3.0f %s\n", kernels - both(c->kernels_shared, c->kernels_train_shared), kernels, r->name);
}

static bool show_cost(void *ctx, const dhc_sweep_cost_row *r) {
  CostTable *t = ctx;
  if (t->rows) cost_json(t, r);
  else if (t->c->csv) cost_csv(t, r);
  else cost_line(t, r);
  if (t->drawn && !r->same_as) costs_add(t->drawn, r->name, r->costs);
  t->n++;
  fflush(stdout);
  return true;
}

int cli_sweep_costs(const Cli *c, dhc_session *s, dhc_sweep *sweep) {
  CostTable t = {.c = c};
  if (cli_doc(c)) {
    t.rows = cJSON_AddArrayToObject(cli_doc(c), "variants");
    t.merged = cJSON_AddArrayToObject(cli_doc(c), "merged");
  }
  Costs drawn = {0};
  if (c->outputs) t.drawn = &drawn;
  int rc = cli_done(c, s, dhc_sweep_costs(sweep, show_cost, &t));
  if (!rc && c->outputs) rc = costs_write(c, &drawn);
  costs_free(&drawn);
  return rc;
}
