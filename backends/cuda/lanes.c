/* Lanes for the commands of a list (lanes.h).
 *
 * Uses of the same memory are one range; which ranges meet is found once. The way that takes longest, in commands from one
 * that writes to one that reads, stays in lane 0; what has to be there only long after it could begin (of a training step
 * weights' gradients, for which only the update waits) goes to the others. */
#include "backends/cuda/lanes.h"

#include <stdlib.h>
#include <string.h>

enum {
  SLACK = 6,   /* commands that the longest way must be longer for one to leave it */
  SOON = 24,   /* commands after which one that is needed was needed late */
  BEHIND = 24  /* commands that lane 1 may be behind */
};

typedef struct Range {
  uint64_t begin, end;
  int first_meets, n_meets; /* ranges that it meets, itself among them */
  int reader, height;       /* the first command from here on that reads it, n: none; the largest height of those that do */
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
  int *height; /* by command: commands from here to the end on the longest way */
  int *needed; /* by command: the first that reads what it writes; n: none */
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
  for (int i = 0; i < l->n_uses; i++) l->range[i] = (Range){.begin = l->use[i].begin, .end = l->use[i].end, .reader = l->n};
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

/* From the end on: what a command writes is needed by those behind it that read any of it, up to where that memory is
 * used for something else, which is where something was written to it between two reads. Commands that write to a range, of
 * which nobody has read yet, are alike: a reader waits for all of them. */
static void find_heights(Lanes *l) {
  for (int i = l->n; i-- > 0;) {
    const DhcCudaStep *s = &l->step[i];
    const bool goes_on = i + 1 < l->n && l->step[i + 1].follows;
    l->height[i] = goes_on ? l->height[i + 1] : 1;
    for (int u = s->first_use; u < s->first_use + s->n_uses; u++) {
      const Range *r = &l->range[l->range_of[u]];
      for (int m = r->first_meets; l->use[u].writes && m < r->first_meets + r->n_meets; m++) {
        Range *read = &l->range[l->meets[m]];
        if (read->reader < l->needed[i]) l->needed[i] = read->reader;
        if (read->height >= l->height[i]) l->height[i] = read->height + 1;
        read->was_written = true;
      }
    }
    for (int u = s->first_use; u < s->first_use + s->n_uses; u++) {
      Range *r = &l->range[l->range_of[u]];
      if (l->use[u].writes) continue;
      if (r->was_written || l->height[i] > r->height) r->height = l->height[i];
      r->was_written = false;
      r->reader = i;
    }
  }
}

/* May the command leave lane 0: much more is to come behind, and nobody there needs it soon? */
static void find_leavers(Lanes *l, bool *leaves) {
  for (int i = l->n, most = 0; i-- > 0;) {
    bool near = l->needed[i] < i + SOON && !leaves[l->needed[i]];
    leaves[i] = most - l->height[i] >= SLACK && !near;
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
  int *meeting = l->height; /* which nobody asks for any more */
  for (int i = 0; i < l->n; i++) meeting[i] = meeting_of(l, &l->step[i]);
  for (int i = 0; i < l->n; i++) late[i] = meeting[i] > 0 && meeting[i] < l->n_meetings;
}

/* Time is counted in commands. Lane 1 is never far behind: what would wait there long goes on in lane 0. */
static void choose_lanes(Lanes *l, const bool *leaves, const bool *late) {
  int now = 0, side = 0;
  for (int i = 0; i < l->n; i++) {
    DhcCudaStep *s = &l->step[i];
    if (s->ranks) {
      s->lane = DHC_CUDA_RANKS_LANE;
      continue;
    }
    if (s->follows && i > 0) {
      s->lane = l->step[i - 1].lane;
      continue;
    }
    if (late[i]) {
      s->lane = DHC_CUDA_LATE_LANE;
      continue;
    }
    if (side < now) side = now;
    s->lane = leaves[i] && side < now + BEHIND;
    *(s->lane ? &side : &now) += 1;
  }
}

static void wait_for(DhcCudaStep *s, int lane, int command) {
  if (lane != s->lane && command > s->after[lane]) s->after[lane] = command;
}

static void find_waits(Lanes *l) {
  int known[DHC_CUDA_ALL_LANES][DHC_CUDA_ALL_LANES]; /* by lane: the last command of another that it has waited for */
  memset(known, 0xff, sizeof known);
  for (int i = 0; i < l->n; i++) {
    DhcCudaStep *s = &l->step[i];
    for (int k = 0; k < DHC_CUDA_ALL_LANES; k++) s->after[k] = -1;
    s->signals = false;
    for (int u = s->first_use; u < s->first_use + s->n_uses; u++) {
      const Range *r = &l->range[l->range_of[u]];
      for (int m = r->first_meets; m < r->first_meets + r->n_meets; m++) {
        const Range *other = &l->range[l->meets[m]];
        for (int k = 0; k < DHC_CUDA_ALL_LANES; k++) {
          wait_for(s, k, other->written[k]);
          if (l->use[u].writes) wait_for(s, k, other->read[k]);
        }
      }
    }
    for (int u = s->first_use; u < s->first_use + s->n_uses; u++) {
      Range *r = &l->range[l->range_of[u]];
      *(l->use[u].writes ? &r->written[s->lane] : &r->read[s->lane]) = i;
    }
    for (int k = 0; k < DHC_CUDA_ALL_LANES; k++) {
      if (s->after[k] <= known[s->lane][k]) s->after[k] = -1;
      else known[s->lane][k] = s->after[k];
      if (s->after[k] >= 0) l->step[s->after[k]].signals = true;
    }
  }
}

dhc_status dhc_cuda_lanes(const DhcCudaUse *use, DhcCudaStep *step, int n) {
  Lanes l = {.use = use, .step = step, .n = n};
  for (int i = 0; i < n; i++) l.n_uses += step[i].n_uses;
  size_t room = (size_t)l.n_uses + 1;
  l.range_of = calloc(room, sizeof *l.range_of);
  l.range = calloc(room, sizeof *l.range);
  l.height = calloc((size_t)n + 1, sizeof *l.height);
  l.needed = calloc((size_t)n + 1, sizeof *l.needed);
  bool *leaves = calloc((size_t)n + 1, sizeof *leaves), *late = calloc((size_t)n + 1, sizeof *late);
  bool ok = l.range_of && l.range && l.height && l.needed && leaves && late;
  for (int i = 0; ok && i < n; i++) l.needed[i] = n;
  if (ok) make_ranges(&l);
  ok = ok && find_meets(&l);
  if (ok) {
    find_heights(&l);
    find_leavers(&l, leaves);
    find_late(&l, late);
    choose_lanes(&l, leaves, late);
    find_waits(&l);
  }
  free(l.range_of);
  free(l.range);
  free(l.meets);
  free(l.height);
  free(l.needed);
  free(leaves);
  free(late);
  return ok ? dhc_status_ok() : dhc_status_memory((long long)(room * sizeof *l.range), "a list of commands");
}
