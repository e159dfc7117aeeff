/* Tables as LaTeX, and one page with figures, tables and commands. Numbers are those of sweep.json and results.csv. */
#include <cjson/cJSON.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/page.h"
#include "cli/plot.h"

/* ---- columns ------------------------------------------------------------------------------- */

/* Of the table of sizes and times: means over the finished runs of a variant. */
static const struct {
  const char *column, *head, *unit;
} sizes[] = {{"parameters", "parameters", ""},   {"active_parameters", "active", ""},        {"flops", "FLOPs", ""},
             {"latency_ms", "forward ms", "ms"}, {"samples_s", "training examples/s", "ms"}, {"seconds", "run s", "ms"},
             {"peak_bytes", "memory", "bytes"}};
enum { N_SIZES = sizeof sizes / sizeof *sizes };

static double size_of(const cJSON *doc, const cJSON *variant, const char *column) {
  double v = plot_number(variant, column);
  return isnan(v) ? plot_mean(doc, plot_text(variant, "hash"), column) : v;
}

/* Of the table of runs: what the last rows of their metrics say. */
static const char *const run_columns[] = {"step", "epoch", "loss", "accuracy", "val_loss", "val_accuracy"};
enum { N_RUN_COLUMNS = sizeof run_columns / sizeof *run_columns };

/* ---- LaTeX ------------------------------------------------------------------------------------ */

static void tex_text(const char *text, FILE *to) {
  for (; *text; text++) {
    if (strchr("_&%#${}", *text)) fprintf(to, "\\%c", *text);
    else if (*text == '\\') fputs("\\textbackslash{}", to);
    else if (*text == '~' || *text == '^') fprintf(to, "\\%c{}", *text);
    else fputc(*text, to);
  }
}

static void cell(FILE *to, const char *before, const char *format, double v, const char *after) {
  fputs(before, to);
  if (isfinite(v)) fprintf(to, format, v);
  fputs(after, to);
}

static void tex_sweep(const cJSON *doc, FILE *to) {
  fputs("% ", to);
  for (const char *c = plot_text(doc, "command"); *c; c++) fputc(*c == '\n' ? ' ' : *c, to);
  fputs("\n\\begin{tabular}{llrrrrr}\n\\hline\nvariant & mixers & parameters & $n$ & ", to);
  tex_text(plot_text(doc, "metric"), to);
  fputs(" & difference & $p$ (Holm) \\\\\n\\hline\n", to);
  const cJSON *row, *variant = cJSON_GetObjectItem(doc, "variants")->child;
  cJSON_ArrayForEach(row, cJSON_GetObjectItem(doc, "summary")) {
    double mean = plot_number(row, "mean"), low = plot_number(row, "ci95_low");
    tex_text(plot_text(row, "name"), to);
    fputs(" & ", to);
    tex_text(plot_text(variant, "mixers"), to);
    fprintf(to, " & %.0f & %.0f & ", plot_number(variant, "parameters"), plot_number(row, "n"));
    cell(to, "", "%.4g", mean, "");
    if (isfinite(low)) fprintf(to, " $\\pm$ %.2g", mean - low);
    cell(to, " & ", "%+.4g", plot_number(row, "difference"), "");
    cell(to, " & ", "%.3g", plot_number(row, "p_holm"), " \\\\\n");
    variant = variant->next;
  }
  fputs("\\hline\n\\end{tabular}\n", to);
}

int plot_tex(void *plot, FILE *to) {
  const Plot *p = plot;
  for (int i = 0; i < p->n_sweeps; i++) tex_sweep(p->sweep[i].doc, to);
  if (!p->n_runs) return 0;
  fputs("\\begin{tabular}{lrrrrrr}\n\\hline\nrun", to);
  for (int k = 0; k < N_RUN_COLUMNS; k++) fputs(" & ", to), tex_text(run_columns[k], to);
  fputs(" \\\\\n\\hline\n", to);
  for (int i = 0; i < p->n_runs; i++) {
    double last[N_RUN_COLUMNS];
    plot_read_last(p->run[i], run_columns, N_RUN_COLUMNS, last);
    tex_text(p->run[i], to);
    for (int k = 0; k < N_RUN_COLUMNS; k++) cell(to, " & ", "%.6g", last[k], "");
    fputs(" \\\\\n", to);
  }
  fputs("\\hline\n\\end{tabular}\n", to);
  return cli_doc_is_missing() ? cli_no_memory(p->c) : 0;
}

/* ---- tables of the page ---------------------------------------------------------------------------- */

static void html_summary(const cJSON *doc, FILE *to) {
  const char *const heads[] = {"variant", "hash", "mixers", "parameters", "n", plot_text(doc, "metric"), "95 %", "difference", "p (Holm)"};
  const cJSON *row, *variant = cJSON_GetObjectItem(doc, "variants")->child;
  page_table_begin(heads, 9, to);
  cJSON_ArrayForEach(row, cJSON_GetObjectItem(doc, "summary")) {
    double low = plot_number(row, "ci95_low");
    page_row(plot_text(row, "name"), to);
    fprintf(to, "<td><code>%s</code>", plot_text(row, "hash"));
    page_cell_text(plot_text(variant, "mixers"), to);
    page_cell("%.0f", plot_number(variant, "parameters"), to);
    page_cell("%.0f", plot_number(row, "n"), to);
    page_cell("%.6g", plot_number(row, "mean"), to);
    page_cell("%.6g", low, to);
    if (isfinite(low)) fprintf(to, " &hellip; %.6g", plot_number(row, "ci95_high"));
    page_cell("%+.6g", plot_number(row, "difference"), to);
    page_cell("%.3g", plot_number(row, "p_holm"), to);
    page_row_end(to);
    variant = variant->next;
  }
  page_table_end(to);
  cJSON_ArrayForEach(row, cJSON_GetObjectItem(doc, "merged")) {
    fputs("<p>", to);
    figure_svg_text(plot_text(row, "name"), to);
    fputs(" is equal to ", to);
    figure_svg_text(plot_text(row, "same_as"), to);
    fputs(".</p>\n", to);
  }
  if (!*plot_text(doc, "baseline")) return;
  fputs("<p>Differences from ", to);
  figure_svg_text(plot_text(doc, "baseline"), to);
  fputs(": paired t-test over seeds, p adjusted for the number of comparisons.</p>\n", to);
}

static void html_sizes(const cJSON *doc, FILE *to) {
  const char *heads[N_SIZES + 3] = {"variant", "pattern", "length"};
  const cJSON *variant;
  char text[48];
  for (int k = 0; k < N_SIZES; k++) heads[k + 3] = sizes[k].head;
  fputs("<h3>Sizes and times</h3>\n", to);
  page_table_begin(heads, N_SIZES + 3, to);
  cJSON_ArrayForEach(variant, cJSON_GetObjectItem(doc, "variants")) {
    double length = plot_number(variant, "sequence_length");
    page_row(plot_text(variant, "name"), to);
    page_cell_text(plot_text(variant, "order"), to);
    page_cell("%.0f", length >= 0 ? length : (double)NAN, to);
    for (int k = 0; k < N_SIZES; k++) {
      double v = size_of(doc, variant, sizes[k].column);
      if (!strcmp(sizes[k].unit, "ms")) page_cell("%.4g", v, to);
      else page_cell_text(isfinite(v) ? cli_short_number(v, sizes[k].unit, text) : "", to);
    }
    page_row_end(to);
  }
  page_table_end(to);
  fputs("<p>Means over the seeds. Forward: an example of the fastest validation, in batches; memory: of a training step.</p>\n", to);
}

static void html_runs(const Plot *p, FILE *to) {
  const char *heads[N_RUN_COLUMNS + 1] = {"run"};
  for (int k = 0; k < N_RUN_COLUMNS; k++) heads[k + 1] = run_columns[k];
  page_heading("Runs", to);
  page_table_begin(heads, N_RUN_COLUMNS + 1, to);
  for (int i = 0; i < p->n_runs; i++) {
    double last[N_RUN_COLUMNS];
    plot_read_last(p->run[i], run_columns, N_RUN_COLUMNS, last);
    page_row(p->run[i], to);
    for (int k = 0; k < N_RUN_COLUMNS; k++) page_cell("%.9g", last[k], to);
    page_row_end(to);
  }
  page_table_end(to);
  for (int i = 0; i < p->n_runs; i++) {
    cJSON *config = cli_json_file(p->run[i], "config.json");
    if (config) page_command(plot_text(config, "command"), to);
    cJSON_Delete(config);
  }
}

/* ---- figures of the page ------------------------------------------------------------------------------ */

/* Whether variants differ in it, and have it at all. */
static bool varies(const Plot *p, const char *x) {
  double lo = INFINITY, hi = -INFINITY;
  for (int i = 0; i < p->n_sweeps; i++) {
    const cJSON *variant;
    double here = -INFINITY;
    cJSON_ArrayForEach(variant, cJSON_GetObjectItem(p->sweep[i].doc, "variants")) {
      double v = plot_x_of(p->sweep[i].doc, variant, x);
      here = fmax(here, v), lo = fmin(lo, v), hi = fmax(hi, v);
    }
    if (isinf(here)) return false;
  }
  return hi > lo;
}

/* The page's plot about another column of results.csv; false: not all sweeps have it. */
static int about(const Plot *p, const char *metric, Plot *out, bool *there) {
  *out = (Plot){.c = p->c, .y = metric, .thin = true};
  *there = true;
  for (int i = 0; i < p->n_sweeps; i++) {
    char *text = NULL;
    dhc_status st = dhc_sweep_json(p->sweep[i].folder, metric, &text);
    if (st.code != DHC_OK) return cli_fail(p->c, st);
    PlotSweep *s = &out->sweep[out->n_sweeps++];
    *s = (PlotSweep){.folder = p->sweep[i].folder, .doc = cJSON_Parse(text)};
    free(text);
    if (!s->doc) return cli_no_memory(p->c);
    bool any = false;
    const cJSON *row;
    cJSON_ArrayForEach(row, cJSON_GetObjectItem(s->doc, "summary")) any = any || !isnan(plot_number(row, "mean"));
    *there = *there && any;
  }
  return 0;
}

static int put_ratio(const Plot *p, const char *letter, FILE *to) {
  static const char *const metrics[] = {"val_accuracy", "val_loss", "loss"};
  int rc = 0;
  char title[200];
  if (!*letter || !varies(p, letter)) return 0;
  snprintf(title, sizeof title, "Against the share of %s among the mixers", letter);
  page_heading(title, to);
  page_pair_begin(to);
  for (size_t i = 0; i < sizeof metrics / sizeof *metrics && !rc; i++) {
    Plot q;
    Figure f = {0};
    bool there;
    rc = about(p, metrics[i], &q, &there);
    snprintf(title, sizeof title, "%s against the share of %s", metrics[i], letter);
    if (!rc && there) rc = page_figure(p->c, plot_means(&q, letter, &f), &f, title, to);
    plot_close(&q);
  }
  page_pair_end(to);
  return rc;
}

static int put_paretos(const Plot *p, FILE *to) {
  static const char *const xs[][2] = {{"parameters", "parameters"}, {"flops", "FLOPs forward, an example"},
                                      {"latency_ms", "ms forward, an example"}, {"peak_bytes", "bytes in training"}};
  int rc = 0;
  char title[200];
  bool any = false;
  for (int i = 0; i < 4 && !rc; i++) {
    Figure f = {0};
    if (!varies(p, xs[i][0])) continue;
    if (!any) page_heading("Against size and cost", to), page_pair_begin(to);
    any = true;
    rc = plot_pareto(p, xs[i][0], &f);
    f.x_label = xs[i][1];
    snprintf(title, sizeof title, "%s against %s", p->y, xs[i][1]);
    rc = page_figure(p->c, rc, &f, title, to);
  }
  if (any) page_pair_end(to);
  return rc;
}

/* Of columns that the runs have. */
static int put_curves(const Plot *p, FILE *to) {
  static const char *const columns[] = {"loss", "val_loss", "val_accuracy"};
  enum { N_COLUMNS = sizeof columns / sizeof *columns };
  double last[PLOT_MAX_FOLDERS][N_COLUMNS];
  Plot q = *p;
  int rc = 0;
  bool any = false;
  char title[64];
  q.thin = true;
  for (int k = 0; k < p->n_runs; k++) plot_read_last(p->run[k], columns, N_COLUMNS, last[k]);
  for (int i = 0; i < N_COLUMNS && !rc; i++) {
    Figure f = {0};
    bool there = false;
    for (int k = 0; k < p->n_runs; k++) there = there || !isnan(last[k][i]);
    for (int k = 0; k < p->n_sweeps; k++) {
      const cJSON *variant;
      cJSON_ArrayForEach(variant, cJSON_GetObjectItem(p->sweep[k].doc, "variants"))
          there = there || !isnan(plot_mean(p->sweep[k].doc, plot_text(variant, "hash"), columns[i]));
    }
    if (!there) continue;
    if (!any) page_heading("Learning curves", to), page_pair_begin(to);
    any = true;
    snprintf(title, sizeof title, "%s by step%s", columns[i], p->n_sweeps ? ", means over the seeds" : "");
    rc = page_figure(p->c, plot_curves(&q, "step", columns[i], &f), &f, title, to);
  }
  if (any) page_pair_end(to);
  return rc;
}

int plot_html(void *plot, FILE *to) {
  const Plot *p = plot;
  Figure f = {0};
  char title[200], letter[8];
  int rc = 0;
  if (p->curves) snprintf(title, sizeof title, "%s", p->n_sweeps ? "Learning curves" : p->n_runs == 1 ? "A run" : "Runs");
  else snprintf(title, sizeof title, "%s against %s", p->y, p->x ? p->x : "variant");
  page_begin(title, to);
  if (!p->curves) {
    fputs("<p>Means over seeds with 95 % intervals by Student's t.</p>\n", to);
    rc = page_figure(p->c, plot_means(p, p->x, &f), &f, title, to);
  }
  for (int i = 0; i < p->n_sweeps; i++) {
    page_heading(p->sweep[i].folder, to);
    html_summary(p->sweep[i].doc, to);
    html_sizes(p->sweep[i].doc, to);
    page_command(plot_text(p->sweep[i].doc, "command"), to);
  }
  if (!rc && p->n_sweeps && !p->curves) rc = put_ratio(p, plot_ratio_letter(p->sweep[0].doc, letter), to);
  if (!rc && p->n_sweeps && !p->curves) rc = put_paretos(p, to);
  if (!rc) rc = put_curves(p, to);
  if (p->n_runs) html_runs(p, to);
  page_end(to);
  return !rc && cli_doc_is_missing() ? cli_no_memory(p->c) : rc;
}
