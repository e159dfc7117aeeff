/* Pass "layout": storage of weights that contractions read.
 *
 * A kernel of kind DOT or RAGGED packs its column operand into panels as wide as a tile before it
 * multiplies. Where that operand is a model parameter, or whole panels of a matrix, used as it lies
 * in memory, every run packs the same bytes again. Such an operand gets the tag PANEL: the plan
 * (plan_panels.c) lets the kernel read a packed copy, made once when the weights change.
 *
 * A function's parameter counts as a model parameter only if every call passes one, so all
 * calls of a unit read the same storage. An entry that updates a parameter keeps it in
 * rows. Where panels have elements of fewer bits, weights of convolutions and those whose rows are gathered have
 * them too (tags ROWS): they stay in rows, but are a copy like panels are; which weights have fewer bits says narrow.h. Values and their order of summation stay: the result is the same to the bit. */
#include "passes/clean/edit.h"
#include "passes/passes.h"

#include "ir/spec.h"
#include "passes/plan/narrow.h"

enum { MAX_DEPTH = 64, /* of calls */ MAX_FOLDS = 2 /* of a tile */ };

static bool is_updated(const DhcFunc *f, const DhcValue *v) {
  for (const DhcNode *n = f->first; n; n = n->next)
    if (n->op == DHC_OP_UPDATE && n->args[0] == v) return true;
  return false;
}

/* What an operand is asked for: NULL: a weight, else one of these of which `row_axes` axes number rows. */
typedef struct Wanted {
  const DhcNarrows *narrow;
  int row_axes;
} Wanted;

static bool is_weight(const DhcModule *m, const DhcFunc *f, const DhcValue *v, const Wanted *w, int depth);

/* True if every call of f passes a model parameter as argument k, and there is a call. */
static bool gets_weight(const DhcModule *m, const DhcFunc *f, int k, const Wanted *w, int depth) {
  int calls = 0, first;
  for (int i = 0; i < m->funcs.n; i++)
    for (const DhcNode *n = m->funcs.at[i]->first; n; n = n->next) {
      if (dhc_narrow_callee(n, &first) != f) continue;
      calls++;
      if (k < first || k >= n->n_args || !is_weight(m, m->funcs.at[i], n->args[k], w, depth + 1)) return false;
    }
  return calls > 0;
}

/* True if v, in f, is a whole f32 model parameter of constant size in every entry, and what is wanted. */
static bool is_weight(const DhcModule *m, const DhcFunc *f, const DhcValue *v, const Wanted *w, int depth) {
  int k = dhc_edit_param(f, v);
  if (k < 0 || depth > MAX_DEPTH) return false;
  if (f->kind != DHC_FUNC_ENTRY) return gets_weight(m, f, k, w, depth);
  const DhcType *t = &v->type;
  for (int d = 0; d < t->rank; d++)
    if (!dhc_dim_is_const(t->dim[d], NULL)) return false;
  if (w && dhc_narrow_row_axes(w->narrow, f->param_info.at[k].name) != w->row_axes) return false;
  return f->param_info.at[k].role == DHC_ROLE_WEIGHT && t->dtype == DHC_F32 && !is_updated(f, v);
}

/* ---- operands -------------------------------------------------------------------------- */

/* Axis along which output 0 lies side by side, or -1. */
static int side_axis(const DhcSpec *s) {
  const DhcOperand *p = &s->operand[dhc_spec_n_inputs(s)];
  for (int t = 0; t < p->n_terms; t++)
    if (p->term[t].unit && !p->term[t].guarded && p->term[t].index < 0 && p->term[t].n_axes == 1) return p->term[t].axis[0];
  return -1;
}

/* The operands that a tile's columns come from, one for each contraction, by plain loads that
 * are walked as panels are. How many; 0: none, or not all. */
static int column_operands(const DhcSpec *s, int *out) {
  int n_out = 0, side = side_axis(s);
  if (side < 0) return 0;
  for (int n = 0; n < s->n_nodes; n++) {
    const DhcSpecNode *f = &s->node[n];
    if (f->kind != DHC_SN_FOLD) continue;
    if (f->op != DHC_OP_DOT_GENERAL || f->dtype != DHC_F32 || n_out == MAX_FOLDS) return 0;
    int found = -1;
    for (int k = 0; k < 2 && found < 0; k++) {
      const DhcSpecNode *x = &s->node[f->a[k]];
      uint32_t other = dhc_spec_varies(s, f->a[1 - k]);
      if (x->kind != DHC_SN_LOAD || (other >> side & 1) || !dhc_tag_fits(s, x->operand)) continue;
      int axis[3];
      dhc_tag_axes(s, x->operand, axis);
      uint32_t reduced = 1u << axis[2] | (axis[0] < 0 ? 0 : 1u << axis[0]);
      if (axis[1] == side && f->axes == reduced) found = x->operand;
    }
    if (found < 0 || (n_out && out[0] == found)) return 0;
    out[n_out++] = found;
  }
  return n_out;
}

static bool loaded_once(const DhcSpec *s, int operand) {
  int loads = 0;
  for (int n = 0; n < s->n_nodes; n++) loads += s->node[n].kind == DHC_SN_LOAD && s->node[n].operand == operand;
  return loads == 1;
}

/* True if operand o is all rows of all matrices of argument o as those of one. */
static bool is_stack(const DhcModule *m, const DhcNode *n, const DhcSpec *s, int o) {
  const DhcType *t = &n->args[o]->type;
  const DhcAttr *dims = dhc_attr(n, "dims");
  const DhcDim *want[] = {dhc_dim_mul(m->dims, t->dim[0], t->dim[1]), t->dim[2]};
  int axis[3];
  dhc_tag_axes(s, o, axis);
  for (int k = 0; k < 2; k++) {
    int at = dhc_spec_extent_arg(s, axis[k + 1]);
    if ((at < 0 ? dhc_dim_const(m->dims, s->axis[axis[k + 1]].extent) : dims->dims.at[at]) != want[k]) return false;
  }
  return dims->dims.at[dhc_spec_stride_arg(s, o, 0)] == want[1] && dhc_dim_is(dhc_attr(n, "offsets")->dims.at[o], 0);
}

/* True if operand o of the kernel is argument o row by row: all of it, or whole panels. */
static bool is_whole(const DhcModule *m, const DhcNode *n, const DhcSpec *s, int o, int width) {
  const DhcType *t = &n->args[o]->type;
  const DhcAttr *dims = dhc_attr(n, "dims"), *offsets = dhc_attr(n, "offsets");
  int axis[3], first = s->operand[o].n_terms == 3 ? 0 : 1;
  int64_t rows, cols, offset;
  const DhcDim *extent[3] = {NULL};
  dhc_tag_axes(s, o, axis);
  if (t->rank == 3 && first) return is_stack(m, n, s, o);
  if (t->rank != 3 - first) return false;
  for (int k = first; k < 3; k++) {
    int at = dhc_spec_extent_arg(s, axis[k]);
    extent[k] = at < 0 ? dhc_dim_const(m->dims, s->axis[axis[k]].extent) : dims->dims.at[at];
    if (k != 1 && extent[k] != t->dim[k - first]) return false;
  }
  const DhcDim *row = t->dim[2 - first];
  if (dims->dims.at[dhc_spec_stride_arg(s, o, 0)] != row) return false;
  if (!first && dims->dims.at[dhc_spec_stride_arg(s, o, 1)] != dhc_dim_mul(m->dims, t->dim[1], row)) return false;
  if (extent[1] == t->dim[1 - first]) return dhc_dim_is(offsets->dims.at[o], 0);
  return first && dhc_dim_is_const(extent[1], &rows) && dhc_dim_is_const(extent[2], &cols) &&
         dhc_dim_is_const(offsets->dims.at[o], &offset) && rows % width == 0 && offset % (width * cols) == 0;
}

/* True if operand o of the kernel, which may lie in rows, is argument o as it lies, all of it. */
static bool is_dense(const DhcModule *m, const DhcNode *n, const DhcSpec *s, int o) {
  const DhcType *t = &n->args[o]->type;
  const DhcAttr *dims = dhc_attr(n, "dims");
  const DhcOperand *p = &s->operand[o];
  int row = dhc_tag_row_term(s, o);
  const DhcDim *step = dhc_dim_const(m->dims, 1), *all = step;
  for (int k = p->n_terms - 1; k >= 0; k--) { /* of what is gathered the elements of a row first, wherever their term stands */
    int at = p->term[row].index < 0 ? k : k ? 1 - row : row, guard = dhc_spec_offset_arg(s, o, at);
    const DhcTerm *e = &p->term[at];
    int stride = dhc_spec_stride_arg(s, o, at), extent = e->index < 0 ? dhc_spec_extent_arg(s, e->axis[0]) : guard + 1;
    if (stride >= 0 && dims->dims.at[stride] != step) return false;
    if (e->index >= 0 && !dhc_dim_is(dims->dims.at[guard], 0)) return false;
    const DhcDim *count = extent < 0 ? dhc_dim_const(m->dims, s->axis[e->axis[0]].extent) : dims->dims.at[extent];
    if (at == row && (!t->rank || count != t->dim[0])) return false;
    step = dhc_dim_mul(m->dims, step, count);
  }
  for (int k = 0; k < t->rank; k++) all = dhc_dim_mul(m->dims, all, t->dim[k]);
  return step == all && dhc_dim_is(dhc_attr(n, "offsets")->dims.at[o], 0);
}

static const DhcSpec *with_panels(DhcModule *m, const DhcSpec *s, const int *operand, int n, int width, int tag) {
  DhcSpec *r = dhc_arena_dup(m->arena, s, sizeof *s);
  for (int i = 0; i < n; i++) {
    r->operand[operand[i]].tag = (DhcTag)tag;
    r->operand[operand[i]].width = width;
  }
  for (int i = 0; i < m->specs.n; i++)
    if (dhc_spec_equal(m->specs.at[i], r)) return m->specs.at[i];
  DHC_PUSH(m->arena, &m->specs, r);
  return r;
}

/* Weights that lie in fewer bits, row by row, where a kernel reads no panels of them. */
static void quantise_rows(DhcModule *m, const DhcFunc *f, const DhcNode *n, DhcAttr *a, DhcPassCtx *px) {
  DhcTag tag = dhc_tag_is_i8((DhcTag)px->panel_tag) ? DHC_TAG_ROWS_I8 : DHC_TAG_ROWS_BF16;
  const Wanted w = {px->narrow, 1};
  for (int o = 0; o < dhc_spec_n_inputs(a->spec); o++) {
    bool fits = dhc_tag_row_term(a->spec, o) >= 0 && a->spec->operand[o].tag == DHC_TAG_ROW && loaded_once(a->spec, o) &&
                is_dense(m, n, a->spec, o) && is_weight(m, f, n->args[o], &w, 0);
    if (fits && dhc_pass_may_change(px)) a->spec = with_panels(m, a->spec, &o, 1, 0, (int)tag);
  }
}

/* Of a tile whose columns come from several weights: narrow if all of them are. */
static int panel_tag(const DhcModule *m, const DhcFunc *f, const DhcNode *n, const int *o, int n_o, const DhcPassCtx *px) {
  bool narrow = px->panel_tag > DHC_TAG_PANEL;
  for (int k = 0; k < n_o && narrow; k++) {
    const Wanted w = {px->narrow, n->args[o[k]]->type.rank - 1};
    narrow = is_weight(m, f, n->args[o[k]], &w, 0);
  }
  return narrow ? px->panel_tag : DHC_TAG_PANEL;
}

bool dhc_pass_layout(DhcModule *m, DhcPassCtx *px) {
  for (int i = 0; px->panel_width && i < m->funcs.n; i++)
    for (DhcNode *n = m->funcs.at[i]->first; n; n = n->next) {
      if (n->op != DHC_OP_KERNEL) continue;
      DhcAttr *a = &n->attrs[dhc_attr(n, "spec") - n->attrs];
      if (px->panel_tag > DHC_TAG_PANEL) quantise_rows(m, m->funcs.at[i], n, a, px);
      if (a->spec->kind != DHC_KIND_DOT && a->spec->kind != DHC_KIND_RAGGED) continue;
      int o[MAX_FOLDS], n_o = column_operands(a->spec, o);
      int width = n_o > 1 ? px->panel_width_pair : px->panel_width;
      bool fits = n_o > 0 && width > 0;
      for (int k = 0; k < n_o && fits; k++)
        fits = a->spec->operand[o[k]].tag == DHC_TAG_ROW && loaded_once(a->spec, o[k]) &&
               is_whole(m, n, a->spec, o[k], width) && is_weight(m, m->funcs.at[i], n->args[o[k]], NULL, 0);
      if (fits && dhc_pass_may_change(px)) a->spec = with_panels(m, a->spec, o, n_o, width, panel_tag(m, m->funcs.at[i], n, o, n_o, px));
    }
  return true;
}
