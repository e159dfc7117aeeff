/* Gradients of every differentiable op against finite differences in float64, and the
 * gradients of those gradients.
 *
 * The entry is y = f(x) with all float operands as x and all float results as y. Its
 * gradient entry takes cotangents c of y and returns g = J' c. Checked are
 *   first order:  every entry of J if it has at most 10,000, else three random directions;
 *   second order: d/d(x, c) <v, g> for a random v, along three random directions.
 * Central differences with step 1e-6; rtol 1e-3, atol 1e-5. */
#include <math.h>

#include "passes/passes.h"
#include "tests/ops/check.h"

static const DhcCaseOptions options = {.seed = 4, .float_dtype = DHC_F64};
static const double eps = 1e-6, rtol = 1e-3, atol = 1e-5;
enum { DIRECTIONS = 3, FULL = 10000 };

/* A function with concrete operands, of which the first n_in arrays are varied. */
typedef struct Map {
  const DhcOpCase *c;
  DhcFunc *f;
  int n_args;
  const DhcArray **args;
  uint64_t state;
} Map;

static bool close_to(double want, double got) {
  return fabs(want - got) <= atol + rtol * fabs(want);
}

static DhcArray *like(const DhcOpCase *c, const DhcArray *a, uint64_t *state) {
  DhcArray *r = dhc_array_new(c->arena, a->dtype, a->rank, a->dim);
  for (int64_t e = 0; r->f && e < r->n; e++) r->f[e] = state ? dhc_case_uniform(state, -1, 1) : 0;
  return r;
}

/* <w, f(args + t * dir)> over the results from `first`; w[r] and dir[p] may be NULL. */
static bool probe(const Map *m, DhcArray *const *dir, double t, int first, DhcArray *const *w, int n_w,
                  double *out) {
  DhcArena scratch;
  dhc_arena_init(&scratch);
  const DhcArray **args = DHC_NEW_N(&scratch, const DhcArray *, m->n_args + 1);
  for (int p = 0; p < m->n_args; p++) {
    args[p] = m->args[p];
    if (!dir[p]) continue;
    DhcArray *moved = dhc_array_copy(&scratch, m->args[p]);
    for (int64_t e = 0; e < moved->n; e++) moved->f[e] += t * dir[p]->f[e];
    args[p] = moved;
  }
  DhcArray **r = DHC_NEW_N(&scratch, DhcArray *, m->f->results.n + 1);
  bool ok = dhc_interp_run(&scratch, m->c->diags, m->f, args, r, NULL);
  *out = 0;
  for (int k = 0; ok && k < n_w; k++)
    for (int64_t e = 0; w[k] && e < w[k]->n; e++) *out += w[k]->f[e] * r[first + k]->f[e];
  dhc_arena_fini(&scratch);
  return ok;
}

/* d/dt <w, f(args + t dir)> at 0, by central difference. */
static bool slope(const Map *m, DhcArray *const *dir, int first, DhcArray *const *w, int n_w, double *out) {
  double up, down;
  if (!probe(m, dir, eps, first, w, n_w, &up) || !probe(m, dir, -eps, first, w, n_w, &down)) return false;
  *out = (up - down) / (2 * eps);
  return true;
}

/* ---- the case's gradient entry ----------------------------------------------- */

typedef struct Grad {
  Map map;             /* the function itself */
  DhcFunc *g;          /* its gradient entry: (args, cotangents) -> (results, gradients) */
  int n_x, x[16];      /* varied parameters */
  int n_y, y[16];      /* results with cotangents */
  int n_results;       /* of the function, which come first in g */
} Grad;

static DhcFunc *gradient_of(DhcPassCtx *px, DhcFunc *f, const char *name, unsigned roles, const char *const *of,
                            int n_of) {
  DhcGradRequest rq = {.name = name, .roles = roles, .cotangents = true, .results = of, .n_results = n_of};
  DhcFunc *g = dhc_grad_entry(px, f, &rq);
  return g && dhc_verify(px->module, DHC_STAGE_GRAPH, "autodiff") ? g : NULL;
}

/* Runs g.g with cotangents w; gradients to out[0..n_x-1] (in scratch's life). */
static bool backward(const Grad *g, DhcArena *scratch, DhcArray *const *w, DhcArray **out) {
  const DhcArray **args = DHC_NEW_N(scratch, const DhcArray *, g->map.n_args + g->n_y + 1);
  DhcArray **r = DHC_NEW_N(scratch, DhcArray *, g->g->results.n + 1);
  for (int p = 0; p < g->map.n_args; p++) args[p] = g->map.args[p];
  for (int k = 0; k < g->n_y; k++) args[g->map.n_args + k] = w[g->y[k]];
  if (!dhc_interp_run(scratch, g->map.c->diags, g->g, args, r, NULL)) return false;
  for (int k = 0; k < g->n_x; k++) out[k] = r[g->n_results + k];
  return true;
}

/* Largest results and operands, for the size of the Jacobian. */
static int64_t total(const DhcArray *const *a, const int *which, int n) {
  int64_t s = 0;
  for (int k = 0; k < n; k++) s += a[which[k]]->n;
  return s;
}

static void full_jacobian(Check *k, Grad *g, DhcArray *const *y) {
  const DhcOpCase *c = g->map.c;
  DhcArray *w[DHC_MAX_RESULTS] = {NULL}, *dir[64] = {NULL}, *grad[16];
  for (int i = 0; i < g->n_y; i++) w[g->y[i]] = like(c, y[g->y[i]], NULL);
  for (int i = 0; i < g->n_y; i++) {
    for (int64_t e = 0; e < w[g->y[i]]->n; e++) {
      DhcArena scratch;
      dhc_arena_init(&scratch);
      w[g->y[i]]->f[e] = 1;
      bool ok = backward(g, &scratch, w, grad);
      for (int j = 0; ok && j < g->n_x; j++) {
        int p = g->x[j];
        dir[p] = like(c, c->args[p], NULL);
        for (int64_t d = 0; ok && d < dir[p]->n; d++) {
          double want;
          dir[p]->f[d] = 1;
          ok = slope(&g->map, dir, 0, w, g->n_results, &want);
          dir[p]->f[d] = 0;
          if (ok && !close_to(want, grad[j]->f[d]))
            check_fail(k, c, "d result %d[%lld] / d operand %d[%lld]: want %g, got %g", g->y[i], (long long)e, p,
                       (long long)d, want, grad[j]->f[d]);
        }
        dir[p] = NULL;
      }
      if (!ok) check_fail(k, c, "the gradient does not run");
      w[g->y[i]]->f[e] = 0;
      dhc_arena_fini(&scratch);
      if (!ok) return;
    }
  }
}

static void directions(Check *k, Grad *g, DhcArray *const *y) {
  const DhcOpCase *c = g->map.c;
  for (int trial = 0; trial < DIRECTIONS; trial++) {
    DhcArray *w[DHC_MAX_RESULTS] = {NULL}, *dir[64] = {NULL}, *grad[16];
    for (int i = 0; i < g->n_y; i++) w[g->y[i]] = like(c, y[g->y[i]], &g->map.state);
    for (int j = 0; j < g->n_x; j++) dir[g->x[j]] = like(c, c->args[g->x[j]], &g->map.state);
    double want, got = 0;
    if (!backward(g, c->arena, w, grad) || !slope(&g->map, dir, 0, w, g->n_results, &want)) {
      check_fail(k, c, "the gradient does not run");
      return;
    }
    for (int j = 0; j < g->n_x; j++)
      for (int64_t e = 0; e < grad[j]->n; e++) got += grad[j]->f[e] * dir[g->x[j]]->f[e];
    if (!close_to(want, got)) check_fail(k, c, "direction %d: want %g, got %g", trial, want, got);
  }
}

/* ---- second order -------------------------------------------------------------------- */

/* h = d/d(x, c) <v, g(x, c)> against the slope of <v, g>. */
static void second_order(Check *k, DhcPassCtx *px, Grad *g, DhcArray *const *y) {
  const DhcOpCase *c = g->map.c;
  const char *names[16];
  for (int j = 0; j < g->n_x; j++) names[j] = g->g->result_names.at[g->n_results + j];
  DhcFunc *h = gradient_of(px, g->g, "second", 1u << DHC_ROLE_INPUT, names, g->n_x);
  if (!h) {
    check_fail(k, c, "the gradient has no gradient");
    return;
  }
  int n_args = g->map.n_args + g->n_y;
  Map m = {.c = c, .f = g->g, .n_args = n_args, .args = DHC_NEW_N(c->arena, const DhcArray *, n_args + g->n_x + 1)};
  for (int p = 0; p < g->map.n_args; p++) m.args[p] = g->map.args[p];
  for (int i = 0; i < g->n_y; i++) m.args[g->map.n_args + i] = like(c, y[g->y[i]], &g->map.state);
  DhcArray *v[16];
  for (int j = 0; j < g->n_x; j++) m.args[n_args + j] = v[j] = like(c, c->args[g->x[j]], &g->map.state);
  DhcArray **r = DHC_NEW_N(c->arena, DhcArray *, h->results.n + 1);
  if (!dhc_interp_run(c->arena, c->diags, h, m.args, r, NULL)) {
    check_fail(k, c, "the second gradient does not run");
    return;
  }
  for (int trial = 0; trial < DIRECTIONS; trial++) {
    DhcArray *dir[64] = {NULL};
    double want, got = 0;
    int next = g->g->results.n; /* gradients follow the results of g, in parameter order */
    for (int p = 0; p < n_args; p++) {
      if (!m.args[p]->f) continue;
      dir[p] = like(c, m.args[p], &g->map.state);
      for (int64_t e = 0; e < dir[p]->n; e++) got += dir[p]->f[e] * r[next]->f[e];
      next++;
    }
    if (!slope(&m, dir, g->n_results, v, g->n_x, &want)) {
      check_fail(k, c, "the gradient does not run");
      return;
    }
    if (!close_to(want, got)) check_fail(k, c, "second order, direction %d: want %g, got %g", trial, want, got);
  }
}

/* ---- all cases --------------------------------------------------------------------------- */

static void check_case(void *ctx, const DhcOpCase *c) {
  Check *k = ctx;
  if (!dhc_case_differentiable(c)) return;
  k->cases++;
  DhcArena scratch;
  dhc_arena_init(&scratch);
  DhcPassCtx px;
  dhc_pass_ctx_init(&px, c->m, &scratch);
  Grad g = {.map = {.c = c, .f = c->f, .n_args = c->f->params.n, .args = (const DhcArray **)(uintptr_t)c->args,
                    .state = 11},
            .n_results = c->f->results.n};
  for (int p = 0; p < c->f->params.n; p++)
    if (c->args[p]->f) g.x[g.n_x++] = p;
  for (int r = 0; r < c->f->results.n; r++)
    if (dhc_dtype_is_float(c->f->results.at[r]->type.dtype)) g.y[g.n_y++] = r;
  DhcArray *y[DHC_MAX_RESULTS];
  g.g = gradient_of(&px, c->f, "first", 1u << DHC_ROLE_INPUT, NULL, 0);
  if (!g.g || g.g->results.n != g.n_results + g.n_x) {
    check_fail(k, c, "no gradient, or not one for every float operand");
  } else if (!dhc_case_run(c, y)) {
    check_fail(k, c, "does not run");
  } else {
    int64_t entries = total((const DhcArray *const *)c->args, g.x, g.n_x) *
                      total((const DhcArray *const *)y, g.y, g.n_y);
    int before = k->failed;
    if (entries <= FULL)
      full_jacobian(k, &g, y);
    else
      directions(k, &g, y);
    if (k->failed == before) second_order(k, &px, &g, y);
  }
  dhc_arena_fini(&scratch);
}

static void count(void *ctx, const DhcOpCase *c) {
  *(int *)ctx += dhc_case_differentiable(c);
}

/* Every rule of the table is met. */
static int test_coverage(void) {
  int bad = 0;
  for (int op = 0; op < DHC_N_OPS; op++) {
    const char *rule = dhc_case_vjp((DhcOp)op);
    int n = 0;
    if (strcmp(rule, "vjp_none") == 0 || strcmp(rule, "vjp_zero") == 0) continue;
    dhc_op_cases((DhcOp)op, &options, count, &n);
    if (n >= 5) continue;
    fprintf(stderr, "%s: only %d cases for %s\n", dhc_op_info((DhcOp)op)->name, n, rule);
    bad++;
  }
  printf("coverage: %d rules lack cases\n", bad);
  return bad > 0;
}

int main(void) {
  int bad = test_coverage();
  bad += check_all("gradients", &options, check_case, false);
  return bad ? 1 : 0;
}
