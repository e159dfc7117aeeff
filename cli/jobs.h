/* Workers of a sweep: processes that do its runs. */
#ifndef DHC_CLI_JOBS_H
#define DHC_CLI_JOBS_H

#include <sys/types.h>

#include "cli/cli.h"

typedef struct Jobs {
  const Cli *c;
  pid_t *pid; /* 0: ended */
  int n;
  int rc;     /* exit status of the first that failed */
  bool told;  /* all have been asked to stop */
} Jobs;
/* Starts n of them; false after a message. Where one cannot be started the others are stopped. */
bool jobs_begin(Jobs *j, const Cli *c, int n, int threads);
/* Waits a little; false: none is left. What fails, or a signal, stops all. */
bool jobs_running(void *jobs);
void jobs_end(Jobs *j);

#endif
