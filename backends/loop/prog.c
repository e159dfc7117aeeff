/* Dim programs as small expressions (include/dhc/abi.h), and as values of a program. */
#include "backends/loop/loop.h"

dhc_dimprog dhc_prog_const(DhcArena *a, int64_t v) {
  int64_t code[2] = {DHC_DIM_CONST, v};
  return (dhc_dimprog){dhc_arena_dup(a, code, sizeof code), 2};
}

dhc_dimprog dhc_prog_dim(DhcArena *a, int i) {
  int64_t code[2] = {DHC_DIM_SYM, i};
  return (dhc_dimprog){dhc_arena_dup(a, code, sizeof code), 2};
}

static int64_t floordiv(int64_t x, int64_t y) {
  int64_t q = x / y;
  return q - ((x % y != 0) && ((x < 0) != (y < 0)));
}

static int64_t apply(int op, int64_t x, int64_t y) {
  switch (op) {
  case DHC_DIM_ADD: return x + y;
  case DHC_DIM_SUB: return x - y;
  case DHC_DIM_MUL: return x * y;
  case DHC_DIM_FLOORDIV: return floordiv(x, y);
  case DHC_DIM_CEILDIV: return -floordiv(-x, y);
  case DHC_DIM_MIN: return x < y ? x : y;
  case DHC_DIM_MAX: return x > y ? x : y;
  case DHC_DIM_LE: return x <= y;
  case DHC_DIM_AND: return x && y;
  default: DHC_BUG("dim op %d", op);
  }
}

static bool is_const(dhc_dimprog p) { return p.n_code == 2 && p.code[0] == DHC_DIM_CONST; }

dhc_dimprog dhc_prog_op(DhcArena *a, int op, dhc_dimprog x, dhc_dimprog y) {
  if (is_const(x) && is_const(y)) return dhc_prog_const(a, apply(op, x.code[1], y.code[1]));
  if (op == DHC_DIM_MUL && is_const(x) && x.code[1] == 1) return y;
  if (op == DHC_DIM_MUL && is_const(y) && y.code[1] == 1) return x;
  int n = x.n_code + y.n_code + 1;
  int64_t *code = DHC_NEW_N(a, int64_t, n);
  memcpy(code, x.code, sizeof *code * (size_t)x.n_code);
  memcpy(code + x.n_code, y.code, sizeof *code * (size_t)y.n_code);
  code[n - 1] = op;
  return (dhc_dimprog){code, n};
}

DhcLv dhc_lp_prog(DhcLp *b, dhc_dimprog p) {
  DhcLv stack[64];
  int n = 0;
  for (int pc = 0; pc < p.n_code; pc++) {
    int op = (int)p.code[pc];
    if (op == DHC_DIM_CONST || op == DHC_DIM_SYM) {
      if (n == 64) DHC_BUG("dim program too deep");
      int64_t v = p.code[++pc];
      stack[n++] = op == DHC_DIM_CONST ? dhc_lp_i64(b, v) : dhc_lp_dim(b, (int)v);
      continue;
    }
    if (n < 2) DHC_BUG("dim program underflows");
    DhcLv y = stack[--n], x = stack[n - 1];
    DhcLv one = dhc_lp_i64(b, 1), zero = dhc_lp_i64(b, 0);
    switch (op) {
    case DHC_DIM_ADD: x = dhc_lp_add(b, x, y); break;
    case DHC_DIM_SUB: x = dhc_lp_sub(b, x, y); break;
    case DHC_DIM_MUL: x = dhc_lp_mul(b, x, y); break;
    /* task counts and sizes: operands are never negative */
    case DHC_DIM_FLOORDIV: x = dhc_lp_udiv(b, x, y); break;
    case DHC_DIM_CEILDIV: x = dhc_lp_udiv(b, dhc_lp_add(b, x, dhc_lp_sub(b, y, one)), y); break;
    case DHC_DIM_MIN: x = dhc_lp_min(b, x, y); break;
    case DHC_DIM_MAX: x = dhc_lp_max(b, x, y); break;
    case DHC_DIM_LE: x = dhc_lp_select(b, dhc_lp_le(b, x, y), one, zero); break;
    case DHC_DIM_AND: x = dhc_lp_mul(b, x, y); break;
    default: DHC_BUG("dim op %d", op);
    }
    stack[n - 1] = x;
  }
  if (n != 1) DHC_BUG("dim program leaves %d values", n);
  return stack[0];
}
