/* bench: how long a call of an object takes, from a shared library that `build` made, called as any program would. */
#include <cjson/cJSON.h>
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli/report.h"

enum { MAX_ARGS = 24, MAX_BLOCKS = 64, SAMPLES = 1 << 20 };

typedef struct Bench {
  const Cli *c;
  void *library;
  cJSON *about;
  const cJSON *entry;
  void *blocks[MAX_BLOCKS]; /* of the tensors, to be freed */
  int n_blocks;
  void *weights, *state, *scalars;
  intptr_t args[MAX_ARGS];
  int n_args;
  void *function;
  bool silent; /* of what cannot be called nothing is said */
} Bench;

/* Machines of 64 bits pass integers and pointers alike, and a function does not mind more than it takes. */
typedef int64_t (*AnyFunction)(intptr_t, intptr_t, intptr_t, intptr_t, intptr_t, intptr_t, intptr_t, intptr_t, intptr_t, intptr_t, intptr_t,
                               intptr_t, intptr_t, intptr_t, intptr_t, intptr_t, intptr_t, intptr_t, intptr_t, intptr_t, intptr_t,
                               intptr_t, intptr_t, intptr_t);
_Static_assert(sizeof(intptr_t) == 8, "an int64_t is passed as a pointer is");
static int64_t call(void *fn, const intptr_t *a) {
  AnyFunction f;
  memcpy(&f, &fn, sizeof f);
  return f(a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7], a[8], a[9], a[10], a[11], a[12], a[13], a[14], a[15], a[16], a[17], a[18], a[19], a[20],
           a[21], a[22], a[23]);
}

static double now_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

static const char *text_of(const cJSON *o, const char *key) {
  const char *s = cJSON_GetStringValue(cJSON_GetObjectItem(o, key));
  return s ? s : "";
}

static void *find(const Bench *b, const char *a, const char *end) {
  char name[256];
  snprintf(name, sizeof name, "%s%s", a, end);
  return dlsym(b->library, name);
}

/* At a multiple of 64, until the end; NULL: no memory. */
static void *block(Bench *b, int64_t bytes) {
  if (b->n_blocks == MAX_BLOCKS || bytes < 0) return NULL;
  void *p = aligned_alloc(64, ((size_t)bytes / 64 + 1) * 64);
  if (p) memset(p, 0, ((size_t)bytes / 64 + 1) * 64);
  b->blocks[b->n_blocks++] = p;
  return p;
}

/* A number of the library's document; -1: it is no whole one from 0 on. */
static int64_t whole(const cJSON *x) {
  return cJSON_IsNumber(x) && x->valuedouble >= 0 && x->valuedouble <= 0x1p53 ? (int64_t)x->valuedouble : -1;
}

static int64_t size_named(const Cli *c, const char *name) {
  size_t n = strlen(name);
  for (const char *at = c->sizes; at && *at; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL)
    if (!strncmp(at, name, n) && at[n] == '=') return strtoll(at + n + 1, NULL, 10);
  return 1;
}

static int64_t value_of(const Bench *b, const cJSON *entry, const char *symbol) {
  const cJSON *s;
  cJSON_ArrayForEach(s, cJSON_GetObjectItem(entry, "sizes")) {
    const cJSON *v = cJSON_GetObjectItem(s, "value");
    if (!strcmp(text_of(s, "name"), symbol)) return v ? whole(v) : size_named(b->c, symbol);
  }
  return -1;
}

/* Elements of "f32[B,3,2*H]": products of numbers and sizes; -1: it is written otherwise. */
static int64_t elements(const Bench *b, const cJSON *entry, const char *type) {
  const char *at = strchr(type, '[');
  int64_t n = 1;
  while (at && *at && *at != ']') {
    char word[64];
    at += strspn(at, "[, *");
    size_t k = strcspn(at, ",* ]");
    if (!k || k >= sizeof word) break;
    snprintf(word, sizeof word, "%.*s", (int)k, at);
    int64_t v = *at >= '0' && *at <= '9' ? strtoll(word, NULL, 10) : value_of(b, entry, word);
    if (v < 0) return -1;
    n *= v;
    at += k;
  }
  return n;
}

static int64_t bytes_of(const char *type) {
  static const struct {
    const char *name;
    int64_t bytes;
  } of[] = {{"f32", 4}, {"f64", 8}, {"bf16", 2}, {"i64", 8}, {"i32", 4}, {"u32", 4}, {"i16", 2}, {"u16", 2}, {"i8", 1}, {"u8", 1}, {"bool", 1}};
  for (size_t i = 0; i < sizeof of / sizeof *of; i++)
    if (!strncmp(type, of[i].name, strlen(of[i].name))) return of[i].bytes;
  return 8;
}

static void fill(float *x, int64_t n, float by) {
  uint32_t seed = 7;
  for (int64_t i = 0; i < n; i++) {
    seed = seed * 1664525u + 1013904223u;
    x[i] = by * ((float)(seed >> 16) / 32768 - 1);
  }
}

static int wrong(const Bench *b, const char *what) {
  if (!b->silent) cli_error(b->c, "bench: %s: %s", b->c->object, what);
  return 1;
}

/* Of a library that only looks like an object of ours. */
static const char not_so[] = "it does not do what docs/abi.md says";

static int no_entry(const Bench *b) {
  char all[512] = "";
  size_t n = 0;
  const cJSON *e;
  cJSON_ArrayForEach(e, cJSON_GetObjectItem(b->about, "entries"))
    if (n < sizeof all) n += (size_t)snprintf(all + n, sizeof all - n, "%s%s", n ? ", " : "", text_of(e, "name"));
  cli_error(b->c, "bench: %s: it has no such entry; entries: %s", b->c->object, all);
  return 1;
}

/* ---- opening ------------------------------------------------------------------------------------ */

static int open_object(Bench *b) {
  char path[4096];
  snprintf(path, sizeof path, "%s%s", strchr(b->c->object, '/') ? "" : "./", b->c->object);
  b->library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (!b->library) {
    cli_error(b->c, "bench: %s", dlerror());
    return 1;
  }
  /* the library's functions begin with its own name, unless it is given */
  const char *slash = strrchr(b->c->object, '/'), *stem = slash ? slash + 1 : b->c->object;
  char name[128];
  snprintf(name, sizeof name, "%.*s", (int)strcspn(stem, "."), stem);
  const intptr_t none[MAX_ARGS] = {0};
  void *describe = find(b, b->c->name ? b->c->name : name, "_describe");
  if (!describe) {
    cli_error(b->c, "bench: %s has no function %s_describe: it is no object of dhcc build, or of another --name", b->c->object,
              b->c->name ? b->c->name : name);
    return 1;
  }
  b->about = cJSON_Parse((const char *)(intptr_t)call(describe, none));
  const cJSON *e;
  cJSON_ArrayForEach(e, cJSON_GetObjectItem(b->about, "entries")) {
    const char *of = text_of(e, "name");
    if (b->c->entry ? !strcmp(of, b->c->entry) : !b->entry) b->entry = e;
  }
  return b->entry ? 0 : no_entry(b);
}

/* Every part of --sizes gives a size of the entry that the object leaves open a whole number from 1. */
static int check_sizes(const Bench *b) {
  for (const char *at = b->c->sizes; at && *at; at += strcspn(at, ","), at += *at == ',') {
    int length = (int)strcspn(at, ","), name = (int)strcspn(at, "=,");
    char *end = NULL;
    long long v = at[name] == '=' && at[name + 1] >= '0' && at[name + 1] <= '9' ? strtoll(at + name + 1, &end, 10) : 0;
    const cJSON *s, *of = NULL;
    cJSON_ArrayForEach(s, cJSON_GetObjectItem(b->entry, "sizes"))
      if (strlen(text_of(s, "name")) == (size_t)name && !strncmp(text_of(s, "name"), at, (size_t)name)) of = s;
    if (end != at + length || v < 1 || v > INT32_MAX)
      cli_error(b->c, "--sizes: needs NAME=N with N from 1 to %d, got \"%.*s\"", INT32_MAX, length, at);
    else if (!of)
      cli_error(b->c, "--sizes: entry '%s' of %s has no size '%.*s'", text_of(b->entry, "name"), b->c->object, name, at);
    else if (cJSON_GetObjectItem(of, "value"))
      cli_error(b->c, "--sizes: %s fixes %.*s at %lld", b->c->object, name, at, (long long)whole(cJSON_GetObjectItem(of, "value")));
    else
      continue;
    return 2;
  }
  return 0;
}

/* Of no particular values, but none of them 0. */
static int make_weights(Bench *b) {
  const char *name = text_of(b->about, "name");
  int64_t bytes = whole(cJSON_GetObjectItem(b->about, "weights_bytes"));
  void *begin = find(b, name, "_weights_begin"), *set = find(b, name, "_weights_set");
  if (!begin || !set) return 0;
  if (bytes < 0) return wrong(b, not_so);
  b->weights = block(b, bytes);
  float *tensor = block(b, bytes);
  if (!b->weights || !tensor) return cli_no_memory(b->c);
  const intptr_t first[MAX_ARGS] = {(intptr_t)b->weights, (intptr_t)bytes};
  if ((int)call(begin, first)) return wrong(b, not_so);
  int k = 0;
  const cJSON *t, *d;
  cJSON_ArrayForEach(t, cJSON_GetObjectItem(b->about, "weights")) {
    int64_t n = 1;
    cJSON_ArrayForEach(d, cJSON_GetObjectItem(t, "shape")) {
      int64_t of = whole(d);
      if (of < 0 || n > bytes / 4 / (of ? of : 1)) return wrong(b, not_so); /* more than there are weights */
      n *= of;
    }
    fill(tensor, n, 0.05f);
    const intptr_t a[MAX_ARGS] = {(intptr_t)b->weights, k++, (intptr_t)tensor, (intptr_t)(n * bytes_of(text_of(t, "dtype")))};
    if ((int)call(set, a)) return wrong(b, not_so);
  }
  return 0;
}

static bool is_true(const cJSON *entry, const char *key) { return cJSON_IsTrue(cJSON_GetObjectItem(entry, key)); }

static int add_tensors(Bench *b, const char *key) {
  const cJSON *t;
  cJSON_ArrayForEach(t, cJSON_GetObjectItem(b->entry, key)) {
    const char *type = text_of(t, "type");
    int64_t n = elements(b, b->entry, type);
    void *p = n < 0 ? NULL : block(b, n * bytes_of(type));
    if (n < 0 || b->n_args > MAX_ARGS - 8) return wrong(b, "an input or output whose size bench does not work out");
    if (!p) return cli_no_memory(b->c);
    if (!strncmp(type, "f32", 3)) fill(p, n, 1);
    b->args[b->n_args++] = (intptr_t)p;
  }
  return 0;
}

static int add_sizes(const Bench *b, const cJSON *entry, intptr_t *a) {
  int n = 0;
  const cJSON *s;
  cJSON_ArrayForEach(s, cJSON_GetObjectItem(entry, "sizes"))
    if (!cJSON_GetObjectItem(s, "value")) a[n++] = (intptr_t)value_of(b, entry, text_of(s, "name"));
  return n;
}

static int64_t workspace_of(const Bench *b, const cJSON *entry) {
  intptr_t a[MAX_ARGS] = {0};
  a[add_sizes(b, entry, a)] = 1;
  void *fn = find(b, text_of(entry, "function"), "_workspace_bytes");
  return fn ? call(fn, a) : -1;
}

/* A step of training begins with its own function, and goes on from numbers that the object says. */
static int begin_training(Bench *b) {
  const char *name = text_of(b->entry, "training");
  intptr_t a[MAX_ARGS] = {0};
  add_sizes(b, b->entry, a);
  void *of = find(b, text_of(b->entry, "function"), "_state_bytes"), *init = find(b, name, "_init");
  int64_t bytes = of ? call(of, a) : -1, most = 64;
  const cJSON *s;
  cJSON_ArrayForEach(s, cJSON_GetObjectItem(b->entry, "scalars")) {
    int64_t at = whole(cJSON_GetObjectItem(s, "at"));
    if (at < 0 || at > 4096) return wrong(b, not_so);
    most = at + 8 > most ? at + 8 : most;
  }
  if (bytes < 0 || !init) return wrong(b, not_so);
  b->state = block(b, bytes);
  b->scalars = block(b, most);
  if (!b->state || !b->scalars) return cli_no_memory(b->c);
  cJSON_ArrayForEach(s, cJSON_GetObjectItem(b->entry, "scalars")) {
    char *to = (char *)b->scalars + whole(cJSON_GetObjectItem(s, "at"));
    const cJSON *v = cJSON_GetObjectItem(s, "value");
    double x = cJSON_IsNumber(v) ? v->valuedouble : 0;
    if (!strcmp(text_of(s, "dtype"), "f32")) memcpy(to, &(float){(float)x}, 4);
  }
  const intptr_t first[MAX_ARGS] = {(intptr_t)b->state, (intptr_t)bytes};
  return (int)call(init, first) ? wrong(b, not_so) : 0;
}

/* "forward.step" begins with "forward.reset". */
static int begin_state(Bench *b) {
  const char *of = text_of(b->entry, "name"), *dot = strrchr(of, '.');
  char name[256];
  snprintf(name, sizeof name, "%.*sreset", dot ? (int)(dot + 1 - of) : 0, of);
  const cJSON *e, *reset = NULL;
  cJSON_ArrayForEach(e, cJSON_GetObjectItem(b->about, "entries")) if (!strcmp(text_of(e, "name"), name)) reset = e;
  if (!reset) return wrong(b, not_so);
  intptr_t sizes[MAX_ARGS] = {0}, a[MAX_ARGS] = {0};
  int n = add_sizes(b, reset, sizes), k = 0;
  b->state = block(b, call(find(b, text_of(reset, "function"), "_state_bytes"), sizes));
  int64_t bytes = workspace_of(b, reset);
  void *work = block(b, bytes);
  if (!b->state || !work) return cli_no_memory(b->c);
  if (is_true(reset, "weights")) a[k++] = (intptr_t)b->weights;
  a[k++] = (intptr_t)b->state;
  for (int i = 0; i < n; i++) a[k++] = sizes[i];
  a[k++] = (intptr_t)work;
  a[k] = (intptr_t)bytes;
  return (int)call(find(b, text_of(reset, "function"), ""), a) ? wrong(b, not_so) : 0;
}

/* Sizes that are left open are 1, which may be too small. */
static int not_taken(const Bench *b) {
  intptr_t a[MAX_ARGS] = {0};
  add_sizes(b, b->entry, a);
  void *fn = find(b, text_of(b->entry, "function"), "_why");
  const char *why = fn ? (const char *)(intptr_t)call(fn, a) : NULL;
  if (!why) return wrong(b, not_so);
  if (!b->silent) cli_error(b->c, "bench: %s: the entry does not take these sizes (--sizes; 1 where left out): %s", b->c->object, why);
  return 1;
}

static int prepare(Bench *b) {
  int64_t bytes = workspace_of(b, b->entry);
  if (bytes < 0) return not_taken(b);
  int rc = make_weights(b);
  bool trains = cJSON_GetObjectItem(b->entry, "training") != NULL;
  if (!rc && trains) rc = begin_training(b);
  else if (!rc && is_true(b->entry, "state")) rc = begin_state(b);
  if (rc) return rc;
  if (is_true(b->entry, "weights")) b->args[b->n_args++] = (intptr_t)b->weights;
  if (is_true(b->entry, "state")) b->args[b->n_args++] = (intptr_t)b->state;
  rc = add_tensors(b, "inputs");
  if (!rc) rc = add_tensors(b, "outputs");
  if (rc) return rc;
  void *work = block(b, bytes);
  if (!work) return cli_no_memory(b->c);
  if (trains) b->args[b->n_args++] = (intptr_t)b->scalars;
  b->n_args += add_sizes(b, b->entry, b->args + b->n_args);
  b->args[b->n_args++] = (intptr_t)work;
  b->args[b->n_args++] = (intptr_t)bytes;
  b->function = find(b, text_of(b->entry, "function"), "");
  void *touch = b->c->prefault ? find(b, text_of(b->about, "name"), "_prefault") : NULL;
  int64_t weights = whole(cJSON_GetObjectItem(b->about, "weights_bytes"));
  const intptr_t all[MAX_ARGS] = {(intptr_t)b->weights, b->weights ? (intptr_t)weights : 0, (intptr_t)work, (intptr_t)bytes};
  if (b->c->prefault && !touch) return wrong(b, not_so);
  if (touch) call(touch, all);
  return 0;
}

/* ---- measuring ------------------------------------------------------------------------------------- */

static int by_value(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static void wait_until(double ms) {
  struct timespec t = {.tv_sec = (time_t)(ms / 1e3)};
  t.tv_nsec = (long)((ms - (double)t.tv_sec * 1e3) * 1e6);
  clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL);
}

/* Milliseconds of all calls but the first, sorted. */
typedef struct Calls {
  double *ms, first;
  int64_t n, late;
} Calls;

/* Every call, or at --rate one a tick; late: a call that ends after the next tick. Ticks that are missed are left out. */
static int make_calls(Bench *b, Calls *out) {
  double *ms = malloc(sizeof *ms * SAMPLES), start = now_ms();
  if (!ms) return cli_no_memory(b->c);
  int status = (int)call(b->function, b->args);
  double first = now_ms() - start, tick = b->c->rate > 0 ? 1e3 / b->c->rate : 0;
  int64_t n = 0, late = 0;
  double due = start = now_ms();
  const double seconds = b->c->seconds > 0 ? b->c->seconds : 1;
  while (!status && n < SAMPLES && (now_ms() - start < seconds * 1e3 || n < 10)) {
    if (tick > 0) wait_until(due);
    double t0 = now_ms();
    status = (int)call(b->function, b->args);
    double t1 = now_ms();
    ms[n++] = t1 - t0;
    due += tick;
    late += tick > 0 && t1 > due;
    while (tick > 0 && due < t1) due += tick;
  }
  if (status) {
    free(ms);
    if (!b->silent) cli_error(b->c, "bench: %s: the entry returns status %d (docs/abi.md)", b->c->object, status);
    return 1;
  }
  qsort(ms, (size_t)n, sizeof *ms, by_value);
  *out = (Calls){ms, first, n, late};
  return 0;
}

static double at_share(const Calls *calls, double share) { return calls->ms[(int64_t)(share * (double)(calls->n - 1) + 0.5)]; }

static int measure(Bench *b) {
  Calls all;
  int rc = make_calls(b, &all);
  if (rc) return rc;
  double *ms = all.ms, first = all.first, tick = b->c->rate;
  int64_t n = all.n, late = all.late;
  static const double share[] = {0.5, 0.99, 0.999, 0.9999};
  static const char *const name[] = {"p50_ms", "p99_ms", "p99_9_ms", "p99_99_ms"};
  cJSON *doc = cli_doc(b->c);
  if (doc) {
    cJSON_AddNumberToObject(doc, "calls", (double)n);
    cJSON_AddNumberToObject(doc, "first_ms", first);
    for (int i = 0; i < 4; i++) cJSON_AddNumberToObject(doc, name[i], at_share(&all, share[i]));
    cJSON_AddNumberToObject(doc, "max_ms", ms[n - 1]);
    cJSON_AddNumberToObject(doc, "late", (double)late);
  } else {
    printf("%-10s %12lld\n%-10s %12.4f ms\n", "calls", (long long)n, "first", first);
    static const char *const row[] = {"p50", "p99", "p99.9", "p99.99"};
    for (int i = 0; i < 4; i++) printf("%-10s %12.4f ms\n", row[i], at_share(&all, share[i]));
    printf("%-10s %12.4f ms\n", "max", ms[n - 1]);
    if (tick > 0) printf("%-10s %12lld of %lld\n", "late", (long long)late, (long long)n);
  }
  free(ms);
  return 0;
}

static void bench_close(Bench *b) {
  for (int i = 0; i < b->n_blocks; i++) free(b->blocks[i]);
  cJSON_Delete(b->about);
  if (b->library) dlclose(b->library);
}

void bench_latency(const Cli *c, const char *so, const char *name, const char *entry, double seconds, Latency *out) {
  Cli of = *c;
  of.object = so;
  of.name = name;
  of.entry = entry;
  of.sizes = NULL;
  of.rate = 0;
  of.seconds = seconds;
  of.prefault = false;
  Bench b = {.c = &of, .silent = true};
  Calls all;
  if (!open_object(&b) && !prepare(&b) && !make_calls(&b, &all)) {
    *out = (Latency){all.first, at_share(&all, 0.5), at_share(&all, 0.99)};
    free(all.ms);
  }
  bench_close(&b);
}

/* Options that only calls of an object heed. */
static int bench_of_model(const Cli *c) {
  const char *without = c->object ? "--object" : c->rate > 0 ? "--rate" : c->seconds > 0 ? "--seconds" : c->prefault ? "--prefault" : NULL;
  if (!without) return cli_bench_model(c);
  cli_error(c, "bench: %s is of objects, which are called without a model", without);
  return 2;
}

int cmd_bench(const Cli *c) {
  Bench b = {.c = c};
  if (c->n_args) return bench_of_model(c);
  if (!c->object) {
    cli_error(c, "bench: needs --object FILE.so, or a model");
    return 2;
  }
  int rc = open_object(&b);
  if (!rc) rc = check_sizes(&b);
  if (!rc) rc = prepare(&b);
  if (!rc) rc = measure(&b);
  bench_close(&b);
  return rc;
}
