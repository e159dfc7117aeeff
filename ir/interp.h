/* The reference interpreter: what every op means, in float64, slow and plain. It
 * shares no code with code generation and is the oracle for passes and backends.
 * All float dtypes are computed in double; integers in int64, wrapped to their
 * width; bool is 0 or 1. Sums follow the order that ops.def defines. */
#ifndef DHC_IR_INTERP_H
#define DHC_IR_INTERP_H

#include "ir/ir.h"

/* Concrete dense row-major tensor. Exactly one of f and i is set. */
typedef struct DhcArray {
  dhc_dtype dtype;
  int rank;
  int64_t dim[DHC_MAX_RANK];
  int64_t n; /* elements */
  double *f; /* float dtypes */
  int64_t *i; /* integers and bool */
} DhcArray;

DhcArray *dhc_array_new(DhcArena *arena, dhc_dtype dtype, int rank, const int64_t *dim); /* zeros */
DhcArray *dhc_array_copy(DhcArena *arena, const DhcArray *a);
/* From and to memory of the dtype's own element format (bf16 rounds to nearest even). */
DhcArray *dhc_array_from_bytes(DhcArena *arena, dhc_dtype dtype, int rank, const int64_t *dim,
                               const void *bytes);
void dhc_array_to_bytes(const DhcArray *a, void *bytes);

typedef struct DhcInterp {
  DhcArena *arena; /* where values live */
  DhcDiags *diags;
  /* of the function being run: */
  const DhcFunc *func;
  DhcArray **value; /* by value id */
  int n_symbols;
  const char *const *symbols;
  const int64_t *extents;
  int depth;
  DhcArray **updated; /* by parameter index: what `update` left there, or NULL */
} DhcInterp;

/* Runs f on args (one per parameter). Symbols are found by unifying parameter types
 * with the arguments; `extra` may bind the rest by name. results has room for
 * f->results.n; updated, if not NULL, for f->params.n. False after a diagnostic: a
 * shape that does not fit, a fact that fails. */
bool dhc_interp_run(DhcArena *arena, DhcDiags *diags, const DhcFunc *f,
                    const DhcArray *const *args, DhcArray **results, DhcArray **updated);

/* Scalar meaning of an elementwise op (spec interpreter, constant folding). Family 'F' or
 * 'I' by operand dtype. */
typedef union DhcScalar {
  double f;
  int64_t i;
} DhcScalar;
DhcScalar dhc_eval_ew(DhcOp op, dhc_dtype operand, const DhcScalar *args);
DhcScalar dhc_eval_cast(dhc_dtype from, dhc_dtype to, DhcScalar v);

#endif
