#include "ir/range.h"

#include <math.h>

#include "ir/interp.h"
#include "ir/ops_rules.h"

/* Not inlined: gcc 12 at -O3 makes a vector of two such roundings side by side and loses both. */
__attribute__((noinline)) static double rounded(bool f32, double x) {
  return f32 ? (double)(float)x : x;
}

bool dhc_range_make(bool f32, double a, double b, DhcRange *out) {
  *out = (DhcRange){rounded(f32, fmin(a, b)), rounded(f32, fmax(a, b))};
  return isfinite(out->lo) && isfinite(out->hi) && out->lo <= out->hi;
}

DhcRange dhc_range_hull(DhcRange a, DhcRange b) {
  return (DhcRange){fmin(a.lo, b.lo), fmax(a.hi, b.hi)};
}

#define RULE(name) bool dhc_range_##name(const DhcNode *n, const DhcRange *x, bool f32, DhcRange *out)
#define UNUSED (void)n, (void)x, (void)f32, (void)out

RULE(negate) {
  UNUSED;
  return dhc_range_make(f32, -x[0].lo, -x[0].hi, out);
}

RULE(same) {
  UNUSED;
  *out = x[0];
  return true;
}

RULE(size) {
  UNUSED;
  double top = fmax(fabs(x[0].lo), fabs(x[0].hi));
  bool across = x[0].lo <= 0 && x[0].hi >= 0;
  return dhc_range_make(f32, across ? 0 : fmin(fabs(x[0].lo), fabs(x[0].hi)), top, out);
}

RULE(add) {
  UNUSED;
  return dhc_range_make(f32, x[0].lo + x[1].lo, x[0].hi + x[1].hi, out);
}

RULE(subtract) {
  UNUSED;
  return dhc_range_make(f32, x[0].lo - x[1].hi, x[0].hi - x[1].lo, out);
}

/* Least and largest of the four combinations of ends. */
static bool corners(bool f32, double w, double x, double y, double z, DhcRange *out) {
  if (isnan(w + x + y + z)) return false;
  return dhc_range_make(f32, fmin(fmin(w, x), fmin(y, z)), fmax(fmax(w, x), fmax(y, z)), out);
}

RULE(multiply) {
  UNUSED;
  if (n->args[0] == n->args[1]) { /* a square */
    double top = fmax(fabs(x[0].lo), fabs(x[0].hi));
    return dhc_range_make(f32, 0, top * top, out);
  }
  return corners(f32, x[0].lo * x[1].lo, x[0].lo * x[1].hi, x[0].hi * x[1].lo, x[0].hi * x[1].hi, out);
}

RULE(fma) {
  UNUSED;
  double w = x[0].lo * x[1].lo, a = x[0].lo * x[1].hi, b = x[0].hi * x[1].lo, c = x[0].hi * x[1].hi;
  return dhc_range_make(f32, fmin(fmin(w, a), fmin(b, c)) + x[2].lo, fmax(fmax(w, a), fmax(b, c)) + x[2].hi, out);
}

RULE(divide) {
  UNUSED;
  if (x[1].lo <= 0 && x[1].hi >= 0) return false;
  return corners(f32, x[0].lo / x[1].lo, x[0].lo / x[1].hi, x[0].hi / x[1].lo, x[0].hi / x[1].hi, out);
}

RULE(root) {
  UNUSED;
  return x[0].lo >= 0 && dhc_range_make(f32, sqrt(x[0].lo), sqrt(x[0].hi), out);
}

RULE(max) {
  UNUSED;
  return dhc_range_make(f32, fmax(x[0].lo, x[1].lo), fmax(x[0].hi, x[1].hi), out);
}

RULE(min) {
  UNUSED;
  return dhc_range_make(f32, fmin(x[0].lo, x[1].lo), fmin(x[0].hi, x[1].hi), out);
}

RULE(select) {
  UNUSED;
  *out = dhc_range_hull(x[1], x[2]);
  return true;
}

/* f's value where the operands are lo, and where they are hi. */
static bool between(const DhcNode *n, const DhcRange *x, bool f32, DhcRange *out) {
  DhcScalar lo[3] = {{.f = x[0].lo}}, hi[3] = {{.f = x[0].hi}};
  for (int i = 1; i < n->n_args; i++) lo[i].f = x[i].lo, hi[i].f = x[i].hi;
  double a = dhc_eval_ew(n->op, DHC_F64, lo).f, b = dhc_eval_ew(n->op, DHC_F64, hi).f;
  const double margin = 0x1p-20; /* far above the 4 ULP such a function may be off */
  return dhc_range_make(f32, a - margin * fabs(a), b + margin * fabs(b), out);
}

/* Never falls. */
RULE(rises) {
  return between(n, x, f32, out);
}

bool dhc_range_of(const DhcNode *n, const DhcRange *x, bool f32, DhcRange *out) {
  const DhcOpInfo *info = dhc_op_info(n->op);
  if (info->range) return info->range(n, x, f32, out);
  for (int i = 0; i < n->n_args; i++) /* any function, of single numbers */
    if (x[i].lo != x[i].hi) return false;
  return info->types != DHC_EW_none && between(n, x, f32, out);
}
