/* A model with all it was opened with, in one file: a safetensors file whose metadata hold its texts, root, preset,
 * recipe and settings, and whose tensors are weights, or none. The folder of a run holds one without (model.dhcm).
 *
 *   dhc.package             "1", the version of this form
 *   dhc.main                the text that was opened, by its name
 *   dhc.texts               all names, a line each: shipped ones begin with "shipped/", others lie as beside dhc.main
 *   dhc.text.NAME           a text
 *   dhc.root, .preset, .variant, .recipe, dhc.set.0 ...   as in dhc_model_options; absent: NULL
 *   dhc.hash                dhc_model_hash of what was packed
 *   dhc.classes             what the labels of the training data are called, a line each; absent: nobody says */
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "api/api.h"

static bool ends_in(const char *text, const char *end) {
  size_t n = strlen(text), m = strlen(end);
  return n > m && !strcmp(text + n - m, end);
}

/* The package that `path` is, or the folder holds; false: neither. */
static bool find(const char *path, char file[PATH_MAX]) {
  struct stat st;
  if (stat(path, &st) != 0) return false;
  if (S_ISREG(st.st_mode) && ends_in(path, ".dhcm")) return (size_t)snprintf(file, PATH_MAX, "%s", path) < PATH_MAX;
  size_t n = strlen(path);
  while (n > 1 && path[n - 1] == '/') n--;
  return S_ISDIR(st.st_mode) && (size_t)snprintf(file, PATH_MAX, "%.*s/%s", (int)n, path, DHC_PACKAGE_FILE) < PATH_MAX &&
         stat(file, &st) == 0 && S_ISREG(st.st_mode);
}

bool dhc_package_find(const char *path, bool *weights) {
  char file[PATH_MAX];
  if (weights) *weights = false;
  if (!path || !find(path, file)) return false;
  DhcSafetensors *f;
  if (!weights) return true;
  *weights = !ends_in(path, ".dhcm");
  if (!*weights && dhc_safetensors_open(file, &f).code == DHC_OK) {
    *weights = dhc_safetensors_count(f) > 0;
    dhc_safetensors_close(f);
  }
  return true;
}

/* ---- reading --------------------------------------------------------------------------------- */

static const char *text_of(dhc_session *s, const DhcSafetensors *f, const char *key) {
  const char *text = dhc_safetensors_meta(f, key);
  return text ? dhc_arena_strdup(&s->arena, text) : NULL;
}

static dhc_status read_texts(dhc_session *s, const DhcSafetensors *f, DhcTexts *out) {
  const char *names = text_of(s, f, "dhc.texts");
  DHC_VEC(struct DhcPackedText) all = {0};
  for (const char *at = names; at && *at;) {
    size_t n = strcspn(at, "\n");
    struct DhcPackedText t = {.name = dhc_arena_strndup(&s->arena, at, n)};
    t.text = text_of(s, f, dhc_arena_printf(&s->arena, "dhc.text.%s", t.name));
    if (!t.text) return dhc_status_file(out->prefix, "names the text '%s' and does not hold it", t.name);
    t.n_bytes = strlen(t.text);
    DHC_PUSH(&s->arena, &all, t);
    at += n + (at[n] == '\n');
  }
  out->at = all.at;
  out->n = all.n;
  return dhc_status_ok();
}

/* "key" of "key=value" is the key of one of n settings. */
static bool is_set(const char *setting, const char *const *sets, int n) {
  size_t k = strcspn(setting, "=");
  for (int i = 0; i < n; i++)
    if (strcspn(sets[i], "=") == k && !strncmp(sets[i], setting, k)) return true;
  return false;
}

/* What was packed, but for what is asked for now. */
static dhc_status merge(dhc_session *s, const DhcSafetensors *f, const dhc_model_options *o, dhc_model_options *out) {
  const char *path = dhc_safetensors_path(f);
  *out = (dhc_model_options){.root = text_of(s, f, "dhc.root"), .preset = text_of(s, f, "dhc.preset"), .variant = text_of(s, f, "dhc.variant"),
                             .recipe = o->recipe ? o->recipe : text_of(s, f, "dhc.recipe")};
  const struct {
    const char *name, *asked, *packed;
  } fixed[] = {{"root", o->root, out->root}, {"preset", o->preset, out->preset}, {"variant", o->variant, out->variant}};
  for (size_t i = 0; i < sizeof fixed / sizeof *fixed; i++)
    if (fixed[i].asked && (!fixed[i].packed || strcmp(fixed[i].asked, fixed[i].packed)))
      return dhc_status_make(DHC_E_INPUT, "%s: has its own %s%s%s: --%s %s is for the model file it was made from", path, fixed[i].name,
                             fixed[i].packed ? " " : ", none", fixed[i].packed ? fixed[i].packed : "", fixed[i].name, fixed[i].asked);
  DHC_VEC(const char *) sets = {0};
  const char *set;
  for (int i = 0; (set = text_of(s, f, dhc_arena_printf(&s->arena, "dhc.set.%d", i))) != NULL; i++)
    if (!is_set(set, o->sets, o->n_sets)) DHC_PUSH(&s->arena, &sets, set);
  for (int i = 0; i < o->n_sets; i++) DHC_PUSH(&s->arena, &sets, o->sets[i]);
  out->sets = sets.at;
  out->n_sets = sets.n;
  return dhc_status_ok();
}

static dhc_status read_package(dhc_session *s, const DhcSafetensors *f, const dhc_model_options *o, dhc_model_options *out, DhcTexts *texts) {
  const char *version = dhc_safetensors_meta(f, "dhc.package"), *main_name = dhc_safetensors_meta(f, "dhc.main");
  if (!version) return dhc_status_file(texts->prefix, "is no package of dhcc (its metadata have no dhc.package)");
  if (strcmp(version, "1")) return dhc_status_file(texts->prefix, "is a package of version %.20s; this dhcc reads version 1", version);
  if (!main_name) return dhc_status_file(texts->prefix, "does not say which text is its model (dhc.main)");
  DHC_TRY(read_texts(s, f, texts));
  DHC_TRY(merge(s, f, o, out));
  out->name = dhc_arena_printf(&s->arena, "%s/%s", texts->prefix, main_name);
  return dhc_status_ok();
}

static void close_package(void *f) {
  dhc_safetensors_close(f);
}

static void read_classes(dhc_session *s, const DhcSafetensors *f, PackageSays *says) {
  DHC_VEC(const char *) all = {0};
  for (const char *at = text_of(s, f, "dhc.classes"); at && *at;) {
    size_t n = strcspn(at, "\n");
    DHC_PUSH(&s->arena, &all, dhc_arena_strndup(&s->arena, at, n));
    at += n + (at[n] == '\n');
  }
  says->classes = all.at;
  says->n_classes = all.n;
}

dhc_status package_open(dhc_session *s, const dhc_model_options *o, dhc_model_options *made, PackageSays *says) {
  char file[PATH_MAX];
  *made = *o;
  *says = (PackageSays){.texts = NULL};
  if (!find(o->name, file)) return dhc_status_ok();
  DhcTexts *t = DHC_NEW(&s->arena, DhcTexts);
  t->prefix = dhc_arena_strdup(&s->arena, file);
  DhcSafetensors *f;
  DHC_TRY(dhc_safetensors_open(file, &f));
  DhcHeld held;
  dhc_hold(&held, close_package, f);
  dhc_status st = read_package(s, f, o, made, t);
  read_classes(s, f, says);
  dhc_release(&held);
  dhc_safetensors_close(f);
  says->texts = t;
  return st;
}

/* ---- writing --------------------------------------------------------------------------------- */

/* Where a file lies in a package: below "shipped/", or from the main file's folder on. */
static const char *name_of(const dhc_model *m, DhcArena *a, const DhcSource *file, const DhcSource *main_file) {
  char real[PATH_MAX];
  for (int i = 0; i < m->n_roots; i++) {
    const char *root = realpath(m->roots[i], real) ? real : m->roots[i];
    size_t n = strlen(root);
    if (!strncmp(file->path, root, n) && file->path[n] == '/') return dhc_arena_printf(a, "%s%s", DHC_PACKAGE_SHIPPED, file->path + n);
  }
  const char *slash = strrchr(main_file->path, '/');
  return file->path + (slash ? slash + 1 - main_file->path : 0);
}

typedef DHC_VEC(DhcMetaPair) Meta;

static void put(DhcArena *a, Meta *to, const char *key, const char *value) {
  if (value) DHC_PUSH(a, to, ((DhcMetaPair){key, value}));
}

static dhc_status put_texts(const dhc_model *m, DhcArena *a, Meta *to) {
  const DhcSources *all = &m->s->sources;
  const DhcSource *main_file = dhc_sources_get(all, dhc_elab_program(m->elab)->root->file);
  DhcFileNumbers files = dhc_elab_files(m->elab);
  DhcText names = {.arena = a};
  for (int i = 0; i < files.n; i++) {
    const DhcSource *file = dhc_sources_get(all, files.at[i]);
    const char *name = name_of(m, a, file, main_file), *key = dhc_arena_printf(a, "dhc.text.%s", name);
    bool there = false;
    for (int k = 0; k < to->n && !there; k++) {
      there = !strcmp(to->at[k].key, key);
      if (there && strcmp(to->at[k].value, file->text))
        return dhc_status_make(DHC_E_INPUT, "%s and another file would both be %s of a package", file->name, name);
    }
    if (there) continue;
    put(a, to, key, file->text);
    dhc_text_printf(&names, "%s\n", name);
  }
  put(a, to, "dhc.texts", dhc_text_str(&names));
  put(a, to, "dhc.main", name_of(m, a, main_file, main_file));
  return dhc_status_ok();
}

static dhc_status meta_of(const dhc_model *m, const char *const *classes, int64_t n_classes, DhcArena *a, Meta *to) {
  DhcText names = {.arena = a};
  for (int64_t i = 0; classes && i < n_classes; i++) dhc_text_printf(&names, "%s\n", classes[i]);
  if (classes && n_classes) put(a, to, "dhc.classes", dhc_text_str(&names));
  const dhc_model_options *o = &m->made;
  put(a, to, "format", "dhcc");
  put(a, to, "dhc.package", "1");
  put(a, to, "dhc.hash", m->hash);
  put(a, to, "dhc.root", o->root);
  put(a, to, "dhc.preset", o->preset);
  put(a, to, "dhc.variant", o->variant);
  put(a, to, "dhc.recipe", o->recipe);
  for (int i = 0; i < o->n_sets; i++) put(a, to, dhc_arena_printf(a, "dhc.set.%d", i), o->sets[i]);
  return put_texts(m, a, to);
}

dhc_status package_write(const dhc_model *m, const char *path, const char *const *classes, int64_t n_classes) {
  DhcArena a;
  dhc_arena_init(&a);
  Meta meta = {0};
  dhc_status st = meta_of(m, classes, n_classes, &a, &meta);
  if (st.code == DHC_OK) st = dhc_safetensors_write(path, NULL, 0, meta.at, meta.n);
  dhc_arena_fini(&a);
  return st;
}

static void close_program(void *p) {
  dhc_program_close(p);
}

static dhc_status pack(dhc_program *p, const char *weights, const char *path) {
  DhcArena a;
  dhc_arena_init(&a);
  Meta meta = {0};
  DhcTensorView *v;
  int n;
  dhc_status st = meta_of(p->m, p->m->classes, p->m->n_classes, &a, &meta);
  if (st.code == DHC_OK) st = dhc_program_load(p, weights, false);
  if (st.code == DHC_OK) st = weights_views(p, "", DHC_WEIGHTS, true, &a, &v, &n);
  if (st.code == DHC_OK) st = dhc_safetensors_write(path, v, n, meta.at, meta.n);
  dhc_arena_fini(&a);
  return st;
}

dhc_status api_model_pack(dhc_model *m, const char *weights, const char *path) {
  NEED(m);
  NEED(weights);
  NEED(path);
  if (dhc_model_n_entries(m) == 0) return dhc_status_make(DHC_E_INPUT, "%s has no entry", m->name);
  dhc_program *p;
  DHC_TRY(dhc_program_open(m, dhc_model_entry_name(m, 0), DHC_MODE_RUN, &p));
  DhcHeld held;
  dhc_hold(&held, close_program, p);
  dhc_status st = pack(p, weights, path);
  dhc_release(&held);
  dhc_program_close(p);
  return st;
}
