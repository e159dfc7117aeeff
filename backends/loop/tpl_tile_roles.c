/* Template "tile": which axes are rows, columns, batch and k, and what it refuses. */
#include "backends/loop/tpl_tile.h"

/* ---- roles ------------------------------------------------------------------------------ */

static bool needs_fold(const DhcSpec *s, int n) {
  bool needed[DHC_SPEC_MAX_NODES] = {false};
  dhc_tpl_needed(s, n, needed);
  for (int m = 0; m < s->n_nodes; m++)
    if (needed[m] && (s->node[m].kind == DHC_SN_FOLD || s->node[m].kind == DHC_SN_SCAN)) return true;
  return false;
}

static int last_axis(uint32_t mask) {
  int a = -1;
  for (int i = 0; i < DHC_SPEC_MAX_AXES; i++)
    if (mask >> i & 1) a = i;
  return a;
}

static const char *find_folds(DhcTile *d) {
  const DhcSpec *s = d->cx.s;
  for (int n = 0; n < s->n_nodes; n++) {
    const DhcSpecNode *f = &s->node[n];
    if (f->kind != DHC_SN_FOLD || f->op != DHC_OP_DOT_GENERAL) continue;
    if (f->dtype != DHC_F32) return "a contraction of other than f32";
    if (d->n_folds == DHC_TILE_PAIR) return "more than two contractions";
    d->fold[d->n_folds++] = n;
  }
  if (!d->n_folds) return "no contraction";
  d->k = s->node[d->fold[0]].axes;
  for (int i = 0; i < d->n_folds; i++) {
    const DhcSpecNode *f = &s->node[d->fold[i]];
    if (f->axes != d->k) return "contractions over different axes";
    if (needs_fold(s, f->a[0]) || needs_fold(s, f->a[1])) return "a contraction of what is folded";
  }
  return NULL;
}

static const char *find_sides(DhcTile *d) {
  const DhcTplCx *cx = &d->cx;
  const DhcSpec *s = cx->s;
  uint32_t out = 0, red = dhc_spec_axes(s, DHC_AXIS_RED);
  const DhcSpecNode *f = &s->node[d->fold[0]];
  uint32_t u = cx->varies[f->a[0]] & ~d->k, v = cx->varies[f->a[1]] & ~d->k;
  out = u | v;
  /* columns: where the result's last axis is, so that neighbouring threads store side by side */
  int last = last_axis(out & ~red);
  bool swap = last >= 0 && !(v >> last & 1) && (u >> last & 1);
  if (d->n_folds == 2 && s->node[d->fold[1]].a[0] != f->a[0]) swap = true; /* then the shared side is the other */
  d->x.node = f->a[swap];
  d->x.rows = true;
  if (swap) u = cx->varies[f->a[1]] & ~d->k, v = cx->varies[f->a[0]] & ~d->k;
  for (int i = 0; i < d->n_folds; i++) {
    const DhcSpecNode *g = &s->node[d->fold[i]];
    if (g->a[swap] != d->x.node) return "two contractions that share no operand";
    d->y[i].node = g->a[!swap];
    if ((cx->varies[g->a[!swap]] & ~d->k) != v) return "two contractions of different columns";
    d->y[i].axes = v & ~u;
  }
  d->batch = u & v;
  d->x.axes = u & ~v;
  d->window = (u | v) & red;
  d->window_rows = !(d->window & ~d->x.axes);
  d->n_window = 1;
  for (int a = 0; a < s->n_axes; a++) {
    if (!(d->window >> a & 1)) continue;
    if (!s->axis[a].extent || s->axis[a].extent > 64) return "a window of unknown size";
    d->n_window *= (int)s->axis[a].extent;
  }
  if (d->window & ~d->x.axes && d->window & ~d->y[0].axes) return "a window across rows and columns";
  /* every parallel axis has a place in the tile */
  if (dhc_spec_axes(s, DHC_AXIS_PAR) & ~(u | v)) return "an axis that the contraction does not have";
  if (dhc_spec_axes(s, DHC_AXIS_RED) & ~(d->k | d->window)) return "a reduced axis beside the contraction";
  if (dhc_spec_axes(s, DHC_AXIS_SEQ)) return "a sequential axis";
  return NULL;
}

/* n is `first op second` with op as given; the operand that is not an axis, -1 if there is no such. */
static int bound_of(const DhcSpec *s, int n, DhcOp op, int axis_side, int *axis) {
  const DhcSpecNode *d = &s->node[n];
  if (d->kind != DHC_SN_EW || d->op != op || s->node[d->a[axis_side]].kind != DHC_SN_AXIS) return -1;
  *axis = s->node[d->a[axis_side]].operand;
  return d->a[1 - axis_side];
}

/* x is select(lo <= row and row < hi, value, 0), lo and hi vary over one axis: of k (the row is one of the result's: it
 * meets e's matrix), or of the batch (the row is k: e's sum is over its own). */
static void find_range(DhcTile *d) {
  const DhcSpec *s = d->cx.s;
  const DhcSpecNode *x = &s->node[d->x.node];
  d->e = d->range_axis = -1;
  if (s->kind != DHC_KIND_RAGGED || x->kind != DHC_SN_EW || x->op != DHC_OP_SELECT) return;
  const DhcSpecNode *c = &s->node[x->a[0]], *none = &s->node[x->a[2]];
  if (c->kind != DHC_SN_EW || c->op != DHC_OP_AND || none->kind != DHC_SN_CONST || none->f != 0) return;
  int row = -1, row2 = -1;
  for (int side = 0; side < 2; side++) {
    int lo = bound_of(s, c->a[side], DHC_OP_LE, 1, &row), hi = bound_of(s, c->a[1 - side], DHC_OP_LT, 0, &row2);
    if (lo < 0 || hi < 0 || row != row2) continue;
    uint32_t e = d->cx.varies[lo], own = 1u << row;
    if (!e || (e & (e - 1)) || e != d->cx.varies[hi]) continue;
    bool of_rows = d->x.axes == own && (d->k & e) && !(d->k & (e - 1)) && d->k != e,
         of_k = d->k == own && !(d->batch & ~e) && (d->x.axes | d->batch) & e;
    if (!of_rows && !of_k) continue;
    d->range_axis = row;
    d->lo = lo;
    d->hi = hi;
    if (of_k) { /* what e's rows meet is the same for all e, but not the rows */
      d->x.axes &= ~e;
      d->batch = e;
      return;
    }
    d->e = last_axis(e);
    d->k &= ~e;
    return;
  }
}

static const char *choose(DhcTile *d) {
  const int *v = d->cx.in->schedule->v;
  d->bm = v[0];
  d->bn = v[1];
  d->bk = v[2];
  d->wk = v[5] & 15;
  d->three = v[5] & DHC_TILE_TWO_PARTS;
  d->bf16 = v[5] & DHC_TILE_BF16;
  d->group = v[5] & DHC_TILE_GROUP;
  d->warps = d->wk > 0;
  d->tm = d->wr = v[3];
  d->tn = d->wc = v[4];
  d->stages = v[6];
  d->target = v[7];
  d->threads = d->warps ? DHC_TILE_WARP * d->wr * d->wc * d->wk : d->bm / d->tm * (d->bn / d->tn);
  if (d->warps && d->bk % (dhc_tile_deep(d) * d->wk)) DHC_BUG("a step of %d ks for %d groups", d->bk, d->wk);
  if (d->group && (d->bk != 32 || d->three || d->bf16 || d->wk != 1 || d->bm != 16 * d->wr || d->bn % (8 * d->wc) || d->wr % 4 || d->stages < 3))
    DHC_BUG("schedule of groups");
  if (DHC_DOT_BLOCK % d->bk) return "steps that do not divide a block of products";
  if (d->cx.s->kind == DHC_KIND_RAGGED && d->range_axis < 0 && (d->k & (d->k - 1))) return "ranges that are not read";
  if (d->n_window > (d->window_rows ? d->bm : d->bn)) return "a window larger than a tile";
  if (d->bn > d->threads * (d->window_rows ? 1 : d->n_window)) return "more columns than threads";
  int per_group = d->window_rows ? 1 : d->n_window, per_row = d->window_rows ? d->n_window : 1;
  d->groups = d->bn / per_group;
  d->per_pass = d->threads / d->groups;
  d->passes = (d->bm / per_row + d->per_pass - 1) / d->per_pass;
  return NULL;
}

const char *dhc_tile_roles(DhcTile *d) {
  const char *why = find_folds(d);
  if (!why) why = find_sides(d);
  if (!why) find_range(d);
  return why ? why : choose(d);
}

/* ---- numbers of axes ------------------------------------------------------------------------ */

void dhc_tile_digits(DhcTile *d, uint32_t axes, DhcLv number, DhcLv *digit) {
  int first = -1;
  for (int a = DHC_SPEC_MAX_AXES - 1; a >= 0; a--)
    if (axes >> a & 1) first = a;
  for (int a = DHC_SPEC_MAX_AXES - 1; a >= 0; a--) {
    if (!(axes >> a & 1)) continue;
    digit[a] = a == first ? number : dhc_lp_urem(d->b, number, d->cx.extent[a]);
    if (a != first) number = dhc_lp_udiv(d->b, number, d->cx.extent[a]);
  }
}

void dhc_tile_bind(DhcTile *d, uint32_t axes, DhcLv number) {
  DhcLv digit[DHC_SPEC_MAX_AXES];
  dhc_tile_digits(d, axes, number, digit);
  for (int a = 0; a < DHC_SPEC_MAX_AXES; a++)
    if (axes >> a & 1) dhc_tpl_bind(&d->cx, a, digit[a]);
}

/* Parallel axes first, the window innermost. */
void dhc_tile_bind_line(DhcTile *d, const DhcTileSide *s, DhcLv line, bool window) {
  uint32_t own = d->window & s->axes, outer = s->axes & ~own;
  DhcLv n = dhc_lp_i64(d->b, own ? d->n_window : 1);
  if (outer) dhc_tile_bind(d, outer, own ? dhc_lp_udiv(d->b, line, n) : line);
  if (own && window) dhc_tile_bind(d, own, dhc_lp_urem(d->b, line, n));
}
