/* Standalone objects: the entries of a model as one file for C programs (backends/object/). */
#include <ctype.h>
#include <stdlib.h>

#include "api/build.h"
#include "backends/object/bounds.h"
#include "backends/object/c99.h"
#include "dhc/version.h"
#include "passes/pipeline.h"

static void drop(void *what) {
  Build *b = what;
  build_close(b);
  free(b->blob);
  free(b->fixed);
  free(b->bytes);
  for (int i = 0; i < BUILD_MAX_LEVELS; i++) dhc_compiler_close(b->level[i]);
}

/* What the numbers of a training step are before its first one. */
static dhc_status step_scalars(Build *b, BuildModel *x, const Version *v, const double **out) {
  double *value = DHC_NEW_N(b->arena, double, v->image->n_params + 1);
  if (b->o->multiversion) x = &b->model[0];
  DHC_TRY(build_program(b, x));
  for (int i = 0; i < v->image->n_params; i++) {
    const dhc_image_tensor *t = &v->image->tensors[i];
    if (t->role != DHC_IMAGE_SCALAR) continue;
    const double *at = program_scalar(x->program, t->name);
    if (!at) return dhc_status_make(DHC_E_INPUT, "more than %d scalars", DHC_PROG_MAX_SCALARS);
    value[i] = *at;
  }
  *out = value;
  return dhc_status_ok();
}

/* Fused, planned, and loop programs instead of code. */
static dhc_status source_of(Build *b, int model, int entry, DhcObjSource *out) {
  const BuildModel *x = &b->model[model];
  Version *v = x->version[entry];
  DhcArena *a = b->arena;
  DhcKernelRequest *rq;
  pipeline_image(x->m, v, x->layout);
  DHC_TRY(pipeline_fuse(x->m, v));
  DHC_TRY(pipeline_requests(x->m, v, &rq));
  dhc_image_add_plan(v->image, v->planned, &b->s->arena);
  int n = v->planned->plan.n_kernels;
  dhc_kernel *kernels = DHC_NEW_N(a, dhc_kernel, n + 1);
  const DhcLp *const **programs = DHC_NEW_N(a, const DhcLp *const *, n + 1);
  const char **keys = DHC_NEW_N(a, const char *, n + 1);
  uint64_t *writes = DHC_NEW_N(a, uint64_t, n + 1);
  for (int i = 0; i < n; i++) {
    char key[65];
    DHC_TRY(dhc_compiler_programs(b->s->compiler, &rq[i], a, &kernels[i], &programs[i]));
    dhc_kernel_key(b->s->compiler, &rq[i], key);
    keys[i] = dhc_arena_strdup(a, key);
    for (int k = 0; k < rq[i].spec->n_operands && k < 64; k++) writes[i] |= (uint64_t)rq[i].spec->operand[k].out << k;
  }
  *out = (DhcObjSource){x->name[entry], model, x->slot_of, NULL, v->image, kernels, programs, keys, writes};
  return v->mode == DHC_MODE_TRAIN ? step_scalars(b, &b->model[model], v, &out->scalar) : dhc_status_ok();
}

/* "DHCSSM" as "dhcssm". */
static const char *object_name(const Build *b) {
  const char *given = b->o->name ? b->o->name : b->o->stem;
  char *name = dhc_arena_strdup(b->arena, given ? given : b->model[0].m->name);
  for (char *c = name; !given && *c; c++) *c = (char)tolower((unsigned char)*c);
  return dhc_object_identifier(name, b->arena);
}

/* A name that was given is what the functions begin with, or refused. */
static dhc_status check_name(const Build *b) {
  if (!b->o->name || !strcmp(b->o->name, object_name(b))) return dhc_status_ok();
  return dhc_status_make(DHC_E_USAGE, "--name: needs what functions of C can begin with, such as \"%s\", got \"%s\"", object_name(b), b->o->name);
}

static const void *values(void *ctx, int slot) { return build_values(ctx, slot); }

static const void *tables(void *ctx, int slot) {
  const Build *b = ctx;
  return b->layout->slots[slot].role == DHC_IMAGE_TABLE ? build_values(b, slot) : NULL;
}

/* Of every model: then of the object. */
static bool knows_weights(const dhc_build_options *o) {
  bool all = o->n_variants > 0;
  for (int i = 0; i < o->n_variants; i++) all = all && build_weights(o, &o->variants[i]);
  return all || o->weights;
}

enum { LARGE = 1 << 30 }; /* bytes of constants from which on code reaches them wherever they are */

/* What the state of a training step begins with: of the weights given, or first ones. */
static void first_state(const Build *b, DhcObjTrain *t) {
  uint8_t *to = dhc_arena_alloc(b->arena, (size_t)(t->moments + t->bytes - t->buffers) + 64);
  memset(to, 0, (size_t)(t->moments + t->bytes - t->buffers) + 64);
  for (int i = 0; i < t->layout->n_slots; i++) {
    const dhc_slot *s = &t->layout->slots[i];
    if (s->role == DHC_IMAGE_STATE) continue;
    memcpy(to + (s->role == DHC_IMAGE_WEIGHT ? 0 : t->moments) + s->at, build_values(b, i), (size_t)(s->n * dhc_tensor_dtype_bytes(s->dtype)));
  }
  t->first = to;
}

/* Embedded, or in a file; what no file holds is in the object in any case. */
static dhc_status constants(Build *b) {
  DhcObject *o = b->object;
  bool known = knows_weights(b->o), passed = !known || b->o->weights_file;
  o->large = b->o->large || (known && !passed && o->blob_bytes > LARGE);
  for (int i = 0; i < o->n_entries; i++) {
    if (!o->entry[i]->train) continue;
    first_state(b, o->entry[i]->train);
    o->large = o->large || o->entry[i]->train->bytes > LARGE;
  }
  if (!o->blob_bytes && b->o->weights_file)
    return dhc_status_make(DHC_E_USAGE, "--weights-file %s: no entry of the object reads weights from there; a training step holds its first ones", b->o->weights_file);
  if (!o->blob_bytes) return dhc_status_ok();
  for (int i = 0; i < (b->o->multiversion ? 1 : b->n_models); i++) DHC_TRY(build_program(b, &b->model[i]));
  if (known) b->blob = dhc_object_blob(o, b->o->weights_file != NULL, values, b);
  if (passed) b->fixed = dhc_object_blob(o, false, tables, b);
  if ((known && !b->blob) || (passed && !b->fixed)) return dhc_status_memory((long long)o->blob_bytes, "the weights of an object");
  o->blob = passed ? NULL : b->blob;
  o->fixed = b->fixed;
  return dhc_status_ok();
}

/* Of one model its own; of variants what their names and hashes give. */
static const char *object_hash(const Build *b) {
  uint8_t digest[32];
  char hex[65];
  DhcText t = {.arena = b->arena};
  if (!b->model[0].variant) return b->model[0].m->hash;
  for (int i = 0; i < b->n_models; i++) dhc_text_printf(&t, "%s %s\n", b->model[i].variant->name, b->model[i].m->hash);
  dhc_sha256_bytes(dhc_text_str(&t), (size_t)t.n, digest);
  dhc_sha256_hex(digest, hex);
  return dhc_arena_strdup(b->arena, hex);
}

static dhc_status walk(Build *b) {
  int n = 0;
  for (int i = 0; i < b->n_models; i++) n += b->model[i].n;
  DhcObjSource *src = DHC_NEW_N(b->arena, DhcObjSource, n + 1);
  DhcObjVariant *variant = DHC_NEW_N(b->arena, DhcObjVariant, b->n_models + 1);
  n = 0;
  for (int i = 0; i < b->n_models; i++) {
    const BuildModel *x = &b->model[i];
    if (x->variant) variant[i] = (DhcObjVariant){x->variant->name, x->m->hash, NULL};
    if (b->o->multiversion) variant[i] = (DhcObjVariant){build_levels[i], x->m->hash, build_level_targets[i]};
    if (b->level[i]) b->s->compiler = b->level[i];
    for (int k = 0; k < x->n; k++, n++) DHC_TRY(source_of(b, i, k, &src[n]));
  }
  int *row_axes = DHC_NEW_N(b->arena, int, b->layout->n_slots + 1);
  for (int i = 0; i < b->layout->n_slots; i++) row_axes[i] = build_row_axes(b, i);
  const DhcObjRequest rq = {.name = object_name(b), .model = b->model[0].m->name, .hash = object_hash(b), .build = dhc_arena_printf(b->arena, "%s %.12s", DHC_VERSION, dhc_build_id), .layout = b->layout,
                            .source = src, .n_sources = n, .variant = variant, .n_variants = b->o->multiversion ? b->n_models : b->o->n_variants, .bind_name = b->bind_name,
                            .bind_value = b->bind_value, .n_bind = b->n_bind, .tag = b->tag, .row_axes = row_axes};
  if (b->level[0]) b->s->compiler = b->level[0];
  const char *why = NULL;
  b->object = dhc_object_walk(&rq, b->arena, &why);
  if (!b->object) return dhc_status_make(DHC_E_INPUT, "%s", why);
  b->object->bounded = b->o->bounded;
  if (b->o->bounded && (why = dhc_object_unbounded(b->object, b->arena))) return dhc_status_make(DHC_E_INPUT, "--timing bounded: %s", why);
  return dhc_status_ok();
}

/* Weights are a training's beginning alone, which objects hold. */
static bool only_trains(const dhc_build_options *o) { return o->n_entries == 1 && !strcmp(o->entries[0], "train_step"); }

/* What a source for the machines of another backend cannot have. */
static dhc_status check_away(const dhc_build_options *o, const DhcBackendInfo *b) {
  const char *other = o->c ? "emit c" : o->target ? "target" : o->multiversion ? "multiversion" : o->max_stack ? "max-stack" : o->quantize ? "quantize" : o->bounded ? "timing" : o->bounds ? "bounds" : NULL;
  if (other) return dhc_status_make(DHC_E_USAGE, "--backend %s: an object for GPUs has no --%s", b->name, other);
  if (!o->header) return dhc_status_make(DHC_E_USAGE, "--backend %s: needs --header, which the source includes", b->name);
  if (knows_weights(o) && !o->weights_file && !only_trains(o)) return dhc_status_make(DHC_E_USAGE, "--backend %s: weights lie on the GPU; with --weights needs --weights-file", b->name);
  return dhc_status_ok();
}

/* Whose code the object holds; NULL: there is no such backend. */
static const DhcBackendInfo *made_by(const dhc_build_options *o, const dhc_session *s) {
  return dhc_backend_info(o->backend ? o->backend : s->backend);
}

static bool goes_away(const dhc_build_options *o, const dhc_session *s) { return made_by(o, s)->traits & DHC_BACKEND_SOURCES; }

static dhc_status check_options(const dhc_build_options *o, const dhc_session *s) {
  DHC_TRY(session_makes_objects(made_by(o, s), o->backend));
  if (!o->out) return dhc_status_make(DHC_E_USAGE, "build: needs -o FILE.o, FILE.a or FILE.so");
  BuildForm form;
  const DhcBackendInfo *by = made_by(o, s);
  bool away = goes_away(o, s), source = o->c || away;
  if (!build_form(o->out, &form) || (form == BUILD_C) != source)
    return dhc_status_make(DHC_E_USAGE, "-o %s: needs a name that ends in %s", o->out, source ? ".c" : ".o, .a or .so");
  if (away) DHC_TRY(check_away(o, by));
  if (!away && o->gpu_arch) return dhc_status_make(DHC_E_USAGE, "--gpu-arch %s: the object is for a CPU; needs --backend cuda", o->gpu_arch);
  if (form == BUILD_SO && o->target && !strncmp(o->target, "wasm32", 6))
    return dhc_status_make(DHC_E_USAGE, "-o %s: wasm32 has no shared libraries; needs a name that ends in .o or .a", o->out);
  if (o->c && o->max_stack) return dhc_status_make(DHC_E_USAGE, "--max-stack: how much stack source takes is for its compiler to say");
  if (o->c && o->max_flash) return dhc_status_make(DHC_E_USAGE, "--max-flash: how many bytes source takes is for its compiler to say");
  if (o->c && !o->header) return dhc_status_make(DHC_E_USAGE, "--emit c: needs --header, which the source includes");
  if (o->multiversion && o->target) return dhc_status_make(DHC_E_USAGE, "--multiversion: is code for three levels of x86-64; --target %s is one machine", o->target);
  if (o->multiversion && o->c)
    return dhc_status_make(DHC_E_USAGE, "--multiversion: source has no level of its own, its compiler's -march says it; without --emit c");
  if (o->multiversion && o->n_variants)
    return dhc_status_make(DHC_E_USAGE, "--multiversion: functions take a level or a --variant, not both; build an object of each variant, or of each level (--target x86-64-v3)");
  if (!o->target && (o->cpu || o->features)) return dhc_status_make(DHC_E_USAGE, "--%s: needs --target", o->cpu ? "cpu" : "features");
  if (o->n_variants > 0) NEED(o->variants);
  for (int i = 0; i < o->n_variants; i++)
    if (o->variants[i].weights && !knows_weights(o))
      return dhc_status_make(DHC_E_USAGE, "--variant-weights: variant '%s' has weights and another has none (--weights are for all others)", o->variants[i].name);
  if (o->quantize && !knows_weights(o)) return dhc_status_make(DHC_E_USAGE, "--quantize: needs --weights");
  if (o->selftest && !knows_weights(o)) return dhc_status_make(DHC_E_USAGE, "--selftest: needs --weights");
  if (o->weights_file && !knows_weights(o)) return dhc_status_make(DHC_E_USAGE, "--weights-file %s: needs --weights", o->weights_file);
  return dhc_status_ok();
}

/* ---- selftest --------------------------------------------------------------------------------------- */

static uint32_t next(uint32_t *seed) {
  *seed = *seed * 1664525u + 1013904223u;
  return *seed >> 8;
}

/* Floats in ±1; integers are 0, which is an index of anything; bools both. */
static void fill(dhc_tensor *t, uint32_t seed) {
  for (int64_t i = 0; i < dhc_tensor_elements(t); i++) {
    if (t->dtype == DHC_F32) ((float *)t->data)[i] = (float)(next(&seed) % 20001) / 10000 - 1;
    if (t->dtype == DHC_F64) ((double *)t->data)[i] = (double)(next(&seed) % 20001) / 10000 - 1;
    if (t->dtype == DHC_BOOL || t->dtype == DHC_U8) ((uint8_t *)t->data)[i] = next(&seed) % 2;
  }
}

dhc_tensor build_generated(Build *b, const DhcObjEntry *e, const dhc_image_tensor *x, const int64_t *sizes, uint32_t seed) {
  dhc_tensor to = {.name = x->name, .dtype = (dhc_dtype)x->dtype, .rank = x->rank};
  if (!dhc_image_shape(e->image, (int32_t)(x - e->image->tensors), sizes, to.dim)) DHC_BUG("input '%s' has no size", x->name);
  to.data = dhc_arena_alloc(b->arena, (size_t)dhc_tensor_bytes(&to) + 64);
  memset(to.data, 0, (size_t)dhc_tensor_bytes(&to));
  fill(&to, seed);
  return to;
}

/* One call in this process, whose bits are the object's. */
static dhc_status add_test(Build *b, dhc_program *p, int entry, int index, uint32_t seed) {
  const DhcObjEntry *e = b->object->entry[entry];
  DhcObjTest t = {entry, DHC_NEW_N(b->arena, const void *, e->n_params + 1), DHC_NEW_N(b->arena, int64_t, e->n_params + 1)};
  dhc_tensor *in = DHC_NEW_N(b->arena, dhc_tensor, e->n_params + 1);
  const dhc_tensor *out;
  int n_in = 0, n_out = 0, o = 0;
  for (int i = 0; i < e->n_params; i++) {
    const dhc_image_tensor *x = e->param[i].tensor;
    if (e->param[i].out) continue;
    in[n_in] = build_generated(b, e, x, e->bound, seed + (uint32_t)i);
    t.bytes[i] = dhc_tensor_bytes(&in[n_in]);
    t.data[i] = in[n_in++].data;
  }
  DHC_TRY(dhc_program_run(p, index, in, n_in, &out, &n_out));
  for (int i = 0; i < e->n_params && o < n_out; i++) {
    if (!e->param[i].out) continue;
    t.bytes[i] = dhc_tensor_bytes(&out[o]);
    t.data[i] = dhc_arena_dup(b->arena, out[o++].data, (size_t)t.bytes[i]);
  }
  DHC_PUSH(b->arena, &b->object->tests, t);
  return dhc_status_ok();
}

static dhc_status add_tests_of(Build *b, const BuildModel *x, int first) {
  for (int i = 0; i < x->n; i++) {
    const DhcObjEntry *e = b->object->entry[first + i];
    int index = 0;
    if (e->state_bytes) continue;
    for (int s = 0; s < e->n_symbols; s++)
      if (!e->bound[s]) return dhc_status_make(DHC_E_USAGE, "--selftest: size %s of entry '%s' is not fixed (--bind)", e->symbol[s], e->name);
    if (i || x->version[0]->mode == DHC_MODE_TRAIN) DHC_TRY(dhc_program_add(x->program, x->version[i]->entry, DHC_MODE_RUN, &index));
    for (int k = 0; k < b->o->selftest; k++) DHC_TRY(add_test(b, x->program, first + i, index, 100u * (uint32_t)k + 1));
  }
  return dhc_status_ok();
}

static dhc_status add_tests(Build *b) {
  int first = 0;
  for (int i = 0; i < (b->object->levels ? 1 : b->n_models); first += b->model[i++].n) DHC_TRY(add_tests_of(b, &b->model[i], first)); /* levels are one model */
  if (!b->object->tests.n) return dhc_status_make(DHC_E_USAGE, "--selftest: every entry of the object carries states on");
  return dhc_status_ok();
}

/* ---- limits ------------------------------------------------------------------------------------------- */

typedef struct Part {
  const char *what;
  int64_t bytes;
} Part;

static void larger(Part *most, const char *what, int64_t bytes) {
  if (bytes > most->bytes) *most = (Part){what, bytes};
}

static dhc_status over(const char *option, const char *of, int64_t limit, int64_t need, const Part *most) {
  return dhc_status_make(DHC_E_INPUT, "--%s %lld: %s needs %lld bytes, most of them (%lld) for %s", option, (long long)limit, of, (long long)need,
                         (long long)most->bytes, most->what);
}

/* Of every entry by itself: one runs at a time. */
static dhc_status check_ram(Build *b) {
  for (int i = 0; i < b->object->n_entries && b->o->max_ram; i++) {
    const DhcObjEntry *e = b->object->entry[i];
    Part most = {"", -1};
    int64_t state = e->state_bytes ? e->state_bytes->value : 0;
    for (int s = 0; s < e->n_symbols; s++)
      if (!e->bound[s]) return dhc_status_make(DHC_E_USAGE, "--max-ram: size %s of entry '%s' is not fixed (--bind)", e->symbol[s], e->name);
    larger(&most, "values between kernels", e->work_bytes->value);
    larger(&most, "scratch of kernels", e->scratch_bytes->value + e->shared_bytes->value);
    larger(&most, "state", state);
    int64_t need = e->work_bytes->value + e->shared_bytes->value + e->scratch_bytes->value + state;
    if (need > b->o->max_ram) return over("max-ram", dhc_arena_printf(b->arena, "entry '%s'", e->name), b->o->max_ram, need, &most);
  }
  return dhc_status_ok();
}

static dhc_status check_stack(Build *b) {
  for (int i = 0; i < b->object->n_entries && b->o->max_stack; i++) {
    const DhcObjEntry *e = b->object->entry[i];
    if (e->stack_bytes > b->o->max_stack)
      return dhc_status_make(DHC_E_INPUT, "--max-stack %lld: entry '%s' may need %lld bytes; the largest frame is that of %s", (long long)b->o->max_stack,
                             e->name, (long long)e->stack_bytes, e->stack_most);
  }
  return dhc_status_ok();
}

/* The object file's bytes, which are code and constants but for names. */
static dhc_status check_flash(Build *b) {
  const DhcObject *o = b->object;
  Part most = {"", -1};
  if (!b->o->max_flash || (int64_t)b->n_bytes <= b->o->max_flash) return dhc_status_ok();
  larger(&most, "code", (int64_t)b->n_bytes - (o->blob ? o->blob_bytes : 0));
  for (int i = 0; o->blob && i < o->pieces.n; i++) {
    const DhcObjPiece *p = &o->pieces.at[i];
    larger(&most, p->kind == DHC_OBJ_SCALAR ? p->scalar->name : dhc_arena_printf(b->arena, "'%s'", o->layout->slots[p->slot].name), p->bytes);
  }
  return over("max-flash", "the object", b->o->max_flash, (int64_t)b->n_bytes, &most);
}

/* Code for another machine is made by a compiler of its own, which runs nothing. */
typedef struct Elsewhere {
  dhc_session *s;
  DhcCompiler *was, *own;
  bool levels;
} Elsewhere;

static void come_back(void *what) {
  Elsewhere *e = what;
  if (e->own || e->levels) e->s->compiler = e->was;
  dhc_compiler_close(e->own);
}

const char *const build_levels[BUILD_MAX_LEVELS] = {"v2", "v3", "v4"};
const char *const build_level_targets[BUILD_MAX_LEVELS] = {"x86-64-v2", "x86-64-v3", "x86-64-v4"};

static dhc_status open_levels(Build *b) {
  for (int i = 0; i < BUILD_MAX_LEVELS && b->o->multiversion; i++) {
    const DhcCompileOptions co = {.backend = b->s->backend, .target = build_level_targets[i], .bounded = b->o->bounded, .offline = true, .workers = 1};
    DHC_TRY(dhc_compiler_open(b->arena, &co, &b->level[i]));
  }
  if (b->level[0]) b->s->compiler = b->level[0];
  return dhc_status_ok();
}

static dhc_status go_elsewhere(Elsewhere *e, const dhc_build_options *o, DhcArena *arena) {
  const DhcCompileOptions co = {.backend = e->s->backend, .target = o->target, .cpu = o->cpu,
                                .features = o->target ? o->features : e->s->o.cpu_features, .bounded = o->bounded, .offline = true, .workers = 1};
  const DhcBackendInfo *by = made_by(o, e->s);
  const bool away = goes_away(o, e->s);
  const DhcCompileOptions other = {.backend = by->name, .gpu_arch = by->arch, .compute = e->s->compute, .offline = true, .workers = 1};
  if (!o->target && !away && (!o->bounded || o->multiversion)) return dhc_status_ok();
  if (away && !by->in_build) return dhc_status_make(DHC_E_ENVIRONMENT, "--backend %s: %s", by->name, by->lacks);
  DHC_TRY(dhc_compiler_open(arena, away ? &other : &co, &e->own));
  e->s->compiler = e->own;
  return dhc_status_ok();
}

static dhc_status source_text(Build *b) {
  DhcText text = {.arena = b->arena};
  const char *why = dhc_object_write_c99(b->object, build_file_name(b->o->header), &text);
  if (why) return dhc_status_make(DHC_E_INPUT, "%s", why);
  b->bytes = malloc((size_t)text.n + 1);
  if (!b->bytes) return dhc_status_memory(text.n, "a source file");
  memcpy(b->bytes, dhc_text_str(&text), (size_t)text.n);
  b->n_bytes = (size_t)text.n;
  return dhc_status_ok();
}

static dhc_build_result result_of(const Build *b, dhc_build_result r) {
  const DhcObject *o = b->object;
  r.object_bytes = (int64_t)b->n_bytes;
  r.weights_bytes = o->blob_bytes;
  r.n_entries = o->levels ? o->choices.n : o->n_entries;
  r.n_kernels = o->functions.n;
  r.code_bytes = b->o->c || goes_away(b->o, b->s) ? -1 : r.object_bytes - (o->blob ? o->blob_bytes : 0);
  for (int i = 0; i < o->n_entries; i++) {
    const DhcObjEntry *e = o->entry[i];
    int64_t work = e->work_bytes->op == DHC_DIM_CONST && e->shared_bytes->op == DHC_DIM_CONST && e->scratch_bytes->op == DHC_DIM_CONST
                       ? dhc_object_test_workspace(e) : -1;
    int64_t state = !e->state_bytes ? 0 : e->state_bytes->op == DHC_DIM_CONST ? e->state_bytes->value : -1;
    if (r.workspace_bytes >= 0) r.workspace_bytes = work < 0 ? -1 : work > r.workspace_bytes ? work : r.workspace_bytes;
    if (r.state_bytes >= 0) r.state_bytes = state < 0 ? -1 : state > r.state_bytes ? state : r.state_bytes;
    if (e->stack_bytes > r.stack_bytes) r.stack_bytes = e->stack_bytes;
  }
  return r;
}

dhc_status api_model_build(dhc_model *m, const dhc_build_options *o, dhc_build_result *out) {
  NEED(m);
  NEED(o);
  DHC_TRY(check_options(o, m->s));
  DHC_TRY(build_check_files(m, o));
  DhcArena arena;
  dhc_arena_init(&arena);
  Build b = {.s = m->s, .o = o, .arena = &arena};
  Elsewhere away = {.s = m->s, .was = m->s->compiler, .levels = o->multiversion};
  DhcHeld held, held_away;
  dhc_hold(&held, drop, &b);
  dhc_hold(&held_away, come_back, &away);
  dhc_status st = check_name(&b);
  if (st.code == DHC_OK) st = build_quantize_form(o->quantize, &b.tag);
  if (st.code == DHC_OK) st = go_elsewhere(&away, o, &arena);
  if (st.code == DHC_OK) st = open_levels(&b);
  if (st.code == DHC_OK) st = build_open(&b, m);
  if (st.code == DHC_OK) st = build_models(&b);
  if (st.code == DHC_OK) st = walk(&b);
  if (st.code == DHC_OK && o->quantize) st = build_quantize_check(&b);
  if (st.code == DHC_OK) st = constants(&b);
  if (st.code == DHC_OK) st = check_ram(&b);
  dhc_build_result r = {0};
  if (st.code == DHC_OK && goes_away(o, m->s))
    dhc_object_goes_away(b.object, o->gpu_arch && *o->gpu_arch ? o->gpu_arch : made_by(o, m->s)->archs, build_file_name(o->header), &arena);
  if (st.code == DHC_OK && (o->selftest || o->quantize)) {
    DhcCompiler *makes = m->s->compiler;
    bool elsewhere = away.own || away.levels;
    if (elsewhere) m->s->compiler = away.was; /* the calls are made here */
    if (o->quantize) st = build_quantize(&b, &r);
    if (st.code == DHC_OK && o->selftest) st = add_tests(&b);
    if (elsewhere) away.was = m->s->compiler, m->s->compiler = makes;
  }
  if (st.code == DHC_OK) b.object->describe = dhc_object_describe(b.object, dhc_compiler_target_text(m->s->compiler), &arena);
  if (st.code == DHC_OK && o->bounds) {
    b.object->frames = DHC_NEW(&arena, DhcObjFrames);
    *b.object->frames = (DhcObjFrames){0};
  }
  if (st.code == DHC_OK) st = o->c ? source_text(&b) : dhc_compiler_object(m->s->compiler, b.object, &arena, &b.bytes, &b.n_bytes);
  if (st.code == DHC_OK && o->instructions) st = build_count(&b, &r);
  if (st.code == DHC_OK) st = check_stack(&b);
  if (st.code == DHC_OK) st = check_flash(&b);
  if (st.code == DHC_OK) st = build_write(&b);
  if (st.code == DHC_OK && out) *out = result_of(&b, r);
  dhc_release(&held_away);
  come_back(&away);
  dhc_release(&held);
  drop(&b);
  dhc_arena_fini(&arena);
  return st;
}
