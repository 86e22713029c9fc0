import numpy as np
import pytest
import torch

from latentsr.autoencoders.load import load_autoencoder
from latentsr.degrade import degrade, upsample
from latentsr.experiments import baselines
from latentsr.metrics.image import psnr_db


def stripes(count, seed):
    """Images whose detail LR tells: sharp stripes at a random phase and slope."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:24, :24]
    waves = [np.sin(0.6 * x + slope * y + phase) for slope, phase in rng.random((count, 2))]
    return (np.stack(waves) > 0).astype(np.float32)


def test_a_regression_learns_what_interpolation_lacks():
    hr = stripes(24, 0)
    lr = degrade(hr, 12)
    net = baselines.train_regression(lr[:16], hr[:16], steps=60, batch=8, seed=1)
    images = baselines.regress(net, lr[16:], 24)
    bicubic = upsample(lr[16:], 24)
    assert images.shape == hr[16:].shape and images.dtype == np.float32
    assert psnr_db(images, hr[16:]).mean() > psnr_db(bicubic, hr[16:]).mean() + 1


def test_a_seed_decides_it():
    hr = stripes(6, 0)
    lr = degrade(hr, 12)
    images = []
    for seed in (1, 1, 2):
        net = baselines.train_regression(lr, hr, steps=3, batch=2, seed=seed)
        images.append(baselines.regress(net, lr, 24))
    assert np.array_equal(images[0], images[1]) and not np.array_equal(images[0], images[2])


def reconstructed(vae, images):
    x = torch.from_numpy(images)[:, None]
    return vae.decode(vae.encode(x), images.shape[1:])[:, 0].numpy()


@pytest.fixture(scope="module")
def odd():
    """Images unlike any that a shipped autoencoder has seen: stripes two pixels wide, in patches."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:48, :48]
    ways = [(y // 2) % 2, (x // 2) % 2]
    patches = rng.integers(0, 2, (12, 3, 3)).repeat(16, 1).repeat(16, 2)
    return np.where(patches, ways[0], ways[1]).astype(np.float32)


@pytest.mark.parametrize("how", baselines.ADAPTATIONS)
def test_adapting_improves_reconstructions_and_leaves_the_original_alone(odd, how):
    vae = load_autoencoder("natural-f4c3")
    before = {key: value.clone() for key, value in vae.model.state_dict().items()}
    adapted = baselines.adapt(vae, odd[:8], how, steps=30, batch=4, crop_px=32, seed=1)
    levels = [psnr_db(reconstructed(one, odd[8:]), odd[8:]) for one in (vae, adapted)]
    assert (levels[1] - levels[0]).min() > 0.1 and adapted.name == f"natural-f4c3-adapted-{how}"
    after = vae.model.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert adapted.model.state_dict().keys() == before.keys()  # merged: loads as any other


def test_a_low_rank_change_is_of_low_rank(odd):
    vae = load_autoencoder("natural-f4c3")
    adapted = baselines.adapt(vae, odd, "lora", steps=3, batch=2, crop_px=32, rank=2, seed=1)
    new, changed = adapted.model.state_dict(), 0
    for key, value in vae.model.state_dict().items():
        if value.ndim == 1:
            assert torch.equal(new[key], value)
            continue
        difference = (new[key] - value).flatten(1)
        assert torch.linalg.matrix_rank(difference, rtol=1e-3) <= 2
        changed += bool(difference.any())
    assert changed > 10


def test_what_cannot_be_adapted_is_refused(odd):
    vae = load_autoencoder("natural-f4c3")
    with pytest.raises(ValueError, match=r"^how: 'half'; allowed are full, lora$"):
        baselines.adapt(vae, odd, "half")
    with pytest.raises(ValueError, match=r"^crop_px: 64; at most 48 fits the images$"):
        baselines.adapt(vae, odd, "full")
