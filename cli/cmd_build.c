/* build: a model as an object for C programs. */
#include <cjson/cJSON.h>
#include <string.h>

#include "cli/cli.h"

/* "models/dhc_ssm.dhc" is called dhc_ssm; what --root picks out of a file is called as it is. */
static const char *object_name(const Cli *c, char *to, size_t n) {
  if (c->name) return c->name;
  if (c->root) return NULL;
  const char *slash = strrchr(c->args[0], '/'), *stem = slash ? slash + 1 : c->args[0], *dot = strrchr(stem, '.');
  snprintf(to, n, "%.*s", dot ? (int)(dot - stem) : (int)strlen(stem), stem);
  return to;
}

int cmd_build(const Cli *c) {
  dhc_session *s = NULL;
  dhc_model *m = NULL;
  char name[128];
  if (!c->outputs) {
    cli_error(c, "build: needs -o FILE.o, FILE.a or FILE.so");
    return 2;
  }
  if (c->emit && strcmp(c->emit, "c") && strcmp(c->emit, "object")) {
    cli_error(c, "--emit: needs object or c, got \"%s\"", c->emit);
    return 2;
  }
  int rc = cli_open(c, &s, &m);
  dhc_build_options o = {.name = object_name(c, name, sizeof name), .entries = c->entries, .n_entries = c->n_entries,
                         .target = c->target, .cpu = c->cpu, .features = c->features, .bind = c->bind, .weights = c->weights, .weights_file = c->weights_file, .selftest = (int)c->selftest, .max_ram = c->max_ram, .max_flash = c->max_flash, .c = c->emit && !strcmp(c->emit, "c"), .out = c->outputs, .header = c->header};
  dhc_build_result r = {0};
  if (!rc) rc = cli_done(c, s, dhc_model_build(m, &o, &r));
  cJSON *doc = cli_doc(c);
  if (!rc && doc) {
    cJSON_AddStringToObject(doc, "object", c->outputs);
    if (c->header) cJSON_AddStringToObject(doc, "header", c->header);
    cJSON_AddNumberToObject(doc, "object_bytes", (double)r.object_bytes);
    cJSON_AddNumberToObject(doc, "weights_bytes", (double)r.weights_bytes);
    cJSON_AddNumberToObject(doc, "entries", r.n_entries);
    cJSON_AddNumberToObject(doc, "kernels", r.n_kernels);
  } else if (!rc) {
    cli_note(c, "%s: %d entr%s, %d kernels, %lld bytes; weights %lld bytes, %s", c->outputs, r.n_entries, r.n_entries == 1 ? "y" : "ies",
             r.n_kernels, (long long)r.object_bytes, (long long)r.weights_bytes, c->weights && !c->weights_file ? "embedded" : "passed by the caller");
  }
  cli_close(c, s, m);
  return rc;
}
