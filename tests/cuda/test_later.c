/* Kernels whose code is compiled when it is needed: what a launch waits for, what the store has when, what a failure of
 * NVRTC does. argv[1]: the stand-in for driver and NVRTC. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "backends/compile.h"

#define CHECK(x)                                                      \
  do {                                                                \
    if (!(x)) {                                                       \
      fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #x); \
      exit(1);                                                        \
    }                                                                 \
  } while (0)

static void ok(dhc_status st) {
  if (st.code) fprintf(stderr, "%s\n", st.message);
  CHECK(st.code == DHC_OK);
}

typedef struct Bench {
  DhcArena arena;
  DhcDevice *device;
  DhcCompiler *compiler;
  dhc_kernel kernel;
  char key[1][65];
  DhcCompileStats stats;
} Bench;

/* A kernel of two size classes, asked for; op: of its one node. */
static void compile(Bench *b, DhcStore *store, const char *op) {
  *b = (Bench){0};
  dhc_arena_init(&b->arena);
  ok(dhc_backend_device("cuda", &(DhcDeviceOptions){0}, &b->device));
  ok(dhc_compiler_open(&b->arena, &(DhcCompileOptions){.backend = "cuda", .workers = 2, .store = store, .device = b->device}, &b->compiler));
  DhcSources sources = {.arena = &b->arena};
  DhcDiags diags = {.arena = &b->arena, .sources = &sources};
  const char *text = dhc_arena_printf(&b->arena, "spec map args 0 { axis par in f32 row [1(a0)] %%0 = load 0 : f32 %%1 = %s(%%0) : f32 out f32 row [1(a0)] = %%1 }", op);
  uint32_t end, file = dhc_sources_add(&sources, "t", "t", text, strlen(text));
  DhcKernelRequest r = {.spec = dhc_spec_parse(&b->arena, &diags, file, 0, &end), .n_classes = 2};
  b->stats.keys = b->key;
  ok(dhc_compile(b->compiler, &r, 1, &b->kernel, &b->stats));
}

static dhc_status launch(Bench *b, int class) {
  DhcDevicePtr at, ptr[3] = {0};
  intptr_t dim[8] = {16, 1, 1};
  ok(b->device->ops->alloc(b->device, 64, &at));
  ptr[0] = ptr[1] = at;
  const DhcLaunch l = {.fn = b->kernel.classes[class].fn, .ptr = ptr, .dim = dim, .n_ptrs = 2, .n_dims = b->kernel.n_dims, .n_tasks = 1};
  dhc_status st = b->device->ops->launch(b->device, &l);
  b->device->ops->free(b->device, at);
  return st;
}

static void close_compiler(Bench *b) {
  dhc_compiler_close(b->compiler);
  b->compiler = NULL;
}

static void end(Bench *b) {
  if (b->compiler) close_compiler(b);
  dhc_device_close(b->device);
  dhc_arena_fini(&b->arena);
}

/* A process that ends without a word has left in the store what it had compiled; when all of a kernel is there, it is one entry. */
static void ends_early(void) {
  char folder[] = "/tmp/dhc-later-XXXXXX", command[64];
  DhcStore *store;
  Bench b;
  CHECK(mkdtemp(folder));
  pid_t child = fork();
  CHECK(child >= 0);
  if (!child) {
    ok(dhc_store_open(&(DhcStoreOptions){.dir = folder}, &store));
    compile(&b, store, "sin");
    ok(launch(&b, 1));
    _exit(7);
  }
  int status = 0;
  CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 7);
  ok(dhc_store_open(&(DhcStoreOptions){.dir = folder}, &store));
  setenv("STAND_IN_FAIL", "nvrtcCompileProgram:6", 1);
  compile(&b, store, "sin");
  CHECK(b.stats.compiled == 1);
  ok(launch(&b, 1));
  unsetenv("STAND_IN_FAIL");
  end(&b);
  DhcStoreList list;
  ok(dhc_store_verify(store, false, &list));
  CHECK(list.n_entries == 1 && list.entries[0].ok && dhc_store_has(store, b.key[0]));
  dhc_store_list_free(&list);
  dhc_store_close(store);
  snprintf(command, sizeof command, "rm -r %s", folder);
  CHECK(system(command) == 0);
}

int main(int argc, char **argv) {
  DhcStore *store;
  Bench b;
  CHECK(argc == 2);
  setenv("DHC_LIBCUDA", argv[1], 1);
  setenv("DHC_LIBNVRTC", argv[1], 1);
  ends_early();
  ok(dhc_store_open(&(DhcStoreOptions){.memory_only = true}, &store));

  compile(&b, store, "exp"); /* one class is needed, the other is there in the end */
  CHECK(b.stats.compiled == 1 && !dhc_store_has(store, b.key[0]));
  CHECK(b.device->code_ms == 0);
  ok(launch(&b, 1));
  CHECK(b.device->code_ms > 0);
  close_compiler(&b);
  CHECK(dhc_store_has(store, b.key[0]));
  ok(launch(&b, 0));
  end(&b);
  compile(&b, store, "exp");
  CHECK(b.stats.compiled == 0 && b.stats.reused_disk == 1);
  ok(launch(&b, 0));
  ok(launch(&b, 1));
  end(&b);

  setenv("STAND_IN_FAIL", "nvrtcCompileProgram:6", 1); /* who needs it hears of it; the store gets nothing */
  compile(&b, store, "tanh");
  dhc_status st = launch(&b, 0);
  CHECK(st.code == DHC_E_ENVIRONMENT && strstr(st.message, "NVRTC refuses a kernel: kernel(2): error"));
  CHECK(launch(&b, 0).code == DHC_E_ENVIRONMENT);
  close_compiler(&b);
  CHECK(!dhc_store_has(store, b.key[0]));
  end(&b);
  unsetenv("STAND_IN_FAIL");

  compile(&b, NULL, "log"); /* without a store too kernels outlast their compiler */
  close_compiler(&b);
  ok(launch(&b, 0));
  end(&b);
  compile(&b, NULL, "log");
  ok(launch(&b, 0));
  end(&b);
  dhc_store_close(store);
  return 0;
}
