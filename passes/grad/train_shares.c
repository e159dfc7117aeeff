/* Moments that lie on one rank each (--shard-optimizer): a rank steps the weights of its share, and all get what the others have
 * made of theirs. The gradients are whole on every rank, so norm, clipping, ages of pieces and the finite flag are as without
 * shares, and so are the bits. */
#include "passes/grad/train_internal.h"

void dhc_step_cut(Step *s) {
  int64_t *cut = DHC_NEW_N(s->arena, int64_t, s->rq->share.n + 1);
  if (s->rq->share.n < 2) return;
  if (!dhc_places_cut(s->m, s->places, s->rq->share.n, cut)) DHC_BUG("shares of nothing");
  s->cut = cut;
}

int dhc_step_owner(const Step *s, int64_t begin) {
  int r = 0;
  if (!s->cut || begin >= s->places->n_moving) return s->rq->share.rank;
  while (begin >= s->cut[r + 1]) r++;
  return r;
}

bool dhc_step_is_mine(const Step *s, const Range *r) { return r->owner == s->rq->share.rank; }

void dhc_step_split(Step *s) {
  int mine = -1;
  for (int i = 0; i < s->ranges.n; i++) {
    const Range *r = &s->ranges.at[i];
    if (!dhc_step_is_mine(s, r) || r->begin >= s->places->n_moving) continue;
    if (mine >= 0) return;
    mine = i;
  }
  if (!s->cut || mine < 0 || !s->moments.n) return;
  Range *r = &s->ranges.at[mine], rest = *r;
  const int64_t each = r->pieces ? r->n / r->pieces : 1, first = r->n / each / 2;
  if (!first) return;
  r->n = first * each;
  rest.begin += r->n;
  rest.n -= r->n;
  if (r->pieces) {
    r->pieces = first;
    rest.pieces -= first;
    rest.age += first;
  }
  DHC_PUSH(s->arena, &s->ranges, rest);
  for (int i = s->ranges.n - 1; i > mine + 1; i--) s->ranges.at[i] = s->ranges.at[i - 1];
  s->ranges.at[mine + 1] = rest;
}

int64_t dhc_step_share(const Step *s) {
  const int r = s->rq->share.rank;
  return s->cut ? s->cut[r + 1] - s->cut[r] : s->places->n_moving;
}

DhcValue *dhc_step_moment(Step *s, DhcValue *moment, const Range *r) {
  Range here = *r;
  if (s->cut) here.begin -= s->cut[s->rq->share.rank];
  return dhc_step_range(s, moment, &here);
}

bool dhc_step_spread(Step *s, DhcValue *(*part)[DHC_MAX_RESULTS], DhcValue **all) {
  const int n = s->rq->share.n;
  DhcValue **piece = DHC_NEW_N(s->arena, DhcValue *, s->ranges.n + 1);
  int64_t *each = DHC_NEW_N(s->arena, int64_t, n);
  int k = 0;
  for (int r = 0; r < n; r++) each[r] = s->cut[r + 1] - s->cut[r];
  for (int i = 0; i < s->ranges.n; i++)
    if (s->ranges.at[i].begin < s->places->n_moving) piece[k++] = part[i][0];
  DhcValue *own = dhc_step_joined(s, piece, k);
  DhcAttr parts = dhc_attr_ints(s->m, each, n);
  *all = own ? dhc_build1(&s->b, DHC_OP_SPREAD_RANKS, &own, 1, &parts, 1) : NULL;
  for (int i = 0; *all && i < k; i++)
    if (!(part[i][0] = dhc_step_range(s, *all, &s->ranges.at[i]))) return false;
  return *all;
}

static bool is_spread(const DhcValue *v, const DhcValue *all) {
  return v == all || (v->def->op == DHC_OP_SLICE && v->def->args[0] == all);
}

DhcValue *dhc_step_weights(Step *s, DhcValue *(*part)[DHC_MAX_RESULTS], DhcValue *all) {
  DhcValue **piece = DHC_NEW_N(s->arena, DhcValue *, s->ranges.n + 1);
  int n = 0;
  for (int i = 0; i < s->ranges.n; n++) {
    Range run = s->ranges.at[i];
    if (!is_spread(part[i][0], all)) {
      piece[n] = part[i++][0];
      continue;
    }
    for (run.n = 0; i < s->ranges.n && is_spread(part[i][0], all); i++) run.n += s->ranges.at[i].n;
    piece[n] = dhc_step_range(s, all, &run);
  }
  return dhc_step_joined(s, piece, n);
}
