/* Single parts of the compiler for people: passes on IR text, what this machine has. */
#include <stdlib.h>
#include <sys/utsname.h>

#include "api/api.h"
#include "frontend/library.h"
#include "runtime/formats/picture.h"
#include "api/json.h"
#include "dhc/version.h"

/* What the passes print and report. */
typedef struct OptText {
  FILE *to, *err;
  char *text, *err_text;
  size_t n_text, n_err;
} OptText;

/* False: something of it is missing. */
static bool end_text(OptText *o) {
  bool whole = o->to && o->err && !ferror(o->to) && !ferror(o->err);
  if (o->to) whole = !fclose(o->to) && whole;
  if (o->err) whole = !fclose(o->err) && whole;
  return whole && o->text && o->err_text; /* the last growth may fail in silence */
}

static void drop_text(void *what) {
  OptText *o = what;
  (void)end_text(o);
  free(o->text);
  free(o->err_text);
}

dhc_status api_opt_text(dhc_session *s, const char *name, const char *text, const char *passes, char **out) {
  NEED_OUT(out);
  NEED(s);
  NEED(name);
  NEED(text);
  NEED(passes);
  OptText o = {0};
  o.to = open_memstream(&o.text, &o.n_text);
  o.err = open_memstream(&o.err_text, &o.n_err);
  if (!o.to || !o.err) {
    drop_text(&o);
    return dhc_status_memory(0, name);
  }
  DhcHeld held;
  dhc_hold(&held, drop_text, &o);
  DhcOptRequest rq = {.file_name = name, .text = text, .n_bytes = strlen(text), .passes = passes,
                      .disabled = s->o.disable_passes, .limit = session_pass_limit(s), .diags = &s->diags, .tiles = (s->traits & DHC_BACKEND_TILES) && !s->compute};
  int rc = dhc_opt_run(&rq, o.to, o.err);
  dhc_release(&held);
  bool whole = end_text(&o) && rc != 3;
  dhc_status st = dhc_status_ok();
  if (!whole) {
    st = dhc_status_memory((long long)o.n_text, name);
  } else if (rc == 2) {
    o.err_text[strcspn(o.err_text, "\n")] = 0;
    st = dhc_status_make(DHC_E_USAGE, "%s", o.err_text);
  } else if (rc) {
    st = session_errors(s);
  }
  free(o.err_text);
  if (whole) *out = o.text;
  else free(o.text);
  return st;
}

/* ---- doctor ------------------------------------------------------------------------- */

dhc_status api_doctor_json(dhc_session *s, char **out) {
  NEED_OUT(out);
  NEED(s);
  JsonDoc d;
  json_begin(&d);
  json_text(&d, d.root, "dhcc", dhc_version());
  struct utsname u;
  if (!uname(&u)) json_text(&d, d.root, "machine", u.machine);
  json_number(&d, d.root, "threads", dhc_session_threads(s));
  for (int i = 0; dhc_backend_known(i); i++) {
    const DhcBackendInfo *b = dhc_backend_known(i);
    char key[64];
    snprintf(key, sizeof key, "%s backend", b->name);
    if (b->lacks) json_bool(&d, d.root, key, b->in_build);
  }
  dhc_status st = dhc_status_ok();
  DhcCompiler *c;
  bool compiles = !(dhc_backend_info(dhc_backend_name(0))->traits & DHC_BACKEND_WHOLE);
  if (compiles) st = session_compiler(s, &c);
  if (compiles && st.code == DHC_OK) {
    const DhcTargetFacts *f = dhc_compiler_target(c);
    json_number(&d, d.root, "vector bytes", f->vector_bytes);
    json_bool(&d, d.root, "fma", f->has_fma);
    if (!f->has_fma)
      json_text(&d, d.root, "without fma", "fused multiply-adds are emulated: the same bits, contractions take some 15 times as long");
    json_text(&d, d.root, "features", dhc_compiler_host_features(&s->arena, s->o.cpu_features));
    const char *path = dhc_store_path(s->store);
    json_text(&d, d.root, "kernel store", path ? path : "memory only");
  }
  for (int i = 0; dhc_backend_name(i); i++) {
    const char *pair[8][2];
    int n = dhc_backend_facts(i, &s->arena, pair, 8);
    for (int k = 0; k < n; k++) json_text(&d, d.root, pair[k][0], pair[k][1]);
  }
  json_text(&d, d.root, "pictures", *dhc_picture_formats() ? dhc_picture_formats() : "(none: built without libpng and libjpeg)");
  json_text(&d, d.root, "hdf5", *dhc_data_hdf5() ? dhc_data_hdf5() : "(none: built without libhdf5)");
  json_text(&d, d.root, "models", s->n_roots ? s->roots[0] : "(none found)");
  return json_end(&d, st, false, out);
}

dhc_status api_library(dhc_session *s, void (*item)(void *ctx, const dhc_library_item *i), void *ctx) {
  static const char *const kinds[] = {"model", "layer", "function", "builtin"};
  NEED(s);
  NEED(item);
  int before = s->diags.n_errors;
  DhcParse p = {.arena = &s->arena, .strings = &s->strings, .diags = &s->diags, .shipped_roots = s->roots, .n_shipped_roots = s->n_roots,
                .parsed = &s->parsed};
  DhcLibraryItems all;
  if (!dhc_library_read(&p, &all)) return session_errors_since(s, before);
  for (int i = 0; i < all.n; i++) {
    const DhcLibraryItem *x = &all.at[i];
    const dhc_library_item row = {kinds[x->kind], x->name, x->module, x->signature, x->comment, x->entries, x->presets, x->text};
    item(ctx, &row);
  }
  return dhc_status_ok();
}
