"""Intervals hold the truth as often as chapter 8 states, and a test over images does not."""

import runpy
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from latentsr.stats import intervals
from latentsr.stats.paired import cohen_d_pooled, cohen_h

HERE = Path(__file__).parents[1] / "benchmarks"
SIMULATED = runpy.run_path(str(HERE / "coverage.py"))
STATED = pd.read_csv(HERE / "coverage.csv")


def of_package(name, x, y):
    if name == "mean difference":
        return intervals.mean_interval(x - y, 0)[:2]
    statistic = cohen_d_pooled if name == "pooled d" else cohen_h
    return intervals.paired_interval(statistic, x, y, 0)[:2]


@pytest.mark.parametrize("name", SIMULATED["STATISTICS"])
@pytest.mark.parametrize("n", [6, 12, 20, 60])
def test_the_simulation_takes_the_intervals_of_the_package(name, n):
    x, y = SIMULATED["draw"](name, "skewed (exponential)", 4, n, np.random.default_rng(n))
    ends = SIMULATED["intervals"](name, x, y, np.random.default_rng(0)).T
    for row, (a, b) in enumerate(zip(x, y, strict=True)):
        ours = of_package(name, a, b)
        width = ours[1] - ours[0]
        close = 1e-9 if n < 20 else 0.06 * width  # resamples differ
        assert ends[row] == pytest.approx(ours, abs=close)


def test_every_size_and_shape_is_stated():
    stated = list(zip(STATED.interval, STATED.truth, STATED.subjects, STATED.n, strict=True))
    cells = [(name, round(truth, 4), *rest) for name, truth, *rest in SIMULATED["cells"]()]
    assert stated == cells
    assert {truth for name, truth, *_ in cells if name == "pooled d"} == {0.8, 2.6, 8.0, 20.0}
    assert (STATED["runs"] == SIMULATED["RUNS"]).all()
    for _, size in STATED.groupby("n"):
        assert len(size) == len(cells) / STATED["n"].nunique()


@pytest.mark.parametrize(
    "row", STATED.itertuples(), ids=lambda r: f"{r.interval}, {r.truth:g}, {r.subjects}, {r.n}"
)
def test_coverage_is_what_chapter_8_states(row, monkeypatch):
    """Within three Monte-Carlo standard errors, from another seed and with fewer resamples."""
    runs = row.runs if row.n < 20 else 2000
    monkeypatch.setitem(SIMULATED["bca_ends"].__globals__, "RESAMPLES", 999)
    rng = np.random.default_rng([11, row.Index])
    simulated = SIMULATED["coverage"](row.interval, row.subjects, row.n, runs, rng, row.truth)
    spread = row.coverage * (1 - row.coverage) * (1 / runs + 1 / row.runs)
    assert abs(simulated - row.coverage) < 3 * np.sqrt(spread)


def test_a_test_over_images_is_too_optimistic():
    stated = pd.read_csv(HERE / "images_as_subjects.csv")
    for row in stated.itertuples():
        rng, runs = np.random.default_rng(12), 4000
        both = SIMULATED["rejections"](5, row.correlation, runs, rng)
        for simulated, share in zip(both, (row.over_60_images, row.over_12_subjects), strict=True):
            spread = share * (1 - share) * (1 / runs + 1 / row.runs)
            assert abs(simulated - share) < 3 * np.sqrt(spread)
    assert (stated["over_60_images"][1:] > 0.1).all() and (stated["over_12_subjects"] < 0.06).all()
