/* Protected calls: how running out of memory becomes a status.
 *
 * Regions (ir/arena.h) never return NULL. A request that cannot be met unwinds to the
 * innermost guard of its thread, as an error in a Lua script unwinds to its pcall: what the
 * call held is dropped, newest first, and the guard's owner returns a status. Doors of the
 * library (api/) and bodies of its worker threads have guards; nothing else needs to look.
 *
 *   dhc_status dhc_thing_do(...) { DHC_GUARDED(thing_do(...)); }
 *
 * What lies outside regions must be owned when regions are asked for something:
 *   - by a handle that is closed anyway (session, program, a file of the caller's), or
 *   - by a DhcHeld of the frame: dhc_hold(&h, fclose_it, f) ... dhc_release(&h).
 * A region holds itself from dhc_arena_init to dhc_arena_fini. A thread that holds a lock,
 * and frames of foreign code (LLVM's, a callback's) between a guard and a request, are not
 * unwound: no region is asked for anything while a lock is held, and what others call back
 * has a guard of its own. Structures stay whole because a request comes before the first
 * change that needs it; a module that was being built is given up. */
#ifndef DHC_IR_GUARD_H
#define DHC_IR_GUARD_H

#include <locale.h>
#include <setjmp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dhc/status.h"

/* Something to drop should the call not come to its end. Lies in the frame, or the thing, that
 * owns it. drop must ask no region for memory. */
typedef struct DhcHeld {
  struct DhcHeld *older, *newer;
  struct DhcGuard *guard; /* NULL: not held */
  void (*drop)(void *what);
  void *what;
} DhcHeld;

typedef struct DhcGuard {
  struct DhcGuard *outer;
  DhcHeld *held; /* newest */
  size_t bytes;  /* that could not be had */
  int64_t room;  /* bytes of large blocks that regions may still take; see dhc_guard_room */
  bool refused;  /* there was memory, but no room */
  struct DhcBlocks *blocks; /* where regions take blocks from and give them to; NULL: the system; see dhc_guard_use */
  locale_t locale; /* of the thread before: a call reads and writes numbers as in "C" */
  jmp_buf at;
} DhcGuard;

void dhc_guard_enter(DhcGuard *g); /* innermost of this thread from here to dhc_guard_leave */
void dhc_guard_leave(DhcGuard *g); /* what is still held belongs to its handle from now on */
/* Blocks of DHC_GUARD_LARGE bytes and more may be this much in all; a guard begins with what the
 * one around it has. Tensors are such blocks; the compiler's structures hardly. */
enum { DHC_GUARD_LARGE = 1 << 20 };
void dhc_guard_room(DhcGuard *g, int64_t bytes);
/* Kept blocks (ir/arena.h) for what this thread's innermost guard protects, and for the guards inside it. */
void dhc_guard_use(struct DhcBlocks *blocks);
struct DhcBlocks *dhc_guard_blocks(void); /* NULL: none, or no guard */
/* A region takes a block (unwinds where there is no room) or gives one back. */
void dhc_guard_take(size_t bytes);
void dhc_guard_give(size_t bytes);
/* DHC_E_ENVIRONMENT, "out of memory (N bytes)"; DHC_E_INPUT where a limit forbids them. */
dhc_status dhc_guard_status(const DhcGuard *g);

/* Without a guard it holds nothing: there is nowhere to unwind to. */
void dhc_hold(DhcHeld *h, void (*drop)(void *what), void *what);
void dhc_release(DhcHeld *h); /* no longer; does not drop. Twice is as good as once */

/* Unwinds. A fault of ours (DHC_BUG) where the thread has no guard. */
_Noreturn void dhc_out_of_memory(size_t bytes);

/* The body of a door: returns what `call` returns, or that there was no memory for it. */
#define DHC_GUARDED(call)                                        \
  do {                                                           \
    DhcGuard guard_;                                             \
    dhc_guard_enter(&guard_);                                    \
    if (setjmp(guard_.at)) return dhc_guard_status(&guard_);     \
    dhc_status guarded_ = (call);                                \
    dhc_guard_leave(&guard_);                                    \
    return guarded_;                                             \
  } while (0)

#endif
