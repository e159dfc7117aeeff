/* check, info, print: commands about a model. */
#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"

int cmd_check(const Cli *c) {
  dhc_session *s = NULL;
  dhc_model *m = NULL;
  int rc = cli_open_session(c, &s);
  if (!rc) rc = cli_open_model(c, s, &m);
  if (!rc) {
    dhc_status st = dhc_model_check(m);
    if (dhc_session_errors(s)) {
      cli_print_diagnostics(c, s);
      rc = 1;
    } else {
      if (dhc_session_warnings(s)) cli_print_diagnostics(c, s);
      rc = cli_fail(st);
    }
  }
  if (c->json && !rc) {
    cJSON *doc = cJSON_CreateObject();
    cJSON_AddNumberToObject(doc, "errors", 0);
    cJSON_AddNumberToObject(doc, "warnings", dhc_session_warnings(s));
    cJSON_AddStringToObject(doc, "model", dhc_model_name(m));
    cli_print_json(doc);
  } else if (!rc) {
    cli_note(c, "%s: no errors, %d warning%s", dhc_model_name(m), dhc_session_warnings(s),
             dhc_session_warnings(s) == 1 ? "" : "s");
  }
  dhc_model_close(m);
  dhc_session_close(s);
  return rc;
}

static void print_count(const char *label, const cJSON *doc, const char *key, const char *unit) {
  const cJSON *v = cJSON_GetObjectItem(doc, key);
  if (!cJSON_IsNumber(v)) return;
  char digits[32], text[48];
  int n = snprintf(digits, sizeof digits, "%.0f", v->valuedouble), k = 0;
  for (int i = 0; i < n; i++) {
    if (i && (n - i) % 3 == 0 && digits[i - 1] != '-') text[k++] = ',';
    text[k++] = digits[i];
  }
  text[k] = 0;
  printf("%-22s %s%s\n", label, text, unit);
}

static void print_info(const cJSON *doc) {
  printf("%-22s %s\n", "model", cJSON_GetStringValue(cJSON_GetObjectItem(doc, "model")));
  print_count("parameters", doc, "parameters", "");
  print_count("buffers", doc, "buffers", "");
  print_count("weight bytes", doc, "weight_bytes", "");
  const cJSON *entry = cJSON_GetObjectItem(doc, "entry");
  if (entry) {
    printf("%-22s %s\n", "entry", cJSON_GetStringValue(cJSON_GetObjectItem(entry, "name")));
    print_count("  FLOPs", entry, "flops", "");
    print_count("  bytes moved", entry, "bytes", "");
    print_count("  workspace", entry, "workspace_bytes", " bytes");
    print_count("  distinct kernels", entry, "kernels", "");
    print_count("  kernel calls", entry, "calls", "");
  }
  const char *mixers = cJSON_GetStringValue(cJSON_GetObjectItem(doc, "mixers"));
  if (mixers) printf("%-22s %s\n", "mixers", mixers);
  const cJSON *layer;
  printf("layers\n");
  cJSON_ArrayForEach(layer, cJSON_GetObjectItem(doc, "layers")) {
    const char *path = cJSON_GetStringValue(cJSON_GetObjectItem(layer, "path"));
    printf("  %-40s %12.0f\n", path && *path ? path : "(all)",
           cJSON_GetNumberValue(cJSON_GetObjectItem(layer, "parameters")));
  }
  const cJSON *state;
  if (cJSON_GetObjectItem(doc, "state")) printf("state\n");
  cJSON_ArrayForEach(state, cJSON_GetObjectItem(doc, "state"))
    printf("  %-40s %s\n", cJSON_GetStringValue(cJSON_GetObjectItem(state, "path")),
           cJSON_GetStringValue(cJSON_GetObjectItem(state, "type")));
  const cJSON *note;
  cJSON_ArrayForEach(note, cJSON_GetObjectItem(doc, "notes")) printf("note: %s\n", cJSON_GetStringValue(note));
}

int cmd_info(const Cli *c) {
  dhc_session *s = NULL;
  dhc_model *m = NULL;
  char *text = NULL;
  int rc = cli_open_session(c, &s);
  if (!rc) rc = cli_open_model(c, s, &m);
  if (!rc) {
    dhc_status st = dhc_model_info_json(m, c->entry, c->sizes, &text);
    if (dhc_session_errors(s)) dhc_session_print_diagnostics(s, stderr, cli_color(c, stderr));
    rc = cli_fail(st);
  }
  if (!rc) {
    cJSON *doc = cJSON_Parse(text);
    cli_json_stats(doc, s);
    if (c->json) {
      cli_print_json(doc);
    } else {
      print_info(doc);
      cJSON_Delete(doc);
    }
  }
  free(text);
  dhc_model_close(m);
  dhc_session_close(s);
  return rc;
}

int cmd_print(const Cli *c) {
  dhc_session *s = NULL;
  dhc_model *m = NULL;
  char *text = NULL;
  int rc = cli_open_session(c, &s);
  if (!rc) rc = cli_open_model(c, s, &m);
  if (!rc) {
    dhc_status st = dhc_model_print(m, c->entry, c->stage ? c->stage : "graph", &text);
    if (dhc_session_errors(s)) {
      dhc_session_print_diagnostics(s, stderr, cli_color(c, stderr));
      rc = 1;
    } else {
      rc = cli_fail(st);
    }
  }
  if (!rc) fputs(text, stdout);
  free(text);
  dhc_model_close(m);
  dhc_session_close(s);
  return rc;
}
