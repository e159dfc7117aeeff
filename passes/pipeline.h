/* The way of an entry through the passes: one function for all who take it, the API, `print`, `opt` and the
 * tests. Its steps stand in pipeline.c, one a line. */
#ifndef DHC_PASSES_PIPELINE_H
#define DHC_PASSES_PIPELINE_H

#include "passes/passes.h"
#include "passes/plan/plan.h"

/* A digest of the compiler's own text: what one build makes is not taken for what another would. */
extern const char dhc_build_id[];

typedef enum DhcPipelineStage {
  DHC_PIPELINE_BEGUN,
  DHC_PIPELINE_GRAPH, /* differentiated or made into a training step, clean */
  DHC_PIPELINE_FUSED, /* kernels around what is left; weights in panels */
  DHC_PIPELINE_PLAN
} DhcPipelineStage;

typedef enum DhcDerive { DHC_DERIVE_NOTHING, DHC_DERIVE_GRADIENT, DHC_DERIVE_STEP } DhcDerive;

typedef struct DhcPipelineRequest {
  DhcModule *module; /* stays as it is: the way is gone by a copy of what the entry needs */
  DhcFunc *entry;    /* NULL: all of the module, in place; nothing is derived and nothing planned */
  DhcDerive derive;
  DhcFunc *optimizer; /* of a step */
  DhcFunc *const *own; /* of a step: as in DhcTrainRequest */
  bool ema;
  bool shared, parts, part; /* of a step: as in DhcTrainRequest */
  DhcShare share;           /* the same */
  bool few;                 /* of a step: as in DhcTrainRequest, with the sizes at hand */
  const char *const *size_of;
  const int64_t *size;
  int n_sizes;
  bool bounded; /* nothing of how much is done may hang on values: matrices that rows pick are all met */
  bool recurs; /* the target has a kernel for derivatives of recurrences */
  bool tiles; /* the target has a kernel for the rule of tiles (ir/sum.h) */
  bool routes; /* the target has a kernel for routing */
  bool ranks; /* the target has a kernel for ranks of a row's places */
  bool lanes;   /* the target runs calls side by side that do not touch one another's memory */
  bool norms;   /* where it `repeats`: contractions make rows of their own sums by themselves, where these are few */
  bool repeats; /* to the target computing anew is cheap beside kernels and memory */
  bool whole; /* the target runs entries whole: no kernels are made, the plan is one call (dhc_plan_whole) */
  const char *disabled; /* as in DhcPassCtx */
  int64_t limit;        /* changes of all passes that the switches reach; < 0: none */
  bool plain;           /* as in DhcPlanOptions */
} DhcPipelineRequest;

typedef struct DhcPipeline {
  DhcPipelineRequest rq;
  DhcPipelineStage at; /* how far it has come */
  DhcModule *module;
  DhcFunc *func; /* the entry, what was made of it */
  DhcTrainStep step;
  int64_t changes; /* so far, as `limit` counts them */
  unsigned props;  /* DhcProp set */
  int panel_tag;
  const struct DhcNarrows *narrow;
  int panel_width, panel_width_pair; /* as in DhcPassCtx; to be said before FUSED, of entries that run */
  DhcPlanned *planned;
} DhcPipeline;

DhcPipeline dhc_pipeline_begin(const DhcPipelineRequest *rq);
/* The same of an entry that has come to a stage already, which is gone on from in place: of IR text, of what tests make. */
DhcPipeline dhc_pipeline_from(DhcFunc *entry, DhcPipelineStage at);
/* Goes on to `until`; nothing where it is there already. False after diagnostics: it is of no use any more. */
bool dhc_pipeline_run(DhcPipeline *p, DhcPipelineStage until);

#endif
