/* Private to the random graph generator. */
#ifndef DHC_TESTS_RANDOM_INTERNAL_H
#define DHC_TESTS_RANDOM_INTERNAL_H

#include "tests/ops/op_cases.h"
#include "tests/random/random_graph.h"

/* A float value of the graph with what steering needs to know: its concrete extents and
 * bounds that hold for the drawn inputs. */
typedef struct RandomValue {
  DhcValue *v;
  uint64_t id; /* stable name for picking: hash of the step and its place in it */
  int64_t dim[DHC_MAX_RANK];
  double lo, hi;
  bool used;
} RandomValue;

typedef struct RandomGen {
  const DhcRandomOptions *o;
  DhcRandomGraph *g;
  DhcBuilder b;
  int64_t batch; /* what symbol B is; 0: no symbol in this graph */
  int64_t max_elements;
  DHC_VEC(RandomValue) pool;
  DHC_VEC(const DhcArray *) args;
  /* of the step at work: */
  uint64_t state, step_id;
  int n_made;
} RandomGen;

/* ---- drawing ---- */
int random_below(RandomGen *r, int n);
bool random_chance(RandomGen *r, int percent);

/* ---- values ---- */
/* Highest-hash value with a wanted property, or NULL. `like`: only of its type. */
RandomValue *random_pick(RandomGen *r, const RandomValue *like);
/* New input of the given type, uniform in lo..hi. */
RandomValue random_input(RandomGen *r, const DhcType *t, const int64_t *dim, double lo, double hi);
DhcValue *random_index_input(RandomGen *r, int64_t n, int64_t below);
DhcValue *random_scalar_input(RandomGen *r, int64_t value);
/* Of the pool if one fits and chance says so, else a new input. */
RandomValue random_other(RandomGen *r, const RandomValue *like);
/* Describes v: extents by evaluating its type under B. */
RandomValue random_value(RandomGen *r, DhcValue *v, double lo, double hi);
int64_t random_elements(const RandomValue *x);
const DhcDim *random_const(RandomGen *r, int64_t v);
/* Extent d of x is a constant. */
bool random_is_const(const RandomValue *x, int d);

/* ---- building, bounds carried along ---- */
RandomValue random_un(RandomGen *r, DhcOp op, RandomValue x, double lo, double hi);
RandomValue random_bin(RandomGen *r, DhcOp op, RandomValue x, RandomValue y);
/* Values squeezed into about -limit..limit (tanh) if they may be larger. */
RandomValue random_tame(RandomGen *r, RandomValue x, double limit);
/* softplus(x) + at_least. */
RandomValue random_positive(RandomGen *r, RandomValue x, double at_least);

/* One step on operand x: tries templates from a drawn one on until one applies. */
bool random_step(RandomGen *r, RandomValue x);
void random_put(RandomGen *r, RandomValue v);

#endif
