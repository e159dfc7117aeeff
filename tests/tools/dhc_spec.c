/* dhc-spec: one kernel spec through the stages behind fusion, for a CPU that need not be
 * this one. The spec stands behind lines of comments ("//").
 *   dhc-spec [--cpu=x86-64|x86-64-v2|x86-64-v3|x86-64-v4] [--stage=spec|schedule|loop|llvm|asm] FILE.spec */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backends/compile.h"
#include "passes/plan/schedule.h"

enum { MAX_BYTES = 1 << 20 };

typedef struct Args {
  const char *cpu, *stage, *file;
} Args;

/* First byte that is not of an empty line or a comment. */
static uint32_t skip_comments(const char *text) {
  const char *at = text;
  while (*at == '\n' || !strncmp(at, "//", 2)) at += strcspn(at, "\n") + (at[strcspn(at, "\n")] == '\n');
  return (uint32_t)(at - text);
}

static void print_schedules(const DhcKernelRequest *r, DhcText *to) {
  for (int i = 0; i < r->n_classes; i++) {
    const DhcSchedule *s = &r->classes[i];
    dhc_text_printf(to, "class %d: %s", i, s->template_name);
    for (int k = 0; k < 8; k++) dhc_text_printf(to, " %d", s->v[k]);
    dhc_text_printf(to, s->guard.n_code ? " guarded\n" : "\n");
  }
}

static dhc_status print_stage(const Args *args, const DhcSpec *spec, DhcArena *arena, DhcText *to) {
  DhcCompileOptions o = {.backend = "cpu", .cpu = args->cpu, .workers = 1};
  DhcCompiler *c = NULL;
  dhc_status st = dhc_compiler_open(arena, &o, &c);
  if (st.code) return st;
  DhcKernelRequest r = {.spec = spec};
  r.n_classes = dhc_schedule_choose(spec, dhc_compiler_target(c), arena, r.classes);
  if (!strcmp(args->stage, "spec"))
    dhc_spec_print(spec, to);
  else if (!strcmp(args->stage, "schedule"))
    print_schedules(&r, to);
  else
    st = dhc_compiler_print(c, &r, args->stage, to);
  dhc_compiler_close(c);
  return st;
}

static char *read_file(const char *path, DhcArena *arena) {
  FILE *f = fopen(path, "rb");
  if (!f) return NULL;
  char *text = dhc_arena_alloc(arena, MAX_BYTES + 1);
  text[fread(text, 1, MAX_BYTES, f)] = 0;
  fclose(f);
  return text;
}

static int run(const Args *args, DhcArena *arena) {
  DhcSources sources = {.arena = arena};
  DhcDiags diags = {.arena = arena, .sources = &sources};
  DhcText to = {.arena = arena};
  uint32_t end;
  char *text = read_file(args->file, arena);
  if (!text) {
    fprintf(stderr, "dhc-spec: error: %s: cannot be read\n", args->file);
    return 3;
  }
  uint32_t file = dhc_sources_add(&sources, args->file, args->file, text, strlen(text));
  const DhcSpec *spec = dhc_spec_parse(arena, &diags, file, skip_comments(text), &end);
  dhc_status st = {0};
  if (spec) st = print_stage(args, spec, arena, &to);
  dhc_diags_print(&diags, stderr, false);
  if (st.code) fprintf(stderr, "dhc-spec: error: %s\n", st.message);
  fputs(dhc_text_str(&to), stdout);
  return !spec || st.code;
}

int main(int argc, char **argv) {
  Args args = {.cpu = "x86-64-v4", .stage = "spec"};
  for (int i = 1; i < argc; i++) {
    if (!strncmp(argv[i], "--cpu=", 6))
      args.cpu = argv[i] + 6;
    else if (!strncmp(argv[i], "--stage=", 8))
      args.stage = argv[i] + 8;
    else
      args.file = argv[i];
  }
  if (!args.file) {
    fprintf(stderr, "usage: dhc-spec [--cpu=NAME] [--stage=NAME] FILE.spec\n");
    return 2;
  }
  DhcArena arena;
  dhc_arena_init(&arena);
  int status = run(&args, &arena);
  dhc_arena_fini(&arena);
  return status;
}
