/* Several processes with a GPU each: --gpus, --distributed. Rank 0 speaks to the user; what ends the others it, or the process
 * that made them all, says in one line. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"

static void say(void *cli, const char *line) {
  const Cli *c = cli;
  char config[4096];
  snprintf(config, sizeof config, "%s/config.json", c->out ? c->out : "");
  const bool begun = c->out && !access(config, F_OK);
  cli_error(c, "%s; all ranks have ended%s", line, begun ? ", the last checkpoint is whole: go on with --resume" : "");
}

/* Only rank 0 has something to say; of the others errors travel. */
static bool be_silent(void) {
  int null = open("/dev/null", O_RDWR);
  bool ok = null >= 0 && dup2(null, 1) >= 0 && dup2(null, 2) >= 0;
  if (null > 2) close(null);
  return ok;
}

/* How many GPUs this process may see at most; a large number where nothing says. */
static int visible(void) {
  const char *list = getenv("CUDA_VISIBLE_DEVICES");
  int n = list && *list ? 1 : 1 << 20;
  for (const char *at = list; n < 1 << 20 && *at; at++) n += *at == ',';
  return n;
}

/* The command as one rank does it: on its own GPU, with its share of the threads. */
static int as_rank(const Cli *c, dhc_group *g, bool forked, int (*run)(const Cli *c, dhc_group *g, dhc_status *st)) {
  static char backend[64];
  Cli *own = malloc(sizeof *own);
  dhc_status st = {0};
  if (!own) return cli_no_memory(c);
  *own = *c;
  int rank = dhc_group_rank(g), local = dhc_group_local(g) % visible();
  if (c->backend && !strcmp(c->backend, "cuda")) {
    snprintf(backend, sizeof backend, "cuda:%d", local);
    own->backend = backend;
  }
  long cores = sysconf(_SC_NPROCESSORS_ONLN);
  if (!c->threads && forked) own->threads = cores > dhc_group_size(g) ? cores / dhc_group_size(g) : 1;
  dhc_group_last_words(g, say, own);
  int rc = rank && !be_silent() ? 3 : run(own, g, &st);
  if (rc && !st.code) {
    st = (dhc_status){.code = rc > 128 ? DHC_E_INTERRUPTED : (dhc_code)rc};
    snprintf(st.message, sizeof st.message, "rank %d has not begun: is the model, the data or the GPU not there?", rank);
  }
  dhc_group_close(g, &st);
  free(own);
  return rc;
}

int cli_ranks(const Cli *c, int (*run)(const Cli *c, dhc_group *g, dhc_status *st)) {
  dhc_group *g = NULL;
  dhc_status st = {0};
  int rc = 0;
  if (c->gpus > 1 && c->distributed) {
    cli_error(c, "%s: --gpus and --distributed exclude each other", c->command);
    return 2;
  }
  if (c->gpus <= 1 && !c->distributed) return run(c, NULL, &st);
  if (c->gpus > 1) st = dhc_group_fork((int)c->gpus, (int)c->rank_timeout, &g, &rc);
  else st = dhc_group_from_environment((int)c->rank_timeout, &g);
  if (g) return as_rank(c, g, c->gpus > 1, run);
  if (!st.code && c->gpus > 1) cli_drop_doc(c->report); /* rank 0 has printed it */
  if (st.code && c->gpus > 1 && rc) say((void *)(uintptr_t)c, st.message);
  else if (st.code) return cli_fail(c, st);
  else if (c->distributed) return run(c, NULL, &st);
  return rc;
}
