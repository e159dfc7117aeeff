/* A stand-in for a device whose memory the host does not see: a backend's own device behind addresses
 * that are none of the host's (following one ends the process), without `view`, with ready-made runs.
 * It is linked into a library of its own in place of dhc_backend_device, counts calls, and ends the process where
 * something reaches outside the memory that was asked for. */
#include "tests/device/standin.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backends/compile.h"
#ifdef TEST_NCCL
#include "backends/cuda/nccl.h"
#endif
#include "runtime/panel.h"

static const DhcDevicePtr away = UINT64_C(1) << 62; /* no address of a process has this bit */

typedef struct Block {
  DhcDevicePtr at;
  int64_t bytes;
  struct Block *next;
} Block;

/* Bytes on their way: up until the next command, down until the device is synchronised. */
typedef struct Way {
  DhcDevicePtr device; /* the real address */
  void *host;
  int64_t bytes;
  bool up;
  struct Way *next;
} Way;

/* What ranks do together is done no sooner than it must be: at the join. */
typedef struct Together {
  DhcDevicePtr real;
  int64_t bytes;
  const intptr_t *part; /* of a spread, as long as the plan; NULL: a sum */
  int n_parts;
} Together;

typedef struct Standin {
  DhcDevice device;
  Together together[64];
  int n_together;
#ifdef TEST_NCCL
  NcclComm comm;
#endif
  Way *ways;
  DhcDevice *real;
  Block *blocks;
} Standin;

static DhcStandinCounts counts;
static int64_t taken; /* bytes, of all such devices */

DhcStandinCounts dhc_standin_counts(void) {
  return counts;
}

static _Noreturn void wrong(const char *what, DhcDevicePtr at, int64_t bytes) {
  fprintf(stderr, "stand-in device: %s: %lld bytes at %llx\n", what, (long long)bytes, (unsigned long long)at);
  abort();
}

static Standin *self(DhcDevice *d) {
  return (Standin *)(void *)d;
}

/* The real address of `bytes` bytes that lie in one block. */
static DhcDevicePtr real_at(Standin *s, DhcDevicePtr at, int64_t bytes, const char *what) {
  if (!at && !bytes) return 0;
  for (const Block *b = s->blocks; b; b = b->next)
    if (at >= b->at && at - b->at <= (uint64_t)b->bytes && bytes >= 0 && (uint64_t)bytes <= (uint64_t)b->bytes - (at - b->at))
      return at - away;
  wrong(what, at, bytes);
}

/* Those going up, or all of them, arrive. */
static void arrive(Standin *s, bool all) {
  for (Way **link = &s->ways; *link;) {
    Way *w = *link;
    if (!w->up && !all) {
      link = &w->next;
      continue;
    }
    if (w->up) memcpy((void *)(uintptr_t)w->device, w->host, (size_t)w->bytes);
    else memcpy(w->host, (void *)(uintptr_t)w->device, (size_t)w->bytes);
    *link = w->next;
    free(w);
  }
}

static dhc_status send(Standin *s, DhcDevicePtr real, void *host, int64_t bytes, bool up) {
  Way *w = malloc(sizeof *w);
  if (!w) return dhc_status_memory((long long)sizeof *w, "bytes on their way");
  *w = (Way){real, host, bytes, up, s->ways};
  s->ways = w;
  return dhc_status_ok();
}

static void standin_close(DhcDevice *d) {
  Standin *s = self(d);
  arrive(s, true);
  if (s->blocks) wrong("memory was not given back", s->blocks->at, s->blocks->bytes);
  dhc_device_close(s->real);
  free(s);
}

static void standin_describe(DhcDevice *d, DhcDeviceInfo *out) {
  self(d)->real->ops->describe(self(d)->real, out);
  const char *left = getenv("STANDIN_FREE"); /* it has memory of its own, so much of it free */
  if (!left) return;
  out->own_memory = true;
  out->memory_free = atoll(left);
}

/* STANDIN_ROOM: what is there, whatever describe says. */
static bool full(int64_t bytes) {
  const char *room = getenv("STANDIN_ROOM");
  return room && taken + bytes > atoll(room);
}

static dhc_status standin_alloc(DhcDevice *d, int64_t bytes, DhcDevicePtr *out) {
  Standin *s = self(d);
  if (full(bytes)) return dhc_status_make(DHC_E_ENVIRONMENT, "the stand-in is full");
  Block *b = malloc(sizeof *b);
  if (!b) return dhc_status_memory((long long)sizeof *b, "a block");
  dhc_status st = s->real->ops->alloc(s->real, bytes, out);
  if (st.code != DHC_OK) {
    free(b);
    return st;
  }
  *out += away;
  *b = (Block){*out, bytes, s->blocks};
  s->blocks = b;
  taken += bytes;
  counts.allocs++;
  return st;
}

/* What is written before it is read may hold anything: here it does. */
static dhc_status standin_alloc_any(DhcDevice *d, int64_t bytes, bool *zero, DhcDevicePtr *out) {
  *zero = false;
  DHC_TRY(standin_alloc(d, bytes, out));
  memset((void *)(uintptr_t)(*out - away), 0xff, (size_t)bytes);
  return dhc_status_ok();
}

static void standin_free(DhcDevice *d, DhcDevicePtr at) {
  Standin *s = self(d);
  if (!at) return;
  arrive(s, true);
  for (Block **link = &s->blocks; *link; link = &(*link)->next) {
    Block *b = *link;
    if (b->at != at) continue;
    *link = b->next;
    taken -= b->bytes;
    s->real->ops->free(s->real, at - away);
    free(b);
    return;
  }
  wrong("freed what it did not give", at, 0);
}

static dhc_status standin_upload(DhcDevice *d, DhcDevicePtr to, const void *from, int64_t bytes) {
  counts.uploads++;
  return self(d)->real->ops->upload(self(d)->real, real_at(self(d), to, bytes, "upload"), from, bytes);
}

/* Small ones have room; it is the next upload's alone. */
static void *standin_room(DhcDevice *d, int64_t bytes) {
  static char room[64 << 10];
  (void)d;
  if (bytes > (int64_t)sizeof room) return NULL;
  memset(room, 0xff, sizeof room);
  return room;
}

static dhc_status standin_download(DhcDevice *d, void *to, DhcDevicePtr from, int64_t bytes) {
  counts.downloads++;
  counts.downloaded_bytes += bytes;
  arrive(self(d), true);
  return self(d)->real->ops->download(self(d)->real, to, real_at(self(d), from, bytes, "download"), bytes);
}

static dhc_status standin_host_alloc(DhcDevice *d, int64_t bytes, void **out) {
  (void)d;
  *out = malloc((size_t)bytes + 1);
  return *out ? dhc_status_ok() : dhc_status_memory((long long)bytes, "host memory");
}

static void standin_host_free(DhcDevice *d, void *at) {
  arrive(self(d), true);
  free(at);
}

static dhc_status standin_ahead(DhcDevice *d, DhcDevicePtr to, const void *from, int64_t bytes) {
  counts.uploads++;
  counts.aheads++;
  return send(self(d), real_at(self(d), to, bytes, "upload ahead"), (void *)(uintptr_t)from, bytes, true);
}

static dhc_status standin_behind(DhcDevice *d, void *to, DhcDevicePtr from, int64_t bytes) {
  counts.downloads++;
  counts.downloaded_bytes += bytes;
  memset(to, 0xff, (size_t)bytes);
  return send(self(d), real_at(self(d), from, bytes, "download behind"), to, bytes, false);
}

static void *standin_view(DhcDevice *d, DhcDevicePtr at, int64_t bytes) {
  (void)d, (void)at, (void)bytes;
  return NULL;
}

static dhc_status standin_copy(DhcDevice *d, DhcDevicePtr to, DhcDevicePtr from, int64_t bytes) {
  Standin *s = self(d);
  arrive(s, false);
  return s->real->ops->copy(s->real, real_at(s, to, bytes, "copy"), real_at(s, from, bytes, "copy"), bytes);
}

static dhc_status standin_fill(DhcDevice *d, DhcDevicePtr to, uint32_t pattern, int64_t bytes) {
  arrive(self(d), false);
  return self(d)->real->ops->fill(self(d)->real, real_at(self(d), to, bytes, "fill"), pattern, bytes);
}

static dhc_status standin_pack(DhcDevice *d, DhcDevicePtr to, DhcDevicePtr from, const dhc_panel *x) {
  Standin *s = self(d);
  DhcDevicePtr there = real_at(s, to, 4 * x->matrices * dhc_panel_elements(x), "pack");
  counts.packs++;
  arrive(s, false);
  return s->real->ops->pack(s->real, there, real_at(s, from, 4 * x->matrices * x->rows * x->cols, "pack"), x);
}

static dhc_status standin_load(DhcDevice *d, const void *code, size_t n_bytes, const char *const *names, int n, dhc_kernel_fn *fn) {
  return self(d)->real->ops->load(self(d)->real, code, n_bytes, names, n, fn);
}

static dhc_status standin_launch(DhcDevice *d, const DhcLaunch *l) {
  Standin *s = self(d);
  DhcDevicePtr *ptr = malloc(sizeof *ptr * ((size_t)l->n_ptrs + 1));
  if (!ptr) return dhc_status_memory(0, "a call");
  for (int32_t i = 0; i <= l->n_ptrs; i++) ptr[i] = l->ptr[i] ? real_at(s, l->ptr[i], 0, "launch") : 0;
  DhcLaunch there = *l;
  there.ptr = ptr;
  there.scratch = l->scratch ? real_at(s, l->scratch, l->worker_scratch, "scratch") : 0;
  counts.launches++;
  arrive(s, false);
  dhc_status st = s->real->ops->launch(s->real, &there);
  free(ptr);
  return st;
}

static dhc_status standin_synchronise(DhcDevice *d) {
  arrive(self(d), true);
  return self(d)->real->ops->synchronise(self(d)->real);
}

/* ---- ranks ------------------------------------------------------------------------------ */

#ifdef TEST_NCCL
static dhc_status standin_meet_id(DhcDevice *d, unsigned char id[DHC_RANKS_ID_BYTES]) {
  (void)d;
  return dhc_nccl_id(id);
}

static dhc_status standin_meet(DhcDevice *d, const DhcRanksOf *ranks) { return dhc_nccl_meet(ranks, &self(d)->comm); }

static dhc_status standin_join(DhcDevice *d) {
  Standin *s = self(d);
  for (int i = 0; i < s->n_together; i++) {
    const Together *t = &s->together[i];
    void *at = (void *)(uintptr_t)t->real;
    DHC_TRY(t->part ? dhc_nccl_gather(s->comm, at, t->part, t->n_parts, NULL) : dhc_nccl_sum(s->comm, at, t->bytes, NULL));
  }
  s->n_together = 0;
  return dhc_nccl_failed(s->comm);
}

static dhc_status standin_ranks(DhcDevice *d, const DhcCommand *c) {
  Standin *s = self(d);
  if (!s->comm) return dhc_status_ok();
  if (s->n_together == 64) wrong("more than is expected under way", c->to, c->bytes);
  arrive(s, false);
  s->together[s->n_together++] = (Together){real_at(s, c->to, c->bytes, "ranks"), c->bytes, c->pattern == DHC_RANKS_SPREAD ? c->launch.dim : NULL, c->launch.n_dims};
  return dhc_status_ok();
}

static dhc_status standin_spread(DhcDevice *d, int from, DhcDevicePtr at, int64_t bytes) {
  return dhc_nccl_spread(self(d)->comm, from, (void *)(uintptr_t)real_at(self(d), at, bytes, "spread"), bytes, NULL);
}

static void standin_leave(DhcDevice *d, bool whole) {
  dhc_nccl_leave(self(d)->comm, whole);
  self(d)->comm = NULL;
}
#endif

/* ---- ready-made runs: copies of the commands -------------------------------------------- */

typedef struct Ready {
  DhcCommand *c;
  int64_t n;
} Ready;

static void *copy_of(const void *from, size_t bytes) {
  void *to = malloc(bytes + 8);
  if (!to) abort();
  if (bytes) memcpy(to, from, bytes);
  return to;
}

static dhc_status standin_prepare(DhcDevice *d, const DhcCommand *c, int64_t n, void **out) {
  (void)d;
  Ready *r = copy_of(&(Ready){copy_of(c, sizeof *c * (size_t)n), n}, sizeof *r);
  for (int64_t i = 0; i < n; i++) {
    DhcLaunch *l = &r->c[i].launch;
    if (c[i].kind == DHC_ITEM_CALL || c[i].kind == DHC_ITEM_RANKS) l->dim = copy_of(l->dim, sizeof *l->dim * (size_t)l->n_dims);
    if (c[i].kind == DHC_ITEM_CALL) l->ptr = copy_of(l->ptr, sizeof *l->ptr * ((size_t)l->n_ptrs + 1));
  }
  counts.prepares++;
  *out = r;
  return dhc_status_ok();
}

static dhc_status run_list(DhcDevice *d, const DhcCommand *list, int64_t n) {
  for (int64_t i = 0; i < n; i++) {
    const DhcCommand *c = &list[i];
    DHC_TRY(c->kind == DHC_ITEM_CALL   ? standin_launch(d, &c->launch)
            : c->kind == DHC_ITEM_COPY ? standin_copy(d, c->to, c->from, c->bytes)
            : c->kind == DHC_ITEM_RANKS ? dhc_device_ranks(d, c)
            : c->kind == DHC_ITEM_JOIN ? (d->ops->ranks ? d->ops->join(d) : dhc_status_ok())
                                       : standin_fill(d, c->to, c->pattern, c->bytes));
  }
  return dhc_status_ok();
}

static dhc_status standin_replay(DhcDevice *d, void *prepared) {
  const Ready *r = prepared;
  counts.replays++;
  return run_list(d, r->c, r->n);
}

/* A clock of its own: every command takes 2 ms. */
static dhc_status standin_time(DhcDevice *d, const DhcCommand *c, int64_t n, float *ms) {
  for (int64_t i = 0; i < n; i++) ms[i] = 2;
  return run_list(d, c, n);
}

static void standin_forget(DhcDevice *d, void *prepared) {
  Ready *r = prepared;
  (void)d;
  for (int64_t i = 0; i < r->n; i++) {
    if (r->c[i].kind == DHC_ITEM_CALL || r->c[i].kind == DHC_ITEM_RANKS) free((void *)(uintptr_t)r->c[i].launch.dim);
    if (r->c[i].kind == DHC_ITEM_CALL) free((void *)(uintptr_t)r->c[i].launch.ptr);
  }
  free(r->c);
  free(r);
}

static const DhcDeviceOps ops = {
    .close = standin_close,
    .describe = standin_describe,
    .alloc = standin_alloc,
    .alloc_any = standin_alloc_any,
    .free = standin_free,
    .upload = standin_upload,
    .room = standin_room,
    .download = standin_download,
    .host_alloc = standin_host_alloc,
    .host_free = standin_host_free,
    .ahead = standin_ahead,
    .behind = standin_behind,
    .view = standin_view,
    .copy = standin_copy,
    .fill = standin_fill,
    .pack = standin_pack,
    .load = standin_load,
    .launch = standin_launch,
    .synchronise = standin_synchronise,
    .prepare = standin_prepare,
    .replay = standin_replay,
    .forget = standin_forget,
    .time = standin_time,
#ifdef TEST_NCCL
    .meet_id = standin_meet_id,
    .meet = standin_meet,
    .ranks = standin_ranks,
    .join = standin_join,
    .spread = standin_spread,
    .leave = standin_leave,
#endif
};

dhc_status __real_dhc_backend_device(const char *name, const DhcDeviceOptions *o, DhcDevice **out);
dhc_status __wrap_dhc_backend_device(const char *name, const DhcDeviceOptions *o, DhcDevice **out);
dhc_status __wrap_dhc_backend_device(const char *name, const DhcDeviceOptions *o, DhcDevice **out) {
  Standin *s = calloc(1, sizeof *s);
  if (!s) return dhc_status_memory((long long)sizeof *s, "a device");
  dhc_status st = __real_dhc_backend_device(name, o, &s->real);
  if (st.code != DHC_OK) {
    free(s);
    return st;
  }
  s->device.ops = &ops;
  *out = &s->device;
  return st;
}
