/* What a run came to: from the rows of its metrics, so that it does not matter in how many pieces it ran. */
#include <cjson/cJSON.h>
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

#include "api/json.h"
#include "api/sweep/study.h"
#include "runtime/io.h"

static const char *run_json(const Study *t, const StudyRun *r) {
  return dhc_arena_printf(t->arena, "%s/%s/run.json", t->out, r->folder);
}

/* ---- run.json -------------------------------------------------------------------------- */

static void drop_json(void *json) {
  cJSON_Delete(json);
}

static const char *text_of(const Study *t, const cJSON *json, const char *name) {
  const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, name));
  return text ? dhc_arena_strdup(t->arena, text) : "";
}

static void take_result(Study *t, StudyRun *r, const cJSON *json) {
  const char *hash = text_of(t, json, "hash"), *status = text_of(t, json, "status");
  bool known = !strcmp(status, "done") || !strcmp(status, "numeric");
  if (!known || strcmp(hash, t->variants.at[r->variant].id.hash)) return;
  r->result = (StudyResult){.status = status, .message = text_of(t, json, "message"), .run_id = text_of(t, json, "run_id")};
  for (int i = 0; i < STUDY_N_COLUMNS; i++) {
    const cJSON *v = cJSON_GetObjectItemCaseSensitive(json, study_columns[i].name);
    *(double *)(void *)((char *)&r->result + study_columns[i].at) = cJSON_IsNumber(v) ? v->valuedouble : (double)NAN;
  }
}

dhc_status study_read_results(Study *t) {
  for (int i = 0; i < t->runs.n; i++) {
    StudyRun *r = &t->runs.at[i];
    r->result = (StudyResult){.status = NULL};
    DhcMapping map;
    dhc_status st = dhc_map_open(run_json(t, r), &map);
    if (st.code == DHC_E_ENVIRONMENT) return st;
    if (st.code != DHC_OK) continue; /* none is there */
    cJSON *json = cJSON_ParseWithLength((const char *)map.bytes, map.n_bytes);
    dhc_map_close(&map);
    DhcHeld held;
    dhc_hold(&held, drop_json, json);
    take_result(t, r, json);
    dhc_release(&held);
    cJSON_Delete(json);
  }
  return dhc_status_ok();
}

static dhc_status write_run(Study *t, const StudyRun *r) {
  const StudyVariant *v = &t->variants.at[r->variant];
  JsonDoc d;
  json_begin(&d);
  json_text(&d, d.root, "name", v->name);
  json_text(&d, d.root, "hash", v->id.hash);
  json_text(&d, d.root, "mixers", v->id.mixers);
  json_text(&d, d.root, "pattern", v->id.pattern);
  json_number(&d, d.root, "sequence_length", (double)v->id.length);
  json_number(&d, d.root, "parameters", (double)v->id.parameters);
  json_number(&d, d.root, "seed", (double)r->seed);
  json_text(&d, d.root, "run_id", r->result.run_id);
  json_text(&d, d.root, "status", r->result.status);
  if (*r->result.message) json_text(&d, d.root, "message", r->result.message);
  for (int i = 0; i < STUDY_N_COLUMNS; i++)
    if (!isnan(study_value(&r->result, i))) json_number(&d, d.root, study_columns[i].name, study_value(&r->result, i));
  char *text;
  dhc_status st = json_end(&d, dhc_status_ok(), true, &text);
  if (st.code == DHC_OK) st = dhc_file_make_folder(study_path(t, r->folder)); /* a first step that failed has left none */
  if (st.code == DHC_OK) st = dhc_file_replace(run_json(t, r), text, strlen(text));
  free(text);
  return st;
}

/* ---- metrics.csv -------------------------------------------------------------------------- */

typedef struct Row {
  double step, epoch, loss, accuracy, val_loss, val_accuracy;
} Row;
static const struct {
  const char *name;
  size_t at;
} row_columns[] = {{"step", offsetof(Row, step)},         {"epoch", offsetof(Row, epoch)},       {"loss", offsetof(Row, loss)},
                   {"accuracy", offsetof(Row, accuracy)}, {"val_loss", offsetof(Row, val_loss)}, {"val_accuracy", offsetof(Row, val_accuracy)}};
enum { N_ROW_COLUMNS = sizeof row_columns / sizeof row_columns[0] };

/* The k-th field of a line that ends at `end`; false behind the last. Names of taps may be quoted: no comma is in them. */
static bool field(const char *line, const char *end, int k, char out[64]) {
  for (; k > 0; k--) {
    line = memchr(line, ',', (size_t)(end - line));
    if (!line) return false;
    line++;
  }
  const char *stop = memchr(line, ',', (size_t)(end - line));
  snprintf(out, 64, "%.*s", (int)((stop ? stop : end) - line < 63 ? (stop ? stop : end) - line : 63), line);
  return true;
}

static Row read_row(const char *line, const char *end, const int column[N_ROW_COLUMNS]) {
  Row r;
  for (int i = 0; i < N_ROW_COLUMNS; i++) {
    char text[64] = "";
    bool there = column[i] >= 0 && field(line, end, column[i], text) && *text;
    *(double *)(void *)((char *)&r + row_columns[i].at) = there ? strtod(text, NULL) : (double)NAN;
  }
  return r;
}

static void find_columns(const char *line, const char *end, int column[N_ROW_COLUMNS]) {
  char text[64];
  for (int i = 0; i < N_ROW_COLUMNS; i++) column[i] = -1;
  for (int k = 0; field(line, end, k, text); k++)
    for (int i = 0; i < N_ROW_COLUMNS; i++)
      if (!strcmp(text, row_columns[i].name)) column[i] = k;
}

static dhc_status read_metrics(const Study *t, const StudyRun *run, StudyResult *r) {
  DhcMapping map;
  int column[N_ROW_COLUMNS], n = 0;
  DHC_TRY(dhc_map_open(dhc_arena_printf(t->arena, "%s/%s/metrics.csv", t->out, run->folder), &map));
  const char *at = (const char *)map.bytes, *end = at + map.n_bytes;
  while (at < end) {
    const char *stop = memchr(at, '\n', (size_t)(end - at));
    if (!stop) break;
    if (!n++) {
      find_columns(at, stop, column);
    } else {
      Row row = read_row(at, stop, column);
      r->steps = row.step;
      r->epochs = row.epoch;
      r->loss = row.loss;
      r->accuracy = row.accuracy;
      if (!isnan(row.val_loss)) r->val_loss = row.val_loss;
      if (!isnan(row.val_accuracy)) r->val_accuracy = row.val_accuracy;
      r->best_val_accuracy = fmax(r->best_val_accuracy, row.val_accuracy); /* of one NaN the other */
    }
    at = stop + 1;
  }
  dhc_map_close(&map);
  return dhc_status_ok();
}

dhc_status study_finish(Study *t, StudyRun *run, const char *status, const char *message, const dhc_train_result *r) {
  const StudyVariant *v = &t->variants.at[run->variant];
  StudyResult out = {.status = status, .message = dhc_arena_strdup(t->arena, message), .run_id = dhc_arena_strdup(t->arena, r->run_id)};
  for (int i = 0; i < STUDY_N_COLUMNS; i++) *(double *)(void *)((char *)&out + study_columns[i].at) = (double)NAN;
  dhc_status st = read_metrics(t, run, &out);
  if (st.code == DHC_E_ENVIRONMENT || (st.code != DHC_OK && !strcmp(status, "done"))) return st;
  out.peak_bytes = r->peak_bytes > 0 ? (double)r->peak_bytes : (double)NAN;
  out.seconds = r->seconds;
  out.samples_s = r->samples_per_s;
  out.latency_ms = r->latency_ms;
  out.flops = v->flops_example;
  out.active_parameters = v->active_parameters;
  run->result = out;
  return write_run(t, run);
}
