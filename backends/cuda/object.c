#include "backends/cuda/object.h"

#include <stdlib.h>
#include <string.h>

typedef struct Head {
  char magic[8];
  int64_t n;
} Head;
static const char magic[8] = "dhccuda4";

typedef struct Row { /* n of these, then the cubins one after the other */
  DhcCudaLaunch launch;
  int64_t n_cubin;
} Row;

char *dhc_cuda_object_write(const DhcCudaLaunch *launch, const DhcCudaCode *code, int n, size_t *n_bytes) {
  Head head = {.n = n};
  memcpy(head.magic, magic, sizeof magic);
  *n_bytes = sizeof head + sizeof(Row) * (size_t)n;
  for (int i = 0; i < n; i++) *n_bytes += code[i].n;
  char *bytes = malloc(*n_bytes), *at = bytes;
  if (!bytes) return NULL;
  memcpy(at, &head, sizeof head);
  at += sizeof head;
  for (int i = 0; i < n; i++, at += sizeof(Row)) {
    Row row;
    memset(&row, 0, sizeof row);
    row.launch = launch[i];
    row.n_cubin = (int64_t)code[i].n;
    memcpy(at, &row, sizeof row);
  }
  for (int i = 0; i < n; at += code[i].n, i++) memcpy(at, code[i].cubin, code[i].n);
  return bytes;
}

static bool is_sane(const DhcCudaLaunch *l) {
  return l->threads >= 32 && l->threads <= 1024 && l->per_block >= 1 && l->shared_bytes >= 0 && l->n_ptrs >= 0 && l->n_dims >= 0;
}

bool dhc_cuda_object_read(const char *bytes, size_t n_bytes, int n, DhcCudaObject *out) {
  Head head;
  if (n < 1 || n > DHC_CUDA_MAX_KERNELS || n_bytes < sizeof head) return false;
  memcpy(&head, bytes, sizeof head);
  size_t at = sizeof head + sizeof(Row) * (size_t)n;
  if (memcmp(head.magic, magic, sizeof magic) || head.n != n || n_bytes < at) return false;
  for (int i = 0; i < n; i++) {
    Row row;
    memcpy(&row, bytes + sizeof head + sizeof row * (size_t)i, sizeof row);
    if (!is_sane(&row.launch) || row.n_cubin < 1 || (uint64_t)row.n_cubin > n_bytes - at) return false;
    out->launch[i] = row.launch;
    out->cubin[i] = bytes + at;
    out->n_cubin[i] = (size_t)row.n_cubin;
    at += out->n_cubin[i];
  }
  return at == n_bytes;
}
