/* tune: schedules of an entry's kernels, searched on this machine. */
#include <cjson/cJSON.h>
#include <string.h>

#include "cli/cli.h"

static void say(void *ctx, int round, int rounds) { cli_note(ctx, "round %d of %d", round, rounds); }

int cmd_tune(const Cli *c) {
  dhc_session *s = NULL;
  dhc_model *m = NULL;
  dhc_tune_result r = {0};
  if (!c->outputs) {
    cli_error(c, "tune: needs -o FILE");
    return 2;
  }
  dhc_catch_signals();
  int rc = cli_open(c, &s, &m);
  const dhc_tune_options o = {.entry = c->entry, .grad = c->grad, .sizes = c->sizes, .file = c->outputs, .repeat = (int)c->repeat,
                              .progress = say, .ctx = (void *)(uintptr_t)c};
  if (!rc) rc = cli_done(c, s, dhc_model_tune(m, &o, &r));
  if (!rc && cli_doc(c)) {
    cJSON_AddNumberToObject(cli_doc(c), "kernels", r.kernels);
    cJSON_AddNumberToObject(cli_doc(c), "chosen", r.chosen);
    cJSON_AddNumberToObject(cli_doc(c), "rounds", r.rounds);
    cJSON_AddNumberToObject(cli_doc(c), "usual_ms", r.usual_ms);
    cJSON_AddNumberToObject(cli_doc(c), "tuned_ms", r.tuned_ms);
  } else if (!rc) {
    printf("%d of %d kernels have another schedule: %.4f ms in all of a run's, %.4f before\n", r.chosen, r.kernels, r.tuned_ms, r.usual_ms);
  }
  cli_close(c, s, m);
  return rc;
}
