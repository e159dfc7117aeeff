/* The constants of an object as bytes: a header, then what entries read (docs/abi.md). */
#include <stdlib.h>

#include "backends/object/object.h"
#include "runtime/image.h"
#include "runtime/panel.h"

static void put(uint8_t *to, uint64_t v, int n) {
  for (int i = 0; i < n; i++) to[i] = (uint8_t)(v >> 8 * i);
}

static void pack(const DhcObjPiece *p, const float *from, float *to) {
  dhc_panel x = {.width = p->width, .matrices = p->matrices, .rows = p->rows, .cols = p->cols};
  dhc_panel_pack(&x, 0, dhc_panel_count(&x), from, to);
}

uint64_t dhc_object_header_word(const DhcObject *o, int i) {
  static const char magic[4] = {'D', 'H', 'C', 'W'};
  uint64_t word = (uint64_t)DHC_OBJECT_ABI << 32;
  for (int k = 0; k < 4; k++) word |= (uint64_t)(uint8_t)magic[k] << 8 * k;
  return i == 0 ? word : i == 1 ? o->blob_id : (uint64_t)o->blob_bytes;
}

bool dhc_object_piece_is_fixed(const DhcObject *o, const DhcObjPiece *p) {
  return p->kind == DHC_OBJ_SCALAR || o->layout->slots[p->slot].role == DHC_IMAGE_TABLE;
}

int64_t dhc_object_test_workspace(const DhcObjEntry *e) {
  return e->work_bytes->value + e->shared_bytes->value + e->scratch_bytes->value;
}

int64_t dhc_object_selftest_bytes(const DhcObject *o) {
  int64_t most = 0;
  for (int i = 0; i < o->tests.n; i++) {
    const DhcObjTest *t = &o->tests.at[i];
    const DhcObjEntry *e = o->entry[t->entry];
    int64_t all = dhc_object_test_workspace(e);
    for (int k = 0; k < e->n_params; k++)
      if (e->param[k].out) all += (t->bytes[k] + 63) / 64 * 64;
    most = all > most ? all : most;
  }
  return most;
}

int64_t dhc_object_tensor_bytes(const DhcObject *o, int tensor) {
  const dhc_slot *s = &o->layout->slots[o->tensor[tensor]];
  return s->n * dhc_tensor_dtype_bytes(s->dtype);
}

static uint64_t sum_of(const uint8_t *at, int64_t bytes) {
  uint64_t sum = DHC_OBJ_SUM_BEGIN;
  for (int64_t i = 0; i < bytes; i += 8) {
    uint64_t word = 0;
    for (int k = 0; k < 8; k++) word |= (uint64_t)at[i + k] << 8 * k;
    sum = (sum ^ word) * DHC_OBJ_SUM_FACTOR;
  }
  return sum;
}

uint8_t *dhc_object_blob(const DhcObject *o, bool sum, DhcObjValues values, void *ctx) {
  uint8_t *blob = calloc(1, (size_t)o->blob_bytes + 64);
  if (!blob) return NULL;
  for (int i = 0; i < 3; i++) put(blob + 8 * i, dhc_object_header_word(o, i), 8);
  for (int i = 0; i < o->pieces.n; i++) {
    const DhcObjPiece *p = &o->pieces.at[i];
    if (p->kind == DHC_OBJ_SCALAR) {
      dhc_tensor_convert(blob + p->at, p->scalar->dtype, &p->scalar->value, DHC_F64, 1);
      continue;
    }
    const void *from = values(ctx, p->slot);
    if (!from) continue;
    if (p->kind == DHC_OBJ_PANEL) pack(p, from, (float *)(void *)(blob + p->at));
    else memcpy(blob + p->at, from, (size_t)p->bytes);
  }
  if (sum) put(blob + 24, sum_of(blob + DHC_OBJ_BLOB_HEADER, o->blob_bytes - DHC_OBJ_BLOB_HEADER), 8);
  return blob;
}
