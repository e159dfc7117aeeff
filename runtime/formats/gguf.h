/* GGUF files, read for weights: a file like any of safetensors, without metadata. */
#ifndef DHC_RUNTIME_GGUF_H
#define DHC_RUNTIME_GGUF_H

#include "runtime/formats/safetensors.h"

/* Whether bytes begin as such a file does. */
bool dhc_gguf_begins(const void *bytes, size_t n_bytes);
/* Over bytes, which begin so and outlive the result; name is used in messages. */
dhc_status dhc_gguf_from_bytes(const char *name, const void *bytes, size_t n_bytes, DhcSafetensors **out) DHC_MUST_USE;

#endif
