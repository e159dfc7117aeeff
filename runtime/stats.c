/* The incomplete beta function by its continued fraction (DLMF 8.17.22, evaluated as Lentz proposed, Appl. Opt. 15, 1976),
 * Student's t from it (DLMF 8.17.19 is its tail), the noncentral t by the series of Lenth (AS 243, Appl. Statist. 38,
 * 1989), quantiles by bisection. Compared with SciPy in tests/runtime/test_stats.c. */
#include "runtime/stats.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static double log_gamma(double x) {
  int sign;
  return lgamma_r(x, &sign);
}

/* Terms of the continued fraction, until one changes nothing. Converges fast for x < (a + 1) / (a + b + 2). */
static double beta_fraction(double a, double b, double x) {
  const double least = 1e-300;
  double c = 1, d = 1 - (a + b) * x / (a + 1);
  d = 1 / (fabs(d) < least ? least : d);
  double h = d;
  for (int m = 1; m <= 10000; m++) {
    double even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
    double odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));
    double change = 1;
    for (int k = 0; k < 2; k++) {
      double term = k ? odd : even;
      d = 1 + term * d;
      c = 1 + term / c;
      d = 1 / (fabs(d) < least ? least : d);
      c = fabs(c) < least ? least : c;
      change = c * d;
      h *= change;
    }
    if (fabs(change - 1) < DBL_EPSILON) break;
  }
  return h;
}

double dhc_stats_beta(double a, double b, double x) {
  if (!(a > 0) || !(b > 0) || !(x >= 0) || !(x <= 1)) return NAN;
  if (x == 0 || x == 1) return x;
  double front = exp(log_gamma(a + b) - log_gamma(a) - log_gamma(b) + a * log(x) + b * log1p(-x));
  if (x < (a + 1) / (a + b + 2)) return front * beta_fraction(a, b, x) / a;
  return 1 - front * beta_fraction(b, a, 1 - x) / b;
}

double dhc_stats_t_two_sided(double t, double df) {
  if (isnan(t) || !(df > 0)) return NAN;
  if (isinf(t)) return 0;
  /* where the tail is small it is what is computed; near 0 its argument would have lost t */
  double t2 = t * t;
  if (t2 < 1) return 1 - dhc_stats_beta(0.5, 0.5 * df, t2 / (df + t2));
  return dhc_stats_beta(0.5 * df, 0.5, df / (df + t2));
}

double dhc_stats_t_cdf(double t, double df) {
  double tail = 0.5 * dhc_stats_t_two_sided(t, df);
  return t > 0 ? 1 - tail : tail;
}

double dhc_stats_t_quantile(double p, double df) {
  if (!(p > 0) || !(p <= 1) || !(df > 0)) return NAN;
  double lo = 0, hi = 1;
  while (dhc_stats_t_two_sided(hi, df) > p && hi < 1e300) hi *= 2;
  for (int i = 0; i < 2000 && lo < hi; i++) {
    double mid = 0.5 * (lo + hi);
    if (mid <= lo || mid >= hi) break;
    if (dhc_stats_t_two_sided(mid, df) > p) lo = mid;
    else hi = mid;
  }
  return 0.5 * (lo + hi);
}

static double normal_cdf(double z) {
  return 0.5 * erfc(-z * 0.70710678118654752440);
}

/* P(0 < T <= t) for t > 0, as a sum over Poisson weights of ncp^2 / 2, each times an incomplete beta function; the next
 * ones come from the last by the recurrence in a. */
static double nct_above_zero(double t, double df, double ncp) {
  double x = t * t / (t * t + df), lambda = 0.5 * ncp * ncp, b = 0.5 * df;
  double p = 0.5 * exp(-lambda), q = sqrt(2 / 3.14159265358979323846) * exp(-lambda) * ncp; /* q has sqrt(2/pi)/2 … */
  double sum = 0, used = 0;
  q *= 0.5;
  for (int j = 0; j < 5000; j++) {
    if (j) {
      p *= lambda / j;
      q *= lambda / (j + 0.5);
    }
    double even = dhc_stats_beta(j + 0.5, b, x), odd = dhc_stats_beta(j + 1.0, b, x);
    double add = p * even + q * odd;
    sum += add;
    used += p;
    if (j > lambda && (0.5 - used) * even < 1e-17 && fabs(add) < 1e-17) break;
  }
  return sum;
}

double dhc_stats_nct_cdf(double t, double df, double ncp) {
  if (isnan(t) || !(df > 0) || !(fabs(ncp) <= 37)) return NAN;
  if (t < 0) return 1 - dhc_stats_nct_cdf(-t, df, -ncp);
  double below = normal_cdf(-ncp);
  if (t == 0) return below;
  double v = below + nct_above_zero(t, df, ncp);
  return v > 1 ? 1 : v < 0 ? 0 : v;
}

/* ---- means and tests -------------------------------------------------------------------------- */

DhcStatsMean dhc_stats_mean(const double *x, int64_t n) {
  DhcStatsMean m = {0, NAN, NAN, NAN, NAN};
  double sum = 0, squares = 0;
  for (int64_t i = 0; i < n; i++) {
    if (isnan(x[i])) continue;
    sum += x[i];
    m.n++;
  }
  if (!m.n) return m;
  m.mean = sum / (double)m.n;
  if (m.n < 2) return m;
  for (int64_t i = 0; i < n; i++)
    if (!isnan(x[i])) squares += (x[i] - m.mean) * (x[i] - m.mean);
  m.sd = sqrt(squares / (double)(m.n - 1));
  double half = dhc_stats_t_quantile(0.05, (double)(m.n - 1)) * m.sd / sqrt((double)m.n);
  m.ci_low = m.mean - half;
  m.ci_high = m.mean + half;
  return m;
}

/* Power of the two-sided test at 5 % where the true difference is ncp standard errors. */
static double power(double critical, double df, double ncp) {
  return 1 - dhc_stats_nct_cdf(critical, df, ncp) + dhc_stats_nct_cdf(-critical, df, ncp);
}

/* Standard errors that 80 % power takes. */
static double detectable_errors(double df) {
  double critical = dhc_stats_t_quantile(0.05, df), lo = 0, hi = 37;
  for (int i = 0; i < 200; i++) {
    double mid = 0.5 * (lo + hi);
    if (mid <= lo || mid >= hi) break;
    if (power(critical, df, mid) < 0.8) lo = mid;
    else hi = mid;
  }
  return 0.5 * (lo + hi);
}

DhcStatsPaired dhc_stats_paired(const double *x, const double *y, int64_t n) {
  DhcStatsPaired r = {.t = NAN, .df = NAN, .p = NAN, .detectable = NAN};
  double *d = malloc(sizeof *d * (size_t)(n > 0 ? n : 1));
  if (!d) {
    r.difference = dhc_stats_mean(NULL, 0);
    return r;
  }
  for (int64_t i = 0; i < n; i++) d[i] = x[i] - y[i];
  r.difference = dhc_stats_mean(d, n);
  free(d);
  if (r.difference.n < 2) return r;
  double error = r.difference.sd / sqrt((double)r.difference.n);
  r.df = (double)(r.difference.n - 1);
  r.t = r.difference.mean / error; /* 0 / 0: nothing to test */
  r.p = dhc_stats_t_two_sided(r.t, r.df);
  r.detectable = detectable_errors(r.df) * error;
  return r;
}

void dhc_stats_holm(const double *p, int64_t n, double *out) {
  int64_t left = 0;
  double least = 0;
  for (int64_t i = 0; i < n; i++) {
    out[i] = NAN;
    left += !isnan(p[i]);
  }
  for (; left > 0; left--) {
    int64_t next = -1;
    for (int64_t i = 0; i < n; i++)
      if (!isnan(p[i]) && isnan(out[i]) && (next < 0 || p[i] < p[next])) next = i;
    double adjusted = (double)left * p[next];
    if (adjusted > 1) adjusted = 1;
    if (adjusted > least) least = adjusted;
    out[next] = least;
  }
}
