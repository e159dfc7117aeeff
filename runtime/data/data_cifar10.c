/* CIFAR-10 and CIFAR-100, binary versions: records of one label byte (of CIFAR-100 two, coarse and fine) and 3 × 32 × 32
 * pixels (R, G, B planes, row-major). Examples are read from the mapped files when they are asked for. */
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
  int64_t begin; /* the record that is the first example */
} Files;

static void files_close(void *files) {
  Files *f = files;
  for (int i = 0; i < f->n; i++) {
    dhc_map_close(&f->maps[i]);
    free(f->paths[i]);
  }
  free(f);
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

/* ---- one example; fields are in order of their names ------------------------------------------- */

static int64_t count(const Files *f, int file) {
  return (int64_t)(f->maps[file].n_bytes / ((size_t)f->labels + PIXELS));
}

static const uint8_t *record_of(const Files *f, int64_t i) {
  int file = 0;
  for (i += f->begin; i >= count(f, file); file++) {
    i -= count(f, file);
  }
  return f->maps[file].bytes + i * (f->labels + PIXELS);
}

static void put_label(void *to, int64_t label) {
  if (to != NULL) {
    memcpy(to, &label, sizeof label);
  }
}

static void put_pixels(void *to, const uint8_t *pixels) {
  if (to != NULL) {
    memcpy(to, pixels, PIXELS);
  }
}

static dhc_status read_image(const void *files, int64_t i, void *const *to) {
  const uint8_t *record = record_of(files, i);
  put_pixels(to[0], record + 1);
  put_label(to[1], record[0]);
  return dhc_status_ok();
}

static dhc_status read_of_100(const void *files, int64_t i, void *const *to) {
  const uint8_t *record = record_of(files, i);
  put_label(to[0], record[0]);
  put_pixels(to[1], record + 2);
  put_label(to[2], record[1]);
  return dhc_status_ok();
}

/* Luma (ITU-R BT.601) of every pixel; the label is asked for at the last. */
static dhc_status read_sequence(const void *files, int64_t i, void *const *to) {
  const uint8_t *record = record_of(files, i), *r = record + 1, *g = r + CELLS, *b = g + CELLS;
  int8_t *target = to[0];
  uint8_t *token = to[1];
  for (int k = 0; token != NULL && k < CELLS; k++) {
    token[k] = (uint8_t)((299 * r[k] + 587 * g[k] + 114 * b[k] + 500) / 1000);
  }
  for (int k = 0; target != NULL && k < CELLS; k++) {
    target[k] = k < CELLS - 1 ? -100 : (int8_t)record[0];
  }
  return dhc_status_ok();
}

/* ---- opening ------------------------------------------------------------------------------------ */

static dhc_status check_labels(const char *path, int64_t k, const uint8_t *record, int labels) {
  if (labels == 1) {
    return record[0] < CLASSES ? dhc_status_ok() : dhc_status_file(path, "record %lld: label %d is outside 0..9", (long long)k, record[0]);
  }
  return record[0] < COARSE && record[1] < FINE
             ? dhc_status_ok()
             : dhc_status_file(path, "record %lld: labels %d and %d are outside 0..19 and 0..99", (long long)k, record[0], record[1]);
}

static dhc_status check_records(const Files *f) {
  for (int i = 0; i < f->n; i++) {
    const uint8_t *record = f->maps[i].bytes;
    for (int64_t k = 0; k < count(f, i); k++, record += f->labels + PIXELS) {
      DHC_TRY(check_labels(f->paths[i], k, record, f->labels));
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

/* The split's examples, each of which `read` gives. */
static dhc_status open_split(DhcDataOwner *o, const char *spec, const char *path, DhcSplit split, const DhcDataOptions *options,
                             dhc_status (*read)(const void *, int64_t, void *const *)) {
  Files *files = calloc(1, sizeof *files);
  if (files == NULL) {
    return dhc_status_memory((long long)sizeof *files, "files");
  }
  o->reader = (DataReader){.ctx = files, .read = read, .close = files_close};
  files->labels = read == read_of_100 ? 2 : 1;
  bool single = false;
  DataRange range = {0, 0};
  DHC_TRY(find_files(files, path, split, &single));
  DHC_TRY(dhc_data_range(spec, split, single, options->n_val, files->n_records, &range));
  files->begin = range.begin;
  o->n_examples = range.end - range.begin;
  return check_records(files);
}

dhc_status dhc_data_open_cifar10(DhcDataOwner *o, const char *spec, const char *path,
                                 DhcSplit split, const DhcDataOptions *options) {
  static const int64_t shape[3] = {3, 32, 32};
  DHC_TRY(open_split(o, spec, path, split, options, read_image));
  dhc_data_add_read(o, "image", DHC_U8, 3, shape);
  dhc_data_add_read(o, "target", DHC_I64, 0, NULL);
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
  DHC_TRY(open_split(o, spec, path, split, options, read_of_100));
  dhc_data_add_read(o, "coarse", DHC_I64, 0, NULL);
  dhc_data_add_read(o, "image", DHC_U8, 3, shape);
  dhc_data_add_read(o, "target", DHC_I64, 0, NULL);
  o->n_classes = FINE;
  return dhc_status_ok();
}

dhc_status dhc_data_open_scifar(DhcDataOwner *o, const char *spec, const char *path, DhcSplit split, const DhcDataOptions *options) {
  static const int64_t shape[1] = {CELLS};
  DHC_TRY(open_split(o, spec, path, split, options, read_sequence));
  dhc_data_add_read(o, "target", DHC_I8, 1, shape);
  dhc_data_add_read(o, "tokens", DHC_U8, 1, shape);
  return dhc_status_ok();
}
