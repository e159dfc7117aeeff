/* Iso-budget: the integer hyperparameter that brings each variant to the same size or cost. */
#include <math.h>
#include <stdlib.h>

#include "api/atlas/atlas.h"
#include "api/sweep/sweep.h"

typedef struct Solve {
  dhc_sweep *w;
  const SweepVariant *v;
  const char *what;  /* "params" */
  double want, slack; /* slack: share of want */
  const char *key;
  int64_t step;
  int64_t best;      /* multiple of step that came nearest so far; 0: none */
  double best_is;
  double is; /* what the variant at hand costs */
} Solve;

/* ---- what is held ---------------------------------------------------------------------- */

static double or_zero(double v) {
  return isnan(v) ? 0 : v;
}

static dhc_status cost(void *ctx, SweepOpen *x) {
  Solve *s = ctx;
  double *out = &s->is;
  if (!strcmp(s->what, "params")) {
    *out = (double)dhc_model_n_params(x->m);
    return dhc_status_ok();
  }
  const dhc_costs_options o = {.sizes = s->w->o.sizes, .no_train = true};
  dhc_costs c;
  int64_t length = 1;
  DHC_TRY(dhc_model_costs(x->m, &o, &c));
  DHC_TRY(sweep_length(x->m, s->w->o.sizes, &length));
  if (!strcmp(s->what, "active-params")) *out = c.active_parameters;
  if (!strcmp(s->what, "flops-per-token")) *out = c.flops_example / (double)(length > 0 ? length : 1);
  if (!strcmp(s->what, "state-bytes")) *out = or_zero(c.state_bytes) + or_zero(dhc_costs_cache_bytes(&c, length > 0 ? length : 1));
  return dhc_status_ok();
}

/* The variant with one more setting. */
static SweepVariant with(const Solve *s, DhcArena *a, int64_t k) {
  SweepVariant v = *s->v;
  v.sets = DHC_NEW_N(a, const char *, s->v->n_sets + 2);
  memcpy(v.sets, s->v->sets, sizeof *v.sets * (size_t)s->v->n_sets);
  v.sets[v.n_sets++] = dhc_arena_printf(a, "%s=%lld", s->key, (long long)(k * s->step));
  return v;
}

/* Both on one side are compared with each other: far from what is wanted differences round to the same. */
static bool nearer(double a, double b, double want) {
  if (a < want && b < want) return a > b;
  if (a > want && b > want) return a < b;
  return fabs(a - want) < fabs(b - want);
}

/* What the variant costs at k steps. DHC_E_INPUT: the model refuses that value. */
static dhc_status at(Solve *s, int64_t k, double *out) {
  DhcArena a;
  dhc_arena_init(&a);
  SweepVariant v = with(s, &a, k);
  dhc_status st = sweep_with_variant(s->w, &v, cost, s, NULL);
  dhc_arena_fini(&a);
  *out = s->is;
  if (st.code == DHC_OK && (!s->best || nearer(*out, s->best_is, s->want))) s->best = k, s->best_is = *out;
  return st;
}

/* ---- search ------------------------------------------------------------------------------- */

enum { MOST = 1 << 24 }; /* steps */

/* Doubles k until the cost is enough, or the model refuses: then everything from there on counts as too much. The model
 * may refuse small values too; the first one that it takes is where it begins. */
static dhc_status bracket(Solve *s, int64_t *lo, int64_t *hi) {
  double is;
  dhc_status st = dhc_status_ok();
  bool any = false;
  *lo = 0;
  for (int64_t k = 1; k <= MOST; k *= 2) {
    st = dhc_stop_signal() ? dhc_status_make(DHC_E_INTERRUPTED, "stopped before the first variant") : at(s, k, &is);
    if (st.code != DHC_OK && (st.code != DHC_E_INPUT || !any)) {
      if (st.code != DHC_E_INPUT) return st;
      continue;
    }
    *hi = k;
    if (st.code != DHC_OK || is >= s->want) return dhc_status_ok();
    any = true;
    *lo = k;
  }
  return any ? dhc_status_ok() : st;
}

static dhc_status search(Solve *s) {
  int64_t lo, hi = MOST;
  DHC_TRY(bracket(s, &lo, &hi));
  while (hi - lo > 1) {
    int64_t mid = lo + (hi - lo) / 2;
    double is = INFINITY;
    dhc_status st = at(s, mid, &is);
    if (st.code != DHC_OK && st.code != DHC_E_INPUT) return st;
    if (st.code == DHC_OK && is < s->want) lo = mid;
    else hi = mid;
  }
  return dhc_status_ok();
}

static const char *number(DhcArena *a, double v) {
  return v == floor(v) && fabs(v) < 1e15 ? dhc_arena_printf(a, "%.0f", v) : dhc_arena_printf(a, "%.6g", v);
}

static dhc_status solve_one(Solve *s, SweepVariant *v) {
  DhcArena *a = &s->w->arena;
  s->v = v;
  s->best = 0;
  dhc_status st = search(s);
  if (st.code == DHC_E_INPUT) {
    SweepVariant refused = with(s, a, 1);
    return sweep_report_again(s->w, &refused, NULL, NULL, st);
  }
  if (st.code != DHC_OK) return st;
  double off = fabs(s->best_is - s->want) / s->want;
  if (!s->best || !(off <= s->slack))
    return dhc_status_make(DHC_E_INPUT, "--hold %s=%s: variant %s comes no nearer than %s (%s=%lld, off by %.2g %%); --slack allows %.2g %%",
                           s->what, number(a, s->want), v->name, number(a, s->best_is), s->key, (long long)(s->best * s->step), 100 * off,
                           100 * s->slack);
  const char *set = dhc_arena_printf(a, "%s=%lld", s->key, (long long)(s->best * s->step));
  v->sets = with(s, a, s->best).sets;
  v->n_sets++;
  v->name = !strcmp(v->name, "base") ? set : dhc_arena_printf(a, "%s,%s", v->name, set);
  return dhc_status_ok();
}

/* ---- what the caller says --------------------------------------------------------------------- */

/* "2.4M" as 2400000; NaN: no number above 0. */
static double read_number(const char *text) {
  char *end;
  double v = strtod(text, &end);
  if (end == text) return NAN;
  if (*end && strchr("kMG", *end)) v *= *end == 'k' ? 1e3 : *end == 'M' ? 1e6 : 1e9, end++;
  return *end || !(v > 0) || isinf(v) ? NAN : v;
}

static dhc_status read_options(Solve *s) {
  static const char *const kinds[] = {"params", "active-params", "flops-per-token", "state-bytes"};
  const dhc_sweep_options *o = &s->w->o;
  DhcArena *a = &s->w->arena;
  if (!o->hold || !o->solve) return dhc_status_make(DHC_E_USAGE, "--hold and --solve need each other");
  size_t n = strcspn(o->hold, "="), key = strcspn(o->solve, ":");
  s->what = dhc_arena_strndup(a, o->hold, n);
  s->want = o->hold[n] ? read_number(o->hold + n + 1) : (double)NAN;
  bool known = false;
  for (int i = 0; i < 4; i++) known = known || !strcmp(kinds[i], s->what);
  if (!known || isnan(s->want))
    return dhc_status_make(DHC_E_USAGE, "--hold: needs params, active-params, flops-per-token or state-bytes =VALUE (2.4M), got \"%s\"", o->hold);
  s->key = dhc_arena_strndup(a, o->solve, key);
  s->step = 1;
  if (o->solve[key]) {
    char *end;
    s->step = strtoll(o->solve + key + 1, &end, 10);
    if (*end || end == o->solve + key + 1 || s->step < 1 || s->step > MOST) s->step = 0;
  }
  if (!key || !s->step) return dhc_status_make(DHC_E_USAGE, "--solve: needs NAME or NAME:STEP, a hyperparameter and a whole number, got \"%s\"", o->solve);
  for (int i = 0; i < o->n_axes; i++)
    if (!strncmp(o->axes[i], s->key, key) && o->axes[i][key] == '=' && strchr(o->axes[i] + key, ','))
      return dhc_status_make(DHC_E_USAGE, "--solve %s: --set %s varies it", s->key, o->axes[i]);
  s->slack = o->slack > 0 ? o->slack : 0.01;
  return dhc_status_ok();
}

dhc_status sweep_solve(dhc_sweep *w) {
  Solve s = {.w = w};
  if (!w->o.hold && !w->o.solve) return dhc_status_ok();
  DHC_TRY(read_options(&s));
  dhc_status st = dhc_status_ok();
  w->s->solves = s.key;
  for (int i = 0; i < w->variants.n && st.code == DHC_OK; i++) st = solve_one(&s, &w->variants.at[i]);
  w->s->solves = NULL;
  return st;
}
