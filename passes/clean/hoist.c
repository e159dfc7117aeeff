/* Work leaves scans: what is the same at every step is computed once in front, and a dot
 * that depends on xs but on no carry is computed for all steps at once, which is one large
 * dot in place of many small ones. Elementwise work on xs stays: it is free beside the step
 * it feeds. The body gets constants and xs for what moved; dead code takes the rest. */
#include "passes/clean/edit.h"
#include "passes/clean/hoist_internal.h"

/* What moves: values of the body, in its order. */
typedef DHC_VEC(DhcValue *) ValueList;

static void classify_param(DhcHoist *h, int i) {
  int id = h->body->params.at[i]->id;
  h->can[id] = i >= h->n_carry;
  h->stepped[id] = i >= h->n_carry && i < h->n_carry + h->n_xs;
  h->fed[id] = true;
}

static void classify(DhcHoist *h) {
  for (int i = 0; i < h->body->params.n; i++) classify_param(h, i);
  for (const DhcNode *n = h->body->first; n; n = n->next) {
    if (n->op == DHC_OP_PARAM) continue;
    bool stepped = false, fed = false;
    for (int i = 0; i < n->n_args; i++) {
      stepped |= h->stepped[n->args[i]->id];
      fed |= h->fed[n->args[i]->id];
    }
    bool can = dhc_hoist_can(h, n);
    for (int i = 0; i < n->n_results; i++) {
      h->can[n->results[i]->id] = can;
      h->stepped[n->results[i]->id] = stepped;
      h->fed[n->results[i]->id] = fed;
    }
  }
}

static bool moves(const DhcHoist *h, const DhcNode *n) {
  if (n->n_results != 1 || !h->can[n->results[0]->id]) return false;
  const DhcValue *v = n->results[0];
  if (h->stepped[v->id]) return n->op == DHC_OP_DOT_GENERAL && v->type.rank >= h->axis && !h->chunked;
  DhcOpClass c = dhc_op_info(n->op)->cls;
  return c != DHC_CLASS_CREATE && c != DHC_CLASS_VIEW && h->fed[v->id];
}

/* Marks nodes that only feed what moves: they need not move by themselves. */
static void collect(DhcHoist *h, ValueList *xs, ValueList *consts) {
  bool *needed = DHC_NEW_N(h->px->scratch, bool, h->body->next_value_id + 1);
  for (int i = 0; i < h->body->results.n; i++) needed[h->body->results.at[i]->id] = true;
  ValueList back_xs = {0}, back_consts = {0};
  for (DhcNode *n = h->body->last; n; n = n->prev) {
    bool any = false;
    for (int i = 0; i < n->n_results; i++) any |= needed[n->results[i]->id];
    if (!any || n->op == DHC_OP_PARAM) continue;
    if (moves(h, n)) {
      if (h->stepped[n->results[0]->id])
        DHC_PUSH(h->px->scratch, &back_xs, n->results[0]);
      else
        DHC_PUSH(h->px->scratch, &back_consts, n->results[0]);
      continue;
    }
    for (int i = 0; i < n->n_args; i++) needed[n->args[i]->id] = true;
  }
  for (int i = back_xs.n - 1; i >= 0; i--) DHC_PUSH(h->px->scratch, xs, back_xs.at[i]);
  for (int i = back_consts.n - 1; i >= 0; i--)
    DHC_PUSH(h->px->scratch, consts, back_consts.at[i]);
}

static void new_params(DhcHoist *h, DhcFunc *f, const ValueList *list, DhcValue **map) {
  for (int i = 0; i < list->n; i++) {
    DhcValue *v = list->at[i];
    DhcParamInfo info = {dhc_arena_printf(h->m->arena, "hoisted.%d", v->id), DHC_ROLE_PLAIN, -1};
    map[v->id] = dhc_func_param(f, &v->type, info, v->def->span);
  }
}

/* The body with moved values as parameters. */
static DhcFunc *smaller_body(DhcHoist *h, const ValueList *xs, const ValueList *consts) {
  DhcFunc *b = h->body;
  DhcFunc *f = dhc_func_new(h->m, b->name, DHC_FUNC_BODY, b->span);
  dhc_edit_copy_binders(f, b);
  DhcValue **map = DHC_NEW_N(h->px->scratch, DhcValue *, b->next_value_id + 1);
  for (int i = 0; i < b->params.n; i++) {
    DhcValue *p = b->params.at[i];
    if (i == h->n_carry + h->n_xs) new_params(h, f, xs, map);
    map[p->id] = dhc_func_param(f, &p->type, b->param_info.at[i], p->def->span);
  }
  if (b->params.n == h->n_carry + h->n_xs) new_params(h, f, xs, map);
  new_params(h, f, consts, map);
  DhcBuilder to = {.f = f};
  for (const DhcNode *n = b->first; n; n = n->next) {
    if (n->n_results && map[n->results[0]->id]) continue; /* parameters and what moved */
    DhcValue **args = DHC_NEW_N(h->px->scratch, DhcValue *, n->n_args + 1);
    for (int i = 0; i < n->n_args; i++) args[i] = map[n->args[i]->id];
    to.span = n->span;
    to.origin = n->origin;
    DhcNode *c = dhc_node_copy(&to, n, args);
    if (!c) return NULL;
    for (int i = 0; i < n->n_results; i++) map[n->results[i]->id] = c->results[i];
  }
  for (int i = 0; i < b->results.n; i++)
    dhc_func_result(f, map[b->results.at[i]->id], b->result_names.at[i]);
  return f;
}

static bool rebuild(DhcHoist *h, DhcFunc *f, const ValueList *xs, const ValueList *consts) {
  DhcNode *n = h->n;
  DhcValue **args = DHC_NEW_N(h->px->scratch, DhcValue *, n->n_args + xs->n + consts->n + 1);
  int k = 0, first_const = h->n_carry + h->n_xs;
  for (int i = 0; i < first_const; i++) args[k++] = n->args[i];
  for (int i = 0; i < xs->n; i++) args[k++] = dhc_hoist_steps_at(h, xs->at[i], h->axis);
  for (int i = first_const; i < n->n_args; i++) args[k++] = n->args[i];
  for (int i = 0; i < consts->n; i++) args[k++] = dhc_hoist_steps(h, consts->at[i]).v;
  for (int i = 0; i < k; i++)
    if (!args[i]) return false;
  DhcFunc *body = smaller_body(h, xs, consts);
  if (!body) return false;
  dhc_edit_place_before(h->m, body, f);
  DhcAttr attrs[7] = {dhc_attr_func(body),
                      *dhc_attr(n, "dims"),
                      *dhc_attr(n, "n_carry"),
                      dhc_attr_int(h->n_xs + xs->n),
                      *dhc_attr(n, "axis"),
                      *dhc_attr(n, "length"),
                      *dhc_attr(n, "reverse")};
  DhcBuilder b = {.f = f, .before = n, .span = n->span, .origin = n->origin};
  DhcNode *r = dhc_build(&b, DHC_OP_SCAN, args, k, attrs, 7);
  if (!r) return false;
  for (int i = 0; i < n->n_results; i++) dhc_replace_uses(n->results[i], r->results[i]);
  dhc_node_remove(n);
  dhc_edit_replaced_body(h->m, h->body, body);
  return true;
}

static bool hoist_scan(DhcFunc *f, DhcNode *n, DhcPassCtx *px) {
  DhcFunc *body = dhc_attr(n, "body")->func;
  int n_values = body->next_value_id + 1;
  DhcHoist h = {.px = px,
                .m = f->module,
                .n = n,
                .body = body,
                .n_carry = (int)dhc_attr(n, "n_carry")->i,
                .n_xs = (int)dhc_attr(n, "n_xs")->i,
                .axis = (int)dhc_attr(n, "axis")->i,
                .chunked = dhc_edit_has_steps(body),
                .length = dhc_attr(n, "length")->dim,
                .b = {.f = f, .before = n, .span = n->span, .origin = n->origin},
                .can = DHC_NEW_N(px->scratch, bool, n_values),
                .fed = DHC_NEW_N(px->scratch, bool, n_values),
                .stepped = DHC_NEW_N(px->scratch, bool, n_values),
                .done = DHC_NEW_N(px->scratch, DhcSteps, n_values),
                .dims = dhc_attr(n, "dims")->dims.at};
  ValueList xs = {0}, consts = {0};
  classify(&h);
  collect(&h, &xs, &consts);
  if (!(xs.n || consts.n) || !dhc_pass_may_change(px)) return true;
  return rebuild(&h, f, &xs, &consts);
}

/* requires: UNFUSED. establishes: -. breaks: -. */
bool dhc_pass_hoist(DhcModule *m, DhcPassCtx *px) {
  for (int i = 0; i < m->funcs.n; i++) {
    DhcFunc *f = m->funcs.at[i];
    for (DhcNode *n = f->first, *next; n; n = next) {
      next = n->next;
      if (n->op == DHC_OP_SCAN && !hoist_scan(f, n, px)) return false;
    }
    for (i = 0; m->funcs.at[i] != f;) i++; /* bodies before it came and went */
  }
  return true;
}
