/* Cotangents of a scan's constants. In general the backward scan adds each step's share to
 * a carry. Where the share is a dot or a sum over rows, its operands are stacked instead and
 * one dot (or sum) over all steps follows the loop: the steps then wait for no weight-sized
 * addition, and the dot is as large as the sequence. The order of the sum over steps is
 * that of the dot. A body that goes through many steps by itself keeps its sums: they are as large
 * as can be, and their operands too large to be stacked. The carry that is no longer read goes with dead code. */
#include "passes/grad/ad_internal.h"

enum { MAX_TERMS = 8 };

/* An operand stacked over the steps: operand `arg` of the scan, or its result `result`. */
typedef struct Stack {
  int arg, result;
} Stack;

/* core, perhaps transposed, perhaps reshaped to the constant's shape in the end. */
typedef struct Term {
  const DhcNode *core; /* dot_general or reduce_sum in the body */
  const DhcNode *transpose;
  Stack operand[2];
} Term;

struct DhcScanSum {
  int n_terms;
  Term term[MAX_TERMS];
};

static bool find_term(const DhcValue *g, Term *t) {
  const DhcNode *d = g->def;
  *t = (Term){0};
  if (d->op == DHC_OP_RESHAPE) d = d->args[0]->def;
  if (d->op == DHC_OP_TRANSPOSE) {
    t->transpose = d;
    d = d->args[0]->def;
  }
  t->core = d;
  return d->op == DHC_OP_DOT_GENERAL ||
         (d->op == DHC_OP_REDUCE_SUM && !dhc_attr(d, "keep")->b);
}

/* The terms of a share: a sum of things that can leave the loop. */
static bool find_terms(const DhcValue *g, DhcScanSum *s) {
  if (g->def->op == DHC_OP_ADD)
    return find_terms(g->def->args[0], s) && find_terms(g->def->args[1], s);
  return s->n_terms < MAX_TERMS && find_term(g, &s->term[s->n_terms++]);
}

/* Whether v has one value a step: a constant would have no axis of steps. */
static bool stackable(const DhcFunc *body, const DhcValue *v, const DhcScanShape *s) {
  int p = dhc_edit_param(body, v);
  return v->type.rank >= s->axis && (p < 0 || (p >= s->n_carry && p < s->n_carry + s->n_xs));
}

static Stack stack(DhcFunc *body, DhcValue *v, const DhcScanShape *s) {
  int p = dhc_edit_param(body, v);
  if (p >= 0) return (Stack){p, -1};
  for (int i = s->n_carry; i < body->results.n; i++)
    if (body->results.at[i] == v) return (Stack){-1, i};
  dhc_ad_result(body, v, "stacked");
  return (Stack){-1, body->results.n - 1};
}

DhcScanSum *dhc_ad_sum_plan(DhcFunc *body, const DhcValue *share, const DhcScanShape *s) {
  if (dhc_edit_has_steps(body)) return NULL;
  DhcScanSum *sum = DHC_NEW(body->module->arena, DhcScanSum);
  if (!find_terms(share, sum)) return NULL;
  for (int i = 0; i < sum->n_terms; i++)
    for (int k = 0; k < sum->term[i].core->n_args; k++)
      if (!stackable(body, sum->term[i].core->args[k], s)) return NULL;
  for (int i = 0; i < sum->n_terms; i++)
    for (int k = 0; k < sum->term[i].core->n_args; k++)
      sum->term[i].operand[k] = stack(body, sum->term[i].core->args[k], s);
  return sum;
}

/* Axes of a step's value as axes of the stacked one; returns n. */
static int shifted(const DhcAttr *axes, int step_axis, int64_t *out) {
  for (int i = 0; i < axes->ints.n; i++)
    out[i] = axes->ints.at[i] + (axes->ints.at[i] >= step_axis);
  return axes->ints.n;
}

static DhcValue *build_core(DhcBuilder *b, const Term *t, DhcValue *const *v, int axis) {
  int64_t ba[DHC_MAX_RANK], bb[DHC_MAX_RANK], ca[DHC_MAX_RANK + 1], cb[DHC_MAX_RANK + 1];
  if (t->core->op == DHC_OP_REDUCE_SUM) {
    int n = shifted(dhc_attr(t->core, "axes"), axis, ca);
    ca[n++] = axis;
    for (int i = n - 1; i > 0 && ca[i - 1] > ca[i]; i--) { /* ascending, as written by hand */
      int64_t x = ca[i];
      ca[i] = ca[i - 1];
      ca[i - 1] = x;
    }
    return dhc_b_reduce(b, DHC_OP_REDUCE_SUM, v[0], ca, n, false);
  }
  int n_batch = shifted(dhc_attr(t->core, "batch_a"), axis, ba);
  shifted(dhc_attr(t->core, "batch_b"), axis, bb);
  int n = shifted(dhc_attr(t->core, "contract_a"), axis, ca + 1);
  shifted(dhc_attr(t->core, "contract_b"), axis, cb + 1);
  ca[0] = cb[0] = axis; /* steps are the outer contracted index */
  return dhc_b_dot(b, v[0], v[1], ba, bb, n_batch, ca, cb, n + 1);
}

DhcValue *dhc_ad_sum_build(DhcBuilder *b, const DhcScanSum *s, const DhcNode *scan,
                           const DhcType *type, int axis) {
  DhcValue *all = NULL;
  for (int i = 0; i < s->n_terms; i++) {
    const Term *t = &s->term[i];
    DhcValue *v[2] = {NULL, NULL};
    for (int k = 0; k < t->core->n_args; k++)
      v[k] = t->operand[k].arg >= 0 ? scan->args[t->operand[k].arg]
                                    : scan->results[t->operand[k].result];
    DhcValue *x = build_core(b, t, v, axis);
    if (x && t->transpose) x = dhc_b_transpose(b, x, dhc_attr(t->transpose, "perm")->ints.at);
    if (x && !dhc_type_equal(&x->type, type)) x = dhc_b_reshape(b, x, type->dim, type->rank);
    all = all && x ? dhc_b_binary(b, DHC_OP_ADD, all, x) : x;
    if (!all) return NULL;
  }
  return all;
}
