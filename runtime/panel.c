#include "runtime/panel.h"

static int64_t panels(const dhc_panel *x) {
  return (x->rows + x->width - 1) / x->width;
}

int64_t dhc_panel_elements(const dhc_panel *x) {
  return panels(x) * x->width * x->cols;
}

int64_t dhc_panel_count(const dhc_panel *x) {
  return x->matrices * panels(x);
}

/* In the order of `to`: writes are sequential, reads come from `width` rows at a time. */
static void pack_one(const dhc_panel *x, int64_t n, const float *from, float *to) {
  for (int64_t c = 0; c < x->cols; c++, to += x->width) {
    for (int64_t i = 0; i < n; i++) to[i] = from[i * x->cols + c];
    for (int64_t i = n; i < x->width; i++) to[i] = 0;
  }
}

void dhc_panel_pack(const dhc_panel *x, int64_t first, int64_t end, const float *from, float *to) {
  for (int64_t p = first; p < end; p++) {
    int64_t matrix = p / panels(x), row = p % panels(x) * x->width, left = x->rows - row;
    pack_one(x, left < x->width ? left : x->width, from + (matrix * x->rows + row) * x->cols, to + p * x->width * x->cols);
  }
}
