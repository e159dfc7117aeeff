/* Text generation: a prompt through the streaming form, then token after token through the step. */
#include <math.h>
#include <stdlib.h>

#include "api/train/train.h"
#include "runtime/sample.h"

typedef struct Generator {
  dhc_model *m;
  const dhc_generate_options *o;
  dhc_program *p;
  int stream, step;  /* entries */
  dhc_call *next;    /* of `step` */
  const char *input; /* name of the tokens */
  int64_t vocabulary;
  float *logits;     /* of the last position */
  int64_t *order;
} Generator;

static dhc_status find_input(Generator *g) {
  DhcEntryInfos all = dhc_model_entries(g->m->m);
  for (int i = 0; i < all.n; i++) {
    const DhcEntryInfo *e = &all.at[i];
    if (strcmp(e->name, "forward")) continue;
    for (int k = 0; k < e->n_inputs; k++) {
      if (e->optional[k]) continue;
      if (g->input)
        return dhc_status_make(DHC_E_INPUT, "'forward' of %s takes '%s' and '%s': only a model of one sequence of tokens can generate",
                               g->m->name, g->input, e->inputs[k]);
      if (!e->tokens[k])
        return dhc_status_make(DHC_E_INPUT, "'forward' of %s takes '%s', no batch of sequences (i64[B, L]): only a model of tokens can generate", g->m->name, e->inputs[k]);
      g->input = e->inputs[k];
    }
  }
  return g->input ? dhc_status_ok() : dhc_status_make(DHC_E_INPUT, "model %s has no entry 'forward' that takes tokens", g->m->name);
}

/* Keeps the logits of the last position of a run over n tokens. */
static dhc_status keep_logits(Generator *g, const dhc_tensor *r, int64_t n) {
  int64_t vocabulary = r->rank == 3 ? r->dim[2] : 0;
  bool fits = (r->dtype == DHC_F32 || r->dtype == DHC_F64) && r->rank == 3 && r->dim[0] == 1 && r->dim[1] == n;
  if (!fits || (g->logits && vocabulary != g->vocabulary))
    return dhc_status_make(DHC_E_INPUT, "'forward' of %s gives '%s', not logits [batch, length, vocabulary]", g->m->name, r->name);
  if (!g->logits) {
    g->vocabulary = vocabulary;
    g->logits = calloc((size_t)vocabulary, sizeof *g->logits);
    g->order = calloc((size_t)vocabulary, sizeof *g->order);
    if (!g->logits || !g->order) return dhc_status_memory((long long)(vocabulary * 12), "logits");
  }
  const char *last = (const char *)r->data + dhc_tensor_bytes(r) / n * (n - 1);
  dhc_tensor_convert(g->logits, DHC_F32, last, (int32_t)r->dtype, vocabulary);
  return dhc_status_ok();
}

static dhc_tensor tokens_of(const Generator *g, const int64_t *tokens, int64_t n) {
  return (dhc_tensor){.name = g->input, .dtype = DHC_I64, .rank = 2, .dim = {1, n}, .data = (void *)(uintptr_t)tokens};
}

static dhc_status run_prompt(Generator *g) {
  dhc_tensor in = tokens_of(g, g->o->prompt, g->o->n_prompt);
  const dhc_tensor *res;
  int n_res;
  DHC_TRY(dhc_program_run(g->p, g->stream, &in, 1, &res, &n_res));
  return keep_logits(g, &res[0], g->o->n_prompt);
}

static dhc_status run_step(Generator *g, int64_t token) {
  const void *data = &token;
  dhc_tensor in = tokens_of(g, NULL, 1);
  if (!g->next) DHC_TRY(dhc_call_open(g->p, g->step, &in, 1, &g->next));
  DHC_TRY(dhc_call_run(g->next, &data, NULL));
  return keep_logits(g, dhc_call_results(g->next, NULL), 1);
}

static dhc_status open_program(Generator *g) {
  DHC_TRY(find_input(g));
  DHC_TRY(dhc_program_open(g->m, "forward.stream", DHC_MODE_RUN, &g->p));
  DHC_TRY(dhc_program_add(g->p, "forward.step", DHC_MODE_RUN, &g->step));
  DHC_TRY(dhc_program_init(g->p, g->o->seed));
  return g->o->weights ? dhc_program_load(g->p, g->o->weights, false) : dhc_status_ok();
}

static dhc_status steps(Generator *g, dhc_generate_result *out) {
  const dhc_generate_options *o = g->o;
  DhcSampling how = {o->temperature, o->top_k, (uint32_t)o->seed};
  while (out->n_tokens < o->n_tokens) {
    if (dhc_stop_signal()) return dhc_status_make(DHC_E_INTERRUPTED, "stopped after %lld tokens", (long long)out->n_tokens);
    int64_t token = dhc_sample(g->logits, g->vocabulary, &how, (uint64_t)out->n_tokens, g->order);
    if (token < 0) DHC_TRY(weights_check(g->p));
    if (token < 0) return dhc_status_make(DHC_E_NUMERIC, "token %lld: the logits are not finite", (long long)out->n_tokens + 1);
    out->n_tokens++;
    if (o->token && !o->token(o->ctx, token)) return dhc_status_ok();
    if (out->n_tokens < o->n_tokens) DHC_TRY(run_step(g, token));
  }
  return dhc_status_ok();
}

static dhc_status generate(Generator *g, dhc_generate_result *out) {
  if (g->o->n_prompt < 1) return dhc_status_make(DHC_E_USAGE, "the prompt is empty: it must hold at least one token");
  if (!(g->o->temperature >= 0) || isinf(g->o->temperature))
    return dhc_status_make(DHC_E_USAGE, "the temperature is %g: it must be finite and not negative", g->o->temperature);
  DHC_TRY(open_program(g));
  double t0 = session_now_ms();
  DHC_TRY(run_prompt(g));
  double t1 = session_now_ms();
  dhc_status st = steps(g, out);
  out->prompt_seconds = (t1 - t0) / 1e3;
  out->seconds = (session_now_ms() - t1) / 1e3;
  return st;
}

static void drop(void *what) {
  Generator *g = what;
  free(g->logits);
  free(g->order);
  dhc_call_close(g->next);
  dhc_program_close(g->p);
}

dhc_status api_generate(dhc_model *m, const dhc_generate_options *o, dhc_generate_result *out) {
  NEED(out);
  *out = (dhc_generate_result){0};
  NEED(m);
  NEED(o);
  if (o->n_prompt > 0) NEED(o->prompt);
  Generator g = {.m = m, .o = o};
  DhcHeld held;
  dhc_hold(&held, drop, &g);
  dhc_status st = generate(&g, out);
  dhc_release(&held);
  drop(&g);
  return st;
}
