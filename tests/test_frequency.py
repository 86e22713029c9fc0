"""Subbands against PyWavelets and by hand; spectra of signals whose spectrum is known."""

import numpy as np
import pytest
import pywt

from latentsr.frequency import band_names, radial_spectrum, subband_psnr_db, subbands


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def looped(image, wavelet, levels):
    """Decompose one image by repeated pywt.dwt2."""
    bands = {}
    for level in range(1, levels + 1):
        image, (horizontal, vertical, diagonal) = pywt.dwt2(image, wavelet)
        bands |= {f"LH{level}": horizontal, f"HL{level}": vertical, f"HH{level}": diagonal}
    return bands | {f"LL{levels}": image}


@pytest.mark.parametrize("size", [(32, 32), (37, 31), (16, 50)])
@pytest.mark.parametrize("wavelet", ["haar", "db2"])
@pytest.mark.filterwarnings("ignore:Level value")  # db2 at three levels is beyond pywt's advice
def test_subbands_and_psnr_equal_a_loop_of_dwt2(rng, size, wavelet):
    image, reference = rng.random((2, 2, 3, *size))
    scores = subband_psnr_db(image, reference, wavelet)
    bands = subbands(image, wavelet)
    assert list(scores) == list(bands) == band_names(3)
    for i, j in np.ndindex(2, 3):
        ours, true = (looped(x[i, j], wavelet, 3) for x in (image, reference))
        for name in band_names(3):
            np.testing.assert_allclose(bands[name][i, j], ours[name], rtol=1e-12, atol=1e-12)
            mse = np.mean((ours[name] - true[name]) ** 2)
            expected = 20 * np.log10(np.abs(true[name]).max()) - 10 * np.log10(mse)
            assert scores[name][i, j] == pytest.approx(expected, rel=1e-10)


def test_four_by_four_haar_by_hand():
    # Each 2x2 block [[p, q], [r, s]]: LL (p+q+r+s)/2, LH (p+q-r-s)/2, HL (p-q+r-s)/2, HH (p-q-r+s)/2
    image = [[1, 2, 5, 5], [3, 4, 5, 5], [0, 2, 1, 0], [0, 2, 0, 1]]
    bands = subbands(image, levels=1)
    np.testing.assert_allclose(bands["LL1"], [[5, 10], [2, 1]], atol=1e-12)
    np.testing.assert_allclose(bands["LH1"], [[-2, 0], [0, 0]], atol=1e-12)
    np.testing.assert_allclose(bands["HL1"], [[-1, 0], [-2, 0]], atol=1e-12)
    np.testing.assert_allclose(bands["HH1"], [[0, 0], [0, 1]], atol=1e-12)


def test_subband_psnr_by_hand():
    reference = np.array([[1.0, 0.0], [0.0, 1.0]])  # LL = HH = 1, LH = HL = 0
    scores = subband_psnr_db(reference + 0.05, reference, levels=1)  # LL is off by 0.1
    assert scores["LL1"] == pytest.approx(20) and np.isposinf(scores["HH1"])
    assert np.isnan(scores["LH1"]), "a reference band without signal has no peak"


def test_haar_keeps_the_energy_where_sides_divide(rng):
    image = rng.random((24, 40))
    energy = sum(np.sum(band**2) for band in subbands(image).values())
    assert energy == pytest.approx(np.sum(image**2), rel=1e-12)


def test_fine_noise_lowers_fine_bands_only(rng):
    reference = rng.random((32, 32))
    checkers = 0.1 * (-1.0) ** np.indices((32, 32)).sum(axis=0)
    scores = subband_psnr_db(reference + checkers, reference)
    assert scores["HH1"] < 30 and min(v for k, v in scores.items() if k != "HH1") > 250


def test_too_many_levels_are_refused():
    with pytest.raises(ValueError, match="7 px, but 3 wavelet levels need at least 8 px"):
        subband_psnr_db(np.zeros((7, 9)), np.zeros((7, 9)))


@pytest.mark.parametrize("cycles, axis", [(3, 0), (3, 1), (9, 0), (15, 1)])
def test_a_sinusoid_peaks_in_its_ring_and_holds_its_energy(cycles, axis):
    n = 64
    phase = 2 * np.pi * cycles * np.indices((n, n))[axis] / n
    frequency, power = radial_spectrum(0.5 + 0.2 * np.sin(phase))
    assert frequency[power.argmax()] == pytest.approx(cycles / n)
    radius = np.hypot(*np.meshgrid(np.fft.fftfreq(n), np.fft.fftfreq(n))) * n
    counts = [np.sum(np.floor(radius + 0.5) == k) for k in range(1, n // 2 + 1)]
    # Parseval: the sum over frequencies is n^2 times the (Hann-weighted) variance 0.2^2 / 2
    assert np.sum(counts * power) == pytest.approx(n * n * 0.02, rel=1e-6)


def test_white_noise_is_flat_at_its_variance_and_batches_agree(rng):
    images = 3.0 + 0.5 * rng.normal(size=(2, 40, 37, 31))
    frequency, power = radial_spectrum(images)
    assert power.shape == (2, 40, 15) and frequency[-1] <= 0.5
    np.testing.assert_allclose(power.mean(axis=(0, 1))[2:], 0.25, rtol=0.15)
    np.testing.assert_allclose(power[1, 7], radial_spectrum(images[1, 7])[1], rtol=1e-12)


def test_the_mean_does_not_enter_the_spectrum(rng):
    image = rng.random((16, 16))
    np.testing.assert_allclose(
        radial_spectrum(image + 100)[1], radial_spectrum(image)[1], rtol=1e-8
    )
