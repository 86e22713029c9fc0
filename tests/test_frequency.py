"""Wavelet bands against PyWavelets; spectra of signals whose spectrum is known."""

import numpy as np
import pytest
import pywt
import torch

from latentsr.metrics import frequency


@pytest.mark.parametrize("wavelet", ["haar", "db4", "bior4.4", "rbio3.1"])
@pytest.mark.parametrize("mode", frequency.MODES)
@pytest.mark.filterwarnings("ignore:Level value")  # beyond what pywt advises
@pytest.mark.parametrize("shape", [(3, 37, 61), (1, 2, 50, 33), (16, 16)])
def test_bands_equal_pywavelets(wavelet, mode, shape):
    images = np.random.default_rng(0).random(shape)
    bands = frequency.decompose(torch.from_numpy(images), wavelet, 3, mode)
    coarse, *details = pywt.wavedec2(images, wavelet, mode=mode, level=3, axes=(-2, -1))
    expected = [coarse, *(band for level in details for band in level)]
    assert list(bands) == frequency.band_names(3)
    for ours, theirs in zip(bands.values(), expected, strict=True):
        assert ours.shape == theirs.shape and ours.dtype == torch.float64
        np.testing.assert_allclose(ours, theirs, atol=1e-10)


def test_the_scores_of_a_band_equal_a_loop_of_dwt2():
    pair = np.random.default_rng(1).random((2, 3, 37, 31))
    bands = frequency.compare_bands(*map(torch.from_numpy, pair), "db2", 2)
    for row in range(3):
        a, b = (image[row] for image in pair)
        for level in (1, 2):
            (a, ours), (b, true) = (pywt.dwt2(x, "db2") for x in (a, b))
            for kind, x, y in zip(("LH", "HL", "HH"), ours, true, strict=True):
                energies = (x**2).sum(), (y**2).sum()
                expected = {
                    "psnr_db": 20 * np.log10(np.abs(y).max())
                    - 10 * np.log10(np.mean((x - y) ** 2)),
                    "energy_ratio": energies[0] / energies[1],
                    "coherence": np.sum(x * y) / np.sqrt(energies[0] * energies[1]),
                }
                scores = {k: float(bands[f"{kind}{level}"][k][row]) for k in expected}
                assert scores == pytest.approx(expected, rel=1e-10)


def test_band_psnr_by_hand():
    reference = torch.eye(2).double()[None]  # LL = HH = 1, LH = HL = 0
    bands = frequency.compare_bands(reference + 0.05, reference, levels=1)  # LL is off by 0.1
    assert float(bands["LL1"]["psnr_db"]) == pytest.approx(20)
    assert torch.isposinf(bands["HH1"]["psnr_db"]).all()
    zeros = frequency.compare_bands(torch.rand(1, 8, 8), torch.ones(1, 8, 8), levels=1)["HH1"]
    assert torch.isnan(zeros["psnr_db"]).all() and torch.isinf(zeros["energy_ratio"]).all()


def test_shrinking_an_uncertain_detail_raises_psnr_and_shows_in_the_energy():
    true, wrong = torch.from_numpy(np.random.default_rng(2).standard_normal((2, 4, 64, 64)))
    guess = (true + 2 * wrong) / np.sqrt(5)  # the right energy, half of it at the wrong places
    whole, shrunk = (frequency.compare_bands(k * guess, true, levels=1)["HH1"] for k in (1, 0.4))
    assert (shrunk["psnr_db"] > whole["psnr_db"]).all()
    assert shrunk["energy_ratio"].mean() < 0.2 < 0.9 < whole["energy_ratio"].mean()
    torch.testing.assert_close(shrunk["coherence"], whole["coherence"])
    assert abs(float(whole["coherence"].mean()) - 1 / np.sqrt(5)) < 0.02


def test_one_peak_for_a_set():
    true = torch.from_numpy(np.random.default_rng(3).random((2, 16, 16)))
    true[1] *= 0.1
    band = frequency.compare_bands(true + 0.01, true, levels=1)["LL1"]
    assert float(band["psnr_db"].diff()) < -15  # the dull image has a small peak
    torch.testing.assert_close(band["psnr_set_peak_db"][0], band["psnr_set_peak_db"][1])


@pytest.mark.parametrize("wavelet", ["haar", "db4", "sym5"])
def test_parts_of_the_squared_error_add_up(wavelet):
    a, b = torch.from_numpy(np.random.default_rng(4).random((2, 3, 40, 64)))
    parts = frequency.band_squared_errors(a, b, wavelet, 3)
    torch.testing.assert_close(sum(parts.values()), (a - b).square().sum((1, 2)))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: frequency.decompose(x, mode="zero"), "mode: 'zero'; allowed are symmetric"),
        (lambda x: frequency.decompose(x, "harr"), "wavelet: 'harr'; a discrete one"),
        (lambda x: frequency.decompose(x, levels=0), "levels: 0; at least 1 is needed"),
        (lambda x: frequency.decompose(x, levels=5), "5 wavelet levels need at least 32 px"),
        (lambda x: frequency.band_squared_errors(x, x, "bior4.4"), "need an orthogonal one"),
        (lambda x: frequency.band_squared_errors(x, x), "20 x 20; divisible by 8"),
        (lambda x: frequency.compare_bands(x, x[:1]), r"images \(2, 20, 20\), reference \(1, 20"),
    ],
)
def test_bad_input_is_one_line(call, message):
    with pytest.raises(ValueError, match=message):
        call(torch.zeros(2, 20, 20))


@pytest.mark.parametrize("cycles, axis", [(3, 0), (9, 1), (15, 1)])
def test_a_sinusoid_peaks_in_its_ring_and_holds_its_energy(cycles, axis):
    n = 64
    phase = 2 * np.pi * cycles * np.indices((n, n))[axis] / n
    cycles_per_px, power = frequency.radial_spectrum(0.5 + 0.2 * np.sin(phase))
    assert cycles_per_px[power.argmax()] == pytest.approx(cycles / n)
    radius = np.hypot(*np.meshgrid(np.fft.fftfreq(n), np.fft.fftfreq(n))) * n
    counts = [np.sum(np.floor(radius + 0.5) == k) for k in range(1, n // 2 + 1)]
    # Parseval: the sum over frequencies is n^2 times the (Hann-weighted) variance 0.2^2 / 2
    assert np.sum(counts * power) == pytest.approx(n * n * 0.02, rel=1e-6)


def test_white_noise_is_flat_at_its_variance_whatever_its_mean_and_batch(rng):
    images = 3.0 + 0.5 * rng.normal(size=(2, 40, 37, 31))
    cycles_per_px, power = frequency.radial_spectrum(images)
    assert power.shape == (2, 40, 15) and cycles_per_px[-1] <= 0.5
    np.testing.assert_allclose(power.mean(axis=(0, 1))[2:], 0.25, rtol=0.15)
    alone = frequency.radial_spectrum(images[1, 7] + 100)[1]
    np.testing.assert_allclose(power[1, 7], alone, rtol=1e-8)
