/* Binding hyperparameters: coercion to declared types, ranges, partial application. */
#include <math.h>

#include "frontend/elab_internal.h"

/* ---- coercion ---------------------------------------------------------------------------- */

static const char *type_text(DhcCx *cx, const DhcAstType *t) {
  switch (t->kind) {
    case DHC_TY_INT: return "an int";
    case DHC_TY_FLOAT: return "a float";
    case DHC_TY_BOOL: return "a bool";
    case DHC_TY_STRING: return "a string";
    case DHC_TY_LAYER: return "a layer";
    case DHC_TY_LIST: return "a list";
    case DHC_TY_MAP: return "a map";
    case DHC_TY_ENUM: {
      DhcText s = {.arena = dhc_cx_arena(cx)};
      dhc_text_puts(&s, "one of ");
      for (int i = 0; i < t->values.n; i++) dhc_text_printf(&s, "%s%s", i ? ", " : "", t->values.at[i].text);
      return dhc_text_str(&s);
    }
    default: return "a tensor";
  }
}

static bool kind_error(DhcCx *cx, const DhcAstType *t, const char *what, const DhcVal *v, DhcSpan at) {
  DhcDiag *d = dhc_err(cx, "E0303", at, "%s must be %s, got %s", what, type_text(cx, t), dhc_say_kind(cx, v));
  if (t->kind == DHC_TY_ENUM && v->kind == DHC_V_STRING) {
    DHC_VEC(const char *) names = {0};
    for (int i = 0; i < t->values.n; i++) DHC_PUSH(dhc_cx_arena(cx), &names, t->values.at[i].text);
    const char *close = dhc_suggest(v->s.at, names.at, names.n);
    if (close) dhc_err_hint(cx, d, "did you mean '%s'?", close);
  } else if (t->kind == DHC_TY_INT && v->kind == DHC_V_FLOAT && !v->fx->constant) {
    dhc_err_hint(cx, d, "float hyperparameters are run-time scalars; declare it int to shape the program");
  }
  return false;
}

static bool coerce_kind(DhcCx *cx, const DhcAstType *t, const char *what, DhcVal *v, DhcSpan at) {
  switch (t->kind) {
    case DHC_TY_NONE:
    case DHC_TY_ERROR: return true;
    case DHC_TY_INT:
      if (v->kind == DHC_V_INT || (v->kind == DHC_V_DIM && cx->fn)) return true;
      break;
    case DHC_TY_FLOAT:
      if (v->kind == DHC_V_INT) {
        DhcVal f = dhc_v_float(cx, (double)v->i);
        f.name = v->name;
        f.def = v->def;
        *v = f;
      }
      if (v->kind == DHC_V_FLOAT) {
        if (isfinite(v->fx->value)) return true;
        dhc_err(cx, "E0304", at, "%s must be finite, got %s", what, dhc_say_val(cx, v));
        return false;
      }
      if (v->kind == DHC_V_DIM && cx->fn) {
        *v = dhc_v_tensor(dhc_as_tensor(cx, v, DHC_F32, at));
        return v->kind != DHC_V_ERROR;
      }
      break;
    case DHC_TY_BOOL:
      if (v->kind == DHC_V_BOOL) return true;
      break;
    case DHC_TY_STRING:
      if (v->kind == DHC_V_STRING) return true;
      break;
    case DHC_TY_ENUM:
      for (int i = 0; v->kind == DHC_V_STRING && i < t->values.n; i++)
        if (!strcmp(t->values.at[i].text, v->s.at)) {
          v->s.names = &t->values;
          return true;
        }
      break;
    case DHC_TY_LAYER:
      if (v->kind == DHC_V_LAYER) return true;
      break;
    case DHC_TY_LIST:
      if (v->kind == DHC_V_LIST) return true;
      break;
    case DHC_TY_MAP:
      if (v->kind == DHC_V_MAP) return true;
      break;
    case DHC_TY_TENSOR:
      if (v->kind == DHC_V_TENSOR) return true;
      break;
  }
  return kind_error(cx, t, what, v, at);
}

static bool in_range(DhcCx *cx, const DhcAstExpr *range, const char *what, const DhcVal *v, DhcSpan at) {
  if (range->kind == DHC_EX_LIST) {
    DhcVal list = dhc_eval(cx, range);
    if (list.kind != DHC_V_LIST) return false;
    for (int i = 0; i < list.list.n; i++)
      if (dhc_val_equal(cx, &list.list.at[i], v, range->span)) return true;
    DhcDiag *d = dhc_err(cx, "E0304", at, "%s is %s, must be one of %s", what, dhc_say_val(cx, v),
                         dhc_say_val(cx, &list));
    dhc_err_note(cx, d, range->span, "declared here");
    return false;
  }
  if (range->kind != DHC_EX_RANGE) return true;
  DhcFx *fx = dhc_val_fx(cx, v);
  if (!fx) return true; /* a dim: bounded where it is used */
  DhcVal lo = dhc_eval(cx, range->u.range.lo), hi = {.kind = DHC_V_VOID};
  if (range->u.range.hi) hi = dhc_eval(cx, range->u.range.hi);
  DhcFx *a = dhc_val_fx(cx, &lo), *b = dhc_val_fx(cx, &hi);
  if (!a || (range->u.range.hi && !b)) {
    if (lo.kind != DHC_V_ERROR && hi.kind != DHC_V_ERROR)
      dhc_err(cx, "E0303", range->span, "the bounds of a range must be numbers");
    return false;
  }
  bool inside = v->kind == DHC_V_INT && lo.kind == DHC_V_INT && (!b || hi.kind == DHC_V_INT)
                    ? v->i >= lo.i && (!b || v->i <= hi.i)
                    : fx->value >= a->value && (!b || fx->value <= b->value);
  if (inside) return true;
  DhcDiag *d = dhc_err(cx, "E0304", at, "%s is %s, must be in %s..%s", what, dhc_say_val(cx, v),
                       dhc_say_val(cx, &lo), b ? dhc_say_val(cx, &hi) : "");
  dhc_err_note(cx, d, range->span, "declared here");
  return false;
}

bool dhc_coerce(DhcCx *cx, const DhcAstType *type, const DhcAstExpr *range, const char *what, DhcVal *v,
                DhcSpan at) {
  if (v->kind == DHC_V_ERROR) return false;
  if (!coerce_kind(cx, type, what, v, at)) return false;
  return !range || in_range(cx, range, what, v, at);
}

/* ---- a layer's hyperparameters ------------------------------------------------------------- */

static const DhcAstParam *find_param(const DhcAstParams *params, const char *name) {
  for (int i = 0; i < params->n; i++)
    if (!strcmp(params->at[i].name.text, name)) return &params->at[i];
  return NULL;
}

bool dhc_setting_value(DhcCx *cx, const DhcAstParams *params, const char *key, const DhcAstExpr *value,
                       DhcVal *out) {
  const DhcAstParam *p = find_param(params, key);
  if (p && value->kind == DHC_EX_NAME && (p->type.kind == DHC_TY_ENUM || p->type.kind == DHC_TY_STRING)) {
    *out = dhc_v_string(cx, value->u.name, (int)strlen(value->u.name));
    return true;
  }
  *out = dhc_eval(cx, value);
  return out->kind != DHC_V_ERROR;
}

/* Which parameter each positional argument is: they fill, in order, what no earlier
 * positional took. */
static bool place_positional(DhcCx *cx, DhcInst *inst, DhcGivens *args, int *owner, DhcSpan at) {
  const DhcAstParams *params = &inst->decl->u.layer.params;
  int next = 0;
  for (int i = 0; i < args->n; i++) {
    owner[i] = -1;
    if (args->at[i].name) {
      for (int k = 0; k < params->n; k++)
        if (!strcmp(params->at[k].name.text, args->at[i].name)) owner[i] = k;
      continue;
    }
    if (next >= params->n) {
      DhcDiag *d =
          dhc_err(cx, "E0306", args->at[i].span.file ? args->at[i].span : at, "%s takes %d hyperparameter%s",
                  inst->decl->name.text, params->n, params->n == 1 ? "" : "s");
      dhc_err_note(cx, d, inst->decl->name.span, "declared here");
      return false;
    }
    owner[i] = next++;
  }
  return true;
}

void dhc_report_no_hyper(DhcCx *cx, const DhcAstDecl *layer, const char *name, DhcSpan at) {
  const DhcAstParams *params = &layer->u.layer.params;
  DhcArena *a = dhc_cx_arena(cx);
  DHC_VEC(const char *) names = {0};
  for (int i = 0; i < params->n; i++) DHC_PUSH(a, &names, params->at[i].name.text);
  DhcDiag *d = dhc_err(cx, "E0301", at, "%s has no hyperparameter '%s'", layer->name.text, name);
  const char *close = dhc_argument_here(name, names.at, names.n), *all = "";
  for (int i = 0; i < names.n; i++) all = dhc_arena_printf(a, "%s%s%s", all, i ? ", " : "", names.at[i]);
  if (close) dhc_err_hint(cx, d, "did you mean '%s'?", close);
  else if (names.n) dhc_err_hint(cx, d, "it has %s", all);
  dhc_err_note(cx, d, layer->name.span, "%s is declared here", layer->name.text);
}

/* "mixer.num_heads" = 8 reaches into the layer value of `mixer`. */
static void apply_dotted(DhcCx *cx, DhcGivens *args, const DhcAstParam *p, DhcVal *v) {
  size_t n = strlen(p->name.text);
  for (int i = 0; i < args->n; i++) {
    DhcGiven *b = &args->at[i];
    if (!b->name || strncmp(b->name, p->name.text, n) || b->name[n] != '.') continue;
    b->used = true;
    if (v->kind != DHC_V_LAYER) {
      dhc_err(cx, "E0303", b->span, "'%s' is no layer: '%s' reaches into nothing", p->name.text, b->name);
      continue;
    }
    DhcGiven inner = *b;
    inner.name = dhc_intern(cx->e->strings, b->name + n + 1);
    v->layer = dhc_closure_with(dhc_cx_arena(cx), v->layer, &inner, 1);
  }
}

static bool bind_one(DhcCx *cx, DhcInst *inst, DhcGivens *args, const int *owner, int k, DhcSpan at) {
  const DhcAstParam *p = &inst->decl->u.layer.params.at[k];
  DhcArena *a = dhc_cx_arena(cx);
  DhcHyper h = {.name = p->name.text, .decl = p, .source = "default"};
  DhcSpan where = at;
  DhcScope scope = {0};
  DhcCx own = {.e = cx->e, .m = cx->m, .self = inst, .owner = inst, .file = inst->file, .scope = &scope};
  bool given = false;
  int last = -1;
  for (int i = 0; i < args->n; i++) /* later ones win */
    if (owner[i] == k) {
      if (given && !args->at[i].source && last >= 0 && !args->at[last].name && args->at[i].name) {
        dhc_err(cx, "E0306", args->at[i].span, "%s: hyperparameter '%s' is given twice",
                inst->decl->name.text, p->name.text);
        return false;
      }
      last = i;
      h.value = args->at[i].value;
      h.source = args->at[i].source ? args->at[i].source : "written in the model";
      if (args->at[i].span.file) where = args->at[i].span;
      args->at[i].used = given = true;
    }
  if (!given) {
    if (!p->default_value) {
      DhcDiag *d =
          dhc_err(cx, "E0306", at, "%s: hyperparameter '%s' is missing", inst->decl->name.text, p->name.text);
      dhc_err_note(cx, d, p->span, "declared here");
      return false;
    }
    dhc_setting_value(&own, &inst->decl->u.layer.params, p->name.text, p->default_value, &h.value);
    where = p->default_value->span;
  }
  apply_dotted(cx, args, p, &h.value);
  h.value.name = NULL;
  const char *what = dhc_arena_printf(a, "%s: hyperparameter '%s'", inst->decl->name.text, p->name.text);
  bool ok = dhc_coerce(&own, &p->type, p->range, what, &h.value, where);
  if (ok && h.value.kind == DHC_V_FLOAT && h.value.fx->constant) {
    const char *name = inst->path[0] ? dhc_arena_printf(a, "%s.%s", inst->path, p->name.text) : p->name.text;
    h.value = dhc_v_fx(dhc_fx_scalar(cx, name, h.value.fx->value));
  }
  if (!ok) h.value = dhc_v_error();
  h.value.varies = h.value.kind == DHC_V_INT;
  h.value.name = p->name.text;
  h.value.def = p->span;
  DHC_PUSH(a, &inst->hypers, h);
  return ok;
}

bool dhc_bind_hypers(DhcCx *cx, DhcInst *inst, DhcGivens *args, DhcSpan at) {
  const DhcAstParams *params = &inst->decl->u.layer.params;
  int *owner = DHC_NEW_N(dhc_cx_arena(cx), int, args->n + 1);
  if (!place_positional(cx, inst, args, owner, at)) return false;
  bool ok = true;
  for (int i = 0; i < args->n; i++) args->at[i].used = false;
  for (int k = 0; k < params->n; k++) ok = bind_one(cx, inst, args, owner, k, at) && ok;
  for (int i = 0; i < args->n; i++)
    if (!args->at[i].used) {
      dhc_report_no_hyper(cx, inst->decl, args->at[i].name, args->at[i].span);
      ok = false;
    }
  return ok;
}
