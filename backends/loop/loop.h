/* Loop programs: what a template builds and a writer turns into code.
 *
 * A program is the body of one dhc_kernel_fn: a list of structured statements over
 * immutable values (DhcLv) and mutable variables (DhcLpVar). Templates are C functions
 * that call the builder below; a C `for` around builder calls is how a loop is unrolled.
 * Writers (cpu/: LLVM IR) know statements, never kinds or specs.
 *
 *   DhcLv n = dhc_lp_dim(b, 0), x = dhc_lp_operand(b, 0), y = dhc_lp_operand(b, 1);
 *   DhcLv t = dhc_lp_tasks(b, n_tasks);                        // for each task
 *     DhcLv lo = dhc_lp_mulc(b, t, 4096), hi = dhc_lp_min(b, n, dhc_lp_addc(b, lo, 4096));
 *     DhcLv i = dhc_lp_for(b, lo, hi, 16);
 *       DhcLv m = dhc_lp_tail(b, i, hi, 16);                   // lanes with i + lane < hi
 *       DhcLv v = dhc_lp_mload(b, x, i, 16, m);
 *       dhc_lp_mstore(b, y, i, dhc_lp_ew1(b, DHC_OP_EXP, v), m);
 *     dhc_lp_end(b);
 *   dhc_lp_end(b);
 *
 * Types. A value is a scalar or a vector of `lanes` elements of a dtype, or a scalar
 * pointer to elements of a dtype. bool is one bit in a register and one byte (0, 1) in
 * memory. bf16 exists in memory only: loads widen to f32, stores round to nearest even.
 * Lanes may be any power of two up to 64; the target splits what it cannot hold, so
 * templates that need 16 partial sums use 16 lanes everywhere. Indices are i64 scalars,
 * counted in elements of the pointer's dtype.
 *
 * Levels. A TASKS loop hands each task to one worker. On a CPU that is a thread, and a vector is a
 * register. On a GPU there are two forms:
 *   rows of threads   (threads 0): a worker is a row of as many threads as the program's vectors have
 *                     lanes, and each thread holds one lane; scalars are the same in all of them. So
 *                     a template written for vectors is one for threads, and neighbouring lanes
 *                     read neighbouring memory. What lanes exchange goes through FOLD, SHUFFLE, EXTRACT;
 *   blocks            (dhc_lp_block): a worker is a block of `threads` threads, told apart by THREAD;
 *                     vectors are short and belong to one thread; block memory is shared by the
 *                     threads of a block, which wait for each other at BARRIER.
 * A target's table (dhc_lp_legal) says which statements it has.
 *
 * Numbers mean exactly what they say: no contraction, no reassociation; the only fused
 * multiply-add is the op FMA. Integer constants fold while building, floats never.
 *
 * Errors of a template (type mismatch, unclosed loop) are bugs: the builder aborts by
 * DHC_BUG. What a template cannot lower at all it reports by dhc_lp_refuse.
 * Memory: everything lives in the arena given to dhc_lp_new. */
#ifndef DHC_BACKENDS_LOOP_LOOP_H
#define DHC_BACKENDS_LOOP_LOOP_H

#include "ir/spec.h"

/* ---- representation (for writers, printer and verifier) ---------------------- */

typedef struct DhcLpType {
  dhc_dtype dtype; /* never BF16 unless ptr */
  int lanes;       /* 1: scalar */
  bool ptr;        /* lanes is 1 */
} DhcLpType;

typedef enum DhcLpKind {
  /* values without effects */
  DHC_LP_CONST,   /* i or f in every lane */
  DHC_LP_DIM,     /* i64: dim[i] */
  DHC_LP_OPERAND, /* pointer: ptr[i]; behind the last operand: the shared memory */
  DHC_LP_SCRATCH, /* pointer: the worker's scratch + i bytes, 64-byte aligned */
  DHC_LP_LOCAL,   /* pointer: stack array of i elements, 64-byte aligned, not cleared */
  DHC_LP_AT,      /* pointer: a[0] displaced by a[1] elements */
  DHC_LP_EW,      /* op on a[]; lanes of the operands; CAST: to `type` */
  DHC_LP_UDIV,    /* a[0] / a[1], both known to be >= 0 */
  DHC_LP_UREM,
  DHC_LP_BITCAST, /* same bits as another dtype of the same size */
  DHC_LP_SPLAT,   /* scalar a[0] in every lane */
  DHC_LP_IOTA,    /* 0, 1, 2, … of an integer dtype */
  DHC_LP_EXTRACT, /* lane i of a[0] */
  DHC_LP_INSERT,  /* a[0] with lane i replaced by scalar a[1] */
  DHC_LP_SHUFFLE, /* lane l is lane pick[l] of a[0] ++ a[1]; -1: any value */
  DHC_LP_THREAD,  /* i64: this thread's number in its block */
  DHC_LP_ALIGNED, /* bool: is pointer a[0] a multiple of i bytes? */
  DHC_LP_BLOCK,   /* pointer: the block's memory + i bytes, aligned as i is, at most 128 */
  DHC_LP_TF32,    /* a[0] times 1 + 2^-11.5: what a matrix tile makes of it is then off by less than 0.71 of its last bit,
                     by nothing on average */
  DHC_LP_PAIR,    /* u32: f32 a[0] and a[1], each rounded to bf16, nearest even; a[0] is the low half */
  DHC_LP_MMA,     /* f32x4 of a 16 x 8 tile: a[2] + a[0] (f32x4 of 16 x 8) * a[1] (f32x2 of 8 x 8), by the 32
                     threads of a warp together; operands are cut to 10 bits of mantissa, lanes lie as in mma.m16n8k8. Or of
                     pairs (u32x4 of 16 x 16, u32x2 of 16 x 8), as in mma.m16n8k16. Terms of a sum are cut toward zero
                     at 2^-25 of the largest one's power of two, and the sum to 24 bits */
  DHC_LP_ACROSS,  /* a[0] as the thread has it whose number differs from this one's by xor i, below 32; by the 32 threads of a
                     warp together */
  DHC_LP_EXP2,    /* 2 to the a[0], f32, within 2^-21 of it; denormals, read or made, are 0 */
  DHC_LP_FMA_FLUSH, /* a[0] * a[1] + a[2], f32, one rounding; denormals, read or made, are 0 */
  DHC_LP_FOLD,    /* lanes of a[0] combined by op ADD, MAX, MIN, AND, OR: l with l + n/2,
                     then l + n/4, … 1, as the sum rule demands */
  /* memory */
  DHC_LP_LOAD,   /* lanes from a[0] + a[1]; a[2]: mask or NULL (off lanes are 0, untouched) */
  DHC_LP_STORE,  /* a[2] to a[0] + a[1]; a[3]: mask or NULL */
  DHC_LP_GATHER, /* lane l from a[0] + a[1][l]; a[2]: mask or NULL (off lanes are 0) */
  DHC_LP_SCATTER, /* lane l of a[2] to a[0] + a[1][l], lanes ascending; a[3]: mask or NULL */
  DHC_LP_ADD_TO, /* a[0][a[1]] += a[2], an integer scalar, as one step among all threads: no order, no value */
  DHC_LP_PREFETCH, /* a[0] + a[1] into all caches for reading; never faults */
  DHC_LP_BARRIER,  /* every thread of the block is here, and sees what the others stored */
  DHC_LP_COPY,     /* i elements of 4 bytes from a[2] to a[0] + a[1], block memory, both aligned to all of them; the first
                      a[3] are read, the others become 0; under way until WAIT */
  DHC_LP_COMMIT,   /* this thread's copies since the last COMMIT are one group */
  DHC_LP_WAIT,     /* all but the last i groups of this thread's copies have arrived, for itself: others see them
                      behind a barrier */
  DHC_LP_GROUP_MMA, /* a[0], a stack array of i / 2 f32, of the 128 threads of four warps together, is 64 rows by i columns and
                      becomes itself + 64 lines at a[1] by i lines at a[2], pointers into block memory, alike in all threads. Lines
                      are 32 ks of f32, cut to 10 bits of mantissa; they begin at multiples of 1,024 bytes, and four ks p of line l
                      lie at (p xor l mod 8). Threads hold rows and columns as of MMA, warps 16 rows each. Under way until
                      GROUP_WAIT: till then nobody may write to the lines, nor the thread touch the array. Or, with `pick`, lines of
                      pick[0] ks in fours: k of line l at k / 4 * pick[1] + l / 8 * pick[2] + l % 8 * 4 + k % 4 of the first, with
                      pick[3] and pick[4] of the second operand; they begin at multiples of 16 bytes */
  DHC_LP_GROUP_WAIT, /* all but the last i of this thread's GROUP_MMA are done */
  /* variables */
  DHC_LP_VAR, /* variable number i begins its life as a[0] */
  DHC_LP_GET, /* its value now */
  DHC_LP_SET, /* becomes a[0] */
  /* structure */
  DHC_LP_TASKS, /* for i64 in [task0, task1) */
  DHC_LP_FOR,   /* for i64 from a[0] while < a[1], += i */
  DHC_LP_IF,    /* scalar bool a[0] */
  DHC_LP_ELSE,
  DHC_LP_END /* of TASKS, FOR, IF */
} DhcLpKind;

typedef struct DhcLpInst DhcLpInst;
typedef const DhcLpInst *DhcLv; /* a value is the statement that makes it */
struct DhcLpInst {
  DhcLpKind kind;
  DhcLpType type; /* of the value; unused for statements */
  int id;         /* position in the program; printed %id */
  DhcOp op;       /* EW, FOLD */
  DhcLv a[4];
  int64_t i;
  double f;
  int align;       /* LOAD, STORE: bytes known; LOCAL: 64 */
  bool once;       /* LOAD, STORE: nobody reads it soon again, caches need not keep it */
  int rounds;      /* FOR: so many of its rounds are written out at most; 0: as the writer likes */
  const int *pick; /* SHUFFLE: type.lanes entries; GROUP_MMA */
};

typedef struct DhcLpVar {
  int number;
} DhcLpVar;

enum { DHC_LP_OPERAND_BITS = 96 }; /* operands that a set of bits by operand knows; others are in none */

typedef struct DhcLp {
  DhcArena *arena;
  DHC_VEC(DhcLpInst *) code;
  DHC_VEC(const DhcLpInst *) vars; /* declarations by number */
  int n_ptrs, n_dims;     /* of the kernel */
  int threads;            /* of a block; 0: rows of threads, or a CPU's vectors */
  int64_t block_bytes;    /* of block memory */
  int narrow_dims;        /* dim[] below are sizes, strides and offsets of less than 32 bits, and so is every place; 0: no */
  int together;           /* blocks that are to fit on a multiprocessor at once; 0: any */
  uint32_t early[DHC_LP_OPERAND_BITS / 32]; /* bits by operand, see dhc_lp_early */
  dhc_dimprog n_tasks;    /* over dim[]; set by dhc_lp_tasks */
  dhc_dimprog first_tasks; /* over dim[]; tasks below are done before others begin; absent: 0 */
  dhc_dimprog later_tasks[DHC_MAX_PHASES - 2]; /* likewise where the phases between the first and the last end; absent: n_tasks */
  dhc_dimprog scratch_bytes; /* over dim[]; absent: 0 */
  dhc_dimprog shared_bytes;  /* over dim[]; set by dhc_lp_share */
  const char *refused;    /* message, or NULL */
  bool addresses_weigh;   /* a few products for each address: a code generator had better reduce addresses' strength */
  bool checked;           /* ptr[n_ptrs + 1] holds limits (bounds.c) */
  DHC_VEC(int) open;      /* open TASKS, FOR, IF: their ids */
} DhcLp;

/* ---- building ------------------------------------------------------------------ */

DhcLp *dhc_lp_new(DhcArena *arena, int n_ptrs, int n_dims);
/* The template cannot lower this spec: first message wins, the program is discarded. */
void dhc_lp_refuse(DhcLp *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Leaves. */
DhcLv dhc_lp_i64(DhcLp *b, int64_t v);
DhcLv dhc_lp_int(DhcLp *b, dhc_dtype t, int64_t v); /* any integer dtype or bool */
DhcLv dhc_lp_float(DhcLp *b, dhc_dtype t, double v); /* F32, F64 */
DhcLv dhc_lp_zero(DhcLp *b, dhc_dtype t, int lanes);
DhcLv dhc_lp_dim(DhcLp *b, int i);
DhcLv dhc_lp_operand(DhcLp *b, int i, dhc_dtype t);
DhcLv dhc_lp_scratch(DhcLp *b, dhc_dtype t, int64_t byte_offset); /* multiple of 64 */
DhcLv dhc_lp_local(DhcLp *b, dhc_dtype t, int64_t n);
/* Memory that all tasks of a call share, for what a first phase leaves to the second: once
 * how much, then its pointers. */
void dhc_lp_share(DhcLp *b, dhc_dimprog bytes);
DhcLv dhc_lp_shared(DhcLp *b, dhc_dtype t);
DhcLv dhc_lp_limits(DhcLp *b); /* of a checked program */
DhcLv dhc_lp_at(DhcLp *b, DhcLv p, DhcLv index); /* &p[index] */
DhcLv dhc_lp_iota(DhcLp *b, dhc_dtype t, int lanes);

/* Elementwise, every op of class ELEMENTWISE (ir/ops.def). A scalar beside a vector is
 * splatted. Result dtype as ops.def says. */
DhcLv dhc_lp_ew(DhcLp *b, DhcOp op, const DhcLv *a, int n);
DhcLv dhc_lp_ew1(DhcLp *b, DhcOp op, DhcLv x);
DhcLv dhc_lp_ew2(DhcLp *b, DhcOp op, DhcLv x, DhcLv y);
DhcLv dhc_lp_cast(DhcLp *b, DhcLv x, dhc_dtype to); /* x itself if equal; BF16: f32 rounded
                                                       to bf16 */
DhcLv dhc_lp_bitcast(DhcLp *b, DhcLv x, dhc_dtype to);
DhcLv dhc_lp_fma(DhcLp *b, DhcLv x, DhcLv y, DhcLv z); /* x*y + z, one rounding */
DhcLv dhc_lp_select(DhcLp *b, DhcLv c, DhcLv x, DhcLv y);
/* Shorthands: floats and integers alike. */
DhcLv dhc_lp_add(DhcLp *b, DhcLv x, DhcLv y);
DhcLv dhc_lp_sub(DhcLp *b, DhcLv x, DhcLv y);
DhcLv dhc_lp_mul(DhcLp *b, DhcLv x, DhcLv y);
DhcLv dhc_lp_min(DhcLp *b, DhcLv x, DhcLv y);
DhcLv dhc_lp_max(DhcLp *b, DhcLv x, DhcLv y);
DhcLv dhc_lp_lt(DhcLp *b, DhcLv x, DhcLv y);
DhcLv dhc_lp_le(DhcLp *b, DhcLv x, DhcLv y);
DhcLv dhc_lp_ge(DhcLp *b, DhcLv x, DhcLv y);
DhcLv dhc_lp_eq(DhcLp *b, DhcLv x, DhcLv y);
DhcLv dhc_lp_and(DhcLp *b, DhcLv x, DhcLv y);
DhcLv dhc_lp_or(DhcLp *b, DhcLv x, DhcLv y);
/* i64 scalars with a constant, and index division (operands known to be >= 0). */
DhcLv dhc_lp_addc(DhcLp *b, DhcLv x, int64_t c);
DhcLv dhc_lp_mulc(DhcLp *b, DhcLv x, int64_t c);
DhcLv dhc_lp_udiv(DhcLp *b, DhcLv x, DhcLv y);
DhcLv dhc_lp_urem(DhcLp *b, DhcLv x, DhcLv y);
DhcLv dhc_lp_ceildivc(DhcLp *b, DhcLv x, int64_t c);
/* True and *v set if x is an integer constant (any lanes). */
bool dhc_lp_is_const(DhcLv x, int64_t *v);

/* Blocks. Once, before dhc_lp_tasks: tasks are blocks of so many threads (a multiple of 32) with so many
 * bytes of block memory. */
void dhc_lp_block(DhcLp *b, int threads, int64_t bytes);
DhcLv dhc_lp_thread(DhcLp *b);
DhcLv dhc_lp_block_memory(DhcLp *b, dhc_dtype t, int64_t byte_offset);
/* So many blocks at once on a multiprocessor: bounds the registers of a thread. */
void dhc_lp_together(DhcLp *b, int blocks);
/* Loads of this operand may begin before the kernel has waited for those ahead of it, where a launch says that none of them writes
 * what it is: the program begins with them. Of up to DHC_LP_OPERAND_BITS operands. */
void dhc_lp_early(DhcLp *b, int operand);
/* n elements (1, 2, 4) to block memory without waiting; valid: NULL, all, or how many, 0 to n. */
void dhc_lp_copy(DhcLp *b, DhcLv block, DhcLv at, DhcLv from, int n, DhcLv valid);
void dhc_lp_commit(DhcLp *b);
void dhc_lp_wait(DhcLp *b, int under_way);
DhcLv dhc_lp_aligned(DhcLp *b, DhcLv pointer, int bytes);
void dhc_lp_barrier(DhcLp *b); /* where control flow is the same in all threads of the block */
DhcLv dhc_lp_tf32(DhcLp *b, DhcLv x);
DhcLv dhc_lp_pair(DhcLp *b, DhcLv low, DhcLv high);
DhcLv dhc_lp_mma(DhcLp *b, DhcLv x, DhcLv y, DhcLv sum); /* likewise, in all threads of the warp */
void dhc_lp_group_mma(DhcLp *b, DhcLv sums, DhcLv x, DhcLv y, int columns); /* likewise, of the group; block memory is seen as
                                                                            behind a barrier */
/* The same of lines that lie in fours: of `ks` ks, a multiple of eight; elements from four to four of a line, and from eight lines to
 * the next, of either operand. */
typedef struct DhcLpFours {
  int ks, x_four, x_lines, y_four, y_lines;
} DhcLpFours;
void dhc_lp_group_fours(DhcLp *b, DhcLv sums, DhcLv x, DhcLv y, int columns, DhcLpFours f);
void dhc_lp_group_wait(DhcLp *b, int under_way);
DhcLv dhc_lp_across(DhcLp *b, DhcLv x, int bits);        /* likewise; x of 4 bytes an element */
/* What is less than exact, where it has been asked for. */
DhcLv dhc_lp_exp2(DhcLp *b, DhcLv x);
DhcLv dhc_lp_fma_flush(DhcLp *b, DhcLv x, DhcLv y, DhcLv z);

/* Lanes. */
DhcLv dhc_lp_splat(DhcLp *b, DhcLv x, int lanes); /* x itself if it has `lanes` already */
DhcLv dhc_lp_extract(DhcLp *b, DhcLv x, int lane);
DhcLv dhc_lp_insert(DhcLp *b, DhcLv x, int lane, DhcLv scalar);
DhcLv dhc_lp_shuffle(DhcLp *b, DhcLv x, DhcLv y, const int *pick, int lanes); /* y may be x */
DhcLv dhc_lp_fold(DhcLp *b, DhcOp op, DhcLv x); /* to a scalar */
/* n vectors of n lanes as a matrix, transposed in place (n a power of two). */
void dhc_lp_transpose(DhcLp *b, DhcLv *v, int n);
/* Mask of lanes l with i + l < hi; i <= hi. */
DhcLv dhc_lp_tail(DhcLp *b, DhcLv i, DhcLv hi, int lanes);

/* Memory: p[index], p[index + 1], … `align`: bytes known of the address, 0: the element's.
 * Mask NULL: all lanes. Scalars take no mask. */
DhcLv dhc_lp_load(DhcLp *b, DhcLv p, DhcLv index, int lanes, int align);
DhcLv dhc_lp_mload(DhcLp *b, DhcLv p, DhcLv index, int lanes, DhcLv mask);
void dhc_lp_store(DhcLp *b, DhcLv p, DhcLv index, DhcLv v, int align);
/* The load or store built last is one of what nobody reads soon again. */
void dhc_lp_once(DhcLp *b);
void dhc_lp_mstore(DhcLp *b, DhcLv p, DhcLv index, DhcLv v, DhcLv mask);
DhcLv dhc_lp_gather(DhcLp *b, DhcLv p, DhcLv indices, DhcLv mask);
void dhc_lp_scatter(DhcLp *b, DhcLv p, DhcLv indices, DhcLv v, DhcLv mask);
void dhc_lp_add_to(DhcLp *b, DhcLv p, DhcLv index, DhcLv v); /* v: i32, u32, i64 */
void dhc_lp_prefetch(DhcLp *b, DhcLv p, DhcLv index);

/* Variables: live from dhc_lp_var to the end of the block it is called in. A loop carries
 * those set inside it (phis); an `if` merges those set in its arms. */
DhcLpVar dhc_lp_var(DhcLp *b, DhcLv init);
DhcLv dhc_lp_get(DhcLp *b, DhcLpVar v);
void dhc_lp_set(DhcLp *b, DhcLpVar v, DhcLv x);

/* Structure. Values made inside a block may be used only inside it. */
/* Once a program, at top level; n_tasks over dim[] (dhc_prog_*). */
DhcLv dhc_lp_tasks(DhcLp *b, dhc_dimprog n_tasks);
/* The same in two phases: tasks [0, first), then [first, first + second). */
DhcLv dhc_lp_phases(DhcLp *b, dhc_dimprog first, dhc_dimprog second);
/* The same in n phases, at most DHC_MAX_PHASES, of count[i] tasks each; end[i] (or NULL): where each ends. */
DhcLv dhc_lp_many_phases(DhcLp *b, const dhc_dimprog *count, int n, dhc_dimprog *end);
DhcLv dhc_lp_for(DhcLp *b, DhcLv lo, DhcLv hi, int64_t step); /* step >= 1 */
DhcLv dhc_lp_for_rounds(DhcLp *b, DhcLv lo, DhcLv hi, int64_t step, int rounds); /* says how many are written out */
void dhc_lp_if(DhcLp *b, DhcLv cond);
void dhc_lp_else(DhcLp *b);
void dhc_lp_end(DhcLp *b);

/* Makes equal pure values one, within what is in scope; renumbers. Once, on a complete program. */
void dhc_lp_cse(DhcLp *p);
/* By statement: an i64 that is a size or a place, or comes from such alone, and so never overflows. */
bool *dhc_lp_indices(const DhcLp *p, DhcArena *arena);
/* By statement: an i64, of a value or a variable, that 32 bits hold where narrow_dims says what it says. */
bool *dhc_lp_narrow(const DhcLp *p, DhcArena *arena);
/* Is it done by several threads of a block together? */
static inline bool dhc_lp_joins(const DhcLpInst *n) {
  return n->kind == DHC_LP_BARRIER || n->kind == DHC_LP_MMA || n->kind == DHC_LP_ACROSS || n->kind == DHC_LP_GROUP_MMA ||
         n->kind == DHC_LP_GROUP_WAIT;
}
/* What a pointer was displaced from. */
static inline DhcLv dhc_lp_root(DhcLv p) {
  while (p->kind == DHC_LP_AT) p = p->a[0];
  return p;
}
/* The same program, with every access checked against limits that the caller gives (bounds.c). */
DhcLp *dhc_lp_checked(const DhcLp *p, DhcArena *arena);
/* Well-formed: types, operands defined and in scope, blocks closed. Run on every program. */
bool dhc_lp_verify(const DhcLp *p, DhcArena *arena, const char **why);
/* Does such a target have every statement of the program? *why: which one it lacks. */
bool dhc_lp_legal(const DhcLp *p, DhcTargetKind target, DhcArena *arena, const char **why);
/* Does it have products of groups of warps? */
bool dhc_lp_groups(const DhcLp *p);
/* Do all threads of a block reach every barrier and matrix tile together? Part of dhc_lp_verify. */
bool dhc_lp_meets(const DhcLp *p, DhcArena *arena, const char **why);
/* One statement a line, indented; deterministic. Not parsed back. */
void dhc_lp_print(const DhcLp *p, DhcText *to);
/* Text of a type: f32, f32x16, f32*. */
void dhc_lp_type_print(DhcLpType t, DhcText *to);

/* ---- dim programs, to say n_tasks and scratch_bytes ------------------------------- */

dhc_dimprog dhc_prog_const(DhcArena *a, int64_t v);
dhc_dimprog dhc_prog_dim(DhcArena *a, int i);
/* x op y; folds constants. op: DHC_DIM_ADD … DHC_DIM_AND. */
dhc_dimprog dhc_prog_op(DhcArena *a, int op, dhc_dimprog x, dhc_dimprog y);
/* The same expression as an i64 value of the program. */
DhcLv dhc_lp_prog(DhcLp *b, dhc_dimprog p);

#endif
