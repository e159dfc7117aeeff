/* The steps of the pipeline, one a line, with the reasons for their order. */
#include "passes/pipeline.h"

#include <string.h>

typedef DhcPassCtx Px;

/* What is differentiated is the clean form, in chunks: it says in which order cotangents add, so it is part
 * of what a gradient is (docs/design.md) and nothing of it can be left out. A limit reaches it like all else. */
static bool clean_source(DhcPipeline *p, Px *px) {
  if (p->rq.derive != DHC_DERIVE_NOTHING) px->disabled = NULL;
  const char *cut = p->rq.derive == DHC_DERIVE_NOTHING ? "clean" : p->rq.recurs ? "clean,recur,chunk" : "clean,chunk";
  return dhc_passes_run(p->module, px, cut);
}

/* A scalar loss is differentiated by itself; anything else against given cotangents. */
static bool differentiate(DhcPipeline *p, Px *px) {
  const DhcFunc *f = p->func;
  DhcGradRequest rq = {.name = dhc_arena_printf(p->module->arena, "%s.grad", f->name),
                       .roles = 1u << DHC_ROLE_WEIGHT | 1u << DHC_ROLE_INPUT};
  rq.cotangents = !(f->results.n && f->results.at[0]->type.rank == 0 && !strcmp(f->result_names.at[0], DHC_RESULT_LOSS));
  p->func = dhc_grad_entry(px, p->func, &rq);
  return p->func != NULL;
}

static bool derive(DhcPipeline *p, Px *px) {
  DhcTrainRequest rq = {.optimizer = p->rq.optimizer, .own = p->rq.own, .ema = p->rq.ema, .shared = p->rq.shared, .share = p->rq.share, .parts = p->rq.parts, .part = p->rq.part,
                        .few = p->rq.few, .size_of = p->rq.size_of, .size = p->rq.size, .n_sizes = p->rq.n_sizes};
  if (p->rq.derive == DHC_DERIVE_GRADIENT) return differentiate(p, px);
  if (p->rq.derive != DHC_DERIVE_STEP) return true;
  bool ok = dhc_train_step(px, p->func, &rq, &p->step);
  p->func = p->step.entry;
  return ok;
}

/* Drops what is no longer called. */
static void extract(DhcPipeline *p, Px *px) {
  if (!p->func) return;
  DhcFunc *last;
  p->module = dhc_module_extract(p->module, &p->func, 1, &last);
  p->func = last;
  px->module = p->module;
  px->props = DHC_PROP_UNFUSED;
  px->disabled = p->rq.disabled;
}

static bool to_graph(DhcPipeline *p, Px *px) {
  if (!clean_source(p, px) || !derive(p, px)) return false;
  extract(p, px);
  return dhc_passes_clean(p->module, px); /* derivatives leave much to clean; and calls may be inlined now */
}

/* Entries that train keep their weights in rows: a panel would be packed for one use. */
static bool to_kernels(DhcPipeline *p, Px *px) {
  if (p->rq.whole) return true;
  px->repeats = p->rq.repeats;
  px->routes = p->rq.routes;
  px->ranks = p->rq.ranks;
  px->tiles = p->rq.tiles;
  px->folds_again = p->rq.repeats && p->rq.derive == DHC_DERIVE_NOTHING; /* derivatives go on from everything */
  px->norms = p->rq.norms && px->folds_again;
  px->panel_width = p->panel_width;
  px->panel_tag = p->panel_tag;
  px->narrow = p->narrow;
  px->panel_width_pair = p->panel_width_pair;
  if (p->rq.bounded && !dhc_passes_run(p->module, px, "dense,dce")) return false;
  bool packs = p->rq.derive == DHC_DERIVE_NOTHING && p->panel_width;
  return dhc_passes_run(p->module, px, packs ? "kernels" : "fusion");
}

enum { LINGER = 16 /* items of a training step that lanes may be apart */ };

static bool to_plan(DhcPipeline *p, Px *px) {
  (void)px;
  const DhcPlanOptions o = {.plain = p->rq.plain, .linger = p->rq.lanes && p->rq.derive != DHC_DERIVE_NOTHING ? LINGER : 0};
  if (p->func && p->rq.whole) p->planned = dhc_plan_whole(p->func, p->module->arena);
  else if (p->func) p->planned = dhc_plan_build(p->module, p->func, &o, p->module->arena);
  return p->planned || !p->func;
}

DhcPipeline dhc_pipeline_begin(const DhcPipelineRequest *rq) {
  DhcPipeline p = {.rq = *rq, .module = rq->module, .props = DHC_PROP_UNFUSED};
  const bool step = rq->derive == DHC_DERIVE_STEP && rq->optimizer;
  const int n_own = step && rq->own ? rq->module->groups.n : 0;
  DhcFunc **root = DHC_NEW_N(rq->module->arena, DhcFunc *, n_own + 2), **copy = DHC_NEW_N(rq->module->arena, DhcFunc *, n_own + 2);
  root[0] = rq->entry;
  root[1] = rq->optimizer;
  for (int i = 0; i < n_own; i++) root[2 + i] = rq->own[i] ? rq->own[i] : rq->optimizer;
  if (rq->entry) p.module = dhc_module_extract(rq->module, root, step ? 2 + n_own : 1, copy);
  p.func = copy[0];
  p.rq.optimizer = copy[1];
  for (int i = 0; i < n_own; i++)
    if (!rq->own[i]) copy[2 + i] = NULL;
  p.rq.own = n_own ? copy + 2 : NULL;
  return p;
}

DhcPipeline dhc_pipeline_from(DhcFunc *entry, DhcPipelineStage at) {
  return (DhcPipeline){.rq = {.module = entry->module, .entry = entry, .limit = -1}, .at = at, .module = entry->module, .func = entry,
                       .props = at < DHC_PIPELINE_FUSED ? DHC_PROP_UNFUSED : DHC_PROP_FUSED};
}

bool dhc_pipeline_run(DhcPipeline *p, DhcPipelineStage until) {
  static bool (*const step[])(DhcPipeline *, Px *) = {
      [DHC_PIPELINE_GRAPH] = to_graph, [DHC_PIPELINE_FUSED] = to_kernels, [DHC_PIPELINE_PLAN] = to_plan};
  DhcArena scratch;
  Px px;
  bool ok = true;
  dhc_arena_init(&scratch);
  dhc_pass_ctx_init(&px, p->module, &scratch);
  px.props = p->props;
  px.all_changes = p->changes;
  px.disabled = p->rq.disabled;
  px.limit = p->rq.limit;
  while (ok && p->at < until) ok = step[++p->at](p, &px);
  p->props = px.props;
  p->changes = px.all_changes;
  dhc_arena_fini(&scratch);
  return ok;
}
