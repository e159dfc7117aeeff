/* What this machine can do at most with so many threads: multiply-adds in f32 in registers, and reading memory of some size again and
 * again. One JSON line; the best of many turns, as others may be using the machine.
 *
 *   bench_floor THREADS BYTES [TURNS] */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#ifdef __AVX512F__
enum { LANES = 16 };
#elif defined(__AVX__)
enum { LANES = 8 };
#else
enum { LANES = 4 };
#endif
enum { ACCUMULATORS = LANES == 16 ? 24 : 12, FMA_TURNS = 1 << 17, MAX_THREADS = 64 };

typedef float Vector __attribute__((vector_size(4 * LANES)));

typedef struct Part {
  pthread_barrier_t *all;
  const char *memory;
  size_t bytes;
  int turns;
  double fma_seconds, read_seconds; /* the least of the turns, the barrier before it not counted */
  float keep;                       /* so that nothing is left out */
} Part;

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static float sum_of(const Vector *v, int n) {
  float s = 0;
  for (int i = 0; i < n; i++)
    for (int l = 0; l < LANES; l++) s += v[i][l];
  return s;
}

static float multiply_add(void) {
  Vector a[ACCUMULATORS], x, y;
  for (int l = 0; l < LANES; l++) x[l] = 0.999f, y[l] = 0.001f;
  for (int i = 0; i < ACCUMULATORS; i++) a[i] = x * (float)i;
  for (int t = 0; t < FMA_TURNS; t++) {
#pragma GCC unroll 24
    for (int i = 0; i < ACCUMULATORS; i++) a[i] = a[i] * x + y;
    __asm__ volatile("" : "+x"(x), "+x"(y));
  }
  return sum_of(a, ACCUMULATORS);
}

static float read_all(const char *memory, size_t bytes) {
  Vector a[8];
  memset(a, 0, sizeof a);
  const Vector *v = (const Vector *)(const void *)memory;
  for (size_t i = 0; i + 8 <= bytes / sizeof(Vector); i += 8) {
#pragma GCC unroll 8
    for (int k = 0; k < 8; k++) a[k] += v[i + (size_t)k];
  }
  return sum_of(a, 8);
}

static void *measure(void *arg) {
  Part *p = arg;
  p->fma_seconds = p->read_seconds = 1e9;
  for (int t = 0; t < p->turns; t++) {
    pthread_barrier_wait(p->all);
    double begin = now();
    p->keep += multiply_add();
    double middle = now();
    p->keep += read_all(p->memory, p->bytes);
    double end = now();
    if (middle - begin < p->fma_seconds) p->fma_seconds = middle - begin;
    if (end - middle < p->read_seconds) p->read_seconds = end - middle;
  }
  return NULL;
}

int main(int argc, char **argv) {
  int threads = argc > 2 ? atoi(argv[1]) : 0, turns = argc > 3 ? atoi(argv[3]) : 50;
  long long bytes = argc > 2 ? atoll(argv[2]) : 0;
  if (threads < 1 || threads > MAX_THREADS || bytes < 4096 * threads || turns < 1) {
    fprintf(stderr, "usage: bench_floor THREADS BYTES [TURNS]\n");
    return 2;
  }
  size_t each = (size_t)bytes / (size_t)threads / 4096 * 4096;
  char *memory = aligned_alloc(4096, each * (size_t)threads);
  if (!memory) return 3;
  memset(memory, 0, each * (size_t)threads);
  pthread_t thread[MAX_THREADS];
  Part part[MAX_THREADS];
  pthread_barrier_t all;
  pthread_barrier_init(&all, NULL, (unsigned)threads);
  for (int i = 0; i < threads; i++) part[i] = (Part){.all = &all, .memory = memory + each * (size_t)i, .bytes = each, .turns = turns};
  for (int i = 1; i < threads; i++)
    if (pthread_create(&thread[i], NULL, measure, &part[i])) return 3;
  measure(&part[0]);
  double flops = 0, read = 0;
  float keep = 0;
  for (int i = 0; i < threads; i++) {
    if (i) pthread_join(thread[i], NULL);
    flops += 2.0 * (double)LANES * (double)ACCUMULATORS * (double)FMA_TURNS / part[i].fma_seconds;
    read += (double)each / part[i].read_seconds;
    keep += part[i].keep;
  }
  printf("{\"threads\": %d, \"lanes\": %d, \"gflops\": %.1f, \"read_bytes\": %lld, \"gb_per_s\": %.2f, \"kept\": %g}\n", threads, LANES, flops * 1e-9, bytes, read * 1e-9,
         (double)keep);
  free(memory);
  return 0;
}
