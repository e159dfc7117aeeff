/* What it takes to deploy: sizes of objects, and how long their calls take. */
#ifndef DHC_CLI_REPORT_H
#define DHC_CLI_REPORT_H

#include "cli/cli.h"

/* To an object of a document; null where it is none. */
void report_number(struct cJSON *to, const char *name, double v);

/* Milliseconds of calls of an object's entry on made-up inputs. */
typedef struct Latency {
  double first, p50, p99;
} Latency;

/* cmd_bench.c. Sizes that the object leaves open are 1. Where it does not take that, *out stays, and nothing is said. */
void bench_latency(const Cli *c, const char *so, const char *name, const char *entry, double seconds, Latency *out);
/* Exit status. The object of these options has been built. */
int report_build(const Cli *c, dhc_session *s, dhc_model *m, const dhc_build_options *o, const dhc_build_result *r);
/* An object of every variant. */
int report_sweep(const Cli *c, dhc_session *s, dhc_sweep *sweep);

#endif
