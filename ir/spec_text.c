/* Text form of kernel specs. Canonical: no choice is left to the printer, so equal specs
 * print alike and keys may hash the text.
 *
 *   spec row args 1 {
 *     axis par
 *     axis red
 *     in f32 row [s(a0), 1(a1), s(2*a0 + a1 + %3)/2?]
 *     %0 = load 0 : f32
 *     %1 = const 0x1p-1 : f32
 *     %2 = mul(%0, %1) : f32
 *     %3 = fold reduce_sum(%2) a1 : f32
 *     out f32 row [s(a0)] = %3
 *   }
 *
 * `s(…)`: the stride is an argument, `1(…)`: it is 1; `?`: guarded. */
#include <math.h>
#include <string.h>

#include "ir/spec.h"

static const char *const kind_name[DHC_N_KINDS] = {
#define KIND(id, name, ...) [DHC_KIND_##id] = name,
#include "ir/kinds.def"
};
static const char *const role_name[] = {"par", "red", "seq"};
static const char *const tag_name[] = {"row", "panel", "panel_bf16", "panel_i8", "rows_bf16", "rows_i8"};
enum { N_TAGS = 6, N_ROLES = 3 };

/* ---- printer ------------------------------------------------------------------- */

/* Hexadecimal with the mantissa's trailing zeros cut, whatever the locale. */
static void print_float(DhcText *to, double v) {
  uint64_t bits;
  memcpy(&bits, &v, sizeof bits);
  uint64_t mant = bits & 0xfffffffffffffu;
  int exp = (int)(bits >> 52 & 0x7ff);
  const char *sign = bits >> 63 ? "-" : "";
  if (exp == 0x7ff) {
    dhc_text_printf(to, "%s%s", sign, mant ? "nan" : "inf");
    return;
  }
  if (exp == 0 && mant == 0) {
    dhc_text_printf(to, "%s0x0p+0", sign);
    return;
  }
  char hex[14];
  snprintf(hex, sizeof hex, "%013llx", (unsigned long long)mant);
  int n = 13;
  while (n > 0 && hex[n - 1] == '0') n--;
  hex[n] = 0;
  dhc_text_printf(to, "%s0x%d%s%sp%+d", sign, exp > 0, n ? "." : "", hex, exp ? exp - 1023 : -1022);
}

static void print_term(DhcText *to, const DhcTerm *t) {
  dhc_text_puts(to, t->unit ? "1(" : "s(");
  for (int i = 0; i < t->n_axes; i++) {
    dhc_text_puts(to, i ? " + " : "");
    if (t->coef[i] != 1) dhc_text_printf(to, "%lld*", (long long)t->coef[i]);
    dhc_text_puts(to, "a");
    dhc_text_int(to, t->axis[i]);
  }
  if (t->index >= 0) dhc_text_printf(to, "%s%%%d", t->n_axes ? " + " : "", t->index);
  dhc_text_puts(to, ")");
  if (t->div != 1) dhc_text_printf(to, "/%lld", (long long)t->div);
  if (t->guarded) dhc_text_puts(to, "?");
}

static void print_operand(DhcText *to, const DhcOperand *o) {
  dhc_text_printf(to, "  %s %s %s", o->out ? "out" : "in", dhc_dtype_name(o->dtype), tag_name[o->tag]);
  if (o->width) dhc_text_printf(to, "(%d)", o->width);
  dhc_text_puts(to, " [");
  for (int t = 0; t < o->n_terms; t++) {
    if (t) dhc_text_puts(to, ", ");
    print_term(to, &o->term[t]);
  }
  dhc_text_puts(to, "]");
  if (o->out) dhc_text_printf(to, " = %%%d", o->stored);
  dhc_text_puts(to, "\n");
}

static void print_args(DhcText *to, const DhcSpecNode *d) {
  dhc_text_puts(to, "(");
  for (int k = 0; k < 4 && d->a[k] >= 0; k++) {
    dhc_text_puts(to, k ? ", %" : "%");
    dhc_text_int(to, d->a[k]);
  }
  dhc_text_puts(to, ")");
}

static void print_node(DhcText *to, const DhcSpec *s, int n) {
  const DhcSpecNode *d = &s->node[n];
  dhc_text_puts(to, "  %");
  dhc_text_int(to, n);
  dhc_text_puts(to, " = ");
  switch (d->kind) {
    case DHC_SN_LOAD: dhc_text_printf(to, "load %d", d->operand); break;
    case DHC_SN_AXIS: dhc_text_printf(to, "axis %d", d->operand); break;
    case DHC_SN_ARG: dhc_text_printf(to, "arg %d", d->operand); break;
    case DHC_SN_CONST:
      dhc_text_puts(to, "const ");
      if (dhc_dtype_is_float(d->dtype))
        print_float(to, d->f);
      else
        dhc_text_printf(to, "%lld", (long long)d->i);
      break;
    case DHC_SN_EW:
      dhc_text_puts(to, dhc_op_info(d->op)->name);
      print_args(to, d);
      break;
    case DHC_SN_FOLD:
      dhc_text_printf(to, "fold %s", dhc_op_info(d->op)->name);
      print_args(to, d);
      for (int a = 0; a < s->n_axes; a++)
        if (d->axes >> a & 1) dhc_text_printf(to, " a%d", a);
      break;
    case DHC_SN_SCAN:
      dhc_text_printf(to, "scan%s%s%s", d->i & DHC_SCAN_FLUSH ? " flush" : "", d->i & DHC_SCAN_FORGET ? " forget" : "",
                      d->i & DHC_SCAN_BACK ? " back" : "");
      print_args(to, d);
      break;
    case DHC_SN_BEFORE:
      dhc_text_puts(to, "before");
      print_args(to, d);
      break;
    case DHC_SN_RANDOM:
      dhc_text_puts(to, "random");
      print_args(to, d);
      break;
  }
  dhc_text_puts(to, " : ");
  dhc_text_puts(to, dhc_dtype_name(d->dtype));
  dhc_text_puts(to, "\n");
}

void dhc_spec_print(const DhcSpec *s, DhcText *to) {
  dhc_text_printf(to, "spec %s args %d", kind_name[s->kind], s->n_args);
  for (int i = 0; i < s->n_attrs; i++)
    dhc_text_printf(to, "%s%lld", i ? ", " : " attrs ", (long long)s->attr[i]);
  dhc_text_puts(to, " {\n");
  for (int a = 0; a < s->n_axes; a++) {
    dhc_text_printf(to, "  axis %s", role_name[s->axis[a].role]);
    if (s->axis[a].extent) dhc_text_printf(to, " %lld", (long long)s->axis[a].extent);
    dhc_text_puts(to, "\n");
  }
  int n_in = dhc_spec_n_inputs(s);
  for (int o = 0; o < n_in; o++) print_operand(to, &s->operand[o]);
  for (int n = 0; n < s->n_nodes; n++) print_node(to, s, n);
  for (int o = n_in; o < s->n_operands; o++) print_operand(to, &s->operand[o]);
  dhc_text_puts(to, "}\n");
}

/* ---- parser -------------------------------------------------------------------- */

typedef struct Parse {
  DhcDiags *diags;
  uint32_t file;
  const char *text;
  uint32_t at, n;
  bool failed;
} Parse;

static void skip(Parse *p) {
  while (p->at < p->n && (p->text[p->at] == ' ' || p->text[p->at] == '\n' || p->text[p->at] == '\t' ||
                          p->text[p->at] == '\r'))
    p->at++;
}

static void error(Parse *p, const char *what) {
  if (p->failed) return;
  p->failed = true;
  DhcSpan at = {p->file, p->at, p->at < p->n ? p->at + 1 : p->at};
  dhc_diag(p->diags, DHC_ERROR, "E0901", at, "kernel spec: expected %s", what);
}

static bool is_word(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

/* Takes `word` if it comes next (a whole word if it ends in a letter or digit). */
static bool take(Parse *p, const char *word) {
  skip(p);
  size_t k = strlen(word);
  if (p->failed || p->n - p->at < k || memcmp(p->text + p->at, word, k) != 0) return false;
  if (is_word(word[k - 1]) && p->at + k < p->n && is_word(p->text[p->at + k])) return false;
  p->at += (uint32_t)k;
  return true;
}

/* The same without looking at what follows ("s(", "a3", "%7"). */
static bool take_part(Parse *p, char c) {
  skip(p);
  if (p->failed || p->at >= p->n || p->text[p->at] != c) return false;
  p->at++;
  return true;
}

static void expect(Parse *p, const char *word) {
  if (!take(p, word)) error(p, word);
}

static bool digit_next(Parse *p) {
  skip(p);
  return p->at < p->n && ((p->text[p->at] >= '0' && p->text[p->at] <= '9') || p->text[p->at] == '-');
}

static int64_t take_int(Parse *p) {
  bool neg = take_part(p, '-');
  uint64_t v = 0;
  uint32_t from = p->at;
  while (p->at < p->n && p->text[p->at] >= '0' && p->text[p->at] <= '9') {
    uint64_t d = (uint64_t)(p->text[p->at] - '0');
    if (v > ((uint64_t)INT64_MAX + neg - d) / 10) {
      error(p, "an integer of 63 bits");
      return 0;
    }
    v = v * 10 + d;
    p->at++;
  }
  if (p->at == from) error(p, "an integer");
  return neg ? (int64_t)(0 - v) : (int64_t)v;
}

static int take_small(Parse *p) {
  int64_t v = take_int(p);
  if (v < 0 || v > 1 << 20) error(p, "a small number");
  return p->failed ? 0 : (int)v;
}

static int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static double take_float(Parse *p) {
  bool neg = take_part(p, '-');
  double v = 0;
  if (take(p, "nan")) {
    v = NAN;
  } else if (take(p, "inf")) {
    v = INFINITY;
  } else if (p->n - p->at > 2 && p->text[p->at] == '0' && p->text[p->at + 1] == 'x') {
    p->at += 2;
    uint64_t m = 0;
    int64_t scale = 0;
    bool dot = false;
    for (; p->at < p->n; p->at++) {
      if (p->text[p->at] == '.' && !dot) {
        dot = true;
        continue;
      }
      int d = hex_digit(p->text[p->at]);
      if (d < 0 || m >> 60) break;
      m = m * 16 + (uint64_t)d;
      scale -= dot ? 4 : 0;
    }
    if (!take_part(p, 'p')) error(p, "an exponent");
    if (take_part(p, '+')) scale += take_small(p);
    else scale += take_int(p);
    if (scale < -4000 || scale > 4000) error(p, "an exponent in range");
    v = ldexp((double)m, p->failed ? 0 : (int)scale);
  } else {
    error(p, "a hexadecimal float");
  }
  return neg ? -v : v;
}

static int take_name(Parse *p, const char *const *names, int n, const char *what) {
  for (int i = 0; i < n; i++)
    if (take(p, names[i])) return i;
  error(p, what);
  return 0;
}

static dhc_dtype take_dtype(Parse *p) {
  for (int t = 0; t < DHC_N_DTYPES; t++)
    if (take(p, dhc_dtype_name((dhc_dtype)t))) return (dhc_dtype)t;
  error(p, "a dtype");
  return DHC_F32;
}

static int take_node(Parse *p) {
  if (!take_part(p, '%')) error(p, "a node (%0, %1, ...)");
  return take_small(p);
}

/* Inside s(...): axes with coefficients, then at most one node. */
static void take_affine(Parse *p, DhcTerm *t) {
  t->index = -1;
  if (take_part(p, ')')) return;
  do {
    if (take_part(p, '%')) {
      t->index = take_small(p);
      break;
    }
    int64_t coef = 1;
    if (digit_next(p)) {
      coef = take_int(p);
      expect(p, "*");
    }
    if (!take_part(p, 'a')) error(p, "an axis (a0, a1, ...)");
    if (t->n_axes == 4) error(p, "at most 4 axes in a term");
    if (p->failed) return;
    t->axis[t->n_axes] = take_small(p);
    t->coef[t->n_axes++] = coef;
  } while (take_part(p, '+'));
  expect(p, ")");
}

static void take_operand(Parse *p, DhcSpec *s, bool out) {
  if (s->n_operands == DHC_SPEC_MAX_OPERANDS) error(p, "fewer operands");
  if (p->failed) return;
  DhcOperand *o = &s->operand[s->n_operands++];
  o->out = out;
  o->dtype = take_dtype(p);
  o->tag = (DhcTag)take_name(p, tag_name, N_TAGS, "a storage tag");
  if (take(p, "(")) {
    o->width = take_small(p);
    expect(p, ")");
  }
  expect(p, "[");
  if (!take(p, "]")) {
    do {
      if (o->n_terms == DHC_SPEC_MAX_TERMS) error(p, "fewer terms");
      if (p->failed) return;
      DhcTerm *t = &o->term[o->n_terms++];
      t->div = 1;
      if (take_part(p, '1')) t->unit = true;
      else if (!take_part(p, 's')) error(p, "a term, s(...) or 1(...)");
      expect(p, "(");
      take_affine(p, t);
      if (take_part(p, '/')) t->div = take_int(p);
      t->guarded = take_part(p, '?');
    } while (take(p, ","));
    expect(p, "]");
  }
  o->stored = -1;
  if (out) {
    expect(p, "=");
    o->stored = take_node(p);
  }
}

static void take_node_args(Parse *p, DhcSpecNode *d) {
  int k = 0;
  expect(p, "(");
  if (take(p, ")")) return;
  do {
    if (k == 4) error(p, "at most 4 operands");
    if (p->failed) return;
    d->a[k++] = take_node(p);
  } while (take(p, ","));
  expect(p, ")");
}

static DhcOp take_op(Parse *p) {
  skip(p);
  char name[32];
  size_t k = 0;
  while (p->at < p->n && is_word(p->text[p->at]) && k + 1 < sizeof name) name[k++] = p->text[p->at++];
  name[k] = 0;
  DhcOp op = DHC_OP_ADD;
  if (!dhc_op_parse(name, &op)) error(p, "an op");
  return op;
}

static void take_spec_node(Parse *p, DhcSpec *s) {
  if (s->n_nodes == DHC_SPEC_MAX_NODES) error(p, "fewer nodes");
  if (p->failed) return;
  if (take_small(p) != s->n_nodes) error(p, "nodes numbered in order");
  DhcSpecNode *d = &s->node[s->n_nodes++];
  for (int k = 0; k < 4; k++) d->a[k] = -1;
  expect(p, "=");
  uint32_t value_at = 0;
  if (take(p, "load")) {
    d->kind = DHC_SN_LOAD;
    d->operand = take_small(p);
  } else if (take(p, "axis")) {
    d->kind = DHC_SN_AXIS;
    d->operand = take_small(p);
  } else if (take(p, "arg")) {
    d->kind = DHC_SN_ARG;
    d->operand = take_small(p);
  } else if (take(p, "const")) {
    d->kind = DHC_SN_CONST;
    skip(p);
    value_at = p->at; /* read once the dtype is known */
    while (p->at < p->n && p->text[p->at] != ':' && p->text[p->at] != '\n') p->at++;
  } else if (take(p, "fold")) {
    d->kind = DHC_SN_FOLD;
    d->op = take_op(p);
    take_node_args(p, d);
    while (take_part(p, 'a')) {
      int a = take_small(p);
      if (a >= DHC_SPEC_MAX_AXES) error(p, "an axis of the spec");
      else d->axes |= 1u << a;
    }
  } else if (take(p, "scan")) {
    d->kind = DHC_SN_SCAN;
    d->op = DHC_OP_LINEAR_SCAN;
    d->i = take(p, "flush") ? DHC_SCAN_FLUSH : 0;
    if (take(p, "forget")) d->i |= DHC_SCAN_FORGET;
    if (take(p, "back")) d->i |= DHC_SCAN_BACK;
    take_node_args(p, d);
  } else if (take(p, "before")) {
    d->kind = DHC_SN_BEFORE;
    take_node_args(p, d);
  } else if (take(p, "random")) {
    d->kind = DHC_SN_RANDOM;
    take_node_args(p, d);
  } else {
    d->kind = DHC_SN_EW;
    d->op = take_op(p);
    take_node_args(p, d);
  }
  expect(p, ":");
  d->dtype = take_dtype(p);
  if (d->kind == DHC_SN_CONST && !p->failed) {
    uint32_t end = p->at;
    p->at = value_at;
    if (dhc_dtype_is_float(d->dtype)) d->f = take_float(p);
    else d->i = take_int(p);
    expect(p, ":");
    p->at = end;
  }
}

DhcSpec *dhc_spec_parse(DhcArena *arena, DhcDiags *diags, uint32_t file, uint32_t begin, uint32_t *end) {
  const DhcSource *src = dhc_sources_get(diags->sources, file);
  Parse p = {.diags = diags, .file = file, .text = src->text, .at = begin, .n = (uint32_t)src->n_bytes};
  DhcSpec *s = DHC_NEW(arena, DhcSpec);
  s->node = DHC_NEW_N(arena, DhcSpecNode, DHC_SPEC_MAX_NODES);
  expect(&p, "spec");
  s->kind = (DhcKind)take_name(&p, kind_name, DHC_N_KINDS, "a kernel kind");
  expect(&p, "args");
  s->n_args = take_small(&p);
  if (take(&p, "attrs")) {
    do {
      if (s->n_attrs == DHC_SPEC_MAX_ATTRS) error(&p, "fewer attributes");
      if (!p.failed) s->attr[s->n_attrs++] = take_int(&p);
    } while (take(&p, ","));
  }
  expect(&p, "{");
  while (!p.failed && !take(&p, "}")) {
    if (take(&p, "axis")) {
      if (s->n_axes == DHC_SPEC_MAX_AXES) error(&p, "fewer axes");
      if (p.failed) break;
      DhcSpecAxis *a = &s->axis[s->n_axes++];
      a->role = (DhcAxisRole)take_name(&p, role_name, N_ROLES, "par, red or seq");
      if (digit_next(&p)) a->extent = take_int(&p);
    } else if (take(&p, "in")) {
      take_operand(&p, s, false);
    } else if (take(&p, "out")) {
      take_operand(&p, s, true);
    } else if (take_part(&p, '%')) {
      take_spec_node(&p, s);
    } else {
      error(&p, "axis, in, out, a node or }");
    }
  }
  if (p.failed) return NULL;
  const char *why = NULL;
  if (!dhc_spec_verify(s, arena, &why)) {
    DhcSpan at = {file, begin, p.at};
    dhc_diag(diags, DHC_ERROR, "E0902", at, "kernel spec: %s", why);
    return NULL;
  }
  if (end) *end = p.at;
  return s;
}
