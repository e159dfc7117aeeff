/* build: a model as an object for C programs. */
#include <cjson/cJSON.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/report.h"

/* "models/dhc_ssm.dhc" is called dhc_ssm; what --root picks out of a file is called as it is. */
static const char *stem_of(const Cli *c, char *to, size_t n) {
  if (c->root) return NULL;
  const char *slash = strrchr(c->args[0], '/'), *stem = slash ? slash + 1 : c->args[0], *dot = strrchr(stem, '.');
  snprintf(to, n, "%.*s", dot ? (int)(dot - stem) : (int)strlen(stem), stem);
  return to;
}

/* Variants as the options give them. */
typedef struct Variants {
  dhc_build_variant at[CLI_MAX_SETS];
  int n;
  const char *sets[CLI_MAX_SETS][CLI_MAX_SETS];
} Variants;

static void variants_free(Variants *v) {
  for (int i = 0; v && i < v->n; i++) free((char *)(uintptr_t)v->at[i].name); /* its settings lie behind it */
  free(v);
}

/* "r7:mamba_ratio=7,d=4" */
static int add_variant(const Cli *c, Variants *v, const char *text) {
  char *name = strdup(text), *sets = name ? strchr(name, ':') : NULL;
  if (!name) return cli_no_memory(c);
  dhc_build_variant *to = &v->at[v->n];
  *to = (dhc_build_variant){.name = name, .sets = v->sets[v->n]};
  v->n++;
  if (!sets || sets == name || (sets[1] && !strchr(sets, '='))) {
    cli_error(c, "--variant: needs NAME:KEY=VALUE,..., got \"%s\"", text);
    return 2;
  }
  *sets++ = 0;
  for (char *at = sets; *at;) {
    char *end = at + strcspn(at, ",");
    if (to->n_sets == CLI_MAX_SETS) {
      cli_error(c, "--variant %s: more than %d settings", name, CLI_MAX_SETS);
      return 2;
    }
    v->sets[v->n - 1][to->n_sets++] = at;
    at = *end ? end + 1 : end;
    *end = 0;
  }
  return 0;
}

/* "r7:w.safetensors" */
static int add_weights(const Cli *c, Variants *v, const char *text) {
  const char *colon = strchr(text, ':');
  for (int i = 0; colon && i < v->n; i++)
    if (strlen(v->at[i].name) == (size_t)(colon - text) && !strncmp(v->at[i].name, text, (size_t)(colon - text))) {
      v->at[i].weights = colon + 1;
      return 0;
    }
  if (!colon || colon == text || !colon[1]) cli_error(c, "--variant-weights: needs NAME:FILE, got \"%s\"", text);
  else cli_error(c, "--variant-weights: no --variant is called '%.*s'", (int)(colon - text), text);
  return 2;
}

/* *out is variants_free's, whatever is returned. */
static int variants_of(const Cli *c, Variants **out) {
  Variants *v = *out = calloc(1, sizeof *v);
  int rc = v ? 0 : cli_no_memory(c);
  for (int i = 0; i < c->object_variants.n && !rc; i++) rc = add_variant(c, v, c->object_variants.at[i]);
  for (int i = 0; i < c->variant_weights.n && !rc; i++) rc = add_weights(c, v, c->variant_weights.at[i]);
  return rc;
}

/* null: not known */
static void add_bytes(cJSON *doc, const char *name, int64_t bytes) {
  if (bytes < 0) cJSON_AddNullToObject(doc, name);
  else cJSON_AddNumberToObject(doc, name, (double)bytes);
}

void report_number(cJSON *doc, const char *name, double v) {
  if (isfinite(v)) cJSON_AddNumberToObject(doc, name, v);
  else cJSON_AddNullToObject(doc, name);
}

/* What quantising has changed. */
static void report_quantized(const Cli *c, const dhc_build_result *r) {
  bool measured = r->after.n_examples > 0, counts = isfinite(r->after.accuracy);
  cJSON *doc = cli_doc(c) ? cJSON_AddObjectToObject(cli_doc(c), "quantize") : NULL;
  if (doc) {
    cJSON_AddStringToObject(doc, "form", c->quantize);
    cJSON_AddNumberToObject(doc, "tensors", r->n_quantized);
    cJSON_AddNumberToObject(doc, "weights_bytes_before", (double)r->weights_bytes_before);
    cJSON_AddNumberToObject(doc, "examples", (double)r->after.n_examples);
    report_number(doc, "loss_before", measured ? r->before.loss : NAN);
    report_number(doc, "loss", measured ? r->after.loss : NAN);
    report_number(doc, "accuracy_before", measured ? r->before.accuracy : NAN);
    report_number(doc, "accuracy", measured ? r->after.accuracy : NAN);
    report_number(doc, "deviation", r->deviation);
    report_number(doc, "largest", r->largest);
    return;
  }
  cli_note(c, "%s: %d tensors, constants of %lld bytes where they were %lld", c->quantize, r->n_quantized, (long long)r->weights_bytes, (long long)r->weights_bytes_before);
  if (measured && counts)
    cli_note(c, "%s: accuracy %.4f on %lld examples, %.4f before; loss %.5f, %.5f before", c->quantize, r->after.accuracy, (long long)r->after.n_examples,
             r->before.accuracy, r->after.loss, r->before.loss);
  else if (measured)
    cli_note(c, "%s: loss %.5f on %lld examples, %.5f before", c->quantize, r->after.loss, (long long)r->after.n_examples, r->before.loss);
  else if (isfinite(r->deviation))
    cli_note(c, "%s: accuracy is not measured (--data); on generated inputs results differ by at most %.3g, the largest being %.3g", c->quantize, r->deviation, r->largest);
  else
    cli_note(c, "%s: accuracy is not measured (--data)", c->quantize);
}

int cmd_build(const Cli *c) {
  dhc_session *s = NULL;
  dhc_model *m = NULL;
  char stem[128];
  if (!c->outputs) {
    cli_error(c, "build: needs -o FILE.o, FILE.a or FILE.so");
    return 2;
  }
  if (c->emit && strcmp(c->emit, "c") && strcmp(c->emit, "object")) {
    cli_error(c, "--emit: needs object or c, got \"%s\"", c->emit);
    return 2;
  }
  if (c->data && !c->quantize && !c->measured) {
    cli_error(c, "--data: of build, needs --quantize or --report, for whose accuracy it is");
    return 2;
  }
  if (c->data && !c->weights && !c->variant_weights.n) {
    cli_error(c, "--data: of build, needs --weights");
    return 2;
  }
  if (c->timing && strcmp(c->timing, "bounded")) {
    cli_error(c, "--timing: needs bounded, got \"%s\"", c->timing);
    return 2;
  }
  Variants *v;
  int rc = variants_of(c, &v);
  if (rc) {
    variants_free(v);
    return rc;
  }
  /* what is compiled for other machines is built on any */
  Cli here = *c;
  here.backend = here.gpu_arch = NULL;
  rc = cli_open(&here, &s, &m);
  dhc_build_options o = {.name = c->name, .stem = stem_of(c, stem, sizeof stem), .entries = c->entries, .n_entries = c->n_entries,
                         .optional = (const char *const *)c->optional.at, .n_optional = c->optional.n, .target = c->target, .cpu = c->cpu,
                         .features = c->features, .multiversion = c->multiversion, .large = c->large, .backend = c->backend, .gpu_arch = c->gpu_arch,
                         .seed = (uint64_t)c->seed, .bind = c->bind, .weights = c->weights, .weights_file = c->weights_file,
                         .selftest = (int)c->selftest, .max_ram = c->max_ram, .max_stack = c->max_stack, .max_flash = c->max_flash,
                         .c = c->emit && !strcmp(c->emit, "c"), .out = c->outputs, .header = c->header, .bounds = c->bounds,
                         .quantize = c->quantize, .data = c->quantize ? c->data : NULL, .split = c->split, .batch = c->batch,
                         .limit = c->limit, .bounded = c->timing != NULL, .variants = v->at, .n_variants = v->n};
  dhc_build_result r = {0};
  if (!rc) rc = cli_done(c, s, dhc_model_build(m, &o, &r));
  cJSON *doc = cli_doc(c);
  if (!rc && doc) {
    cJSON_AddStringToObject(doc, "object", c->outputs);
    if (c->header) cJSON_AddStringToObject(doc, "header", c->header);
    if (c->bounds) cJSON_AddStringToObject(doc, "bounds", c->bounds);
    cJSON_AddNumberToObject(doc, "object_bytes", (double)r.object_bytes);
    cJSON_AddNumberToObject(doc, "weights_bytes", (double)r.weights_bytes);
    add_bytes(doc, "code_bytes", r.code_bytes);
    add_bytes(doc, "workspace_bytes", r.workspace_bytes);
    add_bytes(doc, "state_bytes", r.state_bytes);
    add_bytes(doc, "stack_bytes", r.stack_bytes ? r.stack_bytes : -1);
    cJSON_AddNumberToObject(doc, "entries", r.n_entries);
    if (v->n) cJSON_AddNumberToObject(doc, "variants", v->n);
    cJSON_AddNumberToObject(doc, "kernels", r.n_kernels);
  } else if (!rc) {
    const char *where = (c->weights || c->variant_weights.n) && !c->weights_file ? "embedded" : "passed by the caller";
    char weights[64] = "no weights to pass";
    if (r.weights_bytes) snprintf(weights, sizeof weights, "weights %lld bytes, %s", (long long)r.weights_bytes, where);
    cli_note(c, "%s: %d entr%s, %d kernels, %lld bytes; %s", c->outputs, r.n_entries, r.n_entries == 1 ? "y" : "ies", r.n_kernels, (long long)r.object_bytes, weights);
  }
  if (!rc && c->quantize) report_quantized(c, &r);
  if (!rc && c->measured) rc = report_build(c, s, m, &o, &r);
  variants_free(v);
  cli_close(c, s, m);
  return rc;
}
