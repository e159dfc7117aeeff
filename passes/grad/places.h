/* Where everything lies that outlives a run: one layout, by which training steps slice their flat tensors, images
 * name places and files are read and written. */
#ifndef DHC_PASSES_PLACES_H
#define DHC_PASSES_PLACES_H

#include "passes/passes.h"

/* Places of the module's weights in one flat tensor: those that decay, those that do not, those that are frozen, each in
 * the module's order; where groups have optimisers of their own, the first two by what is kept of them, so that a moment is
 * as long as up to the last that has it. The one order that training steps, images and files go by. */
typedef struct DhcPlaces {
  int64_t *offset, *n; /* by tensor of the module, in elements; n 0: neither weight nor float buffer, or no fixed size */
  int64_t n_weights, n_decayed;
  int64_t n_moving; /* of the weights in front of the frozen ones, which have no moments */
  int64_t n_begun; /* pieces of the tensors that files hold in pieces */
  int64_t n_more;  /* losses, and elements of the float buffers: of tensor i from offset[i] on */
} DhcPlaces;
DhcPlaces dhc_places_make(DhcModule *m, DhcArena *arena);
/* Which of n classes a weight is among, in order: the last are the frozen ones. */
int dhc_place_class(const DhcModule *m, const DhcTensorDecl *d);
int dhc_n_place_classes(const DhcModule *m);

/* Where the shares of n ranks begin and end, in n + 1 elements: whole tensors, as even as these let them be, for each rank one at
 * least. False: there are fewer that move. */
bool dhc_places_cut(DhcModule *m, const DhcPlaces *p, int n, int64_t *cut);

/* Which of the optimiser's results is the weights: the one with the name of its first parameter, else the first. All
 * others are moments. */
int dhc_optimizer_weights(const DhcFunc *optimizer);

/* What optimisers keep: a moment for each name, whichever of them have it. own: by group, as in DhcTrainRequest. */
typedef struct DhcMoments {
  int n;
  const char **name;
  int64_t *length; /* of the weights from the first on */
} DhcMoments;
DhcMoments dhc_moments_make(const DhcModule *m, const DhcPlaces *p, const DhcFunc *optimizer, DhcFunc *const *own, DhcArena *arena);
/* Whether a weight has a moment of the name, where its optimiser is a group's own; of the recipe's it has all. */
bool dhc_weight_keeps(const DhcModule *m, const DhcTensorDecl *t, const char *name);

/* Number of the loss that a group's gradients are of, among those that groups name; 0: the entry's own. */
int dhc_group_loss(const DhcModule *m, int group);
int dhc_n_losses(const DhcModule *m);

/* optimizer, own: whose state and, with ema, averaged weights get ranges; NULL: none. `wide`: floats
 * lie as f64. parts: with room for sums over the parts of a batch. share: of moments. */
const dhc_layout *dhc_layout_make(DhcModule *m, const DhcFunc *optimizer, DhcFunc *const *own, bool ema, bool parts, DhcShare share, bool wide, DhcArena *arena);

#endif
