/* The graph IR: a module of functions of pure SSA operations.
 *
 * A value is one result of one node; function parameters are results of `param`
 * nodes. Nodes of a function form a list in an order in which every operand is
 * defined before its use. Every op is a row of ir/ops.def, which gives its name,
 * attributes, shape rule, meaning (interpreter) and cost; passes and backends add
 * their own columns. `call`, `scan` and `checkpoint` name other functions of the
 * module; no function may reach itself.
 *
 * Memory: everything lives in the module's arena and is never freed singly; a node
 * taken out of its function is just unreachable. Ids follow creation order.
 * Errors: shape rules report at the node's span into module->diags and the builder
 * returns NULL; NULL operands give NULL without a second message. */
#ifndef DHC_IR_IR_H
#define DHC_IR_IR_H

#include "dhc/abi.h"
#include "ir/diag.h"
#include "ir/dim.h"
#include "ir/reserved.h"
#include "ir/limits.h"

enum { DHC_MAX_RANK = DHC_LIMIT_RANK, DHC_MAX_ATTRS = 8, DHC_MAX_NODES = DHC_LIMIT_NODES };

/* ---- types --------------------------------------------------------------- */

typedef struct DhcType {
  dhc_dtype dtype;
  int rank;
  const DhcDim *dim[DHC_MAX_RANK];
} DhcType;

const char *dhc_dtype_name(dhc_dtype t);
bool dhc_dtype_parse(const char *name, dhc_dtype *out);
int dhc_dtype_bytes(dhc_dtype t);
bool dhc_dtype_is_float(dhc_dtype t);
double dhc_dtype_least_normal(dhc_dtype t); /* of a float dtype: below in magnitude are denormals and 0 */
/* A float as an element of integer dtype t, as op cast does it: truncated toward zero, saturated;
 * NaN gives 0. C leaves the conversion of what does not fit undefined, so nothing else does it. */
int64_t dhc_dtype_from_double(dhc_dtype t, double v);
bool dhc_dtype_is_int(dhc_dtype t); /* signed or unsigned, not bool */

bool dhc_type_equal(const DhcType *a, const DhcType *b);
void dhc_type_print(const DhcType *t, DhcText *to); /* f32[B, 64]; f32[] for a scalar */
const DhcDim *dhc_type_elements(DhcDims *cx, const DhcType *t);

/* ---- ops ------------------------------------------------------------------ */

typedef enum DhcOp {
#define OP(id, ...) DHC_OP_##id,
#include "ir/ops.def"
  DHC_N_OPS
} DhcOp;

typedef enum DhcOpClass {
  DHC_CLASS_ELEMENTWISE, /* all operands and the result have one shape */
  DHC_CLASS_CREATE,
  DHC_CLASS_VIEW, /* moves no data: reshape, transpose, broadcast, slice, reverse */
  DHC_CLASS_MOVE,
  DHC_CLASS_REDUCE,
  DHC_CLASS_CONTRACT,
  DHC_CLASS_CONV,
  DHC_CLASS_WINDOW,
  DHC_CLASS_SCAN,
  DHC_CLASS_ROUTE,
  DHC_CLASS_CALL,  /* names another function */
  DHC_CLASS_EFFECT, /* update; what other processes have a part in */
  DHC_CLASS_META   /* param, kernel */
} DhcOpClass;

typedef enum DhcAttrKind {
  DHC_ATTR_INT,
  DHC_ATTR_FLOAT,
  DHC_ATTR_BOOL,
  DHC_ATTR_FLAG, /* a bool that is false where builders and texts leave it out; the last of its op */
  DHC_ATTR_STRING,
  DHC_ATTR_INTS,
  DHC_ATTR_DIM,
  DHC_ATTR_DIMS,
  DHC_ATTR_DTYPE,
  DHC_ATTR_FUNC,
  DHC_ATTR_SPEC
} DhcAttrKind;

typedef struct DhcFunc DhcFunc;
typedef struct DhcNode DhcNode;
typedef struct DhcValue DhcValue;
typedef struct DhcModule DhcModule;
struct DhcSpec;

typedef struct DhcAttr {
  DhcAttrKind kind;
  union {
    int64_t i;
    double f;
    bool b;
    const char *s;
    struct {
      int n;
      const int64_t *at;
    } ints;
    const DhcDim *dim;
    struct {
      int n;
      const DhcDim *const *at;
    } dims;
    dhc_dtype dtype;
    DhcFunc *func;
    const struct DhcSpec *spec;
  };
} DhcAttr;

typedef struct DhcAttrDecl {
  const char *name;
  DhcAttrKind kind;
} DhcAttrDecl;

/* A shape rule reads op, args and attrs of `n` and fills n_results and type[]. On
 * a wrong argument it reports with dhc_shape_error and returns false. Messages name
 * the op and show the operand types: "add: shapes differ: f32[2, 3] and f32[4]". */
enum { DHC_MAX_RESULTS = DHC_LIMIT_RESULTS };
typedef struct DhcBuilder DhcBuilder;
typedef struct DhcShapeCtx {
  DhcModule *m;
  const DhcFacts *facts;
  const DhcBuilder *b; /* of a node being built; NULL: it stands */
  const DhcNode *n;
  const char *prefix; /* before every message, or NULL */
  int n_results;
  DhcType *type; /* room for DHC_MAX_RESULTS */
} DhcShapeCtx;
bool dhc_shape_error(DhcShapeCtx *cx, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* The `types` column of elementwise rows (ir/ops.def); none: no such row. */
typedef enum DhcEwTypes {
  DHC_EW_none, DHC_EW_arith, DHC_EW_float, DHC_EW_integer, DHC_EW_compare, DHC_EW_select, DHC_EW_test
} DhcEwTypes;

/* Where one axis of an operand lies in a node's result: element start + step * i of it belongs to index i
 * of the result's axis `result`. */
enum {
  DHC_AXIS_NONE = -1,   /* the same for all of the result: stretched */
  DHC_AXIS_FOLDED = -2, /* summed or otherwise folded away */
  DHC_AXIS_MIXED = -3   /* split, or joined with others */
};
typedef struct DhcAxisMap {
  int result; /* or one of the above */
  const DhcDim *start;
  int64_t step;
} DhcAxisMap;
/* Fills map[] for every axis of operand k. False: the op's row has no rule (AXES). */
bool dhc_axes(DhcDims *cx, const DhcNode *n, int k, DhcAxisMap *map);
/* Whether axis d of operand k, which m describes, is an axis of the result as it is. */
bool dhc_axis_whole(const DhcNode *n, int k, int d, const DhcAxisMap *m);

struct DhcInterp;
struct DhcRange; /* ir/range.h */
typedef enum DhcIndexInto { DHC_INDEX_NOTHING, DHC_INDEX_AXIS, DHC_INDEX_SIZE } DhcIndexInto;
typedef struct DhcOpInfo {
  const char *name;
  int n_args;    /* -1: variadic */
  int n_results; /* -1: from the shape rule */
  DhcOpClass cls;
  DhcAttrDecl attrs[DHC_MAX_ATTRS];
  int n_attrs;
  bool (*shape)(DhcShapeCtx *cx);
  bool (*interp)(struct DhcInterp *in, const DhcNode *n); /* ir/interp.h */
  /* Floating-point operations as a dim; every row has a rule (ir/flops.c). */
  const DhcDim *(*flops)(DhcModule *m, const DhcNode *n);
  bool (*axes)(DhcDims *cx, const DhcNode *n, int k, DhcAxisMap *map); /* AXES, or NULL; see dhc_axes */
  bool (*range)(const DhcNode *n, const struct DhcRange *x, bool f32, struct DhcRange *out); /* RANGE, or NULL */
  int index_arg;           /* INDEX: which operand, where index_into says that there is one */
  DhcIndexInto index_into;
  DhcEwTypes types;
  bool folds;   /* FOLD: a fold by fold_by */
  DhcOp fold_by;
  bool back;  /* BACK: has a derivative inside the kernel of a recurrence's */
  bool again; /* AGAIN */
  int work;   /* WORK; see dhc_op_work */
  bool exact; /* EXACT: evaluated in double, the result is exact or correctly rounded */
} DhcOpInfo;
const DhcOpInfo *dhc_op_info(DhcOp op);
/* What one element costs to compute once more, in additions. */
int dhc_op_work(DhcOp op);
/* Whether it is a fold by an elementwise op (FOLD): a sum, a maximum, a minimum. */
static inline bool dhc_op_folds(DhcOp op) { return dhc_op_info(op)->folds; }
/* Floating-point operations of all nodes of f, callees included, over f's symbols. */
const DhcDim *dhc_func_flops(struct DhcFunc *f);
bool dhc_op_parse(const char *name, DhcOp *out);

/* ---- values, nodes, functions ---------------------------------------------- */

struct DhcValue {
  int id; /* unique in its function */
  DhcType type;
  DhcNode *def;
  int index; /* which result of def */
};

struct DhcNode {
  DhcOp op;
  int id;
  int n_args, n_results;
  DhcValue **args;
  DhcValue **results;
  DhcAttr attrs[DHC_MAX_ATTRS]; /* in the order of the op's declarations */
  DhcSpan span;
  const char *origin; /* path of the layer it was written in ("encoder.conv1"), or NULL */
  DhcFunc *func;
  DhcNode *prev, *next; /* in the function's order */
};

typedef enum DhcRole {
  DHC_ROLE_PLAIN,  /* parameter of a unit or body */
  DHC_ROLE_INPUT,  /* given at every run */
  DHC_ROLE_WEIGHT, /* trained; `param` in the language and in text */
  DHC_ROLE_BUFFER, /* saved, not trained, assigned with <- */
  DHC_ROLE_TABLE,  /* computed once on the host, not saved */
  DHC_ROLE_STATE,  /* recurrent or cached inference */
  DHC_ROLE_SCALAR, /* float hyperparameter, or "$seed", "$step", "$lr" … */
  DHC_ROLE_FLAT    /* all weights in one tensor, or as much of a moment; `arena` in text */
} DhcRole;

typedef struct DhcParamInfo {
  const char *name; /* path for tensors, name for inputs and scalars */
  DhcRole role;
  int decl; /* index into module->tensors or ->scalars by role, or -1 */
} DhcParamInfo;

typedef enum DhcFuncKind {
  DHC_FUNC_ENTRY,
  DHC_FUNC_UNIT,      /* outlined; equal bodies are merged */
  DHC_FUNC_BODY,      /* of a scan or checkpoint */
  DHC_FUNC_COMPOSITE, /* has a kernel or vjp name; survives until fusion */
  DHC_FUNC_INIT       /* initialiser of a tensor: no parameters but scalars */
} DhcFuncKind;

/* What a fact says to the user where a call does not meet it. */
typedef struct DhcFactMessage {
  const char *text; /* NULL: none of the user's making */
  DhcSpan at;       /* the `require` or condition it comes from; may be unknown */
} DhcFactMessage;

struct DhcFunc {
  const char *name; /* without @; unique in the module */
  int id;
  DhcFuncKind kind;
  DhcModule *module;
  DHC_VEC(const char *) symbols; /* binders <B, L>, in order */
  DHC_VEC(DhcValue *) params;
  DHC_VEC(DhcParamInfo) param_info; /* parallel to params */
  DHC_VEC(DhcValue *) results;
  DHC_VEC(const char *) result_names; /* parallel to results */
  DhcFacts facts;                     /* of an entry: checked when a plan is bound */
  DHC_VEC(DhcFactMessage) fact_messages; /* parallel to facts.nonneg */
  DhcNode *first, *last;
  int n_nodes, next_node_id, next_value_id;
  const char *kernel; /* composite: template name, or NULL */
  DhcFunc *vjp;       /* composite: its derivative, or NULL. Signature: all parameters,
                         all results, cotangents of float results -> cotangents of the
                         float parameters, in order. */
  DhcSpan span;
};

/* A tensor the model owns. */
typedef struct DhcTensorDecl {
  const char *path; /* state_dict name, e.g. "classifier.0.weight" */
  const char *as;   /* name on disk, or names, one a line (DhcNameParts); NULL: as `path` */
  DhcRole role;     /* WEIGHT, BUFFER, TABLE or STATE */
  DhcType type;     /* constant dims, but for STATE which may use the entry's symbols */
  bool no_decay;
  bool frozen;       /* gets no gradient */
  int place;         /* weights lie by what optimisers keep of them: those of place 0 first */
  int group;         /* 1 + index of the module's group that has it; 0: none */
  int average;       /* 1 + index of the weight that it follows in training; 0: none … */
  const char *decay; /* … new = decay * old + (1 - decay) * the other's new value: a scalar of the module */
  DhcFunc *init; /* one result of `type` */
  DhcSpan span;
} DhcTensorDecl;

typedef struct DhcScalarDecl {
  const char *name;
  double value; /* as bound at elaboration; a program may change it */
} DhcScalarDecl;

/* Weights whose optimiser gets other scalars: for argument `param` the program's `scalar`, for "lr" a multiple by it. */
typedef struct DhcGroupArg {
  const char *param, *scalar;
} DhcGroupArg;
typedef struct DhcGroup {
  const char *pattern;
  const char *optimizer; /* a function of its own, all of whose scalars `args` has; NULL: the recipe's */
  DHC_VEC(DhcGroupArg) args;
  const char *loss; /* the result of the entry that its gradients are of; NULL: the entry's own */
  DhcSpan loss_at;
  const char *const *keeps; /* with `optimizer`: names of what it keeps of each weight, NULL at the end */
  const char *every, *after; /* scalars: it steps where (step - after) % every is 1, after the first `after`; NULL: in every step */
  const char *said; /* how it is trained, for readers */
} DhcGroup;

struct DhcModule {
  DhcArena *arena;
  DhcStrings *strings;
  DhcDims *dims;
  DhcDiags *diags;
  DHC_VEC(DhcFunc *) funcs; /* callees before callers */
  DHC_VEC(DhcTensorDecl) tensors;
  DHC_VEC(DhcScalarDecl) scalars;
  DHC_VEC(DhcGroup) groups;
  int n_places; /* that tensors have; 0: all have the first */
  DHC_VEC(const struct DhcSpec *) specs; /* after fusion; equal specs once */
  const char *model_name;                /* for reports */
  int next_func_id;
};

DhcModule *dhc_module_new(DhcArena *arena, DhcStrings *strings, DhcDiags *diags);
DhcFunc *dhc_module_func(const DhcModule *m, const char *name); /* or NULL */
/* A tensor's names in files. One with a '*' stands for a piece for each index of the leading axis; of n names each
 * holds one of n parts of the axis that comes next: as long as the number behind a tab says, or without numbers equal
 * ones. `bad`: two stars, or not in all names. */
typedef struct DhcNameParts {
  int n, star;
  int64_t sum; /* of the lengths; -1: equal parts */
  bool bad;
} DhcNameParts;
DhcNameParts dhc_name_parts(const char *names);
/* One of them: its name, not ended by a 0, and its places on an axis so long. */
typedef struct DhcNamePart {
  const char *name;
  int length;
  int64_t begin, n;
} DhcNamePart;
DhcNamePart dhc_name_part(const char *names, int number, int64_t extent);
/* How many file entries a tensor in pieces has, one per index of its leading axis; 0: it is
 * one entry. */
int64_t dhc_decl_pieces(const DhcTensorDecl *d);
/* Elements of a tensor whose dims are all known; 0: one is not. */
int64_t dhc_decl_elements(DhcModule *m, const DhcTensorDecl *d);
int dhc_module_tensor(const DhcModule *m, const char *path);    /* index or -1 */
/* New empty function; a taken name gets a numeric suffix. */
DhcFunc *dhc_func_new(DhcModule *m, const char *name, DhcFuncKind kind, DhcSpan span);
DhcValue *dhc_func_param(DhcFunc *f, const DhcType *type, DhcParamInfo info, DhcSpan span);
void dhc_func_result(DhcFunc *f, DhcValue *v, const char *name);
/* Copy of f (same results) under another name. */
DhcFunc *dhc_func_clone(DhcFunc *f, const char *name);
/* A module of its own with copies of roots[0..n) and all they call, so that passes may
 * rewrite it while m stays as it is. Dims, strings, arena and diagnostics are shared; tensors
 * and scalars are the same tables, whose initialisers stay functions of m. out[i] is the copy of roots[i]. */
DhcModule *dhc_module_extract(DhcModule *m, DhcFunc *const *roots, int n, DhcFunc **out);
/* Puts funcs into callee-before-caller order and drops what no entry, initialiser of a tensor
 * or kept composite's derivative reaches. A module without entries keeps all. */
void dhc_module_sort(DhcModule *m);
/* Merges units and bodies with equal canonical text; returns how many went away. */
int dhc_module_merge_units(DhcModule *m);
bool dhc_attr_equal(const DhcAttr *a, const DhcAttr *b); /* floats by their bits */
/* Canonical text of one function: names and spans stripped, callees by their own
 * canonical hash. Equal text means equal function. */
const char *dhc_func_canonical(DhcFunc *f, DhcArena *arena);

/* ---- building ---------------------------------------------------------------- */

/* Where new nodes go and what they inherit. */
struct DhcBuilder {
  DhcFunc *f;
  DhcNode *before; /* insert before this node; NULL: at the end */
  DhcSpan span;
  const char *origin;
  /* Asked where the function's facts do not prove d >= 0: true if whoever builds it knows more, and then has
   * added it to the facts. NULL: nobody knows more. */
  bool (*known)(void *ctx, const DhcDim *d);
  void *known_ctx;
};

/* Generic: checks arity and attributes, runs the shape rule, appends. Attributes are
 * given in declaration order. Returns the node, or NULL after a diagnostic. */
DhcNode *dhc_build(DhcBuilder *b, DhcOp op, DhcValue *const *args, int n_args,
                   const DhcAttr *attrs, int n_attrs);
/* First result of the same, or NULL. */
DhcValue *dhc_build1(DhcBuilder *b, DhcOp op, DhcValue *const *args, int n_args,
                     const DhcAttr *attrs, int n_attrs);

DhcAttr dhc_attr_int(int64_t v);
DhcAttr dhc_attr_float(double v);
DhcAttr dhc_attr_flag(bool v);
DhcAttr dhc_attr_bool(bool v);
DhcAttr dhc_attr_string(const char *v);
DhcAttr dhc_attr_ints(DhcModule *m, const int64_t *v, int n);                /* copies */
DhcAttr dhc_attr_dim(const DhcDim *v);
DhcAttr dhc_attr_dims(DhcModule *m, const DhcDim *const *v, int n);          /* copies */
DhcAttr dhc_attr_dtype(dhc_dtype v);
DhcAttr dhc_attr_func(DhcFunc *v);
DhcAttr dhc_attr_spec(const struct DhcSpec *v);
/* Attribute by name; a bug if the op has none of that name. */
/* The function that a node of class CALL runs. */
DhcFunc *dhc_node_callee(const DhcNode *n);
const DhcAttr *dhc_attr(const DhcNode *n, const char *name);
/* Of a kernel node: in `into`, DHC_KERNEL_WITHIN - i says that a result lies in the earlier result i, which is then of the same type
 * and of which it stands for what both have; -1: it does not. */
enum { DHC_KERNEL_WITHIN = -2 };
int dhc_kernel_within(const DhcNode *n, int result);
/* A conv, conv_dx or conv_dw of one group whose windows lie side by side, without padding: as large as their stride. */
bool dhc_conv_is_patches(const DhcNode *n);
/* A conv or conv_dx of one group, 3 x 3, without strides and dilation, from and to as many channels as make tiles pay: a target may sum
 * it by the rule of tiles (ir/sum.h). */
bool dhc_conv_is_tiled(const DhcNode *n);

/* Shorthands. Unless said otherwise operands must already agree. */
DhcValue *dhc_b_unary(DhcBuilder *b, DhcOp op, DhcValue *x);
/* Broadcasts both from the right (only a known 1 stretches), then applies op. */
DhcValue *dhc_b_binary(DhcBuilder *b, DhcOp op, DhcValue *x, DhcValue *y);
DhcValue *dhc_b_select(DhcBuilder *b, DhcValue *c, DhcValue *x, DhcValue *y); /* broadcasts */
DhcValue *dhc_b_flush(DhcBuilder *b, DhcValue *x); /* x with +0 in place of denormals; integers as they are */
DhcValue *dhc_b_fill(DhcBuilder *b, const DhcType *type, double value);
DhcValue *dhc_b_scalar(DhcBuilder *b, dhc_dtype dtype, double value);
DhcValue *dhc_b_dim(DhcBuilder *b, const DhcDim *d); /* i64[] */
DhcValue *dhc_b_cast(DhcBuilder *b, DhcValue *x, dhc_dtype to); /* x itself if equal */
DhcValue *dhc_b_reshape(DhcBuilder *b, DhcValue *x, const DhcDim *const *dim, int rank);
DhcValue *dhc_b_transpose(DhcBuilder *b, DhcValue *x, const int64_t *perm);
DhcValue *dhc_b_broadcast(DhcBuilder *b, DhcValue *x, const DhcDim *const *dim, int rank);
DhcValue *dhc_b_slice(DhcBuilder *b, DhcValue *x, int axis, const DhcDim *start,
                      const DhcDim *size);
DhcValue *dhc_b_concat(DhcBuilder *b, DhcValue *const *xs, int n, int axis);
DhcValue *dhc_b_reduce(DhcBuilder *b, DhcOp op, DhcValue *x, const int64_t *axes, int n_axes,
                       bool keep);
DhcValue *dhc_b_dot(DhcBuilder *b, DhcValue *x, DhcValue *y, const int64_t *batch_x,
                    const int64_t *batch_y, int n_batch, const int64_t *contract_x,
                    const int64_t *contract_y, int n_contract);
/* Binds the callee's symbols by unifying parameter types with the arguments. */
DhcNode *dhc_b_call(DhcBuilder *b, DhcOp op, DhcFunc *callee, DhcValue *const *args, int n_args);

/* ---- editing ------------------------------------------------------------------ */

/* All uses of `from` in its function (operands and results) become `to`. */
void dhc_replace_uses(DhcValue *from, DhcValue *to);
/* Takes n out of its function; it must be unused. */
void dhc_node_remove(DhcNode *n);
/* Copies n's op with other operands into b's function; types are inferred anew. Span and
 * origin are n's. */
DhcNode *dhc_node_copy(DhcBuilder *b, const DhcNode *n, DhcValue *const *args);
/* Inlines a call; its results are replaced. */
void dhc_inline_call(DhcNode *call);
/* A composite that has a derivative but no kernel: once derivatives are taken, its body. */
static inline bool dhc_is_plain_composite(const DhcFunc *f) {
  return f->kind == DHC_FUNC_COMPOSITE && !f->kernel;
}
/* The same; results[i], if wanted, is what stands for the call's result i now. */
void dhc_inline_call_to(DhcNode *call, DhcValue **results);
/* Number of uses per value id, results included; array in `scratch`. */
int *dhc_use_counts(const DhcFunc *f, DhcArena *scratch);

/* ---- text --------------------------------------------------------------------- */

/* parse(print(m)) prints the same text. Floats are hexadecimal. */
void dhc_module_print(DhcModule *m, DhcText *to);
void dhc_func_print(DhcFunc *f, DhcText *to);
/* NULL after diagnostics. `file` is the source's index in diags->sources. */
DhcModule *dhc_module_parse(DhcArena *arena, DhcStrings *strings, DhcDiags *diags, uint32_t file);

/* ---- verifier ------------------------------------------------------------------ */

typedef enum DhcStage {
  DHC_STAGE_GRAPH, /* as elaborated: everything but kernel */
  DHC_STAGE_FUSED  /* kernels, views, moves, calls and scans */
} DhcStage;
/* Types equal what the shape rules say, operands defined before use, callees in the
 * module and acyclic, symbols bound, results present, `update` targets a parameter
 * of the right role, limits kept. False: diagnostics say what and where, with
 * `after` (a pass name) in the text. */
bool dhc_verify(DhcModule *m, DhcStage stage, const char *after);

#endif
