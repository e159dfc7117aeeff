/* --explain-compiles: of every kernel that is generated, what it is, where it is from, and how it differs from the
 * nearest one that was there. */
#include <limits.h>
#include <stdlib.h>

#include "api/atlas/atlas.h"
#include "ir/spec_diff.h"

enum { STORED = 20000 };

void explain_before(dhc_session *s, int n, bool **made) {
  struct SeenKernels *k = s->seen;
  *made = DHC_NEW_N(&s->arena, bool, n + 1);
  if (k->loaded) return;
  k->loaded = true;
  const char **text = DHC_NEW_N(&k->arena, const char *, STORED);
  int have = dhc_compiler_stored(s->compiler, &k->arena, text, STORED);
  for (int i = 0; i < have; i++) DHC_PUSH(&k->arena, &k->specs, dhc_spec_lines(text[i], &k->arena));
}

static bool int_value(const DhcHyperInfo *h, int64_t *v) {
  char *end;
  if (strcmp(h->type, "int")) return false;
  *v = strtoll(h->value, &end, 10);
  return !*end;
}

/* A width, up to four times a hyperparameter, by a number of heads. */
static bool is_head_size(const DhcHyperInfos *h, int64_t v) {
  int64_t heads, width;
  for (int i = 0; i < h->n; i++) {
    if (!strstr(h->at[i].name, "heads") || !int_value(&h->at[i], &heads) || heads < 1) continue;
    for (int k = 0; k < h->n; k++)
      for (int64_t times = 1; times <= 4; times *= 2)
        if (k != i && int_value(&h->at[k], &width) && width * times == v * heads) return true;
  }
  return false;
}

/* Has the name a word of those that a kind of kernel unrolls? */
bool atlas_may_unroll(const char *kind, const char *name) {
  static const char *const rows[][2] = {
#define KIND(id, text, interp, said, words, ...) {text, words},
#include "ir/kinds.def"
  };
  char word[16];
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
    for (const char *c = rows[i][1]; !strcmp(rows[i][0], kind) && *c; c += strcspn(c, " "), c += strspn(c, " ")) {
      snprintf(word, sizeof word, "%.*s", (int)strcspn(c, " "), c);
      if (strstr(name, word)) return true;
    }
  return false;
}

const char *atlas_number_name(dhc_model *m, const char *kind, int64_t v) {
  const DhcHyperInfos h = dhc_model_hypers(m->m);
  DhcText t = {.arena = &m->s->arena};
  int64_t x;
  for (int i = 0; i < h.n; i++)
    if (atlas_may_unroll(kind, h.at[i].name) && int_value(&h.at[i], &x) && x == v) dhc_text_printf(&t, "%s%s", t.n ? " or " : "", h.at[i].name);
  if (!strcmp(kind, "chain") && is_head_size(&h, v)) dhc_text_puts(&t, "the head size");
  return t.n ? dhc_text_str(&t) : NULL;
}

typedef struct Naming {
  dhc_model *m;
  const char *kind;
} Naming;

static const char *number_name(void *ctx, int64_t before, int64_t now) {
  const Naming *n = ctx;
  (void)before;
  return atlas_number_name(n->m, n->kind, now);
}

static const char *label_of(const Version *v, int kernel) {
  const dhc_plan *p = &v->planned->plan;
  for (int i = 0; i < p->n_items; i++)
    if (p->items[i].kind == DHC_ITEM_CALL && p->items[i].kernel == kernel && p->items[i].label) return p->items[i].label;
  return v->entry;
}

static void explain_kernel(dhc_model *m, const Version *v, int kernel) {
  struct SeenKernels *k = m->s->seen;
  DhcText text = {.arena = &k->arena}, why = {.arena = &k->arena};
  dhc_spec_print(v->planned->specs[kernel], &text);
  const char *spec = dhc_text_str(&text);
  DhcSpecLines lines = dhc_spec_lines(spec, &k->arena);
  Naming naming = {m, dhc_arena_printf(&k->arena, "%.*s", (int)strcspn(spec + 5, " "), spec + 5)};
  int best = -1, least = INT_MAX;
  for (int i = 0; i < k->specs.n; i++) {
    int d = dhc_spec_distance(&k->specs.at[i], &lines);
    if (d < least) least = d, best = i;
  }
  if (best < 0) dhc_text_puts(&why, "the first of its kind");
  else if (least == 0) dhc_text_puts(&why, "for another target, schedule or version");
  else dhc_spec_say_difference(&k->specs.at[best], &lines, true, number_name, &naming, &why);
  dhc_warn(&m->s->warn, DHC_WARN_NOTE, "compiled: %s of %s: %s", naming.kind, label_of(v, kernel), dhc_text_str(&why));
  DHC_PUSH(&k->arena, &k->specs, lines);
}

void explain_after(dhc_model *m, const Version *v, const bool *made) {
  for (int i = 0; i < v->planned->plan.n_kernels; i++)
    if (made[i]) explain_kernel(m, v, i);
}
