/* The host as a device: memory of this process, kernels as functions, tasks on an executor. */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "runtime/device.h"
#include "runtime/panel.h"
#include "runtime/tensor.h"

enum {
  MOVE_CHUNK = 1 << 16, /* bytes a task of a copy or fill moves */
  TOUCH_CHUNK = 4 << 20
};

static void *host(DhcDevicePtr at) {
  return (void *)(uintptr_t)at;
}

static void host_close(DhcDevice *d) {
  DhcHostDevice *h = (DhcHostDevice *)(void *)d;
  if (h->loader.close) h->loader.close(h->loader.ctx);
  dhc_host_drop(&h->memory);
  free(h);
}

static void host_describe(DhcDevice *d, DhcDeviceInfo *out) {
  const DhcHostDevice *h = (const DhcHostDevice *)(void *)d;
  long page = sysconf(_SC_PAGESIZE), all = sysconf(_SC_PHYS_PAGES), available = sysconf(_SC_AVPHYS_PAGES);
  *out = (DhcDeviceInfo){.kind = h->kind, .workers = h->exec ? h->exec->workers : 1};
  if (page > 0 && all > 0) out->memory_total = (int64_t)page * all;
  if (page > 0 && available > 0) out->memory_free = (int64_t)page * available;
}

static dhc_status host_alloc_any(DhcDevice *d, int64_t bytes, bool *zero, DhcDevicePtr *out) {
  DhcHostDevice *h = (DhcHostDevice *)(void *)d;
  *zero = true;
  void *p = bytes >= DHC_HOST_LARGE ? dhc_host_take(&h->memory, bytes, zero) : dhc_aligned_alloc(bytes);
  if (!p) return dhc_status_memory((long long)bytes, "a program");
  *out = (DhcDevicePtr)(uintptr_t)p;
  return dhc_status_ok();
}

static dhc_status host_alloc(DhcDevice *d, int64_t bytes, DhcDevicePtr *out) {
  bool zero;
  DHC_TRY(host_alloc_any(d, bytes, &zero, out));
  return zero ? dhc_status_ok() : d->ops->fill(d, *out, 0, bytes);
}

static void host_free(DhcDevice *d, DhcDevicePtr at) {
  DhcHostDevice *h = (DhcHostDevice *)(void *)d;
  if (!dhc_host_give(&h->memory, host(at))) dhc_aligned_free(host(at));
}

static dhc_status host_upload(DhcDevice *d, DhcDevicePtr to, const void *from, int64_t bytes) {
  (void)d;
  if (bytes > 0) memcpy(host(to), from, (size_t)bytes);
  return dhc_status_ok();
}

static dhc_status host_download(DhcDevice *d, void *to, DhcDevicePtr from, int64_t bytes) {
  (void)d;
  if (bytes > 0) memcpy(to, host(from), (size_t)bytes);
  return dhc_status_ok();
}

static void *host_view(DhcDevice *d, DhcDevicePtr at, int64_t bytes) {
  (void)d, (void)bytes;
  return host(at);
}

/* ---- commands -------------------------------------------------------------------------- */

/* All of n tasks, in as many threads as there are. */
static void run_tasks(DhcDevice *d, int64_t n, void (*tasks)(void *, int64_t, int64_t, int), void *job) {
  const dhc_exec *exec = ((const DhcHostDevice *)(void *)d)->exec;
  if (n == 1 || (n > 0 && exec == NULL)) {
    tasks(job, 0, n, 0);
  } else if (n > 0) {
    exec->parallel_for(exec->ctx, n, tasks, job);
  }
}

/* Pages are made by a few calls on all cores, not one by one where a kernel first meets them (and twice where it
 * reads before it writes). */
typedef struct Touch {
  char *begin, *end; /* on page boundaries */
} Touch;

static void touch_tasks(void *arg, int64_t t0, int64_t t1, int worker) {
  const Touch *t = arg;
  (void)worker;
  char *begin = t->begin + t0 * TOUCH_CHUNK, *end = t->begin + t1 * TOUCH_CHUNK;
  if (end > t->end) end = t->end;
#ifdef MADV_POPULATE_WRITE
  if (begin < end && madvise(begin, (size_t)(end - begin), MADV_POPULATE_WRITE) == 0) return;
#endif
  (void)begin, (void)end; /* then they come when they are needed */
}

static void host_touch(DhcDevice *d, DhcDevicePtr at, int64_t bytes) {
  DhcHostDevice *h = (DhcHostDevice *)(void *)d;
  uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), begin = (at + page - 1) / page * page, end = (at + (uintptr_t)bytes) / page * page;
  if (end <= begin || !dhc_host_is_new(&h->memory, host(at))) return;
  Touch t = {host(begin), host(end)};
  run_tasks(d, (int64_t)((end - begin + TOUCH_CHUNK - 1) / TOUCH_CHUNK), touch_tasks, &t);
}

typedef struct Move {
  char *to;
  const char *from; /* NULL: a fill */
  uint32_t pattern;
  int64_t bytes;
} Move;

static void fill(char *to, uint32_t pattern, int64_t bytes) {
  if (pattern == 0) {
    memset(to, 0, (size_t)bytes);
    return;
  }
  for (int64_t i = 0; i < bytes; i += 4) {
    memcpy(to + i, &pattern, 4);
  }
}

static void move_tasks(void *arg, int64_t t0, int64_t t1, int worker) {
  const Move *m = arg;
  (void)worker;
  int64_t begin = t0 * MOVE_CHUNK, end = t1 * MOVE_CHUNK < m->bytes ? t1 * MOVE_CHUNK : m->bytes;
  if (m->from == NULL) {
    fill(m->to + begin, m->pattern, end - begin);
  } else {
    memcpy(m->to + begin, m->from + begin, (size_t)(end - begin));
  }
}

static void move(DhcDevice *d, Move *m) {
  run_tasks(d, m->bytes / MOVE_CHUNK + (m->bytes % MOVE_CHUNK != 0), move_tasks, m);
}

static dhc_status host_copy(DhcDevice *d, DhcDevicePtr to, DhcDevicePtr from, int64_t bytes) {
  Move m = {.to = host(to), .from = host(from), .bytes = bytes};
  if (to != from) move(d, &m); /* else a copy the packer made needless */
  return dhc_status_ok();
}

static dhc_status host_fill(DhcDevice *d, DhcDevicePtr to, uint32_t pattern, int64_t bytes) {
  Move m = {.to = host(to), .pattern = pattern, .bytes = bytes};
  move(d, &m);
  return dhc_status_ok();
}

typedef struct Pack {
  const dhc_panel *panel;
  const float *from;
  float *to;
} Pack;

static void pack_tasks(void *arg, int64_t t0, int64_t t1, int worker) {
  const Pack *p = arg;
  (void)worker;
  dhc_panel_pack(p->panel, t0, t1, p->from, p->to);
}

static dhc_status host_pack(DhcDevice *d, DhcDevicePtr to, DhcDevicePtr from, const dhc_panel *x) {
  Pack p = {x, host(from), host(to)};
  run_tasks(d, dhc_panel_count(x), pack_tasks, &p);
  return dhc_status_ok();
}

typedef struct Call {
  const DhcLaunch *l;
  void **ptr;
} Call;

static void call_tasks(void *arg, int64_t t0, int64_t t1, int worker) {
  const Call *c = arg;
  const DhcLaunch *l = c->l;
  void *scratch = l->scratch ? host(l->scratch + (uint64_t)(worker * l->worker_scratch)) : NULL;
  l->fn(c->ptr, l->dim, (intptr_t)(l->task0 + t0), (intptr_t)(l->task0 + t1), scratch);
}

static dhc_status host_launch(DhcDevice *d, const DhcLaunch *l) {
  void *ptr[DHC_MAX_KERNEL_PTRS + 2];
  if (l->n_ptrs > DHC_MAX_KERNEL_PTRS) return dhc_status_make(DHC_E_USAGE, "a kernel of %d operands", (int)l->n_ptrs);
  for (int32_t i = 0; i <= l->n_ptrs; i++) ptr[i] = host(l->ptr[i]);
  ptr[l->n_ptrs + 1] = l->limits;
  Call c = {l, ptr};
  run_tasks(d, l->n_tasks, call_tasks, &c);
  return dhc_status_ok();
}

static dhc_status host_synchronise(DhcDevice *d) {
  (void)d;
  return dhc_status_ok();
}

static dhc_status host_load(DhcDevice *d, const void *code, size_t n_bytes, const char *const *names, int n, dhc_kernel_fn *fn) {
  const DhcHostDevice *h = (const DhcHostDevice *)(void *)d;
  if (!h->loader.load) return dhc_status_make(DHC_E_ENVIRONMENT, "%s: takes no code", h->kind);
  return h->loader.load(h->loader.ctx, code, n_bytes, names, n, fn);
}

const DhcDeviceOps dhc_host_device_ops = {
    .close = host_close,
    .describe = host_describe,
    .alloc = host_alloc,
    .alloc_any = host_alloc_any,
    .touch = host_touch,
    .free = host_free,
    .upload = host_upload,
    .download = host_download,
    .view = host_view,
    .copy = host_copy,
    .fill = host_fill,
    .pack = host_pack,
    .load = host_load,
    .launch = host_launch,
    .synchronise = host_synchronise,
};

dhc_status dhc_host_device_open(const char *kind, const dhc_exec *exec, const DhcLoader *loader, DhcDevice **out) {
  DhcHostDevice *h = calloc(1, sizeof *h);
  if (!h) return dhc_status_memory((long long)sizeof *h, "a device");
  h->device.ops = &dhc_host_device_ops;
  h->kind = kind;
  h->exec = exec;
  if (loader) h->loader = *loader;
  *out = &h->device;
  return dhc_status_ok();
}
