/* Shared by the files of planning.
 *
 * Planning goes in four steps:
 *   1. plan_flatten.c walks the entry, calls and scan bodies put in place, and writes items
 *      over buffers; every value is a strided region of a buffer (plan_views.c). Whatever
 *      has to end up somewhere (updates, results, carries, slots of stacked results,
 *      results that start as an argument) does so by a copy item.
 *   2. plan_merge.c makes source and destination of a copy one buffer where no read can
 *      tell the difference; the copy is then gone. All writing in place comes from there.
 *   3. plan_emit.c turns what is left into a dhc_plan.
 *   4. memory.c finds lifetimes and places of the work buffers.
 *
 * Dims are over the entry's symbols everywhere; offsets, steps and ranges of references
 * are bytes, those of values elements. */
#ifndef DHC_PASSES_PLAN_INTERNAL_H
#define DHC_PASSES_PLAN_INTERNAL_H

#include "passes/plan/plan.h"

typedef struct PlRef {
  int buf;
  const DhcDim *offset;
  const DhcDim *step[DHC_MAX_LOOP_DEPTH]; /* NULL: 0 */
  bool write;
  /* Bytes of buf that may be touched (in the first iteration, if there are steps): in
   * [lo, hi). */
  const DhcDim *lo, *hi;
} PlRef;

typedef struct PlItem {
  dhc_item_kind kind;
  const DhcSpec *spec;          /* CALL */
  const DhcDim *const *dims;    /* CALL: the spec's arguments; RANKS: elements of the parts */
  int n_dims;
  PlRef *refs;
  int n_refs;
  const DhcDim *bytes; /* COPY, FILL, RANKS */
  uint32_t pattern;    /* FILL, RANKS */
  const DhcDim *count; /* LOOP */
  int end;             /* LOOP: first item after the body */
  int loop;            /* item of the innermost loop around, or -1 */
  int depth;           /* number of loops around */
  bool moves;          /* element i of refs[0], all of it, goes to element i of refs[1]: a COPY, or
                          a CALL that maps on the way */
  bool gone;
  DhcSpan span;
  const char *label;
} PlItem;

typedef struct PlUse {
  int item, ref;
} PlUse;

typedef struct PlBuf {
  dhc_segment segment;
  dhc_dtype dtype;
  const DhcDim *bytes;
  const char *name; /* of a parameter or result */
  bool fixed;       /* parameter or result: lies where it is, may not become part of another */
  bool constant;    /* all of it is `value`, nobody else writes it */
  double value;
  /* After merging: this buffer is bytes [at, at + bytes) of buffer `parent`, plus steps. */
  int parent; /* -1: a root */
  const DhcDim *at;
  const DhcDim *step[DHC_MAX_LOOP_DEPTH];
  DHC_VEC(PlUse) uses; /* of a root: of all that is part of it, by item */
  int row;             /* in the final table, or -1 */
} PlBuf;

/* A value: element (i, j, …) is element offset + i * stride[0] + j * stride[1] … of buf. */
typedef struct PlVal {
  int buf;
  DhcType type;
  const DhcDim *offset;
  const DhcDim *stride[DHC_MAX_RANK];
  const DhcDim *step[DHC_MAX_LOOP_DEPTH]; /* elements an iteration, NULL: 0 */
} PlVal;

typedef struct PlUpdate {
  int target; /* buffer of the parameter */
  PlVal value;
  const DhcNode *node;
} PlUpdate;

typedef struct Pl {
  DhcModule *m;
  DhcDims *cx;
  DhcFunc *entry;
  const DhcFacts *facts; /* of the entry */
  DhcArena *arena;
  DHC_VEC(PlItem) items;
  DHC_VEC(PlBuf) bufs;
  DHC_VEC(PlUpdate) updates;
  int loop, depth; /* of the next item */
  DhcSpan span;    /* of the next item */
  const char *label;
  DHC_VEC(DhcPlanPanel) panels; /* buffer: in bufs */
  int *result_buf; /* by result of the entry: buffer that holds it */
  bool failed;
} Pl;

/* Where a parameter lies (plan_flatten.c). */
dhc_segment dhc_pl_segment(const DhcParamInfo *info);

/* ---- items and buffers (plan_items.c) ---- */

int dhc_pl_buffer(Pl *p, dhc_segment segment, dhc_dtype t, const DhcDim *bytes);
const DhcDim *dhc_pl_bytes(Pl *p, const DhcType *t);
PlItem *dhc_pl_item(Pl *p, dhc_item_kind kind, int n_refs);
/* Reference to `bytes` bytes from v's first element on; v is dense. */
PlRef dhc_pl_ref(Pl *p, const PlVal *v, bool write);
/* Call of a spec on operands that are dense values; `offset` in elements, by operand, NULL:
 * zeros. */
void dhc_pl_call(Pl *p, const DhcSpec *s, const DhcDim *const *dims, const PlVal *operand,
                 const DhcDim *const *offset);
/* True if the call sets all of dense v to one value. */
bool dhc_pl_constant(Pl *p, const DhcSpec *s, const DhcDim *const *dims, const PlVal *v, double *value);
/* dst <- src, element by element; shapes are equal. */
void dhc_pl_move(Pl *p, const PlVal *dst, const PlVal *src);
/* All elements of dense v become `value`. */
void dhc_pl_fill(Pl *p, const PlVal *v, double value);
/* True if input `in` and output `out` of a CALL touch the same elements in the same
 * iterations, relative to their references. */
bool dhc_pl_same_walk(const PlItem *it, int in, int out);

/* s, or the equal spec that the module has. */
const DhcSpec *dhc_pl_intern(Pl *p, const DhcSpec *s);

/* ---- values (plan_views.c) ---- */

/* New work buffer for a dense value. */
PlVal dhc_pl_new(Pl *p, const DhcType *t);
/* All of a buffer as a dense value. */
PlVal dhc_pl_whole(Pl *p, int buf, const DhcType *t);
bool dhc_pl_is_dense(const Pl *p, const PlVal *v);
/* v itself, or a dense copy. */
PlVal dhc_pl_dense(Pl *p, const PlVal *v);
/* Result of view node n on x, of type t; `over` gives a dim of n's function over the entry's symbols. */
PlVal dhc_pl_view(Pl *p, const DhcNode *n, const DhcType *t, const PlVal *x,
                  const DhcDim *(*over)(const void *ctx, const DhcDim *d), const void *ctx);
/* *x as type t where its dims split and join as it lies; false: they do not, and it is as it was. */
bool dhc_pl_reshape(Pl *p, const DhcType *t, PlVal *x);
/* Rows start, start + 1, … of an axis: the same region with another extent. */
PlVal dhc_pl_range(Pl *p, const PlVal *x, int axis, const DhcDim *start, const DhcDim *size);
/* Row `index` of an axis, which goes away. */
PlVal dhc_pl_row(Pl *p, const PlVal *x, int axis, const DhcDim *index);
/* Same memory up to the last byte. */
bool dhc_pl_same(const PlVal *a, const PlVal *b);

/* ---- the steps ---- */

bool dhc_pl_flatten(Pl *p);                        /* plan_flatten.c */
void dhc_pl_panels(Pl *p);                         /* plan_panels.c: packed operands read packed copies */
void dhc_pl_collect_uses(Pl *p);                   /* plan_merge.c */
void dhc_pl_drop_uses(Pl *p, int root, int item);  /* the item no longer uses the buffer */
void dhc_pl_drop_unread(Pl *p);                    /* plan_fold.c: items whose results nobody reads */
void dhc_pl_merge(Pl *p);                          /* plan_merge.c */
bool dhc_pl_emit(Pl *p, DhcPlanned *out);          /* plan_emit.c */
/* True if [lo1, hi1) and [lo2, hi2) are known to have nothing in common. */
bool dhc_pl_apart(const Pl *p, const DhcDim *lo1, const DhcDim *hi1, const DhcDim *lo2, const DhcDim *hi2);
/* Where a reference lies in its root, in any iteration: *lo to *hi. Returns the root. */
int dhc_pl_extent(Pl *p, const PlRef *r, const DhcDim **lo, const DhcDim **hi);
/* Offset and steps of a reference in its root; returns the root. */
int dhc_pl_resolve(Pl *p, const PlRef *r, const DhcDim **offset,
                   const DhcDim *step[DHC_MAX_LOOP_DEPTH]);

/* ---- lifetimes and packing (memory.c) ---- */

/* Items during which a buffer's contents matter, both inclusive; last < first: none. Rows that
 * are aliases have the empty span, their roots that of all. */
typedef struct DhcSpanOfItems {
  int first, last;
} DhcSpanOfItems;
DhcSpanOfItems *dhc_memory_lives(const dhc_plan *plan, const DhcSpec *const *specs, DhcArena *arena);
/* Places the work buffers: sets at and below, and puts the table into an order in which
 * these refer to earlier rows. symbols[k] are the sizes of sample k; the first one decides
 * where there are very many buffers. linger: as in
 * DhcPlanOptions. `from` gets the old row of every new one. False: sizes
 * of the first sample do not fit in 63 bits. */
bool dhc_memory_pack(dhc_plan *plan, const DhcSpec *const *specs, const int64_t *const *symbols, int n_samples, int linger,
                     DhcArena *arena, int *from);

#endif
