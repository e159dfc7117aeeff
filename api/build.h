/* Standalone objects, as api/ makes them: build.c from a model to an object's bytes, build_files.c from there to files. */
#ifndef DHC_API_BUILD_H
#define DHC_API_BUILD_H

#include "api/api.h"
#include "backends/object/object.h"

enum { BUILD_MAX_BINDS = 32 };

/* What an entry brings, and a program that holds the weights. */
typedef struct Build {
  dhc_model *m;
  const dhc_build_options *o;
  DhcArena *arena;
  const char *bind_name[BUILD_MAX_BINDS];
  int64_t bind_value[BUILD_MAX_BINDS];
  bool bind_used[BUILD_MAX_BINDS];
  int n_bind;
  Version *version[API_MAX_ENTRIES];
  const char *plain[API_MAX_ENTRIES]; /* "forward" of "forward.step" */
  int n;
  const dhc_layout *layout;
  dhc_program *program; /* NULL: nothing of it is needed */
  DhcObject *object;
  uint8_t *blob, *fixed; /* constants; those of objects whose callers pass them */
  char *bytes;           /* the object file */
  size_t n_bytes;
} Build;

/* What -o asks for, by the end of its name. */
typedef enum BuildForm { BUILD_O, BUILD_A, BUILD_SO, BUILD_C } BuildForm;
bool build_form(const char *path, BuildForm *out);
const char *build_file_name(const char *path); /* behind the last slash */
/* All files, or none: the object's name is taken last. */
dhc_status build_write(Build *b) DHC_MUST_USE;

#endif
