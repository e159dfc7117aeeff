/* A folder of .npy files as a data set: DIR/{train,val,test}/NAME.npy. Fields
 * stay in the mapped files. */
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
  dhc_status status = dhc_npy_open(path, &o->maps[i]);
  if (status.code == DHC_OK && v->dtype >= DHC_N_DTYPES) {
    status = dhc_status_file(path, "type %s is not supported in data sets; save %s", dhc_tensor_dtype_name(v->dtype),
                             dhc_tensor_dtype_is_float(v->dtype) ? "float32" : "int64");
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
    f->dtype = v->dtype;
    f->rank = v->rank - 1;
    memcpy(f->shape, v->shape + 1, (size_t)f->rank * sizeof *f->shape);
    f->example_bytes = v->shape[0] > 0 ? v->bytes / v->shape[0] : 0;
    f->data = v->data;
  }
  free(path);
  return status;
}

/* One more than the largest target, 0 if there is a negative one or none. */
static int64_t count_classes(const DhcField *f, int64_t n) {
  int64_t most = -1;
  if (f->rank != 0 || f->dtype == DHC_F64 || f->dtype == DHC_F32 || f->dtype == DHC_BOOL) {
    return 0;
  }
  for (int64_t i = 0; i < n; i++) {
    int64_t v = 0;
    dhc_tensor_convert(&v, DHC_I64, f->data + i * f->example_bytes, f->dtype, 1);
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
    o->fields[i].data += range.begin * o->fields[i].example_bytes;
    if (strcmp(o->fields[i].name, "target") == 0) {
      o->n_classes = count_classes(&o->fields[i], o->n_examples);
    }
  }
  return status;
}
