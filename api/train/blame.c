/* A step that is not finite: which tensor, which element. */
#include <math.h>

#include "api/train/trainer.h"

static int64_t first_bad(const dhc_tensor *t) {
  DhcTensorView v = {.name = t->name,
                     .dtype = (int32_t)t->dtype,
                     .rank = t->rank,
                     .data = t->data,
                     .bytes = dhc_tensor_bytes(t)};
  for (int i = 0; i < t->rank; i++) v.shape[i] = t->dim[i];
  return dhc_tensor_first_nonfinite(&v);
}

/* OK where all of t is finite; `what` says what t is. */
static dhc_status blame_tensor(const Trainer *t, const char *what, const char *name, const dhc_tensor *x) {
  int64_t at = first_bad(x);
  if (at < 0) return dhc_status_ok();
  return dhc_status_make(DHC_E_NUMERIC, "step %lld: %s'%s' is not finite at index %lld; nothing was changed",
                         (long long)t->step + 1, what, name, (long long)at);
}

static dhc_status blame_weights(Trainer *t) {
  const dhc_layout *l = dhc_prog_layout(t->p->run);
  for (int i = 0; i < l->n_slots; i++) {
    dhc_tensor w;
    const char *path = l->slots[i].name;
    if (!l->slots[i].n || dhc_program_get(t->p, path, &w).code != DHC_OK) continue;
    DHC_TRY(blame_tensor(t, "tensor ", path, &w));
  }
  return dhc_status_ok();
}

/* *how: the first of the four places where something was found. */
static dhc_status blame(Trainer *t, double loss, int *how) {
  *how = 0;
  for (int i = 0; i < t->feed.n_in; i++) DHC_TRY(feed_data(&t->feed, i));
  for (int i = 0; i < t->feed.n_in; i++) DHC_TRY(blame_tensor(t, "input ", t->feed.in[i].name, &t->feed.in[i]));
  *how = 1;
  DHC_TRY(blame_weights(t));
  if (*step_blame(t->p))
    return dhc_status_make(DHC_E_NUMERIC, "step %lld: %s; nothing was changed", (long long)t->step + 1, step_blame(t->p));
  int grad, n = 0;
  const dhc_tensor *res;
  *how = 2;
  dhc_status st = dhc_program_add(t->p, "loss", DHC_MODE_GRAD, &grad);
  if (st.code == DHC_OK) st = dhc_program_run(t->p, grad, t->feed.in, t->feed.n_in, &res, &n);
  for (int i = 0; st.code == DHC_OK && i < n; i++) DHC_TRY(blame_tensor(t, "", res[i].name, &res[i]));
  *how = 3;
  const char *what = isfinite(t->pr.grad_norm) ? "the new value of a buffer" : "the gradient norm";
  return dhc_status_make(DHC_E_NUMERIC, "step %lld: %s is not finite (loss %g); nothing was changed", (long long)t->step + 1,
                         what, loss);
}

/* The parts of the batch before the one at hand, too: its cause may be in one of them. */
static dhc_status blame_parts(Trainer *t, double loss, int *how) {
  dhc_status best = blame(t, loss, how), st;
  DhcDataPosition at = dhc_batcher_position(t->batcher);
  at.next -= t->part_entry < 0 ? 0 : dhc_batcher_part(t->batcher).whole;
  for (at.turn = 0; t->part_entry >= 0 && at.turn + 1 < t->set.accumulate; at.turn++) {
    int found;
    DHC_TRY(dhc_batcher_seek(t->batcher, at));
    DHC_TRY(trainer_feed(t));
    st = blame(t, loss, &found);
    if (found >= *how) continue;
    *how = found;
    best = st;
  }
  return best;
}

dhc_status trainer_blame(Trainer *t, double loss) {
  int how;
  dhc_status st = blame_parts(t, loss, &how);
  return trainer_blame_ranks(t, st, how);
}
