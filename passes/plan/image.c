/* An image's tables. */
#include "passes/plan/image.h"

#include <string.h>

typedef struct Build {
  const DhcImageRequest *rq;
  const DhcFunc *f;
  DhcArena *arena;
  dhc_image *im;
} Build;

static dhc_dimprog program(const Build *b, const DhcDim *d) {
  return dhc_dim_program(d, b->f->symbols.n, b->f->symbols.at, b->arena);
}

static int32_t stored(const Build *b, dhc_dtype t) {
  return (int32_t)(b->rq->wide && dhc_dtype_is_float(t) ? DHC_F64 : t);
}

/* ---- tensors ---------------------------------------------------------------------------- */

static int32_t range_named(const dhc_layout *l, const char *name) {
  for (int32_t i = 0; i < l->n_ranges; i++)
    if (!strcmp(l->ranges[i].name, name + 1)) return i; /* "$m" */
  return -1;
}

static double scalar_value(const DhcImageRequest *rq, const char *name) {
  for (int i = 0; i < rq->n_scalars; i++)
    if (!strcmp(rq->scalar_names[i], name)) return rq->scalar_values[i];
  return 0;
}

static void set_type(const Build *b, dhc_image_tensor *t, const DhcType *type) {
  DhcText text = {.arena = b->arena};
  dhc_type_print(type, &text);
  t->type = dhc_text_str(&text);
  t->dtype = stored(b, type->dtype);
  t->rank = type->rank;
  dhc_dimprog *dims = DHC_NEW_N(b->arena, dhc_dimprog, type->rank + 1);
  for (int d = 0; d < type->rank; d++) dims[d] = program(b, type->dim[d]);
  t->dims = dims;
}

static bool is_cotangent(const DhcParamInfo *info) {
  return !strncmp(info->name, DHC_PREFIX_COTANGENT, sizeof DHC_PREFIX_COTANGENT - 1);
}

static int n_cotangents(const DhcFunc *f) {
  int n = 0;
  for (int i = 0; i < f->params.n; i++) n += is_cotangent(&f->param_info.at[i]);
  return n;
}

static void set_role(const Build *b, dhc_image_tensor *t, const DhcParamInfo *info) {
  const DhcImageRequest *rq = b->rq;
  t->place = -1;
  switch (info->role) {
    case DHC_ROLE_WEIGHT:
    case DHC_ROLE_BUFFER:
    case DHC_ROLE_TABLE:
    case DHC_ROLE_STATE:
      t->place = info->decl;
      t->role = rq->layout->slots[info->decl].role;
      return;
    case DHC_ROLE_FLAT:
      t->role = DHC_IMAGE_RANGE;
      t->place = range_named(rq->layout, info->name);
      return;
    case DHC_ROLE_SCALAR:
      t->role = DHC_IMAGE_SCALAR;
      t->value = scalar_value(rq, info->name);
      return;
    case DHC_ROLE_INPUT:
    case DHC_ROLE_PLAIN:
      t->role = DHC_IMAGE_INPUT;
      if (!is_cotangent(info)) return;
      t->absent = t->rank == 0 && (n_cotangents(b->f) == 1 || !strcmp(info->name, DHC_PREFIX_COTANGENT DHC_RESULT_LOSS)) ? DHC_ABSENT_ONES : DHC_ABSENT_ZEROS;
      return;
  }
}

static void add_tensors(Build *b) {
  const DhcFunc *f = b->f;
  dhc_image *im = b->im;
  im->n_params = f->params.n;
  im->n_results = f->results.n;
  dhc_image_tensor *all = DHC_NEW_N(b->arena, dhc_image_tensor, f->params.n + f->results.n + 1);
  dhc_require *requires = DHC_NEW_N(b->arena, dhc_require, f->results.n + 1);
  im->finite = -1;
  for (int i = 0; i < f->params.n; i++) {
    all[i].name = f->param_info.at[i].name;
    set_type(b, &all[i], &f->params.at[i]->type);
    set_role(b, &all[i], &f->param_info.at[i]);
  }
  for (int i = 0; i < f->results.n; i++) {
    dhc_image_tensor *t = &all[f->params.n + i];
    const char *name = f->result_names.at[i] ? f->result_names.at[i] : "";
    *t = (dhc_image_tensor){.name = name, .role = DHC_IMAGE_RESULT, .place = -1};
    set_type(b, t, &f->results.at[i]->type);
    if (b->rq->trains && !strcmp(name, DHC_RESULT_FINITE)) im->finite = i;
    if (!strncmp(name, DHC_PREFIX_REQUIRE, sizeof DHC_PREFIX_REQUIRE - 1))
      requires[im->n_requires++] = (dhc_require){f->params.n + i, name + sizeof DHC_PREFIX_REQUIRE - 1};
  }
  im->tensors = all;
  im->requires = requires;
}

/* ---- symbols ------------------------------------------------------------------------------ */

/* The only symbol of d that is not known yet, as an index; -1: none or several. */
static int only_unknown(const Build *b, const DhcDim *d, const bool *known) {
  const char *names[64];
  int n = dhc_dim_symbols(d, names, 64), found = -1;
  for (int i = 0; i < n; i++)
    for (int s = 0; s < b->f->symbols.n; s++) {
      if (strcmp(b->f->symbols.at[s], names[i]) || known[s] || s == found) continue;
      if (found >= 0) return -1;
      found = s;
    }
  return found;
}

static const DhcDim *at_number(const Build *b, const DhcDim *d, int symbol, int64_t x) {
  DhcDims *cx = b->f->module->dims;
  const DhcDim *to = dhc_dim_const(cx, x);
  return dhc_dim_subst(cx, d, 1, &b->f->symbols.at[symbol], &to);
}

/* d = slope * symbol + rest, both over the known symbols; false where d is not linear in it. */
static bool linear(const Build *b, const DhcDim *d, int symbol, const DhcDim **slope, const DhcDim **rest) {
  DhcDims *cx = b->f->module->dims;
  const DhcDim *sym = dhc_dim_symbol(cx, b->f->symbols.at[symbol]);
  *rest = at_number(b, d, symbol, 0);
  *slope = dhc_dim_sub(cx, at_number(b, d, symbol, 1), *rest);
  return dhc_dim_add(cx, dhc_dim_mul(cx, *slope, sym), *rest) == d;
}

/* (extent - rest) // slope; what leaves a remainder is found when the extent is computed back. */
static dhc_dimprog solved(const Build *b, const DhcDim *slope, const DhcDim *rest) {
  dhc_dimprog r = program(b, rest), s = program(b, slope);
  int64_t *code = DHC_NEW_N(b->arena, int64_t, r.n_code + s.n_code + 8);
  int n = 0;
  code[n++] = DHC_DIM_SYM;
  code[n++] = b->f->symbols.n;
  if (r.n_code) memcpy(code + n, r.code, sizeof *code * (size_t)r.n_code);
  n += r.n_code;
  if (r.n_code) code[n++] = DHC_DIM_SUB;
  memcpy(code + n, s.code, sizeof *code * (size_t)s.n_code);
  n += s.n_code;
  code[n++] = DHC_DIM_FLOORDIV;
  return (dhc_dimprog){code, n};
}

/* An extent may tell a symbol only when another one is known: twice over all of them. */
static void add_equations(Build *b) {
  const DhcFunc *f = b->f;
  bool *known = DHC_NEW_N(b->arena, bool, f->symbols.n + 1);
  dhc_equation *e = DHC_NEW_N(b->arena, dhc_equation, f->symbols.n + 1);
  int n = 0;
  for (int round = 0; round < 2; round++)
    for (int i = 0; i < f->params.n; i++) {
      const DhcType *t = &f->params.at[i]->type;
      if (b->im->tensors[i].role != DHC_IMAGE_INPUT || b->im->tensors[i].absent) continue;
      for (int d = 0; d < t->rank; d++) {
        const DhcDim *slope, *rest;
        int s = only_unknown(b, t->dim[d], known);
        if (s < 0 || !linear(b, t->dim[d], s, &slope, &rest)) continue;
        known[s] = true;
        e[n++] = (dhc_equation){s, i, d, solved(b, slope, rest)};
      }
    }
  b->im->equations = e;
  b->im->n_equations = n;
}

/* ---- the whole ------------------------------------------------------------------------------ */

dhc_image *dhc_image_begin(const DhcImageRequest *rq, DhcArena *arena) {
  const DhcFunc *f = rq->func;
  Build b = {.rq = rq, .f = f, .arena = arena, .im = DHC_NEW(arena, dhc_image)};
  b.im->version = DHC_ABI_VERSION;
  b.im->layout = *rq->layout;
  b.im->plan = (dhc_plan){.name = f->name, .symbols = f->symbols.at, .n_symbols = f->symbols.n};
  add_tensors(&b);
  add_equations(&b);
  b.im->plan.guards = dhc_entry_guards(f, rq->name, arena, &b.im->plan.n_guards);
  dhc_scalar *scalars = DHC_NEW_N(arena, dhc_scalar, rq->n_scalars + 1);
  for (int i = 0; i < rq->n_scalars; i++) scalars[i] = (dhc_scalar){rq->scalar_names[i], rq->scalar_values[i]};
  b.im->scalars = scalars;
  b.im->n_scalars = rq->n_scalars;
  b.im->update.average = b.im->update.loss = b.im->update.norm = -1;
  if (rq->reset) dhc_image_add_begins(b.im, rq->reset, arena);
  if (rq->trains && rq->optimizer) b.im->update = dhc_image_update(b.im, rq->optimizer, arena);
  if (rq->source) b.im->index_checks = dhc_index_checks(rq->source, f, arena, &b.im->n_index_checks);
  return b.im;
}

static dhc_image_tensor *tensors_of(dhc_image *im) {
  return (dhc_image_tensor *)(uintptr_t)im->tensors; /* made here */
}

void dhc_image_add_plan(dhc_image *im, const DhcPlanned *planned, DhcArena *arena) {
  dhc_image_tensor *t = tensors_of(im);
  dhc_plan plan = planned->plan;
  plan.guards = im->plan.guards;
  plan.n_guards = im->plan.n_guards;
  im->plan = plan;
  im->kernels = DHC_NEW_N(arena, dhc_kernel, plan.n_kernels + 1);
  for (int i = 0; i < planned->n_params; i++) t[i].buffer = planned->params[i].buffer;
  for (int i = 0; i < planned->n_results; i++) t[planned->n_params + i].buffer = planned->results[i].buffer;
  dhc_panel *panels = DHC_NEW_N(arena, dhc_panel, planned->n_panels + 1);
  for (int i = 0; i < planned->n_panels; i++) {
    const DhcPlanPanel *x = &planned->panels[i];
    panels[i] = (dhc_panel){x->param, x->buffer, x->width, x->matrices, x->rows, x->cols, (int32_t)x->tag};
  }
  im->panels = panels;
  im->n_panels = planned->n_panels;
}
