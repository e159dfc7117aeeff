#include "ir/guard.h"

#include <stdio.h>

#include "ir/diag.h"

/* The one thing of its kind: a thread's innermost guard, NULL outside every door. The model
 * makes it part of the thread's block, which is there before the thread runs: the general one
 * asks for memory at first use and ends the process where there is none. */
static _Thread_local __attribute__((tls_model("initial-exec"))) DhcGuard *innermost;

void dhc_guard_enter(DhcGuard *g) {
  g->outer = innermost;
  g->held = NULL;
  g->bytes = 0;
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
  longjmp(g->at, 1);
}

dhc_status dhc_guard_status(const DhcGuard *g) {
  dhc_status s = {.code = DHC_E_ENVIRONMENT};
  snprintf(s.message, sizeof s.message, "out of memory (%zu bytes)", g->bytes);
  return s;
}
