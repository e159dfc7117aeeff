/* Kernel specs: what one kernel computes, free of names, places and sizes.
 *
 * A spec is a loop nest over axes, operands with affine access, and ONE scalar DAG.
 * Node values vary over the axes of what they load; a fold (sum, max, min, argmax, dot)
 * removes axes; what is stored to an output varies over a subset of the axes in that
 * output's terms, and these include every PAR and SEQ axis; but an output of a SCAN node's value
 * may lack SEQ, and holds the one after the last step. (In a SCAN_BACK spec folds may remove any axes, and outputs
 * have those that are left; in a ROUTE spec outputs have those that what they store has.) Prologue, anchor and epilogue
 * are just the nodes before, at and after the folds, so every kind has one meaning and one
 * interpreter.
 *
 *   softmax    axes i:par r:red   m = max{r} x;  e = exp(x - m);  s = sum{r} e;  out[i,r] = e / s
 *   linear     axes i:par j:par k:red   out[i,j] = relu(dot{k}(x[i,k], w[j,k]) + bias[j])
 *   conv+pool  axes n,o,py,px:par wy=2,wx=2:red c:red ky=3,kx=3:red
 *              y = relu(dot{c,ky,kx}(x[n, c, 2py+wy+ky-1 guarded, …], w[o,c,ky,kx]) + b[o])
 *              out0[n,o,py,px] = max{wy,wx} y;  out1 = argmax{wy,wx} y
 *
 * What templates may rely on (passes/fuse/fuse.c makes it so, dhc_spec_verify checks):
 *   - axis order: PAR (outer to inner as output 0 lies in memory), SEQ, RED (in the
 *     order in which a fold counts its elements);
 *   - no axis of constant extent 1; neighbouring axes that every operand walks as one
 *     are one axis, so an elementwise kernel over dense tensors has a single axis;
 *   - a term without guard and index is one axis times its stride: n_axes 1, coef 1.
 *     At most one such term per axis and operand. A stride may be 0 or negative at run time;
 *   - the spatial terms of a convolution are guarded, whatever its padding;
 *   - outputs that overlap an input do so element by element (in-place updates): a MAP
 *     reads no element of such an input but the one it stores;
 *   - what a ROUTE loads is one tensor, whichever operand it is;
 *   - a kernel writes only what its outputs' terms reach. A SCATTER adds to what the
 *     output holds already.
 *
 * Extents are constants only where a template must unroll them (window, kernel taps,
 * d_state, head size, top-k); every other extent, stride and offset is an argument, so
 * that other sizes run the same code.
 *
 * Arguments (dim[] of dhc_kernel_fn), in order:
 *   1. for every axis with extent 0, in axis order: its extent (>= 0);
 *   2. for every operand, for every term: its stride in elements, unless `unit`; then,
 *      if `guarded`, offset and extent;
 *   3. n_args further integers, read by ARG nodes.
 * Pointers (ptr[]): one per operand in order, inputs first, base offsets already added. */
#ifndef DHC_IR_SPEC_H
#define DHC_IR_SPEC_H

#include "ir/ir.h"

enum {
  DHC_SPEC_MAX_AXES = 12,
  DHC_SPEC_MAX_OPERANDS = 32,
  DHC_SPEC_MAX_TERMS = 8,
  DHC_SPEC_MAX_NODES = 256,
  DHC_SPEC_MAX_ATTRS = 8
};

typedef enum DhcKind {
#define KIND(id, ...) DHC_KIND_##id,
#include "ir/kinds.def"
  DHC_N_KINDS
} DhcKind;
/* A convolution or its input gradient, by whichever rule it is summed. */
static inline bool dhc_kind_is_conv(DhcKind k) { return k == DHC_KIND_CONV || k == DHC_KIND_WINOGRAD; }

typedef enum DhcAxisRole {
  DHC_AXIS_PAR, /* independent */
  DHC_AXIS_RED, /* folded by at least one node; may also index outputs (row maps). CHAIN: or not
                   folded, but in some outputs only */
  DHC_AXIS_SEQ  /* carried by a linear_scan node, in order */
} DhcAxisRole;

typedef struct DhcSpecAxis {
  DhcAxisRole role;
  int64_t extent; /* 0: an argument */
} DhcSpecAxis;

/* One logical dimension of an operand:
 *   index   = (sum coef[i] * axis[i] + node value (if index >= 0) + offset) / div
 *   address += stride * index
 * offset is 0 unless guarded. A guarded term reads 0 (loads nothing) where the division
 * leaves a remainder or index is outside [0, extent). div is 1 unless guarded. */
typedef struct DhcTerm {
  int n_axes;
  int axis[4];
  int64_t coef[4];
  int64_t div;
  int index; /* DAG node of an integer dtype, or -1 */
  bool guarded;
  bool unit; /* stride is 1 */
} DhcTerm;

typedef enum DhcTag {
  DHC_TAG_ROW,  /* plain strided memory: the terms' strides say it all */
  DHC_TAG_PANEL = DHC_PANEL_F32, /* weight packed for contractions (passes/plan/layout.c); terms give the logical
                    index, the tag's map the address */
  DHC_TAG_PANEL_BF16, /* the same with elements of bf16, */
  DHC_TAG_PANEL_I8,   /* and of i8, each panel behind a scale (f32) for each of its rows: an element is i8 * scale, rounded to f32 */
  DHC_TAG_ROWS_BF16,  /* weight that a convolution reads or rows are gathered from, as it lies, but for elements of bf16, */
  DHC_TAG_ROWS_I8     /* and of i8, all behind a scale (f32) for each row */
} DhcTag;
static inline bool dhc_tag_is_rows(DhcTag t) { return t >= DHC_TAG_ROWS_BF16; }
static inline bool dhc_tag_is_panel(DhcTag t) { return t != DHC_TAG_ROW && !dhc_tag_is_rows(t); }
static inline bool dhc_tag_is_i8(DhcTag t) { return t == DHC_TAG_PANEL_I8 || t == DHC_TAG_ROWS_I8; }

typedef struct DhcOperand {
  dhc_dtype dtype;
  bool out;
  DhcTag tag;
  int width; /* PANEL: columns of the contraction side by side; else 0 */
  int n_terms;
  DhcTerm term[DHC_SPEC_MAX_TERMS];
  int stored; /* out: DAG node whose value is stored; in: -1 */
} DhcOperand;

typedef enum DhcSpecNodeKind {
  DHC_SN_LOAD,  /* element of operand `operand` */
  DHC_SN_AXIS,  /* i64 index on axis `operand` */
  DHC_SN_ARG,   /* i64 extra argument number `operand` */
  DHC_SN_CONST, /* `value` in dtype */
  DHC_SN_EW,    /* op (class ELEMENTWISE, cast included) on a[] */
  DHC_SN_FOLD,  /* op REDUCE_SUM | REDUCE_MAX | REDUCE_MIN | ARGMAX on a[0], DOT_GENERAL on a[0] * a[1],
                   over the axes in `axes`; order as ops.def defines, axes flattened in axis order;
                   op ADD on a[0]: ((0 + x0) + x1) + … in order (adds up what a window scatters).
                   ARGMAX gives the flat index in its own dtype */
  DHC_SN_SCAN,  /* op LINEAR_SCAN on a[0], a[1], a[2] = h0 along the SEQ axis; attr[0] = reverse; i: DhcScanBits */
  DHC_SN_BEFORE, /* a[0], a SCAN node, as it was before the step: a[2] of that at the first one */
  DHC_SN_RANDOM /* u32: random_bits(a[0] seed, a[1] site, a[2] step) at flat index a[3] */
} DhcSpecNodeKind;

/* Of a SCAN node: the op's flush and forget. BACK, in a SCAN_BACK spec: from the last step to the first,
 * g <- a[1] + k, k <- a[0] g, where k is a[2] at first. An output of it that lacks SEQ holds k after the first step. */
typedef enum DhcScanBits { DHC_SCAN_FLUSH = 1, DHC_SCAN_FORGET = 2, DHC_SCAN_BACK = 4 } DhcScanBits;

typedef struct DhcSpecNode {
  DhcSpecNodeKind kind;
  DhcOp op; /* EW, FOLD, SCAN */
  dhc_dtype dtype;
  int a[4]; /* operands, by node number below this one; -1 unused */
  int operand;
  uint32_t axes; /* FOLD: bit per axis */
  double f;  /* CONST, float dtypes */
  int64_t i; /* CONST, other dtypes; SCAN: 1 if denormal states become 0 */
} DhcSpecNode;

typedef struct DhcSpec {
  DhcKind kind;
  int n_axes, n_operands, n_nodes, n_args, n_attrs;
  DhcSpecAxis axis[DHC_SPEC_MAX_AXES];
  DhcOperand operand[DHC_SPEC_MAX_OPERANDS];
  DhcSpecNode *node; /* n_nodes */
  int64_t attr[DHC_SPEC_MAX_ATTRS]; /* SCAN: [0] reverse */
} DhcSpec;

/* Number of arguments dim[] has; position of an axis' extent (-1 if constant), of a
 * term's stride (-1 if unit) and offset (-1 if unguarded; extent is the next), of extra
 * argument k. */
int dhc_spec_n_dims(const DhcSpec *s);
uint32_t dhc_spec_axes(const DhcSpec *s, DhcAxisRole role); /* those of a role, as bits */
int dhc_spec_unit_axis(const DhcOperand *o);                /* along which its elements lie side by side, unguarded; -1: none */
int dhc_spec_extent_arg(const DhcSpec *s, int axis);
int dhc_spec_stride_arg(const DhcSpec *s, int operand, int term);
int dhc_spec_offset_arg(const DhcSpec *s, int operand, int term);
int dhc_spec_extra_arg(const DhcSpec *s, int k);
/* Axes (bit mask) node n's value varies over. */
uint32_t dhc_spec_varies(const DhcSpec *s, int n);
int dhc_spec_n_inputs(const DhcSpec *s); /* operands before the first output */
/* True for a ROW whose folds are all over the same axes, none made from another, each of an op
 * by which results over parts of the elements join to the result over all (sum by its
 * blocks, maximum, minimum, argmax), and whose outputs have none of these axes. */
bool dhc_spec_may_split(const DhcSpec *s);

/* True for a ROW of sums in f32 over one axis, of no known extent, along which all that varies over it lies side by side, the results
 * among it. */
bool dhc_spec_holds(const DhcSpec *s);

/* True for a SCAN of one scan that counts: 1 * h + a bool as a float, from 0, in f32: whole numbers, exact below 2^24 in
 * any order. */
bool dhc_spec_counts(const DhcSpec *s);

/* The ROUTE spec of so many places, of which each row chooses some. Operands: four times the rows' values [row, place];
 * then of the choices [row, choice] the value and the place, the row of each slot, the slot of each choice, and the first
 * slot of each place, behind them their number. Arguments: rows, twice; from 2 on strides. shares: the softmax of what is
 * loaded stands for it. Is s one? */
DhcSpec *dhc_spec_route(DhcArena *arena, int64_t places, int64_t chosen, bool shares);
bool dhc_spec_routes(const DhcSpec *s, DhcArena *scratch, int64_t *places, int64_t *chosen, bool *shares);

/* A ROW of one sum over the axis `other`: of how many x, each along it, come before y, along the axis `mine`: less (falling: larger), or
 * alike and of a lower number. What is no number comes last (falling: first). Both f32. */
typedef struct DhcSpecRanks {
  int fold, x, y; /* nodes */
  int other, mine;
  bool falling;
} DhcSpecRanks;
bool dhc_spec_ranks(const DhcSpec *s, DhcSpecRanks *r);

/* A MAP whose results lie along one axis and of which some loads, f32 and by strides alone, lie along another, the same of all, and walk the
 * first. */
enum { DHC_TURNED_MOST = 2 };
typedef struct DhcSpecTurned {
  int along, down; /* axes: of the results, of these loads */
  int n, load[DHC_TURNED_MOST];
} DhcSpecTurned;
bool dhc_spec_turned(const DhcSpec *s, DhcSpecTurned *out);

/* A line of an image: its pixel is step * place + window + sign * tap + offset. step: the window's extent, or 1. */
typedef struct DhcSpecLine {
  int place, window, tap; /* axes; window -1: none */
  int sign, term;         /* term of the image's operand */
  int64_t step, taps;
} DhcSpecLine;
/* A CONV of two loads, every pixel of whose image is a place (and window) of its results, moved by taps and offset. */
typedef struct DhcSpecWindow {
  int image, other;             /* operands; the other are weights */
  int batch, channel, out;      /* axes; a channel is of the image, an out of the result */
  int batch_term, channel_term; /* of the image */
  int other_term[4];            /* of outs, channels, and taps down and across */
  DhcSpecLine down, across;
} DhcSpecWindow;
bool dhc_spec_window(const DhcSpec *s, DhcSpecWindow *out);
/* A CONV_DW of two loads whose image is walked so: a place is one of the gradient's pixels, which are summed over, a tap one
 * of the result's; no window. The other operand is the gradient, its terms are of batch, outs, lines and pixels. */
bool dhc_spec_filters(const DhcSpec *s, DhcSpecWindow *out);
/* A CONV_DW of two loads along one channel axis, a unit of both; taps are of one of them alone, few. */
enum { DHC_DEPTHWISE_TAPS = 16 };
typedef struct DhcSpecDepthwise {
  int fold, channel, image_side; /* a node; an axis; which operand of the fold has taps */
  uint32_t taps;                 /* axes */
  int64_t n_taps;
} DhcSpecDepthwise;
bool dhc_spec_depthwise(const DhcSpec *s, DhcSpecDepthwise *out);
/* A CONV of two loads whose channels each have weights of their own and sum over taps alone, known and of one chain of products; no
 * window. */
bool dhc_spec_deep(const DhcSpec *s);
/* A DOT whose contractions are in f32 over one axis, along which all that is multiplied lies: loads of an axis of
 * lines, at most, by that one, or lines made of such and of their own sums (dhc_spec_norm). Or such a RAGGED, with a matrix a range. */
bool dhc_spec_low(const DhcSpec *s);
/* Is n made of folds? */
bool dhc_spec_folds(const DhcSpec *s, int n);
/* Of n, which is: the load of lines, if it is made of one, of loads along the one axis k or of none, and of sums over k of all these; else
 * -1. */
int dhc_spec_norm(const DhcSpec *s, int n, uint32_t k);
/* The fold of a contraction in f32 over one axis, along which nothing of it lies, where several results are made of it and of what lies
 * as they do: a gradient updates weights and moments. -1: s is none. */
int dhc_spec_updates(const DhcSpec *s);
/* Is an input part of what some fold is made of? */
bool dhc_spec_is_folded(const DhcSpec *s, int operand);

/* Well-formedness; false with a message in *why (arena). Run on every new spec. */
bool dhc_spec_verify(const DhcSpec *s, DhcArena *arena, const char **why);
/* Canonical text: parse(print(s)) equals s; it is what keys hash. */
void dhc_spec_print(const DhcSpec *s, DhcText *to);
DhcSpec *dhc_spec_parse(DhcArena *arena, DhcDiags *diags, uint32_t file, uint32_t begin,
                        uint32_t *end);
bool dhc_spec_equal(const DhcSpec *a, const DhcSpec *b);

/* Reference meaning in double/int64: ptr[i] are element arrays of operand i (double for
 * floats, int64 for the rest), dim[] as above. */
void dhc_spec_interp(const DhcSpec *s, void *const *ptr, const int64_t *dim, DhcArena *scratch);

/* ---- storage tags (spec_tag.c) --------------------------------------------------- */

/* A packed operand is a matrix of `rows` (along the contraction's columns) by `cols` (along
 * the contracted axis), or, of a ragged contraction, several, one a range, each packed by
 * itself. PANEL: rows in panels of `width`, within a panel all rows of one column side by
 * side, the last panel filled up with zeros. The functions are about one matrix. */
int64_t dhc_tag_elements(DhcTag tag, int width, int64_t rows, int64_t cols);
/* Bytes of it in memory, and of one panel. */
int64_t dhc_tag_bytes(DhcTag tag, int width, int64_t rows, int64_t cols);
int64_t dhc_tag_panel_bytes(DhcTag tag, int width, int64_t cols);
/* Position of element (r, c), r < rows, c < cols. */
int64_t dhc_tag_index(DhcTag tag, int width, int64_t rows, int64_t cols, int64_t r, int64_t c);
typedef struct DhcTagShape {
  int64_t matrices, rows, cols;
} DhcTagShape;
/* Of an operand for which dhc_tag_fits holds. */
DhcTagShape dhc_tag_shape(const DhcSpec *s, int operand, const int64_t *dim);
/* Its axes: of the matrices (-1: there is one), their rows and columns. The columns' term has
 * unit stride; terms are in the order rows, matrices, columns. */
void dhc_tag_axes(const DhcSpec *s, int operand, int axis[3]);
/* True if the operand may be a panel: an f32 matrix of a DOT, parallel axis by unit-stride
 * reduced axis, or the matrices of a RAGGED, along one more reduced axis, all walked plainly. */
bool dhc_tag_fits(const DhcSpec *s, int operand);
/* The term that says in which row of weights an element lies, if they may lie in rows: the first, parallel, of what a CONV contracts,
 * or that of the index by which a MAP or ROW gathers; -1: they may not. */
int dhc_tag_row_term(const DhcSpec *s, int operand);

/* Floating-point operations and bytes moved, as programs over dim[]. */
dhc_dimprog dhc_spec_flops(const DhcSpec *s, DhcArena *arena);
dhc_dimprog dhc_spec_bytes(const DhcSpec *s, DhcArena *arena);

/* ---- schedules ---------------------------------------------------------------- */

/* What does the work: threads that have vectors and memory to scratch in, or thousands of threads with a
 * lane each. Templates are written for one of them or for both (backends/loop/templates.def). */
typedef enum DhcTargetKind { DHC_TARGET_CPU, DHC_TARGET_GPU, DHC_N_TARGETS } DhcTargetKind;

/* How contractions compute. */
typedef enum DhcCompute {
#define COMPUTE(id, ...) DHC_COMPUTE_##id,
#include "ir/computes.def"
  DHC_N_COMPUTES
} DhcCompute;

/* What passes and templates may know of a target (backends fill it in): what one of them reads. */
typedef struct DhcTargetFacts {
  DhcTargetKind kind;
  int vector_bytes; /* 64, 32, 16 */
  int task_elements; /* of maps and folds, in about how many of which a task is worth its while */
  bool has_fma;
  DhcCompute compute; /* other than f32: asked for, never a default */
  bool bounded; /* how much is done must not hang on values: nothing is left out because it would change nothing */
  bool by_threads; /* a vector's lanes are threads: what keeps one core's units busy gains nothing */
  bool groups; /* groups of four warps multiply out of block memory (sm_90a's wgmma) */
} DhcTargetFacts;

/* How a template is to lower a spec: its name and a short vector it understands
 * (documented beside the template). A spec has 1 to DHC_MAX_CLASSES size classes; class i
 * applies where its guard holds, the last one everywhere. Classes change neither operands nor bits. */
enum { DHC_MAX_CLASSES = 16 };
typedef struct DhcSchedule {
  const char *template_name;
  int v[8];
  dhc_dimprog guard; /* over dim[]; empty for the last class */
  bool wide; /* GPU: places may be beyond 32 bits; else the guard says that none is */
} DhcSchedule;
/* Of templates that go by matrix tiles: + v[5], operands in two parts, in bf16, by groups of four warps; rows of the lowest
 * tile, which few rows take; elements that a plane of "filters" has beyond a step's pixels. */
enum { DHC_TILE_TWO_PARTS = 16, DHC_TILE_BF16 = 32, DHC_TILE_GROUP = 64, DHC_TILE_LOW = 16, DHC_FILTERS_PLANE = 100 };
#endif
