/* Running an entry with the reference interpreter, in float64. */
#include "api/api.h"

/* `dim`: of a state, NULL: those of the type. */
static DhcArray *from_memory(DhcArena *a, dhc_dtype stored, const DhcType *type, const int64_t *dims, const void *at) {
  int64_t dim[DHC_MAX_RANK];
  for (int i = 0; i < type->rank; i++)
    if (dims)
      dim[i] = dims[i];
    else if (!dhc_dim_is_const(type->dim[i], &dim[i]))
      return NULL;
  DhcArray *v = dhc_array_new(a, type->dtype, type->rank, dim);
  if (v->f)
    dhc_tensor_convert(v->f, DHC_F64, at, (int32_t)stored, v->n);
  else
    dhc_tensor_convert(v->i, DHC_I64, at, (int32_t)stored, v->n);
  return v;
}

static DhcArray *from_tensor(DhcArena *a, dhc_dtype as, const dhc_tensor *t) {
  DhcArray *v = dhc_array_new(a, as, t->rank, t->dim);
  if (v->f)
    dhc_tensor_convert(v->f, DHC_F64, t->data, (int32_t)t->dtype, v->n);
  else
    dhc_tensor_convert(v->i, DHC_I64, t->data, (int32_t)t->dtype, v->n);
  return v;
}

/* Where a persistent parameter lives. */
static void *place_of(dhc_program *p, const DhcFunc *f, int i, dhc_dtype *stored) {
  const DhcParamInfo *info = &f->param_info.at[i];
  Memory *mem = &p->mem;
  void *weights = p->ema_weights ? p->ema_weights : mem->weights;
  *stored = dhc_dtype_is_float(f->params.at[i]->type.dtype) ? DHC_F64 : f->params.at[i]->type.dtype;
  if (info->role == DHC_ROLE_ARENA) {
    if (!strcmp(info->name, "$w")) return weights;
    int64_t at = memory_arena_offset(mem, info->name);
    return at < 0 ? NULL : (char *)mem->opt + at;
  }
  const Slot *s = &mem->place.slots[info->decl];
  if (info->role == DHC_ROLE_PARAM) return (char *)weights + (size_t)s->offset * mem->float_bytes;
  return (char *)(info->role == DHC_ROLE_STATE ? mem->recurrent : mem->state) + s->offset;
}

/* The cotangent of a result when none is given: 1 for a scalar loss, else 0. */
static DhcArray *default_cotangent(dhc_program *p, const DhcFunc *f, int i, const DhcArray *const *args) {
  const DhcType *t = &f->params.at[i]->type;
  int64_t values[32] = {0}, dim[DHC_MAX_RANK];
  bool bound[32] = {false};
  for (int k = 0; k < f->params.n; k++)
    for (int d = 0; args[k] && d < args[k]->rank; d++) {
      bool unbound;
      dhc_dim_unify(f->params.at[k]->type.dim[d], args[k]->dim[d], f->symbols.n, f->symbols.at, values, bound, &unbound);
    }
  for (int d = 0; d < t->rank; d++)
    if (!dhc_dim_eval(t->dim[d], f->symbols.n, f->symbols.at, values, &dim[d])) dim[d] = 1;
  DhcArray *v = dhc_array_new(&p->run, t->dtype, t->rank, dim);
  if (t->rank == 0 && !strcmp(f->param_info.at[i].name, "cotangent.loss")) v->f[0] = 1;
  return v;
}

static dhc_status make_args(dhc_program *p, const DhcFunc *f, const dhc_tensor *const *in, const DhcArray **args) {
  for (int i = 0; i < f->params.n; i++) {
    const DhcParamInfo *info = &f->param_info.at[i];
    const DhcType *t = &f->params.at[i]->type;
    args[i] = NULL;
    if (info->role == DHC_ROLE_INPUT) {
      if (in[i]) args[i] = from_tensor(&p->run, t->dtype, in[i]);
      continue;
    }
    if (info->role == DHC_ROLE_SCALAR) {
      double *v = memory_scalar(&p->mem, info->name);
      if (!v) return dhc_status_make(DHC_E_USAGE, "more than %d scalars", API_MAX_SCALARS);
      DhcArray *a = dhc_array_new(&p->run, t->dtype, 0, NULL);
      if (a->f)
        a->f[0] = *v;
      else
        a->i[0] = dhc_dtype_from_double(t->dtype, *v);
      args[i] = a;
      continue;
    }
    dhc_dtype stored;
    void *at = place_of(p, f, i, &stored);
    if (!at) return dhc_status_memory(0, info->name);
    const int64_t *dims = info->role == DHC_ROLE_STATE ? p->mem.place.slots[info->decl].dim : NULL;
    args[i] = from_memory(&p->run, stored, t, dims, at);
    if (!args[i]) return dhc_status_make(DHC_E_INPUT, "'%s' has no fixed size", info->name);
  }
  for (int i = 0; i < f->params.n; i++)
    if (!args[i]) args[i] = default_cotangent(p, f, i, args);
  return dhc_status_ok();
}

static void store_back(dhc_program *p, const DhcFunc *f, DhcArray *const *updated) {
  for (int i = 0; i < f->params.n; i++) {
    if (!updated[i]) continue;
    dhc_dtype stored;
    void *at = place_of(p, f, i, &stored);
    const DhcArray *v = updated[i];
    if (v->f)
      dhc_tensor_convert(at, (int32_t)stored, v->f, DHC_F64, v->n);
    else
      dhc_tensor_convert(at, (int32_t)stored, v->i, DHC_I64, v->n);
  }
}

static dhc_tensor to_tensor(DhcArena *a, const char *name, const DhcArray *v) {
  dhc_tensor t = {.name = name, .dtype = v->f ? DHC_F64 : v->dtype, .rank = v->rank};
  memcpy(t.dim, v->dim, sizeof t.dim);
  if (v->f) {
    t.data = v->f;
  } else {
    t.data = dhc_arena_alloc(a, (size_t)(v->n * dhc_dtype_bytes(v->dtype)) + 8);
    dhc_array_to_bytes(v, t.data);
  }
  return t;
}

dhc_status exec_interp_run(dhc_program *p, Entry *e, Version *v, const dhc_tensor *const *in) {
  const DhcFunc *f = v->func;
  dhc_arena_reset(&p->run);
  const DhcArray **args = DHC_NEW_N(&p->run, const DhcArray *, f->params.n + 1);
  DHC_TRY(make_args(p, f, in, args));
  DhcArray **results = DHC_NEW_N(&p->run, DhcArray *, f->results.n + 1);
  DhcArray **updated = DHC_NEW_N(&p->run, DhcArray *, f->params.n + 1);
  if (!dhc_interp_run(&p->run, &p->m->s->diags, f, args, results, updated)) return session_errors(p->m->s);
  store_back(p, f, updated);
  e->results = DHC_NEW_N(&p->run, dhc_tensor, f->results.n + 1);
  e->n_results = f->results.n;
  for (int i = 0; i < f->results.n; i++) e->results[i] = to_tensor(&p->run, f->result_names.at[i], results[i]);
  return dhc_status_ok();
}
