/* Lanes for the commands of a list (lanes.h).
 *
 * Uses of the same memory are one range; which ranges meet is found once. How long a command takes is guessed from what it touches. From the
 * end on, a command's height is the time from its beginning to the end of the list on the longest way; then each in turn gets the
 * lane where it can begin first: what the longest way goes through any, what can wait (of a training step weights' gradients, for
 * which only the update waits) one beside lane 0. */
#include "backends/cuda/lanes.h"

#include <stdlib.h>
#include <string.h>

/* Nanoseconds, on an H200 as measured. */
enum {
  BEGIN = 2000,    /* of any command */
  BYTES = 2500,    /* of what it touches, that pass in one: less than memory gives */
  HOP = 2000,      /* until a command of another lane is known to have ended */
  SLACK = 10000,   /* what the longest way must be longer for a command to be one that can wait */
  BEHIND = 60000   /* by how much later it would begin beside lane 0 than there for one that can wait to stay there */
};

typedef struct Range {
  uint64_t begin, end;
  int first_meets, n_meets; /* ranges that it meets, itself among them */
  int64_t height;           /* the largest of those that read it from here on */
  bool was_written;         /* before that */
  int meeting;              /* the last thing that ranks do together without which it would not hold what it does, from 1; 0: none */
  int read[DHC_CUDA_ALL_LANES], written[DHC_CUDA_ALL_LANES]; /* last commands by lane; -1 */
} Range;

typedef struct Lanes {
  const DhcCudaUse *use;
  DhcCudaStep *step;
  int n, n_uses, n_ranges;
  int *range_of; /* by use */
  Range *range;
  int *meets;
  int64_t *takes, *height, *end; /* by command: time, time from its beginning to the end of the list on the longest way, when it ends */
  int n_meetings;
} Lanes;

static int by_place(const void *a, const void *b) {
  const Range *x = a, *y = b;
  if (x->begin != y->begin) return x->begin < y->begin ? -1 : 1;
  return (x->end > y->end) - (x->end < y->end);
}

static int find(const Lanes *l, const DhcCudaUse *u) {
  Range key = {.begin = u->begin, .end = u->end};
  const Range *r = bsearch(&key, l->range, (size_t)l->n_ranges, sizeof *r, by_place);
  return (int)(r - l->range);
}

static void make_ranges(Lanes *l) {
  int n = 0;
  for (int i = 0; i < l->n_uses; i++) l->range[i] = (Range){.begin = l->use[i].begin, .end = l->use[i].end};
  qsort(l->range, (size_t)l->n_uses, sizeof *l->range, by_place);
  for (int i = 0; i < l->n_uses; i++)
    if (!n || by_place(&l->range[i], &l->range[n - 1])) l->range[n++] = l->range[i];
  l->n_ranges = n;
  for (int i = 0; i < n; i++)
    for (int k = 0; k < DHC_CUDA_ALL_LANES; k++) l->range[i].read[k] = l->range[i].written[k] = -1;
  for (int i = 0; i < l->n_uses; i++) l->range_of[i] = find(l, &l->use[i]);
}

static bool meet(const Range *a, const Range *b) { return a->begin < b->end && b->begin < a->end; }

/* Ranges are in order of where they begin. */
static bool find_meets(Lanes *l) {
  size_t n = 0, room = 0;
  for (int i = 0; i < l->n_ranges; i++) {
    l->range[i].first_meets = (int)n;
    for (int k = 0; k < l->n_ranges && l->range[k].begin < l->range[i].end; k++) {
      if (k != i && !meet(&l->range[i], &l->range[k])) continue;
      if (n == room) {
        room = room * 2 + 1024;
        int *more = realloc(l->meets, room * sizeof *more);
        if (!more) return false;
        l->meets = more;
      }
      l->meets[n++] = k;
    }
    l->range[i].n_meets = (int)n - l->range[i].first_meets;
  }
  return true;
}

static void guess_times(Lanes *l) {
  for (int i = 0; i < l->n; i++) {
    uint64_t bytes = 0;
    for (int u = l->step[i].first_use; u < l->step[i].first_use + l->step[i].n_uses; u++) bytes += l->use[u].end - l->use[u].begin;
    l->takes[i] = BEGIN + (int64_t)(bytes / BYTES);
  }
}

/* From the end on: what a command writes is needed by those behind it that read any of it, up to where that memory is
 * used for something else, which is where something was written to it between two reads. Commands that write to a range, of
 * which nobody has read yet, are alike: a reader waits for all of them. */
static void find_heights(Lanes *l) {
  for (int i = l->n; i-- > 0;) {
    const DhcCudaStep *s = &l->step[i];
    int64_t behind = i + 1 < l->n && l->step[i + 1].follows ? l->height[i + 1] : 0;
    for (int u = s->first_use; u < s->first_use + s->n_uses; u++) {
      const Range *r = &l->range[l->range_of[u]];
      for (int m = r->first_meets; l->use[u].writes && m < r->first_meets + r->n_meets; m++) {
        Range *read = &l->range[l->meets[m]];
        if (read->height > behind) behind = read->height;
        read->was_written = true;
      }
    }
    l->height[i] = l->takes[i] + behind;
    for (int u = s->first_use; u < s->first_use + s->n_uses; u++) {
      Range *r = &l->range[l->range_of[u]];
      if (l->use[u].writes) continue;
      if (r->was_written || l->height[i] > r->height) r->height = l->height[i];
      r->was_written = false;
    }
  }
}

/* May the command wait, as a longer way begins behind it? */
static void find_patient(Lanes *l, bool *patient) {
  int64_t most = 0;
  for (int i = l->n; i-- > 0;) {
    patient[i] = most - l->height[i] >= SLACK;
    if (l->height[i] > most) most = l->height[i];
  }
}

/* The last thing that ranks do together before the command can begin; of such a thing itself, its number. */
static int meeting_of(Lanes *l, const DhcCudaStep *s) {
  int last = 0;
  for (int u = s->first_use; u < s->first_use + s->n_uses; u++) {
    const Range *r = &l->range[l->range_of[u]];
    for (int m = r->first_meets; m < r->first_meets + r->n_meets; m++)
      if (l->range[l->meets[m]].meeting > last) last = l->range[l->meets[m]].meeting;
  }
  if (s->ranks) last = ++l->n_meetings;
  for (int u = s->first_use; u < s->first_use + s->n_uses; u++)
    if (l->use[u].writes) l->range[l->range_of[u]].meeting = last;
  return last;
}

/* May the command be in the late lane? */
static void find_late(Lanes *l, bool *late) {
  int64_t *meeting = l->height; /* which nobody asks for any more */
  for (int i = 0; i < l->n; i++) meeting[i] = meeting_of(l, &l->step[i]);
  for (int i = 0; i < l->n; i++) late[i] = meeting[i] > 0 && meeting[i] < l->n_meetings;
}

/* By lane, the last command that this one has to wait for; -1. */
static void find_last(const Lanes *l, const DhcCudaStep *s, int *last) {
  for (int k = 0; k < DHC_CUDA_ALL_LANES; k++) last[k] = -1;
  for (int u = s->first_use; u < s->first_use + s->n_uses; u++) {
    const Range *r = &l->range[l->range_of[u]];
    for (int m = r->first_meets; m < r->first_meets + r->n_meets; m++) {
      const Range *other = &l->range[l->meets[m]];
      for (int k = 0; k < DHC_CUDA_ALL_LANES; k++) {
        if (other->written[k] > last[k]) last[k] = other->written[k];
        if (l->use[u].writes && other->read[k] > last[k]) last[k] = other->read[k];
      }
    }
  }
}

/* When a command could begin in a lane. */
static int64_t begins(const Lanes *l, const int *last, const int64_t *now, int lane) {
  int64_t t = now[lane];
  for (int k = 0; k < DHC_CUDA_ALL_LANES; k++) {
    const int64_t ended = last[k] < 0 ? 0 : l->end[last[k]] + (k != lane ? HOP : 0);
    if (ended > t) t = ended;
  }
  return t;
}

static int choose_lane(const Lanes *l, const int *last, const int64_t *now, bool patient) {
  int best = patient;
  for (int k = best + 1; k < DHC_CUDA_LATE_LANE; k++) {
    const int64_t t = begins(l, last, now, k), least = begins(l, last, now, best);
    if (t < least || (patient && t == least && now[k] > now[best])) best = k;
  }
  return patient && begins(l, last, now, 0) + BEHIND < begins(l, last, now, best) ? 0 : best;
}

static void choose_lanes(Lanes *l, const bool *patient, const bool *late) {
  int known[DHC_CUDA_ALL_LANES][DHC_CUDA_ALL_LANES]; /* by lane: the last command of another that it has waited for */
  int64_t now[DHC_CUDA_ALL_LANES] = {0};             /* when a lane's last command ends */
  memset(known, 0xff, sizeof known);
  for (int i = 0; i < l->n; i++) {
    DhcCudaStep *s = &l->step[i];
    int last[DHC_CUDA_ALL_LANES];
    find_last(l, s, last);
    s->urgent = !patient[i];
    if (s->ranks) s->lane = DHC_CUDA_RANKS_LANE;
    else if (s->follows && i > 0) s->lane = l->step[i - 1].lane;
    else s->lane = late[i] ? DHC_CUDA_LATE_LANE : choose_lane(l, last, now, patient[i]);
    now[s->lane] = l->end[i] = begins(l, last, now, s->lane) + l->takes[i];
    s->signals = false;
    for (int k = 0; k < DHC_CUDA_ALL_LANES; k++) {
      const bool waits = k != s->lane && last[k] > known[s->lane][k];
      s->after[k] = waits ? last[k] : -1;
      if (!waits) continue;
      known[s->lane][k] = last[k];
      l->step[last[k]].signals = true;
    }
    for (int u = s->first_use; u < s->first_use + s->n_uses; u++) {
      Range *r = &l->range[l->range_of[u]];
      *(l->use[u].writes ? &r->written[s->lane] : &r->read[s->lane]) = i;
    }
  }
}

dhc_status dhc_cuda_lanes(const DhcCudaUse *use, DhcCudaStep *step, int n) {
  Lanes l = {.use = use, .step = step, .n = n};
  for (int i = 0; i < n; i++) l.n_uses += step[i].n_uses;
  size_t room = (size_t)l.n_uses + 1;
  l.range_of = calloc(room, sizeof *l.range_of);
  l.range = calloc(room, sizeof *l.range);
  l.takes = calloc((size_t)n + 1, sizeof *l.takes);
  l.height = calloc((size_t)n + 1, sizeof *l.height);
  l.end = calloc((size_t)n + 1, sizeof *l.end);
  bool *patient = calloc((size_t)n + 1, sizeof *patient), *late = calloc((size_t)n + 1, sizeof *late);
  bool ok = l.range_of && l.range && l.takes && l.height && l.end && patient && late;
  if (ok) make_ranges(&l);
  ok = ok && find_meets(&l);
  if (ok) {
    guess_times(&l);
    find_heights(&l);
    find_patient(&l, patient);
    find_late(&l, late);
    choose_lanes(&l, patient, late);
  }
  free(l.range_of);
  free(l.range);
  free(l.meets);
  free(l.takes);
  free(l.height);
  free(l.end);
  free(patient);
  free(late);
  return ok ? dhc_status_ok() : dhc_status_memory((long long)(room * sizeof *l.range), "a list of commands");
}
