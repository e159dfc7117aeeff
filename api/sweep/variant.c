/* One variant in a session of its own, and what identifies it. */
#include <stdlib.h>

#include "api/atlas/atlas.h"
#include "api/sweep/sweep.h"

static dhc_status open_in(dhc_sweep *w, const SweepVariant *v, SweepOpen *x) {
  dhc_model_options o = w->o.model;
  if (v->declared) o.variant = v->declared;
  o.sets = v->sets;
  o.n_sets = v->n_sets;
  return dhc_model_open(x->s, &o, &x->m);
}

static void close_open(void *what) {
  SweepOpen *x = what;
  dhc_program_close(x->p);
  dhc_model_close(x->m);
  dhc_session_close(x->s);
}

static void add_stats(dhc_compile_stats *to, const dhc_compile_stats *from) {
  to->kernels_compiled += from->kernels_compiled;
  to->kernels_reused += from->kernels_reused;
  to->kernels_reused_disk += from->kernels_reused_disk;
  to->compile_ms += from->compile_ms;
  to->codegen_ms += from->codegen_ms;
}

dhc_status sweep_with_variant(dhc_sweep *w, const SweepVariant *v, SweepUse use, void *ctx, bool *located) {
  SweepOpen x = {.name = v->name, .asked_ms = session_now_ms()};
  DhcHeld held;
  dhc_arena_init(&x.arena);
  dhc_hold(&held, close_open, &x);
  dhc_status st = session_child(w->s, &x.s);
  if (st.code == DHC_OK) st = open_in(w, v, &x);
  if (st.code == DHC_OK) st = use(ctx, &x);
  if (located) *located = x.s && x.s->diags.n_errors > 0;
  if (x.s) add_stats(&w->s->stats, &x.s->stats);
  dhc_release(&held);
  close_open(&x);
  dhc_arena_fini(&x.arena);
  return st;
}

static void close_again(void *what) {
  SweepOpen *x = what;
  dhc_program_close(x->p);
  dhc_model_close(x->m);
}

dhc_status sweep_report_again(dhc_sweep *w, const SweepVariant *v, SweepUse use, void *ctx, dhc_status st) {
  if (st.code == DHC_OK || st.code == DHC_E_INTERRUPTED) return st;
  SweepOpen x = {.name = v->name, .s = w->s};
  int before = w->s->diags.n_errors;
  DhcHeld held;
  dhc_arena_init(&x.arena);
  dhc_hold(&held, close_again, &x);
  dhc_status again = open_in(w, v, &x);
  if (again.code == DHC_OK && use) again = use(ctx, &x);
  (void)again; /* what matters is what it leaves in the session */
  dhc_release(&held);
  close_again(&x);
  dhc_arena_fini(&x.arena);
  DhcDiags *d = &w->s->diags;
  if (d->n_errors > before && d->all.n) dhc_diag_note(d, d->all.at[d->all.n - 1], (DhcSpan){0}, "of variant %s", v->name);
  else return dhc_status_make(st.code, "variant %s: %s", v->name, st.message);
  return st;
}

dhc_status sweep_each(dhc_sweep *w, SweepUse use, void *ctx, int *at, const bool *go_on) {
  for (*at = 0; *at < w->variants.n && *go_on; ++*at) {
    const SweepVariant *v = &w->variants.at[*at];
    if (dhc_stop_signal()) return dhc_status_make(DHC_E_INTERRUPTED, "stopped after %d of %d variants", *at, w->variants.n);
    bool located;
    dhc_status st = sweep_with_variant(w, v, use, ctx, &located);
    DHC_TRY(sweep_report_again(w, v, located ? use : NULL, ctx, st));
  }
  return dhc_status_ok();
}

/* ---- identity ------------------------------------------------------------------------------- */

SweepSeen sweep_seen_make(DhcArena *a, int n) {
  SweepSeen s = {.room = 2 * n + 1};
  s.at = dhc_arena_alloc(a, sizeof *s.at * (size_t)s.room);
  return s;
}

int sweep_seen_before(SweepSeen *s, const char *hash, int variant) {
  int i = (int)(strtoull(hash, NULL, 16) % (unsigned)s->room);
  for (; s->at[i].hash[0]; i = (i + 1) % s->room)
    if (!strcmp(s->at[i].hash, hash)) return s->at[i].variant;
  memcpy(s->at[i].hash, hash, sizeof s->at[i].hash);
  s->at[i].variant = variant;
  return -1;
}

/* Of the first call whose first operand is a batch of sequences, [B, L, d]: what the mixers see. */
static int64_t length_at(const DhcFunc *f, const int64_t *values) {
  int64_t length;
  for (const DhcNode *n = f->first; n; n = n->next) {
    if ((n->op != DHC_OP_CALL && n->op != DHC_OP_CHECKPOINT) || !n->n_args || n->args[0]->type.rank != 3) continue;
    if (dhc_dim_eval(n->args[0]->type.dim[1], f->symbols.n, f->symbols.at, values, &length)) return length;
  }
  return -1;
}

/* The length, and in *sizes what the inputs make of the entry's symbols. */
static int64_t sequence_length(const DhcFunc *f, const dhc_tensor *in, int n_in, DhcText *sizes) {
  int64_t values[DHC_IMAGE_MAX_SYMBOLS] = {0};
  bool bound[DHC_IMAGE_MAX_SYMBOLS] = {false}, unbound;
  if (f->symbols.n > DHC_IMAGE_MAX_SYMBOLS) return -1;
  for (int i = 0; i < f->params.n; i++)
    for (int k = 0; k < n_in; k++)
      for (int d = 0; f->param_info.at[i].name && !strcmp(f->param_info.at[i].name, in[k].name) && d < in[k].rank; d++)
        dhc_dim_unify(f->params.at[i]->type.dim[d], in[k].dim[d], f->symbols.n, f->symbols.at, values, bound, &unbound);
  for (int i = 0; i < f->symbols.n; i++)
    if (bound[i]) dhc_text_printf(sizes, "%s%s=%lld", sizes->n ? "," : "", f->symbols.at[i], (long long)values[i]);
  return length_at(f, values);
}

dhc_status sweep_length(dhc_model *m, const char *sizes, int64_t *out) {
  DhcArena a;
  Sizes s;
  dhc_arena_init(&a);
  dhc_status st = sizes_bind(m, "forward", sizes, false, &a, &s);
  if (st.code == DHC_OK) *out = length_at(s.func, s.values);
  dhc_arena_fini(&a);
  return st;
}

static const char *mixers_text(const DhcModel *m, DhcArena *a) {
  DhcKindInfos k = dhc_model_kinds(m);
  DhcText t = {.arena = a};
  for (int i = 0; i < k.n; i++) dhc_text_printf(&t, "%s%s%d", i ? " " : "", k.at[i].letter, k.at[i].count);
  return dhc_text_str(&t);
}

/* Whether the variant says itself that it has none of that kind: its pattern or ratio does without the letter, or "0A", or
 * a ratio in numbers (mamba_ratio) is 0. */
static bool says_none(const dhc_model *m, const char *letter) {
  static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
  DhcHyperInfos h = dhc_model_hypers(m->m);
  bool says = false;
  for (int i = 0; i < h.n; i++) {
    const char *value = h.at[i].value, *at = strstr(value, letter);
    if (strstr(h.at[i].name, "_ratio") && !strcmp(value, "0")) says = true;
    if (strcmp(h.at[i].name, "pattern") && strcmp(h.at[i].name, "ratio")) continue;
    bool none = at && at > value && at[-1] == '0' && (at - value < 2 || at[-2] < '0' || at[-2] > '9');
    says = says || (value[strcspn(value, letters)] && (!at || none));
  }
  return says;
}

/* A ratio may be longer than the stack is deep: what it is compared with is then another ratio. */
static void note_missing(const SweepOpen *x) {
  char why[160];
  for (int i = 0; i < dhc_model_kinds(x->m->m).n; i++)
    if (model_kind_missing(x->m, i, why, sizeof why) && !says_none(x->m, dhc_model_kinds(x->m->m).at[i].letter))
      dhc_warn(&x->s->warn, DHC_WARN_NOTE, "%s: %s", x->name, why);
}

dhc_status sweep_identify(const SweepOpen *x, const dhc_tensor *in, int n_in, DhcArena *a, SweepIdentity *out) {
  int before = x->s->diags.n_errors;
  DhcInputShape *shape = DHC_NEW_N(a, DhcInputShape, n_in + 1);
  for (int i = 0; i < n_in; i++) shape[i] = (DhcInputShape){in[i].name, in[i].rank, in[i].dim};
  const DhcEntryRequest rq = {.name = "loss", .training = true, .inputs = shape, .n_inputs = n_in,
                              .report = dhc_model_recipe(x->m->m)->report};
  DhcFunc *f = dhc_model_entry(x->m->m, &rq);
  if (!f) return session_errors_since(x->s, before);
  out->pattern = dhc_arena_strdup(a, dhc_model_pattern(x->m->m));
  out->order = sweep_pattern_name(a, out->pattern);
  out->mixers = mixers_text(x->m->m, a);
  DhcText sizes = {.arena = a};
  out->length = sequence_length(f, in, n_in, &sizes);
  out->sizes = dhc_text_str(&sizes);
  out->parameters = dhc_model_n_params(x->m);
  atlas_hash_of(x->m, f, a, out->hash);
  note_missing(x);
  return dhc_status_ok();
}
