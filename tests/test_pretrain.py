"""Training the shipped autoencoders, with a few steps on random images, and its optimiser."""

import copy
import json
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from latentsr.autoencoders import fetch, registry
from latentsr.autoencoders.layouts import build_small
from latentsr.autoencoders.load import training_card
from latentsr.phantoms.prepared import IMAGE_PX

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))
import muon
import pretrain

RECIPE = pretrain.Recipe(steps=4, batch=2, crop_px=32)
NAME = "phantom-f4c3"


@pytest.fixture
def small(monkeypatch):
    """Random images in place of some hundred phantoms, one thread."""
    rng = np.random.default_rng(0)
    images = [rng.random((40, 48), dtype=np.float32) for _ in range(3)]
    monkeypatch.setattr(pretrain, "training_images", lambda sources: images)
    monkeypatch.setattr(pretrain, "ceilings", lambda vae: {})
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("small")
def test_an_interrupted_training_ends_in_the_same_bytes(tmp_path, monkeypatch):
    whole = pretrain.train(NAME, RECIPE, tmp_path / "whole")
    draw, calls = pretrain.crops, []

    def stop_at_the_fourth(*arguments):
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return draw(*arguments)

    monkeypatch.setattr(pretrain, "crops", stop_at_the_fourth)
    with pytest.raises(KeyboardInterrupt):
        pretrain.train(NAME, RECIPE, tmp_path / "parts", save_every=2)
    resumed = pretrain.train(NAME, RECIPE, tmp_path / "parts", save_every=2)
    assert len(calls) == 4 + 2  # from the state after two steps, not from the start
    assert resumed.read_bytes() == whole.read_bytes()
    assert resumed.with_suffix(".json").read_text() == whole.with_suffix(".json").read_text()
    other = pretrain.train(f"{NAME}-s1", RECIPE, tmp_path)
    assert other.read_bytes() != whole.read_bytes()


@pytest.mark.usefixtures("small")
def test_a_finished_one_is_not_trained_again(tmp_path):
    longer = pretrain.Recipe(steps=5, batch=2, crop_px=32)
    out = pretrain.train(NAME, RECIPE, tmp_path)
    with pytest.raises(ValueError, match="made with .*'steps': 4.*; remove it to start anew"):
        pretrain.train(NAME, longer, tmp_path)
    (tmp_path / f"{NAME}.pt").unlink()
    made = out.stat().st_mtime_ns
    assert pretrain.train(NAME, RECIPE, tmp_path).stat().st_mtime_ns == made
    pretrain.train(NAME, longer, tmp_path)
    assert json.loads(out.with_suffix(".json").read_text())["recipe"]["steps"] == 5
    with pytest.raises(ValueError, match="vae kl-f4: not shipped; allowed are natural-f8c4"):
        pretrain.train("kl-f4", RECIPE, tmp_path)


def test_all_are_shipped_with_the_recipe_that_make_pretrain_follows():
    cards = {name: training_card(name) for name in registry.SHIPPED}
    for name, card in cards.items():
        assert card["recipe"] == asdict(pretrain.Recipe())
        assert card["trained_on"] == registry.spec(name).trained_on
        assert card["seed"] == registry.training_seed(name)
    pixels = [card["training_pixels"] for card in cards.values()]
    assert max(pixels) - min(pixels) < IMAGE_PX**2  # phantoms come whole
    files = fetch.WEIGHTS.glob("*.safetensors")
    assert sum(path.stat().st_size for path in files) < 22e6


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 24), nn.Tanh(), nn.Linear(24, 8), nn.Tanh(), nn.Linear(8, 8))


def step(net, optimiser, seed=2):
    x = torch.randn(16, 8, generator=torch.Generator().manual_seed(seed))
    net.zero_grad()
    (net(x) - x).square().mean().backward()
    optimiser.step()


@pytest.mark.parametrize("shape", [(5, 5), (7, 31), (31, 7)])
def test_singular_values_come_near_one_and_directions_stay(shape):
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    result = muon.orthogonalised(matrix)
    values = torch.linalg.svdvals(result)
    assert 0.3 < values.min() and values.max() < 1.3
    u, _, vh = torch.linalg.svd(matrix, full_matrices=False)
    inner = u.T @ result @ vh.T  # diagonal, when the singular directions are kept
    assert torch.allclose(inner, torch.diag(inner.diagonal()), atol=1e-9)


def test_steps_as_torch_does_on_matrices():
    """Parity with `torch.optim.Muon`, whose iterations run in bfloat16: 3 significant digits."""
    ours, theirs, start = network(), network(), network()
    weights = [p for p in theirs.parameters() if p.ndim == 2]
    reference = torch.optim.Muon(weights, lr=0.05, weight_decay=0.0, momentum=0.95)
    optimiser = muon.Muon(ours, 0.05, 0.0, 0.0)
    for _ in range(3):
        step(ours, optimiser)
        step(theirs, reference)
    for a, b, c in zip(ours.parameters(), theirs.parameters(), start.parameters(), strict=True):
        assert torch.allclose(a, b, atol=5e-3)
        assert a.ndim == 1 or (a - c).norm() > 0.1


def test_a_kernel_is_stepped_as_its_flattened_matrix():
    conv, linear = nn.Sequential(nn.Conv2d(3, 4, 3)), nn.Sequential(nn.Linear(27, 4))
    linear[0].weight.data = conv[0].weight.data.flatten(1).clone()
    for net in (conv, linear):
        optimiser = muon.Muon(net, 0.1, 0.0, 0.0)
        net[0].weight.grad = torch.arange(4 * 27.0).sin().view_as(net[0].weight)
        optimiser.step()
    assert torch.equal(conv[0].weight.flatten(1), linear[0].weight)


def test_ends_norms_and_biases_are_adamws():
    model = build_small(4, 3)
    optimiser = muon.Muon(model, 2e-2, 2e-3, 1e-2)
    names = {id(p): name for name, p in model.named_parameters()}
    inner, other = ({names[id(p)] for p in g["params"]} for g in optimiser.param_groups)
    assert inner | other == set(names.values()) and not inner & other
    assert {"encoder.conv_in.weight", "decoder.conv_out.weight", "quant_conv.bias"} <= other
    assert {"encoder.down_blocks.0.resnets.0.conv1.weight", "quant_conv.weight"} <= inner
    assert optimiser.rates == [2e-2, 2e-3]


def test_its_state_can_be_saved_and_read_back():
    net = network()
    optimiser = muon.Muon(net, 0.05, 1e-3, 0.0)
    step(net, optimiser)
    twin = copy.deepcopy(net)
    resumed = muon.Muon(twin, 0.05, 1e-3, 0.0)
    resumed.load_state_dict(copy.deepcopy(optimiser.state_dict()))
    step(net, optimiser)
    step(twin, resumed)
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), twin.parameters(), strict=True))
