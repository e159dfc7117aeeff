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

dhc_status study_no_baseline(const Study *t) {
  const char **names = DHC_NEW_N(t->arena, const char *, t->variants.n + 1);
  for (int i = 0; i < t->variants.n; i++) names[i] = t->variants.at[i].name;
  const char *near = dhc_suggest(t->baseline, names, t->variants.n);
  return dhc_status_make(DHC_E_USAGE, "--baseline: the sweep has no variant '%s'%s%s%s", t->baseline, near ? " (did you mean '" : "",
                         near ? near : "", near ? "'?)" : "");
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
    if (was && !strcmp(was, s->value)) continue;
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
