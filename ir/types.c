/* Element types and tensor types. */
#include <math.h>

#include "ir/ir_internal.h"

static const struct {
  const char *name;
  int bytes;
  char kind;
} dtypes[DHC_N_DTYPES] = {
#define DHC_DTYPE(id, name, bytes, kind) [DHC_##id] = {name, bytes, kind},
#include "dhc/dtypes.def"
#undef DHC_DTYPE
};

static bool known(dhc_dtype t) { return (unsigned)t < DHC_N_DTYPES; }

const char *dhc_dtype_name(dhc_dtype t) { return known(t) ? dtypes[t].name : "?"; }
int dhc_dtype_bytes(dhc_dtype t) { return known(t) ? dtypes[t].bytes : 0; }
bool dhc_dtype_is_float(dhc_dtype t) { return known(t) && dtypes[t].kind == 'F'; }
double dhc_dtype_least_normal(dhc_dtype t) { return t == DHC_F64 ? 0x1p-1022 : 0x1p-126; }
bool dhc_dtype_is_int(dhc_dtype t) {
  return known(t) && (dtypes[t].kind == 'I' || dtypes[t].kind == 'U');
}

bool dhc_dtype_parse(const char *name, dhc_dtype *out) {
  for (int i = 0; i < DHC_N_DTYPES; i++)
    if (strcmp(dtypes[i].name, name) == 0) {
      *out = (dhc_dtype)i;
      return true;
    }
  return false;
}

int64_t dhc_dtype_from_double(dhc_dtype t, double v) {
  if (t == DHC_BOOL) return v != 0;
  int bits = 8 * dhc_dtype_bytes(t);
  bool is_unsigned = known(t) && dtypes[t].kind == 'U';
  if (isnan(v)) return 0;
  double hi = ldexp(1, is_unsigned ? bits : bits - 1), lo = is_unsigned ? 0 : -hi;
  v = trunc(v);
  if (v >= hi) return bits == 64 ? INT64_MAX : (int64_t)hi - 1;
  if (v <= lo) return bits == 64 ? INT64_MIN : (int64_t)lo;
  return (int64_t)v;
}

bool dhc_type_equal(const DhcType *a, const DhcType *b) {
  if (a->dtype != b->dtype || a->rank != b->rank) return false;
  for (int i = 0; i < a->rank; i++)
    if (a->dim[i] != b->dim[i]) return false;
  return true;
}

void dhc_type_print(const DhcType *t, DhcText *to) {
  dhc_text_puts(to, dhc_dtype_name(t->dtype));
  dhc_text_puts(to, "[");
  for (int i = 0; i < t->rank; i++) {
    if (i) dhc_text_puts(to, ", ");
    dhc_dim_print(t->dim[i], to);
  }
  dhc_text_puts(to, "]");
}

const DhcDim *dhc_type_elements(DhcDims *cx, const DhcType *t) {
  return dhc_dim_product(cx, t->dim, t->rank);
}

void dhc_type_subst(DhcDims *cx, DhcType *t, const DhcSubst *s) {
  for (int i = 0; i < t->rank; i++)
    t->dim[i] = dhc_dim_subst(cx, t->dim[i], s->n, s->from, s->to);
}

const char *dhc_type_text(DhcModule *m, const DhcType *t) {
  DhcText text = {.arena = m->arena};
  dhc_type_print(t, &text);
  return dhc_text_str(&text);
}

const char *dhc_dim_text(DhcModule *m, const DhcDim *d) {
  DhcText text = {.arena = m->arena};
  dhc_dim_print(d, &text);
  return dhc_text_str(&text);
}
