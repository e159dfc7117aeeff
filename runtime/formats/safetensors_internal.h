/* The parsed file, shared by safetensors.c (reading) and safetensors_json.c. */
#ifndef DHC_RUNTIME_SAFETENSORS_INTERNAL_H
#define DHC_RUNTIME_SAFETENSORS_INTERNAL_H

#include "runtime/formats/safetensors.h"

enum { DHC_SAFETENSORS_MAX_HEADER = 100000000, DHC_SAFETENSORS_MAX_DEPTH = 8 };

typedef struct StTensor {
  DhcTensorView view;
  char dtype_text[16]; /* "F32"; as written, cut */
  uint64_t begin, end; /* in the data area, as the header says */
  bool shape_fits;     /* rank and dims can be represented; else shape is cut */
  int32_t order;       /* place in the header */
} StTensor;

typedef struct StMeta {
  const char *key, *value;
  size_t value_at; /* byte offset of the value's text in the header, after the quote */
  size_t value_raw_bytes;
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
};

/* Parses the header text into tensors and meta, in the order of the text. What
 * the JSON grammar or the format's fixed shape forbids is refused with the byte
 * offset in the header. */
dhc_status dhc_safetensors_parse_header(DhcSafetensors *s) DHC_MUST_USE;

#endif
