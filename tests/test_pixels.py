import numpy as np
import pytest
from PIL import Image

from latentsr.datasets import middle_half_slices, prepare_mask, prepare_pixels


def test_middle_half_is_the_papers_twenty_of_155():
    slices = middle_half_slices(155, 20)
    assert (slices[0], slices[-1], len(set(slices.tolist()))) == (39, 115, 20)
    assert middle_half_slices(155, 1).tolist() == [77]


def test_integers_are_scaled_by_the_range_of_their_type():
    for dtype, low, high in ((np.uint8, 0, 255), (np.uint16, 0, 65535), (np.int16, -32768, 32767)):
        image = np.full((8, 8), low, dtype)
        image[:, 4:] = high
        np.testing.assert_array_equal(prepare_pixels(image, "folder", 8), image == high)


def test_crop_is_central_and_resize_is_lanczos():
    image = np.random.default_rng(1).random((37, 31)).astype(np.float32)
    expected = Image.fromarray(image[3:34]).resize((16, 16), Image.Resampling.LANCZOS)
    got = prepare_pixels(image, "chest", 16)
    np.testing.assert_array_equal(got, np.clip(np.asarray(expected), 0, 1))
    assert got.dtype == np.float32


def test_a_brain_slice_is_scaled_by_its_own_limits():
    image = np.array([[-50, 150], [50, -50]], np.int16)
    np.testing.assert_allclose(prepare_pixels(image, "brain", 2), [[0, 1], [0.5, 0]])


def test_a_brats_slice_is_enlarged_to_256_as_the_paper_does():
    slice_ = np.random.default_rng(1).integers(0, 900, (240, 240)).astype(np.int16)
    slice_[0, :2] = (0, 900)
    whole = Image.fromarray((slice_ / 900).astype(np.float32))
    wanted = np.clip(np.asarray(whole.resize((256, 256), Image.Resampling.LANCZOS)), 0, 1)
    np.testing.assert_allclose(prepare_pixels(slice_, "brain", 256), wanted, atol=1e-6)
    assert prepare_mask(slice_ > 450, 256).shape == (256, 256)
    with pytest.raises(ValueError, match="239 x 240 pixels; at least 240 a side .* 256"):
        prepare_pixels(slice_[1:], "brain", 256)
    with pytest.raises(ValueError, match="240 x 240 pixels; at least 256"):
        prepare_pixels(slice_, "knee", 256)


def test_masks_are_cropped_like_images():
    mask = np.zeros((8, 4), bool)
    mask[2:4, :2] = True
    np.testing.assert_array_equal(prepare_mask(mask, 2), [[True, False], [False, False]])


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((15, 99)), "15 x 99 pixels; at least 16"),
        (np.full((16, 16), np.nan), "256 pixels are not finite"),
        (np.zeros((16, 16, 3)), "grey image"),
        (np.full((16, 16), 7.0), "float pixels from 7 to 7; allowed are 0 to 1"),
    ],
)
def test_pixels_that_are_refused(image, message):
    with pytest.raises(ValueError, match=message):
        prepare_pixels(image, "knee", 16)


def test_a_blank_brain_slice_and_an_unknown_anatomy_are_refused():
    with pytest.raises(ValueError, match="all pixels are 0"):
        prepare_pixels(np.zeros((16, 16), np.int16), "brain", 16)
    with pytest.raises(ValueError, match="anatomy: 'foot'; allowed are knee"):
        prepare_pixels(np.zeros((16, 16)), "foot", 16)


def test_an_oblong_image_can_be_padded():
    image = np.random.default_rng(1).random((12, 31)).astype(np.float32)
    got = prepare_pixels(image, "folder", 31, "pad")
    np.testing.assert_allclose(got[9:21], image, atol=1e-6)
    assert not got[:9].any() and not got[21:].any()
    with pytest.raises(ValueError, match="12 x 31 pixels; at least 32"):
        prepare_pixels(image, "folder", 32, "pad")
