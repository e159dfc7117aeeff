/* Kernel specs: each rule of the verifier has its message, text comes back, positions of
 * arguments, meaning of the sum order, guards and divisions. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "ir/spec.h"
#include "runtime/panel.h"

typedef struct Wrong {
  const char *text, *message;
} Wrong;

#define MAP(body) "spec map args 0 {\n" body "}\n"

#define DOT(w) \
  "spec dot args 0 { axis par axis par axis red in f32 row [s(a0), 1(a2)] in f32 " w \
  " %0 = load 0 : f32 %1 = load 1 : f32 %2 = fold dot_general(%0, %1) a2 : f32 out f32 row [s(a0), 1(a1)] = %2 }"

#define GATHER(w) \
  "spec map args 0 { axis par axis par in i64 row [1(a0)] in f32 " w \
  " %0 = load 0 : i64 %1 = load 1 : f32 out f32 row [s(a0), 1(a1)] = %1 }"

/* Rows of range e meet matrix e. */
#define RAGGED(w) \
  "spec ragged args 0 { axis par axis par axis red axis red in f32 row [s(a0), 1(a3)] in i32 row [1(a2)] in i32 row [1(a2)] in f32 " w \
  " %0 = load 0 : f32 %1 = axis 0 : i64 %2 = load 1 : i32 %3 = cast(%2) : i64 %4 = load 2 : i32 %5 = cast(%4) : i64" \
  " %6 = lt(%1, %5) : bool %7 = le(%3, %1) : bool %8 = and(%7, %6) : bool %9 = const 0x0p+0 : f32 %10 = select(%8, %0, %9) : f32" \
  " %11 = load 3 : f32 %12 = fold dot_general(%10, %11) a2 a3 : f32 out f32 row [s(a0), 1(a1)] = %12 }"

static const Wrong wrong[] = {
    {RAGGED("panel(16) [1(a1), s(a2), s(a3)]"), "operand 3: cannot be stored so"},
    {DOT("rows_i8 [s(a1), 1(a2)]"), "operand 1: cannot be stored so"},
    {GATHER("panel(16) [s(%0)?, 1(a1)]"), "operand 1: cannot be stored so"},
    {GATHER("rows_i8(16) [s(%0)?, 1(a1)]"), "operand 1: cannot be stored so"},
    {GATHER("rows_i8 [1(%0)?, s(a1)]"), "operand 1: cannot be stored so"},
    {GATHER("rows_bf16 [s(a1 + %0)?, 1(a0)]"), "operand 1: cannot be stored so"},
    {RAGGED("panel(16) [s(a1), 1(a3)]"), "operand 3: cannot be stored so"},
    {RAGGED("panel(0) [s(a1), s(a2), 1(a3)]"), "operand 3: cannot be stored so"},
    {DOT("panel [s(a1), 1(a2)]"), "operand 1: cannot be stored so"},
    {DOT("panel(16) [1(a1), s(a2)]"), "operand 1: cannot be stored so"},
    {DOT("row(16) [s(a1), 1(a2)]"), "operand 1: cannot be stored so"},
    {MAP("axis par in f32 panel(16) [1(a0)] %0 = load 0 : f32 out f32 row [1(a0)] = %0"), "operand 0: cannot be stored so"},
    {MAP("axis par 1 in f32 row [] %0 = load 0 : f32 out f32 row [] = %0"), "axis 0: constant extent 1"},
    {MAP("axis red axis par in f32 row [1(a0)] %0 = load 0 : f32 out f32 row [1(a0)] = %0"),
     "axis 1: axes must be parallel, sequential, reduced in this order"},
    {MAP("axis seq axis seq in f32 row [1(a0)] %0 = load 0 : f32 out f32 row [1(a0)] = %0"), "2 sequential axes"},
    {MAP("axis par in f32 row [1(2*a0)] %0 = load 0 : f32 out f32 row [1(a0)] = %0"),
     "operand 0 term 0: a plain term is one axis times its stride"},
    {MAP("axis par in f32 row [1(a3)] %0 = load 0 : f32 out f32 row [1(a0)] = %0"), "operand 0 term 0: no axis 3"},
    {MAP("axis par in f32 row [1(a0)/2] %0 = load 0 : f32 out f32 row [1(a0)] = %0"),
     "operand 0 term 0: division needs a guard"},
    {MAP("axis par in f32 row [1(a0), s(a0)] %0 = load 0 : f32 out f32 row [1(a0)] = %0"),
     "operand 0: two plain terms of axis 0"},
    {MAP("axis par in f32 row [1(a0)] %0 = load 0 : f32 out f64 row [1(a0)] = %0"),
     "operand 1: stores a value of another dtype"},
    {MAP("axis par in f32 row [1(a0)] %0 = load 0 : f32 out f32 row [] = %0"),
     "operand 1: stored value varies over more axes"},
    {MAP("axis par in f32 row [] %0 = load 0 : f32 out f32 row [] = %0"), "operand 1: does not index every parallel axis"},
    {MAP("axis par in f32 row [1(a0)] %0 = load 1 : f32 out f32 row [1(a0)] = %0"), "node 0: loads no input"},
    {MAP("axis par in f32 row [1(a0)] %0 = load 0 : i32 out i32 row [1(a0)] = %0"), "node 0: load of another dtype"},
    {MAP("axis par in f32 row [1(a0)] %0 = load 0 : f32 %1 = add(%0) : f32 out f32 row [1(a0)] = %1"),
     "node 1: wrong number of operands"},
    {MAP("axis par in f32 row [1(a0)] %0 = load 0 : f32 %1 = and(%0, %0) : f32 out f32 row [1(a0)] = %1"),
     "node 1: operand types do not fit"},
    {MAP("axis par in f32 row [1(a0)] %0 = load 0 : f32 %1 = lt(%0, %0) : f32 out f32 row [1(a0)] = %1"),
     "node 1: operand types do not fit"},
    {MAP("axis par in f32 row [1(a0)] %0 = load 0 : f32 %1 = neg(%2) : f32 out f32 row [1(a0)] = %1"),
     "node 1: uses node 2 before it is computed"},
    {MAP("axis par in f32 row [1(a0)] %0 = load 0 : f32 %1 = reduce_sum(%0) : f32 out f32 row [1(a0)] = %1"),
     "node 1: not an elementwise op"},
    {MAP("axis par in f32 row [1(a0)] %0 = load 0 : f32 %1 = fold reduce_sum(%0) a0 : f32 out f32 row [1(a0)] = %1"),
     "node 1: folds axes that are not reduced"},
    {MAP("axis par axis red in f32 row [s(a0), 1(a1)] %0 = load 0 : f32 %1 = fold exp(%0) a1 : f32 out f32 row [1(a0)] = %1"),
     "node 1: not a fold"},
    {MAP("axis par axis red in f32 row [s(a0), 1(a1)] %0 = load 0 : f32 %1 = fold dot_general(%0, %0) a1 : f64 out f64 row [1(a0)] = %1"),
     "node 1: operand types do not fit"},
    {MAP("axis par in f32 row [1(a0)] %0 = load 0 : f32 %1 = scan(%0, %0, %0) : f32 out f32 row [1(a0)] = %1"),
     "node 1: not a scan"},
    {MAP("axis par in f32 row [1(a0)] %0 = load 0 : f32 %1 = arg 0 : i64 out f32 row [1(a0)] = %0"),
     "node 1: not an i64 argument"},
    {MAP("axis par in f32 row [1(a0)] %0 = axis 4 : i64 out i64 row [1(a0)] = %0"), "node 0: not an i64 axis index"},
    {MAP("axis par in f32 row [1(a0)] in f32 row [s(%0)] %0 = load 0 : f32 %1 = load 1 : f32 out f32 row [1(a0)] = %1"),
     "operand 1 term 0: index node 0 is not an integer"},
    {MAP("axis par in i32 row [s(%1)] in i32 row [1(a0)] %0 = load 0 : i32 %1 = load 1 : i32 out i32 row [1(a0)] = %0"),
     "node 0: its index is computed later"},
    {MAP("axis par -2 in f32 row [1(a0)] %0 = load 0 : f32 out f32 row [1(a0)] = %0"), "axis 0: negative extent"},
    {MAP("axis par axis par in f32 row [s(a1 + a0)?] %0 = load 0 : f32 out f32 row [s(a0), 1(a1)] = %0"),
     "operand 0 term 0: axes must ascend"},
    {MAP("axis par in f32 row [s(0*a0)?] %0 = load 0 : f32 out f32 row [1(a0)] = %0"), "operand 0 term 0: zero coefficient"},
    {MAP("axis par in f32 row [s(a0)/0?] %0 = load 0 : f32 out f32 row [1(a0)] = %0"), "operand 0 term 0: divisor 0"},
    {MAP("axis par in f32 row [1(a0)] in f32 row [s(%7)] %0 = load 0 : f32 %1 = load 1 : f32 out f32 row [1(a0)] = %1"),
     "operand 1 term 0: no node 7"},
    {MAP("axis par in f32 row [1(a0)] %0 = load 0 : f32 out f32 row [1(a0)] = %5"), "operand 1: no node 5"},
    {MAP("axis par in f32 row [1(a0)] %0 = load 0 : f32 %1 = cast(%0, %0) : i32 out i32 row [1(a0)] = %1"),
     "node 1: cast takes one operand"},
    {MAP("axis par in u32 row [1(a0)] %0 = load 0 : u32 %1 = random(%0, %0, %0) : u32 out u32 row [1(a0)] = %1"),
     "node 1: not random bits"},
    {MAP("axis par in f32 row [1(a0)] %0 = load 0 : f32"), "no output"},
};

typedef struct Fix {
  DhcArena arena;
  DhcSources sources;
  DhcDiags diags;
} Fix;

static void begin(Fix *x) {
  memset(x, 0, sizeof *x);
  dhc_arena_init(&x->arena);
  x->sources.arena = x->diags.arena = &x->arena;
  x->diags.sources = &x->sources;
}

static DhcSpec *parse(Fix *x, const char *text) {
  uint32_t end, file = dhc_sources_add(&x->sources, "t", "t", text, strlen(text));
  return dhc_spec_parse(&x->arena, &x->diags, file, 0, &end);
}

static void test_wrong(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    Fix x;
    begin(&x);
    assert_null(parse(&x, wrong[i].text));
    assert_int_equal(x.diags.n_errors, 1);
    const char *want = dhc_arena_printf(&x.arena, "kernel spec: %s", wrong[i].message);
    assert_string_equal(x.diags.all.at[0]->text, want);
    dhc_arena_fini(&x.arena);
  }
}

/* Texts that are no spec: what was expected. `body` stands behind "axis par in f32 row [1(a0)] %0 = load 0 : f32". */
static const Wrong mistaken[] = {
    {"%1 = const 0x1 : f32", "an exponent"},
    {"%1 = const 0x1p+9999 : f32", "an exponent in range"},
    {"%1 = const 1.5 : f32", "a hexadecimal float"},
    {"%1 = load 9999999 : f32", "a small number"},
    {"out f32 row [1(a0)] = 0", "a node (%0, %1, ...)"},
    {"out f32 row [s(b0)] = %0", "an axis (a0, a1, ...)"},
    {"out f32 row [s(a0 + a1 + a2 + a3 + a4)?] = %0", "at most 4 axes in a term"},
    {"out f32 row [s(a0), s(a0), s(a0), s(a0), s(a0), s(a0), s(a0), s(a0), s(a0)] = %0", "fewer terms"},
    {"out f32 row [x(a0)] = %0", "a term, s(...) or 1(...)"},
    {"%1 = neg(%0, %0, %0, %0, %0) : f32", "at most 4 operands"},
    {"%1 = fold reduce_sum(%0) a12 : f32", "an axis of the spec"},
    {"axis par axis par axis par axis par axis par axis par axis par axis par axis par axis par axis par axis par", "fewer axes"},
};

static void expected(const char *text, const char *what) {
  Fix x;
  begin(&x);
  assert_null(parse(&x, text));
  assert_int_equal(x.diags.n_errors, 1);
  assert_string_equal(x.diags.all.at[0]->text, dhc_arena_printf(&x.arena, "kernel spec: expected %s", what));
  dhc_arena_fini(&x.arena);
}

static void test_mistaken(void **state) {
  (void)state;
  DhcArena a;
  dhc_arena_init(&a);
  for (size_t i = 0; i < sizeof mistaken / sizeof *mistaken; i++)
    expected(dhc_arena_printf(&a, "spec map args 0 { axis par in f32 row [1(a0)] %%0 = load 0 : f32 %s }", mistaken[i].text), mistaken[i].message);
  expected("spec map args 0 attrs 1, 2, 3, 4, 5, 6, 7, 8, 9 { axis par }", "fewer attributes");
  DhcText operands = {.arena = &a}, nodes = {.arena = &a};
  for (int i = 0; i <= DHC_SPEC_MAX_OPERANDS; i++) dhc_text_puts(&operands, "in f32 row [1(a0)] ");
  for (int i = 0; i <= DHC_SPEC_MAX_NODES; i++) dhc_text_printf(&nodes, "%%%d = axis 0 : i64 ", i);
  expected(dhc_arena_printf(&a, "spec map args 0 { axis par %s }", dhc_text_str(&operands)), "fewer operands");
  expected(dhc_arena_printf(&a, "spec map args 0 { axis par %s }", dhc_text_str(&nodes)), "fewer nodes");
  dhc_arena_fini(&a);
}

/* What no text can say: specs made by hand. */
typedef struct Broken {
  void (*break_it)(DhcSpec *s);
  const char *message;
} Broken;

static const char sound[] =
    "spec scan args 0 {\n"
    "  axis par\n"
    "  axis seq\n"
    "  in f32 row [s(a0), 1(a1)]\n"
    "  in f32 row [1(a0)]\n"
    "  %0 = load 0 : f32\n"
    "  %1 = load 1 : f32\n"
    "  %2 = const 0x0p+0 : f32\n"
    "  %3 = scan(%0, %0, %1) : f32\n"
    "  out f32 row [s(a0), 1(a1)] = %3\n"
    "}\n";

static void break_kind(DhcSpec *s) { s->kind = (DhcKind)31; }
static void break_operands(DhcSpec *s) { s->n_operands = 0; }
static void break_nodes(DhcSpec *s) { s->n_nodes = 0; }
static void break_args(DhcSpec *s) { s->n_args = -1; }
static void break_axes(DhcSpec *s) { s->n_axes = DHC_SPEC_MAX_AXES + 1; }
static void break_terms(DhcSpec *s) { s->operand[1].n_terms = -1; }
static void break_term(DhcSpec *s) { s->operand[1].term[0].n_axes = 5; }
static void break_store(DhcSpec *s) { s->operand[0].stored = 1; }
static void break_order(DhcSpec *s) {
  s->operand[3] = s->operand[0];
  s->n_operands = 4;
}
static void break_const(DhcSpec *s) { s->node[2].a[0] = 0; }
static void break_node(DhcSpec *s) { s->node[2].kind = (DhcSpecNodeKind)77; }
static void break_begin(DhcSpec *s) { s->node[3].a[2] = 0; }

static const Broken broken[] = {
    {break_kind, "no kind 31"},
    {break_operands, "0 operands"},
    {break_nodes, "0 nodes"},
    {break_args, "wrong number of arguments or attributes"},
    {break_axes, "13 axes"},
    {break_terms, "operand 1: -1 terms"},
    {break_term, "operand 1 term 0: 5 axes"},
    {break_store, "operand 0: only outputs store a node"},
    {break_order, "operand 3: input after output"},
    {break_const, "node 2: constant with operands"},
    {break_node, "node 2: unknown kind"},
    {break_begin, "node 3: what a scan begins with varies along it"},
};

static void test_broken(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
    Fix x;
    begin(&x);
    DhcSpec *s = parse(&x, sound);
    assert_non_null(s);
    const char *why = NULL;
    assert_true(dhc_spec_verify(s, &x.arena, &why));
    broken[i].break_it(s);
    assert_false(dhc_spec_verify(s, &x.arena, &why));
    assert_string_equal(why, broken[i].message);
    dhc_arena_fini(&x.arena);
  }
}

/* Every way to write a term, a constant and a node. */
static const char full[] =
    "spec conv args 2 attrs 0, -3 {\n"
    "  axis par\n"
    "  axis par 4\n"
    "  axis red\n"
    "  axis red 3\n"
    "  in f32 row [s(a0), s(a2 + -2*a3)/2?]\n"
    "  in i64 row [1(a0)]\n"
    "  in f32 row [s(a1), 1(%1)?]\n"
    "  %0 = load 0 : f32\n"
    "  %1 = load 1 : i64\n"
    "  %2 = load 2 : f32\n"
    "  %3 = fold dot_general(%0, %2) a2 a3 : f32\n"
    "  %4 = const -0x1.999999999999ap-4 : f32\n"
    "  %5 = const inf : f32\n"
    "  %6 = const 0x0p+0 : f32\n"
    "  %7 = const -0x0.0000000000001p-1022 : f32\n"
    "  %8 = const -9223372036854775808 : i64\n"
    "  %9 = axis 0 : i64\n"
    "  %10 = arg 1 : i64\n"
    "  %11 = random(%8, %9, %10, %10) : u32\n"
    "  %12 = cast(%11) : f32\n"
    "  %13 = max(%3, %4) : f32\n"
    "  %14 = add(%13, %12) : f32\n"
    "  out f32 row [s(a0), 1(a1)] = %14\n"
    "  out i64 row [s(a0), s(a1)] = %10\n"
    "}\n";

static void test_text(void **state) {
  (void)state;
  Fix x;
  begin(&x);
  DhcSpec *s = parse(&x, full);
  if (!s) dhc_diags_print(&x.diags, stderr, false);
  assert_non_null(s);
  DhcText t = {.arena = &x.arena};
  dhc_spec_print(s, &t);
  assert_string_equal(dhc_text_str(&t), full);
  dhc_arena_fini(&x.arena);
}

/* Extents, then per operand strides, offsets and extents, then extra arguments. */
static void test_arguments(void **state) {
  (void)state;
  Fix x;
  begin(&x);
  DhcSpec *s = parse(&x, full);
  assert_int_equal(dhc_spec_extent_arg(s, 0), 0);
  assert_int_equal(dhc_spec_extent_arg(s, 1), -1);
  assert_int_equal(dhc_spec_extent_arg(s, 2), 1);
  assert_int_equal(dhc_spec_stride_arg(s, 0, 0), 2);
  assert_int_equal(dhc_spec_stride_arg(s, 0, 1), 3);
  assert_int_equal(dhc_spec_offset_arg(s, 0, 1), 4);
  assert_int_equal(dhc_spec_stride_arg(s, 1, 0), -1);
  assert_int_equal(dhc_spec_offset_arg(s, 2, 1), 7);
  assert_int_equal(dhc_spec_extra_arg(s, 0), 12);
  assert_int_equal(dhc_spec_n_dims(s), 14);
  dhc_arena_fini(&x.arena);
}

/* Rows of 5 values around a guarded window of 3 with stride 2. */
static void test_meaning(void **state) {
  (void)state;
  Fix x;
  begin(&x);
  DhcSpec *s = parse(&x,
                     "spec row args 0 { axis par axis red 3 in f32 row [1(2*a0 + a1)?] in f32 row [1(a1)]"
                     " %0 = load 0 : f32 %1 = load 1 : f32 %2 = fold dot_general(%0, %1) a1 : f32"
                     " %3 = fold argmax(%0) a1 : i32 out f32 row [1(a0)] = %2 out i32 row [1(a0)] = %3 }");
  assert_non_null(s);
  double in[] = {1, -2, 3, 5, 4}, w[] = {1, 10, 100}, y[3];
  int64_t arg[3], dim[] = {3, -1, 5};
  void *ptr[] = {in, w, y, arg};
  dhc_spec_interp(s, ptr, dim, &x.arena);
  /* windows (0,1,-2), (-2,3,5), (5,4,0) */
  assert_true(y[0] == -190 && y[1] == 528 && y[2] == 45);
  assert_true(arg[0] == 1 && arg[1] == 2 && arg[2] == 0);
  dhc_arena_fini(&x.arena);
}

/* Every element has a place of its own, in panels of every width; the rest is padding. */
static void test_tag_map(void **state) {
  (void)state;
  enum { ROWS = 13, COLS = 5 };
  for (int width = 1; width <= 32; width++)
    for (int tag = DHC_TAG_ROW; tag <= DHC_TAG_PANEL; tag++) {
      int seen[64 * COLS] = {0};
      float from[ROWS * COLS], to[64 * COLS], sum = 0;
      int64_t n = dhc_tag_elements((DhcTag)tag, width, ROWS, COLS);
      for (int i = 0; i < ROWS * COLS; i++) from[i] = (float)(i + 1);
      const dhc_panel panel = {.width = width, .matrices = 1, .rows = ROWS, .cols = COLS};
      if (tag == DHC_TAG_ROW) memcpy(to, from, sizeof from);
      else dhc_panel_pack(&panel, 0, dhc_panel_count(&panel), from, to);
      assert_true(tag == DHC_TAG_ROW || n == dhc_panel_elements(&panel));
      for (int64_t i = 0; i < n; i++) sum += to[i];
      assert_true(sum == ROWS * COLS * (ROWS * COLS + 1) / 2.0f); /* padding is 0 */
      assert_true(n >= ROWS * COLS && n <= (ROWS + width - 1) * COLS);
      for (int64_t r = 0; r < ROWS; r++)
        for (int64_t c = 0; c < COLS; c++) {
          int64_t at = dhc_tag_index((DhcTag)tag, width, ROWS, COLS, r, c);
          assert_true(at >= 0 && at < n && !seen[at]++);
          assert_true(to[at] == from[r * COLS + c]);
          if (tag == DHC_TAG_PANEL) /* back again */
            assert_true(at / width / COLS * width + at % width == r && at / width % COLS == c);
        }
    }
}

/* A packed contraction means what the plain one does; its text comes back. */
static void test_panel_meaning(void **state) {
  (void)state;
  Fix x;
  begin(&x);
  enum { M = 2, N = 5, K = 3, W = 4 };
  const DhcSpec *row = parse(&x, DOT("row [s(a1), 1(a2)]")), *panel = parse(&x, DOT("panel(4) [s(a1), 1(a2)]"));
  assert_true(row && panel && !dhc_spec_equal(row, panel));
  DhcText t = {.arena = &x.arena};
  dhc_spec_print(panel, &t);
  const DhcSpec *again = parse(&x, dhc_text_str(&t));
  assert_true(again && dhc_spec_equal(panel, again));
  double a[M * K], w[N * K], p[2 * W * K] = {0}, y[M * N], z[M * N];
  for (int i = 0; i < M * K; i++) a[i] = i - 2;
  for (int i = 0; i < N * K; i++) w[i] = i * i;
  for (int r = 0; r < N; r++)
    for (int c = 0; c < K; c++) p[dhc_tag_index(DHC_TAG_PANEL, W, N, K, r, c)] = w[r * K + c];
  int64_t dim[] = {M, N, K, K, K, N};
  assert_int_equal(dhc_spec_n_dims(panel), 6);
  dhc_spec_interp(row, (void *[]){a, w, y}, dim, &x.arena);
  dhc_spec_interp(panel, (void *[]){a, p, z}, dim, &x.arena);
  assert_memory_equal(y, z, sizeof y);
  dhc_arena_fini(&x.arena);
}

/* Rows that are gathered, whichever term comes first, and what a convolution reads; their values are those of rows as they are. */
static void test_rows(void **state) {
  (void)state;
  Fix x;
  begin(&x);
  const char *text[] = {GATHER("rows_i8 [s(%0)?, 1(a1)]"), GATHER("rows_bf16 [1(a1), s(%0)?]"), GATHER("row [s(%0)?, 1(a1)]")};
  const DhcSpec *s[3];
  for (int i = 0; i < 3; i++) {
    s[i] = parse(&x, text[i]);
    assert_true(s[i] && dhc_tag_row_term(s[i], 1) == i % 2 && dhc_tag_row_term(s[i], 0) == -1 && dhc_tag_row_term(s[i], 2) == -1);
    DhcText t = {.arena = &x.arena};
    dhc_spec_print(s[i], &t);
    const DhcSpec *again = parse(&x, dhc_text_str(&t));
    assert_true(again && dhc_spec_equal(s[i], again));
  }
  double w[6] = {1, 2, 3, 4, 5, 6}, y[4];
  int64_t which[2] = {2, 0}, dim[] = {2, 2, 2, 0, 3, 2};
  assert_int_equal(dhc_spec_n_dims(s[0]), 6);
  dhc_spec_interp(s[0], (void *[]){which, w, y}, dim, &x.arena);
  assert_true(y[0] == 5 && y[1] == 6 && y[2] == 1 && y[3] == 2);
  assert_int_equal(dhc_tag_bytes(DHC_TAG_ROWS_I8, 0, 3, 7), 3 * (4 + 7));
  assert_int_equal(dhc_tag_bytes(DHC_TAG_ROWS_BF16, 0, 3, 7), 3 * 7 * 2);
  dhc_arena_fini(&x.arena);
}

/* The matrices of a ragged contraction are packed one by one. */
static void test_ragged_panels(void **state) {
  (void)state;
  Fix x;
  begin(&x);
  enum { M = 6, N = 5, E = 3, K = 2, W = 4, EACH = 2 * W * K };
  const DhcSpec *row = parse(&x, RAGGED("row [s(a1), s(a2), 1(a3)]")), *panel = parse(&x, RAGGED("panel(4) [s(a1), s(a2), 1(a3)]"));
  assert_true(row && panel && !dhc_spec_equal(row, panel) && dhc_tag_fits(row, 3) && !dhc_tag_fits(row, 0));
  double a[M * K], w[E * N * K], p[E * EACH] = {0}, y[M * N], z[M * N];
  int64_t offsets[E + 1] = {1, 3, 3, 6}; /* row 0 in no range, range 1 empty */
  for (int i = 0; i < M * K; i++) a[i] = i - 2;
  for (int i = 0; i < E * N * K; i++) w[i] = i * i;
  for (int e = 0; e < E; e++)
    for (int r = 0; r < N; r++)
      for (int c = 0; c < K; c++) p[e * EACH + dhc_tag_index(DHC_TAG_PANEL, W, N, K, r, c)] = w[(e * N + r) * K + c];
  int64_t dim[] = {M, N, E, K, K, K, N * K, N};
  assert_int_equal(dhc_spec_n_dims(panel), 8);
  DhcTagShape shape = dhc_tag_shape(panel, 3, dim);
  assert_true(shape.matrices == E && shape.rows == N && shape.cols == K);
  dhc_spec_interp(row, (void *[]){a, offsets, offsets + 1, w, y}, dim, &x.arena);
  dhc_spec_interp(panel, (void *[]){a, offsets, offsets + 1, p, z}, dim, &x.arena);
  assert_memory_equal(y, z, sizeof y);
  for (int n = 0; n < N; n++) assert_true(y[n] == 0);
  dhc_arena_fini(&x.arena);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_wrong), cmocka_unit_test(test_mistaken), cmocka_unit_test(test_broken), cmocka_unit_test(test_text),
                                     cmocka_unit_test(test_arguments), cmocka_unit_test(test_meaning),
                                     cmocka_unit_test(test_tag_map), cmocka_unit_test(test_panel_meaning), cmocka_unit_test(test_rows),
                                     cmocka_unit_test(test_ragged_panels)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
