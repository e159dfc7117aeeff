/* The CUDA backend's row: loop program -> CUDA C -> NVRTC -> cubin; texts for print. */
#include "backends/backend.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "backends/cuda/cuda.h"
#include "backends/cuda/later.h"
#include "backends/cuda/nccl.h"
#include "runtime/status.h"

extern char **environ;


typedef struct Self {
  char arch[16];
  DhcCudaQueue *queue;
} Self;

static bool is_arch(const char *text) {
  size_t digits = strncmp(text, "sm_", 3) ? 0 : strspn(text + 3, "0123456789");
  return digits >= 2 && digits <= 3 && (!text[3 + digits] || ((text[3 + digits] == 'a' || text[3 + digits] == 'f') && !text[4 + digits]));
}

static dhc_status cuda_open(DhcArena *arena, const DhcCompileOptions *o, void **out, DhcTargetFacts *facts,
                            const char **key_text, const char **needs) {
  Self *s = DHC_NEW(arena, Self);
  if (o->gpu_arch && !is_arch(o->gpu_arch))
    return dhc_status_make(DHC_E_USAGE, "--gpu-arch: needs an architecture such as sm_90a, got \"%s\"", o->gpu_arch);
  if (o->gpu_arch) snprintf(s->arch, sizeof s->arch, "%s", o->gpu_arch);
  else if (dhc_cuda_arch(s->arch).code) snprintf(s->arch, sizeof s->arch, "%s", dhc_backend_info(dhc_backend_cuda.name)->arch);
  *facts = (DhcTargetFacts){.kind = DHC_TARGET_GPU, .vector_bytes = 64, .task_elements = 1, .has_fma = true, .by_threads = true, .compute = o->compute,
                            .groups = !strcmp(s->arch, "sm_90a")};
  *needs = "";
  /* NVRTC's version decides code; texts alone need none */
  const DhcNvrtc *nv;
  dhc_status st = dhc_cuda_nvrtc(&nv);
  if (st.code && !o->offline) return st;
  bool have = !st.code;
  const char *nvrtc = dhc_arena_printf(arena, "nvrtc %d.%d", have ? nv->major : 0, have ? nv->minor : 0);
  DHC_TRY(dhc_cuda_queue_open(s->arch, o->workers, o->store, nvrtc, &s->queue));
  *key_text = dhc_arena_printf(arena, "cuda %s %s", s->arch, nvrtc);
  *out = s;
  return dhc_status_ok();
}

static void cuda_close(void *self) { dhc_cuda_queue_close(((Self *)self)->queue); }

static dhc_status cuda_worker_open(void *self, void **worker) {
  *worker = self; /* NVRTC compiles in parallel without more */
  return dhc_status_ok();
}
static void cuda_worker_close(void *worker) { (void)worker; }

/* ---- disassembly: the toolkit's own tools ---------------------------------------------------- */

static dhc_status run_tool(char *const *arguments, int out) {
  posix_spawn_file_actions_t actions;
  pid_t child;
  int status = 0;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, out, 1);
  int rc = posix_spawnp(&child, arguments[0], &actions, NULL, arguments, environ);
  posix_spawn_file_actions_destroy(&actions);
  if (rc) return dhc_status_make(DHC_E_ENVIRONMENT, "--stage=sass: %s is not installed (it comes with the CUDA toolkit): %s", arguments[0], strerror(rc));
  while (waitpid(child, &status, 0) < 0)
    if (errno != EINTR) break;
  if (!WIFEXITED(status) || WEXITSTATUS(status)) return dhc_status_make(DHC_E_ENVIRONMENT, "--stage=sass: %s failed", arguments[0]);
  return dhc_status_ok();
}

static dhc_status read_back(int file, DhcBytes *out) {
  off_t size = lseek(file, 0, SEEK_END);
  out->bytes = malloc((size_t)size + 1);
  if (!out->bytes) return dhc_status_memory((long long)size, "disassembly");
  out->n_bytes = size > 0 ? (size_t)pread(file, out->bytes, (size_t)size, 0) : 0;
  return dhc_status_ok();
}

static dhc_status disassemble(const char *cubin, size_t n, DhcBytes *out) {
  char in_name[] = "/tmp/dhcc-cubin-XXXXXX", out_name[] = "/tmp/dhcc-sass-XXXXXX";
  int in = mkstemp(in_name), to = mkstemp(out_name);
  dhc_status st = dhc_status_ok();
  if (in < 0 || to < 0 || write(in, cubin, n) != (ssize_t)n)
    st = dhc_status_make(DHC_E_ENVIRONMENT, "--stage=sass: cannot write to /tmp: %s", strerror(errno));
  if (!st.code) st = run_tool((char *[]){"nvdisasm", "-c", in_name, NULL}, to);
  if (st.code && in >= 0 && to >= 0 && strstr(st.message, "not installed")) {
    dhc_status other = run_tool((char *[]){"cuobjdump", "--dump-sass", in_name, NULL}, to);
    if (!other.code) st = other;
  }
  if (!st.code) st = read_back(to, out);
  if (in >= 0) close(in), unlink(in_name);
  if (to >= 0) close(to), unlink(out_name);
  return st;
}

/* ---- code -------------------------------------------------------------------------------------- */

static dhc_status give(DhcBytes *out, const char *text) {
  out->n_bytes = strlen(text);
  out->bytes = malloc(out->n_bytes + 1);
  if (!out->bytes) return dhc_status_memory((long long)out->n_bytes, "text");
  memcpy(out->bytes, text, out->n_bytes + 1);
  return dhc_status_ok();
}

/* A line a size class: what one block and its threads take. about: the spec's text, "spec KIND ...". */
static dhc_status resources(const DhcCudaCode *code, const char *const *names, const DhcCudaLaunch *launch, int n, const char *about,
                            DhcBytes *out) {
  char text[DHC_CUDA_MAX_KERNELS * 112] = "";
  const char *kind = strchr(about, ' ');
  int length = kind ? (int)strcspn(kind + 1, " \n") : 0;
  size_t at = 0;
  for (int i = 0; i < n; i++) {
    int registers, stack;
    if (!dhc_cuda_cubin_use(code[i].cubin, code[i].n, names[i], &registers, &stack))
      return dhc_status_make(DHC_E_ENVIRONMENT, "--stage=resources: NVRTC's code does not say what it takes");
    at += (size_t)snprintf(text + at, sizeof text - at, "%.*s %d: threads %d, registers %d, stack %d, block memory %d\n",
                           length < 16 ? length : 16, kind ? kind + 1 : "", i, launch[i].threads, registers, stack, launch[i].shared_bytes);
  }
  return give(out, text);
}

/* The code of every kernel of an object; the cubins are the object's that is held. */
static dhc_status all_code(DhcCudaLater *l, int n, DhcCudaCode *code) {
  dhc_status st = dhc_status_ok();
  for (int i = 0; i < n; i++) dhc_cuda_later_want(l, i);
  for (int i = 0; i < n; i++) {
    const DhcCudaCode *one;
    dhc_status each = dhc_cuda_later_code(l, i, &one);
    code[i] = *one;
    if (!st.code) st = each;
  }
  return st;
}

/* Each size class a program of its own, compiled when it is needed; for looking at, now. */
static dhc_status compile(Self *s, const DhcLp *const *program, const char *const *names, int n, const char *about, DhcStageText text,
                          DhcBytes *out) {
  DhcNvrtcJob job[DHC_CUDA_MAX_KERNELS] = {{0}};
  DhcCudaCode code[DHC_CUDA_MAX_KERNELS];
  DhcCudaLaunch launch[DHC_CUDA_MAX_KERNELS];
  const char *why = NULL;
  for (int i = 0; i < n; i++) {
    DhcText one = {.arena = program[i]->arena};
    bool huge = n > 1 && !program[i]->narrow_dims; /* the class for places beyond 32 bits */
    dhc_cuda_write(&program[i], &names[i], 1, NULL, &one, &launch[i], &why);
    job[i] = (DhcNvrtcJob){.source = dhc_text_str(&one), .name = names[i], .quick = huge};
  }
  DhcCudaLater *l = dhc_cuda_later_new(s->queue, job, n);
  if (!l) return dhc_status_memory(0, "a kernel");
  dhc_status st = dhc_status_ok();
  if (text == DHC_TEXT_USE) {
    st = all_code(l, n, code);
    if (!st.code) st = resources(code, names, launch, n, about, out);
  } else {
    out->bytes = dhc_cuda_later_write(l, launch, &out->n_bytes);
    if (!out->bytes) st = dhc_status_memory((long long)out->n_bytes, "a kernel");
    else dhc_cuda_later_hold(l); /* until cuda_complete */
  }
  dhc_cuda_later_drop(l);
  return st;
}

/* What the store keeps of an object: all of its code. */
static dhc_status cuda_complete(const DhcBytes *object, int n, bool keep, DhcBytes *out) {
  DhcCudaLaunch launch[DHC_CUDA_MAX_KERNELS];
  DhcCudaCode code[DHC_CUDA_MAX_KERNELS];
  DhcCudaLater *l = dhc_cuda_later_read(object->bytes, object->n_bytes, n, launch);
  dhc_status st = dhc_status_ok();
  if (l && keep) st = all_code(l, n, code);
  if (l && keep && !st.code) {
    out->bytes = dhc_cuda_object_write(launch, code, n, &out->n_bytes);
    if (!out->bytes) st = dhc_status_memory((long long)out->n_bytes, "a kernel");
    else dhc_cuda_later_stored(l);
  }
  dhc_cuda_later_drop(l);
  return st;
}

static dhc_status show(const Self *s, const char *source, const char *name, DhcStageText text, DhcBytes *out) {
  const DhcNvrtc *nv;
  DHC_TRY(dhc_cuda_nvrtc(&nv));
  DhcNvrtcJob job = {.source = source, .name = name, .arch = s->arch, .ptx = text == DHC_TEXT_ASM};
  char *code = NULL;
  size_t n_code = 0;
  DHC_TRY(dhc_nvrtc_compile(nv, &job, &code, &n_code));
  if (text == DHC_TEXT_ASM) {
    *out = (DhcBytes){code, strlen(code)};
    return dhc_status_ok();
  }
  dhc_status st = disassemble(code, n_code, out);
  free(code);
  return st;
}

static dhc_status cuda_generate(void *worker, const DhcLp *const *program, const char *const *names, int n,
                                DhcStageText text, const char *about, DhcBytes *out) {
  DhcText source = {.arena = program[0]->arena};
  DhcCudaLaunch launch[DHC_CUDA_MAX_KERNELS];
  const char *why = NULL;
  _Static_assert((int)DHC_CUDA_MAX_KERNELS >= (int)DHC_MAX_CLASSES, "every size class has a kernel");
  for (int i = 0; i < n; i++)
    if (!dhc_lp_legal(program[i], DHC_TARGET_GPU, program[i]->arena, &why)) return dhc_status_make(DHC_E_INPUT, "not compiled for GPUs: %s", why);
  dhc_cuda_write(program, names, n, about, &source, launch, &why);
  if (why) return dhc_status_make(DHC_E_INPUT, "not compiled for GPUs: %s", why);
  if (text == DHC_TEXT_IR) return give(out, dhc_text_str(&source));
  if (text == DHC_TEXT_ASM || text == DHC_TEXT_SASS) return show(worker, dhc_text_str(&source), names[0], text, out);
  return compile(worker, program, names, n, about, text, out);
}

/* Driver, GPU and NVRTC, or what is the matter with each. */
static int cuda_facts(DhcArena *arena, const char *(*pair)[2], int room) {
  const DhcCudaDriver *cu;
  const DhcNvrtc *nv;
  DhcCudaGpu *g = NULL;
  int n = 0;
  dhc_status driver = dhc_cuda_driver(&cu), nvrtc = dhc_cuda_nvrtc(&nv);
  if (room < 4) return 0;
  const char *missing = driver.message + (strncmp(driver.message, "--backend cuda: ", 16) ? 0 : 16);
  pair[n][0] = "NVIDIA driver";
  pair[n++][1] = driver.code ? dhc_arena_printf(arena, "%s", missing)
                             : dhc_arena_printf(arena, "CUDA %d.%d", cu->version / 1000, cu->version % 1000 / 10);
  dhc_status st = driver.code ? driver : dhc_cuda_gpu_open(0, &g);
  if (!st.code) {
    const DhcCudaInfo *i = dhc_cuda_gpu_info(g);
    pair[n][0] = "GPU";
    pair[n++][1] = dhc_arena_printf(arena, "%s, %s, %lld MiB", i->name, i->arch, (long long)(i->memory_bytes >> 20));
    dhc_cuda_gpu_close(g);
  }
  missing = nvrtc.message + (strncmp(nvrtc.message, "--backend cuda: ", 16) ? 0 : 16);
  pair[n][0] = "NVRTC";
  pair[n++][1] = nvrtc.code ? dhc_arena_printf(arena, "%s", missing) : dhc_arena_printf(arena, "%d.%d", nv->major, nv->minor);
  const DhcNccl *nc;
  dhc_status nccl = dhc_nccl(&nc);
  pair[n][0] = "NCCL";
  pair[n++][1] = nccl.code ? dhc_arena_printf(arena, "%s", nccl.message)
                           : dhc_arena_printf(arena, "%d.%d.%d", nc->version / 10000, nc->version % 10000 / 100, nc->version % 100);
  return n;
}

const DhcBackend dhc_backend_cuda = {.name = "cuda",
                                     .stage = {[DHC_TEXT_IR] = "cuda", [DHC_TEXT_ASM] = "ptx", [DHC_TEXT_SASS] = "sass", [DHC_TEXT_USE] = "resources"},
                                     .device_open = dhc_cuda_device_open,
                                     .facts_for_people = cuda_facts,
                                     .open = cuda_open,
                                     .close = cuda_close,
                                     .worker_open = cuda_worker_open,
                                     .worker_close = cuda_worker_close,
                                     .generate = cuda_generate,
                                     .complete = cuda_complete,
                                     .object = dhc_cuda_make_object};
