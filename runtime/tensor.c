#include "runtime/tensor.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- sizes --------------------------------------------------------------- */

bool dhc_size_mul(int64_t a, int64_t b, int64_t *out) {
  int64_t r;
  if (a < 0 || b < 0 || __builtin_mul_overflow(a, b, &r)) {
    return false;
  }
  *out = r;
  return true;
}

bool dhc_size_add(int64_t a, int64_t b, int64_t *out) {
  int64_t r;
  if (a < 0 || b < 0 || __builtin_add_overflow(a, b, &r)) {
    return false;
  }
  *out = r;
  return true;
}

bool dhc_size_align64(int64_t bytes, int64_t *out) {
  int64_t r;
  if (!dhc_size_add(bytes, 63, &r)) {
    return false;
  }
  *out = r & ~(int64_t)63;
  return true;
}

bool dhc_size_tensor(int32_t dtype, int32_t rank, const int64_t *shape, int64_t *n_elements,
                     int64_t *bytes) {
  int64_t n = 1;
  bool empty = false;
  if (rank < 0 || rank > DHC_TENSOR_MAX_RANK) {
    return false;
  }
  /* A zero dimension must not hide that the others do not fit. */
  for (int32_t i = 0; i < rank; i++) {
    empty = empty || shape[i] == 0;
    if (!dhc_size_mul(n, shape[i] == 0 ? 1 : shape[i], &n)) {
      return false;
    }
  }
  int64_t bits = dhc_tensor_dtype_bits(dtype), size = 0;
  if (!dhc_size_mul(n, bits < 8 ? bits : bits / 8, &size)) {
    return false;
  }
  if (bits < 8) {
    if (size % 8 != 0 && !empty) {
      return false;
    }
    size /= 8;
  }
  if (n_elements != NULL) {
    *n_elements = empty ? 0 : n;
  }
  if (bytes != NULL) {
    *bytes = empty ? 0 : size;
  }
  return true;
}

char *dhc_size_text(int64_t bytes, char *text, size_t n_text) {
  static const char *const units[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  double v = (double)bytes / 1024.0;
  int unit = 0;
  if (bytes < 1024) {
    snprintf(text, n_text, "%lld bytes", (long long)bytes);
    return text;
  }
  for (; v >= 1024.0 && unit < 5; unit++) {
    v /= 1024.0;
  }
  snprintf(text, n_text, "%.*f %s", v >= 100.0 ? 0 : v >= 10.0 ? 1 : 2, v, units[unit]);
  return text;
}

/* ---- dtypes --------------------------------------------------------------- */

typedef enum FloatTop { TOP_IEEE, TOP_NAN, TOP_ZERO, TOP_NONE } FloatTop;

typedef struct DtypeRow {
  const char *name;
  int32_t bits;
  char kind;
  int exponent, mantissa, bias; /* of floats that only files have (file_dtypes.def) */
  FloatTop top;
} DtypeRow;

static const DtypeRow dtype_rows[DHC_N_ALL_DTYPES] = {
#define DHC_DTYPE(id, text, size, class) {.name = text, .bits = 8 * (size), .kind = class},
#include "dhc/dtypes.def"
#undef DHC_DTYPE
#define DHC_FILE_DTYPE(id, text, width, class, e, m, b, t) [DHC_FILE_##id] = {text, width, class, e, m, b, TOP_##t},
#include "runtime/file_dtypes.def"
#undef DHC_FILE_DTYPE
};

static bool is_dtype(int32_t dtype) {
  return dtype >= 0 && dtype < DHC_N_ALL_DTYPES && dtype != DHC_N_DTYPES;
}

int32_t dhc_tensor_dtype_bits(int32_t dtype) {
  return is_dtype(dtype) ? dtype_rows[dtype].bits : 0;
}

int32_t dhc_tensor_dtype_bytes(int32_t dtype) {
  return dhc_tensor_dtype_bits(dtype) / 8;
}

const char *dhc_tensor_dtype_name(int32_t dtype) {
  return is_dtype(dtype) ? dtype_rows[dtype].name : "?";
}

static char kind_of(int32_t dtype) {
  return is_dtype(dtype) ? dtype_rows[dtype].kind : '?';
}

bool dhc_tensor_dtype_is_float(int32_t dtype) {
  return kind_of(dtype) == 'F';
}

int32_t dhc_tensor_dtype_parse(const char *name) {
  for (int32_t i = 0; i < DHC_N_DTYPES; i++) {
    if (strcmp(dtype_rows[i].name, name) == 0) {
      return i;
    }
  }
  return -1;
}

char *dhc_tensor_shape_text(int32_t rank, const int64_t *shape, char *text, size_t n_text) {
  size_t at = 0;
  const char *separator = "[";
  if (n_text == 0) {
    return text;
  }
  for (int32_t i = 0; i < rank && at < n_text; i++) {
    int n = snprintf(text + at, n_text - at, "%s%lld", separator, (long long)shape[i]);
    at += (size_t)(n > 0 ? n : 0);
    separator = ",";
  }
  if (at < n_text) {
    snprintf(text + at, n_text - at, rank > 0 ? "]" : "[]");
  }
  return text;
}

/* ---- elements ------------------------------------------------------------- */

/* 2^k, k in the range of normal doubles. */
static double power_of_two(int k) {
  uint64_t bits = (uint64_t)(k + 1023) << 52;
  double v;
  memcpy(&v, &bits, sizeof v);
  return v;
}

/* The value of a code of a float type that only files have. Exact: every such value is an f32. */
static double decode_float(const DtypeRow *t, uint32_t code) {
  uint32_t m = code & ((1u << t->mantissa) - 1), most = (1u << t->exponent) - 1;
  uint32_t e = code >> t->mantissa & most;
  bool has_sign = t->bits > t->exponent + t->mantissa;
  bool negative = has_sign && code >> (t->bits - 1) != 0;
  if (t->top == TOP_IEEE && e == most) {
    return m != 0 ? (double)NAN : negative ? -(double)INFINITY : (double)INFINITY;
  }
  if ((t->top == TOP_NAN && e == most && m == (1u << t->mantissa) - 1) ||
      (t->top == TOP_ZERO && code == 1u << (t->bits - 1))) {
    return (double)NAN;
  }
  bool subnormal = e == 0 && t->mantissa > 0;
  double v = (double)(subnormal ? m : (1u << t->mantissa) + m) *
             power_of_two((int)(subnormal ? 1 : e) - t->bias - t->mantissa);
  return negative ? -v : v;
}

/* Element i of those that lie at p. */
static double load_file_float(const unsigned char *p, int32_t dtype, int64_t i) {
  const DtypeRow *t = &dtype_rows[dtype];
  uint32_t code = 0;
  if (t->bits == 4) {
    code = (uint32_t)p[i / 2] >> (i % 2 * 4) & 15u;
  } else {
    memcpy(&code, p + i * (t->bits / 8), (size_t)(t->bits / 8));
  }
  return decode_float(t, code);
}

static double load_float(const unsigned char *p, int32_t dtype) {
  if (dtype == DHC_F64) {
    double v;
    memcpy(&v, p, sizeof v);
    return v;
  }
  uint32_t bits = 0;
  if (dtype == DHC_F32) {
    memcpy(&bits, p, sizeof bits);
  } else { /* bf16: the upper half of an f32 */
    uint16_t half;
    memcpy(&half, p, sizeof half);
    bits = (uint32_t)half << 16;
  }
  float v;
  memcpy(&v, &bits, sizeof v);
  return (double)v;
}

#define LOAD_AS(type)            \
  do {                           \
    type v_;                     \
    memcpy(&v_, p, sizeof v_);   \
    return (int64_t)v_;          \
  } while (0)

static uint64_t load_u64(const unsigned char *p) {
  uint64_t v;
  memcpy(&v, p, sizeof v);
  return v;
}

static int64_t load_int(const unsigned char *p, int32_t dtype) {
  switch (dtype) {
  case DHC_I64: LOAD_AS(int64_t);
  case DHC_I32: LOAD_AS(int32_t);
  case DHC_I16: LOAD_AS(int16_t);
  case DHC_I8: LOAD_AS(int8_t);
  case DHC_U32: LOAD_AS(uint32_t);
  case DHC_U16: LOAD_AS(uint16_t);
  case DHC_BOOL: return *p != 0;
  case DHC_FILE_U64: return (int64_t)(load_u64(p) > INT64_MAX ? INT64_MAX : load_u64(p));
  default: return *p; /* u8 */
  }
}

static void int_range(int32_t dtype, int64_t *low, int64_t *high) {
  int bits = 8 * dhc_tensor_dtype_bytes(dtype);
  if (kind_of(dtype) == 'U') {
    *low = 0;
    *high = ((int64_t)1 << bits) - 1;
  } else {
    *high = (int64_t)(((uint64_t)1 << (bits - 1)) - 1);
    *low = -*high - 1;
  }
}

static void store_int(unsigned char *p, int32_t dtype, int64_t v) {
  if (dtype == DHC_BOOL) {
    *p = v != 0;
    return;
  }
  int64_t low, high;
  int_range(dtype, &low, &high);
  v = v < low ? low : v > high ? high : v;
  /* Little endian: the low bytes of v are the narrower value. */
  memcpy(p, &v, (size_t)dhc_tensor_dtype_bytes(dtype));
}

static void store_float(unsigned char *p, int32_t dtype, double v) {
  if (dtype == DHC_F64) {
    memcpy(p, &v, sizeof v);
    return;
  }
  float f = (float)v;
  if (dtype == DHC_F32) {
    memcpy(p, &f, sizeof f);
    return;
  }
  uint32_t bits;
  memcpy(&bits, &f, sizeof bits);
  if ((bits & 0x7fffffffu) > 0x7f800000u) {
    bits |= 0x00400000u; /* a NaN stays one when its low half goes */
  } else {
    bits += 0x7fffu + ((bits >> 16) & 1u);
  }
  uint16_t half = (uint16_t)(bits >> 16);
  memcpy(p, &half, sizeof half);
}

static void float_to_int(unsigned char *p, int32_t dtype, double v) {
  int64_t low, high;
  if (dtype == DHC_BOOL) {
    *p = v != 0;
    return;
  }
  int_range(dtype, &low, &high);
  if (isnan(v)) {
    store_int(p, dtype, 0);
  } else if (v <= (double)low) {
    store_int(p, dtype, low);
  } else if (v >= (double)high) {
    store_int(p, dtype, high);
  } else {
    store_int(p, dtype, (int64_t)v);
  }
}

double dhc_tensor_get(const DhcTensorView *t, int64_t index) {
  const unsigned char *p =
      (const unsigned char *)t->data + index * dhc_tensor_dtype_bytes(t->dtype);
  if (t->dtype == DHC_FILE_U64) {
    return (double)load_u64(p);
  }
  if (kind_of(t->dtype) != 'F') {
    return (double)load_int(p, t->dtype);
  }
  return t->dtype >= DHC_N_DTYPES ? load_file_float(t->data, t->dtype, index) : load_float(p, t->dtype);
}

/* The pairs that batches and weight files are made of, where C's own conversion
 * is ours too: simple loops that compilers turn into vectors. */
static bool convert_common(void *dst, int32_t dst_dtype, const void *src, int32_t src_dtype,
                           int64_t n) {
#define PAIR(from_id, from_type, to_id, to_type)                    \
  if (src_dtype == (from_id) && dst_dtype == (to_id)) {             \
    for (int64_t i = 0; i < n; i++) {                               \
      from_type v_;                                                 \
      memcpy(&v_, (const char *)src + i * (int64_t)sizeof v_, sizeof v_); \
      to_type r_ = (to_type)v_;                                     \
      memcpy((char *)dst + i * (int64_t)sizeof r_, &r_, sizeof r_); \
    }                                                               \
    return true;                                                    \
  }
  PAIR(DHC_U8, uint8_t, DHC_F32, float)
  PAIR(DHC_U8, uint8_t, DHC_I64, int64_t)
  PAIR(DHC_I32, int32_t, DHC_I64, int64_t)
  PAIR(DHC_F32, float, DHC_F64, double)
  PAIR(DHC_F64, double, DHC_F32, float)
#undef PAIR
  return false;
}

void dhc_tensor_convert(void *dst, int32_t dst_dtype, const void *src, int32_t src_dtype,
                        int64_t n) {
  const unsigned char *from = src;
  unsigned char *to = dst;
  int64_t from_size = dhc_tensor_dtype_bytes(src_dtype);
  int64_t to_size = dhc_tensor_dtype_bytes(dst_dtype);
  if (dst_dtype == src_dtype) {
    if (n > 0) {
      memcpy(dst, src, (size_t)(n * from_size));
    }
    return;
  }
  if (convert_common(dst, dst_dtype, src, src_dtype, n)) {
    return;
  }
  bool from_float = kind_of(src_dtype) == 'F';
  bool to_float = kind_of(dst_dtype) == 'F';
  for (int64_t i = 0; i < n; i++, from += from_size, to += to_size) {
    if (from_float) {
      double v = src_dtype >= DHC_N_DTYPES ? load_file_float(src, src_dtype, i) : load_float(from, src_dtype);
      if (to_float) {
        store_float(to, dst_dtype, v);
      } else {
        float_to_int(to, dst_dtype, v);
      }
    } else if (to_float && src_dtype == DHC_FILE_U64) {
      uint64_t v = load_u64(from);
      store_float(to, dst_dtype, dst_dtype == DHC_F64 ? (double)v : (double)(float)v);
    } else if (to_float) {
      int64_t v = load_int(from, src_dtype);
      if (dst_dtype == DHC_F64) {
        store_float(to, dst_dtype, (double)v);
      } else { /* one rounding for f32; integers beyond 2^24 round twice to bf16 */
        store_float(to, dst_dtype, (double)(float)v);
      }
    } else {
      store_int(to, dst_dtype, load_int(from, src_dtype));
    }
  }
}

int64_t dhc_tensor_first_nonfinite(const DhcTensorView *t) {
  int32_t size = dhc_tensor_dtype_bytes(t->dtype);
  if (kind_of(t->dtype) != 'F') {
    return -1;
  }
  if (t->dtype >= DHC_N_DTYPES) {
    int64_t n = t->bytes * 8 / dhc_tensor_dtype_bits(t->dtype);
    for (int64_t i = 0; i < n; i++) {
      double v = dhc_tensor_get(t, i);
      if (!isfinite(v)) {
        return i;
      }
    }
    return -1;
  }
  const unsigned char *p = t->data;
  int64_t n = t->bytes / size;
  for (int64_t i = 0; i < n; i++, p += size) {
    bool bad;
    if (t->dtype == DHC_F64) {
      uint64_t bits;
      memcpy(&bits, p, sizeof bits);
      bad = (bits & 0x7ff0000000000000u) == 0x7ff0000000000000u;
    } else if (t->dtype == DHC_F32) {
      uint32_t bits;
      memcpy(&bits, p, sizeof bits);
      bad = (bits & 0x7f800000u) == 0x7f800000u;
    } else {
      uint16_t bits;
      memcpy(&bits, p, sizeof bits);
      bad = (bits & 0x7f80u) == 0x7f80u;
    }
    if (bad) {
      return i;
    }
  }
  return -1;
}

/* ---- memory --------------------------------------------------------------- */

/* From calloc, so that large memory is not touched before it is used; what calloc gave stands
 * in front of the aligned address. */
void *dhc_aligned_alloc(int64_t bytes) {
  int64_t rounded;
  if (!dhc_size_align64(bytes > 0 ? bytes : 1, &rounded) || !dhc_size_add(rounded, 64 + (int64_t)sizeof(void *), &rounded)) {
    return NULL;
  }
  char *p = calloc(1, (size_t)rounded);
  if (p == NULL) {
    return NULL;
  }
  size_t past = ((uintptr_t)p + sizeof p) % 64;
  char *at = p + sizeof p + (past ? 64 - past : 0);
  memcpy(at - sizeof p, &p, sizeof p);
  return at;
}

void dhc_aligned_free(void *at) {
  char *p;
  if (at != NULL) {
    memcpy(&p, (char *)at - sizeof p, sizeof p);
    free(p);
  }
}
