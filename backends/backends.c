/* The table of backends. */
#include "backends/backend.h"

static const DhcBackend *const rows[] = {
#define BACKEND(id, name) &dhc_backend_##id,
#include "backends/backends.def"
};
enum { N_ROWS = sizeof rows / sizeof *rows };

const DhcBackend *dhc_backend_at(int i) {
  return i >= 0 && i < N_ROWS ? rows[i] : NULL;
}

const DhcBackend *dhc_backend_find(const char *name) {
  for (int i = 0; i < N_ROWS; i++)
    if (!strcmp(rows[i]->name, name)) return rows[i];
  return NULL;
}

dhc_status dhc_backend_device(const char *name, const DhcDeviceOptions *o, DhcDevice **out) {
  const DhcBackend *b = dhc_backend_find(name);
  if (!b) return (dhc_status){DHC_E_ENVIRONMENT, "this build has no such backend"};
  return b->device_open(o, out);
}

const char *dhc_backend_name(int i) {
  return dhc_backend_at(i) ? dhc_backend_at(i)->name : NULL;
}

int dhc_backend_facts(int i, DhcArena *arena, const char *(*pair)[2], int room) {
  const DhcBackend *b = dhc_backend_at(i);
  return b && b->facts_for_people ? b->facts_for_people(arena, pair, room) : 0;
}

bool dhc_backend_compiles(const char *name) {
  const DhcBackend *b = dhc_backend_find(name);
  return b && b->open;
}

const char *dhc_compiler_host_features(DhcArena *arena, const char *cap) {
  for (int i = 0; i < N_ROWS; i++)
    if (rows[i]->host_features) return rows[i]->host_features(arena, cap);
  return "";
}

dhc_status dhc_backend_load_graph(DhcDevice *d, const DhcGraphCode *g, DhcArena *arena, dhc_kernel *out) {
  static const int64_t one[] = {DHC_DIM_CONST, 1};
  dhc_kernel_class *c = DHC_NEW(arena, dhc_kernel_class);
  c->n_tasks = (dhc_dimprog){one, 2};
  *out = (dhc_kernel){.name = "graph", .n_ptrs = g->image->n_params + g->image->n_results, .n_dims = g->image->plan.n_symbols,
                      .n_classes = 1, .classes = c};
  return d->ops->load(d, g, sizeof *g, &g->func->name, 1, &c->fn);
}
