/* Algebraic rewrites that keep every bit. Rules are rows of three tables (elementwise,
 * views and moves, length 1), each with the reason why it is exact; a rewrite that changes
 * rounding, a NaN, an infinity or a signed zero has no place here. NaNs count as one value:
 * their payload and sign mean nothing in this language. Only where an extent is 1 may a zero
 * that the model never wrote (a state at rest, padding) hide an infinity it would have met;
 * the rule's condition says so.
 *
 * Nodes are visited in order, so operands are in their final form; what a rule builds is
 * visited too. Every rule replaces a node by fewer or cheaper ones, so this ends. */
#include <math.h>

#include "passes/clean/simplify_internal.h"

bool dhc_simplify_const(const DhcValue *v, DhcScalar *out) {
  if (v->def->op != DHC_OP_FILL) return false;
  double c = dhc_attr(v->def, "value")->f;
  if (dhc_dtype_is_float(v->type.dtype))
    out->f = c;
  else if (c > -0x1p53 && c < 0x1p53)
    out->i = dhc_dtype_from_double(v->type.dtype, c);
  else
    return false;
  return true;
}

bool dhc_simplify_is(const DhcValue *v, double c) {
  DhcScalar k;
  if (!dhc_simplify_const(v, &k)) return false;
  if (!dhc_dtype_is_float(v->type.dtype)) return (double)k.i == c;
  return k.f == c && !signbit(k.f) == !signbit(c);
}

/* Whether a float of dtype t can be exactly c: then it is the same number in the
 * interpreter, which computes in double, and in a backend. */
static bool representable(dhc_dtype t, double c) {
  if (isnan(c)) return true;
  if (t == DHC_F64) return true;
  float f = (float)c;
  if ((double)f != c) return false;
  if (t == DHC_F32) return true;
  uint32_t bits;
  memcpy(&bits, &f, sizeof bits);
  return (bits & 0xffffu) == 0; /* bf16 */
}

DhcValue *dhc_simplify_fill(DhcSimplify *s, const DhcType *t, DhcScalar v) {
  if (dhc_dtype_is_float(t->dtype))
    return representable(t->dtype, v.f) ? dhc_b_fill(&s->b, t, v.f) : NULL;
  if (v.i <= -(INT64_C(1) << 53) || v.i >= INT64_C(1) << 53) return NULL;
  return dhc_b_fill(&s->b, t, (double)v.i);
}

int dhc_simplify_rule_count(void) {
  return dhc_n_rules_ew + dhc_n_rules_shape + dhc_n_rules_length;
}

DhcRuleInfo dhc_simplify_rule_at(int i) {
  const DhcRule *r = i < dhc_n_rules_ew ? &dhc_rules_ew[i]
                     : i < dhc_n_rules_ew + dhc_n_rules_shape
                         ? &dhc_rules_shape[i - dhc_n_rules_ew]
                         : &dhc_rules_length[i - dhc_n_rules_ew - dhc_n_rules_shape];
  return (DhcRuleInfo){r->name, r->op, r->condition};
}

/* One function at work. */
typedef struct Work {
  DhcSimplify s;
  DhcFunc *f;
  DHC_VEC(DhcValue *) instead; /* by value id; NULL: itself */
  DHC_VEC(DhcNode *) replaced;
  int by_op[DHC_N_OPS + 1];    /* rules of op k: order[by_op[k]] … order[by_op[k + 1] - 1] */
  const DhcRule **order;
} Work;

static bool is_for(const DhcRule *r, int op) {
  return r->op == DHC_RULE_EXACT ? dhc_op_info((DhcOp)op)->exact : (int)r->op == op;
}

static void index_rules(Work *w) {
  const DhcRule *const part[3] = {dhc_rules_ew, dhc_rules_shape, dhc_rules_length};
  const int n_part[3] = {dhc_n_rules_ew, dhc_n_rules_shape, dhc_n_rules_length};
  int all = n_part[0] + n_part[1] + n_part[2];
  w->order = DHC_NEW_N(w->s.px->scratch, const DhcRule *, all + DHC_N_OPS);
  int k = 0;
  for (int op = 0; op < DHC_N_OPS; op++) {
    w->by_op[op] = k;
    for (int p = 0; p < 3; p++)
      for (int i = 0; i < n_part[p]; i++)
        if (is_for(&part[p][i], op)) w->order[k++] = &part[p][i];
  }
  w->by_op[DHC_N_OPS] = k;
}

static DhcValue *final(const Work *w, DhcValue *v) {
  while (v->id < w->instead.n && w->instead.at[v->id]) v = w->instead.at[v->id];
  return v;
}

static void replace(Work *w, DhcNode *n, DhcValue *const *out) {
  DhcArena *a = w->s.px->scratch;
  for (int i = 0; i < n->n_results; i++) {
    while (w->instead.n <= n->results[i]->id) DHC_PUSH(a, &w->instead, NULL);
    w->instead.at[n->results[i]->id] = out[i];
  }
  DHC_PUSH(a, &w->replaced, n);
}

static bool is_replaced(const Work *w, const DhcNode *n) {
  int id = n->n_results ? n->results[0]->id : w->instead.n;
  return id < w->instead.n && w->instead.at[id];
}

/* True if some rule replaced n. */
static bool visit(Work *w, DhcNode *n) {
  DhcValue *out[DHC_MAX_RESULTS];
  for (int i = 0; i < n->n_args; i++) n->args[i] = final(w, n->args[i]);
  int begin = w->by_op[n->op], end = w->by_op[n->op + 1];
  if (begin == end) return false;
  w->s.b = (DhcBuilder){.f = w->f, .before = n, .span = n->span, .origin = n->origin};
  if (!dhc_pass_can_change(w->s.px)) return false;
  for (int i = begin; i < end; i++) {
    if (!w->order[i]->apply(&w->s, n, out)) continue;
    for (int r = 0; r < n->n_results; r++)
      if (!out[r] || !dhc_type_equal(&out[r]->type, &n->results[r]->type))
        DHC_BUG("simplify: rule %s changed the type of a %s", w->order[i]->name,
                dhc_op_info(n->op)->name);
    dhc_pass_may_change(w->s.px);
    replace(w, n, out);
    return true;
  }
  return false;
}

static void simplify_func(DhcFunc *f, DhcPassCtx *px) {
  Work w = {.f = f};
  w.s = (DhcSimplify){.px = px, .m = f->module, .facts = &f->facts};
  index_rules(&w);
  for (DhcNode *n = f->first, *next; n; n = next) {
    DhcNode *before = n->prev;
    next = n->next;
    if (is_replaced(&w, n) || !visit(&w, n)) continue;
    /* What the rule put in front of n is visited as well; n itself is dead by now. */
    next = before ? before->next : f->first;
  }
  for (int i = 0; i < f->results.n; i++) f->results.at[i] = final(&w, f->results.at[i]);
  for (int i = w.replaced.n - 1; i >= 0; i--) dhc_node_remove(w.replaced.at[i]);
}

/* requires: UNFUSED. establishes: -. breaks: -. */
bool dhc_pass_simplify(DhcModule *m, DhcPassCtx *px) {
  /* A rule may change only the function at hand (scan of length 1 inlines its body). */
  for (int i = 0; i < m->funcs.n; i++) simplify_func(m->funcs.at[i], px);
  return true;
}
