/* The door from specs to kernels: keys, sharing, the store, threads, printing. */
#include <setjmp.h>
#include <stdlib.h>

#include "backends/compile.h"
#include "tests/backends/spec_case.h"

#include <cmocka.h>

static void unary_spec(SpecCase *c, DhcOp op) {
  case_init(c, DHC_KIND_MAP);
  int a = case_axis(c, DHC_AXIS_PAR, 100, false);
  int n = case_ew(c, op, case_load(c, case_operand(c, DHC_F32, -1, 1, &a)), -1, -1);
  case_operand(c, DHC_F32, n, 1, &a);
}

enum { N = 6 };
static const DhcOp ops[N] = {DHC_OP_EXP, DHC_OP_TANH, DHC_OP_NEG, DHC_OP_EXP, DHC_OP_LOG, DHC_OP_ABS};

typedef struct Set {
  SpecCase c[N];
  DhcKernelRequest r[N];
} Set;

static void make(Set *s) {
  memset(s, 0, sizeof *s);
  for (int i = 0; i < N; i++) {
    unary_spec(&s->c[i], ops[i]);
    s->r[i] = (DhcKernelRequest){.spec = s->c[i].s, .n_classes = 1};
  }
}
static void unmake(Set *s) {
  for (int i = 0; i < N; i++) case_free(&s->c[i]);
}

static DhcStore *store(void) {
  DhcStore *st;
  DhcStoreOptions o = {.memory_only = true};
  if (dhc_store_open(&o, &st).code) fail();
  return st;
}

static DhcCompiler *compiler(DhcArena *a, DhcStore *st, int workers, const char *features) {
  DhcCompiler *c;
  DhcCompileOptions o = {.backend = "cpu", .features = features, .workers = workers, .store = st};
  dhc_status s = dhc_compiler_open(a, &o, &c);
  if (s.code) fail_msg("%s", s.message);
  return c;
}

static void reuse(void **state) {
  (void)state;
  Set s;
  make(&s);
  DhcArena a;
  dhc_arena_init(&a);
  DhcStore *st = store();
  DhcCompiler *c = compiler(&a, st, 2, NULL);
  dhc_kernel k[N];
  DhcCompileStats stats = {0};
  dhc_status r = dhc_compile(c, s.r, N, k, &stats);
  if (r.code) fail_msg("%s", r.message);
  assert_int_equal(stats.compiled, N - 1); /* exp is asked for twice */
  assert_int_equal(stats.reused_memory, 1);
  assert_true(k[0].classes[0].fn == k[3].classes[0].fn);
  float x[3] = {-1, 2, -0.5f}, y[3];
  void *ptr[2] = {x, y};
  intptr_t dim = 3;
  k[2].classes[0].fn(ptr, &dim, 0, 1, NULL);
  assert_true(y[0] == 1 && y[1] == -2 && y[2] == 0.5f);
  assert_int_equal(dhc_compile(c, s.r, N, k, &stats).code, 0);
  assert_int_equal(stats.compiled, N - 1);
  assert_int_equal(stats.reused_memory, 1 + N);
  dhc_compiler_close(c);

  c = compiler(&a, st, 1, NULL); /* the next process */
  stats = (DhcCompileStats){0};
  assert_int_equal(dhc_compile(c, s.r, N, k, &stats).code, 0);
  assert_int_equal(stats.compiled, 0);
  assert_int_equal(stats.reused_disk, N - 1);
  k[2].classes[0].fn(ptr, &dim, 0, 1, NULL);
  assert_true(y[1] == -2);
  dhc_compiler_close(c);
  dhc_store_close(st);
  dhc_arena_fini(&a);
  unmake(&s);
}

/* Threads and repetition change no byte of any object. */
static void deterministic(void **state) {
  (void)state;
  Set s;
  make(&s);
  DhcArena a;
  dhc_arena_init(&a);
  DhcStore *st[2] = {store(), store()};
  for (int i = 0; i < 2; i++) {
    DhcCompiler *c = compiler(&a, st[i], i ? 4 : 1, NULL);
    dhc_kernel k[N];
    DhcCompileStats stats = {0};
    assert_int_equal(dhc_compile(c, s.r, N, k, &stats).code, 0);
    if (i)
      for (int n = 0; n < N; n++) {
        char key[65];
        dhc_kernel_key(c, &s.r[n], key);
        DhcStoreBytes b[2];
        assert_true(dhc_store_get(st[0], key, &b[0]) && dhc_store_get(st[1], key, &b[1]));
        assert_int_equal(b[0].n_bytes, b[1].n_bytes);
        assert_memory_equal(b[0].bytes, b[1].bytes, b[0].n_bytes);
        dhc_store_bytes_free(&b[0]);
        dhc_store_bytes_free(&b[1]);
      }
    dhc_compiler_close(c);
  }
  dhc_store_close(st[0]);
  dhc_store_close(st[1]);
  dhc_arena_fini(&a);
  unmake(&s);
}

static void keys(void **state) {
  (void)state;
  Set s;
  make(&s);
  DhcArena a;
  dhc_arena_init(&a);
  DhcCompiler *c = compiler(&a, NULL, 1, NULL), *capped = compiler(&a, NULL, 1, "-avx512f");
  char k0[65], k[65];
  dhc_kernel_key(c, &s.r[0], k0);
  dhc_kernel_key(c, &s.r[3], k);
  assert_string_equal(k0, k);
  dhc_kernel_key(c, &s.r[1], k);
  assert_string_not_equal(k0, k);
  s.r[3].classes[0].v[1] = 7;
  dhc_kernel_key(c, &s.r[3], k);
  assert_string_not_equal(k0, k);
  dhc_kernel_key(capped, &s.r[0], k);
#ifdef __AVX512F__
  assert_string_not_equal(k0, k);
#endif
  dhc_compiler_close(c);
  dhc_compiler_close(capped);
  dhc_arena_fini(&a);
  unmake(&s);
}

static void stages_and_errors(void **state) {
  (void)state;
  DhcArena a;
  dhc_arena_init(&a);
  DhcCompiler *c = compiler(&a, NULL, 1, NULL);
  SpecCase e;
  unary_spec(&e, DHC_OP_EXP);
  DhcKernelRequest r = {.spec = e.s, .n_classes = 1};
  static const char *const stage[] = {"loop", "llvm", "asm"};
  static const char *const sign[] = {"tasks", "define void", ".text"};
  for (int i = 0; i < 3; i++) {
    DhcText t = {.arena = &a};
    assert_int_equal(dhc_compiler_print(c, &r, stage[i], &t).code, 0);
    assert_non_null(strstr(dhc_text_str(&t), sign[i]));
  }
  DhcText t = {.arena = &a};
  dhc_status s = dhc_compiler_print(c, &r, "none", &t);
  assert_int_equal(s.code, DHC_E_USAGE);
  assert_string_equal(s.message, "no stage 'none' of a kernel in this build");
  if (dhc_compiler_stage_backend("ptx")) { /* a build for GPUs */
    s = dhc_compiler_print(c, &r, "ptx", &t);
    assert_int_equal(s.code, DHC_E_USAGE);
    assert_string_equal(s.message, "stage 'ptx' is one of --backend cuda");
  }
  DhcCompiler *none;
  s = dhc_compiler_open(&a, &(DhcCompileOptions){.backend = "interp"}, &none);
  assert_int_equal(s.code, DHC_E_USAGE);
  assert_string_equal(s.message, "--backend interp: this build has no such backend");
  r.classes[0].template_name = "none such";
  dhc_kernel k;
  DhcCompileStats stats = {0};
  s = dhc_compile(c, &r, 1, &k, &stats);
  assert_int_equal(s.code, DHC_E_INPUT);
  assert_string_equal(s.message, "map kernel: no template 'none such'");
  assert_int_equal(stats.compiled, 0);
  case_free(&e);
  dhc_compiler_close(c);
  dhc_arena_fini(&a);
}

/* Code for an older CPU holds nothing above it. */
static void instruction_set(void **state) {
  (void)state;
#ifdef __x86_64__
  static const struct {
    const char *cpu, *never[4];
  } level[] = {{"x86-64", {"%ymm", "%zmm", "vmul", "roundps"}},
               {"x86-64-v2", {"%ymm", "%zmm", "vmul", NULL}},
               {"x86-64-v3", {"%zmm", "%k1", NULL, NULL}}};
  for (size_t i = 0; i < sizeof level / sizeof *level; i++) {
    DhcArena a;
    dhc_arena_init(&a);
    DhcCompiler *c;
    DhcCompileOptions o = {.backend = "cpu", .cpu = level[i].cpu, .workers = 1};
    assert_int_equal(dhc_compiler_open(&a, &o, &c).code, 0);
    static const DhcOp op[] = {DHC_OP_SOFTPLUS, DHC_OP_ROUND, DHC_OP_FLOOR};
    for (int k = 0; k < 3; k++) {
      SpecCase e;
      unary_spec(&e, op[k]);
      DhcKernelRequest r = {.spec = e.s, .n_classes = 1};
      DhcText t = {.arena = &a};
      assert_int_equal(dhc_compiler_print(c, &r, "asm", &t).code, 0);
      assert_null(strstr(dhc_text_str(&t), "call"));
      for (int n = 0; n < 4 && level[i].never[n]; n++)
        if (strstr(dhc_text_str(&t), level[i].never[n]))
          fail_msg("%s code has %s", level[i].cpu, level[i].never[n]);
      case_free(&e);
    }
    dhc_compiler_close(c);
    dhc_arena_fini(&a);
  }
#endif
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(reuse), cmocka_unit_test(deterministic),
                                     cmocka_unit_test(keys), cmocka_unit_test(stages_and_errors),
                                     cmocka_unit_test(instruction_set)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
