#include "cli/costs.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/page.h"

void costs_add(Costs *all, const char *name, const dhc_costs *costs) {
  if (all->n == all->room) {
    int room = all->room ? 2 * all->room : 16;
    struct CostsRow *more = realloc(all->at, sizeof *more * (size_t)room);
    if (!more) {
      all->no_memory = true;
      return;
    }
    all->at = more;
    all->room = room;
  }
  all->at[all->n] = (struct CostsRow){.name = strdup(name), .costs = *costs};
  if (!all->at[all->n].name) all->no_memory = true;
  else all->n++;
}

void costs_free(Costs *all) {
  for (int i = 0; i < all->n; i++) free(all->at[i].name);
  free(all->at);
  *all = (Costs){0};
}

/* The i-th column's value under a name; false: there is no such column. */
static bool column(const dhc_costs *costs, const char *name, double *value, dhc_cost_info *info) {
  for (int i = 0; dhc_costs_field(costs, i, info, value); i++)
    if (!strcmp(info->name, name)) return true;
  return false;
}

static int check_column(const Cli *c, const char *option, const char *name) {
  const char *names[64];
  dhc_cost_info info;
  int n = 0;
  if (!name || column(NULL, name, NULL, &info)) return 0;
  while (n < 64 && dhc_costs_field(NULL, n, &info, NULL)) names[n++] = info.name;
  const char *near = dhc_closest(name, names, n);
  cli_error(c, "--%s: no column '%s' of costs%s%s%s", option, name, near ? " (did you mean '" : "", near ? near : "", near ? "'?)" : "");
  return 2;
}

int costs_check(const Cli *c) {
  bool length = c->x && !strcmp(c->x, "length");
  if (!c->outputs && (c->x || c->y)) {
    cli_error(c, "--%s: needs -o FILE", c->x ? "x" : "y");
    return 2;
  }
  if (c->outputs && !figure_form(c->outputs) && !figure_ends(c->outputs, ".html")) {
    cli_error(c, "-o %s: needs a name that ends in " FIGURE_FORMS " or .html", c->outputs);
    return 2;
  }
  if (length && c->y) {
    cli_error(c, "--x length: draws bytes that a sequence keeps; leave --y out");
    return 2;
  }
  int rc = length ? 0 : check_column(c, "x", c->x);
  return rc ? rc : check_column(c, "y", c->y);
}

/* ---- figures ------------------------------------------------------------------------------- */

static double value_of(const dhc_costs *costs, const char *name) {
  dhc_cost_info info;
  double v;
  return column(costs, name, &v, &info) ? v : (double)NAN;
}

static void by_variant(const Costs *all, const char *const *names, int n_names, Figure *f) {
  for (int k = 0; k < n_names; k++) {
    FigureSeries *s = figure_series(f, names[k], n_names > 1 ? FIGURE_POINTS : FIGURE_BARS);
    for (int i = 0; i < all->n; i++)
      figure_point(f, s, (FigurePoint){.x = figure_tick(f, all->at[i].name), .y = value_of(&all->at[i].costs, names[k]), .low = NAN, .high = NAN, .name = all->at[i].name});
  }
}

static void by_column(const Costs *all, const char *x, const char *y, Figure *f) {
  FigureSeries *s = figure_series(f, "variants", FIGURE_POINTS);
  for (int i = 0; i < all->n; i++)
    figure_point(f, s, (FigurePoint){.x = value_of(&all->at[i].costs, x), .y = value_of(&all->at[i].costs, y), .low = NAN, .high = NAN, .name = all->at[i].name});
}

/* Bytes that a sequence keeps: states at every length, caches with every token. */
static void by_length(const Costs *all, Figure *f) {
  enum { FIRST = 16, LAST = 65536 };
  f->log_x = f->log_y = true;
  for (int i = 0; i < all->n; i++) {
    const dhc_costs *c = &all->at[i].costs;
    double states = isnan(c->state_bytes) ? 0 : c->state_bytes;
    if (!(states > 0) && !(c->cache_bytes_token > 0)) continue;
    FigureSeries *s = figure_series(f, all->at[i].name, FIGURE_LINE);
    for (int64_t length = FIRST; length <= LAST; length *= 2) {
      double caches = dhc_costs_cache_bytes(c, length);
      figure_point(f, s, (FigurePoint){.x = (double)length, .y = states + (isnan(caches) ? 0 : caches), .low = NAN, .high = NAN});
    }
  }
}

/* ---- the page --------------------------------------------------------------------------------- */

typedef struct Page {
  const Cli *c;
  const Costs *all;
} Page;

static int write_page(void *ctx, FILE *to) {
  static const struct {
    const char *title, *label, *names[2];
  } figures[] = {{"Parameters, and those that a token meets", "parameters", {"parameters", "active_parameters"}},
                 {"FLOPs of a forward pass and of a training step", "FLOPs", {"flops", "flops_train"}},
                 {"Peak of activations, forward and in training", "bytes", {"activation_bytes", "activation_train_bytes"}},
                 {"All memory that is planned", "bytes", {"planned_bytes", "planned_train_bytes"}},
                 {"Distinct kernels", "kernels", {"kernels", "kernels_train"}}};
  const Page *p = ctx;
  dhc_cost_info info;
  double v;
  int rc = 0;
  char title[300], text[48];
  snprintf(title, sizeof title, "What variants of %s cost", p->c->args[0]);
  page_begin(title, to);
  page_pair_begin(to);
  for (size_t i = 0; i < sizeof figures / sizeof *figures && !rc; i++) {
    Figure f = {.x_label = "variant", .y_label = figures[i].label};
    by_variant(p->all, figures[i].names, 2, &f);
    rc = page_figure(p->c, 0, &f, figures[i].title, to);
  }
  Figure f = {.x_label = "length", .y_label = "bytes of states and caches"};
  by_length(p->all, &f);
  if (f.n && !rc) rc = page_figure(p->c, 0, &f, "What a sequence keeps, by its length", to);
  else figure_free(&f);
  page_pair_end(to);
  const char *heads[64] = {"variant"};
  int n = 1;
  for (; n < 64 && dhc_costs_field(NULL, n - 1, &info, NULL); n++) heads[n] = info.name;
  page_table_begin(heads, n, to);
  for (int i = 0; i < p->all->n; i++) {
    page_row(p->all->at[i].name, to);
    for (int k = 0; dhc_costs_field(&p->all->at[i].costs, k, &info, &v); k++) page_cell_text(isnan(v) ? "" : cli_short_number(v, info.unit, text), to);
    page_row_end(to);
  }
  page_table_end(to);
  page_end(to);
  return rc;
}

int costs_write(const Cli *c, const Costs *all) {
  if (all->no_memory) return cli_no_memory(c);
  if (figure_ends(c->outputs, ".html")) return figure_replace(c, c->outputs, write_page, &(Page){c, all});
  bool length = c->x && !strcmp(c->x, "length");
  const char *y = c->y ? c->y : "flops";
  Figure f = {.x_label = c->x ? c->x : "variant", .y_label = length ? "bytes of states and caches" : y};
  if (length) by_length(all, &f);
  else if (c->x) by_column(all, c->x, y, &f);
  else by_variant(all, &y, 1, &f);
  int rc = 0;
  if (!f.n && !f.no_memory) cli_error(c, "--x length: nothing keeps states or caches"), rc = 1;
  if (!rc) rc = figure_write(c, &f, c->outputs);
  figure_free(&f);
  return rc;
}
