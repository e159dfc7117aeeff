/* Floating-point operations and bytes of a kernel, as programs over its arguments. */
#include "ir/spec.h"

typedef struct Code {
  DhcArena *arena;
  DHC_VEC(int64_t) at;
} Code;

static void push(Code *c, int64_t word) {
  DHC_PUSH(c->arena, &c->at, word);
}

/* Leaves the product of `factor` and the extents of `axes` on the stack. */
static void push_volume(Code *c, const DhcSpec *s, uint32_t axes, int64_t factor) {
  push(c, DHC_DIM_CONST);
  push(c, factor);
  for (int a = 0; a < s->n_axes; a++) {
    if (!(axes >> a & 1)) continue;
    bool known = s->axis[a].extent != 0;
    push(c, known ? DHC_DIM_CONST : DHC_DIM_SYM);
    push(c, known ? s->axis[a].extent : dhc_spec_extent_arg(s, a));
    push(c, DHC_DIM_MUL);
  }
}

static void sum_up(Code *c, int *n) {
  if ((*n)++) push(c, DHC_DIM_ADD);
}

static dhc_dimprog finish(Code *c) {
  dhc_dimprog p = {c->at.at, c->at.n};
  return p;
}

dhc_dimprog dhc_spec_flops(const DhcSpec *s, DhcArena *arena) {
  Code c = {.arena = arena};
  int n = 0;
  for (int i = 0; i < s->n_nodes; i++) {
    const DhcSpecNode *d = &s->node[i];
    if (!dhc_dtype_is_float(d->dtype)) continue;
    int64_t each = 0;
    uint32_t axes = dhc_spec_varies(s, i);
    if (d->kind == DHC_SN_EW && d->op != DHC_OP_CAST && d->op != DHC_OP_SELECT)
      each = d->op == DHC_OP_FMA ? 2 : 1;
    if (d->kind == DHC_SN_SCAN) each = 2;
    if (d->kind == DHC_SN_FOLD) {
      each = d->op == DHC_OP_DOT_GENERAL ? 2 : 1;
      axes |= d->axes;
    }
    if (!each) continue;
    push_volume(&c, s, axes, each);
    sum_up(&c, &n);
  }
  if (n == 0) push_volume(&c, s, 0, 0);
  return finish(&c);
}

dhc_dimprog dhc_spec_bytes(const DhcSpec *s, DhcArena *arena) {
  Code c = {.arena = arena};
  int n = 0;
  for (int o = 0; o < s->n_operands; o++) {
    const DhcOperand *p = &s->operand[o];
    int64_t bytes = dhc_dtype_bytes(p->dtype);
    uint32_t axes = 0;
    for (int t = 0; t < p->n_terms; t++) {
      const DhcTerm *e = &p->term[t];
      /* Of several axes that walk over one dimension those of constant extent (window,
         kernel taps) do not count: they read the same elements again, nearly. */
      bool has_arg = false;
      for (int i = 0; i < e->n_axes; i++) has_arg = has_arg || s->axis[e->axis[i]].extent == 0;
      for (int i = 0; i < e->n_axes; i++)
        if (!has_arg || p->out || s->axis[e->axis[i]].extent == 0) axes |= 1u << e->axis[i];
      if (e->index >= 0) axes |= dhc_spec_varies(s, e->index);
    }
    push_volume(&c, s, axes, bytes * (s->kind == DHC_KIND_SCATTER && p->out ? 2 : 1));
    sum_up(&c, &n);
  }
  return finish(&c);
}
