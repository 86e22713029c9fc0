"""Limits of agreement against the example of Bland and Altman (Lancet 1986); regions by hand."""

import numpy as np
import pytest
import statsmodels.api as sm
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from latentsr.agreement import by_region, limits, mean_intensity, proportional_bias

# peak expiratory flow in l/min of 17 people, first reading of each of two meters
WRIGHT = "494 395 516 434 476 557 413 442 650 433 417 656 267 478 178 423 427"
MINI = "512 430 520 428 500 600 364 380 658 445 432 626 260 477 259 350 451"


def test_the_published_example():
    wright, mini = (np.array(list(map(float, text.split()))) for text in (WRIGHT, MINI))
    found = limits(wright - mini)
    assert found.n_subjects == 17
    assert found.bias == pytest.approx(-2.1, abs=0.05)
    assert (found.lower, found.upper) == pytest.approx((-79.7, 75.5), abs=1.8)  # they take 2 SD
    assert (found.bias_low, found.bias_high) == pytest.approx((-22.1, 17.8), abs=0.1)
    # they take SE = s * sqrt(3 / n) for 2 SD; exact for 1.96 SD it is 0.7% larger
    assert found.lower_high - found.lower_low == pytest.approx(114.3 - 45.1, rel=0.02)
    assert found.upper_high - found.upper_low == pytest.approx(110.1 - 40.9, rel=0.02)


def test_the_slope_of_the_difference_on_the_mean():
    """Equals statsmodels; 0 in the published example, whose meters differ alike at every flow."""
    wright, mini = (np.array(list(map(float, text.split()))) for text in (WRIGHT, MINI))
    slope, low, high = proportional_bias(wright, mini)
    fit = sm.OLS(wright - mini, sm.add_constant((wright + mini) / 2)).fit()
    assert slope == pytest.approx(fit.params[1])
    assert (low, high) == pytest.approx(tuple(fit.conf_int()[1]))
    assert low < 0 < high
    slope, low, high = proportional_bias(1.2 * mini, mini)
    assert slope == pytest.approx(0.2 / 1.1) and low > 0
    assert np.isnan(proportional_bias([1.0, 2.0], [1.0, 2.5])).all()


def test_few_subjects_get_no_interval():
    found = limits([1.0, 2.0, 3.0])
    assert found.bias == 2 and found.upper == pytest.approx(3.96)
    assert np.isnan([found.bias_low, found.lower_high, found.upper_low]).all()


def test_mean_intensity_follows_the_pairing():
    hr = np.arange(4.0)[:, None, None] * np.ones((4, 2, 3))
    subjects = np.array(["a", "a", "b", "c"])
    found = mean_intensity(hr + 0.5, hr, subjects)
    assert found["hr"].to_dict() == {"a": 0.5, "b": 2, "c": 3}
    assert (found["sr"] - found["hr"]).tolist() == [0.5] * 3
    moved = mean_intensity(hr, hr, subjects, np.array([1, 2, 3, 0]))
    assert moved["sr"].to_dict() == {"a": (0 + 3) / 2, "b": 1, "c": 2}


def test_regions_equal_scikit_image():
    a, b = np.random.default_rng(0).random((2, 2, 20, 17))
    mask = np.zeros((2, 20, 17), bool)
    mask[0, 4:9, 3:11] = True
    found = by_region(a, b, mask)
    inside = peak_signal_noise_ratio(b[0][mask[0]], a[0][mask[0]], data_range=1)
    assert found.loc[0, "psnr_inside_db"] == pytest.approx(inside)
    assert np.isnan(found.loc[1, ["psnr_inside_db", "ssim_inside"]].to_numpy(float)).all()
    whole = structural_similarity(a[1], b[1], data_range=1, full=True)[1].mean()
    assert found.loc[1, "ssim_outside"] == pytest.approx(whole)
    assert found.loc[1, "psnr_outside_db"] == pytest.approx(
        peak_signal_noise_ratio(b[1], a[1], data_range=1)
    )
