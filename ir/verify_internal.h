/* Shared by the verifier's files. */
#ifndef DHC_IR_VERIFY_INTERNAL_H
#define DHC_IR_VERIFY_INTERNAL_H

#include "ir/ir_internal.h"

typedef struct DhcVerifier {
  DhcModule *m;
  DhcStage stage;
  const char *after; /* pass name or NULL */
  DhcArena scratch;
  int *place; /* by function id: 1 + position in the module; 0: not in it */
  bool ok;
  const DhcFunc *prefix_of; /* whose messages begin with `prefix` */
  const char *prefix;
} DhcVerifier;

/* "after fuse: @f: <message>"; f may be NULL. Returns false. */
bool dhc_verify_fail(DhcVerifier *v, const DhcFunc *f, DhcSpan at, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* Every symbol of d is bound by f. */
bool dhc_verify_dim(DhcVerifier *v, const DhcFunc *f, DhcSpan at, const DhcDim *d, const char *where);
/* Node list, operands, attributes and types of f. */
void dhc_verify_nodes(DhcVerifier *v, DhcFunc *f);
bool dhc_verify_in_module(const DhcVerifier *v, const DhcFunc *f);

#endif
