/* What the parts of the CUDA backend share: C text of types and ops (ew.c), functions that kernels call
 * (pieces.c), loop program -> CUDA C (writer.c). */
#ifndef DHC_BACKENDS_CUDA_CUDA_INTERNAL_H
#define DHC_BACKENDS_CUDA_CUDA_INTERNAL_H

#include "backends/cuda/driver.h"
#include "backends/loop/loop.h"

const char *dhc_cuda_type(dhc_dtype t);        /* of a value: bf16 is float */
const char *dhc_cuda_memory_type(dhc_dtype t); /* of an element in memory */
/* The op on operands a[] of dtype t; NULL, or why it has no form. index: i64 values that are sizes and
 * places, which never overflow. */
const char *dhc_cuda_ew(DhcText *to, DhcOp op, const char *const *a, dhc_dtype t, bool index);
void dhc_cuda_cast(DhcText *to, const char *x, dhc_dtype from, dhc_dtype want);
/* The functions that `body` calls, and those that they call. */
void dhc_cuda_pieces(const char *body, DhcText *to);

/* By statement: before it the kernel waits until those before it are done (in the program's arena). */
const bool *dhc_cuda_waits(const DhcLp *p);
/* The functions for GROUP_MMA that the programs need. */
void dhc_cuda_groups(const DhcLp *const *program, int n, DhcText *to);

/* How a kernel is launched; stands before its code in the store. */
typedef struct DhcCudaLaunch {
  int32_t threads;      /* of a block */
  int32_t per_block;    /* tasks a block takes at a time */
  int32_t shared_bytes; /* block memory */
  int32_t n_ptrs, n_dims; /* of its argument; n_ptrs with the memory that tasks share */
  uint32_t stores[DHC_LP_OPERAND_BITS / 32]; /* bit by operand: it is written; beyond the last each is */
  uint32_t early[DHC_LP_OPERAND_BITS / 32];  /* bit by operand: loads of it may begin before the wait, where the launch says so */
} DhcCudaLaunch;
/* Which operands the program stores to, one that nobody can tell: all. */
void dhc_cuda_stores(const DhcLp *p, DhcCudaLaunch *launch);
bool dhc_cuda_stores_to(const DhcCudaLaunch *launch, int operand);
bool dhc_cuda_reads_early(const DhcCudaLaunch *launch, int operand);
enum { DHC_CUDA_ROW_THREADS = 256 /* of a block, where rows of threads share it */ };

/* One translation unit with a kernel names[i] for each program[i]; `about` is a comment (the spec), or NULL.
 * *why (arena of the first program): a statement without a CUDA form; the text is then unusable. */
void dhc_cuda_write(const DhcLp *const *program, const char *const *names, int n, const char *about, DhcText *to,
                    DhcCudaLaunch *launch, const char **why);

#endif
