/* Programs over the weights of another one. */
#include <stdlib.h>

#include "api/api.h"

dhc_status program_owns(const dhc_program *p, const char *what) {
  if (!p->run || !dhc_prog_shares(p->run)) return dhc_status_ok();
  return dhc_status_make(DHC_E_USAGE, "%s: the weights are another program's (dhc_program_share)", what);
}

/* Only the host's memory is seen by two devices, and only kernels that are functions run anywhere. */
static dhc_status open_device(dhc_program *p, const DhcDevice *of, int threads) {
  DhcDeviceInfo info;
  DHC_TRY(dhc_pool_new(threads, &p->pool));
  of->ops->describe((DhcDevice *)(uintptr_t)of, &info);
  DHC_TRY(dhc_host_device_open(info.kind, dhc_pool_exec(p->pool), NULL, &p->device));
  p->device->checked = of->checked;
  return dhc_status_ok();
}

static dhc_status fill(dhc_program *p, dhc_program *of, int threads) {
  DhcDevice *device = dhc_prog_device(of->run);
  if (device->ops == &dhc_host_device_ops) {
    DHC_TRY(open_device(p, device, threads));
    device = p->device;
  }
  DHC_TRY(dhc_prog_share(of->run, device, &p->run));
  p->n_scalars = of->n_scalars;
  for (int i = 0; i < of->n_entries; i++) {
    const Entry *e = &of->entries[i];
    p->entries[p->n_entries++] = (Entry){.name = e->name, .plain = e->plain, .form = e->form, .info = e->info, .mode = e->mode};
  }
  return dhc_status_ok();
}

static void close_program(void *p) {
  dhc_program_close(p);
}

dhc_status api_program_share(dhc_program *of, int threads, dhc_program **out) {
  NEED_OUT(out);
  NEED(of);
  if (threads < 1) return dhc_status_make(DHC_E_USAGE, "dhc_program_share: %d threads", threads);
  dhc_program *p = calloc(1, sizeof *p);
  if (!p) return dhc_status_memory((long long)sizeof *p, "a program");
  p->m = of->m;
  dhc_arena_init(&p->arena);
  DhcHeld held;
  dhc_hold(&held, close_program, p);
  dhc_status st = fill(p, of, threads);
  dhc_release(&held);
  if (st.code == DHC_OK) *out = p;
  else dhc_program_close(p);
  return st;
}
