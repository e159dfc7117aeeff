/* Means over seeds, their intervals, and what differs from the baseline. */
#include <math.h>

#include "api/json.h"
#include "api/sweep/study.h"
#include "runtime/stats.h"

/* The metric asked for, or the first of these that every finished run has. */
static int metric_column(const Study *t) {
  static const int usual[] = {STUDY_COLUMN_val_accuracy, STUDY_COLUMN_val_loss, STUDY_COLUMN_loss};
  for (int i = 0; i < STUDY_N_COLUMNS; i++)
    if (!strcmp(study_columns[i].name, t->metric)) return i;
  for (int u = 0; u < 3; u++) {
    bool all = true;
    for (int i = 0; i < t->runs.n; i++) {
      const StudyResult *r = &t->runs.at[i].result;
      if (r->status && !strcmp(r->status, "done")) all = all && !isnan(study_value(r, usual[u]));
    }
    if (all) return usual[u];
  }
  return STUDY_COLUMN_loss;
}

static void put(JsonDoc *d, cJSON *to, const char *name, double v) {
  if (isfinite(v)) json_number(d, to, name, v);
  else if (to) cJSON_AddNullToObject(to, name);
}

/* By seed; NaN where that run has not come to its end. */
static double *values_of(const Study *t, int variant, int column) {
  double *x = DHC_NEW_N(t->arena, double, t->n_seeds + 1);
  for (int i = 0; i < t->runs.n; i++)
    if (t->runs.at[i].variant == variant) x[i % t->n_seeds] = study_value(&t->runs.at[i].result, column);
  return x;
}

void study_summarise(const Study *t, JsonDoc *d) {
  int column = metric_column(t), base = t->baseline ? study_variant(t, t->baseline) : -1, n = t->variants.n;
  DhcStatsPaired *pair = DHC_NEW_N(t->arena, DhcStatsPaired, n + 1);
  double *p = DHC_NEW_N(t->arena, double, n + 1), *holm = DHC_NEW_N(t->arena, double, n + 1);
  const double *of_base = base >= 0 ? values_of(t, base, column) : NULL;
  for (int v = 0; v < n; v++) {
    if (of_base && v != base) pair[v] = dhc_stats_paired(values_of(t, v, column), of_base, t->n_seeds);
    p[v] = of_base && v != base ? pair[v].p : (double)NAN;
  }
  dhc_stats_holm(p, n, holm);
  json_text(d, d->root, "metric", study_columns[column].name);
  cJSON *rows = json_array(d, d->root, "summary");
  for (int v = 0; v < n; v++) {
    const DhcStatsMean m = dhc_stats_mean(values_of(t, v, column), t->n_seeds);
    cJSON *row = json_object(d, rows, NULL);
    json_text(d, row, "name", t->variants.at[v].name);
    json_text(d, row, "hash", t->variants.at[v].id.hash);
    json_number(d, row, "n", (double)m.n);
    put(d, row, "mean", m.mean);
    put(d, row, "sd", m.sd);
    put(d, row, "ci95_low", m.ci_low);
    put(d, row, "ci95_high", m.ci_high);
    if (!of_base || v == base) continue;
    put(d, row, "difference", pair[v].difference.mean);
    put(d, row, "difference_ci95_low", pair[v].difference.ci_low);
    put(d, row, "difference_ci95_high", pair[v].difference.ci_high);
    put(d, row, "t", pair[v].t);
    put(d, row, "df", pair[v].df);
    put(d, row, "p", p[v]);
    put(d, row, "p_holm", holm[v]);
    put(d, row, "detectable", pair[v].detectable);
  }
}
