/* The one door to whatever runs kernels: the host's cores, the interpreter, a GPU. A device has
 * memory, takes code and runs commands over its memory in the order in which they are given.
 *
 * Device memory is named by numbers, not pointers: nothing outside the device's own file
 * can follow one by accident. Bytes cross only by upload and download, or where a device shows its
 * memory by `view`. Of a device without memory of its own (own_memory false) numbers are the host's
 * addresses: prepared calls (program_ready.c) lend callers' memory to kernels by that.
 *
 * One thread at a time uses a device. A device outlives its memory, code and replays; it has one
 * stream: commands begin when those before them are done, or at least as if. Failures of
 * commands that are still under way may be reported by a later call, at the latest by
 * synchronise or download. */
#ifndef DHC_RUNTIME_DEVICE_H
#define DHC_RUNTIME_DEVICE_H

#include <stdbool.h>
#include <stdint.h>

#include "dhc/abi.h"
#include "runtime/host_memory.h"
#include "runtime/status.h"

/* Address in a device's memory; 0: none. Sums with byte offsets are addresses. */
typedef uint64_t DhcDevicePtr;

typedef struct DhcDevice DhcDevice;

typedef struct DhcDeviceInfo {
  const char *kind; /* row of backends/backends.def: "cpu" */
  char name[128];   /* of the machine: "NVIDIA H200"; "" where there is nothing to say */
  int64_t memory_free, memory_total; /* bytes; 0: not known */
  bool own_memory; /* which is none of the host's */
  int workers; /* tasks that run side by side and need scratch of their own, at least 1 */
  int lanes;   /* calls of a list that may run side by side, what their tasks share apart; 0 is 1 */
} DhcDeviceInfo;

enum { DHC_MAX_KERNEL_PTRS = 256 }; /* operands of a compiled kernel; a graph may have more */

/* Memory that a call may touch of an operand. */
typedef struct DhcReach {
  DhcDevicePtr begin, end;
} DhcReach;

/* One phase of a kernel call: tasks [task0, task0 + n_tasks), in any order and cut. */
typedef struct DhcLaunch {
  dhc_kernel_fn fn; /* as load gave it; only a host device may call it */
  /* n_ptrs operands, and behind them, ptr[n_ptrs], what the tasks of the call share (0: nothing) */
  const DhcDevicePtr *ptr;
  const DhcReach *reach; /* by operand; NULL: nobody says */
  int64_t shared_bytes;  /* behind ptr[n_ptrs], once for each lane of the device */
  const intptr_t *dim;
  int32_t n_ptrs, n_dims;
  int32_t phase; /* from 0: tasks that begin when the phase before of the same call is done */
  int64_t task0, n_tasks;
  DhcDevicePtr scratch;   /* of worker w: scratch + w * worker_scratch; 0: none is needed */
  int64_t worker_scratch; /* bytes, a multiple of 64 */
  /* Of checked kernels, else NULL: the limits that ptr[n_ptrs + 1] is to hold (backends/loop/bounds.c); the report in them
   * is of all launches of the call. */
  int64_t *limits;
} DhcLaunch;

/* A run of a bound plan, resolved: loops unrolled, addresses fixed. */
typedef struct DhcCommand {
  int32_t kind;     /* dhc_item_kind, but no LOOP */
  int32_t item;     /* of the plan, for profiles */
  DhcLaunch launch; /* CALL; of RANKS the dims */
  DhcDevicePtr to, from;
  int64_t bytes;    /* COPY, FILL, RANKS; a multiple of 4 for RANKS and FILL with a pattern */
  uint32_t pattern; /* FILL; RANKS: dhc_ranks_op */
} DhcCommand;

/* The processes that run the same plans, each with a device of its own. */
enum { DHC_RANKS_ID_BYTES = 128, DHC_MAX_RANKS = 1024 };
typedef struct DhcRanksOf {
  int rank, n;
  unsigned char id[DHC_RANKS_ID_BYTES]; /* as rank 0's device made it */
} DhcRanksOf;

typedef struct DhcDeviceOps {
  void (*close)(DhcDevice *d);
  void (*describe)(DhcDevice *d, DhcDeviceInfo *out);

  /* Memory: aligned to 64 bytes at least and zero. bytes = 0 gives an address that may be freed.
   * free takes 0; commands that use the memory are done before it goes. A device may keep what it is
   * given back; alloc_any is for memory that is written before it is read, or made zero by `fill` in time: it may
   * hold anything unless *zero. NULL: alloc does. touch: all of this memory is going to be written soon, by
   * commands or through `view`; NULL: that helps nothing. */
  dhc_status (*alloc)(DhcDevice *d, int64_t bytes, DhcDevicePtr *out);
  dhc_status (*alloc_any)(DhcDevice *d, int64_t bytes, bool *zero, DhcDevicePtr *out);
  void (*touch)(DhcDevice *d, DhcDevicePtr at, int64_t bytes);
  void (*free)(DhcDevice *d, DhcDevicePtr at);
  /* `from` may change once upload returns; `to` is complete when download does. */
  dhc_status (*upload)(DhcDevice *d, DhcDevicePtr to, const void *from, int64_t bytes);
  dhc_status (*download)(DhcDevice *d, void *to, DhcDevicePtr from, int64_t bytes);
  /* Where `bytes` may be made that the next upload takes, which then copies them no more; NULL, the operation too: anywhere. */
  void *(*room)(DhcDevice *d, int64_t bytes);
  /* Bytes that travel while the device computes, in memory that host_alloc gave. ahead: as upload, but beside commands that
   * were given before, which do not use `to`; `from` stays as it is until the device has been synchronised. behind: as
   * download, but `to` is complete when the device has been synchronised. All four are NULL where that gains nothing. */
  dhc_status (*host_alloc)(DhcDevice *d, int64_t bytes, void **out);
  void (*host_free)(DhcDevice *d, void *at);
  dhc_status (*ahead)(DhcDevice *d, DhcDevicePtr to, const void *from, int64_t bytes);
  dhc_status (*behind)(DhcDevice *d, void *to, DhcDevicePtr from, int64_t bytes);
  /* Where the host sees the same memory, once all commands are done; NULL: it does not. May be
   * read and written there until the next command. */
  void *(*view)(DhcDevice *d, DhcDevicePtr at, int64_t bytes);

  /* to <- from, which do not overlap unless they are equal; every 4 bytes <- pattern (any
   * number of bytes where the pattern is 0). */
  dhc_status (*copy)(DhcDevice *d, DhcDevicePtr to, DhcDevicePtr from, int64_t bytes);
  dhc_status (*fill)(DhcDevice *d, DhcDevicePtr to, uint32_t pattern, int64_t bytes);
  /* to <- the matrices at `from` in panels. NULL: none of the device's kernels reads any. */
  dhc_status (*pack)(DhcDevice *d, DhcDevicePtr to, DhcDevicePtr from, const dhc_panel *x);

  /* Code as the backend's generator wrote it, kept until the device closes; fn[i] stands
   * for names[i]. */
  dhc_status (*load)(DhcDevice *d, const void *code, size_t n_bytes, const char *const *names, int n, dhc_kernel_fn *fn);
  /* What a launch points to may change once it returns; the same for prepare. */
  dhc_status (*launch)(DhcDevice *d, const DhcLaunch *l);
  dhc_status (*synchronise)(DhcDevice *d);

  /* A list of commands made ready to run again and again, as a CUDA graph is. All three are NULL
   * where that gains nothing; then the commands come one by one. A device may decline a list
   * (*out = NULL, success). What the commands' memory holds may change between replays. */
  dhc_status (*prepare)(DhcDevice *d, const DhcCommand *c, int64_t n, void **out);
  dhc_status (*replay)(DhcDevice *d, void *prepared);
  void (*forget)(DhcDevice *d, void *prepared);
  /* Runs the list once; ms[i] <- what command i took, by the device's own clock. NULL: whoever asks waits for every
   * command and looks at the host's. */
  dhc_status (*time)(DhcDevice *d, const DhcCommand *c, int64_t n, float *ms);

  /* Several processes. All are NULL where the device knows no others. meet_id: an id for them to meet under (rank 0's
   * device makes it); meet: waits for the others, once. ranks: what a RANKS command says, or its beginning: join waits for it; all ranks
   * give the same of these in the same order. spread: what rank `from` holds at `at` is there on all ranks, done when it is synchronised. */
  dhc_status (*meet_id)(DhcDevice *d, unsigned char id[DHC_RANKS_ID_BYTES]);
  dhc_status (*meet)(DhcDevice *d, const DhcRanksOf *ranks);
  dhc_status (*ranks)(DhcDevice *d, const DhcCommand *c);
  dhc_status (*join)(DhcDevice *d);
  dhc_status (*spread)(DhcDevice *d, int from, DhcDevicePtr at, int64_t bytes);
  /* The others; whole: all do so now, else they may be gone. Prepared lists with RANKS in them are forgotten before. */
  void (*leave)(DhcDevice *d, bool whole);
} DhcDeviceOps;

/* First member of every device. */
struct DhcDevice {
  const DhcDeviceOps *ops;
  bool checked; /* its kernels are: launches carry limits */
  double code_ms; /* that commands have waited for code which `load` left to be made when it is needed */
};

static inline void dhc_device_close(DhcDevice *d) {
  if (d) d->ops->close(d);
}

/* A RANKS command on a device that has met none is done: it is the only rank. */
static inline dhc_status dhc_device_ranks(DhcDevice *d, const DhcCommand *c) {
  return d->ops->ranks ? d->ops->ranks(d, c) : dhc_status_ok();
}

/* ---- the host as a device (device_host.c) ------------------------------------------- */

/* Who turns a backend's code into functions of this process. */
typedef struct DhcLoader {
  void *ctx;
  dhc_status (*load)(void *ctx, const void *code, size_t n_bytes, const char *const *names, int n, dhc_kernel_fn *fn);
  void (*close)(void *ctx); /* NULL: nothing to close */
} DhcLoader;

/* Memory of this process, tasks on `exec` (NULL: in the calling thread). Addresses are the host's
 * own. `kind` and exec are borrowed; loader NULL: kernels are functions already linked. */
dhc_status dhc_host_device_open(const char *kind, const dhc_exec *exec, const DhcLoader *loader, DhcDevice **out) DHC_MUST_USE;

/* The operations of a host device, for devices that differ from it in a few. */
extern const DhcDeviceOps dhc_host_device_ops;
typedef struct DhcHostDevice {
  DhcDevice device;
  const char *kind;
  const dhc_exec *exec;
  DhcLoader loader;
  DhcHostMemory memory;
} DhcHostDevice;

#endif
