/* Compile-time values: making, converting, describing them; diagnostics helpers. */
#include <math.h>

#include "frontend/elab_internal.h"
#include "ir/interp.h"

DhcArena *dhc_cx_arena(DhcCx *cx) {
  return cx->e->arena;
}

DhcDims *dhc_cx_dims(DhcCx *cx) {
  return cx->m->module->dims;
}

/* ---- diagnostics ------------------------------------------------------------------- */

DhcDiag *dhc_err(DhcCx *cx, const char *code, DhcSpan at, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  const char *text = dhc_arena_vprintf(dhc_cx_arena(cx), fmt, ap);
  va_end(ap);
  if (cx->e->stopped) return DHC_NEW(dhc_cx_arena(cx), DhcDiag); /* goes nowhere */
  return dhc_diag(cx->e->diags, DHC_ERROR, code, at, "%s", text);
}

void dhc_err_note(DhcCx *cx, DhcDiag *d, DhcSpan at, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  const char *text = dhc_arena_vprintf(dhc_cx_arena(cx), fmt, ap);
  va_end(ap);
  dhc_diag_note(cx->e->diags, d, at, "%s", text);
}

void dhc_err_hint(DhcCx *cx, DhcDiag *d, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  const char *text = dhc_arena_vprintf(dhc_cx_arena(cx), fmt, ap);
  va_end(ap);
  dhc_diag_hint(cx->e->diags, d, "%s", text);
}

const char *dhc_say_dim(DhcCx *cx, const DhcDim *d) {
  DhcText t = {.arena = dhc_cx_arena(cx)};
  dhc_dim_print(d, &t);
  return dhc_text_str(&t);
}

const char *dhc_say_type(DhcCx *cx, const DhcType *type) {
  DhcText t = {.arena = dhc_cx_arena(cx)};
  dhc_type_print(type, &t);
  return dhc_text_str(&t);
}

static void say_double(DhcText *to, double v) {
  char text[40];
  for (int digits = 6; digits <= 17; digits++) {
    snprintf(text, sizeof text, "%.*g", digits, v);
    double back = 0;
    if (sscanf(text, "%lf", &back) == 1 && back == v) break;
  }
  for (char *p = text; *p; p++)
    if (*p == ',') *p = '.'; /* comma locales */
  dhc_text_puts(to, text);
  if (isfinite(v) && !strpbrk(text, ".en")) dhc_text_puts(to, ".0");
}

static void say_val(DhcCx *cx, DhcText *to, const DhcVal *v);

enum { SAID_MOST = 16, SAID_LONGEST = 1000 };

/* A list may hold one list many times over: what is said of it stays short. */
static bool said_enough(DhcText *to, int i, int n) {
  if (i < SAID_MOST && to->n < SAID_LONGEST) return false;
  dhc_text_printf(to, "%s… %d more", i ? ", " : "", n - i);
  return true;
}

static void say_list(DhcCx *cx, DhcText *to, const DhcVal *at, int n) {
  for (int i = 0; i < n && !said_enough(to, i, n); i++) {
    dhc_text_puts(to, i ? ", " : "");
    say_val(cx, to, &at[i]);
  }
}

static void say_closure(DhcCx *cx, DhcText *to, const DhcClosure *c) {
  dhc_text_puts(to, c->decl->name.text);
  if (!c->args.n) return;
  dhc_text_puts(to, "(");
  for (int i = 0; i < c->args.n && !said_enough(to, i, c->args.n); i++) {
    const DhcGiven *b = &c->args.at[i];
    dhc_text_printf(to, "%s%s%s", i ? ", " : "", b->name ? b->name : "", b->name ? " = " : "");
    say_val(cx, to, &b->value);
  }
  dhc_text_puts(to, ")");
}

static void say_map(DhcCx *cx, DhcText *to, const DhcVal *v) {
  dhc_text_puts(to, "{ ");
  for (int i = 0; i < v->map.n && !said_enough(to, i, v->map.n); i++) {
    dhc_text_printf(to, "%s%s = ", i ? ", " : "", v->map.at[i].key);
    say_val(cx, to, v->map.at[i].value);
  }
  dhc_text_puts(to, " }");
}

static void say_val(DhcCx *cx, DhcText *to, const DhcVal *v) {
  switch (v->kind) {
    case DHC_V_ERROR: dhc_text_puts(to, "?"); break;
    case DHC_V_VOID: dhc_text_puts(to, "nothing"); break;
    case DHC_V_INT: dhc_text_printf(to, "%lld", (long long)v->i); break;
    case DHC_V_DIM: dhc_text_puts(to, dhc_say_dim(cx, v->dim)); break;
    case DHC_V_FLOAT: say_double(to, v->fx->value); break;
    case DHC_V_BOOL: dhc_text_puts(to, v->b ? "true" : "false"); break;
    case DHC_V_STRING: dhc_text_printf(to, v->s.names ? "%s" : "\"%s\"", v->s.at); break;
    case DHC_V_DTYPE: dhc_text_puts(to, dhc_dtype_name(v->dtype)); break;
    case DHC_V_LIST:
    case DHC_V_TUPLE:
      dhc_text_puts(to, v->kind == DHC_V_LIST ? "[" : "(");
      say_list(cx, to, v->list.at, v->list.n);
      dhc_text_puts(to, v->kind == DHC_V_LIST ? "]" : ")");
      break;
    case DHC_V_MAP: say_map(cx, to, v); break;
    case DHC_V_LAYER: say_closure(cx, to, v->layer); break;
    case DHC_V_INST: dhc_text_puts(to, v->inst->path); break;
    case DHC_V_TABLE: dhc_text_puts(to, v->table.member->name); break;
    case DHC_V_METHOD: dhc_text_puts(to, v->method.entry->u.entry.sig.name.text); break;
    case DHC_V_TENSOR: dhc_text_puts(to, dhc_say_type(cx, &v->t->type)); break;
  }
}

const char *dhc_say_val(DhcCx *cx, const DhcVal *v) {
  DhcText t = {.arena = dhc_cx_arena(cx)};
  say_val(cx, &t, v);
  return dhc_text_str(&t);
}

const char *dhc_say_kind(DhcCx *cx, const DhcVal *v) {
  DhcArena *a = dhc_cx_arena(cx);
  switch (v->kind) {
    case DHC_V_ERROR: return "an error";
    case DHC_V_VOID: return "nothing";
    case DHC_V_INT: return dhc_arena_printf(a, "the int %lld", (long long)v->i);
    case DHC_V_DIM: return dhc_arena_printf(a, "the dim %s", dhc_say_dim(cx, v->dim));
    case DHC_V_FLOAT:
      return v->fx->constant ? dhc_arena_printf(a, "the float %s", dhc_say_val(cx, v))
                             : "a float known only at run time";
    case DHC_V_BOOL: return v->b ? "the bool true" : "the bool false";
    case DHC_V_STRING: return dhc_arena_printf(a, "the string %s", dhc_say_val(cx, v));
    case DHC_V_DTYPE: return dhc_arena_printf(a, "the dtype %s", dhc_dtype_name(v->dtype));
    case DHC_V_LIST: return dhc_arena_printf(a, "a list of %d", v->list.n);
    case DHC_V_TUPLE: return dhc_arena_printf(a, "%d values", v->list.n);
    case DHC_V_MAP: return "a map";
    case DHC_V_LAYER: return dhc_arena_printf(a, "the layer %s", v->layer->decl->name.text);
    case DHC_V_INST:
      return dhc_arena_printf(a, "the submodule %s", v->inst->path[0] ? v->inst->path : "self");
    case DHC_V_TABLE: return dhc_arena_printf(a, "the submodules %s", v->table.member->name);
    case DHC_V_METHOD: return dhc_arena_printf(a, "the entry %s", v->method.entry->u.entry.sig.name.text);
    case DHC_V_TENSOR: return dhc_arena_printf(a, "a tensor %s", dhc_say_type(cx, &v->t->type));
  }
  return "a value";
}

const char *dhc_say_origin(DhcCx *cx, const DhcVal *v) {
  if (!v->name) return "";
  int line = 0, column = 0;
  if (!v->def.file) return dhc_arena_printf(dhc_cx_arena(cx), "'%s'", v->name);
  dhc_span_locate(cx->e->diags->sources, v->def, &line, &column);
  return dhc_arena_printf(dhc_cx_arena(cx), "'%s', line %d", v->name, line);
}

void dhc_note_operand(DhcCx *cx, DhcDiag *d, const DhcVal *v) {
  if (v->kind != DHC_V_TENSOR || !v->name || !v->def.file) return;
  dhc_err_note(cx, d, v->def, "'%s' is %s", v->name, dhc_say_type(cx, &v->t->type));
}

/* ---- making ------------------------------------------------------------------------- */

DhcVal dhc_v_error(void) {
  return (DhcVal){.kind = DHC_V_ERROR};
}
DhcVal dhc_v_int(int64_t i) {
  return (DhcVal){.kind = DHC_V_INT, .i = i};
}
DhcVal dhc_v_bool(bool b) {
  return (DhcVal){.kind = DHC_V_BOOL, .b = b};
}
DhcVal dhc_v_fx(DhcFx *fx) {
  return (DhcVal){.kind = DHC_V_FLOAT, .fx = fx};
}
DhcVal dhc_v_float(DhcCx *cx, double v) {
  return dhc_v_fx(dhc_fx_const(cx, v));
}

DhcVal dhc_v_string(DhcCx *cx, const char *s, int n) {
  return (DhcVal){.kind = DHC_V_STRING, .s = {.at = dhc_intern_n(cx->e->strings, s, (size_t)n), .n = n}};
}

DhcVal dhc_v_dim(const DhcDim *d) {
  int64_t v;
  if (dhc_dim_is_const(d, &v)) return (DhcVal){.kind = DHC_V_INT, .i = v, .varies = true};
  return (DhcVal){.kind = DHC_V_DIM, .dim = d};
}

DhcVal dhc_v_tensor(DhcValue *v) {
  if (!v) return dhc_v_error();
  return (DhcVal){.kind = DHC_V_TENSOR, .t = v};
}

DhcVal dhc_v_list(DhcCx *cx, DhcValKind kind, const DhcVal *at, int n) {
  DhcVal v = {.kind = kind};
  v.list.at = dhc_arena_dup(dhc_cx_arena(cx), at, sizeof *at * (size_t)n);
  v.list.n = n;
  v.list.depth = 1;
  for (int i = 0; i < n; i++)
    if (dhc_val_depth(&at[i]) >= v.list.depth) v.list.depth = dhc_val_depth(&at[i]) + 1;
  return v;
}

int dhc_val_depth(const DhcVal *v) {
  return v->kind == DHC_V_LIST || v->kind == DHC_V_TUPLE ? v->list.depth : v->kind == DHC_V_MAP ? v->map.depth : 0;
}

/* ---- floats known up to scalars --------------------------------------------------------- */

DhcFx *dhc_fx_const(DhcCx *cx, double v) {
  DhcFx *fx = DHC_NEW(dhc_cx_arena(cx), DhcFx);
  fx->kind = DHC_FX_CONST;
  fx->constant = true;
  fx->value = v;
  return fx;
}

DhcFx *dhc_fx_scalar(DhcCx *cx, const char *name, double value) {
  DhcModule *m = cx->m->module;
  DhcScalarDecl decl = {.name = name, .value = value};
  DHC_PUSH(m->arena, &m->scalars, decl);
  DhcFx *fx = DHC_NEW(dhc_cx_arena(cx), DhcFx);
  fx->kind = DHC_FX_SCALAR;
  fx->scalar = m->scalars.n - 1;
  fx->value = value;
  return fx;
}

DhcFx *dhc_fx_op(DhcCx *cx, DhcOp op, DhcFx *const *arg, int n) {
  DhcScalar v[3] = {{.f = 0}};
  bool constant = true, varies = false;
  for (int i = 0; i < n; i++) {
    if (!arg[i]) return NULL;
    v[i].f = arg[i]->value;
    constant = constant && arg[i]->constant;
    varies = varies || arg[i]->varies;
  }
  DhcFx *fx = dhc_fx_const(cx, dhc_eval_ew(op, DHC_F64, v).f);
  fx->varies = varies && constant;
  if (constant) return fx;
  fx->kind = DHC_FX_OP;
  for (int i = 0; i < n; i++)
    if (arg[i]->depth >= fx->depth) fx->depth = arg[i]->depth + 1;
  fx->constant = false;
  fx->op = op;
  fx->n_args = n;
  for (int i = 0; i < n; i++) fx->arg[i] = arg[i];
  return fx;
}

DhcFx *dhc_val_fx(DhcCx *cx, const DhcVal *v) {
  if (v->kind == DHC_V_FLOAT) return v->fx;
  if (v->kind != DHC_V_INT) return NULL;
  DhcFx *fx = dhc_fx_const(cx, (double)v->i);
  fx->varies = v->varies;
  return fx;
}

bool dhc_val_is_number(const DhcVal *v) {
  return v->kind == DHC_V_INT || v->kind == DHC_V_DIM || v->kind == DHC_V_FLOAT;
}

/* ---- comparing and converting ------------------------------------------------------------ */

bool dhc_val_equal(DhcCx *cx, const DhcVal *a, const DhcVal *b, DhcSpan at) {
  if (a->kind == DHC_V_INT && b->kind == DHC_V_FLOAT) return (double)a->i == b->fx->value;
  if (a->kind == DHC_V_FLOAT && b->kind == DHC_V_INT) return (double)b->i == a->fx->value;
  if (a->kind != b->kind) return false;
  switch (a->kind) {
    case DHC_V_INT: return a->i == b->i;
    case DHC_V_DIM: return a->dim == b->dim;
    case DHC_V_FLOAT: return a->fx == b->fx || a->fx->value == b->fx->value;
    case DHC_V_BOOL: return a->b == b->b;
    case DHC_V_STRING: return a->s.n == b->s.n && !memcmp(a->s.at, b->s.at, (size_t)a->s.n);
    case DHC_V_DTYPE: return a->dtype == b->dtype;
    case DHC_V_LIST:
    case DHC_V_TUPLE:
      if (a->list.n != b->list.n) return false;
      if (a->list.at == b->list.at) return true;
      for (int i = 0; i < a->list.n; i++)
        if (!dhc_limit_steps(cx, 1, at) || !dhc_val_equal(cx, &a->list.at[i], &b->list.at[i], at)) return false;
      return true;
    case DHC_V_LAYER: return a->layer->decl == b->layer->decl;
    case DHC_V_INST: return a->inst == b->inst;
    case DHC_V_TENSOR: return a->t == b->t;
    default: return false;
  }
}

static bool want_error(DhcCx *cx, const DhcVal *v, DhcSpan at, const char *what, const char *kind) {
  if (v->kind == DHC_V_ERROR) return false;
  DhcDiag *d = dhc_err(cx, "E0303", at, "%s must be %s, got %s", what, kind, dhc_say_kind(cx, v));
  dhc_note_operand(cx, d, v);
  if (v->kind == DHC_V_FLOAT && !v->fx->constant)
    dhc_err_hint(cx, d,
                 "float hyperparameters are run-time scalars; what shapes the program must be "
                 "int, bool, enum, string or layer");
  return false;
}

bool dhc_want_int(DhcCx *cx, const DhcVal *v, DhcSpan at, const char *what, int64_t *out) {
  if (v->kind != DHC_V_INT) return want_error(cx, v, at, what, "an int known at compile time");
  *out = v->i;
  return true;
}

bool dhc_want_dim(DhcCx *cx, const DhcVal *v, DhcSpan at, const char *what, const DhcDim **out) {
  if (v->kind == DHC_V_INT)
    *out = dhc_dim_const(dhc_cx_dims(cx), v->i);
  else if (v->kind == DHC_V_DIM)
    *out = v->dim;
  else
    return want_error(cx, v, at, what, "an int or a dim");
  return true;
}

bool dhc_want_bool(DhcCx *cx, const DhcVal *v, DhcSpan at, const char *what, bool *out) {
  if (v->kind != DHC_V_BOOL) {
    bool ok = want_error(cx, v, at, what, "a bool known at compile time");
    return ok;
  }
  *out = v->b;
  return true;
}

bool dhc_want_double(DhcCx *cx, const DhcVal *v, DhcSpan at, const char *what, double *out) {
  DhcFx *fx = dhc_val_fx(cx, v);
  if (!fx || !fx->constant) return want_error(cx, v, at, what, "a number known at compile time");
  *out = fx->value;
  return true;
}

bool dhc_want_string(DhcCx *cx, const DhcVal *v, DhcSpan at, const char *what, const char **out) {
  if (v->kind != DHC_V_STRING) return want_error(cx, v, at, what, "a string");
  *out = v->s.at;
  return true;
}

bool dhc_want_dtype(DhcCx *cx, const DhcVal *v, DhcSpan at, const char *what, dhc_dtype *out) {
  if (v->kind == DHC_V_STRING && dhc_dtype_parse(v->s.at, out)) return true;
  if (v->kind != DHC_V_DTYPE) return want_error(cx, v, at, what, "a dtype such as f32 or i64");
  *out = v->dtype;
  return true;
}

bool dhc_want_shape(DhcCx *cx, const DhcVal *v, DhcSpan at, const char *what, int *rank, const DhcDim **dim) {
  if (v->kind == DHC_V_INT || v->kind == DHC_V_DIM) {
    *rank = 1;
    return dhc_want_dim(cx, v, at, what, &dim[0]);
  }
  if (v->kind != DHC_V_LIST) return want_error(cx, v, at, what, "a list of dims");
  if (v->list.n > DHC_MAX_RANK) {
    dhc_err(cx, "E0308", at, "%s has %d dims, at most %d are possible", what, v->list.n, DHC_MAX_RANK);
    return false;
  }
  *rank = v->list.n;
  for (int i = 0; i < v->list.n; i++)
    if (!dhc_want_dim(cx, &v->list.at[i], at, what, &dim[i])) return false;
  return true;
}
