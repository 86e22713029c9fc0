"""An autoencoder in the CompVis layout, written from its description, as a reference for tests.

Two blocks a level, attention in the middle only, GroupNorm of 32 groups, strided convolutions
padded below and on the right, nearest-neighbour upsampling. With ``rank`` the convolutions of
blocks and attention carry a low-rank update, as MedVAE stores it.
"""

import torch
from torch import nn
from torch.nn import functional


class LowRank(nn.Module):
    def __init__(self, c_in, c_out, k, rank):
        super().__init__()
        self.conv = nn.Conv2d(c_in, c_out, k, padding=k // 2)
        self.lora_down = nn.Conv2d(c_in, rank, k, padding=k // 2, bias=False)
        self.lora_up = nn.Conv2d(rank, c_out, 1, bias=False)

    def forward(self, x):
        return self.conv(x) + self.lora_up(self.lora_down(x))


def conv(c_in, c_out, k, rank):
    return LowRank(c_in, c_out, k, rank) if rank else nn.Conv2d(c_in, c_out, k, padding=k // 2)


def norm(channels):
    return nn.GroupNorm(32, channels, eps=1e-6)


class Block(nn.Module):
    def __init__(self, c_in, c_out, rank):
        super().__init__()
        self.norm1, self.conv1 = norm(c_in), conv(c_in, c_out, 3, rank)
        self.norm2, self.conv2 = norm(c_out), conv(c_out, c_out, 3, rank)
        if c_in != c_out:
            self.nin_shortcut = conv(c_in, c_out, 1, rank)

    def forward(self, x):
        h = self.conv1(functional.silu(self.norm1(x)))
        h = self.conv2(functional.silu(self.norm2(h)))
        return h + (self.nin_shortcut(x) if hasattr(self, "nin_shortcut") else x)


class Attention(nn.Module):
    def __init__(self, channels, rank):
        super().__init__()
        self.norm = norm(channels)
        self.q, self.k, self.v, self.proj_out = (conv(channels, channels, 1, rank) for _ in "qkvo")

    def forward(self, x):
        h = self.norm(x)
        q, k, v = (part(h).flatten(2) for part in (self.q, self.k, self.v))  # (B, C, h w)
        weight = torch.softmax(q.transpose(1, 2) @ k / q.shape[1] ** 0.5, dim=-1)
        return x + self.proj_out((v @ weight.transpose(1, 2)).reshape(x.shape))


class Down(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, x):
        return self.conv(functional.pad(x, (0, 1, 0, 1)))


class Up(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x):
        return self.conv(x.repeat_interleave(2, -1).repeat_interleave(2, -2))


def middle(channels, rank):
    parts = {"block_1": Block(channels, channels, rank), "attn_1": Attention(channels, rank)}
    return nn.ModuleDict({**parts, "block_2": Block(channels, channels, rank)})


def level(c_in, c_out, blocks, rank):
    sizes = [(c_in, c_out)] + [(c_out, c_out)] * (blocks - 1)
    return nn.ModuleDict({"block": nn.ModuleList(Block(a, b, rank) for a, b in sizes)})


class Encoder(nn.Module):
    def __init__(self, channels_in, width, multipliers, latent, rank):
        super().__init__()
        widths = [width * m for m in multipliers]
        self.conv_in = nn.Conv2d(channels_in, width, 3, padding=1)
        self.down = nn.ModuleList()
        for i, (a, b) in enumerate(zip([width, *widths], widths, strict=False)):
            self.down.append(level(a, b, 2, rank))
            if i < len(widths) - 1:
                self.down[-1]["downsample"] = Down(b)
        self.mid = middle(widths[-1], rank)
        self.norm_out = norm(widths[-1])
        self.conv_out = nn.Conv2d(widths[-1], 2 * latent, 3, padding=1)

    def forward(self, x):
        x = self.conv_in(x)
        for part in self.down:
            for block in part["block"]:
                x = block(x)
            x = part["downsample"](x) if "downsample" in part else x
        for part in self.mid.values():
            x = part(x)
        return self.conv_out(functional.silu(self.norm_out(x)))


class Decoder(nn.Module):
    def __init__(self, channels_out, width, multipliers, latent, rank):
        super().__init__()
        widths = [width * m for m in multipliers]
        self.conv_in = nn.Conv2d(latent, widths[-1], 3, padding=1)
        self.mid = middle(widths[-1], rank)
        above = [*widths[1:], widths[-1]]  # level i is entered from the next coarser one
        self.up = nn.ModuleList(level(a, b, 3, rank) for a, b in zip(above, widths, strict=True))
        for i in range(1, len(widths)):
            self.up[i]["upsample"] = Up(widths[i])
        self.norm_out = norm(width)
        self.conv_out = nn.Conv2d(width, channels_out, 3, padding=1)

    def forward(self, z):
        x = self.conv_in(z)
        for part in self.mid.values():
            x = part(x)
        for part in reversed(self.up):
            for block in part["block"]:
                x = block(x)
            x = part["upsample"](x) if "upsample" in part else x
        return self.conv_out(functional.silu(self.norm_out(x)))


class Autoencoder(nn.Module):
    def __init__(self, channels, latent, multipliers, width=32, rank=0):
        super().__init__()
        self.encoder = Encoder(channels, width, multipliers, latent, rank)
        self.decoder = Decoder(channels, width, multipliers, latent, rank)
        self.quant_conv = nn.Conv2d(2 * latent, 2 * latent, 1)
        self.post_quant_conv = nn.Conv2d(latent, latent, 1)

    def encode(self, x):
        return self.quant_conv(self.encoder(x)).chunk(2, 1)[0]

    def decode(self, z):
        return self.decoder(self.post_quant_conv(z))


def random_state(channels, latent, multipliers, width=32, rank=0, seed=0):
    """A model with random weights and its state dict, with the heads that MedVAE adds."""
    torch.manual_seed(seed)
    model = Autoencoder(channels, latent, multipliers, width, rank).eval().requires_grad_(False)
    state = model.state_dict()
    heads = {f"channel_ds.{i}.weight": torch.randn(4, 4) for i in (0, 2, 4)}
    return model, state | heads | {"channel_proj.weight": torch.randn(4, 4)}
