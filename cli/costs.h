/* Figures of what variants cost, before any of them is trained. */
#ifndef DHC_CLI_COSTS_H
#define DHC_CLI_COSTS_H

#include "cli/figure.h"

typedef struct Costs {
  struct CostsRow {
    char *name;
    dhc_costs costs;
  } *at;
  int n, room;
  bool no_memory;
} Costs;
void costs_add(Costs *all, const char *name, const dhc_costs *costs);
void costs_free(Costs *all);
/* Exit status after a message: --x, --y and the file's form. */
int costs_check(const Cli *c);
/* -o: a column against the variants, or against --x, or what a sequence keeps against its length (--x length); .html: all of it. */
int costs_write(const Cli *c, const Costs *all);

#endif
