/* Which variants there are: every combination of what the axes offer, or some of them. */
#include <stdlib.h>

#include "api/sweep/sweep.h"
#include "runtime/rng.h"

enum { MAX_VARIANTS = 100000, MAX_AXES = 64 };

/* One thing that a variant may have. */
typedef struct Choice {
  const char *label;    /* part of the name; "": none */
  const char *declared; /* "block.name", or NULL */
  const char *set[2];
  int n_sets;
} Choice;
typedef DHC_VEC(Choice) Choices;

typedef struct Axes {
  dhc_sweep *w;
  Choices at[MAX_AXES];
  int n;
} Axes;

/* ---- values of an axis ------------------------------------------------------------------ */

/* Length of the value that `text` begins with: up to a comma that is in no bracket and no string. */
static size_t value_length(const char *text) {
  int depth = 0;
  bool quoted = false;
  size_t n = 0;
  for (; text[n] && (text[n] != ',' || depth > 0 || quoted); n++) {
    if (quoted && text[n] == '\\' && text[n + 1]) n++;
    else if (text[n] == '"') quoted = !quoted;
    else if (!quoted && strchr("([{", text[n])) depth++;
    else if (!quoted && strchr(")]}", text[n])) depth--;
  }
  return n;
}

/* `prefix`: of the keys that are set, but not of the names of variants. */
static dhc_status add_values(Axes *x, const char *option, const char *prefix, const char *text) {
  DhcArena *a = &x->w->arena;
  const char *eq = strchr(text, '=');
  if (!eq || eq == text) return dhc_status_make(DHC_E_USAGE, "--%s: needs KEY=VALUE,VALUE…, got \"%s\"", option, text);
  int key = (int)(eq - text);
  Choices *to = &x->at[x->n++];
  for (const char *at = eq + 1;;) {
    size_t n = value_length(at);
    if (!n) return dhc_status_make(DHC_E_USAGE, "--%s %s: has an empty value", option, text);
    const char *set = dhc_arena_printf(a, "%.*s=%.*s", key, text, (int)n, at);
    for (int i = 0; i < to->n; i++)
      if (!strcmp(to->at[i].label, set)) return dhc_status_make(DHC_E_USAGE, "--%s %s: has %s twice", option, text, set);
    DHC_PUSH(a, to, ((Choice){.label = set, .set = {dhc_arena_printf(a, "%s%s", prefix, set)}, .n_sets = 1}));
    if (!at[n]) break;
    at += n + 1;
  }
  if (to->n == 1) to->at[0].label = ""; /* what all have tells nothing */
  return dhc_status_ok();
}

/* ---- orders ------------------------------------------------------------------------------- */

static bool is_set(const dhc_sweep_options *o, const char *key) {
  size_t n = strlen(key);
  for (int i = 0; i < o->model.n_sets; i++)
    if (!strncmp(o->model.sets[i], key, n) && o->model.sets[i][n] == '=') return true;
  for (int i = 0; i < o->n_axes; i++)
    if (!strncmp(o->axes[i], key, n) && o->axes[i][n] == '=') return true;
  return false;
}

static dhc_status add_placements(Axes *x, const char *text) {
  DhcArena *a = &x->w->arena;
  SweepLetters l;
  if (!sweep_letters_parse(text, &l))
    return dhc_status_make(DHC_E_USAGE, "--placements: needs letters with how many of each, \"M6A2\", got \"%s\"", text);
  if (is_set(&x->w->o, "pattern")) return dhc_status_make(DHC_E_USAGE, "--placements and --set pattern exclude each other");
  if (sweep_letters_orders(&l) > (double)MAX_VARIANTS)
    return dhc_status_make(DHC_E_USAGE, "--placements %s: %.0f orders; a sweep has at most %d variants", text, sweep_letters_orders(&l),
                           MAX_VARIANTS);
  SweepTexts all = {0};
  sweep_letters_list(a, &l, &all);
  Choices *to = &x->at[x->n++];
  bool depth = is_set(&x->w->o, "num_layers");
  for (int i = 0; i < all.n; i++) {
    Choice c = {.label = sweep_pattern_name(a, all.at[i]), .set = {dhc_arena_printf(a, "pattern=%s", all.at[i])}, .n_sets = 1};
    if (!depth) c.set[c.n_sets++] = dhc_arena_printf(a, "num_layers=%d", l.total);
    DHC_PUSH(a, to, c);
  }
  return dhc_status_ok();
}

/* ---- what the model file declares ------------------------------------------------------------ */

static const char *target_of(DhcElab *e, const char *root) {
  DhcDeclNames models = dhc_elab_list(e, DHC_LIST_MODELS, NULL);
  return root ? root : models.n ? models.at[models.n - 1].name : "";
}

static bool is_wanted(const DhcDeclName *d, const char *word) {
  size_t n = strlen(d->group);
  return !strcmp(d->group, word) || (!strncmp(d->group, word, n) && word[n] == '.' && !strcmp(word + n + 1, d->name));
}

static dhc_status add_word(Axes *x, const DhcDeclNames *all, const char *target, const char *word, Choices *to) {
  DhcArena *a = &x->w->arena;
  int before = to->n;
  for (int i = 0; i < all->n; i++) {
    if (!is_wanted(&all->at[i], word)) continue;
    const char *declared = dhc_arena_printf(a, "%s.%s", all->at[i].group, all->at[i].name);
    DHC_PUSH(a, to, ((Choice){.label = declared, .declared = declared}));
  }
  if (to->n > before) return dhc_status_ok();
  const char **names = DHC_NEW_N(a, const char *, all->n + 1);
  for (int i = 0; i < all->n; i++) names[i] = all->at[i].group;
  const char *near = dhc_suggest(word, names, all->n);
  if (!all->n) return dhc_status_make(DHC_E_INPUT, "--variants: %s: the file declares no variants for %s", x->w->o.model.name, target);
  return dhc_status_make(DHC_E_INPUT, "--variants: %s: %s has no variants '%s'%s%s%s", x->w->o.model.name, target, word,
                         near ? " (did you mean '" : "", near ? near : "", near ? "'?)" : "");
}

static DhcElab *read_file(dhc_sweep *w, DhcDiags *diags) {
  dhc_session *s = w->s;
  DhcElabConfig config = {.shipped_roots = s->roots, .n_shipped_roots = s->n_roots, .parsed = &s->parsed, .grad = dhc_grad_unit, .max_memory_bytes = s->budget.limit};
  return dhc_elab_open(&s->arena, &s->strings, diags, &config, w->o.model.name);
}

/* All variants share the trees of the sweep's session. What is wrong with them the first variant says. */
static void parse_once(dhc_sweep *w) {
  DhcDiags quiet = {.arena = &w->arena, .sources = &w->s->sources};
  (void)read_file(w, &quiet);
}

static dhc_status add_declared(Axes *x, const char *words) {
  dhc_session *s = x->w->s;
  int before = s->diags.n_errors;
  DhcElab *e = read_file(x->w, &s->diags);
  if (!e) return session_errors_since(s, before);
  const char *target = target_of(e, x->w->o.model.root);
  DhcDeclNames all = dhc_elab_list(e, DHC_LIST_VARIANTS, target);
  Choices *to = &x->at[x->n++];
  for (const char *at = words;;) {
    size_t n = strcspn(at, ",");
    DHC_TRY(add_word(x, &all, target, dhc_arena_strndup(&x->w->arena, at, n), to));
    if (!at[n]) return dhc_status_ok();
    at += n + 1;
  }
}

/* ---- combinations --------------------------------------------------------------------------------- */

static void add_variant(Axes *x, int64_t number) {
  dhc_sweep *w = x->w;
  const Choice *pick[MAX_AXES];
  for (int i = x->n - 1; i >= 0; i--) {
    pick[i] = &x->at[i].at[number % x->at[i].n];
    number /= x->at[i].n;
  }
  SweepVariant v = {.sets = DHC_NEW_N(&w->arena, const char *, w->o.model.n_sets + 2 * x->n + 1)};
  DhcText name = {.arena = &w->arena};
  for (int i = 0; i < w->o.model.n_sets; i++) v.sets[v.n_sets++] = w->o.model.sets[i];
  for (int i = 0; i < x->n; i++) {
    if (*pick[i]->label) dhc_text_printf(&name, "%s%s", name.n ? "," : "", pick[i]->label);
    if (pick[i]->declared) v.declared = pick[i]->declared;
    for (int k = 0; k < pick[i]->n_sets; k++) v.sets[v.n_sets++] = pick[i]->set[k];
  }
  v.name = name.n ? dhc_text_str(&name) : "base";
  DHC_PUSH(&w->arena, &w->variants, v);
}

static int by_number(const void *a, const void *b) {
  int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
  return (x > y) - (x < y);
}

/* `n` different ones of `all`, each set of them equally likely (Floyd), in rising order. */
static void add_some(Axes *x, int64_t all, int64_t n) {
  int64_t *drawn = DHC_NEW_N(&x->w->arena, int64_t, n);
  for (int64_t i = 0; i < n; i++) {
    int64_t top = all - n + i, v = (int64_t)dhc_rng_below((uint32_t)x->w->o.seed, 0x73776565, (uint64_t)i, 0, (uint64_t)top + 1);
    bool seen = false;
    for (int64_t k = 0; k < i; k++) seen = seen || drawn[k] == v;
    drawn[i] = seen ? top : v;
  }
  qsort(drawn, (size_t)n, sizeof *drawn, by_number);
  for (int64_t i = 0; i < n; i++) add_variant(x, drawn[i]);
}

static dhc_status combine(Axes *x) {
  const int64_t random = x->w->o.random;
  int64_t all = 1;
  for (int i = 0; i < x->n; i++)
    if (!dhc_size_mul(all, x->at[i].n, &all)) return dhc_status_make(DHC_E_USAGE, "more combinations than can be counted");
  int64_t n = random && random < all ? random : all;
  if (n > MAX_VARIANTS)
    return dhc_status_make(DHC_E_USAGE, "%lld combinations; a sweep has at most %d variants (--random N takes some)", (long long)all,
                           MAX_VARIANTS);
  if (n < all) add_some(x, all, n);
  else
    for (int64_t i = 0; i < n; i++) add_variant(x, i);
  return dhc_status_ok();
}

static dhc_status list_variants(dhc_sweep *w) {
  const dhc_sweep_options *o = &w->o;
  Axes *x = DHC_NEW(&w->arena, Axes);
  x->w = w;
  if (o->n_axes + o->n_opts + 2 > MAX_AXES) return dhc_status_make(DHC_E_USAGE, "a sweep has at most %d axes", MAX_AXES - 2);
  if (o->variants) DHC_TRY(add_declared(x, o->variants));
  if (o->placements) DHC_TRY(add_placements(x, o->placements));
  for (int i = 0; i < o->n_axes; i++) DHC_TRY(add_values(x, "set", "", o->axes[i]));
  for (int i = 0; i < o->n_opts; i++) {
    char key[64];
    size_t n = strcspn(o->opts[i], "=");
    snprintf(key, sizeof key, "%.*s", (int)n, o->opts[i]);
    /* what is no setting of recipes is an argument of the optimiser, which says whether it has one */
    DHC_TRY(add_values(x, "opt", n >= sizeof key || dhc_recipe_has_key(key) ? "" : "optimizer.", o->opts[i]));
  }
  if (!x->n && !o->hold) return dhc_status_make(DHC_E_USAGE, "nothing to vary: give --set KEY=A,B, --opt KEY=A,B, --variants NAME or --placements M6A2");
  return combine(x);
}

dhc_status api_sweep_open(dhc_session *s, const dhc_sweep_options *o, dhc_sweep **out) {
  NEED_OUT(out);
  NEED(s);
  NEED(o);
  NEED(o->model.name);
  if (o->n_axes > 0) NEED(o->axes);
  if (o->n_opts > 0) NEED(o->opts);
  if (o->model.n_sets > 0) NEED(o->model.sets);
  for (int i = 0; i < o->n_axes; i++) NEED(o->axes[i]);
  for (int i = 0; i < o->n_opts; i++) NEED(o->opts[i]);
  for (int i = 0; i < o->model.n_sets; i++) NEED(o->model.sets[i]);
  if (o->random < 0) return dhc_status_make(DHC_E_USAGE, "--random: needs a number of variants, got %lld", (long long)o->random);
  dhc_sweep *w = calloc(1, sizeof *w);
  if (!w) return dhc_status_memory((long long)sizeof *w, "a sweep");
  w->s = s;
  w->o = *o;
  dhc_arena_init(&w->arena);
  DhcHeld held;
  dhc_hold(&held, free, w);
  dhc_status st = list_variants(w);
  if (st.code == DHC_OK) parse_once(w);
  if (st.code == DHC_OK) st = sweep_solve(w);
  dhc_release(&held);
  if (st.code == DHC_OK) *out = w;
  else dhc_sweep_close(w);
  return st;
}

void dhc_sweep_close(dhc_sweep *w) {
  if (!w) return;
  dhc_arena_fini(&w->arena);
  free(w);
}

int dhc_sweep_count(const dhc_sweep *w) {
  return w ? w->variants.n : 0;
}

const char *dhc_sweep_name(const dhc_sweep *w, int i) {
  return w && i >= 0 && i < w->variants.n ? w->variants.at[i].name : NULL;
}
