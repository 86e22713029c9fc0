"""Gaps by wavelet band against the numbers that they are made of."""

import numpy as np
import pandas as pd
import pytest

from latentsr.metrics import frequency
from latentsr.stats import band_gaps
from latentsr.stats import intervals as stats

BANDS = frequency.band_names(2)


@pytest.fixture
def pair():
    rng = np.random.default_rng(0)
    shared = rng.normal(20, 1, (14, len(BANDS)))
    first, more = pd.DataFrame(shared, columns=BANDS), rng.normal(0, 0.1, (14, len(BANDS)))
    second = first + more + np.linspace(-1, 1, len(BANDS))
    return band_gaps.with_halves(first), band_gaps.with_halves(second)


def rows_of(pair, subjects):
    found = band_gaps.over_subjects(*pair, subjects, 0, 0.95)
    return pd.DataFrame(found).set_index("band")


def test_halves_are_means_of_the_gaps_of_their_bands(pair):
    rows = rows_of(pair, [f"s{k // 2}" for k in range(14)])
    assert (rows.n_subjects == 7).all() and (rows.n_images == 14).all()
    gap = rows.gap_db
    assert gap["finest"] == pytest.approx(gap[BANDS[-3:]].mean())
    rest = gap[BANDS[:-3]].mean()
    assert gap["finest - rest"] == pytest.approx(gap["finest"] - rest) and gap["finest"] > 0.5
    d = (pair[1] - pair[0])["LL2"].to_numpy().reshape(7, 2).mean(1)
    assert rows.loc["LL2", ["low", "high"]].tolist() == pytest.approx(stats.t_interval(d))
    assert rows.p["LL2"] == 2.0**-6, "seven subjects of one sign"


def test_an_image_without_a_figure_is_left_out_and_counted(pair):
    pair[0].loc[3, "HH1"] = np.nan
    rows = rows_of(pair, list("abcdefghijklmn"))
    assert (rows.n_left_out == 1).all() and (rows.n_subjects == 13).all()
    kept = np.arange(14) != 3
    assert rows.gap_db["LL2"] == pytest.approx((pair[1] - pair[0])["LL2"][kept].mean())


def test_few_subjects_have_no_interval_and_no_p(pair):
    rows = rows_of([side[:5] for side in pair], list("abcde"))
    assert rows[["low", "high", "p"]].isna().all(axis=None)
    assert band_gaps.sign(rows.low["LL2"], rows.high["LL2"]) == "?"


def test_a_half_that_turns_with_the_wavelet_is_told():
    ends = {"haar": (0.1, 0.3), "db4": (-0.1, 0.2), "bior4.4": (0.2, 0.4)}
    keys = [("knee", "a", "finest"), ("knee", "a", "finest - rest"), ("knee", "a", "HH1")]
    table = pd.DataFrame(
        {"dataset": n, "arm": a, "band": b, "wavelet": w, "low": low, "high": high}
        for n, a, b in keys
        for w, (low, high) in ends.items()
    )
    table["gap_db"] = (table.low + table.high) / 2
    table.loc[table.band == "finest - rest", "low"] = 0.05  # above zero with all three
    (line,) = band_gaps.turns(table)
    assert line == (
        "knee, a, finest: haar +0.20 [0.10, 0.30], db4 +0.05 [-0.10, 0.20], "
        "bior4.4 +0.30 [0.20, 0.40] dB"
    )
    assert band_gaps.signs(table)["HH1"].tolist() == ["+", "0", "+"]
