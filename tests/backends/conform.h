/* The kernels of a test once more on another backend: DHC_TEST_BACKEND=cuda names it. Each size class runs
 * on the device on the same operands and is compared with the reference by the test, and with the CPU's
 * bits here, for the report at the end. */
#ifndef DHC_TESTS_BACKENDS_CONFORM_H
#define DHC_TESTS_BACKENDS_CONFORM_H

#include "backends/compile.h"

/* NULL: no other backend is asked for. */
const char *conform_backend(void);
/* The spec's kernel on that backend; false: it has no form there by design. Aborts if it cannot be made. */
bool conform_compile(const DhcSpec *s, DhcArena *arena, dhc_kernel *out);
/* Runs a class. Operand o holds elements [lo[o], …) around its pointer, bytes[o] of them as before[o]
 * says; after[o], of outputs, gets what they are afterwards. */
void conform_run(const DhcSpec *s, const dhc_kernel_class *k, const int64_t *dim, const void *const *before,
                 const int64_t *lo, const size_t *bytes, void *const *after);
/* The CPU's bytes of an output beside the backend's. */
void conform_bits(const void *cpu, const void *other, size_t bytes);

#endif
