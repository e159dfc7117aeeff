/* Taking work out of scans, inside. */
#ifndef DHC_PASSES_HOIST_INTERNAL_H
#define DHC_PASSES_HOIST_INTERNAL_H

#include "passes/passes.h"

/* What a value of the body is for all steps at once, in front of the scan. */
typedef struct DhcSteps {
  DhcValue *v;
  int axis; /* where the axis of steps is; -1: the same at every step */
} DhcSteps;

typedef struct DhcHoist {
  DhcPassCtx *px;
  DhcModule *m;
  DhcNode *n;       /* the scan */
  DhcFunc *body;
  int n_carry, n_xs, axis;
  const DhcDim *length;
  bool chunked;     /* a trip is many steps: its dots are large enough */
  DhcBuilder b;     /* in front of the scan */
  bool *stepped;    /* by value id of the body: depends on xs */
  bool *can;        /* by value id of the body: can be computed for all steps at once */
  bool *fed;        /* by value id of the body: depends on some operand, not on fills alone */
  DhcSteps *done;   /* by value id of the body; v NULL: not yet */
  const DhcDim *const *dims; /* what the body's symbols are bound to */
} DhcHoist;

/* Whether n can be computed for all steps at once, by ops that give the same bits there;
 * its operands have been asked before. */
bool dhc_hoist_can(const DhcHoist *h, const DhcNode *n);
/* Builds that of v (h->can must have said yes). v == NULL after a diagnostic. */
DhcSteps dhc_hoist_steps(DhcHoist *h, DhcValue *v);
/* Same, with the axis of steps at `axis` (v must depend on xs). */
DhcValue *dhc_hoist_steps_at(DhcHoist *h, DhcValue *v, int axis);
const DhcDim *dhc_hoist_dim(const DhcHoist *h, const DhcDim *d); /* of the body, outside */

#endif
