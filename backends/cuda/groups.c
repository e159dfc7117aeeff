/* Products of groups of four warps (wgmma), whose asm text depends on how many columns there are. */
#include "backends/cuda/cuda_internal.h"

/* One call multiplies 64 lines by n of `ks` ks, in instructions of eight, which are one group. fours: lines lie in fours, x_four and
 * y_four elements apart. */
static void put_instructions(DhcText *to, int n, int ks, bool fours) {
  int sums = n / 2;
  dhc_text_puts(to, "  asm volatile(\"{\\n.reg .pred p;\\nsetp.ne.b32 p, 1, 0;\\nwgmma.fence.sync.aligned;\\n\"\n");
  for (int k = 0; k < ks / 8; k++) {
    dhc_text_printf(to, "    \"wgmma.mma_async.sync.aligned.m64n%dk8.f32.tf32.tf32 {", n);
    for (int i = 0; i < sums; i++) dhc_text_printf(to, "%s%%%d", i ? "," : "", i);
    dhc_text_printf(to, "}, %%%d, %%%d, p, 1, 1;\\n\"\n", sums + 2 * k, sums + 2 * k + 1);
  }
  dhc_text_puts(to, "    \"wgmma.commit_group.sync.aligned;\\n}\"\n    : ");
  for (int i = 0; i < sums; i++) dhc_text_printf(to, "%s\"+f\"(d[%d])", i ? ", " : "", i);
  dhc_text_puts(to, "\n    : ");
  for (int k = 0; k < ks / 8; k++) {
    if (fours) dhc_text_printf(to, "%s\"l\"(a + %d * (x_four >> 2)), \"l\"(b + %d * (y_four >> 2))", k ? ", " : "", 2 * k, 2 * k);
    else dhc_text_printf(to, "%s\"l\"(a + %d), \"l\"(b + %d)", k ? ", " : "", 2 * k, 2 * k);
  }
  dhc_text_puts(to, "\n    : \"memory\");\n}\n");
}

static void put_function(DhcText *to, int n) {
  dhc_text_printf(to, "// d (64 x %d) += 64 lines at x by %d lines at y, four warps together; under way until it is waited for\n", n, n);
  dhc_text_printf(to, "static __device__ __forceinline__ void group_mma_%d(float *d, const float *x, const float *y) {\n", n);
  dhc_text_puts(to, "  const u64 a = lines_at(x), b = lines_at(y);\n");
  put_instructions(to, n, 32, false);
}

static void put_fours(DhcText *to, int n, int ks) {
  dhc_text_printf(to, "// the same of lines of %d ks in fours, so many elements apart, and so from eight lines to the next\n", ks);
  dhc_text_printf(to, "static __device__ __forceinline__ void group_fours_%d_%d(float *d, const float *x, const float *y, int x_four, int x_lines, "
                      "int y_four, int y_lines) {\n", ks, n);
  dhc_text_puts(to, "  const u64 a = fours_at(x, x_four, x_lines), b = fours_at(y, y_four, y_lines);\n");
  put_instructions(to, n, ks, true);
}

static bool seen_before(const DhcLp *const *program, int i, int k) {
  const DhcLpInst *s = program[i]->code.at[k];
  for (int p = 0; p <= i; p++)
    for (int q = 0; q < (p < i ? program[p]->code.n : k); q++) {
      const DhcLpInst *e = program[p]->code.at[q];
      if (e->kind == DHC_LP_GROUP_MMA && e->i == s->i && !e->pick == !s->pick && (!s->pick || e->pick[0] == s->pick[0])) return true;
    }
  return false;
}

void dhc_cuda_groups(const DhcLp *const *program, int n, DhcText *to) {
  bool any[2] = {false};
  for (int i = 0; i < n; i++)
    for (int k = 0; k < program[i]->code.n; k++) {
      const DhcLpInst *s = program[i]->code.at[k];
      if (s->kind != DHC_LP_GROUP_MMA || seen_before(program, i, k)) continue;
      if (!any[0] && !s->pick)
        dhc_text_puts(to, "// where lines of 128 bytes, their sixteens exchanged, lie in block memory, as instructions want to hear it\n"
                          "static __device__ __forceinline__ u64 lines_at(const float *p) {\n"
                          "  return ((u64)__cvta_generic_to_shared(p) & 0x3ffff) >> 4 | 1ull << 16 | 64ull << 32 | 1ull << 62;\n}\n");
      if (!any[1] && s->pick)
        dhc_text_puts(to, "// likewise lines in fours, eight of them 128 bytes: elements from four to four, from eight lines to the next\n"
                          "static __device__ __forceinline__ u64 fours_at(const float *p, int four, int lines) {\n"
                          "  return ((u64)__cvta_generic_to_shared(p) & 0x3ffff) >> 4 | (u64)(four >> 2) << 16 | (u64)(lines >> 2) << 32;\n}\n");
      any[s->pick != NULL] = true;
      if (s->pick) put_fours(to, (int)s->i, s->pick[0]);
      else put_function(to, (int)s->i);
    }
}
