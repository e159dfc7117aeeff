/* What the readers of data sets share. */
#ifndef DHC_RUNTIME_DATA_INTERNAL_H
#define DHC_RUNTIME_DATA_INTERNAL_H

#include "runtime/data.h"
#include "runtime/npy.h"

/* Everything a data set owns. */
typedef struct DhcDataOwner {
  DhcField *fields;
  int32_t n_fields, cap_fields;
  char **names;   /* cap_fields of them, NULL where the name is static */
  void **blocks;  /* cap_fields of them, NULL where data lies in maps */
  DhcNpy *maps;   /* cap_fields of them */
  int64_t n_examples;
  int64_t n_classes;
} DhcDataOwner;

/* Which part of a source's examples a split is: [begin, end). */
typedef struct DataRange {
  int64_t begin, end;
} DataRange;
/* of all `n` examples of the files that were opened; val and train share files
 * unless own_val. */
dhc_status dhc_data_range(const char *spec, DhcSplit split, bool own_val, int64_t n_val, int64_t n,
                          DataRange *out) DHC_MUST_USE;
/* Memory for a field's examples, against options->max_bytes. */
dhc_status dhc_data_block(const char *spec, const DhcDataOptions *options, int64_t n,
                          int64_t example_bytes, void **out) DHC_MUST_USE;
/* Adds a field over a block, which the owner takes over. */
void dhc_data_add(DhcDataOwner *o, const char *static_name, int32_t dtype, int32_t rank,
                  const int64_t *shape, void *block);

dhc_status dhc_data_open_cifar10(DhcDataOwner *o, const char *spec, const char *path,
                                 DhcSplit split, const DhcDataOptions *options) DHC_MUST_USE;
dhc_status dhc_data_open_idx(DhcDataOwner *o, const char *spec, const char *path, DhcSplit split,
                             const DhcDataOptions *options) DHC_MUST_USE;
dhc_status dhc_data_open_npy(DhcDataOwner *o, const char *spec, const char *path, DhcSplit split,
                             const DhcDataOptions *options) DHC_MUST_USE;

#endif
