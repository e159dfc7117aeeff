/* Functions that an image carries as graphs (dhc_graph in dhc/abi.h): initialisers, first states, the
 * optimiser's formula. In the process that made the image it is the function itself, elsewhere its text. */
#ifndef DHC_IR_IMAGE_GRAPH_H
#define DHC_IR_IMAGE_GRAPH_H

#include "ir/ir.h"

/* Who wants the functions: they live in the arena, what is wrong with a text goes to diags. */
typedef struct DhcGraphReader {
  DhcArena *arena;
  DhcStrings *strings;
  DhcDiags *diags;
} DhcGraphReader;
/* NULL where there is no graph, or after a diagnostic. */
const DhcFunc *dhc_graph_func(const DhcGraphReader *r, const dhc_graph *g);
/* f and what it calls, f last, as a function of its own: its parameters are inputs. */
const char *dhc_graph_text(const DhcFunc *f, DhcArena *arena);
/* The same of an entry, whose parameters stay what they are: the code of a target that runs entries whole. */
const char *dhc_entry_text(const DhcFunc *f, DhcArena *arena);

#endif
