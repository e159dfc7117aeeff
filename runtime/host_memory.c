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

static int64_t total(const DhcHostMemory *m, bool used) {
  int64_t bytes = 0;
  for (const DhcHostBlock *b = m->blocks; b; b = b->next)
    if (b->used == used) bytes += b->room;
  return bytes;
}

static void unmap(DhcHostBlock **link) {
  DhcHostBlock *b = *link;
  *link = b->next;
  munmap(b->at, (size_t)b->room);
  free(b);
}

/* Lets the smallest kept blocks go until a new one of this size fits beside the others. */
static void make_room(DhcHostMemory *m, int64_t bytes) {
  int64_t used = total(m, true) + room_for(bytes), most = used > m->peak ? used : m->peak;
  while (total(m, false) > most - used + most / 8) {
    DhcHostBlock **least = NULL;
    for (DhcHostBlock **link = &m->blocks; *link; link = &(*link)->next)
      if (!(*link)->used && (!least || (*link)->room < (*least)->room)) least = link;
    unmap(least);
  }
}

void *dhc_host_take(DhcHostMemory *m, int64_t bytes, bool *zero) {
  DhcHostBlock *best = NULL;
  for (DhcHostBlock *b = m->blocks; b; b = b->next)
    if (!b->used && b->room >= bytes && b->room / 2 <= bytes && (!best || b->room < best->room)) best = b;
  *zero = !best;
  if (!best) {
    make_room(m, bytes);
    best = map_block(bytes);
    if (!best) {
      dhc_host_drop(m);
      best = map_block(bytes);
    }
    if (!best) return NULL;
    best->next = m->blocks;
    m->blocks = best;
  }
  best->used = true;
  int64_t used = total(m, true);
  if (used > m->peak) m->peak = used;
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
  return total(m, false);
}

void dhc_host_drop(DhcHostMemory *m) {
  for (DhcHostBlock **link = &m->blocks; *link;) {
    if ((*link)->used) link = &(*link)->next;
    else unmap(link);
  }
}
