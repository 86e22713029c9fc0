"""Noise floor, masks and rates by hand; Cohen's h against statsmodels; the pairing rule."""

import numpy as np
import pandas as pd
import pytest
from statsmodels.stats.proportion import proportion_effectsize

from latentsr.metrics import hallucination
from latentsr.metrics.hallucination import (
    cohen_h,
    compare_rates,
    noise_floor,
    partly_by_position,
    position_rule,
    rates,
)
from latentsr.stats import intervals as stats


def test_floor_pools_the_pixels_of_all_images(rng):
    hr = rng.random((5, 7, 6))
    decoded = hr + rng.normal(size=hr.shape)
    error = np.abs(decoded - hr).ravel()
    expected = error.sum() / 210 + 2 * np.sqrt(np.mean((error - error.mean()) ** 2))
    assert noise_floor(decoded, hr) == pytest.approx(expected, rel=1e-12)


def test_rates_by_hand_keep_added_and_removed_apart():
    hr = np.full((2, 2, 2), 0.5)
    sr = np.array([[[0.9, 0.7], [0.5, 0.1]], [[0.5, 0.6], [0.5, 0.4]]])
    table = rates(sr, hr, floor=0.15)
    np.testing.assert_allclose(table["hallucination_rate"], [0.5, 0])
    np.testing.assert_allclose(table["hallucination_magnitude"], [0.6 / 4, 0])
    np.testing.assert_allclose(table["loss_rate"], [0.25, 0])
    np.testing.assert_allclose(table["loss_magnitude"], [0.4 / 4, 0])


def test_swapping_the_images_swaps_added_and_removed(rng):
    a, b = rng.random((2, 4, 9, 11))
    forth, back = rates(a, b, 0.2), rates(b, a, 0.2)
    np.testing.assert_allclose(forth["hallucination_rate"], back["loss_rate"])
    np.testing.assert_allclose(forth["loss_magnitude"], back["hallucination_magnitude"])
    assert (rates(a, b, 0.4)["loss_rate"] <= forth["loss_rate"]).all()
    assert rates(a, a, 0.0).to_numpy().sum() == 0


@pytest.mark.parametrize("n, moved", [(1, 0), (10, 0), (11, 9), (60, 58), (120, 118)])
def test_share_moved_by_the_position_rule(n, moved):
    given, share = position_rule([f"patient{i}" for i in range(n)])
    assert share * n == pytest.approx(moved)
    assert sorted(given) == sorted(f"patient{i}" for i in range(n)), "a permutation"


def test_position_rule_equals_reading_files(tmp_path):
    names = [f"case {i}" for i in range(23)]
    for i in range(23):
        (tmp_path / f"hr_{i}.npy").touch()
    (tmp_path / "filenames.txt").write_text("\n".join(names))
    listed = sorted(path.name for path in tmp_path.glob("hr_*"))
    lines = (tmp_path / "filenames.txt").read_text().splitlines()
    read = dict(zip(listed, lines, strict=True))
    assert position_rule(names)[0] == [read[f"hr_{i}.npy"] for i in range(23)]
    with pytest.raises(ValueError, match="2 different of 3"):
        position_rule(["a", "b", "a"])


def test_pairing_by_position_hides_a_difference_that_pairing_by_id_sees(rng):
    hr = rng.random((30, 17, 15))
    decoded = hr + 0.02 * rng.normal(size=hr.shape)
    near = hr + 0.03 * rng.normal(size=hr.shape)
    far = hr + 0.10 * rng.normal(size=hr.shape)
    floor, order = noise_floor(decoded, hr), position_rule(range(30))[0]

    def h(reference):
        found = [rates(sr, reference, floor)["hallucination_rate"].mean() for sr in (near, far)]
        return proportion_effectsize(*found)

    assert h(hr) < -0.5
    assert abs(h(hr[order])) < 0.05  # the wrong reference swamps what the arms differ in


def test_the_floor_follows_its_number_of_sds(rng):
    hr = rng.random((4, 9, 7))
    decoded = hr + rng.normal(0, 0.1, hr.shape)
    error = np.abs(decoded - hr)
    assert noise_floor(decoded, hr, 3.0) == pytest.approx(error.mean() + 3 * error.std())


def test_rates_inside_a_region_by_hand():
    sr, hr = np.array([[[0.9, 0.7], [0.5, 0.1]]] * 2), np.full((2, 2, 2), 0.5)
    region = np.array([[[True, False], [True, True]], [[False, False], [False, False]]])
    found = rates(sr, hr, 0.15, region)
    np.testing.assert_allclose(found.loc[0], [1 / 3, 0.4 / 3, 1 / 3, 0.4 / 3])
    assert found.loc[1].isna().all()


def test_cohen_h_equals_statsmodels(rng):
    a, b = rng.random((2, 30)) / 2
    assert cohen_h(a, b) == pytest.approx(proportion_effectsize(b.mean(), a.mean()))


@pytest.mark.parametrize(
    ("shift", "spread", "n", "word"),
    [
        (0.0, 0.001, 30, "equivalent"),
        (0.1, 0.001, 30, "beyond"),
        (-0.1, 0.001, 12, "beyond"),
        (0.0, 0.001, 12, "equivalent"),
        (0.0, 0.1, 30, "inconclusive"),
        (0.0, 0.1, 12, "inconclusive"),
        (0.0, 0.001, 5, "descriptive only"),
    ],
)
def test_rates_are_alike_by_their_interval_alone(rng, shift, spread, n, word):
    a = pd.Series(0.3 + 0.05 * rng.random(n))
    found = compare_rates(a, a + shift + spread * rng.normal(size=n), 0.02, 0)
    assert found["alike"] == word and found["n_subjects"] == n
    if n >= 6:
        assert found["low"] < found["mean"] < found["high"]


def test_the_margin_as_a_share_of_pixels():
    found = compare_rates(pd.Series([0.5] * 6), pd.Series([0.5] * 6), 0.02, 0)
    assert found["margin_share"] == pytest.approx(0.01, rel=1e-3)  # steepest at one half
    assert found["interval_method"] == "no spread" and found["alike"] == "equivalent"


@pytest.mark.slow
def test_the_interval_of_h_covers_its_truth(rng):
    """Skewed rates, 12 and 40 subjects: within three standard errors of 0.93 or better."""
    for n in (12, 40):
        inside, runs = 0, 300
        for run in range(runs):
            common = rng.beta(2, 12, size=n)
            a, b = common * 0.9, np.clip(common * 1.1 + 0.01 * rng.random(n), 0, 1)
            truth = cohen_h([2 / 14 * 0.9], [2 / 14 * 1.1 + 0.005])
            found = compare_rates(pd.Series(a), pd.Series(b), 0.02, run)
            inside += found["low"] <= truth <= found["high"]
        assert inside / runs > 0.93 - 3 * np.sqrt(0.93 * 0.07 / runs), (n, inside / runs)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_part_of_the_names_move(share):
    rows = partly_by_position(60, share, 3)
    moved = (rows != np.arange(60)).sum()
    assert sorted(rows) == list(range(60)) and moved == round(share * 58)


def test_a_rate_map_averages_to_the_rates():
    rng = np.random.default_rng(0)
    image, true = rng.random((7, 9, 11)), rng.random((7, 9, 11))
    added, lost = hallucination.rate_map(image, true, 0.2)
    found = hallucination.rates(image, true, 0.2).mean()
    assert added.shape == (9, 11)
    assert added.mean() == pytest.approx(found["hallucination_rate"])
    assert lost.mean() == pytest.approx(found["loss_rate"])
    assert added[3, 4] == np.mean([x - y > 0.2 for x, y in zip(image, true, strict=True)], 0)[3, 4]


def test_rates_in_regions_are_those_of_subjects_that_have_one():
    rng = np.random.default_rng(2)
    hr, sr = rng.random((2, 14, 8, 8))
    mask = np.zeros((14, 8, 8), np.uint8)
    mask[:, :4] = 1
    mask[[6, 7]] = 0  # both images of one subject
    subjects = [f"s{k // 2}" for k in range(14)]
    inside, outside = hallucination.in_regions(sr, hr, 0.3, mask, subjects, 0)
    assert (inside["where"], inside["n_subjects"], inside["n_images"]) == ("inside", 6, 12)
    assert (outside["where"], outside["n_subjects"], outside["n_images"]) == ("outside", 7, 14)
    upper = np.array([np.mean((sr - hr)[k : k + 2, :4] > 0.3) for k in (0, 2, 4, 8, 10, 12)])
    assert inside["hallucination_rate"] == pytest.approx(upper.mean())
    ends = inside["hallucination_rate_low"], inside["hallucination_rate_high"]
    assert ends == pytest.approx(stats.t_interval(upper))
