/* The kernel store: hits, damage, privacy, CPU features, threads, pruning. */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <utime.h>

#include "support.h"

typedef struct Heard {
  pthread_mutex_t lock;
  int n;
  DhcWarnLevel level;
  char last[600];
} Heard;

static void hear(void *ctx, DhcWarnLevel level, const char *line) {
  Heard *h = ctx;
  pthread_mutex_lock(&h->lock);
  h->n++;
  h->level = level;
  snprintf(h->last, sizeof h->last, "%s", line);
  pthread_mutex_unlock(&h->lock);
}

static DhcStore *open_store(const char *dir, const char *features, Heard *heard) {
  DhcStore *s;
  memset(heard, 0, sizeof *heard);
  pthread_mutex_init(&heard->lock, NULL);
  DhcStoreOptions options = {.dir = dir, .features = features, .warn = {heard, hear}};
  assert_ok(dhc_store_open(&options, &s));
  return s;
}

static void key_of(int i, char key[65]) {
  uint8_t digest[32];
  dhc_sha256_bytes(&i, sizeof i, digest);
  dhc_sha256_hex(digest, key);
}

static void assert_has(DhcStore *s, const char *key, const void *bytes, size_t n) {
  DhcStoreBytes b;
  assert_true(dhc_store_get(s, key, &b));
  assert_int_equal(b.n_bytes, n);
  assert_int_equal((uintptr_t)b.bytes % 64, 0);
  assert_memory_equal(b.bytes, bytes, n);
  dhc_store_bytes_free(&b);
}

static void hits(void **state) {
  (void)state;
  char folder[256], dir[512], key[65], none[65];
  Heard heard;
  DhcStoreBytes b;
  support_folder(folder);
  support_join(dir, folder, "a/b/cache");
  DhcStore *s = open_store(dir, NULL, &heard);
  assert_string_equal(dhc_store_path(s), dir);
  key_of(1, key);
  key_of(2, none);
  assert_false(dhc_store_get(s, key, &b));
  assert_true(dhc_store_put(s, key, NULL, "code", 4));
  assert_has(s, key, "code", 4);
  assert_false(dhc_store_get(s, none, &b));
  assert_false(dhc_store_put(s, "../../evil", NULL, "x", 1));
  assert_false(dhc_store_get(s, "", &b));
  for (int i = 10; i < 300; i++) { /* the table in memory grows */
    char k[65];
    key_of(i, k);
    assert_true(dhc_store_put(s, k, "", &i, sizeof i));
  }
  DhcStoreStats stats = dhc_store_stats(s);
  assert_int_equal(stats.n_memory_hits, 1);
  assert_int_equal(stats.n_misses, 2);
  assert_int_equal(stats.n_puts, 291);
  dhc_store_close(s);
  struct stat st;
  assert_int_equal(stat(dir, &st), 0);
  assert_int_equal(st.st_mode & 0777, 0700);

  s = open_store(dir, NULL, &heard); /* another process, as it were */
  assert_has(s, key, "code", 4);
  assert_has(s, key, "code", 4);
  for (int i = 10; i < 300; i++) {
    char k[65];
    key_of(i, k);
    assert_has(s, k, &i, sizeof i);
  }
  stats = dhc_store_stats(s);
  assert_int_equal(stats.n_disk_hits, 291);
  assert_int_equal(stats.n_memory_hits, 1);
  assert_int_equal(heard.n, 0);
  dhc_store_close(s);
  support_drop(folder);
}

static void memory_only(void **state) {
  (void)state;
  DhcStoreOptions options = {.memory_only = true};
  DhcStore *s;
  DhcStoreList list;
  char key[65];
  key_of(1, key);
  assert_ok(dhc_store_open(&options, &s));
  assert_null(dhc_store_path(s));
  assert_true(dhc_store_put(s, key, NULL, "", 0));
  assert_has(s, key, "", 0);
  assert_ok(dhc_store_list(s, &list));
  assert_int_equal(list.n_entries, 0);
  dhc_store_list_free(&list);
  assert_ok(dhc_store_prune(s, 0, NULL, NULL));
  dhc_store_close(s);
}

static void privacy(void **state) {
  (void)state;
  char folder[256], dir[512], link[512], file[600], key[65];
  Heard heard;
  support_folder(folder);
  support_join(dir, folder, "cache");
  support_join(link, folder, "link");
  key_of(1, key);
  DhcStore *s = open_store(dir, NULL, &heard);
  assert_true(dhc_store_put(s, key, NULL, "code", 4));
  dhc_store_close(s);
  const char *refused = "cache folder is not private, running without cache";
  for (int k = 0; k < 3; k++) {
    const char *use = dir;
    if (k < 2) {
      assert_int_equal(chmod(dir, k == 0 ? 0777 : 0720), 0);
    } else {
      assert_int_equal(chmod(dir, 0700), 0);
      assert_int_equal(symlink(dir, link), 0);
      use = link;
    }
    s = open_store(use, NULL, &heard);
    assert_null(dhc_store_path(s));
    assert_int_equal(heard.n, 1);
    assert_string_equal(heard.last, refused);
    assert_true(dhc_store_put(s, key, NULL, "code", 4)); /* still works in memory */
    assert_has(s, key, "code", 4);
    dhc_store_close(s);
  }
  /* A file others may write, and a link in place of a file. */
  DhcStoreBytes b;
  snprintf(file, sizeof file, "%s/%s", dir, key);
  assert_int_equal(chmod(file, 0666), 0);
  s = open_store(dir, NULL, &heard);
  assert_false(dhc_store_get(s, key, &b));
  assert_int_equal(heard.n, 1);
  assert_non_null(strstr(heard.last, " is not private, rebuilt"));
  support_join(link, folder, "copy");
  assert_int_equal(rename(file, link), 0);
  assert_int_equal(chmod(link, 0600), 0);
  assert_int_equal(symlink(link, file), 0);
  assert_false(dhc_store_get(s, key, &b));
  dhc_store_close(s);
  /* A folder that cannot be made. */
  support_write(support_join(file, folder, "plain"), "", 0);
  support_join(dir, folder, "plain/cache");
  s = open_store(dir, NULL, &heard);
  assert_null(dhc_store_path(s));
  assert_int_equal(heard.n, 1);
  dhc_store_close(s);
  support_drop(folder);
}

typedef struct OneEntry {
  const char *dir, *file, *key;
  const char *payload;
  long n_warnings;
} OneEntry;

static int try_entry(void *ctx, const uint8_t *bytes, size_t n) {
  OneEntry *one = ctx;
  Heard heard;
  DhcStoreBytes b;
  support_write(one->file, bytes, n);
  DhcStore *s = open_store(one->dir, NULL, &heard);
  bool hit = dhc_store_get(s, one->key, &b);
  one->n_warnings += heard.n;
  if (hit) {
    assert_string_equal((const char *)b.bytes, one->payload); /* never a wrong one */
    dhc_store_bytes_free(&b);
  }
  dhc_store_close(s);
  return hit;
}

static void damaged(void **state) {
  (void)state;
  char folder[256], file[512], key[65], expected[100];
  Heard heard;
  support_folder(folder);
  key_of(1, key);
  DhcStore *s = open_store(folder, NULL, &heard);
  assert_true(dhc_store_put(s, key, "avx2", "some machine code", 18));
  dhc_store_close(s);
  OneEntry one = {.dir = folder, .file = support_join(file, folder, key), .key = key,
                  .payload = "some machine code"};
  size_t n;
  uint8_t *bytes = support_read(file, &n);
  assert_int_equal(support_damage(bytes, n, try_entry, &one), 0);
  assert_true(one.n_warnings > (long)n);
  bytes[n - 1] ^= 1;
  support_write(file, bytes, n);
  s = open_store(folder, NULL, &heard);
  DhcStoreBytes b;
  assert_false(dhc_store_get(s, key, &b));
  snprintf(expected, sizeof expected, "cache entry %.8s is damaged, rebuilt", key);
  assert_string_equal(heard.last, expected);
  assert_int_equal(heard.level, DHC_WARN_WARNING);
  /* Rebuilt and put again, it is whole. */
  assert_true(dhc_store_put(s, key, "avx2", "some machine code", 18));
  dhc_store_close(s);
  assert_int_equal(try_entry(&one, bytes, 0), 0);
  bytes[n - 1] ^= 1;
  assert_int_equal(try_entry(&one, bytes, n), 1);
  bytes[8] = 9; /* another format version: a miss without a word */
  one.n_warnings = 0;
  assert_int_equal(try_entry(&one, bytes, n), 0);
  assert_int_equal(one.n_warnings, 0);
  free(bytes);
  support_drop(folder);
}

static void features(void **state) {
  (void)state;
  char folder[256], key[65], expected[100];
  Heard heard;
  DhcStoreBytes b;
  support_folder(folder);
  key_of(1, key);
  DhcStore *s = open_store(folder, "sse2 avx2 avx512f", &heard);
  assert_true(dhc_store_put(s, key, "avx2,avx512f", "x", 1));
  dhc_store_close(s);
  s = open_store(folder, "sse2,avx2,avx512", &heard);
  assert_false(dhc_store_get(s, key, &b));
  snprintf(expected, sizeof expected, "cache entry %.8s needs avx512f, rebuilt", key);
  assert_string_equal(heard.last, expected);
  assert_int_equal(heard.level, DHC_WARN_NOTE);
  dhc_store_close(s);
  s = open_store(folder, "avx512f avx2", &heard);
  assert_has(s, key, "x", 1);
  dhc_store_close(s);
  s = open_store(folder, NULL, &heard);
  assert_has(s, key, "x", 1);
  dhc_store_close(s);
  support_drop(folder);
}

static void *put_and_get(void *arg) {
  DhcStore *s = arg;
  for (int i = 0; i < 60; i++) {
    char key[65];
    uint8_t payload[100];
    DhcStoreBytes b;
    int which = i % 20;
    key_of(which, key);
    memset(payload, which, sizeof payload);
    if (dhc_store_get(s, key, &b)) {
      assert_int_equal(b.n_bytes, sizeof payload);
      assert_memory_equal(b.bytes, payload, sizeof payload);
      dhc_store_bytes_free(&b);
    } else {
      assert_true(dhc_store_put(s, key, "", payload, sizeof payload));
    }
  }
  return NULL;
}

static void threads(void **state) {
  (void)state;
  char folder[256];
  Heard heard, heard2;
  pthread_t t[8];
  support_folder(folder);
  DhcStore *s = open_store(folder, NULL, &heard), *other = open_store(folder, NULL, &heard2);
  for (int i = 0; i < 8; i++) {
    assert_int_equal(pthread_create(&t[i], NULL, put_and_get, i % 2 ? s : other), 0);
  }
  for (int i = 0; i < 8; i++) {
    pthread_join(t[i], NULL);
  }
  assert_int_equal(heard.n + heard2.n, 0);
  DhcStoreList list;
  assert_ok(dhc_store_verify(s, false, &list));
  assert_int_equal(list.n_entries, 20);
  for (int i = 0; i < 20; i++) {
    assert_true(list.entries[i].ok);
    assert_true(i == 0 || strcmp(list.entries[i - 1].key, list.entries[i].key) < 0);
  }
  dhc_store_list_free(&list);
  dhc_store_close(s);
  dhc_store_close(other);
  support_drop(folder);
}

/* ---- processes that are killed ------------------------------------------------------------ */

enum { PROCESSES = 8, TURNS = 200, KILLS = 60, SIZE = 20000 };

/* Turns from *turn on, as a process does that compiles: what is there is right, what is not is put. */
static void take_turns(const char *folder, volatile int *turn) {
  uint8_t payload[SIZE];
  while (*turn < TURNS) {
    char key[65];
    DhcStoreBytes b;
    DhcStore *s;
    int which = *turn % 20;
    key_of(which, key);
    memset(payload, which, sizeof payload);
    DhcStoreOptions options = {.dir = folder};
    if (dhc_store_open(&options, &s).code != DHC_OK) _exit(3);
    if (dhc_store_get(s, key, &b)) {
      if (b.n_bytes != SIZE || memcmp(b.bytes, payload, SIZE)) _exit(2);
      dhc_store_bytes_free(&b);
      if (*turn % 7 == 0) (void)dhc_store_put(s, key, "", payload, SIZE);
    } else if (!dhc_store_put(s, key, "", payload, SIZE)) {
      _exit(4);
    }
    dhc_store_close(s);
    ++*turn;
  }
  _exit(0);
}

static pid_t begin(const char *folder, volatile int *turn) {
  pid_t pid = fork();
  assert_true(pid >= 0);
  if (pid == 0) take_turns(folder, turn);
  return pid;
}

static void processes(void **state) {
  (void)state;
  char folder[256];
  unsigned seed = 1, n_kills = 0;
  pid_t pid[PROCESSES];
  volatile int *turn = mmap(NULL, sizeof *turn * PROCESSES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  assert_true(turn != MAP_FAILED);
  support_folder(folder);
  for (int i = 0; i < PROCESSES; i++) pid[i] = begin(folder, &turn[i]);
  for (int left = PROCESSES; left > 0;) {
    int status, i = 0;
    seed = seed * 1664525u + 1013904223u;
    usleep(200 + (seed >> 20));
    if (n_kills < KILLS) {
      pid_t victim = pid[seed >> 8 & (PROCESSES - 1)];
      n_kills += victim > 0 && kill(victim, SIGKILL) == 0;
    }
    pid_t done = waitpid(-1, &status, n_kills < KILLS ? WNOHANG : 0);
    if (done <= 0) continue;
    while (pid[i] != done) assert_true(++i < PROCESSES);
    if (WIFSIGNALED(status)) {
      assert_int_equal(WTERMSIG(status), SIGKILL);
      pid[i] = begin(folder, &turn[i]);
      continue;
    }
    assert_int_equal(WEXITSTATUS(status), 0);
    pid[i] = 0;
    left--;
  }
  Heard heard;
  DhcStore *s = open_store(folder, NULL, &heard);
  DhcStoreList list;
  assert_ok(dhc_store_verify(s, false, &list));
  assert_int_equal(list.n_entries, 20);
  for (int i = 0; i < 20; i++) assert_true(list.entries[i].ok);
  print_message("%u kills\n", n_kills);
  dhc_store_list_free(&list);
  dhc_store_close(s);
  munmap((void *)(uintptr_t)turn, sizeof *turn * PROCESSES);
  support_drop(folder);
}

static void housekeeping(void **state) {
  (void)state;
  char folder[256], path[512], key[65];
  Heard heard;
  support_folder(folder);
  DhcStore *s = open_store(folder, NULL, &heard);
  for (int i = 0; i < 5; i++) {
    key_of(i, key);
    assert_true(dhc_store_put(s, key, "", "0123456789", 10));
    struct utimbuf when = {.actime = 1000 + i, .modtime = 1000 + i};
    assert_int_equal(utime(support_join(path, folder, key), &when), 0);
  }
  support_write(support_join(path, folder, "README"), "mine", 4);
  support_write(support_join(path, folder, ".k.dhc-tmp-1-0"), "x", 1);
  DhcStoreList list;
  assert_ok(dhc_store_list(s, &list));
  assert_int_equal(list.n_entries, 5);
  int64_t each = list.entries[0].file_bytes, n, bytes;
  assert_int_equal(list.total_bytes, 5 * each);
  dhc_store_list_free(&list);
  key_of(2, key);
  support_write(support_join(path, folder, key), "torn", 4);
  assert_ok(dhc_store_verify(s, true, &list));
  int n_bad = 0;
  for (int64_t i = 0; i < list.n_entries; i++) {
    n_bad += !list.entries[i].ok;
  }
  assert_int_equal(n_bad, 1);
  dhc_store_list_free(&list);
  assert_int_equal(access(path, F_OK), -1);
  /* A use makes an entry young again: entry 0 survives entries 1 and 3. */
  dhc_store_close(s);
  s = open_store(folder, NULL, &heard);
  key_of(0, key);
  assert_has(s, key, "0123456789", 10);
  assert_ok(dhc_store_prune(s, 2 * each, &n, &bytes));
  assert_int_equal(n, 2);
  assert_int_equal(bytes, 2 * each);
  assert_int_equal(access(support_join(path, folder, key), F_OK), 0);
  assert_int_equal(access(support_join(path, folder, ".k.dhc-tmp-1-0"), F_OK), -1);
  assert_ok(dhc_store_prune(s, 0, &n, &bytes));
  assert_int_equal(n, 2);
  assert_int_equal(access(support_join(path, folder, "README"), F_OK), 0);
  dhc_store_close(s);
  support_drop(folder);
}

static void default_folder(void **state) {
  (void)state;
  char folder[256], expected[512];
  Heard heard;
  support_folder(folder);
  setenv("XDG_CACHE_HOME", support_join(expected, folder, "xdg"), 1);
  DhcStore *s = open_store(NULL, NULL, &heard);
  assert_string_equal(dhc_store_path(s), support_join(expected, folder, "xdg/dhcc"));
  dhc_store_close(s);
  setenv("XDG_CACHE_HOME", "relative", 1); /* to be ignored */
  setenv("HOME", folder, 1);
  s = open_store(NULL, NULL, &heard);
  assert_string_equal(dhc_store_path(s), support_join(expected, folder, ".cache/dhcc"));
  dhc_store_close(s);
  unsetenv("HOME");
  s = open_store(NULL, NULL, &heard);
  assert_null(dhc_store_path(s));
  assert_string_equal(heard.last, "no cache folder (HOME is not set), running without cache");
  dhc_store_close(s);
  support_drop(folder);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(hits),         cmocka_unit_test(memory_only),
      cmocka_unit_test(privacy),      cmocka_unit_test(damaged),
      cmocka_unit_test(features),     cmocka_unit_test(threads),
      cmocka_unit_test(processes),
      cmocka_unit_test(housekeeping), cmocka_unit_test(default_folder),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
