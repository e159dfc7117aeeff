/* Integer expressions of an object: dim programs as a graph in which equal values are one, constants are
 * folded, and what every value can be is known. */
#include "backends/object/object.h"

/* ---- ranges -------------------------------------------------------------------------------- */

typedef struct Range {
  int64_t lo, hi;
  bool leaves; /* some operands within their ranges give no int64 */
} Range;

static int64_t low(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t high(int64_t a, int64_t b) { return a > b ? a : b; }

/* Floor or ceiling of a / b, b > 0. */
static int64_t divided(int64_t a, int64_t b, bool up) {
  int64_t q = a / b, rest = a % b;
  return q + (rest > 0 && up) - (rest < 0 && !up);
}

/* Ends of op over the four corners: each op here is monotonic in each operand on either side. */
static Range corners(int op, const DhcObjX *a, const DhcObjX *b) {
  Range r = {INT64_MAX, INT64_MIN, false};
  for (int k = 0; k < 4; k++) {
    int64_t x = k & 1 ? a->hi : a->lo, y = k & 2 ? b->hi : b->lo, v = 0;
    bool out = op == DHC_DIM_ADD   ? __builtin_add_overflow(x, y, &v)
               : op == DHC_DIM_SUB ? __builtin_sub_overflow(x, y, &v)
                                   : __builtin_mul_overflow(x, y, &v);
    r.leaves = r.leaves || out;
    r.lo = low(r.lo, v);
    r.hi = high(r.hi, v);
  }
  return r.leaves ? (Range){INT64_MIN, INT64_MAX, true} : r;
}

static Range quotient(const DhcObjX *a, const DhcObjX *b, bool up) {
  if (b->lo < 1) return (Range){INT64_MIN, INT64_MAX, true};
  Range r = {INT64_MAX, INT64_MIN, false};
  for (int k = 0; k < 4; k++) {
    int64_t v = divided(k & 1 ? a->hi : a->lo, k & 2 ? b->hi : b->lo, up);
    r.lo = low(r.lo, v);
    r.hi = high(r.hi, v);
  }
  return r;
}

static Range range_of(int op, const DhcObjX *a, const DhcObjX *b) {
  switch (op) {
  case DHC_DIM_FLOORDIV: return quotient(a, b, false);
  case DHC_DIM_CEILDIV: return quotient(a, b, true);
  case DHC_DIM_MIN: return (Range){low(a->lo, b->lo), low(a->hi, b->hi), false};
  case DHC_DIM_MAX: return (Range){high(a->lo, b->lo), high(a->hi, b->hi), false};
  case DHC_DIM_LE: return (Range){a->hi <= b->lo, a->lo <= b->hi, false};
  case DHC_DIM_AND: return (Range){0, 1, false};
  default: return corners(op, a, b);
  }
}

/* ---- nodes ------------------------------------------------------------------------------------ */

static const DhcObjX *node(DhcObjEntry *e, DhcArena *arena, DhcObjX want) {
  for (int i = 0; i < e->x.n; i++) {
    const DhcObjX *x = e->x.at[i];
    if (x->op == want.op && x->a == want.a && x->b == want.b && x->c == want.c && x->value == want.value) return x;
  }
  DhcObjX *x = DHC_NEW(arena, DhcObjX);
  *x = want;
  x->id = e->x.n;
  DHC_PUSH(arena, &e->x, x);
  return x;
}

const DhcObjX *dhc_obj_const(DhcObjEntry *e, DhcArena *a, int64_t v) {
  return node(e, a, (DhcObjX){.op = DHC_DIM_CONST, .value = v, .lo = v, .hi = v});
}

const DhcObjX *dhc_obj_symbol(DhcObjEntry *e, DhcArena *a, int i) {
  if (e->bound[i]) return dhc_obj_const(e, a, e->bound[i]);
  return node(e, a, (DhcObjX){.op = DHC_DIM_SYM, .value = i, .lo = 1, .hi = DHC_OBJ_MAX_DIM});
}

static bool is_zero_of(int op, const DhcObjX *x, const DhcObjX *y) {
  return op == DHC_DIM_MUL && (dhc_obj_is(x, 0) || dhc_obj_is(y, 0));
}

/* An operand that is the result; NULL: none is. */
static const DhcObjX *identity(int op, const DhcObjX *x, const DhcObjX *y) {
  if ((op == DHC_DIM_ADD || op == DHC_DIM_SUB) && dhc_obj_is(y, 0)) return x;
  if (op == DHC_DIM_ADD && dhc_obj_is(x, 0)) return y;
  if ((op == DHC_DIM_MUL || op == DHC_DIM_FLOORDIV || op == DHC_DIM_CEILDIV) && dhc_obj_is(y, 1)) return x;
  if (op == DHC_DIM_MUL && dhc_obj_is(x, 1)) return y;
  if ((op == DHC_DIM_MIN || op == DHC_DIM_MAX) && x == y) return x;
  if (op == DHC_DIM_MIN && x->hi <= y->lo) return x;
  if (op == DHC_DIM_MIN && y->hi <= x->lo) return y;
  if (op == DHC_DIM_MAX && x->lo >= y->hi) return x;
  if (op == DHC_DIM_MAX && y->lo >= x->hi) return y;
  return NULL;
}

const DhcObjX *dhc_obj_op(DhcObjEntry *e, DhcArena *a, int op, const DhcObjX *x, const DhcObjX *y) {
  const DhcObjX *same = identity(op, x, y);
  if (same) return same;
  if (is_zero_of(op, x, y)) return dhc_obj_const(e, a, 0);
  if (op == DHC_DIM_AND) {
    bool never = (x->lo == 0 && x->hi == 0) || (y->lo == 0 && y->hi == 0);
    bool both = (x->lo > 0 || x->hi < 0) && (y->lo > 0 || y->hi < 0);
    if (never || both) return dhc_obj_const(e, a, both);
  }
  Range r = range_of(op, x, y);
  if (r.lo == r.hi && !r.leaves) return dhc_obj_const(e, a, r.lo);
  return node(e, a, (DhcObjX){.op = op, .a = x, .b = y, .lo = r.lo, .hi = r.hi, .checked = r.leaves});
}

const DhcObjX *dhc_obj_select(DhcObjEntry *e, DhcArena *a, const DhcObjX *c, const DhcObjX *x, const DhcObjX *y) {
  if (x == y) return x;
  if (c->op == DHC_DIM_CONST) return c->value ? x : y;
  return node(e, a, (DhcObjX){.op = DHC_OBJ_SELECT, .a = x, .b = y, .c = c, .lo = low(x->lo, y->lo), .hi = high(x->hi, y->hi)});
}

const DhcObjX *dhc_obj_max(DhcObjEntry *e, DhcArena *a, const DhcObjX *x, const DhcObjX *y) {
  return dhc_obj_op(e, a, DHC_DIM_MAX, x, y);
}

const DhcObjX *dhc_obj_align64(DhcObjEntry *e, DhcArena *a, const DhcObjX *x) {
  const DhcObjX *c64 = dhc_obj_const(e, a, 64);
  return dhc_obj_op(e, a, DHC_DIM_MUL, dhc_obj_op(e, a, DHC_DIM_CEILDIV, x, c64), c64);
}

const DhcObjX *dhc_obj_prog(DhcObjEntry *e, DhcArena *a, dhc_dimprog p, const DhcObjX *const *env, int n_env, int64_t absent) {
  enum { MAX_STACK = 64 };
  const DhcObjX *stack[MAX_STACK];
  int depth = 0;
  if (p.n_code == 0) return dhc_obj_const(e, a, absent);
  for (int32_t pc = 0; pc < p.n_code; pc++) {
    int64_t op = p.code[pc];
    if (op == DHC_DIM_CONST || op == DHC_DIM_SYM) {
      if (++pc >= p.n_code || depth == MAX_STACK) return NULL;
      int64_t word = p.code[pc];
      if (op == DHC_DIM_SYM && (word < 0 || word >= n_env)) return NULL;
      stack[depth++] = op == DHC_DIM_SYM ? env[word] : dhc_obj_const(e, a, word);
      continue;
    }
    if (depth < 2 || op > DHC_DIM_AND) return NULL;
    depth--;
    stack[depth - 1] = dhc_obj_op(e, a, (int)op, stack[depth - 1], stack[depth]);
  }
  return depth == 1 ? stack[0] : NULL;
}
