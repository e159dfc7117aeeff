/* Opening NCCL, and the few things that are asked of it. */
#include "backends/cuda/nccl.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/status.h"

enum { NC_OK = 0, NC_IN_PROGRESS = 7, NC_BYTES = 1, NC_FLOAT = 7, NC_SUM = 0, OLDEST = 21000 };

static DhcNccl nccl;
static dhc_status nccl_status;
static pthread_once_t nccl_once = PTHREAD_ONCE_INIT;

static void *open_library(void) {
  static const char *const folders[] = {"", "/usr/local/cuda/lib64/", "/usr/local/cuda/lib/"};
  const char *path = getenv("DHC_LIBNCCL");
  void *lib = NULL;
  if (path) return dlopen(path, RTLD_NOW | RTLD_LOCAL);
  for (size_t f = 0; f < sizeof folders / sizeof *folders && !lib; f++) {
    char full[64];
    snprintf(full, sizeof full, "%slibnccl.so.2", folders[f]);
    lib = dlopen(full, RTLD_NOW | RTLD_LOCAL);
  }
  return lib;
}

static dhc_status error(int code, const char *what) {
  const char *text = nccl.ncclGetErrorString ? nccl.ncclGetErrorString(code) : NULL;
  const char *more = nccl.ncclGetLastError ? nccl.ncclGetLastError(NULL) : NULL;
  if (more && !*more) more = NULL;
  return dhc_status_make(DHC_E_ENVIRONMENT, "NCCL: %s: %s (%d)%s%.160s", what, text ? text : "error", code, more ? ": " : "", more ? more : "");
}

static void open_nccl(void) {
  const char *path = getenv("DHC_LIBNCCL");
  void *at = NULL;
  nccl.library = open_library();
  if (!nccl.library) {
    nccl_status = dhc_status_make(DHC_E_ENVIRONMENT, "no NCCL (%s), which several GPUs need: install it, or name the file in DHC_LIBNCCL",
                                  path ? path : "libnccl.so.2");
    return;
  }
#define NC(name, arguments)                                                                                        \
  at = dlsym(nccl.library, #name);                                                                                 \
  if (!at) {                                                                                                       \
    nccl_status = dhc_status_make(DHC_E_ENVIRONMENT, "this NCCL has no %s; use version 2.10 or newer", #name);     \
    return;                                                                                                        \
  }                                                                                                                \
  memcpy(&nccl.name, &at, sizeof at);
#include "backends/cuda/driver.def"
  at = dlsym(nccl.library, "ncclGetErrorString");
  memcpy(&nccl.ncclGetErrorString, &at, sizeof at);
  at = dlsym(nccl.library, "ncclGetLastError");
  memcpy(&nccl.ncclGetLastError, &at, sizeof at);
  int code = nccl.ncclGetVersion(&nccl.version);
  if (code) nccl_status = error(code, "asking for its version");
  else if (nccl.version < OLDEST)
    nccl_status = dhc_status_make(DHC_E_ENVIRONMENT, "this NCCL is version code %d; use version 2.10 or newer", nccl.version);
}

dhc_status dhc_nccl(const DhcNccl **out) {
  pthread_once(&nccl_once, open_nccl);
  *out = &nccl;
  return nccl_status;
}

dhc_status dhc_nccl_id(unsigned char id[DHC_RANKS_ID_BYTES]) {
  const DhcNccl *nc;
  NcclId made;
  DHC_TRY(dhc_nccl(&nc));
  _Static_assert(sizeof made == DHC_RANKS_ID_BYTES, "an id is as long as NCCL's");
  int code = nc->ncclGetUniqueId(&made);
  if (code) return error(code, "making an id");
  memcpy(id, &made, sizeof made);
  return dhc_status_ok();
}

dhc_status dhc_nccl_meet(const DhcRanksOf *ranks, NcclComm *out) {
  const DhcNccl *nc;
  NcclId id;
  *out = NULL;
  DHC_TRY(dhc_nccl(&nc));
  memcpy(&id, ranks->id, sizeof id);
  int code = nc->ncclCommInitRank(out, ranks->n, id, ranks->rank);
  return code ? error(code, "meeting the other ranks") : dhc_status_ok();
}

dhc_status dhc_nccl_sum(NcclComm comm, void *at, int64_t bytes, CuStream stream) {
  int code = nccl.ncclAllReduce(at, at, (size_t)bytes / sizeof(float), NC_FLOAT, NC_SUM, comm, stream);
  return code ? error(code, "summing over the ranks") : dhc_status_ok();
}

dhc_status dhc_nccl_spread(NcclComm comm, int from, void *at, int64_t bytes, CuStream stream) {
  int code = bytes > 0 ? nccl.ncclBroadcast(at, at, (size_t)bytes, NC_BYTES, from, comm, stream) : 0;
  return code ? error(code, "sending to the other ranks") : dhc_status_ok();
}

/* As a group all parts are on their way at once. */
dhc_status dhc_nccl_gather(NcclComm comm, void *at, const intptr_t *part, int n, CuStream stream) {
  char *to = at;
  int code = nccl.ncclGroupStart();
  for (int r = 0; r < n && !code; to += 4 * part[r++])
    if (part[r]) code = nccl.ncclBroadcast(to, to, 4 * (size_t)part[r], NC_BYTES, r, comm, stream);
  int ended = nccl.ncclGroupEnd();
  if (!code) code = ended;
  return code ? error(code, "gathering what the ranks have") : dhc_status_ok();
}

dhc_status dhc_nccl_failed(NcclComm comm) {
  int now = 0, code = comm ? nccl.ncclCommGetAsyncError(comm, &now) : 0;
  if (!code) code = now;
  return code && code != NC_IN_PROGRESS ? error(code, "working with the other ranks") : dhc_status_ok();
}

void dhc_nccl_leave(NcclComm comm, bool whole) {
  if (!comm) return;
  if (whole) nccl.ncclCommDestroy(comm); /* there is nobody left to tell */
  else nccl.ncclCommAbort(comm);
}
