/* sweep --jobs N: the same command again, N times, each as a worker with its share of the runs and of the threads. */
#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cli/jobs.h"

extern char **environ;

/* argv without --jobs, quiet, going on with what is there, as worker i of n. NULL: no memory. */
static char **worker_argv(const Cli *c, int i, int n, int threads) {
  enum { MORE = 6 };
  static char quiet[] = "--quiet", resume[] = "--resume", no_json[] = "--color=never";
  char **argv = calloc((size_t)c->argc + MORE + 1, sizeof *argv), *numbers = malloc(64);
  if (!argv || !numbers) {
    free(argv);
    free(numbers);
    return NULL;
  }
  int k = 0;
  for (int a = 0; a < c->argc; a++) {
    if (!strcmp(c->argv[a], "--jobs") || !strcmp(c->argv[a], "--threads")) {
      a++;
      continue;
    }
    if (strncmp(c->argv[a], "--jobs=", 7) && strncmp(c->argv[a], "--threads=", 10) && strcmp(c->argv[a], "--json")) argv[k++] = c->argv[a];
  }
  snprintf(numbers, 32, "--worker=%d/%d", i, n);
  snprintf(numbers + 32, 32, "--threads=%d", threads);
  argv[k++] = numbers;
  argv[k++] = numbers + 32;
  argv[k++] = quiet;
  argv[k++] = resume;
  argv[k++] = no_json;
  return argv;
}

/* The last --worker is the one that worker_argv added, and the beginning of its block. */
static void free_argv(char **argv) {
  char *numbers = NULL;
  for (int i = 0; argv && argv[i]; i++)
    if (!strncmp(argv[i], "--worker=", 9)) numbers = argv[i];
  free(numbers);
  free(argv);
}

bool jobs_begin(Jobs *j, const Cli *c, int n, int threads) {
  *j = (Jobs){.c = c, .pid = calloc((size_t)n, sizeof(pid_t)), .n = n};
  if (!j->pid) return cli_no_memory(c), false;
  int each = threads / n < 1 ? 1 : threads / n;
  for (int i = 0; i < n; i++) {
    char **argv = worker_argv(c, i + 1, n, each);
    int err = argv ? posix_spawn(&j->pid[i], "/proc/self/exe", NULL, NULL, argv, environ) : ENOMEM;
    free_argv(argv);
    if (!err) continue;
    j->pid[i] = 0;
    cli_system_error(c, "--jobs", err);
    j->rc = 3;
    break;
  }
  return true;
}

bool jobs_running(void *jobs) {
  Jobs *j = jobs;
  bool any = false;
  for (int i = 0; i < j->n; i++) {
    int status;
    if (!j->pid[i]) continue;
    if ((dhc_signal_caught() || j->rc) && !j->told) kill(j->pid[i], SIGTERM); /* a worker saves and stops */
    pid_t got = waitpid(j->pid[i], &status, WNOHANG);
    if (!got || (got < 0 && errno == EINTR)) {
      any = true;
      continue;
    }
    j->pid[i] = 0;
    int rc = got < 0 ? 3 : WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    if (rc && !j->rc) j->rc = rc;
  }
  if (dhc_signal_caught() || j->rc) j->told = true;
  if (any) nanosleep(&(struct timespec){.tv_nsec = 200000000}, NULL);
  return any;
}

void jobs_end(Jobs *j) {
  while (jobs_running(j)) continue;
  free(j->pid);
  j->pid = NULL;
}
