/* The core columns of the op table, as data. */
#include "ir/ir_internal.h"
#include "ir/ops_rules.h"

/* Attribute lists end with a comma, so that an empty one is a list, too. */
#define N_ATTRS(...) \
  ((int)(sizeof((const DhcAttrDecl[]){__VA_ARGS__{NULL, DHC_ATTR_INT}}) / sizeof(DhcAttrDecl)) - 1)

static const DhcOpInfo table[DHC_N_OPS] = {
#define OP(id, text, args, results, class, attr_list, shape_rule, interp_rule, flops_rule) \
  [DHC_OP_##id] = {.name = text,                                                           \
                   .n_args = args,                                                         \
                   .n_results = results,                                                   \
                   .cls = DHC_CLASS_##class,                                               \
                   .attrs = {attr_list{NULL, DHC_ATTR_INT}},                               \
                   .n_attrs = N_ATTRS(attr_list),                                          \
                   .shape = shape_rule,                                                    \
                   .interp = interp_rule,                                                  \
                   .flops = flops_rule},
#include "ir/ops.def"
};

const DhcOpInfo *dhc_op_info(DhcOp op) {
  if ((unsigned)op >= DHC_N_OPS) DHC_BUG("op number %d", (int)op);
  return &table[op];
}

bool dhc_op_parse(const char *name, DhcOp *out) {
  for (int i = 0; i < DHC_N_OPS; i++)
    if (strcmp(table[i].name, name) == 0) {
      *out = (DhcOp)i;
      return true;
    }
  return false;
}
