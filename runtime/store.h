/* The kernel store: bytes by key, in memory and on disk: kernels, and images made of them. An entry is one file,
 * so code and metadata cannot mix; a damaged, foreign or unfit entry is a miss
 * with a warning, never an error: the store can be deleted, damaged, shared or
 * moved between machines and only speed changes. All functions but open and
 * close are thread-safe.
 *
 * File FOLDER/KEY: magic "DHCKSTOR", u32 format version, u32 bytes of the needs
 * text, u64 payload bytes, key (64 hex digits), SHA-256 of everything else in
 * the file, needs text, payload; little endian. The checksum guards against
 * damage; only ownership, checked on the open folder and file, guards against
 * people. */
#ifndef DHC_RUNTIME_STORE_H
#define DHC_RUNTIME_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "runtime/status.h"

typedef struct DhcStore DhcStore;

typedef struct DhcStoreOptions {
  const char *dir;      /* NULL: $XDG_CACHE_HOME/dhcc, else $HOME/.cache/dhcc */
  bool memory_only;     /* no disk at all */
  const char *features; /* what this machine has, words separated by spaces or commas;
                           an entry that needs a word not in here is a miss. NULL:
                           needs are not checked */
  DhcWarn warn;
} DhcStoreOptions;

/* Always yields a store unless memory is short: a folder that cannot be used, or
 * is writable by or belongs to others, or is a link, means one warning and a
 * store in memory only. */
dhc_status dhc_store_open(const DhcStoreOptions *options, DhcStore **out) DHC_MUST_USE;
void dhc_store_close(DhcStore *s);
/* The folder in use, NULL if in memory only. */
const char *dhc_store_path(const DhcStore *s);

typedef struct DhcStoreBytes {
  uint8_t *bytes; /* 64-byte aligned; owned by the receiver: dhc_store_bytes_free */
  size_t n_bytes;
} DhcStoreBytes;
void dhc_store_bytes_free(DhcStoreBytes *b);

/* key: 64 lower-case hex digits. True if found (and verified): *out is set. */
bool dhc_store_get(DhcStore *s, const char *key, DhcStoreBytes *out);
/* Whether an entry of that key is in memory or in the folder; whether it is whole, only dhc_store_get finds out. */
bool dhc_store_has(DhcStore *s, const char *key);
/* The same bytes as dhc_store_get gives, from the folder alone: no copy is kept, no miss counted or said. */
bool dhc_store_peek(DhcStore *s, const char *key, DhcStoreBytes *out);
/* Keeps a copy in memory and, if the store has a folder, on disk. needs: CPU
 * features without which the bytes must not be run ("" or NULL: none). Failure
 * to write to disk is a warning (one a store), not an error; false only for a
 * bad key or no memory. Last put wins; equal keys mean equal bytes. */
bool dhc_store_put(DhcStore *s, const char *key, const char *needs, const void *bytes,
                   size_t n_bytes);

/* Past the memory, for what is read once and then held otherwise (images): into the folder, and from it with the warnings
 * of dhc_store_get. Without a folder nothing is kept and nothing found. */
void dhc_store_save(DhcStore *s, const char *key, const void *bytes, size_t n_bytes);
bool dhc_store_load(DhcStore *s, const char *key, DhcStoreBytes *out);
/* Out of the folder, if it is there; memory keeps what it has. */
void dhc_store_drop(DhcStore *s, const char *key);

typedef struct DhcStoreStats {
  int64_t n_memory_hits, n_disk_hits, n_misses, n_puts;
} DhcStoreStats;
DhcStoreStats dhc_store_stats(DhcStore *s);

/* ---- the folder as a whole ---------------------------------------------- */

typedef struct DhcStoreEntry {
  char key[65];
  int64_t file_bytes;
  int64_t modified_s; /* seconds since 1970: last written or used */
  bool ok;            /* dhc_store_verify only: whole and undamaged */
} DhcStoreEntry;
typedef struct DhcStoreList {
  DhcStoreEntry *entries; /* by key */
  int64_t n_entries, total_bytes;
} DhcStoreList;
/* Entries on disk. */
dhc_status dhc_store_list(DhcStore *s, DhcStoreList *out) DHC_MUST_USE;
/* The same with every file read and checked; damaged ones are removed if asked. */
dhc_status dhc_store_verify(DhcStore *s, bool remove_damaged, DhcStoreList *out) DHC_MUST_USE;
void dhc_store_list_free(DhcStoreList *list);
/* Removes the entries used longest ago until at most max_bytes are left (0: all)
 * and temporaries of dead writers. */
dhc_status dhc_store_prune(DhcStore *s, int64_t max_bytes, int64_t *n_removed,
                           int64_t *bytes_removed) DHC_MUST_USE;

#endif
