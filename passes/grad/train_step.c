/* The training step as one entry of plain IR: forward, backward, clipping, optimiser,
 * averaging, and the gate that keeps a bad step from changing anything.
 *
 * All weights lie in one flat tensor "$w", those that decay first, so that norm, optimiser
 * and averaging are a few kernels over flat ranges. The optimiser's body is put in place of
 * its call: its elementwise work then joins the clipping before and the gate behind it. */
#include "passes/grad/train_internal.h"

/* ---- layout ---------------------------------------------------------------------- */

static bool place_tensor(Step *s, const DhcPlaces *p, int index) {
  const DhcTensorDecl *t = &s->m->tensors.at[index];
  const DhcDim *count = dhc_type_elements(s->m->dims, &t->type);
  if (t->type.dtype != DHC_F32 || !dhc_dim_is_const(count, NULL)) {
    DhcText text = {.arena = s->arena};
    dhc_type_print(&t->type, &text);
    dhc_diag(s->px->diags, DHC_ERROR, "E0720", t->span,
             "parameter '%s' cannot be trained: weights are f32 of a fixed shape, this is %s",
             t->path, dhc_text_str(&text));
    return false;
  }
  s->slot_of[index] = s->out->n_slots;
  s->slots[s->out->n_slots++] = (DhcWeightSlot){index, t->path, p->offset[index], p->n[index]};
  return true;
}

/* Every weight of the module has a place, also one that this loss does not use. */
static bool place_all(Step *s) {
  s->slots = DHC_NEW_N(s->arena, DhcWeightSlot, s->m->tensors.n + 1);
  s->slot_of = DHC_NEW_N(s->arena, int, s->m->tensors.n + 1);
  DhcPlaces *places = DHC_NEW(s->arena, DhcPlaces), p = *places = dhc_places_make(s->m, s->arena);
  s->places = places;
  for (int i = 0; i < s->m->tensors.n; i++) s->slot_of[i] = -1;
  for (int pass = 0; pass < dhc_n_place_classes(s->m); pass++) {
    for (int i = 0; i < s->m->tensors.n; i++) {
      const DhcTensorDecl *t = &s->m->tensors.at[i];
      if (t->role == DHC_ROLE_WEIGHT && dhc_place_class(s->m, t) == pass && !place_tensor(s, &p, i))
        return false;
    }
  }
  s->out->n_decayed = p.n_decayed;
  s->out->n = p.n_weights;
  s->out->slots = s->slots;
  dhc_step_cut(s);
  if (p.n_moving) return true;
  dhc_diag(s->px->diags, DHC_ERROR, "E0721", s->loss->span, "'%s' has no parameters to train",
           s->loss->name);
  return false;
}

/* Declared frozen: behind all that have moments. */
static bool is_bare(const Step *s, const Range *r) {
  return r->begin >= s->places->n_moving;
}

/* Neighbours that are treated alike are one range, but for tensors in pieces. */
static void add_range(Step *s, const DhcWeightSlot *slot, bool frozen) {
  const DhcTensorDecl *t = &s->m->tensors.at[slot->tensor];
  Range *last = s->ranges.n ? &s->ranges.at[s->ranges.n - 1] : NULL;
  Range r = {.begin = slot->offset, .n = slot->n, .decays = !t->no_decay, .frozen = frozen, .group = t->group, .place = t->place, .source = -1, .owner = dhc_step_owner(s, slot->offset)};
  if (!slot->n) return;
  if (t->average) {
    r.source = s->slots[s->slot_of[t->average - 1]].offset;
    r.decay = t->decay;
    r.frozen = true;
  }
  r.pieces = r.frozen ? 0 : dhc_decl_pieces(t);
  r.few = s->few[slot - s->slots].n_args ? &s->few[slot - s->slots] : NULL;
  const bool follows = last && (r.source < 0 ? last->source < 0 : last->source >= 0 && last->source + last->n == r.source && last->decay == r.decay);
  const bool alike = last && last->decays == r.decays && last->group == r.group;
  if (!r.pieces && !r.few && last && !last->few && last->owner == r.owner && !last->pieces && last->frozen == r.frozen && last->place == r.place && is_bare(s, last) == is_bare(s, &r) && follows && (r.frozen || alike)) {
    last->n += slot->n;
    return;
  }
  r.age = s->out->n_begun;
  s->out->n_begun += r.pieces;
  DHC_PUSH(s->arena, &s->ranges, r);
}

/* A weight that the loss does not take, or whose gradient is zeros whatever its values (all that
 * it makes passes stop_gradient, say), is frozen: as a parameter that PyTorch gives no gradient. */
static bool find_ranges(Step *s) {
  bool *moves = DHC_NEW_N(s->arena, bool, s->out->n_slots + 1);
  int next = s->loss->results.n; /* gradients stand behind the loss entry's results */
  for (int i = 0; i < s->grad->params.n; i++) {
    if (s->grad->param_info.at[i].role != DHC_ROLE_WEIGHT) continue;
    int slot = s->slot_of[s->grad->param_info.at[i].decl];
    moves[slot] = !dhc_ad_is_zeros(s->grad->results.at[next++]) || s->few[slot].n_args;
  }
  for (int i = 0; i < s->out->n_slots; i++) add_range(s, &s->slots[i], !moves[i]);
  dhc_step_split(s);
  for (int i = 1; i < s->ranges.n; i++) {
    const Range *before = &s->ranges.at[i - 1];
    s->ranges.at[i].from = before->from + (before->few ? 0 : before->n);
  }
  return dhc_step_losses_move(s, moves);
}

/* Every weight the loss takes must be a tensor of the module. */
static bool all_placed(Step *s) {
  for (int i = 0; i < s->loss->params.n; i++) {
    const DhcParamInfo *info = &s->loss->param_info.at[i];
    if (info->role != DHC_ROLE_WEIGHT || info->decl >= 0) continue;
    dhc_diag(s->px->diags, DHC_ERROR, "E0723", s->loss->span,
             "parameter '%s' of '%s' belongs to no tensor of the module", info->name,
             s->loss->name);
    return false;
  }
  return true;
}

/* ---- the optimiser's signature ------------------------------------------------------ */

static bool bad_optimizer(Step *s, const DhcFunc *o, const char *why, const char *name) {
  DhcDiag *d = dhc_diag(s->px->diags, DHC_ERROR, "E0722", o->span,
                        "'%s' cannot be an optimiser: %s '%s'", o->name, why, name);
  dhc_diag_hint(s->px->diags, d,
                "an optimiser is fn name<N>(w: [N], g: [N], state: [N], …, lr: [], …) -> "
                "(w: [N], state: [N], …)");
  return false;
}

/* Flat of a moment; 0: no weight has it. */
static int flat_of(const Step *s, const char *name) {
  for (int i = 0; i < s->moments.n; i++)
    if (!strcmp(s->moments.name[i], name)) return 1 + i;
  return 0;
}

static bool read_optimizer(Step *s, DhcFunc *o, Optimizer *out) {
  int *flat = DHC_NEW_N(s->arena, int, o->params.n + 1), *result = DHC_NEW_N(s->arena, int, s->moments.n + 1), n = 0;
  *out = (Optimizer){.f = o, .flat = flat, .result = result};
  for (int k = 0; k <= s->moments.n; k++) result[k] = k ? -1 : dhc_optimizer_weights(o);
  if (o->params.n < 2 || o->results.n < 1 || o->params.at[0]->type.rank != 1)
    return bad_optimizer(s, o, "it takes no flat weights and gradients but starts with",
                         o->params.n ? o->param_info.at[0].name : "");
  for (int i = 2; i < o->params.n; i++) {
    const DhcType *t = &o->params.at[i]->type;
    const char *name = o->param_info.at[i].name;
    int r = dhc_step_result(o, name);
    if (r >= 0) {
      if (!dhc_type_equal(t, &o->params.at[0]->type))
        return bad_optimizer(s, o, "its state must be as long as the weights, unlike", name);
      flat[i] = flat_of(s, name);
      if (flat[i]) result[flat[i]] = r;
      n++;
    } else if (t->rank || t->dtype != DHC_F32) {
      return bad_optimizer(s, o, "no result carries on its state", name);
    }
  }
  return n + 1 == o->results.n || bad_optimizer(s, o, "some result is neither weights nor state of", o->name);
}

/* The recipe's, and those of groups. */
static bool read_optimizers(Step *s) {
  s->moments = dhc_moments_make(s->m, s->places, s->rq->optimizer, s->rq->own, s->arena);
  s->optimizer = DHC_NEW_N(s->arena, Optimizer, s->m->groups.n + 1);
  if (!read_optimizer(s, s->rq->optimizer, &s->optimizer[0])) return false;
  for (int i = 0; i < s->m->groups.n; i++) {
    DhcFunc *own = s->rq->own ? s->rq->own[i] : NULL;
    s->optimizer[1 + i] = s->optimizer[0];
    if (own && !read_optimizer(s, own, &s->optimizer[1 + i])) return false;
  }
  if (s->moments.n + 2 <= DHC_MAX_RESULTS) return true;
  return bad_optimizer(s, s->rq->optimizer, "with those of groups it keeps too many states beside", s->moments.name[s->moments.n - 1]);
}

static const Optimizer *optimizer_of(const Step *s, const Range *r) {
  return &s->optimizer[r->group];
}

/* ---- parameters ---------------------------------------------------------------------- */

static DhcValue *add_flat(Step *s, const char *name, int64_t n) {
  DhcType t = dhc_step_flat(s, n);
  DhcParamInfo info = {name, DHC_ROLE_FLAT, -1};
  return dhc_func_param(s->f, &t, info, s->loss->span);
}

static DhcValue *add_scalar(Step *s, const char *name) {
  for (int i = 0; i < s->f->params.n; i++)
    if (s->f->param_info.at[i].role == DHC_ROLE_SCALAR && !strcmp(s->f->param_info.at[i].name, name)) return s->f->params.at[i];
  DhcType t = {.dtype = DHC_F32};
  DhcParamInfo info = {name, DHC_ROLE_SCALAR, -1};
  const char **names = (const char **)s->out->scalars;
  names[s->out->n_scalars++] = name;
  return dhc_func_param(s->f, &t, info, s->loss->span);
}

/* The parameter for a scalar of the module. */
static DhcValue *own_scalar(Step *s, const char *name) {
  for (int i = 0; i < s->m->scalars.n; i++) {
    if (strcmp(s->m->scalars.at[i].name, name)) continue;
    if (!s->own[i]) s->own[i] = add_scalar(s, name);
    return s->own[i];
  }
  DHC_BUG("no scalar '%s'", name);
}

/* The scalar by which a group has an argument; NULL: it has none of its own. */
static const char *group_scalar(const DhcGroup *g, const char *name) {
  for (int k = 0; k < g->args.n; k++)
    if (!strcmp(g->args.at[k].param, name)) return g->args.at[k].scalar;
  return NULL;
}

static const char *dollar(Step *s, const char *name) {
  return dhc_arena_printf(s->arena, DHC_NAME_OF("%s"), name);
}

/* Those of groups and averages. */
static void add_own_scalars(Step *s) {
  const DhcModule *m = s->m;
  for (int i = 0; i < m->groups.n; i++) {
    if (!m->groups.at[i].every) continue;
    add_scalar(s, DHC_NAME_OPT_STEP);
    own_scalar(s, m->groups.at[i].every);
    own_scalar(s, m->groups.at[i].after);
  }
  for (int i = 0; i < m->groups.n; i++)
    for (int k = 0; k < m->groups.at[i].args.n; k++) own_scalar(s, m->groups.at[i].args.at[k].scalar);
  for (int i = 0; i < s->ranges.n; i++)
    if (s->ranges.at[i].source >= 0) own_scalar(s, s->ranges.at[i].decay);
}

/* What the entry takes as the loss does, its weights, and what parts of a batch need. */
static void add_common_params(Step *s) {
  const DhcFunc *g = s->grad;
  const int n = s->loss->params.n; /* behind them what its losses are weighed by */
  for (int i = 0; i < n; i++) {
    DhcValue *p = g->params.at[i];
    if (g->param_info.at[i].role != DHC_ROLE_WEIGHT)
      s->map[p->id] = dhc_func_param(s->f, &p->type, g->param_info.at[i], p->def->span);
  }
  s->flats = DHC_NEW_N(s->arena, DhcValue *, s->moments.n + 2);
  s->flats[0] = add_flat(s, DHC_NAME_WEIGHTS, s->out->n);
  s->out->scalars = DHC_NEW_N(s->arena, const char *, s->rq->optimizer->params.n + 7 + s->m->scalars.n);
  if (g->params.n > n) s->share = add_scalar(s, DHC_NAME_SHARE);
  for (int i = n; i < g->params.n; i++) s->map[g->params.at[i]->id] = s->share;
  if (!s->rq->parts) return;
  s->sum = add_flat(s, DHC_NAME_SUM, s->out->n);
  s->more = add_flat(s, DHC_NAME_MORE, s->places->n_more);
  if (s->rq->part) s->number = add_scalar(s, DHC_NAME_PART);
}

/* By an optimiser's parameters, what is given for them: scalars of the group whose own it is, else lr, step, those of the recipe. */
static void add_optimizer_args(Step *s, Optimizer *x, const DhcGroup *g) {
  const DhcFunc *o = x->f;
  x->arg = DHC_NEW_N(s->arena, DhcValue *, o->params.n + 1);
  for (int i = 2; i < o->params.n; i++) {
    const char *name = o->param_info.at[i].name;
    const char *own = g && strcmp(name, DHC_OPTIMIZER_LR) ? group_scalar(g, name) : NULL;
    if (own) x->arg[i] = own_scalar(s, own);
    else if (!x->flat[i]) x->arg[i] = add_scalar(s, strcmp(name, DHC_OPTIMIZER_STEP) == 0 ? DHC_NAME_OPT_STEP : dollar(s, name));
  }
}

static void add_params(Step *s) {
  const char **moments = DHC_NEW_N(s->arena, const char *, s->moments.n + 1);
  s->own = DHC_NEW_N(s->arena, DhcValue *, s->m->scalars.n + 1);
  for (int i = 0; i < s->moments.n; i++) {
    moments[i] = dollar(s, s->moments.name[i]);
    s->flats[1 + i] = add_flat(s, moments[i], s->cut ? dhc_step_share(s) : s->moments.length[i]);
  }
  s->out->n_moments = s->moments.n;
  s->out->moments = moments;
  if (s->rq->ema) s->flats[1 + s->moments.n] = add_flat(s, DHC_NAME_EMA, s->out->n);
  if (s->out->n_begun && s->moments.n) s->begun = add_flat(s, DHC_NAME_BEGUN, s->out->n_begun);
  s->clip = add_scalar(s, DHC_NAME_CLIP);
  s->limit = add_scalar(s, DHC_NAME_LIMIT);
  add_optimizer_args(s, &s->optimizer[0], NULL);
  for (int i = 0; i < s->m->groups.n; i++) {
    Optimizer *x = &s->optimizer[1 + i];
    if (x->f == s->optimizer[0].f) x->arg = s->optimizer[0].arg;
    else add_optimizer_args(s, x, &s->m->groups.at[i]);
  }
  if (s->rq->ema) s->decay = add_scalar(s, DHC_NAME_EMA_DECAY);
  add_own_scalars(s);
}

/* ---- turns ----------------------------------------------------------------------------------- */

/* Steps are counted from 1: of those behind the first `after` the first, and every so many from there. Whole numbers of f32,
 * whose quotient rounds to no other whole number. */
static bool find_turns(Step *s) {
  DhcBuilder *b = &s->b;
  s->turn = DHC_NEW_N(s->arena, Turn, s->m->groups.n + 1);
  for (int i = 0; i < s->m->groups.n; i++) {
    const DhcGroup *g = &s->m->groups.at[i];
    if (!g->every) continue;
    DhcValue *one = dhc_b_scalar(b, DHC_F32, 1), *every = own_scalar(s, g->every), *behind = dhc_step_bin(s, DHC_OP_ADD, one, own_scalar(s, g->after));
    DhcValue *since = dhc_step_bin(s, DHC_OP_SUB, add_scalar(s, DHC_NAME_OPT_STEP), behind);
    DhcValue *turns = dhc_b_unary(b, DHC_OP_FLOOR, dhc_step_bin(s, DHC_OP_DIV, since, every));
    DhcValue *exact = dhc_step_bin(s, DHC_OP_EQ, dhc_step_bin(s, DHC_OP_MUL, turns, every), since);
    DhcValue *late = dhc_step_bin(s, DHC_OP_GE, since, dhc_b_scalar(b, DHC_F32, 0));
    DhcValue *count = dhc_step_bin(s, DHC_OP_MAX, dhc_step_bin(s, DHC_OP_ADD, turns, one), one);
    s->turn[1 + i] = (Turn){.due = dhc_step_bin(s, DHC_OP_AND, exact, late), .count = count};
    if (!s->turn[1 + i].due || !count) return false;
  }
  return true;
}

/* v where the group steps, `rest` where it does not. */
static DhcValue *where_due(Step *s, const Range *r, DhcValue *v, DhcValue *rest) {
  DhcValue *due = s->turn[r->group].due;
  return due ? dhc_b_select(&s->b, due, v, rest) : v;
}

/* The range's part of the flat of gradients, which has none of those that do not lie in memory. */
static DhcValue *gradients_of(Step *s, DhcValue *gradients, const Range *r) {
  const Range at = {.begin = r->from, .n = r->n};
  return dhc_step_range(s, gradients, &at);
}

/* The gradients that this step goes by: those of groups that it leaves out are zeros, in the norm, too. */
static DhcValue *due_gradients(Step *s, DhcValue *g) {
  if (!s->m->groups.n) return g;
  DhcValue **part = DHC_NEW_N(s->arena, DhcValue *, s->ranges.n + 1);
  bool any = false;
  for (int i = 0; i < s->ranges.n; i++) {
    const Range *r = &s->ranges.at[i];
    const DhcType t = dhc_step_flat(s, r->n);
    part[i] = where_due(s, r, gradients_of(s, g, r), dhc_b_fill(&s->b, &t, 0));
    any = any || s->turn[r->group].due;
  }
  return any ? dhc_step_joined(s, part, s->ranges.n) : g;
}

/* ---- the update --------------------------------------------------------------------------- */

/* norm = √Σg²; scale = clip > 0 ? min(1, clip / (norm + 1e-6)) : 1 */
static DhcValue *clip_scale(Step *s, DhcValue *norm) {
  DhcValue *one = dhc_b_scalar(&s->b, DHC_F32, 1);
  DhcValue *sum = dhc_step_bin(s, DHC_OP_ADD, norm, dhc_b_scalar(&s->b, DHC_F32, 1e-6));
  DhcValue *part = dhc_step_bin(s, DHC_OP_MIN, one, dhc_step_bin(s, DHC_OP_DIV, s->clip, sum));
  DhcValue *on = dhc_step_bin(s, DHC_OP_GT, s->clip, dhc_b_scalar(&s->b, DHC_F32, 0));
  return dhc_b_select(&s->b, on, part, one);
}

/* The new value where the step is finite, the old one where not. */
static DhcValue *gate(Step *s, DhcValue *now, DhcValue *old) {
  return dhc_b_select(&s->b, s->finite, now, old);
}

static int n_flats(const Step *s) {
  return 1 + s->moments.n + (s->rq->ema ? 1 : 0);
}

static bool is_moment(const Step *s, int k) { return k > 0 && k <= s->moments.n; }

/* Whether a range has a part of flat k: frozen ones have no moments, others' are not here, and a moment ends with the last that has it. */
static bool has_flat(const Step *s, const Range *r, int k) {
  if (!is_moment(s, k)) return true;
  return !is_bare(s, r) && dhc_step_is_mine(s, r) && (s->cut || r->begin < s->moments.length[k - 1]);
}

/* The range's part of flat k. */
static DhcValue *flat_part(Step *s, const Range *r, int k) {
  return is_moment(s, k) ? dhc_step_moment(s, s->flats[k], r) : dhc_step_range(s, s->flats[k], r);
}

/* An argument of the optimiser's as the range's group has it. */
static DhcValue *group_arg(Step *s, const Range *r, const char *name, DhcValue *all) {
  const char *scalar = r->group ? group_scalar(&s->m->groups.at[r->group - 1], name) : NULL;
  DhcValue *own = scalar ? own_scalar(s, scalar) : NULL;
  if (!own) return all;
  return strcmp(name, DHC_OPTIMIZER_LR) ? own : dhc_step_bin(s, DHC_OP_MUL, all, own);
}

/* What the optimiser takes for a range: operands as they lie there, scalars. */
static bool optimizer_args(Step *s, const Range *r, DhcValue *const *old, DhcValue *g, DhcValue **args) {
  const Optimizer *x = optimizer_of(s, r);
  const DhcFunc *o = x->f;
  args[0] = old[0];
  args[1] = g;
  for (int i = 2; i < o->params.n; i++) {
    const char *name = o->param_info.at[i].name;
    bool none = !r->decays && strcmp(name, DHC_OPTIMIZER_WEIGHT_DECAY) == 0;
    DhcValue *count = strcmp(name, DHC_OPTIMIZER_STEP) ? NULL : s->turn[r->group].count;
    if (x->flat[i]) args[i] = old[x->flat[i]];
    else if (count) args[i] = count;
    else args[i] = none ? dhc_b_scalar(&s->b, DHC_F32, 0) : group_arg(s, r, name, x->arg[i]);
  }
  for (int i = 0; i < o->params.n; i++)
    if (!args[i]) return false;
  return true;
}

static DhcValue *average(Step *s, DhcValue *old, DhcValue *now) {
  DhcValue *rest = dhc_step_bin(s, DHC_OP_SUB, dhc_b_scalar(&s->b, DHC_F32, 1), s->decay);
  DhcValue *share = dhc_step_bin(s, DHC_OP_MUL, rest, now);
  DhcValue *mean = dhc_step_bin(s, DHC_OP_ADD, dhc_step_bin(s, DHC_OP_MUL, s->decay, old), share);
  return gate(s, mean, old);
}

/* now[k], the optimiser's new value of flat k, becomes part[k]: gated, and averaged for
 * "$ema" unless other ranks' new weights are still to come. */
static void finish_range(Step *s, const Range *r, DhcValue *const *old, DhcValue **now, DhcValue **part) {
  for (int k = 0; k <= s->moments.n; k++)
    if (now[k] != old[k]) now[k] = where_due(s, r, now[k], old[k]);
  for (int k = 0; k <= s->moments.n; k++) part[k] = now[k] == old[k] ? old[k] : gate(s, now[k], old[k]);
  int k = 1 + s->moments.n;
  if (s->rq->ema) part[k] = s->cut ? old[k] : average(s, old[k], now[0]);
}

/* One flat range through the optimiser; part[k] gets the new value of flat k. */
static bool step_range(Step *s, const Range *r, DhcValue *g, DhcValue **part) {
  const Optimizer *x = optimizer_of(s, r);
  DhcValue **args = DHC_NEW_N(s->arena, DhcValue *, x->f->params.n + 1);
  DhcValue *old[DHC_MAX_RESULTS], *now[DHC_MAX_RESULTS];
  for (int k = 0; k < n_flats(s); k++)
    if (has_flat(s, r, k)) old[k] = flat_part(s, r, k);
  if (r->frozen || !dhc_step_is_mine(s, r)) {
    for (int k = 0; k < n_flats(s); k++)
      if (has_flat(s, r, k)) part[k] = k <= s->moments.n ? old[k] : gate(s, old[0], old[k]);
    return true;
  }
  if (!optimizer_args(s, r, old, gradients_of(s, g, r), args)) return false;
  DhcNode *call = dhc_b_call(&s->b, DHC_OP_CALL, x->f, args, x->f->params.n);
  if (!call) return false;
  for (int k = 0; k <= s->moments.n; k++) now[k] = x->result[k] < 0 ? old[k] : call->results[x->result[k]];
  finish_range(s, r, old, now, part);
  dhc_inline_call(call);
  return true;
}

/* ---- tensors in pieces ---------------------------------------------------------------------- */

bool dhc_step_lifts(const DhcFunc *o) {
  for (const DhcNode *n = o->first; n; n = n->next) {
    const bool elementwise = dhc_op_info(n->op)->cls == DHC_CLASS_ELEMENTWISE && (n->n_args < 3 || n->op == DHC_OP_SELECT);
    if (!elementwise && n->op != DHC_OP_PARAM && n->op != DHC_OP_FILL && n->op != DHC_OP_BROADCAST) return false;
  }
  return true;
}

/* The optimiser's body on operands of other shapes: its ops again, stretching as needed. */
static bool lift(Step *s, const Optimizer *by, DhcValue *const *args, DhcValue *const *old, DhcValue **now) {
  const DhcFunc *o = by->f;
  DhcValue **to = DHC_NEW_N(s->arena, DhcValue *, o->next_value_id + 1);
  for (int i = 0; i < o->params.n; i++) to[o->params.at[i]->id] = args[i];
  for (const DhcNode *n = o->first; n; n = n->next) {
    DhcValue *x[3] = {NULL, NULL, NULL}, **y = n->n_results ? &to[n->results[0]->id] : NULL;
    for (int i = 0; i < n->n_args && i < 3; i++) x[i] = to[n->args[i]->id];
    if (n->op == DHC_OP_PARAM) continue;
    bool elementwise = dhc_op_info(n->op)->cls == DHC_CLASS_ELEMENTWISE;
    if (n->op == DHC_OP_FILL) *y = dhc_b_scalar(&s->b, n->results[0]->type.dtype, dhc_attr(n, "value")->f);
    else if (n->op == DHC_OP_BROADCAST) *y = x[0];
    else if (elementwise && n->n_args == 1) *y = dhc_node_copy(&s->b, n, x)->results[0];
    else if (elementwise && n->n_args == 2) *y = dhc_step_bin(s, n->op, x[0], x[1]);
    else if (n->op == DHC_OP_SELECT) *y = dhc_b_select(&s->b, x[0], x[1], x[2]);
    else return bad_optimizer(s, o, "for tensors in pieces it must be elementwise, unlike", dhc_op_info(n->op)->name);
    if (!*y) return false;
  }
  for (int k = 0; k <= s->moments.n; k++) now[k] = by->result[k] < 0 ? old[k] : to[o->results.at[by->result[k]]->id];
  return true;
}

/* A range's view as [pieces, elements of each]. */
static void piece_shape(Step *s, const Range *r, const DhcDim *shape[2]) {
  shape[0] = dhc_dim_const(s->m->dims, r->pieces);
  shape[1] = dhc_dim_const(s->m->dims, r->n / r->pieces);
}

DhcValue **dhc_step_size(Step *s, int range) {
  if (!s->size) s->size = DHC_NEW_N(s->arena, DhcValue *, s->ranges.n + 1);
  return &s->size[range];
}

/* Sum of magnitudes of each piece's gradient. They are in memory before the ranges read them, so that what sums up gradients is
 * no kernel of the ranges', which stay in place. */
bool dhc_step_sizes(Step *s, DhcValue *gradients, const Range *of, DhcValue **squares) {
  static const int64_t axis = 1;
  for (int i = 0; i < s->ranges.n; i++) {
    const DhcDim *shape[2];
    const Range *r = &s->ranges.at[i];
    dhc_step_size(s, i);
    if (!r->pieces || r->begin < of->begin || r->begin >= of->begin + of->n) continue;
    piece_shape(s, r, shape);
    DhcValue *g = dhc_b_reshape(&s->b, gradients_of(s, gradients, r), shape, 2);
    if (!(s->size[i] = dhc_b_reduce(&s->b, DHC_OP_REDUCE_SUM, dhc_b_unary(&s->b, DHC_OP_ABS, g), &axis, 1, false))) return false;
    if (squares && !(*squares = dhc_b_reduce(&s->b, DHC_OP_REDUCE_SUM, dhc_step_bin(s, DHC_OP_MUL, g, g), &axis, 1, false))) return false;
  }
  return true;
}

/* What the optimiser makes of old values and the gradient, elementwise in the shape of these; age: NULL, or as it stretches to them. A
 * piece that no gradient has reached yet stays as it is, and the optimiser counts its steps from the first that does, as where every
 * piece is a parameter of its own. */
static bool step_shaped(Step *s, const Range *r, DhcValue *const *old, DhcValue *g, DhcValue *age, DhcValue **part) {
  const Optimizer *by = optimizer_of(s, r);
  const DhcFunc *o = by->f;
  const DhcDim *line[] = {dhc_dim_const(s->m->dims, r->n)};
  DhcValue **args = DHC_NEW_N(s->arena, DhcValue *, o->params.n + 1), *now[DHC_MAX_RESULTS];
  if (!g || !optimizer_args(s, r, old, g, args)) return false;
  for (int i = 2; i < o->params.n && age; i++)
    if (!strcmp(o->param_info.at[i].name, DHC_OPTIMIZER_STEP)) args[i] = dhc_step_bin(s, DHC_OP_MAX, age, dhc_b_scalar(&s->b, DHC_F32, 1));
  if (!lift(s, by, args, old, now)) return false;
  DhcValue *begun = age ? dhc_step_bin(s, DHC_OP_GT, age, dhc_b_scalar(&s->b, DHC_F32, 0)) : NULL;
  for (int k = 0; k <= s->moments.n && begun; k++)
    if (now[k] != old[k]) now[k] = dhc_b_select(&s->b, begun, now[k], old[k]);
  finish_range(s, r, old, now, part);
  for (int k = 0; k < n_flats(s); k++)
    if (has_flat(s, r, k) && !(part[k] = dhc_b_reshape(&s->b, part[k], line, 1))) return false;
  return true;
}

/* Ages of a range's pieces, the first of `rank` axes. */
static DhcValue *ages_of(Step *s, const Range *r, DhcValue *ages, int rank) {
  const DhcDim *shape[DHC_MAX_RANK];
  for (int d = 0; d < rank; d++) shape[d] = dhc_dim_const(s->m->dims, d ? 1 : r->pieces);
  DhcValue *age = dhc_b_slice(&s->b, ages, 0, dhc_dim_const(s->m->dims, r->age), shape[0]);
  return age ? dhc_b_reshape(&s->b, age, shape, rank) : NULL;
}

static bool step_pieces(Step *s, const Range *r, DhcValue *g, DhcValue *ages, DhcValue **part) {
  const DhcDim *shape[2];
  piece_shape(s, r, shape);
  DhcValue *old[DHC_MAX_RESULTS];
  for (int k = 0; k < n_flats(s); k++) old[k] = has_flat(s, r, k) ? dhc_b_reshape(&s->b, flat_part(s, r, k), shape, 2) : NULL;
  DhcValue *age = ages_of(s, r, ages, 2);
  return age && step_shaped(s, r, old, dhc_b_reshape(&s->b, gradients_of(s, g, r), shape, 2), age, part);
}

/* A range whose gradient is made where it is stepped. */
static bool step_few(Step *s, const Range *r, DhcValue *scale, DhcValue *ages, DhcValue **part) {
  DhcValue *g = dhc_step_few_gradient(s, r->few), *old[DHC_MAX_RESULTS], *age = NULL;
  if (!g) return false;
  for (int k = 0; k < n_flats(s); k++) old[k] = has_flat(s, r, k) ? dhc_b_reshape(&s->b, flat_part(s, r, k), g->type.dim, g->type.rank) : NULL;
  if (r->pieces && ages && !(age = ages_of(s, r, ages, g->type.rank))) return false;
  return step_shaped(s, r, old, dhc_step_bin(s, DHC_OP_MUL, g, scale), age, part);
}

/* New ages: 0 until a gradient reaches a piece, then counting on. raw: the gradients before clipping. */
static DhcValue *step_ages(Step *s, DhcValue *raw) {
  const Range whole = {.n = s->out->n};
  DhcValue **size = DHC_NEW_N(s->arena, DhcValue *, s->ranges.n + 1), **more = DHC_NEW_N(s->arena, DhcValue *, s->ranges.n + 1);
  DhcValue *zero = dhc_b_scalar(&s->b, DHC_F32, 0);
  bool turns = false;
  int n = 0;
  if (!s->size && !dhc_step_sizes(s, raw, &whole, NULL)) return NULL;
  for (int i = 0; i < s->ranges.n; i++) {
    const Range *r = &s->ranges.at[i];
    if (!r->pieces) continue;
    const DhcType t = dhc_step_flat(s, r->pieces);
    more[n] = where_due(s, r, dhc_b_fill(&s->b, &t, 1), dhc_b_fill(&s->b, &t, 0)); /* a step that is not theirs makes none older */
    turns = turns || s->turn[r->group].due;
    size[n++] = s->size[i];
  }
  DhcValue *all = dhc_step_joined(s, size, n), *one = turns ? dhc_step_joined(s, more, n) : dhc_b_scalar(&s->b, DHC_F32, 1);
  if (!all || !one) return NULL;
  DhcValue *before = dhc_step_bin(s, DHC_OP_GT, s->begun, zero);
  DhcValue *begun = dhc_step_bin(s, DHC_OP_OR, dhc_step_bin(s, DHC_OP_GT, all, zero), before);
  DhcValue *ages = dhc_b_select(&s->b, begun, dhc_step_bin(s, DHC_OP_ADD, s->begun, one), zero);
  DhcValue *args[2] = {s->begun, gate(s, ages, s->begun)};
  return args[1] ? dhc_build1(&s->b, DHC_OP_UPDATE, args, 2, NULL, 0) : NULL;
}

/* New weights begin … begin + n - 1, which the ranges hold in parts. */
static DhcValue *new_weights(Step *s, DhcValue *(*part)[DHC_MAX_RESULTS], int64_t begin, int64_t n) {
  DhcValue **piece = DHC_NEW_N(s->arena, DhcValue *, s->ranges.n + 1);
  int count = 0;
  for (int i = 0; i < s->ranges.n; i++) {
    const Range *r = &s->ranges.at[i];
    const int64_t from = r->begin > begin ? r->begin : begin, to = r->begin + r->n < begin + n ? r->begin + r->n : begin + n;
    if (from >= to) continue;
    piece[count++] = to - from == r->n ? part[i][0]
                                       : dhc_b_slice(&s->b, part[i][0], 0, dhc_dim_const(s->m->dims, from - r->begin), dhc_dim_const(s->m->dims, to - from));
  }
  return dhc_step_joined(s, piece, count);
}

/* A range that follows others: decay * old + (1 - decay) * the others' new values, where the step is finite. */
static bool follow(Step *s, const Range *r, DhcValue *(*part)[DHC_MAX_RESULTS], int i) {
  DhcValue *of = new_weights(s, part, r->source, r->n), *old = part[i][0], *decay = own_scalar(s, r->decay);
  DhcValue *rest = dhc_step_bin(s, DHC_OP_SUB, dhc_b_scalar(&s->b, DHC_F32, 1), decay);
  DhcValue *now = of ? dhc_step_bin(s, DHC_OP_ADD, dhc_step_bin(s, DHC_OP_MUL, decay, old), dhc_step_bin(s, DHC_OP_MUL, rest, of)) : NULL;
  if (!now) return false;
  part[i][0] = gate(s, now, old);
  if (s->rq->ema) part[i][1 + s->moments.n] = part[i][0];
  return part[i][0];
}

/* "$ema" behind new weights that have come from all ranks. */
static bool average_all(Step *s, DhcValue *(*part)[DHC_MAX_RESULTS]) {
  const int k = 1 + s->moments.n;
  for (int i = 0; i < s->ranges.n && s->rq->ema; i++) {
    const Range *r = &s->ranges.at[i];
    if (!r->frozen && !(part[i][k] = average(s, flat_part(s, r, k), part[i][0]))) return false;
  }
  return true;
}

/* scale: of all gradients, by which g is scaled already. */
static bool step_flats(Step *s, DhcValue *raw, DhcValue *g, DhcValue *scale) {
  int n = s->ranges.n;
  DhcValue *ages = s->begun ? step_ages(s, raw) : NULL, *all = NULL;
  DhcValue **column = DHC_NEW_N(s->arena, DhcValue *, n + 1);
  DhcValue *(*part)[DHC_MAX_RESULTS] = (DhcValue * (*)[DHC_MAX_RESULTS]) DHC_NEW_N(s->arena, DhcValue *, n * DHC_MAX_RESULTS);
  if (s->begun && !ages) return false;
  for (int i = 0; i < n; i++) {
    const Range *r = &s->ranges.at[i];
    const bool pieces = r->pieces && ages && dhc_step_is_mine(s, r);
    if (r->few ? !step_few(s, r, scale, ages, part[i]) : pieces ? !step_pieces(s, r, g, ages, part[i]) : !step_range(s, r, g, part[i])) return false;
  }
  if (s->cut && (!dhc_step_spread(s, part, &all) || !average_all(s, part))) return false;
  for (int i = 0; i < n; i++)
    if (s->ranges.at[i].source >= 0 && !follow(s, &s->ranges.at[i], part, i)) return false;
  for (int k = 0; k < n_flats(s); k++) {
    int parts = 0;
    for (int i = 0; i < n; i++)
      if (has_flat(s, &s->ranges.at[i], k)) column[parts++] = part[i][k];
    if (!dhc_step_update(s, s->flats[k], all && !k ? dhc_step_weights(s, part, all) : dhc_step_joined(s, column, parts))) return false;
  }
  return true;
}

/* Buffers that the loss entry assigns. */
static bool step_buffers(Step *s) {
  for (const DhcNode *n = s->grad->first; n; n = n->next) {
    if (n->op != DHC_OP_UPDATE) continue;
    DhcValue *old = s->map[n->args[0]->id], *now = s->map[n->results[0]->id];
    s->b.span = n->span;
    if (!dhc_step_update(s, old, gate(s, now, old))) return false;
  }
  s->b.span = s->loss->span;
  return true;
}

/* A new running mean or variance may overflow where loss and gradients do not. v * 0 summed up
 * is 0, or NaN as soon as one element is not finite. */
static bool finite_buffers(Step *s) {
  for (const DhcNode *n = s->grad->first; n; n = n->next) {
    if (n->op != DHC_OP_UPDATE) continue;
    DhcValue *now = s->map[n->results[0]->id];
    int64_t axis[DHC_MAX_RANK];
    if (!now || !dhc_dtype_is_float(now->type.dtype)) continue;
    for (int i = 0; i < now->type.rank; i++) axis[i] = i;
    DhcValue *none = dhc_step_bin(s, DHC_OP_MUL, now, dhc_b_scalar(&s->b, now->type.dtype, 0));
    if (now->type.rank) none = dhc_b_reduce(&s->b, DHC_OP_REDUCE_SUM, none, axis, now->type.rank, false);
    none = dhc_b_unary(&s->b, DHC_OP_IS_FINITE, none);
    s->finite = dhc_step_bin(s, DHC_OP_AND, s->finite, none);
    if (!s->finite) return false;
  }
  return true;
}

static bool build(Step *s) {
  if (!dhc_step_copy(s) || !dhc_step_whole_losses(s)) return false;
  DhcValue *g = dhc_step_gradient(s);
  if (!g) return false;
  if (!find_turns(s) || !(g = due_gradients(s, g))) return false;
  DhcValue *norm = dhc_b_unary(&s->b, DHC_OP_SQRT, dhc_step_squares(s, g));
  s->finite = dhc_step_bin(s, DHC_OP_LE, norm, s->limit);
  if (!dhc_step_finite_losses(s) || !finite_buffers(s)) return false;
  DhcValue *scale = clip_scale(s, norm), *scaled = dhc_step_bin(s, DHC_OP_MUL, g, scale);
  if (!scaled || !s->finite || !step_flats(s, g, scaled, scale) || !step_buffers(s)) return false;
  for (int i = 0; i < s->loss->results.n; i++)
    dhc_func_result(s->f, s->map[s->grad->results.at[i]->id], s->loss->result_names.at[i]);
  dhc_func_result(s->f, norm, DHC_RESULT_GRAD_NORM);
  dhc_func_result(s->f, s->finite, DHC_RESULT_FINITE);
  return true;
}

bool dhc_train_step(DhcPassCtx *px, DhcFunc *loss, const DhcTrainRequest *rq, DhcTrainStep *out) {
  DhcModule *m = px->module;
  Step s = {.px = px, .m = m, .arena = m->arena, .rq = rq, .out = out, .loss = loss};
  *out = (DhcTrainStep){0};
  if (!place_all(&s) || !all_placed(&s) || !read_optimizers(&s)) return false;
  if (!dhc_step_find_losses(&s) || !dhc_step_differentiate(&s) || !dhc_step_find_few(&s)) return false;
  if (!find_ranges(&s)) return false;
  s.f = dhc_func_new(m, rq->name ? rq->name : "train_step", DHC_FUNC_ENTRY, loss->span);
  dhc_edit_copy_binders(s.f, loss);
  s.b = (DhcBuilder){.f = s.f, .span = loss->span};
  add_common_params(&s);
  if (!rq->part) add_params(&s);
  bool ok = rq->part ? dhc_step_part(&s) : build(&s);
  dhc_edit_drop(m, s.grad);
  out->entry = s.f;
  return ok;
}
