/* Statistics of few numbers: means with Student's intervals, paired tests, what a test could have found. */
#ifndef DHC_RUNTIME_STATS_H
#define DHC_RUNTIME_STATS_H

#include <stdint.h>

/* Regularised incomplete beta function I_x(a, b); a, b > 0, 0 <= x <= 1, else NaN. */
double dhc_stats_beta(double a, double b, double x);
/* Student's t with df > 0 degrees: P(T <= t), P(|T| > |t|), and the t with P(|T| > t) = p, 0 < p <= 1. */
double dhc_stats_t_cdf(double t, double df);
double dhc_stats_t_two_sided(double t, double df);
double dhc_stats_t_quantile(double p, double df);
/* Noncentral t: P(T <= t) where T = (Z + ncp) / sqrt(chi-squared(df) / df). |ncp| up to 37. */
double dhc_stats_nct_cdf(double t, double df, double ncp);

/* Of n numbers; NaN among them count as missing: n is how many are left. */
typedef struct DhcStatsMean {
  int64_t n;
  double mean, sd;        /* NaN of none; sd of n - 1, NaN of fewer than two */
  double ci_low, ci_high; /* 95 %, Student's t; NaN of fewer than two */
} DhcStatsMean;
DhcStatsMean dhc_stats_mean(const double *x, int64_t n);

/* x[i] - y[i] over the i where both are there. */
typedef struct DhcStatsPaired {
  DhcStatsMean difference;
  double t, df, p;   /* two-sided; NaN of fewer than two pairs, and where all differences are 0 */
  double detectable; /* true difference that this test, at 5 % and with this sd, finds in 80 of 100 cases */
} DhcStatsPaired;
DhcStatsPaired dhc_stats_paired(const double *x, const double *y, int64_t n);

/* p adjusted for n comparisons (Holm, 1979); NaN stay and do not count. */
void dhc_stats_holm(const double *p, int64_t n, double *out);

#endif
