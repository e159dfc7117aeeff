/* Specs of maps that read a matrix across the lines in which it lies. */
#include "ir/spec.h"

/* Does operand o walk both axes by strides alone, and lie along u? */
static bool lies_across(const DhcSpec *s, int o, int u, int v) {
  const DhcOperand *p = &s->operand[o];
  uint32_t walked = 0;
  for (int t = 0; t < p->n_terms; t++) {
    const DhcTerm *e = &p->term[t];
    if (e->guarded || e->index >= 0 || e->n_axes != 1 || e->coef[0] != 1 || e->div != 1) return false;
    walked |= 1u << e->axis[0];
  }
  return p->dtype == DHC_F32 && p->tag == DHC_TAG_ROW && dhc_spec_unit_axis(p) == u && (walked >> v & 1) && (walked >> u & 1);
}

bool dhc_spec_turned(const DhcSpec *s, DhcSpecTurned *out) {
  int first = dhc_spec_n_inputs(s);
  *out = (DhcSpecTurned){.down = -1};
  if (s->kind != DHC_KIND_MAP || first == s->n_operands) return false;
  out->along = dhc_spec_unit_axis(&s->operand[first]);
  if (out->along < 0) return false;
  for (int o = first; o < s->n_operands; o++)
    if (dhc_spec_unit_axis(&s->operand[o]) != out->along) return false;
  for (int n = 0; n < s->n_nodes; n++) {
    if (s->node[n].kind != DHC_SN_LOAD) continue;
    int u = dhc_spec_unit_axis(&s->operand[s->node[n].operand]);
    if (u < 0 || u == out->along || (out->down >= 0 && u != out->down) || s->axis[u].role != DHC_AXIS_PAR) continue;
    if (!lies_across(s, s->node[n].operand, u, out->along) || out->n == DHC_TURNED_MOST) continue;
    out->down = u;
    out->load[out->n++] = n;
  }
  return out->n > 0;
}
