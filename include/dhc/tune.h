/* The search for the fastest schedules of an entry's kernels on this machine. */
#ifndef DHC_TUNE_H
#define DHC_TUNE_H

#include "dhc/dhc.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Searches, for every kernel of an entry at these sizes, the fastest of the schedules that give the same bits, on this machine, and writes
 * them to a file for session option `tuning`. What the file holds for other targets and entries stays; a search that is stopped
 * (DHC_E_INTERRUPTED) goes on from it. */
typedef struct dhc_tune_options {
  const char *entry; /* NULL: "forward", with grad "loss" */
  bool grad;         /* its gradients, too */
  const char *sizes; /* as in dhc_model_info_json */
  const char *file;
  int repeat;        /* runs of each round; 0: 9 */
  void (*progress)(void *ctx, int round, int rounds); /* or NULL */
  void *ctx;
} dhc_tune_options;
typedef struct dhc_tune_result {
  int kernels, chosen, rounds; /* of the entry; those that have another schedule now */
  double usual_ms, tuned_ms;   /* sums over kernels of the least times of their calls in a run */
} dhc_tune_result;
DHC_API dhc_status dhc_model_tune(dhc_model *m, const dhc_tune_options *o, dhc_tune_result *out) DHC_MUST_USE;

#ifdef __cplusplus
}
#endif
#endif
