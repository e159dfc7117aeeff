/* runtime/stats.c against what SciPy gave (stats_scipy.txt, or standard input for "-"), to 1e-9; and the corners. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/stats.h"

enum { MAX = 100 };
static int n_rows, fails;

static void same(const char *row, const char *what, double got, double want) {
  double scale = fabs(want) > 1 ? fabs(want) : 1;
  n_rows++;
  if (fabs(got - want) <= 1e-9 * scale) return;
  printf("FAILED: %s: %s is %.17g, want %.17g\n", row, what, got, want);
  fails++;
}

static void relative(const char *row, const char *what, double got, double want) {
  if (want > 1e-200) same(row, what, got / want, 1);
  else same(row, what, got, want);
}

static void paired(const char *row, const double *a, const double *want) {
  int n = (int)a[0];
  DhcStatsMean m = dhc_stats_mean(a + 1, n);
  DhcStatsPaired p = dhc_stats_paired(a + 1, a + 1 + n, n);
  same(row, "mean", m.mean, want[0]);
  same(row, "sd", m.sd, want[1]);
  same(row, "lower end", m.ci_low, want[2]);
  same(row, "upper end", m.ci_high, want[3]);
  relative(row, "t", p.t, want[4]);
  relative(row, "p", p.p, want[5]);
  relative(row, "detectable", p.detectable, want[6]);
}

static void check(char *row) {
  char name[32], *eq = strstr(row, " = "), *at = row + strcspn(row, " ");
  double a[MAX], want[MAX], got[MAX];
  int n = 0, k = 0;
  if (!eq) return;
  snprintf(name, sizeof name, "%.*s", (int)(at - row), row);
  *eq = 0;
  for (char *end; n < MAX; at = end, n++) {
    a[n] = strtod(at, &end);
    if (end == at) break;
  }
  at = eq + 3;
  for (char *end; k < MAX; at = end, k++) {
    want[k] = strtod(at, &end);
    if (end == at) break;
  }
  if (!strcmp(name, "beta")) same(row, name, dhc_stats_beta(a[0], a[1], a[2]), want[0]);
  else if (!strcmp(name, "t")) same(row, "cdf", dhc_stats_t_cdf(a[0], a[1]), want[0]), relative(row, "tails", dhc_stats_t_two_sided(a[0], a[1]), want[1]);
  else if (!strcmp(name, "quantile")) relative(row, name, dhc_stats_t_quantile(a[0], a[1]), want[0]);
  else if (!strcmp(name, "nct")) same(row, name, dhc_stats_nct_cdf(a[0], a[1], a[2]), want[0]);
  else if (!strcmp(name, "paired")) paired(row, a, want);
  else if (!strcmp(name, "holm")) {
    dhc_stats_holm(a + 1, (int64_t)a[0], got);
    for (int i = 0; i < k; i++) same(row, name, got[i], want[i]);
  } else printf("FAILED: no test of %s\n", row), fails++;
}

static void is(const char *what, int holds) {
  n_rows++;
  if (!holds) printf("FAILED: %s\n", what), fails++;
}

static void corners(void) {
  const double three[] = {1, NAN, 3}, one[] = {5}, up[] = {2, 3, 4}, down[] = {1, 2, 3};
  DhcStatsMean m = dhc_stats_mean(three, 3);
  is("a missing number does not count", m.n == 2 && m.mean == 2);
  m = dhc_stats_mean(one, 1);
  is("one number has a mean and no interval", m.n == 1 && m.mean == 5 && isnan(m.sd) && isnan(m.ci_low));
  m = dhc_stats_mean(NULL, 0);
  is("none has nothing", m.n == 0 && isnan(m.mean));
  DhcStatsPaired p = dhc_stats_paired(up, down, 3);
  is("equal differences are certain", p.p == 0 && isinf(p.t) && p.difference.mean == 1 && p.detectable == 0);
  p = dhc_stats_paired(up, up, 3);
  is("no difference is no test", isnan(p.p) && p.difference.mean == 0);
  p = dhc_stats_paired(three, up, 3);
  is("pairs are where both are there", p.difference.n == 2);
  p = dhc_stats_paired(one, up, 1);
  is("one pair is no test", isnan(p.p) && isnan(p.detectable) && p.difference.mean == 3);
  double with[] = {0.01, NAN, 0.04}, out[3];
  dhc_stats_holm(with, 3, out);
  is("missing p do not count", out[0] == 0.02 && isnan(out[1]) && out[2] == 0.04);
  is("outside its range it is NaN", isnan(dhc_stats_beta(-1, 1, 0.5)) && isnan(dhc_stats_t_quantile(0, 3)) && isnan(dhc_stats_nct_cdf(1, 2, 40)) &&
                                        isnan(dhc_stats_t_cdf(NAN, 3)));
  is("ends", dhc_stats_beta(2, 3, 0) == 0 && dhc_stats_beta(2, 3, 1) == 1 && dhc_stats_t_two_sided(0, 5) == 1);
}

int main(int argc, char **argv) {
  FILE *f = argc < 2 ? NULL : strcmp(argv[1], "-") ? fopen(argv[1], "r") : stdin;
  char line[8192];
  if (!f) return printf("FAILED: no table\n"), 1;
  while (fgets(line, sizeof line, f)) check(line);
  corners();
  if (n_rows < 500) printf("FAILED: only %d comparisons\n", n_rows), fails++;
  printf("%d comparisons, %d failures\n", n_rows, fails);
  return fails != 0;
}
