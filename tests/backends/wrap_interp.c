/* Linked into tests that interpret fused modules (-Wl,--wrap=dhc_spec_interp): whatever
 * kernel they run is also compiled for the first backend and run on the same operands. Aborts where
 * the results differ by more than 1e-4 of the output's largest magnitude, or where bits
 * depend on how tasks are cut or on the size class. Operands indexed without a guard have no known size; such
 * kernels are only compiled. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/backends/spec_case.h"

void __real_dhc_spec_interp(const DhcSpec *s, void *const *ptr, const int64_t *dim, DhcArena *scratch);
void __wrap_dhc_spec_interp(const DhcSpec *s, void *const *ptr, const int64_t *dim, DhcArena *scratch);

static int n_run, n_skipped, n_refused;

static void report(void) {
  fprintf(stderr, "kernels run %d, without known size %d, refused %d\n", n_run, n_skipped, n_refused);
}

typedef struct Range {
  int64_t lo, hi; /* elements [lo, hi) around the pointer */
} Range;

/* False: not known. */
static bool range_of(const DhcSpec *s, int o, const int64_t *dim, Range *r) {
  *r = (Range){0, 1};
  for (int t = 0; t < s->operand[o].n_terms; t++) {
    const DhcTerm *e = &s->operand[o].term[t];
    int st = dhc_spec_stride_arg(s, o, t);
    int64_t stride = st < 0 ? 1 : dim[st], n;
    if (e->guarded) {
      n = dim[dhc_spec_offset_arg(s, o, t) + 1];
    } else {
      if (e->index >= 0) return false;
      int a = e->axis[0], arg = dhc_spec_extent_arg(s, a);
      n = arg < 0 ? s->axis[a].extent : dim[arg];
    }
    if (n < 1) {
      *r = (Range){0, 0};
      return true;
    }
    *(stride < 0 ? &r->lo : &r->hi) += (n - 1) * stride;
  }
  return true;
}

typedef struct Copy {
  Range r;
  char *bytes, *again, *before;
  double *f; /* reference values as they were before, rounded to the dtype */
} Copy;

static Copy copy_operand(const DhcSpec *s, int o, const void *from, Range r, DhcArena *a) {
  dhc_dtype t = s->operand[o].dtype;
  size_t n = (size_t)(r.hi - r.lo), bytes = n * (size_t)dhc_dtype_bytes(t) + 64;
  Copy c = {.r = r};
  c.bytes = aligned_alloc(64, (bytes + 63) / 64 * 64);
  c.again = aligned_alloc(64, (bytes + 63) / 64 * 64);
  c.f = dhc_arena_dup(a, (const double *)from + r.lo, n * sizeof(double));
  for (int64_t i = 0; i < (int64_t)n; i++) case_put(t, c.bytes, i, c.f, (int64_t *)(void *)c.f);
  c.before = dhc_arena_dup(a, c.bytes, n * (size_t)dhc_dtype_bytes(t));
  return c;
}

static size_t bytes_of(const DhcSpec *s, const Copy *c, int o) {
  return (size_t)((c[o].r.hi - c[o].r.lo) * dhc_dtype_bytes(s->operand[o].dtype));
}

/* Runs a class on the operands as they were; outputs go to `bytes` or `again`. */
static void run(Conform *b, const dhc_kernel_class *k, const DhcSpec *s, Copy *c, const int64_t *dim, bool again, bool backwards) {
  const void *before[DHC_SPEC_MAX_OPERANDS];
  void *after[DHC_SPEC_MAX_OPERANDS];
  int64_t lo[DHC_SPEC_MAX_OPERANDS];
  size_t bytes[DHC_SPEC_MAX_OPERANDS];
  for (int o = 0; o < s->n_operands; o++)
    before[o] = c[o].before, after[o] = again ? c[o].again : c[o].bytes, lo[o] = c[o].r.lo, bytes[o] = bytes_of(s, c, o);
  const ConformRun r = {dim, before, lo, bytes, after, backwards};
  conform_run(b, s, k, &r);
}

static void complain(const DhcSpec *s, int o, int64_t i, double want, double got) {
  DhcArena a;
  dhc_arena_init(&a);
  DhcText t = {.arena = &a};
  dhc_spec_print(s, &t);
  fprintf(stderr, "%s\noperand %d element %lld: want %.9g, got %.9g\n", dhc_text_str(&t), o,
          (long long)i, want, got);
  abort();
}

/* Outputs may lie in one array, each with its own elements of it; their copies are apart. What output o leaves alone the one of them
 * that does not is asked for. */
static double got_of(const DhcSpec *s, int o, const Copy *c, bool again, void *const *ref, int64_t i) {
  const char *own = again ? c[o].again : c[o].bytes;
  dhc_dtype t = s->operand[o].dtype;
  double got = case_take(t, own, i);
  int64_t bytes = dhc_dtype_bytes(t);
  const double *at = (const double *)ref[o] + c[o].r.lo + i;
  if (memcmp(own + i * bytes, c[o].before + i * bytes, (size_t)bytes)) return got;
  for (int p = dhc_spec_n_inputs(s); p < s->n_operands; p++) {
    const double *first = (const double *)ref[p] + c[p].r.lo, *end = (const double *)ref[p] + c[p].r.hi;
    if (p == o || s->operand[p].dtype != t || at < first || at >= end) continue;
    int64_t k = at - first;
    if (memcmp((again ? c[p].again : c[p].bytes) + k * bytes, c[p].before + k * bytes, (size_t)bytes)) return case_take(t, again ? c[p].again : c[p].bytes, k);
  }
  return got;
}

static void compare(const DhcSpec *s, int o, const Copy *all, bool again, void *const *refs) {
  const Copy *c = &all[o];
  const void *ref = refs[o];
  dhc_dtype t = s->operand[o].dtype;
  int64_t n = c->r.hi - c->r.lo;
  double largest = 0, tol = 1e-4;
  for (int k = 0; k < s->n_nodes; k++)
    if (s->node[k].dtype == DHC_BF16) tol = 0.01; /* the interpreter does not round to bf16 */
  for (int64_t i = 0; i < n; i++) {
    double want = ((const double *)ref)[c->r.lo + i];
    if (dhc_dtype_is_float(t) && isfinite(want) && fabs(want) > largest) largest = fabs(want);
  }
  for (int64_t i = 0; i < n; i++) {
    double got = got_of(s, o, all, again, refs, i);
    double want = dhc_dtype_is_float(t) ? ((const double *)ref)[c->r.lo + i]
                                        : (double)((const int64_t *)ref)[c->r.lo + i];
    if (isnan(want) ? isnan(got) : isinf(want) ? got == want : false) continue;
    if (dhc_dtype_is_float(t) ? fabs(got - want) <= tol * largest : got == want) continue;
    complain(s, o, i, want, got);
  }
}

/* Every class on the other backend. */
static void run_elsewhere(Conform *b, const DhcSpec *s, Copy *c, const int64_t *dim, void *const *ref, DhcArena *scratch) {
  dhc_kernel k;
  if (!conform_compile(b, s, NULL, 0, scratch, &k)) return;
  for (int i = 0; i < k.n_classes; i++) {
    run(b, &k.classes[i], s, c, dim, true, false);
    for (int o = dhc_spec_n_inputs(s); o < s->n_operands; o++) {
      compare(s, o, c, true, ref);
      conform_bits(c[o].bytes, c[o].again, bytes_of(s, c, o));
    }
  }
}

void __wrap_dhc_spec_interp(const DhcSpec *s, void *const *ptr, const int64_t *dim, DhcArena *scratch) {
  Conform *b = conform_first(getenv("DHC_TEST_FEATURES"));
  if (!b) b = conform_other();
  if (!n_run && !n_skipped && !n_refused) atexit(report);
  dhc_kernel k;
  if (!conform_has(s)) {
    __real_dhc_spec_interp(s, ptr, dim, scratch);
    return;
  }
  if (!conform_compile(b, s, NULL, 0, scratch, &k)) {
    n_refused++; /* sin, cos; f64 maths: by design */
    __real_dhc_spec_interp(s, ptr, dim, scratch);
    return;
  }
  Copy c[DHC_SPEC_MAX_OPERANDS];
  Range range[DHC_SPEC_MAX_OPERANDS];
  bool known = true;
  for (int o = 0; o < s->n_operands; o++) known = known && range_of(s, o, dim, &range[o]);
  for (int o = 0; known && o < s->n_operands; o++) c[o] = copy_operand(s, o, ptr[o], range[o], scratch);
  __real_dhc_spec_interp(s, ptr, dim, scratch);
  if (!known) {
    n_skipped++;
    return;
  }
  n_run++;
  int n_in = dhc_spec_n_inputs(s);
  run(b, &k.classes[k.n_classes - 1], s, c, dim, false, false);
  for (int o = n_in; o < s->n_operands; o++) compare(s, o, c, false, ptr);
  for (int i = 0; i < k.n_classes; i++) {
    run(b, &k.classes[i], s, c, dim, true, true);
    for (int o = n_in; o < s->n_operands; o++)
      if (memcmp(c[o].bytes, c[o].again, bytes_of(s, c, o))) complain(s, o, -1 - i, 0, 0);
  }
  if (conform_other() && conform_other() != b) run_elsewhere(conform_other(), s, c, dim, ptr, scratch);
  for (int o = 0; o < s->n_operands; o++) free(c[o].bytes), free(c[o].again);
}
