/* From a planned entry to an image (dhc/abi.h): all that is known
 * about it as plain structs and dim programs. The image shares memory with the plan and the arena. */
#ifndef DHC_PASSES_IMAGE_H
#define DHC_PASSES_IMAGE_H

#include "passes/grad/places.h"
#include "passes/plan/plan.h"

/* ---- images (image.c) --------------------------------------------------------------------- */

typedef struct DhcImageRequest {
  const char *name;       /* of the entry, as users say it */
  const DhcFunc *func;    /* what is run */
  const DhcFunc *source;  /* the elaborated entry, whose inputs are checked as indices; NULL: no checks */
  const dhc_layout *layout;
  bool wide;              /* floats lie as f64: of entries that run whole */
  bool trains;            /* result "finite" says whether anything changed */
  const DhcFunc *optimizer; /* of an entry that trains */
  const DhcFunc *reset;   /* updates of states with their first values, of an entry that carries some on; NULL: none */
  const char *const *scalar_names; /* defaults of scalars */
  const double *scalar_values;
  int n_scalars;
} DhcImageRequest;

/* All that is known before planning: parameters, results, symbols, guards, index checks. */
dhc_image *dhc_image_begin(const DhcImageRequest *rq, DhcArena *arena);
/* The plan. image->kernels has room for who compiles planned->specs. */
void dhc_image_add_plan(dhc_image *im, const DhcPlanned *planned, DhcArena *arena);

/* How states begin and what a training step does (image_graphs.c): part of dhc_image_begin. */
void dhc_image_add_begins(dhc_image *im, const DhcFunc *reset, DhcArena *arena);
/* What an optimiser does to weights and moments of the image's layout. */
dhc_update dhc_image_update(const dhc_image *im, const DhcFunc *optimizer, DhcArena *arena);
/* The texts of all graphs, which an image needs before it is written. Slots may be those of other images, too. */
void dhc_image_add_texts(dhc_image *im, DhcArena *arena);

void dhc_image_add_reset_text(dhc_image *im, DhcArena *arena); /* of those that are its own, not the model's, alone */

/* Which of source's inputs are indices (index_checks.c), by the image's parameters and symbols. */
const dhc_index_check *dhc_index_checks(const DhcFunc *source, const DhcFunc *func, DhcArena *arena, int32_t *n);

#endif
