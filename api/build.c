/* Standalone objects: the entries of a model as one file for C programs (backends/object/). */
#include <ctype.h>
#include <stdlib.h>

#include "api/build.h"
#include "backends/object/c99.h"
#include "dhc/version.h"

static void drop(void *what) {
  Build *b = what;
  dhc_program_close(b->program);
  free(b->blob);
  free(b->fixed);
  free(b->bytes);
}

static const char *const no_entries[] = {"forward"};

static const char *entry_at(const Build *b, int i) { return b->o->n_entries ? b->o->entries[i] : no_entries[i]; }

static dhc_status check_entry(const Build *b, const char *name) {
  DhcEntryInfos all = dhc_model_entries(b->m->m);
  const char *names[64], *plain;
  DhcForm form;
  int n = 0;
  dhc_model_form(b->m->m, name, &plain, &form);
  for (int i = 0; i < all.n; i++) {
    if (n < 64) names[n++] = all.at[i].name;
    if (strcmp(all.at[i].name, plain)) continue;
    return dhc_status_ok();
  }
  const char *near = dhc_suggest(plain, names, n);
  return dhc_status_make(DHC_E_INPUT, "model %s has no entry '%s'%s%s%s", b->m->name, plain, near ? " (did you mean '" : "", near ? near : "",
                         near ? "'?)" : "");
}

/* ---- sizes that are fixed ----------------------------------------------------------------------- */

/* "B=1,L=16" */
static dhc_status parse_binds(Build *b) {
  for (const char *at = b->o->bind; at && *at; at += strcspn(at, ","), at += *at == ',') {
    int length = (int)strcspn(at, ","), name = (int)strcspn(at, "=,");
    char *end = NULL;
    long long v = at[name] == '=' && at[name + 1] >= '0' && at[name + 1] <= '9' ? strtoll(at + name + 1, &end, 10) : 0;
    if (end != at + length || v < 1 || v > DHC_OBJ_MAX_DIM || !name)
      return dhc_status_make(DHC_E_USAGE, "--bind: needs NAME=N with N from 1 to %d, got \"%.*s\"", DHC_OBJ_MAX_DIM, length, at);
    if (b->n_bind == BUILD_MAX_BINDS) return dhc_status_make(DHC_E_USAGE, "--bind: more than %d sizes", BUILD_MAX_BINDS);
    b->bind_name[b->n_bind] = dhc_arena_strndup(b->arena, at, (size_t)name);
    for (int k = 0; k < b->n_bind; k++)
      if (!strcmp(b->bind_name[k], b->bind_name[b->n_bind])) return dhc_status_make(DHC_E_USAGE, "--bind: '%s' is given twice", b->bind_name[k]);
    b->bind_value[b->n_bind++] = v;
  }
  return dhc_status_ok();
}

static int64_t bound_value(Build *b, const char *symbol) {
  for (int i = 0; i < b->n_bind; i++)
    if (!strcmp(b->bind_name[i], symbol)) {
      b->bind_used[i] = true;
      return b->bind_value[i];
    }
  return 0;
}

/* The shapes of the entry's inputs where all its sizes are fixed: they decide its branches. n 0: they are not. */
static DhcInputShape *bound_shapes(Build *b, const DhcFunc *f, int *n) {
  int64_t *value = DHC_NEW_N(b->arena, int64_t, f->symbols.n + 1);
  DhcInputShape *in = DHC_NEW_N(b->arena, DhcInputShape, f->params.n + 1);
  bool all = b->n_bind > 0;
  *n = 0;
  for (int i = 0; i < f->symbols.n; i++) all = (value[i] = bound_value(b, f->symbols.at[i])) > 0 && all;
  for (int i = 0; all && i < f->params.n; i++) {
    const DhcType *t = &f->params.at[i]->type;
    int64_t *dim = DHC_NEW_N(b->arena, int64_t, 8);
    if (f->param_info.at[i].role != DHC_ROLE_INPUT) continue;
    for (int d = 0; d < t->rank; d++)
      if (!dhc_dim_eval(t->dim[d], f->symbols.n, f->symbols.at, value, &dim[d])) all = false;
    in[(*n)++] = (DhcInputShape){f->param_info.at[i].name, t->rank, dim};
  }
  if (!all) *n = 0;
  return in;
}

static dhc_status unused_binds(const Build *b) {
  for (int i = 0; i < b->n_bind; i++)
    if (!b->bind_used[i]) return dhc_status_make(DHC_E_USAGE, "--bind: no entry of the object has a size '%s'", b->bind_name[i]);
  return dhc_status_ok();
}

/* ---- entries ---------------------------------------------------------------------------------------- */

static dhc_status add_graph(Build *b, const char *name) {
  if (b->n == API_MAX_ENTRIES) return dhc_status_make(DHC_E_USAGE, "an object has at most %d entries, resets among them", API_MAX_ENTRIES);
  DhcForm form;
  dhc_model_form(b->m->m, name, &b->plain[b->n], &form);
  b->version[b->n] = pipeline_graph(b->m, name, DHC_MODE_RUN, NULL, 0);
  if (!b->version[b->n]) return session_errors(b->m->s);
  int n_in;
  DhcInputShape *in = bound_shapes(b, b->version[b->n]->func, &n_in);
  if (n_in && !(b->version[b->n] = pipeline_graph(b->m, name, DHC_MODE_RUN, in, n_in))) return session_errors(b->m->s);
  b->n++;
  return dhc_status_ok();
}

static bool has_states(const Version *v) {
  for (int i = 0; i < v->func->params.n; i++)
    if (v->func->param_info.at[i].role == DHC_ROLE_STATE) return true;
  return false;
}

/* "forward.step" brings "forward.reset", "step" brings "reset": who carries states on has to begin. */
static dhc_status add_resets(Build *b) {
  for (int i = 0, n = b->n; i < n; i++) {
    const Version *v = b->version[i];
    if (!v->reset || !has_states(v)) continue;
    const char *dot = strrchr(v->entry, '.'), *plain = "";
    DhcForm form;
    const char *name = dhc_intern(&b->m->s->strings, dhc_arena_printf(b->arena, "%.*sreset", dot ? (int)(dot + 1 - v->entry) : 0, v->entry));
    dhc_model_form(b->m->m, name, &plain, &form);
    bool there = form != DHC_FORM_RESET; /* the model's own entry of that name */
    for (int k = 0; k < b->n && !there; k++) there = b->version[k]->form == DHC_FORM_RESET && !strcmp(b->plain[k], plain);
    if (!there) DHC_TRY(add_graph(b, name));
  }
  return dhc_status_ok();
}

static dhc_status graphs(Build *b) {
  int n = b->o->n_entries ? b->o->n_entries : 1;
  for (int i = 0; i < n; i++) {
    const char *name = dhc_intern(&b->m->s->strings, entry_at(b, i));
    for (int k = 0; k < b->n; k++)
      if (!strcmp(name, b->version[k]->entry)) return dhc_status_make(DHC_E_USAGE, "--entry %s: given twice", name);
    DHC_TRY(check_entry(b, name));
    DHC_TRY(add_graph(b, name));
  }
  DHC_TRY(add_resets(b));
  DHC_TRY(unused_binds(b));
  b->layout = pipeline_layout(b->m, false); /* after all forms: they may have brought states */
  return dhc_status_ok();
}

/* Fused, planned, and loop programs instead of code. */
static dhc_status source_of(Build *b, Version *v, DhcObjSource *out) {
  DhcArena *a = b->arena;
  DhcKernelRequest *rq;
  pipeline_image(b->m, v, b->layout);
  DHC_TRY(pipeline_fuse(b->m, v));
  DHC_TRY(pipeline_requests(b->m, v, &rq));
  dhc_image_add_plan(v->image, v->planned, &b->m->s->arena);
  int n = v->planned->plan.n_kernels;
  dhc_kernel *kernels = DHC_NEW_N(a, dhc_kernel, n + 1);
  const DhcLp *const **programs = DHC_NEW_N(a, const DhcLp *const *, n + 1);
  const char **keys = DHC_NEW_N(a, const char *, n + 1);
  uint64_t *writes = DHC_NEW_N(a, uint64_t, n + 1);
  for (int i = 0; i < n; i++) {
    char key[65];
    DHC_TRY(dhc_compiler_programs(b->m->s->compiler, &rq[i], a, &kernels[i], &programs[i]));
    dhc_kernel_key(b->m->s->compiler, &rq[i], key);
    keys[i] = dhc_arena_strdup(a, key);
    for (int k = 0; k < rq[i].spec->n_operands && k < 64; k++) writes[i] |= (uint64_t)rq[i].spec->operand[k].out << k;
  }
  *out = (DhcObjSource){v->entry, v->image, kernels, programs, keys, writes};
  return dhc_status_ok();
}

/* "DHCSSM" as "dhcssm". */
static const char *object_name(const Build *b) {
  char *name = dhc_arena_strdup(b->arena, b->o->name ? b->o->name : b->m->name);
  for (char *c = name; !b->o->name && *c; c++) *c = (char)tolower((unsigned char)*c);
  return dhc_object_identifier(name, b->arena);
}

static const void *values(void *ctx, int slot) {
  const Build *b = ctx;
  DhcDevice *d = dhc_prog_device(b->program->run);
  const dhc_slot *s = &dhc_prog_layout(b->program->run)->slots[slot];
  return d->ops->view(d, dhc_prog_slot(b->program->run, slot, DHC_WEIGHTS), s->n * dhc_tensor_dtype_bytes(s->dtype));
}

static dhc_status load_weights(Build *b) {
  if (!b->o->weights) return dhc_status_ok();
  DHC_TRY(dhc_program_open(b->m, b->version[0]->entry, DHC_MODE_RUN, &b->program));
  return dhc_program_load(b->program, b->o->weights, false);
}

static const void *tables(void *ctx, int slot) {
  const Build *b = ctx;
  return b->layout->slots[slot].role == DHC_IMAGE_TABLE ? values(ctx, slot) : NULL;
}

/* Embedded, or in a file; what no file holds is in the object in any case. */
static dhc_status constants(Build *b) {
  DhcObject *o = b->object;
  bool passed = !b->o->weights || b->o->weights_file;
  if (!o->blob_bytes) return dhc_status_ok();
  if (!b->program) {
    DHC_TRY(dhc_program_open(b->m, b->version[0]->entry, DHC_MODE_RUN, &b->program));
    DHC_TRY(weights_begin(b->program, true));
  }
  if (b->o->weights) b->blob = dhc_object_blob(o, b->o->weights_file != NULL, values, b);
  if (passed) b->fixed = dhc_object_blob(o, false, tables, b);
  if ((b->o->weights && !b->blob) || (passed && !b->fixed)) return dhc_status_memory((long long)o->blob_bytes, "the weights of an object");
  o->blob = passed ? NULL : b->blob;
  o->fixed = b->fixed;
  return dhc_status_ok();
}

static dhc_status walk(Build *b) {
  DhcObjSource *src = DHC_NEW_N(b->arena, DhcObjSource, b->n + 1);
  for (int i = 0; i < b->n; i++) DHC_TRY(source_of(b, b->version[i], &src[i]));
  const DhcObjRequest rq = {.name = object_name(b), .model = b->m->name, .hash = b->m->hash, .build = DHC_VERSION, .layout = b->layout,
                            .source = src, .n_sources = b->n, .bind_name = b->bind_name,
                            .bind_value = b->bind_value, .n_bind = b->n_bind};
  const char *why = NULL;
  b->object = dhc_object_walk(&rq, b->arena, &why);
  if (!b->object) return dhc_status_make(DHC_E_INPUT, "%s", why);
  return dhc_status_ok();
}

static dhc_status check_options(const dhc_build_options *o, const dhc_session *s) {
  if (!o->out) return dhc_status_make(DHC_E_USAGE, "build: needs -o FILE.o, FILE.a or FILE.so");
  BuildForm form;
  if (!build_form(o->out, &form) || (form == BUILD_C) != o->c)
    return dhc_status_make(DHC_E_USAGE, "-o %s: needs a name that ends in %s", o->out, o->c ? ".c" : ".o, .a or .so");
  if (form == BUILD_SO && o->target && !strncmp(o->target, "wasm32", 6))
    return dhc_status_make(DHC_E_USAGE, "-o %s: wasm32 has no shared libraries; needs a name that ends in .o or .a", o->out);
  const char *const files[] = {o->out, o->header, o->weights_file};
  for (int i = 1; i < 3; i++)
    for (int k = 0; k < i; k++)
      if (files[i] && files[k] && !strcmp(files[i], files[k])) return dhc_status_make(DHC_E_USAGE, "build: %s is to be two files", files[i]);
  if (o->c && !o->header) return dhc_status_make(DHC_E_USAGE, "--emit c: needs --header, which the source includes");
  if (!o->target && (o->cpu || o->features)) return dhc_status_make(DHC_E_USAGE, "--%s: needs --target", o->cpu ? "cpu" : "features");
  if (o->selftest && !o->weights) return dhc_status_make(DHC_E_USAGE, "--selftest: needs --weights");
  if (o->weights_file && !o->weights) return dhc_status_make(DHC_E_USAGE, "--weights-file %s: needs --weights", o->weights_file);
  return session_makes_objects(s);
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

/* One call in this process, whose bits are the object's. */
static dhc_status add_test(Build *b, int entry, int index, uint32_t seed) {
  const DhcObjEntry *e = b->object->entry[entry];
  DhcObjTest t = {entry, DHC_NEW_N(b->arena, const void *, e->n_params + 1), DHC_NEW_N(b->arena, int64_t, e->n_params + 1)};
  dhc_tensor *in = DHC_NEW_N(b->arena, dhc_tensor, e->n_params + 1);
  const dhc_tensor *out;
  int n_in = 0, n_out = 0, o = 0;
  for (int i = 0; i < e->n_params; i++) {
    const dhc_image_tensor *x = e->param[i].tensor;
    if (e->param[i].out) continue;
    dhc_tensor *to = &in[n_in++];
    *to = (dhc_tensor){.name = x->name, .dtype = (dhc_dtype)x->dtype, .rank = x->rank};
    if (!dhc_image_shape(e->image, (int32_t)(x - e->image->tensors), e->bound, to->dim)) return dhc_status_make(DHC_E_INPUT, "input '%s' has no size", x->name);
    t.bytes[i] = dhc_tensor_bytes(to);
    to->data = dhc_arena_alloc(b->arena, (size_t)t.bytes[i] + 64);
    fill(to, seed + (uint32_t)i);
    t.data[i] = to->data;
  }
  DHC_TRY(dhc_program_run(b->program, index, in, n_in, &out, &n_out));
  for (int i = 0; i < e->n_params && o < n_out; i++) {
    if (!e->param[i].out) continue;
    t.bytes[i] = dhc_tensor_bytes(&out[o]);
    t.data[i] = dhc_arena_dup(b->arena, out[o++].data, (size_t)t.bytes[i]);
  }
  DHC_PUSH(b->arena, &b->object->tests, t);
  return dhc_status_ok();
}

static dhc_status add_tests(Build *b) {
  for (int i = 0; i < b->n && b->o->selftest; i++) {
    const DhcObjEntry *e = b->object->entry[i];
    int index = 0;
    if (e->state_bytes) continue;
    for (int s = 0; s < e->n_symbols; s++)
      if (!e->bound[s]) return dhc_status_make(DHC_E_USAGE, "--selftest: size %s of entry '%s' is not fixed (--bind)", e->symbol[s], e->name);
    if (i) DHC_TRY(dhc_program_add(b->program, b->version[i]->entry, DHC_MODE_RUN, &index));
    for (int k = 0; k < b->o->selftest; k++) DHC_TRY(add_test(b, i, index, 100u * (uint32_t)k + 1));
  }
  if (b->o->selftest && !b->object->tests.n) return dhc_status_make(DHC_E_USAGE, "--selftest: every entry of the object carries states on");
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
  for (int i = 0; i < b->n && b->o->max_ram; i++) {
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
} Elsewhere;

static void come_back(void *what) {
  Elsewhere *e = what;
  if (e->own) e->s->compiler = e->was;
  dhc_compiler_close(e->own);
}

static dhc_status go_elsewhere(Elsewhere *e, const dhc_build_options *o, DhcArena *arena) {
  const DhcCompileOptions co = {.backend = e->s->backend, .target = o->target, .cpu = o->cpu, .features = o->features, .offline = true, .workers = 1};
  if (!o->target) return dhc_status_ok();
  DHC_TRY(dhc_compiler_open(arena, &co, &e->own));
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

dhc_status api_model_build(dhc_model *m, const dhc_build_options *o, dhc_build_result *out) {
  NEED(m);
  NEED(o);
  DHC_TRY(check_options(o, m->s));
  DhcArena arena;
  dhc_arena_init(&arena);
  Build b = {.m = m, .o = o, .arena = &arena};
  Elsewhere away = {.s = m->s, .was = m->s->compiler};
  DhcHeld held, held_away;
  dhc_hold(&held, drop, &b);
  dhc_hold(&held_away, come_back, &away);
  dhc_status st = go_elsewhere(&away, o, &arena);
  if (st.code == DHC_OK) st = parse_binds(&b);
  if (st.code == DHC_OK) st = graphs(&b);
  if (st.code == DHC_OK) st = load_weights(&b);
  if (st.code == DHC_OK) st = walk(&b);
  if (st.code == DHC_OK) st = constants(&b);
  if (st.code == DHC_OK) st = check_ram(&b);
  if (st.code == DHC_OK && o->selftest) {
    away.s->compiler = away.own ? away.was : m->s->compiler; /* the calls are made here */
    st = add_tests(&b);
    if (away.own) away.was = m->s->compiler, m->s->compiler = away.own;
  }
  if (st.code == DHC_OK) b.object->describe = dhc_object_describe(b.object, dhc_compiler_target_text(m->s->compiler), &arena);
  if (st.code == DHC_OK) st = o->c ? source_text(&b) : dhc_compiler_object(m->s->compiler, b.object, &arena, &b.bytes, &b.n_bytes);
  if (st.code == DHC_OK) st = check_flash(&b);
  if (st.code == DHC_OK) st = build_write(&b);
  if (st.code == DHC_OK && out)
    *out = (dhc_build_result){.object_bytes = (int64_t)b.n_bytes, .weights_bytes = b.object->blob_bytes, .n_entries = b.n,
                              .n_kernels = b.object->functions.n};
  dhc_release(&held_away);
  come_back(&away);
  dhc_release(&held);
  drop(&b);
  dhc_arena_fini(&arena);
  return st;
}
