/* Packed operands: a kernel that wants a parameter in panels reads a packed copy of it, a
 * buffer of its own in the segment of panels. Whoever runs the plan fills these buffers when
 * the parameters have changed (DhcPlanned.panels). */
#include "passes/plan/plan_internal.h"

static const DhcDim *extent_of(const PlItem *it, int axis, Pl *p) {
  if (axis < 0) return dhc_dim_const(p->cx, 1);
  int at = dhc_spec_extent_arg(it->spec, axis);
  return at < 0 ? dhc_dim_const(p->cx, it->spec->axis[axis].extent) : it->dims[at];
}

/* Buffer of the panel that holds the parameter in this shape, made if new. */
static int panel_for(Pl *p, const DhcPlanPanel *want) {
  for (int i = 0; i < p->panels.n; i++) {
    const DhcPlanPanel *x = &p->panels.at[i];
    if (x->param == want->param && x->tag == want->tag && x->width == want->width && x->matrices == want->matrices &&
        x->rows == want->rows)
      return x->buffer;
  }
  DhcPlanPanel x = *want;
  int64_t bytes = x.matrices * dhc_tag_bytes(x.tag, x.width, x.rows, x.cols);
  x.buffer = dhc_pl_buffer(p, DHC_SEGMENT_PANELS, DHC_F32, dhc_dim_const(p->cx, bytes));
  PlBuf *b = &p->bufs.at[x.buffer];
  b->name = dhc_arena_printf(p->arena, "panel:%s", p->bufs.at[x.param].name);
  b->fixed = true;
  DHC_PUSH(p->arena, &p->panels, x);
  return x.buffer;
}

/* The pass "layout" packs nothing else. */
static void need(const Pl *p, bool whole) {
  if (!whole) DHC_BUG("'%s': only a whole parameter can be read packed", p->entry->name);
}

/* The whole parameter, row by row, as the pass "layout" saw to. */
static void redirect_rows(Pl *p, PlItem *it, int o) {
  PlRef *r = &it->refs[o];
  DhcPlanPanel want = {.param = r->buf, .tag = it->spec->operand[o].tag, .matrices = 1, .cols = 1};
  need(p, r->buf < p->entry->params.n && p->entry->param_info.at[r->buf].role == DHC_ROLE_WEIGHT && dhc_dim_is(r->offset, 0) &&
              dhc_tag_row_term(it->spec, o) >= 0);
  const DhcType *t = &p->entry->params.at[r->buf]->type;
  for (int d = 0; d < t->rank; d++) {
    int64_t n = 0;
    need(p, dhc_dim_is_const(t->dim[d], &n));
    if (d) want.cols *= n;
    else want.rows = n;
  }
  int b = panel_for(p, &want);
  *r = (PlRef){.buf = b, .offset = dhc_dim_const(p->cx, 0), .lo = dhc_dim_const(p->cx, 0), .hi = p->bufs.at[b].bytes};
}

/* Whole panels of a packed matrix lie where the rows they hold lie in the matrix: the offset
 * stays. */
static void redirect(Pl *p, PlItem *it, int o) {
  PlRef *r = &it->refs[o];
  const DhcOperand *s = &it->spec->operand[o];
  DhcPlanPanel want = {.param = r->buf, .tag = s->tag, .width = s->width};
  int axis[3];
  int64_t rows = 0, offset = 0;
  need(p, r->buf < p->entry->params.n && p->entry->param_info.at[r->buf].role == DHC_ROLE_WEIGHT &&
              dhc_dim_is_const(r->offset, &offset) && dhc_tag_fits(it->spec, o));
  dhc_tag_axes(it->spec, o, axis);
  need(p, dhc_dim_is_const(extent_of(it, axis[0], p), &want.matrices) && dhc_dim_is_const(extent_of(it, axis[1], p), &rows) &&
              dhc_dim_is_const(extent_of(it, axis[2], p), &want.cols));
  const DhcType *t = &p->entry->params.at[r->buf]->type;
  int64_t panel = want.width * want.cols * dhc_dtype_bytes(DHC_F32);
  need(p, t->rank >= 2 && dhc_dim_is_const(t->dim[t->rank - 2], &want.rows));
  int64_t stacked = 1; /* rows of several matrices, read as those of one */
  if (t->rank == 3 && axis[0] < 0) need(p, dhc_dim_is_const(t->dim[0], &stacked));
  want.rows *= stacked;
  bool whole = rows == want.rows && offset == 0;
  need(p, whole || (t->rank == 2 && rows % want.width == 0 && offset % panel == 0));
  for (int i = 0; i < p->updates.n; i++) need(p, p->updates.at[i].target != r->buf);
  int b = panel_for(p, &want);
  offset = offset / panel * dhc_tag_panel_bytes(want.tag, want.width, want.cols);
  *r = (PlRef){.buf = b, .offset = dhc_dim_const(p->cx, offset), .lo = dhc_dim_const(p->cx, 0), .hi = p->bufs.at[b].bytes};
}

void dhc_pl_panels(Pl *p) {
  for (int i = 0; i < p->items.n; i++) {
    PlItem *it = &p->items.at[i];
    if (it->kind != DHC_ITEM_CALL) continue;
    for (int o = 0; o < it->n_refs; o++)
      if (dhc_tag_is_rows(it->spec->operand[o].tag)) redirect_rows(p, it, o);
      else if (dhc_tag_is_panel(it->spec->operand[o].tag)) redirect(p, it, o);
  }
}
