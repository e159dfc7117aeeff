#include "loaded.h"

int fails;
const char *now = "";
char folder[64];

bool check(bool ok, const char *what) {
  if (ok) return true;
  printf("FAILED: %s: %s\n", now, what);
  fails++;
  return false;
}

bool good(dhc_status st, dhc_session *s, const char *what) {
  if (st.code == DHC_OK) return true;
  dhc_session_print_diagnostics(s, stdout, false);
  printf("FAILED: %s: %s: %s\n", now, what, st.message);
  fails++;
  return false;
}

/* ---- memory that ends where nothing may be touched ------------------------------------------- */

Memory memory_new(size_t bytes) {
  size_t page = (size_t)sysconf(_SC_PAGESIZE), whole = (bytes + page - 1) / page * page + page;
  Memory m = {.bytes = bytes, .mapped = whole + page};
  m.map = mmap(NULL, m.mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (m.map == MAP_FAILED) abort();
  mprotect(m.map + whole, page, PROT_NONE);
  m.at = m.map + whole - bytes;
  return m;
}

void memory_free(Memory *m) {
  if (m->map) munmap(m->map, m->mapped);
  m->map = NULL;
}

/* ---- an object that is loaded ------------------------------------------------------------------ */

/* On this machine a function takes as many integer arguments as its caller passes, and does not mind more. */
typedef int64_t (*AnyFn)(intptr_t, intptr_t, intptr_t, intptr_t, intptr_t, intptr_t, intptr_t, intptr_t, intptr_t, intptr_t, intptr_t,
                         intptr_t, intptr_t, intptr_t, intptr_t, intptr_t);
int64_t call(void *fn, const intptr_t *a) {
  AnyFn f;
  memcpy(&f, &fn, sizeof f);
  return f(a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7], a[8], a[9], a[10], a[11], a[12], a[13], a[14], a[15]);
}

void *symbol(const Loaded *l, const char *end) {
  char name[128];
  snprintf(name, sizeof name, "%s%s", cJSON_GetObjectItem(l->entry, "function")->valuestring, end);
  return dlsym(l->so, name);
}

/* Tasks backwards, by fours, by changing workers. */
void backwards(void *ctx, int64_t n, void (*f)(void *, int64_t, int64_t, int), void *arg) {
  int workers = *(int *)ctx;
  for (int64_t end = n, k = 0; end > 0; end -= 4, k++) f(arg, end > 4 ? end - 4 : 0, end, (int)(k % workers));
}

int n_dims_of(const cJSON *type, const cJSON *sizes, const int *value, int64_t *dim) {
  char text[256];
  snprintf(text, sizeof text, "%s", type->valuestring);
  char *open = strchr(text, '['), *save = NULL;
  int n = 0;
  if (!open) return 0;
  *strchr(open, ']') = 0;
  for (char *d = strtok_r(open + 1, ", ", &save); d; d = strtok_r(NULL, ", ", &save)) {
    dim[n] = strtoll(d, NULL, 10);
    for (int i = 0; i < cJSON_GetArraySize(sizes); i++)
      if (!strcmp(cJSON_GetObjectItem(cJSON_GetArrayItem(sizes, i), "name")->valuestring, d)) dim[n] = value[i];
    n++;
  }
  return n;
}

static uint32_t next(uint32_t *seed) {
  *seed = *seed * 1664525u + 1013904223u;
  return *seed >> 8;
}

void fill(void *data, dhc_dtype t, int64_t n, uint32_t seed) {
  for (int64_t i = 0; i < n; i++) {
    uint32_t r = next(&seed);
    if (t == DHC_F32) ((float *)data)[i] = (float)(r % 20001) / 10000 - 1;
    else if (t == DHC_U8) ((uint8_t *)data)[i] = (uint8_t)r;
    else if (t == DHC_I64) ((int64_t *)data)[i] = r % 5;
    else ((uint8_t *)data)[i] = r % 4 == 0;
  }
}

dhc_dtype dtype_of(const char *type) {
  return !strncmp(type, "f32", 3) ? DHC_F32 : !strncmp(type, "u8", 2) ? DHC_U8 : !strncmp(type, "i64", 3) ? DHC_I64 : DHC_BOOL;
}

int64_t call_named(const Loaded *l, const char *name, intptr_t a, intptr_t b, intptr_t c, intptr_t d) {
  const intptr_t args[MAX_ARGS] = {a, b, c, d};
  return (int)call(dlsym(l->so, name), args);
}

/* ---- building ------------------------------------------------------------------------------------------- */

char *slurp(const char *path, size_t *n) {
  FILE *f = fopen(path, "rb");
  if (!f) return NULL;
  fseek(f, 0, SEEK_END);
  *n = (size_t)ftell(f);
  rewind(f);
  char *b = malloc(*n + 1);
  if (!b || fread(b, 1, *n, f) != *n) abort();
  b[*n] = 0;
  fclose(f);
  return b;
}

bool same_files(const char *a, const char *b) {
  size_t na = 0, nb = 0;
  char *x = slurp(a, &na), *y = slurp(b, &nb);
  bool same = x && y && na == nb && !memcmp(x, y, na);
  free(x);
  free(y);
  return same;
}

/* What the object leaves to its linker, and that nothing in it can be written. */
void look_at_symbols(const char *object) {
  char line[256], name[128], kind;
  snprintf(line, sizeof line, "nm %s", object);
  FILE *f = popen(line, "r");
  if (!f) abort();
  while (fgets(line, sizeof line, f)) {
    if (sscanf(line, " U %127s", name) == 1)
      check(!strcmp(name, "memcpy") || !strcmp(name, "memmove") || !strcmp(name, "memset"), line);
    else if (sscanf(line, "%*s %c %127s", &kind, name) == 2)
      check(strchr("tTrR", kind), line);
  }
  check(pclose(f) == 0, "nm");
}

bool link_object(const char *object, const char *header, const char *so) {
  char line[1024];
  snprintf(line, sizeof line, "%s -std=c99 -Wall -Wextra -pedantic -Werror -fsyntax-only -x c %s && %s -shared -nostdlib -Wl,--fatal-warnings -o %s %s", CC,
           header, CC, so, object);
  return check(system(line) == 0, "header and object compile and link");
}

void begin_tests(void) {
  char line[128];
  snprintf(folder, sizeof folder, "/tmp/dhc-object-%d", (int)getpid());
  snprintf(line, sizeof line, "mkdir -p %s", folder);
  if (system(line)) exit(1);
}

int end_tests(void) {
  char line[128];
  snprintf(line, sizeof line, "rm -rf %s", folder);
  if (system(line)) return 1;
  if (!fails) printf("ok\n");
  return fails != 0;
}
