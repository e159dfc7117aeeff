/* Running a compiled entry: bind its plan to sizes (cached), put inputs and scalars in
 * place, run the items, say where the results lie. */
#include <stdlib.h>

#include "api/api.h"

enum { MAX_BOUND = 8 };

typedef struct Bound {
  int64_t *symbols;
  DhcBound *bound;
  struct Bound *next;
} Bound;

/* Growable memory that all versions of a program share. */
typedef struct ExecCpu {
  void *work, *io, *scratch, *scalars, *grads;
  int64_t work_bytes, io_bytes, scratch_bytes, grads_bytes;
} ExecCpu;

enum { SCALAR_BYTES = 8 };

static dhc_status need(void **at, int64_t *have, int64_t bytes, const char *what) {
  if (bytes <= *have && *at) return dhc_status_ok();
  dhc_aligned_free(*at);
  *have = 0;
  *at = dhc_aligned_alloc(bytes ? bytes : 64);
  if (!*at) return dhc_status_memory((long long)bytes, what);
  *have = bytes;
  return dhc_status_ok();
}

static dhc_status cpu_state(dhc_program *p, ExecCpu **out) {
  if (!p->cpu) {
    p->cpu = calloc(1, sizeof *p->cpu);
    if (!p->cpu) return dhc_status_memory((long long)sizeof *p->cpu, "a program");
    p->cpu->scalars = dhc_aligned_alloc(SCALAR_BYTES * API_MAX_SCALARS);
    if (!p->cpu->scalars) return dhc_status_memory(SCALAR_BYTES * API_MAX_SCALARS, "scalars");
  }
  *out = p->cpu;
  return dhc_status_ok();
}

static dhc_dimprog constant(DhcArena *a, int64_t v) {
  int64_t *code = DHC_NEW_N(a, int64_t, 2);
  code[0] = DHC_DIM_CONST;
  code[1] = v;
  return (dhc_dimprog){code, 2};
}

/* Byte offset of a persistent parameter in its arena of this program; -1: not persistent. */
static int64_t place_in_arena(dhc_program *p, const DhcFunc *f, int i) {
  const DhcParamInfo *info = &f->param_info.at[i];
  Memory *mem = &p->mem;
  switch (info->role) {
    case DHC_ROLE_PARAM: return mem->place.slots[info->decl].offset * (int64_t)mem->float_bytes;
    case DHC_ROLE_BUFFER:
    case DHC_ROLE_TABLE:
    case DHC_ROLE_STATE: return mem->place.slots[info->decl].offset;
    case DHC_ROLE_ARENA: {
      return memory_arena_offset(mem, info->name);
    }
    case DHC_ROLE_SCALAR: {
      const double *s = memory_scalar(mem, info->name);
      return s ? (s - mem->scalars) * SCALAR_BYTES : -1;
    }
    default: return -1;
  }
}

static void forget_bounds(Version *v) {
  while (v->bound) {
    Bound *b = v->bound;
    v->bound = b->next;
    dhc_bound_free(b->bound);
    free(b->symbols);
    free(b);
  }
}

/* Moves the plan's persistent buffers to this program's places; states anew whenever they have
 * moved, which no earlier binding knows. */
static dhc_status place_buffers(dhc_program *p, Version *v) {
  if (v->placed && v->layout == p->mem.layout) return dhc_status_ok();
  DhcArena *a = &p->m->s->arena;
  dhc_plan *plan = &v->planned->plan;
  dhc_buffer *b = v->placed ? v->places : dhc_arena_dup(a, plan->buffers, sizeof *b * (size_t)plan->n_buffers);
  for (int i = 0; i < v->func->params.n; i++) {
    int k = v->planned->params[i].buffer;
    DhcRole role = v->func->param_info.at[i].role;
    if (k < 0 || role == DHC_ROLE_INPUT || (v->placed && role != DHC_ROLE_STATE)) continue;
    int64_t at = place_in_arena(p, v->func, i);
    if (at < 0) return dhc_status_make(DHC_E_ENVIRONMENT, "no place for '%s'", v->func->param_info.at[i].name);
    b[k].alias = -1;
    b[k].n_below = 0;
    b[k].at = constant(a, at);
  }
  if (v->placed) forget_bounds(v);
  plan->buffers = v->places = b;
  v->placed = true;
  v->layout = p->mem.layout;
  return dhc_status_ok();
}

static dhc_status bind(dhc_program *p, Version *v, const int64_t *values, Bound **out) {
  int n = v->func->symbols.n;
  Bound **link = &v->bound;
  int depth = 0;
  for (; *link; link = &(*link)->next, depth++) {
    Bound *b = *link;
    if (memcmp(b->symbols, values, sizeof *values * (size_t)n)) continue;
    *link = b->next; /* newest first */
    b->next = v->bound;
    *out = v->bound = b;
    return dhc_status_ok();
  }
  Bound *b = calloc(1, sizeof *b);
  int64_t *copy = calloc((size_t)n + 1, sizeof *copy);
  if (!b || !copy) {
    free(b);
    free(copy);
    return dhc_status_memory((long long)sizeof *b, "a binding");
  }
  memcpy(copy, values, sizeof *values * (size_t)n);
  b->symbols = copy;
  dhc_status st = dhc_plan_bind(&v->planned->plan, v->kernel_ptrs, values, dhc_pool_threads(p->m->s->pool), &b->bound);
  if (st.code != DHC_OK) {
    free(copy);
    free(b);
    return st;
  }
  b->next = v->bound;
  *out = v->bound = b;
  for (link = &v->bound, depth = 0; *link; depth++) { /* forget the oldest */
    Bound *old = *link;
    if (depth < MAX_BOUND) {
      link = &old->next;
      continue;
    }
    *link = old->next;
    dhc_bound_free(old->bound);
    free(old->symbols);
    free(old);
  }
  return dhc_status_ok();
}

static void *buffer_at(void *const *base, const Version *v, const DhcBound *b, int buffer) {
  return (char *)base[v->planned->plan.buffers[buffer].arena] + dhc_bound_buffer_offset(b, buffer);
}

static void fill_ones(void *at, dhc_dtype t, int64_t n) {
  double one = 1;
  for (int64_t i = 0; i < n; i++) dhc_tensor_convert((char *)at + i * dhc_dtype_bytes(t), (int32_t)t, &one, DHC_F64, 1);
}

static void put_inputs(dhc_program *p, Version *v, const dhc_tensor *const *in, void *const *base, const DhcBound *b) {
  const DhcFunc *f = v->func;
  for (int i = 0; i < f->params.n; i++) {
    int k = v->planned->params[i].buffer;
    if (k < 0) continue;
    const DhcParamInfo *info = &f->param_info.at[i];
    dhc_dtype t = f->params.at[i]->type.dtype;
    void *at = buffer_at(base, v, b, k);
    if (info->role == DHC_ROLE_SCALAR) {
      dhc_tensor_convert(at, (int32_t)t, memory_scalar(&p->mem, info->name), DHC_F64, 1);
    } else if (info->role == DHC_ROLE_INPUT && in[i]) {
      int64_t n = dhc_tensor_elements(in[i]);
      if (in[i]->dtype == t)
        memcpy(at, in[i]->data, (size_t)(n * dhc_dtype_bytes(t)));
      else
        dhc_tensor_convert(at, (int32_t)t, in[i]->data, (int32_t)in[i]->dtype, n);
    } else if (info->role == DHC_ROLE_INPUT) { /* a cotangent nobody gave */
      int64_t bytes = dhc_bound_buffer_bytes(b, k);
      memset(at, 0, (size_t)bytes);
      if (f->params.at[i]->type.rank == 0 && !strcmp(info->name, "cotangent.loss")) fill_ones(at, t, 1);
    }
  }
}

static dhc_status describe_results(dhc_program *p, Entry *e, Version *v, void *const *base, const DhcBound *b) {
  const DhcFunc *f = v->func;
  if (!v->results) v->results = DHC_NEW_N(&p->arena, dhc_tensor, f->results.n + 1);
  e->results = v->results;
  e->n_results = f->results.n;
  for (int i = 0; i < f->results.n; i++) {
    const DhcPlanTensor *r = &v->planned->results[i];
    dhc_tensor *t = &e->results[i];
    *t = (dhc_tensor){.name = f->result_names.at[i], .dtype = r->type.dtype, .rank = r->type.rank};
    for (int d = 0; d < t->rank; d++)
      if (!dhc_dim_eval(r->type.dim[d], f->symbols.n, f->symbols.at, v->bound->symbols, &t->dim[d]))
        return dhc_status_make(DHC_E_INPUT, "result '%s' has no size", t->name);
    t->data = buffer_at(base, v, b, r->buffer);
  }
  return dhc_status_ok();
}

/* ---- profile ---------------------------------------------------------------- */

static void add_time(void *ctx, int32_t item, int64_t begin_ns, int64_t end_ns) {
  dhc_program *p = ctx;
  if (item >= p->n_profile) return;
  p->profile[item].ms += (double)(end_ns - begin_ns) * 1e-6;
  p->profile[item].runs++;
}

/* Rows for the plan's items, made when an entry runs for the first time while it is on. */
static void name_rows(dhc_program *p, const Version *v) {
  const dhc_plan *plan = &v->planned->plan;
  if (p->n_profile == plan->n_items) return;
  p->n_profile = plan->n_items;
  p->profile = DHC_NEW_N(&p->arena, dhc_profile_row, plan->n_items + 1);
  for (int i = 0; i < plan->n_items; i++) {
    const dhc_item *it = &plan->items[i];
    static const char *const names[] = {[DHC_ITEM_CALL] = "", [DHC_ITEM_COPY] = "copy", [DHC_ITEM_FILL] = "fill", [DHC_ITEM_LOOP] = "loop"};
    p->profile[i] = (dhc_profile_row){.kernel = it->kind == DHC_ITEM_CALL ? v->kernels[it->kernel].name : names[it->kind],
                                      .label = it->label ? it->label : ""};
  }
}

void dhc_program_profile(dhc_program *p, bool on) {
  if (!p) return;
  p->profiling = on;
  if (on) p->n_profile = 0;
}

int dhc_program_profile_rows(const dhc_program *p) {
  return p ? p->n_profile : 0;
}

dhc_profile_row dhc_program_profile_row(const dhc_program *p, int i) {
  return i < 0 || i >= dhc_program_profile_rows(p) ? (dhc_profile_row){0} : p->profile[i];
}

/* ---- packed weights ------------------------------------------------------------ */

/* Packs the entry's weights anew if they may have changed since the last run. */
static dhc_status prepare(dhc_program *p, Version *v, const DhcBound *b, void **base) {
  const DhcPlanned *pl = v->planned;
  if (!pl->n_panels) return dhc_status_ok();
  if (!v->panels) {
    int64_t bytes = dhc_bound_arena_bytes(b, DHC_ARENA_PANELS);
    v->panels = dhc_aligned_alloc(bytes);
    if (!v->panels) return dhc_status_memory((long long)bytes, "packed weights");
    v->packed_from = NULL;
  }
  base[DHC_ARENA_PANELS] = v->panels;
  if (v->packed_from == base[DHC_ARENA_WEIGHTS] && v->packed == p->weights_version) return dhc_status_ok();
  for (int i = 0; i < pl->n_panels; i++) {
    const DhcPlanPanel *x = &pl->panels[i];
    const char *from = (const char *)base[DHC_ARENA_WEIGHTS] + place_in_arena(p, v->func, x->param);
    float *to = buffer_at(base, v, b, x->buffer);
    int64_t each = dhc_tag_elements(x->tag, x->width, x->rows, x->cols);
    for (int64_t k = 0; k < x->matrices; k++)
      dhc_tag_pack(x->tag, x->width, x->rows, x->cols, (const float *)(const void *)from + k * x->rows * x->cols, to + k * each);
  }
  v->packed_from = base[DHC_ARENA_WEIGHTS];
  v->packed = p->weights_version;
  return dhc_status_ok();
}

/* Before any of it is allocated. */
static dhc_status charge(dhc_program *p, const Version *v, const DhcBound *b) {
  DhcCharge c = {{0}};
  c.bytes[DHC_USE_WORK] = dhc_bound_arena_bytes(b, DHC_ARENA_WORK);
  c.bytes[DHC_USE_IO] = dhc_bound_arena_bytes(b, DHC_ARENA_IO);
  c.bytes[DHC_USE_GRADIENTS] = dhc_bound_arena_bytes(b, DHC_ARENA_GRADS);
  c.bytes[DHC_USE_SCRATCH] = dhc_bound_scratch_bytes(b);
  c.bytes[DHC_USE_PANELS] = dhc_bound_arena_bytes(b, DHC_ARENA_PANELS);
  return budget_run(p, v, &c, v->planned->n_panels && !v->panels);
}

dhc_status exec_cpu_run(dhc_program *p, Entry *e, Version *v, const dhc_tensor *const *in, const int64_t *values) {
  dhc_session *s = p->m->s;
  ExecCpu *x = NULL;
  double t0 = session_now_ms();
  bool first = !v->kernels;
  DHC_TRY(cpu_state(p, &x));
  DHC_TRY(pipeline_compile(p->m, v));
  if (first) s->stats.compile_ms += session_now_ms() - t0;
  Bound *b = NULL;
  DHC_TRY(place_buffers(p, v));
  DHC_TRY(bind(p, v, values, &b));
  DHC_TRY(charge(p, v, b->bound));
  DHC_TRY(need(&x->work, &x->work_bytes, dhc_bound_arena_bytes(b->bound, DHC_ARENA_WORK), "workspace"));
  DHC_TRY(need(&x->io, &x->io_bytes, dhc_bound_arena_bytes(b->bound, DHC_ARENA_IO), "inputs and outputs"));
  DHC_TRY(need(&x->grads, &x->grads_bytes, dhc_bound_arena_bytes(b->bound, DHC_ARENA_GRADS), "gradients"));
  DHC_TRY(need(&x->scratch, &x->scratch_bytes, dhc_bound_scratch_bytes(b->bound), "scratch"));
  void *base[DHC_N_ARENAS] = {0};
  base[DHC_ARENA_WEIGHTS] = p->ema_weights ? p->ema_weights : p->mem.weights;
  base[DHC_ARENA_GRADS] = x->grads;
  base[DHC_ARENA_OPT] = p->mem.opt;
  base[DHC_ARENA_STATE] = p->mem.state;
  base[DHC_ARENA_RECURRENT] = p->mem.recurrent;
  base[DHC_ARENA_WORK] = x->work;
  base[DHC_ARENA_IO] = x->io;
  base[DHC_ARENA_SCALARS] = x->scalars;
  DHC_TRY(prepare(p, v, b->bound, base));
  put_inputs(p, v, in, base, b->bound);
  if (v->mode == DHC_MODE_TRAIN) p->weights_version++;
  if (p->profiling) name_rows(p, v);
  const DhcItemHook hook = {p, add_time};
  DhcDevicePtr at[DHC_N_ARENAS];
  for (int a = 0; a < DHC_N_ARENAS; a++) at[a] = (DhcDevicePtr)(uintptr_t)base[a];
  DHC_TRY(dhc_bound_run(b->bound, s->device, at, (DhcDevicePtr)(uintptr_t)x->scratch, p->profiling ? &hook : NULL));
  return describe_results(p, e, v, base, b->bound);
}

void exec_cpu_close(dhc_program *p) {
  for (int i = 0; i < p->n_entries; i++)
    for (Version *v = p->entries[i].versions; v; v = v->next) {
      dhc_aligned_free(v->panels);
      v->panels = NULL;
      forget_bounds(v);
    }
  if (!p->cpu) return;
  dhc_aligned_free(p->cpu->work);
  dhc_aligned_free(p->cpu->io);
  dhc_aligned_free(p->cpu->grads);
  dhc_aligned_free(p->cpu->scratch);
  dhc_aligned_free(p->cpu->scalars);
  free(p->cpu);
}

dhc_memory exec_cpu_memory(const dhc_program *p, const Version *v) {
  dhc_memory m = {0};
  if (!v->bound || !p->cpu) return m;
  const DhcBound *b = v->bound->bound;
  const ExecCpu *x = p->cpu;
  m.weights = (int64_t)p->mem.float_bytes * p->mem.place.n_weights;
  m.weights += dhc_bound_arena_bytes(b, DHC_ARENA_PANELS);
  m.grads = dhc_bound_arena_bytes(b, DHC_ARENA_GRADS);
  m.optimizer = p->mem.n_states ? memory_begun_bytes(&p->mem) + memory_state_bytes(&p->mem) * p->mem.n_states : 0;
  m.state = p->mem.place.state_bytes + p->mem.recurrent_bytes;
  m.work = dhc_bound_arena_bytes(b, DHC_ARENA_WORK);
  m.io = dhc_bound_arena_bytes(b, DHC_ARENA_IO);
  m.scratch = dhc_bound_scratch_bytes(b);
  m.planned = m.weights + m.grads + m.optimizer + m.state + m.work + m.io + m.scratch + SCALAR_BYTES * API_MAX_SCALARS;
  m.allocated = m.weights + x->grads_bytes + m.optimizer + m.state + x->work_bytes + x->io_bytes + x->scratch_bytes +
                SCALAR_BYTES * API_MAX_SCALARS;
  return m;
}
