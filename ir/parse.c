/* The text form, read (print.c shows it). Stops at the first error: the text is written by
 * passes and by tests. */
#include <ctype.h>
#include <limits.h>

#include "ir/ir_internal.h"
#include "ir/spec.h"

enum { MAX_NUMBER = 1000000, MAX_LIST = 4096 };

typedef struct Parser {
  DhcModule *m;
  DhcDiags *diags;
  uint32_t file;
  const char *text, *at, *end;
  bool failed;
  DhcFunc *f; /* being read */
  DHC_VEC(DhcValue *) value; /* by number */
} Parser;

/* A name used before its function. */
typedef struct Later {
  DhcFunc **to;
  int tensor; /* or index of the tensor whose initialiser it is */
  const char *name;
  DhcSpan at;
} Later;
typedef DHC_VEC(Later) LaterList;

static DhcSpan span_from(const Parser *p, const char *begin) {
  const char *end = p->at > begin ? p->at : begin + 1;
  return (DhcSpan){p->file, (uint32_t)(begin - p->text), (uint32_t)(end - p->text)};
}

static bool fail_at(Parser *p, DhcSpan at, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
static bool fail_at(Parser *p, DhcSpan at, const char *fmt, ...) {
  if (p->failed) return false;
  p->failed = true;
  va_list ap;
  va_start(ap, fmt);
  dhc_diag(p->diags, DHC_ERROR, DHC_E_IRTEXT, at, "%s", dhc_arena_vprintf(p->m->arena, fmt, ap));
  va_end(ap);
  return false;
}

static bool expected(Parser *p, const char *what) {
  return fail_at(p, span_from(p, p->at), "%s expected", what);
}

/* ---- tokens ------------------------------------------------------------------------------ */

static void skip(Parser *p) {
  for (;;) {
    while (p->at < p->end && isspace((unsigned char)*p->at)) p->at++;
    if (p->end - p->at < 2 || p->at[0] != '/' || p->at[1] != '/') return;
    while (p->at < p->end && *p->at != '\n') p->at++;
  }
}

static bool word_part(char c) { return isalnum((unsigned char)c) || c == '_'; }

/* Takes `what` if it is next; a word must end there. */
static bool take(Parser *p, const char *what) {
  skip(p);
  size_t n = strlen(what);
  if (p->failed || (size_t)(p->end - p->at) < n || memcmp(p->at, what, n) != 0) return false;
  if (word_part(what[n - 1]) && word_part(p->at[n])) return false;
  p->at += n;
  return true;
}

static bool need(Parser *p, const char *what) {
  return take(p, what) || expected(p, dhc_arena_printf(p->m->arena, "'%s'", what));
}

static const char *take_word(Parser *p) {
  skip(p);
  const char *begin = p->at;
  while (p->at < p->end && word_part(*p->at)) p->at++;
  if (p->at == begin) return NULL;
  return dhc_intern_n(p->m->strings, begin, (size_t)(p->at - begin));
}

/* Names of symbols and functions also have dots and dollars. */
static const char *take_long_name(Parser *p) {
  const char *begin = p->at;
  while (p->at < p->end && (word_part(*p->at) || *p->at == '.' || *p->at == '$')) p->at++;
  if (p->at == begin) return NULL;
  return dhc_intern_n(p->m->strings, begin, (size_t)(p->at - begin));
}

static int hex_digit(char c) {
  return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* NULL if no string is next. */
static const char *take_string(Parser *p) {
  skip(p);
  if (p->failed || p->at == p->end || *p->at != '"') return NULL;
  const char *begin = p->at++;
  DhcText s = {.arena = p->m->arena};
  while (p->at < p->end && *p->at != '"' && *p->at != '\n') {
    char c = *p->at++;
    if (c == '\\' && p->end - p->at >= 3 && *p->at == 'x' && hex_digit(p->at[1]) >= 0 &&
        hex_digit(p->at[2]) >= 0) {
      c = (char)(hex_digit(p->at[1]) * 16 + hex_digit(p->at[2]));
      p->at += 3;
    } else if (c == '\\' && p->at < p->end) {
      c = *p->at++;
    }
    dhc_text_printf(&s, "%c", c);
  }
  if (p->at == p->end || *p->at != '"') {
    fail_at(p, span_from(p, begin), "this string has no end");
    return NULL;
  }
  p->at++;
  return dhc_intern(p->m->strings, dhc_text_str(&s));
}

static const char *need_string(Parser *p) {
  const char *s = take_string(p);
  if (!s) expected(p, "a string");
  return s;
}

static bool need_int(Parser *p, int64_t *v) {
  skip(p);
  const char *begin = p->at;
  bool minus = p->at < p->end && *p->at == '-';
  p->at += minus;
  if (p->failed || p->at == p->end || !isdigit((unsigned char)*p->at)) return expected(p, "an integer");
  for (*v = 0; p->at < p->end && isdigit((unsigned char)*p->at); p->at++) {
    int digit = *p->at - '0';
    if (__builtin_mul_overflow(*v, 10, v) || __builtin_add_overflow(*v, minus ? -digit : digit, v))
      return fail_at(p, span_from(p, begin), "this integer is too large");
  }
  return true;
}

/* A number of a value, declaration or spec: 0..MAX_NUMBER-1. */
static bool need_number(Parser *p, int *v) {
  int64_t wide;
  const char *begin = p->at;
  if (!need_int(p, &wide)) return false;
  if (wide < 0 || wide >= MAX_NUMBER) return fail_at(p, span_from(p, begin), "this number is too large");
  *v = (int)wide;
  return true;
}

static const char *need_func_name(Parser *p) {
  if (!need(p, "@")) return NULL;
  const char *name = p->at < p->end && *p->at == '"' ? take_string(p) : take_long_name(p);
  if (!name) expected(p, "a function's name");
  return name;
}

static const DhcDim *need_dim(Parser *p) {
  skip(p);
  if (p->failed) return NULL;
  const char *end, *begin = p->at;
  const DhcDim *d = dhc_dim_parse(p->m->dims, p->at, &end);
  p->at = end > begin ? end : begin;
  if (!d) fail_at(p, span_from(p, begin), "this is no dim");
  return d;
}

static bool need_type(Parser *p, DhcType *t) {
  skip(p);
  const char *begin = p->at, *name = take_word(p);
  *t = (DhcType){0};
  if (!name) return expected(p, "a type");
  if (!dhc_dtype_parse(name, &t->dtype))
    return fail_at(p, span_from(p, begin), "'%s' is no dtype", name);
  if (!need(p, "[")) return false;
  while (!p->failed && !take(p, "]")) {
    if (t->rank && !need(p, ",")) return false;
    if (t->rank == DHC_MAX_RANK)
      return fail_at(p, span_from(p, begin), "more than %d dimensions", DHC_MAX_RANK);
    t->dim[t->rank] = need_dim(p);
    t->rank++;
  }
  return !p->failed;
}

/* ---- attributes ---------------------------------------------------------------------------- */

static bool need_ints(Parser *p, DhcAttr *a) {
  int64_t v[MAX_LIST];
  int n = 0;
  if (!need(p, "[")) return false;
  while (!p->failed && !take(p, "]")) {
    if (n && !need(p, ",")) return false;
    if (n == MAX_LIST) return expected(p, "fewer entries");
    if (!need_int(p, &v[n++])) return false;
  }
  *a = dhc_attr_ints(p->m, v, n);
  return !p->failed;
}

static bool need_dims(Parser *p, DhcAttr *a) {
  const DhcDim *v[MAX_LIST];
  int n = 0;
  if (!need(p, "[")) return false;
  while (!p->failed && !take(p, "]")) {
    if (n && !need(p, ",")) return false;
    if (n == MAX_LIST) return expected(p, "fewer entries");
    if (!(v[n++] = need_dim(p))) return false;
  }
  *a = dhc_attr_dims(p->m, v, n);
  return !p->failed;
}

static bool need_callee(Parser *p, DhcAttr *a) {
  const char *begin = p->at, *name = need_func_name(p);
  if (!name) return false;
  DhcFunc *f = dhc_module_func(p->m, name);
  if (!f || f == p->f)
    return fail_at(p, span_from(p, begin), "function @%s is not defined above", name);
  *a = dhc_attr_func(f);
  return true;
}

static bool need_spec_ref(Parser *p, DhcAttr *a) {
  int i = 0;
  const char *begin = p->at;
  if (!need(p, "#") || !need_number(p, &i)) return false;
  if (i >= p->m->specs.n) return fail_at(p, span_from(p, begin), "there is no spec #%d", i);
  *a = dhc_attr_spec(p->m->specs.at[i]);
  return true;
}

static bool need_float(Parser *p, DhcAttr *a) {
  double v;
  skip(p);
  const char *end = p->at < p->end ? dhc_read_double(p->at, &v) : NULL;
  if (!end) return expected(p, "a number");
  p->at = end;
  *a = dhc_attr_float(v);
  return true;
}

static bool need_attr(Parser *p, DhcAttrKind kind, DhcAttr *a) {
  skip(p);
  *a = (DhcAttr){.kind = kind};
  switch (kind) {
    case DHC_ATTR_INT: return need_int(p, &a->i);
    case DHC_ATTR_FLOAT: return need_float(p, a);
    case DHC_ATTR_BOOL:
    case DHC_ATTR_FLAG:
      a->b = take(p, "true");
      return a->b || take(p, "false") || expected(p, "'true' or 'false'");
    case DHC_ATTR_STRING: return (a->s = need_string(p)) != NULL;
    case DHC_ATTR_INTS: return need_ints(p, a);
    case DHC_ATTR_DIM: return (a->dim = need_dim(p)) != NULL;
    case DHC_ATTR_DIMS: return need_dims(p, a);
    case DHC_ATTR_FUNC: return need_callee(p, a);
    case DHC_ATTR_SPEC: return need_spec_ref(p, a);
    case DHC_ATTR_DTYPE: {
      const char *name = take_word(p);
      return (name && dhc_dtype_parse(name, &a->dtype)) || expected(p, "a dtype");
    }
  }
  return false;
}

/* {name = value, …}, in any order, each exactly once, flags at most. */
static bool need_attrs(Parser *p, const DhcOpInfo *info, DhcAttr *attrs) {
  bool seen[DHC_MAX_ATTRS] = {false};
  int n = 0;
  if (info->n_attrs == 0) return true;
  if (!need(p, "{")) return false;
  while (!p->failed && !take(p, "}")) {
    if (n++ && !need(p, ",")) return false;
    skip(p);
    const char *begin = p->at, *name = take_word(p);
    int k = 0;
    while (name && k < info->n_attrs && strcmp(info->attrs[k].name, name) != 0) k++;
    if (!name || k == info->n_attrs || seen[k])
      return fail_at(p, span_from(p, begin), "an attribute of '%s' expected", info->name);
    seen[k] = true;
    if (!need(p, "=") || !need_attr(p, info->attrs[k].kind, &attrs[k])) return false;
  }
  for (int k = 0; k < info->n_attrs; k++)
    if (!seen[k] && info->attrs[k].kind == DHC_ATTR_FLAG) attrs[k] = dhc_attr_flag(false);
    else if (!seen[k]) return expected(p, dhc_arena_printf(p->m->arena, "attribute '%s'", info->attrs[k].name));
  return !p->failed;
}

/* ---- values and nodes ------------------------------------------------------------------------ */

static bool define(Parser *p, int number, DhcValue *v, DhcSpan at) {
  while (p->value.n <= number) DHC_PUSH(p->m->arena, &p->value, NULL);
  if (p->value.at[number]) return fail_at(p, at, "%%%d is defined twice", number);
  p->value.at[number] = v;
  return true;
}

static DhcValue *look_up(Parser *p, int number, DhcSpan at) {
  DhcValue *v = number < p->value.n ? p->value.at[number] : NULL;
  if (!v) fail_at(p, at, "%%%d is not defined", number);
  return v;
}

static bool need_operands(Parser *p, DhcValue **args, int *n) {
  *n = 0;
  if (!need(p, "(")) return false;
  while (!p->failed && !take(p, ")")) {
    int number = 0;
    if (*n && !need(p, ",")) return false;
    if (*n == MAX_LIST) return expected(p, "fewer operands");
    skip(p);
    const char *begin = p->at;
    if (!need(p, "%") || !need_number(p, &number)) return false;
    if (!(args[(*n)++] = look_up(p, number, span_from(p, begin)))) return false;
  }
  return !p->failed;
}

/* `: type, type` must be what the shape rule says. */
static bool check_types(Parser *p, const DhcNode *n) {
  for (int i = 0; i < n->n_results; i++) {
    DhcType t;
    if (!need(p, i ? "," : ":")) return false;
    skip(p);
    const char *begin = p->at;
    if (!need_type(p, &t)) return false;
    if (!dhc_type_equal(&t, &n->results[i]->type))
      return fail_at(p, span_from(p, begin), "%s gives %s here", dhc_op_info(n->op)->name,
                     dhc_type_text(p->m, &n->results[i]->type));
  }
  return true;
}

static bool parse_node(Parser *p) {
  int numbers[DHC_MAX_RESULTS], n_numbers = 0, n_args;
  DhcValue *args[MAX_LIST];
  DhcAttr attrs[DHC_MAX_ATTRS] = {{0}};
  DhcOp op;
  const char *begin = p->at;
  while (take(p, "%")) {
    if (n_numbers == DHC_MAX_RESULTS) return expected(p, "fewer results");
    if (!need_number(p, &numbers[n_numbers++])) return false;
    if (!take(p, ",")) break;
  }
  if (n_numbers && !need(p, "=")) return false;
  skip(p);
  const char *name_at = p->at, *name = take_word(p);
  if (!name) return expected(p, "an op");
  if (!dhc_op_parse(name, &op) || op == DHC_OP_PARAM)
    return fail_at(p, span_from(p, name_at), "'%s' is no op", name);
  const DhcOpInfo *info = dhc_op_info(op);
  if (!need_operands(p, args, &n_args) || !need_attrs(p, info, attrs)) return false;
  DhcBuilder b = {.f = p->f, .span = span_from(p, begin)};
  DhcNode *n = dhc_build(&b, op, args, n_args, attrs, info->n_attrs);
  if (!n) {
    p->failed = true; /* the shape rule has said why */
    return false;
  }
  if (n->n_results != n_numbers)
    return fail_at(p, span_from(p, begin), "%s gives %d results here", info->name, n->n_results);
  for (int i = 0; i < n_numbers; i++)
    if (!define(p, numbers[i], n->results[i], n->span)) return false;
  return check_types(p, n);
}

/* ---- functions ---------------------------------------------------------------------------------- */

static bool parse_symbols(Parser *p) {
  if (!take(p, "<")) return true;
  do {
    skip(p);
    const char *name = take_long_name(p);
    if (!name) return expected(p, "a symbol");
    DHC_PUSH(p->m->arena, &p->f->symbols, name);
  } while (take(p, ","));
  return need(p, ">");
}

static bool parse_params(Parser *p) {
  if (!need(p, "(")) return false;
  while (!p->failed && !take(p, ")")) {
    DhcType t;
    DhcParamInfo info = {.decl = -1};
    int number = 0;
    if (p->f->params.n && !need(p, ",")) return false;
    skip(p);
    const char *begin = p->at;
    if (!need(p, "%") || !need_number(p, &number) || !need(p, ":") || !need_type(p, &t)) return false;
    const char *role = take_word(p);
    if (!role || !dhc_role_parse(role, &info.role)) return expected(p, "a role");
    info.name = take_string(p);
    if (take(p, "#") && !need_number(p, &info.decl)) return false;
    DhcSpan at = span_from(p, begin);
    if (!define(p, number, dhc_func_param(p->f, &t, info, at), at)) return false;
  }
  return !p->failed;
}

typedef struct ResultRef {
  int number;
  const char *name;
  DhcSpan at;
} ResultRef;
typedef DHC_VEC(ResultRef) ResultRefs;

static bool parse_results(Parser *p, ResultRefs *refs) {
  if (!need(p, "->") || !need(p, "(")) return false;
  while (!p->failed && !take(p, ")")) {
    ResultRef r = {0};
    if (refs->n && !need(p, ",")) return false;
    skip(p);
    const char *begin = p->at;
    if (!need(p, "%") || !need_number(p, &r.number)) return false;
    r.at = span_from(p, begin);
    r.name = take_string(p);
    DHC_PUSH(p->m->arena, refs, r);
  }
  return !p->failed;
}

static bool parse_fact(Parser *p) {
  const DhcDim *a = need_dim(p);
  if (!a || !need(p, ">=")) return false;
  const DhcDim *b = need_dim(p);
  if (!b) return false;
  DHC_PUSH(p->m->arena, &p->f->facts.nonneg, dhc_dim_sub(p->m->dims, a, b));
  DhcFactMessage message = {.text = take_string(p)};
  DHC_PUSH(p->m->arena, &p->f->fact_messages, message);
  return !p->failed;
}

/* Kind, kernel, vjp, facts up to the brace. */
static bool parse_properties(Parser *p, LaterList *later) {
  const char *kind = take_word(p);
  if (!kind || !dhc_func_kind_parse(kind, &p->f->kind)) return expected(p, "a kind of function");
  while (!p->failed && !take(p, "{")) {
    if (take(p, "kernel")) {
      p->f->kernel = need_string(p);
    } else if (take(p, "vjp")) {
      Later l = {.to = &p->f->vjp, .tensor = -1, .at = span_from(p, p->at)};
      l.name = need_func_name(p);
      DHC_PUSH(p->m->arena, later, l);
    } else if (!take(p, "require")) {
      return expected(p, "'{'");
    } else if (!parse_fact(p)) {
      return false;
    }
  }
  return !p->failed;
}

static bool parse_func(Parser *p, const char *begin, LaterList *later) {
  ResultRefs refs = {0};
  skip(p);
  const char *name_at = p->at, *name = need_func_name(p);
  if (!name) return false;
  if (dhc_module_func(p->m, name))
    return fail_at(p, span_from(p, name_at), "function @%s is defined twice", name);
  p->f = dhc_func_new(p->m, name, DHC_FUNC_UNIT, span_from(p, begin));
  p->value.n = 0;
  if (!parse_symbols(p) || !parse_params(p) || !parse_results(p, &refs) ||
      !parse_properties(p, later))
    return false;
  skip(p);
  while (!p->failed && !take(p, "}")) {
    if (p->at == p->end) return expected(p, "'}'");
    if (!parse_node(p)) return false;
    skip(p);
  }
  for (int i = 0; i < refs.n; i++) {
    DhcValue *v = look_up(p, refs.at[i].number, refs.at[i].at);
    if (!v) return false;
    dhc_func_result(p->f, v, refs.at[i].name);
  }
  return !p->failed;
}

/* ---- modules --------------------------------------------------------------------------------------- */

static bool parse_tensor(Parser *p, const char *begin, LaterList *later) {
  DhcTensorDecl t = {0};
  if (!(t.path = need_string(p))) return false;
  const char *role = take_word(p);
  if (!role || !dhc_role_parse(role, &t.role)) return expected(p, "a role");
  if (!need_type(p, &t.type)) return false;
  t.no_decay = take(p, "no_decay");
  t.frozen = take(p, "frozen");
  if (take(p, "as") && !(t.as = need_string(p))) return false;
  if (take(p, "init")) {
    Later l = {.tensor = p->m->tensors.n, .at = span_from(p, p->at)};
    if (!(l.name = need_func_name(p))) return false;
    DHC_PUSH(p->m->arena, later, l);
  }
  t.span = span_from(p, begin);
  DHC_PUSH(p->m->arena, &p->m->tensors, t);
  return !p->failed;
}

static bool parse_scalar(Parser *p) {
  DhcAttr v;
  DhcScalarDecl s = {.name = need_string(p)};
  if (!s.name || !need(p, "=") || !need_float(p, &v)) return false;
  s.value = v.f;
  DHC_PUSH(p->m->arena, &p->m->scalars, s);
  return true;
}

static bool parse_spec(Parser *p, const char *begin) {
  uint32_t end = 0;
  const DhcSpec *s = dhc_spec_parse(p->m->arena, p->diags, p->file, (uint32_t)(begin - p->text), &end);
  if (!s) {
    p->failed = true; /* it has said why */
    return false;
  }
  p->at = p->text + end;
  DHC_PUSH(p->m->arena, &p->m->specs, s);
  return true;
}

static bool resolve(Parser *p, const LaterList *later) {
  for (int i = 0; i < later->n; i++) {
    const Later *l = &later->at[i];
    DhcFunc *f = l->name ? dhc_module_func(p->m, l->name) : NULL;
    if (!f) return fail_at(p, l->at, "function @%s is not defined", l->name ? l->name : "?");
    *(l->to ? l->to : &p->m->tensors.at[l->tensor].init) = f;
  }
  return true;
}

DhcModule *dhc_module_parse(DhcArena *arena, DhcStrings *strings, DhcDiags *diags, uint32_t file) {
  const DhcSource *src = dhc_sources_get(diags->sources, file);
  if (!src) DHC_BUG("source %u does not exist", file);
  Parser p = {.diags = diags, .file = file, .text = src->text, .at = src->text};
  p.m = dhc_module_new(arena, strings, diags);
  p.end = src->text + src->n_bytes;
  LaterList later = {0};
  if (src->n_bytes > INT32_MAX) fail_at(&p, (DhcSpan){file, 0, 0}, "this file is too large");
  for (skip(&p); !p.failed && p.at < p.end; skip(&p)) {
    const char *begin = p.at;
    if (take(&p, "func"))
      parse_func(&p, begin, &later);
    else if (take(&p, "tensor"))
      parse_tensor(&p, begin, &later);
    else if (take(&p, "scalar"))
      parse_scalar(&p);
    else if (take(&p, "spec"))
      parse_spec(&p, begin);
    else if (take(&p, "module"))
      p.m->model_name = need_string(&p);
    else
      expected(&p, "'func', 'tensor', 'scalar', 'spec' or 'module'");
  }
  if (!p.failed) resolve(&p, &later);
  return p.failed ? NULL : p.m;
}
