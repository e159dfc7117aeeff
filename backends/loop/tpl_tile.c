/* Template "tile" (GPUs): contractions whose result is cut into tiles, a block of threads each. Serves every
 * kind that is one or two contractions of loads and what is made of them in place: dot, conv, conv_dw, ragged.
 *
 * Of a contraction sum over k of x * y, the rows are the axes that x alone varies over, the columns those
 * that y alone does; axes of both are a batch. Rows and columns are numbered row-major over their axes, so
 * a convolution is the same loop as a matrix product: its pixels are rows, its taps are part of k.
 * In steps of BK the block brings a BM x BK and a BK x BN piece into block memory; each thread
 * holds TM x TN sums. Elements behind the last k are +0 on one side and -0 on the other: x + (+0 * -0)
 * is x, bit for bit. Sums by the product rule (ir/sum.h), k ascending: the CPU's bits. With v[5] the pieces are
 * rounded to tf32 and go through matrix tiles (16 x 8 x 8) instead, 2 x 4 warps a block.
 *
 * Reduced axes that the contraction does not fold but varies over (a pooling window) count as the innermost
 * rows, and a thread holds whole windows.
 *
 * Ragged contractions (rows of a range [lo, hi) of some axis e meet e's matrix) walk e outside k, and a
 * block leaves out those of whose range it has no row: what they would add is a zero.
 *
 * Schedule: v[0] BM, v[1] BN, v[2] BK, v[3] TM, v[4] TN, v[5] tf32. */
#include "backends/loop/tpl.h"

enum { MAX_PAIR = 2, WARP = 32 };

typedef struct Side {
  int node;        /* what is multiplied */
  uint32_t axes;   /* rows or columns */
  bool along_k;    /* lies in memory along the last axis of k */
  int each;        /* elements a thread brings in a step */
  DhcLv stage;     /* stack array of `each`: the piece on its way */
  int64_t bytes;   /* where its first buffer lies in block memory */
  int pitch;       /* elements from one k (exact) or one row (tf32) to the next */
  int size;        /* rows or columns of a tile */
} Side;

typedef struct Tile {
  DhcTplCx cx;
  DhcLp *b;
  int bm, bn, bk, tm, tn, threads;
  bool tf32;
  int n_folds, fold[MAX_PAIR];
  Side x, y[MAX_PAIR];
  uint32_t batch, window, k;
  int e, lo, hi;    /* RAGGED: the axis of the ranges and the nodes of their ends; e -1: none */
  int64_t n_window; /* elements of a window, 1: none */
  int64_t buffer;   /* bytes of one of the two buffers */
  DhcLv n_rows, n_cols, n_k, row0, col0, tid;
  DhcLv sum[MAX_PAIR]; /* stack arrays of the thread's sums */
  DhcLv level[MAX_PAIR]; /* exact: of what finished blocks of the product rule give, by level */
  DhcLv many;            /* more than one block; NULL: never */
  DhcLv sum_row; /* while results are stored: first row of the window in sum[] */
  DhcLv sum_col;
} Tile;

/* ---- roles ------------------------------------------------------------------------------ */

static uint32_t role_axes(const DhcSpec *s, DhcAxisRole role) {
  uint32_t m = 0;
  for (int a = 0; a < s->n_axes; a++)
    if (s->axis[a].role == role) m |= 1u << a;
  return m;
}

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

static const char *find_folds(Tile *d) {
  const DhcSpec *s = d->cx.s;
  for (int n = 0; n < s->n_nodes; n++) {
    const DhcSpecNode *f = &s->node[n];
    if (f->kind != DHC_SN_FOLD || f->op != DHC_OP_DOT_GENERAL) continue;
    if (f->dtype != DHC_F32) return "a contraction of other than f32";
    if (d->n_folds == MAX_PAIR) return "more than two contractions";
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

static const char *find_sides(Tile *d) {
  const DhcTplCx *cx = &d->cx;
  const DhcSpec *s = cx->s;
  uint32_t out = 0, red = role_axes(s, DHC_AXIS_RED);
  const DhcSpecNode *f = &s->node[d->fold[0]];
  uint32_t u = cx->varies[f->a[0]] & ~d->k, v = cx->varies[f->a[1]] & ~d->k;
  out = u | v;
  /* columns: where the result's last axis is, so that neighbouring threads store side by side */
  int last = last_axis(out & ~red);
  bool swap = last >= 0 && !(v >> last & 1) && (u >> last & 1);
  if (d->n_folds == 2 && s->node[d->fold[1]].a[0] != f->a[0]) swap = true; /* then the shared side is the other */
  d->x.node = f->a[swap];
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
  d->n_window = 1;
  for (int a = 0; a < s->n_axes; a++) {
    if (!(d->window >> a & 1)) continue;
    if (!s->axis[a].extent) return "a window of unknown size";
    d->n_window *= s->axis[a].extent;
  }
  if (d->window & ~d->x.axes) return "a window among the columns";
  /* every parallel axis has a place in the tile */
  if (role_axes(s, DHC_AXIS_PAR) & ~(u | v)) return "an axis that the contraction does not have";
  if (role_axes(s, DHC_AXIS_RED) & ~(d->k | d->window)) return "a reduced axis beside the contraction";
  if (role_axes(s, DHC_AXIS_SEQ)) return "a sequential axis";
  return NULL;
}

/* n is `first op second` with op as given; the operand that is not an axis, -1 if there is no such. */
static int bound_of(const DhcSpec *s, int n, DhcOp op, int axis_side, int *axis) {
  const DhcSpecNode *d = &s->node[n];
  if (d->kind != DHC_SN_EW || d->op != op || s->node[d->a[axis_side]].kind != DHC_SN_AXIS) return -1;
  *axis = s->node[d->a[axis_side]].operand;
  return d->a[1 - axis_side];
}

/* x is select(lo <= row and row < hi, …, 0), lo and hi vary over one axis of k, its first. */
static void find_range(Tile *d) {
  const DhcSpec *s = d->cx.s;
  const DhcSpecNode *x = &s->node[d->x.node];
  d->e = -1;
  if (s->kind != DHC_KIND_RAGGED || x->kind != DHC_SN_EW || x->op != DHC_OP_SELECT) return;
  const DhcSpecNode *c = &s->node[x->a[0]], *none = &s->node[x->a[2]];
  if (c->kind != DHC_SN_EW || c->op != DHC_OP_AND || none->kind != DHC_SN_CONST || none->f != 0) return;
  int row = -1, row2 = -1;
  for (int side = 0; side < 2; side++) {
    int lo = bound_of(s, c->a[side], DHC_OP_LE, 1, &row), hi = bound_of(s, c->a[1 - side], DHC_OP_LT, 0, &row2);
    if (lo < 0 || hi < 0 || row != row2 || d->x.axes != 1u << row) continue;
    uint32_t e = d->cx.varies[lo];
    if (!e || (e & (e - 1)) || e != d->cx.varies[hi] || !(d->k & e) || (d->k & (e - 1)) || d->k == e) continue;
    d->e = last_axis(e);
    d->lo = lo;
    d->hi = hi;
    d->k &= ~e;
    return;
  }
}

static const char *choose(Tile *d) {
  const int *v = d->cx.in->schedule->v;
  d->bm = v[0];
  d->bn = v[1];
  d->bk = v[2];
  d->tm = v[3];
  d->tn = v[4];
  d->tf32 = v[5];
  d->threads = d->tf32 ? 256 : d->bm / d->tm * (d->bn / d->tn);
  if (d->tf32 && d->window) return "a window in a tile of matrix instructions";
  if (DHC_DOT_BLOCK % d->bk) return "steps that do not divide a block of products";
  if (d->cx.s->kind == DHC_KIND_RAGGED && d->e < 0 && (d->k & (d->k - 1))) return "ranges that are not read";
  if (d->tm % (int)d->n_window) return "a window that does not divide a thread's rows";
  return NULL;
}

/* ---- pieces ------------------------------------------------------------------------------------ */

static void place_side(Tile *d, Side *s, int size, int64_t *bytes) {
  int k_last = last_axis(d->k);
  s->size = size;
  s->along_k = lies_along(&d->cx, s->node, k_last);
  s->each = size * d->bk / d->threads;
  s->pitch = d->tf32 ? d->bk + (d->bk % 32 == 16 ? 0 : 16) : size + (s->along_k ? 4 : 0);
  s->bytes = *bytes;
  *bytes += 4 * (int64_t)s->pitch * (d->tf32 ? size : d->bk);
}

/* Digits of a number over the axes of a mask, ascending, the last fastest: bound one by one. */
static void bind_digits(Tile *d, uint32_t axes, DhcLv number) {
  DhcLv digit[DHC_SPEC_MAX_AXES];
  int first = -1;
  for (int a = DHC_SPEC_MAX_AXES - 1; a >= 0; a--)
    if (axes >> a & 1) first = a;
  for (int a = DHC_SPEC_MAX_AXES - 1; a >= 0; a--) {
    if (!(axes >> a & 1)) continue;
    digit[a] = a == first ? number : dhc_lp_urem(d->b, number, d->cx.extent[a]);
    if (a != first) number = dhc_lp_udiv(d->b, number, d->cx.extent[a]);
  }
  for (int a = 0; a < DHC_SPEC_MAX_AXES; a++)
    if (axes >> a & 1) dhc_tpl_bind(&d->cx, a, digit[a]);
}

/* Rows: parallel axes first, the window innermost. */
static void bind_rows(Tile *d, DhcLv row, bool window) {
  uint32_t outer = d->x.axes & ~d->window;
  if (!d->window) {
    if (outer) bind_digits(d, outer, row);
    return;
  }
  DhcLv n = dhc_lp_i64(d->b, d->n_window);
  if (outer) bind_digits(d, outer, dhc_lp_udiv(d->b, row, n));
  if (window) bind_digits(d, d->window, dhc_lp_urem(d->b, row, n));
}

/* Place of the thread's element number r in the piece: its row (or column) and its k. */
static void element(Tile *d, const Side *s, DhcLv r, DhcLv *at, DhcLv *kk) {
  DhcLp *b = d->b;
  DhcLv e = dhc_lp_add(b, d->tid, dhc_lp_mulc(b, r, d->threads));
  int64_t fast = s->along_k ? d->bk : s->size;
  DhcLv low = dhc_lp_urem(b, e, dhc_lp_i64(b, fast)), high = dhc_lp_udiv(b, e, dhc_lp_i64(b, fast));
  *kk = s->along_k ? low : high;
  *at = s->along_k ? high : low;
}

/* Brings the piece that begins at k0 into the thread's stage. */
static void fetch(Tile *d, Side *s, DhcLv k0, double behind) {
  DhcLp *b = d->b;
  DhcTplCx *cx = &d->cx;
  bool rows = s == &d->x;
  DhcLv r = dhc_lp_for(b, dhc_lp_i64(b, 0), dhc_lp_i64(b, s->each), 1), at, kk;
  element(d, s, r, &at, &kk);
  DhcLv line = dhc_lp_add(b, rows ? d->row0 : d->col0, at), k = dhc_lp_add(b, k0, kk);
  DhcLv in = dhc_lp_lt(b, line, rows ? d->n_rows : d->n_cols), in_k = dhc_lp_lt(b, k, d->n_k);
  DhcLpVar v = dhc_lp_var(b, dhc_lp_float(b, DHC_F32, behind));
  dhc_lp_if(b, dhc_lp_and(b, in, in_k));
  DhcTplMark mark = dhc_tpl_push(cx);
  if (rows) bind_rows(d, line, true);
  else if (s->axes) bind_digits(d, s->axes, line);
  bind_digits(d, d->k, k);
  dhc_lp_set(b, v, dhc_tpl_eval(cx, s->node));
  dhc_tpl_pop(cx, &mark);
  dhc_lp_end(b);
  dhc_lp_store(b, s->stage, r, dhc_lp_get(b, v), 0);
  dhc_lp_end(b);
}

/* From the stage into buffer number `half` (0, 1) of block memory. */
static void put(Tile *d, Side *s, DhcLv half) {
  DhcLp *b = d->b;
  DhcLv mem = dhc_lp_block_memory(b, DHC_F32, s->bytes), at, kk;
  DhcLv base = dhc_lp_mulc(b, half, d->buffer / 4);
  DhcLv r = dhc_lp_for(b, dhc_lp_i64(b, 0), dhc_lp_i64(b, s->each), 1);
  element(d, s, r, &at, &kk);
  DhcLv line = d->tf32 ? dhc_lp_mulc(b, at, s->pitch) : dhc_lp_mulc(b, kk, s->pitch);
  DhcLv place = dhc_lp_add(b, dhc_lp_add(b, base, line), d->tf32 ? kk : at), v = dhc_lp_load(b, s->stage, r, 1, 0);
  dhc_lp_store(b, mem, place, d->tf32 ? dhc_lp_tf32(b, v) : v, 0);
  dhc_lp_end(b);
}

/* ---- sums ----------------------------------------------------------------------------------------- */

/* A thread's columns lie in groups of four (exact): group g at 4 * its number + g * (bn / groups). */
static DhcLv column_of(Tile *d, DhcLv tx, DhcLv j) {
  DhcLp *b = d->b;
  int groups = d->tn / 4 > 0 ? d->tn / 4 : 1, width = d->tn < 4 ? d->tn : 4;
  DhcLv g = dhc_lp_udiv(b, j, dhc_lp_i64(b, width)), in = dhc_lp_urem(b, j, dhc_lp_i64(b, width));
  return dhc_lp_add(b, dhc_lp_add(b, dhc_lp_mulc(b, tx, width), in), dhc_lp_mulc(b, g, d->bn / groups));
}

static DhcLv thread_column(Tile *d) { return dhc_lp_urem(d->b, d->tid, dhc_lp_i64(d->b, d->bn / d->tn)); }
static DhcLv thread_row(Tile *d) {
  return dhc_lp_mulc(d->b, dhc_lp_udiv(d->b, d->tid, dhc_lp_i64(d->b, d->bn / d->tn)), d->tm);
}

/* n elements of one k from block memory, four at a time, into a stack array. */
static void take(Tile *d, DhcLv to, DhcLv from, DhcLv at, int n, int apart) {
  DhcLp *b = d->b;
  int width = n < 4 ? 1 : 4;
  for (int i = 0; i < n; i += width) {
    DhcLv v = dhc_lp_load(b, from, dhc_lp_addc(b, at, (int64_t)(i / width) * apart), width, 4 * width);
    for (int l = 0; l < width; l++) dhc_lp_store(b, to, dhc_lp_i64(b, i + l), dhc_lp_extract(b, v, l), 0);
  }
}

static void multiply(Tile *d, DhcLv half) {
  DhcLp *b = d->b;
  DhcLv xs = dhc_lp_local(b, DHC_F32, d->tm), base = dhc_lp_mulc(b, half, d->buffer / 4);
  DhcLv kk = dhc_lp_for(b, dhc_lp_i64(b, 0), dhc_lp_i64(b, d->bk), 1);
  DhcLv from = dhc_lp_add(b, base, dhc_lp_mulc(b, kk, d->x.pitch));
  take(d, xs, dhc_lp_block_memory(b, DHC_F32, d->x.bytes), dhc_lp_add(b, from, thread_row(d)), d->tm, 4);
  for (int f = 0; f < d->n_folds; f++) {
    DhcLv ys = dhc_lp_local(b, DHC_F32, d->tn);
    int groups = d->tn / 4 > 0 ? d->tn / 4 : 1;
    DhcLv y_at = dhc_lp_add(b, base, dhc_lp_mulc(b, kk, d->y[f].pitch));
    y_at = dhc_lp_add(b, y_at, dhc_lp_mulc(b, thread_column(d), d->tn < 4 ? d->tn : 4));
    take(d, ys, dhc_lp_block_memory(b, DHC_F32, d->y[f].bytes), y_at, d->tn, d->tn < 4 ? 1 : d->bn / groups);
    DhcLv i = dhc_lp_for(b, dhc_lp_i64(b, 0), dhc_lp_i64(b, d->tm), 1);
    DhcLv x = dhc_lp_load(b, xs, i, 1, 0), row = dhc_lp_mulc(b, i, d->tn);
    DhcLv j = dhc_lp_for(b, dhc_lp_i64(b, 0), dhc_lp_i64(b, d->tn), 1);
    DhcLv at = dhc_lp_add(b, row, j), y = dhc_lp_load(b, ys, j, 1, 0);
    dhc_lp_store(b, d->sum[f], at, dhc_lp_fma(b, x, y, dhc_lp_load(b, d->sum[f], at, 1, 0)), 0);
    dhc_lp_end(b);
    dhc_lp_end(b);
  }
  dhc_lp_end(b);
}

/* The block of products that ends at k_end goes to its level. */
static void end_block(Tile *d, DhcLv k_end) {
  DhcLp *b = d->b;
  DhcLv zero = dhc_lp_i64(b, 0), size = dhc_lp_i64(b, DHC_DOT_BLOCK), n = dhc_lp_i64(b, d->tm * d->tn);
  DhcLv last = dhc_lp_ge(b, k_end, d->n_k), none = dhc_lp_float(b, DHC_F32, 0);
  DhcLv complete = dhc_lp_eq(b, dhc_lp_urem(b, k_end, size), zero);
  dhc_lp_if(b, dhc_lp_and(b, dhc_lp_or(b, complete, last), d->many));
  DhcLv block = dhc_lp_addc(b, dhc_lp_ceildivc(b, k_end, DHC_DOT_BLOCK), -1);
  DhcTplLevel v;
  DhcLv from = dhc_lp_mulc(b, dhc_tpl_level_begin(b, &v, block, zero, last), d->tm * d->tn);
  for (int f = 0; f < d->n_folds; f++) {
    DhcLv i = dhc_lp_for(b, zero, n, 1), so_far = dhc_lp_load(b, d->level[f], dhc_lp_add(b, from, i), 1, 0);
    dhc_lp_store(b, d->sum[f], i, dhc_lp_add(b, so_far, dhc_lp_load(b, d->sum[f], i, 1, 0)), 0);
    dhc_lp_end(b);
  }
  dhc_tpl_level_end(b, &v);
  DhcLv to = dhc_lp_mulc(b, v.to, d->tm * d->tn);
  for (int f = 0; f < d->n_folds; f++) {
    DhcLv i = dhc_lp_for(b, zero, n, 1), x = dhc_lp_add(b, none, dhc_lp_load(b, d->sum[f], i, 1, 0));
    dhc_lp_store(b, d->level[f], dhc_lp_add(b, to, i), x, 0);
    dhc_lp_store(b, d->sum[f], i, dhc_lp_select(b, last, x, none), 0);
    dhc_lp_end(b);
  }
  dhc_lp_end(b);
}

/* Matrix tiles. Warp w holds rows [wm, wm + bm / 2) and columns [wn, wn + bn / 4). Of sixteen ks a thread takes
 * its four, 4t … 4t + 3, at once: two of them are the halves of the first step of eight, two of the second.
 * Which k meets which is the same on both sides, and a sum's order within a step is not defined. Matrix
 * instructions cut their sums toward zero, so one of sixteen ks begins at zero and is added by ordinary adds. */
static void fragments(Tile *d, const Side *s, DhcLv to, DhcLv base, DhcLv line, DhcLv k, int n) {
  DhcLp *b = d->b;
  DhcLv mem = dhc_lp_block_memory(b, DHC_F32, s->bytes);
  DhcLv at = dhc_lp_add(b, dhc_lp_add(b, base, dhc_lp_mulc(b, line, s->pitch)), k);
  for (int i = 0; i < n; i++) {
    DhcLv v = dhc_lp_load(b, mem, dhc_lp_addc(b, at, (int64_t)i * 8 * s->pitch), 4, 16);
    for (int l = 0; l < 4; l++) dhc_lp_store(b, to, dhc_lp_i64(b, i * 4 + l), dhc_lp_extract(b, v, l), 0);
  }
}

static DhcLv gather_vector(DhcLp *b, DhcLv from, DhcLv at, const int64_t *add, int n) {
  DhcLv v = dhc_lp_zero(b, DHC_F32, n);
  for (int l = 0; l < n; l++) v = dhc_lp_insert(b, v, l, dhc_lp_load(b, from, dhc_lp_addc(b, at, add[l]), 1, 0));
  return v;
}

static void multiply_tf32(Tile *d, DhcLv half) {
  DhcLp *b = d->b;
  int mt = d->bm / 2 / 16, nt = d->bn / 4 / 8;
  DhcLv lane = dhc_lp_urem(b, d->tid, dhc_lp_i64(b, WARP)), warp = dhc_lp_udiv(b, d->tid, dhc_lp_i64(b, WARP));
  DhcLv g = dhc_lp_udiv(b, lane, dhc_lp_i64(b, 4)), t = dhc_lp_urem(b, lane, dhc_lp_i64(b, 4));
  DhcLv wm = dhc_lp_mulc(b, dhc_lp_udiv(b, warp, dhc_lp_i64(b, 4)), d->bm / 2);
  DhcLv wn = dhc_lp_mulc(b, dhc_lp_urem(b, warp, dhc_lp_i64(b, 4)), d->bn / 4);
  DhcLv xs = dhc_lp_local(b, DHC_F32, 8 * mt), base = dhc_lp_mulc(b, half, d->buffer / 4);
  DhcLv k16 = dhc_lp_for(b, dhc_lp_i64(b, 0), dhc_lp_i64(b, d->bk), 16);
  DhcLv k = dhc_lp_add(b, k16, dhc_lp_mulc(b, t, 4));
  fragments(d, &d->x, xs, base, dhc_lp_add(b, wm, g), k, 2 * mt); /* rows g, g + 8, g + 16, … */
  for (int f = 0; f < d->n_folds; f++) {
    DhcLv ys = dhc_lp_local(b, DHC_F32, 4 * nt);
    fragments(d, &d->y[f], ys, base, dhc_lp_add(b, wn, g), k, nt);
    DhcLv i = dhc_lp_for(b, dhc_lp_i64(b, 0), dhc_lp_i64(b, mt), 1), x_at = dhc_lp_mulc(b, i, 8);
    DhcLv j = dhc_lp_for(b, dhc_lp_i64(b, 0), dhc_lp_i64(b, nt), 1), y_at = dhc_lp_mulc(b, j, 4);
    DhcLv at = dhc_lp_mulc(b, dhc_lp_add(b, dhc_lp_mulc(b, i, nt), j), 4);
    DhcLv sum = dhc_lp_zero(b, DHC_F32, 4);
    for (int h = 0; h < 2; h++) {
      DhcLv x = gather_vector(b, xs, x_at, (int64_t[]){2 * h, 4 + 2 * h, 2 * h + 1, 4 + 2 * h + 1}, 4);
      DhcLv y = gather_vector(b, ys, y_at, (int64_t[]){2 * h, 2 * h + 1}, 2);
      sum = dhc_lp_mma(b, x, y, sum);
    }
    for (int l = 0; l < 4; l++) {
      DhcLv place = dhc_lp_addc(b, at, l);
      dhc_lp_store(b, d->sum[f], place, dhc_lp_add(b, dhc_lp_load(b, d->sum[f], place, 1, 0), dhc_lp_extract(b, sum, l)), 0);
    }
    dhc_lp_end(b);
    dhc_lp_end(b);
  }
  dhc_lp_end(b);
}

/* ---- results --------------------------------------------------------------------------------------- */

/* The contraction's value at the bound axes: one of the thread's sums. */
static DhcLv provide(DhcTplCx *cx, int n, void *arg) {
  Tile *d = arg;
  DhcLp *b = cx->b;
  for (int f = 0; f < d->n_folds; f++) {
    if (d->fold[f] != n) continue;
    DhcLv row = d->sum_row, w = dhc_lp_i64(b, 0);
    for (int a = 0; a < cx->s->n_axes; a++)
      if (d->window >> a & 1) w = dhc_lp_add(b, dhc_lp_mul(b, w, cx->extent[a]), cx->index[a]);
    if (d->window) row = dhc_lp_add(b, row, w);
    DhcLv at = dhc_lp_add(b, dhc_lp_mulc(b, row, d->tn), d->sum_col);
    return dhc_lp_load(b, d->sum[f], at, 1, 0);
  }
  return NULL;
}

/* Stores what belongs to one row (or window) and one column, if the result has them. */
static void store_one(Tile *d, DhcLv row, DhcLv col) {
  DhcLp *b = d->b;
  DhcTplCx *cx = &d->cx;
  dhc_lp_if(b, dhc_lp_and(b, dhc_lp_lt(b, row, d->n_rows), dhc_lp_lt(b, col, d->n_cols)));
  DhcTplMark mark = dhc_tpl_push(cx);
  bind_rows(d, row, false);
  if (d->y[0].axes) bind_digits(d, d->y[0].axes, col);
  dhc_tpl_store_all(cx);
  dhc_tpl_pop(cx, &mark);
  dhc_lp_end(b);
}

static void store_exact(Tile *d) {
  DhcLp *b = d->b;
  DhcLv tx = thread_column(d), first = dhc_lp_add(b, d->row0, thread_row(d));
  DhcLv i = dhc_lp_for(b, dhc_lp_i64(b, 0), dhc_lp_i64(b, d->tm), d->n_window);
  DhcLv row = dhc_lp_add(b, first, i);
  DhcLv j = dhc_lp_for(b, dhc_lp_i64(b, 0), dhc_lp_i64(b, d->tn), 1);
  d->sum_row = i;
  d->sum_col = j;
  store_one(d, row, dhc_lp_add(b, d->col0, column_of(d, tx, j)));
  dhc_lp_end(b);
  dhc_lp_end(b);
}

static void store_tf32(Tile *d) {
  DhcLp *b = d->b;
  int mt = d->bm / 2 / 16, nt = d->bn / 4 / 8;
  DhcLv lane = dhc_lp_urem(b, d->tid, dhc_lp_i64(b, WARP)), warp = dhc_lp_udiv(b, d->tid, dhc_lp_i64(b, WARP));
  DhcLv g = dhc_lp_udiv(b, lane, dhc_lp_i64(b, 4)), t = dhc_lp_urem(b, lane, dhc_lp_i64(b, 4));
  DhcLv row0 = dhc_lp_add(b, dhc_lp_add(b, d->row0, g), dhc_lp_mulc(b, dhc_lp_udiv(b, warp, dhc_lp_i64(b, 4)), d->bm / 2));
  DhcLv col0 = dhc_lp_add(b, d->col0, dhc_lp_mulc(b, dhc_lp_urem(b, warp, dhc_lp_i64(b, 4)), d->bn / 4));
  col0 = dhc_lp_add(b, col0, dhc_lp_mulc(b, t, 2));
  DhcLv i = dhc_lp_for(b, dhc_lp_i64(b, 0), dhc_lp_i64(b, mt), 1);
  DhcLv j = dhc_lp_for(b, dhc_lp_i64(b, 0), dhc_lp_i64(b, nt), 1);
  DhcLv l = dhc_lp_for(b, dhc_lp_i64(b, 0), dhc_lp_i64(b, 4), 1);
  DhcLv two = dhc_lp_i64(b, 2), up = dhc_lp_udiv(b, l, two), right = dhc_lp_urem(b, l, two);
  DhcLv row = dhc_lp_add(b, row0, dhc_lp_add(b, dhc_lp_mulc(b, i, 16), dhc_lp_mulc(b, up, 8)));
  DhcLv col = dhc_lp_add(b, col0, dhc_lp_add(b, dhc_lp_mulc(b, j, 8), right));
  d->sum_row = dhc_lp_add(b, dhc_lp_mulc(b, i, nt), j); /* sums of one 16 x 8 tile are four of a "row" */
  d->sum_col = l;
  d->tn = 4;
  store_one(d, row, col);
  for (int k = 0; k < 3; k++) dhc_lp_end(b);
}

/* ---- the kernel ---------------------------------------------------------------------------------------- */

static void begin_sums(Tile *d) {
  DhcLp *b = d->b;
  int n = d->tf32 ? d->bm / 2 / 16 * (d->bn / 4 / 8) * 4 : d->tm * d->tn;
  for (int f = 0; f < d->n_folds; f++) {
    DhcLv i = dhc_lp_for(b, dhc_lp_i64(b, 0), dhc_lp_i64(b, n), 1);
    dhc_lp_store(b, d->sum[f], i, dhc_lp_float(b, DHC_F32, 0), 0);
    dhc_lp_end(b);
  }
}

static void steps(Tile *d);

/* Of more than one block every range is a sum by itself: total += sum, and the sum begins anew. */
static void add_range(Tile *d, const DhcLv *total) {
  DhcLp *b = d->b;
  dhc_lp_if(b, d->many);
  for (int f = 0; f < d->n_folds; f++) {
    DhcLv i = dhc_lp_for(b, dhc_lp_i64(b, 0), dhc_lp_i64(b, d->tm * d->tn), 1);
    DhcLv x = dhc_lp_load(b, d->sum[f], i, 1, 0);
    dhc_lp_store(b, total[f], i, dhc_lp_add(b, dhc_lp_load(b, total[f], i, 1, 0), x), 0);
    dhc_lp_store(b, d->sum[f], i, dhc_lp_float(b, DHC_F32, 0), 0);
    dhc_lp_end(b);
  }
  dhc_lp_end(b);
}

/* The steps of every e that has rows here. */
static void steps_of_ranges(Tile *d) {
  DhcLp *b = d->b;
  DhcLv total[MAX_PAIR] = {NULL}, sum[MAX_PAIR] = {d->sum[0], d->sum[1]};
  for (int f = 0; f < d->n_folds && d->many; f++) {
    total[f] = dhc_lp_local(b, DHC_F32, d->tm * d->tn);
    d->sum[f] = total[f];
  }
  if (d->many) begin_sums(d);
  for (int f = 0; f < d->n_folds; f++) d->sum[f] = sum[f];
  DhcLv e = dhc_lp_for(b, dhc_lp_i64(b, 0), d->cx.extent[d->e], 1);
  DhcTplMark mark = dhc_tpl_push(&d->cx);
  dhc_tpl_bind(&d->cx, d->e, e);
  DhcLv lo = dhc_lp_cast(b, dhc_tpl_eval(&d->cx, d->lo), DHC_I64), hi = dhc_lp_cast(b, dhc_tpl_eval(&d->cx, d->hi), DHC_I64);
  DhcLv end = dhc_lp_addc(b, d->row0, d->bm);
  dhc_lp_if(b, dhc_lp_and(b, dhc_lp_lt(b, d->row0, hi), dhc_lp_and(b, dhc_lp_lt(b, lo, end), dhc_lp_lt(b, lo, hi))));
  steps(d);
  if (d->many) add_range(d, total);
  dhc_lp_barrier(b); /* the next e begins with the first buffer again */
  dhc_lp_end(b);
  dhc_tpl_pop(&d->cx, &mark);
  dhc_lp_end(b);
  for (int f = 0; f < d->n_folds && d->many; f++) {
    DhcLv i = dhc_lp_for(b, dhc_lp_i64(b, 0), dhc_lp_i64(b, d->tm * d->tn), 1);
    DhcLv x = dhc_lp_load(b, total[f], i, 1, 0);
    dhc_lp_store(b, d->sum[f], i, dhc_lp_select(b, d->many, x, dhc_lp_load(b, d->sum[f], i, 1, 0)), 0);
    dhc_lp_end(b);
  }
}

static void steps(Tile *d) {
  DhcLp *b = d->b;
  DhcLv zero = dhc_lp_i64(b, 0);
  fetch(d, &d->x, zero, 0.0);
  for (int f = 0; f < d->n_folds; f++) fetch(d, &d->y[f], zero, -0.0);
  DhcLv k0 = dhc_lp_for(b, zero, d->n_k, d->bk);
  DhcLv half = dhc_lp_and(b, dhc_lp_udiv(b, k0, dhc_lp_i64(b, d->bk)), dhc_lp_i64(b, 1));
  put(d, &d->x, half);
  for (int f = 0; f < d->n_folds; f++) put(d, &d->y[f], half);
  /* one wait a step: what the other buffer held was used before the wait of the step before */
  dhc_lp_barrier(b);
  DhcLv next = dhc_lp_addc(b, k0, d->bk);
  dhc_lp_if(b, dhc_lp_lt(b, next, d->n_k));
  fetch(d, &d->x, next, 0.0);
  for (int f = 0; f < d->n_folds; f++) fetch(d, &d->y[f], next, -0.0);
  dhc_lp_end(b);
  if (d->tf32) multiply_tf32(d, half);
  else multiply(d, half);
  if (d->many) end_block(d, next);
  dhc_lp_end(b);
}

static dhc_dimprog tiles(const Tile *d, uint32_t axes, int64_t size) {
  DhcArena *a = d->b->arena;
  return dhc_prog_op(a, DHC_DIM_CEILDIV, dhc_tpl_count_prog(&d->cx, axes), dhc_prog_const(a, size));
}

void dhc_tpl_tile(const DhcTplInput *in, DhcLp *b) {
  Tile *d = DHC_NEW(b->arena, Tile);
  d->b = b;
  d->cx = (DhcTplCx){.in = in, .s = in->spec, .b = b};
  for (int n = 0; n < in->spec->n_nodes; n++) d->cx.varies[n] = dhc_spec_varies(in->spec, n);
  const char *why = find_folds(d);
  if (!why) why = find_sides(d);
  if (!why) find_range(d);
  if (!why) why = choose(d);
  if (why) {
    dhc_lp_refuse(b, "%s", why);
    return;
  }
  int64_t bytes = 0;
  place_side(d, &d->x, d->bm, &bytes);
  for (int f = 0; f < d->n_folds; f++) place_side(d, &d->y[f], d->bn, &bytes);
  d->buffer = bytes;
  dhc_lp_block(b, d->threads, 2 * bytes);
  dhc_tpl_init(&d->cx, in, b);
  d->cx.provide = provide;
  d->cx.provide_arg = d;
  DhcArena *arena = b->arena;
  dhc_dimprog across = tiles(d, d->y[0].axes, d->bn), down = tiles(d, d->x.axes, d->bm);
  dhc_dimprog per_batch = dhc_prog_op(arena, DHC_DIM_MUL, across, down);
  d->n_rows = dhc_tpl_count(&d->cx, d->x.axes);
  d->n_cols = dhc_tpl_count(&d->cx, d->y[0].axes);
  d->n_k = dhc_tpl_count(&d->cx, d->k);
  if (!d->tf32 && !dhc_tpl_one_block(d->n_k, 1)) d->many = dhc_lp_lt(b, dhc_lp_i64(b, DHC_DOT_BLOCK), d->n_k);
  DhcLv n_across = dhc_lp_prog(b, across), n_tiles = dhc_lp_prog(b, per_batch);
  DhcLv task = dhc_lp_tasks(b, dhc_prog_op(arena, DHC_DIM_MUL, per_batch, dhc_tpl_count_prog(&d->cx, d->batch)));
  DhcTplMark mark = dhc_tpl_push(&d->cx);
  d->tid = dhc_lp_thread(b);
  DhcLv tile = dhc_lp_urem(b, task, n_tiles);
  if (d->batch) bind_digits(d, d->batch, dhc_lp_udiv(b, task, n_tiles));
  /* tiles of one column strip follow each other: what they share is then in the cache */
  d->row0 = dhc_lp_mulc(b, dhc_lp_udiv(b, tile, n_across), d->bm);
  d->col0 = dhc_lp_mulc(b, dhc_lp_urem(b, tile, n_across), d->bn);
  int sums = d->tf32 ? d->bm / 2 / 16 * (d->bn / 4 / 8) * 4 : d->tm * d->tn;
  d->x.stage = dhc_lp_local(b, DHC_F32, d->x.each);
  for (int f = 0; f < d->n_folds; f++) {
    d->sum[f] = dhc_lp_local(b, DHC_F32, sums);
    if (d->many) d->level[f] = dhc_lp_local(b, DHC_F32, (int64_t)DHC_DOT_LEVELS * sums);
    d->y[f].stage = dhc_lp_local(b, DHC_F32, d->y[f].each);
  }
  begin_sums(d);
  if (d->e >= 0) steps_of_ranges(d);
  else steps(d);
  if (d->tf32) store_tf32(d);
  else store_exact(d);
  dhc_tpl_pop(&d->cx, &mark);
  dhc_lp_end(b);
}
