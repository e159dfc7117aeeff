/* What the builder refuses, in which words; and the shorthands. */
#include "tests/ir/support.h"

BENCH_OF_FILE

/* One node over these parameters, and the message it gives ("" if it is fine). */
static const char signature[] =
    "func @f<B, H, L>(%0: f32[B, 3, H, H] plain, %1: f32[16, 3, 3, 3] plain, %2: f32[B, L] plain,\n"
    "  %3: f32[2, 3] plain, %4: i32[B] plain, %5: bool[2, 3] plain, %6: f64[2, 3] plain, %7: i64[] plain,\n"
    "  %8: u16[4] plain, %9: f32[4, 3] plain, %10: f32[5, 2, 6] plain, %11: i32[6] plain, %12: f32[] plain,\n"
    "  %13: f32[B, H, H] plain, %14: i32[L, 2] plain, %15: f32[B] plain, %16: f32[2, 2, 2, 2, 2, 2, 2, 2] plain, %17: f32[65536, 65536] plain)"
    " -> () unit {\n";

static const struct {
  const char *node, *message;
} refused[] = {
    {"add(%3, %3) : f32[2, 3]", ""},
    {"add(%3, %9) : f32[2, 3]", "add: shapes differ: f32[2, 3] and f32[4, 3]"},
    {"add(%3, %6) : f32[2, 3]", "add: dtypes differ: f32[2, 3] and f64[2, 3]"},
    {"add(%5, %5) : bool[2, 3]", "add: needs a float or integer dtype, got bool[2, 3]"},
    {"add(%8, %8) : u16[4]", "add: needs a float or integer dtype, got u16[4]"},
    {"add(%3) : f32[2, 3]", "add: takes 2 operands, got 1"},
    {"exp(%4) : i32[B]", "exp: needs a float dtype, got i32[B]"},
    {"shl(%3, %3) : f32[2, 3]", "shl: needs an integer dtype, got f32[2, 3]"},
    {"and(%3, %3) : f32[2, 3]", "and: needs an integer or bool dtype, got f32[2, 3]"},
    {"is_finite(%4) : bool[B]", "is_finite: needs a float dtype, got i32[B]"},
    {"eq(%8, %8) : bool[4]", "eq: needs a dtype to compute in, got u16[4]"},
    {"select(%3, %3, %3) : f32[2, 3]", "select: the condition must be bool, got f32[2, 3]"},
    {"select(%5, %9, %9) : f32[4, 3]", "select: shapes differ: condition bool[2, 3], values f32[4, 3]"},
    {"select(%5, %3, %6) : f32[2, 3]", "select: dtypes differ: f32[2, 3] and f64[2, 3]"},
    {"cast(%3) {dtype = i16} : i16[2, 3]", "cast: i16 is a dtype of inputs only"},
    {"fill() {value = 0.5, dtype = i32, shape = []} : i32[]", "fill: 0.5 is no value of i32"},
    {"fill() {value = 300, dtype = u8, shape = []} : u8[]", "fill: 300 is no value of u8"},
    {"fill() {value = -1, dtype = u32, shape = []} : u32[]", "fill: -1 is no value of u32"},
    {"fill() {value = 2, dtype = bool, shape = []} : bool[]", "fill: 2 is no value of bool"},
    {"fill() {value = 0, dtype = f32, shape = [0 - 1]} : f32[1]", "fill: extent -1 of dimension 0 is negative"},
    {"fill() {value = 0, dtype = f32, shape = [L - 2]} : f32[L - 2]",
     "fill: extent L - 2 of dimension 0 is negative: needs L >= 2\nhint: add `require L >= 2`"},
    {"fill() {value = 0, dtype = f32, shape = [4194305, 4194305, 211106198978564]} : f32[1]",
     "fill: the size of f32[4194305, 4194305, 211106198978564] does not fit in 63 bits"},
    {"fill() {value = 0, dtype = f64, shape = [1152921504606846976]} : f64[1]",
     "fill: the size of f64[1152921504606846976] does not fit in 63 bits"},
    {"fill() {value = 0, dtype = f32, shape = [1, 1, 1, 1, 1, 1, 1, 1, 1]} : f32[1]",
     "fill: the result has rank 9, the largest is 8"},
    {"iota() {axis = 1, dtype = i32, shape = [4]} : i32[4]", "iota: axis 1 is outside 0..0"},
    {"iota() {axis = 0, dtype = bool, shape = [4]} : bool[4]", "iota: bool cannot count"},
    {"iota() {axis = 0, dtype = i32, shape = []} : i32[]", "iota: axis 0 of a scalar"},
    {"random_bits(%7, %7, %4) {shape = [B]} : u32[B]", "random_bits: the step must be i64[], got i32[B]"},
    {"reshape(%3) {shape = [6]} : f32[6]", ""},
    {"reshape(%3) {shape = [5]} : f32[5]", "reshape: f32[2, 3] has 6 elements, f32[5] has 5"},
    {"reshape(%2) {shape = [B]} : f32[B]",
     "reshape: f32[B, L] has B*L elements, f32[B] has B; they must be equal for all sizes"},
    {"transpose(%3) {perm = [0]} : f32[2]", "transpose: 'perm' has 1 entries, 2 are needed for f32[2, 3]"},
    {"transpose(%3) {perm = [1, 1]} : f32[3, 3]", "transpose: axis 1 is in 'perm' twice"},
    {"transpose(%3) {perm = [0, 2]} : f32[2, 3]", "transpose: axis 2 is outside 0..1"},
    {"broadcast(%3) {shape = [4, 2, 3]} : f32[4, 2, 3]", ""},
    {"broadcast(%3) {shape = [3]} : f32[3]", "broadcast: f32[2, 3] has more dimensions than f32[3]"},
    {"broadcast(%15) {shape = [L]} : f32[L]",
     "broadcast: f32[B] does not stretch to f32[L]: dimension 0 is B, only a known 1 broadcasts"},
    {"slice(%2) {start = [0, L//2], size = [B, (L + 1)//2], step = [1, 1]} : f32[B, (L + 1)//2]",
     ""},
    {"slice(%2) {start = [0, L//2], size = [B, L//2 + 1], step = [1, 1]} : f32[B, L//2 + 1]",
     "slice: L//2 to 2*(L//2) + 1 is outside axis 1 of f32[B, L]: needs L >= 2*(L//2) + 1\n"
     "hint: add `require L >= 2*(L//2) + 1`"},
    {"slice(%2) {start = [0, 0], size = [B, L//2], step = [1, 2]} : f32[B, L//2]", ""},
    {"slice(%2) {start = [0, 0], size = [B, 3], step = [1, 1]} : f32[B, 3]",
     "slice: 0 to 3 is outside axis 1 of f32[B, L]: needs L >= 3\nhint: add `require L >= 3`"},
    {"slice(%3) {start = [0, 2], size = [2, 2], step = [1, 1]} : f32[2, 2]",
     "slice: 2 to 4 is outside axis 1 of f32[2, 3]"},
    {"slice(%3) {start = [0 - 1, 0], size = [1, 3], step = [1, 1]} : f32[1, 3]", "slice: start -1 on axis 0 is negative"},
    {"slice(%3) {start = [0, 0], size = [2, 0 - 1], step = [1, 1]} : f32[2, 1]", "slice: size -1 on axis 1 is negative"},
    {"slice(%3) {start = [0, 0], size = [2, 3], step = [1, 0]} : f32[2, 3]", "slice: 'step' must be at least 1, got 0"},
    {"slice(%3) {start = [0], size = [2, 3], step = [1, 1]} : f32[2, 3]",
     "slice: 'start' has 1 entries, 2 are needed for f32[2, 3]"},
    {"reverse(%3) {axes = [0, 0]} : f32[2, 3]", "reverse: axis 0 is in 'axes' twice"},
    {"pad(%3) {low = [0, 1], high = [L - 1, 0], step = [1, 2]} : f32[L + 1, 6]", ""},
    {"pad(%3) {low = [0, 0 - 1], high = [0, 0], step = [1, 1]} : f32[2, 2]", "pad: low padding -1 of axis 1 is negative"},
    {"pad(%3) {low = [0, 0], high = [0, L - 5], step = [1, 1]} : f32[2, 3]",
     "pad: high padding L - 5 of axis 1 is negative: needs L >= 5\nhint: add `require L >= 5`"},
    {"concat() {axis = 0} : f32[2, 3]", "concat: needs at least one operand"},
    {"concat(%3, %9) {axis = 0} : f32[6, 3]", ""},
    {"concat(%3, %9) {axis = 1} : f32[2, 6]",
     "concat: operands differ other than on axis 1: f32[2, 3] and f32[4, 3]"},
    {"dynamic_slice(%3, %4) {axis = 0, size = 1} : f32[1, 3]", "dynamic_slice: the start must be i64[], got i32[B]"},
    {"dynamic_slice(%3, %7) {axis = 0, size = 3} : f32[3, 3]",
     "dynamic_slice: size 3 is more than axis 0 of f32[2, 3]"},
    {"dynamic_update(%3, %12, %7) {axis = 0} : f32[2, 3]",
     "dynamic_update: operands differ other than on axis 0: f32[2, 3] and f32[]"},
    {"gather(%3, %3) {axis = 0} : f32[2, 3]", "gather: the index must be i32 or i64, got f32[2, 3]"},
    {"gather(%16, %14) {axis = 0} : f32[1]", "gather: the result has rank 9, the largest is 8"},
    {"gather(%3, %4) {axis = 1} : f32[2, B]", ""},
    {"scatter_add(%3, %4, %3) {axis = 0} : f32[2, 3]",
     "scatter_add: what is added must be f32[B, 3], got f32[2, 3]"},
    {"take_along(%3, %4) {axis = 0} : f32[B]", "take_along: shapes differ other than on the axis: f32[2, 3] and i32[B]"},
    {"put_along(%15, %11) {axis = 0, size = 4} : f32[4]", "put_along: shapes differ: f32[B] and i32[6]"},
    {"reduce_sum(%3) {axes = [1, 0], keep = true} : f32[1, 1]", "reduce_sum: 'axes' must be in rising order"},
    {"reduce_sum(%5) {axes = [1], keep = true} : bool[2, 1]",
     "reduce_sum: needs a float or integer dtype, got bool[2, 3]"},
    {"reduce_max(%3) {axes = [2], keep = true} : f32[2, 1]", "reduce_max: axis 2 is outside 0..1"},
    {"argmax(%12) {axis = 0} : i32[]", "argmax: axis 0 of a scalar"},
    {"dot_general(%3, %9) {batch_a = [], batch_b = [], contract_a = [1], contract_b = [1]} : f32[2, 4]", ""},
    {"dot_general(%3, %9) {batch_a = [], batch_b = [], contract_a = [1], contract_b = [0]} : f32[2, 3]",
     "dot_general: inner sizes differ: 3 and 4 in f32[2, 3] and f32[4, 3]"},
    {"dot_general(%3, %9) {batch_a = [0], batch_b = [0], contract_a = [1], contract_b = [1]} : f32[2]",
     "dot_general: batch sizes differ: 2 and 4 in f32[2, 3] and f32[4, 3]"},
    {"dot_general(%3, %3) {batch_a = [0], batch_b = [0], contract_a = [0], contract_b = [1]} : f32[2]",
     "dot_general: axis 0 is both batch and contracted"},
    {"dot_general(%3, %9) {batch_a = [], batch_b = [], contract_a = [1], contract_b = []} : f32[2]",
     "dot_general: 'contract_a' and 'contract_b' differ in length"},
    {"dot_general(%3, %6) {batch_a = [], batch_b = [], contract_a = [1], contract_b = [1]} : f32[2, 2]",
     "dot_general: dtypes differ: f32[2, 3] and f64[2, 3]"},
    {"dot_general(%4, %4) {batch_a = [], batch_b = [], contract_a = [0], contract_b = [0]} : i32[]",
     "dot_general: needs a float dtype, got i32[B]"},
    {"ragged_dot(%3, %9, %11) : f32[2, 3]", "ragged_dot: operand 1 must have rank 3, got f32[4, 3]"},
    {"ragged_dot(%3, %10, %11) : f32[2, 6]", "ragged_dot: inner sizes differ: 3 and 2 in f32[2, 3] and f32[5, 2, 6]"},
    {"ragged_dot(%2, %10, %3) : f32[B, 6]", "ragged_dot: the offsets must be i32 of rank 1, got f32[2, 3]"},
    {"ragged_dot_dw(%3, %9, %11) : f32[5, 3, 3]", "ragged_dot_dw: row sizes differ: 2 and 4 in f32[2, 3] and f32[4, 3]"},
    {"conv(%0, %1) {stride = [1, 1], pad_low = [1, 1], pad_high = [1, 1], dilation = [1, 1], groups = 1} : f32[B, 16, H, H]", ""},
    {"conv(%0, %1) {stride = [2, 2], pad_low = [0, 0], pad_high = [0, 0], dilation = [1, 1], groups = 1} : f32[B, 16, H, H]",
     "conv: kernel of extent 3 does not fit dimension 0 of extent H (padding included): needs H >= 3\nhint: add `require H >= 3`"},
    {"conv(%0, %1) {stride = [1], pad_low = [0, 0], pad_high = [0, 0], dilation = [1, 1], groups = 1} : f32[B, 16, H, H]",
     "conv: 'stride' has 1 entries for 2 spatial dimensions"},
    {"conv(%0, %1) {stride = [0, 1], pad_low = [0, 0], pad_high = [0, 0], dilation = [1, 1], groups = 1} : f32[B, 16, H, H]",
     "conv: 'stride' must be at least 1, got 0"},
    {"conv(%0, %1) {stride = [1, 1], pad_low = [1, 1], pad_high = [1, 1], dilation = [1, 1], groups = 3} : f32[B, 16, H, H]",
     "conv: channels differ: f32[B, 3, H, H] has 3, f32[16, 3, 3, 3] in 3 groups needs 9"},
    {"conv(%0, %1) {stride = [1, 1], pad_low = [1, 1], pad_high = [1, 1], dilation = [1, 1], groups = 0} : f32[B, 16, H, H]",
     "conv: 'groups' must be at least 1, got 0"},
    {"conv(%3, %9) {stride = [], pad_low = [], pad_high = [], dilation = [], groups = 1} : f32[2, 4]",
     "conv: needs operands of one rank, 3 or more, got f32[2, 3] and f32[4, 3]"},
    {"conv_dw(%0, %0) {stride = [1, 1], pad_low = [0, 0], pad_high = [0, 0], dilation = [1, 1], groups = 1, size = [H - 1, 1]} : f32[3, 3, H, H]",
     "conv_dw: kernel extent H - 1 of dimension 0 must be at least 1: needs H >= 2\nhint: add `require H >= 2`"},
    {"conv_dw(%0, %0) {stride = [1, 1], pad_low = [0, 0], pad_high = [0, 0], dilation = [1, 1], groups = 1, size = [1]} : f32[3, 3, H, H]",
     "conv_dw: 'size' has 1 entries for 2 spatial dimensions"},
    {"conv_dx(%0, %1) {stride = [1, 1], pad_low = [1, 1], pad_high = [1, 1], dilation = [1, 1], groups = 1, size = [H, H]} : f32[B, 3, H, H]",
     "conv_dx: output channel sizes differ: 3 and 16 in f32[B, 3, H, H] and f32[16, 3, 3, 3]"},
    {"conv_dw(%0, %0) {stride = [2, 1], pad_low = [1, 1], pad_high = [1, 1], dilation = [1, 1], groups = 1, size = [3, 3]} : f32[3, 3, 3, 3]",
     "conv_dw: spatial dimension 0 of f32[B, 3, H, H] should be (H + 1)//2"},
    {"window_max(%0) {window = [2, 2], stride = [2, 2]} : f32[B, 3, H//2, H//2]",
     "window_max: window of 2 does not fit axis 2 of extent H: needs H >= 2\nhint: add `require H >= 2`"},
    {"window_max(%3) {window = [2, 2, 2], stride = [1, 1, 1]} : f32[1]", "window_max: a window of 3 axes over f32[2, 3]"},
    {"window_max(%17) {window = [65536, 65536], stride = [1, 1]} : f32[1]", "window_max: the window has too many places"},
    {"window_gather(%3, %11) {window = [2], stride = [1]} : f32[2, 2]",
     "window_gather: the index must be i32[2, 2], got i32[6]"},
    {"window_scatter(%3, %11) {window = [2], stride = [2], size = [4]} : f32[2, 4]",
     "window_scatter: dimension 1 of f32[2, 3] should be 2"},
    {"linear_scan(%2, %2, %15) {axis = 1, reverse = false, flush = false} : f32[B, L]", ""},
    {"linear_scan(%2, %2, %15) {axis = 0, reverse = false, flush = false} : f32[B, L]",
     "linear_scan: the initial state must be f32[L], got f32[B]"},
    {"linear_scan(%2, %3, %15) {axis = 0, reverse = false, flush = false} : f32[B, L]",
     "linear_scan: shapes differ: f32[B, L] and f32[2, 3]"},
    {"top_k(%3) {k = 4} : f32[2, 4], i32[2, 4]", "top_k: k = 4 is more than the last axis of f32[2, 3] has"},
    {"top_k(%12) {k = 1} : f32[1], i32[1]", "top_k: needs at least one dimension"},
    {"top_k(%3) {k = 0} : f32[2, 0], i32[2, 0]", "top_k: 'k' must be at least 1, got 0"},
    {"route(%4) {num = 4} : i32[2], i32[2], i32[5]", "route: needs i32 of rank 2, got i32[B]"},
    {"route(%14) {num = 0} : i32[2], i32[2], i32[5]", "route: 'num' must be at least 1, got 0"},
    {"update(%3, %3) : f32[2, 3]", "update: a parameter of role plain cannot be updated"},
};

static void refusals(void **state) {
  (void)state;
  int bad = 0;
  for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
    const char *node = refused[i].node, *colon = strstr(node, " : ");
    const char *text = dhc_arena_printf(&b.arena, "%s  %%20 = %.*s", signature, (int)(colon - node), node);
    if (!*refused[i].message) text = dhc_arena_printf(&b.arena, "%s  %%20 = %s\n}\n", signature, node);
    bench_parse(&b, text);
    if (strcmp(bench_messages(&b), refused[i].message) != 0) {
      print_error("%s\n  wanted: %s\n  got:    %s\n", node, refused[i].message, bench_messages(&b));
      bad++;
    }
    bench_clear(&b);
  }
  assert_int_equal(bad, 0);
}

/* ---- facts --------------------------------------------------------------------------------- */

static void facts_decide(void **state) {
  (void)state;
  assert_non_null(bench_parse(&b,
      "func @pool<B, H>(%0: f32[B, 3, H, H] plain) -> (%1) unit require H >= 4 {\n"
      "  %1, %2 = window_max(%0) {window = [2, 2], stride = [2, 2]} : f32[B, 3, H//2, H//2], i32[B, 3, H//2, H//2]\n"
      "}\n"
      "func @f<B, W>(%0: f32[B, 3, W, W] input \"x\") -> (%1) entry require W >= 5 {\n"
      "  %1 = call(%0) {callee = @pool, dims = [B, W]} : f32[B, 3, W//2, W//2]\n"
      "}\n"));
  assert_null(bench_parse(&b,
      "func @pool<B, H>(%0: f32[B, 3, H, H] plain) -> (%0) unit require H >= 4 {}\n"
      "func @f<B, W>(%0: f32[B, 3, W, W] input \"x\") -> (%1) entry require W >= 3 {\n"
      "  %1 = call(%0) {callee = @pool, dims = [B, W]} : f32[B, 3, W, W]\n"
      "}\n"));
  assert_string_equal(bench_messages(&b),
                      "call: @pool requires H >= 4: needs W >= 4\nhint: add `require W >= 4`");
}

/* ---- calls ------------------------------------------------------------------------------------ */

static const char callee[] =
    "func @g<N, M>(%0: f32[N, 2*M] plain, %1: f32[M] plain) -> (%0, %1) body {}\n"
    "func @f<B, L>(%0: f32[B, 2*L] plain, %1: f32[L] plain, %2: f32[7, B, 2*L] plain) -> () unit {\n";

static void calls(void **state) {
  (void)state;
  static const char *const row[][2] = {
      {"%3, %4 = call(%0, %1) {callee = @g, dims = [B, L]} : f32[B, 2*L], f32[L]\n}", ""},
      {"%3, %4 = call(%0, %1) {callee = @g, dims = [B]}", "call: @g has 2 symbols, 'dims' has 1"},
      {"%3, %4 = call(%0) {callee = @g, dims = [B, L]}", "call: @g has 2 parameters, 1 are needed"},
      {"%3, %4 = call(%0, %1) {callee = @g, dims = [B, B]}", "call: parameter 0 of @g is f32[B, 2*B], got f32[B, 2*L]"},
      {"%3, %4 = call(%0, %1) {callee = @g, dims = [B, L - 1]}",
       "call: symbol M of @g is bound to L - 1, which must be at least 1: needs L >= 2\nhint: add `require L >= 2`"},
      {"%3, %4 = scan(%0, %1) {body = @g, dims = [B, L], n_carry = 2, n_xs = 0, axis = 0, length = 7, reverse = false} : f32[B, 2*L], f32[L]\n}", ""},
      {"%3, %4 = scan(%0, %1) {body = @g, dims = [B, L], n_carry = 3, n_xs = 0, axis = 0, length = 7, reverse = false}",
       "scan: 3 carries and 0 sequences do not fit 2 operands"},
      {"%3, %4 = scan(%2, %1) {body = @g, dims = [B, L], n_carry = 0, n_xs = 1, axis = 0, length = 6, reverse = false}",
       "scan: axis 0 of f32[7, B, 2*L] should be the length 6"},
      {"%3, %4 = scan(%2, %1) {body = @g, dims = [B, L], n_carry = 0, n_xs = 1, axis = 3, length = 7, reverse = false}",
       "scan: axis 3 is outside 0..2"},
      {"%3, %4 = scan(%1, %0) {body = @g, dims = [B, L], n_carry = 2, n_xs = 0, axis = 0, length = 7, reverse = false}",
       "scan: parameter 0 of @g is f32[B, 2*L], got f32[L]"},
      {"%3, %4 = scan(%0, %1) {body = @g, dims = [B, L], n_carry = 2, n_xs = 0, axis = 0, length = 0 - 1, reverse = false}",
       "scan: length -1 is negative"},
      {"%3 = call(%0, %1) {callee = @h, dims = []}", "function @h is not defined above"},
  };
  for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
    bench_parse(&b, dhc_arena_printf(&b.arena, "%s%s", callee, row[i][0]));
    assert_string_equal(bench_messages(&b), row[i][1]);
    bench_clear(&b);
  }
}

static void binds_callees(void **state) {
  (void)state;
  DhcModule *m = bench_parse(&b, dhc_arena_printf(&b.arena, "%s}\n", callee));
  DhcFunc *g = dhc_module_func(m, "g"), *f = dhc_module_func(m, "f");
  DhcBuilder build = {.f = f};
  DhcNode *n = dhc_b_call(&build, DHC_OP_CALL, g, f->params.at, 2);
  assert_non_null(n);
  assert_string_equal(bench_dim_text(&b, dhc_attr(n, "dims")->dims.at[1]), "L");
  assert_int_equal(n->n_results, 2);
  assert_null(dhc_b_call(&build, DHC_OP_CALL, g, f->params.at, 1));
  assert_string_equal(bench_messages(&b), "call: @g has 2 parameters, 1 are needed");
  bench_clear(&b);
  DHC_PUSH(&b.arena, &g->symbols, "Q");
  assert_null(dhc_b_call(&build, DHC_OP_CALL, g, f->params.at, 2));
  assert_string_equal(bench_messages(&b), "call: symbol Q of @g cannot be told from the arguments");
}

/* ---- shorthands --------------------------------------------------------------------------------- */

static void shorthands(void **state) {
  (void)state;
  DhcModule *m = bench_parse(&b,
      "func @f<B, L>(%0: f32[B, 1, 4] plain, %1: f32[L, 1] plain, %2: f32[3] plain, %3: f64[] plain, %4: bool[] plain)"
      " -> () unit {}\n");
  DhcFunc *f = dhc_module_func(m, "f");
  DhcValue **p = f->params.at;
  DhcBuilder build = {.f = f, .origin = "layer"};
  DhcValue *sum = dhc_b_binary(&build, DHC_OP_ADD, p[0], p[1]);
  DhcText t = {.arena = &b.arena};
  dhc_type_print(&sum->type, &t);
  assert_string_equal(dhc_text_str(&t), "f32[B, L, 4]");
  assert_string_equal(sum->def->origin, "layer");
  assert_null(dhc_b_binary(&build, DHC_OP_ADD, p[0], p[2]));
  assert_null(dhc_b_binary(&build, DHC_OP_MUL, p[2], p[3]));
  assert_null(dhc_b_select(&build, p[4], p[0], p[2]));
  assert_string_equal(bench_messages(&b),
      "add: shapes differ: f32[B, 1, 4] and f32[3]; only a known 1 broadcasts\n"
      "mul: dtypes differ: f32[3] and f64[]\n"
      "select: shapes differ: bool[], f32[B, 1, 4] and f32[3]; only a known 1 broadcasts");
  bench_clear(&b);
  assert_null(dhc_b_unary(&build, DHC_OP_EXP, NULL)); /* no second message */
  assert_null(dhc_b_binary(&build, DHC_OP_ADD, NULL, p[0]));
  assert_string_equal(bench_messages(&b), "");
  assert_ptr_equal(dhc_b_cast(&build, p[0], DHC_F32), p[0]);
  assert_ptr_equal(dhc_b_reshape(&build, p[2], p[2]->type.dim, 1), p[2]);
  const int64_t axes[] = {2, 0};
  DhcValue *r = dhc_b_reduce(&build, DHC_OP_REDUCE_SUM, p[0], axes, 2, false);
  assert_int_equal(dhc_attr(r->def, "axes")->ints.at[0], 0);
  assert_int_equal(r->type.rank, 1);
  build.before = sum->def; /* inserted ahead */
  DhcValue *c = dhc_b_scalar(&build, DHC_F32, 0.5);
  assert_ptr_equal(c->def->next, sum->def);
}

/* What only a program can ask for. */
static void misuse(void **state) {
  (void)state;
  DhcFunc *f = dhc_func_new(b.m, "f", DHC_FUNC_UNIT, (DhcSpan){0}), *g = dhc_func_new(b.m, "g", DHC_FUNC_UNIT, (DhcSpan){0});
  DhcType t = {.dtype = DHC_F32};
  DhcValue *x = dhc_func_param(f, &t, (DhcParamInfo){.decl = -1}, (DhcSpan){0});
  DhcValue *y = dhc_func_param(g, &t, (DhcParamInfo){.decl = -1}, (DhcSpan){0});
  for (int i = 0; i <= DHC_MAX_RESULTS; i++) dhc_func_result(g, y, NULL);
  DhcBuilder build = {.f = f};
  assert_null(dhc_build(&build, DHC_OP_PARAM, NULL, 0, NULL, 0));
  assert_null(dhc_build1(&build, DHC_OP_RESHAPE, &x, 1, (DhcAttr[]){dhc_attr_int(1)}, 1));
  assert_null(dhc_b_call(&build, DHC_OP_CALL, g, &x, 1));
  assert_string_equal(bench_messages(&b),
      "param: cannot be built like this\n"
      "reshape: attribute 'shape' must be dims\n"
      "call: more than 512 results");
}

static void node_limit(void **state) {
  (void)state;
  DhcFunc *f = dhc_func_new(b.m, "f", DHC_FUNC_UNIT, (DhcSpan){0});
  DhcType t = {.dtype = DHC_F32};
  DhcValue *x = dhc_func_param(f, &t, (DhcParamInfo){.decl = -1}, (DhcSpan){0});
  DhcBuilder build = {.f = f};
  for (int i = 1; i < DHC_MAX_NODES; i++) assert_non_null(x = dhc_b_unary(&build, DHC_OP_NEG, x));
  assert_null(dhc_b_unary(&build, DHC_OP_NEG, x));
  assert_string_equal(bench_messages(&b), "function @f has more than 100000 nodes");
}

int main(void) {
  const struct CMUnitTest tests[] = {
#define T(f) BENCH_TEST(f)
      T(refusals), T(facts_decide), T(calls), T(binds_callees), T(shorthands), T(misuse), T(node_limit),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
