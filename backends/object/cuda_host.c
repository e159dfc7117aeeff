/* An object for GPUs as one C99 file: code for several architectures as data, and a host part that needs the driver's
 * functions and nothing else. Sizes, checks and statements are those of c99.c; launches, copies and fills go to the stream. */
#include "backends/object/cuda_host.h"

#include "backends/object/c99.h"

typedef DhcC99Fn Fn;

static const char *value(Fn *f, const DhcObjX *x) { return dhc_c99_value(f, x); }

/* ---- the driver --------------------------------------------------------------------------------------- */

static const char driver_text[] =
    "/* The CUDA driver's functions, by the names that its library has. */\n"
    "extern int cuCtxGetDevice(int *device);\n"
    "extern int cuDeviceGetAttribute(int *value, int attribute, int device);\n"
    "extern int cuModuleLoadData(void **module, const void *image);\n"
    "extern int cuModuleUnload(void *module);\n"
    "extern int cuModuleGetFunction(void **function, void *module, const char *name);\n"
    "extern int cuFuncSetAttribute(void *function, int attribute, int value);\n"
    "extern int cuLaunchKernel(void *function, unsigned x, unsigned y, unsigned z, unsigned threads, unsigned threads_y, unsigned threads_z,\n"
    "                          unsigned shared_bytes, void *stream, void **arguments, void **extra);\n"
    "extern int cuMemcpyDtoDAsync_v2(unsigned long long to, unsigned long long from, size_t bytes, void *stream);\n"
    "extern int cuMemcpyDtoHAsync_v2(void *to, unsigned long long from, size_t bytes, void *stream);\n"
    "extern int cuMemsetD8Async(unsigned long long to, unsigned char value, size_t n, void *stream);\n"
    "extern int cuMemsetD32Async(unsigned long long to, unsigned value, size_t n, void *stream);\n"
    "extern int cuStreamSynchronize(void *stream);\n\n"
    "SHARED int misaligned(const void *p) { return ((uintptr_t)p & 63u) != 0; }\n"
    "SHARED unsigned long long device_ptr(const void *p) { return (unsigned long long)(uintptr_t)p; }\n"
    "SHARED int gpu_copy(void *stream, void *to, const void *from, i64 bytes) {\n"
    "  return bytes > 0 && to != from ? cuMemcpyDtoDAsync_v2(device_ptr(to), device_ptr(from), (size_t)bytes, stream) : 0;\n"
    "}\n"
    "SHARED int gpu_fill(void *stream, void *to, u32 pattern, i64 bytes) {\n"
    "  if (bytes <= 0) return 0;\n"
    "  if (pattern == 0u) return cuMemsetD8Async(device_ptr(to), 0, (size_t)bytes, stream);\n"
    "  return cuMemsetD32Async(device_ptr(to), pattern, (size_t)(bytes / 4), stream);\n"
    "}\n"
    "/* How a kernel is launched: threads of a block, tasks a block takes at a time, its memory, its operands. */\n"
    "typedef struct launch_facts { const char *name; int threads, per_block, shared_bytes, n_ptrs, n_dims; } launch_facts;\n\n";

static const char launch_text[] =
    "/* Tasks [first, end) of kernel k: one argument of addresses, sizes and the two. */\n"
    "static int gpu_launch(const GPU *gpu, int k, void *const *ptr, const i64 *dim, i64 first, i64 end) {\n"
    "  const launch_facts *l = &facts[k];\n"
    "  const int n_ptrs = l->n_ptrs > 0 ? l->n_ptrs : 1, n_dims = l->n_dims > 0 ? l->n_dims : 1;\n"
    "  i64 argument[512] = {0}, blocks = (end - first + l->per_block - 1) / l->per_block;\n"
    "  /* without block memory a block that goes on is as good as a new one */\n"
    "  const i64 most = l->shared_bytes > 0 ? 1 << 20 : (i64)gpu->multiprocessors * (2048 / l->threads);\n"
    "  void *arguments[1];\n"
    "  if (end <= first) return 0;\n"
    "  for (int i = 0; i < l->n_ptrs; i++) argument[i] = (i64)(uintptr_t)ptr[i];\n"
    "  for (int i = 0; i < l->n_dims; i++) argument[n_ptrs + i] = dim[i];\n"
    "  argument[n_ptrs + n_dims] = first;\n"
    "  argument[n_ptrs + n_dims + 1] = end;\n"
    "  arguments[0] = argument;\n"
    "  if (blocks > most) blocks = most;\n"
    "  return cuLaunchKernel(gpu->function[k], (unsigned)blocks, 1, 1, (unsigned)l->threads, 1, 1, (unsigned)l->shared_bytes, gpu->stream, arguments, 0);\n"
    "}\n\n";

static void write_images(const DhcObject *o, DhcText *to) {
  const DhcObjCuda *c = o->cuda;
  for (int i = 0; i < c->n_images; i++) {
    dhc_text_printf(to, "/* %s%s */\n", c->image[i].ptx ? "PTX, for later ones: at least " : "", c->image[i].arch);
    dhc_c99_words(dhc_arena_printf(to->arena, "image%d", i), c->image[i].bytes, (int64_t)c->image[i].n, to);
  }
  dhc_text_puts(to, "/* exact: no other minor number will do */\n"
                    "static const struct { const u64 *code; int major, minor, exact, ptx; } image[] = {");
  for (int i = 0; i < c->n_images; i++) {
    const DhcObjCudaImage *m = &c->image[i];
    dhc_text_printf(to, "%s{image%d, %d, %d, %d, %d}", i ? ", " : "", i, m->major, m->minor, m->exact, m->ptx);
  }
  dhc_text_puts(to, "};\nstatic const launch_facts facts[] = {");
  for (int i = 0; i < o->functions.n; i++) {
    const DhcObjCudaLaunch *l = &c->launch[i];
    dhc_text_printf(to, "%s{\"%s\", %d, %d, %d, %d, %d}", i ? ",\n  " : "\n  ", o->functions.at[i].name, l->threads, l->per_block, l->shared_bytes, l->n_ptrs, l->n_dims);
  }
  dhc_text_puts(to, o->functions.n ? "};\n\n" : "{0, 1, 1, 0, 0, 0}};\n\n");
}

static void write_open(const DhcObject *o, DhcText *to) {
  dhc_text_printf(to, "typedef %s_cuda GPU;\n\n%s", o->name, launch_text);
  dhc_text_printf(to, "dhc_object_status %s_cuda_open(%s_cuda *gpu, void *stream) {\n"
                      "  int device = 0, major = 0, minor = 0;\n"
                      "  if (gpu == 0) return DHC_OBJECT_NULL;\n"
                      "  gpu->stream = stream;\n"
                      "  gpu->module = 0;\n"
                      "  if (cuCtxGetDevice(&device) || cuDeviceGetAttribute(&major, 75, device) || cuDeviceGetAttribute(&minor, 76, device) ||\n"
                      "      cuDeviceGetAttribute(&gpu->multiprocessors, 16, device)) return DHC_OBJECT_DEVICE;\n"
                      "  for (unsigned i = 0; i < sizeof image / sizeof image[0] && gpu->module == 0; i++) {\n"
                      "    const int later = major > image[i].major || (major == image[i].major && minor >= image[i].minor);\n"
                      "    const int same = major == image[i].major && (image[i].exact ? minor == image[i].minor : minor >= image[i].minor);\n"
                      "    if ((image[i].ptx ? later : same) && cuModuleLoadData(&gpu->module, image[i].code)) gpu->module = 0;\n"
                      "  }\n"
                      "  if (gpu->module == 0) return DHC_OBJECT_DEVICE;\n"
                      "  for (int k = 0; k < %d; k++) {\n"
                      "    if (cuModuleGetFunction(&gpu->function[k], gpu->module, facts[k].name) ||\n"
                      "        (facts[k].shared_bytes > 48 * 1024 && cuFuncSetAttribute(gpu->function[k], 8, facts[k].shared_bytes))) {\n"
                      "      (void)cuModuleUnload(gpu->module);\n      gpu->module = 0;\n      return DHC_OBJECT_DEVICE;\n    }\n"
                      "  }\n  return DHC_OBJECT_OK;\n}\n\n"
                      "void %s_cuda_close(%s_cuda *gpu) {\n  if (gpu != 0 && gpu->module != 0) (void)cuModuleUnload(gpu->module);\n  if (gpu != 0) gpu->module = 0;\n}\n\n",
                  o->name, o->name, o->functions.n, o->name, o->name);
}

/* ---- statements ------------------------------------------------------------------------------------------ */

static const char failed[] = " != 0) return DHC_OBJECT_DEVICE;\n";

static void write_launch(Fn *f, const DhcObjClass *k, int in) {
  const DhcObjX *end[] = {k->first_tasks, k->later_tasks[0], k->later_tasks[1], k->n_tasks};
  const char *begin = "0";
  for (int i = 0; i < 4; i++) {
    if (!end[i]) continue;
    const char *to = value(f, end[i]);
    dhc_text_printf(f->to, "%*sif (gpu_launch(gpu, %d, p, d, %s, %s)%s", in, "", k->function, begin, to, failed);
    begin = to;
  }
}

static void write_call(Fn *f, const DhcObjStmt *s, int depth) {
  int in = 2 * depth + 2;
  for (int i = 0; i < s->n_refs; i++) dhc_text_printf(f->to, "%*sp[%d] = %s;\n", in, "", i, dhc_c99_address(f, &s->refs[i], depth));
  dhc_text_printf(f->to, "%*sp[%d] = shared;\n", in, "", s->n_refs);
  for (int i = 0; i < s->n_dims; i++) dhc_text_printf(f->to, "%*sd[%d] = %s;\n", in, "", i, value(f, s->dims[i]));
  for (int c = 0; c < s->n_classes; c++) {
    const DhcObjClass *k = &s->class[c];
    if (c) dhc_text_puts(f->to, k->guard ? " else " : " else {\n");
    else dhc_text_printf(f->to, "%*s%s", in, "", k->guard ? "" : "{\n");
    if (k->guard) dhc_text_printf(f->to, "if (%s != 0) {\n", value(f, k->guard));
    write_launch(f, k, in + 2);
    dhc_text_printf(f->to, "%*s}", in, "");
  }
  dhc_text_puts(f->to, "\n");
}

static void write_move(Fn *f, const DhcObjStmt *s, int depth) {
  int in = 2 * depth + 2;
  if (dhc_obj_is(s->bytes, 0)) return;
  const char *to = dhc_c99_address(f, &s->refs[s->kind == DHC_ITEM_COPY], depth), *n = value(f, s->bytes);
  if (s->kind == DHC_ITEM_COPY)
    dhc_text_printf(f->to, "%*sif (gpu_copy(gpu->stream, %s, %s, %s)%s", in, "", to, dhc_c99_address(f, &s->refs[0], depth), n, failed);
  else
    dhc_text_printf(f->to, "%*sif (gpu_fill(gpu->stream, %s, 0x%08xu, %s)%s", in, "", to, s->pattern, n, failed);
}

/* ---- entries ------------------------------------------------------------------------------------------------ */

/* Elements come back in pieces of the innermost loop's rows, one element each where they are apart. */
static void write_index_checks(Fn *f) {
  for (int i = 0; i < f->e->index_checks.n; i++) {
    const DhcObjIndexCheck *c = &f->e->index_checks.at[i];
    const DhcObjParam *p = &f->e->param[c->param];
    const char *type = dhc_object_c_type(p->tensor->dtype), *extent = value(f, c->extent);
    DhcText at = {.arena = f->arena};
    dhc_text_printf(&at, "%s", value(f, c->at));
    for (int d = 0; d < c->rank; d++) {
      value(f, c->count[d]);
      dhc_text_printf(&at, " + %s * k%d", value(f, c->step[d]), d);
    }
    int last = c->rank - 1;
    bool rows = c->rank && dhc_obj_is(c->step[last], 1);
    for (int d = 0; d < c->rank; d++)
      dhc_text_printf(f->to, "  for (i64 k%d = 0; k%d < %s; k%d += %s) {\n", d, d, value(f, c->count[d]), d, rows && d == last ? "256" : "1");
    dhc_text_printf(f->to, "    %s looked[256];\n    i64 n = 1;\n", type);
    if (rows) dhc_text_printf(f->to, "    n = %s - k%d < 256 ? %s - k%d : 256;\n", value(f, c->count[last]), last, value(f, c->count[last]), last);
    dhc_text_printf(f->to, "    if (cuMemcpyDtoHAsync_v2(looked, device_ptr(%s + (%s)), sizeof looked[0] * (size_t)n, gpu->stream) != 0 ||\n"
                           "        cuStreamSynchronize(gpu->stream) != 0) return DHC_OBJECT_DEVICE;\n"
                           "    for (i64 j = 0; j < n; j++)\n      if ((u64)(i64)looked[j] >= (u64)%s", p->name, dhc_text_str(&at), extent);
    if (c->exempt) dhc_text_printf(f->to, " && (i64)looked[j] != %lld", (long long)c->exempted);
    dhc_text_puts(f->to, ") return DHC_OBJECT_INDEX;\n");
    for (int d = 0; d < c->rank; d++) dhc_text_puts(f->to, "  }\n");
  }
}

static void write_checks(Fn *f) {
  const DhcObjEntry *e = f->e;
  bool works = !dhc_object_needs_no_workspace(e), passed = e->reads_weights;
  dhc_text_puts(f->to, "  if (gpu == 0 || gpu->module == 0");
  if (works) dhc_text_puts(f->to, " || workspace == 0");
  if (e->state_bytes) dhc_text_puts(f->to, " || state == 0");
  if (passed) dhc_text_puts(f->to, " || weights == 0");
  for (int i = 0; i < e->n_params; i++) dhc_text_printf(f->to, " || %s == 0", e->param[i].name);
  if (e->train) dhc_text_puts(f->to, " || scalars == 0");
  dhc_text_printf(f->to, ") return DHC_OBJECT_NULL;\n  if (%s%s%s) return DHC_OBJECT_ALIGN;\n", works ? "misaligned(workspace)" : "0",
                  e->state_bytes ? " || misaligned(state)" : "", passed ? " || misaligned(weights)" : "");
  DhcText sizes = {.arena = f->arena};
  for (int i = 0; i < e->n_symbols; i++)
    if (!e->bound[i]) dhc_text_printf(&sizes, "%s%s", sizes.n ? ", " : "", e->symbol[i]);
  dhc_text_printf(f->to, "  if (%s_check(%s) != 0) return DHC_OBJECT_DIMS;\n", e->c_name, dhc_text_str(&sizes));
  const char *work = value(f, e->work_bytes), *shared = value(f, e->shared_bytes), *each = value(f, e->scratch_bytes);
  dhc_text_printf(f->to, "  if (workspace_bytes < %s + %s + %s) return DHC_OBJECT_WORKSPACE;\n", work, shared, each);
  if (passed) dhc_text_puts(f->to, "  char *const constants = (char *)(uintptr_t)weights;\n");
  dhc_text_puts(f->to, "  char *const work = (char *)workspace;\n  (void)work;\n");
  write_index_checks(f);
  if (e->numbers_at)
    dhc_text_printf(f->to, "  char *const numbers = work + %s;\n  if (cuMemcpyHtoDAsync_v2(device_ptr(numbers), scalars, sizeof *scalars, gpu->stream)%s",
                    value(f, e->numbers_at), failed);
  if (e->most_refs) dhc_text_printf(f->to, "  char *const shared = work + %s;\n  void *p[%d];\n  i64 d[%d];\n", work, e->most_refs + 1, e->most_dims + 1);
}

static void write_entry(const DhcObject *o, const DhcObjEntry *e, DhcText *to) {
  dhc_c99_sizes(o, e, to);
  Fn f = dhc_c99_begin(o, e, to);
  dhc_text_printf(to, "%s {\n", dhc_object_prototype(o, e, to->arena));
  write_checks(&f);
  dhc_c99_statements(&f, &(DhcC99Forms){write_call, write_move});
  for (int i = 0; i < e->required.n; i++) {
    const char *at = dhc_c99_address(&f, &e->required.at[i], 0);
    dhc_text_printf(to, "  {\n    unsigned char holds = 0;\n    if (cuMemcpyDtoHAsync_v2(&holds, device_ptr(%s), 1, gpu->stream) != 0 || cuStreamSynchronize(gpu->stream)%s"
                        "    if (holds == 0) return DHC_OBJECT_REQUIRE;\n  }\n", at, failed);
  }
  dhc_text_puts(to, "  return DHC_OBJECT_OK;\n}\n\n");
}

void dhc_object_write_cuda(const DhcObject *o, DhcText *to) {
  dhc_text_printf(to, "/* Model %s for GPUs, written by dhcc %s. Model hash %s.\n"
                      " * Needs the CUDA driver (libcuda) and nothing else. */\n"
                      "#include \"%s\"\n\n#include <stdbool.h>\n#include <stddef.h>\n\n", o->model, o->build, o->hash, o->cuda->header);
  dhc_c99_prelude("", to);
  dhc_text_puts(to, dhc_c99_sizes_text());
  dhc_text_puts(to, driver_text);
  bool around = o->tests.n > 0;
  for (int i = 0; i < o->n_entries; i++) around = around || o->entry[i]->train;
  if (around) dhc_text_puts(to, dhc_cuda_around_text);
  write_images(o, to);
  write_open(o, to);
  dhc_c99_describe(o, to);
  dhc_c99_weights(o, to);
  for (int i = 0; i < o->n_entries; i++) {
    write_entry(o, o->entry[i], to);
    if (dhc_object_handles_state(o, o->entry[i])) dhc_cuda_training(o->entry[i]->train, to);
  }
  if (o->n_variants) dhc_c99_variants(o, to);
  if (o->tests.n) dhc_cuda_selftest(o, to);
}
