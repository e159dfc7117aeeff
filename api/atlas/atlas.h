/* What is known of a model without running it: sizes as words, costs.
 *
 *   sizes.c   "B=16,H=32" -> values of an entry's symbols, shapes of its inputs
 *   generated.c  inputs at given sizes, to be timed on
 *   costs.c   dhc_model_costs: a version's graph and plan, bound without code
 *   count.c   operations, parameters that a token meets, caches: walks over the graph
 *   graph.c   an entry as one graph over its units
 *   kernels.c why two variants do not share a kernel
 *   explain.c what is new about a kernel that is compiled
 *   info.c    the report about a model */
#ifndef DHC_API_ATLAS_H
#define DHC_API_ATLAS_H

#include "api/api.h"
#include "ir/spec_diff.h"

enum { ATLAS_MAX_INPUTS = 32 };

/* An entry's inputs at given sizes. */
typedef struct Sizes {
  DhcFunc *func; /* as elaborated, without optional inputs */
  int n;
  const char *const *names; /* its symbols, func->symbols.n of them */
  int64_t *values;
  bool *assumed; /* by symbol: not said */
  DhcInputShape input[ATLAS_MAX_INPUTS];
  int n_inputs;
} Sizes;
/* DHC_E_USAGE where `sizes` is no list of NAME=N, or names no size of the entry (unless `any_name`);
 * DHC_E_INPUT where inputs have no such size. Memory is the arena's. */
dhc_status sizes_bind(dhc_model *m, const char *entry, const char *sizes, bool any_name, DhcArena *a, Sizes *out) DHC_MUST_USE;
/* variant.c: 16 hex digits of what a run of the variant would compute, given its loss; the same where the loss is to be
 * asked for, at these sizes or assumed ones: the model's own where it has none, or none at such sizes. */
void atlas_hash_of(dhc_model *m, DhcFunc *loss, DhcArena *a, char out[17]);
void atlas_variant_hash(dhc_model *m, const char *sizes, DhcArena *a, char out[17]);
/* "B = 16, H = 32 (assumed)"; "H=32" of those assumed. */
const char *sizes_text(const Sizes *s, DhcArena *a);
const char *sizes_assumed(const Sizes *s, DhcArena *a);

/* One op of a graph, over all calls. */
typedef struct OpCount {
  double nodes, flops; /* nodes: times it is computed, calls and trips counted */
} OpCount;
typedef struct Counts {
  OpCount op[DHC_N_OPS];
  double flops;
  double cache_bytes_token; /* of composites that attend */
  const char *attends[16];  /* layers whose text attends: made by */
  int n_attends;
  const DhcFunc *func; /* what was walked over, once it is known */
  struct {
    DhcKind kind;
    int64_t extent;
    const char *name;
  } unrolled[64];      /* what is a constant of kernels, each once a kind; name: NULL, or what it is */
  int n_unrolled;
} Counts;
/* Walks f with its callees at these values of its symbols. False: a cost does not fit in 63 bits. */
bool counts_of(const dhc_model *m, const DhcFunc *f, const int64_t *values, Counts *out);
void counts_unrolled(Counts *c, DhcKind kind, int64_t extent, const char *name);
/* Elements of parameters that one token meets. */
double counts_active(const DhcFunc *f, const DhcModule *decls);
/* Bytes of all states, of caches (states of layers that attend) and of others, at these sizes; NaN: unknown. */
void counts_states(const dhc_model *m, const Counts *c, const Sizes *s, double *caches, double *others);

/* An entry's graph, before fusion changes it, with the values of its symbols at these sizes, which its guards take. */
dhc_status atlas_version(dhc_model *m, const char *entry, dhc_mode mode, const Sizes *s, DhcArena *a, Version **out, int64_t **out_values) DHC_MUST_USE;

/* graph.c: an entry with all calls written out. */
typedef struct AtlasNode {
  const char *op;   /* "input", "result", an op, or what a kernel of its own computes */
  const char *name; /* of an input or result; else NULL */
  const char *path; /* of the layer that it was written in */
  int layer;        /* that one's number in dhc_model_layers */
  const char *type; /* of what it gives first, at the sizes */
  double flops;
  bool result;         /* an output of the entry */
  DHC_VEC(int) args;   /* nodes, each once */
} AtlasNode;
typedef struct AtlasLayer {
  int parent;         /* -1: of the root */
  double flops;       /* submodules' too */
  const char *output; /* what leaves it, types with commas between; NULL: nothing */
} AtlasLayer;
typedef struct AtlasGraph {
  Sizes sizes;
  DHC_VEC(AtlasNode) nodes; /* arguments first */
  AtlasLayer *layers;       /* as dhc_model_layers */
  int n_layers;
} AtlasGraph;
dhc_status atlas_graph(dhc_model *m, const char *entry, const char *sizes, DhcArena *a, AtlasGraph *out) DHC_MUST_USE;
bool atlas_path_within(const char *path, const char *layer); /* "a.b" in "a", and in "" */

/* Kernels that a session, and those lent to its variants, have to do with. */
struct SeenKernels {
  DhcArena arena;
  DHC_VEC(const char *) keys;   /* that dhc_model_costs was asked about */
  bool loaded;
  DHC_VEC(DhcSpecLines) specs;  /* stored before, or compiled since; once loaded */
};

/* A hyperparameter of this name may be what kernels of this kind unroll. */
bool atlas_may_unroll(const char *kind, const char *name);
/* What a number that a kernel of this kind unrolls may be: hyperparameters of such names that have this value, the
 * head size; or NULL. */
const char *atlas_number_name(dhc_model *m, const char *kind, int64_t v);

/* "loss", where there is something to train; else NULL. */
const char *atlas_trained_entry(dhc_model *m);

/* dhc_model_costs, with what else the walk over the entry's graph found. */
dhc_status atlas_costs(dhc_model *m, const dhc_costs_options *o, DhcArena *a, Counts *run, dhc_costs *out) DHC_MUST_USE;

/* generated.c: inputs of an entry at these sizes, all zeros. in: room for ATLAS_MAX_INPUTS; memory is the arena's. */
dhc_status generate_zeros(dhc_model *m, const char *entry, const Sizes *s, DhcArena *a, dhc_tensor *in) DHC_MUST_USE;
/* Their data: floats in -1 ... 1, integers below `classes`. */
void generate_fill(const dhc_tensor *in, int n_in, uint64_t seed, int64_t classes);

/* Inputs of an entry, floats between -1 and 1, whole numbers 0: an index of anything. DHC_E_INPUT where memory is too little. */
typedef struct Generated {
  dhc_tensor t[ATLAS_MAX_INPUTS];
  int n;
} Generated;
dhc_status generate_inputs(dhc_model *m, const char *entry, const char *sizes, DhcArena *a, Generated *out) DHC_MUST_USE;

#endif
