/* Roles of a chain of contractions, as its template tiles it: shared by tpl_chain_roles.c, which
 * reads them off the spec, and tpl_chain.c, which builds the loops. */
#ifndef DHC_BACKENDS_LOOP_TPL_CHAIN_H
#define DHC_BACKENDS_LOOP_TPL_CHAIN_H

#include "backends/loop/tpl.h"

enum {
  DHC_CHAIN_MAX_INNER = 4,
  DHC_CHAIN_MAX_OUTER = 4,
  DHC_CHAIN_MAX_FOLDS = 8,
  DHC_CHAIN_MAX_STEPS = 8,
  DHC_CHAIN_MAX_VECTORS = 4,
  DHC_CHAIN_MAX_LANE_ROWS = 16
};

typedef struct DhcChainInner {
  int node, na, nb;
  int oa, k;     /* operand of A, contracted axis */
  DhcLv packed;  /* [k][lane] */
} DhcChainInner;

typedef struct DhcChainOuter {
  int node, ne, nv;
  int ov, col;   /* operand of V, axis of columns */
  int panel;     /* where ne's values are put */
  int lane_rows, vectors; /* tile */
  DhcLv acc, pitch; /* [level][lane][pitch]; level 0: the chain of the block at hand */
} DhcChainOuter;

typedef struct DhcChainFold {
  int node, level; /* level 1: folds of what needs no fold */
  bool sum;
  double hidden; /* what it folds outside a range */
  DhcLv kept; /* [lane] */
  DhcLpVar acc;        /* of an extreme */
  DhcTplBlocks blocks; /* of a sum */
  DhcLv parts;
} DhcChainFold;

typedef struct DhcChain {
  DhcTplCx cx;
  DhcLp *b;
  const DhcSpec *s;
  DhcChainInner in[DHC_CHAIN_MAX_INNER];
  DhcChainOuter out[DHC_CHAIN_MAX_OUTER];
  DhcChainFold fold[DHC_CHAIN_MAX_FOLDS];
  int n_in, n_out, n_fold, last; /* last: pass that puts the outer contractions' values */
  int lane, step;
  uint32_t red, others, outer; /* R; R without step; parallel axes without lane */
  int steps, vectors, lanes, width, chunk;
  int n_panels;
  DhcLv panel[DHC_CHAIN_MAX_INNER + DHC_CHAIN_MAX_OUTER];
  DhcLv lane0, n_lanes, n_steps; /* extent of step */
  struct {
    int condition, lo, hi; /* nodes; condition -1: every step counts for every row */
    int axis;              /* step or lane: what lies in [lo, hi) */
  } range;
  DhcLv from, to; /* steps that may count, whole chunks of them */
  bool one_block; /* R is one block of the product rule, whatever its size */
  DhcLpVar block; /* else: the one that the sums of level 0 belong to */
} DhcChain;

/* Fills in what the spec says; false: it has no such reading. */
bool dhc_chain_roles(DhcChain *c);
/* Tile sizes, from the schedule or the target. */
void dhc_chain_tile(DhcChain *c);

/* Steps that no row sees (tpl_chain_range.c). Reads the range off the spec. */
void dhc_chain_range(DhcChain *c);
/* Sets from and to for the block of lanes; [0, n_steps) without a range over steps. */
void dhc_chain_range_begin(DhcChain *c);
/* Some step lies outside [from, to). */
DhcLv dhc_chain_range_skips(DhcChain *c);
/* Some row of the block sees a step of [from, to). */
DhcLv dhc_chain_range_seen(DhcChain *c, DhcLv from, DhcLv to);
/* Steps [from, to), which no row sees, change no accumulator. */
DhcLv dhc_chain_range_exact(DhcChain *c, DhcLv from, DhcLv to);

/* The one axis of a set, or -1. */
int dhc_chain_only_axis(uint32_t m);
/* Operand of a load whose address is strides alone, of f32; else -1. */
bool dhc_chain_side_by_side(const DhcOperand *p, int axis);

#endif
