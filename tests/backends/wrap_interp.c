/* Linked into tests that interpret fused modules (-Wl,--wrap=dhc_spec_interp): whatever
 * kernel they run is also compiled for this CPU and run on the same operands. Aborts where
 * the results differ by more than 1e-4 of the output's largest magnitude, or where bits
 * depend on how tasks are cut or on the size class. Operands indexed without a guard have no known size; such
 * kernels are only compiled. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "backends/compile.h"
#include "passes/plan/schedule.h"
#include "tests/backends/conform.h"
#include "tests/backends/spec_case.h"

void __real_dhc_spec_interp(const DhcSpec *s, void *const *ptr, const int64_t *dim, DhcArena *scratch);
void __wrap_dhc_spec_interp(const DhcSpec *s, void *const *ptr, const int64_t *dim, DhcArena *scratch);

static DhcArena session;
static DhcCompiler *compiler;
static DhcCompileStats stats;
static int n_run, n_skipped, n_refused;

static void report(void) {
  fprintf(stderr, "kernels run %d, compiled %d (%.0f ms), without known size %d, refused %d\n",
          n_run, stats.compiled, stats.ms, n_skipped, n_refused);
  dhc_compiler_close(compiler);
  dhc_arena_fini(&session);
}

static void open_compiler(void) {
  dhc_arena_init(&session);
  DhcCompileOptions o = {.backend = "cpu", .workers = 1, .features = getenv("DHC_TEST_FEATURES")};
  dhc_status s = dhc_compiler_open(&session, &o, &compiler);
  if (s.code) DHC_BUG("%s", s.message);
  atexit(report);
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

static void run(const dhc_kernel_class *k, const DhcSpec *s, Copy *c, const int64_t *dim, bool again) {
  void *ptr[DHC_SPEC_MAX_OPERANDS + 1];
  for (int o = 0; o < s->n_operands; o++) {
    int64_t size = dhc_dtype_bytes(s->operand[o].dtype);
    if (again) memcpy(c[o].again, c[o].before, (size_t)((c[o].r.hi - c[o].r.lo) * size));
    ptr[o] = (again ? c[o].again : c[o].bytes) - c[o].r.lo * size;
  }
  case_run_class(k, ptr, s->n_operands, dim, again);
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

static void compare(const DhcSpec *s, int o, const Copy *c, const void *ref) {
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
    double got = case_take(t, c->bytes, i);
    double want = dhc_dtype_is_float(t) ? ((const double *)ref)[c->r.lo + i]
                                        : (double)((const int64_t *)ref)[c->r.lo + i];
    if (isnan(want) ? isnan(got) : isinf(want) ? got == want : false) continue;
    if (dhc_dtype_is_float(t) ? fabs(got - want) <= tol * largest : got == want) continue;
    complain(s, o, i, want, got);
  }
}

/* Every class on the backend under test. */
static void run_elsewhere(const DhcSpec *s, Copy *c, const int64_t *dim, void *const *ref, DhcArena *scratch) {
  dhc_kernel k;
  const void *before[DHC_SPEC_MAX_OPERANDS];
  void *after[DHC_SPEC_MAX_OPERANDS];
  int64_t lo[DHC_SPEC_MAX_OPERANDS];
  size_t bytes[DHC_SPEC_MAX_OPERANDS];
  if (!conform_compile(s, scratch, &k)) return;
  for (int o = 0; o < s->n_operands; o++) {
    before[o] = c[o].before, after[o] = c[o].again, lo[o] = c[o].r.lo;
    bytes[o] = (size_t)((c[o].r.hi - c[o].r.lo) * dhc_dtype_bytes(s->operand[o].dtype));
  }
  for (int i = 0; i < k.n_classes; i++) {
    conform_run(s, &k.classes[i], dim, before, lo, bytes, after);
    for (int o = dhc_spec_n_inputs(s); o < s->n_operands; o++) {
      Copy got = c[o];
      got.bytes = c[o].again;
      compare(s, o, &got, ref[o]);
      conform_bits(c[o].bytes, c[o].again, bytes[o]);
    }
  }
}

void __wrap_dhc_spec_interp(const DhcSpec *s, void *const *ptr, const int64_t *dim, DhcArena *scratch) {
  if (!compiler) open_compiler();
  DhcKernelRequest r = {.spec = s};
  r.n_classes = dhc_schedule_choose(s, dhc_compiler_target(compiler), scratch, r.classes);
  dhc_kernel k;
  dhc_status st = dhc_compile(compiler, &r, 1, &k, &stats);
  if (st.code == DHC_E_INPUT && (strstr(st.message, "is not compiled") || strstr(st.message, "for f32 only"))) {
    n_refused++; /* sin, cos; f64 maths: by design */
    __real_dhc_spec_interp(s, ptr, dim, scratch);
    return;
  }
  if (st.code) DHC_BUG("%s", st.message);
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
  run(&k.classes[k.n_classes - 1], s, c, dim, false);
  for (int o = n_in; o < s->n_operands; o++) compare(s, o, &c[o], ptr[o]);
  for (int i = 0; i < k.n_classes; i++) {
    run(&k.classes[i], s, c, dim, true);
    for (int o = n_in; o < s->n_operands; o++) {
      size_t bytes = (size_t)((c[o].r.hi - c[o].r.lo) * dhc_dtype_bytes(s->operand[o].dtype));
      if (memcmp(c[o].bytes, c[o].again, bytes)) complain(s, o, -1 - i, 0, 0);
    }
  }
  if (conform_backend()) run_elsewhere(s, c, dim, ptr, scratch);
  for (int o = 0; o < s->n_operands; o++) free(c[o].bytes), free(c[o].again);
}
