"""Limits of agreement against the examples of Bland and Altman (1986, 1999); regions by hand."""

import numpy as np
import pytest
import scipy.stats
import statsmodels.api as sm
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from latentsr.stats.agreement import by_region, limits, mean_intensity, proportional_limits

# Fat in human milk, g/100 ml, by an enzymic method and by Gerber's: Bland and Altman 1999, table 3,
# the data `milk` of R's MethComp 1.30, whose page (rdrr.io/rforge/MethComp/man/milk.html) prints
# the first ten of TRIG, and least, median and most of both.
TRIG = (
    "0.96 1.16 0.97 1.01 1.25 1.22 1.46 1.66 1.75 1.72 1.67 1.67 1.93 1.99 2.01 2.28 2.15 2.29 2.45 "
    "2.40 2.79 2.77 2.64 2.73 2.67 2.61 3.01 2.93 3.18 3.18 3.19 3.12 3.33 3.51 3.66 3.95 4.20 4.05 "
    "4.30 4.74 4.71 4.71 4.74 5.23 6.21"
)
GERBER = (
    "0.85 1.00 1.00 1.00 1.20 1.20 1.38 1.65 1.68 1.70 1.70 1.70 1.88 2.00 2.05 2.17 2.20 2.28 2.43 "
    "2.55 2.60 2.65 2.67 2.70 2.70 2.70 3.00 3.02 3.03 3.11 3.15 3.15 3.40 3.42 3.62 3.95 4.27 4.30 "
    "4.35 4.75 4.79 4.80 4.80 5.42 6.20"
)
# Peak expiratory flow in l/min of 17 people, first reading of each of two meters: Bland and Altman,
# Lancet 1986; 327: 307-310, the data bland.altman.PEFR of R's BlandAltmanLeh 0.3.1 (R/PEFR.R).
WRIGHT = "494 395 516 434 476 557 413 442 650 433 417 656 267 478 178 423 427"
MINI = "512 430 520 428 500 600 364 380 658 445 432 626 260 477 259 350 451"


def measurements(*texts):
    return [np.array(list(map(float, text.split()))) for text in texts]


def test_the_published_example():
    """To the digits of the article, as R's blandr 0.6.0 quotes it (tests/testthat/test-pefr.r)."""
    wright, mini = measurements(WRIGHT, MINI)
    result = limits(wright - mini)
    sd = (result["upper"] - result["lower"]) / (2 * 1.96)
    assert (result["n_subjects"], round(result["bias"], 1), round(sd, 1)) == (17, -2.1, 38.8)
    assert (round(result["bias_low"], 1), round(result["bias_high"], 1)) == (-22.0, 17.8)
    # the article takes 2 SD, of rounded numbers
    assert (result["bias"] - 2 * sd, result["bias"] + 2 * sd) == pytest.approx(
        (-79.7, 75.5), abs=0.1
    )
    # and SE = s sqrt(3 / n) = 16.3 of a limit; blandr's formula is the one here: 16.4
    t = scipy.stats.t.ppf(0.975, 16)
    assert round((result["upper_high"] - result["upper"]) / t, 1) == 16.4
    assert round((result["lower"] - result["lower_low"]) / t, 1) == 16.4
    assert result["lower_high"] - result["lower_low"] == pytest.approx(114.3 - 45.1, rel=0.02)
    assert result["upper_high"] - result["upper_low"] == pytest.approx(110.1 - 40.9, rel=0.02)


def test_proportional_limits_equal_statsmodels_and_the_published_spread():
    """No slope in the meters; SD about the line of Bland and Altman 1999, p. 148: 0.08033.

    The figure is quoted by ba1999demo.m of github.com/erikhuizinga/Bland-Altman-Analysis.
    """
    wright, mini, trig, gerber = measurements(WRIGHT, MINI, TRIG, GERBER)
    for a, b in ((wright, mini), (trig, gerber)):
        fitted = proportional_limits(a, b)
        fit = sm.OLS(a - b, sm.add_constant((a + b) / 2)).fit()
        assert (fitted["intercept"], fitted["slope"]) == pytest.approx(tuple(fit.params))
        ends = fitted["slope_low"], fitted["slope_high"]
        assert ends == pytest.approx(tuple(fit.conf_int()[1]))
        assert fitted["sd_about"] == pytest.approx(np.sqrt(fit.mse_resid))
        for end in ("least", "most"):
            middle = fit.predict([[1, fitted[end]]])[0]
            level = fitted[f"lower_at_{end}"], fitted[f"upper_at_{end}"]
            half = 1.96 * fitted["sd_about"]
            assert level == pytest.approx((middle - half, middle + half))
    assert fitted["sd_about"] == pytest.approx(0.08033, abs=5e-6) and fitted["slope_high"] < 0
    meters = proportional_limits(wright, mini)
    assert meters["slope_low"] < 0 < meters["slope_high"]
    assert np.isnan(list(proportional_limits([1.0, 2.0], [1.0, 2.5]).values())).all()


def test_few_subjects_get_no_interval():
    result = limits([1.0, 2.0, 3.0])
    assert result["bias"] == 2 and result["upper"] == pytest.approx(3.96)
    assert np.isnan([result["bias_low"], result["lower_high"], result["upper_low"]]).all()


def test_mean_intensity_follows_the_pairing():
    hr = np.arange(4.0)[:, None, None] * np.ones((4, 2, 3))
    subjects = np.array(["a", "a", "b", "c"])
    result = mean_intensity(hr + 0.5, hr, subjects)
    assert result["hr"].to_dict() == {"a": 0.5, "b": 2, "c": 3}
    assert (result["sr"] - result["hr"]).tolist() == [0.5] * 3
    moved = mean_intensity(hr, hr, subjects, np.array([1, 2, 3, 0]))
    assert moved["sr"].to_dict() == {"a": (0 + 3) / 2, "b": 1, "c": 2}


def test_regions_equal_scikit_image():
    a, b = np.random.default_rng(0).random((2, 2, 20, 17))
    mask = np.zeros((2, 20, 17), bool)
    mask[0, 4:9, 3:11] = True
    result = by_region(a, b, mask)
    inside = peak_signal_noise_ratio(b[0][mask[0]], a[0][mask[0]], data_range=1)
    assert result.loc[0, "psnr_inside_db"] == pytest.approx(inside)
    assert np.isnan(result.loc[1, ["psnr_inside_db", "ssim_inside"]].to_numpy(float)).all()
    whole = structural_similarity(a[1], b[1], data_range=1, full=True)[1].mean()
    assert result.loc[1, "ssim_outside"] == pytest.approx(whole)
    assert result.loc[1, "psnr_outside_db"] == pytest.approx(
        peak_signal_noise_ratio(b[1], a[1], data_range=1)
    )
