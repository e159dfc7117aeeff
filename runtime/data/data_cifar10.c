/* CIFAR-10 and CIFAR-100, binary versions: records of one label byte (of CIFAR-100 two, coarse and fine) and 3 × 32 × 32
 * pixels (R, G, B planes, row-major). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "runtime/data/data_internal.h"

enum { CELLS = 32 * 32, PIXELS = 3 * CELLS, CLASSES = 10, FINE = 100, COARSE = 20, MAX_FILES = 5 };

typedef struct Files {
  char *paths[MAX_FILES];
  DhcMapping maps[MAX_FILES];
  int n;
  int64_t n_records;
  int labels; /* bytes of a record before its pixels */
} Files;

static void files_close(Files *f) {
  for (int i = 0; i < f->n; i++) {
    dhc_map_close(&f->maps[i]);
    free(f->paths[i]);
  }
}

static dhc_status add_file(Files *f, const char *folder, const char *name) {
  size_t room = strlen(folder) + strlen(name) + 2;
  char *path = malloc(room);
  if (path == NULL) {
    return dhc_status_memory((long long)room, "a path");
  }
  snprintf(path, room, *name != '\0' ? "%s/%s" : "%s%s", folder, name);
  dhc_status status = dhc_map_open(path, &f->maps[f->n]);
  if (status.code != DHC_OK) {
    free(path);
    return status;
  }
  size_t n_bytes = f->maps[f->n].n_bytes, record = (size_t)f->labels + PIXELS;
  f->paths[f->n++] = path;
  if (n_bytes == 0 || n_bytes % record != 0) {
    return n_bytes == 0 ? dhc_status_file(path, "is empty")
                        : dhc_status_file(path, "size %zu is not a multiple of %zu", n_bytes, record);
  }
  f->n_records += (int64_t)(n_bytes / record);
  return dhc_status_ok();
}

/* What becomes of record i of the split. */
typedef struct Sink {
  void *inputs, *labels;
  void *coarse; /* of CIFAR-100 */
  void (*put)(const struct Sink *to, int64_t i, const uint8_t *record);
} Sink;

static void put_image(const Sink *to, int64_t i, const uint8_t *record) {
  ((int64_t *)to->labels)[i] = record[0];
  memcpy((uint8_t *)to->inputs + i * PIXELS, record + 1, PIXELS);
}

static void put_of_100(const Sink *to, int64_t i, const uint8_t *record) {
  ((int64_t *)to->coarse)[i] = record[0];
  put_image(to, i, record + 1);
}

/* Luma (ITU-R BT.601) of every pixel; the label is asked for at the last. */
static void put_sequence(const Sink *to, int64_t i, const uint8_t *record) {
  const uint8_t *r = record + 1, *g = r + CELLS, *b = g + CELLS;
  uint8_t *token = (uint8_t *)to->inputs + i * CELLS;
  int8_t *target = (int8_t *)to->labels + i * CELLS;
  for (int k = 0; k < CELLS; k++) {
    token[k] = (uint8_t)((299 * r[k] + 587 * g[k] + 114 * b[k] + 500) / 1000);
    target[k] = -100;
  }
  target[CELLS - 1] = (int8_t)record[0];
}

static dhc_status check_labels(const char *path, int64_t k, const uint8_t *record, int labels) {
  if (labels == 1) {
    return record[0] < CLASSES ? dhc_status_ok() : dhc_status_file(path, "record %lld: label %d is outside 0..9", (long long)k, record[0]);
  }
  return record[0] < COARSE && record[1] < FINE
             ? dhc_status_ok()
             : dhc_status_file(path, "record %lld: labels %d and %d are outside 0..19 and 0..99", (long long)k, record[0], record[1]);
}

/* Takes the records of the range; every label is checked, wanted or not. */
static dhc_status unpack(const Files *f, DataRange range, const Sink *to) {
  int64_t index = 0;
  for (int i = 0; i < f->n; i++) {
    int64_t n = (int64_t)(f->maps[i].n_bytes / ((size_t)f->labels + PIXELS));
    const uint8_t *record = f->maps[i].bytes;
    for (int64_t k = 0; k < n; k++, index++, record += f->labels + PIXELS) {
      DHC_TRY(check_labels(f->paths[i], k, record, f->labels));
      if (index >= range.begin && index < range.end) {
        to->put(to, index - range.begin, record);
      }
    }
  }
  return dhc_status_ok();
}

static dhc_status find_files(Files *f, const char *path, DhcSplit split, bool *single) {
  struct stat st;
  *single = stat(path, &st) == 0 && !S_ISDIR(st.st_mode);
  if (*single) {
    return add_file(f, path, "");
  }
  if (f->labels == 2) {
    return add_file(f, path, split == DHC_SPLIT_TEST ? "test.bin" : "train.bin");
  }
  if (split == DHC_SPLIT_TEST) {
    return add_file(f, path, "test_batch.bin");
  }
  for (int i = 1; i <= MAX_FILES; i++) {
    char name[32];
    snprintf(name, sizeof name, "data_batch_%d.bin", i);
    DHC_TRY(add_file(f, path, name));
  }
  return dhc_status_ok();
}

/* *n examples of the split into what `sink` has room for: input_bytes and label_bytes of each. */
static dhc_status read_split(const char *spec, const char *path, DhcSplit split, const DhcDataOptions *options, int64_t input_bytes,
                             int64_t label_bytes, Sink *sink, int64_t *n) {
  Files files = {.labels = sink->put == put_of_100 ? 2 : 1};
  bool single = false;
  DataRange range = {0, 0};
  dhc_status status = find_files(&files, path, split, &single);
  if (status.code == DHC_OK) {
    status = dhc_data_range(spec, split, single, options->n_val, files.n_records, &range);
  }
  *n = range.end - range.begin;
  if (status.code == DHC_OK) {
    status = dhc_data_block(spec, options, *n, input_bytes, &sink->inputs);
  }
  if (status.code == DHC_OK) {
    status = dhc_data_block(spec, options, *n, label_bytes, &sink->labels);
  }
  if (status.code == DHC_OK && files.labels == 2) {
    status = dhc_data_block(spec, options, *n, label_bytes, &sink->coarse);
  }
  if (status.code == DHC_OK) {
    status = unpack(&files, range, sink);
  }
  files_close(&files);
  if (status.code != DHC_OK) {
    free(sink->inputs);
    free(sink->labels);
    free(sink->coarse);
  }
  return status;
}

dhc_status dhc_data_open_cifar10(DhcDataOwner *o, const char *spec, const char *path,
                                 DhcSplit split, const DhcDataOptions *options) {
  static const int64_t shape[3] = {3, 32, 32};
  Sink sink = {.put = put_image};
  DHC_TRY(read_split(spec, path, split, options, PIXELS, (int64_t)sizeof(int64_t), &sink, &o->n_examples));
  dhc_data_add(o, "image", DHC_U8, 3, shape, sink.inputs);
  dhc_data_add(o, "target", DHC_I64, 0, NULL, sink.labels);
  static const char *const names[CLASSES] = {"airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"};
  o->classes = calloc(CLASSES, sizeof *o->classes);
  o->n_classes = CLASSES;
  bool memory = o->classes != NULL;
  for (int i = 0; memory && i < CLASSES; i++) {
    memory = (o->classes[i] = strdup(names[i])) != NULL;
  }
  return memory ? dhc_status_ok() : dhc_status_memory(256, "names of classes");
}

dhc_status dhc_data_open_cifar100(DhcDataOwner *o, const char *spec, const char *path, DhcSplit split, const DhcDataOptions *options) {
  static const int64_t shape[3] = {3, 32, 32};
  Sink sink = {.put = put_of_100};
  DHC_TRY(read_split(spec, path, split, options, PIXELS, (int64_t)sizeof(int64_t), &sink, &o->n_examples));
  dhc_data_add(o, "coarse", DHC_I64, 0, NULL, sink.coarse);
  dhc_data_add(o, "image", DHC_U8, 3, shape, sink.inputs);
  dhc_data_add(o, "target", DHC_I64, 0, NULL, sink.labels);
  o->n_classes = FINE;
  return dhc_status_ok();
}

dhc_status dhc_data_open_scifar(DhcDataOwner *o, const char *spec, const char *path, DhcSplit split, const DhcDataOptions *options) {
  static const int64_t shape[1] = {CELLS};
  Sink sink = {.put = put_sequence};
  DHC_TRY(read_split(spec, path, split, options, CELLS, CELLS, &sink, &o->n_examples));
  dhc_data_add(o, "target", DHC_I8, 1, shape, sink.labels);
  dhc_data_add(o, "tokens", DHC_U8, 1, shape, sink.inputs);
  return dhc_status_ok();
}
