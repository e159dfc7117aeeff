/* Messages that only a program meets: what the command checks before it calls, word for word.
 *
 *   test_messages FOLDER: it writes there */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dhc/dhc.h"

static int fails;

static void says(const char *call, dhc_status st, dhc_code code, const char *text) {
  if (st.code == code && !strcmp(st.message, text)) return;
  printf("FAILED: %s: %d \"%s\", want %d \"%s\"\n", call, (int)st.code, st.message, (int)code, text);
  fails++;
}
#define SAYS(code, text, call) says(#call, call, code, text)

static void must(dhc_status st) {
  if (st.code == DHC_OK) return;
  printf("FAILED: set-up: %s\n", st.message);
  exit(1);
}

static const char text[] =
    "model Words(n: int = 1) {\n"
    "  param E: [256, 4] = normal(0.0, 1.0)\n"
    "  forward<B, L>(tokens: i64[B, L], mask: [B, L] = ones()) -> (y) { return sum(gather(E, tokens), axis = 2) * mask }\n"
    "  loss<B, L>(tokens: i64[B, L]) -> (loss: []) { return mean(gather(E, tokens)) }\n"
    "}\n";

static void of_models(dhc_session *s, const char *file) {
  const char *sets[257];
  dhc_model *m;
  for (int i = 0; i < 257; i++) sets[i] = "n=1";
  SAYS(DHC_E_USAGE, "more than 256 settings", dhc_model_open(s, &(dhc_model_options){.name = file, .sets = sets, .n_sets = 257}, &m));
}

static void of_programs(dhc_model *m) {
  dhc_program *p;
  dhc_tensor t;
  char name[32];
  dhc_status st;
  must(dhc_program_open(m, "forward", DHC_MODE_RUN, &p));
  must(dhc_program_init(p, 1));
  SAYS(DHC_E_INPUT, "the model has no tensor 'F'", dhc_program_get(p, "F", &t));
  SAYS(DHC_E_INPUT, "no moments 'q' here", dhc_program_get(p, "q:E", &t));
  SAYS(DHC_E_INPUT, "no averaged weights here (the recipe has no ema)", dhc_program_save(p, "nothing.safetensors", true));
  int64_t token[1] = {1};
  float mask[1] = {1};
  const dhc_tensor in[] = {{.name = "tokens", .dtype = DHC_I64, .rank = 2, .dim = {1, 1}, .data = token},
                           {.name = "msk", .dtype = DHC_F32, .rank = 2, .dim = {1, 1}, .data = mask}};
  SAYS(DHC_E_INPUT, "entry 'forward' has no input 'msk' (did you mean 'mask'?)", dhc_program_run(p, 0, in, 2, NULL, NULL));
  for (int i = 1; i < 16; i++) must(dhc_program_add(p, "forward", DHC_MODE_RUN, NULL));
  SAYS(DHC_E_USAGE, "a program has at most 16 entries", dhc_program_add(p, "forward", DHC_MODE_RUN, NULL));
  for (int i = st.code = 0; i < 300 && st.code == DHC_OK; i++) {
    snprintf(name, sizeof name, "scalar%d", i);
    st = dhc_program_set_scalar(p, name, 1);
  }
  says("dhc_program_set_scalar", st, DHC_E_USAGE, "more than 256 scalars");
  dhc_program_close(p);
}

static void of_generation(dhc_model *m) {
  const int64_t prompt[] = {1};
  dhc_generate_result r;
  SAYS(DHC_E_USAGE, "the prompt is empty: it must hold at least one token", dhc_generate(m, &(dhc_generate_options){.n_tokens = 1}, &r));
  SAYS(DHC_E_USAGE, "the temperature is -0.5: it must be finite and not negative",
       dhc_generate(m, &(dhc_generate_options){.prompt = prompt, .n_prompt = 1, .n_tokens = 1, .temperature = -0.5}, &r));
}

static void of_training(dhc_session *s, dhc_model *m, const char *file) {
  static const char data[] = "synth:copy:length=4,n=4,n_test=2";
  static const char *const lr[] = {"lr=0.1,0.2"};
  dhc_train_result r;
  dhc_sweep *w;
  dhc_sweep_train_result all;
  char words[4200];
  snprintf(words, sizeof words, "text:%s@3", file);
  SAYS(DHC_E_USAGE, "batch: the bytes of 4611686018427387904 examples do not fit in 63 bits",
       dhc_train(m, &(dhc_train_options){.data = words, .batch = INT64_C(1) << 62, .steps = 1}, &r));
  SAYS(DHC_E_USAGE, "--val-fraction: needs a share below 1, got 1",
       dhc_train(m, &(dhc_train_options){.data = words, .val_fraction = 1, .steps = 1}, &r));
  must(dhc_sweep_open(s, &(dhc_sweep_options){.model = {.name = file}, .opts = lr, .n_opts = 1}, &w));
  SAYS(DHC_E_USAGE, "--seeds: needs at least one", dhc_sweep_train(w, &(dhc_sweep_train_options){.train = {.data = data}, .dry_run = true}, &all));
  dhc_sweep_close(w);
}

/* More variants than an object has. */
static void of_objects(const char *file) {
#ifdef TEST_LLVM
  dhc_session *s;
  dhc_model *m;
  dhc_build_result r;
  static dhc_build_variant all[65];
  must(dhc_session_open(&(dhc_session_options){.backend = "cpu", .threads = 1, .cache_dir = ""}, &s));
  must(dhc_model_open(s, &(dhc_model_options){.name = file}, &m));
  SAYS(DHC_E_USAGE, "--variant: given more than 64 times",
       dhc_model_build(m, &(dhc_build_options){.out = "nothing.o", .variants = all, .n_variants = 65}, &r));
  dhc_model_close(m);
  dhc_session_close(s);
#else
  (void)file;
#endif
}

int main(int argc, char **argv) {
  if (argc != 2) return 2;
  dhc_session *s;
  dhc_model *m;
  char file[4096];
  snprintf(file, sizeof file, "%s/words.dhc", argv[1]);
  FILE *f = fopen(file, "w");
  if (!f || fputs(text, f) < 0 || fclose(f)) return 2;
  must(dhc_session_open(&(dhc_session_options){.backend = "interp", .threads = 1, .cache_dir = ""}, &s));
  must(dhc_model_open(s, &(dhc_model_options){.name = file}, &m));
  of_models(s, file);
  of_programs(m);
  of_generation(m);
  of_training(s, m, file);
  of_objects(file);
  dhc_model_close(m);
  dhc_session_close(s);
  if (!fails) printf("ok\n");
  return fails != 0;
}
