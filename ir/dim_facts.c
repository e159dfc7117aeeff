/* Deciding order between dims: a small prover of p >= 0. It is sound, not complete; what
 * it cannot show is UNKNOWN and the user is asked for a `require`.
 *
 * In turn: bounds of every symbol are drawn from the facts; p is bounded term by
 * term; every atom is shifted to its lower bound, after which only non-negative
 * coefficients are enough; a floordiv t = floor(r / k) is replaced by its real bounds
 * (r - k + 1) / k <= t <= r / k; a multiple of a fact is taken away. That p is an integer
 * is used wherever it is scaled. */
#include "ir/dim_internal.h"

enum { MAX_SYMBOLS = 32, DEEPEST = 4, BUDGET = 400 };

typedef struct Range {
  int64_t lo, hi; /* hi INT64_MAX: none known */
} Range;

typedef struct Prover {
  DhcDims *cx;
  const DhcFacts *facts;
  int n;
  const char *name[MAX_SYMBOLS];
  Range range[MAX_SYMBOLS];
  int budget;
} Prover;

/* ---- ranges ------------------------------------------------------------------------- */

static int64_t clamp_mul(int64_t a, int64_t b) {
  int64_t r;
  if (a == 0 || b == 0) return 0;
  if (a == INT64_MAX || b == INT64_MAX || __builtin_mul_overflow(a, b, &r)) return INT64_MAX;
  return r;
}

static Range range_of_dim(const Prover *pr, const DhcDim *d);

static Range range_of_atom(const Prover *pr, const DhcAtom *a) {
  if (!a->name) {
    Range r = range_of_dim(pr, a->p);
    if (r.lo < 0) r.lo = 0;
    return (Range){r.lo / a->k, r.hi == INT64_MAX ? INT64_MAX : dhc_floordiv64(r.hi, a->k)};
  }
  for (int i = 0; i < pr->n; i++)
    if (pr->name[i] == a->name) return pr->range[i];
  return (Range){1, INT64_MAX};
}

/* lo INT64_MIN, hi INT64_MAX: unbounded. */
static Range range_of_dim(const Prover *pr, const DhcDim *d) {
  Range sum = {0, 0};
  for (int i = 0; i < d->n; i++) {
    Range m = {1, 1};
    for (int k = 0; k < d->term[i].n; k++) {
      Range a = range_of_atom(pr, d->term[i].atom[k]);
      m = (Range){clamp_mul(m.lo, a.lo), clamp_mul(m.hi, a.hi)};
    }
    int64_t c = d->term[i].coef, mag = c < 0 ? -c : c;
    int64_t lo = clamp_mul(m.lo, mag), hi = clamp_mul(m.hi, mag);
    if (lo == INT64_MAX) lo = INT64_MAX - 1; /* still a lower bound */
    if (c < 0) {
      int64_t swap = hi == INT64_MAX ? INT64_MIN : -hi;
      hi = -lo;
      lo = swap;
    }
    if (sum.lo != INT64_MIN && (lo == INT64_MIN || __builtin_add_overflow(sum.lo, lo, &sum.lo)))
      sum.lo = INT64_MIN;
    if (sum.hi != INT64_MAX && (hi == INT64_MAX || __builtin_add_overflow(sum.hi, hi, &sum.hi)))
      sum.hi = INT64_MAX;
  }
  return sum;
}

/* Narrows the range of symbol s by fact c*s + rest >= 0. */
static void narrow(Prover *pr, int s, const DhcDim *fact) {
  const DhcAtom *atom = NULL;
  int64_t c = 0;
  for (int i = 0; i < fact->n; i++)
    for (int k = 0; k < fact->term[i].n; k++)
      if (fact->term[i].atom[k]->name == pr->name[s]) {
        if (fact->term[i].n != 1 || c) return;
        c = fact->term[i].coef;
        atom = fact->term[i].atom[k];
      }
  if (!atom) return;
  const DhcDim *rest = dhc_dim_sub(pr->cx, fact, dhc_dim_monomial(pr->cx, c, 1, &atom));
  const char *names[MAX_SYMBOLS];
  int n = dhc_dim_symbols(rest, names, MAX_SYMBOLS);
  for (int i = 0; i < n; i++)
    if (names[i] == pr->name[s]) return; /* inside a floordiv */
  int64_t most = range_of_dim(pr, rest).hi;
  if (most == INT64_MAX || most == INT64_MIN) return;
  if (c > 0 && -dhc_floordiv64(most, c) > pr->range[s].lo)
    pr->range[s].lo = -dhc_floordiv64(most, c);
  if (c < 0 && dhc_floordiv64(most, -c) < pr->range[s].hi)
    pr->range[s].hi = dhc_floordiv64(most, -c);
}

static void draw_ranges(Prover *pr, const DhcDim *p) {
  const char *names[MAX_SYMBOLS];
  int n_facts = pr->facts ? pr->facts->nonneg.n : 0;
  for (int f = -1; f < n_facts; f++) {
    int n = dhc_dim_symbols(f < 0 ? p : pr->facts->nonneg.at[f], names, MAX_SYMBOLS);
    for (int i = 0; i < n; i++) {
      bool seen = false;
      for (int k = 0; k < pr->n; k++) seen |= pr->name[k] == names[i];
      if (seen || pr->n == MAX_SYMBOLS) continue;
      pr->name[pr->n] = names[i];
      pr->range[pr->n++] = (Range){1, INT64_MAX};
    }
  }
  for (int round = 0; round < 3; round++)
    for (int f = 0; f < n_facts; f++)
      for (int s = 0; s < pr->n; s++) narrow(pr, s, pr->facts->nonneg.at[f]);
}

/* ---- steps ---------------------------------------------------------------------------- */

/* p with every atom x written as x + lo(x): all coefficients non-negative? */
static bool shifted_positive(const Prover *pr, const DhcDim *p) {
  const DhcDim *sum = dhc_dim_const(pr->cx, 0);
  for (int i = 0; i < p->n; i++) {
    const DhcDim *m = dhc_dim_const(pr->cx, p->term[i].coef);
    for (int k = 0; k < p->term[i].n; k++) {
      const DhcAtom *a = p->term[i].atom[k];
      const DhcDim *x = dhc_dim_monomial(pr->cx, 1, 1, &a);
      m = dhc_dim_mul(pr->cx, m, dhc_dim_addc(pr->cx, x, range_of_atom(pr, a).lo));
    }
    sum = dhc_dim_add(pr->cx, sum, m);
  }
  for (int i = 0; i < sum->n; i++)
    if (sum->term[i].coef < 0) return false;
  return true;
}

/* k*p + k - 1 with the floordiv `a` replaced by whichever of its bounds makes p smaller:
 * p is an integer, so k p > -k is enough. NULL if some term has `a` twice. */
static const DhcDim *without_floordiv(const Prover *pr, const DhcDim *p, const DhcAtom *a) {
  DhcDims *cx = pr->cx;
  const DhcDim *sum = dhc_dim_const(cx, a->k - 1);
  for (int i = 0; i < p->n; i++) {
    const DhcDimTerm *t = &p->term[i];
    const DhcDim *m = dhc_dim_const(cx, t->coef);
    int times = 0;
    for (int k = 0; k < t->n; k++) {
      if (t->atom[k] == a)
        times++;
      else
        m = dhc_dim_mul(cx, m, dhc_dim_monomial(cx, 1, 1, &t->atom[k]));
    }
    if (times > 1) return NULL;
    if (times == 0)
      m = dhc_dim_mulc(cx, m, a->k);
    else
      m = dhc_dim_mul(cx, m, t->coef < 0 ? a->p : dhc_dim_addc(cx, a->p, 1 - a->k));
    sum = dhc_dim_add(cx, sum, m);
  }
  return sum;
}

/* Quotient of monomials t / u as a dim, or NULL. */
static const DhcDim *mono_quotient(DhcDims *cx, const DhcDimTerm *t, const DhcDimTerm *u) {
  const DhcDim *a = dhc_dim_monomial(cx, 1, t->n, t->atom);
  return dhc_dim_divide(cx, a, dhc_dim_monomial(cx, 1, u->n, u->atom));
}

static bool prove(Prover *pr, const DhcDim *p, int depth);

/* Cancels a negative term of p against a negative term of a fact f:
 * p >= 0 follows from |cf| p - |cp| u f > -|cf|, with u the quotient of the monomials. */
static bool prove_by_facts(Prover *pr, const DhcDim *p, int depth) {
  for (int f = 0; pr->facts && f < pr->facts->nonneg.n; f++) {
    const DhcDim *fact = pr->facts->nonneg.at[f];
    for (int i = 0; i < p->n; i++)
      for (int k = 0; k < fact->n; k++) {
        const DhcDimTerm *t = &p->term[i], *u = &fact->term[k];
        if (t->coef > 0 || u->coef > 0 || (u->n == 0 && depth < DEEPEST)) continue;
        const DhcDim *q = mono_quotient(pr->cx, t, u);
        if (!q) continue;
        const DhcDim *less = dhc_dim_mulc(pr->cx, dhc_dim_mul(pr->cx, fact, q), -t->coef);
        const DhcDim *rest = dhc_dim_sub(pr->cx, dhc_dim_mulc(pr->cx, p, -u->coef), less);
        if (prove(pr, dhc_dim_addc(pr->cx, rest, -u->coef - 1), depth - 1)) return true;
      }
  }
  return false;
}

/* p >= 0 for all admitted values? */
static bool prove(Prover *pr, const DhcDim *p, int depth) {
  if (pr->cx->overflowed || pr->budget-- <= 0) return false;
  if (range_of_dim(pr, p).lo >= 0) return true;
  if (dhc_dim_is_const(p, NULL)) return false;
  if (shifted_positive(pr, p)) return true;
  if (depth == 0) return false;
  for (int i = 0; i < p->n; i++)
    for (int k = 0; k < p->term[i].n; k++) {
      const DhcAtom *a = p->term[i].atom[k];
      const DhcDim *q = a->name ? NULL : without_floordiv(pr, p, a);
      if (q && prove(pr, q, depth - 1)) return true;
    }
  return prove_by_facts(pr, p, depth);
}

static bool proven_nonneg(DhcDims *cx, const DhcFacts *facts, const DhcDim *p) {
  int64_t v;
  if (dhc_dim_is_const(p, &v)) return v >= 0;
  bool before = cx->overflowed;
  cx->overflowed = false;
  Prover pr = {.cx = cx, .facts = facts, .budget = BUDGET};
  draw_ranges(&pr, p);
  bool yes = prove(&pr, p, DEEPEST) && !cx->overflowed;
  cx->overflowed = before;
  return yes;
}

DhcTruth dhc_dim_le(DhcDims *cx, const DhcFacts *facts, const DhcDim *a, const DhcDim *b) {
  const DhcDim *d = dhc_dim_sub(cx, b, a);
  if (proven_nonneg(cx, facts, d)) return DHC_TRUE;
  /* b < a: a - b - 1 >= 0 */
  const DhcDim *e = dhc_dim_addc(cx, dhc_dim_sub(cx, a, b), -1);
  return proven_nonneg(cx, facts, e) ? DHC_FALSE : DHC_UNKNOWN;
}

DhcTruth dhc_dim_lt(DhcDims *cx, const DhcFacts *facts, const DhcDim *a, const DhcDim *b) {
  return dhc_dim_le(cx, facts, dhc_dim_addc(cx, a, 1), b);
}

DhcTruth dhc_dim_eq(DhcDims *cx, const DhcFacts *facts, const DhcDim *a, const DhcDim *b) {
  if (a == b) return DHC_TRUE;
  if (dhc_dim_lt(cx, facts, a, b) == DHC_TRUE || dhc_dim_lt(cx, facts, b, a) == DHC_TRUE)
    return DHC_FALSE;
  return DHC_UNKNOWN;
}
