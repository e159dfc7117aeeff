/* generate: text from a model of tokens that are bytes. */
#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"

enum { DEFAULT_TOKENS = 256, BYTE_VALUES = 256 };

typedef struct Text {
  cJSON *list;  /* of tokens under --json, else they are written, */
  const char *before; /* after this, which then becomes NULL */
  bool no_byte; /* a token is none: the vocabulary is larger than bytes */
} Text;

static bool take(void *ctx, int64_t token) {
  Text *t = ctx;
  if (t->list) return cJSON_AddItemToArray(t->list, cJSON_CreateNumber((double)token));
  if (t->before) fputs(t->before, stdout);
  t->before = NULL;
  t->no_byte = token >= BYTE_VALUES;
  return !t->no_byte && putchar((int)token) != EOF && fflush(stdout) == 0;
}

static int64_t *tokens_of(const char *text, int64_t *n) {
  *n = (int64_t)strlen(text);
  int64_t *tokens = malloc(sizeof *tokens * (size_t)(*n + 1));
  for (int64_t i = 0; tokens && i < *n; i++) tokens[i] = (unsigned char)text[i];
  return tokens;
}

static void report(const Cli *c, const dhc_generate_result *r) {
  double rate = r->seconds > 0 ? (double)r->n_tokens / r->seconds : 0;
  cJSON *doc = cli_doc(c);
  if (doc) {
    cJSON_AddNumberToObject(doc, "n_tokens", (double)r->n_tokens);
    cJSON_AddNumberToObject(doc, "prompt_seconds", r->prompt_seconds);
    cJSON_AddNumberToObject(doc, "tokens_s", rate);
  }
  cli_note(c, "%lld tokens, %.0f a second", (long long)r->n_tokens, rate);
}

int cmd_generate(const Cli *c) {
  dhc_session *s = NULL;
  dhc_model *m = NULL;
  const char *prompt = c->prompt ? c->prompt : "\n";
  if (!*prompt) {
    cli_error(c, "--prompt: is empty; generation needs a first token");
    return 2;
  }
  int64_t n;
  int64_t *tokens = tokens_of(prompt, &n);
  if (!tokens) return cli_no_memory(c);
  int rc = cli_open(c, &s, &m);
  if (!rc) {
    dhc_catch_signals();
    Text t = {.list = cli_doc(c) ? cJSON_AddArrayToObject(cli_doc(c), "tokens") : NULL, .before = c->prompt};
    if (!c->weights) cli_note(c, "note: no --weights, using initial weights of seed %lld", (long long)c->seed);
    dhc_generate_options o = {.weights = c->weights, .prompt = tokens, .n_prompt = n,
                              .n_tokens = c->tokens ? c->tokens : DEFAULT_TOKENS,
                              .temperature = c->temperature, .top_k = c->top_k, .seed = (uint64_t)c->seed,
                              .token = take, .ctx = &t};
    dhc_generate_result r;
    dhc_status st = dhc_generate(m, &o, &r);
    if (!t.list && r.n_tokens) putchar('\n');
    rc = cli_done(c, s, st);
    if (!rc && t.no_byte) {
      cli_error(c, "generate: a token is no byte, the model's vocabulary is larger than 256");
      rc = 1;
    }
    if (!rc) report(c, &r);
    if (!rc) cli_print_stats(c, s);
  }
  free(tokens);
  cli_close(c, s, m);
  return rc;
}
