#include "runtime/data/data.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "runtime/data/data_internal.h"

static const char word_letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_";

const char *dhc_split_name(DhcSplit split) {
  static const char *const names[] = {"train", "val", "test"};
  return names[split];
}

dhc_status dhc_data_range(const char *spec, DhcSplit split, bool own_val, int64_t n_val, int64_t n,
                          DataRange *out) {
  *out = (DataRange){.begin = 0, .end = n};
  if (split == DHC_SPLIT_TEST || own_val) {
    n_val = 0;
  } else if (split == DHC_SPLIT_VAL && n_val <= 0) {
    return dhc_status_make(DHC_E_INPUT,
                           "%s has no validation files; say how many training examples to hold out",
                           spec);
  } else if (n_val < 0 || (n_val > 0 && n_val >= n)) {
    return dhc_status_make(DHC_E_INPUT, "%s: cannot hold out %lld of %lld examples", spec,
                           (long long)n_val, (long long)n);
  }
  if (split == DHC_SPLIT_VAL && !own_val) {
    out->begin = n - n_val;
  } else {
    out->end = n - n_val;
  }
  return out->end > out->begin
             ? dhc_status_ok()
             : dhc_status_make(DHC_E_INPUT, "%s: has no %s examples", spec, dhc_split_name(split));
}

dhc_status dhc_data_block(const char *spec, const DhcDataOptions *options, int64_t n,
                          int64_t example_bytes, void **out) {
  int64_t bytes;
  char needs[32], limit[32];
  if (!dhc_size_mul(n, example_bytes, &bytes)) {
    bytes = INT64_MAX; /* more than there is, too */
  }
  if (options->max_bytes > 0 && bytes > options->max_bytes) {
    return dhc_status_make(DHC_E_INPUT, "%s: data needs %s, limit is %s (--max-memory)", spec,
                           dhc_size_text(bytes, needs, sizeof needs),
                           dhc_size_text(options->max_bytes, limit, sizeof limit));
  }
  /* Not touched before it is filled: a header's lie costs address space only. */
  *out = malloc(bytes > 0 ? (size_t)bytes : 1);
  return *out != NULL ? dhc_status_ok() : dhc_status_memory(bytes, spec);
}

void dhc_data_add_read(DhcDataOwner *o, const char *static_name, int32_t dtype, int32_t rank, const int64_t *shape) {
  DhcField *f = &o->fields[o->n_fields++];
  *f = (DhcField){.name = static_name, .dtype = dtype, .rank = rank};
  f->example_bytes = dhc_tensor_dtype_bytes(dtype);
  for (int32_t i = 0; i < rank; i++) {
    f->shape[i] = shape[i];
    f->example_bytes *= shape[i];
  }
}

void dhc_data_add(DhcDataOwner *o, const char *static_name, int32_t dtype, int32_t rank,
                  const int64_t *shape, void *block) {
  dhc_data_add_read(o, static_name, dtype, rank, shape);
  o->fields[o->n_fields - 1].data = block;
  o->blocks[o->n_fields - 1] = block;
}

/* How long the next "NAME=FIELD," of a spec is; 0: the source comes next. */
static size_t renaming(const char *spec) {
  size_t name = strspn(spec, word_letters), field = spec[name] == '=' ? strspn(spec + name + 1, word_letters) : 0;
  return name > 0 && field > 0 && spec[name + 1 + field] == ',' ? name + field + 2 : 0;
}

static const char *source_of(const char *spec) {
  for (size_t n; (n = renaming(spec)) > 0;) {
    spec += n;
  }
  return spec;
}

bool dhc_data_may_have_val(const char *spec) {
  spec = source_of(spec);
  return strncmp(spec, "npy:", 4) == 0 || strncmp(spec, "csv:", 4) == 0 || strncmp(spec, "hdf5:", 5) == 0 || strncmp(spec, "images:", 7) == 0 || strncmp(spec, "synth:", 6) == 0;
}

static void owner_free(DhcDataOwner *o) {
  dhc_data_kept_free(o->kept);
  if (o->reader.close != NULL) {
    o->reader.close(o->reader.ctx);
  }
  for (int32_t i = 0; i < o->cap_fields; i++) {
    if (o->names != NULL) {
      free(o->names[i]);
    }
    if (o->blocks != NULL) {
      free(o->blocks[i]);
    }
    if (o->maps != NULL) {
      dhc_npy_close(&o->maps[i]);
    }
  }
  for (int64_t i = 0; o->classes != NULL && i < o->n_classes; i++) {
    free(o->classes[i]);
  }
  for (int32_t i = 0; i < o->n_given; i++) {
    free(o->given[i]);
  }
  free(o->classes);
  free(o->text);
  free(o->names);
  free(o->blocks);
  free(o->maps);
  free(o->fields);
  free(o);
}

static DhcDataOwner *owner_new(int32_t cap_fields) {
  DhcDataOwner *o = calloc(1, sizeof *o);
  if (o == NULL) {
    return NULL;
  }
  size_t n = (size_t)cap_fields;
  o->cap_fields = cap_fields;
  o->fields = calloc(n, sizeof *o->fields);
  o->names = calloc(n, sizeof *o->names);
  o->blocks = calloc(n, sizeof *o->blocks);
  o->maps = calloc(n, sizeof *o->maps);
  if (o->fields == NULL || o->names == NULL || o->blocks == NULL || o->maps == NULL) {
    owner_free(o);
    return NULL;
  }
  return o;
}

/* ---- opening ------------------------------------------------------------------- */

static const struct {
  const char *prefix;
  dhc_status (*open)(DhcDataOwner *, const char *, const char *, DhcSplit, const DhcDataOptions *);
} sources[] = {{"cifar10:", dhc_data_open_cifar10},
               {"cifar100:", dhc_data_open_cifar100},
               {"csv:", dhc_data_open_csv},
               {"hdf5:", dhc_data_open_hdf5},
               {"idx:", dhc_data_open_idx},
               {"images:", dhc_data_open_images},
               {"mnist:", dhc_data_open_idx},
               {"npy:", dhc_data_open_npy},
               {"text:", dhc_data_open_text},
               {"tokens:", dhc_data_open_tokens},
               {"scifar:", dhc_data_open_scifar},
               {"synth:", dhc_data_open_synth}};

/* Blocks count, and what is kept of a reader's examples and beside them; mapped files do not: their pages go when others need the memory. */
static void describe(DhcDataOwner *o, DhcDataset *d) {
  *d = (DhcDataset){.n_examples = o->n_examples, .n_fields = o->n_fields, .fields = o->fields, .n_classes = o->n_classes,
                    .classes = (const char *const *)o->classes, .bytes = dhc_data_kept_bytes(o->kept) + o->text_bytes, .owner = o};
  for (int32_t i = 0; i < o->n_fields; i++) {
    int64_t bytes = 0;
    if (o->blocks[i] != NULL && (!dhc_size_mul(o->n_examples, o->fields[i].example_bytes, &bytes) || !dhc_size_add(d->bytes, bytes, &bytes))) {
      bytes = INT64_MAX;
    }
    d->bytes = o->blocks[i] != NULL ? bytes : d->bytes;
    d->from_files = d->from_files || o->blocks[i] == NULL;
  }
}

/* The source that a path by itself looks like; NULL: none. */
static const char *looks_like(const char *path) {
  static const char *const ends[][2] = {{".csv", "csv"}, {".tsv", "csv"}, {".txt", "text"}, {".h5", "hdf5"}, {".hdf5", "hdf5"}, {".npy", "tokens"}};
  struct stat st;
  size_t n = strlen(path);
  for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
    size_t m = strlen(ends[i][0]);
    if (n > m && strcmp(path + n - m, ends[i][0]) == 0) {
      return ends[i][1];
    }
  }
  return stat(path, &st) == 0 && S_ISDIR(st.st_mode) ? "images" : NULL;
}

/* The source whose name the spec's is the beginning of, or that is the beginning of it ("image:", "text_file:"); NULL: none. */
static const char *meant(const char *spec) {
  const size_t n = strcspn(spec, ":");
  for (size_t k = 0; spec[n] == ':' && n > 2 && k < sizeof sources / sizeof sources[0]; k++) {
    const size_t m = strlen(sources[k].prefix) - 1;
    if (strncasecmp(spec, sources[k].prefix, n < m ? n : m) == 0) {
      return sources[k].prefix;
    }
  }
  return NULL;
}

/* What a spec's "NAME=FIELD," say: names, by the field that gets one; fields are called as their source calls them. */
typedef struct Renaming {
  const char *own[DATA_MAX_FIELDS];   /* by field */
  const char *given[DATA_MAX_FIELDS]; /* by field; NULL: none */
} Renaming;

static bool is_word(const char *name, const char *word, size_t n) {
  return strlen(name) == n && strncmp(name, word, n) == 0;
}

/* The first "NAME=FIELD," of a spec. */
static dhc_status read_renaming(DhcDataOwner *o, const char *spec, Renaming *r) {
  const size_t name = strspn(spec, word_letters), field = strspn(spec + name + 1, word_letters);
  int32_t at = -1;
  for (int32_t i = 0; i < o->n_fields; i++) {
    at = is_word(r->own[i], spec + name + 1, field) ? i : at;
    if (r->given[i] != NULL && is_word(r->given[i], spec, name)) {
      return dhc_status_make(DHC_E_USAGE, "data '%s': two fields are to be called '%.*s'", spec, (int)name, spec);
    }
  }
  if (at < 0) {
    return dhc_status_make(DHC_E_USAGE, "data '%s': has no field '%.*s'", spec, (int)field, spec + name + 1);
  }
  if (r->given[at] != NULL) {
    return dhc_status_make(DHC_E_USAGE, "data '%s': field '%s' gets two names", spec, r->own[at]);
  }
  char *given = strndup(spec, name);
  if (given == NULL) {
    return dhc_status_memory((long long)name, "a name");
  }
  r->given[at] = o->given[o->n_given++] = given;
  return dhc_status_ok();
}

/* Of a field that gets no name: its own, or if another field got that, what is free of that one's. */
static const char *name_left(const Renaming *r, int32_t n_fields, const char *own) {
  for (int32_t i = 0; i < n_fields; i++) {
    if (r->given[i] != NULL && strcmp(r->given[i], own) == 0) {
      return name_left(r, n_fields, r->own[i]);
    }
  }
  return own;
}

static dhc_status rename_fields(DhcDataOwner *o, const char *spec) {
  Renaming r = {0};
  for (int32_t i = 0; i < o->n_fields; i++) {
    r.own[i] = o->fields[i].name;
  }
  for (size_t n; (n = renaming(spec)) > 0; spec += n) {
    DHC_TRY(read_renaming(o, spec, &r)); /* at most one name a field */
  }
  for (int32_t i = 0; i < o->n_fields; i++) {
    o->fields[i].name = r.given[i] != NULL ? r.given[i] : name_left(&r, o->n_fields, r.own[i]);
  }
  return dhc_status_ok();
}

dhc_status dhc_dataset_open(const char *all, DhcSplit split, const DhcDataOptions *options,
                            DhcDataset **out) {
  const char *spec = source_of(all);
  static const DhcDataOptions defaults = {0};
  size_t k = 0, n_sources = sizeof sources / sizeof sources[0];
  while (k < n_sources && strncmp(spec, sources[k].prefix, strlen(sources[k].prefix)) != 0) {
    k++;
  }
  const char *path = strchr(spec, ':');
  size_t length = strlen(spec);
  if (length > 8 && strcmp(spec + length - 8, ".parquet") == 0) {
    return dhc_status_make(DHC_E_USAGE, "data '%s': Parquet is not read; as a table: python3 -c \"import pandas; pandas.read_parquet('%s').to_csv('table.csv', index=False)\"",
                           spec, path != NULL ? path + 1 : spec);
  }
  if (k == n_sources && looks_like(spec) != NULL) {
    return dhc_status_make(DHC_E_USAGE, "data '%s': a source is named before its path (did you mean %s:%s?)", spec, looks_like(spec), spec);
  }
  if (k == n_sources && meant(spec) != NULL) {
    return dhc_status_make(DHC_E_USAGE, "data '%s': no source has that name (did you mean %s%s?)", spec, meant(spec), spec + strcspn(spec, ":") + 1);
  }
  if (k == n_sources && path != NULL && looks_like(path + 1) != NULL) {
    return dhc_status_make(DHC_E_USAGE, "data '%s': no source has that name (did you mean %s:%s?)", spec, looks_like(path + 1), path + 1);
  }
  if (k == n_sources) {
    return dhc_status_make(DHC_E_USAGE,
                           "data '%s': needs images:DIR, cifar10:DIR, cifar100:DIR, csv:FILE, hdf5:FILE, idx:DIR, mnist:DIR, npy:DIR, text:FILE, tokens:FILE, scifar:DIR or synth:TASK", spec);
  }
  if (spec[strlen(sources[k].prefix)] == '\0' && sources[k].open != dhc_data_open_synth) {
    return dhc_status_make(DHC_E_USAGE, "data '%s': needs a path behind the colon", spec);
  }
  DhcDataOwner *o = owner_new(DATA_MAX_FIELDS);
  DhcDataset *d = calloc(1, sizeof *d);
  dhc_status status = o == NULL || d == NULL ? dhc_status_memory((long long)sizeof *d, "a data set")
                                             : dhc_status_ok();
  if (status.code == DHC_OK) {
    status = sources[k].open(o, spec, spec + strlen(sources[k].prefix), split,
                             options != NULL ? options : &defaults);
  }
  if (status.code == DHC_OK) {
    status = rename_fields(o, all);
  }
  if (status.code == DHC_OK && o->reader.dear) {
    int64_t most = options != NULL ? options->max_bytes : 0;
    const int64_t rest = most > o->text_bytes ? (most - o->text_bytes) / 2 : 0;
    status = dhc_data_keep(o, most > 0 ? 1 + rest : 0, &o->kept); /* 0 is no limit; 1 has room for none */
  }
  if (status.code != DHC_OK) {
    if (o != NULL) {
      owner_free(o);
    }
    free(d);
    return status;
  }
  describe(o, d);
  *out = d;
  return status;
}

void dhc_dataset_free(DhcDataset *d) {
  if (d != NULL) {
    owner_free(d->owner);
    free(d);
  }
}

const DhcField *dhc_dataset_field(const DhcDataset *d, const char *name) {
  for (int32_t i = 0; i < d->n_fields; i++) {
    if (strcmp(d->fields[i].name, name) == 0) {
      return &d->fields[i];
    }
  }
  return NULL;
}
