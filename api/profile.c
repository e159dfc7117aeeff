/* dhc_model_profile: an entry on generated inputs, its runs timed whole, then item by item; and the machine's roof, which is
 * what two kernels reach that do nothing else. */
#include <math.h>
#include <stdlib.h>

#include "api/args.h"
#include "api/atlas/atlas.h"
#include "api/doors.h"
#include "ir/spec.h"
#include "passes/plan/schedule.h"

enum { RUNS = 10, WARM_UP = 3, ROOF_RUNS = 7, MOST_EVENTS = 1 << 16 };

/* ---- the roof ---------------------------------------------------------------------------------------- */

enum { CHAINS = 8, LINKS = 26, PEAK_ELEMENTS = 1 << 20, READ_ROWS = 128, READ_ELEMENTS = 1 << 17 /* of a row */ };

/* y = the sum of 8 chains of 26 multiply-adds of x. */
static const char *peak_text(DhcArena *a) {
  DhcText t = {.arena = a};
  int chain[CHAINS], n = 1;
  dhc_text_puts(&t, "spec map args 0 {\n  axis par\n  in f32 row [1(a0)]\n  %0 = load 0 : f32\n");
  for (int c = 0; c < CHAINS; c++) {
    dhc_text_printf(&t, "  %%%d = const %a : f32\n", n, 1 + c / 8.0);
    chain[c] = n++;
  }
  for (int k = 0; k < LINKS * CHAINS; k++) {
    dhc_text_printf(&t, "  %%%d = fma(%%%d, %%0, %%%d) : f32\n", n, chain[k % CHAINS], chain[k % CHAINS]);
    chain[k % CHAINS] = n++;
  }
  for (int c = 1; c < CHAINS; c++) {
    dhc_text_printf(&t, "  %%%d = add(%%%d, %%%d) : f32\n", n, chain[0], chain[c]);
    chain[0] = n++;
  }
  dhc_text_printf(&t, "  out f32 row [1(a0)] = %%%d\n}\n", n - 1);
  return dhc_text_str(&t);
}

static const char read_text[] =
    "spec row args 0 {\n  axis par\n  axis red\n  in f32 row [s(a0), 1(a1)]\n  %0 = load 0 : f32\n  %1 = fold reduce_sum(%0) a1 : f32\n  out f32 row [1(a0)] = %1\n}\n";

typedef struct Task {
  const dhc_kernel_class *c;
  void *const *ptr;
  const intptr_t *dim;
  char *scratch; /* of all workers */
  int64_t each;
} Task;

static void run_tasks(void *arg, int64_t t0, int64_t t1, int worker) {
  const Task *t = arg;
  t->c->fn(t->ptr, t->dim, (intptr_t)t0, (intptr_t)t1, t->scratch + worker * t->each);
}

/* Seconds of the fastest of some runs of a kernel over these extents and strides; its last size class holds everywhere. */
static dhc_status roof_of(dhc_session *s, const char *text, const intptr_t *dim, int n_dims, int64_t n_in, int64_t n_out, double *seconds) {
  DhcCompiler *c;
  dhc_kernel kernel;
  DhcCompileStats st = {0};
  uint32_t end, file = dhc_sources_add(&s->sources, "roof", "roof", text, strlen(text));
  DHC_TRY(session_compiler(s, &c));
  DhcKernelRequest rq = {.spec = dhc_spec_parse(&s->arena, &s->diags, file, 0, &end)};
  if (!rq.spec) DHC_BUG("a roof's spec does not parse");
  rq.n_classes = dhc_schedule_choose(rq.spec, dhc_compiler_target(c), &s->arena, rq.classes);
  DHC_TRY(dhc_compile(c, &rq, 1, &kernel, &st));
  const dhc_exec *exec = dhc_pool_exec(s->pool);
  const dhc_kernel_class *last = &kernel.classes[kernel.n_classes - 1];
  int64_t args[4], tasks = 0, scratch = 0;
  for (int i = 0; i < n_dims; i++) args[i] = dim[i];
  if (!dhc_dimprog_eval(last->n_tasks, args, n_dims, 1, &tasks) || !dhc_dimprog_eval(last->scratch_bytes, args, n_dims, 0, &scratch))
    DHC_BUG("a roof's sizes do not fit");
  scratch = scratch / 64 * 64 + 64;
  void *mem[] = {dhc_aligned_alloc(4 * n_in + 64), dhc_aligned_alloc(4 * n_out + 64), dhc_aligned_alloc(scratch * exec->workers)};
  bool all = mem[0] && mem[1] && mem[2];
  if (all) memset(mem[0], 0, (size_t)(4 * n_in));
  Task t = {last, mem, dim, mem[2], scratch};
  *seconds = INFINITY;
  for (int i = 0; all && i < ROOF_RUNS; i++) {
    double t0 = session_now_ms();
    exec->parallel_for(exec->ctx, tasks, run_tasks, &t);
    *seconds = fmin(*seconds, (session_now_ms() - t0) * 1e-3);
  }
  for (int i = 0; i < 3; i++) dhc_aligned_free(mem[i]);
  return all ? dhc_status_ok() : dhc_status_memory(4 * (n_in + n_out), "what the machine is measured on");
}

/* Of the cores; of a GPU it stays 0: not known. */
static dhc_status find_roof(dhc_session *s, dhc_profile *out) {
  double peak, read;
  DHC_TRY(roof_of(s, peak_text(&s->arena), (intptr_t[]){PEAK_ELEMENTS}, 1, PEAK_ELEMENTS, PEAK_ELEMENTS, &peak));
  DHC_TRY(roof_of(s, read_text, (intptr_t[]){READ_ROWS, READ_ELEMENTS, READ_ELEMENTS}, 3, (int64_t)READ_ROWS * READ_ELEMENTS, READ_ROWS, &read));
  out->peak_gflop_per_s = (double)(2LL * CHAINS * LINKS * PEAK_ELEMENTS) / peak * 1e-9;
  out->peak_gb_per_s = (double)(4LL * READ_ROWS * READ_ELEMENTS) / read * 1e-9;
  return dhc_status_ok();
}

/* ---- runs ------------------------------------------------------------------------------------------ */

static int by_value(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static dhc_status time_runs(dhc_program *p, const Generated *in, int n, DhcArena *a, dhc_profile *out) {
  double *ms = DHC_NEW_N(a, double, n);
  for (int i = 0; i < n + WARM_UP; i++) {
    double t0 = session_now_ms();
    DHC_TRY(api_program_run(p, 0, in->t, in->n, NULL, NULL));
    if (i >= WARM_UP) ms[i - WARM_UP] = session_now_ms() - t0;
  }
  qsort(ms, (size_t)n, sizeof *ms, by_value);
  out->run_ms = ms;
  out->n_runs = n;
  return dhc_status_ok();
}

static dhc_status time_items(dhc_program *p, const Generated *in, int n, DhcArena *a, dhc_profile *out) {
  dhc_program_profile(p, true);
  for (int i = 0; i < n; i++) {
    p->n_events = 0; /* those of the last run stay */
    DHC_TRY(api_program_run(p, 0, in->t, in->n, NULL, NULL));
  }
  out->n_rows = p->n_profile;
  out->rows = dhc_arena_dup(a, p->profile, sizeof *p->profile * (size_t)(p->n_profile + 1));
  dhc_profile_event *to = DHC_NEW_N(a, dhc_profile_event, p->n_events + 1);
  int64_t first = INT64_MAX;
  for (int i = 0; i < p->n_events; i++) first = p->events[i].begin_ns < first ? p->events[i].begin_ns : first;
  for (int i = 0; i < p->n_events; i++)
    to[i] = (dhc_profile_event){p->events[i].item, (double)(p->events[i].begin_ns - first) * 1e-3, (double)(p->events[i].end_ns - first) * 1e-3};
  out->events = to;
  out->n_events = p->n_events;
  for (int i = 0; i < out->n_rows; i++) { /* names of kernels last as long as the session's compiler */
    dhc_profile_row *r = (dhc_profile_row *)(uintptr_t)&out->rows[i];
    r->kernel = dhc_arena_strdup(a, r->kernel);
    r->label = dhc_arena_strdup(a, r->label);
  }
  return dhc_status_ok();
}

dhc_status api_model_profile(dhc_model *m, const dhc_profile_options *o, dhc_profile *out) {
  NEED(m);
  NEED(o);
  NEED(out);
  DhcArena *a = &m->s->arena;
  const char *entry = o->entry ? o->entry : o->grad ? "loss" : "forward";
  int n = o->repeat > 0 ? o->repeat : RUNS;
  Generated in;
  dhc_program *p;
  *out = (dhc_profile){0};
  DHC_TRY(generate_inputs(m, entry, o->sizes, a, &in));
  DHC_TRY(api_program_open(m, entry, o->grad ? DHC_MODE_GRAD : DHC_MODE_RUN, &p));
  dhc_status st = api_program_init(p, 0);
  if (st.code == DHC_OK) st = time_runs(p, &in, n, a, out);
  const dhc_memory used = dhc_program_memory(p, 0);
  out->work_bytes = used.work + used.scratch;
  if (st.code == DHC_OK && o->rows) {
    p->events = DHC_NEW_N(a, ProfileEvent, MOST_EVENTS);
    p->room_events = MOST_EVENTS;
    st = time_items(p, &in, n, a, out);
  }
  dhc_program_close(p);
  if (st.code == DHC_OK && o->rows && !session_whole(m->s) && !(m->s->traits & DHC_BACKEND_APART)) st = find_roof(m->s, out);
  return st;
}
