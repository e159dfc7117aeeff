/* What the interpreter refuses, in which words: arguments that do not fit, facts that fail, what is too large. */
#include "tests/ir/support.h"

#include "ir/interp.h"

enum { MAX_ARGS = 2 };

typedef struct Arg {
  dhc_dtype dtype;
  int rank;
  int64_t dim[3];
} Arg;

static const struct {
  const char *text, *message;
  Arg args[MAX_ARGS];
} refused[] = {
    {"func @f<N>(%0: f32[N] input \"x\") -> (%0) entry {\n}\n", "@f: argument 0 is not f32 of rank 1", {{DHC_I32, 1, {3}}}},
    {"func @f<N>(%0: f32[N] input \"x\") -> (%0) entry {\n}\n", "@f: argument 0 is not f32 of rank 1", {{DHC_F32, 2, {3, 3}}}},
    {"func @f<N>(%0: f32[N] input \"x\", %1: f32[N] input \"y\") -> (%0) entry {\n}\n",
     "@f: argument 1 has extent 4 on axis 0, which cannot be N", {{DHC_F32, 1, {3}}, {DHC_F32, 1, {4}}}},
    {"func @f<N>(%0: f32[2*N] input \"x\") -> (%0) entry {\n}\n",
     "@f: argument 0 has extent 3 on axis 0, which cannot be 2*N", {{DHC_F32, 1, {3}}}},
    /* the symbol is found behind what is made of it */
    {"func @f<N, M>(%0: f32[N*M] input \"x\", %1: f32[N, M] input \"y\") -> (%0) entry {\n}\n",
     "@f: argument 0 has extent 7 on axis 0, which cannot be M*N", {{DHC_F32, 1, {7}}, {DHC_F32, 2, {2, 3}}}},
    {"func @f<N>() -> (%0) entry {\n  %0 = dim() {dim = N} : i64[]\n}\n", "@f: no argument gives the extent N", {{0}}},
    {"func @f<N>(%0: f32[N] input \"x\") -> (%0) entry require N >= 4 {\n}\n", "@f: needs N - 4 >= 0, but it is -1",
     {{DHC_F32, 1, {3}}}},
    {"func @f<N>(%0: f32[N] input \"x\") -> (%0) entry require N >= 4 \"four at least\" {\n}\n", "@f: four at least",
     {{DHC_F32, 1, {3}}}},
    {"func @f() -> (%0) entry {\n  %0 = fill() {value = 0, dtype = f32, shape = [2097152, 2097152]} : f32[2097152, 2097152]\n}\n",
     "@f: a tensor has more than 2^40 elements", {{0}}},
    {"func @f<N>(%0: f32[N] input \"x\") -> (%1) entry {\n  %1 = dim() {dim = N*N*N*N*N} : i64[]\n}\n",
     "@f: the dim N*N*N*N*N has no value here", {{DHC_F32, 1, {8192}}}},
};

static const char *refusal(Bench *b, const char *text, const Arg *args) {
  DhcModule *m = bench_parse(b, text);
  if (!m || !dhc_verify(m, DHC_STAGE_GRAPH, NULL)) return bench_messages(b);
  const DhcFunc *f = m->funcs.at[m->funcs.n - 1];
  DhcArray *result, *a[MAX_ARGS] = {NULL};
  for (int k = 0; k < f->params.n; k++) a[k] = dhc_array_new(&b->arena, args[k].dtype, args[k].rank, args[k].dim);
  if (dhc_interp_run(&b->arena, &b->diags, f, (const DhcArray *const *)a, &result, NULL)) return "it ran";
  return bench_messages(b);
}

static void refusals(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
    Bench b;
    bench_open(&b);
    assert_string_equal(refusal(&b, refused[i].text, refused[i].args), refused[i].message);
    bench_close(&b);
  }
}

/* A symbol said beforehand. */
static void bound_to_nothing(void **state) {
  (void)state;
  Bench b;
  bench_open(&b);
  DhcModule *m = bench_parse(&b, "func @f<N>(%0: f32[N] input \"x\") -> (%0) entry {\n}\n");
  const char *name = "N";
  int64_t none = 0;
  DhcArray *result, *x = dhc_array_new(&b.arena, DHC_F32, 1, &none);
  assert_false(dhc_interp_run_bound(&b.arena, &b.diags, m->funcs.at[0], 1, &name, &none, (const DhcArray *const *)&x, &result, NULL));
  assert_string_equal(bench_messages(&b), "@f: extent N must be at least 1, got 0");
  bench_close(&b);
}

/* A chain of calls, each function calling the one before it. */
static void depth(void **state) {
  (void)state;
  enum { CALLS = 257 };
  Bench b;
  bench_open(&b);
  DhcText t = {.arena = &b.arena};
  dhc_text_puts(&t, "func @f0(%0: f32[] plain) -> (%0) unit {\n}\n");
  for (int i = 1; i <= CALLS; i++)
    dhc_text_printf(&t, "func @f%d(%%0: f32[] plain) -> (%%1) unit {\n  %%1 = call(%%0) {callee = @f%d, dims = []} : f32[]\n}\n", i, i - 1);
  assert_string_equal(refusal(&b, dhc_text_str(&t), &(Arg){.dtype = DHC_F32}), "calls are nested deeper than 256");
  bench_close(&b);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(refusals), cmocka_unit_test(bound_to_nothing), cmocka_unit_test(depth)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
