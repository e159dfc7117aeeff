/* Versions of an entry without some of its units, and tables of closed experts. */
#include <stdlib.h>

#include "api/ablate/ablate.h"

/* ---- units -------------------------------------------------------------------------------------------- */

/* What reads result r of a dropped call reads `stand_in`; a buffer or state that would get it stays. */
static void replace(DhcFunc *f, DhcValue *r, DhcValue *stand_in) {
  for (DhcNode *n = f->first, *next; n; n = next) {
    next = n->next;
    if (n->op != DHC_OP_UPDATE || n->args[1] != r) continue;
    dhc_replace_uses(n->results[0], n->args[0]);
    dhc_node_remove(n);
  }
  dhc_replace_uses(r, stand_in);
}

static void drop(DhcFunc *f, const Unit *u) {
  DhcNode *call = u->call;
  DhcBuilder b = {.f = f, .before = call, .span = call->span, .origin = call->origin};
  for (int i = 1; i < call->n_results; i++) { /* a condition that a unit would have required holds */
    const DhcType *t = &call->results[i]->type;
    replace(f, call->results[i], dhc_b_fill(&b, t, t->dtype == DHC_BOOL ? 1 : 0));
  }
  replace(f, call->results[0], (DhcValue *)(uintptr_t)u->input);
  dhc_node_remove(call);
}

/* Drops what the targets name from f. Units are found anew after each: what one gave another takes. */
static dhc_status edit(dhc_program *p, const Ablation *ab, DhcFunc *f, const Entry *e, DhcArena *a) {
  const Units whole = units_of(p->m, f, a);
  if (!whole.n && e != p->entries) return dhc_status_ok(); /* what prepares inputs, a metric */
  for (int t = 0; t < ab->n; t++) {
    if (ab->target[t].expert >= 0) continue;
    bool any = false;
    for (int i = 0; i < whole.n; i++) any = any || target_hits(p->m, &ab->target[t], whole.at[i].path, whole.at[i].kind);
    if (!any) return ablate_nothing(&ab->target[t], e->name, &whole, a);
  }
  for (bool more = true; more;) {
    const Units u = units_of(p->m, f, a);
    more = false;
    for (int i = 0; i < u.n && !more; i++)
      for (int t = 0; t < ab->n && !more; t++)
        if (ab->target[t].expert < 0 && target_hits(p->m, &ab->target[t], u.at[i].path, u.at[i].kind)) {
          drop(f, &u.at[i]);
          more = true;
        }
  }
  return dhc_status_ok();
}

static Version *made(const Entry *e, const Version *base, int id) {
  for (Version *v = e->versions; v; v = v->next)
    if (v->base == base && v->ablation == id) return v;
  return NULL;
}

dhc_status ablate_version(dhc_program *p, Entry *e, Version *base, Version **out) {
  dhc_session *s = p->m->s;
  DhcArena scratch;
  bool units = false;
  for (int t = 0; t < p->ablation->n; t++) units = units || p->ablation->target[t].expert < 0;
  *out = units ? made(e, base, p->ablation->id) : base;
  if (*out) return dhc_status_ok();
  if (base->mode != DHC_MODE_RUN) return dhc_status_make(DHC_E_USAGE, "--ablate: only runs leave units out, not gradients or training");
  DHC_TRY(pipeline_again(p->m, base));
  DHC_TRY(pipeline_fuse(p->m, base));
  dhc_arena_init(&scratch);
  DhcFunc *f = dhc_func_clone(base->func, dhc_arena_printf(&s->arena, "%s.ablated", base->func->name));
  dhc_status st = edit(p, p->ablation, f, e, &scratch);
  dhc_arena_fini(&scratch);
  DHC_TRY(st);
  Version *v = DHC_NEW(&s->arena, Version);
  *v = (Version){.entry = base->entry, .mode = base->mode, .form = base->form, .reset = base->reset, .source = base->source,
                 .module = base->module, .func = f, .base = base, .ablation = p->ablation->id};
  v->way = base->way; /* from where it is fused: the entry without its parts goes on there */
  v->way.func = f;
  v->way.at = DHC_PIPELINE_FUSED;
  DHC_TRY(pipeline_plan(p->m, v));
  pipeline_image(p->m, v, dhc_prog_layout(p->run));
  v->next = e->versions;
  e->versions = v;
  *out = v;
  return st;
}

/* Versions of earlier ablations go. */
static void forget(dhc_program *p) {
  for (int i = 0; i < p->n_entries; i++) {
    Entry *e = &p->entries[i];
    for (Version **link = &e->versions; *link;) {
      Version *v = *link;
      if (!v->base) {
        link = &v->next;
        continue;
      }
      *link = v->next;
      if (e->last == v) e->last = NULL;
      exec_unload(p, v);
    }
  }
}

/* ---- experts -------------------------------------------------------------------------------------------- */

int64_t ablate_experts(const dhc_program *p, const char *path) {
  char name[512];
  snprintf(name, sizeof name, "%s.closed", path);
  int i = dhc_module_tensor(p->m->module, *path ? name : "closed");
  int64_t n;
  if (i < 0) return 0;
  const DhcTensorDecl *d = &p->m->module->tensors.at[i];
  return d->role == DHC_ROLE_TABLE && d->type.dtype == DHC_BOOL && d->type.rank == 1 && dhc_dim_is_const(d->type.dim[0], &n) ? n : 0;
}

/* One layer's table, as all targets have it; `any`: some is closed. */
static dhc_status close_experts(dhc_program *p, const DhcLayerInfo *l, int64_t n, const Ablation *ab, bool *hit) {
  DhcArena a;
  dhc_arena_init(&a);
  uint8_t *closed = DHC_NEW_N(&a, uint8_t, n + 1);
  int64_t open = n;
  dhc_status st = dhc_status_ok();
  for (int t = 0; t < ab->n && st.code == DHC_OK; t++) {
    if (ab->target[t].expert < 0 || !target_hits(p->m, &ab->target[t], l->path, l->layer)) continue;
    hit[t] = true;
    if (ab->target[t].expert >= n)
      st = dhc_status_make(DHC_E_INPUT, "--ablate %s: '%s' has experts 0 to %lld", ab->target[t].text, l->path, (long long)(n - 1));
    else if (!closed[ab->target[t].expert])
      closed[ab->target[t].expert] = 1, open--;
    if (st.code == DHC_OK && !open) st = dhc_status_make(DHC_E_INPUT, "--ablate %s: '%s' would have no expert left", ab->target[t].text, l->path);
  }
  const dhc_tensor table = {.name = dhc_arena_printf(&a, "%s%sclosed", l->path, *l->path ? "." : ""), .dtype = DHC_BOOL, .rank = 1, .dim = {n},
                            .data = closed};
  if (st.code == DHC_OK) st = dhc_program_set(p, &table);
  dhc_arena_fini(&a);
  return st;
}

static dhc_status set_tables(dhc_program *p, const Ablation *ab) {
  DhcLayerInfos l = dhc_model_layers(p->m->m);
  bool *hit = DHC_NEW_N(&p->arena, bool, ab->n + 1);
  for (int i = 0; i < l.n; i++) {
    int64_t n = ablate_experts(p, l.at[i].path);
    if (n) DHC_TRY(close_experts(p, &l.at[i], n, ab, hit));
  }
  for (int t = 0; t < ab->n; t++)
    if (ab->target[t].expert >= 0 && !hit[t])
      return dhc_status_make(DHC_E_INPUT, "--ablate %s: the model has no such layer of experts", ab->target[t].text);
  return dhc_status_ok();
}

dhc_status ablate_targets(dhc_program *p, Target *target, int n) {
  Ablation *ab = DHC_NEW(&p->arena, Ablation);
  *ab = (Ablation){.id = ++p->n_ablations, .n = n, .target = target};
  p->ablation = NULL;
  forget(p);
  DHC_TRY(set_tables(p, ab));
  if (n) p->ablation = ab;
  return dhc_status_ok();
}

dhc_status api_program_ablate(dhc_program *p, const char *const *what, int n) {
  NEED(p);
  if (n > 0) NEED(what);
  Target *target = DHC_NEW_N(&p->arena, Target, n > 0 ? n : 1);
  for (int i = 0; i < n; i++) {
    NEED(what[i]);
    DHC_TRY(target_parse(what[i], &p->arena, &target[i]));
  }
  return ablate_targets(p, target, n > 0 ? n : 0);
}
