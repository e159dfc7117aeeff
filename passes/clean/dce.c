/* Dead code. Nodes without uses go, unless they have an effect. A call's unused results
 * stay, so that the callee can be shared; a scan's body belongs to it, so what a scan
 * carries along unused goes too: ys nobody reads, xs and constants the body does not read,
 * carries that feed only themselves. */
#include <string.h>

#include "passes/clean/edit.h"
#include "passes/passes.h"

typedef struct Trim {
  DhcPassCtx *px;
  DhcFunc *f;      /* holds the scan */
  DhcNode *n;      /* the scan */
  DhcFunc *body;
  int n_carry, n_xs;
  bool *keep_param;  /* of the body */
  bool *keep_result; /* of the body */
} Trim;

/* Functions with an update inside, by id; ones made since are trimmed bodies, without. */
typedef struct Effects {
  bool *at;
  int n;
} Effects;

static bool func_has_effect(const DhcFunc *f, const Effects *e) {
  return f->id < e->n && e->at[f->id];
}

static bool has_effect(const DhcNode *n, const Effects *e) {
  if (n->op == DHC_OP_UPDATE || n->op == DHC_OP_PARAM) return true;
  return dhc_op_info(n->op)->cls == DHC_CLASS_CALL && func_has_effect(n->attrs[0].func, e);
}

static Effects find_effects(const DhcModule *m, DhcArena *scratch) {
  Effects e = {NULL, 0};
  for (int i = 0; i < m->funcs.n; i++)
    if (m->funcs.at[i]->id >= e.n) e.n = m->funcs.at[i]->id + 1;
  e.at = DHC_NEW_N(scratch, bool, e.n + 1);
  for (int i = 0; i < m->funcs.n; i++) {
    const DhcFunc *f = m->funcs.at[i];
    for (const DhcNode *n = f->first; n; n = n->next)
      if (n->op != DHC_OP_PARAM) e.at[f->id] |= has_effect(n, &e);
  }
  return e;
}

static void sweep(DhcFunc *f, DhcPassCtx *px, const Effects *effect) {
  bool *used = DHC_NEW_N(px->scratch, bool, f->next_value_id + 1);
  for (int i = 0; i < f->results.n; i++) used[f->results.at[i]->id] = true;
  for (DhcNode *n = f->last, *prev; n; n = prev) {
    prev = n->prev;
    bool live = has_effect(n, effect);
    for (int i = 0; i < n->n_results; i++) live |= used[n->results[i]->id];
    if (!live && dhc_pass_may_change(px)) {
      dhc_node_remove(n);
      continue;
    }
    for (int i = 0; i < n->n_args; i++) used[n->args[i]->id] = true;
  }
}

/* ---- scans --------------------------------------------------------------------- */

/* Marks the values of the body that the kept results need. */
static bool *body_needs(Trim *t) {
  DhcFunc *b = t->body;
  bool *need = DHC_NEW_N(t->px->scratch, bool, b->next_value_id + 1);
  for (int i = 0; i < b->results.n; i++)
    if (t->keep_result[i]) need[b->results.at[i]->id] = true;
  for (const DhcNode *n = b->last; n; n = n->prev) {
    bool any = n->op == DHC_OP_UPDATE;
    for (int i = 0; i < n->n_results; i++) any |= need[n->results[i]->id];
    for (int i = 0; any && i < n->n_args; i++) need[n->args[i]->id] = true;
  }
  return need;
}

/* Decides what stays: a carry whose final value is used or that a kept result reads, to a
 * fixed point. True if something goes. */
static bool decide(Trim *t, const bool *used) {
  DhcFunc *b = t->body;
  for (int i = 0; i < b->results.n; i++) t->keep_result[i] = used[t->n->results[i]->id];
  bool grew = true;
  while (grew) {
    grew = false;
    bool *need = body_needs(t);
    for (int i = 0; i < t->n_carry; i++)
      if (!t->keep_result[i] && need[b->params.at[i]->id]) grew = t->keep_result[i] = true;
    for (int i = 0; i < b->params.n; i++)
      t->keep_param[i] = i < t->n_carry ? t->keep_result[i] : need[b->params.at[i]->id];
  }
  for (int i = 0; i < b->params.n; i++)
    if (!t->keep_param[i]) return true;
  for (int i = 0; i < b->results.n; i++)
    if (!t->keep_result[i]) return true;
  return false;
}

/* The body with the kept parameters and results only. */
static DhcFunc *trimmed_body(Trim *t) {
  DhcModule *m = t->body->module;
  DhcFunc *b = t->body;
  DhcFunc *f = dhc_func_new(m, b->name, DHC_FUNC_BODY, b->span);
  dhc_edit_copy_binders(f, b);
  DhcValue **map = DHC_NEW_N(t->px->scratch, DhcValue *, b->next_value_id + 1);
  bool *need = body_needs(t);
  for (int i = 0; i < b->params.n; i++) {
    DhcValue *p = b->params.at[i];
    if (t->keep_param[i]) map[p->id] = dhc_func_param(f, &p->type, b->param_info.at[i], p->def->span);
  }
  DhcBuilder to = {.f = f};
  for (const DhcNode *n = b->first; n; n = n->next) {
    bool any = n->op == DHC_OP_UPDATE;
    for (int i = 0; i < n->n_results; i++) any |= need[n->results[i]->id];
    if (n->op == DHC_OP_PARAM || !any) continue;
    DhcValue **args = DHC_NEW_N(t->px->scratch, DhcValue *, n->n_args + 1);
    for (int i = 0; i < n->n_args; i++) args[i] = map[n->args[i]->id];
    to.span = n->span;
    to.origin = n->origin;
    DhcNode *c = dhc_node_copy(&to, n, args);
    if (!c) return NULL;
    for (int i = 0; i < n->n_results; i++) map[n->results[i]->id] = c->results[i];
  }
  for (int i = 0; i < b->results.n; i++)
    if (t->keep_result[i]) dhc_func_result(f, map[b->results.at[i]->id], b->result_names.at[i]);
  return f;
}

static bool trim_scan(Trim *t) {
  DhcModule *m = t->body->module;
  DhcFunc *body = trimmed_body(t);
  if (!body) return false;
  dhc_edit_place_before(m, body, t->f);
  DhcNode *n = t->n;
  DhcValue **args = DHC_NEW_N(t->px->scratch, DhcValue *, n->n_args + 1);
  int k = 0, n_carry = 0, n_xs = 0;
  for (int i = 0; i < n->n_args; i++) {
    if (!t->keep_param[i]) continue;
    args[k++] = n->args[i];
    n_carry += i < t->n_carry;
    n_xs += i >= t->n_carry && i < t->n_carry + t->n_xs;
  }
  DhcAttr attrs[7] = {dhc_attr_func(body),  *dhc_attr(n, "dims"),   dhc_attr_int(n_carry),
                      dhc_attr_int(n_xs),   *dhc_attr(n, "axis"),   *dhc_attr(n, "length"),
                      *dhc_attr(n, "reverse")};
  DhcBuilder b = {.f = t->f, .before = n, .span = n->span, .origin = n->origin};
  DhcNode *r = dhc_build(&b, DHC_OP_SCAN, args, k, attrs, 7);
  if (!r) return false;
  for (int i = 0, j = 0; i < n->n_results; i++)
    if (t->keep_result[i]) dhc_replace_uses(n->results[i], r->results[j++]);
  dhc_node_remove(n);
  dhc_edit_replaced_body(m, t->body, body);
  return true;
}

static bool trim_scans(DhcFunc *f, DhcPassCtx *px, const Effects *effect, bool *changed) {
  for (DhcNode *n = f->first, *next; n; n = next) {
    next = n->next;
    if (n->op != DHC_OP_SCAN || func_has_effect(n->attrs[0].func, effect)) continue;
    int *uses = dhc_use_counts(f, px->scratch);
    bool *used = DHC_NEW_N(px->scratch, bool, f->next_value_id + 1);
    for (int i = 0; i < f->next_value_id; i++) used[i] = uses[i] > 0;
    Trim t = {.px = px, .f = f, .n = n, .body = n->attrs[0].func,
              .n_carry = (int)dhc_attr(n, "n_carry")->i, .n_xs = (int)dhc_attr(n, "n_xs")->i};
    t.keep_param = DHC_NEW_N(px->scratch, bool, t.body->params.n + 1);
    t.keep_result = DHC_NEW_N(px->scratch, bool, t.body->results.n + 1);
    if (!decide(&t, used) || !dhc_pass_may_change(px)) continue;
    if (!trim_scan(&t)) return false;
    *changed = true;
  }
  return true;
}

static int position(const DhcModule *m, const DhcFunc *f) {
  int i = 0;
  while (m->funcs.at[i] != f) i++;
  return i;
}

/* requires: UNFUSED. establishes: -. breaks: -. */
bool dhc_pass_dce(DhcModule *m, DhcPassCtx *px) {
  Effects effect = find_effects(m, px->scratch);
  /* Callers first: a scan that loses ys leaves dead nodes in its new body, which stands
   * before it in the list and is swept when its turn comes. */
  for (int i = m->funcs.n - 1; i >= 0; i--) {
    DhcFunc *f = m->funcs.at[i];
    bool changed = true;
    while (changed) {
      changed = false;
      sweep(f, px, &effect);
      if (!trim_scans(f, px, &effect, &changed)) return false;
    }
    i = position(m, f); /* bodies before it came and went */
  }
  return true;
}
