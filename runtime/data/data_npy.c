/* A folder of .npy files as a data set: DIR/{train,val,test}/NAME.npy. Fields
 * stay in the mapped files; those that lie there in another order are put right when they are read. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "runtime/data/data_internal.h"

static char *join(const char *folder, const char *name, const char *suffix) {
  size_t room = strlen(folder) + strlen(name) + strlen(suffix) + 2;
  char *path = malloc(room);
  if (path != NULL) {
    snprintf(path, room, "%s/%s%s", folder, name, suffix);
  }
  return path;
}

static bool is_folder(const char *path) {
  struct stat st;
  return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static int compare_names(const void *a, const void *b) {
  return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Names of the .npy files, without the ending, sorted, into o->names. */
static dhc_status list_fields(DhcDataOwner *o, const char *folder) {
  DIR *dir = opendir(folder);
  if (dir == NULL) {
    dhc_status s = dhc_status_errno(errno, "%s", folder);
    s.code = errno == ENOENT || errno == ENOTDIR ? DHC_E_INPUT : s.code;
    return s;
  }
  int32_t n = 0;
  dhc_status status = dhc_status_ok();
  for (struct dirent *e; status.code == DHC_OK && (e = readdir(dir)) != NULL;) {
    size_t length = strlen(e->d_name);
    if (length <= 4 || e->d_name[0] == '.' || strcmp(e->d_name + length - 4, ".npy") != 0) {
      continue;
    }
    if (n == o->cap_fields) {
      status = dhc_status_make(DHC_E_INPUT, "%s: more than %d .npy files", folder, (int)n);
    } else if ((o->names[n] = strndup(e->d_name, length - 4)) == NULL) {
      status = dhc_status_memory((long long)length, "a name");
    } else {
      n++;
    }
  }
  closedir(dir);
  if (status.code == DHC_OK && n == 0) {
    status = dhc_status_make(DHC_E_INPUT, "%s: has no .npy files", folder);
  }
  if (n > 1) {
    qsort(o->names, (size_t)n, sizeof *o->names, compare_names);
  }
  o->n_fields = n;
  return status;
}

static dhc_status open_field(DhcDataOwner *o, int32_t i, const char *folder, int64_t *n_examples) {
  char *path = join(folder, o->names[i], ".npy");
  if (path == NULL) {
    return dhc_status_memory(64, "a path");
  }
  DhcTensorView *v = &o->maps[i].view;
  dhc_status status = dhc_npy_map(path, &o->maps[i]);
  if (status.code == DHC_OK && v->dtype >= DHC_N_DTYPES && v->dtype != DHC_FILE_F16) {
    status = dhc_status_file(path, "type %s is not supported in data sets; save int64", dhc_tensor_dtype_name(v->dtype));
  } else if (status.code == DHC_OK && v->rank == 0) {
    status = dhc_status_file(path, "is a scalar, its first dimension must count examples");
  } else if (status.code == DHC_OK && i > 0 && v->shape[0] != *n_examples) {
    status = dhc_status_file(path, "%lld examples, '%s' has %lld", (long long)v->shape[0],
                             o->names[0], (long long)*n_examples);
  }
  if (status.code == DHC_OK) {
    DhcField *f = &o->fields[i];
    *n_examples = v->shape[0];
    f->name = o->names[i];
    f->dtype = v->dtype == DHC_FILE_F16 ? DHC_F32 : v->dtype;
    f->rank = v->rank - 1;
    memcpy(f->shape, v->shape + 1, (size_t)f->rank * sizeof *f->shape);
    f->example_bytes = v->shape[0] > 0 ? v->bytes / v->shape[0] / dhc_tensor_dtype_bytes(v->dtype) * dhc_tensor_dtype_bytes(f->dtype) : 0;
    f->data = dhc_npy_plain(&o->maps[i]) && f->dtype == v->dtype ? v->data : NULL;
  }
  free(path);
  return status;
}

/* What the files' order or type keeps from being a field's data. */
typedef struct Rows {
  const DhcDataOwner *o;
  int64_t begin;
} Rows;

static dhc_status read_row(const void *rows, int64_t i, void *const *to) {
  const Rows *r = rows;
  for (int32_t f = 0; f < r->o->n_fields; f++) {
    const DhcField *field = &r->o->fields[f];
    if (field->data != NULL || to[f] == NULL || field->example_bytes == 0) {
      continue;
    }
    const DhcNpy *npy = &r->o->maps[f];
    if (npy->view.dtype == field->dtype) {
      dhc_npy_row(npy, r->begin + i, to[f]);
      continue;
    }
    int64_t n = field->example_bytes / dhc_tensor_dtype_bytes(field->dtype);
    void *half = malloc((size_t)field->example_bytes); /* of f16, half of it is used */
    if (half == NULL) {
      return dhc_status_memory(field->example_bytes, "an example");
    }
    dhc_npy_row(npy, r->begin + i, half);
    dhc_tensor_convert(to[f], field->dtype, half, npy->view.dtype, n);
    free(half);
  }
  return dhc_status_ok();
}

static dhc_status add_rows(DhcDataOwner *o, int64_t begin) {
  Rows *r = malloc(sizeof *r);
  if (r == NULL) {
    return dhc_status_memory((long long)sizeof *r, "rows");
  }
  *r = (Rows){o, begin};
  o->reader = (DataReader){.ctx = r, .read = read_row, .close = free};
  return dhc_status_ok();
}

/* One more than the largest target, 0 if there is a negative one or none. */
static int64_t count_classes(const DhcField *f, const DhcNpy *npy, int64_t begin, int64_t n) {
  int64_t most = -1, row = 0;
  if (f->rank != 0 || f->dtype == DHC_F64 || f->dtype == DHC_F32 || f->dtype == DHC_BOOL) {
    return 0;
  }
  for (int64_t i = 0; i < n; i++) {
    int64_t v = 0;
    dhc_npy_row(npy, begin + i, &row);
    dhc_tensor_convert(&v, DHC_I64, &row, f->dtype, 1);
    if (v < 0 || v == INT64_MAX) {
      return 0;
    }
    most = v > most ? v : most;
  }
  return most + 1;
}

dhc_status dhc_data_open_npy(DhcDataOwner *o, const char *spec, const char *path, DhcSplit split,
                             const DhcDataOptions *options) {
  char *val = join(path, "val", "");
  if (val == NULL) {
    return dhc_status_memory(64, "a path");
  }
  bool own_val = is_folder(val);
  free(val);
  DhcSplit files = split == DHC_SPLIT_VAL && !own_val ? DHC_SPLIT_TRAIN : split;
  char *folder = join(path, dhc_split_name(files), "");
  if (folder == NULL) {
    return dhc_status_memory(64, "a path");
  }
  int64_t n = 0;
  DataRange range = {0, 0};
  dhc_status status = list_fields(o, folder);
  for (int32_t i = 0; i < o->n_fields && status.code == DHC_OK; i++) {
    status = open_field(o, i, folder, &n);
  }
  if (status.code == DHC_OK) {
    status = dhc_data_range(spec, split, own_val, options->n_val, n, &range);
  }
  free(folder);
  if (status.code != DHC_OK) {
    return status;
  }
  o->n_examples = range.end - range.begin;
  for (int32_t i = 0; i < o->n_fields; i++) {
    DhcField *f = &o->fields[i];
    f->data = f->data != NULL ? f->data + range.begin * f->example_bytes : NULL;
    if (strcmp(f->name, "target") == 0) {
      o->n_classes = count_classes(f, &o->maps[i], range.begin, o->n_examples);
    }
  }
  return add_rows(o, range.begin);
}
