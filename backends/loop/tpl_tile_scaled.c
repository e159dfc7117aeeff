/* Lines that are their elements times what is the same all along them, as the root of their mean square, and times what is the same for all
 * of them, as a gain. The elements are contracted as they lie and columns take the gain; the lines' sums are added up beside the
 * products, in an order of their own, and results take what is made of them. For templates "low" and "tile". */
#include "backends/loop/tpl_tile.h"

/* What varies over lines and along them is the load alone, once. */
static bool find_factors(const DhcTile *d, DhcTileFactors *f, int n, bool over, int *rows) {
  const DhcSpec *s = d->cx.in->spec;
  const DhcSpecNode *e = &s->node[n];
  uint32_t varies = dhc_spec_varies(s, n);
  bool both = varies & d->norm_lines && varies & d->norm_k;
  if (both && n == d->norm_rows) return !over && ++*rows == 1;
  if (both && e->kind == DHC_SN_EW && (e->op == DHC_OP_MUL || e->op == DHC_OP_DIV))
    return find_factors(d, f, e->a[0], over, rows) && find_factors(d, f, e->a[1], e->op == DHC_OP_DIV ? !over : over, rows);
  if (both || f->n == DHC_TILE_FACTORS || (varies & d->norm_k && dhc_spec_folds(s, n))) return false;
  f->over[f->n] = over;
  f->node[f->n++] = n;
  return true;
}

bool dhc_tile_factors(const DhcTile *d, DhcTileFactors *f) {
  const DhcSpec *s = d->cx.in->spec;
  bool needed[DHC_SPEC_MAX_NODES] = {false};
  int rows = 0;
  *f = (DhcTileFactors){0};
  if (d->norm < 0 || d->norm_rows < 0 || !find_factors(d, f, d->norm, false, &rows) || !rows) return false;
  dhc_tpl_needed(s, d->norm, needed);
  for (int n = 0; n < d->norm; n++)
    if (needed[n] && s->node[n].kind == DHC_SN_FOLD && dhc_spec_folds(s, s->node[n].a[0])) return false;
  return true;
}

DhcLv dhc_tile_factor(const DhcTile *d, const DhcTileFactors *f, DhcTplCx *cx, bool along, int lanes) {
  DhcLp *b = d->b;
  DhcLv all = NULL;
  for (int i = 0; i < f->n; i++) {
    if (((cx->varies[f->node[i]] & d->norm_k) != 0) != along) continue;
    DhcLv v = dhc_lp_splat(b, dhc_tpl_eval(cx, f->node[i]), lanes), one = dhc_lp_splat(b, dhc_lp_float(b, DHC_F32, 1), lanes);
    if (f->over[i]) v = dhc_lp_ew2(b, DHC_OP_DIV, one, v);
    all = all ? dhc_lp_mul(b, all, v) : v;
  }
  return all;
}

/* ---- template "tile" --------------------------------------------------------------------------- */

enum { TWO = 2, FOUR = 4 }; /* ks of a thread beside each other; of a copy */

struct DhcTileScaled {
  DhcTileFactors f;
  DhcTplCx row; /* of the spec as it is given, exact */
  bool needed[DHC_SPEC_MAX_NODES];
  int64_t beside[DHC_SPEC_MAX_NODES]; /* where in a stage lies what is loaded along k for all lines; 0: nothing */
  DhcLv part[DHC_SPEC_MAX_NODES];     /* by fold, of the thread's elements: stack arrays by line */
  DhcLv (*sums)(DhcTplCx *cx, int n, void *arg); /* the tile's */
};

static const DhcSpecNode *node_of(const DhcTile *d, int n) { return &d->cx.in->spec->node[n]; }
static bool is_sum(const DhcTile *d, int n) { return d->scaled->needed[n] && node_of(d, n)->kind == DHC_SN_FOLD; }
static bool is_load(const DhcTile *d, int n) { return d->scaled->needed[n] && node_of(d, n)->kind == DHC_SN_LOAD; }

bool dhc_tile_scale(DhcTile *d) {
  DhcTileFactors f;
  if (!d->warps || d->group || d->target || d->window || d->x.node != d->norm || !dhc_tile_factors(d, &f)) return false;
  d->scaled = DHC_NEW(d->b->arena, DhcTileScaled);
  d->scaled->f = f;
  dhc_tpl_needed(d->cx.in->spec, d->norm, d->scaled->needed);
  return true;
}

void dhc_tile_scaled_place(DhcTile *d, int64_t *stage) {
  for (int n = 0; n < d->norm && d->scaled; n++) {
    if (!is_load(d, n) || dhc_spec_varies(d->cx.in->spec, n) != d->norm_k) continue;
    d->scaled->beside[n] = *stage;
    *stage += (int64_t)4 * d->bk;
  }
}

static int n_sums(const DhcTile *d) {
  int sums = 0;
  for (int n = 0; n < d->norm; n++) sums += is_sum(d, n);
  return sums;
}

/* Of each sum and line a part of each of the threads that share it. */
static int n_parts(const DhcTile *d) { return FOUR * d->wk; }

int64_t dhc_tile_scaled_bytes(const DhcTile *d) { return d->scaled ? (int64_t)4 * d->bm * (n_sums(d) * n_parts(d) + 1) : 0; }

static DhcLv parts_of(DhcTile *d) { return dhc_lp_block_memory(d->b, DHC_F32, d->stages_at + dhc_tile_result_bytes(d)); }
static DhcLv scales_of(DhcTile *d) {
  return dhc_lp_block_memory(d->b, DHC_F32, d->stages_at + dhc_tile_result_bytes(d) + (int64_t)4 * d->bm * n_sums(d) * n_parts(d));
}

static DhcLv provide(DhcTplCx *cx, int n, void *arg) {
  DhcTile *d = arg;
  DhcLv v = d->scaled->sums(cx, n, d);
  return v ? dhc_lp_mul(d->b, v, dhc_lp_splat(d->b, dhc_lp_load(d->b, scales_of(d), d->at_row, 1, 0), v->type.lanes)) : v;
}

void dhc_tile_scaled_open(DhcTile *d) {
  DhcTileScaled *x = d->scaled;
  if (!x) return;
  dhc_tpl_init(&x->row, d->cx.in, d->b);
  x->row.nearly = false;
  x->sums = d->cx.provide;
  d->cx.provide = provide;
  for (int n = 0; n < d->norm; n++)
    if (is_load(d, n) && !(x->row.varies[n] & d->norm_lines)) dhc_lp_early(d->b, node_of(d, n)->operand);
}

void dhc_tile_scaled_begin(DhcTile *d) {
  DhcTileScaled *x = d->scaled;
  for (int n = 0; n < d->norm && x; n++) {
    if (is_load(d, n) && !x->row.varies[n]) dhc_tpl_eval(&x->row, n); /* on its way until results take it */
    if (!is_sum(d, n)) continue;
    int size = 2 * dhc_tile_down(d) * TWO;
    x->part[n] = dhc_lp_local(d->b, DHC_F32, size);
    for (int i = 0; i < size; i++) dhc_lp_store(d->b, x->part[n], dhc_lp_i64(d->b, i), dhc_lp_float(d->b, DHC_F32, 0), 0);
  }
}

void dhc_tile_scaled_copy(DhcTile *d, DhcLv k0, DhcLv base) {
  DhcLp *b = d->b;
  DhcTileScaled *x = d->scaled;
  for (int n = 0; n < d->norm && x; n++) {
    if (!x->beside[n]) continue;
    const int operand = node_of(d, n)->operand;
    DhcLv own = dhc_lp_mulc(b, d->tid, FOUR), from = dhc_lp_add(b, k0, own), to = dhc_lp_addc(b, dhc_lp_add(b, base, own), x->beside[n] / 4);
    DhcLv valid = dhc_lp_min(b, dhc_lp_max(b, dhc_lp_sub(b, d->k_end, from), dhc_lp_i64(b, 0)), dhc_lp_i64(b, FOUR));
    dhc_lp_if(b, dhc_lp_lt(b, own, dhc_lp_i64(b, d->bk)));
    dhc_lp_if(b, dhc_lp_aligned(b, x->row.pointer[operand], 16));
    dhc_tile_copy_four(d, operand, to, from, valid, true);
    dhc_lp_else(b);
    dhc_tile_copy_four(d, operand, to, from, valid, false);
    dhc_lp_end(b);
    dhc_lp_end(b);
  }
}

/* The thread's two ks from k on in the stage at `base`, and what is the same for all lines there. */
static void bind_two(DhcTile *d, DhcLv base, DhcLv k) {
  DhcTileScaled *x = d->scaled;
  dhc_tpl_bind_vector(&x->row, __builtin_ctz(d->norm_k), k, TWO, NULL);
  for (int n = 0; n < d->norm; n++)
    if (x->beside[n])
      dhc_tpl_set(&x->row, n, dhc_lp_load(d->b, dhc_tile_memory(d), dhc_lp_addc(d->b, dhc_lp_add(d->b, base, k), x->beside[n] / 4), TWO, 8));
}

DhcLv dhc_tile_scaled_by(DhcTile *d, DhcLv base, DhcLv k) {
  DhcTileScaled *x = d->scaled;
  DhcTplMark mark = dhc_tpl_push(&x->row);
  bind_two(d, base, k);
  DhcLv by = dhc_tile_factor(d, &x->f, &x->row, true, TWO);
  dhc_tpl_pop(&x->row, &mark);
  return by;
}

void dhc_tile_scaled_add(DhcTile *d, DhcLv base, int line, DhcLv k, DhcLv left, const DhcLv *v) {
  DhcLp *b = d->b;
  DhcTileScaled *x = d->scaled;
  DhcTplMark mark = dhc_tpl_push(&x->row);
  DhcLv two = dhc_lp_insert(b, dhc_lp_insert(b, dhc_lp_zero(b, DHC_F32, TWO), 0, v[0]), 1, v[1]);
  dhc_tpl_bind_flat(&x->row, d->norm_lines, d->row0); /* no matter which: what is loaded of a line is given */
  bind_two(d, base, k);
  dhc_tpl_set(&x->row, d->norm_rows, two);
  for (int n = 0; n < d->norm; n++) {
    if (!is_sum(d, n)) continue;
    DhcLv e = dhc_lp_splat(b, dhc_tpl_eval(&x->row, node_of(d, n)->a[0]), TWO);
    for (int l = 0; l < TWO; l++) {
      DhcLv at = dhc_lp_i64(b, (int64_t)line * TWO + l), none = dhc_lp_float(b, DHC_F32, 0);
      DhcLv one = dhc_lp_select(b, dhc_lp_lt(b, dhc_lp_addc(b, k, l), left), dhc_lp_extract(b, e, l), none);
      dhc_lp_store(b, x->part[n], at, dhc_lp_add(b, dhc_lp_load(b, x->part[n], at, 1, 0), one), 0);
    }
  }
  dhc_tpl_pop(&x->row, &mark);
}

void dhc_tile_scaled_put(DhcTile *d) {
  DhcLp *b = d->b;
  int place = 0;
  if (!d->scaled) return;
  DhcTileLane l = dhc_tile_lane(d);
  dhc_lp_if(b, dhc_lp_eq(b, l.col, dhc_lp_i64(b, 0))); /* warps side by side have the same lines */
  for (int n = 0; n < d->norm; n++) {
    if (!is_sum(d, n)) continue;
    for (int i = 0; i < 2 * dhc_tile_down(d); i++) {
      DhcLv row = dhc_lp_addc(b, dhc_lp_add(b, l.row, l.g), 8 * i), own = dhc_lp_add(b, dhc_lp_mulc(b, l.group, FOUR), l.t);
      DhcLv x = dhc_lp_load(b, d->scaled->part[n], dhc_lp_i64(b, (int64_t)i * TWO), 1, 0), y = dhc_lp_load(b, d->scaled->part[n], dhc_lp_i64(b, (int64_t)i * TWO + 1), 1, 0);
      DhcLv at = dhc_lp_add(b, dhc_lp_mulc(b, dhc_lp_addc(b, row, (int64_t)d->bm * place), n_parts(d)), own);
      dhc_lp_store(b, parts_of(d), at, dhc_lp_add(b, x, y), 0);
    }
    place++;
  }
  dhc_lp_end(b);
}

void dhc_tile_scaled_rows(DhcTile *d) {
  DhcLp *b = d->b;
  DhcTileScaled *x = d->scaled;
  int place = 0;
  if (!x) return;
  DhcLv row = dhc_lp_for(b, d->tid, dhc_lp_i64(b, d->bm), d->threads);
  DhcTplMark mark = dhc_tpl_push(&x->row);
  dhc_tpl_bind_flat(&x->row, d->norm_lines, dhc_lp_min(b, dhc_lp_add(b, d->row0, row), dhc_lp_addc(b, d->n_rows, -1)));
  for (int n = 0; n < d->norm; n++) {
    if (!is_sum(d, n)) continue;
    DhcLv at = dhc_lp_mulc(b, dhc_lp_addc(b, row, (int64_t)d->bm * place++), n_parts(d)), sum = NULL;
    for (int i = 0; i < n_parts(d); i += FOUR) {
      DhcLv v = dhc_lp_load(b, parts_of(d), dhc_lp_addc(b, at, i), FOUR, 16);
      sum = sum ? dhc_lp_add(b, sum, v) : v;
    }
    DhcLv low = dhc_lp_add(b, dhc_lp_extract(b, sum, 0), dhc_lp_extract(b, sum, 1)), high = dhc_lp_add(b, dhc_lp_extract(b, sum, 2), dhc_lp_extract(b, sum, 3));
    dhc_tpl_set(&x->row, n, dhc_lp_add(b, low, high));
  }
  DhcLv by = dhc_tile_factor(d, &x->f, &x->row, false, 1);
  dhc_lp_store(b, scales_of(d), row, by ? by : dhc_lp_float(b, DHC_F32, 1), 0);
  dhc_tpl_pop(&x->row, &mark);
  dhc_lp_end(b);
  dhc_lp_barrier(b);
}
