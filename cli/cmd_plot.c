/* plot: figures, tables and pages of sweeps and of runs. */
#include <string.h>

#include "cli/plot.h"

static int check_options(const Cli *c) {
  if (!c->outputs || !(figure_form(c->outputs) || figure_ends(c->outputs, ".tex") || figure_ends(c->outputs, ".html"))) {
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

static int draw(const Cli *c, Plot *p) {
  Figure f = {0};
  p->thin = !figure_ends(c->outputs, ".csv") && !figure_ends(c->outputs, ".json");
  int rc = p->curves ? plot_curves(p, p->x, p->y, &f) : plot_means(p, p->x, &f);
  f.log_x = c->log && strchr(c->log, 'x') && !f.n_ticks;
  f.log_y = c->log && strchr(c->log, 'y');
  if (!rc) rc = figure_write(c, &f, c->outputs);
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
  if (figure_ends(c->outputs, ".tex")) rc = figure_replace(c, c->outputs, plot_tex, &p);
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
