/* Regions: a list of blocks, the newest first; a request is served from the newest
 * block or opens another. Growing text and arrays live on top of them. */
#include "ir/arena.h"

#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

/* A stress build makes every second allocation open a block, so that a pointer
 * kept too long is seen at once by the sanitizers. */
#ifdef DHC_STRESS
enum { FIRST_BLOCK = 64, LARGEST_BLOCK = 64 };
#else
enum { FIRST_BLOCK = 16 << 10, LARGEST_BLOCK = 1 << 20 };
#endif
enum { ALIGN = 16 };

struct DhcArenaBlock {
  struct DhcArenaBlock *older;
  size_t used, size; /* of data[]; bytes from `used` on are zero */
  _Alignas(ALIGN) unsigned char data[];
};

/* ---- blocks given back ---------------------------------------------------------------
 * Compiling fills and drops dozens of regions; their blocks are kept, by size, for those that come next, whose pages
 * are there then: given to the heap, they would go back to the system and be made anew. Not where every use of a dead
 * block is to be seen. */

#if defined(DHC_STRESS) || defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { KEEP_BYTES = 0 };
#else
enum { KEEP_BYTES = 96 << 20 }; /* at most so many */
#endif
enum { N_SIZES = 8 };

struct DhcBlocks {
  pthread_mutex_t lock; /* worker threads share what the call that they work for has */
  struct DhcArenaBlock *first[N_SIZES]; /* of FIRST_BLOCK << i bytes */
  size_t bytes;
};

DhcBlocks *dhc_blocks_new(void) {
  DhcBlocks *kept = calloc(1, sizeof *kept);
  if (kept) pthread_mutex_init(&kept->lock, NULL);
  return kept;
}

/* Zeroed. The pages of a large block are made in one call, not by a fault each. */
static struct DhcArenaBlock *new_block(size_t size) {
  struct DhcArenaBlock *b;
  if (!KEEP_BYTES || size != LARGEST_BLOCK) return calloc(1, sizeof *b + size);
  b = mmap(NULL, sizeof *b + size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
  return (void *)b == MAP_FAILED ? NULL : b;
}

static void drop_block(struct DhcArenaBlock *b) {
  if (!KEEP_BYTES || b->size != LARGEST_BLOCK) free(b);
  else munmap(b, sizeof *b + b->size);
}

/* -1: made for one request. */
static int size_number(size_t size) {
  for (int i = 0; i < N_SIZES; i++)
    if (size == (size_t)FIRST_BLOCK << i) return size > LARGEST_BLOCK ? -1 : i;
  return -1;
}

static bool keep_block(DhcBlocks *kept, struct DhcArenaBlock *b) {
  int i = size_number(b->size);
  if (!kept || i < 0) return false;
  pthread_mutex_lock(&kept->lock);
  bool room = kept->bytes + b->size <= KEEP_BYTES;
  if (room) {
    b->older = kept->first[i];
    kept->first[i] = b;
    kept->bytes += b->size;
  }
  pthread_mutex_unlock(&kept->lock);
  return room;
}

static struct DhcArenaBlock *kept_block(DhcBlocks *kept, size_t size) {
  int i = size_number(size);
  if (!kept || i < 0) return NULL;
  pthread_mutex_lock(&kept->lock);
  struct DhcArenaBlock *b = kept->first[i];
  if (b) {
    kept->first[i] = b->older;
    kept->bytes -= size;
  }
  pthread_mutex_unlock(&kept->lock);
  if (!b) return NULL;
  memset(b->data, 0, b->used);
  b->used = 0;
  return b;
}

void dhc_blocks_free(DhcBlocks *kept) {
  if (!kept) return;
  for (int i = 0; i < N_SIZES; i++)
    for (struct DhcArenaBlock *b = kept->first[i], *older; b; b = older) {
      older = b->older;
      drop_block(b);
    }
  pthread_mutex_destroy(&kept->lock);
  free(kept);
}

static void free_block(struct DhcArenaBlock *b) {
  dhc_guard_give(b->size);
  if (!keep_block(dhc_guard_blocks(), b)) drop_block(b);
}

static void drop(void *what) { dhc_arena_fini(what); }

void dhc_arena_init(DhcArena *a) {
  *a = (DhcArena){0};
  dhc_hold(&a->held, drop, a);
}

void dhc_arena_fini(DhcArena *a) {
  dhc_release(&a->held);
  for (struct DhcArenaBlock *b = a->head, *older; b; b = older) {
    older = b->older;
    free_block(b);
  }
  a->head = NULL;
  a->used_bytes = 0;
}

void dhc_arena_reset(DhcArena *a) {
  struct DhcArenaBlock *keep = a->head;
  if (!keep) return;
  for (struct DhcArenaBlock *b = keep->older, *older; b; b = older) {
    older = b->older;
    free_block(b);
  }
  keep->older = NULL;
  memset(keep->data, 0, keep->used);
  keep->used = 0;
  a->used_bytes = 0;
}

static struct DhcArenaBlock *open_block(DhcArena *a, size_t bytes) {
  size_t size = FIRST_BLOCK;
  if (a->head && a->head->size < LARGEST_BLOCK) size = a->head->size * 2;
  if (a->head && a->head->size >= LARGEST_BLOCK) size = LARGEST_BLOCK;
  if (size > LARGEST_BLOCK) size = LARGEST_BLOCK;
  if (size < bytes) size = bytes;
  dhc_guard_take(size);
  struct DhcArenaBlock *b = kept_block(dhc_guard_blocks(), size);
  if (!b) b = new_block(size);
  if (!b) {
    dhc_guard_give(size);
    return NULL;
  }
  b->size = size;
  b->older = a->head;
  a->head = b;
  return b;
}

void *dhc_arena_alloc(DhcArena *a, size_t bytes) {
  if (bytes > SIZE_MAX / 4) dhc_out_of_memory(bytes);
  bytes = (bytes + ALIGN - 1) / ALIGN * ALIGN;
  if (bytes == 0) bytes = ALIGN;
  struct DhcArenaBlock *b = a->head;
  if (!b || b->size - b->used < bytes) b = open_block(a, bytes);
  if (!b) dhc_out_of_memory(bytes);
  void *p = b->data + b->used;
  b->used += bytes;
  a->used_bytes += bytes;
  return p;
}

void *dhc_arena_dup(DhcArena *a, const void *p, size_t bytes) {
  void *q = dhc_arena_alloc(a, bytes);
  if (bytes) memcpy(q, p, bytes);
  return q;
}

char *dhc_arena_strndup(DhcArena *a, const char *s, size_t n) {
  char *q = dhc_arena_alloc(a, n + 1);
  if (n) memcpy(q, s, n);
  return q;
}

char *dhc_arena_strdup(DhcArena *a, const char *s) { return dhc_arena_strndup(a, s, strlen(s)); }

char *dhc_arena_vprintf(DhcArena *a, const char *fmt, va_list ap) {
  va_list again;
  va_copy(again, ap);
  char most[160];
  int n = vsnprintf(most, sizeof most, fmt, ap);
  char *q = n < 0 ? NULL : dhc_arena_alloc(a, (size_t)n + 1);
  if (n >= 0 && n < (int)sizeof most)
    memcpy(q, most, (size_t)n);
  else if (!q || vsnprintf(q, (size_t)n + 1, fmt, again) != n)
    dhc_out_of_memory(0); /* wide fields take some */
  va_end(again);
  return q;
}

char *dhc_arena_printf(DhcArena *a, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  char *q = dhc_arena_vprintf(a, fmt, ap);
  va_end(ap);
  return q;
}

/* ---- growing ------------------------------------------------------------------ */

void *dhc_vec_grow(DhcArena *a, void *at, int n, int *cap, size_t elem_bytes) {
#ifdef DHC_STRESS
  int more = 1;
#else
  int more = *cap < 8 ? 8 - *cap : *cap;
#endif
  if (*cap > INT_MAX - more) dhc_out_of_memory(SIZE_MAX);
  void *q = dhc_arena_alloc(a, elem_bytes * (size_t)(*cap + more));
  if (n) memcpy(q, at, elem_bytes * (size_t)n);
  *cap += more;
  return q;
}

/* Room for `more` bytes and the terminator. */
static void text_reserve(DhcText *t, size_t more) {
  size_t need = (size_t)t->n + more + 1;
  if (need > INT_MAX / 2) dhc_out_of_memory(need);
  if (need <= (size_t)t->cap) return;
  size_t cap = t->cap ? (size_t)t->cap * 2 : 64;
  while (cap < need) cap *= 2;
  char *q = dhc_arena_alloc(t->arena, cap);
  if (t->n) memcpy(q, t->at, (size_t)t->n);
  t->at = q;
  t->cap = (int)cap;
}

void dhc_text_printf(DhcText *t, const char *fmt, ...) {
  va_list ap, again;
  va_start(ap, fmt);
  va_copy(again, ap);
  text_reserve(t, 0);
  int room = t->cap - t->n, n = vsnprintf(t->at + t->n, (size_t)room, fmt, ap);
  va_end(ap);
  if (n < 0) dhc_out_of_memory(0);
  if (n >= room) {
    text_reserve(t, (size_t)n);
    if (vsnprintf(t->at + t->n, (size_t)n + 1, fmt, again) != n) dhc_out_of_memory(0);
  }
  t->n += n;
  va_end(again);
}

void dhc_text_int(DhcText *t, int64_t v) {
  char digits[24], *at = digits + sizeof digits;
  uint64_t u = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;
  *--at = '\0';
  do *--at = (char)('0' + u % 10);
  while (u /= 10);
  if (v < 0) *--at = '-';
  dhc_text_puts(t, at);
}

void dhc_text_puts(DhcText *t, const char *s) {
  size_t n = strlen(s);
  text_reserve(t, n);
  memcpy(t->at + t->n, s, n + 1);
  t->n += (int)n;
}

const char *dhc_text_str(DhcText *t) { return t->at ? t->at : ""; }

/* ---- interned strings ---------------------------------------------------------- */

static size_t hash_bytes(const char *s, size_t n) {
  uint64_t h = 14695981039346656037u; /* FNV-1a */
  for (size_t i = 0; i < n; i++) h = (h ^ (unsigned char)s[i]) * 1099511628211u;
  return (size_t)(h ^ h >> 32);
}

static void strings_rehash(DhcStrings *s) {
  const char **old = s->slot;
  int n_old = s->cap, cap = n_old ? n_old * 2 : 64;
  s->slot = DHC_NEW_N(s->arena, const char *, cap);
  s->cap = cap;
  for (int i = 0; i < n_old; i++) {
    if (!old[i]) continue;
    size_t mask = (size_t)s->cap - 1, k = hash_bytes(old[i], strlen(old[i])) & mask;
    while (s->slot[k]) k = (k + 1) & mask;
    s->slot[k] = old[i];
  }
}

/* Where the text stands in the table, or would; the table is not empty. */
static size_t strings_find(const DhcStrings *s, size_t hash, const char *text, size_t n) {
  size_t mask = (size_t)s->cap - 1, k = hash & mask;
  while (s->slot[k] && (strncmp(s->slot[k], text, n) || s->slot[k][n])) k = (k + 1) & mask;
  return k;
}

/* Its own strings come first: what the lender has got since is not its. */
const char *dhc_intern_n(DhcStrings *s, const char *text, size_t n) {
  n = strnlen(text, n); /* a string ends at its first NUL */
  if (s->n * 2 >= s->cap) strings_rehash(s);
  size_t hash = hash_bytes(text, n), k = strings_find(s, hash, text, n);
  if (s->slot[k]) return s->slot[k];
  const DhcStrings *l = s->lender;
  const char *known = l && l->n ? l->slot[strings_find(l, hash, text, n)] : NULL;
  s->n++;
  return s->slot[k] = known ? known : dhc_arena_strndup(s->arena, text, n);
}

const char *dhc_intern(DhcStrings *s, const char *text) {
  return dhc_intern_n(s, text, strlen(text));
}
