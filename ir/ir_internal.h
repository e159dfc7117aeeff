/* Shared by the files of the graph IR; nobody else includes it. */
#ifndef DHC_IR_IR_INTERNAL_H
#define DHC_IR_IR_INTERNAL_H

#include "ir/ir.h"

/* Diagnostic codes of this folder. */
#define DHC_E_SHAPE "E0401"  /* a shape rule */
#define DHC_E_PROOF "E0402"  /* a shape rule that lacks a fact */
#define DHC_E_LIMIT "E0403"  /* ranks, element counts, numbers of nodes */
#define DHC_E_IRTEXT "E0410" /* text form */
#define DHC_E_VERIFY "E0420" /* verifier */

/* ---- shape rules (shape.c) ------------------------------------------------------- */

/* Arity, attribute kinds, the op's rule, then what holds for every result: rank, extents
 * that cannot be negative, element and byte counts within 63 bits. `prefix`, if not
 * NULL, stands before every message. `b`: who builds n, NULL where it stands already. type has room for
 * DHC_MAX_RESULTS. */
bool dhc_shape_infer(DhcModule *m, const DhcFacts *facts, const DhcBuilder *b, const DhcNode *n, const char *prefix,
                     DhcType *type, int *n_results);

static inline const DhcType *dhc_arg_type(const DhcShapeCtx *cx, int i) {
  return &cx->n->args[i]->type;
}
/* Text of operand i's type, in the module's arena. */
const char *dhc_arg_text(DhcShapeCtx *cx, int i);
const char *dhc_dim_text(DhcModule *m, const DhcDim *d);
const char *dhc_type_text(DhcModule *m, const DhcType *t);
/* Requires a <= b: nothing if proven; else an error "<what>: needs H >= 3" with the hint to
 * add that fact (when it is undecided). What the message is made of is only then evaluated. */
#define dhc_need_le(cx, a, b, ...) (dhc_shape_le(cx, a, b) == DHC_TRUE || dhc_need_failed(cx, a, b, __VA_ARGS__))
DhcTruth dhc_shape_le(DhcShapeCtx *cx, const DhcDim *a, const DhcDim *b);
/* The error; false. */
bool dhc_need_failed(DhcShapeCtx *cx, const DhcDim *a, const DhcDim *b, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* Axis attribute within 0..rank-1. */
bool dhc_need_axis(DhcShapeCtx *cx, int64_t axis, int rank);
/* Distinct axes within 0..rank-1; `name` is the attribute's. */
bool dhc_need_axes(DhcShapeCtx *cx, const char *name, int rank);
bool dhc_need_rank(DhcShapeCtx *cx, int arg, int rank);
/* Adds a result; the type is filled by the caller. */
DhcType *dhc_add_result(DhcShapeCtx *cx);
/* A type of the given dims; false with an error if rank is too large. */
bool dhc_result_of(DhcShapeCtx *cx, dhc_dtype dtype, int rank, const DhcDim *const *dim);

/* ---- symbols ------------------------------------------------------------------------ */

/* Replacement of a callee's symbols by the caller's dims. */
typedef struct DhcSubst {
  int n;
  const char *const *from;
  const DhcDim *const *to;
} DhcSubst;
void dhc_type_subst(DhcDims *cx, DhcType *t, const DhcSubst *s);

/* ---- nodes (module.c) ------------------------------------------------------------------ */

/* A node of n_results results in f, not yet in its list; args are copied. */
DhcNode *dhc_node_make(DhcFunc *f, DhcOp op, DhcValue *const *args, int n_args,
                       const DhcType *type, int n_results);
/* Puts n into its function's list. before NULL: at the end. */
void dhc_node_link(DhcNode *n, DhcNode *before);
/* Index of parameter v of f, or -1. */
int dhc_param_index(const DhcFunc *f, const DhcValue *v);

/* ---- text (text_float.c, print.c) -------------------------------------------------------- */

/* Hexadecimal, independent of the locale; "inf", "-inf", "nan". */
void dhc_print_double(double v, DhcText *to);
/* Hexadecimal or decimal; NULL if text does not begin with a number. */
const char *dhc_read_double(const char *text, double *out);
void dhc_print_string(const char *s, DhcText *to); /* quoted, escaped */

/* Printing of one function's parts. Values are numbered in list order, so that the text
 * does not depend on the function's history. */
typedef struct DhcPrinter {
  DhcModule *m;
  DhcText *to;
  int *number;            /* by value id */
  const DhcSubst *rename; /* of symbols, or NULL */
  /* Text that stands for a callee; NULL: @name. */
  const char *(*callee)(struct DhcPrinter *p, DhcFunc *f);
  void *ctx; /* callee's own */
} DhcPrinter;
DhcPrinter dhc_printer_make(DhcFunc *f, DhcText *to, DhcArena *scratch);
void dhc_print_node(DhcPrinter *p, const DhcNode *n);
void dhc_print_type(DhcPrinter *p, const DhcType *t);
void dhc_print_func_name(const char *name, DhcText *to); /* @name, quoted where needed */

const char *dhc_role_name(DhcRole r); /* names.c; "?" if it is none */
const char *dhc_func_kind_name(DhcFuncKind k);
bool dhc_role_parse(const char *name, DhcRole *out);
bool dhc_func_kind_parse(const char *name, DhcFuncKind *out);

#endif
