#include <stdlib.h>
#include <string.h>

#include "runtime/bound.h"
#include "runtime/tensor.h"

static bool eval(const DhcBound *b, dhc_dimprog prog, int64_t absent, int64_t *out) {
  return dhc_dimprog_eval(prog, b->symbols, b->plan->n_symbols, absent, out);
}

static dhc_status malformed(const DhcBound *b, int32_t item, const char *what) {
  return dhc_status_make(DHC_E_USAGE, "plan '%s': item %d: %s", b->plan->name, (int)item, what);
}

static dhc_status too_large(const DhcBound *b, const char *what, int32_t index) {
  return dhc_status_make(DHC_E_INPUT, "plan '%s': size of %s %d does not fit in 63 bits",
                         b->plan->name, what, (int)index);
}

/* ---- symbols and guards ---------------------------------------------------- */

static dhc_status check_guards(const DhcBound *b) {
  const dhc_plan *plan = b->plan;
  for (int32_t i = 0; i < plan->n_symbols; i++) {
    if (b->symbols[i] < 1) {
      return dhc_status_make(DHC_E_INPUT, "'%s' must be at least 1, got %lld", plan->symbols[i],
                             (long long)b->symbols[i]);
    }
  }
  for (int32_t i = 0; i < plan->n_guards; i++) {
    int64_t holds;
    if (!eval(b, plan->guards[i].cond, 1, &holds)) {
      return too_large(b, "guard", i);
    }
    if (holds == 0) {
      return dhc_status_make(DHC_E_INPUT, "%s", plan->guards[i].message);
    }
  }
  return dhc_status_ok();
}

/* ---- buffers ---------------------------------------------------------------- */

static bool buffer_offset(DhcBound *b, int32_t i) {
  const dhc_buffer *buffer = &b->plan->buffers[i];
  int64_t offset;
  if (b->place != NULL && b->place[i] >= 0) { /* where somebody else says */
    b->buffers[i].offset = b->place[i];
    return true;
  }
  if (!eval(b, buffer->at, 0, &offset) || offset < 0) {
    return false;
  }
  if (buffer->alias >= 0) {
    return dhc_size_add(offset, b->buffers[buffer->alias].offset, &b->buffers[i].offset);
  }
  if (buffer->n_below == 0) { /* a place somebody chose: exactly there */
    b->buffers[i].offset = offset;
    return true;
  }
  for (int32_t k = 0; k < buffer->n_below; k++) {
    const BoundBuffer *below = &b->buffers[buffer->below[k]];
    int64_t end = below->offset + below->bytes; /* fits: checked when below was placed */
    offset = end > offset ? end : offset;
  }
  return dhc_size_align64(offset, &b->buffers[i].offset);
}

static dhc_status place_buffers(DhcBound *b) {
  const dhc_plan *plan = b->plan;
  for (int32_t i = 0; i < plan->n_buffers; i++) {
    const dhc_buffer *buffer = &plan->buffers[i];
    /* Table order is evaluation order: what a buffer refers to comes before it. */
    bool ok = buffer->segment >= 0 && buffer->segment < DHC_N_SEGMENTS && buffer->alias < i &&
              buffer->n_below >= 0 &&
              (buffer->alias < 0 || plan->buffers[buffer->alias].segment == buffer->segment);
    for (int32_t k = 0; ok && k < buffer->n_below; k++) {
      ok = buffer->below[k] >= 0 && buffer->below[k] < i;
    }
    if (!ok) {
      return dhc_status_make(DHC_E_USAGE, "plan '%s': buffer %d is malformed", plan->name, (int)i);
    }
    int64_t end;
    int64_t *segment = &b->segment_bytes[buffer->segment];
    if (!eval(b, buffer->bytes, 0, &b->buffers[i].bytes) || !buffer_offset(b, i) ||
        !dhc_size_add(b->buffers[i].offset, b->buffers[i].bytes, &end) ||
        !dhc_size_align64(end, &end)) {
      return too_large(b, "buffer", i);
    }
    *segment = end > *segment ? end : *segment;
  }
  return dhc_status_ok();
}

/* ---- items ------------------------------------------------------------------ */

/* The loops around the item being bound, outermost first. */
typedef struct Nest {
  int32_t depth;
  int64_t count[DHC_MAX_LOOP_DEPTH];
  int32_t end[DHC_MAX_LOOP_DEPTH]; /* first item after the body */
} Nest;

/* Whether one of them makes no trip at all. */
static bool nest_is_idle(const Nest *nest) {
  for (int32_t d = 0; d < nest->depth; d++)
    if (nest->count[d] == 0) return true;
  return false;
}

static int64_t within(int64_t x, int64_t most) { return x < 0 ? 0 : x > most ? most : x; }

/* What is touched of the operand's buffer, which begins at out->begin. */
static bool bind_reach(const DhcBound *b, const dhc_ref *ref, int64_t bytes, BoundRef *out) {
  int64_t low, high;
  if (!eval(b, ref->low, 0, &low) || !eval(b, ref->high, bytes, &high)) {
    return false;
  }
  out->low = out->begin + within(low, bytes);
  out->high = out->begin + within(high, bytes);
  return true;
}

/* Binds one operand and checks that every iteration begins inside its buffer,
 * and that `bytes` bytes from there do too. */
static bool bind_ref(DhcBound *b, const Nest *nest, const dhc_ref *ref, int64_t bytes,
                     BoundRef *out) {
  if (ref->buffer < 0 || ref->buffer >= b->plan->n_buffers) {
    return false;
  }
  const BoundBuffer *buffer = &b->buffers[ref->buffer];
  int64_t low, high;
  out->begin = buffer->offset;
  out->end = buffer->offset + buffer->bytes; /* fits: checked when it was placed */
  if (!eval(b, ref->offset, 0, &low) || !bind_reach(b, ref, buffer->bytes, out)) {
    return false;
  }
  high = low;
  out->segment = b->plan->buffers[ref->buffer].segment;
  out->steps = false;
  if (__builtin_add_overflow(buffer->offset, low, &out->offset)) {
    return false;
  }
  for (int32_t d = 0; d < DHC_MAX_LOOP_DEPTH; d++) {
    int64_t reach;
    if (!eval(b, ref->step[d], 0, &out->step[d])) {
      return false;
    }
    if (d >= nest->depth) {
      if (out->step[d] != 0) {
        return false;
      }
      continue;
    }
    out->steps = out->steps || out->step[d] != 0;
    int64_t last = nest->count[d] > 0 ? nest->count[d] - 1 : 0;
    int64_t *bound = out->step[d] < 0 ? &low : &high;
    if (__builtin_mul_overflow(out->step[d], last, &reach) ||
        __builtin_add_overflow(*bound, reach, bound)) {
      return false;
    }
  }
  if (nest_is_idle(nest)) {
    return bytes >= 0; /* never met: a part of nothing may lie anywhere */
  }
  return low >= 0 && bytes >= 0 && high <= buffer->bytes && bytes <= buffer->bytes - high;
}

static dhc_status bind_call(DhcBound *b, int32_t index, BoundItem *out, int64_t *dims64,
                            intptr_t *dims) {
  const dhc_item *item = &b->plan->items[index];
  if (item->kernel < 0 || item->kernel >= b->plan->n_kernels) {
    return malformed(b, index, "no such kernel");
  }
  const dhc_kernel *kernel = b->kernels[item->kernel];
  if (kernel == NULL || kernel->n_ptrs != item->n_refs || kernel->n_dims != item->n_dims) {
    return malformed(b, index, "operands or dims do not match the kernel");
  }
  for (int32_t i = 0; i < item->n_dims; i++) {
    if (!eval(b, item->dims[i], 0, &dims64[i])) {
      return too_large(b, "dims of item", index);
    }
    dims[i] = (intptr_t)dims64[i];
  }
  out->dims = dims;
  for (int32_t c = 0; c < kernel->n_classes; c++) {
    const dhc_kernel_class *class = &kernel->classes[c];
    int64_t taken, scratch, shared, begin = 0;
    if (!dhc_dimprog_eval(class->guard, dims64, item->n_dims, 1, &taken)) {
      return too_large(b, "class guard of item", index);
    }
    if (taken == 0) {
      continue;
    }
    if (!dhc_dimprog_eval(class->n_tasks, dims64, item->n_dims, 1, &out->n_tasks) ||
        !dhc_dimprog_eval(class->scratch_bytes, dims64, item->n_dims, 0, &out->scratch) ||
        !dhc_dimprog_eval(class->shared_bytes, dims64, item->n_dims, 0, &out->shared) ||
        !dhc_size_align64(out->scratch, &scratch) || !dhc_size_align64(out->shared, &shared)) {
      return too_large(b, "work of item", index);
    }
    for (int k = 0; k < DHC_MAX_PHASES; k++) {
      int64_t end = out->n_tasks; /* of the last, and of those that are not there */
      const dhc_dimprog *p = k == 0 ? &class->first_tasks : k < DHC_MAX_PHASES - 1 ? &class->later_tasks[k - 1] : NULL;
      if ((p && !dhc_dimprog_eval(*p, dims64, item->n_dims, out->n_tasks, &end)) || end < begin || end > out->n_tasks) {
        return too_large(b, "work of item", index);
      }
      out->ends[k] = begin = end;
    }
    if (class->fn == NULL) {
      return malformed(b, index, "its kernel is not linked");
    }
    b->worker_scratch = scratch > b->worker_scratch ? scratch : b->worker_scratch;
    b->shared = shared > b->shared ? shared : b->shared;
    out->fn = class->fn;
    out->size_class = c;
    return dhc_status_ok();
  }
  return malformed(b, index, "no size class of its kernel fits");
}

/* Parts that make up the whole. */
static dhc_status bind_parts(DhcBound *b, int32_t index, BoundItem *out, intptr_t *dims) {
  const dhc_item *item = &b->plan->items[index];
  int64_t left = out->bytes / 4, n;
  for (int32_t i = 0; i < item->n_dims; i++) {
    if (!eval(b, item->dims[i], 0, &n)) return too_large(b, "dims of item", index);
    if (n < 0 || n > left) return malformed(b, index, "its parts are another whole");
    dims[i] = (intptr_t)n;
    left -= n;
  }
  out->dims = dims;
  return left && item->pattern == DHC_RANKS_SPREAD ? malformed(b, index, "its parts are another whole") : dhc_status_ok();
}

static dhc_status bind_loop(DhcBound *b, int32_t index, Nest *nest, BoundItem *out) {
  const dhc_item *item = &b->plan->items[index];
  int32_t limit = nest->depth > 0 ? nest->end[nest->depth - 1] : b->plan->n_items;
  if (nest->depth == DHC_MAX_LOOP_DEPTH) {
    return malformed(b, index, "loops nested too deeply");
  }
  if (item->n_body < 0 || item->n_body > limit - index - 1) {
    return malformed(b, index, "loop body runs past its end");
  }
  if (!eval(b, item->count, 0, &out->count) || out->count < 0) {
    return too_large(b, "loop count of item", index);
  }
  out->n_body = item->n_body;
  nest->count[nest->depth] = out->count;
  nest->end[nest->depth] = index + 1 + item->n_body;
  nest->depth++;
  return dhc_status_ok();
}

static dhc_status bind_item(DhcBound *b, int32_t index, Nest *nest, BoundRef *refs, int64_t *dims64,
                            intptr_t *dims) {
  const dhc_item *item = &b->plan->items[index];
  BoundItem *out = &b->items[index];
  while (nest->depth > 0 && nest->end[nest->depth - 1] <= index) {
    nest->depth--;
  }
  out->kind = item->kind;
  out->size_class = -1;
  out->n_refs = item->n_refs;
  out->n_dims = item->n_dims;
  out->refs = refs;
  out->pattern = item->pattern;
  out->runs = 1;
  for (int32_t d = 0; d < nest->depth; d++) {
    if (!dhc_size_mul(out->runs, nest->count[d], &out->runs)) {
      return too_large(b, "loops around item", index);
    }
  }
  bool ranks = item->kind == DHC_ITEM_RANKS, moves = item->kind == DHC_ITEM_COPY || item->kind == DHC_ITEM_FILL || ranks;
  if (moves && (!eval(b, item->bytes, 0, &out->bytes) || out->bytes < 0)) {
    return too_large(b, "item", index);
  }
  if ((item->kind == DHC_ITEM_COPY && item->n_refs != 2) ||
      (item->kind == DHC_ITEM_FILL && (item->n_refs != 1 || out->bytes % 4 != 0))) {
    return malformed(b, index, "wrong operands of a copy or fill");
  }
  if ((ranks && (item->n_refs != 2 || item->pattern >= DHC_N_RANKS_OPS || out->bytes % 4 != 0)) ||
      (item->kind == DHC_ITEM_JOIN && item->n_refs != 0)) {
    return malformed(b, index, "wrong operands of what ranks do together");
  }
  for (int32_t r = 0; r < item->n_refs; r++) {
    if (!bind_ref(b, nest, &item->refs[r], out->bytes, &refs[r])) {
      return malformed(b, index, "an operand lies outside its buffer");
    }
  }
  switch (item->kind) {
  case DHC_ITEM_CALL: return bind_call(b, index, out, dims64, dims);
  case DHC_ITEM_LOOP: return bind_loop(b, index, nest, out);
  case DHC_ITEM_COPY:
  case DHC_ITEM_FILL:
  case DHC_ITEM_JOIN: return dhc_status_ok();
  case DHC_ITEM_RANKS: return bind_parts(b, index, out, dims);
  default: return malformed(b, index, "unknown kind");
  }
}

static dhc_status bind_items(DhcBound *b) {
  const dhc_plan *plan = b->plan;
  int64_t n_refs = 0, n_dims = 0, most_dims = 0;
  for (int32_t i = 0; i < plan->n_items; i++) {
    const dhc_item *item = &plan->items[i];
    if (item->n_refs < 0 || item->n_refs > DHC_MAX_ITEM_REFS || item->n_dims < 0) {
      return malformed(b, i, "too many operands");
    }
    n_refs += item->n_refs;
    n_dims += item->n_dims;
    most_dims = item->n_dims > most_dims ? item->n_dims : most_dims;
    b->most_refs = item->n_refs > b->most_refs ? item->n_refs : b->most_refs;
  }
  b->refs = calloc((size_t)n_refs + 1, sizeof *b->refs);
  b->dims = calloc((size_t)n_dims + 1, sizeof *b->dims);
  int64_t *dims64 = calloc((size_t)most_dims + 1, sizeof *dims64);
  dhc_status status = dhc_status_ok();
  if (b->refs == NULL || b->dims == NULL || dims64 == NULL) {
    status = dhc_status_memory(n_refs * (long long)sizeof *b->refs, "a bound plan");
  }
  Nest nest = {.depth = 0};
  BoundRef *refs = b->refs;
  intptr_t *dims = b->dims;
  for (int32_t i = 0; i < plan->n_items && status.code == DHC_OK; i++) {
    status = bind_item(b, i, &nest, refs, dims64, dims);
    refs += plan->items[i].n_refs;
    dims += plan->items[i].n_dims;
  }
  free(dims64);
  return status;
}

/* ---- the whole ---------------------------------------------------------------- */

dhc_status dhc_plan_bind(const dhc_plan *plan, const dhc_kernel *const *kernels,
                         const int64_t *symbols, int workers, DhcBound **out) {
  return dhc_plan_bind_at(plan, kernels, symbols, workers, NULL, out);
}

dhc_status dhc_plan_bind_at(const dhc_plan *plan, const dhc_kernel *const *kernels, const int64_t *symbols, int workers,
                            const int64_t *place, DhcBound **out) {
  DhcBound *b = calloc(1, sizeof *b);
  if (b == NULL) {
    return dhc_status_memory((long long)sizeof *b, "a bound plan");
  }
  b->plan = plan;
  b->kernels = kernels;
  b->workers = workers;
  b->lanes = 1;
  b->place = place;
  b->symbols = calloc((size_t)plan->n_symbols + 1, sizeof *b->symbols);
  b->buffers = calloc((size_t)plan->n_buffers + 1, sizeof *b->buffers);
  b->items = calloc((size_t)plan->n_items + 1, sizeof *b->items);
  dhc_status status = dhc_status_ok();
  if (b->symbols == NULL || b->buffers == NULL || b->items == NULL) {
    status = dhc_status_memory(plan->n_items * (long long)sizeof *b->items, "a bound plan");
  } else if (workers < 1) {
    status = dhc_status_make(DHC_E_USAGE, "workers: needs at least 1, got %d", workers);
  } else {
    if (plan->n_symbols > 0) {
      memcpy(b->symbols, symbols, (size_t)plan->n_symbols * sizeof *symbols);
    }
    status = check_guards(b);
  }
  if (status.code == DHC_OK) {
    status = place_buffers(b);
  }
  if (status.code == DHC_OK) {
    status = bind_items(b);
  }
  int64_t scratch;
  if (status.code == DHC_OK && (!dhc_size_mul(b->worker_scratch, workers, &scratch) ||
                                !dhc_size_add(b->shared, scratch, &scratch))) {
    status = too_large(b, "scratch of workers", workers);
  }
  if (status.code != DHC_OK) {
    dhc_bound_free(b);
    return status;
  }
  b->place = NULL; /* the caller's */
  *out = b;
  return status;
}

void dhc_bound_free(DhcBound *b) {
  if (b == NULL) {
    return;
  }
  free(b->symbols);
  free(b->buffers);
  free(b->items);
  free(b->refs);
  free(b->dims);
  free(b);
}

void dhc_bound_lend(DhcBound *b, const int32_t *number) {
  const dhc_plan *plan = b->plan;
  BoundRef *ref = b->refs;
  for (int32_t i = 0; i < plan->n_items; i++) {
    for (int32_t r = 0; r < plan->items[i].n_refs; r++, ref++) {
      int32_t buffer = plan->items[i].refs[r].buffer;
      while (plan->buffers[buffer].alias >= 0) buffer = plan->buffers[buffer].alias;
      if (number[buffer] >= 0) ref->segment = number[buffer];
    }
  }
}

void dhc_bound_lanes(DhcBound *b, int lanes) {
  int64_t all;
  if (lanes > 1 && dhc_size_mul(b->shared, lanes, &all) && dhc_size_add(all, b->worker_scratch * b->workers, &all)) b->lanes = lanes;
}

int64_t dhc_bound_segment_bytes(const DhcBound *b, int segment) {
  return b->segment_bytes[segment];
}

int64_t dhc_bound_scratch_bytes(const DhcBound *b) {
  return b->worker_scratch * b->workers + b->shared * b->lanes;
}

int64_t dhc_bound_buffer_offset(const DhcBound *b, int32_t buffer) {
  return b->buffers[buffer].offset;
}

int64_t dhc_bound_buffer_bytes(const DhcBound *b, int32_t buffer) {
  return b->buffers[buffer].bytes;
}

int64_t dhc_bound_item_tasks(const DhcBound *b, int32_t item) {
  return b->items[item].n_tasks;
}

int32_t dhc_bound_item_class(const DhcBound *b, int32_t item) {
  return b->items[item].size_class;
}

int64_t dhc_bound_item_runs(const DhcBound *b, int32_t item) {
  return b->items[item].runs;
}

const intptr_t *dhc_bound_item_dims(const DhcBound *b, int32_t item) {
  return b->items[item].dims;
}
