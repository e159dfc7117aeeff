/* Gradients that are contractions of few rows and never lie in memory.
 *
 * Where few rows (tokens) are in a batch, the gradient of a large weight, x^T d, is made again in no time, but takes as long
 * to write and read as the weight itself. So the optimiser takes it from the contraction, which is in the step itself for that: what
 * it contracts leaves the function that the contraction stands in. The norm, before which nothing is updated, needs no element of it:
 *
 *   sum_mn (sum_r x[r,m] d[r,n])^2  =  sum_rs (x x^T)[r,s] (d d^T)[r,s]
 *
 * over pairs of rows, of experts' weights over pairs of one range. That order of adding is part of what the step is. */
#include "passes/grad/train_internal.h"

enum {
  FEW_ROWS = 64,  /* contracted at most: at 256 an H200 and a CPU gain nothing */
  LARGE = 1 << 20 /* of so many elements at least */
};

static const double OF_OWN = 0x1p-12; /* below what FEW_ROWS rows that add up at random leave of it, and above rounding in f32 */

/* ---- which ---------------------------------------------------------------------------- */

/* v is a contraction over the leading dims of both operands, all but one, or over ranges of rows. */
static const DhcNode *contraction(const DhcValue *v) {
  const DhcNode *n = v->def;
  if (n->op == DHC_OP_RAGGED_DOT_DW) return n;
  if (n->op != DHC_OP_DOT_GENERAL || v->type.rank != 2 || dhc_attr(n, "batch_a")->ints.n) return NULL;
  static const char *const name[] = {"contract_a", "contract_b"};
  for (int s = 0; s < 2; s++) {
    const DhcAttr *over = dhc_attr(n, name[s]);
    if (over->ints.n + 1 != n->args[s]->type.rank) return NULL;
    for (int i = 0; i < over->ints.n; i++)
      if (over->ints.at[i] != i) return NULL;
  }
  return n;
}

/* The only use of v in f is that as a result. */
static bool only_result(const DhcFunc *f, const DhcValue *v) {
  int n = 0;
  for (int i = 0; i < f->results.n; i++) n += f->results.at[i] == v;
  for (const DhcNode *u = f->first; u; u = u->next)
    for (int i = 0; i < u->n_args; i++) n += u->args[i] == v;
  return n == 1;
}

static int result_index(const DhcNode *call, const DhcValue *v) {
  for (int i = 0; i < call->n_results; i++)
    if (call->results[i] == v) return i;
  return -1;
}

/* Where the gradient v of the entry is made: a contraction of a function that calls of the entry alone run, or NULL. */
static const DhcNode *made_by(const Step *s, const DhcValue *v) {
  if (!only_result(s->grad, v) || v->def->op != DHC_OP_CALL) return NULL;
  const DhcFunc *g = dhc_node_callee(v->def);
  const DhcValue *own = g->results.at[result_index(v->def, v)];
  if (!only_result(g, own)) return NULL;
  for (int i = 0; i < s->m->funcs.n; i++)
    for (const DhcNode *n = s->m->funcs.at[i]->first; n; n = n->next) {
      const bool entrys = s->m->funcs.at[i] == s->grad && n->op == DHC_OP_CALL;
      if (dhc_op_info(n->op)->cls == DHC_CLASS_CALL && dhc_node_callee(n) == g && !entrys) return NULL;
    }
  return contraction(own);
}

/* call: of the function that the contraction stands in; NULL: the entry has it. */
static const DhcDim *rows_of(const Step *s, const DhcNode *dot, const DhcNode *call) {
  const DhcType *t = &dot->args[0]->type;
  const DhcDim *rows = dhc_dim_const(s->m->dims, 1);
  for (int d = 0; d + 1 < t->rank; d++) rows = dhc_dim_mul(s->m->dims, rows, t->dim[d]);
  if (!call) return rows;
  const DhcFunc *g = dhc_node_callee(call);
  return dhc_dim_subst(s->m->dims, rows, g->symbols.n, g->symbols.at, dhc_attr(call, "dims")->dims.at);
}

static bool is_large(const Step *s, int slot) {
  const DhcTensorDecl *t = &s->m->tensors.at[s->slots[slot].tensor];
  const int64_t pieces = dhc_decl_pieces(t);
  if (t->frozen || t->average || s->slots[slot].n < LARGE) return false;
  return !pieces || (t->type.rank == 3 && dhc_dim_is(t->type.dim[0], pieces));
}

static bool any_large(const Step *s) {
  for (int i = 0; i < s->out->n_slots; i++)
    if (is_large(s, i)) return true;
  return false;
}

/* Rows of the call are few: as facts say, or as the sizes at hand do, which is then a fact. */
static bool are_few(Step *s, const DhcDim *rows) {
  DhcDims *dims = s->m->dims;
  const DhcDim *most = dhc_dim_const(dims, FEW_ROWS), *more = dhc_dim_sub(dims, most, rows);
  const DhcTruth known = dhc_dim_le(dims, &s->loss->facts, rows, most);
  int64_t left = 0;
  if (known != DHC_UNKNOWN) return known == DHC_TRUE;
  if (!dhc_dim_eval(more, s->rq->n_sizes, s->rq->size_of, s->rq->size, &left)) return false;
  const DhcDim *fact = left >= 0 ? more : dhc_dim_addc(dims, dhc_dim_mulc(dims, more, -1), -1);
  DHC_PUSH(s->arena, &s->loss->facts.nonneg, fact);
  DHC_PUSH(s->arena, &s->loss->fact_messages, ((DhcFactMessage){.at = s->loss->span}));
  DHC_PUSH(s->arena, &s->out->decided, fact);
  return left >= 0;
}

/* ---- out of their functions --------------------------------------------------------------- */

/* What stands for a result of a callee: its new place, or that of what the contraction takes. */
typedef struct Exposed {
  DhcFunc *g;
  const DhcNode **dot; /* by old result; NULL: stays */
  int *at;             /* by old result that stays */
  struct Operands {
    int at[3]; /* results, or params as -1 - index */
  } *operand; /* by old result that goes */
} Exposed;

static int operand_place(DhcFunc *g, DhcValue *v) {
  for (int i = 0; i < g->params.n; i++)
    if (g->params.at[i] == v) return -1 - i;
  for (int i = 0; i < g->results.n; i++)
    if (g->results.at[i] == v) return i;
  dhc_func_result(g, v, dhc_arena_printf(g->module->arena, "rows.%d", g->results.n));
  return g->results.n - 1;
}

/* The function gives what is contracted in place of the contractions. */
static void expose(Step *s, Exposed *x) {
  DhcFunc *g = x->g;
  const int n = g->results.n;
  DhcValue **old = DHC_NEW_N(s->arena, DhcValue *, n + 1);
  const char **name = DHC_NEW_N(s->arena, const char *, n + 1);
  for (int i = 0; i < n; i++) old[i] = g->results.at[i], name[i] = g->result_names.at[i];
  g->results.n = g->result_names.n = 0;
  x->at = DHC_NEW_N(s->arena, int, n + 1);
  x->operand = DHC_NEW_N(s->arena, struct Operands, n + 1);
  for (int i = 0; i < n; i++) {
    x->at[i] = g->results.n;
    if (!x->dot[i]) dhc_func_result(g, old[i], name[i]);
  }
  for (int i = 0; i < n; i++) {
    if (!x->dot[i]) continue;
    for (int k = 0; k < x->dot[i]->n_args; k++) x->operand[i].at[k] = operand_place(g, x->dot[i]->args[k]);
    dhc_node_remove(old[i]->def);
  }
}

/* The call again, of what the function gives now. slot: the gradients' slots by result of the call. */
static bool call_again(Step *s, DhcNode *call, const Exposed *x, const int *slot) {
  DhcBuilder b = {.f = s->grad, .before = call, .span = call->span, .origin = call->origin};
  DhcNode *now = dhc_b_call(&b, DHC_OP_CALL, x->g, call->args, call->n_args);
  if (!now) return false;
  for (int i = 0; i < call->n_results; i++) {
    if (!x->dot[i]) {
      dhc_replace_uses(call->results[i], now->results[x->at[i]]);
      continue;
    }
    Few *few = &s->few[slot[i]];
    few->n_args = x->dot[i]->n_args;
    for (int k = 0; k < few->n_args; k++) {
      const int at = x->operand[i].at[k];
      few->arg[k] = at < 0 ? call->args[-1 - at] : now->results[at];
    }
    dhc_replace_uses(call->results[i], few->arg[0]); /* as a result of the entry: asked for by nobody */
  }
  dhc_node_remove(call);
  return true;
}

/* The slot of each weight whose gradient is result i of the entry; -1: none. */
static int *slots_of_results(const Step *s) {
  int *slot = DHC_NEW_N(s->arena, int, s->grad->results.n + 1), next = s->loss->results.n;
  for (int i = 0; i < s->grad->results.n; i++) slot[i] = -1;
  for (int i = 0; i < s->grad->params.n; i++)
    if (s->grad->param_info.at[i].role == DHC_ROLE_WEIGHT) slot[next++] = s->slot_of[s->grad->param_info.at[i].decl];
  return slot;
}

/* By result of the call, the slot whose gradient it is; -1: none of those that may go. */
static int *slots_of_call(Step *s, const DhcNode *call, const int *slot_of_result) {
  int *slot = DHC_NEW_N(s->arena, int, call->n_results + 1);
  for (int i = 0; i < call->n_results; i++) {
    slot[i] = -1;
    for (int r = 0; r < s->grad->results.n; r++)
      if (s->grad->results.at[r] == call->results[i] && slot_of_result[r] >= 0) slot[i] = slot_of_result[r];
    const DhcNode *dot = slot[i] >= 0 && is_large(s, slot[i]) ? made_by(s, call->results[i]) : NULL;
    if (!dot || !are_few(s, rows_of(s, dot, call))) slot[i] = -1;
  }
  return slot;
}

/* Contractions of the entry itself. */
static void find_own(Step *s, const int *slot_of_result) {
  for (int r = 0; r < s->grad->results.n; r++) {
    DhcValue *v = s->grad->results.at[r];
    const int slot = slot_of_result[r];
    const DhcNode *dot = slot >= 0 && !s->few[slot].n_args && is_large(s, slot) && only_result(s->grad, v) ? contraction(v) : NULL;
    if (!dot || !are_few(s, rows_of(s, dot, NULL))) continue;
    s->few[slot].n_args = dot->n_args;
    for (int k = 0; k < dot->n_args; k++) s->few[slot].arg[k] = dot->args[k];
    dhc_replace_uses(v, dot->args[0]);
    dhc_node_remove(v->def);
  }
}

typedef struct Called {
  DhcNode *call;
  int *slot; /* by result */
  int of;    /* its function's number */
} Called;

/* Those of functions that the entry calls. */
static bool find_in_calls(Step *s, const int *slot_of_result) {
  DHC_VEC(Exposed) all = {0};
  DHC_VEC(Called) calls = {0};
  for (DhcNode *n = s->grad->first; n; n = n->next) {
    if (n->op != DHC_OP_CALL) continue;
    DhcFunc *g = dhc_node_callee(n);
    Called c = {.call = n, .slot = slots_of_call(s, n, slot_of_result)};
    while (c.of < all.n && all.at[c.of].g != g) c.of++;
    if (c.of == all.n) {
      Exposed x = {.g = g, .dot = DHC_NEW_N(s->arena, const DhcNode *, n->n_results + 1)};
      for (int i = 0; i < n->n_results; i++) x.dot[i] = c.slot[i] >= 0 ? g->results.at[i]->def : NULL;
      DHC_PUSH(s->arena, &all, x);
    }
    for (int i = 0; i < n->n_results; i++)
      if (c.slot[i] < 0) all.at[c.of].dot[i] = NULL; /* all calls of a function alike */
    DHC_PUSH(s->arena, &calls, c);
  }
  for (int k = 0; k < all.n; k++) {
    bool any = false;
    for (int i = 0; i < all.at[k].g->results.n; i++) any = any || all.at[k].dot[i];
    if (any) expose(s, &all.at[k]);
    else all.at[k].g = NULL;
  }
  for (int i = 0; i < calls.n; i++) {
    const Called *c = &calls.at[i];
    if (all.at[c->of].g && !call_again(s, c->call, &all.at[c->of], c->slot)) return false;
  }
  return true;
}

bool dhc_step_find_few(Step *s) {
  s->few = DHC_NEW_N(s->arena, Few, s->out->n_slots + 1);
  if (!s->rq->few || s->rq->shared || s->rq->parts || s->m->groups.n || !any_large(s) || !dhc_step_lifts(s->optimizer[0].f)) return true;
  if (!s->moments.n) return true; /* weights alone are no update in place (dhc_spec_updates): written beside, then copied, they would be slower */
  if (!dhc_passes_clean(s->m, s->px)) return false; /* what is contracted stands behind much to clean */
  const int *slot_of_result = slots_of_results(s);
  if (!find_in_calls(s, slot_of_result)) return false;
  find_own(s, slot_of_result);
  s->map = DHC_NEW_N(s->arena, DhcValue *, s->grad->next_value_id + 1);
  return true;
}

/* ---- in the step ----------------------------------------------------------------------------- */

/* Operand k as [rows, elements]. */
static DhcValue *rows_by_elements(Step *s, const Few *few, int k) {
  DhcValue *v = s->map[few->arg[k]->id];
  const int last = v ? v->type.rank - 1 : 0;
  const DhcDim *shape[2] = {dhc_dim_const(s->m->dims, 1), v ? v->type.dim[last] : NULL};
  for (int d = 0; v && d < last; d++) shape[0] = dhc_dim_mul(s->m->dims, shape[0], v->type.dim[d]);
  return v ? dhc_b_reshape(&s->b, v, shape, 2) : NULL;
}

DhcValue *dhc_step_few_gradient(Step *s, const Few *few) {
  static const int64_t first = 0;
  DhcValue *x = rows_by_elements(s, few, 0), *d = rows_by_elements(s, few, 1);
  if (!x || !d) return NULL;
  if (few->n_args == 2) return dhc_b_dot(&s->b, x, d, NULL, NULL, 0, &first, &first, 1);
  DhcValue *args[3] = {x, d, s->map[few->arg[2]->id]};
  return dhc_build1(&s->b, DHC_OP_RAGGED_DOT_DW, args, 3, NULL, 0);
}

/* [rows, 1] or [1, rows] of [rows], as a matrix of pairs stretches it. */
static DhcValue *along(Step *s, DhcValue *v, bool column) {
  const DhcDim *one = dhc_dim_const(s->m->dims, 1), *shape[2] = {column ? v->type.dim[0] : one, column ? one : v->type.dim[0]};
  return dhc_b_reshape(&s->b, v, shape, 2);
}

/* 0, 1, … */
static DhcValue *numbers(Step *s, const DhcDim *n) {
  const DhcAttr attr[] = {dhc_attr_int(0), dhc_attr_dtype(DHC_I32), dhc_attr_dims(s->m, &n, 1)};
  return dhc_build1(&s->b, DHC_OP_IOTA, NULL, 0, attr, 3);
}

/* How many of the offsets are up to each row: 1 + its range, or what is no range. */
static DhcValue *ranges_of_rows(Step *s, DhcValue *offsets, const DhcDim *rows) {
  static const int64_t axis = 1;
  DhcValue *row = numbers(s, rows);
  DhcValue *behind = row ? dhc_step_bin(s, DHC_OP_GE, along(s, row, true), along(s, dhc_b_cast(&s->b, offsets, DHC_I32), false)) : NULL;
  return behind ? dhc_b_reduce(&s->b, DHC_OP_REDUCE_SUM, dhc_b_cast(&s->b, behind, DHC_F32), &axis, 1, false) : NULL;
}

/* The square of the norm: Σ over pairs of rows, [1], but not below OF_OWN of the sum of the rows' own squares: where they
 * all but cancel each other the rest is rounding, and a norm that is too small would let more through than clipping allows.
 * So the true norm is at most √2 of it in f32, and 50 times with operands of 8 bits (api/train/step_guard.c). ranges: NULL, or of each row, of which `n` are some. */
static DhcValue *squares_of_pairs(Step *s, DhcValue *x, DhcValue *d, DhcValue *ranges, const DhcDim *n) {
  static const int64_t second = 1, both[2] = {0, 1};
  DhcValue *xx = dhc_b_dot(&s->b, x, x, NULL, NULL, 0, &second, &second, 1);
  DhcValue *dd = dhc_b_dot(&s->b, d, d, NULL, NULL, 0, &second, &second, 1);
  DhcValue *pairs = xx && dd ? dhc_step_bin(s, DHC_OP_MUL, xx, dd) : NULL, *zero = dhc_b_scalar(&s->b, DHC_F32, 0);
  if (pairs && ranges) {
    DhcValue *last = dhc_b_cast(&s->b, dhc_b_dim(&s->b, n), DHC_F32);
    DhcValue *in = dhc_step_bin(s, DHC_OP_AND, dhc_step_bin(s, DHC_OP_GT, ranges, zero), dhc_step_bin(s, DHC_OP_LE, ranges, last));
    DhcValue *same = dhc_step_bin(s, DHC_OP_EQ, along(s, ranges, true), along(s, ranges, false));
    pairs = dhc_b_select(&s->b, dhc_step_bin(s, DHC_OP_AND, same, along(s, in, true)), pairs, zero);
  }
  DhcValue *row = pairs ? numbers(s, x->type.dim[0]) : NULL;
  DhcValue *own = row ? dhc_b_select(&s->b, dhc_step_bin(s, DHC_OP_EQ, along(s, row, true), along(s, row, false)), pairs, zero) : NULL;
  if (!own) return NULL;
  DhcValue *sum = dhc_b_reduce(&s->b, DHC_OP_REDUCE_SUM, pairs, both, 2, false), *least = dhc_b_reduce(&s->b, DHC_OP_REDUCE_SUM, own, both, 2, false);
  least = dhc_step_bin(s, DHC_OP_MUL, least, dhc_b_scalar(&s->b, DHC_F32, OF_OWN));
  const DhcDim *one[1] = {dhc_dim_const(s->m->dims, 1)};
  return sum ? dhc_b_reshape(&s->b, dhc_step_bin(s, DHC_OP_MAX, sum, least), one, 1) : NULL;
}

/* Of each range how many rows there are of which neither operand is all zeros: 0 only where no gradient reaches its weights. */
static DhcValue *rows_that_reach(Step *s, DhcValue *x, DhcValue *d, DhcValue *ranges, const DhcDim *n) {
  static const int64_t axis = 1;
  DhcValue *zero = dhc_b_scalar(&s->b, DHC_F32, 0), *any[2];
  for (int k = 0; k < 2; k++) {
    DhcValue *size = dhc_b_reduce(&s->b, DHC_OP_REDUCE_SUM, dhc_b_unary(&s->b, DHC_OP_ABS, k ? d : x), &axis, 1, false);
    if (!(any[k] = size ? dhc_step_bin(s, DHC_OP_GT, size, zero) : NULL)) return NULL;
  }
  DhcValue *range = numbers(s, n), *both = dhc_step_bin(s, DHC_OP_AND, any[0], any[1]);
  range = range && both ? dhc_step_bin(s, DHC_OP_ADD, dhc_b_cast(&s->b, range, DHC_F32), dhc_b_scalar(&s->b, DHC_F32, 1)) : NULL;
  DhcValue *in = range ? dhc_step_bin(s, DHC_OP_EQ, along(s, range, true), along(s, ranges, false)) : NULL;
  DhcValue *reach = in ? dhc_step_bin(s, DHC_OP_AND, in, along(s, both, false)) : NULL;
  return reach ? dhc_b_reduce(&s->b, DHC_OP_REDUCE_SUM, dhc_b_cast(&s->b, reach, DHC_F32), &axis, 1, false) : NULL;
}

static DhcValue *squares_of_few(Step *s, const Few *few, DhcValue **size) {
  DhcValue *x = rows_by_elements(s, few, 0), *d = rows_by_elements(s, few, 1), *ranges = NULL;
  const DhcDim *n = NULL;
  if (!x || !d) return NULL;
  if (few->n_args > 2) {
    DhcValue *offsets = s->map[few->arg[2]->id];
    n = dhc_dim_addc(s->m->dims, offsets->type.dim[0], -1);
    if (!(ranges = ranges_of_rows(s, offsets, x->type.dim[0]))) return NULL;
    if (size && !(*size = rows_that_reach(s, x, d, ranges, n))) return NULL;
  }
  return squares_of_pairs(s, x, d, ranges, n);
}

/* All of it stands behind what is contracted, in the midst of the backward pass: a device that does several things at once does it
 * beside what is still to come. */
DhcValue *dhc_step_few_squares(Step *s, const Few *few, DhcValue **size) {
  const DhcNode *last = NULL;
  for (int k = 0; k < few->n_args; k++) {
    const DhcValue *v = s->map[few->arg[k]->id];
    if (v && (!last || v->def->id > last->id)) last = v->def;
  }
  dhc_step_behind(s, last);
  DhcValue *squares = squares_of_few(s, few, size);
  s->b.before = NULL;
  return squares;
}
