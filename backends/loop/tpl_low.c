/* Template "low" (GPUs): contractions of few rows, in tf32 or bf16, whose time is that of waiting. Of loads alone, along one
 * axis of ks that lie side by side on both sides; dhc_spec_low says which.
 *
 * A block has sixteen rows and few columns. Its warps share the ks, sixteen of them each in turn; a thread reads four ks of
 * a line at once, in the order in which matrix tiles want them, straight into registers, and no line goes through block
 * memory. First what no kernel before it can have written, where a launch says so of it (dhc_lp_early): the columns', weights. They
 * are on their way while that kernel ends. Then the rows', and what results go into. The warps' sums meet in block memory and are
 * added in order.
 *
 * Rows that are made of their own sums, as by a norm. Where a row is its elements times what is the same all along it and times what is the same
 * for all rows, columns take the latter, before anything waits; the sums are added up beside the products, in an order of
 * their own, and results take what is made of them. Else sixteen threads add up each row's by the sum rule, and every thread
 * makes of the elements that it has what is contracted.
 *
 * Ragged: a block has few columns of one range's matrix, and goes over the range's rows, sixteen at a time; where it has none nothing
 * is read. That is where the ranges are all rows, one after the other; else the first range's blocks do everything, range after range.
 * For ranges of which most are empty: reading all matrices early took longer where most have rows.
 *
 * Schedule: v[0] rows, 16; v[1] columns; v[2] ks of a round, sixteen of each warp; v[3] warps for each that v[5] says; v[4] 1; v[5] as of template
 * "tile": warps, in two parts, in bf16; v[6] rounds whose operands are on their way together;
 * v[7] 1: no sum is longer than these, as the guard says; not of ranges. */
#include "backends/loop/tpl_tile.h"

enum { ROWS = 2 /* of a thread: g and g + 8 */, FOUR = 4, WARP_KS = 16, LINE_THREADS = 16 };

typedef struct Low {
  DhcTile t;
  bool whole;          /* no sum goes on behind the first rounds */
  int rounds, columns; /* at once; matrix tiles of a warp, across */
  DhcLv fours;         /* every line's ks may be read four at a time */
  DhcLv row_at[ROWS], *column_at[DHC_TILE_PAIR]; /* where the thread's lines begin */
  DhcLv xs, ys[DHC_TILE_PAIR];                   /* stack arrays of what has been read: by round, line and k */
  DhcLv row_in[ROWS]; /* ragged, ranges in any order: the row is one of the range's; else NULL */
  DhcTileLane lane;
  DhcTplCx row[ROWS]; /* of a norm: what is made at the thread's rows, which are bound, */
  bool needed[DHC_SPEC_MAX_NODES];
  DhcLv beside[DHC_SPEC_MAX_NODES]; /* and, by node, stack arrays of what is loaded along k for all rows, by round and k */
  bool scaled;                      /* rows are products of these: */
  DhcTileFactors factors;
  DhcLv part[DHC_SPEC_MAX_NODES];   /* by fold, of the thread's elements: stack arrays by row and k */
  DhcLv scale;                      /* of results */
  DhcLv (*sums)(DhcTplCx *cx, int n, void *arg); /* the tile's */
} Low;

static DhcLv stride_along(const Low *l, const DhcTileSide *s, uint32_t axes) {
  const DhcTile *d = &l->t;
  const DhcOperand *p = &d->cx.s->operand[s->operand];
  for (int t = 0; t < p->n_terms; t++)
    if (axes >> p->term[t].axis[0] & 1) return d->cx.stride[s->operand][t];
  return dhc_lp_i64(d->b, 0);
}

/* Lines beyond the last are the last: nobody looks at what becomes of them. */
static DhcLv line_at(Low *l, const DhcTileSide *s, DhcLv line) {
  DhcLp *b = l->t.b;
  DhcLv last = dhc_lp_addc(b, s->rows ? l->t.n_rows : l->t.n_cols, -1);
  return dhc_lp_mul(b, dhc_lp_min(b, line, last), stride_along(l, s, s->axes));
}

static DhcLv are_fours(Low *l, const DhcTileSide *s) {
  DhcLp *b = l->t.b;
  DhcLv yes = dhc_lp_aligned(b, l->t.cx.pointer[s->operand], 16);
  if (!s->rows && l->t.e >= 0) yes = dhc_lp_and(b, yes, dhc_tile_is_four(b, stride_along(l, s, 1u << l->t.e)));
  return dhc_lp_and(b, yes, dhc_tile_is_four(b, stride_along(l, s, s->axes)));
}

/* Does node n load along k what all rows are made with? */
static bool is_beside(const Low *l, int n) {
  return l->needed[n] && l->row[0].s->node[n].kind == DHC_SN_LOAD && l->row[0].varies[n] == l->t.norm_k;
}

static void find_fours(Low *l) {
  DhcTile *d = &l->t;
  DhcLp *b = d->b;
  l->lane = dhc_tile_lane(d);
  l->fours = dhc_lp_and(b, dhc_tile_is_four(b, d->n_k), are_fours(l, &d->x));
  for (int n = 0; n <= d->norm; n++)
    if (is_beside(l, n)) l->fours = dhc_lp_and(b, l->fours, dhc_lp_aligned(b, l->row[0].pointer[l->row[0].s->node[n].operand], 16));
  for (int f = 0; f < d->n_folds; f++) l->fours = dhc_lp_and(b, l->fours, are_fours(l, &d->y[f]));
}

static void find_rows(Low *l) {
  DhcLp *b = l->t.b;
  for (int r = 0; r < ROWS; r++) l->row_at[r] = line_at(l, &l->t.x, dhc_lp_addc(b, dhc_lp_add(b, l->t.row0, l->lane.g), 8 * r));
}

/* e: the range whose matrix it is, or NULL. */
static void find_columns(Low *l, DhcLv e) {
  DhcTile *d = &l->t;
  DhcLp *b = d->b;
  for (int f = 0; f < d->n_folds; f++)
    for (int j = 0; j < l->columns; j++) {
      DhcLv at = line_at(l, &d->y[f], dhc_lp_addc(b, dhc_lp_add(b, d->col0, l->lane.g), 8 * j));
      l->column_at[f][j] = e ? dhc_lp_add(b, at, dhc_lp_mul(b, e, stride_along(l, &d->y[f], 1u << d->e))) : at;
    }
}

/* The first of the thread's four ks of a round. */
static DhcLv first_k(Low *l, DhcLv k0, int round) {
  DhcLp *b = l->t.b;
  DhcLv k = dhc_lp_addc(b, k0, (int64_t)round * l->t.bk);
  return dhc_lp_add(b, k, dhc_lp_add(b, dhc_lp_mulc(b, l->lane.group, WARP_KS), dhc_lp_mulc(b, l->lane.t, FOUR)));
}

/* The thread's ks of a round, of n lines of an operand that begin at at[]; what is beyond the last k is zero. in: NULL, or which lines count. */
static void read_lines(Low *l, DhcLv from, DhcLv to, const DhcLv *at, const DhcLv *there, int n, DhcLv k0, int round, bool fours) {
  DhcTile *d = &l->t;
  DhcLp *b = d->b;
  DhcLv k = first_k(l, k0, round);
  DhcLv each = dhc_lp_add(b, dhc_lp_splat(b, k, FOUR), dhc_lp_iota(b, DHC_I64, FOUR));
  for (int i = 0; i < n; i++) {
    DhcLv in = dhc_lp_lt(b, k, d->n_k), mask = dhc_lp_lt(b, each, dhc_lp_splat(b, d->n_k, FOUR));
    if (there && there[i]) {
      in = dhc_lp_and(b, in, there[i]);
      mask = dhc_lp_and(b, mask, dhc_lp_splat(b, there[i], FOUR));
    }
    DhcLv some = dhc_lp_select(b, in, k, dhc_lp_i64(b, 0));
    DhcLv v = fours ? dhc_lp_select(b, in, dhc_lp_load(b, from, dhc_lp_add(b, at[i], some), FOUR, 16), dhc_lp_zero(b, DHC_F32, FOUR))
                    : dhc_lp_mload(b, from, dhc_lp_add(b, at[i], k), FOUR, mask);
    for (int e = 0; e < FOUR; e++)
      dhc_lp_store(b, to, dhc_lp_i64(b, ((int64_t)round * n + i) * FOUR + e), dhc_lp_extract(b, v, e), 0);
  }
}

static void read_all(Low *l, DhcLv from, DhcLv to, const DhcLv *at, const DhcLv *there, int n, DhcLv k0) {
  DhcLp *b = l->t.b;
  dhc_lp_if(b, l->fours);
  for (int r = 0; r < l->rounds; r++) read_lines(l, from, to, at, there, n, k0, r, true);
  dhc_lp_else(b);
  for (int r = 0; r < l->rounds; r++) read_lines(l, from, to, at, there, n, k0, r, false);
  dhc_lp_end(b);
}

static void read_columns(Low *l, DhcLv k0) {
  DhcTile *d = &l->t;
  DhcLv none = dhc_lp_i64(d->b, 0);
  for (int f = 0; f < d->n_folds; f++) read_all(l, d->cx.pointer[d->y[f].operand], l->ys[f], l->column_at[f], NULL, l->columns, k0);
  for (int n = 0; n <= d->norm; n++)
    if (l->beside[n]) read_all(l, l->row[0].pointer[l->row[0].s->node[n].operand], l->beside[n], &none, NULL, 1, k0);
}

/* ---- rows that are made of their own sums ---------------------------------------------------------- */

/* Before anything is read: what they are made of, and what is the same for all of them. */
static void open_norm(Low *l) {
  DhcTile *d = &l->t;
  DhcLp *b = d->b;
  DhcTplCx *cx = &l->row[0];
  if (d->norm < 0) return;
  dhc_tpl_init(cx, d->cx.in, b);
  cx->nearly = false;
  dhc_tpl_needed(cx->s, d->norm, l->needed);
  for (int n = 0; n <= d->norm; n++)
    if (l->needed[n] && cx->s->node[n].kind == DHC_SN_LOAD && !(cx->varies[n] & d->norm_lines)) dhc_lp_early(b, cx->s->node[n].operand);
}

static void open_beside(Low *l) {
  DhcTile *d = &l->t;
  for (int n = 0; n <= d->norm; n++) {
    const DhcSpecNode *e = &l->row[0].s->node[n];
    if (is_beside(l, n)) l->beside[n] = dhc_lp_local(d->b, DHC_F32, (int64_t)l->rounds * FOUR);
    else if (l->needed[n] && e->kind == DHC_SN_LOAD && !l->row[0].varies[n]) dhc_tpl_eval(&l->row[0], n);
    if (l->scaled && l->needed[n] && e->kind == DHC_SN_FOLD) l->part[n] = dhc_lp_local(d->b, DHC_F32, ROWS * FOUR);
  }
}

static DhcLv four_of(DhcLp *b, DhcLv from, int64_t at) {
  DhcLv v = dhc_lp_zero(b, DHC_F32, FOUR);
  for (int e = 0; e < FOUR; e++) v = dhc_lp_insert(b, v, e, dhc_lp_load(b, from, dhc_lp_i64(b, at + e), 1, 0));
  return v;
}

static void put_four(DhcLp *b, DhcLv to, int64_t at, DhcLv v) {
  for (int e = 0; e < FOUR; e++) dhc_lp_store(b, to, dhc_lp_i64(b, at + e), dhc_lp_extract(b, v, e), 0);
}

/* The thread's ks of a round, and what has been loaded there for all rows. */
static void bind_round(Low *l, DhcTplCx *cx, DhcLv k0, int round) {
  dhc_tpl_bind_vector(cx, __builtin_ctz(l->t.norm_k), first_k(l, k0, round), FOUR, NULL);
  for (int n = 0; n <= l->t.norm; n++)
    if (l->beside[n]) dhc_tpl_set(cx, n, four_of(l->t.b, l->beside[n], (int64_t)round * FOUR));
}

/* ---- as products ------------------------------------------------------------------------------------ */

static void scale_columns(Low *l, DhcLv k0) {
  DhcTile *d = &l->t;
  DhcLp *b = d->b;
  DhcTplCx *cx = &l->row[0];
  for (int r = 0; r < l->rounds && l->scaled; r++) {
    DhcTplMark mark = dhc_tpl_push(cx);
    bind_round(l, cx, k0, r);
    DhcLv by = dhc_tile_factor(d, &l->factors, cx, true, FOUR);
    for (int f = 0; f < d->n_folds && by; f++)
      for (int j = 0; j < l->columns; j++) {
        int64_t at = ((int64_t)r * l->columns + j) * FOUR;
        put_four(b, l->ys[f], at, dhc_lp_mul(b, four_of(b, l->ys[f], at), by));
      }
    dhc_tpl_pop(cx, &mark);
  }
}

static bool is_sum(const Low *l, int n) { return l->needed[n] && l->row[0].s->node[n].kind == DHC_SN_FOLD; }

static void begin_parts(Low *l) {
  for (int n = 0; n < l->t.norm && l->scaled; n++)
    for (int i = 0; i < ROWS && is_sum(l, n); i++) put_four(l->t.b, l->part[n], (int64_t)i * FOUR, dhc_lp_zero(l->t.b, DHC_F32, FOUR));
}

/* Of what has been read of the rows. */
static void add_parts(Low *l, DhcLv k0) {
  DhcTile *d = &l->t;
  DhcLp *b = d->b;
  DhcTplCx *cx = &l->row[0];
  DhcLv last = dhc_lp_addc(b, d->n_rows, -1), zero = dhc_lp_zero(b, DHC_F32, FOUR);
  for (int i = 0; i < ROWS && l->scaled; i++) {
    DhcTplMark row = dhc_tpl_push(cx);
    dhc_tpl_bind_flat(cx, d->norm_lines, dhc_lp_min(b, dhc_lp_addc(b, dhc_lp_add(b, d->row0, l->lane.g), 8 * i), last));
    for (int r = 0; r < l->rounds; r++) {
      DhcTplMark mark = dhc_tpl_push(cx);
      DhcLv each = dhc_lp_add(b, dhc_lp_splat(b, first_k(l, k0, r), FOUR), dhc_lp_iota(b, DHC_I64, FOUR));
      DhcLv in = dhc_lp_lt(b, each, dhc_lp_splat(b, d->n_k, FOUR));
      bind_round(l, cx, k0, r);
      dhc_tpl_set(cx, d->norm_rows, four_of(b, l->xs, ((int64_t)r * ROWS + i) * FOUR));
      for (int n = 0; n < d->norm; n++) {
        if (!is_sum(l, n)) continue;
        DhcLv x = dhc_lp_splat(b, dhc_tpl_eval(cx, cx->s->node[n].a[0]), FOUR);
        put_four(b, l->part[n], (int64_t)i * FOUR, dhc_lp_add(b, four_of(b, l->part[n], (int64_t)i * FOUR), dhc_lp_select(b, in, x, zero)));
      }
      dhc_tpl_pop(cx, &mark);
    }
    dhc_tpl_pop(cx, &row);
  }
}

/* Behind the results in block memory: of each sum and row a part of each of the threads that share it. */
static int row_parts(const Low *l) { return 4 * l->t.wk; }
static DhcLv parts_of(Low *l, int place, DhcLv row) {
  DhcLp *b = l->t.b;
  return dhc_lp_mulc(b, dhc_lp_addc(b, row, (int64_t)DHC_TILE_LOW * place), row_parts(l));
}

static void put_parts(Low *l) {
  DhcTile *d = &l->t;
  DhcLp *b = d->b;
  DhcLv to = dhc_lp_block_memory(b, DHC_F32, dhc_tile_result_bytes(d)), own = dhc_lp_add(b, dhc_lp_mulc(b, l->lane.group, 4), l->lane.t);
  int place = 0;
  for (int n = 0; n < d->norm && l->scaled; n++) {
    if (!is_sum(l, n)) continue;
    for (int i = 0; i < ROWS; i++) {
      DhcLv v = four_of(b, l->part[n], (int64_t)i * FOUR);
      DhcLv low = dhc_lp_add(b, dhc_lp_extract(b, v, 0), dhc_lp_extract(b, v, 1)), high = dhc_lp_add(b, dhc_lp_extract(b, v, 2), dhc_lp_extract(b, v, 3));
      dhc_lp_store(b, to, dhc_lp_add(b, parts_of(l, place, dhc_lp_addc(b, l->lane.g, 8 * i)), own), dhc_lp_add(b, low, high), 0);
    }
    place++;
  }
}

/* What the thread's result takes. */
static DhcLv scale_of_row(Low *l) {
  DhcTile *d = &l->t;
  DhcLp *b = d->b;
  DhcTplCx *cx = &l->row[0];
  DhcLv from = dhc_lp_block_memory(b, DHC_F32, dhc_tile_result_bytes(d));
  DhcTplMark mark = dhc_tpl_push(cx);
  int place = 0;
  dhc_tpl_bind_flat(cx, d->norm_lines, dhc_lp_add(b, d->row0, d->at_row));
  for (int n = 0; n < d->norm; n++) {
    if (!is_sum(l, n)) continue;
    DhcLv at = parts_of(l, place++, d->at_row), sum = NULL;
    for (int i = 0; i < row_parts(l); i += FOUR) {
      DhcLv v = dhc_lp_load(b, from, dhc_lp_addc(b, at, i), FOUR, 16);
      sum = sum ? dhc_lp_add(b, sum, v) : v;
    }
    DhcLv low = dhc_lp_add(b, dhc_lp_extract(b, sum, 0), dhc_lp_extract(b, sum, 1)), high = dhc_lp_add(b, dhc_lp_extract(b, sum, 2), dhc_lp_extract(b, sum, 3));
    dhc_tpl_set(cx, n, dhc_lp_add(b, low, high));
  }
  DhcLv by = dhc_tile_factor(d, &l->factors, cx, false, 1);
  dhc_tpl_pop(cx, &mark);
  return by;
}

static DhcLv provide(DhcTplCx *cx, int n, void *arg) {
  Low *l = arg;
  DhcLv v = l->sums(cx, n, &l->t);
  return v && l->scale ? dhc_lp_mul(l->t.b, v, dhc_lp_splat(l->t.b, l->scale, v->type.lanes)) : v;
}

/* ---- by the sum rule -------------------------------------------------------------------------------- */

/* The sums of the tile's rows, and what is made of them alone. */
static void add_norms(Low *l) {
  DhcTile *d = &l->t;
  DhcLp *b = d->b;
  const DhcSpec *s = l->row[0].s;
  DhcLv sums = dhc_lp_block_memory(b, DHC_F32, dhc_tile_result_bytes(d)), last = dhc_lp_addc(b, d->n_rows, -1);
  DhcTplLines lines = {.node = d->norm, .lines = d->norm_lines, .k = d->norm_k, .n = d->n_rows, .threads = d->threads,
                       .at_once = l->rounds > 2 ? 32 : 16, .brief = true, .kept = DHC_TILE_LOW};
  for (int first = 0; first < DHC_TILE_LOW; first += d->threads / LINE_THREADS) {
    lines.first = dhc_lp_addc(b, d->row0, first);
    dhc_tpl_lines_sums(d->cx.in, b, &lines, dhc_lp_at(b, sums, dhc_lp_i64(b, first)));
  }
  l->row[1] = l->row[0];
  for (int r = 0; r < ROWS; r++) {
    DhcTplCx *cx = &l->row[r];
    DhcLv line = dhc_lp_addc(b, l->lane.g, 8 * r);
    int place = 0;
    dhc_tpl_bind_flat(cx, d->norm_lines, dhc_lp_min(b, dhc_lp_add(b, d->row0, line), last));
    for (int n = 0; n <= d->norm; n++)
      if (l->needed[n] && s->node[n].kind == DHC_SN_FOLD)
        dhc_tpl_set(cx, n, dhc_lp_load(b, sums, dhc_lp_addc(b, line, (int64_t)DHC_TILE_LOW * place++), 1, 0));
    dhc_tpl_hoist(cx, l->needed);
  }
}

/* In place of what has been read of the rows. */
static void make_rows(Low *l, DhcLv k0) {
  DhcTile *d = &l->t;
  DhcLp *b = d->b;
  for (int i = 0; i < ROWS && d->norm >= 0 && !l->scaled; i++)
    for (int r = 0; r < l->rounds; r++) {
      DhcTplCx *cx = &l->row[i];
      int64_t at = ((int64_t)r * ROWS + i) * FOUR;
      DhcTplMark mark = dhc_tpl_push(cx);
      bind_round(l, cx, k0, r);
      dhc_tpl_set(cx, d->norm_rows, four_of(b, l->xs, at));
      put_four(b, l->xs, at, dhc_tpl_eval(cx, d->norm));
      dhc_tpl_pop(cx, &mark);
    }
}

/* ---- a tile -------------------------------------------------------------------------------------- */

static void take(Low *l, DhcLv to, int i, int n, DhcLv from, int64_t at) {
  DhcLp *b = l->t.b;
  DhcLv v[FOUR];
  for (int e = 0; e < dhc_tile_own(&l->t); e++) v[e] = dhc_lp_load(b, from, dhc_lp_i64(b, at + e), 1, 0);
  dhc_tile_take(&l->t, to, i, n, v);
}

/* Sixteen ks of a warp are one product of bf16, two of tf32. */
static void multiply(Low *l) {
  DhcTile *d = &l->t;
  int own = dhc_tile_own(d);
  for (int r = 0; r < l->rounds; r++)
    for (int h = 0; h < FOUR; h += own) {
      DhcLv xs = dhc_tile_operands(d, ROWS);
      for (int i = 0; i < ROWS; i++) take(l, xs, i, ROWS, l->xs, ((int64_t)r * ROWS + i) * FOUR + h);
      for (int f = 0; f < d->n_folds; f++) {
        DhcLv ys = dhc_tile_operands(d, l->columns);
        for (int j = 0; j < l->columns; j++) take(l, ys, j, l->columns, l->ys[f], ((int64_t)r * l->columns + j) * FOUR + h);
        dhc_tile_products(d, f, xs, ys);
      }
    }
}

/* A thread's result, if the tile has so many: binds it. True: the result is there. */
static DhcLv bind_result(Low *l) {
  DhcTile *d = &l->t;
  DhcLp *b = d->b;
  DhcLv columns = dhc_lp_i64(b, d->bn), one = dhc_lp_i64(b, 1);
  d->at_row = dhc_lp_udiv(b, d->tid, columns);
  d->at_col = dhc_lp_urem(b, d->tid, columns);
  DhcLv row = dhc_lp_add(b, d->row0, d->at_row), col = dhc_lp_add(b, d->col0, d->at_col);
  DhcLv there = dhc_lp_and(b, dhc_lp_lt(b, row, d->n_rows), dhc_lp_lt(b, col, d->n_cols));
  if (d->x.axes) dhc_tile_bind_line(d, &d->x, dhc_lp_min(b, row, dhc_lp_sub(b, d->n_rows, one)), false);
  dhc_tile_bind_line(d, &d->y[0], dhc_lp_min(b, col, dhc_lp_sub(b, d->n_cols, one)), false);
  return dhc_lp_and(b, there, dhc_lp_lt(b, d->at_row, dhc_lp_i64(b, d->bm)));
}

/* What results go into is on its way with the rows. */
static void read_beside(Low *l) {
  const DhcSpec *s = l->t.cx.s;
  bool needed[DHC_SPEC_MAX_NODES] = {false};
  for (int o = dhc_spec_n_inputs(s); o < s->n_operands; o++) needed[s->operand[o].stored] = true;
  for (int n = s->n_nodes - 1; n >= 0; n--) {
    const DhcSpecNode *e = &s->node[n];
    if (!needed[n] || e->kind == DHC_SN_FOLD) continue;
    if (e->kind == DHC_SN_LOAD) dhc_tpl_eval(&l->t.cx, n);
    for (int k = 0; k < 4; k++)
      if (e->a[k] >= 0) needed[e->a[k]] = true;
  }
}

static int64_t at_once(const Low *l) { return (int64_t)l->rounds * l->t.bk; }

static void read_rows(Low *l, DhcLv k0) { read_all(l, l->t.cx.pointer[l->t.x.operand], l->xs, l->row_at, l->row_in, ROWS, k0); }

/* The ks from `first` on. */
static void add_rest(Low *l, int64_t first) {
  DhcLp *b = l->t.b;
  DhcLv k0 = dhc_lp_for(b, dhc_lp_i64(b, first), l->t.n_k, at_once(l));
  read_columns(l, k0);
  scale_columns(l, k0);
  read_rows(l, k0);
  add_parts(l, k0);
  make_rows(l, k0);
  multiply(l);
  dhc_lp_end(b);
}

static void store(Low *l, DhcLv there) {
  DhcLp *b = l->t.b;
  dhc_tile_end_small(&l->t);
  put_parts(l);
  dhc_tile_put_sums(&l->t);
  dhc_lp_if(b, there);
  l->scale = l->scaled ? scale_of_row(l) : NULL;
  dhc_tpl_store_all(&l->t.cx);
  dhc_lp_end(b);
}

static void open_columns(Low *l) {
  for (int f = 0; f < l->t.n_folds; f++) l->ys[f] = dhc_lp_local(l->t.b, DHC_F32, (int64_t)l->rounds * l->columns * FOUR);
}

static void open_rows(Low *l) { l->xs = dhc_lp_local(l->t.b, DHC_F32, (int64_t)l->rounds * ROWS * FOUR); }

/* Rows from row0 on; the first columns have been read. */
static void one_tile(Low *l) {
  DhcLp *b = l->t.b;
  DhcTplMark mark = dhc_tpl_push(&l->t.cx);
  find_rows(l);
  dhc_tile_begin(&l->t);
  dhc_tile_begin_small(&l->t);
  open_rows(l);
  read_rows(l, dhc_lp_i64(b, 0));
  DhcLv there = bind_result(l);
  read_beside(l);
  if (l->t.norm >= 0 && !l->scaled) add_norms(l);
  begin_parts(l);
  add_parts(l, dhc_lp_i64(b, 0));
  make_rows(l, dhc_lp_i64(b, 0));
  multiply(l);
  if (!l->whole) add_rest(l, at_once(l));
  store(l, there);
  dhc_tpl_pop(&l->t.cx, &mark);
}

/* ---- ragged ------------------------------------------------------------------------------------ */

static void rows_of(Low *l, DhcLv e, DhcLv *lo, DhcLv *hi) {
  DhcTile *d = &l->t;
  DhcTplMark mark = dhc_tpl_push(&d->cx);
  dhc_tpl_bind(&d->cx, d->e, e);
  *lo = dhc_lp_cast(d->b, dhc_tpl_eval(&d->cx, d->lo), DHC_I64);
  *hi = dhc_lp_cast(d->b, dhc_tpl_eval(&d->cx, d->hi), DHC_I64);
  dhc_tpl_pop(&d->cx, &mark);
}

/* Are the ranges all rows, each beginning where the one before ends? */
static DhcLv in_order(Low *l) {
  DhcTile *d = &l->t;
  DhcLp *b = d->b;
  DhcLv none = dhc_lp_i64(b, 0), lo, hi;
  DhcLpVar reached = dhc_lp_var(b, none), gaps = dhc_lp_var(b, none);
  DhcLv e = dhc_lp_for_rounds(b, none, d->cx.extent[d->e], 1, 8);
  rows_of(l, e, &lo, &hi);
  DhcLv gap = dhc_lp_or(b, dhc_lp_sub(b, lo, dhc_lp_get(b, reached)), dhc_lp_min(b, dhc_lp_sub(b, hi, lo), none));
  dhc_lp_set(b, gaps, dhc_lp_or(b, dhc_lp_get(b, gaps), gap));
  dhc_lp_set(b, reached, hi);
  dhc_lp_end(b);
  return dhc_lp_and(b, dhc_lp_eq(b, dhc_lp_get(b, gaps), none), dhc_lp_eq(b, dhc_lp_get(b, reached), d->n_rows));
}

/* Its own rows, tile after tile. Short sums keep their columns. */
static void own_rows(Low *l, DhcLv lo, DhcLv hi) {
  DhcTile *d = &l->t;
  DhcLp *b = d->b;
  DhcLv all = d->n_rows, zero = dhc_lp_i64(b, 0);
  d->n_rows = hi;
  dhc_lp_if(b, dhc_lp_lt(b, lo, hi));
  read_columns(l, zero);
  dhc_lp_end(b);
  d->row0 = dhc_lp_for(b, lo, hi, d->bm);
  one_tile(l);
  dhc_lp_barrier(b); /* the next sums overwrite these */
  dhc_lp_if(b, dhc_lp_and(b, dhc_lp_lt(b, dhc_lp_i64(b, at_once(l)), d->n_k), dhc_lp_lt(b, dhc_lp_addc(b, d->row0, d->bm), hi)));
  read_columns(l, zero);
  dhc_lp_end(b);
  dhc_lp_end(b);
  d->n_rows = all;
}

/* All rows by all ranges. */
static void any_rows(Low *l) {
  DhcTile *d = &l->t;
  DhcLp *b = d->b;
  DhcLv zero = dhc_lp_i64(b, 0), lo, hi;
  d->row0 = dhc_lp_for(b, zero, d->n_rows, d->bm);
  DhcTplMark mark = dhc_tpl_push(&d->cx);
  find_rows(l);
  dhc_tile_begin(d);
  dhc_tile_begin_small(d);
  open_rows(l);
  DhcLv e = dhc_lp_for(b, zero, d->cx.extent[d->e], 1);
  rows_of(l, e, &lo, &hi);
  for (int r = 0; r < ROWS; r++) {
    DhcLv row = dhc_lp_addc(b, dhc_lp_add(b, d->row0, l->lane.g), 8 * r);
    l->row_in[r] = dhc_lp_and(b, dhc_lp_le(b, lo, row), dhc_lp_lt(b, row, hi));
  }
  find_columns(l, e);
  add_rest(l, 0);
  dhc_lp_end(b);
  store(l, bind_result(l));
  dhc_lp_barrier(b);
  dhc_tpl_pop(&d->cx, &mark);
  dhc_lp_end(b);
}

static void one_range(Low *l, DhcLv e) {
  DhcLp *b = l->t.b;
  DhcLv zero = dhc_lp_i64(b, 0), lo, hi;
  find_columns(l, e);
  open_columns(l);
  rows_of(l, e, &lo, &hi);
  dhc_lp_if(b, in_order(l));
  own_rows(l, lo, hi);
  dhc_lp_else(b);
  dhc_lp_if(b, dhc_lp_eq(b, e, zero));
  any_rows(l);
  dhc_lp_end(b);
  dhc_lp_end(b);
}

/* ---- the kernel ------------------------------------------------------------------------------------ */

/* Sides that are one axis of lines by one of ks. */
static const char *look(Low *l) {
  DhcTile *d = &l->t;
  const char *why = dhc_tile_roles(d);
  if (why) return why;
  if (!dhc_spec_low(d->cx.in->spec)) return "rows that are not read as they lie";
  if (d->cx.s->kind == DHC_KIND_RAGGED && d->e < 0) return "ranges that are not read";
  d->x.operand = d->cx.s->node[d->e < 0 ? d->x.node : d->cx.s->node[d->x.node].a[1]].operand;
  for (int f = 0; f < d->n_folds; f++) d->y[f].operand = d->cx.s->node[d->y[f].node].operand;
  l->rounds = d->stages;
  l->whole = d->target;
  d->target = 0;
  d->wk *= d->wr;
  d->wr = 1;
  l->columns = dhc_tile_across(d);
  if (d->bm != DHC_TILE_LOW || d->wc != 1 || d->bk != WARP_KS * d->wk || d->bm * d->bn > d->threads) DHC_BUG("schedule of few rows");
  return NULL;
}

/* Of block memory, behind the results: the sums of rows. */
static int64_t norm_bytes(const Low *l) {
  const DhcSpec *s = l->t.cx.in->spec;
  bool needed[DHC_SPEC_MAX_NODES] = {false};
  int n_sums = 0;
  if (l->t.norm < 0) return 0;
  dhc_tpl_needed(s, l->t.norm, needed);
  for (int n = 0; n < l->t.norm; n++) n_sums += needed[n] && s->node[n].kind == DHC_SN_FOLD;
  return (int64_t)4 * DHC_TILE_LOW * n_sums * (l->scaled ? row_parts(l) : 1);
}

void dhc_tpl_low(const DhcTplInput *in, DhcLp *b) {
  Low *l = DHC_NEW(b->arena, Low);
  DhcTile *d = &l->t;
  DhcArena *a = b->arena;
  dhc_tile_look(d, in, b, true);
  const char *why = b->refused ? NULL : look(l);
  if (why) dhc_lp_refuse(b, "%s", why);
  if (b->refused) return;
  l->scaled = dhc_tile_factors(d, &l->factors);
  dhc_lp_block(b, d->threads, dhc_tile_result_bytes(d) + norm_bytes(l));
  dhc_tile_open(d, in);
  l->sums = d->cx.provide;
  d->cx.provide = provide;
  d->cx.provide_arg = l;
  open_norm(l);
  for (int f = 0; f < d->n_folds; f++) {
    l->column_at[f] = DHC_NEW_N(a, DhcLv, l->columns);
    if (d->e < 0) dhc_lp_early(b, d->y[f].operand);
  }
  dhc_dimprog across = dhc_prog_op(a, DHC_DIM_CEILDIV, dhc_tpl_count_prog(&d->cx, d->y[0].axes), dhc_prog_const(a, d->bn));
  dhc_dimprog down = d->e < 0 ? dhc_prog_op(a, DHC_DIM_CEILDIV, dhc_tpl_count_prog(&d->cx, d->x.axes), dhc_prog_const(a, d->bm))
                              : dhc_tpl_extent_prog(&d->cx, d->e);
  DhcLv n_across = dhc_lp_prog(b, across), task = dhc_lp_tasks(b, dhc_prog_op(a, DHC_DIM_MUL, across, down));
  DhcLv first = dhc_lp_udiv(b, task, n_across);
  DhcTplMark mark = dhc_tpl_push(&d->cx);
  d->tid = dhc_lp_thread(b);
  d->col0 = dhc_lp_mulc(b, dhc_lp_urem(b, task, n_across), d->bn);
  find_fours(l);
  if (d->e < 0) {
    d->row0 = dhc_lp_mulc(b, first, d->bm);
    find_columns(l, NULL);
    open_columns(l);
    open_beside(l);
    read_columns(l, dhc_lp_i64(b, 0));
    scale_columns(l, dhc_lp_i64(b, 0));
    one_tile(l);
  } else {
    one_range(l, first);
  }
  dhc_tpl_pop(&d->cx, &mark);
  dhc_lp_end(b);
}
