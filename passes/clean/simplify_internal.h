/* Simplify, inside: what rules see and the tables of rules. */
#ifndef DHC_PASSES_SIMPLIFY_INTERNAL_H
#define DHC_PASSES_SIMPLIFY_INTERNAL_H

#include "ir/interp.h"
#include "passes/passes.h"

typedef struct DhcSimplify {
  DhcPassCtx *px;
  DhcModule *m;
  const DhcFacts *facts;
  DhcBuilder b; /* before the node in question, with its span */
} DhcSimplify;

/* True: out[i] stands for result i of n from now on. New nodes go through s->b. A rule that
 * returns false has built nothing. */
typedef struct DhcRule {
  const char *name;
  DhcOp op;
  bool (*apply)(DhcSimplify *s, DhcNode *n, DhcValue **out);
  const char *condition;
} DhcRule;

extern const DhcRule dhc_rules_ew[], dhc_rules_shape[], dhc_rules_length[];
extern const int dhc_n_rules_ew, dhc_n_rules_shape, dhc_n_rules_length;

/* The one value of all of v's elements, if v is a fill. Integers and bool come back as .i. */
bool dhc_simplify_const(const DhcValue *v, DhcScalar *out);
/* v is a float fill of exactly c (the sign of zero counts) or an integer fill of c. */
bool dhc_simplify_is(const DhcValue *v, double c);
/* Fill of type t, or NULL if the attribute cannot hold the value exactly. */
DhcValue *dhc_simplify_fill(DhcSimplify *s, const DhcType *t, DhcScalar v);
/* The op of v's definition is `op`. */
static inline bool dhc_simplify_from(const DhcValue *v, DhcOp op) {
  return v->def->op == op;
}

#endif
