/* States of a recurrent policy. A rollout keeps those that each of its sequences began with, and an update begins there. */
#include "api/rl/rl.h"

dhc_status carried_open(Rl *r) {
  int n = dhc_model_n_tensors(r->m);
  r->carried = DHC_NEW_N(&r->arena, Carried, n + 1);
  for (int i = 0; i < n && r->recurrent; i++) {
    dhc_tensor_info info = dhc_model_tensor(r->m, i);
    dhc_tensor t;
    if (strcmp(info.role, "state")) continue;
    if (dhc_program_get(r->p, info.path, &t).code != DHC_OK) continue; /* of entries that do not run here */
    if (!t.rank || t.dim[0] != r->n)
      return dhc_status_make(DHC_E_INPUT, "state '%s' has no axis of environments in front, which reinforcement learning needs", info.path);
    Carried *c = &r->carried[r->n_carried++];
    *c = (Carried){.path = info.path, .dtype = t.dtype, .rank = t.rank};
    memcpy(c->dim, t.dim, sizeof t.dim);
    c->row = dhc_tensor_bytes(&t) / r->n;
    int64_t sequences = r->n * (r->horizon / r->length);
    c->begin = DHC_NEW_N(&r->arena, unsigned char, c->row * sequences);
    c->now = DHC_NEW_N(&r->arena, unsigned char, c->row * r->n);
    c->batch = DHC_NEW_N(&r->arena, unsigned char, c->row * r->batch);
  }
  return dhc_status_ok();
}

static dhc_status get(Rl *r, const Carried *c, dhc_tensor *t) {
  DHC_TRY(dhc_program_get(r->p, c->path, t));
  return dhc_status_ok();
}

static dhc_status put(Rl *r, const Carried *c, void *rows, int64_t n) {
  dhc_tensor t = {.name = c->path, .dtype = c->dtype, .rank = c->rank, .data = rows};
  memcpy(t.dim, c->dim, sizeof t.dim);
  t.dim[0] = n;
  return dhc_program_set(r->p, &t);
}

dhc_status carried_begin(Rl *r, int64_t sequence) {
  int64_t each = r->horizon / r->length;
  for (int i = 0; i < r->n_carried; i++) {
    const Carried *c = &r->carried[i];
    dhc_tensor t;
    DHC_TRY(get(r, c, &t));
    for (int64_t e = 0; e < r->n; e++) memcpy(c->begin + c->row * (e * each + sequence), (const unsigned char *)t.data + c->row * e, (size_t)c->row);
  }
  return dhc_status_ok();
}

dhc_status carried_take(Rl *r) {
  for (int i = 0; i < r->n_carried; i++) {
    dhc_tensor t;
    DHC_TRY(get(r, &r->carried[i], &t));
    memcpy(r->carried[i].now, t.data, (size_t)(r->carried[i].row * r->n));
  }
  return dhc_status_ok();
}

dhc_status carried_put(Rl *r) {
  if (r->n_carried) dhc_program_reset(r->p);
  for (int i = 0; i < r->n_carried; i++) DHC_TRY(put(r, &r->carried[i], r->carried[i].now, r->n));
  return dhc_status_ok();
}

dhc_status carried_gather(Rl *r, const int64_t *sequences, int64_t n) {
  if (r->n_carried) dhc_program_reset(r->p);
  for (int i = 0; i < r->n_carried; i++) {
    const Carried *c = &r->carried[i];
    for (int64_t k = 0; k < n; k++) memcpy(c->batch + c->row * k, c->begin + c->row * sequences[k], (size_t)c->row);
    DHC_TRY(put(r, c, c->batch, n));
  }
  return dhc_status_ok();
}
