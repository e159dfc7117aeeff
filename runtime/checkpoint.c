#include "runtime/checkpoint.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runtime/io.h"

static const char seal_key[] = "dhc.sha256";
static const char format_version[] = "1";
static const char name_prefix[] = "checkpoint-", name_suffix[] = ".safetensors";
enum { N_META = 8, DEFAULT_KEEP = 2 };

/* ---- writing ------------------------------------------------------------------------- */

dhc_status dhc_checkpoint_write(const char *path, const DhcCheckpointMeta *meta,
                                const DhcTensorView *tensors, int32_t n_tensors) {
  for (int32_t i = 0; i < n_tensors; i++) {
    int64_t bad = dhc_tensor_first_nonfinite(&tensors[i]);
    if (bad >= 0) {
      return dhc_status_make(DHC_E_NUMERIC, "tensor '%s' is not finite at index %lld",
                             tensors[i].name, (long long)bad);
    }
  }
  char step[24], epoch[24], next[24], data_seed[24], rng_seed[24];
  snprintf(step, sizeof step, "%lld", (long long)meta->step);
  snprintf(epoch, sizeof epoch, "%lld", (long long)meta->data.epoch);
  snprintf(next, sizeof next, "%lld", (long long)meta->data.next);
  snprintf(data_seed, sizeof data_seed, "%lu", (unsigned long)meta->data.seed);
  snprintf(rng_seed, sizeof rng_seed, "%lu", (unsigned long)meta->rng_seed);
  DhcMetaPair pairs[N_META] = {
      {"dhc.checkpoint", format_version},
      {"dhc.config", meta->config_json != NULL ? meta->config_json : ""},
      {"dhc.data.epoch", epoch},
      {"dhc.data.next", next},
      {"dhc.data.seed", data_seed},
      {"dhc.model", meta->model_hash},
      {"dhc.rng.seed", rng_seed},
      {"dhc.step", step}};
  return dhc_safetensors_write_sealed(path, tensors, n_tensors, pairs, N_META, seal_key);
}

/* ---- a folder of them ------------------------------------------------------------------ */

/* The step in a checkpoint's file name, -1 for any other name. */
static int64_t step_of(const char *name) {
  size_t n_prefix = strlen(name_prefix);
  int64_t step = 0;
  if (strncmp(name, name_prefix, n_prefix) != 0) {
    return -1;
  }
  const char *p = name + n_prefix;
  for (; *p >= '0' && *p <= '9'; p++) {
    if (!dhc_size_mul(step, 10, &step) || !dhc_size_add(step, *p - '0', &step)) {
      return -1;
    }
  }
  return p - name >= (ptrdiff_t)n_prefix + 9 && strcmp(p, name_suffix) == 0 ? step : -1;
}

static int compare_steps(const void *a, const void *b) {
  int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
  return x < y ? -1 : x > y;
}

/* Steps of the folder's checkpoints, rising; malloc'd. */
static dhc_status list_steps(const char *folder, int64_t **out, int64_t *n_out) {
  DIR *dir = opendir(folder);
  int64_t *steps = NULL, n = 0, cap = 0;
  dhc_status status = dhc_status_ok();
  if (dir == NULL) {
    status = dhc_status_errno(errno, "%s", folder);
    status.code = errno == ENOENT || errno == ENOTDIR ? DHC_E_INPUT : status.code;
    return status;
  }
  for (struct dirent *e; status.code == DHC_OK && (e = readdir(dir)) != NULL;) {
    int64_t step = step_of(e->d_name);
    if (step < 0) {
      continue;
    }
    if (n == cap) {
      cap = cap == 0 ? 16 : cap * 2;
      int64_t *grown = realloc(steps, (size_t)cap * sizeof *grown);
      if (grown == NULL) {
        status = dhc_status_memory(cap * (long long)sizeof *grown, "a list of checkpoints");
        break;
      }
      steps = grown;
    }
    steps[n++] = step;
  }
  closedir(dir);
  if (status.code != DHC_OK) {
    free(steps);
    return status;
  }
  if (n > 1) {
    qsort(steps, (size_t)n, sizeof *steps, compare_steps);
  }
  *out = steps;
  *n_out = n;
  return status;
}

static char *path_of(const char *folder, int64_t step) {
  size_t room = strlen(folder) + sizeof name_prefix + sizeof name_suffix + 24;
  char *path = malloc(room);
  if (path != NULL) {
    snprintf(path, room, "%s/%s%09lld%s", folder, name_prefix, (long long)step, name_suffix);
  }
  return path;
}

/* Says in the message which checkpoint the failure left. */
static dhc_status with_kept(dhc_status status, const char *folder) {
  int64_t *steps = NULL, n = 0;
  dhc_status listed = list_steps(folder, &steps, &n);
  size_t at = strlen(status.message);
  if (listed.code == DHC_OK && n > 0) {
    snprintf(status.message + at, sizeof status.message - at, "; checkpoint of step %lld kept",
             (long long)steps[n - 1]);
  }
  if (listed.code == DHC_OK) {
    free(steps);
  }
  return status;
}

static void remove_earlier(const char *folder, int64_t saved, int32_t n_keep) {
  int64_t *steps, n;
  dhc_status listed = list_steps(folder, &steps, &n);
  if (listed.code != DHC_OK) {
    return; /* one file too many harms nobody */
  }
  int32_t seen = 1; /* the one just saved */
  for (int64_t i = n - 1; i >= 0; i--) {
    if (steps[i] >= saved || seen++ < n_keep) {
      continue;
    }
    char *path = path_of(folder, steps[i]);
    if (path != NULL) {
      (void)unlink(path);
      free(path);
    }
  }
  free(steps);
}

dhc_status dhc_checkpoint_save(const char *folder, const DhcCheckpointMeta *meta,
                               const DhcTensorView *tensors, int32_t n_tensors, int32_t n_keep) {
  char *path = path_of(folder, meta->step);
  if (path == NULL) {
    return dhc_status_memory((long long)strlen(folder), "a path");
  }
  dhc_status status = dhc_checkpoint_write(path, meta, tensors, n_tensors);
  if (status.code != DHC_OK) {
    status = with_kept(status, folder);
  } else {
    remove_earlier(folder, meta->step, n_keep > 0 ? n_keep : DEFAULT_KEEP);
  }
  free(path);
  return status;
}

dhc_status dhc_checkpoint_prepare(const char *folder) {
  DHC_TRY(dhc_file_make_folder(folder));
  (void)dhc_file_sweep(folder);
  return dhc_status_ok();
}

/* ---- reading ----------------------------------------------------------------------------- */

/* A whole number that dhc_checkpoint_write wrote; false for anything else. */
static bool read_number(const DhcSafetensors *file, const char *key, int64_t most, int64_t *out) {
  const char *p = dhc_safetensors_meta(file, key);
  int64_t v = 0;
  if (p == NULL || *p == '\0') {
    return false;
  }
  for (; *p != '\0'; p++) {
    if (*p < '0' || *p > '9' || !dhc_size_mul(v, 10, &v) || !dhc_size_add(v, *p - '0', &v)) {
      return false;
    }
  }
  *out = v;
  return v <= most;
}

static dhc_status read_meta(const char *path, const DhcSafetensors *file, const char *model_hash,
                            DhcCheckpointMeta *out) {
  const char *version = dhc_safetensors_meta(file, "dhc.checkpoint");
  int64_t data_seed, rng_seed;
  if (version == NULL) {
    return dhc_status_file(path, "is no checkpoint, only weights");
  }
  if (strcmp(version, format_version) != 0) {
    return dhc_status_file(path, "checkpoint format %s is not known", version);
  }
  DHC_TRY(dhc_safetensors_check_seal(file, seal_key));
  out->model_hash = dhc_safetensors_meta(file, "dhc.model");
  out->config_json = dhc_safetensors_meta(file, "dhc.config");
  if (out->model_hash == NULL || out->config_json == NULL ||
      !read_number(file, "dhc.step", INT64_MAX, &out->step) ||
      !read_number(file, "dhc.data.epoch", INT64_MAX, &out->data.epoch) ||
      !read_number(file, "dhc.data.next", INT64_MAX, &out->data.next) ||
      !read_number(file, "dhc.data.seed", UINT32_MAX, &data_seed) ||
      !read_number(file, "dhc.rng.seed", UINT32_MAX, &rng_seed)) {
    return dhc_status_file(path, "checkpoint lacks part of its metadata");
  }
  out->data.seed = (uint32_t)data_seed;
  out->rng_seed = (uint32_t)rng_seed;
  if (model_hash != NULL && strcmp(model_hash, out->model_hash) != 0) {
    return dhc_status_make(DHC_E_INPUT, "%s was made for model %.8s, this model is %.8s", path,
                           out->model_hash, model_hash);
  }
  return dhc_status_ok();
}

dhc_status dhc_checkpoint_open(const char *path, const char *model_hash, DhcCheckpoint *out) {
  DhcCheckpoint c = {.file = NULL};
  DHC_TRY(dhc_safetensors_open(path, &c.file));
  dhc_status status = read_meta(path, c.file, model_hash, &c.meta);
  if (status.code != DHC_OK) {
    dhc_safetensors_close(c.file);
    return status;
  }
  *out = c;
  return status;
}

dhc_status dhc_checkpoint_open_latest(const char *folder, const char *model_hash,
                                      const DhcWarn *warn, DhcCheckpoint *out) {
  int64_t *steps, n;
  DHC_TRY(list_steps(folder, &steps, &n));
  dhc_status status = dhc_status_make(DHC_E_INPUT, "%s: has no checkpoint", folder);
  for (int64_t i = n - 1; i >= 0; i--) {
    char *path = path_of(folder, steps[i]);
    if (path == NULL) {
      status = dhc_status_memory((long long)strlen(folder), "a path");
      break;
    }
    status = dhc_checkpoint_open(path, model_hash, out);
    bool damaged = status.code == DHC_E_INPUT && strstr(status.message, ": error: ") != NULL;
    free(path);
    if (!damaged) { /* opened, or wrong in a way that an older one would be too */
      break;
    }
    dhc_warn(warn, DHC_WARN_WARNING, "%s (trying the one before)", status.message);
  }
  free(steps);
  return status;
}

void dhc_checkpoint_close(DhcCheckpoint *c) {
  dhc_safetensors_close(c->file);
  c->file = NULL;
}
