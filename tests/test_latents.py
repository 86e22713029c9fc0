import numpy as np
import pytest
import torch
from scipy.stats import kurtosis

from latentsr import latents, vaes

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


def test_latents_of_lr_images():
    lr = rng.random((3, 16, 16), np.float32)
    found = latents.of_lr(random_weights(), lr, hr_px=64, batch=2)
    shapes = {key: value.shape for key, value in found.items()}
    assert shapes == {"lr": (3, 3, 4, 4), "upsampled": (3, 3, 16, 16)}


def test_card_agrees_with_scipy():
    vae, error = random_weights(), rng.normal(0, 0.1, (2, 37, 31)).astype(np.float32)
    training = torch.from_numpy(rng.gamma(2, 1, (6, 3, 5, 7)).astype(np.float32))
    card = latents.card(vae, training, error)
    flat = training.transpose(0, 1).reshape(3, -1).numpy()
    assert card["channel_kurtosis"] == pytest.approx(kurtosis(flat, axis=1), rel=1e-3)
    assert card["channel_mean"] == pytest.approx(flat.mean(1), rel=1e-5)
    absolute = np.abs(error.astype(float))
    assert card["noise_floor"] == pytest.approx(absolute.mean() + 2 * absolute.std())
    assert card["numbers_a_pixel"] == 3 / 16
