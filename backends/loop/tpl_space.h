/* Spatial dimensions of a convolution operand: the guarded terms of its address, and
 * copying what they reach into planes in scratch, zeros where the guard says so, so that
 * the loops over taps need no guards. Shared by the convolution templates. */
#ifndef DHC_BACKENDS_LOOP_TPL_SPACE_H
#define DHC_BACKENDS_LOOP_TPL_SPACE_H

#include "backends/loop/tpl.h"

/* One guarded term:  index = (stride * place + dilation * tap + offset) / div,
 *                    place = per_out * out + window. */
typedef struct DhcSpace {
  int term;             /* -1: no such dimension; then one place, one tap, index 0 */
  int out, window, tap; /* axes, or -1 */
  int64_t per_out, n_window;
  int64_t stride, dilation, div;
  int64_t n_taps; /* 0: as many as the axis has; then lo and hi say nothing */
  int64_t lo, hi; /* least and greatest dilation * tap */
} DhcSpace;

/* Bit of an axis; none for -1. */
static inline uint32_t dhc_space_bit(int axis) {
  return axis < 0 ? 0 : 1u << axis;
}
/* The last axis of a mask, or -1. */
int dhc_space_last_axis(uint32_t mask);
/* Extent of an axis, 1 for -1, as value and as program. */
DhcLv dhc_space_extent(DhcTplCx *cx, int axis);
dhc_dimprog dhc_space_extent_prog(const DhcTplCx *cx, int axis);
/* Steps of operand o along an axis: dhc_tpl_step, 0 for -1. */
DhcLv dhc_space_step(DhcTplCx *cx, int o, int axis);
/* The spec's one contraction, of f32; -1: none, several, or of another dtype. */
int dhc_space_contraction(const DhcSpec *s);
/* Reads the operands of the contraction `node`: plain loads, `planes` of one or two spatial terms
 * (y absent if there is one), `other` without. False: a form that has no such reading. */
bool dhc_space_operands(const DhcTplCx *cx, int node, bool taps_out, int *planes, int *other, DhcSpace *y,
                        DhcSpace *x);

/* Number of places for `outs` steps of the out axis, as value and as program. */
DhcLv dhc_space_places(DhcTplCx *cx, const DhcSpace *d, DhcLv outs);
dhc_dimprog dhc_space_places_prog(const DhcTplCx *cx, const DhcSpace *d, dhc_dimprog outs);
/* Extent of the out axis (1 if absent). */
DhcLv dhc_space_outs(DhcTplCx *cx, const DhcSpace *d);
dhc_dimprog dhc_space_outs_prog(const DhcTplCx *cx, const DhcSpace *d);

enum { DHC_SPACE_MAX_PLANES = 4 };

/* Copying rows. Row r, column i of plane k is the operand's element at
 *   y index y_step * r + y_at,  x index x_step * i + x_at[k]
 * or 0 outside. Plane k begins k * pitch elements after the destination, rows are `columns`
 * apart. All is set before begin. */
typedef struct DhcFill {
  DhcTplCx *cx;
  int operand, y_term, x_term; /* y_term -1: there is none */
  int lanes, n_planes;
  int64_t y_step, x_step;
  DhcLv y_at, x_at[DHC_SPACE_MAX_PLANES], rows, columns, pitch;
  DhcLv x_limit; /* NULL: the term's */
  /* set by begin */
  DhcLv column, store_mask, mask[DHC_SPACE_MAX_PLANES], second[DHC_SPACE_MAX_PLANES], index[DHC_SPACE_MAX_PLANES];
  DhcLv first, last; /* rows inside the guard, where y_step is 1 */
} DhcFill;

/* Lanes l with 0 <= x + l < limit. */
DhcLv dhc_space_inside(DhcLp *b, DhcLv x, DhcLv limit, int lanes);

/* Opens a loop over vectors of columns; then any loops of the caller's with dhc_fill_rows
 * inside (axes of the plain terms bound); then end. */
void dhc_fill_begin(DhcFill *f);
void dhc_fill_rows(DhcFill *f, DhcLv to);
void dhc_fill_end(DhcFill *f);

#endif
