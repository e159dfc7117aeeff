/* Cutting recurrences into chunks, inside. */
#ifndef DHC_PASSES_CHUNK_H
#define DHC_PASSES_CHUNK_H

#include "passes/passes.h"

/* What becomes of a value of the function. */
typedef enum DhcChunkPlace {
  DHC_CHUNK_OUTSIDE,
  DHC_CHUNK_INSIDE, /* computed in the body, a chunk of steps at a time */
  DHC_CHUNK_LEAF,   /* computed outside for all steps, handed in by chunks */
  DHC_CHUNK_CONST   /* the same at every step */
} DhcChunkPlace;

typedef struct DhcChunkValue {
  DhcChunkPlace place;
  int axis;    /* where the steps are; -1 for a constant */
  bool output; /* inside, and used outside as well */
} DhcChunkValue;

/* A region: recurrences over the same steps, what their operands are made of and what becomes
 * of their states, up to values that are small beside the states. */
typedef struct DhcChunk {
  DhcPassCtx *px;
  DhcModule *m;
  DhcFunc *f;
  DhcChunkValue *at; /* by value id, for the n_values that the function had */
  int n_values;
  const DhcDim *length, *states; /* steps; elements of the first recurrence's states */
  bool reverse, folds_last; /* states are contracted over their last axis */
  bool joins; /* asked for: what is small and cheap is made inside, too, and the region goes on through it */
  bool ok;
  int depth;
  DHC_VEC(DhcNode *) scans;
  DHC_VEC(DhcNode *) lasts; /* slices of a recurrence's last state */
  DHC_VEC(DhcValue *) leaves, consts, outputs;
} DhcChunk;

/* The region around recurrence n (chunk_region.c). False: it is to stay as it is. */
bool dhc_chunk_region(DhcChunk *c, DhcNode *n);

/* What a region's rewrite needs (chunk.c). Nodes that the region reads but that stand behind its first recurrence move in
 * front of it. */
void dhc_chunk_move_inputs(DhcChunk *c, DhcNode *first);
bool dhc_chunk_is_inside(const DhcChunk *c, const DhcNode *n);
/* What only fed the recurrences goes. */
void dhc_chunk_sweep(DhcChunk *c);

#endif
