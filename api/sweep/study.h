/* A training sweep from inside: variants by seeds, one run each, in one folder.
 *
 *   study.c     which runs there are; what all of them share
 *   train.c     the loop over them
 *   estimate.c  what it is going to take
 *   record.c    what a run came to, from its folder; run.json
 *   results.c   sweep.json and results.csv
 *   summary.c   means, intervals, comparisons
 *   merge.c     several folders into one
 *
 * Everything in sweep.json and results.csv follows from the variants and from the run.json of each run's folder: they are
 * written anew after every run, whole, and any of them may be lost. docs/research.md describes both files. */
#ifndef DHC_API_SWEEP_STUDY_H
#define DHC_API_SWEEP_STUDY_H

#include "api/json.h"
#include "api/sweep/sweep.h"

typedef struct StudyVariant {
  const char *name;
  int number;           /* among the sweep's variants; -1: read from a file */
  const char *settings; /* "mamba_ratio=3;lr=1e-3": what was set, in order */
  SweepIdentity id;
  bool costed; /* in this process, when its first run began; else the next two say nothing */
  double flops_example, active_parameters;
} StudyVariant;

typedef struct StudyMerged {
  const char *name, *hash, *same_as;
} StudyMerged;

/* What a run came to. */
typedef struct StudyResult {
  const char *status; /* NULL: not finished; "done"; "numeric": it stopped at a number that is not finite */
  const char *message; /* of "numeric"; else "" */
  const char *run_id;
#define RESULT(field, time, text) double field;
#include "api/sweep/results.def"
} StudyResult;
typedef struct StudyColumn {
  const char *name;
  size_t at; /* a double of StudyResult */
  bool time;
} StudyColumn;
enum {
#define RESULT(field, time, text) STUDY_COLUMN_##field,
#include "api/sweep/results.def"
  STUDY_N_COLUMNS
};
extern const StudyColumn study_columns[STUDY_N_COLUMNS];
double study_value(const StudyResult *r, int column); /* NaN: it has none */

typedef struct StudyRun {
  int variant;
  uint64_t seed;
  const char *folder; /* below the sweep's */
  bool seen;          /* told to be finished */
  StudyResult result;
} StudyRun;

typedef struct StudySetting {
  const char *name, *value;
} StudySetting;

typedef struct Study {
  const char *out;
  const char *command, *metric, *baseline; /* metric "": the first that all runs have; baseline NULL: none */
  DHC_VEC(StudySetting) settings; /* that all runs share */
  DHC_VEC(StudyVariant) variants;
  DHC_VEC(StudyMerged) merged;
  DHC_VEC(StudyRun) runs; /* variants in order, of each the seeds in order */
  const uint64_t *seeds;
  int n_seeds;
  DhcArena *arena;
} Study;

/* ---- study.c ---- */
void study_add_runs(Study *t);
/* DHC_E_INPUT names the first setting that differs; `path` is whose the other ones are. */
dhc_status study_same_settings(const Study *t, const Study *other, const char *path) DHC_MUST_USE;
/* The variant of that name, or that it was merged into; -1. */
int study_variant(const Study *t, const char *name);
/* Makes `baseline` the name of a variant: that one's, or the only one's that goes on with a comma (what was solved for).
 * DHC_E_USAGE: there is none. */
dhc_status study_find_baseline(Study *t) DHC_MUST_USE;
/* DHC_E_USAGE where no column of results.csv has that name. */
dhc_status study_check_metric(const char *name) DHC_MUST_USE;
void study_count(const Study *t, dhc_sweep_train_result *out);
const char *study_path(const Study *t, const char *name); /* OUT/name */

/* ---- estimate.c ---- */
dhc_status sweep_estimate(dhc_sweep *w, const dhc_train_options *train, const SweepVariant *v, dhc_sweep_estimate *e) DHC_MUST_USE;

/* ---- record.c ---- */
/* Reads run.json of every run: those that have none are not finished. */
dhc_status study_read_results(Study *t) DHC_MUST_USE;
/* Ends a run whose training came to an end: its numbers from metrics.csv, its times from `r`, its costs from its variant; writes run.json. */
dhc_status study_finish(Study *t, StudyRun *run, const char *status, const char *message, const dhc_train_result *r) DHC_MUST_USE;

/* ---- results.c ---- */
/* A number as the shortest text that brings it back, "" for NaN. */
const char *study_number(DhcArena *a, double v);
dhc_status study_write(const Study *t) DHC_MUST_USE;
/* sweep.json as a text, the caller's to free; `numbers`: of every run, too. */
dhc_status study_json(const Study *t, bool numbers, char **out) DHC_MUST_USE;
/* sweep.json of t->out, without results. DHC_E_INPUT where it is none. */
dhc_status study_read(Study *t) DHC_MUST_USE;
bool study_is_there(const char *out);

/* ---- summary.c ---- */

/* "metric", "summary" into the document. */
void study_summarise(const Study *t, JsonDoc *d);

#endif
