/* Images that are kept. What an entry became on its way through the compiler lies in the kernel store beside the kernels
 * it runs: an image and the keys of those. The next time the same is asked for, in this process or another, the version
 * of the entry is made from that, and nothing is elaborated, differentiated, fused or planned. Whoever wants its graph or
 * plan then gets them by pipeline_again.
 *
 * The key is a digest of all that an image comes from: the build, the target, the texts of the model and of all it
 * imports, the settings, the entry and what is asked of it, the places of the program's tensors. Sizes of inputs are none
 * of it: an image says itself for which it holds (equations and guards), and several may lie under one key and a number
 * behind it.
 *
 * Not kept is what would not be the same by way of the store: an entry about which something was said (messages come with
 * elaboration), or that brought the model tensors it had not. Nor is anything looked up or kept where the
 * session's switches change or show what passes do, where nothing is compiled, or where the store has no folder. */
#include <stdlib.h>

#include "api/api.h"
#include "api/tuning.h"

enum { MAGIC = 0x32474944, MAX_KEPT = 16 /* images under one key */, HEAD_WORDS = 5 };

static bool in_use(const dhc_session *s) {
  return s->compiler && !session_whole(s) && !s->offline && !s->o.explain_compiles && !s->o.disable_passes && !s->o.pass_limit &&
         dhc_store_path(s->store);
}

/* ---- keys -------------------------------------------------------------------------------- */

static void add_text(DhcSha256 *h, const char *text) {
  if (text) dhc_sha256_update(h, text, strlen(text) + 1);
  else dhc_sha256_update(h, "\1", 1);
}

static void add_number(DhcSha256 *h, int64_t v) {
  dhc_sha256_update(h, &v, sizeof v);
}

static void add_names(DhcSha256 *h, const char *const *names) {
  for (int i = 0; names && names[i]; i++) add_text(h, names[i]);
  add_text(h, NULL);
}

/* Files of an image are numbers of the model's own files, from 1; 0 stays none. */
typedef uint32_t FileNumber(const dhc_model *m, uint32_t file);

static uint32_t own_number(const dhc_model *m, uint32_t file) {
  for (int i = 0; i < m->files.n; i++)
    if (m->files.at[i] == file) return (uint32_t)i + 1;
  return 0;
}

void kept_model(dhc_model *m, const dhc_model_options *o) {
  DhcSha256 h;
  dhc_sha256_init(&h);
  add_text(&h, o->root);
  add_text(&h, o->preset);
  add_text(&h, o->variant);
  add_text(&h, o->recipe);
  for (int i = 0; i < o->n_sets; i++) add_text(&h, o->sets[i]);
  for (int i = 0; i < m->files.n; i++) {
    const DhcSource *text = dhc_sources_get(&m->s->sources, m->files.at[i]);
    add_number(&h, (int64_t)text->n_bytes);
    dhc_sha256_update(&h, text->text, text->n_bytes);
  }
  add_number(&h, own_number(m, dhc_elab_program(m->elab)->root->file));
  dhc_sha256_final(&h, m->from);
}

static void add_layout(DhcSha256 *h, const dhc_layout *l) {
  add_number(h, l->n_slots);
  for (int i = 0; i < l->n_slots; i++) {
    const dhc_slot *s = &l->slots[i];
    add_text(h, s->name);
    add_text(h, s->file);
    const int64_t facts[] = {s->role, s->dtype, s->rank, s->n, s->at};
    dhc_sha256_update(h, facts, sizeof facts);
    dhc_sha256_update(h, s->dim, sizeof s->dim);
  }
  for (int i = 0; i < l->n_ranges; i++) {
    const dhc_range *r = &l->ranges[i];
    const int64_t facts[] = {r->dtype, r->like_weights, r->from_weights, r->n, r->at, r->begin, r->whole};
    add_text(h, r->name);
    dhc_sha256_update(h, facts, sizeof facts);
  }
}

static const char *key_of(const dhc_program *p, const Entry *e, const dhc_tensor *in, int n_in) {
  const dhc_model *m = p->m;
  const DhcRecipe *r = dhc_model_recipe(m->m);
  DhcSha256 h;
  uint8_t digest[32];
  char *hex = dhc_arena_alloc(&m->s->arena, 65);
  dhc_sha256_init(&h);
  add_text(&h, dhc_build_id);
  add_number(&h, DHC_ABI_VERSION);
  add_text(&h, dhc_compiler_target_text(m->s->compiler));
  add_number(&h, m->s->compute);
  add_text(&h, m->s->tuning ? m->s->tuning->digest : NULL);
  dhc_sha256_update(&h, m->from, sizeof m->from);
  add_text(&h, e->name);
  add_number(&h, e->mode);
  add_number(&h, m->parts);
  add_number(&h, m->share.rank);
  add_number(&h, m->share.n);
  add_text(&h, r->optimizer);
  add_number(&h, r->ema > 0);
  add_text(&h, r->groups);
  add_names(&h, r->report);
  add_names(&h, m->report);
  for (int i = 0; i < n_in; i++) {
    add_text(&h, in[i].name);
    add_number(&h, in[i].rank);
  }
  add_number(&h, m->module->scalars.n);
  for (int i = 0; i < m->module->scalars.n; i++) add_text(&h, m->module->scalars.at[i].name);
  add_layout(&h, dhc_prog_layout(p->run));
  dhc_sha256_final(&h, digest);
  dhc_sha256_hex(digest, hex);
  return hex;
}

static void numbered(const char *key, int number, char out[65]) {
  DhcSha256 h;
  uint8_t digest[32];
  dhc_sha256_init(&h);
  add_text(&h, key);
  add_number(&h, number);
  dhc_sha256_final(&h, digest);
  dhc_sha256_hex(digest, out);
}

/* ---- places in texts ------------------------------------------------------------------------ */

static uint32_t session_number(const dhc_model *m, uint32_t file) {
  return file && file <= (uint32_t)m->files.n ? m->files.at[file - 1] : 0;
}

static void move_places(const dhc_model *m, dhc_image *im, FileNumber *to) {
  dhc_guard *guards = (dhc_guard *)(uintptr_t)im->plan.guards;
  for (int i = 0; i < im->plan.n_guards; i++) guards[i].src_file = to(m, guards[i].src_file);
}

static bool inside(const dhc_model *m, uint32_t file) {
  return !file || own_number(m, file);
}

static bool all_inside(const dhc_model *m, const Version *v) {
  const dhc_plan *p = &v->image->plan;
  bool ok = inside(m, v->span.file);
  for (int i = 0; i < p->n_guards && ok; i++) ok = inside(m, p->guards[i].src_file);
  return ok;
}

/* ---- entries: head, keys of kernels, packed image ---------------------------------------------- */

typedef struct Head {
  uint32_t magic, n_kernels, file, begin, end; /* the last three: the entry in its text */
} Head;

static void put_head(uint8_t *to, const Head *h) {
  const uint32_t words[HEAD_WORDS] = {h->magic, h->n_kernels, h->file, h->begin, h->end};
  for (int i = 0; i < HEAD_WORDS; i++)
    for (int b = 0; b < 4; b++) to[4 * i + b] = (uint8_t)(words[i] >> 8 * b);
}

static bool get_head(const DhcStoreBytes *from, Head *h) {
  uint32_t words[HEAD_WORDS] = {0};
  if (from->n_bytes < 4 * HEAD_WORDS) return false;
  for (int i = 0; i < HEAD_WORDS; i++)
    for (int b = 0; b < 4; b++) words[i] |= (uint32_t)from->bytes[4 * i + b] << 8 * b;
  *h = (Head){words[0], words[1], words[2], words[3], words[4]};
  return h->magic == MAGIC && h->n_kernels <= (from->n_bytes - 4 * HEAD_WORDS) / 64;
}

static void drop_bytes(void *bytes) {
  free(*(uint8_t **)bytes);
}

void kept_put(dhc_program *p, Version *v) {
  dhc_model *m = p->m;
  const char *under = v->key;
  v->key = NULL; /* once */
  if (!under || v->number >= MAX_KEPT || m->s->diags.all.n != m->said || !all_inside(m, v)) return;
  DhcArena scratch;
  DhcHeld held;
  dhc_arena_init(&scratch);
  dhc_image im = *v->image;
  im.plan.items = dhc_arena_dup(&scratch, im.plan.items, sizeof *im.plan.items * (size_t)im.plan.n_items);
  im.plan.guards = dhc_arena_dup(&scratch, im.plan.guards, sizeof *im.plan.guards * (size_t)im.plan.n_guards);
  move_places(m, &im, own_number);
  im.update.formula = (dhc_graph){0}; /* the model has it */
  dhc_image_add_reset_text(&im, &scratch);
  uint8_t *image;
  size_t n_image, n_keys = 64 * (size_t)im.plan.n_kernels;
  if (dhc_image_pack(&im, &image, &n_image).code == DHC_OK) {
    dhc_hold(&held, drop_bytes, &image);
    char key[65];
    uint8_t *all = dhc_arena_alloc(&scratch, 4 * HEAD_WORDS + n_keys + n_image);
    const Head h = {MAGIC, (uint32_t)im.plan.n_kernels, own_number(m, v->span.file), v->span.begin, v->span.end};
    put_head(all, &h);
    for (int i = 0; i < im.plan.n_kernels; i++) memcpy(all + 4 * HEAD_WORDS + 64 * i, v->keys[i], 64);
    memcpy(all + 4 * HEAD_WORDS + n_keys, image, n_image);
    numbered(under, v->number, key);
    dhc_store_save(m->s->store, key, all, 4 * HEAD_WORDS + n_keys + n_image);
    dhc_release(&held);
    free(image);
  }
  dhc_arena_fini(&scratch);
}

/* ---- looking up ----------------------------------------------------------------------------------- */

static void drop_image(void *im) {
  dhc_image_free(im);
}

static void drop_entry(void *b) {
  dhc_store_bytes_free(b);
}

/* All kernels of the image, loaded. */
static bool load_kernels(dhc_session *s, dhc_image *im, const uint8_t *keys) {
  int n = im->plan.n_kernels;
  DhcCompileStats st = {0};
  DhcArena scratch;
  dhc_arena_init(&scratch);
  char(*key)[65] = dhc_arena_alloc(&scratch, sizeof *key * (size_t)(n + 1));
  for (int i = 0; i < n; i++) memcpy(key[i], keys + 64 * i, 64);
  bool all = dhc_compile_again(s->compiler, (const char(*)[65])key, n, (dhc_kernel *)(uintptr_t)im->kernels, &st);
  dhc_arena_fini(&scratch);
  s->stats.kernels_reused += st.reused_memory + st.reused_disk;
  s->stats.kernels_reused_disk += st.reused_disk;
  s->stats.codegen_ms += st.ms;
  return all;
}

/* What a kept image has not of its own, and what elaboration leaves with the model: constants that are scalars. */
static bool complete(dhc_model *m, Version *v) {
  dhc_image *im = v->image;
  for (int i = m->module->scalars.n; i < im->n_scalars; i++) {
    const DhcScalarDecl s = {.name = dhc_intern(&m->s->strings, im->scalars[i].name), .value = im->scalars[i].value};
    DHC_PUSH(m->module->arena, &m->module->scalars, s);
  }
  if (v->mode == DHC_MODE_TRAIN && !(im->update.formula.made = dhc_model_function(m->m, dhc_model_recipe(m->m)->optimizer))) return false;
  if (!im->reset.text) return true;
  const DhcGraphReader r = {&m->s->arena, &m->s->strings, &m->s->diags};
  return (im->reset.made = dhc_graph_func(&r, &im->reset)) != NULL;
}

/* The version that an entry of the store holds, whole and for these inputs; NULL: it does not. */
static Version *read_version(dhc_program *p, const Entry *e, const DhcStoreBytes *b, const dhc_tensor *in, int n_in) {
  dhc_model *m = p->m;
  Version *v = DHC_NEW(&m->s->arena, Version);
  Head h;
  DhcHeld held;
  dhc_image *im;
  if (!get_head(b, &h)) return NULL;
  const uint8_t *keys = b->bytes + 4 * HEAD_WORDS, *image = keys + 64 * (size_t)h.n_kernels;
  if (dhc_image_unpack(image, (size_t)(b->bytes + b->n_bytes - image), dhc_prog_layout(p->run), &im).code != DHC_OK) return NULL;
  dhc_hold(&held, drop_image, im);
  move_places(m, im, session_number);
  *v = (Version){.entry = e->name, .form = e->form, .mode = e->mode, .image = im, .compiled = true, .kept = true};
  v->span = (DhcSpan){session_number(m, h.file), h.begin, h.end};
  bool ok = im->plan.n_kernels == (int32_t)h.n_kernels && program_fits(v, e, in, n_in) && load_kernels(m->s, im, keys) && complete(m, v);
  dhc_release(&held);
  if (ok) return v;
  dhc_image_free(im);
  return NULL;
}

Version *kept_version(dhc_program *p, const Entry *e, const dhc_tensor *in, int n_in, const char **key, int *number) {
  dhc_session *s = p->m->s;
  DhcCompiler *c;
  Version *v = NULL;
  *key = NULL;
  *number = 0;
  if (session_whole(s) || s->offline || session_compiler(s, &c).code != DHC_OK || !in_use(s)) return NULL; /* what is wrong is said later */
  *key = key_of(p, e, in, n_in);
  for (; !v && *number < MAX_KEPT; ++*number) {
    char name[65];
    DhcStoreBytes b;
    DhcHeld held;
    numbered(*key, *number, name);
    if (!dhc_store_load(s->store, name, &b)) break;
    dhc_hold(&held, drop_entry, &b);
    v = read_version(p, e, &b, in, n_in);
    dhc_release(&held);
    dhc_store_bytes_free(&b);
  }
  return v;
}
