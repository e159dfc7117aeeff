/* A training step from inside: what its files share.
 *
 *   train_step.c      layout, the optimiser, clipping, averaging, the gate
 *   train_shares.c    moments that lie on one rank each
 *   train_losses.c    the results that gradients are of
 *   train_gradient.c  loss and gradients, from the parts of a batch
 *   train_rows.c      gradients of few rows, which never lie in memory */
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
  int group, place;  /* as of DhcTensorDecl */
  int64_t source;    /* where what it follows begins; -1: it follows nothing */
  const char *decay; /* with what decay */
  int64_t pieces, age;
  int owner; /* the rank that has its moments */
  int64_t from;          /* where its gradients begin in the flat of these */
  const struct Few *few; /* or what they are made of: they are not there; else NULL */
} Range;

/* A gradient that is a contraction of few rows, of two operands, or of three, the last of which has the ranges of the rows. */
typedef struct Few {
  DhcValue *arg[3]; /* of `grad` */
  int n_args;       /* 0: the gradient lies in memory */
} Few;

/* When a group steps. */
typedef struct Turn {
  DhcValue *due;   /* bool; NULL: in every step */
  DhcValue *count; /* of its own steps, this one too where it is due */
} Turn;

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
  int *losses; /* results that gradients are of: the entry's own, then those that groups name */
  int n_losses;
  /* flat tensors: 0 is "$w", then the optimiser's moments, then perhaps "$ema" */
  DhcMoments moments;
  DhcValue **flats;
  Turn *turn; /* for all others, then by group */
  Optimizer *optimizer; /* the recipe's, then one for each group: the recipe's where it has none of its own */
  DhcValue *clip, *limit, *decay; /* decay: of "$ema" */
  DhcValue **own; /* by scalar of the module: parameters for groups and averages */
  DhcValue *share; /* NULL: a batch is one part */
  DHC_VEC(Range) summed; /* ranges whose gradients ranks sum at once */
  DhcValue *sum, *more, *number; /* "$parts_sum", "$parts_more", "$part"; NULL: parts of one batch do not come in turn */
  const DhcPlaces *places;
  const int64_t *cut; /* where ranks' shares of moments begin and end (dhc_places_cut); NULL: all are here */
  DhcValue *finite;
  DhcValue **size; /* by range, of those in pieces: of each piece the magnitudes of its gradient, or how many of its rows have one: 0 only where there is none */
  DhcValue *begun; /* "$begun": steps since a piece first had a gradient; NULL: no pieces */
  DHC_VEC(Range) ranges; /* all weights, in order */
  Few *few; /* by slot */
} Step;

/* ---- train_shares.c ---- */
/* Ranks' shares of what was placed. */
void dhc_step_cut(Step *s);
/* The rank that has the moments of a weight; its own where all have, or nobody. */
int dhc_step_owner(const Step *s, int64_t begin);
bool dhc_step_is_mine(const Step *s, const Range *r);
/* A kernel that writes a moment whole writes no part of the weights beside it (passes/fuse/fuse_merge.c), and the moment would be
 * copied: so a share has two ranges at least. */
void dhc_step_split(Step *s);
int64_t dhc_step_share(const Step *s); /* elements of a moment here */
/* The range's part of a moment here; NULL where that is. */
DhcValue *dhc_step_moment(Step *s, DhcValue *moment, const Range *r);
/* part[i][0], new weights of the ranges that are this rank's, old ones of others: all new. `all`: the same side by side. */
bool dhc_step_spread(Step *s, DhcValue *(*part)[DHC_MAX_RESULTS], DhcValue **all);
/* New weights of all ranges, of which those that are still as they were spread are slices of `all`. */
DhcValue *dhc_step_weights(Step *s, DhcValue *(*part)[DHC_MAX_RESULTS], DhcValue *all);

/* ---- train_losses.c ---- */
/* Index of a result by its name; -1: there is none. */
int dhc_step_result(const DhcFunc *f, const char *name);
/* Fills in `losses`; false after diagnostics, as all of these. */
bool dhc_step_find_losses(Step *s);
/* `grad` and room for `map`: gradients of each weight, of the loss of its group. */
bool dhc_step_differentiate(Step *s);
/* Whether each loss that a group names moves some of it. moves: by slot. */
bool dhc_step_losses_move(Step *s, const bool *moves);
/* Losses of the whole batch in their results' places, each as soon as it is there: nothing waits for it behind the gradients. */
bool dhc_step_whole_losses(Step *s);
/* `finite` says of them, too. */
bool dhc_step_finite_losses(Step *s);

/* ---- train_rows.c ---- */
/* Finds the gradients that need not lie in memory, and makes their operands values of `grad`; fills in `few`. */
bool dhc_step_find_few(Step *s);
/* The gradient, two or three axes. */
DhcValue *dhc_step_few_gradient(Step *s, const Few *few);
/* The sum of its squares, [1]; *size, if asked for: as dhc_step_sizes has it. */
DhcValue *dhc_step_few_squares(Step *s, const Few *few, DhcValue **size);

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
/* What is built next stands behind a node; NULL: behind all. */
void dhc_step_behind(Step *s, const DhcNode *n);
/* All gradients, flat, in the order of the weights. */
DhcValue *dhc_step_gradient(Step *s);
/* Whether an optimiser steps what is of another shape than flat (train_step.c). */
bool dhc_step_lifts(const DhcFunc *o);
/* Where a range's sizes are noted (train_step.c). */
DhcValue **dhc_step_size(Step *s, int range);
/* What step_ages asks of the ranges in pieces among `of` (train_step.c); squares: of one range, sums of each piece's. */
bool dhc_step_sizes(Step *s, DhcValue *gradients, const Range *of, DhcValue **squares);
/* The sum of their squares: of what lies between tensors in pieces, and of every piece, in order, then of these. Where a
 * batch has parts, range by range, with what is asked of its pieces: each as soon as it is there of all ranks, and the
 * same where they come in turn. */
DhcValue *dhc_step_squares(Step *s, DhcValue *gradients);
/* An entry that only adds its part to the sums. */
bool dhc_step_part(Step *s);

#endif
