/* NumPy's .npy files, format versions 1 to 3: little endian, C order, the dtypes
 * of dhc/dtypes.def (bf16 excepted: NumPy has none), and to be read f16 and u64. */
#ifndef DHC_RUNTIME_NPY_H
#define DHC_RUNTIME_NPY_H

#include "runtime/io.h"
#include "runtime/status.h"
#include "runtime/tensor.h"

typedef struct DhcNpy {
  DhcMapping map;
  DhcTensorView view; /* name NULL; data inside the mapping */
} DhcNpy;

/* Validates magic, header and that the file has exactly the bytes the shape
 * needs. Errors: DHC_E_INPUT, one line beginning with the path. */
dhc_status dhc_npy_open(const char *path, DhcNpy *out) DHC_MUST_USE;
dhc_status dhc_npy_parse(const char *name, const void *bytes, size_t n_bytes,
                         DhcTensorView *out) DHC_MUST_USE;
void dhc_npy_close(DhcNpy *npy);
/* Version 1.0, atomically. bf16 is written as f32. */
dhc_status dhc_npy_write(const char *path, const DhcTensorView *t) DHC_MUST_USE;

#endif
