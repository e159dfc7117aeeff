/* How sums add, stated once: in the interpreters, in every template and on every device.
 *
 * The sum rule, of reduce_sum:
 *
 *   Element i goes into partial i mod 16 of its block of 4,096, each partial in order from +0;
 *   the 16 partials of a block fold pairwise, 8, 4, 2 and 1 apart;
 *   the blocks' sums are added as a tree: n of them as the first 2^k, 2^k the largest power of
 *   two below n, plus the rest, both in the same way.
 *
 * The tree needs no array of blocks: a stack holds the sums of finished subtrees, one for every
 * bit of the number of blocks so far, and block number n (from 1) is first added to as many of
 * them as n has trailing zero bits. What is left at the end is added from the top, the smallest
 * subtree, down. A last block that is empty is +0 and changes nothing.
 *
 * The product rule, of contractions and convolutions, products in the order of the contracted index:
 *
 *   A block is 256 products, beginning at a multiple of 256; it is one chain of fused
 *   multiply-adds from +0. Up to 256 products are one block, and so the result.
 *   Of more, 16 blocks, beginning at a multiple of 16, are added in order to +0, sixteen of
 *   these sums (of 4,096 products each) likewise, and the sums of 65,536 in order.
 *
 * A chain's error grows with the root of its length, and so does that of adding in order; here both stay short
 * up to some millions of products. What lies between two multiples of 4,096 can be summed by itself. A block
 * whose products are all zeros is +0 and changes nothing. Ragged contractions: a range's products are counted
 * from its matrix's first row (ragged_dot) or from the first row of all (ragged_dot_dw).
 *
 * The rule of tiles, of 3 x 3 convolutions and their input gradients that dhc_conv_is_tiled names (kernel kind "winograd"):
 *
 *   Results lie in tiles of 2 x 2 places from the first place on. With d the 4 x 4 elements that a tile meets in a channel, and g
 *   that channel's weights in the order of the elements that they meet, V = B^T d B, U = G g G^T, where
 *     B^T x = (x0 - x2, x1 + x2, x2 - x1, x1 - x3),  G x = (x0, ((x0 + x2) + x1) / 2, ((x0 + x2) - x1) / 2, x2)
 *   down first, then across. Products U * V of 16 channels, beginning at a multiple of 16, are one chain of fused multiply-adds from
 *   +0; these sums are added in order to +0; the result is A^T M A, down first, with
 *     A^T x = ((x0 + x1) + x2, (x1 - x2) - x3).
 *
 * Chains are short because A^T and B^T magnify errors: so the result's error is about the product rule's or smaller. An infinity makes NaN of
 * the tiles that it meets, and elements close to the largest float overflow sooner than a product would. */
#ifndef DHC_IR_SUM_H
#define DHC_IR_SUM_H

#include <stdint.h>

enum {
  DHC_SUM_PARTIALS = 16,
  DHC_SUM_BLOCK = 4096, /* a power of two and a multiple of the partials */
  DHC_SUM_LEVELS = 40,  /* of the tree: 2^52 elements, more than can be added up in a lifetime */
  DHC_DOT_BLOCK = 256,  /* products of a chain */
  DHC_TILE_BLOCK = 16,  /* of the rule of tiles */
  DHC_DOT_FAN_LOG2 = 4, /* sums added in order, but for those of the last level */
  DHC_DOT_LEVELS = 3
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

/* The product rule. Starts as {0}; n may start at the number of the first product. */
typedef struct DhcDotSum {
  int64_t n; /* products so far */
  double chain, level[DHC_DOT_LEVELS];
} DhcDotSum;

void dhc_dot_add(DhcDotSum *s, double x, double y);
double dhc_dot_end(const DhcDotSum *s);

#endif
