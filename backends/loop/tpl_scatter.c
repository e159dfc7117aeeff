/* Template "scatter": outputs += values at indexed places, in index order.
 *
 * Axes that every output reaches by a plain term lead to places of their own: over them run
 * tasks and vectors. All other axes are loops in axis order inside, so each place sees its
 * summands in the order of the definition, whatever the cut.
 *
 * Schedule: as "map", v[0] an axis with places of its own. */
#include "backends/loop/tpl.h"

typedef struct Scatter {
  uint32_t ordered;
  const bool *needed;
} Scatter;

/* Axes that are a coordinate of every output by themselves: places of one index are none of another's, whatever
 * the other coordinates depend on. */
static uint32_t own_places(const DhcTplCx *cx) {
  uint32_t own = ~0u;
  for (int o = dhc_spec_n_inputs(cx->s); o < cx->s->n_operands; o++) {
    const DhcOperand *p = &cx->s->operand[o];
    uint32_t plain = 0;
    for (int t = 0; t < p->n_terms; t++)
      if (!p->term[t].guarded && p->term[t].index < 0) plain |= 1u << p->term[t].axis[0];
    own &= plain;
  }
  return own;
}

static void add_loops(DhcTplCx *cx, const Scatter *sc, uint32_t left) {
  DhcLp *b = cx->b;
  if (!left) {
    for (int o = dhc_spec_n_inputs(cx->s); o < cx->s->n_operands; o++) {
      DhcLv v = dhc_tpl_eval(cx, cx->s->operand[o].stored);
      dhc_tpl_store_value(cx, o, dhc_lp_add(b, dhc_tpl_load(cx, o), v));
    }
    return;
  }
  int a = 0;
  while (!(left >> a & 1)) a++;
  DhcLv i = dhc_lp_for(b, dhc_lp_i64(b, 0), cx->extent[a], 1);
  DhcTplMark mark = dhc_tpl_push(cx);
  dhc_tpl_bind(cx, a, i);
  dhc_tpl_hoist(cx, sc->needed);
  add_loops(cx, sc, left & ~(1u << a));
  dhc_tpl_pop(cx, &mark);
  dhc_lp_end(b);
}

/* Does nothing lie side by side along the axis? Then lanes would load and store one by one, at places that each of them works out. */
static bool lies_apart(const DhcTplCx *cx, int axis) {
  for (int o = 0; o < cx->s->n_operands; o++)
    if (dhc_spec_unit_axis(&cx->s->operand[o]) == axis) return false;
  return true;
}

static void body(DhcTplCx *cx, void *arg) {
  const Scatter *sc = arg;
  add_loops(cx, sc, sc->ordered);
}

void dhc_tpl_scatter(const DhcTplInput *in, DhcLp *b) {
  DhcTplCx cx;
  dhc_tpl_init(&cx, in, b);
  uint32_t own = own_places(&cx), all = 0;
  for (int o = dhc_spec_n_inputs(cx.s); o < cx.s->n_operands; o++)
    all |= dhc_tpl_operand_axes(&cx, o) | cx.varies[cx.s->operand[o].stored];
  if (b->refused) return;
  bool needed[DHC_SPEC_MAX_NODES] = {false};
  dhc_tpl_needed_by_outputs(in->spec, needed);
  Scatter sc = {all & ~own, needed};
  own &= all;
  cx.plan_vector = dhc_tpl_choose_vector(&cx, own);
  if (!in->facts->by_threads && !in->schedule->v[0] && cx.plan_vector >= 0 && lies_apart(&cx, cx.plan_vector)) cx.plan_vector = -1;
  dhc_tpl_nest(&cx, own, sc.ordered, needed, body, &sc);
}
