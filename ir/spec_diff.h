/* What two kernels have in common and where they differ, from the canonical text of their specs. */
#ifndef DHC_IR_SPEC_DIFF_H
#define DHC_IR_SPEC_DIFF_H

#include "ir/arena.h"

/* A spec's text as lines, numbers of values left out: what is computed, not how it is numbered. */
typedef struct DhcSpecLines {
  int n;
  const char **line;
  uint64_t *hash;
} DhcSpecLines;
DhcSpecLines dhc_spec_lines(const char *text, DhcArena *a);
/* Lines that one has and the other lacks; INT_MAX where they are not of one kind. */
int dhc_spec_distance(const DhcSpecLines *a, const DhcSpecLines *b);
/* "extent of d_state differs: 16 / 8, unrolled by the recurrence", a's value first; or what `of_b` b, else a, has
 * beside the other, and lacks. `name` says what a number is called, or NULL; ctx is its own. */
typedef const char *(*DhcNumberName)(void *ctx, int64_t in_a, int64_t in_b);
void dhc_spec_say_difference(const DhcSpecLines *a, const DhcSpecLines *b, bool of_b, DhcNumberName name, void *ctx, DhcText *to);
/* "the recurrence": what a kernel of this kind ("scan") unrolls extents for. */
const char *dhc_spec_unrolled_by(const char *kind);

/* The same alignment for any lines: keep[i] is the line of b that line i of a goes with, or -1. */
void dhc_lines_align(const uint64_t *a, int n_a, const uint64_t *b, int n_b, int *keep, DhcArena *scratch);

#endif
