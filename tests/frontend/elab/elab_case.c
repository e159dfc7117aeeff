/* Runs one golden case: elaborates a model as its directives say and compares what is
 * printed — functions, or diagnostics — with NAME.out (elab_case -u writes that file, -p
 * prints to standard output).
 *
 * Directives stand in comments that begin with "#:" and are separated by blanks:
 *   root=L preset=P variant=V recipe=R set:KEY=VALUE   the model
 *   entry=NAME NAME=2x3x4 training                     an entry ("forward.step"); shapes of inputs
 *   check                                              what `dhcc check` does
 *   print=init|tensors|recipe|hypers|layers|none       besides the entry's functions
 *   limit=BYTES                                        max_memory_bytes
 * Several entry= ask for one after the other; shapes hold for those that follow. */
#include <stdlib.h>

#include "frontend/elab.h"

enum { MAX = 32 };

typedef struct Case {
  DhcArena arena;
  DhcElab *e;
  DhcModel *m;
  DhcModelRequest request;
  DhcSetting sets[MAX];
  DhcInputShape shapes[MAX];
  int n_shapes, n_funcs;
  bool training, init;
  FILE *out;
} Case;

static void print_text(Case *c, DhcText *t) {
  fputs(dhc_text_str(t), c->out);
}

static bool make_model(Case *c) {
  if (!c->m && c->e) c->m = dhc_elab_model(c->e, &c->request);
  return c->m != NULL;
}

/* What elaboration makes survives the text form. */
static void round_trip(Case *c, DhcModule *m) {
  DhcText a = {.arena = &c->arena}, b = {.arena = &c->arena};
  dhc_module_print(m, &a);
  const char *text = dhc_text_str(&a);
  DhcDiags diags = {.arena = &c->arena, .sources = m->diags->sources};
  uint32_t file = dhc_sources_add(m->diags->sources, "round trip", "round trip", text, strlen(text));
  DhcModule *again = dhc_module_parse(&c->arena, m->strings, &diags, file);
  if (again) dhc_module_print(again, &b);
  if (!again || strcmp(text, dhc_text_str(&b))) {
    fprintf(c->out, "does not survive its text form\n");
    dhc_diags_print(&diags, c->out, false);
  }
}

static void run_entry(Case *c, const char *name) {
  DhcEntryRequest r = {.training = c->training, .inputs = c->shapes, .n_inputs = c->n_shapes};
  if (!make_model(c)) return;
  dhc_model_form(c->m, name, &r.name, &r.form);
  DhcFunc *f = dhc_model_entry(c->m, &r);
  if (!f) return;
  DhcModule *m = dhc_model_module(c->m);
  for (int i = 0; i < m->funcs.n; i++) {
    DhcText t = {.arena = &c->arena};
    if ((m->funcs.at[i]->kind == DHC_FUNC_INIT && !c->init) ||
        (m->funcs.at[i]->kind == DHC_FUNC_ENTRY && m->funcs.at[i] != f))
      continue;
    dhc_func_print(m->funcs.at[i], &t);
    print_text(c, &t);
  }
  round_trip(c, m);
}

static void print_tensors(Case *c) {
  static const char *const roles[] = {
      [DHC_ROLE_WEIGHT] = "param", [DHC_ROLE_BUFFER] = "buffer", [DHC_ROLE_TABLE] = "table", [DHC_ROLE_STATE] = "state"};
  DhcModule *m = dhc_model_module(c->m);
  for (int i = 0; i < m->tensors.n; i++) {
    DhcText t = {.arena = &c->arena};
    dhc_type_print(&m->tensors.at[i].type, &t);
    fprintf(c->out, "%s %s: %s%s%s%s\n", roles[m->tensors.at[i].role], m->tensors.at[i].path,
            dhc_text_str(&t), m->tensors.at[i].no_decay ? " no_decay" : "", m->tensors.at[i].as ? " as " : "",
            m->tensors.at[i].as ? m->tensors.at[i].as : "");
  }
  for (int i = 0; i < m->scalars.n; i++)
    fprintf(c->out, "scalar %s = %.17g\n", m->scalars.at[i].name, m->scalars.at[i].value);
}

static void print_init(Case *c) {
  DhcModule *m = dhc_model_module(c->m);
  for (int i = 0; i < m->tensors.n; i++) {
    DhcText t = {.arena = &c->arena};
    if (!m->tensors.at[i].init) continue; /* a state: see its entry's reset form */
    dhc_func_print(m->tensors.at[i].init, &t);
    print_text(c, &t);
  }
}

static void print_what(Case *c, const char *what) {
  if (!make_model(c)) return;
  if (!strcmp(what, "tensors")) print_tensors(c);
  if (!strcmp(what, "init")) print_init(c);
  if (!strcmp(what, "recipe")) {
    const DhcRecipe *r = dhc_model_recipe(c->m);
    fprintf(c->out, "recipe %s: %s batch %lld epochs %lld clip %g ema %g label_smoothing %g\n", r->name,
            r->optimizer, (long long)r->batch, (long long)r->epochs, r->clip, r->ema, r->label_smoothing);
    for (int i = 0; i < r->optimizer_args.n; i++)
      fprintf(c->out, "  %s = %g\n", r->optimizer_args.at[i].name, r->optimizer_args.at[i].value);
    for (int i = 0; i <= 100; i += 25)
      fprintf(c->out, "  lr(%d, 100) = %.10g\n", i, dhc_recipe_lr(r, i, 100));
  }
  if (!strcmp(what, "hypers")) {
    DhcHyperInfos h = dhc_model_hypers(c->m);
    for (int i = 0; i < h.n; i++)
      fprintf(c->out, "%s: %s = %s (%s) %d\n", h.at[i].name, h.at[i].type, h.at[i].value, h.at[i].source,
              h.at[i].scalar);
  }
  if (!strcmp(what, "layers")) {
    DhcLayerInfos l = dhc_model_layers(c->m);
    for (int i = 0; i < l.n; i++)
      fprintf(c->out, "%*s%s: %s, %lld parameters\n", 2 * l.at[i].depth, "", l.at[i].path, l.at[i].layer,
              (long long)l.at[i].n_params);
  }
}

static void shape(Case *c, const char *name, const char *text) {
  int64_t *dim = dhc_arena_alloc(&c->arena, 8 * sizeof *dim);
  DhcInputShape s = {.name = name, .dim = dim};
  for (char *end; *text && s.rank < 8; text = *end ? end + 1 : end) dim[s.rank++] = strtoll(text, &end, 10);
  for (int i = 0; i < c->n_shapes; i++)
    if (!strcmp(c->shapes[i].name, name)) {
      c->shapes[i] = s;
      return;
    }
  if (c->n_shapes < MAX) c->shapes[c->n_shapes++] = s;
}

static void directive(Case *c, char *word) {
  char *eq = strchr(word, '=');
  if (eq) *eq++ = 0;
  if (!strcmp(word, "root"))
    c->request.root = eq;
  else if (!strcmp(word, "preset"))
    c->request.preset = eq;
  else if (!strcmp(word, "variant"))
    c->request.variant = eq;
  else if (!strcmp(word, "recipe"))
    c->request.recipe = eq;
  else if (!strncmp(word, "set:", 4) && c->request.n_sets < MAX)
    c->sets[c->request.n_sets++] = (DhcSetting){word + 4, eq};
  else if (!strcmp(word, "training"))
    c->training = true;
  else if (!strcmp(word, "entry"))
    run_entry(c, eq);
  else if (!strcmp(word, "function") && make_model(c)) {
    DhcFunc *f = dhc_model_function(c->m, eq);
    DhcText t = {.arena = &c->arena};
    if (f) dhc_func_print(f, &t);
    print_text(c, &t);
  } else if (!strcmp(word, "check") && c->e)
    fprintf(c->out, "%s\n", dhc_elab_check(c->e) ? "ok" : "not ok");
  else if (!strcmp(word, "print"))
    print_what(c, eq);
  else if (eq)
    shape(c, word, eq);
}

static char *read_all(DhcArena *a, const char *path, size_t *n) {
  FILE *f = fopen(path, "rb");
  if (!f) return NULL;
  char *text = dhc_arena_alloc(a, 1 << 22);
  *n = fread(text, 1, (1 << 22) - 1, f);
  fclose(f);
  return text;
}

static void run_case(Case *c, const char *path, char *text, size_t n) {
  static const char *const roots[] = {DHC_SHIPPED};
  DhcSources sources = {.arena = &c->arena};
  DhcDiags diags = {.arena = &c->arena, .sources = &sources};
  DhcStrings strings = {.arena = &c->arena};
  DhcElabConfig config = {.shipped_roots = roots, .n_shipped_roots = 1};
  char *limit = strstr(text, "limit=");
  if (limit) config.max_memory_bytes = strtoll(limit + 6, NULL, 10);
  char *shipped = strstr(text, "#: shipped=");
  char name[64] = {0};
  if (shipped) sscanf(shipped, "#: shipped=%63s", name);
  c->e = shipped ? dhc_elab_open(&c->arena, &strings, &diags, &config, name)
                 : dhc_elab_open_text(&c->arena, &strings, &diags, &config, path, text, n);
  c->request.sets = c->sets;
  for (char *line = text; line && *line == '#'; line = strchr(line, '\n'), line += line != NULL) {
    if (line[1] != ':') continue;
    char *copy = dhc_arena_strndup(&c->arena, line + 2, strcspn(line + 2, "\n")), *save = NULL;
    for (char *w = strtok_r(copy, " ", &save); w; w = strtok_r(NULL, " ", &save)) directive(c, w);
  }
  dhc_diags_print(&diags, c->out, false);
}

int main(int argc, char **argv) {
  bool update = argc > 2 && !strcmp(argv[1], "-u"), print = argc > 2 && !strcmp(argv[1], "-p");
  if (argc < 2) return 2;
  int bad = 0;
  for (int i = 1 + (update || print); i < argc; i++) {
    Case c = {0};
    size_t n = 0, n_want = 0, n_got = 0;
    char *got = NULL, out[512];
    dhc_arena_init(&c.arena);
    char *text = read_all(&c.arena, argv[i], &n);
    if (!text) return 2;
    c.out = open_memstream(&got, &n_got);
    run_case(&c, argv[i], text, n);
    fclose(c.out);
    snprintf(out, sizeof out, "%.*sout", (int)strlen(argv[i]) - 3, argv[i]);
    if (print) {
      fwrite(got, 1, n_got, stdout);
    } else if (update) {
      FILE *f = fopen(out, "wb");
      if (!f) return 2;
      fwrite(got, 1, n_got, f);
      fclose(f);
    } else {
      char *want = read_all(&c.arena, out, &n_want);
      if (!want || n_want != n_got || memcmp(want, got, n_got)) {
        printf("%s: got\n%s\nwant\n%s\n", argv[i], got, want ? want : "(no file)");
        bad = 1;
      }
    }
    free(got);
    dhc_arena_fini(&c.arena);
  }
  return bad;
}
