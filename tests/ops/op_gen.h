/* Private to the case tables: a case under construction. A case function of an op says
 *
 *   case_begin(g, "17x33 axis %d", 1); arg(g, g->flt, SHAPE(17, 33)); ints(g, 1); flag(g, true);
 *   case_end(g);
 *
 * Extents may be symbolic: B(4) is symbol B, which is 4 when the case runs. */
#ifndef DHC_TESTS_OP_GEN_H
#define DHC_TESTS_OP_GEN_H

#include "tests/ops/op_cases.h"

enum { GEN_MAX_ARGS = 12 };

typedef struct Shape {
  int rank;
  int64_t dim[DHC_MAX_RANK];
} Shape;
#define COUNT_OF(...) ((int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)))
#define SHAPE(...) ((Shape){COUNT_OF(__VA_ARGS__), {__VA_ARGS__}})
#define SCALAR ((Shape){0, {0}})
/* symbolic extents: symbol and value in one number */
enum { SYM_UNIT = 1000000 };
#define B(v) (1 * SYM_UNIT + (v))
#define L(v) (2 * SYM_UNIT + (v))

typedef struct Gen {
  DhcOp op;
  DhcCaseOptions o;
  dhc_dtype flt; /* = o.float_dtype */
  DhcCaseFn fn;
  void *ctx;
  int n_cases;
  bool wrong; /* cases of this generator are to be refused */
  uint64_t state;
  /* the case being built: */
  DhcArena arena;
  DhcStrings strings;
  DhcSources sources;
  DhcDiags diags;
  DhcModule *m;
  DhcFunc *f;
  DhcOpCase c;
  DhcValue *value[GEN_MAX_ARGS];
  const DhcArray *array[GEN_MAX_ARGS];
  int n_args;
  DhcAttr attr[DHC_MAX_ATTRS];
  int n_attrs;
  bool too_big;
  DhcRole role; /* of the operands that follow; input unless set */
} Gen;

void case_begin(Gen *g, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Builds g->op on the operands and attributes so far and hands the case over. */
void case_end(Gen *g);
/* The same for a node that the table built itself (broadcasts included), in g->f. */
void case_end_node(Gen *g, DhcNode *n);
DhcBuilder case_builder(Gen *g);

/* Operands: drawn from the domain (floats; integers in its range; bool at random). */
DhcArray *arg(Gen *g, dhc_dtype t, Shape s);
/* Integers in lo..hi-1. */
DhcArray *arg_index(Gen *g, dhc_dtype t, Shape s, int64_t lo, int64_t hi);
/* Floats all different, at least (hi - lo) / (2 n) apart, also from other operands made so. */
DhcArray *arg_distinct(Gen *g, dhc_dtype t, Shape s);
/* Floats from a few values, so that many are equal. */
DhcArray *arg_ties(Gen *g, dhc_dtype t, Shape s);

/* Attributes, in the order of the declarations. */
void attr_i(Gen *g, int64_t v);
void attr_f(Gen *g, double v);
void attr_b(Gen *g, bool v);
void attr_t(Gen *g, dhc_dtype t);
void attr_ints_n(Gen *g, int n, const int64_t *v);
#define attr_ints(g, ...) attr_ints_n((g), COUNT_OF(__VA_ARGS__), (int64_t[]){__VA_ARGS__})
void attr_dim(Gen *g, int64_t v);
void attr_dims(Gen *g, Shape s);
void attr_func(Gen *g, DhcFunc *f);

const DhcDim *gen_dim(Gen *g, int64_t v);
DhcType gen_type(Gen *g, dhc_dtype t, Shape s);
/* Lists v's symbol in f if it is one and not there yet. */
void gen_bind(Gen *g, DhcFunc *f, int64_t v);
int64_t shape_elements(Shape s); /* of the concrete extents */
const char *shape_text(Gen *g, Shape s);

/* One function per group of ops; each handles g->op if it is its own. */
void cases_elementwise(Gen *g);
void cases_create(Gen *g);
void cases_view(Gen *g);
void cases_move(Gen *g);
void cases_reduce(Gen *g);
void cases_contract(Gen *g);
void cases_conv(Gen *g);
void cases_window(Gen *g);
void cases_scan(Gen *g);
void cases_route(Gen *g);
void cases_call(Gen *g);
void cases_update(Gen *g);
void wrong_elementwise(Gen *g);
void wrong_structured(Gen *g);
/* `types` column of an elementwise op ("arith", "float", …), or NULL. */
const char *case_types(DhcOp op);

#endif
