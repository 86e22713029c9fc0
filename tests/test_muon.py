"""Muon beside torch's own, and its split of a network between Muon and AdamW."""

import copy

import pytest
import torch
from torch import nn

from latentsr import muon


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 24), nn.Tanh(), nn.Linear(24, 8), nn.Tanh(), nn.Linear(8, 8))


@pytest.mark.parametrize("shape", [(5, 5), (7, 31), (31, 7)])
def test_singular_values_come_near_one_and_directions_stay(shape):
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    found = muon.orthogonalised(matrix)
    values = torch.linalg.svdvals(found)
    assert 0.3 < values.min() and values.max() < 1.3
    u, _, vh = torch.linalg.svd(matrix, full_matrices=False)
    inner = u.T @ found @ vh.T  # diagonal, when the singular directions are kept
    assert torch.allclose(inner, torch.diag(inner.diagonal()), atol=1e-9)


def test_steps_as_torch_does_on_matrices():
    """Parity with `torch.optim.Muon`, whose iterations run in bfloat16: 3 significant digits."""
    ours, theirs = network(), network()
    weights = [p for p in theirs.parameters() if p.ndim == 2]
    reference = torch.optim.Muon(weights, lr=0.05, weight_decay=0.0, momentum=0.95)
    optimiser = muon.Muon(ours, 0.05, 0.0, 0.0)
    x = torch.randn(16, 8, generator=torch.Generator().manual_seed(2))
    for _ in range(3):
        for net, steps in ((ours, optimiser), (theirs, reference)):
            net.zero_grad()
            (net(x) - x).square().mean().backward()
            steps.step()
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.allclose(a, b, atol=5e-3)
    moved = [(a - c).norm() for a, c in zip(ours.parameters(), network().parameters(), strict=True)]
    assert min(m for m, p in zip(moved, ours.parameters(), strict=True) if p.ndim == 2) > 0.1


def test_a_kernel_is_stepped_as_its_flattened_matrix():
    conv = nn.Sequential(nn.Conv2d(3, 4, 3))
    linear = nn.Sequential(nn.Linear(27, 4))
    linear[0].weight.data = conv[0].weight.data.flatten(1).clone()
    for net in (conv, linear):
        optimiser = muon.Muon(net, 0.1, 0.0, 0.0)
        grad = torch.arange(4 * 27.0).sin()
        net[0].weight.grad = grad.view_as(net[0].weight)
        optimiser.step()
    assert torch.equal(conv[0].weight.flatten(1), linear[0].weight)


def test_ends_norms_and_biases_are_adamws():
    from latentsr.autoencoders import load as vaes

    model = vaes.build(4, 3)
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
    x = torch.randn(16, 8, generator=torch.Generator().manual_seed(3))

    def go(trained, by):
        trained.zero_grad()
        (trained(x) - x).square().mean().backward()
        by.step()

    go(net, optimiser)
    again = copy.deepcopy(net)
    resumed = muon.Muon(again, 0.05, 1e-3, 0.0)
    resumed.load_state_dict(copy.deepcopy(optimiser.state_dict()))
    go(net, optimiser)
    go(again, resumed)
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), again.parameters(), strict=True))
