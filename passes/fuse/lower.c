/* Pass "lower": what no kernel computes in terms of other ops, always by definition, so that no bit changes. A composite
 * without a kernel of its own is its body; scans walk along their first axis, or by blocks; routing is comparisons and a counting
 * sort (fuse_route.c); windows side by side are rows of a matrix (fuse_patch.c). Nothing here is a choice: without it there is no
 * program, or one whose sums have another order, so no switch and no limit reaches it. */
#include <string.h>

#include "passes/fuse/fuse_internal.h"

/* ---- scans ----------------------------------------------------------------------------- */

static DhcValue *move_axis(DhcBuilder *b, DhcValue *x, int from, int to) {
  int64_t perm[DHC_MAX_RANK];
  int n = x->type.rank, at = 0;
  for (int d = 0; d < n; d++) {
    if (d == to) {
      perm[d] = from;
      continue;
    }
    if (at == from) at++;
    perm[d] = at++;
  }
  return dhc_b_transpose(b, x, perm);
}

/* A scan walks over its xs and ys step by step in memory: its axis becomes the first, unless a step is a block of many rows: these
 * are copied as they are met, and all of them never lie there twice. */
static bool first_axis(DhcNode *n) {
  int axis = (int)dhc_attr(n, "axis")->i, n_carry = (int)dhc_attr(n, "n_carry")->i, n_xs = (int)dhc_attr(n, "n_xs")->i;
  DhcBuilder b = {.f = n->func, .before = n, .span = n->span, .origin = n->origin};
  DhcValue **arg = DHC_NEW_N(n->func->module->arena, DhcValue *, n->n_args + 1);
  for (int i = 0; i < n->n_args; i++) {
    bool x = i >= n_carry && i < n_carry + n_xs;
    int from = axis < 0 ? axis + n->args[i]->type.rank : axis;
    arg[i] = x ? move_axis(&b, n->args[i], from, 0) : n->args[i];
    if (!arg[i]) return false;
  }
  const DhcOpInfo *info = dhc_op_info(n->op);
  DhcAttr attr[DHC_MAX_ATTRS];
  for (int i = 0; i < info->n_attrs; i++)
    attr[i] = strcmp(info->attrs[i].name, "axis") == 0 ? dhc_attr_int(0) : n->attrs[i];
  DhcNode *scan = dhc_build(&b, n->op, arg, n->n_args, attr, info->n_attrs);
  if (!scan) return false;
  for (int i = 0; i < n->n_results; i++) {
    int to = axis < 0 ? axis + n->results[i]->type.rank : axis;
    DhcValue *v = i < n_carry ? scan->results[i] : move_axis(&b, scan->results[i], 0, to);
    if (!v) return false;
    dhc_replace_uses(n->results[i], v);
  }
  dhc_node_remove(n);
  return true;
}

static bool is_block(const DhcType *t, int axis) {
  int long_ones = 0;
  for (int d = (axis < 0 ? axis + t->rank : axis) + 1; d < t->rank; d++) {
    int64_t v;
    long_ones += !dhc_dim_is_const(t->dim[d], &v) || v > 1;
  }
  return long_ones > 1;
}

static bool walks_elsewhere(const DhcNode *n) {
  if (n->op != DHC_OP_SCAN) return false;
  int axis = (int)dhc_attr(n, "axis")->i, n_carry = (int)dhc_attr(n, "n_carry")->i, n_xs = (int)dhc_attr(n, "n_xs")->i;
  bool blocks = true;
  for (int i = n_carry; i < n_carry + n_xs; i++) blocks = blocks && is_block(&n->args[i]->type, axis);
  for (int i = n_carry; i < n->n_results; i++) blocks = blocks && is_block(&n->results[i]->type, axis);
  return axis != 0 && !blocks;
}

/* ---- the pass -------------------------------------------------------------------------------- */

/* Callees come before callers, so what is put in place holds no such calls. */
static void dissolve(DhcFunc *f, DhcPassCtx *px) {
  for (DhcNode *n = f->first, *next; n; n = next) {
    next = n->next;
    if (n->op != DHC_OP_CALL || !dhc_is_plain_composite(dhc_attr(n, "callee")->func)) continue;
    dhc_pass_count_change(px);
    dhc_inline_call(n);
  }
}

static bool lower_function(DhcFunc *f, DhcPassCtx *px) {
  for (DhcNode *n = f->first, *next; n; n = next) {
    next = n->next;
    bool scan = walks_elsewhere(n), patches = dhc_fu_is_patches(n, px);
    if (!scan && !patches && (!dhc_fu_is_route(n) || dhc_fu_route_stays(px, n))) continue;
    dhc_pass_count_change(px);
    if (!(scan ? first_axis(n) : patches ? dhc_fu_lower_patches(n) : dhc_fu_lower_route(n, px))) return false;
  }
  return true;
}

/* requires: UNFUSED. establishes: LOWERED. breaks: -. */
bool dhc_pass_lower(DhcModule *m, DhcPassCtx *px) {
  bool ok = true;
  for (int i = 0; i < m->funcs.n; i++) dissolve(m->funcs.at[i], px);
  for (int i = 0; i < m->funcs.n; i++)
    if (m->funcs.at[i]->kind != DHC_FUNC_INIT) ok = lower_function(m->funcs.at[i], px) && ok; /* the interpreter runs those */
  return ok;
}
