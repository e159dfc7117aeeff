/* Dims: interning, ring operations and the normal form of floor division. */
#include "ir/diag.h"
#include "ir/dim_internal.h"

DhcDims *dhc_dims_new(DhcArena *arena, DhcStrings *strings) {
  DhcDims *cx = DHC_NEW(arena, DhcDims);
  cx->arena = arena;
  cx->strings = strings;
  return cx;
}

bool dhc_dims_overflowed(DhcDims *cx) {
  bool was = cx->overflowed;
  cx->overflowed = false;
  return was;
}

const DhcDim *dhc_dim_overflow(DhcDims *cx) {
  cx->overflowed = true;
  return dhc_dim_const(cx, 1);
}

int64_t dhc_floordiv64(int64_t a, int64_t k) {
  int64_t q = a / k;
  return q - (a % k < 0);
}

int64_t dhc_gcd64(int64_t a, int64_t b) {
  uint64_t x = a < 0 ? -(uint64_t)a : (uint64_t)a, y = b < 0 ? -(uint64_t)b : (uint64_t)b;
  while (y) {
    uint64_t r = x % y;
    x = y, y = r;
  }
  return x > INT64_MAX ? 1 : (int64_t)x;
}

/* Checked; false also for INT64_MIN, so that negation never overflows. */
static bool add64(int64_t a, int64_t b, int64_t *r) {
  return !__builtin_add_overflow(a, b, r) && *r != INT64_MIN;
}
static bool mul64(int64_t a, int64_t b, int64_t *r) {
  return !__builtin_mul_overflow(a, b, r) && *r != INT64_MIN;
}

/* ---- order ------------------------------------------------------------------------ */

static int dim_compare(const DhcDim *a, const DhcDim *b) {
  if (a == b) return 0;
  for (int i = 0; i < a->n && i < b->n; i++) {
    int c = dhc_mono_compare(&a->term[i], &b->term[i]);
    if (c) return c;
    if (a->term[i].coef != b->term[i].coef) return a->term[i].coef < b->term[i].coef ? -1 : 1;
  }
  return a->n - b->n;
}

int dhc_atom_compare(const DhcAtom *a, const DhcAtom *b) {
  if (a == b) return 0;
  if (a->name && b->name) return strcmp(a->name, b->name);
  if (a->name || b->name) return a->name ? -1 : 1;
  int c = dim_compare(a->p, b->p);
  return c ? c : a->k < b->k ? -1 : 1;
}

/* Graded lexicographic, larger first: a monomial order, so division works by
 * leading terms. */
int dhc_mono_compare(const DhcDimTerm *a, const DhcDimTerm *b) {
  if (a->n != b->n) return b->n - a->n;
  for (int i = 0; i < a->n; i++) {
    int c = dhc_atom_compare(a->atom[i], b->atom[i]);
    if (c) return c;
  }
  return 0;
}

/* ---- interning --------------------------------------------------------------------- */

static uint64_t mix(uint64_t h, uint64_t v) {
  h = (h ^ v) * 0x9E3779B97F4A7C15u;
  return h ^ h >> 29;
}

static bool same_terms(const DhcDim *d, const DhcDimTerm *t, int n) {
  if (d->n != n) return false;
  for (int i = 0; i < n; i++) {
    if (d->term[i].coef != t[i].coef || d->term[i].n != t[i].n) return false;
    for (int k = 0; k < t[i].n; k++)
      if (d->term[i].atom[k] != t[i].atom[k]) return false;
  }
  return true;
}

static void grow_dims(DhcDims *cx) {
  const DhcDim **old = cx->dim;
  int n_old = cx->cap_dims;
  cx->cap_dims = n_old ? n_old * 2 : 128;
  cx->dim = DHC_NEW_N(cx->arena, const DhcDim *, cx->cap_dims);
  for (int i = 0; i < n_old; i++) {
    if (!old[i]) continue;
    size_t mask = (size_t)cx->cap_dims - 1, k = (size_t)old[i]->hash & mask;
    while (cx->dim[k]) k = (k + 1) & mask;
    cx->dim[k] = old[i];
  }
}

/* The dim of terms in normal order; copies them if new. */
static const DhcDim *intern_dim(DhcDims *cx, const DhcDimTerm *t, int n) {
  uint64_t h = (uint64_t)n;
  for (int i = 0; i < n; i++) {
    h = mix(h, (uint64_t)t[i].coef);
    for (int k = 0; k < t[i].n; k++) h = mix(h, t[i].atom[k]->hash);
  }
  if (cx->n_dims * 2 >= cx->cap_dims) grow_dims(cx);
  size_t mask = (size_t)cx->cap_dims - 1, s = (size_t)h & mask;
  for (; cx->dim[s]; s = (s + 1) & mask)
    if (cx->dim[s]->hash == h && same_terms(cx->dim[s], t, n)) return cx->dim[s];

  DhcDim *d = DHC_NEW(cx->arena, DhcDim);
  DhcDimTerm *copy = DHC_NEW_N(cx->arena, DhcDimTerm, n ? n : 1);
  for (int i = 0; i < n; i++) {
    copy[i] = t[i];
    copy[i].atom = dhc_arena_dup(cx->arena, t[i].atom, sizeof(DhcAtom *) * (size_t)t[i].n);
    for (int k = 0; k < t[i].n; k++) {
      const DhcAtom *a = t[i].atom[k];
      if (!a->name && a->p->nesting >= d->nesting) d->nesting = a->p->nesting + 1;
    }
  }
  *d = (DhcDim){.n = n, .term = copy, .nesting = d->nesting, .hash = h};
  cx->n_dims++;
  return cx->dim[s] = d;
}

static void grow_atoms(DhcDims *cx) {
  const DhcAtom **old = cx->atom;
  int n_old = cx->cap_atoms;
  cx->cap_atoms = n_old ? n_old * 2 : 32;
  cx->atom = DHC_NEW_N(cx->arena, const DhcAtom *, cx->cap_atoms);
  for (int i = 0; i < n_old; i++) {
    if (!old[i]) continue;
    size_t mask = (size_t)cx->cap_atoms - 1, k = (size_t)old[i]->hash & mask;
    while (cx->atom[k]) k = (k + 1) & mask;
    cx->atom[k] = old[i];
  }
}

static const DhcAtom *intern_atom(DhcDims *cx, const char *name, const DhcDim *p, int64_t k) {
  uint64_t h = mix(7, (uint64_t)k);
  if (name)
    for (const char *c = name; *c; c++) h = mix(h, (unsigned char)*c);
  else
    h = mix(h, p->hash);
  if (cx->n_atoms * 2 >= cx->cap_atoms) grow_atoms(cx);
  size_t mask = (size_t)cx->cap_atoms - 1, s = (size_t)h & mask;
  for (; cx->atom[s]; s = (s + 1) & mask)
    if (cx->atom[s]->name == name && cx->atom[s]->p == p && cx->atom[s]->k == k)
      return cx->atom[s];
  DhcAtom *a = DHC_NEW(cx->arena, DhcAtom);
  *a = (DhcAtom){name, p, k, h};
  cx->n_atoms++;
  return cx->atom[s] = a;
}

const DhcDim *dhc_dim_monomial(DhcDims *cx, int64_t coef, int n, const DhcAtom *const *atom) {
  DhcDimTerm t = {coef, n, atom};
  return intern_dim(cx, &t, coef != 0);
}

const DhcDim *dhc_dim_const(DhcDims *cx, int64_t v) {
  if (v == INT64_MIN) return dhc_dim_overflow(cx);
  const DhcDim **recent = &cx->recent[mix(0, (uint64_t)v) % DHC_DIM_RECENT];
  if (*recent && dhc_dim_is(*recent, v)) return *recent;
  return *recent = dhc_dim_monomial(cx, v, 0, NULL);
}

const DhcDim *dhc_dim_symbol(DhcDims *cx, const char *name) {
  const DhcAtom *a = intern_atom(cx, dhc_intern(cx->strings, name), NULL, 0);
  return dhc_dim_monomial(cx, 1, 1, &a);
}

/* ---- ring operations ----------------------------------------------------------------- */

/* ca * a + cb * b */
static const DhcDim *combine(DhcDims *cx, const DhcDim *a, int64_t ca, const DhcDim *b,
                             int64_t cb) {
  DhcDimTerm t[2 * DHC_DIM_MAX_TERMS];
  int n = 0, i = 0, j = 0;
  int64_t va, vb;
  if (dhc_dim_is_const(a, &va) && dhc_dim_is_const(b, &vb)) { /* most are */
    if (!mul64(va, ca, &va) || !mul64(vb, cb, &vb) || !add64(va, vb, &va)) return dhc_dim_overflow(cx);
    return dhc_dim_const(cx, va);
  }
  while (i < a->n || j < b->n) {
    int c = i == a->n ? 1 : j == b->n ? -1 : dhc_mono_compare(&a->term[i], &b->term[j]);
    int64_t x = 0, y = 0, sum;
    if (c <= 0 && !mul64(a->term[i].coef, ca, &x)) return dhc_dim_overflow(cx);
    if (c >= 0 && !mul64(b->term[j].coef, cb, &y)) return dhc_dim_overflow(cx);
    if (!add64(x, y, &sum)) return dhc_dim_overflow(cx);
    t[n] = c <= 0 ? a->term[i] : b->term[j];
    t[n].coef = sum;
    n += sum != 0;
    i += c <= 0;
    j += c >= 0;
  }
  if (n > DHC_DIM_MAX_TERMS) return dhc_dim_overflow(cx);
  return intern_dim(cx, t, n);
}

const DhcDim *dhc_dim_add(DhcDims *cx, const DhcDim *a, const DhcDim *b) {
  if (!a->n) return b;
  if (!b->n) return a;
  return combine(cx, a, 1, b, 1);
}

const DhcDim *dhc_dim_sub(DhcDims *cx, const DhcDim *a, const DhcDim *b) {
  if (!b->n) return a;
  return combine(cx, a, 1, b, -1);
}

const DhcDim *dhc_dim_addc(DhcDims *cx, const DhcDim *a, int64_t c) {
  return c == 0 ? a : combine(cx, a, 1, dhc_dim_const(cx, c), 1);
}

const DhcDim *dhc_dim_mulc(DhcDims *cx, const DhcDim *a, int64_t c) {
  if (c == 1) return a;
  if (c == INT64_MIN) return dhc_dim_overflow(cx);
  return combine(cx, a, c, dhc_dim_const(cx, 0), 0);
}

/* a times one term */
static const DhcDim *mul_term(DhcDims *cx, const DhcDim *a, const DhcDimTerm *b) {
  const DhcAtom *atoms[DHC_DIM_MAX_TERMS][DHC_DIM_MAX_DEGREE];
  DhcDimTerm t[DHC_DIM_MAX_TERMS];
  for (int i = 0; i < a->n; i++) {
    const DhcDimTerm *x = &a->term[i];
    if (x->n + b->n > DHC_DIM_MAX_DEGREE) return dhc_dim_overflow(cx);
    int n = 0, p = 0, q = 0;
    while (p < x->n || q < b->n) {
      bool left = q == b->n || (p < x->n && dhc_atom_compare(x->atom[p], b->atom[q]) <= 0);
      atoms[i][n++] = left ? x->atom[p++] : b->atom[q++];
    }
    t[i] = (DhcDimTerm){0, n, atoms[i]};
    if (!mul64(x->coef, b->coef, &t[i].coef)) return dhc_dim_overflow(cx);
  }
  return intern_dim(cx, t, a->n); /* a monomial order: still sorted, still distinct */
}

const DhcDim *dhc_dim_mul(DhcDims *cx, const DhcDim *a, const DhcDim *b) {
  int64_t v;
  if (dhc_dim_is_const(a, &v)) return dhc_dim_mulc(cx, b, v);
  if (dhc_dim_is_const(b, &v)) return dhc_dim_mulc(cx, a, v);
  const DhcDim *sum = dhc_dim_const(cx, 0);
  for (int i = 0; i < b->n; i++) sum = dhc_dim_add(cx, sum, mul_term(cx, a, &b->term[i]));
  return sum;
}

const DhcDim *dhc_dim_product(DhcDims *cx, const DhcDim *const *d, int n) {
  const DhcDim *p = dhc_dim_const(cx, 1);
  for (int i = 0; i < n; i++) p = dhc_dim_mul(cx, p, d[i]);
  return p;
}

/* Quotient term of leading terms, false if b's does not divide a's. The quotient's atoms
 * are written to `atom`. */
static bool divide_term(const DhcDimTerm *a, const DhcDimTerm *b, DhcDimTerm *q,
                        const DhcAtom **atom) {
  if (a->coef % b->coef != 0) return false;
  int n = 0, j = 0;
  for (int i = 0; i < a->n; i++) {
    if (j < b->n && a->atom[i] == b->atom[j])
      j++;
    else
      atom[n++] = a->atom[i];
  }
  *q = (DhcDimTerm){a->coef / b->coef, n, atom};
  return j == b->n;
}

const DhcDim *dhc_dim_divide(DhcDims *cx, const DhcDim *a, const DhcDim *b) {
  if (b->n == 0) return NULL;
  const DhcDim *rest = a, *sum = dhc_dim_const(cx, 0);
  while (rest->n) { /* the leading monomial falls in a well-order */
    const DhcAtom *atom[DHC_DIM_MAX_DEGREE];
    DhcDimTerm q;
    if (!divide_term(&rest->term[0], &b->term[0], &q, atom)) return NULL;
    bool before = cx->overflowed;
    cx->overflowed = false;
    rest = dhc_dim_sub(cx, rest, mul_term(cx, b, &q));
    sum = dhc_dim_add(cx, sum, dhc_dim_monomial(cx, q.coef, q.n, atom));
    bool failed = cx->overflowed;
    cx->overflowed = before;
    if (failed) return NULL;
  }
  return sum;
}

/* ---- floor division --------------------------------------------------------------------- */

/* *a becomes its coefficients modulo k; returns the quotients. */
static const DhcDim *pull_multiples(DhcDims *cx, const DhcDim **a, int64_t k) {
  DhcDimTerm q[DHC_DIM_MAX_TERMS], r[DHC_DIM_MAX_TERMS];
  int nq = 0, nr = 0;
  for (int i = 0; i < (*a)->n; i++) {
    DhcDimTerm t = (*a)->term[i];
    int64_t quot = dhc_floordiv64(t.coef, k), rem = t.coef - quot * k;
    t.coef = quot;
    q[nq] = t;
    nq += quot != 0;
    t.coef = rem;
    r[nr] = t;
    nr += rem != 0;
  }
  *a = intern_dim(cx, r, nr);
  return intern_dim(cx, q, nq);
}

/* Divides the content that the symbolic terms share with k out of both; the constant is
 * floored: floor((g p + c) / (g k)) = floor((p + floor(c / g)) / k). */
static const DhcDim *divide_content(DhcDims *cx, const DhcDim *a, int64_t *k) {
  int64_t g = *k;
  for (int i = 0; i < a->n; i++)
    if (a->term[i].n) g = dhc_gcd64(g, a->term[i].coef);
  if (g == 1) return a;
  DhcDimTerm t[DHC_DIM_MAX_TERMS];
  int n = 0;
  for (int i = 0; i < a->n; i++) {
    t[n] = a->term[i];
    t[n].coef = dhc_floordiv64(t[n].coef, g);
    n += t[n].coef != 0;
  }
  *k /= g;
  return intern_dim(cx, t, n);
}

/* floor((floor(p / a) + n) / k) = floor((p + a n) / (a k)): applied to the first floordiv
 * that stands alone with coefficient 1. False if there is none. */
static bool merge_nested(DhcDims *cx, const DhcDim **a, int64_t *k) {
  for (int i = 0; i < (*a)->n; i++) {
    const DhcDimTerm *t = &(*a)->term[i];
    if (t->n != 1 || t->coef != 1 || t->atom[0]->name) continue;
    const DhcAtom *inner = t->atom[0];
    int64_t merged;
    if (!mul64(*k, inner->k, &merged)) return false; /* stays nested */
    const DhcDim *rest = dhc_dim_sub(cx, *a, dhc_dim_monomial(cx, 1, 1, t->atom));
    *a = combine(cx, inner->p, 1, rest, inner->k);
    *k = merged;
    return true;
  }
  return false;
}

const DhcDim *dhc_dim_floordiv(DhcDims *cx, const DhcDim *a, int64_t k) {
  if (k < 1) DHC_BUG("floordiv by %lld", (long long)k);
  const DhcDim *whole = dhc_dim_const(cx, 0);
  do { /* ends: every merge takes one floordiv away */
    whole = dhc_dim_add(cx, whole, pull_multiples(cx, &a, k));
    a = divide_content(cx, a, &k);
    if (k == 1) return dhc_dim_add(cx, whole, a);
    if (dhc_dim_is_const(a, NULL)) return whole;
  } while (merge_nested(cx, &a, &k));
  if (a->nesting >= DHC_DIM_MAX_NESTING) return dhc_dim_overflow(cx);
  const DhcAtom *atom = intern_atom(cx, NULL, a, k);
  return dhc_dim_add(cx, whole, dhc_dim_monomial(cx, 1, 1, &atom));
}

/* ---- asking -------------------------------------------------------------------------------- */

bool dhc_dim_is_const(const DhcDim *d, int64_t *v) {
  if (d->n > 1 || (d->n == 1 && d->term[0].n)) return false;
  if (v) *v = d->n ? d->term[0].coef : 0;
  return true;
}

bool dhc_dim_is(const DhcDim *d, int64_t v) {
  int64_t have;
  return dhc_dim_is_const(d, &have) && have == v;
}

const char *dhc_dim_symbol_name(const DhcDim *d) {
  if (d->n != 1 || d->term[0].n != 1 || d->term[0].coef != 1) return NULL;
  return d->term[0].atom[0]->name;
}

static int collect_symbols(const DhcDim *d, const char **names, int n, int max) {
  for (int i = 0; i < d->n; i++)
    for (int k = 0; k < d->term[i].n; k++) {
      const DhcAtom *a = d->term[i].atom[k];
      if (!a->name) {
        n = collect_symbols(a->p, names, n, max);
        continue;
      }
      bool seen = false;
      for (int j = 0; j < n; j++) seen |= names[j] == a->name;
      if (!seen && n < max) names[n++] = a->name;
    }
  return n;
}

int dhc_dim_symbols(const DhcDim *d, const char **names, int max) {
  return collect_symbols(d, names, 0, max);
}
