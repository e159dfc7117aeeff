/* What benchmarks through dhc.h share: clocks, an end where something fails, inputs of models of small images. */
#ifndef DHC_BENCH_SUBJECT_H
#define DHC_BENCH_SUBJECT_H

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "dhc/dhc.h"

static inline double clock_ms(clockid_t which) {
  struct timespec t;
  clock_gettime(which, &t);
  return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

static inline double now_ms(void) { return clock_ms(CLOCK_MONOTONIC); }

/* Processor time of all threads: steadier than wall time on a shared machine. */
static inline double cpu_ms(void) { return clock_ms(CLOCK_PROCESS_CPUTIME_ID); }

/* s: whose diagnostics say more; NULL: nobody's. */
static inline void must(dhc_status st, dhc_session *s) {
  if (st.code == DHC_OK) return;
  if (s) dhc_session_print_diagnostics(s, stderr, false);
  fprintf(stderr, "%s: %s\n", program_invocation_short_name, st.message);
  exit((int)st.code);
}

/* "16", "16,cuda", "16,cuda,tf32": threads, backend, compute; the text is cut. */
static inline dhc_session_options machine(char *text) {
  char *backend = strchr(text, ','), *compute = backend ? strchr(backend + 1, ',') : NULL;
  if (backend) *backend++ = 0;
  if (compute) *compute++ = 0;
  return (dhc_session_options){.threads = atoi(text), .backend = backend, .compute = compute};
}

/* "image" [batch, 3, 32, 32] and "target" [batch] of labels 0..9; data is malloc's. */
static inline void images_make(int64_t batch, dhc_tensor in[2]) {
  int64_t pixels = batch * 3 * 32 * 32;
  float *image = (float *)malloc(sizeof *image * (size_t)pixels);
  int64_t *target = (int64_t *)malloc(sizeof *target * (size_t)batch);
  if (!image || !target) exit(3);
  for (int64_t i = 0; i < pixels; i++) image[i] = (float)((i * 7919) % 2001 - 1000) / 1000;
  for (int64_t i = 0; i < batch; i++) target[i] = i % 10;
  in[0] = (dhc_tensor){.name = "image", .dtype = DHC_F32, .rank = 4, .dim = {batch, 3, 32, 32}, .data = image};
  in[1] = (dhc_tensor){.name = "target", .dtype = DHC_I64, .rank = 1, .dim = {batch}, .data = target};
}

#endif
