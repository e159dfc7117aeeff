#include "backends/cuda/object.h"

#include <stdlib.h>
#include <string.h>

typedef struct Head {
  char magic[8];
  int64_t n;
} Head;
static const char magic[8] = "dhccuda1";

char *dhc_cuda_object_write(const DhcCudaLaunch *launch, int n, const char *cubin, size_t n_cubin, size_t *n_bytes) {
  size_t table = sizeof *launch * (size_t)n;
  Head head = {.n = n};
  memcpy(head.magic, magic, sizeof magic);
  *n_bytes = sizeof head + table + n_cubin;
  char *bytes = malloc(*n_bytes);
  if (!bytes) return NULL;
  memcpy(bytes, &head, sizeof head);
  memcpy(bytes + sizeof head, launch, table);
  memcpy(bytes + sizeof head + table, cubin, n_cubin);
  return bytes;
}

static bool is_sane(const DhcCudaLaunch *l) {
  return l->threads >= 32 && l->threads <= 1024 && l->per_block >= 1 && l->shared_bytes >= 0 && l->n_ptrs >= 0 && l->n_dims >= 0;
}

bool dhc_cuda_object_read(const char *bytes, size_t n_bytes, int n, DhcCudaObject *out) {
  Head head;
  if (n < 1 || n > DHC_CUDA_MAX_KERNELS || n_bytes < sizeof head) return false;
  memcpy(&head, bytes, sizeof head);
  size_t table = sizeof *out->launch * (size_t)n;
  if (memcmp(head.magic, magic, sizeof magic) || head.n != n || n_bytes - sizeof head <= table) return false;
  memcpy(out->launch, bytes + sizeof head, table);
  for (int i = 0; i < n; i++)
    if (!is_sane(&out->launch[i])) return false;
  out->cubin = bytes + sizeof head + table;
  out->n_cubin = n_bytes - sizeof head - table;
  return true;
}
