import numpy as np
import pytest
import torch

from latentsr import degrade
from latentsr import io as scores
from latentsr.autoencoders import latents
from latentsr.autoencoders import load as vaes

rng = np.random.default_rng(0)


def random_weights(factor=4, channels=3):
    """An autoencoder with random weights: good for shapes alone."""
    torch.manual_seed(0)
    return vaes.Autoencoder("random", vaes.build(factor, channels))


def test_scaling_standardises_and_undoes():
    x = torch.randn(9, 3, 5, 7) * torch.tensor([1.0, 5, 0.1])[:, None, None] + 4
    scaling = latents.Scaling.fit(x)
    scaled = scaling.apply(x)
    torch.testing.assert_close(scaled.mean((0, 2, 3)), torch.zeros(3), atol=1e-4, rtol=0)
    torch.testing.assert_close(scaled.std((0, 2, 3), correction=0), torch.ones(3))
    torch.testing.assert_close(scaling.undo(scaled), x, atol=1e-5, rtol=1e-5)


def test_kept_latents_are_the_same_on_disk_and_in_memory(tmp_path):
    hr, lr = rng.random((5, 64, 64), np.float32), rng.random((5, 16, 16), np.float32)
    vae = random_weights()
    found = latents.keep(vae, hr, lr, batch=2)
    shapes = {key: tuple(value.shape) for key, value in found.items()}
    assert shapes == {"hr": (5, 3, 16, 16), "lr": (5, 3, 4, 4), "upsampled": (5, 3, 16, 16)}
    enlarged = torch.from_numpy(degrade.upsample(lr, 64))[:, None]
    torch.testing.assert_close(found["upsampled"], vae.encode(enlarged), atol=1e-5, rtol=1e-5)
    np.save(tmp_path / "images.npy", hr)
    stored = np.load(tmp_path / "images.npy", mmap_mode="r")
    latents.keep(vae, stored, lr, batch=2, folder=tmp_path / "kept")
    again = scores.read_arrays(tmp_path / "kept")
    assert set(again) == set(found)
    assert all(np.array_equal(again[key], found[key]) for key in found)
    with pytest.raises(ValueError, match="images: none to encode"):
        latents.encode_all(vae, hr[:0], batch=2)


def test_other_scalings():
    x = torch.randn(9, 3, 5, 7) * torch.tensor([1.0, 5, 0.1])[:, None, None] + 4
    one = latents.Scaling.fit(x, "global").apply(x)
    assert float(one.mean()) == pytest.approx(0, abs=1e-5)
    assert float(one.std(correction=0)) == pytest.approx(1, rel=1e-5)
    assert torch.equal(latents.Scaling.fit(x, "none").apply(x), x)
    with pytest.raises(ValueError, match="scaling: 'both'; allowed are channel, global and none"):
        latents.Scaling.fit(x, "both")
