/* Equal pure nodes of a function become one: same op, attributes and operands. Operands are
 * rewritten on the way, so chains of equal nodes fold in one sweep. Calls count as pure
 * unless their callee holds an update. A fill of -0 and one of +0 differ. */
#include <string.h>

#include "passes/passes.h"

static uint64_t mix(uint64_t h, uint64_t v) {
  h ^= v + 0x9e3779b97f4a7c15u + (h << 6) + (h >> 2);
  return h * 0xff51afd7ed558ccdu;
}

static uint64_t bits_of(double v) {
  uint64_t b;
  memcpy(&b, &v, sizeof b);
  return b;
}

/* Dims, functions and specs are equal as pointers and stay out of the hash: it may not
 * depend on addresses, not even for the order of probing. */
static uint64_t attr_hash(const DhcAttr *a) {
  uint64_t h = (uint64_t)a->kind;
  switch (a->kind) {
    case DHC_ATTR_INT: return mix(h, (uint64_t)a->i);
    case DHC_ATTR_FLOAT: return mix(h, bits_of(a->f));
    case DHC_ATTR_BOOL:
    case DHC_ATTR_FLAG: return mix(h, a->b);
    case DHC_ATTR_STRING: return mix(h, strlen(a->s));
    case DHC_ATTR_INTS:
      for (int i = 0; i < a->ints.n; i++) h = mix(h, (uint64_t)a->ints.at[i]);
      return h;
    case DHC_ATTR_DIMS: return mix(h, (uint64_t)a->dims.n);
    case DHC_ATTR_DTYPE: return mix(h, (uint64_t)a->dtype);
    case DHC_ATTR_FUNC: return mix(h, (uint64_t)a->func->id);
    case DHC_ATTR_DIM:
    case DHC_ATTR_SPEC: return h;
  }
  return h;
}

static uint64_t node_hash(const DhcNode *n) {
  uint64_t h = mix((uint64_t)n->op, (uint64_t)n->n_args);
  for (int i = 0; i < n->n_args; i++) h = mix(h, (uint64_t)n->args[i]->id);
  int n_attrs = dhc_op_info(n->op)->n_attrs;
  for (int i = 0; i < n_attrs; i++) h = mix(h, attr_hash(&n->attrs[i]));
  return h;
}

static bool node_equal(const DhcNode *a, const DhcNode *b) {
  if (a->op != b->op || a->n_args != b->n_args || a->n_results != b->n_results) return false;
  for (int i = 0; i < a->n_args; i++)
    if (a->args[i] != b->args[i]) return false;
  int n_attrs = dhc_op_info(a->op)->n_attrs;
  for (int i = 0; i < n_attrs; i++)
    if (!dhc_attr_equal(&a->attrs[i], &b->attrs[i])) return false;
  return true;
}

/* Functions that hold an update, by id; callees come before callers. */
static bool *find_impure(const DhcModule *m, DhcArena *scratch) {
  int max = 0;
  for (int i = 0; i < m->funcs.n; i++)
    if (m->funcs.at[i]->id > max) max = m->funcs.at[i]->id;
  bool *impure = DHC_NEW_N(scratch, bool, max + 1);
  for (int i = 0; i < m->funcs.n; i++) {
    const DhcFunc *f = m->funcs.at[i];
    for (const DhcNode *n = f->first; n; n = n->next) {
      if (n->op == DHC_OP_UPDATE) impure[f->id] = true;
      if (n->op == DHC_OP_CALL || n->op == DHC_OP_CHECKPOINT || n->op == DHC_OP_SCAN)
        impure[f->id] |= impure[n->attrs[0].func->id];
    }
  }
  return impure;
}

static bool is_pure(const DhcNode *n, const bool *impure) {
  if (n->op == DHC_OP_PARAM || n->op == DHC_OP_UPDATE) return false;
  if (n->op == DHC_OP_CALL || n->op == DHC_OP_CHECKPOINT || n->op == DHC_OP_SCAN)
    return !impure[n->attrs[0].func->id];
  return true;
}

static void cse_func(DhcFunc *f, DhcPassCtx *px, const bool *impure) {
  int cap = 16;
  while (cap < 2 * f->n_nodes) cap *= 2;
  DhcNode **slot = DHC_NEW_N(px->scratch, DhcNode *, cap);
  DhcValue **instead = DHC_NEW_N(px->scratch, DhcValue *, f->next_value_id + 1);
  for (DhcNode *n = f->first, *next; n; n = next) {
    next = n->next;
    for (int i = 0; i < n->n_args; i++)
      if (instead[n->args[i]->id]) n->args[i] = instead[n->args[i]->id];
    if (!is_pure(n, impure)) continue;
    size_t at = (size_t)node_hash(n) & (size_t)(cap - 1);
    while (slot[at] && !node_equal(slot[at], n)) at = (at + 1) & (size_t)(cap - 1);
    if (!slot[at]) {
      slot[at] = n;
    } else if (dhc_pass_may_change(px)) {
      for (int i = 0; i < n->n_results; i++) instead[n->results[i]->id] = slot[at]->results[i];
    }
  }
  for (int i = 0; i < f->results.n; i++)
    if (instead[f->results.at[i]->id]) f->results.at[i] = instead[f->results.at[i]->id];
  for (DhcNode *n = f->last, *prev; n; n = prev) {
    prev = n->prev;
    if (n->n_results && n->op != DHC_OP_PARAM && instead[n->results[0]->id]) dhc_node_remove(n);
  }
}

/* requires: UNFUSED. establishes: -. breaks: -. */
bool dhc_pass_cse(DhcModule *m, DhcPassCtx *px) {
  bool *impure = find_impure(m, px->scratch);
  for (int i = 0; i < m->funcs.n; i++) cse_func(m->funcs.at[i], px, impure);
  return true;
}
