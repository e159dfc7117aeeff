/* Specs of kind ROUTE: how rows are handed out to few places. Each row has the `chosen` best of its `places` (as op top_k
 * says), and choices are sorted by place, those of a place in order (as op route says). Places are compared by what is loaded,
 * or by the softmax of that. There is one spec for each number of places and of choices, made here; so who knows these knows
 * all of it. */
#include <math.h>

#include "ir/spec.h"

typedef struct Route {
  DhcSpec *s;
  int x[2][2]; /* loads: of rows, or of those that are counted, and of a place, or of one beside it */
} Route;

enum { ROW, CHOICE, BIN, PLACE, BESIDE, OTHER, OTHER_CHOICE, N_AXES };

static int node(Route *r, DhcSpecNodeKind kind, DhcOp op, dhc_dtype t, int a, int b, int c) {
  r->s->node[r->s->n_nodes] = (DhcSpecNode){.kind = kind, .op = op, .dtype = t, .a = {a, b, c, -1}};
  return r->s->n_nodes++;
}
static int ew(Route *r, DhcOp op, dhc_dtype t, int a, int b) { return node(r, DHC_SN_EW, op, t, a, b, -1); }
static int is(Route *r, DhcOp op, int a, int b) { return ew(r, op, DHC_BOOL, a, b); }
static int cast(Route *r, dhc_dtype t, int a) { return ew(r, DHC_OP_CAST, t, a, -1); }
static int number(Route *r, int axis, dhc_dtype t) {
  int n = node(r, DHC_SN_AXIS, (DhcOp)0, DHC_I64, -1, -1, -1);
  r->s->node[n].operand = axis;
  return t == DHC_I64 ? n : cast(r, t, n);
}
static int load(Route *r, int operand) {
  int n = node(r, DHC_SN_LOAD, (DhcOp)0, DHC_F32, -1, -1, -1);
  r->s->node[n].operand = operand;
  return n;
}
static int sum(Route *r, int a, uint32_t axes) {
  int n = node(r, DHC_SN_FOLD, DHC_OP_REDUCE_SUM, DHC_I32, a, -1, -1);
  r->s->node[n].axes = axes;
  return n;
}

static int operand(Route *r, dhc_dtype t, bool out, int stored) {
  r->s->operand[r->s->n_operands] = (DhcOperand){.dtype = t, .out = out, .stored = stored};
  return r->s->n_operands++;
}
/* Along an axis, or at an index within bounds. */
static int term(Route *r, int operand, int axis, int index) {
  DhcOperand *p = &r->s->operand[operand];
  p->term[p->n_terms++] = (DhcTerm){.n_axes = axis >= 0, .axis = {axis >= 0 ? axis : 0}, .coef = {axis >= 0}, .div = 1, .index = index,
                                    .guarded = index >= 0, .unit = axis != ROW && axis != OTHER};
  return operand;
}
static int table(Route *r, dhc_dtype t, int stored, int row, int column) {
  return term(r, term(r, operand(r, t, stored >= 0, stored), row, -1), column, -1);
}

static int largest(Route *r, int a) {
  int n = node(r, DHC_SN_FOLD, DHC_OP_REDUCE_MAX, DHC_F32, a, -1, -1);
  r->s->node[n].axes = 1u << PLACE;
  return n;
}
/* exp(x - m) over the sum of these, m the largest; of a place, or of one beside it. */
static void share(Route *r, int x[2]) {
  int m = largest(r, x[0]), e[2];
  for (int i = 0; i < 2; i++) e[i] = ew(r, DHC_OP_EXP, DHC_F32, ew(r, DHC_OP_SUB, DHC_F32, x[i], m), -1);
  int all = node(r, DHC_SN_FOLD, DHC_OP_REDUCE_SUM, DHC_F32, e[0], -1, -1);
  r->s->node[all].axes = 1u << PLACE;
  for (int i = 0; i < 2; i++) x[i] = ew(r, DHC_OP_DIV, DHC_F32, e[i], all);
}

/* x before y: larger, or NaN where y is none; or alike, and its place comes first. */
static int comes_before(Route *r, int x, int y) {
  int none = is(r, DHC_OP_NE, x, x), larger = is(r, DHC_OP_GT, x, y);
  int over = is(r, DHC_OP_OR, larger, is(r, DHC_OP_AND, none, is(r, DHC_OP_EQ, y, y)));
  int alike = is(r, DHC_OP_OR, is(r, DHC_OP_EQ, x, y), is(r, DHC_OP_AND, none, is(r, DHC_OP_NE, y, y)));
  int first = is(r, DHC_OP_LT, number(r, BESIDE, DHC_I64), number(r, PLACE, DHC_I64));
  return is(r, DHC_OP_OR, over, is(r, DHC_OP_AND, alike, first));
}

/* Which place is number `choice` of a row's; *value: what it is compared by. */
static int chosen_place(Route *r, const int x[2], int choice, int *value) {
  int rank = sum(r, cast(r, DHC_I32, comes_before(r, x[1], x[0])), 1u << BESIDE);
  int hit = is(r, DHC_OP_EQ, rank, number(r, choice, DHC_I32)), zero = node(r, DHC_SN_CONST, (DhcOp)0, DHC_I32, -1, -1, -1);
  if (value) {
    int none = node(r, DHC_SN_CONST, (DhcOp)0, DHC_F32, -1, -1, -1);
    r->s->node[none].f = -INFINITY;
    *value = largest(r, node(r, DHC_SN_EW, DHC_OP_SELECT, DHC_F32, hit, x[0], none));
  }
  return sum(r, node(r, DHC_SN_EW, DHC_OP_SELECT, DHC_I32, hit, number(r, PLACE, DHC_I32), zero), 1u << PLACE);
}

DhcSpec *dhc_spec_route(DhcArena *arena, int64_t places, int64_t chosen, bool shares) {
  DhcSpec *s = DHC_NEW(arena, DhcSpec);
  Route *r = &(Route){.s = s};
  const uint32_t counted = 1u << OTHER | 1u << OTHER_CHOICE;
  s->kind = DHC_KIND_ROUTE;
  s->node = DHC_NEW_N(arena, DhcSpecNode, DHC_SPEC_MAX_NODES);
  s->n_axes = N_AXES;
  s->axis[CHOICE].extent = s->axis[OTHER_CHOICE].extent = chosen;
  s->axis[BIN].extent = places + 1;
  s->axis[PLACE].extent = s->axis[BESIDE].extent = places;
  for (int a = PLACE; a < N_AXES; a++) s->axis[a].role = DHC_AXIS_RED;
  for (int i = 0; i < 4; i++) r->x[i / 2][i % 2] = load(r, table(r, DHC_F32, -1, i / 2 ? OTHER : ROW, i % 2 ? BESIDE : PLACE));
  for (int i = 0; i < 2 && shares; i++) share(r, r->x[i]);
  int value, mine = chosen_place(r, r->x[0], CHOICE, &value), other = chosen_place(r, r->x[1], OTHER_CHOICE, NULL);
  int earlier = is(r, DHC_OP_LT, number(r, OTHER, DHC_I64), number(r, ROW, DHC_I64));
  int here = is(r, DHC_OP_EQ, number(r, OTHER, DHC_I64), number(r, ROW, DHC_I64));
  here = is(r, DHC_OP_AND, here, is(r, DHC_OP_LT, number(r, OTHER_CHOICE, DHC_I64), number(r, CHOICE, DHC_I64)));
  int before = is(r, DHC_OP_AND, is(r, DHC_OP_EQ, other, mine), is(r, DHC_OP_OR, earlier, here));
  before = is(r, DHC_OP_OR, is(r, DHC_OP_LT, other, mine), before);
  int slot = sum(r, cast(r, DHC_I32, before), counted), at = cast(r, DHC_I64, slot);
  int row = number(r, ROW, DHC_I32), first = sum(r, cast(r, DHC_I32, is(r, DHC_OP_LT, other, number(r, BIN, DHC_I32))), counted);
  table(r, DHC_F32, value, ROW, CHOICE);
  table(r, DHC_I32, mine, ROW, CHOICE);
  term(r, operand(r, DHC_I32, true, row), -1, at);
  table(r, DHC_I32, slot, ROW, CHOICE);
  term(r, operand(r, DHC_I32, true, first), BIN, -1);
  return s;
}

bool dhc_spec_routes(const DhcSpec *s, DhcArena *scratch, int64_t *places, int64_t *chosen, bool *shares) {
  if (s->kind != DHC_KIND_ROUTE || s->n_axes != N_AXES) return false;
  *places = s->axis[PLACE].extent;
  *chosen = s->axis[CHOICE].extent;
  for (int i = 0; i < 2; i++)
    if (dhc_spec_equal(s, dhc_spec_route(scratch, *places, *chosen, i))) return *shares = i, true;
  return false;
}
