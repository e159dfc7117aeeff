/* What an image carries as graphs: how tensors and states begin, and what an optimiser does. */
#include <string.h>

#include "ir/image_graph.h"
#include "passes/plan/image.h"

/* ---- states ------------------------------------------------------------------------------- */

static int decl_of(const DhcFunc *f, const DhcValue *v) {
  for (int i = 0; i < f->params.n; i++)
    if (f->params.at[i] == v) return f->param_info.at[i].decl;
  return -1;
}

/* The updates of f become its results: of those whose values are not one number everywhere. */
static DhcFunc *as_results(const DhcFunc *f, dhc_begin *begins, int *n) {
  DhcFunc *root = (DhcFunc *)(uintptr_t)f, *g; /* extraction reads it only */
  dhc_module_extract(f->module, &root, 1, &g);
  DHC_VEC(DhcNode *) updates = {0};
  for (DhcNode *u = g->first; u; u = u->next)
    if (u->op == DHC_OP_UPDATE) DHC_PUSH(g->module->arena, &updates, u);
  int32_t n_results = 0;
  g->results.n = g->result_names.n = 0;
  for (int i = 0; i < updates.n; i++) {
    const DhcNode *u = updates.at[i], *value = u->args[1]->def;
    dhc_begin *b = &begins[*n];
    *b = (dhc_begin){.slot = decl_of(g, u->args[0]), .result = -1};
    if (b->slot < 0) continue;
    ++*n;
    if (value->op == DHC_OP_FILL) {
      b->value = dhc_attr(value, "value")->f;
      continue;
    }
    b->result = n_results++;
    dhc_func_result(g, u->args[1], dhc_arena_printf(g->module->arena, "state.%d", b->result));
  }
  for (int i = 0; i < updates.n; i++) dhc_node_remove(updates.at[i]);
  return n_results ? g : NULL;
}

void dhc_image_add_begins(dhc_image *im, const DhcFunc *reset, DhcArena *arena) {
  int n = 0;
  dhc_begin *begins = DHC_NEW_N(arena, dhc_begin, reset->n_nodes + 1);
  im->reset.made = as_results(reset, begins, &n);
  im->begins = begins;
  im->n_begins = n;
}

/* ---- training ---------------------------------------------------------------------------------- */

static int named(const DhcFunc *f, const char *name) {
  for (int i = 0; name && i < f->results.n; i++)
    if (f->result_names.at[i] && !strcmp(f->result_names.at[i], name)) return i;
  return -1;
}

static int32_t range_named(const dhc_layout *l, const char *name) {
  for (int32_t i = 0; name && i < l->n_ranges; i++)
    if (!strcmp(l->ranges[i].name, name)) return i;
  return -1;
}

static int32_t result_named(const dhc_image *im, const char *name) {
  for (int32_t i = 0; i < im->n_results; i++)
    if (!strcmp(im->tensors[im->n_params + i].name, name)) return i;
  return -1;
}

/* As passes/grad/train_step.c passes them: flat weights and gradients, moments by the names of results, all else
 * scalars. weight_decay is 0 for some tensors; a tensor in pieces may be younger than the run. */
static dhc_update_param param_of(const dhc_layout *l, const DhcFunc *f, int i, DhcArena *arena) {
  const char *name = f->param_info.at[i].name;
  dhc_update_param p = {.kind = DHC_UPDATE_FLAT, .range = -1};
  if (i == 0) return p;
  if (i == 1) return (dhc_update_param){.kind = DHC_UPDATE_GRADIENT, .range = -1};
  if (named(f, name) >= 0) {
    p.range = range_named(l, name);
    return p;
  }
  bool step = !strcmp(name, DHC_OPTIMIZER_STEP), decay = !strcmp(name, DHC_OPTIMIZER_WEIGHT_DECAY);
  p = (dhc_update_param){.kind = DHC_UPDATE_SCALAR, .range = -1};
  p.scalar = step ? DHC_NAME_OPT_STEP : dhc_arena_printf(arena, DHC_NAME_OF("%s"), name);
  p.from_least = decay || (step && range_named(l, DHC_RANGE_BEGUN) >= 0);
  p.least = decay ? 0 : 1;
  return p;
}

dhc_update dhc_image_update(const dhc_image *im, const DhcFunc *f, DhcArena *arena) {
  dhc_update_param *params = DHC_NEW_N(arena, dhc_update_param, f->params.n + 1);
  int32_t *results = DHC_NEW_N(arena, int32_t, f->results.n + 1);
  for (int i = 0; i < f->params.n; i++) params[i] = param_of(&im->layout, f, i, arena);
  int weights = dhc_optimizer_weights(f);
  for (int i = 0; i < f->results.n; i++)
    results[i] = i == weights ? -1 : range_named(&im->layout, f->result_names.at[i]);
  dhc_update u = {.formula = {.made = f}, .n_params = f->params.n, .n_results = f->results.n, .params = params, .results = results,
                            .average = -1, .loss = result_named(im, DHC_RESULT_LOSS),
                            .norm = result_named(im, DHC_RESULT_GRAD_NORM)};
  for (int32_t i = 0; i < im->layout.n_ranges; i++)
    if (im->layout.ranges[i].from_weights) u.average = i;
  return u;
}

/* ---- texts ----------------------------------------------------------------------------------------- */

static void say(dhc_graph *g, DhcArena *arena) {
  if (g->made && !g->text) g->text = dhc_graph_text(g->made, arena);
}

void dhc_image_add_reset_text(dhc_image *im, DhcArena *arena) {
  say(&im->reset, arena);
}

void dhc_image_add_texts(dhc_image *im, DhcArena *arena) {
  dhc_slot *slots = (dhc_slot *)(uintptr_t)im->layout.slots; /* made here (places.c) */
  for (int32_t i = 0; i < im->layout.n_slots; i++) say(&slots[i].begin, arena);
  dhc_image_add_reset_text(im, arena);
  say(&im->update.formula, arena);
}
