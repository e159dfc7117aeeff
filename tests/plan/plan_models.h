/* Shipped models for tests of fusion and plans: elaborated, differentiated or made into a training step, and
 * cleaned, ready for fusion. */
#ifndef DHC_TESTS_PLAN_MODELS_H
#define DHC_TESTS_PLAN_MODELS_H

#include "frontend/elab.h"
#include "ir/interp.h"

typedef struct Made {
  DhcArena arena;
  DhcStrings strings;
  DhcSources sources;
  DhcDiags diags;
  DhcModule *m;
  DhcFunc *f;
} Made;

/* model: FILE or FILE:LAYER. mode: "fwd", "grad" (of a first result that is no scalar with
 * its cotangent as an input), "back" (the same for a target with a kernel for derivatives of recurrences) or "train" (with
 * adamw and averaging); "raw": as elaborated. x->arena is to be ended either
 * way; false: see x->diags. */
bool dhc_test_model(Made *x, const char *root, const char *model, const char *entry, const char *mode,
                    const DhcSetting *sets, int n_sets);
/* The same of layer (or model) `layer` of the file; NULL: its model. */
bool dhc_test_layer(Made *x, const char *root, const char *model, const char *layer, const char *entry, const char *mode,
                    const DhcSetting *sets, int n_sets);
/* Passes on the module; NULL: the clean-up. */
bool dhc_test_passes(Made *x, const char *list);
bool dhc_test_passes_again(Made *x, const char *list, bool derives); /* as for a target that computes anew rather than start another kernel */
/* Values for parameter i; NULL if its type does not fit the sizes. */
DhcArray *dhc_test_draw(Made *x, int i, uint64_t *state, const int64_t *extents);

#endif
