/* The parsed file, shared by safetensors.c (reading) and safetensors_json.c. */
#ifndef DHC_RUNTIME_SAFETENSORS_INTERNAL_H
#define DHC_RUNTIME_SAFETENSORS_INTERNAL_H

#include "runtime/formats/safetensors.h"

enum { DHC_SAFETENSORS_MAX_HEADER = 100000000, DHC_SAFETENSORS_MAX_DEPTH = 127 };

typedef struct StTensor {
  DhcTensorView view; /* first: readers go back from it to what is beside it */
  const char *path;   /* of its file */
  bool needed;        /* dhc_safetensors_need has handed it out */
  char dtype_text[16]; /* "F32"; as written, cut */
  uint64_t begin, end; /* in the data area, as the header says */
  int32_t n_dims;      /* may be above DHC_TENSOR_MAX_RANK, then view.rank is 0 and view.dtype -1 */
  bool shape_fits;     /* n_elements fits in 63 bits (and every dimension, beside a 0) */
  int64_t n_elements;
  int32_t bits;        /* of an element */
  bool opaque;         /* the dtype has no counterpart here */
  int32_t order;       /* place in the header */
} StTensor;

typedef struct StMeta {
  const char *key, *value;
  size_t value_at; /* byte offset of the value's text in the header, after the quote */
  size_t value_raw_bytes;
  int32_t order; /* place in the header: of equal keys the last counts */
} StMeta;

struct DhcSafetensors {
  char *path;
  DhcMapping map; /* empty if the bytes are somebody else's */
  const uint8_t *bytes;
  size_t n_bytes;
  size_t header_bytes;
  char *strings; /* all decoded names and metadata */
  StTensor *tensors; /* in file order once open */
  int32_t n_tensors, cap_tensors;
  int32_t *by_name; /* permutation of tensors */
  StMeta *meta;     /* by key once open */
  int32_t n_meta, cap_meta;
  DhcSafetensors **shards; /* of a checkpoint in several files: who owns names and bytes */
  int32_t n_shards;
};

/* Parses the header text into tensors and meta, in the order of the text. What
 * the JSON grammar or the format's fixed shape forbids is refused with the byte
 * offset in the header; view.bytes, view.data and the dtype are still to be set. */
dhc_status dhc_safetensors_parse_header(DhcSafetensors *s) DHC_MUST_USE;
/* Parses all of s->bytes as an index ({"weight_map": {TENSOR: FILE, …}, …}) into s->meta: key the
 * tensor's name, value its file's. */
dhc_status dhc_safetensors_parse_index(DhcSafetensors *s) DHC_MUST_USE;
/* Makes by_name of tensors; refuses a name that is there twice. */
dhc_status dhc_safetensors_index_names(DhcSafetensors *s) DHC_MUST_USE;
/* For qsort: by where tensors lie, then by their order in the header. */
int dhc_safetensors_by_place(const void *a, const void *b);
/* What was made of a mapping keeps it; else it is closed. */
dhc_status dhc_safetensors_keep(DhcMapping map, dhc_status made, DhcSafetensors **out) DHC_MUST_USE;

#endif
