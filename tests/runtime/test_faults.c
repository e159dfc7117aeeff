/* Failing system calls and failing allocation: for every k the k-th call of a
 * piece of work fails, once or from then on. Nothing may crash or leak (under the
 * sanitizers), and an older checkpoint must survive whatever happens to a save. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "support.h"

/* ---- the faults ---------------------------------------------------------------------- */

typedef enum Kind { KIND_NONE, KIND_CALL, KIND_MEMORY } Kind;
static struct {
  Kind kind;
  long at;      /* which call fails, from 1 */
  bool forever; /* and all later ones */
  bool halve;   /* reads and writes move half instead of failing */
  int err;
  long seen;
} fault;

static bool strikes(Kind kind) {
  if (fault.kind != kind) {
    return false;
  }
  fault.seen++;
  return fault.seen == fault.at || (fault.forever && fault.seen > fault.at);
}

static bool fails(void) {
  if (!strikes(KIND_CALL) || fault.halve) {
    return false;
  }
  errno = fault.err;
  return true;
}

/* Bytes that a read or write of n moves; -1 if it fails. */
static ssize_t moved(size_t n) {
  bool hit = strikes(KIND_CALL);
  if (hit && !fault.halve) {
    errno = fault.err;
    return -1;
  }
  return hit && n > 1 ? (ssize_t)(n / 2) : (ssize_t)n;
}

/* The linker sends the runtime's calls here (--wrap). */
int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, int mode);
int __wrap_open(const char *path, int flags, int mode) {
  return fails() ? -1 : __real_open(path, flags, mode);
}
int __real_openat(int dir, const char *path, int flags, ...);
int __wrap_openat(int dir, const char *path, int flags, int mode);
int __wrap_openat(int dir, const char *path, int flags, int mode) {
  return fails() ? -1 : __real_openat(dir, path, flags, mode);
}
int __real_fstat(int fd, struct stat *st);
int __wrap_fstat(int fd, struct stat *st);
int __wrap_fstat(int fd, struct stat *st) {
  return fails() ? -1 : __real_fstat(fd, st);
}
void *__real_mmap(void *at, size_t n, int prot, int flags, int fd, off_t offset);
void *__wrap_mmap(void *at, size_t n, int prot, int flags, int fd, off_t offset);
void *__wrap_mmap(void *at, size_t n, int prot, int flags, int fd, off_t offset) {
  return fails() ? MAP_FAILED : __real_mmap(at, n, prot, flags, fd, offset);
}
ssize_t __real_read(int fd, void *to, size_t n);
ssize_t __wrap_read(int fd, void *to, size_t n);
ssize_t __wrap_read(int fd, void *to, size_t n) {
  ssize_t k = moved(n);
  return k < 0 ? -1 : __real_read(fd, to, (size_t)k);
}
ssize_t __real_write(int fd, const void *from, size_t n);
ssize_t __wrap_write(int fd, const void *from, size_t n);
ssize_t __wrap_write(int fd, const void *from, size_t n) {
  ssize_t k = moved(n);
  return k < 0 ? -1 : __real_write(fd, from, (size_t)k);
}
ssize_t __real_pwrite(int fd, const void *from, size_t n, off_t at);
ssize_t __wrap_pwrite(int fd, const void *from, size_t n, off_t at);
ssize_t __wrap_pwrite(int fd, const void *from, size_t n, off_t at) {
  ssize_t k = moved(n);
  return k < 0 ? -1 : __real_pwrite(fd, from, (size_t)k, at);
}
int __real_fsync(int fd);
int __wrap_fsync(int fd);
int __wrap_fsync(int fd) {
  return fails() ? -1 : __real_fsync(fd);
}
int __real_renameat(int a, const char *from, int b, const char *to);
int __wrap_renameat(int a, const char *from, int b, const char *to);
int __wrap_renameat(int a, const char *from, int b, const char *to) {
  return fails() ? -1 : __real_renameat(a, from, b, to);
}
int __real_mkdir(const char *path, mode_t mode);
int __wrap_mkdir(const char *path, mode_t mode);
int __wrap_mkdir(const char *path, mode_t mode) {
  return fails() ? -1 : __real_mkdir(path, mode);
}
void *__real_malloc(size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_malloc(size_t n) {
  return strikes(KIND_MEMORY) ? NULL : __real_malloc(n);
}
void *__real_calloc(size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size) {
  return strikes(KIND_MEMORY) ? NULL : __real_calloc(n, size);
}
void *__real_realloc(void *p, size_t n);
void *__wrap_realloc(void *p, size_t n);
void *__wrap_realloc(void *p, size_t n) {
  return strikes(KIND_MEMORY) ? NULL : __real_realloc(p, n);
}
void *__real_aligned_alloc(size_t align, size_t n);
void *__wrap_aligned_alloc(size_t align, size_t n);
void *__wrap_aligned_alloc(size_t align, size_t n) {
  return strikes(KIND_MEMORY) ? NULL : __real_aligned_alloc(align, n);
}
char *__real_strdup(const char *s);
char *__wrap_strdup(const char *s);
char *__wrap_strdup(const char *s) {
  return strikes(KIND_MEMORY) ? NULL : __real_strdup(s);
}
char *__real_strndup(const char *s, size_t n);
char *__wrap_strndup(const char *s, size_t n);
char *__wrap_strndup(const char *s, size_t n) {
  return strikes(KIND_MEMORY) ? NULL : __real_strndup(s, n);
}

/* ---- the work ------------------------------------------------------------------------ */

typedef struct Place {
  char folder[256], run[512], cache[512], csv[512], npy[512], spec[600];
  int64_t step; /* of the checkpoint that is being saved */
} Place;

static float values[6] = {1, 2, 3, 4, 5, 6};
static const DhcTensorView tensor = {.name = "w", .dtype = DHC_F32, .rank = 2, .shape = {2, 3},
                                     .data = values, .bytes = 24};

static dhc_status save(Place *p) {
  static const DhcMetaPair more = {"run.lr", "1"};
  DhcCheckpointMeta meta = {.step = p->step, .model_hash = "ab", .run_id = "cd", .more = &more, .n_more = 1};
  return dhc_checkpoint_save(p->run, &meta, &tensor, 1, 2, NULL);
}

static dhc_status load(Place *p) {
  DhcCheckpoint c;
  DHC_TRY(dhc_checkpoint_open_latest(p->run, "cd", NULL, &c));
  dhc_checkpoint_close(&c);
  return dhc_status_ok();
}

static dhc_status folder(Place *p) {
  DhcRunFolder f;
  DHC_TRY(dhc_run_folder_open(p->run, true, NULL, &f));
  dhc_run_folder_close(&f);
  return dhc_status_ok();
}

static dhc_status cache(Place *p) {
  static const char key[] = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
  DhcStoreOptions options = {.dir = p->cache, .features = "avx2"};
  DhcStore *s;
  DhcStoreList list;
  DhcStoreBytes b;
  DHC_TRY(dhc_store_open(&options, &s));
  if (dhc_store_get(s, key, &b)) {
    assert_memory_equal(b.bytes, "code", 4);
    dhc_store_bytes_free(&b);
  }
  (void)dhc_store_put(s, key, "avx2", "code", 4);
  dhc_status status = dhc_store_verify(s, false, &list);
  if (status.code == DHC_OK) {
    dhc_store_list_free(&list);
    status = dhc_store_prune(s, 1 << 20, NULL, NULL);
  }
  dhc_store_close(s);
  return status;
}

static dhc_status tables(Place *p) {
  static const char *const columns[] = {"step", "loss"};
  DhcMetrics *m;
  DHC_TRY(dhc_npy_write(p->npy, &tensor));
  DHC_TRY(dhc_metrics_open(p->csv, NULL, columns, 2, 0, true, &m));
  int64_t kept;
  dhc_status status = dhc_metrics_keep(m, 1, &kept);
  if (status.code == DHC_OK) {
    status = dhc_metrics_row(m, (double[]){1, 2}, NULL);
  }
  if (status.code == DHC_OK) {
    status = dhc_metrics_sync(m);
  }
  dhc_metrics_close(m);
  return status;
}

static dhc_status data(Place *p) {
  DhcDataset *d;
  DhcBatcher *b;
  DHC_TRY(dhc_dataset_open(p->spec, DHC_SPLIT_TRAIN, NULL, &d));
  DhcBatchOptions options = {.batch = 2, .shuffle = true};
  dhc_status status = dhc_batcher_new(d, &options, &b);
  if (status.code == DHC_OK) {
    dhc_batcher_free(b);
  }
  dhc_dataset_free(d);
  return status;
}

static dhc_status threads_and_plan(Place *p) {
  static const dhc_plan empty = {.name = "empty"};
  DhcPool *pool;
  DhcBound *bound;
  (void)p;
  DHC_TRY(dhc_pool_new(2, &pool));
  dhc_status status = dhc_plan_bind(&empty, NULL, NULL, 2, &bound);
  if (status.code == DHC_OK) {
    dhc_bound_free(bound);
  }
  dhc_pool_free(pool);
  return status;
}

static dhc_status (*const work[])(Place *) = {save, load, folder, cache, tables, data, threads_and_plan};

static void make_place(Place *p) {
  char path[512];
  memset(p, 0, sizeof *p);
  support_folder(p->folder);
  support_join(p->run, p->folder, "run");
  support_join(p->cache, p->folder, "cache");
  support_join(p->csv, p->folder, "m.csv");
  support_join(p->npy, p->folder, "out.npy");
  snprintf(p->spec, sizeof p->spec, "npy:%s/data", p->folder);
  assert_ok(dhc_file_make_folder(support_join(path, p->folder, "data/train")));
  assert_ok(dhc_npy_write(support_join(path, p->folder, "data/train/x.npy"), &tensor));
  assert_ok(dhc_npy_write(support_join(path, p->folder, "data/train/y.npy"), &tensor));
  assert_ok(dhc_file_make_folder(p->run)); /* one that was made and is empty would go when it is closed */
  assert_ok(folder(p));
  p->step = 1;
  assert_ok(save(p));
}

/* The folder holds a whole checkpoint of step `old` or `saved`. */
static void check_checkpoints(Place *p, int64_t old, int64_t saved, bool said_ok) {
  DhcCheckpoint c;
  assert_ok(dhc_checkpoint_open_latest(p->run, "cd", NULL, &c));
  assert_true(c.meta.step == saved || (!said_ok && c.meta.step == old));
  assert_memory_equal(dhc_safetensors_find(c.file, "w")->data, values, sizeof values);
  dhc_checkpoint_close(&c);
}

/* Every k for one kind of fault; returns how many faults were met. */
static long every_call(Kind kind, bool forever, bool halve, int err, bool must_succeed) {
  Place p;
  long n_faults = 0;
  make_place(&p);
  for (size_t w = 0; w < sizeof work / sizeof work[0]; w++) {
    for (long k = 1; k < 2000; k++) {
      int64_t old = p.step;
      if (work[w] == save) {
        p.step++;
      }
      fault.kind = kind;
      fault.at = k;
      fault.forever = forever;
      fault.halve = halve;
      fault.err = err;
      fault.seen = 0;
      dhc_status status = work[w](&p);
      fault.kind = KIND_NONE;
      if (fault.seen < k) {
        assert_ok(status);
        break;
      }
      n_faults++;
      if (must_succeed) {
        assert_ok(status);
      } else if (status.code != DHC_OK) {
        assert_true(status.message[0] != '\0');
      }
      if (work[w] == save) {
        check_checkpoints(&p, old, p.step, status.code == DHC_OK);
        assert_int_equal(dhc_file_sweep(p.run), 0); /* a failed save cleans up itself */
        assert_ok(save(&p));
      }
    }
  }
  support_drop(p.folder);
  return n_faults;
}

static void io_errors(void **state) {
  (void)state;
  assert_in_range(every_call(KIND_CALL, false, false, EIO, false), 30, 2000);
  assert_in_range(every_call(KIND_CALL, true, false, ENOSPC, false), 30, 2000);
}

static void short_counts(void **state) {
  (void)state;
  assert_in_range(every_call(KIND_CALL, true, true, 0, true), 20, 2000);
}

static void no_memory(void **state) {
  (void)state;
  assert_in_range(every_call(KIND_MEMORY, false, false, 0, false), 30, 2000);
  assert_in_range(every_call(KIND_MEMORY, true, false, 0, false), 30, 2000);
}

static void disk_full_says_what_is_kept(void **state) {
  (void)state;
  Place p;
  make_place(&p);
  p.step = 2;
  fault.kind = KIND_CALL;
  fault.at = 4; /* the first write */
  fault.forever = true;
  fault.halve = false;
  fault.err = ENOSPC;
  fault.seen = 0;
  dhc_status status = save(&p);
  fault.kind = KIND_NONE;
  assert_int_equal(status.code, DHC_E_ENVIRONMENT);
  assert_non_null(
      strstr(status.message, "2.safetensors: no space left on device; checkpoint of step 1 kept"));
  support_drop(p.folder);
}

/* ---- being killed ---------------------------------------------------------------------- */

static void killed(void **state) {
  (void)state;
  Place p;
  make_place(&p);
  for (int cycle = 0; cycle < 25; cycle++) {
    pid_t pid = fork();
    if (pid == 0) {
      for (;; p.step++) {
        if (save(&p).code != DHC_OK) {
          _exit(1);
        }
      }
    }
    struct timespec nap = {.tv_nsec = 1000 * (long)dhc_rng_below(1, 2, (uint64_t)cycle, 3, 8000)};
    nanosleep(&nap, NULL);
    kill(pid, SIGKILL);
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    DhcCheckpoint c;
    assert_ok(folder(&p));
    assert_ok(dhc_checkpoint_open_latest(p.run, "cd", NULL, &c));
    assert_true(c.meta.step >= p.step);
    p.step = c.meta.step;
    dhc_checkpoint_close(&c);
    assert_int_equal(dhc_file_sweep(p.run), 0);
  }
  support_drop(p.folder);
}

static void key_of(int which, char key[65]) {
  uint8_t digest[32];
  dhc_sha256_bytes(&which, sizeof which, digest);
  dhc_sha256_hex(digest, key);
}

/* What a compiling process does: get, and put what is not there. */
static void use_cache(const char *folder, int first, int n_uses) {
  DhcStoreOptions options = {.dir = folder};
  DhcStore *s;
  for (int i = 0; i < n_uses; i++) {
    uint8_t payload[5000];
    char key[65];
    int which = (first + i) % 20;
    DhcStoreBytes b;
    if (dhc_store_open(&options, &s).code != DHC_OK) {
      _exit(1);
    }
    key_of(which, key);
    memset(payload, which + 1, sizeof payload);
    if (dhc_store_get(s, key, &b)) {
      if (b.n_bytes != sizeof payload || memcmp(b.bytes, payload, sizeof payload) != 0) {
        _exit(1);
      }
      dhc_store_bytes_free(&b);
    }
    if (!dhc_store_put(s, key, "", payload, sizeof payload)) {
      _exit(1);
    }
    dhc_store_close(s);
  }
  _exit(0);
}

static void shared_cache(void **state) {
  (void)state;
  Place p;
  make_place(&p);
  for (int round = 0; round < 4; round++) {
    pid_t pids[6];
    for (int i = 0; i < 6; i++) {
      pids[i] = fork();
      if (pids[i] == 0) {
        use_cache(p.cache, 3 * i, 60);
      }
    }
    struct timespec nap = {.tv_nsec = 1000 * (long)dhc_rng_below(1, 5, (uint64_t)round, 0, 4000)};
    nanosleep(&nap, NULL);
    kill(pids[0], SIGKILL);
    kill(pids[1], SIGKILL);
    for (int i = 0; i < 6; i++) {
      int status;
      assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
      assert_true(i < 2 || (WIFEXITED(status) && WEXITSTATUS(status) == 0));
    }
    DhcStoreOptions options = {.dir = p.cache};
    DhcStore *s;
    DhcStoreList list;
    assert_ok(dhc_store_open(&options, &s));
    assert_ok(dhc_store_verify(s, false, &list));
    assert_int_equal(list.n_entries, 20);
    for (int i = 0; i < 20; i++) {
      assert_true(list.entries[i].ok);
    }
    dhc_store_list_free(&list);
    assert_ok(dhc_store_prune(s, INT64_MAX, NULL, NULL)); /* the dead writers' leftovers */
    dhc_store_close(s);
    assert_int_equal(dhc_file_sweep(p.cache), 0);
  }
  support_drop(p.folder);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(io_errors), cmocka_unit_test(short_counts),
      cmocka_unit_test(no_memory), cmocka_unit_test(disk_full_says_what_is_kept),
      cmocka_unit_test(killed),    cmocka_unit_test(shared_cache),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
