/* What a profile says: one line a kernel, or a layer, dearest first. */
#include <cjson/cJSON.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"

enum { ROOM = 64 }; /* lines by which the table grows */

void cli_profile_add_to(CliProfile *p, const char *name, const char *label, const dhc_profile_row *row) {
  int i = 0;
  if (!row->runs || p->no_memory) return;
  while (i < p->n && strcmp(p->lines[i].name, name)) i++;
  if (i == p->n && p->n % ROOM == 0) {
    CliProfileLine *lines = realloc(p->lines, sizeof *lines * (size_t)(p->n + ROOM));
    p->no_memory = !lines;
    if (!lines) return;
    p->lines = lines;
  }
  if (i == p->n) p->lines[p->n++] = (CliProfileLine){.name = name, .label = label};
  CliProfileLine *l = &p->lines[i];
  l->runs += (double)row->runs;
  l->ms += row->ms;
  l->flops += row->flops * (double)row->runs;
  l->bytes += row->bytes * (double)row->runs;
}

void cli_profile_add(CliProfile *p, const dhc_profile_row *row) { cli_profile_add_to(p, row->kernel, row->label, row); }

static int dearest_first(const void *a, const void *b) {
  const CliProfileLine *x = a, *y = b;
  if (x->ms != y->ms) return x->ms < y->ms ? 1 : -1;
  return strcmp(x->name, y->name);
}

double cli_profile_order(CliProfile *p, double times) {
  double all = 0;
  for (int i = 0; i < p->n; i++) {
    CliProfileLine *l = &p->lines[i];
    all += l->ms / times;
    *l = (CliProfileLine){l->name, l->label, l->runs / times, l->ms / times, l->flops / times, l->bytes / times};
  }
  if (p->n) qsort(p->lines, (size_t)p->n, sizeof *p->lines, dearest_first);
  return all;
}

double cli_profile_rate(double amount, double ms) { return ms > 0 ? amount / ms * 1e-6 : 0; }

static void print_json(const Cli *c, const CliProfile *p, double all) {
  cJSON *list = cJSON_AddArrayToObject(cli_doc(c), "profile");
  for (int i = 0; i < p->n; i++) {
    const CliProfileLine *l = &p->lines[i];
    cJSON *row = cJSON_CreateObject();
    cJSON_AddStringToObject(row, "kernel", l->name);
    cJSON_AddStringToObject(row, "label", l->label);
    cJSON_AddNumberToObject(row, "calls", l->runs);
    cJSON_AddNumberToObject(row, "ms", l->ms);
    cJSON_AddNumberToObject(row, "share", all > 0 ? l->ms / all : 0);
    cJSON_AddNumberToObject(row, "bytes", l->bytes);
    cJSON_AddNumberToObject(row, "flops", l->flops);
    cJSON_AddNumberToObject(row, "gb_per_s", cli_profile_rate(l->bytes, l->ms));
    cJSON_AddNumberToObject(row, "gflop_per_s", cli_profile_rate(l->flops, l->ms));
    cli_add(list, NULL, row);
  }
}

void cli_profile_lines(const CliProfile *p, double all, const char *what, double (*roof)(const void *with, const CliProfileLine *l), const void *with) {
  printf("%10s %6s %6s %10s %10s %10s%s  %s\n", "ms", "share", "calls", "MB", "GB/s", "GFLOP/s", roof ? " of roof" : "", what);
  for (int i = 0; i < p->n; i++) {
    const CliProfileLine *l = &p->lines[i];
    double part = roof ? roof(with, l) : (double)NAN;
    char text[16] = "";
    if (isfinite(part)) snprintf(text, sizeof text, " %6.0f%%", 100 * part);
    printf("%10.4f %5.1f%% %6.0f %10.3f %10.1f %10.1f%*s  %s%s%s\n", l->ms, all > 0 ? 100 * l->ms / all : 0, l->runs, l->bytes * 1e-6,
           cli_profile_rate(l->bytes, l->ms), cli_profile_rate(l->flops, l->ms), roof ? 8 : 0, text, l->name, *l->label ? "  " : "", l->label);
  }
}

int cli_profile_print(const Cli *c, CliProfile *p, int64_t times) {
  if (p->no_memory) {
    free(p->lines);
    return cli_no_memory(c);
  }
  double all = cli_profile_order(p, times < 1 ? 1 : (double)times);
  if (cli_doc(c)) {
    print_json(c, p, all);
  } else {
    cli_profile_lines(p, all, "kernel, first in", NULL, NULL);
    printf("%10.4f ms in all kernels of a run\n", all);
  }
  free(p->lines);
  return 0;
}
