/* safetensors files: 8 bytes little-endian header length, a JSON header that
 * gives every tensor's dtype, shape and byte range, then the bytes. The reader
 * maps the file and validates all of it before anything is handed out: ranges
 * must tile the data area exactly, so there are no holes, no overlap and no
 * bytes that belong to nobody. */
#ifndef DHC_RUNTIME_SAFETENSORS_H
#define DHC_RUNTIME_SAFETENSORS_H

#include "runtime/io.h"
#include "runtime/status.h"
#include "runtime/tensor.h"

typedef struct DhcSafetensors DhcSafetensors;

/* Damaged contents: DHC_E_INPUT, "w.safetensors: error: tensor 'w' is listed
 * twice" (dhc_status_file). */
dhc_status dhc_safetensors_open(const char *path, DhcSafetensors **out) DHC_MUST_USE;
/* The same over bytes that outlive the result; name is used in messages. */
dhc_status dhc_safetensors_from_bytes(const char *name, const void *bytes, size_t n_bytes,
                                      DhcSafetensors **out) DHC_MUST_USE;
/* Weights as they are handed around: a file; an index (NAME.safetensors.index.json) of several, which lie
 * beside it, as if they were one; a folder that holds either; or a GGUF file. Metadata of several files is left out. */
dhc_status dhc_safetensors_open_weights(const char *path, DhcSafetensors **out) DHC_MUST_USE;
void dhc_safetensors_close(DhcSafetensors *s);

const char *dhc_safetensors_path(const DhcSafetensors *s);
/* Tensors in file order (by offset; empty ones where they are listed). Views and
 * their names live as long as s. Data need not be aligned: copy before use as an
 * array (dhc_tensor_convert and memcpy do not mind). */
int32_t dhc_safetensors_count(const DhcSafetensors *s);
const DhcTensorView *dhc_safetensors_at(const DhcSafetensors *s, int32_t index);
/* DHC_E_INPUT with a reason if a view of s has a dtype of -1: the tensor is described, but its
 * elements are of a kind, or its rank is one, that nothing here can hold. */
dhc_status dhc_safetensors_readable(const DhcSafetensors *s, const DhcTensorView *view) DHC_MUST_USE;
/* By name, NULL if there is none. */
const DhcTensorView *dhc_safetensors_find(const DhcSafetensors *s, const char *name);
/* The view of that name, which must have this shape; a dtype of -1 takes any.
 * Errors: "w.safetensors: error: tensor 'fc1.weight' is [10,784], the model
 * needs [784,10]"; a missing name. */
dhc_status dhc_safetensors_need(const DhcSafetensors *s, const char *name, int32_t dtype,
                                int32_t rank, const int64_t *shape,
                                const DhcTensorView **out) DHC_MUST_USE;
/* Whether dhc_safetensors_need has handed out the tensor at this place. */
bool dhc_safetensors_needed(const DhcSafetensors *s, int32_t index);
int32_t dhc_safetensors_meta_count(const DhcSafetensors *s);
/* Value of a metadata key, NULL if absent. */
const char *dhc_safetensors_meta(const DhcSafetensors *s, const char *key);

typedef struct DhcMetaPair {
  const char *key, *value; /* UTF-8 */
} DhcMetaPair;

/* Writes atomically (dhc_file_begin). Tensors are laid out by falling element
 * size, then by name, and the header is padded with spaces to 8 bytes, so that
 * every tensor is aligned to its element and equal contents give equal files.
 * Metadata keys are sorted. Errors: a name twice, a view whose bytes do not
 * match its shape (DHC_E_USAGE); the disk (DHC_E_ENVIRONMENT). */
dhc_status dhc_safetensors_write(const char *path, const DhcTensorView *tensors, int32_t n_tensors,
                                 const DhcMetaPair *meta, int32_t n_meta) DHC_MUST_USE;
/* The same with a seal: metadata seal_key (not among meta) gets the SHA-256 of
 * the whole file in which that value itself reads as 64 zeros. */
dhc_status dhc_safetensors_write_sealed(const char *path, const DhcTensorView *tensors,
                                        int32_t n_tensors, const DhcMetaPair *meta, int32_t n_meta,
                                        const char *seal_key) DHC_MUST_USE;
/* Recomputes the seal. DHC_E_INPUT if it is absent or wrong. */
dhc_status dhc_safetensors_check_seal(const DhcSafetensors *s, const char *seal_key) DHC_MUST_USE;

#endif
