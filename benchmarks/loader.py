"""Every published autoencoder from a synthetic checkpoint (random weights) in its own layout.

The small ones of this repository from the files it ships.

Prints two tables for benchmarks/README.md: that it loads and computes what a reference computes,
and how fast it encodes and decodes. `python benchmarks/loader.py [--device cuda] [--images 4]`
"""

import argparse
import sys
import time
from pathlib import Path

import torch
from safetensors.torch import load_file

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
import compvis

from latentsr.autoencoders import fetch, latents, layouts, registry
from latentsr.autoencoders.layouts import build_small
from latentsr.autoencoders.load import load_autoencoder
from latentsr.autoencoders.model import Autoencoder

SIDE = 256
LAYOUTS = {  # channels of the image, rank of LoRA
    "kl-f4": (3, 0),
    "medvae-4-1": (1, 0),
    "medvae-4-3": (3, 4),
    "medvae-4-4": (1, 0),
    "medvae-8-1": (1, 0),
    "medvae-8-4": (3, 4),
}


def reference_of(name):
    """A reference with random weights and its state dict, in the layout that is published.

    Of a small one: its own weights, read by safetensors alone.
    """
    if name in registry.SHIPPED:
        small = build_small(registry.SHIPPED[name].factor, registry.SHIPPED[name].latent_channels)
        small.load_state_dict(load_file(fetch.weights_path(name)))
        return small.eval(), small.state_dict()
    entry = registry.PUBLISHED[name]
    if name in LAYOUTS:
        channels, rank = LAYOUTS[name]
        levels = (1, 2, 4) if entry.factor == 4 else (1, 2, 4, 4)
        return compvis.random_state(channels, entry.latent_channels, levels, 128, rank)
    from diffusers import AutoencoderKL, AutoencoderTiny

    torch.manual_seed(0)
    if name == "taesd":
        model = AutoencoderTiny()
    else:
        model = AutoencoderKL(
            block_out_channels=(128, 256, 512, 512),
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            layers_per_block=2,
        )
    return model.eval().requires_grad_(False), model.state_dict()


def encoded(model, image):
    found = model.encode(image)
    if isinstance(found, torch.Tensor):
        return found
    return found.latents if hasattr(found, "latents") else found.latent_dist.mean


def decoded(model, codes):
    found = model.decode(codes)
    return found if isinstance(found, torch.Tensor) else found.sample


def parity(name, device):
    """Largest error of latents and images, as a share of the reference's range, which is the CPU's.

    On a GPU convolutions are not rounded to TF32, as in `Autoencoder`.
    """
    reference, state = reference_of(name)
    small = name in registry.SHIPPED
    model = load_autoencoder(name).model if small else layouts.from_state_dict(state)
    model.to(device)
    image = torch.rand(1, model.config["in_channels"], 64, 64) * 2 - 1
    with torch.no_grad(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        codes, wanted = encoded(model, image.to(device)).cpu(), encoded(reference, image)
        again, expected = decoded(model, wanted.to(device)).cpu(), decoded(reference, wanted)
    shares = [
        float((a - b).abs().max() / (b.max() - b.min()))
        for a, b in ((codes, wanted), (again, expected))
    ]
    return model, max(shares)


def milliseconds(run, given, repeats=3):
    took = []
    for _ in range(repeats):
        started = time.perf_counter()
        run(given)
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        took.append(1000 * (time.perf_counter() - started))
    return min(took)


def speeds(device, images):
    """Encode and decode of MedVAE 4x3 and SD's VAE in every precision and layout of memory."""
    x = torch.rand(images, 1, SIDE, SIDE)
    for name in ("medvae-4-3", "sd-vae-ft-ema"):
        reference, state = reference_of(name)
        ways = {
            "float32": (torch.float32, torch.contiguous_format),
            "float32, channels_last": (torch.float32, torch.latent_channels_last),
            "bfloat16": (torch.bfloat16, torch.contiguous_format),
            "bfloat16, channels_last": (torch.bfloat16, torch.latent_channels_last),
        }
        for told, (dtype, memory) in ways.items():
            model = torch.nn.Module.to(layouts.from_state_dict(state), device, dtype)
            vae = Autoencoder(name, model.to(memory_format=memory))
            codes = vae.encode(x)
            pair = milliseconds(vae.encode, x), milliseconds(vae.decode, codes)
            print(
                f"| {name} | {told} | {pair[0] / images:.3g} | {pair[1] / images:.3g} |", flush=True
            )
        if isinstance(reference, compvis.Autoencoder):  # low-rank layers as stored, not merged
            colour = (x.expand(-1, 3, -1, -1) * 2 - 1).to(device)
            reference.to(device)
            with torch.no_grad(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
                codes = reference.encode(colour)
                pair = [milliseconds(reference.encode, colour)]
                pair.append(milliseconds(reference.decode, codes))
            print(
                f"| {name} | float32, LoRA not merged | {pair[0] / images:.3g} | {pair[1] / images:.3g} |"
            )


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--images", type=int, default=2)
    given = parser.parse_args()
    print(
        "| autoencoder | parity error, share of the range | parameters, million | "
        "latent of 256 x 256 | encode, GFLOP | decode, GFLOP |"
    )
    print("| :-- | --: | --: | :-- | --: | --: |")
    for name, entry in (registry.SHIPPED | registry.PUBLISHED).items():
        model, error = parity(name, given.device)
        million = sum(p.numel() for p in model.parameters()) / 1e6
        side = SIDE // entry.factor
        cost = latents.gflop(Autoencoder(name, model.cpu()), SIDE)
        print(
            f"| {name} | {error:.1e} | {million:.1f} | {entry.latent_channels} x {side} x {side} | "
            f"{cost[0]:.3g} | {cost[1]:.3g} |",
            flush=True,
        )
    print(
        "\n| autoencoder | how | encode, ms an image | decode, ms an image |\n| :-- | :-- | --: | --: |"
    )
    speeds(given.device, given.images)


if __name__ == "__main__":
    main()
