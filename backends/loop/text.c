/* Printer and verifier of loop programs. */
#include "backends/loop/loop.h"

static const char *const kind_name[] = {
    [DHC_LP_CONST] = "const",     [DHC_LP_DIM] = "dim",           [DHC_LP_OPERAND] = "operand",
    [DHC_LP_SCRATCH] = "scratch", [DHC_LP_LOCAL] = "local",       [DHC_LP_AT] = "at",
    [DHC_LP_EW] = "ew",           [DHC_LP_UDIV] = "udiv",         [DHC_LP_UREM] = "urem",
    [DHC_LP_BITCAST] = "bitcast", [DHC_LP_SPLAT] = "splat",       [DHC_LP_IOTA] = "iota",
    [DHC_LP_THREAD] = "thread",   [DHC_LP_BLOCK] = "block",       [DHC_LP_TF32] = "tf32",
    [DHC_LP_PAIR] = "pair",       [DHC_LP_ACROSS] = "across",   [DHC_LP_EXP2] = "exp2",
    [DHC_LP_FMA_FLUSH] = "fma_flush",
    [DHC_LP_MMA] = "mma",         [DHC_LP_BARRIER] = "barrier",
    [DHC_LP_COPY] = "copy",       [DHC_LP_COMMIT] = "commit",     [DHC_LP_WAIT] = "wait",
    [DHC_LP_GROUP_MMA] = "group_mma",
    [DHC_LP_GROUP_WAIT] = "group_wait", [DHC_LP_ALIGNED] = "aligned",
    [DHC_LP_EXTRACT] = "extract", [DHC_LP_INSERT] = "insert",     [DHC_LP_SHUFFLE] = "shuffle",
    [DHC_LP_FOLD] = "fold",       [DHC_LP_LOAD] = "load",         [DHC_LP_STORE] = "store",
    [DHC_LP_GATHER] = "gather",   [DHC_LP_SCATTER] = "scatter",   [DHC_LP_ADD_TO] = "add_to",   [DHC_LP_PREFETCH] = "prefetch",
    [DHC_LP_VAR] = "var",         [DHC_LP_GET] = "get",           [DHC_LP_SET] = "set",
    [DHC_LP_TASKS] = "tasks",     [DHC_LP_FOR] = "for",           [DHC_LP_IF] = "if",
    [DHC_LP_ELSE] = "else",       [DHC_LP_END] = "end"};

static bool has_value(DhcLpKind k) {
  switch (k) {
  case DHC_LP_STORE:
  case DHC_LP_SCATTER:
  case DHC_LP_ADD_TO:
  case DHC_LP_PREFETCH:
  case DHC_LP_BARRIER:
  case DHC_LP_COPY:
  case DHC_LP_COMMIT:
  case DHC_LP_WAIT:
  case DHC_LP_GROUP_MMA:
  case DHC_LP_GROUP_WAIT:
  case DHC_LP_VAR:
  case DHC_LP_SET:
  case DHC_LP_IF:
  case DHC_LP_ELSE:
  case DHC_LP_END: return false;
  default: return true;
  }
}
static bool opens(DhcLpKind k) {
  return k == DHC_LP_TASKS || k == DHC_LP_FOR || k == DHC_LP_IF || k == DHC_LP_ELSE;
}

/* ---- printer ------------------------------------------------------------------------ */

void dhc_lp_type_print(DhcLpType t, DhcText *to) {
  dhc_text_puts(to, dhc_dtype_name(t.dtype));
  if (t.lanes > 1) dhc_text_printf(to, "x%d", t.lanes);
  if (t.ptr) dhc_text_puts(to, "*");
}

static void print_args(const DhcLpInst *n, DhcText *to) {
  for (int k = 0; k < 4; k++)
    if (n->a[k]) dhc_text_printf(to, " %%%d", n->a[k]->id);
}

static void print_inst(const DhcLpInst *n, DhcText *to) {
  if (has_value(n->kind)) dhc_text_printf(to, "%%%d = ", n->id);
  bool named = n->kind == DHC_LP_EW || n->kind == DHC_LP_FOLD;
  if (n->kind == DHC_LP_FOLD) dhc_text_puts(to, "fold ");
  dhc_text_puts(to, named ? dhc_op_info(n->op)->name : kind_name[n->kind]);
  if (has_value(n->kind) && n->kind != DHC_LP_FOR && n->kind != DHC_LP_TASKS) {
    dhc_text_puts(to, " ");
    dhc_lp_type_print(n->type, to);
  }
  switch (n->kind) {
  case DHC_LP_CONST:
    if (dhc_dtype_is_float(n->type.dtype)) dhc_text_printf(to, " %a", n->f);
    else dhc_text_printf(to, " %lld", (long long)n->i);
    break;
  case DHC_LP_EW:
    if (n->op == DHC_OP_CAST && n->i == DHC_BF16) dhc_text_puts(to, " via bf16");
    print_args(n, to);
    break;
  case DHC_LP_FOR:
    print_args(n, to);
    dhc_text_printf(to, " step %lld", (long long)n->i);
    break;
  case DHC_LP_VAR:
  case DHC_LP_SET: dhc_text_printf(to, " v%lld =", (long long)n->i); print_args(n, to); break;
  case DHC_LP_GET: dhc_text_printf(to, " v%lld", (long long)n->i); break;
  case DHC_LP_DIM:
  case DHC_LP_OPERAND:
  case DHC_LP_SCRATCH:
  case DHC_LP_BLOCK:
  case DHC_LP_LOCAL: dhc_text_printf(to, " %lld", (long long)n->i); break;
  case DHC_LP_EXTRACT:
  case DHC_LP_INSERT:
    print_args(n, to);
    dhc_text_printf(to, " lane %lld", (long long)n->i);
    break;
  case DHC_LP_SHUFFLE:
    print_args(n, to);
    dhc_text_puts(to, " [");
    for (int l = 0; l < n->type.lanes; l++)
      dhc_text_printf(to, l ? " %d" : "%d", n->pick[l]);
    dhc_text_puts(to, "]");
    break;
  case DHC_LP_LOAD:
  case DHC_LP_STORE:
    print_args(n, to);
    if (n->align > dhc_dtype_bytes(n->a[0]->type.dtype)) dhc_text_printf(to, " align %d", n->align);
    if (n->once) dhc_text_puts(to, " once");
    break;
  case DHC_LP_GROUP_MMA:
  case DHC_LP_COPY:
    print_args(n, to);
    dhc_text_printf(to, " x%lld", (long long)n->i);
    for (int l = 0; n->pick && l < 5; l++) dhc_text_printf(to, " %d", n->pick[l]);
    break;
  case DHC_LP_ACROSS:
  case DHC_LP_ALIGNED:
    print_args(n, to);
    dhc_text_printf(to, " %lld", (long long)n->i);
    break;
  case DHC_LP_GROUP_WAIT:
  case DHC_LP_WAIT: dhc_text_printf(to, " %lld", (long long)n->i); break;
  case DHC_LP_TASKS:
  case DHC_LP_BARRIER:
  case DHC_LP_COMMIT:
  case DHC_LP_ELSE:
  case DHC_LP_END: break;
  default: print_args(n, to);
  }
}

void dhc_lp_print(const DhcLp *p, DhcText *to) {
  dhc_text_printf(to, "loop program: %d operands, %d dims%s", p->n_ptrs, p->n_dims,
                  p->later_tasks[0].n_code ? ", several phases" : p->first_tasks.n_code ? ", two phases" : "");
  if (p->threads) dhc_text_printf(to, ", blocks of %d threads, %lld bytes", p->threads, (long long)p->block_bytes);
  dhc_text_puts(to, "\n");
  int depth = 1;
  for (int i = 0; i < p->code.n; i++) {
    const DhcLpInst *n = p->code.at[i];
    if (n->kind == DHC_LP_END || n->kind == DHC_LP_ELSE) depth--;
    dhc_text_printf(to, "%*s", 2 * depth, "");
    print_inst(n, to);
    dhc_text_puts(to, "\n");
    if (opens(n->kind)) depth++;
  }
}

/* ---- verifier ------------------------------------------------------------------------- */

typedef struct Check {
  const DhcLp *p;
  DhcArena *arena;
  const char *why;
  bool *visible; /* by statement id */
  bool *alive;   /* by variable */
} Check;

static bool fail(Check *c, const DhcLpInst *n, const char *what) {
  if (!c->why) c->why = dhc_arena_printf(c->arena, "statement %%%d (%s): %s", n->id,
                                         kind_name[n->kind], what);
  return false;
}

static bool in_block(DhcLv p) { return dhc_lp_root(p)->kind == DHC_LP_BLOCK && dhc_lp_root(p)->type.dtype == DHC_F32; }

static bool check_types(Check *c, const DhcLpInst *n) {
  DhcLpType t = n->type;
  if (has_value(n->kind) && !t.ptr && t.dtype == DHC_BF16) return fail(c, n, "bf16 in a register");
  if (t.lanes < 1 || t.lanes > 64 || (t.lanes & (t.lanes - 1))) return fail(c, n, "bad lane number");
  switch (n->kind) {
  case DHC_LP_EW: {
    int k0 = n->op == DHC_OP_SELECT;
    for (int k = 0; k < 4; k++) {
      if (!n->a[k]) continue;
      if (n->a[k]->type.lanes != t.lanes || n->a[k]->type.ptr) return fail(c, n, "lanes differ");
      if (k > k0 && n->a[k]->type.dtype != n->a[k0]->type.dtype) return fail(c, n, "dtypes differ");
    }
    return true;
  }
  case DHC_LP_LOAD:
  case DHC_LP_GATHER:
    if (!n->a[0] || !n->a[0]->type.ptr) return fail(c, n, "no pointer");
    if (n->a[2] && n->a[2]->type.lanes != t.lanes) return fail(c, n, "mask lanes differ");
    return true;
  case DHC_LP_STORE:
  case DHC_LP_ADD_TO:
  case DHC_LP_SCATTER:
    if (!n->a[0] || !n->a[0]->type.ptr || !n->a[2]) return fail(c, n, "no pointer or value");
    if (n->a[3] && n->a[3]->type.lanes != n->a[2]->type.lanes) return fail(c, n, "mask lanes differ");
    return true;
  case DHC_LP_OPERAND:
    if (n->i < 0 || (n->i >= c->p->n_ptrs + (c->p->shared_bytes.n_code > 0) && !(c->p->checked && n->i == c->p->n_ptrs + 1)))
      return fail(c, n, "no such operand");
    return true;
  case DHC_LP_DIM:
    if (n->i < 0 || n->i >= c->p->n_dims) return fail(c, n, "no such dim");
    return true;
  case DHC_LP_GROUP_MMA:
    if (!in_block(n->a[1]) || !in_block(n->a[2])) return fail(c, n, "lines elsewhere than in block memory");
    if (n->a[0]->kind != DHC_LP_LOCAL || n->a[0]->i < n->i / 2) return fail(c, n, "no array of sums");
    return true;
  case DHC_LP_COPY:
    if (n->a[0]->kind != DHC_LP_BLOCK) return fail(c, n, "a copy to other than block memory");
    return true;
  default: return true;
  }
}

static void hide(Check *c, int from, int to) {
  for (int i = from; i < to; i++) {
    c->visible[i] = false;
    if (c->p->code.at[i]->kind == DHC_LP_VAR) c->alive[c->p->code.at[i]->i] = false;
  }
}

bool dhc_lp_verify(const DhcLp *p, DhcArena *arena, const char **why) {
  Check c = {p, arena, NULL, DHC_NEW_N(arena, bool, p->code.n + 1),
             DHC_NEW_N(arena, bool, p->vars.n + 1)};
  DHC_VEC(int) open = {0};
  for (int i = 0; i < p->code.n && !c.why; i++) {
    const DhcLpInst *n = p->code.at[i];
    if (n->id != i) fail(&c, n, "is out of place");
    for (int k = 0; k < 4; k++)
      if (n->a[k] && (n->a[k]->id >= i || !c.visible[n->a[k]->id] ||
                      p->code.at[n->a[k]->id] != n->a[k]))
        fail(&c, n, "uses a value that is not in scope");
    if ((n->kind == DHC_LP_GET || n->kind == DHC_LP_SET) && !c.alive[n->i])
      fail(&c, n, "uses a variable that is not in scope");
    check_types(&c, n);
    if (n->kind == DHC_LP_ELSE || n->kind == DHC_LP_END) {
      if (!open.n) {
        fail(&c, n, "closes nothing");
        break;
      }
      hide(&c, open.at[--open.n], i);
    }
    if (n->kind == DHC_LP_VAR) c.alive[n->i] = true;
    c.visible[i] = has_value(n->kind);
    if (opens(n->kind)) DHC_PUSH(arena, &open, i);
  }
  if (!c.why && open.n) fail(&c, p->code.at[open.at[open.n - 1]], "is never closed");
  if (!c.why) dhc_lp_meets(p, arena, &c.why);
  *why = c.why;
  return !c.why;
}
