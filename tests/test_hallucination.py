"""Noise floor, masks and rates by hand; the misalignment of names."""

import numpy as np
import pytest

from latentsr.metrics.hallucination import (
    lexicographic_misalignment,
    noise_floor,
    partial_misalignment,
    rates,
)


@pytest.mark.parametrize("floor_sd", [2.0, 3.0])
def test_floor_pools_the_pixels_of_all_images(rng, floor_sd):
    hr = rng.random((5, 7, 6))
    decoded = hr + rng.normal(size=hr.shape)
    error = np.abs(decoded - hr).ravel()
    expected = error.sum() / 210 + floor_sd * np.sqrt(np.mean((error - error.mean()) ** 2))
    assert noise_floor(decoded, hr, floor_sd) == pytest.approx(expected, rel=1e-12)


def test_rates_by_hand_keep_added_and_removed_apart():
    hr = np.full((2, 2, 2), 0.5)
    sr = np.array([[[0.9, 0.7], [0.5, 0.1]], [[0.5, 0.6], [0.5, 0.4]]])
    table = rates(sr, hr, 0.15)
    np.testing.assert_allclose(table["hallucination_rate"], [0.5, 0])
    np.testing.assert_allclose(table["hallucination_magnitude"], [0.6 / 4, 0])
    np.testing.assert_allclose(table["loss_rate"], [0.25, 0])
    np.testing.assert_allclose(table["loss_magnitude"], [0.4 / 4, 0])


def test_rates_inside_a_region_by_hand():
    sr, hr = np.array([[[0.9, 0.7], [0.5, 0.1]]] * 2), np.full((2, 2, 2), 0.5)
    region = np.array([[[True, False], [True, True]], [[False, False], [False, False]]])
    table = rates(sr, hr, 0.15, region)
    np.testing.assert_allclose(table.loc[0], [1 / 3, 0.4 / 3, 1 / 3, 0.4 / 3])
    assert table.loc[1].isna().all()


def test_swapping_the_images_swaps_added_and_removed(rng):
    a, b = rng.random((2, 4, 9, 11))
    forth, back = rates(a, b, 0.2), rates(b, a, 0.2)
    np.testing.assert_allclose(forth["hallucination_rate"], back["loss_rate"])
    np.testing.assert_allclose(forth["loss_magnitude"], back["hallucination_magnitude"])
    assert (rates(a, b, 0.4)["loss_rate"] <= forth["loss_rate"]).all()
    assert rates(a, a, 0.0).to_numpy().sum() == 0


@pytest.mark.parametrize("n, moved", [(1, 0), (10, 0), (11, 9), (60, 58), (120, 118)])
def test_lookup_by_position_equals_reading_files(n, moved):
    names = [f"case {i}" for i in range(n)]
    read = dict(zip(sorted(f"hr_{i}.npy" for i in range(n)), names, strict=True))
    assigned, share = lexicographic_misalignment(names)
    assert assigned == [read[f"hr_{i}.npy"] for i in range(n)]
    assert share * n == pytest.approx(moved)
    with pytest.raises(ValueError, match="2 different of 3"):
        lexicographic_misalignment(["a", "b", "a"])


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_part_of_the_names_move(share):
    rows = partial_misalignment(60, share, 3)
    moved = (rows != np.arange(60)).sum()
    assert sorted(rows) == list(range(60)) and moved == round(share * 58)
