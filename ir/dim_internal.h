/* The representation of dims, for the files dim*.c only. */
#ifndef DHC_IR_DIM_INTERNAL_H
#define DHC_IR_DIM_INTERNAL_H

#include "ir/dim.h"
#include "ir/limits.h"

/* Polynomials beyond these are refused as overflow. */
enum {
  DHC_DIM_MAX_TERMS = DHC_LIMIT_DIM_TERMS,
  DHC_DIM_MAX_DEGREE = DHC_LIMIT_DIM_DEGREE,
  DHC_DIM_MAX_NESTING = DHC_LIMIT_DIM_NESTING,
  DHC_DIM_RECENT = 256
};

/* A symbol, or floordiv(p, k) in normal form. Interned. Never negative, because symbols
 * are at least 1 and the coefficients of p are in 0..k-1. */
typedef struct DhcAtom {
  const char *name; /* symbol; NULL: floordiv */
  const DhcDim *p;
  int64_t k;
  uint64_t hash;
} DhcAtom;

/* coef times the product of n atoms, sorted, with repetition. n = 0: the constant. */
typedef struct DhcDimTerm {
  int64_t coef;
  int n;
  const DhcAtom *const *atom;
} DhcDimTerm;

/* Terms by falling degree, then by their atoms; coefficients are neither 0 nor
 * INT64_MIN. No terms: zero. */
struct DhcDim {
  int n;
  const DhcDimTerm *term;
  int nesting; /* of floordivs */
  uint64_t hash;
};

struct DhcDims {
  DhcArena *arena;
  DhcStrings *strings;
  const DhcDim **dim; /* open addressing, n_dims of cap_dims taken */
  int n_dims, cap_dims;
  const DhcAtom **atom;
  int n_atoms, cap_atoms;
  const DhcDim *recent[DHC_DIM_RECENT]; /* constants asked for lately, by their hash */
  bool overflowed;
  int64_t proving; /* dim_facts.c: steps taken in all */
  struct DhcFactIndex *facts[8]; /* dim_facts.c: of lists asked about lately */
};

/* The order that the normal form uses: symbols by name, then floordivs by content. */
int dhc_atom_compare(const DhcAtom *a, const DhcAtom *b);
int dhc_mono_compare(const DhcDimTerm *a, const DhcDimTerm *b);
/* Marks the overflow and returns a valid dim. */
const DhcDim *dhc_dim_overflow(DhcDims *cx);
/* coef * product of atoms as a dim; atoms sorted. */
const DhcDim *dhc_dim_monomial(DhcDims *cx, int64_t coef, int n, const DhcAtom *const *atom);
int64_t dhc_floordiv64(int64_t a, int64_t k); /* k >= 1 */
int64_t dhc_gcd64(int64_t a, int64_t b);       /* of magnitudes; gcd(0, b) = |b| */

#endif
