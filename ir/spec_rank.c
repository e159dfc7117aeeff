/* Specs that count what comes before each element of a row: ranks, from which a sort and many choices are made. */
#include "ir/spec.h"

#include <math.h>

static const DhcSpecNode *at(const DhcSpec *s, int n) { return &s->node[n]; }
static bool is_ew(const DhcSpec *s, int n, DhcOp op) { return n >= 0 && at(s, n)->kind == DHC_SN_EW && at(s, n)->op == op; }
static bool is_test(const DhcSpec *s, int n, int x) { return is_ew(s, n, DHC_OP_NE) && at(s, n)->a[0] == x && at(s, n)->a[1] == x; }
static bool is_large(const DhcSpec *s, int n) { return at(s, n)->kind == DHC_SN_CONST && at(s, n)->dtype == DHC_I32 && at(s, n)->i >= 1 << 30; }

/* The axis whose number n is, as an i32; else -1. */
static int numbers(const DhcSpec *s, int n) {
  if (!is_ew(s, n, DHC_OP_CAST) || at(s, n)->dtype != DHC_I32) return -1;
  const DhcSpecNode *d = at(s, at(s, n)->a[0]);
  return d->kind == DHC_SN_AXIS ? d->operand : -1;
}

/* x where n is x, infinity where that is none; else -1. */
static int without_nan(const DhcSpec *s, int n) {
  if (!is_ew(s, n, DHC_OP_SELECT)) return -1;
  const DhcSpecNode *d = at(s, n), *c = at(s, d->a[1]);
  bool inf = c->kind == DHC_SN_CONST && isinf(c->f) && c->f > 0;
  return inf && at(s, d->a[2])->dtype == DHC_F32 && is_test(s, d->a[0], d->a[2]) ? d->a[2] : -1;
}

/* The axis whose number n is where x is a number and behind all others where it is none, or (falling) the other way round; else -1. */
static int number_of(const DhcSpec *s, int n, int x, bool falling) {
  int axis = -1;
  if (falling && is_ew(s, n, DHC_OP_SELECT) && is_test(s, at(s, n)->a[0], x)) {
    int far = at(s, n)->a[2];
    axis = numbers(s, at(s, n)->a[1]);
    for (int k = 0; k < 2 && is_ew(s, far, DHC_OP_ADD); k++)
      if (axis >= 0 && numbers(s, at(s, far)->a[k]) == axis && is_large(s, at(s, far)->a[1 - k])) return axis;
  }
  for (int k = 0; !falling && k < 2 && is_ew(s, n, DHC_OP_ADD); k++) {
    const DhcSpecNode *m = at(s, at(s, n)->a[1 - k]);
    axis = numbers(s, at(s, n)->a[k]);
    for (int i = 0; axis >= 0 && i < 2 && m->kind == DHC_SN_EW && m->op == DHC_OP_MUL; i++)
      if (is_large(s, m->a[i]) && is_ew(s, m->a[1 - i], DHC_OP_CAST) && is_test(s, at(s, m->a[1 - i])->a[0], x)) return axis;
  }
  return -1;
}

static bool before(const DhcSpec *s, int n, int other, DhcSpecRanks *r) {
  const DhcSpecNode *less = at(s, at(s, n)->a[other]), *tie = at(s, at(s, n)->a[1 - other]);
  if (less->kind != DHC_SN_EW || (less->op != DHC_OP_LT && less->op != DHC_OP_GT) || tie->kind != DHC_SN_EW || tie->op != DHC_OP_AND) return false;
  int low = less->a[less->op == DHC_OP_GT], high = less->a[less->op == DHC_OP_LT];
  for (int k = 0; k < 2; k++) {
    const DhcSpecNode *same = at(s, tie->a[k]), *order = at(s, tie->a[1 - k]);
    if (same->kind != DHC_SN_EW || same->op != DHC_OP_EQ || order->kind != DHC_SN_EW || (order->op != DHC_OP_LT && order->op != DHC_OP_GT)) continue;
    if (!(same->a[0] == low && same->a[1] == high) && !(same->a[0] == high && same->a[1] == low)) continue;
    int first = order->a[order->op == DHC_OP_GT], second = order->a[order->op == DHC_OP_LT];
    for (int falling = 0; falling < 2; falling++) {
      int x = without_nan(s, falling ? high : low), y = without_nan(s, falling ? low : high);
      if (x < 0 || y < 0 || number_of(s, first, x, falling) != r->other || (r->mine = number_of(s, second, y, falling)) < 0) continue;
      uint32_t a = dhc_spec_varies(s, x), b = dhc_spec_varies(s, y);
      r->x = x, r->y = y, r->falling = falling;
      return r->mine != r->other && (a >> r->other & 1) && !(a >> r->mine & 1) && (b >> r->mine & 1) && !(b >> r->other & 1);
    }
  }
  return false;
}

bool dhc_spec_ranks(const DhcSpec *s, DhcSpecRanks *r) {
  uint32_t red = dhc_spec_axes(s, DHC_AXIS_RED);
  int folds = 0;
  if (s->kind != DHC_KIND_ROW || !red || red & (red - 1) || dhc_spec_axes(s, DHC_AXIS_SEQ)) return false;
  r->other = __builtin_ctz(red);
  for (int n = 0; n < s->n_nodes; n++)
    if (at(s, n)->kind == DHC_SN_FOLD) folds++, r->fold = n;
    else if (at(s, n)->kind == DHC_SN_RANDOM) return false;
  const DhcSpecNode *f = folds == 1 ? at(s, r->fold) : NULL;
  if (!f || f->op != DHC_OP_REDUCE_SUM || f->dtype != DHC_I32 || !is_ew(s, f->a[0], DHC_OP_CAST)) return false;
  int n = at(s, f->a[0])->a[0];
  if (!is_ew(s, n, DHC_OP_OR) || (!before(s, n, 0, r) && !before(s, n, 1, r)) || s->axis[r->mine].role != DHC_AXIS_PAR) return false;
  for (int o = dhc_spec_n_inputs(s); o < s->n_operands; o++) /* what lies elsewhere than its ranks is others' business */
    if (dhc_spec_unit_axis(&s->operand[o]) != r->mine || dhc_spec_varies(s, s->operand[o].stored) & red) return false;
  return true;
}
