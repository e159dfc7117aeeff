/* Pass "layout": storage of weights that contractions read.
 *
 * A kernel of kind DOT or RAGGED packs its column operand into panels as wide as a tile before it
 * multiplies. Where that operand is a model parameter, used whole and as it lies in memory,
 * every run packs the same bytes again. Such an operand gets the tag PANEL: the plan
 * (plan_panels.c) lets the kernel read a packed copy, made once when the weights change.
 *
 * A function's parameter counts as a model parameter only if every call passes one, so all
 * calls of a unit read the same storage. An entry that updates a parameter keeps it in
 * rows. Values and their order of summation stay: the result is the same to the bit. */
#include "passes/passes.h"

#include "ir/spec.h"

enum { MAX_DEPTH = 64 }; /* of calls */

static int param_number(const DhcFunc *f, const DhcValue *v) {
  for (int i = 0; i < f->params.n; i++)
    if (f->params.at[i] == v) return i;
  return -1;
}

static bool is_updated(const DhcFunc *f, const DhcValue *v) {
  for (const DhcNode *n = f->first; n; n = n->next)
    if (n->op == DHC_OP_UPDATE && n->args[0] == v) return true;
  return false;
}

/* The function that node n runs, with argument k its parameter k; *first: arguments below it
 * are not passed as they are. NULL: none. */
static const DhcFunc *callee_of(const DhcNode *n, int *first) {
  *first = 0;
  if (n->op == DHC_OP_CALL || n->op == DHC_OP_CHECKPOINT) return dhc_attr(n, "callee")->func;
  if (n->op != DHC_OP_SCAN) return NULL;
  *first = (int)(dhc_attr(n, "n_carry")->i + dhc_attr(n, "n_xs")->i);
  return dhc_attr(n, "body")->func;
}

static bool is_weight(const DhcModule *m, const DhcFunc *f, const DhcValue *v, int depth);

/* True if every call of f passes a model parameter as argument k, and there is a call. */
static bool gets_weight(const DhcModule *m, const DhcFunc *f, int k, int depth) {
  int calls = 0, first;
  for (int i = 0; i < m->funcs.n; i++)
    for (const DhcNode *n = m->funcs.at[i]->first; n; n = n->next) {
      if (callee_of(n, &first) != f) continue;
      calls++;
      if (k < first || k >= n->n_args || !is_weight(m, m->funcs.at[i], n->args[k], depth + 1)) return false;
    }
  return calls > 0;
}

/* True if v, in f, is a whole f32 model parameter of constant size in every entry. */
static bool is_weight(const DhcModule *m, const DhcFunc *f, const DhcValue *v, int depth) {
  int k = param_number(f, v);
  if (k < 0 || depth > MAX_DEPTH) return false;
  if (f->kind != DHC_FUNC_ENTRY) return gets_weight(m, f, k, depth);
  const DhcType *t = &v->type;
  for (int d = 0; d < t->rank; d++)
    if (!dhc_dim_is_const(t->dim[d], NULL)) return false;
  return f->param_info.at[k].role == DHC_ROLE_PARAM && t->dtype == DHC_F32 && !is_updated(f, v);
}

/* ---- operands -------------------------------------------------------------------------- */

/* Axis along which output 0 lies side by side, or -1. */
static int side_axis(const DhcSpec *s) {
  const DhcOperand *p = &s->operand[dhc_spec_n_inputs(s)];
  for (int t = 0; t < p->n_terms; t++)
    if (p->term[t].unit && !p->term[t].guarded && p->term[t].index < 0 && p->term[t].n_axes == 1) return p->term[t].axis[0];
  return -1;
}

/* The operand that a tile's columns come from by a plain load, walked as panels are; -1: none. */
static int column_operand(const DhcSpec *s) {
  int fold = -1, side = side_axis(s);
  for (int n = 0; n < s->n_nodes; n++) {
    if (s->node[n].kind != DHC_SN_FOLD) continue;
    if (fold >= 0 || s->node[n].op != DHC_OP_DOT_GENERAL) return -1;
    fold = n;
  }
  if (side < 0 || fold < 0 || s->node[fold].dtype != DHC_F32) return -1;
  const DhcSpecNode *f = &s->node[fold];
  for (int k = 0; k < 2; k++) {
    const DhcSpecNode *x = &s->node[f->a[k]];
    uint32_t other = dhc_spec_varies(s, f->a[1 - k]);
    if (x->kind != DHC_SN_LOAD || (other >> side & 1) || !dhc_tag_fits(s, x->operand)) continue;
    int axis[3];
    dhc_tag_axes(s, x->operand, axis);
    uint32_t reduced = 1u << axis[2] | (axis[0] < 0 ? 0 : 1u << axis[0]);
    if (axis[1] == side && f->axes == reduced) return x->operand;
  }
  return -1;
}

static bool loaded_once(const DhcSpec *s, int operand) {
  int loads = 0;
  for (int n = 0; n < s->n_nodes; n++) loads += s->node[n].kind == DHC_SN_LOAD && s->node[n].operand == operand;
  return loads == 1;
}

/* True if operand o of the kernel is all of argument o, row by row. */
static bool is_whole(const DhcModule *m, const DhcNode *n, const DhcSpec *s, int o) {
  const DhcType *t = &n->args[o]->type;
  const DhcAttr *dims = dhc_attr(n, "dims"), *offsets = dhc_attr(n, "offsets");
  int axis[3], first = s->operand[o].n_terms == 3 ? 0 : 1;
  dhc_tag_axes(s, o, axis);
  if (t->rank != 3 - first || !dhc_dim_is(offsets->dims.at[o], 0)) return false;
  for (int k = first; k < 3; k++) {
    int at = dhc_spec_extent_arg(s, axis[k]);
    const DhcDim *extent = at < 0 ? dhc_dim_const(m->dims, s->axis[axis[k]].extent) : dims->dims.at[at];
    if (extent != t->dim[k - first]) return false;
  }
  const DhcDim *cols = t->dim[2 - first];
  if (dims->dims.at[dhc_spec_stride_arg(s, o, 0)] != cols) return false;
  return first || dims->dims.at[dhc_spec_stride_arg(s, o, 1)] == dhc_dim_mul(m->dims, t->dim[1], cols);
}

static const DhcSpec *with_panels(DhcModule *m, const DhcSpec *s, int operand, int width) {
  DhcSpec *r = dhc_arena_dup(m->arena, s, sizeof *s);
  r->operand[operand].tag = DHC_TAG_PANEL;
  r->operand[operand].width = width;
  for (int i = 0; i < m->specs.n; i++)
    if (dhc_spec_equal(m->specs.at[i], r)) return m->specs.at[i];
  DHC_PUSH(m->arena, &m->specs, r);
  return r;
}

bool dhc_pass_layout(DhcModule *m, DhcPassCtx *px) {
  for (int i = 0; px->panel_width && i < m->funcs.n; i++)
    for (DhcNode *n = m->funcs.at[i]->first; n; n = n->next) {
      if (n->op != DHC_OP_KERNEL) continue;
      DhcAttr *a = &n->attrs[dhc_attr(n, "spec") - n->attrs];
      if (a->spec->kind != DHC_KIND_DOT && a->spec->kind != DHC_KIND_RAGGED) continue;
      int o = column_operand(a->spec);
      if (o < 0 || a->spec->operand[o].tag != DHC_TAG_ROW || !loaded_once(a->spec, o)) continue;
      if (!is_whole(m, n, a->spec, o) || !is_weight(m, m->funcs.at[i], n->args[o], 0)) continue;
      if (dhc_pass_may_change(px)) a->spec = with_panels(m, a->spec, o, px->panel_width);
    }
  return true;
}
