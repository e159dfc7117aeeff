#include "tests/plan/plan_cpu.h"

#include "passes/plan/schedule.h"
#include "runtime/tensor.h"

static bool compile(CpuRunner *cpu, const DhcPlanned *p, DhcArena *arena, const dhc_kernel ***out) {
  int n = p->plan.n_kernels;
  DhcKernelRequest *rq = DHC_NEW_N(arena, DhcKernelRequest, n + 1);
  dhc_kernel *kernels = DHC_NEW_N(arena, dhc_kernel, n + 1);
  *out = DHC_NEW_N(arena, const dhc_kernel *, n + 1);
  for (int k = 0; k < n; k++) {
    rq[k].spec = p->specs[k];
    rq[k].n_classes = dhc_schedule_choose(rq[k].spec, dhc_compiler_target(cpu->compiler), arena, rq[k].classes);
    (*out)[k] = &kernels[k];
  }
  dhc_status st = dhc_compile(cpu->compiler, rq, n, kernels, &cpu->stats);
  if (st.code != DHC_OK) fprintf(stderr, "compile: %s\n", st.message);
  return st.code == DHC_OK;
}

bool plan_cpu_run(CpuRunner *cpu, const DhcPlanned *p, const DhcArray *const *args, const int64_t *symbols, DhcPool *pool,
                DhcArena *arena, PlanImage *m) {
  const dhc_kernel **kernels;
  if (!compile(cpu, p, arena, &kernels)) return false;
  dhc_status st = dhc_plan_bind(&p->plan, kernels, symbols, dhc_pool_threads(pool), &m->bound);
  if (st.code != DHC_OK) {
    fprintf(stderr, "bind: %s\n", st.message);
    return false;
  }
  DhcDevicePtr base[DHC_N_SEGMENTS];
  for (int a = 0; a < DHC_N_SEGMENTS; a++) {
    int64_t bytes = dhc_bound_segment_bytes(m->bound, a);
    m->all[a] = dhc_aligned_alloc(bytes + 64);
    memset(m->all[a], 0xff, (size_t)bytes);
    base[a] = (DhcDevicePtr)(uintptr_t)m->all[a];
  }
  for (int i = 0; i < p->n_params; i++)
    if (p->params[i].buffer >= 0)
      dhc_array_to_bytes(args[i], m->all[p->plan.buffers[p->params[i].buffer].segment] +
                                         dhc_bound_buffer_offset(m->bound, p->params[i].buffer));
  void *scratch = dhc_aligned_alloc(dhc_bound_scratch_bytes(m->bound));
  DhcDevice *d;
  st = dhc_host_device_open("cpu", dhc_pool_exec(pool), NULL, &d);
  if (st.code == DHC_OK) {
    st = dhc_bound_run(m->bound, d, base, (DhcDevicePtr)(uintptr_t)scratch, NULL);
    dhc_device_close(d);
  }
  dhc_aligned_free(scratch);
  return st.code == DHC_OK;
}

void plan_cpu_forget(PlanImage *m) {
  for (int a = 0; a < DHC_N_SEGMENTS; a++) dhc_aligned_free(m->all[a]);
  dhc_bound_free(m->bound);
}

const unsigned char *plan_cpu_at(const DhcPlanned *p, const PlanImage *m, int buffer) {
  return m->all[p->plan.buffers[buffer].segment] + dhc_bound_buffer_offset(m->bound, buffer);
}

bool plan_cpu_same(const DhcPlanned *p, const PlanImage *m, int buffer, const DhcPlanned *q, const PlanImage *n, int other) {
  if (buffer < 0 || other < 0) return buffer == other;
  int64_t bytes = dhc_bound_buffer_bytes(m->bound, buffer);
  return bytes == dhc_bound_buffer_bytes(n->bound, other) &&
         memcmp(plan_cpu_at(p, m, buffer), plan_cpu_at(q, n, other), (size_t)bytes) == 0;
}
