/* Where the time of an entry goes, how far from what this machine can do. */
#ifndef DHC_PROFILE_H
#define DHC_PROFILE_H

#include "dhc/dhc.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct dhc_profile_options {
  const char *entry; /* NULL: "forward", with grad "loss" */
  bool grad;         /* its gradients, too */
  const char *sizes; /* as in dhc_model_info_json; inputs are generated, whole numbers among them 0 */
  int repeat;        /* runs that are timed; 0: 10 */
  bool rows;         /* time of every item, by as many runs more, and what the machine can do */
} dhc_profile_options;

/* An item of the last of these runs, begun and ended in microseconds from the first one's begin. */
typedef struct dhc_profile_event {
  int row;
  double begin_us, end_us;
} dhc_profile_event;

typedef struct dhc_profile {
  const double *run_ms; /* of runs without a clock in them, behind three to warm up; rising */
  int n_runs;
  const dhc_profile_row *rows;
  const dhc_profile_event *events;
  int n_rows, n_events;
  int64_t work_bytes; /* what a run needs beside weights, inputs and results: activations, and scratch of all workers */
  /* By kernels on the session's threads and device: fused multiply-adds in registers, a sum over 64 MiB, from memory unless the last
   * cache holds as much. */
  double peak_gflop_per_s, peak_gb_per_s;
} dhc_profile;
/* What *out points at lasts as long as the model's session. */
DHC_API dhc_status dhc_model_profile(dhc_model *m, const dhc_profile_options *o, dhc_profile *out) DHC_MUST_USE;

#ifdef __cplusplus
}
#endif
#endif
