/* A training step from inside: what its files share.
 *
 *   train_step.c      layout, the optimiser, clipping, averaging, the gate
 *   train_gradient.c  loss and gradients, from the parts of a batch */
#ifndef DHC_PASSES_TRAIN_INTERNAL_H
#define DHC_PASSES_TRAIN_INTERNAL_H

#include "passes/grad/ad_internal.h"
#include "passes/grad/places.h"

/* `frozen`: no gradient reaches it by construction, so nothing changes it, decay included, and its
 * average is itself. `pieces` > 0: a tensor kept as one file entry per index of its leading axis
 * ("experts.*"), whose ages begin at `age`. */
typedef struct Range {
  int64_t begin, n;
  bool decays, frozen;
  int group;         /* as of DhcTensorDecl */
  int64_t source;    /* where what it follows begins; -1: it follows nothing */
  const char *decay; /* with what decay */
  int64_t pieces, age;
} Range;

/* A function that steps ranges. */
typedef struct Optimizer {
  DhcFunc *f;
  const int *flat;   /* by parameter: the moment that it takes, as a flat; 0: none */
  const int *result; /* by flat: the result that is its new value; -1: there is none */
  DhcValue **arg;    /* by parameter: the scalar, or NULL for flat operands */
} Optimizer;

typedef struct Step {
  DhcPassCtx *px;
  DhcModule *m;
  DhcArena *arena;
  const DhcTrainRequest *rq;
  DhcTrainStep *out;
  DhcFunc *loss, *grad; /* the loss entry, and the entry with its gradients */
  DhcFunc *f;           /* the step */
  DhcBuilder b;
  DhcWeightSlot *slots;
  int *slot_of;         /* by tensor index, -1 for what is no weight */
  DhcValue **map;       /* by value id of grad */
  int loss_result;
  /* flat tensors: 0 is "$w", then the optimiser's moments, then perhaps "$ema" */
  DhcMoments moments;
  DhcValue **flats;
  Optimizer *optimizer; /* the recipe's, then one for each group: the recipe's where it has none of its own */
  DhcValue *clip, *limit, *decay; /* decay: of "$ema" */
  DhcValue **own; /* by scalar of the module: parameters for groups and averages */
  DhcValue *share; /* NULL: a batch is one part */
  DhcValue *sum, *more, *number; /* "$parts_sum", "$parts_more", "$part"; NULL: parts of one batch do not come in turn */
  const DhcPlaces *places;
  DhcValue *finite;
  DhcValue *begun; /* "$begun": steps since a piece first had a gradient; NULL: no pieces */
  DHC_VEC(Range) ranges; /* all weights, in order */
} Step;

/* ---- train_gradient.c ---- */
DhcType dhc_step_flat(Step *s, int64_t n);
/* NULL where v is. */
DhcValue *dhc_step_range(Step *s, DhcValue *v, const Range *r);
DhcValue *dhc_step_bin(Step *s, DhcOp op, DhcValue *x, DhcValue *y);
/* Pieces side by side; NULL after a diagnostic. */
DhcValue *dhc_step_joined(Step *s, DhcValue *const *part, int n);
bool dhc_step_update(Step *s, DhcValue *to, DhcValue *value);
/* v of the whole batch, from those of its parts; the sum of those before it lies in `sum` from `begin` on. */
DhcValue *dhc_step_over_parts(Step *s, DhcValue *v, DhcValue *sum, int64_t begin);
/* Weights as slices of the flat tensor, then the nodes of the gradient entry but its updates. */
bool dhc_step_copy(Step *s);
/* All gradients, flat, in the order of the weights. */
DhcValue *dhc_step_gradient(Step *s);
/* An entry that only adds its part to the sums. */
bool dhc_step_part(Step *s);

#endif
