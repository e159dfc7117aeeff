/* The shipped environments. */
#ifndef DHC_RUNTIME_ENV_INTERNAL_H
#define DHC_RUNTIME_ENV_INTERNAL_H

#include "runtime/env/env.h"

/* A setting that an environment has, and where its value goes; `above` is too little. */
typedef struct DhcEnvNumber {
  const char *name;
  double above;
  double *to;
} DhcEnvNumber;
/* False: `error` names a setting that is not among the n, or whose value does not do. */
bool dhc_env_numbers(const dhc_env_setting *settings, const DhcEnvNumber *known, int n, char *error, size_t room);

#define ENV(functions) extern const dhc_env_functions functions;
#include "runtime/env/envs.def"
#undef ENV

#endif
