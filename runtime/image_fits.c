/* What an image refers to is there: all that binding does not check by itself. */
#include "runtime/image.h"
#include "runtime/tensor.h"

static bool in(int64_t i, int64_t n) {
  return i >= 0 && i < n;
}

static bool tensor_fits(const dhc_image *im, int32_t i) {
  const dhc_image_tensor *t = &im->tensors[i];
  bool result = i >= im->n_params;
  bool fits = t->name && t->type && in(t->dtype, DHC_N_DTYPES) && in(t->rank, DHC_TENSOR_MAX_RANK + 1) && in(t->role, DHC_IMAGE_SCALAR + 1) &&
              t->buffer < im->plan.n_buffers && t->buffer >= (result ? 0 : -1) && result == (t->role == DHC_IMAGE_RESULT);
  if (!fits) return false;
  switch (t->role) {
    case DHC_IMAGE_WEIGHT:
    case DHC_IMAGE_BUFFER:
    case DHC_IMAGE_TABLE:
    case DHC_IMAGE_STATE: return in(t->place, im->layout.n_slots) && im->layout.slots[t->place].role == t->role;
    case DHC_IMAGE_RANGE: return t->place == -1 || in(t->place, im->layout.n_ranges);
    default: return true;
  }
}

static bool layout_fits(const dhc_layout *l) {
  bool fits = in(l->dtype, DHC_N_DTYPES) && l->n_weights >= 0;
  for (int a = 0; a < DHC_N_SEGMENTS; a++) fits = fits && l->bytes[a] >= 0;
  for (int32_t i = 0; fits && i < l->n_slots; i++) {
    const dhc_slot *s = &l->slots[i];
    int64_t bytes, end;
    fits = s->name && in(s->dtype, DHC_N_DTYPES) && in(s->rank, DHC_TENSOR_MAX_RANK + 1) && s->role >= DHC_IMAGE_WEIGHT && s->role <= DHC_IMAGE_STATE;
    if (!fits || s->role == DHC_IMAGE_STATE) continue;
    fits = dhc_size_mul(s->n, dhc_tensor_dtype_bytes(s->dtype), &bytes) && dhc_size_add(s->at, bytes, &end) &&
           end <= l->bytes[s->role == DHC_IMAGE_WEIGHT ? DHC_SEGMENT_WEIGHTS : DHC_SEGMENT_BUFFERS];
  }
  for (int32_t i = 0; fits && i < l->n_ranges; i++) {
    const dhc_range *r = &l->ranges[i];
    int64_t bytes, end;
    fits = r->name && in(r->dtype, DHC_N_DTYPES) && dhc_size_mul(r->n, dhc_tensor_dtype_bytes(r->dtype), &bytes) &&
           dhc_size_add(r->at, bytes, &end) && end <= l->bytes[DHC_SEGMENT_MOMENTS] && r->begin >= 0 && r->begin <= r->whole - r->n && (!r->like_weights || r->whole <= l->n_weights);
  }
  return fits;
}

/* A panel's buffer, whose size hangs on nothing, holds all of the packed copy: panels of `width` rows, the last filled up. */
static bool panel_fits(const dhc_image *im, const dhc_panel *p) {
  int64_t each, all, panels, packed, held;
  const dhc_buffer *b = &im->plan.buffers[p->buffer];
  if (!dhc_size_mul(p->rows, p->cols, &each) || !dhc_size_mul(each, p->matrices, &all) ||
      all > im->layout.slots[im->tensors[p->tensor].place].n)
    return false;
  panels = p->rows / p->width + (p->rows % p->width != 0);
  return dhc_size_mul(panels, p->width, &packed) && dhc_size_mul(packed, p->cols, &packed) && dhc_size_mul(packed, p->matrices, &packed) &&
         dhc_size_mul(packed, (int64_t)sizeof(float), &packed) && b->segment == DHC_SEGMENT_PANELS &&
         dhc_dimprog_eval(b->bytes, NULL, 0, 0, &held) && packed <= held;
}

static bool checks_fit(const dhc_image *im) {
  bool fits = true;
  for (int32_t i = 0; i < im->n_equations; i++) {
    const dhc_equation *e = &im->equations[i];
    fits = fits && in(e->symbol, im->plan.n_symbols) && in(e->tensor, im->n_params) && in(e->axis, im->tensors[e->tensor].rank);
  }
  for (int32_t i = 0; fits && i < im->n_panels; i++) {
    const dhc_panel *p = &im->panels[i];
    fits = in(p->tensor, im->n_params) && im->tensors[p->tensor].role == DHC_IMAGE_WEIGHT && in(p->buffer, im->plan.n_buffers) &&
           p->width > 0 && p->tag == DHC_PANEL_F32 && panel_fits(im, p);
  }
  for (int32_t i = 0; fits && i < im->n_index_checks; i++) {
    const dhc_index_check *c = &im->index_checks[i];
    fits = in(c->tensor, im->n_params) && im->tensors[c->tensor].role == DHC_IMAGE_INPUT;
  }
  for (int32_t i = 0; fits && i < im->n_requires; i++)
    fits = im->requires[i].message && in((int64_t)im->requires[i].tensor - im->n_params, im->n_results);
  return fits;
}

static bool update_fits(const dhc_image *im) {
  const dhc_update *u = &im->update;
  bool fits = u->average >= -1 && u->average < im->layout.n_ranges && u->loss >= -1 && u->loss < im->n_results && u->norm >= -1 &&
              u->norm < im->n_results;
  for (int32_t i = 0; i < u->n_params; i++) {
    const dhc_update_param *p = &u->params[i];
    fits = fits && in(p->kind, DHC_UPDATE_SCALAR + 1) && p->range >= -1 && p->range < im->layout.n_ranges &&
           (p->kind != DHC_UPDATE_SCALAR || p->scalar);
  }
  for (int32_t i = 0; i < u->n_results; i++) fits = fits && u->results[i] >= -1 && u->results[i] < im->layout.n_ranges;
  for (int32_t i = 0; i < im->n_scalars; i++) fits = fits && im->scalars[i].name;
  for (int32_t i = 0; i < im->n_begins; i++) {
    const dhc_begin *b = &im->begins[i];
    fits = fits && in(b->slot, im->layout.n_slots) && im->layout.slots[b->slot].role == DHC_IMAGE_STATE && b->result >= -1 &&
           (b->result < 0 || im->reset.text);
  }
  return fits;
}

bool dhc_image_fits(const dhc_image *im) {
  const dhc_plan *p = &im->plan;
  if (!p->name || p->n_symbols > DHC_IMAGE_MAX_SYMBOLS || im->finite < -1 || im->finite >= im->n_results || !layout_fits(&im->layout))
    return false;
  for (int32_t i = 0; i < p->n_symbols; i++)
    if (!p->symbols[i]) return false;
  for (int32_t i = 0; i < p->n_buffers; i++)
    if (!in(p->buffers[i].segment, DHC_N_SEGMENTS)) return false;
  for (int32_t i = 0; i < p->n_guards; i++)
    if (!p->guards[i].message) return false;
  for (int32_t i = 0; i < p->n_kernels; i++)
    if (!im->kernels[i].name || im->kernels[i].n_classes < 1) return false;
  for (int32_t i = 0; i < im->n_params + im->n_results; i++)
    if (!tensor_fits(im, i)) return false;
  return checks_fit(im) && update_fits(im);
}
