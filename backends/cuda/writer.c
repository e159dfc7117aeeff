/* Loop program -> CUDA C. Self-contained: own typedefs, no headers, only the functions needed.
 *
 * A kernel's one argument is a struct by value:
 *   ptr[]   operands, and the memory that tasks share, if there is any
 *   dim[]   the spec's arguments
 *   task0, task1   the tasks to run
 *   early   of kernels that may read some operands before they wait: nobody ahead of this launch writes them
 * Rows of threads: lane l of a vector is a variable of thread l of the row, so a vector statement is the
 * scalar statement, and an exchange between lanes is a shuffle. Blocks: a vector of n lanes is n
 * variables of one thread. */
#include "backends/cuda/cuda_internal.h"

#include <math.h>

typedef struct Writer {
  const DhcLp *p;
  DhcText *to;
  const char *why;
  int row;      /* threads of a row; 0: blocks */
  int depth;
  bool groups;  /* products of groups of warps */
  bool *index;  /* by statement: an i64 that is a size or a place */
  bool *narrow; /* by statement: an i64 that is written as an int */
  bool widen;   /* what is written now takes its operands in full */
  int *per_row; /* by LOCAL: lanes among which its elements are dealt out; 1: every thread has all */
} Writer;

static void refuse(Writer *w, const char *why) {
  if (!w->why) w->why = why;
}

/* ---- names ------------------------------------------------------------------------------ */

static void constant(const DhcLpInst *n, char *at, size_t room) {
  dhc_dtype t = n->type.dtype;
  if (t == DHC_F32) {
    float f = (float)n->f;
    uint32_t bits;
    memcpy(&bits, &f, 4);
    if (!isfinite(f)) snprintf(at, room, "f32_of_bits(0x%08xu)", bits);
    else if (fabsf(f) < 1e15f && f == rintf(f)) snprintf(at, room, "%.1ff", (double)f);
    else snprintf(at, room, "%.9gf", (double)f);
    /* "1e+20f" and "0.1f" are floats, "5f" would not be: rintf took those */
  } else if (t == DHC_F64) {
    if (!isfinite(n->f)) snprintf(at, room, "(double)f32_of_bits(0x%xu)", isnan(n->f) ? 0x7fc00000u : n->f > 0 ? 0x7f800000u : 0xff800000u);
    else if (fabs(n->f) < 1e15 && n->f == rint(n->f)) snprintf(at, room, "%.1f", n->f);
    else snprintf(at, room, "%.17g", n->f);
  } else if (t == DHC_BOOL) {
    snprintf(at, room, "%s", n->i & 1 ? "true" : "false");
  } else if (n->i == INT64_MIN) {
    snprintf(at, room, "(i64)0x8000000000000000ull");
  } else if (t == DHC_I64) {
    snprintf(at, room, n->i == (int)n->i ? "%lld" : "%lldll", (long long)n->i);
  } else {
    snprintf(at, room, "(%s)%lldll", dhc_cuda_type(t), (long long)n->i);
  }
  if (*at == '-') {
    char copy[64];
    snprintf(copy, sizeof copy, "%.60s", at);
    snprintf(at, room, "(%s)", copy);
  }
}

static bool is_narrow(const Writer *w, DhcLv x) { return x->type.dtype == DHC_I64 && !x->type.ptr && w->narrow[x->id]; }

/* Of a value in registers. */
static const char *type_of(const Writer *w, DhcLv x) { return is_narrow(w, x) ? "int" : dhc_cuda_type(x->type.dtype); }

/* Values that a thread holds of one value. */
static int own_lanes(const Writer *w, DhcLpType t) { return w->row ? 1 : t.lanes; }

/* Of the pointer as it is declared; DHC_N_DTYPES: it is not used. */
static dhc_dtype operand_type(const DhcLp *p, int i) {
  for (int k = 0; k < p->code.n; k++)
    if (p->code.at[k]->kind == DHC_LP_OPERAND && p->code.at[k]->i == i) return p->code.at[k]->type.dtype;
  return DHC_N_DTYPES;
}

/* Lane `lane` of a value, as an expression. */
static const char *ref(Writer *w, DhcLv x, int lane) {
  DhcArena *a = w->p->arena;
  while (x->kind == DHC_LP_SPLAT) x = x->a[0], lane = 0;
  switch (x->kind) {
  case DHC_LP_CONST: {
    char text[80];
    constant(x, text, sizeof text);
    return dhc_arena_printf(a, "%s", text);
  }
  case DHC_LP_DIM: return dhc_arena_printf(a, "%sd%lld", w->widen && is_narrow(w, x) ? "(i64)" : "", (long long)x->i);
  case DHC_LP_OPERAND: /* memory that tasks share is seen as several types */
    if (operand_type(w->p, (int)x->i) != x->type.dtype)
      return dhc_arena_printf(a, "((%s *)p%lld)", dhc_cuda_memory_type(x->type.dtype), (long long)x->i);
    return dhc_arena_printf(a, "p%lld", (long long)x->i);
  default: break;
  }
  const char *full = w->widen && is_narrow(w, x) ? "(i64)" : "";
  if (own_lanes(w, x->type) > 1) return dhc_arena_printf(a, "%sv%d_%d", full, x->id, lane);
  return dhc_arena_printf(a, "%sv%d", full, x->id);
}
static const char *ref0(Writer *w, DhcLv x) { return ref(w, x, 0); }

static void indent(Writer *w) { dhc_text_printf(w->to, "%*s", 2 * w->depth, ""); }

static void declare(Writer *w, const DhcLpInst *n, int lane) {
  indent(w);
  if (n->type.ptr) {
    dhc_text_printf(w->to, "%s *const v%d = ", dhc_cuda_memory_type(n->type.dtype), n->id);
    return;
  }
  if (own_lanes(w, n->type) > 1) dhc_text_printf(w->to, "const %s v%d_%d = ", type_of(w, n), n->id, lane);
  else dhc_text_printf(w->to, "const %s v%d = ", type_of(w, n), n->id);
}

/* ---- what is private to a thread ----------------------------------------------------------- */

static bool is_multiple(DhcLv x, int64_t of) {
  if (x->kind == DHC_LP_CONST) return x->i % of == 0;
  if (x->kind == DHC_LP_EW && x->op == DHC_OP_MUL) return is_multiple(x->a[0], of) || is_multiple(x->a[1], of);
  if (x->kind == DHC_LP_EW && (x->op == DHC_OP_ADD || x->op == DHC_OP_SUB)) return is_multiple(x->a[0], of) && is_multiple(x->a[1], of);
  return false;
}

/* Elements of a stack array that lie in one thread's for every `per` of the program's. */
static int dealt(const Writer *w, DhcLv p) { return dhc_lp_root(p)->kind == DHC_LP_LOCAL ? w->per_row[dhc_lp_root(p)->id] : 1; }

static bool touches(const DhcLpInst *n, const DhcLpInst *local) {
  for (int k = 0; k < 4; k++)
    if (n->a[k] && n->a[k]->type.ptr && dhc_lp_root(n->a[k]) == local) return true;
  return false;
}

/* A stack array of a row of threads. Touched by vectors at multiples of their length alone, it is dealt out
 * to the lanes; by scalars alone, every thread has its own copy; nothing else. */
static int deal_out(Writer *w, const DhcLpInst *local) {
  int found = 0;
  for (int i = 0; i < w->p->code.n; i++) {
    const DhcLpInst *n = w->p->code.at[i];
    if (n->kind == DHC_LP_AT || !touches(n, local)) continue;
    if (n->kind != DHC_LP_LOAD && n->kind != DHC_LP_STORE) return refuse(w, "a stack array that lanes share"), 1;
    int lanes = n->kind == DHC_LP_STORE ? n->a[2]->type.lanes : n->type.lanes;
    if (found && found != lanes) return refuse(w, "a stack array that lanes share"), 1;
    found = lanes;
  }
  for (int i = 0; i < w->p->code.n && found > 1; i++) {
    const DhcLpInst *n = w->p->code.at[i];
    if (touches(n, local) && !is_multiple(n->a[1], found)) return refuse(w, "a stack array that lanes share"), 1;
  }
  return found ? found : 1;
}

static void find_private(Writer *w) {
  w->per_row = DHC_NEW_N(w->p->arena, int, w->p->code.n + 1);
  for (int i = 0; i < w->p->code.n; i++)
    if (w->p->code.at[i]->kind == DHC_LP_LOCAL) w->per_row[i] = w->row ? deal_out(w, w->p->code.at[i]) : 1;
}

static int lanes_of(const DhcLp *p) {
  int lanes = 1;
  for (int i = 0; i < p->code.n; i++)
    if (p->code.at[i]->type.lanes > lanes) lanes = p->code.at[i]->type.lanes;
  return lanes;
}

/* ---- memory -------------------------------------------------------------------------------- */

/* What a lane's address adds to the place of lane 0. */
static const char *place(Writer *w, const DhcLpInst *n, int lanes, int lane) {
  DhcArena *a = w->p->arena;
  const char *base = ref0(w, n->a[0]);
  if (n->kind == DHC_LP_GATHER || n->kind == DHC_LP_SCATTER) return dhc_arena_printf(a, "%s[%s]", base, ref(w, n->a[1], lane));
  const char *at = ref0(w, n->a[1]);
  if (dealt(w, n->a[0]) > 1) return dhc_arena_printf(a, "%s[%s / %d]", base, at, dealt(w, n->a[0]));
  if (lanes == 1) return dhc_arena_printf(a, "%s[%s]", base, at);
  if (w->row) return dhc_arena_printf(a, "%s[%s + lane]", base, at);
  return dhc_arena_printf(a, "%s[%s + %d]", base, at, lane);
}

static const char *widened(Writer *w, dhc_dtype t, const char *x) {
  return t == DHC_BF16 ? dhc_arena_printf(w->p->arena, "f32_of_bf16(%s)", x) : x;
}

/* n f32 of one thread side by side and aligned: one access. */
static bool is_wide(const Writer *w, const DhcLpInst *n, int lanes, DhcLv mask) {
  return !w->row && (lanes == 4 || lanes == 2) && !mask && n->a[0]->type.dtype == DHC_F32 && n->align >= 4 * lanes;
}

/* Four elements of one thread side by side in an operand's memory: one access where they are aligned, which is seen
 * when the kernel runs. */
static bool is_four(const Writer *w, const DhcLpInst *n, int lanes, DhcLv mask) {
  return !w->row && lanes == 4 && !mask && dhc_lp_root(n->a[0])->kind == DHC_LP_OPERAND && n->kind != DHC_LP_GATHER && n->kind != DHC_LP_SCATTER;
}

static void write_load(Writer *w, const DhcLpInst *n) {
  dhc_dtype t = n->a[0]->type.dtype;
  if (is_wide(w, n, n->type.lanes, n->a[2])) {
    indent(w);
    const char *at = dhc_arena_printf(w->p->arena, "(const f32x%d *)&%s", n->type.lanes, place(w, n, n->type.lanes, 0));
    dhc_text_printf(w->to, n->once && n->type.lanes == 4 ? "const f32x%d v%d = load_once(%s);\n" : "const f32x%d v%d = *%s;\n", n->type.lanes, n->id, at);
    for (int l = 0; l < n->type.lanes; l++) {
      declare(w, n, l);
      dhc_text_printf(w->to, "v%d.at[%d];\n", n->id, l);
    }
    return;
  }
  if (is_four(w, n, n->type.lanes, n->a[2])) {
    const char *type = dhc_cuda_memory_type(t);
    indent(w);
    dhc_text_printf(w->to, "const four<%s> v%d = load_four((const %s *)&%s);\n", type, n->id, type, place(w, n, 4, 0));
    for (int l = 0; l < 4; l++) {
      declare(w, n, l);
      dhc_text_printf(w->to, "%s;\n", widened(w, t, dhc_arena_printf(w->p->arena, "v%d.at[%d]", n->id, l)));
    }
    return;
  }
  for (int l = 0; l < own_lanes(w, n->type); l++) {
    declare(w, n, l);
    const char *x = widened(w, t, place(w, n, n->type.lanes, l));
    if (n->a[2]) dhc_text_printf(w->to, "%s ? %s : (%s)0;\n", ref(w, n->a[2], l), x, dhc_cuda_type(t));
    else dhc_text_printf(w->to, "%s;\n", x);
  }
}

static void write_store(Writer *w, const DhcLpInst *n) {
  dhc_dtype t = n->a[0]->type.dtype;
  int lanes = n->a[2]->type.lanes;
  if (is_wide(w, n, lanes, n->a[3])) {
    indent(w);
    const char *at = dhc_arena_printf(w->p->arena, "(f32x%d *)&%s", lanes, place(w, n, lanes, 0));
    const bool once = n->once && lanes == 4;
    dhc_text_printf(w->to, once ? "store_once(%s, f32x4{" : "*%s = {", at);
    for (int l = 0; l < lanes; l++) dhc_text_printf(w->to, "%s%s", l ? ", " : "", ref(w, n->a[2], l));
    dhc_text_puts(w->to, once ? "});\n" : "};\n");
    return;
  }
  if (is_four(w, n, lanes, n->a[3])) {
    const char *type = dhc_cuda_memory_type(t);
    indent(w);
    dhc_text_printf(w->to, "store_four(&%s, four<%s>{", place(w, n, 4, 0), type);
    for (int l = 0; l < 4; l++)
      dhc_text_printf(w->to, "%s%s(%s)", l ? ", " : "", t == DHC_BF16 ? "bf16_of" : type, ref(w, n->a[2], l));
    dhc_text_puts(w->to, "});\n");
    return;
  }
  /* one thread of a row stores what all hold; the others may neither run ahead nor lag behind */
  bool one = w->row > 1 && lanes == 1 && dhc_lp_root(n->a[0])->kind != DHC_LP_LOCAL;
  if (one) {
    indent(w);
    dhc_text_puts(w->to, "__syncwarp(row);\n");
  }
  for (int l = 0; l < (w->row ? 1 : lanes); l++) {
    indent(w);
    const char *x = ref(w, n->a[2], l);
    if (t == DHC_BF16) x = dhc_arena_printf(w->p->arena, "bf16_of(%s)", x);
    if (n->a[3]) dhc_text_printf(w->to, "if (%s) ", ref(w, n->a[3], l));
    if (one) dhc_text_puts(w->to, "if (lane == 0) ");
    dhc_text_printf(w->to, "%s = %s;\n", place(w, n, lanes, l), x);
  }
  if (one) {
    indent(w);
    dhc_text_puts(w->to, "__syncwarp(row);\n");
  }
}

static void write_add_to(Writer *w, const DhcLpInst *n) {
  const char *type = n->type.dtype == DHC_I64 ? "u64" : "u32"; /* the sums wrap: signs do not matter */
  indent(w);
  dhc_text_printf(w->to, "atomicAdd((%s *)&%s, (%s)%s);\n", type, place(w, n, 1, 0), type, ref0(w, n->a[2]));
}

static void write_local(Writer *w, const DhcLpInst *n) {
  int per = w->per_row[n->id];
  indent(w);
  dhc_text_printf(w->to, "%s v%d[%lld];\n", dhc_cuda_memory_type(n->type.dtype), n->id, (long long)((n->i + per - 1) / per));
}

/* ---- lanes ---------------------------------------------------------------------------------- */

/* x of lane `from` (an expression over lane) of the row. */
static const char *shuffled(Writer *w, DhcLv x, const char *from) {
  DhcArena *a = w->p->arena;
  dhc_dtype t = x->type.dtype;
  const char *v = ref0(w, x);
  bool narrow = t == DHC_BOOL || dhc_dtype_bytes(t) < 4;
  const char *s = dhc_arena_printf(a, "__shfl_sync(row, %s%s, %s, %d)", narrow ? "(int)" : "", v, from, w->row);
  if (t == DHC_BOOL) return dhc_arena_printf(a, "%s != 0", s);
  return narrow ? dhc_arena_printf(a, "(%s)%s", dhc_cuda_type(t), s) : s;
}

static void write_extract(Writer *w, const DhcLpInst *n) {
  declare(w, n, 0);
  if (!w->row) dhc_text_printf(w->to, "%s;\n", ref(w, n->a[0], (int)n->i));
  else dhc_text_printf(w->to, "%s;\n", shuffled(w, n->a[0], dhc_arena_printf(w->p->arena, "%lld", (long long)n->i)));
}

static void write_insert(Writer *w, const DhcLpInst *n) {
  if (w->row) {
    declare(w, n, 0);
    dhc_text_printf(w->to, "lane == %lld ? %s : %s;\n", (long long)n->i, ref0(w, n->a[1]), ref0(w, n->a[0]));
    return;
  }
  for (int l = 0; l < n->type.lanes; l++) {
    declare(w, n, l);
    dhc_text_printf(w->to, "%s;\n", l == n->i ? ref0(w, n->a[1]) : ref(w, n->a[0], l));
  }
}

static void write_shuffle(Writer *w, const DhcLpInst *n) {
  int lanes = n->a[0]->type.lanes;
  if (!w->row) {
    for (int l = 0; l < n->type.lanes; l++) {
      int from = n->pick[l] < 0 ? 0 : n->pick[l];
      declare(w, n, l);
      dhc_text_printf(w->to, "%s;\n", from < lanes ? ref(w, n->a[0], from) : ref(w, n->a[1], from - lanes));
    }
    return;
  }
  bool first = true, second = true, rotated = true;
  for (int l = 0; l < n->type.lanes; l++) {
    int from = n->pick[l] < 0 ? 0 : n->pick[l];
    first = first && from < lanes;
    second = second && from >= lanes;
    rotated = rotated && from == (l + n->pick[0]) % lanes;
  }
  if (n->type.lanes != w->row || lanes != w->row || lanes != 16) {
    refuse(w, "a shuffle of other than 16 lanes");
    return;
  }
  DhcArena *a = w->p->arena;
  declare(w, n, 0);
  if (first && rotated) {
    dhc_text_printf(w->to, "%s;\n", shuffled(w, n->a[0], dhc_arena_printf(a, "lane + %d", n->pick[0])));
    return;
  }
  uint64_t low = 0, high = 0; /* nibbles: the lane; bits: of which operand */
  for (int l = 0; l < 16; l++) {
    int from = n->pick[l] < 0 ? 0 : n->pick[l];
    low |= (uint64_t)(from % 16) << 4 * l;
    high |= (uint64_t)(from >= 16) << l;
  }
  const char *from = dhc_arena_printf(a, "(int)(0x%llxull >> 4 * lane & 15)", (unsigned long long)low);
  const char *x = shuffled(w, n->a[0], from), *y = shuffled(w, n->a[1], from);
  /* both shuffles in all lanes, then the choice */
  if (first) dhc_text_printf(w->to, "%s;\n", x);
  else if (second) dhc_text_printf(w->to, "%s;\n", y);
  else dhc_text_printf(w->to, "pick(0x%llxu >> lane & 1u, %s, %s);\n", (unsigned long long)high, y, x);
}

/* l with l + n/2, then l + n/4, … 1; the result in every lane. */
static void write_fold(Writer *w, const DhcLpInst *n) {
  const char *type = dhc_cuda_type(n->type.dtype);
  DhcArena *a = w->p->arena;
  int lanes = n->a[0]->type.lanes;
  const char *pair[2];
  if (w->row) {
    indent(w);
    dhc_text_printf(w->to, "%s f%d = %s;\n", type, n->id, ref0(w, n->a[0]));
    for (int half = lanes / 2; half; half /= 2) {
      indent(w);
      bool narrow = dhc_dtype_bytes(n->type.dtype) < 4;
      pair[0] = dhc_arena_printf(a, "f%d", n->id);
      pair[1] = dhc_arena_printf(a, "(%s)__shfl_down_sync(row, %sf%d, %d, %d)", type, narrow ? "(int)" : "", n->id, half, w->row);
      dhc_text_printf(w->to, "{ const %s o = %s; f%d = ", type, pair[1], n->id);
      pair[1] = "o";
      const char *why = dhc_cuda_ew(w->to, n->op, pair, n->type.dtype, false);
      if (why) refuse(w, why);
      dhc_text_puts(w->to, "; }\n");
    }
    declare(w, n, 0);
    dhc_text_printf(w->to, "(%s)__shfl_sync(row, %sf%d, 0, %d);\n", type, dhc_dtype_bytes(n->type.dtype) < 4 ? "(int)" : "", n->id, w->row);
    return;
  }
  indent(w);
  dhc_text_printf(w->to, "%s f%d[%d] = {", type, n->id, lanes);
  for (int l = 0; l < lanes; l++) dhc_text_printf(w->to, "%s%s", l ? ", " : "", ref(w, n->a[0], l));
  dhc_text_puts(w->to, "};\n");
  for (int half = lanes / 2; half; half /= 2)
    for (int l = 0; l < half; l++) {
      pair[0] = dhc_arena_printf(a, "f%d[%d]", n->id, l);
      pair[1] = dhc_arena_printf(a, "f%d[%d]", n->id, l + half);
      indent(w);
      dhc_text_printf(w->to, "%s = ", pair[0]);
      const char *why = dhc_cuda_ew(w->to, n->op, pair, n->type.dtype, false);
      if (why) refuse(w, why);
      dhc_text_puts(w->to, ";\n");
    }
  declare(w, n, 0);
  dhc_text_printf(w->to, "f%d[0];\n", n->id);
}

/* ---- values ----------------------------------------------------------------------------------- */

static void write_ew(Writer *w, const DhcLpInst *n) {
  for (int l = 0; l < own_lanes(w, n->type); l++) {
    declare(w, n, l);
    const char *a[4] = {0};
    for (int k = 0; k < 4; k++)
      if (n->a[k]) a[k] = ref(w, n->a[k], l);
    if (n->op == DHC_OP_CAST) {
      dhc_cuda_cast(w->to, a[0], n->a[0]->type.dtype, (dhc_dtype)n->i);
    } else {
      dhc_dtype t = n->a[n->op == DHC_OP_SELECT ? 1 : 0]->type.dtype;
      const char *why = dhc_cuda_ew(w->to, n->op, a, t, w->index[n->id]);
      if (why) refuse(w, why);
    }
    dhc_text_puts(w->to, ";\n");
  }
}

static void write_mma(Writer *w, const DhcLpInst *n) {
  indent(w);
  dhc_text_printf(w->to, "float m%d[4] = {%s, %s, %s, %s};\n", n->id, ref(w, n->a[2], 0), ref(w, n->a[2], 1), ref(w, n->a[2], 2), ref(w, n->a[2], 3));
  indent(w);
  dhc_text_printf(w->to, "mma_%s(m%d, %s, %s, %s, %s, %s, %s);\n", n->a[0]->type.dtype == DHC_U32 ? "bf16" : "tf32", n->id, ref(w, n->a[0], 0), ref(w, n->a[0], 1), ref(w, n->a[0], 2),
                  ref(w, n->a[0], 3), ref(w, n->a[1], 0), ref(w, n->a[1], 1));
  for (int l = 0; l < 4; l++) {
    declare(w, n, l);
    dhc_text_printf(w->to, "m%d[%d];\n", n->id, l);
  }
}

static void write_copy(Writer *w, const DhcLpInst *n) {
  indent(w);
  dhc_text_printf(w->to, "copy_async%lld(&%s[%s], %s, ", (long long)n->i, ref0(w, n->a[0]), ref0(w, n->a[1]), ref0(w, n->a[2]));
  if (n->a[3]) dhc_text_printf(w->to, "(int)(%s) * 4);\n", ref0(w, n->a[3]));
  else dhc_text_printf(w->to, "%lld);\n", (long long)n->i * 4);
}

/* One expression a lane. */
static void write_simple(Writer *w, const DhcLpInst *n) {
  DhcArena *a = w->p->arena;
  for (int l = 0; l < own_lanes(w, n->type); l++) {
    const char *x = n->a[0] ? ref(w, n->a[0], l) : "", *y = n->a[1] ? ref(w, n->a[1], l) : "", *text = "";
    switch (n->kind) {
    case DHC_LP_UDIV: text = dhc_arena_printf(a, "%s(%s, %s)", is_narrow(w, n) ? "place_div" : "index_div", x, y); break;
    case DHC_LP_UREM: text = dhc_arena_printf(a, "%s(%s, %s)", is_narrow(w, n) ? "place_rem" : "index_rem", x, y); break;
    case DHC_LP_BITCAST: text = dhc_arena_printf(a, "bits_to<%s>(%s)", dhc_cuda_type(n->type.dtype), x); break;
    case DHC_LP_ACROSS: text = dhc_arena_printf(a, "__shfl_xor_sync(0xffffffffu, %s, %lld)", x, (long long)n->i); break;
    case DHC_LP_EXP2: text = dhc_arena_printf(a, "exp2_near(%s)", x); break;
    case DHC_LP_FMA_FLUSH: text = dhc_arena_printf(a, "fma_flush(%s, %s, %s)", x, y, ref(w, n->a[2], l)); break;
    case DHC_LP_TF32: text = dhc_arena_printf(a, "tf32_of(%s)", x); break;
    case DHC_LP_PAIR: text = dhc_arena_printf(a, "bf16_pair(%s, %s)", x, y); break;
    case DHC_LP_THREAD: text = "threadIdx.x"; break;
    case DHC_LP_ALIGNED: text = dhc_arena_printf(a, "((u64)%s & %lld) == 0", x, (long long)n->i - 1); break;
    case DHC_LP_IOTA: text = w->row ? "lane" : dhc_arena_printf(a, "%d", l); break;
    case DHC_LP_GET:
      text = own_lanes(w, n->type) > 1 ? dhc_arena_printf(a, "x%lld_%d", (long long)n->i, l)
                                       : dhc_arena_printf(a, "x%lld", (long long)n->i);
      break;
    default: DHC_BUG("statement kind %d has no value", n->kind);
    }
    declare(w, n, l);
    dhc_text_printf(w->to, "%s;\n", text);
  }
}

static void write_pointer(Writer *w, const DhcLpInst *n) {
  const char *t = dhc_cuda_memory_type(n->type.dtype);
  indent(w);
  int per = n->kind == DHC_LP_AT ? dealt(w, n->a[0]) : 1;
  const char *in = per > 1 ? dhc_arena_printf(w->p->arena, " / %d", per) : "";
  if (n->kind == DHC_LP_AT) dhc_text_printf(w->to, "%s *const v%d = &%s[%s%s];\n", t, n->id, ref0(w, n->a[0]), ref0(w, n->a[1]), in);
  else dhc_text_printf(w->to, "%s *const v%d = (%s *)(block + %lld);\n", t, n->id, t, (long long)n->i);
}

static void write_var(Writer *w, const DhcLpInst *n, bool fresh) {
  int lanes = own_lanes(w, n->type);
  for (int l = 0; l < lanes; l++) {
    indent(w);
    const char *type = !fresh ? "" : n->type.ptr ? dhc_arena_printf(w->p->arena, "%s *", dhc_cuda_memory_type(n->type.dtype))
                                                 : dhc_arena_printf(w->p->arena, "%s ", w->narrow[n->id] ? "int" : dhc_cuda_type(n->type.dtype));
    dhc_text_printf(w->to, "%sx%lld", type, (long long)n->i);
    if (lanes > 1) dhc_text_printf(w->to, "_%d", l);
    dhc_text_printf(w->to, " = %s;\n", ref(w, n->a[0], l));
  }
}

/* ---- structure ----------------------------------------------------------------------------------- */

static void write_for(Writer *w, const DhcLpInst *n) {
  int64_t lo, hi;
  bool known = dhc_lp_is_const(n->a[0], &lo) && dhc_lp_is_const(n->a[1], &hi);
  if (n->rounds || (known && hi - lo <= 32 * n->i)) {
    indent(w);
    dhc_text_puts(w->to, "#pragma unroll");
    if (n->rounds) dhc_text_printf(w->to, " %d", n->rounds);
    dhc_text_puts(w->to, "\n");
  }
  indent(w);
  dhc_text_printf(w->to, "for (%s v%d = %s; v%d < %s; v%d += %lld) {\n", type_of(w, n), n->id, ref0(w, n->a[0]), n->id, ref0(w, n->a[1]),
                  n->id, (long long)n->i);
  w->depth++;
}

static void write_tasks(Writer *w, const DhcLpInst *n) {
  const char *type = type_of(w, n);
  indent(w);
  if (w->row)
    dhc_text_printf(w->to, "for (%s v%d = a.task0 + ((%s)blockIdx.x * %d + threadIdx.x) / %d; v%d < (%s)a.task1; v%d += (%s)gridDim.x * %d) {\n",
                    type, n->id, type, DHC_CUDA_ROW_THREADS, w->row, n->id, type, n->id, type, DHC_CUDA_ROW_THREADS / w->row);
  else
    dhc_text_printf(w->to, "for (%s v%d = a.task0 + blockIdx.x; v%d < (%s)a.task1; v%d += gridDim.x) {\n", type, n->id, n->id, type, n->id);
  w->depth++;
}

static void write_end(Writer *w, const DhcLpInst *n) {
  if (!w->row && w->p->code.at[n->i]->kind == DHC_LP_TASKS && w->p->block_bytes) {
    indent(w);
    dhc_text_puts(w->to, "__syncthreads(); // the next task fills the block's memory anew\n");
  }
  w->depth--;
  indent(w);
  dhc_text_puts(w->to, "}\n");
}

/* Does it take its operands as they are, or all of them in 64 bits? The first where it compares, counts or moves them;
 * else functions would be those of ints, and sums those of 32 bits. */
static bool is_widened(const Writer *w, const DhcLpInst *n) {
  switch (n->kind) {
  case DHC_LP_EW:
    if (n->op == DHC_OP_CAST || is_narrow(w, n)) return false;
    for (int k = n->op == DHC_OP_SELECT; k < 4; k++)
      if (n->a[k] && n->a[k]->type.dtype == DHC_I64 && !is_narrow(w, n->a[k])) return true;
    return n->type.dtype == DHC_I64;
  case DHC_LP_BITCAST:
  case DHC_LP_SHUFFLE:
  case DHC_LP_INSERT:
  case DHC_LP_EXTRACT:
  case DHC_LP_ACROSS:
  case DHC_LP_FOLD:
  case DHC_LP_UDIV:
  case DHC_LP_UREM: return !is_narrow(w, n);
  default: return false;
  }
}

static void write_statement(Writer *w, const DhcLpInst *n) {
  w->widen = is_widened(w, n);
  switch (n->kind) {
  case DHC_LP_CONST:
  case DHC_LP_DIM:
  case DHC_LP_OPERAND:
  case DHC_LP_SPLAT:
  case DHC_LP_PREFETCH: break;
  case DHC_LP_SCRATCH: DHC_BUG("a worker's scratch on a GPU"); /* legal.c */
  case DHC_LP_LOCAL: write_local(w, n); break;
  case DHC_LP_AT:
  case DHC_LP_BLOCK: write_pointer(w, n); break;
  case DHC_LP_EW: write_ew(w, n); break;
  case DHC_LP_EXTRACT: write_extract(w, n); break;
  case DHC_LP_INSERT: write_insert(w, n); break;
  case DHC_LP_SHUFFLE: write_shuffle(w, n); break;
  case DHC_LP_FOLD: write_fold(w, n); break;
  case DHC_LP_MMA: write_mma(w, n); break;
  case DHC_LP_LOAD:
  case DHC_LP_GATHER: write_load(w, n); break;
  case DHC_LP_STORE:
  case DHC_LP_SCATTER: write_store(w, n); break;
  case DHC_LP_ADD_TO: write_add_to(w, n); break;
  case DHC_LP_VAR: write_var(w, n, true); break;
  case DHC_LP_SET: write_var(w, n, false); break;
  case DHC_LP_TASKS: write_tasks(w, n); break;
  case DHC_LP_FOR: write_for(w, n); break;
  case DHC_LP_GROUP_MMA:
    indent(w);
    dhc_text_puts(w->to, n->pick ? "group_fours" : "group_mma");
    if (n->pick) dhc_text_printf(w->to, "_%d", n->pick[0]);
    dhc_text_printf(w->to, "_%lld(v%d, %s, %s", (long long)n->i, n->a[0]->id, ref0(w, n->a[1]), ref0(w, n->a[2]));
    for (int i = 1; n->pick && i < 5; i++) dhc_text_printf(w->to, ", %d", n->pick[i]);
    dhc_text_puts(w->to, ");\n");
    break;
  case DHC_LP_GROUP_WAIT:
    indent(w);
    dhc_text_printf(w->to, "asm volatile(\"wgmma.wait_group.sync.aligned %lld;\" ::: \"memory\");\n", (long long)n->i);
    break;
  case DHC_LP_BARRIER:
    if (w->groups) { /* what this thread stored or copied is seen by products */
      indent(w);
      dhc_text_puts(w->to, "asm volatile(\"fence.proxy.async.shared::cta;\" ::: \"memory\");\n");
    }
    indent(w);
    dhc_text_puts(w->to, "__syncthreads();\n");
    break;
  case DHC_LP_COPY: write_copy(w, n); break;
  case DHC_LP_COMMIT:
    indent(w);
    dhc_text_puts(w->to, "asm volatile(\"cp.async.commit_group;\" ::: \"memory\");\n");
    break;
  case DHC_LP_WAIT:
    indent(w);
    dhc_text_printf(w->to, "asm volatile(\"cp.async.wait_group %lld;\" ::: \"memory\");\n", (long long)n->i);
    break;
  case DHC_LP_IF:
    indent(w);
    dhc_text_printf(w->to, "if (%s) {\n", ref0(w, n->a[0]));
    w->depth++;
    break;
  case DHC_LP_ELSE:
    w->depth--;
    indent(w);
    dhc_text_puts(w->to, "} else {\n");
    w->depth++;
    break;
  case DHC_LP_END: write_end(w, n); break;
  default: write_simple(w, n);
  }
}

/* ---- kernels --------------------------------------------------------------------------------------- */

static bool uses_dim(const DhcLp *p, int i) {
  for (int k = 0; k < p->code.n; k++)
    if (p->code.at[k]->kind == DHC_LP_DIM && p->code.at[k]->i == i) return true;
  return false;
}

/* What comes next may start to start where this leaves it room: its wait is for all of this. */
static void write_wait(Writer *w) {
  dhc_text_puts(w->to, "#if __CUDA_ARCH__ >= 900\n");
  indent(w);
  dhc_text_puts(w->to, "asm volatile(\"griddepcontrol.wait;\" ::: \"memory\");\n");
  indent(w);
  dhc_text_puts(w->to, "if (gridDim.x <= 128) asm volatile(\"griddepcontrol.launch_dependents;\");\n#endif\n");
}

static void write_kernel(Writer *w, const char *name, DhcCudaLaunch *launch) {
  const DhcLp *p = w->p;
  DhcText *to = w->to;
  w->row = p->threads ? 0 : lanes_of(p);
  w->groups = dhc_lp_groups(p);
  int threads = p->threads ? p->threads : DHC_CUDA_ROW_THREADS;
  int n_ptrs = p->n_ptrs + (p->shared_bytes.n_code > 0);
  const bool early = p->early[0] || p->early[1] || p->early[2];
  *launch = (DhcCudaLaunch){threads, w->row ? threads / w->row : 1, (int)p->block_bytes, n_ptrs, p->n_dims, {0}, {0}};
  memcpy(launch->early, p->early, sizeof launch->early);
  dhc_cuda_stores(p, launch);
  if (w->row > 32) refuse(w, "vectors of more than 32 lanes");
  for (int i = 0; i < p->code.n && w->row; i++)
    if (p->code.at[i]->type.lanes != 1 && p->code.at[i]->type.lanes != w->row) refuse(w, "vectors of several lengths");
  w->narrow = dhc_lp_narrow(p, p->arena);
  w->index = p->narrow_dims ? w->narrow : dhc_lp_indices(p, p->arena);
  find_private(w);
  dhc_text_printf(to, "struct Args_%s {\n  void *ptr[%d];\n  i64 dim[%d];\n  i64 task0, task1%s;\n};\n\n", name, n_ptrs ? n_ptrs : 1,
                  p->n_dims ? p->n_dims : 1, early ? ", early" : "");
  dhc_text_printf(to, "extern \"C\" __global__ void __launch_bounds__(%d", threads);
  if (p->together) dhc_text_printf(to, ", %d", p->together);
  dhc_text_printf(to, ")\n%s(const __grid_constant__ Args_%s a) {\n", name, name);
  w->depth = 1;
  if (w->row > 1) {
    dhc_text_printf(to, "  const int lane = threadIdx.x %% %d; // of a row of %d threads\n", w->row, w->row);
    if (w->row >= 32) dhc_text_puts(to, "  const unsigned row = 0xffffffffu;\n");
    else dhc_text_printf(to, "  const unsigned row = 0x%xu << (threadIdx.x %% 32 / %d * %d);\n", (1u << w->row) - 1, w->row, w->row);
  }
  if (p->block_bytes) dhc_text_printf(to, "  extern __shared__ __align__(%d) unsigned char block[];\n", w->groups ? 1024 : 128);
  for (int i = 0; i < n_ptrs; i++) {
    dhc_dtype t = operand_type(p, i);
    if (t == DHC_N_DTYPES) continue;
    bool alone = i == p->n_ptrs; /* what tasks share; operands may lie in one another */
    dhc_text_printf(to, "  %s *%s p%d = (%s *)a.ptr[%d];\n", dhc_cuda_memory_type(t), alone ? "__restrict__ const" : "const", i,
                    dhc_cuda_memory_type(t), i);
    dhc_text_printf(to, "  __builtin_assume(__isGlobal(p%d));\n", i); /* no store to block memory can touch it */
  }
  for (int i = 0; i < p->n_dims; i++)
    if (uses_dim(p, i)) dhc_text_printf(to, "  const %s d%d = a.dim[%d];\n", i < p->narrow_dims ? "int" : "i64", i, i);
  if (early) dhc_text_puts(to, "#if __CUDA_ARCH__ >= 900\n  if (!a.early) asm volatile(\"griddepcontrol.wait;\" ::: \"memory\");\n#endif\n");
  const bool *before = dhc_cuda_waits(p);
  for (int i = 0; i < p->code.n && !w->why; i++) {
    if (before[i]) write_wait(w);
    write_statement(w, p->code.at[i]);
  }
  dhc_text_puts(to, "}\n");
}

void dhc_cuda_write(const DhcLp *const *program, const char *const *names, int n, const char *about, DhcText *to,
                    DhcCudaLaunch *launch, const char **why) {
  DhcText body = {.arena = program[0]->arena};
  *why = NULL;
  for (int i = 0; i < n && !*why; i++) {
    Writer w = {.p = program[i], .to = &body};
    dhc_text_puts(&body, "\n");
    write_kernel(&w, names[i], &launch[i]);
    *why = w.why;
  }
  const char *text = dhc_text_str(&body);
  for (const char *line = about; line && *line;) {
    int length = (int)strcspn(line, "\n");
    dhc_text_printf(to, "// %.*s\n", length, line);
    line += length + (line[length] == '\n');
  }
  dhc_text_puts(to, "typedef long long i64;\ntypedef unsigned long long u64;\ntypedef unsigned u32;\n"
                    "typedef short i16;\ntypedef unsigned short u16, bf16;\ntypedef signed char i8;\ntypedef unsigned char u8;\n");
  if (strstr(text, "f32x2")) dhc_text_puts(to, "struct __align__(8) f32x2 { float at[2]; };\n");
  if (strstr(text, "f32x4")) dhc_text_puts(to, "struct __align__(16) f32x4 { float at[4]; };\n");
  if (strstr(text, "pick("))
    dhc_text_puts(to, "template <class T> static __device__ __forceinline__ T pick(bool c, T x, T y) { return c ? x : y; }\n");
  dhc_cuda_pieces(text, to);
  dhc_cuda_groups(program, n, to);
  dhc_text_puts(to, text);
}
