/* Several variants in one object: each gives what its own model gives, by its functions and by its number; what they have in
 * common is there once; what is not so is said. */
#include "loaded.h"

#define COMMON "hidden_dim=4", "num_layers=4", "num_heads=2", "moe_frequency=0", "d_state=4"
enum { N = 3, B = 2, H = 16, W = 16, N_OUT = B * 10 };

typedef struct Variant {
  const char *name, *set;
  uint64_t seed;
  char weights[128];
  float want[N_OUT];
  dhc_build_result alone;
} Variant;

static Variant variant[N] = {{.name = "r7", .set = "mamba_ratio=7", .seed = 5}, {.name = "r1", .set = "mamba_ratio=1", .seed = 5},
                             {.name = "narrow", .set = "hidden_dim=8", .seed = 6}};
static float image[B * 3 * H * W];

static char *path(char *to, const char *name) {
  snprintf(to, 128, "%s/%s", folder, name);
  return to;
}

/* The variant as a model of its own: its weights, its results, its object's size. */
static void alone(dhc_session *s, Variant *v) {
  const char *const sets[] = {COMMON, v->set};
  const dhc_model_options mo = {.name = "dhc_jamba", .sets = sets, .n_sets = 6};
  dhc_model *m = NULL;
  dhc_program *p = NULL;
  char file[32], object[128];
  snprintf(file, sizeof file, "%s.safetensors", v->name);
  const dhc_build_options bo = {.weights = path(v->weights, file), .out = path(object, "alone.o")};
  const dhc_tensor in = {.name = "image", .dtype = DHC_F32, .rank = 4, .dim = {B, 3, H, W}, .data = image}, *out;
  int n = 0;
  bool ok = good(dhc_model_open(s, &mo, &m), s, "model") && good(dhc_program_open(m, "forward", DHC_MODE_RUN, &p), s, "program") &&
            good(dhc_program_init(p, v->seed), s, "init") && good(dhc_program_save(p, v->weights, false), s, "save") &&
            good(dhc_program_run(p, 0, &in, 1, &out, &n), s, "run") && good(dhc_model_build(m, &bo, &v->alone), s, "build");
  if (ok) memcpy(v->want, out[0].data, sizeof v->want);
  dhc_program_close(p);
  dhc_model_close(m);
}

typedef int (*Run)(int, const float *, float *, int64_t, int64_t, int64_t, void *, int64_t, const void *);
typedef int (*RunPassed)(int, const void *, const float *, float *, int64_t, int64_t, int64_t, void *, int64_t, const void *);
typedef int64_t (*Bytes)(int, int64_t, int64_t, int64_t, int);
typedef const char *(*Why)(int, int64_t, int64_t, int64_t);
typedef int (*Named)(const char *);

/* weights NULL: they are embedded. */
static void call_all(const char *so, const void *weights) {
  void *l = dlopen(so, RTLD_NOW);
  if (!check(l != NULL, "load")) return;
  Named named;
  Bytes bytes;
  Why why;
  Run run;
  RunPassed run_passed;
  *(void **)&named = dlsym(l, "v_variant");
  *(void **)&bytes = dlsym(l, "v_forward_workspace_bytes");
  *(void **)&why = dlsym(l, "v_forward_why");
  *(void **)&run = *(void **)&run_passed = dlsym(l, "v_forward");
  float got[N_OUT];
  check(dlsym(l, "v_r1_forward") && dlsym(l, "v_narrow_forward_why"), "functions of their own");
  check(named("r8") == -1 && named("r") == -1 && named("r77") == -1 && named("") == -1, "names that are none");
  check(bytes(N, B, H, W, 1) == -1 && bytes(-1, B, H, W, 1) == -1, "no workspace of none");
  check(!strcmp(why(N, B, H, W), "there is no such variant") && !why(0, B, H, W) && strstr(why(1, 0, H, W), "'B' must be from 1"), "and why");
  check((weights ? run_passed(N, weights, image, got, B, H, W, NULL, 0, NULL) : run(N, image, got, B, H, W, NULL, 0, NULL)) == 9,
        "its status");
  for (int i = 0; i < N; i++) {
    now = variant[i].name;
    if (!check(named(variant[i].name) == i, "its number")) continue;
    Memory work = memory_new((size_t)bytes(i, B, H, W, 1));
    int st = weights ? run_passed(i, weights, image, got, B, H, W, work.at, (int64_t)work.bytes, NULL)
                     : run(i, image, got, B, H, W, work.at, (int64_t)work.bytes, NULL);
    check(st == 0 && !memcmp(got, variant[i].want, sizeof got), "the model's bytes");
    memory_free(&work);
  }
  dlclose(l);
}

static void together(dhc_session *s) {
  const char *const sets[] = {COMMON};
  const dhc_model_options mo = {.name = "dhc_jamba", .sets = sets, .n_sets = 5};
  dhc_model *m = NULL;
  dhc_build_variant of[N];
  dhc_build_result r;
  char object[128], header[128], so[128], file[128], source[128], line[1024];
  int kernels = 0;
  int64_t weights = 0;
  for (int i = 0; i < N; i++) {
    of[i] = (dhc_build_variant){variant[i].name, &variant[i].set, 1, variant[i].weights};
    kernels += variant[i].alone.n_kernels;
    weights += variant[i].alone.weights_bytes;
  }
  dhc_build_options bo = {.name = "v", .variants = of, .n_variants = N, .out = path(object, "v.o"), .header = path(header, "v.h")};
  if (!good(dhc_model_open(s, &mo, &m), s, "model")) return;
  now = "embedded";
  if (good(dhc_model_build(m, &bo, &r), s, "build") && link_object(object, header, path(so, "v.so"))) {
    look_at_symbols(object);
    if (!check(r.n_kernels < kernels / 2 && r.weights_bytes < weights * 9 / 10, "kernels and tensors that are equal are there once"))
      printf("  %d kernels of %d, %lld bytes of %lld\n", r.n_kernels, kernels, (long long)r.weights_bytes, (long long)weights);
    call_all(so, NULL);
  }
  now = "passed";
  bo.weights_file = path(file, "v.weights");
  if (good(dhc_model_build(m, &bo, &r), s, "build") && link_object(object, header, path(so, "p.so"))) {
    size_t n = 0;
    char *bytes = slurp(file, &n);
    Memory at = memory_new(n);
    memcpy(at.at, bytes, n);
    call_all(so, at.at);
    memory_free(&at);
    free(bytes);
  }
  now = "source";
  bo.weights_file = NULL;
  bo.c = true;
  bo.out = path(source, "v.c");
  snprintf(line, sizeof line, "%s -std=c99 -O1 -Wall -Wextra -Werror -ffp-contract=off -shared -fPIC -o %s/c.so %s", CC, folder, source);
  if (good(dhc_model_build(m, &bo, NULL), s, "build") && check(system(line) == 0, "compiles")) call_all(path(so, "c.so"), NULL);
  dhc_model_close(m);
}

static void refused(dhc_session *s, dhc_model *m, dhc_build_variant *of, int n, const char *want) {
  char object[128];
  const dhc_build_options bo = {.variants = of, .n_variants = n, .out = path(object, "none.o")};
  dhc_status st = dhc_model_build(m, &bo, NULL);
  now = want;
  if (!check(st.code != DHC_OK && strstr(st.message, want), "is said")) printf("  %s\n", st.message);
  check(access(object, F_OK) != 0, "and nothing is written");
  (void)s;
}

static void refusals(dhc_session *s) {
  const char *const sets[] = {COMMON}, *bad = "mamba_ratios=1";
  const dhc_model_options mo = {.name = "dhc_jamba", .sets = sets, .n_sets = 5};
  dhc_model *m = NULL;
  if (!good(dhc_model_open(s, &mo, &m), s, "model")) return;
  refused(s, m, (dhc_build_variant[]){{"a b", NULL, 0, NULL}}, 1, "--variant: needs a name of letters, digits and _ that is no word of C, got \"a b\"");
  refused(s, m, (dhc_build_variant[]){{"a", NULL, 0, NULL}, {"a", NULL, 0, NULL}}, 2, "--variant a: given twice");
  refused(s, m, (dhc_build_variant[]){{"a", NULL, 0, variant[0].weights}, {"b", NULL, 0, NULL}}, 2, "variant 'a' has weights and another has none");
  refused(s, m, (dhc_build_variant[]){{"a", &bad, 1, NULL}}, 1, "1 error");
  dhc_model_close(m);
}

int main(void) {
  begin_tests();
  dhc_session *s = NULL;
  const dhc_session_options o = {.threads = 1};
  fill(image, DHC_F32, B * 3 * H * W, 3);
  if (good(dhc_session_open(&o, &s), s, "session")) {
    for (int i = 0; i < N; i++) now = variant[i].name, alone(s, &variant[i]);
    together(s);
    refusals(s);
  }
  dhc_session_close(s);
  return end_tests();
}
