/* Key -> memory -> store -> templates and a backend's generators in parallel -> linked. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include "backends/backend.h"
#include "backends/payload.h"
#include "runtime/sha256.h"
#include "runtime/status.h"
#include "runtime/stop.h"

enum { MAX_WORKERS = 64, MAX_CLASSES = DHC_MAX_CLASSES };

typedef struct Entry {
  char key[65];
  dhc_kernel kernel;
} Entry;

struct DhcCompiler {
  DhcArena *arena;
  const DhcBackend *backend;
  void *self; /* the backend's */
  DhcTargetFacts facts;
  const char *key_text, *needs;
  DhcStore *store;
  DhcDevice *device;
  bool owns_device, checked;
  int workers;
  void *worker[MAX_WORKERS]; /* generators, opened when first needed */
  DHC_VEC(Entry *) entries;
  struct Late *late; /* kernels that the store does not have yet */
};

dhc_status dhc_compiler_open(DhcArena *arena, const DhcCompileOptions *o, DhcCompiler **out) {
  DhcCompiler *c = DHC_NEW(arena, DhcCompiler);
  const char *name = o->backend ? o->backend : dhc_backend_name(0);
  c->backend = dhc_backend_find(name);
  if (!c->backend || !c->backend->open) return dhc_status_make(DHC_E_USAGE, "--backend %s: this build has no such backend", name);
  c->arena = arena;
  c->store = o->store;
  c->workers = o->workers < 1 ? 1 : o->workers > MAX_WORKERS ? MAX_WORKERS : o->workers;
  DHC_TRY(c->backend->open(arena, o, &c->self, &c->facts, &c->key_text, &c->needs));
  c->checked = o->check_bounds;
  if (c->checked) c->key_text = dhc_arena_printf(arena, "%s checked", c->key_text);
  c->facts.bounded = o->bounded;
  if (o->bounded) c->key_text = dhc_arena_printf(arena, "%s bounded", c->key_text);
  c->device = o->device;
  c->owns_device = !o->device && !o->offline;
  dhc_status s = {0};
  if (c->owns_device) s = c->backend->device_open(&(DhcDeviceOptions){0}, &c->device);
  if (s.code) c->backend->close(c->self);
  else *out = c;
  return s;
}

static void complete(DhcCompiler *c);

void dhc_compiler_close(DhcCompiler *c) {
  if (!c) return;
  complete(c);
  for (int i = 0; i < MAX_WORKERS; i++)
    if (c->worker[i]) c->backend->worker_close(c->worker[i]);
  c->backend->close(c->self);
  if (c->owns_device) dhc_device_close(c->device);
}

const DhcTargetFacts *dhc_compiler_target(const DhcCompiler *c) { return &c->facts; }
const char *dhc_compiler_target_text(const DhcCompiler *c) { return c->key_text; }

/* ---- keys ------------------------------------------------------------------------ */

static void number_text(DhcText *to, int64_t v) {
  dhc_text_puts(to, " ");
  dhc_text_int(to, v);
}

/* A plan asks for thousands of numbers of guards: no formats. */
static void schedule_text(DhcText *to, const DhcSchedule *s) {
  dhc_text_printf(to, "schedule %s", s->template_name ? s->template_name : "");
  for (int i = 0; i < 8; i++) number_text(to, s->v[i]);
  for (int i = 0; i < s->guard.n_code; i++) number_text(to, s->guard.code[i]);
  if (s->wide) dhc_text_puts(to, " wide");
  dhc_text_puts(to, "\n");
}

void dhc_kernel_key(const DhcCompiler *c, const DhcKernelRequest *r, char hex[65]) {
  DhcArena scratch;
  dhc_arena_init(&scratch);
  DhcText text = {.arena = &scratch};
  dhc_text_printf(&text, "generator %s\ntarget %s\n", DHC_GENERATOR_ID, c->key_text);
  for (int i = 0; i < r->n_classes; i++) schedule_text(&text, &r->classes[i]);
  dhc_spec_print(r->spec, &text);
  uint8_t digest[32];
  dhc_sha256_bytes(text.at, (size_t)text.n, digest);
  dhc_sha256_hex(digest, hex);
  dhc_arena_fini(&scratch);
}

static Entry *find(const DhcCompiler *c, const char *key) {
  for (int i = 0; i < c->entries.n; i++)
    if (!strcmp(c->entries.at[i]->key, key)) return c->entries.at[i];
  return NULL;
}

/* ---- one kernel ---------------------------------------------------------------------- */

typedef struct Job {
  const DhcKernelRequest *r;
  char key[65];
  DhcArena arena; /* programs, payload; of this job alone, for its thread */
  dhc_kernel_class classes[MAX_CLASSES];
  const DhcLp *program[MAX_CLASSES];
  const char *name[MAX_CLASSES];
  DhcBytes object;
  dhc_status status;
  DhcHeld held; /* object and arena, in the thread that asked */
} Job;

/* A kernel whose code is not all there yet, for the store. */
typedef struct Late {
  char key[65];
  DhcArena arena;
  dhc_kernel_class classes[MAX_CLASSES];
  int n_classes;
  const char *text; /* of the spec */
  DhcBytes object;
  struct Late *next;
} Late;

static void drop_job(void *what) {
  Job *j = what;
  free(j->object.bytes);
  dhc_arena_fini(&j->arena);
}

static void symbol_names(DhcArena *arena, const char *key, int n, const char **name) {
  for (int i = 0; i < n; i++) name[i] = dhc_arena_printf(arena, "dhc_%.32s_%d", key, i);
}

static const char *kind_name(DhcKind k) {
  static const char *const name[] = {
#define KIND(id, text, ...) [DHC_KIND_##id] = text,
#include "ir/kinds.def"
  };
  return name[k];
}

/* Templates: programs and class programs. */
static dhc_status build_classes(const DhcCompiler *c, const DhcKernelRequest *r, DhcArena *arena, const DhcLp **program,
                                dhc_kernel_class *classes) {
  for (int i = 0; i < r->n_classes; i++) {
    DhcTplInput in = {r->spec, &r->classes[i], &c->facts, arena};
    const char *why = NULL;
    DhcLp *p = dhc_template_build(&in, &why);
    if (!p) return dhc_status_make(DHC_E_INPUT, "%s kernel: %s", kind_name(r->spec->kind), why);
    program[i] = c->checked ? dhc_lp_checked(p, arena) : p;
    classes[i] = (dhc_kernel_class){.guard = r->classes[i].guard, .n_tasks = p->n_tasks, .first_tasks = p->first_tasks,
                                    .scratch_bytes = p->scratch_bytes, .shared_bytes = p->shared_bytes};
    memcpy(classes[i].later_tasks, p->later_tasks, sizeof p->later_tasks);
  }
  return dhc_status_ok();
}

static dhc_status build(const DhcCompiler *c, Job *j) {
  DHC_TRY(build_classes(c, j->r, &j->arena, j->program, j->classes));
  symbol_names(&j->arena, j->key, j->r->n_classes, j->name);
  return dhc_status_ok();
}

static dhc_status generate(const DhcCompiler *c, void *worker, Job *j) {
  DHC_TRY(build(c, j));
  return c->backend->generate(worker, j->program, j->name, j->r->n_classes, DHC_TEXT_NONE, NULL, &j->object);
}

/* For lanes, which are threads of their own: nothing may unwind past them. */
static dhc_status generate_guarded(const DhcCompiler *c, DhcBlocks *blocks, void *worker, Job *j) {
  DHC_GUARDED((dhc_guard_use(blocks), generate(c, worker, j)));
}

static dhc_dimprog keep(DhcArena *arena, dhc_dimprog p) {
  if (p.n_code) p.code = dhc_arena_dup(arena, p.code, sizeof *p.code * (size_t)p.n_code);
  return p;
}

static dhc_kernel_class keep_class(DhcArena *arena, const dhc_kernel_class *c, dhc_kernel_fn fn) {
  dhc_kernel_class r = {.guard = keep(arena, c->guard), .n_tasks = keep(arena, c->n_tasks), .first_tasks = keep(arena, c->first_tasks),
                        .scratch_bytes = keep(arena, c->scratch_bytes), .shared_bytes = keep(arena, c->shared_bytes), .fn = fn};
  for (int i = 0; i < DHC_MAX_PHASES - 2; i++) r.later_tasks[i] = keep(arena, c->later_tasks[i]);
  return r;
}

/* A kernel's table as far as the request tells: its classes are none yet, but how many there will be. */
static dhc_kernel described(DhcArena *arena, const DhcKernelRequest *r, const char *key) {
  return (dhc_kernel){.name = dhc_arena_printf(arena, "%s_%.8s", kind_name(r->spec->kind), key), .n_ptrs = r->spec->n_operands,
                      .n_dims = dhc_spec_n_dims(r->spec), .n_classes = r->n_classes,
                      .flops = dhc_spec_flops(r->spec, arena), .bytes = dhc_spec_bytes(r->spec, arena)};
}

/* Links an object and enters the kernel, described by `about`, under its key. */
static dhc_status add_entry(DhcCompiler *c, const char *key, const dhc_kernel *about, const dhc_kernel_class *classes, const char *object,
                            size_t n_object, Entry **out) {
  const char *name[MAX_CLASSES];
  dhc_kernel_fn fn[MAX_CLASSES];
  int n = about->n_classes;
  symbol_names(c->arena, key, n, name);
  DHC_TRY(c->device->ops->load(c->device, object, n_object, name, n, fn));
  Entry *e = DHC_NEW(c->arena, Entry);
  memcpy(e->key, key, sizeof e->key);
  e->kernel = *about;
  e->kernel.name = dhc_arena_strdup(c->arena, about->name);
  e->kernel.flops = keep(c->arena, about->flops);
  e->kernel.bytes = keep(c->arena, about->bytes);
  dhc_kernel_class *all = DHC_NEW_N(c->arena, dhc_kernel_class, n);
  e->kernel.classes = all;
  for (int i = 0; i < n; i++) all[i] = keep_class(c->arena, &classes[i], fn[i]);
  DHC_PUSH(c->arena, &c->entries, e);
  *out = e;
  return dhc_status_ok();
}

static void drop_bytes(void *b) { dhc_store_bytes_free(b); }

/* NULL: not in the store, or nothing that can be linked. */
static Entry *from_store(DhcCompiler *c, const char *key, const dhc_kernel *about) {
  DhcStoreBytes b;
  if (!c->store || !dhc_store_get(c->store, key, &b)) return NULL;
  dhc_kernel_class classes[MAX_CLASSES];
  const char *object;
  size_t n_object;
  int n;
  Entry *e = NULL;
  DhcHeld held;
  dhc_hold(&held, drop_bytes, &b);
  if (dhc_payload_read(c->arena, b.bytes, b.n_bytes, classes, &n, &object, &n_object) &&
      n == about->n_classes) {
    dhc_status s = add_entry(c, key, about, classes, object, n_object, &e);
    if (s.code) e = NULL; /* made anew instead */
  }
  dhc_release(&held);
  dhc_store_bytes_free(&b);
  return e;
}

/* ---- many in parallel ------------------------------------------------------------------- */

typedef struct Work {
  const DhcCompiler *c;
  DhcBlocks *blocks; /* of the session that asks */
  Job **job;
  int n;
  atomic_int next;
  DhcCompileSeen *seen; /* or NULL */
} Work;

typedef struct Lane {
  Work *work;
  void *generator;
  pthread_t thread;
} Lane;

static void *work_lane(void *arg) {
  Lane *l = arg;
  for (;;) {
    int i = atomic_fetch_add(&l->work->next, 1);
    if (i >= l->work->n) return NULL;
    if (dhc_stop_signal()) {
      l->work->job[i]->status = dhc_status_make(DHC_E_INTERRUPTED, "stopped while compiling");
      continue;
    }
    l->work->job[i]->status = generate_guarded(l->work->c, l->work->blocks, l->generator, l->work->job[i]);
    if (l->work->seen) atomic_fetch_add(&l->work->seen->done, 1);
  }
}

static dhc_status run_jobs(DhcCompiler *c, Job **job, int n, DhcCompileSeen *seen) {
  Work work = {.c = c, .blocks = dhc_guard_blocks(), .job = job, .n = n, .seen = seen};
  if (seen) atomic_store(&seen->of, n);
  Lane lane[MAX_WORKERS];
  int want = c->workers < n ? c->workers : n, have = 0;
  for (int i = 0; i < want; i++) {
    if (!c->worker[i]) DHC_TRY(c->backend->worker_open(c->self, &c->worker[i]));
    lane[i] = (Lane){.work = &work, .generator = c->worker[i]};
  }
  for (int i = 1; i < want; i++, have++)
    if (pthread_create(&lane[i].thread, NULL, work_lane, &lane[i])) break; /* fewer will do */
  work_lane(&lane[0]);
  for (int i = 1; i <= have; i++) pthread_join(lane[i].thread, NULL);
  for (int i = 0; i < n; i++)
    if (job[i]->status.code) return job[i]->status; /* the first in request order */
  return dhc_status_ok();
}

static void put(DhcCompiler *c, const char *key, DhcArena *arena, const dhc_kernel_class *classes, int n, const char *text,
                const DhcBytes *object) {
  size_t n_bytes;
  uint8_t *bytes = dhc_payload_write(arena, classes, n, text, object->bytes, object->n_bytes, &n_bytes);
  dhc_store_put(c->store, key, c->needs, bytes, n_bytes); /* a failed put is only slow */
}

static void put_late(DhcCompiler *c, Job *j, const char *text) {
  Late *l = DHC_NEW(c->arena, Late);
  memcpy(l->key, j->key, sizeof l->key);
  dhc_arena_init(&l->arena);
  l->n_classes = j->r->n_classes;
  for (int i = 0; i < l->n_classes; i++) l->classes[i] = keep_class(&l->arena, &j->classes[i], NULL);
  l->text = dhc_arena_strdup(&l->arena, text);
  l->object = j->object;
  j->object = (DhcBytes){0};
  l->next = c->late;
  c->late = l;
}

static dhc_status finish(DhcCompiler *c, Job *j) {
  Entry *e;
  const dhc_kernel about = described(&j->arena, j->r, j->key);
  DHC_TRY(add_entry(c, j->key, &about, j->classes, j->object.bytes, j->object.n_bytes, &e));
  DhcText text = {.arena = &j->arena};
  dhc_spec_print(j->r->spec, &text);
  if (c->store && c->backend->complete) put_late(c, j, dhc_text_str(&text));
  else if (c->store) put(c, j->key, &j->arena, j->classes, j->r->n_classes, dhc_text_str(&text), &j->object);
  return dhc_status_ok();
}

/* Into the store, when nobody waits for it. A command that was stopped leaves there what was ready. */
static void complete(DhcCompiler *c) {
  while (c->late) {
    Late *l = c->late;
    DhcBytes whole = {0};
    c->late = l->next;
    dhc_status st = c->backend->complete(&l->object, l->n_classes, true, &whole);
    if (!st.code && whole.bytes) put(c, l->key, &l->arena, l->classes, l->n_classes, l->text, &whole);
    free(whole.bytes);
    free(l->object.bytes);
    dhc_arena_fini(&l->arena);
  }
}

static double now_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

static bool pending(Job *const *job, int n, const char *key) {
  for (int i = 0; i < n; i++)
    if (!strcmp(job[i]->key, key)) return true;
  return false;
}

dhc_status dhc_compile(DhcCompiler *c, const DhcKernelRequest *req, int n, dhc_kernel *out,
                       DhcCompileStats *stats) {
  double start = now_ms();
  DhcArena scratch;
  dhc_arena_init(&scratch);
  char(*key)[65] = dhc_arena_alloc(&scratch, sizeof *key * (size_t)(n + 1));
  Job **job = DHC_NEW_N(&scratch, Job *, n + 1);
  int n_jobs = 0;
  for (int i = 0; i < n; i++) {
    dhc_kernel_key(c, &req[i], key[i]);
    if (find(c, key[i]) || pending(job, n_jobs, key[i])) {
      stats->reused_memory++;
      continue;
    }
    const dhc_kernel about = described(&scratch, &req[i], key[i]);
    if (from_store(c, key[i], &about)) {
      stats->reused_disk++;
    } else {
      Job *j = job[n_jobs++] = DHC_NEW(&scratch, Job);
      j->r = &req[i];
      memcpy(j->key, key[i], sizeof j->key);
      dhc_arena_init(&j->arena);
      dhc_hold(&j->held, drop_job, j);
      if (stats->made) stats->made[i] = true;
    }
  }
  dhc_status s = n_jobs ? run_jobs(c, job, n_jobs, stats->seen) : dhc_status_ok();
  for (int i = 0; i < n_jobs; i++) {
    if (!s.code) s = finish(c, job[i]);
    dhc_release(&job[i]->held);
    if (c->backend->complete && job[i]->object.bytes) { /* not for the store */
      dhc_status none = c->backend->complete(&job[i]->object, job[i]->r->n_classes, false, NULL);
      (void)none;
    }
    drop_job(job[i]);
  }
  for (int i = 0; i < n && !s.code; i++) out[i] = find(c, key[i])->kernel;
  if (!s.code) stats->compiled += n_jobs;
  if (!s.code && stats->keys) memcpy(stats->keys, key, sizeof *key * (size_t)n);
  dhc_arena_fini(&scratch);
  stats->ms += now_ms() - start;
  return s;
}

bool dhc_compile_again(DhcCompiler *c, const char (*key)[65], int n, dhc_kernel *kernels, DhcCompileStats *stats) {
  double start = now_ms();
  int memory = 0, disk = 0;
  bool all = true;
  for (int i = 0; all && i < n; i++) {
    const Entry *e = find(c, key[i]);
    if (e) memory++;
    else if ((e = from_store(c, key[i], &kernels[i]))) disk++;
    all = e != NULL;
    if (all) kernels[i] = e->kernel;
  }
  stats->ms += now_ms() - start;
  if (!all) return false;
  stats->reused_memory += memory;
  stats->reused_disk += disk;
  return true;
}

int dhc_compile_missing(const DhcCompiler *c, const DhcKernelRequest *req, int n) {
  DhcArena scratch;
  dhc_arena_init(&scratch);
  char(*key)[65] = dhc_arena_alloc(&scratch, sizeof *key * (size_t)(n + 1));
  int missing = 0;
  for (int i = 0; i < n; i++) {
    dhc_kernel_key(c, &req[i], key[missing]);
    bool there = find(c, key[missing]) != NULL;
    for (int k = 0; k < missing && !there; k++) there = !strcmp(key[k], key[missing]);
    DhcStoreBytes b;
    if (!there && c->store && dhc_store_peek(c->store, key[missing], &b)) {
      there = true;
      dhc_store_bytes_free(&b);
    }
    missing += !there;
  }
  dhc_arena_fini(&scratch);
  return missing;
}

int dhc_compiler_stored(DhcCompiler *c, DhcArena *arena, const char **text, int room) {
  DhcStoreList list;
  int n = 0;
  if (!c->store || dhc_store_list(c->store, &list).code) return 0;
  for (int64_t i = 0; i < list.n_entries && n < room; i++) {
    DhcStoreBytes b;
    if (!dhc_store_peek(c->store, list.entries[i].key, &b)) continue;
    const char *t = dhc_payload_text(arena, b.bytes, b.n_bytes);
    if (t) text[n++] = t;
    dhc_store_bytes_free(&b);
  }
  dhc_store_list_free(&list);
  return n;
}

/* ---- without code -------------------------------------------------------------------------- */

static void no_code(void *const *ptr, const intptr_t *dim, intptr_t task0, intptr_t task1, void *scratch) {
  (void)ptr, (void)dim, (void)task0, (void)task1, (void)scratch;
  DHC_BUG("a kernel without code was run");
}

dhc_status dhc_compile_describe(DhcCompiler *c, const DhcKernelRequest *req, int n, DhcArena *arena, DhcKernelFacts *out) {
  for (int i = 0; i < n; i++) {
    DhcKernelFacts *f = &out[i];
    Job *j = DHC_NEW(arena, Job);
    j->r = &req[i];
    dhc_kernel_key(c, &req[i], f->key);
    memcpy(j->key, f->key, sizeof j->key);
    const Entry *e = find(c, f->key);
    f->there = e || (c->store && dhc_store_has(c->store, f->key));
    f->kernel = e ? e->kernel : (dhc_kernel){.n_ptrs = req[i].spec->n_operands, .n_dims = dhc_spec_n_dims(req[i].spec)};
    if (e) continue;
    f->kernel.name = dhc_arena_printf(arena, "%s_%.8s", kind_name(req[i].spec->kind), f->key);
    dhc_arena_init(&j->arena);
    dhc_hold(&j->held, drop_job, j);
    dhc_status s = build(c, j);
    dhc_kernel_class *all = DHC_NEW_N(arena, dhc_kernel_class, req[i].n_classes + 1);
    for (int k = 0; !s.code && k < req[i].n_classes; k++) all[k] = keep_class(arena, &j->classes[k], no_code);
    f->kernel.classes = all;
    f->kernel.n_classes = req[i].n_classes;
    dhc_release(&j->held);
    drop_job(j);
    DHC_TRY(s);
  }
  return dhc_status_ok();
}

/* ---- objects ----------------------------------------------------------------------------- */

dhc_status dhc_compiler_programs(const DhcCompiler *c, const DhcKernelRequest *r, DhcArena *arena, dhc_kernel *out,
                                 const DhcLp *const **programs) {
  const DhcLp **program = DHC_NEW_N(arena, const DhcLp *, r->n_classes + 1);
  dhc_kernel_class *classes = DHC_NEW_N(arena, dhc_kernel_class, r->n_classes + 1);
  DHC_TRY(build_classes(c, r, arena, program, classes));
  *out = (dhc_kernel){.name = kind_name(r->spec->kind), .n_ptrs = r->spec->n_operands, .n_dims = dhc_spec_n_dims(r->spec),
                      .n_classes = r->n_classes, .classes = classes};
  *programs = program;
  return dhc_status_ok();
}

dhc_status dhc_compiler_object(DhcCompiler *c, const struct DhcObject *o, DhcArena *arena, char **bytes, size_t *n_bytes) {
  DhcBytes b = {0};
  if (!c->backend->object) DHC_BUG("--backend %s makes no objects", c->backend->name);
  if (!c->worker[0]) DHC_TRY(c->backend->worker_open(c->self, &c->worker[0]));
  DHC_TRY(c->backend->object(c->worker[0], o, arena, &b));
  *bytes = b.bytes;
  *n_bytes = b.n_bytes;
  return dhc_status_ok();
}

/* ---- printing --------------------------------------------------------------------------- */

/* A generator, and the text it made. */
typedef struct Printing {
  const DhcBackend *backend;
  void *worker;
  DhcBytes text;
} Printing;

static void drop_printing(void *what) {
  Printing *p = what;
  free(p->text.bytes);
  p->backend->worker_close(p->worker);
}

static dhc_status print_code(DhcCompiler *c, Job *j, DhcStageText stage, DhcText *to) {
  Printing p = {.backend = c->backend};
  DhcHeld held;
  DHC_TRY(c->backend->worker_open(c->self, &p.worker));
  dhc_hold(&held, drop_printing, &p);
  DhcText about = {.arena = &j->arena};
  dhc_spec_print(j->r->spec, &about);
  dhc_status s = c->backend->generate(p.worker, j->program, j->name, j->r->n_classes, stage, dhc_text_str(&about), &p.text);
  if (!s.code) dhc_text_printf(to, "%.*s", (int)p.text.n_bytes, p.text.bytes);
  dhc_release(&held);
  drop_printing(&p);
  return s;
}

/* The backend that writes the stage, and which of its texts it is. */
static const DhcBackend *stage_of(const char *name, DhcStageText *text) {
  for (int i = 0; dhc_backend_at(i); i++)
    for (int t = 0; t < DHC_N_TEXTS; t++) {
      const DhcBackend *b = dhc_backend_at(i);
      *text = (DhcStageText)t;
      if (b->stage[t] && !strcmp(b->stage[t], name)) return b;
    }
  return NULL;
}

const char *dhc_compiler_stage(int i) {
  if (i == 0) return "loop";
  for (int k = 0; dhc_backend_at(k); k++)
    for (int t = 0; t < DHC_N_TEXTS; t++)
      if (dhc_backend_at(k)->stage[t] && --i == 0) return dhc_backend_at(k)->stage[t];
  return NULL;
}

const char *dhc_compiler_stage_backend(const char *stage) {
  DhcStageText text;
  const DhcBackend *b = stage_of(stage, &text);
  return b ? b->name : NULL;
}

dhc_status dhc_compiler_print(DhcCompiler *c, const DhcKernelRequest *r, const char *stage,
                              DhcText *to) {
  Job j = {.r = r};
  dhc_arena_init(&j.arena);
  dhc_kernel_key(c, r, j.key);
  DhcStageText text;
  const DhcBackend *of = stage_of(stage, &text);
  dhc_status s = build(c, &j);
  if (!s.code && !strcmp(stage, "loop")) {
    for (int i = 0; i < r->n_classes; i++) dhc_lp_print(j.program[i], to);
  } else if (!s.code && of == c->backend) {
    s = print_code(c, &j, text, to);
  } else if (!s.code && of) {
    s = dhc_status_make(DHC_E_USAGE, "stage '%s' is one of --backend %s", stage, of->name);
  } else if (!s.code) {
    s = dhc_status_make(DHC_E_USAGE, "no stage '%s' of a kernel in this build", stage);
  }
  dhc_arena_fini(&j.arena);
  return s;
}
