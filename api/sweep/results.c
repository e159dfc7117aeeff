/* sweep.json and results.csv: written anew, whole, after every run. */
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

#include "api/sweep/study.h"
#include "runtime/io.h"
#include "runtime/number.h"

enum { MOST_RUNS = 1 << 20 }; /* that a file may describe */

const char *study_number(DhcArena *a, double v) {
  char text[DHC_NUMBER_CHARS];
  if (!isfinite(v)) return "";
  dhc_number_text(v, 9, 17, text);
  return dhc_arena_strdup(a, text);
}

/* ---- results.csv ------------------------------------------------------------------------ */

static void put_field(DhcText *t, const char *text) {
  if (!text[strcspn(text, ",\"\n\r")]) {
    dhc_text_puts(t, text);
    return;
  }
  dhc_text_puts(t, "\"");
  for (; *text; text++) dhc_text_printf(t, *text == '"' ? "\"\"" : "%c", *text);
  dhc_text_puts(t, "\"");
}

static void put_run(const Study *t, const StudyRun *r, DhcText *to) {
  const StudyVariant *v = &t->variants.at[r->variant];
  const char *const texts[] = {v->name, v->id.hash, v->settings, v->id.mixers, v->id.pattern};
  for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
    if (i) dhc_text_puts(to, ",");
    put_field(to, texts[i]);
  }
  dhc_text_printf(to, ",%s,%lld,%llu,%s", v->id.length >= 0 ? study_number(t->arena, (double)v->id.length) : "", (long long)v->id.parameters,
                  (unsigned long long)r->seed, r->result.status);
  for (int i = 0; i < STUDY_N_COLUMNS; i++) dhc_text_printf(to, ",%s", study_number(t->arena, study_value(&r->result, i)));
  dhc_text_puts(to, "\n");
}

static dhc_status write_csv(const Study *t) {
  DhcText text = {.arena = t->arena};
  dhc_text_puts(&text, "name,hash,settings,mixers,pattern,sequence_length,parameters,seed,status");
  for (int i = 0; i < STUDY_N_COLUMNS; i++) dhc_text_printf(&text, ",%s", study_columns[i].name);
  dhc_text_puts(&text, "\n");
  for (int i = 0; i < t->runs.n; i++)
    if (t->runs.at[i].result.status) put_run(t, &t->runs.at[i], &text);
  return dhc_file_replace(study_path(t, "results.csv"), text.at, (size_t)text.n);
}

/* ---- sweep.json ---------------------------------------------------------------------------- */

static void put_variants(const Study *t, JsonDoc *d) {
  cJSON *list = json_array(d, d->root, "variants");
  for (int i = 0; i < t->variants.n; i++) {
    const StudyVariant *v = &t->variants.at[i];
    cJSON *row = json_object(d, list, NULL);
    json_text(d, row, "name", v->name);
    json_text(d, row, "hash", v->id.hash);
    json_text(d, row, "settings", v->settings);
    json_text(d, row, "mixers", v->id.mixers);
    json_text(d, row, "pattern", v->id.pattern);
    json_text(d, row, "order", v->id.order);
    json_number(d, row, "sequence_length", (double)v->id.length);
    json_number(d, row, "parameters", (double)v->id.parameters);
  }
  list = json_array(d, d->root, "merged");
  for (int i = 0; i < t->merged.n; i++) {
    cJSON *row = json_object(d, list, NULL);
    json_text(d, row, "name", t->merged.at[i].name);
    json_text(d, row, "hash", t->merged.at[i].hash);
    json_text(d, row, "same_as", t->merged.at[i].same_as);
  }
}

static void put_runs(const Study *t, JsonDoc *d, bool numbers) {
  int done = 0;
  cJSON *list = json_array(d, d->root, "runs");
  for (int i = 0; i < t->runs.n; i++) {
    const StudyRun *r = &t->runs.at[i];
    cJSON *row = json_object(d, list, NULL);
    json_text(d, row, "name", t->variants.at[r->variant].name);
    json_text(d, row, "hash", t->variants.at[r->variant].id.hash);
    json_number(d, row, "seed", (double)r->seed);
    json_text(d, row, "folder", r->folder);
    json_text(d, row, "status", r->result.status ? r->result.status : "left");
    if (r->result.status && *r->result.message) json_text(d, row, "message", r->result.message);
    for (int k = 0; numbers && k < STUDY_N_COLUMNS; k++)
      if (!isnan(study_value(&r->result, k))) json_number(d, row, study_columns[k].name, study_value(&r->result, k));
    done += r->result.status != NULL;
  }
  json_number(d, d->root, "runs_done", done);
  json_number(d, d->root, "runs_all", t->runs.n);
}

dhc_status study_json(const Study *t, bool numbers, char **out) {
  JsonDoc d;
  json_begin(&d);
  json_number(&d, d.root, "format", 1);
  json_text(&d, d.root, "dhcc", dhc_version());
  json_text(&d, d.root, "command", t->command);
  cJSON *settings = json_object(&d, d.root, "settings");
  for (int i = 0; i < t->settings.n; i++) json_text(&d, settings, t->settings.at[i].name, t->settings.at[i].value);
  cJSON *seeds = json_array(&d, d.root, "seeds");
  for (int i = 0; i < t->n_seeds; i++) json_number(&d, seeds, NULL, (double)t->seeds[i]);
  if (t->baseline) json_text(&d, d.root, "baseline", t->baseline);
  if (*t->metric) json_text(&d, d.root, "metric_asked", t->metric);
  put_variants(t, &d);
  put_runs(t, &d, numbers);
  study_summarise(t, &d);
  return json_end(&d, dhc_status_ok(), true, out);
}

static dhc_status write_json(const Study *t) {
  char *text;
  DHC_TRY(study_json(t, false, &text));
  dhc_status st = dhc_file_replace(study_path(t, "sweep.json"), text, strlen(text));
  free(text);
  return st;
}

dhc_status study_write(const Study *t) {
  DhcArena scratch;
  Study s = *t; /* a file's texts go when it is written */
  dhc_arena_init(&scratch);
  s.arena = &scratch;
  dhc_status st = write_csv(&s);
  if (st.code == DHC_OK) st = write_json(&s);
  dhc_arena_fini(&scratch);
  return st;
}

/* ---- reading ----------------------------------------------------------------------------------- */

bool study_is_there(const char *out) {
  char path[4096];
  int n = snprintf(path, sizeof path, "%s/sweep.json", out);
  return n > 0 && (size_t)n < sizeof path && access(path, F_OK) == 0;
}

static const char *text_in(const Study *t, const cJSON *json, const char *name) {
  const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, name));
  return text ? dhc_arena_strdup(t->arena, text) : "";
}

static double number_in(const cJSON *json, const char *name) {
  const cJSON *v = cJSON_GetObjectItemCaseSensitive(json, name);
  return cJSON_IsNumber(v) ? v->valuedouble : -1;
}

static bool take_variants(Study *t, const cJSON *json) {
  const cJSON *row;
  cJSON_ArrayForEach(row, cJSON_GetObjectItemCaseSensitive(json, "variants")) {
    StudyVariant v = {.name = text_in(t, row, "name"), .number = -1, .settings = text_in(t, row, "settings")};
    v.id = (SweepIdentity){.pattern = text_in(t, row, "pattern"), .order = text_in(t, row, "order"), .mixers = text_in(t, row, "mixers"),
                           .length = dhc_number_whole(number_in(row, "sequence_length")), .parameters = dhc_number_whole(number_in(row, "parameters"))};
    const char *hash = text_in(t, row, "hash");
    if (strlen(hash) != sizeof v.id.hash - 1 || strspn(hash, "0123456789abcdef") != sizeof v.id.hash - 1) return false;
    if (!*v.name || v.id.parameters < 0) return false;
    memcpy(v.id.hash, hash, sizeof v.id.hash);
    DHC_PUSH(t->arena, &t->variants, v);
  }
  cJSON_ArrayForEach(row, cJSON_GetObjectItemCaseSensitive(json, "merged")) {
    StudyMerged m = {text_in(t, row, "name"), text_in(t, row, "hash"), text_in(t, row, "same_as")};
    DHC_PUSH(t->arena, &t->merged, m);
  }
  return t->variants.n > 0;
}

static bool take(Study *t, const cJSON *json) {
  const cJSON *row, *seeds = cJSON_GetObjectItemCaseSensitive(json, "seeds");
  if (number_in(json, "format") != 1 || !cJSON_IsArray(seeds)) return false;
  t->command = text_in(t, json, "command");
  t->metric = text_in(t, json, "metric_asked");
  t->baseline = text_in(t, json, "baseline");
  if (!*t->baseline) t->baseline = NULL;
  cJSON_ArrayForEach(row, cJSON_GetObjectItemCaseSensitive(json, "settings")) if (cJSON_IsString(row) && row->string) { /* of an object */
    StudySetting s = {dhc_arena_strdup(t->arena, row->string), dhc_arena_strdup(t->arena, row->valuestring)};
    DHC_PUSH(t->arena, &t->settings, s);
  }
  uint64_t *seed = DHC_NEW_N(t->arena, uint64_t, cJSON_GetArraySize(seeds) + 1);
  cJSON_ArrayForEach(row, seeds) if (cJSON_IsNumber(row) && row->valuedouble >= 0 && row->valuedouble <= UINT32_MAX)
      seed[t->n_seeds++] = (uint64_t)row->valuedouble;
  t->seeds = seed;
  if (!take_variants(t, json)) return false;
  if ((int64_t)t->variants.n * t->n_seeds > MOST_RUNS) return false;
  study_add_runs(t);
  return true;
}

static void drop_json(void *json) {
  cJSON_Delete(json);
}

dhc_status study_read(Study *t) {
  DhcMapping map;
  if (!study_is_there(t->out)) return dhc_status_make(DHC_E_INPUT, "%s: holds no sweep", t->out);
  DHC_TRY(dhc_map_open(study_path(t, "sweep.json"), &map));
  cJSON *json = cJSON_ParseWithLength((const char *)map.bytes, map.n_bytes);
  dhc_map_close(&map);
  DhcHeld held;
  dhc_hold(&held, drop_json, json);
  bool ok = json && take(t, json);
  dhc_release(&held);
  cJSON_Delete(json);
  return ok ? dhc_status_ok() : dhc_status_make(DHC_E_INPUT, "%s: holds no sweep: sweep.json describes none", t->out);
}

/* ---- for whoever draws ------------------------------------------------------------------------ */

static dhc_status read_folder(const char *folder, const char *metric, DhcArena *a, char **out) {
  Study t = {.out = folder, .arena = a};
  DHC_TRY(study_read(&t));
  DHC_TRY(study_read_results(&t));
  if (metric) t.metric = metric;
  return study_json(&t, true, out);
}

dhc_status api_sweep_json(const char *folder, const char *metric, char **out) {
  NEED_OUT(out);
  NEED(folder);
  if (metric) DHC_TRY(study_check_metric(metric));
  DhcArena a;
  dhc_arena_init(&a);
  dhc_status st = read_folder(folder, metric, &a, out);
  dhc_arena_fini(&a);
  return st;
}
