/* Fuzz target: a command line, one argument a line. What the option table accepts goes on: --dims is
 * read, --set and --sizes reach a model and what its entry costs at those sizes, --cpu-features a
 * session. */
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/words.h"

/* What options.c asks of the rest of the command. */
void cli_error(const Cli *c, const char *fmt, ...) {
  (void)c, (void)fmt;
}
int cli_columns(FILE *to) {
  (void)to;
  return 0;
}
static const CliCommand command = {.name = "info", .args = "MODEL", .summary = "", .example = ""};
const CliCommand *cli_command(const char *name) {
  return name && !strcmp(name, command.name) ? &command : NULL;
}
const CliCommand *cli_commands(int *n) {
  *n = 1;
  return &command;
}

static void open_model(const Cli *c) {
  dhc_session *s = NULL;
  dhc_model *m = NULL;
  char *json = NULL;
  dhc_session_options so = {.threads = 1, .backend = "interp", .cache_dir = "", .model_path = DHC_FUZZ_MODELS,
                            .disable_passes = c->disable_pass, .max_memory = 1 << 28};
  if (dhc_session_open(&so, &s).code != DHC_OK) return;
  dhc_model_options mo = {.name = "mlp", .root = c->root, .preset = c->preset, .recipe = c->recipe, .sets = c->sets, .n_sets = c->n_sets};
  dhc_status st = dhc_model_open(s, &mo, &m);
  fuzz_check(st.code == DHC_OK || st.message[0], "a failure has a message");
  if (m) {
    st = dhc_model_info_json(m, c->sizes ? "forward" : NULL, c->sizes, &json);
    fuzz_check(st.code == DHC_OK || st.message[0], "a failure has a message");
  }
  dhc_session_print_diagnostics(s, fuzz_sink(), false);
  free(json);
  dhc_model_close(m);
  dhc_session_close(s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
  char *text = malloc(n + 1), *argv[64] = {"dhcc"}, *save = NULL;
  fuzz_check(text != NULL, "memory");
  memcpy(text, data, n);
  text[n] = 0;
  int argc = 1;
  for (char *a = strtok_r(text, "\n", &save); a && argc < 63; a = strtok_r(NULL, "\n", &save)) argv[argc++] = a;
  CliReport report = {0};
  Cli c = {.report = &report};
  if (cli_parse(&c, argc, argv)) {
    int64_t dims[128];
    int k = cli_dims(c.dims, dims, 128);
    fuzz_check(k >= -1 && k <= 128, "a number of dims");
    if (c.n_sets || c.sizes || c.root || c.preset || c.recipe) open_model(&c);
  }
  free(text);
  return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t n, size_t max, unsigned seed);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t n, size_t max, unsigned seed) {
  return fuzz_mutate_text(data, n, max, seed, option_words);
}
