/* What the store keeps for a kernel: its classes and the linkable bytes, in one piece. */
#ifndef DHC_BACKENDS_PAYLOAD_H
#define DHC_BACKENDS_PAYLOAD_H

#include "dhc/abi.h"
#include "ir/arena.h"

/* Layout, little endian: u32 magic, u32 number of classes; per class the words of
 * its programs, each as i64 count and i64 words; the spec's text as i64 count of bytes and these,
 * zeros up to the next multiple of 8 (it says what the kernel computes, to whoever asks; nothing
 * runs by it); then the object. fn is not part of it. Returns the bytes in the arena. */
uint8_t *dhc_payload_write(DhcArena *arena, const dhc_kernel_class *classes, int n, const char *text,
                           const char *object, size_t n_object, size_t *n_bytes);
/* The spec's text, in the arena; NULL if the bytes are no payload. */
const char *dhc_payload_text(DhcArena *arena, const uint8_t *bytes, size_t n_bytes);
/* False if the bytes are no payload; classes' programs are copied into the arena, *object
 * points into bytes. */
bool dhc_payload_read(DhcArena *arena, const uint8_t *bytes, size_t n_bytes,
                      dhc_kernel_class *classes, int *n, const char **object, size_t *n_object);

#endif
