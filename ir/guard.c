#include "ir/guard.h"

#include <pthread.h>
#include <stdio.h>

#include "ir/bug.h"

/* The one thing of its kind: a thread's innermost guard, NULL outside every door. The model
 * makes it part of the thread's block, which is there before the thread runs: the general one
 * asks for memory at first use and ends the process where there is none. */
static _Thread_local __attribute__((tls_model("initial-exec"))) DhcGuard *innermost;

/* Where there is no memory for it, numbers are read and written as the caller's locale does. */
static locale_t plain;
static void make_plain(void) {
  plain = newlocale(LC_ALL_MASK, "C", (locale_t)0);
}

void dhc_guard_enter(DhcGuard *g) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, make_plain);
  g->locale = innermost || !plain ? (locale_t)0 : uselocale(plain);
  g->outer = innermost;
  g->held = NULL;
  g->bytes = 0;
  g->room = innermost ? innermost->room : INT64_MAX;
  g->refused = false;
  g->blocks = innermost ? innermost->blocks : NULL;
  innermost = g;
}

static void forget(DhcHeld *h) {
  h->older = h->newer = NULL;
  h->guard = NULL;
}

void dhc_guard_leave(DhcGuard *g) {
  for (DhcHeld *h = g->held, *older; h; h = older) {
    older = h->older;
    forget(h);
  }
  g->held = NULL;
  innermost = g->outer;
  if (g->locale) uselocale(g->locale);
}

void dhc_hold(DhcHeld *h, void (*drop)(void *what), void *what) {
  *h = (DhcHeld){.drop = drop, .what = what, .guard = innermost};
  if (!innermost) return;
  h->older = innermost->held;
  if (h->older) h->older->newer = h;
  innermost->held = h;
}

void dhc_release(DhcHeld *h) {
  if (!h->guard) return;
  if (h->newer)
    h->newer->older = h->older;
  else
    h->guard->held = h->older;
  if (h->older) h->older->newer = h->newer;
  forget(h);
}

void dhc_guard_room(DhcGuard *g, int64_t bytes) { g->room = bytes; }

void dhc_guard_use(struct DhcBlocks *blocks) {
  if (innermost) innermost->blocks = blocks;
}

struct DhcBlocks *dhc_guard_blocks(void) { return innermost ? innermost->blocks : NULL; }

void dhc_guard_take(size_t bytes) {
  if (!innermost || bytes < DHC_GUARD_LARGE) return;
  if (bytes > (size_t)INT64_MAX || (int64_t)bytes > innermost->room) {
    innermost->refused = true;
    dhc_out_of_memory(bytes);
  }
  innermost->room -= (int64_t)bytes;
}

void dhc_guard_give(size_t bytes) {
  if (innermost && bytes >= DHC_GUARD_LARGE && innermost->room <= INT64_MAX - (int64_t)bytes)
    innermost->room += (int64_t)bytes;
}

void dhc_out_of_memory(size_t bytes) {
  DhcGuard *g = innermost;
  if (!g) DHC_BUG("out of memory (%zu bytes) outside a protected call", bytes);
  while (g->held) {
    DhcHeld *h = g->held;
    dhc_release(h);
    h->drop(h->what);
  }
  g->bytes = bytes;
  innermost = g->outer;
  if (g->locale) uselocale(g->locale);
  longjmp(g->at, 1);
}

dhc_status dhc_guard_status(const DhcGuard *g) {
  dhc_status s = {.code = g->refused ? DHC_E_INPUT : DHC_E_ENVIRONMENT};
  if (g->refused)
    snprintf(s.message, sizeof s.message, "%.1f MiB more are needed, the limit leaves %.1f MiB (--max-memory)",
             (double)g->bytes / (1 << 20), (double)g->room / (1 << 20));
  else
    snprintf(s.message, sizeof s.message, "out of memory (%zu bytes)", g->bytes);
  return s;
}
