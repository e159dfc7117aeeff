/* HDF5 files: FILE/{train,val,test}/NAME, or FILE/NAME, all for training; a field each, first dimension = examples. Through the HDF5
 * library, which is opened when the first such file is; its calls take turns. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/data/data_internal.h"

#ifdef DHC_HDF5
#include <dlfcn.h>
#include <hdf5.h>
#include <pthread.h>

#undef H5CHECK /* constants of the header call the library, which is not linked */
#undef H5OPEN
#define H5CHECK
#define H5OPEN

/* clang-format off */
#define FUNCTIONS(X) X(H5open) X(H5Eset_auto2) X(H5Fopen) X(H5Fclose) X(H5Lexists) X(H5Gopen2) X(H5Gclose) X(H5Gget_info) X(H5Lget_name_by_idx) \
  X(H5Oopen) X(H5Oclose) X(H5Iget_type) X(H5Dopen2) X(H5Dclose) X(H5Dget_space) X(H5Dget_type) X(H5Dread) X(H5Sget_simple_extent_ndims) \
  X(H5Sget_simple_extent_dims) X(H5Sselect_hyperslab) X(H5Screate_simple) X(H5Sclose) X(H5Tget_class) X(H5Tget_size) X(H5Tget_sign) X(H5Tclose)
/* clang-format on */
#define FIELD(f) __typeof__(f) *f##_;

static struct {
  void *library;
  FUNCTIONS(FIELD)
} h5;
static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;

static void *symbol(const char *name, bool *all) {
  void *at = dlsym(h5.library, name);
  *all = *all && at != NULL;
  return at;
}

static dhc_status load(const char *spec) {
  if (h5.library != NULL) {
    return dhc_status_ok();
  }
  bool all = true;
  h5.library = dlopen(DHC_HDF5, RTLD_NOW | RTLD_LOCAL);
  if (h5.library != NULL) {
#define FIND(f) *(void **)&h5.f##_ = symbol(#f, &all);
    FUNCTIONS(FIND)
  }
  if (h5.library == NULL || !all || h5.H5open_() < 0) {
    h5.library = NULL;
    return dhc_status_make(DHC_E_ENVIRONMENT, "%s: needs the library %s, which cannot be opened", spec, DHC_HDF5);
  }
  h5.H5Eset_auto2_(H5E_DEFAULT, NULL, NULL); /* what is wrong is said here */
  return dhc_status_ok();
}

/* The library's number of a type in memory. */
static hid_t native(int32_t dtype) {
  static const struct {
    int32_t dtype;
    const char *name;
  } types[] = {{DHC_U8, "H5T_NATIVE_UINT8_g"},  {DHC_BOOL, "H5T_NATIVE_INT8_g"},  {DHC_I8, "H5T_NATIVE_INT8_g"},    {DHC_I32, "H5T_NATIVE_INT32_g"}, {DHC_U32, "H5T_NATIVE_UINT32_g"},
               {DHC_I64, "H5T_NATIVE_INT64_g"}, {DHC_F32, "H5T_NATIVE_FLOAT_g"}, {DHC_F64, "H5T_NATIVE_DOUBLE_g"}};
  for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
    const hid_t *at = types[i].dtype == dtype ? dlsym(h5.library, types[i].name) : NULL;
    if (at != NULL) {
      return *at;
    }
  }
  return -1;
}

/* ---- what a file has ------------------------------------------------------------------------- */

typedef struct Hdf5 {
  char *path;
  hid_t file;
  hid_t set[DATA_MAX_FIELDS]; /* 0: none */
  hid_t space[DATA_MAX_FIELDS];
  hid_t type[DATA_MAX_FIELDS]; /* in memory; the library's own */
  const DhcDataOwner *o;
  int64_t begin;
} Hdf5;

static void hdf5_free(void *hdf5) {
  Hdf5 *h = hdf5;
  pthread_mutex_lock(&turn);
  for (int i = 0; i < DATA_MAX_FIELDS; i++) {
    if (h->set[i] > 0) {
      h5.H5Dclose_(h->set[i]);
    }
    if (h->space[i] > 0) {
      h5.H5Sclose_(h->space[i]);
    }
  }
  if (h->file > 0) {
    h5.H5Fclose_(h->file);
  }
  pthread_mutex_unlock(&turn);
  free(h->path);
  free(h);
}

/* The type of a field; -1: none that data have. */
static int32_t dtype_of(hid_t set) {
  hid_t type = h5.H5Dget_type_(set);
  size_t size = h5.H5Tget_size_(type);
  int32_t dtype = -1;
  switch (h5.H5Tget_class_(type)) {
  case H5T_FLOAT:
    dtype = size == 8 ? DHC_F64 : size < 8 ? DHC_F32 : -1;
    break;
  case H5T_INTEGER:
    if (h5.H5Tget_sign_(type) == H5T_SGN_NONE) {
      dtype = size == 1 ? DHC_U8 : size == 2 ? DHC_I32 : size == 4 ? DHC_U32 : -1;
    } else {
      dtype = size == 1 ? DHC_I8 : size <= 4 ? DHC_I32 : size == 8 ? DHC_I64 : -1;
    }
    break;
  case H5T_ENUM: /* bools, as h5py writes them */
    dtype = size == 1 ? DHC_BOOL : -1;
    break;
  default: break;
  }
  h5.H5Tclose_(type);
  return dtype;
}

/* Data set `name` of a group as field i. */
static dhc_status open_field(Hdf5 *h, DhcDataOwner *o, int32_t i, hid_t group, const char *name, int64_t *n_examples) {
  hsize_t dims[H5S_MAX_RANK] = {0};
  int64_t shape[DHC_TENSOR_MAX_RANK] = {0};
  h->set[i] = h5.H5Dopen2_(group, name, H5P_DEFAULT);
  h->space[i] = h->set[i] > 0 ? h5.H5Dget_space_(h->set[i]) : -1;
  int rank = h->space[i] > 0 ? h5.H5Sget_simple_extent_ndims_(h->space[i]) : -1;
  int32_t dtype = rank > 0 ? dtype_of(h->set[i]) : -1;
  if (rank < 1 || rank > DHC_TENSOR_MAX_RANK || dtype < 0) {
    return dhc_status_file(h->path, "'%s' is no array of numbers whose first dimension counts examples (floats, whole numbers up to int64)", name);
  }
  h5.H5Sget_simple_extent_dims_(h->space[i], dims, NULL);
  for (int k = 1; k < rank; k++) {
    shape[k - 1] = (int64_t)dims[k];
  }
  if (i > 0 && (int64_t)dims[0] != *n_examples) {
    return dhc_status_file(h->path, "'%s' has %lld examples, '%s' has %lld", name, (long long)dims[0], o->names[0], (long long)*n_examples);
  }
  *n_examples = (int64_t)dims[0];
  int64_t bytes;
  if (!dhc_size_tensor(dtype, rank - 1, shape, NULL, &bytes)) {
    return dhc_status_file(h->path, "'%s' is too large", name);
  }
  h->type[i] = native(dtype);
  dhc_data_add_read(o, o->names[i], dtype, rank - 1, shape);
  return dhc_status_ok();
}

/* The fields of a group, in order of their names; other groups in it are none. */
static dhc_status open_fields(Hdf5 *h, DhcDataOwner *o, hid_t group, int64_t *n_examples) {
  H5G_info_t info = {.nlinks = 0};
  h5.H5Gget_info_(group, &info);
  int32_t n = 0;
  for (hsize_t i = 0; i < info.nlinks; i++) {
    char name[256];
    const ssize_t length = h5.H5Lget_name_by_idx_(group, ".", H5_INDEX_NAME, H5_ITER_INC, i, name, sizeof name, H5P_DEFAULT);
    if (length < 0) {
      return dhc_status_file(h->path, "cannot be read");
    }
    if ((size_t)length >= sizeof name) {
      return dhc_status_file(h->path, "a name in it has %d bytes or more", (int)sizeof name);
    }
    hid_t object = h5.H5Oopen_(group, name, H5P_DEFAULT);
    bool set = object > 0 && h5.H5Iget_type_(object) == H5I_DATASET;
    if (object > 0) {
      h5.H5Oclose_(object);
    }
    if (!set) {
      continue;
    }
    if (n == o->cap_fields) {
      return dhc_status_file(h->path, "has more than %d data sets", (int)n);
    }
    if ((o->names[n] = strdup(name)) == NULL) {
      return dhc_status_memory(64, "a name");
    }
    DHC_TRY(open_field(h, o, n, group, name, n_examples));
    n++;
  }
  return n > 0 ? dhc_status_ok() : dhc_status_file(h->path, "has no data sets: /train/NAME, or /NAME");
}

/* ---- reading --------------------------------------------------------------------------------- */

static bool read_field(const Hdf5 *h, int32_t f, int64_t i, void *to) {
  hsize_t at[DHC_TENSOR_MAX_RANK] = {(hsize_t)(h->begin + i)}, n[DHC_TENSOR_MAX_RANK] = {1};
  const DhcField *field = &h->o->fields[f];
  for (int k = 0; k < field->rank; k++) {
    n[k + 1] = (hsize_t)field->shape[k];
  }
  h5.H5Eset_auto2_(H5E_DEFAULT, NULL, NULL); /* every thread has a setting of its own */
  hid_t memory = h5.H5Screate_simple_(field->rank + 1, n, NULL);
  bool ok = memory > 0 && h5.H5Sselect_hyperslab_(h->space[f], H5S_SELECT_SET, at, NULL, n, NULL) >= 0 &&
            h5.H5Dread_(h->set[f], h->type[f], memory, h->space[f], H5P_DEFAULT, to) >= 0;
  if (memory > 0) {
    h5.H5Sclose_(memory);
  }
  return ok;
}

static dhc_status read_one(const void *hdf5, int64_t i, void *const *to) {
  const Hdf5 *h = hdf5;
  int32_t f = 0;
  pthread_mutex_lock(&turn);
  while (f < h->o->n_fields && (to[f] == NULL || h->o->fields[f].example_bytes == 0 || read_field(h, f, i, to[f]))) {
    f++;
  }
  pthread_mutex_unlock(&turn);
  return f == h->o->n_fields ? dhc_status_ok()
                             : dhc_status_file(h->path, "example %lld of '%s' cannot be read", (long long)(h->begin + i), h->o->fields[f].name);
}

/* One more than the largest target, 0 if there is a negative one or none. */
static dhc_status count_classes(DhcDataOwner *o, const Hdf5 *h) {
  enum { LOOKED_AT = 4096 /* between looks whether a signal came */ };
  void *to[DATA_MAX_FIELDS] = {NULL};
  int64_t value, most = -1;
  uint8_t bytes[8];
  int32_t f = 0;
  while (f < o->n_fields && strcmp(o->fields[f].name, "target") != 0) {
    f++;
  }
  if (f == o->n_fields || o->fields[f].rank != 0 || o->fields[f].dtype == DHC_BOOL || o->fields[f].dtype == DHC_F32 || o->fields[f].dtype == DHC_F64) {
    return dhc_status_ok();
  }
  to[f] = bytes;
  for (int64_t i = 0; i < o->n_examples; i++) {
    if (i % LOOKED_AT == 0) {
      DHC_TRY(dhc_data_stopped());
    }
    DHC_TRY(read_one(h, i, to));
    dhc_tensor_convert(&value, DHC_I64, bytes, o->fields[f].dtype, 1);
    if (value < 0 || value == INT64_MAX) {
      return dhc_status_ok();
    }
    most = value > most ? value : most;
  }
  o->n_classes = most + 1;
  return dhc_status_ok();
}

/* ---- opening --------------------------------------------------------------------------------- */

static dhc_status open_split(Hdf5 *h, DhcDataOwner *o, DhcSplit split, int64_t *n, bool *own_val) {
  bool split_up = h5.H5Lexists_(h->file, "train", H5P_DEFAULT) > 0;
  *own_val = split_up && h5.H5Lexists_(h->file, "val", H5P_DEFAULT) > 0;
  const char *name = split_up ? dhc_split_name(split == DHC_SPLIT_VAL && !*own_val ? DHC_SPLIT_TRAIN : split) : "/";
  if (split == DHC_SPLIT_TEST && (!split_up || h5.H5Lexists_(h->file, name, H5P_DEFAULT) <= 0)) {
    return dhc_status_file(h->path, "has no test examples (a group /test)");
  }
  hid_t group = h5.H5Gopen2_(h->file, name, H5P_DEFAULT);
  if (group < 0) {
    return dhc_status_file(h->path, "'%s' is no group", name);
  }
  dhc_status st = open_fields(h, o, group, n);
  h5.H5Gclose_(group);
  return st;
}

dhc_status dhc_data_open_hdf5(DhcDataOwner *o, const char *spec, const char *path, DhcSplit split, const DhcDataOptions *options) {
  DhcMapping map; /* says what is no file at all */
  DHC_TRY(dhc_map_open(path, &map));
  dhc_map_close(&map);
  Hdf5 *h = calloc(1, sizeof *h);
  if (h == NULL || (h->path = strdup(path)) == NULL) {
    free(h);
    return dhc_status_memory((long long)sizeof *h, "a file");
  }
  h->o = o;
  o->reader = (DataReader){.ctx = h, .read = read_one, .close = hdf5_free, .dear = true};
  int64_t n = 0;
  bool own_val = false;
  DataRange range = {0, 0};
  pthread_mutex_lock(&turn);
  dhc_status st = load(spec);
  h->file = st.code == DHC_OK ? h5.H5Fopen_(path, H5F_ACC_RDONLY, H5P_DEFAULT) : 0;
  st = st.code == DHC_OK && h->file < 0 ? dhc_status_file(path, "is no HDF5 file") : st;
  st = st.code == DHC_OK ? open_split(h, o, split, &n, &own_val) : st;
  pthread_mutex_unlock(&turn);
  DHC_TRY(st);
  DHC_TRY(dhc_data_range(spec, split, own_val, options->n_val, n, &range));
  h->begin = range.begin;
  o->n_examples = range.end - range.begin;
  return count_classes(o, h);
}

const char *dhc_data_hdf5(void) {
  return DHC_HDF5;
}

#else

dhc_status dhc_data_open_hdf5(DhcDataOwner *o, const char *spec, const char *path, DhcSplit split, const DhcDataOptions *options) {
  (void)o, (void)path, (void)split, (void)options;
  return dhc_status_make(DHC_E_ENVIRONMENT, "%s: this dhcc was built without HDF5 (libhdf5-dev); npy:DIR takes the same arrays", spec);
}

const char *dhc_data_hdf5(void) {
  return "";
}

#endif
