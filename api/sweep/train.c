/* The loop of a training sweep: variants by seeds, each run in a session and a folder of its own. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

#include "api/sweep/study.h"
#include "api/train/train.h"
#include "runtime/data/data.h"
#include "runtime/run_folder.h"

typedef struct Sweeping {
  dhc_sweep *w;
  const dhc_sweep_train_options *o;
  Study t;
  Study before; /* what the folder held; no variants: nothing */
  DhcRunFolder folder;
  bool made;  /* the folder was not there */
  bool wrote; /* sweep.json and results.csv, which were not there */
  dhc_sweep_progress pr;
  double t0;     /* ms */
  int begun_at;  /* runs that were finished when it began here */
  bool stopped;  /* the caller said so */
  double *expected; /* seconds of a run, by variant; NULL: not asked for */
} Sweeping;

/* ---- what varies and what does not ------------------------------------------------------------- */

static void add_setting(Study *t, const char *name, const char *value) {
  DHC_PUSH(t->arena, &t->settings, ((StudySetting){name, value ? value : ""}));
}

static void add_number(Study *t, const char *name, double v, bool given) {
  add_setting(t, name, given ? study_number(t->arena, v) : "");
}

/* Whatever all runs share: another value makes another sweep. */
static void add_settings(Sweeping *g) {
  Study *t = &g->t;
  const dhc_train_options *o = &g->o->train;
  const dhc_model_options *m = &g->w->o.model;
  DhcText sets = {.arena = t->arena};
  for (int i = 0; i < m->n_sets; i++) dhc_text_printf(&sets, "%s%s", i ? ";" : "", m->sets[i]);
  add_setting(t, "model", m->name);
  add_setting(t, "root", m->root);
  add_setting(t, "preset", m->preset);
  add_setting(t, "recipe", m->recipe);
  add_setting(t, "set", dhc_text_str(&sets));
  add_setting(t, "data", o->data);
  add_number(t, "epochs", (double)o->epochs, o->epochs > 0);
  add_number(t, "steps", (double)o->steps, o->steps > 0);
  add_number(t, "batch", (double)o->batch, o->batch > 0);
  add_number(t, "accumulate", (double)o->accumulate, o->accumulate > 0);
  add_number(t, "lr", o->lr, o->lr > 0);
  add_number(t, "clip", o->clip, o->clip >= 0);
  add_number(t, "val-fraction", o->val_fraction < 0 ? 0 : o->val_fraction, o->val_fraction != 0);
  add_number(t, "limit", (double)o->limit, o->limit > 0);
  add_setting(t, "init-from", o->init_from);
  add_setting(t, "augment", o->augment_off ? "off" : "on");
  add_setting(t, "shuffle", o->shuffle_off ? "off" : "on");
  add_setting(t, "backend", session_backend_text(g->w->s, &g->w->s->arena));
}

/* Shapes of the data that the loss takes, a batch of them. */
static int data_shapes(const dhc_model *m, const DhcDataset *d, int64_t batch, dhc_tensor *in) {
  DhcEntryInfos all = dhc_model_entries(m->m);
  int n = 0;
  for (int e = 0; e < all.n; e++) {
    if (strcmp(all.at[e].name, "loss")) continue;
    for (int i = 0; i < all.at[e].n_inputs && n < FEED_MAX; i++) {
      const DhcField *f = dhc_dataset_field(d, all.at[e].inputs[i]);
      if (!f || f->rank > 7) continue;
      in[n] = (dhc_tensor){.name = f->name, .dtype = (dhc_dtype)f->dtype, .rank = f->rank + 1, .dim = {batch}};
      memcpy(in[n].dim + 1, f->shape, sizeof *f->shape * (size_t)f->rank);
      n++;
    }
  }
  return n;
}

/* Of one variant on the sweep's data. */
typedef struct Identify {
  Sweeping *g;
  const DhcDataset *d;
  SweepIdentity *id;
} Identify;

static dhc_status identify_open(void *ctx, SweepOpen *x) {
  Identify *t = ctx;
  dhc_tensor in[FEED_MAX];
  int64_t batch = t->g->o->train.batch ? t->g->o->train.batch : dhc_model_recipe(x->m->m)->batch;
  return sweep_identify(x, in, data_shapes(x->m, t->d, batch, in), t->g->t.arena, t->id);
}

static dhc_status identify(Sweeping *g, int i, const DhcDataset *d, SweepIdentity *id) {
  const SweepVariant *v = &g->w->variants.at[i];
  Identify t = {g, d, id};
  return sweep_report_again(g->w, v, identify_open, &t, sweep_with_variant(g->w, v, identify_open, &t, NULL));
}

static const char *settings_text(const Sweeping *g, const SweepVariant *v) {
  DhcText t = {.arena = g->t.arena};
  if (v->declared) dhc_text_printf(&t, "variant=%s", v->declared);
  for (int i = g->w->o.model.n_sets; i < v->n_sets; i++) dhc_text_printf(&t, "%s%s", t.n ? ";" : "", v->sets[i]);
  return dhc_text_str(&t);
}

static void add_variant(Sweeping *g, int i, const SweepIdentity *id) {
  Study *t = &g->t;
  const SweepVariant *v = &g->w->variants.at[i];
  for (int k = 0; k < t->variants.n; k++)
    if (!strcmp(t->variants.at[k].id.hash, id->hash)) {
      StudyMerged m = {v->name, dhc_arena_strdup(t->arena, id->hash), t->variants.at[k].name};
      DHC_PUSH(t->arena, &t->merged, m);
      return;
    }
  StudyVariant x = {.name = v->name, .number = i, .settings = settings_text(g, v), .id = *id};
  DHC_PUSH(t->arena, &t->variants, x);
}

static void drop_data(void *d) {
  dhc_dataset_free(d);
}

/* Every variant is opened once before the first of them runs: what is wrong with the last is said now. */
static dhc_status list_variants(Sweeping *g) {
  DhcDataset *d;
  DhcDataOptions o = session_data_options(g->w->s);
  DHC_TRY(dhc_dataset_open(g->o->train.data, DHC_SPLIT_TRAIN, &o, &d));
  DhcHeld held;
  dhc_hold(&held, drop_data, d);
  dhc_status st = dhc_status_ok();
  for (int i = 0; i < g->w->variants.n && st.code == DHC_OK; i++) {
    SweepIdentity id;
    if (dhc_stop_signal()) st = dhc_status_make(DHC_E_INTERRUPTED, "stopped before the first run");
    else st = identify(g, i, d, &id);
    if (st.code == DHC_OK) add_variant(g, i, &id);
  }
  dhc_release(&held);
  dhc_dataset_free(d);
  return st;
}

/* ---- the folder ------------------------------------------------------------------------------------ */

static dhc_status open_folder(Sweeping *g) {
  Study *t = &g->t;
  DHC_TRY(dhc_run_folder_of_sweep(t->out));
  g->made = access(t->out, F_OK) != 0;
  DHC_TRY(dhc_run_folder_open(t->out, true, &g->w->s->warn, &g->folder));
  if (!study_is_there(t->out)) return dhc_status_ok();
  if (!g->o->resume) return dhc_status_make(DHC_E_INPUT, "%s: holds a sweep already: --resume goes on with it", t->out);
  g->before = (Study){.out = t->out, .arena = t->arena};
  DHC_TRY(study_read(&g->before));
  DHC_TRY(study_same_settings(t, &g->before, study_path(t, "sweep.json")));
  t->command = g->before.command;
  return dhc_status_ok();
}

/* A sweep that could not begin leaves nothing that the same command, put right, would have to go on with: what it wrote
 * goes, unless a run has left something or the folder held a sweep before. */
static void take_back(const Sweeping *g) {
  const Study *t = &g->t;
  if (g->wrote) {
    for (int i = 0; i < t->runs.n; i++) (void)rmdir(study_path(t, t->runs.at[i].folder)); /* of empty ones */
    if (rmdir(study_path(t, "runs")) && errno != ENOENT) return;
    (void)unlink(study_path(t, "sweep.json"));
    (void)unlink(study_path(t, "results.csv"));
  }
  if (g->made) (void)rmdir(t->out);
}

/* Rows of results.csv are those of this sweep's variants and seeds: one less would take finished runs out of it. */
static dhc_status all_of_before(const Sweeping *g) {
  const Study *t = &g->t, *was = &g->before;
  for (int i = 0; i < was->variants.n; i++) {
    bool there = false;
    for (int k = 0; k < t->variants.n; k++) there = there || !strcmp(t->variants.at[k].id.hash, was->variants.at[i].id.hash);
    if (!there)
      return dhc_status_make(DHC_E_INPUT, "%s: its sweep has variant %s too; --resume may add variants and seeds, not leave them out",
                             study_path(t, "sweep.json"), was->variants.at[i].name);
  }
  for (int i = 0; i < was->n_seeds; i++) {
    bool there = false;
    for (int k = 0; k < t->n_seeds; k++) there = there || t->seeds[k] == was->seeds[i];
    if (!there)
      return dhc_status_make(DHC_E_INPUT, "%s: its sweep has seed %llu too; --resume may add variants and seeds, not leave them out",
                             study_path(t, "sweep.json"), (unsigned long long)was->seeds[i]);
  }
  return dhc_status_ok();
}

/* ---- runs ------------------------------------------------------------------------------------------- */

static double now_s(const Sweeping *g) {
  return (session_now_ms() - g->t0) / 1e3;
}

/* From what this process has done: runs are taken for equally long. */
static void estimate(Sweeping *g, double of_this_run) {
  dhc_sweep_progress *p = &g->pr;
  double here = p->done - g->begun_at + of_this_run;
  p->seconds = now_s(g);
  p->eta_seconds = here > 0 ? p->seconds / here * (p->runs - p->done - of_this_run) : (double)NAN;
}

static bool show(Sweeping *g, const dhc_train_progress *train) {
  g->pr.train = train;
  estimate(g, train && train->steps > 0 ? (double)train->step / (double)train->steps : 0);
  if (g->o->progress && !g->o->progress(g->o->ctx, &g->pr)) g->stopped = true;
  return !g->stopped;
}

static bool during(void *ctx, const dhc_train_progress *p) {
  return show(ctx, p);
}

typedef struct OneRun {
  Sweeping *g;
  const StudyRun *run;
  dhc_train_result r;
} OneRun;

/* What its runs have in common, however they end. */
static dhc_status cost_once(StudyVariant *v, dhc_model *m) {
  dhc_costs costs;
  if (v->costed) return dhc_status_ok();
  DHC_TRY(dhc_model_costs(m, &(dhc_costs_options){.entry = "loss", .sizes = v->id.sizes, .no_train = true}, &costs));
  v->flops_example = costs.flops_example;
  v->active_parameters = costs.active_parameters;
  v->costed = true;
  return dhc_status_ok();
}

static dhc_status train_one(void *ctx, SweepOpen *x) {
  OneRun *one = ctx;
  Sweeping *g = one->g;
  char name[DHC_RUN_FILE_CHARS];
  dhc_train_options o = g->o->train;
  o.out = study_path(&g->t, one->run->folder);
  o.seed = one->run->seed;
  DHC_TRY(dhc_run_folder_used(o.out, &o.resume, name));
  o.overwrite = false;
  o.progress = during;
  o.ctx = g;
  o.command = dhc_arena_printf(g->t.arena, "%s # %s, seed %llu", g->t.command, g->pr.name, (unsigned long long)one->run->seed);
  DHC_TRY(cost_once(&g->t.variants.at[one->run->variant], x->m));
  return dhc_train(x->m, &o, &one->r);
}

static dhc_status do_run(Sweeping *g, StudyRun *run) {
  const StudyVariant *v = &g->t.variants.at[run->variant];
  const SweepVariant *sv = &g->w->variants.at[v->number];
  OneRun one = {.g = g, .run = run};
  bool located;
  g->pr.name = v->name;
  g->pr.hash = v->id.hash;
  g->pr.seed = run->seed;
  g->pr.status = g->pr.message = NULL;
  dhc_status st = sweep_with_variant(g->w, sv, train_one, &one, &located);
  if (st.code == DHC_OK || st.code == DHC_E_NUMERIC) {
    g->pr.status = st.code == DHC_OK ? "done" : "numeric";
    g->pr.message = dhc_arena_strdup(g->t.arena, st.code == DHC_OK ? "" : st.message);
    return study_finish(&g->t, run, g->pr.status, g->pr.message, &one.r);
  }
  if (st.code == DHC_E_INPUT && located) return sweep_report_again(g->w, sv, NULL, NULL, st);
  if (st.code == DHC_E_INTERRUPTED || st.code == DHC_E_ENVIRONMENT) return st;
  return dhc_status_make(st.code, "variant %s, seed %llu: %s", v->name, (unsigned long long)run->seed, st.message);
}

/* Number k of all runs, seeds in the outer loop: a sweep that is cut short has whole seeds. */
static StudyRun *run_number(Study *t, int k) {
  return &t->runs.at[(k % t->variants.n) * t->n_seeds + k / t->variants.n];
}

static bool is_mine(const Sweeping *g, int k) {
  const dhc_sweep_train_options *o = g->o;
  int shards = o->n_shards ? o->n_shards : 1, shard = o->n_shards ? o->shard - 1 : 0;
  if (k % shards != shard) return false;
  return !o->n_workers || k / shards % o->n_workers == o->worker - 1;
}

/* Seconds of a run of each variant that has runs to do here. */
static dhc_status estimate_all(Sweeping *g) {
  Study *t = &g->t;
  g->expected = DHC_NEW_N(t->arena, double, t->variants.n + 1);
  for (int v = 0; v < t->variants.n; v++) {
    dhc_sweep_estimate e = {.name = t->variants.at[v].name, .hash = t->variants.at[v].id.hash};
    for (int k = 0; k < t->runs.n; k++) e.runs += is_mine(g, k) && run_number(t, k)->variant == v && !run_number(t, k)->result.status;
    if (!e.runs) continue;
    if (dhc_stop_signal()) return dhc_status_make(DHC_E_INTERRUPTED, "stopped before the first run");
    DHC_TRY(sweep_estimate(g->w, &g->o->train, &g->w->variants.at[t->variants.at[v].number], &e));
    g->expected[v] = e.seconds;
    if (g->o->estimate) g->o->estimate(g->o->ctx, &e);
  }
  return dhc_status_ok();
}

/* Whether a run is expected to end within the budget. */
static bool in_budget(const Sweeping *g, const StudyRun *run) {
  return !(g->o->budget_seconds > 0) || now_s(g) + g->expected[run->variant] <= g->o->budget_seconds;
}

/* The budget must do for something. */
static dhc_status check_budget(Sweeping *g) {
  Study *t = &g->t;
  double least = INFINITY;
  int left = 0;
  if (!(g->o->budget_seconds > 0)) return dhc_status_ok();
  DHC_TRY(estimate_all(g));
  for (int k = 0; k < t->runs.n; k++) {
    if (!is_mine(g, k) || run_number(t, k)->result.status) continue;
    left++;
    if (in_budget(g, run_number(t, k))) return dhc_status_ok();
    least = fmin(least, g->expected[run_number(t, k)->variant]);
  }
  if (!left) return dhc_status_ok();
  return dhc_status_make(DHC_E_INPUT, "--budget: the shortest run takes about %.0f s, %.0f s are left of it", least,
                         fmax(0, g->o->budget_seconds - now_s(g)));
}

/* Runs are done elsewhere: what is finished is shown and kept. */
static dhc_status follow(Sweeping *g) {
  Study *t = &g->t;
  for (bool more = true; more;) {
    more = g->o->others(g->o->ctx);
    int was = g->pr.done;
    DHC_TRY(study_read_results(t));
    for (int k = 0; k < t->runs.n; k++) {
      StudyRun *run = run_number(t, k);
      bool seen = run->seen;
      if (!is_mine(g, k) || !run->result.status) continue;
      run->seen = true;
      if (seen) continue;
      g->pr.done++;
      g->pr.name = t->variants.at[run->variant].name;
      g->pr.hash = t->variants.at[run->variant].id.hash;
      g->pr.seed = run->seed;
      g->pr.status = run->result.status;
      g->pr.message = run->result.message;
      (void)show(g, NULL);
    }
    if (g->pr.done > was) DHC_TRY(study_write(t));
  }
  return dhc_stop_signal() ? dhc_status_make(DHC_E_INTERRUPTED, "stopped") : dhc_status_ok();
}

static dhc_status loop(Sweeping *g) {
  Study *t = &g->t;
  for (int k = 0; k < t->runs.n; k++) {
    g->pr.runs += is_mine(g, k);
    run_number(t, k)->seen = run_number(t, k)->result.status != NULL;
    g->pr.done += is_mine(g, k) && run_number(t, k)->seen;
  }
  g->begun_at = g->pr.done;
  if (g->o->others) return follow(g);
  for (int k = 0; k < t->runs.n; k++) {
    StudyRun *run = run_number(t, k);
    if (!is_mine(g, k) || run->result.status || !in_budget(g, run)) continue;
    if (dhc_stop_signal() || g->stopped) return dhc_status_make(DHC_E_INTERRUPTED, "stopped");
    g->pr.run = g->pr.done;
    DHC_TRY(do_run(g, run));
    g->pr.done++;
    if (!g->o->n_workers) DHC_TRY(study_write(t));
    (void)show(g, NULL);
  }
  return dhc_status_ok();
}

static dhc_status check_options(Sweeping *g) {
  const dhc_sweep_train_options *o = g->o;
  if (!o->n_seeds) return dhc_status_make(DHC_E_USAGE, "--seeds: needs at least one");
  for (int i = 0; i < o->n_seeds; i++) {
    if (o->seeds[i] > UINT32_MAX) return dhc_status_make(DHC_E_USAGE, "--seeds: needs at most %u, got %llu", UINT32_MAX, (unsigned long long)o->seeds[i]);
    for (int k = 0; k < i; k++)
      if (o->seeds[k] == o->seeds[i]) return dhc_status_make(DHC_E_USAGE, "--seeds: has %llu twice", (unsigned long long)o->seeds[i]);
  }
  if (o->n_shards && (o->shard < 1 || o->shard > o->n_shards))
    return dhc_status_make(DHC_E_USAGE, "--shard: needs I/N with I from 1 to N, got %d/%d", o->shard, o->n_shards);
  if (o->n_workers && (o->worker < 1 || o->worker > o->n_workers)) return dhc_status_make(DHC_E_USAGE, "no worker %d of %d", o->worker, o->n_workers);
  dhc_status st = o->metric ? study_check_metric(o->metric) : dhc_status_ok();
  return st.code == DHC_OK ? st : dhc_status_make(st.code, "--metric: %s", st.message);
}

static dhc_status set_up(Sweeping *g) {
  const dhc_sweep_train_options *o = g->o;
  Study *t = &g->t;
  DHC_TRY(check_options(g));
  add_settings(g);
  if (!o->dry_run && !o->n_workers) DHC_TRY(open_folder(g));
  DHC_TRY(list_variants(g));
  DHC_TRY(all_of_before(g));
  if (t->baseline) DHC_TRY(study_find_baseline(t));
  study_add_runs(t);
  if (o->out) DHC_TRY(study_read_results(t));
  if (o->train.init_from) DHC_TRY(weights_openable(o->train.init_from));
  if (o->dry_run) return dhc_status_ok();
  DHC_TRY(check_budget(g));
  if (o->n_workers) return dhc_status_ok();
  g->wrote = !study_is_there(t->out);
  return study_write(t);
}

static void tear_down(void *sweeping) {
  Sweeping *g = sweeping;
  dhc_run_folder_close(&g->folder);
}

dhc_status api_sweep_train(dhc_sweep *w, const dhc_sweep_train_options *o, dhc_sweep_train_result *out) {
  NEED(out);
  *out = (dhc_sweep_train_result){0};
  NEED(w);
  NEED(o);
  if (!o->dry_run) NEED(o->out);
  NEED(o->train.data);
  if (o->n_seeds > 0) NEED(o->seeds);
  DhcArena a;
  dhc_arena_init(&a);
  Sweeping g = {.w = w, .o = o, .folder = {.fd = -1}, .t0 = session_now_ms()};
  g.t = (Study){.out = o->out, .command = o->train.command ? o->train.command : "", .metric = o->metric ? o->metric : "",
                .baseline = o->baseline, .seeds = o->seeds, .n_seeds = o->n_seeds, .arena = &a};
  DhcHeld held;
  dhc_hold(&held, tear_down, &g);
  dhc_status st = set_up(&g);
  if (st.code == DHC_OK) st = o->dry_run ? estimate_all(&g) : loop(&g);
  study_count(&g.t, out);
  bool failed = st.code == DHC_E_INPUT || st.code == DHC_E_USAGE || (o->others && !g.pr.done);
  if (failed && !dhc_stop_signal()) take_back(&g);
  if (st.code == DHC_E_INTERRUPTED && out->runs && !o->dry_run)
    st = dhc_status_make(DHC_E_INTERRUPTED, "stopped; %d of %d runs are done; go on with --resume", out->done, out->runs);
  dhc_release(&held);
  tear_down(&g);
  dhc_arena_fini(&a);
  return st;
}
