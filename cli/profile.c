/* What a profile says: one row a kernel, dearest first. */
#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"

enum { ROOM = 64 }; /* rows by which the table grows */

void cli_profile_add(CliProfile *p, const dhc_profile_row *row) {
  if (!row->runs || p->no_memory) return;
  double runs = (double)row->runs;
  for (int i = 0; i < p->n; i++) {
    dhc_profile_row *sum = &p->rows[i];
    if (strcmp(sum->kernel, row->kernel) != 0) continue;
    sum->runs += row->runs;
    sum->ms += row->ms;
    sum->flops += row->flops * runs;
    sum->bytes += row->bytes * runs;
    return;
  }
  if (p->n % ROOM == 0) {
    dhc_profile_row *rows = realloc(p->rows, sizeof *rows * (size_t)(p->n + ROOM));
    p->no_memory = !rows;
    if (!rows) return;
    p->rows = rows;
  }
  p->rows[p->n] = *row;
  p->rows[p->n].flops *= runs;
  p->rows[p->n++].bytes *= runs;
}

static int dearest_first(const void *a, const void *b) {
  const dhc_profile_row *x = a, *y = b;
  if (x->ms != y->ms) return x->ms < y->ms ? 1 : -1;
  return strcmp(x->kernel, y->kernel);
}

/* Per second, in 10^9; 0 where no time was measured. */
static double rate(double amount, double ms) { return ms > 0 ? amount / ms * 1e-6 : 0; }

static void print_json(const Cli *c, const CliProfile *p, int64_t times, double all) {
  cJSON *list = cJSON_AddArrayToObject(cli_doc(c), "profile");
  for (int i = 0; i < p->n; i++) {
    const dhc_profile_row *r = &p->rows[i];
    cJSON *row = cJSON_CreateObject();
    cJSON_AddStringToObject(row, "kernel", r->kernel);
    cJSON_AddStringToObject(row, "label", r->label);
    cJSON_AddNumberToObject(row, "calls", (double)r->runs / (double)times);
    cJSON_AddNumberToObject(row, "ms", r->ms / (double)times);
    cJSON_AddNumberToObject(row, "share", all > 0 ? r->ms / all : 0);
    cJSON_AddNumberToObject(row, "bytes", r->bytes / (double)times);
    cJSON_AddNumberToObject(row, "flops", r->flops / (double)times);
    cJSON_AddNumberToObject(row, "gb_per_s", rate(r->bytes, r->ms));
    cJSON_AddNumberToObject(row, "gflop_per_s", rate(r->flops, r->ms));
    cli_add(list, NULL, row);
  }
}

static void print_table(const CliProfile *p, int64_t times, double all) {
  printf("%10s %6s %6s %10s %10s %10s  %s\n", "ms", "share", "calls", "MB", "GB/s", "GFLOP/s", "kernel, first in");
  for (int i = 0; i < p->n; i++) {
    const dhc_profile_row *r = &p->rows[i];
    printf("%10.4f %5.1f%% %6.0f %10.3f %10.1f %10.1f  %s%s%s\n", r->ms / (double)times, all > 0 ? 100 * r->ms / all : 0,
           (double)r->runs / (double)times, r->bytes / (double)times * 1e-6, rate(r->bytes, r->ms), rate(r->flops, r->ms), r->kernel,
           *r->label ? "  " : "", r->label);
  }
  printf("%10.4f ms in all kernels of a run\n", all / (double)times);
}

int cli_profile_print(const Cli *c, CliProfile *p, int64_t times) {
  double all = 0;
  if (p->no_memory) {
    free(p->rows);
    return cli_no_memory(c);
  }
  for (int i = 0; i < p->n; i++) all += p->rows[i].ms;
  if (p->n) qsort(p->rows, (size_t)p->n, sizeof *p->rows, dearest_first);
  if (times < 1) times = 1;
  if (cli_doc(c)) print_json(c, p, times, all);
  else print_table(p, times, all);
  free(p->rows);
  return 0;
}
