import numpy as np
import pytest
from PIL import Image

from latentsr.degrade import degrade, upsample

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


@pytest.mark.parametrize("operator", PILLOW)
def test_a_constant_image_stays_constant(operator):
    flat = np.full((1, 37, 31), 0.3, np.float32)
    np.testing.assert_allclose(degrade(flat, 9, operator), 0.3, atol=1e-6)
    np.testing.assert_allclose(upsample(flat, 74, operator), 0.3, atol=1e-6)


def test_one_side_keeps_the_shape():
    assert degrade(_images(1, 37, 31), 9).shape == (1, 9, 8)
    assert upsample(_images(3, 16, 16), 64).shape == (3, 64, 64)


def test_unknown_operator():
    with pytest.raises(ValueError, match=r"^operator: 'nearest'; allowed are bicubic, lanczos$"):
        degrade(_images(1, 8, 8), 2, "nearest")
