/* Standalone objects: the entries of a model as one file for C programs (backends/object/). */
#include <ctype.h>
#include <stdlib.h>

#include "api/api.h"
#include "backends/object/object.h"
#include "dhc/version.h"

/* What an entry brings, and a program that holds the weights which are embedded. */
typedef struct Build {
  dhc_model *m;
  const dhc_build_options *o;
  DhcArena *arena;
  Version *version[API_MAX_ENTRIES];
  const char *plain[API_MAX_ENTRIES]; /* "forward" of "forward.step" */
  int n;
  const dhc_layout *layout;
  dhc_program *program; /* NULL: the caller of the object passes the weights */
  DhcObject *object;
  uint8_t *blob;
  char *bytes;
  size_t n_bytes;
} Build;

static void drop(void *what) {
  Build *b = what;
  dhc_program_close(b->program);
  free(b->blob);
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

static dhc_status add_graph(Build *b, const char *name) {
  if (b->n == API_MAX_ENTRIES) return dhc_status_make(DHC_E_USAGE, "an object has at most %d entries, resets among them", API_MAX_ENTRIES);
  DhcForm form;
  dhc_model_form(b->m->m, name, &b->plain[b->n], &form);
  b->version[b->n] = pipeline_graph(b->m, name, DHC_MODE_RUN, NULL, 0);
  if (!b->version[b->n]) return session_errors(b->m->s);
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

static dhc_status walk(Build *b) {
  DhcObjSource *src = DHC_NEW_N(b->arena, DhcObjSource, b->n + 1);
  for (int i = 0; i < b->n; i++) DHC_TRY(source_of(b, b->version[i], &src[i]));
  const DhcObjRequest rq = {.name = object_name(b), .model = b->m->name, .hash = b->m->hash, .build = DHC_VERSION, .layout = b->layout,
                            .source = src, .n_sources = b->n, .target = dhc_compiler_target_text(b->m->s->compiler)};
  const char *why = NULL;
  b->object = dhc_object_walk(&rq, b->arena, &why);
  if (!b->object) return dhc_status_make(DHC_E_INPUT, "%s", why);
  if (!b->program || !b->object->blob_bytes) return dhc_status_ok();
  b->blob = dhc_object_blob(b->object, values, b);
  if (!b->blob) return dhc_status_memory((long long)b->object->blob_bytes, "the weights of an object");
  b->object->blob = b->blob;
  return dhc_status_ok();
}

static const char *file_name(const char *path) {
  const char *slash = strrchr(path, '/');
  return slash ? slash + 1 : path;
}

/* Both files, or neither: the object's name is taken last. */
static dhc_status write_files(Build *b) {
  DhcText header = {.arena = b->arena};
  DhcFileWriter out[2];
  if (b->o->header) {
    dhc_object_header(b->object, file_name(b->o->header), &header);
    DHC_TRY(dhc_file_begin(b->o->header, &out[0]));
    dhc_status st = dhc_file_write(&out[0], dhc_text_str(&header), (size_t)header.n);
    if (st.code != DHC_OK) {
      dhc_file_abort(&out[0]);
      return st;
    }
  }
  dhc_status st = dhc_file_begin(b->o->out, &out[1]);
  if (st.code == DHC_OK) {
    st = dhc_file_write(&out[1], b->bytes, b->n_bytes);
    if (st.code != DHC_OK) dhc_file_abort(&out[1]);
  }
  if (st.code != DHC_OK) {
    if (b->o->header) dhc_file_abort(&out[0]);
    return st;
  }
  if (b->o->header) st = dhc_file_commit(&out[0]);
  if (st.code == DHC_OK) return dhc_file_commit(&out[1]);
  dhc_file_abort(&out[1]);
  return st;
}

static dhc_status check_options(const dhc_build_options *o, const dhc_session *s) {
  if (!o->out) return dhc_status_make(DHC_E_USAGE, "build: needs -o FILE.o");
  const char *dot = strrchr(file_name(o->out), '.');
  if (!dot || strcmp(dot, ".o")) return dhc_status_make(DHC_E_USAGE, "-o %s: needs a name that ends in .o", o->out);
  if (s->graphs || strcmp(s->backend, "cpu")) return dhc_status_make(DHC_E_USAGE, "build: objects are made by --backend cpu, not %s", s->backend);
  return dhc_status_ok();
}

dhc_status api_model_build(dhc_model *m, const dhc_build_options *o, dhc_build_result *out) {
  NEED(m);
  NEED(o);
  DHC_TRY(check_options(o, m->s));
  DhcArena arena;
  dhc_arena_init(&arena);
  Build b = {.m = m, .o = o, .arena = &arena};
  DhcHeld held;
  dhc_hold(&held, drop, &b);
  dhc_status st = graphs(&b);
  if (st.code == DHC_OK) st = load_weights(&b);
  if (st.code == DHC_OK) st = walk(&b);
  if (st.code == DHC_OK) st = dhc_compiler_object(m->s->compiler, b.object, &arena, &b.bytes, &b.n_bytes);
  if (st.code == DHC_OK) st = write_files(&b);
  if (st.code == DHC_OK && out)
    *out = (dhc_build_result){.object_bytes = (int64_t)b.n_bytes, .weights_bytes = b.object->blob_bytes, .n_entries = b.n,
                              .n_kernels = b.object->functions.n};
  dhc_release(&held);
  drop(&b);
  dhc_arena_fini(&arena);
  return st;
}
