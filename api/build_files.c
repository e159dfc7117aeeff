/* The files of an object: .o as it is, .a with it, .so linked, the header, the weights. */
#include <errno.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "api/build.h"
#include "backends/object/bounds.h"

extern char **environ;

const char *build_file_name(const char *path) {
  const char *slash = strrchr(path, '/');
  return slash ? slash + 1 : path;
}

bool build_form(const char *path, BuildForm *out) {
  static const char *const ends[] = {[BUILD_O] = ".o", [BUILD_A] = ".a", [BUILD_SO] = ".so", [BUILD_C] = ".c"};
  const char *dot = strrchr(build_file_name(path), '.');
  for (int i = 0; i < 4; i++)
    if (dot && !strcmp(dot, ends[i])) {
      *out = (BuildForm)i;
      return true;
    }
  return false;
}

/* ---- which files they are ------------------------------------------------------------------------ */

/* Whether two names are one file, there or not: by what the system says of them, else of their folders. */
static bool same_file(const char *a, const char *b) {
  struct stat x, y;
  if (!a || !b) return false;
  if (!strcmp(a, b)) return true;
  if (!stat(a, &x) && !stat(b, &y)) return x.st_dev == y.st_dev && x.st_ino == y.st_ino;
  if (strcmp(build_file_name(a), build_file_name(b))) return false;
  char folder[2][4096];
  const char *of[] = {a, b};
  for (int i = 0; i < 2; i++) {
    int n = (int)(build_file_name(of[i]) - of[i]);
    if (snprintf(folder[i], sizeof folder[i], "%.*s.", n, of[i]) >= (int)sizeof folder[i]) return false;
  }
  return !stat(folder[0], &x) && !stat(folder[1], &y) && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

static dhc_status is_read(const char *file, const char *input) {
  if (!same_file(file, input)) return dhc_status_ok();
  return dhc_status_make(DHC_E_USAGE, "build: %s is read, and would be overwritten", file);
}

dhc_status build_check_files(const dhc_model *m, const dhc_build_options *o) {
  const char *const files[] = {o->out, o->header, o->weights_file, o->bounds};
  if (o->header && strpbrk(build_file_name(o->header), "\"\\\n")) return dhc_status_make(DHC_E_USAGE, "--header: no #include can name %s", o->header);
  for (int i = 0; i < 4; i++) {
    if (!files[i]) continue;
    for (int k = 0; k < i; k++)
      if (same_file(files[i], files[k])) return dhc_status_make(DHC_E_USAGE, "build: %s is to be two files", files[i]);
    DHC_TRY(is_read(files[i], o->weights));
    for (int k = 0; k < o->n_variants; k++) DHC_TRY(is_read(files[i], o->variants[k].weights));
    for (int k = 0; k < m->files.n; k++) {
      const DhcSource *text = dhc_sources_get(&m->s->sources, m->files.at[k]);
      DHC_TRY(is_read(files[i], text ? text->name : NULL));
    }
    DHC_TRY(is_read(files[i], m->asked.name));
  }
  return dhc_status_ok();
}

/* ---- archives -------------------------------------------------------------------------------- */

static void big_endian(char *at, uint32_t v) {
  for (int i = 0; i < 4; i++) at[i] = (char)(v >> (24 - 8 * i));
}

/* A member's header: nobody's, of no time, so that equal objects make equal archives. */
static void member(char *at, const char *name, size_t bytes) {
  char text[80];
  snprintf(text, sizeof text, "%-16s%-12d%-6d%-6d%-8s%-10zu`\n", name, 0, 0, 0, "644", bytes);
  memcpy(at, text, 60);
}

/* "!<arch>\n", the symbols (number, places, names), the object; members begin at even places. Places have 32 bits, which
 * is enough: in front of the object there are only the names of a few functions. */
static dhc_status archive(Build *b) {
  int n;
  const char **name = dhc_object_exports(b->object, b->arena, &n);
  size_t names = 0;
  for (int i = 0; i < n; i++) names += strlen(name[i]) + 1;
  size_t table = 4 + 4 * (size_t)n + names, even = table + table % 2, object = 8 + 60 + even;
  size_t total = object + 60 + b->n_bytes + b->n_bytes % 2;
  char *bytes = calloc(1, total);
  if (!bytes) return dhc_status_memory((long long)total, "an archive");
  memcpy(bytes, "!<arch>\n", 8);
  member(bytes + 8, "/", even);
  char *at = bytes + 68;
  big_endian(at, (uint32_t)n);
  for (int i = 0; i < n; i++) big_endian(at + 4 + 4 * i, (uint32_t)object);
  at += 4 + 4 * n;
  for (int i = 0; i < n; i++, at += strlen(at) + 1) memcpy(at, name[i], strlen(name[i]));
  member(bytes + object, "object.o/", b->n_bytes);
  memcpy(bytes + object + 60, b->bytes, b->n_bytes);
  if (b->n_bytes % 2) bytes[total - 1] = '\n';
  free(b->bytes);
  b->bytes = bytes;
  b->n_bytes = total;
  return dhc_status_ok();
}

/* ---- shared libraries --------------------------------------------------------------------------- */

/* Runs the first of the linkers that is there; -1: none is. */
static int link_with(const char *const *linkers, int n, char **argv) {
  for (int i = 0; i < n; i++) {
    pid_t child;
    int status = 0;
    argv[0] = (char *)(uintptr_t)linkers[i];
    if (posix_spawnp(&child, linkers[i], NULL, NULL, argv, environ)) continue;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {}
    if (WIFEXITED(status) && WEXITSTATUS(status) == 127) continue;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
  }
  return -1;
}

static dhc_status read_back(Build *b, const char *path) {
  DhcMapping map;
  DHC_TRY(dhc_map_open(path, &map));
  free(b->bytes);
  b->n_bytes = map.n_bytes;
  b->bytes = malloc(map.n_bytes + 1);
  if (b->bytes) memcpy(b->bytes, map.bytes, map.n_bytes);
  dhc_map_close(&map);
  return b->bytes ? dhc_status_ok() : dhc_status_memory((long long)b->n_bytes, "a shared library");
}

dhc_status build_folder(const Build *b, const char **out) {
  const char *base = getenv("TMPDIR");
  char *folder = dhc_arena_printf(b->arena, "%s/dhcc-XXXXXX", base && *base ? base : "/tmp");
  if (!mkdtemp(folder)) return dhc_status_errno(errno, "%s", folder);
  *out = folder;
  return dhc_status_ok();
}

/* In a folder of its own, which is gone afterwards. */
static dhc_status shared_library(Build *b) {
  /* ld.lld before 18 puts .lrodata between code and the constants that code reaches within 2 GiB */
  static const char *const any[] = {"ld.lld", "ld.lld-19", "ld"}, *const far[] = {"ld.lld-19", "ld", "ld.lld"};
  const char *const *linkers = b->object->large ? far : any;
  const char *folder = NULL;
  DHC_TRY(build_folder(b, &folder));
  char *from = dhc_arena_printf(b->arena, "%s/m.o", folder), *to = dhc_arena_printf(b->arena, "%s/m.so", folder);
  char *name = dhc_arena_strdup(b->arena, build_file_name(b->o->out));
  char *argv[] = {NULL, "-shared", "--build-id=none", "-soname", name, "-z", "noexecstack", "-o", to, from, NULL};
  dhc_status st = dhc_file_replace(from, b->bytes, b->n_bytes);
  int rc = st.code == DHC_OK ? link_with(linkers, 3, argv) : 0;
  if (rc < 0) st = dhc_status_make(DHC_E_ENVIRONMENT, "-o %s: linking it needs ld.lld or ld; an object (.o) needs neither", b->o->out);
  else if (rc > 0) st = dhc_status_make(DHC_E_ENVIRONMENT, "-o %s: the linker ended with status %d", b->o->out, rc);
  else if (st.code == DHC_OK) st = read_back(b, to);
  unlink(to);
  unlink(from);
  rmdir(folder);
  return st;
}

/* ---- writing --------------------------------------------------------------------------------------- */

typedef struct File {
  const char *path;
  const void *bytes;
  size_t n_bytes;
  DhcFileWriter to;
  bool open;
} File;

static dhc_status write_one(File *f) {
  DHC_TRY(dhc_file_begin(f->path, &f->to));
  f->open = true;
  return dhc_file_write(&f->to, f->bytes, f->n_bytes);
}

dhc_status build_write(Build *b) {
  BuildForm form = BUILD_O;
  File file[4];
  int n = 0;
  DhcText header = {.arena = b->arena}, bounds = {.arena = b->arena};
  build_form(b->o->out, &form);
  if (form == BUILD_A) DHC_TRY(archive(b));
  if (form == BUILD_SO) DHC_TRY(shared_library(b));
  if (b->o->header) {
    dhc_object_header(b->object, build_file_name(b->o->header), &header);
    file[n++] = (File){.path = b->o->header, .bytes = dhc_text_str(&header), .n_bytes = (size_t)header.n};
  }
  if (b->o->bounds) {
    dhc_object_bounds(b->object, dhc_compiler_target_text(b->s->compiler), &bounds);
    file[n++] = (File){.path = b->o->bounds, .bytes = dhc_text_str(&bounds), .n_bytes = (size_t)bounds.n};
  }
  if (b->o->weights_file) file[n++] = (File){.path = b->o->weights_file, .bytes = b->blob, .n_bytes = (size_t)b->object->blob_bytes};
  file[n++] = (File){.path = b->o->out, .bytes = b->bytes, .n_bytes = b->n_bytes};
  dhc_status st = dhc_status_ok();
  for (int i = 0; i < n && st.code == DHC_OK; i++) st = write_one(&file[i]);
  for (int i = 0; i < n; i++) {
    if (!file[i].open) continue;
    if (st.code == DHC_OK) st = dhc_file_commit(&file[i].to);
    else dhc_file_abort(&file[i].to);
  }
  return st;
}
