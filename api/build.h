/* Standalone objects, as api/ makes them: build.c from a model to an object's bytes, build_files.c from there to files. */
#ifndef DHC_API_BUILD_H
#define DHC_API_BUILD_H

#include "api/api.h"
#include "backends/object/object.h"
#include "passes/plan/narrow.h"

enum { BUILD_MAX_BINDS = 32, BUILD_MAX_VARIANTS = 64, BUILD_MAX_LEVELS = 3 };
/* Levels of x86-64, the least first: as objects name them, and their rows of backends/cpu/targets.def. */
extern const char *const build_levels[BUILD_MAX_LEVELS], *const build_level_targets[BUILD_MAX_LEVELS];

/* A model that the object is made of, its entries in order, and a program that holds its weights. */
typedef struct BuildModel {
  dhc_model *m;
  const dhc_build_variant *variant; /* NULL: the object is of one model, which is the caller's */
  Version *version[API_MAX_ENTRIES];
  const char *plain[API_MAX_ENTRIES]; /* "forward" of "forward.step" */
  const char *name[API_MAX_ENTRIES];  /* as the object calls it: "train_step" of the entry "loss" */
  bool trains;                        /* some of them are training steps */
  int n;
  const dhc_layout *layout;
  int *slot_of;         /* by slot of the layout: of the object's */
  DhcNarrows narrow;    /* of --quantize: weights that lie in fewer bits, as all its entries say */
  dhc_program *program; /* NULL: nothing of it is needed; of levels the first model's */
  const void **values;  /* of the program's slots, where the host sees them: in its memory, or copies of it */
} BuildModel;

/* Where a slot of the object's layout gets its values. */
typedef struct BuildHome {
  int model, slot;
} BuildHome;

typedef struct Build {
  dhc_session *s;
  const dhc_build_options *o;
  DhcArena *arena;
  const char *bind_name[BUILD_MAX_BINDS];
  int64_t bind_value[BUILD_MAX_BINDS];
  bool bind_used[BUILD_MAX_BINDS];
  int n_bind;
  bool *optional_used;
  BuildModel *model;
  int n_models;
  DhcCompiler *level[BUILD_MAX_LEVELS]; /* of an object for several levels of a machine: one a model, which is the same */
  const dhc_layout *layout; /* of all models: tensors that are equal are one */
  DHC_VEC(BuildHome) home;  /* by its slots */
  DhcTag tag; /* how packed weights lie */
  DhcObject *object;
  uint8_t *blob, *fixed; /* constants; those of objects whose callers pass them */
  char *bytes;           /* the object file */
  size_t n_bytes;
} Build;

/* Weights that are known while building, of a variant or (NULL) of the object; NULL: callers pass them. */
static inline const char *build_weights(const dhc_build_options *o, const dhc_build_variant *v) {
  return v && v->weights ? v->weights : o->weights;
}

/* build_models.c. The models that the options name: `m`, or a variant of it each. */
dhc_status build_open(Build *b, dhc_model *m) DHC_MUST_USE;
void build_close(Build *b);
/* Entries, sizes that are fixed, values, and one layout for all. */
dhc_status build_models(Build *b) DHC_MUST_USE;
/* Values of a slot of the object's layout, as it lies in memory. NULL: it has none. */
const void *build_values(const Build *b, int slot);
/* Axes that number rows, each with one scale, of a slot of the object's layout; 0: it is not quantised. */
int build_row_axes(const Build *b, int slot);
/* A program of this model with the tables that no file holds, if there was none; of one that trains, with first weights. */
dhc_status build_program(const Build *b, BuildModel *x) DHC_MUST_USE;

/* build_quantize.c. Of --quantize; NULL: PANEL. */
dhc_status build_quantize_form(const char *name, DhcTag *out) DHC_MUST_USE;
/* Refuses what cannot be rounded; before constants are made. */
dhc_status build_quantize_check(const Build *b) DHC_MUST_USE;
/* Rounds the models' weights in place and says what that costs; needs a compiler for this machine. */
dhc_status build_quantize(Build *b, dhc_build_result *r) DHC_MUST_USE;
/* build_count.c. Instructions of a call of each entry asked for, or why they are not known; all sizes are fixed. */
dhc_status build_count(Build *b, dhc_build_result *r) DHC_MUST_USE;
/* build.c. An input of made-up values: floats in -1 to 1, integers 0, bools both. */
dhc_tensor build_generated(Build *b, const DhcObjEntry *e, const dhc_image_tensor *x, const int64_t *sizes, uint32_t seed);

/* What -o asks for, by the end of its name. */
typedef enum BuildForm { BUILD_O, BUILD_A, BUILD_SO, BUILD_C } BuildForm;
bool build_form(const char *path, BuildForm *out);
const char *build_file_name(const char *path); /* behind the last slash */
/* DHC_E_USAGE where one file is to be two, or would take the place of one that is read: weights, model, imports. */
dhc_status build_check_files(const dhc_model *m, const dhc_build_options *o) DHC_MUST_USE;
/* Makes a folder of its own in $TMPDIR or /tmp; its name lasts as long as the build. Who asks for it removes it. */
dhc_status build_folder(const Build *b, const char **out) DHC_MUST_USE;
/* All files, or none: the object's name is taken last. */
dhc_status build_write(Build *b) DHC_MUST_USE;

#endif
