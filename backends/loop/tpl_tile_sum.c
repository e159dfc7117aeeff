/* Template "tile": a thread's sums, exact or by matrix tiles. */
#include "backends/loop/tpl_tile.h"

static DhcLv place(DhcTile *d, const DhcTileSide *s, DhcLv base, DhcLv line, DhcLv k, DhcLv alike) {
  return dhc_lp_add(d->b, base, dhc_tile_spot(d, s, line, k, alike));
}

/* ---- exact: tm x tn sums a thread ------------------------------------------ */

/* A thread's columns lie in groups of four: group g at 4 * its number + g * (bn / groups). */
static int column_groups(const DhcTile *d) { return d->tn / 4 > 0 ? d->tn / 4 : 1; }
static int column_width(const DhcTile *d) { return d->tn < 4 ? d->tn : 4; }

static DhcLv first_column(DhcTile *d) {
  DhcLv tx = dhc_lp_urem(d->b, d->tid, dhc_lp_i64(d->b, d->bn / d->tn));
  return dhc_lp_mulc(d->b, tx, column_width(d));
}
static DhcLv first_row(DhcTile *d) {
  return dhc_lp_mulc(d->b, dhc_lp_udiv(d->b, d->tid, dhc_lp_i64(d->b, d->bn / d->tn)), d->tm);
}

/* n elements of one k from block memory, four at a time, into a stack array. */
static void take(DhcTile *d, DhcLv to, DhcLv at, int n, int apart) {
  DhcLp *b = d->b;
  DhcLv mem = dhc_tile_memory(d);
  int width = n < 4 ? 1 : 4;
  for (int i = 0; i < n; i += width) {
    DhcLv v = dhc_lp_load(b, mem, dhc_lp_addc(b, at, (int64_t)(i / width) * apart), width, 4 * width);
    for (int l = 0; l < width; l++) dhc_lp_store(b, to, dhc_lp_i64(b, i + l), dhc_lp_extract(b, v, l), 0);
  }
}

/* n ks, or all of a step where n is NULL. */
static void multiply_exact(DhcTile *d, DhcLv base, DhcLv n) {
  DhcLp *b = d->b;
  DhcLv xs = dhc_lp_local(b, DHC_F32, d->tm);
  DhcLv kk = dhc_lp_for(b, dhc_lp_i64(b, 0), n ? n : dhc_lp_i64(b, d->bk), 1);
  take(d, xs, place(d, &d->x, base, first_row(d), kk, kk), d->tm, d->tm < 4 ? 1 : 4);
  for (int f = 0; f < d->n_folds; f++) {
    DhcLv ys = dhc_lp_local(b, DHC_F32, d->tn);
    take(d, ys, place(d, &d->y[f], base, first_column(d), kk, kk), d->tn, d->tn < 4 ? 1 : d->bn / column_groups(d));
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

static void each_exact(DhcTile *d, int f, void (*put)(DhcTile *d, int f, DhcLv row, DhcLv col, DhcLv sums)) {
  DhcLp *b = d->b;
  DhcLv i = dhc_lp_for(b, dhc_lp_i64(b, 0), dhc_lp_i64(b, d->tm), 1), row = dhc_lp_add(b, first_row(d), i);
  for (int g = 0; g < column_groups(d); g++) {
    int width = column_width(d);
    DhcLv v = dhc_lp_zero(b, DHC_F32, width);
    for (int l = 0; l < width; l++) {
      DhcLv one = dhc_lp_load(b, d->sum[f], dhc_lp_addc(b, dhc_lp_mulc(b, i, d->tn), g * width + l), 1, 0);
      v = width == 1 ? one : dhc_lp_insert(b, v, l, one);
    }
    put(d, f, row, dhc_lp_addc(b, first_column(d), g * (d->bn / column_groups(d))), v);
  }
  dhc_lp_end(b);
}

/* ---- matrix tiles: wr x wc warps a group, bm / wr rows and bn / wc columns a warp ------------------- */

/* Of eight ks a thread takes 2t and 2t + 1, on both sides; which k goes where in a matrix tile's sum is not defined. Of
 * sixteen (bf16) it takes these of both eights, or 4t to 4t + 3. */

DhcTileLane dhc_tile_lane(DhcTile *d) {
  DhcLp *b = d->b;
  DhcLv lane = dhc_lp_urem(b, d->tid, dhc_lp_i64(b, DHC_TILE_WARP)), warp = dhc_lp_udiv(b, d->tid, dhc_lp_i64(b, DHC_TILE_WARP));
  DhcLv four = dhc_lp_i64(b, 4), wr = dhc_lp_i64(b, d->wr), wc = dhc_lp_i64(b, d->wc);
  DhcLv r = dhc_lp_urem(b, warp, wr), rest = dhc_lp_udiv(b, warp, wr);
  return (DhcTileLane){.g = dhc_lp_udiv(b, lane, four), .t = dhc_lp_urem(b, lane, four), .row = dhc_lp_mulc(b, r, d->bm / d->wr),
                .col = dhc_lp_mulc(b, dhc_lp_urem(b, rest, wc), d->bn / d->wc), .group = dhc_lp_udiv(b, rest, wc)};
}

DhcLv dhc_tile_group(DhcTile *d) { return d->warps ? dhc_tile_lane(d).group : dhc_lp_i64(d->b, 0); }

/* The bits of x that a matrix tile reads, and the rest, of which it reads the next eleven. */
static DhcLv high_part(DhcLp *b, DhcLv x) {
  DhcLv bits = dhc_lp_ew2(b, DHC_OP_AND, dhc_lp_bitcast(b, x, DHC_U32), dhc_lp_int(b, DHC_U32, 0xffffe000));
  return dhc_lp_bitcast(b, bits, DHC_F32);
}

DhcLv dhc_tile_operands(DhcTile *d, int n) {
  return dhc_lp_local(d->b, d->bf16 ? DHC_U32 : DHC_F32, (int64_t)n * 2 * (d->three ? 2 : 1));
}

/* What the halves of a pair stand for. */
static void halves(DhcLp *b, DhcLv pair, DhcLv *x) {
  x[0] = dhc_lp_bitcast(b, dhc_lp_ew2(b, DHC_OP_SHL, pair, dhc_lp_int(b, DHC_U32, 16)), DHC_F32);
  x[1] = dhc_lp_bitcast(b, dhc_lp_ew2(b, DHC_OP_AND, pair, dhc_lp_int(b, DHC_U32, 0xffff0000)), DHC_F32);
}

void dhc_tile_take(DhcTile *d, DhcLv to, int i, int n, const DhcLv *x) {
  DhcLp *b = d->b;
  for (int h = 0; h < 2; h++) {
    DhcLv first = dhc_lp_i64(b, 2 * i + h), rest = dhc_lp_i64(b, 2 * (n + i) + h), part[2];
    if (!d->bf16) {
      part[0] = d->three ? high_part(b, x[h]) : dhc_lp_tf32(b, x[h]);
      dhc_lp_store(b, to, first, part[0], 0);
      if (d->three) dhc_lp_store(b, to, rest, dhc_lp_sub(b, x[h], part[0]), 0);
      continue;
    }
    DhcLv pair = dhc_lp_pair(b, x[2 * h], x[2 * h + 1]);
    dhc_lp_store(b, to, first, pair, 0);
    if (!d->three) continue;
    halves(b, pair, part);
    dhc_lp_store(b, to, rest, dhc_lp_pair(b, dhc_lp_sub(b, x[2 * h], part[0]), dhc_lp_sub(b, x[2 * h + 1], part[1])), 0);
  }
}

/* The thread's ks of a line, the first of them k: two beside each other of each eight, or four. */
static void own_ks(DhcTile *d, const DhcTileSide *s, DhcLv base, DhcLv line, DhcLv k, DhcLv g, DhcLv *v) {
  DhcLp *b = d->b;
  DhcLv mem = dhc_tile_memory(d);
  int lanes = d->quads ? 4 : s->k_inner ? 2 : 1;
  for (int l = 0; l < dhc_tile_own(d); l += lanes) {
    DhcLv at = place(d, s, base, line, dhc_lp_addc(b, k, d->quads ? l : l / 2 * 8 + l % 2), g);
    DhcLv some = dhc_lp_load(b, mem, at, lanes, lanes > 1 ? 4 * lanes : 0);
    for (int i = 0; i < lanes; i++) v[l + i] = dhc_lp_extract(b, some, i);
  }
}

/* Of the thread's ks pair h begins so far behind the first. */
static int pair_at(const DhcTile *d, int h) { return d->quads ? 2 * h : 8 * h; }

/* What columns take of a norm, by its ks. */
static void scale_columns(DhcTile *d, DhcLv base, DhcLv k, DhcLv *v) {
  DhcLp *b = d->b;
  for (int h = 0; h < dhc_tile_own(d) / 2; h++) {
    DhcLv by = dhc_tile_scaled_by(d, base, dhc_lp_addc(b, k, pair_at(d, h)));
    for (int l = 0; l < 2 && by; l++) v[2 * h + l] = dhc_lp_mul(b, v[2 * h + l], dhc_lp_extract(b, by, l));
  }
}

/* The thread's ks of n lines, eight apart from first + g on, into a stack array. left: ks of the stage. */
static void fragments(DhcTile *d, const DhcTileSide *s, DhcLv to, DhcLv base, DhcLv first, DhcLv g, DhcLv k, int n, DhcLv left) {
  DhcLp *b = d->b;
  for (int i = 0; i < n; i++) {
    DhcLv v[4];
    own_ks(d, s, base, dhc_lp_addc(b, dhc_lp_add(b, first, g), 8 * i), k, g, v);
    for (int h = 0; h < dhc_tile_own(d) / 2 && d->scaled && s->rows; h++)
      dhc_tile_scaled_add(d, base, i, dhc_lp_addc(b, k, pair_at(d, h)), left, v + 2 * h);
    if (d->scaled && !s->rows) scale_columns(d, base, k, v);
    dhc_tile_take(d, to, i, n, v);
  }
}

static DhcLv gathered(DhcLp *b, DhcLv from, DhcLv at, const int64_t *add, int n) {
  DhcLv v = dhc_lp_zero(b, from->type.dtype, n);
  for (int l = 0; l < n; l++) v = dhc_lp_insert(b, v, l, dhc_lp_load(b, from, dhc_lp_addc(b, at, add[l]), 1, 0));
  return v;
}

static void put_four(DhcLp *b, DhcLv to, DhcLv at, DhcLv v) {
  for (int e = 0; e < 4; e++) dhc_lp_store(b, to, dhc_lp_addc(b, at, e), dhc_lp_extract(b, v, e), 0);
}

void dhc_tile_products(DhcTile *d, int f, DhcLv xs, DhcLv ys) {
  DhcLp *b = d->b;
  int mt = dhc_tile_down(d), nt = dhc_tile_across(d), parts = d->three ? 2 : 1;
  DhcLv i = dhc_lp_for(b, dhc_lp_i64(b, 0), dhc_lp_i64(b, mt), 1);
  DhcLv j = dhc_lp_for(b, dhc_lp_i64(b, 0), dhc_lp_i64(b, nt), 1), at = dhc_lp_mulc(b, dhc_lp_add(b, dhc_lp_mulc(b, i, nt), j), 4);
  DhcLv sum = gathered(b, d->sum[f], at, (int64_t[]){0, 1, 2, 3}, 4), x[2], y[2], small[2];
  for (int h = 0; h < 2 && d->small[f]; h++)
    small[h] = gathered(b, d->small[f], dhc_lp_addc(b, at, (int64_t)h * dhc_tile_n_sums(d)), (int64_t[]){0, 1, 2, 3}, 4);
  for (int h = 0; h < parts; h++) {
    x[h] = gathered(b, xs, dhc_lp_addc(b, dhc_lp_mulc(b, i, 4), h * 4 * mt), (int64_t[]){0, 2, 1, 3}, 4);
    y[h] = gathered(b, ys, dhc_lp_addc(b, dhc_lp_mulc(b, j, 2), h * 2 * nt), (int64_t[]){0, 1}, 2);
  }
  /* the small ones first; the product of both rests is below what is kept */
  for (int h = 0; h < 2 && d->three; h++) {
    DhcLv *to = d->small[f] ? &small[h] : &sum;
    *to = dhc_lp_mma(b, x[!h], y[h], *to);
    if (d->small[f]) put_four(b, d->small[f], dhc_lp_addc(b, at, (int64_t)h * dhc_tile_n_sums(d)), small[h]);
  }
  put_four(b, d->sum[f], at, dhc_lp_mma(b, x[0], y[0], sum));
  dhc_lp_end(b);
  dhc_lp_end(b);
}

static void multiply_warps(DhcTile *d, DhcLv base, DhcLv left) {
  DhcLp *b = d->b;
  int mt = dhc_tile_down(d), nt = dhc_tile_across(d);
  DhcTileLane l = dhc_tile_lane(d);
  int deep = dhc_tile_deep(d);
  DhcLv xs = dhc_tile_operands(d, 2 * mt);
  DhcLv some = dhc_lp_for(b, dhc_lp_i64(b, 0), dhc_lp_i64(b, d->bk), (int64_t)deep * d->wk);
  DhcLv k = dhc_lp_add(b, dhc_lp_add(b, some, dhc_lp_mulc(b, l.group, deep)), dhc_lp_mulc(b, l.t, d->quads ? 4 : 2));
  fragments(d, &d->x, xs, base, l.row, l.g, k, 2 * mt, left); /* rows g, g + 8, g + 16, ... */
  for (int f = 0; f < d->n_folds; f++) {
    DhcLv ys = dhc_tile_operands(d, nt);
    fragments(d, &d->y[f], ys, base, l.col, l.g, k, nt, left);
    dhc_tile_products(d, f, xs, ys);
  }
  dhc_lp_end(b);
}

/* Both operands of a group's products are cut as they are: this makes up for it on average, where others round before
 * (tf32_of): 1 + 2^-11.5, twice. */
static DhcLv uncut(DhcLp *b) { return dhc_lp_splat(b, dhc_lp_float(b, DHC_F32, 1 + 0x1p-10 * 0.70710678118654752 + 0x1p-23), 2); }

/* sum[f] of every thread: its group's 64 rows by its warp's columns. */
static void multiply_group(DhcTile *d, DhcLv base) {
  DhcLp *b = d->b;
  DhcTileLane l = dhc_tile_lane(d);
  DhcLv mem = dhc_tile_memory(d), sixty_four = dhc_lp_i64(b, 64);
  DhcLv row = dhc_lp_mul(b, dhc_lp_udiv(b, l.row, sixty_four), sixty_four);
  DhcLv xs = dhc_lp_at(b, mem, dhc_lp_add(b, base, dhc_lp_addc(b, dhc_lp_mulc(b, row, d->bk), d->x.bytes / 4)));
  for (int f = 0; f < d->n_folds; f++) {
    DhcLv ys = dhc_lp_at(b, mem, dhc_lp_add(b, base, dhc_lp_addc(b, dhc_lp_mulc(b, l.col, d->bk), d->y[f].bytes / 4)));
    dhc_lp_group_mma(b, d->sum[f], xs, ys, d->bn / d->wc);
  }
}

static void each_warps(DhcTile *d, int f, void (*put)(DhcTile *d, int f, DhcLv row, DhcLv col, DhcLv sums)) {
  DhcLp *b = d->b;
  int nt = dhc_tile_across(d);
  DhcTileLane l = dhc_tile_lane(d);
  DhcLv i = dhc_lp_for(b, dhc_lp_i64(b, 0), dhc_lp_i64(b, dhc_tile_down(d)), 1),
        row = dhc_lp_add(b, dhc_lp_add(b, l.row, l.g), dhc_lp_mulc(b, i, 16));
  DhcLv j = dhc_lp_for(b, dhc_lp_i64(b, 0), dhc_lp_i64(b, nt), 1);
  DhcLv col = dhc_lp_add(b, dhc_lp_add(b, l.col, dhc_lp_mulc(b, l.t, 2)), dhc_lp_mulc(b, j, 8));
  DhcLv at = dhc_lp_mulc(b, dhc_lp_add(b, dhc_lp_mulc(b, i, nt), j), 4);
  for (int h = 0; h < 2; h++) {
    DhcLv sums = gathered(b, d->sum[f], at, (int64_t[]){2 * h, 2 * h + 1}, 2);
    put(d, f, dhc_lp_addc(b, row, 8 * h), col, d->group ? dhc_lp_mul(b, sums, uncut(b)) : sums);
  }
  dhc_lp_end(b);
  dhc_lp_end(b);
}

/* ---- both ---------------------------------------------------------------------------------------------- */

int dhc_tile_n_sums(const DhcTile *d) { return d->warps ? dhc_tile_down(d) * dhc_tile_across(d) * 4 : d->tm * d->tn; }

static void clear(DhcTile *d, DhcLv sums, int n) {
  DhcLp *b = d->b;
  DhcLv i = dhc_lp_for(b, dhc_lp_i64(b, 0), dhc_lp_i64(b, n), 1);
  dhc_lp_store(b, sums, i, dhc_lp_float(b, DHC_F32, 0), 0);
  dhc_lp_end(b);
}

void dhc_tile_begin_small(DhcTile *d) {
  int n = 2 * dhc_tile_n_sums(d);
  for (int f = 0; f < d->n_folds && d->three; f++) {
    d->small[f] = dhc_lp_local(d->b, DHC_F32, n);
    clear(d, d->small[f], n);
  }
}

void dhc_tile_end_small(DhcTile *d) {
  DhcLp *b = d->b;
  int n = dhc_tile_n_sums(d);
  for (int f = 0; f < d->n_folds; f++) {
    if (!d->small[f]) continue;
    DhcLv i = dhc_lp_for(b, dhc_lp_i64(b, 0), dhc_lp_i64(b, n), 1);
    DhcLv rests = dhc_lp_add(b, dhc_lp_load(b, d->small[f], i, 1, 0), dhc_lp_load(b, d->small[f], dhc_lp_addc(b, i, n), 1, 0));
    dhc_lp_store(b, d->sum[f], i, dhc_lp_add(b, dhc_lp_load(b, d->sum[f], i, 1, 0), rests), 0);
    dhc_lp_end(b);
    d->small[f] = NULL;
  }
}

void dhc_tile_begin(DhcTile *d) {
  DhcLp *b = d->b;
  int n = dhc_tile_n_sums(d);
  dhc_tile_scaled_begin(d);
  for (int f = 0; f < d->n_folds; f++) {
    d->sum[f] = dhc_lp_local(b, DHC_F32, n);
    if (d->many) d->level[f] = dhc_lp_local(b, DHC_F32, (int64_t)DHC_DOT_LEVELS * n);
    if (d->many && d->e >= 0) d->total[f] = dhc_lp_local(b, DHC_F32, n);
    clear(d, d->sum[f], n);
    if (d->many && d->e >= 0) clear(d, d->total[f], n);
  }
}

/* ---- exact: the product rule (ir/sum.h) ------------------------------------------------------------------ */

static void end_block(DhcTile *d, DhcLv k_next, DhcLv last) {
  DhcLp *b = d->b;
  int n = dhc_tile_n_sums(d);
  DhcLv zero = dhc_lp_i64(b, 0), count = dhc_lp_i64(b, n), none = dhc_lp_float(b, DHC_F32, 0);
  DhcLv block = dhc_lp_addc(b, dhc_lp_ceildivc(b, k_next, DHC_DOT_BLOCK), -1),
        first = dhc_lp_udiv(b, d->k_first, dhc_lp_i64(b, DHC_DOT_BLOCK));
  DhcTplLevel v;
  DhcLv from = dhc_lp_mulc(b, dhc_tpl_level_begin(b, &v, block, first, last), n);
  for (int f = 0; f < d->n_folds; f++) {
    DhcLv i = dhc_lp_for(b, zero, count, 1), so_far = dhc_lp_load(b, d->level[f], dhc_lp_add(b, from, i), 1, 0);
    dhc_lp_store(b, d->sum[f], i, dhc_lp_add(b, so_far, dhc_lp_load(b, d->sum[f], i, 1, 0)), 0);
    dhc_lp_end(b);
  }
  dhc_tpl_level_end(b, &v);
  DhcLv to = dhc_lp_mulc(b, v.to, n);
  for (int f = 0; f < d->n_folds; f++) {
    DhcLv i = dhc_lp_for(b, zero, count, 1), x = dhc_lp_add(b, none, dhc_lp_load(b, d->sum[f], i, 1, 0));
    dhc_lp_store(b, d->level[f], dhc_lp_add(b, to, i), x, 0);
    dhc_lp_store(b, d->sum[f], i, dhc_lp_select(b, last, x, none), 0);
    dhc_lp_end(b);
  }
}

/* Every range is a sum by itself: total += sum, and the sum begins anew. */
static void end_range(DhcTile *d) {
  DhcLp *b = d->b;
  for (int f = 0; f < d->n_folds; f++) {
    DhcLv i = dhc_lp_for(b, dhc_lp_i64(b, 0), dhc_lp_i64(b, dhc_tile_n_sums(d)), 1), x = dhc_lp_load(b, d->sum[f], i, 1, 0);
    dhc_lp_store(b, d->total[f], i, dhc_lp_add(b, dhc_lp_load(b, d->total[f], i, 1, 0), x), 0);
    dhc_lp_store(b, d->sum[f], i, dhc_lp_float(b, DHC_F32, 0), 0);
    dhc_lp_end(b);
  }
}

void dhc_tile_end_step(DhcTile *d, DhcLv k_next) {
  DhcLp *b = d->b;
  if (!d->many) return;
  DhcLv last = dhc_lp_ge(b, k_next, d->k_end);
  DhcLv complete = dhc_lp_eq(b, dhc_lp_urem(b, k_next, dhc_lp_i64(b, DHC_DOT_BLOCK)), dhc_lp_i64(b, 0));
  dhc_lp_if(b, dhc_lp_and(b, dhc_lp_or(b, complete, last), d->many));
  end_block(d, k_next, last);
  if (d->e >= 0) {
    dhc_lp_if(b, last);
    end_range(d);
    dhc_lp_end(b);
  }
  dhc_lp_end(b);
}

void dhc_tile_end_ranges(DhcTile *d) {
  DhcLp *b = d->b;
  if (!d->many) return;
  for (int f = 0; f < d->n_folds; f++) {
    DhcLv i = dhc_lp_for(b, dhc_lp_i64(b, 0), dhc_lp_i64(b, dhc_tile_n_sums(d)), 1), x = dhc_lp_load(b, d->total[f], i, 1, 0);
    dhc_lp_store(b, d->sum[f], i, dhc_lp_select(b, d->many, x, dhc_lp_load(b, d->sum[f], i, 1, 0)), 0);
    dhc_lp_end(b);
  }
}

void dhc_tile_multiply(DhcTile *d, DhcLv base, DhcLv n) {
  DhcLp *b = d->b;
  if (d->warps) {
    if (d->group) multiply_group(d, base);
    else multiply_warps(d, base, n);
    return;
  }
  dhc_lp_if(b, dhc_lp_ge(b, n, dhc_lp_i64(b, d->bk)));
  multiply_exact(d, base, NULL);
  dhc_lp_else(b);
  multiply_exact(d, base, n);
  dhc_lp_end(b);
}

void dhc_tile_each_sum(DhcTile *d, int f, void (*put)(DhcTile *d, int f, DhcLv row, DhcLv col, DhcLv sums)) {
  if (d->warps) each_warps(d, f, put);
  else each_exact(d, f, put);
}
