/* Instructions of a call on another machine: the object once more, as a program that calls an entry (backends/object/llvm_drive.c), under
 * an emulator with a plugin that counts (backends/object/qemu/count.c); once with one call, once with two. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "api/build.h"

extern char **environ;

typedef struct Count {
  Build *b;
  const char *folder, *object, *program, *log, *plugin, *emulator, *cpu;
} Count;

/* It lies beside this library. */
static const char *plugin_path(DhcArena *arena) {
  static const char anchor;
  Dl_info lib;
  if (!dladdr(&anchor, &lib) || !lib.dli_fname) return NULL;
  const char *slash = strrchr(lib.dli_fname, '/');
  const char *path = dhc_arena_printf(arena, "%.*s/libdhc-count.so", slash ? (int)(slash - lib.dli_fname) : 1, slash ? lib.dli_fname : ".");
  return access(path, R_OK) ? NULL : path;
}

/* Exit status; -1: there is no such program. What it says goes to the log. */
static int run(const Count *c, const char *const *argv) {
  posix_spawn_file_actions_t to;
  pid_t child;
  int status = 0, err = ENOMEM;
  if (posix_spawn_file_actions_init(&to)) return -1;
  if (!posix_spawn_file_actions_addopen(&to, 1, c->log, O_WRONLY | O_CREAT | O_TRUNC, 0600) && !posix_spawn_file_actions_adddup2(&to, 1, 2))
    err = posix_spawnp(&child, argv[0], &to, NULL, (char *const *)(uintptr_t)argv, environ);
  posix_spawn_file_actions_destroy(&to);
  if (err) return -1;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {}
  if (!WIFEXITED(status)) return 1;
  return WEXITSTATUS(status) == 127 ? -1 : WEXITSTATUS(status);
}

static int64_t counted(const Count *c) {
  DhcMapping map;
  int64_t n = -1;
  if (dhc_map_open(c->log, &map).code != DHC_OK) return -1;
  const char *text = dhc_arena_strndup(c->b->arena, (const char *)map.bytes, map.n_bytes), *at = strstr(text, "instructions ");
  if (at) n = strtoll(at + strlen("instructions "), NULL, 10);
  dhc_map_close(&map);
  return n;
}

/* NULL, or why *out is not known. */
static const char *count_calls(const Count *c, int calls, int64_t *out) {
  const char *const argv[] = {c->emulator, "-cpu", c->cpu, "-plugin", c->plugin, "-d", "plugin", c->program, calls > 1 ? "again" : NULL, NULL};
  int rc = run(c, argv);
  if (rc < 0) return dhc_arena_printf(c->b->arena, "there is no %s (Debian: qemu-user)", c->emulator);
  *out = counted(c);
  if (rc > 64 && rc < 128) return dhc_arena_printf(c->b->arena, "the entry returns status %d", rc - 64);
  return rc || *out < 0 ? dhc_arena_printf(c->b->arena, "%s ends with status %d", c->emulator, rc) : NULL;
}

static const char *count_program(const Count *c, int64_t *out) {
  static const char *const linkers[] = {"ld.lld", "ld.lld-19"};
  int rc = -1;
  for (int i = 0; i < 2 && rc < 0; i++) {
    const char *const argv[] = {linkers[i], "-static", "-e", "_start", "-o", c->program, c->object, NULL};
    rc = run(c, argv);
  }
  if (rc < 0) return "linking its program needs ld.lld (Debian: lld)";
  if (rc) return "its program does not link";
  int64_t once = 0, twice = 0;
  const char *why = count_calls(c, 1, &once);
  if (!why) why = count_calls(c, 2, &twice);
  if (!why) *out = twice - once;
  return why;
}

static bool fixed(const DhcObjEntry *e) {
  return e->work_bytes->op == DHC_DIM_CONST && e->shared_bytes->op == DHC_DIM_CONST && e->scratch_bytes->op == DHC_DIM_CONST &&
         (!e->state_bytes || e->state_bytes->op == DHC_DIM_CONST);
}

/* *why: what keeps it from being counted, if it is not. */
static dhc_status count_entry(Count *c, int entry, int64_t *out, const char **why) {
  Build *b = c->b;
  DhcObjDrive drive = {.entry = entry};
  char *bytes = NULL;
  size_t n = 0;
  if (!fixed(b->object->entry[entry])) DHC_BUG("entry %s has sizes that are open", b->object->entry[entry]->name);
  b->object->drive = &drive;
  dhc_status st = dhc_compiler_object(b->s->compiler, b->object, b->arena, &bytes, &n);
  b->object->drive = NULL;
  const char *blank = drive.emulator ? strchr(drive.emulator, ' ') : NULL;
  c->emulator = blank ? dhc_arena_strndup(b->arena, drive.emulator, (size_t)(blank - drive.emulator)) : NULL;
  c->cpu = blank ? blank + 1 : NULL;
  if (st.code == DHC_OK && !blank) *why = "no emulator knows all its instructions";
  else if (st.code == DHC_OK && !(st = dhc_file_replace(c->object, bytes, n)).code) *why = count_program(c, out);
  free(bytes);
  return st;
}

dhc_status build_count(Build *b, dhc_build_result *r) {
  DhcArena *a = b->arena;
  Count c = {.b = b, .plugin = plugin_path(a)};
  const char *why = c.plugin ? NULL : "libdhc-count.so does not lie beside libdhc";
  int n = b->o->n_entries ? b->o->n_entries : 1;
  for (int i = 0; i < n; i++) b->o->instructions[i] = -1;
  if (!why) {
    DHC_TRY(build_folder(b, &c.folder));
    c.object = dhc_arena_printf(a, "%s/m.o", c.folder);
    c.program = dhc_arena_printf(a, "%s/m", c.folder);
    c.log = dhc_arena_printf(a, "%s/log", c.folder);
  }
  dhc_status st = dhc_status_ok();
  for (int i = 0; i < n && !why && st.code == DHC_OK; i++) st = count_entry(&c, i, &b->o->instructions[i], &why);
  if (why) snprintf(r->uncounted, sizeof r->uncounted, "%s", why);
  if (!c.folder) return st;
  unlink(c.object);
  unlink(c.program);
  unlink(c.log);
  rmdir(c.folder);
  return st;
}
