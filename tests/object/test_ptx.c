/* PTX says the least version that has its words: what is lowered, and what is left as it is. */
#include <stdio.h>
#include <string.h>

#include "backends/object/ptx.h"

#define HEAD "//\n// Generated\n//\n\n.version 9.0\n.target sm_80\n.address_size 64\n\n.extern .shared .align 16 .b8 block[];\n" \
             ".visible .entry k_0(\n\t.param .align 8 .b8 k_0_param_0[192]\n)\n.maxntid 128, 1, 1\n.minnctapersm 2\n{\n\t.reg .pred \t%p<36>;\n"
#define TAIL "$L__BB0_1:\n\tret;\n\n}\n"

static const struct {
  const char *what, *text, *arch, *want;
} cases[] = {
    {"plain", HEAD "\tld.param.u64 \t%rd2, [k_0_param_0+8];\n\tcp.async.ca.shared.global [%r1], [%rd2], 4;\n\t@%p1 bra \t$L__BB0_1;\n" TAIL, "sm_80", "7.0"},
    {"quoted", HEAD "\t.pragma \"nounroll\";\n\t@!%p1 fma.rn.f32 \t%f1, %f2, 0f3F800000, %f3;\n" TAIL, "sm_80", "7.0"},
    {"block", HEAD "\t{ \n\tmov.b64 \t{%r1, %tmp_1}, %rd1; }\n" TAIL, "sm_80", "7.0"},
    {"below the words", HEAD "\tadd.s32 \t%r1, %r2, %r3;\n" TAIL, "sm_75", "7.0"},
    {"of a later part", HEAD "\tadd.s32 \t%r1, %r2, %r3;\n" TAIL, "sm_100", "8.6"},
    {"of a part not known", HEAD "\tadd.s32 \t%r1, %r2, %r3;\n" TAIL, "sm_130", "9.0"},
    {"an operation", HEAD "\telect.sync \t%r1|%p1, %r2;\n" TAIL, "sm_80", "9.0"},
    {"a modifier", HEAD "\tmax.NaN.f32 \t%f1, %f2, %f3;\n" TAIL, "sm_80", "9.0"},
    {"behind a predicate", HEAD "\t@%p2 cp.async.bulk.commit_group;\n" TAIL, "sm_80", "9.0"},
    {"behind a label", HEAD "$L__BB0_9: wgmma.fence.sync.aligned;\n" TAIL, "sm_80", "9.0"},
    {"a directive", HEAD "\t.maxclusterrank 4\n" TAIL, "sm_80", "9.0"},
    {"a sink", HEAD "\tmov.b64 \t{_, %r1}, %rd1;\n" TAIL, "sm_80", "9.0"},
    {"in a block", HEAD "\t{ tensormap.replace.tile [%rd1], 1; }\n" TAIL, "sm_80", "9.0"},
    {"lower already", ".version 6.4\n.target sm_80\n", "sm_80", "6.4"},
    {"no version", "\tadd.s32 \t%r1, %r2, %r3;\n", "sm_80", ""},
};

int main(void) {
  int fails = 0;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    char text[2048], got[8] = "";
    snprintf(text, sizeof text, "%s", cases[i].text);
    dhc_ptx_lower(text, strlen(text) + 1, cases[i].arch); /* with the 0 at its end, as NVRTC counts */
    const char *at = strstr(text, ".version ");
    if (at) snprintf(got, sizeof got, "%.3s", at + 9);
    if (!strcmp(got, cases[i].want)) continue;
    printf("FAILED: %s: version %s, want %s\n", cases[i].what, got, cases[i].want);
    fails++;
  }
  if (!fails) printf("ok\n");
  return fails != 0;
}
