/* Upper bounds of the loops of a loop program: intervals of its integers, in one walk over its statements, and differences of
 * a loop's ends by the form of their expressions, which share what a task begins with. */
#include "backends/object/bounds.h"

enum { MAX_FORM = 24 /* levels of an expression that are looked into */ };

typedef DhcObjRange Range;

typedef struct Walk {
  const DhcLp *p;
  const Range *dim;
  Range n_tasks;
  Range *of;       /* by statement */
  Range *var;      /* by variable: all that it is set to */
  Range kept;      /* integers that the kernel stores in memory of its own: tables of places */
  bool *inside;    /* by open block: entered or not by values */
  int depth;
  DhcObjLoops *out; /* NULL: variables are still being learnt */
  bool changed;
} Walk;

static const Range anything = {INT64_MIN, INT64_MAX, false};

static Range exactly(int64_t v) { return (Range){v, v, false}; }
static bool no_lo(int64_t v) { return v == INT64_MIN; }
static bool no_hi(int64_t v) { return v == INT64_MAX; }

/* Sums and products of bounds; one that is not known, or leaves 64 bits, is not known. */
static int64_t sum(int64_t a, int64_t b, int64_t none) {
  int64_t r;
  return a == none || b == none || __builtin_add_overflow(a, b, &r) ? none : r;
}

static int64_t minus(int64_t a) { return a == INT64_MIN ? INT64_MAX : a == INT64_MAX ? INT64_MIN : -a; }

static int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }

static Range join(Range a, Range b) {
  return (Range){smaller(a.lo, b.lo), larger(a.hi, b.hi), a.values || b.values};
}

static Range times(Range a, Range b) {
  Range r = {INT64_MIN, INT64_MAX, a.values || b.values};
  if (a.lo >= 0 && b.lo >= 0) { /* what sizes and places are */
    int64_t hi;
    r.lo = __builtin_mul_overflow(a.lo, b.lo, &hi) ? 0 : hi;
    r.hi = (a.lo == 0 && a.hi == 0) || (b.lo == 0 && b.hi == 0) ? 0
           : no_hi(a.hi) || no_hi(b.hi) || __builtin_mul_overflow(a.hi, b.hi, &hi) ? INT64_MAX : hi;
  } else if (b.lo == b.hi && !no_lo(a.lo) && !no_hi(a.hi)) {
    int64_t x, y;
    if (__builtin_mul_overflow(a.lo, b.lo, &x) || __builtin_mul_overflow(a.hi, b.lo, &y)) return r;
    r.lo = smaller(x, y);
    r.hi = larger(x, y);
  } else if (a.lo == a.hi) {
    return b.lo == b.hi ? r : times(b, a);
  }
  return r;
}

/* Of a >= 0, b >= 0; a program does not divide by 0. */
static Range divided(Range a, Range b, bool rest) {
  Range r = {a.lo >= 0 ? 0 : INT64_MIN, INT64_MAX, a.values || b.values};
  int64_t least = b.lo < 1 ? 1 : b.lo;
  if (a.lo < 0 || b.lo < 0) return r;
  r.hi = rest ? smaller(a.hi, no_hi(b.hi) ? INT64_MAX : b.hi - 1) : no_hi(a.hi) ? INT64_MAX : a.hi / least;
  if (!rest && !no_hi(b.hi) && b.hi > 0) r.lo = a.lo / b.hi;
  return r;
}

static int64_t apart(const Walk *w, DhcLv h, DhcLv l, int level);

static Range elementwise(Walk *w, const DhcLpInst *n) {
  Range a[4], r = anything;
  int k = 0;
  for (; k < 4 && n->a[k]; k++) a[k] = w->of[n->a[k]->id];
  for (int i = 0; i < k; i++) r.values = r.values || a[i].values;
  bool values = r.values;
  if (dhc_dtype_is_float(n->type.dtype)) return r;
  switch (n->op) {
  case DHC_OP_ADD: r = (Range){sum(a[0].lo, a[1].lo, INT64_MIN), sum(a[0].hi, a[1].hi, INT64_MAX), values}; break;
  case DHC_OP_SUB: r = (Range){sum(a[0].lo, minus(a[1].hi), INT64_MIN), n->type.lanes > 1 ? INT64_MAX : apart(w, n->a[0], n->a[1], 0), values}; break;
  case DHC_OP_MUL: r = times(a[0], a[1]); break;
  case DHC_OP_MIN: r = (Range){smaller(a[0].lo, a[1].lo), smaller(a[0].hi, a[1].hi), values}; break;
  case DHC_OP_MAX: r = (Range){larger(a[0].lo, a[1].lo), larger(a[0].hi, a[1].hi), values}; break;
  case DHC_OP_FLOORDIV: r = divided(a[0], a[1], false); break;
  case DHC_OP_REM: r = divided(a[0], a[1], true); break;
  case DHC_OP_SELECT: r = join(a[1], a[2]); break;
  case DHC_OP_CAST:
    if (!dhc_dtype_is_float(n->a[0]->type.dtype)) r = a[0];
    break;
  default:
    if (n->type.dtype == DHC_BOOL) r = (Range){0, 1, values};
  }
  r.values = values;
  return r;
}

/* ---- how far two values are apart ------------------------------------------------------------------ */

/* x / c by a constant c > 0; the programs' own, of sizes */
static bool is_part(DhcLv x, int64_t *c) {
  if (x->kind != DHC_LP_UDIV || x->a[1]->kind != DHC_LP_CONST || x->a[1]->i < 1) return false;
  return *c = x->a[1]->i, true;
}

/* At most h - l. The sides are looked into where they share something: a chunk ends at min(n, begin + 4096). */
static int64_t apart(const Walk *w, DhcLv h, DhcLv l, int level) {
  Range rh = w->of[h->id], rl = w->of[l->id];
  int64_t c, d;
  if (h == l) return 0;
  if (level < MAX_FORM && is_part(h, &c) && is_part(l, &d) && c == d) { /* of a >= b: a / c - b / c is at most (a - b) / c, rounded up */
    int64_t x = apart(w, h->a[0], l->a[0], level + 1);
    if (!no_hi(x)) return x <= 0 ? 0 : x / c + (x % c > 0);
  }
  int64_t best = sum(rh.hi, minus(rl.lo), INT64_MAX);
  if (level == MAX_FORM) return best;
  if (h->kind == DHC_LP_EW && h->type.lanes == 1) {
    int64_t x = INT64_MAX, y = INT64_MAX;
    if (h->op == DHC_OP_MIN || h->op == DHC_OP_MAX) {
      x = apart(w, h->a[0], l, level + 1);
      y = apart(w, h->a[1], l, level + 1);
      best = smaller(best, h->op == DHC_OP_MIN ? smaller(x, y) : larger(x, y));
    } else if (h->op == DHC_OP_SELECT) {
      best = smaller(best, larger(apart(w, h->a[1], l, level + 1), apart(w, h->a[2], l, level + 1)));
    } else if (h->op == DHC_OP_ADD) {
      x = sum(apart(w, h->a[0], l, level + 1), w->of[h->a[1]->id].hi, INT64_MAX);
      y = sum(apart(w, h->a[1], l, level + 1), w->of[h->a[0]->id].hi, INT64_MAX);
      best = smaller(best, smaller(x, y));
    } else if (h->op == DHC_OP_SUB) {
      best = smaller(best, sum(apart(w, h->a[0], l, level + 1), minus(w->of[h->a[1]->id].lo), INT64_MAX));
    }
  }
  if (l->kind == DHC_LP_EW && l->type.lanes == 1) {
    int64_t x = INT64_MAX, y = INT64_MAX;
    if (l->op == DHC_OP_MIN || l->op == DHC_OP_MAX) {
      x = apart(w, h, l->a[0], level + 1);
      y = apart(w, h, l->a[1], level + 1);
      best = smaller(best, l->op == DHC_OP_MAX ? smaller(x, y) : larger(x, y));
    } else if (l->op == DHC_OP_ADD) {
      x = sum(apart(w, h, l->a[0], level + 1), minus(w->of[l->a[1]->id].lo), INT64_MAX);
      y = sum(apart(w, h, l->a[1], level + 1), minus(w->of[l->a[0]->id].lo), INT64_MAX);
      best = smaller(best, smaller(x, y));
    } else if (l->op == DHC_OP_SUB) {
      best = smaller(best, sum(apart(w, h, l->a[0], level + 1), w->of[l->a[1]->id].hi, INT64_MAX));
    }
  }
  return best;
}

/* ---- loops through an array of their own ------------------------------------------------------------ */

/* How x moves with the loop's index; false: not by a constant. What stands before the loop stays as it is. */
static bool moves(DhcLv x, const DhcLpInst *loop, int64_t *by) {
  int64_t a, b;
  if (x == loop || x->id < loop->id || x->kind == DHC_LP_CONST) return *by = x == loop, true;
  if (x->kind != DHC_LP_EW || x->type.lanes != 1) return false;
  if (x->op == DHC_OP_MUL) {
    int k = x->a[1]->kind == DHC_LP_CONST;
    if (x->a[k]->kind != DHC_LP_CONST || !moves(x->a[!k], loop, &a)) return false;
    return !__builtin_mul_overflow(a, x->a[k]->i, by);
  }
  if ((x->op != DHC_OP_ADD && x->op != DHC_OP_SUB) || !moves(x->a[0], loop, &a) || !moves(x->a[1], loop, &b)) return false;
  *by = x->op == DHC_OP_ADD ? a + b : a - b;
  return true;
}

/* Every round touches another place of an array on the stack: no more rounds than it has places. Partial sums are added so, as
 * many as a variable counts. */
static int64_t by_array(const DhcLp *p, const DhcLpInst *loop) {
  int64_t best = INT64_MAX;
  for (int i = loop->id + 1, depth = 1; i < p->code.n && depth > 0; i++) {
    const DhcLpInst *n = p->code.at[i];
    if (n->kind == DHC_LP_FOR || n->kind == DHC_LP_IF) depth++;
    if (n->kind == DHC_LP_END) depth--;
    bool touches = n->kind == DHC_LP_LOAD || n->kind == DHC_LP_STORE;
    int64_t by;
    if (!touches || depth != 1 || n->a[0]->kind != DHC_LP_LOCAL || !moves(n->a[1], loop, &by) || by == 0) continue;
    int64_t places = n->a[0]->i, each = (by < 0 ? -by : by) * loop->i;
    best = smaller(best, (places + each - 1) / each * loop->i);
  }
  return best;
}

/* ---- the walk ---------------------------------------------------------------------------------------------- */

static bool by_values(const Walk *w) {
  for (int i = 0; i < w->depth; i++)
    if (w->inside[i]) return true;
  return false;
}

/* Memory that no caller sees: the kernel's stack arrays and scratch. */
static bool is_own(DhcLv pointer) {
  while (pointer->kind == DHC_LP_AT) pointer = pointer->a[0];
  return pointer->kind == DHC_LP_LOCAL || pointer->kind == DHC_LP_SCRATCH;
}

/* A variable, or memory, is all that it is ever set to; what still grows in the second walk has no bound on that side. */
static void set(Walk *w, Range *v, Range x, bool last) {
  const Range before = *v;
  x.values = x.values || by_values(w);
  *v = join(*v, x);
  if (last && v->lo < before.lo) v->lo = INT64_MIN;
  if (last && v->hi > before.hi) v->hi = INT64_MAX;
  w->changed = w->changed || memcmp(&before.lo, &v->lo, sizeof v->lo) || before.hi != v->hi || before.values != v->values;
}

static int loops_around(const Walk *w, const DhcLpKind *open) {
  int n = 0;
  for (int i = 0; i < w->depth; i++) n += open[i] == DHC_LP_FOR || open[i] == DHC_LP_TASKS;
  return n;
}

static void put_loop(Walk *w, const DhcLpKind *open, int64_t apart_at_most, int64_t step, bool values) {
  if (!w->out) return;
  int64_t n = no_hi(apart_at_most) ? -1 : apart_at_most <= 0 ? 0 : (apart_at_most + step - 1) / step;
  DHC_PUSH(w->p->arena, &w->out->all, ((DhcObjLoop){loops_around(w, open), n, values}));
}

static Range value_of(Walk *w, const DhcLpInst *n) {
  Range r = anything;
  for (int k = 0; k < 4; k++) r.values = r.values || (n->a[k] && w->of[n->a[k]->id].values);
  switch (n->kind) {
  case DHC_LP_CONST: return dhc_dtype_is_float(n->type.dtype) ? anything : exactly(n->i);
  case DHC_LP_DIM: return w->dim[n->i];
  case DHC_LP_EW: return elementwise(w, n);
  case DHC_LP_UDIV: return divided(w->of[n->a[0]->id], w->of[n->a[1]->id], false);
  case DHC_LP_UREM: return divided(w->of[n->a[0]->id], w->of[n->a[1]->id], true);
  case DHC_LP_SPLAT:
  case DHC_LP_EXTRACT: return w->of[n->a[0]->id];
  case DHC_LP_IOTA: return (Range){0, n->type.lanes - 1, false};
  case DHC_LP_GET: return w->var[n->i];
  case DHC_LP_LOAD:
  case DHC_LP_GATHER: /* what an integer of the caller's memory can be is its type's range: no bound of use */
    if (!dhc_dtype_is_float(n->type.dtype) && is_own(n->a[0])) return (Range){w->kept.lo, w->kept.hi, r.values || w->kept.values};
    r.values = true;
    return r;
  default: return r;
  }
}

static void statement(Walk *w, DhcLpKind *open, const DhcLpInst *n, bool last) {
  switch (n->kind) {
  case DHC_LP_TASKS:
    put_loop(w, open, w->n_tasks.hi, 1, w->n_tasks.values);
    w->of[n->id] = (Range){0, no_hi(w->n_tasks.hi) ? INT64_MAX : larger(w->n_tasks.hi - 1, 0), false};
    w->inside[w->depth] = w->n_tasks.values;
    open[w->depth++] = n->kind;
    return;
  case DHC_LP_FOR: {
    Range lo = w->of[n->a[0]->id], hi = w->of[n->a[1]->id];
    bool values = lo.values || hi.values;
    int64_t most = apart(w, n->a[1], n->a[0], 0);
    put_loop(w, open, no_hi(most) ? by_array(w->p, n) : most, n->i, values);
    /* where bounds hang on values, so do the places */
    w->of[n->id] = (Range){lo.lo, no_hi(hi.hi) ? INT64_MAX : larger(hi.hi - 1, lo.lo), values};
    w->inside[w->depth] = values;
    open[w->depth++] = n->kind;
    return;
  }
  case DHC_LP_IF: {
    bool values = w->of[n->a[0]->id].values;
    if (values && w->out) w->out->branches = true;
    w->inside[w->depth] = values;
    open[w->depth++] = n->kind;
    return;
  }
  case DHC_LP_END: w->depth--; return;
  case DHC_LP_VAR:
  case DHC_LP_SET: set(w, &w->var[n->i], w->of[n->a[0]->id], last); return;
  case DHC_LP_STORE:
  case DHC_LP_SCATTER:
    if (!dhc_dtype_is_float(n->a[2]->type.dtype) && is_own(n->a[0])) {
      Range x = w->of[n->a[2]->id];
      x.values = x.values || w->of[n->a[1]->id].values || (n->a[3] && w->of[n->a[3]->id].values);
      set(w, &w->kept, x, last);
    }
    return;
  default: w->of[n->id] = value_of(w, n);
  }
}

void dhc_object_kernel_loops(const DhcLp *p, const DhcObjRange *dim, DhcObjRange n_tasks, DhcArena *arena, DhcObjLoops *out) {
  Walk w = {.p = p, .dim = dim, .n_tasks = n_tasks, .of = DHC_NEW_N(arena, Range, p->code.n + 1),
            .var = DHC_NEW_N(arena, Range, p->vars.n + 1), .kept = {INT64_MAX, INT64_MIN, false}, .inside = DHC_NEW_N(arena, bool, p->code.n + 1)};
  DhcLpKind *open = DHC_NEW_N(arena, DhcLpKind, p->code.n + 1);
  for (int i = 0; i < p->vars.n; i++) w.var[i] = (Range){INT64_MAX, INT64_MIN, false}; /* nothing yet */
  for (int round = 0; round == 0 || w.changed; round++) {
    w.changed = false;
    for (int i = 0; i < p->code.n; i++) statement(&w, open, p->code.at[i], round > 0);
  }
  w.out = out;
  for (int i = 0; i < p->code.n; i++) statement(&w, open, p->code.at[i], true);
}

/* ---- the object's functions ------------------------------------------------------------------------------------ */

static bool has_symbol(const DhcObjX *x) {
  return x->op == DHC_DIM_SYM || (x->a && has_symbol(x->a)) || (x->b && has_symbol(x->b)) || (x->c && has_symbol(x->c));
}

/* Sizes that are not fixed have no upper bound of use. */
int64_t dhc_object_at_most(const DhcObjX *x) {
  switch (x->op) {
  case DHC_DIM_CONST: return x->value;
  case DHC_DIM_MIN: return smaller(dhc_object_at_most(x->a), dhc_object_at_most(x->b));
  case DHC_DIM_MAX:
  case DHC_OBJ_SELECT: return larger(dhc_object_at_most(x->a), dhc_object_at_most(x->b));
  case DHC_DIM_LE:
  case DHC_DIM_AND: return 1;
  default: return has_symbol(x) ? INT64_MAX : x->hi;
  }
}

static Range of_expression(const DhcObjX *x) { return (Range){x->lo, dhc_object_at_most(x), false}; }

static void join_loops(DhcObjLoops *to, const DhcObjLoops *more, DhcArena *arena) {
  to->branches = to->branches || more->branches;
  for (int i = 0; i < more->all.n; i++) {
    if (i == to->all.n) {
      DHC_PUSH(arena, &to->all, more->all.at[i]);
      continue;
    }
    DhcObjLoop *l = &to->all.at[i];
    l->iterations = l->iterations < 0 || more->all.at[i].iterations < 0 ? -1 : larger(l->iterations, more->all.at[i].iterations);
    l->values = l->values || more->all.at[i].values;
  }
}

void dhc_object_function_loops(const DhcObject *o, int function, DhcArena *arena, DhcObjLoops *out) {
  const DhcLp *p = o->functions.at[function].program;
  *out = (DhcObjLoops){0};
  for (int e = 0; e < o->n_entries; e++)
    for (int s = 0; s < o->entry[e]->stmts.n; s++) {
      const DhcObjStmt *call = &o->entry[e]->stmts.at[s];
      for (int c = 0; c < call->n_classes; c++) {
        if (call->class[c].function != function) continue;
        Range *dim = DHC_NEW_N(arena, Range, call->n_dims + 1);
        for (int d = 0; d < call->n_dims; d++) dim[d] = of_expression(call->dims[d]);
        DhcObjLoops one = {0};
        dhc_object_kernel_loops(p, dim, of_expression(call->class[c].n_tasks), arena, &one);
        join_loops(out, &one, arena);
      }
    }
}

const char *dhc_object_unbounded(const DhcObject *o, DhcArena *arena) {
  for (int f = 0; f < o->functions.n; f++) {
    DhcObjLoops loops;
    dhc_object_function_loops(o, f, arena, &loops);
    bool values = loops.branches;
    for (int i = 0; i < loops.all.n; i++) values = values || loops.all.at[i].values;
    for (int e = 0; e < o->n_entries && values; e++)
      for (int s = 0; s < o->entry[e]->stmts.n; s++) {
        const DhcObjStmt *call = &o->entry[e]->stmts.at[s];
        for (int c = 0; c < call->n_classes; c++) {
          if (call->class[c].function != f) continue;
          return dhc_arena_printf(arena, "entry '%s': how much %s%s%s does hangs on values, by kernel %s", o->entry[e]->name,
                                  call->label ? "'" : "", call->label ? call->label : "it", call->label ? "'" : "", o->functions.at[f].name);
        }
      }
  }
  return NULL;
}
