"""What SciPy gives for the statistics of runtime/stats.c: writes the table that test_stats.c compares with, or, with
SciPy at hand, is the comparison itself: stats_scipy.py --write > stats_scipy.txt; stats_scipy.py test_stats (77: no SciPy)."""
import random
import subprocess
import sys

try:
    from scipy import integrate, optimize, special, stats
except ImportError:
    print("skipped: no SciPy")
    sys.exit(77)


def rows():
    random.seed(1 if "--write" in sys.argv else None)
    out = []
    for _ in range(60):
        a, b = random.choice([.5, 1, 1.5, 2, 5, 20, 200]), random.choice([.5, 1, 2.5, 7, 50])
        x = random.random()
        out.append(("beta", [a, b, x], [special.betainc(a, b, x)]))
    for _ in range(60):
        t, df = random.gauss(0, random.choice([1e-3, 1, 10, 100])), random.choice([1, 2, 3, 4, 9, 29, 1000])
        out.append(("t", [t, df], [stats.t.cdf(t, df), 2 * stats.t.sf(abs(t), df)]))
        p = random.random() ** 3
        out.append(("quantile", [p, df], [stats.t.isf(p / 2, df)]))
        df, ncp, t = random.choice([1, 2, 3, 4, 9, 29]), random.uniform(-8, 25), random.uniform(-5, 15)
        there = stats.nct.cdf(t, df, ncp)
        if there == there:  # NaN instead of almost 0 or 1 for some t on the other side of 0 than ncp (SciPy 1.17)
            out.append(("nct", [t, df, ncp], [there]))
    for _ in range(60):
        n = random.choice([2, 3, 3, 4, 5, 8, 20])
        x = [random.gauss(0.7, 0.05) for _ in range(n)]
        y = [v + random.gauss(0.01, 0.02) for v in x]
        m = sum(x) / n
        lo, hi = stats.t.interval(0.95, n - 1, loc=m, scale=stats.sem(x))
        r = stats.ttest_rel(x, y)
        d = [a - b for a, b in zip(x, y)]
        half = stats.t.isf(0.025, n - 1)

        # the power by quadrature over the chi distribution: as nct.cdf is NaN for some
        def power(effect, df=n - 1, half=half):
            def tails(u):
                return (special.ndtr(effect - half * u / df ** 0.5) + special.ndtr(-effect - half * u / df ** 0.5)) * stats.chi.pdf(u, df)
            edge = effect / half * df ** 0.5
            return integrate.quad(tails, 0, edge, epsabs=1e-14, epsrel=1e-13, limit=500)[0] + \
                integrate.quad(tails, edge, edge + 12, epsabs=1e-14, epsrel=1e-13, limit=500)[0]
        found = optimize.brentq(lambda e: power(e) - 0.8, 0.1, 36, xtol=1e-13, rtol=1e-14) * stats.sem(d)
        out.append(("paired", [n] + x + y, [m, stats.tstd(x), lo, hi, r.statistic, r.pvalue, found]))
    for _ in range(20):
        p = [random.random() ** 3 for _ in range(random.choice([1, 2, 5, 7]))]
        order = sorted(range(len(p)), key=lambda i: p[i])
        adjusted, least = [0] * len(p), 0
        for k, i in enumerate(order):
            least = max(least, min(1, (len(p) - k) * p[i]))
            adjusted[i] = least
        out.append(("holm", [len(p)] + p, adjusted))
    return out


text = "".join("%s %s = %s\n" % (name, " ".join(repr(float(v)) for v in args), " ".join(repr(float(v)) for v in want))
               for name, args, want in rows())
if "--write" in sys.argv:
    sys.stdout.write(text)
else:
    sys.exit(subprocess.run([sys.argv[1], "-"], input=text, text=True).returncode)
