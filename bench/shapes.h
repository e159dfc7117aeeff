/* Specs of single kernels for the benchmarks, with their sizes. */
#ifndef DHC_BENCH_SHAPES_H
#define DHC_BENCH_SHAPES_H

#include "backends/loop/tpl.h"

typedef struct Bench {
  DhcArena arena;
  DhcSpec s;
  DhcSpecNode node[24];
  int64_t extent[DHC_SPEC_MAX_AXES];
  int64_t stride[DHC_SPEC_MAX_OPERANDS][DHC_SPEC_MAX_TERMS];
  int64_t offset[DHC_SPEC_MAX_OPERANDS], limit[DHC_SPEC_MAX_OPERANDS][DHC_SPEC_MAX_TERMS];
  int64_t size[DHC_SPEC_MAX_OPERANDS];
  double flops;
} Bench;

/* kind 0 dot: form (bit 0 A is [k, m], bit 1 B is [k, n]), m, n, k; 1 conv, 2 its input gradient, 3 conv and pooling, 4 its
 * weight gradient, 3x3 taps: images, channels, outs, height; 5 square sums: down, rows, elements; 6 rows by one of
 * 8 matrices: form (0 [out, in], 1 [in, out], 2 the matrices' gradient), rows, in, out. The arena is opened. */
void bench_shape(Bench *c, int kind, const int64_t number[4]);
/* A spec of affine terms whose axes have these extents, and whose further arguments are the last's. Operands lie row-major. */
void bench_spec(Bench *c, const DhcSpec *s, const int *extent);
/* One of a list of them. */
typedef struct BenchRow {
  const char *name;
  int kind;
  int64_t a, b, c, d; /* its numbers */
} BenchRow;
/* The kernel's arguments. */
void bench_dims(const Bench *c, int64_t *dim);
int64_t bench_prog(dhc_dimprog p, const int64_t *dim);
/* Integers with one character between them; how many. */
int bench_numbers(char *at, int *out, int max);

#endif
