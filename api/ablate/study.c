/* dhc_ablate: a model evaluated whole, then without each of its parts. */
#include <math.h>

#include "api/ablate/ablate.h"
#include "api/train/train.h"

typedef struct Part {
  const char *scope, *name, *kind;
  int n_units;
  Target target;
} Part;
typedef DHC_VEC(Part) Parts;

static Part *find(Parts *all, const char *scope, const char *name) {
  for (int i = 0; i < all->n; i++)
    if (!strcmp(all->at[i].scope, scope) && !strcmp(all->at[i].name, name)) return &all->at[i];
  return NULL;
}

static void add(Parts *all, DhcArena *a, const char *scope, const char *name, const char *kind, Target t) {
  Part *have = find(all, scope, name);
  if (have) {
    have->n_units++;
    if (strcmp(have->kind, kind)) have->kind = "";
    return;
  }
  t.text = t.what = name;
  Part part = {scope, name, kind, 1, t};
  DHC_PUSH(a, all, part);
}

/* Blocks of several units, units, kinds; with `experts` every expert of every layer that can close them. */
static Parts parts_of(const dhc_program *p, const Units *u, bool experts, DhcArena *a) {
  Parts all = {0};
  const Target unit = {.expert = -1}, kind = {.expert = -1, .kind = true};
  for (int i = 0; i < u->n; i++)
    if (*u->at[i].block) add(&all, a, "block", u->at[i].block, u->at[i].kind, unit);
  for (int i = 0; i < u->n; i++)
    if (strcmp(u->at[i].path, u->at[i].block)) add(&all, a, "unit", u->at[i].path, u->at[i].kind, unit);
  for (int i = 0; i < u->n; i++)
    if (*u->at[i].kind) add(&all, a, "kind", u->at[i].kind, u->at[i].kind, kind);
  DhcLayerInfos l = dhc_model_layers(p->m->m);
  for (int i = 0; experts && i < l.n; i++) {
    int64_t n = ablate_experts(p, l.at[i].path);
    for (int64_t k = 0; k < n && n > 1; k++) {
      Part part = {"expert", dhc_arena_printf(a, "%s=expert:%lld", l.at[i].path, (long long)k), l.at[i].layer, 0, {.expert = k}};
      part.target.text = part.name;
      part.target.what = l.at[i].path;
      DHC_PUSH(a, &all, part);
    }
  }
  return all;
}

typedef struct Study {
  const dhc_ablate_options *o;
  Evaluation e;
  dhc_eval_result whole;
} Study;

static dhc_status evaluate_part(Study *s, const Part *part) {
  dhc_eval_result r;
  DHC_TRY(evaluation_run(&s->e, &(dhc_eval_options){0}, &r));
  if (!part) s->whole = r;
  const dhc_ablate_row row = {.scope = part ? part->scope : "whole", .name = part ? part->name : "", .kind = part ? part->kind : "",
                              .n_units = part ? part->n_units : 0, .loss = r.loss, .accuracy = r.accuracy,
                              .loss_change = r.loss - s->whole.loss, .accuracy_change = r.accuracy - s->whole.accuracy};
  if (s->o->row && !s->o->row(s->o->ctx, &row)) return dhc_status_make(DHC_E_INTERRUPTED, "stopped");
  return dhc_status_ok();
}

static dhc_status study(Study *s, dhc_model *m) {
  DHC_TRY(evaluate_part(s, NULL));
  DhcArena *a = &s->e.arena;
  DHC_TRY(pipeline_again(m, s->e.p->entries[0].last));
  const Units u = units_of(m, s->e.p->entries[0].last->func, a);
  const Parts parts = parts_of(s->e.p, &u, s->o->experts, a);
  if (!parts.n) return dhc_status_make(DHC_E_INPUT, "model %s: entry 'loss' has no unit that gives what it takes: nothing can be left out", m->name);
  for (int i = 0; i < parts.n; i++) {
    Target t = parts.at[i].target;
    DHC_TRY(ablate_targets(s->e.p, &t, 1));
    DHC_TRY(evaluate_part(s, &parts.at[i]));
  }
  return dhc_status_ok();
}

static void drop(void *what) {
  evaluation_close(what);
}

dhc_status api_ablate(dhc_model *m, const dhc_ablate_options *o) {
  NEED(m);
  NEED(o);
  NEED(o->data);
  NEED(o->weights);
  Study s = {.o = o, .e = {.s = m->s}};
  DhcHeld held;
  dhc_hold(&held, drop, &s.e);
  const dhc_eval_options eval = {.data = o->data, .split = o->split, .weights = o->weights, .batch = o->batch, .limit = o->limit};
  dhc_status st = evaluation_open(&s.e, m, &eval);
  if (st.code == DHC_OK) st = study(&s, m);
  dhc_release(&held);
  drop(&s.e);
  return st;
}
