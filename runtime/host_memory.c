#include "runtime/host_memory.h"

#include <stdlib.h>
#include <sys/mman.h>

enum { HUGE_PAGE = 2 << 20 };

/* Rounded up by at most a quarter: a program a little larger than the last one fits in what that left. Pages
 * that nothing touches take no memory. 0: too large. */
static int64_t room_for(int64_t bytes) {
  int64_t step = HUGE_PAGE;
  while (step < bytes / 8) step *= 2;
  return bytes > INT64_MAX - step - HUGE_PAGE ? 0 : (bytes + step - 1) / step * step;
}

static DhcHostBlock *map_block(int64_t bytes) {
  int64_t room = room_for(bytes);
  DhcHostBlock *b = room ? calloc(1, sizeof *b) : NULL;
  if (!b) return NULL;
  /* aligned by cutting off what lies before and behind */
  char *all = mmap(NULL, (size_t)room + HUGE_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (all == MAP_FAILED) {
    free(b);
    return NULL;
  }
  size_t before = (HUGE_PAGE - (uintptr_t)all % HUGE_PAGE) % HUGE_PAGE;
  if (before) munmap(all, before);
  if (before < HUGE_PAGE) munmap(all + before + room, HUGE_PAGE - before);
  *b = (DhcHostBlock){.at = all + before, .room = room};
  return b;
}

void *dhc_host_take(DhcHostMemory *m, int64_t bytes, bool *zero) {
  DhcHostBlock *best = NULL;
  for (DhcHostBlock *b = m->blocks; b; b = b->next)
    if (!b->used && b->room >= bytes && b->room / 2 <= bytes && (!best || b->room < best->room)) best = b;
  *zero = !best;
  if (!best) {
    dhc_host_drop(m);
    best = map_block(bytes);
    if (!best) return NULL;
    best->next = m->blocks;
    m->blocks = best;
  }
  best->used = true;
  return best->at;
}

bool dhc_host_give(DhcHostMemory *m, void *at) {
  for (DhcHostBlock *b = m->blocks; b; b = b->next)
    if (b->at == at) {
      b->used = false;
      b->met = true;
      return true;
    }
  return false;
}

bool dhc_host_is_new(DhcHostMemory *m, const void *at) {
  for (DhcHostBlock *b = m->blocks; b; b = b->next)
    if (b->at == at && !b->met) {
      b->met = true;
      return true;
    }
  return false;
}

int64_t dhc_host_kept(const DhcHostMemory *m) {
  int64_t bytes = 0;
  for (const DhcHostBlock *b = m->blocks; b; b = b->next)
    if (!b->used) bytes += b->room;
  return bytes;
}

void dhc_host_drop(DhcHostMemory *m) {
  for (DhcHostBlock **link = &m->blocks; *link;) {
    DhcHostBlock *b = *link;
    if (b->used) {
      link = &b->next;
      continue;
    }
    *link = b->next;
    munmap(b->at, (size_t)b->room);
    free(b);
  }
}
