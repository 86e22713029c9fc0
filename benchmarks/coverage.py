"""How often the intervals of this companion hold the truth, by simulation.

`python benchmarks/coverage.py [--runs 4000]` prints a table for benchmarks/README.md: coverage of
`stats.mean_interval` (t from 6 subjects, BCa from 20), normal and skewed differences, and what a
test over images does where images of one subject resemble each other.
"""

import argparse

import numpy as np
import scipy.stats

from latentsr import stats

RUNS, SUBJECTS = 4000, (6, 12, 20, 35, 45, 60)
SHAPES = {  # differences of mean 0
    "normal": lambda rng, size: rng.normal(size=size),
    "skewed (exponential)": lambda rng, size: rng.exponential(size=size) - 1,
}


def coverage(shape, subjects, runs, rng):
    """Share of runs whose interval holds 0."""
    held = 0
    for run in range(runs):
        low, high, _ = stats.mean_interval(SHAPES[shape](rng, subjects), run)
        held += low <= 0 <= high
    return held / runs


def rejections(images, correlation, runs, rng, subjects=12):
    """Share of runs in which no difference is called one: over images, over subjects."""
    shared = np.sqrt(correlation) * rng.normal(size=(runs, subjects, 1))
    own = np.sqrt(1 - correlation) * rng.normal(size=(runs, subjects, images))
    d = shared + own
    over_images = scipy.stats.ttest_1samp(d.reshape(runs, -1), 0, axis=1).pvalue < 0.05
    over_subjects = scipy.stats.ttest_1samp(d.mean(2), 0, axis=1).pvalue < 0.05
    return over_images.mean(), over_subjects.mean()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=RUNS)
    runs, rng = parser.parse_args().runs, np.random.default_rng(0)
    print(f"| differences | {' | '.join(f'n = {n}' for n in SUBJECTS)} |")
    print("| :-- " + "| --: " * len(SUBJECTS) + "|")
    for shape in SHAPES:
        found = [f"{coverage(shape, n, runs, rng):.3f}" for n in SUBJECTS]
        print(f"| {shape} | {' | '.join(found)} |", flush=True)
    print("\n| correlation within a subject | test over 60 images | test over 12 subjects |")
    print("| --: | --: | --: |")
    for correlation in (0.0, 0.2, 0.5, 0.8):
        pair = rejections(5, correlation, runs, rng)
        print(f"| {correlation} | {pair[0]:.3f} | {pair[1]:.3f} |")


if __name__ == "__main__":
    main()
