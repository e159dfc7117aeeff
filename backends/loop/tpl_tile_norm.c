/* Template "tile": lines that are made of their own sums before they are contracted, as a norm's are. They are made first, in a phase of their
 * own, by the sum rule, and lie in the memory that a call's tasks share. */
#include "backends/loop/tpl_tile.h"

/* Which side of the first contraction is made of its lines' sums; -1: neither is. */
static int find_norm(const DhcSpec *s, uint32_t *k) {
  for (int n = 0; n < s->n_nodes; n++) {
    const DhcSpecNode *f = &s->node[n];
    if (f->kind != DHC_SN_FOLD || f->op != DHC_OP_DOT_GENERAL) continue;
    *k = f->axes;
    return dhc_spec_folds(s, f->a[0]) ? f->a[0] : dhc_spec_folds(s, f->a[1]) ? f->a[1] : -1;
  }
  return -1;
}

/* The spec with a load in place of d->norm; lines that are made lie row-major over their axes, the contracted ones last. */
static const DhcSpec *with_load(DhcTile *d, const DhcSpec *s, bool raw) {
  DhcSpec *x = dhc_arena_dup(d->b->arena, s, sizeof *s);
  x->node = dhc_arena_dup(d->b->arena, s->node, sizeof *s->node * (size_t)s->n_nodes);
  x->node[d->norm] = (DhcSpecNode){.kind = DHC_SN_LOAD, .dtype = DHC_F32, .a = {-1, -1, -1, -1}, .operand = raw ? s->node[d->norm_rows].operand : s->n_operands};
  if (raw) return x;
  DhcOperand *p = &x->operand[s->n_operands];
  *p = (DhcOperand){.dtype = DHC_F32, .stored = -1};
  for (int last = 0; last < 2; last++)
    for (int a = 0; a < s->n_axes; a++)
      if ((last ? d->norm_k : d->norm_lines) >> a & 1) p->term[p->n_terms++] = (DhcTerm){.n_axes = 1, .axis = {a}, .coef = {1}, .div = 1, .index = -1};
  p->term[p->n_terms - 1].unit = true;
  return x;
}

void dhc_tile_look(DhcTile *d, const DhcTplInput *in, DhcLp *b, bool raw) {
  d->b = b;
  d->cx = (DhcTplCx){.in = in, .s = in->spec, .b = b};
  for (int n = 0; n < in->spec->n_nodes; n++) d->cx.varies[n] = dhc_spec_varies(in->spec, n);
  d->norm = find_norm(in->spec, &d->norm_k);
  if (d->norm < 0) return;
  d->norm_lines = d->cx.varies[d->norm] & ~d->norm_k;
  d->norm_rows = dhc_spec_norm(in->spec, d->norm, d->norm_k);
  if (in->spec->n_operands == DHC_SPEC_MAX_OPERANDS || in->spec->kind != DHC_KIND_DOT || (raw && d->norm_rows < 0)) {
    dhc_lp_refuse(b, "a contraction of what is folded");
    return;
  }
  d->cx.s = with_load(d, in->spec, raw);
  for (int n = 0; n < in->spec->n_nodes; n++) d->cx.varies[n] = dhc_spec_varies(d->cx.s, n);
}

/* ---- lines that are made first, in a phase of their own ------------------------------------------ */

enum { LINE_THREADS = 16, LINES_AT_ONCE = 16, PIECES_ALIGN = 32 };

dhc_dimprog dhc_tile_made_elements(const DhcTile *d) {
  DhcArena *a = d->b->arena;
  if (d->norm < 0 || d->scaled) return dhc_prog_const(a, 0);
  dhc_dimprog all = dhc_tpl_count_prog(&d->cx, d->norm_lines | d->norm_k), align = dhc_prog_const(a, PIECES_ALIGN);
  return dhc_prog_op(a, DHC_DIM_MUL, dhc_prog_op(a, DHC_DIM_CEILDIV, all, align), align);
}

/* The operand of lines that are made, in the shared memory. */
static void open_made(DhcTile *d) {
  DhcTplCx *cx = &d->cx;
  const int o = cx->s->n_operands;
  const DhcOperand *p = &cx->s->operand[o];
  cx->pointer[o] = dhc_lp_shared(d->b, DHC_F32);
  cx->base[o] = dhc_lp_i64(d->b, 0);
  cx->stride[o][p->n_terms - 1] = dhc_lp_i64(d->b, 1);
  for (int t = p->n_terms - 1; t-- > 0;) cx->stride[o][t] = dhc_lp_mul(d->b, cx->stride[o][t + 1], cx->extent[p->term[t + 1].axis[0]]);
}

DhcLv dhc_tile_open_phases(DhcTile *d, const dhc_dimprog *count, int n) {
  DhcLp *b = d->b;
  DhcArena *a = b->arena;
  if (d->norm < 0 || d->scaled) return n == 1 ? dhc_lp_tasks(b, count[0]) : dhc_lp_phases(b, count[0], count[1]);
  const int lines = d->threads / LINE_THREADS;
  open_made(d);
  dhc_dimprog all[DHC_MAX_PHASES] = {dhc_prog_op(a, DHC_DIM_CEILDIV, dhc_tpl_count_prog(&d->cx, d->norm_lines), dhc_prog_const(a, lines))};
  for (int i = 0; i < n; i++) all[1 + i] = count[i];
  DhcLv first = dhc_lp_prog(b, all[0]), task = dhc_lp_many_phases(b, all, 1 + n, NULL);
  dhc_lp_if(b, dhc_lp_lt(b, task, first));
  DhcTplLines l = {.node = d->norm, .lines = d->norm_lines, .k = d->norm_k, .first = dhc_lp_mulc(b, task, lines),
                   .n = dhc_tpl_count(&d->cx, d->norm_lines), .threads = d->threads, .at_once = LINES_AT_ONCE};
  dhc_tpl_lines_put(d->cx.in, b, &l, dhc_lp_shared(b, DHC_F32));
  dhc_lp_else(b);
  return dhc_lp_sub(b, task, first);
}

void dhc_tile_close_phases(DhcTile *d) {
  if (d->norm >= 0 && !d->scaled) dhc_lp_end(d->b);
  dhc_lp_end(d->b);
}
