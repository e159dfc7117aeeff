/* Examples one by one: copied from memory, or read from the source and, where that is dear and there is memory, kept. */
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/data/data_internal.h"
#include "runtime/stop.h"

dhc_status dhc_data_stopped(void) {
  return dhc_stop_pending() != 0 ? dhc_status_make(DHC_E_INTERRUPTED, "stopped while looking through the data") : dhc_status_ok();
}

enum { NOT_KEPT, BEING_KEPT, IS_KEPT };

struct DataKept {
  int64_t n;             /* examples that there is room for */
  int64_t example_bytes; /* of all fields that are read, one behind the other */
  atomic_uchar *state;   /* n; who takes it from NOT_KEPT to BEING_KEPT writes the example */
  uint8_t *examples;
};

dhc_status dhc_data_keep(const DhcDataOwner *o, int64_t max_bytes, DataKept **out) {
  DataKept k = {.n = o->n_examples};
  int64_t bytes;
  for (int32_t f = 0; f < o->n_fields; f++) {
    k.example_bytes += o->fields[f].data == NULL ? o->fields[f].example_bytes : 0;
  }
  *out = NULL;
  if (max_bytes > 0 && k.n > max_bytes / (k.example_bytes + 1)) {
    k.n = max_bytes / (k.example_bytes + 1);
  }
  if (k.n == 0 || k.example_bytes == 0 || !dhc_size_mul(k.n, k.example_bytes, &bytes)) {
    return dhc_status_ok();
  }
  DataKept *kept = malloc(sizeof *kept);
  k.state = calloc((size_t)k.n, sizeof *k.state);
  k.examples = malloc((size_t)bytes); /* not touched before it is filled */
  if (kept == NULL || k.state == NULL || k.examples == NULL) {
    free(kept);
    free(k.state);
    free(k.examples);
    return dhc_status_memory(bytes, "what is read of the data");
  }
  *kept = k;
  *out = kept;
  return dhc_status_ok();
}

int64_t dhc_data_kept_bytes(const DataKept *k) {
  return k != NULL ? k->n * (k->example_bytes + 1) : 0;
}

void dhc_data_kept_free(DataKept *k) {
  if (k != NULL) {
    free(k->state);
    free(k->examples);
    free(k);
  }
}

/* Between an example's fields, as they were handed out, and where it is kept. */
static void move(const DhcDataset *d, uint8_t *kept, void *const *to, bool keep) {
  for (int32_t f = 0; f < d->n_fields; f++) {
    const DhcField *field = &d->fields[f];
    if (field->data == NULL && field->example_bytes > 0) {
      if (keep) {
        memcpy(kept, to[f], (size_t)field->example_bytes);
      } else if (to[f] != NULL) {
        memcpy(to[f], kept, (size_t)field->example_bytes);
      }
      kept += field->example_bytes;
    }
  }
}

/* Only whole examples are kept. */
static bool wants_all(const DhcDataset *d, void *const *to) {
  for (int32_t f = 0; f < d->n_fields; f++) {
    if (d->fields[f].data == NULL && to[f] == NULL) {
      return false;
    }
  }
  return true;
}

dhc_status dhc_dataset_read(const DhcDataset *d, int64_t i, void *const *to) {
  bool reads = false;
  for (int32_t f = 0; f < d->n_fields; f++) {
    const DhcField *field = &d->fields[f];
    if (field->data != NULL && to[f] != NULL && field->example_bytes > 0) {
      memcpy(to[f], field->data + i * field->example_bytes, (size_t)field->example_bytes);
    }
    reads = reads || (field->data == NULL && to[f] != NULL && field->example_bytes > 0);
  }
  if (!reads) {
    return dhc_status_ok();
  }
  const DataReader *r = &d->owner->reader;
  DataKept *k = d->owner->kept;
  int64_t number = d->first + i;
  atomic_uchar *state = k != NULL && number < k->n ? &k->state[number] : NULL;
  uint8_t *kept = state != NULL ? k->examples + number * k->example_bytes : NULL;
  if (state != NULL && atomic_load_explicit(state, memory_order_acquire) == IS_KEPT) {
    move(d, kept, to, false);
    return dhc_status_ok();
  }
  DHC_TRY(r->read(r->ctx, number, to));
  unsigned char none = NOT_KEPT;
  if (state != NULL && wants_all(d, to) && atomic_compare_exchange_strong(state, &none, BEING_KEPT)) {
    move(d, kept, to, true);
    atomic_store_explicit(state, IS_KEPT, memory_order_release);
  }
  return dhc_status_ok();
}
