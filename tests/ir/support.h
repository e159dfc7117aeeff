/* A module with diagnostics for one test, and what its messages say. */
#ifndef DHC_TESTS_IR_SUPPORT_H
#define DHC_TESTS_IR_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "ir/ir.h"

typedef struct Bench {
  DhcArena arena;
  DhcStrings strings;
  DhcSources sources;
  DhcDiags diags;
  DhcModule *m; /* empty, or the one last parsed */
} Bench;

void bench_open(Bench *b);
void bench_close(Bench *b);
/* A file's bench, `b`, and a test that begins with a new one. */
#define BENCH_OF_FILE               \
  static Bench b;                   \
  static int setup(void **state) {  \
    (void)state;                    \
    bench_open(&b);                 \
    return 0;                       \
  }                                 \
  static int teardown(void **state) { \
    (void)state;                    \
    bench_close(&b);                \
    return 0;                       \
  }
#define BENCH_TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)
/* Parses text into b->m; NULL after diagnostics. */
DhcModule *bench_parse(Bench *b, const char *text);
/* All messages so far, one a line, hints as "hint: …". */
const char *bench_messages(Bench *b);
/* All of them forgotten. */
void bench_clear(Bench *b);
const char *bench_print(Bench *b, DhcModule *m);
const DhcDim *bench_dim(Bench *b, const char *text); /* fails the test if it is none */
const char *bench_dim_text(Bench *b, const DhcDim *d);

/* Small generator with a fixed sequence. */
static inline uint32_t bench_random(uint64_t *state) {
  *state = *state * 6364136223846793005u + 1442695040888963407u;
  return (uint32_t)(*state >> 33);
}

#endif
