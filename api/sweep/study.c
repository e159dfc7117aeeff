/* Which runs a training sweep has. */
#include <math.h>

#include "api/sweep/study.h"

const StudyColumn study_columns[STUDY_N_COLUMNS] = {
#define RESULT(field, time, text) {#field, offsetof(StudyResult, field), time},
#include "api/sweep/results.def"
};

double study_value(const StudyResult *r, int column) {
  return r->status ? *(const double *)(const void *)((const char *)r + study_columns[column].at) : (double)NAN;
}

const char *study_path(const Study *t, const char *name) {
  return dhc_arena_printf(t->arena, "%s/%s", t->out, name);
}

void study_add_runs(Study *t) {
  for (int v = 0; v < t->variants.n; v++)
    for (int s = 0; s < t->n_seeds; s++) {
      StudyRun r = {.variant = v, .seed = t->seeds[s]};
      r.folder = dhc_arena_printf(t->arena, "runs/%s-s%llu", t->variants.at[v].id.hash, (unsigned long long)t->seeds[s]);
      DHC_PUSH(t->arena, &t->runs, r);
    }
}

int study_variant(const Study *t, const char *name) {
  for (int i = 0; i < t->merged.n; i++)
    if (!strcmp(t->merged.at[i].name, name)) name = t->merged.at[i].same_as;
  for (int i = 0; i < t->variants.n; i++)
    if (!strcmp(t->variants.at[i].name, name)) return i;
  return -1;
}

static dhc_status no_baseline(const Study *t) {
  const char **names = DHC_NEW_N(t->arena, const char *, t->variants.n + 1);
  for (int i = 0; i < t->variants.n; i++) names[i] = t->variants.at[i].name;
  const char *near = dhc_suggest(t->baseline, names, t->variants.n);
  return dhc_status_make(DHC_E_USAGE, "--baseline: the sweep has no variant '%s'%s%s%s", t->baseline, near ? " (did you mean '" : "",
                         near ? near : "", near ? "'?)" : "");
}

/* "ratio=7M:1A" of "ratio=7M:1A,ffn_inner=46": what a budget was solved for is not known when a sweep is written. */
static bool begins_name(const char *name, const char *text) {
  size_t n = strlen(text);
  return !strncmp(name, text, n) && name[n] == ',';
}

dhc_status study_find_baseline(Study *t) {
  int found = study_variant(t, t->baseline), n = 1;
  if (found < 0) {
    n = 0;
    for (int i = 0; i < t->variants.n; i++)
      if (begins_name(t->variants.at[i].name, t->baseline)) found = i, n++;
  }
  if (n != 1) return no_baseline(t);
  t->baseline = t->variants.at[found].name;
  return dhc_status_ok();
}

dhc_status study_check_metric(const char *name) {
  for (int i = 0; i < STUDY_N_COLUMNS; i++)
    if (!strcmp(study_columns[i].name, name)) return dhc_status_ok();
  return dhc_status_make(DHC_E_USAGE, "no column '%s' of results.csv is a number of a run", name);
}

static const char *setting_of(const Study *t, const char *name) {
  for (int i = 0; i < t->settings.n; i++)
    if (!strcmp(t->settings.at[i].name, name)) return t->settings.at[i].value;
  return NULL;
}

dhc_status study_same_settings(const Study *t, const Study *other, const char *path) {
  for (int i = 0; i < t->settings.n; i++) {
    const StudySetting *s = &t->settings.at[i];
    const char *was = setting_of(other, s->name);
    if (!strcmp(was ? was : "", s->value)) continue; /* of a version before it: nothing was said */
    return dhc_status_make(DHC_E_INPUT, "%s: its sweep has %s %s, this one %s", path, s->name, was && *was ? was : "(none)",
                           *s->value ? s->value : "(none)");
  }
  return dhc_status_ok();
}

void study_count(const Study *t, dhc_sweep_train_result *out) {
  *out = (dhc_sweep_train_result){.variants = t->variants.n, .merged = t->merged.n, .runs = t->runs.n};
  for (int i = 0; i < t->runs.n; i++) {
    const char *status = t->runs.at[i].result.status;
    out->done += status != NULL;
    out->numeric += status && !strcmp(status, "numeric");
  }
  out->left = out->runs - out->done;
}
