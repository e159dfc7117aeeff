/* plot: a figure, a table or a page of finished sweeps. */
#include <cjson/cJSON.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/plot.h"

enum { MAX_SERIES = 16 }; /* the most arguments that main.c lets a plot have */

static const char *text_of(const cJSON *json, const char *name) {
  const char *text = cJSON_GetStringValue(cJSON_GetObjectItem(json, name));
  return text ? text : "";
}

static double number_of(const cJSON *json, const char *name) {
  const cJSON *v = cJSON_GetObjectItem(json, name);
  return cJSON_IsNumber(v) ? v->valuedouble : (double)NAN;
}

/* A setting "mamba_ratio=3" of the variant as a number, or a number of its own; NaN: it has none. */
static double x_of(const cJSON *variant, const char *key) {
  double v = number_of(variant, key);
  if (!isnan(v)) return v;
  size_t n = strlen(key);
  for (const char *at = text_of(variant, "settings"); *at; at += strcspn(at, ";"), at += *at == ';')
    if (!strncmp(at, key, n) && at[n] == '=') {
      char *end;
      v = strtod(at + n + 1, &end);
      return end > at + n + 1 && (!*end || *end == ';') ? v : (double)NAN;
    }
  return (double)NAN;
}

static bool fill(const Cli *c, PlotSeries *r) {
  const cJSON *variants = cJSON_GetObjectItem(r->doc, "variants"), *summary = cJSON_GetObjectItem(r->doc, "summary");
  int n = cJSON_GetArraySize(summary);
  r->at = calloc((size_t)n + 1, sizeof *r->at);
  if (!r->at) return cli_no_memory(c), false;
  r->command = text_of(r->doc, "command");
  r->metric = text_of(r->doc, "metric");
  r->baseline = text_of(r->doc, "baseline");
  for (int i = 0; i < n; i++) {
    const cJSON *row = cJSON_GetArrayItem(summary, i), *variant = cJSON_GetArrayItem(variants, i);
    r->at[r->n++] = (PlotPoint){.name = text_of(row, "name"), .hash = text_of(row, "hash"), .mixers = text_of(variant, "mixers"),
                                .x = c->x ? x_of(variant, c->x) : i + 1, .y = number_of(row, "mean"), .low = number_of(row, "ci95_low"),
                                .high = number_of(row, "ci95_high"), .parameters = number_of(variant, "parameters"), .n = number_of(row, "n"),
                                .difference = number_of(row, "difference"), .p = number_of(row, "p_holm")};
  }
  return true;
}

static int read_all(const Cli *c, Plot *p) {
  for (int i = 0; i < c->n_args; i++) {
    PlotSeries *r = &p->series[p->n++];
    *r = (PlotSeries){.folder = c->args[i], .doc = cli_sweep_json(c->args[i])};
    if (!cJSON_IsArray(cJSON_GetObjectItem(r->doc, "summary"))) {
      cli_error(c, "%s: holds no sweep", c->args[i]);
      return 1;
    }
    if (!fill(c, r)) return 3;
    int shown = 0;
    for (int k = 0; k < r->n; k++) shown += !isnan(r->at[k].x);
    if (!shown) {
      cli_error(c, "--x %s: no variant of %s has a number of that name", c->x ? c->x : "", c->args[i]);
      return 1;
    }
    if (i && strcmp(r->metric, p->series[0].metric)) {
      cli_error(c, "%s is about %s, %s about %s", c->args[0], p->series[0].metric, c->args[i], r->metric);
      return 1;
    }
  }
  p->x_label = c->x ? c->x : "variant";
  p->y_label = p->series[0].metric;
  p->named = !c->x;
  return 0;
}

static bool ends(const char *path, const char *suffix) {
  size_t n = strlen(path), k = strlen(suffix);
  return n > k && !strcmp(path + n - k, suffix);
}

/* Whole or not there. */
static int write_file(const Cli *c, const Plot *p) {
  char temporary[4096];
  int n = snprintf(temporary, sizeof temporary, "%s.%ld.tmp", c->outputs, (long)getpid());
  FILE *to = n > 0 && (size_t)n < sizeof temporary ? fopen(temporary, "w") : NULL;
  if (!to) {
    cli_system_error(c, c->outputs, errno);
    return 3;
  }
  if (ends(c->outputs, ".svg")) plot_svg(p, to);
  else if (ends(c->outputs, ".tex")) plot_tex(p, to);
  else plot_html(p, to);
  bool bad = ferror(to) != 0;
  if (fclose(to) || bad || rename(temporary, c->outputs)) {
    cli_system_error(c, c->outputs, errno);
    (void)unlink(temporary);
    return 3;
  }
  return 0;
}

int cmd_plot(const Cli *c) {
  PlotSeries series[MAX_SERIES] = {{0}};
  Plot p = {.series = series};
  if (!c->outputs || !(ends(c->outputs, ".svg") || ends(c->outputs, ".tex") || ends(c->outputs, ".html"))) {
    cli_error(c, "plot: needs -o FILE that ends in .svg, .tex or .html");
    return 2;
  }
  int rc = read_all(c, &p);
  if (!rc) rc = write_file(c, &p);
  for (int i = 0; i < p.n; i++) {
    free(series[i].at);
    cJSON_Delete(series[i].doc);
  }
  return rc;
}
