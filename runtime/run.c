/* Running a bound plan: the tight loop. Nothing here allocates or can fail. */
#include <string.h>
#include <time.h>

#include "runtime/bound.h"

enum { MOVE_CHUNK = 1 << 16 }; /* bytes a task of a copy or fill moves */

/* One run of a plan. */
typedef struct Run {
  const DhcBound *bound;
  void *const *base;
  char *scratch;
  const dhc_exec *exec; /* NULL: serial */
  const DhcItemHook *hook;
  int64_t index[DHC_MAX_LOOP_DEPTH];
  int depth;
} Run;

/* What the workers of one item share. */
typedef struct Job {
  const BoundItem *item;
  const DhcBound *bound;
  char *scratch;
  void *const *ptr;
  int64_t task0; /* number of the phase's first task */
} Job;

static int64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void call_tasks(void *arg, int64_t t0, int64_t t1, int worker) {
  const Job *job = arg;
  char *scratch = job->bound->worker_scratch > 0
                      ? job->scratch + worker * job->bound->worker_scratch
                      : NULL;
  job->item->fn(job->ptr, job->item->dims, (intptr_t)(job->task0 + t0),
                (intptr_t)(job->task0 + t1), scratch);
}

static void fill(char *to, uint32_t pattern, int64_t bytes) {
  if (pattern == 0) {
    memset(to, 0, (size_t)bytes);
    return;
  }
  for (int64_t i = 0; i < bytes; i += 4) {
    memcpy(to + i, &pattern, 4);
  }
}

static void move_tasks(void *arg, int64_t t0, int64_t t1, int worker) {
  const Job *job = arg;
  (void)worker;
  int64_t begin = t0 * MOVE_CHUNK;
  int64_t end = t1 * MOVE_CHUNK < job->item->bytes ? t1 * MOVE_CHUNK : job->item->bytes;
  if (job->item->kind == DHC_ITEM_FILL) {
    fill((char *)job->ptr[0] + begin, job->item->pattern, end - begin);
  } else if (job->ptr[0] != job->ptr[1]) { /* a copy the packer made needless */
    memcpy((char *)job->ptr[1] + begin, (const char *)job->ptr[0] + begin, (size_t)(end - begin));
  }
}

/* All of n tasks, in as many threads as there are. */
static void run_tasks(const Run *run, int64_t n, void (*tasks)(void *, int64_t, int64_t, int),
                      Job *job) {
  if (n == 1 || (n > 0 && run->exec == NULL)) {
    tasks(job, 0, n, 0);
  } else if (n > 0) {
    run->exec->parallel_for(run->exec->ctx, n, tasks, job);
  }
}

static void run_item(const Run *run, const BoundItem *item) {
  void *ptr[DHC_MAX_ITEM_REFS + 1];
  for (int32_t r = 0; r < item->n_refs; r++) {
    const BoundRef *ref = &item->refs[r];
    int64_t offset = ref->offset;
    if (ref->steps) {
      for (int d = 0; d < run->depth; d++) {
        offset += ref->step[d] * run->index[d];
      }
    }
    char *base = run->base[ref->arena];
    ptr[r] = base != NULL ? base + offset : NULL;
  }
  const DhcBound *b = run->bound;
  ptr[item->n_refs] = b->shared > 0 ? run->scratch + b->worker_scratch * b->workers : NULL;
  Job job = {.item = item, .bound = b, .scratch = run->scratch, .ptr = ptr};
  if (item->kind == DHC_ITEM_CALL) {
    run_tasks(run, item->first_tasks, call_tasks, &job);
    job.task0 = item->first_tasks;
    run_tasks(run, item->n_tasks - item->first_tasks, call_tasks, &job);
  } else {
    int64_t chunks = item->bytes / MOVE_CHUNK + (item->bytes % MOVE_CHUNK != 0);
    run_tasks(run, chunks, move_tasks, &job);
  }
}

/* Items [begin, end); recursion is bounded by DHC_MAX_LOOP_DEPTH. */
static void run_range(Run *run, int32_t begin, int32_t end) {
  const BoundItem *items = run->bound->items;
  for (int32_t i = begin; i < end; i++) {
    const BoundItem *item = &items[i];
    if (item->kind == DHC_ITEM_LOOP) {
      int d = run->depth++;
      for (run->index[d] = 0; run->index[d] < item->count; run->index[d]++) {
        run_range(run, i + 1, i + 1 + item->n_body);
      }
      run->depth--;
      i += item->n_body;
    } else if (run->hook != NULL) {
      int64_t begin_ns = now_ns();
      run_item(run, item);
      run->hook->item(run->hook->ctx, i, begin_ns, now_ns());
    } else {
      run_item(run, item);
    }
  }
}

void dhc_bound_run(const DhcBound *bound, void *const arena_base[DHC_N_ARENAS], void *scratch,
                   const dhc_exec *exec, const DhcItemHook *hook) {
  Run run = {.bound = bound, .base = arena_base, .scratch = scratch, .exec = exec, .hook = hook};
  run_range(&run, 0, bound->plan->n_items);
}
