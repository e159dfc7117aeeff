/* One GPU behind the door of runtime/device.h. */
#include <stdlib.h>
#include <string.h>

#include "backends/cuda/cuda.h"
#include "backends/cuda/lanes.h"
#include "backends/cuda/nccl.h"
#include "runtime/bound.h"
#include "runtime/status.h"

typedef struct CudaDevice {
  DhcDevice device;
  DhcCudaGpu *gpu;
  const dhc_exec *exec; /* NULL: the calling thread alone */
  char *stage;          /* of the host, which the GPU reads by itself; NULL: none was needed yet */
  int64_t staged;       /* bytes of it that may not have been read yet */
  bool met;             /* other ranks */
} CudaDevice;

enum { LARGE = 512 << 10, STAGE = 8 << 20, AT_ONCE = 1 << 20, PIECE = 64 << 10, ALIGN = 64, FEW_COMMANDS = 32 };

static DhcCudaGpu *gpu(DhcDevice *d) { return ((CudaDevice *)(void *)d)->gpu; }
static void *at(DhcDevicePtr p) { return (void *)(uintptr_t)p; }

static CudaDevice *self(DhcDevice *d) { return (CudaDevice *)(void *)d; }

static dhc_status cuda_synchronise(DhcDevice *d) {
  self(d)->staged = 0;
  return dhc_cuda_sync(gpu(d));
}

static void cuda_close(DhcDevice *d) {
  dhc_cuda_free_host(gpu(d), self(d)->stage);
  dhc_cuda_gpu_close(gpu(d));
  free(d);
}

static void cuda_describe(DhcDevice *d, DhcDeviceInfo *out) {
  const DhcCudaInfo *info = dhc_cuda_gpu_info(gpu(d));
  *out = (DhcDeviceInfo){.kind = "cuda", .workers = 1, .lanes = DHC_CUDA_LANES, .memory_total = info->memory_bytes, .own_memory = true};
  memcpy(out->name, info->name, sizeof out->name);
  if (dhc_cuda_gpu_free_bytes(gpu(d), &out->memory_free).code) out->memory_free = 0;
}

static dhc_status cuda_alloc(DhcDevice *d, int64_t bytes, DhcDevicePtr *out) {
  void *p;
  *out = 0;
  DHC_TRY(dhc_cuda_alloc(gpu(d), bytes, "a program", &p));
  dhc_status st = dhc_cuda_fill(gpu(d), p, 0, bytes);
  if (st.code) dhc_cuda_free(gpu(d), p);
  else *out = (DhcDevicePtr)(uintptr_t)p;
  return st;
}

static void cuda_free(DhcDevice *d, DhcDevicePtr p) { dhc_cuda_free(gpu(d), at(p)); }

typedef struct Staging {
  char *to;
  const char *from;
  int64_t bytes;
} Staging;

static void stage_pieces(void *arg, int64_t t0, int64_t t1, int worker) {
  const Staging *s = arg;
  int64_t begin = t0 * PIECE, end = t1 * PIECE < s->bytes ? t1 * PIECE : s->bytes;
  (void)worker;
  memcpy(s->to + begin, s->from + begin, (size_t)(end - begin));
}

/* Memory that the GPU reads by itself, n bytes behind what may not have been read yet; n is at most STAGE. */
static dhc_status find_stage(CudaDevice *c, int64_t n, char **out) {
  void *stage = c->stage;
  if (!stage) DHC_TRY(dhc_cuda_alloc_host(c->gpu, STAGE, &stage));
  c->stage = stage;
  if (c->staged + n > STAGE) DHC_TRY(cuda_synchronise(&c->device));
  *out = c->stage + c->staged;
  return dhc_status_ok();
}

static dhc_status upload_staged(CudaDevice *c, char *to, const char *from, int64_t n) {
  c->staged += (n + ALIGN - 1) / ALIGN * ALIGN;
  return dhc_cuda_upload(c->gpu, to, from, n);
}

static void *cuda_room(DhcDevice *d, int64_t bytes) {
  char *at;
  return bytes > STAGE || find_stage(self(d), bytes, &at).code ? NULL : at; /* an error that stays comes again */
}

/* The driver copies plain memory by one thread into memory that the GPU reads. Several do it faster, and a part travels while
 * the next is copied. */
static dhc_status upload_large(CudaDevice *c, char *to, const char *from, int64_t bytes) {
  for (int64_t n; bytes > 0; bytes -= n, to += n, from += n) {
    n = bytes < AT_ONCE ? bytes : AT_ONCE;
    Staging s = {NULL, from, n};
    DHC_TRY(find_stage(c, n, &s.to));
    c->exec->parallel_for(c->exec->ctx, (n + PIECE - 1) / PIECE, stage_pieces, &s);
    DHC_TRY(upload_staged(c, to, s.to, n));
  }
  return dhc_status_ok();
}

static dhc_status cuda_upload(DhcDevice *d, DhcDevicePtr to, const void *from, int64_t bytes) {
  const char *stage = self(d)->stage;
  if (stage && from == stage + self(d)->staged) return upload_staged(self(d), at(to), from, bytes); /* made there (room) */
  if (bytes >= LARGE && self(d)->exec) return upload_large(self(d), at(to), from, bytes);
  return dhc_cuda_upload(gpu(d), at(to), from, bytes);
}

static dhc_status cuda_download(DhcDevice *d, void *to, DhcDevicePtr from, int64_t bytes) {
  DHC_TRY(dhc_cuda_download(gpu(d), to, at(from), bytes));
  return cuda_synchronise(d);
}

static dhc_status cuda_host_alloc(DhcDevice *d, int64_t bytes, void **out) { return dhc_cuda_alloc_host(gpu(d), bytes, out); }
static void cuda_host_free(DhcDevice *d, void *p) { dhc_cuda_free_host(gpu(d), p); }

static dhc_status cuda_ahead(DhcDevice *d, DhcDevicePtr to, const void *from, int64_t bytes) {
  return dhc_cuda_ahead(gpu(d), at(to), from, bytes);
}

static dhc_status cuda_behind(DhcDevice *d, void *to, DhcDevicePtr from, int64_t bytes) {
  return dhc_cuda_download(gpu(d), to, at(from), bytes);
}

static void *cuda_view(DhcDevice *d, DhcDevicePtr p, int64_t bytes) {
  (void)d, (void)p, (void)bytes;
  return NULL;
}

static dhc_status cuda_copy(DhcDevice *d, DhcDevicePtr to, DhcDevicePtr from, int64_t bytes) {
  return dhc_cuda_copy(gpu(d), at(to), at(from), bytes);
}

static dhc_status cuda_fill(DhcDevice *d, DhcDevicePtr to, uint32_t pattern, int64_t bytes) {
  return dhc_cuda_fill(gpu(d), at(to), pattern, bytes);
}

/* A kernel's handle travels as the function pointer that it stands for. */
static dhc_status cuda_load(DhcDevice *d, const void *code, size_t n_bytes, const char *const *names, int n, dhc_kernel_fn *fn) {
  const DhcCudaKernel **kernel = calloc((size_t)n, sizeof *kernel);
  if (!kernel) return dhc_status_memory((long long)sizeof *kernel * n, "kernels");
  dhc_status st = dhc_cuda_load(gpu(d), code, n_bytes, names, n, kernel);
  _Static_assert(sizeof *fn == sizeof *kernel, "a function pointer holds a handle");
  for (int i = 0; i < n && !st.code; i++) memcpy(&fn[i], &kernel[i], sizeof fn[i]);
  free(kernel);
  return st;
}

static dhc_status launch(DhcDevice *d, const DhcLaunch *l, bool early) {
  const DhcCudaKernel *kernel;
  void *ptr[DHC_MAX_KERNEL_PTRS + 1];
  memcpy(&kernel, &l->fn, sizeof kernel);
  if (l->n_ptrs > DHC_MAX_KERNEL_PTRS) return dhc_status_make(DHC_E_ENVIRONMENT, "--backend cuda: a kernel of %d operands", l->n_ptrs);
  for (int i = 0; i <= l->n_ptrs; i++) ptr[i] = at(l->ptr[i]);
  _Static_assert(sizeof(intptr_t) == sizeof(int64_t), "arguments are 64 bits");
  dhc_status st = dhc_cuda_launch(gpu(d), kernel, ptr, (const int64_t *)l->dim, l->task0, l->task0 + l->n_tasks, early);
  d->code_ms = dhc_cuda_code_ms(gpu(d));
  return st;
}

static dhc_status cuda_launch(DhcDevice *d, const DhcLaunch *l) { return launch(d, l, false); }

/* ---- several ranks ------------------------------------------------------------------------------ */

static dhc_status cuda_meet_id(DhcDevice *d, unsigned char id[DHC_RANKS_ID_BYTES]) {
  (void)d;
  return dhc_nccl_id(id);
}

static dhc_status cuda_meet(DhcDevice *d, const DhcRanksOf *ranks) {
  self(d)->met = true;
  return dhc_cuda_meet(gpu(d), ranks);
}

static dhc_status cuda_ranks(DhcDevice *d, const DhcCommand *c) {
  if (!self(d)->met) return dhc_status_ok();
  if (c->pattern == DHC_RANKS_SPREAD) return dhc_cuda_ranks_gather(gpu(d), at(c->to), c->launch.dim, c->launch.n_dims);
  return dhc_cuda_ranks_sum(gpu(d), at(c->to), c->bytes);
}

static dhc_status cuda_join(DhcDevice *d) { return self(d)->met ? dhc_cuda_join(gpu(d)) : dhc_status_ok(); }

static dhc_status cuda_spread(DhcDevice *d, int from, DhcDevicePtr p, int64_t bytes) { return dhc_cuda_spread(gpu(d), from, at(p), bytes); }

static void cuda_leave(DhcDevice *d, bool whole) {
  self(d)->met = false;
  dhc_cuda_leave(gpu(d), whole);
}

/* ---- a list of commands as one graph ---------------------------------------------------------- */

static dhc_status run_command(DhcDevice *d, const DhcCommand *c, bool early) {
  switch (c->kind) {
  case DHC_ITEM_COPY: return c->to == c->from ? dhc_status_ok() : cuda_copy(d, c->to, c->from, c->bytes);
  case DHC_ITEM_FILL: return cuda_fill(d, c->to, c->pattern, c->bytes);
  case DHC_ITEM_RANKS: return cuda_ranks(d, c);
  case DHC_ITEM_JOIN: return cuda_join(d);
  default: return launch(d, &c->launch, early);
  }
}

/* All kernels of a list at once, as each is waited for in turn. */
static void want_all(const DhcCommand *c, int64_t n) {
  const DhcCudaKernel *kernel;
  for (int64_t i = 0; i < n; i++) {
    if (c[i].kind != DHC_ITEM_CALL || c[i].launch.n_tasks <= 0) continue;
    memcpy(&kernel, &c[i].launch.fn, sizeof kernel);
    dhc_cuda_want(kernel);
  }
}

/* What the commands of a list use; step NULL: that is not known of all. */
typedef struct Uses {
  DhcCudaUse *use;
  DhcCudaStep *step;
  bool in_lanes;
} Uses;

static void use_of_call(const DhcCommand *c, DhcCudaUse *use, DhcCudaStep *s) {
  const DhcCudaKernel *kernel;
  memcpy(&kernel, &c->launch.fn, sizeof kernel);
  s->follows = c->launch.phase > 0;
  for (int i = 0; i < c->launch.n_ptrs; i++) {
    const DhcReach *r = &c->launch.reach[i];
    if (r->end > r->begin) use[s->n_uses++] = (DhcCudaUse){r->begin, r->end, dhc_cuda_writes(kernel, i), dhc_cuda_early(kernel, i)};
  }
}

static bool are_known(const DhcCommand *c, int64_t n) {
  for (int64_t i = 0; i < n; i++) {
    bool call = c[i].kind == DHC_ITEM_CALL, moves = !call && c[i].kind != DHC_ITEM_LOOP;
    if (!moves && (!call || !c[i].launch.reach || (c[i].launch.ptr[c[i].launch.n_ptrs] && !c[i].launch.shared_bytes))) return false;
  }
  return true;
}

static dhc_status find_uses(const DhcCommand *c, int64_t n, bool met, Uses *out) {
  int64_t most = 0;
  out->in_lanes = n >= FEW_COMMANDS;
  for (int64_t i = 0; i < n; i++) most += c[i].kind == DHC_ITEM_CALL ? c[i].launch.n_ptrs : 2;
  if (!are_known(c, n)) {
    out->in_lanes = false;
    return dhc_status_ok();
  }
  out->use = calloc((size_t)most + 1, sizeof *out->use);
  out->step = calloc((size_t)n + 1, sizeof *out->step);
  if (!out->use || !out->step) return dhc_status_memory((long long)sizeof *out->use * (most + 1), "a list of commands");
  for (int64_t i = 0, at = 0; i < n; at += out->step[i++].n_uses) {
    DhcCudaStep *s = &out->step[i];
    s->first_use = (int)at;
    if (c[i].kind == DHC_ITEM_CALL) {
      use_of_call(&c[i], out->use + at, s);
      continue;
    }
    if (c[i].kind == DHC_ITEM_JOIN) continue; /* who touches what ranks sum waits for that */
    s->ranks = c[i].kind == DHC_ITEM_RANKS && met;
    if (c[i].kind == DHC_ITEM_COPY) out->use[at + s->n_uses++] = (DhcCudaUse){c[i].from, c[i].from + (uint64_t)c[i].bytes, false, false};
    out->use[at + s->n_uses++] = (DhcCudaUse){c[i].to, c[i].to + (uint64_t)c[i].bytes, true, false};
  }
  DHC_TRY(dhc_cuda_find_early(out->use, out->step, (int)n));
  return out->in_lanes ? dhc_cuda_lanes(out->use, out->step, (int)n) : dhc_status_ok();
}

/* The command in its lane: memory that its tasks share is the lane's own. */
static dhc_status run_in_lane(DhcDevice *d, const DhcCommand *c, const DhcCudaStep *s) {
  const int lane = s->lane;
  DhcDevicePtr ptr[DHC_MAX_KERNEL_PTRS + 1];
  if (!lane || c->kind != DHC_ITEM_CALL || c->launch.n_ptrs > DHC_MAX_KERNEL_PTRS || !c->launch.ptr[c->launch.n_ptrs]) return run_command(d, c, s->early);
  DhcCommand own = *c;
  memcpy(ptr, c->launch.ptr, sizeof *ptr * (size_t)(c->launch.n_ptrs + 1));
  ptr[c->launch.n_ptrs] += (uint64_t)(lane * c->launch.shared_bytes);
  own.launch.ptr = ptr;
  return run_command(d, &own, s->early);
}

/* Signal i is command i's, signal n + lane the beginning (0) and the ends of the others. */
static dhc_status record_step(DhcDevice *d, const DhcCommand *c, const DhcCudaStep *s, int64_t i, int64_t n, bool *begun) {
  DHC_TRY(dhc_cuda_lane(gpu(d), s->lane, s->urgent));
  if (!begun[s->lane]) DHC_TRY(dhc_cuda_await(gpu(d), (int)n));
  begun[s->lane] = true;
  for (int k = 0; k < DHC_CUDA_ALL_LANES; k++)
    if (s->after[k] >= 0) DHC_TRY(dhc_cuda_await(gpu(d), s->after[k]));
  if (c->kind != DHC_ITEM_JOIN) DHC_TRY(run_in_lane(d, c, s));
  return s->signals ? dhc_cuda_signal(gpu(d), (int)i) : dhc_status_ok();
}

static dhc_status record_lanes(DhcDevice *d, const DhcCommand *c, const DhcCudaStep *s, int64_t n) {
  bool begun[DHC_CUDA_ALL_LANES] = {true};
  DHC_TRY(dhc_cuda_signal(gpu(d), (int)n));
  dhc_status st = dhc_status_ok();
  for (int64_t i = 0; i < n && !st.code; i++) st = record_step(d, &c[i], &s[i], i, n, begun);
  for (int k = 1; k < DHC_CUDA_ALL_LANES && !st.code; k++) {
    if (!begun[k]) continue;
    st = dhc_cuda_lane(gpu(d), k, false);
    if (!st.code) st = dhc_cuda_signal(gpu(d), (int)n + k);
    dhc_status main = dhc_cuda_lane(gpu(d), 0, false);
    if (!st.code) st = main;
    if (!st.code) st = dhc_cuda_await(gpu(d), (int)n + k);
  }
  return st;
}

static dhc_status record(DhcDevice *d, const DhcCommand *c, int64_t n, const Uses *u, DhcCudaGraph **out) {
  DHC_TRY(dhc_cuda_record_begin(gpu(d)));
  dhc_status st = dhc_status_ok();
  if (u->in_lanes) st = record_lanes(d, c, u->step, n);
  for (int64_t i = 0; i < n && !st.code && !u->in_lanes; i++) st = run_command(d, &c[i], u->step && u->step[i].early);
  dhc_status end = dhc_cuda_record_end(gpu(d), out);
  return st.code ? st : end;
}

static dhc_status cuda_prepare(DhcDevice *d, const DhcCommand *c, int64_t n, void **out) {
  DhcCudaGraph *graph = NULL;
  Uses uses = {0};
  *out = NULL;
  want_all(c, n);
  dhc_status st = find_uses(c, n, self(d)->met, &uses);
  if (!st.code) st = record(d, c, n, &uses, &graph);
  free(uses.use);
  free(uses.step);
  if (st.code) dhc_cuda_graph_free(gpu(d), graph);
  else *out = graph;
  return st;
}

/* ---- the same graph with a mark before every command and one at the end ------------------------ */

static dhc_status record_marked(DhcDevice *d, const DhcCommand *c, int64_t n, DhcCudaMark **mark, DhcCudaGraph **out) {
  want_all(c, n);
  DHC_TRY(dhc_cuda_record_begin(gpu(d)));
  dhc_status st = dhc_status_ok();
  for (int64_t i = 0; i <= n && !st.code; i++) {
    st = dhc_cuda_mark(gpu(d), mark[i]);
    if (i < n && !st.code) st = run_command(d, &c[i], false);
  }
  dhc_status end = dhc_cuda_record_end(gpu(d), out);
  return st.code ? st : end;
}

static dhc_status cuda_time(DhcDevice *d, const DhcCommand *c, int64_t n, float *ms) {
  DhcCudaGraph *graph = NULL;
  DhcCudaMark **mark = calloc((size_t)n + 1, sizeof *mark);
  if (!mark) return dhc_status_memory((long long)((n + 1) * (int64_t)sizeof *mark), "marks");
  dhc_status st = dhc_status_ok();
  for (int64_t i = 0; i <= n && !st.code; i++) st = dhc_cuda_mark_new(gpu(d), &mark[i]);
  if (!st.code) st = record_marked(d, c, n, mark, &graph);
  if (!st.code) st = dhc_cuda_replay(gpu(d), graph);
  if (!st.code) st = dhc_cuda_sync(gpu(d));
  for (int64_t i = 0; i < n && !st.code; i++) st = dhc_cuda_between(gpu(d), mark[i], mark[i + 1], &ms[i]);
  dhc_cuda_graph_free(gpu(d), graph);
  for (int64_t i = 0; i <= n; i++) dhc_cuda_mark_free(gpu(d), mark[i]);
  free(mark);
  return st;
}

static dhc_status cuda_replay(DhcDevice *d, void *prepared) { return dhc_cuda_replay(gpu(d), prepared); }
static void cuda_forget(DhcDevice *d, void *prepared) { dhc_cuda_graph_free(gpu(d), prepared); }

static const DhcDeviceOps ops = {.close = cuda_close, .describe = cuda_describe, .alloc = cuda_alloc, .free = cuda_free,
                                 .upload = cuda_upload, .room = cuda_room, .download = cuda_download, .host_alloc = cuda_host_alloc,
                                 .host_free = cuda_host_free, .ahead = cuda_ahead, .behind = cuda_behind, .view = cuda_view, .copy = cuda_copy,
                                 .fill = cuda_fill, .load = cuda_load, .launch = cuda_launch, .synchronise = cuda_synchronise,
                                 .prepare = cuda_prepare, .replay = cuda_replay, .forget = cuda_forget, .time = cuda_time,
                                 .meet_id = cuda_meet_id, .meet = cuda_meet, .ranks = cuda_ranks, .join = cuda_join, .spread = cuda_spread, .leave = cuda_leave};

dhc_status dhc_cuda_device_open(const DhcDeviceOptions *o, DhcDevice **out) {
  CudaDevice *d = calloc(1, sizeof *d);
  if (!d) return dhc_status_memory((long long)sizeof *d, "a device");
  d->device.ops = &ops;
  d->exec = o->exec;
  dhc_status st = dhc_cuda_gpu_open(o->number, &d->gpu);
  if (st.code) free(d);
  else *out = &d->device;
  return st;
}
