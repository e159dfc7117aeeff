/* What a file is that is not of the kind that was expected: for messages. */
#ifndef DHC_RUNTIME_RECOGNISE_H
#define DHC_RUNTIME_RECOGNISE_H

#include <stddef.h>
#include <stdint.h>

/* "gzip data; unpack it first (gunzip)": what the bytes look like and what to do about it, or NULL
 * where they look like nothing known. */
const char *dhc_recognise(const uint8_t *bytes, size_t n_bytes);

#endif
