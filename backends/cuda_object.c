/* Objects for GPUs: all kernels as one program, compiled for each architecture, and as PTX. */
#include <stdlib.h>
#include <string.h>

#include "backends/cuda/cuda.h"
#include "backends/cuda/cuda_internal.h"
#include "backends/object/cuda_host.h"
#include "backends/object/ptx.h"

enum { MAX_IMAGES = 16 };

typedef struct Images {
  DhcObjCudaImage at[MAX_IMAGES];
  int n;
} Images;

static void drop(void *what) {
  Images *m = what;
  for (int i = 0; i < m->n; i++) free((char *)(uintptr_t)m->at[i].bytes);
}

/* "sm_90a": 9, 0, exact; "sm_100": 10, 0. */
static bool read_arch(const char *text, DhcObjCudaImage *to) {
  size_t digits = strncmp(text, "sm_", 3) ? 0 : strspn(text + 3, "0123456789");
  const char *end = text + 3 + digits;
  if (digits < 2 || digits > 3 || (*end && ((*end != 'a' && *end != 'f') || end[1]))) return false;
  int number = atoi(text + 3);
  *to = (DhcObjCudaImage){.arch = text, .major = number / 10, .minor = number % 10, .exact = *end == 'a'};
  return true;
}

/* Cubins in the order in which they are tried: those of one part alone before those that later ones take, too; then PTX of the
 * least. */
static dhc_status read_archs(const char *list, DhcArena *arena, Images *to) {
  DhcObjCudaImage all[MAX_IMAGES], least = {.major = 1000};
  int n = 0;
  for (const char *at = list; *at || !n; at += strcspn(at, ","), at += *at == ',') {
    const char *arch = dhc_arena_strndup(arena, at, strcspn(at, ","));
    if (n == MAX_IMAGES - 1) return dhc_status_make(DHC_E_USAGE, "--gpu-arch: more than %d architectures", MAX_IMAGES - 1);
    if (!read_arch(arch, &all[n])) return dhc_status_make(DHC_E_USAGE, "--gpu-arch: needs architectures such as sm_80,sm_90a, got \"%s\"", arch);
    if (10 * all[n].major + all[n].minor < 10 * least.major + least.minor) least = all[n];
    n++;
  }
  for (int exact = 1; exact >= 0; exact--)
    for (int i = 0; i < n; i++)
      if (all[i].exact == exact) to->at[to->n++] = all[i];
  least.arch = dhc_arena_printf(arena, "sm_%d%d", least.major, least.minor);
  least.ptx = true;
  least.exact = false;
  to->at[to->n++] = least;
  return dhc_status_ok();
}

static dhc_status compile_images(const DhcNvrtc *nv, const char *source, Images *to) {
  for (int i = 0; i < to->n; i++) {
    const DhcNvrtcJob job = {.source = source, .name = "object", .arch = to->at[i].arch, .ptx = to->at[i].ptx};
    char *code = NULL;
    DHC_TRY(dhc_nvrtc_compile(nv, &job, &code, &to->at[i].n));
    if (job.ptx) dhc_ptx_lower(code, to->at[i].n, job.arch);
    to->at[i].bytes = code;
  }
  return dhc_status_ok();
}

static dhc_status kernels(const DhcObject *o, DhcArena *arena, DhcObjCudaLaunch *launch, const char **source) {
  int n = o->functions.n;
  const DhcLp **program = DHC_NEW_N(arena, const DhcLp *, n + 1);
  const char **name = DHC_NEW_N(arena, const char *, n + 1), *why = NULL;
  DhcCudaLaunch *l = DHC_NEW_N(arena, DhcCudaLaunch, n + 1);
  DhcText text = {.arena = arena};
  for (int i = 0; i < n; i++) {
    program[i] = o->functions.at[i].program;
    name[i] = o->functions.at[i].name;
    if (!dhc_lp_legal(program[i], DHC_TARGET_GPU, arena, &why)) return dhc_status_make(DHC_E_INPUT, "not compiled for GPUs: %s", why);
  }
  if (n) dhc_cuda_write(program, name, n, NULL, &text, l, &why);
  if (why) return dhc_status_make(DHC_E_INPUT, "not compiled for GPUs: %s", why);
  for (int i = 0; i < n; i++)
    launch[i] = (DhcObjCudaLaunch){l[i].threads, l[i].per_block, l[i].shared_bytes, l[i].n_ptrs, l[i].n_dims};
  *source = n ? dhc_text_str(&text) : "// nothing\n";
  return dhc_status_ok();
}

dhc_status dhc_cuda_make_object(void *worker, const struct DhcObject *o, DhcArena *arena, DhcBytes *out) {
  const DhcNvrtc *nv;
  const char *source = NULL;
  (void)worker;
  Images images = {.n = 0};
  DHC_TRY(read_archs(o->cuda->archs, arena, &images));
  DHC_TRY(dhc_cuda_nvrtc(&nv));
  DhcObjCudaLaunch *launch = DHC_NEW_N(arena, DhcObjCudaLaunch, o->functions.n + 1);
  DHC_TRY(kernels(o, arena, launch, &source));
  DhcHeld held;
  dhc_hold(&held, drop, &images);
  dhc_status st = compile_images(nv, source, &images);
  DhcText text = {.arena = arena};
  if (!st.code) {
    o->cuda->image = images.at;
    o->cuda->n_images = images.n;
    o->cuda->launch = launch;
    dhc_object_write_cuda(o, &text);
    out->n_bytes = (size_t)text.n;
    out->bytes = malloc((size_t)text.n + 1);
    if (out->bytes) memcpy(out->bytes, dhc_text_str(&text), (size_t)text.n);
    else st = dhc_status_memory(text.n, "a source file");
  }
  dhc_release(&held);
  drop(&images);
  return st;
}
