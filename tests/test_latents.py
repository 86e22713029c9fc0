"""Latents on disk and in memory, their scale, and the card of an autoencoder."""

import numpy as np
import pytest
import torch
from scipy.stats import kurtosis
from test_model import random_weights

from latentsr import io
from latentsr.autoencoders import latents
from latentsr.degrade import degrade, upsample

rng = np.random.default_rng(0)


@pytest.mark.parametrize("kind", ["channel", "global", "none"])
def test_scaling_standardises_and_undoes(kind):
    x = torch.randn(9, 3, 5, 7) * torch.tensor([1.0, 5, 0.1])[:, None, None] + 4
    scaling = latents.Scaling.fit(x, kind)
    scaled, over = scaling.apply(x), (0, 2, 3) if kind == "channel" else (0, 1, 2, 3)
    if kind == "none":
        assert torch.equal(scaled, x)
    else:
        assert scaled.mean(over).abs().max() < 1e-4
        assert (scaled.std(over, correction=0) - 1).abs().max() < 1e-4
    torch.testing.assert_close(scaling.undo(scaled), x, atol=1e-5, rtol=1e-5)
    with pytest.raises(ValueError, match="scaling: 'both'; allowed are channel, global and none"):
        latents.Scaling.fit(x, "both")


def test_latents_are_the_same_on_disk_and_in_memory(tmp_path):
    hr, lr = rng.random((5, 64, 64), np.float32), rng.random((5, 16, 16), np.float32)
    vae = random_weights(4, 3)
    encoded = latents.encode_set(vae, hr, lr, batch=2)
    shapes = {key: tuple(value.shape) for key, value in encoded.items()}
    assert shapes == {"hr": (5, 3, 16, 16), "lr": (5, 3, 4, 4), "upsampled": (5, 3, 16, 16)}
    enlarged = torch.from_numpy(upsample(lr, 64))[:, None]
    torch.testing.assert_close(encoded["upsampled"], vae.encode(enlarged), atol=1e-5, rtol=1e-5)
    np.save(tmp_path / "images.npy", hr)
    stored = np.load(tmp_path / "images.npy", mmap_mode="r")
    latents.encode_set(vae, stored, lr, batch=2, folder=tmp_path / "kept")
    on_disk = io.read_arrays(tmp_path / "kept")
    assert set(on_disk) == set(encoded)
    assert all(np.array_equal(on_disk[key], encoded[key]) for key in encoded)
    with pytest.raises(ValueError, match="images: none to encode"):
        latents.encode_all(vae, hr[:0], batch=2)


@pytest.mark.parametrize("operator", ["bicubic", "gaussian"])
def test_reconstructions_of_lr_images(operator):
    lr, vae = rng.random((3, 15, 15), np.float32), random_weights(4, 3)
    own = vae.decode(vae.encode(torch.from_numpy(lr)[:, None]), (15, 15))[:, 0]
    np.testing.assert_allclose(latents.reconstruct_lr(vae, lr, 2), own, atol=1e-5)
    enlarged = torch.from_numpy(upsample(lr, 60))[:, None]
    decoded = vae.decode(vae.encode(enlarged))[:, 0].numpy()
    small = latents.reconstruct_upsampled(vae, lr, 60, 2, operator)
    np.testing.assert_allclose(small, degrade(decoded, 15, operator), atol=1e-5)


def test_cost_of_a_layer_by_hand():
    """conv_in of the small f8 model: 9 multiply-adds x 16 channels x 64 x 64 pixels, twice."""
    vae = random_weights(8, 4)
    encode_gflop, decode_gflop = latents.gflop(vae, 64)
    operations = []

    def count(layer, inputs, output):
        operations.append(2 * layer.weight[0].numel() * output.numel())

    for module in vae.model.encoder.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.register_forward_hook(count)
    vae.model.quant_conv.register_forward_hook(count)
    vae.encode(torch.rand(1, 1, 64, 64))
    assert operations[0] == 2 * 9 * 16 * 64 * 64
    assert encode_gflop == pytest.approx(sum(operations) / 1e9)
    assert decode_gflop > encode_gflop  # two blocks a level against one


def test_card_agrees_with_scipy():
    vae, hr = random_weights(4, 3), rng.random((2, 64, 64), np.float32)
    decoded = (hr + rng.normal(0, 0.1, hr.shape)).astype(np.float32)
    training = torch.from_numpy(rng.gamma(2, 1, (6, 3, 5, 7)).astype(np.float32))
    card = latents.card(vae, training, decoded, hr)
    flat = training.transpose(0, 1).reshape(3, -1).numpy()  # (C, N h w)
    assert card["channel_kurtosis"] == pytest.approx(kurtosis(flat, axis=1), rel=1e-3)
    assert card["channel_mean"] == pytest.approx(flat.mean(1), rel=1e-5)
    absolute = np.abs(decoded.astype(float) - hr)
    assert card["noise_floor"] == pytest.approx(absolute.mean() + 2 * absolute.std())
    assert card["numbers_a_pixel"] == 3 / 16 and card["non_finite_share"] == 0
    training[0, 0, 0, 0] = float("nan")
    share = latents.card(vae, training, decoded, hr)["non_finite_share"]
    assert share == pytest.approx(1 / training.numel())
