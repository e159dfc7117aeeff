/* A thread is a place in the program, its values and its variables; it runs until a statement at which
 * threads meet (a barrier, a matrix tile) or its end. Rows of threads are one thread with vectors here:
 * lanes exchange values only where a statement says so. */
#include "backends/loop/interp.h"

#include <math.h>

#include "ir/interp.h"

enum { WARP = 32, GROUP = 128 };

typedef struct Val {
  DhcScalar *lane;   /* type.lanes of them */
  DhcLpMemory memory; /* pointers; `at` moves */
} Val;

/* A copy under way. */
typedef struct Copy {
  char *to;
  const char *from;
  int n, group; /* elements; number of its group, from 0 */
} Copy;

/* A group's product under way, from a group's first thread: where its lines are. */
typedef struct Product {
  const DhcLpInst *statement;
  const char *x, *y;
} Product;

typedef struct Thread {
  int pc; /* -1: done */
  int groups; /* closed so far */
  DHC_VEC(Copy) copies;
  DHC_VEC(Product) products;
  int64_t number;
  Val *value, *var;
  DhcLpMemory *local; /* by statement */
} Thread;

typedef struct Run {
  const DhcLp *p;
  const DhcLpMemory *ptr;
  const int64_t *dim;
  DhcArena *arena;
  const bool *narrow; /* by statement (dhc_lp_narrow) */
  const int *match; /* opener <-> what ends its block; by statement */
  DhcLpMemory block;
  bool late; /* copies arrive when they are waited for, else at once: both must be right */
  const char *why;
} Run;

static void fault(Run *r, const DhcLpInst *n, const char *what) {
  if (!r->why) r->why = dhc_arena_printf(r->arena, "statement %%%d: %s", n->id, what);
}

/* ---- elements ----------------------------------------------------------------------- */

static float from_bits(uint32_t u) {
  float f;
  memcpy(&f, &u, 4);
  return f;
}
static uint32_t to_bits(float f) {
  uint32_t u;
  memcpy(&u, &f, 4);
  return u;
}
static uint32_t bf16_of(double x) {
  uint32_t u = to_bits((float)x);
  return isnan(x) ? (u | 0x400000) >> 16 : (u + ((u >> 16 & 1) + 0x7fff)) >> 16;
}

static char *element(Run *r, const DhcLpInst *n, DhcLpMemory m, dhc_dtype t, int64_t index) {
  char *at = (char *)m.at + index * dhc_dtype_bytes(t);
  if (at >= (char *)m.lo && at + dhc_dtype_bytes(t) <= (char *)m.hi) return at;
  fault(r, n, dhc_arena_printf(r->arena, "element %lld lies outside", (long long)index));
  return NULL;
}

static DhcScalar get(dhc_dtype t, const char *at) {
  DhcScalar s = {0};
  union {
    double f64;
    float f32;
    int64_t i64;
    int32_t i32;
    uint32_t u32;
    int16_t i16;
    uint16_t u16;
    int8_t i8;
    uint8_t u8;
  } u;
  memcpy(&u, at, (size_t)dhc_dtype_bytes(t));
  switch (t) {
  case DHC_F64: s.f = u.f64; break;
  case DHC_F32: s.f = (double)u.f32; break;
  case DHC_BF16: s.f = (double)from_bits((uint32_t)u.u16 << 16); break;
  case DHC_I64: s.i = u.i64; break;
  case DHC_I32: s.i = u.i32; break;
  case DHC_U32: s.i = u.u32; break;
  case DHC_I16: s.i = u.i16; break;
  case DHC_U16: s.i = u.u16; break;
  case DHC_I8: s.i = u.i8; break;
  default: s.i = u.u8;
  }
  return s;
}

static void put(dhc_dtype t, char *at, DhcScalar s) {
  float f = (float)s.f;
  uint16_t h = (uint16_t)bf16_of(s.f);
  if (t == DHC_F64) memcpy(at, &s.f, 8);
  else if (t == DHC_F32) memcpy(at, &f, 4);
  else if (t == DHC_BF16) memcpy(at, &h, 2);
  else memcpy(at, &s.i, (size_t)dhc_dtype_bytes(t)); /* the low bytes: little-endian */
}

static DhcScalar rounded(dhc_dtype t, DhcScalar s) {
  if (t == DHC_F32) s.f = (double)(float)s.f;
  return s;
}

/* ---- values -------------------------------------------------------------------------- */

static DhcScalar cast(const DhcLpInst *n, DhcScalar x) {
  dhc_dtype from = n->a[0]->type.dtype, to = (dhc_dtype)n->i;
  DhcScalar r = {0};
  if (to == DHC_BF16) {
    r.f = (double)from_bits(bf16_of(dhc_dtype_is_float(from) ? x.f : (double)x.i) << 16);
  } else {
    r = dhc_eval_cast(from, to, x);
  }
  return rounded(to, r);
}

static DhcScalar ew(const DhcLpInst *n, const DhcScalar *a) {
  dhc_dtype t = n->a[n->op == DHC_OP_SELECT ? 1 : 0]->type.dtype;
  if (n->op == DHC_OP_FMA && t == DHC_F32) return (DhcScalar){.f = (double)fmaf((float)a[0].f, (float)a[1].f, (float)a[2].f)};
  return rounded(n->type.dtype, dhc_eval_ew(n->op, t, a));
}

/* Ten bits of mantissa, as matrix tiles read their operands. */
static double cut(double x) { return isnan(x) ? x : (double)from_bits(to_bits((float)x) & ~0x1fffu); }

/* What a matrix tile makes of a thread's value: an f32, or half i of a pair. */
static double operand(DhcScalar x, bool pair, int i) {
  return pair ? (double)from_bits((uint32_t)x.i >> 16 * i << 16) : cut(x.f);
}

static double sum_of(const double *term, int n) {
  double sum = 0;
  for (int i = 0; i < n; i++) sum += term[i];
  return sum;
}

static void fold(const DhcLpInst *n, const DhcScalar *x, DhcScalar *out) {
  DhcScalar v[64];
  memcpy(v, x, sizeof *v * (size_t)n->a[0]->type.lanes);
  for (int half = n->a[0]->type.lanes / 2; half; half /= 2)
    for (int l = 0; l < half; l++) v[l] = rounded(n->type.dtype, dhc_eval_ew(n->op, n->type.dtype, (DhcScalar[]){v[l], v[l + half]}));
  *out = v[0];
}

static double flushed(double x) { return fabs(x) < 0x1p-126 ? 0 : x; }

static DhcScalar lane_of(const Thread *t, DhcLv x, int l) {
  return t->value[x->id].lane[x->type.lanes == 1 ? 0 : l];
}

static void lanes(Run *r, Thread *t, const DhcLpInst *n, DhcScalar *out) {
  for (int l = 0; l < n->type.lanes; l++) {
    DhcScalar a[4];
    for (int k = 0; k < 4; k++)
      if (n->a[k] && !n->a[k]->type.ptr && n->kind != DHC_LP_FOLD && n->kind != DHC_LP_EXTRACT && n->kind != DHC_LP_SHUFFLE)
        a[k] = lane_of(t, n->a[k], l);
    switch (n->kind) {
    case DHC_LP_CONST: out[l] = dhc_dtype_is_float(n->type.dtype) ? rounded(n->type.dtype, (DhcScalar){.f = n->f})
                                                                 : (DhcScalar){.i = dhc_eval_wrap(n->type.dtype, n->i)}; break;
    case DHC_LP_DIM: out[l].i = r->dim[n->i]; break;
    case DHC_LP_EW: out[l] = n->op == DHC_OP_CAST ? cast(n, a[0]) : ew(n, a); break;
    case DHC_LP_UDIV: out[l].i = a[0].i / a[1].i; break;
    case DHC_LP_UREM: out[l].i = a[0].i % a[1].i; break;
    case DHC_LP_BITCAST: {
      char bytes[8] = {0};
      put(n->a[0]->type.dtype, bytes, a[0]);
      out[l] = get(n->type.dtype, bytes);
      break;
    }
    case DHC_LP_SPLAT: out[l] = a[0]; break;
    case DHC_LP_IOTA: out[l].i = l; break;
    case DHC_LP_EXTRACT: out[l] = t->value[n->a[0]->id].lane[n->i]; break;
    case DHC_LP_INSERT: out[l] = l == n->i ? a[1] : a[0]; break;
    case DHC_LP_SHUFFLE: {
      int from = n->pick[l] < 0 ? 0 : n->pick[l], m = n->a[0]->type.lanes;
      out[l] = t->value[n->a[from < m ? 0 : 1]->id].lane[from % m];
      break;
    }
    case DHC_LP_THREAD: out[l].i = t->number; break;
    case DHC_LP_TF32: out[l].f = (double)((float)a[0].f * from_bits(0x3f800b50)); break;
    case DHC_LP_PAIR: out[l].i = (int64_t)(bf16_of(a[0].f) | bf16_of(a[1].f) << 16); break;
    case DHC_LP_EXP2: out[l].f = flushed((double)(float)exp2(flushed(a[0].f))); break;
    case DHC_LP_FMA_FLUSH: out[l].f = flushed((double)fmaf((float)flushed(a[0].f), (float)flushed(a[1].f), (float)flushed(a[2].f))); break;
    case DHC_LP_FOLD: fold(n, t->value[n->a[0]->id].lane, &out[l]); break;
    default: fault(r, n, "no such value");
    }
    if (r->narrow[n->id] && out[l].i != (int32_t)out[l].i) fault(r, n, "is said to fit 32 bits");
  }
}

static bool is_on(const Thread *t, DhcLv mask, int l) { return !mask || (lane_of(t, mask, l).i & 1); }

static int64_t index_of(const Thread *t, const DhcLpInst *n, int l) {
  bool gathered = n->kind == DHC_LP_GATHER || n->kind == DHC_LP_SCATTER;
  return gathered ? lane_of(t, n->a[1], l).i : lane_of(t, n->a[1], 0).i + l;
}

static void load(Run *r, Thread *t, const DhcLpInst *n, DhcScalar *out) {
  for (int l = 0; l < n->type.lanes; l++) {
    out[l] = (DhcScalar){0};
    if (!is_on(t, n->a[2], l)) continue;
    char *at = element(r, n, t->value[n->a[0]->id].memory, n->a[0]->type.dtype, index_of(t, n, l));
    if (!at) return;
    if (n->align && n->kind == DHC_LP_LOAD && l == 0 && !n->a[2] && (uintptr_t)at % (uintptr_t)n->align) fault(r, n, "is not aligned");
    out[l] = get(n->a[0]->type.dtype, at);
  }
}

static void store(Run *r, Thread *t, const DhcLpInst *n) {
  for (int l = 0; l < n->a[2]->type.lanes; l++) {
    if (!is_on(t, n->a[3], l)) continue;
    char *at = element(r, n, t->value[n->a[0]->id].memory, n->a[0]->type.dtype, index_of(t, n, l));
    if (!at) return;
    DhcScalar v = lane_of(t, n->a[2], l);
    if (n->kind == DHC_LP_ADD_TO) v.i = dhc_eval_wrap(n->type.dtype, (int64_t)((uint64_t)v.i + (uint64_t)get(n->a[0]->type.dtype, at).i));
    put(n->a[0]->type.dtype, at, v);
  }
}

/* Where a copy goes is junk until it has arrived. */
static void copy(Run *r, Thread *t, const DhcLpInst *n) {
  int64_t at = lane_of(t, n->a[1], 0).i, valid = n->a[3] ? lane_of(t, n->a[3], 0).i : n->i;
  char *to = element(r, n, t->value[n->a[0]->id].memory, n->a[0]->type.dtype, at);
  if (!element(r, n, t->value[n->a[0]->id].memory, n->a[0]->type.dtype, at + n->i - 1) || !to) return;
  if (valid < 0 || valid > n->i) fault(r, n, "copies more than there is");
  char *from = valid > 0 ? element(r, n, t->value[n->a[2]->id].memory, n->a[2]->type.dtype, 0) : NULL;
  if (valid > 0 && !element(r, n, t->value[n->a[2]->id].memory, n->a[2]->type.dtype, valid - 1)) return;
  if ((uintptr_t)to % (uintptr_t)(4 * n->i) || (uintptr_t)from % (uintptr_t)(4 * n->i)) fault(r, n, "is not aligned");
  if (r->why) return;
  memset(to, r->late ? 0xff : 0, (size_t)n->i * 4);
  if (!r->late && valid > 0) memcpy(to, from, (size_t)valid * 4);
  if (!r->late) return;
  /* zeros behind what is valid belong to the copy: kept as copies of their own from a place of zeros */
  static const char zeros[16];
  if (valid > 0) DHC_PUSH(r->arena, &t->copies, ((Copy){to, from, (int)valid, t->groups}));
  if (valid < n->i) DHC_PUSH(r->arena, &t->copies, ((Copy){to + valid * 4, zeros, (int)(n->i - valid), t->groups}));
}

static void arrive(Thread *t, int under_way) {
  int left = 0;
  for (int i = 0; i < t->copies.n; i++) {
    const Copy *c = &t->copies.at[i];
    if (c->group < t->groups - under_way) memcpy(c->to, c->from, (size_t)c->n * 4);
    else t->copies.at[left++] = *c;
  }
  t->copies.n = left;
}

static void pointer(Run *r, Thread *t, const DhcLpInst *n, DhcLpMemory *out) {
  if (n->kind == DHC_LP_OPERAND) *out = r->ptr[n->i];
  else if (n->kind == DHC_LP_LOCAL) *out = t->local[n->id];
  else if (n->kind == DHC_LP_BLOCK) *out = r->block, out->at = (char *)r->block.lo + n->i;
  else if (n->kind == DHC_LP_GET) *out = t->var[n->i].memory;
  else if (n->kind == DHC_LP_AT) {
    *out = t->value[n->a[0]->id].memory;
    out->at = (char *)out->at + lane_of(t, n->a[1], 0).i * dhc_dtype_bytes(n->type.dtype);
  } else fault(r, n, "no such memory here");
}

/* ---- threads ---------------------------------------------------------------------------- */

static void copy_lanes(Val *to, const Val *from, int n) {
  memcpy(to->lane, from->lane, sizeof *to->lane * (size_t)n);
  to->memory = from->memory;
}

static void structure(Run *r, Thread *t, const DhcLpInst *n) {
  const DhcLpInst *open = n->kind == DHC_LP_END ? r->p->code.at[n->i] : NULL;
  Val *v = &t->value[n->id];
  switch (n->kind) {
  case DHC_LP_FOR:
    v->lane[0] = lane_of(t, n->a[0], 0);
    if (v->lane[0].i >= lane_of(t, n->a[1], 0).i) t->pc = r->match[n->id];
    break;
  case DHC_LP_IF:
    if (!(lane_of(t, n->a[0], 0).i & 1)) t->pc = r->match[n->id];
    break;
  case DHC_LP_ELSE: t->pc = r->match[n->id]; break; /* reached from above: the other arm is left out */
  case DHC_LP_END:
    if (open->kind != DHC_LP_FOR) break;
    t->value[open->id].lane[0].i += open->i;
    if (t->value[open->id].lane[0].i < lane_of(t, open->a[1], 0).i) t->pc = open->id;
    break;
  default: break;
  }
}

/* Runs on to where threads meet, or to the end of the task. */
static void advance(Run *r, Thread *t) {
  while (!r->why) {
    const DhcLpInst *n = r->p->code.at[t->pc];
    if (dhc_lp_joins(n)) return;
    if (n->kind == DHC_LP_END && r->p->code.at[n->i]->kind == DHC_LP_TASKS) {
      t->pc = -1;
      return;
    }
    Val *v = &t->value[n->id];
    if (n->kind == DHC_LP_FOR || n->kind == DHC_LP_IF || n->kind == DHC_LP_ELSE || n->kind == DHC_LP_END) structure(r, t, n);
    else if (n->kind == DHC_LP_LOAD || n->kind == DHC_LP_GATHER) load(r, t, n, v->lane);
    else if (n->kind == DHC_LP_STORE || n->kind == DHC_LP_SCATTER || n->kind == DHC_LP_ADD_TO) store(r, t, n);
    else if (n->kind == DHC_LP_COPY) copy(r, t, n);
    else if (n->kind == DHC_LP_COMMIT) t->groups++;
    else if (n->kind == DHC_LP_WAIT) arrive(t, (int)n->i);
    else if (n->kind == DHC_LP_ALIGNED) v->lane[0].i = (uintptr_t)t->value[n->a[0]->id].memory.at % (uintptr_t)n->i == 0;
    else if (n->kind == DHC_LP_VAR || n->kind == DHC_LP_SET) copy_lanes(&t->var[n->i], &t->value[n->a[0]->id], n->type.lanes);
    else if (n->type.ptr && n->kind != DHC_LP_PREFETCH) pointer(r, t, n, &v->memory);
    else if (n->kind == DHC_LP_GET) copy_lanes(v, &t->var[n->i], n->type.lanes);
    else if (n->kind != DHC_LP_PREFETCH && n->kind != DHC_LP_TASKS) lanes(r, t, n, v->lane);
    t->pc++;
  }
}

/* The sum of n terms, f32 or products of two operands of a matrix tile, as an instruction makes it: in no order. */
static double tile_sum(const double *term, int n) {
  double most = 0, sum = 0;
  for (int i = 0; i < n; i++) {
    if (!isfinite(term[i])) return sum_of(term, n);
    if (fabs(term[i]) > most) most = fabs(term[i]);
  }
  if (most == 0) return 0;
  double unit = ldexp(1, ilogb(most) - 25), per = 1 / unit;
  for (int i = 0; i < n; i++) sum += trunc(term[i] * per);
  if (sum == 0) return 0;
  sum *= unit; /* exact, as the sum is: 31 bits at most */
  int low = ilogb(sum) - 23;
  unit = ldexp(1, low < -149 ? -149 : low);
  sum = trunc(sum / unit) * unit;
  return fabs(sum) < 0x1p128 ? sum : copysign(INFINITY, sum);
}

/* What the 32 threads of a warp hold of a, b and c, as mma.m16n8k8 and mma.m16n8k16 deal them out: of `deep` ks a thread
 * has `own` beside each other, and as many half of deep further on. */
static void matrix_tile(Thread *t, const DhcLpInst *n) {
  bool pairs = n->a[0]->type.dtype == DHC_U32;
  int deep = pairs ? 16 : 8, own = pairs ? 2 : 1;
  double a[16][16], b[16][8], term[17];
  for (int l = 0; l < WARP; l++) {
    int g = l / 4, q = l % 4 * own;
    const DhcScalar *x = t[l].value[n->a[0]->id].lane, *y = t[l].value[n->a[1]->id].lane;
    for (int i = 0; i < own; i++) {
      int high = q + i + deep / 2;
      a[g][q + i] = operand(x[0], pairs, i), a[g + 8][q + i] = operand(x[1], pairs, i);
      a[g][high] = operand(x[2], pairs, i), a[g + 8][high] = operand(x[3], pairs, i);
      b[q + i][g] = operand(y[0], pairs, i), b[high][g] = operand(y[1], pairs, i);
    }
  }
  for (int l = 0; l < WARP; l++)
    for (int e = 0; e < 4; e++) {
      int row = l / 4 + e / 2 * 8, col = l % 4 * 2 + e % 2;
      for (int k = 0; k < deep; k++) term[k] = a[row][k] * b[k][col];
      term[deep] = t[l].value[n->a[2]->id].lane[e].f;
      t[l].value[n->id].lane[e].f = tile_sum(term, deep + 1);
    }
  for (int l = 0; l < WARP; l++) t[l].pc++;
}

/* Elements from the first of a group's lines to element k of line l; lie: from four to four and from eight to eight, or NULL. */
static int64_t line_place(const int *lie, int l, int k) {
  if (lie) return (int64_t)k / 4 * lie[0] + (int64_t)l / 8 * lie[1] + l % 8 * 4 + k % 4;
  return (int64_t)32 * l + (k / 4 ^ (l & 7)) * 4 + k % 4;
}

static double line_element(const char *lines, const int *lie, int l, int k) {
  float f;
  memcpy(&f, lines + 4 * line_place(lie, l, k), 4);
  return cut((double)f);
}

static void multiply_group(Thread *t, const Product *p) {
  double term[9];
  const int *lie = p->statement->pick, *x = lie ? lie + 1 : NULL, *y = lie ? lie + 3 : NULL, n_k = lie ? lie[0] : 32;
  for (int i = 0; i < GROUP; i++)
    for (int e = 0; e < p->statement->i / 2; e++) {
      int row = i / 32 * 16 + i % 32 / 4 + e / 2 % 2 * 8, col = e / 4 * 8 + i % 4 * 2 + e % 2;
      char *at = (char *)t[i].value[p->statement->a[0]->id].memory.at + 4 * e;
      double sum = get(DHC_F32, at).f;
      for (int k0 = 0; k0 < n_k; k0 += 8) {
        for (int k = 0; k < 8; k++) term[k] = line_element(p->x, x, row, k0 + k) * line_element(p->y, y, col, k0 + k);
        term[8] = sum;
        sum = tile_sum(term, 9);
      }
      put(DHC_F32, at, (DhcScalar){.f = sum});
    }
}

/* All but the last `left` of the group's products are done. */
static void finish(Thread *t, int left) {
  int done = t->products.n - left;
  for (int i = 0; i < done; i++) multiply_group(t, &t->products.at[i]);
  for (int i = 0; i < left && done > 0; i++) t->products.at[i] = t->products.at[done + i];
  if (done > 0) t->products.n = left;
}

static const char *lines_at(Run *r, const Thread *t, const DhcLpInst *n, int side, int lines) {
  DhcLv x = n->a[1 + side];
  const int *lie = n->pick ? n->pick + 1 + 2 * side : NULL;
  const char *at = t->value[x->id].memory.at;
  int64_t size = 4 * (line_place(lie, lines - 1, n->pick ? n->pick[0] - 1 : 31) + 1);
  if ((at - (char *)r->block.lo) % (lie ? 16 : 1024)) fault(r, n, "is not aligned");
  if (at < (char *)r->block.lo || at + (lie ? size : 128 * lines) > (char *)r->block.hi) fault(r, n, "lines outside block memory");
  for (int i = 1; i < GROUP; i++)
    if (t[i].value[x->id].memory.at != at) fault(r, n, "lines differ from thread to thread");
  return at;
}

/* Of a group's threads that stand at one of its statements. */
static void group_step(Run *r, Thread *t, const DhcLpInst *n) {
  if (n->kind == DHC_LP_GROUP_WAIT) {
    finish(t, (int)n->i);
  } else {
    Product p = {n, lines_at(r, t, n, 0, 64), lines_at(r, t, n, 1, (int)n->i)};
    if (r->why) return;
    DHC_PUSH(r->arena, &t->products, p);
    if (!r->late) finish(t, 0);
  }
  for (int i = 0; i < GROUP; i++) t[i].pc++;
}

/* The 32 threads of a warp give each other their values. */
static void across(Thread *t, const DhcLpInst *n) {
  for (int l = 0; l < WARP; l++)
    for (int e = 0; e < n->type.lanes; e++) t[l].value[n->id].lane[e] = lane_of(&t[l ^ n->i], n->a[0], e);
  for (int l = 0; l < WARP; l++) t[l].pc++;
}

/* True if all of n threads stand at the same statement of this kind. */
static bool all_at(const Run *r, const Thread *t, int n, DhcLpKind kind) {
  for (int i = 0; i < n; i++)
    if (t[i].pc < 0 || t[i].pc != t[0].pc || r->p->code.at[t[i].pc]->kind != kind) return false;
  return true;
}

static int pick(DhcLpOrder order, int i, int n) {
  if (order == DHC_LP_FALLING) return n - 1 - i;
  return order == DHC_LP_MIXED ? (int)((int64_t)i * 37 % n) : i; /* n is 1 or a multiple of 32 */
}

static void run_task(Run *r, Thread *t, int n, DhcLpOrder order) {
  while (!r->why) {
    for (int i = 0; i < n; i++) {
      Thread *one = &t[pick(order, i, n)];
      if (one->pc >= 0) advance(r, one);
    }
    int done = 0;
    for (int i = 0; i < n; i++) done += t[i].pc < 0;
    if (done == n || r->why) return;
    if (all_at(r, t, n, DHC_LP_BARRIER)) {
      for (int i = 0; i < n; i++) t[i].pc++;
      continue;
    }
    bool moved = false;
    for (int w = 0; w + WARP <= n; w += WARP)
      if (all_at(r, t + w, WARP, DHC_LP_MMA)) matrix_tile(t + w, r->p->code.at[t[w].pc]), moved = true;
      else if (all_at(r, t + w, WARP, DHC_LP_ACROSS)) across(t + w, r->p->code.at[t[w].pc]), moved = true;
    for (int w = 0; w + GROUP <= n; w += GROUP)
      if (all_at(r, t + w, GROUP, DHC_LP_GROUP_MMA) || all_at(r, t + w, GROUP, DHC_LP_GROUP_WAIT))
        group_step(r, t + w, r->p->code.at[t[w].pc]), moved = true;
    if (!moved) r->why = "threads of a block wait at different places";
  }
}

static DhcLpMemory junk(DhcArena *arena, int64_t bytes) {
  char *at = dhc_arena_alloc(arena, (size_t)bytes + 128);
  at += 128 - (uintptr_t)at % 128;
  memset(at, 0xff, (size_t)bytes);
  return (DhcLpMemory){at, at, at + bytes};
}

static void open_thread(Run *r, Thread *t, int number) {
  const DhcLp *p = r->p;
  *t = (Thread){.number = number};
  t->value = DHC_NEW_N(r->arena, Val, p->code.n + 1);
  t->var = DHC_NEW_N(r->arena, Val, p->vars.n + 1);
  t->local = DHC_NEW_N(r->arena, DhcLpMemory, p->code.n + 1);
  for (int i = 0; i < p->code.n; i++) {
    const DhcLpInst *n = p->code.at[i];
    t->value[i].lane = DHC_NEW_N(r->arena, DhcScalar, n->type.lanes);
    if (n->kind == DHC_LP_LOCAL) t->local[i] = junk(r->arena, n->i * dhc_dtype_bytes(n->type.dtype));
    if (n->kind == DHC_LP_VAR) t->var[n->i].lane = DHC_NEW_N(r->arena, DhcScalar, n->type.lanes);
  }
}

static int *matches(const DhcLp *p, DhcArena *arena) {
  int *match = DHC_NEW_N(arena, int, p->code.n + 1);
  DHC_VEC(int) open = {0};
  for (int i = 0; i < p->code.n; i++) {
    DhcLpKind k = p->code.at[i]->kind;
    if (k == DHC_LP_ELSE || k == DHC_LP_END) match[open.at[--open.n]] = i;
    if (k == DHC_LP_TASKS || k == DHC_LP_FOR || k == DHC_LP_IF || k == DHC_LP_ELSE) DHC_PUSH(arena, &open, i);
  }
  return match;
}

bool dhc_lp_interp(const DhcLp *p, const DhcLpMemory *ptr, const int64_t *dim, int64_t task0, int64_t task1,
                   DhcLpOrder order, DhcArena *arena, const char **why) {
  Run r = {.p = p, .ptr = ptr, .dim = dim, .arena = arena, .narrow = dhc_lp_narrow(p, arena), .match = matches(p, arena), .late = order != DHC_LP_RISING};
  int n = p->threads ? p->threads : 1, tasks = 0;
  Thread *t = DHC_NEW_N(arena, Thread, n);
  for (int i = 0; i < n; i++) open_thread(&r, &t[i], i);
  while (p->code.at[tasks]->kind != DHC_LP_TASKS) tasks++;
  r.block = junk(arena, p->block_bytes);
  for (int64_t task = task0; task < task1 && !r.why; task++) {
    for (int i = 0; i < n; i++) {
      t[i].pc = 0;
      t[i].copies.n = 0;
      t[i].products.n = 0;
      while (t[i].pc < tasks && !r.why) { /* what stands before the tasks */
        const DhcLpInst *s = p->code.at[t[i].pc];
        Val *v = &t[i].value[s->id];
        if (s->type.ptr) pointer(&r, &t[i], s, &v->memory);
        else if (s->kind == DHC_LP_LOAD) load(&r, &t[i], s, v->lane);
        else lanes(&r, &t[i], s, v->lane);
        t[i].pc++;
      }
      t[i].value[tasks].lane[0].i = task;
      t[i].pc = tasks + 1;
    }
    memset(r.block.lo, 0xff, (size_t)p->block_bytes);
    run_task(&r, t, n, order);
  }
  *why = r.why;
  return !r.why;
}
