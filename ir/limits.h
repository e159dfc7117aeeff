/* Limits of what is read, by name: DHC_LIMIT_CALLS is 64. The table is ir/limits.def. */
#ifndef DHC_IR_LIMITS_H
#define DHC_IR_LIMITS_H

enum {
#define LIMIT(id, value, what, code) DHC_LIMIT_##id = value,
#include "ir/limits.def"
#undef LIMIT
};

#endif
