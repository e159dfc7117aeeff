/* profile, and bench of a model: where the time of an entry goes, on generated inputs, and how long a run takes. */
#include <cjson/cJSON.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/figure.h"
#include "cli/page.h"

/* Kernels, or layers, of a run of the entry. */
typedef struct Table {
  CliProfile of;
  double ms; /* of all */
} Table;

/* t is empty, and the caller's to free, whatever comes out. */
static int make_table(const Cli *c, const dhc_profile *p, bool layers, Table *t) {
  for (int i = 0; i < p->n_rows; i++) {
    const dhc_profile_row *r = &p->rows[i];
    if (layers) cli_profile_add_to(&t->of, *r->label ? r->label : "(no layer)", "", r);
    else cli_profile_add(&t->of, r);
  }
  if (t->of.no_memory) return cli_no_memory(c);
  t->ms = cli_profile_order(&t->of, (double)p->n_runs);
  return 0;
}

/* Milliseconds that the roof allows, of the time it took: of the slower of operations and bytes. NaN: no roof is known. */
static double of_roof(const void *profile, const CliProfileLine *l) {
  const dhc_profile *p = profile;
  if (!(p->peak_gflop_per_s > 0) || !(l->ms > 0)) return (double)NAN;
  return fmax(l->flops / p->peak_gflop_per_s, l->bytes / p->peak_gb_per_s) * 1e-6 / l->ms;
}

static double share(const Table *t, const CliProfileLine *l) { return t->ms > 0 ? 100 * l->ms / t->ms : 0; }

/* ---- as text ------------------------------------------------------------------------------------ */

static double at(const dhc_profile *p, double part) { return p->run_ms[(int)(part * (p->n_runs - 1) + 0.5)]; }

static void print_runs(const dhc_profile *p) {
  printf("a run: median %.4f ms, half of them %.4f to %.4f, all %.4f to %.4f (%d runs behind 3 to warm up)\n", at(p, 0.5), at(p, 0.25), at(p, 0.75),
         at(p, 0), at(p, 1), p->n_runs);
  char text[48];
  printf("workspace: %s\n", cli_short_number((double)p->work_bytes, "B", text));
}

static void print_roof(const dhc_profile *p) {
  if (p->peak_gflop_per_s > 0) printf("the roof: %.1f GFLOP/s, %.1f GB/s\n", p->peak_gflop_per_s, p->peak_gb_per_s);
}

/* ---- as documents ----------------------------------------------------------------------------------- */

static void json_table(cJSON *doc, const char *name, const dhc_profile *p, const Table *t) {
  cJSON *list = cJSON_AddArrayToObject(doc, name);
  for (int i = 0; i < t->of.n; i++) {
    const CliProfileLine *l = &t->of.lines[i];
    double roof = of_roof(p, l);
    cJSON *row = cJSON_CreateObject();
    cJSON_AddStringToObject(row, "name", l->name);
    if (*l->label) cJSON_AddStringToObject(row, "label", l->label);
    cJSON_AddNumberToObject(row, "calls", l->runs);
    cJSON_AddNumberToObject(row, "ms", l->ms);
    cJSON_AddNumberToObject(row, "flops", l->flops);
    cJSON_AddNumberToObject(row, "bytes", l->bytes);
    if (isfinite(roof)) cJSON_AddNumberToObject(row, "of_roof", roof);
    cli_add(list, NULL, row);
  }
}

/* What a file is written from. */
typedef struct Page {
  const Cli *c;
  const dhc_profile *p;
  const Table *kernels, *layers;
} Page;

static void json_runs(cJSON *doc, const dhc_profile *p) {
  cJSON_AddNumberToObject(doc, "runs", p->n_runs);
  cJSON_AddNumberToObject(doc, "median_ms", at(p, 0.5));
  cJSON_AddNumberToObject(doc, "p25_ms", at(p, 0.25));
  cJSON_AddNumberToObject(doc, "p75_ms", at(p, 0.75));
  cJSON_AddNumberToObject(doc, "min_ms", at(p, 0));
  cJSON_AddNumberToObject(doc, "max_ms", at(p, 1));
  cJSON_AddNumberToObject(doc, "work_bytes", (double)p->work_bytes);
}

/* What ui.perfetto.dev and chrome://tracing open: kernels in one row, their layers above them. */
static int write_trace(void *ctx, FILE *to) {
  const Page *page = ctx;
  const dhc_profile *p = page->p;
  cJSON *doc = cJSON_CreateObject(), *list = cJSON_AddArrayToObject(doc, "traceEvents");
  for (int i = 0; i < p->n_events; i++) {
    const dhc_profile_event *e = &p->events[i];
    const dhc_profile_row *r = &p->rows[e->row];
    cJSON *x = cJSON_CreateObject(), *args = cJSON_AddObjectToObject(x, "args");
    cJSON_AddStringToObject(x, "name", r->kernel);
    cJSON_AddStringToObject(x, "cat", *r->label ? r->label : "-");
    cJSON_AddStringToObject(x, "ph", "X");
    cJSON_AddNumberToObject(x, "ts", e->begin_us);
    cJSON_AddNumberToObject(x, "dur", e->end_us - e->begin_us);
    cJSON_AddNumberToObject(x, "pid", 1);
    cJSON_AddNumberToObject(x, "tid", 1);
    cJSON_AddStringToObject(args, "layer", r->label);
    cJSON_AddNumberToObject(args, "flops", r->flops);
    cJSON_AddNumberToObject(args, "bytes", r->bytes);
    cli_add(list, NULL, x);
  }
  cJSON_AddStringToObject(doc, "displayTimeUnit", "ms");
  char *text = cJSON_PrintUnformatted(doc);
  if (text) fputs(text, to);
  else cli_doc_missing();
  cJSON_free(text);
  cJSON_Delete(doc);
  return cli_doc_is_missing() ? cli_no_memory(page->c) : 0;
}

static void page_of(const dhc_profile *p, const Table *t, const char *title, FILE *to) {
  static const char *const heads[] = {"", "ms", "share, %", "calls", "MB", "GB/s", "GFLOP/s", "of roof, %", "first in"};
  page_heading(title, to);
  page_table_begin(heads, 9, to);
  for (int i = 0; i < t->of.n; i++) {
    const CliProfileLine *l = &t->of.lines[i];
    page_row(l->name, to);
    page_cell("%.4f", l->ms, to);
    page_cell("%.1f", share(t, l), to);
    page_cell("%.0f", l->runs, to);
    page_cell("%.3f", l->bytes * 1e-6, to);
    page_cell("%.1f", cli_profile_rate(l->bytes, l->ms), to);
    page_cell("%.1f", cli_profile_rate(l->flops, l->ms), to);
    page_cell("%.0f", 100 * of_roof(p, l), to);
    page_cell_text(l->label, to);
    page_row_end(to);
  }
  page_table_end(to);
}

static int write_page(void *ctx, FILE *to) {
  const Page *page = ctx;
  const dhc_profile *p = page->p;
  char line[200], *command = cli_command_line(page->c);
  page_begin(page->c->args[0], to);
  snprintf(line, sizeof line, "a run: median %.4f ms, half of them %.4f to %.4f; the roof: %.1f GFLOP/s, %.1f GB/s", at(p, 0.5), at(p, 0.25), at(p, 0.75),
           p->peak_gflop_per_s, p->peak_gb_per_s);
  page_command(line, to);
  page_of(p, page->layers, "Layers", to);
  page_of(p, page->kernels, "Kernels", to);
  if (command) page_command(command, to);
  free(command);
  page_end(to);
  return 0;
}

/* ---- commands ------------------------------------------------------------------------------------------ */

static int take(const Cli *c, bool rows, int (*with)(const Cli *c, const dhc_profile *p)) {
  dhc_session *s = NULL;
  dhc_model *m = NULL;
  dhc_profile p;
  const dhc_profile_options o = {.entry = c->entry, .grad = c->grad, .sizes = c->sizes, .repeat = (int)c->repeat, .rows = rows};
  int rc = cli_open(c, &s, &m);
  if (!rc) rc = cli_done(c, s, dhc_model_profile(m, &o, &p));
  if (!rc) rc = with(c, &p);
  cli_close(c, s, m);
  return rc;
}

static int show(const Cli *c, const dhc_profile *p) {
  Table kernels = {0}, layers = {0};
  int rc = make_table(c, p, false, &kernels);
  if (!rc) rc = make_table(c, p, true, &layers);
  Page page = {c, p, &kernels, &layers};
  if (!rc && c->outputs) rc = figure_replace(c, c->outputs, figure_ends(c->outputs, ".html") ? write_page : write_trace, &page);
  if (!rc && cli_doc(c)) {
    json_runs(cli_doc(c), p);
    cJSON_AddNumberToObject(cli_doc(c), "peak_gflop_per_s", p->peak_gflop_per_s);
    cJSON_AddNumberToObject(cli_doc(c), "peak_gb_per_s", p->peak_gb_per_s);
    json_table(cli_doc(c), "kernels", p, &kernels);
    json_table(cli_doc(c), "layers", p, &layers);
  } else if (!rc && !c->outputs) {
    cli_profile_lines(&kernels.of, kernels.ms, "kernel, first in", of_roof, p);
    printf("\n");
    cli_profile_lines(&layers.of, layers.ms, "layer", of_roof, p);
    printf("\n");
    print_runs(p);
    print_roof(p);
  }
  free(kernels.of.lines);
  free(layers.of.lines);
  return rc;
}

int cmd_profile(const Cli *c) {
  if (c->outputs && !figure_ends(c->outputs, ".json") && !figure_ends(c->outputs, ".html")) {
    cli_error(c, "-o %s: profile writes .json, a trace for ui.perfetto.dev, or .html, a page", c->outputs);
    return 2;
  }
  return take(c, true, show);
}

static int show_runs(const Cli *c, const dhc_profile *p) {
  if (cli_doc(c)) json_runs(cli_doc(c), p);
  else print_runs(p);
  return 0;
}

int cli_bench_model(const Cli *c) { return take(c, false, show_runs); }
