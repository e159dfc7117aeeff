/* Images of the shipped models as bytes: what is read is what was written; damage is refused,
 * and so is what its digest covers but does not hold together.
 *
 *   test_image MODELS_FOLDER */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "passes/plan/image.h"
#include "runtime/image.h"
#include "runtime/sha256.h"
#include "tests/plan/plan_exec.h"
#include "tests/plan/plan_models.h"

enum { HEAD = 56, DIGEST = 24 };

static dhc_image *make(Made *x, const char *mode) {
  static const int64_t one[] = {DHC_DIM_CONST, 1};
  DhcPlanned *p = dhc_test_plan(&x->f, DHC_PIPELINE_GRAPH, false);
  if (!p) return NULL;
  const DhcImageRequest rq = {.name = "entry", .func = x->f, .layout = dhc_layout_make(x->m, NULL, NULL, false, false, (DhcShare){0}, false, &x->arena),
                              .trains = !strcmp(mode, "train")};
  dhc_image *im = dhc_image_begin(&rq, &x->arena);
  dhc_image_add_plan(im, p, &x->arena);
  dhc_kernel_class *c = DHC_NEW(&x->arena, dhc_kernel_class);
  c->n_tasks = (dhc_dimprog){one, 2};
  for (int i = 0; i < p->plan.n_kernels; i++)
    ((dhc_kernel *)(uintptr_t)im->kernels)[i] = (dhc_kernel){.name = "k", .n_ptrs = p->specs[i]->n_operands,
                                                             .n_dims = dhc_spec_n_dims(p->specs[i]), .n_classes = 1, .classes = c};
  return im;
}

static int fail(const char *what, const char *why) {
  printf("%s: %s\n", what, why);
  return 1;
}

static int refused(const char *what, const uint8_t *bytes, size_t n, const char *why) {
  dhc_image *im = NULL;
  dhc_status st = dhc_image_read(bytes, n, &im);
  if (st.code == DHC_E_INPUT && !strcmp(st.message, why)) return 0;
  printf("%s: wanted \"%s\", got %d \"%s\"\n", what, why, (int)st.code, st.message);
  dhc_image_free(im);
  return 1;
}

static const char *later_version(const uint8_t *bytes) {
  static char text[80];
  uint64_t version = 0;
  for (int i = 7; i >= 0; i--) version = version << 8 | bytes[8 + i];
  snprintf(text, sizeof text, "an image of version %llu, this is version %d", (unsigned long long)version, DHC_ABI_VERSION);
  return text;
}

/* Bytes and words of the body changed under a right digest: refused or harmless, never a fault. */
static int crooked(const char *what, uint8_t *bytes, size_t n) {
  uint32_t state = 12345;
  int apart = 0;
  for (int round = 0; round < 300; round++) {
    state = state * 1664525 + 1013904223;
    size_t at = HEAD + state % (n - HEAD - 8) / 8 * 8;
    uint8_t was[8];
    memcpy(was, bytes + at, 8);
    static const int64_t values[] = {-1, 0, 1, INT32_MAX, INT64_MAX, 1 << 20, 7, INT64_MIN};
    memcpy(bytes + at, &values[round % 8], 8);
    dhc_sha256_bytes(bytes + HEAD, n - HEAD, bytes + DIGEST);
    dhc_image *im = NULL;
    dhc_status st = dhc_image_read(bytes, n, &im);
    if (st.code == DHC_OK) dhc_image_free(im);
    else if (st.code != DHC_E_INPUT || strcmp(st.message, "an image that does not hold together")) return fail(what, st.message);
    else apart++;
    memcpy(bytes + at, was, 8);
  }
  dhc_sha256_bytes(bytes + HEAD, n - HEAD, bytes + DIGEST);
  return apart ? 0 : fail(what, "nothing was refused");
}

/* Counts that no image has. */
static int miscounted(const char *what, const dhc_image *im) {
  dhc_image copy = *im;
  uint8_t *bytes = NULL;
  size_t n;
  copy.n_params = -1;
  dhc_status st = dhc_image_write(&copy, &bytes, &n);
  free(bytes);
  return st.code == DHC_E_USAGE && !strcmp(st.message, "an image that counts wrongly") ? 0 : fail(what, st.message);
}

/* Panels whose elements are not what a program packs, and such as their buffer does not hold: three rows in fours. */
static int tagged(const char *what, const dhc_image *im) {
  static const struct {
    int32_t tag, segment;
    int64_t bytes;
    bool fits;
  } cases[] = {{0, DHC_SEGMENT_PANELS, 16, false}, {2, DHC_SEGMENT_PANELS, 16, false}, {3, DHC_SEGMENT_PANELS, 16, false},
               {-1, DHC_SEGMENT_PANELS, 16, false}, {DHC_PANEL_F32, DHC_SEGMENT_PANELS, 12, false},
               {DHC_PANEL_F32, DHC_SEGMENT_WORK, 16, false}, {DHC_PANEL_F32, DHC_SEGMENT_PANELS, 16, true}};
  int bad = 0;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    dhc_panel panel = {.tensor = -1, .buffer = 0, .width = 4, .matrices = 1, .rows = 3, .cols = 1, .tag = cases[i].tag};
    dhc_image copy = *im, *back = NULL;
    uint8_t *bytes = NULL;
    size_t n;
    const int64_t code[] = {DHC_DIM_CONST, cases[i].bytes};
    dhc_buffer *buffers = malloc(sizeof *buffers * (size_t)im->plan.n_buffers);
    if (!buffers) abort();
    memcpy(buffers, im->plan.buffers, sizeof *buffers * (size_t)im->plan.n_buffers);
    buffers[0].segment = cases[i].segment;
    buffers[0].bytes = (dhc_dimprog){code, 2};
    copy.plan.buffers = buffers;
    for (int k = 0; k < im->n_params; k++)
      if (im->tensors[k].role == DHC_IMAGE_WEIGHT) panel.tensor = k;
    if (panel.tensor < 0) {
      free(buffers);
      break;
    }
    copy.panels = &panel;
    copy.n_panels = 1;
    if (dhc_image_write(&copy, &bytes, &n).code != DHC_OK) bad += fail(what, "panels are not written");
    else if (!cases[i].fits) bad += refused(what, bytes, n, "an image that does not hold together");
    else if (dhc_image_read(bytes, n, &back).code != DHC_OK) bad += fail(what, "panels of f32 are refused");
    dhc_image_free(back);
    free(bytes);
    free(buffers);
  }
  return bad;
}

/* Packed: what is unpacked is what was packed; another version, what is cut short and what is changed are refused or
 * harmless. `whole`: the image as it is written. */
static int packed(const char *what, const dhc_image *im, const uint8_t *whole, size_t n_whole) {
  uint8_t *bytes = NULL, *again = NULL;
  size_t n, n_again = 0;
  dhc_image *back = NULL;
  uint32_t state = 99;
  int bad = 0;
  if (dhc_image_pack(im, &bytes, &n).code != DHC_OK) return fail(what, "not packed");
  if (dhc_image_unpack(bytes, n, &im->layout, &back).code != DHC_OK) bad = fail(what, "not unpacked");
  else if (dhc_image_write(back, &again, &n_again).code != DHC_OK || n_again != n_whole || memcmp(again, whole, n_whole))
    bad = fail(what, "unpacked to other bytes");
  printf("%s: %zu bytes, packed %zu\n", what, n_whole, n);
  dhc_image_free(back);
  free(again);
  for (size_t cut = 0; cut < n; cut += cut < 100 ? 1 : 997)
    if (dhc_image_unpack(bytes, cut, &im->layout, &back).code != DHC_E_INPUT) bad += fail(what, "cut short and taken");
  bytes[0] ^= 2;
  dhc_status st = dhc_image_unpack(bytes, n, &im->layout, &back);
  if (st.code != DHC_E_INPUT || strcmp(st.message, "no image of this version")) bad += fail(what, "another version is taken");
  bytes[0] ^= 2;
  for (int round = 0; round < 300; round++) {
    state = state * 1664525 + 1013904223;
    size_t at = 2 + state % (n - 2);
    uint8_t was = bytes[at];
    bytes[at] = (uint8_t)(state >> 24);
    st = dhc_image_unpack(bytes, n, &im->layout, &back);
    if (st.code != DHC_OK && st.code != DHC_E_INPUT) bad += fail(what, st.message);
    if (st.code == DHC_OK) dhc_image_free(back);
    bytes[at] = was;
  }
  free(bytes);
  return bad;
}

static int check(const char *root, const char *model, const char *entry, const char *mode, const DhcSetting *sets, int n_sets) {
  Made x;
  char what[128];
  snprintf(what, sizeof what, "%s %s %s", model, entry, mode);
  uint8_t *bytes = NULL, *again = NULL;
  size_t n, n_again;
  dhc_image *back = NULL, *im;
  int bad = 0;
  if (!dhc_test_model(&x, root, model, entry, mode, sets, n_sets) || !(im = make(&x, mode))) bad = fail(what, "no image");
  else if (dhc_image_write(im, &bytes, &n).code != DHC_OK) bad = fail(what, "not written");
  else if (dhc_image_read(bytes, n, &back).code != DHC_OK) bad = fail(what, "not read");
  else if (dhc_image_write(back, &again, &n_again).code != DHC_OK || n != n_again || memcmp(bytes, again, n)) bad = fail(what, "other bytes");
  if (!bad) {
    bad += back->n_params != im->n_params || strcmp(back->tensors[0].name, im->tensors[0].name) || back->finite != im->finite;
    for (size_t at = 0; at < n; at += at < 600 ? 1 : 4099) {
      bytes[at] ^= 0x10;
      bad += refused(what, bytes, n, at < 8 ? "no image" : at < 16 ? later_version(bytes) : "a damaged image");
      bytes[at] ^= 0x10;
    }
    bad += refused(what, bytes, n - 1, "a damaged image") + refused(what, bytes, 40, "no image") + refused(what, bytes, 0, "no image");
    bad += crooked(what, bytes, n) + miscounted(what, im) + tagged(what, im) + packed(what, im, bytes, n);
  }
  dhc_image_free(back);
  free(bytes);
  free(again);
  dhc_arena_fini(&x.arena);
  return bad;
}

int main(int argc, char **argv) {
  static const DhcSetting small[] = {{"hidden_dim", "2"}, {"state_dim", "3"}};
  static const DhcSetting jamba[] = {{"hidden_dim", "2"}, {"num_layers", "2"}, {"num_heads", "2"}, {"num_experts", "3"},
                                     {"d_state", "3"},    {"mamba_ratio", "1"}, {"tokens", "grid"}, {"num_experts_per_token", "2"}};
  static const char *const modes[] = {"fwd", "grad", "train"};
  if (argc != 2) return 2;
  int bad = 0;
  for (int k = 0; k < 3; k++) {
    const char *entry = k ? "loss" : "forward";
    bad += check(argv[1], "mlp", entry, modes[k], NULL, 0);
    bad += check(argv[1], "lstm", entry, modes[k], NULL, 0);
    bad += check(argv[1], "dhc_ssm", entry, modes[k], small, 2);
    bad += check(argv[1], "dhc_jamba", entry, modes[k], jamba, 8);
    bad += check(argv[1], "seq", entry, modes[k], NULL, 0);
  }
  return bad != 0;
}
