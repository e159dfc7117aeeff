/* Structure and errors of autodiff, and the manager: what no interpreter run would show. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "passes/passes.h"

typedef struct Bench {
  DhcArena arena, scratch;
  DhcStrings strings;
  DhcSources sources;
  DhcDiags diags;
  DhcModule *m;
  DhcPassCtx px;
} Bench;

static Bench *bench_new(const char *text) {
  Bench *b = calloc(1, sizeof *b);
  dhc_arena_init(&b->arena);
  dhc_arena_init(&b->scratch);
  b->strings.arena = b->sources.arena = b->diags.arena = &b->arena;
  b->diags.sources = &b->sources;
  uint32_t file = dhc_sources_add(&b->sources, "t.gir", "t.gir", text, strlen(text));
  b->m = dhc_module_parse(&b->arena, &b->strings, &b->diags, file);
  dhc_diags_print(&b->diags, stderr, false);
  assert_non_null(b->m);
  dhc_pass_ctx_init(&b->px, b->m, &b->scratch);
  return b;
}

static void bench_free(Bench *b) {
  dhc_arena_fini(&b->scratch);
  dhc_arena_fini(&b->arena);
  free(b);
}

static int count(const DhcFunc *f, DhcOp op) {
  int n = 0;
  for (const DhcNode *k = f->first; k; k = k->next) n += k->op == op;
  return n;
}

/* ---- units ---------------------------------------------------------------------- */

static const char block[] =
    "func @inner<B>(%0: f32[B, 8] plain \"x\", %1: f32[8, 8] plain \"w\") -> (%3 \"y\") unit {\n"
    "  %2 = dot_general(%0, %1) {batch_a = [], batch_b = [], contract_a = [1], contract_b = [0]} : f32[B, 8]\n"
    "  %3 = exp(%2) : f32[B, 8]\n"
    "}\n"
    "func @outer<B>(%0: f32[B, 8] plain \"x\", %1: f32[8, 8] plain \"w\", %2: i32[B] plain \"i\") -> (%4 \"y\") unit {\n"
    "  %3 = call(%0, %1) {callee = @inner, dims = [B]} : f32[B, 8]\n"
    "  %4 = call(%3, %1) {callee = @inner, dims = [B]} : f32[B, 8]\n"
    "}\n"
    "func @main<B>(%0: f32[B, 8] input \"x\", %1: f32[8, 8] param \"w\", %2: i32[B] input \"i\") -> (%4 \"loss\") entry {\n"
    "  %3 = call(%0, %1, %2) {callee = @outer, dims = [B]} : f32[B, 8]\n"
    "  %4 = reduce_sum(%3) {axes = [0, 1], keep = false} : f32[]\n"
    "}\n";

static void pairs(void **state) {
  (void)state;
  Bench *b = bench_new(block);
  DhcFunc *inner = dhc_module_func(b->m, "inner"), *outer = dhc_module_func(b->m, "outer");
  const DhcGradPair *p = dhc_autodiff(&b->px, outer), *q = dhc_autodiff(&b->px, inner);
  assert_non_null(p);
  assert_ptr_equal(p, dhc_autodiff(&b->px, outer)); /* made once */
  assert_int_equal(b->px.pairs.n, 2);
  assert_ptr_equal(q->f, inner);
  /* one result a float parameter: the index has none */
  assert_int_equal(p->bwd->results.n, 2);
  assert_int_equal(count(p->fwd, DHC_OP_CALL), 2);
  assert_int_equal(count(p->bwd, DHC_OP_CALL), 2);
  /* exp's result is a result: inner saves nothing else */
  assert_int_equal(q->n_saved, 1);
  assert_int_equal(q->saved[0], 0);
  assert_int_equal(q->fwd->results.n, 1);
  /* bwd of outer reads x, w and the results of both calls, the second being its own result */
  assert_int_equal(p->n_input, 2);
  assert_int_equal(p->n_saved, 2);
  assert_int_equal(p->fwd->results.n, 2);
  assert_true(dhc_verify(b->m, DHC_STAGE_GRAPH, "autodiff"));
  bench_free(b);
}

/* Two gradients of one module share the derivatives of its units. */
static void shared(void **state) {
  (void)state;
  Bench *b = bench_new(block);
  DhcGradRequest rq = {.name = "first", .roles = 1u << DHC_ROLE_WEIGHT};
  DhcFunc *f = dhc_grad_entry(&b->px, dhc_module_func(b->m, "main"), &rq);
  int n = b->m->funcs.n;
  rq.name = "second";
  rq.roles |= 1u << DHC_ROLE_INPUT;
  DhcFunc *g = dhc_grad_entry(&b->px, dhc_module_func(b->m, "main"), &rq);
  assert_non_null(f);
  assert_non_null(g);
  assert_int_equal(b->m->funcs.n, n + 1);
  assert_int_equal(f->results.n, 2);
  assert_int_equal(g->results.n, 3);
  assert_string_equal(g->result_names.at[1], "grad.x");
  bench_free(b);
}

/* A checkpoint keeps nothing: its forward stands as it was, and runs again behind. */
static void checkpoint(void **state) {
  (void)state;
  Bench *b = bench_new(
      "func @body<B>(%0: f32[B, 8] plain \"x\", %1: f32[8, 8] plain \"w\") -> (%4 \"y\") body {\n"
      "  %2 = dot_general(%0, %1) {batch_a = [], batch_b = [], contract_a = [1], contract_b = [0]} : f32[B, 8]\n"
      "  %3 = tanh(%2) : f32[B, 8]\n"
      "  %4 = dot_general(%3, %1) {batch_a = [], batch_b = [], contract_a = [1], contract_b = [0]} : f32[B, 8]\n"
      "}\n"
      "func @unit<B>(%0: f32[B, 8] plain \"x\", %1: f32[8, 8] plain \"w\") -> (%3 \"y\") unit {\n"
      "  %2 = checkpoint(%0, %1) {callee = @body, dims = [B]} : f32[B, 8]\n"
      "  %3 = exp(%2) : f32[B, 8]\n"
      "}\n");
  const DhcGradPair *p = dhc_autodiff(&b->px, dhc_module_func(b->m, "unit"));
  assert_non_null(p);
  assert_int_equal(count(p->fwd, DHC_OP_CHECKPOINT), 1);
  assert_int_equal(count(p->fwd, DHC_OP_CALL), 0);
  assert_int_equal(p->fwd->results.n, 1);
  assert_int_equal(count(p->bwd, DHC_OP_CALL), 2);
  bench_free(b);
}

/* A composite with a vjp stays a call. Its derivative is a call of that where it has a kernel of
 * its own, and its body where not: `how` is what stands behind the derivative's results. */
static Bench *composite_bench(const char *how) {
  char text[1024];
  snprintf(text, sizeof text,
           "func @cube.vjp<N>(%%0: f32[N] plain \"x\", %%1: f32[N] plain \"y\", %%2: f32[N] plain \"g\") -> (%%4 \"grad\") %s {\n"
           "  %%3 = mul(%%0, %%0) : f32[N]\n"
           "  %%4 = mul(%%3, %%2) : f32[N]\n"
           "}\n"
           "func @cube<N>(%%0: f32[N] plain \"x\") -> (%%2 \"y\") composite vjp @cube.vjp {\n"
           "  %%1 = mul(%%0, %%0) : f32[N]\n"
           "  %%2 = mul(%%1, %%0) : f32[N]\n"
           "}\n"
           "func @main(%%0: f32[4] param \"w\") -> (%%2 \"loss\") entry {\n"
           "  %%1 = call(%%0) {callee = @cube, dims = [4]} : f32[4]\n"
           "  %%2 = reduce_sum(%%1) {axes = [0], keep = false} : f32[]\n"
           "}\n",
           how);
  return bench_new(text);
}

static const DhcNode *last_call(const DhcFunc *f) {
  const DhcNode *last = NULL;
  for (const DhcNode *n = f->first; n; n = n->next)
    if (n->op == DHC_OP_CALL) last = n;
  return last;
}

static void composite(void **state) {
  (void)state;
  DhcGradRequest rq = {.name = "grad", .roles = 1u << DHC_ROLE_WEIGHT};
  Bench *b = composite_bench("composite kernel \"cube_back\"");
  DhcFunc *g = dhc_grad_entry(&b->px, dhc_module_func(b->m, "main"), &rq);
  assert_non_null(g);
  assert_int_equal(b->px.pairs.n, 0);
  assert_string_equal(dhc_attr(last_call(g), "callee")->func->name, "cube.vjp");
  bench_free(b);
  b = composite_bench("unit");
  g = dhc_grad_entry(&b->px, dhc_module_func(b->m, "main"), &rq);
  assert_non_null(g);
  assert_int_equal(count(g, DHC_OP_CALL), 1);
  assert_string_equal(dhc_attr(last_call(g), "callee")->func->name, "cube");
  assert_int_equal(count(g, DHC_OP_MUL), 2); /* not the true derivative, but the one that was given */
  bench_free(b);
}

/* What a composite without kernel computes in passing is computed anew in the backward part;
 * what costs is kept. */
static void composite_kept(void **state) {
  (void)state;
  static const char *const body[2] = {"mul(%1, %0) : f32[N]", "reduce_sum(%1) {axes = [0], keep = false} : f32[]"};
  for (int costs = 0; costs < 2; costs++) {
    char text[1400];
    snprintf(text, sizeof text,
             "func @f.vjp<N>(%%0: f32[N] plain, %%1: f32[N] plain, %%2: f32[N] plain) -> (%%3 \"grad\") unit {\n"
             "  %%3 = mul(%%0, %%2) : f32[N]\n"
             "}\n"
             "func @f<N>(%%0: f32[N] plain \"x\") -> (%%3 \"y\") composite vjp @f.vjp {\n"
             "  %%1 = mul(%%0, %%0) : f32[N]\n"
             "  %%2 = %s\n"
             "  %%3 = broadcast(%%2) {shape = [N]} : f32[N]\n"
             "}\n"
             "func @unit<N>(%%0: f32[N] plain \"x\") -> (%%3 \"y\") unit {\n"
             "  %%1 = call(%%0) {callee = @f, dims = [N]} : f32[N]\n"
             "  %%2 = exp(%%1) : f32[N]\n"
             "  %%3 = exp(%%2) : f32[N]\n"
             "}\n",
             body[costs]);
    Bench *b = bench_new(text);
    const DhcGradPair *p = dhc_autodiff(&b->px, dhc_module_func(b->m, "unit"));
    assert_non_null(p);
    assert_int_equal(count(p->bwd, DHC_OP_CALL), costs ? 0 : 1);
    bench_free(b);
  }
}

/* ---- errors ------------------------------------------------------------------------ */

static const char argmax[] =
    "func @loss(%0: f32[4, 8] param \"v\", %1: f32[4, 8] param \"w\") -> (%7 \"loss\") entry {\n"
    "  %2 = mul(%1, %1) : f32[4, 8]\n"
    "  %3 = argmax(%2) {axis = 1} : i32[4]\n"
    "  %4 = cast(%3) {dtype = f32} : f32[4]\n"
    "  %5 = reduce_sum(%0) {axes = [1], keep = false} : f32[4]\n"
    "  %6 = mul(%4, %5) : f32[4]\n"
    "  %7 = reduce_sum(%6) {axes = [0], keep = false} : f32[]\n"
    "}\n";

static void no_gradient(void **state) {
  (void)state;
  Bench *b = bench_new(argmax);
  DhcFunc *f = dhc_module_func(b->m, "loss");
  for (DhcNode *n = f->first; n; n = n->next) /* as the frontend would place it */
    if (n->op == DHC_OP_ARGMAX) n->span = (DhcSpan){1, 120, 126};
  DhcGradRequest rq = {.name = "grad", .roles = 1u << DHC_ROLE_WEIGHT};
  assert_null(dhc_grad_entry(&b->px, f, &rq));
  assert_int_equal(b->diags.n_errors, 1);
  assert_string_equal(b->diags.all.at[0]->text,
                      "'argmax' has no gradient but lies between parameter 'w' and the loss");
  assert_int_equal(b->diags.all.at[0]->at.begin, 120);
  bench_free(b);
}

/* By v alone argmax is a constant, and a comparison of it would be no obstacle either. */
static void gradient_beside(void **state) {
  (void)state;
  Bench *b = bench_new(argmax);
  static const char *const v[1] = {"v"};
  DhcGradRequest rq = {.name = "grad", .wrt = v, .n_wrt = 1};
  assert_non_null(dhc_grad_entry(&b->px, dhc_module_func(b->m, "loss"), &rq));
  assert_int_equal(b->diags.n_errors, 0);
  bench_free(b);
}

static void comparison_is_zero(void **state) {
  (void)state;
  Bench *b = bench_new(
      "func @loss(%0: f32[4, 8] param \"w\", %1: i32[4] input \"t\") -> (%5 \"loss\") entry {\n"
      "  %2 = argmax(%0) {axis = 1} : i32[4]\n"
      "  %3 = eq(%2, %1) : bool[4]\n"
      "  %4 = cast(%3) {dtype = f32} : f32[4]\n"
      "  %5 = reduce_sum(%4) {axes = [0], keep = false} : f32[]\n"
      "}\n");
  DhcGradRequest rq = {.name = "grad", .roles = 1u << DHC_ROLE_WEIGHT};
  DhcFunc *g = dhc_grad_entry(&b->px, dhc_module_func(b->m, "loss"), &rq);
  assert_non_null(g);
  assert_int_equal(g->results.at[1]->def->op, DHC_OP_FILL);
  bench_free(b);
}

static void not_a_loss(void **state) {
  (void)state;
  Bench *b = bench_new("func @f(%0: f32[4] param \"w\") -> (%1 \"y\") entry {\n"
                       "  %1 = exp(%0) : f32[4]\n}\n");
  DhcFunc *f = dhc_module_func(b->m, "f");
  DhcGradRequest rq = {.name = "grad", .roles = 1u << DHC_ROLE_WEIGHT};
  assert_null(dhc_grad_entry(&b->px, f, &rq));
  assert_string_equal(b->diags.all.at[0]->text,
                      "result 'y' of 'f' must be a float scalar to be differentiated, it is f32[4]");
  rq.of = "z";
  assert_null(dhc_grad_entry(&b->px, f, &rq));
  assert_int_equal(b->diags.n_errors, 2);
  assert_string_equal(b->diags.all.at[1]->text, "'f' has no result 'z' to differentiate");
  bench_free(b);
}

/* ---- manager ------------------------------------------------------------------------- */

static const char chain[] =
    "func @f(%0: f32[4] input \"x\") -> (%5 \"y\") entry {\n"
    "  %1 = neg(%0) : f32[4]\n  %2 = neg(%1) : f32[4]\n  %3 = neg(%2) : f32[4]\n"
    "  %4 = neg(%3) : f32[4]\n  %5 = exp(%4) : f32[4]\n}\n";

static void limit(void **state) {
  (void)state;
  for (int64_t k = 0; k <= 2; k++) { /* the k-th change is the last one made */
    Bench *b = bench_new(chain);
    b->px.limit = k;
    assert_true(dhc_passes_run(b->m, &b->px, "simplify"));
    assert_int_equal(b->px.all_changes, k);
    bench_free(b);
  }
}

static void disabled(void **state) {
  (void)state;
  Bench *b = bench_new(chain);
  b->px.disabled = "cse,simplify";
  assert_true(dhc_passes_run(b->m, &b->px, "simplify,dce"));
  assert_int_equal(b->px.all_changes, 0);
  assert_int_equal(b->px.stats.n, 1);
  assert_string_equal(b->px.stats.at[0].pass, "dce");
  bench_free(b);
}

static void wrong_order(void **state) {
  (void)state;
  Bench *b = bench_new(chain);
  b->px.props = DHC_PROP_FUSED;
  assert_false(dhc_passes_run(b->m, &b->px, "simplify"));
  assert_non_null(strstr(b->diags.all.at[0]->text, "pass 'simplify' cannot run here"));
  assert_false(dhc_passes_run(b->m, &b->px, "simplfy"));
  assert_string_equal(b->diags.all.at[1]->text, "there is no pass 'simplfy'");
  assert_string_equal(b->diags.all.at[1]->code, "E0702");
  bench_free(b);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(pairs),           cmocka_unit_test(shared),
      cmocka_unit_test(checkpoint),      cmocka_unit_test(composite), cmocka_unit_test(composite_kept),
      cmocka_unit_test(no_gradient),     cmocka_unit_test(gradient_beside),
      cmocka_unit_test(comparison_is_zero), cmocka_unit_test(not_a_loss),
      cmocka_unit_test(limit),           cmocka_unit_test(disabled),
      cmocka_unit_test(wrong_order),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
