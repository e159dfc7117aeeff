/* A training step whose update overflows must change nothing, like one whose loss or gradient
 * does. The step itself refuses a gradient norm above "$limit" (passes/grad/train_step.c). Below it, the
 * optimiser's own formula, evaluated once on ranges instead of numbers, says how large weights
 * and state can become: a few dozen operations on the host, which prove nearly every step
 * harmless before it runs. Where they prove nothing (an infinite rate, weights near the largest
 * number), the step runs watched: everything it writes is copied before and looked at after,
 * and put back if some of it is not finite.
 *
 * add, sub, mul, div and sqrt round correctly, hence monotonically, so that ends of ranges
 * rounded like the elements bound them; the other functions get a margin. */
#include <float.h>
#include <math.h>
#include <stdlib.h>

#include "api/api.h"

typedef struct Range {
  double lo, hi;
} Range;

/* Arena 0 is the weights, 1 + k the optimiser's state k ("$ema" too). */
struct StepGuard {
  Range now[1 + API_MAX_STATES];
  int64_t version; /* weights_version for which `now` holds */
  bool measured;
  DhcArena arena; /* of one evaluation */
  char blame[200];
};

typedef struct Eval {
  bool f32;
  bool bounded; /* still */
  Range *at;    /* by value id */
} Eval;

/* Not inlined: gcc 12 at -O3 makes a vector of two such roundings side by side and loses both. */
__attribute__((noinline)) static double rounded(const Eval *e, double x) {
  return e->f32 ? (double)(float)x : x;
}

static Range range(Eval *e, double a, double b) {
  Range r = {rounded(e, fmin(a, b)), rounded(e, fmax(a, b))};
  if (!isfinite(r.lo) || !isfinite(r.hi) || !(r.lo <= r.hi)) e->bounded = false;
  return r;
}

static Range hull(Range a, Range b) {
  return (Range){fmin(a.lo, b.lo), fmax(a.hi, b.hi)};
}

/* Least and largest of the four combinations of ends. */
static Range corners(Eval *e, double (*f)(double, double), Range a, Range b) {
  double w = f(a.lo, b.lo), x = f(a.lo, b.hi), y = f(a.hi, b.lo), z = f(a.hi, b.hi);
  if (isnan(w + x + y + z)) e->bounded = false;
  return range(e, fmin(fmin(w, x), fmin(y, z)), fmax(fmax(w, x), fmax(y, z)));
}

static double times(double a, double b) {
  return a * b;
}

static double over(double a, double b) {
  return a / b;
}

static double meaning(DhcOp op, double a, double b, double c) {
  const DhcScalar args[3] = {{.f = a}, {.f = b}, {.f = c}};
  return dhc_eval_ew(op, DHC_F64, args).f;
}

/* The rest: functions that rise, at both ends; any function, of single numbers. */
static Range other(Eval *e, DhcOp op, const Range *x, int n) {
  bool rises = op == DHC_OP_EXP || op == DHC_OP_EXPM1 || op == DHC_OP_LOG || op == DHC_OP_LOG1P || op == DHC_OP_TANH;
  bool points = true;
  for (int i = 0; i < n; i++) points = points && x[i].lo == x[i].hi;
  if (!points && !rises) {
    e->bounded = false;
    return (Range){0, 0};
  }
  double lo = meaning(op, x[0].lo, n > 1 ? x[1].lo : 0, n > 2 ? x[2].lo : 0);
  double hi = points ? lo : meaning(op, x[0].hi, 0, 0);
  const double margin = 0x1p-20; /* far above the 4 ULP such a function may be off */
  return range(e, lo - margin * fabs(lo), hi + margin * fabs(hi));
}

static Range of_op(Eval *e, const DhcNode *n, const Range *x) {
  switch (n->op) {
    case DHC_OP_NEG: return range(e, -x[0].hi, -x[0].lo);
    case DHC_OP_STOP_GRADIENT: return x[0];
    case DHC_OP_ABS: {
      double top = fmax(fabs(x[0].lo), fabs(x[0].hi));
      return range(e, x[0].lo <= 0 && x[0].hi >= 0 ? 0 : fmin(fabs(x[0].lo), fabs(x[0].hi)), top);
    }
    case DHC_OP_ADD: return range(e, x[0].lo + x[1].lo, x[0].hi + x[1].hi);
    case DHC_OP_SUB: return range(e, x[0].lo - x[1].hi, x[0].hi - x[1].lo);
    case DHC_OP_MUL:
      if (n->args[0] == n->args[1]) { /* a square */
        double top = fmax(fabs(x[0].lo), fabs(x[0].hi));
        return range(e, 0, top * top);
      }
      return corners(e, times, x[0], x[1]);
    case DHC_OP_FMA: {
      double w = x[0].lo * x[1].lo, a = x[0].lo * x[1].hi, b = x[0].hi * x[1].lo, c = x[0].hi * x[1].hi;
      return range(e, fmin(fmin(w, a), fmin(b, c)) + x[2].lo, fmax(fmax(w, a), fmax(b, c)) + x[2].hi);
    }
    case DHC_OP_DIV:
      if (x[1].lo <= 0 && x[1].hi >= 0) e->bounded = false;
      return corners(e, over, x[0], x[1]);
    case DHC_OP_SQRT:
      if (x[0].lo < 0) e->bounded = false;
      return range(e, sqrt(x[0].lo), sqrt(x[0].hi));
    case DHC_OP_MAX: return range(e, fmax(x[0].lo, x[1].lo), fmax(x[0].hi, x[1].hi));
    case DHC_OP_MIN: return range(e, fmin(x[0].lo, x[1].lo), fmin(x[0].hi, x[1].hi));
    case DHC_OP_SELECT: return hull(x[1], x[2]);
    default: return other(e, n->op, x, n->n_args);
  }
}

/* ---- one step --------------------------------------------------------------------- */

static int named(const DhcFunc *f, const char *name) {
  for (int i = 0; name && i < f->results.n; i++)
    if (f->result_names.at[i] && !strcmp(f->result_names.at[i], name)) return i;
  return -1;
}

static int arena_of(const Memory *mem, const char *name) {
  for (int k = 0; k < mem->n_states; k++)
    if (!strcmp(mem->state_names[k] + 1, name)) return 1 + k;
  return -1;
}

static double scalar_now(dhc_program *p, const char *name) {
  char full[128];
  snprintf(full, sizeof full, "$%s", strcmp(name, "step") ? name : "opt_step");
  for (int i = 0; i < p->mem.n_scalars; i++)
    if (!strcmp(p->mem.scalar_names[i], full)) return p->mem.scalars[i];
  return NAN;
}

/* What the optimiser's parameter i can be; `g` the largest gradient. */
static Range of_param(dhc_program *p, Eval *e, const DhcFunc *f, int i, double g, const Range *now) {
  const char *name = f->param_info.at[i].name;
  if (i == 0) return now[0];
  if (i == 1) return range(e, -g, g);
  if (named(f, name) >= 0) {
    int k = arena_of(&p->mem, name);
    if (k > 0) return now[k];
    e->bounded = false;
    return (Range){0, 0};
  }
  double v = scalar_now(p, name);
  if (isnan(v)) e->bounded = false;
  /* weight_decay is 0 for some tensors; a tensor in pieces may be younger than the run */
  if (!strcmp(name, "weight_decay")) return range(e, 0, v);
  if (!strcmp(name, "step") && p->mem.place.n_begun) return range(e, 1, v);
  return range(e, v, v);
}

static bool of_floats(const DhcNode *n) {
  for (int i = n->op == DHC_OP_SELECT; i < n->n_args; i++)
    if (!dhc_dtype_is_float(n->args[i]->type.dtype)) return false;
  return n->n_args <= 3 && dhc_op_info(n->op)->cls == DHC_CLASS_ELEMENTWISE;
}

/* Whether a step with gradients up to g leaves all finite; then `now` are the ranges after it. */
static bool proven(dhc_program *p, const DhcFunc *f, double g, Range *now) {
  struct StepGuard *s = p->guard;
  dhc_arena_reset(&s->arena);
  Eval e = {.f32 = p->mem.float_bytes == 4, .bounded = true, .at = DHC_NEW_N(&s->arena, Range, f->next_value_id + 1)};
  for (int i = 0; i < f->params.n; i++) e.at[f->params.at[i]->id] = of_param(p, &e, f, i, g, now);
  for (const DhcNode *n = f->first; n && e.bounded; n = n->next) {
    Range x[3] = {{0, 0}, {0, 0}, {0, 0}};
    if (n->op == DHC_OP_PARAM) continue;
    for (int i = 0; i < n->n_args && i < 3; i++) x[i] = e.at[n->args[i]->id];
    Range *y = &e.at[n->results[0]->id];
    if (n->op == DHC_OP_FILL) *y = range(&e, dhc_attr(n, "value")->f, dhc_attr(n, "value")->f);
    else if (n->op == DHC_OP_BROADCAST) *y = x[0];
    else if (n->results[0]->type.dtype == DHC_BOOL) *y = (Range){0, 1}; /* selects take both sides */
    else if (of_floats(n)) *y = of_op(&e, n, x);
    else e.bounded = false;
  }
  if (!e.bounded) return false;
  int w = named(f, f->param_info.at[0].name);
  now[0] = hull(now[0], e.at[f->results.at[w < 0 ? 0 : w]->id]);
  for (int i = 0; i < f->results.n; i++) {
    int k = f->result_names.at[i] ? arena_of(&p->mem, f->result_names.at[i]) : -1;
    if (k > 0) now[k] = hull(now[k], e.at[f->results.at[i]->id]);
  }
  /* An average of weights lies between them; a rounding of it must not go beyond the largest. */
  int ema = arena_of(&p->mem, "ema");
  if (ema > 0) {
    now[ema] = hull(now[ema], now[0]);
    if (now[ema].hi > FLT_MAX / 2 || now[ema].lo < -FLT_MAX / 2) return false;
  }
  return true;
}

/* ---- looking at memory ------------------------------------------------------------------ */

static void *arena_at(const Memory *mem, int k) {
  return k ? memory_state_at(mem, k - 1) : mem->weights;
}

/* Range of an arena's elements; *bad: index of the first that is not finite, or -1. */
static Range measure(const Memory *mem, int k, int64_t *bad) {
  const void *at = arena_at(mem, k);
  int64_t n = mem->place.n_weights;
  *bad = -1;
  if (mem->float_bytes == 8) {
    const double *x = at;
    Range r = {0, 0};
    for (int64_t i = 0; i < n; i++) {
      if (*bad < 0 && !isfinite(x[i])) *bad = i;
      r = (Range){x[i] < r.lo ? x[i] : r.lo, x[i] > r.hi ? x[i] : r.hi};
    }
    return r;
  }
  const float *x = at;
  float lo = 0, hi = 0, check = 0;
  for (int64_t i = 0; i < n; i++) {
    lo = x[i] < lo ? x[i] : lo;
    hi = x[i] > hi ? x[i] : hi;
    check += x[i] * 0; /* NaN as soon as one is not finite */
  }
  for (int64_t i = 0; check != 0 && i < n && *bad < 0; i++)
    if (!isfinite(x[i])) *bad = i;
  return (Range){(double)lo, (double)hi};
}

/* All arenas; false if some element is not finite, with a line that says which. */
static bool measure_all(dhc_program *p) {
  struct StepGuard *s = p->guard;
  s->measured = false;
  for (int k = 0; k <= p->mem.n_states; k++) {
    int64_t bad;
    s->now[k] = measure(&p->mem, k, &bad);
    if (bad < 0) continue;
    for (int i = 0; i < p->mem.place.n_slots; i++) {
      const Slot *t = &p->mem.place.slots[i];
      if (t->decl->role != DHC_ROLE_PARAM || bad < t->offset || bad >= t->offset + t->n) continue;
      snprintf(s->blame, sizeof s->blame, "the update makes %s%s%s'%s' not finite at index %lld", k ? "'" : "tensor ",
               k ? p->mem.state_names[k - 1] + 1 : "", k ? "' of tensor " : "", t->decl->path, (long long)(bad - t->offset));
    }
    return false;
  }
  s->measured = true;
  s->version = p->weights_version;
  return true;
}

/* ---- running ----------------------------------------------------------------------------- */

static dhc_status run_plain(dhc_program *p, Entry *e, Version *v, const dhc_tensor *const *in, const int64_t *values) {
  return p->m->s->interp ? exec_interp_run(p, e, v, in) : exec_cpu_run(p, e, v, in, values);
}

static const dhc_tensor *result(const Entry *e, const char *name) {
  for (int i = 0; i < e->n_results; i++)
    if (!strcmp(e->results[i].name, name)) return &e->results[i];
  return NULL;
}

static bool finite_step(const Entry *e) {
  const dhc_tensor *t = result(e, "finite");
  return t && *(const uint8_t *)t->data != 0;
}

static double number(const Entry *e, const char *name) {
  const dhc_tensor *t = result(e, name);
  DhcTensorView v = {.dtype = t ? (int32_t)t->dtype : 0, .data = t ? t->data : NULL};
  return t ? dhc_tensor_get(&v, 0) : NAN;
}

/* Copies of weights, optimiser state and buffers, or back. */
static void copy_all(const Memory *mem, char *copy, bool back) {
  struct {
    void *at;
    size_t n;
  } part[3] = {{mem->weights, mem->float_bytes * (size_t)mem->place.n_weights},
               {mem->opt, mem->n_states ? (size_t)(memory_begun_bytes(mem) + mem->n_states * memory_state_bytes(mem)) : 0},
               {mem->state, (size_t)mem->place.state_bytes}};
  for (int i = 0; i < 3; copy += part[i++].n) {
    if (!part[i].n) continue;
    if (back) memcpy(part[i].at, copy, part[i].n);
    else memcpy(copy, part[i].at, part[i].n);
  }
}

static dhc_status run_watched(dhc_program *p, Entry *e, Version *v, const dhc_tensor *const *in, const int64_t *values) {
  const Memory *mem = &p->mem;
  int64_t bytes = (int64_t)mem->float_bytes * mem->place.n_weights + mem->place.state_bytes;
  if (mem->n_states) bytes += memory_begun_bytes(mem) + mem->n_states * memory_state_bytes(mem);
  DHC_TRY(budget_more(p, DHC_USE_COPY, bytes, "a careful step"));
  char *copy = malloc((size_t)bytes + 1);
  if (!copy) {
    budget_less(p, DHC_USE_COPY, bytes);
    return dhc_status_memory((long long)bytes, "a copy of the training state");
  }
  DhcHeld held;
  dhc_hold(&held, free, copy);
  copy_all(mem, copy, false);
  *memory_scalar(&p->mem, "$limit") = mem->float_bytes == 8 ? DBL_MAX : (double)FLT_MAX;
  dhc_status st = run_plain(p, e, v, in, values);
  if (st.code == DHC_OK && finite_step(e) && !measure_all(p)) {
    copy_all(mem, copy, true);
    *(uint8_t *)result(e, "finite")->data = 0;
    p->weights_version++;
  }
  dhc_release(&held);
  free(copy);
  budget_less(p, DHC_USE_COPY, bytes);
  return st;
}

const char *step_blame(const dhc_program *p) {
  return p->guard ? p->guard->blame : "";
}

dhc_status step_run(dhc_program *p, Entry *e, Version *v, const dhc_tensor *const *in, const int64_t *values) {
  static const double usual = 0x1p30; /* gradients beyond this are looked at closely */
  if (!p->guard) {
    p->guard = calloc(1, sizeof *p->guard);
    if (!p->guard) return dhc_status_memory((long long)sizeof *p->guard, "a training step");
    dhc_arena_init(&p->guard->arena);
  }
  struct StepGuard *s = p->guard;
  const DhcFunc *f = dhc_model_function(p->m->m, dhc_model_recipe(p->m->m)->optimizer);
  double clip = *memory_scalar(&p->mem, "$clip"), *limit = memory_scalar(&p->mem, "$limit");
  s->blame[0] = 0;
  /* Clipped gradients are at most `clip`, but for rounding. */
  double g = clip > 0 && clip < usual ? clip * 1.001 : usual;
  *limit = clip > 0 && clip < usual ? (p->mem.float_bytes == 8 ? DBL_MAX : (double)FLT_MAX) : usual;
  Range next[1 + API_MAX_STATES];
  for (int round = 0; f && round < 2; round++) {
    bool known = s->measured && s->version == p->weights_version;
    if (round == 1 || !known) known = measure_all(p);
    memcpy(next, s->now, sizeof next);
    if (!known) break;
    if (!proven(p, f, g, next)) continue;
    DHC_TRY(run_plain(p, e, v, in, values));
    if (!finite_step(e) && number(e, "grad_norm") > *limit && isfinite(number(e, "loss"))) break; /* refused for its size alone */
    memcpy(s->now, next, sizeof next);
    s->version = p->weights_version;
    return dhc_status_ok();
  }
  s->blame[0] = 0;
  return run_watched(p, e, v, in, values);
}

void step_close(dhc_program *p) {
  if (p->guard) dhc_arena_fini(&p->guard->arena);
  free(p->guard);
}
