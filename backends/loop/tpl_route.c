/* Template "route" (GPUs): rows handed out to few places (ir/spec_route.c). A thread has rows that follow each other: it
 * ranks the places of each by comparing all pairs in registers, writes down which are chosen, and counts them by place in
 * its column of a table in block memory. With the sums over the columns before its own it then knows where each of its
 * choices goes. Whole numbers: the order of the sums does not show.
 *
 * Few rows are one block's. Many are cut into as many blocks as have one row a thread, in two phases: what a block has of
 * each place lies in the shared memory, and every block adds what those before it have.
 *
 * Schedule: v[1] threads of a block, v[2] 1: in two phases. */
#include "backends/loop/tpl.h"

enum { MOST_PLACES = 16 };
enum { VALUES = 0, CHOSEN_VALUE = 4, CHOSEN_PLACE, ROW_OF_SLOT, SLOT, FIRST, N_OPERANDS };
enum { ROWS_ARG = 0, ROW_STRIDE_ARG = 2 };

typedef struct Routes {
  const DhcSpec *s;
  DhcLp *b;
  int places, chosen, threads;
  bool shares;
  DhcLv n_rows, tid, table, totals; /* counts by place and thread; then what a block has in all of each place */
  DhcLv first, end;                 /* the thread's rows */
} Routes;

static DhcLv out(Routes *r, int operand) { return dhc_lp_operand(r->b, operand, r->s->operand[operand].dtype); }
/* Argument number of a choice's operand's stride along the rows. */
static DhcLv choice_at(Routes *r, int operand, DhcLv row, int c) {
  return dhc_lp_addc(r->b, dhc_lp_mul(r->b, row, dhc_lp_dim(r->b, dhc_spec_stride_arg(r->s, operand, 0))), c);
}
static DhcLv cell(Routes *r, DhcLv place) { return dhc_lp_add(r->b, dhc_lp_mulc(r->b, place, r->threads), r->tid); }
static DhcLv cell_of(Routes *r, int place) { return cell(r, dhc_lp_i64(r->b, place)); }
static DhcLv whole(DhcLp *b, int64_t v) { return dhc_lp_int(b, DHC_I32, v); }

/* Ranks of a row's places: how many come before each. Of two one comes first: the larger, or the one that is no number; alike
 * ones in order. */
static void rank_places(Routes *r, const DhcLv *x, DhcLv *rank) {
  DhcLp *b = r->b;
  DhcLv none[MOST_PLACES];
  for (int i = 0; i < r->places; i++) {
    none[i] = dhc_lp_ew2(b, DHC_OP_NE, x[i], x[i]);
    rank[i] = whole(b, 0);
  }
  for (int i = 0; i < r->places; i++)
    for (int j = i + 1; j < r->places; j++) {
      DhcLv nan = dhc_lp_and(b, none[j], dhc_lp_eq(b, x[i], x[i]));
      DhcLv over = dhc_lp_select(b, dhc_lp_or(b, dhc_lp_ew2(b, DHC_OP_GT, x[j], x[i]), nan), whole(b, 1), whole(b, 0));
      rank[i] = dhc_lp_add(b, rank[i], over);
      rank[j] = dhc_lp_sub(b, dhc_lp_add(b, rank[j], whole(b, 1)), over);
    }
}

/* Of each value its exponential's share of all; added as a sum of so few is. */
static void share(Routes *r, DhcLv *x) {
  DhcLp *b = r->b;
  DhcLv most = x[0], sum[DHC_SUM_PARTIALS];
  for (int i = 1; i < r->places; i++) most = dhc_lp_max(b, most, x[i]);
  for (int i = 0; i < r->places; i++) x[i] = dhc_lp_ew1(b, DHC_OP_EXP, dhc_lp_sub(b, x[i], most));
  for (int i = 0; i < DHC_SUM_PARTIALS; i++) sum[i] = i < r->places ? x[i] : dhc_lp_float(b, DHC_F32, 0.0);
  for (int half = DHC_SUM_PARTIALS / 2; half > 0; half /= 2)
    for (int i = 0; i < half; i++) sum[i] = dhc_lp_add(b, sum[i], sum[i + half]);
  for (int i = 0; i < r->places; i++) x[i] = dhc_lp_ew2(b, DHC_OP_DIV, x[i], sum[0]);
}

/* A row's choices, written down and counted. */
static void choose(Routes *r, DhcLv row) {
  DhcLp *b = r->b;
  DhcLv x[MOST_PLACES], rank[MOST_PLACES], values = dhc_lp_operand(b, VALUES, DHC_F32);
  DhcLv at = dhc_lp_mul(b, row, dhc_lp_dim(b, ROW_STRIDE_ARG));
  for (int i = 0; i < r->places; i++) x[i] = dhc_lp_load(b, values, dhc_lp_addc(b, at, i), 1, 0);
  if (r->shares) share(r, x);
  rank_places(r, x, rank);
  for (int c = 0; c < r->chosen; c++) {
    DhcLv value = x[0], place = whole(b, 0);
    for (int i = 1; i < r->places; i++) {
      DhcLv hit = dhc_lp_eq(b, rank[i], whole(b, c));
      value = dhc_lp_select(b, hit, x[i], value);
      place = dhc_lp_select(b, hit, whole(b, i), place);
    }
    dhc_lp_store(b, out(r, CHOSEN_VALUE), choice_at(r, CHOSEN_VALUE, row, c), value, 0);
    dhc_lp_store(b, out(r, CHOSEN_PLACE), choice_at(r, CHOSEN_PLACE, row, c), place, 0);
    DhcLv to = cell(r, dhc_lp_cast(b, place, DHC_I64));
    dhc_lp_store(b, r->table, to, dhc_lp_add(b, dhc_lp_load(b, r->table, to, 1, 0), whole(b, 1)), 0);
  }
}

/* The same of what is written down already. */
static void count_again(Routes *r, DhcLv row) {
  DhcLp *b = r->b;
  for (int c = 0; c < r->chosen; c++) {
    DhcLv place = dhc_lp_load(b, out(r, CHOSEN_PLACE), choice_at(r, CHOSEN_PLACE, row, c), 1, 0);
    DhcLv to = cell(r, dhc_lp_cast(b, place, DHC_I64));
    dhc_lp_store(b, r->table, to, dhc_lp_add(b, dhc_lp_load(b, r->table, to, 1, 0), whole(b, 1)), 0);
  }
}

static void each_row(Routes *r, void (*with)(Routes *r, DhcLv row)) {
  DhcLp *b = r->b;
  for (int p = 0; p < r->places; p++) dhc_lp_store(b, r->table, cell_of(r, p), whole(b, 0), 0);
  DhcLv row = dhc_lp_for_rounds(b, r->first, r->end, 1, 1);
  with(r, row);
  dhc_lp_end(b);
}

/* What a thread has becomes what it and those before it have; then what those before it have, and the block in all. */
static void add_columns(Routes *r, DhcLv n_threads) {
  DhcLp *b = r->b;
  DhcLv own[MOST_PLACES], sum[MOST_PLACES], all[MOST_PLACES];
  DhcLpVar so_far[MOST_PLACES];
  for (int p = 0; p < r->places; p++) {
    own[p] = dhc_lp_load(b, r->table, cell_of(r, p), 1, 0);
    so_far[p] = dhc_lp_var(b, own[p]);
  }
  for (int apart = 1; apart < r->threads; apart *= 2) {
    dhc_lp_if(b, dhc_lp_lt(b, dhc_lp_i64(b, apart), n_threads));
    dhc_lp_barrier(b);
    DhcLv reached = dhc_lp_ge(b, r->tid, dhc_lp_i64(b, apart)), back = dhc_lp_i64(b, -apart);
    for (int p = 0; p < r->places; p++) {
      DhcLv from = dhc_lp_select(b, reached, dhc_lp_add(b, cell_of(r, p), back), cell_of(r, p));
      DhcLv other = dhc_lp_load(b, r->table, from, 1, 0);
      sum[p] = dhc_lp_add(b, dhc_lp_get(b, so_far[p]), dhc_lp_select(b, reached, other, whole(b, 0)));
    }
    dhc_lp_barrier(b);
    for (int p = 0; p < r->places; p++) {
      dhc_lp_store(b, r->table, cell_of(r, p), sum[p], 0);
      dhc_lp_set(b, so_far[p], sum[p]);
    }
    dhc_lp_end(b);
  }
  dhc_lp_barrier(b);
  DhcLv last = dhc_lp_addc(b, dhc_lp_min(b, n_threads, dhc_lp_i64(b, r->threads)), -1);
  for (int p = 0; p < r->places; p++) all[p] = dhc_lp_load(b, r->table, dhc_lp_add(b, last, dhc_lp_i64(b, (int64_t)p * r->threads)), 1, 0);
  dhc_lp_barrier(b);
  for (int p = 0; p < r->places; p++) dhc_lp_store(b, r->table, cell_of(r, p), dhc_lp_sub(b, dhc_lp_get(b, so_far[p]), own[p]), 0);
  dhc_lp_if(b, dhc_lp_eq(b, r->tid, dhc_lp_i64(b, 0)));
  for (int p = 0; p < r->places; p++) dhc_lp_store(b, r->totals, dhc_lp_i64(b, p), all[p], 0);
  dhc_lp_end(b);
}

/* Where the thread's choices go: its cells become the next slot of each place; before[p]: choices of p in blocks before. */
static void place_rows(Routes *r, const DhcLv *before, const DhcLv *all, DhcLv block) {
  DhcLp *b = r->b;
  DhcLv first[MOST_PLACES + 1], none = dhc_lp_i64(b, 0);
  first[0] = whole(b, 0);
  for (int p = 0; p < r->places; p++) {
    DhcLv to = cell_of(r, p), base = before ? dhc_lp_add(b, first[p], before[p]) : first[p];
    dhc_lp_store(b, r->table, to, dhc_lp_add(b, dhc_lp_load(b, r->table, to, 1, 0), base), 0);
    first[p + 1] = dhc_lp_add(b, first[p], all[p]);
  }
  dhc_lp_if(b, dhc_lp_and(b, dhc_lp_eq(b, r->tid, none), dhc_lp_eq(b, block, none)));
  for (int p = 0; p <= r->places; p++) dhc_lp_store(b, out(r, FIRST), dhc_lp_i64(b, p), first[p], 0);
  dhc_lp_end(b);
  DhcLv row = dhc_lp_for_rounds(b, r->first, r->end, 1, 1);
  for (int c = 0; c < r->chosen; c++) {
    DhcLv place = dhc_lp_load(b, out(r, CHOSEN_PLACE), choice_at(r, CHOSEN_PLACE, row, c), 1, 0);
    DhcLv at = cell(r, dhc_lp_cast(b, place, DHC_I64)), slot = dhc_lp_load(b, r->table, at, 1, 0);
    dhc_lp_store(b, r->table, at, dhc_lp_add(b, slot, whole(b, 1)), 0);
    dhc_lp_store(b, out(r, SLOT), choice_at(r, SLOT, row, c), slot, 0);
    dhc_lp_store(b, out(r, ROW_OF_SLOT), dhc_lp_cast(b, slot, DHC_I64), dhc_lp_cast(b, row, DHC_I32), 0);
  }
  dhc_lp_end(b);
}

static void one_block(Routes *r) {
  DhcLp *b = r->b;
  DhcLv none = dhc_lp_tasks(b, dhc_prog_const(b->arena, 1)), all[MOST_PLACES];
  r->tid = dhc_lp_thread(b);
  DhcLv each = dhc_lp_ceildivc(b, r->n_rows, r->threads);
  r->first = dhc_lp_mul(b, r->tid, each);
  r->end = dhc_lp_min(b, r->n_rows, dhc_lp_add(b, r->first, each));
  each_row(r, choose);
  add_columns(r, dhc_lp_min(b, r->n_rows, dhc_lp_i64(b, r->threads))); /* threads beyond have none */
  dhc_lp_barrier(b);
  for (int p = 0; p < r->places; p++) all[p] = dhc_lp_load(b, r->totals, dhc_lp_i64(b, p), 1, 0);
  place_rows(r, NULL, all, none);
  dhc_lp_end(b);
}

/* Of each place, what the blocks before this one have of it, and all of them: thread p adds up place p. */
static void add_blocks(Routes *r, DhcLv block, DhcLv n_blocks, DhcLv *before, DhcLv *all) {
  DhcLp *b = r->b;
  DhcLv shared = dhc_lp_shared(b, DHC_I32);
  dhc_lp_if(b, dhc_lp_lt(b, r->tid, dhc_lp_i64(b, r->places)));
  DhcLpVar sum = dhc_lp_var(b, whole(b, 0)), mine = dhc_lp_var(b, whole(b, 0));
  DhcLv k = dhc_lp_for_rounds(b, dhc_lp_i64(b, 0), n_blocks, 1, 8);
  DhcLv one = dhc_lp_load(b, shared, dhc_lp_add(b, dhc_lp_mulc(b, k, r->places), r->tid), 1, 0);
  dhc_lp_set(b, mine, dhc_lp_add(b, dhc_lp_get(b, mine), dhc_lp_select(b, dhc_lp_lt(b, k, block), one, whole(b, 0))));
  dhc_lp_set(b, sum, dhc_lp_add(b, dhc_lp_get(b, sum), one));
  dhc_lp_end(b);
  dhc_lp_store(b, r->totals, dhc_lp_addc(b, r->tid, MOST_PLACES), dhc_lp_get(b, mine), 0);
  dhc_lp_store(b, r->totals, dhc_lp_addc(b, r->tid, 2 * MOST_PLACES), dhc_lp_get(b, sum), 0);
  dhc_lp_end(b);
  dhc_lp_barrier(b);
  for (int p = 0; p < r->places; p++) {
    before[p] = dhc_lp_load(b, r->totals, dhc_lp_i64(b, p + MOST_PLACES), 1, 0);
    all[p] = dhc_lp_load(b, r->totals, dhc_lp_i64(b, p + 2 * MOST_PLACES), 1, 0);
  }
}

static void two_phases(Routes *r) {
  DhcLp *b = r->b;
  DhcArena *a = b->arena;
  dhc_dimprog blocks = dhc_prog_op(a, DHC_DIM_CEILDIV, dhc_prog_dim(a, ROWS_ARG), dhc_prog_const(a, r->threads));
  DhcLv before[MOST_PLACES], all[MOST_PLACES];
  dhc_lp_share(b, dhc_prog_op(a, DHC_DIM_MUL, blocks, dhc_prog_const(a, (int64_t)4 * r->places)));
  DhcLv n_blocks = dhc_lp_prog(b, blocks), task = dhc_lp_phases(b, blocks, blocks);
  DhcLv is_first = dhc_lp_lt(b, task, n_blocks), block = dhc_lp_select(b, is_first, task, dhc_lp_sub(b, task, n_blocks));
  r->tid = dhc_lp_thread(b);
  r->first = dhc_lp_add(b, dhc_lp_mulc(b, block, r->threads), r->tid);
  r->end = dhc_lp_min(b, r->n_rows, dhc_lp_addc(b, r->first, 1));
  dhc_lp_if(b, is_first);
  each_row(r, choose);
  add_columns(r, dhc_lp_i64(b, r->threads));
  dhc_lp_barrier(b);
  dhc_lp_if(b, dhc_lp_lt(b, r->tid, dhc_lp_i64(b, r->places)));
  dhc_lp_store(b, dhc_lp_shared(b, DHC_I32), dhc_lp_add(b, dhc_lp_mulc(b, block, r->places), r->tid), dhc_lp_load(b, r->totals, r->tid, 1, 0), 0);
  dhc_lp_end(b);
  dhc_lp_else(b);
  each_row(r, count_again);
  add_columns(r, dhc_lp_i64(b, r->threads));
  add_blocks(r, block, n_blocks, before, all);
  place_rows(r, before, all, block);
  dhc_lp_end(b);
  dhc_lp_end(b);
}

void dhc_tpl_route(const DhcTplInput *in, DhcLp *b) {
  Routes r = {.s = in->spec, .b = b, .threads = in->schedule->v[1]};
  int64_t places = 0, chosen = 0;
  if (!dhc_spec_routes(in->spec, in->arena, &places, &chosen, &r.shares)) dhc_lp_refuse(b, "no spec of routing");
  else if (places > MOST_PLACES) dhc_lp_refuse(b, "many places");
  if (b->refused) return;
  r.places = (int)places;
  r.chosen = (int)chosen;
  int64_t table = (int64_t)4 * places * r.threads;
  dhc_lp_block(b, r.threads, table + (int64_t)4 * 3 * MOST_PLACES);
  r.n_rows = dhc_lp_dim(b, ROWS_ARG);
  r.table = dhc_lp_block_memory(b, DHC_I32, 0);
  r.totals = dhc_lp_block_memory(b, DHC_I32, table);
  if (in->schedule->v[2]) two_phases(&r);
  else one_block(&r);
}
