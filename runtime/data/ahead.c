/* Batches read before they are asked for, by threads: a ring of them, in the order in which training goes on from the one at
 * its head. Each is cut into a few tasks of neighbouring examples, which threads take from the head on; whoever waits
 * for the head takes them as well. So what a batch holds, and which error it has, never hangs on who reads what. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/data/data_internal.h"

enum { AHEAD = 4, TASKS = 16 }; /* batches in the ring; tasks of a batch at most */

typedef struct Slot {
  DhcDataPosition at;
  int64_t n;      /* examples */
  int64_t *index; /* of them */
  uint8_t **to;   /* by field: room for a batch */
  int64_t task;   /* examples of one */
  int64_t taken, done; /* examples; all n are taken in order */
  int64_t bad;         /* the first example that could not be read; n: none */
  dhc_status st;       /* what is wrong with it */
} Slot;

struct DhcAhead {
  const DhcDataset *d;
  DhcBatchOptions options;
  Slot slots[AHEAD];
  int head, used;       /* slots that hold or wait for a batch, in order */
  DhcDataPosition next; /* of the batch behind the last used one */
  DhcDataPosition ordered; /* the seed and epoch that `order` is of; epoch -1: of none */
  int64_t *order;
  bool ended; /* nothing is left to plan */
  int reading; /* tasks under way */
  bool pause, stop;
  pthread_mutex_t lock;
  pthread_cond_t work, news; /* for threads; for who waits for the head */
  pthread_t *threads;
  int n_threads;
};

/* ---- what comes next, under the lock ------------------------------------------------------ */

static void put_in_order(DhcAhead *a) {
  if (a->ordered.epoch == a->next.epoch && a->ordered.seed == a->next.seed) {
    return;
  }
  if (a->options.shuffle) {
    dhc_data_permute(a->next.seed, a->next.epoch, a->d->n_examples, a->order);
  } else {
    for (int64_t i = 0; i < a->d->n_examples; i++) {
      a->order[i] = i;
    }
  }
  a->ordered = a->next;
}

static void plan(DhcAhead *a) {
  int64_t all = a->d->n_examples, batch = a->options.batch;
  int64_t n = all - a->next.next < batch ? all - a->next.next : batch;
  if (n == 0 || (a->options.drop_last && n < batch)) {
    if (a->options.once || all == 0) {
      a->ended = true;
      return;
    }
    a->next.epoch++;
    a->next.next = 0;
    a->next.turn = 0;
    n = all < batch ? all : batch;
  }
  put_in_order(a);
  Slot *s = &a->slots[(a->head + a->used++) % AHEAD];
  DhcBatchPart part = dhc_batch_part(&a->options, a->next.turn, n);
  s->at = a->next;
  s->n = s->bad = part.n;
  s->taken = s->done = 0;
  s->task = (part.n + TASKS - 1) / TASKS;
  s->st = dhc_status_ok();
  memcpy(s->index, a->order + a->next.next + part.first, (size_t)part.n * sizeof *s->index);
  dhc_batch_move(&a->options, &a->next, n);
}

/* The first batch with examples that nobody has taken; planned, if need be. NULL: none. */
static Slot *undone(DhcAhead *a) {
  for (;;) {
    for (int i = 0; i < a->used; i++) {
      Slot *s = &a->slots[(a->head + i) % AHEAD];
      if (s->taken < s->n) {
        return s;
      }
    }
    if (a->used == AHEAD || a->ended || a->pause) {
      return NULL;
    }
    plan(a);
  }
}

/* One task of the slot. The lock is held, but not while it reads. */
static void read_task(DhcAhead *a, Slot *s) {
  int64_t begin = s->taken, end = s->n - begin < s->task ? s->n : begin + s->task, bad = s->n;
  dhc_status st = dhc_status_ok();
  s->taken = end;
  a->reading++;
  pthread_mutex_unlock(&a->lock);
  for (int64_t i = begin; i < end && st.code == DHC_OK; i++) {
    void *to[DATA_MAX_FIELDS];
    for (int32_t f = 0; f < a->d->n_fields; f++) {
      to[f] = s->to[f] + i * a->d->fields[f].example_bytes;
    }
    st = dhc_dataset_read(a->d, s->index[i], to);
    bad = st.code == DHC_OK ? bad : i;
  }
  pthread_mutex_lock(&a->lock);
  a->reading--;
  s->done += end - begin;
  if (bad < s->bad) {
    s->bad = bad;
    s->st = st;
  }
  if (s->done == s->n || a->pause) {
    pthread_cond_signal(&a->news);
  }
}

static void *thread_main(void *arg) {
  DhcAhead *a = arg;
  pthread_mutex_lock(&a->lock);
  while (!a->stop) {
    Slot *s = a->pause ? NULL : undone(a);
    if (s != NULL) {
      read_task(a, s);
    } else {
      pthread_cond_wait(&a->work, &a->lock);
    }
  }
  pthread_mutex_unlock(&a->lock);
  return NULL;
}

/* ---- taking ------------------------------------------------------------------------------- */

static bool same(DhcDataPosition a, DhcDataPosition b) {
  return a.seed == b.seed && a.epoch == b.epoch && a.next == b.next && a.turn == b.turn;
}

/* Everything in the ring is given up for what comes from `at` on. */
static void jump(DhcAhead *a, DhcDataPosition at) {
  a->pause = true;
  while (a->reading > 0) {
    pthread_cond_wait(&a->news, &a->lock);
  }
  a->pause = a->ended = false;
  a->used = 0;
  a->next = at;
}

dhc_status dhc_ahead_take(DhcAhead *a, DhcDataPosition at, void *const *dst, int64_t n) {
  pthread_mutex_lock(&a->lock);
  if (a->used == 0 ? !same(a->next, at) : !same(a->slots[a->head].at, at)) {
    jump(a, at);
  }
  if (a->used == 0) {
    plan(a);
  }
  Slot *s = &a->slots[a->head];
  pthread_cond_broadcast(&a->work);
  while (s->done < s->n) {
    if (s->taken < s->n) {
      read_task(a, s);
    } else {
      pthread_cond_wait(&a->news, &a->lock);
    }
  }
  pthread_mutex_unlock(&a->lock);
  if (s->st.code != DHC_OK) {
    return s->st; /* the slot stays: so does the error, until somebody jumps */
  }
  for (int32_t f = 0; f < a->d->n_fields; f++) {
    if (dst[f] != NULL) {
      memcpy(dst[f], s->to[f], (size_t)(n * a->d->fields[f].example_bytes));
    }
  }
  pthread_mutex_lock(&a->lock);
  a->head = (a->head + 1) % AHEAD;
  a->used--;
  pthread_cond_broadcast(&a->work);
  pthread_mutex_unlock(&a->lock);
  return dhc_status_ok();
}

/* ---- making and freeing ------------------------------------------------------------------- */

static int64_t batch_of(const DhcDataset *d, int64_t batch) {
  return batch < d->n_examples ? batch : d->n_examples;
}

int64_t dhc_batcher_bytes(const DhcDataset *d, int64_t batch) {
  int64_t example = (int64_t)sizeof(int64_t), bytes;
  for (int32_t f = 0; f < d->n_fields; f++) {
    if (!dhc_size_add(example, d->fields[f].example_bytes, &example)) {
      return INT64_MAX;
    }
  }
  bool ok = dhc_size_mul(batch_of(d, batch) * AHEAD, example, &bytes) && dhc_size_add(bytes, 2 * (int64_t)sizeof(int64_t) * d->n_examples, &bytes);
  return !d->from_files ? 0 : ok ? bytes : INT64_MAX;
}

/* Examples of a part of a batch at most. */
static int64_t part_of(const DhcDataset *d, const DhcBatchOptions *o) {
  int64_t n = batch_of(d, o->batch);
  return o->parts > 1 ? (n + o->parts - 1) / o->parts : n;
}

static bool make_slots(DhcAhead *a, int64_t batch) {
  a->order = malloc((size_t)a->d->n_examples * sizeof *a->order + 1);
  bool ok = a->order != NULL;
  for (int i = 0; i < AHEAD; i++) {
    Slot *s = &a->slots[i];
    s->index = malloc((size_t)batch * sizeof *s->index + 1);
    s->to = calloc((size_t)a->d->n_fields + 1, sizeof *s->to);
    ok = ok && s->index != NULL && s->to != NULL;
    for (int32_t f = 0; f < a->d->n_fields && ok; f++) {
      s->to[f] = malloc((size_t)(batch * a->d->fields[f].example_bytes) + 1);
      ok = s->to[f] != NULL;
    }
  }
  return ok;
}

static dhc_status start(DhcAhead *a) {
  a->threads = calloc((size_t)a->options.workers + 1, sizeof *a->threads);
  if (a->threads == NULL) {
    return dhc_status_memory(a->options.workers, "threads that read data");
  }
  for (; a->n_threads < a->options.workers; a->n_threads++) {
    int err = pthread_create(&a->threads[a->n_threads], NULL, thread_main, a);
    if (err != 0) {
      return dhc_status_errno(err, "cannot start a thread that reads data");
    }
  }
  return dhc_status_ok();
}

dhc_status dhc_ahead_new(const DhcDataset *d, const DhcBatchOptions *options, DhcAhead **out) {
  DhcAhead *a = calloc(1, sizeof *a);
  int64_t bytes = dhc_batcher_bytes(d, options->batch);
  if (a == NULL || bytes == INT64_MAX) {
    free(a);
    return dhc_status_memory(bytes, "batches read ahead");
  }
  a->d = d;
  a->options = *options;
  a->next.seed = options->seed;
  a->ordered.epoch = -1;
  pthread_mutex_init(&a->lock, NULL);
  pthread_cond_init(&a->work, NULL);
  pthread_cond_init(&a->news, NULL);
  dhc_status st = make_slots(a, part_of(d, options)) ? start(a) : dhc_status_memory(bytes, "batches read ahead");
  if (st.code != DHC_OK) {
    dhc_ahead_free(a);
    return st;
  }
  *out = a;
  return st;
}

void dhc_ahead_free(DhcAhead *a) {
  if (a == NULL) {
    return;
  }
  pthread_mutex_lock(&a->lock);
  a->stop = true;
  pthread_cond_broadcast(&a->work);
  pthread_mutex_unlock(&a->lock);
  for (int i = 0; i < a->n_threads; i++) {
    pthread_join(a->threads[i], NULL);
  }
  for (int i = 0; i < AHEAD; i++) {
    for (int32_t f = 0; a->slots[i].to != NULL && f < a->d->n_fields; f++) {
      free(a->slots[i].to[f]);
    }
    free(a->slots[i].to);
    free(a->slots[i].index);
  }
  free(a->order);
  free(a->threads);
  pthread_mutex_destroy(&a->lock);
  pthread_cond_destroy(&a->work);
  pthread_cond_destroy(&a->news);
  free(a);
}
