/* plot: figures, tables and pages of sweeps and of runs. */
#include <math.h>
#include <string.h>

#include "cli/plot.h"

static int check_options(const Cli *c) {
  if (c->outputs && !(figure_form(c->outputs) || figure_ends(c->outputs, ".tex") || figure_ends(c->outputs, ".html"))) {
    cli_error(c, "plot: needs -o FILE that ends in " FIGURE_FORMS ", .tex or .html");
    return 2;
  }
  if (c->err && strcmp(c->err, "ci95") && strcmp(c->err, "sd") && strcmp(c->err, "none")) {
    cli_error(c, "--err: needs ci95, sd or none, got \"%s\"", c->err);
    return 2;
  }
  if (c->log && strcmp(c->log, "x") && strcmp(c->log, "y") && strcmp(c->log, "xy")) {
    cli_error(c, "--log: needs x, y or xy, got \"%s\"", c->log);
    return 2;
  }
  return 0;
}

/* ---- on the terminal -------------------------------------------------------------------------- */

enum { SPARKS = 48 };

/* A line's course in one line of text: means of as many parts, between its least and its largest. */
static void put_sparks(const FigureSeries *s) {
  static const char *const bars[] = {"\u2581", "\u2582", "\u2583", "\u2584", "\u2585", "\u2586", "\u2587", "\u2588"};
  double mean[SPARKS], lo = INFINITY, hi = -INFINITY;
  int n = s->n < SPARKS ? s->n : SPARKS;
  for (int k = 0; k < n; k++) {
    int from = (int)((int64_t)k * s->n / n), to = (int)((int64_t)(k + 1) * s->n / n);
    mean[k] = 0;
    for (int i = from; i < to; i++) mean[k] += s->at[i].y / (to - from);
    if (isfinite(mean[k])) lo = fmin(lo, mean[k]), hi = fmax(hi, mean[k]);
  }
  for (int k = 0; k < n; k++) fputs(!isfinite(mean[k]) ? " " : bars[hi > lo ? (int)(7.999 * (mean[k] - lo) / (hi - lo)) : 0], stdout);
}

/* A line of a figure: its name, where it begins, its course, where it ends; of points each with its interval. */
static void put_series(const Figure *f, const FigureSeries *s, int width) {
  if (s->form == FIGURE_LINE && s->n) {
    printf("%-*s %s %10.5g ", width, s->name, f->y_label, s->at[0].y);
    put_sparks(s);
    printf(" %.5g", s->at[s->n - 1].y);
    if (isfinite(s->at[s->n - 1].low)) printf(" (%.5g to %.5g)", s->at[s->n - 1].low, s->at[s->n - 1].high);
    putchar('\n');
    return;
  }
  for (int i = 0; i < s->n; i++) {
    printf("%-*s %s %10.5g", width, s->at[i].name ? s->at[i].name : s->name, f->y_label, s->at[i].y);
    if (isfinite(s->at[i].low)) printf(" (%.5g to %.5g)", s->at[i].low, s->at[i].high);
    putchar('\n');
  }
}

static void put_terminal(const Figure *f) {
  size_t width = 0;
  for (int i = 0; i < f->n; i++) {
    width = strlen(f->series[i].name) > width && f->series[i].form == FIGURE_LINE ? strlen(f->series[i].name) : width;
    for (int k = 0; k < f->series[i].n; k++)
      if (f->series[i].at[k].name && strlen(f->series[i].at[k].name) > width) width = strlen(f->series[i].at[k].name);
  }
  for (int i = 0; i < f->n; i++) put_series(f, &f->series[i], (int)width);
}

static int draw(const Cli *c, Plot *p) {
  Figure f = {0};
  p->thin = c->outputs && !figure_ends(c->outputs, ".csv") && !figure_ends(c->outputs, ".json");
  int rc = p->curves ? plot_curves(p, p->x, p->y, &f) : plot_means(p, p->x, &f);
  f.log_x = c->log && strchr(c->log, 'x') && !f.n_ticks;
  f.log_y = c->log && strchr(c->log, 'y');
  if (!rc && c->outputs) rc = figure_write(c, &f, c->outputs);
  else if (!rc && !cli_doc(c)) put_terminal(&f);
  figure_free(&f);
  return rc;
}

int cmd_plot(const Cli *c) {
  Plot p = {0};
  int rc = check_options(c);
  if (!rc) rc = plot_open(&p, c);
  if (rc) {
    plot_close(&p);
    return rc;
  }
  if (!c->outputs) rc = draw(c, &p);
  else if (figure_ends(c->outputs, ".tex")) rc = figure_replace(c, c->outputs, plot_tex, &p);
  else if (figure_ends(c->outputs, ".html")) rc = figure_replace(c, c->outputs, plot_html, &p);
  else rc = draw(c, &p);
  plot_close(&p);
  return rc;
}

int cli_learning_curve(const Cli *c) {
  char path[4096];
  int n = snprintf(path, sizeof path, "%s/curve.svg", c->out);
  if (n < 0 || (size_t)n >= sizeof path) return 0;
  Plot p = {.c = c, .run = {c->out}, .n_runs = 1, .curves = true, .thin = true};
  PlotCurve any;
  bool there = plot_read_curve(c->out, "step", "loss", &any) && any.n;
  plot_curve_free(&any);
  if (!there) return any.no_memory ? cli_no_memory(c) : 0;
  Figure f = {0};
  int rc = plot_curves(&p, NULL, NULL, &f);
  if (!rc) rc = figure_write(c, &f, path);
  figure_free(&f);
  return rc;
}
