/* Abstract syntax of .dhc files: plain tagged structs, one per construct of the
 * language (docs/language.md), exactly as written: names are not resolved, nothing
 * is evaluated, sugar is kept.
 *
 * Ownership: every node, list and string lies in the session arena; names are
 * interned (compare by pointer). Nodes are not changed after parsing.
 * Every node has a span that covers it from its first to its last byte.
 *
 * Depth: neither a block of items, nor a statement, nor an expression nests deeper than
 * DHC_AST_MAX_DEPTH constructs, with one exception: chains of left-associative operators and
 * of postfixes lean to the left (a + b + c = ((a + b) + c)) and one expression may
 * hold DHC_AST_MAX_OPERATORS of them. Walk the left spine in a loop, or keep the
 * frame of the recursive function small. */
#ifndef DHC_FRONTEND_AST_H
#define DHC_FRONTEND_AST_H

#include "dhc/abi.h"
#include "ir/arena.h"
#include "ir/limits.h"
#include "ir/diag.h"

#define DHC_AST_MAX_DEPTH DHC_LIMIT_NESTING
#define DHC_AST_MAX_OPERATORS DHC_LIMIT_OPERATORS
#define DHC_AST_MAX_SOURCE_BYTES ((unsigned)DHC_LIMIT_SOURCE_MIB << 20)
#define DHC_AST_MAX_IMPORT_DEPTH DHC_LIMIT_IMPORTS

typedef struct DhcAstExpr DhcAstExpr;
typedef struct DhcAstStmt DhcAstStmt;
typedef struct DhcAstItem DhcAstItem;
typedef DHC_VEC(DhcAstExpr *) DhcAstExprs;
typedef DHC_VEC(DhcAstStmt *) DhcAstStmts;
typedef DHC_VEC(DhcAstItem *) DhcAstItems;

/* An identifier where it stands. text is NULL where a name is optional and absent. */
typedef struct DhcAstName {
  const char *text;
  DhcSpan span;
} DhcAstName;
typedef DHC_VEC(DhcAstName) DhcAstNames;

/* ---- Expressions ---------------------------------------------------------- */

typedef enum DhcAstExprKind {
  DHC_EX_ERROR, /* stands where a syntax error was reported; stay silent about it */
  DHC_EX_INT,
  DHC_EX_FLOAT,
  DHC_EX_BOOL,
  DHC_EX_STRING,
  DHC_EX_NAME,
  DHC_EX_SELF,       /* `self`, only below DHC_EX_MEMBER */
  DHC_EX_MEMBER,     /* object.name: self.x, x.T, preset-like paths */
  DHC_EX_INDEX,      /* object[subscripts] */
  DHC_EX_CALL,       /* callee(args) */
  DHC_EX_UNARY,
  DHC_EX_BINARY,
  DHC_EX_COND,       /* then_ if cond else else_ */
  DHC_EX_LIST,       /* [a, b, ...S]; also the shape of a type */
  DHC_EX_MAP,        /* { M = Mamba, A = Attention(num_heads = 8) } */
  DHC_EX_RUN,        /* ...S, only as an element of DHC_EX_LIST */
  DHC_EX_RANGE,      /* a..b, only after `in`; half-open in for, closed for parameters */
  DHC_EX_UNIT,       /* unit NAME { statements } */
  DHC_EX_CHECKPOINT, /* checkpoint { statements } */
  DHC_EX_SCAN        /* scan (h = h0) over (g = x) along 1 { statements } */
} DhcAstExprKind;

typedef enum DhcAstUnary { DHC_UN_NEG, DHC_UN_PLUS, DHC_UN_NOT } DhcAstUnary;

typedef enum DhcAstBinary {
  DHC_BI_ADD,
  DHC_BI_SUB,
  DHC_BI_MUL,
  DHC_BI_DIV,      /* /  float division */
  DHC_BI_FLOORDIV, /* // */
  DHC_BI_MOD,      /* %  sign of the divisor */
  DHC_BI_MATMUL,   /* @ */
  DHC_BI_POW,      /* ^  right-associative */
  DHC_BI_LT,
  DHC_BI_LE,
  DHC_BI_GT,
  DHC_BI_GE,
  DHC_BI_EQ,
  DHC_BI_NE,
  DHC_BI_AND,
  DHC_BI_OR
} DhcAstBinary;
/* "+", "//", "and" ... */
const char *dhc_ast_binary_text(DhcAstBinary op);
const char *dhc_ast_unary_text(DhcAstUnary op);

/* Argument of a call: name.text is NULL for a positional one. Positional after
 * named is refused by the parser, and so is the same name twice. */
typedef struct DhcAstArg {
  DhcAstName name;
  DhcAstExpr *value;
  DhcSpan span;
} DhcAstArg;
typedef DHC_VEC(DhcAstArg) DhcAstArgs;

typedef enum DhcAstSubscriptKind {
  DHC_SUB_INDEX,   /* x[i]: index in `lo` */
  DHC_SUB_SLICE,   /* x[lo:hi:step], each may be NULL */
  DHC_SUB_ELLIPSIS /* x[..., 0]: at most one, checked by the parser */
} DhcAstSubscriptKind;
typedef struct DhcAstSubscript {
  DhcAstSubscriptKind kind;
  DhcAstExpr *lo, *hi, *step;
  DhcSpan span;
} DhcAstSubscript;
typedef DHC_VEC(DhcAstSubscript) DhcAstSubscripts;

/* `name = value` of a map, a scan header, a preset. Keys of maps may be written as
 * strings; no key stands twice in one map or header. */
typedef struct DhcAstPair {
  DhcAstName name;
  DhcAstExpr *value;
  DhcSpan span;
} DhcAstPair;
typedef DHC_VEC(DhcAstPair) DhcAstPairs;

struct DhcAstExpr {
  DhcAstExprKind kind;
  DhcSpan span;
  uint16_t depth;      /* nested constructs below, left chains counted once */
  uint16_t n_ops;      /* operators and postfixes of this expression */
  bool parenthesised;  /* written in (); of interest to messages only */
  union {
    int64_t int_value;   /* never negative: a sign is DHC_UN_NEG */
    double float_value;  /* finite */
    bool bool_value;
    struct {
      const char *at;    /* unescaped, interned, UTF-8, no NUL inside */
      int n;
    } string;
    const char *name;    /* NAME, RUN */
    struct {
      DhcAstExpr *object;
      DhcAstName name;
    } member;
    struct {
      DhcAstExpr *object;
      DhcAstSubscripts subscripts; /* at least one */
    } index;
    struct {
      DhcAstExpr *callee; /* NAME, or MEMBER of SELF, or INDEX of those; elaboration says what else it takes */
      DhcAstArgs args;
    } call;
    struct {
      DhcAstUnary op;
      DhcAstExpr *operand;
    } unary;
    struct {
      DhcAstBinary op;
      DhcAstExpr *lhs, *rhs;
      DhcSpan op_span;
    } binary;
    struct {
      DhcAstExpr *cond, *then_, *else_;
    } cond;
    DhcAstExprs list;
    DhcAstPairs map;
    struct {
      DhcAstExpr *lo, *hi; /* hi NULL: open (parameters only) */
    } range;
    struct {
      DhcAstName name; /* text NULL: `unit { ... }` */
      DhcAstStmts body;
    } unit;
    DhcAstStmts checkpoint;
    struct {
      DhcAstPairs carries; /* h = h0; at least one */
      DhcAstPairs over;    /* g = x; at least one; slices of x along `axis` in the body */
      DhcAstExpr *axis;
      bool reverse;
      DhcAstStmts body;    /* carries are updated by assignment; yields are stacked along axis */
    } scan;
  } u;
};

/* ---- Types, parameters, signatures ---------------------------------------- */

typedef enum DhcAstTypeKind {
  DHC_TY_NONE, /* not written: taken from the default */
  DHC_TY_INT,
  DHC_TY_FLOAT,
  DHC_TY_BOOL,
  DHC_TY_STRING,
  DHC_TY_ENUM,  /* enum(pooled, grid): values in `values` */
  DHC_TY_LAYER,
  DHC_TY_LIST,
  DHC_TY_MAP,
  DHC_TY_TENSOR, /* [B, L], i64[B], f32[] */
  DHC_TY_ERROR
} DhcAstTypeKind;

typedef struct DhcAstType {
  DhcAstTypeKind kind;
  DhcSpan span;
  DhcAstNames values;  /* ENUM: at least one, no two equal */
  bool has_dtype;      /* TENSOR: false where no prefix stands: the language's float */
  DhcAstName dtype;    /* TENSOR with has_dtype: a name of include/dhc/dtypes.def, or "any" */
  DhcAstExpr *shape;   /* TENSOR: a DHC_EX_LIST; elements are dims (expressions) or DHC_EX_RUN */
} DhcAstType;

/* A hyperparameter of a layer, model or function, or an input or output of an entry.
 * Written  name: type in range = default. */
typedef struct DhcAstParam {
  DhcAstName name;
  DhcAstType type;
  DhcAstExpr *range;         /* RANGE or LIST, or NULL */
  DhcAstExpr *default_value; /* or NULL */
  DhcSpan span;
} DhcAstParam;
typedef DHC_VEC(DhcAstParam) DhcAstParams;

/* <B, L>, <...S> */
typedef struct DhcAstBinder {
  DhcAstName name;
  bool is_run;
} DhcAstBinder;
typedef DHC_VEC(DhcAstBinder) DhcAstBinders;

/* Of an entry or a function. Inputs of entries have tensor types; those of functions
 * may also have compile-time ones (int, string, ...) and defaults. */
typedef struct DhcAstSignature {
  DhcAstName name;
  DhcAstBinders binders;
  DhcAstParams inputs;
  DhcAstParams outputs; /* no range, no default; without a type: whatever is returned */
  DhcSpan span;         /* from the name to the end of the outputs */
} DhcAstSignature;

/* ---- Statements ----------------------------------------------------------- */

typedef enum DhcAstStmtKind {
  DHC_ST_ASSIGN,  /* a, b = x, y   a = x   a, _ = f(x) */
  DHC_ST_STORE,   /* running_mean <- x */
  DHC_ST_RETURN,  /* return x, y */
  DHC_ST_YIELD,   /* yield x, y */
  DHC_ST_TAP,     /* tap NAME = x */
  DHC_ST_REQUIRE, /* require cond, "message" */
  DHC_ST_IF,
  DHC_ST_FOR
} DhcAstStmtKind;

typedef struct DhcAstRequire {
  DhcAstExpr *cond;
  const char *message; /* interned, or NULL */
  DhcAstExpr *text;    /* computes the message instead, or NULL */
  DhcSpan message_span;
} DhcAstRequire;

struct DhcAstStmt {
  DhcAstStmtKind kind;
  DhcSpan span;
  uint16_t depth;
  union {
    struct {
      DhcAstNames targets; /* "_" discards */
      DhcAstExprs values;  /* one, or as many as targets (parser checks) */
    } assign;
    struct {
      DhcAstName target; /* a buffer or state of this layer; `self.x <- e` gives x */
      bool is_self;
      DhcAstExpr *value;
    } store;
    DhcAstExprs values; /* RETURN (may be empty), YIELD (at least one) */
    struct {
      DhcAstName name;
      DhcAstExpr *value;
    } tap;
    DhcAstRequire require;
    struct {
      DhcAstExpr *cond;
      DhcAstStmts then_, else_; /* `else if` is an else_ of one IF */
      bool has_else;
      DhcSpan then_span; /* with its braces */
    } if_;
    struct {
      DhcAstName var;
      DhcAstExpr *iter; /* RANGE (half-open) or a compile-time list */
      DhcAstStmts body;
    } for_;
  } u;
};

/* ---- Items of a layer or model -------------------------------------------- */

typedef enum DhcAstItemKind {
  DHC_IT_CONST,
  DHC_IT_TENSOR,    /* param, buffer, table, state */
  DHC_IT_SUBMODULE, /* norm1 = RMSNorm(d), layers[i] = ... */
  DHC_IT_INIT,      /* init Linear.weight = xavier_normal() */
  DHC_IT_REQUIRE,
  DHC_IT_IF,
  DHC_IT_FOR,
  DHC_IT_ENTRY
} DhcAstItemKind;

typedef enum DhcAstTensorRole {
  DHC_TENSOR_PARAM,
  DHC_TENSOR_BUFFER,
  DHC_TENSOR_TABLE,
  DHC_TENSOR_STATE
} DhcAstTensorRole;

typedef struct DhcAstConst {
  DhcAstName name;
  DhcAstType type; /* NONE if not written */
  DhcAstExpr *value;
} DhcAstConst;

struct DhcAstItem {
  DhcAstItemKind kind;
  DhcSpan span;
  uint16_t depth;
  union {
    DhcAstConst const_;
    struct {
      DhcAstTensorRole role;
      DhcAstName name;
      DhcAstType type; /* always TENSOR */
      bool no_decay;   /* params only (parser checks) */
      DhcSpan no_decay_span;
      DhcAstExpr *path; /* as "experts.*.fc1.weight", or a list of such; NULL */
      DhcAstExpr *init; /* or NULL */
    } tensor;
    struct {
      DhcAstName name;
      DhcAstExprs indices; /* layers[i] = ..., blocks[i][j] = ...; none for a plain one */
      DhcAstExpr *path;    /* as "lm_head", or NULL */
      DhcAstExpr *value;
    } submodule;
    struct {
      DhcAstNames path;    /* Linear.weight -> "Linear", "weight"; "*" for any component; indices as "3" */
      DhcSpan path_span;
      DhcAstExpr *value;
    } init;
    DhcAstRequire require;
    struct {
      DhcAstExpr *cond;
      DhcAstItems then_, else_; /* `else if` is an else_ of one IF */
      bool has_else;
      DhcSpan then_span; /* with its braces */
    } if_;
    struct {
      DhcAstName var;
      DhcAstExpr *iter;
      DhcAstItems body;
    } for_;
    struct {
      DhcAstSignature sig;
      bool is_metric; /* metric NAME<B>(...) */
      DhcAstStmts body;
    } entry;
  } u;
};

/* ---- Declarations of a file ----------------------------------------------- */

typedef enum DhcAstDeclKind {
  DHC_DE_LAYER,
  DHC_DE_MODEL,
  DHC_DE_FN,
  DHC_DE_CONST,
  DHC_DE_PRESET,
  DHC_DE_VARIANTS,
  DHC_DE_RECIPE
} DhcAstDeclKind;

/* `key = value`, or `lr(step, steps) = value` in a recipe (has_params). A key may be
 * dotted ("mixer.num_heads"), then it is one interned text. */
typedef struct DhcAstSetting {
  DhcAstName key;
  bool has_params;
  DhcAstNames params;
  DhcAstExpr *value;
  DhcSpan span;
} DhcAstSetting;
typedef DHC_VEC(DhcAstSetting) DhcAstSettings; /* keys differ */

typedef struct DhcAstVariant {
  DhcAstName name;
  DhcAstSettings settings;
  DhcSpan span;
} DhcAstVariant;
typedef DHC_VEC(DhcAstVariant) DhcAstVariantList;

typedef struct DhcAstDecl {
  DhcAstDeclKind kind;
  DhcSpan span;    /* the whole declaration */
  DhcAstName name; /* every kind has one */
  union {
    struct {
      DhcAstParams params;
      DhcAstItems items;
    } layer; /* LAYER, MODEL */
    struct {
      DhcAstSignature sig;
      const char *kernel; /* kernel "attend", interned, or NULL */
      DhcSpan kernel_span;
      DhcAstName vjp; /* vjp OTHER; text NULL if absent */
      DhcAstStmts body;
    } fn;
    DhcAstConst const_;
    struct {
      DhcAstName target; /* for MODEL */
      DhcAstSettings settings;
    } settings; /* PRESET, RECIPE */
    struct {
      DhcAstName target;
      DhcAstVariantList list;
    } variants;
  } u;
} DhcAstDecl;
typedef DHC_VEC(DhcAstDecl *) DhcAstDecls;

typedef struct DhcAstImport {
  const char *text; /* std/nn, or the file name as written between the quotes */
  bool is_shipped;  /* not quoted */
  DhcSpan span;     /* of the path */
  int module;       /* index into DhcAstProgram.modules; -1 if it could not be loaded */
} DhcAstImport;
typedef DHC_VEC(DhcAstImport) DhcAstImports;

/* One file. */
typedef struct DhcAstModule {
  uint32_t file; /* in DhcSources */
  const char *name; /* as in messages */
  DhcAstImports imports;
  DhcAstDecls decls; /* in order of writing; a name may stand twice, elaboration reports it */
  DHC_VEC(DhcSpan) comments; /* in order; for the canonical printer */
} DhcAstModule;
typedef DHC_VEC(DhcAstModule *) DhcAstModules;

/* Trees of files about which nothing was said, each with the source it was made from. Who asks for the same bytes by
 * the same name gets a module over the same declarations. */
typedef DHC_VEC(const DhcAstModule *) DhcParsed;

/* A model file with all it imports, each file once. Imported modules come before
 * those that import them; the file that was asked for is the last one. */
typedef struct DhcAstProgram {
  DhcAstModules modules;
  DhcAstModule *root; /* NULL if it could not be read at all */
} DhcAstProgram;

#endif
