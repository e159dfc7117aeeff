/* Backends that kernels of tests run on, each by its row of backends.def and on its device: the one whose bits are the
 * reference, and another that DHC_TEST_BACKEND names ("cuda"). There every size class runs on the same operands and is
 * compared with the reference by the test, and with the first backend's bits here, for the report at the end. */
#ifndef DHC_TESTS_BACKENDS_CONFORM_H
#define DHC_TESTS_BACKENDS_CONFORM_H

#include "backends/compile.h"

typedef struct Conform Conform;

/* Opened at the first call for a backend and features (NULL: the machine's) and kept until the process ends; aborts where
 * there is none, or, where it is all that the build has to compile for, ends the process as skipped (77). */
Conform *conform_on(const char *backend, const char *features);
/* The backend of the build that comes first, whose bits are the reference; NULL: it compiles nothing (a build without LLVM), and
 * the other one is a GPU, whose classes are compared with each other. */
Conform *conform_first(const char *features);
/* The other one; NULL: none is asked for. */
Conform *conform_other(void);
const DhcTargetFacts *conform_target(const Conform *b);

/* Whether this process has the spec, where DHC_TEST_PART=I/N cuts a test into N processes (tests/cuda/conform.sh): equal specs are one
 * process', which compiles them once. */
bool conform_has(const DhcSpec *s);

/* The spec's kernel in n size classes; n = 0: in those that the schedule gives it. False: it has no form there by design.
 * Aborts if it cannot be made. Programs are compiled once in a process. With CASE_LOOP or CASE_ASM in the environment
 * they are printed as well. */
bool conform_compile(Conform *b, const DhcSpec *s, const DhcSchedule *classes, int n, DhcArena *arena, dhc_kernel *out);

/* Operands of a run. Operand o holds elements [lo[o], …) around its pointer, bytes[o] of them as before[o]
 * says; after[o], of outputs, gets what they are afterwards. */
typedef struct ConformRun {
  const int64_t *dim;
  const void *const *before;
  const int64_t *lo;
  const size_t *bytes;
  void *const *after;
  bool backwards; /* tasks one by one, the last of each phase first */
} ConformRun;
/* Runs a class, phase by phase. Scratch and shared memory hold NaN before. */
void conform_run(Conform *b, const DhcSpec *s, const dhc_kernel_class *k, const ConformRun *r);
/* The first backend's bytes of an output beside the other's. */
void conform_bits(const void *first, const void *other, size_t bytes);

/* Where a class's phases end. */
void conform_phases(const dhc_kernel_class *k, const int64_t *dim, int64_t cut[DHC_MAX_PHASES + 1]);
int64_t conform_prog(dhc_dimprog p, const int64_t *dim);

#endif
