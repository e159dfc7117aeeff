/* Functions in pieces whose corner has no derivative: max(x, c) in one term of a sum and min(x, c)
 * in another. At x = c both operands are equal, and at a tie the derivative belongs to the second
 * one (ir/ops.def): with c second in both, or x second in both, none of the pieces counts there,
 * or both do. */
#include "frontend/elab_internal.h"

enum { MAX_PAIRS = 64 }; /* of a function: more are no longer looked at */

typedef struct Corner {
  const DhcNode *node;
  const DhcValue *x;
  double c;
  bool second; /* c is the second operand */
} Corner;

/* The number that v holds everywhere. */
static bool is_number(const DhcValue *v, double *c) {
  while (v->def->op == DHC_OP_BROADCAST || v->def->op == DHC_OP_RESHAPE) v = v->def->args[0];
  if (v->def->op != DHC_OP_FILL || !dhc_dtype_is_float(v->type.dtype)) return false;
  *c = dhc_attr(v->def, "value")->f;
  return true;
}

static bool is_corner(const DhcNode *n, DhcOp op, Corner *k) {
  if (n->op != op) return false;
  k->node = n;
  for (int i = 0; i < 2; i++) {
    if (!is_number(n->args[i], &k->c)) continue;
    k->x = n->args[1 - i];
    k->second = i == 1;
    return !is_number(k->x, &(double){0});
  }
  return false;
}

/* Is there a sum one operand of which is made, element by element, of a and not of b, the other of
 * b and not of a? */
static bool meet(const DhcFunc *f, const DhcNode *a, const DhcNode *b, uint8_t *from) {
  memset(from, 0, (size_t)f->next_value_id);
  from[a->results[0]->id] = 1;
  from[b->results[0]->id] = 2;
  for (const DhcNode *n = f->first; n; n = n->next) {
    if (n == a || n == b || n->n_results != 1) continue;
    if (dhc_op_info(n->op)->cls != DHC_CLASS_ELEMENTWISE && n->op != DHC_OP_RESHAPE && n->op != DHC_OP_BROADCAST) continue;
    uint8_t all = 0;
    for (int i = 0; i < n->n_args; i++) all |= from[n->args[i]->id];
    if (all == 3 && (n->op == DHC_OP_ADD || n->op == DHC_OP_SUB)) {
      uint8_t x = from[n->args[0]->id], y = from[n->args[1]->id];
      if ((x == 1 && y == 2) || (x == 2 && y == 1)) return true;
    }
    from[n->results[0]->id] = all;
  }
  return false;
}

/* Text of the user's: the library's own pieces are right, and next to others only look wrong. */
static bool is_own(const DhcElab *e, DhcSpan at) { return e->program.root && at.file == e->program.root->file; }

static bool reported(const DhcElab *e, DhcSpan at) {
  for (int i = 0; i < e->diags->all.n; i++) {
    const DhcDiag *d = e->diags->all.at[i];
    if (!strcmp(d->code, "E0322") && d->at.file == at.file && d->at.begin == at.begin) return true;
  }
  return false;
}

static void report(DhcElab *e, const Corner *max, const Corner *min) {
  DhcSpan at = min->node->span;
  if (reported(e, at)) return;
  const char *c = dhc_arena_printf(e->arena, "%.9g", min->c);
  DhcDiag *d = dhc_diag(e->diags, DHC_WARNING, "E0322", at,
                        "at %s both this min and the max it adds up with have derivative %s: the sum has that of neither piece",
                        c, min->second ? "0" : "1");
  dhc_diag_note(e->diags, d, max->node->span, "the max");
  dhc_diag_hint(e->diags, d, "at a tie the derivative belongs to the second operand: write %s here, or choose between the pieces with "
                             "select(x > %s, ...)",
                min->second ? dhc_arena_printf(e->arena, "min(%s, x)", c) : dhc_arena_printf(e->arena, "min(x, %s)", c), c);
}

static void look_at(DhcElab *e, const DhcFunc *f) {
  uint8_t *from = NULL;
  int n_pairs = 0;
  Corner max, min;
  for (const DhcNode *a = f->first; a; a = a->next) {
    if (!is_corner(a, DHC_OP_MAX, &max) || !is_own(e, a->span)) continue;
    for (const DhcNode *b = f->first; b; b = b->next) {
      if (!is_corner(b, DHC_OP_MIN, &min) || min.x != max.x || min.c != max.c || min.second != max.second) continue;
      if (!is_own(e, b->span)) continue;
      if (++n_pairs > MAX_PAIRS) return;
      if (!from) from = DHC_NEW_N(e->arena, uint8_t, f->next_value_id + 1);
      if (meet(f, a, b, from)) report(e, &max, &min);
    }
  }
}

void dhc_warn_ties(DhcElab *e, const DhcModule *m) {
  for (int i = 0; i < m->funcs.n; i++) look_at(e, m->funcs.at[i]);
}
