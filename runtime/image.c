/* What comes into an image: shapes to symbols, guards, indices. */
#include "runtime/image.h"

#include <stdio.h>
#include <string.h>

int32_t dhc_image_find(const dhc_image *im, dhc_image_role role, const char *name) {
  for (int32_t i = 0; i < im->n_params + im->n_results; i++)
    if (im->tensors[i].role == (int32_t)role && !strcmp(im->tensors[i].name, name)) return i;
  return -1;
}

bool dhc_image_shape(const dhc_image *im, int32_t tensor, const int64_t *symbols, int64_t *dim) {
  const dhc_image_tensor *t = &im->tensors[tensor];
  for (int32_t d = 0; d < t->rank; d++)
    if (!dhc_dimprog_eval(t->dims[d], symbols, im->plan.n_symbols, 0, &dim[d]) || dim[d] < 0) return false;
  return true;
}

static bool same_shape(const dhc_image *im, int32_t tensor, const int64_t *symbols, const DhcTensorView *in) {
  int64_t dim[DHC_TENSOR_MAX_RANK];
  return in->rank == im->tensors[tensor].rank && dhc_image_shape(im, tensor, symbols, dim) &&
         !memcmp(dim, in->shape, sizeof *dim * (size_t)in->rank);
}

bool dhc_image_solve(const dhc_image *im, const DhcTensorView *const *in, int64_t *symbols, int32_t *wrong) {
  int32_t n = im->plan.n_symbols;
  int64_t env[DHC_IMAGE_MAX_SYMBOLS + 1];
  for (int32_t i = 0; i < im->n_params; i++) {
    *wrong = i;
    if (in[i] && in[i]->rank != im->tensors[i].rank) return false;
  }
  for (int32_t i = 0; i < n; i++) env[i] = 1;
  for (int32_t k = 0; k < im->n_equations; k++) {
    const dhc_equation *e = &im->equations[k];
    *wrong = e->tensor;
    if (!in[e->tensor]) continue;
    env[n] = in[e->tensor]->shape[e->axis];
    if (!dhc_dimprog_eval(e->value, env, n + 1, 0, &env[e->symbol]) || env[e->symbol] < 1) return false;
  }
  memcpy(symbols, env, sizeof *env * (size_t)n);
  for (int32_t i = 0; i < im->n_params; i++) {
    *wrong = i;
    if (in[i] && !same_shape(im, i, symbols, in[i])) return false;
  }
  return true;
}

int32_t dhc_image_guard(const dhc_image *im, const int64_t *symbols) {
  for (int32_t i = 0; i < im->plan.n_guards; i++) {
    int64_t holds;
    if (dhc_dimprog_eval(im->plan.guards[i].cond, symbols, im->plan.n_symbols, 1, &holds) && !holds) return i;
  }
  return -1;
}

/* ---- indices --------------------------------------------------------------------------- */

typedef struct Part {
  int64_t start[8], size[8], step[8];
} Part;

static bool part_of(const dhc_image *im, const dhc_index_check *c, const DhcTensorView *t, const int64_t *symbols, Part *p) {
  int32_t n = im->plan.n_symbols;
  for (int32_t d = 0; d < t->rank; d++) {
    p->start[d] = 0;
    p->size[d] = t->shape[d];
    p->step[d] = c->has_part ? c->step[d] : 1;
    if (c->has_part && (!dhc_dimprog_eval(c->start[d], symbols, n, 0, &p->start[d]) ||
                        !dhc_dimprog_eval(c->size[d], symbols, n, 0, &p->size[d])))
      return false;
  }
  return true;
}

static dhc_status outside(const dhc_image *im, const dhc_index_check *c, int32_t rank, const int64_t *at, long long v, long long extent) {
  char where[200] = "", into[300] = "";
  size_t n = 0;
  for (int32_t d = 0; d < rank && n < sizeof where; d++)
    n += (size_t)snprintf(where + n, sizeof where - n, "%s%lld", d ? ", " : "", (long long)at[d]);
  if (c->into) snprintf(into, sizeof into, " of '%s'", c->into);
  return dhc_status_make(DHC_E_INPUT, "input '%s' has %lld at [%s]: as an index%s it must be in 0..%lld",
                         im->tensors[c->tensor].name, v, where, into, extent - 1);
}

/* Are n integers side by side indices, or the exempted one? No branch within, so that compilers take several at once.
 * false of other dtypes, too: whoever asks looks at them one by one. */
static bool all_inside(const dhc_index_check *c, const DhcTensorView *t, int64_t first, int64_t n, int64_t extent) {
  uint64_t other = c->exempt ? (uint64_t)c->exempted : 0, outside = 0; /* 0 is inside */
#define SIDE_BY_SIDE(dtype_, type_)                                                                  \
  if (t->dtype == (dtype_)) {                                                                        \
    for (int64_t i = 0; i < n; i++) {                                                                \
      type_ v_;                                                                                      \
      memcpy(&v_, (const char *)t->data + (first + i) * (int64_t)sizeof v_, sizeof v_);              \
      outside |= (uint64_t)((uint64_t)v_ >= (uint64_t)extent) & (uint64_t)((uint64_t)v_ != other);   \
    }                                                                                                \
    return !outside;                                                                                 \
  }
  if (extent < 1) return false;
  SIDE_BY_SIDE(DHC_I32, int32_t)
  SIDE_BY_SIDE(DHC_I64, int64_t)
#undef SIDE_BY_SIDE
  return false;
}

static int64_t flat_place(const DhcTensorView *t, const Part *p, const int64_t *at, int64_t *place) {
  int64_t flat = 0;
  for (int32_t d = 0; d < t->rank; d++) {
    place[d] = p->start[d] + at[d] * p->step[d];
    flat = flat * t->shape[d] + place[d];
  }
  return flat;
}

static void next_place(const Part *p, int32_t n_axes, int64_t *at) {
  for (int32_t d = n_axes - 1; d >= 0; d--) {
    if (++at[d] < p->size[d]) break;
    at[d] = 0;
  }
}

/* The axes behind the first `outer` are one run of elements side by side. */
static bool runs_inside(const dhc_index_check *c, const DhcTensorView *t, const Part *p, int64_t count, int64_t extent) {
  int64_t at[8] = {0}, place[8], run = 1;
  int32_t outer = t->rank;
  for (bool whole = true; whole && outer > 0 && p->step[outer - 1] == 1; outer--) {
    run *= p->size[outer - 1];
    whole = p->size[outer - 1] == t->shape[outer - 1];
  }
  for (int64_t i = 0; i < count; i += run, next_place(p, outer, at))
    if (!all_inside(c, t, flat_place(t, p, at, place), run, extent)) return false;
  return true;
}

static dhc_status check(const dhc_image *im, const dhc_index_check *c, const DhcTensorView *t, const int64_t *symbols) {
  int64_t extent, at[8] = {0}, count = 1;
  Part p;
  if (!dhc_dimprog_eval(c->extent, symbols, im->plan.n_symbols, 0, &extent) || !part_of(im, c, t, symbols, &p)) return dhc_status_ok();
  for (int32_t d = 0; d < t->rank; d++) count *= p.size[d];
  if (runs_inside(c, t, &p, count, extent)) return dhc_status_ok();
  for (int64_t i = 0; i < count; i++, next_place(&p, t->rank, at)) {
    int64_t place[8] = {0};
    double v = dhc_tensor_get(t, flat_place(t, &p, at, place));
    bool inside = v >= 0 && v < (double)extent;
    if (!inside && !(c->exempt && v == (double)c->exempted)) return outside(im, c, t->rank, place, (long long)v, (long long)extent);
  }
  return dhc_status_ok();
}

dhc_status dhc_image_check_indices(const dhc_image *im, const DhcTensorView *const *in, const int64_t *symbols) {
  for (int32_t i = 0; i < im->n_index_checks; i++)
    if (in[im->index_checks[i].tensor]) DHC_TRY(check(im, &im->index_checks[i], in[im->index_checks[i].tensor], symbols));
  return dhc_status_ok();
}
