/* What a backend folder gives to compile.c: one DhcBackend, a row of backends.def. */
#ifndef DHC_BACKENDS_BACKEND_H
#define DHC_BACKENDS_BACKEND_H

#include "backends/compile.h"
#include "backends/loop/tpl.h"

typedef struct DhcBytes {
  char *bytes; /* malloc; the receiver frees */
  size_t n_bytes;
} DhcBytes;

typedef enum DhcStageText { DHC_TEXT_NONE, DHC_TEXT_IR, DHC_TEXT_ASM } DhcStageText;

typedef struct DhcBackend {
  const char *name;
  /* *self is the opened target. facts, key_text (all that decides code) and needs (features
   * without which the code must not run) live in the arena. */
  dhc_status (*open)(DhcArena *arena, const DhcCompileOptions *o, void **self,
                     DhcTargetFacts *facts, const char **key_text, const char **needs);
  void (*close)(void *self);
  /* One thread's generator. */
  dhc_status (*worker_open)(void *self, void **worker);
  void (*worker_close)(void *worker);
  /* Functions names[i] from program[i]: linkable bytes (DHC_TEXT_NONE) or text. */
  dhc_status (*generate)(void *worker, const DhcLp *const *program, const char *const *names,
                         int n, DhcStageText text, DhcBytes *out);
  /* Into this process; called by one thread at a time. */
  dhc_status (*link)(void *self, const char *bytes, size_t n_bytes, const char *const *names,
                     int n, dhc_kernel_fn *fn);
} DhcBackend;

#define BACKEND(id, name) extern const DhcBackend dhc_backend_##id;
#include "backends/backends.def"

#endif
