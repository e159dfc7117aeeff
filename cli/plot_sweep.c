/* Figures of sweeps and of runs. */
#include <cjson/cJSON.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/plot.h"

static bool more_is_better(const char *metric) {
  return strstr(metric, "accuracy") || !strcmp(metric, "samples_s");
}

/* What lies around the mean: --err. */
static void interval_of(const Cli *c, const cJSON *row, FigurePoint *p) {
  double sd = plot_number(row, "sd");
  if (c->err && !strcmp(c->err, "none")) return;
  if (c->err && !strcmp(c->err, "sd")) {
    p->low = p->y - sd;
    p->high = p->y + sd;
    return;
  }
  p->low = plot_number(row, "ci95_low");
  p->high = plot_number(row, "ci95_high");
}

/* One series, or (each) a series a variant. */
static void add_sweep(const Plot *p, const PlotSweep *s, const char *x, bool each, Figure *f) {
  FigureSeries *r = each ? NULL : figure_series(f, s->folder, FIGURE_POINTS);
  const cJSON *row, *variant = cJSON_GetObjectItem(s->doc, "variants");
  variant = variant ? variant->child : NULL;
  cJSON_ArrayForEach(row, cJSON_GetObjectItem(s->doc, "summary")) {
    const char *name = plot_text(row, "name");
    FigurePoint q = {.y = plot_number(row, "mean"), .low = NAN, .high = NAN, .name = (char *)(uintptr_t)name};
    q.x = x ? plot_x_of(s->doc, variant, x) : figure_tick(f, name);
    if (x && plot_is_share(variant, x)) snprintf(f->own_label, sizeof f->own_label, "share of %s among the mixers", x), f->x_label = f->own_label;
    interval_of(p->c, row, &q);
    figure_point(f, each ? figure_series(f, name, FIGURE_POINTS) : r, q);
    variant = variant ? variant->next : NULL;
  }
}

/* In the series from number `first` on. */
static bool has_number(const Figure *f, int first, bool of_x) {
  for (int i = first; i < f->n; i++)
    for (int k = 0; k < f->series[i].n; k++)
      if (!isnan(of_x ? f->series[i].at[k].x : f->series[i].at[k].y)) return true;
  return false;
}

static int means(const Plot *p, const char *x, bool each, Figure *f) {
  *f = (Figure){.x_label = x ? x : "variant", .y_label = p->y};
  for (int i = 0; i < p->n_sweeps; i++) {
    int first = f->n;
    add_sweep(p, &p->sweep[i], x, each, f);
    if (f->no_memory) return cli_no_memory(p->c);
    if (x && !has_number(f, first, true)) {
      cli_error(p->c, "--x %s: no variant of %s has a number of that name", x, p->sweep[i].folder);
      return 1;
    }
    if (!has_number(f, first, false)) {
      cli_error(p->c, "%s: no finished run has a number in column %s", p->sweep[i].folder, p->y);
      return 1;
    }
  }
  return 0;
}

int plot_means(const Plot *p, const char *x, Figure *f) {
  return means(p, x, false, f);
}

/* ---- Pareto ------------------------------------------------------------------------------------------ */

static int by_x(const void *a, const void *b) {
  const FigurePoint *p = a, *q = b;
  return (p->x > q->x) - (p->x < q->x);
}

/* Steps along the points that nothing with less of x reaches. */
static void add_front(Figure *f, bool more) {
  int n = 0;
  for (int i = 0; i < f->n; i++) n += f->series[i].n;
  FigurePoint *all = calloc((size_t)n + 1, sizeof *all);
  if (!all) {
    f->no_memory = true;
    return;
  }
  n = 0;
  for (int i = 0; i < f->n; i++)
    for (int k = 0; k < f->series[i].n; k++)
      if (isfinite(f->series[i].at[k].x) && isfinite(f->series[i].at[k].y)) all[n++] = f->series[i].at[k];
  qsort(all, (size_t)n, sizeof *all, by_x);
  FigureSeries *front = figure_series(f, "Pareto front", FIGURE_LINE);
  double best = NAN;
  for (int i = 0; i < n;) {
    double here = all[i].y;
    int same = i;
    for (; same < n && all[same].x == all[i].x; same++) here = more ? fmax(here, all[same].y) : fmin(here, all[same].y);
    if (isnan(best) || (more ? here > best : here < best)) {
      if (!isnan(best)) figure_point(f, front, (FigurePoint){.x = all[i].x, .y = best, .low = NAN, .high = NAN});
      best = here;
      figure_point(f, front, (FigurePoint){.x = all[i].x, .y = best, .low = NAN, .high = NAN});
    }
    i = same;
  }
  if (n && front) figure_point(f, front, (FigurePoint){.x = all[n - 1].x, .y = best, .low = NAN, .high = NAN});
  free(all);
}

int plot_pareto(const Plot *p, const char *x, Figure *f) {
  enum { MOST_NAMED = 10 };
  bool each = p->n_sweeps == 1 && cJSON_GetArraySize(cJSON_GetObjectItem(p->sweep[0].doc, "variants")) <= MOST_NAMED;
  int rc = means(p, x, each, f);
  if (rc) return rc;
  add_front(f, more_is_better(p->y));
  return f->no_memory ? cli_no_memory(p->c) : 0;
}

/* ---- learning curves ------------------------------------------------------------------------------------ */

static void add_curve(const Plot *p, Figure *f, const char *name, PlotCurve *curve) {
  FigureSeries *s = figure_series(f, name, FIGURE_LINE);
  if (p->thin) plot_curve_thin(curve, PLOT_MOST_POINTS);
  for (int i = 0; i < curve->n; i++) figure_point(f, s, (FigurePoint){.x = curve->x[i], .y = curve->y[i], .low = NAN, .high = NAN});
}

static int add_run(const Plot *p, Figure *f, const char *folder, const char *name, const char *x, const char *y) {
  PlotCurve curve;
  if (!plot_read_curve(folder, x, y, &curve)) {
    if (curve.no_memory) return cli_no_memory(p->c);
    cli_error(p->c, "%s: metrics.csv has no columns %s and %s", folder, x, y);
    return 1;
  }
  if (curve.n) add_curve(p, f, name, &curve);
  plot_curve_free(&curve);
  return f->no_memory ? cli_no_memory(p->c) : 0;
}

/* Row by row what runs with equally many rows have: y is their mean, `spread` the sum of squares around it (Welford). A run that ended
 * early is left out. */
typedef struct Together {
  PlotCurve mean;
  double *spread;
  int n;
} Together;

static bool take_run(Together *t, PlotCurve *one) {
  if (!t->n) {
    t->mean = *one;
    t->spread = calloc((size_t)one->n + 1, sizeof *t->spread);
    t->n = 1;
    return t->spread != NULL;
  }
  t->n += one->n == t->mean.n;
  for (int i = 0; i < one->n && one->n == t->mean.n; i++) {
    double off = one->y[i] - t->mean.y[i];
    t->mean.y[i] += off / t->n;
    t->spread[i] += off * (one->y[i] - t->mean.y[i]);
  }
  plot_curve_free(one);
  return true;
}

/* What lies around a mean of n: Student's 97.5 % points times the standard error, or the standard deviation. */
static double half_width(const Cli *c, double spread, int n) {
  static const double student[] = {12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131,
                                   2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042};
  enum { KNOWN = sizeof student / sizeof *student };
  if (n < 2 || (c->err && !strcmp(c->err, "none"))) return NAN;
  double sd = sqrt(spread / (n - 1));
  if (c->err && !strcmp(c->err, "sd")) return sd;
  return (n - 2 < KNOWN ? student[n - 2] : 1.96) * sd / sqrt(n);
}

static void add_together(const Plot *p, Figure *f, const char *name, const Together *t) {
  FigureSeries *s = figure_series(f, name, FIGURE_LINE);
  for (int i = 0; i < t->mean.n; i++) {
    double y = t->mean.y[i], half = half_width(p->c, t->spread[i], t->n);
    figure_point(f, s, (FigurePoint){.x = t->mean.x[i], .y = y, .low = y - half, .high = y + half});
  }
}

static int add_variant(const Plot *p, Figure *f, const PlotSweep *s, const cJSON *variant, const char *x, const char *y) {
  Together all = {0};
  const cJSON *run;
  char name[600], folder[4096];
  cJSON_ArrayForEach(run, cJSON_GetObjectItem(s->doc, "runs")) {
    PlotCurve one;
    if (strcmp(plot_text(run, "hash"), plot_text(variant, "hash"))) continue;
    snprintf(folder, sizeof folder, "%s/%s", s->folder, plot_text(run, "folder"));
    if (strcmp(plot_text(run, "status"), "done") || !plot_read_curve(folder, x, y, &one)) continue;
    if (p->thin) plot_curve_thin(&one, PLOT_MOST_POINTS);
    if (!take_run(&all, &one)) f->no_memory = true;
  }
  snprintf(name, sizeof name, "%s%s%s", p->n_sweeps > 1 ? s->folder : "", p->n_sweeps > 1 ? ": " : "", plot_text(variant, "name"));
  if (all.mean.n && all.spread) add_together(p, f, name, &all);
  plot_curve_free(&all.mean);
  free(all.spread);
  return f->no_memory ? cli_no_memory(p->c) : 0;
}

static bool has_column(const char *folder, const char *x, const char *y) {
  PlotCurve c;
  if (!plot_read_curve(folder, x, y, &c)) return false;
  plot_curve_free(&c);
  return true;
}

/* What a run learns by: policies have a return, of a rollout there is no one loss. */
static const char *usual_column(const Plot *p, const char *x) {
  return p->n_runs && !has_column(p->run[0], x, "loss") && has_column(p->run[0], x, "return") ? "return" : "loss";
}

int plot_curves(const Plot *p, const char *x, const char *y, Figure *f) {
  bool single = !y && p->n_runs == 1 && !p->n_sweeps;
  int rc = 0;
  *f = (Figure){.x_label = x ? x : "step"};
  f->y_label = y ? y : usual_column(p, f->x_label);
  for (int i = 0; i < p->n_runs && !rc; i++) rc = add_run(p, f, p->run[i], single ? f->y_label : p->run[i], f->x_label, f->y_label);
  PlotCurve validated; /* a run may have none */
  if (single && !rc && plot_read_curve(p->run[0], f->x_label, "val_loss", &validated)) {
    if (validated.n) add_curve(p, f, "val_loss", &validated);
    plot_curve_free(&validated);
  }
  if (!rc && (f->no_memory || cli_doc_is_missing())) rc = cli_no_memory(p->c);
  for (int i = 0; i < p->n_sweeps; i++) {
    const cJSON *variant;
    cJSON_ArrayForEach(variant, cJSON_GetObjectItem(p->sweep[i].doc, "variants")) if (!rc) rc = add_variant(p, f, &p->sweep[i], variant, f->x_label, f->y_label);
  }
  if (!rc && !f->n) {
    cli_error(p->c, "%s: no run has a number in column %s", p->n_runs ? p->run[0] : p->sweep[0].folder, f->y_label);
    rc = 1;
  }
  return rc;
}
