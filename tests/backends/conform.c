#include "tests/backends/conform.h"

#include <stdio.h>
#include <stdlib.h>

#include "backends/backend.h"
#include "backends/loop/tpl.h"
#include "passes/plan/schedule.h"
#include "runtime/plan.h"

/* Code is a function of a loop program and the target: cases that differ in sizes, and classes that differ in their
 * guard, are often one program. */
typedef struct Compiled {
  const char *text;
  dhc_kernel_fn fn;
} Compiled;

struct Conform {
  const DhcBackend *row;
  const char *features;
  void *self, *worker; /* the row's */
  DhcTargetFacts facts;
  DhcDevice *device;
  DHC_VEC(Compiled) code;
  DhcArena arena;
  int n_run;
  struct {
    DhcDevicePtr at;
    int64_t bytes;
  } memory[DHC_SPEC_MAX_OPERANDS + 2]; /* of operands, scratch and what tasks share: kept from run to run */
  Conform *next;
};

static Conform *opened;
static int n_equal, n_differ;

static void check(dhc_status s) {
  if (s.code) {
    fprintf(stderr, "%s\n", s.message);
    abort();
  }
}

static void report(void) {
  while (opened) {
    Conform *b = opened;
    opened = b->next;
    fprintf(stderr, "%s %s: %d programs compiled, %d runs of size classes\n", b->row->name, b->features ? b->features : "", b->code.n, b->n_run);
    b->row->worker_close(b->worker);
    b->row->close(b->self);
    for (size_t i = 0; i < sizeof b->memory / sizeof *b->memory; i++) b->device->ops->free(b->device, b->memory[i].at);
    dhc_device_close(b->device);
    dhc_arena_fini(&b->arena);
    free(b);
  }
  if (n_equal + n_differ) fprintf(stderr, "outputs with the first backend's bits %d, with others %d\n", n_equal, n_differ);
}

static bool same(const char *a, const char *b) {
  return a && b ? !strcmp(a, b) : a == b;
}

static bool first_compiles(void) { return dhc_backend_find(dhc_backend_name(0))->open; }

Conform *conform_on(const char *backend, const char *features) {
  for (Conform *b = opened; b; b = b->next)
    if (same(b->row->name, backend) && same(b->features, features)) return b;
  if (!opened) atexit(report);
  Conform *b = calloc(1, sizeof *b);
  if (!b) abort();
  dhc_arena_init(&b->arena);
  b->features = features ? dhc_arena_strdup(&b->arena, features) : NULL;
  b->row = dhc_backend_find(backend);
  if (!b->row || !b->row->open) check((dhc_status){DHC_E_ENVIRONMENT, "no backend of that name compiles"});
  dhc_status st = b->row->device_open(&(DhcDeviceOptions){0}, &b->device);
  if (st.code == DHC_E_ENVIRONMENT && !first_compiles()) {
    fprintf(stderr, "skipped: %s\n", st.message);
    exit(77);
  }
  check(st);
  const DhcCompileOptions o = {.backend = backend, .features = b->features, .workers = 1, .device = b->device};
  const char *key, *needs;
  check(b->row->open(&b->arena, &o, &b->self, &b->facts, &key, &needs));
  check(b->row->worker_open(b->self, &b->worker));
  b->next = opened;
  return opened = b;
}

Conform *conform_first(const char *features) {
  if (!first_compiles()) return NULL;
  return conform_on(dhc_backend_name(0), features);
}

Conform *conform_other(void) {
  const char *name = getenv("DHC_TEST_BACKEND");
  if (!name && !first_compiles()) name = "cuda";
  return name ? conform_on(name, NULL) : NULL;
}

const DhcTargetFacts *conform_target(const Conform *b) {
  return &b->facts;
}

bool conform_has(const DhcSpec *s) {
  const char *part = getenv("DHC_TEST_PART");
  unsigned i = 0, n = 1, hash = 5381;
  if (!part) return true;
  if (sscanf(part, "%u/%u", &i, &n) != 2 || i >= n) check((dhc_status){DHC_E_USAGE, "DHC_TEST_PART is not I/N with I below N"});
  DhcArena a;
  dhc_arena_init(&a);
  DhcText text = {.arena = &a};
  dhc_spec_print(s, &text);
  for (const char *c = dhc_text_str(&text); *c; c++) hash = hash * 33 + (unsigned char)*c;
  dhc_arena_fini(&a);
  return hash / 7 % n == i;
}

static bool by_design(const char *why) {
  return strstr(why, "not compiled") || strstr(why, "for f32 only");
}

/* False: it has no form there. */
static bool compile(Conform *b, const DhcLp *p, const char *text, dhc_kernel_fn *fn) {
  const char *name = dhc_arena_printf(&b->arena, "k%d", b->code.n);
  DhcBytes bytes = {0};
  if (getenv("CASE_ASM")) {
    check(b->row->generate(b->worker, &p, &name, 1, DHC_TEXT_ASM, NULL, &bytes));
    fwrite(bytes.bytes, 1, bytes.n_bytes, stdout);
    free(bytes.bytes);
  }
  dhc_status st = b->row->generate(b->worker, &p, &name, 1, DHC_TEXT_NONE, NULL, &bytes);
  if (st.code == DHC_E_INPUT && by_design(st.message)) return false;
  check(st);
  check(b->device->ops->load(b->device, bytes.bytes, bytes.n_bytes, &name, 1, fn));
  free(bytes.bytes);
  const Compiled made = {dhc_arena_strdup(&b->arena, text), *fn};
  DHC_PUSH(&b->arena, &b->code, made);
  return true;
}

static bool make_class(Conform *b, const DhcSpec *s, const DhcSchedule *schedule, DhcArena *arena, dhc_kernel_class *out) {
  const char *why = NULL;
  const DhcTplInput in = {s, schedule, &b->facts, arena};
  const DhcLp *p = dhc_template_build(&in, &why);
  if (!p && by_design(why)) return false;
  if (!p) check(dhc_status_make(DHC_E_USAGE, "the template refused the spec: %s", why));
  DhcText text = {.arena = arena};
  dhc_lp_print(p, &text);
  if (getenv("CASE_LOOP")) puts(dhc_text_str(&text));
  for (int i = 0; i < p->code.n; i++) /* what a writer looks at and the text does not say */
    if (p->code.at[i]->rounds) dhc_text_printf(&text, "%d: %d rounds\n", i, p->code.at[i]->rounds);
  *out = (dhc_kernel_class){.guard = schedule->guard, .n_tasks = p->n_tasks, .first_tasks = p->first_tasks, .scratch_bytes = p->scratch_bytes,
                            .shared_bytes = p->shared_bytes};
  memcpy(out->later_tasks, p->later_tasks, sizeof out->later_tasks);
  for (int i = 0; i < b->code.n && !out->fn; i++)
    if (!strcmp(b->code.at[i].text, dhc_text_str(&text))) out->fn = b->code.at[i].fn;
  return out->fn || compile(b, p, dhc_text_str(&text), &out->fn);
}

bool conform_compile(Conform *b, const DhcSpec *s, const DhcSchedule *classes, int n, DhcArena *arena, dhc_kernel *out) {
  DhcSchedule chosen[DHC_MAX_CLASSES];
  if (!dhc_template_find(NULL, s->kind, b->facts.kind)) return false; /* no pipeline for that target makes the kind */
  if (!n) {
    n = dhc_schedule_choose(s, &b->facts, arena, chosen);
    classes = chosen;
  }
  dhc_kernel_class *made = DHC_NEW_N(arena, dhc_kernel_class, n);
  for (int i = 0; i < n; i++)
    if (!make_class(b, s, &classes[i], arena, &made[i])) return false;
  *out = (dhc_kernel){.n_ptrs = s->n_operands, .n_dims = dhc_spec_n_dims(s), .n_classes = n, .classes = made};
  return true;
}

/* ---- running --------------------------------------------------------------------------- */

int64_t conform_prog(dhc_dimprog p, const int64_t *dim) {
  enum { ANY = 1 << 20 }; /* the kernel's own programs stay within its dims */
  int64_t v;
  if (!dhc_dimprog_eval(p, dim, ANY, 0, &v)) abort();
  return v;
}

void conform_phases(const dhc_kernel_class *k, const int64_t *dim, int64_t cut[DHC_MAX_PHASES + 1]) {
  cut[0] = 0;
  cut[1] = conform_prog(k->first_tasks, dim);
  for (int i = 2; i <= DHC_MAX_PHASES; i++)
    cut[i] = conform_prog(i < DHC_MAX_PHASES && k->later_tasks[i - 2].n_code ? k->later_tasks[i - 2] : k->n_tasks, dim);
}

/* Piece i of the memory. */
static DhcDevicePtr take(Conform *b, int i, int64_t bytes) {
  DhcDevice *d = b->device;
  if (bytes <= b->memory[i].bytes) return b->memory[i].at;
  d->ops->free(d, b->memory[i].at);
  b->memory[i].bytes = bytes;
  check(d->ops->alloc(d, bytes, &b->memory[i].at));
  return b->memory[i].at;
}

/* The same, holding NaN; 0: none is needed. */
static DhcDevicePtr junk(Conform *b, int i, int64_t bytes) {
  if (!bytes) return 0;
  bytes = (bytes + 3) / 4 * 4;
  DhcDevicePtr at = take(b, i, bytes);
  check(b->device->ops->fill(b->device, at, 0xffffffffu, bytes));
  return at;
}

static void launch(DhcDevice *d, DhcLaunch *l, bool backwards) {
  int64_t first = l->task0, n = l->n_tasks;
  if (!backwards && n > 0) check(d->ops->launch(d, l));
  l->n_tasks = 1;
  for (l->task0 = first + n - 1; backwards && l->task0 >= first; l->task0--) check(d->ops->launch(d, l));
}

void conform_run(Conform *b, const DhcSpec *s, const dhc_kernel_class *k, const ConformRun *r) {
  DhcDevice *d = b->device;
  DhcDevicePtr at[DHC_SPEC_MAX_OPERANDS] = {0}, ptr[DHC_SPEC_MAX_OPERANDS + 1] = {0};
  int n = s->n_operands;
  for (int o = 0; o < n; o++) {
    at[o] = take(b, o, (int64_t)r->bytes[o] + 1);
    check(d->ops->upload(d, at[o], r->before[o], (int64_t)r->bytes[o]));
    ptr[o] = at[o] - (uint64_t)(r->lo[o] * dhc_dtype_bytes(s->operand[o].dtype));
  }
  int64_t scratch_bytes = (conform_prog(k->scratch_bytes, r->dim) + 63) / 64 * 64, cut[DHC_MAX_PHASES + 1];
  DhcDevicePtr scratch = junk(b, n, scratch_bytes), shared = junk(b, n + 1, conform_prog(k->shared_bytes, r->dim));
  ptr[n] = shared;
  conform_phases(k, r->dim, cut);
  for (int phase = 0; phase < DHC_MAX_PHASES; phase++) {
    DhcLaunch l = {.fn = k->fn, .ptr = ptr, .dim = (const intptr_t *)r->dim, .n_ptrs = n, .n_dims = dhc_spec_n_dims(s), .phase = phase,
                   .task0 = cut[phase], .n_tasks = cut[phase + 1] - cut[phase], .scratch = scratch, .worker_scratch = scratch_bytes};
    launch(d, &l, r->backwards);
  }
  for (int o = dhc_spec_n_inputs(s); o < n; o++) check(d->ops->download(d, r->after[o], at[o], (int64_t)r->bytes[o]));
  check(d->ops->synchronise(d));
  b->n_run++;
}

void conform_bits(const void *first, const void *other, size_t bytes) {
  *(memcmp(first, other, bytes) ? &n_differ : &n_equal) += 1;
}
