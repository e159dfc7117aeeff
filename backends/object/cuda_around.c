/* What of an object for GPUs stands around its entries: state of a training, which lies on the GPU, the self test, whose calls are copied there
 * and back, and variants, which are host functions alone. */
#include "backends/object/c99.h"
#include "backends/object/cuda_host.h"

const char dhc_cuda_around_text[] =
    "extern int cuMemcpyHtoDAsync_v2(unsigned long long to, const void *from, size_t bytes, void *stream);\n"
    "extern int cuMemcpyHtoD_v2(unsigned long long to, const void *from, size_t bytes);\n"
    "extern int cuMemcpyDtoH_v2(void *to, unsigned long long from, size_t bytes);\n"
    "extern int cuMemcpyDtoD_v2(unsigned long long to, unsigned long long from, size_t bytes);\n"
    "extern int cuMemsetD8_v2(unsigned long long to, unsigned char value, size_t n);\n";

/* The struct of a step's numbers, as C lays it out, and what it takes in the workspace. */
static int64_t numbers_bytes(const DhcObjTrain *t) {
  int64_t end = 0;
  for (int i = 0; i < t->scalars.n; i++) end = t->scalars.at[i].at + 8 > end ? t->scalars.at[i].at + 8 : end;
  return (end + 63) / 64 * 64 + 64;
}

void dhc_object_goes_away(DhcObject *o, const char *archs, const char *header, DhcArena *arena) {
  o->cuda = DHC_NEW(arena, DhcObjCuda);
  *o->cuda = (DhcObjCuda){.archs = archs, .header = header};
  for (int i = 0; i < o->n_entries; i++) {
    DhcObjEntry *e = o->entry[i];
    if (!e->train) continue;
    e->numbers_at = e->work_bytes;
    e->work_bytes = dhc_obj_op(e, arena, DHC_DIM_ADD, e->work_bytes, dhc_obj_const(e, arena, numbers_bytes(e->train)));
  }
}

/* ---- training ------------------------------------------------------------------------------------------------------ */

static const char failed[] = " != 0) return DHC_OBJECT_DEVICE;\n";

static const char *gpu_move(DhcC99Move kind, const char *to, const char *from, int64_t bytes, DhcArena *arena) {
  static const char *const form[] = {[DHC_C99_CLEAR] = "cuMemsetD8_v2(device_ptr(%s), 0, ", [DHC_C99_WITHIN] = "cuMemcpyDtoD_v2(device_ptr(%s), device_ptr(%s), ",
                                     [DHC_C99_IN] = "cuMemcpyHtoD_v2(device_ptr(%s), %s, ", [DHC_C99_OUT] = "cuMemcpyDtoH_v2(%s, device_ptr(%s), "};
  const char *size = bytes < 0 ? "(size_t)bytes" : dhc_arena_printf(arena, "%lld", (long long)bytes);
  DhcText t = {.arena = arena};
  dhc_text_puts(&t, "if (");
  dhc_text_printf(&t, form[kind], to, from);
  dhc_text_printf(&t, "%s)%s", size, failed);
  return dhc_text_str(&t);
}

void dhc_cuda_training(const DhcObjTrain *t, DhcText *to) {
  const DhcC99Moves moves = {gpu_move, "  if (cuStreamSynchronize(0) != 0) return DHC_OBJECT_DEVICE;\n"};
  dhc_c99_training(t, &moves, to);
}

/* ---- self test ------------------------------------------------------------------------------------------------------ */

static const char differs_text[] =
    "/* Whether n bytes of the GPU are others than these; -1: the driver refuses to say. */\n"
    "static int gpu_differs(const GPU *gpu, const void *at, const void *want, i64 n) {\n"
    "  unsigned char piece[4096];\n"
    "  for (i64 i = 0; i < n; i += 4096) {\n"
    "    const i64 bytes = n - i < 4096 ? n - i : 4096;\n"
    "    if (cuMemcpyDtoHAsync_v2(piece, device_ptr(at) + (u64)i, (size_t)bytes, gpu->stream) || cuStreamSynchronize(gpu->stream)) return -1;\n"
    "    for (i64 k = 0; k < bytes; k++)\n      if (piece[k] != ((const unsigned char *)want)[i + k]) return 1;\n"
    "  }\n  return 0;\n}\n\n";

static void write_test(const DhcObject *o, int number, DhcText *to) {
  const DhcObjTest *t = &o->tests.at[number];
  const DhcObjEntry *e = o->entry[t->entry];
  DhcText arguments = {.arena = to->arena}, looks = {.arena = to->arena};
  int64_t at = dhc_object_test_workspace(e);
  for (int k = 0; k < e->n_params; k++, at += (t->bytes[k - 1] + 63) / 64 * 64) {
    dhc_text_printf(&arguments, "(void *)(work + %lld), ", (long long)at);
    if (!e->param[k].out)
      dhc_text_printf(to, "  if (cuMemcpyHtoDAsync_v2(device_ptr(work + %lld), test%d_%d, %lld, gpu->stream)%s", (long long)at, number, k, (long long)t->bytes[k], failed);
    else
      dhc_text_printf(&looks, "  differs = gpu_differs(gpu, work + %lld, test%d_%d, %lld);\n  if (differs != 0) return differs < 0 ? DHC_OBJECT_DEVICE : DHC_OBJECT_SELFTEST;\n",
                      (long long)at, number, k, (long long)t->bytes[k]);
  }
  dhc_text_printf(to, "  got = %s(%s%sworkspace, %lld, gpu);\n  if (got != DHC_OBJECT_OK) return got;\n%s", e->c_name, e->reads_weights ? "weights, " : "",
                  dhc_text_str(&arguments), (long long)dhc_object_test_workspace(e), dhc_text_str(&looks));
}

void dhc_cuda_selftest(const DhcObject *o, DhcText *to) {
  bool weights = false;
  for (int i = 0; i < o->tests.n; i++) {
    const DhcObjTest *t = &o->tests.at[i];
    weights = weights || o->entry[t->entry]->reads_weights;
    for (int k = 0; k < o->entry[t->entry]->n_params; k++) dhc_c99_words(dhc_arena_printf(to->arena, "test%d_%d", i, k), t->data[k], t->bytes[k], to);
  }
  dhc_text_printf(to, "%sdhc_object_status %s_selftest(%svoid *workspace, int64_t workspace_bytes, const %s_cuda *gpu) {\n  char *const work = (char *)workspace;\n"
                      "  dhc_object_status got;\n  int differs = 0;\n  if (work == 0 || gpu == 0 || gpu->module == 0) return DHC_OBJECT_NULL;\n  if (misaligned(work)) return DHC_OBJECT_ALIGN;\n"
                      "  if (workspace_bytes < %lld) return DHC_OBJECT_WORKSPACE;\n",
                  differs_text, o->name, weights ? "const void *weights, " : "", o->name, (long long)dhc_object_selftest_bytes(o));
  for (int i = 0; i < o->tests.n; i++) write_test(o, i, to);
  dhc_text_puts(to, "  return DHC_OBJECT_OK;\n}\n\n");
}
