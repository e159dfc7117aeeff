/* Template "winograd_blocks" (GPUs): the rule of tiles (ir/sum.h) by blocks of threads, exact: the bits of template "winograd", whose
 * transforms it takes.
 *
 *   first phase:   U of all weights, in the shared memory: U[step of channels][16][channel of the step][out], zeros where there are none
 *   second phase:  a block has v[0] outs of v[1] tiles, numbered over images, rows and columns of tiles. In steps of v[2] channels it
 *     copies their U to block memory, one step ahead, makes V of what its tiles meet, and multiplies: a thread has
 *     v[3] outs x v[4] tiles of v[5] of the 16 points. After each chain of products they are added to M in block memory. Then a thread
 *     takes a tile of an out from there, transforms it and stores what is made of it
 *   third phase:   where results are made of windows that tiles do not hold whole, the second leaves places in the shared memory instead
 *
 * Schedule: v[0] outs, v[1] tiles, v[2] channels, which divide a chain, v[3] outs and v[4] tiles of a thread, v[5] points. */
#include "backends/loop/tpl_winograd.h"

enum { POINTS = DHC_WINOGRAD_POINTS, TILE_PLACES = 4, APART = 4 /* lines of V are longer by so much */, AT_ONCE = 1024 /* places */ };

typedef struct Blocks {
  DhcConv v;
  int outs, tiles, step, tm, tn, points, threads; /* tiles: of a block; step: channels */
  bool whole;                                     /* tiles hold windows whole */
  int u_size, v_size;                             /* elements of a step */
  dhc_dimprog steps, padded, columns, rows, all, places[2], u_tasks, tasks[2], last_tasks;
  DhcLv tid, Steps, Padded, Columns, Rows, All, Places[2]; /* the same: Padded outs, All tiles */
  DhcLv m0, tile0;                                         /* of the block */
  DhcLv fine[4][2];                                        /* of the thread's tile: row i, column i lie in the image */
  DhcLv from, inside;                                      /* its first element; all are there */
  DhcLv sums, values;                                      /* stack arrays: the thread's chains; a tile's results, or, place: in the shared memory */
  DhcLv base_y, base_x, place;
} Blocks;

static dhc_dimprog pc(const Blocks *w, int64_t x) { return dhc_prog_const(w->v.b->arena, x); }
static dhc_dimprog op(const Blocks *w, int o, dhc_dimprog x, dhc_dimprog y) { return dhc_prog_op(w->v.b->arena, o, x, y); }
static DhcLv number(const Blocks *w, int64_t x) { return dhc_lp_i64(w->v.b, x); }
static DhcLv memory(const Blocks *w) { return dhc_lp_block_memory(w->v.b, DHC_F32, 0); }

/* Block memory, in elements: U of two steps, V of one, M. */
static int64_t v_at(const Blocks *w) { return 2 * (int64_t)w->u_size; }
static int64_t sums_at(const Blocks *w) { return v_at(w) + w->v_size; }
static int v_line(const Blocks *w) { return w->tiles % 32 ? w->tiles + APART : w->tiles; }

/* ---- U -------------------------------------------------------------------------------------- */

/* Of out m and channel c, both bound: tap by tap. */
static void load_taps(Blocks *w, DhcLv g[3][3]) {
  DhcConv *v = &w->v;
  const DhcSpace *y = &v->y.d, *x = &v->x.d;
  for (int i = 0; i < 9; i++) {
    DhcTplMark mark = dhc_tpl_push(&v->cx);
    dhc_tpl_bind(&v->cx, y->tap, number(w, y->dilation < 0 ? 2 - i / 3 : i / 3));
    dhc_tpl_bind(&v->cx, x->tap, number(w, x->dilation < 0 ? 2 - i % 3 : i % 3));
    g[i / 3][i % 3] = dhc_tpl_load(&v->cx, v->ow);
    dhc_tpl_pop(&v->cx, &mark);
  }
}

/* A thread has one out and channel. */
static void transform_weights(Blocks *w, DhcLv task) {
  DhcConv *v = &w->v;
  DhcLp *b = v->b;
  DhcLv i = dhc_lp_add(b, dhc_lp_mulc(b, task, w->threads), w->tid), m = dhc_lp_urem(b, i, w->Padded), c = dhc_lp_udiv(b, i, w->Padded);
  DhcLv half = dhc_lp_float(b, DHC_F32, 0.5), zero = dhc_lp_float(b, DHC_F32, 0), step = number(w, w->step);
  DhcLv number_of = dhc_lp_udiv(b, c, step);
  DhcLv at = dhc_lp_add(b, dhc_lp_mul(b, dhc_lp_add(b, dhc_lp_mulc(b, number_of, (int64_t)POINTS * w->step), dhc_lp_urem(b, c, step)), w->Padded), m);
  dhc_lp_if(b, dhc_lp_lt(b, number_of, w->Steps));
  DhcLv there = dhc_lp_and(b, dhc_lp_lt(b, m, v->M), dhc_lp_lt(b, c, v->C)), u = dhc_lp_local(b, DHC_F32, POINTS);
  for (int p = 0; p < POINTS; p++) dhc_lp_store(b, u, number(w, p), zero, 0);
  dhc_lp_if(b, there);
  DhcTplMark mark = dhc_tpl_push(&v->cx);
  DhcLv g[3][3], down[4][3], across[4];
  dhc_tpl_bind(&v->cx, v->m, m);
  if (v->c >= 0) dhc_tpl_bind(&v->cx, v->c, c);
  load_taps(w, g);
  for (int x = 0; x < 3; x++) {
    DhcLv column[3] = {g[0][x], g[1][x], g[2][x]}, of[4];
    dhc_winograd_weights(b, column, half, of);
    for (int y = 0; y < 4; y++) down[y][x] = of[y];
  }
  for (int y = 0; y < 4; y++) {
    dhc_winograd_weights(b, down[y], half, across);
    for (int x = 0; x < 4; x++) dhc_lp_store(b, u, number(w, 4 * y + x), across[x], 0);
  }
  dhc_tpl_pop(&v->cx, &mark);
  dhc_lp_end(b);
  for (int p = 0; p < POINTS; p++) {
    DhcLv to = dhc_lp_add(b, at, dhc_lp_mulc(b, w->Padded, (int64_t)p * w->step));
    dhc_lp_store(b, dhc_lp_shared(b, DHC_F32), to, dhc_lp_load(b, u, number(w, p), 1, 0), 0);
  }
  dhc_lp_end(b);
}

/* Begins to bring U of step s. */
static void copy_u(Blocks *w, DhcLv s) {
  DhcLp *b = w->v.b;
  int fours = w->outs / 4, lines = POINTS * w->step;
  dhc_lp_if(b, dhc_lp_lt(b, s, w->Steps));
  DhcLv to = dhc_lp_mulc(b, dhc_lp_urem(b, s, number(w, 2)), w->u_size), from = dhc_lp_mul(b, dhc_lp_mulc(b, s, lines), w->Padded);
  DhcLv i = dhc_lp_for(b, w->tid, number(w, (int64_t)fours * lines), w->threads);
  DhcLv line = dhc_lp_udiv(b, i, number(w, fours)), m = dhc_lp_mulc(b, dhc_lp_urem(b, i, number(w, fours)), 4);
  DhcLv source = dhc_lp_add(b, dhc_lp_add(b, from, dhc_lp_mul(b, line, w->Padded)), dhc_lp_add(b, w->m0, m));
  dhc_lp_copy(b, memory(w), dhc_lp_add(b, to, dhc_lp_add(b, dhc_lp_mulc(b, line, w->outs), m)), dhc_lp_at(b, dhc_lp_shared(b, DHC_F32), source), 4, NULL);
  dhc_lp_end(b);
  dhc_lp_end(b);
  dhc_lp_commit(b);
}

/* ---- V -------------------------------------------------------------------------------------- */

typedef struct Tile {
  DhcLv there, image, y, x; /* of its first place */
} Tile;

static Tile tile_number(Blocks *w, DhcLv i) {
  DhcLp *b = w->v.b;
  DhcLv n = dhc_lp_add(b, w->tile0, i), row = dhc_lp_udiv(b, n, w->Columns);
  return (Tile){dhc_lp_lt(b, n, w->All), dhc_lp_udiv(b, row, w->Rows), dhc_lp_mulc(b, dhc_lp_urem(b, row, w->Rows), 2),
                dhc_lp_mulc(b, dhc_lp_urem(b, n, w->Columns), 2)};
}

static DhcLv step_of(Blocks *w, const DhcConvDim *d) { return w->v.cx.stride[w->v.ox][d->d.term]; }

/* What the thread's tile meets of an image. */
static void find_elements(Blocks *w) {
  DhcConv *v = &w->v;
  DhcLp *b = v->b;
  Tile t = tile_number(w, dhc_lp_urem(b, w->tid, number(w, w->tiles)));
  DhcLv zero = number(w, 0), first[2];
  const DhcConvDim *dim[2] = {&v->y, &v->x};
  w->inside = t.there;
  for (int k = 0; k < 2; k++) {
    first[k] = dhc_lp_add(b, k ? t.x : t.y, dhc_lp_addc(b, v->cx.offset[v->ox][dim[k]->d.term], dim[k]->d.lo));
    for (int i = 0; i < 4; i++) {
      DhcLv at = dhc_lp_addc(b, first[k], i), in = dhc_lp_and(b, dhc_lp_le(b, zero, at), dhc_lp_lt(b, at, v->cx.limit[v->ox][dim[k]->d.term]));
      w->fine[i][k] = dhc_lp_and(b, in, t.there);
      w->inside = dhc_lp_and(b, w->inside, in);
    }
  }
  DhcTplMark mark = dhc_tpl_push(&v->cx);
  if (v->image >= 0) dhc_tpl_bind(&v->cx, v->image, t.image);
  DhcLv at = dhc_tpl_base(&v->cx, v->ox);
  for (int k = 0; k < 2; k++) at = dhc_lp_add(b, at, dhc_lp_mul(b, first[k], step_of(w, dim[k])));
  dhc_tpl_pop(&v->cx, &mark);
  w->from = at;
}

/* The 16 elements of channel c, which there may not be, to the stack array d. */
static void load_elements(Blocks *w, DhcLv c, DhcLv d) {
  DhcConv *v = &w->v;
  DhcLp *b = v->b;
  DhcLv from = dhc_lp_add(b, w->from, dhc_lp_mul(b, c, dhc_space_step(&v->cx, v->ox, v->c))), has = dhc_lp_lt(b, c, v->C);
  DhcLv none = dhc_lp_float(b, DHC_F32, 0), pointer = v->cx.pointer[v->ox];
  dhc_lp_if(b, dhc_lp_and(b, has, w->inside));
  for (int k = 0; k < 2; k++) {
    for (int i = 0; i < POINTS; i++) {
      DhcLv at = dhc_lp_add(b, from, dhc_lp_add(b, dhc_lp_mulc(b, step_of(w, &v->y), i / 4), dhc_lp_mulc(b, step_of(w, &v->x), i % 4)));
      DhcLv there = k ? dhc_lp_and(b, has, dhc_lp_and(b, w->fine[i / 4][0], w->fine[i % 4][1])) : NULL;
      DhcLv x = dhc_lp_load(b, pointer, there ? dhc_lp_select(b, there, at, number(w, 0)) : at, 1, 0);
      dhc_lp_store(b, d, number(w, i), there ? dhc_lp_select(b, there, x, none) : x, 0);
    }
    if (!k) dhc_lp_else(b);
  }
  dhc_lp_end(b);
}

/* d transformed, to V in block memory. */
static void put_elements(Blocks *w, DhcLv c, DhcLv tile, DhcLv d) {
  DhcLp *b = w->v.b;
  DhcLv across[4][4];
  for (int x = 0; x < 4; x++) {
    DhcLv column[4], of[4];
    for (int y = 0; y < 4; y++) column[y] = dhc_lp_load(b, d, number(w, 4 * y + x), 1, 0);
    dhc_winograd_input(b, column, of);
    for (int y = 0; y < 4; y++) across[y][x] = of[y];
  }
  DhcLv to = dhc_lp_addc(b, dhc_lp_add(b, dhc_lp_mulc(b, c, v_line(w)), tile), v_at(w));
  for (int y = 0; y < 4; y++) {
    DhcLv of[4];
    dhc_winograd_input(b, across[y], of);
    for (int x = 0; x < 4; x++) dhc_lp_store(b, memory(w), dhc_lp_addc(b, to, (int64_t)(4 * y + x) * w->step * v_line(w)), of[x], 0);
  }
}

/* ---- products ------------------------------------------------------------------------------- */

typedef struct Lane {
  DhcLv point, out, tile; /* the thread's first */
} Lane;

static Lane lane_of(Blocks *w) {
  DhcLp *b = w->v.b;
  DhcLv across = number(w, w->tiles / w->tn), each = number(w, w->outs / w->tm * (w->tiles / w->tn)), in = dhc_lp_urem(b, w->tid, each);
  return (Lane){dhc_lp_mulc(b, dhc_lp_udiv(b, w->tid, each), w->points), dhc_lp_mulc(b, dhc_lp_udiv(b, in, across), w->tm),
                dhc_lp_mulc(b, dhc_lp_urem(b, in, across), w->tn)};
}

/* n elements side by side, at most four at a time, into a stack array. */
static void take(Blocks *w, DhcLv to, DhcLv at, int n) {
  DhcLp *b = w->v.b;
  int width = n < 4 ? n : 4;
  for (int i = 0; i < n; i += width) {
    DhcLv x = dhc_lp_load(b, memory(w), dhc_lp_addc(b, at, i), width, 4 * width);
    for (int l = 0; l < width; l++) dhc_lp_store(b, to, number(w, i + l), width > 1 ? dhc_lp_extract(b, x, l) : x, 0);
  }
}

static void multiply(Blocks *w, const Lane *l, DhcLv s) {
  DhcLp *b = w->v.b;
  DhcLv us = dhc_lp_local(b, DHC_F32, w->tm), vs = dhc_lp_local(b, DHC_F32, w->tn), zero = number(w, 0);
  DhcLv from = dhc_lp_mulc(b, dhc_lp_urem(b, s, number(w, 2)), w->u_size);
  DhcLv p = dhc_lp_for(b, zero, number(w, w->points), 1), c = dhc_lp_for(b, zero, number(w, w->step), 1);
  DhcLv line = dhc_lp_add(b, dhc_lp_mulc(b, dhc_lp_add(b, l->point, p), w->step), c);
  take(w, us, dhc_lp_add(b, from, dhc_lp_add(b, dhc_lp_mulc(b, line, w->outs), l->out)), w->tm);
  take(w, vs, dhc_lp_addc(b, dhc_lp_add(b, dhc_lp_mulc(b, line, v_line(w)), l->tile), v_at(w)), w->tn);
  DhcLv i = dhc_lp_for(b, zero, number(w, w->tm), 1), u = dhc_lp_load(b, us, i, 1, 0), row = dhc_lp_mulc(b, dhc_lp_add(b, dhc_lp_mulc(b, p, w->tm), i), w->tn);
  DhcLv j = dhc_lp_for(b, zero, number(w, w->tn), 1), at = dhc_lp_add(b, row, j);
  dhc_lp_store(b, w->sums, at, dhc_lp_fma(b, u, dhc_lp_load(b, vs, j, 1, 0), dhc_lp_load(b, w->sums, at, 1, 0)), 0);
  for (int k = 0; k < 4; k++) dhc_lp_end(b);
}

/* M of the thread's points += its chains, which begin anew; clear: M = 0. */
static void add_chains(Blocks *w, const Lane *l, bool clear) {
  DhcLp *b = w->v.b;
  int width = w->tn < 4 ? w->tn : 4;
  DhcLv zero = number(w, 0), none = dhc_lp_float(b, DHC_F32, 0), mem = memory(w);
  DhcLv p = dhc_lp_for(b, zero, number(w, w->points), 1), i = dhc_lp_for(b, zero, number(w, w->tm), 1), j = dhc_lp_for(b, zero, number(w, w->tn), width);
  DhcLv line = dhc_lp_add(b, dhc_lp_mulc(b, dhc_lp_add(b, l->point, p), w->outs), dhc_lp_add(b, l->out, i));
  DhcLv at = dhc_lp_addc(b, dhc_lp_add(b, dhc_lp_mulc(b, line, w->tiles), dhc_lp_add(b, l->tile, j)), sums_at(w));
  DhcLv from = dhc_lp_add(b, dhc_lp_mulc(b, dhc_lp_add(b, dhc_lp_mulc(b, p, w->tm), i), w->tn), j), x = dhc_lp_zero(b, DHC_F32, width);
  for (int k = 0; k < width; k++) {
    DhcLv one = dhc_lp_load(b, w->sums, dhc_lp_addc(b, from, k), 1, 0);
    if (!clear) x = width > 1 ? dhc_lp_insert(b, x, k, one) : one;
    dhc_lp_store(b, w->sums, dhc_lp_addc(b, from, k), none, 0);
  }
  dhc_lp_store(b, mem, at, clear ? x : dhc_lp_add(b, dhc_lp_load(b, mem, at, width, 4 * width), x), 4 * width);
  for (int k = 0; k < 3; k++) dhc_lp_end(b);
}

static void steps(Blocks *w) {
  DhcConv *v = &w->v;
  DhcLp *b = v->b;
  int all = w->step * w->tiles, rounds = (all + w->threads - 1) / w->threads, chain = DHC_TILE_BLOCK / w->step;
  Lane l = lane_of(w);
  DhcLv d = dhc_lp_local(b, DHC_F32, (int64_t)rounds * POINTS), tile = dhc_lp_urem(b, w->tid, number(w, w->tiles));
  w->sums = dhc_lp_local(b, DHC_F32, (int64_t)w->points * w->tm * w->tn);
  find_elements(w);
  copy_u(w, number(w, 0));
  add_chains(w, &l, true);
  DhcLv s = dhc_lp_for_rounds(b, number(w, 0), w->Steps, 1, 1);
  DhcLv own = dhc_lp_udiv(b, w->tid, number(w, w->tiles)), c[8];
  for (int r = 0; r < rounds; r++) {
    c[r] = dhc_lp_addc(b, own, (int64_t)r * (w->threads / w->tiles));
    load_elements(w, dhc_lp_add(b, dhc_lp_mulc(b, s, w->step), c[r]), dhc_lp_at(b, d, number(w, (int64_t)r * POINTS)));
  }
  dhc_lp_barrier(b); /* nobody multiplies the step before any more */
  for (int r = 0; r < rounds; r++) {
    bool cut = (r + 1) * w->threads > all;
    if (cut) dhc_lp_if(b, dhc_lp_lt(b, c[r], number(w, w->step)));
    put_elements(w, c[r], tile, dhc_lp_at(b, d, number(w, (int64_t)r * POINTS)));
    if (cut) dhc_lp_end(b);
  }
  copy_u(w, dhc_lp_addc(b, s, 1));
  dhc_lp_wait(b, 1);
  dhc_lp_barrier(b);
  multiply(w, &l, s);
  DhcLv done = dhc_lp_addc(b, s, 1), ends = dhc_lp_eq(b, dhc_lp_urem(b, done, number(w, chain)), number(w, 0));
  dhc_lp_if(b, dhc_lp_or(b, ends, dhc_lp_eq(b, done, w->Steps)));
  add_chains(w, &l, false);
  dhc_lp_end(b);
  dhc_lp_end(b);
  dhc_lp_wait(b, 0);
  dhc_lp_barrier(b);
}

/* ---- results -------------------------------------------------------------------------------- */

static DhcLv window_index(Blocks *w, const DhcConvDim *d, DhcLv first) {
  return d->d.window >= 0 ? dhc_lp_add(w->v.b, first, w->v.cx.index[d->d.window]) : first;
}

static DhcLv provide(DhcTplCx *cx, int n, void *arg) {
  Blocks *w = arg;
  DhcLp *b = cx->b;
  if (n != w->v.node) return NULL;
  DhcLv y = window_index(w, &w->v.y, w->base_y), x = window_index(w, &w->v.x, w->base_x);
  if (w->whole) return dhc_lp_load(b, w->values, dhc_lp_add(b, dhc_lp_mulc(b, y, 2), x), 1, 0);
  return dhc_lp_load(b, dhc_lp_shared(b, DHC_F32), dhc_lp_add(b, w->place, dhc_lp_add(b, dhc_lp_mul(b, y, w->Places[1]), x)), 1, 0);
}

static void bind(Blocks *w, int axis, DhcLv at) {
  if (axis >= 0) dhc_tpl_bind(&w->v.cx, axis, at);
}

/* All results of a tile, whose image and out are bound. */
static void store_tile(Blocks *w, const Tile *t) {
  DhcConv *v = &w->v;
  DhcLp *b = v->b;
  const DhcSpace *y = &v->y.d, *x = &v->x.d;
  DhcLv y0 = dhc_lp_udiv(b, t->y, number(w, y->per_out)), x0 = dhc_lp_udiv(b, t->x, number(w, x->per_out));
  for (int64_t i = 0; i < 2 / y->per_out; i++)
    for (int64_t j = 0; j < 2 / x->per_out; j++) {
      DhcLv at_y = dhc_lp_addc(b, y0, i), at_x = dhc_lp_addc(b, x0, j);
      dhc_lp_if(b, dhc_lp_and(b, dhc_lp_lt(b, at_y, dhc_space_outs(&v->cx, y)), dhc_lp_lt(b, at_x, dhc_space_outs(&v->cx, x))));
      DhcTplMark mark = dhc_tpl_push(&v->cx);
      bind(w, y->out, at_y);
      bind(w, x->out, at_x);
      w->base_y = number(w, i * y->per_out);
      w->base_x = number(w, j * x->per_out);
      dhc_tpl_store_all(&v->cx);
      dhc_tpl_pop(&v->cx, &mark);
      dhc_lp_end(b);
    }
}

/* Where the places of an image and out begin in the shared memory, behind U. */
static DhcLv places_at(Blocks *w, DhcLv image, DhcLv m) {
  DhcLp *b = w->v.b;
  DhcLv n = dhc_lp_mul(b, dhc_lp_add(b, dhc_lp_mul(b, image, w->v.M), m), dhc_lp_mul(b, w->Places[0], w->Places[1]));
  return dhc_lp_add(b, dhc_lp_mul(b, dhc_lp_mulc(b, w->Steps, (int64_t)POINTS * w->step), w->Padded), n);
}

static void leave_places(Blocks *w, const Tile *t, DhcLv m) {
  DhcLp *b = w->v.b;
  DhcLv at = places_at(w, t->image, m);
  for (int i = 0; i < TILE_PLACES; i++) {
    DhcLv y = dhc_lp_addc(b, t->y, i / 2), x = dhc_lp_addc(b, t->x, i % 2);
    dhc_lp_if(b, dhc_lp_and(b, dhc_lp_lt(b, y, w->Places[0]), dhc_lp_lt(b, x, w->Places[1])));
    dhc_lp_store(b, dhc_lp_shared(b, DHC_F32), dhc_lp_add(b, at, dhc_lp_add(b, dhc_lp_mul(b, y, w->Places[1]), x)), dhc_lp_load(b, w->values, number(w, i), 1, 0), 0);
    dhc_lp_end(b);
  }
}

/* A thread has every threads-th of the block's tiles, of each out by itself. */
static void results(Blocks *w) {
  DhcConv *v = &w->v;
  DhcLp *b = v->b;
  w->values = dhc_lp_local(b, DHC_F32, TILE_PLACES);
  DhcLv i = dhc_lp_for_rounds(b, w->tid, number(w, (int64_t)w->outs * w->tiles), w->threads, 1);
  DhcLv m = dhc_lp_add(b, w->m0, dhc_lp_udiv(b, i, number(w, w->tiles))), across[2][4];
  Tile t = tile_number(w, dhc_lp_urem(b, i, number(w, w->tiles)));
  dhc_lp_if(b, dhc_lp_and(b, t.there, dhc_lp_lt(b, m, v->M)));
  for (int x = 0; x < 4; x++) {
    DhcLv column[4], of[2];
    for (int y = 0; y < 4; y++) column[y] = dhc_lp_load(b, memory(w), dhc_lp_addc(b, i, sums_at(w) + (int64_t)(4 * y + x) * w->outs * w->tiles), 1, 0);
    dhc_winograd_results(b, column, of);
    for (int y = 0; y < 2; y++) across[y][x] = of[y];
  }
  for (int y = 0; y < 2; y++) {
    DhcLv of[2];
    dhc_winograd_results(b, across[y], of);
    for (int x = 0; x < 2; x++) dhc_lp_store(b, w->values, number(w, 2 * y + x), of[x], 0);
  }
  if (w->whole) {
    DhcTplMark mark = dhc_tpl_push(&v->cx);
    bind(w, v->image, t.image);
    bind(w, v->m, m);
    store_tile(w, &t);
    dhc_tpl_pop(&v->cx, &mark);
  } else {
    leave_places(w, &t, m);
  }
  dhc_lp_end(b);
  dhc_lp_end(b);
}

/* Third phase: a thread has every threads-th of AT_ONCE results, numbered over images, outs, rows and columns. */
static void windows(Blocks *w, DhcLv task) {
  DhcConv *v = &w->v;
  DhcLp *b = v->b;
  const DhcSpace *y = &v->y.d, *x = &v->x.d;
  DhcLv columns = dhc_space_outs(&v->cx, x), rows = dhc_space_outs(&v->cx, y), images = dhc_space_extent(&v->cx, v->image);
  DhcLv first = dhc_lp_mulc(b, task, AT_ONCE), all = dhc_lp_mul(b, dhc_lp_mul(b, images, v->M), dhc_lp_mul(b, rows, columns));
  DhcLv i = dhc_lp_for_rounds(b, dhc_lp_add(b, first, w->tid), dhc_lp_min(b, all, dhc_lp_addc(b, first, AT_ONCE)), w->threads, 1);
  DhcLv line = dhc_lp_udiv(b, i, columns), plane = dhc_lp_udiv(b, line, rows), at_x = dhc_lp_urem(b, i, columns), at_y = dhc_lp_urem(b, line, rows);
  DhcLv m = dhc_lp_urem(b, plane, v->M), image = dhc_lp_udiv(b, plane, v->M);
  DhcTplMark mark = dhc_tpl_push(&v->cx);
  bind(w, v->image, image);
  bind(w, v->m, m);
  bind(w, y->out, at_y);
  bind(w, x->out, at_x);
  w->place = places_at(w, image, m);
  w->base_y = dhc_lp_mulc(b, at_y, y->per_out);
  w->base_x = dhc_lp_mulc(b, at_x, x->per_out);
  dhc_tpl_store_all(&v->cx);
  dhc_tpl_pop(&v->cx, &mark);
  dhc_lp_end(b);
}

/* ---- the kernel ----------------------------------------------------------------------------- */

static bool holds_windows(const DhcSpace *d) { return (d->per_out == 1 || d->per_out == 2) && d->n_window <= d->per_out; }

static void size(Blocks *w) {
  DhcConv *v = &w->v;
  dhc_dimprog M = dhc_space_extent_prog(&v->cx, v->m), images = dhc_space_extent_prog(&v->cx, v->image), one = pc(w, 1), two = pc(w, 2);
  const DhcConvDim *dim[2] = {&v->y, &v->x};
  w->steps = op(w, DHC_DIM_CEILDIV, dhc_space_extent_prog(&v->cx, v->c), pc(w, w->step));
  dhc_dimprog chunks = op(w, DHC_DIM_CEILDIV, M, pc(w, w->outs));
  w->padded = op(w, DHC_DIM_MUL, chunks, pc(w, w->outs));
  dhc_dimprog planes = op(w, DHC_DIM_MUL, images, M), results = planes, side[2];
  for (int k = 0; k < 2; k++) {
    dhc_dimprog outs = dhc_space_outs_prog(&v->cx, &dim[k]->d);
    w->places[k] = op(w, DHC_DIM_MAX, dhc_space_places_prog(&v->cx, &dim[k]->d, outs), one);
    side[k] = op(w, DHC_DIM_CEILDIV, w->places[k], two);
    planes = op(w, DHC_DIM_MUL, planes, w->places[k]);
    results = op(w, DHC_DIM_MUL, results, outs);
    w->Places[k] = dhc_lp_prog(v->b, w->places[k]);
  }
  w->all = op(w, DHC_DIM_MUL, images, op(w, DHC_DIM_MUL, side[0], side[1]));
  dhc_dimprog pairs = op(w, DHC_DIM_MUL, w->padded, op(w, DHC_DIM_MUL, w->steps, pc(w, w->step)));
  w->u_tasks = op(w, DHC_DIM_CEILDIV, pairs, pc(w, w->threads));
  w->tasks[0] = chunks;
  w->tasks[1] = op(w, DHC_DIM_MUL, op(w, DHC_DIM_CEILDIV, w->all, pc(w, w->tiles)), chunks);
  w->last_tasks = op(w, DHC_DIM_CEILDIV, results, pc(w, AT_ONCE));
  dhc_dimprog shared = op(w, DHC_DIM_MUL, pairs, pc(w, POINTS));
  if (!w->whole) shared = op(w, DHC_DIM_ADD, shared, planes);
  dhc_lp_share(v->b, op(w, DHC_DIM_MUL, shared, pc(w, 4)));
  w->Steps = dhc_lp_prog(v->b, w->steps);
  w->Padded = dhc_lp_prog(v->b, w->padded);
  w->Rows = dhc_lp_prog(v->b, side[0]);
  w->Columns = dhc_lp_prog(v->b, side[1]);
  w->All = dhc_lp_prog(v->b, w->all);
}

static void block_of(Blocks *w, DhcLv task) {
  DhcLp *b = w->v.b;
  DhcLv chunks = dhc_lp_prog(b, w->tasks[0]);
  w->m0 = dhc_lp_mulc(b, dhc_lp_urem(b, task, chunks), w->outs);
  w->tile0 = dhc_lp_mulc(b, dhc_lp_udiv(b, task, chunks), w->tiles);
  steps(w);
  results(w);
}

static void kernel(Blocks *w) {
  DhcLp *b = w->v.b;
  const dhc_dimprog count[3] = {w->u_tasks, w->tasks[1], w->last_tasks};
  dhc_dimprog end[3];
  DhcLv task = dhc_lp_many_phases(b, count, w->whole ? 2 : 3, end);
  w->tid = dhc_lp_thread(b);
  DhcLv first = dhc_lp_prog(b, end[0]), second = dhc_lp_prog(b, end[1]);
  dhc_lp_if(b, dhc_lp_lt(b, task, first));
  transform_weights(w, task);
  dhc_lp_else(b);
  if (!w->whole) dhc_lp_if(b, dhc_lp_lt(b, task, second));
  block_of(w, dhc_lp_sub(b, task, first));
  if (!w->whole) {
    dhc_lp_else(b);
    windows(w, dhc_lp_sub(b, task, second));
    dhc_lp_end(b);
  }
  dhc_lp_end(b);
  dhc_lp_end(b);
}

void dhc_tpl_winograd_blocks(const DhcTplInput *in, DhcLp *b) {
  Blocks *w = DHC_NEW(b->arena, Blocks);
  DhcConv *v = &w->v;
  const int *k = in->schedule->v;
  w->outs = k[0];
  w->tiles = k[1];
  w->step = k[2];
  w->tm = k[3];
  w->tn = k[4];
  w->points = k[5];
  w->threads = POINTS / w->points * (w->outs / w->tm) * (w->tiles / w->tn);
  w->u_size = POINTS * w->step * w->outs;
  w->v_size = POINTS * w->step * v_line(w);
  if (DHC_TILE_BLOCK % w->step || w->threads % w->tiles || w->step * w->tiles > 8 * w->threads) DHC_BUG("schedule of tiles");
  dhc_lp_block(b, w->threads, 4 * (sums_at(w) + (int64_t)POINTS * w->outs * w->tiles));
  dhc_lp_together(b, 2);
  v->b = b;
  v->s = in->spec;
  dhc_tpl_init(&v->cx, in, b);
  if (b->refused || !dhc_winograd_roles(v)) return;
  v->cx.provide = provide;
  v->cx.provide_arg = w;
  v->M = dhc_space_extent(&v->cx, v->m);
  v->C = dhc_space_extent(&v->cx, v->c);
  w->whole = holds_windows(&v->y.d) && holds_windows(&v->x.d);
  size(w);
  kernel(w);
}
