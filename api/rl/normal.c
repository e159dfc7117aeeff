/* Running means and deviations, as Gymnasium's and OpenAI Baselines' normalisers keep them. */
#include <math.h>

#include "api/rl/rl.h"

void running_add(Running *r, const double *rows, int64_t n_rows) {
  double n = (double)n_rows, all = r->count + n;
  for (int i = 0; i < r->n; i++) {
    double sum = 0, squares = 0;
    for (int64_t k = 0; k < n_rows; k++) sum += rows[k * r->n + i];
    double mean = sum / n;
    for (int64_t k = 0; k < n_rows; k++) squares += (rows[k * r->n + i] - mean) * (rows[k * r->n + i] - mean);
    double off = mean - r->mean[i];
    r->squares[i] += squares + off * off * r->count * n / all;
    r->mean[i] += off * n / all;
  }
  r->count = all;
}

double running_scale(const Running *r, int i) {
  return 1.0 / sqrt((r->count > 0 ? r->squares[i] / r->count : 1.0) + 1e-8);
}
