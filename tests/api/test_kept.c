/* Images that the kernel store keeps (api/kept.c): with the entry and without it, with a damaged one, after another text or
 * setting, what was asked for is the same image byte for byte and runs to the same bytes; and what is another question is
 * not answered from the store.
 *
 *   test_kept SCRATCH_FOLDER */
#include <dirent.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api/api.h"

static const char block_text[] =
    "layer Block(d: int) {\n"
    "  param w: [d, d] = normal(0.0, 0.5)\n"
    "  state s: [B, d] = 0.25 * float(iota(d, f32))\n"
    "  forward<B, L>(x: [B, L, d]) -> (y: [B, L, d]) {\n"
    "    s, y = scan (h = s) over (u = x @ w.T) along 1 {\n"
    "      h = tanh(h * %s + u)\n"
    "      yield h\n"
    "    }\n"
    "    return y\n"
    "  }\n"
    "}\n";
static const char model_text[] =
    "import \"block.dhc\"\n"
    "import std/nn\n"
    "import std/optim\n"
    "model Kept(d: int = 4, depth: int = 2, rate: float = 0.25) {\n"
    "  param head: [3, d] = normal(0.0, 0.5)\n"
    "  for i in 0..depth { layers[i] = Block(d) }\n"
    "  forward<B, L>(x: [B, L, d]) -> (y: [B, L, 3]) {\n"
    "    if L > 4 { x = x * 2.0 }\n"
    "    for i in 0..depth { x = layers[i](x) }\n"
    "    return x @ head.T\n"
    "  }\n"
    "  loss<B, L>(x: [B, L, d], target: i64[B, L]) -> (loss: [], logits: [B, L, 3]) {\n"
    "    y = dropout(forward(x), self.rate)\n"
    "    return cross_entropy(y, target), y\n"
    "  }\n"
    "}\n";
/* Both the min and the max count at 0: said once a process, stored or not. */
static const char corner_text[] =
    "import std/nn\n"
    "import std/optim\n"
    "fn corner(p) { return mean(2.0 * max(p, 0.0) + 0.5 * expm1(min(p, 0.0))) }\n"
    "model Corner(d: int = 4) {\n"
    "  param w: [d] = ones()\n"
    "  loss<B>(x: [B, d]) -> (loss: []) { return corner(x * w) }\n"
    "}\n";

typedef struct Ask {
  const char *model, *set, *entry;
  dhc_mode mode;
  int length;
  bool memory_only, profile;
  const char *before; /* entry of the same model that runs first */
  const char *disabled;
  int limit;
  bool explain;
} Ask;

typedef struct Answer {
  bool kept, profiled;
  uint8_t *image;
  size_t n_image;
  uint8_t results[32];
  int compiled, warnings, n_kernels, n_calls;
  double flops;
  char said[400];
} Answer;

static char folder[300], cache[400];
static int fails;

static void fail(const Ask *q, const char *what) {
  printf("FAILED: %s %s mode %d, length %d, set %s: %s\n", q->model, q->entry, (int)q->mode, q->length, q->set ? q->set : "-", what);
  fails++;
}

static void write_text(const char *name, const char *format, const char *word) {
  char path[700];
  snprintf(path, sizeof path, "%s/%s", folder, name);
  FILE *f = fopen(path, "w");
  if (!f) exit(3);
  fprintf(f, format, word);
  fclose(f);
}

static void hear(void *ctx, const char *line) {
  Answer *a = ctx;
  snprintf(a->said + strlen(a->said), sizeof a->said - strlen(a->said), "%s\n", line);
}

/* ---- asking ------------------------------------------------------------------------------------ */

enum { BATCH = 2, WIDTH = 4, MOST = BATCH * WIDTH * 8 };

static dhc_status run(dhc_program *p, const Ask *q, const char *entry, DhcSha256 *h) {
  static float x[MOST];
  static int64_t target[MOST];
  bool flat = !strcmp(q->model, "corner.dhc"), labels = !strcmp(entry, "loss") && !flat;
  for (int i = 0; i < MOST; i++) x[i] = (float)((i * 37) % 19 - 9) / 8, target[i] = i % 3;
  dhc_tensor in[2] = {{.name = "x", .dtype = DHC_F32, .rank = 3, .dim = {BATCH, q->length, WIDTH}, .data = x},
                      {.name = "target", .dtype = DHC_I64, .rank = 2, .dim = {BATCH, q->length}, .data = target}};
  if (flat) in[0] = (dhc_tensor){.name = "x", .dtype = DHC_F32, .rank = 2, .dim = {BATCH, WIDTH}, .data = x};
  for (int round = 0; round < 3; round++) {
    const dhc_tensor *out;
    int n;
    dhc_program_profile(p, q->profile && round == 2);
    DHC_TRY(dhc_program_run(p, 0, in, labels ? 2 : 1, &out, &n));
    for (int i = 0; i < n; i++) dhc_sha256_update(h, out[i].data, (size_t)dhc_tensor_bytes(&out[i]));
  }
  return (dhc_status){0};
}

static dhc_status run_before(dhc_model *m, const Ask *q) {
  dhc_program *p;
  DhcSha256 h;
  dhc_sha256_init(&h);
  DHC_TRY(dhc_program_open(m, q->before, DHC_MODE_RUN, &p));
  dhc_status st = dhc_program_init(p, 7);
  if (st.code == DHC_OK) st = run(p, q, q->before, &h);
  dhc_program_close(p);
  return st;
}

static dhc_status look(dhc_program *p, const Ask *q, Answer *a) {
  DhcSha256 h;
  dhc_sha256_init(&h);
  DHC_TRY(dhc_program_init(p, 7));
  DHC_TRY(run(p, q, q->entry, &h));
  dhc_sha256_final(&h, a->results);
  const Version *v = p->entries[0].last;
  a->kept = v->kept;
  a->n_kernels = dhc_program_n_kernels(p, 0);
  a->n_calls = dhc_program_n_calls(p, 0);
  for (int i = 0; i < dhc_program_profile_rows(p); i++) a->flops += dhc_program_profile_row(p, i).flops;
  dhc_image_add_texts(v->image, &p->m->s->arena);
  return dhc_image_write(v->image, &a->image, &a->n_image);
}

static dhc_status ask_model(dhc_model *m, const Ask *q, Answer *a) {
  dhc_program *p;
  if (q->before) DHC_TRY(run_before(m, q));
  DHC_TRY(dhc_program_open(m, q->entry, q->mode, &p));
  dhc_status st = look(p, q, a);
  dhc_program_close(p);
  return st;
}

static Answer ask(const Ask *q) {
  Answer a = {0};
  char path[700];
  dhc_session *s;
  dhc_model *m = NULL;
  const dhc_session_options o = {.threads = 1, .backend = "cpu", .cache_dir = q->memory_only ? "" : cache, .warn = hear, .warn_ctx = &a,
                                 .disable_passes = q->disabled, .pass_limit = q->limit, .explain_compiles = q->explain};
  snprintf(path, sizeof path, "%s/%s", folder, q->model);
  const dhc_model_options mo = {.name = path, .sets = &q->set, .n_sets = q->set != NULL};
  dhc_status st = dhc_session_open(&o, &s);
  if (st.code != DHC_OK) exit(3);
  st = dhc_model_open(s, &mo, &m);
  if (st.code == DHC_OK) st = ask_model(m, q, &a);
  if (st.code != DHC_OK) {
    fail(q, st.message);
    dhc_session_print_diagnostics(s, stdout, false);
  }
  a.compiled = dhc_session_stats(s).kernels_compiled;
  a.warnings = dhc_session_warnings(s);
  dhc_model_close(m);
  dhc_session_close(s);
  return a;
}

/* The same answer; whether it comes from the store is as it should be. */
static Answer again(const Ask *q, const Answer *want, bool kept, const char *when) {
  Answer a = ask(q);
  char what[200];
  const char *bad = a.kept != kept                                                                ? kept ? "is not from the store" : "is from the store"
                    : a.n_image != want->n_image || memcmp(a.image, want->image, want->n_image)   ? "has another image"
                    : memcmp(a.results, want->results, sizeof a.results)                          ? "gives other results"
                    : a.n_kernels != want->n_kernels || a.n_calls != want->n_calls || !a.n_calls  ? "counts otherwise"
                    : a.flops != want->flops                                                      ? "costs otherwise"
                    : kept && a.compiled                                                          ? "compiles"
                                                                                                  : NULL;
  snprintf(what, sizeof what, "%s: %s", when, bad ? bad : "");
  if (bad) fail(q, what);
  return a;
}

static void same(const Ask *q, const Answer *want, bool kept, const char *when) {
  Answer a = again(q, want, kept, when);
  free(a.image);
}

/* ---- the store's files ---------------------------------------------------------------------------- */

enum { SPARE, FLIP, DROP };

/* Damages or removes what is an image, or what is none; how many there are. */
static int files(bool images, int what) {
  int n = 0;
  DIR *d = opendir(cache);
  for (struct dirent *e; d && (e = readdir(d));) {
    char path[700];
    snprintf(path, sizeof path, "%s/%s", cache, e->d_name);
    FILE *f = e->d_name[0] == '.' ? NULL : fopen(path, "r+");
    if (!f) continue;
    uint8_t head[124] = {0};
    bool read = fread(head, 1, sizeof head, f) == sizeof head;
    if (read && !memcmp(head + 120, "DIG", 3) == images) { /* a digit follows: the version */
      n++;
      if (what == FLIP) {
        fseek(f, -1, SEEK_END);
        int c = fgetc(f);
        fseek(f, -1, SEEK_END);
        fputc(c ^ 1, f);
      }
      if (what == DROP) remove(path);
    }
    fclose(f);
  }
  if (d) closedir(d);
  return n;
}

/* ---- cases ------------------------------------------------------------------------------------------ */

static void with_and_without(Ask q) {
  q.memory_only = true;
  Answer want = ask(&q);
  same(&q, &want, false, "without a folder");
  q.memory_only = false;
  same(&q, &want, false, "the first time");
  same(&q, &want, true, "the second time");
  files(true, FLIP);
  Answer a = again(&q, &want, false, "damaged");
  if (!strstr(a.said, "is damaged, rebuilt")) fail(&q, "damage is not said");
  free(a.image);
  same(&q, &want, true, "rebuilt");
  if (!files(false, DROP)) fail(&q, "there are no kernels");
  same(&q, &want, false, "without its kernels");
  same(&q, &want, true, "with them");
  q.profile = true;
  q.memory_only = true;
  Answer costs = ask(&q);
  if (!(costs.flops > 0)) fail(&q, "costs nothing");
  q.memory_only = false;
  same(&q, &costs, true, "profiled");
  free(costs.image);
  free(want.image);
}

static void different(Ask q, const Ask *other, const char *what) {
  Answer a = ask(&q), b = ask(other);
  if (b.kept) fail(other, "is from the store the first time");
  if (a.n_image == b.n_image && !memcmp(a.image, b.image, a.n_image)) fail(other, what);
  same(other, &b, true, "asked again");
  same(&q, &a, true, "the one before");
  free(a.image);
  free(b.image);
}

static void other_questions(void) {
  Ask q = {.model = "kept.dhc", .entry = "forward", .length = 3}, other = q;
  other.set = "depth=3";
  different(q, &other, "another depth is the same");
  other = q;
  other.length = 6;
  different(q, &other, "the other branch is the same"); /* both under one key */
  Answer a = ask(&q);
  other.length = 2;
  other.memory_only = true;
  Answer shorter = ask(&other);
  other.memory_only = false;
  same(&other, &shorter, true, "other sizes");
  free(shorter.image);
  write_text("block.dhc", block_text, "0.75");
  Answer b = ask(&q);
  if (b.kept) fail(&q, "another import is not seen");
  if (!memcmp(a.results, b.results, sizeof a.results)) fail(&q, "another import is the same");
  write_text("block.dhc", block_text, "0.5");
  same(&q, &a, true, "with the import of before");
  free(a.image);
  free(b.image);
}

static void switches(void) {
  Ask q = {.model = "kept.dhc", .entry = "loss", .mode = DHC_MODE_TRAIN, .length = 3}, x = q;
  free(ask(&q).image);
  x.explain = true;
  Answer a = ask(&x);
  x.explain = false;
  x.disabled = "cse";
  Answer b = ask(&x);
  x.disabled = NULL;
  x.limit = 3;
  Answer c = ask(&x);
  if (a.kept || b.kept || c.kept) fail(&x, "with a switch it is from the store");
  free(a.image);
  free(b.image);
  free(c.image);
}

static void messages(void) {
  const Ask q = {.model = "corner.dhc", .entry = "loss", .mode = DHC_MODE_TRAIN, .length = 1};
  for (int i = 0; i < 3; i++) {
    Answer a = ask(&q);
    if (a.warnings != 1 || a.kept) fail(&q, "what elaboration says is not said");
    free(a.image);
  }
}

/* What ran before in the model, from the store or not, changes nothing. */
static void in_any_order(void) {
  Ask q = {.model = "kept.dhc", .entry = "loss", .mode = DHC_MODE_TRAIN, .length = 3, .memory_only = true}, x = q;
  Answer want = ask(&q);
  x.before = "forward";
  same(&x, &want, false, "after another entry");
  q.memory_only = x.memory_only = false;
  files(true, DROP);
  same(&x, &want, false, "after another entry, the first time");
  same(&x, &want, true, "after another entry, both from the store");
  same(&q, &want, true, "by itself");
  free(want.image);
}

/* ---- one session --------------------------------------------------------------------------------- */

static const Ask nothing = {.model = "files", .entry = "of a session"};

static dhc_model *open_in(dhc_session *s, const char *name, const char *set) {
  char path[700];
  dhc_model *m = NULL;
  snprintf(path, sizeof path, "%s/%s", folder, name);
  dhc_status st = dhc_model_open(s, &(dhc_model_options){.name = path, .sets = &set, .n_sets = set != NULL}, &m);
  (void)st; /* NULL */
  return m;
}

static void run_in(dhc_session *s, const Ask *q, const Answer *want, bool kept) {
  Answer a = {0};
  dhc_model *m = open_in(s, q->model, q->set);
  dhc_status st = ask_model(m, q, &a);
  if (st.code != DHC_OK || a.kept != kept || memcmp(a.results, want->results, sizeof a.results)) fail(q, "in a session with others");
  free(a.image);
  dhc_model_close(m);
}

/* Files that are as they were are not read again, by a session that a parent lent them neither; one that has changed is; and
 * what is wrong with a model is said each time. */
static void shared_files(void) {
  const Ask q = {.model = "kept.dhc", .entry = "loss", .mode = DHC_MODE_TRAIN, .length = 3};
  Ask alone = q;
  dhc_session *s, *child;
  alone.memory_only = true;
  Answer want = ask(&alone);
  files(true, DROP);
  if (dhc_session_open(&(dhc_session_options){.threads = 1, .backend = "cpu", .cache_dir = cache}, &s).code != DHC_OK) exit(3);
  dhc_model_close(open_in(s, "corner.dhc", NULL));
  run_in(s, &q, &want, false);
  int n = s->sources.files.n;
  run_in(s, &q, &want, true);
  if (s->sources.files.n != n) fail(&nothing, "unchanged, read again");
  if (session_child(s, &child).code != DHC_OK) exit(3);
  run_in(child, &q, &want, true);
  if (child->sources.files.n != n || s->sources.files.n != n) fail(&nothing, "unchanged, read again by a child");
  write_text("block.dhc", block_text, "0.75");
  dhc_model *m = open_in(child, "kept.dhc", NULL);
  if (child->sources.files.n != n + 1 || s->sources.files.n != n) fail(&nothing, "changed, not read by a child");
  dhc_model_close(m);
  dhc_session_close(child);
  write_text("block.dhc", block_text, "0.5");
  for (int i = 0; i < 3; i++) {
    int before = dhc_session_errors(s);
    if (open_in(s, "kept.dhc", "deep=3") || dhc_session_errors(s) != before + 1) fail(&nothing, "an error is not said each time");
  }
  run_in(s, &q, &want, true);
  dhc_session_close(s);
  same(&q, &want, true, "kept by a session of several models");
  free(want.image);
}

int main(int argc, char **argv) {
  if (argc != 2) return 2;
  snprintf(folder, sizeof folder, "%s/kept.%d", argv[1], (int)getpid());
  snprintf(cache, sizeof cache, "%s/cache", folder);
  if (mkdir(folder, 0700)) return 3;
  write_text("block.dhc", block_text, "0.5");
  write_text("kept.dhc", "%s", model_text);
  write_text("corner.dhc", "%s", corner_text);
  with_and_without((Ask){.model = "kept.dhc", .entry = "forward", .length = 3});
  with_and_without((Ask){.model = "kept.dhc", .entry = "forward.stream", .length = 3});
  with_and_without((Ask){.model = "kept.dhc", .entry = "loss", .mode = DHC_MODE_GRAD, .length = 3});
  with_and_without((Ask){.model = "kept.dhc", .entry = "loss", .mode = DHC_MODE_TRAIN, .length = 3, .set = "depth=1"});
  other_questions();
  switches();
  messages();
  in_any_order();
  shared_files();
  files(true, DROP);
  files(false, DROP);
  char path[700];
  for (int i = 0; i < 3; i++) {
    static const char *const names[] = {"block.dhc", "kept.dhc", "corner.dhc"};
    snprintf(path, sizeof path, "%s/%s", folder, names[i]);
    remove(path);
  }
  rmdir(cache);
  rmdir(folder);
  if (!fails) printf("ok\n");
  return fails != 0;
}
