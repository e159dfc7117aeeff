/* Template "dot": register-tiled contraction, after Goto and van de Geijn, "Anatomy of
 * high-performance matrix multiplication" (ACM TOMS 34, 2008): blocks of columns and parts of k stay in
 * the second cache while rows go by; k ascending, cut where the product rule's blocks end (ir/sum.h).
 *
 * Roles. One DOT fold over A and B, or two over one A and a B each (a projection and its gate),
 * whose sums meet in the epilogue. The column axis n is the one along which output 0 lies
 * side by side; the operand that varies over it is B. The row axis m is a parallel axis of
 * A alone. Every other parallel axis is walked outside. A tile is `rows` rows times
 * `vectors` vectors of columns, all accumulators in registers.
 *
 *   task: outer index, some blocks of columns (as many as v[7] bytes hold, fewer where tasks would be few), chunk of rows
 *     for each part of DHC_DOT_PART steps, where there are more than that
 *       B's columns to scratch as [k][columns] of each block, unless they lie side by side already and few
 *         rows want them
 *       for each group of rows (A_GROUP; a tile's, where A is something computed)
 *         A's rows to scratch as [k][rows], unless a scalar load can fetch them
 *         for each block of columns, for each tile of rows (row numbers clamped, so that the last tile needs no code)
 *           for k: accumulators += A[m, k] * B[k, n..]; one vector of columns, or two rows, where no more are left
 *           accumulators to a local tile, of all parts but the last from there to the sums of finished blocks
 *           behind the last part, for each row: the epilogue, stores
 *
 * Ragged contractions (kind RAGGED: A counts only where its row lies in the range [lo, hi) of
 * some axis e) walk e outside and cut the rows, or, where rows are what is summed over, the
 * steps, to that range: other rows cost nothing. What they add to a sum is a zero.
 *
 * Tiles are wide rather than tall: row pointers and all fit into general registers then, and
 * the loop over k is one short block.
 *
 * Schedule: v[0] rows of a tile, v[1] vectors (of both folds), v[2] lanes of a vector, v[3] tasks that a
 * kernel should at least be cut into, of v[4] row tiles if there are as many; up to v[5] steps, or with jumps shorter
 * than v[6] elements over less than v[6] * DHC_DOT_PART of them, A stays in place where it is walked across; v[7] bytes of a task's packed columns. */
#include "backends/loop/tpl_dot.h"

enum {
  FEW_ROWS = 2,    /* for so many a tile has a form of its own */
  A_GROUP = 48,    /* rows that stay near while blocks of columns go by: whole vectors, whole tiles */
  A_PITCH = 16     /* of a packed tile of A */
};

typedef DhcDot Dot;

/* ---- tile and access ------------------------------------------------------------------------ */

static void choose_tile(Dot *d) {
  const int *v = d->cx.in->schedule->v;
  d->rows = v[0];
  d->vectors = v[1];
  d->lanes = v[2];
  d->tasks = v[3];
  if (d->m < 0) d->rows = 1;
  if (d->rows > DHC_DOT_MAX_ROWS) d->rows = DHC_DOT_MAX_ROWS;
  if (d->vectors > DHC_DOT_MAX_VECTORS) d->vectors = DHC_DOT_MAX_VECTORS;
  d->vectors = d->vectors > d->n_folds ? d->vectors / d->n_folds : 1;
}

static void choose_access(Dot *d) {
  d->oa = dhc_tpl_plain_load(d->s, d->na);
  d->direct_a = d->oa >= 0 && dhc_dot_one_axis(d->red);
  d->across = d->direct_a && d->m >= 0 && dhc_spec_unit_axis(&d->s->operand[d->oa]) == d->m && d->rows <= d->lanes &&
              A_GROUP % d->rows == 0;
  d->panels = true;
  d->direct_b = dhc_dot_one_axis(d->red);
  for (int f = 0; f < d->n_folds; f++) {
    d->ob[f] = dhc_tpl_plain_load(d->s, d->nb[f]);
    const DhcOperand *p = d->ob[f] >= 0 ? &d->s->operand[d->ob[f]] : NULL;
    d->panels = d->panels && p && dhc_tag_is_panel(p->tag) && p->tag == d->s->operand[d->ob[0]].tag && p->width == d->s->operand[d->ob[0]].width;
    d->direct_b = d->direct_b && p && p->tag == DHC_TAG_ROW && dhc_spec_unit_axis(p) == d->n;
  }
  if (d->panels) d->tag = d->s->operand[d->ob[0]].tag;
  if (d->panels) d->vectors = d->s->operand[d->ob[0]].width / d->lanes;
}

/* The only output is the fold itself, in plain f32, and moves along every axis by a stride. */
static bool is_bare(const Dot *d) {
  const DhcSpec *s = d->s;
  const DhcOperand *p = &s->operand[s->n_operands - 1];
  if (d->n_folds > 1 || dhc_spec_n_inputs(s) != s->n_operands - 1 || p->stored != d->node[0] || p->dtype != DHC_F32) return false;
  for (int t = 0; t < p->n_terms; t++)
    if (p->term[t].guarded || p->term[t].index >= 0) return false;
  return dhc_spec_unit_axis(p) == d->n;
}

static bool is_b(const Dot *d, int o) {
  return o == d->ob[0] || (d->n_folds > 1 && o == d->ob[1]);
}

/* True if only B is packed, walked as panels are, and a tile is as wide as one. */
static bool panels_fit(const Dot *d) {
  for (int o = 0; o < d->s->n_operands; o++) {
    const DhcOperand *p = &d->s->operand[o];
    if (!dhc_tag_is_panel(p->tag)) continue;
    if (!d->panels || !is_b(d, o) || !dhc_tag_fits(d->s, o)) return false;
    int axis[3];
    dhc_tag_axes(d->s, o, axis);
    if (axis[1] != d->n || axis[0] != d->e) return false;
  }
  return !d->panels || (dhc_dot_one_axis(d->red) && d->s->operand[d->ob[0]].width % d->lanes == 0 && d->vectors >= 1 &&
                        d->vectors * d->n_folds <= DHC_DOT_MAX_VECTORS);
}

/* ---- the tile ------------------------------------------------------------------------------- */

typedef struct Tile {
  DhcLv row0;                    /* first row */
  DhcLv a_ptr[DHC_DOT_MAX_ROWS], a_step; /* direct: a_ptr[r][k * a_step] */
  DhcLv a_panel;                 /* packed: [k * 16 + r]; across: [k * A_GROUP + r] of a group */
  DhcLv first, end;              /* rows */
  DhcLv group;                   /* first row of those that stay near */
  DhcLv block, n_blocks;         /* of columns: the one at hand, and how many */
  DhcLv held;                    /* where sums wait from part to part; NULL: there are none */
  DhcLv scale[DHC_DOT_MAX_FOLDS]; /* of panels that have them: one a column; else NULL */
  DhcLv b_ptr[DHC_DOT_MAX_FOLDS], b_step[DHC_DOT_MAX_FOLDS]; /* b_ptr[f][k * b_step[f] + column] */
  DhcLv local;                   /* room for its sums */
  DhcTplSums sums;               /* there, or the output itself */
  DhcLv narrow, few;             /* bool: one vector of columns is enough; so are FEW_ROWS rows; NULL: a tile has no more */
  DhcLv width, pitch;            /* of a fold's and of a row's sums in the local tile */
  DhcLpVar acc[DHC_DOT_MAX_ROWS * DHC_DOT_MAX_VECTORS];      /* by row; the folds' vectors after one another */
} Tile;

/* Scales of a panel's rows stand in front of it. */
static DhcLv scale_of(Dot *d, Tile *t, int f, int v) { return dhc_lp_load(d->b, t->scale[f], dhc_lp_i64(d->b, (int64_t)v * d->lanes), d->lanes, 0); }

/* The part of a tile that is multiplied: its first rows, and so many vectors of each fold. */
typedef struct Form {
  int rows, vectors;
} Form;

/* The rows' numbers are clamped: rows beyond the last are written to its place, before it is. */
static void store_sums(Dot *d, Tile *t, Form form) {
  DhcLp *b = d->b;
  int wide = d->n_folds * form.vectors;
  for (int r = form.rows; r-- > 0;) {
    DhcLv at = dhc_lp_i64(b, (int64_t)r * wide * d->lanes);
    if (d->bare) at = dhc_lp_mul(b, dhc_lp_min(b, dhc_lp_i64(b, r), dhc_lp_addc(b, t->sums.rows, -1)), t->sums.row);
    for (int v = 0; v < wide; v++)
      dhc_lp_store(b, t->sums.at, dhc_lp_addc(b, at, (int64_t)v * d->lanes), dhc_lp_get(b, t->acc[r * wide + v]), 0);
  }
}

static void clear(Dot *d, Tile *t, Form form) {
  for (int i = 0; i < form.rows * d->n_folds * form.vectors; i++) t->acc[i] = dhc_lp_var(d->b, dhc_lp_zero(d->b, DHC_F32, d->lanes));
}

/* The products of one block. */
static void add_products(Dot *d, Tile *t, const DhcTplProducts *p, Form form) {
  DhcLp *b = d->b;
  DhcLv vec[DHC_DOT_MAX_VECTORS], ahead[DHC_DOT_MAX_FOLDS] = {NULL};
  int wide = d->n_folds * form.vectors;
  for (int f = 0; f < d->n_folds && form.rows == FEW_ROWS && (d->direct_b || d->panels); f++) ahead[f] = dhc_lp_mulc(b, t->b_step[f], DHC_DOT_AHEAD);
  clear(d, t, form);
  DhcLv k = dhc_tpl_products_chain(b, p);
  for (int f = 0; f < d->n_folds; f++) {
    DhcLv at_b = dhc_lp_mul(b, k, t->b_step[f]);
    for (int v = 0; v < form.vectors; v++) {
      DhcLv at = dhc_lp_addc(b, at_b, (int64_t)v * d->lanes), x = dhc_lp_load(b, t->b_ptr[f], at, d->lanes, 0);
      if (ahead[f]) dhc_lp_prefetch(b, t->b_ptr[f], dhc_lp_add(b, at, ahead[f]));
      vec[f * form.vectors + v] = t->scale[f] ? dhc_lp_mul(b, dhc_lp_cast(b, x, DHC_F32), scale_of(d, t, f, v)) : x;
    }
  }
  DhcLv at_a = !d->direct_a ? dhc_lp_mulc(b, k, A_PITCH) : dhc_lp_mul(b, k, t->a_step);
  for (int r = 0; r < form.rows; r++) {
    DhcLv x = !d->direct_a ? dhc_lp_load(b, t->a_panel, dhc_lp_addc(b, at_a, r), 1, 0)
                         : dhc_lp_load(b, t->a_ptr[r], at_a, 1, 0);
    x = dhc_lp_splat(b, x, d->lanes);
    for (int v = 0; v < wide; v++) {
      DhcLpVar acc = t->acc[r * wide + v];
      dhc_lp_set(b, acc, dhc_lp_fma(b, x, vec[v], dhc_lp_get(b, acc)));
    }
  }
  dhc_lp_end(b);
  store_sums(d, t, form);
}

static int64_t held_elements(const Dot *d) { return (int64_t)DHC_DOT_LEVELS * d->rows * dhc_dot_vectors(d) * d->lanes; }

/* Where a tile's sums wait: each its own place, where there are several parts. */
static DhcLv held_sums(Dot *d, Tile *t) {
  DhcLp *b = d->b;
  DhcLv tile = dhc_lp_udiv(b, dhc_lp_sub(b, t->row0, t->first), dhc_lp_i64(b, d->rows));
  tile = dhc_lp_add(b, dhc_lp_mul(b, tile, t->n_blocks), t->block);
  tile = dhc_lp_select(b, dhc_lp_lt(b, dhc_lp_i64(b, DHC_DOT_PART), d->K), tile, dhc_lp_i64(b, 0));
  return dhc_lp_at(b, t->held, dhc_lp_mulc(b, tile, held_elements(d)));
}

/* Of the last columns, or the last rows, no more is multiplied than there are: the same sums in the same order. */
static void k_loop(Dot *d, Tile *t) {
  DhcLp *b = d->b;
  const Form whole = {d->rows, d->vectors};
  DhcTplProducts p = {.from = d->k_from, .to = d->k_to};
  if (d->part) {
    p.part = d->part;
    p.part_to = dhc_lp_addc(b, d->part, DHC_DOT_PART);
    p.held = held_sums(d, t);
  }
  dhc_tpl_products_begin(b, &p, d->rows, dhc_dot_vectors(d) * d->lanes, d->lanes, d->K, 1);
  if (t->narrow) {
    dhc_lp_if(b, t->narrow);
    add_products(d, t, &p, (Form){d->rows, 1});
    dhc_lp_else(b);
  }
  if (t->few) {
    dhc_lp_if(b, t->few);
    add_products(d, t, &p, (Form){FEW_ROWS, d->vectors});
    dhc_lp_else(b);
  }
  add_products(d, t, &p, whole);
  if (t->few) dhc_lp_end(b);
  if (t->narrow) dhc_lp_end(b);
  dhc_tpl_products_end(b, &p, t->sums);
}

/* One vector of columns is all that is left. */
static DhcLv is_narrow(Dot *d, DhcLv col0) { return dhc_lp_le(d->b, dhc_lp_sub(d->b, d->N, col0), dhc_lp_i64(d->b, d->lanes)); }

static DhcLv is_whole(Dot *d, DhcLv col0) { return dhc_lp_le(d->b, dhc_lp_addc(d->b, col0, (int64_t)d->vectors * d->lanes), d->N); }

/* Where the sums of rows [row0, row_end) go: to a local tile; whole ones that are the output as they are, to it. */
static void place_sums(Dot *d, Tile *t, DhcLv col0, DhcLv row_end) {
  DhcLp *b = d->b;
  int o = d->s->n_operands - 1, pitch = dhc_dot_vectors(d) * d->lanes;
  DhcLv n_rows = dhc_lp_sub(b, row_end, t->row0), rows = dhc_lp_i64(b, d->rows);
  t->narrow = t->few = NULL;
  t->width = dhc_lp_i64(b, d->vectors * d->lanes);
  t->pitch = dhc_lp_i64(b, pitch);
  if (d->vectors > 1) {
    t->narrow = is_narrow(d, col0);
    t->width = dhc_lp_select(b, t->narrow, dhc_lp_i64(b, d->lanes), t->width);
    t->pitch = dhc_lp_mulc(b, t->width, d->n_folds);
  }
  if (d->rows > FEW_ROWS) {
    t->few = dhc_lp_le(b, n_rows, dhc_lp_i64(b, FEW_ROWS));
    DhcLv only = t->narrow ? dhc_lp_and(b, t->few, dhc_lp_ew1(b, DHC_OP_NOT, t->narrow)) : t->few;
    rows = dhc_lp_select(b, only, dhc_lp_i64(b, FEW_ROWS), rows);
  }
  t->local = dhc_lp_local(b, DHC_F32, (int64_t)d->rows * pitch);
  t->sums = (DhcTplSums){.at = t->local, .width = dhc_lp_mul(b, rows, t->pitch)};
  if (!d->bare) return;
  t->sums.rows = dhc_lp_min(b, n_rows, dhc_lp_i64(b, d->rows));
  t->sums.width = t->sums.row = t->pitch;
  DhcLpVar at = dhc_lp_var(b, t->sums.at), row = dhc_lp_var(b, t->sums.row);
  dhc_lp_if(b, is_whole(d, col0));
  DhcLv step = d->m >= 0 ? dhc_tpl_step(&d->cx, o, d->m) : dhc_lp_i64(b, 0);
  DhcLv there = dhc_lp_add(b, dhc_lp_add(b, dhc_tpl_base(&d->cx, o), col0), dhc_lp_mul(b, t->row0, step));
  dhc_lp_set(b, at, dhc_lp_at(b, d->cx.pointer[o], there));
  dhc_lp_set(b, row, step);
  dhc_lp_end(b);
  t->sums.at = dhc_lp_get(b, at);
  t->sums.row = dhc_lp_get(b, row);
}

static void epilogue(Dot *d, Tile *t, DhcLv col0, DhcLv row_end);

/* What a tile ends with. */
static void finish_tile(Dot *d, Tile *t, DhcLv col0, DhcLv row_end) {
  DhcLp *b = d->b;
  if (d->part) dhc_lp_if(b, dhc_lp_ge(b, dhc_lp_addc(b, d->part, DHC_DOT_PART), d->k_to));
  if (d->bare) dhc_lp_if(b, dhc_lp_ew1(b, DHC_OP_NOT, is_whole(d, col0)));
  epilogue(d, t, col0, row_end);
  if (d->bare) dhc_lp_end(b);
  if (d->part) dhc_lp_end(b);
}

/* From the local tile: the scalar DAG behind the sums, row by row, under masks. */
static void epilogue(Dot *d, Tile *t, DhcLv col0, DhcLv row_end) {
  DhcLp *b = d->b;
  int width = d->vectors * d->lanes;
  DhcLv end = dhc_lp_min(b, dhc_lp_addc(b, t->row0, d->rows), row_end);
  DhcLv i = d->m < 0 ? t->row0 : dhc_lp_for(b, t->row0, end, 1);
  DhcTplMark in_row = dhc_tpl_push(&d->cx);
  if (d->m >= 0) dhc_tpl_bind(&d->cx, d->m, i);
  DhcLv from = dhc_lp_mul(b, dhc_lp_sub(b, i, t->row0), t->pitch);
  DhcLv col_end = dhc_lp_min(b, dhc_lp_addc(b, col0, width), d->N);
  DhcLv j = dhc_lp_for(b, col0, col_end, d->lanes);
  DhcTplMark mark = dhc_tpl_push(&d->cx);
  dhc_tpl_bind_vector(&d->cx, d->n, j, d->lanes, dhc_lp_tail(b, j, col_end, d->lanes));
  for (int f = 0; f < d->n_folds; f++) {
    DhcLv at = dhc_lp_add(b, dhc_lp_add(b, from, dhc_lp_sub(b, j, col0)), dhc_lp_mulc(b, t->width, f));
    dhc_tpl_set(&d->cx, d->node[f], dhc_lp_load(b, t->local, at, d->lanes, 0));
  }
  int first = dhc_spec_n_inputs(d->s);
  for (int o = first; o < d->s->n_operands; o++) dhc_tpl_eval(&d->cx, d->s->operand[o].stored);
  for (int o = first; o < d->s->n_operands; o++) dhc_tpl_store(&d->cx, o);
  dhc_tpl_pop(&d->cx, &mark);
  dhc_lp_end(b);
  dhc_tpl_pop(&d->cx, &in_row);
  if (d->m >= 0) dhc_lp_end(b);
}

/* A panel whose steps are those of the part at hand, `pitch` elements each, counted from the first of all. */
static DhcLv from_part(Dot *d, DhcLv panel, int pitch) {
  return d->part ? dhc_lp_at(d->b, panel, dhc_lp_mulc(d->b, d->part, -pitch)) : panel;
}

/* The rows of a group, as [k][A_GROUP]. */
static void pack_group(Dot *d, Tile *t) {
  DhcLp *b = d->b;
  DhcLv panel = from_part(d, t->a_panel, A_GROUP);
  dhc_lp_if(b, dhc_lp_le(b, dhc_lp_addc(b, t->group, A_GROUP), d->M));
  dhc_dot_pack_whole(d, d->oa, t->group, A_GROUP, panel);
  dhc_lp_else(b);
  dhc_dot_pack_along(d, d->na, d->m, t->group, d->M, A_GROUP, dhc_lp_i64(b, A_GROUP), panel);
  dhc_lp_end(b);
}

/* A's rows of a group, where they do not stay where they are. */
static void pack_rows(Dot *d, Tile *t) {
  DhcLp *b = d->b;
  if (d->across) {
    dhc_lp_if(b, d->far);
    pack_group(d, t);
    dhc_lp_end(b);
  }
  if (d->direct_a) return;
  DhcLv panel = from_part(d, t->a_panel, A_PITCH);
  if (d->m < 0) { /* a single row: one value a step, kept at its place of a panel */
    DhcTplRows k = dhc_tpl_rows(&d->cx, d->red, d->from);
    DhcLv i = dhc_lp_for(b, d->from, d->to, 1);
    DhcTplMark mark = dhc_tpl_push(&d->cx);
    dhc_tpl_rows_bind(&d->cx, &k);
    dhc_lp_store(b, panel, dhc_lp_mulc(b, i, A_PITCH), dhc_tpl_eval(&d->cx, d->na), 0);
    dhc_tpl_pop(&d->cx, &mark);
    dhc_tpl_rows_next(&d->cx, &k);
    dhc_lp_end(b);
  } else if (dhc_dot_unit_along(d, d->na, d->m) || A_PITCH % d->lanes) {
    dhc_dot_pack_along(d, d->na, d->m, t->group, d->M, A_PITCH, dhc_lp_i64(b, A_PITCH), panel);
  } else {
    dhc_dot_pack_transposed(d, d->na, d->m, t->group, d->M, dhc_lp_i64(b, (d->rows + d->lanes - 1) / d->lanes * d->lanes), A_PITCH, panel);
  }
}

/* Where a tile's rows of A are read. */
static void a_rows(Dot *d, Tile *t) {
  DhcLp *b = d->b;
  DhcLv zero = dhc_lp_i64(b, 0), far = d->across ? d->far : NULL, within = NULL;
  DhcLv row_step = d->m >= 0 ? dhc_tpl_step(&d->cx, d->oa, d->m) : zero;
  DhcLv last = d->m >= 0 ? dhc_lp_addc(b, d->M, -1) : zero;
  DhcLv base = dhc_lp_at(b, d->cx.pointer[d->oa], dhc_tpl_base(&d->cx, d->oa));
  t->a_step = dhc_tpl_step(&d->cx, d->oa, dhc_dot_red_axis(d));
  if (d->across) {
    DhcLpVar from = dhc_lp_var(b, base);
    dhc_lp_if(b, far);
    dhc_lp_set(b, from, from_part(d, t->a_panel, A_GROUP));
    dhc_lp_end(b);
    base = dhc_lp_get(b, from);
    t->a_step = dhc_lp_select(b, far, dhc_lp_i64(b, A_GROUP), t->a_step);
    within = dhc_lp_sub(b, t->row0, t->group);
  }
  for (int r = 0; r < d->rows; r++) {
    DhcLv at = dhc_lp_mul(b, dhc_lp_min(b, dhc_lp_addc(b, t->row0, r), last), row_step);
    t->a_ptr[r] = dhc_lp_at(b, base, far ? dhc_lp_select(b, far, dhc_lp_addc(b, within, r), at) : at);
  }
}

static void row_tile(Dot *d, Tile *t, DhcLv col0, DhcLv row_end) {
  if (d->direct_a) a_rows(d, t);
  place_sums(d, t, col0, row_end);
  k_loop(d, t);
  finish_tile(d, t, col0, row_end);
}

/* ---- the kernel ------------------------------------------------------------------------------ */

/* Elements of one fold's packed columns. */
static DhcLv b_room(Dot *d) {
  return dhc_lp_mulc(d->b, dhc_lp_addc(d->b, d->room, d->lanes), d->vectors * d->lanes);
}

/* Fold f's packed columns of a block. */
static DhcLv b_panel(Dot *d, int f, DhcLv block) {
  DhcLp *b = d->b;
  DhcLv at = dhc_lp_mul(b, b_room(d), dhc_lp_addc(b, dhc_lp_mulc(b, block, d->n_folds), f));
  return from_part(d, dhc_lp_at(b, dhc_lp_scratch(b, DHC_F32, 0), at), d->vectors * d->lanes);
}

/* Few rows read whole columns where they lie. Never under a mask: masked loads take turns with the arithmetic. */
static DhcLv in_place(Dot *d, DhcLv col0) {
  DhcLp *b = d->b;
  return dhc_lp_and(b, is_whole(d, col0), dhc_lp_le(b, d->n_rows, dhc_lp_i64(b, d->rows)));
}

static void pack_columns(Dot *d, DhcLv col0, DhcLv block) {
  DhcLp *b = d->b;
  int width = d->vectors * d->lanes;
  DhcLv used = dhc_lp_i64(b, width);
  if (d->vectors > 1) used = dhc_lp_select(b, is_narrow(d, col0), dhc_lp_i64(b, d->lanes), used);
  if (d->direct_b) dhc_lp_if(b, dhc_lp_ew1(b, DHC_OP_NOT, in_place(d, col0)));
  for (int f = 0; f < d->n_folds; f++) {
    DhcLv panel = b_panel(d, f, block);
    if (d->direct_b) {
      dhc_lp_if(b, is_whole(d, col0));
      dhc_dot_pack_whole(d, d->ob[f], col0, width, panel);
      dhc_lp_else(b);
    }
    if (dhc_dot_unit_along(d, d->nb[f], d->n))
      dhc_dot_pack_along(d, d->nb[f], d->n, col0, d->N, width, used, panel);
    else
      dhc_dot_pack_transposed(d, d->nb[f], d->n, col0, d->N, used, width, panel);
    if (d->direct_b) dhc_lp_end(b);
  }
  if (d->direct_b) dhc_lp_end(b);
}

/* The columns [col0, col0 + width) of fold f's B in whole panels, so no masks: the padding is zeros. */
static void panel_block(Dot *d, Tile *t, int f, DhcLv col0) {
  DhcLp *b = d->b;
  int width = d->vectors * d->lanes, o = d->ob[f];
  bool scaled = d->tag == DHC_TAG_PANEL_I8;
  DhcLv from = dhc_lp_mul(b, col0, scaled ? dhc_lp_addc(b, d->K, 4) : d->K); /* elements; of one byte four for a scale */
  if (d->range) {
    DhcLv panels = dhc_lp_udiv(b, dhc_lp_addc(b, d->N, width - 1), dhc_lp_i64(b, width));
    DhcLv each = dhc_lp_mul(b, dhc_lp_mulc(b, panels, width), scaled ? dhc_lp_addc(b, d->K, 4) : d->K);
    from = dhc_lp_add(b, dhc_lp_mul(b, d->range, each), from);
  }
  DhcLv there = d->tag == DHC_TAG_PANEL ? d->cx.pointer[o] : dhc_lp_operand(b, o, scaled ? DHC_I8 : DHC_BF16);
  if (scaled) t->scale[f] = dhc_lp_at(b, dhc_lp_operand(b, o, DHC_F32), dhc_lp_udiv(b, from, dhc_lp_i64(b, 4)));
  t->b_ptr[f] = dhc_lp_at(b, there, scaled ? dhc_lp_addc(b, from, 4 * (int64_t)width) : from);
}

/* Where a block's columns of fold f's B are read. */
static void column_block(Dot *d, Tile *t, int f, DhcLv col0) {
  DhcLp *b = d->b;
  t->b_step[f] = dhc_lp_i64(b, (int64_t)d->vectors * d->lanes);
  if (d->panels) {
    panel_block(d, t, f, col0);
    return;
  }
  t->b_ptr[f] = b_panel(d, f, t->block);
  if (!d->direct_b) return;
  DhcLpVar from = dhc_lp_var(b, t->b_ptr[f]);
  DhcLv there = in_place(d, col0);
  dhc_lp_if(b, there);
  dhc_lp_set(b, from, dhc_lp_at(b, d->cx.pointer[d->ob[f]], dhc_lp_add(b, dhc_tpl_base(&d->cx, d->ob[f]), col0)));
  dhc_lp_end(b);
  t->b_ptr[f] = dhc_lp_get(b, from);
  t->b_step[f] = dhc_lp_select(b, there, dhc_tpl_step(&d->cx, d->ob[f], dhc_dot_red_axis(d)), t->b_step[f]);
}

/* What a task has of its own: columns, and scratch. */
typedef struct Work {
  DhcLv col0, n_blocks;
  DhcLv a_panel, held; /* or NULL */
} Work;

/* The steps of a part; true: a loop over parts was opened. */
static bool parts_begin(Dot *d) {
  DhcLp *b = d->b;
  d->part = NULL;
  d->from = d->k_from;
  d->to = d->k_to;
  if (!dhc_dot_in_parts(d)) return false;
  DhcLv start = dhc_lp_mulc(b, dhc_lp_udiv(b, d->k_from, dhc_lp_i64(b, DHC_DOT_PART)), DHC_DOT_PART);
  d->part = dhc_lp_for(b, start, dhc_lp_max(b, d->k_to, dhc_lp_addc(b, start, 1)), DHC_DOT_PART); /* once where there is nothing */
  d->from = dhc_lp_max(b, d->k_from, d->part);
  d->to = dhc_lp_min(b, d->k_to, dhc_lp_addc(b, d->part, DHC_DOT_PART));
  return true;
}

/* Rows [from, to) of a task's columns. */
static void rows_of(Dot *d, const Work *w, DhcLv from, DhcLv to) {
  DhcLp *b = d->b;
  int width = d->vectors * d->lanes;
  Tile t = {.a_panel = w->a_panel, .held = w->held, .n_blocks = w->n_blocks, .first = from};
  DhcLv zero = dhc_lp_i64(b, 0);
  bool parts = parts_begin(d);
  DhcTplMark in_part = dhc_tpl_push(&d->cx);
  if (!d->panels) {
    DhcLv block = dhc_lp_for(b, zero, t.n_blocks, 1);
    DhcTplMark mark = dhc_tpl_push(&d->cx);
    pack_columns(d, dhc_lp_add(b, w->col0, dhc_lp_mulc(b, block, width)), block);
    dhc_tpl_pop(&d->cx, &mark);
    dhc_lp_end(b);
  }
  int group = d->direct_a ? A_GROUP / d->rows * d->rows : d->rows;
  t.group = dhc_lp_for(b, from, to, group);
  DhcTplMark in_group = dhc_tpl_push(&d->cx);
  pack_rows(d, &t);
  t.block = dhc_lp_for(b, zero, t.n_blocks, 1);
  DhcTplMark in_block = dhc_tpl_push(&d->cx);
  DhcLv col0 = dhc_lp_add(b, w->col0, dhc_lp_mulc(b, t.block, width));
  for (int f = 0; f < d->n_folds; f++) column_block(d, &t, f, col0);
  t.row0 = d->direct_a ? dhc_lp_for(b, t.group, dhc_lp_min(b, dhc_lp_addc(b, t.group, group), to), d->rows) : t.group;
  DhcTplMark in_tile = dhc_tpl_push(&d->cx);
  row_tile(d, &t, col0, to);
  dhc_tpl_pop(&d->cx, &in_tile);
  if (d->direct_a) dhc_lp_end(b);
  dhc_tpl_pop(&d->cx, &in_block);
  dhc_lp_end(b);
  dhc_tpl_pop(&d->cx, &in_group);
  dhc_lp_end(b);
  dhc_tpl_pop(&d->cx, &in_part);
  if (parts) dhc_lp_end(b);
  d->part = NULL;
}

/* Bound of the range number e. */
static DhcLv bound_at(Dot *d, int node, DhcLv e) {
  DhcTplMark mark = dhc_tpl_push(&d->cx);
  dhc_tpl_bind(&d->cx, d->e, e);
  DhcLv v = dhc_tpl_eval(&d->cx, node);
  dhc_tpl_pop(&d->cx, &mark);
  return v;
}

/* Rows before the first range and behind the last have sum 0. */
static void rows_outside(Dot *d, const Work *w, DhcLv from, DhcLv to) {
  DhcLp *b = d->b;
  DhcLv zero = dhc_lp_i64(b, 0);
  DhcLv first = bound_at(d, d->lo, zero), last = bound_at(d, d->hi, dhc_lp_addc(b, d->cx.extent[d->e], -1));
  DhcLv side = dhc_lp_for(b, zero, dhc_lp_i64(b, 2), 1), before = dhc_lp_eq(b, side, zero);
  DhcLv start = dhc_lp_select(b, before, from, dhc_lp_max(b, last, from));
  DhcLv end = dhc_lp_select(b, before, dhc_lp_min(b, first, to), to);
  Tile t = {.row0 = dhc_lp_for(b, start, end, d->rows)};
  DhcLv col0 = dhc_lp_add(b, w->col0, dhc_lp_mulc(b, dhc_lp_for(b, zero, w->n_blocks, 1), d->vectors * d->lanes));
  DhcTplMark mark = dhc_tpl_push(&d->cx);
  place_sums(d, &t, col0, end);
  const Form whole = {d->rows, d->vectors};
  clear(d, &t, whole);
  store_sums(d, &t, whole);
  finish_tile(d, &t, col0, end);
  dhc_tpl_pop(&d->cx, &mark);
  dhc_lp_end(b);
  dhc_lp_end(b);
  dhc_lp_end(b);
}

/* Rows [from, to) by ranges. */
static void rows_by_range(Dot *d, const Work *w, DhcLv from, DhcLv to) {
  DhcLp *b = d->b;
  rows_outside(d, w, from, to);
  DhcLv e = dhc_lp_for(b, dhc_lp_i64(b, 0), d->cx.extent[d->e], 1);
  DhcTplMark mark = dhc_tpl_push(&d->cx);
  dhc_tpl_bind(&d->cx, d->e, e);
  d->range = e;
  DhcLv start = dhc_lp_max(b, dhc_tpl_eval(&d->cx, d->lo), from);
  DhcLv end = dhc_lp_min(b, dhc_tpl_eval(&d->cx, d->hi), to);
  d->n_rows = dhc_lp_sub(b, end, start);
  dhc_lp_if(b, dhc_lp_lt(b, start, end));
  DhcTplMark inside = dhc_tpl_push(&d->cx);
  rows_of(d, w, start, end);
  dhc_tpl_pop(&d->cx, &inside);
  dhc_lp_end(b);
  dhc_tpl_pop(&d->cx, &mark);
  dhc_lp_end(b);
}

/* Scratch: packed columns, A's rows, sums that wait. */
static Work scratch_of(Dot *d, const DhcDotCut *c) {
  DhcLp *b = d->b;
  DhcArena *a = b->arena;
  Work w = {0};
  dhc_dimprog bytes = d->panels ? dhc_prog_const(a, 0) : dhc_prog_op(a, DHC_DIM_MUL, c->per_group, dhc_dot_panel_bytes(d, dhc_dot_vectors(d) * d->lanes));
  DhcLv four = dhc_lp_i64(b, 4), scratch = dhc_lp_scratch(b, DHC_F32, 0);
  if (!d->direct_a || d->across) {
    w.a_panel = dhc_lp_at(b, scratch, dhc_lp_udiv(b, dhc_lp_prog(b, bytes), four));
    bytes = dhc_prog_op(a, DHC_DIM_ADD, bytes, dhc_dot_panel_bytes(d, d->across ? A_GROUP : A_PITCH));
  }
  if (dhc_dot_in_parts(d)) {
    w.held = dhc_lp_at(b, scratch, dhc_lp_udiv(b, dhc_lp_prog(b, bytes), four));
    bytes = dhc_prog_op(a, DHC_DIM_ADD, bytes, dhc_prog_op(a, DHC_DIM_MUL, c->held, dhc_prog_const(a, held_elements(d) * 4)));
  }
  b->scratch_bytes = bytes;
  return w;
}

static void kernel(Dot *d) {
  DhcLp *b = d->b;
  int width = d->vectors * d->lanes;
  DhcDotCut c = dhc_dot_cut(d);
  Work w = scratch_of(d, &c);
  d->room = dhc_lp_prog(b, dhc_dot_room(d));
  if (d->across) d->far = dhc_lp_lt(b, dhc_lp_i64(b, 0), dhc_lp_prog(b, dhc_dot_far(d)));
  DhcLv n_chunks = dhc_lp_prog(b, c.chunks), n_per = dhc_lp_prog(b, c.per_outer), n_group = dhc_lp_prog(b, c.per_group);
  DhcLv rows_per = dhc_lp_mulc(b, dhc_lp_prog(b, c.per_chunk), d->rows), n_blocks = dhc_lp_prog(b, c.blocks);

  DhcLv task = dhc_lp_tasks(b, c.n_tasks);
  DhcLv within = dhc_lp_urem(b, task, n_per);
  DhcLv block = dhc_lp_mul(b, dhc_lp_udiv(b, within, n_chunks), n_group);
  w.col0 = dhc_lp_mulc(b, block, width);
  w.n_blocks = dhc_lp_min(b, n_group, dhc_lp_sub(b, n_blocks, block));
  DhcLv row_first = dhc_lp_mul(b, dhc_lp_urem(b, within, n_chunks), rows_per);
  DhcLv row_end = dhc_lp_min(b, d->M, dhc_lp_add(b, row_first, rows_per));
  DhcTplMark mark = dhc_tpl_push(&d->cx);
  DhcTplRows outer = dhc_tpl_rows(&d->cx, d->outer, dhc_lp_udiv(b, task, n_per));
  dhc_tpl_rows_bind(&d->cx, &outer);
  bool ragged = d->e >= 0, steps = ragged && d->cx.bound >> d->e & 1;
  if (steps) {
    d->k_from = dhc_lp_max(b, dhc_tpl_eval(&d->cx, d->lo), dhc_lp_i64(b, 0));
    d->k_to = dhc_lp_min(b, dhc_tpl_eval(&d->cx, d->hi), d->K);
  }
  if (ragged && !steps) rows_by_range(d, &w, row_first, row_end);
  else rows_of(d, &w, row_first, row_end);
  dhc_tpl_pop(&d->cx, &mark);
  dhc_lp_end(b);
}

void dhc_tpl_dot(const DhcTplInput *in, DhcLp *b) {
  Dot *d = DHC_NEW(b->arena, Dot);
  d->b = b;
  d->s = in->spec;
  dhc_tpl_init_packed(&d->cx, in, b);
  bool ragged = dhc_dot_find_ragged(d);
  if (!ragged) d->e = -1;
  if (!ragged && !dhc_dot_find_roles(d)) {
    dhc_tpl_row(in, b); /* no columns to tile: loops over the definition */
    return;
  }
  choose_tile(d);
  choose_access(d);
  d->bare = is_bare(d);
  if (!panels_fit(d)) {
    dhc_tpl_refuse_packed(&d->cx);
    return;
  }
  d->N = d->cx.extent[d->n];
  d->M = d->m >= 0 ? d->cx.extent[d->m] : dhc_lp_i64(b, 1);
  d->K = d->k_to = dhc_tpl_count(&d->cx, d->red);
  d->k_from = dhc_lp_i64(b, 0);
  d->n_rows = d->M;
  kernel(d);
}
