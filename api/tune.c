/* The search behind dhcc tune. A round gives every kernel of the entry the same number of its candidates
 * (passes/plan/schedule_tune.c), runs the entry as it would run, and notes of each kernel the least time that its calls took
 * together; so as many rounds as the kernel of most candidates has do for all of them. What a round has found is in the file
 * before the next begins. */
#include <math.h>
#include <unistd.h>

#include "api/args.h"
#include "api/atlas/atlas.h"
#include "api/doors.h"
#include "api/tuning.h"
#include "runtime/stop.h"

enum { RUNS = 9, GAIN_PERCENT = 3, GAIN_NS = 500 }; /* less is noise */

typedef struct Kernel {
  char spec[33];
  DhcKernelRequest rq; /* as it is without tuning */
  int n_candidates;    /* most of any class */
  int64_t least;       /* nanoseconds of its calls in a run of this round */
} Kernel;

typedef struct Search {
  dhc_model *m;
  const dhc_tune_options *o;
  DhcArena *arena;
  DhcTuning *t;
  int target;
  Generated in;
  Kernel *kernel; /* one a spec of the plan */
  int64_t *sum;   /* by kernel: of a run */
  int n, rounds;
} Search;

/* ---- a round ---------------------------------------------------------------------------------------- */

static int64_t *time_of(Search *x, const char *spec, int round, bool make) {
  for (int i = 0; i < x->t->times.n; i++) {
    DhcTunedTime *t = &x->t->times.at[i];
    if (t->target == x->target && t->round == round && !strcmp(t->spec, spec)) return &t->ns;
  }
  if (!make) return NULL;
  DhcTunedTime t = {.target = x->target, .round = round, .ns = INT64_MAX / 2};
  memcpy(t.spec, spec, sizeof t.spec);
  DHC_PUSH(x->t->arena, &x->t->times, t);
  return &x->t->times.at[x->t->times.n - 1].ns;
}

static bool has_all(Search *x, int round) {
  for (int i = 0; i < x->n; i++)
    if (round < x->kernel[i].n_candidates && !time_of(x, x->kernel[i].spec, round, false)) return false;
  return true;
}

/* The kernels of the plan, with what there is to choose of each. */
static dhc_status list_kernels(Search *x, Version *v) {
  DhcKernelRequest *rq;
  DHC_TRY(pipeline_again(x->m, v));
  x->t->round = 0;
  DHC_TRY(pipeline_requests(x->m, v, &rq));
  x->n = v->planned->plan.n_kernels;
  x->kernel = DHC_NEW_N(x->arena, Kernel, x->n + 1);
  x->sum = DHC_NEW_N(x->arena, int64_t, x->n + 1);
  for (int i = 0; i < x->n; i++) {
    Kernel *k = &x->kernel[i];
    k->rq = rq[i];
    tuning_spec(rq[i].spec, k->spec);
    for (int c = 0; c < rq[i].n_classes; c++) {
      DhcSchedule all[DHC_MAX_CANDIDATES];
      int n = dhc_schedule_candidates(rq[i].spec, dhc_compiler_target(x->m->s->compiler), &rq[i].classes[c], all);
      if (n > k->n_candidates) k->n_candidates = n;
    }
    if (k->n_candidates > x->rounds) x->rounds = k->n_candidates;
  }
  return dhc_status_ok();
}

/* Runs the entry and adds up the calls of each kernel. */
static dhc_status time_run(Search *x, dhc_program *p) {
  int64_t *sum = x->sum;
  memset(sum, 0, sizeof *sum * (size_t)x->n);
  dhc_program_profile(p, true);
  DHC_TRY(api_program_run(p, 0, x->in.t, x->in.n, NULL, NULL));
  const dhc_plan *plan = &p->profiled->image->plan;
  for (int i = 0; i < plan->n_items; i++)
    if (plan->items[i].kind == DHC_ITEM_CALL && p->profile[i].runs) sum[plan->items[i].kernel] += (int64_t)(p->profile[i].ms * 1e6);
  for (int i = 0; i < x->n; i++)
    if (sum[i] < x->kernel[i].least) x->kernel[i].least = sum[i];
  return dhc_status_ok();
}

static dhc_status run_round(Search *x, dhc_program *p, int round) {
  DHC_TRY(api_program_init(p, 0));
  DHC_TRY(api_program_run(p, 0, x->in.t, x->in.n, NULL, NULL));
  if (!x->kernel) DHC_TRY(list_kernels(x, p->entries[0].versions));
  if (has_all(x, round)) return dhc_status_ok();
  for (int i = 0; i < x->n; i++) x->kernel[i].least = INT64_MAX / 2;
  for (int i = 0; i < (x->o->repeat > 0 ? x->o->repeat : RUNS); i++) DHC_TRY(time_run(x, p));
  for (int i = 0; i < x->n; i++) {
    if (round >= x->kernel[i].n_candidates) continue;
    int64_t *t = time_of(x, x->kernel[i].spec, round, true);
    if (x->kernel[i].least < *t) *t = x->kernel[i].least;
  }
  return dhc_status_ok();
}

static dhc_status one_round(Search *x, int round) {
  dhc_program *p;
  x->t->round = round;
  snprintf(x->t->digest, sizeof x->t->digest, "round %d", round);
  DHC_TRY(api_program_open(x->m, x->o->entry, x->o->grad ? DHC_MODE_GRAD : DHC_MODE_RUN, &p));
  dhc_status s = run_round(x, p, round);
  dhc_program_close(p);
  return s;
}

/* ---- what comes of it -------------------------------------------------------------------------------- */

/* The round in which the kernel was fastest, if it gained by it. */
static int best_round(Search *x, const Kernel *k) {
  const int64_t *usual = time_of(x, k->spec, 0, false);
  int64_t least = usual ? *usual - *usual / 100 * GAIN_PERCENT - GAIN_NS : 0;
  int best = 0;
  for (int r = 1; usual && r < k->n_candidates; r++) {
    const int64_t *t = time_of(x, k->spec, r, false);
    if (t && *t < least) best = r, least = *t;
  }
  return best;
}

/* The lines of this entry's kernels, in place of those that were there. */
static void choose(Search *x, dhc_tune_result *out) {
  *out = (dhc_tune_result){.kernels = x->n, .rounds = x->rounds};
  for (int i = 0; i < x->n; i++) {
    const Kernel *k = &x->kernel[i];
    int best = best_round(x, k), kept = 0;
    const int64_t *usual = time_of(x, k->spec, 0, false), *now = time_of(x, k->spec, best, false);
    out->chosen += best > 0;
    out->usual_ms += usual ? (double)*usual * 1e-6 : 0;
    out->tuned_ms += now ? (double)*now * 1e-6 : 0;
    for (int o = 0; o < x->t->kernels.n; o++)
      if (x->t->kernels.at[o].target != x->target || strcmp(x->t->kernels.at[o].spec, k->spec)) x->t->kernels.at[kept++] = x->t->kernels.at[o];
    x->t->kernels.n = kept;
    for (int c = 0; best && c < k->rq.n_classes; c++) {
      DhcSchedule all[DHC_MAX_CANDIDATES];
      if (best >= dhc_schedule_candidates(k->rq.spec, dhc_compiler_target(x->m->s->compiler), &k->rq.classes[c], all)) continue;
      DhcTuned line = {.target = x->target, .n_class = c, .template_name = all[best].template_name};
      memcpy(line.spec, k->spec, sizeof line.spec);
      memcpy(line.v, all[best].v, sizeof line.v);
      DHC_PUSH(x->t->arena, &x->t->kernels, line);
    }
  }
}

static dhc_status search(Search *x, dhc_tune_result *out) {
  for (int round = 0; round < (x->kernel ? x->rounds : 1); round++) {
    if (dhc_stop_signal()) return dhc_status_make(DHC_E_INTERRUPTED, "tune: stopped; what was measured is in %s", x->o->file);
    if (x->kernel && has_all(x, round)) continue;
    DHC_TRY(one_round(x, round));
    choose(x, out);
    DHC_TRY(tuning_write(x->t, x->o->file));
    if (x->o->progress) x->o->progress(x->o->ctx, round + 1, x->rounds);
  }
  choose(x, out);
  return dhc_status_ok();
}

/* The file there is, so that other targets, entries and times stay; else an empty one. */
static dhc_status open_file(Search *x) {
  if (!access(x->o->file, F_OK)) {
    DHC_TRY(tuning_read(x->o->file, x->arena, &x->t));
  } else {
    x->t = DHC_NEW(x->arena, DhcTuning);
    *x->t = (DhcTuning){.arena = x->arena, .path = x->o->file};
  }
  const char *target = dhc_compiler_target_text(x->m->s->compiler);
  x->target = tuning_target(x->t, target);
  if (x->target < 0) {
    x->target = x->t->targets.n;
    DHC_PUSH(x->t->arena, &x->t->targets, dhc_arena_strdup(x->arena, target));
  }
  x->t->searches = true;
  return dhc_status_ok();
}

dhc_status api_model_tune(dhc_model *m, const dhc_tune_options *o, dhc_tune_result *out) {
  NEED(m);
  NEED(o);
  NEED(o->file);
  NEED(out);
  dhc_session *s = m->s;
  dhc_tune_options with = *o;
  DhcCompiler *c;
  *out = (dhc_tune_result){0};
  if (!with.entry) with.entry = with.grad ? "loss" : "forward";
  if (session_whole(s)) return dhc_status_make(DHC_E_USAGE, "tune: --backend %s has no kernels", s->backend);
  if (s->o.tuning) return dhc_status_make(DHC_E_USAGE, "tune: it begins with the usual schedules, without --tuning");
  DHC_TRY(session_compiler(s, &c));
  Search *x = DHC_NEW(&s->arena, Search);
  *x = (Search){.m = m, .o = &with, .arena = &s->arena};
  DHC_TRY(open_file(x));
  DHC_TRY(generate_inputs(m, with.entry, with.sizes, x->arena, &x->in));
  s->tuning = x->t;
  dhc_status st = search(x, out);
  s->tuning = NULL;
  return st;
}
