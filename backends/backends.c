/* The table of backends. */
#include "backends/backend.h"

/* The row of a backend that is in the build, or nothing. */
#define ROW_0(id) NULL
#define ROW_1(id) &dhc_backend_##id
#define ROW_OF(in_build, id) ROW_##in_build(id)
#define ROW(in_build, id) ROW_OF(in_build, id)

static const struct {
  DhcBackendInfo info;
  const DhcBackend *row;
} known[] = {
#define BACKEND(id, name, in_build, lacks, traits, arch, archs) {{name, lacks, traits, in_build, arch, archs}, ROW(in_build, id)},
#include "backends/backends.def"
};
enum { N_KNOWN = sizeof known / sizeof *known };

const DhcBackend *dhc_backend_at(int i) {
  for (int k = 0; k < N_KNOWN; k++)
    if (known[k].row && i-- == 0) return known[k].row;
  return NULL;
}

const DhcBackend *dhc_backend_find(const char *name) {
  for (int k = 0; k < N_KNOWN; k++)
    if (!strcmp(known[k].info.name, name)) return known[k].row;
  return NULL;
}

const DhcBackendInfo *dhc_backend_known(int i) {
  return i >= 0 && i < N_KNOWN ? &known[i].info : NULL;
}

const DhcBackendInfo *dhc_backend_info(const char *name) {
  for (int k = 0; k < N_KNOWN; k++)
    if (!strcmp(known[k].info.name, name)) return &known[k].info;
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

const char *dhc_compiler_host_features(DhcArena *arena, const char *cap) {
  for (int i = 0; dhc_backend_at(i); i++)
    if (dhc_backend_at(i)->host_features) return dhc_backend_at(i)->host_features(arena, cap);
  return "";
}

dhc_status dhc_backend_load_whole(DhcDevice *d, const char *text, const dhc_plan *plan, DhcArena *arena, dhc_kernel *out) {
  static const int64_t one[] = {DHC_DIM_CONST, 1};
  dhc_kernel_class *c = DHC_NEW(arena, dhc_kernel_class);
  c->n_tasks = (dhc_dimprog){one, 2};
  *out = (dhc_kernel){.name = "entry", .n_ptrs = plan->items->n_refs, .n_dims = plan->n_symbols, .n_classes = 1, .classes = c};
  return d->ops->load(d, text, strlen(text), &plan->name, 1, &c->fn);
}
