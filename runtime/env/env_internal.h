/* The shipped environments. */
#ifndef DHC_RUNTIME_ENV_INTERNAL_H
#define DHC_RUNTIME_ENV_INTERNAL_H

#include "runtime/env/env.h"

#define ENV(functions) extern const dhc_env_functions functions;
#include "runtime/env/envs.def"
#undef ENV

#endif
