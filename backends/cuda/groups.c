/* Products of groups of four warps (wgmma), whose asm text depends on how many columns there are. */
#include "backends/cuda/cuda_internal.h"

/* One call multiplies 64 lines by n of 32 ks: four instructions of eight, which are one group. */
static void put_function(DhcText *to, int n) {
  int sums = n / 2;
  dhc_text_printf(to, "// d (64 x %d) += 64 lines at x by %d lines at y, four warps together; under way until it is waited for\n", n, n);
  dhc_text_printf(to, "static __device__ __forceinline__ void group_mma_%d(float *d, const float *x, const float *y) {\n", n);
  dhc_text_puts(to, "  const u64 a = lines_at(x), b = lines_at(y);\n"
                    "  asm volatile(\"{\\n.reg .pred p;\\nsetp.ne.b32 p, 1, 0;\\nwgmma.fence.sync.aligned;\\n\"\n");
  for (int k = 0; k < 4; k++) {
    dhc_text_printf(to, "    \"wgmma.mma_async.sync.aligned.m64n%dk8.f32.tf32.tf32 {", n);
    for (int i = 0; i < sums; i++) dhc_text_printf(to, "%s%%%d", i ? "," : "", i);
    dhc_text_printf(to, "}, %%%d, %%%d, p, 1, 1;\\n\"\n", sums + 2 * k, sums + 2 * k + 1);
  }
  dhc_text_puts(to, "    \"wgmma.commit_group.sync.aligned;\\n}\"\n    : ");
  for (int i = 0; i < sums; i++) dhc_text_printf(to, "%s\"+f\"(d[%d])", i ? ", " : "", i);
  dhc_text_puts(to, "\n    : ");
  for (int k = 0; k < 4; k++) dhc_text_printf(to, "%s\"l\"(a + %d), \"l\"(b + %d)", k ? ", " : "", 2 * k, 2 * k);
  dhc_text_puts(to, "\n    : \"memory\");\n}\n");
}

void dhc_cuda_groups(const DhcLp *const *program, int n, DhcText *to) {
  bool done[33] = {false}, any = false;
  for (int i = 0; i < n; i++)
    for (int k = 0; k < program[i]->code.n; k++) {
      const DhcLpInst *s = program[i]->code.at[k];
      if (s->kind != DHC_LP_GROUP_MMA || done[s->i / 8]) continue;
      if (!any)
        dhc_text_puts(to, "// where lines of 128 bytes, their sixteens exchanged, lie in block memory, as instructions want to hear it\n"
                          "static __device__ __forceinline__ u64 lines_at(const float *p) {\n"
                          "  return ((u64)__cvta_generic_to_shared(p) & 0x3ffff) >> 4 | 1ull << 16 | 64ull << 32 | 1ull << 62;\n}\n");
      any = done[s->i / 8] = true;
      put_function(to, (int)s->i);
    }
}
