/* One training step, whoever asks for it: its numbers, the run under the guard, what came of it. */
#include "api/train/train.h"

dhc_status stepper_run(dhc_program *p, int entry, const StepAt *at, const dhc_tensor *in, const DhcDevicePtr *where, int n_in,
                       Stepped *out) {
  *program_scalar(p, DHC_NAME_LR) = at->lr;
  *program_scalar(p, DHC_NAME_STEP) = (double)at->step;
  *program_scalar(p, DHC_NAME_OPT_STEP) = (double)at->age;
  *program_scalar(p, DHC_NAME_SEED) = (double)at->seed;
  *out = (Stepped){0};
  DHC_TRY(program_run(p, entry, in, where, n_in, &out->results, &out->n_results));
  out->loss = scalar_result(out->results, out->n_results, DHC_RESULT_LOSS);
  out->grad_norm = scalar_result(out->results, out->n_results, DHC_RESULT_GRAD_NORM);
  out->finite = scalar_result(out->results, out->n_results, DHC_RESULT_FINITE) != 0;
  return dhc_status_ok();
}
