/* What the readers of data sets share. */
#ifndef DHC_RUNTIME_DATA_INTERNAL_H
#define DHC_RUNTIME_DATA_INTERNAL_H

#include <zlib.h>

#include "runtime/data/data.h"
#include "runtime/io.h"
#include "runtime/formats/npy.h"

enum { DATA_MAX_FIELDS = 64 };

/* What a source reads when it is asked for: fields without data. */
typedef struct DataReader {
  void *ctx;
  /* Example i into to[f], where that is not NULL, for each field f without data. By any number of threads. */
  dhc_status (*read)(const void *ctx, int64_t i, void *const *to);
  void (*close)(void *ctx);
  bool dear; /* worth keeping what was read, where there is memory for it */
} DataReader;

/* Examples that were read, those numbered below n. */
typedef struct DataKept DataKept;

/* Everything a data set owns. */
typedef struct DhcDataOwner {
  DhcField *fields;
  int32_t n_fields, cap_fields;
  char **names;   /* cap_fields of them, NULL where the name is static */
  char *given[DATA_MAX_FIELDS]; /* names of the spec's */
  int32_t n_given;
  void **blocks;  /* cap_fields of them, NULL where data lies in maps */
  DhcNpy *maps;   /* cap_fields of them */
  void *text; /* what a source holds beside its fields */
  int64_t text_bytes;
  int64_t n_examples;
  int64_t n_classes;
  char **classes; /* n_classes names, or NULL */
  DataReader reader; /* NULL: all fields have data */
  DataKept *kept;    /* NULL: none are */
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

/* Adds a field that the reader gives. */
void dhc_data_add_read(DhcDataOwner *o, const char *static_name, int32_t dtype, int32_t rank, const int64_t *shape);

/* ---- what is read, and kept (data_read.c) ---- */

/* An error once a signal has asked to stop: for what looks through a source while it is opened. */
dhc_status dhc_data_stopped(void);

/* Memory for as many of the o->n_examples as fit into max_bytes (0: all); NULL where none does. */
dhc_status dhc_data_keep(const DhcDataOwner *o, int64_t max_bytes, DataKept **out) DHC_MUST_USE;
int64_t dhc_data_kept_bytes(const DataKept *k);
void dhc_data_kept_free(DataKept *k);

/* ---- batches read ahead (ahead.c) ---- */

typedef struct DhcAhead DhcAhead;
dhc_status dhc_ahead_new(const DhcDataset *d, const DhcBatchOptions *options, DhcAhead **out) DHC_MUST_USE;
/* Waits for what its threads are reading. */
void dhc_ahead_free(DhcAhead *a);
/* The batch of n examples that begins at a position: the next one in order, or any other after a jump. */
dhc_status dhc_ahead_take(DhcAhead *a, DhcDataPosition at, void *const *dst, int64_t n) DHC_MUST_USE;

/* ---- windows of tokens (data_windows.c) ---- */

/* "FILE@LENGTH": the file's name, owned by the caller, also after an error, and the length of a window, the usual one where
 * none is given; an @ that no number follows is part of the name. */
typedef struct DataWindowSpec {
  char *file;
  int64_t length;
  bool given;
} DataWindowSpec;
enum { DATA_MAX_WINDOW = 1 << 20 };
dhc_status dhc_data_window(const char *spec, const char *path, DataWindowSpec *out) DHC_MUST_USE;

/* n windows of `length` tokens and the one behind, `step` apart; `as`: their type in the examples. */
typedef struct DataWindows {
  const void *data;
  int32_t dtype, as;
  int64_t n, length, step;
} DataWindows;
/* Those of a range become the examples: "tokens" and, one further, "target", read when they are asked for. w->data live as long
 * as the owner. */
dhc_status dhc_data_cut(DhcDataOwner *o, const DataWindows *w, DataRange range) DHC_MUST_USE;

/* ---- files, plain or gzip (data_source.c) ---- */

typedef struct DhcSource {
  const char *path;
  DhcMapping map;
  bool gzip;
  z_stream z;
  size_t at; /* plain: next byte; gzip: bytes given to zlib */
} DhcSource;
/* Deflate stores at most this many bytes a byte (zlib's technical notes). */
enum { DHC_SOURCE_MAX_RATIO = 1032 };
/* path is borrowed. */
dhc_status dhc_source_open(DhcSource *s, const char *path) DHC_MUST_USE;
void dhc_source_close(DhcSource *s);
/* Up to n bytes; *got < n only at the end of the data. */
dhc_status dhc_source_read(DhcSource *s, uint8_t *to, size_t n, size_t *got) DHC_MUST_USE;

/* ---- readers ---- */

dhc_status dhc_data_open_cifar10(DhcDataOwner *o, const char *spec, const char *path,
                                 DhcSplit split, const DhcDataOptions *options) DHC_MUST_USE;
/* DIR/train.bin and DIR/test.bin: field "target" is the fine label, "coarse" the coarse one. */
dhc_status dhc_data_open_cifar100(DhcDataOwner *o, const char *spec, const char *path, DhcSplit split, const DhcDataOptions *options) DHC_MUST_USE;
/* Columns of a file with a header (data_csv.c). */
dhc_status dhc_data_open_csv(DhcDataOwner *o, const char *spec, const char *path, DhcSplit split, const DhcDataOptions *options) DHC_MUST_USE;
/* The files of CIFAR-10, every image as its 1,024 pixels from left to right and top to bottom. */
dhc_status dhc_data_open_scifar(DhcDataOwner *o, const char *spec, const char *path, DhcSplit split,
                                const DhcDataOptions *options) DHC_MUST_USE;
dhc_status dhc_data_open_hdf5(DhcDataOwner *o, const char *spec, const char *path, DhcSplit split, const DhcDataOptions *options) DHC_MUST_USE;
dhc_status dhc_data_open_images(DhcDataOwner *o, const char *spec, const char *path, DhcSplit split,
                                const DhcDataOptions *options) DHC_MUST_USE;
dhc_status dhc_data_open_synth(DhcDataOwner *o, const char *spec, const char *path, DhcSplit split,
                               const DhcDataOptions *options) DHC_MUST_USE;
dhc_status dhc_data_open_tokens(DhcDataOwner *o, const char *spec, const char *path, DhcSplit split,
                                const DhcDataOptions *options) DHC_MUST_USE;
dhc_status dhc_data_open_idx(DhcDataOwner *o, const char *spec, const char *path, DhcSplit split,
                             const DhcDataOptions *options) DHC_MUST_USE;
dhc_status dhc_data_open_npy(DhcDataOwner *o, const char *spec, const char *path, DhcSplit split,
                             const DhcDataOptions *options) DHC_MUST_USE;
dhc_status dhc_data_open_text(DhcDataOwner *o, const char *spec, const char *path, DhcSplit split,
                              const DhcDataOptions *options) DHC_MUST_USE;

#endif
