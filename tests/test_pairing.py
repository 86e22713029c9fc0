"""The pairing audit on images whose rates and bands are known."""

import numpy as np
import pandas as pd
import pytest
import torch

from latentsr.metrics import hallucination, pairing, wavelets
from latentsr.stats import intervals as stats


@pytest.fixture
def images():
    rng = np.random.default_rng(0)
    hr = rng.random((12, 32, 32)).astype(np.float32)
    return hr + rng.normal(0, 0.1, hr.shape).astype(np.float32), hr


def test_levels_are_those_of_the_image_that_each_meets(images):
    sr, hr = images
    subjects = np.array([f"s{k // 2}" for k in range(12)])
    rows = hallucination.partly_by_position(12, 1.0, 0)
    found = pairing.by_subject(sr, hr, subjects, 0.2, rows)
    for subject, part in pd.Series(range(12)).groupby(subjects[rows]):
        difference = sr[part].astype(float) - hr[rows[part]]
        assert found.loc[subject, "added"] == pytest.approx((difference > 0.2).mean())
        assert found.loc[subject, "lost"] == pytest.approx((difference < -0.2).mean())
        pair = torch.from_numpy(sr[part]), torch.from_numpy(hr[rows[part]])
        ll3 = wavelets.compared(*pair)["LL3"]["psnr_db"].mean()
        assert found.loc[subject, "ll3"] == pytest.approx(float(ll3))
    right = pairing.by_subject(sr, hr, subjects, 0.2, np.arange(12))
    assert (right["ll3"] > found["ll3"].mean() + 3).all(), "wrong pairs cost PSNR"
    assert right["added"].mean() < found["added"].mean()


def test_both_levels_and_their_difference_have_intervals():
    rng = np.random.default_rng(1)
    a = pd.DataFrame(
        {"added": rng.uniform(0.1, 0.2, 12), "lost": 0.1, "ll3": rng.normal(30, 1, 12)}
    )
    b = a.assign(added=a.added + 0.05, ll3=a.ll3 + 2 + 0.1 * rng.normal(size=12))
    added, lost, ll3 = pairing.compared(a, b, ["added", "lost", "ll3"], 0.02, 0, 0.95)
    assert (added["first_low"], added["first_high"]) == stats.mean_interval(a.added, 0)[:2]
    h = hallucination.compare_rates(a.added, b.added, 0.02, 0)
    assert added["difference"] == h["mean"] and added["alike"] == h["alike"] == "beyond"
    assert lost["difference"] == 0 and lost["alike"] == "equivalent"
    d = b.ll3 - a.ll3
    assert (ll3["low"], ll3["high"]) == stats.mean_interval(d, 0)[:2]
    assert ll3["difference"] == pytest.approx(ll3["second"] - ll3["first"])
    assert {row["n_subjects"] for row in (added, lost, ll3)} == {12}
