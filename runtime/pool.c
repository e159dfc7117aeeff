#include "runtime/pool.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

/* One region at a time. The caller publishes the job's fields, then opens it by
 * storing a new odd `phase`; workers announce themselves in `active` before they
 * look at the phase again, and the caller closes the phase before it waits for
 * `active` to reach zero. In the total order of these operations either the
 * worker sees the closed phase or the caller sees the worker, so a worker that
 * was late, or never scheduled at all, costs nothing and touches nothing. */
enum { MAX_THREADS = 1024, CHUNKS_PER_WORKER = 8, SPINS_PER_LOOK = 32 };
static const int64_t spin_ns = 50000;

typedef struct Worker {
  DhcPool *pool;
  int number; /* 1 … n_threads - 1; the caller is 0 */
  pthread_t thread;
} Worker;

struct DhcPool {
  dhc_exec exec;
  int n_threads;
  bool spin; /* false when there are more threads than CPUs */
  Worker *workers;
  int n_started;
  pthread_mutex_t turn; /* held by the outside thread whose region runs */
  _Atomic(uintptr_t) caller; /* that thread's pthread_t, 0 if none */
  atomic_uint_least64_t phase; /* odd: a job is open */
  atomic_int active;           /* workers inside the job */
  atomic_int sleepers;
  atomic_bool stop;
  pthread_mutex_t lock;
  pthread_cond_t wake;
  /* The job; written only while the phase is even and active is 0. */
  atomic_int_least64_t next;
  int64_t n, chunk;
  void (*f)(void *, int64_t, int64_t, int);
  void *arg;
};

static int64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void relax(void) {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#endif
}

static void run_chunks(DhcPool *p, int worker) {
  for (;;) {
    int64_t t0 = atomic_fetch_add(&p->next, p->chunk);
    if (t0 >= p->n) {
      return;
    }
    int64_t t1 = p->n - t0 < p->chunk ? p->n : t0 + p->chunk;
    p->f(p->arg, t0, t1, worker);
  }
}

/* Returns the phase once it differs from `seen`, or earlier when stopping. */
static uint64_t wait_for_phase(DhcPool *p, uint64_t seen) {
  if (p->spin) {
    int64_t end = now_ns() + spin_ns;
    do {
      for (int i = 0; i < SPINS_PER_LOOK; i++) {
        uint64_t phase = atomic_load(&p->phase);
        if (phase != seen || atomic_load(&p->stop)) {
          return phase;
        }
        relax();
      }
    } while (now_ns() < end);
  }
  pthread_mutex_lock(&p->lock);
  atomic_fetch_add(&p->sleepers, 1);
  while (atomic_load(&p->phase) == seen && !atomic_load(&p->stop)) {
    pthread_cond_wait(&p->wake, &p->lock);
  }
  atomic_fetch_sub(&p->sleepers, 1);
  pthread_mutex_unlock(&p->lock);
  return atomic_load(&p->phase);
}

static void *worker_main(void *arg) {
  Worker *w = arg;
  DhcPool *p = w->pool;
  uint64_t seen = 0;
  while (!atomic_load(&p->stop)) {
    uint64_t phase = wait_for_phase(p, seen);
    /* Only the job that is open now counts; a closed one just seen is over. */
    if (phase % 2 == 1) {
      atomic_fetch_add(&p->active, 1);
      if (atomic_load(&p->phase) == phase) {
        run_chunks(p, w->number);
      }
      atomic_fetch_sub(&p->active, 1);
    }
    seen = phase;
  }
  return NULL;
}

/* The calling thread's number if it is inside a region of this pool, else -1. */
static int inside(const DhcPool *p) {
  pthread_t self = pthread_self();
  if (atomic_load(&p->caller) == (uintptr_t)self) {
    return 0;
  }
  for (int i = 0; i < p->n_started; i++) {
    if (pthread_equal(p->workers[i].thread, self)) {
      return p->workers[i].number;
    }
  }
  return -1;
}

static void pool_parallel_for(void *ctx, int64_t n, void (*f)(void *, int64_t, int64_t, int),
                              void *arg) {
  DhcPool *p = ctx;
  if (n <= 0) {
    return;
  }
  int nested = inside(p);
  if (nested >= 0 || p->n_started == 0) {
    f(arg, 0, n, nested >= 0 ? nested : 0);
    return;
  }
  pthread_mutex_lock(&p->turn);
  atomic_store(&p->caller, (uintptr_t)pthread_self());
  if (n == 1) {
    f(arg, 0, 1, 0);
  } else {
    int64_t pieces = (int64_t)p->n_threads * CHUNKS_PER_WORKER;
    p->chunk = n > pieces ? n / pieces : 1;
    p->n = n;
    p->f = f;
    p->arg = arg;
    atomic_store(&p->next, 0);
    atomic_fetch_add(&p->phase, 1);
    if (atomic_load(&p->sleepers) > 0) {
      pthread_mutex_lock(&p->lock);
      pthread_cond_broadcast(&p->wake);
      pthread_mutex_unlock(&p->lock);
    }
    run_chunks(p, 0);
    atomic_fetch_add(&p->phase, 1);
    for (int spins = 0; atomic_load(&p->active) > 0; spins++) {
      if (p->spin && spins < 4096) {
        relax();
      } else {
        sched_yield();
      }
    }
  }
  atomic_store(&p->caller, 0);
  pthread_mutex_unlock(&p->turn);
}

int dhc_pool_cpus(void) {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) > 0) {
    return CPU_COUNT(&set);
  }
  long n = sysconf(_SC_NPROCESSORS_ONLN);
  return n > 0 && n <= MAX_THREADS ? (int)n : 1;
}

dhc_status dhc_pool_new(int n_threads, DhcPool **out) {
  int n_cpus = dhc_pool_cpus();
  int n = n_threads == 0 ? n_cpus : n_threads;
  if (n < 1 || n > MAX_THREADS) {
    return dhc_status_make(DHC_E_USAGE, "threads: needs 1 to %d, got %d", MAX_THREADS, n_threads);
  }
  DhcPool *p = calloc(1, sizeof *p);
  Worker *workers = calloc((size_t)n, sizeof *workers);
  if (p == NULL || workers == NULL) {
    free(p);
    free(workers);
    return dhc_status_memory((long long)sizeof *p, "the thread pool");
  }
  p->exec = (dhc_exec){.ctx = p, .workers = n, .parallel_for = pool_parallel_for};
  p->n_threads = n;
  p->spin = n <= n_cpus;
  p->workers = workers;
  pthread_mutex_init(&p->turn, NULL);
  pthread_mutex_init(&p->lock, NULL);
  pthread_cond_init(&p->wake, NULL);
  for (int i = 0; i < n - 1; i++) {
    workers[i].pool = p;
    workers[i].number = i + 1;
    int err = pthread_create(&workers[i].thread, NULL, worker_main, &workers[i]);
    if (err != 0) {
      dhc_pool_free(p);
      return dhc_status_errno(err, "cannot start thread %d of %d", i + 1, n);
    }
    p->n_started++;
  }
  *out = p;
  return dhc_status_ok();
}

void dhc_pool_free(DhcPool *p) {
  if (p == NULL) {
    return;
  }
  pthread_mutex_lock(&p->lock);
  atomic_store(&p->stop, true);
  pthread_cond_broadcast(&p->wake);
  pthread_mutex_unlock(&p->lock);
  for (int i = 0; i < p->n_started; i++) {
    pthread_join(p->workers[i].thread, NULL);
  }
  pthread_cond_destroy(&p->wake);
  pthread_mutex_destroy(&p->lock);
  pthread_mutex_destroy(&p->turn);
  free(p->workers);
  free(p);
}

int dhc_pool_threads(const DhcPool *pool) {
  return pool->n_threads;
}

const dhc_exec *dhc_pool_exec(const DhcPool *pool) {
  return &pool->exec;
}
