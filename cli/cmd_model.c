/* check, info, print: commands about a model. */
#include <cjson/cJSON.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/costs.h"

int cmd_check(const Cli *c) {
  dhc_session *s = NULL;
  dhc_model *m = NULL;
  int rc = cli_open(c, &s, &m);
  if (!rc) rc = cli_done(c, s, dhc_model_check(m));
  int errors = s ? dhc_session_errors(s) : 0, warnings = s ? dhc_session_warnings(s) : 0;
  if (cli_doc(c)) {
    cJSON_AddNumberToObject(cli_doc(c), "errors", errors);
    cJSON_AddNumberToObject(cli_doc(c), "warnings", warnings);
    if (m) cJSON_AddStringToObject(cli_doc(c), "model", dhc_model_name(m));
  } else if (!rc) {
    cli_note(c, "%s: no errors, %d warning%s", dhc_model_name(m), warnings, warnings == 1 ? "" : "s");
  }
  cli_close(c, s, m);
  return rc;
}

/* ---- info -------------------------------------------------------------------------- */

/* 1234567 as 1,234,567. */
static const char *grouped(double value, char text[48]) {
  char digits[32];
  int n = snprintf(digits, sizeof digits, "%.0f", value), k = 0;
  for (int i = 0; i < n; i++) {
    if (i && (n - i) % 3 == 0 && digits[i - 1] != '-') text[k++] = ',';
    text[k++] = digits[i];
  }
  text[k] = 0;
  return text;
}

static void print_count(const char *label, const cJSON *doc, const char *key, const char *unit) {
  const cJSON *v = cJSON_GetObjectItem(doc, key);
  char text[48];
  if (cJSON_IsNumber(v)) printf("%-22s %s%s\n", label, grouped(v->valuedouble, text), unit);
}

static void print_text(const char *label, const cJSON *doc, const char *key) {
  const char *v = cJSON_GetStringValue(cJSON_GetObjectItem(doc, key));
  if (v) printf("%-22s %s\n", label, v);
}

static void print_layers(const cJSON *layers) {
  const cJSON *layer;
  int width = 24;
  bool costs = cJSON_GetObjectItem(cJSON_GetArrayItem(layers, 0), "flops") != NULL;
  char text[48];
  cJSON_ArrayForEach(layer, layers) {
    const char *path = cJSON_GetStringValue(cJSON_GetObjectItem(layer, "path"));
    if (path && (int)strlen(path) > width) width = (int)strlen(path);
  }
  printf("\n%-*s %-18s %14s%s\n", width, "layers", "made by", "parameters", costs ? "          FLOPs  gives" : "");
  cJSON_ArrayForEach(layer, layers) {
    const char *path = cJSON_GetStringValue(cJSON_GetObjectItem(layer, "path"));
    const char *made = cJSON_GetStringValue(cJSON_GetObjectItem(layer, "layer"));
    const char *output = cJSON_GetStringValue(cJSON_GetObjectItem(layer, "output"));
    printf("%-*s %-18s %14s", width, path && *path ? path : "(all)", made ? made : "",
           grouped(cJSON_GetNumberValue(cJSON_GetObjectItem(layer, "parameters")), text));
    if (costs) printf(" %14s  %s", grouped(cJSON_GetNumberValue(cJSON_GetObjectItem(layer, "flops")), text), output ? output : "-");
    putchar('\n');
  }
}

static void print_entry(const cJSON *entry) {
  print_text("entry", entry, "name");
  print_text("  sizes", entry, "sizes");
  print_count("  FLOPs", entry, "flops", "");
  print_count("  workspace", entry, "workspace_bytes", " bytes");
  print_count("  memory in all", entry, "planned_bytes", " bytes");
  print_count("  distinct kernels", entry, "kernels", "");
  print_count("  kernel calls", entry, "calls", "");
  const cJSON *guard;
  cJSON_ArrayForEach(guard, cJSON_GetObjectItem(entry, "guards"))
    printf("%-22s %s\n", "  compiled for", cJSON_GetStringValue(guard));
}

const char *cli_short_number(double v, const char *unit, char text[48]) {
  static const char *const big[] = {"", " k", " M", " G", " T", " P"};
  bool bytes = !strcmp(unit, "bytes");
  int k = 0;
  double x = v;
  while (x >= 9999.5 && k < 5) x /= 1000, k++;
  if (k == 0) snprintf(text, 48, "%.0f%s%s", v, *unit ? " " : "", unit);
  else snprintf(text, 48, "%.*f%s%s", x < 99.95 ? 2 : x < 999.5 ? 1 : 0, x, big[k], bytes ? "B" : *unit ? unit : "");
  return text;
}

static void print_costs(const cJSON *costs) {
  dhc_cost_info info;
  char text[48];
  if (costs) printf("\ncosts\n");
  for (int i = 0; costs && dhc_costs_field(NULL, i, &info, NULL); i++) {
    const cJSON *v = cJSON_GetObjectItem(costs, info.name);
    if (v) printf("  %-24s %12s  %s\n", info.name, cli_short_number(v->valuedouble, info.unit, text), info.text);
  }
}

static void print_lengths(const cJSON *lengths) {
  const cJSON *row;
  char a[48], b[48];
  if (lengths) printf("\n  %-8s %14s %14s\n", "length", "caches", "states");
  cJSON_ArrayForEach(row, lengths)
    printf("  %-8.0f %14s %14s\n", cJSON_GetNumberValue(cJSON_GetObjectItem(row, "length")),
           cli_short_number(cJSON_GetNumberValue(cJSON_GetObjectItem(row, "cache_bytes")), "bytes", a),
           cli_short_number(cJSON_GetNumberValue(cJSON_GetObjectItem(row, "state_bytes")), "bytes", b));
}

static void print_unrolled(const cJSON *list) {
  const cJSON *row;
  if (cJSON_GetArraySize(list) > 0) printf("\nunrolled: another value compiles kernels\n");
  cJSON_ArrayForEach(row, list) {
    const char *by = cJSON_GetStringValue(cJSON_GetObjectItem(row, "by")), *name = cJSON_GetStringValue(cJSON_GetObjectItem(row, "name"));
    printf("  %-8.0f by %s%s%s%s\n", cJSON_GetNumberValue(cJSON_GetObjectItem(row, "extent")), by ? by : "", name ? " (" : "", name ? name : "",
           name ? ")" : "");
  }
}

static void print_states(const cJSON *states) {
  const cJSON *state;
  if (states) printf("\nstate\n");
  cJSON_ArrayForEach(state, states)
    printf("  %-40s %s\n", cJSON_GetStringValue(cJSON_GetObjectItem(state, "path")),
           cJSON_GetStringValue(cJSON_GetObjectItem(state, "type")));
}

static void print_tensors(const cJSON *list) {
  const cJSON *t;
  cJSON_ArrayForEach(t, list) printf("%s%s: %s%s", t->prev && t->prev->next ? ", " : "", cJSON_GetStringValue(cJSON_GetObjectItem(t, "name")),
                                     cJSON_GetStringValue(cJSON_GetObjectItem(t, "type")), cJSON_GetObjectItem(t, "optional") ? " = ..." : "");
}

static void print_entries(const cJSON *signatures) {
  const cJSON *e;
  printf("\nentries\n");
  cJSON_ArrayForEach(e, signatures) {
    printf("  %s(", cJSON_GetStringValue(cJSON_GetObjectItem(e, "name")));
    print_tensors(cJSON_GetObjectItem(e, "inputs"));
    printf(") -> (");
    print_tensors(cJSON_GetObjectItem(e, "results"));
    printf(")\n");
  }
}

static void print_info(const cJSON *doc) {
  print_text("model", doc, "model");
  print_text("hash", doc, "hash");
  print_count("parameters", doc, "parameters", "");
  print_count("buffers", doc, "buffers", "");
  print_count("weight bytes", doc, "weight_bytes", "");
  print_text("mixers", doc, "mixers");
  const cJSON *entry = cJSON_GetObjectItem(doc, "entry"), *note;
  if (entry) print_entry(entry);
  print_costs(cJSON_GetObjectItem(doc, "costs"));
  print_lengths(cJSON_GetObjectItem(doc, "lengths"));
  print_unrolled(cJSON_GetObjectItem(doc, "unrolled"));
  print_states(cJSON_GetObjectItem(doc, "state"));
  print_entries(cJSON_GetObjectItem(doc, "signatures"));
  print_layers(cJSON_GetObjectItem(doc, "layers"));
  cJSON_ArrayForEach(note, cJSON_GetObjectItem(doc, "notes")) printf("note: %s\n", cJSON_GetStringValue(note));
}

/* Moves every field of `from` into the document; deletes `from`. */
static void add_fields(const Cli *c, cJSON *from) {
  cJSON *field;
  while (from && (field = from->child)) {
    cJSON_DetachItemViaPointer(from, field);
    cli_add(cli_doc(c), field->string, field);
  }
  cJSON_Delete(from);
}

static int print_csv(const Cli *c, dhc_session *s, dhc_model *m) {
  dhc_costs costs;
  dhc_cost_info info;
  double value;
  int rc = cli_done(c, s, dhc_model_costs(m, &(dhc_costs_options){.entry = c->entry, .sizes = c->sizes}, &costs));
  if (rc) return rc;
  char *text = NULL;
  rc = cli_done(c, s, dhc_model_info_json(m, NULL, NULL, &text));
  if (rc) return rc;
  cJSON *about = cJSON_Parse(text);
  free(text);
  if (!about) return cli_no_memory(c);
  printf("model,hash,entry,sizes");
  for (int i = 0; dhc_costs_field(&costs, i, &info, NULL); i++) printf(",%s", info.name);
  printf("\n%s,%s,%s,\"%s\"", dhc_model_name(m), cJSON_GetStringValue(cJSON_GetObjectItem(about, "hash")), c->entry ? c->entry : "forward", costs.sizes);
  for (int i = 0; dhc_costs_field(&costs, i, &info, &value); i++) {
    printf(",");
    cli_csv_number(value, stdout);
  }
  printf("\n");
  cJSON_Delete(about);
  return 0;
}

/* What a sequence keeps, against its length. */
static int draw_lengths(const Cli *c, dhc_session *s, dhc_model *m) {
  dhc_costs costs;
  Costs all = {0};
  int rc = cli_done(c, s, dhc_model_costs(m, &(dhc_costs_options){.entry = c->entry, .sizes = c->sizes, .no_train = true}, &costs));
  if (rc) return rc;
  dhc_costs states = costs, caches = costs;
  states.cache_bytes_token = NAN;
  caches.state_bytes = NAN;
  costs_add(&all, "states", &states);
  costs_add(&all, "keys and values", &caches);
  Cli drawn = *c;
  drawn.x = "length";
  rc = costs_write(&drawn, &all);
  costs_free(&all);
  return rc;
}

static int compile_entry(const Cli *c, dhc_session *s, dhc_model *m) {
  dhc_costs costs;
  const dhc_costs_options o = {.entry = c->entry, .sizes = c->sizes, .no_train = true, .compile = true};
  return cli_done(c, s, dhc_model_costs(m, &o, &costs));
}

int cmd_info(const Cli *c) {
  if (c->outputs && !figure_form(c->outputs)) {
    cli_error(c, "info: -o needs FILE that ends in " FIGURE_FORMS);
    return 2;
  }
  dhc_session *s = NULL;
  dhc_model *m = NULL;
  char *text = NULL;
  int rc = cli_open(c, &s, &m);
  if (!rc && c->compile) rc = compile_entry(c, s, m);
  if (!rc && c->outputs) rc = draw_lengths(c, s, m);
  if (!rc && c->csv) {
    rc = print_csv(c, s, m);
    cli_close(c, s, m);
    return rc;
  }
  if (!rc) rc = cli_done(c, s, dhc_model_info_json(m, c->entry, c->sizes, &text));
  cJSON *info = text ? cJSON_Parse(text) : NULL;
  if (info && !cli_doc(c)) print_info(info);
  if (cli_doc(c))
    add_fields(c, info);
  else
    cJSON_Delete(info);
  free(text);
  cli_close(c, s, m);
  return rc;
}

/* Plans of two variants. */
static int print_diff(const Cli *c) {
  dhc_session *s = NULL;
  char *text = NULL;
  if (c->n_args != 3) {
    cli_error(c, "print --diff: needs MODEL A B: variants as key=value,... or a name, . for the model itself");
    return 2;
  }
  const dhc_model_options o = {.name = c->args[0], .root = c->root, .preset = c->preset, .recipe = c->recipe, .sets = c->sets, .n_sets = c->n_sets};
  int rc = cli_open_session(c, &s);
  if (!rc) rc = cli_done(c, s, dhc_plans_diff(s, &o, c->args[1], c->args[2], c->entry, c->stage ? c->stage : "plan", &text));
  if (text && cli_doc(c)) cJSON_AddStringToObject(cli_doc(c), "text", text);
  else if (text) fputs(text, stdout);
  free(text);
  cli_close(c, s, NULL);
  return rc;
}

int cmd_print(const Cli *c) {
  dhc_session *s = NULL;
  dhc_model *m = NULL;
  char *text = NULL;
  if (c->diff) return print_diff(c);
  if (c->n_args > 1) {
    cli_error(c, "print: too many arguments, from \"%s\" on (--diff compares variants)", c->args[1]);
    return 2;
  }
  int rc = cli_open(c, &s, &m);
  if (!rc) rc = cli_done(c, s, dhc_model_print(m, c->entry, c->stage ? c->stage : "graph", &text));
  if (text && cli_doc(c))
    cJSON_AddStringToObject(cli_doc(c), "text", text);
  else if (text)
    fputs(text, stdout);
  free(text);
  cli_close(c, s, m);
  return rc;
}
