#include "runtime/checkpoint.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/io.h"
#include "runtime/run_folder.h"

static const char seal_key[] = "dhc.sha256";
static const char format_version[] = "2";
static const char name_prefix[] = "checkpoint-", name_suffix[] = ".safetensors";
enum { N_META = 9, DEFAULT_KEEP = 2 };

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
  DhcMetaPair own[N_META] = {
      {"dhc.checkpoint", format_version},
      {"dhc.data.epoch", epoch},
      {"dhc.data.next", next},
      {"dhc.data.seed", data_seed},
      {"dhc.model", meta->model_hash},
      {"dhc.rng.seed", rng_seed},
      {"dhc.run", meta->run_id},
      {"dhc.step", step},
      {"dhc.stop", meta->stop ? "1" : "0"}};
  DhcMetaPair *pairs = malloc(sizeof own + (size_t)meta->n_more * sizeof *pairs);
  if (pairs == NULL) {
    return dhc_status_memory((long long)sizeof own, "a checkpoint");
  }
  memcpy(pairs, own, sizeof own);
  if (meta->n_more > 0) {
    memcpy(pairs + N_META, meta->more, (size_t)meta->n_more * sizeof *pairs);
  }
  dhc_status status = dhc_safetensors_write_sealed(path, tensors, n_tensors, pairs,
                                                   N_META + meta->n_more, seal_key);
  free(pairs);
  return status;
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

/* Whose a checkpoint is, without its seal; false: nobody can tell. */
static bool peek(const char *path, char run_id[DHC_RUN_ID_CHARS], bool *stop) {
  DhcSafetensors *file;
  if (dhc_safetensors_open(path, &file).code != DHC_OK) {
    return false;
  }
  const char *id = dhc_safetensors_meta(file, "dhc.run");
  const char *stopped = dhc_safetensors_meta(file, "dhc.stop");
  bool known = id != NULL && strlen(id) < DHC_RUN_ID_CHARS;
  if (known) {
    snprintf(run_id, DHC_RUN_ID_CHARS, "%s", id);
    *stop = stopped != NULL && strcmp(stopped, "1") == 0;
  }
  dhc_safetensors_close(file);
  return known;
}

/* Walks the names of a folder's checkpoints, newest first. */
typedef struct Each {
  const char *folder;
  int64_t *steps, n; /* n: those not yet seen */
  char *path;        /* of the one at hand */
} Each;

static Each each_begin(const char *folder) {
  Each e = {.folder = folder};
  if (list_steps(folder, &e.steps, &e.n).code != DHC_OK) {
    e = (Each){.folder = folder}; /* one file too many harms nobody */
  }
  return e;
}

static bool each_next(Each *e, int64_t *step) {
  free(e->path);
  e->path = NULL;
  if (e->n > 0) {
    *step = e->steps[--e->n];
    e->path = path_of(e->folder, *step);
  }
  return e->path != NULL;
}

static void each_end(Each *e) {
  free(e->path);
  free(e->steps);
}

void dhc_checkpoint_prune(const char *folder, const char *run_id, int64_t step, bool stop,
                          int32_t n_keep) {
  int32_t most = n_keep > 0 ? n_keep : DEFAULT_KEEP, kept = stop ? 0 : 1;
  Each e = each_begin(folder);
  for (int64_t at; each_next(&e, &at);) {
    char id[DHC_RUN_ID_CHARS];
    bool extra;
    if (at < step && peek(e.path, id, &extra) && strcmp(id, run_id) == 0 &&
        (extra || kept++ >= most)) {
      (void)unlink(e.path);
    }
  }
  each_end(&e);
}

void dhc_checkpoint_remove_run(const char *folder, const char *run_id) {
  Each e = each_begin(folder);
  for (int64_t at; each_next(&e, &at);) {
    char id[DHC_RUN_ID_CHARS];
    bool extra;
    if (run_id == NULL || (peek(e.path, id, &extra) && strcmp(id, run_id) == 0)) {
      (void)unlink(e.path); /* a folder of that name stays */
    }
  }
  each_end(&e);
}

dhc_status dhc_checkpoint_newest(const char *folder, int64_t *step) {
  int64_t *steps = NULL, n = 0;
  dhc_status listed = list_steps(folder, &steps, &n);
  *step = n > 0 ? steps[n - 1] : -1;
  free(steps);
  return listed.code == DHC_E_INPUT ? dhc_status_ok() : listed; /* no such folder */
}

void dhc_checkpoint_runs(const char *folder, void (*seen)(void *ctx, const char *run_id), void *ctx) {
  Each e = each_begin(folder);
  for (int64_t at; each_next(&e, &at);) {
    char id[DHC_RUN_ID_CHARS];
    bool extra;
    if (peek(e.path, id, &extra)) {
      seen(ctx, id);
    }
  }
  each_end(&e);
}

/* Makes room for a checkpoint at `path`: what is not this run's to replace is renamed. */
static dhc_status put_aside(const char *path, const char *run_id, const DhcWarn *warn) {
  struct stat st;
  char id[DHC_RUN_ID_CHARS], to[4096];
  bool extra, file = false;
  if (lstat(path, &st) != 0) {
    return dhc_status_ok();
  }
  file = S_ISREG(st.st_mode);
  if (file && (!peek(path, id, &extra) || strcmp(id, run_id) == 0)) {
    return dhc_status_ok();
  }
  for (int i = 0; i < 1000; i++) {
    int n = snprintf(to, sizeof to, i == 0 ? "%s.aside" : "%s.aside-%d", path, i);
    if (n < 0 || (size_t)n >= sizeof to) {
      break;
    }
    if (lstat(to, &st) == 0) {
      continue;
    }
    if (rename(path, to) != 0) {
      return dhc_status_errno(errno, "%s", path);
    }
    dhc_warn(warn, DHC_WARN_WARNING, "%s: %s; renamed to %s", path,
             file ? "is a checkpoint of another run" : "is in the way of a checkpoint", to);
    return dhc_status_ok();
  }
  return dhc_status_make(DHC_E_ENVIRONMENT, "%s: cannot be renamed", path);
}

dhc_status dhc_checkpoint_save(const char *folder, const DhcCheckpointMeta *meta,
                               const DhcTensorView *tensors, int32_t n_tensors, int32_t n_keep,
                               const DhcWarn *warn) {
  char *path = path_of(folder, meta->step);
  if (path == NULL) {
    return dhc_status_memory((long long)strlen(folder), "a path");
  }
  dhc_status status = put_aside(path, meta->run_id, warn);
  if (status.code == DHC_OK) {
    status = dhc_checkpoint_write(path, meta, tensors, n_tensors);
  }
  if (status.code != DHC_OK) {
    status = with_kept(status, folder);
  } else {
    dhc_checkpoint_prune(folder, meta->run_id, meta->step, meta->stop, n_keep);
  }
  free(path);
  return status;
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
  const char *stop = dhc_safetensors_meta(file, "dhc.stop");
  out->model_hash = dhc_safetensors_meta(file, "dhc.model");
  out->run_id = dhc_safetensors_meta(file, "dhc.run");
  if (out->model_hash == NULL || out->run_id == NULL || stop == NULL ||
      strlen(out->run_id) >= DHC_RUN_ID_CHARS ||
      !read_number(file, "dhc.step", INT64_MAX, &out->step) ||
      !read_number(file, "dhc.data.epoch", INT64_MAX, &out->data.epoch) ||
      !read_number(file, "dhc.data.next", INT64_MAX, &out->data.next) ||
      !read_number(file, "dhc.data.seed", UINT32_MAX, &data_seed) ||
      !read_number(file, "dhc.rng.seed", UINT32_MAX, &rng_seed)) {
    return dhc_status_file(path, "checkpoint lacks part of its metadata");
  }
  out->data.seed = (uint32_t)data_seed;
  out->rng_seed = (uint32_t)rng_seed;
  out->stop = strcmp(stop, "1") == 0;
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

/* Whose the checkpoints are where only one run may be meant. */
typedef struct Owners {
  const char *first;
  char other[DHC_RUN_ID_CHARS];
} Owners;

static void compare_owner(void *ctx, const char *run_id) {
  Owners *o = ctx;
  if (strcmp(run_id, o->first) != 0) {
    snprintf(o->other, sizeof o->other, "%s", run_id);
  }
}

static dhc_status only_owner(const char *folder, const char *run_id) {
  Owners o = {.first = run_id};
  dhc_checkpoint_runs(folder, compare_owner, &o);
  return o.other[0] == '\0'
             ? dhc_status_ok()
             : dhc_status_make(DHC_E_INPUT,
                               "%s: has checkpoints of the runs %.8s and %.8s, and no config.json "
                               "that says which of them to go on with",
                               folder, run_id, o.other);
}

dhc_status dhc_checkpoint_open_latest(const char *folder, const char *run_id, const DhcWarn *warn,
                                      DhcCheckpoint *out) {
  *out = (DhcCheckpoint){.file = NULL};
  Each e = {.folder = folder};
  DHC_TRY(list_steps(folder, &e.steps, &e.n));
  dhc_status unread = dhc_status_ok(); /* why the newest was skipped */
  dhc_status status = dhc_status_ok();
  for (int64_t at; each_next(&e, &at);) {
    status = dhc_checkpoint_open(e.path, NULL, out);
    if (status.code == DHC_E_INPUT) {
      unread = unread.code == DHC_OK ? status : unread;
      dhc_warn(warn, DHC_WARN_WARNING, "%s (trying the one before)", status.message);
      continue;
    }
    if (status.code != DHC_OK || run_id == NULL || strcmp(run_id, out->meta.run_id) == 0) {
      break;
    }
    dhc_warn(warn, DHC_WARN_WARNING, "%s: is a checkpoint of another run (%.8s); left alone", e.path,
             out->meta.run_id);
    dhc_checkpoint_close(out);
  }
  each_end(&e);
  if (status.code == DHC_OK && out->file != NULL && run_id == NULL) {
    status = only_owner(folder, out->meta.run_id);
    if (status.code != DHC_OK) {
      dhc_checkpoint_close(out);
    }
    return status;
  }
  return status.code == DHC_OK || status.code == DHC_E_INPUT
             ? out->file != NULL ? status : unread
             : status;
}

const char *dhc_checkpoint_text(const DhcCheckpoint *c, const char *key) {
  return dhc_safetensors_meta(c->file, key);
}

void dhc_checkpoint_close(DhcCheckpoint *c) {
  dhc_safetensors_close(c->file);
  c->file = NULL;
}
