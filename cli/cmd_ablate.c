/* ablate: a model without each of its parts, as a table, CSV or JSON. */
#include <cjson/cJSON.h>
#include <math.h>
#include <string.h>

#include "cli/page.h"

typedef struct Show {
  const Cli *c;
  cJSON *rows;
  bool begun;
  Figure *figure; /* NULL: none is asked for */
} Show;

static void add_number(cJSON *row, const char *name, double v) {
  if (!isnan(v)) cli_add(row, name, cJSON_CreateNumber(v));
}

static void show_json(Show *s, const dhc_ablate_row *r) {
  cJSON *row = cJSON_CreateObject();
  cli_add(row, "scope", cJSON_CreateString(r->scope));
  cli_add(row, "name", cJSON_CreateString(r->name));
  cli_add(row, "kind", cJSON_CreateString(r->kind));
  add_number(row, "units", r->n_units);
  add_number(row, "loss", r->loss);
  add_number(row, "loss_change", r->loss_change);
  add_number(row, "accuracy", r->accuracy);
  add_number(row, "accuracy_change", r->accuracy_change);
  cli_add(s->rows, NULL, row);
}

static void csv_number(double v) {
  printf(",");
  cli_csv_number(v, stdout);
}

static void show_csv(const Show *s, const dhc_ablate_row *r) {
  if (!s->begun) printf("scope,name,kind,units,loss,loss_change,accuracy,accuracy_change\n");
  printf("%s,", r->scope);
  cli_csv_text(r->name, stdout);
  printf(",%s,%d", r->kind, r->n_units);
  csv_number(r->loss);
  csv_number(r->loss_change);
  csv_number(r->accuracy);
  csv_number(r->accuracy_change);
  printf("\n");
}

static void show_line(const Show *s, const dhc_ablate_row *r) {
  bool metric = !isnan(r->accuracy);
  if (!s->begun) printf("%-7s %-36s %-20s %10s %10s%s\n", "without", "", "kind", "loss", "change", metric ? "   accuracy     change" : "");
  printf("%-7s %-36s %-20s %10.6g %+10.4g", r->scope, r->name, r->kind, r->loss, r->loss_change);
  if (metric) printf(" %10.4f %+10.4f", r->accuracy, r->accuracy_change);
  printf("\n");
}

/* A bar a part, a color a scope. */
static void show_bar(Figure *f, const dhc_ablate_row *r) {
  FigureSeries *s = NULL;
  if (!strcmp(r->scope, "whole")) return;
  for (int i = 0; i < f->n; i++)
    if (f->series[i].name && !strcmp(f->series[i].name, r->scope)) s = &f->series[i];
  if (!s) s = figure_series(f, r->scope, FIGURE_BARS);
  figure_point(f, s, (FigurePoint){.x = figure_tick(f, r->name), .y = r->loss_change, .low = NAN, .high = NAN, .name = (char *)(uintptr_t)r->name});
}

static bool show(void *ctx, const dhc_ablate_row *r) {
  Show *s = ctx;
  if (s->figure) show_bar(s->figure, r);
  if (s->rows) show_json(s, r);
  else if (s->c->csv) show_csv(s, r);
  else show_line(s, r);
  s->begun = true;
  fflush(stdout);
  return true;
}

int cmd_ablate(const Cli *c) {
  if (!c->data || !c->weights)
    return cli_lacks(c, "ablate: needs --data SPEC and --weights FILE");
  if (c->outputs && !figure_form(c->outputs)) {
    cli_error(c, "ablate: -o needs FILE that ends in " FIGURE_FORMS);
    return 2;
  }
  dhc_session *s = NULL;
  dhc_model *m = NULL;
  Figure figure = {.x_label = "left out", .y_label = "change of the loss"};
  int rc = cli_open(c, &s, &m);
  if (!rc) {
    dhc_catch_signals();
    Show ctx = {.c = c, .figure = c->outputs ? &figure : NULL, .rows = cli_doc(c) ? cJSON_AddArrayToObject(cli_doc(c), "parts") : NULL};
    const dhc_ablate_options o = {.data = c->data, .split = c->split, .weights = c->weights, .batch = c->batch, .limit = c->limit,
                                  .experts = c->experts, .row = show, .ctx = &ctx};
    rc = cli_done(c, s, dhc_ablate(m, &o));
    if (!rc && c->outputs) rc = figure_write(c, &figure, c->outputs);
    if (!rc) cli_print_stats(c, s);
  }
  figure_free(&figure);
  cli_close(c, s, m);
  return rc;
}
