/* The constants of an object as bytes: a header, then what entries read (docs/abi.md). */
#include <stdlib.h>

#include "backends/object/object.h"
#include "runtime/image.h"

static void put(uint8_t *to, uint64_t v, int n) {
  for (int i = 0; i < n; i++) to[i] = (uint8_t)(v >> 8 * i);
}

static void pack(const DhcObjPiece *p, const float *from, float *to) {
  dhc_panel x = {.width = p->width, .matrices = p->matrices, .rows = p->rows, .cols = p->cols};
  for (int64_t k = 0; k < p->matrices; k++)
    dhc_panel_pack(&x, from + k * p->rows * p->cols, to + k * dhc_panel_elements(&x));
}

uint8_t *dhc_object_blob(const DhcObject *o, DhcObjValues values, void *ctx) {
  uint8_t *blob = calloc(1, (size_t)o->blob_bytes + 64);
  if (!blob) return NULL;
  memcpy(blob, "DHCW", 4);
  put(blob + 4, DHC_OBJECT_ABI, 4);
  put(blob + 8, o->blob_id, 8);
  put(blob + 16, (uint64_t)o->blob_bytes, 8);
  for (int i = 0; i < o->pieces.n; i++) {
    const DhcObjPiece *p = &o->pieces.at[i];
    if (p->kind == DHC_OBJ_SCALAR) {
      dhc_tensor_convert(blob + p->at, p->scalar->dtype, &p->scalar->value, DHC_F64, 1);
      continue;
    }
    const void *from = values(ctx, p->slot);
    if (p->kind == DHC_OBJ_PANEL) pack(p, from, (float *)(void *)(blob + p->at));
    else memcpy(blob + p->at, from, (size_t)p->bytes);
  }
  return blob;
}
