"""How often the intervals of this companion hold the truth, by simulation.

`python benchmarks/coverage.py [--runs 4000]` writes coverage.csv and images_as_subjects.csv beside
this file; chapter 8 shows them. Coverage of the 95% intervals of `intervals.mean_interval` and
`intervals.paired_interval` (pooled d, Cohen's h), for normal and skewed subjects, and what
a test over images does where images of one subject resemble each other. All runs of a cell at
once, so t, jackknife and BCa are written here a second time; `tests/test_coverage.py` compares
both.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.stats

RUNS, SUBJECTS, RESAMPLES, CHUNK = 4000, (6, 12, 20, 35, 45, 60), 9999, 100
SHAPES = {  # mean 0, SD 1
    "normal": lambda rng, size: rng.normal(size=size),
    "skewed (exponential)": lambda rng, size: rng.exponential(size=size) - 1,
}
CORRELATION = 0.8  # between the arms of one subject
SHIFT, RATES = 0.8, (0.10, 0.12)  # of the mean, and of pooled d; mean rates of the two arms
ADDED = (8, 11)  # later: rows below the others, with numbers of their own, so that those stay
LARGER = (2.6, 8.0, 20.0)  # of pooled d too: a gap may be many times the spread of subjects


def moments(x, y):
    """First and second moments of both arms, (4, ..., n): what every statistic is made of."""
    return np.stack([x, y, x**2, y**2])


def mean_of(m, n):
    return m[0] - m[1]


def pooled_d(m, n):
    spread = (m[2] - m[0] ** 2 + m[3] - m[1] ** 2) / 2 * n / (n - 1)
    return (m[0] - m[1]) / np.sqrt(spread)


def cohen_h(m, n):
    return np.diff(2 * np.arcsin(np.sqrt(np.clip(m[:2], 0, 1))), axis=0)[0]


STATISTICS = {"mean difference": mean_of, "pooled d": pooled_d, "Cohen's h": cohen_h}
TRUTH = {
    "mean difference": SHIFT,
    "pooled d": SHIFT,
    "Cohen's h": float(np.diff(2 * np.arcsin(np.sqrt(RATES)))[0]),
}


def draw(statistic, shape, runs, n, rng, shift=SHIFT):
    """Draw two arms ``(runs, n)`` whose true value of the statistic is `TRUTH`'s, or ``shift``."""
    if statistic == "mean difference":  # between two alike arms it would be symmetric
        return SHAPES[shape](rng, (runs, n)) + shift, np.zeros((runs, n))
    shared, *own = (SHAPES[shape](rng, (runs, n)) for _ in range(3))
    x, y = (np.sqrt(CORRELATION) * shared + np.sqrt(1 - CORRELATION) * one for one in own)
    if statistic == "Cohen's h":
        return RATES[0] * (1 + 0.3 * x), RATES[1] * (1 + 0.3 * y)
    return x + shift, y


def left_out(m, n):
    """Moments without each subject in turn, (4, runs, n)."""
    return (m.sum(-1, keepdims=True) - m) / (n - 1)


def t_ends(values, n):
    """Student's t of values ``(runs, n)``; returns both ends, ``(2, runs)``."""
    half = scipy.stats.t.ppf(0.975, n - 1) * values.std(-1, ddof=1) / np.sqrt(n)
    return values.mean(-1) + np.outer((-1, 1), half)


def bca_ends(statistic, m, n, rng):
    """BCa ends (Efron 1987) of runs that share their resamples, ``(2, runs)``."""
    weights = rng.multinomial(n, np.full(n, 1 / n), size=RESAMPLES) / n  # (B, n)
    values = statistic(np.stack([weights @ one.T for one in m]), n)  # (B, runs)
    whole = statistic(m.mean(-1), n)
    below = ((values < whole).sum(0) + (values <= whole).sum(0)) / (2 * len(values))
    bias = scipy.stats.norm.ppf(below)
    away = statistic(left_out(m, n), n - 1)
    away = away.mean(-1, keepdims=True) - away
    bend = (away**3).sum(-1) / (6 * (away**2).sum(-1) ** 1.5)
    ends = []
    values.sort(axis=0)
    for z in scipy.stats.norm.ppf((0.025, 0.975)):
        at = scipy.stats.norm.cdf(bias + (bias + z) / (1 - bend * (bias + z)))
        place = at * (len(values) - 1)
        low = np.floor(place).astype(int)
        high, column = np.minimum(low + 1, len(values) - 1), np.arange(values.shape[1])
        ends.append(
            values[low, column] + (place - low) * (values[high, column] - values[low, column])
        )
    return np.stack(ends)


def intervals(name, x, y, rng):
    """Intervals of a statistic of arms ``(runs, n)``, by the rules of the package, ``(2, runs)``."""
    n, statistic = x.shape[1], STATISTICS[name]
    if n < 20 and name == "mean difference":
        return t_ends(x - y, n)
    m = moments(x, y)
    if n < 20:
        whole, rest = statistic(m.mean(-1), n), statistic(left_out(m, n), n - 1)
        return t_ends(n * whole[:, None] - (n - 1) * rest, n)
    parts = np.array_split(np.arange(len(x)), max(1, len(x) // CHUNK))
    return np.concatenate([bca_ends(statistic, m[:, part], n, rng) for part in parts], axis=1)


def coverage(name, shape, n, runs, rng, shift=SHIFT):
    """Share of runs whose interval holds the truth; ``shift``: the true mean difference or d."""
    truth = TRUTH[name] if name == "Cohen's h" else shift
    low, high = intervals(name, *draw(name, shape, runs, n, rng, shift), rng)
    return float(np.mean((low <= truth) & (truth <= high)))


def cells():
    """Every cell of coverage.csv: a statistic at its true value, a shape of subjects, an n."""
    truths = [*TRUTH.items(), *(("pooled d", d) for d in LARGER)]
    sizes = SUBJECTS, ADDED
    return [(*t, s, n) for some in sizes for t in truths for s in SHAPES for n in some]


def rejections(images, correlation, runs, rng, subjects=12):
    """Share of runs in which no difference is called one: over images, over subjects."""
    shared = np.sqrt(correlation) * rng.normal(size=(runs, subjects, 1))
    own = np.sqrt(1 - correlation) * rng.normal(size=(runs, subjects, images))
    d = shared + own
    over_images = scipy.stats.ttest_1samp(d.reshape(runs, -1), 0, axis=1).pvalue < 0.05
    over_subjects = scipy.stats.ttest_1samp(d.mean(2), 0, axis=1).pvalue < 0.05
    return float(over_images.mean()), float(over_subjects.mean())


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=RUNS)
    runs, rng, rows = parser.parse_args().runs, np.random.default_rng(0), []
    for name, truth, shape, n in cells():
        apart = truth in LARGER or n in ADDED  # adding one leaves the rest as it is
        own = np.random.default_rng([n, *shape.encode(), int(10 * truth)]) if apart else rng
        held = coverage(name, shape, n, runs, own, truth)
        keys = {"interval": name, "truth": truth, "subjects": shape, "n": n}
        rows.append({**keys, "coverage": held, "runs": runs})
        print(rows[-1], flush=True)
    here = Path(__file__).parent
    pd.DataFrame(rows).round(4).to_csv(here / "coverage.csv", index=False)
    rows = []
    for correlation in (0.0, 0.2, 0.5, 0.8):
        images, subjects = rejections(5, correlation, runs, rng)
        row = {"correlation": correlation, "over_60_images": images, "over_12_subjects": subjects}
        rows.append({**row, "runs": runs})
    pd.DataFrame(rows).round(4).to_csv(here / "images_as_subjects.csv", index=False)


if __name__ == "__main__":
    main()
