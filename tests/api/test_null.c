/* Every function of dhc.h with each of its pointers NULL in turn, numbers outside their range, and
 * tensors that cannot be: a status that says which argument, or the documented neutral value. The
 * header itself is read: a function that no row here names is a failure. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dhc/dhc.h"

static int fails, n_rows;
static char named[1 << 16]; /* "|dhc_version|dhc_tensor_elements|…" */

static void name_function(const char *call) {
  size_t n = strcspn(call, "("), at = strlen(named);
  if (at + n + 3 > sizeof named) abort();
  named[at] = '|';
  memcpy(named + at + 1, call, n);
}

static void refused(const char *call, dhc_status st, const char *says) {
  n_rows++;
  name_function(call);
  if (st.code == DHC_E_USAGE && strstr(st.message, says)) return;
  printf("FAILED: %s: %d \"%s\", want a usage error that says \"%s\"\n", call, (int)st.code, st.message, says);
  fails++;
}

/* The whole line: whose argument, and which. */
static void is_null(const char *call, dhc_status st, const char *argument) {
  char line[200];
  snprintf(line, sizeof line, "%.*s: '%s' is NULL", (int)strcspn(call, "("), call, argument);
  refused(call, st, line);
}

static void neutral(const char *call, bool ok) {
  n_rows++;
  name_function(call);
  if (ok) return;
  printf("FAILED: %s is not neutral\n", call);
  fails++;
}

/* REFUSED("m", dhc_model_check(NULL)): the status names the argument. VALUE: any expression. */
#define REFUSED(says, call) refused(#call, call, says)
#define IS_NULL(argument, call) is_null(#call, call, argument)
#define VALUE(function, expression) neutral(#function, expression)
#define NOTHING(call) (call, neutral(#call, true))

static dhc_session *s;
static dhc_model *m;
static dhc_program *p;
static float image[784];
static int64_t target[1] = {3};
static dhc_tensor in[2];

static void must(dhc_status st) {
  if (st.code == DHC_OK) return;
  printf("FAILED: set-up: %s\n", st.message);
  exit(1);
}

static void open_all(void) {
  must(dhc_session_open(&(dhc_session_options){.backend = "interp", .threads = 1, .cache_dir = ""}, &s));
  const char *sets[] = {"hidden=4", "depth=1"};
  must(dhc_model_open(s, &(dhc_model_options){.name = "mlp", .sets = sets, .n_sets = 2}, &m));
  must(dhc_program_open(m, "loss", DHC_MODE_RUN, &p));
  must(dhc_program_init(p, 1));
  in[0] = (dhc_tensor){.name = "image", .dtype = DHC_F32, .rank = 4, .dim = {1, 1, 28, 28}, .data = image};
  in[1] = (dhc_tensor){.name = "target", .dtype = DHC_I64, .rank = 1, .dim = {1}, .data = target};
}

static void of_session(void) {
  dhc_error_info info;
  const char *names[] = {"ab", NULL};
  dhc_cache_info cache;
  char *text;
  double e;
  int64_t dims[1] = {1};
  IS_NULL("out", dhc_session_open(NULL, NULL));
  NOTHING(dhc_session_close(NULL));
  VALUE(dhc_version, dhc_version() != NULL);
  VALUE(dhc_session_errors, dhc_session_errors(NULL) == 0);
  VALUE(dhc_session_warnings, dhc_session_warnings(NULL) == 0);
  VALUE(dhc_session_diagnostics, dhc_session_diagnostics(NULL) == 0);
  VALUE(dhc_session_threads, dhc_session_threads(NULL) == 0);
  VALUE(dhc_session_stats, dhc_session_stats(NULL).kernels_compiled == 0);
  NOTHING(dhc_session_print_diagnostics(NULL, stdout, false));
  NOTHING(dhc_session_print_diagnostics(s, NULL, false));
  NOTHING(dhc_session_print_diagnostics_from(NULL, 0, stdout, false));
  NOTHING(dhc_session_print_diagnostics_from(s, 0, NULL, false));
  NOTHING(dhc_session_print_diagnostics_from(s, -7, stdout, false));
  NOTHING(dhc_session_print_diagnostics_from(s, 1 << 30, stdout, false));
  NOTHING(dhc_session_print_diagnostics_json(NULL, stdout));
  NOTHING(dhc_session_print_diagnostics_json(s, NULL));
  VALUE(dhc_closest, !dhc_closest(NULL, names, 1) && !dhc_closest("ab", NULL, 1) && !dhc_closest("ab", names, 2));
  VALUE(dhc_closest, dhc_closest("abc", names, 1) == names[0] && !dhc_closest("ab", names, -1));
  VALUE(dhc_explain, dhc_explain(0, NULL) && dhc_explain(0, &info) && !dhc_explain(-1, &info) && !dhc_explain(1 << 20, &info));
  VALUE(dhc_signal_caught, dhc_signal_caught() == 0);
  VALUE(dhc_catch_signals, true);
  IS_NULL("s", dhc_cache_inspect(NULL, false, &cache));
  IS_NULL("out", dhc_cache_inspect(s, false, NULL));
  IS_NULL("s", dhc_cache_prune(NULL, 0, NULL));
  IS_NULL("s", dhc_doctor_json(NULL, &text));
  IS_NULL("out", dhc_doctor_json(s, NULL));
  IS_NULL("s", dhc_opt_text(NULL, "a", "b", "cse", &text));
  IS_NULL("name", dhc_opt_text(s, NULL, "b", "cse", &text));
  IS_NULL("text", dhc_opt_text(s, "a", NULL, "cse", &text));
  IS_NULL("passes", dhc_opt_text(s, "a", "b", NULL, &text));
  IS_NULL("out", dhc_opt_text(s, "a", "b", "cse", NULL));
  IS_NULL("s", dhc_kernel_check(NULL, "a", "b", dims, 1, 0, &e, &text));
  IS_NULL("name", dhc_kernel_check(s, NULL, "b", dims, 1, 0, &e, &text));
  IS_NULL("text", dhc_kernel_check(s, "a", NULL, dims, 1, 0, &e, &text));
  IS_NULL("dims", dhc_kernel_check(s, "a", "b", NULL, 1, 0, &e, &text));
  IS_NULL("max_rel", dhc_kernel_check(s, "a", "b", dims, 1, 0, NULL, &text));
  IS_NULL("report", dhc_kernel_check(s, "a", "b", dims, 1, 0, &e, NULL));
}

static void of_transplant(void) {
  IS_NULL("p", dhc_program_transplant(NULL, "w.safetensors", NULL, NULL));
  IS_NULL("path", dhc_program_transplant(p, NULL, NULL, NULL));
}

static void of_sweep(void) {
  dhc_sweep *w = (dhc_sweep *)1;
  const char *axes[] = {"hidden=3,4"}, *none[] = {NULL};
  dhc_sweep_options o = {.model = {.name = "mlp"}, .axes = axes, .n_axes = 1}, bad = o;
  IS_NULL("s", dhc_sweep_open(NULL, &o, &w));
  IS_NULL("o", dhc_sweep_open(s, NULL, &w));
  IS_NULL("out", dhc_sweep_open(s, &o, NULL));
  bad.model.name = NULL;
  refused("dhc_sweep_open", dhc_sweep_open(s, &bad, &w), "'o->model.name' is NULL");
  bad = o, bad.axes = NULL;
  refused("dhc_sweep_open", dhc_sweep_open(s, &bad, &w), "'o->axes' is NULL");
  bad = o, bad.axes = none;
  refused("dhc_sweep_open", dhc_sweep_open(s, &bad, &w), "'o->axes[i]' is NULL");
  bad = o, bad.random = -1;
  refused("dhc_sweep_open", dhc_sweep_open(s, &bad, &w), "--random: needs a number of variants, got -1");
  VALUE(dhc_sweep_open, !w);
  VALUE(dhc_sweep_count, dhc_sweep_count(NULL) == 0);
  VALUE(dhc_sweep_name, !dhc_sweep_name(NULL, 0));
  IS_NULL("w", dhc_sweep_objects(NULL, NULL, NULL, NULL));
  IS_NULL("w", dhc_sweep_costs(NULL, NULL, NULL));
  IS_NULL("w", dhc_sweep_steps(NULL, NULL, NULL));
  NOTHING(dhc_sweep_close(NULL));
  dhc_sweep_train_result r;
  uint64_t seeds[] = {1};
  dhc_sweep_train_options t = {.train = {.data = "npy:none"}, .out = "must_not_be_made", .seeds = seeds, .n_seeds = 1}, no = t;
  IS_NULL("w", dhc_sweep_train(NULL, &t, &r));
  IS_NULL("result", dhc_sweep_merge("must_not_be_made", none, 1, NULL));
  IS_NULL("out", dhc_sweep_merge(NULL, none, 1, &r));
  IS_NULL("folders", dhc_sweep_merge("must_not_be_made", NULL, 1, &r));
  IS_NULL("folders[i]", dhc_sweep_merge("must_not_be_made", none, 1, &r));
  IS_NULL("out", dhc_sweep_json("nowhere", NULL, NULL));
  IS_NULL("folder", dhc_sweep_json(NULL, NULL, &(char *){NULL}));
  REFUSED("no column 'speed' of results.csv is a number of a run", dhc_sweep_json("nowhere", "speed", &(char *){NULL}));
  REFUSED("merge: needs the folders of a sweep", dhc_sweep_merge("must_not_be_made", none, 0, &r));
  must(dhc_sweep_open(s, &o, &w));
  VALUE(dhc_sweep_name, dhc_sweep_count(w) == 2 && !dhc_sweep_name(w, -1) && !dhc_sweep_name(w, 2) && dhc_sweep_name(w, 1));
  IS_NULL("o", dhc_sweep_train(w, NULL, &r));
  IS_NULL("out", dhc_sweep_train(w, &t, NULL));
  no.out = NULL;
  refused("dhc_sweep_train", dhc_sweep_train(w, &no, &r), "'o->out' is NULL");
  no = t, no.train.data = NULL;
  refused("dhc_sweep_train", dhc_sweep_train(w, &no, &r), "'o->train.data' is NULL");
  no = t, no.seeds = NULL;
  refused("dhc_sweep_train", dhc_sweep_train(w, &no, &r), "'o->seeds' is NULL");
  no = t, no.n_seeds = 0;
  refused("dhc_sweep_train", dhc_sweep_train(w, &no, &r), "--seeds");
  no = t, no.n_shards = 2;
  refused("dhc_sweep_train", dhc_sweep_train(w, &no, &r), "--shard");
  dhc_sweep_close(w);
}

static void of_model(void) {
  dhc_model *q;
  char *text;
  const char *sets[] = {NULL};
  IS_NULL("s", dhc_model_open(NULL, &(dhc_model_options){.name = "mlp"}, &q));
  IS_NULL("o", dhc_model_open(s, NULL, &q));
  IS_NULL("out", dhc_model_open(s, &(dhc_model_options){.name = "mlp"}, NULL));
  IS_NULL("o->name", dhc_model_open(s, &(dhc_model_options){0}, &q));
  IS_NULL("o->sets", dhc_model_open(s, &(dhc_model_options){.name = "mlp", .n_sets = 1}, &q));
  IS_NULL("o->sets[i]", dhc_model_open(s, &(dhc_model_options){.name = "mlp", .sets = sets, .n_sets = 1}, &q));
  NOTHING(dhc_model_close(NULL));
  VALUE(dhc_model_name, !dhc_model_name(NULL));
  VALUE(dhc_model_hash, !dhc_model_hash(NULL));
  IS_NULL("m", dhc_model_check(NULL));
  IS_NULL("m", dhc_model_pack(NULL, "w", "p.dhcm"));
  IS_NULL("weights", dhc_model_pack(m, NULL, "p.dhcm"));
  IS_NULL("path", dhc_model_pack(m, "w", NULL));
  VALUE(dhc_package_find, !dhc_package_find(NULL, NULL) && !dhc_package_find("nowhere", NULL));
  VALUE(dhc_model_n_tensors, dhc_model_n_tensors(NULL) == 0);
  VALUE(dhc_model_tensor, !dhc_model_tensor(NULL, 0).path && !dhc_model_tensor(m, -1).path && !dhc_model_tensor(m, 1 << 20).path);
  VALUE(dhc_model_n_params, dhc_model_n_params(NULL) == 0);
  VALUE(dhc_model_n_entries, dhc_model_n_entries(NULL) == 0);
  VALUE(dhc_model_entry_name, !dhc_model_entry_name(NULL, 0) && !dhc_model_entry_name(m, -1) && !dhc_model_entry_name(m, 1 << 20));
  IS_NULL("s", dhc_source_json(NULL, "a.dhc", NULL, &text));
  IS_NULL("path", dhc_source_json(s, NULL, NULL, &text));
  IS_NULL("out", dhc_source_json(s, "a.dhc", NULL, NULL));
  REFUSED("a text of a file needs the file's folder in its path, got \"a.dhc\"", dhc_source_json(s, "a.dhc", "", &text));
  VALUE(dhc_session_doing, !dhc_session_doing(NULL).what);
  IS_NULL("m", dhc_model_graph_json(NULL, NULL, NULL, &text));
  IS_NULL("out", dhc_model_graph_json(m, NULL, NULL, NULL));
  IS_NULL("m", dhc_model_info_json(NULL, NULL, NULL, &text));
  IS_NULL("out", dhc_model_info_json(m, NULL, NULL, NULL));
  dhc_profile profiled;
  IS_NULL("m", dhc_model_profile(NULL, &(dhc_profile_options){0}, &profiled));
  IS_NULL("o", dhc_model_profile(m, NULL, &profiled));
  IS_NULL("out", dhc_model_profile(m, &(dhc_profile_options){0}, NULL));
  dhc_tune_result tuned;
  IS_NULL("m", dhc_model_tune(NULL, &(dhc_tune_options){.file = "t"}, &tuned));
  IS_NULL("o", dhc_model_tune(m, NULL, &tuned));
  IS_NULL("o->file", dhc_model_tune(m, &(dhc_tune_options){0}, &tuned));
  IS_NULL("out", dhc_model_tune(m, &(dhc_tune_options){.file = "t"}, NULL));
  IS_NULL("p", dhc_program_ablate(NULL, NULL, 0));
  IS_NULL("what", dhc_program_ablate(p, NULL, 1));
  REFUSED("--ablate: needs a path or a kind of layer, got \"\"", dhc_program_ablate(p, (const char *const[]){""}, 1));
  IS_NULL("s", dhc_library(NULL, NULL, NULL));
  IS_NULL("item", dhc_library(s, NULL, NULL));
  IS_NULL("m", dhc_predict(NULL, &(dhc_predict_options){0}));
  IS_NULL("o", dhc_predict(m, NULL));
  IS_NULL("o->weights", dhc_predict(m, &(dhc_predict_options){0}));
  IS_NULL("o->row", dhc_predict(m, &(dhc_predict_options){.weights = "w"}));
  IS_NULL("m", dhc_ablate(NULL, &(dhc_ablate_options){0}));
  IS_NULL("o", dhc_ablate(m, NULL));
  IS_NULL("o->data", dhc_ablate(m, &(dhc_ablate_options){.weights = "w"}));
  IS_NULL("o->weights", dhc_ablate(m, &(dhc_ablate_options){.data = "npy:nowhere"}));
  IS_NULL("s", dhc_kernels_diff(NULL, &(dhc_model_options){.name = "mlp"}, ".", ".", NULL, &text));
  IS_NULL("base", dhc_kernels_diff(s, NULL, ".", ".", NULL, &text));
  IS_NULL("a", dhc_kernels_diff(s, &(dhc_model_options){.name = "mlp"}, NULL, ".", NULL, &text));
  IS_NULL("b", dhc_kernels_diff(s, &(dhc_model_options){.name = "mlp"}, ".", NULL, NULL, &text));
  IS_NULL("out", dhc_kernels_diff(s, &(dhc_model_options){.name = "mlp"}, ".", ".", NULL, NULL));
  IS_NULL("s", dhc_plans_diff(NULL, &(dhc_model_options){.name = "mlp"}, ".", ".", NULL, "plan", &text));
  IS_NULL("base", dhc_plans_diff(s, NULL, ".", ".", NULL, "plan", &text));
  IS_NULL("a", dhc_plans_diff(s, &(dhc_model_options){.name = "mlp"}, NULL, ".", NULL, "plan", &text));
  IS_NULL("b", dhc_plans_diff(s, &(dhc_model_options){.name = "mlp"}, ".", NULL, NULL, "plan", &text));
  IS_NULL("stage", dhc_plans_diff(s, &(dhc_model_options){.name = "mlp"}, ".", ".", NULL, NULL, &text));
  IS_NULL("out", dhc_plans_diff(s, &(dhc_model_options){.name = "mlp"}, ".", ".", NULL, "plan", NULL));
  IS_NULL("m", dhc_model_costs(NULL, NULL, &(dhc_costs){0}));
  IS_NULL("out", dhc_model_costs(m, NULL, NULL));
  VALUE(dhc_costs_field, dhc_costs_field(NULL, 0, NULL, NULL) && !dhc_costs_field(NULL, -1, NULL, NULL) && !dhc_costs_field(NULL, 1000, NULL, NULL));
  VALUE(dhc_costs_cache_bytes, dhc_costs_cache_bytes(NULL, 5) == 0 && dhc_costs_cache_bytes(&(dhc_costs){0}, -1) == 0);
  IS_NULL("m", dhc_model_print(NULL, NULL, "graph", &text));
  IS_NULL("stage", dhc_model_print(m, NULL, NULL, &text));
  IS_NULL("out", dhc_model_print(m, NULL, "graph", NULL));
  IS_NULL("m", dhc_recipe_json(NULL, NULL, &text));
  IS_NULL("out", dhc_recipe_json(m, NULL, NULL));
}

static void of_runs(void) {
  dhc_train_result trained;
  dhc_eval_result evaluated;
  dhc_generate_result generated;
  int rows, failed;
  const dhc_eval_options no_data = {.weights = "w"}, no_weights = {.data = "idx:."};
  const dhc_generate_options no_prompt = {.n_prompt = 1, .n_tokens = 1};
  const dhc_verify_options verify = {.oracle = "nowhere", .tolerance = -1};
  IS_NULL("m", dhc_train(NULL, &(dhc_train_options){.data = "idx:."}, &trained));
  IS_NULL("o", dhc_train(m, NULL, &trained));
  IS_NULL("out", dhc_train(m, &(dhc_train_options){.data = "idx:."}, NULL));
  IS_NULL("o->data", dhc_train(m, &(dhc_train_options){0}, &trained));
  IS_NULL("m", dhc_evaluate(NULL, &no_data, &evaluated));
  IS_NULL("o", dhc_evaluate(m, NULL, &evaluated));
  IS_NULL("out", dhc_evaluate(m, &no_data, NULL));
  IS_NULL("o->data", dhc_evaluate(m, &no_data, &evaluated));
  IS_NULL("o->weights", dhc_evaluate(m, &no_weights, &evaluated));
  IS_NULL("m", dhc_generate(NULL, &no_prompt, &generated));
  IS_NULL("o", dhc_generate(m, NULL, &generated));
  IS_NULL("out", dhc_generate(m, &no_prompt, NULL));
  IS_NULL("o->prompt", dhc_generate(m, &no_prompt, &generated));
  dhc_rl_result learned;
  const dhc_rl_options rl = {.env = "pendulum", .steps = 1, .eval_episodes = 1};
  const dhc_model_options mlp = {.name = "mlp"};
  dhc_model *policy;
  IS_NULL("s", dhc_rl_model(NULL, &mlp, "pendulum", NULL, &policy));
  IS_NULL("o", dhc_rl_model(s, NULL, "pendulum", NULL, &policy));
  IS_NULL("env", dhc_rl_model(s, &mlp, NULL, NULL, &policy));
  IS_NULL("out", dhc_rl_model(s, &mlp, "pendulum", NULL, NULL));
  IS_NULL("m", dhc_rl(NULL, &rl, &learned));
  IS_NULL("o", dhc_rl(m, NULL, &learned));
  IS_NULL("out", dhc_rl(m, &rl, NULL));
  IS_NULL("o->env", dhc_rl(m, &(dhc_rl_options){0}, &learned));
  IS_NULL("weights", dhc_rl_evaluate(m, NULL, &rl, &learned));
  REFUSED("0 episodes are none", dhc_rl_evaluate(m, "w", &(dhc_rl_options){.env = "pendulum"}, &learned));
  REFUSED("-1 steps are none", dhc_rl(m, &(dhc_rl_options){.env = "pendulum", .steps = -1}, &learned));
  REFUSED("a seed has 32 bits here", dhc_rl(m, &(dhc_rl_options){.env = "pendulum", .steps = 1, .seed = 1ull << 32}, &learned));
  char *recipe;
  IS_NULL("m", dhc_rl_recipe_json(NULL, 1, &recipe));
  IS_NULL("out", dhc_rl_recipe_json(m, 1, NULL));
  VALUE(dhc_rl_environment, !strcmp(dhc_rl_environment(0), "pendulum") && !dhc_rl_environment(-1) && !dhc_rl_environment(1000));
  const dhc_build_options object = {.out = "m.o"};
  dhc_build_result built;
  IS_NULL("m", dhc_model_build(NULL, &object, &built));
  IS_NULL("o", dhc_model_build(m, NULL, &built));
  IS_NULL("m", dhc_verify_oracle(NULL, &verify, &rows, &failed));
  IS_NULL("o", dhc_verify_oracle(m, NULL, &rows, &failed));
  IS_NULL("o->oracle", dhc_verify_oracle(m, &(dhc_verify_options){0}, &rows, &failed));
  IS_NULL("n_rows", dhc_verify_oracle(m, &verify, NULL, &failed));
  IS_NULL("n_failed", dhc_verify_oracle(m, &verify, &rows, NULL));
}

static void of_program(void) {
  dhc_program *q;
  dhc_tensor t;
  IS_NULL("m", dhc_program_open(NULL, "loss", DHC_MODE_RUN, &q));
  IS_NULL("entry", dhc_program_open(m, NULL, DHC_MODE_RUN, &q));
  IS_NULL("out", dhc_program_open(m, "loss", DHC_MODE_RUN, NULL));
  REFUSED("77 is no mode", dhc_program_open(m, "loss", (dhc_mode)77, &q));
  IS_NULL("p", dhc_program_add(NULL, "loss", DHC_MODE_RUN, NULL));
  IS_NULL("entry", dhc_program_add(p, NULL, DHC_MODE_RUN, NULL));
  NOTHING(dhc_program_close(NULL));
  IS_NULL("p", dhc_program_init(NULL, 0));
  IS_NULL("p", dhc_program_load(NULL, "a", false));
  IS_NULL("path", dhc_program_load(p, NULL, false));
  IS_NULL("p", dhc_program_save(NULL, "a", false));
  IS_NULL("path", dhc_program_save(p, NULL, false));
  IS_NULL("p", dhc_program_set(NULL, in));
  IS_NULL("t", dhc_program_set(p, NULL));
  IS_NULL("p", dhc_program_get(NULL, "a", &t));
  IS_NULL("path", dhc_program_get(p, NULL, &t));
  IS_NULL("t", dhc_program_get(p, "a", NULL));
  IS_NULL("p", dhc_program_set_scalar(NULL, "$lr", 0));
  IS_NULL("name", dhc_program_set_scalar(p, NULL, 0));
  void *there[2] = {image, NULL}, *copy;
  IS_NULL("p", dhc_program_run_at(NULL, 0, in, there, 2, NULL, NULL));
  IS_NULL("at", dhc_program_run_at(p, 0, in, NULL, 2, NULL, NULL));
  REFUSED("tensor 'image' is to lie in a GPU's memory: backend interp computes in the host's", dhc_program_run_at(p, 0, in, there, 2, NULL, NULL));
  IS_NULL("p", dhc_program_upload(NULL, in, &copy));
  IS_NULL("t", dhc_program_upload(p, NULL, &copy));
  IS_NULL("at", dhc_program_upload(p, in, NULL));
  REFUSED("computes in the host's", dhc_program_upload(p, in, &copy));
  NOTHING(dhc_program_drop(NULL, image));
  IS_NULL("p", dhc_program_plan(NULL, 0, in, 2));
  REFUSED("no entry number 9", dhc_program_plan(p, 9, in, 2));
  dhc_call *c = NULL;
  dhc_program *other = NULL;
  const dhc_entry_info *e = NULL;
  IS_NULL("p", dhc_call_open(NULL, 0, in, 2, &c));
  IS_NULL("out", dhc_call_open(p, 0, in, 2, NULL));
  REFUSED("no entry number 9", dhc_call_open(p, 9, in, 2, &c));
  IS_NULL("c", dhc_call_run(NULL, NULL, NULL));
  VALUE(dhc_call_results, !dhc_call_results(NULL, NULL));
  NOTHING(dhc_call_close(NULL));
  IS_NULL("of", dhc_program_share(NULL, 1, &other));
  IS_NULL("out", dhc_program_share(p, 1, NULL));
  IS_NULL("m", dhc_model_signature(NULL, "forward", &e));
  IS_NULL("entry", dhc_model_signature(m, NULL, &e));
  IS_NULL("out", dhc_model_signature(m, "forward", NULL));
  VALUE(dhc_stage_name, !dhc_stage_name(-1) && dhc_stage_name(0) && !dhc_stage_name(999));
  NOTHING(dhc_format_number(1, NULL));
  NOTHING(dhc_program_reset(NULL));
  IS_NULL("p", dhc_program_save_state(NULL, "a"));
  IS_NULL("path", dhc_program_save_state(p, NULL));
  IS_NULL("p", dhc_program_load_state(NULL, "a"));
  IS_NULL("path", dhc_program_load_state(p, NULL));
  VALUE(dhc_program_memory, dhc_program_memory(NULL, 0).planned == 0 && dhc_program_memory(p, 99).planned == 0);
  NOTHING(dhc_program_profile(NULL, true));
  VALUE(dhc_program_profile_rows, dhc_program_profile_rows(NULL) == 0);
  VALUE(dhc_program_profile_row, !dhc_program_profile_row(NULL, 0).kernel && !dhc_program_profile_row(p, -1).kernel);
  VALUE(dhc_program_n_kernels, dhc_program_n_kernels(NULL, 0) == 0 && dhc_program_n_kernels(p, -1) == 0);
  IS_NULL("p", dhc_program_check(NULL, 0));
  REFUSED("program has no entry number 9", dhc_program_check(p, 9));
  VALUE(dhc_program_input, !dhc_program_input(NULL, 0, 0) && !dhc_program_input(p, 99, 0) && !dhc_program_input(p, 0, -1) && !dhc_program_input(p, 0, 99));
  VALUE(dhc_program_n_calls, dhc_program_n_calls(NULL, 0) == 0 && dhc_program_n_calls(p, 99) == 0);
}

static void of_tensors(void) {
  dhc_tensor_file *f;
  dhc_tensor t = in[0];
  VALUE(dhc_tensor_elements, dhc_tensor_elements(NULL) == -1 && dhc_tensor_elements(&t) == 784);
  VALUE(dhc_tensor_bytes, dhc_tensor_bytes(NULL) == -1 && dhc_tensor_bytes(&t) == 4 * 784);
  VALUE(dhc_dtype_text, !strcmp(dhc_dtype_text((dhc_dtype)99), "?"));
  VALUE(dhc_tensor_value, isnan(dhc_tensor_value(NULL, 0)) && isnan(dhc_tensor_value(&t, -1)) && isnan(dhc_tensor_value(&t, 784)));
  IS_NULL("path", dhc_tensor_file_open(NULL, &f));
  IS_NULL("out", dhc_tensor_file_open("a", NULL));
  NOTHING(dhc_tensor_file_close(NULL));
  VALUE(dhc_tensor_file_count, dhc_tensor_file_count(NULL) == 0);
  VALUE(dhc_tensor_file_get, !dhc_tensor_file_get(NULL, 0));
  IS_NULL("path", dhc_tensor_file_save(NULL, &t, 1));
  REFUSED("dhc_tensor_file_save: 1 tensors at NULL", dhc_tensor_file_save("a", NULL, 1));
  REFUSED("-1 tensors", dhc_tensor_file_save("a", &t, -1));
}

/* One way to be no tensor, in every place that reads one. */
static void no_tensor(const char *says, dhc_tensor t) {
  dhc_tensor two[2] = {t, in[1]};
  refused("dhc_program_run", dhc_program_run(p, 0, two, 2, NULL, NULL), says);
  refused("dhc_tensor_file_save", dhc_tensor_file_save("must_not_be_written.safetensors", &t, 1), says);
  refused("dhc_program_set", dhc_program_set(p, &t), says);
}

static void bad_tensors(void) {
  dhc_tensor t = in[0];
  t.name = NULL, no_tensor("a tensor has no name", t), t = in[0];
  t.data = NULL, no_tensor("tensor 'image' has no data", t), t = in[0];
  t.dtype = (dhc_dtype)99, no_tensor("tensor 'image': 99 is no dtype", t), t = in[0];
  t.dtype = (dhc_dtype)-1, no_tensor("-1 is no dtype", t), t = in[0];
  t.rank = 9, no_tensor("tensor 'image': rank 9 is outside 0..8", t), t = in[0];
  t.rank = -1, no_tensor("rank -1 is outside 0..8", t), t = in[0];
  t.rank = 12, no_tensor("rank 12 is outside 0..8", t), t = in[0];
  t.dim[0] = -8, no_tensor("tensor 'image': no tensor can be [-8,1,28,28]", t), t = in[0];
  t.dim[0] = INT64_MAX, no_tensor("no tensor can be [9223372036854775807,1,28,28]", t), t = in[0];
  t.dim[0] = INT64_MAX / 784, no_tensor("no tensor can be", t), t = in[0];
  t.dim[0] = 0, t.dim[1] = INT64_MAX, no_tensor("no tensor can be", t);
  IS_NULL("p", dhc_program_run(NULL, 0, in, 2, NULL, NULL));
  REFUSED("dhc_program_run: 2 tensors at NULL", dhc_program_run(p, 0, NULL, 2, NULL, NULL));
  REFUSED("-1 tensors", dhc_program_run(p, 0, in, -1, NULL, NULL));
  REFUSED("program has no entry number 7", dhc_program_run(p, 7, in, 2, NULL, NULL));
  REFUSED("no entry number -1", dhc_program_run(p, -1, in, 2, NULL, NULL));
  must(dhc_program_run(p, 0, in, 2, NULL, NULL)); /* and the program still works */
}

/* Every name behind DHC_API in the header occurs above. */
static void all_named(const char *header, int at_least) {
  FILE *f = fopen(header, "r");
  char line[500];
  int n = 0;
  if (!f) printf("FAILED: cannot read %s\n", header), exit(1);
  while (fgets(line, sizeof line, f)) {
    char *at = strncmp(line, "DHC_API ", 8) ? NULL : strstr(line, "dhc_");
    while (at && at[strspn(at, "abcdefghijklmnopqrstuvwxyz_0123456789")] != '(') at = strstr(at + 4, "dhc_");
    if (!at) continue;
    char key[100];
    snprintf(key, sizeof key, "|%.*s|", (int)strcspn(at, "("), at);
    n++;
    if (!strstr(named, key)) printf("FAILED: %s has no row here\n", key), fails++;
  }
  fclose(f);
  if (n < at_least) printf("FAILED: only %d functions found in %s\n", n, header), fails++;
}

int main(int argc, char **argv) {
  open_all();
  of_session();
  of_model();
  of_sweep();
  of_transplant();
  of_runs();
  of_program();
  of_tensors();
  bad_tensors();
  strcat(named, "|");
  all_named(argc > 1 ? argv[1] : "", 60);
  all_named(argc > 2 ? argv[2] : "", 5);
  dhc_program_close(p);
  dhc_model_close(m);
  dhc_session_close(s);
  printf("%d calls, %d failures\n", n_rows, fails);
  return fails != 0;
}
