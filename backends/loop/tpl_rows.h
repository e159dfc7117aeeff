/* The parts of templates "rows" and "rows_split", and of what makes lines of a contraction (tpl_lines.c); tpl_rows.c says what they make. */
#ifndef DHC_BACKENDS_LOOP_TPL_ROWS_H
#define DHC_BACKENDS_LOOP_TPL_ROWS_H

#include "backends/loop/tpl.h"

enum { PARTS = DHC_SUM_PARTIALS };

typedef struct DhcRows {
  DhcTplCx cx;
  DhcLp *b;
  const DhcSpec *s;
  uint32_t par, red;
  int axis;             /* by columns: the axis along which they lie; -1: by rows */
  int columns, threads; /* columns: 1 by rows */
  bool brief;           /* no sum has more than one block of the sum rule */
  bool by_parts;        /* by rows, first phase: 16 threads a block of the sum rule, as by columns */
  int at_once;          /* elements that a thread asks for before it needs the first */
  int piece, workers;   /* workers: threads that share a row, in a join */
  DhcLv tid, lane, part; /* part: number of a thread among those of its column */
  DhcLv is_first, inside; /* may store what has no reduced axes; its column exists */
  DhcLv held;             /* the thread has elements of the row that is held; NULL: none is */
} DhcRows;

/* The last axis of a set, if all that node n loads lies side by side along it, or does not vary; else -1. */
int dhc_rows_quad_axis(const DhcRows *v, uint32_t axes, int n);
/* Of DhcTplCx. Folds are the whole block's business only outside of loops over what they fold; inside, a thread's own. */
DhcLv dhc_rows_provide(DhcTplCx *cx, int n, void *arg);

#endif
