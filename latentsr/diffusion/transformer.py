"""A small diffusion transformer, for the ablation of the architecture."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional


def _sines(places: Tensor, width: int) -> Tensor:
    """Return sine and cosine features ``(N, width)`` of numbers ``(N,)``."""
    rates = torch.exp(-math.log(10000) * torch.arange(width // 2, device=places.device) * 2 / width)
    angles = places[:, None].float() * rates
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
        seen = self.norms[0](tokens) * (1 + scale_a) + shift_a
        q, k, v = self.qkv(seen).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(q, k, v)  # (B, heads, L, width / heads)
        tokens = tokens + gate_a * self.joined(mixed.transpose(1, 2).flatten(2))
        return tokens + gate_b * self.mlp(self.norms[1](tokens) * (1 + scale_b) + shift_b)


class DiffusionTransformer(nn.Module):
    """Predict from a noisy target, its condition and the time; a place of the grid is a token.

    Parameters
    ----------
    target_channels, condition_channels : int
        Of the target ``(B, C, h, w)`` and of the condition ``(B, K, h, w)``.
    width, depth, heads : int
        Features a token, blocks, attention heads.

    References
    ----------
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
        """Map ``(B, C, h, w)``, ``(B, K, h, w)`` and ``(B,)`` to ``(B, C, h, w)``."""
        height, width = noisy.shape[-2:]
        tokens = self.enter(torch.cat([noisy, condition], 1).flatten(2).transpose(1, 2))
        rows, columns = (torch.arange(side, device=noisy.device) for side in (height, width))
        half = self.width // 2
        down = _sines(rows, half)[:, None].expand(height, width, half)
        across = _sines(columns, half)[None].expand(height, width, half)
        tokens = tokens + torch.cat([down, across], -1).flatten(0, 1)  # (B, h * w, width)
        time = self.time(_sines(timestep, self.width))
        for block in self.blocks:
            tokens = block(tokens, time)
        return self.leave(self.norm(tokens)).transpose(1, 2).unflatten(2, (height, width))
