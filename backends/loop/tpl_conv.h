/* Inside of template "conv": what a task's planes hold, and which product meets what of them (tpl_conv_planes.c); the
 * tiles of products and what comes of them (tpl_conv.c). Template "winograd" shares roles and epilogue. */
#ifndef DHC_BACKENDS_LOOP_TPL_CONV_H
#define DHC_BACKENDS_LOOP_TPL_CONV_H

#include "backends/loop/tpl_space.h"

enum { DHC_CONV_MAX_ROWS = 16, DHC_CONV_MAX_VECTORS = 6 };

/* One spatial dimension. Place p of phase r is the operand's (phases * i + r)-th, i the place in its planes; a tap t meets
 * plane `class` of it, `shift` places on:
 *
 *   phases 1, stride s:  s * i + dilation * t + offset      = s * (i + shift) + class + offset, or, by taps, class t, shift 0
 *   phases q > 1:        (q * i + r + dilation * t + offset) / q = i + shift, if there is no remainder; by taps: class shift */
typedef struct DhcConvDim {
  DhcSpace d;
  int64_t phases, classes;
  bool by_taps;
  int64_t unit;      /* classes' first elements are so many apart */
  DhcLv taps, low;   /* how many; the least shift, which planes begin with */
  DhcLv reach;       /* the greatest shift less the least, where planes are not by taps */
  dhc_dimprog taps_prog, reach_prog;
} DhcConvDim;

typedef struct DhcConv {
  DhcTplCx cx;
  DhcLp *b;
  const DhcSpec *s;
  int node;   /* the DOT fold */
  int ox, ow; /* operands */
  DhcConvDim y, x;
  int c, m, image; /* axes or -1: contracted channels, channels of the tile, images */
  uint32_t outer;
  bool shared; /* rows of zeros between images serve both */
  int rows, vectors, lanes, n_planes;
  int half;   /* rows that have pointers; the others lie at one distance from them */
  int listed; /* numbers per product in the list */
  bool *needed;
  /* sizes */
  dhc_dimprog group, block, plane, result; /* images, out rows, elements of a plane, of a row of results */
  dhc_dimprog list, first;                 /* elements of the list, and of where phases and their blocks begin in it */
  dhc_dimprog elements;                    /* and of the list of a channel's own, where rows are short */
  DhcLv W, C, M;                           /* places of a row of planes; channels; of the tile */
  DhcLv Plane, Result, is_short;
  /* of a task */
  DhcLv image0, n_images, y0, y1, H, pitch; /* H: rows of planes; pitch: rows from image to image */
  DhcLv n_pixels, planes, results;          /* scratch, but for the number */
  DhcLv element;                            /* scratch: the elements of short rows, where from and where to */
  DhcLv tile_row;                           /* channel within the tile */
  DhcLv taps;                               /* scratch: for each (c, ky, kx) its place in planes and w */
  DhcLv n_taps;                             /* of all of them, times what is listed */
  DhcLv starts, n_blocks;                   /* of phases: scratch, n_blocks + 1 for each: where its blocks of products begin */
  bool narrow;                              /* w has elements of fewer bits: a tile's rows are widened first, */
  DhcLv weights, row;                       /* to scratch; elements of a row */
} DhcConv;

static inline bool dhc_conv_has_phases(const DhcConv *v) { return v->y.phases * v->x.phases > 1; }
/* False: no convolution of a form that planes serve. */
bool dhc_conv_roles(DhcConv *v);
/* Counts of taps, shifts and all sizes; before any loop. */
void dhc_conv_sizes(DhcConv *v);
/* Copies what the task reads; sets pitch and n_pixels. */
void dhc_conv_fill(DhcConv *v);
/* taps[v->listed * k ..]: displacements in planes and in a row of w of the k-th product, so that the tile's loop is one
 * block, whatever the taps; and, for the input gradient, whose w lies scattered, what to prefetch then, in w from the tile's
 * first row on: the t-th step of a channel fetches row t of the next channel. Phases one after the other. */
void dhc_conv_list(DhcConv *v);

/* Tile and epilogue from the schedule and the spec. */
void dhc_conv_prepare(DhcConv *v);
/* The tile's rows of w from channel m0 on, up to channel `last`, as they lie in memory, to v->weights in f32. */
void dhc_conv_widen(DhcConv *v, DhcLv m0, DhcLv last);
/* Results of channels [m0, m0 + rows) below m_end through the epilogue to memory. */
void dhc_conv_epilogue(DhcConv *v, DhcLv m0, DhcLv m_end);

#endif
