import numpy as np
import pytest
import pywt
import torch

from latentsr.metrics import wavelets


@pytest.mark.parametrize("wavelet", ["haar", "db2", "db4", "bior4.4", "sym5", "rbio3.1"])
@pytest.mark.parametrize("mode", wavelets.MODES)
@pytest.mark.filterwarnings("ignore:Level value")  # beyond what pywt advises
@pytest.mark.parametrize("shape", [(2, 64, 64), (3, 37, 61), (1, 2, 50, 33), (17, 16)])
def test_bands_equal_pywavelets(wavelet, mode, shape):
    images = np.random.default_rng(0).random(shape)
    found = wavelets.decompose(torch.from_numpy(images), wavelet, 3, mode)
    coarse, *rest = pywt.wavedec2(images, wavelet, mode=mode, level=3, axes=(-2, -1))
    wanted = [coarse, *(band for level in rest for band in level)]
    assert list(found) == wavelets.band_names(3)
    for ours, theirs in zip(found.values(), wanted, strict=True):
        assert ours.shape == theirs.shape and ours.dtype == torch.float64
        np.testing.assert_allclose(ours, theirs, atol=1e-10)


def test_the_psnr_of_a_band_equals_a_loop_of_dwt2():
    pair = np.random.default_rng(1).random((2, 3, 37, 31))
    found = wavelets.compared(*map(torch.from_numpy, pair), "db2", 2)
    for row in range(3):
        a, b = (image[row] for image in pair)
        for level in (1, 2):
            (a, ours), (b, true) = (pywt.dwt2(x, "db2") for x in (a, b))
            for kind, x, y in zip(("LH", "HL", "HH"), ours, true, strict=True):
                wanted = 20 * np.log10(np.abs(y).max()) - 10 * np.log10(np.mean((x - y) ** 2))
                band = found[f"{kind}{level}"]
                assert float(band["psnr_db"][row]) == pytest.approx(wanted, rel=1e-10)
                assert float(band["energy_ratio"][row]) == pytest.approx(
                    (x**2).sum() / (y**2).sum()
                )
                share = np.sum(x * y) / np.sqrt((x**2).sum() * (y**2).sum())
                assert float(band["coherence"][row]) == pytest.approx(share)


def test_four_by_four_haar_by_hand():
    # Each 2x2 block [[p, q], [r, s]]: LL (p+q+r+s)/2, LH (p+q-r-s)/2, HL (p-q+r-s)/2, HH (p-q-r+s)/2
    image = torch.tensor([[1.0, 2, 5, 5], [3, 4, 5, 5], [0, 2, 1, 0], [0, 2, 0, 1]]).double()
    bands = wavelets.decompose(image, levels=1)
    np.testing.assert_allclose(bands["LL1"], [[5, 10], [2, 1]], atol=1e-12)
    np.testing.assert_allclose(bands["LH1"], [[-2, 0], [0, 0]], atol=1e-12)
    np.testing.assert_allclose(bands["HL1"], [[-1, 0], [-2, 0]], atol=1e-12)
    np.testing.assert_allclose(bands["HH1"], [[0, 0], [0, 1]], atol=1e-12)


def test_band_psnr_by_hand():
    reference = torch.eye(2).double()[None]  # LL = HH = 1, LH = HL = 0
    found = wavelets.compared(reference + 0.05, reference, levels=1)  # LL is off by 0.1
    assert float(found["LL1"]["psnr_db"]) == pytest.approx(20)
    assert torch.isposinf(found["HH1"]["psnr_db"]).all()


def test_fine_noise_lowers_fine_bands_only():
    reference = torch.from_numpy(np.random.default_rng(5).random((1, 32, 32)))
    checkers = 0.1 * (-1.0) ** torch.from_numpy(np.indices((32, 32)).sum(axis=0))
    found = wavelets.compared(reference + checkers, reference)
    psnr = {name: float(band["psnr_db"]) for name, band in found.items()}
    assert psnr["HH1"] < 30 and min(v for k, v in psnr.items() if k != "HH1") > 250


def test_shrinking_an_uncertain_detail_raises_psnr_and_shows_in_the_energy():
    rng = np.random.default_rng(2)
    true, wrong = rng.standard_normal((2, 4, 64, 64))
    guess = (true + 2 * wrong) / np.sqrt(5)  # the right energy, half of it at the wrong places
    scores = {
        k: wavelets.compared(torch.from_numpy(k * guess), torch.from_numpy(true), levels=1)["HH1"]
        for k in (1.0, 0.4)
    }
    assert (scores[0.4]["psnr_db"] > scores[1.0]["psnr_db"]).all()
    assert scores[0.4]["energy_ratio"].mean() < 0.2 < 0.9 < scores[1.0]["energy_ratio"].mean()
    torch.testing.assert_close(scores[0.4]["coherence"], scores[1.0]["coherence"])
    assert abs(float(scores[1.0]["coherence"].mean()) - 1 / np.sqrt(5)) < 0.02


def test_one_peak_for_a_set():
    true = torch.from_numpy(np.random.default_rng(3).random((2, 16, 16)))
    true[1] *= 0.1
    found = wavelets.compared(true + 0.01, true, levels=1)["LL1"]
    assert float(found["psnr_db"].diff()) < -15  # the dull image has a small peak
    torch.testing.assert_close(found["psnr_set_peak_db"][0], found["psnr_set_peak_db"][1])


def test_a_band_of_zeros_has_no_psnr():
    found = wavelets.compared(torch.rand(1, 8, 8), torch.ones(1, 8, 8), levels=1)["HH1"]
    assert torch.isnan(found["psnr_db"]).all() and torch.isinf(found["energy_ratio"]).all()


@pytest.mark.parametrize("wavelet", ["haar", "db4", "sym5"])
def test_parts_of_the_squared_error_add_up(wavelet):
    a, b = torch.from_numpy(np.random.default_rng(4).random((2, 3, 40, 64)))
    parts = wavelets.squared_errors(a, b, wavelet, 3)
    torch.testing.assert_close(sum(parts.values()), (a - b).square().sum((1, 2)))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: wavelets.decompose(x, mode="zero"), "mode: 'zero'; allowed are symmetric"),
        (lambda x: wavelets.decompose(x, "harr"), "wavelet: 'harr'; a discrete one"),
        (lambda x: wavelets.decompose(x, levels=0), "levels: 0; at least 1 is needed"),
        (lambda x: wavelets.decompose(x, levels=5), "5 wavelet levels need at least 32 px"),
        (lambda x: wavelets.squared_errors(x, x, "bior4.4"), "need an orthogonal one"),
        (lambda x: wavelets.squared_errors(x, x), "20 x 20; divisible by 8"),
        (lambda x: wavelets.compared(x, x[:1]), r"images \(2, 20, 20\), reference \(1, 20, 20\)"),
    ],
)
def test_bad_input_is_one_line(call, message):
    with pytest.raises(ValueError, match=message):
        call(torch.zeros(2, 20, 20))
