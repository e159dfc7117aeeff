/* Which kernels two variants share, and why they do not share the others. */
#include <limits.h>
#include <stdlib.h>

#include "api/atlas/atlas.h"
#include "api/json.h"
#include "ir/spec_diff.h"

/* ---- variants ------------------------------------------------------------------------------------------------ */

/* "key=value,..." are settings; a name is a preset or a declared variant; "." is the model as it is asked for. */
static dhc_status open_variant(dhc_session *s, const dhc_model_options *base, const char *text, DhcArena *a, dhc_model **out) {
  dhc_model_options o = *base;
  if (!strchr(text, '=')) {
    dhc_model *plain;
    DHC_TRY(dhc_model_open(s, base, &plain));
    bool preset = false;
    const DhcDeclNames names = dhc_elab_list(plain->elab, DHC_LIST_PRESETS, NULL);
    for (int i = 0; i < names.n; i++) preset = preset || !strcmp(names.at[i].name, text);
    dhc_model_close(plain);
    if (preset) o.preset = text;
    else if (strcmp(text, ".")) o.variant = text;
    return dhc_model_open(s, &o, out);
  }
  const char **sets = DHC_NEW_N(a, const char *, base->n_sets + (int)strlen(text) + 1);
  int n = 0;
  for (; n < base->n_sets; n++) sets[n] = base->sets[n];
  for (const char *at = text; *at;) {
    int length = (int)strcspn(at, ",");
    sets[n++] = dhc_arena_printf(a, "%.*s", length, at);
    at += length + (at[length] == ',');
  }
  o.sets = sets;
  o.n_sets = n;
  return dhc_model_open(s, &o, out);
}

/* ---- their kernels ----------------------------------------------------------------------------------------------- */

typedef struct Kernel {
  const char *text, *kind, *layer, *plan;
  DhcSpecLines lines;
} Kernel;

typedef struct Kernels {
  dhc_model *m;
  DHC_VEC(Kernel) at;
} Kernels;

static const char *layer_of(const DhcPlanned *p, int kernel) {
  for (int i = 0; i < p->plan.n_items; i++)
    if (p->plan.items[i].kind == DHC_ITEM_CALL && p->plan.items[i].kernel == kernel && p->plan.items[i].label) return p->plan.items[i].label;
  return "";
}

static int find(const Kernels *k, const char *text) {
  for (int i = 0; i < k->at.n; i++)
    if (!strcmp(k->at.at[i].text, text)) return i;
  return -1;
}

static void add_kernels(Kernels *k, const DhcPlanned *p, const char *plan, DhcArena *a) {
  for (int i = 0; i < p->plan.n_kernels; i++) {
    DhcText t = {.arena = a};
    dhc_spec_print(p->specs[i], &t);
    Kernel x = {.text = dhc_text_str(&t), .layer = dhc_arena_printf(a, "%s", layer_of(p, i)), .plan = plan};
    if (find(k, x.text) >= 0) continue;
    x.kind = dhc_arena_printf(a, "%.*s", (int)strcspn(x.text + 5, " "), x.text + 5);
    x.lines = dhc_spec_lines(x.text, a);
    DHC_PUSH(a, &k->at, x);
  }
}

static dhc_status version_of(dhc_model *m, const char *entry, dhc_mode mode, Version **out) {
  *out = pipeline_graph(m, entry, mode, NULL, 0);
  if (!*out) return session_errors(m->s);
  return pipeline_fuse(m, *out);
}

static dhc_status kernels_of(dhc_model *m, const char *entry, Kernels *k, DhcArena *a) {
  Version *v;
  k->m = m;
  DHC_TRY(version_of(m, entry, DHC_MODE_RUN, &v));
  add_kernels(k, v->planned, entry, a);
  const char *trained = atlas_trained_entry(m);
  if (!trained) return dhc_status_ok();
  DHC_TRY(version_of(m, trained, DHC_MODE_TRAIN, &v));
  add_kernels(k, v->planned, "train", a);
  return dhc_status_ok();
}

/* ---- why ---------------------------------------------------------------------------------------------------------- */

typedef struct Names {
  const dhc_model *a, *b;
  const char *kind; /* of the kernel whose numbers are asked about */
  DhcArena *arena;
} Names;

static bool int_hyper(const DhcHyperInfos *h, const char *name, int64_t *v) {
  for (int i = 0; i < h->n; i++) {
    char *end;
    if (strcmp(h->at[i].name, name) || strcmp(h->at[i].type, "int")) continue;
    *v = strtoll(h->at[i].value, &end, 10);
    return !*end;
  }
  return false;
}

/* Hyperparameters that have these values in a and b: those that the kind unrolls, else all. */
static const char *hyper_name(const Names *n, const DhcHyperInfos *a, const DhcHyperInfos *b, int64_t x, int64_t y) {
  for (int any = 0; any < 2; any++) {
    DhcText all = {.arena = n->arena};
    int64_t u, v;
    for (int i = 0; i < a->n; i++)
      if ((any || atlas_may_unroll(n->kind, a->at[i].name)) && int_hyper(a, a->at[i].name, &u) && int_hyper(b, a->at[i].name, &v) && u == x && v == y)
        dhc_text_printf(&all, "%s%s", all.n ? " or " : "", a->at[i].name);
    if (all.n) return dhc_text_str(&all);
  }
  return NULL;
}

/* A chain unrolls the size of a head: a width by the number of heads. */
static const char *extent_name(void *ctx, int64_t x, int64_t y) {
  const Names *n = ctx;
  const DhcHyperInfos a = dhc_model_hypers(n->a->m), b = dhc_model_hypers(n->b->m);
  int64_t u, v, p, q;
  if (strcmp(n->kind, "chain")) return hyper_name(n, &a, &b, x, y);
  for (int64_t times = 1; times <= 8; times *= 2)
    for (int i = 0; i < a.n; i++)
      for (int k = 0; k < a.n; k++) {
        if (i == k || !strstr(a.at[k].name, "heads") || !int_hyper(&a, a.at[i].name, &u) || !int_hyper(&b, a.at[i].name, &v) ||
            !int_hyper(&a, a.at[k].name, &p) || !int_hyper(&b, a.at[k].name, &q) || p < 1 || q < 1 || u * times != x * p || v * times != y * q)
          continue;
        if (times == 1) return dhc_arena_printf(n->arena, "the head size, %s / %s,", a.at[i].name, a.at[k].name);
        return dhc_arena_printf(n->arena, "the head size, %lld %s / %s,", (long long)times, a.at[i].name, a.at[k].name);
      }
  return hyper_name(n, &a, &b, x, y);
}

static int nearest(const Kernels *among, const Kernel *k) {
  int best = -1, least = INT_MAX;
  for (int i = 0; i < among->at.n; i++) {
    int d = dhc_spec_distance(&among->at.at[i].lines, &k->lines);
    if (d < least) least = d, best = i;
  }
  return best;
}

/* Of kernel k, which `other` lacks; a's value stands first. */
static const char *why(const Kernels *a, const Kernels *b, const Kernels *other, const Kernel *k, int near, DhcArena *arena) {
  Names names = {a->m, b->m, k->kind, arena};
  DhcText t = {.arena = arena};
  if (near < 0) return dhc_arena_printf(arena, "the other has no %s kernel", k->kind);
  const Kernel *x = &other->at.at[near];
  if (other == a) dhc_spec_say_difference(&x->lines, &k->lines, true, extent_name, &names, &t);
  else dhc_spec_say_difference(&k->lines, &x->lines, false, extent_name, &names, &t);
  return dhc_text_str(&t);
}

static const char *field(const cJSON *row, const char *name) {
  const char *text = cJSON_GetStringValue(cJSON_GetObjectItem(row, name));
  return text ? text : "";
}

/* A row of a's says the same of the kernel that b has in its place: it is of both then, "each". */
static bool is_counterpart(cJSON *rows, const Kernel *k, const char *reason) {
  cJSON *row;
  cJSON_ArrayForEach(row, rows) {
    cJSON *only = cJSON_GetObjectItem(row, "only");
    if (!only || strcmp(field(row, "only"), "a") || strcmp(field(row, "kind"), k->kind) || strcmp(field(row, "layer"), k->layer) ||
        strcmp(field(row, "plan"), k->plan) || strcmp(field(row, "why"), reason))
      continue;
    return cJSON_SetValuestring(only, "each") != NULL;
  }
  return false;
}

static int add_rows(const Kernels *a, const Kernels *b, const Kernels *of, const Kernels *other, const char *side, JsonDoc *doc, cJSON *rows,
                    DhcArena *arena) {
  int shared = 0;
  for (int i = 0; i < of->at.n; i++) {
    const Kernel *k = &of->at.at[i];
    if (find(other, k->text) >= 0) {
      shared++;
      continue;
    }
    int near = nearest(other, k);
    const char *reason = why(a, b, other, k, near, arena);
    if (*side == 'b' && is_counterpart(rows, k, reason)) continue;
    cJSON *row = json_object(doc, rows, NULL);
    json_text(doc, row, "only", side);
    json_text(doc, row, "kind", k->kind);
    json_text(doc, row, "layer", k->layer);
    json_text(doc, row, "plan", k->plan);
    json_text(doc, row, "nearest", near < 0 ? "" : other->at.at[near].layer);
    json_text(doc, row, "why", reason);
  }
  return shared;
}

static void add_variant(JsonDoc *doc, const char *name, const char *text, const Kernels *k) {
  cJSON *o = json_object(doc, doc->root, name);
  json_text(doc, o, "variant", text);
  DhcArena a;
  char hash[17];
  dhc_arena_init(&a);
  atlas_variant_hash(k->m, NULL, &a, hash);
  json_text(doc, o, "hash", hash);
  dhc_arena_fini(&a);
  json_number(doc, o, "kernels", k->at.n);
}

/* Two variants, open. */
typedef struct Pair {
  dhc_model *a, *b;
} Pair;

static void close_pair(void *what) {
  Pair *p = what;
  dhc_model_close(p->a);
  dhc_model_close(p->b);
}

static dhc_status open_pair(dhc_session *s, const dhc_model_options *base, const char *a, const char *b, DhcArena *arena, Pair *p) {
  if (session_whole(s)) return dhc_status_make(DHC_E_USAGE, "--backend %s: it has no kernels to compare", s->backend);
  DHC_TRY(open_variant(s, base, a, arena, &p->a));
  return open_variant(s, base, b, arena, &p->b);
}

static dhc_status kernels_diff(const Pair *p, const char *entry, const char *text_a, const char *text_b, DhcArena *arena, char **out) {
  Kernels a = {0}, b = {0};
  JsonDoc doc;
  DHC_TRY(kernels_of(p->a, entry, &a, arena));
  DHC_TRY(kernels_of(p->b, entry, &b, arena));
  json_begin(&doc);
  add_variant(&doc, "a", text_a, &a);
  add_variant(&doc, "b", text_b, &b);
  cJSON *rows = json_array(&doc, doc.root, "differ");
  int shared = add_rows(&a, &b, &a, &b, "a", &doc, rows, arena);
  add_rows(&a, &b, &b, &a, "b", &doc, rows, arena);
  json_number(&doc, doc.root, "shared", shared);
  return json_end(&doc, dhc_status_ok(), false, out);
}

dhc_status api_kernels_diff(dhc_session *s, const dhc_model_options *base, const char *a, const char *b, const char *entry, char **out) {
  NEED_OUT(out);
  NEED(s);
  NEED(base);
  NEED(a);
  NEED(b);
  Pair p = {0};
  DhcArena arena;
  DhcHeld held;
  dhc_arena_init(&arena);
  dhc_hold(&held, close_pair, &p);
  dhc_status st = open_pair(s, base, a, b, &arena, &p);
  if (st.code == DHC_OK) st = kernels_diff(&p, entry ? entry : "forward", a, b, &arena, out);
  dhc_release(&held);
  close_pair(&p);
  dhc_arena_fini(&arena);
  return st;
}

/* ---- plans -------------------------------------------------------------------------------------------------------- */

/* A plan's items as lines that say nothing of numbers: kernels by what they are in both plans together. */
typedef struct PlanLines {
  const char **line;
  uint64_t *hash;
  int n;
} PlanLines;

static PlanLines plan_lines(const DhcPlanned *p, const Kernels *all, DhcArena *a) {
  PlanLines l = {DHC_NEW_N(a, const char *, p->plan.n_items + 1), DHC_NEW_N(a, uint64_t, p->plan.n_items + 1), 0};
  static const char *const moves[] = {[DHC_ITEM_COPY] = "copy", [DHC_ITEM_FILL] = "fill", [DHC_ITEM_LOOP] = "loop", [DHC_ITEM_RANKS] = "ranks", [DHC_ITEM_JOIN] = "join"};
  for (int i = 0; i < p->plan.n_items; i++) {
    const dhc_item *it = &p->plan.items[i];
    DhcText t = {.arena = a}, spec = {.arena = a};
    if (it->kind == DHC_ITEM_CALL) {
      dhc_spec_print(p->specs[it->kernel], &spec);
      int k = find(all, dhc_text_str(&spec));
      dhc_text_printf(&t, "call k%d %s", k, all->at.at[k].kind);
    } else {
      dhc_text_puts(&t, moves[it->kind]);
    }
    if (it->label) dhc_text_printf(&t, "  # %s", it->label);
    l.line[l.n] = dhc_text_str(&t);
    l.hash[l.n] = 14695981039346656037u;
    for (const char *c = l.line[l.n]; *c; c++) l.hash[l.n] = (l.hash[l.n] ^ (uint8_t)*c) * 1099511628211u;
    l.n++;
  }
  return l;
}

static void print_lines(const PlanLines *a, const PlanLines *b, DhcText *t, DhcArena *arena) {
  int *keep = DHC_NEW_N(arena, int, a->n + 1), j = 0, same = 0;
  dhc_lines_align(a->hash, a->n, b->hash, b->n, keep, arena);
  for (int i = 0; i <= a->n; i++) {
    int until = i == a->n ? b->n : keep[i];
    bool gap = i < a->n && keep[i] < 0;
    if (same && (gap || (until >= 0 && j < until) || i == a->n)) dhc_text_printf(t, "  %d item%s alike\n", same, same == 1 ? "" : "s"), same = 0;
    if (gap) {
      dhc_text_printf(t, "- %s\n", a->line[i]);
      continue;
    }
    for (; j < until; j++) dhc_text_printf(t, "+ %s\n", b->line[j]);
    if (i < a->n) same++, j++;
  }
}

static void print_kernels(const Kernels *a, const Kernels *b, const Kernels *all, DhcText *t, DhcArena *arena) {
  for (int i = 0; i < all->at.n; i++) {
    const Kernel *k = &all->at.at[i];
    int in_a = find(a, k->text), in_b = find(b, k->text);
    if (in_a >= 0 && in_b >= 0) continue;
    const Kernels *other = in_a >= 0 ? b : a;
    dhc_text_printf(t, "%c k%d %s of %s: %s\n", in_a >= 0 ? '-' : '+', i, k->kind, *k->layer ? k->layer : "the entry",
                    why(a, b, other, k, nearest(other, k), arena));
  }
}

static dhc_status plans_diff(const Pair *p, const char *entry, dhc_mode mode, const char *text_a, const char *text_b, DhcArena *arena, DhcText *t) {
  Version *x, *y;
  Kernels a = {.m = p->a}, b = {.m = p->b}, all = {0};
  DHC_TRY(version_of(p->a, entry, mode, &x));
  DHC_TRY(version_of(p->b, entry, mode, &y));
  add_kernels(&a, x->planned, entry, arena);
  add_kernels(&b, y->planned, entry, arena);
  add_kernels(&all, x->planned, entry, arena);
  add_kernels(&all, y->planned, entry, arena);
  const PlanLines lines_a = plan_lines(x->planned, &all, arena), lines_b = plan_lines(y->planned, &all, arena);
  dhc_text_printf(t, "plan @%s: %s / %s\nkernels %d / %d, in both %d\n", entry, text_a, text_b, a.at.n, b.at.n, a.at.n + b.at.n - all.at.n);
  print_kernels(&a, &b, &all, t, arena);
  dhc_text_printf(t, "items %d / %d\n", lines_a.n, lines_b.n);
  print_lines(&lines_a, &lines_b, t, arena);
  return dhc_status_ok();
}

dhc_status api_plans_diff(dhc_session *s, const dhc_model_options *base, const char *a, const char *b, const char *entry, const char *stage,
                          char **out) {
  NEED_OUT(out);
  NEED(s);
  NEED(base);
  NEED(a);
  NEED(b);
  NEED(stage);
  dhc_mode mode = !strncmp(stage, "train", 5) ? DHC_MODE_TRAIN : !strncmp(stage, "grad", 4) ? DHC_MODE_GRAD : DHC_MODE_RUN;
  const char *plain = mode == DHC_MODE_RUN ? stage : strchr(stage, '.') ? strchr(stage, '.') + 1 : "";
  if (strcmp(plain, "plan")) return dhc_status_make(DHC_E_USAGE, "--diff: needs --stage=plan, grad.plan or train.plan, got \"%s\"", stage);
  Pair p = {0};
  DhcArena arena;
  DhcHeld held;
  dhc_arena_init(&arena);
  dhc_hold(&held, close_pair, &p);
  DhcText t = {.arena = &arena};
  dhc_status st = open_pair(s, base, a, b, &arena, &p);
  if (st.code == DHC_OK) st = plans_diff(&p, entry ? entry : mode == DHC_MODE_RUN ? "forward" : "loss", mode, a, b, &arena, &t);
  if (st.code == DHC_OK && !(*out = strdup(dhc_text_str(&t)))) st = dhc_status_memory(t.n, "a text");
  dhc_release(&held);
  close_pair(&p);
  dhc_arena_fini(&arena);
  return st;
}
