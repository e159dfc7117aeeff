/* Costs in floating-point operations, as dims. A multiply-add counts two, and so does nothing else:
 * exp, tanh and their kin count one (what they take in additions is WORK's column). Arithmetic on
 * integers, comparisons, choices, casts and moves are no floating-point operations: dhc_flops_none. */
#include "ir/ir_internal.h"
#include "ir/ops_rules.h"
#include "ir/spec.h"

static const DhcDim *elements(DhcModule *m, const DhcValue *v) {
  return dhc_type_elements(m->dims, &v->type);
}

const DhcDim *dhc_flops_none(DhcModule *m, const DhcNode *n) {
  (void)n;
  return dhc_dim_const(m->dims, 0);
}

/* One per element of the result; of what is added, where places are summed into. */
const DhcDim *dhc_flops_ew(DhcModule *m, const DhcNode *n) {
  if (!dhc_dtype_is_float(n->args[0]->type.dtype)) return dhc_flops_none(m, n);
  if (n->op == DHC_OP_SCATTER_ADD) return elements(m, n->args[2]);
  if (n->op == DHC_OP_PUT_ALONG || n->op == DHC_OP_WINDOW_SCATTER) return elements(m, n->args[0]);
  return elements(m, n->results[0]);
}

const DhcDim *dhc_flops_fma(DhcModule *m, const DhcNode *n) {
  return dhc_dim_mulc(m->dims, elements(m, n->results[0]), 2);
}

/* One per element that goes in. */
const DhcDim *dhc_flops_reduce(DhcModule *m, const DhcNode *n) { return elements(m, n->args[0]); }

const DhcDim *dhc_flops_dot_general(DhcModule *m, const DhcNode *n) {
  const DhcDim *d = dhc_dim_mulc(m->dims, elements(m, n->results[0]), 2);
  const DhcAttr *axes = dhc_attr(n, "contract_a");
  for (int i = 0; i < axes->ints.n; i++)
    d = dhc_dim_mul(m->dims, d, n->args[0]->type.dim[axes->ints.at[i]]);
  return d;
}

/* 2 T K N: every row meets one group's matrix. */
const DhcDim *dhc_flops_ragged_dot(DhcModule *m, const DhcNode *n) {
  const DhcDim *const d[] = {elements(m, n->args[0]), n->args[1]->type.dim[2]};
  return dhc_dim_mulc(m->dims, dhc_dim_product(m->dims, d, 2), 2);
}

const DhcDim *dhc_flops_ragged_dot_dw(DhcModule *m, const DhcNode *n) {
  const DhcDim *const d[] = {elements(m, n->args[0]), n->args[1]->type.dim[1]};
  return dhc_dim_mulc(m->dims, dhc_dim_product(m->dims, d, 2), 2);
}

/* 2 |y| (C / groups) |K| for the convolution and both of its gradients; a weight holds
 * O (C / groups) |K| elements. */
const DhcDim *dhc_flops_conv(DhcModule *m, const DhcNode *n) {
  const DhcValue *y = n->op == DHC_OP_CONV      ? n->results[0]
                      : n->op == DHC_OP_CONV_DX ? n->args[0]
                                                : n->args[1];
  const DhcType *w = n->op == DHC_OP_CONV_DW ? &n->results[0]->type : &n->args[1]->type;
  const DhcDim *taps = dhc_dim_product(m->dims, w->dim + 1, w->rank - 1);
  return dhc_dim_mulc(m->dims, dhc_dim_mul(m->dims, elements(m, y), taps), 2);
}

const DhcDim *dhc_flops_window(DhcModule *m, const DhcNode *n) {
  const DhcAttr *window = dhc_attr(n, "window");
  const DhcDim *d = elements(m, n->results[0]);
  for (int i = 0; i < window->ints.n; i++) d = dhc_dim_mulc(m->dims, d, window->ints.at[i]);
  return d;
}

const DhcDim *dhc_func_flops(DhcFunc *f) {
  const DhcDim *sum = dhc_dim_const(f->module->dims, 0);
  for (const DhcNode *n = f->first; n; n = n->next) {
    sum = dhc_dim_add(f->module->dims, sum, dhc_op_info(n->op)->flops(f->module, n));
  }
  return sum;
}

static const DhcDim *callee_flops(DhcModule *m, const DhcNode *n, DhcFunc *f) {
  const DhcAttr *dims = dhc_attr(n, "dims");
  return dhc_dim_subst(m->dims, dhc_func_flops(f), f->symbols.n, f->symbols.at, dims->dims.at);
}

const DhcDim *dhc_flops_call(DhcModule *m, const DhcNode *n) {
  return callee_flops(m, n, dhc_attr(n, "callee")->func);
}

const DhcDim *dhc_flops_scan(DhcModule *m, const DhcNode *n) {
  return dhc_dim_mul(m->dims, callee_flops(m, n, dhc_attr(n, "body")->func),
                     dhc_attr(n, "length")->dim);
}

/* What its spec does, at its arguments. */
const DhcDim *dhc_flops_kernel(DhcModule *m, const DhcNode *n) {
  const DhcAttr *dims = dhc_attr(n, "dims");
  const dhc_dimprog p = dhc_spec_flops(dhc_attr(n, "spec")->spec, m->arena);
  const DhcDim *stack[8];
  int top = 0;
  for (int32_t i = 0; i < p.n_code; i++) { /* sums of products: dhc_spec_flops writes nothing else */
    int64_t op = p.code[i];
    if (op == DHC_DIM_CONST || op == DHC_DIM_SYM) {
      int64_t word = p.code[++i];
      if (top == 8) DHC_BUG("cost of a kernel");
      stack[top++] = op == DHC_DIM_SYM ? dims->dims.at[word] : dhc_dim_const(m->dims, word);
      continue;
    }
    if (top < 2 || (op != DHC_DIM_ADD && op != DHC_DIM_MUL)) DHC_BUG("cost of a kernel");
    top--;
    stack[top - 1] = op == DHC_DIM_ADD ? dhc_dim_add(m->dims, stack[top - 1], stack[top]) : dhc_dim_mul(m->dims, stack[top - 1], stack[top]);
  }
  return stack[0];
}
