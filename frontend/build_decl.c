#include "frontend/build.h"

static int max_int(int a, int b) { return a > b ? a : b; }

/* ---- Items ------------------------------------------------------------------ */

DhcAstItem *dhc_build_item(DhcParser *ps, DhcAstItemKind kind, DhcSpan at) {
  DhcAstItem *it = DHC_NEW(ps->cfg->arena, DhcAstItem);
  it->kind = kind;
  it->span = at;
  it->depth = 1;
  return it;
}

DhcAstItem *dhc_build_tensor(DhcParser *ps, DhcSpan at, DhcAstTensorRole role, DhcAstName name,
                             DhcAstType *type, DhcParserTensor *attrs, DhcAstExpr *init) {
  static const char *const role_name[] = {"param", "buffer", "table", "state"};
  DhcDiags *diags = ps->cfg->diags;
  DhcAstItem *it = dhc_build_item(ps, DHC_IT_TENSOR, at);
  it->u.tensor.role = role;
  it->u.tensor.name = name;
  it->u.tensor.type = *type;
  it->u.tensor.no_decay = attrs->no_decay;
  it->u.tensor.no_decay_span = attrs->no_decay_span;
  it->u.tensor.path = attrs->path;
  it->u.tensor.init = init;
  if (attrs->no_decay && role != DHC_TENSOR_PARAM)
    dhc_diag(diags, DHC_ERROR, "E0209", attrs->no_decay_span,
             "'no_decay' belongs to a param, '%s' is a %s", name.text, role_name[role]);
  if (attrs->path && role != DHC_TENSOR_PARAM && role != DHC_TENSOR_BUFFER)
    dhc_diag(diags, DHC_ERROR, "E0209", attrs->path->span,
             "'as' belongs to a param or buffer, '%s' is a %s, which is not saved", name.text,
             role_name[role]);
  return it;
}

static int depth_of_items(const DhcAstItems *items) {
  int depth = 0;
  for (int i = 0; i < items->n; i++) depth = max_int(depth, items->at[i]->depth);
  return depth;
}

DhcAstItem *dhc_build_item_for(DhcParser *ps, DhcSpan at, DhcAstName var, DhcAstExpr *iter,
                               DhcAstItems *body) {
  DhcAstItem *it = dhc_build_item(ps, DHC_IT_FOR, at);
  it->u.for_.var = var;
  it->u.for_.iter = iter;
  it->u.for_.body = *body;
  return dhc_build_set_depth(ps, at, depth_of_items(body), &it->depth) ? it : NULL;
}

DhcAstItem *dhc_build_item_if(DhcParser *ps, DhcSpan at, DhcAstExpr *cond, DhcAstItems *then_,
                              DhcSpan then_span, DhcAstItems *else_, DhcAstItem *else_if) {
  DhcAstItem *it = dhc_build_item(ps, DHC_IT_IF, at);
  it->u.if_.cond = cond;
  it->u.if_.then_ = *then_;
  it->u.if_.then_span = then_span;
  it->u.if_.has_else = else_ || else_if;
  if (else_) it->u.if_.else_ = *else_;
  if (else_if) DHC_PUSH(ps->cfg->arena, &it->u.if_.else_, else_if);
  int below = max_int(depth_of_items(then_), depth_of_items(&it->u.if_.else_));
  return dhc_build_set_depth(ps, at, below, &it->depth) ? it : NULL;
}

DhcAstNames *dhc_build_path(DhcParser *ps, const char *dotted, DhcSpan at) {
  DhcAstNames *names = DHC_NEW(ps->cfg->arena, DhcAstNames);
  for (const char *s = dotted;; s++) {
    size_t n = strcspn(s, ".");
    if (n == 0) {
      dhc_diag(ps->cfg->diags, DHC_ERROR, "E0212", at, "path \"%s\" has an empty component",
               dotted);
      return names;
    }
    DHC_PUSH(ps->cfg->arena, names, ((DhcAstName){dhc_intern_n(ps->cfg->strings, s, n), at}));
    s += n;
    if (!*s) return names;
  }
}

/* ---- Declarations ------------------------------------------------------------- */

DhcAstDecl *dhc_build_decl(DhcParser *ps, DhcAstDeclKind kind, DhcSpan at, const char *name,
                           DhcSpan name_at) {
  DhcAstDecl *d = DHC_NEW(ps->cfg->arena, DhcAstDecl);
  d->kind = kind;
  d->span = at;
  d->name = (DhcAstName){name, name_at};
  return d;
}

DhcAstSetting *dhc_build_setting(DhcParser *ps, DhcSpan at, DhcAstName key, DhcAstNames *params,
                                 DhcAstExpr *value) {
  DhcAstSetting *s = DHC_NEW(ps->cfg->arena, DhcAstSetting);
  s->key = key;
  s->value = value;
  s->span = at;
  if (params) {
    s->has_params = true;
    s->params = *params;
    dhc_check_unique(ps, params->at, params->n, sizeof(DhcAstName), "parameter");
  }
  return s;
}

static void check_settings_unique(DhcParser *ps, const DhcAstSettings *s) {
  dhc_check_unique(ps, s->n ? &s->at[0].key : NULL, s->n, sizeof *s->at, "setting");
}

static void refuse_parameters(DhcParser *ps, const DhcAstSettings *s, const char *where) {
  for (int i = 0; i < s->n; i++)
    if (s->at[i].has_params)
      dhc_diag(ps->cfg->diags, DHC_ERROR, "E0213", s->at[i].span,
               "'%s' with parameters belongs to a recipe, not to a %s", s->at[i].key.text, where);
}

DhcAstVariant *dhc_build_variant(DhcParser *ps, DhcSpan at, DhcAstName name,
                                 DhcAstSettings *settings) {
  DhcAstVariant *v = DHC_NEW(ps->cfg->arena, DhcAstVariant);
  *v = (DhcAstVariant){name, *settings, at};
  refuse_parameters(ps, settings, "variant");
  check_settings_unique(ps, settings);
  return v;
}

void dhc_check_settings(DhcParser *ps, const DhcAstSettings *settings, bool is_recipe) {
  if (!is_recipe) refuse_parameters(ps, settings, "preset");
  check_settings_unique(ps, settings);
}

void dhc_check_fn_tail(DhcParser *ps, const void *already, DhcSpan at) {
  if (already)
    dhc_diag(ps->cfg->diags, DHC_ERROR, "E0205", at, "this attribute of the function stands twice");
}

/* ---- Types ---------------------------------------------------------------------- */

DhcAstType *dhc_build_type(DhcParser *ps, DhcSpan at, DhcAstTypeKind kind) {
  DhcAstType *t = DHC_NEW(ps->cfg->arena, DhcAstType);
  t->kind = kind;
  t->span = at;
  return t;
}

static const char *const dtype_names[] = {
#define DHC_DTYPE(id, name, bytes, kind) name,
#include "dhc/dtypes.def"
#undef DHC_DTYPE
    "any"};
#define N_DTYPE_NAMES ((int)(sizeof dtype_names / sizeof *dtype_names))

static bool is_dtype(const char *name) {
  for (int i = 0; i < N_DTYPE_NAMES; i++)
    if (strcmp(dtype_names[i], name) == 0) return true;
  return false;
}

DhcAstType *dhc_build_named_type(DhcParser *ps, DhcSpan at, const char *name) {
  static const char *const names[] = {"int", "float", "bool", "string", "list", "map",
                                      "layer", "enum"};
  static const DhcAstTypeKind kinds[] = {DHC_TY_INT,    DHC_TY_FLOAT, DHC_TY_BOOL,
                                         DHC_TY_STRING, DHC_TY_LIST,  DHC_TY_MAP};
  for (int i = 0; i < 6; i++)
    if (strcmp(names[i], name) == 0) return dhc_build_type(ps, at, kinds[i]);
  DhcDiags *diags = ps->cfg->diags;
  DhcDiag *d = dhc_diag(diags, DHC_ERROR, "E0207", at, "unknown type '%s'", name);
  const char *near = dhc_suggest(name, names, 8);
  if (is_dtype(name))
    dhc_diag_hint(diags, d, "a tensor type has a shape: %s[B, L], or %s[] for a scalar", name, name);
  else if (strcmp(name, "enum") == 0)
    dhc_diag_hint(diags, d, "list the values: enum(one, two)");
  else if (strcmp(name, "str") == 0)
    dhc_diag_hint(diags, d, "did you mean 'string'?");
  else if (near)
    dhc_diag_hint(diags, d, "did you mean '%s'?", near);
  else
    dhc_diag_hint(diags, d, "types are int, float, bool, string, enum(...), layer, list, map and "
                            "tensors such as [B, L] or i64[B]");
  return dhc_build_type(ps, at, DHC_TY_ERROR);
}

DhcAstType *dhc_build_enum_type(DhcParser *ps, DhcSpan at, const char *name, DhcSpan name_at,
                                DhcAstNames *values) {
  DhcDiags *diags = ps->cfg->diags;
  if (strcmp(name, "enum") != 0) {
    DhcDiag *d = dhc_diag(diags, DHC_ERROR, "E0207", name_at, "unknown type '%s'", name);
    dhc_diag_hint(diags, d, is_dtype(name) ? "a tensor's shape stands in square brackets"
                                           : "only enum(one, two) has values in parentheses");
    return dhc_build_type(ps, at, DHC_TY_ERROR);
  }
  DhcAstType *t = dhc_build_type(ps, at, DHC_TY_ENUM);
  t->values = *values;
  if (values->n == 0) dhc_diag(diags, DHC_ERROR, "E0207", at, "an enum needs at least one value");
  dhc_check_unique(ps, values->at, values->n, sizeof(DhcAstName), "value");
  return t;
}

DhcAstType *dhc_build_tensor_type(DhcParser *ps, DhcSpan at, DhcAstName dtype, DhcAstExpr *shape) {
  DhcAstType *t = dhc_build_type(ps, at, DHC_TY_TENSOR);
  t->shape = shape;
  t->has_dtype = dtype.text != NULL;
  t->dtype = dtype;
  if (t->has_dtype && !is_dtype(dtype.text)) {
    DhcDiags *diags = ps->cfg->diags;
    DhcDiag *d = dhc_diag(diags, DHC_ERROR, "E0207", dtype.span, "unknown element type '%s'",
                          dtype.text);
    const char *near = dhc_suggest(dtype.text, dtype_names, N_DTYPE_NAMES);
    if (strcmp(dtype.text, "int") == 0)
      dhc_diag_hint(diags, d, "write i64 or i32");
    else if (strcmp(dtype.text, "float") == 0)
      dhc_diag_hint(diags, d, "leave it out: a tensor without prefix holds floats");
    else if (near)
      dhc_diag_hint(diags, d, "did you mean '%s'?", near);
    else
      dhc_diag_hint(diags, d, "element types are f64 f32 bf16 i64 i32 i16 i8 u32 u16 u8 bool");
    t->kind = DHC_TY_ERROR;
  }
  return t;
}

DhcAstExpr *dhc_check_choices(DhcParser *ps, DhcAstExpr *range) {
  if (range->kind == DHC_EX_LIST) return range;
  DhcDiag *d = dhc_diag(ps->cfg->diags, DHC_ERROR, "E0210", range->span,
                        "expected a range or a list of choices after 'in'");
  dhc_diag_hint(ps->cfg->diags, d, "write in 1..64, in 1.. or in [1, 2, 4]");
  return dhc_build_expr(ps, DHC_EX_ERROR, range->span);
}

/* ---- Signatures -------------------------------------------------------------------- */

DhcAstSignature *dhc_build_signature(DhcParser *ps, DhcSpan at, DhcAstName name,
                                     DhcAstBinders *binders, DhcAstParams *inputs,
                                     DhcAstParams *outputs) {
  DhcAstSignature *sig = DHC_NEW(ps->cfg->arena, DhcAstSignature);
  sig->name = name;
  sig->binders = *binders;
  sig->inputs = *inputs;
  sig->outputs = *outputs;
  sig->span = at;
  dhc_check_unique(ps, binders->n ? &binders->at[0].name : NULL, binders->n, sizeof *binders->at,
                   "dim");
  dhc_check_unique(ps, inputs->n ? &inputs->at[0].name : NULL, inputs->n, sizeof *inputs->at,
                   "input");
  dhc_check_unique(ps, outputs->n ? &outputs->at[0].name : NULL, outputs->n, sizeof *outputs->at,
                   "output");
  return sig;
}

void dhc_check_signature(DhcParser *ps, const DhcAstSignature *sig, bool is_fn) {
  DhcDiags *diags = ps->cfg->diags;
  for (int i = 0; i < sig->inputs.n; i++) {
    const DhcAstParam *p = &sig->inputs.at[i];
    if (!is_fn && p->type.kind == DHC_TY_NONE && !p->default_value) {
      DhcDiag *d = dhc_diag(diags, DHC_ERROR, "E0208", p->span, "input '%s' needs a type",
                            p->name.text);
      dhc_diag_hint(diags, d, "write %s: [B, L]", p->name.text);
    } else if (!is_fn && (p->range || (p->default_value && p->type.kind != DHC_TY_TENSOR))) {
      const DhcAstExpr *what = p->default_value ? p->default_value : p->range;
      dhc_diag(diags, DHC_ERROR, "E0214", what->span, "input '%s' of an entry cannot have a %s",
               p->name.text, p->default_value ? "default" : "range");
    }
  }
  for (int i = 0; i < sig->outputs.n; i++) {
    const DhcAstParam *p = &sig->outputs.at[i];
    const DhcAstExpr *what = p->default_value ? p->default_value : p->range;
    if (what)
      dhc_diag(diags, DHC_ERROR, "E0214", what->span, "output '%s' cannot have a %s",
               p->name.text, p->default_value ? "default" : "range");
  }
}
