/* The results that gradients are of: the entry's own loss, and those that groups of parameters name. */
#include "passes/grad/train_internal.h"

int dhc_step_result(const DhcFunc *f, const char *name) {
  for (int i = 0; name && i < f->results.n; i++)
    if (f->result_names.at[i] && strcmp(f->result_names.at[i], name) == 0) return i;
  return -1;
}

static bool no_result(Step *s, const DhcGroup *g) {
  const DhcFunc *f = s->loss;
  const char *close = dhc_suggest(g->loss, f->result_names.at, f->result_names.n);
  DhcDiag *d = dhc_diag(s->px->diags, DHC_ERROR, "E0711", g->loss_at, "groups: '%s' has no result '%s'", f->name, g->loss);
  if (close) dhc_diag_hint(s->px->diags, d, "did you mean '%s'?", close);
  return false;
}

static bool no_scalar(Step *s, const DhcGroup *g, const DhcType *t) {
  DhcText text = {.arena = s->arena};
  dhc_type_print(t, &text);
  DhcDiag *d = dhc_diag(s->px->diags, DHC_ERROR, "E0712", g->loss_at, "groups: result '%s' of '%s' must be a float scalar to be a loss, it is %s", g->loss,
                        s->loss->name, dhc_text_str(&text));
  dhc_diag_hint(s->px->diags, d, "return its mean or its sum");
  return false;
}

bool dhc_step_find_losses(Step *s) {
  s->n_losses = dhc_n_losses(s->m);
  s->losses = DHC_NEW_N(s->arena, int, s->n_losses);
  s->losses[0] = s->rq->of ? dhc_step_result(s->loss, s->rq->of) : 0;
  for (int i = 0; i < s->m->groups.n; i++) {
    const DhcGroup *g = &s->m->groups.at[i];
    if (!g->loss) continue;
    const int r = dhc_step_result(s->loss, g->loss);
    if (r < 0) return no_result(s, g);
    const DhcType *t = &s->loss->results.at[r]->type;
    if (t->rank || !dhc_dtype_is_float(t->dtype)) return no_scalar(s, g, t);
    s->losses[dhc_group_loss(s->m, i)] = r;
  }
  return true;
}

/* Of each weight by the loss of its group. */
bool dhc_step_differentiate(Step *s) {
  int *of = DHC_NEW_N(s->arena, int, s->loss->params.n + 1);
  DhcGradRequest rq = {.name = dhc_arena_printf(s->arena, "%s.grad", s->loss->name), .roles = 1u << DHC_ROLE_WEIGHT, .of = s->rq->of,
                       .weighed = s->rq->shared || s->rq->parts};
  for (int i = 0; i < s->loss->params.n; i++) {
    const DhcParamInfo *info = &s->loss->param_info.at[i];
    const int group = info->role == DHC_ROLE_WEIGHT ? s->m->tensors.at[info->decl].group : 0;
    of[i] = s->losses[group ? dhc_group_loss(s->m, group - 1) : 0];
  }
  if (s->n_losses > 1) rq.result_of = of;
  if (!(s->grad = dhc_grad_entry(s->px, s->loss, &rq))) return false;
  s->map = DHC_NEW_N(s->arena, DhcValue *, s->grad->next_value_id + 1);
  return true;
}

/* A group that names a loss which moves none of it says what it cannot mean. */
bool dhc_step_losses_move(Step *s, const bool *moves) {
  for (int g = 0; g < s->m->groups.n; g++) {
    const DhcGroup *group = &s->m->groups.at[g];
    bool any = !group->loss, one = false;
    for (int i = 0; i < s->out->n_slots; i++) {
      const DhcTensorDecl *t = &s->m->tensors.at[s->slots[i].tensor];
      if (t->group != 1 + g || t->frozen || !s->slots[i].n) continue;
      one = true;
      any = any || moves[i];
    }
    if (any || !one) continue;
    DhcDiag *d = dhc_diag(s->px->diags, DHC_ERROR, "E0724", group->loss_at, "groups: '%s' gives no parameter of '%s' a gradient", group->loss, group->pattern);
    dhc_diag_hint(s->px->diags, d, "stop_gradient and frozen(...) keep gradients away; or another result is meant");
    return false;
  }
  return true;
}

/* A result that is the same value as one before it. */
static bool is_said(const Step *s, int i) {
  for (int k = 0; k < i; k++)
    if (s->grad->results.at[s->losses[k]] == s->grad->results.at[s->losses[i]]) return true;
  return false;
}

bool dhc_step_whole_losses(Step *s) {
  for (int i = 0; i < s->n_losses; i++) {
    DhcValue **at = &s->map[s->grad->results.at[s->losses[i]]->id];
    if (is_said(s, i)) continue;
    dhc_step_behind(s, (*at)->def);
    if (!(*at = dhc_step_over_parts(s, *at, s->more, i))) return false;
  }
  dhc_step_behind(s, NULL);
  return true;
}

bool dhc_step_finite_losses(Step *s) {
  for (int i = 0; i < s->n_losses; i++) {
    DhcValue *loss = s->map[s->grad->results.at[s->losses[i]]->id];
    if (!is_said(s, i)) s->finite = dhc_step_bin(s, DHC_OP_AND, s->finite, dhc_b_unary(&s->b, DHC_OP_IS_FINITE, loss));
  }
  return s->finite != NULL;
}
