/* The interpreter's row: no compiler; entries run as graphs, their memory is the host's. */
#include "backends/backend.h"

static dhc_status interp_device_open(const DhcDeviceOptions *o, DhcDevice **out) {
  (void)o;
  return dhc_host_device_open("interp", NULL, NULL, out);
}

const DhcBackend dhc_backend_interp = {.name = "interp", .device_open = interp_device_open};
