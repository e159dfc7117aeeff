/* The store from inside: memory and policy in store.c, files in store_disk.c. */
#ifndef DHC_RUNTIME_STORE_INTERNAL_H
#define DHC_RUNTIME_STORE_INTERNAL_H

#include <pthread.h>

#include "runtime/store.h"

typedef struct StoreSlot {
  char key[65]; /* "" where the slot is free */
  uint8_t *bytes;
  size_t n_bytes;
} StoreSlot;

struct DhcStore {
  int dir_fd;     /* -1: in memory only; fixed after open */
  char *path;     /* of the folder; fixed after open */
  char *features; /* NULL: not checked; fixed after open */
  DhcWarn warn;
  pthread_mutex_t lock; /* guards what follows */
  StoreSlot *slots;     /* open addressing; n_slots is a power of two */
  size_t n_slots, n_used;
  DhcStoreStats stats;
  bool write_warned;
};

typedef enum EntryState {
  ENTRY_OK,
  ENTRY_ABSENT,
  ENTRY_DAMAGED,
  ENTRY_FOREIGN, /* not ours alone to write */
  ENTRY_VERSION, /* another format version: a plain miss */
  ENTRY_UNFIT,   /* needs a CPU feature that is not there */
  ENTRY_NO_MEMORY /* to read it into */
} EntryState;

/* Opens and checks the folder. One that cannot be used is a warning, and dir_fd stays -1; only
 * want of memory is a failure. */
dhc_status dhc_store_disk_open(DhcStore *s, const char *dir) DHC_MUST_USE;
/* Reads and verifies an entry. ENTRY_UNFIT: missing holds the first feature that
 * lacks (cut to 63 bytes). */
EntryState dhc_store_disk_read(const DhcStore *s, const char *key, DhcStoreBytes *out,
                               char missing[64]);
dhc_status dhc_store_disk_write(const DhcStore *s, const char *key, const char *needs,
                                const void *bytes, size_t n_bytes) DHC_MUST_USE;

#endif
