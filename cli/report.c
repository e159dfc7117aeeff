/* build --report and sweep --build: what it takes to deploy a model, measured on the object itself. */
#include "cli/report.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SECONDS_CALLED = 1 };

/* ---- a shared library in a folder that is gone afterwards --------------------------------------------------------- */

typedef struct Place {
  char folder[256], so[300];
} Place;

static int place_open(const Cli *c, Place *p) {
  const char *base = getenv("TMPDIR");
  snprintf(p->folder, sizeof p->folder, "%s/dhcc-XXXXXX", base && *base ? base : "/tmp");
  if (!mkdtemp(p->folder)) {
    cli_error(c, "%s: %s", p->folder, strerror(errno));
    return 3;
  }
  snprintf(p->so, sizeof p->so, "%s/m.so", p->folder);
  return 0;
}

static void place_close(Place *p) {
  unlink(p->so);
  rmdir(p->folder);
}

static double known(int64_t bytes) { return bytes < 0 ? (double)NAN : (double)bytes; }

/* ---- one model ----------------------------------------------------------------------------------------------------- */

static const char *ms_text(double ms, char text[48]) {
  if (!isfinite(ms)) return "-";
  snprintf(text, 48, "%.4f ms", ms);
  return text;
}

/* Instructions of a call; NaN: not known. */
static double instructions_of(int64_t n) { return n < 0 ? (double)NAN : (double)n; }

/* p50 and p99 of each entry on this machine, of another one instructions under its emulator; NaN for what calls of made-up inputs do not
 * take. */
static int latencies(const Cli *c, dhc_session *s, dhc_model *m, dhc_build_options o, cJSON *doc) {
  static const char *const forward[] = {"forward"};
  const char *const *entries = o.n_entries ? o.entries : forward;
  Place p;
  int64_t instructions[CLI_MAX_ENTRIES];
  dhc_build_result counted = {0};
  int n = o.n_entries ? o.n_entries : 1, rc = place_open(c, &p);
  if (rc) return rc;
  bool elsewhere = o.target && !o.c && !o.n_variants;
  const char *ends = strrchr(o.out, '.');
  bool source = ends && !strcmp(ends, ".c"), native = !o.target && !source && !o.multiversion && !o.n_variants;
  o.out = p.so;
  o.name = "m";
  o.header = o.weights_file = o.bounds = o.data = NULL;
  o.selftest = 0;
  if (elsewhere) {
    strcpy(strrchr(p.so, '.'), ".o"); /* which needs no linker */
    o.instructions = instructions;
  }
  if (native || elsewhere) rc = cli_done(c, s, dhc_model_build(m, &o, &counted));
  if (!rc && elsewhere && *counted.uncounted) cli_note(c, "%s: instructions are not counted: %s", o.target, counted.uncounted);
  cJSON *rows = doc ? cJSON_AddArrayToObject(doc, "latency") : NULL;
  for (int i = 0; i < n && !rc; i++) {
    Latency l = {NAN, NAN, NAN};
    char a[48], b[48];
    if (native) bench_latency(c, p.so, "m", entries[i], SECONDS_CALLED, &l);
    double of = elsewhere ? instructions_of(instructions[i]) : (double)NAN;
    if (!rows && elsewhere) {
      if (isfinite(of)) printf("%-10s %12.0f instructions\n", entries[i], of);
      else printf("%-10s %12s\n", entries[i], "-");
      continue;
    }
    if (!rows) {
      printf("%-10s p50 %s, p99 %s\n", entries[i], ms_text(l.p50, a), ms_text(l.p99, b));
      continue;
    }
    cJSON *row = cJSON_CreateObject();
    cJSON_AddStringToObject(row, "entry", entries[i]);
    report_number(row, "first_ms", l.first);
    report_number(row, "p50_ms", l.p50);
    report_number(row, "p99_ms", l.p99);
    report_number(row, "instructions", of);
    cli_add(rows, NULL, row);
  }
  place_close(&p);
  return rc;
}

static int accuracy(const Cli *c, dhc_session *s, dhc_model *m, const dhc_build_result *r, cJSON *doc) {
  dhc_eval_options o = {.data = c->data, .split = c->split, .weights = c->weights, .batch = c->batch, .limit = c->limit};
  dhc_eval_result e = r->after; /* of quantised weights it has been measured */
  int rc = e.n_examples ? 0 : cli_done(c, s, dhc_evaluate(m, &o, &e));
  double kilobytes = (known(r->code_bytes) + (double)r->weights_bytes) / 1024;
  if (rc) return rc;
  if (doc) {
    report_number(doc, "accuracy", e.accuracy);
    report_number(doc, "loss", e.loss);
    report_number(doc, "accuracy_per_kilobyte", e.accuracy / kilobytes);
  } else if (!isfinite(kilobytes)) {
    printf("%-10s %.4f; loss %.5f\n", "accuracy", e.accuracy, e.loss);
  } else {
    printf("%-10s %.4f, %.3g per kilobyte of code and weights; loss %.5f\n", "accuracy", e.accuracy, e.accuracy / kilobytes, e.loss);
  }
  return 0;
}

int report_build(const Cli *c, dhc_session *s, dhc_model *m, const dhc_build_options *o, const dhc_build_result *r) {
  cJSON *doc = cli_doc(c) ? cJSON_AddObjectToObject(cli_doc(c), "report") : NULL;
  const char *const what[] = {"code", "weights", "workspace", "state", "stack"};
  const double of[] = {known(r->code_bytes), known(r->weights_bytes), known(r->workspace_bytes), known(r->state_bytes), known(r->stack_bytes ? r->stack_bytes : -1)};
  char text[48];
  for (int i = 0; i < 5; i++) {
    snprintf(text, sizeof text, "%s_bytes", what[i]);
    if (doc) report_number(doc, text, of[i]);
    else if (isfinite(of[i])) printf("%-10s %12.0f bytes\n", what[i], of[i]);
    else printf("%-10s %12s\n", what[i], "-");
  }
  int rc = latencies(c, s, m, *o, doc);
  if (!rc && c->data) rc = accuracy(c, s, m, r, doc);
  return rc;
}

/* ---- variants ---------------------------------------------------------------------------------------------------------- */

typedef struct Table {
  const Cli *c;
  Place *place;
  const char *entry;
  cJSON *rows, *merged;
  int64_t instructions[CLI_MAX_ENTRIES]; /* of the variant at hand, by entry */
  int n;
} Table;

/* What was measured of a variant. */
typedef struct Measured {
  Latency time;
  double instructions, per_kilobyte;
} Measured;

static Measured measure(const Table *t, const dhc_sweep_object_row *r) {
  Measured m = {{NAN, NAN, NAN}, NAN, NAN};
  if (r->same_as) return m;
  if (t->c->target) m.instructions = instructions_of(t->instructions[0]);
  else bench_latency(t->c, t->place->so, "m", t->entry, SECONDS_CALLED, &m.time);
  if (r->eval) m.per_kilobyte = r->eval->accuracy / ((double)(r->built->code_bytes + r->built->weights_bytes) / 1024);
  return m;
}

static void row_json(const Table *t, const dhc_sweep_object_row *r, const Measured *m) {
  cJSON *row = cli_sweep_row(t->rows, t->merged, r->name, r->hash, r->same_as);
  if (!row) return;
  cJSON_AddStringToObject(row, "mixers", r->mixers);
  cJSON_AddStringToObject(row, "order", r->order);
  report_number(row, "code_bytes", known(r->built->code_bytes));
  report_number(row, "weights_bytes", known(r->built->weights_bytes));
  report_number(row, "workspace_bytes", known(r->built->workspace_bytes));
  report_number(row, "state_bytes", known(r->built->state_bytes));
  report_number(row, "stack_bytes", known(r->built->stack_bytes));
  cJSON_AddNumberToObject(row, "kernels", r->built->n_kernels);
  report_number(row, "p50_ms", m->time.p50);
  report_number(row, "p99_ms", m->time.p99);
  report_number(row, "instructions", m->instructions);
  report_number(row, "accuracy", r->eval ? r->eval->accuracy : (double)NAN);
  report_number(row, "loss", r->eval ? r->eval->loss : (double)NAN);
  report_number(row, "accuracy_per_kilobyte", m->per_kilobyte);
}

static const char *number_text(double v, const char *form, char text[48]) {
  if (!isfinite(v)) return "-";
  snprintf(text, 48, form, v);
  return text;
}

static void row_line(const Table *t, const dhc_sweep_object_row *r, const Measured *m) {
  char a[48], b[48], accuracy[48], per[48], work[32] = "-";
  bool elsewhere = t->c->target != NULL;
  if (!t->n) {
    printf("%-16s  %-10s %10s %12s %12s %8s %8s", "hash", "mixers", "code", "weights", "workspace", "stack", "kernels");
    if (elsewhere) printf(" %13s", "instructions");
    else printf(" %13s %13s", "p50", "p99");
    printf(t->c->data ? " %9s %11s  variant\n" : "  variant\n", "accuracy", "a kilobyte");
  }
  if (r->same_as) {
    printf("%-16s  equal to %s: %s\n", r->hash, r->same_as, r->name);
    return;
  }
  if (r->built->workspace_bytes >= 0) snprintf(work, sizeof work, "%lld", (long long)r->built->workspace_bytes);
  printf("%-16s  %-10s %10lld %12lld %12s %8lld %8d", r->hash, *r->mixers ? r->mixers : "-", (long long)r->built->code_bytes,
         (long long)r->built->weights_bytes, work, (long long)r->built->stack_bytes, r->built->n_kernels);
  if (elsewhere) printf(" %13s", number_text(m->instructions, "%.0f", a));
  else printf(" %13s %13s", ms_text(m->time.p50, a), ms_text(m->time.p99, b));
  if (r->eval) printf(" %9s %11s", number_text(r->eval->accuracy, "%.4f", accuracy), number_text(m->per_kilobyte, "%.3g", per));
  printf("  %s\n", r->name);
  fflush(stdout);
}

static bool show(void *ctx, const dhc_sweep_object_row *r) {
  Table *t = ctx;
  Measured m = measure(t, r);
  if (!t->n && t->c->target && *r->built->uncounted) cli_note(t->c, "%s: instructions are not counted: %s", t->c->target, r->built->uncounted);
  if (t->rows) row_json(t, r, &m);
  else row_line(t, r, &m);
  t->n++;
  return true;
}

int report_sweep(const Cli *c, dhc_session *s, dhc_sweep *sweep) {
  Place p;
  Table t = {.c = c, .place = &p, .entry = c->n_entries ? c->entries[0] : "forward"};
  if (cli_doc(c)) {
    t.rows = cJSON_AddArrayToObject(cli_doc(c), "variants");
    t.merged = cJSON_AddArrayToObject(cli_doc(c), "merged");
  }
  int rc = place_open(c, &p);
  if (rc) return rc;
  if (c->target) strcpy(strrchr(p.so, '.'), ".o"); /* which needs no linker */
  const dhc_build_options o = {.name = "m", .entries = c->entries, .n_entries = c->n_entries, .target = c->target, .cpu = c->cpu, .bind = c->sizes, .out = p.so,
                               .data = c->data, .batch = c->batch, .limit = c->limit, .instructions = c->target ? t.instructions : NULL};
  rc = cli_done(c, s, dhc_sweep_objects(sweep, &o, show, &t));
  place_close(&p);
  return rc;
}
