/* Whole functions: cloning, inlining, uses, order, canonical text, merging, extraction,
 * costs. */
#include "tests/ir/support.h"

BENCH_OF_FILE

static DhcModule *parse(const char *text) {
  DhcModule *m = bench_parse(&b, text);
  if (!m) fail_msg("%s", bench_messages(&b));
  return m;
}

static const char *func_text(DhcFunc *f) {
  DhcText t = {.arena = &b.arena};
  dhc_func_print(f, &t);
  return dhc_text_str(&t);
}

static void verify(DhcModule *m) {
  if (!dhc_verify(m, DHC_STAGE_GRAPH, "a test")) fail_msg("%s", bench_messages(&b));
}

/* ---- copies ------------------------------------------------------------------------- */

static void clone(void **state) {
  (void)state;
  DhcModule *m = parse(
      "func @v<B>(%0: f32[B] plain, %1: f32[B] plain, %2: f32[B] plain) -> (%2) unit {}\n"
      "func @f<B>(%0: f32[B] plain) -> (%2 \"y\") composite kernel \"k\" vjp @v require B >= 3 \"why\" {\n"
      "  %1 = exp(%0) : f32[B]\n  %2 = neg(%1) : f32[B]\n}\n");
  DhcFunc *f = dhc_module_func(m, "f"), *g = dhc_func_clone(f, "g");
  assert_string_equal(func_text(g),
                      "func @g<B>(%0: f32[B] plain) -> (%2 \"y\") composite kernel \"k\" vjp @v require B >= 3 \"why\" {\n"
                      "  %1 = exp(%0) : f32[B]\n  %2 = neg(%1) : f32[B]\n}\n");
  verify(m);
  assert_string_equal(dhc_func_clone(f, "g")->name, "g.2");
  dhc_replace_uses(g->last->results[0], g->params.at[0]); /* leaves f alone */
  assert_ptr_equal(f->results.at[0], f->last->results[0]);
  assert_ptr_equal(g->results.at[0], g->params.at[0]);
}

static void inline_call(void **state) {
  (void)state;
  DhcModule *m = parse(
      "func @g<N, M>(%0: f32[N, M] plain, %1: f32[N] plain) -> (%3, %1, %4) unit require M >= 2 {\n"
      "  %2 = slice(%0) {start = [0, 1], size = [N, M - 1], step = [1, 1]} : f32[N, M - 1]\n"
      "  %3 = neg(%2) : f32[N, M - 1]\n"
      "  %4 = dim() {dim = N*M} : i64[]\n"
      "}\n"
      "func @f<B>(%0: f32[2*B, B] plain, %1: f32[2*B] plain) -> (%2, %3, %4) unit require B >= 3 {\n"
      "  %2, %3, %4 = call(%0, %1) {callee = @g, dims = [2*B, B]} : f32[2*B, B - 1], f32[2*B], i64[]\n"
      "}\n");
  DhcFunc *f = dhc_module_func(m, "f");
  f->last->origin = "block.0";
  dhc_inline_call(f->last);
  assert_string_equal(func_text(f),
                      "func @f<B>(%0: f32[2*B, B] plain, %1: f32[2*B] plain) -> (%3, %1, %4) unit require B >= 3 require B >= 2 {\n"
                      "  %2 = slice(%0) {start = [0, 1], size = [2*B, B - 1], step = [1, 1]} : f32[2*B, B - 1]\n"
                      "  %3 = neg(%2) : f32[2*B, B - 1]\n"
                      "  %4 = dim() {dim = 2*B*B} : i64[]\n"
                      "}\n");
  assert_string_equal(f->last->origin, "block.0");
  verify(m);
}

static void edits(void **state) {
  (void)state;
  DhcModule *m = parse(
      "func @f<B>(%0: f32[B] plain) -> (%3, %1) unit {\n"
      "  %1 = exp(%0) : f32[B]\n  %2 = neg(%1) : f32[B]\n  %3 = add(%2, %1) : f32[B]\n}\n");
  DhcFunc *f = dhc_module_func(m, "f");
  DhcNode *exp = f->first->next, *neg = exp->next, *add = neg->next;
  int *uses = dhc_use_counts(f, &b.arena);
  assert_int_equal(uses[exp->results[0]->id], 3);
  assert_int_equal(uses[add->results[0]->id], 1);
  DhcBuilder build = {.f = f, .before = add};
  DhcNode *copy = dhc_node_copy(&build, neg, &f->params.at[0]);
  assert_ptr_equal(copy->next, add);
  assert_int_equal(copy->span.begin, neg->span.begin);
  dhc_replace_uses(neg->results[0], copy->results[0]);
  dhc_node_remove(neg);
  DhcType t = {.dtype = DHC_F32};
  dhc_func_param(f, &t, (DhcParamInfo){"late", DHC_ROLE_PLAIN, -1}, (DhcSpan){0});
  assert_string_equal(func_text(f),
                      "func @f<B>(%0: f32[B] plain, %1: f32[] plain \"late\") -> (%4, %2) unit {\n"
                      "  %2 = exp(%0) : f32[B]\n  %3 = neg(%0) : f32[B]\n  %4 = add(%3, %2) : f32[B]\n}\n");
  verify(m);
}

/* ---- order and merging ------------------------------------------------------------------ */

static void sorting(void **state) {
  (void)state;
  DhcModule *m = parse(
      "tensor \"w\" param f32[] init @init\n"
      "func @init() -> (%0) init { %0 = fill() {value = 1, dtype = f32, shape = []} : f32[] }\n"
      "func @dead(%0: f32[] plain) -> (%0) unit {}\n"
      "func @leaf(%0: f32[] plain) -> (%0) unit {}\n"
      "func @comp(%0: f32[] plain) -> (%0) composite vjp @vjp {}\n"
      "func @vjp(%0: f32[] plain, %1: f32[] plain, %2: f32[] plain) -> (%3) unit {\n"
      "  %3 = call(%2) {callee = @comp, dims = []} : f32[]\n}\n"
      "func @main(%0: f32[] input \"x\") -> (%2) entry {\n"
      "  %1 = call(%0) {callee = @leaf, dims = []} : f32[]\n  %2 = call(%1) {callee = @comp, dims = []} : f32[]\n}\n");
  DhcFunc *last = m->funcs.at[m->funcs.n - 1];
  memmove(m->funcs.at + 1, m->funcs.at, sizeof *m->funcs.at * (size_t)(m->funcs.n - 1));
  m->funcs.at[0] = last; /* callers first: what a pass may leave */
  assert_false(dhc_verify(m, DHC_STAGE_GRAPH, NULL));
  bench_clear(&b);
  dhc_module_sort(m);
  const char *const want[] = {"init", "leaf", "comp", "main", "vjp"};
  assert_int_equal(m->funcs.n, 5);
  for (int i = 0; i < 5; i++) assert_string_equal(m->funcs.at[i]->name, want[i]);
  verify(m);
}

static const char layers[] =
    "func @a<N>(%0: f32[N, 4] plain \"x\") -> (%2 \"y\") unit {\n"
    "  %1 = exp(%0) : f32[N, 4]\n  %2 = neg(%1) : f32[N, 4]\n}\n"
    "func @b<Rows>(%5: f32[Rows, 4] plain) -> (%7) unit {\n"
    "  %6 = exp(%5) : f32[Rows, 4]\n  %7 = neg(%6) : f32[Rows, 4]\n}\n"
    "func @c<N>(%0: f32[N, 5] plain) -> (%2) unit {\n"
    "  %1 = exp(%0) : f32[N, 5]\n  %2 = neg(%1) : f32[N, 5]\n}\n"
    "func @outer1<N>(%0: f32[N, 4] plain) -> (%1) unit {\n"
    "  %1 = call(%0) {callee = @a, dims = [N]} : f32[N, 4]\n}\n"
    "func @outer2<M>(%0: f32[M, 4] plain) -> (%1) unit {\n"
    "  %1 = call(%0) {callee = @b, dims = [M]} : f32[M, 4]\n}\n"
    "func @outer3<N>(%0: f32[N, 5] plain) -> (%1) unit {\n"
    "  %1 = call(%0) {callee = @c, dims = [N]} : f32[N, 5]\n}\n"
    "func @main<B>(%0: f32[B, 4] input \"x\", %1: f32[B, 5] input \"z\") -> (%3, %4) entry {\n"
    "  %2 = call(%0) {callee = @outer1, dims = [B]} : f32[B, 4]\n"
    "  %3 = call(%2) {callee = @outer2, dims = [B]} : f32[B, 4]\n"
    "  %4 = call(%1) {callee = @outer3, dims = [B]} : f32[B, 5]\n}\n";

static void canonical(void **state) {
  (void)state;
  DhcModule *m = parse(layers);
  const char *names[] = {"a", "b", "c", "outer1", "outer2", "outer3"}, *text[6];
  for (int i = 0; i < 6; i++) text[i] = dhc_func_canonical(dhc_module_func(m, names[i]), &b.arena);
  assert_string_equal(text[0], text[1]);
  assert_string_equal(text[3], text[4]);
  assert_string_not_equal(text[0], text[2]);
  assert_string_not_equal(text[3], text[5]);
  /* order of symbols in dims must not show either */
  m = parse("func @p<A, Z>(%0: f32[A*A + Z] plain) -> (%0) unit {}\n"
            "func @q<Z, A>(%0: f32[Z*Z + A] plain) -> (%0) unit {}\n"
            "func @r<A, Z>(%0: f32[A*A + Z] plain) -> (%0) unit require A >= 2 {}\n"
            "func @s<A, Z>(%0: f32[A*A + Z] plain) -> (%0) body {}\n");
  const char *p = dhc_func_canonical(m->funcs.at[0], &b.arena);
  assert_string_equal(p, dhc_func_canonical(m->funcs.at[1], &b.arena));
  assert_string_not_equal(p, dhc_func_canonical(m->funcs.at[2], &b.arena));
  assert_string_not_equal(p, dhc_func_canonical(m->funcs.at[3], &b.arena));
}

static void merging(void **state) {
  (void)state;
  DhcModule *m = parse(layers);
  assert_int_equal(dhc_module_merge_units(m), 2);
  assert_int_equal(m->funcs.n, 5);
  DhcFunc *main_ = dhc_module_func(m, "main");
  DhcNode *first = main_->first->next->next;
  assert_ptr_equal(dhc_attr(first, "callee")->func, dhc_attr(first->next, "callee")->func);
  verify(m);
  assert_int_equal(dhc_module_merge_units(m), 0);
}

static void extraction(void **state) {
  (void)state;
  DhcModule *m = parse(
      "tensor \"w\" param f32[] init @init\n"
      "func @init() -> (%0) init { %0 = fill() {value = 1, dtype = f32, shape = []} : f32[] }\n"
      "func @comp(%0: f32[] plain) -> (%0) composite vjp @vjp {}\n"
      "func @vjp(%0: f32[] plain, %1: f32[] plain, %2: f32[] plain) -> (%3) unit {\n"
      "  %3 = call(%2) {callee = @comp, dims = []} : f32[]\n}\n"
      "func @main(%0: f32[] param \"w\" #0) -> (%1) entry {\n  %1 = call(%0) {callee = @comp, dims = []} : f32[]\n}\n");
  DhcFunc *root = dhc_module_func(m, "main"), *copy;
  const char *before = bench_print(&b, m);
  DhcModule *x = dhc_module_extract(m, &root, 1, &copy);
  verify(x);
  dhc_module_sort(x);
  verify(x);
  assert_ptr_equal(copy->module, x);
  assert_int_equal(x->funcs.n, 3);
  dhc_inline_call(copy->last);
  assert_string_equal(bench_print(&b, m), before);
}

/* ---- costs ----------------------------------------------------------------------------------- */

static void flops(void **state) {
  (void)state;
  DhcModule *m = parse(
      "func @body<N>(%0: f32[N] plain, %1: f32[N] plain) -> (%2) body {\n  %2 = fma(%0, %1, %0) : f32[N]\n}\n"
      "func @f<B, L>(%0: f32[B, 3, 8, 8] plain, %1: f32[6, 3, 3, 3] plain, %2: f32[B, L] plain, %3: f32[L, 5] plain,\n"
      "    %4: f32[B] plain, %5: i32[7] plain, %6: f32[7, 5] plain) -> () unit {\n"
      "  %7 = conv(%0, %1) {stride = [1, 1], pad_low = [1, 1], pad_high = [1, 1], dilation = [1, 1], groups = 1} : f32[B, 6, 8, 8]\n"
      "  %8 = dot_general(%2, %3) {batch_a = [], batch_b = [], contract_a = [1], contract_b = [0]} : f32[B, 5]\n"
      "  %9 = scan(%4, %2) {body = @body, dims = [B], n_carry = 1, n_xs = 1, axis = 1, length = L, reverse = false} : f32[B]\n"
      "  %10 = scatter_add(%3, %5, %6) {axis = 0} : f32[L, 5]\n"
      "  %11 = reduce_sum(%2) {axes = [0, 1], keep = false} : f32[]\n"
      "  %12 = linear_scan(%2, %2, %4) {axis = 1, reverse = true, flush = false} : f32[B, L]\n"
      "  %13, %14 = window_max(%0) {window = [2, 2], stride = [2, 2]} : f32[B, 3, 4, 4], i32[B, 3, 4, 4]\n"
      "}\n");
  /* conv 2*B*6*64*27, dot 10BL, scan 2BL, scatter 35, sum BL, linear scan 2BL, windows 4*48B */
  assert_string_equal(bench_dim_text(&b, dhc_func_flops(dhc_module_func(m, "f"))), "15*B*L + 20928*B + 35");
}

/* A row of the op table that forgets its cost does not compile (ir/ops_rules.h); one that says there are none has
 * none: what moves, compares, chooses or counts. */
static void every_op_has_a_cost(void **state) {
  (void)state;
  DhcModule *m = parse(
      "func @f<B>(%0: f32[B, 4] plain, %1: i32[B, 4] plain, %2: bool[B, 4] plain) -> () unit {\n"
      "  %3 = add(%1, %1) : i32[B, 4]\n  %4 = select(%2, %0, %0) : f32[B, 4]\n  %5 = transpose(%0) {perm = [1, 0]} : f32[4, B]\n"
      "  %6 = lt(%0, %0) : bool[B, 4]\n  %7 = exp(%0) : f32[B, 4]\n}\n");
  for (int i = 0; i < DHC_N_OPS; i++) assert_non_null(dhc_op_info((DhcOp)i)->flops);
  assert_string_equal(bench_dim_text(&b, dhc_func_flops(dhc_module_func(m, "f"))), "4*B");
}

int main(void) {
  const struct CMUnitTest tests[] = {
#define T(f) BENCH_TEST(f)
      T(clone), T(inline_call), T(edits), T(sorting), T(canonical), T(merging), T(extraction), T(flops), T(every_op_has_a_cost),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
