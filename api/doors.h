/* What stands behind the doors of dhc.h that can run out of memory: api_X is dhc_X without
 * its guard. Called by doors.c alone; the library's own calls go through the doors too, so
 * that each has a status of its own and what it held is dropped where it was held. */
#ifndef DHC_API_DOORS_H
#define DHC_API_DOORS_H

#include "dhc/dhc.h"

dhc_status api_session_open(const dhc_session_options *o, dhc_session **out) DHC_MUST_USE;
dhc_status api_model_open(dhc_session *s, const dhc_model_options *o, dhc_model **out) DHC_MUST_USE;
dhc_status api_model_check(dhc_model *m) DHC_MUST_USE;
dhc_status api_model_pack(dhc_model *m, const char *weights, const char *path) DHC_MUST_USE;
dhc_status api_source_json(dhc_session *s, const char *path, const char *text, char **out) DHC_MUST_USE;
dhc_status api_model_graph_json(dhc_model *m, const char *entry, const char *sizes, char **out) DHC_MUST_USE;
dhc_status api_model_info_json(dhc_model *m, const char *entry, const char *sizes, char **out) DHC_MUST_USE;
dhc_status api_model_costs(dhc_model *m, const dhc_costs_options *o, dhc_costs *out) DHC_MUST_USE;
dhc_status api_kernels_diff(dhc_session *s, const dhc_model_options *base, const char *a, const char *b, const char *entry, char **out) DHC_MUST_USE;
dhc_status api_plans_diff(dhc_session *s, const dhc_model_options *base, const char *a, const char *b, const char *entry, const char *stage,
                          char **out) DHC_MUST_USE;
dhc_status api_model_print(dhc_model *m, const char *entry, const char *stage, char **out) DHC_MUST_USE;
dhc_status api_model_profile(dhc_model *m, const dhc_profile_options *o, dhc_profile *out) DHC_MUST_USE;
dhc_status api_model_tune(dhc_model *m, const dhc_tune_options *o, dhc_tune_result *out) DHC_MUST_USE;
dhc_status api_program_open(dhc_model *m, const char *entry, dhc_mode mode, dhc_program **out) DHC_MUST_USE;
dhc_status api_program_ablate(dhc_program *p, const char *const *what, int n) DHC_MUST_USE;
dhc_status api_ablate(dhc_model *m, const dhc_ablate_options *o) DHC_MUST_USE;
dhc_status api_program_add(dhc_program *p, const char *entry, dhc_mode mode, int *index) DHC_MUST_USE;
dhc_status api_program_init(dhc_program *p, uint64_t seed) DHC_MUST_USE;
dhc_status api_program_load(dhc_program *p, const char *path, bool partial) DHC_MUST_USE;
dhc_status api_program_transplant(dhc_program *p, const char *path,
                                  void (*row)(void *ctx, dhc_transplant_kind kind, const char *name, const char *why), void *ctx) DHC_MUST_USE;
dhc_status api_program_save(dhc_program *p, const char *path, bool ema) DHC_MUST_USE;
dhc_status api_program_set(dhc_program *p, const dhc_tensor *t) DHC_MUST_USE;
dhc_status api_program_get(dhc_program *p, const char *path, dhc_tensor *t) DHC_MUST_USE;
dhc_status api_program_set_scalar(dhc_program *p, const char *name, double v) DHC_MUST_USE;
dhc_status api_program_run(dhc_program *p, int index, const dhc_tensor *inputs, int n_inputs,
                           const dhc_tensor **results, int *n_results) DHC_MUST_USE;
dhc_status api_program_run_at(dhc_program *p, int index, const dhc_tensor *inputs, void *const *at, int n_inputs,
                              const dhc_tensor **results, int *n_results) DHC_MUST_USE;
dhc_status api_program_upload(dhc_program *p, const dhc_tensor *t, void **at) DHC_MUST_USE;
dhc_status api_program_plan(dhc_program *p, int index, const dhc_tensor *inputs, int n_inputs) DHC_MUST_USE;
dhc_status api_program_share(dhc_program *of, int threads, dhc_program **out) DHC_MUST_USE;
dhc_status api_model_signature(dhc_model *m, const char *entry, const dhc_entry_info **out) DHC_MUST_USE;
dhc_status api_call_open(dhc_program *p, int index, const dhc_tensor *inputs, int n_inputs, dhc_call **out) DHC_MUST_USE;
dhc_status api_call_run(dhc_call *c, const void *const *inputs, void *const *results) DHC_MUST_USE;
/* What of a run is not to be done beside other calls of the session: states begin, the image is kept. A door of its own. */
dhc_status call_begin(dhc_call *c) DHC_MUST_USE;
dhc_status api_call_begin(dhc_call *c) DHC_MUST_USE;
dhc_session *call_session(const dhc_call *c); /* NULL: of NULL */
bool call_is_apart(const dhc_call *c);        /* it may run beside other calls of the session */
dhc_status api_program_check(dhc_program *p, int index) DHC_MUST_USE;
dhc_status api_program_save_state(dhc_program *p, const char *path) DHC_MUST_USE;
dhc_status api_program_load_state(dhc_program *p, const char *path) DHC_MUST_USE;
dhc_status api_train(dhc_model *m, const dhc_train_options *o, dhc_train_result *out) DHC_MUST_USE;
dhc_status api_evaluate(dhc_model *m, const dhc_eval_options *o, dhc_eval_result *out) DHC_MUST_USE;
dhc_status api_library(dhc_session *s, void (*item)(void *ctx, const dhc_library_item *i), void *ctx) DHC_MUST_USE;
dhc_status api_predict(dhc_model *m, const dhc_predict_options *o) DHC_MUST_USE;
dhc_status api_model_build(dhc_model *m, const dhc_build_options *o, dhc_build_result *out) DHC_MUST_USE;
dhc_status api_generate(dhc_model *m, const dhc_generate_options *o, dhc_generate_result *out) DHC_MUST_USE;
dhc_status api_verify_oracle(dhc_model *m, const dhc_verify_options *o, int *n_rows, int *n_failed) DHC_MUST_USE;
dhc_status api_opt_text(dhc_session *s, const char *name, const char *text, const char *passes,
                        char **out) DHC_MUST_USE;
dhc_status api_kernel_check(dhc_session *s, const char *name, const char *text, const int64_t *dims, int n_dims,
                            uint64_t seed, double *max_rel, char **report) DHC_MUST_USE;
dhc_status api_cache_inspect(dhc_session *s, bool verify, dhc_cache_info *out) DHC_MUST_USE;
dhc_status api_cache_prune(dhc_session *s, int64_t max_bytes, int64_t *removed) DHC_MUST_USE;
dhc_status api_doctor_json(dhc_session *s, char **out) DHC_MUST_USE;
dhc_status api_sweep_open(dhc_session *s, const dhc_sweep_options *o, dhc_sweep **out) DHC_MUST_USE;
dhc_status api_sweep_steps(dhc_sweep *w, bool (*row)(void *ctx, const dhc_sweep_row *r), void *ctx) DHC_MUST_USE;
dhc_status api_sweep_objects(dhc_sweep *w, const dhc_build_options *o, bool (*row)(void *ctx, const dhc_sweep_object_row *r), void *ctx) DHC_MUST_USE;
dhc_status api_sweep_costs(dhc_sweep *w, bool (*row)(void *ctx, const dhc_sweep_cost_row *r), void *ctx) DHC_MUST_USE;
dhc_status api_sweep_train(dhc_sweep *w, const dhc_sweep_train_options *o, dhc_sweep_train_result *out) DHC_MUST_USE;
dhc_status api_sweep_merge(const char *out, const char *const *folders, int n, dhc_sweep_train_result *result) DHC_MUST_USE;
dhc_status api_sweep_json(const char *folder, const char *metric, char **out) DHC_MUST_USE;
dhc_status api_rl_model(dhc_session *s, const dhc_model_options *o, const char *env, const char *assets, dhc_model **out) DHC_MUST_USE;
dhc_status api_rl(dhc_model *m, const dhc_rl_options *o, dhc_rl_result *out) DHC_MUST_USE;
dhc_status api_rl_evaluate(dhc_model *m, const char *weights, const dhc_rl_options *o, dhc_rl_result *out) DHC_MUST_USE;
dhc_status api_rl_recipe_json(dhc_model *m, int64_t steps, char **out) DHC_MUST_USE;
dhc_status api_recipe_json(dhc_model *m, const dhc_train_options *o, char **out) DHC_MUST_USE;

#endif
