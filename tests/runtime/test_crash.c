/* The machine stops in the middle of a save. The calls of one save are recorded; then, for every
 * prefix of them, the folder is made as a disk may hold it: names and bytes that no fsync has put
 * there may be there, be lost, or (bytes) be torn at 4 KiB. Whatever is left, the newest checkpoint
 * must be the old or the new one, whole; from the fsync of the folder on, the new one. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "support.h"

/* ---- recording -------------------------------------------------------------------------- */

typedef enum Kind { CREATE, WRITE, SYNC, SYNC_FOLDER, RENAME, REMOVE } Kind;
typedef struct Call {
  Kind kind;
  int file; /* CREATE, WRITE, SYNC */
  int64_t at;
  uint8_t *bytes;
  size_t n;
  char name[128], to[128];
} Call;

enum { MAX_CALLS = 400, MAX_FILES = 16, MAX_FD = 256 };
static Call calls[MAX_CALLS];
static int n_calls, n_files;
static bool recording;
static int file_of[MAX_FD];   /* of a descriptor, -1: none */
static int64_t end_of[MAX_FD];

static Call *add(Kind kind, int file) {
  assert_true(n_calls < MAX_CALLS);
  calls[n_calls] = (Call){.kind = kind, .file = file};
  return &calls[n_calls++];
}

static void add_bytes(int fd, const void *from, size_t n, int64_t at) {
  Call *c = add(WRITE, file_of[fd]);
  c->at = at;
  c->n = n;
  c->bytes = malloc(n + 1);
  memcpy(c->bytes, from, n);
}

static const char *last(const char *path) {
  const char *slash = strrchr(path, '/');
  return slash != NULL ? slash + 1 : path;
}

int __real_openat(int dir, const char *path, int flags, ...);
int __wrap_openat(int dir, const char *path, int flags, int mode);
int __wrap_openat(int dir, const char *path, int flags, int mode) {
  int fd = __real_openat(dir, path, flags, mode);
  if (recording && fd >= 0 && (flags & O_CREAT)) {
    assert_true(fd < MAX_FD && n_files < MAX_FILES);
    file_of[fd] = n_files++;
    end_of[fd] = 0;
    snprintf(add(CREATE, file_of[fd])->name, sizeof calls->name, "%s", last(path));
  }
  return fd;
}
ssize_t __real_write(int fd, const void *from, size_t n);
ssize_t __wrap_write(int fd, const void *from, size_t n);
ssize_t __wrap_write(int fd, const void *from, size_t n) {
  ssize_t k = __real_write(fd, from, n);
  if (recording && k > 0 && file_of[fd] >= 0) {
    add_bytes(fd, from, (size_t)k, end_of[fd]);
    end_of[fd] += k;
  }
  return k;
}
ssize_t __real_pwrite(int fd, const void *from, size_t n, off_t at);
ssize_t __wrap_pwrite(int fd, const void *from, size_t n, off_t at);
ssize_t __wrap_pwrite(int fd, const void *from, size_t n, off_t at) {
  ssize_t k = __real_pwrite(fd, from, n, at);
  if (recording && k > 0 && file_of[fd] >= 0) {
    add_bytes(fd, from, (size_t)k, at);
  }
  return k;
}
int __real_fsync(int fd);
int __wrap_fsync(int fd);
int __wrap_fsync(int fd) {
  if (recording) {
    add(file_of[fd] >= 0 ? SYNC : SYNC_FOLDER, file_of[fd]);
  }
  return __real_fsync(fd);
}
int __real_renameat(int a, const char *from, int b, const char *to);
int __wrap_renameat(int a, const char *from, int b, const char *to);
int __wrap_renameat(int a, const char *from, int b, const char *to) {
  if (recording) {
    Call *c = add(RENAME, -1);
    snprintf(c->name, sizeof c->name, "%s", last(from));
    snprintf(c->to, sizeof c->to, "%s", last(to));
  }
  return __real_renameat(a, from, b, to);
}
int __real_unlink(const char *path);
int __wrap_unlink(const char *path);
int __wrap_unlink(const char *path) {
  if (recording) {
    snprintf(add(REMOVE, -1)->name, sizeof calls->name, "%s", last(path));
  }
  return __real_unlink(path);
}

/* ---- the disk ------------------------------------------------------------------------------ */

typedef struct File {
  uint8_t *bytes; /* NULL: empty */
  size_t n;
} File;
typedef struct Disk {
  File now[MAX_FILES], synced[MAX_FILES];
  struct {
    char name[128];
    int file;
  } names[MAX_FILES], kept[MAX_FILES]; /* now; at the folder's last fsync */
  int n_names, n_kept;
} Disk;

static void put(File *f, int64_t at, const uint8_t *bytes, size_t n) {
  size_t need = (size_t)at + n;
  if (need > f->n) {
    f->bytes = realloc(f->bytes, need);
    memset(f->bytes + f->n, 0, need - f->n);
    f->n = need;
  }
  memcpy(f->bytes + at, bytes, n);
}

static void copy(File *to, const File *from) {
  free(to->bytes);
  *to = (File){.n = from->n, .bytes = malloc(from->n + 1)};
  memcpy(to->bytes, from->bytes != NULL ? from->bytes : (const uint8_t *)"", from->n);
}

static void forget(Disk *d, const char *name) {
  for (int i = 0; i < d->n_names; i++) {
    if (strcmp(d->names[i].name, name) == 0) {
      d->names[i] = d->names[--d->n_names];
      return;
    }
  }
}

static void name(Disk *d, const char *text, int file) {
  forget(d, text);
  snprintf(d->names[d->n_names].name, sizeof d->names->name, "%s", text);
  d->names[d->n_names++].file = file;
}

static void keep_names(Disk *d) {
  memcpy(d->kept, d->names, sizeof d->kept);
  d->n_kept = d->n_names;
}

static void apply(Disk *d, const Call *c) {
  switch (c->kind) {
  case CREATE: name(d, c->name, c->file); break;
  case WRITE: put(&d->now[c->file], c->at, c->bytes, c->n); break;
  case SYNC: copy(&d->synced[c->file], &d->now[c->file]); break;
  case SYNC_FOLDER: keep_names(d); break;
  case REMOVE: forget(d, c->name); break;
  case RENAME:
    for (int i = 0; i < d->n_names; i++) {
      if (strcmp(d->names[i].name, c->name) == 0) {
        int file = d->names[i].file;
        forget(d, c->name);
        name(d, c->to, file);
        break;
      }
    }
  }
}

static void read_into(File *f, const char *folder, const char *text) {
  char path[512];
  f->bytes = support_read(support_join(path, folder, text), &f->n);
}

static void drop(Disk *d) {
  for (int i = 0; i < MAX_FILES; i++) {
    free(d->now[i].bytes);
    free(d->synced[i].bytes);
  }
}

/* Bytes of a file that the disk holds: those of its last fsync, and of what came after the first
 * `torn` 4 KiB (-1: none, INT_MAX: all). A block is there or zero. */
static void write_file(const char *path, const File *now, const File *synced, int torn) {
  File f = {NULL, 0};
  copy(&f, synced);
  size_t most = torn < 0 ? 0 : (size_t)torn * 4096;
  if (now->n > synced->n && torn >= 0) {
    uint8_t zero = 0;
    put(&f, (int64_t)now->n - 1, &zero, 1); /* the size may have come before the bytes */
  }
  size_t n = now->n < most ? now->n : most;
  if (n > 0) {
    put(&f, 0, now->bytes, n);
  }
  support_write(path, f.bytes, f.n);
  free(f.bytes);
}

/* The folder as the disk may hold it. */
static void make(const Disk *d, const char *folder, bool names_now, int torn) {
  char path[512];
  assert_ok(dhc_file_make_folder(folder));
  int n = names_now ? d->n_names : d->n_kept;
  for (int i = 0; i < n; i++) {
    int file = names_now ? d->names[i].file : d->kept[i].file;
    write_file(support_join(path, folder, names_now ? d->names[i].name : d->kept[i].name), &d->now[file],
               &d->synced[file], torn);
  }
}

/* ---- the test ------------------------------------------------------------------------------- */

enum { N = 5000 };
static float values[N];

static dhc_status save(const char *folder, int64_t step) {
  for (int i = 0; i < N; i++) {
    values[i] = (float)(i * step);
  }
  DhcTensorView v = {.name = "w", .dtype = DHC_F32, .rank = 1, .shape = {N}, .data = values, .bytes = sizeof values};
  DhcCheckpointMeta meta = {.step = step, .model_hash = "ab", .run_id = "cd"};
  return dhc_checkpoint_save(folder, &meta, &v, 1, 2, NULL);
}

static void check(const char *folder, bool must_be_new) {
  DhcCheckpoint c;
  assert_ok(dhc_checkpoint_open_latest(folder, "cd", NULL, &c));
  assert_non_null(c.file);
  assert_true(c.meta.step == 3 || (!must_be_new && c.meta.step == 2));
  const DhcTensorView *w = dhc_safetensors_find(c.file, "w");
  for (int i = 0; i < N; i++) {
    float got;
    memcpy(&got, (const char *)w->data + (size_t)i * sizeof got, sizeof got);
    assert_true(got == (float)(i * c.meta.step));
  }
  dhc_checkpoint_close(&c);
}

static void every_prefix(void **state) {
  (void)state;
  char root[256], folder[512], disk[512];
  support_folder(root);
  support_join(folder, root, "run");
  support_join(disk, root, "disk");
  assert_ok(dhc_file_make_folder(folder));
  assert_ok(save(folder, 1));
  assert_ok(save(folder, 2));
  Disk d = {.n_names = 0};
  static const char *const before[] = {"checkpoint-000000001.safetensors", "checkpoint-000000002.safetensors"};
  for (; n_files < 2; n_files++) {
    read_into(&d.now[n_files], folder, before[n_files]);
    copy(&d.synced[n_files], &d.now[n_files]);
    name(&d, before[n_files], n_files);
  }
  keep_names(&d);
  memset(file_of, -1, sizeof file_of);
  recording = true;
  dhc_status status = save(folder, 3);
  recording = false;
  assert_ok(status);
  int n_states = 0, seen[6] = {0};
  bool durable = false;
  for (int k = 0; k <= n_calls; k++) {
    for (int names = 0; names < 2; names++) {
      for (int torn = -1; torn <= 6; torn++) { /* 6: more than the file has */
        make(&d, disk, names == 1, torn);
        check(disk, durable);
        support_drop(disk);
        n_states++;
      }
    }
    if (k < n_calls) {
      apply(&d, &calls[k]);
      seen[calls[k].kind]++;
      durable = durable || (calls[k].kind == SYNC_FOLDER && seen[RENAME]);
      free(calls[k].bytes);
    }
  }
  /* The save did what makes it safe, and in the model as on the disk the new one is there. */
  assert_true(seen[CREATE] == 1 && seen[WRITE] >= 2 && seen[SYNC] == 1 && seen[RENAME] == 1 && seen[SYNC_FOLDER] == 1 &&
              seen[REMOVE] == 1);
  assert_true(durable);
  print_message("%d calls, %d states of the disk\n", n_calls, n_states);
  drop(&d);
  support_drop(root);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(every_prefix)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
