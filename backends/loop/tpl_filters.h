/* What templates "filters" and "filter_groups" share; tpl_filters.c says what they make. */
#ifndef DHC_BACKENDS_LOOP_TPL_FILTERS_H
#define DHC_BACKENDS_LOOP_TPL_FILTERS_H

#include "backends/loop/tpl_tile.h"

/* The thread's part of every plane, four elements of a line; planes at once, and how often. */
typedef struct DhcFilterLane {
  DhcLv own, at_once, rounds, y, x;
} DhcFilterLane;

typedef struct DhcFilters {
  DhcTile t;
  DhcSpecWindow w;
  int channels, taps, pitch, plane; /* of a tile; elements from out to out, from plane to plane */
  int four;                         /* gradients in fours of pixels, all outs' side by side: elements from one to the next; 0: lines of outs */
  int n_sums;                       /* of a thread */
  int64_t image_at;                 /* elements from a stage's beginning to its planes */
  dhc_dimprog lines, bands, outs, tiles, splits; /* of a step; of an image; tiles along outs, all; pieces */
  DhcLv n_lines, n_bands;           /* the same as values */
  DhcLv wide, line, seen, channel0; /* pixels of a line of gradients, elements of a plane's; lines a band sees */
  DhcLv image_fours, grad_fours;    /* copies of four elements may be made */
  DhcFilterLane grad_lane, image_lane;
  DhcLv value;                      /* what is stored now */
} DhcFilters;

void dhc_filters_plan(DhcFilters *v);
void dhc_filters_sizes(DhcFilters *v); /* what is the same in all tiles */
void dhc_filters_tile(DhcFilters *v, DhcLv tile);
/* A task of the first phase: its tile and number, and its steps. */
void dhc_filters_piece(DhcFilters *v, DhcLv task, DhcLv *from, DhcLv *to);
/* Where the tile's pieces hold sum `q` of a thread. */
DhcLv dhc_filters_piece_at(DhcFilters *v, DhcLv piece, DhcLv q, DhcLv thread);
/* Begins to bring a step's gradients and what they see of planes to these places in block memory, if it is below `end`. */
void dhc_filters_copy(DhcFilters *v, DhcLv step, DhcLv end, DhcLv grads, DhcLv image);

typedef void DhcFiltersPhase(DhcFilters *v, DhcLv task);
/* The whole kernel of the opened and planned tile: pieces in a first phase, in `second` tasks of a second what they add up to, `value`. */
void dhc_filters_phases(DhcFilters *v, dhc_dimprog second, DhcFiltersPhase *first_phase, DhcFiltersPhase *second_phase);

#endif
