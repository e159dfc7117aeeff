/* A run of several ranks: each has all weights and a device of its own, and sees its part of every batch. What the step sums over
 * them (passes/grad/train_step.c) keeps the weights the same; here is what they say to one another beside it. Rank 0 alone has a
 * folder, reports and validates. All stop at the same step. */
#include <math.h>
#include <stdlib.h>

#include "api/train/trainer.h"
#include "runtime/stop.h"

bool trainer_leads(const Trainer *t) { return !t->ranks || dhc_ranks_number(t->ranks) == 0; }

/* What of the options is rank 0's business. */
void trainer_take_rank(Trainer *t, const dhc_train_options *o) {
  t->own = *o;
  t->o = &t->own;
  t->ranks = o->group && dhc_ranks_count(o->group) > 1 ? o->group : NULL;
  if (!t->ranks) return;
  dhc_stop_hold(); /* a signal is heard by all together */
  if (trainer_leads(t)) return;
  t->own.out = t->own.init_from = t->own.allow_changed = NULL;
  t->own.resume = t->own.overwrite = t->own.tensorboard = false;
  t->own.progress = NULL;
  t->own.begin = NULL;
  t->own.profile = NULL;
}

void trainer_leave_ranks(Trainer *t, DhcDevice *met) {
  if (met) met->ops->leave(met, t->ended.code == DHC_OK || t->ended.code == DHC_E_INTERRUPTED);
  if (t->ranks) dhc_stop_release();
  t->m->parts = 0;
  t->m->share = (DhcShare){0};
}

/* Before anything is sent: who they are, under what they meet. */
dhc_status trainer_meet(Trainer *t) {
  if (!t->ranks) return dhc_status_ok();
  DhcDevice *d = dhc_prog_device(t->p->run);
  DhcRanksOf of = {.rank = dhc_ranks_number(t->ranks), .n = dhc_ranks_count(t->ranks)};
  if (!d->ops->meet)
    return dhc_status_make(DHC_E_USAGE, "several ranks: backend %s cannot sum over them; use --backend cuda", dhc_backend_info(t->m->s->backend)->name);
  if (t->o->profile) return dhc_status_make(DHC_E_USAGE, "several ranks: --profile is of one");
  unsigned char *all = DHC_NEW_N(&t->arena, unsigned char, DHC_RANKS_ID_BYTES * of.n);
  if (!of.rank) DHC_TRY(d->ops->meet_id(d, of.id));
  DHC_TRY(dhc_ranks_exchange(t->ranks, of.id, sizeof of.id, all));
  memcpy(of.id, all, sizeof of.id); /* rank 0's */
  DHC_TRY(d->ops->meet(d, &of));
  t->met = true;
  return dhc_status_ok();
}

/* ---- rank 0's state ----------------------------------------------------------------------- */

typedef struct Begin {
  int64_t step;
  DhcDataPosition at;
  double fields[TRAIN_N_FIELDS];
  bool new_optimizer, shares; /* shares: of a checkpoint's moments */
} Begin;

/* All begin where rank 0 does, which may have read a checkpoint. */
dhc_status trainer_share(Trainer *t) {
  if (!t->ranks) return dhc_status_ok();
  int n = dhc_ranks_count(t->ranks);
  Begin mine, *all = DHC_NEW_N(&t->arena, Begin, n);
  memset(&mine, 0, sizeof mine);
  mine.step = t->step;
  mine.at = dhc_batcher_position(t->batcher);
  mine.new_optimizer = t->new_optimizer;
  mine.shares = t->shares.n && t->saved.any && !t->new_optimizer;
  trainer_fields(t, mine.fields, false);
  DHC_TRY(dhc_ranks_exchange(t->ranks, &mine, sizeof mine, all));
  if (!trainer_leads(t)) {
    t->step = all[0].step;
    t->new_optimizer = all[0].new_optimizer;
    trainer_fields(t, all[0].fields, true);
    DHC_TRY(dhc_batcher_seek(t->batcher, all[0].at));
  }
  DHC_TRY(dhc_prog_spread(t->p->run));
  return all[0].shares ? trainer_hand_out(t) : dhc_status_ok();
}

/* ---- after every step ------------------------------------------------------------------------ */

typedef struct Report {
  int64_t step, n; /* examples of its parts that count */
  double metric;    /* of each, added up */
  uint64_t hash; /* of the weights, where it is asked for */
  int64_t stop;
} Report;

enum { WORDS = 1 << 17 };

/* Of all weights and buffers, bit by bit. */
static dhc_status hash_state(Trainer *t, uint64_t *out) {
  uint64_t *piece = malloc(sizeof *piece * WORDS), h = 0x9e3779b97f4a7c15u;
  if (!piece) return dhc_status_memory((long long)sizeof *piece * WORDS, "a hash of the weights");
  dhc_status st = dhc_status_ok();
  for (int segment = 0; segment < 2 && !st.code; segment++) {
    DhcDevice *d = dhc_prog_device(t->p->run);
    int64_t bytes;
    DhcDevicePtr at = dhc_prog_kept_at(t->p->run, segment, &bytes);
    for (int64_t n; bytes > 0 && !st.code; bytes -= n, at += (uint64_t)n) {
      n = bytes < (int64_t)sizeof *piece * WORDS ? bytes : (int64_t)sizeof *piece * WORDS;
      piece[(n - 1) / 8] = 0;
      st = d->ops->download(d, piece, at, n);
      for (int64_t i = 0; i < (n + 7) / 8; i++) h = (h ^ piece[i]) * 0x100000001b3u, h ^= h >> 29;
    }
  }
  free(piece);
  *out = h;
  return st;
}

static dhc_status compare(const Report *all, int n) {
  for (int r = 1; r < n; r++) {
    if (all[r].hash != all[0].hash)
      return dhc_status_make(DHC_E_ENVIRONMENT, "ranks 0 and %d have other weights after step %lld, which cannot be", r, (long long)all[0].step);
  }
  return dhc_status_ok();
}

dhc_status trainer_agree(Trainer *t, double *metric, bool *stop) {
  int n = dhc_ranks_count(t->ranks);
  int64_t every = t->o->check_every ? t->o->check_every : TRAIN_CHECK_EVERY, seen = 0;
  Report *all = t->reports;
  if (!all) all = t->reports = DHC_NEW_N(&t->arena, Report, n);
  Report mine;
  memset(&mine, 0, sizeof mine);
  mine.step = t->step;
  mine.n = t->step_n;
  mine.metric = isnan(*metric) ? 0 : t->step_metric;
  mine.stop = dhc_stop_pending() || t->asked_to_stop;
  if (t->step % every == 0) DHC_TRY(hash_state(t, &mine.hash));
  DHC_TRY(dhc_ranks_exchange(t->ranks, &mine, sizeof mine, all));
  dhc_status st = compare(all, n);
  if (st.code) return trainer_common(t, st);
  double sum = 0;
  *stop = false;
  for (int r = 0; r < n; r++) {
    sum += all[r].metric;
    seen += all[r].n;
    *stop = *stop || all[r].stop;
  }
  if (!isnan(*metric)) *metric = sum / (double)seen;
  return dhc_status_ok();
}

/* ---- what goes wrong --------------------------------------------------------------------------- */

dhc_status trainer_common(Trainer *t, dhc_status st) {
  t->common = true;
  return st;
}

/* A step that is not finite is so on all ranks; whose it comes from says so. */
dhc_status trainer_blame_ranks(Trainer *t, dhc_status own, int how) {
  typedef struct Found {
    int how;
    char message[sizeof own.message];
  } Found;
  if (!t->ranks) return own;
  int n = dhc_ranks_count(t->ranks), best = 0;
  Found mine, *all = DHC_NEW_N(&t->arena, Found, n);
  memset(&mine, 0, sizeof mine);
  mine.how = how;
  snprintf(mine.message, sizeof mine.message, "%s", own.message);
  DHC_TRY(dhc_ranks_exchange(t->ranks, &mine, sizeof mine, all));
  for (int r = 1; r < n; r++)
    if (all[r].how < all[best].how) best = r;
  return trainer_common(t, dhc_status_make(DHC_E_NUMERIC, "rank %d: %s", best, all[best].message));
}

dhc_status trainer_of_rank(const Trainer *t, dhc_status st) {
  bool named = !strncmp(st.message, "rank", 4);
  if (!t->ranks || named || (st.code != DHC_E_ENVIRONMENT && st.code != DHC_E_NUMERIC)) return st;
  return dhc_status_make(st.code, "rank %d: %s", dhc_ranks_number(t->ranks), st.message);
}
