/* The reference interpreter: what every op means, in float64, slow and plain. It
 * shares no code with code generation and is the oracle for passes and backends.
 *
 * A float dtype names how a value is stored, never how it is computed: f64, f32 and
 * bf16 are all double here, nothing is rounded between ops, and a cast between floats
 * changes nothing. Integers are int64, wrapped to their width after every op; bool is
 * 0 or 1. Sums follow the order that ops.def defines.
 *
 * Where ops.def leaves a case open, this is the answer: x // 0 and x % 0 are 0; a shift
 * by a negative amount or by the width or more shifts everything out (0, or -1 for a
 * negative x shifted right); a tap that lies in padding reads 0 (and is multiplied);
 * sums start from +0; the maximum of nothing is -inf or the least integer; a route
 * choice outside 0..num-1 is sorted behind all bins, into no range. */
#ifndef DHC_IR_INTERP_H
#define DHC_IR_INTERP_H

#include "ir/ir.h"

/* Concrete dense row-major tensor. Exactly one of f and i is set. */
typedef struct DhcArray {
  dhc_dtype dtype;
  int rank;
  int64_t dim[DHC_MAX_RANK];
  int64_t n; /* elements */
  double *f; /* float dtypes */
  int64_t *i; /* integers and bool */
} DhcArray;

/* Zeros. Extents are >= 0 and their product has been checked by the caller. */
DhcArray *dhc_array_new(DhcArena *arena, dhc_dtype dtype, int rank, const int64_t *dim);
DhcArray *dhc_array_copy(DhcArena *arena, const DhcArray *a);
/* From and to memory of the dtype's own element format (bf16 rounds to nearest even;
 * integers wrap). Host byte order; bytes need no alignment. */
DhcArray *dhc_array_from_bytes(DhcArena *arena, dhc_dtype dtype, int rank, const int64_t *dim,
                               const void *bytes);
void dhc_array_to_bytes(const DhcArray *a, void *bytes);

/* Another way to run kernel nodes than the spec interpreter (a backend under test). a[k] is
 * the array that holds operand k of the spec, from element offset[k] on; fresh outputs come
 * full of NaN or 0x55. dim[] as in ir/spec.h. False: stop (say why yourself). */
struct DhcSpec;
typedef struct DhcKernelRunner {
  bool (*run)(void *ctx, const struct DhcSpec *s, DhcArray *const *a, const int64_t *offset,
              const int64_t *dim);
  void *ctx;
} DhcKernelRunner;

typedef struct DhcInterp {
  DhcArena *arena; /* where values live */
  DhcDiags *diags;
  /* of the function being run: */
  const DhcFunc *func;
  DhcArray **value; /* by value id */
  int n_symbols;
  const char *const *symbols;
  const int64_t *extents;
  int depth;
  DhcArray **updated; /* by parameter index: what `update` left there, or NULL */
  const DhcKernelRunner *runner; /* NULL: the spec interpreter */
} DhcInterp;

/* Runs f, of a module that dhc_verify accepts, on args (one per parameter). Symbols are found by
 * unifying parameter types with the arguments. results has room for f->results.n; updated, if not
 * NULL, for f->params.n. Results may share memory with args. False after a diagnostic: an argument
 * that does not fit its parameter, a symbol no argument binds, a fact that fails, a tensor too large. */
bool dhc_interp_run(DhcArena *arena, DhcDiags *diags, const DhcFunc *f,
                    const DhcArray *const *args, DhcArray **results, DhcArray **updated);
/* The same, with n symbols bound beforehand by name (those no parameter type gives). */
bool dhc_interp_run_bound(DhcArena *arena, DhcDiags *diags, const DhcFunc *f, int n,
                          const char *const *names, const int64_t *extents,
                          const DhcArray *const *args, DhcArray **results, DhcArray **updated);

/* As dhc_interp_run, with kernel nodes run by `runner`. */
bool dhc_interp_run_kernels(DhcArena *arena, DhcDiags *diags, const DhcFunc *f,
                            const DhcKernelRunner *runner, const DhcArray *const *args,
                            DhcArray **results, DhcArray **updated);

/* ---- for op kernels and whoever runs nodes one by one ---------------------- */

/* Dims under the running function's symbols; false after a diagnostic at n (unbound
 * symbol, overflow). */
bool dhc_interp_eval_dim(DhcInterp *in, const DhcNode *n, const DhcDim *d, int64_t *out);
/* Attribute of kind DIMS; out has room for its length. */
bool dhc_interp_attr_dims(DhcInterp *in, const DhcNode *n, const char *attr, int64_t *out);
/* Extents of a type; also refuses more than 2^40 elements. */
bool dhc_interp_extents(DhcInterp *in, const DhcNode *n, const DhcType *t, int64_t *out);
/* Diagnostic at n. */
bool dhc_interp_error(DhcInterp *in, const DhcNode *n, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* ---- scalar meaning (spec interpreter, constant folding) -------------------- */

typedef union DhcScalar {
  double f;
  int64_t i;
} DhcScalar;
/* `operand` is the dtype of the last operand (of select: of its branches) and decides
 * the family; float operands are in .f, others (and select's condition) in .i. The result
 * is in .i for bool results, else as the operand. A bug if op is not elementwise or not
 * defined for the family. */
DhcScalar dhc_eval_ew(DhcOp op, dhc_dtype operand, const DhcScalar *args);
/* The same on whole numbers, for a row whose types are `arith`. False: the result does not fit in 64 bits. */
bool dhc_eval_int(DhcOp op, const DhcScalar *args, int64_t *out);
DhcScalar dhc_eval_cast(dhc_dtype from, dhc_dtype to, DhcScalar v);
/* Word 0 of the Philox4x32-10 block that random_bits defines. */
uint32_t dhc_eval_random(int64_t seed, int64_t site, int64_t step, int64_t flat);

/* The same for n elements at once, bit for bit. As in DhcArray exactly one of f and i is set; results do not
 * overlap operands. */
typedef struct DhcLane {
  const double *f;
  const int64_t *i;
} DhcLane;
typedef struct DhcLaneOut {
  double *f;
  int64_t *i;
} DhcLaneOut;
void dhc_eval_ew_many(DhcOp op, dhc_dtype operand, const DhcLane *args, int64_t n, DhcLaneOut y);
void dhc_eval_cast_many(dhc_dtype from, dhc_dtype to, DhcLane x, int64_t n, DhcLaneOut y);
void dhc_eval_random_many(int64_t seed, int64_t site, int64_t step, int64_t first, int64_t n, int64_t *out); /* from element `first` on */

/* ---- functions of the index (interp_piece.c) -------------------------------- */

/* A function without symbols whose one result is made element by element from the element's index, random bits and
 * scalars, as initialisers are: any piece of it can be evaluated alone, by several threads at once, to
 * the elements that dhc_interp_run gives. */
typedef struct DhcPieces DhcPieces;
enum { DHC_PIECE = 512 }; /* elements */
/* *out = NULL: f is not of this kind. False after a diagnostic. */
bool dhc_pieces_make(DhcArena *arena, DhcDiags *diags, const DhcFunc *f, const DhcArray *const *args, DhcPieces **out);
size_t dhc_pieces_room(const DhcPieces *p); /* bytes that one evaluation works in */
/* Elements [first, first + DHC_PIECE), those behind the last one meaningless; valid until the next call with
 * this room, which is aligned to 64 bytes. */
DhcLane dhc_pieces_eval(const DhcPieces *p, int64_t first, void *room);
/* v reduced to the width of an integer dtype; bool keeps the lowest bit. */
int64_t dhc_eval_wrap(dhc_dtype t, int64_t v);

#endif
