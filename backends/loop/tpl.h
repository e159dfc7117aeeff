/* Templates: from a spec and a schedule to a loop program, and the pieces they share.
 *
 * A template is one C function per (kind, target class), a row of templates.def. It
 * makes the loop nest; DhcTplCx puts the spec's scalar DAG into the holes: bind each
 * axis as its loop opens, then ask for nodes, and the loads, guards, maps, folds and
 * random bits behind them are built at that place, once. */
#ifndef DHC_BACKENDS_LOOP_TPL_H
#define DHC_BACKENDS_LOOP_TPL_H

#include "backends/loop/loop.h"
#include "ir/sum.h"

/* What a template sees; it builds into a fresh program and may dhc_lp_refuse. */
typedef struct DhcTplInput {
  const DhcSpec *spec;
  const DhcSchedule *schedule; /* v[] as documented above the template, complete (dhc_schedule_complete) */
  const DhcTargetFacts *facts;
  DhcArena *arena;
} DhcTplInput;

typedef void (*DhcTemplateFn)(const DhcTplInput *in, DhcLp *b);

typedef struct DhcTemplate {
  const char *name;
  DhcKind kind;
  unsigned targets; /* bits 1 << DhcTargetKind */
  bool plain;       /* lowers what others of the kind refuse */
  DhcTemplateFn build;
} DhcTemplate;
/* By schedule's name, among those for the target; NULL or an empty name: the first of that kind. */
const DhcTemplate *dhc_template_find(const char *name, DhcKind kind, DhcTargetKind target);
/* Builds and verifies. What the template refuses goes to the kind's PLAIN row, if there
 * is one; NULL with a message in *why (arena) if that refuses too. */
DhcLp *dhc_template_build(const DhcTplInput *in, const char **why);

#define TPL(targets, kind, name, fn) void fn(const DhcTplInput *in, DhcLp *b);
#include "backends/loop/templates.def"

enum { DHC_TPL_LANES = DHC_SUM_PARTIALS /* vector width of templates: a lane is a partial sum */ };

/* ---- the DAG in the holes ------------------------------------------------------ */

/* Extents, strides and pointers are loaded once, by dhc_tpl_init, before any loop. At any
 * time some axes are bound to index values; at most one is bound as the vector axis, whose
 * lane l stands for index + l, under a mask. A node's value is a vector iff it varies over
 * the vector axis. */
typedef struct DhcTplCx {
  const DhcTplInput *in;
  const DhcSpec *s;
  DhcLp *b;
  DhcLv extent[DHC_SPEC_MAX_AXES];                             /* i64 */
  DhcLv pointer[DHC_SPEC_MAX_OPERANDS];
  DhcLv scale[DHC_SPEC_MAX_OPERANDS]; /* of weights in rows of 8 bits: one for each row; else NULL */
  DhcLv stride[DHC_SPEC_MAX_OPERANDS][DHC_SPEC_MAX_TERMS];     /* i64; constant 1 if unit */
  DhcLv offset[DHC_SPEC_MAX_OPERANDS][DHC_SPEC_MAX_TERMS];     /* guarded terms */
  DhcLv limit[DHC_SPEC_MAX_OPERANDS][DHC_SPEC_MAX_TERMS];
  uint32_t varies[DHC_SPEC_MAX_NODES];
  int kept, kept_in;                 /* dear node of a row's elements that its fold leaves in an output of these for what is
                                        stored there in the end; kept_in -1: none */
  uint32_t late;                     /* outputs, as bits, that the template stores behind its loops itself */
  uint32_t bound;                    /* axes bound now */
  DhcLv index[DHC_SPEC_MAX_AXES];    /* i64 scalar, first lane of the vector axis */
  DhcLv base[DHC_SPEC_MAX_OPERANDS]; /* sum of bound plain terms, in elements */
  int plan_vector;                   /* axis that fold loops and store loops take as vector, or -1 */
  int vector_axis;                   /* bound as vector now; -1: none */
  int lanes;
  DhcLv mask;                        /* NULL: all lanes of the vector axis count */
  int align;                         /* bytes known of the address of a whole vector of operands that lie side by side; 0: of an element */
  uint64_t once;                     /* operands, as bits, that nobody reads soon again */
  DhcLv value[DHC_SPEC_MAX_NODES];   /* made so far and still in scope, or NULL */
  int made_at[DHC_SPEC_MAX_NODES];   /* depth of value[] */
  int depth;                         /* number of dhc_tpl_push without pop */
  bool nearly;                       /* exponentials as fast as they come, not to the last bit */
  DhcLv carried[DHC_SPEC_MAX_NODES]; /* SCAN node over state axes: its values now, a buffer of
                                        vectors over those axes, or NULL */
  /* Asked for a fold's value at the bound axes before its loops are built; NULL from it: not
   * one of its own. */
  DhcLv (*provide)(struct DhcTplCx *cx, int n, void *arg);
  void *provide_arg;
} DhcTplCx;

/* Refuses packed operands: every access here is to rows. */
void dhc_tpl_init(DhcTplCx *cx, const DhcTplInput *in, DhcLp *b);
/* For a template that reads packed operands by itself, and refuses those that it does not read. */
void dhc_tpl_init_packed(DhcTplCx *cx, const DhcTplInput *in, DhcLp *b);
void dhc_tpl_refuse_packed(DhcTplCx *cx);

/* Scope: push saves bindings and values; pop forgets what was made since (call it where
 * the loop or if ends). */
typedef struct DhcTplMark {
  uint32_t bound;
  DhcLv base[DHC_SPEC_MAX_OPERANDS];
  int vector_axis;
  DhcLv mask;
} DhcTplMark;
DhcTplMark dhc_tpl_push(DhcTplCx *cx);
void dhc_tpl_pop(DhcTplCx *cx, const DhcTplMark *mark);

void dhc_tpl_bind(DhcTplCx *cx, int axis, DhcLv index);
void dhc_tpl_bind_vector(DhcTplCx *cx, int axis, DhcLv index, int lanes, DhcLv mask);
/* Gives node n a value computed elsewhere (a contraction's accumulator). */
void dhc_tpl_set(DhcTplCx *cx, int n, DhcLv value);

/* Value of node n; every axis it varies over must be bound. Folds build their loops here. */
DhcLv dhc_tpl_eval(DhcTplCx *cx, int n);
/* Evaluates now every node that the stored nodes need, whose axes are all bound and that
 * costs something: call it before a loop opens, so that nothing invariant stays inside.
 * needed: bit set over nodes (dhc_tpl_needed). */
void dhc_tpl_hoist(DhcTplCx *cx, const bool *needed);
/* Marks node n and what it is made from. */
void dhc_tpl_needed(const DhcSpec *s, int n, bool *needed);
/* Element of operand o at the bound axes (what a LOAD node is). */
DhcLv dhc_tpl_load(DhcTplCx *cx, int o);
/* Builds the loops of fold n (and of the folds that can share them) here. */
void dhc_tpl_fold(DhcTplCx *cx, int n);
/* Sums of blocks, scalars or vectors of t, added up as ir/sum.h says: begin before the loop
 * over blocks, add each but the last where it is complete, end with the last one, or with zero
 * where all have been added. */
typedef struct DhcTplBlocks {
  DhcLv tree; /* buffer */
  DhcLpVar n, depth;
  int lanes;
} DhcTplBlocks;
DhcTplBlocks dhc_tpl_blocks_begin(DhcLp *b, dhc_dtype t, int lanes);
void dhc_tpl_blocks_add(DhcLp *b, const DhcTplBlocks *s, DhcLv block);
DhcLv dhc_tpl_blocks_end(DhcLp *b, const DhcTplBlocks *s, DhcLv last);
/* Sums of one block of products: element i of row r at at + r * row + i, i < width; or, row NULL, `width` in a row. Whole
 * vectors. */
typedef struct DhcTplSums {
  DhcLv at, row, rows, width;
  bool carried; /* what comes next is added to them: they become +0, but for the last */
} DhcTplSums;
/* The product rule (ir/sum.h), for the sums of one contraction. Blocks come in order, none is left out. */
typedef struct DhcTplLevels {
  dhc_dtype dtype;
  int lanes;
  DhcLv buffer, pitch; /* levels, as rows one after the other; elements from one level to the next */
  DhcLv none;          /* room for a vector of zeros */
} DhcTplLevels;
/* With a buffer of its own, for at most so many rows of at most `width`. */
DhcTplLevels dhc_tpl_levels(DhcLp *b, dhc_dtype t, int rows, int width, int lanes);
/* Block number `block` is complete; `first`: the contraction's first one. After the last one the sums are the result.
 * Not where all products are one block. */
void dhc_tpl_levels_add(DhcLp *b, const DhcTplLevels *v, const DhcTplSums *s, DhcLv block, DhcLv first, DhcLv last);
/* The same for one accumulator that is a variable; the first block is number 0. If it is not the last acc is +0 then. */
void dhc_tpl_levels_add_var(DhcLp *b, const DhcTplLevels *v, DhcLpVar acc, DhcLv block, DhcLv last);
/* The same for sums that lie otherwise: between begin, which gives the number of a level, and end stands the addition of
 * what that level holds; after end `to` is the level that the sums go to, unless they are the last. */
typedef struct DhcTplLevel {
  DhcLv to;
  DhcLpVar number, first;
} DhcTplLevel;
DhcLv dhc_tpl_level_begin(DhcLp *b, DhcTplLevel *v, DhcLv block, DhcLv first, DhcLv last);
void dhc_tpl_level_end(DhcLp *b, const DhcTplLevel *v);
/* At most one block, for all that is known; n counts `step` a product. */
bool dhc_tpl_one_block(DhcLv n, int64_t step);
/* Products [from, to) of `all`, `step` apart, which begin takes from p->from and p->to. Between begin and end, for each
 * block: accumulators become +0; chain opens the loop over its products and gives the running index; behind that
 * loop's end they are stored, and end is told where. They may be added in parts, in order, each beginning where a block does
 * and only the last one not ending there: sums of finished blocks wait in `held` (DHC_DOT_LEVELS tiles). */
typedef struct DhcTplProducts {
  DhcLv from, to;
  DhcLv part, part_to, held; /* NULL: all at once */
  DhcLv starts; /* NULL, or where each block's products begin that are not left out (they would be zeros), and the last's end */
  bool one, whole;
  int64_t step;
  DhcTplLevels levels;
  DhcLv many, size, first, block;
} DhcTplProducts;
void dhc_tpl_products_begin(DhcLp *b, DhcTplProducts *p, int rows, int width, int lanes, DhcLv all, int64_t step);
DhcLv dhc_tpl_products_chain(DhcLp *b, const DhcTplProducts *p);
void dhc_tpl_products_end(DhcLp *b, const DhcTplProducts *p, DhcTplSums sums);
/* The result of a fold over some of its elements. */
typedef struct DhcTplPart {
  DhcLv value; /* the sum, the extreme element */
  DhcLv index; /* ARGMAX: its flat index */
} DhcTplPart;
/* The loops of fold n, and of folds over the same axes, over the elements with flat indices in
 * [lo, hi), which are not empty and lie in one block of the sum rule, lo at its beginning.
 * Sets part[] of these folds; those set before are done. For specs that may be split
 * (dhc_spec_may_split). */
void dhc_tpl_fold_part(DhcTplCx *cx, int n, DhcLv lo, DhcLv hi, DhcTplPart *part);
/* Parts of fold n, joined in the order of their elements: the value of the whole fold. */
typedef struct DhcTplJoin {
  DhcTplBlocks blocks; /* sums of floats */
  DhcLpVar value, index; /* all else */
} DhcTplJoin;
DhcTplJoin dhc_tpl_join_begin(DhcTplCx *cx, int n, int lanes);
void dhc_tpl_join_add(DhcTplCx *cx, int n, const DhcTplJoin *j, const DhcTplPart *part);
DhcLv dhc_tpl_join_end(DhcTplCx *cx, int n, const DhcTplJoin *j);
/* Of several elements one. */
static inline bool dhc_tpl_is_extreme(DhcOp op) { return dhc_op_folds(op) && op != DHC_OP_REDUCE_SUM; }
/* A fold (not ARGMAX, DOT) of values of dtype t, two at a time: what it begins with, x before y, and the end, from
 * which a zero's sign does not show the order. */
DhcLv dhc_tpl_fold_unit(DhcLp *b, const DhcSpecNode *d, dhc_dtype t);
DhcLv dhc_tpl_fold_two(DhcLp *b, const DhcSpecNode *d, DhcLv x, DhcLv y);
DhcLv dhc_tpl_fold_settle(DhcLp *b, const DhcSpecNode *d, DhcLv x);
/* The least of a dtype, which a maximum begins with, or the largest. */
DhcLv dhc_tpl_fold_lowest(DhcLp *b, dhc_dtype t, bool largest);
/* Does (x, i) come before (y, j)? NaN counts as largest, then the lower index; i NULL: x comes later. */
DhcLv dhc_tpl_argmax_before(DhcLp *b, DhcLv x, DhcLv y, DhcLv i, DhcLv j);
/* Partials of the sum rule, 8, 4, 2, 1 apart; of which the first n are x, the others +0. */
DhcLv dhc_tpl_fold16(DhcLp *b, DhcLv *p);
DhcLv dhc_tpl_fold_few(DhcLp *b, DhcLv *x, int n);
/* Lanes to one: of l and l + half the one that comes before; *best: the element. */
DhcLv dhc_tpl_argmax_lanes(DhcLp *b, DhcLv v, DhcLv i, DhcLv *best);
/* Stores the node of output o at the bound axes. */
void dhc_tpl_store(DhcTplCx *cx, int o);
/* The same for a value of the caller's. */
void dhc_tpl_store_value(DhcTplCx *cx, int o, DhcLv v);
/* Adds it there, in one step among all threads; integers, no vector axis bound. */
void dhc_tpl_add_value(DhcTplCx *cx, int o, DhcLv v);
/* Offset in elements of operand o's plain (unguarded, not indexed) terms over unbound axes
 * left out: base for templates that load tiles themselves. */
DhcLv dhc_tpl_base(const DhcTplCx *cx, int o);
/* Elements by which operand o moves when axis moves by one, as an i64; NULL if it enters
 * by a guarded, divided or indexed term. Constant 0 if it does not enter. */
DhcLv dhc_tpl_step(const DhcTplCx *cx, int o, int axis);
/* extent of an axis as a dim program, for n_tasks. */
dhc_dimprog dhc_tpl_extent_prog(const DhcTplCx *cx, int axis);

/* ---- lines that a contraction makes of their own sums (tpl_rows.c) ------------------------ */

/* Lines from `first` on, below n, by blocks of threads, sixteen a line; each is one place of the axes `lines`, over the axes k. */
typedef struct DhcTplLines {
  int node; /* what becomes of them */
  uint32_t lines, k;
  DhcLv first, n;
  int threads, at_once; /* elements that a thread asks for before it needs the first */
  bool brief;           /* k is one block of the sum rule */
  int kept;             /* lines of sums */
} DhcTplLines;
/* The sums that the lines are made of, by the sum rule: in the order of their nodes l->kept each, at `at` in block memory, of which the
 * first l->threads elements are used. For all threads. */
void dhc_tpl_lines_sums(const DhcTplInput *in, DhcLp *b, const DhcTplLines *l, DhcLv at);
/* The lines themselves, one after the other. */
void dhc_tpl_lines_put(const DhcTplInput *in, DhcLp *b, const DhcTplLines *l, DhcLv to);

/* ---- recurrences (tpl_carry.c) ----------------------------------------------------------- */

/* h, zero where it is denormal. */
DhcLv dhc_tpl_flush(DhcLp *b, DhcLv h);
/* What SCAN node n has after h: a h + x, and what its bits ask for. */
DhcLv dhc_tpl_next_state(DhcTplCx *cx, int n, DhcLv a, DhcLv h, DhcLv x);

/* Of one channel and state, in `memory` (f32): of segment s stands at place0 + s each, in the array at `left`, what leaves
 * it if nothing enters, and in the one at `decay` by how much what enters counts. In the former's place comes what enters:
 * `from` the first of n segments, or, backwards, the last. forgets: a decay of 0 leaves nothing of anything. */
void dhc_tpl_carry(DhcLp *b, DhcLv memory, DhcLv left, DhcLv decay, DhcLv place0, DhcLv each, DhcLv n, DhcLv from, bool backwards,
                   bool forgets);

/* ---- loop nests ------------------------------------------------------------------- */

/* A row number counted over some axes, first axis outermost: the digits as variables, so
 * that walking rows needs no division. Declared where rows begin, bound in each row. */
typedef struct DhcTplRows {
  int n;
  int axis[DHC_SPEC_MAX_AXES];
  DhcLpVar digit[DHC_SPEC_MAX_AXES];
} DhcTplRows;
/* Axes of the mask in ascending order; first = row number to begin with. */
DhcTplRows dhc_tpl_rows(DhcTplCx *cx, uint32_t axes, DhcLv first);
void dhc_tpl_rows_bind(DhcTplCx *cx, const DhcTplRows *r);
void dhc_tpl_rows_next(DhcTplCx *cx, const DhcTplRows *r);
/* Binds the axes of the mask to the digits of a number, each by division. */
void dhc_tpl_bind_flat(DhcTplCx *cx, uint32_t axes, DhcLv flat);
/* Parallel axes (of a map) of a small constant extent, but the vector axis; and all stores at every place of them. */
uint32_t dhc_tpl_unrolled_axes(const DhcTplCx *cx, uint32_t par);
void dhc_tpl_store_unrolled(DhcTplCx *cx, uint32_t left);
/* Product of the axes' extents, as value and as program. */
DhcLv dhc_tpl_count(DhcTplCx *cx, uint32_t axes);
dhc_dimprog dhc_tpl_count_prog(const DhcTplCx *cx, uint32_t axes);
/* Stores every output whose axes, but for those bound, are exactly `extra`, in loops over
 * these; plan_vector is innermost if among them. */
void dhc_tpl_store_loops(DhcTplCx *cx, uint32_t extra);
/* Nodes that the outputs are made from. */
void dhc_tpl_needed_by_outputs(const DhcSpec *s, bool *needed);
/* The axis among `axes` along which most operands lie side by side, or -1 if there is none:
 * schedule v[0] - 1 if that is set. */
int dhc_tpl_choose_vector(const DhcTplCx *cx, uint32_t axes);
/* Tasks, rows and vectors over the axes `par`, of which plan_vector may be one; body builds
 * what is inside, with all of them bound. `work`: axes that body loops over. The cut is made
 * from extents alone: about v[1] elements a task. */
void dhc_tpl_nest(DhcTplCx *cx, uint32_t par, uint32_t work, const bool *needed,
                  void (*body)(DhcTplCx *cx, void *arg), void *arg);
/* Element of carried[n] at the bound state axes. */
DhcLv dhc_tpl_state_index(DhcTplCx *cx, int n);
/* Every output, each set of unbound axes in its own loops. */
void dhc_tpl_store_all(DhcTplCx *cx);
/* Operand o lies side by side along the axis, unguarded and not indexed, or does not vary over it. */
bool dhc_tpl_contiguous(const DhcTplCx *cx, int o, int axis);
/* Axes in the terms of operand o, those of index nodes included. */
uint32_t dhc_tpl_operand_axes(const DhcTplCx *cx, int o);

/* Operand that node loads if it is f32 and its address is strides alone, unguarded and not
 * indexed; else -1. */
int dhc_tpl_plain_load(const DhcSpec *s, int node);

#endif
