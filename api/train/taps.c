/* Taps that a recipe's `report` names, on their way from a training step's results to the
 * progress callback and the metrics files. They are results like any other, so that showing
 * them changes nothing of the step. */
#include "api/train/train.h"

static const char *path_of(const char *result) {
  static const size_t mark = sizeof DHC_PREFIX_TAP - 1;
  return result && !strncmp(result, DHC_PREFIX_TAP, mark) ? result + mark : NULL;
}

void taps_begin(Taps *t, int most, DhcArena *arena) {
  *t = (Taps){.arena = arena, .open = true};
  t->tap = DHC_NEW_N(arena, dhc_tap, most + 1);
  t->list = DHC_NEW_N(arena, DhcMetricList, most + 1);
  t->room = DHC_NEW_N(arena, int64_t, most + 1);
  t->at = DHC_NEW_N(arena, double *, most + 1);
}

void taps_restore(Taps *t, const char *path, double *values, int64_t n) {
  t->at[t->n] = values;
  t->room[t->n] = n;
  t->list[t->n] = (DhcMetricList){values, n};
  t->tap[t->n++] = (dhc_tap){.path = path, .values = values, .n = n};
}

void taps_open(Taps *t, const dhc_image *step, DhcArena *arena) {
  taps_begin(t, step->n_results, arena);
  for (int i = 0; i < step->n_results; i++) {
    const char *path = path_of(step->tensors[step->n_params + i].name);
    if (path) t->tap[t->n++].path = path;
  }
}

void taps_read(Taps *t, const dhc_tensor *results, int n_results) {
  for (int i = 0; i < t->n; i++) {
    dhc_tap *tap = &t->tap[i];
    const dhc_tensor *r = NULL;
    for (int k = 0; k < n_results && !r; k++) {
      const char *path = path_of(results[k].name);
      if (path && !strcmp(path, tap->path)) r = &results[k];
    }
    int64_t n = r ? dhc_tensor_elements(r) : 0; /* another version of the entry may lack it */
    if (n > t->room[i]) {
      t->at[i] = DHC_NEW_N(t->arena, double, n);
      t->room[i] = n;
    }
    if (n) dhc_tensor_convert(t->at[i], DHC_F64, r->data, (int32_t)r->dtype, n);
    tap->values = t->at[i];
    tap->n = n;
    t->list[i] = (DhcMetricList){t->at[i], n};
  }
}
