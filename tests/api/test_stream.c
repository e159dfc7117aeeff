/* Streaming forms against the whole one: a sequence in one piece, in any pieces and position by
 * position gives the same; resets forget exactly; states survive a file bit for bit; another
 * batch size compiles nothing. On the interpreter and, where it is built in, the CPU. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dhc/dhc.h"

enum { L = 12, MAX_B = 3, MAX_F = 16, MAX_OUT = 2, MAX_SETS = 12 };

typedef struct Case {
  const char *name, *model, *root;
  const char *sets[MAX_SETS];
  const char *entry, *input;
  int features; /* of the input; 0: tokens */
  bool exact;   /* on the CPU the pieces give the bits of the whole */
  bool acts;    /* `forward` takes one observation "obs" [B, features] and as a step goes on */
} Case;

#define ATTENTION "layers/attention", "MultiHeadAttention"
#define STACK "d_model=8", "num_layers=4", "mamba_ratio=1", "num_heads=2", "d_state=4", "ffn_inner=12", "num_experts=3", "causal=true"
#define POLICY "obs=5", "hidden_dim=8", "num_heads=2", "d_state=4", "ffn_inner=12", "mamba_ratio=1"
static const Case cases[] = {
    {"lstm", "lstm", "LSTM", {"d_in=5", "d=7"}, "forward", "x", 5, true, false},
    {"ssm", "layers/temporal_ssm", "TemporalSSM", {"d=5", "state_dim=6"}, "sequence", "x", 5, true, false},
    {"conv", "layers/mamba", "CausalDepthwiseConv1d", {"d=6", "taps=4"}, "forward", "x", 6, true, false},
    {"conv1", "layers/mamba", "Mamba", {"d_model=6", "d_state=3", "d_conv=1"}, "forward", "x", 6, true, false},
    {"mamba", "layers/mamba", "Mamba", {"d_model=6", "d_state=5"}, "forward", "x", 6, true, false},
    {"attention", ATTENTION, {"d_model=8", "num_heads=2", "causal=true", "max_len=40"}, "forward", "x", 8, true, false},
    {"grouped", ATTENTION, {"d_model=16", "num_heads=4", "num_kv_heads=2", "causal=true", "max_len=16"}, "forward", "x", 16, true, false},
    {"no rope", ATTENTION, {"d_model=8", "num_heads=2", "causal=true", "use_rope=false", "max_len=12"}, "forward", "x", 8, true, false},
    {"window", ATTENTION, {"d_model=8", "num_heads=4", "num_kv_heads=2", "causal=true", "window=4", "max_len=16"}, "forward", "x", 8, false, false},
    {"wide window", ATTENTION, {"d_model=8", "num_heads=2", "causal=true", "window=20", "max_len=40"}, "forward", "x", 8, false, false},
    {"stack", "layers/jamba", "JambaStack", {STACK}, "forward", "x", 8, true, false},
    {"windowed stack", "layers/jamba", "JambaStack", {STACK, "window=5", "num_kv_heads=1"}, "forward", "x", 8, false, false},
    {"tokens", "seq", NULL, {"vocabulary=11", "d_model=8", "num_heads=2", "num_layers=2", "mamba_ratio=1", "d_state=4", "ffn_inner=12"}, "forward", "tokens", 0, true, false},
    {"policy", "rl_policy", NULL, {POLICY, "window=4"}, "sequence", "obs_seq", 5, false, true},
    {"value", "rl_value", NULL, {POLICY}, "sequence", "obs_seq", 5, false, true},
    {"actor and critic", "rl_actor_critic", NULL, {POLICY, "window=0"}, "sequence", "obs_seq", 5, true, true},
    {"called twice", TEST_FOLDER "/twice.dhc", NULL, {"d=6"}, "forward", "x", 6, true, false},
    {"ssm policy", "rl_ssm_policy", NULL, {"obs=5", "hidden_dim=8", "state_dim=6"}, "sequence", "obs", 5, true, true},
};
enum { N_CASES = sizeof cases / sizeof cases[0] };

static int fails;
static const char *now = "";

static bool good(dhc_status st, const char *what) {
  if (st.code == DHC_OK) return true;
  printf("FAILED: %s: %s: %s\n", now, what, st.message);
  fails++;
  return false;
}

static void check(bool ok, const char *what) {
  if (ok) return;
  printf("FAILED: %s: %s\n", now, what);
  fails++;
}

/* ---- data: everything of the test is a function of a seed ---- */

static uint32_t next(uint32_t *seed) {
  *seed = *seed * 1664525u + 1013904223u;
  return *seed >> 8;
}

typedef struct Data {
  float x[MAX_B * L * MAX_F];
  int64_t token[MAX_B * L];
  uint8_t reset[MAX_B * L];
} Data;

static void make_data(const Case *c, Data *d, uint32_t seed, bool resets) {
  for (int i = 0; i < MAX_B * L * MAX_F; i++) d->x[i] = (float)(next(&seed) % 2001) / 1000 - 1;
  for (int i = 0; i < MAX_B * L; i++) d->token[i] = next(&seed) % 11;
  for (int i = 0; i < MAX_B * L; i++) d->reset[i] = resets && next(&seed) % 5 == 0;
  (void)c;
}

/* Positions from … to-1 of batch rows b0 … b0+n-1, in memory of its own. */
typedef struct Piece {
  float x[MAX_B * L * MAX_F];
  int64_t token[MAX_B * L];
  uint8_t reset[MAX_B * L];
  dhc_tensor in[2];
  int n_in;
} Piece;

static void cut(const Case *c, const Data *d, int b0, int n, int from, int to, bool resets, Piece *p) {
  int len = to - from, f = c->features;
  for (int b = 0; b < n; b++)
    for (int t = 0; t < len; t++) {
      int at = (b0 + b) * L + from + t;
      if (f) memcpy(&p->x[(b * len + t) * f], &d->x[at * f], sizeof(float) * (size_t)f);
      p->token[b * len + t] = d->token[at];
      p->reset[b * len + t] = d->reset[at];
    }
  p->in[0] = f ? (dhc_tensor){.name = c->input, .dtype = DHC_F32, .rank = 3, .dim = {n, len, f}, .data = p->x}
               : (dhc_tensor){.name = c->input, .dtype = DHC_I64, .rank = 2, .dim = {n, len}, .data = p->token};
  p->in[1] = (dhc_tensor){.name = "reset", .dtype = DHC_BOOL, .rank = 2, .dim = {n, len}, .data = p->reset};
  p->n_in = resets ? 2 : 1;
}

/* ---- outputs: [MAX_OUT][B][L][features] as doubles ---- */

typedef struct Out {
  double v[MAX_OUT][MAX_B][L][MAX_F];
  int n_out, width[MAX_OUT];
} Out;

static double value(const dhc_tensor *t, int64_t i) {
  return t->dtype == DHC_F64 ? ((const double *)t->data)[i] : (double)((const float *)t->data)[i];
}

static bool run(dhc_program *p, int entry, const Case *c, const Data *d, int b0, int n, int from, int to, bool resets, Out *o) {
  static Piece piece;
  const dhc_tensor *res;
  int n_res;
  cut(c, d, b0, n, from, to, resets, &piece);
  if (!good(dhc_program_run(p, entry, piece.in, piece.n_in, &res, &n_res), "run")) return false;
  o->n_out = n_res < MAX_OUT ? n_res : MAX_OUT;
  for (int k = 0; k < o->n_out; k++) {
    int w = o->width[k] = (int)res[k].dim[2], len = to - from;
    for (int b = 0; b < n; b++)
      for (int t = 0; t < len; t++)
        for (int i = 0; i < w; i++) o->v[k][b0 + b][from + t][i] = value(&res[k], ((int64_t)b * len + t) * w + i);
  }
  return true;
}

static void compare(const Out *a, const Out *b, int n, double tol, const char *what) {
  double worst = 0, size = 0;
  check(a->n_out > 0 && a->n_out == b->n_out, "outputs");
  for (int k = 0; k < a->n_out; k++)
    for (int r = 0; r < n; r++)
      for (int t = 0; t < L; t++)
        for (int i = 0; i < a->width[k]; i++) {
          double e = fabs(a->v[k][r][t][i] - b->v[k][r][t][i]), m = fabs(b->v[k][r][t][i]);
          if (!isnan(worst) && !(e <= worst)) worst = e; /* NaN stays */
          if (!(m <= size)) size = m;
        }
  if (isfinite(size) && worst <= tol * size) return;
  printf("FAILED: %s: %s: differs by %.3g, of %.3g, allowed %.0e of it\n", now, what, worst, size, tol);
  fails++;
}

/* ---- one case ---- */

typedef struct Programs {
  dhc_session *s;
  dhc_model *m;
  dhc_program *whole, *stream; /* stream: entry 0 .stream, 1 .step */
} Programs;

static bool open_stream(const Case *c, dhc_model *m, dhc_program **p) {
  char name[64], step[64];
  snprintf(name, sizeof name, "%s.stream", c->entry);
  snprintf(step, sizeof step, "%s.step", c->entry);
  return good(dhc_program_open(m, name, DHC_MODE_RUN, p), "stream") && good(dhc_program_add(*p, step, DHC_MODE_RUN, NULL), "step") &&
         good(dhc_program_init(*p, 7), "init");
}

static bool open_all(const Case *c, const char *backend, Programs *p) {
  *p = (Programs){0};
  dhc_model_options o = {.name = c->model, .root = c->root, .sets = c->sets};
  while (o.n_sets < MAX_SETS && c->sets[o.n_sets]) o.n_sets++;
  if (!good(dhc_session_open(&(dhc_session_options){.backend = backend, .threads = 2}, &p->s), "session")) return false;
  bool ok = good(dhc_model_open(p->s, &o, &p->m), "model") &&
            good(dhc_program_open(p->m, c->entry, DHC_MODE_RUN, &p->whole), "whole") && good(dhc_program_init(p->whole, 7), "init") &&
            open_stream(c, p->m, &p->stream);
  if (!ok) dhc_session_print_diagnostics(p->s, stdout, false);
  return ok;
}

static void close_all(Programs *p) {
  dhc_program_close(p->stream);
  dhc_program_close(p->whole);
  dhc_model_close(p->m);
  dhc_session_close(p->s);
}

/* cuts[]: lengths, ended by 0; negative: so many single steps. */
static bool stream(dhc_program *p, const Case *c, const Data *d, int n, const int *cuts, bool resets, Out *o) {
  for (int at = 0; *cuts; cuts++)
    for (int k = 0; k < (*cuts < 0 ? -*cuts : 1); k++) {
      int len = *cuts < 0 ? 1 : *cuts;
      if (!run(p, *cuts < 0, c, d, 0, n, at, at + len, resets, o)) return false;
      at += len;
    }
  return true;
}

static void random_cuts(uint32_t *seed, int *cuts) {
  int left = L;
  while (left) {
    int k = 1 + (int)(next(seed) % 5);
    k = k > left ? left : k;
    *cuts++ = next(seed) % 3 ? k : -k;
    left -= k;
  }
  *cuts = 0;
}

static void pieces(const Case *c, Programs *p, const Data *d, int n, bool resets, double tol) {
  static Out whole, first, o;
  int cuts[6][L + 1] = {{L}, {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}, {3, 5, 4}, {-L}};
  uint32_t seed = (uint32_t)n + 17;
  random_cuts(&seed, cuts[4]);
  random_cuts(&seed, cuts[5]);
  memset(&whole, 0, sizeof whole);
  memset(&first, 0, sizeof first);
  memset(&o, 0, sizeof o);
  if (!run(p->whole, 0, c, d, 0, n, 0, L, resets, &whole)) return;
  for (int k = 0; k < 6; k++) {
    dhc_program_reset(p->stream);
    if (!stream(p->stream, c, d, n, cuts[k], resets, &o)) return;
    compare(&o, &whole, n, tol, k == 0 ? "one piece" : k == 1 ? "single positions" : k == 2 ? "3 + 5 + 4" : k == 3 ? "steps" : "random cuts");
    if (k == 0) first = o;
  }
  dhc_program_reset(p->stream);
  if (stream(p->stream, c, d, n, cuts[0], resets, &o)) compare(&o, &first, n, 0, "the same after a reset");
}

/* Every episode by itself, from its own first position, gives what the marked sequence gave. */
static void episodes(const Case *c, Programs *p, const Data *d, int n, double tol) {
  static Out marked, alone;
  static Data shifted;
  memset(&marked, 0, sizeof marked);
  memset(&alone, 0, sizeof alone);
  if (!run(p->whole, 0, c, d, 0, n, 0, L, true, &marked)) return;
  alone = marked;
  for (int b = 0; b < n; b++)
    for (int from = 0, to; from < L; from = to) {
      for (to = from + 1; to < L && !d->reset[b * L + to];) to++;
      shifted = *d;
      if (!run(p->whole, 0, c, &shifted, b, 1, from, to, false, &alone)) return;
    }
  compare(&marked, &alone, n, tol, "episodes by themselves");
}

/* What came before an episode began does not change a bit of it, in one piece or in several. */
static void forgets(const Case *c, Programs *p, const Data *d, int n) {
  static Out a, b;
  static Data other;
  const int cuts[] = {4, -3, 5, 0};
  other = *d;
  for (int r = 0; r < n; r++) {
    int last = L - 1;
    while (last > 0 && !d->reset[r * L + last]) last--;
    for (int t = 0; t < last; t++) {
      for (int i = 0; i < c->features; i++) other.x[(r * L + t) * c->features + i] = 9 - 3 * d->x[(r * L + t) * c->features + i];
      other.token[r * L + t] = (d->token[r * L + t] + 5) % 11;
    }
  }
  for (int whole = 0; whole < 2; whole++) {
    memset(&a, 0, sizeof a);
    memset(&b, 0, sizeof b);
    for (int k = 0; k < 2; k++) {
      dhc_program_reset(p->stream);
      if (whole ? !run(p->whole, 0, c, k ? &other : d, 0, n, 0, L, true, k ? &b : &a)
                : !stream(p->stream, c, k ? &other : d, n, cuts, true, k ? &b : &a))
        return;
    }
    for (int k = 0; k < a.n_out; k++)
      for (int r = 0; r < n; r++) {
        int last = L - 1;
        while (last > 0 && !d->reset[r * L + last]) last--;
        memcpy(b.v[k][r], a.v[k][r], sizeof a.v[k][r][0] * (size_t)last);
      }
    compare(&b, &a, n, 0, whole ? "forgets, in one piece" : "forgets, in pieces");
  }
}

/* One observation after the other through `forward.step`, resets among them. */
static void acting(const Case *c, Programs *p, const Data *d, int n, double tol) {
  static Out whole, o;
  static Piece piece;
  dhc_program *act = NULL;
  memset(&whole, 0, sizeof whole);
  memset(&o, 0, sizeof o);
  if (!run(p->whole, 0, c, d, 0, n, 0, L, true, &whole)) return;
  bool ok = good(dhc_program_open(p->m, "step", DHC_MODE_RUN, &act), "act") && good(dhc_program_init(act, 7), "init");
  for (int t = 0; ok && t < L; t++) {
    const dhc_tensor *res;
    cut(c, d, 0, n, t, t + 1, true, &piece);
    const dhc_tensor in[] = {{.name = "obs", .dtype = DHC_F32, .rank = 2, .dim = {n, c->features}, .data = piece.x},
                             {.name = "reset", .dtype = DHC_BOOL, .rank = 1, .dim = {n}, .data = piece.reset}};
    ok = good(dhc_program_run(act, 0, in, 2, &res, &o.n_out), "act");
    for (int k = 0; ok && k < o.n_out; k++) {
      o.width[k] = (int)res[k].dim[1];
      for (int b = 0; b < n; b++)
        for (int i = 0; i < o.width[k]; i++) o.v[k][b][t][i] = value(&res[k], b * o.width[k] + i);
    }
  }
  if (ok) compare(&o, &whole, n, tol, "acting");
  dhc_program_close(act);
}

static void through_file(const Case *c, Programs *p, const Data *d, int n) {
  static Out straight, resumed;
  char path[64];
  const int head[] = {5, -1, 0};
  snprintf(path, sizeof path, "state.%d.safetensors", (int)getpid());
  memset(&straight, 0, sizeof straight);
  dhc_program_reset(p->stream);
  if (!stream(p->stream, c, d, n, head, false, &straight) || !good(dhc_program_save_state(p->stream, path), "save")) return;
  resumed = straight;
  run(p->stream, 0, c, d, 0, n, 6, L, false, &straight);
  dhc_program *other = NULL;
  if (open_stream(c, p->m, &other) && good(dhc_program_load_state(other, path), "load") && run(other, 0, c, d, 0, n, 6, L, false, &resumed))
    compare(&resumed, &straight, n, 0, "state through a file");
  dhc_program_close(other);
  remove(path);
}

static void one_case(const Case *c, const char *backend) {
  static Data d;
  Programs p;
  char name[128];
  bool interp = backend != NULL;
  double tol = interp ? 1e-9 : c->exact ? 0 : 1e-5;
  snprintf(name, sizeof name, "%s (%s)", c->name, interp ? "interp" : "cpu");
  now = name;
  if (open_all(c, backend, &p)) {
    for (int resets = 0; resets < 2; resets++) {
      make_data(c, &d, 5, resets);
      pieces(c, &p, &d, 2, resets, tol);
      int compiled = dhc_session_stats(p.s).kernels_compiled;
      pieces(c, &p, &d, 3, resets, tol);
      check(dhc_session_stats(p.s).kernels_compiled == compiled, "another batch size compiles nothing");
    }
    episodes(c, &p, &d, 3, interp ? 1e-9 : 1e-5);
    forgets(c, &p, &d, 3);
    if (c->acts) acting(c, &p, &d, 2, tol);
    through_file(c, &p, &d, 2);
  }
  close_all(&p);
}

/* ---- what is refused ---- */

static void refused(dhc_status st, const char *text) {
  if (st.code != DHC_OK && strstr(st.message, text)) return;
  printf("FAILED: %s: want a refusal with \"%s\", got %d \"%s\"\n", now, text, (int)st.code, st.message);
  fails++;
}

static dhc_status run_raw(dhc_program *p, int entry, int n, int len, int features) {
  static float x[MAX_B * L * MAX_F];
  const dhc_tensor in = {.name = "x", .dtype = DHC_F32, .rank = 3, .dim = {n, len, features}, .data = x};
  return dhc_program_run(p, entry, &in, 1, NULL, NULL);
}

static void refusals(const char *backend) {
  static const Case short_cache = {"refusals", ATTENTION, {"d_model=8", "num_heads=2", "causal=true", "max_len=8"}, "forward", "x", 8, true, false};
  static const Case other = {"refusals", ATTENTION, {"d_model=8", "num_heads=2", "causal=true", "max_len=9"}, "forward", "x", 8, true, false};
  static const Case both_ways = {"refusals", ATTENTION, {"d_model=8", "num_heads=2"}, "forward", "x", 8, true, false};
  Programs p, q;
  dhc_tensor t = {0};
  char path[64];
  snprintf(path, sizeof path, "refused.%d.safetensors", (int)getpid());
  now = "refusals";
  if (!open_all(&short_cache, backend, &p)) return;
  refused(dhc_program_save_state(p.stream, path), "there is no state to save: no streaming entry has run");
  refused(dhc_program_get(p.stream, "keys", &t), "state 'keys' holds nothing before the first run");
  refused(dhc_program_load_state(p.stream, "no such file"), "no such file");
  good(run_raw(p.stream, 0, 2, 5, 8), "five of eight");
  refused(run_raw(p.stream, 1, 2, 2, 8), "forward.step");
  refused(run_raw(p.stream, 0, 3, 1, 8), "state 'seen' is [2], these inputs need [3]: reset before sizes change");
  good(dhc_program_get(p.stream, "keys", &t), "get");
  check(t.rank == 4 && t.dim[0] == 2 && t.dim[2] == 8, "shape of a state");
  t.dim[2] = 7;
  refused(dhc_program_set(p.stream, &t), backend ? "state 'keys' is f64[2,2,7,4] here, the model needs f32[B, 2, 8, 4]"
                                                     : "state 'keys' is f32[2,2,7,4] here, the model needs f32[B, 2, 8, 4]");
  t.dim[2] = 8;
  good(dhc_program_set(p.stream, &t), "set");
  good(dhc_program_save_state(p.stream, path), "save");
  good(run_raw(p.stream, 0, 2, 3, 8), "eight of eight");
  refused(run_raw(p.stream, 1, 2, 1, 8), "the stream is longer than max_len");
  good(run_raw(p.stream, 1, 2, 1, 8), "anew after that");
  refused(dhc_program_add(p.stream, "forward.strem", DHC_MODE_RUN, NULL), "did you mean");
  refused(dhc_program_add(p.stream, "reset", DHC_MODE_RUN, NULL), "'reset' is no entry to run: dhc_program_reset does it");
  refused(dhc_program_add(p.stream, "step", DHC_MODE_GRAD, NULL), "'step' runs and trains only: gradients are of 'forward'");
  dhc_program_reset(p.stream);
  good(run_raw(p.stream, 0, 3, 1, 8), "another batch size after a reset");
  if (open_all(&other, backend, &q)) refused(dhc_program_load_state(q.stream, path), "holds the state of another model than MultiHeadAttention as it is set here");
  close_all(&q);
  if (open_all(&both_ways, backend, &q)) refused(run_raw(q.stream, 0, 2, 3, 8), "1 error");
  close_all(&q);
  remove(path);
  dhc_memory m = dhc_program_memory(p.stream, 0);
  check(backend || m.state >= 4 * 2 * 3 * 8 * 8, "memory of states");
  refused(run_raw(p.stream, 0, 3, 9, 8), "longer than max_len");
  close_all(&p);
}

int main(int argc, char **argv) {
  bool cpu = argc < 2 || strcmp(argv[1], "interp");
  for (int i = 0; i < N_CASES; i++) {
    if (argc > 2 && strcmp(argv[2], cases[i].name)) continue;
    one_case(&cases[i], "interp");
    if (cpu) one_case(&cases[i], NULL);
  }
  refusals("interp");
  if (cpu) refusals(NULL);
  if (!fails) printf("ok\n");
  return fails != 0;
}
