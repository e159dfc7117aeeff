/* From a planned entry, or one that is run as a graph, to an image (dhc/abi.h): all that is known
 * about it as plain structs and dim programs. The image shares memory with the plan and the arena. */
#ifndef DHC_PASSES_IMAGE_H
#define DHC_PASSES_IMAGE_H

#include "passes/plan/plan.h"

/* ---- places of what outlives a run (places.c) ------------------------------------------- */

/* Places of the module's parameters in one flat arena: those that decay first, each group in the
 * module's order. The one order that training steps, images and files go by. */
typedef struct DhcPlaces {
  int64_t *offset, *n; /* by tensor of the module, in elements; n 0: no parameter, or no fixed size */
  int64_t n_weights, n_decayed;
  int64_t n_begun; /* pieces of the tensors that files hold in pieces */
} DhcPlaces;
DhcPlaces dhc_places_make(DhcModule *m, DhcArena *arena);

/* optimizer: whose state and, with ema, averaged weights get ranges; NULL: none. `wide`: floats
 * lie as f64. */
const dhc_layout *dhc_layout_make(DhcModule *m, const DhcFunc *optimizer, bool ema, bool wide, DhcArena *arena);

/* ---- images (image.c) --------------------------------------------------------------------- */

typedef struct DhcImageRequest {
  const char *name;       /* of the entry, as users say it */
  const DhcFunc *func;    /* what is run */
  const DhcFunc *source;  /* the elaborated entry, whose inputs are checked as indices; NULL: no checks */
  const dhc_layout *layout;
  bool wide;              /* floats lie as f64: of graphs */
  bool trains;            /* result "finite" says whether anything changed */
  const char *const *scalar_names; /* defaults of scalars */
  const double *scalar_values;
  int n_scalars;
} DhcImageRequest;

/* All that is known before planning: parameters, results, symbols, guards, index checks. */
dhc_image *dhc_image_begin(const DhcImageRequest *rq, DhcArena *arena);
/* The plan. image->kernels has room for who compiles planned->specs. */
void dhc_image_add_plan(dhc_image *im, const DhcPlanned *planned, DhcArena *arena);
/* Instead of it one kernel, one call: all parameters and results are its operands, the symbols its
 * dims. */
void dhc_image_add_graph(dhc_image *im, DhcArena *arena);

/* Which of source's inputs are indices (index_checks.c), by the image's parameters and symbols. */
const dhc_index_check *dhc_index_checks(const DhcFunc *source, const DhcFunc *func, DhcArena *arena, int32_t *n);

#endif
