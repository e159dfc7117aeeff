/* Kernel specs: positions of arguments, what nodes vary over, well-formedness, equality. */
#include <string.h>

#include "ir/spec.h"

/* ---- arguments ------------------------------------------------------------- */

static int extent_args(const DhcSpec *s, int before) {
  int n = 0;
  for (int a = 0; a < before; a++) n += s->axis[a].extent == 0;
  return n;
}

static int term_args(const DhcTerm *t) {
  return !t->unit + 2 * t->guarded;
}

/* Position of the first argument of operand's term. */
static int term_first(const DhcSpec *s, int operand, int term) {
  int n = extent_args(s, s->n_axes);
  for (int o = 0; o <= operand; o++) {
    int k = o < operand ? s->operand[o].n_terms : term;
    for (int t = 0; t < k; t++) n += term_args(&s->operand[o].term[t]);
  }
  return n;
}

int dhc_spec_n_dims(const DhcSpec *s) {
  return dhc_spec_extra_arg(s, 0) + s->n_args;
}

int dhc_spec_extent_arg(const DhcSpec *s, int axis) {
  return s->axis[axis].extent ? -1 : extent_args(s, axis);
}

int dhc_spec_stride_arg(const DhcSpec *s, int operand, int term) {
  return s->operand[operand].term[term].unit ? -1 : term_first(s, operand, term);
}

int dhc_spec_offset_arg(const DhcSpec *s, int operand, int term) {
  const DhcTerm *t = &s->operand[operand].term[term];
  return t->guarded ? term_first(s, operand, term) + !t->unit : -1;
}

int dhc_spec_extra_arg(const DhcSpec *s, int k) {
  if (s->n_operands == 0) return extent_args(s, s->n_axes) + k;
  int last = s->n_operands - 1;
  return term_first(s, last, s->operand[last].n_terms) + k;
}

int dhc_spec_n_inputs(const DhcSpec *s) {
  int n = 0;
  while (n < s->n_operands && !s->operand[n].out) n++;
  return n;
}

/* ---- axes ------------------------------------------------------------------ */

uint32_t dhc_spec_axes(const DhcSpec *s, DhcAxisRole role) {
  uint32_t m = 0;
  for (int a = 0; a < s->n_axes; a++)
    if (s->axis[a].role == role) m |= 1u << a;
  return m;
}

int dhc_spec_unit_axis(const DhcOperand *o) {
  for (int t = 0; t < o->n_terms; t++) {
    const DhcTerm *e = &o->term[t];
    if (e->unit && !e->guarded && e->index < 0 && e->n_axes == 1) return e->axis[0];
  }
  return -1;
}

/* Axes an operand's address varies over, index nodes included. */
static uint32_t operand_axes(const DhcOperand *o, const uint32_t *varies) {
  uint32_t m = 0;
  for (int t = 0; t < o->n_terms; t++) {
    for (int i = 0; i < o->term[t].n_axes; i++) m |= 1u << o->term[t].axis[i];
    if (o->term[t].index >= 0) m |= varies[o->term[t].index];
  }
  return m;
}

static void all_varies(const DhcSpec *s, uint32_t *varies, int n_nodes) {
  uint32_t seq = dhc_spec_axes(s, DHC_AXIS_SEQ);
  for (int n = 0; n < n_nodes; n++) {
    const DhcSpecNode *d = &s->node[n];
    uint32_t m = 0;
    for (int k = 0; k < 4; k++)
      if (d->a[k] >= 0) m |= varies[d->a[k]];
    switch (d->kind) {
      case DHC_SN_LOAD: m = operand_axes(&s->operand[d->operand], varies); break;
      case DHC_SN_AXIS: m = 1u << d->operand; break;
      case DHC_SN_FOLD: m &= ~d->axes; break;
      case DHC_SN_SCAN:
      case DHC_SN_BEFORE: m |= seq; break;
      case DHC_SN_ARG:
      case DHC_SN_CONST:
      case DHC_SN_EW:
      case DHC_SN_RANDOM: break;
    }
    varies[n] = m;
  }
}

uint32_t dhc_spec_varies(const DhcSpec *s, int n) {
  uint32_t varies[DHC_SPEC_MAX_NODES];
  all_varies(s, varies, n + 1);
  return varies[n];
}

bool dhc_spec_may_split(const DhcSpec *s) {
  uint32_t red = dhc_spec_axes(s, DHC_AXIS_RED), varies[DHC_SPEC_MAX_NODES];
  bool folded[DHC_SPEC_MAX_NODES] = {false}, any = false; /* made from a fold */
  if (s->kind != DHC_KIND_ROW || !red || dhc_spec_axes(s, DHC_AXIS_SEQ)) return false;
  all_varies(s, varies, s->n_nodes);
  for (int n = 0; n < s->n_nodes; n++) {
    const DhcSpecNode *d = &s->node[n];
    for (int k = 0; k < 4; k++) folded[n] = folded[n] || (d->a[k] >= 0 && folded[d->a[k]]);
    if (d->kind == DHC_SN_LOAD)
      for (int t = 0; t < s->operand[d->operand].n_terms; t++) {
        int index = s->operand[d->operand].term[t].index;
        folded[n] = folded[n] || (index >= 0 && folded[index]);
      }
    if (d->kind != DHC_SN_FOLD) continue;
    bool joins = dhc_op_folds(d->op) || d->op == DHC_OP_ARGMAX;
    if (!joins || folded[n] || d->axes != red) return false;
    folded[n] = any = true;
  }
  for (int o = dhc_spec_n_inputs(s); o < s->n_operands; o++)
    if (operand_axes(&s->operand[o], varies) & red) return false;
  return any;
}

/* ---- verifier -------------------------------------------------------------- */

typedef struct Check {
  const DhcSpec *s;
  DhcArena *arena;
  const char **why;
  uint32_t varies[DHC_SPEC_MAX_NODES];
} Check;

static bool fail(Check *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static bool fail(Check *c, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  if (c->why) *c->why = dhc_arena_vprintf(c->arena, fmt, ap);
  va_end(ap);
  return false;
}

static bool check_axes(Check *c) {
  const DhcSpec *s = c->s;
  static const int order[] = {[DHC_AXIS_PAR] = 0, [DHC_AXIS_SEQ] = 1, [DHC_AXIS_RED] = 2};
  if (s->n_axes < 0 || s->n_axes > DHC_SPEC_MAX_AXES) return fail(c, "%d axes", s->n_axes);
  int n_seq = 0;
  for (int a = 0; a < s->n_axes; a++) {
    if (s->axis[a].extent < 0) return fail(c, "axis %d: negative extent", a);
    if (s->axis[a].extent == 1) return fail(c, "axis %d: constant extent 1", a);
    if (a > 0 && order[s->axis[a].role] < order[s->axis[a - 1].role])
      return fail(c, "axis %d: axes must be parallel, sequential, reduced in this order", a);
    n_seq += s->axis[a].role == DHC_AXIS_SEQ;
  }
  if (n_seq > 1) return fail(c, "%d sequential axes", n_seq);
  return true;
}

static bool check_term(Check *c, int o, int t) {
  const DhcSpec *s = c->s;
  const DhcTerm *e = &s->operand[o].term[t];
  if (e->n_axes < 0 || e->n_axes > 4) return fail(c, "operand %d term %d: %d axes", o, t, e->n_axes);
  for (int i = 0; i < e->n_axes; i++) {
    if (e->axis[i] < 0 || e->axis[i] >= s->n_axes)
      return fail(c, "operand %d term %d: no axis %d", o, t, e->axis[i]);
    if (i > 0 && e->axis[i] <= e->axis[i - 1])
      return fail(c, "operand %d term %d: axes must ascend", o, t);
    if (e->coef[i] == 0) return fail(c, "operand %d term %d: zero coefficient", o, t);
  }
  if (e->div < 1) return fail(c, "operand %d term %d: divisor %lld", o, t, (long long)e->div);
  if (e->div > 1 && !e->guarded) return fail(c, "operand %d term %d: division needs a guard", o, t);
  if (!e->guarded && e->index < 0 && (e->n_axes != 1 || e->coef[0] != 1))
    return fail(c, "operand %d term %d: a plain term is one axis times its stride", o, t);
  if (e->index >= s->n_nodes) return fail(c, "operand %d term %d: no node %d", o, t, e->index);
  if (e->index >= 0 && !dhc_dtype_is_int(s->node[e->index].dtype))
    return fail(c, "operand %d term %d: index node %d is not an integer", o, t, e->index);
  return true;
}

static bool check_operand(Check *c, int o) {
  const DhcSpec *s = c->s;
  const DhcOperand *p = &s->operand[o];
  if (p->n_terms < 0 || p->n_terms > DHC_SPEC_MAX_TERMS)
    return fail(c, "operand %d: %d terms", o, p->n_terms);
  uint32_t plain = 0;
  for (int t = 0; t < p->n_terms; t++) {
    if (!check_term(c, o, t)) return false;
    if (p->term[t].guarded || p->term[t].index >= 0) continue;
    uint32_t bit = 1u << p->term[t].axis[0];
    if (plain & bit) return fail(c, "operand %d: two plain terms of axis %d", o, p->term[t].axis[0]);
    plain |= bit;
  }
  bool fits = dhc_tag_is_rows(p->tag) ? dhc_tag_row_term(s, o) >= 0 : !dhc_tag_is_panel(p->tag) || dhc_tag_fits(s, o);
  if (!fits || (dhc_tag_is_panel(p->tag) ? p->width < 1 : p->width))
    return fail(c, "operand %d: cannot be stored so", o);
  if (o > 0 && s->operand[o - 1].out && !p->out) return fail(c, "operand %d: input after output", o);
  if (p->out != (p->stored >= 0)) return fail(c, "operand %d: only outputs store a node", o);
  if (p->stored >= s->n_nodes) return fail(c, "operand %d: no node %d", o, p->stored);
  if (p->out && s->node[p->stored].dtype != p->dtype)
    return fail(c, "operand %d: stores a value of another dtype", o);
  return true;
}

static bool check_ew(Check *c, int n) {
  const DhcSpecNode *d = &c->s->node[n];
  if (d->op == DHC_OP_CAST)
    return d->a[0] >= 0 && d->a[1] < 0 ? true : fail(c, "node %d: cast takes one operand", n);
  if (d->op >= DHC_N_OPS || dhc_op_info((DhcOp)d->op)->types == DHC_EW_none)
    return fail(c, "node %d: not an elementwise op", n);
  int k = dhc_op_info((DhcOp)d->op)->n_args;
  dhc_dtype t[4] = {DHC_F32, DHC_F32, DHC_F32, DHC_F32};
  for (int i = 0; i < 4; i++) {
    if ((i < k) != (d->a[i] >= 0)) return fail(c, "node %d: wrong number of operands", n);
    if (i < k) t[i] = c->s->node[d->a[i]].dtype;
  }
  DhcEwTypes r = dhc_op_info((DhcOp)d->op)->types;
  bool ok = true;
  if (r == DHC_EW_select) {
    ok = t[0] == DHC_BOOL && t[1] == t[2] && d->dtype == t[1];
  } else {
    for (int i = 1; i < k; i++) ok = ok && t[i] == t[0];
    ok = ok && d->dtype == (r == DHC_EW_compare || r == DHC_EW_test ? DHC_BOOL : t[0]);
    if (r == DHC_EW_float || r == DHC_EW_test) ok = ok && dhc_dtype_is_float(t[0]);
    if (r == DHC_EW_integer) ok = ok && !dhc_dtype_is_float(t[0]);
  }
  return ok ? true : fail(c, "node %d: operand types do not fit", n);
}

static bool check_fold(Check *c, int n, uint32_t red) {
  const DhcSpecNode *d = &c->s->node[n];
  if (d->axes == 0 || (d->axes & ~red)) return fail(c, "node %d: folds axes that are not reduced", n);
  bool dot = d->op == DHC_OP_DOT_GENERAL;
  if (!dhc_op_folds(d->op) && d->op != DHC_OP_ARGMAX && d->op != DHC_OP_ADD && !dot) return fail(c, "node %d: not a fold", n);
  if (d->a[0] < 0 || (d->a[1] >= 0) != dot || d->a[2] >= 0 || d->a[3] >= 0)
    return fail(c, "node %d: wrong number of operands", n);
  dhc_dtype t = c->s->node[d->a[0]].dtype;
  bool ok = d->op == DHC_OP_ARGMAX ? dhc_dtype_is_int(d->dtype) : d->dtype == t;
  /* a chain is added up in the operands' type, or bf16 in f32 */
  if (dot) ok = dhc_dtype_is_float(t) && c->s->node[d->a[1]].dtype == t && (d->dtype == t || (t == DHC_BF16 && d->dtype == DHC_F32));
  return ok ? true : fail(c, "node %d: operand types do not fit", n);
}

static bool check_node(Check *c, int n, uint32_t red, bool seq) {
  const DhcSpec *s = c->s;
  const DhcSpecNode *d = &s->node[n];
  int n_args = 0;
  for (int k = 0; k < 4; k++) {
    if (d->a[k] >= n) return fail(c, "node %d: uses node %d before it is computed", n, d->a[k]);
    n_args += d->a[k] >= 0;
  }
  switch (d->kind) {
    case DHC_SN_LOAD:
      if (n_args || d->operand < 0 || d->operand >= s->n_operands || s->operand[d->operand].out)
        return fail(c, "node %d: loads no input", n);
      for (int t = 0; t < s->operand[d->operand].n_terms; t++)
        if (s->operand[d->operand].term[t].index >= n)
          return fail(c, "node %d: its index is computed later", n);
      return d->dtype == s->operand[d->operand].dtype ? true : fail(c, "node %d: load of another dtype", n);
    case DHC_SN_AXIS:
      return !n_args && d->operand >= 0 && d->operand < s->n_axes && d->dtype == DHC_I64
                 ? true
                 : fail(c, "node %d: not an i64 axis index", n);
    case DHC_SN_ARG:
      return !n_args && d->operand >= 0 && d->operand < s->n_args && d->dtype == DHC_I64
                 ? true
                 : fail(c, "node %d: not an i64 argument", n);
    case DHC_SN_CONST: return !n_args ? true : fail(c, "node %d: constant with operands", n);
    case DHC_SN_EW: return check_ew(c, n);
    case DHC_SN_FOLD: return check_fold(c, n, red);
    case DHC_SN_SCAN:
      if (d->i & DHC_SCAN_BACK && s->kind != DHC_KIND_SCAN_BACK) return fail(c, "node %d: a scan against its direction", n);
      return seq && n_args == 3 && dhc_dtype_is_float(d->dtype) ? true : fail(c, "node %d: not a scan", n);
    case DHC_SN_BEFORE:
      return s->kind == DHC_KIND_SCAN_BACK && n_args == 1 && s->node[d->a[0]].kind == DHC_SN_SCAN && d->dtype == s->node[d->a[0]].dtype
                 ? true
                 : fail(c, "node %d: not before a scan's step", n);
    case DHC_SN_RANDOM:
      return n_args == 4 && d->dtype == DHC_U32 ? true : fail(c, "node %d: not random bits", n);
  }
  return fail(c, "node %d: unknown kind", n);
}

/* Stored values vary over no axis that the output does not index. */
static bool check_store(Check *c, int o, uint32_t must) {
  const DhcOperand *p = &c->s->operand[o];
  uint32_t has = operand_axes(p, c->varies);
  if (c->s->kind == DHC_KIND_SCATTER) return true; /* what is not indexed is summed */
  uint32_t seq = dhc_spec_axes(c->s, DHC_AXIS_SEQ);
  bool back = c->s->kind == DHC_KIND_SCAN_BACK;
  if ((back || c->s->kind == DHC_KIND_SCAN) && c->s->node[p->stored].kind == DHC_SN_SCAN) has |= seq; /* else: the last one */
  if (c->varies[p->stored] & ~has) return fail(c, "operand %d: stored value varies over more axes", o);
  if (must & ~has && !back && c->s->kind != DHC_KIND_ROUTE) return fail(c, "operand %d: does not index every parallel axis", o);
  return true;
}

bool dhc_spec_verify(const DhcSpec *s, DhcArena *arena, const char **why) {
  Check c = {.s = s, .arena = arena, .why = why};
  if (s->kind >= DHC_N_KINDS) return fail(&c, "no kind %d", (int)s->kind);
  if (s->n_operands < 1 || s->n_operands > DHC_SPEC_MAX_OPERANDS)
    return fail(&c, "%d operands", s->n_operands);
  if (s->n_nodes < 1 || s->n_nodes > DHC_SPEC_MAX_NODES) return fail(&c, "%d nodes", s->n_nodes);
  if (s->n_args < 0 || s->n_attrs < 0 || s->n_attrs > DHC_SPEC_MAX_ATTRS)
    return fail(&c, "wrong number of arguments or attributes");
  if (!check_axes(&c)) return false;
  uint32_t red = dhc_spec_axes(s, DHC_AXIS_RED), seq = dhc_spec_axes(s, DHC_AXIS_SEQ);
  if (s->kind == DHC_KIND_SCAN_BACK) red |= seq | dhc_spec_axes(s, DHC_AXIS_PAR);
  for (int o = 0; o < s->n_operands; o++)
    if (!check_operand(&c, o)) return false;
  for (int n = 0; n < s->n_nodes; n++)
    if (!check_node(&c, n, red, seq != 0)) return false;
  if (dhc_spec_n_inputs(s) == s->n_operands) return fail(&c, "no output");
  all_varies(s, c.varies, s->n_nodes);
  for (int n = 0; n < s->n_nodes; n++)
    if (s->node[n].kind == DHC_SN_SCAN && (c.varies[s->node[n].a[2]] & seq)) return fail(&c, "node %d: what a scan begins with varies along it", n);
  uint32_t must = dhc_spec_axes(s, DHC_AXIS_PAR) | seq;
  for (int o = dhc_spec_n_inputs(s); o < s->n_operands; o++)
    if (!check_store(&c, o, must)) return false;
  return true;
}

/* ---- equality ---------------------------------------------------------------- */

static bool term_equal(const DhcTerm *a, const DhcTerm *b) {
  if (a->n_axes != b->n_axes || a->div != b->div || a->index != b->index ||
      a->guarded != b->guarded || a->unit != b->unit)
    return false;
  for (int i = 0; i < a->n_axes; i++)
    if (a->axis[i] != b->axis[i] || a->coef[i] != b->coef[i]) return false;
  return true;
}

static bool operand_equal(const DhcOperand *a, const DhcOperand *b) {
  if (a->dtype != b->dtype || a->out != b->out || a->tag != b->tag || a->width != b->width || a->n_terms != b->n_terms ||
      a->stored != b->stored)
    return false;
  for (int t = 0; t < a->n_terms; t++)
    if (!term_equal(&a->term[t], &b->term[t])) return false;
  return true;
}

static bool node_equal(const DhcSpecNode *a, const DhcSpecNode *b) {
  if (a->kind != b->kind || a->dtype != b->dtype || memcmp(a->a, b->a, sizeof a->a) != 0) return false;
  switch (a->kind) {
    case DHC_SN_LOAD:
    case DHC_SN_AXIS:
    case DHC_SN_ARG: return a->operand == b->operand;
    case DHC_SN_CONST: /* bits, so that -0 and NaN keep their own kernels */
      return dhc_dtype_is_float(a->dtype) ? memcmp(&a->f, &b->f, sizeof a->f) == 0 : a->i == b->i;
    case DHC_SN_EW: return a->op == b->op;
    case DHC_SN_FOLD: return a->op == b->op && a->axes == b->axes;
    case DHC_SN_SCAN: return a->i == b->i;
    case DHC_SN_BEFORE:
    case DHC_SN_RANDOM: return true;
  }
  return false;
}

bool dhc_spec_equal(const DhcSpec *a, const DhcSpec *b) {
  if (a->kind != b->kind || a->n_axes != b->n_axes || a->n_operands != b->n_operands ||
      a->n_nodes != b->n_nodes || a->n_args != b->n_args || a->n_attrs != b->n_attrs)
    return false;
  for (int i = 0; i < a->n_axes; i++)
    if (a->axis[i].role != b->axis[i].role || a->axis[i].extent != b->axis[i].extent) return false;
  for (int i = 0; i < a->n_operands; i++)
    if (!operand_equal(&a->operand[i], &b->operand[i])) return false;
  for (int i = 0; i < a->n_nodes; i++)
    if (!node_equal(&a->node[i], &b->node[i])) return false;
  for (int i = 0; i < a->n_attrs; i++)
    if (a->attr[i] != b->attr[i]) return false;
  return true;
}

bool dhc_spec_counts(const DhcSpec *s) {
  int scan = -1;
  for (int n = 0; n < s->n_nodes; n++) {
    if (s->node[n].kind != DHC_SN_SCAN) continue;
    if (scan >= 0) return false;
    scan = n;
  }
  if (s->kind != DHC_KIND_SCAN || scan < 0 || s->node[scan].dtype != DHC_F32) return false;
  const DhcSpecNode *d = &s->node[scan], *a = &s->node[d->a[0]], *x = &s->node[d->a[1]], *h = &s->node[d->a[2]];
  bool one = a->kind == DHC_SN_CONST && a->f == 1.0, none = h->kind == DHC_SN_CONST && h->f == 0.0;
  return one && none && x->kind == DHC_SN_EW && x->op == DHC_OP_CAST && s->node[x->a[0]].dtype == DHC_BOOL;
}
