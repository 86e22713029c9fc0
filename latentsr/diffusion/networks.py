"""The denoiser: one small UNet that serves every arm on the common grid, and its variants."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from latentsr.diffusion import process as diffusion

if TYPE_CHECKING:
    from diffusers import UNet2DModel

KINDS = ("unet", "transformer")
GROUPS = 8  # of group normalisation, so every width is a multiple of it


@dataclass(frozen=True)
class Network:
    """The shape of a denoiser.

    ``kind`` is "unet", with the width of every level and the levels that attend, or
    "transformer", whose width is the last of ``channels`` and whose depth their number.
    """

    channels: tuple[int, ...]
    attends: tuple[int, ...] = ()
    kind: str = "unet"

    def wider(self, factor: float) -> Network:
        """Return the network with widths times ``factor``, rounded to multiples of `GROUPS`.

        >>> Network((32, 64, 64)).wider(0.5).channels
        (16, 32, 32)
        """
        widths = (max(GROUPS, GROUPS * round(width * factor / GROUPS)) for width in self.channels)
        return Network(tuple(widths), self.attends, self.kind)


class Denoiser(nn.Module):
    """Predict x0 from a noisy target, its condition and the time: ``net(z, condition, t)``.

    Only the first and last convolution differ between arms, because only the number of target
    and condition channels does.
    """

    def __init__(self, target_channels: int, condition_channels: int, network: Network):
        super().__init__()
        from diffusers import UNet2DModel

        down = [
            "AttnDown" if i in network.attends else "Down" for i in range(len(network.channels))
        ]
        self.unet: UNet2DModel = UNet2DModel(
            in_channels=target_channels + condition_channels,
            out_channels=target_channels,
            block_out_channels=network.channels,
            layers_per_block=1,
            norm_num_groups=GROUPS,
            attention_head_dim=8,
            down_block_types=tuple(f"{name}Block2D" for name in down),
            up_block_types=tuple(f"{name.replace('Down', 'Up')}Block2D" for name in down[::-1]),
        )

    def forward(self, noisy: Tensor, condition: Tensor, timestep: Tensor) -> Tensor:
        """Map ``(B, C, h, w)``, ``(B, K, h, w)`` and ``(B,)`` to the predicted x0 ``(B, C, h, w)``."""
        return self.unet(torch.cat([noisy, condition], 1), timestep).sample


def build(target_channels: int, condition_channels: int, network: Network, seed: int) -> nn.Module:
    """Return an untrained denoiser; the seed fixes its weights and leaves the global state alone."""
    from latentsr.diffusion.transformer import DiffusionTransformer

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        diffusion.check_name("network", network.kind, KINDS)
        if network.kind == "unet":
            return Denoiser(target_channels, condition_channels, network)
        width, depth = network.channels[-1], len(network.channels)
        return DiffusionTransformer(target_channels, condition_channels, width, depth)


def save(denoiser: nn.Module, ends: tuple[int, int], network: Network, path: str) -> None:
    """Write a denoiser's weights as safetensors, with its channels and shape as metadata."""
    from safetensors.torch import save_file

    state = {key: value.detach().cpu().contiguous() for key, value in denoiser.state_dict().items()}
    save_file(state, path, {"denoiser": json.dumps({"ends": ends, "network": asdict(network)})})


def load(path: str, device: str = "cpu") -> nn.Module:
    """Read a denoiser that `save` wrote."""
    from safetensors import safe_open
    from safetensors.torch import load_file

    with safe_open(path, "pt") as file:
        told = json.loads(file.metadata()["denoiser"])
    target, condition = told["ends"]
    shape = told["network"]
    network = Network(tuple(shape["channels"]), tuple(shape["attends"]), shape["kind"])
    denoiser = build(target, condition, network, seed=0)
    denoiser.load_state_dict(load_file(path))
    return denoiser.to(device)


def parameters(denoiser: nn.Module) -> int:
    """Count the trained numbers."""
    return sum(value.numel() for value in denoiser.parameters())


def gflop(denoiser: nn.Module, target: Sequence[int], condition: Sequence[int]) -> float:
    """Count the GFLOP of one call on one target ``(C, h, w)`` and condition ``(K, h, w)``."""
    from torch.utils.flop_counter import FlopCounterMode

    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        denoiser(torch.zeros(1, *target), torch.zeros(1, *condition), torch.zeros(1))
    return float(counter.get_total_flops() / 1e9)


class _Through(nn.Module):
    """Stands for a module while `receptive_field` looks at the others."""

    def forward(self, x: Tensor, *_: object, **__: object) -> Tensor:
        return x


def receptive_field(denoiser: nn.Module, target: Sequence[int], condition: Sequence[int]) -> int:
    """Return how many places of the grid, a side, the convolutions join into one of the output.

    Measured by the gradient, without group normalisation and attention, which see everything. In
    a transformer every place does.
    """
    from copy import deepcopy

    from diffusers.models.attention_processor import Attention

    if not isinstance(denoiser, Denoiser):
        return target[1]
    bare = deepcopy(denoiser).cpu()
    for module in [*bare.modules()]:
        for name, child in module.named_children():
            if isinstance(child, (nn.GroupNorm, Attention)):
                setattr(module, name, _Through())
    noisy = torch.zeros(1, *target).normal_(generator=torch.Generator().manual_seed(0))
    noisy.requires_grad_(True)
    out = bare(noisy, torch.zeros(1, *condition), torch.zeros(1))
    out[0, :, target[1] // 2, target[2] // 2].sum().backward()
    assert noisy.grad is not None  # noqa: S101 - the output depends on its input
    rows = noisy.grad.abs().sum((0, 1, 3)).nonzero()
    return int(rows.max() - rows.min() + 1)
