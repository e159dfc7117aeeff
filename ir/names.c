/* Words of the text form for roles and kinds of functions. */
#include "ir/ir_internal.h"

static const char *const roles[] = {
    [DHC_ROLE_PLAIN] = "plain",   [DHC_ROLE_INPUT] = "input", [DHC_ROLE_WEIGHT] = "param",
    [DHC_ROLE_BUFFER] = "buffer", [DHC_ROLE_TABLE] = "table", [DHC_ROLE_STATE] = "state",
    [DHC_ROLE_SCALAR] = "scalar", [DHC_ROLE_FLAT] = "flat"};
static const char *const kinds[] = {[DHC_FUNC_ENTRY] = "entry",
                                    [DHC_FUNC_UNIT] = "unit",
                                    [DHC_FUNC_BODY] = "body",
                                    [DHC_FUNC_COMPOSITE] = "composite",
                                    [DHC_FUNC_INIT] = "init"};
enum { N_ROLES = sizeof roles / sizeof *roles, N_KINDS = sizeof kinds / sizeof *kinds };

const char *dhc_role_name(DhcRole r) { return (unsigned)r < N_ROLES ? roles[r] : "?"; }
const char *dhc_func_kind_name(DhcFuncKind k) { return (unsigned)k < N_KINDS ? kinds[k] : "?"; }

bool dhc_role_parse(const char *name, DhcRole *out) {
  for (int i = 0; i < N_ROLES; i++)
    if (strcmp(roles[i], name) == 0) {
      *out = (DhcRole)i;
      return true;
    }
  return false;
}

bool dhc_func_kind_parse(const char *name, DhcFuncKind *out) {
  for (int i = 0; i < N_KINDS; i++)
    if (strcmp(kinds[i], name) == 0) {
      *out = (DhcFuncKind)i;
      return true;
    }
  return false;
}
