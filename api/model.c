/* Models: a file, its root, and every hyperparameter bound. */
#include <stdlib.h>

#include "api/api.h"

static bool split_setting(dhc_session *s, const char *text, DhcSetting *out) {
  const char *eq = strchr(text, '=');
  if (!eq || eq == text) return false;
  out->key = dhc_intern_n(&s->strings, text, (size_t)(eq - text));
  out->value = eq + 1;
  return true;
}

static void hash_text(DhcSha256 *h, const char *text) {
  dhc_sha256_update(h, text, strlen(text) + 1);
}

static const char *kept(dhc_session *s, const char *text) { return text ? dhc_intern(&s->strings, text) : NULL; }

static dhc_model_options keep_options(dhc_session *s, const dhc_model_options *o) {
  const char **sets = DHC_NEW_N(&s->arena, const char *, o->n_sets + 1);
  for (int i = 0; i < o->n_sets; i++) sets[i] = kept(s, o->sets[i]);
  return (dhc_model_options){.name = kept(s, o->name), .root = kept(s, o->root), .preset = kept(s, o->preset), .variant = kept(s, o->variant),
                             .recipe = kept(s, o->recipe), .sets = sets, .n_sets = o->n_sets};
}

/* Structure and what shapes it: paths, types, non-scalar hyperparameters. Two models of
 * one hash can read each other's checkpoints. */
static void model_hash(dhc_model *m) {
  DhcSha256 h;
  dhc_sha256_init(&h);
  hash_text(&h, m->name);
  DhcText t = {.arena = &m->s->arena};
  for (int i = 0; i < m->module->tensors.n; i++) {
    const DhcTensorDecl *d = &m->module->tensors.at[i];
    if (d->role != DHC_ROLE_WEIGHT && d->role != DHC_ROLE_BUFFER) continue;
    dhc_text_puts(&t, d->path);
    dhc_type_print(&d->type, &t);
    dhc_text_puts(&t, "\n");
  }
  DhcHyperInfos hypers = dhc_model_hypers(m->m);
  for (int i = 0; i < hypers.n; i++)
    if (hypers.at[i].scalar < 0) dhc_text_printf(&t, "%s=%s\n", hypers.at[i].name, hypers.at[i].value);
  hash_text(&h, dhc_text_str(&t));
  uint8_t digest[32];
  dhc_sha256_final(&h, digest);
  dhc_sha256_hex(digest, m->hash);
}

/* Texts that were added since there were `before` are the settings', or files that this model was the first to read. */
static void list_files(dhc_model *m, int before) {
  m->files = dhc_elab_files(m->elab);
  int n = m->files.n;
  for (uint32_t f = (uint32_t)before + 1; f <= (uint32_t)m->s->sources.files.n; f++) {
    bool read = false;
    for (int i = 0; i < n; i++) read = read || m->files.at[i] == f;
    if (!read) DHC_PUSH(&m->s->arena, &m->files, f);
  }
}

dhc_status api_model_open(dhc_session *s, const dhc_model_options *o, dhc_model **out) {
  NEED_OUT(out);
  NEED(s);
  NEED(o);
  NEED(o->name);
  if (o->n_sets > 0) NEED(o->sets);
  for (int i = 0; i < o->n_sets; i++) NEED(o->sets[i]);
  int before = s->diags.n_errors;
  DhcSetting sets[256];
  dhc_model_options made;
  PackageSays says;
  DHC_TRY(package_open(s, o, &made, &says));
  const DhcTexts *texts = says.texts;
  if (made.n_sets > 256) return dhc_status_make(DHC_E_USAGE, "more than 256 settings");
  for (int i = 0; i < made.n_sets; i++)
    if (!split_setting(s, made.sets[i], &sets[i]))
      return dhc_status_make(DHC_E_USAGE, "--set: needs KEY=VALUE, got \"%s\"", made.sets[i]);
  int sources_before = s->sources.files.n, n_roots = texts ? 1 : s->n_roots;
  const char *const *roots = s->roots;
  if (texts) {
    const char **own = DHC_NEW(&s->arena, const char *);
    *own = dhc_arena_printf(&s->arena, "%s/%s", texts->prefix, DHC_PACKAGE_SHIPPED);
    roots = own;
  }
  s->diags.since = s->diags.all.n;
  DhcElabConfig config = {.shipped_roots = roots, .n_shipped_roots = n_roots, .texts = texts, .parsed = &s->parsed,
                          .grad = dhc_grad_unit, .max_memory_bytes = s->budget.limit};
  DhcElab *elab = dhc_elab_open(&s->arena, &s->strings, &s->diags, &config, made.name);
  if (!elab) return session_errors_since(s, before);
  DhcModelRequest rq = {.root = made.root, .preset = made.preset, .variant = made.variant, .recipe = made.recipe, .sets = sets,
                        .n_sets = made.n_sets, .solved = s->solves};
  DhcModel *dm = dhc_elab_model(elab, &rq);
  if (!dm || s->diags.n_errors > before) return session_errors_since(s, before);
  dhc_model *m = calloc(1, sizeof *m);
  if (!m) return dhc_status_memory((long long)sizeof *m, "a model");
  *m = (dhc_model){.s = s, .elab = elab, .m = dm, .module = dhc_model_module(dm), .roots = roots, .n_roots = n_roots,
                   .classes = says.classes, .n_classes = says.n_classes};
  m->name = m->module->model_name ? m->module->model_name : o->name;
  DhcHeld held;
  dhc_hold(&held, free, m);
  m->asked = keep_options(s, o);
  m->made = keep_options(s, &made);
  model_hash(m);
  list_files(m, sources_before);
  m->said = s->diags.all.n;
  kept_model(m, &made);
  dhc_release(&held);
  *out = m;
  return dhc_status_ok();
}

void dhc_model_close(dhc_model *m) {
  free(m);
}

const char *dhc_model_name(const dhc_model *m) {
  return m ? m->name : NULL;
}

const char *dhc_model_hash(const dhc_model *m) {
  return m ? m->hash : NULL;
}

dhc_status api_model_check(dhc_model *m) {
  NEED(m);
  int before = m->s->diags.n_errors;
  bool set = m->made.preset || m->made.variant || m->made.recipe || m->made.n_sets || m->made.root;
  (void)(set ? dhc_elab_check_model(m->elab, m->m) : dhc_elab_check(m->elab)); /* as it is set; else every root of the file */
  return session_errors_since(m->s, before);
}

int dhc_model_n_tensors(const dhc_model *m) {
  return !m ? 0 : m->module->tensors.n;
}

static const char *role_name(DhcRole r) {
  switch (r) {
    case DHC_ROLE_WEIGHT: return "param";
    case DHC_ROLE_BUFFER: return "buffer";
    case DHC_ROLE_TABLE: return "table";
    default: return "state";
  }
}

dhc_tensor_info dhc_model_tensor(const dhc_model *m, int i) {
  if (i < 0 || i >= dhc_model_n_tensors(m)) return (dhc_tensor_info){0};
  const DhcTensorDecl *d = &m->module->tensors.at[i];
  dhc_tensor_info info = {.path = d->path, .role = role_name(d->role), .dtype = d->type.dtype,
                          .rank = d->type.rank, .no_decay = d->no_decay};
  for (int k = 0; k < d->type.rank; k++)
    if (!dhc_dim_is_const(d->type.dim[k], &info.dim[k])) info.dim[k] = -1;
  return info;
}

int64_t dhc_model_n_params(const dhc_model *m) {
  int64_t n = 0;
  for (int i = 0; i < dhc_model_n_tensors(m); i++) {
    const DhcTensorDecl *d = &m->module->tensors.at[i];
    int64_t k;
    if (d->role == DHC_ROLE_WEIGHT && dhc_dim_is_const(dhc_type_elements(m->module->dims, &d->type), &k)) n += k;
  }
  return n;
}

int dhc_model_n_entries(const dhc_model *m) {
  return m ? dhc_model_entries(m->m).n : 0;
}

const char *dhc_model_entry_name(const dhc_model *m, int i) {
  return i < 0 || i >= dhc_model_n_entries(m) ? NULL : dhc_model_entries(m->m).at[i].name;
}
