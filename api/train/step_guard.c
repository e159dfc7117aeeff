/* A training step whose update overflows must change nothing, like one whose loss or gradient
 * does. The step itself refuses a gradient norm above "$limit" (passes/grad/train_step.c). Below it, the
 * optimiser's own formula, evaluated once on ranges instead of numbers, says how large weights
 * and state can become: a few dozen operations on the host, which prove nearly every step
 * harmless before it runs. Where they prove nothing (an infinite rate, weights near the largest
 * number), the step runs watched: everything it writes is copied before and looked at after,
 * and put back if some of it is not finite. */
#include <float.h>
#include <math.h>
#include <stdlib.h>

#include "api/api.h"
#include "ir/range.h"
#include "runtime/ranks.h"

/* Flat 0 is the weights, 1 + k range k of the moments ("ema" too). */
struct StepGuard {
  DhcRange now[1 + API_MAX_RANGES];
  int64_t version; /* of the program, for which `now` holds */
  bool measured;
  Version *measure[1 + API_MAX_RANGES]; /* measures a flat range as long as flat k, of the first so long; NULL: not made yet */
  Version *find[1 + API_MAX_RANGES];    /* finds in one what is not finite; NULL: it was not needed yet */
  DhcFunc *const *own;    /* by group: its own optimiser, or NULL; NULL: no group has one */
  dhc_update *own_update; /* by group; NULL: not made yet */
  DhcDevicePtr copy; /* to go back to; 0: none was needed yet */
  DhcArena arena; /* of one evaluation */
  char blame[200];
};

typedef struct Eval {
  bool f32;
  bool bounded; /* still */
  DhcRange *at;    /* by value id */
} Eval;

static DhcRange range(Eval *e, double a, double b) {
  DhcRange r;
  if (!dhc_range_make(e->f32, a, b, &r)) e->bounded = false;
  return r;
}

/* ---- one step --------------------------------------------------------------------- */

static double scalar_now(dhc_program *p, const char *name) {
  for (int i = 0; i < dhc_prog_n_scalars(p->run); i++)
    if (!strcmp(dhc_prog_scalar_name(p->run, i), name)) return *program_scalar(p, dhc_prog_scalar_name(p->run, i));
  return NAN;
}

/* A group's value of a formula's scalar; false: it has none of its own. */
static bool of_group(dhc_program *p, const DhcGroup *g, const dhc_update_param *x, double all, double *v) {
  for (int k = 0; k < g->args.n; k++) {
    const DhcGroupArg *a = &g->args.at[k];
    if (x->scalar[0] != '$' || strcmp(x->scalar + 1, a->param)) continue;
    *v = scalar_now(p, a->scalar) * (strcmp(x->scalar, DHC_NAME_LR) ? 1 : all);
    return true;
  }
  return false;
}

static bool has_turns(const DhcModule *m) {
  for (int i = 0; i < m->groups.n; i++)
    if (m->groups.at[i].every) return true;
  return false;
}

/* A scalar in all groups that a formula steps: the recipe's (-1), or a group's own. */
static DhcRange of_scalar(dhc_program *p, Eval *e, const dhc_update_param *x, int group) {
  const DhcModule *m = p->m->module;
  const double all = scalar_now(p, x->scalar);
  double v = all;
  if (group >= 0) (void)of_group(p, &m->groups.at[group], x, all, &v);
  if (isnan(v)) e->bounded = false;
  DhcRange r = range(e, x->from_least ? x->least : v, v);
  if (!strcmp(x->scalar, DHC_NAME_OPT_STEP) && has_turns(m)) r = dhc_range_hull(r, range(e, 1, 1)); /* they count steps of their own */
  for (int i = 0; i < m->groups.n && group < 0; i++) {
    if (m->groups.at[i].optimizer || !of_group(p, &m->groups.at[i], x, all, &v)) continue;
    if (isnan(v)) e->bounded = false;
    r = dhc_range_hull(r, range(e, v, v));
  }
  return r;
}

static bool has_averages(const dhc_program *p) {
  for (int i = 0; i < p->m->module->tensors.n; i++)
    if (p->m->module->tensors.at[i].average) return true;
  return false;
}

/* What a parameter of the optimiser can be; `g` the largest gradient. */
static DhcRange of_param(dhc_program *p, Eval *e, const dhc_update_param *x, int group, double g, const DhcRange *now) {
  if (x->kind == DHC_UPDATE_FLAT) return now[1 + x->range];
  if (x->kind == DHC_UPDATE_GRADIENT) return range(e, -g, g);
  return of_scalar(p, e, x, group);
}

static bool of_floats(const DhcNode *n) {
  for (int i = n->op == DHC_OP_SELECT; i < n->n_args; i++)
    if (!dhc_dtype_is_float(n->args[i]->type.dtype)) return false;
  return n->n_args <= 3 && dhc_op_info(n->op)->cls == DHC_CLASS_ELEMENTWISE;
}

static bool is_wide(const dhc_program *p) { return dhc_prog_layout(p->run)->dtype == DHC_F64; }
static double largest(const dhc_program *p) { return is_wide(p) ? DBL_MAX : (double)FLT_MAX; }

/* Whether a formula on ranges `was` and gradients up to g leaves all finite; then `now` has what it makes of them, too. */
static bool keeps_finite(dhc_program *p, const dhc_update *u, const DhcFunc *f, int group, double g, const DhcRange *was, DhcRange *now) {
  struct StepGuard *s = p->guard;
  if (u->n_params != f->params.n || u->n_results != f->results.n) return false;
  dhc_arena_reset(&s->arena);
  Eval e = {.f32 = !is_wide(p), .bounded = true, .at = DHC_NEW_N(&s->arena, DhcRange, f->next_value_id + 1)};
  for (int i = 0; i < f->params.n; i++) e.at[f->params.at[i]->id] = of_param(p, &e, &u->params[i], group, g, was);
  for (const DhcNode *n = f->first; n && e.bounded; n = n->next) {
    DhcRange x[3] = {{0, 0}, {0, 0}, {0, 0}};
    if (n->op == DHC_OP_PARAM) continue;
    for (int i = 0; i < n->n_args && i < 3; i++) x[i] = e.at[n->args[i]->id];
    DhcRange *y = &e.at[n->results[0]->id];
    if (n->op == DHC_OP_FILL) *y = range(&e, dhc_attr(n, "value")->f, dhc_attr(n, "value")->f);
    else if (n->op == DHC_OP_BROADCAST) *y = x[0];
    else if (n->results[0]->type.dtype == DHC_BOOL) *y = (DhcRange){0, 1}; /* selects take both sides */
    else if (!of_floats(n) || !dhc_range_of(n, x, e.f32, y)) e.bounded = false;
  }
  if (!e.bounded) return false;
  for (int i = 0; i < f->results.n; i++) {
    DhcRange *flat = &now[1 + u->results[i]];
    *flat = dhc_range_hull(*flat, e.at[f->results.at[i]->id]);
  }
  return true;
}

/* Whether a step with gradients up to g leaves all finite; then `now` are the ranges after it. */
static bool proven(dhc_program *p, const dhc_update *u, const DhcFunc *f, double g, DhcRange *now) {
  struct StepGuard *s = p->guard;
  const int n = dhc_prog_layout(p->run)->n_ranges;
  DhcRange was[1 + API_MAX_RANGES];
  memcpy(was, now, sizeof *now * (size_t)(1 + n));
  if (!keeps_finite(p, u, f, -1, g, was, now)) return false;
  for (int i = 0; s->own && i < p->m->module->groups.n; i++)
    if (s->own[i] && !keeps_finite(p, &s->own_update[i], s->own[i], i, g, was, now)) return false;
  /* An average of weights lies between them; a rounding of it must not go beyond the largest. */
  if (has_averages(p) && !(now[0].hi <= FLT_MAX / 2 && now[0].lo >= -FLT_MAX / 2)) return false;
  if (u->average < 0) return true;
  DhcRange *mean = &now[1 + u->average];
  *mean = dhc_range_hull(*mean, now[0]);
  return mean->hi <= FLT_MAX / 2 && mean->lo >= -FLT_MAX / 2;
}

/* ---- looking at memory ------------------------------------------------------------------ */

/* Elements of flat k. */
static int64_t flat_length(const dhc_program *p, int k) {
  const dhc_layout *l = dhc_prog_layout(p->run);
  return k ? l->ranges[k - 1].n : l->n_weights;
}

/* Moments are shorter than the weights where some are frozen, or where not all weights have them. The first as long as flat k. */
static int as_long(const dhc_program *p, int k) {
  int first = 0;
  while (flat_length(p, first) != flat_length(p, k)) first++;
  return first;
}

/* Index of the first element of flat k that is not finite; only asked where there is one. */
static dhc_status find_bad(dhc_program *p, int k, int64_t *bad) {
  struct StepGuard *g = p->guard;
  double first;
  Version **v = &g->find[as_long(p, k)];
  if (!*v) DHC_TRY(measure_make(p, dhc_infinite_entry(p->m->module, flat_length(p, k)), v));
  DHC_TRY(measure_run(p, *v, k - 1));
  DHC_TRY(exec_number(p, *v, 0, &first));
  *bad = first < (double)DHC_MEASURE_NONE ? (int64_t)first : -1;
  return dhc_status_ok();
}

/* Range of flat k's elements; *bad: index of the first that is not finite, or -1. */
static dhc_status measure(dhc_program *p, int k, DhcRange *out, int64_t *bad) {
  Version **v = &p->guard->measure[as_long(p, k)];
  DhcTensorView view;
  DhcDevicePtr at;
  double end[2];
  if (!*v) DHC_TRY(measure_make(p, dhc_measure_entry(p->m->module, flat_length(p, k)), v));
  DHC_TRY(measure_run(p, *v, k - 1));
  DHC_TRY(dhc_prog_result((*v)->loaded, 0, &view, &at));
  DHC_TRY(dhc_device_get(dhc_prog_device(p->run), at, view.dtype, end, DHC_F64, 2));
  *bad = -1;
  *out = (DhcRange){fmin(-end[1], 0), fmax(end[0], 0)};
  return isfinite(end[0]) && isfinite(end[1]) ? dhc_status_ok() : find_bad(p, k, bad);
}

static void blame(dhc_program *p, int k, int64_t bad) {
  const dhc_layout *l = dhc_prog_layout(p->run);
  struct StepGuard *g = p->guard;
  if (k) bad += l->ranges[k - 1].begin;
  const dhc_slot *t = measured_slot(l, &bad);
  if (t)
    snprintf(g->blame, sizeof g->blame, "the update makes %s%s%s'%s' not finite at index %lld", k ? "'" : "tensor ",
             k ? l->ranges[k - 1].name : "", k ? "' of tensor " : "", t->name, (long long)bad);
}

/* All of them here; *finite is false if some element is not, with a line that says which. */
static dhc_status measure_own(dhc_program *p, bool *finite) {
  const dhc_layout *l = dhc_prog_layout(p->run);
  struct StepGuard *s = p->guard;
  s->measured = *finite = false;
  for (int k = 0; k <= l->n_ranges; k++) {
    int64_t bad = -1;
    if (k && !l->ranges[k - 1].like_weights) continue;
    if (k && dhc_prog_fresh(p->run, k - 1)) s->now[k] = l->ranges[k - 1].from_weights ? s->now[0] : (DhcRange){0, 0};
    else DHC_TRY(measure(p, k, &s->now[k], &bad));
    if (bad < 0) continue;
    blame(p, k, bad);
    return dhc_status_ok();
  }
  s->measured = *finite = true;
  s->version = dhc_prog_version(p->run);
  return dhc_status_ok();
}

/* Where others have shares of the moments, what all of them have seen: so all go on alike. */
static dhc_status measure_all(dhc_program *p, bool *finite) {
  typedef struct Seen {
    DhcRange now[1 + API_MAX_RANGES];
    char blame[sizeof p->guard->blame];
    int64_t finite;
  } Seen;
  struct StepGuard *s = p->guard;
  DHC_TRY(measure_own(p, finite));
  if (!p->sharers) return dhc_status_ok();
  const int n = dhc_ranks_count(p->sharers);
  Seen mine, *all = malloc(sizeof *all * (size_t)n);
  if (!all) return dhc_status_memory((long long)sizeof *all * n, "what ranks have seen");
  memset(&mine, 0, sizeof mine);
  memcpy(mine.now, s->now, sizeof mine.now);
  memcpy(mine.blame, s->blame, sizeof mine.blame);
  mine.finite = *finite;
  dhc_status st = dhc_ranks_exchange(p->sharers, &mine, sizeof mine, all);
  for (int r = n; r-- > 0 && !st.code;) {
    for (int k = 0; k <= API_MAX_RANGES && *finite; k++) s->now[k] = dhc_range_hull(s->now[k], all[r].now[k]);
    *finite = *finite && all[r].finite;
    if (!all[r].finite) memcpy(s->blame, all[r].blame, sizeof s->blame);
  }
  free(all);
  s->measured = *finite;
  return st;
}

/* ---- running ----------------------------------------------------------------------------- */

/* A result of the step just run as a number; NaN: there is none. */
static dhc_status number(dhc_program *p, const Version *v, int32_t result, double *out) {
  *out = NAN;
  return result < 0 ? dhc_status_ok() : exec_number(p, v, result, out);
}

static dhc_status finite_step(dhc_program *p, const Version *v, bool *finite) {
  double x;
  DHC_TRY(exec_number(p, v, v->image->finite, &x));
  *finite = x != 0;
  return dhc_status_ok();
}

/* The step wrote what is not finite: as if it had not run. */
static dhc_status take_back(dhc_program *p, const Version *v) {
  DhcTensorView view;
  DhcDevicePtr at;
  DHC_TRY(dhc_prog_restore(p->run, p->guard->copy));
  DHC_TRY(dhc_prog_result(v->loaded, v->image->finite, &view, &at));
  return dhc_device_set(dhc_prog_device(p->run), at, view.dtype, 0, 1);
}

static dhc_status run_watched(dhc_program *p, Version *v, const DhcTensorView *const *in, const int64_t *symbols) {
  bool finite;
  if (!p->guard->copy) DHC_TRY(budget_more(p, DHC_USE_SCRATCH, dhc_prog_kept(p->run), "a careful step"));
  DHC_TRY(dhc_prog_save(p->run, &p->guard->copy));
  *program_scalar(p, DHC_NAME_LIMIT) = largest(p);
  DHC_TRY(exec_run(p, v, in, symbols));
  DHC_TRY(finite_step(p, v, &finite));
  if (!finite) return dhc_status_ok();
  DHC_TRY(measure_all(p, &finite));
  return finite ? dhc_status_ok() : take_back(p, v);
}

const char *step_blame(const dhc_program *p) {
  return p->guard ? p->guard->blame : "";
}

dhc_status step_ready(dhc_program *p) {
  if (!p->guard) {
    p->guard = calloc(1, sizeof *p->guard);
    if (!p->guard) return dhc_status_memory((long long)sizeof *p->guard, "a training step");
    dhc_arena_init(&p->guard->arena);
  }
  if (p->guard->measure[0]) return dhc_status_ok();
  return measure_make(p, dhc_measure_entry(p->m->module, flat_length(p, 0)), &p->guard->measure[0]);
}

/* The step refused a gradient for its size alone: the loss is finite. */
static dhc_status too_careful(dhc_program *p, const Version *v, double limit, bool *out) {
  double norm, loss;
  DHC_TRY(number(p, v, v->image->update.norm, &norm));
  DHC_TRY(number(p, v, v->image->update.loss, &loss));
  *out = norm > limit && isfinite(loss);
  return dhc_status_ok();
}

/* What optimisers of groups do; false after diagnostics. */
static bool own_updates(dhc_program *p, const Version *v) {
  struct StepGuard *s = p->guard;
  const int n = p->m->module->groups.n;
  DhcFunc *usual;
  if (s->own_update || !n) return true;
  if (!pipeline_optimizers(p->m, &usual, &s->own)) return false;
  s->own_update = DHC_NEW_N(&p->m->s->arena, dhc_update, n);
  for (int i = 0; i < n; i++)
    if (s->own && s->own[i]) s->own_update[i] = dhc_image_update(v->image, s->own[i], &p->m->s->arena);
  return true;
}

dhc_status step_run(dhc_program *p, Version *v, const DhcTensorView *const *in, const int64_t *symbols) {
  static const double usual = 0x1p30; /* gradients beyond this are looked at closely */
  struct StepGuard *s = p->guard;
  const dhc_update *u = &v->image->update;
  const DhcGraphReader reader = {&p->m->s->arena, &p->m->s->strings, &p->m->s->diags};
  const DhcFunc *f = dhc_graph_func(&reader, &u->formula);
  double clip = *program_scalar(p, DHC_NAME_CLIP), *limit = program_scalar(p, DHC_NAME_LIMIT);
  s->blame[0] = 0;
  if (!own_updates(p, v)) return session_errors(p->m->s);
  /* Clipped gradients are at most `clip`, but for rounding; the true norm may be up to 50 times the one that is taken over pairs of rows (passes/grad/train_rows.c). */
  double g = 64 * (clip > 0 && clip < usual ? clip : usual);
  *limit = clip > 0 && clip < usual ? largest(p) : usual;
  DhcRange next[1 + API_MAX_RANGES];
  bool room = dhc_prog_layout(p->run)->n_ranges <= API_MAX_RANGES;
  for (int round = 0; f && room && round < 2; round++) {
    bool known = s->measured && s->version == dhc_prog_version(p->run), finite, careful;
    if (round == 1 || !known) DHC_TRY(measure_all(p, &known));
    memcpy(next, s->now, sizeof next);
    if (!known) break;
    if (!proven(p, u, f, g, next)) continue;
    DHC_TRY(exec_run(p, v, in, symbols));
    DHC_TRY(finite_step(p, v, &finite));
    if (!finite) {
      DHC_TRY(too_careful(p, v, *limit, &careful));
      if (careful) break;
    }
    memcpy(s->now, next, sizeof next);
    s->version = dhc_prog_version(p->run);
    return dhc_status_ok();
  }
  s->blame[0] = 0;
  return run_watched(p, v, in, symbols);
}

void step_close(dhc_program *p) {
  if (!p->guard) return;
  for (int i = 0; i <= API_MAX_RANGES; i++) {
    if (p->guard->measure[i]) dhc_prog_unload(p->guard->measure[i]->loaded);
    if (p->guard->find[i]) dhc_prog_unload(p->guard->find[i]->loaded);
  }
  if (p->guard->copy) dhc_prog_device(p->run)->ops->free(dhc_prog_device(p->run), p->guard->copy);
  dhc_arena_fini(&p->guard->arena);
  free(p->guard);
}
