/* The way of one entry through the compiler, one named step a line. */
#include <stdlib.h>

#include "api/api.h"
#include "api/tuning.h"
#include "dhc/version.h"
#include "passes/plan/schedule.h"

DhcPipelineRequest pipeline_request(const dhc_session *s, DhcModule *module, DhcFunc *entry) {
  const DhcBackendInfo *b = dhc_backend_info(s->backend);
  return (DhcPipelineRequest){.module = module, .entry = entry, .disabled = s->o.disable_passes, .limit = session_pass_limit(s),
                              .whole = session_whole(s) && !s->offline,
                              .recurs = b && (b->traits & DHC_BACKEND_RECURS),
                              .routes = b && (b->traits & DHC_BACKEND_ROUTES),
                              .ranks = b && (b->traits & DHC_BACKEND_RANKS),
                              .tiles = b && (b->traits & DHC_BACKEND_TILES) && s->compute == DHC_COMPUTE_F32,
                              .lanes = b && (b->traits & DHC_BACKEND_LANES),
                              .norms = b && (b->traits & DHC_BACKEND_REPEATS) && s->compute != DHC_COMPUTE_F32,
                              .repeats = b && (b->traits & DHC_BACKEND_REPEATS)};
}

/* The reset form of the same entry, clean. */
static DhcFunc *reset_of(dhc_model *m, DhcEntryRequest rq) {
  rq.form = DHC_FORM_RESET;
  DhcFunc *f = dhc_model_entry(m->m, &rq);
  if (!f) return NULL;
  const DhcPipelineRequest as = pipeline_request(m->s, m->module, f);
  DhcPipeline way = dhc_pipeline_begin(&as);
  return dhc_pipeline_run(&way, DHC_PIPELINE_GRAPH) ? way.func : NULL;
}

bool pipeline_optimizers(dhc_model *m, DhcFunc **usual, DhcFunc *const **of_groups) {
  const DhcModule *module = m->module;
  DhcFunc **own = NULL;
  *usual = dhc_model_function(m->m, dhc_model_recipe(m->m)->optimizer);
  for (int i = 0; i < module->groups.n; i++) {
    if (!module->groups.at[i].optimizer) continue;
    if (!own) own = DHC_NEW_N(&m->s->arena, DhcFunc *, module->groups.n);
    if (!(own[i] = dhc_model_function(m->m, module->groups.at[i].optimizer))) return false;
  }
  *of_groups = own;
  return *usual != NULL;
}

/* What the inputs at hand say of f's symbols, for the pipeline. */
static void add_sizes(dhc_session *s, const DhcFunc *f, const DhcInputShape *in, int n_in, DhcPipelineRequest *way) {
  const int n = f->symbols.n;
  int64_t *value = DHC_NEW_N(&s->arena, int64_t, n + 1);
  bool *bound = DHC_NEW_N(&s->arena, bool, n + 1), all = true, unbound;
  for (int i = 0; i < f->params.n; i++) {
    const DhcType *t = &f->params.at[i]->type;
    for (int k = 0; k < n_in && f->param_info.at[i].role == DHC_ROLE_INPUT; k++) {
      if (strcmp(in[k].name, f->param_info.at[i].name) || in[k].rank != t->rank) continue;
      for (int d = 0; d < t->rank; d++) dhc_dim_unify(t->dim[d], in[k].dim[d], n, f->symbols.at, value, bound, &unbound);
    }
  }
  for (int i = 0; i < n; i++) all = all && bound[i];
  if (!all) return;
  way->size_of = f->symbols.at;
  way->size = value;
  way->n_sizes = n;
}

/* What the sizes at hand decided holds of the entry: with others it is elaborated anew. */
static void add_decided(DhcFunc *f, const DhcPipeline *way) {
  DhcArena *a = f->module->arena;
  for (int i = 0; i < way->step.decided.n; i++) {
    DHC_PUSH(a, &f->facts.nonneg, way->step.decided.at[i]);
    DHC_PUSH(a, &f->fact_messages, ((DhcFactMessage){.at = f->span}));
  }
}

Version *pipeline_graph(dhc_model *m, const char *entry, dhc_mode mode, const DhcInputShape *in, int n_in) {
  dhc_session *s = m->s;
  int before = s->diags.n_errors;
  DhcEntryRequest rq = {.training = mode >= DHC_MODE_TRAIN || !strcmp(entry, "augment"), .inputs = in, .n_inputs = n_in};
  rq.part = rq.training && m->parts;
  dhc_model_form(m->m, entry, &rq.name, &rq.form);
  const DhcRecipe *recipe = dhc_model_recipe(m->m);
  if (mode >= DHC_MODE_TRAIN) rq.report = recipe->report;
  if (mode == DHC_MODE_RUN && !strcmp(entry, "loss")) rq.report = m->report;
  DhcFunc *f = dhc_model_entry(m->m, &rq);
  if (!f || s->diags.n_errors > before) return NULL;
  if (mode != DHC_MODE_RUN) dhc_warn_ties(m->elab, m->module);
  DhcPipelineRequest way = pipeline_request(s, m->module, f);
  if (mode == DHC_MODE_GRAD) way.derive = DHC_DERIVE_GRADIENT;
  if (mode >= DHC_MODE_TRAIN) {
    way.derive = DHC_DERIVE_STEP;
    way.ema = recipe->ema > 0;
    way.shared = m->parts & API_PARTS_OF_RANKS;
    way.parts = m->parts & API_PARTS_IN_TURN;
    way.part = mode == API_MODE_PART;
    way.share = m->share;
    if (!pipeline_optimizers(m, &way.optimizer, &way.own)) return NULL;
    way.few = way.repeats; /* on a CPU divisions and roots take as long as memory does: nothing is gained */
    add_sizes(s, f, in, n_in, &way);
  }
  Version *v = DHC_NEW(&s->arena, Version);
  *v = (Version){.entry = entry, .form = rq.form, .mode = mode, .source = f, .optimizer = way.optimizer};
  if ((rq.form == DHC_FORM_STREAM || rq.form == DHC_FORM_STEP) && !(v->reset = reset_of(m, rq))) return NULL;
  v->way = dhc_pipeline_begin(&way);
  if (!dhc_pipeline_run(&v->way, DHC_PIPELINE_GRAPH)) return NULL;
  add_decided(f, &v->way);
  v->module = v->way.module;
  v->func = v->way.func;
  v->in = in;
  v->n_in = n_in;
  return v;
}

Version *pipeline_try(dhc_model *m, const char *entry, const DhcInputShape *in, int n_in) {
  const DhcDiags said = m->s->diags;
  m->s->diags = (DhcDiags){.arena = &m->s->arena, .sources = said.sources};
  Version *v = pipeline_graph(m, entry, DHC_MODE_RUN, in, n_in);
  m->s->diags = said;
  return v;
}

dhc_status pipeline_again(dhc_model *m, Version *v) {
  if (v->func) return dhc_status_ok();
  Version *g = pipeline_graph(m, v->entry, v->mode, v->in, v->n_in);
  if (!g) return session_errors(m->s);
  DHC_TRY(pipeline_fuse(m, g));
  v->source = g->source;
  v->optimizer = g->optimizer;
  v->reset = g->reset;
  v->way = g->way;
  v->module = g->module;
  v->planned = g->planned;
  v->func = g->func;
  return dhc_status_ok();
}

/* Columns of a tile of n_folds contractions on this session's target, whose compiler is open; 0:
 * it has none, nothing is packed. */
static int panel_width(const dhc_session *s, int n_folds) {
  if (!session_whole(s)) return dhc_schedule_panel_width(dhc_compiler_target(s->compiler), n_folds);
  return 0;
}

dhc_status pipeline_fuse(dhc_model *m, Version *v) {
  if (v->planned) return dhc_status_ok();
  DhcCompiler *c;
  if (!session_whole(m->s)) DHC_TRY(session_compiler(m->s, &c));
  int before = m->s->diags.n_errors;
  if (!session_whole(m->s)) dhc_elab_say_uncompiled(&m->s->diags, v->module, DHC_ERROR);
  if (m->s->diags.n_errors > before) return session_errors(m->s);
  v->way.panel_width = panel_width(m->s, 1);
  v->way.panel_width_pair = panel_width(m->s, 2);
  return pipeline_plan(m, v);
}

dhc_status pipeline_plan(dhc_model *m, Version *v) {
  if (!dhc_pipeline_run(&v->way, DHC_PIPELINE_PLAN)) return session_errors(m->s);
  v->planned = v->way.planned;
  return dhc_status_ok();
}

dhc_status pipeline_requests(dhc_model *m, Version *v, DhcKernelRequest **out) {
  DhcCompiler *c;
  DHC_TRY(session_compiler(m->s, &c));
  int n = v->planned->plan.n_kernels;
  DhcKernelRequest *rq = DHC_NEW_N(&m->s->arena, DhcKernelRequest, n + 1);
  for (int i = 0; i < n; i++) {
    rq[i].spec = v->planned->specs[i];
    rq[i].n_classes = dhc_schedule_choose(rq[i].spec, dhc_compiler_target(c), &m->s->arena, rq[i].classes);
    if (m->s->tuning) DHC_TRY(tuning_apply(m->s->tuning, c, rq[i].spec, rq[i].classes, rq[i].n_classes));
  }
  *out = rq;
  return dhc_status_ok();
}

/* ---- images ------------------------------------------------------------------------ */

const dhc_layout *pipeline_layout(dhc_model *m, bool trains) {
  const DhcRecipe *r = dhc_model_recipe(m->m);
  DhcFunc *optimizer = NULL, *const *own = NULL;
  if (trains && !pipeline_optimizers(m, &optimizer, &own)) return NULL;
  return dhc_layout_make(m->module, optimizer, own, r->ema > 0, m->parts & API_PARTS_IN_TURN, m->share, session_whole(m->s), &m->s->arena);
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
  const DhcImageRequest rq = {.name = v->entry, .func = v->func, .source = v->source, .layout = layout, .wide = session_whole(m->s),
                              .trains = v->mode == DHC_MODE_TRAIN, .optimizer = v->optimizer, .reset = v->reset,
                              .scalar_names = names, .scalar_values = values, .n_scalars = n};
  v->image = dhc_image_begin(&rq, a);
  v->span = v->func->span;
}

static dhc_status compile_kernels(dhc_model *m, Version *v) {
  dhc_session *s = m->s;
  DhcKernelRequest *rq;
  DHC_TRY(pipeline_requests(m, v, &rq));
  DhcCompileStats st = {.seen = &s->doing.count};
  const dhc_doing was = dhc_session_doing(s);
  session_doing(s, "compiling kernels", 0, 0);
  if (v->key) st.keys = v->keys = dhc_arena_alloc(&s->arena, sizeof *v->keys * (size_t)(v->image->plan.n_kernels + 1));
  if (s->o.explain_compiles) explain_before(s, v->planned->plan.n_kernels, &st.made);
  DHC_TRY(dhc_compile(s->compiler, rq, v->image->plan.n_kernels, (dhc_kernel *)(uintptr_t)v->image->kernels, &st));
  if (st.made) explain_after(m, v, st.made);
  session_doing(s, was.what, was.done, was.of);
  s->stats.kernels_compiled += st.compiled;
  s->stats.kernels_reused += st.reused_memory + st.reused_disk;
  s->stats.kernels_reused_disk += st.reused_disk;
  s->stats.codegen_ms += st.ms;
  return dhc_status_ok();
}

/* Its code is its text. */
static dhc_status load_whole(dhc_model *m, Version *v) {
  DhcDevice *d;
  DhcArena *a = &m->s->arena;
  DHC_TRY(session_device(m->s, &d));
  return dhc_backend_load_whole(d, dhc_entry_text(v->func, a), &v->image->plan, a, (dhc_kernel *)(uintptr_t)v->image->kernels);
}

dhc_status pipeline_compile(dhc_model *m, Version *v) {
  dhc_session *s = m->s;
  if (v->compiled) return dhc_status_ok();
  double t0 = session_now_ms();
  DHC_TRY(pipeline_fuse(m, v));
  dhc_image_add_plan(v->image, v->planned, &s->arena);
  DHC_TRY(session_whole(s) ? load_whole(m, v) : compile_kernels(m, v));
  v->compiled = true;
  s->stats.compile_ms += session_now_ms() - t0;
  return dhc_status_ok();
}
