#include <limits.h>

#include "runtime/plan.h"

enum { MAX_STACK = 64 };

/* a // b rounded down, and up if `up`; false for b = 0 and INT64_MIN / -1. */
static bool divide(int64_t a, int64_t b, bool up, int64_t *out) {
  if (b == 0 || (a == INT64_MIN && b == -1)) {
    return false;
  }
  int64_t q = a / b;
  if (a % b != 0) {
    bool negative = (a < 0) != (b < 0);
    if (negative && !up) {
      q--;
    } else if (!negative && up) {
      q++;
    }
  }
  *out = q;
  return true;
}

static bool apply(int64_t op, int64_t a, int64_t b, int64_t *out) {
  switch (op) {
  case DHC_DIM_ADD: return !__builtin_add_overflow(a, b, out);
  case DHC_DIM_SUB: return !__builtin_sub_overflow(a, b, out);
  case DHC_DIM_MUL: return !__builtin_mul_overflow(a, b, out);
  case DHC_DIM_FLOORDIV: return divide(a, b, false, out);
  case DHC_DIM_CEILDIV: return divide(a, b, true, out);
  case DHC_DIM_MIN: *out = a < b ? a : b; return true;
  case DHC_DIM_MAX: *out = a > b ? a : b; return true;
  case DHC_DIM_LE: *out = a <= b; return true;
  case DHC_DIM_AND: *out = a != 0 && b != 0; return true;
  default: return false;
  }
}

bool dhc_dimprog_eval(dhc_dimprog prog, const int64_t *env, int32_t n_env, int64_t absent,
                      int64_t *out) {
  int64_t stack[MAX_STACK];
  int depth = 0;
  if (prog.n_code == 0) {
    *out = absent;
    return true;
  }
  for (int32_t pc = 0; pc < prog.n_code; pc++) {
    int64_t op = prog.code[pc];
    if (op == DHC_DIM_CONST || op == DHC_DIM_SYM) {
      if (++pc >= prog.n_code || depth == MAX_STACK) {
        return false;
      }
      int64_t word = prog.code[pc];
      if (op == DHC_DIM_SYM && (word < 0 || word >= n_env)) {
        return false;
      }
      stack[depth++] = op == DHC_DIM_SYM ? env[word] : word;
    } else {
      int64_t result = 0;
      if (depth < 2 || !apply(op, stack[depth - 2], stack[depth - 1], &result)) {
        return false;
      }
      depth--;
      stack[depth - 1] = result;
    }
  }
  if (depth != 1) {
    return false;
  }
  *out = stack[0];
  return true;
}
