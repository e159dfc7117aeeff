/* The contraction template's state (tpl_dot.c), its roles (tpl_dot_roles.c), how it is cut (tpl_dot_cut.c) and how it packs operands (tpl_dot_pack.c). */
#ifndef DHC_BACKENDS_LOOP_TPL_DOT_H
#define DHC_BACKENDS_LOOP_TPL_DOT_H

#include "backends/loop/tpl.h"

enum { DHC_DOT_MAX_ROWS = 16, DHC_DOT_MAX_VECTORS = 6, DHC_DOT_MAX_FOLDS = 2, DHC_DOT_PART = 2 * DHC_DOT_BLOCK /* steps */, DHC_DOT_AHEAD = 16 /* steps by which lines far apart in memory are asked for */ };

typedef struct DhcDot {
  DhcTplCx cx;
  DhcLp *b;
  const DhcSpec *s;
  int n_folds;
  int node[DHC_DOT_MAX_FOLDS]; /* the DOT folds */
  int na;                      /* node of A (rows), which folds share */
  int nb[DHC_DOT_MAX_FOLDS];   /* nodes of B (columns) */
  int m, n;                    /* axes; m is -1 where A has no row axis of its own */
  uint32_t outer, red;
  int rows, vectors, lanes, tasks; /* vectors: of columns, for each fold */
  bool direct_a, direct_b; /* B: where few rows are asked for */
  bool across; /* direct A lies side by side along m: each step is a jump through memory */
  DhcTag tag;  /* of B's panels */
  bool panels; /* B is packed already, in panels of a tile's width (ir/spec_tag.c) */
  int oa, ob[DHC_DOT_MAX_FOLDS]; /* operands of plain loads, where direct */
  bool bare;   /* the sums are the output, side by side along n: no epilogue */
  DhcLv K, M, N;           /* extents; K of all reduced axes together */
  DhcLv k_from, k_to;      /* steps that count */
  DhcLv part, from, to;    /* part of the steps at hand, and those of it that count; part NULL: all */
  DhcLv far;               /* bool: where A is walked across, is it packed? */
  DhcLv room;              /* steps of a panel, but for whole vectors */
  DhcLv n_rows;            /* how many rows B's columns are wanted for */
  int e, lo, hi;           /* RAGGED: axis of the ranges, nodes of their bounds; e is -1 otherwise */
  DhcLv range;             /* the one at hand, where ranges cut the rows */
} DhcDot;

/* tpl_dot_roles.c. False: the spec is no such contraction. */
bool dhc_dot_find_roles(DhcDot *d);
/* Of a ragged contraction, forward (rows in ranges) or of weights (steps in ranges). */
bool dhc_dot_find_ragged(DhcDot *d);

static inline bool dhc_dot_one_axis(uint32_t mask) {
  return (mask & (mask - 1)) == 0;
}
static inline int dhc_dot_vectors(const DhcDot *d) { /* of all folds */
  return d->n_folds * d->vectors;
}

/* tpl_dot_cut.c */
typedef struct DhcDotCut {
  dhc_dimprog n_tasks, per_outer, chunks, per_chunk, blocks, per_group; /* blocks of columns, of all and of a task */
  dhc_dimprog held; /* tiles whose sums wait */
} DhcDotCut;
DhcDotCut dhc_dot_cut(const DhcDot *d);
/* Several parts come one after the other, where steps are those of a single axis. */
bool dhc_dot_in_parts(const DhcDot *d);
/* Steps of a panel. */
dhc_dimprog dhc_dot_room(const DhcDot *d);
/* 1 where A is walked across and a tile would fetch a line for each of many steps, far apart or more of them than stay near. */
dhc_dimprog dhc_dot_far(const DhcDot *d);
/* Bytes of one panel of `width` columns, with room for whole blocks of k. */
dhc_dimprog dhc_dot_panel_bytes(const DhcDot *d, int width);

/* `prefer` if it is in the mask, else its highest axis; -1: empty. */
int dhc_dot_single_axis(uint32_t mask, int prefer);
/* Innermost reduced axis. */
int dhc_dot_red_axis(const DhcDot *d);
/* True if something that node is made from lies side by side along axis. */
bool dhc_dot_unit_along(const DhcDot *d, int node, int axis);
/* to[k * width + i] = value of `node` at (along = first + i, k), i < used <= width, along clamped to
 * its extent, for the steps k of the part at hand. Vectors run along `along`; used is a multiple of the
 * lanes or below them. */
void dhc_dot_pack_along(DhcDot *d, int node, int along, DhcLv first, DhcLv extent, int width, DhcLv used, DhcLv to);
/* The same of operand o itself, whose elements first to first + width - 1 are all there, side by side; the only reduced axis is walked. */
void dhc_dot_pack_whole(DhcDot *d, int o, DhcLv first, int width, DhcLv to);
/* The same with vectors along the innermost reduced axis, by blocks of lanes x
 * lanes. `pitch`: of the panel, which has room for whole blocks of k; used <= pitch. */
void dhc_dot_pack_transposed(DhcDot *d, int node, int along, DhcLv first, DhcLv extent, DhcLv used, int pitch,
                             DhcLv to);
#endif
