/* The plan of an entry that its target runs whole: one call of one kernel, whose operands are all parameters and
 * results, in order, each in a buffer of its own, and whose dims are the symbols. Floats lie as f64. */
#include "passes/plan/plan_internal.h"

typedef struct Whole {
  DhcFunc *f;
  DhcArena *arena;
  dhc_buffer *buffers;
  dhc_dtype *dtypes;
  const char **names;
  int n, last_io; /* buffers so far; the last one in IO, -1: none */
} Whole;

static dhc_dimprog program(const Whole *w, const DhcDim *d) {
  return dhc_dim_program(d, w->f->symbols.n, w->f->symbols.at, w->arena);
}

static DhcPlanTensor tensor(Whole *w, const char *name, const DhcParamInfo *info, const DhcType *t) {
  DhcDims *cx = w->f->module->dims;
  int b = w->n++;
  dhc_segment segment = info ? dhc_pl_segment(info) : DHC_SEGMENT_IO;
  w->names[b] = name;
  w->dtypes[b] = dhc_dtype_is_float(t->dtype) ? DHC_F64 : t->dtype;
  w->buffers[b] = (dhc_buffer){.segment = (int32_t)segment, .alias = -1,
                               .bytes = program(w, dhc_dim_mulc(cx, dhc_type_elements(cx, t), dhc_dtype_bytes(w->dtypes[b])))};
  if (segment == DHC_SEGMENT_IO) {
    int32_t *below = DHC_NEW(w->arena, int32_t);
    *below = w->last_io;
    w->buffers[b].below = below;
    w->buffers[b].n_below = w->last_io >= 0;
    w->last_io = b;
  }
  return (DhcPlanTensor){.name = name, .role = info && info->role != DHC_ROLE_PLAIN ? info->role : info ? DHC_ROLE_INPUT : DHC_ROLE_PLAIN,
                         .type = *t, .buffer = b};
}

static const dhc_item *call(const Whole *w) {
  dhc_item *item = DHC_NEW(w->arena, dhc_item);
  dhc_ref *refs = DHC_NEW_N(w->arena, dhc_ref, w->n + 1);
  dhc_dimprog *dims = DHC_NEW_N(w->arena, dhc_dimprog, w->f->symbols.n + 1);
  for (int i = 0; i < w->n; i++) refs[i].buffer = i;
  for (int s = 0; s < w->f->symbols.n; s++) dims[s] = program(w, dhc_dim_symbol(w->f->module->dims, w->f->symbols.at[s]));
  *item = (dhc_item){.kind = DHC_ITEM_CALL, .n_refs = w->n, .refs = refs, .n_dims = w->f->symbols.n, .dims = dims};
  return item;
}

DhcPlanned *dhc_plan_whole(DhcFunc *f, DhcArena *arena) {
  int n = f->params.n + f->results.n;
  Whole w = {.f = f, .arena = arena, .last_io = -1, .buffers = DHC_NEW_N(arena, dhc_buffer, n + 1), .dtypes = DHC_NEW_N(arena, dhc_dtype, n + 1),
             .names = DHC_NEW_N(arena, const char *, n + 1)};
  DhcPlanned *p = DHC_NEW(arena, DhcPlanned);
  p->n_params = f->params.n;
  p->n_results = f->results.n;
  p->params = DHC_NEW_N(arena, DhcPlanTensor, p->n_params + 1);
  p->results = DHC_NEW_N(arena, DhcPlanTensor, p->n_results + 1);
  for (int i = 0; i < p->n_params; i++) p->params[i] = tensor(&w, f->param_info.at[i].name, &f->param_info.at[i], &f->params.at[i]->type);
  for (int i = 0; i < p->n_results; i++) p->results[i] = tensor(&w, f->result_names.at[i], NULL, &f->results.at[i]->type);
  p->plan = (dhc_plan){.name = f->name, .symbols = f->symbols.at, .n_symbols = f->symbols.n, .buffers = w.buffers, .n_buffers = n,
                       .items = call(&w), .n_items = 1, .n_kernels = 1};
  p->dtypes = w.dtypes;
  p->names = w.names;
  p->n_calls = 1;
  return p;
}
