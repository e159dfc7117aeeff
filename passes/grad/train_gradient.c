/* The gradients of a training step: the nodes of the loss and its derivative, their flat sum over the parts of a batch, whether
 * these come one after the other or are other ranks'. */
#include "passes/grad/train_internal.h"

/* ---- nodes ---------------------------------------------------------------------------- */

DhcType dhc_step_flat(Step *s, int64_t n) {
  DhcType t = {.dtype = DHC_F32, .rank = 1};
  t.dim[0] = dhc_dim_const(s->m->dims, n);
  return t;
}

DhcValue *dhc_step_range(Step *s, DhcValue *v, const Range *r) {
  int64_t all;
  if (!v || (dhc_dim_is_const(v->type.dim[0], &all) && r->n == all)) return v;
  return dhc_b_slice(&s->b, v, 0, dhc_dim_const(s->m->dims, r->begin),
                     dhc_dim_const(s->m->dims, r->n));
}

DhcValue *dhc_step_bin(Step *s, DhcOp op, DhcValue *x, DhcValue *y) {
  return dhc_b_binary(&s->b, op, x, y);
}

bool dhc_step_update(Step *s, DhcValue *to, DhcValue *value) {
  DhcValue *args[2] = {to, value};
  return value && dhc_build(&s->b, DHC_OP_UPDATE, args, 2, NULL, 0);
}

/* Pieces side by side; NULL after a diagnostic. */
DhcValue *dhc_step_joined(Step *s, DhcValue *const *part, int n) {
  for (int i = 0; i < n; i++)
    if (!part[i]) return NULL;
  return n == 1 ? part[0] : dhc_b_concat(&s->b, part, n, 0);
}

/* ---- parts of a batch, in turn and on other ranks ------------------------------------------- */

/* n elements of a sum from `begin` on, shaped like v. */
static DhcValue *sum_before(Step *s, DhcValue *sum, int64_t begin, const DhcValue *v) {
  Range r = {.begin = begin};
  if (!dhc_dim_is_const(dhc_type_elements(s->m->dims, &v->type), &r.n)) return NULL;
  sum = dhc_step_range(s, sum, &r);
  return sum ? dhc_b_reshape(&s->b, sum, v->type.dim, v->type.rank) : NULL;
}

/* The same of what counts by its part's share already, as gradients do: their loss is weighed. */
static DhcValue *weighed_over_parts(Step *s, DhcValue *own, DhcValue *sum, int64_t begin) {
  if (!own || !s->share) return own;
  DhcValue *before = sum ? sum_before(s, sum, begin, own) : NULL, *v = before ? dhc_step_bin(s, DHC_OP_ADD, before, own) : own;
  if (v && s->number) v = dhc_b_select(&s->b, dhc_step_bin(s, DHC_OP_GT, s->number, dhc_b_scalar(&s->b, DHC_F32, 0)), v, own);
  return v && s->rq->shared && !s->rq->part ? dhc_build1(&s->b, DHC_OP_SUM_RANKS, &v, 1, NULL, 0) : v;
}

void dhc_step_behind(Step *s, const DhcNode *n) {
  s->b.before = n ? n->next : NULL;
  while (s->b.before && s->b.before->op == DHC_OP_PARAM) s->b.before = s->b.before->next;
}

/* v of the whole batch, from those of its parts; the sum of those before it lies in `sum` from `begin` on. */
DhcValue *dhc_step_over_parts(Step *s, DhcValue *v, DhcValue *sum, int64_t begin) {
  return v && s->share ? weighed_over_parts(s, dhc_step_bin(s, DHC_OP_MUL, v, s->share), sum, begin) : v;
}

static int param_index(const DhcFunc *f, const DhcValue *v) {
  for (int i = 0; i < f->params.n; i++)
    if (f->params.at[i] == v) return i;
  DHC_BUG("an update of what is no parameter");
}

/* Weights as slices of the flat tensor, then the nodes of the gradient entry but its updates. */
bool dhc_step_copy(Step *s) {
  const DhcFunc *g = s->grad;
  for (int i = 0; i < g->params.n; i++) {
    if (g->param_info.at[i].role != DHC_ROLE_WEIGHT) continue;
    DhcValue *p = g->params.at[i];
    const DhcWeightSlot *slot = &s->slots[s->slot_of[g->param_info.at[i].decl]];
    Range r = {.begin = slot->offset, .n = slot->n};
    DhcValue *v = dhc_step_range(s, s->flats[0], &r);
    s->map[p->id] = v ? dhc_b_reshape(&s->b, v, p->type.dim, p->type.rank) : NULL;
    if (!s->map[p->id]) return false;
  }
  for (const DhcNode *n = g->first; n; n = n->next) {
    if (n->op == DHC_OP_PARAM) continue;
    if (n->op == DHC_OP_UPDATE) { /* its result is the new value; the write comes last */
      DhcValue *now = s->map[n->args[1]->id];
      if (now->type.dtype == DHC_F32) now = dhc_step_over_parts(s, now, s->more, s->places->offset[g->param_info.at[param_index(g, n->args[0])].decl]);
      if (!(s->map[n->results[0]->id] = now)) return false;
      continue;
    }
    DhcValue **args = DHC_NEW_N(s->arena, DhcValue *, n->n_args + 1);
    for (int i = 0; i < n->n_args; i++) args[i] = s->map[n->args[i]->id];
    s->b.span = n->span;
    s->b.origin = n->origin;
    DhcNode *c = dhc_node_copy(&s->b, n, args);
    if (!c) return false;
    for (int i = 0; i < n->n_results; i++) s->map[n->results[i]->id] = c->results[i];
  }
  s->b.span = s->loss->span;
  s->b.origin = NULL;
  return true;
}

/* Ranges that are summed at once: large enough that starting one costs little, and so many that the first are under way while
 * most of the backward pass is still to come. */
enum { LEAST_AT_ONCE = 1 << 18, PARTS_AT_ONCE = 16 };

/* The gradient of a slot, flat; zeros where the loss has none. Zeros stand behind all gradients and are made again where they
 * are needed before. */
static DhcValue *flat_part(Step *s, int slot, DhcValue *gradient) {
  DhcType t = dhc_step_flat(s, s->slots[slot].n);
  return gradient && !dhc_ad_is_zeros(gradient) ? dhc_b_reshape(&s->b, gradient, t.dim, 1) : dhc_b_fill(&s->b, &t, 0);
}

/* The last of the gradients of slots [begin, end) that are no zeros; NULL: none. */
static const DhcNode *last_of(DhcValue *const *gradient, int begin, int end) {
  const DhcNode *last = NULL;
  for (int i = begin; i < end; i++)
    if (gradient[i] && !dhc_ad_is_zeros(gradient[i]) && (!last || gradient[i]->def->id > last->id)) last = gradient[i]->def;
  return last;
}

/* The gradients of slots [begin, end) as one range, summed as soon as the last of them is there. */
static DhcValue *sum_slots(Step *s, DhcValue *const *gradient, int begin, int end) {
  const DhcNode *last = last_of(gradient, begin, end);
  DhcValue **part = DHC_NEW_N(s->arena, DhcValue *, end - begin);
  dhc_step_behind(s, last);
  for (int i = begin; i < end; i++) part[i - begin] = flat_part(s, i, gradient[i]);
  DhcValue *all = dhc_step_joined(s, part, end - begin);
  if (last) all = weighed_over_parts(s, all, s->sum, s->slots[begin].offset);
  s->b.before = NULL;
  return all;
}

/* Slots of no gradient have a range of their own, which nobody sums. One that is large alone begins a range: what stands
 * before it may come much later. The first is shorter than others, as what comes last should take little time. */
static int range_end(const Step *s, DhcValue *const *gradient, int begin) {
  const int64_t least = s->out->n / PARTS_AT_ONCE > LEAST_AT_ONCE ? s->out->n / PARTS_AT_ONCE : LEAST_AT_ONCE, most = begin ? 2 * least : least;
  int64_t n = 0;
  int end = begin;
  while (end < s->out->n_slots && n < most && !gradient[end] == !gradient[begin] && (!n || s->slots[end].n < least)) {
    const DhcWeightSlot *slot = &s->slots[end++];
    n += slot->n;
    if (slot->offset + slot->n == s->out->n_decayed) break; /* behind those that decay are the small ones of all layers: done last */
  }
  return end;
}

/* In the order in which they are there. */
static void find_summed(Step *s, DhcValue *const *gradient) {
  DHC_VEC(int) when = {0};
  for (int i = 0, end; i < s->out->n_slots; i = end) {
    Range r = {.begin = s->slots[i].offset};
    const DhcNode *last = last_of(gradient, i, end = range_end(s, gradient, i));
    for (int k = i; k < end; k++) r.n += s->slots[k].n;
    if (!gradient[i] || !r.n) continue;
    DHC_PUSH(s->arena, &s->summed, r);
    DHC_PUSH(s->arena, &when, last ? last->id : -1);
    for (int k = when.n - 1; k > 0 && when.at[k] < when.at[k - 1]; k--) {
      const int id = when.at[k];
      when.at[k] = when.at[k - 1];
      when.at[k - 1] = id;
      s->summed.at[k] = s->summed.at[k - 1];
      s->summed.at[k - 1] = r;
    }
  }
}

static const int64_t first_axis = 0;

static DhcValue *square(Step *s, DhcValue *g) {
  return g ? dhc_step_bin(s, DHC_OP_MUL, g, g) : NULL;
}

/* By ranges that ranks sum at once. */
static DhcValue *squares_of_parts(Step *s, DhcValue *gradients) {
  DhcValue *sum = NULL;
  for (int i = 0; i < s->summed.n; i++) {
    const Range *r = &s->summed.at[i];
    DhcValue *one = dhc_b_reduce(&s->b, DHC_OP_REDUCE_SUM, square(s, dhc_step_range(s, gradients, r)), &first_axis, 1, false);
    if (!one || !(sum = sum ? dhc_step_bin(s, DHC_OP_ADD, sum, one) : one)) return NULL;
    if (s->begun && !dhc_step_sizes(s, gradients, r, NULL)) return NULL;
  }
  return sum;
}

/* The sum of squares of what lies between tensors in pieces, [1]. */
static DhcValue *squares_between(Step *s, DhcValue *gradients, int64_t begin, int64_t end) {
  const Range r = {.begin = begin, .n = end - begin};
  return dhc_b_reduce(&s->b, DHC_OP_REDUCE_SUM, square(s, dhc_step_range(s, gradients, &r)), &first_axis, 1, true);
}

/* Where all is there at once, a tensor in pieces is folded piece by piece, with its sizes in the same pass. */
DhcValue *dhc_step_squares(Step *s, DhcValue *gradients) {
  if (s->summed.n) return squares_of_parts(s, gradients);
  DhcValue **part = DHC_NEW_N(s->arena, DhcValue *, 2 * s->ranges.n + 1);
  int64_t begin = 0, stored = 0;
  int n = 0;
  bool plain = true;
  for (int i = 0; i < s->ranges.n; i++) {
    stored += s->ranges.at[i].few ? 0 : s->ranges.at[i].n;
    plain = plain && !s->ranges.at[i].few && !(s->ranges.at[i].pieces && s->begun);
  }
  /* In two where nothing else cuts them, so that a variant without experts has the kernels of one with them. */
  if (plain && s->out->n_decayed > 0 && s->out->n_decayed < stored) {
    if (!(part[n++] = squares_between(s, gradients, 0, s->out->n_decayed))) return NULL;
    begin = s->out->n_decayed;
  }
  for (int i = 0; i <= s->ranges.n; i++) {
    const Range *r = i < s->ranges.n ? &s->ranges.at[i] : NULL;
    const bool pieces = r && r->pieces && s->begun;
    if (r && !pieces && !r->few) continue;
    const int64_t end = r ? r->from : stored;
    if (end > begin && !(part[n++] = squares_between(s, gradients, begin, end))) return NULL;
    if (r && !r->few && !dhc_step_sizes(s, gradients, r, &part[n++])) return NULL;
    if (r && r->few && !(part[n++] = dhc_step_few_squares(s, r->few, pieces ? dhc_step_size(s, i) : NULL))) return NULL;
    if (r) begin = r->from + (r->few ? 0 : r->n);
  }
  DhcValue *all = dhc_step_joined(s, part, n);
  return all ? dhc_b_reduce(&s->b, DHC_OP_REDUCE_SUM, all, &first_axis, 1, false) : NULL;
}

/* All gradients, flat, in the order of the weights. */
DhcValue *dhc_step_gradient(Step *s) {
  DhcValue **gradient = DHC_NEW_N(s->arena, DhcValue *, s->out->n_slots + 1), **part = DHC_NEW_N(s->arena, DhcValue *, s->out->n_slots + 1);
  const bool by_ranges = s->rq->shared && !s->rq->part;
  int n = 0, next = s->loss->results.n; /* gradients stand behind the loss entry's results */
  for (int i = 0; i < s->grad->params.n; i++) {
    if (s->grad->param_info.at[i].role != DHC_ROLE_WEIGHT) continue;
    int slot = s->slot_of[s->grad->param_info.at[i].decl];
    gradient[slot] = s->map[s->grad->results.at[next++]->id];
    if (!by_ranges && !s->few[slot].n_args) part[slot] = flat_part(s, slot, gradient[slot]);
  }
  for (int i = 0; i < s->out->n_slots && !by_ranges; i++) {
    DhcValue *v = part[i];
    if (!s->few[i].n_args) part[n++] = v ? v : flat_part(s, i, gradient[i]);
  }
  if (s->share) find_summed(s, gradient);
  for (int i = 0, end; i < s->out->n_slots && by_ranges; i = end) {
    end = range_end(s, gradient, i);
    part[n++] = sum_slots(s, gradient, i, end);
  }
  const DhcType one = dhc_step_flat(s, 1);
  if (!n) part[n++] = dhc_b_fill(&s->b, &one, 0); /* none lies in memory: nobody asks for it */
  for (int i = 0; i < n; i++)
    if (!part[i]) return NULL;
  DhcValue *all = dhc_b_concat(&s->b, part, n, 0);
  return by_ranges ? all : weighed_over_parts(s, all, s->sum, 0);
}

/* An entry that only adds its part to the sums. */
bool dhc_step_part(Step *s) {
  if (!dhc_step_copy(s)) return false;
  DhcValue *g = dhc_step_gradient(s), **piece = DHC_NEW_N(s->arena, DhcValue *, s->m->tensors.n + s->n_losses + 1);
  int n = 0;
  for (; n < s->n_losses; n++) piece[n] = dhc_step_over_parts(s, s->map[s->grad->results.at[s->losses[n]]->id], s->more, n);
  for (int i = 0; i < s->m->tensors.n; i++) {
    const DhcTensorDecl *d = &s->m->tensors.at[i];
    if (d->role != DHC_ROLE_BUFFER || d->type.dtype != DHC_F32) continue;
    DhcType t = dhc_step_flat(s, s->places->n[i]);
    piece[n++] = dhc_b_fill(&s->b, &t, 0); /* of one that the loss leaves alone */
    for (const DhcNode *u = s->grad->first; u; u = u->next)
      if (u->op == DHC_OP_UPDATE && s->grad->param_info.at[param_index(s->grad, u->args[0])].decl == i) piece[n - 1] = s->map[u->results[0]->id];
  }
  for (int i = 0; i < n; i++) {
    DhcType t = dhc_step_flat(s, 0);
    t.dim[0] = piece[i] ? dhc_type_elements(s->m->dims, &piece[i]->type) : NULL;
    if (!piece[i] || !(piece[i] = dhc_b_reshape(&s->b, piece[i], t.dim, 1))) return false;
  }
  if (!g || !dhc_step_update(s, s->sum, g) || !dhc_step_update(s, s->more, dhc_step_joined(s, piece, n))) return false;
  for (int i = 0; i < s->loss->results.n; i++) dhc_func_result(s->f, s->map[s->grad->results.at[i]->id], s->loss->result_names.at[i]);
  return true;
}
