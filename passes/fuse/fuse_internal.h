/* Shared by the files of fusion.
 *
 * Fusion puts the ops of a function into groups (fuse_group.c), each of which becomes one
 * kernel node. A group has axes, its domain; a member value has an index per logical dim,
 * linear over those axes with dims as coefficients. What is in no group and in no memory is
 * lazy: each kernel that needs it computes it anew. Writing a kernel (fuse_emit.c) walks
 * from a stored member down through members, lazies and views to loads, carrying indices
 * along; views only change indices (fuse_index.c). The result is tidied into a spec
 * (fuse_kernel.c). What cannot be written makes a value `forced`: kept in memory, with a
 * boundary behind it; grouping then starts over. */
#ifndef DHC_PASSES_FUSE_INTERNAL_H
#define DHC_PASSES_FUSE_INTERNAL_H

#include "ir/spec.h"
#include "passes/passes.h"
#include "passes/views.h"

enum { FU_MAX_AXES = 28 /* before axes are merged */ };

/* ---- indices (fuse_index.c) ---- */

/* sum coef[i] * axis[i] + c, plus the value of kernel node `node` (-1: none). Axes ascend,
 * coefficients are not 0. */
typedef struct FuForm {
  int n;
  int axis[FU_MAX_AXES];
  const DhcDim *coef[FU_MAX_AXES];
  const DhcDim *c;
  int node;
} FuForm;

/* Index of one logical dim: form, or form / div where guarded: then it counts only where the
 * division is exact and the quotient lies in [0, extent). */
typedef struct FuIx {
  FuForm f;
  bool guarded;
  int64_t div;
  const DhcDim *extent;
} FuIx;

/* Domain axis of a group. */
typedef struct FuAxis {
  DhcAxisRole role;
  const DhcDim *extent;
  bool unrolled; /* the extent is part of the spec: a window, kernel taps */
  int place;     /* order among axes of its role */
} FuAxis;

FuForm dhc_fu_const(DhcDims *cx, const DhcDim *c);
FuForm dhc_fu_axis(DhcDims *cx, int axis);
FuForm dhc_fu_add(DhcDims *cx, const FuForm *a, const FuForm *b); /* at most one has a node */
FuForm dhc_fu_scale(DhcDims *cx, const FuForm *a, const DhcDim *by);
FuForm dhc_fu_addc(DhcDims *cx, const FuForm *a, const DhcDim *c);
bool dhc_fu_equal(const FuForm *a, const FuForm *b);
bool dhc_fu_ix_equal(const FuIx *a, const FuIx *b, int rank);
FuIx dhc_fu_plain(FuForm f);
/* Replaces axis `axis` by a form. */
FuForm dhc_fu_subst(DhcDims *cx, const FuForm *a, int axis, const FuForm *by);
/* Row-major position of a dense tensor's element; false if an index is guarded. */
bool dhc_fu_flat(DhcDims *cx, const DhcType *t, const FuIx *ix, FuForm *out);

/* Why an index could not be carried through a view. */
typedef struct FuMiss {
  int axis;            /* splitting this axis would help, or -1 */
  const DhcDim *inner; /* into (extent / inner, inner) */
} FuMiss;
typedef struct FuIndexCx {
  DhcDims *dims;
  const DhcFacts *facts;
  const FuAxis *axis; /* the domain */
  int n_axes;
  FuMiss miss;
  bool lossy; /* set where a guard went on but lost exactness: values need a select */
} FuIndexCx;
/* Index into the operand of view node n, from the index into its result. */
bool dhc_fu_through(FuIndexCx *cx, const DhcNode *n, const FuIx *ix, FuIx *out);
/* The other way round, for reshape and transpose: index into the result from the index
 * into the operand (no guards). */
bool dhc_fu_back(FuIndexCx *cx, const DhcNode *n, const FuIx *ix, FuIx *out);
bool dhc_fu_reshape(FuIndexCx *cx, const DhcType *from, const DhcType *to, const FuIx *ix, FuIx *out);

static inline bool dhc_fu_is_view(const DhcNode *n) {
  return dhc_op_info(n->op)->cls == DHC_CLASS_VIEW;
}

/* ---- groups (fuse_group.c) ---- */

typedef enum FuWhere {
  FU_LAZY,   /* nowhere: computed where it is needed */
  FU_VIEW,   /* index arithmetic */
  FU_MEMBER, /* computed by a group; in memory if `stored` */
  FU_MEMORY  /* parameter or result of a node that stays, or an assembled concat */
} FuWhere;

enum { FU_MAX_SINKS = 4 };

/* Contractions of what contractions give (fuse_chain.c says more). */
typedef struct FuChain {
  int rank; /* dims of the wide values */
  const DhcDim *dim[DHC_MAX_RANK];
  DHC_VEC(DhcNode *) inner; /* contractions that give wide values */
  DHC_VEC(DhcNode *) outer; /* contractions of wide values */
  DHC_VEC(DhcNode *) folds; /* of wide values, all over the same dims */
  DHC_VEC(DhcValue *) wide;
} FuChain;

typedef struct FuValue {
  FuWhere where;
  int group;  /* of a member, or of the node that stays; else -1 */
  int level;  /* last group needed to have it; -1: none */
  FuIx *ix;   /* of a member: over the group's axes */
  bool stored;
  bool forced;
  int copy;          /* of a view: group that copies it for nodes that stay; -1 */
  DhcNode *piece_of; /* concat this member is written into, or NULL */
  int piece;         /* which operand of it */
  /* who needs it (lazy values and views) */
  int n_sinks, sink[FU_MAX_SINKS]; /* groups; n_sinks counts on past the room */
  bool memory;    /* must be reachable in memory, through views */
  bool dense;     /* must be row-major in memory itself */
  bool walked;    /* a scan meets it a trip at a time: dense, if it does not lie apart already */
  bool stretched; /* needed under a broadcast */
  int depth;      /* of the chain of nodes that kernels would walk through to compute it */
  bool inner;     /* a short fold that each kernel which needs it computes by itself */
  bool folds;     /* of what is not in memory: computing it takes such a fold */
  bool swapped;   /* in memory with its last two axes exchanged: only kernels read it there */
  FuChain *wide;  /* never in memory: chain kernels compute it again; or NULL */
} FuValue;

typedef struct FuCopy {
  DhcNode *concat;
  int piece;
} FuCopy;

typedef struct FuGroup {
  DhcKind kind;
  DhcNode *anchor; /* NULL: elementwise only */
  DhcNode *fixed;  /* a node that stays (call, scan, update) or a concat; else NULL */
  DHC_VEC(FuCopy) copies; /* operands of concats that this group writes into place */
  DhcValue *copy_view; /* a view that this group copies into memory of its own */
  FuAxis axis[FU_MAX_AXES];
  int n_axes;
  int red0, n_red; /* contraction or window axes */
  int rank;        /* of the domain: values of shape dim[] have index full[] */
  const DhcDim *dim[DHC_MAX_RANK];
  FuIx full[DHC_MAX_RANK];
  unsigned reduced; /* ROW, SCAN: bit per domain dim */
  bool pooled;      /* a convolution cut into windows */
  bool paired;      /* a second contraction has joined the anchor */
  const FuChain *chain; /* CHAIN: axes of inner contractions from inner0 on, in order */
  int inner0;
  bool dead;        /* merged into another: */
  int merged_into;  /* or -1 */
  DHC_VEC(int) writers; /* of a concat: groups that write its pieces */
  int place;        /* of its last member in the function */
  DHC_VEC(DhcValue *) members;
} FuGroup;

typedef struct FuKernel FuKernel;

typedef struct Fu {
  DhcModule *m;
  DhcPassCtx *px;
  DhcFunc *f;
  DhcArena *scratch;
  FuValue *value; /* by value id */
  DHC_VEC(FuGroup *) groups;
  DHC_VEC(DhcNode *) nodes; /* the function's, in order */
  int *place_of;            /* node id -> place in nodes */
  DhcNode ***use;           /* by value id: nodes that use it, once per use, in order */
  int *n_use;
  bool *is_result;
  FuChain **chain_of; /* by node id: of folds and outer contractions; else NULL */
  struct FuRoom *room; /* of the pass; NULL where no kernels are written */
  int64_t *in_vain; /* by node id: of find_norms, who found no fold behind it, and how far it looked */
  const DhcNode **norm_of; /* by node id: the contraction that the node makes rows for; else NULL */
  bool *to_flat;   /* by value id: into a piece of a flat tensor */
  char *to_update; /* by value id: on the way into an `update`; 2: and a concat may still come */
} Fu;

/* Derivatives of recurrences become one kernel each where they have the form for it (fuse_back.c); done[id]: this function is. */
bool dhc_fu_write_backs(DhcModule *m, DhcPassCtx *px, struct FuRoom *room, bool *done);
/* Calls of recurrences are given the wholes that they would be given parts of (fuse_calls.c). Before derivatives are written; such a function's
 * derivative no longer gives the cotangents of its parameters. */
bool dhc_fu_give_wholes(DhcModule *m, DhcPassCtx *px);
/* The module's spec that is equal to s, which is in its arena and becomes one if there is none. */
const DhcSpec *dhc_fu_intern(DhcModule *m, const DhcSpec *s);
/* top_k and route in terms of other ops, for pass "lower" (fuse_route.c). */
bool dhc_fu_is_route(const DhcNode *n);
bool dhc_fu_lower_route(DhcNode *n, const DhcPassCtx *px);
/* Or it is left as it is, and becomes a kernel. */
bool dhc_fu_route_stays(const DhcPassCtx *px, const DhcNode *n);
bool dhc_fu_write_routes(DhcFunc *f, DhcPassCtx *px);
/* A node of which dhc_conv_is_patches holds as a contraction, for the same pass (fuse_patch.c); not those of few taps, which a
 * convolution's kernel takes as they lie, forward and, on a CPU, for gradients of weights. */
bool dhc_fu_is_patches(const DhcNode *n, const DhcPassCtx *px);
bool dhc_fu_lower_patches(DhcNode *n);
/* For pass "ready": contractions whose result's halves meet in an elementwise op become two (fuse_pair.c). */
bool dhc_fu_cut_pairs(DhcFunc *f, DhcPassCtx *px);
/* Two contractions of one operand over equal axes whose results meet so: one kernel's. */
bool dhc_fu_are_pair(const Fu *fu, const DhcNode *a, const DhcNode *b);
/* Fills value[] and groups. */
void dhc_fu_group(Fu *fu);
int dhc_fu_new_group(Fu *fu, DhcKind kind);
/* The domain is a shape, its axes parallel; dims of extent 1 count nothing. */
void dhc_fu_set_domain(Fu *fu, FuGroup *g, int rank, const DhcDim *const *dim);
void dhc_fu_add_member(Fu *fu, int group, DhcValue *v, const FuIx *ix);
/* Decides about v from its users, which have been decided about (fuse_lazy.c). */
void dhc_fu_place(Fu *fu, DhcValue *v);

/* fuse_anchor.c */
/* Results that lie along one of several axes of a contraction's rows, as where images keep their channels apart, would leave its
 * columns to places of one image; a kernel of elements turns what the contraction makes of all rows. On GPUs not measured. */
bool dhc_fu_is_turned(const Fu *fu, const FuGroup *g, const DhcValue *v, const FuIx *ix);

/* ---- states of recurrences (fuse_states.c) ---- */

/* Dims that a reduction folds, as bits. */
unsigned dhc_fu_reduced_dims(const DhcNode *n);
/* Whether the recurrence g may fold its states over `reduced` (one dim) step by step: over the
 * last one where folds over it are to come, else over any; and makes it so. */
bool dhc_fu_takes_states(const FuGroup *g, unsigned reduced);
void dhc_fu_take_states(FuGroup *g, unsigned reduced);
/* The same for n, a reduction. */
bool dhc_fu_contracts_states(const FuGroup *g, const DhcNode *n, unsigned reduced);
/* Whether only kernels of other folds read n, whose operands include states of g: they load those
 * and compute n by themselves, and n is not stored beside the states. */
bool dhc_fu_left_to_folds(const Fu *fu, const FuGroup *g, const DhcNode *n);
/* Whether n, a slice of a recurrence's states, is the last state. */
bool dhc_fu_is_last(const DhcNode *n);
/* Decides which values are `swapped`, once all else is decided. */
void dhc_fu_swap_states(Fu *fu);
/* What the states of recurrences meet moves in front of these, for pass "ready". */
void dhc_fu_order_scans(DhcFunc *f, DhcPassCtx *px);

/* Index of what a fold leaves of the group's domain, for a value of type t. */
void dhc_fu_kept_index(Fu *fu, const FuGroup *g, const DhcType *t, FuIx *ix);
/* The tables of f, empty but for its nodes and their uses, in px->scratch (fuse.c). */
Fu *dhc_fu_open(DhcModule *m, DhcPassCtx *px, DhcFunc *f);

/* ---- chains (fuse_chain.c) ---- */

/* Fills wide and chain_of. */
void dhc_fu_find_chains(Fu *fu);
/* Fold or outer contraction n of a chain, operands at `level`: into its kernel. */
void dhc_fu_add_chain(Fu *fu, DhcNode *n, int level);
/* Contracted axis number i of a contraction in a CHAIN kernel. */
FuForm dhc_fu_chain_axis(const FuKernel *k, const DhcNode *dot, int i);
uint32_t dhc_fu_chain_bits(const FuKernel *k, const DhcNode *dot);

/* ---- short folds (fuse_short.c) ---- */

/* Whether every kernel that needs n's result is to fold by itself: a sum or extreme of few elements, or a contraction of few
 * products that only kernels of elements need. To targets alone where computing anew is cheap. */
bool dhc_fu_is_short(const Fu *fu, const DhcNode *n);
/* Does v come to kernels of elements, or into memory, before anything else needs it? */
bool dhc_fu_goes_to_elements(const Fu *fu, const DhcValue *v);
/* Once n has its place. */
void dhc_fu_note_folds(Fu *fu, const DhcNode *n);
/* Does somebody need v, or a view of it, in memory, whoever computes it? */
bool dhc_fu_in_memory_anyway(const Fu *fu, const DhcValue *v);
/* May a kernel of this group hold a short fold? */
bool dhc_fu_takes_folds(const FuGroup *g);
/* Elements that it folds. */
int64_t dhc_fu_short_extent(const DhcNode *n);
/* v at ix, an `inner` one. */
int dhc_fu_emit_short(FuKernel *k, DhcValue *v, const FuIx *ix);

/* ---- norms (fuse_norm.c) ---- */

/* Fills norm_of. */
void dhc_fu_find_norms(Fu *fu);
/* Does the contraction make its rows by itself? */
bool dhc_fu_takes_norm(const Fu *fu, const DhcNode *dot);
/* Of a node with norm_of: is its operand k the rows, which are in memory? */
bool dhc_fu_reads_rows(const Fu *fu, const DhcNode *n, int k);
void dhc_fu_join_norm(Fu *fu, DhcNode *n, int level);
/* Such a fold at ix. */
int dhc_fu_emit_norm(FuKernel *k, DhcValue *v, const FuIx *ix);

/* ---- merging (fuse_merge.c) ---- */

/* Groups that one waits for, and values (ids) it loads; each once until groups merge. */
typedef struct FuNeeds {
  DHC_VEC(int) groups;
  DHC_VEC(int) loads;
} FuNeeds;
FuNeeds *dhc_fu_needs(Fu *fu); /* by group */
/* The group that `group` has become part of. */
int dhc_fu_merged(const Fu *fu, int group);
void dhc_fu_merge_copies(Fu *fu);
void dhc_fu_merge_maps(Fu *fu);
/* Where computing is cheap beside memory: maps over a contraction's results that load nothing but what these load, too, are stored by it. */
void dhc_fu_merge_results(Fu *fu);
/* A group above `level` that sums over the same axes what is made of the same value in memory as what n sums: it is read once.
 * -1: there is none. */
int dhc_fu_folds_beside(const Fu *fu, const DhcNode *n, int level, unsigned reduced);
/* True where n's operand k must be in memory, whoever computes n. */
bool dhc_fu_needs_memory(const Fu *fu, const DhcNode *n, int k);
static inline bool dhc_fu_is_elementwise(const DhcNode *n) {
  return dhc_op_info(n->op)->cls == DHC_CLASS_ELEMENTWISE;
}
/* A gradient's contraction may end in the update of what it is the gradient of: each element is met once, where it lies. */
static inline bool dhc_fu_updates(const Fu *fu, const FuGroup *g, const DhcValue *v) {
  return fu->to_flat[v->id] && (g->kind == DHC_KIND_DOT || g->kind == DHC_KIND_RAGGED) && !g->paired;
}
static inline FuValue *dhc_fu_of(const Fu *fu, const DhcValue *v) {
  return &fu->value[v->id];
}

/* ---- kernels (fuse_kernel.c) ---- */

typedef struct FuTerm { /* guarded or indexed */
  FuForm f;             /* constant coefficients; c is the guard's offset */
  int64_t div;
  bool guarded;
  const DhcDim *extent;
  const DhcDim *stride;
} FuTerm;

typedef struct FuOperand {
  DhcValue *value; /* in: what is loaded; out: what is stored */
  dhc_dtype dtype;
  bool out;
  FuForm plain; /* address in elements; c is the base offset */
  int n_terms;
  FuTerm term[DHC_SPEC_MAX_TERMS];
  int stored;
} FuOperand;

struct FuKernel {
  Fu *fu;
  FuGroup *g;
  DhcKind kind;
  FuAxis axis[FU_MAX_AXES];
  int n_axes;
  int64_t key[FU_MAX_AXES], gap[FU_MAX_AXES]; /* order of axes, kept through splits */
  bool axis_gone[FU_MAX_AXES];
  int open[FU_MAX_AXES], n_open; /* inner axes of the folds that are being written, outer ones first */
  DhcSpecNode node[DHC_SPEC_MAX_NODES];
  FuForm *lin[DHC_SPEC_MAX_NODES]; /* AXIS nodes: a linear form until the end */
  int n_nodes;
  FuOperand operand[DHC_SPEC_MAX_OPERANDS];
  int n_operands;
  const DhcDim *arg[64];
  int n_args;
  int64_t attr[DHC_SPEC_MAX_ATTRS];
  int n_attrs;
  DHC_VEC(struct FuMemo) memo;
  FuMiss miss;
  DhcValue *force; /* what to keep in memory after a failure */
  bool failed;
  DHC_VEC(DhcValue *) views; /* walked through */
  bool full;  /* why it failed: too many nodes, operands or arguments */
  bool lossy; /* a guard went on but is no longer exact */
  struct {
    int axis;
    const DhcDim *inner;
  } split[12];
  int n_splits;
  bool one_sum; /* an operand whose view would cut the contracted axis goes to memory */
};

typedef struct FuMemo {
  DhcValue *v;
  const FuIx *ix;
  int node;
} FuMemo;

int dhc_fu_node(FuKernel *k, DhcSpecNodeKind kind, DhcOp op, dhc_dtype t, const int *a, int n);
/* Fold over a set of kernel axes (bits). */
int dhc_fu_fold_node(FuKernel *k, DhcOp op, dhc_dtype t, const int *a, int n, uint32_t axes);
int dhc_fu_scan_node(FuKernel *k, dhc_dtype t, const int a[3], int bits); /* DhcScanBits */
int dhc_fu_const_node(FuKernel *k, dhc_dtype t, double f, int64_t i);
int dhc_fu_arg_node(FuKernel *k, const DhcDim *d);
int dhc_fu_lin_node(FuKernel *k, const FuForm *f);
int dhc_fu_load_node(FuKernel *k, DhcValue *v, const FuIx *ix);
/* Element of v at a row-major flat index without guards. */
int dhc_fu_load_flat(FuKernel *k, DhcValue *v, const FuForm *flat);
/* Stores `node` as v, into memory laid out as a row-major `type`. */
bool dhc_fu_store(FuKernel *k, DhcValue *v, const DhcType *type, const FuIx *ix, int node);
int dhc_fu_fail(FuKernel *k, DhcValue *force); /* -1 */
int dhc_fu_full(FuKernel *k);                  /* -1 */

typedef struct FuSpec {
  DhcSpec *spec;
  const DhcDim **dims;
  int n_dims;
  const DhcDim **offsets;  /* by operand */
  DhcValue **value;        /* by operand */
} FuSpec;
/* What kernels of a pass are written in, one after another: the structs are large. */
typedef struct FuRoom {
  FuKernel *kernel; /* the one being written: every group's in turn */
  DhcSpec *spec;
  DHC_VEC(DhcSpec *) made; /* equal ones once */
} FuRoom;
/* Drops unused nodes, merges axes, orders, lowers forms; false: too large. */
bool dhc_fu_finish(FuKernel *k, FuSpec *out);
/* The node that runs it, its outputs of types out[]; into[] as ir/ops.def has it. NULL after a diagnostic. */
DhcNode *dhc_fu_kernel(DhcModule *m, DhcBuilder *b, const FuSpec *w, DhcValue *const *arg, int n_args, const DhcType *const *out,
                       const int64_t *into);

/* ---- writing (fuse_emit.c, fuse_anchor.c): nodes, or -1 when the kernel has failed ---- */

/* v at index ix (NULL: a scalar). */
int dhc_fu_emit(FuKernel *k, DhcValue *v, const FuIx *ix);
/* The same under new guards on the dims in the set: 0 where they fail. */
int dhc_fu_emit_guarded(FuKernel *k, DhcValue *v, const FuIx *ix, unsigned guards);
/* Domain axis of the group as kernel axes, after splits; as bits. */
FuForm dhc_fu_axis_form(const FuKernel *k, int axis);
uint32_t dhc_fu_axis_bits(const FuKernel *k, int axis);
/* Index over the domain as one over kernel axes. */
void dhc_fu_split_index(const FuKernel *k, const FuIx *ix, int rank, FuIx *out);
/* The fold over kernel axes (bits), the second operand -1 but for contractions. */
int dhc_fu_emit_fold(FuKernel *k, DhcOp op, dhc_dtype t, int x, int y, uint32_t axes);
int dhc_fu_ew2(FuKernel *k, DhcOp op, dhc_dtype t, int x, int y);
int dhc_fu_select_node(FuKernel *k, dhc_dtype t, int c, int x, int y);
int dhc_fu_cast_node(FuKernel *k, dhc_dtype to, int x);
int dhc_fu_i64(FuKernel *k, int64_t v);

/* Kernel of a group: all stored members. False: *force is to be kept in memory. */
bool dhc_fu_write(Fu *fu, FuGroup *g, FuSpec *out, DhcValue **force);

/* ---- the FUSE, IN_MEMORY and STARTS columns of the op table (fuse_ops.c) ---- */

typedef enum FuStarts { FU_STARTS_NOTHING, FU_STARTS_FIRST, FU_STARTS_ZEROS, FU_STARTS_ZEROS_BETWEEN } FuStarts;

typedef struct FuOp {
  int op;
  /* Finds n's place in or opens a kernel; `level` is the last kernel its operands come from, or -1. */
  void (*join)(Fu *fu, DhcNode *n, int level);
  /* Node of v at ix inside kernel k; -1: see dhc_fu_emit. */
  int (*emit)(FuKernel *k, DhcValue *v, const FuIx *ix);
  unsigned in_memory; /* bit k: operand k */
  FuStarts starts;    /* what the result holds where its kernel does not write */
} FuOp;
/* All NULL and 0: the op is none of fusion's. */
const FuOp *dhc_fu_op(DhcOp op);

#define FUSE(how, emitter)                              \
  void dhc_fu_join_##how(Fu *fu, DhcNode *n, int level); \
  int dhc_fu_emit_##emitter(FuKernel *k, DhcValue *v, const FuIx *ix);
#include "ir/ops.def"

#endif
