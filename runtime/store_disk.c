#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "runtime/io.h"
#include "runtime/sha256.h"
#include "runtime/store_internal.h"
#include "runtime/tensor.h"

enum {
  FORMAT_VERSION = 1,
  AT_VERSION = 8,
  AT_NEEDS = 12,
  AT_PAYLOAD = 16,
  AT_KEY = 24,
  AT_DIGEST = 88,
  HEADER_BYTES = 120,
  MAX_NEEDS = 65536,
  TOUCH_AFTER_S = 3600 /* a use is noted in the file's time at most once an hour */
};
static const char magic[8] = {'D', 'H', 'C', 'K', 'S', 'T', 'O', 'R'};
static const int64_t max_file_bytes = (int64_t)1 << 30;

/* ---- the folder ----------------------------------------------------------------- */

/* XDG base directory rules: a relative $XDG_CACHE_HOME is ignored. False: there is none. *out is
 * malloc'd, NULL without memory. */
static bool default_folder(char **out) {
  const char *base = getenv("XDG_CACHE_HOME");
  const char *suffix = "/dhcc";
  if (base == NULL || base[0] != '/') {
    base = getenv("HOME");
    suffix = "/.cache/dhcc";
  }
  if (base == NULL || base[0] != '/') {
    return false;
  }
  size_t room = strlen(base) + strlen(suffix) + 1;
  char *path = malloc(room);
  if (path != NULL) {
    snprintf(path, room, "%s%s", base, suffix);
  }
  *out = path;
  return true;
}

static bool is_private(const struct stat *st) {
  return st->st_uid == geteuid() && (st->st_mode & (S_IWGRP | S_IWOTH)) == 0;
}

/* Parents as usual, the folder itself for us alone. */
static void make_folder(char *path) {
  char *slash = strrchr(path, '/');
  if (slash != NULL && slash != path) {
    *slash = '\0';
    dhc_status ignored = dhc_file_make_folder(path); /* opening the folder will tell */
    (void)ignored;
    *slash = '/';
  }
  (void)mkdir(path, 0700);
}

dhc_status dhc_store_disk_open(DhcStore *s, const char *dir) {
  char *path = dir != NULL ? strdup(dir) : NULL;
  struct stat st;
  if (dir == NULL && !default_folder(&path)) {
    dhc_warn(&s->warn, DHC_WARN_WARNING, "no cache folder (HOME is not set), running without cache");
    return dhc_status_ok();
  }
  if (path == NULL) {
    return dhc_status_memory(0, "a path");
  }
  make_folder(path);
  int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  int err = errno;
  if (fd >= 0 && fstat(fd, &st) == 0 && is_private(&st)) {
    s->dir_fd = fd;
    s->path = path;
    return dhc_status_ok();
  }
  if (fd >= 0 || err == ELOOP || err == ENOTDIR) {
    dhc_warn(&s->warn, DHC_WARN_WARNING, "cache folder is not private, running without cache");
  } else {
    dhc_status why = dhc_status_errno(err, "cache folder %s", path);
    dhc_warn(&s->warn, DHC_WARN_WARNING, "%s, running without cache", why.message);
  }
  if (fd >= 0) {
    close(fd);
  }
  free(path);
  return dhc_status_ok();
}

/* ---- entries --------------------------------------------------------------------- */

static uint64_t load_le(const uint8_t *p, int n_bytes) {
  uint64_t v = 0;
  for (int i = n_bytes - 1; i >= 0; i--) {
    v = v << 8 | p[i];
  }
  return v;
}

static void store_le(uint8_t *p, uint64_t v, int n_bytes) {
  for (int i = 0; i < n_bytes; i++) {
    p[i] = (uint8_t)(v >> (8 * i));
  }
}

static void entry_digest(const uint8_t *header, const void *needs, size_t n_needs,
                         const void *payload, size_t n_payload, uint8_t digest[32]) {
  DhcSha256 h;
  dhc_sha256_init(&h);
  dhc_sha256_update(&h, header, AT_DIGEST);
  dhc_sha256_update(&h, needs, n_needs);
  dhc_sha256_update(&h, payload, n_payload);
  dhc_sha256_final(&h, digest);
}

static bool is_separator(char c) {
  return c == ' ' || c == ',' || c == '\0';
}

static bool has_word(const char *text, const char *word, size_t n) {
  for (const char *p = text; *p != '\0';) {
    const char *end = p;
    while (!is_separator(*end)) {
      end++;
    }
    if ((size_t)(end - p) == n && memcmp(p, word, n) == 0) {
      return true;
    }
    p = *end == '\0' ? end : end + 1;
  }
  return false;
}

/* The first word of needs that features lacks, into missing; false if none. */
static bool lacks(const char *features, const char *needs, size_t n_needs, char missing[64]) {
  for (size_t at = 0; at < n_needs;) {
    size_t end = at;
    while (end < n_needs && !is_separator(needs[end])) {
      end++;
    }
    if (end > at && !has_word(features, needs + at, end - at)) {
      size_t n = end - at < 63 ? end - at : 63;
      memcpy(missing, needs + at, n);
      missing[n] = '\0';
      return true;
    }
    at = end + 1;
  }
  return false;
}

/* The whole file, malloc'd; its size is what fstat said. */
static EntryState read_file(const DhcStore *s, const char *key, uint8_t **out, size_t *n_out) {
  struct stat st;
  int fd = openat(s->dir_fd, key, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0) {
    return errno == ELOOP ? ENTRY_FOREIGN : ENTRY_ABSENT;
  }
  EntryState state = ENTRY_OK;
  uint8_t *bytes = NULL;
  size_t n = 0;
  if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || !is_private(&st)) {
    state = ENTRY_FOREIGN;
  } else if (st.st_size < HEADER_BYTES || st.st_size > max_file_bytes) {
    state = ENTRY_DAMAGED;
  } else if ((bytes = malloc((size_t)st.st_size)) == NULL) {
    state = ENTRY_NO_MEMORY;
  }
  while (state == ENTRY_OK && n < (size_t)st.st_size) {
    ssize_t got = read(fd, bytes + n, (size_t)st.st_size - n);
    if (got > 0) {
      n += (size_t)got;
    } else if (got == 0 || errno != EINTR) {
      state = ENTRY_DAMAGED;
    }
  }
  if (state == ENTRY_OK && time(NULL) - st.st_mtime > TOUCH_AFTER_S) {
    (void)futimens(fd, NULL);
  }
  close(fd);
  if (state != ENTRY_OK) {
    free(bytes);
    return state;
  }
  *out = bytes;
  *n_out = n;
  return ENTRY_OK;
}

/* Everything the header says against the file; the digest last. */
static EntryState check(const DhcStore *s, const char *key, const uint8_t *file, size_t n,
                        size_t *payload_at, char missing[64]) {
  uint8_t digest[32];
  if (memcmp(file, magic, sizeof magic) != 0) {
    return ENTRY_DAMAGED;
  }
  if (load_le(file + AT_VERSION, 4) != FORMAT_VERSION) {
    return ENTRY_VERSION;
  }
  uint64_t n_needs = load_le(file + AT_NEEDS, 4), n_payload = load_le(file + AT_PAYLOAD, 8);
  size_t body = n - HEADER_BYTES;
  if (n_needs > body || n_payload != body - n_needs || memcmp(file + AT_KEY, key, 64) != 0) {
    return ENTRY_DAMAGED;
  }
  const char *needs = (const char *)file + HEADER_BYTES;
  *payload_at = HEADER_BYTES + (size_t)n_needs;
  entry_digest(file, needs, (size_t)n_needs, file + *payload_at, (size_t)n_payload, digest);
  if (memcmp(digest, file + AT_DIGEST, sizeof digest) != 0) {
    return ENTRY_DAMAGED;
  }
  return s->features != NULL && lacks(s->features, needs, (size_t)n_needs, missing) ? ENTRY_UNFIT
                                                                                  : ENTRY_OK;
}

EntryState dhc_store_disk_read(const DhcStore *s, const char *key, DhcStoreBytes *out,
                               char missing[64]) {
  uint8_t *file;
  size_t n, payload_at = 0;
  EntryState state = read_file(s, key, &file, &n);
  if (state != ENTRY_OK) {
    return state;
  }
  state = check(s, key, file, n, &payload_at, missing);
  if (state == ENTRY_OK) {
    uint8_t *bytes = dhc_aligned_alloc((int64_t)(n - payload_at));
    if (bytes == NULL) {
      state = ENTRY_NO_MEMORY;
    } else {
      memcpy(bytes, file + payload_at, n - payload_at);
      *out = (DhcStoreBytes){.bytes = bytes, .n_bytes = n - payload_at};
    }
  }
  free(file);
  return state;
}

dhc_status dhc_store_disk_write(const DhcStore *s, const char *key, const char *needs,
                                const void *bytes, size_t n_bytes) {
  uint8_t header[HEADER_BYTES];
  size_t n_needs = strlen(needs);
  if (n_needs > MAX_NEEDS || n_bytes > (size_t)max_file_bytes - HEADER_BYTES - MAX_NEEDS) {
    return dhc_status_make(DHC_E_USAGE, "cache entry %.8s is too large", key);
  }
  memcpy(header, magic, sizeof magic);
  store_le(header + AT_VERSION, FORMAT_VERSION, 4);
  store_le(header + AT_NEEDS, n_needs, 4);
  store_le(header + AT_PAYLOAD, n_bytes, 8);
  memcpy(header + AT_KEY, key, 64);
  entry_digest(header, needs, n_needs, bytes, n_bytes, header + AT_DIGEST);
  DhcFileWriter w;
  DHC_TRY(dhc_file_begin_at(s->dir_fd, key, s->path, 0600, &w));
  w.fast = true; /* what a crash tears is found by the digest and rebuilt */
  dhc_status status = dhc_file_write(&w, header, sizeof header);
  if (status.code == DHC_OK) {
    status = dhc_file_write(&w, needs, n_needs);
  }
  if (status.code == DHC_OK) {
    status = dhc_file_write(&w, bytes, n_bytes);
  }
  if (status.code != DHC_OK) {
    dhc_file_abort(&w);
    return status;
  }
  return dhc_file_commit(&w);
}
