/* The sum rule, stated once: how reduce_sum adds, in the interpreters, in every template and on
 * every device.
 *
 *   Element i goes into partial i mod 16 of its block of 4,096, each partial in order from +0;
 *   the 16 partials of a block fold pairwise, 8, 4, 2 and 1 apart;
 *   the blocks' sums are added as a tree: n of them as the first 2^k, 2^k the largest power of
 *   two below n, plus the rest, both in the same way.
 *
 * The tree needs no array of blocks: a stack holds the sums of finished subtrees, one for every
 * bit of the number of blocks so far, and block number n (from 1) is first added to as many of
 * them as n has trailing zero bits. What is left at the end is added from the top, the smallest
 * subtree, down. A last block that is empty is +0 and changes nothing. */
#ifndef DHC_IR_SUM_H
#define DHC_IR_SUM_H

#include <stdint.h>

enum {
  DHC_SUM_PARTIALS = 16,
  DHC_SUM_BLOCK = 4096, /* a power of two and a multiple of the partials */
  DHC_SUM_LEVELS = 40   /* of the tree: 2^52 elements, more than can be added up in a lifetime */
};

/* In double. Starts as {0}. */
typedef struct DhcSum {
  int64_t n; /* elements so far */
  double partial[DHC_SUM_PARTIALS];
  int depth; /* bits set in the number of whole blocks */
  double tree[DHC_SUM_LEVELS];
} DhcSum;

void dhc_sum_add(DhcSum *s, double x);
/* The sum of what was added; nothing more may be. */
double dhc_sum_end(DhcSum *s);

#endif
