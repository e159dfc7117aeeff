/* The core columns of the op table, as data. */
#include "ir/ir_internal.h"
#include "ir/ops_rules.h"

/* Attribute lists end with a comma, so that an empty one is a list, too. */
#define N_ATTRS(...) \
  ((int)(sizeof((const DhcAttrDecl[]){__VA_ARGS__{NULL, DHC_ATTR_INT}}) / sizeof(DhcAttrDecl)) - 1)

/* A row stays open for the columns behind it until the next begins. */
static const DhcOpInfo table[DHC_N_OPS + 1] = {
  [DHC_N_OPS] = {
    .name = NULL,
#define OP(id, text, args, results, class, attr_list, shape_rule, interp_rule, flops_rule) \
  },                                                                                       \
  [DHC_OP_##id] = {                                                                        \
    .name = text,                                                                          \
    .n_args = args,                                                                        \
    .n_results = results,                                                                  \
    .cls = DHC_CLASS_##class,                                                              \
    .attrs = {attr_list{NULL, DHC_ATTR_INT}},                                              \
    .n_attrs = N_ATTRS(attr_list),                                                         \
    .shape = shape_rule,                                                                   \
    .interp = interp_rule,                                                                 \
    .flops = flops_rule,
#define EW(id, text, args, family, f_expr, i_expr, flops_rule)                                     \
  OP(id, text, args, 1, ELEMENTWISE, A0, dhc_shape_##family, dhc_interp_ew, flops_rule) \
    .types = DHC_EW_##family, .axes = dhc_axes_same,
#define AXES(rule) .axes = dhc_axes_##rule,
#define RANGE(rule) .range = dhc_range_##rule,
#define INDEX(k, into) .index_arg = k, .index_into = DHC_INDEX_##into,
#define FOLD(op) .folds = true, .fold_by = DHC_OP_##op,
#define WORK(n) .work = n,
#define BACK(rule) .back = true,
#define AGAIN .again = true,
#define EXACT .exact = true,
#include "ir/ops.def"
  }
};

const DhcOpInfo *dhc_op_info(DhcOp op) {
  if ((unsigned)op >= DHC_N_OPS) DHC_BUG("op number %d", (int)op);
  return &table[op];
}

int dhc_op_work(DhcOp op) {
  const DhcOpInfo *info = dhc_op_info(op);
  return info->work ? info->work : info->cls != DHC_CLASS_CREATE;
}

bool dhc_op_parse(const char *name, DhcOp *out) {
  for (int i = 0; i < DHC_N_OPS; i++)
    if (strcmp(table[i].name, name) == 0) {
      *out = (DhcOp)i;
      return true;
    }
  return false;
}
