/* Tensors as the runtime knows them: a name, a dtype, a row-major shape and
 * bytes that somebody else owns. Every element count and byte count of the
 * runtime comes from the checked functions here. */
#ifndef DHC_RUNTIME_TENSOR_H
#define DHC_RUNTIME_TENSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dhc/abi.h"

enum { DHC_TENSOR_MAX_RANK = 8 };

/* Element types of tensors: dhc_dtype, behind them those that only files have, which can be read
 * (dhc_tensor_get, dhc_tensor_convert) but not computed with or written. */
enum {
  DHC_FILE_DTYPES_BEGIN = DHC_N_DTYPES, /* that number itself is no dtype */
#define DHC_FILE_DTYPE(id, ...) DHC_FILE_##id,
#include "runtime/file_dtypes.def"
#undef DHC_FILE_DTYPE
  DHC_N_ALL_DTYPES
};

typedef struct DhcTensorView {
  const char *name;
  int32_t dtype; /* dhc_dtype or DHC_FILE_*; -1: unreadable, then no element may be asked for */
  int32_t rank;
  int64_t shape[DHC_TENSOR_MAX_RANK]; /* entries past rank are 0 */
  const void *data;                   /* row-major, little endian, may be unaligned in files */
  uint64_t device;                    /* a device's address where an input lies there (data may be NULL then), else 0 */
  bool stays;                         /* it lies there unchanged until the run has ended */
  int64_t bytes;                      /* product of shape times the dtype's size; if unreadable the file's range */
} DhcTensorView;

/* Checked arithmetic on sizes: false if the result does not fit in 63 bits or
 * an operand is negative; *out is then untouched. */
bool dhc_size_mul(int64_t a, int64_t b, int64_t *out);
bool dhc_size_add(int64_t a, int64_t b, int64_t *out);
/* Elements and bytes of a dense tensor (either pointer may be NULL). False if a
 * dimension is negative, a count does not fit in 63 bits or the last byte is not full. Rank 0 has one
 * element; a dimension of 0 gives 0 elements whatever the others are, but the
 * others must still be representable. */
bool dhc_size_tensor(int32_t dtype, int32_t rank, const int64_t *shape, int64_t *n_elements,
                     int64_t *bytes);
/* Rounds up to a multiple of 64, checked. */
bool dhc_size_align64(int64_t bytes, int64_t *out);

/* "784 bytes", "37.3 GiB", "3.06 TiB": three digits, into text; returns text. */
char *dhc_size_text(int64_t bytes, char *text, size_t n_text);

/* Size in bytes of one element; 0 for a number that is no dtype, and for elements below a byte. */
int32_t dhc_tensor_dtype_bytes(int32_t dtype);
int32_t dhc_tensor_dtype_bits(int32_t dtype); /* 0: no dtype */
bool dhc_tensor_dtype_is_float(int32_t dtype);
/* "f32", "i64", …; "?" for a number that is no dtype. */
const char *dhc_tensor_dtype_name(int32_t dtype);
/* The dhc_dtype of that name, or -1. */
int32_t dhc_tensor_dtype_parse(const char *name);
/* Writes "[2,3]" into text (cut if too small) and returns text. */
char *dhc_tensor_shape_text(int32_t rank, const int64_t *shape, char *text, size_t n_text);

/* Index of the first NaN or infinity, or -1. Integer and bool tensors have none.
 * Finiteness is decided on the exponent bits, never by a comparison. */
int64_t dhc_tensor_first_nonfinite(const DhcTensorView *t);
/* The element at a flat index as a double (narrow floats widened, bool 0 or 1). i64 and u64
 * beyond 2^53 are rounded. */
double dhc_tensor_get(const DhcTensorView *t, int64_t index);
/* Converts n elements between dtypes: dst[i] = (dst type)src[i]; dst_dtype is a dhc_dtype. Float to
 * integer truncates (NaN gives 0); integers out of range saturate; to bf16 and f32
 * rounds to nearest even;
 * to bool: nonzero. The ranges may not overlap; neither needs alignment. */
void dhc_tensor_convert(void *dst, int32_t dst_dtype, const void *src, int32_t src_dtype,
                        int64_t n);

/* Zeroed memory aligned to 64 bytes, NULL when there is none. bytes = 0 gives a
 * pointer that may be freed. Freed with dhc_aligned_free (NULL allowed). */
void *dhc_aligned_alloc(int64_t bytes);
void dhc_aligned_free(void *p);

#endif
