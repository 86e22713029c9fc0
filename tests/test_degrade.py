import numpy as np
import pytest
from PIL import Image

from latentsr.degrade import OPERATORS, check_pairs, degrade, nearest_is_own, upsample

PILLOW = {"bicubic": Image.Resampling.BICUBIC, "lanczos": Image.Resampling.LANCZOS}


def _images(*shape):
    return np.random.default_rng(0).random(shape).astype(np.float32)


@pytest.mark.parametrize("operator", PILLOW)
@pytest.mark.parametrize("size", [(64, 64), (37, 31)])
def test_both_directions_equal_pillow(operator, size):
    hr = _images(2, *size)
    lr = degrade(hr, (9, 7), operator)
    for image, small in zip(hr, lr, strict=True):
        expected = np.asarray(Image.fromarray(image, "F").resize((7, 9), PILLOW[operator]))
        np.testing.assert_array_equal(small, np.clip(expected, 0, 1))
    up = upsample(lr, size, operator)
    expected = np.asarray(Image.fromarray(lr[1], "F").resize(size[::-1], PILLOW[operator]))
    np.testing.assert_array_equal(up[1], np.clip(expected, 0, 1))
    assert up.dtype == lr.dtype == np.float32


def test_the_operators_differ_and_overshoot_is_clipped():
    step = np.zeros((1, 32, 32), np.float32)
    step[:, :, 13:] = 1
    bicubic, lanczos = degrade(step, 8), degrade(step, 8, "lanczos")
    assert np.abs(bicubic - lanczos).max() > 1e-3
    up = upsample(bicubic, 32)
    assert up.min() == 0 and up.max() == 1


@pytest.mark.parametrize("operator", OPERATORS)
def test_a_constant_image_stays_constant(operator):
    flat = np.full((1, 37, 31), 0.3, np.float32)
    np.testing.assert_allclose(degrade(flat, 9, operator), 0.3, atol=1e-6)
    if operator in PILLOW:
        np.testing.assert_allclose(upsample(flat, 74, operator), 0.3, atol=1e-6)


def test_one_side_keeps_the_shape():
    assert degrade(_images(1, 37, 31), 9).shape == (1, 9, 8)
    assert upsample(_images(3, 16, 16), 64).shape == (3, 64, 64)


def test_unknown_operator():
    message = r"^operator: 'nearest'; allowed are bicubic, lanczos, gaussian, kspace$"
    with pytest.raises(ValueError, match=message):
        degrade(_images(1, 8, 8), 2, "nearest")
    with pytest.raises(ValueError, match=r"^method: 'kspace'; allowed are bicubic, lanczos$"):
        upsample(_images(1, 8, 8), 16, "kspace")


def test_gaussian_equals_a_blurred_image_read_at_the_pixel_centres():
    image = _images(1, 24, 36)
    lr = degrade(image, (6, 9), "gaussian")
    x = np.arange(24)
    for row in range(6):
        centre = 4 * row + 1.5
        weights = np.exp(-0.5 * ((x - centre) / 1.6) ** 2)
        column = weights @ image[0] / weights.sum()  # blurred down, at one place
        for place in range(9):
            across = np.exp(-0.5 * ((np.arange(36) - 4 * place - 1.5) / 1.6) ** 2)
            assert lr[0, row, place] == pytest.approx(across @ column / across.sum(), abs=1e-6)


@pytest.mark.parametrize("size", [((32, 32), (8, 8)), ((37, 31), (9, 7)), ((24, 36), (7, 9))])
def test_kspace_keeps_the_power_of_the_frequencies_it_keeps(size):
    """Parseval: mean square of LR = power of the kept frequencies of HR."""
    (hr_size, lr_size), rng = size, np.random.default_rng(3)
    smooth = 0.5 + 0.05 * degrade(rng.random((1, *hr_size)).astype(np.float32), hr_size)
    lr = degrade(smooth, lr_size, "kspace").astype(float)
    spectrum = np.fft.fft2(smooth[0]) / smooth[0].size
    keep = [np.abs(np.fft.fftfreq(n, 1 / n)) <= (m - 1) // 2 for n, m in zip(*size, strict=True)]
    power = (np.abs(spectrum) ** 2)[np.ix_(*keep)].sum()
    assert (lr**2).mean() == pytest.approx(power, rel=1e-6)


def test_kspace_is_a_zero_filled_inverse_transform():
    """LR pixels are the band-limited HR image, read at their centres 4 i + 1.5."""
    image = 0.25 + 0.5 * _images(1, 32, 32)
    lr = degrade(image, 8, "kspace")
    spectrum = np.fft.fft2(image[0])
    keep = np.abs(np.fft.fftfreq(32, 1 / 32)) <= 3
    spectrum[~keep] = 0
    spectrum[:, ~keep] = 0
    fine = np.zeros((64, 64), complex)  # zero-filled to half pixels
    place = np.fft.fftfreq(32, 1 / 32).astype(int)
    fine[np.ix_(place, place)] = spectrum
    band = np.real(np.fft.ifft2(fine)) * 4
    np.testing.assert_allclose(lr[0], np.clip(band[3::8, 3::8], 0, 1), atol=1e-6)


@pytest.mark.parametrize("operator", OPERATORS)
def test_no_operator_shifts_the_image(operator):
    """The centre of mass of a smooth blob stays where it is, to 0.05 HR pixels."""
    y, x = np.mgrid[:64, :64]
    blob = np.exp(-((y - 30.2) ** 2 + (x - 33.7) ** 2) / 60)[None].astype(np.float32)
    lr = degrade(blob, 16, operator)[0]
    centres = (np.arange(16) + 0.5) * 4 - 0.5
    assert lr.sum(1) @ centres / lr.sum() == pytest.approx(30.2, abs=0.05)
    assert lr.sum(0) @ centres / lr.sum() == pytest.approx(33.7, abs=0.05)


@pytest.mark.parametrize("operator", ["bicubic", "kspace"])
def test_pairs_that_were_mixed_up_are_caught(operator):
    hr = np.random.default_rng(5).random((4, 24, 32), np.float32)
    lr, ids = degrade(hr, 6, operator), ["a", "b", "c", "d"]
    check_pairs(hr, lr, ids, operator)
    swapped = lr[[0, 2, 1, 3]]
    with pytest.raises(ValueError, match=r"b: its LR image .* nearest LR image is that of c"):
        check_pairs(hr, swapped, ids, operator)
    with pytest.raises(ValueError, match=r"b: the LR image of c is nearer"):
        check_pairs(hr, swapped, ids, operator, tolerance=1.0)
    with pytest.raises(ValueError, match="a: its LR image is not its HR image made small by"):
        check_pairs(hr, degrade(hr, 6, "gaussian"), ids, operator)


def test_mixed_up_images_are_not_nearest_is_own():
    hr = np.random.default_rng(0).random((6, 32, 32), np.float32)
    lr = degrade(hr, 8, "bicubic")
    noisy = (0.6 * hr + 0.1).astype(np.float32)  # another brightness and contrast
    assert nearest_is_own(noisy, lr, "bicubic").all()
    mixed = noisy[[0, 1, 3, 2, 4, 5]]
    assert nearest_is_own(mixed, lr, "bicubic").tolist() == [True] * 2 + [False] * 2 + [True] * 2
    flat = np.full_like(hr, 0.5)
    assert nearest_is_own(flat, lr, "bicubic").sum() <= 1
