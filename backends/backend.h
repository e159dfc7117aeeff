/* What a backend folder gives to compile.c: one DhcBackend, a row of backends.def. */
#ifndef DHC_BACKENDS_BACKEND_H
#define DHC_BACKENDS_BACKEND_H

#include "backends/compile.h"
#include "backends/loop/tpl.h"

typedef struct DhcBytes {
  char *bytes; /* malloc; the receiver frees */
  size_t n_bytes;
} DhcBytes;

typedef enum DhcStageText { DHC_TEXT_NONE, DHC_TEXT_IR, DHC_TEXT_ASM, DHC_TEXT_SASS, DHC_TEXT_USE, DHC_N_TEXTS } DhcStageText;

/* A row of backends.def. A backend without `open` compiles nothing: its device runs
 * entries whole (DHC_BACKEND_WHOLE). */
typedef struct DhcBackend {
  const char *name;
  const char *stage[DHC_N_TEXTS]; /* names of the texts that generate writes; NULL: none */
  /* The machine that runs what generate writes. */
  dhc_status (*device_open)(const DhcDeviceOptions *o, DhcDevice **out);
  /* What the machine at hand has, capped by `cap` or NULL, as words; NULL: nothing of the kind. */
  const char *(*host_features)(DhcArena *arena, const char *cap);
  /* What this machine has and lacks for the backend, for people: pairs of a name and a text, at most
   * `room`; the number of pairs. NULL: nothing to say. */
  int (*facts_for_people)(DhcArena *arena, const char *(*pair)[2], int room);
  /* *self is the opened target. facts, key_text (all that decides code) and needs (features
   * without which the code must not run) live in the arena. */
  dhc_status (*open)(DhcArena *arena, const DhcCompileOptions *o, void **self,
                     DhcTargetFacts *facts, const char **key_text, const char **needs);
  void (*close)(void *self);
  /* One thread's generator. */
  dhc_status (*worker_open)(void *self, void **worker);
  void (*worker_close)(void *worker);
  /* Functions names[i] from program[i]: what the device's load takes (DHC_TEXT_NONE) or text. about: the
   * spec's text, for a comment, or NULL. */
  dhc_status (*generate)(void *worker, const DhcLp *const *program, const char *const *names,
                         int n, DhcStageText text, const char *about, DhcBytes *out);
  /* Where what generate wrote is whole only in this process, its code being compiled as it is needed: the whole object of n
   * functions, which waits; keep false: nobody wants it. Once for each. NULL: generate writes it whole. */
  dhc_status (*complete)(const DhcBytes *object, int n, bool keep, DhcBytes *out);
  /* One standalone object (backends/object/object.h), memory for writing it being the arena's; NULL: it makes none. */
  dhc_status (*object)(void *worker, const struct DhcObject *o, DhcArena *arena, DhcBytes *out);
} DhcBackend;

/* By name; NULL: not in this build (backends.c). */
const DhcBackend *dhc_backend_find(const char *name);
/* The i-th row; NULL behind the last. */
const DhcBackend *dhc_backend_at(int i);

#define BACKEND(id, ...) extern const DhcBackend dhc_backend_##id;
#include "backends/backends.def"

#endif
