/* Support of the fuzz targets, and what replays a corpus where there is no libFuzzer:
 *   TARGET FILE|FOLDER...   runs every file through the target */
#include "tests/fuzz/fuzz.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[64];

static void remove_folder(void) {
  DIR *d = opendir(folder);
  char path[400];
  for (const struct dirent *e; d && (e = readdir(d));) {
    snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
    if (strcmp(e->d_name, ".") && strcmp(e->d_name, "..")) unlink(path);
  }
  if (d) closedir(d);
  rmdir(folder);
}

const char *fuzz_folder(void) {
  if (folder[0]) return folder;
  snprintf(folder, sizeof folder, "%s/dhc_fuzz_XXXXXX", access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm");
  fuzz_check(mkdtemp(folder) != NULL, "a folder for files");
  atexit(remove_folder);
  return folder;
}

const char *fuzz_file(const char *name, const void *bytes, size_t n) {
  static char path[8][400];
  static int next;
  char *to = path[next = (next + 1) % 8];
  snprintf(to, sizeof path[0], "%s/%s", fuzz_folder(), name);
  FILE *f = fopen(to, "wb");
  fuzz_check(f && fwrite(bytes, 1, n, f) == n && !fclose(f), "a file can be written");
  return to;
}

FILE *fuzz_sink(void) {
  static FILE *sink;
  if (!sink) sink = fopen("/dev/null", "w");
  fuzz_check(sink != NULL, "/dev/null");
  return sink;
}

void fuzz_check(bool ok, const char *what) {
  if (ok) return;
  fprintf(stderr, "fuzz: not so: %s\n", what);
  abort();
}

/* ---- mutation ---------------------------------------------------------------------------- */

typedef struct Piece {
  size_t begin, end;
} Piece;

static unsigned draw(unsigned *seed, unsigned below) {
  *seed = *seed * 1664525u + 1013904223u;
  return below ? (*seed >> 8) % below : 0;
}

static bool is_word(uint8_t c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '%' || c == '@';
}

static Piece word_at(const uint8_t *data, size_t n, size_t at) {
  Piece p = {at, at + 1};
  if (!is_word(data[at])) return p;
  while (p.begin > 0 && is_word(data[p.begin - 1])) p.begin--;
  while (p.end < n && is_word(data[p.end])) p.end++;
  return p;
}

static Piece line_at(const uint8_t *data, size_t n, size_t at) {
  Piece p = {at, at};
  while (p.begin > 0 && data[p.begin - 1] != '\n') p.begin--;
  while (p.end < n && data[p.end] != '\n') p.end++;
  p.end += p.end < n;
  return p;
}

/* Puts bytes in the place of a piece. */
static size_t replace(uint8_t *data, size_t n, size_t max, Piece p, const void *bytes, size_t n_bytes) {
  if (n - (p.end - p.begin) + n_bytes > max) return n;
  memmove(data + p.begin + n_bytes, data + p.end, n - p.end);
  memcpy(data + p.begin, bytes, n_bytes);
  return n - (p.end - p.begin) + n_bytes;
}

static size_t change(uint8_t *data, size_t n, size_t max, unsigned *seed, const char *const *words) {
  uint8_t copy[4096];
  unsigned n_words = 0;
  while (words[n_words]) n_words++;
  size_t at = draw(seed, (unsigned)n), from = draw(seed, (unsigned)n);
  Piece here = word_at(data, n, at), other = word_at(data, n, from);
  unsigned how = draw(seed, 6);
  if (how >= 3) here = line_at(data, n, at), other = line_at(data, n, from);
  if (how == 0) { /* a known word for a word */
    const char *w = words[draw(seed, n_words)];
    return replace(data, n, max, here, w, strlen(w));
  }
  if (how == 1) { /* a known word beside it */
    const char *w = words[draw(seed, n_words)];
    here.end = here.begin;
    return replace(data, n, max, here, w, strlen(w));
  }
  if (how == 5) return replace(data, n, max, here, "", 0);
  if (how == 4) here.end = here.begin; /* 2 a word for a word, 3 a line for a line, 4 one more line */
  size_t length = other.end - other.begin;
  if (length > sizeof copy) return n;
  memcpy(copy, data + other.begin, length);
  return replace(data, n, max, here, copy, length);
}

#ifdef DHC_FUZZ
size_t LLVMFuzzerMutate(uint8_t *data, size_t n, size_t max);
#else
static size_t LLVMFuzzerMutate(uint8_t *data, size_t n, size_t max) {
  (void)data, (void)max;
  return n;
}
#endif

size_t fuzz_mutate_text(uint8_t *data, size_t n, size_t max, unsigned seed, const char *const *words) {
  if (n == 0 || draw(&seed, 2)) return LLVMFuzzerMutate(data, n, max);
  for (unsigned k = 1 + draw(&seed, 4); k && n; k--) n = change(data, n, max, &seed, words);
  return n ? n : LLVMFuzzerMutate(data, n, max);
}

/* ---- replay ------------------------------------------------------------------------------ */

#ifndef DHC_FUZZ
static int n_inputs;

static bool replay(const char *path) {
  struct stat st;
  if (stat(path, &st)) return false;
  if (S_ISDIR(st.st_mode)) {
    DIR *d = opendir(path);
    bool ok = d != NULL;
    char below[1000];
    for (const struct dirent *e; d && (e = readdir(d));) {
      snprintf(below, sizeof below, "%s/%s", path, e->d_name);
      if (e->d_name[0] != '.') ok = replay(below) && ok;
    }
    if (d) closedir(d);
    return ok;
  }
  FILE *f = fopen(path, "rb");
  uint8_t *data = malloc((size_t)st.st_size + 1); /* exactly as long: reads behind it are found */
  size_t n = f && data ? fread(data, 1, (size_t)st.st_size, f) : 0;
  if (f) fclose(f);
  fprintf(stderr, "%s\n", path); /* the last one named is the one that failed */
  if (data) LLVMFuzzerTestOneInput(data, n);
  free(data);
  n_inputs++;
  return f != NULL;
}

int main(int argc, char **argv) {
  bool ok = true;
  for (int i = 1; i < argc; i++) ok = replay(argv[i]) && ok;
  printf("%d inputs\n", n_inputs);
  return ok && n_inputs ? 0 : 1;
}
#endif
