"""The denoiser: one small UNet that serves every arm on the common grid."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from diffusers import UNet2DModel


class Denoiser(nn.Module):
    """Predict x0 from a noisy target, its condition and the time: ``net(z, condition, t)``.

    Only the first and last convolution differ between arms, because only the number of target
    and condition channels does.
    """

    def __init__(self, target_channels: int, condition_channels: int, channels: Sequence[int]):
        super().__init__()
        from diffusers import UNet2DModel

        self.unet: UNet2DModel = UNet2DModel(
            in_channels=target_channels + condition_channels,
            out_channels=target_channels,
            block_out_channels=tuple(channels),
            layers_per_block=1,
            norm_num_groups=8,
            down_block_types=("DownBlock2D",) * len(channels),
            up_block_types=("UpBlock2D",) * len(channels),
        )

    def forward(self, noisy: Tensor, condition: Tensor, timestep: Tensor) -> Tensor:
        """Map ``(B, C, h, w)``, ``(B, K, h, w)`` and ``(B,)`` to the predicted x0 ``(B, C, h, w)``."""
        return self.unet(torch.cat([noisy, condition], 1), timestep).sample


def build(
    target_channels: int, condition_channels: int, channels: Sequence[int], seed: int
) -> Denoiser:
    """Return an untrained denoiser; the seed fixes its weights and leaves the global state alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Denoiser(target_channels, condition_channels, channels)


def save(denoiser: Denoiser, path: str) -> None:
    """Write a denoiser's weights as safetensors."""
    from safetensors.torch import save_file

    state = {key: value.detach().cpu().contiguous() for key, value in denoiser.state_dict().items()}
    save_file(state, path)


def load(path: str, channels: Sequence[int], device: str = "cpu") -> Denoiser:
    """Read a denoiser; the numbers of channels come from the file, the widths are given."""
    from safetensors.torch import load_file

    state = load_file(path)
    target = state["unet.conv_out.weight"].shape[0]
    condition = state["unet.conv_in.weight"].shape[1] - target
    denoiser = build(target, condition, channels, seed=0)
    denoiser.load_state_dict(state)
    return denoiser.to(device)
