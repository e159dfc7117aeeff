/* The interpreter's row: no compiler; a device in the host's memory whose only kind of kernel is a
 * whole entry, run in float64. Floats lie as f64, everything else as it is. */
#include <stdlib.h>

#include "backends/backend.h"
#include "ir/interp.h"
#include "runtime/plan.h"
#include "runtime/tensor.h"

typedef struct Graph {
  DhcGraphCode code;
  struct Graph *next;
} Graph;

typedef struct Interp {
  DhcHostDevice host;
  DhcDeviceOps ops; /* the host's but for code */
  DhcArena values; /* of one run */
  Graph *graphs;
} Interp;

static void interp_close(DhcDevice *d) {
  Interp *x = (Interp *)(void *)d;
  while (x->graphs) {
    Graph *g = x->graphs;
    x->graphs = g->next;
    free(g);
  }
  dhc_arena_fini(&x->values);
  dhc_host_device_ops.close(d);
}

/* A handle is the graph's address: a function pointer has no integer conversion in C. */
static dhc_status interp_load(DhcDevice *d, const void *code, size_t n_bytes, const char *const *names, int n, dhc_kernel_fn *fn) {
  Interp *x = (Interp *)(void *)d;
  (void)names;
  if (n != 1 || n_bytes != sizeof(DhcGraphCode)) return (dhc_status){DHC_E_USAGE, "the interpreter takes graphs"};
  Graph *g = calloc(1, sizeof *g);
  if (!g) return (dhc_status){DHC_E_ENVIRONMENT, "out of memory"};
  memcpy(&g->code, code, sizeof g->code);
  g->next = x->graphs;
  x->graphs = g;
  uintptr_t at = (uintptr_t)g;
  memcpy(fn, &at, sizeof at);
  return (dhc_status){0};
}

static void *host(DhcDevicePtr at) { return (void *)(uintptr_t)at; }

static DhcArray *array_at(Interp *x, const dhc_image *im, const DhcFunc *f, int i, const int64_t *symbols, DhcDevicePtr at) {
  const dhc_image_tensor *t = &im->tensors[i];
  int64_t dim[DHC_MAX_RANK] = {0};
  for (int d = 0; d < t->rank; d++)
    if (!dhc_dimprog_eval(t->dims[d], symbols, im->plan.n_symbols, 0, &dim[d])) DHC_BUG("'%s' was bound to no size", t->name);
  DhcArray *v = dhc_array_new(&x->values, f->params.at[i]->type.dtype, t->rank, dim);
  if (v->f)
    dhc_tensor_convert(v->f, DHC_F64, host(at), t->dtype, v->n);
  else
    dhc_tensor_convert(v->i, DHC_I64, host(at), t->dtype, v->n);
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
  const Graph *g = (const Graph *)handle;
  const dhc_image *im = g->code.image;
  const DhcFunc *f = g->code.func;
  dhc_arena_reset(&x->values);
  int64_t *symbols = DHC_NEW_N(&x->values, int64_t, l->n_dims + 1);
  for (int i = 0; i < l->n_dims; i++) symbols[i] = l->dim[i];
  const DhcArray **args = DHC_NEW_N(&x->values, const DhcArray *, f->params.n + 1);
  DhcArray **results = DHC_NEW_N(&x->values, DhcArray *, f->results.n + 1);
  DhcArray **updated = DHC_NEW_N(&x->values, DhcArray *, f->params.n + 1);
  for (int i = 0; i < f->params.n; i++)
    args[i] = array_at(x, im, f, i, symbols, l->ptr[i]);
  if (!dhc_interp_run_bound(&x->values, g->code.diags, f, f->symbols.n, f->symbols.at, symbols, args, results, updated))
    return (dhc_status){.code = DHC_E_INPUT}; /* the diagnostics say why */
  for (int i = 0; i < f->params.n; i++)
    if (updated[i]) store(updated[i], im->tensors[i].dtype, l->ptr[i]);
  for (int i = 0; i < f->results.n; i++) store(results[i], im->tensors[f->params.n + i].dtype, l->ptr[f->params.n + i]);
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
  dhc_arena_init(&x->values);
  *out = &x->host.device;
  return (dhc_status){0};
}

const DhcBackend dhc_backend_interp = {.name = "interp", .device_open = interp_device_open};
