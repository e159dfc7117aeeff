/* Many elements at once are what they are one at a time, and functions of the index in pieces what the
 * interpreter makes of them whole: bit for bit. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "tests/ir/support.h"

#include "ir/interp.h"

BENCH_OF_FILE

enum { N = 67 }; /* no multiple of a vector's lanes */

static const double special[] = {0.0, -0.0, 1, -1, 0.5, -2.5, 3e-310, -3e-310, 1e300, -1e300, INFINITY, -INFINITY, NAN};

static double value(int e, int k) {
  enum { M = sizeof special / sizeof *special };
  return k == 0 ? special[e % M] : k == 1 ? special[(e / M + 3 * e) % M] : 0.37 * e - 7;
}

static void same(const char *what, int e, DhcScalar got, DhcScalar want, bool is_float) {
  bool nans = is_float && isnan(got.f) && isnan(want.f); /* which NaN is not defined */
  if (!nans && got.i != want.i) fail_msg("%s, element %d: %.17g (%llx), alone %.17g (%llx)", what, e, got.f, (long long)got.i, want.f, (long long)want.i);
}

static bool takes_floats(DhcOp op) {
  return op != DHC_OP_CAST && op != DHC_OP_NOT && (op < DHC_OP_FLOORDIV || op > DHC_OP_SHR);
}

static void elementwise(void **state) {
  (void)state;
  for (int op = 0; op < DHC_N_OPS; op++) {
    const DhcOpInfo *info = dhc_op_info((DhcOp)op);
    if (info->cls != DHC_CLASS_ELEMENTWISE || info->n_args < 1 || info->n_args > 3 || !takes_floats((DhcOp)op)) continue;
    double f[3][N], yf[N];
    int64_t cond[N], yi[N];
    DhcLane x[3];
    for (int k = 0; k < 3; k++) {
      for (int e = 0; e < N; e++) f[k][e] = value(e, k), cond[e] = e % 3 == 0;
      x[k] = (DhcLane){.f = f[k]};
    }
    if (op == DHC_OP_SELECT) x[0] = (DhcLane){.i = cond};
    memset(yf, 0, sizeof yf);
    memset(yi, 0, sizeof yi);
    dhc_eval_ew_many((DhcOp)op, DHC_F32, x, N, (DhcLaneOut){yf, yi});
    bool whole = op == DHC_OP_IS_FINITE || (op >= DHC_OP_EQ && op <= DHC_OP_GE);
    for (int e = 0; e < N; e++) {
      DhcScalar s[3] = {{.f = f[0][e]}, {.f = f[1][e]}, {.f = f[2][e]}}, got = {.i = yi[e]};
      if (op == DHC_OP_SELECT) s[0].i = cond[e];
      if (!whole) got.f = yf[e];
      same(info->name, e, got, dhc_eval_ew((DhcOp)op, DHC_F32, s), !whole);
    }
  }
}

static void random_bits(void **state) {
  (void)state;
  static const int64_t first[] = {0, 1, 4294967290, INT64_C(1) << 40};
  for (int k = 0; k < 4; k++) {
    int64_t y[N];
    dhc_eval_random_many(123456789, 987654321, k == 3 ? INT64_C(5) << 33 : k, first[k], N, y);
    for (int e = 0; e < N; e++)
      same("random_bits", e, (DhcScalar){.i = y[e]},
           (DhcScalar){.i = dhc_eval_random(123456789, 987654321, k == 3 ? INT64_C(5) << 33 : k, first[k] + e)}, false);
  }
}

/* f as a whole and in pieces; false: it is not of the kind. */
static bool in_pieces(const char *text) {
  DhcModule *m = bench_parse(&b, text);
  if (!m) fail_msg("%s", bench_messages(&b));
  DhcFunc *f = m->funcs.at[0];
  DhcArray *result, *args[3];
  for (int i = 0; i < f->params.n; i++) {
    args[i] = dhc_array_new(&b.arena, f->params.at[i]->type.dtype, 0, NULL);
    if (args[i]->f) args[i]->f[0] = 0.75;
    else args[i]->i[0] = 42;
  }
  DhcPieces *p;
  assert_true(dhc_pieces_make(&b.arena, &b.diags, f, (const DhcArray *const *)args, &p));
  if (!p) return false;
  assert_true(dhc_interp_run(&b.arena, &b.diags, f, (const DhcArray *const *)args, &result, NULL));
  void *room = (void *)(((uintptr_t)dhc_arena_alloc(&b.arena, dhc_pieces_room(p) + 64) + 63) / 64 * 64);
  for (int64_t first = 0; first < result->n; first += DHC_PIECE) {
    DhcLane x = dhc_pieces_eval(p, first, room);
    for (int64_t e = 0; e < DHC_PIECE && first + e < result->n; e++) {
      DhcScalar got, want;
      if (x.f) got.f = x.f[e], want.f = result->f[first + e];
      else got.i = x.i[e], want.i = result->i[first + e];
      same(f->name, (int)(first + e), got, want, x.f != NULL);
    }
  }
  return true;
}

static const char normal[] =
    "func @normal(%0: i64[] plain, %1: i64[] plain, %2: f32[] plain) -> (%15) init {\n"
    "  %3 = random_bits(%0, %1, %0) {shape = [33, 41]} : u32[33, 41]\n"
    "  %4 = cast(%3) {dtype = f32} : f32[33, 41]\n"
    "  %5 = fill() {value = 0x1p-33, dtype = f32, shape = [33, 41]} : f32[33, 41]\n"
    "  %6 = mul(%4, %5) : f32[33, 41]\n"
    "  %7 = exp(%2) : f32[]\n"
    "  %8 = broadcast(%7) {shape = [33, 41]} : f32[33, 41]\n"
    "  %9 = add(%6, %8) : f32[33, 41]\n"
    "  %10 = log(%9) : f32[33, 41]\n"
    "  %11 = cos(%10) : f32[33, 41]\n"
    "  %12 = lt(%11, %5) : bool[33, 41]\n"
    "  %13 = select(%12, %10, %11) : f32[33, 41]\n"
    "  %14 = reshape(%13) {shape = [41, 33]} : f32[41, 33]\n"
    "  %15 = sqrt(%14) : f32[41, 33]\n"
    "}\n";
static const char counted[] =
    "func @counted() -> (%2) init {\n"
    "  %0 = iota() {axis = 1, dtype = i64, shape = [7, 100, 3]} : i64[7, 100, 3]\n"
    "  %1 = fill() {value = 0x1.8p1, dtype = i64, shape = [7, 100, 3]} : i64[7, 100, 3]\n"
    "  %2 = mul(%0, %1) : i64[7, 100, 3]\n"
    "}\n";
static const char mixed[] =
    "func @mixed(%0: f32[] plain) -> (%2) init {\n"
    "  %1 = broadcast(%0) {shape = [40, 40]} : f32[40, 40]\n"
    "  %2 = dot_general(%1, %1) {batch_a = [], batch_b = [], contract_a = [1], contract_b = [0]} : f32[40, 40]\n"
    "}\n";

static void pieces(void **state) {
  (void)state;
  assert_true(in_pieces(normal));
  assert_true(in_pieces(counted));
  assert_false(in_pieces(mixed)); /* an element is made of many */
}

int main(void) {
  const struct CMUnitTest tests[] = {
      BENCH_TEST(elementwise),
      BENCH_TEST(random_bits),
      BENCH_TEST(pieces),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
