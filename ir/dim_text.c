/* Dims as text and as dim programs. */
#include <ctype.h>
#include <limits.h>

#include "ir/diag.h"
#include "ir/dim_internal.h"

/* ---- printing ----------------------------------------------------------------------- */

static bool is_one_symbol(const DhcDim *d) { return dhc_dim_symbol_name(d) != NULL; }

static void print_atom(const DhcAtom *a, bool alone, DhcText *to) {
  if (a->name) {
    dhc_text_puts(to, a->name);
    return;
  }
  bool plain = is_one_symbol(a->p);
  if (!alone) dhc_text_puts(to, "(");
  if (!plain) dhc_text_puts(to, "(");
  dhc_dim_print(a->p, to);
  if (!plain) dhc_text_puts(to, ")");
  dhc_text_puts(to, "//");
  dhc_text_int(to, a->k);
  if (!alone) dhc_text_puts(to, ")");
}

/* Magnitude only; the sign is the caller's. */
static void print_term(const DhcDimTerm *t, DhcText *to) {
  int64_t magnitude = t->coef < 0 ? -t->coef : t->coef; /* never INT64_MIN */
  if (t->n == 0 || magnitude != 1) dhc_text_int(to, magnitude);
  if (t->n && magnitude != 1) dhc_text_puts(to, "*");
  for (int k = 0; k < t->n; k++) {
    if (k) dhc_text_puts(to, "*");
    print_atom(t->atom[k], t->n == 1 && magnitude == 1, to);
  }
}

void dhc_dim_print(const DhcDim *d, DhcText *to) {
  if (d->n == 0) dhc_text_puts(to, "0");
  for (int i = 0; i < d->n; i++) {
    bool minus = d->term[i].coef < 0;
    dhc_text_puts(to, i == 0 ? (minus ? "-" : "") : minus ? " - " : " + ");
    /* "-H//2" would read as (-H)//2 */
    bool guard = i == 0 && minus && d->term[i].coef == -1 && d->term[i].n == 1 &&
                 !d->term[i].atom[0]->name;
    if (guard) dhc_text_puts(to, "(");
    print_term(&d->term[i], to);
    if (guard) dhc_text_puts(to, ")");
  }
}

void dhc_dim_print_fact(DhcDims *cx, const DhcDim *nonneg, DhcText *to) {
  const DhcDim *left = dhc_dim_const(cx, 0);
  for (int i = 0; i < nonneg->n; i++) {
    const DhcDimTerm *t = &nonneg->term[i];
    if (t->n && t->coef > 0) left = dhc_dim_add(cx, left, dhc_dim_monomial(cx, t->coef, t->n, t->atom));
  }
  dhc_dim_print(left, to);
  dhc_text_puts(to, " >= ");
  dhc_dim_print(dhc_dim_sub(cx, left, nonneg), to);
}

/* ---- parsing --------------------------------------------------------------------------- */

enum { DEEPEST = 64 };

typedef struct Reader {
  DhcDims *cx;
  const char *at;
  int depth;
} Reader;

static const DhcDim *read_sum(Reader *r);

static void skip_space(Reader *r) {
  while (*r->at == ' ') r->at++;
}

static bool take(Reader *r, const char *what) {
  skip_space(r);
  size_t n = strlen(what);
  if (strncmp(r->at, what, n) != 0) return false;
  r->at += n;
  return true;
}

static bool read_int(Reader *r, int64_t *v) {
  skip_space(r);
  if (!isdigit((unsigned char)*r->at)) return false;
  *v = 0;
  for (; isdigit((unsigned char)*r->at); r->at++) {
    if (__builtin_mul_overflow(*v, 10, v) || __builtin_add_overflow(*v, *r->at - '0', v))
      return false;
  }
  return true;
}

static bool name_start(char c) { return isalpha((unsigned char)c) || c == '_' || c == '$'; }
static bool name_part(char c) { return isalnum((unsigned char)c) || c == '_' || c == '$'; }

/* A dot belongs to a name if a name goes on after it. */
static const DhcDim *read_name(Reader *r) {
  const char *begin = r->at;
  while (name_part(*r->at) || (*r->at == '.' && name_part(r->at[1]))) r->at++;
  return dhc_dim_symbol(r->cx, dhc_intern_n(r->cx->strings, begin, (size_t)(r->at - begin)));
}

static const DhcDim *read_primary(Reader *r) {
  int64_t v;
  skip_space(r);
  if (name_start(*r->at)) return read_name(r);
  if (read_int(r, &v)) return dhc_dim_const(r->cx, v);
  if (!take(r, "(") || r->depth >= DEEPEST) return NULL;
  r->depth++;
  const DhcDim *d = read_sum(r);
  r->depth--;
  return d && take(r, ")") ? d : NULL;
}

static const DhcDim *read_product(Reader *r) {
  bool minus = take(r, "-");
  const DhcDim *d = read_primary(r);
  if (d && minus) d = dhc_dim_mulc(r->cx, d, -1);
  while (d) {
    int64_t k;
    if (take(r, "//")) {
      if (!read_int(r, &k) || k < 1) return NULL;
      d = dhc_dim_floordiv(r->cx, d, k);
    } else if (take(r, "*")) {
      const DhcDim *e = read_primary(r);
      d = e ? dhc_dim_mul(r->cx, d, e) : NULL;
    } else {
      break;
    }
  }
  return d;
}

static const DhcDim *read_sum(Reader *r) {
  const DhcDim *d = read_product(r);
  while (d) {
    const char *before = r->at;
    bool minus = take(r, "-");
    if (minus && *r->at == '>') { /* an arrow, not a minus */
      r->at = before;
      break;
    }
    if (!minus && !take(r, "+")) break;
    const DhcDim *e = read_product(r);
    d = !e ? NULL : minus ? dhc_dim_sub(r->cx, d, e) : dhc_dim_add(r->cx, d, e);
  }
  return d;
}

const DhcDim *dhc_dim_parse(DhcDims *cx, const char *text, const char **end) {
  Reader r = {cx, text, 0};
  bool before = cx->overflowed;
  cx->overflowed = false;
  const DhcDim *d = read_sum(&r);
  if (cx->overflowed) d = NULL;
  cx->overflowed = before;
  while (r.at > text && r.at[-1] == ' ') r.at--;
  if (end) *end = r.at;
  return d;
}

/* ---- programs ---------------------------------------------------------------------------- */

typedef DHC_VEC(int64_t) Code;

static int symbol_index(const char *name, int n, const char *const *names) {
  for (int i = 0; i < n; i++)
    if (names[i] == name || strcmp(names[i], name) == 0) return i;
  DHC_BUG("dim program: symbol '%s' is not in the environment", name);
}

static void emit(const DhcDim *d, int n, const char *const *names, DhcArena *arena, Code *c) {
  if (d->n == 0) {
    DHC_PUSH(arena, c, DHC_DIM_CONST);
    DHC_PUSH(arena, c, 0);
  }
  for (int i = 0; i < d->n; i++) {
    const DhcDimTerm *t = &d->term[i];
    bool pushed = t->coef != 1 || t->n == 0;
    if (pushed) {
      DHC_PUSH(arena, c, DHC_DIM_CONST);
      DHC_PUSH(arena, c, t->coef);
    }
    for (int k = 0; k < t->n; k++) {
      const DhcAtom *a = t->atom[k];
      if (a->name) {
        DHC_PUSH(arena, c, DHC_DIM_SYM);
        DHC_PUSH(arena, c, symbol_index(a->name, n, names));
      } else {
        emit(a->p, n, names, arena, c);
        DHC_PUSH(arena, c, DHC_DIM_CONST);
        DHC_PUSH(arena, c, a->k);
        DHC_PUSH(arena, c, DHC_DIM_FLOORDIV);
      }
      if (pushed) DHC_PUSH(arena, c, DHC_DIM_MUL);
      pushed = true;
    }
    if (i) DHC_PUSH(arena, c, DHC_DIM_ADD);
  }
}

dhc_dimprog dhc_dim_program(const DhcDim *d, int n, const char *const *names, DhcArena *arena) {
  Code c = {0};
  emit(d, n, names, arena, &c);
  return (dhc_dimprog){c.at, c.n};
}
