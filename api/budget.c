/* What programs and data sets are going to need, against the session's limit. Asked before the
 * memory is: nothing that is refused was ever allocated. */
#include "api/api.h"

static int64_t round_up(int64_t bytes) {
  int64_t up;
  return dhc_size_align64(bytes, &up) ? up : INT64_MAX;
}

/* A refusal is the model's: it points at what asked for so much. */
static dhc_status locate(dhc_session *s, DhcSpan at, dhc_status st) {
  if (st.code == DHC_E_INPUT && at.file) dhc_diag(&s->diags, DHC_ERROR, "E0312", at, "%s", st.message);
  return st;
}

/* Where the model stands: where its largest tensor does. */
static DhcSpan largest_tensor(const DhcModule *m) {
  DhcSpan at = {0};
  int64_t most = -1, n;
  for (int i = 0; i < m->tensors.n; i++) {
    const DhcTensorDecl *d = &m->tensors.at[i];
    if (d->role == DHC_ROLE_STATE || !dhc_dim_is_const(dhc_type_elements(m->dims, &d->type), &n) || n <= most) continue;
    most = n;
    at = d->span;
  }
  return at;
}

dhc_status budget_program(dhc_program *p, const dhc_layout *l, bool train) {
  DhcCharge want = p->charge;
  int64_t weights = round_up(l->bytes[DHC_SEGMENT_WEIGHTS]);
  want.bytes[DHC_USE_WEIGHTS] = weights;
  if (want.bytes[DHC_USE_STATE] < l->bytes[DHC_SEGMENT_BUFFERS]) want.bytes[DHC_USE_STATE] = l->bytes[DHC_SEGMENT_BUFFERS];
  if (train && want.bytes[DHC_USE_GRADIENTS] < weights) want.bytes[DHC_USE_GRADIENTS] = weights;
  if (l->n_ranges) want.bytes[DHC_USE_OPTIMISER] = l->bytes[DHC_SEGMENT_MOMENTS];
  return locate(p->m->s, largest_tensor(p->m->module), dhc_budget_charge(&p->m->s->budget, &p->charge, &want, p->m->name));
}

dhc_status budget_run(dhc_program *p, const Version *v, const DhcCharge *segments, bool new_panels) {
  static const DhcUse grown[] = {DHC_USE_GRADIENTS, DHC_USE_WORK, DHC_USE_IO, DHC_USE_SCRATCH};
  DhcCharge want = p->charge;
  for (size_t i = 0; i < sizeof grown / sizeof *grown; i++) /* these never shrink */
    if (segments->bytes[grown[i]] > want.bytes[grown[i]]) want.bytes[grown[i]] = segments->bytes[grown[i]];
  if (new_panels) want.bytes[DHC_USE_PANELS] += segments->bytes[DHC_USE_PANELS];
  char what[200];
  snprintf(what, sizeof what, "entry '%.150s'", v->entry);
  return locate(p->m->s, v->span, dhc_budget_charge(&p->m->s->budget, &p->charge, &want, what));
}

dhc_status budget_more(dhc_program *p, DhcUse use, int64_t bytes, const char *what) {
  DhcCharge want = p->charge;
  if (bytes < 0 || !dhc_size_add(want.bytes[use], bytes, &want.bytes[use])) want.bytes[use] = INT64_MAX;
  return dhc_budget_charge(&p->m->s->budget, &p->charge, &want, what);
}

void budget_less(dhc_program *p, DhcUse use, int64_t bytes) {
  p->charge.bytes[use] -= bytes;
  p->m->s->budget.used.bytes[use] -= bytes;
}

DhcDataOptions session_data_options(const dhc_session *s) {
  return (DhcDataOptions){.max_bytes = dhc_budget_left(&s->budget), .exec = dhc_pool_exec(s->pool)};
}

dhc_status budget_data(dhc_session *s, const DhcDataset *d, DhcCharge *c) {
  DhcCharge want = *c;
  if (!dhc_size_add(want.bytes[DHC_USE_DATA], d->bytes, &want.bytes[DHC_USE_DATA])) want.bytes[DHC_USE_DATA] = INT64_MAX;
  return dhc_budget_charge(&s->budget, c, &want, "data");
}
