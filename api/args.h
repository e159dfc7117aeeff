/* What callers of dhc.h hand in: no pointer is followed and no size used before it is checked. */
#ifndef DHC_API_ARGS_H
#define DHC_API_ARGS_H

#include "dhc/dhc.h"

/* DHC_E_USAGE, "dhc_train: 'm' is NULL". */
dhc_status args_null(const char *function, const char *argument) DHC_MUST_USE;
/* The first lines of a public function: what it must be given. */
#define NEED(argument)                                         \
  do {                                                         \
    if (!(argument)) return args_null(__func__, #argument);    \
  } while (0)
/* Also makes *out empty, so that what a failed call leaves behind can be closed. */
#define NEED_OUT(out) \
  do {                \
    NEED(out);        \
    *(out) = NULL;    \
  } while (0)

/* A tensor that can be read: named, of a known dtype, rank 0 to 8, no size negative, its bytes
 * countable and, where there are any, there. DHC_E_USAGE says what is wrong. */
dhc_status args_tensor(const dhc_tensor *t) DHC_MUST_USE;
/* The same without the data. */
dhc_status args_form(const dhc_tensor *t, int64_t *bytes) DHC_MUST_USE;
dhc_status args_forms(const char *function, const dhc_tensor *t, int n) DHC_MUST_USE;
dhc_status args_tensors(const char *function, const dhc_tensor *t, int n) DHC_MUST_USE;

#endif
