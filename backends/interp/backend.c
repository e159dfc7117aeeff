/* The interpreter's row: no compiler; a device in the host's memory whose only kind of kernel is a
 * whole entry, run in float64. Its code is the entry's text. Floats lie as f64, everything else as it is. */
#include <stdlib.h>

#include "backends/backend.h"
#include "ir/interp.h"
#include "runtime/plan.h"
#include "runtime/tensor.h"

typedef struct Interp {
  DhcHostDevice host;
  DhcDeviceOps ops; /* the host's but for code */
  DhcArena code;    /* functions, until the device closes */
  DhcArena values;  /* of one run, with what is said of it */
} Interp;

static void interp_close(DhcDevice *d) {
  Interp *x = (Interp *)(void *)d;
  dhc_arena_fini(&x->code);
  dhc_arena_fini(&x->values);
  dhc_host_device_ops.close(d);
}

/* The first error, as a status. */
static dhc_status said(const DhcDiags *diags, const char *what) {
  const DhcDiag *first = NULL;
  for (int i = 0; i < diags->all.n && !first; i++)
    if (diags->all.at[i]->severity == DHC_ERROR) first = diags->all.at[i];
  dhc_status st = {.code = DHC_E_INPUT};
  snprintf(st.message, sizeof st.message, "%s: %s", what, first ? first->text : "it does not run");
  return st;
}

/* A handle is the function's address: a function pointer has no integer conversion in C. */
static dhc_status interp_load(DhcDevice *d, const void *code, size_t n_bytes, const char *const *names, int n, dhc_kernel_fn *fn) {
  Interp *x = (Interp *)(void *)d;
  DhcArena *a = &x->code;
  DhcSources sources = {.arena = a};
  DhcStrings strings = {.arena = a};
  DhcDiags diags = {.arena = a, .sources = &sources};
  if (n != 1) return (dhc_status){DHC_E_USAGE, "the interpreter takes one entry at a time"};
  uint32_t file = dhc_sources_add(&sources, names[0], names[0], dhc_arena_strndup(a, code, n_bytes), n_bytes);
  DhcModule *m = dhc_module_parse(a, &strings, &diags, file);
  bool ok = m && m->funcs.n && dhc_verify(m, DHC_STAGE_GRAPH, "load");
  if (!ok) return said(&diags, "the interpreter takes entries as text");
  uintptr_t at = (uintptr_t)m->funcs.at[m->funcs.n - 1];
  memcpy(fn, &at, sizeof at);
  return (dhc_status){0};
}

static void *host(DhcDevicePtr at) { return (void *)(uintptr_t)at; }

static int32_t stored(const DhcValue *v) { return (int32_t)(dhc_dtype_is_float(v->type.dtype) ? DHC_F64 : v->type.dtype); }

static DhcArray *array_at(Interp *x, const DhcFunc *f, const DhcValue *p, const int64_t *symbols, DhcDevicePtr at) {
  int64_t dim[DHC_MAX_RANK] = {0};
  for (int d = 0; d < p->type.rank; d++)
    if (!dhc_dim_eval(p->type.dim[d], f->symbols.n, f->symbols.at, symbols, &dim[d])) DHC_BUG("@%s: a parameter was bound to no size", f->name);
  DhcArray *v = dhc_array_new(&x->values, p->type.dtype, p->type.rank, dim);
  if (v->f)
    dhc_tensor_convert(v->f, DHC_F64, host(at), stored(p), v->n);
  else
    dhc_tensor_convert(v->i, DHC_I64, host(at), stored(p), v->n);
  return v;
}

static void store(const DhcArray *v, int32_t dtype, DhcDevicePtr at) {
  if (v->f)
    dhc_tensor_convert(host(at), dtype, v->f, DHC_F64, v->n);
  else
    dhc_tensor_convert(host(at), dtype, v->i, DHC_I64, v->n);
}

static dhc_status interp_launch(DhcDevice *d, const DhcLaunch *l) {
  Interp *x = (Interp *)(void *)d;
  uintptr_t handle;
  memcpy(&handle, &l->fn, sizeof handle);
  const DhcFunc *f = (const DhcFunc *)handle;
  DhcArena *a = &x->values;
  dhc_arena_reset(a);
  DhcSources sources = {.arena = a};
  DhcDiags diags = {.arena = a, .sources = &sources};
  int64_t *symbols = DHC_NEW_N(a, int64_t, l->n_dims + 1);
  for (int i = 0; i < l->n_dims; i++) symbols[i] = l->dim[i];
  const DhcArray **args = DHC_NEW_N(a, const DhcArray *, f->params.n + 1);
  DhcArray **results = DHC_NEW_N(a, DhcArray *, f->results.n + 1);
  DhcArray **updated = DHC_NEW_N(a, DhcArray *, f->params.n + 1);
  for (int i = 0; i < f->params.n; i++) args[i] = array_at(x, f, f->params.at[i], symbols, l->ptr[i]);
  if (!dhc_interp_run_bound(a, &diags, f, f->symbols.n, f->symbols.at, symbols, args, results, updated)) return said(&diags, f->name);
  for (int i = 0; i < f->params.n; i++)
    if (updated[i]) store(updated[i], stored(f->params.at[i]), l->ptr[i]);
  for (int i = 0; i < f->results.n; i++) store(results[i], stored(f->results.at[i]), l->ptr[f->params.n + i]);
  return (dhc_status){0};
}

static dhc_status interp_device_open(const DhcDeviceOptions *o, DhcDevice **out) {
  (void)o;
  Interp *x = calloc(1, sizeof *x);
  if (!x) return (dhc_status){DHC_E_ENVIRONMENT, "out of memory"};
  x->host.kind = "interp";
  x->ops = dhc_host_device_ops;
  x->ops.close = interp_close;
  x->ops.load = interp_load;
  x->ops.launch = interp_launch;
  x->host.device.ops = &x->ops;
  dhc_arena_init(&x->code);
  dhc_arena_init(&x->values);
  *out = &x->host.device;
  return (dhc_status){0};
}

const DhcBackend dhc_backend_interp = {.name = "interp", .device_open = interp_device_open};
