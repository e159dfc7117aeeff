#!/usr/bin/env bash
# scipy 1.17.1, and statsmodels 0.15.0 above it: the noncentral t distribution's cdf is NaN for some arguments on the
# other side of 0 from its noncentrality, where the value is almost 0, and so the power of a two-sided t-test of few
# pairs and a large effect is NaN instead of almost 1. Neighbouring arguments give the right value. The guess was:
# 0 and 1, as the limit says.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
python3 -m venv "$tmp/env"
"$tmp/env/bin/pip" install -q scipy==1.17.1 statsmodels==0.15.0 numpy==2.4.6
"$tmp/env/bin/python" - <<'PY'
import numpy as np, scipy, statsmodels
from scipy import integrate, stats
from statsmodels.stats.power import TTestPower

print("scipy", scipy.__version__, "statsmodels", statsmodels.__version__)


def exact(t, df, nc):
    """P(T <= t) as the mean over the chi-squared variable under the root."""
    return integrate.quad(lambda v: stats.norm.cdf(t * np.sqrt(v / df) - nc) * stats.chi2.pdf(v, df), 0, np.inf)[0]


nothing = 0
for t, df, nc in ((-2.78, 4, 4), (-2.78, 4, 8), (-2.78, 4, 12), (-4.3, 2, 8), (-4.25, 29, 12.56), (-2, 30, 5)):
    got = stats.nct.cdf(t, df, nc)
    nothing += np.isnan(got)
    print(f"P(T <= {t}), {df} degrees, noncentrality {nc}: {got}, by quadrature {exact(t, df, nc):.1e}")
assert nothing >= 3 and not np.isnan(stats.nct.cdf(-2.78, 4, 4)), "no NaN now"

nothing = 0
for pairs in (2, 3, 5, 10, 30):
    power = [float(TTestPower().power(effect, pairs, 0.05)) for effect in (0.5, 2, 5, 10, 20)]
    nothing += int(np.isnan(power).sum())
    print(pairs, "pairs, effects 0.5 2 5 10 20:", power)
assert nothing >= 3, "no NaN now"
print("as stated")
PY
