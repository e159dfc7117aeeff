/* Shards of a sweep, each in a folder of its own, put together. */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "api/sweep/study.h"
#include "runtime/io.h"
#include "runtime/run_folder.h"

/* What the merged folder has of a run. */
static const char *const small_files[] = {"config.json", DHC_PACKAGE_FILE, "init.json", "metrics.csv", "metrics.jsonl", "events.out.tfevents.dhcc", "run.json"};
enum { N_SMALL_FILES = sizeof small_files / sizeof small_files[0] }; /* run.json, which says that it is finished, is the last */

static dhc_status copy_file(const char *from, const char *to) {
  DhcMapping map;
  if (access(from, F_OK)) return dhc_status_ok();
  DHC_TRY(dhc_map_open(from, &map));
  dhc_status st = dhc_file_replace(to, map.bytes, map.n_bytes);
  dhc_map_close(&map);
  return st;
}

static dhc_status copy_run(const Study *from, const Study *to, const StudyRun *r) {
  DhcArena a;
  dhc_arena_init(&a);
  dhc_status st = dhc_file_make_folder(dhc_arena_printf(&a, "%s/%s", to->out, r->folder));
  for (int i = 0; i < N_SMALL_FILES && st.code == DHC_OK; i++)
    st = copy_file(dhc_arena_printf(&a, "%s/%s/%s", from->out, r->folder, small_files[i]),
                   dhc_arena_printf(&a, "%s/%s/%s", to->out, r->folder, small_files[i]));
  dhc_arena_fini(&a);
  return st;
}

/* Variants and seeds that the merged sweep does not have yet. */
static void add_from(Study *to, const Study *from, uint64_t *seeds) {
  for (int i = 0; i < from->variants.n; i++) {
    bool known = false;
    for (int k = 0; k < to->variants.n; k++) known = known || !strcmp(to->variants.at[k].id.hash, from->variants.at[i].id.hash);
    if (!known) DHC_PUSH(to->arena, &to->variants, from->variants.at[i]);
  }
  for (int i = 0; i < from->merged.n; i++) {
    bool known = false;
    for (int k = 0; k < to->merged.n; k++) known = known || !strcmp(to->merged.at[k].name, from->merged.at[i].name);
    if (!known) DHC_PUSH(to->arena, &to->merged, from->merged.at[i]);
  }
  for (int i = 0; i < from->n_seeds; i++) {
    bool known = false;
    for (int k = 0; k < to->n_seeds; k++) known = known || seeds[k] == from->seeds[i];
    if (!known) seeds[to->n_seeds++] = from->seeds[i];
  }
}

static dhc_status read_all(Study *to, Study *from, const char *const *folders, int n) {
  int n_seeds = 0;
  for (int i = 0; i < n; i++) {
    from[i] = (Study){.out = folders[i], .arena = to->arena};
    DHC_TRY(study_read(&from[i]));
    DHC_TRY(study_read_results(&from[i]));
    if (i) DHC_TRY(study_same_settings(&from[0], &from[i], study_path(&from[i], "sweep.json")));
    n_seeds += from[i].n_seeds;
  }
  uint64_t *seeds = DHC_NEW_N(to->arena, uint64_t, n_seeds + 1);
  to->seeds = seeds;
  to->settings.at = from[0].settings.at;
  to->settings.n = to->settings.cap = from[0].settings.n;
  to->command = from[0].command;
  to->metric = from[0].metric;
  to->baseline = from[0].baseline;
  for (int i = 0; i < n; i++) add_from(to, &from[i], seeds);
  study_add_runs(to);
  return dhc_status_ok();
}

static dhc_status merge(Study *to, const Study *from, int n) {
  if (study_is_there(to->out)) return dhc_status_make(DHC_E_INPUT, "%s: holds a sweep already", to->out);
  for (int i = 0; i < n; i++)
    for (int k = 0; k < from[i].runs.n; k++)
      if (from[i].runs.at[k].result.status) DHC_TRY(copy_run(&from[i], to, &from[i].runs.at[k]));
  DHC_TRY(study_read_results(to));
  return study_write(to);
}

static void close_folder(void *f) {
  dhc_run_folder_close(f);
}

dhc_status api_sweep_merge(const char *out, const char *const *folders, int n, dhc_sweep_train_result *result) {
  NEED(result);
  *result = (dhc_sweep_train_result){0};
  NEED(out);
  NEED(folders);
  for (int i = 0; i < n; i++) NEED(folders[i]);
  if (n < 1) return dhc_status_make(DHC_E_USAGE, "merge: needs the folders of a sweep");
  DhcArena a;
  DhcRunFolder folder = {.fd = -1};
  dhc_arena_init(&a);
  DhcHeld held;
  dhc_hold(&held, close_folder, &folder);
  Study to = {.out = out, .arena = &a};
  Study *from = DHC_NEW_N(&a, Study, n + 1);
  dhc_status st = read_all(&to, from, folders, n); /* before a folder is made */
  if (st.code == DHC_OK) st = dhc_run_folder_of_sweep(out);
  if (st.code == DHC_OK) st = dhc_run_folder_open(out, true, NULL, &folder);
  if (st.code == DHC_OK) st = merge(&to, from, n);
  if (st.code == DHC_OK) study_count(&to, result);
  dhc_release(&held);
  close_folder(&folder);
  dhc_arena_fini(&a);
  return st;
}
