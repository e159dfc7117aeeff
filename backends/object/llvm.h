/* The LLVM writer of objects. */
#ifndef DHC_BACKENDS_OBJECT_LLVM_H
#define DHC_BACKENDS_OBJECT_LLVM_H

#include "backends/cpu/writer.h"
#include "backends/object/object.h"

typedef struct DhcObjLlvm {
  const DhcObject *object;
  DhcArena *arena; /* scratch */
  const DhcCpuTarget *level; /* of an object with several: the machine of each, the first that of w */
} DhcObjLlvm;

/* Adds everything to w->module; w->refused as dhc_cpu_write says. `object` is a DhcObjLlvm. */
void dhc_object_write_llvm(DhcCpuW *w, void *object);

#endif
