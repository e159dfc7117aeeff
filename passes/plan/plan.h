/* From a fused entry to a plan (dhc/abi.h): calls inlined to items, scans to loops,
 * tensors to buffers, lifetimes to offsets. The plan names kernels by number; whoever
 * compiles turns `specs` into a kernel table of the same order. */
#ifndef DHC_PASSES_PLAN_H
#define DHC_PASSES_PLAN_H

#include "ir/spec.h"

/* What a named buffer of the plan is. Entry parameters first, in their order, then
 * results in theirs. */
typedef struct DhcPlanTensor {
  const char *name; /* as in the function: path, input or result name */
  DhcRole role;     /* of a parameter; INPUT for plain ones. Results: DHC_ROLE_PLAIN */
  DhcType type;     /* over the plan's symbols */
  int buffer;       /* index into plan.buffers; -1: parameter nothing reads */
} DhcPlanTensor;

/* A buffer that holds entry parameter `param`, packed (ir/spec_tag.c), before the first item
 * runs: matrices of rows x cols elements, f32, one after the other. */
typedef struct DhcPlanPanel {
  int param, buffer;
  DhcTag tag;
  int width;
  int64_t matrices, rows, cols;
} DhcPlanPanel;

typedef struct DhcPlanned {
  dhc_plan plan;                /* symbols are the entry's binders, in order */
  const DhcSpec *const *specs;  /* plan.n_kernels of them, each once; NULL: of an entry that runs whole */
  const dhc_dtype *dtypes;      /* of the elements of plan.buffers */
  const char *const *names;     /* of plan.buffers, for texts: parameter path, input or result; NULL: it has none */
  DhcPlanTensor *params;        /* parallel to the entry's parameters */
  int n_params;
  DhcPlanTensor *results;       /* parallel to the entry's results */
  int n_results;
  const DhcPlanPanel *panels; /* n_panels; their buffers make up DHC_SEGMENT_PANELS */
  int n_panels;
  int n_calls;                  /* CALL items (a loop's body counted once) */
} DhcPlanned;

typedef struct DhcPlanOptions {
  /* Sizes at which the packer chooses an order; by symbol name, 0 or absent: 16. None at all:
   * several sizes, with the first symbol as the batch. */
  const char *const *reference_symbols;
  const int64_t *reference_values;
  int n_reference;
  /* Every value in a buffer of its own, nothing in place: what other plans must agree with, bit
   * for bit. For tests and for finding faults. */
  bool plain;
  int linger; /* items that a buffer outlives its last use: those that follow need not wait for who reads it still */
} DhcPlanOptions;

/* `entry` is in stage FUSED, and so is what it calls. Buffers of persistent parameters
 * (roles WEIGHT, FLAT, BUFFER, TABLE, STATE, SCALAR) are named and lie in their segment
 * (WEIGHT and the flat "$w": WEIGHTS; other FLAT: MOMENTS; BUFFER, TABLE: BUFFERS; STATE: STATES,
 * whose sizes may depend on the symbols; SCALAR: SCALARS; one buffer each, not packed by liveness), alias-free roots, so that a program
 * can move them to its own places by overwriting `at`. Inputs and results lie in IO; a result
 * that is `update`'s value aliases the parameter. `update` writes in place where nothing
 * reads the old value later, else through a copy. Memory is `arena`'s. NULL after
 * diagnostics. */
DhcPlanned *dhc_plan_build(DhcModule *m, DhcFunc *entry, const DhcPlanOptions *o, DhcArena *arena);

/* The same of an entry in stage GRAPH, for a target that runs it whole, in float64 (plan_whole.c): the one kernel is the
 * entry, its operands all parameters and results, its dims the symbols. */
DhcPlanned *dhc_plan_whole(DhcFunc *entry, DhcArena *arena);

/* Every fact that the entry, called `name` in messages, was compiled under, unless it holds at all sizes. */
const dhc_guard *dhc_entry_guards(const DhcFunc *f, const char *name, DhcArena *arena, int32_t *n);
/* Largest sum of live work bytes over the items at the given sizes: the lower bound that
 * packing is measured against. */
int64_t dhc_plan_live_bytes(const DhcPlanned *p, const int64_t *symbols);
/* Text of the plan, for `print --stage=plan`. */
void dhc_plan_print(const DhcPlanned *p, DhcText *to);

#endif
