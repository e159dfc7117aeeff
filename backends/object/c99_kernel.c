/* Loop program -> C99. A vector is an array, and a statement over it a loop over its lanes, which compilers unroll. Shares its
 * notation with the CUDA C writer (backends/cuda/writer.c): v is a value, x a variable, p an operand, d a dim. */
#include <math.h>

#include "backends/object/c99.h"

typedef struct Writer {
  const DhcLp *p;
  DhcText *to;
  const char *why;
  int depth;
  bool *used;  /* by statement: it does something, or what does reads it */
  bool *index; /* by statement: an i64 that is a size or a place, which never overflows */
} Writer;

static void refuse(Writer *w, const char *why) {
  if (!w->why) w->why = why;
}

static void line(Writer *w) { dhc_text_printf(w->to, "%*s", 2 * w->depth, ""); }

static const char *constant(Writer *w, const DhcLpInst *n) {
  DhcArena *a = w->p->arena;
  dhc_dtype t = n->type.dtype;
  if (t == DHC_F32) {
    float f = (float)n->f;
    uint32_t bits;
    memcpy(&bits, &f, 4);
    if (!isfinite(f)) return dhc_arena_printf(a, "f32_of_bits(0x%08xu)", bits);
    return dhc_arena_printf(a, signbit(f) ? "(%af)" : "%af", (double)f);
  }
  if (t == DHC_F64) {
    uint64_t bits;
    memcpy(&bits, &n->f, 8);
    if (!isfinite(n->f)) return dhc_arena_printf(a, "f64_of_bits(0x%016llxu)", (unsigned long long)bits);
    return dhc_arena_printf(a, signbit(n->f) ? "(%a)" : "%a", n->f);
  }
  if (t == DHC_BOOL) return n->i & 1 ? "true" : "false";
  if (n->i == INT64_MIN) return "INT64_MIN";
  if (t == DHC_I64) return dhc_arena_printf(a, n->i == (int)n->i ? n->i < 0 ? "(%lld)" : "%lld" : "INT64_C(%lld)", (long long)n->i);
  return dhc_arena_printf(a, "((%s)INT64_C(%lld))", dhc_c99_type(t), (long long)n->i);
}

/* What an operand's pointer is declared as; DHC_N_DTYPES: it is not used. */
static dhc_dtype operand_type(const DhcLp *p, int64_t i) {
  for (int k = 0; k < p->code.n; k++)
    if (p->code.at[k]->kind == DHC_LP_OPERAND && p->code.at[k]->i == i) return p->code.at[k]->type.dtype;
  return DHC_N_DTYPES;
}

/* Lane `lane` (an expression) of a value. */
static const char *ref(Writer *w, DhcLv x, const char *lane) {
  DhcArena *a = w->p->arena;
  while (x->kind == DHC_LP_SPLAT) x = x->a[0];
  switch (x->kind) {
  case DHC_LP_CONST: return constant(w, x);
  case DHC_LP_DIM: return dhc_arena_printf(a, "d%lld", (long long)x->i);
  case DHC_LP_OPERAND: /* memory that tasks share is seen as several types */
    if (operand_type(w->p, x->i) != x->type.dtype)
      return dhc_arena_printf(a, "((%s *)(void *)p%lld)", dhc_c99_memory_type(x->type.dtype), (long long)x->i);
    return dhc_arena_printf(a, "p%lld", (long long)x->i);
  default: break;
  }
  if (x->type.lanes > 1 && !x->type.ptr) return dhc_arena_printf(a, "v%d[%s]", x->id, lane);
  return dhc_arena_printf(a, "v%d", x->id);
}
static const char *ref0(Writer *w, DhcLv x) { return ref(w, x, "0"); }
static const char *lane_text(Writer *w, int l) { return dhc_arena_printf(w->p->arena, "%d", l); }

/* "float v7[16];" and the head of a loop over its lanes, or "const float v7 = ": an expression follows. */
static void declare(Writer *w, const DhcLpInst *n) {
  line(w);
  if (n->type.ptr) dhc_text_printf(w->to, "%s *const v%d = ", dhc_c99_memory_type(n->type.dtype), n->id);
  else if (n->type.lanes == 1) dhc_text_printf(w->to, "const %s v%d = ", dhc_c99_type(n->type.dtype), n->id);
  else {
    dhc_text_printf(w->to, "%s v%d[%d];\n", dhc_c99_type(n->type.dtype), n->id, n->type.lanes);
    line(w);
    dhc_text_printf(w->to, "for (int l = 0; l < %d; l++) v%d[l] = ", n->type.lanes, n->id);
  }
}

static bool acts(const DhcLpInst *n) {
  switch (n->kind) {
  case DHC_LP_STORE:
  case DHC_LP_SCATTER:
  case DHC_LP_VAR:
  case DHC_LP_SET:
  case DHC_LP_TASKS:
  case DHC_LP_FOR:
  case DHC_LP_IF:
  case DHC_LP_ELSE:
  case DHC_LP_END: return true;
  default: return false;
  }
}

/* Templates leave it to LLVM to drop what nothing reads; compilers of C complain. */
static void find_used(Writer *w) {
  w->used = DHC_NEW_N(w->p->arena, bool, w->p->code.n + 1);
  for (int i = w->p->code.n - 1; i >= 0; i--) {
    const DhcLpInst *n = w->p->code.at[i];
    w->used[i] = w->used[i] || acts(n);
    for (int k = 0; k < 4 && w->used[i]; k++)
      if (n->a[k]) w->used[n->a[k]->id] = true;
  }
}

/* ---- memory -------------------------------------------------------------------------------------- */

static const char *place(Writer *w, const DhcLpInst *n, bool vector) {
  DhcArena *a = w->p->arena;
  const char *base = ref0(w, n->a[0]);
  if (n->kind == DHC_LP_GATHER || n->kind == DHC_LP_SCATTER) return dhc_arena_printf(a, "%s[%s]", base, ref(w, n->a[1], "l"));
  return dhc_arena_printf(a, vector ? "%s[%s + l]" : "%s[%s]", base, ref0(w, n->a[1]));
}

static void write_load(Writer *w, const DhcLpInst *n) {
  dhc_dtype t = n->a[0]->type.dtype;
  const char *x = place(w, n, n->type.lanes > 1);
  if (t == DHC_BF16) x = dhc_arena_printf(w->p->arena, "f32_of_bf16(%s)", x);
  if (t == DHC_BOOL) x = dhc_arena_printf(w->p->arena, "%s != 0", x);
  declare(w, n);
  if (n->a[2]) dhc_text_printf(w->to, "%s ? %s : 0;\n", ref(w, n->a[2], "l"), x);
  else dhc_text_printf(w->to, "%s;\n", x);
}

static void write_store(Writer *w, const DhcLpInst *n) {
  dhc_dtype t = n->a[0]->type.dtype;
  int lanes = n->a[2]->type.lanes;
  const char *x = ref(w, n->a[2], "l");
  if (t == DHC_BF16) x = dhc_arena_printf(w->p->arena, "bf16_of(%s)", x);
  line(w);
  if (lanes > 1) dhc_text_printf(w->to, "for (int l = 0; l < %d; l++) ", lanes);
  if (n->a[3]) dhc_text_printf(w->to, "if (%s) ", ref(w, n->a[3], "l"));
  dhc_text_printf(w->to, "%s = %s;\n", place(w, n, lanes > 1), x);
}

static void write_pointer(Writer *w, const DhcLpInst *n) {
  const char *t = dhc_c99_memory_type(n->type.dtype);
  line(w);
  if (n->kind == DHC_LP_LOCAL) dhc_text_printf(w->to, "%s v%d[%lld];\n", t, n->id, (long long)n->i);
  else if (n->kind == DHC_LP_SCRATCH) dhc_text_printf(w->to, "%s *const v%d = (%s *)(void *)((char *)scratch + %lld);\n", t, n->id, t, (long long)n->i);
  else dhc_text_printf(w->to, "%s *const v%d = &%s[%s];\n", t, n->id, ref0(w, n->a[0]), ref0(w, n->a[1]));
}

/* ---- values --------------------------------------------------------------------------------------- */

static void write_ew(Writer *w, const DhcLpInst *n) {
  const char *a[4] = {0};
  for (int k = 0; k < 4; k++)
    if (n->a[k]) a[k] = ref(w, n->a[k], "l");
  declare(w, n);
  if (n->op == DHC_OP_CAST) {
    dhc_c99_cast(w->to, a[0], n->a[0]->type.dtype, (dhc_dtype)n->i);
  } else {
    const char *why = dhc_c99_ew(w->to, n->op, a, n->a[n->op == DHC_OP_SELECT ? 1 : 0]->type.dtype, w->index[n->id]);
    if (why) refuse(w, why);
  }
  dhc_text_puts(w->to, ";\n");
}

/* All lanes at once, by an expression each. */
static void write_lanes(Writer *w, const DhcLpInst *n, const char **lane) {
  line(w);
  dhc_text_printf(w->to, "const %s v%d[%d] = {", dhc_c99_type(n->type.dtype), n->id, n->type.lanes);
  for (int l = 0; l < n->type.lanes; l++) dhc_text_printf(w->to, "%s%s", l ? ", " : "", lane[l]);
  dhc_text_puts(w->to, "};\n");
}

static void write_insert(Writer *w, const DhcLpInst *n) {
  const char *lane[64];
  for (int l = 0; l < n->type.lanes; l++) lane[l] = l == n->i ? ref0(w, n->a[1]) : ref(w, n->a[0], lane_text(w, l));
  write_lanes(w, n, lane);
}

static void write_shuffle(Writer *w, const DhcLpInst *n) {
  const char *lane[64];
  int first = n->a[0]->type.lanes;
  for (int l = 0; l < n->type.lanes; l++) {
    int from = n->pick[l] < 0 ? 0 : n->pick[l];
    lane[l] = from < first ? ref(w, n->a[0], lane_text(w, from)) : ref(w, n->a[1], lane_text(w, from - first));
  }
  if (n->type.lanes > 1) {
    write_lanes(w, n, lane);
    return;
  }
  declare(w, n);
  dhc_text_printf(w->to, "%s;\n", lane[0]);
}

/* l with l + n/2, then l + n/4, … 1 */
static void write_fold(Writer *w, const DhcLpInst *n) {
  int lanes = n->a[0]->type.lanes, id = n->id;
  DhcArena *a = w->p->arena;
  line(w);
  dhc_text_printf(w->to, "%s f%d[%d];\n", dhc_c99_type(n->type.dtype), id, lanes);
  line(w);
  dhc_text_printf(w->to, "for (int l = 0; l < %d; l++) f%d[l] = %s;\n", lanes, id, ref(w, n->a[0], "l"));
  line(w);
  dhc_text_printf(w->to, "for (int h = %d; h > 0; h /= 2) for (int l = 0; l < h; l++) f%d[l] = ", lanes / 2, id);
  const char *pair[] = {dhc_arena_printf(a, "f%d[l]", id), dhc_arena_printf(a, "f%d[l + h]", id)};
  const char *why = dhc_c99_ew(w->to, n->op, pair, n->type.dtype, false);
  if (why) refuse(w, why);
  dhc_text_puts(w->to, ";\n");
  declare(w, n);
  dhc_text_printf(w->to, "f%d[0];\n", id);
}

static void write_simple(Writer *w, const DhcLpInst *n) {
  DhcArena *a = w->p->arena;
  const char *x = n->a[0] ? ref(w, n->a[0], "l") : "", *y = n->a[1] ? ref(w, n->a[1], "l") : "", *text = "";
  dhc_dtype from = n->a[0] ? n->a[0]->type.dtype : DHC_F32;
  switch (n->kind) {
  case DHC_LP_UDIV: text = dhc_arena_printf(a, "(i64)((u64)%s / (u64)%s)", x, y); break;
  case DHC_LP_UREM: text = dhc_arena_printf(a, "(i64)((u64)%s %% (u64)%s)", x, y); break;
  case DHC_LP_BITCAST:
    if (dhc_dtype_is_float(from)) text = dhc_arena_printf(a, "(%s)bits_of_f%d(%s)", dhc_c99_type(n->type.dtype), 8 * dhc_dtype_bytes(from), x);
    else if (dhc_dtype_is_float(n->type.dtype)) text = dhc_arena_printf(a, "f%d_of_bits((u%d)%s)", 8 * dhc_dtype_bytes(from), 8 * dhc_dtype_bytes(from), x);
    else text = dhc_arena_printf(a, "(%s)%s", dhc_c99_type(n->type.dtype), x);
    break;
  case DHC_LP_IOTA: text = n->type.lanes > 1 ? "l" : "0"; break;
  case DHC_LP_EXTRACT: text = ref(w, n->a[0], lane_text(w, (int)n->i)); break;
  case DHC_LP_GET: text = dhc_arena_printf(a, n->type.lanes > 1 ? "x%lld[l]" : "x%lld", (long long)n->i); break;
  default: DHC_BUG("a statement of kind %d has no form in C", (int)n->kind);
  }
  declare(w, n);
  dhc_text_printf(w->to, "%s;\n", text);
}

static void write_var(Writer *w, const DhcLpInst *n, bool fresh) {
  const DhcLpInst *begun = w->p->vars.at[n->i];
  const char *x = ref(w, n->a[0], "l");
  int lanes = begun->type.ptr ? 1 : begun->type.lanes;
  line(w);
  if (fresh && lanes > 1) {
    dhc_text_printf(w->to, "%s x%lld[%d];\n", dhc_c99_type(begun->type.dtype), (long long)n->i, lanes);
    line(w);
  }
  if (lanes > 1) dhc_text_printf(w->to, "for (int l = 0; l < %d; l++) x%lld[l] = %s;\n", lanes, (long long)n->i, x);
  else if (!fresh) dhc_text_printf(w->to, "x%lld = %s;\n", (long long)n->i, x);
  else if (begun->type.ptr) dhc_text_printf(w->to, "%s *x%lld = %s;\n", dhc_c99_memory_type(begun->type.dtype), (long long)n->i, x);
  else dhc_text_printf(w->to, "%s x%lld = %s;\n", dhc_c99_type(begun->type.dtype), (long long)n->i, x);
}

/* ---- structure -------------------------------------------------------------------------------------- */

static void write_statement(Writer *w, const DhcLpInst *n) {
  switch (n->kind) {
  case DHC_LP_CONST:
  case DHC_LP_DIM:
  case DHC_LP_OPERAND:
  case DHC_LP_SPLAT:
  case DHC_LP_PREFETCH: return;
  case DHC_LP_SCRATCH:
  case DHC_LP_LOCAL:
  case DHC_LP_AT: write_pointer(w, n); return;
  case DHC_LP_EW: write_ew(w, n); return;
  case DHC_LP_INSERT: write_insert(w, n); return;
  case DHC_LP_SHUFFLE: write_shuffle(w, n); return;
  case DHC_LP_FOLD: write_fold(w, n); return;
  case DHC_LP_LOAD:
  case DHC_LP_GATHER: write_load(w, n); return;
  case DHC_LP_STORE:
  case DHC_LP_SCATTER: write_store(w, n); return;
  case DHC_LP_VAR: write_var(w, n, true); return;
  case DHC_LP_SET: write_var(w, n, false); return;
  case DHC_LP_TASKS:
  case DHC_LP_FOR:
    line(w);
    dhc_text_printf(w->to, "for (i64 v%d = %s; v%d < %s; v%d += %lld) {\n", n->id, n->kind == DHC_LP_TASKS ? "task0" : ref0(w, n->a[0]), n->id,
                    n->kind == DHC_LP_TASKS ? "task1" : ref0(w, n->a[1]), n->id, n->kind == DHC_LP_TASKS ? 1 : (long long)n->i);
    w->depth++;
    return;
  case DHC_LP_IF:
    line(w);
    dhc_text_printf(w->to, "if (%s) {\n", ref0(w, n->a[0]));
    w->depth++;
    return;
  case DHC_LP_ELSE:
  case DHC_LP_END:
    w->depth--;
    line(w);
    dhc_text_puts(w->to, n->kind == DHC_LP_ELSE ? "} else {\n" : "}\n");
    w->depth += n->kind == DHC_LP_ELSE;
    return;
  default: write_simple(w, n);
  }
}

static bool uses(const Writer *w, DhcLpKind kind, int64_t i) {
  const DhcLp *p = w->p;
  for (int k = 0; k < p->code.n; k++)
    if (w->used[k] && p->code.at[k]->kind == kind && (i < 0 || p->code.at[k]->i == i)) return true;
  return false;
}

const char *dhc_c99_kernel(const DhcLp *p, const char *name, DhcText *to) {
  Writer w = {.p = p, .to = to, .depth = 1};
  int n_ptrs = p->n_ptrs + (p->shared_bytes.n_code > 0);
  w.index = dhc_lp_indices(w.p, w.p->arena);
  find_used(&w);
  dhc_text_printf(to, "static void %s(void *const *ptr, const i64 *dim, i64 task0, i64 task1, void *scratch) {\n", name);
  for (int i = 0; i < n_ptrs; i++) {
    dhc_dtype t = operand_type(p, i);
    if (t == DHC_N_DTYPES || !uses(&w, DHC_LP_OPERAND, i)) continue;
    const char *memory = dhc_c99_memory_type(t);
    dhc_text_printf(to, "  %s *const p%d = (%s *)ptr[%d];\n", memory, i, memory, i);
  }
  bool dims = false;
  for (int i = 0; i < p->n_dims; i++)
    if (uses(&w, DHC_LP_DIM, i)) dhc_text_printf(to, "  const i64 d%d = dim[%d];\n", i, i), dims = true;
  if (!dims) dhc_text_puts(to, "  (void)dim;\n");
  if (!n_ptrs) dhc_text_puts(to, "  (void)ptr;\n");
  if (!uses(&w, DHC_LP_SCRATCH, -1)) dhc_text_puts(to, "  (void)scratch;\n");
  for (int i = 0; i < p->code.n && !w.why; i++)
    if (w.used[i]) write_statement(&w, p->code.at[i]);
  dhc_text_puts(to, "}\n\n");
  return w.why;
}
