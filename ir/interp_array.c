/* Concrete arrays of the interpreter, and their way from and to element memory. */
#include <math.h>

#include "ir/interp.h"

DhcArray *dhc_array_new(DhcArena *arena, dhc_dtype dtype, int rank, const int64_t *dim) {
  DhcArray *a = DHC_NEW(arena, DhcArray);
  a->dtype = dtype;
  a->rank = rank;
  a->n = 1;
  for (int i = 0; i < rank; i++) {
    a->dim[i] = dim[i];
    a->n *= dim[i];
  }
  /* one element at least, so that exactly one of the pointers is set */
  int64_t room = a->n > 0 ? a->n : 1;
  if (dhc_dtype_is_float(dtype))
    a->f = DHC_NEW_N(arena, double, room);
  else
    a->i = DHC_NEW_N(arena, int64_t, room);
  return a;
}

DhcArray *dhc_array_copy(DhcArena *arena, const DhcArray *a) {
  DhcArray *c = dhc_array_new(arena, a->dtype, a->rank, a->dim);
  if (a->f)
    memcpy(c->f, a->f, sizeof(double) * (size_t)a->n);
  else
    memcpy(c->i, a->i, sizeof(int64_t) * (size_t)a->n);
  return c;
}

static double bf16_to_double(uint16_t bits) {
  uint32_t wide = (uint32_t)bits << 16;
  float f;
  memcpy(&f, &wide, sizeof f);
  return f;
}

/* To nearest even in one step from double: going through float first could round twice,
 * so the float is first made odd where it is inexact (round to odd). */
static uint16_t double_to_bf16(double v) {
  if (isnan(v)) return 0x7fc0;
  float f = (float)v;
  uint32_t bits;
  memcpy(&bits, &f, sizeof bits);
  if (isfinite(v) && (double)f != v && !(bits & 1)) {
    /* the neighbour of f on v's side has an odd last bit */
    bool grows = fabs(v) > fabs((double)f);
    bits = grows ? bits + 1 : bits - 1;
  }
  uint32_t rest = bits & 0xffff, high = bits >> 16;
  if (rest > 0x8000 || (rest == 0x8000 && (high & 1))) high++;
  return (uint16_t)high;
}

static void read_float(dhc_dtype t, const unsigned char *from, double *to) {
  uint16_t h;
  float f;
  switch (t) {
    case DHC_F64: memcpy(to, from, sizeof *to); return;
    case DHC_F32:
      memcpy(&f, from, sizeof f);
      *to = f;
      return;
    default:
      memcpy(&h, from, sizeof h);
      *to = bf16_to_double(h);
  }
}

static void write_float(dhc_dtype t, double v, unsigned char *to) {
  uint16_t h;
  float f;
  switch (t) {
    case DHC_F64: memcpy(to, &v, sizeof v); return;
    case DHC_F32:
      f = (float)v;
      memcpy(to, &f, sizeof f);
      return;
    default:
      h = double_to_bf16(v);
      memcpy(to, &h, sizeof h);
  }
}

/* Sign or zero extension is what wrapping to the width does. */
static int64_t read_int(dhc_dtype t, const unsigned char *from) {
  uint64_t v = 0;
  uint32_t w;
  uint16_t h;
  switch (dhc_dtype_bytes(t)) {
    case 8: memcpy(&v, from, 8); break;
    case 4:
      memcpy(&w, from, 4);
      v = w;
      break;
    case 2:
      memcpy(&h, from, 2);
      v = h;
      break;
    default: v = *from;
  }
  if (t == DHC_BOOL) return v != 0;
  return dhc_eval_wrap(t, (int64_t)v);
}

static void write_int(dhc_dtype t, int64_t v, unsigned char *to) {
  uint32_t w = (uint32_t)(uint64_t)v;
  uint16_t h = (uint16_t)(uint64_t)v;
  switch (dhc_dtype_bytes(t)) {
    case 8: memcpy(to, &v, 8); return;
    case 4: memcpy(to, &w, 4); return;
    case 2: memcpy(to, &h, 2); return;
    default: *to = t == DHC_BOOL ? v != 0 : (unsigned char)(uint64_t)v;
  }
}

DhcArray *dhc_array_from_bytes(DhcArena *arena, dhc_dtype dtype, int rank, const int64_t *dim,
                               const void *bytes) {
  DhcArray *a = dhc_array_new(arena, dtype, rank, dim);
  const unsigned char *p = bytes;
  int step = dhc_dtype_bytes(dtype);
  for (int64_t k = 0; k < a->n; k++, p += step) {
    if (a->f)
      read_float(dtype, p, &a->f[k]);
    else
      a->i[k] = read_int(dtype, p);
  }
  return a;
}

void dhc_array_to_bytes(const DhcArray *a, void *bytes) {
  unsigned char *p = bytes;
  int step = dhc_dtype_bytes(a->dtype);
  for (int64_t k = 0; k < a->n; k++, p += step) {
    if (a->f)
      write_float(a->dtype, a->f[k], p);
    else
      write_int(a->dtype, a->i[k], p);
  }
}
