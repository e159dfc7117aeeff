/* Template "tile": bringing a step's ks of both sides to block memory, by copies that nobody waits for. */
#include "backends/loop/tpl_tile.h"

static int last_axis(uint32_t mask) {
  int a = -1;
  for (int i = 0; i < DHC_SPEC_MAX_AXES; i++)
    if (mask >> i & 1) a = i;
  return a;
}

/* Does most of what node n loads lie along `axis`? */
static bool lies_along(const DhcTplCx *cx, int n, int axis) {
  bool needed[DHC_SPEC_MAX_NODES] = {false};
  int along = 0, other = 0;
  dhc_tpl_needed(cx->s, n, needed);
  for (int m = 0; m < cx->s->n_nodes; m++) {
    if (!needed[m] || cx->s->node[m].kind != DHC_SN_LOAD) continue;
    const DhcOperand *p = &cx->s->operand[cx->s->node[m].operand];
    for (int t = 0; t < p->n_terms; t++)
      for (int i = 0; i < p->term[t].n_axes; i++)
        if (p->term[t].unit) *(p->term[t].axis[i] == axis ? &along : &other) += 1;
  }
  return along > other;
}


/* ---- layout ------------------------------------------------------------------------------- */

/* The f32 operand that is all of a side's element; ranges are looked after where lines are. -1: something is made of it. */
static int plain_operand(const DhcTile *d, const DhcTileSide *s) {
  const DhcSpec *spec = d->cx.s;
  int n = s->node;
  if (s->rows && d->range_axis >= 0) n = spec->node[n].a[1];
  if (spec->node[n].kind != DHC_SN_LOAD) return -1;
  const DhcOperand *p = &spec->operand[spec->node[n].operand];
  if (p->dtype != DHC_F32 || p->tag != DHC_TAG_ROW) return -1;
  int guards = 0;
  for (int t = 0; t < p->n_terms; t++) {
    if (p->term[t].index >= 0 || p->term[t].div != 1) return -1;
    guards += p->term[t].guarded;
  }
  return guards <= DHC_TILE_GUARDS ? spec->node[n].operand : -1;
}

static bool enters_guard(const DhcTile *d, const DhcTileSide *s, uint32_t axes) {
  for (int g = 0; g < s->n_guards; g++) {
    const DhcTerm *e = &d->cx.s->operand[s->operand].term[s->guard[g]];
    for (int i = 0; i < e->n_axes; i++)
      if (axes >> e->axis[i] & 1) return true;
  }
  return false;
}

/* One axis times a stride. */
static bool is_linear(const DhcTile *d, const DhcTileSide *s, uint32_t axes) {
  return !(axes & (axes - 1)) && !enters_guard(d, s, axes);
}

void dhc_tile_place(DhcTile *d, DhcTileSide *s, int size, int64_t *bytes) {
  s->size = size;
  s->operand = plain_operand(d, s);
  int node = s->rows && d->range_axis >= 0 && s->operand >= 0 ? d->cx.s->node[s->node].a[1] : s->node;
  s->along_k = lies_along(&d->cx, node, last_axis(d->k));
  s->n_guards = 0;
  for (int t = 0; s->operand >= 0 && t < d->cx.s->operand[s->operand].n_terms; t++)
    if (d->cx.s->operand[s->operand].term[t].guarded) s->guard[s->n_guards++] = t;
  uint32_t steady = s->along_k ? d->k : s->axes, steps = s->along_k ? s->axes : d->k;
  s->k_inner = (s->along_k && d->warps) || d->group;
  /* four at once where the next three may be beside the first (dhc_tile_lines asks whether they are) */
  bool beside = s->operand >= 0 && !s->n_guards && steady && lies_along(&d->cx, node, last_axis(steady));
  bool cut = s->along_k ? d->range_axis >= 0 && d->e < 0 : s->rows && d->e >= 0; /* ranges may begin anywhere */
  s->width = !(d->group && !s->along_k) && beside && !cut && !(steady & d->window) && (s->along_k ? s->k_inner : is_linear(d, s, steady)) ? 4 : 1;
  s->fast = (s->along_k ? d->bk : size) / s->width;
  s->each = size * d->bk / s->width / d->threads;
  if (!s->each) s->each = 1;
  s->lines.on = s->along_k && s->operand >= 0 && !is_linear(d, s, steps);
  s->ks.on = s->operand >= 0 && !is_linear(d, s, d->k);
  s->pitch = s->k_inner ? d->bk : size + 4;
  s->bytes = *bytes;
  *bytes += 4 * (int64_t)s->pitch * (s->k_inner ? size : d->bk);
}

/* Threads of a warp touch four lines of ks at once, two elements each, and copies fill whole lines: eights of ks are
 * exchanged from line to line so that either meets every bank once. Of quads it is two lines and sixteens of ks. */
DhcLv dhc_tile_spot(DhcTile *d, const DhcTileSide *s, DhcLv line, DhcLv k, DhcLv alike) {
  DhcLp *b = d->b;
  DhcLv at;
  if (d->group) { /* GROUP_MMA's: fours of ks in a line of 32 */
    DhcLv four = dhc_lp_ew2(b, DHC_OP_XOR, dhc_lp_udiv(b, k, dhc_lp_i64(b, 4)), dhc_lp_and(b, line, dhc_lp_i64(b, 7)));
    at = dhc_lp_add(b, dhc_lp_mulc(b, line, s->pitch), dhc_lp_add(b, dhc_lp_mulc(b, four, 4), dhc_lp_and(b, k, dhc_lp_i64(b, 3))));
  } else if (s->k_inner) {
    bool two = d->bk == 16; /* eights in a line, two lines in all banks */
    DhcLv turn = dhc_lp_mulc(b, dhc_lp_and(b, alike, dhc_lp_i64(b, two ? 2 : 3)), two ? 4 : 8);
    if (d->quads) turn = two ? dhc_lp_i64(b, 0) : dhc_lp_mulc(b, dhc_lp_and(b, alike, dhc_lp_i64(b, 1)), 16);
    at = dhc_lp_add(b, dhc_lp_mulc(b, line, s->pitch), dhc_lp_ew2(b, DHC_OP_XOR, k, turn));
  } else {
    at = dhc_lp_add(b, dhc_lp_mulc(b, k, s->pitch), line);
  }
  return dhc_lp_addc(b, at, s->bytes / 4);
}

static void place_table(const DhcTileSide *s, DhcTileTable *t, int size, int64_t *bytes) {
  t->size = size;
  t->bytes = *bytes;
  if (t->on) *bytes += (int64_t)(8 + 4 * s->n_guards) * size;
}

void dhc_tile_tables(DhcTile *d, int64_t *bytes) {
  DhcTileSide *side[] = {&d->x, &d->y[0], &d->y[1]};
  d->chunk = d->e < 0 && d->threads > d->bk ? d->threads / d->bk : 1; /* the ks of ranges begin anew */
  for (int i = 0; i <= d->n_folds; i++) {
    place_table(side[i], &side[i]->lines, side[i]->size, bytes);
    place_table(side[i], &side[i]->ks, 2 * d->chunk * d->bk, bytes);
  }
}

/* ---- places --------------------------------------------------------------------------------- */

typedef DhcTilePart Part;

enum { FAR = -(1 << 30) }; /* an index that no other brings back: what is guarded is shorter than 2^30 */

static Part nothing(DhcLp *b) {
  Part p = {.offset = dhc_lp_i64(b, 0)};
  for (int g = 0; g < DHC_TILE_GUARDS; g++) p.index[g] = dhc_lp_i64(b, 0);
  return p;
}

static Part part_of(DhcTile *d, const DhcTileSide *s, uint32_t axes, const DhcLv *digit) {
  DhcLp *b = d->b;
  Part p = nothing(b);
  const DhcOperand *op = &d->cx.s->operand[s->operand];
  for (int t = 0, g = 0; t < op->n_terms; t++) {
    const DhcTerm *e = &op->term[t];
    DhcLv index = dhc_lp_i64(b, 0);
    for (int i = 0; i < e->n_axes; i++)
      if (axes >> e->axis[i] & 1) index = dhc_lp_add(b, index, dhc_lp_mulc(b, digit[e->axis[i]], e->coef[i]));
    p.offset = dhc_lp_add(b, p.offset, dhc_lp_mul(b, index, d->cx.stride[s->operand][t]));
    if (e->guarded) p.index[g++] = index;
  }
  return p;
}

static Part part_of_number(DhcTile *d, const DhcTileSide *s, uint32_t axes, DhcLv number) {
  DhcLv digit[DHC_SPEC_MAX_AXES];
  uint32_t own = axes & d->window ? axes & ~d->window : axes;
  if (own == axes) {
    dhc_tile_digits(d, axes, number, digit);
  } else { /* the window innermost */
    DhcLv n = dhc_lp_i64(d->b, d->n_window);
    dhc_tile_digits(d, own, dhc_lp_udiv(d->b, number, n), digit);
    dhc_tile_digits(d, axes & d->window, dhc_lp_urem(d->b, number, n), digit);
  }
  return part_of(d, s, axes, digit);
}

/* What batch and range add, and the guarded terms' offsets. */
static Part outer_part(DhcTile *d, const DhcTileSide *s, DhcLv e) {
  DhcLp *b = d->b;
  uint32_t axes = d->batch | (e ? 1u << d->e : 0);
  DhcLv digit[DHC_SPEC_MAX_AXES];
  for (int a = 0; a < DHC_SPEC_MAX_AXES; a++) digit[a] = a == d->e && e ? e : d->cx.index[a];
  Part p = part_of(d, s, axes, digit);
  for (int g = 0; g < s->n_guards; g++) {
    DhcLv offset = d->cx.offset[s->operand][s->guard[g]];
    p.offset = dhc_lp_add(b, p.offset, dhc_lp_mul(b, offset, d->cx.stride[s->operand][s->guard[g]]));
    p.index[g] = dhc_lp_add(b, p.index[g], offset);
  }
  return p;
}

static Part joined(DhcLp *b, const DhcTileSide *s, const Part *p, const Part *q) {
  Part r = {.offset = dhc_lp_add(b, p->offset, q->offset)};
  for (int g = 0; g < s->n_guards; g++) r.index[g] = dhc_lp_add(b, p->index[g], dhc_lp_cast(b, q->index[g], p->index[g]->type.dtype));
  return r;
}

/* ---- tables -------------------------------------------------------------------------------------- */

static DhcLv offsets_of(DhcTile *d, const DhcTileTable *t) { return dhc_lp_block_memory(d->b, DHC_I64, t->bytes); }
static DhcLv indices_of(DhcTile *d, const DhcTileTable *t) { return dhc_lp_block_memory(d->b, DHC_I32, t->bytes + 8 * (int64_t)t->size); }

/* Entries [at, at + n): the numbers from `first` on; those from `end` on are far outside. */
static void write_table(DhcTile *d, const DhcTileSide *s, const DhcTileTable *t, uint32_t axes, DhcLv at, int n, DhcLv first, DhcLv end) {
  DhcLp *b = d->b;
  DhcLv i = dhc_lp_for(b, d->tid, dhc_lp_i64(b, n), d->threads), to = dhc_lp_add(b, at, i), number = dhc_lp_add(b, first, i);
  Part p = part_of_number(d, s, axes, number);
  dhc_lp_store(b, offsets_of(d, t), to, p.offset, 0);
  for (int g = 0; g < s->n_guards; g++) {
    DhcLv index = dhc_lp_select(b, dhc_lp_lt(b, number, end), p.index[g], dhc_lp_i64(b, FAR));
    dhc_lp_store(b, indices_of(d, t), dhc_lp_addc(b, dhc_lp_mulc(b, to, s->n_guards), g), dhc_lp_cast(b, index, DHC_I32), 0);
  }
  dhc_lp_end(b);
}

static Part read_table(DhcTile *d, const DhcTileSide *s, const DhcTileTable *t, DhcLv at) {
  DhcLp *b = d->b;
  Part p = {.offset = dhc_lp_load(b, offsets_of(d, t), at, 1, 0)};
  for (int g = 0; g < s->n_guards; g++)
    p.index[g] = dhc_lp_load(b, indices_of(d, t), dhc_lp_addc(b, dhc_lp_mulc(b, at, s->n_guards), g), 1, 0);
  return p;
}

/* Entry of the first k of a step. */
static DhcLv first_of(DhcTile *d, DhcLv step) {
  return dhc_lp_mulc(d->b, dhc_lp_and(d->b, step, dhc_lp_i64(d->b, 2 * d->chunk - 1)), d->bk);
}

/* Stride of an axis that enters by a plain term; 0 if it does not enter. */
static DhcLv stride_of(DhcTile *d, const DhcTileSide *s, int axis) {
  const DhcOperand *p = &d->cx.s->operand[s->operand];
  for (int t = 0; t < p->n_terms; t++)
    if (p->term[t].axis[0] == axis) return d->cx.stride[s->operand][t];
  return dhc_lp_i64(d->b, 0);
}

static DhcLv is_four(DhcLp *b, DhcLv x) {
  DhcLv four = dhc_lp_i64(b, 4);
  return dhc_lp_eq(b, dhc_lp_mul(b, dhc_lp_udiv(b, dhc_lp_max(b, x, dhc_lp_i64(b, 0)), four), four), x);
}

void dhc_tile_copy_four(DhcTile *d, int operand, DhcLv to, DhcLv from, DhcLv valid, bool wide) {
  DhcLp *b = d->b;
  DhcLv source = dhc_lp_at(b, d->cx.pointer[operand], from), none = dhc_lp_i64(b, 0);
  if (wide) {
    dhc_lp_copy(b, dhc_tile_memory(d), to, source, 4, valid);
    return;
  }
  for (int i = 0; i < 4; i++) {
    DhcLv one = dhc_lp_min(b, dhc_lp_max(b, dhc_lp_addc(b, valid, -i), none), dhc_lp_i64(b, 1));
    DhcLv step = dhc_lp_select(b, dhc_lp_lt(b, none, one), dhc_lp_i64(b, i), none);
    dhc_lp_copy(b, dhc_tile_memory(d), dhc_lp_addc(b, to, i), dhc_lp_at(b, source, step), 1, one);
  }
}

/* May a copy bring four elements of what is steady: all strides but the unit one are multiples of four, and the last
 * axis' extent is, too; or the steady axes are one, as a weight's channels and taps are. */
static DhcLv are_fours(DhcTile *d, const DhcTileSide *s) {
  DhcLp *b = d->b;
  uint32_t steady = s->along_k ? d->k : s->axes, others = (s->along_k ? s->axes : d->k) | (d->e >= 0 ? 1u << d->e : 0);
  int last = last_axis(steady);
  DhcLv yes = dhc_lp_int(b, DHC_BOOL, 1), apart = yes, one = yes, size = d->cx.extent[last];
  for (int a = last - 1; a >= 0; a--) {
    if (!(steady >> a & 1)) continue;
    apart = dhc_lp_and(b, apart, is_four(b, stride_of(d, s, a)));
    one = dhc_lp_and(b, one, dhc_lp_eq(b, stride_of(d, s, a), size));
    size = dhc_lp_mul(b, size, d->cx.extent[a]);
  }
  for (int a = 0; a < DHC_SPEC_MAX_AXES; a++)
    if (others >> a & 1) yes = dhc_lp_and(b, yes, is_four(b, stride_of(d, s, a)));
  if (!(steady & (steady - 1))) return yes;
  return dhc_lp_and(b, yes, dhc_lp_or(b, one, dhc_lp_and(b, apart, is_four(b, d->cx.extent[last]))));
}

/* Of the thread's line, which is the same in all steps. */
static Part line_part(DhcTile *d, const DhcTileSide *s) {
  DhcLp *b = d->b;
  DhcLv low = dhc_lp_mulc(b, dhc_lp_urem(b, d->tid, dhc_lp_i64(b, s->fast)), s->width);
  return s->axes ? part_of_number(d, s, s->axes, dhc_lp_add(b, s->rows ? d->row0 : d->col0, low)) : nothing(b);
}

void dhc_tile_lines(DhcTile *d) {
  DhcLp *b = d->b;
  DhcTileSide *side[] = {&d->x, &d->y[0], &d->y[1]};
  for (int i = 0; i <= d->n_folds; i++) {
    DhcTileSide *s = side[i];
    DhcLv first = s->rows ? d->row0 : d->col0, end = s->rows ? d->n_rows : d->n_cols;
    if (s->lines.on) write_table(d, s, &s->lines, s->axes, dhc_lp_i64(b, 0), s->size, first, end);
    if (!s->along_k && s->operand >= 0) s->line_part = line_part(d, s);
    if (s->width == 1) continue;
    Part outer = outer_part(d, s, NULL);
    DhcLv at = dhc_lp_at(b, d->cx.pointer[s->operand], outer.offset);
    s->aligned = dhc_lp_and(b, dhc_lp_aligned(b, at, 16), are_fours(d, s));
  }
}

void dhc_tile_ks(DhcTile *d, DhcLv step, DhcLv k0) {
  DhcTileSide *side[] = {&d->x, &d->y[0], &d->y[1]};
  for (int i = 0; i <= d->n_folds; i++)
    if (side[i]->ks.on) write_table(d, side[i], &side[i]->ks, d->k, first_of(d, step), d->chunk * d->bk, k0, d->k_end);
}

/* ---- copies ----------------------------------------------------------------------------------------- */

static DhcLv at_most(DhcLp *b, DhcLv left, int n) {
  return dhc_lp_min(b, dhc_lp_max(b, left, dhc_lp_i64(b, 0)), dhc_lp_i64(b, n));
}

/* The thread's copies of a step: where their steady part is, and of how many elements. */
typedef struct Walk {
  DhcLv low, high; /* of copies side by side; of what steps on */
  Part steady;     /* with batch and range; its indices are i32 */
  DhcLv valid;
  DhcLv e, lo, hi; /* of the range: its number, and rows; or NULL */
} Walk;

static DhcLv first_line(const DhcTile *d, const DhcTileSide *s) { return s->rows ? d->row0 : d->col0; }
static DhcLv n_lines(const DhcTile *d, const DhcTileSide *s) { return s->rows ? d->n_rows : d->n_cols; }
static bool range_of_k(const DhcTile *d) { return d->range_axis >= 0 && d->e < 0; }

/* The part of a line or k that is the same in all copies, `more` behind the first. */
static Part steady_part(DhcTile *d, const DhcTileSide *s, const Walk *w, DhcLv step, DhcLv k0, int64_t more) {
  DhcLp *b = d->b;
  DhcLv number = dhc_lp_addc(b, dhc_lp_add(b, s->along_k ? k0 : first_line(d, s), w->low), more);
  uint32_t axes = s->along_k ? d->k : s->axes;
  Part outer = outer_part(d, s, w->e), own = nothing(b);
  if (s->along_k && s->ks.on) own = read_table(d, s, &s->ks, dhc_lp_addc(b, dhc_lp_add(b, first_of(d, step), w->low), more));
  else if (!s->along_k && !more) own = s->line_part;
  else if (axes) own = part_of_number(d, s, axes, number);
  DhcLv in = dhc_lp_lt(b, number, s->along_k ? d->k_end : n_lines(d, s));
  own = joined(b, s, &outer, &own);
  for (int g = 0; g < s->n_guards; g++)
    own.index[g] = dhc_lp_cast(b, dhc_lp_select(b, in, own.index[g], dhc_lp_i64(b, FAR)), DHC_I32);
  return own;
}

static Walk begin_walk(DhcTile *d, const DhcTileSide *s, DhcLv step, DhcLv k0, DhcLv range) {
  DhcLp *b = d->b;
  DhcLv fast = dhc_lp_i64(b, s->fast), none = dhc_lp_i64(b, 0);
  Walk w = {.low = dhc_lp_mulc(b, dhc_lp_urem(b, d->tid, fast), s->width), .high = dhc_lp_udiv(b, d->tid, fast)};
  if (range) {
    DhcLv list = dhc_lp_block_memory(b, DHC_I64, d->list_at), at = dhc_lp_mulc(b, range, 3);
    w.e = dhc_lp_load(b, list, at, 1, 0);
    w.lo = s->rows ? dhc_lp_load(b, list, dhc_lp_addc(b, at, 1), 1, 0) : NULL;
    w.hi = s->rows ? dhc_lp_load(b, list, dhc_lp_addc(b, at, 2), 1, 0) : NULL;
  }
  if (s->operand < 0) return w;
  w.steady = steady_part(d, s, &w, step, k0, 0);
  DhcLv number = dhc_lp_add(b, s->along_k ? k0 : first_line(d, s), w.low);
  w.valid = at_most(b, dhc_lp_sub(b, s->along_k ? d->k_end : n_lines(d, s), number), s->width);
  if (s->along_k && range_of_k(d)) w.valid = dhc_lp_select(b, dhc_lp_ge(b, number, d->k_lo), w.valid, none);
  if (!s->along_k && w.lo) w.valid = dhc_lp_select(b, dhc_lp_and(b, dhc_lp_le(b, w.lo, number), dhc_lp_lt(b, number, w.hi)), w.valid, none);
  return w;
}

/* May the element be read: lines and ks that step on, ranges, guarded terms. Where there are these, their indices say all
 * but for ranges. */
static DhcLv readable(DhcTile *d, const DhcTileSide *s, const Walk *w, DhcLv number, const Part *p) {
  DhcLp *b = d->b;
  DhcLv ok = s->n_guards ? dhc_lp_int(b, DHC_BOOL, 1) : dhc_lp_lt(b, number, s->along_k ? n_lines(d, s) : d->k_end);
  if (s->along_k && w->lo) ok = dhc_lp_and(b, ok, dhc_lp_and(b, dhc_lp_le(b, w->lo, number), dhc_lp_lt(b, number, w->hi)));
  if (!s->along_k && range_of_k(d)) ok = dhc_lp_and(b, ok, dhc_lp_le(b, d->k_lo, number));
  for (int g = 0; g < s->n_guards; g++) {
    DhcLv limit = dhc_lp_cast(b, d->cx.limit[s->operand][s->guard[g]], DHC_I32);
    ok = dhc_lp_and(b, ok, dhc_lp_lt(b, dhc_lp_bitcast(b, p->index[g], DHC_U32), dhc_lp_bitcast(b, limit, DHC_U32)));
  }
  return ok;
}

/* Copy number r of the thread's. */
typedef struct Spot {
  DhcLv line, k, number, place; /* in the step; of what steps on; in block memory */
  DhcLv own;
} Spot;

/* Do eights of threads bring their ks in other orders, so that what a warp writes at once lies in as many banks as can be? */
static int in_turns(const DhcTile *d, const DhcTileSide *s) {
  int at_once = d->threads / s->fast;
  return d->group && !s->along_k && at_once < 4 && s->each >= 4 ? 4 / at_once : 0;
}

static Spot spot_of(DhcTile *d, const DhcTileSide *s, const Walk *w, DhcLv k0, DhcLv base, DhcLv r) {
  DhcLp *b = d->b;
  DhcLv eight = dhc_lp_udiv(b, d->tid, dhc_lp_i64(b, 8));
  if (in_turns(d, s)) r = dhc_lp_ew2(b, DHC_OP_XOR, r, dhc_lp_and(b, eight, dhc_lp_i64(b, in_turns(d, s) - 1)));
  DhcLv own = dhc_lp_add(b, w->high, dhc_lp_mulc(b, r, d->threads / s->fast));
  Spot x = {.own = own, .line = s->along_k ? own : w->low, .k = s->along_k ? w->low : own};
  x.place = dhc_lp_add(b, base, dhc_tile_spot(d, s, x.line, x.k, d->threads / s->fast % 4 ? x.line : w->high));
  x.number = dhc_lp_add(b, s->along_k ? first_line(d, s) : k0, own);
  return x;
}

static Part stepping_part(DhcTile *d, const DhcTileSide *s, const Spot *x, DhcLv step) {
  uint32_t axes = s->along_k ? s->axes : d->k;
  if (s->along_k && s->lines.on) return read_table(d, s, &s->lines, x->own);
  if (!s->along_k && s->ks.on) return read_table(d, s, &s->ks, dhc_lp_add(d->b, first_of(d, step), x->own));
  return axes ? part_of_number(d, s, axes, x->number) : nothing(d->b);
}

/* One element at a time where four are not side by side. */
static void copy_checked(DhcTile *d, const DhcTileSide *s, const Walk *w, const Spot *x, DhcLv step, DhcLv k0) {
  DhcLp *b = d->b;
  DhcLv mem = dhc_tile_memory(d), none = dhc_lp_i64(b, 0);
  Part own = stepping_part(d, s, x, step), p = joined(b, s, &w->steady, &own);
  DhcLv valid = dhc_lp_select(b, readable(d, s, w, x->number, &p), w->valid, none);
  if (s->width > 1) dhc_lp_if(b, s->aligned);
  dhc_lp_copy(b, mem, x->place, dhc_lp_at(b, d->cx.pointer[s->operand], p.offset), s->width, valid);
  if (s->width == 1) return;
  dhc_lp_else(b);
  for (int i = 0; i < s->width; i++) {
    Part steady = steady_part(d, s, w, step, k0, i);
    p = joined(b, s, &steady, &own);
    DhcLv one = dhc_lp_min(b, dhc_lp_max(b, dhc_lp_addc(b, valid, -i), none), dhc_lp_i64(b, 1));
    dhc_lp_copy(b, mem, dhc_lp_addc(b, x->place, i), dhc_lp_at(b, d->cx.pointer[s->operand], p.offset), 1, one);
  }
  dhc_lp_end(b);
}

/* An element that is made: computed where it is needed and stored. */
static void make_one(DhcTile *d, const DhcTileSide *s, const Walk *w, const Spot *x, DhcLv k0) {
  DhcLp *b = d->b;
  DhcTplCx *cx = &d->cx;
  DhcLv line = dhc_lp_add(b, first_line(d, s), x->line), k = dhc_lp_add(b, k0, x->k);
  DhcLv ok = dhc_lp_and(b, dhc_lp_lt(b, line, n_lines(d, s)), dhc_lp_lt(b, k, d->k_end));
  if (range_of_k(d)) ok = dhc_lp_and(b, ok, dhc_lp_le(b, d->k_lo, k));
  DhcLpVar v = dhc_lp_var(b, dhc_lp_float(b, DHC_F32, 0.0));
  dhc_lp_if(b, ok);
  DhcTplMark mark = dhc_tpl_push(cx);
  if (w->e) dhc_tpl_bind(cx, d->e, w->e);
  if (s->axes) dhc_tile_bind_line(d, s, line, true);
  dhc_tile_bind(d, d->k, k);
  dhc_lp_set(b, v, dhc_tpl_eval(cx, s->node));
  dhc_tpl_pop(cx, &mark);
  dhc_lp_end(b);
  dhc_lp_store(b, dhc_tile_memory(d), x->place, dhc_lp_get(b, v), 0);
}

/* Everything that the step brings of the side is there: nothing has to be asked of single elements. */
static DhcLv is_whole(DhcTile *d, const DhcTileSide *s, const Walk *w, DhcLv k0) {
  DhcLp *b = d->b;
  DhcLv end = dhc_lp_addc(b, first_line(d, s), s->size);
  DhcLv all = dhc_lp_and(b, dhc_lp_le(b, end, n_lines(d, s)), dhc_lp_le(b, dhc_lp_addc(b, k0, d->bk), d->k_end));
  if (w->lo) all = dhc_lp_and(b, all, dhc_lp_and(b, dhc_lp_le(b, w->lo, first_line(d, s)), dhc_lp_le(b, end, w->hi)));
  if (range_of_k(d)) all = dhc_lp_and(b, all, dhc_lp_le(b, d->k_lo, k0));
  return s->width > 1 ? dhc_lp_and(b, all, s->aligned) : all;
}

/* Nothing is asked. Where what steps on is one axis, a copy is as far from the one before as that from its own. */
static void copy_whole(DhcTile *d, const DhcTileSide *s, const Walk *w, DhcLv step, DhcLv k0, DhcLv base) {
  DhcLp *b = d->b;
  uint32_t axes = s->along_k ? s->axes : d->k;
  bool even = axes && is_linear(d, s, axes) && !in_turns(d, s), table = s->along_k ? s->lines.on : s->ks.on;
  DhcLv zero = dhc_lp_i64(b, 0), each = dhc_lp_i64(b, s->each), block = dhc_tile_memory(d);
  if (!even || table) {
    Spot x = spot_of(d, s, w, k0, base, dhc_lp_for(b, zero, each, 1));
    Part own = stepping_part(d, s, &x, step), p = joined(b, s, &w->steady, &own);
    dhc_lp_copy(b, block, x.place, dhc_lp_at(b, d->cx.pointer[s->operand], p.offset), s->width, NULL);
    dhc_lp_end(b);
    return;
  }
  Spot first = spot_of(d, s, w, k0, base, zero);
  Part own = stepping_part(d, s, &first, step), p = joined(b, s, &w->steady, &own);
  DhcLpVar offset = dhc_lp_var(b, p.offset);
  DhcLv apart = dhc_lp_mulc(b, stride_of(d, s, last_axis(axes)), d->threads / s->fast);
  Spot x = spot_of(d, s, w, k0, base, dhc_lp_for(b, zero, each, 1));
  dhc_lp_copy(b, block, x.place, dhc_lp_at(b, d->cx.pointer[s->operand], dhc_lp_get(b, offset)), s->width, NULL);
  dhc_lp_set(b, offset, dhc_lp_add(b, dhc_lp_get(b, offset), apart));
  dhc_lp_end(b);
}

static void copy_side(DhcTile *d, const DhcTileSide *s, DhcLv step, DhcLv k0, DhcLv base, DhcLv range) {
  DhcLp *b = d->b;
  Walk w = begin_walk(d, s, step, k0, range);
  DhcLv zero = dhc_lp_i64(b, 0), each = dhc_lp_i64(b, s->each);
  bool some = s->size * d->bk / s->width < d->threads; /* threads that bring nothing */
  bool plain = s->operand >= 0 && !s->n_guards;
  if (some) dhc_lp_if(b, dhc_lp_lt(b, w.high, dhc_lp_i64(b, s->along_k ? s->size : d->bk)));
  if (plain) {
    dhc_lp_if(b, is_whole(d, s, &w, k0));
    copy_whole(d, s, &w, step, k0, base);
    dhc_lp_else(b);
  }
  Spot x = spot_of(d, s, &w, k0, base, plain ? dhc_lp_for_rounds(b, zero, each, 1, 1) : dhc_lp_for(b, zero, each, 1));
  if (s->operand < 0) make_one(d, s, &w, &x, k0);
  else copy_checked(d, s, &w, &x, step, k0);
  dhc_lp_end(b);
  if (plain) dhc_lp_end(b);
  if (some) dhc_lp_end(b);
}

void dhc_tile_copy_rows(DhcTile *d, DhcLv step, DhcLv k0, DhcLv base, DhcLv range) { copy_side(d, &d->x, step, k0, base, range); }

void dhc_tile_copy_columns(DhcTile *d, DhcLv step, DhcLv k0, DhcLv base, DhcLv range) {
  for (int f = 0; f < d->n_folds; f++) copy_side(d, &d->y[f], step, k0, base, range);
  dhc_tile_scaled_copy(d, k0, base);
}
