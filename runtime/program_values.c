/* Values of a program, from and to the host. */
#include <stdlib.h>
#include <string.h>

#include "runtime/program_internal.h"

enum { STAGE_BYTES = 1 << 20 };

static int64_t bytes_of(int32_t dtype, int64_t n) {
  return n * dhc_tensor_dtype_bits(dtype) / 8;
}

/* Where there is no view, a piece at a time through a buffer of the host. */
typedef struct Piece {
  DhcDevicePtr at;
  int64_t first, n;
} Piece;

static dhc_status put_piece(DhcDevice *d, Piece p, int32_t dtype, const char *from, int32_t host_dtype, void *stage) {
  dhc_tensor_convert(stage, dtype, from + bytes_of(host_dtype, p.first), host_dtype, p.n);
  return d->ops->upload(d, p.at, stage, bytes_of(dtype, p.n));
}

static dhc_status get_piece(DhcDevice *d, Piece p, int32_t dtype, char *to, int32_t host_dtype, void *stage) {
  DHC_TRY(d->ops->download(d, stage, p.at, bytes_of(dtype, p.n)));
  dhc_tensor_convert(to + bytes_of(host_dtype, p.first), host_dtype, stage, dtype, p.n);
  return dhc_status_ok();
}

static dhc_status in_pieces(DhcDevice *d, DhcDevicePtr at, int32_t dtype, const void *from, void *to, int32_t host_dtype, int64_t n) {
  int64_t each = STAGE_BYTES / 8;
  void *stage = malloc(STAGE_BYTES);
  if (!stage) return dhc_status_memory(STAGE_BYTES, "values on their way to a device");
  dhc_status st = dhc_status_ok();
  for (int64_t i = 0; i < n && st.code == DHC_OK; i += each) {
    Piece p = {at + (uint64_t)(bytes_of(dtype, i)), i, n - i < each ? n - i : each};
    st = to ? get_piece(d, p, dtype, to, host_dtype, stage) : put_piece(d, p, dtype, from, host_dtype, stage);
  }
  free(stage);
  return st;
}

dhc_status dhc_device_put(DhcDevice *d, DhcDevicePtr at, int32_t dtype, const void *from, int32_t host_dtype, int64_t n) {
  if (n <= 0) return dhc_status_ok();
  if (dtype == host_dtype) return d->ops->upload(d, at, from, bytes_of(dtype, n));
  void *view = d->ops->view(d, at, bytes_of(dtype, n));
  if (!view) return in_pieces(d, at, dtype, from, NULL, host_dtype, n);
  dhc_tensor_convert(view, dtype, from, host_dtype, n);
  return dhc_status_ok();
}

dhc_status dhc_device_get(DhcDevice *d, DhcDevicePtr at, int32_t dtype, void *to, int32_t host_dtype, int64_t n) {
  if (n <= 0) return dhc_status_ok();
  if (dtype == host_dtype) return d->ops->download(d, to, at, bytes_of(dtype, n));
  void *view = d->ops->view(d, at, bytes_of(dtype, n));
  if (!view) return in_pieces(d, at, dtype, NULL, to, host_dtype, n);
  dhc_tensor_convert(to, host_dtype, view, dtype, n);
  return dhc_status_ok();
}

dhc_status dhc_device_set(DhcDevice *d, DhcDevicePtr at, int32_t dtype, double value, int64_t n) {
  char one[8] = {0};
  size_t each = (size_t)bytes_of(dtype, 1);
  if (n <= 0) return dhc_status_ok();
  dhc_tensor_convert(one, dtype, &value, DHC_F64, 1);
  uint32_t pattern = 0;
  if (each == 4) memcpy(&pattern, one, 4);
  if (each == 4 || !memcmp(one, &(char[8]){0}, 8)) return d->ops->fill(d, at, pattern, n * (int64_t)each);
  char *all = malloc((size_t)n * each);
  if (!all) return dhc_status_memory((long long)n * (long long)each, "values on their way to a device");
  for (int64_t i = 0; i < n; i++) memcpy(all + (size_t)i * each, one, each);
  dhc_status st = d->ops->upload(d, at, all, n * (int64_t)each);
  free(all);
  return st;
}

/* ---- places ---------------------------------------------------------------------------- */

DhcDevicePtr dhc_prog_range(DhcProg *p, int32_t range) {
  dhc_prog_settle(p, range == DHC_WEIGHTS ? DHC_SEGMENT_WEIGHTS : DHC_SEGMENT_MOMENTS);
  if (range == DHC_WEIGHTS) return p->segment[DHC_SEGMENT_WEIGHTS];
  return p->segment[DHC_SEGMENT_MOMENTS] + (uint64_t)p->layout->ranges[range].at;
}

DhcDevicePtr dhc_prog_slot(DhcProg *p, int32_t slot, int32_t range) {
  const dhc_slot *s = &p->layout->slots[slot];
  switch (s->role) {
    case DHC_IMAGE_WEIGHT: return dhc_prog_range(p, range) + (uint64_t)(s->at - (range < 0 ? 0 : bytes_of(s->dtype, p->layout->ranges[range].begin)));
    case DHC_IMAGE_STATE: return p->segment[DHC_SEGMENT_STATES] + (uint64_t)p->states[slot].at;
    default: return p->segment[DHC_SEGMENT_BUFFERS] + (uint64_t)s->at;
  }
}

int32_t dhc_prog_find_range(const DhcProg *p, const char *name) {
  for (int32_t i = 0; i < p->layout->n_ranges; i++)
    if (!strcmp(p->layout->ranges[i].name, name)) return i;
  return -2;
}

dhc_status dhc_prog_begin_range(DhcProg *p, int32_t range) {
  DhcDevice *d = p->device;
  const dhc_range *r = &p->layout->ranges[range];
  int64_t bytes = bytes_of(r->dtype, r->n);
  p->version++;
  return r->from_weights ? d->ops->copy(d, dhc_prog_range(p, range), dhc_prog_range(p, DHC_WEIGHTS), bytes)
                         : d->ops->fill(d, dhc_prog_range(p, range), 0, bytes);
}

/* Memory that nothing was written to since it was zero is left alone: its pages are not there yet. */
dhc_status dhc_prog_begin_ranges(DhcProg *p) {
  if (p->stale[DHC_SEGMENT_MOMENTS]) {
    dhc_prog_settle(p, DHC_SEGMENT_MOMENTS);
    p->ranges_zero = true;
  }
  for (int32_t i = 0; i < p->layout->n_ranges; i++)
    if (p->layout->ranges[i].from_weights || !p->ranges_zero) DHC_TRY(dhc_prog_begin_range(p, i));
  p->fresh = ++p->version;
  return dhc_status_ok();
}

void dhc_prog_overwrite(DhcProg *p) {
  const dhc_layout *l = p->layout;
  int64_t bytes = 0;
  for (int32_t i = 0; i < l->n_slots; i++)
    if (l->slots[i].role == DHC_IMAGE_WEIGHT) bytes += bytes_of(l->slots[i].dtype, l->slots[i].n);
  if (bytes == l->bytes[DHC_SEGMENT_WEIGHTS]) p->stale[DHC_SEGMENT_WEIGHTS] = false;
  if (p->device->ops->touch) p->device->ops->touch(p->device, dhc_prog_range(p, DHC_WEIGHTS), p->held[DHC_SEGMENT_WEIGHTS]);
}

bool dhc_prog_fresh(const DhcProg *p, int32_t range) {
  (void)range;
  return p->fresh == p->version;
}

void dhc_prog_changed(DhcProg *p, bool ranges) {
  if (p->owner) return; /* who shares weights does not write them */
  p->version++;
  if (ranges) p->ranges_zero = false;
}

int64_t dhc_prog_version(const DhcProg *p) {
  return p->owner ? p->owner->version : p->version;
}

void dhc_prog_use_weights(DhcProg *p, int32_t range) {
  p->weights = range;
}

/* ---- going back ------------------------------------------------------------------------- */

static const int kept[] = {DHC_SEGMENT_WEIGHTS, DHC_SEGMENT_MOMENTS, DHC_SEGMENT_BUFFERS};
enum { N_KEPT = sizeof kept / sizeof *kept };

DhcDevicePtr dhc_prog_kept_at(DhcProg *p, int which, int64_t *bytes) {
  static const int order[] = {DHC_SEGMENT_WEIGHTS, DHC_SEGMENT_BUFFERS, DHC_SEGMENT_MOMENTS};
  dhc_prog_settle(p, order[which]);
  *bytes = p->layout->bytes[order[which]];
  return p->segment[order[which]];
}

dhc_status dhc_prog_spread(DhcProg *p) {
  DhcDevice *d = p->device;
  for (int i = 0; i < 2; i++) {
    int64_t bytes;
    DhcDevicePtr at = dhc_prog_kept_at(p, i, &bytes);
    if (bytes) DHC_TRY(d->ops->spread(d, 0, at, bytes));
  }
  for (int32_t i = 0; i < p->layout->n_ranges; i++) {
    const dhc_range *r = &p->layout->ranges[i];
    if (r->n == r->whole) DHC_TRY(d->ops->spread(d, 0, dhc_prog_range(p, i), bytes_of(r->dtype, r->n)));
  }
  dhc_prog_changed(p, true);
  return d->ops->synchronise(d);
}

int64_t dhc_shares_at_once(const DhcShares *s) {
  int64_t most = 0;
  for (int r = 0; r < s->n; r++)
    if (s->cut[r + 1] - s->cut[r] > most) most = s->cut[r + 1] - s->cut[r];
  most = most / 8 + 1; /* small beside what is shared out */
  return most < 1 << 22 ? most : 1 << 22;
}

/* What travels of a share: elements [at, at + n) of a range, between the host of rank 0 and their owner. */
typedef struct Parcel {
  int32_t range;
  int owner;
  int64_t at, n;
} Parcel;

static dhc_status send_parcel(DhcProg *p, const DhcShares *s, const Parcel *x, char *host, bool home) {
  DhcDevice *d = p->device;
  const dhc_range *r = &p->layout->ranges[x->range];
  const int64_t bytes = bytes_of(r->dtype, x->n);
  const bool here = x->owner == s->rank, leads = s->rank == 0;
  const DhcDevicePtr at = here ? dhc_prog_range(p, x->range) + (uint64_t)bytes_of(r->dtype, x->at - r->begin) : s->stage;
  char *values = leads ? host + bytes_of(r->dtype, x->at) : NULL;
  if (leads && !home) DHC_TRY(d->ops->upload(d, at, values, bytes));
  if (x->owner) DHC_TRY(d->ops->spread(d, home ? x->owner : 0, at, bytes));
  DHC_TRY(d->ops->synchronise(d));
  return leads && home ? d->ops->download(d, values, at, bytes) : dhc_status_ok();
}

dhc_status dhc_prog_send_shares(DhcProg *p, int32_t range, const DhcShares *s, void *host, bool home) {
  const int64_t most = dhc_shares_at_once(s);
  dhc_status st = dhc_status_ok();
  for (Parcel x = {.range = range}; x.owner < s->n && !st.code; x.owner++)
    for (x.at = s->cut[x.owner]; x.at < s->cut[x.owner + 1] && !st.code; x.at += x.n) {
      x.n = s->cut[x.owner + 1] - x.at < most ? s->cut[x.owner + 1] - x.at : most;
      st = send_parcel(p, s, &x, host, home);
    }
  if (!home) dhc_prog_changed(p, true);
  return st;
}

int64_t dhc_prog_kept(const DhcProg *p) {
  int64_t bytes = 0;
  for (int i = 0; i < N_KEPT; i++) bytes += p->layout->bytes[kept[i]];
  return bytes;
}

dhc_status dhc_prog_save(DhcProg *p, DhcDevicePtr *copy) {
  DhcDevice *d = p->device;
  int64_t at = 0;
  for (int i = 0; i < N_KEPT; i++) dhc_prog_settle(p, kept[i]);
  if (!*copy) DHC_TRY(d->ops->alloc(d, dhc_prog_kept(p), copy));
  for (int i = 0; i < N_KEPT; at += p->layout->bytes[kept[i++]])
    if (p->layout->bytes[kept[i]]) DHC_TRY(d->ops->copy(d, *copy + (uint64_t)at, p->segment[kept[i]], p->layout->bytes[kept[i]]));
  return dhc_status_ok();
}

dhc_status dhc_prog_restore(DhcProg *p, DhcDevicePtr copy) {
  DhcDevice *d = p->device;
  int64_t at = 0;
  for (int i = 0; i < N_KEPT; at += p->layout->bytes[kept[i++]])
    if (p->layout->bytes[kept[i]]) DHC_TRY(d->ops->copy(d, p->segment[kept[i]], copy + (uint64_t)at, p->layout->bytes[kept[i]]));
  p->version++;
  return dhc_status_ok();
}

/* ---- scalars ------------------------------------------------------------------------------ */

double *dhc_prog_scalar(DhcProg *p, const char *name) {
  for (int32_t i = 0; i < p->n_scalars; i++)
    if (!strcmp(p->scalar_names[i], name)) return &p->scalars[i];
  if (p->n_scalars == DHC_PROG_MAX_SCALARS) return NULL;
  p->scalar_names[p->n_scalars] = name;
  return &p->scalars[p->n_scalars++];
}

int32_t dhc_prog_n_scalars(const DhcProg *p) {
  return p->n_scalars;
}

const char *dhc_prog_scalar_name(const DhcProg *p, int32_t i) {
  return p->scalar_names[i];
}
