/* What the tests of objects share: an object built, linked by the system's compiler without any library, loaded, and
 * called by what describe() says; memory that ends where nothing may be touched. */
#ifndef TESTS_OBJECT_LOADED_H
#define TESTS_OBJECT_LOADED_H

#include <cjson/cJSON.h>
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "dhc/dhc.h"

enum { MAX_SETS = 12, MAX_ARGS = 32 };

extern int fails;
extern const char *now; /* the case */
extern char folder[64];

bool check(bool ok, const char *what);
bool good(dhc_status st, dhc_session *s, const char *what);

typedef struct Memory {
  char *at, *map;
  size_t bytes, mapped;
} Memory;
Memory memory_new(size_t bytes);
void memory_free(Memory *m);

typedef struct Exec {
  void *ctx;
  int workers;
  void (*parallel_for)(void *ctx, int64_t n, void (*f)(void *arg, int64_t t0, int64_t t1, int worker), void *arg);
} Exec;
/* Tasks backwards, by fours, by changing workers. */
void backwards(void *ctx, int64_t n, void (*f)(void *, int64_t, int64_t, int), void *arg);

typedef struct Loaded {
  void *so;
  cJSON *about;
  const cJSON *entry;
} Loaded;
/* MAX_ARGS arguments, as many as there are. */
int64_t call(void *fn, const intptr_t *a);
int64_t call_named(const Loaded *l, const char *name, intptr_t a, intptr_t b, intptr_t c, intptr_t d);
void *symbol(const Loaded *l, const char *end); /* of the entry */
/* Dims of a type as text, sizes being values by number. */
int n_dims_of(const cJSON *type, const cJSON *sizes, const int *value, int64_t *dim);
dhc_dtype dtype_of(const char *type);
void fill(void *data, dhc_dtype t, int64_t n, uint32_t seed);

char *slurp(const char *path, size_t *n);
bool same_files(const char *a, const char *b);
/* What the object leaves to its linker, and that nothing in it can be written. */
void look_at_symbols(const char *object);
bool link_object(const char *object, const char *header, const char *so);
/* A folder for the test, and its end. */
void begin_tests(void);
int end_tests(void);

#endif
