/* Preloaded into a command: its n-th request for memory fails, or its n-th and all that follow.
 *
 *   DHC_FAIL_AT=n      counted from 0; not set: none fails
 *   DHC_FAIL_EVER=1    all from the n-th on
 *   DHC_FAIL_COUNT=f   at exit the number of requests is written to the file f
 *
 * or by a program that runs with it: fail_alloc_set (at < 0: none), fail_alloc_count (of those
 * since it was set).
 *
 * Requests are malloc, calloc, realloc, aligned_alloc, posix_memalign, file mappings and new
 * threads. Those made inside LLVM, by itself or through the C and C++ libraries, are neither
 * counted nor refused: it ends the process when it has no memory, which is not ours to mend. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <unwind.h>

typedef struct Range {
  uintptr_t begin, end;
} Range;

enum { MAX_RANGES = 16 };
static Range foreign[MAX_RANGES]; /* LLVM and what only it uses */
static Range shared;              /* the C library: who asks is further up */
static int n_foreign;
static atomic_long count;
static long fail_at = -1;
static bool ever, on;
static _Thread_local __attribute__((tls_model("initial-exec"))) bool inside; /* this file's own requests */

static void *(*real_malloc)(size_t);
static void *(*real_calloc)(size_t, size_t);
static void *(*real_realloc)(void *, size_t);
static void *(*real_aligned)(size_t, size_t);
static int (*real_posix)(void **, size_t, size_t);
static void *(*real_mmap)(void *, size_t, int, int, int, off_t);
static int (*real_thread)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);

/* dlsym itself asks for a little before there is anything to hand it on to. */
static _Alignas(16) char early[4096];
static size_t early_used;
static void *early_alloc(size_t n) {
  n = (n + 15) / 16 * 16;
  if (n > sizeof early - early_used) _exit(97);
  early_used += n;
  return early + early_used - n;
}
static bool is_early(const void *p) { return (const char *)p >= early && (const char *)p < early + sizeof early; }

static void find_real(void) {
  static bool finding;
  if (real_thread || finding) return;
  finding = true;
#define FIND(var, name)                     \
  do {                                      \
    void *sym_ = dlsym(RTLD_NEXT, name);    \
    memcpy(&var, &sym_, sizeof var);        \
  } while (0)
  FIND(real_malloc, "malloc");
  FIND(real_calloc, "calloc");
  FIND(real_realloc, "realloc");
  FIND(real_aligned, "aligned_alloc");
  FIND(real_posix, "posix_memalign");
  FIND(real_mmap, "mmap");
  FIND(real_thread, "pthread_create");
}

static int see_object(struct dl_phdr_info *o, size_t size, void *ctx) {
  (void)size;
  (void)ctx;
  Range r = {UINTPTR_MAX, 0};
  for (int i = 0; i < o->dlpi_phnum; i++) {
    if (o->dlpi_phdr[i].p_type != PT_LOAD) continue;
    uintptr_t at = o->dlpi_addr + o->dlpi_phdr[i].p_vaddr;
    if (at < r.begin) r.begin = at;
    if (at + o->dlpi_phdr[i].p_memsz > r.end) r.end = at + o->dlpi_phdr[i].p_memsz;
  }
  static const char *const names[] = {"/libLLVM", "/libstdc++", "/libasan", "/libubsan"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    if (strstr(o->dlpi_name, names[i]) && n_foreign < MAX_RANGES) foreign[n_foreign++] = r;
  if (strstr(o->dlpi_name, "/libc.so")) shared = r;
  return 0;
}

static bool is_foreign(uintptr_t at) {
  for (int i = 0; i < n_foreign; i++)
    if (at >= foreign[i].begin && at < foreign[i].end) return true;
  return false;
}

static _Unwind_Reason_Code see_frame(struct _Unwind_Context *c, void *found) {
  *(bool *)found = *(bool *)found || is_foreign(_Unwind_GetIP(c));
  return *(bool *)found ? _URC_END_OF_STACK : _URC_NO_REASON;
}

/* Whether this request is to fail. */
static bool fails(const void *caller) {
  if (!on || inside) return false;
  inside = true;
  uintptr_t at = (uintptr_t)caller;
  bool theirs = is_foreign(at);
  if (!theirs && at >= shared.begin && at < shared.end) _Unwind_Backtrace(see_frame, &theirs);
  inside = false;
  if (theirs) return false;
  long k = atomic_fetch_add(&count, 1);
  return fail_at >= 0 && (k == fail_at || (ever && k > fail_at));
}

void fail_alloc_set(long at, bool all);
void fail_alloc_set(long at, bool all) {
  fail_at = at;
  ever = all;
  atomic_store(&count, 0);
}

long fail_alloc_count(void);
long fail_alloc_count(void) {
  return atomic_load(&count);
}

__attribute__((constructor)) static void begin(void) {
  find_real();
  const char *at = getenv("DHC_FAIL_AT");
  if (at) fail_at = atol(at);
  ever = getenv("DHC_FAIL_EVER") != NULL;
  dl_iterate_phdr(see_object, NULL);
  bool warm = false;
  _Unwind_Backtrace(see_frame, &warm);
  on = true;
}

__attribute__((destructor)) static void end(void) {
  const char *to = getenv("DHC_FAIL_COUNT");
  on = false;
  int fd = to ? open(to, O_WRONLY | O_CREAT | O_TRUNC, 0600) : -1;
  if (fd < 0) return;
  char text[32];
  int n = snprintf(text, sizeof text, "%ld\n", atomic_load(&count));
  if (write(fd, text, (size_t)n) != n) _exit(97);
  close(fd);
}

#define FAIL_IF_DUE(nothing)                    \
  do {                                          \
    if (fails(__builtin_return_address(0))) {   \
      errno = ENOMEM;                           \
      return nothing;                           \
    }                                           \
  } while (0)

void *malloc(size_t n) {
  find_real();
  if (!real_malloc) return early_alloc(n);
  FAIL_IF_DUE(NULL);
  return real_malloc(n);
}

void *calloc(size_t n, size_t each) {
  find_real();
  if (!real_calloc) return early_alloc(n * each);
  FAIL_IF_DUE(NULL);
  return real_calloc(n, each);
}

void *realloc(void *p, size_t n) {
  find_real();
  if (is_early(p) || !real_realloc) {
    void *q = real_malloc ? real_malloc(n) : early_alloc(n);
    size_t left = is_early(p) ? (size_t)(early + sizeof early - (char *)p) : 0;
    return p && q ? memcpy(q, p, n < left ? n : left) : q;
  }
  FAIL_IF_DUE(NULL);
  return real_realloc(p, n);
}

void free(void *p) {
  static void (*real_free)(void *);
  static bool finding;
  if (is_early(p) || (finding && !real_free)) return; /* dlsym frees, too */
  finding = true;
  if (!real_free) FIND(real_free, "free");
  real_free(p);
}

void *aligned_alloc(size_t align, size_t n) {
  find_real();
  FAIL_IF_DUE(NULL);
  return real_aligned(align, n);
}

int posix_memalign(void **p, size_t align, size_t n) {
  find_real();
  FAIL_IF_DUE(ENOMEM);
  return real_posix(p, align, n);
}

void *mmap(void *at, size_t n, int prot, int flags, int fd, off_t from) {
  find_real();
  if (fd >= 0) FAIL_IF_DUE(MAP_FAILED);
  return real_mmap(at, n, prot, flags, fd, from);
}

int pthread_create(pthread_t *t, const pthread_attr_t *a, void *(*f)(void *), void *arg) {
  find_real();
  FAIL_IF_DUE(EAGAIN);
  return real_thread(t, a, f, arg);
}
