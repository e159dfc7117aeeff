/* Random graphs for testing passes and backends: built constructively (every step makes
 * the shapes its op needs, nothing is solved for), with inputs and values steered to stay
 * finite, some over a symbolic batch. A graph is a function of its options alone.
 *
 * A graph is a list of steps; step k draws from a generator of its own and picks operands
 * by the highest hash of (k, candidate). Taking other steps away therefore leaves a step
 * as it was unless its operand went too, which is what makes the reducer work. */
#ifndef DHC_TESTS_RANDOM_GRAPH_H
#define DHC_TESTS_RANDOM_GRAPH_H

#include "ir/interp.h"

enum { DHC_RANDOM_MAX_STEPS = 32 };

typedef struct DhcRandomOptions {
  uint64_t seed;
  int min_steps, max_steps;  /* 0: 3 and 12 */
  int64_t max_elements;      /* of any value; 0: 65,536 */
  bool smooth;               /* only differentiable steps, away from kinks as far as can be */
  bool no_calls;             /* no call, no scan */
  bool loss;                 /* one more result, "loss": f32[], depends on all float results */
  uint32_t removed;          /* bit k: leave step k out (reducer) */
} DhcRandomOptions;

typedef struct DhcRandomGraph {
  DhcArena *arena;
  DhcStrings strings;
  DhcSources sources;
  DhcDiags diags;
  DhcModule *m;
  DhcFunc *f;                  /* entry @main; parameters are inputs */
  const DhcArray *const *args; /* one per parameter */
  int n_steps;                 /* drawn, the removed ones included */
} DhcRandomGraph;

/* False: a builder refused something (a fault of the generator or of a shape rule), see
 * diags. g lives in the arena and must stay where it is. */
bool dhc_random_graph(const DhcRandomOptions *o, DhcArena *arena, DhcRandomGraph *g);

/* Takes steps away as long as `fails` stays true (it must be true of *o); o->removed says
 * which are gone. Returns how many steps are left. */
typedef bool (*DhcRandomFails)(void *ctx, const DhcRandomOptions *o);
int dhc_random_reduce(DhcRandomOptions *o, DhcRandomFails fails, void *ctx);

/* ---- comparing two ways to run a graph --------------------------------------- */

/* Changes a module in place (a pass, a pipeline); may replace *f. False after diagnostics. */
typedef struct DhcRandomHook {
  const char *name;
  /* Done to both copies beforehand (taking the gradient), or NULL. */
  bool (*prepare)(void *ctx, DhcModule *m, DhcFunc **f);
  bool (*apply)(void *ctx, DhcModule *m, DhcFunc **f);
  void *ctx;
  const DhcKernelRunner *runner; /* runs the kernels of the second copy, or NULL */
  double rtol; /* 0: identical bits */
  const char *unsupported; /* code of the diagnostic that says: not done yet, no fault; or NULL */
  bool zeros;  /* but +0 and -0 count as equal */
} DhcRandomHook;

typedef struct DhcRandomTally {
  int graphs, invalid, non_finite, mismatches, unsupported;
} DhcRandomTally;

/* Interprets the graph as made and after the hook (on a second copy) and compares all
 * results; on a mismatch reduces, prints name, text and the difference, and counts. */
void dhc_random_check(const DhcRandomOptions *o, const DhcRandomHook *hook, DhcRandomTally *tally,
                      FILE *report);

#endif
