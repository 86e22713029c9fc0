import numpy as np
import pytest
import torch
from scipy.stats import kurtosis

from latentsr.autoencoders import cards
from latentsr.autoencoders import load as vaes

rng = np.random.default_rng(0)


def random_weights(factor=4, channels=3):
    """An autoencoder with random weights: good for shapes alone."""
    torch.manual_seed(0)
    return vaes.Autoencoder("random", vaes.build(factor, channels))


def test_cost_of_a_layer_by_hand():
    """conv_in of the small f8 model: 9 multiply-adds x 16 channels x 64 x 64 pixels, twice."""
    vae = random_weights(8, 4)
    encode_gflop, decode_gflop = cards.gflop(vae, 64)
    layers = []

    def count(layer, given, made):
        kernel = layer.weight[0].numel()
        layers.append(2 * kernel * made.numel())

    for module in vae.model.encoder.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.register_forward_hook(count)
    vae.model.quant_conv.register_forward_hook(count)
    vae.encode(torch.rand(1, 1, 64, 64))
    assert layers[0] == 2 * 9 * 16 * 64 * 64
    assert encode_gflop == pytest.approx(sum(layers) / 1e9)
    assert decode_gflop > encode_gflop  # two blocks a level against one


def test_card_agrees_with_scipy():
    vae, hr = random_weights(), rng.random((2, 64, 64), np.float32)
    decoded = (hr + rng.normal(0, 0.1, hr.shape)).astype(np.float32)
    training = torch.from_numpy(rng.gamma(2, 1, (6, 3, 5, 7)).astype(np.float32))
    made = cards.card(vae, training, decoded, hr)
    flat = training.transpose(0, 1).reshape(3, -1).numpy()
    assert made["channel_kurtosis"] == pytest.approx(kurtosis(flat, axis=1), rel=1e-3)
    assert made["channel_mean"] == pytest.approx(flat.mean(1), rel=1e-5)
    absolute = np.abs(decoded.astype(float) - hr)
    assert made["noise_floor"] == pytest.approx(absolute.mean() + 2 * absolute.std())
    assert made["numbers_a_pixel"] == 3 / 16 and made["non_finite_share"] == 0
    training[0, 0, 0, 0] = float("nan")
    share = cards.card(vae, training, decoded, hr)["non_finite_share"]
    assert share == pytest.approx(1 / training.numel())


def test_densities_are_those_of_a_normal_distribution():
    drawn = torch.randn(200, 2, 16, 16, generator=torch.Generator().manual_seed(1)) * 3 + 5
    centres, lines = cards.densities(drawn)
    normal = np.exp(-(centres**2) / 2) / np.sqrt(2 * np.pi)
    assert lines.shape == (2, len(centres))
    assert np.abs(lines - normal).max() < 0.02


def test_times_are_positive():
    assert all(took > 0 for took in cards.milliseconds(random_weights(), 32))
