/* The order in which training sees its data. */
#include <stdlib.h>
#include <string.h>

#include "runtime/data/data_internal.h"
#include "runtime/rng.h"

struct DhcBatcher {
  const DhcDataset *data;
  DhcBatchOptions options;
  DhcDataPosition at;
  int64_t last_begin, last_whole; /* in order: the batch handed out last, and its examples, all parts together */
  int last_turn;
  int64_t *order;
  DhcAhead *ahead; /* NULL: everything is in memory */
};

void dhc_data_permute(uint32_t seed, int64_t epoch, int64_t n, int64_t *order) {
  for (int64_t i = 0; i < n; i++) {
    order[i] = i;
  }
  for (int64_t i = n - 1; i > 0; i--) {
    int64_t k = (int64_t)dhc_rng_below(seed, DHC_SITE_SHUFFLE, (uint64_t)i, (uint64_t)epoch,
                                       (uint64_t)i + 1);
    int64_t swapped = order[i];
    order[i] = order[k];
    order[k] = swapped;
  }
}

static void begin_epoch(DhcBatcher *b) {
  int64_t n = b->data->n_examples;
  if (b->options.shuffle) {
    dhc_data_permute(b->at.seed, b->at.epoch, n, b->order);
  } else {
    for (int64_t i = 0; i < n; i++) {
      b->order[i] = i;
    }
  }
}

dhc_status dhc_batcher_new(const DhcDataset *d, const DhcBatchOptions *options, DhcBatcher **out) {
  int64_t bytes;
  if (options->batch < 1) {
    return dhc_status_make(DHC_E_USAGE, "batch: needs at least 1, got %lld",
                           (long long)options->batch);
  }
  if (options->drop_last && d->n_examples < options->batch) {
    return dhc_status_make(DHC_E_INPUT, "batches of %lld from %lld examples: none is full",
                           (long long)options->batch, (long long)d->n_examples);
  }
  if (!dhc_size_mul(d->n_examples, (int64_t)sizeof(int64_t), &bytes)) {
    return dhc_status_make(DHC_E_INPUT, "too many examples");
  }
  DhcBatcher *b = calloc(1, sizeof *b);
  int64_t *order = malloc((size_t)bytes + 1);
  if (b == NULL || order == NULL) {
    free(b);
    free(order);
    return dhc_status_memory(bytes, "the order of examples");
  }
  b->data = d;
  b->options = *options;
  b->at.seed = options->seed;
  b->order = order;
  begin_epoch(b);
  if (d->from_files) {
    dhc_status st = dhc_ahead_new(d, options, &b->ahead);
    if (st.code != DHC_OK) {
      dhc_batcher_free(b);
      return st;
    }
  }
  *out = b;
  return dhc_status_ok();
}

void dhc_batcher_free(DhcBatcher *b) {
  if (b != NULL) {
    dhc_ahead_free(b->ahead);
    free(b->order);
    free(b);
  }
}

DhcBatchPart dhc_batch_part(const DhcBatchOptions *o, int turn, int64_t whole) {
  if (o->parts < 2 || whole == 0) {
    return (DhcBatchPart){0, whole, whole, 1};
  }
  int64_t each = whole / o->parts, more = whole % o->parts, k = o->part + turn;
  DhcBatchPart p = {k * each + (k < more ? k : more), each + (k < more), whole, 0};
  p.share = (double)p.n / (double)whole;
  if (p.n == 0) {
    p.first = whole - 1;
    p.n = 1;
  }
  return p;
}

void dhc_batch_move(const DhcBatchOptions *o, DhcDataPosition *at, int64_t whole) {
  if (++at->turn < o->turns) {
    return;
  }
  at->turn = 0;
  at->next += whole;
}

DhcBatchPart dhc_batcher_part(const DhcBatcher *b) {
  return dhc_batch_part(&b->options, b->last_turn, b->last_whole);
}

static void gather(const DhcBatcher *b, void *const *dst, int64_t first, int64_t n) {
  for (int32_t f = 0; f < b->data->n_fields; f++) {
    const DhcField *field = &b->data->fields[f];
    char *to = dst[f];
    if (to == NULL || field->example_bytes == 0) {
      continue;
    }
    for (int64_t i = 0; i < n; i++, to += field->example_bytes) {
      memcpy(to, field->data + b->order[first + i] * field->example_bytes,
             (size_t)field->example_bytes);
    }
  }
}

/* Examples of the next batch. */
static int64_t next_whole(const DhcBatcher *b) {
  int64_t left = b->data->n_examples - b->at.next;
  return left < b->options.batch ? left : b->options.batch;
}

dhc_status dhc_batcher_peek(DhcBatcher *b, void *const *dst, int64_t *n_out) {
  int64_t n = next_whole(b);
  *n_out = 0;
  if (n == 0 || (b->options.drop_last && n < b->options.batch)) {
    return dhc_status_ok();
  }
  DhcBatchPart part = dhc_batch_part(&b->options, b->at.turn, n);
  if (b->ahead != NULL) {
    DHC_TRY(dhc_ahead_take(b->ahead, b->at, dst, part.n));
  } else {
    gather(b, dst, b->at.next + part.first, part.n);
  }
  *n_out = part.n;
  return dhc_status_ok();
}

void dhc_batcher_skip(DhcBatcher *b, int64_t n) {
  if (n == 0) {
    dhc_batcher_end_epoch(b);
    return;
  }
  b->last_whole = next_whole(b);
  b->last_begin = b->at.next;
  b->last_turn = b->at.turn;
  dhc_batch_move(&b->options, &b->at, b->last_whole);
}

dhc_status dhc_batcher_next(DhcBatcher *b, void *const *dst, int64_t *n) {
  DHC_TRY(dhc_batcher_peek(b, dst, n));
  dhc_batcher_skip(b, *n);
  return dhc_status_ok();
}

const int64_t *dhc_batcher_indices(const DhcBatcher *b) {
  return b->order + b->last_begin + dhc_batcher_part(b).first;
}

int64_t dhc_batcher_count(const DhcBatcher *b) {
  int64_t n = b->data->n_examples / b->options.batch;
  return n + (!b->options.drop_last && b->data->n_examples % b->options.batch != 0);
}

DhcDataPosition dhc_batcher_position(const DhcBatcher *b) {
  return b->at;
}

void dhc_batcher_end_epoch(DhcBatcher *b) {
  b->at.epoch++;
  b->at.next = 0;
  b->at.turn = 0;
  begin_epoch(b);
}

dhc_status dhc_batcher_seek(DhcBatcher *b, DhcDataPosition at) {
  if (at.epoch < 0 || at.next < 0 || at.next > b->data->n_examples) {
    return dhc_status_make(DHC_E_INPUT,
                           "data position (epoch %lld, example %lld) does not fit %lld examples",
                           (long long)at.epoch, (long long)at.next, (long long)b->data->n_examples);
  }
  b->at = at;
  b->last_begin = 0;
  begin_epoch(b);
  return dhc_status_ok();
}
