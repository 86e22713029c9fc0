"""The denoisers: a small UNet that serves every arm on the common grid, and a transformer."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from latentsr.diffusion.process import check_name

if TYPE_CHECKING:
    from diffusers import UNet2DModel

KINDS = ("unet", "transformer")
GROUPS = 8  # of group normalisation, so every width is a multiple of it
Shape = Sequence[int]  # (C, h, w)


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
    """A UNet on noisy target, condition and time: ``net(z, condition, t)``.

    Only the first and last convolution differ between arms, because only the number of target
    and condition channels does.
    """

    def __init__(self, target_channels: int, condition_channels: int, network: Network):
        super().__init__()
        from diffusers import UNet2DModel

        levels = range(len(network.channels))
        down = ["AttnDown" if level in network.attends else "Down" for level in levels]
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
        """Map ``(B, C, h, w)``, ``(B, K, h, w)`` and ``(B,)`` to a prediction ``(B, C, h, w)``."""
        return self.unet(torch.cat([noisy, condition], 1), timestep).sample


def _sinusoidal(positions: Tensor, width: int) -> Tensor:
    """Return sine and cosine features ``(N, width)`` of positions ``(N,)``."""
    index = torch.arange(width // 2, device=positions.device)
    angles = positions[:, None].float() * torch.exp(-math.log(10000) * index * 2 / width)
    return torch.cat([angles.sin(), angles.cos()], 1)


class Block(nn.Module):
    """Attention and a two-layer network, each scaled and gated by the time (adaLN-Zero)."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.norms = nn.ModuleList(nn.LayerNorm(width, elementwise_affine=False) for _ in "ab")
        self.qkv, self.joined = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )
        self.modulation = nn.Linear(width, 6 * width)
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)

    def forward(self, tokens: Tensor, time: Tensor) -> Tensor:
        """Map tokens ``(B, L, width)`` at a time feature ``(B, width)`` to tokens."""
        parts = self.modulation(functional.silu(time))[:, None].chunk(6, -1)  # (B, 1, width) each
        shift_a, scale_a, gate_a, shift_b, scale_b, gate_b = parts
        normed = self.norms[0](tokens) * (1 + scale_a) + shift_a
        q, k, v = self.qkv(normed).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(q, k, v)  # (B, heads, L, width / heads)
        tokens = tokens + gate_a * self.joined(mixed.transpose(1, 2).flatten(2))
        return tokens + gate_b * self.mlp(self.norms[1](tokens) * (1 + scale_b) + shift_b)


class DiffusionTransformer(nn.Module):
    """A transformer on the same inputs; a place of the grid is a token of ``width`` features.

    Peebles & Xie, Scalable Diffusion Models with Transformers, ICCV 2023.
    """

    def __init__(
        self, target_channels: int, condition_channels: int, width: int, depth: int, heads: int = 4
    ):
        super().__init__()
        self.width = width
        self.enter = nn.Linear(target_channels + condition_channels, width)
        self.time = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(depth))
        self.norm, self.leave = nn.LayerNorm(width), nn.Linear(width, target_channels)

    def forward(self, noisy: Tensor, condition: Tensor, timestep: Tensor) -> Tensor:
        """Map ``(B, C, h, w)``, ``(B, K, h, w)`` and ``(B,)`` to a prediction ``(B, C, h, w)``."""
        height, width = noisy.shape[-2:]
        tokens = self.enter(torch.cat([noisy, condition], 1).flatten(2).transpose(1, 2))
        rows, columns = (torch.arange(side, device=noisy.device) for side in (height, width))
        half = self.width // 2
        down = _sinusoidal(rows, half)[:, None].expand(height, width, half)
        across = _sinusoidal(columns, half)[None].expand(height, width, half)
        tokens = tokens + torch.cat([down, across], -1).flatten(0, 1)  # (B, h * w, width)
        time = self.time(_sinusoidal(timestep, self.width))
        for block in self.blocks:
            tokens = block(tokens, time)
        return self.leave(self.norm(tokens)).transpose(1, 2).unflatten(2, (height, width))


def build(target_channels: int, condition_channels: int, network: Network, seed: int) -> nn.Module:
    """Return an untrained denoiser; the seed fixes its weights and leaves the global state alone."""
    check_name("network", network.kind, KINDS)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if network.kind == "unet":
            return Denoiser(target_channels, condition_channels, network)
        width, depth = network.channels[-1], len(network.channels)
        return DiffusionTransformer(target_channels, condition_channels, width, depth)


def save(
    denoiser: nn.Module, channels: tuple[int, int], network: Network, path: Path, **more: Any
) -> None:
    """Write weights as safetensors, whole or not at all.

    Channels of target and condition, the shape and ``more`` go into its metadata as JSON.
    """
    from safetensors.torch import save_file

    state = {key: value.detach().cpu().contiguous() for key, value in denoiser.state_dict().items()}
    metadata = {"denoiser": {"ends": channels, "network": asdict(network)}, **more}
    part = path.with_suffix(".part")
    save_file(state, part, {key: json.dumps(value) for key, value in metadata.items()})
    part.replace(path)


def read_metadata(path: Path) -> dict[str, Any]:
    """Read the metadata that `save` wrote."""
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        return {key: json.loads(value) for key, value in file.metadata().items()}


def load(path: Path, device: str = "cpu") -> nn.Module:
    """Read a denoiser that `save` wrote, for sampling."""
    from safetensors.torch import load_file

    config = read_metadata(path)["denoiser"]
    shape = config["network"]
    network = Network(tuple(shape["channels"]), tuple(shape["attends"]), shape["kind"])
    denoiser = build(config["ends"][0], config["ends"][1], network, seed=0)
    denoiser.load_state_dict(load_file(path))
    return denoiser.to(device).eval()


def gflop(denoiser: nn.Module, target: Shape, condition: Shape) -> float:
    """Count the GFLOP of one call on one target ``(C, h, w)`` and condition ``(K, h, w)``."""
    from torch.utils.flop_counter import FlopCounterMode

    on_cpu = copy.deepcopy(denoiser).cpu()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        on_cpu(torch.zeros(1, *target), torch.zeros(1, *condition), torch.zeros(1))
    return float(counter.get_total_flops() / 1e9)


class _PassThrough(nn.Module):
    """Takes the place of a module while `receptive_field` looks at the others."""

    def forward(self, x: Tensor, *_: object, **__: object) -> Tensor:
        return x


def receptive_field(denoiser: nn.Module, target: Shape, condition: Shape) -> int:
    """Return how many places, a side, the convolutions join into one place of the output.

    Measured by the gradient, without group normalisation and attention, which see everything, on a
    canvas whose height is doubled until its edges are not met: the result may exceed the grid of
    ``target``, ``(C, h, w)``. In a transformer every place sees the grid's own.
    """
    from diffusers.models.attention_processor import Attention

    if not isinstance(denoiser, Denoiser):
        return target[1]
    bare = copy.deepcopy(denoiser).cpu()
    for module in [*bare.modules()]:
        for name, child in module.named_children():
            if isinstance(child, (nn.GroupNorm, Attention)):
                setattr(module, name, _PassThrough())
    height = target[1]
    while True:
        generator = torch.Generator().manual_seed(0)
        noisy = torch.zeros(1, target[0], height, target[2]).normal_(generator=generator)
        noisy.requires_grad_(True)
        out = bare(noisy, torch.zeros(1, condition[0], height, condition[2]), torch.zeros(1))
        out[0, :, height // 2, target[2] // 2].sum().backward()
        assert noisy.grad is not None  # noqa: S101 - the output depends on its input
        rows = noisy.grad.abs().sum((0, 1, 3)).nonzero()
        if (reach := int(rows.max() - rows.min() + 1)) < height:
            return reach
        height *= 2
