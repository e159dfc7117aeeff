/* Functions of the index, a piece of elements at a time: what fits in the nearest cache goes through
 * all ops before the next piece is begun. */
#include "ir/interp_internal.h"

/* How one wide value is made. Operands are steps before it. */
typedef struct Step {
  DhcOp op;
  dhc_dtype dtype, operand; /* of the result; of the last operand */
  int arg[3];
  int64_t key[3];   /* RANDOM_BITS: seed, site, step */
  DhcSplit split;   /* IOTA */
  DhcLane constant; /* FILL: DHC_PIECE times the same */
} Step;

struct DhcPieces {
  Step *steps; /* the last one is the result */
  int n_steps;
};

typedef struct Maker {
  DhcInterp in;
  DhcPieces *p;
  int64_t n; /* elements of a wide value: the result's */
  int *step; /* by value id: of a wide value; -1: it is narrow, and computed */
} Maker;

static DhcLane repeat(DhcArena *arena, const DhcArray *one) {
  const int64_t n = DHC_PIECE;
  DhcArray *a = dhc_array_new(arena, one->dtype, 1, &n);
  for (int64_t e = 0; e < n; e++) dhc_in_copy(a, e, one, 0);
  return (DhcLane){a->f, a->i};
}

static int add_step(Maker *k, const Step *s) {
  k->p->steps[k->p->n_steps] = *s;
  return k->p->n_steps++;
}

static bool all_wide(const Maker *k, const DhcNode *n) {
  for (int i = 0; i < n->n_args; i++)
    if (k->step[n->args[i]->id] < 0) return false;
  return true;
}

static bool all_narrow(const Maker *k, const DhcNode *n) {
  for (int i = 0; i < n->n_args; i++)
    if (k->step[n->args[i]->id] >= 0) return false;
  return true;
}

/* A scalar, repeated. */
static bool add_constant(Maker *k, const DhcNode *n, Step *s) {
  const DhcArray *x = dhc_in_arg(&k->in, n, 0);
  if (x->n != 1) return false;
  s->op = DHC_OP_FILL;
  s->constant = repeat(k->in.arena, x);
  return true;
}

static bool add_fill(Maker *k, const DhcNode *n, Step *s) {
  DhcArray *one = dhc_array_new(k->in.arena, s->dtype, 0, NULL);
  DhcScalar v = dhc_eval_cast(DHC_F64, s->dtype, (DhcScalar){.f = dhc_attr(n, "value")->f});
  if (one->f)
    one->f[0] = v.f;
  else
    one->i[0] = v.i;
  s->constant = repeat(k->in.arena, one);
  return true;
}

static bool add_random(Maker *k, const DhcNode *n, Step *s) {
  for (int i = 0; i < 3; i++) s->key[i] = dhc_in_arg(&k->in, n, i)->i[0];
  return true;
}

static bool add_iota(Maker *k, const DhcNode *n, Step *s) {
  DhcArray shape = {.rank = n->results[0]->type.rank};
  if (!dhc_interp_extents(&k->in, n, &n->results[0]->type, shape.dim)) return false;
  s->split = dhc_in_split(&shape, dhc_in_axis(n, shape.rank));
  return true;
}

/* The step of wide node n; false: it is none that can be made in pieces. */
static bool wide(Maker *k, const DhcNode *n, int *out) {
  const DhcOpInfo *info = dhc_op_info(n->op);
  Step s = {.op = n->op, .dtype = n->results[0]->type.dtype};
  bool ok = false;
  if (n->n_results != 1 || n->n_args > 3) return false;
  if ((n->op == DHC_OP_RESHAPE || n->op == DHC_OP_BROADCAST) && all_wide(k, n)) { /* as many elements: the same */
    *out = k->step[n->args[0]->id];
    return true;
  }
  if (n->op == DHC_OP_BROADCAST && all_narrow(k, n)) ok = add_constant(k, n, &s);
  else if (n->op == DHC_OP_FILL) ok = add_fill(k, n, &s);
  else if (n->op == DHC_OP_RANDOM_BITS && all_narrow(k, n)) ok = add_random(k, n, &s);
  else if (n->op == DHC_OP_IOTA) ok = add_iota(k, n, &s);
  else if (info->cls == DHC_CLASS_ELEMENTWISE && n->n_args && all_wide(k, n)) ok = true;
  if (!ok) return false;
  if (info->cls == DHC_CLASS_ELEMENTWISE) {
    for (int i = 0; i < n->n_args; i++) s.arg[i] = k->step[n->args[i]->id];
    s.operand = n->args[n->n_args - 1]->type.dtype;
  }
  *out = add_step(k, &s);
  return true;
}

static bool make(Maker *k, const DhcFunc *f, bool *fits) {
  for (const DhcNode *n = f->first; n && *fits; n = n->next) {
    int64_t dim[DHC_MAX_RANK], most = 0;
    if (n->op == DHC_OP_PARAM) continue;
    for (int r = 0; r < n->n_results; r++) {
      if (!dhc_interp_extents(&k->in, n, &n->results[r]->type, dim)) return false;
      int64_t e = dhc_in_product(dim, n->results[r]->type.rank);
      if (e > most) most = e;
    }
    if (most == k->n) {
      *fits = wide(k, n, &k->step[n->results[0]->id]);
    } else if (most > DHC_PIECE || !all_narrow(k, n) || !dhc_op_info(n->op)->interp) {
      *fits = false;
    } else if (!dhc_op_info(n->op)->interp(&k->in, n)) {
      return false;
    }
  }
  return true;
}

bool dhc_pieces_make(DhcArena *arena, DhcDiags *diags, const DhcFunc *f, const DhcArray *const *args, DhcPieces **out) {
  *out = NULL;
  if (f->symbols.n || f->results.n != 1 || f->facts.nonneg.n) return true;
  Maker k = {.in = {.arena = arena, .diags = diags, .func = f}};
  int64_t dim[DHC_MAX_RANK];
  const DhcType *t = &f->results.at[0]->type;
  if (!dhc_interp_extents(&k.in, f->results.at[0]->def, t, dim)) return false;
  k.n = dhc_in_product(dim, t->rank);
  if (k.n <= DHC_PIECE) return true;
  k.in.value = DHC_NEW_N(arena, DhcArray *, f->next_value_id + 1);
  k.in.updated = DHC_NEW_N(arena, DhcArray *, f->params.n + 1);
  k.step = DHC_NEW_N(arena, int, f->next_value_id + 1);
  for (int i = 0; i < f->next_value_id; i++) k.step[i] = -1;
  for (int i = 0; i < f->params.n; i++) {
    if (args[i]->n != 1) return true;
    k.in.value[f->params.at[i]->id] = (DhcArray *)(uintptr_t)args[i]; /* never written to */
  }
  k.p = DHC_NEW(arena, DhcPieces);
  k.p->steps = DHC_NEW_N(arena, Step, f->n_nodes + 1);
  bool fits = true;
  if (!make(&k, f, &fits)) return false;
  int last = k.step[f->results.at[0]->id];
  if (!fits || last < 0) return true;
  k.p->n_steps = last + 1; /* what follows the result serves nothing */
  *out = k.p;
  return true;
}

size_t dhc_pieces_room(const DhcPieces *p) {
  return (size_t)p->n_steps * DHC_PIECE * 8;
}

static void *place(void *room, int step) {
  return (char *)room + (size_t)step * DHC_PIECE * 8;
}

/* Where step i's elements are, or go. */
static DhcLaneOut lane(const DhcPieces *p, int i, void *room) {
  if (dhc_dtype_is_float(p->steps[i].dtype)) return (DhcLaneOut){.f = place(room, i)};
  return (DhcLaneOut){.i = place(room, i)};
}

static DhcLane operand(const DhcPieces *p, int i, void *room) {
  if (p->steps[i].op == DHC_OP_FILL) return p->steps[i].constant;
  DhcLaneOut y = lane(p, i, room);
  return (DhcLane){y.f, y.i};
}

static void count(const Step *s, int64_t first, DhcLaneOut y) {
  for (int64_t e = 0; e < DHC_PIECE; e++) {
    DhcScalar v = dhc_eval_cast(DHC_I64, s->dtype, (DhcScalar){.i = (first + e) / s->split.inner % s->split.n});
    if (y.f)
      y.f[e] = v.f;
    else
      y.i[e] = v.i;
  }
}

DhcLane dhc_pieces_eval(const DhcPieces *p, int64_t first, void *room) {
  for (int i = 0; i < p->n_steps; i++) {
    const Step *s = &p->steps[i];
    DhcLaneOut y = lane(p, i, room);
    DhcLane x[3];
    if (s->op == DHC_OP_FILL) continue;
    if (s->op == DHC_OP_RANDOM_BITS) {
      dhc_eval_random_many(s->key[0], s->key[1], s->key[2], first, DHC_PIECE, y.i);
    } else if (s->op == DHC_OP_IOTA) {
      count(s, first, y);
    } else {
      for (int k = 0; k < dhc_op_info(s->op)->n_args; k++) x[k] = operand(p, s->arg[k], room);
      if (s->op == DHC_OP_CAST)
        dhc_eval_cast_many(s->operand, s->dtype, x[0], DHC_PIECE, y);
      else
        dhc_eval_ew_many(s->op, s->operand, x, DHC_PIECE, y);
    }
  }
  return operand(p, p->n_steps - 1, room);
}
