/* The doors of dhc.h that can run out of memory. A session in whose call that happened may
 * hold things half made; it answers nothing more, and is there to be closed. */
#include "api/doors.h"

#include "api/api.h"

static dhc_status spent(void) {
  return dhc_status_make(DHC_E_ENVIRONMENT, "out of memory in an earlier call: the session can only be closed");
}

/* What regions may take in large blocks: what is left of the limit, and in any case enough to
 * compile with. */
static int64_t room(const dhc_session *s) {
  enum { LEAST = 64 << 20 };
  int64_t left = dhc_budget_left(&s->budget);
  return left > LEAST ? left : LEAST;
}

static dhc_status run_out(dhc_session *s, const DhcGuard *g) {
  if (s) s->spent = true;
  session_unlock(s);
  return dhc_guard_status(g);
}

static bool enter(dhc_session *s) {
  session_lock(s);
  if (!s || !s->spent) return true;
  session_unlock(s);
  return false;
}

#define DOOR(session, call)                                         \
  do {                                                              \
    dhc_session *session_ = (session);                              \
    if (!enter(session_)) return spent();                           \
    DhcGuard guard_;                                                \
    dhc_guard_enter(&guard_);                                       \
    if (session_) dhc_guard_room(&guard_, room(session_));          \
    if (session_) dhc_guard_use(session_->blocks);                  \
    if (setjmp(guard_.at)) return run_out(session_, &guard_);       \
    dhc_status door_ = (call);                                      \
    dhc_guard_leave(&guard_);                                       \
    session_unlock(session_);                                       \
    return door_;                                                   \
  } while (0)

dhc_status dhc_session_open(const dhc_session_options *o, dhc_session **out) {
  if (out) *out = NULL;
  DHC_GUARDED(api_session_open(o, out));
}

dhc_status dhc_model_open(dhc_session *s, const dhc_model_options *o, dhc_model **out) {
  if (out) *out = NULL;
  DOOR(s, api_model_open(s, o, out));
}

dhc_status dhc_model_check(dhc_model *m) {
  DOOR(m ? m->s : NULL, api_model_check(m));
}

dhc_status dhc_model_profile(dhc_model *m, const dhc_profile_options *o, dhc_profile *out) {
  DOOR(m ? m->s : NULL, api_model_profile(m, o, out));
}

dhc_status dhc_model_tune(dhc_model *m, const dhc_tune_options *o, dhc_tune_result *out) {
  DOOR(m ? m->s : NULL, api_model_tune(m, o, out));
}

dhc_status dhc_model_pack(dhc_model *m, const char *weights, const char *path) {
  DOOR(m ? m->s : NULL, api_model_pack(m, weights, path));
}

dhc_status dhc_source_json(dhc_session *s, const char *path, const char *text, char **out) {
  if (out) *out = NULL;
  DOOR(s, api_source_json(s, path, text, out));
}

dhc_status dhc_model_graph_json(dhc_model *m, const char *entry, const char *sizes, char **out) {
  if (out) *out = NULL;
  DOOR(m ? m->s : NULL, api_model_graph_json(m, entry, sizes, out));
}

dhc_status dhc_model_info_json(dhc_model *m, const char *entry, const char *sizes, char **out) {
  if (out) *out = NULL;
  DOOR(m ? m->s : NULL, api_model_info_json(m, entry, sizes, out));
}

dhc_status dhc_model_costs(dhc_model *m, const dhc_costs_options *o, dhc_costs *out) {
  DOOR(m ? m->s : NULL, api_model_costs(m, o, out));
}

dhc_status dhc_kernels_diff(dhc_session *s, const dhc_model_options *base, const char *a, const char *b, const char *entry, char **out) {
  if (out) *out = NULL;
  DOOR(s, api_kernels_diff(s, base, a, b, entry, out));
}

dhc_status dhc_plans_diff(dhc_session *s, const dhc_model_options *base, const char *a, const char *b, const char *entry, const char *stage,
                          char **out) {
  if (out) *out = NULL;
  DOOR(s, api_plans_diff(s, base, a, b, entry, stage, out));
}

dhc_status dhc_model_print(dhc_model *m, const char *entry, const char *stage, char **out) {
  if (out) *out = NULL;
  DOOR(m ? m->s : NULL, api_model_print(m, entry, stage, out));
}

dhc_status dhc_program_open(dhc_model *m, const char *entry, dhc_mode mode, dhc_program **out) {
  if (out) *out = NULL;
  DOOR(m ? m->s : NULL, api_program_open(m, entry, mode, out));
}

dhc_status dhc_program_add(dhc_program *p, const char *entry, dhc_mode mode, int *index) {
  DOOR(p ? p->m->s : NULL, api_program_add(p, entry, mode, index));
}

dhc_status dhc_program_ablate(dhc_program *p, const char *const *what, int n) {
  DOOR(p ? p->m->s : NULL, api_program_ablate(p, what, n));
}

dhc_status dhc_ablate(dhc_model *m, const dhc_ablate_options *o) {
  DOOR(m ? m->s : NULL, api_ablate(m, o));
}

dhc_status dhc_program_init(dhc_program *p, uint64_t seed) {
  DOOR(p ? p->m->s : NULL, api_program_init(p, seed));
}

dhc_status dhc_program_load(dhc_program *p, const char *path, bool partial) {
  DOOR(p ? p->m->s : NULL, api_program_load(p, path, partial));
}

dhc_status dhc_program_transplant(dhc_program *p, const char *path,
                                  void (*row)(void *ctx, dhc_transplant_kind kind, const char *name, const char *why), void *ctx) {
  DOOR(p ? p->m->s : NULL, api_program_transplant(p, path, row, ctx));
}

dhc_status dhc_program_save(dhc_program *p, const char *path, bool ema) {
  DOOR(p ? p->m->s : NULL, api_program_save(p, path, ema));
}

dhc_status dhc_program_set(dhc_program *p, const dhc_tensor *t) {
  DOOR(p ? p->m->s : NULL, api_program_set(p, t));
}

dhc_status dhc_program_get(dhc_program *p, const char *path, dhc_tensor *t) {
  DOOR(p ? p->m->s : NULL, api_program_get(p, path, t));
}

dhc_status dhc_program_set_scalar(dhc_program *p, const char *name, double v) {
  DOOR(p ? p->m->s : NULL, api_program_set_scalar(p, name, v));
}

dhc_status dhc_program_run(dhc_program *p, int index, const dhc_tensor *inputs, int n_inputs,
                           const dhc_tensor **results, int *n_results) {
  DOOR(p ? p->m->s : NULL, api_program_run(p, index, inputs, n_inputs, results, n_results));
}

dhc_status dhc_program_run_at(dhc_program *p, int index, const dhc_tensor *inputs, void *const *at, int n_inputs,
                              const dhc_tensor **results, int *n_results) {
  DOOR(p ? p->m->s : NULL, api_program_run_at(p, index, inputs, at, n_inputs, results, n_results));
}

dhc_status dhc_program_upload(dhc_program *p, const dhc_tensor *t, void **at) {
  if (at) *at = NULL;
  DOOR(p ? p->m->s : NULL, api_program_upload(p, t, at));
}

dhc_status dhc_program_plan(dhc_program *p, int index, const dhc_tensor *inputs, int n_inputs) {
  DOOR(p ? p->m->s : NULL, api_program_plan(p, index, inputs, n_inputs));
}

dhc_status dhc_program_share(dhc_program *of, int threads, dhc_program **out) {
  if (out) *out = NULL;
  DOOR(of ? of->m->s : NULL, api_program_share(of, threads, out));
}

dhc_status dhc_model_signature(dhc_model *m, const char *entry, const dhc_entry_info **out) {
  if (out) *out = NULL;
  DOOR(m ? m->s : NULL, api_model_signature(m, entry, out));
}

dhc_status dhc_call_open(dhc_program *p, int index, const dhc_tensor *inputs, int n_inputs, dhc_call **out) {
  if (out) *out = NULL;
  DOOR(p ? p->m->s : NULL, api_call_open(p, index, inputs, n_inputs, out));
}

dhc_status call_begin(dhc_call *c) {
  DOOR(call_session(c), api_call_begin(c));
}

dhc_status dhc_call_run(dhc_call *c, const void *const *inputs, void *const *results) {
  if (call_is_apart(c)) DHC_GUARDED(api_call_run(c, inputs, results));
  DOOR(call_session(c), api_call_run(c, inputs, results));
}

dhc_status dhc_program_check(dhc_program *p, int index) {
  DOOR(p ? p->m->s : NULL, api_program_check(p, index));
}

dhc_status dhc_program_save_state(dhc_program *p, const char *path) {
  DOOR(p ? p->m->s : NULL, api_program_save_state(p, path));
}

dhc_status dhc_program_load_state(dhc_program *p, const char *path) {
  DOOR(p ? p->m->s : NULL, api_program_load_state(p, path));
}

dhc_status dhc_train(dhc_model *m, const dhc_train_options *o, dhc_train_result *out) {
  DOOR(m ? m->s : NULL, api_train(m, o, out));
}

dhc_status dhc_evaluate(dhc_model *m, const dhc_eval_options *o, dhc_eval_result *out) {
  DOOR(m ? m->s : NULL, api_evaluate(m, o, out));
}

dhc_status dhc_library(dhc_session *s, void (*item)(void *ctx, const dhc_library_item *i), void *ctx) {
  DOOR(s, api_library(s, item, ctx));
}

dhc_status dhc_predict(dhc_model *m, const dhc_predict_options *o) {
  DOOR(m ? m->s : NULL, api_predict(m, o));
}

dhc_status dhc_model_build(dhc_model *m, const dhc_build_options *o, dhc_build_result *out) {
  if (out) *out = (dhc_build_result){0};
  DOOR(m ? m->s : NULL, api_model_build(m, o, out));
}

dhc_status dhc_generate(dhc_model *m, const dhc_generate_options *o, dhc_generate_result *out) {
  DOOR(m ? m->s : NULL, api_generate(m, o, out));
}

dhc_status dhc_verify_oracle(dhc_model *m, const dhc_verify_options *o, int *n_rows, int *n_failed) {
  DOOR(m ? m->s : NULL, api_verify_oracle(m, o, n_rows, n_failed));
}

dhc_status dhc_opt_text(dhc_session *s, const char *name, const char *text, const char *passes, char **out) {
  if (out) *out = NULL;
  DOOR(s, api_opt_text(s, name, text, passes, out));
}

dhc_status dhc_kernel_check(dhc_session *s, const char *name, const char *text, const int64_t *dims, int n_dims,
                            uint64_t seed, double *max_rel, char **report) {
  DOOR(s, api_kernel_check(s, name, text, dims, n_dims, seed, max_rel, report));
}

dhc_status dhc_cache_inspect(dhc_session *s, bool verify, dhc_cache_info *out) {
  DOOR(s, api_cache_inspect(s, verify, out));
}

dhc_status dhc_cache_prune(dhc_session *s, int64_t max_bytes, int64_t *removed) {
  DOOR(s, api_cache_prune(s, max_bytes, removed));
}

dhc_status dhc_doctor_json(dhc_session *s, char **out) {
  if (out) *out = NULL;
  DOOR(s, api_doctor_json(s, out));
}

dhc_status dhc_sweep_open(dhc_session *s, const dhc_sweep_options *o, dhc_sweep **out) {
  if (out) *out = NULL;
  DOOR(s, api_sweep_open(s, o, out));
}

dhc_status dhc_sweep_steps(dhc_sweep *w, bool (*row)(void *ctx, const dhc_sweep_row *r), void *ctx) {
  DOOR(sweep_session(w), api_sweep_steps(w, row, ctx));
}

dhc_status dhc_sweep_objects(dhc_sweep *w, const dhc_build_options *o, bool (*row)(void *ctx, const dhc_sweep_object_row *r), void *ctx) {
  DOOR(sweep_session(w), api_sweep_objects(w, o, row, ctx));
}

dhc_status dhc_sweep_costs(dhc_sweep *w, bool (*row)(void *ctx, const dhc_sweep_cost_row *r), void *ctx) {
  DOOR(sweep_session(w), api_sweep_costs(w, row, ctx));
}

dhc_status dhc_sweep_train(dhc_sweep *w, const dhc_sweep_train_options *o, dhc_sweep_train_result *out) {
  DOOR(sweep_session(w), api_sweep_train(w, o, out));
}

dhc_status dhc_sweep_merge(const char *out, const char *const *folders, int n, dhc_sweep_train_result *result) {
  DHC_GUARDED(api_sweep_merge(out, folders, n, result));
}

dhc_status dhc_recipe_json(dhc_model *m, const dhc_train_options *o, char **out) {
  if (out) *out = NULL;
  DOOR(m ? m->s : NULL, api_recipe_json(m, o, out));
}

dhc_status dhc_sweep_json(const char *folder, const char *metric, char **out) {
  DHC_GUARDED(api_sweep_json(folder, metric, out));
}

dhc_status dhc_rl_model(dhc_session *s, const dhc_model_options *o, const char *env, const char *assets, dhc_model **out) {
  if (out) *out = NULL;
  DOOR(s, api_rl_model(s, o, env, assets, out));
}

dhc_status dhc_rl(dhc_model *m, const dhc_rl_options *o, dhc_rl_result *out) {
  DOOR(m ? m->s : NULL, api_rl(m, o, out));
}

dhc_status dhc_rl_evaluate(dhc_model *m, const char *weights, const dhc_rl_options *o, dhc_rl_result *out) {
  DOOR(m ? m->s : NULL, api_rl_evaluate(m, weights, o, out));
}

dhc_status dhc_rl_recipe_json(dhc_model *m, int64_t steps, char **out) {
  if (out) *out = NULL;
  DOOR(m ? m->s : NULL, api_rl_recipe_json(m, steps, out));
}
