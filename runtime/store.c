#include "runtime/store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/io.h"
#include "runtime/sha256.h"
#include "runtime/store_internal.h"
#include "runtime/tensor.h"

/* ---- opening ----------------------------------------------------------------------- */

dhc_status dhc_store_open(const DhcStoreOptions *options, DhcStore **out) {
  DhcStore *s = calloc(1, sizeof *s);
  if (s == NULL) {
    return dhc_status_memory((long long)sizeof *s, "the kernel store");
  }
  s->dir_fd = -1;
  s->warn = options->warn;
  pthread_mutex_init(&s->lock, NULL);
  if (options->features != NULL && (s->features = strdup(options->features)) == NULL) {
    dhc_store_close(s);
    return dhc_status_memory((long long)strlen(options->features), "the kernel store");
  }
  dhc_status status = options->memory_only ? dhc_status_ok() : dhc_store_disk_open(s, options->dir);
  if (status.code != DHC_OK) {
    dhc_store_close(s);
    return status;
  }
  *out = s;
  return status;
}

void dhc_store_close(DhcStore *s) {
  if (s == NULL) {
    return;
  }
  for (size_t i = 0; i < s->n_slots; i++) {
    dhc_aligned_free(s->slots[i].bytes);
  }
  if (s->dir_fd >= 0) {
    close(s->dir_fd);
  }
  pthread_mutex_destroy(&s->lock);
  free(s->slots);
  free(s->path);
  free(s->features);
  free(s);
}

const char *dhc_store_path(const DhcStore *s) {
  return s->path;
}

void dhc_store_bytes_free(DhcStoreBytes *b) {
  dhc_aligned_free(b->bytes);
  *b = (DhcStoreBytes){.bytes = NULL, .n_bytes = 0};
}

/* ---- memory ------------------------------------------------------------------------ */

static uint8_t *copy_of(const void *bytes, size_t n) {
  uint8_t *copy = n <= INT64_MAX ? dhc_aligned_alloc((int64_t)n) : NULL;
  if (copy != NULL && n > 0) {
    memcpy(copy, bytes, n);
  }
  return copy;
}

/* Keys are uniform, so their first 16 digits are the hash. */
static size_t slot_of(const StoreSlot *slots, size_t n_slots, const char *key) {
  uint64_t hash = 0;
  for (int i = 0; i < 16; i++) {
    hash = hash << 4 | (uint64_t)(key[i] <= '9' ? key[i] - '0' : key[i] - 'a' + 10);
  }
  size_t at = (size_t)hash & (n_slots - 1);
  while (slots[at].key[0] != '\0' && strcmp(slots[at].key, key) != 0) {
    at = (at + 1) & (n_slots - 1);
  }
  return at;
}

static bool grow(DhcStore *s) {
  size_t n = s->n_slots == 0 ? 64 : s->n_slots * 2;
  StoreSlot *slots = calloc(n, sizeof *slots);
  if (slots == NULL) {
    return false;
  }
  for (size_t i = 0; i < s->n_slots; i++) {
    if (s->slots[i].key[0] != '\0') {
      slots[slot_of(slots, n, s->slots[i].key)] = s->slots[i];
    }
  }
  free(s->slots);
  s->slots = slots;
  s->n_slots = n;
  return true;
}

/* Takes over bytes on success. Call with the lock held. */
static bool remember(DhcStore *s, const char *key, uint8_t *bytes, size_t n) {
  if (s->n_used * 2 >= s->n_slots && !grow(s)) {
    return false;
  }
  StoreSlot *slot = &s->slots[slot_of(s->slots, s->n_slots, key)];
  if (slot->key[0] == '\0') {
    memcpy(slot->key, key, sizeof slot->key);
    s->n_used++;
  }
  dhc_aligned_free(slot->bytes);
  slot->bytes = bytes;
  slot->n_bytes = n;
  return true;
}

/* ---- get and put ------------------------------------------------------------------- */

static void report(const DhcStore *s, const char *key, EntryState state, const char *missing) {
  if (state == ENTRY_DAMAGED) {
    dhc_warn(&s->warn, DHC_WARN_WARNING, "cache entry %.8s is damaged, rebuilt", key);
  } else if (state == ENTRY_FOREIGN) {
    dhc_warn(&s->warn, DHC_WARN_WARNING, "cache entry %.8s is not private, rebuilt", key);
  } else if (state == ENTRY_UNFIT) {
    dhc_warn(&s->warn, DHC_WARN_NOTE, "cache entry %.8s needs %s, rebuilt", key, missing);
  }
}

bool dhc_store_get(DhcStore *s, const char *key, DhcStoreBytes *out) {
  char missing[64] = "";
  if (!dhc_sha256_is_hex(key)) {
    return false;
  }
  pthread_mutex_lock(&s->lock);
  if (s->n_slots > 0) {
    const StoreSlot *slot = &s->slots[slot_of(s->slots, s->n_slots, key)];
    uint8_t *copy = slot->key[0] != '\0' ? copy_of(slot->bytes, slot->n_bytes) : NULL;
    if (copy != NULL) {
      *out = (DhcStoreBytes){.bytes = copy, .n_bytes = slot->n_bytes};
      s->stats.n_memory_hits++;
      pthread_mutex_unlock(&s->lock);
      return true;
    }
  }
  pthread_mutex_unlock(&s->lock);
  DhcStoreBytes found = {.bytes = NULL, .n_bytes = 0};
  EntryState state =
      s->dir_fd >= 0 ? dhc_store_disk_read(s, key, &found, missing) : ENTRY_ABSENT;
  uint8_t *kept = state == ENTRY_OK ? copy_of(found.bytes, found.n_bytes) : NULL;
  pthread_mutex_lock(&s->lock);
  if (state == ENTRY_OK) {
    s->stats.n_disk_hits++;
  } else {
    s->stats.n_misses++;
  }
  if (kept != NULL && remember(s, key, kept, found.n_bytes)) {
    kept = NULL;
  }
  pthread_mutex_unlock(&s->lock);
  dhc_aligned_free(kept);
  report(s, key, state, missing);
  if (state == ENTRY_OK) {
    *out = found;
  }
  return state == ENTRY_OK;
}

bool dhc_store_has(DhcStore *s, const char *key) {
  if (!dhc_sha256_is_hex(key)) {
    return false;
  }
  pthread_mutex_lock(&s->lock);
  bool found = s->n_slots > 0 && s->slots[slot_of(s->slots, s->n_slots, key)].key[0] != '\0';
  pthread_mutex_unlock(&s->lock);
  return found || (s->dir_fd >= 0 && faccessat(s->dir_fd, key, R_OK, 0) == 0);
}

bool dhc_store_peek(DhcStore *s, const char *key, DhcStoreBytes *out) {
  char missing[64] = "";
  *out = (DhcStoreBytes){.bytes = NULL, .n_bytes = 0};
  return dhc_sha256_is_hex(key) && s->dir_fd >= 0 && dhc_store_disk_read(s, key, out, missing) == ENTRY_OK;
}

bool dhc_store_load(DhcStore *s, const char *key, DhcStoreBytes *out) {
  char missing[64] = "";
  *out = (DhcStoreBytes){.bytes = NULL, .n_bytes = 0};
  if (!dhc_sha256_is_hex(key) || s->dir_fd < 0) {
    return false;
  }
  EntryState state = dhc_store_disk_read(s, key, out, missing);
  report(s, key, state, missing);
  return state == ENTRY_OK;
}

/* Failure is a warning, one a store. */
static void write_entry(DhcStore *s, const char *key, const char *needs, const void *bytes, size_t n_bytes) {
  dhc_status status = dhc_store_disk_write(s, key, needs, bytes, n_bytes);
  if (status.code == DHC_OK) {
    return;
  }
  pthread_mutex_lock(&s->lock);
  bool first = !s->write_warned;
  s->write_warned = true;
  pthread_mutex_unlock(&s->lock);
  if (first) {
    dhc_warn(&s->warn, DHC_WARN_WARNING, "cannot write to the cache: %s", status.message);
  }
}

void dhc_store_save(DhcStore *s, const char *key, const void *bytes, size_t n_bytes) {
  if (dhc_sha256_is_hex(key) && s->dir_fd >= 0) {
    write_entry(s, key, "", bytes, n_bytes);
  }
}

void dhc_store_drop(DhcStore *s, const char *key) {
  if (dhc_sha256_is_hex(key) && s->dir_fd >= 0) {
    (void)unlinkat(s->dir_fd, key, 0);
  }
}

bool dhc_store_put(DhcStore *s, const char *key, const char *needs, const void *bytes,
                   size_t n_bytes) {
  uint8_t *copy = dhc_sha256_is_hex(key) ? copy_of(bytes, n_bytes) : NULL;
  if (copy == NULL) {
    return false;
  }
  pthread_mutex_lock(&s->lock);
  bool kept = remember(s, key, copy, n_bytes);
  s->stats.n_puts++;
  pthread_mutex_unlock(&s->lock);
  if (!kept) {
    dhc_aligned_free(copy);
    return false;
  }
  if (s->dir_fd >= 0) {
    write_entry(s, key, needs != NULL ? needs : "", bytes, n_bytes);
  }
  return true;
}

DhcStoreStats dhc_store_stats(DhcStore *s) {
  pthread_mutex_lock(&s->lock);
  DhcStoreStats stats = s->stats;
  pthread_mutex_unlock(&s->lock);
  return stats;
}

/* ---- the folder as a whole ------------------------------------------------------------ */

static int compare_keys(const void *a, const void *b) {
  return strcmp(((const DhcStoreEntry *)a)->key, ((const DhcStoreEntry *)b)->key);
}

static int compare_age(const void *a, const void *b) {
  const DhcStoreEntry *x = a, *y = b;
  if (x->modified_s != y->modified_s) {
    return x->modified_s < y->modified_s ? -1 : 1;
  }
  return strcmp(x->key, y->key);
}

static dhc_status add_entry(DhcStoreList *list, int64_t *cap, const char *name,
                            const struct stat *st) {
  if (list->n_entries == *cap) {
    int64_t wanted = *cap == 0 ? 64 : *cap * 2;
    DhcStoreEntry *grown = realloc(list->entries, (size_t)wanted * sizeof *grown);
    if (grown == NULL) {
      return dhc_status_memory(wanted * (long long)sizeof *grown, "a list of entries");
    }
    list->entries = grown;
    *cap = wanted;
  }
  DhcStoreEntry *e = &list->entries[list->n_entries++];
  memcpy(e->key, name, sizeof e->key);
  e->file_bytes = (int64_t)st->st_size;
  e->modified_s = (int64_t)st->st_mtime;
  e->ok = true;
  list->total_bytes += e->file_bytes;
  return dhc_status_ok();
}

dhc_status dhc_store_list(DhcStore *s, DhcStoreList *out) {
  DhcStoreList list = {.entries = NULL, .n_entries = 0, .total_bytes = 0};
  int64_t cap = 0;
  dhc_status status = dhc_status_ok();
  int fd = s->dir_fd >= 0 ? openat(s->dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
  DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
  if (dir == NULL && s->dir_fd >= 0) {
    status = dhc_status_errno(errno, "cache folder %s", s->path);
    if (fd >= 0) {
      close(fd);
    }
    return status;
  }
  for (struct dirent *e; dir != NULL && status.code == DHC_OK && (e = readdir(dir)) != NULL;) {
    struct stat st;
    if (dhc_sha256_is_hex(e->d_name) &&
        fstatat(s->dir_fd, e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0) {
      status = add_entry(&list, &cap, e->d_name, &st);
    }
  }
  if (dir != NULL) {
    closedir(dir);
  }
  if (status.code != DHC_OK) {
    dhc_store_list_free(&list);
    return status;
  }
  if (list.n_entries > 1) {
    qsort(list.entries, (size_t)list.n_entries, sizeof *list.entries, compare_keys);
  }
  *out = list;
  return status;
}

void dhc_store_list_free(DhcStoreList *list) {
  free(list->entries);
  *list = (DhcStoreList){.entries = NULL, .n_entries = 0, .total_bytes = 0};
}

dhc_status dhc_store_verify(DhcStore *s, bool remove_damaged, DhcStoreList *out) {
  DhcStoreList list;
  DHC_TRY(dhc_store_list(s, &list));
  for (int64_t i = 0; i < list.n_entries; i++) {
    DhcStoreEntry *e = &list.entries[i];
    DhcStoreBytes bytes = {.bytes = NULL, .n_bytes = 0};
    char missing[64];
    EntryState state = dhc_store_disk_read(s, e->key, &bytes, missing);
    /* One for another CPU is whole; one that went away meanwhile is no damage. */
    e->ok = state != ENTRY_DAMAGED && state != ENTRY_FOREIGN;
    if (state == ENTRY_NO_MEMORY) {
      long long file_bytes = (long long)e->file_bytes;
      dhc_store_list_free(&list);
      return dhc_status_memory(file_bytes, "a cache entry");
    }
    if (state == ENTRY_OK) {
      dhc_store_bytes_free(&bytes);
    }
    if (!e->ok && remove_damaged) {
      (void)unlinkat(s->dir_fd, e->key, 0);
    }
  }
  *out = list;
  return dhc_status_ok();
}

dhc_status dhc_store_prune(DhcStore *s, int64_t max_bytes, int64_t *n_removed,
                           int64_t *bytes_removed) {
  DhcStoreList list;
  int64_t n = 0, bytes = 0;
  dhc_status status = dhc_status_ok();
  DHC_TRY(dhc_store_list(s, &list));
  if (s->dir_fd >= 0) {
    (void)dhc_file_sweep_at(s->dir_fd);
  }
  if (list.n_entries > 1) {
    qsort(list.entries, (size_t)list.n_entries, sizeof *list.entries, compare_age);
  }
  for (int64_t i = 0; i < list.n_entries && list.total_bytes - bytes > max_bytes; i++) {
    if (unlinkat(s->dir_fd, list.entries[i].key, 0) == 0) {
      n++;
      bytes += list.entries[i].file_bytes;
    } else if (errno != ENOENT) {
      status = dhc_status_errno(errno, "cache folder %s", s->path);
      break;
    }
  }
  dhc_store_list_free(&list);
  if (n_removed != NULL) {
    *n_removed = n;
  }
  if (bytes_removed != NULL) {
    *bytes_removed = bytes;
  }
  return status;
}
