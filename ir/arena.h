/* Region memory and growable arrays. Three lifetimes use it: session (sources,
 * interned strings, AST), module (IR), scratch (one pass). Pointers may only go
 * from shorter- to longer-lived regions; nothing in a region is freed singly.
 * When the system is out of memory the call under way is unwound (ir/guard.h). */
#ifndef DHC_IR_ARENA_H
#define DHC_IR_ARENA_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "ir/guard.h"

typedef struct DhcArena {
  struct DhcArenaBlock *head;
  size_t used_bytes; /* in all blocks; for reports */
  DhcHeld held;      /* from init to fini, while a guard is there */
} DhcArena;

/* Blocks of regions that have ended, kept for others, some dozens of megabytes at most: of a session, to which guards point
 * (dhc_guard_use). NULL, too, where there is no memory for it: nothing is kept then. */
typedef struct DhcBlocks DhcBlocks;
DhcBlocks *dhc_blocks_new(void);
void dhc_blocks_free(DhcBlocks *kept); /* no guard of any thread points to them any more */

void dhc_arena_init(DhcArena *a); /* must stay where it is until fini: guards point to it */
void dhc_arena_fini(DhcArena *a);
void dhc_arena_reset(DhcArena *a); /* keeps one block */
/* Zeroed, 16-byte aligned; never NULL. */
void *dhc_arena_alloc(DhcArena *a, size_t bytes);
void *dhc_arena_dup(DhcArena *a, const void *p, size_t bytes);
char *dhc_arena_strdup(DhcArena *a, const char *s);
char *dhc_arena_strndup(DhcArena *a, const char *s, size_t n);
char *dhc_arena_printf(DhcArena *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
char *dhc_arena_vprintf(DhcArena *a, const char *fmt, va_list ap);

#define DHC_NEW(arena, T) ((T *)dhc_arena_alloc((arena), sizeof(T)))
#define DHC_NEW_N(arena, T, n) ((T *)dhc_arena_alloc((arena), sizeof(T) * (size_t)(n)))

/* Growable array in a region: struct { T *at; int n, cap; }. Growth copies; the
 * old storage stays valid (and stale) until the region ends. */
#define DHC_VEC(T) \
  struct {         \
    T *at;         \
    int n, cap;    \
  }
void *dhc_vec_grow(DhcArena *a, void *at, int n, int *cap, size_t elem_bytes);
#define DHC_PUSH(arena, v, x)                                                                   \
  ((v)->n == (v)->cap                                                                           \
       ? (void)((v)->at = dhc_vec_grow((arena), (v)->at, (v)->n, &(v)->cap, sizeof *(v)->at)) \
       : (void)0,                                                                               \
   (v)->at[(v)->n++] = (x))

/* Growable text in a region; always NUL-terminated once touched. */
typedef struct DhcText {
  DhcArena *arena;
  char *at;
  int n, cap;
} DhcText;
void dhc_text_printf(DhcText *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void dhc_text_puts(DhcText *t, const char *s);
void dhc_text_int(DhcText *t, int64_t v); /* decimal */
const char *dhc_text_str(DhcText *t); /* "" if untouched */

/* Interned strings: equal text, equal pointer, for the table's lifetime; and equal to the lender's, for what that had
 * before this table did. */
typedef struct DhcStrings {
  DhcArena *arena;
  const struct DhcStrings *lender; /* outlives this one; or NULL */
  const char **slot;
  int n, cap;
} DhcStrings;
const char *dhc_intern(DhcStrings *s, const char *text);
const char *dhc_intern_n(DhcStrings *s, const char *text, size_t n);

#endif
