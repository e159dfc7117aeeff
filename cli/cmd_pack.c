/* pack: a model with its weights in one file. What a command takes from such a file, or from the folder of a run. */
#include <cjson/cJSON.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"

int cli_lacks(const Cli *c, const char *what) {
  if (c->n_args && strchr(c->args[0], '/') && access(c->args[0], F_OK)) {
    cli_error(c, "%s (there is no file or folder '%s' here)", what, c->args[0]);
    return 2;
  }
  cli_error(c, "%s", what);
  return 2;
}

int cmd_pack(const Cli *c) {
  if (!c->outputs || !c->weights)
    return cli_lacks(c, "pack: needs -o FILE.dhcm and, of a MODEL that is no run, --weights FILE");
  const char *end = strrchr(c->outputs, '.');
  if (!end || strcmp(end, ".dhcm")) {
    cli_error(c, "pack: a package is called NAME.dhcm, got \"%s\"", c->outputs);
    return 2;
  }
  dhc_session *s = NULL;
  dhc_model *m = NULL;
  int rc = cli_open(c, &s, &m);
  if (!rc) rc = cli_done(c, s, dhc_model_pack(m, c->weights, c->outputs));
  if (!rc) {
    if (cli_doc(c)) cJSON_AddStringToObject(cli_doc(c), "package", c->outputs);
    cli_note(c, "%s: %s, %lld parameters", c->outputs, dhc_model_name(m), (long long)dhc_model_n_params(m));
  }
  cli_close(c, s, m);
  return rc;
}

void cli_take_run(Cli *c) {
  bool weights;
  if (!c->n_args || !cli_takes(c->command, "set") || !dhc_package_find(c->args[0], &weights)) return;
  if (!c->weights && weights && cli_takes(c->command, "weights")) c->weights = c->args[0];
  if (c->resume && !c->out) c->out = c->args[0];
  if (c->out) cli_take_settings(c);
  if (c->data || !cli_takes(c->command, "data")) return;
  cJSON *config = cli_json_file(c->args[0], "config.json");
  const char *data = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(config, "data"));
  if (data && *data && strlen(data) < sizeof c->run_data) c->data = strcpy(c->run_data, data);
  if (c->data && cli_takes(c->command, "split")) cli_take_share(c, config);
  cJSON_Delete(config);
}
