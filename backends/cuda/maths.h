/* The maths functions of generated C: CUDA's (pieces.c), and, with other words for what is CUDA's, C99's. */
#ifndef DHC_BACKENDS_CUDA_MATHS_H
#define DHC_BACKENDS_CUDA_MATHS_H

#include "ir/arena.h"

/* Those that `body` calls, and those that they call; f32 in plain C but for bits, fused multiply-add, rounding and
 * roots. */
void dhc_cuda_maths(const char *body, DhcText *to);

#endif
