/* Inputs on a device that lie where they are until a run has ended (dhc_program_run_at): a list of commands that was prepared for
 * that place reads them there, and nothing is copied. As another place means another list, an input is copied until it has come
 * from one place several times in a row; a program whose inputs move about waits longer each time. */
#include <stdlib.h>
#include <string.h>

#include "runtime/program_internal.h"

enum { ALIGN = 64, MOST_PATIENCE = 1 << 20 };

typedef struct Lent {
  DhcDevicePtr *base; /* of the segments, of scratch, then of inputs by number */
  DhcDevicePtr *last; /* where the input came from; 0: the host */
  int32_t *times;     /* so often in a row */
  int32_t patience;
} Lent;

static int32_t root_of(const dhc_plan *plan, int32_t buffer) {
  while (plan->buffers[buffer].alias >= 0) buffer = plan->buffers[buffer].alias;
  return buffer;
}

/* An input in memory of its own, that no result lies in. */
static bool may_be_lent(const dhc_image *im, int32_t i) {
  int32_t buffer = im->tensors[i].buffer;
  if (im->tensors[i].role != DHC_IMAGE_INPUT || buffer < 0) return false;
  if (root_of(&im->plan, buffer) != buffer || im->plan.buffers[buffer].segment != DHC_SEGMENT_IO) return false;
  for (int32_t k = 0; k < im->n_params + im->n_results; k++)
    if (k != i && im->tensors[k].buffer >= 0 && root_of(&im->plan, im->tensors[k].buffer) == buffer) return false;
  return true;
}

static int32_t number_inputs(const dhc_image *im, int32_t *number) {
  int32_t n = DHC_N_SEGMENTS + 1;
  for (int32_t i = 0; i < im->plan.n_buffers; i++) number[i] = -1;
  for (int32_t i = 0; i < im->n_params; i++)
    if (may_be_lent(im, i)) number[im->tensors[i].buffer] = n++;
  return n;
}

void dhc_prog_drop_lent(Binding *b) {
  if (!b->lent) return;
  free(b->lent->base);
  free(b->lent->last);
  free(b->lent->times);
  free(b->lent);
  b->lent = NULL;
}

static dhc_status open_lent(DhcLoaded *l, Binding *b) {
  const dhc_image *im = l->image;
  size_t n = (size_t)(DHC_N_SEGMENTS + 1 + im->n_params);
  if (!l->lends && (l->lends = calloc((size_t)im->plan.n_buffers + 1, sizeof *l->lends))) number_inputs(im, l->lends);
  Lent *x = b->lent = calloc(1, sizeof *x);
  if (x) *x = (Lent){calloc(n, sizeof *x->base), calloc(n, sizeof *x->last), calloc(n, sizeof *x->times), 1};
  if (l->lends && x && x->base && x->last && x->times) {
    dhc_bound_lend(b->bound, l->lends);
    return dhc_status_ok();
  }
  dhc_prog_drop_lent(b);
  return dhc_status_memory((long long)n * 8, "a binding");
}

static bool stays(const dhc_image_tensor *t, const DhcTensorView *in) {
  return in && in->stays && in->device && in->dtype == t->dtype && in->device % ALIGN == 0;
}

/* Where the buffer's base is to be, counted from `io`, where copies go. */
static DhcDevicePtr base_of(Lent *x, int32_t i, DhcDevicePtr at, uint64_t offset, DhcDevicePtr io) {
  x->times[i] = at && at == x->last[i] ? x->times[i] + (x->times[i] < MOST_PATIENCE) : 0;
  x->last[i] = at;
  return at && x->times[i] >= x->patience ? at - offset : io;
}

dhc_status dhc_prog_lend(DhcLoaded *l, Binding *b, const DhcTensorView *const *in, bool *moved) {
  const dhc_image *im = l->image;
  bool any = false;
  *moved = false;
  for (int32_t i = 0; i < im->n_params; i++) any = any || (im->tensors[i].role == DHC_IMAGE_INPUT && stays(&im->tensors[i], in[i]));
  if (!b->lent && (!any || !l->p->device->ops->prepare)) return dhc_status_ok();
  if (!b->lent) DHC_TRY(open_lent(l, b));
  Lent *x = b->lent;
  DhcDevicePtr io = b->base[DHC_SEGMENT_IO], before = x->base[DHC_SEGMENT_IO];
  memcpy(x->base, b->base, sizeof b->base);
  bool back = false;
  for (int32_t i = 0; i < im->n_params; i++) {
    int32_t buffer = im->tensors[i].buffer, number = buffer < 0 ? -1 : l->lends[buffer];
    if (number < 0 || im->tensors[i].role != DHC_IMAGE_INPUT) continue;
    DhcDevicePtr at = stays(&im->tensors[i], in[i]) ? in[i]->device : 0;
    DhcDevicePtr to = base_of(x, i, at, (uint64_t)dhc_bound_buffer_offset(b->bound, buffer), io), was = x->base[number];
    *moved = *moved || (to != was && !(was == 0 && to == io)); /* 0: as it was before anything was lent */
    back = back || (was != 0 && was != before && to != was);
    x->base[number] = to;
  }
  if (back && x->patience < MOST_PATIENCE) x->patience *= 2;
  return dhc_status_ok();
}

const DhcDevicePtr *dhc_prog_bases(const Binding *b) { return b->lent ? b->lent->base : b->base; }

bool dhc_prog_is_lent(const DhcLoaded *l, const Binding *b, int32_t i, const DhcTensorView *in) {
  int32_t buffer = l->image->tensors[i].buffer, number = b->lent ? l->lends[buffer] : -1;
  return number >= 0 && in && in->device && b->lent->base[number] + (uint64_t)dhc_bound_buffer_offset(b->bound, buffer) == in->device;
}
