#include "tests/plan/plan_models.h"

#include "passes/pipeline.h"
#include "tests/ops/op_cases.h"

static bool run_passes(Made *x, const char *list, bool again, bool derives) {
  DhcArena scratch;
  DhcPassCtx px;
  const char *name = x->f->name;
  dhc_arena_init(&scratch);
  dhc_pass_ctx_init(&px, x->m, &scratch);
  px.repeats = px.routes = again;
  px.folds_again = px.norms = again && !derives;
  bool ok = list ? dhc_passes_run(x->m, &px, list) : dhc_passes_clean(x->m, &px);
  dhc_arena_fini(&scratch);
  x->f = dhc_module_func(x->m, name);
  return ok && x->f;
}

bool dhc_test_passes(Made *x, const char *list) { return run_passes(x, list, false, false); }
bool dhc_test_passes_again(Made *x, const char *list, bool derives) { return run_passes(x, list, true, derives); }

static bool derive(Made *x, DhcPipelineRequest rq, const char *mode) {
  rq.limit = -1;
  rq.ema = true;
  rq.recurs = !strcmp(mode, "back");
  rq.derive = !strcmp(mode, "grad") || !strcmp(mode, "back") ? DHC_DERIVE_GRADIENT : !strcmp(mode, "train") ? DHC_DERIVE_STEP : DHC_DERIVE_NOTHING;
  DhcPipeline way = dhc_pipeline_begin(&rq);
  bool ok = dhc_pipeline_run(&way, DHC_PIPELINE_GRAPH);
  x->m = way.module;
  x->f = way.func;
  return ok;
}

bool dhc_test_model(Made *x, const char *root, const char *model, const char *entry, const char *mode,
                    const DhcSetting *sets, int n_sets) {
  return dhc_test_layer(x, root, model, NULL, entry, mode, sets, n_sets);
}

bool dhc_test_layer(Made *x, const char *root, const char *model, const char *layer, const char *entry, const char *mode,
                    const DhcSetting *sets, int n_sets) {
  memset(x, 0, sizeof *x);
  dhc_arena_init(&x->arena);
  x->strings.arena = x->sources.arena = x->diags.arena = &x->arena;
  x->diags.sources = &x->sources;
  DhcElabConfig config = {.shipped_roots = &root, .n_shipped_roots = 1};
  const char *colon = layer ? NULL : strchr(model, ':');
  if (colon) {
    layer = colon + 1;
    model = dhc_arena_strndup(&x->arena, model, (size_t)(colon - model));
  }
  DhcElab *e = dhc_elab_open(&x->arena, &x->strings, &x->diags, &config, model);
  DhcModelRequest rq = {.root = layer, .sets = sets, .n_sets = n_sets};
  DhcModel *m = e ? dhc_elab_model(e, &rq) : NULL;
  bool train = strcmp(mode, "train") == 0;
  DhcEntryRequest er = {.name = entry, .training = train};
  DhcPipelineRequest way = {.entry = m ? dhc_model_entry(m, &er) : NULL};
  if (!way.entry) return false;
  if (train && !(way.optimizer = dhc_model_function(m, "adamw"))) return false;
  way.module = dhc_model_module(m);
  if (!strcmp(mode, "raw")) {
    x->m = way.module;
    x->f = way.entry;
    return true;
  }
  return derive(x, way, mode);
}

DhcArray *dhc_test_draw(Made *x, int i, uint64_t *state, const int64_t *extents) {
  const DhcType *t = &x->f->params.at[i]->type;
  const DhcParamInfo *info = &x->f->param_info.at[i];
  int64_t dim[DHC_MAX_RANK];
  for (int d = 0; d < t->rank; d++)
    if (!dhc_dim_eval(t->dim[d], x->f->symbols.n, x->f->symbols.at, extents, &dim[d])) return NULL;
  DhcArray *a = dhc_array_new(&x->arena, t->dtype, t->rank, dim);
  for (int64_t e = 0; e < a->n; e++) {
    if (a->f)
      a->f[e] = info->role == DHC_ROLE_SCALAR ? 0.25 : dhc_case_uniform(state, -0.5, 0.5);
    else
      a->i[e] = t->rank ? (int64_t)(dhc_case_bits(state) % (t->dtype == DHC_BOOL ? 2 : 10)) : 3;
    if (a->f && info->role == DHC_ROLE_FLAT && strncmp(info->name, "$v", 2) == 0) a->f[e] += 1;
  }
  return a;
}
