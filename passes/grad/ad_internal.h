/* Reverse mode, inside. A joint function holds a copy of the function's nodes (forward)
 * and, behind them, what the rules build (backward). An entry keeps the joint function; a
 * unit's is cut into f.fwd and f.bwd (ad_split.c).
 *
 * A rule is `bool vjp_<name>(DhcAd *ad, DhcNode *n)`: it asks for the cotangents of n's
 * results (NULL is a symbolic zero), builds with ad->b, and adds to the cotangents of n's
 * operands. Rules emit ordinary differentiable IR, so derivatives nest. */
#ifndef DHC_PASSES_AD_INTERNAL_H
#define DHC_PASSES_AD_INTERNAL_H

#include "passes/clean/edit.h"
#include "passes/passes.h"

typedef struct DhcAd {
  DhcPassCtx *px;
  DhcModule *m;
  const DhcFunc *src; /* what is differentiated */
  DhcFunc *f;         /* the joint function */
  DhcBuilder b;       /* at the end of f */
  DhcArena *arena;    /* the module's: scratch would be reset by nested passes */
  /* By value id of src: depends on something we differentiate by; leads to something we
   * differentiate. */
  bool *active, *useful;
  bool *wanted;       /* by parameter index of src */
  bool cotangent_inputs; /* dhc_ad_forward adds an input for every target */
  DhcValue **cot_param;  /* by result index of src: that input */
  DhcNode **copy;     /* by node id of src: its node in f (with more results for calls) */
  DhcValue **map;     /* by value id of src: its value in f */
  /* By value id of f, forward values only: */
  int n_forward;
  DhcValue **cot;     /* cotangent so far, NULL is zero */
  bool *carries;      /* active and useful */
  bool *reached;      /* integer value that a cotangent would have passed through */
  void **aux;         /* by node id of f: what dhc_ad_forward_* left for the rule */
  int n_forward_nodes;
} DhcAd;

typedef bool DhcVjpRule(DhcAd *ad, DhcNode *n);
#define VJP(rule) DhcVjpRule rule;
#include "ir/ops.def"

/* Cotangent of result i of n, or NULL for zero; the second form builds the zeros. */
DhcValue *dhc_ad_cot(const DhcAd *ad, const DhcNode *n, int i);
DhcValue *dhc_ad_cot_or_zeros(DhcAd *ad, const DhcNode *n, int i);
/* Whether operand i of n is to get a cotangent at all: saves building it. */
bool dhc_ad_wants(const DhcAd *ad, const DhcNode *n, int i);
/* Adds to the cotangent of operand i; its type must be the operand's. Ignored where not
 * wanted; NULL (a builder's failure) makes it false. */
bool dhc_ad_add(DhcAd *ad, const DhcNode *n, int i, DhcValue *cot);
/* Zeros of v's type; whether a value is such. */
DhcValue *dhc_ad_zeros(DhcAd *ad, const DhcValue *v);
bool dhc_ad_is_zeros(const DhcValue *v);
/* Whether the function of a pair gives no gradient to its parameter `param`, whatever its values:
 * a symbolic zero of the caller's, too. */
bool dhc_ad_gives_none(const DhcGradPair *pair, int param);

/* Copies a call or scan of src into f so that its rule finds what it needs. */
DhcNode *dhc_ad_forward_call(DhcAd *ad, const DhcNode *n, DhcValue *const *args);
DhcNode *dhc_ad_forward_scan(DhcAd *ad, const DhcNode *n, DhcValue *const *args);

/* Makes the joint function `name` with f's parameters, cotangent inputs if asked for, and
 * forward nodes. The caller has set px, m, src, wanted, cotangent_inputs; `target` says by
 * result index of src what is differentiated. */
bool dhc_ad_forward(DhcAd *ad, const char *name, DhcFuncKind kind, const bool *target);
/* Another way back over the same forward nodes: by what is wanted now, from `target`. */
void dhc_ad_back_again(DhcAd *ad, const bool *target);
/* Sets the seed of result r of src, then runs the rules over all forward nodes. */
bool dhc_ad_seed(DhcAd *ad, int r, DhcValue *cot);
bool dhc_ad_reverse(DhcAd *ad);

/* Cuts ad->f, whose results `cots` are the cotangents of src's float parameters, in two.
 * cot_params: cotangent parameters of the joint function, in order. */
DhcGradPair *dhc_ad_split(DhcAd *ad, DhcValue *const *cots, int n_cots,
                          DhcValue *const *cot_params, int n_cot_params);

/* The backward scan's constants (vjp_scan_sums.c). plan: whether a step's share of a
 * constant's cotangent can be taken out of the loop; if so, body gets results for what must
 * be stacked, else NULL. build: the sum over all steps, of the constant's type, behind the
 * scan. */
typedef struct DhcScanShape {
  int n_carry, n_xs, axis;
} DhcScanShape;
typedef struct DhcScanSum DhcScanSum;
DhcScanSum *dhc_ad_sum_plan(DhcFunc *body, const DhcValue *share, const DhcScanShape *s);
DhcValue *dhc_ad_sum_build(DhcBuilder *b, const DhcScanSum *s, const DhcNode *scan,
                           const DhcType *type, int axis);

/* f's own symbols as dims: the `dims` attribute of a call from a function with the same. */
DhcAttr dhc_ad_own_dims(DhcModule *m, const DhcFunc *f);
/* dhc_func_result under `name`, with a number behind it if that is taken. */
void dhc_ad_result(DhcFunc *f, DhcValue *v, const char *name);

static inline bool dhc_ad_is_float(const DhcValue *v) {
  return dhc_dtype_is_float(v->type.dtype);
}

#endif
