/* First values of a program's tensors and states, as the graphs of its images say, in float64 whatever the device. */
#ifndef DHC_BACKENDS_BEGIN_H
#define DHC_BACKENDS_BEGIN_H

#include "ir/image_graph.h"
#include "runtime/program.h"

/* Who makes them. */
typedef struct DhcBeginner {
  DhcGraphReader reader;
  const dhc_exec *exec; /* NULL: the calling thread */
} DhcBeginner;

/* Every tensor of the layout, or the tables alone, which no file holds. DHC_E_INPUT: a diagnostic says why. */
dhc_status dhc_begin_slots(const DhcBeginner *b, DhcProg *p, bool tables_only) DHC_MUST_USE;
/* The states of the image with want[slot].in, which are live. */
dhc_status dhc_begin_states(const DhcBeginner *b, DhcProg *p, const dhc_image *im, const DhcWantState *want) DHC_MUST_USE;

#endif
