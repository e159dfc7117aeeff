/* What the command line leaves open is as the run has it, in config.json of its folder: all for train RUN --resume, for eval RUN
 * how much it has kept to validate with. */
#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"

static const char *text_of(const cJSON *run, const char *key) {
  return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(run, key));
}

static void take_whole(const Cli *c, const cJSON *run, const char *name, int64_t *to) {
  const char *text = text_of(run, name);
  if (text && !cli_given(c, name)) *to = strtoll(text, NULL, 10);
}

/* What is a number there: a schedule is the recipe's, a split of its own the data's. */
static void take_real(const Cli *c, const cJSON *run, const char *name, double *to) {
  const char *text = text_of(run, name);
  char *end;
  double v = text ? strtod(text, &end) : 0;
  if (text && end > text && !*end && !cli_given(c, name)) *to = v;
}

static void take_off(const Cli *c, const cJSON *run, const char *name, const char *option, bool *to) {
  const char *text = text_of(run, name);
  if (text && !strcmp(text, "off") && !cli_given(c, option)) *to = true;
}

static void take_text(const char *text, char *room, size_t n, const char **to) {
  if (text && *text && strlen(text) < n) *to = strcpy(room, text);
}

/* "cuda tf32" is a backend and how it computes. */
static void take_backend(Cli *c, const cJSON *run) {
  if (cli_given(c, "backend") || cli_given(c, "compute")) return;
  take_text(text_of(run, "backend"), c->run_backend, sizeof c->run_backend, &c->backend);
  char *blank = c->backend ? strchr(c->run_backend, ' ') : NULL;
  if (!blank) return;
  *blank = 0;
  c->compute = blank + 1;
}

void cli_take_share(Cli *c, const cJSON *config) { take_real(c, cJSON_GetObjectItemCaseSensitive(config, "run"), "val-fraction", &c->val_fraction); }

void cli_take_settings(Cli *c) {
  if (!c->resume || strcmp(c->command, "train") || strcmp(c->out, c->args[0])) return;
  cJSON *config = cli_json_file(c->args[0], "config.json");
  const cJSON *run = cJSON_GetObjectItemCaseSensitive(config, "run");
  if (!cli_given(c, "epochs") && !cli_given(c, "steps")) {
    take_whole(c, run, "epochs", &c->epochs);
    take_whole(c, run, "steps", &c->steps);
  }
  take_whole(c, run, "batch", &c->batch);
  take_whole(c, run, "accumulate", &c->accumulate);
  take_whole(c, run, "seed", &c->seed);
  take_whole(c, run, "limit", &c->limit);
  take_real(c, run, "lr", &c->lr);
  take_real(c, run, "clip", &c->clip);
  take_real(c, run, "val-fraction", &c->val_fraction);
  take_off(c, run, "augment", "no-augment", &c->no_augment);
  take_off(c, run, "shuffle", "no-shuffle", &c->no_shuffle);
  if (!cli_given(c, "init-from")) take_text(text_of(run, "init-from"), c->run_init, sizeof c->run_init, &c->init_from);
  take_backend(c, run);
  cJSON_Delete(config);
}
