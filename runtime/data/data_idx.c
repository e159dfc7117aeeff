/* IDX files (the MNIST family), plain or gzip: two zero bytes, element type,
 * rank, big-endian sizes, then the elements; unsigned bytes only. Pixels of a plain file stay in it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runtime/data/data_internal.h"

/* A file's promise, checked against what the file can hold. */
typedef struct Idx {
  int32_t rank;
  int64_t shape[4];
  int64_t bytes;
} Idx;

static dhc_status read_header(DhcSource *s, const char *what, int32_t min_rank, int32_t max_rank,
                              Idx *out) {
  uint8_t head[4], sizes[16];
  size_t got;
  *out = (Idx){0};
  DHC_TRY(dhc_source_read(s, head, sizeof head, &got));
  if (got < sizeof head || head[0] != 0 || head[1] != 0) {
    return dhc_status_file(s->path, "is no IDX file");
  }
  if (head[2] != 0x08) {
    return dhc_status_file(s->path, "element type 0x%02x is not supported (only 0x08, bytes)",
                           head[2]);
  }
  if (head[3] < min_rank || head[3] > max_rank) {
    return dhc_status_file(s->path, "has %d dimensions, %s need %d", head[3], what, min_rank);
  }
  out->rank = head[3];
  DHC_TRY(dhc_source_read(s, sizes, (size_t)out->rank * 4, &got));
  if (got < (size_t)out->rank * 4) {
    return dhc_status_file(s->path, "ends inside its header");
  }
  for (int32_t i = 0; i < out->rank; i++) {
    const uint8_t *p = sizes + 4 * i;
    out->shape[i] = (int64_t)p[0] << 24 | (int64_t)p[1] << 16 | (int64_t)p[2] << 8 | p[3];
  }
  if (!dhc_size_tensor(DHC_U8, out->rank, out->shape, NULL, &out->bytes)) {
    return dhc_status_file(s->path, "shape is too large");
  }
  size_t head_bytes = 4 + 4 * (size_t)out->rank;
  uint64_t most = s->gzip ? (uint64_t)s->map.n_bytes * DHC_SOURCE_MAX_RATIO
                          : (uint64_t)(s->map.n_bytes - head_bytes);
  if ((uint64_t)out->bytes > most) {
    char promised[32];
    return dhc_status_file(s->path, "header promises %s of %s, the file %s %llu bytes",
                           dhc_size_text(out->bytes, promised, sizeof promised), what,
                           s->gzip ? "cannot hold more than" : "has", (unsigned long long)most);
  }
  return dhc_status_ok();
}

static dhc_status read_exactly(DhcSource *s, const Idx *idx, const char *what, uint8_t *to,
                               int64_t n) {
  size_t got;
  DHC_TRY(dhc_source_read(s, to, (size_t)n, &got));
  if ((int64_t)got < n) {
    char promised[32];
    return dhc_status_file(s->path, "header promises %s of %s, the data ends before",
                           dhc_size_text(idx->bytes, promised, sizeof promised), what);
  }
  return dhc_status_ok();
}

static dhc_status skip(DhcSource *s, const Idx *idx, const char *what, int64_t n) {
  uint8_t waste[1 << 14];
  while (n > 0) {
    int64_t piece = n < (int64_t)sizeof waste ? n : (int64_t)sizeof waste;
    DHC_TRY(read_exactly(s, idx, what, waste, piece));
    n -= piece;
  }
  return dhc_status_ok();
}

/* The range's examples into `to`, and a look that the file ends where it should. */
static dhc_status read_range(DhcSource *s, const Idx *idx, const char *what, DataRange range,
                             uint8_t *to) {
  int64_t example = idx->shape[0] > 0 ? idx->bytes / idx->shape[0] : 0;
  uint8_t more;
  size_t got;
  DHC_TRY(skip(s, idx, what, range.begin * example));
  DHC_TRY(read_exactly(s, idx, what, to, (range.end - range.begin) * example));
  DHC_TRY(skip(s, idx, what, (idx->shape[0] - range.end) * example));
  DHC_TRY(dhc_source_read(s, &more, 1, &got));
  return got == 0 ? dhc_status_ok()
                  : dhc_status_file(s->path, "has more bytes than its header promises");
}

/* FOLDER/STEM or FOLDER/STEM.gz, whichever is there; plain first. */
static char *find_file(const char *folder, const char *stem) {
  size_t room = strlen(folder) + strlen(stem) + 5;
  char *path = malloc(room);
  if (path != NULL) {
    snprintf(path, room, "%s/%s", folder, stem);
    if (access(path, F_OK) != 0) {
      snprintf(path, room, "%s/%s.gz", folder, stem);
      if (access(path, F_OK) != 0) { /* neither: the plain name makes the better message */
        snprintf(path, room, "%s/%s", folder, stem);
      }
    }
  }
  return path;
}

typedef struct Both {
  DhcSource pixels, classes;
  Idx image;
  DataRange range;
  void *images; /* of a gzip file; NULL: they stay in the mapped one */
  void *labels; /* a byte each */
} Both;

/* Both headers, the range, both bodies. */
static dhc_status read_both(Both *b, const char *spec, DhcSplit split, const DhcDataOptions *options) {
  Idx label;
  DHC_TRY(read_header(&b->pixels, "pixels", 3, 4, &b->image));
  DHC_TRY(read_header(&b->classes, "labels", 1, 1, &label));
  if (label.shape[0] != b->image.shape[0]) {
    return dhc_status_file(b->classes.path, "%lld labels for %lld images", (long long)label.shape[0], (long long)b->image.shape[0]);
  }
  DHC_TRY(dhc_data_range(spec, split, false, options->n_val, b->image.shape[0], &b->range));
  int64_t n = b->range.end - b->range.begin;
  DHC_TRY(dhc_data_block(spec, options, n, 1, &b->labels));
  if (b->pixels.gzip) {
    DHC_TRY(dhc_data_block(spec, options, n, b->image.bytes / b->image.shape[0], &b->images));
    DHC_TRY(read_range(&b->pixels, &b->image, "pixels", b->range, b->images));
  } else if (b->pixels.map.n_bytes - b->pixels.at != (size_t)b->image.bytes) {
    return dhc_status_file(b->pixels.path, "has more bytes than its header promises");
  }
  return read_range(&b->classes, &label, "labels", b->range, b->labels);
}

static void drop_map(void *map) {
  dhc_map_close(map);
  free(map);
}

/* The data set's fields, which take over the images or the file that they are in. */
static dhc_status add_fields(DhcDataOwner *o, Both *b, const char *spec, const DhcDataOptions *options) {
  int64_t n = b->range.end - b->range.begin, rank = b->image.rank;
  int64_t shape[3] = {rank == 4 ? b->image.shape[1] : 1, b->image.shape[rank - 2], b->image.shape[rank - 1]};
  void *labels = NULL;
  DhcMapping *map = malloc(sizeof *map);
  dhc_status st = map != NULL ? dhc_data_block(spec, options, n, (int64_t)sizeof(int64_t), &labels) : dhc_status_memory(64, "a file");
  if (st.code != DHC_OK) {
    free(map);
    return st;
  }
  dhc_tensor_convert(labels, DHC_I64, b->labels, DHC_U8, n);
  for (int64_t i = 0; i < n; i++) {
    int64_t label = ((const uint8_t *)b->labels)[i];
    o->n_classes = label >= o->n_classes ? label + 1 : o->n_classes;
  }
  *map = (DhcMapping){NULL, 0};
  dhc_data_add(o, "image", DHC_U8, 3, shape, b->images);
  if (b->images == NULL) {
    *map = b->pixels.map;
    b->pixels.map = (DhcMapping){NULL, 0};
    o->fields[0].data = map->bytes + b->pixels.at + b->range.begin * o->fields[0].example_bytes;
  }
  b->images = NULL;
  o->reader = (DataReader){.ctx = map, .close = drop_map};
  dhc_data_add(o, "target", DHC_I64, 0, NULL, labels);
  o->n_examples = n;
  return st;
}

dhc_status dhc_data_open_idx(DhcDataOwner *o, const char *spec, const char *path, DhcSplit split,
                             const DhcDataOptions *options) {
  const char *prefix = split == DHC_SPLIT_TEST ? "t10k" : "train";
  char stem[64];
  snprintf(stem, sizeof stem, "%s-images-idx3-ubyte", prefix);
  char *image_path = find_file(path, stem);
  snprintf(stem, sizeof stem, "%s-labels-idx1-ubyte", prefix);
  char *label_path = find_file(path, stem);
  Both b = {.images = NULL};
  dhc_status status = image_path == NULL || label_path == NULL ? dhc_status_memory(64, "a path")
                                                               : dhc_status_ok();
  if (status.code == DHC_OK) {
    status = dhc_source_open(&b.pixels, image_path);
  }
  if (status.code == DHC_OK) {
    status = dhc_source_open(&b.classes, label_path);
  }
  if (status.code == DHC_OK) {
    status = read_both(&b, spec, split, options);
  }
  if (status.code == DHC_OK) {
    status = add_fields(o, &b, spec, options);
  }
  free(b.images);
  free(b.labels);
  dhc_source_close(&b.pixels);
  dhc_source_close(&b.classes);
  free(image_path);
  free(label_path);
  return status;
}
