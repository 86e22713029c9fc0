"""Spectra of signals whose spectrum is known."""

import numpy as np
import pytest

from latentsr.metrics.frequency import radial_spectrum


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
