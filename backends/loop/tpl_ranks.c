/* Template "ranks": how many elements of a row come before each (dhc_spec_ranks), as whole numbers, which no order of counting changes.
 *
 * A row at a time. Its elements become keys, integers in the same order, alike where the elements are: +0 and -0 are one, and so is what is
 * no number. A short row is counted pair by pair, a vector of keys against one key after the other: those of lower number come before
 * where they are no larger, the others where they are less. A long row is sorted by the four bytes of its keys, lowest first, each time
 * stable, so that alike ones stay in order; that needs both sides of the pairs to be the same, which their keys say (one tensor, read by
 * two operands). Where work must not hang on values all rows are counted.
 *
 * Schedule: v[1] unused; v[2], v[3] unused. */
#include "backends/loop/tpl.h"

enum { LANES = 32, SORTED_FROM = 512, BYTES = 4, VALUES = 256 };

typedef struct Ranks {
  DhcTplCx cx;
  DhcLp *b;
  DhcSpecRanks r;
  DhcLv x, y;      /* keys of the one side and of the other, whose ranks take their place */
  DhcLv key, from; /* [2]: keys in part sorted, and where they were */
  DhcLv counts;    /* of each byte's values */
  DhcLv room;      /* of each of these arrays */
} Ranks;

static DhcLv i32(DhcLp *b, int64_t v) { return dhc_lp_int(b, DHC_I32, v); }
static DhcLv ew2(DhcLp *b, DhcOp op, DhcLv x, DhcLv y) { return dhc_lp_ew2(b, op, x, y); }

/* Keys of node n along its axis, whole vectors of them; those behind the last are anything. */
static void make_keys(Ranks *k, int n, int axis, DhcLv to) {
  DhcLp *b = k->b;
  DhcLv i = dhc_lp_for_rounds(b, dhc_lp_i64(b, 0), k->cx.extent[axis], DHC_TPL_LANES, 1);
  DhcTplMark mark = dhc_tpl_push(&k->cx);
  dhc_tpl_bind_vector(&k->cx, axis, i, DHC_TPL_LANES, dhc_lp_tail(b, i, k->cx.extent[axis], DHC_TPL_LANES));
  DhcLv v = dhc_lp_splat(b, dhc_tpl_eval(&k->cx, n), DHC_TPL_LANES), bits = dhc_lp_bitcast(b, v, DHC_I32), zero = i32(b, 0);
  bits = dhc_lp_select(b, dhc_lp_eq(b, v, dhc_lp_float(b, DHC_F32, 0)), dhc_lp_splat(b, zero, DHC_TPL_LANES), bits);
  bits = dhc_lp_select(b, dhc_lp_lt(b, bits, zero), ew2(b, DHC_OP_XOR, bits, i32(b, INT32_MAX)), bits);
  bits = dhc_lp_select(b, ew2(b, DHC_OP_NE, v, v), dhc_lp_splat(b, i32(b, INT32_MAX), DHC_TPL_LANES), bits);
  if (k->r.falling) bits = dhc_lp_ew1(b, DHC_OP_NOT, bits);
  dhc_lp_store(b, to, i, bits, 0);
  dhc_tpl_pop(&k->cx, &mark);
  dhc_lp_end(b);
}

/* ---- pair by pair ------------------------------------------------------------------------------ */

static void count(Ranks *k, DhcLpVar sum, DhcLv from, DhcLv to, DhcLv keys, DhcOp op, DhcLv number) {
  DhcLp *b = k->b;
  DhcLv j = dhc_lp_for_rounds(b, from, to, 1, 4), x = dhc_lp_splat(b, dhc_lp_load(b, k->x, j, 1, 0), LANES);
  DhcLv before = ew2(b, op, x, keys);
  if (number) before = dhc_lp_or(b, before, dhc_lp_and(b, dhc_lp_eq(b, x, keys), dhc_lp_lt(b, dhc_lp_cast(b, j, DHC_I32), number)));
  dhc_lp_set(b, sum, dhc_lp_add(b, dhc_lp_get(b, sum), dhc_lp_select(b, before, dhc_lp_splat(b, i32(b, 1), LANES), i32(b, 0))));
  dhc_lp_end(b);
}

static void count_pairs(Ranks *k) {
  DhcLp *b = k->b;
  DhcLv n = k->cx.extent[k->r.other];
  DhcLv i = dhc_lp_for_rounds(b, dhc_lp_i64(b, 0), k->cx.extent[k->r.mine], LANES, 1);
  DhcLv keys = dhc_lp_load(b, k->y, i, LANES, 0), first = dhc_lp_min(b, i, n), last = dhc_lp_min(b, dhc_lp_addc(b, i, LANES), n);
  DhcLv number = dhc_lp_add(b, dhc_lp_iota(b, DHC_I32, LANES), dhc_lp_cast(b, i, DHC_I32));
  DhcLpVar sum = dhc_lp_var(b, dhc_lp_zero(b, DHC_I32, LANES));
  count(k, sum, dhc_lp_i64(b, 0), first, keys, DHC_OP_LE, NULL);
  count(k, sum, first, last, keys, DHC_OP_LT, number);
  count(k, sum, last, n, keys, DHC_OP_LT, NULL);
  dhc_lp_store(b, k->y, i, dhc_lp_get(b, sum), 0);
  dhc_lp_end(b);
}

/* ---- byte by byte -------------------------------------------------------------------------------- */

/* Where the count of key's byte number `byte` is. */
static DhcLv cell(Ranks *k, DhcLv key, int byte) {
  DhcLp *b = k->b;
  DhcLv u = ew2(b, DHC_OP_AND, ew2(b, DHC_OP_SHR, key, dhc_lp_int(b, DHC_U32, 8 * byte)), dhc_lp_int(b, DHC_U32, VALUES - 1));
  if (byte == BYTES - 1) u = ew2(b, DHC_OP_XOR, u, dhc_lp_int(b, DHC_U32, VALUES / 2)); /* its sign */
  return dhc_lp_addc(b, dhc_lp_cast(b, u, DHC_I64), byte * VALUES);
}

static DhcLv key_at(Ranks *k, DhcLv keys, DhcLv i) { return dhc_lp_bitcast(k->b, dhc_lp_load(k->b, keys, i, 1, 0), DHC_U32); }

static void count_bytes(Ranks *k, DhcLv n) {
  DhcLp *b = k->b;
  DhcLv none = dhc_lp_i64(b, 0);
  DhcLpVar so_far[BYTES];
  DhcLv i = dhc_lp_for_rounds(b, none, dhc_lp_i64(b, BYTES * VALUES), DHC_TPL_LANES, 1);
  dhc_lp_store(b, k->counts, i, dhc_lp_zero(b, DHC_I32, DHC_TPL_LANES), 0);
  dhc_lp_end(b);
  i = dhc_lp_for_rounds(b, none, n, 1, 1);
  DhcLv key = key_at(k, k->x, i);
  for (int d = 0; d < BYTES; d++) {
    DhcLv c = cell(k, key, d);
    dhc_lp_store(b, k->counts, c, dhc_lp_add(b, dhc_lp_load(b, k->counts, c, 1, 0), i32(b, 1)), 0);
  }
  dhc_lp_end(b);
  for (int d = 0; d < BYTES; d++) so_far[d] = dhc_lp_var(b, i32(b, 0));
  i = dhc_lp_for_rounds(b, none, dhc_lp_i64(b, VALUES), 1, 1);
  for (int d = 0; d < BYTES; d++) {
    DhcLv c = dhc_lp_addc(b, i, d * VALUES), here = dhc_lp_load(b, k->counts, c, 1, 0), first = dhc_lp_get(b, so_far[d]);
    dhc_lp_store(b, k->counts, c, first, 0);
    dhc_lp_set(b, so_far[d], dhc_lp_add(b, first, here));
  }
  dhc_lp_end(b);
}

/* Keys in the order of their bytes up to number `byte`; where the last one puts a key is its rank. */
static void by_byte(Ranks *k, DhcLv n, int byte) {
  DhcLp *b = k->b;
  DhcLv odd = dhc_lp_mulc(b, k->room, (byte + 1) % 2), even = dhc_lp_mulc(b, k->room, byte % 2);
  DhcLv i = dhc_lp_for_rounds(b, dhc_lp_i64(b, 0), n, 1, 1);
  DhcLv key = key_at(k, byte ? dhc_lp_at(b, k->key, odd) : k->x, i);
  DhcLv place = byte ? dhc_lp_load(b, dhc_lp_at(b, k->from, odd), i, 1, 0) : dhc_lp_cast(b, i, DHC_I32);
  DhcLv c = cell(k, key, byte), to = dhc_lp_load(b, k->counts, c, 1, 0), to64 = dhc_lp_cast(b, to, DHC_I64);
  dhc_lp_store(b, k->counts, c, dhc_lp_add(b, to, i32(b, 1)), 0);
  if (byte == BYTES - 1) {
    dhc_lp_store(b, k->y, dhc_lp_cast(b, place, DHC_I64), to, 0);
  } else {
    dhc_lp_store(b, dhc_lp_at(b, k->key, even), to64, dhc_lp_bitcast(b, key, DHC_I32), 0);
    dhc_lp_store(b, dhc_lp_at(b, k->from, even), to64, place, 0);
  }
  dhc_lp_end(b);
}

/* Do the first n keys of both sides differ anywhere? */
static DhcLv differ(Ranks *k, DhcLv n) {
  DhcLp *b = k->b;
  DhcLpVar any = dhc_lp_var(b, dhc_lp_zero(b, DHC_I32, DHC_TPL_LANES));
  DhcLv i = dhc_lp_for_rounds(b, dhc_lp_i64(b, 0), n, DHC_TPL_LANES, 1), on = dhc_lp_tail(b, i, n, DHC_TPL_LANES);
  DhcLv apart = ew2(b, DHC_OP_XOR, dhc_lp_mload(b, k->x, i, DHC_TPL_LANES, on), dhc_lp_mload(b, k->y, i, DHC_TPL_LANES, on));
  dhc_lp_set(b, any, dhc_lp_or(b, dhc_lp_get(b, any), apart));
  dhc_lp_end(b);
  return ew2(b, DHC_OP_NE, dhc_lp_fold(b, DHC_OP_OR, dhc_lp_get(b, any)), i32(b, 0));
}

static void rank(Ranks *k) {
  DhcLp *b = k->b;
  DhcLv n = k->cx.extent[k->r.other];
  if (k->cx.in->facts->bounded) {
    count_pairs(k);
    return;
  }
  DhcLv is_long = dhc_lp_and(b, dhc_lp_ge(b, n, dhc_lp_i64(b, SORTED_FROM)), dhc_lp_eq(b, n, k->cx.extent[k->r.mine]));
  DhcLv apart = differ(k, dhc_lp_select(b, is_long, n, dhc_lp_i64(b, 0)));
  dhc_lp_if(b, dhc_lp_and(b, is_long, ew2(b, DHC_OP_EQ, apart, dhc_lp_int(b, DHC_BOOL, 0))));
  count_bytes(k, n);
  for (int d = 0; d < BYTES; d++) by_byte(k, n, d);
  dhc_lp_else(b);
  count_pairs(k);
  dhc_lp_end(b);
}

/* ---- the kernel ------------------------------------------------------------------------------------ */

static void store_ranks(Ranks *k) {
  DhcLp *b = k->b;
  int axis = k->r.mine;
  DhcLv i = dhc_lp_for_rounds(b, dhc_lp_i64(b, 0), k->cx.extent[axis], DHC_TPL_LANES, 1);
  DhcTplMark mark = dhc_tpl_push(&k->cx);
  dhc_tpl_bind_vector(&k->cx, axis, i, DHC_TPL_LANES, dhc_lp_tail(b, i, k->cx.extent[axis], DHC_TPL_LANES));
  dhc_tpl_set(&k->cx, k->r.fold, dhc_lp_load(b, k->y, i, DHC_TPL_LANES, 0));
  dhc_tpl_store_all(&k->cx);
  dhc_tpl_pop(&k->cx, &mark);
  dhc_lp_end(b);
}

static void place_arrays(Ranks *k) {
  DhcLp *b = k->b;
  DhcArena *a = b->arena;
  dhc_dimprog most = dhc_prog_op(a, DHC_DIM_MAX, dhc_tpl_extent_prog(&k->cx, k->r.other), dhc_tpl_extent_prog(&k->cx, k->r.mine));
  dhc_dimprog room = dhc_prog_op(a, DHC_DIM_MUL, dhc_prog_op(a, DHC_DIM_CEILDIV, most, dhc_prog_const(a, LANES)), dhc_prog_const(a, LANES));
  int arrays = k->cx.in->facts->bounded ? 2 : 6;
  DhcLv all = dhc_lp_scratch(b, DHC_I32, (int64_t)BYTES * VALUES * 4);
  k->room = dhc_lp_prog(b, room);
  k->counts = dhc_lp_scratch(b, DHC_I32, 0);
  k->x = all;
  k->y = dhc_lp_at(b, all, k->room);
  k->key = dhc_lp_at(b, all, dhc_lp_mulc(b, k->room, 2));
  k->from = dhc_lp_at(b, all, dhc_lp_mulc(b, k->room, 4));
  b->scratch_bytes = dhc_prog_op(a, DHC_DIM_ADD, dhc_prog_op(a, DHC_DIM_MUL, room, dhc_prog_const(a, 4 * arrays)), dhc_prog_const(a, BYTES * VALUES * 4));
}

void dhc_tpl_ranks(const DhcTplInput *in, DhcLp *b) {
  Ranks *k = DHC_NEW(b->arena, Ranks);
  k->b = b;
  dhc_tpl_init(&k->cx, in, b);
  if (!dhc_spec_ranks(in->spec, &k->r)) dhc_lp_refuse(b, "no ranks");
  if (b->refused) return;
  uint32_t rows = dhc_spec_axes(in->spec, DHC_AXIS_PAR) & ~(1u << k->r.mine);
  place_arrays(k);
  DhcLv row = dhc_lp_tasks(b, dhc_tpl_count_prog(&k->cx, rows));
  DhcTplMark mark = dhc_tpl_push(&k->cx);
  dhc_tpl_bind_flat(&k->cx, rows, row);
  make_keys(k, k->r.x, k->r.other, k->x);
  make_keys(k, k->r.y, k->r.mine, k->y);
  rank(k);
  store_ranks(k);
  dhc_tpl_pop(&k->cx, &mark);
  dhc_lp_end(b);
}
