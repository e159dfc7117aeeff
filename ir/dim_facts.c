/* Deciding order between dims: a small prover of p >= 0. It is sound, not complete; what
 * it cannot show is UNKNOWN and the user is asked for a `require`.
 *
 * In turn: bounds of every symbol are drawn from the facts; p is bounded term by
 * term; every atom is shifted to its lower bound, after which only non-negative
 * coefficients are enough; a floordiv t = floor(r / k) is replaced by its real bounds
 * (r - k + 1) / k <= t <= r / k; a multiple of a fact is taken away. That p is an integer
 * is used wherever it is scaled. */
#include "ir/dim_internal.h"

enum {
  MAX_SYMBOLS = 32,
  DEEPEST = 4,
  BUDGET = 800, /* steps of one question */
  MANY = 16,    /* facts; beyond, a question gets fewer */
  FEW = 25,     /* steps of a question where PLENTY have been taken */
  PLENTY = 100000,
  WALK = 1 << 16,
  N_INDEXES = sizeof ((DhcDims *)0)->facts / sizeof ((DhcDims *)0)->facts[0]
};

typedef struct Range {
  int64_t lo, hi; /* hi INT64_MAX: none known */
} Range;

typedef struct Prover {
  DhcDims *cx;
  const DhcFacts *facts;
  int n;
  const char *name[MAX_SYMBOLS];
  Range range[MAX_SYMBOLS];
  int budget; /* of steps */
  int walk;   /* and of atoms looked at for ranges: floordivs may share what they divide */
} Prover;

/* What is drawn from a list of facts, kept as long as they are the same and carried on when more
 * follow. Of facts that differ in their constant alone only the strongest counts. */
struct DhcFactIndex {
  const DhcFacts *of;
  int n_seen, cap_seen;
  const DhcDim **seen; /* facts, as they were */
  DhcFacts live;
  const DhcDim **slope; /* of live facts: the fact without its constant; open addressing … */
  int *slope_at;        /* … 1 + its place in live */
  int cap_slopes;
  int n;
  const char *name[MAX_SYMBOLS];
  Range range[MAX_SYMBOLS];
};

/* ---- ranges ------------------------------------------------------------------------- */

static int64_t clamp_mul(int64_t a, int64_t b) {
  int64_t r;
  if (a == 0 || b == 0) return 0;
  if (a == INT64_MAX || b == INT64_MAX || __builtin_mul_overflow(a, b, &r)) return INT64_MAX;
  return r;
}

static Range range_of_dim(Prover *pr, const DhcDim *d);

static Range range_of_atom(Prover *pr, const DhcAtom *a) {
  if (pr->walk-- <= 0) return (Range){0, INT64_MAX};
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
static Range range_of_dim(Prover *pr, const DhcDim *d) {
  Range sum = {0, 0};
  for (int i = 0; i < d->n; i++) {
    Range m = {1, 1};
    for (int k = 0; k < d->term[i].n; k++) {
      Range a = range_of_atom(pr, d->term[i].atom[k]);
      if (a.hi < a.lo) a.hi = a.lo; /* facts that contradict each other: products stay at least 0 */
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

/* Narrows the range of symbol s by fact c*s + rest >= 0; false: nothing new. */
static bool narrow(Prover *pr, int s, const DhcDim *fact) {
  const DhcAtom *atom = NULL;
  int64_t c = 0;
  for (int i = 0; i < fact->n; i++)
    for (int k = 0; k < fact->term[i].n; k++)
      if (fact->term[i].atom[k]->name == pr->name[s]) {
        if (fact->term[i].n != 1 || c) return false;
        c = fact->term[i].coef;
        atom = fact->term[i].atom[k];
      }
  if (!atom) return false;
  bool before = pr->cx->overflowed;
  pr->cx->overflowed = false;
  const DhcDim *rest = dhc_dim_sub(pr->cx, fact, dhc_dim_monomial(pr->cx, c, 1, &atom));
  bool lost = pr->cx->overflowed;
  pr->cx->overflowed = before;
  if (lost) return false;
  const char *names[MAX_SYMBOLS];
  int n = dhc_dim_symbols(rest, names, MAX_SYMBOLS);
  for (int i = 0; i < n; i++)
    if (names[i] == pr->name[s]) return false; /* inside a floordiv */
  int64_t most = range_of_dim(pr, rest).hi;
  if (most == INT64_MAX || most == INT64_MIN) return false;
  Range *r = &pr->range[s], was = *r;
  if (c > 0 && -dhc_floordiv64(most, c) > r->lo) r->lo = -dhc_floordiv64(most, c);
  if (c < 0 && dhc_floordiv64(most, -c) < r->hi) r->hi = dhc_floordiv64(most, -c);
  return r->lo != was.lo || r->hi != was.hi;
}

static void add_symbols(Prover *pr, const DhcDim *d) {
  const char *names[MAX_SYMBOLS];
  int n = dhc_dim_symbols(d, names, MAX_SYMBOLS);
  for (int i = 0; i < n; i++) {
    bool seen = false;
    for (int k = 0; k < pr->n; k++) seen |= pr->name[k] == names[i];
    if (seen || pr->n == MAX_SYMBOLS) continue;
    pr->name[pr->n] = names[i];
    pr->range[pr->n++] = (Range){1, INT64_MAX};
  }
}

/* ---- the index ------------------------------------------------------------------------ */

static const DhcDim *without_constant(DhcDims *cx, const DhcDim *d, int64_t *c) {
  const DhcDimTerm *last = d->n ? &d->term[d->n - 1] : NULL; /* terms fall in degree */
  *c = last && !last->n ? last->coef : 0;
  return dhc_dim_addc(cx, d, -*c);
}

static void grow_slopes(DhcDims *cx, struct DhcFactIndex *x) {
  const DhcDim **old = x->slope;
  int *old_at = x->slope_at, n_old = x->cap_slopes;
  x->cap_slopes = n_old ? 2 * n_old : 32;
  x->slope = DHC_NEW_N(cx->arena, const DhcDim *, x->cap_slopes);
  x->slope_at = DHC_NEW_N(cx->arena, int, x->cap_slopes);
  for (int i = 0; i < n_old; i++) {
    if (!old[i]) continue;
    size_t mask = (size_t)x->cap_slopes - 1, k = (size_t)old[i]->hash & mask;
    while (x->slope[k]) k = (k + 1) & mask;
    x->slope[k] = old[i];
    x->slope_at[k] = old_at[i];
  }
}

/* False: an earlier fact is as strong. */
static bool add_live(DhcDims *cx, struct DhcFactIndex *x, const DhcDim *fact) {
  int64_t c, other;
  const DhcDim *slope = without_constant(cx, fact, &c);
  if (2 * x->live.nonneg.n >= x->cap_slopes) grow_slopes(cx, x);
  size_t mask = (size_t)x->cap_slopes - 1, k = (size_t)slope->hash & mask;
  while (x->slope[k] && x->slope[k] != slope) k = (k + 1) & mask;
  if (x->slope[k]) {
    const DhcDim **at = &x->live.nonneg.at[x->slope_at[k] - 1];
    without_constant(cx, *at, &other);
    if (other <= c) return false;
    *at = fact;
    return true;
  }
  DHC_PUSH(cx->arena, &x->live.nonneg, fact);
  x->slope[k] = slope;
  x->slope_at[k] = x->live.nonneg.n;
  return true;
}

/* Ranges from the new fact; where it says something new, from all of them. */
static void draw_ranges(Prover *pr, const DhcFacts *live, const DhcDim *fact) {
  bool news = false;
  add_symbols(pr, fact);
  for (int s = 0; s < pr->n; s++) news |= narrow(pr, s, fact);
  for (int round = 0; round < 2 && news; round++) {
    news = false;
    for (int f = 0; f < live->nonneg.n; f++)
      for (int s = 0; s < pr->n; s++) news |= narrow(pr, s, live->nonneg.at[f]);
  }
}

static struct DhcFactIndex *index_of(DhcDims *cx, const DhcFacts *facts) {
  struct DhcFactIndex **slot = &cx->facts[((uintptr_t)facts >> 4) % N_INDEXES], *x = *slot;
  int n = facts->nonneg.n;
  if (!x) x = *slot = DHC_NEW(cx->arena, struct DhcFactIndex);
  if (x->of != facts || x->n_seen > n || (x->n_seen && memcmp(x->seen, facts->nonneg.at, sizeof *x->seen * (size_t)x->n_seen))) {
    x->of = facts;
    x->n_seen = x->live.nonneg.n = x->n = 0;
    if (x->slope) memset(x->slope, 0, sizeof *x->slope * (size_t)x->cap_slopes);
  }
  if (x->n_seen == n) return x;
  Prover pr = {.cx = cx, .walk = WALK, .n = x->n};
  memcpy(pr.name, x->name, sizeof pr.name);
  memcpy(pr.range, x->range, sizeof pr.range);
  if (n > x->cap_seen) {
    const DhcDim **more = DHC_NEW_N(cx->arena, const DhcDim *, 2 * n);
    if (x->n_seen) memcpy(more, x->seen, sizeof *more * (size_t)x->n_seen);
    x->seen = more;
    x->cap_seen = 2 * n;
  }
  for (; x->n_seen < n; x->n_seen++) {
    const DhcDim *fact = x->seen[x->n_seen] = facts->nonneg.at[x->n_seen];
    pr.walk = WALK;
    if (add_live(cx, x, fact)) draw_ranges(&pr, &x->live, fact);
  }
  x->n = pr.n;
  memcpy(x->name, pr.name, sizeof pr.name);
  memcpy(x->range, pr.range, sizeof pr.range);
  return x;
}

/* ---- steps ---------------------------------------------------------------------------- */

/* p with every atom x written as x + lo(x): all coefficients non-negative? */
static bool shifted_positive(Prover *pr, const DhcDim *p) {
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

/* u's monomial divides t's: both are sorted. */
static bool divides(const DhcDimTerm *u, const DhcDimTerm *t) {
  int k = 0;
  for (int i = 0; i < t->n && k < u->n; i++) k += t->atom[i] == u->atom[k];
  return k == u->n;
}

/* Cancels a negative term of p against a negative term of a fact f:
 * p >= 0 follows from |cf| p - |cp| u f > -|cf|, with u the quotient of the monomials. */
static bool prove_by_facts(Prover *pr, const DhcDim *p, int depth) {
  for (int f = 0; pr->facts && f < pr->facts->nonneg.n; f++) {
    const DhcDim *fact = pr->facts->nonneg.at[f];
    if (pr->walk-- <= 0) return false;
    for (int i = 0; i < p->n; i++)
      for (int k = 0; k < fact->n; k++) {
        const DhcDimTerm *t = &p->term[i], *u = &fact->term[k];
        if (t->coef > 0 || u->coef > 0 || (u->n == 0 && depth < DEEPEST) || !divides(u, t)) continue;
        if (pr->budget-- <= 0) return false;
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
  Prover pr = {.cx = cx, .budget = BUDGET, .walk = WALK};
  if (facts) {
    struct DhcFactIndex *x = index_of(cx, facts);
    pr.facts = &x->live;
    if (x->live.nonneg.n > MANY) pr.budget = BUDGET * MANY / x->live.nonneg.n; /* each step walks all of them */
    pr.n = x->n;
    memcpy(pr.name, x->name, sizeof pr.name);
    memcpy(pr.range, x->range, sizeof pr.range);
  }
  if (cx->proving > PLENTY && pr.budget > FEW) pr.budget = FEW; /* many hard questions: short answers */
  int budget = pr.budget;
  bool yes = prove(&pr, p, DEEPEST) && !cx->overflowed;
  cx->proving += budget - pr.budget;
  cx->overflowed = before;
  return yes;
}

DhcTruth dhc_dim_le(DhcDims *cx, const DhcFacts *facts, const DhcDim *a, const DhcDim *b) {
  int64_t va, vb;
  if (dhc_dim_is_const(a, &va) && dhc_dim_is_const(b, &vb)) return va <= vb ? DHC_TRUE : DHC_FALSE;
  bool before = cx->overflowed;
  cx->overflowed = false;
  const DhcDim *d = dhc_dim_sub(cx, b, a);
  /* b < a: a - b - 1 >= 0 */
  bool d_fits = !cx->overflowed;
  const DhcDim *e = dhc_dim_addc(cx, dhc_dim_sub(cx, a, b), -1);
  bool e_fits = !cx->overflowed;
  cx->overflowed = before; /* what overflows is some dim, of which nothing follows */
  if (d_fits && proven_nonneg(cx, facts, d)) return DHC_TRUE;
  return e_fits && proven_nonneg(cx, facts, e) ? DHC_FALSE : DHC_UNKNOWN;
}

DhcTruth dhc_dim_lt(DhcDims *cx, const DhcFacts *facts, const DhcDim *a, const DhcDim *b) {
  DhcTruth not_lt = dhc_dim_le(cx, facts, b, a);
  return not_lt == DHC_TRUE ? DHC_FALSE : not_lt == DHC_FALSE ? DHC_TRUE : DHC_UNKNOWN;
}

DhcTruth dhc_dim_eq(DhcDims *cx, const DhcFacts *facts, const DhcDim *a, const DhcDim *b) {
  if (a == b) return DHC_TRUE;
  if (dhc_dim_lt(cx, facts, a, b) == DHC_TRUE || dhc_dim_lt(cx, facts, b, a) == DHC_TRUE)
    return DHC_FALSE;
  return DHC_UNKNOWN;
}
