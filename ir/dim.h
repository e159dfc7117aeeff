/* Symbolic extents: integer polynomials over named symbols and floor divisions by
 * constants, in a unique normal form. Interned: within one DhcDims, equal dims are
 * the same pointer. There is no min, max or select, so that equality is decidable.
 * Symbols are at least 1 unless a fact says more.
 *
 * Normal form: terms sorted by monomial, no zero coefficients; a monomial is a
 * sorted product of atoms (symbols, floordiv(p, k)). In floordiv(p, k) every
 * coefficient of p has been reduced modulo k (multiples of k are pulled out, in
 * floor fashion), content shared with k is divided out, and nested divisions by
 * constants are merged. */
#ifndef DHC_IR_DIM_H
#define DHC_IR_DIM_H

#include "dhc/abi.h"
#include "ir/arena.h"

typedef struct DhcDim DhcDim;
typedef struct DhcDims DhcDims;

DhcDims *dhc_dims_new(DhcArena *arena, DhcStrings *strings);
/* Sticky: set by any operation whose coefficients left 63 bits; the result is then
 * some valid dim. Whoever checks shapes asks and clears. */
bool dhc_dims_overflowed(DhcDims *cx);

const DhcDim *dhc_dim_const(DhcDims *cx, int64_t v);
const DhcDim *dhc_dim_symbol(DhcDims *cx, const char *name);
const DhcDim *dhc_dim_add(DhcDims *cx, const DhcDim *a, const DhcDim *b);
const DhcDim *dhc_dim_sub(DhcDims *cx, const DhcDim *a, const DhcDim *b);
const DhcDim *dhc_dim_mul(DhcDims *cx, const DhcDim *a, const DhcDim *b);
const DhcDim *dhc_dim_addc(DhcDims *cx, const DhcDim *a, int64_t c);
const DhcDim *dhc_dim_mulc(DhcDims *cx, const DhcDim *a, int64_t c);
const DhcDim *dhc_dim_floordiv(DhcDims *cx, const DhcDim *a, int64_t k); /* k >= 1 */
/* Exact quotient a / b if a = b * q for a dim q (also symbolic b), else NULL. */
const DhcDim *dhc_dim_divide(DhcDims *cx, const DhcDim *a, const DhcDim *b);
const DhcDim *dhc_dim_product(DhcDims *cx, const DhcDim *const *d, int n);

bool dhc_dim_is_const(const DhcDim *d, int64_t *v); /* v may be NULL */
bool dhc_dim_is(const DhcDim *d, int64_t v);
/* The symbol's name if d is exactly one symbol, else NULL. */
const char *dhc_dim_symbol_name(const DhcDim *d);
/* Symbols of d in order of first appearance in its text, each once. */
int dhc_dim_symbols(const DhcDim *d, const char **names, int max);

/* Replaces symbol from[i] by to[i], all at once; other symbols stay. */
const DhcDim *dhc_dim_subst(DhcDims *cx, const DhcDim *d, int n, const char *const *from,
                            const DhcDim *const *to);
/* Value under symbol -> value; false if a symbol is unbound or the value overflows. */
bool dhc_dim_eval(const DhcDim *d, int n, const char *const *names, const int64_t *values,
                  int64_t *out);
/* Solves for symbols by unifying `pattern` with a concrete extent: binds a lone
 * symbol, checks everything already bound. Returns false on a mismatch; *unbound is
 * set if the pattern still has more than one unknown. */
bool dhc_dim_unify(const DhcDim *pattern, int64_t extent, int n, const char *const *names,
                   int64_t *values, bool *bound, bool *unbound);

/* The dim that symbol `name` must be for pattern to equal value, if pattern is linear in it
 * and the division is exact; else NULL. */
const DhcDim *dhc_dim_solve(DhcDims *cx, const DhcDim *pattern, const char *name,
                            const DhcDim *value);

/* "2*B*L + H//2 - 1"; parse accepts what print writes. */
void dhc_dim_print(const DhcDim *d, DhcText *to);
/* "H >= W + 2" for the fact H - W - 2 >= 0. */
void dhc_dim_print_fact(DhcDims *cx, const DhcDim *nonneg, DhcText *to);
const DhcDim *dhc_dim_parse(DhcDims *cx, const char *text, const char **end); /* NULL: not a dim */
/* Code over `names` as environment. */
dhc_dimprog dhc_dim_program(const DhcDim *d, int n, const char *const *names, DhcArena *arena);

/* What is known: each fact is a dim that is >= 0. Symbols >= 1 is always known. */
typedef struct DhcFacts {
  DHC_VEC(const DhcDim *) nonneg;
} DhcFacts;
typedef enum DhcTruth { DHC_FALSE, DHC_TRUE, DHC_UNKNOWN } DhcTruth;
DhcTruth dhc_dim_le(DhcDims *cx, const DhcFacts *facts, const DhcDim *a, const DhcDim *b);
DhcTruth dhc_dim_lt(DhcDims *cx, const DhcFacts *facts, const DhcDim *a, const DhcDim *b);
/* Equal as polynomials is TRUE; different constants or proven order is FALSE. */
DhcTruth dhc_dim_eq(DhcDims *cx, const DhcFacts *facts, const DhcDim *a, const DhcDim *b);

#endif
