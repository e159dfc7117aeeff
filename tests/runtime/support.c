#include "support.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void support_folder(char path[256]) {
  const char *root = getenv("TMPDIR");
  snprintf(path, 256, "%s/dhc-runtime-XXXXXX", root != NULL ? root : "/tmp");
  assert_non_null(mkdtemp(path));
}

void support_drop(const char *path) {
  struct stat st;
  if (lstat(path, &st) != 0) {
    return;
  }
  if (!S_ISDIR(st.st_mode)) {
    unlink(path);
    return;
  }
  chmod(path, 0700);
  DIR *dir = opendir(path);
  for (struct dirent *e; dir != NULL && (e = readdir(dir)) != NULL;) {
    char inner[512];
    if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0) {
      support_drop(support_join(inner, path, e->d_name));
    }
  }
  if (dir != NULL) {
    closedir(dir);
  }
  rmdir(path);
}

char *support_join(char path[512], const char *folder, const char *name) {
  int n = snprintf(path, 512, "%s/%s", folder, name);
  assert_true(n > 0 && n < 512);
  return path;
}

void support_write(const char *path, const void *bytes, size_t n) {
  FILE *f = fopen(path, "wb");
  assert_non_null(f);
  assert_int_equal(fwrite(bytes, 1, n, f), n);
  assert_int_equal(fclose(f), 0);
}

uint8_t *support_read(const char *path, size_t *n) {
  FILE *f = fopen(path, "rb");
  assert_non_null(f);
  fseek(f, 0, SEEK_END);
  *n = (size_t)ftell(f);
  rewind(f);
  uint8_t *bytes = malloc(*n + 1);
  assert_non_null(bytes);
  assert_int_equal(fread(bytes, 1, *n, f), *n);
  fclose(f);
  return bytes;
}

static long try_copy(const uint8_t *bytes, size_t n, size_t at, uint8_t value, SupportTry try,
                     void *ctx) {
  uint8_t *copy = malloc(n > 0 ? n : 1);
  assert_non_null(copy);
  if (n > 0) {
    memcpy(copy, bytes, n);
  }
  if (at < n) {
    copy[at] = value;
  }
  int accepted = try(ctx, copy, n);
  free(copy);
  return accepted != 0;
}

long support_damage(const uint8_t *bytes, size_t n, SupportTry try, void *ctx) {
  long n_accepted = 0, n_loads = (long)n;
  for (size_t k = 0; k < n; k++) {
    n_accepted += try_copy(bytes, k, n, 0, try, ctx);
  }
  for (size_t i = 0; i < n; i++) {
    uint8_t values[16] = {0, 0xff, '0', '"', ' ', '[', '}', '\n'};
    for (int bit = 0; bit < 8; bit++) {
      values[8 + bit] = (uint8_t)(bytes[i] ^ 1u << bit);
    }
    for (int v = 0; v < 16; v++) {
      if (values[v] != bytes[i] && memchr(values, values[v], (size_t)v) == NULL) {
        n_loads++;
        n_accepted += try_copy(bytes, n, i, values[v], try, ctx);
      }
    }
  }
  print_message("%ld damaged files, %ld accepted\n", n_loads, n_accepted);
  return n_accepted;
}

void *support_column(const DhcDataset *d, const char *name) {
  const DhcField *f = dhc_dataset_field(d, name);
  assert_non_null(f);
  uint8_t *all = malloc((size_t)(d->n_examples * f->example_bytes) + 1);
  assert_non_null(all);
  for (int64_t i = d->n_examples - 1; i >= 0; i--) {
    void *to[64] = {NULL};
    to[f - d->fields] = all + i * f->example_bytes;
    assert_ok(dhc_dataset_read(d, i, to));
  }
  return all;
}
