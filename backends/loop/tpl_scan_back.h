/* Template "scan_back": what its two files share. */
#ifndef DHC_BACKENDS_LOOP_TPL_SCAN_BACK_H
#define DHC_BACKENDS_LOOP_TPL_SCAN_BACK_H

#include "backends/loop/tpl.h"

enum {
  DHC_BACK_QUAD = 4,    /* states of a thread */
  DHC_BACK_STEPS = 8,   /* of a group: its states are kept in registers */
  DHC_BACK_FOLDS = 4,   /* at most, of each kind but those over states */
  DHC_BACK_STAGED = 12, /* at most, loads of steps */
  DHC_BACK_PARTS = 8    /* threads that add up one result of all rows and steps */
};

/* What steps load, by groups of steps in block memory: rows of one number a channel, or one a state. */
typedef struct DhcBackStaged {
  int node, operand, width;
  bool by_state;
  int64_t at; /* in a slot, elements */
} DhcBackStaged;

/* An array in the memory that tasks share, f32. */
typedef struct DhcBackArray {
  dhc_dimprog n; /* elements */
  DhcLv at;      /* where it begins, in elements */
} DhcBackArray;

typedef struct DhcBack {
  DhcTplCx cx;
  DhcLp *b;
  const DhcSpec *s;
  int axis, seq, state, scan, back; /* axes; nodes */
  uint32_t rows;
  int n, lanes, channels, threads; /* states; threads of a channel; channels and threads of a block */
  int segment;                     /* steps; 0: all are one */
  bool reverse;
  bool needed[DHC_SPEC_MAX_NODES];
  bool in_sweep[DHC_SPEC_MAX_NODES];   /* needed for the states alone */
  bool in_summary[DHC_SPEC_MAX_NODES]; /* and for what comes back to them */
  int n_across, across[DHC_BACK_FOLDS]; /* folds over channels: a result a step and state */
  int n_along, along[DHC_BACK_FOLDS];   /* folds over rows and steps: a result a channel and state */
  int n_staged;
  DhcBackStaged staged[DHC_BACK_STAGED];
  bool vanishes; /* steps and channels whose loads are 0 change nothing: those that there are not need no more care */
  int64_t slot, sums; /* elements of a slot; of the sums of one group over the channels of each warp */
  /* sizes */
  dhc_dimprog n_rows, n_blocks, n_segments, n_steps, n_channels; /* channels: filled up to whole blocks */
  DhcLv v_rows, v_blocks, v_segments, v_channels, length;
  DhcBackArray saved, ends, decays, backs, across_parts[DHC_BACK_FOLDS], along_parts[DHC_BACK_FOLDS];
  DhcLv shared, slots, warp_sums; /* memory; the last two of the block */
  /* of a task */
  DhcLv row_base[DHC_SPEC_MAX_OPERANDS]; /* of a task's row alone */
  DhcLv tid, quad, local, channel, inside, row, block, number, first, last; /* number: of its segment; steps [first, last) */
} DhcBack;

/* What the spec must be; NULL or why it is not (tpl_scan_back_roles.c). */
const char *dhc_back_roles(DhcBack *v);
/* Sizes of arrays and block memory; bytes of either. */
dhc_dimprog dhc_back_sizes(DhcBack *v);
/* Values of sizes and arrays, once the program has its memory. */
void dhc_back_values(DhcBack *v);

#endif
