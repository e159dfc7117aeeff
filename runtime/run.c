/* Running a bound plan on a device: its commands one by one, or all of them as a list. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "runtime/bound.h"

/* Where a walk over the items stands, and what it does with each command. */
typedef struct Walk {
  const DhcBound *bound;
  const DhcDevicePtr *base;
  DhcDevicePtr scratch;
  DhcDevicePtr *ptr; /* room for the operands of one item, and one more */
  bool reaches;      /* of a list: who touches what is asked for */
  DhcReach *reach;   /* room for that; else NULL */
  dhc_status (*command)(void *ctx, DhcCommand *c);
  void *ctx;
  const DhcItemHook *hook; /* NULL: nobody asks for times */
  DhcDevice *device;
  int64_t index[DHC_MAX_LOOP_DEPTH];
  int depth;
} Walk;

static int64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static int64_t offset_of(const Walk *w, const BoundRef *ref) {
  int64_t offset = ref->offset;
  if (ref->steps) {
    for (int d = 0; d < w->depth; d++) {
      offset += ref->step[d] * w->index[d];
    }
  }
  return offset;
}

static DhcDevicePtr address(const Walk *w, const BoundRef *ref) {
  return w->base[ref->segment] != 0 ? w->base[ref->segment] + (uint64_t)offset_of(w, ref) : 0;
}

/* Room around the operands of a checked kernel's call, its shared memory and its scratch; then the report. */
static void set_limits(const Walk *w, const BoundItem *item, int64_t *to) {
  if (item->n_refs > DHC_MAX_KERNEL_PTRS) return; /* no device launches it */
  for (int32_t r = 0; r < item->n_refs; r++) {
    int64_t offset = offset_of(w, &item->refs[r]);
    *to++ = offset - item->refs[r].begin;
    *to++ = item->refs[r].end - offset;
  }
  *to++ = 0;
  *to++ = item->shared;
  *to++ = 0;
  *to++ = item->scratch;
  to[0] = to[1] = 0;
}

/* Looks at the report. */
static dhc_status check_limits(const Walk *w, const BoundItem *item, int32_t index, const int64_t *limits) {
  const int64_t *report = limits + 2 * (item->n_refs + 2);
  int64_t what = report[0] - 1;
  char text[40] = "its scratch";
  if (what < 0) return dhc_status_ok();
  if (what < item->n_refs) snprintf(text, sizeof text, "operand %d", (int)what);
  else if (what == item->n_refs) snprintf(text, sizeof text, "the memory of its tasks");
  else if (what > item->n_refs + 1) snprintf(text, sizeof text, "an array of its own");
  return dhc_status_make(DHC_E_ENVIRONMENT, "kernel %s, item %d of the plan, reads or writes outside %s, from its byte %lld on: a bug of dhcc",
                         w->bound->kernels[w->bound->plan->items[index].kernel]->name, (int)index, text, (long long)report[1]);
}

/* One phase of a call, which has tasks. */
static dhc_status phase(const Walk *w, DhcCommand *c, int32_t number, int64_t task0, int64_t end) {
  c->launch.phase = number;
  c->launch.task0 = task0;
  c->launch.n_tasks = end - task0;
  return w->command(w->ctx, c);
}

static dhc_status walk_item(const Walk *w, int32_t index) {
  const DhcBound *b = w->bound;
  const BoundItem *item = &b->items[index];
  DhcDevicePtr *ptr = w->ptr;
  for (int32_t r = 0; r < item->n_refs; r++) {
    const BoundRef *ref = &item->refs[r];
    ptr[r] = address(w, ref);
    if (w->reach != NULL) w->reach[r] = (DhcReach){w->base[ref->segment] + (uint64_t)ref->low, w->base[ref->segment] + (uint64_t)ref->high};
  }
  DhcCommand c = {.kind = item->kind, .item = index};
  if (item->kind != DHC_ITEM_CALL) {
    bool copies = item->kind == DHC_ITEM_COPY || item->kind == DHC_ITEM_RANKS, joins = item->kind == DHC_ITEM_JOIN;
    c.to = joins ? 0 : ptr[copies ? 1 : 0];
    c.from = copies ? ptr[0] : 0;
    c.bytes = item->bytes;
    c.pattern = item->pattern;
    c.launch.dim = item->dims;
    c.launch.n_dims = item->n_dims;
    return item->bytes > 0 || joins ? w->command(w->ctx, &c) : dhc_status_ok();
  }
  ptr[item->n_refs] = b->shared > 0 ? w->scratch + (uint64_t)(b->worker_scratch * b->workers) : 0;
  c.launch = (DhcLaunch){.fn = item->fn, .ptr = ptr, .dim = item->dims, .n_ptrs = item->n_refs, .n_dims = item->n_dims,
                         .scratch = b->worker_scratch > 0 ? w->scratch : 0, .worker_scratch = b->worker_scratch,
                         .reach = w->reach, .shared_bytes = b->lanes > 1 ? b->shared : 0};
  int64_t limits[2 * (DHC_MAX_KERNEL_PTRS + 2) + 2];
  bool checked = w->device != NULL && w->device->checked;
  if (checked) set_limits(w, item, limits);
  if (checked) c.launch.limits = limits;
  int64_t begin = 0;
  for (int k = 0, number = 0; k < DHC_MAX_PHASES; begin = item->ends[k++])
    if (item->ends[k] > begin) DHC_TRY(phase(w, &c, number++, begin, item->ends[k]));
  return checked ? check_limits(w, item, index, limits) : dhc_status_ok();
}

/* Items [begin, end); recursion is bounded by DHC_MAX_LOOP_DEPTH. */
static dhc_status walk_range(Walk *w, int32_t begin, int32_t end) {
  const BoundItem *items = w->bound->items;
  for (int32_t i = begin; i < end; i++) {
    if (items[i].kind != DHC_ITEM_LOOP) {
      int64_t begin_ns = w->hook != NULL ? now_ns() : 0;
      DHC_TRY(walk_item(w, i));
      if (w->hook != NULL) {
        DHC_TRY(w->device->ops->synchronise(w->device));
        w->hook->item(w->hook->ctx, i, begin_ns, now_ns());
      }
      continue;
    }
    int d = w->depth++;
    for (w->index[d] = 0; w->index[d] < items[i].count; w->index[d]++) {
      DHC_TRY(walk_range(w, i + 1, i + 1 + items[i].n_body));
    }
    w->depth--;
    i += items[i].n_body;
  }
  return dhc_status_ok();
}

enum { FEW_REFS = 256 };

static dhc_status walk_all(Walk *w) {
  const DhcBound *b = w->bound;
  DhcDevicePtr few[FEW_REFS + 1];
  DhcReach *reach = w->reaches ? malloc(sizeof *reach * ((size_t)b->most_refs + 1)) : NULL;
  w->reach = reach;
  w->ptr = b->most_refs <= FEW_REFS ? few : malloc(sizeof *few * ((size_t)b->most_refs + 1));
  if (w->ptr == NULL || (w->reaches && reach == NULL)) {
    free(reach);
    if (w->ptr != few) free(w->ptr);
    return dhc_status_memory((long long)sizeof *few * b->most_refs, "a run");
  }
  dhc_status st = walk_range(w, 0, b->plan->n_items);
  free(reach);
  if (w->ptr != few) {
    free(w->ptr);
  }
  return st;
}

/* ---- one by one ------------------------------------------------------------------------ */

static dhc_status issue(void *ctx, DhcCommand *c) {
  DhcDevice *d = ctx;
  switch (c->kind) {
  case DHC_ITEM_CALL: return d->ops->launch(d, &c->launch);
  case DHC_ITEM_COPY: return d->ops->copy(d, c->to, c->from, c->bytes);
  case DHC_ITEM_RANKS: return dhc_device_ranks(d, c);
  case DHC_ITEM_JOIN: return d->ops->ranks ? d->ops->join(d) : dhc_status_ok();
  default: return d->ops->fill(d, c->to, c->pattern, c->bytes);
  }
}

/* ---- as a list -------------------------------------------------------------------------- */

typedef struct List {
  DhcCommand *c;
  DhcDevicePtr *ptr; /* operands of all calls, one after the other */
  DhcReach *reach;   /* beside them */
  int64_t n, room, n_ptrs, room_ptrs, room_reach;
} List;

static bool grow(void **at, int64_t *room, int64_t need, size_t each) {
  if (need <= *room) {
    return true;
  }
  int64_t more = *room * 2 > need ? *room * 2 : need + 64;
  void *p = realloc(*at, (size_t)more * each);
  if (p == NULL) {
    return false;
  }
  *at = p;
  *room = more;
  return true;
}

/* Operands are kept by number until the list is complete: it moves as it grows. */
static dhc_status list_command(void *ctx, DhcCommand *c) {
  List *l = ctx;
  void *commands = l->c, *ptrs = l->ptr, *reach = l->reach;
  int64_t n_ptrs = c->kind == DHC_ITEM_CALL ? c->launch.n_ptrs + 1 : 0;
  bool ok = grow(&commands, &l->room, l->n + 1, sizeof *l->c);
  l->c = commands;
  ok = ok && grow(&ptrs, &l->room_ptrs, l->n_ptrs + n_ptrs, sizeof *l->ptr);
  l->ptr = ptrs;
  ok = ok && grow(&reach, &l->room_reach, l->n_ptrs + n_ptrs, sizeof *l->reach);
  l->reach = reach;
  if (!ok) {
    return dhc_status_memory((long long)(l->n * (int64_t)sizeof *l->c), "a list of commands");
  }
  if (n_ptrs > 0) {
    memcpy(l->ptr + l->n_ptrs, c->launch.ptr, (size_t)n_ptrs * sizeof *l->ptr);
    memcpy(l->reach + l->n_ptrs, c->launch.reach, (size_t)(n_ptrs - 1) * sizeof *l->reach);
  }
  l->n_ptrs += n_ptrs;
  l->c[l->n++] = *c;
  return dhc_status_ok();
}

/* Every command of a run; the receiver frees what l holds, also after a failure. */
static dhc_status list_all(const DhcBound *bound, const DhcDevicePtr base[DHC_N_SEGMENTS], DhcDevicePtr scratch, List *l) {
  *l = (List){.c = NULL};
  Walk w = {.bound = bound, .base = base, .scratch = scratch, .command = list_command, .ctx = l, .reaches = true};
  dhc_status st = walk_all(&w);
  const DhcDevicePtr *ptr = l->ptr;
  const DhcReach *reach = l->reach;
  for (int64_t i = 0; i < l->n; i++) {
    if (l->c[i].kind == DHC_ITEM_CALL) {
      l->c[i].launch.ptr = ptr;
      l->c[i].launch.reach = reach;
      ptr += l->c[i].launch.n_ptrs + 1;
      reach += l->c[i].launch.n_ptrs + 1;
    }
  }
  return st;
}

static void list_free(List *l) {
  free(l->c);
  free(l->ptr);
  free(l->reach);
}

dhc_status dhc_bound_prepare(const DhcBound *bound, DhcDevice *device, const DhcDevicePtr base[DHC_N_SEGMENTS], DhcDevicePtr scratch,
                             void **out) {
  List l;
  *out = NULL;
  if (device->ops->prepare == NULL) {
    return dhc_status_ok();
  }
  dhc_status st = list_all(bound, base, scratch, &l);
  if (st.code == DHC_OK) {
    st = device->ops->prepare(device, l.c, l.n, out);
  }
  list_free(&l);
  return st;
}

/* ---- with times ---------------------------------------------------------------------------- */

/* An item's phases are told together. */
static void tell(const List *l, const float *ms, const DhcItemHook *hook) {
  for (int64_t i = 0; i < l->n;) {
    int64_t first = i;
    double sum = 0;
    do {
      sum += (double)ms[i++];
    } while (i < l->n && l->c[i].item == l->c[first].item && l->c[i].kind == DHC_ITEM_CALL && l->c[i].launch.phase > 0);
    hook->item(hook->ctx, l->c[first].item, 0, (int64_t)(sum * 1e6));
  }
}

static dhc_status run_timed(const DhcBound *bound, DhcDevice *device, const DhcDevicePtr base[DHC_N_SEGMENTS], DhcDevicePtr scratch,
                            const DhcItemHook *hook) {
  List l;
  dhc_status st = list_all(bound, base, scratch, &l);
  float *ms = malloc(sizeof *ms * (size_t)(l.n + 1));
  if (st.code == DHC_OK && ms == NULL) {
    st = dhc_status_memory((long long)(l.n * (int64_t)sizeof *ms), "times");
  }
  if (st.code == DHC_OK) {
    st = device->ops->time(device, l.c, l.n, ms);
  }
  if (st.code == DHC_OK) {
    tell(&l, ms, hook);
  }
  free(ms);
  list_free(&l);
  return st;
}

dhc_status dhc_bound_run(const DhcBound *bound, DhcDevice *device, const DhcDevicePtr base[DHC_N_SEGMENTS], DhcDevicePtr scratch,
                         const DhcItemHook *hook) {
  if (hook != NULL && device->ops->time != NULL) {
    return run_timed(bound, device, base, scratch, hook);
  }
  Walk w = {.bound = bound, .base = base, .scratch = scratch, .command = issue, .ctx = device, .hook = hook, .device = device};
  return walk_all(&w);
}
