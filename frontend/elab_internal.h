/* Shared by frontend/elab_*.c: compile-time values, layer instances, functions under
 * construction, and the evaluator's frame. See frontend/elab.h for what it all does. */
#ifndef DHC_FRONTEND_ELAB_INTERNAL_H
#define DHC_FRONTEND_ELAB_INTERNAL_H

#include "frontend/elab.h"
#include "frontend/parse.h"

typedef struct DhcInst DhcInst;
typedef struct DhcFn DhcFn;
typedef struct DhcFx DhcFx;
typedef struct DhcVal DhcVal;
typedef struct DhcClosure DhcClosure;
typedef struct DhcCx DhcCx;


/* ---- values ------------------------------------------------------------------------ */

typedef enum DhcValKind {
  DHC_V_ERROR, /* reported already: stay silent */
  DHC_V_VOID,
  DHC_V_INT,
  DHC_V_DIM, /* symbolic; a constant dim is INT */
  DHC_V_FLOAT,
  DHC_V_BOOL,
  DHC_V_STRING, /* also enum values, then `names` is set */
  DHC_V_DTYPE,
  DHC_V_LIST,  /* compile-time or of tensors */
  DHC_V_TUPLE, /* several results */
  DHC_V_MAP,
  DHC_V_LAYER,  /* closure: a layer with some hyperparameters applied */
  DHC_V_INST,   /* a submodule */
  DHC_V_TABLE,  /* indexed submodules of one name */
  DHC_V_METHOD, /* an entry of a submodule */
  DHC_V_TENSOR
} DhcValKind;

typedef struct DhcValPair {
  const char *key;
  DhcVal *value;
} DhcValPair;

struct DhcVal {
  DhcValKind kind;
  union {
    int64_t i;
    const DhcDim *dim;
    DhcFx *fx;
    bool b;
    dhc_dtype dtype;
    struct {
      const char *at;
      int n;
      const DhcAstNames *names; /* of the enum it belongs to, or NULL */
    } s;
    struct {
      DhcVal *at;
      int n, depth;
    } list;
    struct {
      DhcValPair *at;
      int n, depth;
    } map;
    DhcClosure *layer;
    DhcInst *inst;
    struct {
      DhcInst *inst;
      const struct DhcMember *member;
      int64_t prefix[4]; /* indices given so far */
      int n_prefix;
    } table;
    struct {
      DhcInst *inst;
      const DhcAstItem *entry;
    } method;
    DhcValue *t; /* may belong to an enclosing function: see dhc_fn_import */
  };
  const char *name; /* where it was bound, for messages; may be NULL */
  DhcSpan def;
  bool absent; /* TENSOR: an input left out, as its default; VOID: to be one */
  bool local;  /* an input, a binder, a carry: its name means no state here */
  bool varies; /* INT: made of hyperparameters and sizes, not of literals alone: see DhcFx.varies */
};

/* A float known up to run-time scalars: constant, scalar, or an op over such. `value` is
 * its value with the scalars as bound now; `constant` says that none is below. A constant that
 * varies (1 / sqrt(size)) differs between variants of a model: conditions may ask for it, an entry reads it
 * as a scalar, so that variants share kernels. */
struct DhcFx {
  enum { DHC_FX_CONST, DHC_FX_SCALAR, DHC_FX_OP } kind;
  bool constant, varies;
  double value;
  int scalar; /* index into module->scalars */
  DhcOp op;
  int n_args, depth; /* depth: of ops over ops */
  DhcFx *arg[3];
  struct DhcFn *root; /* OP: the entry in which `value_there` stands for it, or NULL */
  DhcValue *value_there;
};

typedef struct DhcGiven {
  const char *name; /* NULL: positional, in order */
  DhcVal value;
  DhcSpan span;
  const char *source; /* "preset small", NULL: written in the model */
  bool used;
} DhcGiven;
typedef DHC_VEC(DhcGiven) DhcGivens;
struct DhcClosure {
  const DhcAstDecl *decl;
  const DhcAstModule *file;
  DhcGivens args;
  bool frozen;
  const DhcInst *average; /* what it follows, with `decay`; NULL: nothing */
  const char *decay;
};

/* ---- instances ----------------------------------------------------------------------- */

typedef struct DhcHyper {
  const char *name;
  const DhcAstParam *decl;
  DhcVal value;
  const char *source;
} DhcHyper;

typedef enum DhcMemberKind { DHC_M_CONST, DHC_M_TENSOR, DHC_M_STATE, DHC_M_SUB, DHC_M_TABLE } DhcMemberKind;
typedef struct DhcIndexed {
  int64_t index[4];
  int n_index;
  DhcInst *inst;
} DhcIndexed;
typedef struct DhcMember {
  DhcMemberKind kind;
  const char *name;
  DhcSpan span;
  DhcVal value; /* CONST */
  int tensor;   /* TENSOR: index into module->tensors */
  const DhcAstItem *item;
  DhcInst *sub; /* SUB */
  DHC_VEC(DhcIndexed) table;
} DhcMember;

/* `init PATH = EXPR` of an instance; holds for everything below it. */
typedef struct DhcOverride {
  const DhcAstItem *item;
  struct DhcScope *scope; /* loop variables around it */
} DhcOverride;

struct DhcInst {
  const char *path;  /* "" for the root */
  const char *files; /* the same in files, where `as` says otherwise */
  const char *name;  /* member it is of its parent, "" for the root */
  const char *index; /* "3" of an element, else NULL */
  const DhcAstDecl *decl;
  const DhcAstModule *file;
  DhcInst *parent;
  bool is_element; /* of an indexed submodule */
  bool frozen;     /* it, or what it is in */
  const DhcInst *average; /* what it follows, with `decay`; NULL: nothing of its own */
  const char *decay;
  int depth;
  DHC_VEC(DhcHyper) hypers;
  DHC_VEC(DhcMember *) members;
  DHC_VEC(const DhcAstItem *) entries;
  DHC_VEC(DhcOverride) overrides;
  DHC_VEC(DhcInst *) children; /* in order of writing */
  int64_t n_own_params;
};

/* ---- session and model ----------------------------------------------------------------- */

struct DhcElab {
  DhcArena *arena;
  DhcStrings *strings;
  DhcDiags *diags;
  DhcElabConfig config;
  DhcParse parse;
  DhcAstProgram program;
  DHC_VEC(DhcAstProgram) prelude; /* std files known everywhere */
  DHC_VEC(DhcVal) file_consts;    /* memo by file_const_decls */
  DHC_VEC(const DhcAstDecl *) file_const_decls;
  int64_t steps;  /* taken since dhc_limit_begin */
  bool stopped;   /* a limit that ends the work was met and reported: everything is an error, silently */
  DHC_VEC(uint32_t) visited; /* by module of a program: the last search that came by */
  uint32_t n_searches;
  bool warned_unread;
};

typedef struct DhcVersion {
  const char *entry;
  bool training, part, reported;
  DhcForm form;
  uint64_t given; /* by input: the request had it */
  DhcFunc *func;
  int n_runs; /* ranks of the runs of its inputs, in order */
  int run_rank[DHC_MAX_RANK];
  int n_open; /* `if`s on dims that it left open */
} DhcVersion;

/* Initialisers run when the whole tree stands: an outer `init` may replace them. */
typedef struct DhcPendingInit {
  DhcInst *inst;
  const DhcAstItem *item;
  struct DhcScope *scope;
  int tensor;
} DhcPendingInit;

typedef struct DhcNamedFunc {
  const char *name;
  DhcFunc *f;
} DhcNamedFunc;

struct DhcModel {
  DhcElab *e;
  DhcModule *module;
  DhcInst *root;
  DHC_VEC(DhcVersion) versions;
  DHC_VEC(DhcNamedFunc) functions; /* given by dhc_model_function */
  DhcRecipe recipe;
  const DhcAstDecl *recipe_decl;
  int64_t param_bytes;
  DHC_VEC(DhcPendingInit) pending;
  int n_open; /* `if`s on dims that the entry given last left open */
  bool batch; /* many entries follow: merging and verifying wait for dhc_model_seal */
};

/* ---- functions under construction (elab_fn.c) -------------------------------------------- */

typedef struct DhcCapture {
  DhcValue *outer, *inner;
} DhcCapture;
typedef struct DhcTap {
  const char *path; /* "layers.3.ffn.load_balance"; of a require on values the result's name */
  DhcValue *value;
  bool require; /* bool[] that must hold; becomes a result of the entry */
} DhcTap;
typedef struct DhcStore {
  int tensor;
  DhcValue *value;
  DhcSpan span;
} DhcStore;

/* A state that an entry under construction reads or writes (elab_state.c). */
typedef struct DhcStateUse {
  DhcInst *inst;
  struct DhcMember *member;
  int tensor;               /* by call: the member's own is that of the first */
  struct DhcScope *binders; /* of the frame that came first, over the root's symbols */
  DhcType type;             /* over the root's symbols */
} DhcStateUse;

/* A DhcFunc being filled. Values of enclosing functions enter as parameters the first
 * time they are used (captures, in that order). A function either shares its outer
 * function's symbols (renamed == false) or has its own, bound to outer dims. */
struct DhcFn {
  DhcFunc *f;
  DhcBuilder b;
  DhcFn *outer; /* NULL: entry or initialiser */
  bool renamed;
  DHC_VEC(const char *) symbols; /* renamed: own symbols … */
  DHC_VEC(const DhcDim *) bound; /* … and what the call binds them to */
  DHC_VEC(DhcCapture) captures;
  DHC_VEC(DhcTap) taps;
  DHC_VEC(DhcStore) stores;
  bool in_scan; /* the body of a scan; then also: */
  int scan_inputs;             /* carries and xs, its first parameters */
  int scan_axis;
  const DhcDim *scan_length;   /* in own symbols */
  DhcValue *trip, *drawn;      /* number of the step, over all scans around; what draws take for "$step";
                                  NULL until something is drawn, then a further x is there */
  /* root function only: */
  DHC_VEC(DhcStateUse) states;
  DHC_VEC(DhcValue *) tensor_value; /* by tensor index; NULL: not used yet */
  DHC_VEC(DhcFx *) fx_key;
  DHC_VEC(DhcValue *) fx_value;
  DhcValue *seed, *step, *first, *rows;
};

DhcFn *dhc_fn_begin(DhcCx *cx, const char *name, DhcFuncKind kind, DhcFn *outer, bool renamed);
DhcFn *dhc_fn_root(DhcFn *fn);
/* A dim of the outer function in fn's symbols. */
const DhcDim *dhc_fn_rename(DhcFn *fn, const DhcDim *d);
/* v as seen in fn: itself, or a (new) parameter. */
DhcValue *dhc_fn_import(DhcFn *fn, DhcValue *v);
DhcValue *dhc_fn_tensor(DhcCx *cx, int tensor); /* parameter, buffer or table, seen in cx->fn */
DhcValue *dhc_fn_fx(DhcCx *cx, DhcFx *fx);      /* f32[] seen in cx->fn */
DhcValue *dhc_fn_i64(DhcCx *cx, int64_t v);     /* constant made at the root, so that it is an operand */
DhcValue *dhc_fn_draw_from(DhcCx *cx, const DhcDim *const *dim, int rank); /* NULL: the first element */
DhcValue *dhc_fn_seed(DhcCx *cx);
DhcValue *dhc_fn_step(DhcCx *cx);
/* Fixes symbols and facts of a finished inner function; *dims: what they are bound to. */
int dhc_fn_close(DhcCx *cx, DhcFn *fn, const DhcDim *const **dims);
/* Taps and stores of a closed inner function become values of its outer one; `first` is
 * the number of the first of their results in `call`. */
void dhc_fn_move_out(DhcCx *cx, DhcFn *fn, DhcNode *call, int first);
/* Whether taps(pattern) finds a tap of this path. */
bool dhc_tap_matches(const char *pattern, const char *path);
/* Appends the results that taps and stores need. */
void dhc_fn_extra_results(DhcCx *cx, DhcFn *fn);
/* Closes fn (results are in place) and calls it from its outer function with `args`
 * followed by its captures; taps and stores move out. NULL after an error. */
DhcNode *dhc_fn_call(DhcCx *cx, DhcFn *fn, DhcOp op, DhcValue *const *args, int n_args);
/* Truth of d >= 0 in fn, asked outwards where fn renames. */
DhcTruth dhc_fn_truth(DhcCx *cx, DhcFn *fn, const DhcDim *d);
/* d in the symbols of the root function. */
const DhcDim *dhc_fn_to_root(DhcFn *fn, const DhcDim *d);
void dhc_fn_assume(DhcCx *cx, DhcFn *fn, const DhcDim *d, DhcFactMessage message);

/* ---- the evaluator's frame ------------------------------------------------------------------ */

typedef struct DhcVar {
  const char *name;
  DhcVal value;
} DhcVar;
typedef struct DhcScope {
  struct DhcScope *parent; /* readable, not assigned through */
  DHC_VEC(DhcVar) vars;
} DhcScope;

/* A call under way, for messages about limits. */
typedef struct DhcFrame {
  const char *what; /* "f", or the path of a submodule that is made */
  DhcSpan at;
  const struct DhcFrame *outer;
  bool made;
} DhcFrame;

/* What is the same for a whole entry. */
typedef struct DhcRun {
  const DhcEntryRequest *request; /* NULL in initialisers */
  bool training, streaming;
  DhcForm form;
  int n_hints; /* symbol -> extent, from the request */
  const char *hint_name[64];
  int64_t hint_value[64];
  int n_decisions;
  int n_open; /* `if`s on dims that neither facts nor hints decided */
  bool refused; /* a form that may be lacking, or a flipped `if`: a `require` says that there is none such … */
  int n_all, n_errors, n_warnings; /* … and what diagnostics there were till then */
  const char *init_path;           /* of the tensor whose initialiser this is, or NULL */
  DHC_VEC(const char *) site_path; /* random sites by instance path … */
  DHC_VEC(int) site_count;         /* … and how many it drew */
  DHC_VEC(const DhcInst *) called; /* an element a call of an entry by another instance, in order */
} DhcRun;

struct DhcCx {
  DhcElab *e;
  DhcModel *m;    /* NULL while file-level consts are evaluated */
  DhcInst *self;  /* whose members names mean; NULL in functions */
  int call;       /* which call of self this is, in this run, from 0: each has states of its own */
  DhcInst *owner; /* in whose name nodes, taps and random sites are made */
  const DhcAstModule *file;
  DhcScope *scope;
  DhcFn *fn; /* NULL: only compile-time values exist */
  DhcRun *run;
  int depth;           /* of calls */
  const DhcFrame *frame; /* the innermost, NULL: none */
  int eval_depth;      /* of expressions */
  bool frozen;         /* inside frozen(…): weights that are read get no gradient */
  const char *require; /* inside `require` on dims: its message; comparisons become facts */
  DhcSpan require_at; /* of the statement, while in_require */
  bool in_require;
  const DhcVal *init_shape; /* inside an initialiser: the declared shape */
  /* control flow of the running body */
  bool done;
  bool has_result;
  DhcVal result;
  const char *block; /* "unit", "scan", "checkpoint" or NULL: what `yield` ends */
  const DhcAstSignature *sig;
};

/* ---- limits (elab_limit.c) ------------------------------------------------------------------------ */

/* The work of one request begins: steps are counted from here. */
void dhc_limit_begin(DhcElab *e);
/* Takes n steps of evaluation at `at`. False: the limit is met, reported with the calls under way,
 * and e->stopped. */
bool dhc_limit_steps(DhcCx *cx, int64_t n, DhcSpan at);
/* The steps that walking n things costs. */
int64_t dhc_limit_walk(int64_t n);
/* Reports that a limit is met, with the calls under way, and ends the work. */
DhcDiag *dhc_limit_stop(DhcCx *cx, const char *code, DhcSpan at, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* What a call adds to the frame that it makes. */
#define DHC_CALLED(cx, frame_) .frozen = (cx)->frozen, .depth = (cx)->depth + 1, .eval_depth = (cx)->eval_depth, .frame = (frame_)

/* ---- training (elab_train.c) ----------------------------------------------------------------------- */

/* What frozen and average say of a tensor of cx->self. */
void dhc_train_tensor(DhcCx *cx, DhcTensorDecl *d);
/* Averages begin as what they follow. */
void dhc_train_begin_averages(DhcModel *m);
/* The function of an optimiser: every scalar of it with a default, then what is given. False after diagnostics. */
typedef struct DhcOptimizer {
  const char *name; /* NULL: the expression is no call */
  DhcRecipeArgs args;
} DhcOptimizer;
bool dhc_train_optimizer(DhcCx *cx, const char *name, const DhcAstArgs *args, DhcSpan at, DhcOptimizer *out);
/* adamw(weight_decay = 0.05), or a name alone; `what`: "optimizer". */
bool dhc_train_optimizer_call(DhcCx *cx, const DhcAstExpr *e, const char *what, DhcOptimizer *out);
/* One more of its arguments, or another value of it. */
void dhc_train_set_arg(DhcArena *arena, DhcRecipeArgs *args, const char *name, double value);
/* `groups` of a recipe whose optimiser is bound. False after diagnostics. */
bool dhc_train_groups(DhcCx *cx, DhcRecipe *r, const DhcAstExpr *e);

/* ---- diagnostics (elab_value.c) ---------------------------------------------------------------- */

DhcDiag *dhc_err(DhcCx *cx, const char *code, DhcSpan at, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
void dhc_err_note(DhcCx *cx, DhcDiag *d, DhcSpan at, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
void dhc_err_hint(DhcCx *cx, DhcDiag *d, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* "784 ('x', line 3)": a dim and where the tensor came from. */
const char *dhc_say_dim(DhcCx *cx, const DhcDim *d);
const char *dhc_say_type(DhcCx *cx, const DhcType *t);
/* The comment that ends the line of a declaration or setting, without its '#'; "". */
const char *dhc_comment_beside(DhcElab *e, DhcSpan of);
const char *dhc_say_val(DhcCx *cx, const DhcVal *v);    /* as text of the language, short */
const char *dhc_say_kind(DhcCx *cx, const DhcVal *v);   /* "an int", "a tensor f32[B, 3]" */
const char *dhc_say_origin(DhcCx *cx, const DhcVal *v); /* "'x', line 3" or "" */
void dhc_note_operand(DhcCx *cx, DhcDiag *d, const DhcVal *v);

/* ---- values (elab_value.c) ------------------------------------------------------------------------ */

DhcVal dhc_v_error(void);
DhcVal dhc_v_int(int64_t i);
DhcVal dhc_v_bool(bool b);
DhcVal dhc_v_float(DhcCx *cx, double v);
DhcVal dhc_v_fx(DhcFx *fx);
DhcVal dhc_v_string(DhcCx *cx, const char *s, int n);
DhcVal dhc_v_dim(const DhcDim *d); /* INT where constant */
DhcVal dhc_v_tensor(DhcValue *v);  /* ERROR for NULL */
DhcVal dhc_v_list(DhcCx *cx, DhcValKind kind, const DhcVal *at, int n);
DhcDims *dhc_cx_dims(DhcCx *cx);
DhcArena *dhc_cx_arena(DhcCx *cx);
/* Conversions; report at `at` what is wanted ("argument 'axis' of sum") and return false. */
bool dhc_want_int(DhcCx *cx, const DhcVal *v, DhcSpan at, const char *what, int64_t *out);
bool dhc_want_dim(DhcCx *cx, const DhcVal *v, DhcSpan at, const char *what, const DhcDim **out);
bool dhc_want_bool(DhcCx *cx, const DhcVal *v, DhcSpan at, const char *what, bool *out);
bool dhc_want_double(DhcCx *cx, const DhcVal *v, DhcSpan at, const char *what, double *out);
bool dhc_want_string(DhcCx *cx, const DhcVal *v, DhcSpan at, const char *what, const char **out);
bool dhc_want_dtype(DhcCx *cx, const DhcVal *v, DhcSpan at, const char *what, dhc_dtype *out);
/* A list of dims, flattened. */
bool dhc_want_shape(DhcCx *cx, const DhcVal *v, DhcSpan at, const char *what, int *rank, const DhcDim **dim);
bool dhc_val_equal(DhcCx *cx, const DhcVal *a, const DhcVal *b, DhcSpan at);
int dhc_val_depth(const DhcVal *v); /* of lists within lists and maps; 0: neither */
bool dhc_val_is_number(const DhcVal *v);       /* INT, DIM, FLOAT */
DhcFx *dhc_val_fx(DhcCx *cx, const DhcVal *v); /* INT or FLOAT as Fx; NULL otherwise */
DhcFx *dhc_fx_const(DhcCx *cx, double v);
DhcFx *dhc_fx_op(DhcCx *cx, DhcOp op, DhcFx *const *arg, int n);
DhcFx *dhc_fx_scalar(DhcCx *cx, const char *name, double value); /* new scalar of the module */

/* ---- scopes and names (elab_names.c) -------------------------------------------------------------- */

void dhc_scope_set(DhcCx *cx, const char *name, DhcVal v);
DhcVal *dhc_scope_get(DhcScope *s, const char *name);
/* A declaration visible from `file`: its own, its imports', std's. */
const DhcAstDecl *dhc_find_decl(DhcElab *e, const DhcAstModule *file, const char *name, unsigned kinds,
                                const DhcAstModule **in);
#define DHC_DECL_BIT(kind) (1u << (kind))
DhcMember *dhc_inst_member(DhcInst *inst, const char *name);
DhcHyper *dhc_inst_hyper(DhcInst *inst, const char *name);
const DhcAstItem *dhc_inst_entry(const DhcInst *inst, const char *name);
DhcVal dhc_eval_name(DhcCx *cx, const char *name, DhcSpan at);
DhcVal dhc_eval_member_of(DhcCx *cx, DhcInst *inst, const char *name, DhcSpan at, bool report);
DhcVal dhc_member_value(DhcCx *cx, DhcInst *inst, DhcMember *m, DhcSpan at);
/* A copy of c with one more argument; a named one replaces its namesake. */
DhcClosure *dhc_closure_with(DhcArena *a, const DhcClosure *c, const DhcGiven *more, int n);
/* The one of `names` that an unknown argument means: what other libraries call so, or a near one; NULL: none. */
const char *dhc_argument_here(const char *name, const char *const *names, int n);
/* E0301: the layer has no hyperparameter of that name; which it may mean, or all it has. */
void dhc_report_no_hyper(DhcCx *cx, const DhcAstDecl *layer, const char *name, DhcSpan at);
void dhc_warn_unread(DhcElab *e); /* once (elab_unused.c) */
void dhc_report_unknown(DhcCx *cx, const char *what, const char *name, DhcSpan at);

/* ---- expressions (elab_expr.c, elab_arith.c) --------------------------------------------------------- */

DhcVal dhc_eval(DhcCx *cx, const DhcAstExpr *e);
bool dhc_eval_cond(DhcCx *cx, const DhcAstExpr *e, bool *out); /* false after an error */
DhcVal dhc_eval_binary(DhcCx *cx, DhcAstBinary op, DhcVal a, DhcVal b, DhcSpan at);
DhcVal dhc_eval_unary(DhcCx *cx, DhcAstUnary op, DhcVal a, DhcSpan at);
DhcVal dhc_eval_index(DhcCx *cx, DhcVal object, const DhcAstSubscripts *subs, DhcSpan at);
/* Decides a >= b (a == b): by facts, else by hints, recording it as a fact. */
bool dhc_decide_ge(DhcCx *cx, const DhcDim *a, const DhcDim *b);
bool dhc_decide_eq(DhcCx *cx, const DhcDim *a, const DhcDim *b);
/* Common shape of operands broadcast from the right; false after an error naming `op`. */
bool dhc_broadcast_shape(DhcCx *cx, const char *op, const DhcVal *args, int n, DhcSpan at, int *rank,
                         const DhcDim **dim);
/* True only if known equal under the facts of cx->fn. */
bool dhc_same_dim(DhcCx *cx, const DhcDim *a, const DhcDim *b);
/* v with every dim written as in dim[] where facts say they are equal: after
 * `require L == R` a [R] becomes a [L]. As a slice of the whole, which facts prove legal. */
DhcValue *dhc_align(DhcCx *cx, DhcValue *v, const DhcDim *const *dim, int rank);
/* Operand of an op on tensors: v as a value of dtype *want (-1: any; numbers then get the
 * language's float, or i64 for ints). NULL after an error. */
DhcValue *dhc_as_tensor(DhcCx *cx, const DhcVal *v, int want, DhcSpan at);
/* Elementwise op over mixed operands: adapts numbers, broadcasts; compile-time if all are. */
DhcVal dhc_elementwise(DhcCx *cx, DhcOp op, const DhcVal *args, int n, DhcSpan at);
DhcVal dhc_matmul(DhcCx *cx, const DhcVal *a, const DhcVal *b, DhcSpan at);
DhcVal dhc_einsum(DhcCx *cx, const char *spec, const DhcVal *args, int n, DhcSpan at);
DhcVal dhc_transpose_last(DhcCx *cx, const DhcVal *x, DhcSpan at);
/* Where the builder puts what is made next. */
DhcBuilder *dhc_at(DhcCx *cx, DhcSpan at);

/* ---- calls (elab_call.c, elab_outline.c) --------------------------------------------------------------- */

typedef struct DhcArg {
  const char *name; /* NULL: positional */
  DhcVal value;
  DhcSpan span;
} DhcArg;
DhcVal dhc_eval_call(DhcCx *cx, const DhcAstExpr *e);
DhcVal dhc_call_method(DhcCx *cx, DhcInst *inst, const DhcAstItem *entry, const DhcArg *args, int n_args,
                       DhcSpan at);
DhcVal dhc_call_fn(DhcCx *cx, const DhcAstDecl *fn, const DhcAstModule *file, const DhcArg *args, int n_args,
                   DhcSpan at);
/* Runs statements of a body in cx until return or yield. */
void dhc_run_body(DhcCx *cx, const DhcAstStmts *body);
/* Binds inputs of `sig` to values: checks types, binds dims. `cx` is the callee's frame,
 * its scope receives inputs and binders. */
bool dhc_bind_inputs(DhcCx *cx, const DhcAstSignature *sig, const DhcVal *inputs, DhcSpan call,
                     const char *what);
/* Arguments matched with the inputs of `sig`, defaults filled in; one value each. */
bool dhc_match_inputs(DhcCx *cx, const DhcAstSignature *sig, const DhcAstModule *file, const DhcArg *args,
                      int n_args, DhcSpan at, const char *what, DhcVal *inputs);
/* Evaluates arguments; `params` (or NULL) says which take enum values by bare name. */
DhcArg *dhc_eval_args(DhcCx *cx, const DhcAstArgs *args, const DhcAstParams *params, bool *ok);
/* Type of a declared tensor under cx; false after an error. `runs`: bound runs allowed. */
bool dhc_eval_type(DhcCx *cx, const DhcAstType *t, DhcType *out, const char *what);
/* Result of a body against the declared outputs: TUPLE or one value. */
DhcVal dhc_check_outputs(DhcCx *cx, const DhcAstSignature *sig, DhcVal result, DhcSpan at);
DhcVal dhc_eval_unit(DhcCx *cx, const DhcAstExpr *e);
DhcVal dhc_eval_checkpoint(DhcCx *cx, const DhcAstExpr *e);
DhcVal dhc_eval_scan(DhcCx *cx, const DhcAstExpr *e);
DhcVal dhc_outline_method(DhcCx *cx, DhcInst *inst, int call, const DhcAstItem *entry, const DhcVal *inputs,
                          DhcSpan at);
DhcVal dhc_outline_composite(DhcCx *cx, const DhcAstDecl *fn, const DhcAstModule *file, const DhcVal *inputs,
                             DhcSpan at);
bool dhc_body_has_unit(const DhcAstStmts *body);

/* `init` (NULL: zeros) as a tensor of `type`, told the shape as initialisers are; `what` and
 * `at` are of the declaration. NULL after an error. */
DhcValue *dhc_default_tensor(DhcCx *cx, const DhcAstExpr *init, const DhcType *type, const char *what, DhcSpan at);
/* An input that was left out: its default, in the declared type. ERROR after a message. */
DhcVal dhc_absent_input(DhcCx *cx, const DhcAstParam *p);

/* What a requirement says where it is not met (elab_stmt.c). */
const char *dhc_require_message(DhcCx *cx, const DhcAstRequire *r);

/* ---- state (elab_state.c) ------------------------------------------------------------------------------ */

/* Declares the states of inst and all below it in the module. */
void dhc_state_declare(DhcModel *m, DhcInst *inst);
/* What a state holds here: its initialiser, or in the streaming form what was carried in or
 * assigned since. */
DhcVal dhc_state_read(DhcCx *cx, DhcInst *inst, DhcMember *m, DhcSpan at);
/* The state that an assignment to `name` in this frame means, or NULL: a local value. */
DhcMember *dhc_state_target(DhcCx *cx, const char *name);
/* Checks *v against the state's type, makes it a tensor of it, and in the streaming form
 * keeps it for the next run. *v becomes ERROR after a message. */
void dhc_state_write(DhcCx *cx, DhcMember *m, DhcVal *v, DhcSpan at);
/* The entry NAME.reset of a finished streaming entry: every state it uses gets its initial
 * value. `cx` is the entry's frame. NULL after an error. */
DhcFunc *dhc_state_reset(DhcCx *cx, const char *name);

/* ---- builtins (elab_builtin.c and others, builtins.def) ---------------------------------------------------
 */

typedef struct DhcBuiltinCall {
  const char *name;
  DhcSpan at;
  DhcVal *arg;   /* in declaration order; kind VOID where not given */
  DhcSpan *span; /* of each */
  int n_args;    /* declared ones */
} DhcBuiltinCall;
/* False if `name` is no builtin. */
bool dhc_call_builtin(DhcCx *cx, const char *name, const DhcArg *args, int n_args, DhcSpan at, DhcVal *out);
int dhc_builtin_names(const char **out, int max);

/* ---- models (elab_bind.c, elab_model.c, elab_init.c)
 * --------------------------------------------------------- */

DhcInst *dhc_instantiate(DhcCx *cx, DhcClosure *c, const char *path, const char *files, const char *name, const char *index,
                         DhcInst *parent, DhcSpan at);
bool dhc_run_initialisers(DhcModel *m);
/* Equal units merged, callees first, verified. */
bool dhc_model_seal(DhcModel *m);
bool dhc_bind_hypers(DhcCx *cx, DhcInst *inst, DhcGivens *args, DhcSpan at);
/* Bounds of a preset, variant or recipe, or of --set, for the parameters of `root`. */
bool dhc_setting_value(DhcCx *cx, const DhcAstParams *params, const char *key, const DhcAstExpr *value,
                       DhcVal *out);
/* Coerces v to the declared type and checks its range; reports at `at`. */
bool dhc_coerce(DhcCx *cx, const DhcAstType *type, const DhcAstExpr *range, const char *what, DhcVal *v,
                DhcSpan at);
DhcFunc *dhc_init_function(DhcCx *cx, const DhcAstExpr *init, DhcSpan at, const char *path,
                           const DhcType *type);
int64_t dhc_site_of(const char *path); /* stable number of a random site */

/* ---- recipes (elab_recipe.c) ------------------------------------------------------------------------------
 */

bool dhc_recipe_bind(DhcModel *m, const DhcModelRequest *request);

#endif
