/* What the optimiser keeps, shared out over the ranks (passes/grad/train_shares.c): who has what, and how it comes together on
 * rank 0, whose the checkpoints are, and from there to its places. Checkpoints are those of runs without shares. */
#include <stdlib.h>

#include "api/train/trainer.h"
#include "passes/grad/places.h"

dhc_status trainer_take_share(Trainer *t) {
  if (!t->o->shard_optimizer) return dhc_status_ok();
  if (!t->ranks) return dhc_status_make(DHC_E_USAGE, "--shard-optimizer: there is one rank, which has everything; --gpus N or --distributed make several");
  const DhcPlaces p = dhc_places_make(t->m->module, &t->arena);
  DhcShares s = {.rank = dhc_ranks_number(t->ranks), .n = dhc_ranks_count(t->ranks)};
  int64_t *cut = DHC_NEW_N(&t->arena, int64_t, s.n + 1);
  if (!dhc_places_cut(t->m->module, &p, s.n, cut))
    return trainer_common(t, dhc_status_make(DHC_E_USAGE, "--shard-optimizer: tensors are shared out whole, and %s has fewer that are trained than there are ranks (%d)",
                                             t->m->name, s.n));
  s.cut = cut;
  t->shares = s;
  t->m->share = (DhcShare){s.rank, s.n};
  return dhc_status_ok();
}

/* Room for what travels is there from the start: a run is not to find at its first checkpoint that there is none. */
dhc_status trainer_open_shares(Trainer *t) {
  if (!t->shares.n) return dhc_status_ok();
  const dhc_layout *l = dhc_prog_layout(t->p->run);
  DhcDevice *d = dhc_prog_device(t->p->run);
  const int64_t bytes = dhc_shares_at_once(&t->shares) * dhc_tensor_dtype_bytes(l->dtype);
  bool any = false;
  for (int i = 0; i < l->n_ranges; i++) any = any || trainer_shares(t, i);
  t->whole = DHC_NEW_N(&t->arena, void *, l->n_ranges + 1);
  t->p->sharers = t->ranks;
  if (!any) return dhc_status_ok();
  DHC_TRY(budget_more(t->p, DHC_USE_OPTIMISER, bytes, "what the optimiser keeps"));
  return d->ops->alloc(d, bytes, &t->shares.stage);
}

void trainer_close_shares(Trainer *t) {
  DhcDevice *d = t->shares.stage ? dhc_prog_device(t->p->run) : NULL;
  trainer_drop_whole(t);
  if (d) d->ops->free(d, t->shares.stage);
}

bool trainer_shares(const Trainer *t, int range) {
  const dhc_range *r = &dhc_prog_layout(t->p->run)->ranges[range];
  return t->shares.n && r->n != r->whole;
}

dhc_status trainer_collect(Trainer *t, int range, void **whole) {
  const dhc_range *r = &dhc_prog_layout(t->p->run)->ranges[range];
  const int64_t bytes = r->whole * dhc_tensor_dtype_bytes(r->dtype);
  *whole = trainer_leads(t) ? malloc((size_t)bytes + 8) : NULL;
  if (trainer_leads(t) && !*whole) return dhc_status_memory(bytes, "a moment");
  return dhc_prog_send_shares(t->p->run, range, &t->shares, *whole, true);
}

dhc_status trainer_hand_out(Trainer *t) {
  dhc_status st = dhc_status_ok();
  for (int i = 0; i < dhc_prog_layout(t->p->run)->n_ranges && !st.code; i++)
    if (trainer_shares(t, i)) st = dhc_prog_send_shares(t->p->run, i, &t->shares, t->whole[i], false);
  trainer_drop_whole(t);
  return st;
}

void trainer_drop_whole(Trainer *t) {
  for (int i = 0; t->whole && i < dhc_prog_layout(t->p->run)->n_ranges; i++) {
    free(t->whole[i]);
    t->whole[i] = NULL;
  }
}

dhc_status trainer_follow(Trainer *t, bool *yes) {
  int64_t mine = *yes, all[DHC_RANKS_MOST];
  if (!t->shares.n) return dhc_status_ok();
  DHC_TRY(dhc_ranks_exchange(t->ranks, &mine, sizeof mine, all));
  *yes = all[0];
  return dhc_status_ok();
}

void trainer_optimizer_bytes(const Trainer *t, int64_t bytes[3]) {
  const dhc_layout *l = dhc_prog_layout(t->p->run);
  memset(bytes, 0, sizeof *bytes * 3);
  for (int i = 0; i < l->n_ranges; i++) {
    const dhc_range *r = &l->ranges[i];
    const int64_t size = dhc_tensor_dtype_bytes(r->dtype);
    int64_t most = r->n;
    if (!r->like_weights || r->from_weights) continue; /* no moment */
    for (int k = 0; k < t->shares.n; k++)
      if (t->shares.cut[k + 1] - t->shares.cut[k] > most) most = t->shares.cut[k + 1] - t->shares.cut[k];
    bytes[0] += r->n * size;
    bytes[1] += r->whole * size;
    bytes[2] += most * size;
  }
}
