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

void dhc_object_cuda_room(DhcObject *o, DhcArena *arena) {
  for (int i = 0; i < o->n_entries; i++) {
    DhcObjEntry *e = o->entry[i];
    if (!e->train) continue;
    e->numbers_at = e->work_bytes;
    e->work_bytes = dhc_obj_op(e, arena, DHC_DIM_ADD, e->work_bytes, dhc_obj_const(e, arena, numbers_bytes(e->train)));
  }
}

/* ---- training ------------------------------------------------------------------------------------------------------ */

static const char failed[] = " != 0) return DHC_OBJECT_DEVICE;\n";

void dhc_cuda_training(const DhcObjTrain *t, DhcText *to) {
  const char *look = "  if (state == 0) return DHC_OBJECT_NULL;\n  if (misaligned(state)) return DHC_OBJECT_ALIGN;\n";
  long long weights = (long long)t->layout->bytes[DHC_SEGMENT_WEIGHTS], buffers = (long long)t->layout->bytes[DHC_SEGMENT_BUFFERS];
  dhc_c99_words(dhc_arena_printf(to->arena, "%s_first", t->c_name), t->first, t->bytes - t->buffers + t->moments, to);
  dhc_text_printf(to, "\ndhc_object_status %s_reset(void *state) {\n%s", t->c_name, look);
  if (t->buffers > t->moments)
    dhc_text_printf(to, "  if (cuMemsetD8_v2(device_ptr((char *)state + %lld), 0, %lld)%s", (long long)t->moments, (long long)(t->buffers - t->moments), failed);
  for (int i = 0; i < t->layout->n_ranges; i++)
    if (t->layout->ranges[i].from_weights)
      dhc_text_printf(to, "  if (cuMemcpyDtoD_v2(device_ptr((char *)state + %lld), device_ptr(state), %lld)%s",
                      (long long)(t->moments + t->layout->ranges[i].at), weights, failed);
  dhc_text_printf(to, "  if (cuStreamSynchronize(0)%s  return DHC_OBJECT_OK;\n}\n\ndhc_object_status %s_init(void *state, int64_t state_bytes) {\n%s"
                      "  if (state_bytes < INT64_C(%lld)) return DHC_OBJECT_WORKSPACE;\n", failed, t->c_name, look, (long long)t->bytes);
  if (weights) dhc_text_printf(to, "  if (cuMemcpyHtoD_v2(device_ptr(state), %s_first, %lld)%s", t->c_name, weights, failed);
  if (buffers)
    dhc_text_printf(to, "  if (cuMemcpyHtoD_v2(device_ptr((char *)state + %lld), (const char *)%s_first + %lld, %lld)%s", (long long)t->buffers, t->c_name,
                    (long long)t->moments, buffers, failed);
  dhc_text_printf(to, "  return %s_reset(state);\n}\n\n", t->c_name);
  for (int get = 0; get < 2; get++) {
    dhc_text_printf(to, "dhc_object_status %s_%s(%svoid *state, int tensor, %svoid *data, int64_t bytes) {\n%s  if (data == 0) return DHC_OBJECT_NULL;\n"
                        "  switch (tensor) {\n", t->c_name, get ? "get" : "set", get ? "const " : "", get ? "" : "const ", look);
    for (int i = 0; i < t->kept.n; i++) {
      const DhcObjKept *k = &t->kept.at[i];
      const char *at = dhc_arena_printf(to->arena, "device_ptr((const char *)state + %lld)", (long long)k->at);
      dhc_text_printf(to, "    case %d:\n      if (bytes != INT64_C(%lld)) return DHC_OBJECT_WEIGHTS;\n", i, (long long)(k->n * dhc_dtype_bytes((dhc_dtype)k->dtype)));
      if (get) dhc_text_printf(to, "      if (cuMemcpyDtoH_v2(data, %s, (size_t)bytes)%s", at, failed);
      else dhc_text_printf(to, "      if (cuMemcpyHtoD_v2(%s, data, (size_t)bytes)%s", at, failed);
      dhc_text_puts(to, "      return DHC_OBJECT_OK;\n");
    }
    dhc_text_puts(to, "    default: return DHC_OBJECT_WEIGHTS;\n  }\n}\n\n");
  }
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
