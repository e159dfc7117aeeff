/* An NCCL without a GPU: every function of driver.def, over memory that processes share; device addresses are the host's own.
 * STAND_IN_NCCL_FAIL=NAME:CODE:AFTER lets a function return CODE after AFTER good calls, in rank STAND_IN_NCCL_RANK or in all;
 * STAND_IN_NCCL_SPOIL=N makes rank 1's result of sum number N another. Ranks sum in their order: of two as NCCL does. */
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "backends/cuda/driver.h"

#define EXPORT __attribute__((visibility("default")))
#define NC(name, arguments) EXPORT int name arguments;
#include "backends/cuda/driver.def"
const char *ncclGetErrorString(int code);
const char *ncclGetLastError(NcclComm comm);

enum { PIECE = 1 << 18 /* bytes of a rank at a time */, BAD_ARGUMENT = 4 };

typedef struct Shared {
  atomic_int here, turn, left;
  char at[]; /* a piece a rank */
} Shared;

struct NcclCommOpaque {
  Shared *shared;
  size_t bytes;
  int rank, n;
};

static int rank_here = -1, n_sums;

static int fails(const char *name) {
  const char *want = getenv("STAND_IN_NCCL_FAIL"), *rank = getenv("STAND_IN_NCCL_RANK");
  size_t n = strlen(name);
  char *end;
  static int calls;
  if (!want || strncmp(want, name, n) || want[n] != ':' || (rank && atoi(rank) != rank_here)) return 0;
  int code = (int)strtol(want + n + 1, &end, 10), after = *end == ':' ? atoi(end + 1) : 0;
  return calls++ < after ? 0 : code;
}
#define FAIL(name)                \
  do {                            \
    int code_ = fails(#name);     \
    if (code_) return code_;      \
  } while (0)

EXPORT const char *ncclGetErrorString(int code) { return code == 2 ? "unhandled system error" : "internal error"; }
EXPORT const char *ncclGetLastError(NcclComm comm) { (void)comm; return "what it means"; }
int ncclGetVersion(int *version) {
  FAIL(ncclGetVersion);
  *version = getenv("STAND_IN_NCCL_VERSION") ? atoi(getenv("STAND_IN_NCCL_VERSION")) : 22703;
  return 0;
}

int ncclGetUniqueId(NcclId *id) {
  FAIL(ncclGetUniqueId);
  memset(id, 0, sizeof *id);
  const char *folder = getenv("STAND_IN_NCCL_FOLDER"); /* of the test, which tidies up behind ranks that were killed */
  snprintf(id->bytes, sizeof id->bytes, "%.80s/ranks_%d_%ld", folder ? folder : "/tmp", (int)getpid(), (long)time(NULL));
  return 0;
}

/* All ranks have come here. */
static void meet(const struct NcclCommOpaque *c) {
  Shared *s = c->shared;
  int turn = atomic_load(&s->turn);
  if (atomic_fetch_add(&s->here, 1) + 1 == c->n) {
    atomic_store(&s->here, 0);
    atomic_fetch_add(&s->turn, 1);
    return;
  }
  while (atomic_load(&s->turn) == turn) nanosleep(&(struct timespec){.tv_nsec = 20000}, NULL);
}

int ncclCommInitRank(NcclComm *comm, int n, NcclId id, int rank) {
  rank_here = rank;
  FAIL(ncclCommInitRank);
  struct NcclCommOpaque *c = calloc(1, sizeof *c);
  *c = (struct NcclCommOpaque){.n = n, .rank = rank, .bytes = sizeof(Shared) + (size_t)n * PIECE};
  int fd = open(id.bytes, O_RDWR | O_CREAT, 0600);
  if (fd < 0 || ftruncate(fd, (off_t)c->bytes)) return 2;
  c->shared = mmap(NULL, c->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  close(fd);
  if (c->shared == MAP_FAILED) return 2;
  meet(c);
  if (!rank) unlink(id.bytes);
  *comm = c;
  return 0;
}

static int leave(NcclComm c) {
  munmap(c->shared, c->bytes);
  free(c);
  return 0;
}
int ncclCommDestroy(NcclComm comm) { FAIL(ncclCommDestroy); return leave(comm); }
int ncclCommAbort(NcclComm comm) { FAIL(ncclCommAbort); return leave(comm); }
int ncclCommGetAsyncError(NcclComm comm, int *code) {
  (void)comm;
  *code = fails("async");
  FAIL(ncclCommGetAsyncError);
  return 0;
}

static char *piece(NcclComm c, int rank) { return c->shared->at + (size_t)rank * PIECE; }

int ncclAllReduce(const void *from, void *to, size_t n, int type, int op, NcclComm c, CuStream stream) {
  (void)stream;
  FAIL(ncclAllReduce);
  if (type != 7 || op != 0) return BAD_ARGUMENT;
  const char *spoil = getenv("STAND_IN_NCCL_SPOIL");
  for (size_t at = 0, k; at < n; at += k) {
    k = n - at < PIECE / 4 ? n - at : PIECE / 4;
    memcpy(piece(c, c->rank), (const float *)from + at, 4 * k);
    meet(c);
    float *out = (float *)to + at;
    for (size_t i = 0; i < k; i++) {
      float sum = 0;
      for (int r = 0; r < c->n; r++) {
        float x;
        memcpy(&x, piece(c, r) + 4 * i, 4);
        sum = r ? sum + x : x;
      }
      out[i] = sum;
    }
    meet(c);
  }
  if (++n_sums == (spoil ? atoi(spoil) : 0) && c->rank == 1) ((unsigned char *)to)[2] ^= 0x40;
  return 0;
}

int ncclGroupStart(void) { FAIL(ncclGroupStart); return 0; }
int ncclGroupEnd(void) { FAIL(ncclGroupEnd); return 0; }

int ncclBroadcast(const void *from, void *to, size_t n, int type, int root, NcclComm c, CuStream stream) {
  (void)stream;
  FAIL(ncclBroadcast);
  if (type != 1) return BAD_ARGUMENT;
  for (size_t at = 0, k; at < n; at += k) {
    k = n - at < PIECE ? n - at : PIECE;
    if (c->rank == root) memcpy(piece(c, root), (const char *)from + at, k);
    meet(c);
    memcpy((char *)to + at, piece(c, root), k);
    meet(c);
  }
  return 0;
}
