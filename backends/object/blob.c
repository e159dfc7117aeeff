/* The constants of an object as bytes: a header, then what entries read (docs/abi.md). */
#include <math.h>
#include <stdlib.h>

#include "backends/object/object.h"
#include "runtime/image.h"
#include "runtime/panel.h"

static void put(uint8_t *to, uint64_t v, int n) {
  for (int i = 0; i < n; i++) to[i] = (uint8_t)(v >> 8 * i);
}

/* The upper 16 bits of an f32, rounded to even; NaN stays one. */
static uint16_t bf16_of(float x) {
  uint32_t bits;
  memcpy(&bits, &x, 4);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return (uint16_t)(bits >> 16 | 0x40u);
  return (uint16_t)((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

void dhc_object_round_row(DhcTag tag, const float *from, int64_t n, float *to, int8_t *whole, float *scale) {
  float most = 0;
  for (int64_t i = 0; i < n && dhc_tag_is_i8(tag); i++) most = fabsf(from[i]) > most ? fabsf(from[i]) : most;
  float s = most / 127;
  for (int64_t i = 0; i < n; i++) {
    if (dhc_tag_is_i8(tag)) {
      float q = s > 0 ? rintf(from[i] / s) : 0;
      q = q > 127 ? 127 : q < -127 ? -127 : q;
      if (whole) whole[i] = (int8_t)q;
      to[i] = q * s;
    } else {
      uint32_t bits = (uint32_t)bf16_of(from[i]) << 16;
      memcpy(&to[i], &bits, 4);
    }
  }
  if (scale) *scale = s;
}

/* Row r as it was rounded: to f32, and, in 8 bits, to whole numbers and a scale. */
static void put_row(const DhcObjPiece *p, int64_t r, const float *row, const int8_t *whole, float scale, uint8_t *to) {
  bool rows = dhc_tag_is_rows(p->tag);
  int64_t panel = rows ? 0 : dhc_tag_panel_bytes(p->tag, p->width, p->cols), lanes = rows ? 1 : p->width, lane = rows ? r * p->cols : r % lanes;
  uint8_t *at = rows ? to : to + r / lanes * panel;
  if (whole) memcpy(at + 4 * (rows ? r : lane), &scale, 4);
  for (int64_t c = 0; c < p->cols; c++) {
    if (whole) at[4 * (rows ? p->rows : lanes) + c * lanes + lane] = (uint8_t)whole[c];
    else put(at + 2 * (c * lanes + lane), bf16_of(row[c]), 2);
  }
}

/* A quantised panel after the other, its scales in front, rows that fill up zeros; or a row after the other, all scales in front. */
static bool pack_rounded(const DhcObjPiece *p, const float *from, uint8_t *to) {
  int64_t each = dhc_tag_bytes(p->tag, p->width, p->rows, p->cols);
  float *row = malloc(sizeof *row * (size_t)(p->cols + 1));
  int8_t *q = malloc((size_t)p->cols + 1);
  for (int64_t k = 0; row && q && k < p->matrices; k++)
    for (int64_t r = 0; r < p->rows; r++) {
      float scale = 0;
      dhc_object_round_row(p->tag, from + (k * p->rows + r) * p->cols, p->cols, row, q, &scale);
      put_row(p, r, row, dhc_tag_is_i8(p->tag) ? q : NULL, scale, to + k * each);
    }
  bool done = row && q;
  free(row);
  free(q);
  return done;
}

const char *dhc_object_quantized(const DhcObject *o) { return dhc_tag_is_i8(o->tag) ? "int8" : o->tag > DHC_TAG_PANEL ? "bf16" : NULL; }

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

/* Of an object of several levels the entry is that of the first one, by whose name the best of them goes. */
static const DhcObjChoice *tested_choice(const DhcObject *o, const DhcObjTest *t) {
  for (int i = 0; i < o->choices.n && o->levels; i++)
    if (o->choices.at[i].entry[0] == t->entry) return &o->choices.at[i];
  return NULL;
}

const char *dhc_object_test_function(const DhcObject *o, const DhcObjTest *t) {
  const DhcObjChoice *c = tested_choice(o, t);
  return c ? c->c_name : o->entry[t->entry]->c_name;
}

int64_t dhc_object_tested_workspace(const DhcObject *o, const DhcObjTest *t) {
  const DhcObjChoice *c = tested_choice(o, t);
  int64_t most = dhc_object_test_workspace(o->entry[t->entry]);
  for (int v = 1; c && v < o->n_variants; v++) {
    int64_t bytes = dhc_object_test_workspace(o->entry[c->entry[v]]);
    most = bytes > most ? bytes : most;
  }
  return most;
}

int64_t dhc_object_selftest_bytes(const DhcObject *o) {
  int64_t most = 0;
  for (int i = 0; i < o->tests.n; i++) {
    const DhcObjTest *t = &o->tests.at[i];
    const DhcObjEntry *e = o->entry[t->entry];
    int64_t all = dhc_object_tested_workspace(o, t);
    for (int k = 0; k < e->n_params; k++)
      if (e->param[k].out || o->cuda) all += (t->bytes[k] + 63) / 64 * 64;
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

bool dhc_object_is_rounded(const DhcObject *o, int slot) { return o->tag > DHC_TAG_PANEL && o->row_axes[slot]; }

bool dhc_object_is_wide(const DhcObject *o, int slot) {
  for (int i = 0; i < o->pieces.n; i++) {
    const DhcObjPiece *p = &o->pieces.at[i];
    if (p->kind != DHC_OBJ_SCALAR && p->slot == slot && p->tag <= DHC_TAG_PANEL) return true;
  }
  return false;
}

void dhc_object_round(const DhcObject *o, int slot, const float *from, float *to) {
  const dhc_slot *s = &o->layout->slots[slot];
  int64_t rows = 1;
  for (int d = 0; d < o->row_axes[slot]; d++) rows *= s->dim[d];
  for (int64_t r = 0, cols = rows ? s->n / rows : 0; r < rows; r++) dhc_object_round_row(o->tag, from + r * cols, cols, to + r * cols, NULL, NULL);
}

/* In f32; of what is quantised the numbers that it has there. */
static bool put_wide(const DhcObject *o, const DhcObjPiece *p, const void *from, uint8_t *to) {
  float *rounded = NULL;
  if (dhc_object_is_rounded(o, p->slot)) {
    rounded = malloc((size_t)o->layout->slots[p->slot].n * sizeof *rounded + 1);
    if (!rounded) return false;
    dhc_object_round(o, p->slot, from, rounded);
    from = rounded;
  }
  if (p->kind == DHC_OBJ_PANEL) pack(p, from, (float *)(void *)to);
  else memcpy(to, from, (size_t)p->bytes);
  free(rounded);
  return true;
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
    if (p->tag > DHC_TAG_PANEL ? pack_rounded(p, from, blob + p->at) : put_wide(o, p, from, blob + p->at)) continue;
    free(blob);
    return NULL;
  }
  if (sum) put(blob + 24, sum_of(blob + DHC_OBJ_BLOB_HEADER, o->blob_bytes - DHC_OBJ_BLOB_HEADER), 8);
  return blob;
}
