/* Arguments of the C API. */
#include "api/args.h"

#include <string.h>

#include "runtime/status.h"
#include "runtime/tensor.h"

/* As callers know it: api_train stands behind dhc_train (doors.h). */
static const char *public_name(const char *function) {
  return strncmp(function, "api_", 4) ? function : function + 4;
}

dhc_status args_null(const char *function, const char *argument) {
  const char *name = public_name(function);
  return dhc_status_make(DHC_E_USAGE, "%s%s: '%s' is NULL", name == function ? "" : "dhc_", name, argument);
}

dhc_status args_form(const dhc_tensor *t, int64_t *bytes) {
  char shape[180];
  if (!t->name) return dhc_status_make(DHC_E_USAGE, "a tensor has no name");
  if ((unsigned)t->dtype >= DHC_N_DTYPES)
    return dhc_status_make(DHC_E_USAGE, "tensor '%s': %d is no dtype", t->name, (int)t->dtype);
  if (t->rank < 0 || t->rank > DHC_TENSOR_MAX_RANK)
    return dhc_status_make(DHC_E_USAGE, "tensor '%s': rank %d is outside 0..%d", t->name, t->rank, DHC_TENSOR_MAX_RANK);
  if (!dhc_size_tensor((int32_t)t->dtype, t->rank, t->dim, NULL, bytes))
    return dhc_status_make(DHC_E_USAGE, "tensor '%s': no tensor can be %s", t->name,
                           dhc_tensor_shape_text(t->rank, t->dim, shape, sizeof shape));
  return dhc_status_ok();
}

dhc_status args_tensor(const dhc_tensor *t) {
  int64_t bytes;
  DHC_TRY(args_form(t, &bytes));
  if (bytes && !t->data) return dhc_status_make(DHC_E_USAGE, "tensor '%s' has no data", t->name);
  return dhc_status_ok();
}

static dhc_status check_count(const char *function, const dhc_tensor *t, int n) {
  const char *name = public_name(function), *dhc = name == function ? "" : "dhc_";
  if (n < 0) return dhc_status_make(DHC_E_USAGE, "%s%s: %d tensors", dhc, name, n);
  if (n && !t) return dhc_status_make(DHC_E_USAGE, "%s%s: %d tensors at NULL", dhc, name, n);
  return dhc_status_ok();
}

dhc_status args_forms(const char *function, const dhc_tensor *t, int n) {
  int64_t bytes;
  DHC_TRY(check_count(function, t, n));
  for (int i = 0; i < n; i++) DHC_TRY(args_form(&t[i], &bytes));
  return dhc_status_ok();
}

dhc_status args_tensors(const char *function, const dhc_tensor *t, int n) {
  DHC_TRY(check_count(function, t, n));
  for (int i = 0; i < n; i++) {
    dhc_status st = args_tensor(&t[i]);
    if (st.code != DHC_OK) return st;
  }
  return dhc_status_ok();
}
