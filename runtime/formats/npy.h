/* NumPy's .npy files, format versions 1 to 3, in C or Fortran order, of either byte order: the dtypes
 * of dhc/dtypes.def (bf16 excepted: NumPy has none), and to be read f16 and u64. */
#ifndef DHC_RUNTIME_NPY_H
#define DHC_RUNTIME_NPY_H

#include "runtime/io.h"
#include "runtime/status.h"
#include "runtime/tensor.h"

typedef struct DhcNpy {
  DhcMapping map;
  DhcTensorView view; /* name NULL; data inside the mapping, or own */
  bool fortran, swapped; /* how the data lie: first index fastest, bytes of elements from high to low */
  void *own;             /* NULL, or the data put in order */
} DhcNpy;

/* Validates magic, header and that the file has exactly the bytes the shape
 * needs. Errors: DHC_E_INPUT, one line beginning with the path. */
dhc_status dhc_npy_map(const char *path, DhcNpy *out) DHC_MUST_USE;
/* The same, the data in C order and little endian, in memory of their own if need be. */
dhc_status dhc_npy_open(const char *path, DhcNpy *out) DHC_MUST_USE;
/* Bytes that are the caller's; nothing is to be closed. */
dhc_status dhc_npy_parse(const char *name, const void *bytes, size_t n_bytes, DhcNpy *out) DHC_MUST_USE;
/* Whether the data are as a DhcTensorView has them. */
bool dhc_npy_plain(const DhcNpy *npy);
/* Row i of the first dimension, in C order and little endian. */
void dhc_npy_row(const DhcNpy *npy, int64_t i, void *to);
void dhc_npy_close(DhcNpy *npy);
/* Version 1.0, atomically. bf16 is written as f32. */
dhc_status dhc_npy_write(const char *path, const DhcTensorView *t) DHC_MUST_USE;

#endif
