/* Knock-out: parts of a model left out of runs, as edits of a compiled entry's plan. A call of a unit that gives
 * what it takes (x + f(x)) is dropped, and its output is its input; what else it gave is zero,
 * or true. An expert is closed
 * through the table "closed" of its layer. Kernels are those of the whole entry.
 *
 *   target.c   words -> units of an entry, experts of layers
 *   edit.c     an entry's version without some units
 *   study.c    everything left out in turn: dhc_ablate */
#ifndef DHC_API_ABLATE_H
#define DHC_API_ABLATE_H

#include "api/api.h"

/* A call of an entry that can be dropped. */
typedef struct Unit {
  DhcNode *call;
  const DhcValue *input; /* what its first result is without it */
  const char *path;      /* of the layer that most of its weights are of: "layers.3.ffn" */
  const char *block;     /* of the layer that all of them are in: "layers.3" */
  const char *kind;      /* what made `path`: "MoE" */
} Unit;
typedef DHC_VEC(Unit) Units;
/* Those of an entry, in its order. Memory is the arena's. */
Units units_of(const dhc_model *m, const DhcFunc *entry, DhcArena *a);

/* One thing to leave out. */
typedef struct Target {
  const char *text;   /* as given */
  const char *what;   /* a path, part of one, or a kind; without "=expert:2" */
  int64_t expert;     /* -1: units */
  bool kind;          /* `what` is a kind's whole name, nothing else */
} Target;
dhc_status target_parse(const char *text, DhcArena *a, Target *out) DHC_MUST_USE;
bool target_hits(const dhc_model *m, const Target *t, const char *path, const char *kind);

typedef struct Ablation {
  int id; /* rises; 0 is none */
  int n;
  Target *target;
} Ablation;

/* Experts that a layer can close; 0: none. */
int64_t ablate_experts(const dhc_program *p, const char *path);
/* Runs of the program leave these out from now on; their memory is the caller's. */
dhc_status ablate_targets(dhc_program *p, Target *target, int n) DHC_MUST_USE;

/* DHC_E_INPUT: "nothing in entry 'forward' is called that", with what there is. */
dhc_status ablate_nothing(const Target *t, const char *entry, const Units *u, DhcArena *a) DHC_MUST_USE;

#endif
