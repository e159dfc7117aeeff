/* An image is all there is to know: for every shipped model, every entry of it in every form, with gradients and as
 * a training step, the image is written and read, and what was read runs in a program of its own, from its first
 * values on, to the bytes that the image leaves which was made. What was read has no pointer into the compiler.
 *
 *   test_image_run MODELS_FOLDER [model] */
#include <float.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backends/begin.h"
#include "frontend/elab.h"
#include "passes/pipeline.h"
#include "passes/plan/image.h"
#include "passes/plan/schedule.h"
#include "runtime/sha256.h"
#include "tests/ops/cpu_runner.h"

enum { MAX_SETS = 12 };

typedef struct Subject {
  const char *model, *layer;
  bool whole; /* its forward pass does not stream: attention over cells without order */
  DhcSetting sets[MAX_SETS];
} Subject;

#define JAMBA {"num_layers", "2"}, {"mamba_ratio", "1"}, {"num_heads", "2"}, {"num_experts", "3"}
#define POLICY {"obs", "5"}, {"hidden_dim", "8"}, {"num_layers", "2"}, {"num_heads", "2"}, {"mamba_ratio", "1"}
static const Subject subjects[] = {
    {"mlp", NULL, false, {{"channels", "1"}, {"height", "16"}, {"width", "16"}}},
    {"lstm", "LSTMClassifier", false, {{"d_in", "5"}, {"hidden", "6"}}},
    {"lstm", "LSTM", false, {{"d_in", "5"}, {"d", "6"}}},
    {"dhc_ssm", NULL, false, {{"hidden_dim", "4"}, {"state_dim", "3"}}},
    {"dhc_jamba", NULL, true, {{"hidden_dim", "4"}, {"d_state", "3"}, {"tokens", "grid"}, JAMBA}},
    {"seq", NULL, false, {{"vocabulary", "7"}, {"d_model", "8"}, {"d_state", "4"}, JAMBA}},
    {"rl_policy", NULL, false, {POLICY}},
    {"rl_value", NULL, false, {POLICY}},
    {"rl_actor_critic", NULL, false, {POLICY}},
    {"rl_ssm_policy", NULL, false, {{"obs", "5"}, {"hidden_dim", "8"}, {"state_dim", "6"}}},
};
enum { N_SUBJECTS = sizeof subjects / sizeof *subjects };

typedef struct World {
  DhcArena arena;
  DhcStrings strings;
  DhcSources sources;
  DhcDiags diags;
  DhcModel *m;
  CpuRunner cpu;
  DhcDevice *device;
  int images, fails;
} World;

static int fail(World *w, const char *what, const char *why) {
  printf("FAILED: %s: %s\n", what, why);
  if (w->diags.n_errors) dhc_diags_print(&w->diags, stdout, false);
  w->fails++;
  return 0;
}

/* ---- making ---------------------------------------------------------------------------------- */

typedef struct Made {
  DhcPipeline way;
  dhc_image *image;
} Made;

static bool compile(World *w, Made *x) {
  int n = x->image->plan.n_kernels;
  const DhcTargetFacts *t = dhc_compiler_target(w->cpu.compiler);
  DhcKernelRequest *rq = DHC_NEW_N(&w->arena, DhcKernelRequest, n + 1);
  for (int k = 0; k < n; k++) {
    rq[k].spec = x->way.planned->specs[k];
    rq[k].n_classes = dhc_schedule_choose(rq[k].spec, t, &w->arena, rq[k].classes);
  }
  return dhc_compile(w->cpu.compiler, rq, n, (dhc_kernel *)(uintptr_t)x->image->kernels, &w->cpu.stats).code == DHC_OK;
}

static bool make(World *w, const char *entry, DhcForm form, DhcDerive derive, Made *x) {
  bool training = derive == DHC_DERIVE_STEP || !strcmp(entry, "augment");
  DhcEntryRequest er = {.name = entry, .training = training, .form = form};
  DhcPipelineRequest rq = {.module = dhc_model_module(w->m), .entry = dhc_model_entry(w->m, &er), .derive = derive, .ema = true, .limit = -1};
  if (derive == DHC_DERIVE_STEP) rq.optimizer = dhc_model_function(w->m, "adamw");
  if (!rq.entry || (derive == DHC_DERIVE_STEP && !rq.optimizer)) return false;
  const DhcFunc *reset = NULL;
  if (form != DHC_FORM_WHOLE) {
    er.form = DHC_FORM_RESET;
    DhcPipeline r = dhc_pipeline_begin(&(DhcPipelineRequest){.module = rq.module, .entry = dhc_model_entry(w->m, &er), .limit = -1});
    if (!r.func || !dhc_pipeline_run(&r, DHC_PIPELINE_GRAPH)) return false;
    reset = r.func;
  }
  x->way = dhc_pipeline_begin(&rq);
  x->way.panel_width = dhc_schedule_panel_width(dhc_compiler_target(w->cpu.compiler), 1);
  x->way.panel_width_pair = dhc_schedule_panel_width(dhc_compiler_target(w->cpu.compiler), 2);
  if (!dhc_pipeline_run(&x->way, DHC_PIPELINE_PLAN)) return false;
  const DhcModule *m = rq.module;
  const char **names = DHC_NEW_N(&w->arena, const char *, m->scalars.n + 1);
  double *values = DHC_NEW_N(&w->arena, double, m->scalars.n + 1);
  for (int i = 0; i < m->scalars.n; i++) names[i] = m->scalars.at[i].name, values[i] = m->scalars.at[i].value;
  const DhcImageRequest image = {.name = entry, .func = x->way.func, .source = rq.entry,
                                 .layout = dhc_layout_make(rq.module, rq.optimizer, NULL, true, false, (DhcShare){0}, false, &w->arena),
                                 .trains = derive == DHC_DERIVE_STEP, .optimizer = rq.optimizer, .reset = reset,
                                 .scalar_names = names, .scalar_values = values, .n_scalars = m->scalars.n};
  x->image = dhc_image_begin(&image, &w->arena);
  dhc_image_add_plan(x->image, x->way.planned, &w->arena);
  return compile(w, x);
}

/* ---- running ----------------------------------------------------------------------------------- */

static int64_t size_of(const char *symbol, int round) {
  if (!strcmp(symbol, "B") || !strcmp(symbol, "N")) return 2;
  return !strcmp(symbol, "H") || !strcmp(symbol, "W") ? 16 : round ? 1 : 5;
}

/* Inputs of an image, drawn alike for equal images. */
static bool draw(const dhc_image *im, DhcArena *a, int64_t *symbols, DhcTensorView *in, const DhcTensorView **at) {
  uint32_t state = 7;
  for (int round = 0; round < 2; round++) {
    for (int i = 0; i < im->plan.n_symbols; i++) symbols[i] = size_of(im->plan.symbols[i], round);
    if (dhc_image_guard(im, symbols) < 0) break;
  }
  for (int i = 0; i < im->n_params; i++) {
    const dhc_image_tensor *t = &im->tensors[i];
    at[i] = NULL;
    if (t->role != DHC_IMAGE_INPUT) continue;
    in[i] = (DhcTensorView){.name = t->name, .dtype = t->dtype, .rank = t->rank};
    if (!dhc_image_shape(im, i, symbols, in[i].shape) || !dhc_size_tensor(t->dtype, t->rank, in[i].shape, NULL, &in[i].bytes)) return false;
    int64_t n = in[i].bytes / dhc_tensor_dtype_bytes(t->dtype);
    char *data = dhc_arena_alloc(a, (size_t)in[i].bytes + 64);
    for (int64_t k = 0; k < n; k++) {
      state = state * 1664525u + 1013904223u;
      double v = dhc_dtype_is_float((dhc_dtype)t->dtype) ? (double)(state >> 8) / (1 << 23) - 1 : t->dtype == DHC_BOOL ? state >> 31 : (state >> 8) % 5;
      dhc_tensor_convert(data + k * dhc_tensor_dtype_bytes(t->dtype), t->dtype, &v, DHC_F64, 1);
    }
    in[i].data = data;
    at[i] = &in[i];
  }
  int32_t wrong;
  return dhc_image_solve(im, at, symbols, &wrong) && dhc_image_guard(im, symbols) < 0 && dhc_image_check_indices(im, at, symbols).code == DHC_OK;
}

static void add(DhcSha256 *h, DhcDevice *d, DhcDevicePtr at, int64_t bytes) {
  if (bytes > 0) dhc_sha256_update(h, d->ops->view(d, at, bytes), (size_t)bytes);
}

static void set_scalars(DhcProg *p) {
  static const struct {
    const char *name;
    double value;
  } given[] = {{DHC_NAME_SEED, 7}, {DHC_NAME_STEP, 2}, {DHC_NAME_OPT_STEP, 3}, {DHC_NAME_LR, 0.01}, {DHC_NAME_CLIP, 1},
               {DHC_NAME_LIMIT, FLT_MAX}, {DHC_NAME_EMA_DECAY, 0.9}, {DHC_NAME_WEIGHT_DECAY, 0.1}, {"$beta1", 0.9}, {"$beta2", 0.99}, {"$eps", 1e-6}};
  for (size_t i = 0; i < sizeof given / sizeof *given; i++) *dhc_prog_scalar(p, given[i].name) = given[i].value;
}

static dhc_status begin_states(const DhcBeginner *b, DhcProg *p, DhcLoaded *l, const dhc_image *im, const int64_t *symbols) {
  DhcWantState *want = calloc((size_t)im->layout.n_slots + 1, sizeof *want);
  int32_t n;
  if (!want) abort();
  dhc_status st = dhc_prog_wanted_states(l, symbols, want, &n);
  if (st.code == DHC_OK) st = dhc_prog_arrange_states(p, want);
  if (st.code == DHC_OK) st = dhc_begin_states(b, p, im, want);
  free(want);
  return st;
}

/* Two runs from first values on; the digest of all that they leave. */
static dhc_status run(World *w, const dhc_image *im, DhcArena *a, uint8_t digest[32]) {
  DhcProg *p = NULL;
  DhcLoaded *l = NULL;
  const DhcBeginner b = {{a, &w->strings, &w->diags}, NULL};
  int64_t symbols[DHC_IMAGE_MAX_SYMBOLS];
  DhcTensorView *in = DHC_NEW_N(a, DhcTensorView, im->n_params + 1), r;
  const DhcTensorView **at = DHC_NEW_N(a, const DhcTensorView *, im->n_params + 1);
  if (!draw(im, a, symbols, in, at)) return dhc_status_make(DHC_E_INPUT, "no inputs fit");
  dhc_status st = dhc_prog_open(w->device, &im->layout, &p);
  if (st.code == DHC_OK) st = dhc_prog_load(p, im, &l);
  if (st.code == DHC_OK) set_scalars(p);
  if (st.code == DHC_OK) st = dhc_begin_slots(&b, p, false);
  if (st.code == DHC_OK) st = dhc_prog_begin_ranges(p);
  if (st.code == DHC_OK && im->n_begins) st = begin_states(&b, p, l, im, symbols);
  DhcSha256 h;
  dhc_sha256_init(&h);
  for (int k = 0; k < 2 && st.code == DHC_OK; k++) {
    st = dhc_prog_run(l, at, symbols, NULL);
    for (int i = 0; i < im->n_results && st.code == DHC_OK; i++) {
      DhcDevicePtr where;
      st = dhc_prog_result(l, i, &r, &where);
      if (st.code == DHC_OK) add(&h, w->device, where, r.bytes);
    }
  }
  for (int i = 0; i < im->layout.n_slots && st.code == DHC_OK; i++) {
    const dhc_slot *s = &im->layout.slots[i];
    int64_t n = s->n;
    if (s->role == DHC_IMAGE_STATE) {
      n = dhc_prog_state_live(p, i) ? 1 : 0;
      for (int d = 0; d < s->rank; d++) n *= dhc_prog_state_dim(p, i)[d];
    }
    add(&h, w->device, dhc_prog_slot(p, i, DHC_WEIGHTS), n * dhc_tensor_dtype_bytes(s->dtype));
  }
  for (int i = 0; i < im->layout.n_ranges && st.code == DHC_OK; i++)
    add(&h, w->device, dhc_prog_range(p, i), im->layout.ranges[i].n * dhc_tensor_dtype_bytes(im->layout.ranges[i].dtype));
  dhc_sha256_final(&h, digest);
  dhc_prog_unload(l);
  dhc_prog_close(p);
  return st;
}

/* ---- there and back ------------------------------------------------------------------------------ */

/* Code comes by itself: whoever reads an image finds its kernels by their names. */
static void take_code(const dhc_image *from, dhc_image *to) {
  for (int k = 0; k < from->plan.n_kernels; k++)
    for (int c = 0; c < from->kernels[k].n_classes; c++)
      ((dhc_kernel_class *)(uintptr_t)to->kernels[k].classes)[c].fn = from->kernels[k].classes[c].fn;
}

static int check(World *w, const char *what, const char *entry, DhcForm form, DhcDerive derive) {
  Made x = {0};
  uint8_t *bytes = NULL, made[32], read[32];
  size_t n;
  dhc_image *back = NULL;
  DhcArena a;
  int ok = 0;
  if (!make(w, entry, form, derive, &x)) return fail(w, what, "no image");
  if (dhc_image_write(x.image, &bytes, &n).code == DHC_OK) {
    free(bytes);
    return fail(w, what, "written without its texts");
  }
  dhc_arena_init(&a);
  dhc_status st = run(w, x.image, &a, made);
  dhc_image_add_texts(x.image, &w->arena);
  if (st.code == DHC_OK) st = dhc_image_write(x.image, &bytes, &n);
  if (st.code == DHC_OK) st = dhc_image_read(bytes, n, &back);
  if (st.code == DHC_OK) take_code(x.image, back);
  if (st.code == DHC_OK) st = run(w, back, &a, read);
  if (st.code == DHC_OK) {
    uint8_t other[32];
    char message[200];
    back->version++;
    dhc_status old = run(w, back, &a, other);
    back->version--;
    snprintf(message, sizeof message, "entry '%s' is an image of version %u, this is version %d", back->plan.name, DHC_ABI_VERSION + 1, DHC_ABI_VERSION);
    if (old.code != DHC_E_INPUT || strcmp(old.message, message)) return fail(w, what, "taken though of another version");
  }
  const DhcGraphReader reader = {&a, &w->strings, &w->diags};
  if (st.code != DHC_OK) fail(w, what, st.message);
  else if (memcmp(made, read, sizeof made)) fail(w, what, "other bytes");
  else if (derive == DHC_DERIVE_STEP && (!back->update.n_params || !dhc_graph_func(&reader, &back->update.formula))) fail(w, what, "no formula");
  else ok = 1, w->images++;
  dhc_image_free(back);
  free(bytes);
  dhc_arena_fini(&a);
  return ok;
}

static bool has_states(const World *w) {
  const DhcModule *m = dhc_model_module(w->m);
  for (int i = 0; i < m->tensors.n; i++)
    if (m->tensors.at[i].role == DHC_ROLE_STATE) return true;
  return false;
}

static void check_model(World *w, const Subject *s, const char *root) {
  DhcElabConfig config = {.shipped_roots = &root, .n_shipped_roots = 1};
  DhcElab *e = dhc_elab_open(&w->arena, &w->strings, &w->diags, &config, s->model);
  int n = 0;
  while (n < MAX_SETS && s->sets[n].key) n++;
  DhcModelRequest rq = {.root = s->layer, .sets = s->sets, .n_sets = n};
  w->m = e ? dhc_elab_model(e, &rq) : NULL;
  if (!w->m) {
    fail(w, s->model, "no model");
    return;
  }
  DhcEntryInfos all = dhc_model_entries(w->m);
  char what[160];
  for (int i = 0; i < all.n; i++) {
    const char *entry = all.at[i].name;
    bool loss = !strcmp(entry, "loss");
    for (int d = DHC_DERIVE_NOTHING; d <= (loss ? DHC_DERIVE_STEP : DHC_DERIVE_NOTHING); d++) {
      snprintf(what, sizeof what, "%s%s%s %s %d", s->model, s->layer ? ":" : "", s->layer ? s->layer : "", entry, d);
      check(w, what, entry, DHC_FORM_WHOLE, (DhcDerive)d);
    }
    if (s->whole || loss || !has_states(w) || all.at[i].is_metric || strcmp(entry, "forward")) continue;
    for (int f = DHC_FORM_STREAM; f <= DHC_FORM_STEP; f++) {
      snprintf(what, sizeof what, "%s %s form %d", s->model, entry, f);
      check(w, what, entry, (DhcForm)f, DHC_DERIVE_NOTHING);
    }
  }
}

int main(int argc, char **argv) {
  if (argc < 2) return 2;
  World w = {0};
  for (int i = 0; i < N_SUBJECTS; i++) {
    if (argc > 2 && strcmp(argv[2], subjects[i].model)) continue;
    int images = w.images, fails = w.fails;
    memset(&w, 0, sizeof w);
    dhc_arena_init(&w.arena);
    w.strings.arena = w.sources.arena = w.diags.arena = &w.arena;
    w.diags.sources = &w.sources;
    if (!cpu_runner_open(&w.cpu, NULL) || dhc_host_device_open("cpu", NULL, NULL, &w.device).code != DHC_OK) return 1;
    check_model(&w, &subjects[i], argv[1]);
    printf("%s: %d images\n", subjects[i].model, w.images);
    w.images += images;
    w.fails += fails;
    dhc_device_close(w.device);
    cpu_runner_close(&w.cpu);
    dhc_arena_fini(&w.arena);
  }
  printf("%d images, %d failures\n", w.images, w.fails);
  return w.fails != 0 || w.images < 4;
}
