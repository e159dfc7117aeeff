/* What a data set holds, as a digest: wherever the examples come from. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/data/data_internal.h"

enum { AT_ONCE = 1 << 22 }; /* bytes read before they are hashed in order */

typedef struct Piece {
  const DhcDataset *d;
  int32_t field;
  int64_t first, every; /* examples first, first + every, … */
  uint8_t *bytes;
  pthread_mutex_t lock;
  int64_t bad; /* the first that could not be read */
  dhc_status st;
} Piece;

static void read_some(void *arg, int64_t begin, int64_t end, int worker) {
  Piece *p = arg;
  (void)worker;
  for (int64_t i = begin; i < end; i++) {
    void *to[DATA_MAX_FIELDS] = {NULL};
    to[p->field] = p->bytes + i * p->d->fields[p->field].example_bytes;
    dhc_status st = dhc_dataset_read(p->d, p->first + i * p->every, to);
    if (st.code != DHC_OK) {
      pthread_mutex_lock(&p->lock);
      if (i < p->bad) {
        p->bad = i;
        p->st = st;
      }
      pthread_mutex_unlock(&p->lock);
      return;
    }
  }
}

static dhc_status digest_read(const DhcDataset *d, int32_t field, int64_t every, const dhc_exec *exec, DhcSha256 *h) {
  int64_t size = d->fields[field].example_bytes, n = (d->n_examples + every - 1) / every, at_once = AT_ONCE / size + 1;
  Piece p = {.d = d, .field = field, .every = every, .st = dhc_status_ok()};
  at_once = at_once < n ? at_once : n;
  p.bytes = malloc((size_t)(at_once * size));
  if (p.bytes == NULL) {
    return dhc_status_memory(at_once * size, "examples");
  }
  pthread_mutex_init(&p.lock, NULL);
  for (int64_t k = 0; k < n && p.st.code == DHC_OK; k += at_once) {
    int64_t now = n - k < at_once ? n - k : at_once;
    p.first = k * every;
    p.bad = now;
    if (exec != NULL) {
      exec->parallel_for(exec->ctx, now, read_some, &p);
    } else {
      read_some(&p, 0, now, 0);
    }
    dhc_sha256_update(h, p.bytes, (size_t)(now * size));
  }
  pthread_mutex_destroy(&p.lock);
  free(p.bytes);
  return p.st;
}

dhc_status dhc_dataset_digest(const DhcDataset *d, int64_t most_bytes, const dhc_exec *exec, DhcSha256 *h) {
  dhc_sha256_update(h, &d->n_examples, sizeof d->n_examples);
  for (int32_t i = 0; i < d->n_fields; i++) {
    const DhcField *f = &d->fields[i];
    int64_t every = 1, all = d->n_examples;
    if (f->example_bytes > 0 && all > most_bytes / f->example_bytes) {
      every = all / (most_bytes / f->example_bytes + 1) + 1;
    }
    dhc_sha256_update(h, f->name, strlen(f->name) + 1);
    dhc_sha256_update(h, f->shape, sizeof *f->shape * (size_t)f->rank);
    if (f->data == NULL && f->example_bytes > 0 && all > 0) {
      DHC_TRY(digest_read(d, i, every, exec, h));
    } else if (every == 1 && all > 0) {
      dhc_sha256_update(h, f->data, (size_t)(all * f->example_bytes));
    }
    for (int64_t k = 0; f->data != NULL && every > 1 && k < all; k += every) {
      dhc_sha256_update(h, f->data + k * f->example_bytes, (size_t)f->example_bytes);
    }
  }
  return dhc_status_ok();
}
