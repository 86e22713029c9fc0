"""Ceilings of the shipped autoencoders: on phantoms (their cards), and on real images.

python benchmarks/ceilings.py [--real DIR]   with DIR/{knee,brain,cxr}/*.png
"""

import argparse
from pathlib import Path

import numpy as np
import torch

from latentsr import latents, metrics, registry, vaes
from latentsr.datasets.pixels import prepare_pixels, read_image

FOLDERS = {"knee": "knee", "brain": "brain", "chest": "cxr"}
IMAGE_PX = 128


def real_images(root: Path) -> dict[str, np.ndarray]:
    found = {}
    for anatomy, folder in FOLDERS.items():
        paths = sorted((root / folder).glob("*.png"))
        images = [prepare_pixels(read_image(path), "folder", IMAGE_PX) for path in paths]
        found[anatomy] = np.stack(images)  # (N, H, W)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--real", type=Path)
    real = real_images(root) if (root := parser.parse_args().real) else {}
    torch.set_num_threads(1)
    columns = [f"{a}, phantoms (noise-free)" for a in FOLDERS]
    columns += [f"{a}, real (n = {len(images)})" for a, images in real.items()]
    print("PSNR of decode(encode(image)), dB\n")
    print("| autoencoder | " + " | ".join(columns) + " |")
    print("| :-- |" + " --: |" * len(columns))
    for name in registry.SPECS:
        if name not in vaes.shipped():
            continue
        measured = vaes.card(name)["ceilings"]
        cells = [
            f"{measured[a]['psnr_db']:.2f} ({measured[a]['noise_free_psnr_db']:.2f})"
            for a in FOLDERS
        ]
        vae = vaes.load(name)
        for images in real.values():
            decoded = latents.decode_all(vae, latents.encode_all(vae, images, 16), 16)
            cells.append(f"{metrics.psnr_db(decoded, images).mean():.2f}")
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
