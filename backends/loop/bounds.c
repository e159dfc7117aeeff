/* Programs that check where they read and write (--check-bounds).
 *
 * Beside every pointer go three numbers: bytes that may be used below it and from it on, and what it points into. Every
 * load, store, gather and scatter asks first, lane by lane where it has a mask; what lies outside is not done (a load
 * gives 0) but reported, and the caller looks when the call is over. Limits come in memory, ptr[n_ptrs + 1]:
 *
 *   for each operand, the shared memory (number n_ptrs) and the scratch (n_ptrs + 1): bytes below, bytes from it on
 *   report: 1 + the number of what was left (n_ptrs + 2: a stack array), and where in it the access begins, in bytes
 *
 * Prefetches never fault and are no accesses. */
#include "backends/loop/loop.h"

typedef struct Room {
  DhcLv below, above, where; /* NULL: no pointer */
} Room;

typedef struct RoomVar {
  DhcLpVar below, above, where;
} RoomVar;

typedef struct Checker {
  const DhcLp *p;
  DhcLp *b;
  DhcLv *value;   /* by id of the program: what stands for it */
  Room *room;     /* likewise, of pointers */
  DhcLpVar *var;  /* by number */
  RoomVar *rooms; /* likewise, of pointers */
  DhcLv limits;
} Checker;

static DhcLv copy(Checker *c, const DhcLpInst *x) {
  DhcLpInst *n = DHC_NEW(c->b->arena, DhcLpInst);
  *n = *x;
  n->id = c->b->code.n;
  for (int k = 0; k < 4; k++)
    if (x->a[k]) n->a[k] = c->value[x->a[k]->id];
  DHC_PUSH(c->b->arena, &c->b->code, n);
  return n;
}

static DhcLv limit(Checker *c, int i) { return dhc_lp_load(c->b, c->limits, dhc_lp_i64(c->b, i), 1, 0); }

static DhcLv bytes(Checker *c, DhcLv elements, dhc_dtype t) { return dhc_lp_mulc(c->b, elements, dhc_dtype_bytes(t)); }

static Room room_of(Checker *c, const DhcLpInst *x) {
  DhcLp *b = c->b;
  int i = (int)x->i, scratch = c->p->n_ptrs + 1;
  switch ((int)x->kind) {
  case DHC_LP_OPERAND: return (Room){limit(c, 2 * i), limit(c, 2 * i + 1), dhc_lp_i64(b, i)};
  case DHC_LP_SCRATCH:
    return (Room){dhc_lp_i64(b, i), dhc_lp_addc(b, limit(c, 2 * scratch + 1), -i), dhc_lp_i64(b, scratch)};
  case DHC_LP_LOCAL: return (Room){dhc_lp_i64(b, 0), dhc_lp_i64(b, x->i * dhc_dtype_bytes(x->type.dtype)), dhc_lp_i64(b, scratch + 1)};
  case DHC_LP_AT: {
    Room r = c->room[x->a[0]->id];
    DhcLv by = bytes(c, c->value[x->a[1]->id], x->type.dtype);
    return (Room){dhc_lp_add(b, r.below, by), dhc_lp_sub(b, r.above, by), r.where};
  }
  case DHC_LP_GET: {
    RoomVar v = c->rooms[x->i];
    return (Room){dhc_lp_get(b, v.below), dhc_lp_get(b, v.above), dhc_lp_get(b, v.where)};
  }
  default: DHC_BUG("a pointer of statement kind %d", (int)x->kind);
  }
}

/* Scalar: nothing of what x reads or writes lies outside. *first: its first byte. */
static DhcLv inside(Checker *c, const DhcLpInst *x, int lanes, DhcLv mask, DhcLv *first) {
  DhcLp *b = c->b;
  Room r = c->room[x->a[0]->id];
  int each = dhc_dtype_bytes(x->a[0]->type.dtype);
  DhcLv index = c->value[x->a[1]->id], zero = dhc_lp_i64(b, 0);
  bool apart = index->type.lanes > 1;
  *first = bytes(c, apart ? dhc_lp_extract(b, index, 0) : index, x->a[0]->type.dtype);
  if (!apart && !mask) {
    DhcLv low = dhc_lp_ge(b, dhc_lp_add(b, r.below, *first), zero);
    return dhc_lp_and(b, low, dhc_lp_le(b, dhc_lp_addc(b, *first, (int64_t)each * lanes), r.above));
  }
  if (!apart) index = dhc_lp_add(b, dhc_lp_iota(b, DHC_I64, lanes), index);
  DhcLv at = dhc_lp_mul(b, index, dhc_lp_i64(b, each));
  DhcLv out = dhc_lp_or(b, dhc_lp_lt(b, dhc_lp_add(b, at, r.below), zero), dhc_lp_lt(b, dhc_lp_sub(b, r.above, dhc_lp_i64(b, each)), at));
  if (mask) out = dhc_lp_and(b, out, mask);
  DhcLv one = dhc_lp_splat(b, dhc_lp_int(b, DHC_I32, 1), lanes);
  DhcLv any = dhc_lp_fold(b, DHC_OP_OR, dhc_lp_select(b, out, one, dhc_lp_zero(b, DHC_I32, lanes)));
  return dhc_lp_eq(b, any, dhc_lp_int(b, DHC_I32, 0));
}

static void report(Checker *c, const DhcLpInst *x, DhcLv first) {
  DhcLp *b = c->b;
  Room r = c->room[x->a[0]->id];
  int to = 2 * (c->p->n_ptrs + 2);
  dhc_lp_store(b, c->limits, dhc_lp_i64(b, to + 1), dhc_lp_add(b, first, r.below), 0);
  dhc_lp_store(b, c->limits, dhc_lp_i64(b, to), dhc_lp_addc(b, r.where, 1), 0);
}

static void access(Checker *c, const DhcLpInst *x) {
  DhcLp *b = c->b;
  bool load = x->kind == DHC_LP_LOAD || x->kind == DHC_LP_GATHER;
  int lanes = load ? x->type.lanes : x->a[2]->type.lanes;
  DhcLv mask = x->a[load ? 2 : 3] ? c->value[x->a[load ? 2 : 3]->id] : NULL, first;
  DhcLpVar v = {0};
  if (load) v = dhc_lp_var(b, dhc_lp_zero(b, x->type.dtype, lanes));
  dhc_lp_if(b, inside(c, x, lanes, mask, &first));
  DhcLv done = copy(c, x);
  if (load) dhc_lp_set(b, v, done);
  dhc_lp_else(b);
  report(c, x, first);
  dhc_lp_end(b);
  if (load) c->value[x->id] = dhc_lp_get(b, v);
}

static void declare(Checker *c, const DhcLpInst *x) {
  DhcLp *b = c->b;
  c->var[x->i] = dhc_lp_var(b, c->value[x->a[0]->id]);
  if (!x->type.ptr) return;
  Room r = c->room[x->a[0]->id];
  c->rooms[x->i] = (RoomVar){dhc_lp_var(b, r.below), dhc_lp_var(b, r.above), dhc_lp_var(b, r.where)};
}

static void assign(Checker *c, const DhcLpInst *x) {
  DhcLp *b = c->b;
  dhc_lp_set(b, c->var[x->i], c->value[x->a[0]->id]);
  if (!x->a[0]->type.ptr) return;
  Room r = c->room[x->a[0]->id];
  RoomVar v = c->rooms[x->i];
  dhc_lp_set(b, v.below, r.below);
  dhc_lp_set(b, v.above, r.above);
  dhc_lp_set(b, v.where, r.where);
}

static void statement(Checker *c, const DhcLpInst *x) {
  DhcLp *b = c->b;
  switch ((int)x->kind) {
  case DHC_LP_TASKS: c->value[x->id] = dhc_lp_tasks(b, c->p->n_tasks); break;
  case DHC_LP_FOR: c->value[x->id] = dhc_lp_for(b, c->value[x->a[0]->id], c->value[x->a[1]->id], x->i); break;
  case DHC_LP_IF: dhc_lp_if(b, c->value[x->a[0]->id]); break;
  case DHC_LP_ELSE: dhc_lp_else(b); break;
  case DHC_LP_END: dhc_lp_end(b); break;
  case DHC_LP_VAR: declare(c, x); break;
  case DHC_LP_SET: assign(c, x); break;
  case DHC_LP_GET: c->value[x->id] = dhc_lp_get(b, c->var[x->i]); break;
  case DHC_LP_LOAD:
  case DHC_LP_GATHER:
  case DHC_LP_STORE:
  case DHC_LP_ADD_TO:
  case DHC_LP_SCATTER: access(c, x); return;
  default: c->value[x->id] = copy(c, x);
  }
  bool value = x->kind <= DHC_LP_AT || x->kind == DHC_LP_GET;
  if (value && x->type.ptr) c->room[x->id] = room_of(c, x);
}

DhcLp *dhc_lp_checked(const DhcLp *p, DhcArena *arena) {
  DhcLp *b = dhc_lp_new(arena, p->n_ptrs, p->n_dims);
  if (p->threads) DHC_BUG("limits in blocks of threads");
  b->first_tasks = p->first_tasks;
  b->scratch_bytes = p->scratch_bytes;
  b->shared_bytes = p->shared_bytes;
  b->checked = true;
  Checker c = {.p = p, .b = b};
  c.value = DHC_NEW_N(arena, DhcLv, p->code.n + 1);
  c.room = DHC_NEW_N(arena, Room, p->code.n + 1);
  c.var = DHC_NEW_N(arena, DhcLpVar, p->vars.n + 1);
  c.rooms = DHC_NEW_N(arena, RoomVar, p->vars.n + 1);
  c.limits = dhc_lp_limits(b);
  for (int i = 0; i < p->code.n; i++) statement(&c, p->code.at[i]);
  const char *wrong;
  if (!dhc_lp_verify(b, arena, &wrong)) DHC_BUG("a checked program: %s", wrong);
  return b;
}
