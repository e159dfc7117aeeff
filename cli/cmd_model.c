/* check, info, print: commands about a model. */
#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"

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
  char text[48];
  cJSON_ArrayForEach(layer, layers) {
    const char *path = cJSON_GetStringValue(cJSON_GetObjectItem(layer, "path"));
    if (path && (int)strlen(path) > width) width = (int)strlen(path);
  }
  printf("\n%-*s %-18s %14s\n", width, "layers", "made by", "parameters");
  cJSON_ArrayForEach(layer, layers) {
    const char *path = cJSON_GetStringValue(cJSON_GetObjectItem(layer, "path"));
    const char *made = cJSON_GetStringValue(cJSON_GetObjectItem(layer, "layer"));
    printf("%-*s %-18s %14s\n", width, path && *path ? path : "(all)", made ? made : "",
           grouped(cJSON_GetNumberValue(cJSON_GetObjectItem(layer, "parameters")), text));
  }
}

static void print_entry(const cJSON *entry) {
  print_text("entry", entry, "name");
  print_text("  sizes", entry, "sizes");
  print_count("  FLOPs", entry, "flops", "");
  print_count("  workspace", entry, "workspace_bytes", " bytes");
  print_count("  memory in all", entry, "allocated_bytes", " bytes");
  print_count("  distinct kernels", entry, "kernels", "");
  print_count("  kernel calls", entry, "calls", "");
  const cJSON *guard;
  cJSON_ArrayForEach(guard, cJSON_GetObjectItem(entry, "guards"))
    printf("%-22s %s\n", "  compiled for", cJSON_GetStringValue(guard));
}

static void print_states(const cJSON *states) {
  const cJSON *state;
  if (states) printf("\nstate\n");
  cJSON_ArrayForEach(state, states)
    printf("  %-40s %s\n", cJSON_GetStringValue(cJSON_GetObjectItem(state, "path")),
           cJSON_GetStringValue(cJSON_GetObjectItem(state, "type")));
}

static void print_info(const cJSON *doc) {
  print_text("model", doc, "model");
  print_count("parameters", doc, "parameters", "");
  print_count("buffers", doc, "buffers", "");
  print_count("weight bytes", doc, "weight_bytes", "");
  print_text("mixers", doc, "mixers");
  const cJSON *entry = cJSON_GetObjectItem(doc, "entry"), *note;
  if (entry) print_entry(entry);
  print_states(cJSON_GetObjectItem(doc, "state"));
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

int cmd_info(const Cli *c) {
  dhc_session *s = NULL;
  dhc_model *m = NULL;
  char *text = NULL;
  int rc = cli_open(c, &s, &m);
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

int cmd_print(const Cli *c) {
  dhc_session *s = NULL;
  dhc_model *m = NULL;
  char *text = NULL;
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
