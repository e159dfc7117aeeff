/* Size classes that are compiled when a run needs them, the others behind them: a run needs one of a kernel's classes, and all
 * of them take NVRTC several times as long. */
#include "backends/cuda/later.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/sha256.h"
#include "runtime/status.h"
#include "runtime/stop.h"

enum { MAX_THREADS = 64 };

typedef enum State { WAITS, UNDER_WAY, DONE } State;

typedef struct Part {
  char *source, *name;
  char key[65]; /* of its code in the store */
  int quick;
  bool wanted;
  State state;
  DhcCudaCode code;
  dhc_status status;
} Part;

struct DhcCudaLater {
  DhcCudaQueue *queue; /* NULL: closed; who needs code compiles it */
  char arch[16];
  int64_t id;
  int holders, n;
  Part part[DHC_CUDA_MAX_KERNELS];
  struct DhcCudaLater *next;
};

struct DhcCudaQueue {
  char arch[16], nvrtc[16];
  DhcStore *store; /* or NULL */
  pthread_cond_t work, done;
  pthread_t thread[MAX_THREADS];
  int n_threads, most_threads;
  bool held; /* since the last kernels came nobody has said what is needed: the rest would be in its way */
  bool stop;
};

/* Of all queues, which are few: everything here but compiling is short. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static DhcCudaLater *all; /* that are held, newest first */

/* ---- compiling -------------------------------------------------------------------------------- */

static void find_key(const DhcCudaQueue *q, Part *p) {
  DhcSha256 h;
  uint8_t digest[32];
  dhc_sha256_init(&h);
  const char *const said[] = {"code of a size class", q->arch, q->nvrtc, p->quick ? "quick" : "", p->name, p->source};
  for (size_t i = 0; i < sizeof said / sizeof *said; i++) dhc_sha256_update(&h, said[i], strlen(said[i]) + 1);
  dhc_sha256_final(&h, digest);
  dhc_sha256_hex(digest, p->key);
}

/* What a run that did not come to its end has left. */
static bool from_store(DhcStore *store, Part *p) {
  DhcStoreBytes b;
  if (!store || !dhc_store_load(store, p->key, &b)) return false;
  p->code.cubin = malloc(b.n_bytes + 1);
  if (p->code.cubin) memcpy(p->code.cubin, b.bytes, b.n_bytes);
  p->code.n = b.n_bytes;
  dhc_store_bytes_free(&b);
  return p->code.cubin != NULL;
}

/* The lock is held, but not while NVRTC is at work. store: the queue's, which stays while one of its threads or whoever
 * waits for code is here. */
static void compile(Part *p, const char *arch, DhcStore *store) {
  const DhcNvrtc *nv;
  p->state = UNDER_WAY;
  pthread_mutex_unlock(&lock);
  dhc_status st = dhc_cuda_nvrtc(&nv);
  DhcNvrtcJob job = {.source = p->source, .name = p->name, .arch = arch, .quick = p->quick};
  if (!st.code && dhc_stop_signal()) st = dhc_status_make(DHC_E_INTERRUPTED, "stopped while compiling");
  if (!st.code && !from_store(store, p)) {
    st = dhc_nvrtc_compile(nv, &job, &p->code.cubin, &p->code.n);
    if (!st.code && store) dhc_store_save(store, p->key, p->code.cubin, p->code.n);
  }
  pthread_mutex_lock(&lock);
  p->status = st;
  p->state = DONE;
}

static Part *find(const DhcCudaQueue *q, bool wanted, DhcCudaLater **of) {
  for (DhcCudaLater *l = all; l; l = l->next)
    for (int i = 0; i < l->n && l->queue == q; i++)
      if (l->part[i].state == WAITS && l->part[i].wanted >= wanted) {
        *of = l;
        return &l->part[i];
      }
  return NULL;
}

static void free_later(DhcCudaLater *l) {
  for (int i = 0; i < l->n; i++) {
    free(l->part[i].source);
    free(l->part[i].name);
    free(l->part[i].code.cubin);
  }
  free(l);
}

static void drop(DhcCudaLater *l) {
  if (--l->holders) return;
  for (DhcCudaLater **link = &all; *link; link = &(*link)->next)
    if (*link == l) {
      *link = l->next;
      break;
    }
  free_later(l);
}

static void *work(void *arg) {
  DhcCudaQueue *q = arg;
  DhcCudaLater *l = NULL;
  pthread_mutex_lock(&lock);
  while (!q->stop) {
    Part *p = find(q, true, &l);
    if (!p && !q->held) p = find(q, false, &l);
    if (!p) {
      pthread_cond_wait(&q->work, &lock);
      continue;
    }
    l->holders++;
    compile(p, l->arch, q->store);
    pthread_cond_broadcast(&q->done);
    drop(l);
  }
  pthread_mutex_unlock(&lock);
  return NULL;
}

/* ---- queues --------------------------------------------------------------------------------------- */

dhc_status dhc_cuda_queue_open(const char *arch, int workers, DhcStore *store, const char *nvrtc, DhcCudaQueue **out) {
  DhcCudaQueue *q = calloc(1, sizeof *q);
  if (!q) return dhc_status_memory((long long)sizeof *q, "kernels to compile");
  memcpy(q->arch, arch, strnlen(arch, sizeof q->arch - 1));
  memcpy(q->nvrtc, nvrtc, strnlen(nvrtc, sizeof q->nvrtc - 1));
  q->store = store;
  q->most_threads = workers < 1 ? 1 : workers > MAX_THREADS ? MAX_THREADS : workers;
  pthread_cond_init(&q->work, NULL);
  pthread_cond_init(&q->done, NULL);
  *out = q;
  return dhc_status_ok();
}

void dhc_cuda_queue_close(DhcCudaQueue *q) {
  if (!q) return;
  pthread_mutex_lock(&lock);
  q->stop = true;
  pthread_cond_broadcast(&q->work);
  pthread_mutex_unlock(&lock);
  for (int i = 0; i < q->n_threads; i++) pthread_join(q->thread[i], NULL);
  pthread_mutex_lock(&lock);
  for (DhcCudaLater *l = all; l; l = l->next)
    if (l->queue == q) l->queue = NULL;
  pthread_mutex_unlock(&lock);
  pthread_cond_destroy(&q->work);
  pthread_cond_destroy(&q->done);
  free(q);
}

/* Threads come with the first work there is for them; where one cannot be had, who waits for code compiles it. */
static void start(DhcCudaQueue *q) {
  while (q->n_threads < q->most_threads && !pthread_create(&q->thread[q->n_threads], NULL, work, q)) q->n_threads++;
}

/* ---- kernels ---------------------------------------------------------------------------------------- */

DhcCudaLater *dhc_cuda_later_new(DhcCudaQueue *q, const DhcNvrtcJob *job, int n) {
  static int64_t last_id;
  DhcCudaLater *l = calloc(1, sizeof *l);
  if (!l) return NULL;
  *l = (DhcCudaLater){.queue = q, .holders = 1, .n = n};
  memcpy(l->arch, q->arch, sizeof l->arch);
  for (int i = 0; i < n; i++) {
    l->part[i] = (Part){.source = strdup(job[i].source), .name = strdup(job[i].name), .quick = job[i].quick};
    if (!l->part[i].source || !l->part[i].name) {
      free_later(l);
      return NULL;
    }
    find_key(q, &l->part[i]);
  }
  pthread_mutex_lock(&lock);
  l->id = ++last_id;
  l->next = all;
  all = l;
  q->held = true;
  pthread_mutex_unlock(&lock);
  return l;
}

void dhc_cuda_later_hold(DhcCudaLater *l) {
  pthread_mutex_lock(&lock);
  l->holders++;
  pthread_mutex_unlock(&lock);
}

void dhc_cuda_later_drop(DhcCudaLater *l) {
  if (!l) return;
  pthread_mutex_lock(&lock);
  drop(l);
  pthread_mutex_unlock(&lock);
}

void dhc_cuda_later_stored(DhcCudaLater *l) {
  pthread_mutex_lock(&lock);
  DhcStore *store = l->queue ? l->queue->store : NULL;
  pthread_mutex_unlock(&lock);
  for (int i = 0; i < l->n && store; i++) dhc_store_drop(store, l->part[i].key);
}

static void want(DhcCudaLater *l, int i) {
  DhcCudaQueue *q = l->queue;
  if (l->part[i].state == DONE || !q) return;
  l->part[i].wanted = true;
  q->held = false;
  start(q);
  pthread_cond_broadcast(&q->work);
}

void dhc_cuda_later_want(DhcCudaLater *l, int i) {
  pthread_mutex_lock(&lock);
  want(l, i);
  pthread_mutex_unlock(&lock);
}

dhc_status dhc_cuda_later_code(DhcCudaLater *l, int i, const DhcCudaCode **code) {
  Part *p = &l->part[i];
  pthread_mutex_lock(&lock);
  want(l, i);
  if (p->state == WAITS) {
    compile(p, l->arch, l->queue ? l->queue->store : NULL);
    if (l->queue) pthread_cond_broadcast(&l->queue->done);
  }
  while (p->state != DONE) pthread_cond_wait(&l->queue->done, &lock);
  *code = &p->code;
  dhc_status st = p->status;
  pthread_mutex_unlock(&lock);
  return st;
}

/* ---- as objects ----------------------------------------------------------------------------------------- */

typedef struct Head {
  char magic[8];
  int64_t id, n;
  DhcCudaLaunch launch[DHC_CUDA_MAX_KERNELS];
} Head;
static const char magic[8] = "dhclater";

char *dhc_cuda_later_write(const DhcCudaLater *l, const DhcCudaLaunch *launch, size_t *n_bytes) {
  Head *h = calloc(1, sizeof *h);
  *n_bytes = sizeof *h;
  if (!h) return NULL;
  memcpy(h->magic, magic, sizeof magic);
  h->id = l->id;
  h->n = l->n;
  memcpy(h->launch, launch, sizeof *launch * (size_t)l->n);
  return (char *)h;
}

DhcCudaLater *dhc_cuda_later_read(const char *bytes, size_t n_bytes, int n, DhcCudaLaunch *launch) {
  Head h;
  DhcCudaLater *found = NULL;
  if (n_bytes != sizeof h) return NULL;
  memcpy(&h, bytes, sizeof h);
  if (memcmp(h.magic, magic, sizeof magic) || h.n != n) return NULL;
  pthread_mutex_lock(&lock);
  for (DhcCudaLater *l = all; l && !found; l = l->next)
    if (l->id == h.id && l->n == n) found = l;
  pthread_mutex_unlock(&lock);
  if (found) memcpy(launch, h.launch, sizeof *launch * (size_t)n);
  return found;
}
