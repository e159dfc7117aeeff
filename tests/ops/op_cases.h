/* Generated test cases of every op in ir/ops.def: one small module each, with operands
 * drawn from the op's DOMAIN, and wrong uses that a shape rule must refuse.
 *
 * Whoever wants to test something about all ops (the interpreter against a naive
 * formula, text, gradients, a backend) walks the cases of each op with a callback:
 *
 *   for (int op = 0; op < DHC_N_OPS; op++)
 *     dhc_op_cases((DhcOp)op, &options, check, &context);
 *
 * Cases are a function of (op, options) alone, so a failing one is found again by name.
 * Ops of class META (param, kernel) have none. */
#ifndef DHC_TESTS_OP_CASES_H
#define DHC_TESTS_OP_CASES_H

#include "ir/interp.h"

/* How a result may differ from the interpreter's (reliability plan, tolerances). */
typedef enum DhcCaseError {
  DHC_CASE_EXACT, /* moves, integers, comparisons, selections: equal */
  DHC_CASE_ULPS,  /* elementwise: 4 units in the last place of the result's dtype */
  DHC_CASE_SUM,   /* sums of `terms` products: 8 sqrt(terms) u sum |a b| */
  DHC_CASE_CHAIN  /* `terms` roundings one after the other: 8 terms u (1 + |value|) */
} DhcCaseError;

typedef struct DhcOpCase {
  DhcOp op;
  const char *name; /* "reduce_sum/17x33 axis 1 keep", unique for the op */
  DhcArena *arena;  /* of everything here; ends when the callback returns */
  DhcDiags *diags;
  DhcModule *m;
  DhcFunc *f;    /* entry @case; parameters are the operands in order (role input),
                    results all results of `node` */
  DhcNode *node; /* the op under test; NULL in a wrong case that was refused */
  const DhcArray *const *args; /* one per parameter of f; NULL in a wrong case */
  DhcCaseError error;
  int64_t terms; /* of the last two */
  bool smooth;   /* away from kinks and ties: finite differences hold */
  bool special;  /* operands contain NaN, infinities, signed zeros, extremes */
  bool composed; /* f holds other nodes too (broadcasts, a callee) */
} DhcOpCase;

typedef struct DhcCaseOptions {
  uint64_t seed;
  dhc_dtype float_dtype; /* of float operands; values are representable in it */
  bool small;            /* leave out shapes of more than 100 elements */
} DhcCaseOptions;

typedef void (*DhcCaseFn)(void *ctx, const DhcOpCase *c);

/* Calls fn for every case; returns how many there were. A case whose graph the builder
 * refuses is handed over with node NULL and the reason in diags. */
int dhc_op_cases(DhcOp op, const DhcCaseOptions *o, DhcCaseFn fn, void *ctx);
/* The same for wrong uses: node must be NULL and diags must hold an error. */
int dhc_op_wrong_cases(DhcOp op, const DhcCaseOptions *o, DhcCaseFn fn, void *ctx);

/* ---- columns of the table that tests read ---- */

typedef struct DhcCaseDomain {
  bool given;
  double lo, hi;
  int n_kinks;
  double kink[4];
} DhcCaseDomain;
DhcCaseDomain dhc_case_domain(DhcOp op);
/* Name in the VJP column: "vjp_none", "vjp_zero" or a rule. */
const char *dhc_case_vjp(DhcOp op);
/* There is a derivative to test: a rule, and a float operand and result. */
bool dhc_case_differentiable(const DhcOpCase *c);

/* ---- comparing ---- */

/* Runs the case in the interpreter; false after a diagnostic. results: room for
 * f->results.n. */
bool dhc_case_run(const DhcOpCase *c, DhcArray **results);
/* Largest allowed absolute difference for every element of result r, whose interpreter
 * value is `want`. */
DhcArray *dhc_case_bound(const DhcOpCase *c, int r, const DhcArray *want);
/* First element where |got - want| is not within bound (NaN equals NaN, infinities equal
 * themselves); -1: none. */
int64_t dhc_case_mismatch(const DhcArray *want, const DhcArray *got, const DhcArray *bound);

/* ---- drawing, for other generators ---- */

uint64_t dhc_case_bits(uint64_t *state); /* splitmix64 */
double dhc_case_uniform(uint64_t *state, double lo, double hi);
/* Draws v into a float array's element: rounded to what the dtype holds. */
double dhc_case_representable(dhc_dtype t, double v);

#endif
