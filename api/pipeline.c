/* The way of one entry through the compiler, one named step a line. */
#include <stdlib.h>

#include "api/api.h"
#include "dhc/version.h"
#include "passes/plan/schedule.h"

static DhcFunc *differentiate(DhcPassCtx *px, DhcFunc *f) {
  DhcGradRequest rq = {.name = dhc_arena_printf(px->module->arena, "%s.grad", f->name),
                       .roles = 1u << DHC_ROLE_WEIGHT | 1u << DHC_ROLE_INPUT};
  /* A scalar loss is differentiated by itself; anything else against given cotangents. */
  rq.cotangents = !(f->results.n && f->results.at[0]->type.rank == 0 && !strcmp(f->result_names.at[0], "loss"));
  return dhc_grad_entry(px, f, &rq);
}

static bool training_step(DhcPassCtx *px, DhcFunc *loss, DhcFunc *optimizer, const DhcRecipe *recipe, Version *v) {
  DhcTrainRequest rq = {.optimizer = optimizer, .ema = recipe->ema > 0};
  if (!dhc_train_step(px, loss, &rq, &v->step)) return false;
  v->func = v->step.entry;
  return true;
}

/* Passes that the session leaves out, and how many changes they may make in all. */
static void switches(const dhc_session *s, DhcPassCtx *px) {
  px->disabled = s->o.disable_passes;
  px->limit = s->o.pass_limit > 0 ? s->o.pass_limit : -1;
}

/* The reset form of the same entry, clean. */
static DhcFunc *reset_of(dhc_model *m, DhcEntryRequest rq) {
  rq.form = DHC_FORM_RESET;
  DhcFunc *f = dhc_model_entry(m->m, &rq), *copy;
  if (!f) return NULL;
  DhcModule *own = dhc_module_extract(m->module, &f, 1, &copy);
  DhcArena scratch;
  DhcPassCtx px;
  dhc_arena_init(&scratch);
  dhc_pass_ctx_init(&px, own, &scratch);
  bool ok = dhc_passes_clean(own, &px);
  dhc_arena_fini(&scratch);
  return ok ? copy : NULL;
}

Version *pipeline_graph(dhc_model *m, const char *entry, dhc_mode mode, const DhcInputShape *in, int n_in) {
  dhc_session *s = m->s;
  int before = s->diags.n_errors;
  DhcEntryRequest rq = {.training = mode == DHC_MODE_TRAIN || !strcmp(entry, "augment"), .inputs = in, .n_inputs = n_in};
  dhc_model_form(m->m, entry, &rq.name, &rq.form);
  const DhcRecipe *recipe = dhc_model_recipe(m->m);
  if (mode == DHC_MODE_TRAIN) rq.report = recipe->report;
  DhcFunc *f = dhc_model_entry(m->m, &rq);
  if (!f || s->diags.n_errors > before) return NULL;
  DhcFunc *roots[2] = {f, NULL}, *copy[2];
  if (mode == DHC_MODE_TRAIN) {
    roots[1] = dhc_model_function(m->m, recipe->optimizer);
    if (!roots[1]) return NULL;
  }
  Version *v = DHC_NEW(&s->arena, Version);
  *v = (Version){.entry = entry, .form = rq.form, .mode = mode, .source = f};
  if ((rq.form == DHC_FORM_STREAM || rq.form == DHC_FORM_STEP) && !(v->reset = reset_of(m, rq))) return NULL;
  v->module = dhc_module_extract(m->module, roots, roots[1] ? 2 : 1, copy);
  v->func = copy[0];
  DhcArena scratch;
  dhc_arena_init(&scratch);
  DhcPassCtx px;
  dhc_pass_ctx_init(&px, v->module, &scratch);
  /* What is differentiated is the clean form, in chunks: it says in which order cotangents add, so
   * it is part of what a gradient is (docs/design.md) and no switch reaches it. */
  if (mode == DHC_MODE_RUN) switches(s, &px);
  bool ok = dhc_passes_clean(v->module, &px);
  if (ok && mode != DHC_MODE_RUN) ok = dhc_passes_run(v->module, &px, "chunk");
  if (ok && mode == DHC_MODE_GRAD) ok = (v->func = differentiate(&px, v->func)) != NULL;
  if (ok && mode == DHC_MODE_TRAIN) ok = training_step(&px, v->func, copy[1], recipe, v);
  if (ok) {
    DhcFunc *last;
    v->module = dhc_module_extract(v->module, &v->func, 1, &last); /* drops what is no longer called */
    v->func = last;
    px.module = v->module;
    px.props = DHC_PROP_UNFUSED;
    if (mode != DHC_MODE_RUN) px.all_changes = 0;
    switches(s, &px);
    ok = dhc_passes_clean(v->module, &px);
    v->changes = px.all_changes;
  }
  dhc_arena_fini(&scratch);
  return ok ? v : NULL;
}

/* Columns of a tile of n_folds contractions on this session's target, whose compiler is open; 0:
 * it has none, nothing is packed. */
static int panel_width(const dhc_session *s, int n_folds) {
  if (!s->graphs) return dhc_schedule_panel_width(dhc_compiler_target(s->compiler), n_folds);
  return 0;
}

static bool fuse(dhc_session *s, Version *v) {
  DhcArena scratch;
  dhc_arena_init(&scratch);
  DhcPassCtx px;
  dhc_pass_ctx_init(&px, v->module, &scratch);
  switches(s, &px);
  px.all_changes = v->changes;
  bool ok = dhc_passes_run(v->module, &px, "chain,fuse");
  if (ok && v->mode == DHC_MODE_RUN) {
    px.panel_width = panel_width(s, 1);
    px.panel_width_pair = panel_width(s, 2);
    ok = dhc_passes_run(v->module, &px, "layout");
  }
  dhc_arena_fini(&scratch);
  v->fused = ok;
  return ok;
}

dhc_status pipeline_fuse(dhc_model *m, Version *v) {
  if (v->fused) return dhc_status_ok();
  DhcCompiler *c;
  if (!m->s->graphs) DHC_TRY(session_compiler(m->s, &c));
  int before = m->s->diags.n_errors;
  if (!m->s->graphs) dhc_elab_say_uncompiled(&m->s->diags, v->module, DHC_ERROR);
  if (m->s->diags.n_errors > before || !fuse(m->s, v)) return session_errors(m->s);
  DhcPlanOptions o = {0};
  v->planned = dhc_plan_build(v->module, v->func, &o, &m->s->arena);
  return v->planned ? dhc_status_ok() : session_errors(m->s);
}

dhc_status pipeline_requests(dhc_model *m, Version *v, DhcKernelRequest **out) {
  DhcCompiler *c;
  DHC_TRY(session_compiler(m->s, &c));
  int n = v->planned->plan.n_kernels;
  DhcKernelRequest *rq = DHC_NEW_N(&m->s->arena, DhcKernelRequest, n + 1);
  for (int i = 0; i < n; i++) {
    rq[i].spec = v->planned->specs[i];
    rq[i].n_classes = dhc_schedule_choose(rq[i].spec, dhc_compiler_target(c), &m->s->arena, rq[i].classes);
  }
  *out = rq;
  return dhc_status_ok();
}

/* ---- images ------------------------------------------------------------------------ */

const dhc_layout *pipeline_layout(dhc_model *m, bool trains) {
  const DhcRecipe *r = dhc_model_recipe(m->m);
  DhcFunc *optimizer = trains ? dhc_model_function(m->m, r->optimizer) : NULL;
  if (trains && !optimizer) return NULL;
  return dhc_layout_make(m->module, optimizer, r->ema > 0, m->s->graphs, &m->s->arena);
}

void pipeline_image(dhc_model *m, Version *v, const dhc_layout *layout) {
  DhcArena *a = &m->s->arena;
  int n = m->module->scalars.n;
  const char **names = DHC_NEW_N(a, const char *, n + 1);
  double *values = DHC_NEW_N(a, double, n + 1);
  for (int i = 0; i < n; i++) {
    names[i] = m->module->scalars.at[i].name;
    values[i] = m->module->scalars.at[i].value;
  }
  const DhcImageRequest rq = {.name = v->entry, .func = v->func, .source = v->source, .layout = layout, .wide = m->s->graphs,
                              .trains = v->mode == DHC_MODE_TRAIN, .scalar_names = names, .scalar_values = values, .n_scalars = n};
  v->image = dhc_image_begin(&rq, a);
}

static dhc_status compile_kernels(dhc_model *m, Version *v) {
  dhc_session *s = m->s;
  DhcKernelRequest *rq;
  DHC_TRY(pipeline_fuse(m, v));
  DHC_TRY(pipeline_requests(m, v, &rq));
  DhcCompileStats st = {0};
  dhc_image_add_plan(v->image, v->planned, &s->arena);
  DHC_TRY(dhc_compile(s->compiler, rq, v->image->plan.n_kernels, (dhc_kernel *)(uintptr_t)v->image->kernels, &st));
  s->stats.kernels_compiled += st.compiled;
  s->stats.kernels_reused += st.reused_memory + st.reused_disk;
  s->stats.kernels_reused_disk += st.reused_disk;
  s->stats.codegen_ms += st.ms;
  return dhc_status_ok();
}

dhc_status pipeline_compile(dhc_model *m, Version *v) {
  dhc_session *s = m->s;
  DhcDevice *d;
  if (v->compiled) return dhc_status_ok();
  double t0 = session_now_ms();
  if (s->graphs) {
    DHC_TRY(session_device(s, &d));
    dhc_image_add_graph(v->image, &s->arena);
    const DhcGraphCode code = {v->func, v->image, &s->diags};
    DHC_TRY(dhc_backend_load_graph(d, &code, &s->arena, (dhc_kernel *)(uintptr_t)v->image->kernels));
  } else {
    DHC_TRY(compile_kernels(m, v));
  }
  v->compiled = true;
  s->stats.compile_ms += session_now_ms() - t0;
  return dhc_status_ok();
}
