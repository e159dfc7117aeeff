/* NCCL, opened at run time as the driver is: what the GPUs of several processes (ranks) make together. Own declarations of
 * the few types and functions used.
 *
 * Looked for in DHC_LIBNCCL (a file) if set, else where the linker looks, else in the toolkit's folders. Every refusal is one
 * line (DHC_E_ENVIRONMENT). */
#ifndef DHC_BACKENDS_CUDA_NCCL_H
#define DHC_BACKENDS_CUDA_NCCL_H

#include "backends/cuda/driver.h"
#include "runtime/device.h"

typedef struct DhcNccl {
#define NC(name, arguments) int(*name) arguments;
#include "backends/cuda/driver.def"
  const char *(*ncclGetErrorString)(int);
  const char *(*ncclGetLastError)(NcclComm);
  void *library;
  int version; /* 22703: 2.27.3 */
} DhcNccl;

/* Once a process; what was opened stays open. */
dhc_status dhc_nccl(const DhcNccl **out) DHC_MUST_USE;

/* A group of ranks. The functions below are given to it by all ranks in the same order, and put what they do into the
 * stream. Memory is that of the GPU which was current at dhc_nccl_meet. */
dhc_status dhc_nccl_id(unsigned char id[DHC_RANKS_ID_BYTES]) DHC_MUST_USE;
dhc_status dhc_nccl_meet(const DhcRanksOf *ranks, NcclComm *out) DHC_MUST_USE; /* waits for all */
dhc_status dhc_nccl_sum(NcclComm comm, void *at, int64_t bytes, CuStream stream) DHC_MUST_USE;
dhc_status dhc_nccl_spread(NcclComm comm, int from, void *at, int64_t bytes, CuStream stream) DHC_MUST_USE; /* rank from's */
/* Parts of so many 4-byte elements one after the other, part r as rank r has it. */
dhc_status dhc_nccl_gather(NcclComm comm, void *at, const intptr_t *part, int n, CuStream stream) DHC_MUST_USE;
/* What went wrong while nobody called; DHC_OK: nothing. */
dhc_status dhc_nccl_failed(NcclComm comm) DHC_MUST_USE;
/* whole: all ranks do so now. Else what is under way is given up. */
void dhc_nccl_leave(NcclComm comm, bool whole);

#endif
