/* The table of builtins, their arguments, and those known at compile time. */
#include "frontend/elab_builtin.h"

typedef struct Builtin {
  const char *name;
  DhcVal (*fn)(DhcCx *cx, DhcBuiltinCall *c);
  const char *args;
} Builtin;

static const Builtin builtins[] = {
#define BUILTIN(name, args) {#name, dhc_bi_##name, args},
#include "frontend/builtins.def"
};
enum { N_BUILTINS = (int)(sizeof builtins / sizeof builtins[0]) };

int dhc_builtin_names(const char **out, int max) {
  int n = 0;
  for (int i = 0; i < N_BUILTINS && n < max; i++) out[n++] = builtins[i].name;
  for (int op = 0; op < DHC_N_OPS && n < max; op++)
    if (dhc_op_info((DhcOp)op)->cls == DHC_CLASS_ELEMENTWISE && op != DHC_OP_CAST)
      out[n++] = dhc_op_info((DhcOp)op)->name;
  return n;
}

bool dhc_bi_given(const DhcBuiltinCall *c, int i) {
  return i < c->n_args && c->arg[i].kind != DHC_V_VOID;
}

/* The i-th word of a table row's arguments. */
static const char *word(const char *text, int i, int *n) {
  while (i-- > 0) {
    text += strcspn(text, " ");
    text += *text == ' ';
  }
  *n = (int)strcspn(text, " ");
  return text;
}

const char *dhc_bi_what(DhcCx *cx, const DhcBuiltinCall *c, int i) {
  for (int k = 0; k < N_BUILTINS; k++)
    if (!strcmp(builtins[k].name, c->name)) {
      int n;
      const char *w = word(builtins[k].args, i, &n);
      if (n && w[n - 1] == '?') n--;
      return dhc_arena_printf(dhc_cx_arena(cx), "argument '%.*s' of %s", n, w, c->name);
    }
  return c->name;
}

DhcValue *dhc_bi_tensor(DhcCx *cx, DhcBuiltinCall *c, int i, int dtype) {
  return dhc_as_tensor(cx, &c->arg[i], dtype, c->span[i]);
}

bool dhc_bi_axis(DhcCx *cx, DhcBuiltinCall *c, int i, int rank, int64_t or_else, int64_t *out) {
  *out = or_else;
  if (dhc_bi_given(c, i) && !dhc_want_int(cx, &c->arg[i], c->span[i], dhc_bi_what(cx, c, i), out))
    return false;
  int64_t axis = *out < 0 ? *out + rank : *out;
  if (axis < 0 || axis >= rank) {
    DhcDiag *d = dhc_err(cx, "E0308", dhc_bi_given(c, i) ? c->span[i] : c->at,
                         "%s: axis %lld is outside a rank of %d", c->name, (long long)*out, rank);
    dhc_note_operand(cx, d, &c->arg[0]);
    return false;
  }
  *out = axis;
  return true;
}

bool dhc_bi_bool(DhcCx *cx, DhcBuiltinCall *c, int i, bool or_else, bool *out) {
  *out = or_else;
  return !dhc_bi_given(c, i) || dhc_want_bool(cx, &c->arg[i], c->span[i], dhc_bi_what(cx, c, i), out);
}

/* ---- matching arguments ------------------------------------------------------------------- */

static int n_words(const char *text) {
  int n = *text != 0;
  for (; *text; text++) n += *text == ' ';
  return n;
}

static bool match(DhcCx *cx, const Builtin *b, const DhcArg *args, int n_args, DhcBuiltinCall *c) {
  int n = n_words(b->args), len;
  bool variadic = n && !strncmp(word(b->args, n - 1, &len), "...", 3);
  c->n_args = variadic ? (n_args > n - 1 ? n_args : n - 1) : n;
  c->arg = DHC_NEW_N(dhc_cx_arena(cx), DhcVal, c->n_args + 1);
  c->span = DHC_NEW_N(dhc_cx_arena(cx), DhcSpan, c->n_args + 1);
  for (int i = 0; i < c->n_args; i++) c->arg[i].kind = DHC_V_VOID;
  for (int i = 0; i < n_args; i++) {
    int at = args[i].name ? -1 : i;
    for (int k = 0; args[i].name && k < n; k++) {
      const char *w = word(b->args, k, &len);
      if (w[len - 1] == '?') len--;
      if ((int)strlen(args[i].name) == len && !strncmp(w, args[i].name, (size_t)len)) at = k;
    }
    if (at < 0 || at >= c->n_args) {
      DhcDiag *d = args[i].name
                       ? dhc_err(cx, "E0306", args[i].span, "%s has no argument '%s'", b->name, args[i].name)
                       : dhc_err(cx, "E0306", args[i].span, "%s takes at most %d arguments, got %d", b->name,
                                 n, n_args);
      const char *names[16], *meant = NULL;
      int n_names = 0;
      for (int k = 0; k < n && n_names < 16; k++) {
        const char *w = word(b->args, k, &len);
        names[n_names++] = dhc_arena_strndup(dhc_cx_arena(cx), w, (size_t)(len - (w[len - 1] == '?')));
      }
      if (args[i].name) meant = dhc_argument_here(args[i].name, names, n_names);
      if (meant) dhc_err_hint(cx, d, "did you mean '%s'? Its arguments are: %s", meant, b->args);
      else dhc_err_hint(cx, d, "its arguments are: %s", b->args);
      return false;
    }
    if (c->arg[at].kind != DHC_V_VOID) {
      dhc_err(cx, "E0306", args[i].span, "%s: the same argument is given twice", b->name);
      return false;
    }
    c->arg[at] = args[i].value;
    c->span[at] = args[i].span;
  }
  for (int k = 0; k < n - variadic; k++) {
    const char *w = word(b->args, k, &len);
    if (w[len - 1] == '?' || c->arg[k].kind != DHC_V_VOID) continue;
    DhcDiag *d = dhc_err(cx, "E0306", c->at, "%s: argument '%.*s' is missing", b->name, len, w);
    dhc_err_hint(cx, d, "its arguments are: %s", b->args);
    return false;
  }
  return true;
}

static DhcVal call_op(DhcCx *cx, DhcOp op, const DhcArg *args, int n_args, DhcSpan at) {
  const DhcOpInfo *info = dhc_op_info(op);
  DhcVal v[3];
  for (int i = 0; i < n_args && i < 3; i++) {
    if (args[i].name) {
      dhc_err(cx, "E0306", args[i].span, "%s takes its operands by position", info->name);
      return dhc_v_error();
    }
    v[i] = args[i].value;
  }
  if (n_args != info->n_args) {
    dhc_err(cx, "E0306", at, "%s takes %d operand%s, got %d", info->name, info->n_args,
            info->n_args == 1 ? "" : "s", n_args);
    return dhc_v_error();
  }
  if (op == DHC_OP_SELECT && v[0].kind == DHC_V_BOOL) return v[0].b ? v[1] : v[2];
  return dhc_elementwise(cx, op, v, n_args, at);
}

bool dhc_call_builtin(DhcCx *cx, const char *name, const DhcArg *args, int n_args, DhcSpan at, DhcVal *out) {
  *out = dhc_v_error();
  for (int i = 0; i < N_BUILTINS; i++) {
    if (*builtins[i].name != *name || strcmp(builtins[i].name, name)) continue;
    DhcBuiltinCall c = {.name = builtins[i].name, .at = at};
    if (args && match(cx, &builtins[i], args, n_args, &c)) *out = builtins[i].fn(cx, &c);
    return true;
  }
  DhcOp op;
  if (!dhc_op_parse(name, &op) || dhc_op_info(op)->cls != DHC_CLASS_ELEMENTWISE || op == DHC_OP_CAST)
    return false;
  if (args) *out = call_op(cx, op, args, n_args, at);
  return true;
}

/* ---- compile time ---------------------------------------------------------------------------- */

DhcVal dhc_bi_len(DhcCx *cx, DhcBuiltinCall *c) {
  const DhcVal *v = &c->arg[0];
  switch (v->kind) {
    case DHC_V_STRING: return dhc_v_int(v->s.n);
    case DHC_V_LIST:
    case DHC_V_TUPLE: return dhc_v_int(v->list.n);
    case DHC_V_MAP: return dhc_v_int(v->map.n);
    case DHC_V_TABLE: return dhc_v_int(v->table.member->table.n);
    case DHC_V_TENSOR:
      if (v->t->type.rank) return dhc_v_dim(v->t->type.dim[0]);
      break;
    default: break;
  }
  dhc_err(cx, "E0303", c->span[0], "%s has no length", dhc_say_kind(cx, v));
  return dhc_v_error();
}

/* False for an input, or an argument of a function, that was left out. */
DhcVal dhc_bi_present(DhcCx *cx, DhcBuiltinCall *c) {
  if (c->arg[0].kind == DHC_V_TENSOR || c->arg[0].local) return dhc_v_bool(!c->arg[0].absent);
  dhc_err(cx, "E0303", c->span[0], "present takes an input of the entry or function, got %s", dhc_say_kind(cx, &c->arg[0]));
  return dhc_v_error();
}

DhcVal dhc_bi_ceil_div(DhcCx *cx, DhcBuiltinCall *c) {
  DhcVal one = dhc_v_int(1);
  DhcVal up = dhc_eval_binary(cx, DHC_BI_SUB, dhc_eval_binary(cx, DHC_BI_ADD, c->arg[0], c->arg[1], c->at),
                              one, c->at);
  return dhc_eval_binary(cx, DHC_BI_FLOORDIV, up, c->arg[1], c->at);
}

DhcVal dhc_bi_float(DhcCx *cx, DhcBuiltinCall *c) {
  DhcVal v = c->arg[0];
  if (v.kind == DHC_V_INT) return dhc_v_fx(dhc_val_fx(cx, &v));
  if (v.kind == DHC_V_FLOAT) return v;
  DhcValue *t = dhc_bi_tensor(cx, c, 0, -1);
  return dhc_v_tensor(t ? dhc_b_cast(dhc_at(cx, c->at), t, DHC_F32) : NULL);
}

/* "12" as 12. */
static DhcVal digits(DhcCx *cx, const DhcBuiltinCall *c, const DhcVal *v) {
  int64_t n = 0;
  bool ok = v->s.n > 0 && v->s.n <= 18;
  for (int i = 0; i < v->s.n && ok; i++) {
    ok = v->s.at[i] >= '0' && v->s.at[i] <= '9';
    n = 10 * n + (v->s.at[i] - '0');
  }
  if (ok) return dhc_v_int(n);
  dhc_err(cx, "E0303", c->span[0], "int of a text needs 1 to 18 digits, got %s", dhc_say_val(cx, v));
  return dhc_v_error();
}

DhcVal dhc_bi_int(DhcCx *cx, DhcBuiltinCall *c) {
  DhcVal v = c->arg[0];
  if (v.kind == DHC_V_INT || v.kind == DHC_V_DIM) return v;
  if (v.kind == DHC_V_FLOAT && v.fx->constant && v.fx->value > -9e18 && v.fx->value < 9e18)
    return dhc_v_int((int64_t)v.fx->value);
  if (v.kind == DHC_V_BOOL) return dhc_v_int(v.b);
  if (v.kind == DHC_V_STRING) return digits(cx, c, &v);
  DhcValue *t = dhc_bi_tensor(cx, c, 0, -1);
  return dhc_v_tensor(t ? dhc_b_cast(dhc_at(cx, c->at), t, DHC_I64) : NULL);
}

DhcVal dhc_bi_str(DhcCx *cx, DhcBuiltinCall *c) {
  if (c->arg[0].kind == DHC_V_STRING) return c->arg[0];
  const char *s = dhc_say_val(cx, &c->arg[0]);
  return dhc_v_string(cx, s, (int)strlen(s));
}

DhcVal dhc_bi_product(DhcCx *cx, DhcBuiltinCall *c) {
  DhcVal r = dhc_v_int(1);
  if (c->arg[0].kind != DHC_V_LIST) {
    dhc_err(cx, "E0303", c->span[0], "product takes a list, got %s", dhc_say_kind(cx, &c->arg[0]));
    return dhc_v_error();
  }
  for (int i = 0; i < c->arg[0].list.n; i++)
    r = dhc_eval_binary(cx, DHC_BI_MUL, r, c->arg[0].list.at[i], c->at);
  return r;
}

DhcVal dhc_bi_numel(DhcCx *cx, DhcBuiltinCall *c) {
  DhcValue *t = dhc_bi_tensor(cx, c, 0, -1);
  if (!t) return dhc_v_error();
  return dhc_v_dim(dhc_dim_product(dhc_cx_dims(cx), t->type.dim, t->type.rank));
}

DhcVal dhc_bi_dim(DhcCx *cx, DhcBuiltinCall *c) {
  int64_t axis;
  if (c->arg[0].kind != DHC_V_TENSOR) {
    dhc_err(cx, "E0303", c->span[0], "dim takes a tensor, got %s", dhc_say_kind(cx, &c->arg[0]));
    return dhc_v_error();
  }
  DhcValue *t = dhc_fn_import(cx->fn, c->arg[0].t);
  if (!dhc_bi_axis(cx, c, 1, t->type.rank, 0, &axis)) return dhc_v_error();
  return dhc_v_dim(t->type.dim[axis]);
}

/* As torch.nn.init: weight [out, in, *kernel]. */
static DhcVal fan(DhcCx *cx, DhcBuiltinCall *c, int which) {
  int rank;
  const DhcDim *dim[DHC_MAX_RANK];
  if (!dhc_want_shape(cx, &c->arg[0], c->span[0], dhc_bi_what(cx, c, 0), &rank, dim)) return dhc_v_error();
  if (rank < 2) {
    DhcDiag *d = dhc_err(cx, "E0308", c->at, "%s needs a shape of at least 2 dims, got %d", c->name, rank);
    dhc_err_hint(cx, d, "give vectors zeros(), ones(), uniform(lo, hi) or normal(mean, std)");
    return dhc_v_error();
  }
  const DhcDim *r = dim[which];
  for (int i = 2; i < rank; i++) r = dhc_dim_mul(dhc_cx_dims(cx), r, dim[i]);
  return dhc_v_dim(r);
}

DhcVal dhc_bi_fan_in(DhcCx *cx, DhcBuiltinCall *c) {
  return fan(cx, c, 1);
}
DhcVal dhc_bi_fan_out(DhcCx *cx, DhcBuiltinCall *c) {
  return fan(cx, c, 0);
}

/* ---- taps -------------------------------------------------------------------------------------- */

static bool glob(const char *p, const char *s) {
  const char *star = NULL, *from = NULL;
  while (*s) {
    if (*p == '*') {
      star = p++;
      from = s;
    } else if (*p == *s) {
      p++;
      s++;
    } else if (star) {
      p = star + 1;
      s = ++from;
    } else {
      return false;
    }
  }
  while (*p == '*') p++;
  return !*p;
}

bool dhc_tap_matches(const char *pattern, const char *path) {
  return glob(pattern, path) || (!strncmp(pattern, "*.", 2) && glob(pattern + 2, path)); /* "*.x" also finds the root's x */
}

/* In the order in which they were set. */
DhcVal dhc_bi_taps(DhcCx *cx, DhcBuiltinCall *c) {
  const char *pattern;
  if (!cx->fn || !dhc_want_string(cx, &c->arg[0], c->span[0], dhc_bi_what(cx, c, 0), &pattern))
    return dhc_v_error();
  DHC_VEC(DhcVal) all = {0};
  for (int i = 0; i < cx->fn->taps.n; i++) {
    const DhcTap *t = &cx->fn->taps.at[i];
    if (!t->require && dhc_tap_matches(pattern, t->path)) DHC_PUSH(dhc_cx_arena(cx), &all, dhc_v_tensor(t->value));
  }
  return dhc_v_list(cx, DHC_V_LIST, all.at, all.n);
}
