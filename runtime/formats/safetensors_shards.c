/* Weights that lie in several safetensors files, with an index that says which tensor is where. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "runtime/formats/gguf.h"
#include "runtime/formats/safetensors_internal.h"

static const char suffix[] = ".safetensors", index_suffix[] = ".safetensors.index.json";

static bool ends_with(const char *name, const char *end) {
  size_t n = strlen(name), m = strlen(end);
  return n >= m && strcmp(name + n - m, end) == 0;
}

/* The file `name` beside `path`; NULL: no memory. */
static char *beside(const char *path, const char *name) {
  const char *slash = strrchr(path, '/');
  size_t folder = slash != NULL ? (size_t)(slash + 1 - path) : 0, room = folder + strlen(name) + 1;
  char *out = malloc(room);
  if (out != NULL) {
    snprintf(out, room, "%.*s%s", (int)folder, path, name);
  }
  return out;
}

/* ---- merging ------------------------------------------------------------------------ */

static dhc_status open_shard(DhcSafetensors *s, const char *name) {
  if (*name == '\0' || strchr(name, '/') != NULL) {
    return dhc_status_file(s->path, "\"%s\" is no file beside the index", name);
  }
  char *path = beside(s->path, name);
  if (path == NULL) {
    return dhc_status_memory((long long)strlen(name), "a path");
  }
  dhc_status status = dhc_safetensors_open(path, &s->shards[s->n_shards]);
  free(path);
  s->n_shards += status.code == DHC_OK;
  return status;
}

static int compare_files(const void *a, const void *b) {
  const StMeta *x = a, *y = b;
  int order = strcmp(x->value, y->value);
  return order != 0 ? order : strcmp(x->key, y->key);
}

/* Opens every file that the index names, in the order of their names; checks that each tensor is
 * where the index says. */
static dhc_status open_shards(DhcSafetensors *s) {
  s->shards = calloc((size_t)s->n_meta + 1, sizeof *s->shards);
  if (s->shards == NULL) {
    return dhc_status_memory(s->n_meta * (long long)sizeof *s->shards, "a table of files");
  }
  if (s->n_meta > 1) {
    qsort(s->meta, (size_t)s->n_meta, sizeof *s->meta, compare_files);
  }
  for (int32_t i = 0; i < s->n_meta; i++) {
    const StMeta *m = &s->meta[i];
    if (i == 0 || strcmp(m->value, s->meta[i - 1].value) != 0) {
      DHC_TRY(open_shard(s, m->value));
    }
    if (dhc_safetensors_find(s->shards[s->n_shards - 1], m->key) == NULL) {
      return dhc_status_file(s->path, "tensor '%s' is not in %s, which the index names for it", m->key, m->value);
    }
  }
  return dhc_status_ok();
}

static dhc_status merge(DhcSafetensors *s) {
  int64_t n = 0;
  for (int32_t i = 0; i < s->n_shards; i++) {
    n += s->shards[i]->n_tensors;
  }
  s->tensors = n < INT32_MAX ? malloc(((size_t)n + 1) * sizeof *s->tensors) : NULL;
  if (s->tensors == NULL) {
    return dhc_status_memory((long long)n * (long long)sizeof *s->tensors, "a table of tensors");
  }
  for (int32_t i = 0; i < s->n_shards; i++) {
    const DhcSafetensors *from = s->shards[i];
    if (from->n_tensors > 0) {
      memcpy(s->tensors + s->n_tensors, from->tensors, (size_t)from->n_tensors * sizeof *s->tensors);
    }
    s->n_tensors += from->n_tensors;
  }
  s->n_meta = 0; /* it held the index */
  return dhc_safetensors_index_names(s);
}

/* Takes the mapping in either case. */
static dhc_status open_index(const char *path, DhcMapping map, DhcSafetensors **out) {
  DhcSafetensors *s = calloc(1, sizeof *s);
  char *copy = strdup(path);
  if (s == NULL || copy == NULL) {
    free(s);
    free(copy);
    dhc_map_close(&map);
    return dhc_status_memory((long long)sizeof *s, "a file's index");
  }
  s->path = copy;
  s->map = map;
  s->bytes = map.bytes;
  s->n_bytes = map.n_bytes;
  dhc_status status = dhc_safetensors_parse_index(s);
  if (status.code == DHC_OK) {
    status = open_shards(s);
  }
  if (status.code == DHC_OK) {
    status = merge(s);
  }
  if (status.code != DHC_OK) {
    dhc_safetensors_close(s);
    return status;
  }
  *out = s;
  return status;
}

/* The length of a header is eight bytes, the last of them 0; an index is text. */
static bool is_json(const DhcMapping *map) {
  size_t i = 0;
  while (i < map->n_bytes && i < 7 && strchr(" \t\r\n", map->bytes[i]) != NULL && map->bytes[i] != 0) {
    i++;
  }
  return i < map->n_bytes && map->bytes[i] == '{' && (map->n_bytes < 8 || map->bytes[7] != 0);
}

static dhc_status open_file(const char *path, DhcSafetensors **out) {
  DhcMapping map;
  DHC_TRY(dhc_map_open(path, &map));
  if (is_json(&map)) {
    return open_index(path, map, out);
  }
  return dhc_safetensors_keep(map, dhc_gguf_begins(map.bytes, map.n_bytes) ? dhc_gguf_from_bytes(path, map.bytes, map.n_bytes, out)
                                                                          : dhc_safetensors_from_bytes(path, map.bytes, map.n_bytes, out), out);
}

/* ---- finding ------------------------------------------------------------------------- */

typedef struct Found {
  char *index, *single; /* names, malloc'd, or NULL */
  int n_indices, n_singles;
  bool pickled; /* PyTorch's own files are there */
} Found;

/* Names that go before all others, the higher the sooner: those that libraries look for ("model.fp16.safetensors" is
 * another's), then those of a run's folder. */
static int usual(const char *name) {
  static const char *const names[] = {"last.safetensors", "best.safetensors", "model.safetensors", "model.safetensors.index.json"};
  for (int i = 0; i < 4; i++) {
    if (strcmp(name, names[i]) == 0) {
      return i + 1;
    }
  }
  return 0;
}

static bool note_name(Found *f, const char *name) {
  bool index = ends_with(name, index_suffix);
  if (!index && !ends_with(name, suffix)) {
    f->pickled = f->pickled || ends_with(name, ".bin") || ends_with(name, ".pt") || ends_with(name, ".pth");
    return true;
  }
  char **slot = index ? &f->index : &f->single;
  int *n = index ? &f->n_indices : &f->n_singles;
  /* Of several the one with the most usual name, else the first, so that messages name it. */
  if ((*n)++ == 0 || usual(name) > usual(*slot) || (usual(name) == usual(*slot) && strcmp(name, *slot) < 0)) {
    char *copy = strdup(name);
    if (copy == NULL) {
      return false;
    }
    free(*slot);
    *slot = copy;
  }
  return true;
}

static dhc_status list_folder(const char *path, Found *f) {
  DIR *dir = opendir(path);
  if (dir == NULL) {
    return dhc_status_errno(errno, "%s", path);
  }
  bool memory = true;
  for (struct dirent *e; memory && (e = readdir(dir)) != NULL;) {
    memory = e->d_name[0] == '.' || note_name(f, e->d_name);
  }
  closedir(dir);
  return memory ? dhc_status_ok() : dhc_status_memory(256, "a name");
}

/* The index of a folder, or its file. The one with the usual name goes before others; two others are one too many. */
static dhc_status choose(const char *path, const Found *f, const char **name) {
  const char *one = f->index != NULL ? f->index : f->single;
  int n = f->index != NULL ? f->n_indices : f->n_singles;
  if (one == NULL) {
    return dhc_status_make(DHC_E_INPUT, "%s: holds no %s file and no index of some%s", path, suffix,
                           f->pickled ? " (its PyTorch files must be saved with safetensors.torch.save_file first)" : "");
  }
  if (n > 1 && usual(one) == 0) {
    return dhc_status_make(DHC_E_INPUT, "%s: holds %d files like '%s'; name the one you mean", path, n, one);
  }
  *name = one;
  return dhc_status_ok();
}

static dhc_status open_folder(const char *path, DhcSafetensors **out) {
  Found f = {0};
  const char *name = NULL;
  dhc_status status = list_folder(path, &f);
  if (status.code == DHC_OK) {
    status = choose(path, &f, &name);
  }
  char *file = NULL;
  if (status.code == DHC_OK) {
    size_t room = strlen(path) + strlen(name) + 2;
    file = malloc(room);
    if (file == NULL) {
      status = dhc_status_memory((long long)room, "a path");
    } else {
      snprintf(file, room, "%s%s%s", path, ends_with(path, "/") ? "" : "/", name);
    }
  }
  if (status.code == DHC_OK) {
    status = open_file(file, out);
  }
  free(file);
  free(f.index);
  free(f.single);
  return status;
}

dhc_status dhc_safetensors_open_weights(const char *path, DhcSafetensors **out) {
  struct stat st;
  if (stat(path, &st) == 0 && S_ISDIR(st.st_mode)) {
    return open_folder(path, out);
  }
  return open_file(path, out);
}
