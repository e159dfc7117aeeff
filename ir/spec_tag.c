/* Storage tags: where an element of a packed weight lies. The one map that packing, the
 * reference interpreter and templates go by. */
#include "ir/spec.h"

int64_t dhc_tag_elements(DhcTag tag, int width, int64_t rows, int64_t cols) {
  if (dhc_tag_is_panel(tag)) return (rows + width - 1) / width * width * cols;
  return rows * cols;
}

int64_t dhc_tag_index(DhcTag tag, int width, int64_t rows, int64_t cols, int64_t r, int64_t c) {
  (void)rows;
  if (dhc_tag_is_panel(tag)) return (r / width * cols + c) * width + r % width;
  return r * cols + c;
}

int64_t dhc_tag_panel_bytes(DhcTag tag, int width, int64_t cols) {
  int64_t each = tag == DHC_TAG_PANEL_I8 ? 1 : tag == DHC_TAG_PANEL_BF16 ? 2 : 4;
  return width * cols * each + (tag == DHC_TAG_PANEL_I8 ? 4 * (int64_t)width : 0);
}

int64_t dhc_tag_bytes(DhcTag tag, int width, int64_t rows, int64_t cols) {
  if (dhc_tag_is_rows(tag)) return dhc_tag_is_i8(tag) ? rows * (4 + cols) : rows * cols * 2;
  if (!dhc_tag_is_panel(tag)) return rows * cols * 4;
  return (rows + width - 1) / width * dhc_tag_panel_bytes(tag, width, cols);
}

void dhc_tag_axes(const DhcSpec *s, int operand, int axis[3]) {
  const DhcOperand *p = &s->operand[operand];
  axis[0] = p->n_terms == 3 ? p->term[1].axis[0] : -1;
  axis[1] = p->term[0].axis[0];
  axis[2] = p->term[p->n_terms - 1].axis[0];
}

DhcTagShape dhc_tag_shape(const DhcSpec *s, int operand, const int64_t *dim) {
  int axis[3];
  int64_t extent[3] = {1, 1, 1};
  dhc_tag_axes(s, operand, axis);
  for (int k = 0; k < 3; k++) {
    int arg = axis[k] < 0 ? -1 : dhc_spec_extent_arg(s, axis[k]);
    if (axis[k] >= 0) extent[k] = arg < 0 ? s->axis[axis[k]].extent : dim[arg];
  }
  return (DhcTagShape){extent[0], extent[1], extent[2]};
}

bool dhc_tag_fits(const DhcSpec *s, int operand) {
  const DhcOperand *p = &s->operand[operand];
  int n = s->kind == DHC_KIND_DOT ? 2 : s->kind == DHC_KIND_RAGGED ? 3 : 0;
  if (p->out || p->dtype != DHC_F32 || !n || p->n_terms != n) return false;
  for (int t = 0; t < n; t++) {
    const DhcTerm *e = &p->term[t];
    if (e->guarded || e->index >= 0 || e->n_axes != 1 || e->coef[0] != 1 || e->unit != (t == n - 1)) return false;
    if (s->axis[e->axis[0]].role != (t ? DHC_AXIS_RED : DHC_AXIS_PAR)) return false;
  }
  return true;
}

static bool is_plain(const DhcTerm *e) { return !e->guarded && e->index < 0 && e->n_axes == 1 && e->coef[0] == 1; }

/* One after the other: rows that are gathered, and their elements. */
static int gathered_term(const DhcSpec *s, const DhcOperand *p) {
  int row = p->n_terms == 2 && p->term[1].index >= 0;
  const DhcTerm *e = &p->term[row];
  if ((s->kind != DHC_KIND_MAP && s->kind != DHC_KIND_ROW) || p->n_terms != 2 || e->index < 0 || e->n_axes || !e->guarded || e->div != 1) return -1;
  return is_plain(&p->term[1 - row]) && p->term[1 - row].unit ? row : -1;
}

int dhc_tag_row_term(const DhcSpec *s, int operand) {
  const DhcOperand *p = &s->operand[operand];
  if (p->out || p->dtype != DHC_F32) return -1;
  if (!dhc_kind_is_conv(s->kind)) return gathered_term(s, p);
  for (int t = 0; t < p->n_terms; t++)
    if (!is_plain(&p->term[t]) || s->axis[p->term[t].axis[0]].role != (t ? DHC_AXIS_RED : DHC_AXIS_PAR)) return -1;
  return p->n_terms > 1 && p->term[p->n_terms - 1].unit ? 0 : -1;
}
