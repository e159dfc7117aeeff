/* Driver of the random graph generator: pool, inputs, reducer, comparison. */
#include "tests/random/random_graph.h"

#include <math.h>

#include "tests/random/random_internal.h"

/* ---- drawing ------------------------------------------------------------------ */

static uint64_t mix(uint64_t a, uint64_t b) {
  uint64_t s = a * 0x9E3779B97F4A7C15u + b;
  return dhc_case_bits(&s);
}

int random_below(RandomGen *r, int n) {
  return (int)(dhc_case_bits(&r->state) % (uint64_t)n);
}

bool random_chance(RandomGen *r, int percent) {
  return random_below(r, 100) < percent;
}

/* ---- values -------------------------------------------------------------------- */

const DhcDim *random_const(RandomGen *r, int64_t v) {
  return dhc_dim_const(r->g->m->dims, v);
}

bool random_is_const(const RandomValue *x, int d) {
  return dhc_dim_is_const(x->v->type.dim[d], NULL);
}

int64_t random_elements(const RandomValue *x) {
  int64_t n = 1;
  for (int d = 0; d < x->v->type.rank; d++) n *= x->dim[d];
  return n;
}

RandomValue random_value(RandomGen *r, DhcValue *v, double lo, double hi) {
  static const char *const names[] = {"B"};
  RandomValue x = {.v = v, .lo = lo, .hi = hi};
  x.id = mix(r->step_id, (uint64_t)++r->n_made);
  for (int d = 0; v && d < v->type.rank; d++) {
    if (!dhc_dim_eval(v->type.dim[d], 1, names, &r->batch, &x.dim[d])) DHC_BUG("dim without a value");
  }
  return x;
}

static DhcValue *new_param(RandomGen *r, const DhcType *t, const DhcArray *a) {
  DhcSpan none = {0};
  DhcArena *arena = r->g->arena;
  DhcParamInfo info = {.name = dhc_intern(&r->g->strings, dhc_arena_printf(arena, "x%d", r->args.n)),
                       .role = DHC_ROLE_INPUT,
                       .decl = -1};
  DHC_PUSH(arena, &r->args, a);
  return dhc_func_param(r->g->f, t, info, none);
}

RandomValue random_input(RandomGen *r, const DhcType *t, const int64_t *dim, double lo, double hi) {
  DhcArray *a = dhc_array_new(r->g->arena, t->dtype, t->rank, dim);
  for (int64_t e = 0; e < a->n; e++)
    a->f[e] = dhc_case_representable(t->dtype, dhc_case_uniform(&r->state, lo, hi));
  return random_value(r, new_param(r, t, a), lo, hi);
}

DhcValue *random_index_input(RandomGen *r, int64_t n, int64_t below) {
  DhcType t = {.dtype = DHC_I32, .rank = 1, .dim = {random_const(r, n)}};
  DhcArray *a = dhc_array_new(r->g->arena, DHC_I32, 1, &n);
  for (int64_t e = 0; e < n; e++) a->i[e] = random_below(r, (int)below);
  return new_param(r, &t, a);
}

DhcValue *random_scalar_input(RandomGen *r, int64_t value) {
  DhcType t = {.dtype = DHC_I64};
  DhcArray *a = dhc_array_new(r->g->arena, DHC_I64, 0, NULL);
  a->i[0] = value;
  return new_param(r, &t, a);
}

RandomValue *random_pick(RandomGen *r, const RandomValue *like) {
  RandomValue *best = NULL;
  uint64_t best_hash = 0;
  for (int k = 0; k < r->pool.n; k++) {
    RandomValue *x = &r->pool.at[k];
    if (like && (x->v == like->v || !dhc_type_equal(&x->v->type, &like->v->type))) continue;
    /* values that nothing uses yet come first: graphs grow deep rather than wide */
    uint64_t h = mix(r->step_id, x->id) >> (x->used ? 1 : 0);
    if (best && h <= best_hash) continue;
    best = x;
    best_hash = h;
  }
  return best;
}

RandomValue random_other(RandomGen *r, const RandomValue *like) {
  RandomValue *x = random_chance(r, 70) ? random_pick(r, like) : NULL;
  if (!x) return random_input(r, &like->v->type, like->dim, -2, 2);
  x->used = true;
  return *x;
}

void random_put(RandomGen *r, RandomValue v) {
  if (v.v) DHC_PUSH(r->g->arena, &r->pool, v);
}

/* ---- making a graph ---------------------------------------------------------------- */

static void random_shape(RandomGen *r, DhcType *t, int64_t *dim) {
  static const int64_t extents[] = {1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 33};
  t->dtype = DHC_F32;
  t->rank = random_below(r, 5);
  int64_t n = 1;
  for (int d = 0; d < t->rank; d++) {
    if (d == 0 && r->batch) {
      t->dim[d] = dhc_dim_symbol(r->g->m->dims, "B");
      dim[d] = r->batch;
    } else {
      dim[d] = extents[random_below(r, t->rank > 2 ? 7 : 12)];
      t->dim[d] = random_const(r, dim[d]);
    }
    n *= dim[d];
  }
  if (n > r->max_elements) t->rank = t->rank > 1 ? 1 : t->rank;
}

static void enter_step(RandomGen *r, int k) {
  r->step_id = mix(r->o->seed, 100 + (uint64_t)k);
  r->state = r->step_id;
  r->n_made = 0;
}

/* The first input; it carries B if the graph has it, so that B is always bound. */
static void first_input(RandomGen *r) {
  DhcType t = {0};
  int64_t dim[DHC_MAX_RANK];
  enter_step(r, -1);
  do random_shape(r, &t, dim);
  while (t.rank == 0 && r->batch);
  random_put(r, random_input(r, &t, dim, -2, 2));
}

/* Sum of (s v)^2 + s v over all results v, with s so that s v is about 1 at most. */
static void add_loss(RandomGen *r) {
  DhcFunc *f = r->g->f;
  DhcValue *total = NULL;
  enter_step(r, -3);
  for (int k = 0; k < r->pool.n; k++) {
    RandomValue *x = &r->pool.at[k];
    int64_t axes[DHC_MAX_RANK];
    bool is_result = false;
    for (int i = 0; i < f->results.n; i++) is_result = is_result || f->results.at[i] == x->v;
    if (!is_result) continue;
    double scale = 1 / (1 + fmax(fabs(x->lo), fabs(x->hi)));
    DhcValue *s = dhc_b_binary(&r->b, DHC_OP_MUL, x->v, dhc_b_scalar(&r->b, DHC_F32, scale));
    DhcValue *t = dhc_b_binary(&r->b, DHC_OP_ADD, dhc_b_binary(&r->b, DHC_OP_MUL, s, s), s);
    for (int d = 0; d < x->v->type.rank; d++) axes[d] = d;
    t = dhc_b_reduce(&r->b, DHC_OP_REDUCE_SUM, t, axes, x->v->type.rank, false);
    total = total ? dhc_b_binary(&r->b, DHC_OP_ADD, total, t) : t;
  }
  dhc_func_result(f, total, "loss");
}

static void finish(RandomGen *r) {
  DhcFunc *f = r->g->f;
  int n = 0;
  for (int k = 0; k < r->pool.n; k++) {
    RandomValue *x = &r->pool.at[k];
    bool is_input = x->v->def->op == DHC_OP_PARAM;
    /* some inner values are results as well */
    bool also = mix(r->o->seed, x->id) % 8 == 0;
    if (is_input || (x->used && !also)) continue;
    dhc_func_result(f, x->v, dhc_arena_printf(r->g->arena, "r%d", n++));
  }
  if (n == 0) dhc_func_result(f, r->pool.at[0].v, "r0");
  if (r->o->loss) add_loss(r);
  dhc_module_sort(r->g->m);
}

bool dhc_random_graph(const DhcRandomOptions *o, DhcArena *arena, DhcRandomGraph *g) {
  memset(g, 0, sizeof *g);
  g->arena = g->strings.arena = g->sources.arena = g->diags.arena = arena;
  g->diags.sources = &g->sources;
  g->m = dhc_module_new(arena, &g->strings, &g->diags);
  DhcSpan none = {0};
  g->f = dhc_func_new(g->m, "main", DHC_FUNC_ENTRY, none);
  RandomGen r = {.o = o, .g = g, .b = {.f = g->f}};
  r.max_elements = o->max_elements > 0 ? o->max_elements : 65536;
  enter_step(&r, -2);
  if (random_chance(&r, 50)) {
    r.batch = 1 + random_below(&r, 5);
    DHC_PUSH(arena, &g->f->symbols, dhc_intern(&g->strings, "B"));
  }
  int lo = o->min_steps > 0 ? o->min_steps : 3, hi = o->max_steps > 0 ? o->max_steps : 12;
  g->n_steps = lo + random_below(&r, hi - lo + 1);
  if (g->n_steps > DHC_RANDOM_MAX_STEPS) g->n_steps = DHC_RANDOM_MAX_STEPS;
  first_input(&r);
  bool ok = true;
  for (int k = 0; ok && k < g->n_steps; k++) {
    if (o->removed >> k & 1) continue;
    enter_step(&r, k);
    RandomValue *x = random_pick(&r, NULL);
    x->used = true;
    ok = random_step(&r, *x);
  }
  if (ok) finish(&r);
  g->args = r.args.at;
  return ok && g->diags.n_errors == 0;
}

/* ---- reducing ------------------------------------------------------------------------ */

static int steps_of(const DhcRandomOptions *o) {
  DhcArena arena;
  DhcRandomGraph g;
  dhc_arena_init(&arena);
  dhc_random_graph(o, &arena, &g);
  int n = g.n_steps;
  dhc_arena_fini(&arena);
  return n;
}

/* Takes away ever smaller runs of steps, from the end, until no single one can go. */
int dhc_random_reduce(DhcRandomOptions *o, DhcRandomFails fails, void *ctx) {
  int n = steps_of(o), left = 0;
  for (int run = n; run >= 1; run = run > 1 ? run / 2 : run - 1) {
    for (bool again = true; again;) {
      again = false;
      for (int k = n - run; k >= 0; k--) {
        uint32_t bits = (run >= 32 ? ~0u : ((1u << run) - 1)) << k;
        if ((o->removed & bits) == bits) continue;
        DhcRandomOptions less = *o;
        less.removed |= bits;
        if (!fails(ctx, &less)) continue;
        *o = less;
        again = run == 1;
      }
    }
  }
  for (int k = 0; k < n; k++) left += !(o->removed >> k & 1);
  return left;
}

/* ---- comparing -------------------------------------------------------------------------- */

typedef enum Outcome { SAME, INVALID, NON_FINITE, DIFFERENT, BROKEN, UNSUPPORTED } Outcome;

static bool all_finite(DhcArray *const *r, int n) {
  for (int k = 0; k < n; k++)
    for (int64_t e = 0; r[k]->f && e < r[k]->n; e++)
      if (!isfinite(r[k]->f[e])) return false;
  return true;
}

static bool equal(double a, double b, double rtol, bool zeros) {
  if (isnan(a) || isnan(b)) return isnan(a) && isnan(b);
  if (a == b) return rtol > 0 || zeros || signbit(a) == signbit(b);
  return rtol > 0 && fabs(a - b) <= rtol * (1 + fabs(a));
}

static Outcome compare(DhcArray *const *want, DhcArray *const *got, int n, const DhcRandomHook *h, FILE *report) {
  for (int k = 0; k < n; k++) {
    if (want[k]->n != got[k]->n || want[k]->dtype != got[k]->dtype) return DIFFERENT;
    for (int64_t e = 0; e < want[k]->n; e++) {
      if (want[k]->f ? equal(want[k]->f[e], got[k]->f[e], h->rtol, h->zeros) : want[k]->i[e] == got[k]->i[e]) continue;
      if (report && want[k]->f)
        fprintf(report, "result %d [%lld]: want %.17g, got %.17g\n", k, (long long)e, want[k]->f[e], got[k]->f[e]);
      return DIFFERENT;
    }
  }
  return SAME;
}

static void print_func(DhcModule *m, DhcArena *arena, FILE *report) {
  DhcText t = {.arena = arena};
  dhc_module_print(m, &t);
  fputs(dhc_text_str(&t), report);
}

static bool has_code(const DhcDiags *d, const char *code) {
  for (int k = 0; code && k < d->all.n; k++)
    if (d->all.at[k]->code && strcmp(d->all.at[k]->code, code) == 0) return true;
  return false;
}

static Outcome try_hook(const DhcRandomOptions *o, const DhcRandomHook *hook, FILE *report) {
  DhcArena arena;
  DhcRandomGraph a, b;
  Outcome out = INVALID;
  dhc_arena_init(&arena);
  bool ok = dhc_random_graph(o, &arena, &a) && dhc_random_graph(o, &arena, &b);
  if (ok && hook->prepare) {
    ok = hook->prepare(hook->ctx, a.m, &a.f) && hook->prepare(hook->ctx, b.m, &b.f);
    if (!ok) out = BROKEN;
  }
  DhcArray **want = DHC_NEW_N(&arena, DhcArray *, ok ? a.f->results.n + 1 : 1);
  ok = ok && dhc_interp_run(&arena, &a.diags, a.f, a.args, want, NULL);
  if (!ok && report) dhc_diags_print(&a.diags, report, false);
  if (ok) {
    bool finite = all_finite(want, a.f->results.n);
    DhcFunc *f = b.f;
    if (report) print_func(a.m, &arena, report);
    bool applied = hook->apply(hook->ctx, b.m, &f);
    DhcArray **got = DHC_NEW_N(&arena, DhcArray *, f->results.n + 1);
    if (!applied || f->results.n != a.f->results.n || 
        !dhc_interp_run_kernels(&arena, &b.diags, f, hook->runner, b.args, got, NULL)) {
      out = has_code(&b.diags, hook->unsupported) ? UNSUPPORTED : BROKEN;
    } else {
      out = compare(want, got, f->results.n, hook, report);
      if (out == SAME && !finite) out = NON_FINITE;
    }
    if (report) {
      fprintf(report, "after %s:\n", hook->name);
      print_func(b.m, &arena, report);
      dhc_diags_print(&b.diags, report, false);
    }
  }
  dhc_arena_fini(&arena);
  return out;
}

static bool still_fails(void *ctx, const DhcRandomOptions *o) {
  Outcome out = try_hook(o, ctx, NULL);
  return out == DIFFERENT || out == BROKEN;
}

void dhc_random_check(const DhcRandomOptions *o, const DhcRandomHook *hook, DhcRandomTally *tally, FILE *report) {
  Outcome out = try_hook(o, hook, NULL);
  tally->graphs++;
  tally->invalid += out == INVALID;
  tally->non_finite += out == NON_FINITE;
  tally->unsupported += out == UNSUPPORTED;
  if (out == INVALID && report) {
    fprintf(report, "%s: seed %llu is invalid\n", hook->name, (unsigned long long)o->seed);
    try_hook(o, hook, report);
  }
  if (out != DIFFERENT && out != BROKEN) return;
  tally->mismatches++;
  DhcRandomOptions least = *o;
  /* the hook is only read */
  int left = dhc_random_reduce(&least, still_fails, (void *)(uintptr_t)hook);
  if (!report) return;
  fprintf(report, "%s: %s at seed %llu, %d steps left with removed 0x%x\n", hook->name,
          out == BROKEN ? "broken" : "mismatch", (unsigned long long)o->seed, left, (unsigned)least.removed);
  try_hook(&least, hook, report);
}
