/* Making cases: operands, attributes, handing over. */
#include "tests/ops/op_gen.h"

#include <math.h>

/* ---- drawing ------------------------------------------------------------------- */

uint64_t dhc_case_bits(uint64_t *state) {
  uint64_t z = *state += 0x9E3779B97F4A7C15u;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}

double dhc_case_uniform(uint64_t *state, double lo, double hi) {
  return lo + (hi - lo) * (double)(dhc_case_bits(state) >> 11) * 0x1p-53;
}

double dhc_case_representable(dhc_dtype t, double v) {
  if (t == DHC_F64) return v;
  if (t == DHC_F32) return (float)v;
  int e;
  double m = frexp(v, &e); /* bf16 has 8 significant bits */
  return isfinite(v) ? ldexp(rint(m * 256), e - 8) : v;
}

/* ---- shapes ---------------------------------------------------------------------- */

static int64_t concrete(int64_t v) {
  return v >= SYM_UNIT ? v % SYM_UNIT : v;
}

const DhcDim *gen_dim(Gen *g, int64_t v) {
  static const char *const names[] = {"", "B", "L"};
  if (v < SYM_UNIT) return dhc_dim_const(g->m->dims, v);
  return dhc_dim_symbol(g->m->dims, names[v / SYM_UNIT]);
}

DhcType gen_type(Gen *g, dhc_dtype t, Shape s) {
  DhcType type = {.dtype = t, .rank = s.rank};
  for (int i = 0; i < s.rank; i++) type.dim[i] = gen_dim(g, s.dim[i]);
  return type;
}

int64_t shape_elements(Shape s) {
  int64_t n = 1;
  for (int i = 0; i < s.rank; i++) n *= concrete(s.dim[i]);
  return n;
}

const char *shape_text(Gen *g, Shape s) {
  DhcText t = {.arena = &g->arena};
  dhc_text_puts(&t, "[");
  for (int i = 0; i < s.rank; i++) {
    bool symbol = s.dim[i] >= SYM_UNIT;
    dhc_text_printf(&t, "%s%s%lld", i ? "x" : "", symbol ? s.dim[i] / SYM_UNIT == 1 ? "B" : "L" : "",
                    (long long)concrete(s.dim[i]));
  }
  dhc_text_puts(&t, "]");
  return dhc_text_str(&t);
}

/* ---- life of a case --------------------------------------------------------------- */

void case_begin(Gen *g, const char *fmt, ...) {
  dhc_arena_init(&g->arena);
  memset(&g->strings, 0, sizeof g->strings);
  memset(&g->sources, 0, sizeof g->sources);
  memset(&g->diags, 0, sizeof g->diags);
  g->strings.arena = g->sources.arena = g->diags.arena = &g->arena;
  g->diags.sources = &g->sources;
  g->m = dhc_module_new(&g->arena, &g->strings, &g->diags);
  DhcSpan none = {0};
  g->f = dhc_func_new(g->m, "case", DHC_FUNC_ENTRY, none);
  va_list ap;
  va_start(ap, fmt);
  const char *text = dhc_arena_vprintf(&g->arena, fmt, ap);
  va_end(ap);
  g->c = (DhcOpCase){.op = g->op,
                     .name = dhc_arena_printf(&g->arena, "%s/%s", dhc_op_info(g->op)->name, text),
                     .arena = &g->arena,
                     .diags = &g->diags,
                     .m = g->m,
                     .f = g->f,
                     .terms = 1,
                     .smooth = true};
  g->n_args = g->n_attrs = 0;
  g->too_big = false;
  g->role = DHC_ROLE_INPUT;
}

DhcBuilder case_builder(Gen *g) {
  DhcBuilder b = {.f = g->f};
  return b;
}

void case_end_node(Gen *g, DhcNode *n) {
  g->c.node = n;
  if (n) {
    for (int r = 0; r < n->n_results; r++)
      dhc_func_result(g->f, n->results[r], dhc_arena_printf(&g->arena, "r%d", r));
    dhc_module_sort(g->m);
  }
  g->c.args = g->wrong ? NULL : g->array;
  if (!(g->o.small && g->too_big)) {
    g->fn(g->ctx, &g->c);
    g->n_cases++;
  }
  dhc_arena_fini(&g->arena);
}

void case_end(Gen *g) {
  DhcBuilder b = case_builder(g);
  case_end_node(g, dhc_build(&b, g->op, g->value, g->n_args, g->attr, g->n_attrs));
}

/* ---- operands ----------------------------------------------------------------------- */

void gen_bind(Gen *g, DhcFunc *f, int64_t v) {
  const char *name = v >= SYM_UNIT ? dhc_dim_symbol_name(gen_dim(g, v)) : NULL;
  if (!name) return;
  for (int i = 0; i < f->symbols.n; i++)
    if (strcmp(f->symbols.at[i], name) == 0) return;
  DHC_PUSH(&g->arena, &f->symbols, name);
}

static DhcArray *new_arg(Gen *g, dhc_dtype t, Shape s) {
  if (g->n_args == GEN_MAX_ARGS) DHC_BUG("%s: too many operands", g->c.name);
  Shape real = s;
  for (int i = 0; i < s.rank; i++) {
    gen_bind(g, g->f, s.dim[i]);
    real.dim[i] = concrete(s.dim[i]);
  }
  if (shape_elements(s) > 100) g->too_big = true;
  DhcType type = gen_type(g, t, s);
  DhcSpan none = {0};
  DhcParamInfo info = {.name = dhc_intern(&g->strings, dhc_arena_printf(&g->arena, "x%d", g->n_args)),
                       .role = g->role,
                       .decl = -1};
  g->value[g->n_args] = dhc_func_param(g->f, &type, info, none);
  DhcArray *a = dhc_array_new(&g->arena, t, real.rank, real.dim);
  g->array[g->n_args++] = a;
  return a;
}

static double draw(Gen *g, const DhcCaseDomain *d) {
  for (;;) {
    double v = dhc_case_uniform(&g->state, d->lo, d->hi);
    bool away = true;
    for (int k = 0; k < d->n_kinks; k++) away = away && fabs(v - d->kink[k]) > 0.05;
    if (away) return v;
  }
}

static DhcCaseDomain domain(const Gen *g) {
  DhcCaseDomain d = dhc_case_domain(g->op);
  if (!d.given) d.lo = -2, d.hi = 2;
  return d;
}

DhcArray *arg_index(Gen *g, dhc_dtype t, Shape s, int64_t lo, int64_t hi) {
  DhcArray *a = new_arg(g, t, s);
  for (int64_t e = 0; e < a->n; e++)
    a->i[e] = lo + (int64_t)(dhc_case_bits(&g->state) % (uint64_t)(hi - lo));
  return a;
}

DhcArray *arg(Gen *g, dhc_dtype t, Shape s) {
  DhcCaseDomain d = domain(g);
  if (t == DHC_BOOL) return arg_index(g, t, s, 0, 2);
  if (!dhc_dtype_is_float(t)) {
    int64_t lo = (int64_t)ceil(d.lo), hi = (int64_t)floor(d.hi) + 1;
    bool is_unsigned = t == DHC_U32 || t == DHC_U16 || t == DHC_U8;
    if (is_unsigned && lo < 0) lo = 0;
    return arg_index(g, t, s, lo, hi > lo ? hi : lo + 1);
  }
  DhcArray *a = new_arg(g, t, s);
  for (int64_t e = 0; e < a->n; e++) a->f[e] = dhc_case_representable(t, draw(g, &d));
  return a;
}

DhcArray *arg_distinct(Gen *g, dhc_dtype t, Shape s) {
  DhcCaseDomain d = domain(g);
  DhcArray *a = new_arg(g, t, s);
  /* a shuffled grid; the second of two operands lies beside the first by a part of a step that
   * is no fraction, as the steps may differ */
  int64_t *rank = DHC_NEW_N(&g->arena, int64_t, a->n + 1);
  for (int64_t e = 0; e < a->n; e++) rank[e] = e;
  for (int64_t e = a->n - 1; e > 0; e--) {
    int64_t j = (int64_t)(dhc_case_bits(&g->state) % (uint64_t)(e + 1)), keep = rank[e];
    rank[e] = rank[j];
    rank[j] = keep;
  }
  double part = g->n_args % 2 ? 0.25 : 0.70711;
  for (int64_t e = 0; e < a->n; e++) {
    double v = d.lo + (d.hi - d.lo) * ((double)rank[e] + part) / (double)a->n;
    a->f[e] = dhc_case_representable(t, v);
  }
  return a;
}

DhcArray *arg_ties(Gen *g, dhc_dtype t, Shape s) {
  DhcArray *a = new_arg(g, t, s);
  for (int64_t e = 0; e < a->n; e++) {
    int64_t v = (int64_t)(dhc_case_bits(&g->state) % 3) - 1;
    if (a->f)
      a->f[e] = (double)v;
    else
      a->i[e] = dhc_eval_wrap(t, v);
  }
  g->c.smooth = false;
  return a;
}

/* ---- attributes --------------------------------------------------------------------- */

static void push_attr(Gen *g, DhcAttr a) {
  if (g->n_attrs == DHC_MAX_ATTRS) DHC_BUG("%s: too many attributes", g->c.name);
  g->attr[g->n_attrs++] = a;
}

void attr_i(Gen *g, int64_t v) { push_attr(g, dhc_attr_int(v)); }
void attr_f(Gen *g, double v) { push_attr(g, dhc_attr_float(v)); }
void attr_b(Gen *g, bool v) { push_attr(g, dhc_attr_bool(v)); }
void attr_t(Gen *g, dhc_dtype t) { push_attr(g, dhc_attr_dtype(t)); }
void attr_ints_n(Gen *g, int n, const int64_t *v) { push_attr(g, dhc_attr_ints(g->m, v, n)); }
void attr_dim(Gen *g, int64_t v) { push_attr(g, dhc_attr_dim(gen_dim(g, v))); }
void attr_func(Gen *g, DhcFunc *f) { push_attr(g, dhc_attr_func(f)); }

void attr_dims(Gen *g, Shape s) {
  const DhcDim *d[DHC_MAX_RANK];
  for (int i = 0; i < s.rank; i++) d[i] = gen_dim(g, s.dim[i]);
  push_attr(g, dhc_attr_dims(g->m, d, s.rank));
}
