/* A limit reaches every change of every pass. For shipped models and layers, as elaborated and as derived:
 *
 *  - with nothing allowed a pass that may be switched off leaves the text of the module as it is; "lower" does all it
 *    does, and says so; "fuse" gives every op a kernel and joins none;
 *  - with N allowed it makes at most N changes, and with all that it makes, what it makes without a limit; so nothing is
 *    changed that was not counted, before or behind the last change;
 *  - every change but fusion's, which are leave to join, changes the text;
 *  - the pipeline counts from its first change on, what is done before differentiation included; whatever it is
 *    allowed behind that, results keep every bit.
 *
 *   test_pass_limit MODELS_FOLDER GOLDEN_FOLDER */
#include <stdlib.h>

#include "ir/spec.h"
#include "passes/pipeline.h"
#include "tests/plan/plan_models.h"

typedef struct Subject {
  const char *model, *layer, *entry, *mode;
  DhcSetting set[8];
} Subject;

#define JAMBA {"hidden_dim", "4"}, {"num_layers", "4"}, {"mamba_ratio", "1"}, {"num_heads", "2"}, {"num_experts", "3"}
static const Subject subjects[] = {
    {"dhc_ssm", NULL, "loss", "raw", {{"hidden_dim", "8"}}},
    {"dhc_ssm", NULL, "loss", "train", {{"hidden_dim", "8"}}},
    {"dhc_jamba", NULL, "loss", "raw", {JAMBA}},
    {"dhc_jamba", NULL, "forward", "fwd", {JAMBA}},
    {"dhc_jamba", NULL, "loss", "grad", {JAMBA}},
    {"lstm", "LSTM", "forward", "raw", {{"d_in", "5"}, {"d", "6"}}},
    {"layers/mamba", "Mamba", "forward", "raw", {{"d_model", "8"}, {"d_state", "4"}}},
    {"layers/mamba", "Mamba", "forward", "back", {{"d_model", "8"}, {"d_state", "4"}}},
    {"layers/attention", "MultiHeadAttention", "forward", "grad", {{"d_model", "8"}, {"num_heads", "2"}, {"causal", "true"}}},
    {"layers/ffn", "SwiGLU", "forward", "fwd", {{"d_model", "8"}}},
    {"opt/hoist/fires_dot.gir", NULL, "f", "raw", {{0}}}, /* golden files, of what no shipped model has */
    {"opt/inline/fires_nested.gir", NULL, "f", "raw", {{0}}},
    {"layers/moe", "MoE", "forward", "raw", {{"d_model", "8"}, {"num_experts", "3"}}},
};
enum { N_SUBJECTS = sizeof subjects / sizeof *subjects };

static const char *root, *golden;
static int bad, checks;

static bool is_text(const Subject *s) { return strstr(s->model, ".gir") != NULL; }

static bool parse(const Subject *s, Made *x) {
  char path[400], text[8000];
  memset(x, 0, sizeof *x);
  dhc_arena_init(&x->arena);
  x->strings.arena = x->sources.arena = x->diags.arena = &x->arena;
  x->diags.sources = &x->sources;
  snprintf(path, sizeof path, "%s/%s", golden, s->model);
  FILE *file = fopen(path, "r");
  size_t n = file ? fread(text, 1, sizeof text, file) : 0;
  if (file) fclose(file);
  x->m = dhc_module_parse(&x->arena, &x->strings, &x->diags, dhc_sources_add(&x->sources, path, path, text, n));
  return n && x->m;
}

static bool make(const Subject *s, Made *x) {
  int n = 0;
  if (is_text(s)) return parse(s, x);
  while (s->set[n].key) n++;
  bool ok = dhc_test_layer(x, root, s->model, s->layer, s->entry, s->mode, s->set, n);
  if (!ok) dhc_diags_print(&x->diags, stdout, false);
  return ok;
}

static void expect(bool ok, const Subject *s, const char *pass, const char *what, int64_t limit) {
  checks++;
  if (ok) return;
  printf("FAILED: %s %s (%s), %s with limit %d: %s\n", s->model, s->layer ? s->layer : s->entry, s->mode, pass, (int)limit, what);
  bad++;
}

static char *text_of(DhcModule *m) {
  DhcArena arena;
  dhc_arena_init(&arena);
  DhcText text = {.arena = &arena};
  dhc_module_print(m, &text);
  char *t = strdup(dhc_text_str(&text));
  if (!t) abort();
  dhc_arena_fini(&arena);
  return t;
}

/* ---- one pass ------------------------------------------------------------------------------- */

/* What a module looks like behind a pass. */
typedef struct After {
  char *text;
  int64_t counted; /* changes that leave was asked for */
  int ops, kernels; /* that compute */
  int whole; /* of these, those of derivatives of recurrences, which one change may make one kernel */
} After;

static bool computes(const DhcNode *n) {
  DhcOpClass cls = dhc_op_info(n->op)->cls;
  return cls == DHC_CLASS_ELEMENTWISE || dhc_op_folds(n->op) || n->op == DHC_OP_DOT_GENERAL || n->op == DHC_OP_RAGGED_DOT ||
         n->op == DHC_OP_CONV || n->op == DHC_OP_LINEAR_SCAN;
}

static void count(const DhcModule *m, After *a) {
  for (int i = 0; i < m->funcs.n; i++) {
    const DhcFunc *f = m->funcs.at[i];
    if (f->kind == DHC_FUNC_INIT) continue;
    for (const DhcNode *n = f->first; n; n = n->next) {
      a->ops += computes(n);
      a->kernels += n->op == DHC_OP_KERNEL;
      a->whole += f->kernel && computes(n);
    }
  }
}

/* `before` without a limit, then `pass` with one. */
static bool run(const Subject *s, const char *before, const char *pass, int64_t limit, After *out) {
  Made x;
  DhcArena scratch;
  DhcPassCtx px;
  *out = (After){0};
  dhc_arena_init(&scratch);
  bool ok = make(s, &x);
  if (ok) {
    dhc_pass_ctx_init(&px, x.m, &scratch);
    px.panel_width = 64, px.panel_width_pair = 32;
    ok = dhc_passes_run(x.m, &px, before);
    px.all_changes = 0;
    px.limit = limit;
    ok = ok && (!pass || dhc_passes_run(x.m, &px, pass));
    out->counted = px.all_changes;
  }
  if (ok) {
    out->text = text_of(x.m);
    count(x.m, out);
  }
  expect(ok, s, pass ? pass : before, "it failed", limit);
  dhc_arena_fini(&scratch);
  dhc_arena_fini(&x.arena);
  return ok;
}

static bool equal(const After *a, const After *b) { return !strcmp(a->text, b->text); }

static void check_limit(const Subject *s, const char *before, const char *pass, int64_t limit, const After *none, const After *all) {
  After x, less;
  const bool fuses = !strcmp(pass, "fuse");
  if (!run(s, before, pass, limit, &x)) return;
  expect(x.counted <= limit && (x.counted == limit || equal(&x, all)), s, pass, "more changes than allowed, or some refused", limit);
  if (limit == 0 && !fuses) expect(equal(&x, none), s, pass, "something changed", limit);
  if (limit == all->counted) expect(equal(&x, all), s, pass, "not what it makes without a limit", limit);
  if (fuses) expect(x.kernels >= none->ops - limit - (limit ? none->whole : 0), s, pass, "more ops share kernels than changes were allowed", limit);
  if (limit > 0 && !fuses && run(s, before, pass, limit - 1, &less)) {
    expect(!equal(&x, &less), s, pass, "a change that changed nothing", limit);
    free(less.text);
  }
  free(x.text);
}

/* Which of no change, half of them, all and one are tried as limits: what sanitizers see is the same in each. */
#ifdef __SANITIZE_ADDRESS__
enum { FIRST_PART = 1, LAST_PART = 1 };
#else
enum { FIRST_PART = 0, LAST_PART = 3 };
#endif

static int64_t check_pass(const Subject *s, const char *before, const char *pass) {
  After none, all;
  if (!run(s, before, NULL, -1, &none) || !run(s, before, pass, -1, &all)) return 0;
  const bool lowers = !strcmp(pass, "lower");
  expect(lowers || !strcmp(pass, "fuse") || (equal(&none, &all) == !all.counted), s, pass, "what it changed was not counted", -1);
  expect(dhc_pass_info(pass)->optional || all.counted == 0 || !lowers, s, pass, "it asks leave for what it must do", -1);
  int64_t last = -1;
  for (int part = FIRST_PART; part <= LAST_PART && !lowers; part++) {
    int64_t limit = part < 3 ? all.counted * part / 2 : 1;
    if (limit > all.counted || limit == last) continue;
    check_limit(s, before, pass, last = limit, &none, &all);
  }
  int64_t n = all.counted;
  free(none.text);
  free(all.text);
  return n;
}

/* Every pass of the table, in its order: of a model as it was parsed those before `lower`, of what was made ready
 * for kernels those from there on. Derivatives are no change that a limit counts. */
static void check_passes(const Subject *s, int64_t *by) {
  const bool raw = !strcmp(s->mode, "raw");
  char before[200] = "";
  bool late = false;
  for (int p = 0; p < dhc_pass_count(); p++) {
    const char *name = dhc_pass_at(p)->name;
    late |= !strcmp(name, "lower");
    if (raw == late || !strcmp(name, "grad")) continue;
    by[p] += check_pass(s, before, name);
    if (!strcmp(name, "chunk")) continue; /* else nothing is left for recur */
    size_t at = strlen(before);
    snprintf(before + at, sizeof before - at, "%s%s", at ? "," : "", name);
  }
}

/* ---- the pipeline ------------------------------------------------------------------------------- */

typedef struct Way {
  Made x;
  DhcPipeline p;
} Way;

static bool go(const Subject *s, int64_t limit, DhcPipelineStage until, Way *w) {
  DhcPipelineRequest rq = {.limit = limit, .derive = DHC_DERIVE_GRADIENT};
  bool ok = make(s, &w->x);
  rq.module = w->x.m;
  rq.entry = w->x.f;
  w->p = (DhcPipeline){0};
  if (ok) w->p = dhc_pipeline_begin(&rq);
  w->p.panel_width = 64, w->p.panel_width_pair = 32;
  ok = ok && dhc_pipeline_run(&w->p, until);
  expect(ok, s, "pipeline", "it failed", limit);
  return ok;
}

/* How many of the changes come before differentiation. */
static int64_t source_changes(const Subject *s) {
  After x;
  int64_t n = run(s, "", "clean", -1, &x) ? x.counted : 0;
  free(x.text);
  if (run(s, "clean", "chunk", -1, &x)) n += x.counted;
  free(x.text);
  return n;
}

static void interpret(const Subject *s, Way *w, int64_t limit, const Way *want) {
  static const int64_t extents[8] = {8, 8, 8, 8, 8, 8, 8, 8};
  enum { MOST = 512 };
  const DhcArray *args[MOST];
  static DhcArray *out[2][MOST];
  DhcFunc *f = w->x.f = w->p.func;
  uint64_t seed = 5;
  bool ok = f->params.n < MOST && f->results.n < MOST;
  for (int i = 0; ok && i < f->params.n; i++) ok = (args[i] = dhc_test_draw(&w->x, i, &seed, extents)) != NULL;
  DhcArray **to = out[want != NULL];
  ok = ok && dhc_interp_run(&w->x.arena, &w->x.diags, f, args, to, NULL);
  if (!ok) dhc_diags_print(&w->x.diags, stdout, false);
  expect(ok, s, "pipeline", "it does not run", limit);
  for (int i = 0; ok && want && i < f->results.n; i++) {
    const DhcArray *a = out[0][i], *b = out[1][i];
    expect(a->n == b->n && (a->f ? !memcmp(a->f, b->f, sizeof *a->f * (size_t)a->n) : !memcmp(a->i, b->i, sizeof *a->i * (size_t)a->n)), s,
           "pipeline", "other bits", limit);
  }
}

static void check_pipeline(const Subject *s) {
  const int64_t source = source_changes(s);
  static const int64_t behind[] = {0, 1, 20, 200};
  Way all, w;
  int64_t total = go(s, -1, DHC_PIPELINE_FUSED, &w) ? w.p.changes : 0;
  dhc_arena_fini(&w.x.arena);
  expect(source > 0, s, "pipeline", "nothing to count before differentiation", source);
  if (go(s, -1, DHC_PIPELINE_GRAPH, &all)) {
    char *before = NULL;
    for (int64_t limit = 0; limit < 4; limit++) { /* the first changes are those of the source */
      if (!go(s, limit, DHC_PIPELINE_GRAPH, &w)) continue;
      expect(w.p.changes == limit, s, "pipeline", "not as many changes", limit);
      char *text = text_of(w.p.module);
      expect(!before || strcmp(before, text), s, "pipeline", "a change that changed nothing", limit);
      free(before);
      before = text;
      dhc_arena_fini(&w.x.arena);
    }
    free(before);
    interpret(s, &all, -1, NULL);
    for (size_t k = 0; k < sizeof behind / sizeof *behind; k++) {
      if (go(s, source + behind[k], DHC_PIPELINE_FUSED, &w)) {
        int64_t most = source + behind[k];
        expect(w.p.changes == (most < total ? most : total), s, "pipeline", "not as many changes", most);
        interpret(s, &w, source + behind[k], &all);
      }
      dhc_arena_fini(&w.x.arena);
    }
  }
  dhc_arena_fini(&all.x.arena);
}

int main(int argc, char **argv) {
  int64_t by[64] = {0};
  root = argc > 1 ? argv[1] : "models";
  golden = argc > 2 ? argv[2] : "tests/golden";
  for (int i = 0; i < N_SUBJECTS; i++) {
    check_passes(&subjects[i], by);
    if (!strcmp(subjects[i].mode, "raw") && !is_text(&subjects[i])) check_pipeline(&subjects[i]);
  }
  printf("%d checks, %d failures;", checks, bad);
  for (int p = 0; p < dhc_pass_count(); p++) {
    const DhcPassInfo *pass = dhc_pass_at(p);
    printf(" %s %d", pass->name, (int)by[p]);
    bad += !by[p] && (pass->optional || !strcmp(pass->name, "fuse")); /* every pass had something to change */
  }
  putchar('\n');
  return bad > 0;
}
