/* Preloaded into a command: kills it at the Nth call that changes a file.
 *
 *   DHC_KILL_AT=N     SIGKILL before call number N (from 1), or, of a write, after half of it
 *   DHC_KILL_TORN=1   the latter
 *   DHC_KILL_COUNT=F  at the end of the process F holds how many calls there were
 *
 * Descriptors 0 to 2 are not counted: what goes there changes no file of a run. */
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

static atomic_long n_calls;

static void *next(const char *name) {
  void *f = dlsym(RTLD_NEXT, name);
  if (!f) abort();
  return f;
}
#define REAL(name, type) ((type)next(name))

static bool at_the_call(void) {
  const char *at = getenv("DHC_KILL_AT");
  long n = atomic_fetch_add(&n_calls, 1) + 1;
  return at && n == atol(at);
}

static void die(void) {
  raise(SIGKILL);
}

static void strike(void) {
  if (at_the_call()) die();
}

__attribute__((destructor)) static void tell(void) {
  const char *path = getenv("DHC_KILL_COUNT");
  FILE *f = path ? fopen(path, "w") : NULL;
  if (!f) return;
  fprintf(f, "%ld\n", atomic_load(&n_calls));
  fclose(f);
}

ssize_t write(int fd, const void *from, size_t n) {
  ssize_t (*real)(int, const void *, size_t) = REAL("write", ssize_t(*)(int, const void *, size_t));
  if (fd > 2 && at_the_call()) {
    if (getenv("DHC_KILL_TORN") && n > 1 && real(fd, from, n / 2) < 0) abort();
    die();
  }
  return real(fd, from, n);
}

ssize_t pwrite(int fd, const void *from, size_t n, off_t at) {
  strike();
  return REAL("pwrite", ssize_t(*)(int, const void *, size_t, off_t))(fd, from, n, at);
}

int open(const char *path, int flags, ...) {
  va_list ap;
  va_start(ap, flags);
  mode_t mode = flags & O_CREAT ? va_arg(ap, mode_t) : 0;
  va_end(ap);
  if (flags & (O_CREAT | O_TRUNC)) strike();
  return REAL("open", int (*)(const char *, int, ...))(path, flags, mode);
}

int openat(int dir, const char *path, int flags, ...) {
  va_list ap;
  va_start(ap, flags);
  mode_t mode = flags & O_CREAT ? va_arg(ap, mode_t) : 0;
  va_end(ap);
  if (flags & (O_CREAT | O_TRUNC)) strike();
  return REAL("openat", int (*)(int, const char *, int, ...))(dir, path, flags, mode);
}

int fsync(int fd) {
  strike();
  return REAL("fsync", int (*)(int))(fd);
}

int ftruncate(int fd, off_t n) {
  strike();
  return REAL("ftruncate", int (*)(int, off_t))(fd, n);
}

int rename(const char *from, const char *to) {
  strike();
  return REAL("rename", int (*)(const char *, const char *))(from, to);
}

int renameat(int a, const char *from, int b, const char *to) {
  strike();
  return REAL("renameat", int (*)(int, const char *, int, const char *))(a, from, b, to);
}

int unlink(const char *path) {
  strike();
  return REAL("unlink", int (*)(const char *))(path);
}

int unlinkat(int dir, const char *path, int flags) {
  strike();
  return REAL("unlinkat", int (*)(int, const char *, int))(dir, path, flags);
}

int mkdir(const char *path, mode_t mode) {
  strike();
  return REAL("mkdir", int (*)(const char *, mode_t))(path, mode);
}
